#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# make fuzz: every target (or those named) for TIME seconds each, on one core, corpora grown in $BUILD/corpus. Ends with status 1 when
# something was found; the input lies in $BUILD/findings.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
TIME=${TIME:-60}
version=$(clang --version | sed -n 's/.*clang version \([0-9]*\).*/\1/p')
appliance/install-packages.sh "libclang-rt-$version-dev" || exit 1
make --no-print-directory BUILD="$BUILD-fuzz" CC=clang CFLAGS="-O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer" \
	LDFLAGS="-fsanitize=address,undefined" fuzzers || exit 1
mkdir -p "$BUILD/findings"
status=0
for binary in "$BUILD-fuzz"/fuzz/fuzz_*; do
	name=$(basename "$binary")
	name=${name#fuzz_}
	case " $* " in "  " | *" $name "*) ;; *) continue ;; esac
	mkdir -p "$BUILD/corpus/$name"
	# A daemon keeps things from one input to the next: it is checked for leaks at its end, not after each input.
	[ "$name" = control ] && leaks=0 || leaks=1
	printf '%s: ' "$name"
	if "$binary" -max_total_time="$TIME" -timeout=10 -detect_leaks=$leaks -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix="$BUILD/findings/$name-" \
		"$BUILD/corpus/$name" "tests/fuzz/corpus/$name" >"$BUILD/findings/$name.log" 2>&1; then
		sed -n 's/^stat::number_of_executed_units: */nothing found, executions: /p' "$BUILD/findings/$name.log"
	else
		echo "FOUND something, see $BUILD/findings/$name.log"
		status=1
	fi
done
exit $status
