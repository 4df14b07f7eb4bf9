#!/usr/bin/env python3
"""Queues of delivery at-least-once: telpher create and poll, and what comes back."""

import json
import signal
import subprocess
import time

from _cli import BIN, ERROR, NOT_FOUND, OK, TIMEOUT, USAGE, CliTest, main, wait_until

LEASE_FIELDS = ["delivery", "leased", "delayed", "lease_expired", "dead_lettered"]


class LeaseCliTest(CliTest):
    def create_leased(self, *options):
        self.on("create", "queue", "bills", "--delivery", "at-least-once", *options)

    def figures(self, queue="bills"):
        info = self.json_of("info", queue)
        return {field: info[field] for field in ("depth", *LEASE_FIELDS)}

    def is_quiet(self, queue="bills"):
        """Nothing is in the queue, with consumers or on its way back."""
        figures = self.figures(queue)
        return (figures["depth"], figures["leased"], figures["delayed"]) == (0, 0, 0)

    def poll_json(self, *arguments, code=OK):
        return [json.loads(line) for line in
                self.on("poll", *arguments, "--json", code=code).stdout.splitlines()]


class Leases(LeaseCliTest):
    def test_create_makes_the_queue_and_that_of_its_dead_letters(self):
        made = self.json_of("create", "queue", "bills", "--delivery", "at-least-once", "--lease", "10s",
                            "--deliveries-max", "5", "--dead-letter", "bills.dead")
        self.assertEqual((made["queue"], made["created"]), ("bills", True))
        self.on("create", "queue", "plain")
        listing = {queue["name"]: queue for queue in self.json_of("ls")["queues"]}
        self.assertEqual({name: queue["delivery"] for name, queue in listing.items()},
                         {"bills": "at-least-once", "bills.dead": "at-least-once", "plain": "at-most-once"})
        self.assertEqual(listing["bills.dead"]["kind"], "circular")
        self.assertEqual([listing["plain"][field] for field in LEASE_FIELDS[1:]], [0, 0, 0, 0])
        self.assertIn(b"at-least-once", self.on("info", "bills").stdout)
        again = self.error_of("create", "queue", "bills", "--delivery", "at-least-once", "--lease", "11s",
                              "-d", self.domain, code=ERROR)
        self.assertEqual(again["status"], "mismatch")

    def test_create_with_options_that_do_not_fit_leaves_nothing(self):
        for options in (["--lease", "10s"], ["--deliveries-max", "3"], ["--dead-letter", "x"],
                        ["--delivery", "at-least-once", "--lease", "1ms"],
                        ["--delivery", "at-least-once", "--lease", "10"],
                        ["--delivery", "at-least-once", "--lease", "48h"],
                        ["--delivery", "at-least-once", "--dead-letter", "bills"]):
            self.on("create", "queue", "bills", *options, code=USAGE)
            self.on("ls", code=NOT_FOUND)

    def test_the_columns_of_leases_are_there_only_with_leases(self):
        self.create()
        self.assertNotIn(b"LEASED", self.on("ls").stdout)
        self.create_leased()
        for look in (["ls"], ["top", "--count", "1", "--interval", "10ms"]):
            lines = self.on(*look).stdout.decode().splitlines()
            names = next(line for line in lines if line.startswith("QUEUE"))
            rows = {line.split()[0]: line for line in lines if line.split()[:1] in (["orders"], ["bills"])}
            self.assertEqual(names.split()[-3:], ["LEASED", "DELAYED", "DEAD"])
            self.assertEqual(rows["orders"].split()[-3:], ["-", "-", "-"])
            self.assertEqual(rows["bills"].split()[-3:], ["0", "0", "0"])
            self.assertEqual(len(rows["bills"]), len(names))

    def test_a_message_that_was_printed_is_acknowledged(self):
        self.create_leased()
        self.on("offer", "bills", "-", stdin=b"1\n2\n3\n")
        self.assertEqual(self.on("poll", "bills").stdout, b"1\n")
        first, second = self.poll_json("bills", "--count", "2", "--ack")
        self.assertEqual([first[field] for field in ("payload-text", "sequence", "deliveries", "reason")],
                         ["2", 2, 1, "none"])
        self.assertEqual(second["payload-text"], "3")
        self.assertNotIn("dead_reason", first)
        self.assertTrue(self.is_quiet())
        self.create()
        self.on("offer", "orders", "x")
        self.assertNotIn("deliveries", self.poll_json("orders", "--ack")[0])

    def test_a_message_that_could_not_be_written_is_given_back(self):
        self.create_leased()
        self.on("offer", "bills", "x")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BIN, "poll", "bills", "-d", self.domain], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, ERROR)
        self.assertIn(b"message 1 was given back", done.stderr)
        [again] = self.poll_json("bills")
        self.assertEqual((again["sequence"], again["deliveries"], again["reason"]), (1, 2, "nacked"))

    def test_a_consumer_killed_between_poll_and_acknowledgement_loses_nothing(self):
        self.create_leased("--lease", "1h")
        self.on("offer", "bills", "-", stdin=b"1\n2\n")
        consumer = self.start("poll", "bills", "-d", self.domain, "--follow", "--hold", "1h")
        self.assertEqual(consumer.stdout.readline(), b"1\n")
        self.assertEqual(self.figures()["leased"], 1)
        consumer.send_signal(signal.SIGKILL)
        consumer.wait(20)
        first, second = self.poll_json("bills", "--count", "2", "--timeout", "20s")
        self.assertEqual([first[field] for field in ("payload-text", "sequence", "deliveries", "reason")],
                         ["1", 1, 2, "consumer_died"])
        self.assertEqual([second[field] for field in ("payload-text", "deliveries", "reason")], ["2", 1, "none"])
        self.assertTrue(self.is_quiet())
        self.on("verify")

    def test_a_consumer_interrupted_in_hold_gives_back(self):
        self.create_leased()
        self.on("offer", "bills", "x")
        for number, code, follow in ((signal.SIGINT, OK, ["--follow"]), (signal.SIGTERM, ERROR, [])):
            consumer = self.start("poll", "bills", "-d", self.domain, "--hold", "1h", *follow)
            self.assertEqual(consumer.stdout.readline(), b"x\n")
            consumer.send_signal(number)
            self.assertEqual(consumer.wait(20), code)
        [again] = self.poll_json("bills", "--timeout", "20s")
        self.assertEqual((again["deliveries"], again["reason"]), (3, "nacked"))

    def test_hold_outlasts_the_lease(self):
        self.create_leased("--lease", "50ms")
        self.on("offer", "bills", "x")
        self.on("poll", "bills", "--hold", "300ms")
        self.assertTrue(self.is_quiet())
        self.assertEqual(self.figures()["lease_expired"], 0)

    def test_a_lease_that_expires_while_nobody_reads_hands_the_message_to_another(self):
        self.create_leased("--lease", "100ms")
        text = b"x" * 1_000_000  # more than a pipe holds
        self.on("offer", "bills", "-", stdin=text + b"\n")
        slow = self.start("poll", "bills", "-d", self.domain, "--json")
        wait_until(lambda: self.figures()["lease_expired"] == 1, "the lease has expired")
        [again] = self.poll_json("bills", "--timeout", "20s")
        self.assertEqual((again["deliveries"], again["reason"]), (2, "lease_expired"))
        printed, errors = slow.communicate(timeout=20)
        self.assertEqual((slow.returncode, json.loads(printed)["sequence"]), (OK, 1))
        self.assertEqual(json.loads(errors), {"lease_expired": {"sequence": 1}})

    def test_nack_gives_back_at_once_or_later(self):
        self.create_leased()
        self.on("offer", "bills", "-", stdin=b"1\n2\n")
        self.assertEqual([message["deliveries"] for message in self.poll_json("bills", "--nack", "--count", "2")], [1, 2])
        start = time.monotonic()
        self.on("poll", "bills", "--nack", "--delay", "1s")
        self.assertEqual(self.figures()["delayed"], 1)
        self.assertEqual(self.on("poll", "bills").stdout, b"2\n")
        [again] = self.poll_json("bills", "--timeout", "20s")
        self.assertGreaterEqual(time.monotonic() - start, 0.99)
        self.assertEqual((again["sequence"], again["deliveries"], again["reason"]), (1, 4, "nacked"))

    def test_answers_need_a_queue_that_lends(self):
        self.create()
        self.on("offer", "orders", "x")
        for options in (["--nack"], ["--reject"], ["--hold", "1s"]):
            error = self.error_of("poll", "orders", *options, "-d", self.domain, code=USAGE)
            self.assertIn("at-least-once", error["detail"])
        self.on("poll", "orders", "--nack", "--reject", code=USAGE)
        self.on("poll", "orders", "--delay", "1s", code=USAGE)
        self.assertEqual(self.depth(), 1)


if __name__ == "__main__":
    main()
