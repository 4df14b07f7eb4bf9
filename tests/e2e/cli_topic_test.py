#!/usr/bin/env python3
"""telpher pub, sub and tail: patterns, beginnings, slow subscribers, ends and kills.

No test asserts how long something takes: what has to happen is waited for.
"""

import json
import signal
import subprocess
import tempfile

from _cli import (DENIED, ERROR, LIMIT_S, NOT_FOUND, OK, TIMEOUT, USAGE, CliTest, main, wait_until)


class TopicTest(CliTest):
    def topic(self, *options, name="prices"):
        return self.json_of("create", "topic", name, *options)

    def info(self, name="prices"):
        return self.json_of("info", name, "--topic")

    def pub(self, *arguments, code=OK, stdin=b""):
        return self.json_of("pub", *arguments, code=code, stdin=stdin)

    def follow(self, *arguments, command="sub", topic="prices", stderr=subprocess.PIPE):
        """Starts a subscriber; returns when it is one."""
        before = self.subscribers(topic)
        process = self.start(command, *arguments, "-d", self.domain, stderr=stderr)
        wait_until(lambda: self.subscribers(topic) > before, "it is subscribed")
        return process

    def subscribers(self, topic="prices"):
        topics = {entry["name"]: entry for entry in self.json_of("ls")["topics"]}
        return topics.get(topic, {"subscribers": 0})["subscribers"]

    def lines_until(self, process, last):
        """The JSON objects that it prints, up to the one with this payload."""
        objects = []
        while not objects or objects[-1]["payload-text"] != last:
            line = process.stdout.readline()
            self.assertTrue(line, "it ended after %d" % len(objects))
            objects.append(json.loads(line))
        return objects

    def gaps(self, errors):
        return [json.loads(line)["gap"] for line in errors.splitlines() if b'"gap"' in line]

    def check_account(self, objects, first=1):
        """One after the other, and what is missing was told. Returns how many were lost."""
        next_sequence = first
        for entry in objects:
            next_sequence += entry["lost"]
            self.assertEqual(entry["sequence"], next_sequence)
            next_sequence += 1
        return sum(entry["lost"] for entry in objects)


class Publish(TopicTest):
    def test_pub_tells_numbers_and_subscribers(self):
        self.create()
        self.assertEqual(self.pub("prices", "x"), {"topic": "prices", "published": 1, "first_sequence": 1,
                                                   "last_sequence": 1, "subscribers": 0})
        self.follow("prices")
        self.assertEqual(self.pub("prices", "x", "--repeat", "3"),
                         {"topic": "prices", "published": 3, "first_sequence": 2, "last_sequence": 4,
                          "subscribers": 1})
        self.assertEqual(self.on("pub", "prices", "x").stdout,
                         b"published 1 to prices, number 5, subscribers 1\n")

    def test_every_form_of_input_goes_through_unchanged(self):
        self.topic("--history", "100")
        self.pub("prices", "größe ☕ \"quoted\"")
        self.assertEqual(self.pub("prices", "-", stdin=b"one\n\ntwo words\r\nlast")["published"], 4)
        with tempfile.NamedTemporaryFile() as file:
            file.write(bytes(range(256)) * 300)
            file.flush()
            self.pub("prices", "--file", file.name)
        printed = self.on("sub", "prices", "--from", "earliest", "--count", "6").stdout
        self.assertEqual(printed, "größe ☕ \"quoted\"\none\n\ntwo words\r\nlast\n".encode() +
                         bytes(range(256)) * 300 + b"\n")

    def test_headers_travel(self):
        self.topic("--history", "1")
        self.pub("prices", '{"espresso":3.2}', "--mimetype", "application/json", "--request-id", "r-1",
                 "--reply-to", "replies", "--ttl", "1h")
        message = self.json_of("sub", "prices", "--from", "earliest", "--count", "1")
        self.assertEqual(list(message)[:2], ["sequence", "lost"])
        for field, value in (("sequence", 1), ("lost", 0), ("topic", "prices"), ("request-id", "r-1"),
                             ("reply-to-queue-name", "replies"), ("payload-mimetype", "application/json"),
                             ("type", "PUBLISH")):
            self.assertEqual(message[field], value)

    def test_a_refused_message_leaves_no_topic(self):
        self.create()
        for arguments in (["prices", "{cup", "--mimetype", "application/json"], ["prices.>", "x"],
                          ["two words", "x"], ["prices"], ["prices", "x", "--file", "/dev/null"]):
            self.on("pub", *arguments, code=USAGE)
        self.assertEqual(self.pub("prices", "-")["first_sequence"], None)
        self.assertEqual(self.json_of("ls")["topics"], [])

    def test_ctrl_c_ends_a_publisher_that_waits_and_its_account_is_right(self):
        self.create()
        publisher = self.start("pub", "prices", "x", "--repeat", "5", "--rate", "0.001/s", "--json", "-d",
                               self.domain)
        wait_until(lambda: self.json_of("ls")["topics"], "the first is published")
        wait_until(lambda: self.info()["published"] == 1, "the first is published")
        publisher.send_signal(signal.SIGINT)
        output, _ = publisher.communicate(timeout=LIMIT_S)
        self.assertEqual((publisher.returncode, json.loads(output)["published"]), (ERROR, 1))


