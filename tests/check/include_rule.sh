#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A folder of userspace/ may include only folders in front of it in this list (docs/architecture.md).
set -u
cd "$(dirname "$0")/../.." || exit 1
order="base wire overlay link fastpath forward topology storage usages sip enroll node control sim cmd"
declare -A rank
position=0
for folder in $order; do
	rank[$folder]=$position
	position=$((position + 1))
done
status=0
checked=0
while IFS=: read -r file line text; do
	from=$(echo "$file" | cut -d/ -f2)
	to=$(echo "$text" | sed -n 's|.*#include "\([a-z]*\)/.*|\1|p')
	[ -n "$to" ] || continue
	checked=$((checked + 1))
	if [ -z "${rank[$from]:-}" ] || [ -z "${rank[$to]:-}" ]; then
		echo "$file:$line: folder \"$from\" or \"$to\" is not in the list"
		status=1
	elif [ "${rank[$to]}" -gt "${rank[$from]}" ]; then
		echo "$file:$line: $from may not include $to"
		status=1
	fi
done < <(grep -nE '^#include "[a-z]+/' -r userspace --include='*.c' --include='*.h')
[ "$checked" -gt 0 ] || { echo "no include was found to check"; exit 1; }
[ $status -eq 0 ] && echo "$checked includes follow the order of folders"
exit $status
