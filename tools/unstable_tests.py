#!/usr/bin/env python3
"""Which failures of a test run may be the machine's: prints their names, a line each, for a second run of them alone.

A test that waits for the clock can fail on a machine that stops for a while; what it then says is no finding. What
cannot be explained so is never run again: a sanitizer's report, a crash, a timeout, more than three tests at once, and
the tests whose whole purpose is what happens rarely (crash, model, fuzz) or what no clock decides (tools, install).

usage: unstable_tests.py FILE    FILE is ctest's JUnit file; exit 0 if every failure may be run again, else 1
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

from test_totals import outcome_of

MOST = 3
FINAL = re.compile(r"crash\.|model$|fuzz|tools\.|tidy$|clang_format$|install")
REPORTS = ("Sanitizer", "runtime error:")
# What GoogleTest and Python's unittest print last: a test that crashed or was ended did not come so far.
CAME_TO_ITS_END = (" FAILED TEST", "FAILED (failures=")


def why_not(case):
    """Why the failure of this test is final; empty if it may be run again."""
    output = case.findtext("system-out", "")
    if FINAL.match(case.get("name")):
        return "what this kind of test finds is never the clock's"
    if not any(text in output for text in CAME_TO_ITS_END):
        return "it did not come to its end"
    return next((f"its output holds '{report}'" for report in REPORTS if report in output), "")


def main(path):
    failed = [case for case in ElementTree.parse(path).getroot().iter("testcase") if outcome_of(case) == "failed"]
    final = [f"{case.get('name')}: {why_not(case)}" for case in failed if why_not(case)]
    if len(failed) > MOST:
        final.append(f"{len(failed)} tests failed, more than {MOST}")
    for line in final:
        print(f"no second run: {line}", file=sys.stderr)
    for case in failed:
        print(case.get("name"))
    return 0 if failed and not final else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
