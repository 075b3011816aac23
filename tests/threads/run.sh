#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# make check-threads: what uses threads, under the thread sanitizer, which sees accesses that nothing puts in an order. BUILD is the
# build with it: the unit tests found there, and the network tests named here, whose daemons it also watches.
set -u
cd "$(dirname "$0")/../.." || exit 1
export BUILD=${BUILD:-build-tsan}
export SAN_BUILD=$BUILD
races=$PWD/$BUILD/tests/race
mkdir -p "$BUILD/tests"
rm -f "$races".*
# A race does not end the program, so that a test shows all of them; daemons run with other directories than ours.
export TSAN_OPTIONS="log_path=$races exitcode=66 second_deadlock_stack=1 suppressions=$PWD/tests/threads/suppressions"
[ $# -gt 0 ] || set -- unit/ net/three_sites net/enroll net/fastpath_restart
# Its shadow memory has fixed places, which some kernels' randomization of addresses takes.
setarch -R tests/run-tests.sh "$@"
status=$?
if compgen -G "$races.*" >/dev/null; then
	cat "$races".* | grep -A12 '^WARNING' | head -n 100
	echo "the thread sanitizer has found something: $(grep -h '^SUMMARY' "$races".* | sort | uniq -c)"
	exit 1
fi
exit $status
