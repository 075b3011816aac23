#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The shells complete what --help says: commands, their second words, options and files; zsh as far as it is installed.
set -u
cd "$(dirname "$0")/../.." || exit 1
PATH=$(realpath "${BUILD:-build}"):$PATH
. appliance/completion/ringgate.bash
status=0

# completes WORD… EXPECTED: the last word of the line is completed; EXPECTED is a list of words that have to be among the answers.
completes() {
	local expected=${!#} each
	COMP_WORDS=("${@:1:$#-1}")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_ringgate "$1"
	for each in $expected; do
		[[ " ${COMPREPLY[*]} " == *" $each "* ]] || { echo "${COMP_WORDS[*]}: $each is missing in: ${COMPREPLY[*]}"; status=1; }
	done
}
completes ringgatectl '' "status peers ring drops fastpath wait fetch resolve overlay user node enroll"
completes ringgatectl --json sta status
completes ringgatectl --socket /run/x overlay '' "create issue show sign publish"
completes ringgatectl user '' "add passwd disable enable list"
completes ringgatectl --js --json
completes ringgatectl enroll --ca-file appliance/ringgate.c appliance/ringgate.conf
completes ringgated --co --config
completes ringgated --config appliance/ringgate.c appliance/ringgate.conf
completes ringgate-enrolld --he --help
completes ringgate-sim --he --help
completes ringgatectl overlay cr create
[ "${#COMPREPLY[@]}" -eq 1 ] || { echo "overlay cr: one answer expected: ${COMPREPLY[*]}"; status=1; }
words=$(_ringgate_commands ringgatectl | wc -l)
[ "$words" -ge 20 ] || { echo "only $words commands were found in the help"; status=1; }
if command -v zsh >/dev/null; then
	zsh -n appliance/completion/_ringgate || { echo "zsh does not read its completion"; status=1; }
fi
[ $status -eq 0 ] && echo "$words commands are completed"
exit $status
