#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Calls between two sites go over TLS between their gateways, with the overlay's certificates, in both directions of a dialog; nobody
# without such a certificate gets through to that port. Calls over TLS to an outside domain need a certificate for its name.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
die() { echo "FAIL: $*"; tail -n 5 "$WORK"/*log "$WORK"/gateway-*/log 2>/dev/null; exit 1; }

network_require
command -v sipp >/dev/null || network_refuse "sipp is missing (package sip-tester)"
network_open || die "no bridge"
overlay_create || die "no overlay"
SIP_ALLOW=192.0.2.101 gateway_create 1 "alice@$OVERLAY" || die "no gateway 1"
SIP_ALLOW=192.0.2.102 gateway_create 2 "bob@$OVERLAY" || die "no gateway 2"
for number in 1 2; do
	mkdir "$WORK/gateway-$number/ringgate.conf.d"
	printf '[sip]\nmode = proxy\ngateway-tls = always\n' >"$WORK/gateway-$number/ringgate.conf.d/tls.conf"
done
printf '[sip]\ntls-ca-file = %s\nname-servers = 192.0.2.53\n' "$WORK/outside-ca.crt" >"$WORK/gateway-1/ringgate.conf.d/outside.conf"
network_site alice 192.0.2.101
network_site bob 192.0.2.102
network_site out 192.0.2.201
network_site dns 192.0.2.53
gateway_start 1 && gateway_wait 1 && gateway_start 2 && gateway_wait 2 1 && gateway_wait 1 1 || die "the gateways do not join"

sipp_in() { # SITE SCENARIO ADDRESS ARGUMENT…
	local site=$1 scenario=$2 address=$3
	shift 3
	network_in "$site" timeout 60 sipp -sf "tests/sip/$scenario.xml" -key domain "$OVERLAY" -i "$address" -m 1 -nostdin -timeout 30 \
		-timeout_error "$@" >"$WORK/$scenario.log" 2>&1
}
listens() { # SITE PORT
	local try
	for try in $(seq 500); do
		network_in "$1" ss -Hlnut "sport = :$2" | grep -q . && return
		read -r -t 0.05 < <(:) || :
	done
	die "nobody listens at $1"
}
sipp_in bob register 192.0.2.102 -s bob -p 5070 192.0.2.12:5060 || die "bob is not registered"
for pair in "call answer" "call_held answer_hangup"; do
	set -- $pair
	sipp_in bob "$2" 192.0.2.102 -p 5070 &
	answering=$!
	listens bob 5070
	sipp_in alice "$1" 192.0.2.101 -p 5070 -key uri "sip:bob@$OVERLAY" 192.0.2.11:5060 || die "$1: $(tail -n 20 "$WORK/$1.log")"
	wait "$answering" || die "$2: $(tail -n 20 "$WORK/$2.log")"
done
network_in g2 ss -Htn state established "sport = :5062" | grep -q 192.0.2.11 || die "there is no connection over TLS between the gateways"
[ "$(network_in g1 ss -Htn state established "dport = :5062 or sport = :5062" | wc -l)" = 1 ] || die "it is not one connection"
echo "calls between sites go over TLS, and are ended from either side"

shown=$(network_in out timeout 20 openssl s_client -tls1_2 -connect 192.0.2.12:5062 </dev/null 2>&1)
grep -qi "alert" <<<"$shown" || die "a stranger without certificate was let in: $shown"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=stranger" -keyout "$WORK/stranger.key" \
	-out "$WORK/stranger.crt" 2>/dev/null
shown=$(network_in out timeout 20 openssl s_client -tls1_2 -cert "$WORK/stranger.crt" -key "$WORK/stranger.key" -connect 192.0.2.12:5062 </dev/null 2>&1)
grep -qi "alert" <<<"$shown" || die "a stranger with a certificate of his own was let in: $shown"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=outside" -addext "subjectAltName=DNS:far.example" \
	-keyout "$WORK/outside.key" -out "$WORK/outside-ca.crt" 2>/dev/null
printf '%s A 192.0.2.201\n' far.example other.example >"$WORK/zone"
: >"$WORK/dns.log"
network_in dns python3 tests/net/dns_server.py 192.0.2.53 53 "$WORK/zone" >>"$WORK/dns.log" 2>&1 &
timeout 60 grep -q -m1 serving < <(tail -n +1 -F "$WORK/dns.log" 2>/dev/null) || die "no name server"
network_in out python3 tests/net/tls_answer.py 192.0.2.201 5061 "$WORK/outside-ca.crt" "$WORK/outside.key" >"$WORK/tls_answer.log" 2>&1 &
listens out 5061
sipp_in alice message 192.0.2.101 -key uri "sip:info@far.example:5061;transport=tls" 192.0.2.11:5060 ||
	die "no request over TLS to an outside domain: $(tail -n 20 "$WORK/message.log")"
grep -q "MESSAGE sip:info@far.example" "$WORK/tls_answer.log" || die "the outside domain got no request"
sipp_in alice message 192.0.2.101 -key uri "sip:info@other.example:5061;transport=tls" 192.0.2.11:5060 && die "a certificate for another name was taken"
grep -q "SIP/2.0 503" "$WORK/message.log" || die "another answer than 503: $(grep -v "^ " "$WORK/message.log")"
grep -q "other.example at 192.0.2.201:5061 is refused: its certificate is for another name" "$WORK/gateway-1/log" || die "nothing is said of it"
grep -q "other.example" "$WORK/tls_answer.log" && die "the request went to somebody with another name"
echo "TLS between gateways and to outside domains, with certificates checked"
