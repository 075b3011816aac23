#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The judgment of the long soak (tests/soak/flat.py): overlays that come to rest pass, leaks and drift do not.
set -u
cd "$(dirname "$0")/../.." || exit 1
exec python3 -B - <<'PYTHON'
import sys

sys.path.insert(0, "tests/soak")
from flat import judge


def day(memory, links):
    return [{"after_s": hour * 3600.0, "bytes_per_node": memory(hour, links(hour)), "links_mean": links(hour)} for hour in range(1, 25)]


def resting(hour):
    return 30 - 4 * 0.7**hour  # links found one after the other, as far as there are some to be found


def held(_hour, links):
    return 30000 + 730 * links


cases = [
    ("an overlay that comes to rest", day(held, resting), 0),
    ("one that was at rest", day(held, lambda hour: 30), 0),
    ("a leak of three octets in two minutes", day(lambda hour, links: held(hour, links) + 90 * hour, resting), 1),
    ("a leak in the second half", day(lambda hour, links: held(hour, links) + 200 * max(0, hour - 14), resting), 1),
    ("a leak in the first half", day(lambda hour, links: held(hour, links) * (1 + 0.02 * min(hour, 12)), resting), 1),
    ("links that never come to rest", day(held, lambda hour: 25 + hour / 10), 1),
    ("half of the links lost", day(held, lambda hour: 30 if hour < 20 else 15), 2),
    ("too few samples", day(held, resting)[:7], 1),
]
failed = 0
for name, samples, expected in cases:
    if (len(wrong := judge(samples)) > 0) != (expected > 0) or len(wrong) < expected:
        print(f"FAILED: {name}: {wrong}")
        failed = 1
if not failed:
    print(f"{len(cases)} days judged")
sys.exit(failed)
PYTHON
