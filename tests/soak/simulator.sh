#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What takes the simulator hours: two consecutive holders killed at once, a thousand times; 200 random scripts of 1,000 faults; 24 simulated
# hours of 1,000 nodes, whose memory must not grow. Nothing acknowledged may be lost and no check may fail.
#   SOAK=kill-two|random|day     one of them alone
set -u
cd "$(dirname "$0")/../.." || exit 1
SIM=${BUILD:-build}/ringgate-sim
LOG=$(realpath -m "${BUILD:-build}")
status=0

wanted() { [ -z "${SOAK:-}" ] || [ "$SOAK" = "$1" ]; }

played() {
	local name=$1
	shift
	echo "# $name: $*"
	"$SIM" "$@" >"$LOG/soak-$name.out" 2>"$LOG/soak-$name.err" || { echo "FAILED: $name"; cat "$LOG/soak-$name.err"; status=1; }
	tail -n 10 "$LOG/soak-$name.out"
}

wanted kill-two && played kill-two kill-two -n 40 --records 200 --seed 2000 --runs 10 --repetitions 100
wanted random && played random random -n 32 --records 32 --seed 1000 --runs 200 --repetitions 1000
if wanted day; then
	played hour quiet -n 1000 --duration 3600 --check-interval 60 --json
	played day quiet -n 1000 --duration 86400 --check-interval 60 --json
	python3 - "$LOG/soak-hour.out" "$LOG/soak-day.out" <<'PYTHON' || status=1
import json, sys

hour, day = (json.load(open(path)) for path in sys.argv[1:])
print(f"memory in use: {hour['bytes_per_node']:.0f} octets a node after an hour, {day['bytes_per_node']:.0f} after a day")
# Records are replaced and connections come and go; a leak of an octet a second would be 80,000.
sys.exit(day["bytes_per_node"] > hour["bytes_per_node"] * 1.05)
PYTHON
fi
exit $status
