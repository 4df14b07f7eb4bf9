#!/usr/bin/env python3
"""Compression on the wire, as Python's gzip makes and reads it."""

import gzip
import os
import struct

import bridge_protocol_test as protocol
from _cli import main
from _wire import (COMPRESSED, CONFIRM, DELIVERY, GOODBYE, HELLO, MORE, OFFER, POLL, PREFACE, RESULT, SAMPLE, SECOND,
                   SUBSCRIBE, TOPIC, PUBLISH, Wire, frame, hello, message)

GZIP, ZSTD = 1, 2
TEXT = "espresso " * 40000  # 360 KB


def packed(body):
    return struct.pack("<BxxxI", GZIP, len(body)) + gzip.compress(body, mtime=0)


def unpacked(body):
    codec, size = struct.unpack_from("<BxxxI", body)
    assert codec == GZIP, codec
    raw = gzip.decompress(body[8:])
    assert len(raw) == size
    return raw


class Compression(protocol.Bridge):
    # Only what stands here.
    for name in dir(protocol.Bridge):
        if name.startswith("test_"):
            locals()[name] = None

    def agreed(self, codecs=GZIP, compress_from=0):
        wire = self.wire(codecs=codecs, compress_from=compress_from)
        wire.open(1, "orders")
        return wire

    def delivery(self, wire):
        answer = wire.answer(wire.operate(POLL, channel=1))
        self.assertEqual(answer.kind, DELIVERY, answer)
        wire.send(frame(CONFIRM, correlation=answer.correlation))
        return answer

    def test_what_both_have_and_somebody_wants_is_agreed_on(self):
        for codecs, wish, codec in ((GZIP, 0, GZIP), (GZIP, 1024, GZIP), (0, 0, 0), (GZIP, -1, 0), (0x80, 0, 0)):
            wire = self.wire(codecs=codecs, compress_from=wish)
            self.assertEqual((wire.codec, wire.compress_from), (codec, wish if codec else -1), (codecs, wish))

    def test_the_bridge_may_want_it(self):
        self.process = self.bridge("--compress-from", "1KB", "--encrypt", "off")
        self.assertEqual((self.agreed(compress_from=-1).codec, self.agreed(compress_from=-1).compress_from), (GZIP, 1024))
        self.assertEqual(self.agreed(compress_from=7).compress_from, 7)

    def test_messages_come_and_go_compressed(self):
        wire = self.agreed(compress_from=1000)
        offered = wire.answer(wire.operate(OFFER, packed(message(TEXT)), channel=1, flags=COMPRESSED))
        self.assertEqual((offered.kind, offered.status()), (RESULT, 0), offered)
        self.assertEqual(self.json_of("peek", "orders")["payload-text"], TEXT)
        delivery = self.delivery(wire)
        self.assertEqual(delivery.flags, COMPRESSED)
        self.assertLess(len(delivery.body), len(TEXT) // 50)
        delivery.body = unpacked(delivery.body)
        self.assertEqual(delivery.text(), TEXT)

    def test_what_is_small_or_does_not_shrink_goes_as_it_is(self):
        wire = self.agreed(compress_from=1000)
        for text in ("small " * 20, os.urandom(100_000)):
            self.assertEqual(wire.answer(wire.operate(OFFER, message(text), channel=1)).status(), 0)
            self.assertEqual(self.delivery(wire).flags, 0)

    def test_a_compressed_body_in_parts(self):
        half = os.urandom(150_000)
        wire = self.agreed()
        body = packed(message(half + half.hex().encode()))
        self.assertGreater(len(body), 3 * 65536)
        self.assertEqual(wire.answer(wire.operate(OFFER, body, channel=1, flags=COMPRESSED)).status(), 0)
        delivery = self.delivery(wire)
        raw = unpacked(delivery.body) if delivery.flags & COMPRESSED else delivery.body
        self.assertTrue(raw.endswith(half.hex().encode()))

    def test_samples_are_compressed(self):
        wire = self.agreed()
        wire.open(2, "news", kind=TOPIC)
        wire.subscribe(3, ["news"], 10)
        wire.operate(PUBLISH, packed(message(TEXT, topic="news")), channel=2, flags=COMPRESSED)
        kinds = {}
        for _ in range(2):
            received = wire.receive()
            kinds[received.kind] = received
        sample = kinds[SAMPLE]
        self.assertEqual(sample.flags, COMPRESSED)
        sample.body = unpacked(sample.body)
        self.assertEqual(sample.text(), TEXT)

    def test_what_was_not_agreed_on_ends_the_connection(self):
        for how in ({"codecs": 0}, {"codecs": GZIP, "compress_from": -1}):
            wire = self.wire(**how)
            wire.open(1, "orders")
            wire.operate(OFFER, packed(message("x" * 100)), channel=1, flags=COMPRESSED)
            end = wire.receive()
            self.assertEqual((end.kind, end.status()), (GOODBYE, protocol.BAD))
            self.assertIn("not agreed on", end.detail())

    def test_a_session_keeps_its_codec(self):
        first = self.agreed(compress_from=5)
        first.close()
        again = self.wire(session=first.session, codecs=GZIP, compress_from=-1)
        self.assertEqual((again.resumed, again.codec, again.compress_from), (1, GZIP, 5))

    def test_hostile_bodies_are_refused(self):
        good = packed(message(TEXT))
        bomb = gzip.compress(bytes(19 << 20), mtime=0)
        bodies = {
            "empty": b"",
            "head alone": good[:8],
            "cut": good[:-20],
            "damaged": good[:300] + bytes([good[300] ^ 1]) + good[301:],
            "more behind it": good + b"x",
            "no codec": b"\0" + good[1:],
            "unknown codec": b"\7" + good[1:],
            "reserved": good[:1] + b"\1" + good[2:],
            "said to be shorter": struct.pack("<BxxxI", GZIP, len(TEXT) - 1) + good[8:],
            "said to be longer": struct.pack("<BxxxI", GZIP, len(TEXT) + 1000) + good[8:],
            "said to be huge": struct.pack("<BxxxI", GZIP, 0xFFFFFFFF) + good[8:],
            "a bomb beyond its word": struct.pack("<BxxxI", GZIP, 1000) + bomb,
            "a bomb beyond the limit": struct.pack("<BxxxI", GZIP, 4_000_000_000) + bomb,
        }
        before = self.memory()
        for name, body in bodies.items():
            wire = self.agreed()
            wire.operate(OFFER, body, channel=1, flags=COMPRESSED)
            end = wire.receive()
            self.assertEqual(end.kind, GOODBYE, name)
            self.assertIn(end.status(), (protocol.BAD, protocol.TOO_LARGE), name)
            self.assertTrue(end.detail(), name)
            wire.close()
        self.assertEqual(self.depth(), 0)
        self.assertLess(self.memory() - before, 20 << 20)

    def test_parts_that_lie_are_refused(self):
        wire = self.agreed()
        body = packed(message(os.urandom(200_000)))
        # The first says that it is compressed, the last that it is not.
        wire.correlation += 1
        wire.send(frame(OFFER, body[:65536], channel=1, correlation=wire.correlation, flags=COMPRESSED | MORE))
        wire.send(frame(OFFER, body[65536:66000], channel=1, correlation=wire.correlation))
        self.assertEqual(wire.receive().kind, GOODBYE)

    def memory(self):
        with open("/proc/%d/statm" % self.process.pid) as file:
            return int(file.read().split()[1]) * 4096


if __name__ == "__main__":
    main()
