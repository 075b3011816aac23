#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Calls to and from outside domains: a phone of the site calls by the DNS, over UDP and TCP, past a server that is dead; strangers reach
# users of the overlay and nobody else, in the modes proxy and redirect; the same over IPv6.
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
SIP_ALLOW="192.0.2.101 2001:db8:6084::101" gateway_create 1 "bob@$OVERLAY" || die "no gateway"
settings() {
	mkdir -p "$WORK/gateway-1/ringgate.conf.d"
	printf '[sip]\nlisten = 192.0.2.11:5060 [2001:db8:6084::11]:5060\nname-servers = 192.0.2.53\n%s\n' "$1" >"$WORK/gateway-1/ringgate.conf.d/outside.conf"
}
network_site phone 192.0.2.101
network_site out 192.0.2.201
network_site dns 192.0.2.53
cat >"$WORK/zone" <<-ZONE
	far.example NAPTR 10 10 s SIP+D2U _sip._udp.far.example
	_sip._udp.far.example SRV 1 1 5999 one.far.example
	_sip._udp.far.example SRV 2 1 5070 one.far.example
	_sip._tcp.far.example SRV 1 1 5070 one.far.example
	one.far.example A 192.0.2.201
	six.example AAAA 2001:db8:6084::201
ZONE
: >"$WORK/dns.log"
network_in dns python3 tests/net/dns_server.py 192.0.2.53 53 "$WORK/zone" >>"$WORK/dns.log" 2>&1 &
timeout 60 grep -q -m1 serving < <(tail -n +1 -F "$WORK/dns.log" 2>/dev/null) || die "no name server"

# in SITE SCENARIO ADDRESS ARGUMENT…
sipp_in() {
	local site=$1 scenario=$2 address=$3
	shift 3
	network_in "$site" timeout 60 sipp -sf "tests/sip/$scenario.xml" -key domain "$OVERLAY" -i "$address" -m 1 -nostdin -timeout 30 \
		-timeout_error "$@" >"$WORK/$scenario.log" 2>&1
}
answer_start() { # SITE ADDRESS PORT ARGUMENT…; it listens when this returns
	local site=$1 address=$2 port=$3 try
	shift 3
	sipp_in "$site" answer "$address" -p "$port" "$@" &
	ANSWER=$!
	for try in $(seq 500); do
		network_in "$site" ss -Hlnut "sport = :$port" | grep -q . && return
		read -r -t 0.05 < <(:) || :
	done
	die "nobody answers at $site"
}
answer_end() { wait "$ANSWER" || die "$1: the other side: $(tail -n 20 "$WORK/answer.log")"; }
status_of() { # URI: what a stranger is answered
	network_in out python3 - "$1" "${2:-192.0.2.11}" <<-'SCRIPT'
		import socket, sys
		family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
		s = socket.socket(family, socket.SOCK_DGRAM)
		s.settimeout(20)
		s.connect((sys.argv[2], 5060))
		host = s.getsockname()[0]
		host = "[%s]" % host if ":" in host else host
		s.send(("MESSAGE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s:%d;branch=z9hG4bKx%d;rport\r\nFrom: <sip:x@far.example>;tag=1\r\n"
			"To: <%s>\r\nCall-ID: x%d\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
			% (sys.argv[1], host, s.getsockname()[1], s.getsockname()[1], sys.argv[1], s.getsockname()[1])).encode())
		code = "100"
		while code == "100": code = s.recv(4096).split()[1].decode()
		print(code)
	SCRIPT
}
is_status() { local status; status=$(status_of "$1" "${3:-192.0.2.11}"); [ "$status" = "$2" ] || die "$1 was answered $status, not $2"; }

settings "mode = proxy"
gateway_start 1 && gateway_wait 1 || die "the gateway does not start"
answer_start out 192.0.2.201 5070
sipp_in phone call 192.0.2.101 -key uri sip:info@far.example 192.0.2.11:5060 || die "no call by NAPTR and SRV: $(tail -n 20 "$WORK/call.log")"
answer_end "over UDP"
grep -q "asked far.example NAPTR" "$WORK/dns.log" || die "NAPTR was not asked for"
answer_start out 192.0.2.201 5070 -t t1
sipp_in phone call 192.0.2.101 -key uri "sip:info@far.example;transport=tcp" 192.0.2.11:5060 || die "no call over TCP: $(tail -n 20 "$WORK/call.log")"
answer_end "over TCP"
answer_start out 2001:db8:6084::201 5070
sipp_in phone call 2001:db8:6084::101 -key uri sip:info@six.example:5070 "[2001:db8:6084::11]:5060" || die "no call over IPv6: $(tail -n 20 "$WORK/call.log")"
answer_end "over IPv6"
answer_start out 2001:db8:6084::201 5070
sipp_in phone call 192.0.2.101 -key uri sip:info@six.example:5070 192.0.2.11:5060 || die "no call from IPv4 to IPv6: $(tail -n 20 "$WORK/call.log")"
answer_end "from IPv4 to IPv6"
echo "a phone calls outside domains by the DNS, past a dead server, over UDP, TCP and IPv6"

