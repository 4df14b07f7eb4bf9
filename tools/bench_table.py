#!/usr/bin/env python3
"""Makes the tables of README.md and bench/README.md from the JSON of a run, so that no figure is copied by hand.

    tools/bench_table.py RUN.json                       prints the table of comparisons
    tools/bench_table.py RUN.json --targets             prints the table of targets
    tools/bench_table.py RUN.json --write README.md     replaces what is between the markers of both tables

The markers are the lines <!-- bench: comparisons --> and <!-- bench: targets -->, each up to <!-- bench: end -->.
"""

import argparse
import json
import re
import sys



def figure(value):
    """Three digits that mean something, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def source_line(run):
    machine = run["machine"]
    return (f"{machine['date']}, {machine['cpu']}, {machine['cores']} processors, {machine['kernel']}, "
            f"{machine['compiler']}, {machine['scheduler']}; --{run['scale']}, {run['rounds']} rounds, the floors moved by {100 * run['noise']:.0f} % between them")


def comparisons(run):
    """One line for each picture of bars: telpher's figure, and each other row beside it as a ratio."""
    lines = ["| what | telpher | beside it, in the same run |", "|---|---|---|"]
    for picture in run["pictures"]:
        bars = [(line["label"], line["points"][0]["y"]) for line in picture["lines"]]
        if picture["shape"] != "bars" or len(bars) < 2 or not bars[0][0].startswith("telpher"):
            continue
        own = bars[0][1]
        beside = "; ".join(f"{label} {figure(value)} ({value / own:.2f}x)" for label, value in bars[1:])
        lines.append(f"| {picture['title']} | {figure(own)} {picture['y']} | {beside} |")
    return lines + ["", source_line(run)]


def targets(run):
    lines = ["| target | wanted | median | min | max | |", "|---|---|---|---|---|---|"]
    for target in run["targets"]:
        sign = ">=" if target["at_least"] else "<="
        numbers = " | ".join(figure(target[key]) for key in ("median", "min", "max"))
        lines.append(f"| {target['target']} | {sign} {target['limit']:g} | {numbers} | "
                     f"{'' if target['pass'] else 'missed'} |")
    met = sum(target["pass"] for target in run["targets"])
    return lines + ["", f"{met} of {len(run['targets'])} met. {source_line(run)}"]


TABLES = {"comparisons": comparisons, "targets": targets}


def write_into(path, run):
    if run["scale"] == "smoke" or run["failures"]:
        sys.exit("figures of a run with --smoke, or one that failed, belong into no document")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found = 0
    for name, make in TABLES.items():
        block = re.compile(rf"(<!-- bench: {name} -->\n).*?(<!-- bench: end -->)", re.DOTALL)
        table = "\n".join(make(run)) + "\n"
        text, count = block.subn(lambda match, table=table: match[1] + table + match[2], text)
        found += count
    if found == 0:
        sys.exit(f"{path} has no place for a table: <!-- bench: comparisons --> or <!-- bench: targets -->")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN.json")
    parser.add_argument("--targets", action="store_true", help="the table of targets")
    parser.add_argument("--write", metavar="FILE", action="append", help="replace the tables in this file")
    arguments = parser.parse_args()
    with open(arguments.run, encoding="utf-8") as file:
        run = json.load(file)
    for path in arguments.write or []:
        write_into(path, run)
    if not arguments.write:
        print("\n".join(TABLES["targets" if arguments.targets else "comparisons"](run)))


if __name__ == "__main__":
    main()
