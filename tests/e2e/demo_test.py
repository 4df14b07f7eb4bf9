#!/usr/bin/env python3
"""telpher demo: what it proves, and that it leaves nothing whatever happens to it."""

import json
import os
import pty
import signal
import subprocess
import tempfile
import time

from _cli import BIN, ERROR, LIMIT_S, OK, USAGE, CliTest, leftovers, main, wait_until

ROLES = ("producer", "worker-1", "worker-2", "pricer-1", "pricer-2", "subscriber", "slow-subscriber", "bridge",
         "remote-subscriber")


class Demo(CliTest):
    def roles(self, pid):
        """Processes of the demo that still run: names and pids."""
        found = {}
        for entry in os.listdir("/proc"):
            try:
                with open("/proc/%s/cmdline" % entry, "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if entry.isdigit() and b"demo-role" in words and b"demo-%d" % pid in words:
                found[words[words.index(b"demo-role") + 5].decode()] = int(entry)
        return found

    def check_gone(self, pid):
        wait_until(lambda: not self.roles(pid), "no process of the demo runs")
        wait_until(lambda: not leftovers("demo-%d" % pid), "nothing of the demo is left in /dev/shm")

    def wait_for_roles(self, pid):
        wait_until(lambda: sorted(self.roles(pid)) == sorted(ROLES), "all processes run")

    def run_demo(self, *arguments, code=OK):
        demo = self.start("demo", *arguments)
        output, errors = demo.communicate(timeout=LIMIT_S)
        self.assertEqual(demo.returncode, code, output + errors)
        self.check_gone(demo.pid)
        return output, errors

    def test_demo_proves_its_account(self):
        report = json.loads(self.run_demo("--json", "--messages", "30000")[0])
        self.assertEqual(list(report), [
            "ok", "domain", "source", "orders", "messages", "offered", "polled", "handled", "in_hands_of_killed",
            "abandoned", "latency_ns", "throughput_per_s", "kill", "function", "topic", "verify", "left_behind", "proved", "seconds"])
        self.assertIs(report["ok"], True)
        self.assertEqual((report["messages"], report["offered"], report["orders"]), (30000, 30000, 2000))
        handled = report["handled"]
        self.assertEqual(handled["worker_1"] + handled["worker_2"] + len(report["in_hands_of_killed"]), 30000)
        self.assertLessEqual(len(report["in_hands_of_killed"]), 1)
        self.assertEqual(report["latency_ns"]["count"], 6000 - sum(
            1 for sequence in report["in_hands_of_killed"] if sequence <= 6000))
        self.assertTrue(all(report["proved"].values()) and len(report["proved"]) == 12)
        function = report["function"]
        self.assertEqual(function["name"], "price")
        calls = [3000 - len(report["in_hands_of_killed"]), function["answered"], function["calls"], 3000]
        self.assertEqual(calls, sorted(calls))  # the killed worker may not have come to its call, or to the answer
        priced = function["priced"]["pricer_1"] + function["priced"]["pricer_2"]
        self.assertIn(priced, range(function["answered"], function["calls"] + function["redelivered"] + 1))
        self.assertGreaterEqual(function["redelivered"], int(function["kill"]["in_a_call"]))
        self.assertNotEqual(function["kill"]["pid"], report["kill"]["pid"])
        topic = report["topic"]
        self.assertEqual(topic["name"], "orders.done")
        self.assertIn(topic["published"], (30000 - len(report["in_hands_of_killed"]), 30000))
        for name in ("subscriber", "slow_subscriber", "remote_subscriber"):
            self.assertEqual(topic[name]["received"] + topic[name]["lost"], topic["published"], name)
        self.assertGreater(topic["slow_subscriber"]["lost"], 0)
        quantiles = [report["latency_ns"][key] for key in ("p50", "p90", "p99", "p999", "max")]
        self.assertEqual(quantiles, sorted(quantiles))
        self.assertGreater(quantiles[0], 0)

    def test_demo_tells_people_what_it_does(self):
        text = self.run_demo("--messages", "5000")[0].decode()
        for words in ("killed worker 1", "nothing was lost", "killed pricer 1", "every call of the function was answered",
                      "was announced on the topic", "the slow subscriber got", "the remote subscriber got", "p99.9", "every invariant holds",
                      "nothing is left in /dev/shm", "All of it holds"):
            self.assertIn(words, text)
        self.assertNotIn("NO ", text)

    def test_demo_takes_a_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl", dir="/tmp") as file:
            file.write('{"id": 1, "note": "ünï \\"quoted\\""}\n\n{"items": [{"price": 2.5, "quantity": 2}]}\r\n[1]')
            file.flush()
            errors = self.run_demo("--input", file.name, code=USAGE)[1].decode()
            self.assertIn(file.name + ", line 4: ", errors)
            file.seek(0)
            file.truncate()
            file.write('{"id": 1, "note": "ünï \\"quoted\\""}\n\n{"items": [{"price": 2.5, "quantity": 2}]}\r\n')
            file.flush()
            report = json.loads(self.run_demo("--input", file.name, "--messages", "1000", "--json")[0])
            self.assertEqual((report["orders"], report["source"]), (2, file.name))

    def test_demo_refuses_bad_input_clearly(self):
        for content, words in ((b"", "empty"), (b" \n\n", "empty"), (b'{"a":1}\n{"a":\n', "line 2"),
                               (b'{"a":"\xff"}\n', "line 1"), (b'{"a":1}\n{"a":"' + b"x" * 21_000_000 + b'"}\n', "line 2"),
                               (b'"text"', "line 1")):
            with tempfile.NamedTemporaryFile() as file:
                file.write(content)
                file.flush()
                demo = self.start("demo", "--input", file.name)
                output, errors = demo.communicate(timeout=LIMIT_S)
                self.assertIn(demo.returncode, (ERROR, USAGE), (content[:30], output))
                self.assertIn(words, errors.decode(), content[:30])
                self.check_gone(demo.pid)
        self.assertIn(b"/nowhere", self.run_demo("--input", "/nowhere", code=USAGE)[1])
        self.assertIn(b"directory", self.run_demo("--input", "/tmp", code=USAGE)[1])
        self.run_demo("--messages", "5", code=USAGE)

    def test_ctrl_c_in_the_middle_cleans_up(self):
        for to_all in (False, True):  # kill -INT of the parent alone, and Ctrl-C in a terminal
            demo = subprocess.Popen([BIN, "demo", "--messages", "3000000", "--json"], stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, start_new_session=True)
            self.started.append(demo)
            self.wait_for_roles(demo.pid)
            time.sleep(0.5)
            (os.killpg if to_all else os.kill)(demo.pid, signal.SIGINT)
            output, errors = demo.communicate(timeout=20)
            self.assertEqual((demo.returncode, output), (ERROR, b""))
            self.assertEqual(json.loads(errors)["error"]["status"], "cancelled")
            self.check_gone(demo.pid)

    def test_a_demo_that_is_killed_outright_leaves_nothing(self):
        demo = self.start("demo", "--messages", "3000000")
        self.wait_for_roles(demo.pid)
        time.sleep(0.5)
        demo.kill()
        demo.communicate(timeout=20)
        self.check_gone(demo.pid)

    def test_a_demo_one_of_whose_processes_dies_says_so(self):
        for role in ROLES:
            demo = self.start("demo", "--messages", "3000000")
            self.wait_for_roles(demo.pid)
            os.kill(self.roles(demo.pid)[role], signal.SIGKILL)
            errors = demo.communicate(timeout=20)[1].decode()
            self.assertEqual(demo.returncode, ERROR, role)
            self.assertRegex(errors, r"the %s of the demo \(pid \d+\) was killed by signal 9" % role)
            self.check_gone(demo.pid)

    def test_a_progress_bar_is_drawn_only_on_a_terminal(self):
        self.assertEqual(self.run_demo("--messages", "5000")[1], b"")
        for extra, drawn in (([], True), (["--no-progress"], False)):
            main, terminal = pty.openpty()
            subprocess.run([BIN, "demo", "--messages", "20000", *extra], stdout=subprocess.DEVNULL,
                           stderr=terminal, timeout=LIMIT_S)
            os.write(terminal, b".")  # so that there is something to read in any case
            os.close(terminal)
            text = os.read(main, 10_000)
            os.close(main)
            self.assertEqual(b"%" in text, drawn, text)


if __name__ == "__main__":
    main()
