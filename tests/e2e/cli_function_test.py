#!/usr/bin/env python3
"""telpher send and serve: echo, programs, failures, deaths, ends."""

import json
import signal
import tempfile

from _cli import ERROR, LIMIT_S, NOT_FOUND, OK, TIMEOUT, USAGE, CliTest, main, wait_until


class FunctionTest(CliTest):
    def serve(self, *arguments, name="f"):
        self.on("create", "queue", "any")  # makes the domain
        process = self.start("serve", name, "-d", self.domain, *arguments)
        wait_until(lambda: process.pid in self.attached(), "it is attached")
        self.on("send", name, "", "--wait", "20s", "--oneway")
        return process

    def send(self, *arguments, code=OK, stdin=b""):
        return self.on("send", "f", *arguments, code=code, stdin=stdin).stdout.decode()

    def end(self, process):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT_S)
        self.assertEqual(process.returncode, OK, err)
        return out.decode(), err.decode()

    def test_echo_answers_with_the_request(self):
        process = self.serve("--echo", "--json")
        self.assertEqual(self.send("hello"), "hello\n")
        response = json.loads(self.send('{"a":1}', "--mimetype", "application/json", "--json"))
        self.assertEqual((response["type"], response["payload-mimetype"]), ("RESPONSE", "application/json"))
        out, _ = self.end(process)
        self.assertEqual(json.loads(out), {"function": "f", "calls": 3, "errors": 0, "dead_lettered": 0})

    def test_a_program_answers_with_what_it_prints(self):
        process = self.serve("--exec", "tr a-z A-Z; printf %s \"$TELPHER_REQUEST_ID\"")
        self.assertEqual(self.send("2 espressos", "--request-id", "17"), "2 ESPRESSOS17\n")
        self.assertEqual(self.send("-", stdin=b"a\nb\n"), "A\nB\n")
        self.end(process)

    def test_a_large_payload_goes_through_a_program_that_reads_late(self):
        process = self.serve("--exec", "sleep 0.1; cat")
        text = b"x" * 1_000_000
        self.assertEqual(self.send("-", stdin=text + b"\n"), text.decode() + "\n")
        self.end(process)

    def test_a_program_that_fails_is_handler_error_and_told_to_the_server_alone(self):
        process = self.serve("--exec", "cat >/dev/null; echo secret; exit 3", "--json")
        error = json.loads(self.on("send", "f", "x", "--json", code=ERROR).stderr)["error"]
        self.assertEqual(error["status"], "handler_error")
        self.assertNotIn("secret", json.dumps(error))
        _, err = self.end(process)
        self.assertIn("status 3", err)

    def test_a_program_is_killed_when_its_callers_time_is_over(self):
        process = self.serve("--exec", "read line; [ -z \"$line\" ] || sleep 60")
        self.on("send", "f", "x", "--timeout", "200ms", code=TIMEOUT)
        # The next one is served: nobody sleeps a minute.
        self.assertEqual(self.send("-", "--timeout", "30s", stdin=b"\n"), "\n")
        self.end(process)

    def test_one_way_requests_that_fail_are_dead_letters_and_go_back_to_a_function(self):
        # The one that `serve` sends is empty.
        failing = self.serve("--exec", "read line; [ -z \"$line\" ]", "--dead-letter", "f.dead")
        for text in ("one", "two"):
            self.on("send", "f", text, "--oneway")
        letters = lambda: json.loads(self.on("dlq", "ls", "f.dead", "--json").stdout)["letters"]
        wait_until(lambda: len(letters()) == 2, "they are dead letters")
        self.assertEqual([(letter["dead_reason"], letter["dead_origin"]) for letter in letters()], [("rejected", "f")] * 2)
        self.end(failing)
        error = self.on("dlq", "requeue", "f.dead", code=NOT_FOUND).stderr.decode()
        self.assertIn("--to-function", error)
        self.on("dlq", "requeue", "f.dead", "--to", "any", "--max", "1")
        self.assertEqual(self.on("poll", "any").stdout, b"one\n")
        with tempfile.NamedTemporaryFile() as file:
            mended = self.serve("--exec", f"cat >> {file.name}", "--dead-letter", "f.dead")
            self.on("dlq", "requeue", "f.dead", "--to", "any", "--to-function", "f", code=USAGE)
            self.on("dlq", "requeue", "f.dead", "--to-function", "nobody", code=NOT_FOUND)
            self.on("dlq", "requeue", "f.dead", "--to-function", "f")
            wait_until(lambda: file.read() == b"two", "it was handled")
            self.end(mended)
        self.assertEqual(letters(), [])

    def test_nobody_serves_the_name(self):
        self.on("create", "queue", "any")
        error = json.loads(self.on("send", "f", "x", "--json", code=NOT_FOUND).stderr)["error"]
        self.assertEqual(error["status"], "function_not_found")

    def test_a_killed_server_is_told_at_once(self):
        process = self.serve("--exec", "read line; [ -z \"$line\" ] || sleep 5")
        caller = self.start("send", "f", "x", "--timeout", "60s", "--json", "-d", self.domain)
        wait_until(lambda: self.json_of("verify")["chunks_claimed"] == 1, "the call has begun")
        process.kill()
        process.wait()
        self.assertEqual(caller.wait(timeout=LIMIT_S), ERROR)
        self.assertEqual(json.loads(caller.stderr.read())["error"]["status"], "peer_died")

    def test_many_calls_are_timed(self):
        process = self.serve("--echo", "--threads", "2")
        account = json.loads(self.send("x", "--repeat", "200", "--json"))
        self.assertEqual(account["sent"], 200)
        self.assertLessEqual(account["p50_us"], account["max_us"])
        self.assertIn("p50", self.send("x", "--repeat", "10"))
        self.end(process)

    def test_bad_arguments_are_usage_errors(self):
        self.on("serve", "f", code=USAGE)
        self.on("serve", "f", "--echo", "--exec", "cat", code=USAGE)
        self.on("serve", "f", "--echo", "--threads", "0", code=USAGE)
        self.on("send", "f", code=USAGE)
        self.on("send", "f", "x", code=NOT_FOUND)


if __name__ == "__main__":
    main()
