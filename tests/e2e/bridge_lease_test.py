#!/usr/bin/env python3
"""Leases and offers for later, as a client in another language meets them: tcp_bridge/PROTOCOL.md."""

import json
import os
import struct
import tempfile
import time

from _cli import CliTest, main
from _wire import CONFIRM, LEASE, OFFER, POLL, SECOND, Wire, command, frame, message, text

# include/telpher/status.hpp
(Q_EMPTY, LEASE_EXPIRED, BAD) = (2, 8, 16)


class BridgeLeases(CliTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(dir="/tmp")
        self.addCleanup(folder.cleanup)
        os.environ["TELPHER_CONFIG_DIR"] = os.path.join(folder.name, "telpher")
        self.on("create", "queue", "orders", "--capacity", "4")
        process = self.start("bridge", "-d", self.domain, "--listen", "127.0.0.1:0", "--json", "--encrypt", "off")
        self.port = int(json.loads(process.stdout.readline())["tcp"].rsplit(":", 1)[1])

    def wire(self):
        wire = Wire(("127.0.0.1", self.port))
        self.addCleanup(wire.close)
        return wire

    def test_many_leases_are_settled_at_once(self):
        def name(polled, other=0):
            prefix, counter = struct.unpack_from("<QQ", polled[1].body, 8)
            return struct.pack("<QQQ", polled[0], prefix, counter + other)

        def settle_many(verb, *names, count=None):
            count = len(names) if count is None else count
            return command(wire, "settle_many", struct.pack("<BqI", verb, 0, count) + b"".join(names))

        wire = self.wire()
        options = struct.pack("<IBQBqI", 8, 0, 0, 1, 30 * SECOND, 3) + text("")
        self.assertEqual(command(wire, "create_queue", text("leased") + options + bytes(26)), b"\x01")
        wire.open(3, "leased")
        polled = []
        for what in "abc":
            wire.offer(3, what)
            correlation = wire.operate(POLL, channel=3, argument=SECOND)
            wire.answer(correlation)
            polled.append((correlation, wire.answer(correlation)))
            wire.send(frame(CONFIRM, correlation=correlation))
        first, second, third = polled
        self.assertEqual(settle_many(1), struct.pack("<I", 0))
        self.assertEqual(settle_many(1, name(first), name(second, other=1), name(third), name(first)),
                         struct.pack("<IBBBB", 4, 0, LEASE_EXPIRED, 0, LEASE_EXPIRED))
        self.assertEqual(settle_many(9, name(second)), struct.pack("<IB", 1, BAD))
        self.assertEqual(settle_many(1, name(second), count=2), BAD)
        self.assertEqual(settle_many(1, *(name(second) for _ in range(2049))), BAD)
        self.assertEqual(settle_many(1, name(second)), struct.pack("<IB", 1, 0))
        self.assertEqual(wire.poll(3).status(), Q_EMPTY)

    def test_an_offer_for_later(self):
        """Entry 15 of the message, not_before: milliseconds."""
        later = lambda what, ms: message(what, extension=struct.pack("<BHI", 15, 4, ms))
        wire = self.wire()
        options = struct.pack("<IBQBqI", 8, 0, 0, 1, 30 * SECOND, 3) + text("")
        self.assertEqual(command(wire, "create_queue", text("leased") + options + bytes(26)), b"\x01")
        wire.open(1, "orders")
        wire.open(3, "leased")
        offered = wire.answer(wire.operate(OFFER, later("x", 300), channel=3))
        started = time.monotonic()
        self.assertEqual((offered.status(), offered.argument), (0, 0))
        self.assertEqual(wire.poll(3).status(), Q_EMPTY)
        correlation = wire.operate(POLL, channel=3, argument=20 * SECOND)
        self.assertEqual(wire.answer(correlation).kind, LEASE)
        delivery = wire.answer(correlation)
        self.assertGreater(time.monotonic() - started, 0.25)
        self.assertEqual((delivery.text(), delivery.argument), ("x", 0))
        self.assertEqual(wire.answer(wire.operate(OFFER, later("x", 300), channel=1)).status(), BAD)
        self.assertEqual(wire.answer(wire.operate(OFFER, later("x", 2**32 - 1), channel=3)).status(), BAD)


if __name__ == "__main__":
    main()
