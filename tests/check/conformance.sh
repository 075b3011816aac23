#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Builds docs/conformance.md from docs/requirements.tsv and the requirement IDs that stand in code and tests.
#   conformance.sh          writes the table
#   conformance.sh --check  fails when the committed table is not what would be written
set -u
cd "$(dirname "$0")/../.." || exit 1
git() { command git -c safe.directory="$PWD" "$@"; } # root in the clone of somebody else
export LC_ALL=C
new=$(mktemp)
trap 'rm -f "$new" "$new.ids"' EXIT

# ID<tab>file, for ranges and short forms too: B-7.4.1-07/08, FW-S01..S07, Q-53.
git ls-files 'bpf/*' 'userspace/*' 'tests/*' | grep -E '\.(c|h|sh|xml)$' | xargs awk '
function note(id) { if (!((id, FILENAME) in seen)) { seen[id, FILENAME] = 1; print id "\t" FILENAME } }
{
	line = $0
	while (match(line, /(B|S|R|G|T|D|Y|H|C)-[0-9]+(\.[0-9]+)*-[0-9][0-9]([\/,] ?-?[0-9][0-9])*|FW-[A-F|S][0-9][0-9]((\.\.|\/|, )(FW-)?[A-F|S]?[0-9][0-9])*/)) {
		word = substr(line, RSTART, RLENGTH)
		line = substr(line, RSTART + RLENGTH)
		if (word ~ /^FW-/) {
			if (word ~ /\.\./) {
				letter = substr(word, 4, 1); first = substr(word, 5, 2) + 0
				last = substr(word, length(word) - 1) + 0
				for (i = first; i <= last; i++) note(sprintf("FW-%s%02d", letter, i))
			} else {
				letter = substr(word, 4, 1)
				gsub(/FW-/, "", word)
				count = split(word, parts, /\/|, /)
				for (i = 1; i <= count; i++) {
					if (parts[i] ~ /^[A-Z]/) letter = substr(parts[i], 1, 1)
					sub(/^[A-Z]/, "", parts[i])
					note("FW-" letter parts[i])
				}
			}
		} else {
			stem = word
			match(word, /^[A-Z]-[0-9]+(\.[0-9]+)*-/)
			stem = substr(word, 1, RLENGTH)
			rest = substr(word, RLENGTH + 1)
			count = split(rest, parts, /[\/,] ?-?/)
			for (i = 1; i <= count; i++) note(stem parts[i])
		}
	}
}' | sort -u >"$new.ids"

awk -F'\t' '
NR == FNR {
	where = $2
	kind = where ~ /^tests\// ? "test" : "code"
	sub(/^userspace\//, "", where); sub(/^tests\//, "", where)
	place[$1, kind] = place[$1, kind] (place[$1, kind] ? ", " : "") "`" where "`"
	next
}
FNR == 1 {
	print "# Conformance"
	print ""
	print "Which requirement of the checklist is enforced where, and by which test. Built by `tests/check/conformance.sh` from the requirement IDs in"
	print "the code (paths below `userspace/`, or `bpf/`) and in the tests (below `tests/`); `make check` fails when it is out of date."
	print "An empty cell means that no line claims the requirement yet: it belongs to a part that does not exist, or needs no line of its own."
	print ""
}
{
	split($1, part, "-")
	group = part[1]
	if (group != last) {
		print (last ? "\n" : "") "## " title($1)
		print ""
		print "| ID | Level | Requirement | Code | Tests |"
		print "|---|---|---|---|---|"
		last = group
	}
	total++
	if (place[$1, "code"]) code++
	if (place[$1, "test"]) test++
	print "| " $1 " | " $2 " | " $3 " | " place[$1, "code"] " | " place[$1, "test"] " |"
}
function title(id) {
	if (id ~ /^FW/) return "Transit forwarding (RFC 6940 6.1 to 6.7)"
	if (id ~ /^B/) return "RELOAD base protocol (RFC 6940)"
	if (id ~ /^S/) return "SIP usage (RFC 7904)"
	if (id ~ /^C/) return "Concepts (RFC 7890)"
	return id
}
END { printf "\n%d requirements; %d named in code, %d named in tests.\n", total, code, test }
' "$new.ids" docs/requirements.tsv >"$new"

if [ "${1:-}" = --check ]; then
	diff -u docs/conformance.md "$new" | head -n 40
	cmp -s docs/conformance.md "$new" || { echo "docs/conformance.md is out of date; run tests/check/conformance.sh"; exit 1; }
	tail -n 1 "$new"
else
	cp "$new" docs/conformance.md
	tail -n 1 "$new"
fi
