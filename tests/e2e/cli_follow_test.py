#!/usr/bin/env python3
"""telpher top and telpher events: what they tell of a domain while things happen in it, and how they end."""

import json
import os
import pty
import signal
import subprocess
import time

from _cli import BIN, LIMIT_S, NOT_FOUND, OK, TIMEOUT, USAGE, CliTest, main, wait_until

QUEUE_RATES = ["offered_per_s", "polled_per_s"]


class Top(CliTest):
    def top(self, *arguments, code=OK):
        done = self.on("top", "--interval", "200ms", "--json", *arguments, code=code)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_one_object_per_interval_with_queues_and_processes(self):
        self.create(capacity=7)
        self.on("offer", "orders", "espresso", "--repeat", "3")
        waiting = self.start("poll", "orders", "-d", self.domain, "--count", "9", "--timeout", "60s")
        wait_until(lambda: self.depth() == 0, "the messages are taken")
        self.on("offer", "orders", "x")
        objects = self.top("--count", "2")
        self.assertEqual(len(objects), 2)
        for entry in objects:
            self.assertEqual(list(entry), ["domain", "time_ms", "segment_bytes", "reaped", "queues", "topics",
                                           "processes"])
            self.assertEqual(entry["domain"], self.domain)
            self.assertEqual([process["pid"] for process in entry["processes"]], [waiting.pid])
            queue = entry["queues"][0]
            self.assertEqual([queue[key] for key in ("name", "capacity", "offered", "polled", "consumers")],
                             ["orders", 7, 4, 4, 1])
            self.assertEqual([queue[key] for key in QUEUE_RATES], [0, 0])
        self.assertGreaterEqual(objects[1]["time_ms"] - objects[0]["time_ms"], 190)

    def test_rates_are_differences_over_the_interval(self):
        self.create(capacity=100_000)
        self.start("offer", "orders", "x", "--repeat", "100000", "--rate", "500/s", "-d", self.domain)
        wait_until(lambda: self.depth() > 0, "messages come")
        rates = [entry["queues"][0]["offered_per_s"] for entry in self.top("--count", "8")]
        # On a busy machine an interval may see few; over all of them it is the rate.
        self.assertGreater(sum(rates) / len(rates), 100)
        self.assertLess(sum(rates) / len(rates), 2000)

    def test_topics_with_subscribers_and_rates(self):
        self.on("create", "topic", "prices")
        self.assertNotIn(b"QUEUE", self.on("top", "--count", "1", "--interval", "20ms").stdout)
        self.create()
        subscriber = self.start("sub", "prices", "-d", self.domain)
        wait_until(lambda: self.json_of("info", "prices")["subscribers"] == 1, "it is subscribed")
        subscriber.send_signal(signal.SIGSTOP)
        self.on("pub", "prices", "x", "--repeat", "3")
        topic = self.top("--count", "1")[0]["topics"][0]
        self.assertEqual([topic[key] for key in ("name", "published", "subscribers", "slowest_lag", "published_per_s")],
                         ["prices", 3, 1, 3, 0])
        self.start("pub", "prices", "x", "--repeat", "1000000", "--rate", "1000/s", "-d", self.domain)
        top = self.start("top", "-d", self.domain, "--interval", "50ms", "--json")
        wait_until(lambda: json.loads(top.stdout.readline())["topics"][0]["published_per_s"] > 0, "it has a rate")
        text = self.on("top", "--count", "1", "--interval", "50ms").stdout.decode()
        for word in ("orders", "prices", "PUBLISHED/s", "SUBSCRIBERS", "BEHIND", "LOST"):
            self.assertIn(word, text)

    def test_a_queue_made_anew_counts_from_zero(self):
        self.create()
        self.on("offer", "orders", "x", "--repeat", "50")
        top = self.start("top", "-d", self.domain, "--interval", "300ms", "--count", "4", "--json")
        wait_until(lambda: top.pid in self.attached(), "top looks")
        self.on("rm", "orders")
        self.create()
        out, _ = top.communicate(timeout=LIMIT_S)
        for line in out.splitlines():
            for queue in json.loads(line)["queues"]:
                self.assertGreaterEqual(queue["offered_per_s"], 0)

    def test_a_table_for_people(self):
        self.create()
        text = self.on("top", "--count", "2", "--interval", "50ms").stdout.decode()
        self.assertEqual(text.count("QUEUE  "), 2)
        for word in ("orders", "OFFERED/s", "POLLED/s", "DEPTH", "ABANDONED", "OLDEST", "STATE", "persistent"):
            self.assertIn(word, text)
        self.assertNotIn("\x1b", text)

    def test_a_domain_whose_processes_are_all_dead_is_shown(self):
        self.create()
        self.on("offer", "orders", "x")
        victim = self.start("poll", "orders", "-d", self.domain, "--count", "9", "--timeout", "60s")
        wait_until(lambda: self.depth() == 0, "the message is taken")
        victim.kill()
        victim.wait()
        entry = self.top("--count", "1")[0]
        self.assertEqual(entry["processes"], [])
        self.assertEqual(entry["reaped"], 1)
        self.assertEqual(entry["queues"][0]["polled"], 1)

    def test_looking_changes_nothing(self):
        self.create()
        self.on("offer", "orders", "x", "--repeat", "5")
        self.top("--count", "2")
        self.assertEqual(self.on("verify").returncode, OK)
        info = self.json_of("info", "orders")
        self.assertEqual([info[key] for key in ("depth", "offered", "polled", "consumers")], [5, 5, 0, 0])

    def test_on_a_terminal_it_draws_over_itself_and_ctrl_c_ends_it(self):
        self.create()
        leader, follower = pty.openpty()
        process = subprocess.Popen([BIN, "top", "-d", self.domain, "--interval", "50ms"], stdin=subprocess.DEVNULL,
                                   stdout=follower, stderr=subprocess.PIPE)
        self.started.append(process)
        os.close(follower)
        drawn = b""
        while drawn.count(b"\x1b[H") < 3:
            drawn += os.read(leader, 4096)
        process.send_signal(signal.SIGINT)
        # What it draws until then must be read, or it waits for us.
        try:
            while os.read(leader, 4096):
                pass
        except OSError:
            pass  # the other side has gone
        self.assertEqual(process.wait(timeout=LIMIT_S), OK)
        self.assertEqual(drawn.count(b"\x1b[2J"), 1)
        os.close(leader)

    def test_the_removal_of_the_domain_ends_it_with_not_found(self):
        self.create()
        top = self.start("top", "-d", self.domain, "--interval", "20ms", "--json")
        wait_until(lambda: top.pid in self.attached(), "top looks")
        self.on("rm", "--domain", "--force")
        self.assertEqual(top.wait(timeout=LIMIT_S), NOT_FOUND)
        self.assertEqual(json.loads(top.stderr.read())["error"]["status"], "domain_removed")

    def test_a_reader_that_has_gone_ends_it(self):
        self.create()
        done = subprocess.run(["bash", "-c", "%s top -d %s --interval 20ms --json | head -1" % (BIN, self.domain)],
                              capture_output=True, timeout=LIMIT_S)
        self.assertEqual(json.loads(done.stdout)["domain"], self.domain)

    def test_bad_arguments_are_usage_errors(self):
        self.on("top", "--interval", "5", code=USAGE)
        self.on("top", "--count", "0", code=USAGE)
        self.run_cli("top", "-d", self.domain, "--count", "1", code=NOT_FOUND)


