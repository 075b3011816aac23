#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Unmodified phones at two sites, with passwords, call each other through two gateways: audio both ways, cancel, transfer; over UDP, TCP
# and TLS, with TLS between the gateways, and over IPv6.
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
SIP_ALLOW="192.0.2.101 192.0.2.103 2001:db8:6084::101 2001:db8:6084::103" gateway_create 1 "alice@$OVERLAY" "carol@$OVERLAY" || fail "gateway 1 cannot be made"
SIP_ALLOW="192.0.2.102 2001:db8:6084::102" gateway_create 2 "bob@$OVERLAY" || fail "gateway 2 cannot be made"
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

calls() { # MODE TRANSPORT PREFIX; the sites' addresses differ in what follows it
	python3 tests/net/phones.py "$1" "$2" "$OVERLAY" "$WORK" "alice=$NETWORK-alice=${3}101=${3}11" "bob=$NETWORK-bob=${3}102=${3}12" \
		"carol=$NETWORK-carol=${3}103=${3}11"
}

# mode, TLS between the gateways, transports, prefix of the addresses
passes=("proxy no udp,tcp 192.0.2." "proxy always tls 192.0.2." "proxy no udp 2001:db8:6084::")
[ -z "${BARESIP_ALL:-}" ] || # who is redirected would have to trust every other phone, over TLS
	passes+=("redirect no udp,tcp 192.0.2." "redirect-inside no udp,tcp 192.0.2." "proxy always udp,tcp 192.0.2." "proxy no tcp 2001:db8:6084::")
for pass in "${passes[@]}"; do
	read -r mode secured transports prefix <<<"$pass"
	for number in 1 2; do
		mkdir -p "$WORK/gateway-$number/ringgate.conf.d"
		printf '[sip]\nmode = %s\ngateway-tls = %s\nlisten = %s:5060 [2001:db8:6084::1%s]:5060\n' "$mode" "$secured" \
			"$(gateway_address $number)" $number >"$WORK/gateway-$number/ringgate.conf.d/pass.conf"
	done
	gateway_start 1 && gateway_wait 1 && gateway_start 2 && gateway_wait 2 1 && gateway_wait 1 1 || fail "the gateways do not join"
	for transport in ${transports//,/ }; do
		calls "$mode" "$transport" "$prefix"
		status=$?
		[ $status -eq 77 ] && exit 77
		[ $status -eq 0 ] || fail "$pass: over $transport"
	done
	connections=$(network_in g2 ss -Htn state established "( sport = :5062 or dport = :5062 )" | wc -l)
	[ "$secured" = no ] && [ "$connections" != 0 ] && fail "there is TLS between the gateways"
	[ "$secured" = always ] && [ "$connections" = 0 ] && fail "there is no TLS between the gateways"
	for number in 2 1; do
		gateway_stop $number
		: >"$WORK/gateway-$number/log"
	done
done
