#!/usr/bin/env python3
"""telpher set: settings of a running domain are changed, shown and taken back, locally and through a bridge."""

import json
import os
import tempfile
import time

from _cli import NOT_FOUND, OK, TIMEOUT, USAGE, CliTest, main, wait_until

NAMES = ["retry.attempts_max", "retry.base_ms", "retry.cap_ms", "retry.factor", "retry.jitter", "retry.budget",
         "call.timeout_ms"]


class SetTest(CliTest):
    def setUp(self):
        super().setUp()
        self.on("create", "queue", "any")  # makes the domain

    def values(self, *arguments):
        shown = json.loads(self.run_cli("set", *arguments, "--json", code=OK).stdout)
        self.assertEqual(list(shown), ["domain", "settings"])
        self.assertEqual(shown["domain"], self.domain)
        for setting in shown["settings"]:
            self.assertEqual(list(setting), ["name", "value", "allowed"])
        return {setting["name"]: setting["value"] for setting in shown["settings"]}

    def test_settings_are_changed_shown_and_taken_back(self):
        self.assertEqual(self.values(self.domain), {name: None for name in NAMES})
        changed = self.values(self.domain, "retry.attempts_max=7", "retry.factor=1.5", "retry.jitter=equal")
        expected = {name: None for name in NAMES}
        expected.update({"retry.attempts_max": 7, "retry.factor": 1.5, "retry.jitter": "equal"})
        self.assertEqual(changed, expected)
        self.assertEqual(self.values("-d", self.domain), expected)
        self.assertEqual(self.values("-u", "shm:" + self.domain, "retry.factor="), expected | {"retry.factor": None})
        text = self.run_cli("set", self.domain, code=OK).stdout.decode()
        self.assertEqual(text.splitlines()[0].split(), ["SETTING", "VALUE", "ALLOWED"])
        self.assertRegex(text, r"(?m)^retry\.attempts_max +7 +1\.\.1000$")
        self.assertRegex(text, r"(?m)^call\.timeout_ms +- +1\.\.86400000$")

    def test_calls_follow_the_longest_timeout(self):
        server = self.start("serve", "f", "-d", self.domain, "--exec", "read line; [ -z \"$line\" ] || sleep 60")
        wait_until(lambda: server.pid in self.attached(), "it is attached")
        self.on("send", "f", "", "--wait", "20s", "--oneway")
        self.run_cli("set", self.domain, "call.timeout_ms=100", code=OK)
        began = time.monotonic()
        self.on("send", "f", "x", "--timeout", "50s", code=TIMEOUT)
        self.assertLess(time.monotonic() - began, 20)

    def test_wrong_settings_name_what_is_allowed(self):
        error = self.error_of("set", self.domain, "retry.attempts_max=0", code=USAGE)
        self.assertEqual(error["status"], "bad_request")
        self.assertEqual(error["detail"], "retry.attempts_max is '0', allowed are 1..1000")
        error = self.error_of("set", self.domain, "retry.attempts=7", code=USAGE)
        self.assertIn("there are retry.attempts_max, retry.base_ms", error["detail"])
        self.assertEqual(self.values(self.domain), {name: None for name in NAMES})
        self.run_cli("set", code=USAGE)
        self.run_cli("set", self.domain, "retry.attempts_max", code=USAGE)
        self.run_cli("set", "retry.attempts_max=7", code=USAGE)
        self.run_cli("set", self.domain + "-none", code=NOT_FOUND)

    def test_through_a_bridge(self):
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            os.environ["TELPHER_CONFIG_DIR"] = os.path.join(folder, "telpher")
            bridge = self.start("bridge", "-d", self.domain, "--listen", "127.0.0.1:0", "--json")
            tcp = json.loads(bridge.stdout.readline())["tcp"]
            for way in (["-u", tcp], ["-u", tcp, "--encrypt"]):
                self.assertEqual(self.values(*way, "retry.budget=25")["retry.budget"], 25)
                self.assertEqual(self.values(self.domain)["retry.budget"], 25)
                self.assertIsNone(self.values(*way, "retry.budget=")["retry.budget"])
                error = self.error_of("set", *way, "retry.budget=101", code=USAGE)
                self.assertEqual(error["detail"], "retry.budget is '101', allowed are 0..100")
            bridge.terminate()
            bridge.wait(timeout=20)


if __name__ == "__main__":
    main()
