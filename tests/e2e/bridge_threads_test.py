#!/usr/bin/env python3
"""A bridge of several I/O threads: each connection is served by the one that has the fewest, a session stays on its own."""

import bridge_limits_test as limits
import bridge_protocol_test as protocol
from _cli import main, wait_until
from _wire import DELIVERY, HELLO, OFFER, POLL, PREFACE, REFUSED, RESULT, SECOND, WELCOME, frame, hello, message


class Threads(limits.Limited):
    def threads_of(self, process):
        names = []
        folder = "/proc/%d/task" % process.pid
        for task in limits.os.listdir(folder):
            with open("%s/%s/comm" % (folder, task), encoding="ascii") as file:
                names.append(file.read().strip())
        return names.count("telpher-bridge")

    def test_there_are_as_many_as_were_asked_for(self):
        process = self.bridge("--encrypt", "off", "--threads", "3")
        wait_until(lambda: self.threads_of(process) == 3, "three threads have their name", 5)
        self.assertEqual(self.error_of("bridge", "-d", self.domain, "--listen", "127.0.0.1:0", "--encrypt", "off",
                                       "--threads", "65", code=2)["status"], "bad_request")

    def test_a_connection_goes_to_the_thread_of_the_session_that_it_resumes(self):
        """The old connections stay open: the new ones are given other threads, whatever comes first."""
        self.bridge("--encrypt", "off", "--threads", "4")
        sessions = [self.wire() for _ in range(8)]
        for wire in sessions:
            wire.open(1, "orders")
        for round_ in range(5):
            for number, old in enumerate(sessions):
                polling = old.operate(POLL, channel=1, argument=60 * SECOND)
                text = "%d-%d" % (round_, number)
                # HELLO and what comes behind it in one go: the offer must not be looked at before the move.
                wire = self.wire(greet=False)
                wire.session, wire.correlation = old.session, old.correlation
                offering = wire.correlation + 1
                wire.send(PREFACE + frame(HELLO, hello(session=old.session, received=polling - 1))
                          + frame(OFFER, message(text), channel=1, correlation=offering))
                wire.correlation = offering
                welcome = wire.receive()
                self.assertEqual((welcome.kind, welcome.body[3]), (WELCOME, 1), welcome)
                answers = {answer.correlation: answer for answer in (wire.receive(), wire.receive())}
                self.assertEqual((answers[offering].kind, answers[offering].status()), (RESULT, 0))
                self.assertEqual((answers[polling].kind, answers[polling].text()), (DELIVERY, text))
                wire.send(frame(protocol.CONFIRM, correlation=polling))
                self.assertIsNone(old.receive())  # a session has one connection
                sessions[number] = wire
        wait_until(lambda: self.json_of("info", "orders")["depth"] == 0, "all are confirmed", 5)

    def test_a_place_is_made_by_a_session_of_another_thread(self):
        self.bridge("--encrypt", "off", "--threads", "2", "--connections-max", "2")
        first = self.wire()  # on the first thread
        second = self.wire()
        first.open(1, "orders")
        first.offer(1, "kept")
        first.poll(1, confirm=False)
        late = [self.wire(greet=False) for _ in range(20)]  # every other one on the second thread
        first.close()
        there = [late.pop(1)]

        def place():
            """Refused until the first thread has noticed that its client is gone."""
            there[0].greet()
            if there[0].welcome.kind == REFUSED:
                there[0] = late.pop(1)
                return False
            return True

        wait_until(place, "the second thread has a place for a new client", 5)
        late[0].greet()
        self.assertEqual((late[0].welcome.kind, late[0].welcome.status()), (REFUSED, protocol.LIMIT))
        # What the session that went had not confirmed is back.
        there[0].open(1, "orders")
        self.assertEqual(there[0].poll(1, timeout=5 * SECOND).text(), "kept")
        again = self.wire(greet=False)
        again.greet(session=first.session)
        self.assertEqual(again.welcome.kind, REFUSED)
        second.open(1, "orders")
        self.expect_works(second)

    def test_all_of_them_drain(self):
        process = self.bridge("--encrypt", "off", "--threads", "4")
        wires = [self.wire() for _ in range(8)]
        for wire in wires:
            wire.open(1, "orders")
            wire.operate(POLL, channel=1, argument=60 * SECOND)
        process.terminate()
        for wire in wires:
            self.assertEqual(wire.receive().kind, limits.GOODBYE)
            wire.close()
        self.assertEqual(process.wait(limits.LIMIT_S), limits.OK)


if __name__ == "__main__":
    main()
