#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# An hour of an overlay of real daemons with calls: every call is answered with the registered contact, no daemon ends, and memory and
# open files of each stay where they were.
#   PEERS=16       gateways, each in a namespace of its own
#   SECONDS_TO_RUN=3600
#   REPORT=file    a line for each daemon and sixtieth of the time: second, gateway, resident KiB, open files
# The first quarter is warm-up. Then the median of the last quarter may exceed that of the second by a twentieth and 1 MiB: what leaks
# grows by more within an hour of calls, and what only fluctuates does not.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
PEERS=${PEERS:-16}
SECONDS_TO_RUN=${SECONDS_TO_RUN:-3600}
NEIGHBOR_CHECK=15000
LOG_LEVEL=notice
CALLS=10 # each round, two a second
. appliance/trial/network.sh
. appliance/trial/overlay.sh
WORK=$(mktemp -d "${TMPDIR:-/tmp}/ringgate.XXXXXX")
REPORT=$(realpath -m "${REPORT:-$BUILD/soak-overlay.tsv}")
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' HUP INT TERM

fail() {
	printf 'FAILED: %s\n' "$*"
	for log in "$WORK"/gateway-*/log; do tail -n 3 "$log" | sed "s|^|  $(basename "$(dirname "$log")"): |"; done
	exit 1
}

command -v sipp >/dev/null || network_refuse "SIPp is missing (package sip-tester)"
network_require
network_open || fail "the bridge cannot be made"
overlay_create --require-kind 0xf0000001:SINGLE:NODE-MULTIPLE:1:2000:255 --update-interval 60 || fail "the overlay cannot be made"
for number in $(seq "$PEERS"); do
	gateway_create "$number" "user$number@$OVERLAY" || fail "gateway $number cannot be made"
done
for number in $(seq "$PEERS"); do
	gateway_start "$number" || fail "gateway $number does not start"
	gateway_wait "$number" 0 120 || fail "gateway $number does not join"
done
network_site phone 192.0.2.5 || fail "the phones' namespace cannot be made"

phone() {
	local scenario=$1
	shift
	network_in phone timeout --foreground 120 sipp -sf "tests/sip/$scenario.xml" -key domain "$OVERLAY" -i 192.0.2.5 -nostdin -timeout 100 \
		-timeout_error "$@" >"$WORK/sipp.log" 2>&1
}

# Resident memory and open files of every daemon, one line each.
measure() {
	local number pid
	for number in $(seq "$PEERS"); do
		pid=${GATEWAY_PID[$number]}
		kill -0 "$pid" 2>/dev/null || fail "the daemon of gateway $number ended after $SECONDS s"
		printf '%d\t%d\t%d\t%d\n' "$SECONDS" "$number" "$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")" \
			"$(find "/proc/$pid/fd" -mindepth 1 -maxdepth 1 | wc -l)" >>"$REPORT"
	done
}

: >"$REPORT"
SECONDS=0
round=0 calls=0 lost=0 measured=-$SECONDS_TO_RUN
while [ "$SECONDS" -lt "$SECONDS_TO_RUN" ]; do
	home=$((round % PEERS + 1))
	caller=$(((round * 7 + 3) % PEERS + 1))
	phone register -s "user$home" -p 5070 -m 1 "$(gateway_address "$home"):5060" || fail "REGISTER at gateway $home: $(tail -n 3 "$WORK/sipp.log")"
	if ! phone invite_302 -s "user$home" -key expect "sip:user$home@192.0.2.5:5070" -p 5080 -r 2 -m "$CALLS" "$(gateway_address "$caller"):5060"; then
		lost=$((lost + 1))
		echo "after $SECONDS s: calls to user$home through gateway $caller: $(tail -n 2 "$WORK/sipp.log" | tr '\n' ' ')"
	fi
	calls=$((calls + CALLS))
	round=$((round + 1))
	if [ $(((SECONDS - measured) * 60)) -ge "$SECONDS_TO_RUN" ]; then
		measured=$SECONDS
		measure
	fi
done
measure

echo "$calls calls in $round rounds over $PEERS gateways within $SECONDS s; rounds with a lost call: $lost"
python3 - "$REPORT" "$SECONDS_TO_RUN" <<'PYTHON' || fail "memory or open files grow"
import statistics, sys
from collections import defaultdict

lines = [[int(word) for word in line.split()] for line in open(sys.argv[1])]
total = int(sys.argv[2])
grown = 0
for column, name, slack in ((2, "resident KiB", 1024), (3, "open files", 2)):
    early, late = defaultdict(list), defaultdict(list)
    for line in lines:
        if total / 4 <= line[0] < total / 2:
            early[line[1]].append(line[column])
        elif line[0] >= total * 3 / 4:
            late[line[1]].append(line[column])
    if not early or not late:
        sys.exit("too short a run to compare")
    medians = [(number, statistics.median(early[number]), statistics.median(late[number])) for number in sorted(early)]
    worst = max(medians, key=lambda entry: entry[2] - entry[1])
    print(f"{name}: {sum(m[1] for m in medians) / len(medians):.0f} on average in the second quarter, "
          f"{sum(m[2] for m in medians) / len(medians):.0f} in the last; most growth: gateway {worst[0]}, {worst[1]:.0f} to {worst[2]:.0f}")
    for number, before, after in medians:
        if after > before * 1.05 + slack:
            print(f"gateway {number}: {name} grew from {before} to {after}")
            grown = 1
sys.exit(grown)
PYTHON
[ "$lost" -eq 0 ] || fail "calls were lost"
told=$(tail -q -n +3 "$WORK"/gateway-*/log | cut -d: -f2- | sed 's/[0-9a-f]\{32\}/NODE/g; s/[0-9][0-9.:]*/N/g' | sort | uniq -c | sort -rn | head -n 8)
[ -z "$told" ] || printf 'What the daemons logged meanwhile:\n%s\n' "$told"
echo "no call lost, memory and open files flat"
