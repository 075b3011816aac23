#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Two machines with one identity, as a copied disk makes them: the second one notices, says so and ends, through another gateway as well
# as at the first one itself; the first one serves on and keeps its links. When the first one is gone, the second takes its place.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
die() { echo "$*"; tail -n 8 "$WORK"/gateway-*/log; exit 1; }

network_require
network_open
overlay_create || die "no overlay"
for number in 1 2 3; do gateway_create "$number" || die "gateway $number"; done
# Gateways 4 and 5 are copies of 2 and 1.
copy() { # OF NUMBER
	local address
	address=$(gateway_address "$2")
	network_site "g$2" "$address"
	cp -a "$WORK/gateway-$1" "$WORK/gateway-$2"
	rm -f "$WORK/gateway-$2/control" "$WORK/gateway-$2/log"
	sed -i "s|gateway-$1|gateway-$2|g; s|$(gateway_address "$1"):|$address:|g; s|6084::$((10 + $1))\]|6084::$((10 + $2))]|" "$WORK/gateway-$2/ringgate.conf"
}
for number in 1 2 3; do gateway_start "$number" && gateway_wait "$number" || die "gateway $number does not start"; done
for number in 1 2 3; do gateway_wait "$number" 2 || die "gateway $number is not connected"; done
copy 2 4
copy 1 5
downs() { gateway_ctl "$1" metrics | sed -n 's/^ringgate_handshakes_done_total //p'; }

turned_away() { # NUMBER
	local status=0
	: >"$WORK/gateway-$1/log"
	gateway_start "$1" || die "gateway $1 does not start"
	timeout --foreground 60 tail -f /dev/null --pid="${GATEWAY_PID[$1]}" || die "gateway $1 does not notice"
	wait "${GATEWAY_PID[$1]}" || status=$?
	[ $status -eq 78 ] || die "gateway $1 ended with status $status"
	grep -q "Another machine with the identity of this one" "$WORK/gateway-$1/log" || die "gateway $1 does not say why"
	! grep -q "Joined through" "$WORK/gateway-$1/log" || die "gateway $1 was in the overlay"
}
before=$(downs 2)
turned_away 4
grep -q "Two nodes have the Node-ID" "$WORK"/gateway-[13]/log || die "nobody else noticed"
[ "$(downs 2)" = "$before" ] || die "gateway 2 lost links to its copy"
for number in 1 2 3; do gateway_wait "$number" 2 5 || die "gateway $number lost somebody"; done
gateway_ctl 3 ping "$(gateway_ctl 2 status --json | sed -n 's/.*"node_id": "\([0-9a-f]*\)".*/\1/p')" >/dev/null || die "gateway 2 does not answer"
echo "a copy of gateway 2 ends by itself, and gateway 2 has noticed nothing"

# The address of the document is that of the first one itself; the copy knows no other.
rm -f "$WORK/gateway-5/peers"
turned_away 5
echo "a copy of gateway 1 ends, too, although it meets only gateway 1"

gateway_kill 2
: >"$WORK/gateway-4/log"
gateway_start 4 && gateway_wait 4 2 || die "the copy does not take the place of one that is gone"
turned_away 2
echo "with gateway 2 gone its copy takes its place, and then gateway 2 stays out"
