#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# 100,000 malformed, truncated or bit-flipped messages and datagrams at a live peer in each of two builds. With sanitizers: it keeps
# answering and ends without a finding or a leak. Plain: its memory stays flat. Drops are counted by reason. B-6.1-01 FW-A02
set -u
cd "$(dirname "$0")/../.." || exit 1
plain=$(realpath "${BUILD:-build}")
sanitized=$(realpath "${SAN_BUILD:-$plain-san}")
COUNT=${COUNT:-50000}
NEIGHBOR_CHECK=5000
LOG_LEVEL=notice
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'trap "" HUP INT TERM; network_close; rm -rf "${WORK:-}"' EXIT
trap 'exit 130' HUP INT TERM
die() { echo "$*"; tail -n 20 "$WORK"/gateway-*/log; exit 1; }
memory_kb() { sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/${GATEWAY_PID[1]}/status"; }
attack() { network_in g3 "$plain/net/hostile_peer" "$WORK/ca/overlay.xml" "$WORK/hostile.crt" "$WORK/hostile.key" "$(gateway_address 3)" "$(gateway_address 1):6084" "$1"; }

begin() { # a two-peer overlay and a third site for the attacker
	WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
	network_open
	overlay_create --update-interval 60 || die "no overlay"
	gateway_create 1 && gateway_create 2 && network_site g3 "$(gateway_address 3)" || die "no gateways"
	overlay_issue --output "$WORK/hostile"
	gateway_start 1 && gateway_wait 1 && gateway_start 2 && gateway_wait 2 1 || die "no overlay of two"
}

end() {
	gateway_ctl 1 drops >"$WORK/drops" || die "peer 1 does not answer its operator"
	[ "$(awk '{ n += $1 } END { print n + 0 }' "$WORK/drops")" -gt "$COUNT" ] || { cat "$WORK/drops"; die "too few drops are counted"; }
	[ "$(wc -l <"$WORK/drops")" -ge 8 ] || { cat "$WORK/drops"; die "too few reasons are counted"; }
	# Nearly all of the messages arrived: what was under way when the peer closed a link for good reason is not counted as sent.
	received=$(gateway_ctl 1 metrics | sed -n 's/^ringgate_messages_received_total //p')
	[ "$received" -ge "$COUNT" ] || die "only $received messages arrived"
	gateway_ctl 2 ping "$(gateway_ctl 1 status --json | sed -n 's/.*"node_id": "\([0-9a-f]*\)".*/\1/p')" || die "peer 1 does not answer its neighbor"
	gateway_stop 2 || die "peer 2 did not end well"
	gateway_stop 1 || die "peer 1 did not end well"
	if grep -lE 'AddressSanitizer|LeakSanitizer|runtime error' "$WORK"/gateway-*/log; then
		grep -hE -A 20 'AddressSanitizer|LeakSanitizer|runtime error' "$WORK"/gateway-*/log | head -60
		die "a sanitizer spoke"
	fi
	network_close
}

network_require
BUILD=$sanitized
begin
attack "$COUNT" || die "under sanitizers"
end
cat "$WORK/drops"
rm -rf "$WORK"

BUILD=$plain
begin
attack $((COUNT / 5)) || die "warming up"
before=$(memory_kb)
attack "$COUNT" || die "plain"
after=$(memory_kb)
end
echo "$((2 * COUNT)) messages and datagrams: answers throughout, $before KB before and $after KB after"
[ $((after - before)) -le 4096 ] || { echo "memory grew by more than 4 MB"; exit 1; }
