#!/usr/bin/env python3
"""Queues of delivery at-least-once: telpher create and poll, what comes back, and telpher dlq."""

import json
import signal
import subprocess
import time

from _cli import BIN, ERROR, NOT_FOUND, OK, TIMEOUT, USAGE, CliTest, main, wait_until

LEASE_FIELDS = ["delivery", "leased", "delayed", "lease_expired", "dead_lettered"]
LETTER_FIELDS = ["sequence", "dead_reason", "dead_time", "dead_origin", "deliveries", "bytes", "id", "topic", "request-id"]


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

    def test_an_offer_with_a_delay_comes_then_and_not_before(self):
        self.create_leased()
        started = time.monotonic()
        offered = self.json_of("offer", "bills", "later", "--delay", "400ms")
        self.assertEqual((offered["offered"], offered["first_sequence"]), (1, None))
        self.assertEqual(self.figures()["delayed"], 1)
        self.on("poll", "bills", code=TIMEOUT)
        self.assertEqual(self.poll_json("bills", "--timeout", "20s")[0]["payload-text"], "later")
        self.assertGreaterEqual(time.monotonic() - started, 0.4)
        self.on("offer", "bills", "never", "--delay", "1200h", code=USAGE)
        self.on("create", "queue", "plain")
        refused = self.error_of("offer", "plain", "x", "--delay", "1s", "-d", self.domain, code=USAGE)
        self.assertEqual(refused["status"], "bad_request")

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


