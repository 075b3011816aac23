#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Phones with passwords at the registrars of two sites: several Contacts by their q, expiry, removal of all, strange requests; what callers
# are told (300, 302, 305, 404, 480, 482, 503); who may call as whom; and a device that is called by its own URI from the other site.
# S-3.2-03 S-4.1-01 S-4.2-01 S-6-01
set -u
shopt -s extglob
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
die() { echo "FAIL: $*"; tail -n 12 "$WORK"/*.log; tail -n 5 "$WORK"/gateway-*/log; exit 1; }

network_require
command -v sipp >/dev/null || network_refuse "sipp is missing (package sip-tester)"
command -v sipsak >/dev/null || network_refuse "sipsak is missing"
network_open
overlay_create || die "no overlay"
export SIP_AUTHENTICATION=yes
SIP_ALLOW="192.0.2.101 192.0.2.103" gateway_create 1 alice@$OVERLAY bob@$OVERLAY || die "no gateway"
SIP_ALLOW=192.0.2.102 gateway_create 2 carol@$OVERLAY || die "no second gateway"
for user in 1/alice 1/bob 2/carol; do
	"$BUILD/ringgatectl" sip passwd "${user#*/}@$OVERLAY" --directory "$WORK/gateway-${user%/*}" --password-file - <<<"lamp-${user#*/}-73" \
		>/dev/null || die "no password for $user"
done
network_site phone 192.0.2.101
network_site other 192.0.2.103
network_site far 192.0.2.102
settings() {
	for number in 1 2; do
		mkdir -p "$WORK/gateway-$number/ringgate.conf.d"
		printf '[sip]\ndigest-algorithms = MD5\nexpires-min = 1\nlookup-seconds = 2\nmode = %s\ndomains = voice.example.net\n' "$1" >"$WORK/gateway-$number/ringgate.conf.d/test.conf" # SIPp knows MD5
	done
}
# sipp_in SITE SCENARIO ADDRESS ARGUMENT…
sipp_in() {
	local site=$1 scenario=$2 address=$3
	shift 3
	(cd "$WORK" && network_in "$site" timeout 60 sipp -sf "$HERE/tests/sip/$scenario.xml" -key domain "${DOMAIN:-$OVERLAY}" -i "$address" -m 1 -nostdin \
		-timeout 30 -timeout_error -trace_logs -log_file "$WORK/said.log" "$@" >"$WORK/$scenario.log" 2>&1)
}
HERE=$PWD
at_1() { local scenario=$1; shift; sipp_in phone "$scenario" 192.0.2.101 "$@" 192.0.2.11:5060; }
register() { # USER CONTACT EXPIRES
	at_1 register_contact -s "$1" -key contact "$2" -key expires "$3" -au "$1" -ap "lamp-$1-73" -p 5070 || die "$1 is not registered as $2"
}
registered() { gateway_ctl 1 sip registrations | grep -c "^$1@$OVERLAY"; }
wait_registered() { # USER COUNT
	local end=$(($(date +%s) + 30))
	until [ "$(registered "$1")" = "$2" ]; do [ "$(date +%s)" -lt $end ] || die "$1 has $(registered "$1") Contacts, not $2"; done
}
# What an INVITE of alice's from SITE is answered, with the Contacts of the answer.
asked() { # SITE GATEWAY URI
	network_in "$1" python3 - "$2" "$3" "${4:-alice@$OVERLAY}" <<-'SCRIPT'
		import os, re, socket, sys
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.settimeout(20)
		s.connect((sys.argv[1], 5060))
		host, port = s.getsockname()
		mark = os.urandom(8).hex()
		head = "Via: SIP/2.0/UDP %s:%d;branch=z9hG4bK%s;rport\r\n" % (host, port, mark)
		rest = "From: <sip:%s>;tag=%s\r\nCall-ID: %s\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n" % (sys.argv[3], mark, mark)
		s.send(("INVITE %s SIP/2.0\r\n%s%sTo: <%s>\r\nCSeq: 1 INVITE\r\nContact: <sip:x@%s:%d>\r\n\r\n"
			% (sys.argv[2], head, rest, sys.argv[2], host, port)).encode())
		code = "100"
		while code == "100": answer = s.recv(65536).decode(); code = answer.split()[1]
		to = re.search("\r\n(To: [^\r]*)", answer).group(1)
		s.send(("ACK %s SIP/2.0\r\n%s%s%s\r\nCSeq: 1 ACK\r\n\r\n" % (sys.argv[2], head, rest, to)).encode())
		print(code, *re.findall("\r\n(?:Contact|Retry-After): ([^\r]*)", answer))
	SCRIPT
}
is_answer() { # PATTERN SITE GATEWAY URI [FROM]
	local answer pattern=$1
	shift
	answer=$(asked "$@")
	[[ $answer == $pattern ]] || die "$*: answered \"$answer\", not \"$pattern\""
}

