#!/usr/bin/env python3
"""What a bridge does when there is too much of something, when it is told to end, and when its keys change."""

import json
import os
import resource
import signal
import socket
import ssl
import struct
import threading
import time

import bridge_protocol_test as protocol
from _cli import LIMIT_S, OK, CliTest, main, wait_until
from _wire import (CALL, CLOSE, DELIVERY, FUNCTION, GOODBYE, OFFER, OPEN, POLL, PREFACE, REFUSED, RESPONSE, RESULT, SECOND,
                   WATCH, WELCOME, Wire, frame, hello, message)

DRAINED_S = 5
OVERLOADED = 38
DISCONNECTED = 35  # include/telpher/status.hpp


class Limited(CliTest):
    """A bridge whose log is read."""

    def setUp(self):
        super().setUp()
        protocol.Bridge.make_home(self)
        self.wires = []
        self.log = []
        self.on("create", "queue", "orders", "--capacity", "1000")

    def tearDown(self):
        for wire in self.wires:
            wire.close()
        super().tearDown()

    def bridge(self, *arguments):
        process = self.start("bridge", "-d", self.domain, "--listen", "127.0.0.1:0", "--json", *arguments)
        self.port = int(json.loads(process.stdout.readline())["tcp"].rsplit(":", 1)[1])

        def read():
            for line in process.stderr:
                self.log.append(json.loads(line).get("log", ""))

        reader = threading.Thread(target=read)
        reader.start()
        self.addCleanup(reader.join, LIMIT_S)  # its end: tearDown kills the process
        self.process = process
        return process

    def wire(self, **how):
        wire = Wire(("127.0.0.1", self.port), **how)
        self.wires.append(wire)
        return wire

    def logged(self, words):
        return [line for line in self.log if words in line]

    def expect_works(self, wire):
        self.assertEqual(wire.offer(1, "x").status(), 0)
        self.assertEqual(wire.poll(1).text(), "x")


