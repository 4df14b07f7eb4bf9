#!/usr/bin/env python3
"""telpher bench: that it measures, writes and draws. Which figures come out is nobody's business here."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _cli import BIN, ERROR, NOT_FOUND, OK, USAGE, CliTest, main  # noqa: E402

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "bench_table.py")
SHORT = ["--smoke", "--only", "two_lines", "--only", "telpher_ping_pong", "--only", "durable_1"]


@unittest.skipUnless(os.path.exists(os.path.join(os.path.dirname(BIN), "bench", "telpher_bench")),
                     "this build has no benchmarks: runs with TELPHER_BENCH=ON")
class Bench(CliTest):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="telpher-e2e-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def test_everything_is_in_the_json(self):
        run = json.loads(self.run_cli("bench", *SHORT, "--json", code=OK).stdout)
        self.assertEqual(list(run), ["machine", "versions", "processors", "one_processor", "wait_strategy", "scale",
                                     "rounds", "round_trips", "messages", "slow_messages", "ns_per_pause", "noise", "rows", "pictures", "targets", "seconds", "not_built",
                                     "skipped", "failures"])
        rows = {row["row"]: row for row in run["rows"]}
        self.assertLessEqual({"two_lines", "telpher_ping_pong", "durable_1"}, set(rows))
        ping_pong = rows["telpher_ping_pong"]
        self.assertEqual(sum(count for _, count in ping_pong["histogram"]), 300)
        values = [value for value, _ in ping_pong["histogram"]]
        self.assertEqual(values, sorted(values))
        self.assertLessEqual(values[0], ping_pong["samples"][0]["p50"])
        self.assertLessEqual(ping_pong["samples"][0]["p50"], ping_pong["samples"][0]["p99"])
        target = next(each for each in run["targets"] if each["target"] == "ping-pong / two lines")
        ratio = ping_pong["samples"][0]["p50"] / rows["two_lines"]["samples"][0]["p50"]
        self.assertAlmostEqual(target["median"], ratio, delta=0.001 * ratio)
        self.assertEqual(target["pass"], target["median"] <= target["limit"])

    def test_the_tables_of_the_documents_come_from_the_json(self):
        self.run_cli("bench", *SHORT, "--json", self.path("run.json"), code=OK)
        with open(self.path("README.md"), "w", encoding="utf-8") as file:
            file.write("before\n<!-- bench: comparisons -->\nold\n<!-- bench: end -->\nbehind\n")
        refused = subprocess.run([TABLE, self.path("run.json"), "--write", self.path("README.md")], capture_output=True)
        self.assertIn(b"--smoke", refused.stderr)
        with open(self.path("run.json"), encoding="utf-8") as file:
            run = dict(json.load(file), scale="quick")
        with open(self.path("run.json"), "w", encoding="utf-8") as file:
            json.dump(run, file)
        subprocess.run([TABLE, self.path("run.json"), "--write", self.path("README.md")], check=True)
        with open(self.path("README.md"), encoding="utf-8") as file:
            text = file.read()
        self.assertRegex(text, r"(?s)^before\n<!--.*\| Round trip .*two cache lines.*-->\nbehind\n$")
        self.assertNotIn("old", text)
        with open(self.path("none.md"), "w", encoding="utf-8") as file:
            file.write("no marker\n")
        done = subprocess.run([TABLE, self.path("run.json"), "--write", self.path("none.md")], capture_output=True)
        self.assertIn(b"no place for a table", done.stderr)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed: runs where it is (tools/setup installs it)")
    def test_pictures_are_drawn(self):
        self.run_cli("bench", *SHORT, "--plot", self.path("plots"), code=OK)
        for name in ("round_trip", "round_trip_percentiles", "group_commit"):
            with open(os.path.join(self.folder, "plots", name + ".svg"), encoding="utf-8") as file:
                text = file.read()
            self.assertIn("</svg>", text)
            self.assertIn("telpher", text)

    def test_what_cannot_be_done_is_said_before_anything_is_measured(self):
        self.assertIn(b"no benchmark has such a name", self.run_cli("bench", "--only", "brew", code=USAGE).stderr)
        self.run_cli("bench", "--quick", "--full", code=USAGE)
        for wrong in (["--cpus", "0"], ["--cpus", "0,99999"], ["--cpus", "0,1x"], ["--rounds", "-1"], ["--rounds", "0"]):
            self.run_cli("bench", *SHORT, *wrong, code=USAGE)
        env = dict(os.environ, PATH="/nonexistent")
        done = self.run_cli("bench", *SHORT, "--plot", self.path("plots"), code=ERROR, env=env)
        self.assertIn(b"there is no gnuplot", done.stderr)
        with open(self.path("file"), "w", encoding="utf-8"):
            pass
        if shutil.which("gnuplot"):
            done = self.run_cli("bench", *SHORT, "--plot", self.path("file"), code=ERROR)
            self.assertIn(b"cannot make the folder", done.stderr)
        done = self.run_cli("bench", *SHORT, "--json", self.path("none/run.json"), code=ERROR)
        self.assertIn(b"cannot write", done.stderr)

    def test_without_the_benchmarks_it_says_so(self):
        alone = self.path("telpher")
        shutil.copy(BIN, alone)
        done = subprocess.run([alone, "bench"], capture_output=True)
        self.assertEqual(done.returncode, NOT_FOUND)
        self.assertIn(b"TELPHER_BENCH=ON", done.stderr)

    def test_list_names_what_only_takes(self):
        listed = self.run_cli("bench", "--list", "--full", "--peers", code=OK).stdout.decode()
        names = [line.split()[0] for line in listed.splitlines()]
        self.assertEqual(len(names), len(set(names)))
        self.assertIn("telpher_oneway", names)
        self.assertIn("pipe", names)
        self.assertIn("recovery_256_16m", names)
        short = self.run_cli("bench", "--list", code=OK).stdout.decode()
        self.assertNotIn("pipe", short.split())
        self.assertNotIn("recovery_256_16m", short.split())


if __name__ == "__main__":
    main()
