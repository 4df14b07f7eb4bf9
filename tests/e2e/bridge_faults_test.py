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
        # Each connection's own, so that a run with the same seed has the same faults whatever the clock does.
        proxies = [self.proxy(lambda number, leg=leg: Faulty(random.Random(SEED * 4 + leg + 1000003 * number),
                                                             BYTES_MOST)) for leg in range(2)]
        to_offer, to_poll = ("tcp://127.0.0.1:%d" % proxy.port for proxy in proxies)
        texts, sequences = [], []
        consumer = self.follow(to_poll, texts, sequences)
        producer = self.start("offer", "load", "-", "-u", to_offer, "--timeout", "30s", "--json",
                              stdin=subprocess.PIPE)
        offered = 0
        end = time.monotonic() + (300 if SOAK else 60)
        while sum(proxy.cuts for proxy in proxies) < FAULTS and time.monotonic() < end:
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


if __name__ == "__main__":
    main()