class Subscribe(TopicTest):
    def test_each_subscriber_gets_each_message(self):
        self.topic()
        followers = [self.follow("prices", "--count", "1000") for _ in range(3)]
        lines = b"".join(b"%d\n" % i for i in range(1000))
        self.pub("prices", "-", stdin=lines)
        for follower in followers:
            self.assertEqual(follower.communicate(timeout=LIMIT_S)[0], lines)
            self.assertEqual(follower.returncode, OK)

    def test_patterns_take_their_levels_and_topics_made_later(self):
        for name in ("cafe.oslo.price", "cafe.oslo"):
            self.topic(name=name)
        one = self.follow("cafe.*.price", "--json", topic="cafe.oslo.price")
        rest = self.follow("cafe.>", "--json", topic="cafe.oslo")
        named = self.follow("cafe.oslo", "tea", "--json", topic="tea")
        for name in ("cafe.oslo.price", "cafe.oslo", "cafe.rome.price", "tea", "cafe"):
            self.pub(name, name)
        for name in ("cafe.oslo.price", "cafe.oslo", "tea"):
            self.pub(name, "last")
        wanted = ((one, ["cafe.oslo.price", "cafe.rome.price"], 1),
                  (rest, ["cafe.oslo", "cafe.oslo.price", "cafe.rome.price"], 2),
                  (named, ["cafe.oslo", "tea"], 2))
        for process, topics, lasts in wanted:
            objects = [json.loads(process.stdout.readline()) for _ in range(len(topics) + lasts)]
            self.assertEqual(sorted(entry["topic"] for entry in objects if entry["payload-text"] != "last"),
                             topics)

    def test_a_bad_pattern_is_a_usage_error_that_names_the_fault(self):
        self.create()
        for pattern in ("a.>.b", ">.a", "a*", "", "two words", "x" * 101):
            for command in ("sub", "tail"):
                error = self.error_of(command, pattern, "-d", self.domain, code=USAGE)
                self.assertEqual(error["status"], "bad_request")
                self.assertIn("topic", error["detail"])
        self.on("sub", code=USAGE)
        for arguments in (["--from", "0"], ["--from", "-1"], ["--from", "first"], ["--slow", "never"],
                          ["--count", "0"], ["--timeout", "5"]):
            self.on("sub", "prices", *arguments, code=USAGE)
        self.assertEqual(self.json_of("ls")["topics"], [])

    def test_a_missing_domain_is_not_found(self):
        for arguments in (["pub", "prices", "x"], ["sub", "prices"], ["sub", "prices.>"], ["tail", "prices"],
                          ["info", "prices", "--topic"], ["rm", "prices", "--topic"]):
            error = self.error_of(*arguments, "-d", self.domain, code=NOT_FOUND)
            self.assertEqual(error["status"], "domain_not_found")

    def test_where_it_begins(self):
        self.topic("--history", "3")
        self.pub("prices", "-", stdin=b"1\n2\n3\n4\n5\n")
        for begin, printed in (("earliest", b"3\n4\n5\n"), ("4", b"4\n5\n"), ("latest", b""), ("99", b"")):
            self.assertEqual(self.on("sub", "prices", "--from", begin, "--timeout", "0", code=TIMEOUT).stdout,
                             printed)

    def test_what_it_cannot_begin_with_counts_as_lost(self):
        self.topic("--capacity", "4")
        self.pub("prices", "x", "--repeat", "100")
        done = self.on("sub", "prices", "--from", "1", "--timeout", "0", "--json", code=TIMEOUT)
        objects = [json.loads(line) for line in done.stdout.splitlines()]
        lost = self.check_account(objects)
        self.assertEqual(len(objects) + lost, 100)
        self.assertEqual(self.gaps(done.stderr),
                         [{"topic": "prices", "lost": lost, "before": objects[0]["sequence"]}])
        told = self.on("sub", "prices", "--from", "1", "--count", "1").stderr.decode()
        self.assertEqual(told, "telpher: lost %d messages of prices before number %d\n" % (lost, lost + 1))

    def test_count_and_timeout_end_it(self):
        self.topic("--history", "5")
        self.pub("prices", "x", "--repeat", "2")
        self.assertEqual(self.on("sub", "prices", "--from", "earliest", "--count", "2").stdout, b"x\nx\n")
        for command in ("sub", "tail"):
            done = self.on(command, "prices", "--from", "earliest", "--count", "3", "--timeout", "50ms",
                           code=TIMEOUT)
            self.assertEqual(done.stdout, b"x\nx\n")
            self.assertIn(b"timed_out", done.stderr)
            self.assertIn(b"queue_empty", self.on(command, "prices", "--from", "latest", "--timeout", "0",
                                                  code=TIMEOUT).stderr)

    def test_ctrl_c_ends_it_cleanly_and_its_place_is_free(self):
        self.topic("--subscribers", "1")
        for command in ("sub", "tail"):
            for number in (signal.SIGINT, signal.SIGTERM):
                follower = self.follow("prices", command=command)
                self.assertIn(b"limit_reached", self.on("sub", "prices", code=ERROR).stderr)
                follower.send_signal(number)
                output, errors = follower.communicate(timeout=LIMIT_S)
                self.assertEqual((follower.returncode, output, errors), (OK, b"", b""))
                self.assertEqual((self.subscribers(), self.json_of("ps")["processes"]), (0, []))
        follower = self.follow("prices", "--count", "2")
        follower.send_signal(signal.SIGINT)
        self.assertEqual(follower.wait(LIMIT_S), ERROR)  # it was asked for two

    def test_a_reader_that_has_gone_ends_it(self):
        self.topic()
        for command in ("sub", "tail"):
            follower = self.follow("prices", command=command)
            follower.stdout.close()
            self.assertEqual(follower.wait(LIMIT_S), OK)
            self.assertEqual(follower.stderr.read(), b"")
            follower.stderr.close()
            follower.stdout = follower.stderr = None

    def test_a_removed_topic_ends_it_after_what_is_there(self):
        self.topic()
        sub, tail = self.follow("prices"), self.follow("prices", command="tail")
        every = self.follow(">")
        self.pub("prices", "x")
        self.assertEqual(self.json_of("rm", "prices"), {"domain": self.domain, "topic": "prices", "removed": True})
        for process in (sub, tail):
            output, errors = process.communicate(timeout=LIMIT_S)
            self.assertEqual((process.returncode, output), (NOT_FOUND, b"x\n"))
            self.assertIn(b"topic_not_found", errors)
        self.pub("prices", "another topic of that name")  # who follows a pattern follows it, too
        self.assertEqual([every.stdout.readline() for _ in range(2)], [b"x\n", b"another topic of that name\n"])
        self.on("rm", "--domain", "--force")
        self.assertEqual(every.wait(LIMIT_S), NOT_FOUND)
        self.assertIn(b"domain_removed", every.stderr.read())


