#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# docs/limits.md names every bound of base/limits.h, and whatever it names has the value it has in the sources.
set -u
cd "$(dirname "$0")/../.." || exit 1
export LC_ALL=C
git ls-files 'userspace/*.h' 'userspace/*.c' 'bpf/*.h' | grep -v '^userspace/sim/' | python3 -c '
import re, sys

constants, said = {}, {}
for path in sys.stdin.read().split():
    for line in open(path):
        code = line.partition("/*")[0]
        for name, value in re.findall(r"\b([A-Z][A-Z0-9_]{3,}) = ([^,}=;]+)", code):
            constants[name] = value.strip()  # of a choice between kernel and daemon the second, which is the daemon
            if path == "userspace/base/limits.h":
                said[name] = path


def value_of(name):
    expression = constants.get(name, "")
    for _ in range(10):
        expression = re.sub(r"\b[A-Z][A-Z0-9_]+\b", lambda m: "(" + constants.get(m[0], "?") + ")", expression)
    return eval(expression.replace("/", "//")) if re.fullmatch(r"[0-9a-fx*+<>()/ -]+", expression) else None


status, documented = 0, {}
for line in open("docs/limits.md"):
    row = re.match(r"\| `([A-Z0-9_]+)` \| (\d+) \|", line)
    if row:
        documented[row[1]] = int(row[2])
for name, value in documented.items():
    if value_of(name) != value:
        print(f"docs/limits.md: {name} is {value} there and {value_of(name)} in the sources")
        status = 1
for name, path in said.items():
    if name not in documented:
        print(f"docs/limits.md does not name {name} of {path}")
        status = 1
if not documented or not said:
    sys.exit("nothing was found to check")
if status == 0:
    print(f"{len(documented)} limits are documented with the values they have")
sys.exit(status)
'
