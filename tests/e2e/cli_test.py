#!/usr/bin/env python3
"""The contract that holds for every command, and the commands that manage and look."""

import json
import os
import struct
import pty
import re
import shutil
import subprocess
import tempfile
import time

from _cli import (BIN, DENIED, ERROR, LIMIT_S, NOT_FOUND, OK, TIMEOUT, USAGE, CliTest, leftovers,
                  main, wait_until)


COMMANDS = [["demo"], ["ls"], ["info"], ["ps"], ["create"], ["create", "queue"], ["create", "topic"], ["rm"], ["peek"],
            ["purge"], ["offer"], ["poll"], ["pub"], ["sub"], ["tail"], ["gc"], ["verify"], ["explain"], ["doctor"], ["chaos"], ["top"], ["events"],
            ["dlq"], ["dlq", "ls"], ["dlq", "requeue"], ["dlq", "drop"],
            ["log"], ["log", "ls"], ["log", "dump"], ["log", "verify"], ["log", "diff"], ["log", "salvage"],
            ["keygen"], ["trust"], ["trust", "add"], ["trust", "ls"], ["trust", "rm"], ["tls-probe"],
            ["bench"]]
QUEUE_FIELDS = ["name", "kind", "capacity", "depth", "bytes", "offered", "polled", "dropped", "expired",
                "redelivered", "abandoned", "consumers", "delivery", "leased", "delayed", "lease_expired",
                "dead_lettered", "idempotency", "remembered", "duplicates", "replays", "conflicts", "evicted",
                "oldest_age_ms", "removed"]
TOPIC_FIELDS = ["name", "kind", "slow", "capacity", "history", "depth", "bytes", "published", "subscribers", "slowest_lag",
                "lost", "removed"]


