#!/usr/bin/env python3
"""The command line through a bridge: every verb with -u URI does what it does with -d NAME."""

import json
import os
import subprocess
import tempfile
import threading
import time

from _cli import BIN, DENIED, ERROR, LIMIT_S, NOT_FOUND, OK, TIMEOUT, USAGE, CliTest, main, wait_until


class Remote(CliTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(dir="/tmp")
        self.addCleanup(folder.cleanup)
        os.environ["TELPHER_CONFIG_DIR"] = os.path.join(folder.name, "telpher")
        self.on("create", "queue", "first")
        socket = os.path.join(folder.name, "s")
        bridge = self.start("bridge", "-d", self.domain, "--listen", "127.0.0.1:0", "--unix", socket, "--json")
        tcp = json.loads(bridge.stdout.readline())["tcp"]
        self.bridge = bridge
        self.socket = socket
        self.tcp = tcp
        self.ways = {"shm": ["-u", "shm:" + self.domain], "unix": ["-u", "unix:" + socket], "tcp": ["-u", tcp],
                     "tls": ["-u", tcp, "--encrypt"], "compressed": ["-u", tcp, "--compress-from", "1KB"]}

    def over(self, way, *arguments, code=OK, stdin=b""):
        return self.run_cli(*arguments, *self.ways[way], code=code, stdin=stdin)

    def json_over(self, way, *arguments):
        return json.loads(self.over(way, *arguments, "--json").stdout)

    def test_every_verb_over_every_way(self):
        for way in self.ways:
            with self.subTest(way):
                queue, topic = "queue-" + way, "topic." + way
                made = self.json_over(way, "create", "queue", queue, "--capacity", "3")
                self.assertEqual(made, {"domain": self.domain, "queue": queue, "capacity": 3, "created": True,
                                        "domain_created": False})
                self.assertFalse(self.json_over(way, "create", "queue", queue, "--capacity", "3")["created"])
                self.over(way, "create", "queue", queue, "--capacity", "4", code=ERROR)
                made = self.json_over(way, "create", "topic", topic, "--history", "2", "--slow", "block")
                self.assertEqual((made["slow"], made["history"], made["created"]), ("block", 2, True))

                large = "espresso " * 20000
                self.over(way, "offer", queue, "first")
                self.over(way, "offer", queue, "-", stdin=large.encode())
                self.over(way, "offer", queue, "third")
                self.over(way, "offer", queue, "fourth", code=TIMEOUT)
                self.assertEqual(self.over(way, "peek", queue).stdout, b"first\n")
                self.assertEqual(self.json_over(way, "info", queue)["depth"], 3)
                self.assertEqual(self.over(way, "poll", queue).stdout, b"first\n")
                self.assertEqual(self.over(way, "poll", queue).stdout.decode(), large + "\n")
                self.assertEqual(self.json_over(way, "purge", queue), {"queue": queue, "purged": 1})
                self.over(way, "poll", queue, code=TIMEOUT)
                self.over(way, "poll", queue, "--timeout", "50ms", code=TIMEOUT)

                self.assertEqual(self.json_over(way, "pub", topic, "1")["published"], 1)
                self.over(way, "pub", topic, "2")
                told = self.over(way, "sub", topic, "--from", "earliest", "--count", "2", "--timeout", "20s").stdout
                self.assertEqual(told, b"1\n2\n")
                told = self.over(way, "tail", topic, "--from", "earliest", "--count", "2", "--timeout", "20s").stdout
                self.assertEqual(told, b"1\n2\n")
                self.over(way, "tail", "topic.nobody", code=NOT_FOUND)
                self.assertEqual(self.json_over(way, "info", topic)["published"], 2)

                listed = self.json_over(way, "ls")
                self.assertEqual(listed["domain"], self.domain)
                self.assertIn(queue, [entry["name"] for entry in listed["queues"]])
                self.assertIn(topic, [entry["name"] for entry in listed["topics"]])
                self.assertEqual(self.json_over(way, "info")["processes"], 1)  # the bridge
                pids = [entry["pid"] for entry in self.json_over(way, "ps")["processes"] if entry["state"] == "live"]
                self.assertEqual(pids, [self.bridge.pid])
                verified = self.json_over(way, "verify")
                self.assertEqual((verified["ok"], verified["processes"]), (True, 1))
                shown = self.json_over(way, "top", "--count", "1", "--interval", "20ms")
                self.assertIn(queue, [entry["name"] for entry in shown["queues"]])
                self.assertEqual(self.over(way, "events", "--timeout", "50ms").returncode, OK)

                self.over(way, "rm", queue)
                self.over(way, "rm", topic)
                self.over(way, "rm", queue, code=NOT_FOUND)
                self.assertNotIn(queue, [entry["name"] for entry in self.json_over(way, "ls")["queues"]])

    def test_a_bridge_is_restarted_under_clients_that_do_not_notice(self):
        count = 8000  # no more than the queue holds: an offer that waits for room when its bridge ends is told
        self.on("create", "queue", "jobs", "--capacity", str(count))
        follower = self.start("poll", "jobs", "--follow", *self.ways["tls"])
        numbers = "".join("%d\n" % number for number in range(count))
        offering = self.start("offer", "jobs", "-", "--rate", "4000/s", "--timeout", "20s", *self.ways["tls"],
                              stdin=subprocess.PIPE)
        threading.Thread(target=lambda: (offering.stdin.write(numbers.encode()), offering.stdin.close())).start()
        for _ in range(4):
            time.sleep(0.3)
            self.bridge.terminate()
            self.assertEqual(self.bridge.wait(timeout=LIMIT_S), OK)
            self.bridge = self.start("bridge", "-d", self.domain, "--listen", self.tcp[len("tcp://"):], "--json")
            self.bridge.stdout.readline()
        self.assertEqual(offering.wait(timeout=LIMIT_S), OK, offering.stderr.read())
        got = [int(follower.stdout.readline()) for _ in range(count)]
        self.assertEqual(got, list(range(count)))

    def test_an_offer_that_waits_for_room_waits_over_a_restart(self):
        self.on("create", "queue", "narrow", "--capacity", "2")
        count = 200
        offering = self.start("offer", "narrow", "-", "--timeout", "20s", *self.ways["tls"], stdin=subprocess.PIPE)
        offering.stdin.write("".join("%d\n" % number for number in range(count)).encode())
        offering.stdin.close()
        offering.stdin = None
        got = []
        while len(got) < count:
            if len(got) % 50 == 10:
                wait_until(lambda: self.json_of("info", "narrow")["depth"] == 2, "the queue is full")
                time.sleep(0.05)  # another offer waits in the bridge
                self.bridge.terminate()
                self.assertEqual(self.bridge.wait(timeout=LIMIT_S), OK)
                self.bridge = self.start("bridge", "-d", self.domain, "--listen", self.tcp[len("tcp://"):], "--json")
                self.bridge.stdout.readline()
            got.append(int(self.on("poll", "narrow", "--timeout", "20s").stdout))
        self.assertEqual(offering.wait(timeout=LIMIT_S), OK, offering.stderr.read())
        self.assertEqual(got, list(range(count)))

    def test_functions_are_called_over_every_way(self):
        server = self.start("serve", "upper", "--exec", "tr a-z A-Z", "-d", self.domain)
        for way in self.ways:
            with self.subTest(way):
                self.assertEqual(self.over(way, "send", "upper", "mocha", "--wait", "20s").stdout, b"MOCHA\n")
                self.over(way, "send", "nobody", "x", code=NOT_FOUND)
        self.assertIsNone(server.poll())

    def test_who_serves_must_be_on_the_host(self):
        for way in ("unix", "tcp"):
            done = self.over(way, "serve", "upper", "--echo", code=USAGE)
            self.assertIn(b"-d NAME", done.stderr)

    def test_another_key_than_the_pinned_one_is_refused(self):
        self.over("tls", "ls")
        done = self.run_cli("ls", "-u", self.tcp, "--pin", "sha256:" + "0" * 64)
        self.assertIn(done.returncode, (ERROR, DENIED))
        self.assertIn(b"pin", done.stderr)

    def serve_to(self, *arguments):
        """Another bridge of the domain: its URI."""
        bridge = self.start("bridge", "-d", self.domain, "--listen", "127.0.0.1:0", "--encrypt", "required", "--json",
                            *arguments)
        return json.loads(bridge.stdout.readline())["tcp"]

    def test_a_pre_shared_key(self):
        config = os.environ["TELPHER_CONFIG_DIR"]
        self.run_cli("keygen", "--psk", code=OK)
        uri = self.serve_to("--peers", "psk")
        self.run_cli("ls", "-u", uri, "--psk", os.path.join(config, "psk"), code=OK)
        self.assertNotEqual(self.run_cli("ls", "-u", uri, "--encrypt").returncode, OK)
        other = os.path.join(config, "other")
        self.run_cli("keygen", "--psk", code=OK, env={**os.environ, "TELPHER_CONFIG_DIR": other})
        self.assertNotEqual(self.run_cli("ls", "-u", uri, "--psk", os.path.join(other, "psk")).returncode, OK)

    def test_an_identity_that_is_trusted(self):
        till = os.path.join(os.path.dirname(self.socket), "till")
        pin = json.loads(self.run_cli("keygen", "--json", code=OK, env={**os.environ, "TELPHER_CONFIG_DIR": till})
                         .stdout)["pin"]
        uri = self.serve_to("--peers", "authorized")
        self.assertNotEqual(self.run_cli("ls", "-u", uri, "--config-dir", till).returncode, OK)
        self.run_cli("trust", "add", "till", pin, code=OK)
        self.run_cli("ls", "-u", uri, "--config-dir", till, code=OK)
        files = ["--certificate", os.path.join(till, "identity.crt"), "--key", os.path.join(till, "identity.key")]
        self.run_cli("ls", "-u", uri, *files, code=OK)

    def test_encryption_is_for_tcp_alone(self):
        self.run_cli(*("ls",), *self.ways["unix"], "--encrypt", code=USAGE)

    def test_nobody_there(self):
        done = self.run_cli("ls", "-u", "tcp://127.0.0.1:1", code=ERROR)
        self.assertIn(b"127.0.0.1:1", done.stderr)


if __name__ == "__main__":
    main()
