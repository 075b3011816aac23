#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# make check-allocation: unit tests in which memory runs out, at POINTS places of each, spread evenly over its allocations.
#   run.sh [WORD…]    only tests whose name holds one of the words
#   POINTS=40         places in each program
#   LONG_S=20         a program that takes more processor seconds is not run as a whole for each place, but one of its test functions,
#   SEED=1            at places of it drawn from SEED; another SEED draws others
# Ends with "N passed, N failed, N skipped"; a test passes when it neither crashes nor leaks at any of the places.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build-san}
POINTS=${POINTS:-40}
LONG_S=${LONG_S:-20}
SEED=${SEED:-1}
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

# Sets used_s: processor seconds of all that was run so far. Not in a subshell, which has run nothing.
note_used() {
	local user
	times >"$logs/times"
	{ read -r _; read -r user _; } <"$logs/times"
	used_s=${user#*m}
	used_s=$((${user%%m*} * 60 + ${used_s%%.*}))
}

# How many allocations a program makes that is given all it wants; its output goes to the log named. Fails when it does.
count_of() {
	local binary=$1 log=$2 file=$logs/count
	rm -f "$file"
	ALLOCATION_COUNT=$file timeout -k 5 1200 "$binary" >"$log" 2>&1 </dev/null && [ -s "$file" ] && cat "$file"
}

# The functions of a long program one after the other. Sets tried, bad and, of all functions together, count.
try_functions() {
	local binary=$1 name=$2 log=$3 function functions own i
	mapfile -t functions < <(sed -n 's/^\[ RUN *\] //p' "$log")
	tried=0 bad=0 count=0 RANDOM=$SEED
	for function in "${functions[@]}"; do
		export ALLOCATION_TEST=$function
		own=$(count_of "$binary" "$log.alone") || { bad=$((bad + 1)); echo "      $function alone does not pass, see $log.alone"; continue; }
		count=$((count + own))
		for ((i = 0; own > 0 && i * ${#functions[@]} < POINTS; i++)); do
			try "$binary" "$name-$function" "$((1 + (RANDOM * 32768 + RANDOM) % own))" $((i % 2 * 1000)) || bad=$((bad + 1))
			tried=$((tried + 1))
		done
	done
	unset ALLOCATION_TEST
	rm -f "$log.alone"
}

for binary in "$BUILD"/allocation/*/test_*; do
	[ -x "$binary" ] || continue
	name=${binary#"$BUILD"/allocation/}
	wanted "$name" "$@" || continue
	log=$logs/${name//\//_}.log
	note_used
	began_s=$used_s
	if ! count=$(count_of "$binary" "$log"); then
		printf 'skip  %-40s does not pass with all the memory it wants, see %s\n' "$name" "$log"
		skipped=$((skipped + 1))
		continue
	fi
	if [ "$count" -eq 0 ]; then
		printf 'skip  %-40s allocates nothing of its own\n' "$name"
		skipped=$((skipped + 1))
		continue
	fi
	note_used
	if [ $((used_s - began_s)) -gt "$LONG_S" ]; then
		try_functions "$binary" "$name" "$log"
	else
		tried=$((count < POINTS ? count : POINTS)) bad=0
		for ((i = 0; i < tried; i++)); do
			place=$((1 + i * count / tried))
			try "$binary" "$name" "$place" 0 || bad=$((bad + 1))
			((i % 8)) || try "$binary" "$name" "$place" 1000 || bad=$((bad + 1))
		done
	fi
	if [ $bad -eq 0 ]; then
		printf 'ok    %-40s %d of %d allocations refused\n' "$name" "$tried" "$count"
		passed=$((passed + 1))
	else
		printf 'FAIL  %-40s at %d places\n' "$name" "$bad"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
