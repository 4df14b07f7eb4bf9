#!/usr/bin/env python3
"""The bridge, as a client in another language meets it: tcp_bridge/PROTOCOL.md, byte for byte."""

import json
import os
import signal
import struct
import tempfile
import time

from _cli import LIMIT_S, OK, CliTest, main, wait_until
from _wire import (ACK, CALL, CANCEL, CLOSE, COMMAND, CONFIRM, CREDIT, DELIVERY, END, FUNCTION, GOODBYE, HELLO, HEARTBEAT, LEASE,
                   LEASED, MORE, OFFER, ONEWAY, OPEN, POLL, PREFACE, PUBLISH, PUT_BACK, REFUSED, RESPONSE, RESULT, SAMPLE, SECOND, SUBSCRIBE,
                   TOPIC, UNSUBSCRIBE, WATCH, WELCOME, Wire, command, frame, hello, message, text)

# include/telpher/status.hpp
(Q_EMPTY, Q_FULL, TIMED_OUT, CLOSED, CANCELLED) = (2, 3, 4, 6, 9)
(BAD, Q_NOT_FOUND, F_NOT_FOUND, NOT_PERMITTED, TOO_LARGE, LIMIT) = (16, 17, 19, 24, 25, 26)
(LEASE_EXPIRED, VERSION) = (8, 49)


