#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Lines and branches reached, by folder, out of gcovr's JSON.
table.py COVERAGE.json                 the table
table.py COVERAGE.json PREFIX...       the lines of files below PREFIX that nothing has reached, with their text
"""
import collections
import json
import sys


def executable(line):
    return not line.get("gcovr/noncode") and not line.get("gcovr/excluded")


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)["files"]


def table(files):
    sums = collections.defaultdict(lambda: [0, 0, 0, 0])
    for entry in files:
        name = entry["file"]
        folder = "/".join(name.split("/")[:2]) if name.startswith("userspace/") else name
        for line in entry["lines"]:
            if not executable(line):
                continue
            for key in (folder, "all"):
                sums[key][0] += 1
                sums[key][1] += line["count"] > 0
                sums[key][2] += len(line["branches"])
                sums[key][3] += sum(branch["count"] > 0 for branch in line["branches"])
    print(f'{"":28}{"lines":>8}{"reached":>9}{"branches":>10}{"reached":>9}')
    for key in sorted(sums, key=lambda key: (key == "all", key)):
        lines, hit, branches, taken = sums[key]
        share = [f"{100 * a / b:.1f} %" if b else "-" for a, b in ((hit, lines), (taken, branches))]
        print(f"{key:28}{lines:8}{share[0]:>9}{branches:10}{share[1]:>9}")


def missing(files, prefixes):
    for entry in files:
        if not entry["file"].startswith(tuple(prefixes)):
            continue
        with open(entry["file"], encoding="utf-8") as file:
            text = file.read().splitlines()
        for line in entry["lines"]:
            if executable(line) and line["count"] == 0:
                print(f'{entry["file"]}:{line["line_number"]}: {text[line["line_number"] - 1].strip()}')


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    files = read(sys.argv[1])
    if not files:
        sys.exit(f"{sys.argv[1]} holds no file; has anything been run?")
    if len(sys.argv) > 2:
        missing(files, sys.argv[2:])
    else:
        table(files)


main()
