#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What REGISTERs cost a gateway of an overlay of two, with all there is to it: written to the database before it is answered, signed and
# stored at the peer in charge, which is the gateway itself for half of the users. sip_register_stored_us: processor time of the daemon
# for each new one, which is stored in the overlay before it is answered; sip_register_renewed_us: for each that repeats the one before,
# which is not as long as the overlay has the record for a while. Phones are across a bridge. bench_sip has the latter over loopback.
#   REGISTER_USERS=N   how many users (default 32)
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
USERS=${REGISTER_USERS:-32}
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' HUP INT TERM
die() { echo "$*" >&2; tail -n 3 "$WORK"/gateway-*/log >&2; exit 1; }

network_require
network_open || die "no bridge"
overlay_create >&2 || die "no overlay"
users=()
for ((i = 0; i < USERS; i++)); do users+=("user$i@$OVERLAY"); done
gateway_create 1 >&2 && gateway_create 2 "${users[@]}" >&2 || die "no gateways"
gateway_start 1 >&2 && gateway_wait 1 && gateway_start 2 >&2 && gateway_wait 2 1 || die "the gateways do not start"
network_site phone 192.0.2.6
network_in phone python3 tests/bench/register_stored.py "$(gateway_address 2)" 5060 "$OVERLAY" "$USERS" "${GATEWAY_PID[2]}" ||
	die "not all REGISTERs were answered"
