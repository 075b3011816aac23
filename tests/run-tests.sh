#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs everything `make check` has built and closes with "N passed, N failed, N skipped".
#   run-tests.sh [WORD…]    only tests whose name holds one of the words
# JOBS tests run at a time, by default one more than there are processors; those that say "# alone: why" run by themselves, last.
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
passed=0 failed=0 skipped=0 failures=()
words=("$@")

wanted() {
	[ ${#words[@]} -eq 0 ] && return 0
	local word
	for word in "${words[@]}"; do [[ $1 == *$word* ]] && return 0; done
	return 1
}

# One test, in a shell of its own: prints what a person reads and leaves "passed failed skipped" in $LOGS/NAME.count.
run_unit() {
	local name=$1 binary=$2 log=$LOGS/${1//\//_}.log count_ok count_failed count_skipped status
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
		printf 'FAIL  %-44s %3d s, status %s, see %s\n' "$name" "$SECONDS" "$status" "$log"
		grep -vE '^\[( RUN|       OK|----------|==========)' "$log" | head -n 40 | sed 's/^/      /'
	else
		printf 'ok    %-44s %3d s, %d tests\n' "$name" "$SECONDS" "$count_ok"
	fi
	[ "$count_skipped" -eq 0 ] || grep -E 'SKIP' "$log" | sort -u | sed "s|^|skip  $name: |"
	echo "$count_ok $count_failed $count_skipped" >"$LOGS/${name//\//_}.count"
}

run_one() {
	local name=$1 log=$LOGS/${1//\//_}.log status last
	shift
	limited "$@" >"$log" 2>&1
	status=$?
	last=$(tail -n 1 "$log")
	case $status in
	0) printf 'ok    %-44s %3d s, %s\n' "$name" "$SECONDS" "${last:0:90}" && set -- 1 0 0 ;;
	77) printf 'skip  %-44s %s\n' "$name" "$last" && set -- 0 0 1 ;;
	*)
		printf 'FAIL  %-44s %3d s, status %s, see %s\n' "$name" "$SECONDS" "$status" "$log"
		# A script says why before it prints what others have logged.
		tail -n 40 "$log" | sed 's/^/      /'
		grep -aE '^(FAIL|FAILED|SKIP)\b' "$log" | tail -n 20 | cut -c 1-400 | sed 's/^/      /'
		set -- 0 1 0
		;;
	esac
	echo "$*" >"$LOGS/${name//\//_}.count"
}

# In the background, so that a signal ends the test at once, and what it made is removed by its own trap.
limited() {
	timeout -k 60 "${LIMIT:-600}" "$@" </dev/null &
	trap 'kill -TERM $! 2>/dev/null; wait $!; exit 130' TERM
	wait $!
}

# ---- several at a time ----

# Most network tests wait most of the time, so one more than there are processors.
JOBS=${JOBS:-$(($(nproc) + 1))}
declare -A running=() # process: test

# What a test printed comes out whole, when it ends.
finish_one() {
	local ended name
	wait -n -p ended
	[ -n "${ended:-}" ] || return 0
	name=${running[$ended]}
	unset "running[$ended]"
	cat "$LOGS/${name//\//_}.said"
	local counts=(0 1 0)
	[ -s "$LOGS/${name//\//_}.count" ] && read -ra counts <"$LOGS/${name//\//_}.count"
	passed=$((passed + counts[0])) failed=$((failed + counts[1])) skipped=$((skipped + counts[2]))
	[ "${counts[1]}" -eq 0 ] || failures+=("$name")
}

# start KIND NAME COMMAND…: waits for a free place
start() {
	local kind=$1 name=$2
	shift 2
	wanted "$name" || return 0
	while [ ${#running[@]} -ge "$places" ]; do finish_one; done
	rm -f "$LOGS/${name//\//_}.count"
	(SECONDS=0 && "$kind" "$name" "$@") >"$LOGS/${name//\//_}.said" 2>&1 &
	running[$!]=$name
}

finish_all() { while [ ${#running[@]} -gt 0 ]; do finish_one; done; }

trap 'trap "" HUP INT TERM; for process in "${!running[@]}"; do kill -TERM "$process" 2>/dev/null; done; wait; exit 130' HUP INT TERM

# ---- the tests ----

# A test that measures what it promises, or loads the machine so that others would miss their limits, says "# alone: why".
is_alone() { grep -q '^# alone: ' "$1"; }

places=$JOBS
for script in tests/net/*.sh; do
	is_alone "$script" || start run_one "net/$(basename "$script" .sh)" "$script"
done
for script in tests/check/*.sh; do
	case $script in
	*/conformance.sh) start run_one check/conformance "$script" --check ;;
	*) start run_one "check/$(basename "$script" .sh)" "$script" ;;
	esac
done
for binary in "$SAN_BUILD"/unit/*/test_*; do
	case $binary in *.d | *'*') continue ;; esac
	[ -x "$binary" ] && start run_unit "unit/${binary#*/unit/}" "$binary"
done
for binary in "$SAN_BUILD"/replay/fuzz_*; do
	[ -x "$binary" ] || continue
	case $binary in *.d) continue ;; esac
	target=$(basename "$binary")
	start run_one "corpus/${target#fuzz_}" "$binary" "tests/fuzz/corpus/${target#fuzz_}"
done
start run_one sip/scenarios tests/sip/run-scenarios "$BUILD"
finish_all

places=1
for script in tests/guest/*.sh tests/net/*.sh; do
	name=${script#tests/}
	if [[ $name == guest/* ]] || is_alone "$script"; then start run_one "${name%.sh}" "$script"; fi
done
finish_all

echo
[ ${#failures[@]} -eq 0 ] || printf 'failed: %s\n' "${failures[*]}"
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
