#!/usr/bin/env python3
"""telpher offer and telpher poll: every form of input, timeouts, signals and pipes."""

import json
import signal
import subprocess
import tempfile
import time

from _cli import (BIN, ERROR, LIMIT_S, NOT_FOUND, OK, TIMEOUT, USAGE, CliTest, main, wait_until)



class OfferAndPoll(CliTest):
    def test_a_text_goes_through_unchanged(self):
        self.create()
        for text in ("2 espressos", "", "poll", "größe ☕ \"quoted\" \\n", "x" * 5000, "--", "a\tb"):
            self.run_cli("offer", "-d", self.domain, "orders", "--", text, code=OK)
            self.assertEqual(self.on("poll", "orders").stdout.decode(), text + "\n")

    def test_offer_tells_numbers(self):
        self.create()
        self.assertEqual(self.json_of("offer", "orders", "x"),
                         {"queue": "orders", "offered": 1, "first_sequence": 1, "last_sequence": 1})
        self.assertEqual(self.json_of("offer", "orders", "x", "--repeat", "3"),
                         {"queue": "orders", "offered": 3, "first_sequence": 2, "last_sequence": 4})

    def test_a_circular_queue_drops_the_oldest_and_tells(self):
        self.on("create", "queue", "prices", "--capacity", "2", "--kind", "circular")
        self.on("offer", "prices", "x", "--repeat", "5")
        info = self.json_of("info", "prices")
        self.assertEqual([info[key] for key in ("kind", "depth", "offered", "dropped")], ["circular", 2, 5, 3])
        first, second = [json.loads(line) for line in
                         self.on("poll", "prices", "--count", "2", "--json").stdout.splitlines()]
        self.assertEqual((first["sequence"], first["dropped_before"]), (4, 3))
        self.assertEqual(second["sequence"], 5)
        self.assertNotIn("dropped_before", second)

    def test_a_byte_budget_fills_a_queue_before_its_capacity(self):
        self.on("create", "queue", "frames", "--byte-budget", "512B")
        self.assertEqual(self.json_of("offer", "frames", "x", "--repeat", "4")["offered"], 4)
        self.on("offer", "frames", "x", code=TIMEOUT)
        self.assertIn(b"512B", self.on("create", "queue", "other", "--byte-budget", "512", code=USAGE).stderr)

    def test_a_message_of_megabytes_passes(self):
        self.create()
        payload = b"espresso" * 400_000
        with tempfile.NamedTemporaryFile() as file:
            file.write(payload)
            file.flush()
            self.on("offer", "orders", "--file", file.name)
        self.assertEqual(self.on("poll", "orders").stdout.rstrip(b"\n"), payload)
        self.on("verify")

    def test_peek_leaves_the_message_there(self):
        self.create()
        self.on("peek", "orders", code=TIMEOUT)
        self.on("offer", "orders", "latte", "--request-id", "r-2")
        self.on("offer", "orders", "mocha")
        self.assertEqual(self.on("peek", "orders").stdout, b"latte\n")
        self.assertEqual(self.json_of("peek", "orders")["request-id"], "r-2")
        self.assertEqual(self.depth(), 2)
        self.on("peek", "tea", code=NOT_FOUND)

    def test_purge_empties_a_queue(self):
        self.create()
        self.on("offer", "orders", "x", "--repeat", "3")
        self.assertEqual(self.json_of("purge", "orders"), {"queue": "orders", "purged": 3})
        self.assertIn(b"purged 0 messages", self.on("purge", "orders").stdout)
        self.assertEqual(self.depth(), 0)
        self.on("purge", "tea", code=NOT_FOUND)

    def test_poll_json_is_the_whole_message(self):
        self.create()
        self.on("offer", "orders", '{"cup":1}', "--request-id", "r-1", "--reply-to", "replies", "--ttl", "1h",
                "--mimetype", "application/json")
        before_ms = time.time() * 1000
        message = self.json_of("poll", "orders")
        self.assertEqual(message["sequence"], 1)
        for field, value in (("request-id", "r-1"), ("reply-to-queue-name", "replies"), ("topic", "orders"),
                             ("payload-mimetype", "application/json"), ("payload-charset", "UTF-8")):
            self.assertEqual(message[field], value)
        self.assertIn('{"cup":1}', message["payload-text"])
        self.assertLess(abs(message["timestamp"] - before_ms), 60_000)

    def test_a_payload_that_breaks_its_mimetype_is_refused(self):
        self.create()
        error = self.error_of("offer", "orders", "{cup", "--mimetype", "application/json", "-d", self.domain,
                              code=USAGE)
        self.assertEqual(error["status"], "bad_request")
        self.on("offer", "orders", "x", "--mimetype", "nonsense", code=USAGE)
        self.on("offer", "orders", "x", "--request-id", "x" * 300, code=USAGE)
        self.on("offer", "orders", "x", "--ttl", "0", code=USAGE)
        self.assertEqual(self.depth(), 0)

    def test_stdin_is_one_message_per_line(self):
        self.create()
        done = self.json_of("offer", "orders", "-", stdin=b"one\n\ntwo words\r\nlast")
        self.assertEqual(done["offered"], 4)
        self.assertEqual(self.on("poll", "orders", "--count", "4").stdout, b"one\n\ntwo words\r\nlast\n")

    def test_an_empty_stdin_offers_nothing(self):
        self.create()
        self.assertEqual(self.json_of("offer", "orders", "-"),
                         {"queue": "orders", "offered": 0, "first_sequence": None, "last_sequence": None})

    def test_a_line_over_the_limit_is_an_error_after_the_lines_before_it(self):
        self.create()
        done = self.on("offer", "orders", "-", "--json", stdin=b"a\n" + b"x" * 21_000_000 + b"\nb\n", code=ERROR)
        self.assertEqual(json.loads(done.stdout)["offered"], 1)
        self.assertEqual(json.loads(done.stderr)["error"]["status"], "message_too_large")
        self.assertEqual(self.on("poll", "orders").stdout, b"a\n")

    def test_a_file_is_one_message_byte_for_byte(self):
        self.create()
        content = bytes(range(256)) * 10
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            self.on("offer", "orders", "--file", file.name)
            self.assertEqual(self.on("poll", "orders").stdout, content + b"\n")
            self.on("offer", "orders", "--file", file.name)
            self.assertEqual(self.json_of("poll", "orders")["payload-mimetype"], "application/octet-stream")

    def test_a_file_that_cannot_be_read_is_named(self):
        self.create()
        self.assertIn(b"/nowhere", self.on("offer", "orders", "--file", "/nowhere", code=USAGE).stderr)
        self.assertIn(b"directory", self.on("offer", "orders", "--file", "/tmp", code=USAGE).stderr)

    def test_offer_needs_exactly_one_payload(self):
        self.create()
        self.on("offer", "orders", code=USAGE)
        self.on("offer", "orders", "x", "--file", "/dev/null", code=USAGE)
        self.on("offer", "orders", "x", "y", code=USAGE)

    def test_an_empty_queue_is_exit_3_at_once_or_after_the_timeout(self):
        self.create()
        self.assertEqual(self.error_of("poll", "orders", "-d", self.domain, code=TIMEOUT)["status"],
                         "queue_empty")
        start = time.monotonic()
        error = self.error_of("poll", "orders", "-d", self.domain, "--timeout", "300ms", code=TIMEOUT)
        self.assertEqual(error["status"], "timed_out")
        self.assertGreaterEqual(time.monotonic() - start, 0.3)

    def test_a_full_queue_is_exit_3_and_the_account_stays_right(self):
        self.create(capacity=3)
        done = self.on("offer", "orders", "x", "--repeat", "5", "--json", code=TIMEOUT)
        self.assertEqual(json.loads(done.stdout)["offered"], 3)
        self.assertEqual(json.loads(done.stderr)["error"]["status"], "queue_full")
        start = time.monotonic()
        self.on("offer", "orders", "x", "--timeout", "200ms", code=TIMEOUT)
        self.assertGreaterEqual(time.monotonic() - start, 0.2)
        self.assertEqual(self.depth(), 3)

    def test_a_waiting_poll_gets_the_message_and_a_waiting_offer_the_room(self):
        self.create(capacity=1)
        poller = self.start("poll", "orders", "-d", self.domain, "--timeout", "30s")
        wait_until(lambda: poller.pid in self.attached(), "the poller is attached")
        self.on("offer", "orders", "first")
        self.assertEqual(poller.communicate(timeout=20)[0], b"first\n")
        self.on("offer", "orders", "second")
        offerer = self.start("offer", "orders", "third", "-d", self.domain, "--timeout", "30s")
        wait_until(lambda: offerer.pid in self.attached(), "the offerer is attached")
        self.assertEqual(self.on("poll", "orders").stdout, b"second\n")
        self.assertEqual(offerer.wait(20), OK)
        self.assertEqual(self.on("poll", "orders").stdout, b"third\n")

    def test_fewer_messages_than_count_is_exit_3_after_printing_them(self):
        self.create()
        self.on("offer", "orders", "x", "--repeat", "2")
        self.assertEqual(self.on("poll", "orders", "--count", "3", code=TIMEOUT).stdout, b"x\nx\n")

    def test_an_expired_message_is_not_printed(self):
        self.create()
        self.on("offer", "orders", "stale", "--ttl", "20ms")
        self.on("offer", "orders", "fresh")
        time.sleep(0.1)
        self.assertEqual(self.on("poll", "orders").stdout, b"fresh\n")
        self.assertEqual(self.json_of("info", "orders")["expired"], 1)

    def test_a_rate_is_kept(self):
        self.create()
        start = time.monotonic()
        self.on("offer", "orders", "x", "--repeat", "11", "--rate", "50/s")
        self.assertGreaterEqual(time.monotonic() - start, 0.2)  # the first one goes at once
        self.assertEqual(self.depth(), 11)

    def test_two_followers_share_the_messages(self):
        self.create()
        followers = [self.start("poll", "orders", "-d", self.domain, "--follow") for _ in range(2)]
        wait_until(lambda: len(self.attached()) == 2, "both followers are attached")
        self.on("offer", "orders", "-", "--timeout", "30s", stdin=b"".join(b"%d\n" % i for i in range(1000)))
        wait_until(lambda: self.depth() == 0, "the queue is empty")
        time.sleep(0.2)  # the last messages are printed after they were taken
        for follower in followers:
            follower.send_signal(signal.SIGINT)
        lines = b"".join(follower.communicate(timeout=20)[0] for follower in followers).split()
        self.assertEqual(sorted(map(int, lines)), list(range(1000)))


