#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What takes the simulator hours: two consecutive holders killed at once, a thousand times; 200 random scripts of 1,000 faults; 24 simulated
# hours of 1,000 nodes, whose memory and links must come to rest. Nothing acknowledged may be lost and no check may fail.
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
	played day quiet -n 1000 --duration 86400 --check-interval 60 --sample 3600 --json
	tests/soak/flat.py "$LOG/soak-day.out" || status=1
fi
exit $status
