#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs everything `make check` has built and closes with "N passed, N failed, N skipped".
#   run-tests.sh [WORD…]    only tests whose name holds one of the words
# BUILD is the plain build, SAN_BUILD the one with sanitizers. A test is a cmocka test, a replayed corpus, or a script that ends with
# status 0, or with 77 after a last line "SKIP: reason".
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
SAN_BUILD=${SAN_BUILD:-$BUILD-san}
LOGS=$BUILD/tests
export BUILD SAN_BUILD
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
mkdir -p "$LOGS"
passed=0 failed=0 skipped=0
words=("$@")

wanted() {
	[ ${#words[@]} -eq 0 ] && return 0
	local word
	for word in "${words[@]}"; do [[ $1 == *$word* ]] && return 0; done
	return 1
}

# In the background, so that Ctrl-C and SIGTERM end the test and then us, at once.
running=
limited() {
	timeout -k 60 "${LIMIT:-600}" "$@" </dev/null &
	running=$!
	wait "$running"
}
trap '[ -z "$running" ] || { kill -TERM "$running" && wait "$running"; } 2>/dev/null; exit 130' HUP INT TERM

run_unit() {
	local binary=$1 name log count_ok count_failed count_skipped status
	name=unit/${binary#*/unit/}
	wanted "$name" || return 0
	log=$LOGS/${name//\//_}.log
	limited "$binary" >"$log" 2>&1
	status=$?
	count_ok=$(grep -c '^\[       OK \]' "$log")
	count_failed=$(grep -c '^\[  FAILED  \] [^0-9]' "$log")
	count_skipped=$(grep -c '^\[  SKIPPED \] [^0-9]' "$log")
	# cmocka names failed tests again in its summary.
	[ "$count_failed" -eq 0 ] || count_failed=$(grep '^\[  FAILED  \] [^0-9]' "$log" | sort -u | wc -l)
	if [ $status -ne 0 ] && [ "$count_failed" -eq 0 ] || [ $((count_ok + count_failed + count_skipped)) -eq 0 ]; then
		count_failed=$((count_failed + 1)) # crashed, hung, or a sanitizer spoke at exit
	fi
	if [ "$count_failed" -gt 0 ]; then
		printf 'FAIL  %-44s status %s, see %s\n' "$name" "$status" "$log"
		grep -vE '^\[( RUN|       OK|----------|==========)' "$log" | head -n 25 | sed 's/^/      /'
	else
		printf 'ok    %-44s %d tests\n' "$name" "$count_ok"
	fi
	[ "$count_skipped" -eq 0 ] || grep -E 'SKIP' "$log" | sort -u | sed "s|^|skip  $name: |"
	passed=$((passed + count_ok)) failed=$((failed + count_failed)) skipped=$((skipped + count_skipped))
}

run_one() {
	local name=$1 log status
	shift
	wanted "$name" || return 0
	log=$LOGS/${name//\//_}.log
	limited "$@" >"$log" 2>&1
	status=$?
	if [ $status -eq 0 ]; then
		printf 'ok    %-44s %s\n' "$name" "$(tail -n 1 "$log" | cut -c1-90)"
		passed=$((passed + 1))
	elif [ $status -eq 77 ]; then
		printf 'skip  %-44s %s\n' "$name" "$(tail -n 1 "$log")"
		skipped=$((skipped + 1))
	else
		printf 'FAIL  %-44s status %s, see %s\n' "$name" "$status" "$log"
		tail -n 25 "$log" | sed 's/^/      /'
		failed=$((failed + 1))
	fi
}

for script in tests/check/*.sh; do
	case $script in
	*/conformance.sh) run_one check/conformance "$script" --check ;;
	*) run_one "check/$(basename "$script" .sh)" "$script" ;;
	esac
done
for binary in "$SAN_BUILD"/unit/*/test_*; do
	case $binary in *.d | '*') continue ;; esac
	[ -x "$binary" ] && run_unit "$binary"
done
for binary in "$SAN_BUILD"/replay/fuzz_*; do
	[ -x "$binary" ] || continue
	case $binary in *.d) continue ;; esac
	target=$(basename "$binary")
	run_one "corpus/${target#fuzz_}" "$binary" "tests/fuzz/corpus/${target#fuzz_}"
done
run_one sip/scenarios tests/sip/run-scenarios "$BUILD"
run_one guest/verifier tests/guest/verifier.sh
run_one guest/image tests/guest/image.sh
for script in tests/net/*.sh; do
	run_one "net/$(basename "$script" .sh)" "$script"
done

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
