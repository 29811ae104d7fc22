#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints what ran where: summary.py testlog.json [--closing-line]

One row per test, one column per OpenCL implementation (Meson's suite), then the reasons of all skips. With
--closing-line only "N passed, N failed, N skipped".
"""
import collections
import json
import sys

WORD = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}


def reason(run):
    """A test that skips says why in a line "SKIP name: reason"."""
    lines = ((run.get("stdout") or "") + "\n" + (run.get("stderr") or "")).splitlines()
    told = [line.split(":", 1)[-1].strip() for line in lines if line.startswith("SKIP ")]
    return told[-1] if told else "no reason given"


runs = [json.loads(line) for line in open(sys.argv[1])]
counts = collections.Counter(WORD.get(run["result"], "failed") for run in runs)
if "--closing-line" in sys.argv:
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit()

cells, columns, why = collections.defaultdict(dict), [], collections.defaultdict(list)
for run in runs:
    # Meson calls a test "project:suite / name"; one that runs on several implementations is called "name@suite".
    suite, _, name = run["name"].rpartition(" / ")
    suite = suite.rpartition(":")[2]
    name = name.removesuffix(f"@{suite}")
    word = WORD.get(run["result"], "FAILED")
    cells[name][suite] = word
    if suite not in columns:
        columns.append(suite)
    if word == "skipped":
        why[reason(run)].append(f"{name} on {suite}")

width = max([len(name) for name in cells] + [4])
print("What ran where:")
print("  " + "test".ljust(width) + "".join(f"  {column:>8}" for column in columns))
for name in sorted(cells):
    print("  " + name.ljust(width) + "".join(f"  {cells[name].get(column, '-'):>8}" for column in columns))
for text, tests in sorted(why.items()):
    print(f"  skipped, {text}: {', '.join(sorted(tests))}")
