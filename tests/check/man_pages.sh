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
for program in ringgated:8 ringgatectl:1 ringgate-sim:1 ringgate-enrolld:8; do
	name=${program%:*}
	page=docs/man/$name.${program#*:}
	text=$(mandoc -T ascii "$page" | sed 's/.\x08//g')
	for option in $("$BUILD/$name" --help | grep -oE -- '--[a-z-]+' | sort -u); do
		grep -qF -- "$option" <<<"$text" || { echo "$page does not explain $option"; status=1; }
	done
done
text=$(mandoc -T ascii docs/man/ringgate.conf.5 | sed 's/.\x08//g')
for setting in $(sed -n 's/^\t*{"[a-z]*", "\([a-z-]*\)", set_.*/\1/p' userspace/node/settings.c); do
	grep -qE "(^|[[:space:]])$setting([[:space:],]|$)" <<<"$text" || { echo "ringgate.conf.5 does not explain $setting"; status=1; }
done
text=$(mandoc -T ascii docs/man/ringgate-enrolld.conf.5 | sed 's/.\x08//g')
for setting in $(sed -n 's/^\t*{"[a-z]*", "\([a-z-]*\)", offsetof.*/\1/p; s/.*strcmp(name, "\([a-z-]*\)").*/\1/p' userspace/enroll/enroll_settings.c); do
	grep -qE "(^|[[:space:]])$setting([[:space:],]|$)" <<<"$text" || { echo "ringgate-enrolld.conf.5 does not explain $setting"; status=1; }
done
text=$(mandoc -T ascii docs/man/ringgate-appliance.8 | sed 's/.\x08//g')
export RINGGATE_LIBRARY=$PWD/images/tree/usr/lib/ringgate
for word in $(images/tree/usr/sbin/ringgate-appliance help settings | sed -nE 's/^  ([a-z-]+) = .*/\1/p') \
	$(images/tree/usr/sbin/ringgate-appliance --help | sed -nE 's/^  ([a-z]+) .*/\1/p') \
	$(images/tree/usr/sbin/ringgate-appliance --help | grep -oE -- '--[a-z-]+'); do
	grep -qE -- "(^|[[:space:]])$word([[:space:],.]|$)" <<<"$text" || { echo "ringgate-appliance.8 does not explain $word"; status=1; }
done
exit $status