# What the other gateway has found it may repeat for the seconds it is told, and no longer: asks until the answer fits.
becomes() { # PATTERN SITE GATEWAY URI [FROM]
	local answer pattern=$1 end=$(($(date +%s) + 60))
	shift
	until answer=$(asked "$@"); [[ $answer == $pattern ]]; do
		[ "$(date +%s)" -lt $end ] || die "$*: still answered \"$answer\", not \"$pattern\""
	done
}

settings redirect
gateway_start 1 && gateway_wait 1 || die "the gateway does not start"
gateway_start 2 && gateway_wait 2 1 || die "the second gateway does not start"
at_1 register -s alice -p 5070 && die "registered without a password"
at_1 register_contact -s alice -key contact "<sip:alice@192.0.2.101>" -key expires 60 -au alice -ap wrong -p 5070 && die "registered with a wrong password"
at_1 register_contact -s bob -key contact "<sip:bob@192.0.2.101>" -key expires 60 -au alice -ap lamp-alice-73 -p 5070 && die "registered somebody else"
sipp_in far register_contact 192.0.2.102 -s alice -key contact "<sip:alice@192.0.2.102>" -key expires 60 -au alice -ap lamp-alice-73 192.0.2.11:5060 &&
	die "registered from outside"
[ "$(registered alice)" = 0 ] || die "something was registered"
is_answer "480" other 192.0.2.11 "sip:bob@$OVERLAY" # known here, though nobody has ever registered him
is_answer "404" other 192.0.2.11 "sip:nobody@$OVERLAY"
register alice '<sip:alice@192.0.2.101:5070>' 600
network_in phone timeout 30 sipsak -s sip:192.0.2.11 >"$WORK/sipsak.log" 2>&1 || die "sipsak gets no answer to OPTIONS"
is_answer "302 <sip:alice@192.0.2.101:5070>*" other 192.0.2.11 "sip:alice@$OVERLAY"
sak() { network_in phone timeout 30 sipsak -vv "$@" -p 192.0.2.11 -s "sip:bob@$OVERLAY" -u bob >"$WORK/sipsak.log" 2>&1; }
sak -U -C sip:bob@192.0.2.101:5074 -x 60 -a wrong && die "sipsak registers with a wrong password"
[ "$(registered bob)" = 0 ] || die "bob is registered with a wrong password"
sak -U -C sip:bob@192.0.2.101:5074 -x 60 -a lamp-bob-73 || die "sipsak cannot register"
gateway_ctl 1 sip registrations bob | grep -q "sip:bob@192.0.2.101:5074 " || die "sipsak has registered something else: $(gateway_ctl 1 sip registrations)"
is_answer "302 <sip:bob@192.0.2.101:5074>*" other 192.0.2.11 "sip:bob@$OVERLAY"
sak -U -C star -x 0 -a lamp-bob-73 || die "sipsak cannot remove what it has registered"
[ "$(registered bob)" = 0 ] || die "bob is still registered: $(gateway_ctl 1 sip registrations)"
echo "sipsak asks for capabilities, registers and removes"
register alice '<sip:alice@192.0.2.101:5071>;q=0.2, <sip:alice@192.0.2.101:5072>;q=0.9, <sip:alice@192.0.2.101:5070>;q=0.5' 600
[ "$(gateway_ctl 1 sip registrations lic | wc -l)" = 3 ] && [ "$(gateway_ctl 1 sip registrations --count 2 | wc -l)" = 2 ] &&
	[ "$(gateway_ctl 1 sip registrations bob)" = "no phone of such a user is registered here" ] || die "the list: $(gateway_ctl 1 sip registrations)"
