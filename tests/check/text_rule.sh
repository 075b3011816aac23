#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Every source file names its license, and no unfinished mark stands in the code.
set -u
cd "$(dirname "$0")/../.." || exit 1
git() { command git -c safe.directory="$PWD" "$@"; } # root in the clone of somebody else
status=0
while read -r file; do
	head -n 3 "$file" | grep -q 'SPDX-License-Identifier: ' || { echo "$file: no license line"; status=1; }
done < <(git ls-files '*.c' '*.h' '*.sh' Makefile)
if git grep -nE '\b(TODO|FIXME|XXX)\b' -- '*.c' '*.h' '*.sh' Makefile ':!tests/check/text_rule.sh'; then
	echo "unfinished marks stand in the lines above"
	status=1
fi
exit $status