class Contract(CliTest):
    def test_help_of_every_command_has_two_examples(self):
        for command in COMMANDS:
            text = self.run_cli(*command, "--help", code=OK).stdout.decode()
            self.assertIn("Examples:", text)
            examples = re.findall(r"^  (?:.* \| )?telpher " + command[0], text, re.MULTILINE)
            self.assertGreaterEqual(len(examples), 2, command)
            self.assertIn("--json", text)

    def test_the_examples_of_the_help_are_understood(self):
        home = tempfile.mkdtemp(prefix="telpher-e2e-")  # keygen is among them
        self.addCleanup(shutil.rmtree, home)
        env = dict(os.environ, TELPHER_CONFIG_DIR=home)
        for command in COMMANDS:
            text = self.run_cli(*command, "--help", code=OK).stdout.decode()
            for line in text.split("Examples:")[1].strip().splitlines():
                if "demo" in line or "--follow" in line or "gc" in line or " bench" in line:
                    continue  # they work, but do more than a test of words should
                line = line.strip().replace("cafe", self.domain).replace("seq 1000", "seq 3")
                line = line.replace("telpher ", BIN + " ").replace("100/s", "9999/s")
                line = line.replace("sha256:HEX", "sha256:" + 64 * "0")
                done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=LIMIT_S, env=env)
                self.assertNotEqual(done.returncode, USAGE, (line, done.stderr))

    def test_no_command_and_an_unknown_command_are_usage_errors(self):
        self.run_cli(code=USAGE)
        self.assertIn(b'no command "brew"', self.run_cli("brew", code=USAGE).stderr)
        self.assertIn("brew", self.error_of("brew", code=USAGE)["detail"])

    def test_commands_and_options_of_later_versions_say_so(self):
        for arguments in (["replay"], ["create", "queue", "orders", "--delivery", "exactly-once"]):
            done = self.run_cli(*arguments, "-d", self.domain, code=USAGE)
            self.assertIn(b"not in this version", done.stderr, arguments)
        self.assertEqual(leftovers(self.domain), [])

    def test_a_durable_queue_outlives_its_domain(self):
        with tempfile.TemporaryDirectory() as folder:
            create = ["create", "queue", "orders", "--kind", "durable", "--log-dir", folder + "/log",
                      "--log-compress-from", "1KB"]
            self.on(*create)
            self.on("offer", "orders", "in memory")
            self.on("offer", "orders", "on disk" + 3000 * "!", "--durable", "--timeout", "5s")
            self.assertIn(b'"compressed":true', self.run_cli("log", "dump", folder + "/log", "--json").stdout)
            self.run_cli("rm", "--domain", "-d", self.domain, "--force")
            again = json.loads(self.on(*create, "--json").stdout)
            self.assertFalse(again["created"])
            self.assertIn(b"on disk", self.on("poll", "orders").stdout)
            self.on("poll", "orders", code=TIMEOUT)
            self.assertIn(b"orders", self.run_cli("log", "ls", folder + "/log").stdout)
            self.run_cli("rm", "--domain", "-d", self.domain, "--force")

    def test_doctor_checks_the_machine_and_says_what_to_do(self):
        healthy = self.run_cli("doctor", "--json")
        told = json.loads(healthy.stdout)
        self.assertEqual(list(told), ["ok", "version", "checks"])
        self.assertEqual([check["check"] for check in told["checks"]],
                         ["shared memory", "processor", "kernel", "namespaces", "limits", "domains", "clock",
                          "encryption"])
        self.assertEqual(healthy.returncode, OK if told["ok"] else ERROR)
        with tempfile.TemporaryDirectory() as folder:
            env = dict(os.environ, TELPHER_CONFIG_DIR=folder)
            self.run_cli("keygen", code=OK, env=env)
            self.assertIn("sha256:", self.check_of("encryption", env)["found"])
            os.chmod(os.path.join(folder, "identity.key"), 0o644)
            encryption = self.check_of("encryption", env, code=ERROR)
            self.assertEqual(encryption["result"], "failure")
            self.assertIn("keygen", encryption["fix"])
        for limit, result, found in (("-n 64", "warning", "64 descriptors"), ("-v 90000", "failure", "does not fit")):
            limited = self.limited(limit, "doctor")
            self.assertEqual(limited.returncode, ERROR if result == "failure" else healthy.returncode)
            self.assertRegex(limited.stdout.decode(), r"(?m)^limits +%s .*%s" % (result, found))
            self.assertIn(b"\nlimits: ulimit " + limit[:2].encode(), limited.stdout)

    def test_doctor_is_right_about_address_space(self):
        """What it calls a failure is one, and what it calls a warning works."""
        for limit, code in (("-v 1000000", OK), ("-v 60000", ERROR)):
            done = self.limited(limit, "create", "queue", "orders", "-d", self.domain)
            self.assertEqual(done.returncode, code, done.stderr)
            self.run_cli("rm", "--domain", "-d", self.domain, "--force")

    def limited(self, limit, *arguments):
        return subprocess.run(["sh", "-c", 'ulimit %s; exec "$@"' % limit, "sh", BIN, *arguments], capture_output=True,
                              timeout=LIMIT_S)

    def check_of(self, name, env, code=None):
        checks = json.loads(self.run_cli("doctor", "--json", code=code, env=env).stdout)["checks"]
        return next(check for check in checks if check["check"] == name)

    def test_a_duration_without_unit_is_a_usage_error(self):
        for bad in ("5", "5x", "", "-1s", "abc"):
            done = self.on("poll", "orders", "--timeout", bad, code=USAGE)
            self.assertIn(b"--timeout", done.stderr)
        self.on("offer", "orders", "x", "--rate", "5", code=USAGE)
        self.on("offer", "orders", "x", "--repeat", "0", code=USAGE)

    def test_a_missing_target_is_a_usage_error(self):
        for arguments in (["offer", "orders", "x"], ["poll", "orders"], ["info", "orders"], ["ps"], ["verify"], ["top"], ["events"],
                          ["create", "queue", "orders"], ["create", "topic", "prices"], ["pub", "prices", "x"],
                          ["sub", "prices"], ["tail", "prices"], ["rm", "orders"], ["rm", "--domain"]):
            self.run_cli(*arguments, code=USAGE)
        self.run_cli("ps", "-d", "a", "-u", "shm:a", code=USAGE)

    def test_what_does_not_exist_is_not_found(self):
        self.assertEqual(self.error_of("poll", "orders", "-d", self.domain, code=NOT_FOUND)["status"],
                         "domain_not_found")
        self.create()
        for arguments in (["poll", "tea"], ["offer", "tea", "x"], ["info", "tea"], ["rm", "tea"]):
            error = self.error_of(*arguments, "-d", self.domain, code=NOT_FOUND)
            self.assertEqual(error["status"], "queue_not_found")

        for arguments in (["tail", "tea"], ["info", "tea", "--topic"], ["rm", "tea", "--topic"]):
            error = self.error_of(*arguments, "-d", self.domain, code=NOT_FOUND)
            self.assertEqual(error["status"], "topic_not_found")

    def test_an_error_for_people_says_what_why_and_what_to_do(self):
        done = self.run_cli("poll", "orders", "-d", self.domain, code=NOT_FOUND)
        text = done.stderr.decode()
        self.assertTrue(text.startswith("telpher: domain_not_found: "), text)
        self.assertIn(self.domain, text)
        self.assertGreaterEqual(text.count(";"), 2, text)
        self.assertEqual(done.stdout, b"")

    def test_a_uri_names_the_same_domain(self):
        self.create()
        self.run_cli("offer", "orders", "x", "-u", "shm:" + self.domain, code=OK)
        self.assertEqual(self.run_cli("poll", "orders", "-u", "shm:" + self.domain, code=OK).stdout, b"x\n")
        self.assertEqual(json.loads(self.run_cli("info", "orders", "-u", "shm:" + self.domain, "--json",
                                                 code=OK).stdout)["polled"], 1)
        self.run_cli("poll", "orders", "-u", "nonsense:" + self.domain, code=USAGE)
        self.run_cli("info", "orders", "-u", "nonsense:" + self.domain, code=USAGE)

    def test_a_pipe_gets_no_colours(self):
        for arguments in (["ls"], ["explain"]):
            self.assertNotIn(b"\x1b", self.run_cli(*arguments, code=OK).stdout)
        self.assertNotIn(b"\x1b", self.run_cli("poll", "x", "-d", self.domain, code=NOT_FOUND).stderr)

    def test_a_terminal_gets_colours_unless_no_color_is_set(self):
        def on_terminal(**extra):
            env = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
            env.update(TERM="xterm", **extra)
            main, terminal = pty.openpty()
            subprocess.run([BIN, "explain"], stdout=terminal, stderr=terminal, env=env, timeout=LIMIT_S)
            os.close(terminal)
            text = os.read(main, 1000)
            os.close(main)
            return text

        self.assertIn(b"\x1b[1m", on_terminal())
        self.assertNotIn(b"\x1b", on_terminal(NO_COLOR="1"))

    def test_a_full_disk_behind_stdout_is_an_error(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BIN, "ls"], stdout=full, stderr=subprocess.PIPE, timeout=LIMIT_S)
        self.assertEqual(done.returncode, ERROR)
        self.assertIn(b"stdout", done.stderr)