class Events(CliTest):
    def follow(self, *arguments):
        process = self.start("events", "-d", self.domain, "--json", *arguments)
        wait_until(lambda: process.pid in self.attached(), "events looks")
        time.sleep(0.3)  # its first look comes after its joining
        return process

    def wait_for(self, process, **wanted):
        """Reads events until one has these fields; returns all that were read."""
        events = []
        while not events or any(events[-1].get(key) != value for key, value in wanted.items()):
            line = process.stdout.readline()
            self.assertTrue(line, "it ended after %s" % events)
            events.append(json.loads(line))
        return events

    def events_of(self, process, code=OK):
        out, err = process.communicate(timeout=LIMIT_S)
        self.assertEqual(process.returncode, code, err)
        return [json.loads(line) for line in out.splitlines()]

    def test_queues_that_are_made_and_removed(self):
        self.create(capacity=5)
        process = self.follow("--timeout", "60s")
        self.on("create", "queue", "tea", "--capacity", "9", "--kind", "circular")
        events = self.wait_for(process, event="queue_created")
        self.on("rm", "orders")
        events += self.wait_for(process, event="queue_removed")
        process.send_signal(signal.SIGINT)
        events += self.events_of(process)
        events = [entry for entry in events if entry["event"].startswith("queue")]
        self.assertEqual([(entry["event"], entry["queue"]) for entry in events],
                         [("queue_created", "tea"), ("queue_removed", "orders")])
        self.assertEqual((events[0]["kind"], events[0]["capacity"]), ("circular", 9))
        self.assertEqual(events[0]["domain"], self.domain)
        self.assertLess(abs(events[0]["time_ms"] / 1000 - time.time()), 600)

    def test_topics_that_are_made_and_removed(self):
        self.on("create", "topic", "alarms")
        process = self.follow("--timeout", "60s")
        self.on("create", "topic", "prices", "--capacity", "8", "--history", "2", "--slow", "block")
        events = self.wait_for(process, event="topic_created")
        self.on("pub", "tea", "x")
        events += self.wait_for(process, event="topic_created")
        self.on("rm", "alarms")
        events += self.wait_for(process, event="topic_removed")
        events = [entry for entry in events if entry["event"].startswith("topic")]
        self.assertEqual([(entry["event"], entry["topic"]) for entry in events],
                         [("topic_created", "prices"), ("topic_created", "tea"), ("topic_removed", "alarms")])
        self.assertEqual([events[0][key] for key in ("slow", "capacity", "history")], ["block", 8, 2])

    def test_processes_that_join_leave_and_die(self):
        self.create()
        process = self.follow()
        leaves = self.start("poll", "orders", "-d", self.domain, "--timeout", "60s", "--count", "9")
        dies = self.start("poll", "orders", "-d", self.domain, "--timeout", "60s", "--count", "9")
        events = []
        while not {leaves.pid, dies.pid} <= {entry.get("pid") for entry in events}:
            events += self.wait_for(process, event="join")
        leaves.send_signal(signal.SIGINT)
        leaves.wait()
        events += self.wait_for(process, pid=leaves.pid, event="leave")
        dies.kill()
        dies.wait()
        events += self.wait_for(process, event="reap")
        process.send_signal(signal.SIGINT)
        events += self.events_of(process)
        for pid, end in ((leaves.pid, "leave"), (dies.pid, "death")):
            self.assertEqual([entry["event"] for entry in events if entry.get("pid") == pid], ["join", end])
        self.assertEqual([entry["count"] for entry in events if entry["event"] == "reap"], [1])

    def test_count_and_timeout_end_it(self):
        self.create()
        error = self.error_of("events", "-d", self.domain, "--count", "5", "--timeout", "100ms", code=TIMEOUT)
        self.assertEqual(error["status"], "timed_out")
        self.assertEqual(self.on("events", "--timeout", "100ms").stdout, b"")
        process = self.start("events", "-d", self.domain, "--json", "--count", "1", "--timeout", "60s")
        # Each command that looks at the domain joins it: that is an event, too.
        wait_until(lambda: self.on("verify") and process.poll() is not None, "an event comes")
        self.assertEqual(len(self.events_of(process)), 1)

    def test_the_removal_of_the_domain_is_the_last_event(self):
        self.create()
        process = self.follow()
        self.on("rm", "--domain", "--force")
        self.assertEqual(self.events_of(process)[-1]["event"], "domain_removed")

    def test_a_line_for_people(self):
        self.create()
        process = self.start("events", "-d", self.domain)
        wait_until(lambda: process.pid in self.attached(), "events looks")
        time.sleep(0.3)
        self.on("create", "queue", "tea", "--capacity", "9")
        line = ""
        while "tea" not in line:
            line = process.stdout.readline().decode()
        self.assertRegex(line, r"^\d\d:\d\d:\d\d\.\d\d\d  created: queue tea, bounded, capacity 9$")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=LIMIT_S), OK)


if __name__ == "__main__":
    main()
