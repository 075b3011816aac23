#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# make bench: runs the benchmark programs one after the other and writes their figures to $BUILD/bench.json, a flat object of numbers.
# Each program ($BUILD/bench/bench_*) or script (tests/bench/bench_*.sh) prints "name value" lines, medians of at least five repetitions
# or percentiles; a script ends with 77 after "SKIP: reason" where it cannot run.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
out=$BUILD/bench.txt
status=0
limit_s=600
[ -z "${SIM_LARGE:-}" ] || limit_s=36000 # 100,000 nodes: an hour and more, beside other work several
: >"$out"
export BUILD
for binary in "$BUILD"/bench/bench_* tests/bench/bench_*.sh; do
	case $binary in *.d) continue ;; esac
	name=$(basename "$binary" .sh)
	name=${name#bench_}
	case " $* " in "  " | *" $name "*) ;; *) continue ;; esac
	echo "# $name"
	timeout "$limit_s" "$binary" 2>"$BUILD/bench-$name.log" | tee "$BUILD/bench-$name.out" | grep -E '^[a-z0-9_]+ [0-9.]+$' | tee -a "$out"
	ended=${PIPESTATUS[0]}
	[ "$ended" -ne 77 ] || { tail -n 1 "$BUILD/bench-$name.out"; continue; }
	[ "$ended" -eq 0 ] || { echo "bench_$name failed:"; tail -n 5 "$BUILD/bench-$name.log"; status=1; }
done
awk 'BEGIN { print "{" } { lines[++n] = sprintf("  \"%s\": %s", $1, $2) } END { for (i = 1; i <= n; i++) print lines[i] (i < n ? "," : ""); print "}" }' \
	"$out" >"$BUILD/bench.json"
echo "figures are in $BUILD/bench.json"
exit $status
