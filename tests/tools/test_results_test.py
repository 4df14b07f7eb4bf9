#!/usr/bin/env python3
"""What tools/test makes of its results: which failures may be run again, and how the totals count them."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.dont_write_bytecode = True
import test_totals  # noqa: E402
import unstable_tests  # noqa: E402

LATE = "x_test.cpp:7: Failure\n took 300 ms\n 1 FAILED TEST\n"


def case(name, output="", status="run"):
    inside = {"fail": '<failure message=""/>', "notrun": '<skipped message="Unable to find executable"/>'}
    return (f'<testcase name="{name}" status="{status}">{inside.get(status, "")}'
            f"<system-out>{escape(output)}</system-out></testcase>")


def failed(name, output=LATE):
    return case(name, output, "fail")


class Results(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.file = pathlib.Path(scratch.name) / "tests.xml"

    def run_it(self, tool, argument):
        """Exit status, standard output and standard error."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = tool.main(argument)
        return code, out.getvalue(), err.getvalue()

    def again(self, *cases):
        self.file.write_text(f"<testsuite>{''.join(cases)}</testsuite>")
        return self.run_it(unstable_tests, self.file)

    def totals(self, *cases, unstable=()):
        self.file.write_text(f"<testsuite>{''.join(cases)}</testsuite>")
        self.file.with_name("unstable.txt").write_text("".join(name + "\n" for name in unstable))
        return self.run_it(test_totals, [self.file])[:2]

    def test_a_failed_expectation_may_be_run_again(self):
        self.assertEqual(self.again(case("A.ok"), failed("A.late/shm")), (0, "A.late/shm\n", ""))
        self.assertEqual(self.again(failed("e2e.x_test", "FAILED (failures=1)"))[0], 0)

    def test_what_a_clock_does_not_explain_is_final(self):
        for final, why in ((failed("crash.lease_steps_test"), "this kind of test"),
                           (failed("model"), "this kind of test"),
                           (failed("tidy", "FAILED (failures=1)"), "this kind of test"),
                           (failed("A.crashes", "[ RUN ] A.crashes"), "did not come to its end"),
                           (case("A.missing", "", "notrun"), "did not come to its end"),
                           (failed("A.races", "WARNING: ThreadSanitizer: data race" + LATE), "Sanitizer"),
                           (failed("A.shifts", "x.cpp:1: runtime error: shift" + LATE), "runtime error")):
            code, _, err = self.again(failed("A.late"), final)
            self.assertEqual(code, 1, final)
            self.assertIn(why, err)

    def test_more_than_three_are_no_accident(self):
        names = [failed(f"A.test_{i}") for i in range(4)]
        self.assertEqual(self.again(*names[:3])[0], 0)
        code, _, err = self.again(*names)
        self.assertEqual(code, 1)
        self.assertIn("4 tests failed", err)

    def test_nothing_failed_is_nothing_to_run_again(self):
        self.assertEqual(self.again(case("A.ok"))[0], 1)

    def test_totals_count_each_test_once(self):
        code, out = self.totals(case("A.ok"), failed("A.late"), failed("A.wrong"), unstable=["A.late"])
        self.assertEqual(code, 1)
        self.assertIn("1 passed, 1 failed, 1 unstable, 0 skipped", out)
        self.assertIn("unstable: ", out)
        self.assertIn(": A.late\n", out)

    def test_totals_tell_what_the_failed_said_last(self):
        long_one = "".join(f"line {i}\n\n" for i in range(100)) + "x" * 1000 + "\n"
        _, out = self.totals(case("A.ok", "silent"), failed("A.wrong", long_one), failed("A.late", "late"),
                             unstable=["A.late"])
        said = [line.strip() for line in out.splitlines() if line.startswith("    ")]
        self.assertEqual(said, [f"line {i}" for i in range(81, 100)] + ["x" * 300, "late"])
        self.assertRegex(out, r"unstable: \S+: A.late\n    late\n")
        self.assertTrue(out.splitlines()[-1].startswith("1 passed, 1 failed"))

    def test_totals_succeed_with_what_is_unstable_and_fail_with_nothing_passed(self):
        self.assertEqual(self.totals(case("A.ok"), failed("A.late"), unstable=["A.late"])[0], 0)
        self.assertEqual(self.totals(failed("A.late"), unstable=["A.late"])[0], 1)
        self.assertEqual(self.totals(case("A.ok"), failed("A.late"))[0], 1)


if __name__ == "__main__":
    unittest.main()