class Bridge(CliTest):
    def setUp(self):
        super().setUp()
        self.wires = []
        self.make_home()
        self.on("create", "queue", "orders", "--capacity", "4")
        self.process = self.bridge()

    def make_home(self):
        """A configuration folder of the test's own."""
        folder = tempfile.TemporaryDirectory(dir="/tmp")
        self.addCleanup(folder.cleanup)
        os.environ["TELPHER_CONFIG_DIR"] = os.path.join(folder.name, "telpher")

    def tearDown(self):
        for wire in self.wires:
            wire.close()
        super().tearDown()

    THREADS = 1

    def bridge(self, *arguments):
        process = self.start("bridge", "-d", self.domain, "--listen", "127.0.0.1:0", "--json", "--threads",
                             str(self.THREADS), *(arguments or ("--encrypt", "off")))
        self.port = int(json.loads(process.stdout.readline())["tcp"].rsplit(":", 1)[1])
        return process

    def wire(self, **how):
        wire = Wire(("127.0.0.1", self.port), **how)
        self.wires.append(wire)
        return wire

    def depth(self):
        return self.json_of("info", "orders")["depth"]

    def test_hello_is_answered_by_welcome(self):
        wire = self.wire()
        self.assertEqual(wire.welcome.kind, WELCOME)
        self.assertEqual((wire.version, wire.codec, wire.resumed, wire.received), (1, 0, 0, 0))
        self.assertEqual(wire.domain, self.domain)
        self.assertGreaterEqual(wire.message_bytes_max, 20 << 20)
        self.assertNotEqual(wire.session, bytes(16))

    def test_offer_and_poll(self):
        wire = self.wire()
        opened = wire.open(1, "orders")
        self.assertEqual((opened.kind, opened.status(), opened.argument), (RESULT, 0, 4))
        offered = wire.offer(1, "2 espressos")
        self.assertEqual((offered.kind, offered.status(), offered.argument), (RESULT, 0, 1))
        self.assertEqual(self.json_of("peek", "orders")["payload-text"], "2 espressos")
        delivery = wire.poll(1)
        self.assertEqual((delivery.kind, delivery.text(), delivery.argument), (DELIVERY, "2 espressos", 1))
        self.assertEqual(wire.poll(1).status(), Q_EMPTY)
        started = time.monotonic()
        self.assertEqual(wire.poll(1, timeout=SECOND // 5).status(), TIMED_OUT)
        self.assertGreater(time.monotonic() - started, 0.19)

    def test_watch_tells_and_takes_nothing(self):
        message_there, room = b"\0", b"\1"
        wire, other = self.wire(), self.wire()
        wire.open(1, "orders")
        other.open(1, "orders")
        self.assertEqual(wire.answer(wire.operate(WATCH, message_there, channel=1)).status(), Q_EMPTY)
        self.assertEqual(wire.answer(wire.operate(WATCH, room, channel=1)).status(), 0)
        self.assertEqual(wire.answer(wire.operate(WATCH, message_there, channel=1, argument=SECOND // 10)).status(), TIMED_OUT)
        watching = wire.operate(WATCH, message_there, channel=1, argument=60 * SECOND)
        cancelled = wire.operate(WATCH, message_there, channel=1, argument=60 * SECOND)
        wire.send(frame(CANCEL, correlation=cancelled))
        self.assertEqual(wire.answer(cancelled).status(), CANCELLED)
        for text in "abcd":
            self.assertEqual(other.offer(1, text).status(), 0)
        self.assertEqual(wire.answer(watching).status(), 0)
        self.assertEqual(wire.answer(wire.operate(WATCH, room, channel=1)).status(), Q_FULL)
        waiting = wire.operate(WATCH, room, channel=1, argument=60 * SECOND)
        # It survives a cut, and holds no poll of others up.
        again = self.wire(session=wire.session, received=waiting - 1)
        self.assertEqual(again.resumed, 1)
        self.assertEqual([other.poll(1).text() for _ in range(4)], list("abcd"))
        self.assertEqual(again.answer(waiting).status(), 0)
        again.correlation = waiting
        self.assertEqual(again.answer(again.operate(WATCH, room, channel=9)).status(), BAD)

    def test_leases(self):
        """A message of a queue with leases comes behind its LEASE, and is settled by its poll's number and its id."""
        def poll():
            correlation = wire.operate(POLL, channel=3, argument=SECOND)
            lease, delivery = wire.answer(correlation), wire.answer(correlation)
            self.assertEqual((lease.kind, delivery.kind, delivery.flags), (LEASE, DELIVERY, LEASED))
            wire.send(frame(CONFIRM, correlation=correlation))
            return correlation, delivery, struct.unpack_from("<IBBHq", lease.body)

        def settle(correlation, delivery, verb, duration=0, other=0):
            prefix, counter = struct.unpack_from("<QQ", delivery.body, 8)
            return command(wire, "settle", struct.pack("<QQQBq", correlation, prefix, counter + other, verb, duration))

        wire = self.wire()
        options = struct.pack("<IBQBqI", 8, 0, 0, 1, 30 * SECOND, 3) + text("letters")
        self.assertEqual(command(wire, "create_queue", text("leased") + options + bytes(26)), b"\x01")
        wire.open(3, "leased")
        wire.offer(3, "first")
        correlation, delivery, told = poll()
        self.assertEqual((delivery.text(), told), ("first", (1, 0, 0, 0, 0)))
        self.assertEqual(settle(correlation, delivery, 1, other=1), LEASE_EXPIRED)
        self.assertEqual(settle(correlation, delivery, 9), BAD)
        self.assertEqual(settle(correlation, delivery, 3, SECOND), b"")
        self.assertEqual(settle(correlation, delivery, 2, -1), BAD)
        self.assertEqual(settle(correlation, delivery, 2), b"")
        self.assertEqual(settle(correlation, delivery, 1), LEASE_EXPIRED)
        correlation, delivery, told = poll()
        self.assertEqual(told, (2, 1, 0, 0, 0))
        wire.send(frame(PUT_BACK, correlation=correlation))
        correlation, delivery, told = poll()
        self.assertEqual(told, (3, 1, 0, 0, 0))
        wire.goodbye()  # and the lease with it
        wire = self.wire()
        wire.open(3, "letters")
        self.assertEqual(poll()[2][:4], (4, 0, 7, len("leased")))

    def test_commands(self):
        """As the document lays them out: a text is bytes u16 and the bytes."""
        wire = self.wire()
        self.assertEqual(command(wire, "create_queue", text("made") + struct.pack("<IBQBqIH26x", 7, 1, 0, 0, 0, 0, 0)), b"\x01")
        self.assertEqual(command(wire, "create_queue", text("made") + struct.pack("<IBQBqIH26x", 7, 1, 0, 0, 0, 0, 0)), b"\x00")
        status = command(wire, "queue_status", text("made"))
        self.assertTrue(status.startswith(text("made") + text("circular") + struct.pack("<I", 7)), status)
        counts, lease = len(status) - 49 - 47 - 13 - 56, len(status) - 49 - 47
        self.assertEqual(struct.unpack_from("<7Q", status, counts), (0,) * 7)
        self.assertEqual(struct.unpack_from("<Iq?", status, lease - 13), (0, -1, False))
        self.assertEqual(struct.unpack_from("<BqIH4QB6Q", status, lease), (0,) * 15)
        self.assertEqual(struct.unpack_from("<I", command(wire, "queues")), (2,))
        self.assertEqual((command(wire, "exists", text("made")), command(wire, "exists", text("none"))), (b"\x01", b"\x00"))
        wire.open(1, "orders")
        wire.offer(1, "oldest")
        self.assertEqual(command(wire, "peek", text("orders")), b"oldest")
        self.assertEqual(command(wire, "purge", text("orders")), struct.pack("<Q", 1))
        self.assertEqual(command(wire, "remove_queue", text("made")), b"")
        self.assertEqual(command(wire, "remove_queue", text("made")), Q_NOT_FOUND)
        temporary = command(wire, "temporary_queue", struct.pack("<I", 3))[2:].decode()
        self.assertEqual(wire.open(2, temporary).argument, 3)
        other = self.wire()
        other.open(1, temporary)
        self.assertEqual(other.offer(1, "!").status(), 0)
        self.assertEqual(other.poll(1).status(), NOT_PERMITTED)
        self.assertEqual(wire.poll(2).text(), "!")
        wire.send(frame(CLOSE, channel=2))
        self.assertEqual(command(wire, "exists", text(temporary)), b"\x00")
        for name, arguments in (("nonsense", b""), ("temporary_queue", b""), ("queue_status", b"\xff\xff"),
                                ("create_queue", text("bad") + b"\x01")):
            self.assertEqual(command(wire, name, arguments), BAD, name)

    def test_a_full_queue_and_one_that_is_not_there(self):
        wire = self.wire()
        self.assertEqual(wire.open(1, "nowhere").status(), Q_NOT_FOUND)
        wire.open(1, "orders")
        for number in range(4):
            self.assertEqual(wire.offer(1, str(number)).status(), 0)
        self.assertEqual(wire.offer(1, "x").status(), Q_FULL)
        self.assertEqual(wire.offer(1, "x", timeout=SECOND // 20).status(), TIMED_OUT)

    def test_open_waits_and_operations_behind_it_wait_with_it(self):
        wire = self.wire()
        body = struct.pack("<BxHI", 0, 5, 0) + b"later"
        opening = wire.operate(OPEN, body, channel=7, argument=20 * SECOND)
        offering = wire.operate(OFFER, message("early"), channel=7)
        time.sleep(0.1)
        self.on("create", "queue", "later")
        self.assertEqual(wire.answer(opening).status(), 0)
        self.assertEqual(wire.answer(offering).argument, 1)

    def test_many_operations_are_outstanding_and_a_long_poll_blocks_nobody(self):
        wire = self.wire()
        wire.open(1, "orders")
        polling = wire.operate(POLL, channel=1, argument=60 * SECOND)
        other = self.wire()
        other.open(1, "orders")
        wire.subscribe(2, ["news"], 10)
        self.assertEqual(other.offer(1, "for the poller").status(), 0)
        delivery = wire.answer(polling)
        self.assertEqual((delivery.kind, delivery.text()), (DELIVERY, "for the poller"))

    def test_what_is_not_confirmed_goes_back(self):
        wire = self.wire()
        wire.open(1, "orders")
        wire.offer(1, "a")
        wire.offer(1, "b")
        first = wire.poll(1, confirm=False)
        wire.send(frame(PUT_BACK, correlation=first.correlation))
        again = wire.poll(1, confirm=False)
        self.assertEqual((first.text(), again.text()), ("a", "a"))
        wire.goodbye()
        wait_until(lambda: self.depth() == 2, "the session's end put it back")
        self.assertEqual(self.json_of("poll", "orders")["payload-text"], "a")

    def test_a_cancelled_poll_takes_nothing(self):
        wire = self.wire()
        wire.open(1, "orders")
        polling = wire.operate(POLL, channel=1, argument=60 * SECOND)
        wire.send(frame(CANCEL, correlation=polling))
        self.assertEqual(wire.answer(polling).status(), CANCELLED)
        wire.offer(1, "x")
        self.assertEqual(self.depth(), 1)

    def test_a_resumed_session_gets_its_answers_and_executes_nothing_twice(self):
        wire = self.wire()
        wire.open(1, "orders")
        wire.offer(1, "a")
        delivery = wire.poll(1, confirm=False)
        polling = wire.operate(POLL, channel=1, argument=60 * SECOND)
        wire.close()
        time.sleep(0.1)
        self.on("offer", "orders", "b")
        again = self.wire(session=wire.session, received=delivery.correlation - 1)
        self.assertEqual((again.resumed, again.session, again.received), (1, wire.session, polling))
        answers = {}
        for _ in range(2):
            answer = again.receive()
            answers[answer.correlation] = answer.text()
        self.assertEqual(answers, {delivery.correlation: "a", polling: "b"})
        again.correlation = polling
        # Sent again although the bridge has it: passed over.
        again.send(frame(OFFER, message("twice"), channel=1, correlation=2))
        for correlation in answers:
            again.send(frame(CONFIRM, correlation=correlation))
        self.assertEqual(again.offer(1, "c").argument, 3)
        self.assertEqual(self.depth(), 1)

    def test_a_session_that_is_gone_is_a_new_one(self):
        wire = self.wire(session=b"x" * 16, received=7)
        self.assertEqual((wire.resumed, wire.received), (0, 0))
        self.assertNotEqual(wire.session, b"x" * 16)

    def test_publish_and_subscribe_with_credit(self):
        wire = self.wire()
        self.assertEqual(wire.subscribe(9, ["prices.>"], 2).status(), 0)
        self.assertEqual(wire.open(1, "prices.espresso", kind=TOPIC).status(), 0)
        numbers = []
        for text in ("3.20", "3.30", "3.40"):
            wire.operate(PUBLISH, message(text, topic="prices.espresso"), channel=1)
        got, results = [], []
        while len(got) < 2 or len(results) < 3:
            received = wire.receive()
            (got if received.kind == SAMPLE else results).append(received)
        self.assertEqual([sample.text() for sample in got], ["3.20", "3.30"])
        self.assertEqual([sample.argument for sample in got], [1, 2])
        self.assertEqual([result.argument for result in results], [1, 2, 3])
        wire.send(frame(CREDIT, channel=9, argument=1))
        self.assertEqual(wire.receive().text(), "3.40")
        wire.send(frame(UNSUBSCRIBE, channel=9))
        end = wire.receive()
        self.assertEqual((end.kind, end.channel, end.status()), (END, 9, CLOSED))

    def test_calls(self):
        server = self.start("serve", "upper", "--exec", "tr a-z A-Z", "-d", self.domain)
        self.on("send", "upper", "x", "--wait", "20s")
        wire = self.wire()
        wire.open(1, "upper", kind=FUNCTION)
        wire.open(2, "nobody", kind=FUNCTION)
        response = wire.answer(wire.operate(CALL, message("hello"), channel=1, argument=20 * SECOND))
        self.assertEqual((response.kind, response.text()), (RESPONSE, "HELLO"))
        self.assertEqual(wire.answer(wire.operate(CALL, message("x"), channel=2, argument=SECOND)).status(), F_NOT_FOUND)
        self.assertEqual(wire.answer(wire.operate(CALL, message("x"), channel=0, argument=SECOND)).status(), F_NOT_FOUND)
        self.assertEqual(wire.answer(wire.operate(CALL, message("x"), channel=1, flags=ONEWAY)).status(), 0)
        server.send_signal(signal.SIGINT)
        server.wait(timeout=LIMIT_S)

    def test_large_messages_travel_in_parts_and_small_ones_between_them(self):
        text = "0123456789abcdef" * 100_000
        wire = self.wire()
        wire.open(1, "orders")
        self.assertEqual(wire.offer(1, text).status(), 0)
        self.assertEqual(wire.poll(1).text(), text)
        # The second half comes when an operation of another channel was answered.
        wire.open(2, "orders")
        data = message(text[:100_000])
        large = wire.correlation + 1
        wire.send(frame(OFFER, data[:65536], channel=1, correlation=large, flags=MORE))
        wire.correlation += 1
        self.assertEqual(wire.offer(2, "small").argument, 2)
        wire.send(frame(OFFER, data[65536:], channel=1, correlation=large))
        self.assertEqual(wire.answer(large).argument, 3)

    def test_bad_frames_end_the_connection_and_say_why(self):
        huge = struct.pack("<IBBBBQQQIHH", 0xF0000000, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0) + bytes(65536 - 40)
        for data, words in ((frame(77), "type is 77"), (frame(POLL, flags=64, correlation=1), "flags"),
                            (struct.pack("<IBBHQQ", 70_000, OFFER, 0, 1, 1, 0), "length is 70000"),
                            (frame(POLL, correlation=3), "comes after 0"), (frame(RESULT), "not a client's"),
                            (frame(OPEN, b"\0\0", channel=1, correlation=1), "OPEN"),
                            (frame(OFFER, huge, channel=1, correlation=1, flags=MORE), "announces"),
                            (frame(SUBSCRIBE, b"", channel=1, correlation=1), "SUBSCRIBE"),
                            (frame(OFFER, b"x", correlation=1, flags=1), "compressed")):
            wire = self.wire()
            wire.send(data)
            last = wire.receive()
            self.assertEqual((last.kind, last.status() in (BAD, TOO_LARGE)), (GOODBYE, True), (words, last))
            self.assertIn(words, last.detail())
            self.assertIsNone(wire.receive())

    def test_bad_beginnings_are_refused(self):
        for data, status, words in ((b"GET / HTTP/1.1\r\n\r\n", BAD, "preface"), (b"\x16\x03\x01\x02\x00", BAD, "TLS"),
                                    (PREFACE + frame(POLL, correlation=1), BAD, "before HELLO"),
                                    (PREFACE + frame(HELLO, b"short"), BAD, "HELLO"),
                                    (PREFACE + frame(HELLO, hello(version=(2, 3))), VERSION, "versions 2 to 3"),
                                    (PREFACE + frame(HELLO, hello(mandatory=4)), VERSION, "needs"),
                                    (PREFACE + frame(HELLO, hello(name=b"a\nb")), BAD, "printable"),
                                    (PREFACE + struct.pack("<IBBHQQ", 2000, HELLO, 0, 0, 0, 0), BAD, "at most 1024")):
            wire = self.wire(greet=False)
            wire.send(data)
            refused = wire.receive()
            self.assertEqual((refused.kind, refused.status()), (REFUSED, status), refused)
            self.assertIn(words, refused.detail())
            self.assertIsNone(wire.receive())

    def test_bytes_may_come_one_by_one(self):
        wire = self.wire(greet=False)
        for byte in PREFACE + frame(HELLO, hello()) + frame(OPEN, struct.pack("<BxHI", 0, 6, 0) + b"orders", channel=1,
                                                           correlation=1):
            wire.send(bytes([byte]))
        self.assertEqual(wire.receive().kind, WELCOME)
        self.assertEqual(wire.receive().status(), 0)

    def test_heartbeats_come_and_a_silent_client_is_dropped(self):
        wire = self.wire(heartbeat_ms=100)
        raw = wire.socket.recv(4096)
        self.assertEqual(raw[4], HEARTBEAT)
        wait_until(lambda: wire.receive() is None, "it is dropped")

    def test_who_never_says_hello_is_dropped_in_time(self):
        wire = self.wire(greet=False)
        wire.send(PREFACE[:3])
        started = time.monotonic()
        self.assertEqual(wire.socket.recv(100), b"")
        self.assertLess(time.monotonic() - started, 8)

    def test_a_killed_bridge_leaves_nothing_and_the_next_one_goes_on(self):
        wire = self.wire()
        wire.open(1, "orders")
        wire.offer(1, "kept")
        self.process.kill()
        self.process.wait()
        self.assertEqual(self.json_of("verify")["problems"], [])
        self.bridge()
        again = self.wire(session=wire.session)
        self.assertEqual(again.resumed, 0)
        again.open(1, "orders")
        self.assertEqual(again.poll(1).text(), "kept")

    def test_sigterm_says_goodbye(self):
        wire = self.wire()
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(timeout=LIMIT_S), OK)
        last = wire.receive()
        self.assertEqual((last.kind, last.status()), (GOODBYE, CLOSED))

    def test_a_unix_socket_is_for_its_owner(self):
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            path = os.path.join(folder, "cafe.sock")
            process = self.start("bridge", "-d", self.domain, "--unix", path, "--json")
            self.assertEqual(json.loads(process.stdout.readline())["unix"], "unix:" + path)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            wire = Wire(path)
            self.wires.append(wire)
            self.assertEqual(wire.open(1, "orders").status(), 0)
            process.kill()
            process.wait()
            again = self.start("bridge", "-d", self.domain, "--unix", path, "--json")
            again.stdout.readline()
            again.send_signal(signal.SIGTERM)
            self.assertEqual(again.wait(timeout=LIMIT_S), OK)
            self.assertFalse(os.path.exists(path))

    def test_addresses_that_others_can_reach_are_refused(self):
        error = self.error_of("bridge", "-d", self.domain, "--listen", "0.0.0.0:0", "--encrypt", "off", code=5)
        self.assertEqual(error["status"], "not_permitted")
        self.assertEqual(self.error_of("bridge", "-d", self.domain, "--listen", "nonsense", "--encrypt", "off", code=2)["status"],
                         "bad_request")


if __name__ == "__main__":
    main()
