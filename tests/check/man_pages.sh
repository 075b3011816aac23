#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Each program and file format has a man page without formatting errors, and every option of --help and every setting stands in it.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
status=0
for page in docs/man/ringgated.8 docs/man/ringgatectl.1 docs/man/ringgate-sim.1 docs/man/ringgate.conf.5 docs/man/ringgate-enrolld.8 \
	docs/man/ringgate-enrolld.conf.5 docs/man/ringgate-appliance.8; do
	[ -s "$page" ] || { echo "$page is missing"; status=1; continue; }
	warnings=$(mandoc -T lint -W warning "$page" 2>&1 | grep -vE 'referenced manual not found|operating system' | grep -E ': (WARNING|ERROR|UNSUPP)')
	[ -z "$warnings" ] || { echo "$warnings"; status=1; }
done

# explained PAGE WORD…: each stands in it. No words at all: what they are taken from has changed, and nothing is checked.
checked=0
explained() {
	local page=$1 text word
	shift
	[ $# -gt 0 ] || { echo "nothing is known that $page could explain"; status=1; }
	text=$(mandoc -T ascii "docs/man/$page" | sed 's/.\x08//g')
	for word in "$@"; do
		grep -qE -- "(^|[^a-z-])$word([^a-z-]|$)" <<<"$text" || { echo "$page does not explain $word"; status=1; }
	done
	checked=$((checked + $#))
}
long_options() { grep -oE -- '--[a-z-]+' | sort -u; }

for program in ringgated:8 ringgatectl:1 ringgate-sim:1 ringgate-enrolld:8; do
	explained "${program%:*}.${program#*:}" $("$BUILD/${program%:*}" --help | long_options)
done
explained ringgate.conf.5 $(sed -n 's/^\t*{"[a-z]*", "\([a-z-]*\)", set_.*/\1/p' userspace/node/settings_values.c)
explained ringgate-enrolld.conf.5 $(sed -n 's/^\t*{"[a-z]*", "\([a-z-]*\)", offsetof.*/\1/p; s/.*strcmp(name, "\([a-z-]*\)").*/\1/p' \
	userspace/enroll/enroll_settings.c)
export RINGGATE_LIBRARY=$PWD/images/tree/usr/lib/ringgate
explained ringgate-appliance.8 $(images/tree/usr/sbin/ringgate-appliance help settings | sed -nE 's/^  ([a-z-]+) = .*/\1/p')
explained ringgate-appliance.8 $(images/tree/usr/sbin/ringgate-appliance --help | sed -nE 's/^  ([a-z]+) .*/\1/p')
explained ringgate-appliance.8 $(images/tree/usr/sbin/ringgate-appliance --help | long_options)
echo "$checked options, settings and commands are explained"
exit $status