# A MESSAGE with a body of so many octets, which comes to the gateway in a datagram, goes on over TCP when it would be longer than 1300
# octets (RFC 3261 18.1.1), and in a datagram after all when nobody takes TCP there.
long() { # OCTETS TAKEN TRANSPORT
	network_in out timeout 40 python3 tests/net/long_message.py take 192.0.2.201 5071 $2 >"$WORK/long.log" 2>&1 &
	local receiver=$! code try
	for try in $(seq 500); do
		[ "$(network_in out ss -Hlntu "sport = :5071" | wc -l)" -ge "$(wc -w <<<"$2")" ] && break
		read -r -t 0.05 < <(:) || :
	done
	code=$(network_in phone timeout 40 python3 tests/net/long_message.py send 192.0.2.11 sip:info@one.far.example:5071 "$1")
	wait $receiver || die "a message of $1 octets does not arrive: $(cat "$WORK/long.log")"
	[ "$code" = 200 ] || die "a message of $1 octets was answered $code"
	[ "$(cat "$WORK/long.log")" = "$3 $1 ${3^^}" ] || die "a message of $1 octets, not over $3: $(cat "$WORK/long.log")"
}
long 200 "udp tcp" udp
long 1300 "udp tcp" tcp
long 20000 "udp tcp" tcp
long 1300 udp udp
echo "what is longer than 1300 octets goes over TCP where that is taken"

is_status sip:bob@example.org 403
is_status sip:info@far.example 403
gateway_stop 1
: >"$WORK/gateway-1/log"
settings "mode = proxy
outside-calls = yes"
gateway_start 1 && gateway_wait 1 || die "the gateway does not start again"
sipp_in phone register 192.0.2.101 -s bob -p 5070 192.0.2.11:5060 || die "bob is not registered"
answer_start phone 192.0.2.101 5070
sipp_in out call 192.0.2.201 -key uri "sip:bob@$OVERLAY" 192.0.2.11:5060 || die "no call from outside: $(tail -n 20 "$WORK/call.log")"
answer_end "from outside"
answer_start phone 192.0.2.101 5070
sipp_in out call 2001:db8:6084::201 -key uri "sip:bob@$OVERLAY" "[2001:db8:6084::11]:5060" || die "no call from outside over IPv6: $(tail -n 20 "$WORK/call.log")"
answer_end "from outside over IPv6"
asked=$(grep -c asked "$WORK/dns.log")
is_status sip:nobody@example.org 404
is_status sip:info@far.example 404
is_status sip:info@192.0.2.53 404
is_status sip:info@192.0.2.53 404 2001:db8:6084::11
[ "$(grep -c asked "$WORK/dns.log")" = "$asked" ] || die "a stranger had a name looked up"
echo "strangers reach users of the overlay and nobody else"

gateway_stop 1
: >"$WORK/gateway-1/log"
settings "mode = redirect
outside-calls = yes"
gateway_start 1 && gateway_wait 1 || die "the gateway does not start a third time"
sipp_in phone register 192.0.2.101 -s bob -p 5070 192.0.2.11:5060 || die "bob is not registered at the redirector"
sipp_in out invite_302 192.0.2.201 -s bob -key expect sip:bob@192.0.2.101:5070 192.0.2.11:5060 || die "not redirected: $(tail -n 20 "$WORK/invite_302.log")"
is_status sip:info@far.example 404
answer_start out 192.0.2.201 5070
sipp_in phone call 192.0.2.101 -p 5090 -key uri sip:info@far.example 192.0.2.11:5060 || die "no call by the redirector: $(tail -n 20 "$WORK/call.log")"
answer_end "by the redirector"
echo "calls to and from outside domains, in the modes proxy and redirect"