class Limits(Limited):
    def test_operations_behind_an_open_are_counted(self):
        self.bridge("--encrypt", "off")
        wire = self.wire()
        opening = wire.operate(OPEN, struct.pack("<BxHI", 0, 5, 0) + b"never", channel=1, argument=3600 * SECOND)
        wire.send(b"".join(frame(WATCH, b"\0", channel=1, correlation=opening + 1 + number, argument=3600 * SECOND)
                           for number in range(4095)))
        wire.correlation += 4095
        self.assertEqual(wire.answer(wire.operate(WATCH, b"\0", channel=1)).status(), OVERLOADED)
        wire.send(frame(CLOSE, channel=1))
        self.assertEqual({wire.receive().status() for _ in range(4095)}, {protocol.CLOSED})
        other = self.wire()
        other.open(1, "orders")
        other.operate(WATCH, b"\0" * 60000, channel=1)
        self.assertEqual(other.receive().kind, GOODBYE)

    def test_operations_behind_an_open_have_bounded_bytes(self):
        self.bridge("--encrypt", "off")
        wire = self.wire()
        wire.operate(OPEN, struct.pack("<BxHI", 0, 5, 0) + b"never", channel=1, argument=3600 * SECOND)
        large = message("x" * (8 << 20))
        for _ in range(10):  # 80 MiB: 64 and one of at most 20 may wait
            wire.operate(OFFER, large, channel=1, argument=3600 * SECOND)
        self.assertEqual(wire.answer(wire.operate(OFFER, large, channel=1)).status(), OVERLOADED)
        self.assertEqual(wire.open(2, "orders").status(), 0)

    def test_of_too_many_that_greet_the_oldest_of_the_busiest_address_goes(self):
        self.bridge("--encrypt", "off", "--greeting-max", "4")
        served = self.wire()
        served.open(1, "orders")
        slow = self.wire(greet=False)  # a good one, that takes its time
        idle = [self.wire(greet=False, source="127.0.0.9") for _ in range(20)]
        good = self.wire()
        self.assertEqual(good.welcome.kind, WELCOME)
        self.expect_works(served)
        # The oldest were told why and are gone, the newest are still there.
        for wire in idle[:16]:
            refused = wire.receive()
            self.assertEqual((refused.kind, refused.status()), (REFUSED, protocol.LIMIT))
            self.assertIn("greeting_max", refused.detail())
            self.assertIsNone(wire.receive())
        slow.greet()
        self.assertEqual(slow.welcome.kind, WELCOME)
        wait_until(lambda: self.logged("greeting_max"), "it is logged")

    def test_connections_of_one_address_have_a_rate(self):
        self.bridge("--encrypt", "off", "--connects-per-second", "10", "--connects-burst", "5")
        for _ in range(5):
            self.assertEqual(self.wire(source="127.0.0.9").welcome.kind, WELCOME)
        refused = self.wire(source="127.0.0.9", greet=False).receive()
        self.assertEqual((refused.kind, refused.status()), (REFUSED, protocol.LIMIT))
        self.assertIn("10 connections a second from 127.0.0.9", refused.detail())
        self.assertEqual(self.wire().welcome.kind, WELCOME)
        time.sleep(0.25)
        self.assertEqual(self.wire(source="127.0.0.9").welcome.kind, WELCOME)

    def test_connections_max_counts_those_that_are_cut_until_others_need_their_place(self):
        self.bridge("--encrypt", "off", "--connections-max", "2")
        first, second = self.wire(), self.wire()
        refused = self.wire().welcome
        self.assertEqual((refused.kind, refused.status()), (REFUSED, protocol.LIMIT))
        self.assertIn("connections_max of the bridge is 2", refused.detail())
        second.open(1, "orders")
        second.close()
        resumed = self.wire(session=second.session)
        self.assertEqual(resumed.resumed, 1)
        first.close()
        time.sleep(0.1)
        self.assertEqual(self.wire().welcome.kind, WELCOME)

    def test_a_flood_stays_out_of_the_log_and_what_peers_say_cannot_forge_it(self):
        self.bridge("--encrypt", "off", "--greeting-max", "100")
        for _ in range(300):
            wire = Wire(("127.0.0.1", self.port), greet=False)
            wire.send(b"\x1b[2J\n{\"log\":\"forged\"}\n\xff")
            wire.close()
        wait_until(lambda: self.logged("not logged: "), "the count is logged")
        time.sleep(0.1)
        refused = self.logged("preface")
        self.assertLessEqual(len(refused), 40)
        more = sum(int(line.split()[2]) for line in self.logged("not logged: "))
        self.assertGreater(len(refused) + more, 200)
        self.assertEqual(self.logged("forged"), [])

    def test_without_descriptors_clients_go_on_and_new_ones_are_told_until_it_is_over(self):
        path = os.path.join(os.path.dirname(os.environ["TELPHER_CONFIG_DIR"]), "cafe.sock")
        bridge = self.bridge("--encrypt", "off", "--unix", path)
        served = self.wire()
        served.open(1, "orders")
        used = len(os.listdir("/proc/%d/fd" % bridge.pid))
        resource.prlimit(bridge.pid, resource.RLIMIT_NOFILE, (used + 3, used + 3))
        kept, refused = [], []
        for _ in range(20):
            wire = self.wire(greet=False)
            try:
                wire.send(PREFACE + frame(1, hello()))
            except OSError:
                pass  # it is closed already: what it said before can be read
            answer = wire.receive()
            (kept if answer.kind == WELCOME else refused).append(answer)
        self.assertEqual(len(kept), 3)
        self.assertEqual({answer.status() for answer in refused}, {protocol.LIMIT})
        self.assertIn("no descriptors", refused[0].detail())
        local = Wire(path, greet=False)
        self.wires.append(local)
        answer = local.receive()
        self.assertEqual((answer.kind, answer.status()), (REFUSED, protocol.LIMIT))
        self.expect_works(served)
        self.assertEqual(len(self.logged("accepting: ")), 1, self.log)
        for wire in self.wires[1:4]:
            wire.close()
        # By itself, and soon.
        def welcomed():
            try:
                return self.wire().welcome.kind == WELCOME
            except OSError:
                return False
        wait_until(welcomed, "there are descriptors again", 2)
        wait_until(lambda: self.logged("accepting again; 18 "), "it is logged that it is over")
        self.wires.append(Wire(path))  # each listener has its own pause
        self.assertEqual(self.wires[-1].welcome.kind, WELCOME)
        self.expect_works(served)


