#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# make check-allocation: unit tests in which memory runs out, at POINTS places of each, spread evenly over its allocations.
#   run.sh [WORD…]    only tests whose name holds one of the words
# Ends with "N passed, N failed, N skipped"; a test passes when it neither crashes nor leaks at any of the places.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build-san}
POINTS=${POINTS:-40}
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
# libosip2 itself forgets a parameter when it gets no memory for its place in the list.
LSAN_OPTIONS=suppressions=$(pwd)/tests/allocation/leaks:print_suppressions=0
export LSAN_OPTIONS
logs=$BUILD/allocation/logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0

wanted() {
	[ $# -eq 1 ] && return 0
	local name=$1 word
	shift
	for word in "$@"; do [[ $name == *$word* ]] && return 0; done
	return 1
}

# What a test itself does without memory does not count: using what it did not get, and leaving what its setup began.
complains() {
	python3 - "$1" <<-'END'
		import re, sys
		log = open(sys.argv[1], errors="replace").read()
		if re.search(r"although no allocation|Test failed with exception", log):
		    sys.exit(0)
		error = re.search(r"runtime error|ERROR: AddressSanitizer", log)
		if error:
		    frame = re.search(r"#\d+ 0x\w+ in \w+ ((?:userspace|tests|bpf)/\S+)", log[error.start():])
		    sys.exit(1 if frame and frame[1].startswith("tests/") else 0)
		sys.exit(0 if "LeakSanitizer" in log and "[  ERROR   ]" not in log else 1)
	END
}

# One place. Keeps the log of what went wrong.
try() {
	local binary=$1 name=$2 place=$3 also=$4 log=$logs/${2//\//_}-$3-$4.log
	ALLOCATION_FAILS=$place ALLOCATION_ALSO=$also timeout -k 5 120 "$binary" >"$log" 2>&1 </dev/null
	local status=$?
	if complains "$log" || [ $status -ge 124 ]; then
		echo "      allocation $place and $also more refused: status $status, see $log"
		return 1
	fi
	rm -f "$log"
}

for binary in "$BUILD"/allocation/*/test_*; do
	[ -x "$binary" ] || continue
	name=${binary#"$BUILD"/allocation/}
	wanted "$name" "$@" || continue
	count_file=$logs/count
	rm -f "$count_file"
	if ! ALLOCATION_COUNT=$count_file timeout -k 5 300 "$binary" >"$logs/${name//\//_}.log" 2>&1 </dev/null || [ ! -s "$count_file" ]; then
		printf 'skip  %-40s does not pass with all the memory it wants, see %s\n' "$name" "$logs/${name//\//_}.log"
		skipped=$((skipped + 1))
		continue
	fi
	count=$(cat "$count_file")
	if [ "$count" -eq 0 ]; then
		printf 'skip  %-40s allocates nothing of its own\n' "$name"
		skipped=$((skipped + 1))
		continue
	fi
	points=$((count < POINTS ? count : POINTS)) bad=0
	for ((i = 0; i < points; i++)); do
		place=$((1 + i * count / points))
		try "$binary" "$name" "$place" 0 || bad=$((bad + 1))
		((i % 8)) || try "$binary" "$name" "$place" 1000 || bad=$((bad + 1))
	done
	if [ $bad -eq 0 ]; then
		printf 'ok    %-40s %d of %d allocations refused\n' "$name" "$points" "$count"
		passed=$((passed + 1))
	else
		printf 'FAIL  %-40s at %d places\n' "$name" "$bad"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
