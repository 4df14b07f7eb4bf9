#!/usr/bin/env python3
"""Adds up ctest's JUnit files: what failed, with the end of its output, what was skipped, and the totals on one line.

usage: test_totals.py FILE...   exit 0 if something passed and nothing failed
A file unstable.txt beside a FILE names the tests that failed there and passed when they were run again alone.
"""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree

OUTPUT_LINES = 20
LINE_COLUMNS = 300


def outcome_of(case):
    """ctest writes status run, fail, notrun or disabled; a skipped test is `notrun` with a <skipped> inside."""
    status = case.get("status")
    if status == "run":
        return "passed"
    if case.find("skipped") is not None or status == "disabled":
        return "failed" if is_missing(case) else "skipped"
    return "failed"


def is_missing(case):
    """A test whose program could not be found or started counts as failed, not as skipped."""
    skipped = case.find("skipped")
    message = "" if skipped is None else skipped.get("message", "")
    return "SKIP_" not in message and case.get("status") != "disabled"


def end_of_output(case):
    """What a failed test said last, indented: a log of which only the end is kept tells the cause, too."""
    lines = [line for line in case.findtext("system-out", "").splitlines() if line.strip()]
    return "".join(f"    {line[:LINE_COLUMNS]}\n" for line in lines[-OUTPUT_LINES:])


def main(paths):
    counts = {"passed": 0, "failed": 0, "unstable": 0, "skipped": 0}
    for path in paths:
        preset = pathlib.Path(path).parent.name
        again = pathlib.Path(path).with_name("unstable.txt")
        unstable = set(again.read_text().splitlines()) if again.exists() else set()
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            outcome = outcome_of(case)
            if outcome == "failed" and case.get("name") in unstable:
                outcome = "unstable"
            counts[outcome] += 1
            if outcome != "passed":
                print(f"{outcome}: {preset}: {case.get('name')}")
            if outcome in ("failed", "unstable"):
                print(end_of_output(case), end="")
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    return 0 if counts["passed"] > 0 and counts["failed"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
