"""A proxy between a remote client and a bridge that does to their bytes what bad networks and bad people do.

One thread; each connection has a plan (Plan, or what a test derives from it) that is asked what becomes of each chunk.
"""

import collections
import heapq
import itertools
import selectors
import socket
import struct
import threading
import time

TO_BRIDGE, TO_CLIENT = 0, 1
CUT = object()  # in place of bytes: both sides see the connection end
READ_BYTES = 1 << 16


class Plan:
    """Passes everything on, as it comes."""
    reset = False  # a cut is a reset instead of an end

    def chunks(self, direction, data):
        """What is to be sent instead of `data`, in order: pairs (seconds later than the one before, bytes or CUT)."""
        del direction
        return [(0, data)]


class Faulty(Plan):
    """Random: delays, single bytes, fragments, chunks that come together, stalls; at the end a cut."""
    MODES = ("pass", "delay", "dribble", "split", "merge", "stall")

    def __init__(self, random, bytes_most, bytes_least=0):
        self.mode = random.choice(self.MODES)
        self.random = random
        self.reset = random.random() < 0.5
        self.cut_direction = random.choice((TO_BRIDGE, TO_CLIENT))
        self.left = bytes_least + random.randrange(bytes_most)  # until the cut
        self.stalls = 1
        self.held = {TO_BRIDGE: b"", TO_CLIENT: b""}

    def chunks(self, direction, data):
        cut = []
        if direction == self.cut_direction:
            if len(data) >= self.left:
                cut = [(0, CUT)]
            data = data[:self.left]
            self.left -= len(data)
        return self.shaped(data) + cut

    def shaped(self, data):
        if self.mode == "delay":
            return [(self.random.random() * 0.004, data)]
        if self.mode == "dribble":
            return [(0.0001, data[at:at + 1]) for at in range(len(data))]
        if self.mode == "split":
            pieces = []
            while data:
                size = self.random.randrange(1, 40)
                pieces.append((0, data[:size]))
                data = data[size:]
            return pieces
        if self.mode == "merge":
            return [(0.005, data)]  # whatever comes meanwhile goes with it
        if self.mode == "stall" and self.stalls and self.random.random() < 0.2:
            self.stalls -= 1
            return [(self.random.random() * 0.1, data)]
        return [(0, data)]


class Leg:
    """One direction of a connection."""

    def __init__(self, origin, target):
        self.origin, self.target = origin, target
        self.waiting = collections.deque()  # (when, bytes or CUT)
        self.last = 0.0
        self.ended = False


class Connection:
    def __init__(self, client, bridge, plan):
        self.plan = plan
        self.client, self.bridge = client, bridge
        self.legs = [Leg(client, bridge), Leg(bridge, client)]
        self.welcomed = False
        self.open = True


class Proxy:
    """Listens on `port` of 127.0.0.1; `make_plan(number)` gives each connection its plan."""

    def __init__(self, target, make_plan=lambda number: Plan()):
        self.target = target
        self.make_plan = make_plan
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.connections = []
        self.cuts = 0
        self.resumed_in = []  # seconds from a cut to the first bytes of the bridge on the next connection
        self.cut_at = None
        self.accepted = 0
        self.due = []  # heap of (when, tie, connection, leg)
        self.ties = itertools.count()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.stopping = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def stop(self):
        self.stopping = True
        self.thread.join()

    def run(self):
        while not self.stopping:
            wait = 0.02
            if self.due:
                wait = min(wait, max(0, self.due[0][0] - time.monotonic()))
            for key, _ in self.selector.select(wait):
                if key.fileobj is self.listener:
                    self.accept()
                else:
                    self.read(*key.data)
            while self.due and self.due[0][0] <= time.monotonic():
                _, _, connection, leg = heapq.heappop(self.due)
                self.send(connection, leg)
        for connection in list(self.connections):
            self.end(connection)
        self.selector.close()
        self.listener.close()

    def accept(self):
        client, _ = self.listener.accept()
        try:
            bridge = socket.create_connection(("127.0.0.1", self.target), timeout=20)
        except OSError:
            client.close()
            return
        connection = Connection(client, bridge, self.make_plan(self.accepted))
        self.accepted += 1
        self.connections.append(connection)
        for leg in connection.legs:
            leg.origin.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(leg.origin, selectors.EVENT_READ, (connection, leg))

    def read(self, connection, leg):
        if not connection.open or leg.ended:
            return
        try:
            data = leg.origin.recv(READ_BYTES)
        except OSError:
            data = b""
        if not data:
            leg.ended = True
            self.selector.unregister(leg.origin)
            chunks = [(0, CUT)]
        else:
            chunks = connection.plan.chunks(connection.legs.index(leg), data)
        for later, chunk in chunks:
            leg.last = max(leg.last, time.monotonic()) + later
            leg.waiting.append((leg.last, chunk))
        self.send(connection, leg)

    def send(self, connection, leg):
        while connection.open and leg.waiting:
            when, chunk = leg.waiting[0]
            if when > time.monotonic():
                heapq.heappush(self.due, (when, next(self.ties), connection, leg))
                return
            leg.waiting.popleft()
            if chunk is CUT:
                self.cut(connection, by_us=not leg.ended)
                return
            try:
                leg.target.sendall(chunk)
            except OSError:
                self.cut(connection, by_us=False)
                return
            if leg is connection.legs[TO_CLIENT] and not connection.welcomed:
                connection.welcomed = True
                if self.cut_at is not None:
                    self.resumed_in.append(time.monotonic() - self.cut_at)
                    self.cut_at = None

    def cut(self, connection, by_us):
        if by_us:
            self.cuts += 1
            if connection.welcomed:
                self.cut_at = time.monotonic()
            else:
                self.cut_at = None  # the next one comes later on purpose
            if connection.plan.reset:
                for leg in connection.legs:
                    leg.origin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end(connection)

    def end(self, connection):
        if connection.open:
            connection.open = False
            self.connections.remove(connection)
            for leg in connection.legs:
                if not leg.ended:
                    self.selector.unregister(leg.origin)
                leg.origin.close()