class Interrupts(CliTest):
    def test_ctrl_c_ends_a_follower_cleanly(self):
        self.create()
        for number in (signal.SIGINT, signal.SIGTERM):
            follower = self.start("poll", "orders", "-d", self.domain, "--follow")
            wait_until(lambda: follower.pid in self.attached(), "the follower is attached")
            follower.send_signal(number)
            output, errors = follower.communicate(timeout=20)
            self.assertEqual((follower.returncode, output, errors), (OK, b"", b""))
            self.assertEqual(self.json_of("ps")["processes"], [])

    def test_ctrl_c_in_a_poll_without_follow_is_exit_1(self):
        self.create()
        poller = self.start("poll", "orders", "-d", self.domain, "--timeout", "1h")
        wait_until(lambda: poller.pid in self.attached(), "the poller is attached")
        poller.send_signal(signal.SIGINT)
        self.assertEqual(poller.wait(20), ERROR)

    def test_ctrl_c_ends_an_offer_that_waits_for_stdin_for_room_or_for_its_turn(self):
        self.create(capacity=1)
        self.on("offer", "orders", "x")
        waiting = (["-"], ["y", "--timeout", "1h"], ["z", "--repeat", "2", "--rate", "0.001/s", "--timeout", "1h"])
        for arguments in waiting:
            offer = self.start("offer", "orders", *arguments, "-d", self.domain, "--json", stdin=subprocess.PIPE)
            wait_until(lambda: offer.pid in self.attached(), "the offer is attached")
            offer.send_signal(signal.SIGINT)
            self.assertEqual(offer.wait(20), ERROR, arguments)
            self.assertEqual(json.loads(offer.stderr.read())["error"]["status"], "cancelled")
            offer.stdin.close()
        self.assertEqual(self.depth(), 1)

    def test_a_killed_follower_has_printed_all_but_the_one_in_its_hands(self):
        self.create(capacity=5000)
        follower = self.start("poll", "orders", "-d", self.domain, "--follow")
        offerer = self.start("offer", "orders", "-", "-d", self.domain, "--timeout", "30s", stdin=subprocess.PIPE)
        offerer.stdin.write(b"".join(b"%d\n" % i for i in range(5000)))
        offerer.stdin.close()
        first = [follower.stdout.readline() for _ in range(200)]
        follower.kill()
        printed = first + follower.stdout.read().splitlines(keepends=True)
        follower.wait(20)
        self.assertEqual(offerer.wait(20), OK)
        self.assertEqual([int(line) for line in printed], list(range(len(printed))))
        rest = self.on("poll", "orders", "--count", "5000", code=TIMEOUT if printed else OK).stdout.split()
        self.assertIn(5000 - len(rest) - len(printed), (0, 1))

    def test_a_reader_that_goes_ends_the_follower_and_takes_nothing_with_it(self):
        self.create()
        self.on("offer", "orders", "first")
        shell = subprocess.Popen(
            ["bash", "-c", 'set -o pipefail; "$0" poll orders -d "$1" --follow | head -1', BIN, self.domain],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(shell)
        output, errors = shell.communicate(timeout=20)  # ends although no second message comes
        self.assertEqual((shell.returncode, output, errors), (OK, b"first\n", b""))
        self.on("offer", "orders", "second")
        self.assertEqual(self.on("poll", "orders").stdout, b"second\n")

    def test_head_ends_every_listing_quietly(self):
        self.create()
        for command in ("ls", "explain", "ls -d %s" % self.domain, "info orders -d %s" % self.domain):
            done = subprocess.run(["bash", "-c", "set -o pipefail; %s %s | head -1" % (BIN, command)],
                                  capture_output=True, timeout=LIMIT_S)
            self.assertEqual((done.returncode, done.stderr), (OK, b""), command)


if __name__ == "__main__":
    main()
