#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# make coverage: which lines and branches of the sources the tests reach. BUILD is a build with --coverage. Runs its unit tests and
# corpora, with COVERAGE_NET=1 the network tests also; prints a table by folder and leaves $BUILD/html/index.html and
# $BUILD/coverage.json. COVERAGE_RUN=0: no tests, only the tables of what has run before.
set -u
cd "$(dirname "$0")/../.." || exit 1
export BUILD=${BUILD:-build-coverage}
export SAN_BUILD=$BUILD
status=0
if [ "${COVERAGE_RUN:-1}" -ne 0 ]; then
	find "$BUILD" -name '*.gcda' -delete
	words=(unit/ corpus/)
	[ "${COVERAGE_NET:-0}" -eq 0 ] || words+=(sip/ net/)
	tests/run-tests.sh "${words[@]}" || status=$?
fi
mkdir -p "$BUILD/html"
# A daemon that is killed in the middle of writing what it has reached leaves a file that cannot be read.
gcovr --root . --filter userspace/ --filter bpf/ --object-directory "$BUILD" --gcov-ignore-parse-errors --exclude-unreachable-branches \
	--exclude-throw-branches --json "$BUILD/coverage.json" --html-details "$BUILD/html/index.html" >"$BUILD/gcovr.log" 2>&1 || {
	tail -n 20 "$BUILD/gcovr.log"
	exit 1
}
python3 tests/coverage/table.py "$BUILD/coverage.json" || exit 1
echo "every line: $BUILD/html/index.html"
exit $status
