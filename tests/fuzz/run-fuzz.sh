#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# make fuzz: every target (or those named) for TIME seconds each, on one core, corpora grown in $BUILD/corpus. Ends with a table:
#   executed   inputs tried             edges    branches of the code that they reached
#   new        inputs that reached more than all before them, now in $BUILD/corpus
#   found      crashes, hangs and leaks; their inputs lie in $BUILD/findings. Any of them: status 1
# FUZZ_FIGURES=FILE appends the table there, with the commit.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
TIME=${TIME:-60}
version=$(clang --version | sed -n 's/.*clang version \([0-9]*\).*/\1/p')
appliance/install-packages.sh "libclang-rt-$version-dev" || exit 1
commit=$(git rev-parse --short=12 HEAD)
make --no-print-directory BUILD="$BUILD-fuzz" CC=clang CFLAGS="-O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer" \
	LDFLAGS="-fsanitize=address,undefined" fuzzers || exit 1
mkdir -p "$BUILD/findings"
status=0 total_executed=0 total_new=0 total_found=0 total_cpu=0
table=$(mktemp)
trap 'rm -f "$table" "$table.time"' EXIT
row() { printf '%-12s %12s %9s %8s %7s %6s %9s\n' "$@" >>"$table"; }
row target executed per-s edges new found CPU-s

for binary in "$BUILD-fuzz"/fuzz/fuzz_*; do
	name=$(basename "$binary")
	name=${name#fuzz_}
	case " $* " in "  " | *" $name "*) ;; *) continue ;; esac
	mkdir -p "$BUILD/corpus/$name"
	log=$BUILD/findings/$name.log
	rm -f "$BUILD/findings/$name"-*
	printf '%s: ' "$name"
	TIMEFORMAT='%U %S'
	{ time "$binary" -max_total_time="$TIME" -timeout=10 -detect_leaks=1 -rss_limit_mb=4096 -print_final_stats=1 \
		-artifact_prefix="$BUILD/findings/$name-" "$BUILD/corpus/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; } 2>"$table.time"
	result=$?
	cpu=$(awk '{ printf "%d", $1 + $2 + 0.5 }' "$table.time")
	executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	new=$(sed -n 's/^stat::new_units_added: *//p' "$log")
	edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
	found=$(find "$BUILD/findings" -name "$name-*" | wc -l)
	if [ $result -ne 0 ]; then
		[ "$found" -gt 0 ] || found=1 # a word of a sanitizer at the end has no input
		echo "FOUND something, see $log"
		status=1
	else
		echo "nothing found"
	fi
	row "$name" "${executed:=0}" "$((executed / (cpu > 0 ? cpu : 1)))" "${edges:-?}" "${new:=0}" "$found" "$cpu"
	total_executed=$((total_executed + executed)) total_new=$((total_new + new)) total_found=$((total_found + found))
	total_cpu=$((total_cpu + cpu))
done
row all "$total_executed" "$((total_executed / (total_cpu > 0 ? total_cpu : 1)))" "" "$total_new" "$total_found" "$total_cpu"
echo
cat "$table"
[ -z "${FUZZ_FIGURES:-}" ] || { echo "$commit" && cat "$table" && echo; } >>"$FUZZ_FIGURES"
exit $status
