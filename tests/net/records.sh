#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# 16 peers, 1000 records: every record from every peer; two adjacent peers killed at once: still every record; a killed peer comes back
# with its Node-ID and its data. B-10.4-01 B-10.7.1-01 B-10.7.3-03
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
PEERS=${PEERS:-16}
RECORDS=${RECORDS:-1000}
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
LOG_LEVEL=notice
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'trap "" HUP INT TERM; network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' HUP INT TERM
die() { echo "$*"; tail -n 3 "$WORK"/gateway-*/log; exit 1; }
sockets() { local number; for number in "$@"; do echo "$WORK/gateway-$number/control"; done; }
node_id() { gateway_ctl "$1" status --json | sed -n 's/.*"node_id": "\([0-9a-f]*\)".*/\1/p'; }

network_require
network_open
overlay_create --require-kind 0xf0000001:SINGLE:NODE-MULTIPLE:1:2000:255 --update-interval 60 || die "no overlay"
for number in $(seq "$PEERS"); do gateway_create "$number" || die "gateway $number"; done
gateway_start 1 && gateway_wait 1 || die "gateway 1"
for number in $(seq 2 "$PEERS"); do gateway_start "$number" || die "gateway $number"; done
declare -A id
for number in $(seq "$PEERS"); do
	gateway_wait "$number" 6 120 || die "gateway $number does not join"
	id[$number]=$(node_id "$number")
done
all=($(seq "$PEERS"))
echo "$PEERS peers are in the ring"

python3 tests/net/records.py store "$RECORDS" "$WORK/records.json" $(sockets "${all[@]}") || die "store"
python3 tests/net/records.py fetch "$WORK/records.json" $(sockets "${all[@]}") || die "fetch"

# Two neighbors on the ring, neither of them the bootstrap node.
ring=($(for number in "${all[@]}"; do echo "${id[$number]} $number"; done | sort | awk '{ print $2 }'))
for place in "${!ring[@]}"; do
	first=${ring[$place]} second=${ring[$(((place + 1) % PEERS))]}
	[ "$first" -ne 1 ] && [ "$second" -ne 1 ] && break
done
held=$(gateway_ctl "$second" status --json | sed -n 's/.*"records": \([0-9]*\).*/\1/p')
kill -KILL "${GATEWAY_PID[$first]}" "${GATEWAY_PID[$second]}"
wait "${GATEWAY_PID[$first]}" "${GATEWAY_PID[$second]}" 2>/dev/null
left=()
for number in "${all[@]}"; do [ "$number" -ne "$first" ] && [ "$number" -ne "$second" ] && left+=("$number"); done
echo "peers $first and $second, neighbors on the ring, were killed at once"
python3 tests/net/records.py fetch-any "$WORK/records.json" $(sockets "${left[@]}") || die "fetch while the ring heals"
python3 tests/net/records.py fetch "$WORK/records.json" $(sockets "${left[@]}") || die "fetch after two peers were killed"

: >"$WORK/gateway-$second/log"
gateway_start "$second" && gateway_wait "$second" 6 120 || die "gateway $second does not come back"
[ "$(node_id "$second")" = "${id[$second]}" ] || die "gateway $second came back with another Node-ID"
back=$(gateway_ctl "$second" status --json | sed -n 's/.*"records": \([0-9]*\).*/\1/p')
[ "$held" -gt 0 ] && [ "$back" -gt 0 ] || die "gateway $second held $held values before and $back after the restart"
python3 tests/net/records.py fetch "$WORK/records.json" $(sockets "$second" "${left[0]}") || die "fetch after the restart"
echo "$RECORDS records on $PEERS peers survive two neighbors killed at once; peer $second is back with its Node-ID and $back values ($held before)"
