#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A machine with two overlays, a daemon for each: a phone of one overlay calls a user of the other and the other way round, by the
# addresses in the settings and without any DNS, also when the other one asks its own phones for passwords. A phone whose gateway is the
# one of the other overlay registers through it, is called and calls. S-4.1-01
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
die() { echo "FAIL: $*"; tail -n 5 "$WORK"/*log "$WORK"/*/log 2>/dev/null; exit 1; }

network_require
command -v sipp >/dev/null || network_refuse "sipp is missing (package sip-tester)"
network_open || die "no bridge"
overlay_create || die "no overlay"
SIP_ALLOW="192.0.2.101 192.0.2.103" gateway_create 1 "alice@$OVERLAY" || die "no gateway"
mkdir "$WORK/gateway-1/ringgate.conf.d"
cat >"$WORK/gateway-1/ringgate.conf.d/routes.conf" <<-CONF
	[sip]
	mode = proxy
	outside-domains = no
	overlay-routes = other.example=192.0.2.11:5070
CONF
# The second one has the same address and ports, directory and socket of its own.
other=$WORK/other
"$BUILD/ringgatectl" overlay create "$WORK/other-ca" --name other.example --bootstrap 192.0.2.11:6094 >"$WORK/create.log" || die "no second overlay"
mkdir -m 0700 "$other" "$other/users"
cp "$WORK/other-ca/overlay.xml" "$other/"
"$BUILD/ringgatectl" overlay issue "$WORK/other-ca" --output "$other/node" >>"$WORK/create.log" || die "no certificate"
"$BUILD/ringgatectl" overlay issue "$WORK/other-ca" --user carol@other.example --node-ids 4 --output "$other/users/carol@other.example" \
	>>"$WORK/create.log" || die "no certificate for carol"
"$BUILD/ringgatectl" sip passwd carol@other.example --directory "$other" --password-file - <<<lamp-carol-73 >/dev/null || die "no password"
cat >"$other/ringgate.conf" <<-CONF
	[node]
	state-directory = $other
	first-node = yes
	[links]
	listen = 192.0.2.11:6094
	fastpath = no
	[sip]
	mode = proxy
	listen = 192.0.2.11:5070
	gateway-listen = 192.0.2.11:5072
	allow = 192.0.2.0/24
	authentication = calls
	digest-algorithms = MD5
	expires-min = 1
	outside-domains = no
	overlay-routes = $OVERLAY=192.0.2.11:5060
	[control]
	socket = $other/control
CONF
network_site phone 192.0.2.101
network_site far 192.0.2.102
network_site guest 192.0.2.103

sipp_in() { # SITE SCENARIO ADDRESS DOMAIN ARGUMENT…
	local site=$1 scenario=$2 address=$3 domain=$4
	shift 4
	network_in "$site" timeout 60 sipp -sf "tests/sip/$scenario.xml" -key domain "$domain" -i "$address" -m 1 -nostdin -timeout 30 \
		-timeout_error "$@" >"$WORK/$scenario.log" 2>&1
}
answer_start() { # SITE ADDRESS PORT
	local try
	sipp_in "$1" answer "$2" "$OVERLAY" -p "$3" &
	ANSWER=$!
	for try in $(seq 500); do
		network_in "$1" ss -Hlnu "sport = :$3" | grep -q . && return
		read -r -t 0.05 < <(:) || :
	done
	die "nobody answers at $1"
}
answer_end() { wait "$ANSWER" || die "$1: the other side: $(tail -n 20 "$WORK/answer.log")"; }
second_start() {
	: >"$other/log"
	# As in gateway_start(): the process number is to be the daemon's.
	ip netns exec "$NETWORK-g1" "$BUILD/ringgated" --config "$other/ringgate.conf" >>"$other/log" 2>&1 &
	second=$!
	timeout --foreground 30 grep -q -m1 "Node [0-9a-f]* of overlay" < <(tail -n +1 -F --pid="$second" "$other/log" 2>/dev/null) || return
	"$BUILD/ringgatectl" --socket "$other/control" wait --timeout 60 >/dev/null
}
asked() { network_in "$1" timeout 40 python3 tests/net/long_message.py send "$2" "$3" 10; }

