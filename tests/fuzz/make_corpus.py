#!/usr/bin/env python3
"""Writes the seeds of every fuzz target that are made, not found: tests/fuzz/corpus/TARGET/seed_*.

usage: make_corpus.py          the files are checked in; other files (inputs that once failed) are left alone

A target's seeds are a function here, named as the target.
"""

import pathlib
import re
import struct
import sys
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TEXT = b'{"order":17,"item":"espresso","count":2,"customer":"customer-4711"}\n' * 4
# `espresso` five times, by zstd's level 1 with checksum: Python's library has no zstd.
ZSTD = bytes.fromhex("28b52ffd242c7d000048657370726573736f20010048962306c1b0ed")


def message():
    """The encoded messages that the unit tests know."""
    golden = (ROOT / "tests/unit/wire/golden.hpp").read_text(encoding="utf-8")
    for found in re.finditer(r"string_view k\w+ =((?:\s*\"[0-9a-f]+\")+);", golden):
        yield bytes.fromhex("".join(re.findall(r'"([0-9a-f]+)"', found[1])))


def deflate(raw, level=6, strategy=zlib.Z_DEFAULT_STRATEGY):
    stream = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
    return stream.compress(raw) + stream.flush()


def gzip(raw, blocks):
    return bytes.fromhex("1f8b08000000000000ff") + blocks + struct.pack("<II", zlib.crc32(raw), len(raw))


def body(codec, raw_bytes, stream):
    return struct.pack("<BxxxI", codec, raw_bytes) + stream


def inflate():
    zeros = bytes(3000)
    kinds = [(TEXT, deflate(TEXT)), (TEXT, deflate(TEXT, 0)), (TEXT, deflate(TEXT, 6, zlib.Z_FIXED)),
             (TEXT, deflate(TEXT, 6, zlib.Z_HUFFMAN_ONLY)), (zeros, deflate(zeros, 9)), (b"", deflate(b""))]
    for raw, blocks in kinds:
        yield b"\0" + body(1, len(raw), gzip(raw, blocks))
        yield b"\1" + gzip(raw, blocks)
        yield b"\2" + blocks
    for how in (1, 6, 9, 16, 26, 46):
        for places in ((0xffff, 0xffff, 0xffff), (20, 0xffff, 0xffff), (40, 60, 80)):
            yield struct.pack("<BBHHH", 3, how, *places) + TEXT
    # A repeated code of lengths, and the last distance: blocks that few encoders make.
    yield b"\2" + bytes.fromhex("04c00100000000000090ff6b23")
    yield b"\0" + body(2, 44, ZSTD)
    yield b"\1" + ZSTD


def compress_roundtrip():
    yield b"\0" + TEXT
    yield b"\0" + bytes(300)
    yield b"\xff" + TEXT[:255]
    yield b"\0" + bytes(range(256))


def names():
    for text in ("orders orders", "price.*.eur price.espresso.eur", "price.> price.espresso", "> a", "*.* a.b",
                 "a..b a..b", "*.> a.b.c", "application/json text/html", "1.5MiB -1", "1000 UTF-8", "a*b >.a"):
        yield text.encode()


def log():
    def op(how, value=0, payload=b""):
        return bytes((how, value, len(payload))) + payload
    record, wrong, raw, zeros, ends = 0, 1, 2, 3, 32
    define, removed, message, state, done, entry, closed = (kind << 2 for kind in range(1, 8))
    put = op(record | message, 0, b"payload")
    ranges = struct.pack("<QQ", 1, 3)
    life = (op(record | define, 1, b"queue") + put * 3 + op(record | state, 3, b"twice") + op(record | done, 0, ranges) +
            op(record | entry, 1, bytes(16) + b"value") + op(record | removed, 1))
    yield b"\0" + life
    yield b"\0" + life + op(record | closed)
    yield b"\1" + life + op(record | message | ends) + life
    for spoiled in range(1, 8):
        yield bytes((1 | spoiled << 2,)) + life + op(record | message | ends) + put
    for chain in (32, 64, 128, 32 | 64, 32 | 128):                          # gaps, missing, a damaged header
        yield bytes((2 | chain,)) + (life + op(record | message | ends)) * 2 + put
    yield b"\0" + put + op(wrong | message, 0, b"payload") + put          # damage: it was confirmed
    yield b"\0" + put + op(raw, 0, bytes(range(56)))                        # a torn end
    yield b"\0" + put + op(zeros, 200) + put
    for field in (64, 128, 192):
        yield b"\0" + put + op(record | message | field, 9, b"payload") + put
    for payload in (b"payload" * 30, b"\1\0\0\0\xff\xff\xff\xff" + bytes(20)):  # compressed, and what says so only
        yield b"\0" + put + op(record | message, 128 | 64, payload) + op(record | message, 128, payload) + put


