#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Unmodified phones at two sites, with passwords, call each other through two gateways: audio both ways, cancel, transfer.
#   BARESIP_ALL=1   all modes, not only proxy
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
command -v baresip >/dev/null || { echo "SKIP: baresip is missing (package baresip-core)"; exit 77; }
. appliance/trial/network.sh
. appliance/trial/overlay.sh
network_require
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' HUP INT TERM
fail() {
	echo "FAIL: $*"
	for log in "$WORK"/gateway-*/log; do tail -n 5 "$log"; done
	exit 1
}

network_open || fail "the bridge cannot be made"
overlay_create || fail "the overlay cannot be made"
# Each gateway serves the phones of its own site only.
export SIP_AUTHENTICATION=yes
SIP_ALLOW="192.0.2.101 192.0.2.103" gateway_create 1 "alice@$OVERLAY" "carol@$OVERLAY" || fail "gateway 1 cannot be made"
SIP_ALLOW=192.0.2.102 gateway_create 2 "bob@$OVERLAY" || fail "gateway 2 cannot be made"
# baresip of Debian 12 fails at the first algorithm that it does not know.
password() { "$BUILD/ringgatectl" sip passwd "$1@$OVERLAY" --directory "$WORK/gateway-$2" --password-file - <<<"lamp-$1-73" >/dev/null; }
password alice 1 && password carol 1 && password bob 2 || fail "no passwords"
for number in 1 2; do
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=gateway $number" \
		-addext "subjectAltName=IP:$(gateway_address $number)" -keyout "$WORK/gateway-$number/sip.key" \
		-out "$WORK/gateway-$number/sip.crt" 2>/dev/null || fail "no certificate for phones"
	sed -i "/^\\[sip\\]/a digest-algorithms = MD5\ntls-certificate = $WORK/gateway-$number/sip.crt\ntls-key = $WORK/gateway-$number/sip.key" \
		"$WORK/gateway-$number/ringgate.conf"
done
cat "$WORK"/gateway-*/sip.crt >"$WORK/ca/sip-ca.pem"
network_site alice 192.0.2.101
network_site bob 192.0.2.102
network_site carol 192.0.2.103

calls() {
	local mode=$1 transport=$2
	python3 tests/net/phones.py "$mode" "$transport" "$OVERLAY" "$WORK" \
		"alice=$NETWORK-alice=192.0.2.101=$(gateway_address 1)" "bob=$NETWORK-bob=192.0.2.102=$(gateway_address 2)" \
		"carol=$NETWORK-carol=192.0.2.103=$(gateway_address 1)"
}

for mode in proxy ${BARESIP_ALL:+redirect redirect-inside}; do
	for number in 1 2; do
		sed -i '/^mode = /d' "$WORK/gateway-$number/ringgate.conf"
		sed -i "/^\\[sip\\]/a mode = $mode" "$WORK/gateway-$number/ringgate.conf"
	done
	gateway_start 1 && gateway_wait 1 && gateway_start 2 && gateway_wait 2 1 && gateway_wait 1 1 || fail "the gateways do not join"
	transports="udp tcp"
	[ "$mode" = proxy ] && transports="udp tcp tls" # who is redirected would have to trust every other phone
	for transport in $transports; do
		calls "$mode" "$transport"
		status=$?
		[ $status -eq 77 ] && exit 77
		[ $status -eq 0 ] || fail "$mode over $transport"
	done
	for number in 2 1; do
		gateway_stop $number
		: >"$WORK/gateway-$number/log"
	done
done
