#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A machine with two overlays, a daemon for each: a phone of one overlay calls a user of the other and the other way round, by the
# addresses in the settings and without any DNS, also when the other one asks its own phones for passwords. S-4.1-01
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
SIP_ALLOW=192.0.2.101 gateway_create 1 "alice@$OVERLAY" || die "no gateway"
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
	outside-domains = no
	overlay-routes = $OVERLAY=192.0.2.11:5060
	[control]
	socket = $other/control
CONF
network_site phone 192.0.2.101
network_site far 192.0.2.102

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
kill -TERM $second
wait $second
code=$(asked phone 192.0.2.11 sip:carol@other.example)
[[ $code == 4* ]] || die "without the other gateway a caller was answered $code"
sipp_in phone register 192.0.2.101 "$OVERLAY" -s alice -p 5080 192.0.2.11:5060 || die "one overlay does not go on without the other"
gateway_stop 1
echo "two overlays on one machine call each other without the DNS"
