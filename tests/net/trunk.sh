#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A SIP trunk with a password: the gateway registers, a phone dials a number and is connected, the second trunk takes it when the first is
# gone, and a call that comes from the trunk reaches the user its number stands for.
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
SIP_ALLOW=192.0.2.101 gateway_create 1 "bob@$OVERLAY" || die "no gateway"
echo oak-river-73 >"$WORK/password"
mkdir "$WORK/gateway-1/ringgate.conf.d"
cat >"$WORK/gateway-1/ringgate.conf.d/trunk.conf" <<-CONF
	[trunk first]
	server = sip:192.0.2.201:5070
	user = site1
	password-file = $WORK/password
	register = yes
	numbers = 00=+ 0=+49
	incoming = +4940123456=bob@$OVERLAY
	[trunk second]
	server = sip:192.0.2.202:5070
	numbers = 0=0
CONF
network_site phone 192.0.2.101
network_site one 192.0.2.201
network_site two 192.0.2.202

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
sipp_in one trunk_register 192.0.2.201 -p 5070 -au site1 -ap oak-river-73 &
answering=$!
listens one 5070
gateway_start 1 && gateway_wait 1 || die "the gateway does not start"
wait "$answering" || die "no registration with the trunk: $(tail -n 30 "$WORK/trunk_register.log")"

sipp_in one trunk_answer 192.0.2.201 -p 5070 -au site1 -ap oak-river-73 -trace_logs -log_file "$WORK/called.log" &
answering=$!
listens one 5070
sipp_in phone call 192.0.2.101 -key uri "sip:0401234@$OVERLAY" 192.0.2.11:5060 || die "no call by the trunk: $(tail -n 30 "$WORK/call.log")"
wait "$answering" || die "the trunk: $(tail -n 30 "$WORK/trunk_answer.log")"
grep -q "sip:+49401234@192.0.2.201:5070;user=phone" "$WORK/called.log" || die "another number was called: $(cat "$WORK/called.log")"
grep -q "password true" "$WORK/called.log" || die "the trunk does not accept the password: $(cat "$WORK/called.log")"
# RFC 3261 22.2: what is repeated with the password has a higher number, which the ACK repeats and what follows exceeds.
read -r before after acknowledged ended < <(sed -n 's/^numbers \([0-9 ]*\)$/\1/p' "$WORK/called.log")
[ "${after:-0}" -gt "${before:-0}" ] && [ "$acknowledged" = "$after" ] && [ "$ended" -gt "$after" ] || die "numbers of the requests: $(cat "$WORK/called.log")"
grep -q "Registered with the trunk first" "$WORK/gateway-1/log" || die "the log does not tell of the registration"
gateway_ctl 1 sip trunks | grep -q "^first .*sip:192.0.2.201:5070  registered for another [0-9]* s  at 192.0.2.201:5070$" ||
	die "sip trunks: $(gateway_ctl 1 sip trunks)"
gateway_ctl 1 sip trunks --json | tr -d '\n' | grep -q '"name": "second".*"registers": false.*"error": ""' || die "sip trunks: $(gateway_ctl 1 sip trunks --json)"
echo "registered with the trunk, and connected through it with a password"

ip netns exec "$NETWORK-lan" ip link set "rg$$-one" down # the first trunk is gone
sipp_in two answer 192.0.2.202 -p 5070 &
answering=$!
listens two 5070
sipp_in phone call 192.0.2.101 -key uri "tel:0401234" -timeout 50 192.0.2.11:5060 || die "no call by the second trunk: $(tail -n 30 "$WORK/call.log")"
wait "$answering" || die "the second trunk: $(tail -n 30 "$WORK/answer.log")"
ip netns exec "$NETWORK-lan" ip link set "rg$$-one" up

sipp_in phone register 192.0.2.101 -s bob -p 5070 192.0.2.11:5060 || die "bob is not registered"
sipp_in phone answer 192.0.2.101 -p 5070 &
answering=$!
listens phone 5070
sipp_in one call 192.0.2.201 -p 5080 -key uri "sip:+4940123456@192.0.2.11" 192.0.2.11:5060 || die "no call from the trunk: $(tail -n 30 "$WORK/call.log")"
wait "$answering" || die "bob: $(tail -n 30 "$WORK/answer.log")"
echo "a trunk with a password, the next one when it is gone, and calls from it"