gateway_start 1 && gateway_wait 1 || die "the gateway does not start"
second_start || die "the second daemon does not start"

sipp_in far register_contact 192.0.2.102 other.example -s carol -key contact "<sip:carol@192.0.2.102:5080>" -key expires 600 \
	-au carol -ap lamp-carol-73 -p 5080 192.0.2.11:5070 || die "carol is not registered: $(tail -n 20 "$WORK/register_contact.log")"
sipp_in phone register 192.0.2.101 "$OVERLAY" -s alice -p 5080 192.0.2.11:5060 || die "alice is not registered"
answer_start far 192.0.2.102 5080
sipp_in phone call 192.0.2.101 "$OVERLAY" -p 5090 -key uri sip:carol@other.example 192.0.2.11:5060 || die "no call to the other overlay: $(tail -n 20 "$WORK/call.log")"
answer_end "to the other overlay"
"$BUILD/ringgatectl" --socket "$other/control" sip calls --json | tr -d '\n' | grep -q '"challenges": 1,' ||
	die "the other gateway asks this one for a password: $("$BUILD/ringgatectl" --socket "$other/control" sip calls)"
echo "a phone of one overlay calls a user of the other, whose gateway runs on the same machine"

sed -i 's/^authentication = calls/authentication = registrations/' "$other/ringgate.conf" # SIPp is not to answer 407 on its way
kill -TERM $second
wait $second
second_start || die "the second daemon does not start again"
answer_start phone 192.0.2.101 5080
sipp_in far call 192.0.2.102 other.example -p 5090 -key uri "sip:alice@$OVERLAY" 192.0.2.11:5070 || die "no call from the other overlay: $(tail -n 20 "$WORK/call.log")"
answer_end "from the other overlay"
code=$(asked phone 192.0.2.11 sip:nobody@other.example)
[ "$code" = 404 ] || die "a user whom the other overlay has not was answered $code"
code=$(asked phone 192.0.2.11 sip:info@third.example)
[ "$code" = 404 ] || die "a domain that nobody serves was answered $code"
echo "users and domains that are nowhere are answered 404"

# carol has another phone, whose gateway is that of the first overlay.
guest_registers() { # CONTACT EXPIRES
	sipp_in guest register_contact 192.0.2.103 other.example -s carol -key contact "$1" -key expires "$2" -au carol -ap lamp-carol-73 \
		-p 5080 192.0.2.11:5060 || die "carol is not registered through the other gateway: $(tail -n 20 "$WORK/register_contact.log")"
}
registered() { "$BUILD/ringgatectl" --socket "$1" sip registrations | grep -c "^carol@other.example"; }
wait_registered() { # COUNT
	local end=$(($(date +%s) + 60))
	until [ "$(registered "$other/control")" = "$1" ]; do
		[ "$(date +%s)" -lt $end ] || die "carol has not $1 Contacts: $("$BUILD/ringgatectl" --socket "$other/control" sip registrations)"
	done
}
guest_is_called() { # WHAT
	answer_start guest 192.0.2.103 5080
	sipp_in phone call 192.0.2.101 "$OVERLAY" -p 5090 -key uri sip:carol@other.example 192.0.2.11:5060 || die "$1: no call: $(tail -n 20 "$WORK/call.log")"
	answer_end "$1"
}
status_of_register() { # what a REGISTER of carol's is answered at gateway 1, and when to come back
	network_in guest python3 - <<-'SCRIPT'
		import re, socket
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.settimeout(60)
		s.connect(("192.0.2.11", 5060))
		port = s.getsockname()[1]
		s.send(("REGISTER sip:other.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.103:%d;branch=z9hG4bKr%d;rport\r\nFrom: <sip:carol@other.example>;tag=1\r\n"
			"To: <sip:carol@other.example>\r\nCall-ID: r%d\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n" % (port, port, port)).encode())
		code = "100"
		while code == "100": answer = s.recv(65536).decode(); code = answer.split()[1]
		print(code, *re.findall("\r\n(?:Retry-After|WWW-Authenticate): (\w*)", answer))
	SCRIPT
}
sipp_in far register_contact 192.0.2.102 other.example -s carol -key contact "*" -key expires 0 -au carol -ap lamp-carol-73 -p 5080 192.0.2.11:5070 ||
	die "carol is not unregistered: $(tail -n 20 "$WORK/register_contact.log")"