class Manage(CliTest):
    def test_create_makes_domain_and_queue_once(self):
        first = self.json_of("create", "queue", "orders", "--capacity", "7")
        self.assertEqual(first, {"domain": self.domain, "queue": "orders", "capacity": 7, "created": True,
                                 "domain_created": True})
        again = self.json_of("create", "queue", "orders", "--capacity", "7")
        self.assertEqual((again["created"], again["domain_created"]), (False, False))

    def test_create_with_another_capacity_is_a_mismatch(self):
        self.create(7)
        error = self.error_of("create", "queue", "orders", "--capacity", "8", "-d", self.domain, code=ERROR)
        self.assertEqual(error["status"], "mismatch")

    def test_create_with_a_bad_name_or_capacity_leaves_no_domain(self):
        for name, capacity in (("two words", "1"), ("orders", "0"), ("orders", "99999999"), ("x" * 101, "1")):
            self.on("create", "queue", name, "--capacity", capacity, code=USAGE)
            self.assertEqual(leftovers(self.domain), [])
        self.on("create", "queue", "orders", "--capacity", "-1", code=USAGE)
        self.run_cli("create", "queue", "orders", "-d", "two words", code=USAGE)

    def test_create_topic_makes_domain_and_topic_once(self):
        options = ("--capacity", "8", "--history", "3", "--slow", "latest-only", "--disconnect-after", "7",
                   "--subscribers", "5", "--byte-budget", "1MB")
        first = self.json_of("create", "topic", "prices", *options)
        self.assertEqual(first, {"domain": self.domain, "topic": "prices", "slow": "latest-only", "capacity": 8,
                                 "history": 3, "created": True, "domain_created": True})
        again = self.json_of("create", "topic", "prices", *options)
        self.assertEqual((again["created"], again["domain_created"]), (False, False))
        error = self.error_of("create", "topic", "prices", "-d", self.domain, code=ERROR)
        self.assertEqual(error["status"], "mismatch")
        self.assertEqual(self.on("create", "topic", "tea").stdout.decode(),
                         "created topic tea for 1,024 messages in domain %s\n" % self.domain)

    def test_create_topic_with_bad_options_leaves_no_domain(self):
        for arguments in (["two words"], ["prices.*"], ["prices", "--capacity", "0"], ["prices", "--slow", "never"],
                          ["prices", "--capacity", "4", "--history", "5"], ["prices", "--subscribers", "2000"],
                          ["prices", "--byte-budget", "512"], ["prices", "--kind", "circular"]):
            self.on("create", "topic", *arguments, code=USAGE)
            self.assertEqual(leftovers(self.domain), [])

    def test_a_name_of_both_a_queue_and_a_topic_needs_a_word_more(self):
        self.create()
        self.on("pub", "orders", "x")
        for command in ("info", "rm"):
            error = self.error_of(command, "orders", "-d", self.domain, code=USAGE)
            self.assertIn("--topic", error["detail"])
            self.on(command, "orders", "--queue", "--topic", code=USAGE)
        self.assertEqual(self.json_of("info", "orders", "--topic")["kind"], "topic")
        self.assertEqual(self.json_of("info", "orders", "--queue")["kind"], "bounded")
        self.assertEqual(self.json_of("rm", "orders", "--queue")["queue"], "orders")
        self.assertEqual(self.json_of("rm", "orders")["topic"], "orders")
        self.on("rm", "orders", code=NOT_FOUND)

    def test_rm_removes_a_queue_and_then_the_domain(self):
        self.create()
        self.assertEqual(self.json_of("rm", "orders"),
                         {"domain": self.domain, "queue": "orders", "removed": True})
        self.on("info", "orders", code=NOT_FOUND)
        self.assertEqual(self.json_of("rm", "--domain"), {"domain": self.domain, "removed": True})
        self.on("rm", "--domain", code=NOT_FOUND)
        self.assertEqual(leftovers(self.domain), [])

    def test_rm_domain_takes_the_name_as_argument_too(self):
        self.create()
        self.run_cli("rm", "--domain", self.domain, code=OK)
        self.on("ls", code=NOT_FOUND)

    def test_rm_of_a_domain_in_use_is_denied_unless_forced(self):
        self.create()
        follower = self.start("poll", "orders", "-d", self.domain, "--follow")
        wait_until(lambda: follower.pid in self.attached(), "the follower is attached")
        error = self.error_of("rm", "--domain", "-d", self.domain, code=DENIED)
        self.assertEqual(error["status"], "not_permitted")
        self.on("rm", "--domain", "--force")
        self.assertEqual(follower.wait(20), NOT_FOUND)  # domain_removed
        self.assertIn(b"domain_removed", follower.stderr.read())

    def test_removing_a_queue_wakes_its_follower(self):
        self.create()
        follower = self.start("poll", "orders", "-d", self.domain, "--follow")
        wait_until(lambda: follower.pid in self.attached(), "the follower is attached")
        self.on("rm", "orders")
        self.assertEqual(follower.wait(20), NOT_FOUND)

    def test_gc_lists_what_is_left_and_why(self):
        report = json.loads(self.run_cli("gc", "--dry-run", "--json", code=OK).stdout)
        self.assertEqual(list(report), ["dry_run", "garbage"])
        self.assertIs(report["dry_run"], True)
        for entry in report["garbage"]:
            self.assertEqual(list(entry), ["file", "reason"])

    def test_gc_touches_no_domain_in_use(self):
        self.create()
        self.on("offer", "orders", "x")
        self.run_cli("gc", code=OK)
        self.assertEqual(self.on("poll", "orders").stdout, b"x\n")


