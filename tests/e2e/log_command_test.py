#!/usr/bin/env python3
"""telpher log: what it shows of the files of a log, whole, damaged, torn, in use or none; and what it saves of them."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile

from _cli import BIN, DENIED, ERROR, LIMIT_S, NOT_FOUND, OK, USAGE, CliTest, main

MAKE_LOG = os.path.join(os.environ.get("TELPHER_HELPERS", ""), "make_log")
ORDERS = 60
HEADER = 4096  # bytes of a segment before its first record


def script():
    """60 orders in several segments of 16 KiB, of which one moved and one is done; bills and entries."""
    lines = ["define 1 orders", "define 2 bills"]
    for number in range(1, ORDERS + 1):
        lines.append("put 1 %d order %d espressos %s" % (number, number, "x" * 700))
    lines += ["raw 2 rubbish", "put 2 61 bill 3 EUR", "entry 2 k one", "entry 2 l two",
              "state 4 2 moved", "done 5", "commit"]
    return lines


def id_of(number):
    return "00000000-0000-0001-0000-%012x" % number


class LogCommandTest(CliTest):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="telpher-log-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.log = self.path("log")

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, lines, folder=None, compress_from=-1):
        text = "\n".join(lines) + "\n"
        subprocess.run([MAKE_LOG, folder or self.log, str(compress_from)], input=text.encode(), check=True, timeout=LIMIT_S,
                       stdout=subprocess.DEVNULL)

    def start_log(self, lines, folder=None):
        """A process that has a log open: it has done what `lines` say, and its stdin is open."""
        process = subprocess.Popen([MAKE_LOG, folder or self.log], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started.append(process)
        process.stdin.write(("\n".join(lines) + "\nwait\n").encode())
        process.stdin.flush()
        while process.stdout.readline() != b"waits\n":
            self.assertIsNone(process.poll())
        return process

    def look(self, *arguments, code=OK):
        return json.loads(self.run_cli("log", *arguments, "--json", code=code).stdout)

    def dump(self, *arguments, code=OK):
        text = self.run_cli("log", "dump", *arguments, "--json", code=code).stdout
        return [json.loads(line) for line in text.splitlines()]

    def text(self, *arguments, code=OK):
        return self.run_cli("log", *arguments, code=code).stdout.decode()

    def segment(self, number, folder=None):
        return os.path.join(folder or self.log, "log.%016x" % number)

    def change(self, path, offset, change):
        with open(path, "r+b") as file:
            file.seek(offset)
            before = file.read(1)
            file.seek(offset)
            file.write(change(before))

    def flip(self, path, offset):
        self.change(path, offset, lambda byte: bytes([byte[0] ^ 1]))

    def sums(self, folder):
        sums = {}
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                sums[name] = hashlib.sha256(file.read()).hexdigest()
        return sums


class Looks(LogCommandTest):
    def test_ls_shows_whose_log_it_is_and_what_is_in_it(self):
        self.make(script() + ["close"])
        shown = self.look("ls", self.log)
        self.assertEqual(list(shown), ["folder", "log", "uuid", "in_use", "closed", "records", "next_lsn",
                                       "needed_bytes", "garbage_bytes", "torn_bytes", "damages", "segments",
                                       "destinations"])
        self.assertEqual((shown["log"], shown["in_use"], shown["closed"]), ("cafe", False, True))
        self.assertEqual((shown["records"], shown["next_lsn"]), (69, 70))
        self.assertEqual((shown["torn_bytes"], shown["damages"]), (0, 0))
        self.assertGreater(shown["garbage_bytes"], 700)  # the message that is done
        orders, bills = shown["destinations"]
        self.assertEqual((orders["name"], orders["messages"], orders["entries"]), ("orders", ORDERS - 2, 0))
        self.assertEqual((bills["name"], bills["messages"], bills["entries"]), ("bills", 3, 2))
        segments = shown["segments"]
        self.assertGreaterEqual(len(segments), 3)
        lsn = 1
        for number, segment in enumerate(segments, 1):
            self.assertEqual((segment["number"], segment["first_lsn"]), (number, lsn))
            self.assertEqual(segment["last_lsn"], lsn + segment["records"] - 1)
            lsn = segment["last_lsn"] + 1
        self.assertEqual(sum(segment["needed_bytes"] for segment in segments), shown["needed_bytes"])
        text = self.text("ls", self.log)
        self.assertIn("the log of cafe, closed in good order", text)
        self.assertRegex(text, r"(?m)^bills +2 +3 +8\d\d B +2$")

    def test_dump_shows_each_record(self):
        self.make(script() + ["close"])
        records = self.dump(self.log)
        self.assertEqual([record["lsn"] for record in records], list(range(1, 70)))
        self.assertEqual([record["kind"] for record in records],
                         2 * ["destination"] + 62 * ["message"] + 2 * ["entry"] + ["state", "done", "closed"])
        bill = records[63]
        self.assertEqual((bill["destination"], bill["destination_id"], bill["origin"]), ("bills", 2, 64))
        message = bill["message"]
        self.assertEqual(list(message), ["id", "type", "topic", "timestamp", "mimetype", "payload_bytes", "text_start"])
        self.assertEqual((message["id"], message["topic"], message["text_start"]), (id_of(61), "bill", "3 EUR"))
        self.assertEqual((message["mimetype"], message["payload_bytes"]), ("text/plain", 5))
        self.assertIsNone(records[62]["message"])
        self.assertEqual(records[64]["key"], 16 * "6b")
        self.assertEqual((records[66]["origin"], records[66]["destination"]), (4, "bills"))
        self.assertEqual((records[67]["done"], records[67]["destination"]), ([[5, 5]], None))
        lines = self.text("dump", self.log).splitlines()
        self.assertEqual(len(lines), 69)
        self.assertRegex(lines[63], "^ +64  message +bills +64 +%d B  id=%s topic=bill mimetype=text/plain size=5 "
                                    '"3 EUR"$' % (bill["bytes"], id_of(61)))
        self.assertRegex(lines[62], " 7 B  no encoded message$")
        self.assertLess(len(lines[10]), 220)  # the start of its text

    def test_compressed_records_are_shown_as_what_was_put(self):
        self.make(script() + ["close"], compress_from=500)
        plain = self.path("plain")
        self.make(script() + ["close"], folder=plain)
        records = self.dump(self.log)
        for record, other in zip(records, self.dump(plain), strict=True):
            of_order = record["kind"] == "message" and record["destination"] == "orders"
            self.assertEqual((record["compressed"], other["compressed"]), (of_order, False))
            self.assertEqual(record.get("message"), other.get("message"))
            if of_order:
                self.assertLess(record["bytes"], other["bytes"] // 4)
        self.assertRegex(self.text("dump", self.log).splitlines()[2], r" %d B\*  id=" % records[2]["bytes"])
        self.assertTrue(self.look("diff", self.log, plain)["same"])
        self.assertTrue(self.look("verify", self.log)["ok"])
        saved = self.look("salvage", self.log, "--to", self.path("saved"))
        self.assertEqual((saved["messages"], saved["messages_lost"]), (ORDERS + 1, 0))
        self.assertEqual([record["bytes"] for record in self.dump(self.path("saved")) if record["compressed"]],
                         [record["bytes"] for record in records if record["compressed"] and record["lsn"] != 5])

    def test_dump_chooses_by_number_and_destination(self):
        self.make(script() + ["close"])
        self.assertEqual([record["lsn"] for record in self.dump(self.log, "--from", "10", "--to", "12")], [10, 11, 12])
        self.assertEqual(self.dump(self.log, "--from", "70"), [])
        of_bills = [2, 63, 64, 65, 66, 67]
        for name in ("bills", "2"):
            self.assertEqual([record["lsn"] for record in self.dump(self.log, "--destination", name)], of_bills)
        error = self.error_of("log", "dump", self.log, "--destination", "cakes", code=NOT_FOUND)
        self.assertIn("no destination cakes", error["detail"])
        self.run_cli("log", "dump", self.log, "--from", "first", code=USAGE)

    def test_dump_ends_with_its_reader(self):
        self.make(script() + ["close"])
        piped = "set -o pipefail; %s log dump %s --json | head -1" % (BIN, self.log)
        done = subprocess.run(["bash", "-c", piped], capture_output=True, timeout=LIMIT_S)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(json.loads(done.stdout)["lsn"], 1)

    def test_a_log_that_was_not_closed_and_a_torn_end_are_no_damage(self):
        self.make(script())
        shown = self.look("ls", self.log)
        self.assertFalse(shown["closed"] or shown["in_use"])
        self.assertIn("not closed", self.text("ls", self.log))
        newest = shown["segments"][-1]
        self.change(self.segment(newest["number"]), HEADER + newest["record_bytes"] + 40, lambda _: b"torn")
        verified = self.look("verify", self.log)
        self.assertEqual((verified["ok"], verified["damages"], verified["torn_bytes"]), (True, [], 44))
        self.assertIn("torn end 44 B", self.text("verify", self.log))
        self.assertIn("torn end of 44 B", self.text("ls", self.log))


class Damaged(LogCommandTest):
    def damage_one_record(self):
        """A byte in the middle; returns the number of the record that it belongs to."""
        self.make(script() + ["close"])
        segment = self.look("ls", self.log)["segments"][1]
        hit = [record for record in self.dump(self.log)
               if record["segment"] == 2 and record["offset"] < HEADER + segment["record_bytes"] // 2][-1]
        shutil.copytree(self.log, self.path("whole"))
        self.flip(self.segment(2), hit["offset"] + 100)
        return hit

    def test_verify_names_file_offset_and_record(self):
        hit = self.damage_one_record()
        verified = self.look("verify", self.log, code=ERROR)
        self.assertEqual(list(verified), ["folder", "log", "ok", "damages", "segments", "records", "torn_bytes",
                                          "closed"])
        self.assertEqual((verified["ok"], verified["records"]), (False, 68))
        damage, = verified["damages"]
        self.assertEqual(list(damage), ["file", "segment", "offset", "first_lsn", "last_lsn", "why"])
        self.assertEqual((damage["file"], damage["offset"]), (self.segment(2), hit["offset"]))
        self.assertEqual((damage["first_lsn"], damage["last_lsn"]), (hit["lsn"], hit["lsn"]))
        text = self.text("verify", self.log, code=ERROR)
        self.assertIn("%s: offset %d, record %d: " % (self.segment(2), hit["offset"], hit["lsn"]), text)
        self.assertIn("telpher log salvage", text)

    def test_the_others_show_what_is_readable_and_tell_that_it_is_not_all(self):
        hit = self.damage_one_record()
        self.assertEqual(self.look("ls", self.log, code=ERROR)["damages"], 1)
        records = [record["lsn"] for record in self.dump(self.log, code=ERROR)]
        self.assertEqual(records, [lsn for lsn in range(1, 70) if lsn != hit["lsn"]])
        records = [record["lsn"] for record in self.dump(self.log, "--to", str(hit["lsn"] + 1), code=ERROR)]
        self.assertEqual(records, [lsn for lsn in range(1, hit["lsn"] + 2) if lsn != hit["lsn"]])
        done = self.run_cli("log", "dump", self.log, "--json", code=ERROR)
        error = json.loads(done.stderr)["error"]
        self.assertEqual(error["status"], "corrupt")
        self.assertIn("telpher log verify", error["detail"])

    def test_salvage_saves_the_rest_and_changes_nothing(self):
        hit = self.damage_one_record()
        before = self.sums(self.log)
        saved = self.look("salvage", self.log, "--to", self.path("saved"))
        self.assertEqual(list(saved), ["from", "to", "messages", "entries", "messages_lost", "damages", "torn_bytes"])
        self.assertEqual((saved["messages"], saved["entries"]), (ORDERS, 2))
        self.assertEqual([damage["first_lsn"] for damage in saved["damages"]], [hit["lsn"]])
        self.assertEqual(self.sums(self.log), before)
        self.assertTrue(self.look("verify", self.path("saved"))["ok"])
        self.make(["define 3 cakes", "close"], self.path("saved"))  # it can be opened

        compared = self.look("diff", self.path("whole"), self.path("saved"), code=ERROR)
        by_name = {destination["name"]: destination for destination in compared["destinations"]}
        self.assertEqual(by_name["cakes"]["only"], "b")
        self.assertEqual(by_name["orders"]["messages_only_a"], [hit["message"]["id"]])
        self.assertEqual(by_name["orders"]["messages_only_b"], [])
        text = self.text("salvage", self.log, "--to", self.path("again"))
        self.assertIn("saved 60 messages and 2 entries", text)
        self.assertIn("record %d: " % hit["lsn"], text)

    def test_without_a_readable_header_nothing_is_saved(self):
        self.make(script() + ["close"])
        for segment in self.look("ls", self.log)["segments"]:
            self.flip(self.segment(segment["number"]), 100)
        self.assertGreaterEqual(len(self.look("verify", self.log, code=ERROR)["damages"]), 3)
        self.run_cli("log", "ls", self.log, code=ERROR)
        error = self.error_of("log", "salvage", self.log, "--to", self.path("saved"), code=ERROR)
        self.assertEqual(error["status"], "corrupt")
        self.assertFalse(os.path.exists(self.path("saved")))


class Differs(LogCommandTest):
    def test_a_copy_is_the_same(self):
        self.make(script() + ["close"])
        shutil.copytree(self.log, self.path("copy"))
        compared = self.look("diff", self.log, self.path("copy"))
        self.assertEqual((compared["same"], compared["destinations"]), (True, []))
        self.assertIn("the same: 2 destinations, 61 messages, 2 entries",
                      self.text("diff", self.log, self.path("copy")))

    def test_a_copy_that_was_changed_is_not(self):
        self.make(script() + ["close"])
        shutil.copytree(self.log, self.path("copy"))
        self.make(["done 10", "put 1 100 order late", "raw 1 late rubbish", "entry 2 k other", "entry 2 l",
                   "entry 2 m three", "define 3 cakes", "close"], self.path("copy"))
        text = self.text("diff", self.log, self.path("copy"), code=ERROR)
        lines = text.splitlines()
        for line in ("< orders  message " + id_of(8), "> orders  message " + id_of(100),
                     "< bills  entry " + 16 * "6c", "> bills  entry " + 16 * "6d",
                     "! bills  entry %s has another value" % (16 * "6b"), "> cakes  destination"):
            self.assertIn(line, lines)
        self.assertRegex(text, r"(?m)^> orders  message origin \d+ sum [0-9a-f]{16}$")
        self.assertEqual(len(lines), 8)
        compared = self.look("diff", self.log, self.path("copy"), code=ERROR)
        self.assertEqual([destination["name"] for destination in compared["destinations"]],
                         ["bills", "cakes", "orders"])
        self.assertEqual(list(compared["destinations"][0]),
                         ["name", "only", "definition_differs", "messages_only_a", "messages_only_b",
                          "entries_only_a", "entries_only_b", "entries_differ"])


class InUse(LogCommandTest):
    def test_a_log_in_use_is_shown_and_not_salvaged(self):
        process = self.start_log(script())
        shown = self.look("ls", self.log)
        self.assertTrue(shown["in_use"])
        self.assertEqual(shown["records"], 68)
        self.assertIn("in use by a process", self.text("ls", self.log))
        self.assertTrue(self.look("verify", self.log)["ok"])
        self.assertEqual(len(self.dump(self.log)), 68)
        self.text("diff", self.log, self.log)
        error = self.error_of("log", "salvage", self.log, "--to", self.path("saved"), code=DENIED)
        self.assertEqual(error["status"], "not_permitted")
        self.assertIn("in use", error["detail"])
        self.assertFalse(os.path.exists(self.path("saved")))
        process.stdin.write(b"put 1 100 order one more\nclose\n")  # nobody has disturbed it
        process.stdin.close()
        self.assertEqual(process.wait(timeout=LIMIT_S), 0)
        self.assertEqual(self.look("ls", self.log)["closed"], True)

    def test_what_a_writer_does_meanwhile_is_no_damage(self):
        process = self.start_log(script())
        process.stdin.write(b"churn 1 100000000\n")
        process.stdin.flush()
        first = self.look("ls", self.log)["segments"][-1]["number"]
        looks = 0
        while looks < 8 or self.look("ls", self.log)["segments"][0]["number"] <= first:
            looks += 1
            self.assertTrue(self.look("verify", self.log)["ok"])
            lsns = [record["lsn"] for record in self.dump(self.log)]
            self.assertEqual(lsns, sorted(set(lsns)))
            self.assertIn(self.run_cli("log", "diff", self.log, self.log).returncode, (OK, ERROR))
        self.assertIsNone(process.poll())


class BadInput(LogCommandTest):
    COMMANDS = (["ls"], ["dump"], ["verify"], ["diff"], ["salvage"])

    def errors_of(self, folder, code, commands=COMMANDS):
        """What each command says of that folder."""
        for command in commands:
            more = {"diff": [folder], "salvage": ["--to", self.path("saved")]}.get(command[0], [])
            yield self.error_of("log", *command, folder, *more, code=code)
            self.assertFalse(os.path.exists(self.path("saved")))

    def test_a_folder_that_is_missing_or_holds_no_log(self):
        for error in self.errors_of(self.path("none"), NOT_FOUND):
            self.assertEqual(error["detail"], "there is no folder " + self.path("none"))
            self.assertIn("log.NUMBER", error["fix"])
        with open(self.path("file"), "wb"):
            pass
        for error in self.errors_of(self.path("file"), NOT_FOUND):
            self.assertIn("is no folder", error["detail"])
        os.mkdir(self.path("empty"))
        for error in self.errors_of(self.path("empty"), NOT_FOUND):
            self.assertIn("holds no log", error["detail"])
        self.run_cli("log", code=USAGE)
        self.run_cli("log", "ls", code=USAGE)
        self.run_cli("log", "salvage", self.path("none"), code=USAGE)

    def test_another_version_and_a_mixture_of_logs(self):
        self.make(script() + ["close"])
        self.make(script() + ["close"], self.path("other"))
        shutil.copytree(self.log, self.path("mixed"))
        shutil.copy(self.segment(2, self.path("other")), self.segment(2, self.path("mixed")))
        for error in self.errors_of(self.path("mixed"), ERROR):
            self.assertEqual(error["status"], "mismatch")
        self.change(self.segment(1), 8, lambda _: b"\x09")
        for error in self.errors_of(self.log, ERROR):
            self.assertEqual(error["status"], "version_mismatch")
            self.assertIn("format version 9", error["detail"])

    def test_a_file_that_cannot_be_read(self):
        self.make(script() + ["close"])
        if os.getuid() != 0:
            os.chmod(self.segment(2), 0)
            for error in self.errors_of(self.log, DENIED, (["ls"], ["dump"], ["verify"], ["diff"])):
                self.assertIn(self.segment(2), error["detail"])
        os.remove(self.segment(2))
        os.mkdir(self.segment(2))
        for error in self.errors_of(self.log, USAGE, (["ls"], ["dump"], ["verify"], ["diff"])):
            self.assertIn("is no regular file", error["detail"])

    def test_salvage_into_a_log_or_nowhere(self):
        self.make(script() + ["close"])
        before = self.sums(self.log)
        error = self.error_of("log", "salvage", self.log, "--to", self.log, code=ERROR)
        self.assertEqual(error["status"], "already_exists")
        self.assertEqual(self.sums(self.log), before)
        error = self.error_of("log", "salvage", self.log, "--to", self.path("a/b"), code=ERROR)
        self.assertIn(self.path("a/b"), error["detail"])


if __name__ == "__main__":
    main()
