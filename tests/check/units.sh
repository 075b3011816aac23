#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Each service is locked in: an exposure of at most 1.5 as systemd-analyze counts it. Its programs and man pages are those we install.
set -u
cd "$(dirname "$0")/../.." || exit 1
command -v systemd-analyze >/dev/null || { echo "SKIP: systemd-analyze is missing (package systemd)"; exit 77; }
status=0
for unit in appliance/*.service; do
	systemd-analyze security --offline=yes --threshold=15 "$unit" >/tmp/units.$$ 2>&1 || { tail -n 1 /tmp/units.$$; status=1; }
	grep -o 'exposure level for .*' /tmp/units.$$ | tail -n 1
	program=$(sed -n 's/^ExecStart=[^ ]*\/\([^ /]*\).*/\1/p' "$unit")
	grep -q "^PROGRAMS :=.*\b$program\b" Makefile || { echo "$unit starts $program, which is not built"; status=1; }
	grep -q "$(basename "$unit")" Makefile || { echo "$unit is not installed"; status=1; }
	for page in $(grep -o 'man:[a-z.-]*([0-9])' "$unit" | sed 's/man:\(.*\)(\([0-9]\))/\1.\2/'); do
		[ -s "docs/man/$page" ] || { echo "$unit names $page, which there is not"; status=1; }
	done
done
rm -f /tmp/units.$$
exit $status