gateway_ctl 1 sip registrations alice@ --count 1 --json | tr -d '\n' | grep -q '^{ *"registrations": \[ *{[^}]*} *\], *"total": 3 *}$' ||
	die "the list as JSON: $(gateway_ctl 1 sip registrations alice@ --count 1 --json)"
is_answer "302 <sip:alice@192.0.2.101:5072>*;q=0.900 <sip:alice@192.0.2.101:5070>*;q=0.500 <sip:alice@192.0.2.101:5071>*;q=0.200" \
	other 192.0.2.11 "sip:alice@$OVERLAY"
is_answer "300 <sip:alice@192.0.2.101:507?>*" far 192.0.2.12 "sip:alice@$OVERLAY" "carol@$OVERLAY"
register alice '<sip:alice@192.0.2.101:5070>, <sip:alice@192.0.2.101:5071>;expires=0, <sip:alice@192.0.2.101:5072>;expires=0' 600
becomes "302 <sip:alice@192.0.2.101:5070>;expires=+([0-9])" far 192.0.2.12 "sip:alice@$OVERLAY" "carol@$OVERLAY"
register alice '*' 0
[ "$(registered alice)" = 0 ] || die "Contact: * leaves something"
becomes "480" far 192.0.2.12 "sip:alice@$OVERLAY" "carol@$OVERLAY"
register alice '<sip:alice@192.0.2.101:5073>' 600
is_answer "302 <sip:alice@192.0.2.101:5073>*" other 192.0.2.11 "sip:alice@$OVERLAY" # at her own gateway at once
becomes "302 <sip:alice@192.0.2.101:5073>*" far 192.0.2.12 "sip:alice@$OVERLAY" "carol@$OVERLAY"
register alice '*' 0
echo "what changes at one site is seen at the other"
is_answer "480" other 192.0.2.11 "sip:alice@$OVERLAY"
is_answer "404" other 192.0.2.11 "sip:nobody@$OVERLAY"
DOMAIN=voice.example.net register bob '<sip:bob@192.0.2.101:5070>' 600
[ "$(registered bob)" = 1 ] || die "bob@voice.example.net is not bob@$OVERLAY"
for name in "$OVERLAY" voice.example.net; do
	is_answer "302 <sip:bob@192.0.2.101:5070>*" other 192.0.2.11 "sip:bob@$name"
	is_answer "302 <sip:bob@192.0.2.101:5070>*" far 192.0.2.12 "sip:bob@$name" "carol@voice.example.net"
	is_answer "404" other 192.0.2.11 "sip:nobody@$name"
done
gateway_ctl 2 resolve bob@voice.example.net | grep -q 192.0.2.101:5070 || die "bob@voice.example.net is not resolved"
DOMAIN=voice.example.net register bob '*' 0
echo "a second domain stands for the overlay's at both sites"
register alice '<sip:alice@192.0.2.101:5071>, <sip:alice@192.0.2.101:5072>' 600
is_answer "300 <sip:alice@192.0.2.101:507?>* <sip:alice@192.0.2.101:507?>*" other 192.0.2.11 "sip:alice@$OVERLAY"
register alice '*' 0
register alice '<sip:alice@192.0.2.101:5070>' 1
wait_registered alice 0 # it expires
register alice "<sip:bob@$OVERLAY>" 600
register bob "<sip:alice@$OVERLAY>" 600
is_answer "482" far 192.0.2.12 "sip:alice@$OVERLAY" "carol@$OVERLAY"
echo "redirector: passwords, q, expiry, removal; 300, 302, 404, 480, 482"
for number in 2 1; do
	gateway_stop $number
	: >"$WORK/gateway-$number/log"
done

settings redirect-inside
gateway_start 1 && gateway_wait 1 || die "the gateway does not start again"
gateway_start 2 && gateway_wait 2 1 || die "the second gateway does not start again"
register alice '*' 0
register bob '*' 0
register bob '<sip:bob@198.51.100.7>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000a95a0e128>";reg-id=1' 600
grep -q "Require: outbound" "$WORK/said.log" || die "the flow was not bound: $(cat "$WORK/said.log")"
is_answer "305 <sip:bob@192.0.2.11:5060;lr;use-proxy>" other 192.0.2.11 "sip:bob@$OVERLAY"
echo "callers of a phone that is behind its flow are told to use the gateway"
for number in 2 1; do
	gateway_stop $number
	: >"$WORK/gateway-$number/log"