sipp_in guest register_contact 192.0.2.103 other.example -s carol -key contact "<sip:carol@192.0.2.103:5080>" -key expires 600 -au carol \
	-ap wrong -p 5080 192.0.2.11:5060 && die "a wrong password was taken"
grep -q 'unknown user name "carol" (domain other.example) from 192.0.2.103:' "$other/log" || die "the log does not tell where the wrong password came from"
[ "$(status_of_register)" = "401 Digest" ] || die "a phone without password was answered $(status_of_register)"
guest_registers "<sip:carol@192.0.2.103:5080>" 600
wait_registered 1
[ "$("$BUILD/ringgatectl" --socket "$WORK/gateway-1/control" sip registrations | grep -c carol)" = 0 ] || die "carol is registered with the wrong overlay"
guest_is_called "from the phones' gateway"
answer_start guest 192.0.2.103 5080
sipp_in far call 192.0.2.102 other.example -p 5090 -key uri sip:carol@other.example 192.0.2.11:5070 || die "no call from her own overlay: $(tail -n 20 "$WORK/call.log")"
answer_end "from her own overlay"
sipp_in phone register 192.0.2.101 "$OVERLAY" -s alice -p 5080 192.0.2.11:5060 || die "alice is not registered again"
answer_start phone 192.0.2.101 5080
sipp_in guest call_password 192.0.2.103 other.example -s carol -p 5090 -key uri "sip:alice@$OVERLAY" -au carol -ap lamp-carol-73 \
	-auth_uri "alice@$OVERLAY" 192.0.2.11:5060 ||
	die "carol cannot call through the other gateway: $(tail -n 20 "$WORK/call_password.log")"
answer_end "carol calls"
echo "a phone registers, is called and calls through the gateway of the other overlay"
gateway_stop 1
: >"$WORK/gateway-1/log"
gateway_start 1 && gateway_wait 1 || die "the gateway does not start again"
guest_is_called "after a restart of the phones' gateway"
kill -TERM $second
wait $second
second_start || die "the second daemon does not start a third time"
guest_is_called "after a restart of her registrar"
guest_registers "*" 0
wait_registered 0
guest_registers "<sip:carol@192.0.2.103:5080>" 1
wait_registered 0 # it expires
code=$(asked phone 192.0.2.11 sip:carol@other.example)
[ "$code" = 480 ] || die "carol is not registered, and a caller was answered $code"
kill -TERM $second
wait $second
[[ $(status_of_register) == "503 "[1-9]* ]] || die "without her registrar a phone was answered $(status_of_register)"
grep -q "the gateway of other.example at 192.0.2.11:5070 does not answer" "$WORK/gateway-1/log" || die "the log does not tell that the registrar is gone"
second_start || die "the second daemon does not start a fourth time"
guest_registers "<sip:carol@192.0.2.103:5080>" 600
grep -q "phones register with the gateway of other.example again" "$WORK/gateway-1/log" || die "the log does not tell that the registrar is back"
echo "such a registration outlives both gateways, expires, is removed, and is refused with 503 while its registrar is down"
kill -TERM $second
wait $second
code=$(asked phone 192.0.2.11 sip:carol@other.example)
[[ $code == 4* ]] || die "without the other gateway a caller was answered $code"
sipp_in phone register 192.0.2.101 "$OVERLAY" -s alice -p 5080 192.0.2.11:5060 || die "one overlay does not go on without the other"
gateway_stop 1
echo "two overlays on one machine call each other without the DNS"
