#!/usr/bin/env python3
"""Queues that remember request ids: telpher create queue --idempotency, and offers that are made twice."""

import json
import os
import tempfile
import time

from _cli import ERROR, NOT_FOUND, OK, TIMEOUT, USAGE, CliTest, main

FIGURES = ["idempotency", "remembered", "duplicates", "replays", "conflicts", "evicted"]


class Idempotency(CliTest):
    def create_remembering(self, *options):
        return self.json_of("create", "queue", "payments", *options)

    def figures(self):
        info = self.json_of("info", "payments")
        return [info[field] for field in FIGURES]

    def offer(self, text, request_id, way=None, code=OK):
        """The first sequence number, or the error."""
        where = way or ["-d", self.domain]
        done = self.run_cli("offer", "payments", text, "--request-id", request_id, "--json", *where, code=code)
        return json.loads(done.stdout)["first_sequence"] if code == OK else json.loads(done.stderr)["error"]

    def test_a_message_that_is_offered_twice_is_enqueued_once_over_every_way(self):
        folder = tempfile.TemporaryDirectory(dir="/tmp")
        self.addCleanup(folder.cleanup)
        os.environ["TELPHER_CONFIG_DIR"] = os.path.join(folder.name, "telpher")
        self.assertTrue(self.create_remembering("--idempotency", "--idempotency-scope", "global")["created"])
        bridge = self.start("bridge", "-d", self.domain, "--listen", "127.0.0.1:0", "--json")
        tcp = json.loads(bridge.stdout.readline())["tcp"]
        shm, remote = ["-u", "shm:" + self.domain], ["-u", tcp]
        for number, ways in enumerate([(shm, shm), (remote, remote), (shm, remote)], 1):
            for way in ways:
                self.assertEqual(self.offer("1 EUR", "order-%d" % number, way), number)
        self.assertEqual(self.figures(), [True, 3, 3, 3, 0, 0])
        self.assertEqual(self.json_of("info", "payments")["depth"], 3)
        remote_info = json.loads(self.run_cli("info", "payments", "--json", *remote, code=OK).stdout)
        self.assertEqual([remote_info[field] for field in FIGURES], self.figures())
        conflict = self.offer("2 EUR", "order-1", code=ERROR)
        self.assertEqual(conflict["status"], "idempotency_conflict")
        for _ in range(3):
            self.assertEqual(self.on("poll", "payments").stdout, b"1 EUR\n")
        self.assertEqual(self.offer("1 EUR", "order-1"), 1, "taken, and still remembered")
        self.on("poll", "payments", code=TIMEOUT)

    def test_each_of_the_options_makes_a_queue_remember(self):
        for options in (["--idempotency"], ["--idempotency-ttl", "1h"], ["--idempotency-scope", "client"],
                        ["--idempotency-entries", "10"], ["--idempotency-evict"], ["--idempotency-required"]):
            with self.subTest(options):
                self.create_remembering(*options)
                self.assertEqual(self.figures(), [True, 0, 0, 0, 0, 0])
                self.on("rm", "payments", "--force")
        self.create_remembering()
        self.assertEqual(self.figures(), [False, 0, 0, 0, 0, 0])
        self.assertEqual([self.offer("x", "a"), self.offer("x", "a")], [1, 2])

    def test_create_again_with_other_options_is_a_mismatch(self):
        self.create_remembering("--idempotency")
        self.assertFalse(self.create_remembering("--idempotency-ttl", "10m")["created"], "the default")
        for options in ([], ["--idempotency-ttl", "11m"], ["--idempotency-scope", "global"], ["--idempotency-evict"]):
            again = self.error_of("create", "queue", "payments", *options, "-d", self.domain, code=ERROR)
            self.assertEqual(again["status"], "mismatch")

    def test_create_with_values_that_do_not_fit_leaves_nothing(self):
        for options in (["--idempotency-ttl", "10us"], ["--idempotency-ttl", "721h"], ["--idempotency-ttl", "10"],
                        ["--idempotency-scope", "mine"], ["--idempotency-entries", "2000000"],
                        ["--idempotency-entries", "many"], ["--idempotency-entries", "-1"]):
            with self.subTest(options):
                refused = self.on("create", "queue", "payments", *options, code=USAGE)
                self.assertRegex(refused.stderr, b"idempotency")
                self.on("ls", code=NOT_FOUND)

    def test_scopes_tell_whose_ids_are_meant(self):
        self.create_remembering("--idempotency-scope", "client")
        self.assertEqual([self.offer("x", "a"), self.offer("x", "a")], [1, 2], "two processes, two clients")

    def test_an_id_may_be_required(self):
        self.create_remembering("--idempotency-required")
        refused = self.error_of("offer", "payments", "x", "-d", self.domain, code=USAGE)
        self.assertEqual(refused["status"], "bad_request")
        self.assertEqual(self.offer("x", "a"), 1)
        self.assertEqual(self.figures()[:2], [True, 1])

    def test_what_is_remembered_ends_with_its_time(self):
        self.create_remembering("--idempotency-ttl", "50ms")
        first = self.offer("x", "a")
        time.sleep(0.1)
        self.assertEqual([first, self.offer("x", "a")], [1, 2])


if __name__ == "__main__":
    main()