class Drain(Limited):
    def serve(self, name, command):
        self.start("serve", name, "--exec", command, "-d", self.domain)
        self.on("send", name, "x", "--wait", "20s")

    def finish(self, limit_s=DRAINED_S):
        """SIGTERM was sent `limit_s` ago at most."""
        self.assertEqual(self.process.wait(timeout=limit_s), OK)

    def test_what_was_begun_ends_before_the_bridge(self):
        self.bridge("--encrypt", "off")
        self.serve("slow", "sleep 0.7; echo done")
        wire, other = self.wire(), self.wire()
        wire.open(1, "slow", kind=FUNCTION)
        wire.open(2, "orders")
        other.open(1, "orders")
        polling = other.operate(POLL, channel=1, argument=60 * SECOND)
        calling = wire.operate(CALL, message("x"), channel=1, argument=20 * SECOND)
        time.sleep(0.2)
        self.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        late = wire.operate(OFFER, message("late"), channel=2)
        answer = wire.answer(calling)
        self.assertEqual((answer.kind, answer.text().strip()), (RESPONSE, "done"))
        for one, not_begun in ((wire, late), (other, polling + 1)):
            last = one.receive()
            self.assertEqual((last.kind, last.status(), last.argument), (GOODBYE, protocol.CLOSED, not_begun), last)
            self.assertIsNone(one.receive())
        self.finish()
        self.assertEqual(self.json_of("info", "orders")["depth"], 0)
        self.assertEqual(self.json_of("verify")["problems"], [])

    def test_a_delivery_may_be_confirmed_before_the_end(self):
        self.bridge("--encrypt", "off")
        wire = self.wire()
        wire.open(1, "orders")
        wire.offer(1, "taken")
        wire.offer(1, "left")
        deliveries = [wire.poll(1, confirm=False) for _ in range(2)]
        self.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        wire.send(frame(protocol.CONFIRM, correlation=deliveries[0].correlation))
        self.assertEqual(wire.receive().kind, GOODBYE)
        self.finish()
        self.assertEqual(self.json_of("poll", "orders")["payload-text"], "left")
        self.assertEqual(self.json_of("info", "orders")["depth"], 0)

    def test_what_does_not_end_is_waited_for_no_longer_than_that(self):
        self.bridge("--encrypt", "off")
        self.serve("slow", "grep x || sleep 8")
        wire = self.wire()
        wire.open(1, "slow", kind=FUNCTION)
        wire.operate(CALL, message("y"), channel=1, argument=3600 * SECOND)
        wire.send(PREFACE[:3])  # half a frame stays half a frame
        silent = self.wire(greet=False)
        time.sleep(0.1)  # it is accepted
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(silent.receive().kind, REFUSED)
        self.assertEqual(wire.receive().kind, GOODBYE)
        self.finish()
        self.assertGreater(time.monotonic() - started, 2)

    def test_what_waits_for_room_is_given_back(self):
        self.bridge("--encrypt", "off")
        self.on("create", "queue", "full", "--capacity", "1")
        wire = self.wire()
        wire.open(1, "full")
        wire.offer(1, "x")
        waiting = [wire.operate(OFFER, message(str(number)), channel=1, argument=3600 * SECOND) for number in range(20)]
        wire.open(2, "orders")  # behind its answer they wait
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        answers = [wire.receive() for _ in waiting]
        self.assertEqual({(answer.kind, answer.status()) for answer in answers}, {(RESULT, DISCONNECTED)})
        self.assertEqual(sorted(answer.correlation for answer in answers), waiting)
        last = wire.receive()
        self.assertEqual((last.kind, last.argument), (GOODBYE, wire.correlation + 1))
        self.finish()
        self.assertLess(time.monotonic() - started, 2)
        self.assertEqual(self.json_of("info", "full")["depth"], 1)

    def test_what_waits_behind_an_open_is_given_back(self):
        self.bridge("--encrypt", "off")
        wire = self.wire()
        wire.open(1, "orders")
        wire.offer(1, "x")
        self.assertEqual(wire.poll(1, confirm=False).text(), "x")  # keeps the bridge draining
        opening = wire.operate(OPEN, struct.pack("<BxHI", 0, 5, 0) + b"later", channel=2, argument=3600 * SECOND)
        offers = [wire.operate(OFFER, message(text), channel=2, argument=3600 * SECOND) for text in "ab"]
        wire.open(3, "orders")
        self.process.send_signal(signal.SIGTERM)
        for offer in offers:
            self.assertEqual(wire.answer(offer).status(), DISCONNECTED)
        self.on("create", "queue", "later")
        answers = [wire.receive(), wire.receive()]
        self.assertEqual([answer.kind for answer in answers], [RESULT, GOODBYE])
        self.assertEqual(answers[0].correlation, opening)
        self.finish()
        self.assertEqual(self.json_of("info", "later")["offered"], 0)

    def test_nobody_there_is_no_reason_to_wait(self):
        self.bridge("--encrypt", "off")
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.finish()
        self.assertLess(time.monotonic() - started, 2)

    def test_ends_with_its_domain(self):
        self.bridge("--encrypt", "off")
        self.on("rm", "--domain", "--force")
        self.assertNotEqual(self.process.wait(timeout=LIMIT_S), OK)