def json_check():
    for text in ('{"a":[1,-2.5e+3,true,false,null],"b":{"c":""}}', '"caf\\u00e9 \\ud83d\\ude00 \\n\\/"', "[[[[]]]]", "0",
                 '"caf\u00e9 \U0001F600"', "[1,2", '{"a":}', "-0.0E-1", '"\\ud800"', " \t\r\n[ ]"):
        yield text.encode()


def vectors():
    """The frames that tcp_bridge/PROTOCOL.md shows."""
    protocol = (ROOT / "tcp_bridge/PROTOCOL.md").read_text(encoding="utf-8")
    for found in re.finditer(r"    vector (.*)\n((?:        [0-9a-f ]+\n)+)", protocol):
        if found[1] != "preface":
            yield bytes.fromhex(found[2])


def frames():
    for how in (0, 1, 7):
        yield bytes([how]) + b"".join(vectors())
    for vector in vectors():
        yield b"\x03" + vector


def bodies():
    kinds = {1: 0, 2: 1, 3: 2, 5: 2, 8: 3, 25: 4}  # by the frame's type
    for vector in vectors():
        if vector[4] in kinds:
            yield bytes([kinds[vector[4]]]) + vector[24:]


def script(*frames):
    """As frame_script.hpp reads it: (type, how, channel, argument, body)."""
    return b"".join(struct.pack("<BBBBB", *frame[:4], len(frame[4])) + frame[4] for frame in frames)


MESSAGE, OPEN, PATTERN = 1 << 3, 2 << 3, 3 << 3
QUEUE, TOPIC, FUNCTION = b"\0", b"\4", b"\x08"  # name and kind of OPEN


def server_session():
    queue, topic, function = ((8, OPEN, 1, 4, QUEUE), (8, OPEN, 2, 4, TOPIC), (8, OPEN, 3, 4, FUNCTION))
    offer, poll = (16, MESSAGE, 1, 4, b"x"), (17, 0, 1, 4, b"")
    yield script(queue, offer, offer, poll, (19, 1 << 5, 1, 0, b""), poll, (20, 1 << 5, 1, 0, b""), (5, 0, 0, 0, b""))
    yield script(queue, poll, (11, 1 << 5, 0, 0, b""), offer, (0xff, 0, 0, 0, b""), offer, (6, 0, 0, 3, b""))
    yield script(topic, (25, PATTERN, 4, 3, b"\0"), (24, MESSAGE, 2, 4, b"x"), (27, 0, 4, 2, b""), (28, 0, 4, 0, b""))
    yield script(function, (32, MESSAGE, 3, 5, b"x"), (32, MESSAGE | 4, 3, 0, b"x"), (9, 0, 3, 0, b""))
    for command in range(14):
        yield script((40, 0, 0, 0, bytes([command]) + b"\1\0q" + b"\4\0\0\0" * 4), (40, 0, 0, 0, bytes([command]) + b"\0"))
    yield script(queue, offer, offer, offer, offer, (16, MESSAGE, 1, 5, b"full"), (0xff, 0, 0, 0, b""), poll)


def remote_session():
    answers = [(10, at << 5, 0, 1, b"") for at in (3, 4, 5, 6)]
    yield script(*answers, (18, 7 << 5 | MESSAGE, 1, 1, b"x"), (26, 2 << 5 | MESSAGE, 4, 1, b"x"), (4, 0, 0, 2, b""))
    yield script(*answers, (0xff, 0, 0, 0, b""), *answers, (0xfe, 0, 0, 0, b""), (29, 2 << 5, 4, 0, b""))
    yield script((10, 3 << 5, 0, 0, b"\x11\0\0\0\0\0\0\0"), (5, 2 << 5, 0, 0, b""))


def main():
    for target in (message, inflate, compress_roundtrip, names, log, json_check, frames, bodies, server_session,
                   remote_session):
        folder = ROOT / "tests/fuzz/corpus" / target.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("seed_*"):
            old.unlink()
        seeds = list(target())
        for number, seed in enumerate(seeds):
            (folder / f"seed_{number:02}").write_bytes(seed)
        print(f"{target.__name__}: {len(seeds)} seeds, {sum(map(len, seeds))} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
