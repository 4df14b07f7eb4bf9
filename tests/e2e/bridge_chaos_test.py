#!/usr/bin/env python3
"""Connections cut at every byte, and bridges killed under load: what was confirmed is there, once, in order."""

import os
import random
import struct
import threading
import time

import bridge_protocol_test as protocol
from _cli import main
from _wire import CONFIRM, DELIVERY, OFFER, OPEN, POLL, RESULT, SECOND, Wire, frame, message

SOAK = "TELPHER_SOAK" in os.environ
KILLS = 200 if SOAK else 12


class Chaos(protocol.Bridge):
    THREADS = 3
    # Only what stands here.
    for name in dir(protocol.Bridge):
        if name.startswith("test_"):
            locals()[name] = None

    def drain(self, name):
        """What is in the queue."""
        wire = self.wire()
        wire.open(1, name)
        texts = []
        while True:
            delivery = wire.poll(1)
            if delivery.kind != DELIVERY:
                return texts
            texts.append(delivery.text())

    def test_a_session_may_be_cut_at_every_byte(self):
        """Each prefix of what a client sends arrives, then the connection is cut; the resumed session goes on."""
        wire = self.wire()
        wire.open(9, "orders")
        opening = frame(OPEN, struct.pack("<BxHI", 0, 6, 0) + b"orders", channel=1, correlation=1)
        offers = [frame(OFFER, message(text), channel=1, correlation=2 + number)
                  for number, text in enumerate(("a", "bb", "ccc"))]
        operations = [opening] + offers
        stream = b"".join(operations)
        for cut in range(len(stream) + 1):
            first = self.wire()
            first.send(stream[:cut])
            # Where the bridge has answered some of it, some of that may have been received.
            first.close()
            again = self.wire(session=first.session)
            self.assertEqual(again.resumed, 1)
            again.send(b"".join(operations[again.received:]))
            answers = {}
            while len(answers) < len(operations):
                answer = again.receive()
                self.assertEqual((answer.kind, answer.status()), (RESULT, 0), (cut, answer))
                self.assertNotIn(answer.correlation, answers)
                answers[answer.correlation] = answer.argument
            self.assertEqual(sorted(answers), [1, 2, 3, 4])
            self.assertEqual([wire.poll(9).text() for _ in range(3)], ["a", "bb", "ccc"], cut)
            self.assertEqual(wire.poll(9).status(), protocol.Q_EMPTY)
            again.goodbye()
            again.close()
            self.wires = [wire]

    def test_a_delivery_survives_any_number_of_cuts(self):
        wire = self.wire()
        wire.open(1, "orders")
        wire.offer(1, "once")
        polling = wire.operate(POLL, channel=1)
        for _ in range(20):
            wire.close()
            wire = self.wire(session=wire.session, received=polling - 1)
            self.assertEqual((wire.resumed, wire.received), (1, polling))
            delivery = wire.receive()
            self.assertEqual((delivery.kind, delivery.text()), (DELIVERY, "once"))
        wire.send(frame(CONFIRM, correlation=polling))
        wire.correlation = polling
        self.assertEqual(wire.poll(1).status(), protocol.Q_EMPTY)

    def test_of_a_killed_bridge_nothing_confirmed_is_lost_or_doubled(self):
        """Producers and a consumer over bridges that are killed; the queue is the judge."""
        self.on("create", "queue", "load", "--capacity", "100000")
        stop = threading.Event()
        lock = threading.Lock()
        confirmed, unknown, consumed, doubtful = [], [], [], []

        def connect(old=None):
            while not stop.is_set():
                if old is not None:
                    old.close()
                old = Wire(("127.0.0.1", self.port), greet=False, connect=False)
                try:
                    old.connect()
                    old.greet()
                    if old.welcome is not None and old.open(1, "load").status() == 0:
                        return old
                except (OSError, AssertionError, struct.error):
                    time.sleep(0.005)
            return old

        def produce(name):
            wire, number = connect(), 0
            while wire is not None and not stop.is_set():
                number += 1
                text = "%s-%d" % (name, number)
                try:
                    ok = wire.offer(1, text).status() == 0
                    with lock:
                        (confirmed if ok else unknown).append(text)
                except (OSError, AssertionError):
                    with lock:
                        unknown.append(text)
                    wire = connect(wire)
            self.wires.append(wire)

        def consume():
            wire = connect()
            while wire is not None and not stop.is_set():
                delivery = None
                try:
                    delivery = wire.poll(1, timeout=SECOND // 10, confirm=False)
                    if delivery.kind == DELIVERY:
                        wire.send(frame(CONFIRM, correlation=delivery.correlation))
                        # Behind an answer the confirmation has arrived.
                        wire.answer(wire.operate(OPEN, b"\0\0\4\0\0\0\0\0load", channel=2 + wire.correlation % 900))
                        with lock:
                            consumed.append(delivery.text())
                except (OSError, AssertionError):
                    if delivery is not None and delivery.kind == DELIVERY:
                        with lock:
                            doubtful.append(delivery.text())
                    wire = connect(wire)
            self.wires.append(wire)

        threads = [threading.Thread(target=produce, args=("p%d" % i,)) for i in range(2)]
        threads.append(threading.Thread(target=consume))
        for thread in threads:
            thread.start()
        seed = int(os.environ.get("TELPHER_SEED", str(time.time_ns() % 1_000_000)))
        dice = random.Random(seed)
        for _ in range(KILLS):
            time.sleep(dice.random() * 0.15)
            self.process.kill()
            self.process.wait()
            self.process = self.bridge()
        time.sleep(0.1)
        stop.set()
        for thread in threads:
            thread.join()
        left = self.drain("load")
        found = consumed + left
        self.assertEqual(len(set(found)), len(found), "doubled, seed %d" % seed)
        # A message that a killed bridge held is gone, and counted: at most once.
        held = self.json_of("info", "load")["abandoned"]
        missing = set(confirmed) - set(found) - set(doubtful)
        self.assertLessEqual(len(missing), held, "seed %d" % seed)
        self.assertLessEqual(set(found), set(confirmed) | set(unknown), "invented, seed %d" % seed)
        self.assertGreater(len(confirmed), 20)
        self.assertEqual(self.json_of("verify")["problems"], [])


if __name__ == "__main__":
    main()