class Slow(TopicTest):
    def fill(self, follower, repeat=20_000):
        """Publishes far more than the follower can print while nobody reads what it prints."""
        published = self.pub("prices", "x", "--repeat", str(repeat))["published"]
        return published + self.pub("prices", "last")["published"]

    def test_published_is_received_and_lost(self):
        self.topic("--capacity", "64")
        for slow in ((), ("--slow", "drop-oldest"), ("--slow", "latest-only")):
            before = self.info()["published"]
            follower = self.follow("prices", "--json", *slow)
            published = self.fill(follower)
            objects = self.lines_until(follower, "last")
            lost = self.check_account(objects, before + 1)
            self.assertGreater(lost, 0)
            self.assertEqual(len(objects) + lost, published)
            self.assertEqual(self.info()["lost"], lost)
            follower.send_signal(signal.SIGINT)
            gaps = self.gaps(follower.communicate(timeout=LIMIT_S)[1])
            self.assertEqual(sum(gap["lost"] for gap in gaps), lost)
            self.assertEqual([(gap["before"], gap["lost"]) for gap in gaps],
                             [(entry["sequence"], entry["lost"]) for entry in objects if entry["lost"]])

    def test_a_blocking_subscriber_loses_nothing_and_publishers_wait(self):
        self.topic("--capacity", "8", "--slow", "block")
        follower = self.follow("prices", "--json")
        done = self.on("pub", "prices", "x" * 5000, "--repeat", "1000", "--json", code=TIMEOUT)
        self.assertEqual(json.loads(done.stderr)["error"]["status"], "queue_full")
        published = json.loads(done.stdout)["published"]
        last = self.start("pub", "prices", "last", "--timeout", "50s", "-d", self.domain)
        objects = self.lines_until(follower, "last")
        self.assertEqual(last.wait(LIMIT_S), OK)
        self.assertEqual([entry["sequence"] for entry in objects], list(range(1, published + 2)))
        self.assertEqual(self.info()["lost"], 0)

    def test_block_only_where_the_topic_says_so(self):
        self.topic()
        error = self.error_of("sub", "prices", "--slow", "block", "-d", self.domain, code=DENIED)
        self.assertEqual(error["status"], "not_permitted")

    def test_a_subscriber_that_lost_too_much_is_ended_and_told_all_of_it(self):
        self.topic("--capacity", "8", "--slow", "disconnect", "--disconnect-after", "10")
        follower = self.follow("prices", "--json")
        self.fill(follower)
        output, errors = follower.communicate(timeout=LIMIT_S)
        self.assertEqual(follower.returncode, ERROR)
        self.assertEqual(json.loads(errors.splitlines()[-1])["error"]["status"], "disconnected")
        objects = [json.loads(line) for line in output.splitlines()]
        self.check_account(objects)
        last = self.gaps(errors)[-1]
        self.assertEqual((last["topic"], last["before"]), (None, None))
        self.assertGreater(sum(gap["lost"] for gap in self.gaps(errors)), 10)


