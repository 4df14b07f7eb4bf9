#!/usr/bin/env python3
"""telpher chaos: what it kills and tells; and that it notices what is lost."""

import json
import os
import signal
import subprocess
import time
import unittest

from _cli import BIN, ERROR, LIMIT_S, OK, USAGE, leftovers, main, wait_until


def chaos(*arguments, code=OK):
    done = subprocess.run([BIN, "chaos", *arguments], capture_output=True, timeout=LIMIT_S)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done


class Chaos(unittest.TestCase):
    def start(self, *arguments):
        process = subprocess.Popen([BIN, "chaos", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        domain = "chaos-%d" % process.pid
        wait_until(lambda: self.depth_of(domain) is not None, "the queue is there")
        return process, domain

    def depth_of(self, domain):
        done = subprocess.run([BIN, "info", "chaos", "-d", domain, "--json"], capture_output=True, timeout=LIMIT_S)
        return json.loads(done.stdout)["offered"] if done.returncode == OK else None

    def test_kills_and_loses_nothing(self):
        report = json.loads(chaos("--for", "2s", "--rate", "40/s", "--seed", "7", "--json").stdout)
        self.assertEqual(list(report), ["seed", "duration_ms", "killed_producers", "killed_consumers", "offered",
                                        "confirmed", "delivered", "delivered_and_not_confirmed", "delivered_again",
                                        "lost", "wrong", "problems", "ok"])
        self.assertEqual((report["seed"], report["duration_ms"]), (7, 2000))
        self.assertEqual((report["ok"], report["lost"], report["wrong"], report["problems"]), (True, 0, 0, []))
        self.assertGreater(report["killed_producers"], 5)
        self.assertGreater(report["killed_consumers"], 5)
        self.assertGreater(report["confirmed"], 1000)
        self.assertEqual(report["delivered"], report["confirmed"] + report["delivered_and_not_confirmed"])

    def test_kills_only_whom_it_shall(self):
        report = json.loads(chaos("--for", "1s", "--kill", "consumers", "--json").stdout)
        self.assertEqual(report["killed_producers"], 0)
        self.assertGreater(report["killed_consumers"], 2)
        text = chaos("--for", "1s", "--kill", "producers").stdout.decode()
        self.assertRegex(text, r"^1 s, \d+ producers and 0 consumers killed \(SIGKILL\), seed \d+\n")
        self.assertIn("every confirmed message was delivered", text)

    def test_keeps_its_time_where_it_cannot_keep_the_rate(self):
        began = time.monotonic()
        report = json.loads(chaos("--for", "1s", "--kill", "consumers", "--rate", "1000000/s", "--json").stdout)
        self.assertLess(time.monotonic() - began, 20)
        self.assertGreater(report["killed_consumers"], 2)
        self.assertGreater(report["confirmed"], 0)  # who is not killed works meanwhile

    def test_notices_what_is_lost(self):
        process, domain = self.start("--for", "2s", "--json")
        wait_until(lambda: self.depth_of(domain) > 100, "messages flow")
        purged = 0
        while purged == 0 and process.poll() is None:
            done = subprocess.run([BIN, "purge", "chaos", "-d", domain, "--json"], capture_output=True,
                                  timeout=LIMIT_S)
            purged = json.loads(done.stdout)["purged"] if done.returncode == OK else 0
        out, _ = process.communicate(timeout=LIMIT_S)
        report = json.loads(out)
        self.assertEqual(process.returncode, ERROR)
        self.assertFalse(report["ok"])
        self.assertGreater(report["lost"], 0)
        self.assertEqual(leftovers(domain), [])

    def test_ends_with_ctrl_c_and_leaves_nothing(self):
        process, domain = self.start("--for", "1h")
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=LIMIT_S)
        self.assertEqual(process.returncode, ERROR)
        self.assertIn(b"cancelled", error)
        self.assertEqual(leftovers(domain), [])
        self.assertFalse(any(domain in command_of(pid) for pid in os.listdir("/proc") if pid.isdigit()))

    def test_bad_arguments_are_usage_errors(self):
        for arguments in (["--kill", "bridges"], ["--for", "5"], ["--rate", "5"], ["--seed", "x"], ["orders"]):
            chaos(*arguments, code=USAGE)


def command_of(pid):
    try:
        with open("/proc/%s/cmdline" % pid, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
