#!/usr/bin/env python3
"""The bridge over TLS 1.3, as Python's own implementation meets it."""

import socket
import ssl
import threading
import time

import bridge_protocol_test as protocol
from _cli import LIMIT_S, main
from _wire import HELLO, PREFACE, REFUSED, WELCOME, Wire, frame, hello

NOT_PERMITTED = protocol.NOT_PERMITTED


class Encrypted(protocol.Bridge):
    """The same tests over TLS 1.3, by Python's own implementation; and what only concerns encryption."""

    def bridge(self, *arguments):
        return super().bridge(*(arguments or ("--encrypt", "required")))

    def wire(self, greet=True, tls=True, **how):
        wire = Wire(("127.0.0.1", self.port), greet=False)
        self.wires.append(wire)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            wire.socket = context.wrap_socket(wire.socket)
            self.assertEqual((wire.socket.version(), wire.socket.cipher()[0]), ("TLSv1.3", "TLS_AES_256_GCM_SHA384"))
        if greet:
            wire.greet(**how)
        return wire

    def test_who_never_says_hello_is_dropped_in_time(self):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.addCleanup(plain.close)
        plain.send(b"\x16\x03\x01")
        started = time.monotonic()
        self.assertEqual(plain.recv(100), b"")
        self.assertLess(time.monotonic() - started, 8)

    def test_bad_beginnings_are_refused(self):
        wire = self.wire(greet=False)
        wire.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(wire.receive().kind, REFUSED)

    def test_plain_clients_are_refused_where_encryption_is_required(self):
        wire = self.wire(tls=False, greet=False)
        wire.send(PREFACE + frame(HELLO, hello()))
        refused = wire.receive()
        self.assertEqual((refused.kind, refused.status()), (REFUSED, NOT_PERMITTED))

    def test_older_versions_of_tls_are_refused(self):
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.addCleanup(raw.close)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with self.assertRaises(ssl.SSLError):
            context.wrap_socket(raw)

    def test_the_text_is_never_on_the_wire(self):
        """Through a relay that keeps what passes."""
        relay = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(relay.close)
        seen = bytearray()

        def pass_on(origin, to):
            try:
                while data := origin.recv(1 << 16):
                    seen.extend(data)
                    to.sendall(data)
            except OSError:
                pass

        def serve():
            client, _ = relay.accept()
            bridge = socket.create_connection(("127.0.0.1", real))
            threads = [threading.Thread(target=pass_on, args=pair) for pair in ((client, bridge), (bridge, client))]
            for thread in threads:
                thread.start()
            threads[0].join()
            bridge.shutdown(socket.SHUT_RDWR)
            threads[1].join()
            client.close()
            bridge.close()

        real, self.port = self.port, relay.getsockname()[1]
        server = threading.Thread(target=serve)
        server.start()
        wire = self.wire()
        text = "attack at dawn " * 70_000
        wire.open(1, "orders")
        wire.offer(1, text)
        self.assertEqual(wire.poll(1).text(), text)
        wire.close()
        server.join(LIMIT_S)
        self.assertGreater(len(seen), 2 * len(text))
        self.assertNotIn(b"attack at dawn", seen)
        self.assertNotIn(b"orders", seen)

    def test_only_authorized_keys_are_served_where_they_are_asked_for(self):
        self.process.kill()
        self.process.wait()
        self.bridge("--encrypt", "required", "--peers", "authorized")
        with self.assertRaises((ssl.SSLError, ConnectionError, AssertionError)):
            wire = self.wire()
            self.assertEqual(wire.welcome.kind, WELCOME)
        self.assertEqual(self.error_of("bridge", "-d", self.domain, "--listen", "127.0.0.1:0", "--peers", "authorized",
                                       code=2)["status"], "bad_request")


if __name__ == "__main__":
    main()
