#!/usr/bin/env python3
"""Bad networks between the command line and a bridge: what was confirmed is there, once, in order."""

import os
import random
import subprocess
import tempfile
import threading
import time

import bridge_protocol_test as protocol
from _cli import BIN, LIMIT_S, OK, main, wait_until
from _proxy import Faulty, Plan, Proxy
from _wire import (CONFIRM, DELIVERY, HELLO, OFFER, OPEN, POLL, PREFACE, RESULT, Wire, frame, hello, message)

SOAK = "TELPHER_SOAK" in os.environ
SEED = int(os.environ.get("TELPHER_SEED", random.randrange(1 << 32)))
FAULTS = 1000 if SOAK else 150
BYTES_MOST = 1000  # of a connection in one direction before it is cut: about half a dozen messages


class Faults(protocol.Bridge):
    THREADS = 3
    # Only what stands here.
    for name in dir(protocol.Bridge):
        if name.startswith("test_"):
            locals()[name] = None

    def proxy(self, make_plan=lambda number: Plan()):
        proxy = Proxy(self.port, make_plan)
        self.addCleanup(proxy.stop)
        return proxy

    def follow(self, uri, texts, sequences):
        """A consumer that goes on for ever; what it prints is added to the lists."""
        consumer = self.start("poll", "load", "--follow", "-u", uri, "--json", stderr=subprocess.DEVNULL)

        def read():
            for line in consumer.stdout:
                entry = protocol.json.loads(line)
                texts.append(entry["payload-text"])
                sequences.append(entry["sequence"])

        reader = threading.Thread(target=read)
        reader.start()
        self.addCleanup(reader.join, LIMIT_S)
        return consumer

    def test_random_faults_lose_double_and_reorder_nothing(self):
        """A producer and a consumer, both behind the proxy, until each connection has had its share of faults."""
        print("seed %d, %d faults" % (SEED, FAULTS), flush=True)
        self.on("create", "queue", "load", "--capacity", "100000")
        # Each connection's own, so that a run with the same seed has the same faults whatever the clock does. A command
        # gives up if its first connection does not get as far as its queue.
        def make_plan(leg):
            return lambda number: Faulty(random.Random(SEED * 4 + leg + 1000003 * number), BYTES_MOST,
                                         bytes_least=0 if number else 600)

        proxies = [self.proxy(make_plan(leg)) for leg in range(2)]
        to_offer, to_poll = ("tcp://127.0.0.1:%d" % proxy.port for proxy in proxies)
        texts, sequences = [], []
        consumer = self.follow(to_poll, texts, sequences)
        producer = self.start("offer", "load", "-", "-u", to_offer, "--timeout", "30s", "--json",
                              stdin=subprocess.PIPE)
        offered = 0
        end = time.monotonic() + (300 if SOAK else 60)
        while sum(proxy.cuts for proxy in proxies) < FAULTS and time.monotonic() < end:
            self.assertIsNone(producer.poll())
            # Never far ahead: its pipe must not hold thousands when it is time to end.
            while offered - len(texts) < 50:
                producer.stdin.write(b"%d\n" % offered)
                offered += 1
            producer.stdin.flush()
            time.sleep(0.005)
        for proxy in proxies:
            proxy.make_plan = lambda number: Plan()
        producer.stdin.close()
        producer.stdin = None
        self.assertEqual(producer.wait(LIMIT_S), OK, producer.stderr.read())
        wait_until(lambda: len(texts) >= offered, "everything offered has come (%d)" % offered, 30)
        time.sleep(0.1)
        consumer.send_signal(protocol.signal.SIGINT)
        self.assertEqual(consumer.wait(LIMIT_S), OK)
        self.assertEqual(texts, [str(number) for number in range(offered)], "seed %d" % SEED)
        self.assertEqual(sequences, list(range(1, offered + 1)), "seed %d" % SEED)
        self.assertEqual(self.json_of("info", "load")["depth"], 0)
        self.assertEqual(self.json_of("verify")["problems"], [])
        cuts = sum(proxy.cuts for proxy in proxies)
        times = sorted(seconds for proxy in proxies for seconds in proxy.resumed_in)
        print("%d messages over %d cuts, resumed in %.0f ms (median), %.0f ms (99 %%), %.0f ms (most)" %
              (offered, cuts, 1e3 * times[len(times) // 2], 1e3 * times[len(times) * 99 // 100], 1e3 * times[-1]))
        self.assertGreaterEqual(cuts, FAULTS)
        self.assertLess(times[len(times) * 9 // 10], 1)
        self.assertLess(times[-1], 5)

    def test_a_stream_may_be_split_at_every_boundary(self):
        stream = PREFACE + frame(HELLO, hello()) + frame(OPEN, b"\0\0\6\0\0\0\0\0orders", channel=1, correlation=1)
        stream += frame(OFFER, message("split"), channel=1, correlation=2) + frame(POLL, channel=1, correlation=3)
        for at in range(1, len(stream)):
            wire = self.wire(greet=False)
            wire.send(stream[:at])
            time.sleep(0.001)
            wire.send(stream[at:])
            answers = [wire.receive() for _ in range(4)]
            self.assertEqual([answer.kind for answer in answers[1:]], [RESULT, RESULT, DELIVERY], at)
            self.assertEqual(answers[3].text(), "split", at)
            wire.send(frame(CONFIRM, correlation=3))
            wire.goodbye()
            wire.close()

    def test_connections_that_go_dead_are_noticed_on_both_sides_and_replaced(self):
        """Nothing passes any more and nobody is told, as behind a router that forgot; twice in a row."""
        self.process.kill()
        self.process.wait()
        self.process = self.bridge("--encrypt", "off", "--heartbeat", "100ms")
        self.on("create", "queue", "load", "--capacity", "1000")

        class Dead(Plan):
            def chunks(self, direction, data):
                return [(0, data)] if not dead.is_set() else []

        dead = threading.Event()
        plans = [Dead(), Dead()]
        proxy = self.proxy(lambda number: plans[number] if number < len(plans) else Plan())
        texts, sequences = [], []
        consumer = self.follow("tcp://127.0.0.1:%d" % proxy.port, texts, sequences)
        for number in range(len(plans)):
            self.on("offer", "load", str(number))
            wait_until(lambda: len(texts) == number + 1, "it has come")
            self.assertEqual(len(proxy.connections), 1)
            dead.set()
            began = time.monotonic()
            wait_until(lambda: proxy.accepted == number + 2, "it connects again")
            self.assertLess(time.monotonic() - began, 2)
            dead.clear()
        self.on("offer", "load", "last")
        wait_until(lambda: len(texts) == 3, "it has come")
        consumer.send_signal(protocol.signal.SIGINT)
        self.assertEqual(consumer.wait(LIMIT_S), OK)
        self.assertEqual((texts, sequences), (["0", "1", "last"], [1, 2, 3]))


if __name__ == "__main__":
    main()
