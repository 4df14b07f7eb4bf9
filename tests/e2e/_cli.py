#!/usr/bin/env python3
"""What the tests of the command line share.

They run the executable named by TELPHER_BIN. Every test has a domain of its own, named after
its process, and ends by checking that nothing of it is left in /dev/shm.
"""

import json
import os
import re
import subprocess
import sys
import time
import unittest

BIN = os.environ.get("TELPHER_BIN", "")
OK, ERROR, USAGE, TIMEOUT, NOT_FOUND, DENIED = range(6)
LIMIT_S = 60  # no single command may take longer, however busy the machine


def leftovers(domain):
    pattern = re.compile(re.escape(domain) + r"(?!\d)")
    return [name for name in os.listdir("/dev/shm") if pattern.search(name)]


def wait_until(condition, what, limit_s=20):
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited %d s in vain until %s" % (limit_s, what))
        time.sleep(0.01)


class CliTest(unittest.TestCase):
    count = 0

    def setUp(self):
        CliTest.count += 1
        self.domain = "e2e-cli-%d-t%d" % (os.getpid(), CliTest.count)
        self.started = []

    def tearDown(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        self.run_cli("rm", "--domain", "-d", self.domain, "--force")
        self.assertEqual(leftovers(self.domain), [])

    def run_cli(self, *arguments, stdin=b"", code=None, env=None):
        """Runs one command. Checks the exit code if one is expected."""
        done = subprocess.run([BIN, *arguments], input=stdin, capture_output=True, timeout=LIMIT_S, env=env)
        if code is not None:
            self.assertEqual(done.returncode, code, "%s\n%s\n%s" % (arguments, done.stdout, done.stderr))
        return done

    def on(self, *arguments, code=OK, stdin=b""):
        """Runs one command on this test's domain."""
        return self.run_cli(*arguments, "-d", self.domain, code=code, stdin=stdin)

    def json_of(self, *arguments, code=OK, stdin=b""):
        done = self.on(*arguments, "--json", code=code, stdin=stdin)
        return json.loads(done.stdout)

    def error_of(self, *arguments, code):
        """The error object that a failing command with --json writes to stderr."""
        done = self.run_cli(*arguments, "--json", code=code)
        error = json.loads(done.stderr)["error"]
        self.assertEqual(list(error), ["status", "detail", "cause", "fix", "os_error", "exit_code"])
        self.assertEqual(error["exit_code"], code)
        self.assertTrue(error["cause"] and error["fix"])
        return error

    def start(self, *arguments, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE):
        process = subprocess.Popen([BIN, *arguments], stdin=stdin, stdout=subprocess.PIPE, stderr=stderr)
        self.started.append(process)
        return process

    def create(self, capacity=100):
        self.on("create", "queue", "orders", "--capacity", str(capacity))

    def attached(self):
        return [entry["pid"] for entry in self.json_of("ps")["processes"] if entry["state"] == "live"]

    def depth(self):
        return self.json_of("info", "orders")["depth"]


def main():
    if not BIN:
        sys.exit("TELPHER_BIN must name the executable")
    unittest.main(verbosity=1)
