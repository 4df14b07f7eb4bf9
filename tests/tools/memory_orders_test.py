#!/usr/bin/env python3
"""Weakens one memory order at a time to relaxed and asks ThreadSanitizer. Exit 1 if an answer is unexpected.

usage: memory_orders_test.py [--list] [--only NAME]... [--jobs N] [--compiler CXX]

  --list   name every mutant and what is expected of it, run nothing
  --only   run the mutants whose name begins with NAME: a tag (P1), a file (doorbell.hpp) or a whole name

A mutant is one acquire, release, acq_rel or seq_cst in the ring, the pool or the doorbell; of a
compare_exchange, its success order. It is noticed if the threads of order_races.cpp, built with it, end
with a report of ThreadSanitizer, a failure or the time limit. ThreadSanitizer knows plain bytes: it sees no
store buffer, and x86 has few reorderings. The tags whose orders it does not miss are named in a comment of the
same files:

    //   W1 W2      not seen by TSan: model wait/bug-look-before-bit

with the run of tests/model/check that notices, or with the reason why nobody can. The mutants that nobody
noticed must be exactly those, and the runs must exist. Where two pairs protect the same bytes, neither is
noticed alone: TOGETHER names such groups, and all of each group weakened at once must be noticed.

All of them: about 40 s of two cores.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FILES = ["shm/ring.hpp", "shm/ring_inline.hpp", "shm/ring.cpp", "shm/chunk_pool.hpp", "shm/doorbell.hpp",
         "shm/doorbell.cpp"]
DRIVER = "tests/tools/order_races.cpp"
FLAGS = ["-std=c++20", "-O1", "-fsanitize=thread", "-mcx16", "-mprfchw", "-I.", "-Iinclude"]
ORDER = re.compile(r"memory_order_(?:acquire|release|acq_rel|seq_cst)\b")
TAG = re.compile(r"\b([A-Z]{1,2}\d{1,2})(?::|,|\b)")
UNSEEN = re.compile(r"^\s*//\s+((?:[A-Z]{1,2}\d{1,2} )+) *not seen by TSan: (\S.*)$", re.MULTILINE)
RUN = re.compile(r"model (\w+)/([\w-]+)")
COMMENT_WINDOW = 8  # lines above an order in which its comment may end
TIME_LIMIT_S = 60
# Name -> (file, function) pairs; every order in these functions, or only those of the tags in brackets.
TOGETHER = {
    # What a consumer acquires: the slot (R5) and the chunk's word (R4, C3).
    "claim acquires nothing": [("shm/ring_inline.hpp", "Ring::claim_at", None)],
    # What a producer releases with the word, when consumers do not acquire the slot.
    "the word alone, not released": [("shm/ring_inline.hpp", "Ring::claim_at", {"R5"}),
                                     ("shm/ring_inline.hpp", "Ring::commit", {"C0"})],
}


@dataclasses.dataclass
class Mutant:
    name: str
    places: list  # (file, line index, column)
    unseen: bool  # a comment says that ThreadSanitizer does not notice


def split(line):
    """(code, comment); good enough for lines without // in a string."""
    at = line.find("//")
    return (line, "") if at < 0 else (line[:at], line[at + 2:].strip())


def comment_of(lines, index):
    """The comment of a line: what stands at its end, and the block of comment lines above it."""
    trailing = split(lines[index])[1]
    at = index - 1
    while at >= 0 and index - at <= COMMENT_WINDOW and not is_comment(lines[at]):
        at -= 1
    block = []
    while at >= 0 and is_comment(lines[at]):
        block.insert(0, split(lines[at])[1])
        at -= 1
    return trailing if "pairs with" in trailing else (trailing + " " + " ".join(block)).strip()


def is_comment(line):
    code, comment = split(line)
    return not code.strip() and bool(comment)


def function_of(lines, index):
    """The name in the nearest definition above: a line that begins in column 1 and has a parenthesis."""
    for at in range(index, -1, -1):
        found = re.match(r"[A-Za-z].*?([\w:]+)\(", lines[at])
        if found:
            return found[1]
    return ""


