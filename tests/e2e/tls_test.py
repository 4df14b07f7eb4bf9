#!/usr/bin/env python3
"""Identities, trust and tls-probe: files as they are left behind, and OpenSSL's own server at the other end.

Everything stays on loopback, on ports that the system chose, and in a configuration folder of each test's own.
"""

import hashlib
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import threading

from _cli import BIN, DENIED, ERROR, LIMIT_S, NOT_FOUND, OK, TIMEOUT, USAGE, CliTest, main

PIN = re.compile(r"^sha256:[0-9a-f]{64}$")
SOME_PIN = "sha256:" + "ab" * 32
OTHER_PIN = "sha256:" + "cd" * 32


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class TlsTest(CliTest):
    def setUp(self):
        super().setUp()
        self.scratch = tempfile.mkdtemp(prefix="telpher-e2e-")
        self.home = os.path.join(self.scratch, "config")
        self.env = dict(os.environ, TELPHER_CONFIG_DIR=self.home)

    def tearDown(self):
        super().tearDown()
        shutil.rmtree(self.scratch)

    def run_cli(self, *arguments, stdin=b"", code=None, env=None):
        return super().run_cli(*arguments, stdin=stdin, code=code, env=env or self.env)

    def json_from(self, *arguments, code=OK, env=None):
        return json.loads(self.run_cli(*arguments, "--json", code=code, env=env).stdout)

    def file(self, name):
        return os.path.join(self.home, name)

    def server_identity(self):
        """Another folder's identity, for whoever plays the bridge: certificate, key, pin."""
        env = dict(self.env, TELPHER_CONFIG_DIR=os.path.join(self.scratch, "bridge"))
        made = self.json_from("keygen", "--name", "bridge", env=env)
        return made["certificate"], made["key"], made["pin"]

    def openssl(self, *arguments, stdin=b""):
        return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True,
                              timeout=LIMIT_S).stdout

    def serve(self, certificate, key, *arguments):
        """openssl s_server; returns its HOST:PORT."""
        server = subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key,
                                   *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL)
        self.started.append(server)
        for line in server.stdout:
            found = re.match(rb"ACCEPT (127\.0\.0\.1:\d+)", line)
            if found:
                return found[1].decode()
        raise AssertionError("openssl s_server has ended")


class Keys(TlsTest):
    def test_keygen_makes_an_identity_that_nobody_else_may_read(self):
        made = self.json_from("keygen", "--name", "till-1")
        self.assertEqual(list(made), ["name", "pin", "key", "certificate"])
        self.assertRegex(made["pin"], PIN)
        self.assertEqual(made["key"], self.file("identity.key"))
        self.assertEqual((mode_of(self.home), mode_of(made["key"])), (0o700, 0o600))
        self.assertEqual(sorted(os.listdir(self.home)), ["identity.crt", "identity.key"])
        # The pin is what others compute, too.
        public = self.openssl("x509", "-in", made["certificate"], "-noout", "-pubkey")
        der = self.openssl("pkey", "-pubin", "-outform", "DER", stdin=public)
        self.assertEqual(made["pin"], "sha256:" + hashlib.sha256(der).hexdigest())
        subject = self.openssl("x509", "-in", made["certificate"], "-noout", "-subject", "-text").decode()
        self.assertIn("till-1", subject)
        self.assertIn("ED25519", subject.upper())

    def test_keygen_overwrites_nothing(self):
        pin = self.json_from("keygen")["pin"]
        key = read(self.file("identity.key"))
        error = self.error_of("keygen", code=ERROR)
        self.assertEqual(error["status"], "already_exists")
        self.assertIn(pin, error["detail"])
        self.assertEqual(read(self.file("identity.key")), key)
        self.json_from("keygen", "--psk")
        psk = read(self.file("psk"))
        self.assertRegex(psk, r"^[0-9a-f]{64}\n$")
        self.assertEqual(mode_of(self.file("psk")), 0o600)
        self.assertEqual(self.error_of("keygen", "--psk", code=ERROR)["status"], "already_exists")
        self.assertEqual(read(self.file("psk")), psk)

    def test_the_pin_is_in_the_text_and_no_secret_is(self):
        text = self.run_cli("keygen", code=OK).stdout.decode()
        self.assertRegex(text, r"(?m)^pin +sha256:[0-9a-f]{64}$")
        self.assertNotIn("PRIVATE", text)
        psk = self.run_cli("keygen", "--psk", code=OK).stdout.decode()
        self.assertNotIn(read(self.file("psk")).strip(), psk)

    def test_names_and_options_that_make_no_sense_are_usage_errors(self):
        self.run_cli("keygen", "--name", "a b", code=USAGE)
        self.run_cli("keygen", "--name", "x" * 65, code=USAGE)
        self.run_cli("keygen", "--psk", "--name", "x", code=USAGE)
        self.assertFalse(os.path.exists(self.home))

    def test_a_folder_that_others_may_write_to_is_refused(self):
        os.mkdir(self.home)
        os.chmod(self.home, 0o777)
        error = self.error_of("keygen", code=DENIED)
        self.assertIn("chmod go-w", error["detail"])
        self.assertEqual(os.listdir(self.home), [])

    def test_a_key_that_others_may_read_is_refused_with_the_remedy(self):
        self.json_from("keygen")
        key = self.file("identity.key")
        for mode in (0o640, 0o604, 0o644, 0o660):
            os.chmod(key, mode)
            error = self.error_of("tls-probe", "127.0.0.1:1", code=DENIED)
            self.assertIn("chmod 600 " + key, error["detail"])
        os.chmod(key, 0o600)
        self.assertEqual(self.error_of("tls-probe", "127.0.0.1:1", code=ERROR)["status"], "disconnected")
        os.rename(key, key + ".real")
        os.symlink(key + ".real", key)
        self.assertIn("symbolic link", self.error_of("tls-probe", "127.0.0.1:1", code=DENIED)["detail"])


