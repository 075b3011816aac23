#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Installs the Debian packages that are named, as far as they are missing, from the machine's own package sources.
# Asks nobody and needs neither root nor network when all are there.
set -u
there=" $(dpkg-query -W -f '${db:Status-Status}:${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed://p' | tr '\n' ' ')"
missing=()
for package in "$@"; do
	[[ $there == *" $package "* ]] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
	printf '%s\n' "This machine has no apt-get. Install by hand what these Debian packages hold: ${missing[*]}" \
		"and add DEPENDENCIES= to the make command."
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	printf '%s\n' "These packages are missing, and only root can install them:" "  apt-get install --no-install-recommends ${missing[*]}"
	exit 1
fi

log=$(mktemp)
trap 'rm -f "$log" "$log.update"' EXIT
trap 'exit 130' HUP INT TERM
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >"$log" 2>&1 </dev/null; }
echo "Installing: ${missing[*]}"
# The lists of packages are fetched only when what the machine has does not do. One source of several that does not answer may not matter.
update() {
	apt-get update -o APT::Update::Error-Mode=any >"$log.update" 2>&1 </dev/null || return 0
	rm -f "$log.update"
}
install || { update && install; } || {
	if [ -s "$log.update" ]; then grep '^E:' "$log.update"; else tail -n 15 "$log"; fi
	echo "The packages could not be installed: see above, and whether this machine reaches its package sources (/etc/apt)."
	exit 1
}