class DeadLetters(LeaseCliTest):
    def bury(self, *texts, create=True):
        if create:
            self.create_leased("--dead-letter", "bills.dead")
        for text in texts:
            self.on("offer", "bills", text, "--request-id", "r-" + text)
            self.on("poll", "bills", "--reject")

    def letters(self, *options):
        return self.json_of("dlq", "ls", "bills.dead", *options)["letters"]

    def test_ls_tells_all_and_leaves_them_in_order(self):
        before_ms = time.time() * 1000
        self.bury("one", "two", "three")
        first = self.json_of("dlq", "ls", "bills.dead")
        self.assertEqual((first["queue"], first["depth"], len(first["letters"])), ("bills.dead", 3, 3))
        letter = first["letters"][0]
        self.assertEqual(list(letter), LETTER_FIELDS)
        self.assertEqual([letter[field] for field in LETTER_FIELDS if field not in ("id", "dead_time")],
                         [1, "rejected", "bills", 1, 3, "bills", "r-one"])
        self.assertLess(abs(letter["dead_time"] - before_ms), 60_000)
        self.assertEqual([again["deliveries"] for again in self.letters()], [2, 2, 2])
        text = self.on("dlq", "ls", "bills.dead", "--max", "2").stdout.decode()
        for word in ("SEQUENCE", "rejected", "bills", "3 B", "the oldest 2 of 3", letter["id"]):
            self.assertIn(word, text)
        self.assertEqual(self.on("poll", "bills.dead", "--count", "3").stdout, b"one\ntwo\nthree\n")

    def test_ls_of_many_gives_them_back_in_order(self):
        self.create_leased("--dead-letter", "bills.dead", "--capacity", "1500")
        self.on("offer", "bills", "-", stdin=b"".join(b"%d\n" % i for i in range(1, 1501)))
        self.on("poll", "bills", "--reject", "--count", "1500")
        for _ in range(2):
            self.assertEqual([letter["sequence"] for letter in self.letters("--max", "1000")], list(range(1, 1001)))
        self.on("dlq", "ls", "bills.dead", "--max", "1001", code=USAGE)
        self.assertEqual(self.json_of("dlq", "requeue", "bills.dead"), {"queue": "bills.dead", "requeued": 1500, "kept": 0})
        self.assertEqual(self.on("poll", "bills", "--count", "1500").stdout.split(), [b"%d" % i for i in range(1, 1501)])
        self.assertTrue(self.is_quiet("bills.dead"))

    def test_poll_tells_of_a_letter_why_it_is_one(self):
        self.create_leased("--dead-letter", "bills.dead", "--deliveries-max", "2")
        self.on("offer", "bills", "poison")
        self.on("poll", "bills", "--nack", "--count", "2")
        self.on("poll", "bills", code=TIMEOUT)
        [letter] = self.poll_json("bills.dead")
        self.assertEqual([letter[field] for field in ("dead_reason", "dead_origin", "deliveries", "payload-text")],
                         ["too_many_deliveries", "bills", 3, "poison"])
        self.assertIsInstance(letter["dead_time"], int)
        self.assertEqual(self.figures()["dead_lettered"], 1)

    def test_a_message_whose_time_has_passed_is_a_letter_that_can_be_requeued(self):
        self.create_leased("--dead-letter", "bills.dead")
        self.on("offer", "bills", "late", "--ttl", "1500ms")
        time.sleep(1.6)
        self.on("poll", "bills", code=TIMEOUT)
        self.assertEqual([letter["dead_reason"] for letter in self.letters()], ["expired"])
        self.on("dlq", "requeue", "bills.dead")
        [again] = self.poll_json("bills")
        self.assertEqual((again["payload-text"], again["sequence"]), ("late", 2))

    def test_requeue_offers_to_the_origin_in_order_and_acknowledges(self):
        self.bury("one", "two", "three")
        self.assertEqual(self.on("dlq", "requeue", "bills.dead", "--max", "2").stdout, b"requeued 2 of bills.dead\n")
        self.assertEqual(len(self.letters()), 1)
        self.on("dlq", "requeue", "bills.dead")
        messages = self.poll_json("bills", "--count", "3")
        self.assertEqual([(m["payload-text"], m["request-id"], m["deliveries"]) for m in messages],
                         [(text, "r-" + text, 1) for text in ("one", "two", "three")])
        self.assertTrue(self.is_quiet("bills.dead"))
        self.assertEqual(self.json_of("dlq", "requeue", "bills.dead")["requeued"], 0)

    def test_letters_that_could_not_be_requeued_keep_their_order(self):
        self.bury("one", "two", "three")
        self.on("rm", "bills")
        for _ in range(3):
            self.letters("--max", "1")
            self.on("dlq", "requeue", "bills.dead", "--max", "2", code=NOT_FOUND)
            self.assertEqual([letter["sequence"] for letter in self.letters()], [1, 2, 3])

    def test_requeue_to_another_queue(self):
        self.bury("one")
        self.create()
        self.on("dlq", "requeue", "bills.dead", "--to", "tea", code=NOT_FOUND)
        self.assertEqual(len(self.letters()), 1)
        self.on("dlq", "requeue", "bills.dead", "--to", "orders")
        self.assertEqual(self.on("poll", "orders").stdout, b"one\n")

    def test_a_letter_whose_origin_was_removed_stays(self):
        self.bury("one", "two")
        self.on("create", "queue", "teas", "--delivery", "at-least-once", "--dead-letter", "bills.dead")
        self.on("offer", "teas", "three")
        self.on("poll", "teas", "--reject")
        self.on("rm", "bills")
        self.assertEqual([letter["dead_origin"] for letter in self.letters()], [None, None, "teas"])
        done = self.on("dlq", "requeue", "bills.dead", "--json", code=NOT_FOUND)
        self.assertEqual(json.loads(done.stdout), {"queue": "bills.dead", "requeued": 1, "kept": 2})
        error = json.loads(done.stderr)["error"]
        self.assertEqual(error["status"], "queue_not_found")
        self.assertIn("--to", error["detail"])
        self.assertEqual([letter["sequence"] for letter in self.letters()], [1, 2])
        self.assertEqual(self.on("poll", "teas").stdout, b"three\n")

    def test_a_full_origin_keeps_the_letters_and_a_timeout_waits_for_room(self):
        self.create_leased("--dead-letter", "bills.dead", "--capacity", "1")
        self.bury("one", create=False)
        self.on("offer", "bills", "full")
        full = self.on("dlq", "requeue", "bills.dead", "--json", code=TIMEOUT)
        self.assertEqual(json.loads(full.stdout), {"queue": "bills.dead", "requeued": 0, "kept": 1})
        self.assertEqual(json.loads(full.stderr)["error"]["status"], "queue_full")
        self.assertEqual(len(self.letters()), 1)
        waiting = self.start("dlq", "requeue", "bills.dead", "-d", self.domain, "--timeout", "30s")
        wait_until(lambda: self.figures("bills.dead")["leased"] == 1, "the letter waits for room")
        self.assertEqual(self.on("poll", "bills").stdout, b"full\n")
        self.assertEqual(waiting.wait(20), OK)
        self.assertEqual(self.on("poll", "bills").stdout, b"one\n")

    def test_a_requeue_killed_before_its_offer_loses_nothing(self):
        self.create_leased("--dead-letter", "bills.dead", "--capacity", "1")
        self.bury("one", create=False)
        self.on("offer", "bills", "full")
        waiting = self.start("dlq", "requeue", "bills.dead", "-d", self.domain, "--timeout", "1h")
        wait_until(lambda: self.figures("bills.dead")["leased"] == 1, "the letter waits for room")
        waiting.kill()
        waiting.wait(20)
        self.assertEqual(self.on("poll", "bills").stdout, b"full\n")
        [letter] = self.poll_json("bills.dead", "--timeout", "20s")
        self.assertEqual((letter["payload-text"], letter["dead_reason"], letter["reason"]),
                         ("one", "rejected", "consumer_died"))
        self.on("poll", "bills", code=TIMEOUT)

    def test_a_requeue_killed_anywhere_loses_no_letter(self):
        count, kills = 2000, 10
        self.create_leased("--dead-letter", "bills.dead", "--capacity", str(2 * count))
        self.on("offer", "bills", "-", stdin=b"".join(b"%d\n" % i for i in range(count)))
        self.on("poll", "bills", "--reject", "--count", str(count))
        for i in range(kills):
            requeue = self.start("dlq", "requeue", "bills.dead", "-d", self.domain)
            time.sleep(0.003 * i)
            requeue.kill()
            requeue.wait(20)
        wait_until(lambda: self.on("dlq", "requeue", "bills.dead") and self.is_quiet("bills.dead"), "all are requeued")
        depth = self.figures()["depth"]
        self.assertLessEqual(depth, count + kills)  # each kill may leave one in both queues
        got = self.on("poll", "bills", "--count", str(depth)).stdout.split()
        self.assertEqual({int(text) for text in got}, set(range(count)))
        self.on("verify")

    def test_drop_ends_them(self):
        self.bury("one", "two", "three")
        self.assertEqual(self.json_of("dlq", "drop", "bills.dead", "--max", "1"),
                         {"queue": "bills.dead", "dropped": 1, "kept": 0})
        self.assertEqual([letter["sequence"] for letter in self.letters()], [2, 3])
        self.assertEqual(self.on("dlq", "drop", "bills.dead").stdout, b"dropped 2 of bills.dead\n")
        self.assertTrue(self.is_quiet("bills.dead"))

    def test_what_is_no_dead_letter_stays(self):
        self.bury("one")
        self.on("offer", "bills", "alive")
        for verb in ("drop", "requeue"):
            error = self.error_of("dlq", verb, "bills", "-d", self.domain, code=USAGE)
            self.assertIn("no dead letters", error["detail"])
        [live] = self.json_of("dlq", "ls", "bills")["letters"]
        self.assertEqual((live["dead_reason"], live["dead_origin"]), (None, None))
        self.assertEqual(self.on("poll", "bills").stdout, b"alive\n")
        self.create()
        for verb in ("ls", "drop", "requeue"):
            error = self.error_of("dlq", verb, "orders", "-d", self.domain, code=USAGE)
            self.assertEqual(error["status"], "bad_request")

    def test_what_is_not_there_is_not_found(self):
        for verb in ("ls", "drop", "requeue"):
            self.run_cli("dlq", verb, "bills.dead", code=USAGE)
            self.on("dlq", verb, "bills.dead", code=NOT_FOUND)
        self.create()
        for verb in ("ls", "drop", "requeue"):
            self.assertEqual(self.error_of("dlq", verb, "tea", "-d", self.domain, code=NOT_FOUND)["status"],
                             "queue_not_found")
        self.on("dlq", code=USAGE)


if __name__ == "__main__":
    main()