class Tail(TopicTest):
    def test_it_shows_the_history_and_goes_on(self):
        self.topic("--history", "2")
        self.pub("prices", "-", stdin=b"1\n2\n3\n")
        tail = self.follow("prices", "--json", command="tail")
        self.pub("prices", "last")
        self.assertEqual([entry["sequence"] for entry in self.lines_until(tail, "last")], [2, 3, 4])

    def test_it_makes_no_topic(self):
        self.create()
        error = self.error_of("tail", "prices", "-d", self.domain, code=NOT_FOUND)
        self.assertEqual(error["status"], "topic_not_found")
        self.on("tail", "prices.>", "--timeout", "0", code=TIMEOUT)
        self.assertEqual(self.json_of("ls")["topics"], [])

    def test_nobody_waits_for_it(self):
        self.topic("--capacity", "8", "--slow", "block")
        tail = self.follow("prices", "--json", command="tail")
        published = self.pub("prices", "x" * 5000, "--repeat", "1000")["published"]
        published += self.pub("prices", "last")["published"]
        objects = self.lines_until(tail, "last")
        self.assertEqual(len(objects) + self.check_account(objects), published)


class Kills(TopicTest):
    def test_a_killed_subscriber_frees_its_place_and_those_who_wait_for_it(self):
        self.topic("--capacity", "4", "--slow", "block", "--subscribers", "1")
        victim = self.follow("prices")
        victim.send_signal(signal.SIGSTOP)
        publisher = self.start("pub", "prices", "x", "--repeat", "100", "--timeout", "50s", "--json", "-d",
                               self.domain)
        wait_until(lambda: self.info()["slowest_lag"] == 4, "the publisher waits")
        victim.kill()
        victim.wait()
        output, _ = publisher.communicate(timeout=LIMIT_S)
        self.assertEqual(json.loads(output)["published"], 100)
        wait_until(lambda: self.subscribers() == 0, "its place is free")
        again = self.follow("prices", "--count", "1")
        self.pub("prices", "y")
        self.assertEqual(again.communicate(timeout=LIMIT_S)[0], b"y\n")
        self.assertEqual(self.on("verify").returncode, OK)

    def test_killed_publishers_leave_whole_messages_and_a_topic_that_goes_on(self):
        self.topic()
        # Nobody reads what it tells on stderr, which may be more than a pipe holds.
        follower = self.follow("prices", "--json", stderr=subprocess.DEVNULL)
        objects = []
        for round_number in range(5):
            publisher = self.start("pub", "prices", "0123456789" * (1 + 99 * (round_number % 2)), "--repeat",
                                   "1000000000", "-d", self.domain)
            objects += [json.loads(follower.stdout.readline()) for _ in range(300)]
            publisher.kill()
            publisher.wait()
            self.pub("prices", "last %d" % round_number)
            objects += self.lines_until(follower, "last %d" % round_number)
        for entry in objects:
            self.assertIn(entry["payload-text"].replace("0123456789", ""), ["", *("last %d" % i for i in range(5))])
        lost = self.check_account(objects)
        self.assertEqual(self.info()["published"], len(objects) + lost)
        self.assertEqual(self.on("verify").returncode, OK)


if __name__ == "__main__":
    main()