class Trust(TlsTest):
    def test_add_ls_and_rm(self):
        self.assertEqual(self.json_from("trust", "ls")["peers"], [])
        self.assertTrue(self.json_from("trust", "add", "till-1", SOME_PIN)["added"])
        self.assertFalse(self.json_from("trust", "add", "till-1", SOME_PIN)["added"])
        self.json_from("trust", "add", "till-2", OTHER_PIN.replace("cd", "CD"))
        listed = self.json_from("trust", "ls")
        self.assertEqual(listed["file"], self.file("authorized_peers"))
        self.assertEqual([(peer["name"], peer["pin"]) for peer in listed["peers"]],
                         [("till-1", SOME_PIN), ("till-2", OTHER_PIN)])
        self.assertIn(SOME_PIN, self.run_cli("trust", "ls", code=OK).stdout.decode())
        self.assertEqual(mode_of(self.file("authorized_peers")), 0o600)
        self.run_cli("trust", "rm", "till-1", code=OK)
        self.assertEqual(read(self.file("authorized_peers")), "till-2 %s\n" % OTHER_PIN)
        self.error_of("trust", "rm", "till-1", code=NOT_FOUND)

    def test_what_would_be_ambiguous_or_is_no_pin_is_refused(self):
        self.run_cli("trust", "add", "till-1", SOME_PIN, code=OK)
        self.assertIn(SOME_PIN, self.error_of("trust", "add", "till-1", OTHER_PIN, code=ERROR)["detail"])
        self.error_of("trust", "add", "till-2", SOME_PIN, code=ERROR)
        for pin in ("sha256:12", "ab" * 32, SOME_PIN + "0", ""):
            self.run_cli("trust", "add", "till-3", pin, code=USAGE)
        self.run_cli("trust", "add", "a b", OTHER_PIN, code=USAGE)
        self.run_cli("trust", code=USAGE)

    def test_a_line_that_is_not_understood_is_named(self):
        os.mkdir(self.home, 0o700)
        with open(self.file("authorized_peers"), "w", encoding="utf-8") as file:
            file.write("# tills\ntill-1 %s roles=all\n" % SOME_PIN)
        self.assertIn("authorized_peers:2", self.error_of("trust", "ls", code=ERROR)["detail"])

    def test_many_at_once_lose_nothing(self):
        names = ["till-%d" % i for i in range(12)]
        running = [subprocess.Popen([BIN, "trust", "add", name, "sha256:" + "%064x" % i], env=self.env,
                                    stdout=subprocess.DEVNULL) for i, name in enumerate(names)]
        self.assertEqual([process.wait(LIMIT_S) for process in running], [OK] * len(names))
        self.assertEqual(sorted(peer["name"] for peer in self.json_from("trust", "ls")["peers"]), sorted(names))


