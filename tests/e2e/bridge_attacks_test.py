#!/usr/bin/env python3
"""Hostile peers of a bridge: floods, garbage, downgrades, lies about lengths; and a client that has stopped.

What is done to a single record, or by a single handshake, is in tests/unit/bridge (TlsAttack, TlsHostilePeer,
RemoteFaults, RemoteAttack): here is what needs the real process.
"""

import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import bridge_protocol_test as protocol
from _cli import LIMIT_S, OK, main, wait_until
from _wire import (ACK, GOODBYE, HELLO, HEARTBEAT, MORE, OFFER, OPEN, POLL, PREFACE, REFUSED, RESULT, SUBSCRIBE, WATCH, WELCOME,
                   Wire, frame, hello, message)
from bridge_limits_test import Limited

SOAK = "TELPHER_SOAK" in os.environ
GARBAGE = 10_000
HALF_OPEN = 2_000
MIB = 1 << 20


class Attack(Limited):
    def rss(self):
        """Memory of the process's own: without the domain's pages."""
        with open("/proc/%d/status" % self.process.pid, encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))

    def connection(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.addCleanup(connection.close)
        return connection

    def encrypted(self, greet=True):
        wire = Wire(("127.0.0.1", self.port), greet=False)
        self.wires.append(wire)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        wire.socket = context.wrap_socket(wire.socket)
        if greet:
            wire.greet()
        return wire

    def rate(self, wire, seconds):
        """Offers and polls a second of one client, one after the other."""
        count, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            self.expect_works(wire)
            count += 2
            if count % 500 == 0:
                wire.send(frame(ACK, argument=wire.correlation))
        return count / seconds


class Floods(Attack):
    def test_half_open_and_dribbling_connections_leave_a_client_its_throughput(self):
        self.bridge("--encrypt", "allowed", "--connects-per-second", "0")
        wire = self.wire()
        wire.open(1, "orders")
        before = self.rate(wire, 1)
        rss = self.rss()
        # Half of them say nothing, a quarter half a TLS handshake, a quarter half a preface; and those who are left
        # say one more byte each second.
        beginnings = (b"", b"\x16\x03\x01\x02\x00\x01\x00", b"", PREFACE[:5])
        open_now, stop = [], threading.Event()

        def flood():
            for number in range(HALF_OPEN):
                one = socket.create_connection(("127.0.0.1", self.port), timeout=20)
                one.send(beginnings[number % 4])
                open_now.append(one)
            while not stop.wait(0.5):
                for one in open_now:
                    try:
                        one.send(b"r")
                    except OSError:
                        pass

        thread = threading.Thread(target=flood)
        began = time.monotonic()
        thread.start()
        during = self.rate(wire, 1)
        wait_until(lambda: len(open_now) == HALF_OPEN, "all are open")
        took = time.monotonic() - began
        behind = self.rate(wire, 1)
        stop.set()
        thread.join()
        grown = self.rss() - rss
        for one in open_now:
            one.close()
        print("%d half-open connections in %.1f s: %.0f operations/s before, %.0f in the flood, %.0f behind it; "
              "%.1f MiB more" % (HALF_OPEN, took, before, during, behind, grown / MIB))
        # In the flood its own process and threads compete for the processors: only behind it is the bridge's share known.
        self.assertGreater(during, before * 0.1)
        self.assertGreater(behind, before * 0.1)
        self.assertLess(grown, 16 * MIB)
        self.assertEqual(self.wire().welcome.kind, WELCOME)

    def test_garbage_costs_no_memory(self):
        self.bridge("--encrypt", "allowed", "--connects-per-second", "0")
        wire = self.wire()
        wire.open(1, "orders")
        pieces = (b"GET / HTTP/1.1\r\n\r\n", os.urandom(2000), b"\x16\x03\x01\x00\x05" + os.urandom(400),
                  PREFACE + os.urandom(1000), PREFACE + frame(HELLO, hello())[:50], PREFACE + frame(HELLO, b"\xff" * 68),
                  b"\x16" + b"\x00" * 3000, b"")

        def garbage(count):
            for number in range(count):
                one = socket.create_connection(("127.0.0.1", self.port), timeout=20)
                try:
                    one.send(pieces[number % len(pieces)])
                except OSError:
                    pass
                one.close()

        garbage(500)
        rss = self.rss()
        began = time.monotonic()
        garbage(GARBAGE)
        self.assertEqual(self.wire().welcome.kind, WELCOME)  # all before it were accepted
        took = time.monotonic() - began
        self.expect_works(wire)
        grown = self.rss() - rss
        print("%d garbage connections in %.1f s: %.2f MiB more" % (GARBAGE, took, grown / MIB))
        self.assertLess(grown, 16 * MIB)
        self.assertLess(sum(map(len, self.log)), 64 * 1024, "what a flood may write into a log")

    def test_lies_about_lengths_types_and_order_cost_nothing(self):
        self.bridge("--encrypt", "off")

        def head(length, kind=OFFER, flags=0, channel=1, correlation=1):
            return struct.pack("<IBBHQQ", length, kind, flags, channel, correlation, 0)

        def announced(size):
            return struct.pack("<IBBBBQQQIHH", size, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0) + bytes(65536 - 40)

        lengths = [head(length) for length in (65537, 70_000, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)]
        kinds = [frame(kind, correlation=1) for kind in (0, 7, 12, 15, 22, 23, 42, 99, 127)]
        theirs = [frame(kind, correlation=1) for kind in (WELCOME, REFUSED, RESULT, 18, 26, 29, 33, 41)]
        flags = [head(0, POLL, flags=flag) for flag in (1, 8, 16, 32, 64, 128, 255)] + [head(0, OPEN, flags=MORE)]
        order = [frame(POLL, correlation=at, channel=1) for at in (0, 2, (1 << 63), (1 << 64) - 1)]
        bodies = [frame(kind, b"x", channel=1, correlation=1) for kind in (OPEN, SUBSCRIBE)]
        bodies += [frame(WATCH, body, channel=1, correlation=1) for body in (b"", b"xx")]
        parts = [head(65536, flags=MORE) + announced(size) for size in ((1 << 32) - 1, 1 << 31, 1 << 30)]
        early = [PREFACE + head(length, HELLO, correlation=0) for length in (1025, 1 << 31, (1 << 32) - 1)]
        hostile = [(True, data) for data in lengths + kinds + theirs + flags + order + bodies + parts]
        hostile += [(False, data) for data in early]
        self.assertGreaterEqual(len(hostile), 40)

        def all_refused():
            for greet, data in hostile:
                wire = Wire(("127.0.0.1", self.port), greet=greet)
                wire.send(data)
                last = wire.receive()
                self.assertEqual(last.kind, GOODBYE if greet else REFUSED, (data[:24], last))
                self.assertIn(last.status(), (protocol.BAD, protocol.TOO_LARGE), (data[:24], last))
                self.assertIsNone(wire.receive())
                wire.close()

        all_refused()  # what it needs for that, once
        rss = self.rss()
        all_refused()
        print("%d hostile headers: %.2f MiB more" % (len(hostile), (self.rss() - rss) / MIB))
        self.assertLess(self.rss() - rss, 1 * MIB)

    def test_the_last_word_arrives_though_much_was_not_read(self):
        self.bridge("--encrypt", "off")
        for data in (frame(77), frame(protocol.CANCEL) + frame(GOODBYE)):
            wire = self.wire()
            wire.send(data + bytes(1 << 20))
            last = wire.receive()
            self.assertEqual(last.kind, GOODBYE)
            self.assertIsNone(wire.receive(), "an end, and no reset")

    def test_announced_messages_that_do_not_come_cost_what_came(self):
        self.bridge("--encrypt", "off")
        self.wire().open(1, "orders")
        rss = self.rss()
        first = struct.pack("<IBBBBQQQIHH", 20_000_000, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0) + bytes(65536 - 40)
        for _ in range(100):
            wire = self.wire()
            wire.open(1, "orders")
            wire.send(frame(OFFER, first, channel=1, correlation=2, flags=MORE) + frame(OFFER, first)[:100])
        time.sleep(0.2)
        grown = self.rss() - rss
        print("100 messages of 20 MB that do not come: %.1f MiB more" % (grown / MIB))
        self.assertLess(grown, 64 * MIB)

    def test_a_stopped_client_with_a_full_socket_holds_nobody_up_and_comes_back(self):
        self.bridge("--encrypt", "off", "--heartbeat", "200ms", "--grace", "30s")
        uri = "tcp://127.0.0.1:%d" % self.port
        stopped = self.start("sub", "news", "-u", uri, "--json")
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(stopped.stdout))
        publisher, other = self.wire(), self.wire()
        other.open(1, "orders")
        publisher.open(1, "news", kind=protocol.TOPIC)
        text = "x" * 60_000

        def publish(count):
            for _ in range(count):
                answer = publisher.answer(publisher.operate(protocol.PUBLISH, message(text, topic="news"), channel=1))
                self.assertGreater(answer.argument, 0, answer)

        def subscribed():
            publish(1)
            return struct.unpack_from("<I", publisher.answer(publisher.operate(
                protocol.PUBLISH, message("y", topic="news"), channel=1)).body)[0] == 1

        wait_until(subscribed, "it has subscribed")
        stopped.send_signal(signal.SIGSTOP)
        rss = self.rss()
        publish(600)  # 36 MB: far more than sockets hold
        rates = self.rate(other, 0.5)
        wait_until(lambda: self.logged("nothing heard for three heartbeats"), "it is missed")
        grown = self.rss() - rss
        stopped.send_signal(signal.SIGCONT)
        reader.start()
        last = []

        def came_back():
            publish(1)
            last[:] = [line for line in seen if b'"payload' in line]
            return len(last) > 10
        wait_until(came_back, "it goes on")
        stopped.send_signal(signal.SIGINT)
        stopped.wait(LIMIT_S)
        reader.join()
        print("a stopped subscriber: %.0f operations/s of another client, %.1f MiB more" % (rates, grown / MIB))
        self.assertGreater(rates, 20)
        self.assertLess(grown, 48 * MIB)
        self.assertEqual(self.json_of("verify")["problems"], [])