done

settings proxy
gateway_start 1 && gateway_wait 1 || die "the gateway does not start a third time"
gateway_start 2 && gateway_wait 2 1 || die "the second gateway does not start a third time"
register alice '<sip:alice@192.0.2.101:5079>' 600
is_answer "407" other 192.0.2.11 "sip:bob@$OVERLAY"
is_answer "407" other 192.0.2.11 "sip:bob@voice.example.net" "alice@voice.example.net"
is_answer "403" far 192.0.2.11 "sip:bob@$OVERLAY"
is_answer "403" far 192.0.2.11 "sip:bob@$OVERLAY" "alice@voice.example.net"
echo "nobody calls in alice's name from elsewhere without her password"
: >"$WORK/said.log"
register bob '<sip:bob@192.0.2.101:5070>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000a95a0e128>"' 600
sipp_in other register_contact 192.0.2.103 -s bob -key contact '<sip:bob@192.0.2.103:5070>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000a95a0e129>"' \
	-key expires 600 -au bob -ap lamp-bob-73 -p 5070 192.0.2.11:5060 || die "bob's other phone is not registered"
public=$(grep -o 'pub-gruu="[^"]*28"' "$WORK/said.log" | head -n 1 | cut -d'"' -f2)
temporary=$(grep -o 'a95a0e128.*' "$WORK/said.log" | grep -o 'temp-gruu="[^"]*"' | tail -n 1 | cut -d'"' -f2)
[ -n "$public" ] && [[ $temporary == sip:tgruu.*@$OVERLAY\;gr=* ]] || die "no URIs of the device: $(cat "$WORK/said.log")"
printf '[sip]\nauthentication = no\n' >>"$WORK/gateway-2/ringgate.conf.d/test.conf" # SIPp is not to answer 407 on its way
gateway_stop 2
: >"$WORK/gateway-2/log"
gateway_start 2 && gateway_wait 2 1 || die "the second gateway does not start without passwords"
for uri in "$public" "$temporary"; do
	sipp_in phone answer 192.0.2.101 -p 5070 &
	answer=$!
	for try in $(seq 500); do
		network_in phone ss -Hlnu "sport = :5070" | grep -q . && break
		read -r -t 0.05 < <(:) || :
	done
	sipp_in far call 192.0.2.102 -p 5090 -key uri "$uri" 192.0.2.12:5060 || die "$uri is not reached from the other site"
	wait $answer || die "the device was not called"
done
is_answer "404" far 192.0.2.12 "${temporary/tgruu./tgruu.0}" "carol@$OVERLAY"
is_answer "480" far 192.0.2.12 "${public}0" "carol@$OVERLAY"
listens() { # SITE
	local try
	for try in $(seq 500); do
		network_in "$1" ss -Hlnu "sport = :5070" | grep -q . && return
		read -r -t 0.05 < <(:) || :
	done
	die "nobody listens at $1"
}
sipp_in other ring_cancelled 192.0.2.103 -p 5070 &
ringing=$!
listens other
sipp_in phone answer 192.0.2.101 -p 5070 &
answer=$!
listens phone
sipp_in far call 192.0.2.102 -p 5090 -key uri "sip:bob@$OVERLAY" 192.0.2.12:5060 || die "bob is not called: $(tail -n 20 "$WORK/call.log")"
wait $answer || die "bob's phone does not answer: $(tail -n 20 "$WORK/answer.log")"
wait $ringing || die "bob's other phone rings on: $(tail -n 20 "$WORK/ring_cancelled.log")"
echo "both phones of bob's ring, and one that answers ends it for the other"
echo "one device of bob's is called from the other site by its public and its temporary URI"

gateway_kill 1
gateway_kill 2
gateway_start 2 || die "the second gateway does not start alone"
is_answer "503 [1-9]*" far 192.0.2.12 "sip:alice@$OVERLAY" "carol@$OVERLAY"
echo "without the overlay a caller is told when to come back"
