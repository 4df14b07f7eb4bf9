"""A client of the bridge written from tcp_bridge/PROTOCOL.md alone, for tests: blocking, one thread."""

import socket
import struct

PREFACE = b"tlpherv1"
(HELLO, WELCOME, REFUSED, HEARTBEAT, GOODBYE, ACK) = range(1, 7)
OPEN, CLOSE, RESULT, CANCEL = 8, 9, 10, 11
OFFER, POLL, DELIVERY, CONFIRM, PUT_BACK, WATCH, LEASE = 16, 17, 18, 19, 20, 21, 22
PUBLISH, SUBSCRIBE, SAMPLE, CREDIT, UNSUBSCRIBE, END = 24, 25, 26, 27, 28, 29
CALL, RESPONSE, COMMAND = 32, 33, 40
COMPRESSED, MORE, ONEWAY, LEASED = 1, 2, 4, 8
QUEUE, TOPIC, FUNCTION = 0, 1, 2
NO_SESSION = bytes(16)
SECOND = 1_000_000_000
PART = 65536


def frame(kind, body=b"", channel=0, correlation=0, argument=0, flags=0):
    return struct.pack("<IBBHQQ", len(body), kind, flags, channel, correlation, argument) + body


def hello(session=NO_SESSION, received=0, version=(1, 1), mandatory=0, heartbeat_ms=5000, name=b"test", codecs=0,
          compress_from=-1):
    return struct.pack("<HHIQQ16sQqBB6x", version[0], version[1], heartbeat_ms, 0, mandatory, session, received,
                       compress_from, codecs, len(name)) + name


def message(text, topic="t", kind=0, extension=b""):
    """A message as shm/FORMAT.md lays it out: 40 bytes, extension, topic, padding to 8, payload."""
    topic = topic.encode()
    payload = text if isinstance(text, bytes) else text.encode()
    head = struct.pack("<IBBBBQQQIHH", len(payload), kind, 0, 1, 1, 0, 0, 0, 0, len(topic), len(extension))
    before = head + extension + topic
    return before + bytes(-len(before) % 8) + payload


class Received:
    def __init__(self, head, body):
        (_, self.kind, self.flags, self.channel, self.correlation, self.argument) = head
        self.body = body

    def text(self):
        return self.payload().decode()

    def payload(self):
        """Of the message that is the body."""
        payload, _, _, _, _, _, _, _, _, topic, extension = struct.unpack_from("<IBBBBQQQIHH", self.body)
        at = (40 + topic + extension + 7) // 8 * 8
        if self.body[5] & 4:  # aligned to a cache line of its chunk
            at = (40 + topic + extension + 16 + 63) // 64 * 64 - 16
        assert len(self.body) == at + payload, (len(self.body), at, payload)
        return self.body[at:]

    def status(self):
        return self.body[0] if self.body else 0

    def detail(self):
        return self.body[8:].decode()

    def __repr__(self):
        return "frame %d correlation %d argument %d body %r" % (self.kind, self.correlation, self.argument,
                                                               self.body[:80])


class Wire:
    def __init__(self, address, greet=True, connect=True, source=None, **how):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source is not None:
            self.socket.bind((source, 0))  # any of 127.0.0.0/8: another address, as the bridge sees it
        self.address = address
        if connect:
            self.connect()
        self.buffer = b""
        self.correlation = 0
        if greet:
            self.greet(**how)

    def connect(self):
        self.socket.connect(self.address)

    def greet(self, **how):
        self.send(PREFACE + frame(HELLO, hello(**how)))
        self.welcome = self.receive()
        if self.welcome is not None and self.welcome.kind == WELCOME:
            (self.version, self.codec, self.resumed, self.heartbeat_ms, _, self.session, self.bridge,
             self.message_bytes_max, self.compress_from, self.outstanding_max, self.grace_ms, self.received,
             size) = struct.unpack_from("<HBBIQ16s16sQqIIQB", self.welcome.body)
            self.domain = self.welcome.body[88:88 + size].decode()

    def send(self, data):
        self.socket.sendall(data)

    def operate(self, kind, body=b"", **fields):
        """Sends an operation; returns its correlation."""
        self.correlation += 1
        parts = [body[at:at + PART] for at in range(0, len(body), PART)] or [b""]
        flags = fields.pop("flags", 0)
        for part in parts[:-1]:
            self.send(frame(kind, part, correlation=self.correlation, flags=flags | MORE, **fields))
        self.send(frame(kind, parts[-1], correlation=self.correlation, flags=flags, **fields))
        return self.correlation

    def receive(self):
        """The next frame that is no heartbeat, put together if it comes in parts; None: the other side has closed."""
        body = b""
        while True:
            while len(self.buffer) < 24 or len(self.buffer) < 24 + struct.unpack_from("<I", self.buffer)[0]:
                more = self.socket.recv(1 << 16)
                if not more:
                    return None
                self.buffer += more
            head = struct.unpack_from("<IBBHQQ", self.buffer)
            body += self.buffer[24:24 + head[0]]
            self.buffer = self.buffer[24 + head[0]:]
            if head[1] == HEARTBEAT:
                body = b""
            elif not head[2] & MORE:
                return Received(head, body)

    def answer(self, correlation):
        """The next frame, which must be the answer of that operation."""
        received = self.receive()
        assert received is not None and received.correlation == correlation, received
        return received

    def open(self, channel, name, kind=QUEUE, wait=0):
        body = struct.pack("<BxHI", kind, len(name), 0) + name.encode()
        return self.answer(self.operate(OPEN, body, channel=channel, argument=wait))

    def offer(self, channel, text, timeout=0):
        return self.answer(self.operate(OFFER, message(text), channel=channel, argument=timeout))

    def poll(self, channel, timeout=0, confirm=True):
        delivery = self.answer(self.operate(POLL, channel=channel, argument=timeout))
        if confirm and delivery.kind == DELIVERY:
            self.send(frame(CONFIRM, correlation=delivery.correlation))
        return delivery

    def subscribe(self, channel, patterns, credit, origin=0, number=0):
        body = struct.pack("<BBHIQ", origin, 255, len(patterns), 0, number)
        for pattern in patterns:
            body += struct.pack("<H", len(pattern)) + pattern.encode()
        return self.answer(self.operate(SUBSCRIBE, body, channel=channel, argument=credit))

    def goodbye(self):
        self.send(frame(GOODBYE))

    def close(self):
        self.socket.close()


def text(name):
    """As commands have them."""
    return struct.pack("<H", len(name)) + name.encode()


def command(wire, name, arguments=b""):
    answer = wire.answer(wire.operate(COMMAND, message(arguments, topic=name)))
    return answer.payload() if answer.kind == RESPONSE else answer.status()
