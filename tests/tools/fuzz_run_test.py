#!/usr/bin/env python3
"""tests/fuzz/run fails on a finding, known or new, and on a target without seeds."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

RUN = pathlib.Path(__file__).resolve().parent.parent / "fuzz" / "run"
# Stands for a fuzz target: crashes on a file that says so, or when it runs by the clock if CRASH is set.
FAKE = """#!/bin/bash
for argument in "$@"; do
    case $argument in
        -max_total_time=*) echo "${argument#*=} s"; [ -z "${CRASH:-}" ] || exit 77 ;;
        -*) ;;
        *) [ ! -f "$argument" ] || ! grep -q crash "$argument" || exit 77 ;;
    esac
done
"""


class FuzzRun(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        shutil.copy(RUN, self.root / "run")
        self.seeds = self.root / "corpus" / "fake"
        self.seeds.mkdir(parents=True)
        (self.seeds / "seed").write_text("harmless")
        self.target = self.root / "build" / "fuzz_fake"
        self.target.parent.mkdir()
        self.target.write_text(FAKE)
        self.target.chmod(0o755)

    def run_it(self, **environment):
        return subprocess.run(["bash", self.root / "run", self.target], env={**os.environ, **environment},
                              capture_output=True, text=True, timeout=60, check=False)

    def test_passes_and_runs_as_long_as_it_is_told(self):
        result = self.run_it(TELPHER_FUZZ_SECONDS="3")
        self.assertEqual((result.returncode, result.stdout), (0, "3 s\n"))

    def test_a_new_finding_fails(self):
        self.assertNotEqual(self.run_it(CRASH="1").returncode, 0)

    def test_a_seed_that_fails_is_told_before_the_clock_starts(self):
        (self.seeds / "regression").write_text("crash")
        result = self.run_it()
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("fails on a known input", result.stderr)

    def test_an_earlier_finding_fails_again(self):
        self.run_it()
        (self.target.parent / "findings" / "fake" / "crash-1").write_text("crash")
        self.assertEqual(self.run_it().returncode, 1)

    def test_a_target_without_seeds_fails(self):
        (self.seeds / "seed").unlink()
        self.assertIn("no seeds", self.run_it().stderr)


if __name__ == "__main__":
    unittest.main()