class Reload(Limited):
    def pin(self):
        """Of who answers now."""
        return self.json_from("tls-probe", "127.0.0.1:%d" % self.port,
                              home=os.environ["TELPHER_CONFIG_DIR"] + "-client")["pin"]

    def json_from(self, *arguments, home=None):
        env = dict(os.environ, TELPHER_CONFIG_DIR=home or os.environ["TELPHER_CONFIG_DIR"])
        return json.loads(self.run_cli(*arguments, "--json", code=OK, env=env).stdout)

    def encrypted(self):
        wire = self.wire(greet=False)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        wire.socket = context.wrap_socket(wire.socket)
        wire.greet()
        return wire

    def test_new_keys_are_for_new_connections_and_a_bad_file_changes_nothing(self):
        home = os.environ["TELPHER_CONFIG_DIR"]
        self.bridge("--encrypt", "required")
        old = self.pin()
        wire = self.encrypted()
        wire.open(1, "orders")

        new = self.json_from("keygen", home=home + "-new")
        for name in ("identity.key", "identity.crt"):
            os.replace(os.path.join(home + "-new", name), os.path.join(home, name))
        self.assertEqual(self.pin(), old)
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.logged("reloaded for new connections: identity " + new["pin"]), "it is logged")
        self.assertEqual(self.pin(), new["pin"])
        self.expect_works(wire)

        with open(os.path.join(home, "identity.crt"), "w", encoding="utf-8") as file:
            file.write("nonsense")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.logged("not reloaded, all stays as it was: "), "it is logged")
        self.assertIn("identity.crt", self.logged("not reloaded")[0])
        self.assertEqual(self.pin(), new["pin"])
        self.expect_works(wire)
        self.assertIsNone(self.process.poll())


if __name__ == "__main__":
    main()