class Tls(Attack):
    def s_client(self, *arguments, stdin=b"", limit_s=10):
        """openssl s_client: what it printed."""
        done = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % self.port, *arguments], input=stdin,
                              capture_output=True, timeout=limit_s, check=False)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def test_nothing_but_one_protocol_is_spoken(self):
        self.bridge("--encrypt", "required")
        code, text = self.s_client("-tls1_3")
        self.assertIn("New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384", text)
        self.assertIn("Server Temp Key: X25519", text)
        self.assertEqual(code, 0, text)
        weak = ("-cipher", "ALL:@SECLEVEL=0")
        for arguments in (("-tls1_2",), ("-tls1_2", *weak), ("-tls1_1", *weak), ("-tls1", *weak), ("-no_tls1_3",),
                          ("-ciphersuites", "TLS_AES_128_GCM_SHA256"), ("-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"),
                          ("-groups", "P-256"), ("-groups", "X448"), ("-sigalgs", "RSA-PSS+SHA256")):
            code, text = self.s_client(*arguments)
            self.assertNotEqual(code, 0, (arguments, text))
            self.assertNotIn("Cipher is TLS", text, arguments)
        # What it may ask for besides, and does not get.
        for arguments, words in ((("-alpn", "h2"), "No ALPN negotiated"), (("-status",), "no response sent"),
                                 (("-comp",), "Compression: NONE"), (("-legacy_renegotiation",), "TLSv1.3")):
            code, text = self.s_client(*arguments)
            self.assertIn(words, text, arguments)
        # No ticket comes, so nothing can be resumed, or be sent before the handshake's end.
        ticket = os.path.join(os.environ["TELPHER_CONFIG_DIR"], "ticket")
        early = os.path.join(os.environ["TELPHER_CONFIG_DIR"], "early")
        with open(early, "wb") as file:
            file.write(PREFACE + frame(HELLO, hello()))
        _, text = self.s_client("-sess_out", ticket)
        self.assertNotIn("Post-Handshake New Session Ticket", text)
        resume = ("-sess_in", ticket) if os.path.exists(ticket) else ()
        _, text = self.s_client(*resume, "-early_data", early)
        self.assertNotIn("Reused", text)
        self.assertNotIn("Early data was accepted", text)
        self.assertRegex(text, "Early data was (not sent|rejected)")
        self.assertGreaterEqual(len(self.logged("tcp client")), 10)

    def test_a_renegotiation_is_refused(self):
        self.bridge("--encrypt", "required")
        client = subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % self.port], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.started.append(client)
        time.sleep(0.3)
        client.stdin.write(b"R\n")
        client.stdin.flush()
        text = client.communicate(timeout=LIMIT_S)[0].decode(errors="replace")
        self.assertIn("RENEGOTIATING", text)
        self.assertNotEqual(client.returncode, 0, text)

    def test_key_updates_without_end_are_ended(self):
        self.bridge("--encrypt", "required")
        client = subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % self.port], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.started.append(client)
        time.sleep(0.3)
        sent = 0
        try:
            while sent < 64 and client.poll() is None:
                client.stdin.write(b"k\n")  # a command is the first letter of what one read gives
                client.stdin.flush()
                sent += 1
                time.sleep(0.02)
        except OSError:
            pass
        wait_until(lambda: self.logged("key"), "it is ended")
        text = client.communicate(timeout=LIMIT_S)[0].decode(errors="replace")
        print("closed after %d key updates at most" % text.count("KEYUPDATE"))
        self.assertLess(text.count("KEYUPDATE"), 64)
        self.assertGreater(text.count("KEYUPDATE"), 16)

    def test_records_of_a_byte_each_are_ended(self):
        self.bridge("--encrypt", "required")
        wire = self.encrypted()
        for at in range(24 * 40):
            wire.socket.send(frame(HEARTBEAT)[at % 24:at % 24 + 1])
        wire.open(1, "orders")  # so many are a bad program, not an attack
        for at in range(24 * 50):
            wire.socket.send(frame(HEARTBEAT)[at % 24:at % 24 + 1])
        with self.assertRaises((OSError, AttributeError)):
            while wire.receive().kind:
                pass
        wait_until(lambda: self.logged("records"), "it is logged")
        good = self.encrypted()
        good.open(1, "orders")
        self.expect_works(good)

    def test_handshakes_that_stay_half_open_leave_room_for_good_ones(self):
        self.bridge("--encrypt", "required", "--greeting-max", "16")
        for _ in range(200):
            self.connection().send(b"\x16\x03\x01\x02\x00\x01\x00")
        wire = self.encrypted()
        wire.open(1, "orders")
        self.expect_works(wire)
        wait_until(lambda: self.logged("greeting_max"), "it is logged")

    def test_handshakes_in_a_row_leave_a_client_its_share(self):
        """Whole handshakes, as fast as another process can: the dearest thing that a stranger may ask for."""
        self.bridge("--encrypt", "required")
        wire = self.encrypted()
        wire.open(1, "orders")
        before = self.rate(wire, 1)
        flood = subprocess.Popen(["openssl", "s_time", "-connect", "127.0.0.1:%d" % self.port, "-new", "-time", "2"],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.started.append(flood)
        time.sleep(0.3)
        during = self.rate(wire, 1)
        text = flood.communicate(timeout=LIMIT_S)[0].decode(errors="replace")
        found = re.search(r"(\d+) connections in (\d+) real seconds", text)
        self.assertTrue(found and int(found[1]) > 50, text)
        print("%s handshakes a second: %.0f operations/s instead of %.0f" %
              (int(found[1]) // int(found[2]), during, before))
        self.assertGreater(during, before * 0.05)


if __name__ == "__main__":
    main()