def read_unseen(root):
    """The tags that ThreadSanitizer is said not to see. Every model run that is named must exist."""
    runs = (root / "tests/model/check").read_text(encoding="utf-8")
    unseen = set()
    for file in FILES:
        for tags, reason in UNSEEN.findall((root / file).read_text(encoding="utf-8")):
            unseen |= set(tags.split())
            for model, name in RUN.findall(reason):
                if not re.search(rf"^run {model} {name} +breaks ", runs, re.MULTILINE):
                    sys.exit(f"{file}: {tags}: tests/model/check has no run {model} {name} that breaks")
    return unseen


def read_mutants(root):
    unseen = read_unseen(root)
    mutants = []
    for file in FILES:
        lines = (root / file).read_text(encoding="utf-8").split("\n")
        for index, line in enumerate(lines):
            code = split(line)[0]
            for order in ORDER.finditer(code):
                comment = comment_of(lines, index)
                tag = TAG.search(comment)
                name = f"{tag[1] if tag else '?'} {file.removeprefix('shm/')}:{index + 1}"
                mutants.append((Mutant(name, [(file, index, order.start())], bool(tag) and tag[1] in unseen),
                                function_of(lines, index), {found[1] for found in TAG.finditer(comment)}))
    groups = []
    for name, parts in TOGETHER.items():
        places = []
        for file, function, tags in parts:
            chosen = [mutant.places[0] for mutant, where, own in mutants
                      if mutant.places[0][0] == file and where == function and (tags is None or tags & own)]
            if not chosen:
                sys.exit(f"group '{name}': nothing in {file}, {function}, {tags}")
            places += chosen
        groups.append(Mutant("group " + name, places, False))
    return [mutant for mutant, _, _ in mutants] + groups


def mutate(root, mutant):
    for file, index, column in mutant.places:
        path = root / file
        lines = path.read_text(encoding="utf-8").split("\n")
        order = ORDER.match(lines[index], column)
        # The same number of letters, so that the columns of other places on the line stay.
        weak = "memory_order_relaxed".ljust(len(order[0]))
        lines[index] = lines[index][:column] + weak + lines[index][column + len(order[0]):]
        path.write_text("\n".join(lines), encoding="utf-8")


def run(mutant, compiler):
    """'' if nobody noticed, else who did."""
    with tempfile.TemporaryDirectory(prefix="orders-") as folder:
        copy = pathlib.Path(folder)
        for part in ["shm", "include"]:
            shutil.copytree(ROOT / part, copy / part)
        for part in [DRIVER, "tests/unit/support/scratch_ring.hpp"]:
            (copy / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / part, copy / part)
        if mutant:
            mutate(copy, mutant)
        built = subprocess.run([compiler, *FLAGS, DRIVER, "-o", "races", "-pthread"], cwd=copy, check=False,
                               capture_output=True, text=True)
        if built.returncode != 0:
            sys.exit(f"{mutant.name if mutant else 'unchanged'}: does not compile\n{built.stderr[:2000]}")
        environment = dict(os.environ, TSAN_OPTIONS="halt_on_error=1:exitcode=66:report_bugs=1")
        try:
            ended = subprocess.run([copy / "races"], cwd=copy, check=False, timeout=TIME_LIMIT_S, env=environment,
                                   capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            return "time limit"
        if ended.returncode == 66:
            return "race"
        return "" if ended.returncode == 0 else f"exit {ended.returncode}"


def judge(mutant, answer):
    if bool(answer) != mutant.unseen:
        return ""
    return ("noticed, though a comment says `not seen by TSan`" if answer else
            "not noticed, and no comment says `not seen by TSan: why`")


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--compiler", default=os.environ.get("CXX", "g++"))
    options = parser.parse_args()
    mutants = [mutant for mutant in read_mutants(ROOT)
               if not options.only or any(mutant.name.startswith(name) or mutant.name.split(" ", 1)[1].startswith(name)
                                          for name in options.only)]
    if not mutants:
        sys.exit("no such mutant")
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name:<45} {'not seen' if mutant.unseen else 'must be noticed'}")
        return 0
    answer = run(None, options.compiler)
    if answer:
        sys.exit(f"unchanged: {answer}")
    wrong = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for mutant, answer in zip(mutants, pool.map(lambda mutant: run(mutant, options.compiler), mutants)):
            problem = judge(mutant, answer)
            wrong += bool(problem)
            print(f"{mutant.name:<45} {answer or 'not noticed':<12} {problem}", flush=True)
    print(f"{len(mutants)} mutants, {wrong} unexpected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
