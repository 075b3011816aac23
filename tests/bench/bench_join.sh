#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# 50 enrolled gateways, each a daemon in a namespace of its own, join the overlay of a first one at once. join_s_p50 and join_s_p95: seconds
# from the start of a daemon until it is in the overlay. All have to succeed. JOIN_PEERS=N for another number.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
PEERS=${JOIN_PEERS:-50}
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' HUP INT TERM
die() { echo "$*" >&2; exit 1; }

network_require
network_open || die "no bridge"
# Real sites have a router each. All namespaces of a machine share one table of neighbours (gc_thresh3, 1024 of them), which so many in one
# subnet would fill; so the bridge is their router.
network_in lan ip address add 192.0.2.1/24 dev lan
network_in lan ip address add 2001:db8:6084::1/64 dev lan nodad
network_in lan sh -c 'for f in ipv4/conf/all/send_redirects ipv4/conf/lan/send_redirects; do echo 0 >/proc/sys/net/$f; done
	for f in ipv4/ip_forward ipv6/conf/all/forwarding; do echo 1 >/proc/sys/net/$f; done'
routed() {
	network_in "g$1" ip route add 192.0.2.1 dev lan
	network_in "g$1" ip route replace 192.0.2.0/24 via 192.0.2.1 dev lan src "$(gateway_address "$1")"
	network_in "g$1" ip -6 route add 2001:db8:6084::1 dev lan
	network_in "g$1" ip -6 route replace 2001:db8:6084::/64 via 2001:db8:6084::1 dev lan metric 1
}
overlay_create >&2 || die "no overlay"
for number in $(seq $((PEERS + 1))); do
	gateway_create "$number" >&2 && routed "$number" >&2 || die "gateway $number cannot be made"
done
gateway_start 1 >&2 && gateway_wait 1 || die "gateway 1 does not start the overlay"
python3 tests/bench/join_at_once.py "$BUILD/ringgated" "$NETWORK" "$WORK" 2 $((PEERS + 1)) || die "not all have joined"