class See(CliTest):
    def test_ls_lists_domains_and_queues(self):
        self.create()
        self.on("create", "queue", "tea")
        domains = json.loads(self.run_cli("ls", "--json", code=OK).stdout)["domains"]
        mine = [entry for entry in domains if entry["name"] == self.domain]
        self.assertEqual(len(mine), 1)
        self.assertEqual(list(mine[0]), ["name", "kind", "uuid", "lifetime", "segment_bytes", "processes",
                                         "destinations", "reaped", "state"])
        self.assertEqual((mine[0]["lifetime"], mine[0]["processes"], mine[0]["destinations"]),
                         ("persistent", 0, 2))
        listing = self.json_of("ls")
        self.assertEqual(list(listing), ["domain", "queues", "topics"])
        self.assertEqual(sorted(queue["name"] for queue in listing["queues"]), ["orders", "tea"])
        self.assertEqual(list(listing["queues"][0]), QUEUE_FIELDS)
        self.assertIn(self.domain.encode(), self.run_cli("ls", code=OK).stdout)
        self.assertEqual(listing["topics"], [])
        self.assertIn(b"orders", self.on("ls").stdout)

    def test_ls_and_info_show_topics(self):
        self.on("create", "topic", "prices", "--history", "2")
        self.assertNotIn(b"QUEUE", self.on("ls").stdout)
        self.on("create", "queue", "tea")
        self.on("pub", "prices", "x", "--repeat", "3")
        info = self.json_of("info", "prices")
        self.assertEqual(list(info), TOPIC_FIELDS)
        self.assertEqual([info[key] for key in TOPIC_FIELDS[:5]], ["prices", "topic", "drop-oldest", 1024, 2])
        self.assertEqual([info[key] for key in ("depth", "published", "subscribers", "lost")], [3, 3, 0, 0])
        self.assertEqual(self.json_of("ls")["topics"], [info])
        for word in (b"tea", b"prices", b"PUBLISHED", b"drop-oldest"):
            self.assertIn(word, self.on("ls").stdout)
        self.assertIn(b"slowest_lag", self.on("info", "prices").stdout)

    def test_ls_shows_a_damaged_domain_and_goes_on(self):
        self.create()
        os.truncate("/dev/shm/telpher." + self.domain, 100)
        domains = json.loads(self.run_cli("ls", "--json", code=OK).stdout)["domains"]
        states = {entry["name"]: entry["state"] for entry in domains}
        self.assertEqual(states[self.domain], "corrupt")
        self.assertEqual(self.error_of("verify", "-d", self.domain, code=ERROR)["status"], "corrupt")
        self.on("rm", "--domain")
        self.run_cli("gc", code=OK)  # a damaged header no longer names the second file

    def test_info_counts_what_happened(self):
        self.create()
        self.on("offer", "orders", "12345", "--repeat", "3")
        self.on("poll", "orders")
        info = self.json_of("info", "orders")
        self.assertEqual(list(info), QUEUE_FIELDS)
        self.assertEqual([info[key] for key in ("name", "kind", "capacity", "depth", "bytes", "offered", "polled")],
                         ["orders", "bounded", 100, 2, 10, 3, 1])
        self.assertGreaterEqual(info["oldest_age_ms"], 0)
        self.on("poll", "orders", "--count", "2")
        self.assertIsNone(self.json_of("info", "orders")["oldest_age_ms"])
        self.assertIn(b"capacity", self.on("info", "orders").stdout)

    def test_info_of_a_domain(self):
        self.create()
        info = self.json_of("info")
        self.assertEqual(list(info), ["name", "kind", "uuid", "lifetime", "segment_bytes", "processes",
                                      "destinations", "reaped"])
        self.assertEqual((info["name"], info["kind"], info["processes"]), (self.domain, "domain", 0))

    def test_ps_shows_others_and_not_itself(self):
        self.create()
        self.assertEqual(self.json_of("ps"), {"domain": self.domain, "processes": []})
        follower = self.start("poll", "orders", "-d", self.domain, "--follow")
        wait_until(lambda: follower.pid in self.attached(), "the follower is attached")
        entry = self.json_of("ps")["processes"][0]
        self.assertEqual(list(entry), ["pid", "command", "state", "attached_ms", "slot"])
        self.assertEqual(entry["pid"], follower.pid)
        self.assertIn(str(follower.pid).encode(), self.on("ps").stdout)

    def test_verify_of_a_sound_domain(self):
        self.create()
        self.on("offer", "orders", "x", "--repeat", "5")
        report = self.json_of("verify")
        self.assertEqual(list(report), ["domain", "ok", "problems", "chunks", "chunks_free", "chunks_owned",
                                        "chunks_offered", "chunks_claimed", "queues", "processes"])
        self.assertEqual((report["ok"], report["problems"], report["chunks_offered"], report["queues"]),
                         (True, [], 5, 1))
        self.assertEqual(report["chunks"], report["chunks_free"] + report["chunks_owned"] + 5)
        self.assertIn(b"every invariant holds", self.on("verify").stdout)

    def test_verify_lists_a_broken_invariant(self):
        self.create()
        path = "/dev/shm/telpher." + self.domain
        with open(path, "r+b") as segment:  # the word of a chunk of the last class: a state there is not
            segment.seek(264 + 7 * 24 + 16)  # shm/FORMAT.md: its offset in the table of classes
            segment.seek(struct.unpack("<Q", segment.read(8))[0])
            segment.write(b"\xff" * 8)
        report = self.json_of("verify", code=ERROR)
        self.assertIs(report["ok"], False)
        self.assertTrue(report["problems"])
        self.assertIn(b"broken", self.on("verify", code=ERROR).stdout)

    def test_explain_knows_every_status(self):
        statuses = json.loads(self.run_cli("explain", "--json", code=OK).stdout)["statuses"]
        self.assertGreaterEqual(len(statuses), 33)
        for status in statuses:
            self.assertEqual(list(status), ["status", "number", "outcome", "cause", "fix", "exit_code"])
            one = self.run_cli("explain", status["status"], "--json", code=OK)
            self.assertEqual(json.loads(one.stdout), status)
        by_number = self.run_cli("explain", "3", code=OK).stdout
        self.assertEqual(by_number, self.run_cli("explain", "queue_full", code=OK).stdout)
        self.run_cli("explain", "nonsense", code=USAGE)


if __name__ == "__main__":
    main()
