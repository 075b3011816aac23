#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Damaged SIP messages, made of the torture tests of RFC 4475, at a live gateway built with sanitizers, as redirector and as proxy.
#   SIP_MUTATIONS=N   how many in each mode (default 3000; the whole is 100000), SEED=N which ones
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${SAN_BUILD:-${BUILD:-build}-san}")
[ -x "$BUILD/ringgated" ] || { echo "SKIP: there is no build with sanitizers (make SAN=1 programs)"; exit 77; }
. appliance/trial/network.sh
. appliance/trial/overlay.sh
network_require
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' HUP INT TERM
fail() {
	echo "FAIL: $*"
	tail -n 40 "$WORK/gateway-1/log"
	exit 1
}

network_open || fail "the bridge cannot be made"
overlay_create || fail "the overlay cannot be made"
gateway_create 1 "alice@$OVERLAY" "bob@$OVERLAY" || fail "the gateway cannot be made"
network_site phone 192.0.2.5
for mode in redirect proxy; do
	sed -i '/^mode = /d' "$WORK/gateway-1/ringgate.conf"
	sed -i "/^\\[sip\\]/a mode = $mode" "$WORK/gateway-1/ringgate.conf"
	gateway_start 1 && gateway_wait 1 || fail "the gateway does not start"
	network_in phone python3 tests/net/sip_mutations.py 192.0.2.11 5060 "${SIP_MUTATIONS:-3000}" "${SEED:-4475}" tests/sip/torture/*.dat ||
		fail "as $mode"
	gateway_stop 1 || fail "the gateway did not end in order (status $?)"
	grep -qE "runtime error|AddressSanitizer|LeakSanitizer" "$WORK/gateway-1/log" && fail "a sanitizer has spoken"
	: >"$WORK/gateway-1/log"
done