class Probe(TlsTest):
    def test_shows_the_channel_and_records_nothing(self):
        certificate, key, pin = self.server_identity()
        peer = self.serve(certificate, key)
        shown = self.json_from("tls-probe", peer)
        self.assertEqual(shown, {"peer": peer, "protocol": "TLSv1.3", "suite": "TLS_AES_256_GCM_SHA384",
                                 "group": "X25519", "pin": pin, "trust": "first_use", "admitted": shown["admitted"]})
        self.assertIsNot(shown["admitted"], False)
        self.assertFalse(os.path.exists(self.file("known_hosts")))
        text = self.run_cli("tls-probe", "tcp://" + peer, code=OK).stdout.decode()
        for word in ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519", pin, "first use"):
            self.assertIn(word, text)

    def test_judges_by_known_hosts(self):
        certificate, key, pin = self.server_identity()
        peer = self.serve(certificate, key)
        os.mkdir(self.home, 0o700)
        known_hosts = self.file("known_hosts")
        with open(known_hosts, "w", encoding="utf-8") as file:
            file.write("%s %s\n" % (peer, pin))
        self.assertEqual(self.json_from("tls-probe", peer)["trust"], "known")
        with open(known_hosts, "w", encoding="utf-8") as file:
            file.write("# hosts\n%s %s\n" % (peer, SOME_PIN))
        done = self.run_cli("tls-probe", peer, "--json", code=DENIED)
        self.assertEqual(json.loads(done.stdout)["trust"], "mismatch")
        error = json.loads(done.stderr)["error"]
        self.assertEqual(error["status"], "not_permitted")
        for part in (known_hosts + ":2", SOME_PIN, pin):
            self.assertIn(part, error["detail"])
        self.assertEqual(read(known_hosts), "# hosts\n%s %s\n" % (peer, SOME_PIN))

    def test_refuses_other_versions_suites_groups_and_keys(self):
        certificate, key, _ = self.server_identity()
        rsa = [os.path.join(self.scratch, name) for name in ("rsa.crt", "rsa.key")]
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=rsa", "-out", rsa[0],
                     "-keyout", rsa[1])
        for arguments in ([certificate, key, "-tls1_2"], [certificate, key, "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
                          [certificate, key, "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
                          [certificate, key, "-groups", "P-256"], rsa):
            error = self.error_of("tls-probe", self.serve(*arguments), code=ERROR)
            self.assertEqual(error["status"], "version_mismatch", arguments)
            self.assertIn("TLS 1.3", error["detail"])

    def test_is_told_when_the_server_does_not_admit_its_key(self):
        certificate, key, _ = self.server_identity()
        self.json_from("keygen")
        peer = self.serve(certificate, key, "-Verify", "1", "-verify_return_error")
        done = self.run_cli("tls-probe", peer, "--json", code=DENIED)
        self.assertIs(json.loads(done.stdout)["admitted"], False)

    def test_gives_up_on_what_speaks_no_tls_or_says_nothing(self):
        heard = []

        def answer(listener, text):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(LIMIT_S)
                heard.append(connection.recv(65536))
                if text:
                    connection.sendall(text)
                while connection.recv(65536):  # until the probe has gone
                    heard.append(b"more")

        for text, code, status in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", ERROR, "version_mismatch"),
                                   (b"", TIMEOUT, "timed_out")):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                thread = threading.Thread(target=answer, args=(listener, text))
                thread.start()
                error = self.error_of("tls-probe", "127.0.0.1:%d" % listener.getsockname()[1], "--timeout", "500ms",
                                      code=code)
                thread.join(LIMIT_S)
            self.assertEqual(error["status"], status)
        # A hello each, and not a byte in the clear after the answer.
        self.assertEqual([first[0] for first in heard], [22, 22])

    def test_an_address_that_is_none_is_a_usage_error(self):
        for address in ("", "cafe", "cafe:", ":1", "cafe:http", "ca fe:1"):
            self.run_cli("tls-probe", address, code=USAGE)


if __name__ == "__main__":
    main()
