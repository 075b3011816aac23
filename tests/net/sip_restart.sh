#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Phones with passwords at one gateway: wrong ones are refused, a changed one counts at once, and after the gateway was killed its phones
# are registered as before and found in the overlay.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
die() { echo "$*"; tail -n 5 "$WORK"/*log "$WORK"/gateway-*/log 2>/dev/null; exit 1; }

network_require
command -v sipp >/dev/null || network_refuse "sipp is missing (package sip-tester)"
network_open
overlay_create || die "no overlay"
SIP_AUTHENTICATION=yes gateway_create 1 alice@$OVERLAY bob@$OVERLAY || die "no gateway"
mkdir "$WORK/gateway-1/ringgate.conf.d"
printf '[sip]\ndigest-algorithms = MD5\n' >"$WORK/gateway-1/ringgate.conf.d/phones.conf" # SIPp knows nothing else
password() { "$BUILD/ringgatectl" sip "$@" --directory "$WORK/gateway-1"; }
password passwd alice@$OVERLAY --password-file - <<<"oak-river-73" >/dev/null || die "passwd"
password passwd bob@$OVERLAY | grep -q "The password of its phones is [a-zA-Z0-9]\{24\}$" || die "no password was made up"
[ "$(stat -c %a "$WORK/gateway-1/sip-passwords")" = 600 ] || die "the passwords are open to others"
grep -q "oak-river" "$WORK/gateway-1/sip-passwords" && die "the password itself was written"
gateway_start 1 && gateway_wait 1 || die "the gateway does not start"
network_site phone 192.0.2.6
sipp_run() {
	local name=$1
	shift
	network_in phone timeout 60 sipp -sf "tests/sip/$name.xml" -key domain "$OVERLAY" -i 192.0.2.6 -m 1 -nostdin -timeout 20 -timeout_error "$@" \
		"$(gateway_address 1):5060" >"$WORK/sipp.log" 2>&1
}
sipp_run register -s alice -p 5070 && die "registered without a password"
sipp_run register_password -s alice -au alice -ap oak-river-74 -p 5070 && die "registered with a wrong password"
sipp_run register_password -s bob -au alice -ap oak-river-73 -p 5070 && die "registered as somebody else"
sipp_run register_password -s alice -au alice -ap oak-river-73 -p 5070 || die "not registered"
sipp_run invite_302 -s alice -key expect sip:alice@192.0.2.6:5070 -p 5080 || die "no call"
password passwd alice@$OVERLAY --password-file - <<<"a-new-one-74" >/dev/null || die "passwd again"
sipp_run register_password -s alice -au alice -ap oak-river-73 -p 5070 && die "registered with the former password"
sipp_run register_password -s alice -au alice -ap a-new-one-74 -p 5070 || die "not registered with the new password"
password forget bob@$OVERLAY | grep -q "has no password any more" || die "forget"
echo "phones register with their passwords only, which may change at any time"

registered() { gateway_ctl 1 sip registrations | grep "alice@$OVERLAY *sip:alice@192.0.2.6:5070"; }
registered >/dev/null || die "not in the list"
gateway_kill 1
gateway_start 1 && gateway_wait 1 || die "the gateway does not start again"
registered >/dev/null || die "not in the list after the restart: $(gateway_ctl 1 registrations)"
metric() { gateway_ctl 1 metrics | sed -n "s/^ringgate_$1 //p"; }
end=$(($(date +%s) + 30))
until [ "$(metric sip_restored_total)" = 1 ]; do [ "$(date +%s)" -lt $end ] || die "not stored again: $(gateway_ctl 1 metrics | grep sip_rest)"; done
sipp_run invite_302 -s alice -key expect sip:alice@192.0.2.6:5070 -p 5081 || die "no call after the restart"
gateway_ctl 1 sip calls --json | tr -d '\n' | grep -q '"registered": 1,.*"restored": 1' || die "sip calls: $(gateway_ctl 1 sip calls --json)"
gateway_ctl 1 sip resolve alice@$OVERLAY | grep -q "sip:alice@192.0.2.6:5070" || die "sip resolve"
sipp_run unregister -s alice -p 5070 && die "unregistered without a password"
echo "killed and started again: alice is registered as before"
