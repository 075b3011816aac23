#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Each service is locked in: an exposure of at most 2.5 for the gateway, which loads kernel programs, and 1.5 for the others, as
# systemd-analyze counts it. Its programs and man pages are those we install.
set -u
cd "$(dirname "$0")/../.." || exit 1
command -v systemd-analyze >/dev/null || { echo "SKIP: systemd-analyze is missing (package systemd)"; exit 77; }
status=0
for unit in appliance/*.service; do
	case $unit in */ringgated.service) most=25 ;; *) most=15 ;; esac
	systemd-analyze security --offline=yes --threshold=$most "$unit" >/tmp/units.$$ 2>&1 || { tail -n 1 /tmp/units.$$; status=1; }
	grep -o 'exposure level for .*' /tmp/units.$$ | tail -n 1
	program=$(sed -n 's/^ExecStart=[^ ]*\/\([^ /]*\).*/\1/p' "$unit")
	grep -q "^PROGRAMS :=.*\b$program\b" Makefile || { echo "$unit starts $program, which is not built"; status=1; }
	name=$(basename "$unit" .service)
	for each in "${name%d}" "$name"; do [ ! -e "appliance/$each.tmpfiles" ] || systemd-tmpfiles --cat-config "$PWD/appliance/$each.tmpfiles" >/dev/null || status=1; done
	for page in $(grep -o 'man:[a-z.-]*([0-9])' "$unit" | sed 's/man:\(.*\)(\([0-9]\))/\1.\2/'); do
		[ -s "docs/man/$page" ] || { echo "$unit names $page, which there is not"; status=1; }
	done
done
rm -f /tmp/units.$$
exit $status
