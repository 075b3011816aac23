#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Many times more calls and registrations than a gateway can serve: it refuses what is new with 503 and Retry-After, requests inside
# dialogs are answered all the while, a call that SIPp places during it through the proxy is finished, and afterwards all is served.
#   SIP_OVERLOAD=N   how many requests (default 10000)
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' HUP INT TERM
die() { echo "FAIL: $*"; tail -n 5 "$WORK"/*log "$WORK"/gateway-*/log 2>/dev/null; exit 1; }

network_require
command -v sipp >/dev/null || network_refuse "sipp is missing (package sip-tester)"
network_open || die "no bridge"
overlay_create || die "no overlay"
gateway_create 1 "alice@$OVERLAY" "bob@$OVERLAY" || die "no gateway"
sed -i "/^\\[sip\\]/a mode = proxy" "$WORK/gateway-1/ringgate.conf"
gateway_start 1 && gateway_wait 1 || die "the gateway does not start"
network_site phone 192.0.2.6
network_site flood 192.0.2.7
gateway=$(gateway_address 1)
# bob answers calls, and ends when he has had one
network_in phone sipp -sf tests/sip/register.xml -key domain "$OVERLAY" -s bob -i 192.0.2.6 -p 5070 -m 1 -nostdin -timeout 20 \
	-timeout_error "$gateway:5060" >"$WORK/register.log" 2>&1 || die "bob is not registered"
network_in phone timeout 120 sipp -sn uas -i 192.0.2.6 -p 5070 -m 1 -nostdin >"$WORK/uas.log" 2>&1 &
uas=$!
# The call lasts until after the flood: its BYE comes when the named pipe is written to.
cat >"$WORK/call.xml" <<XML
<?xml version="1.0" encoding="UTF-8"?>
<scenario name="call">
<send retrans="500"><![CDATA[
INVITE sip:bob@$OVERLAY SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
From: <sip:alice@$OVERLAY>;tag=[call_number]
To: <sip:bob@$OVERLAY>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:alice@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="100" optional="true"/><recv response="180" optional="true"/><recv response="200" rrs="true"/>
<send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
[routes]
From: <sip:alice@$OVERLAY>;tag=[call_number]
[last_To:]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
<nop><action><exec command="touch $WORK/talking"/></action></nop>
<pause milliseconds="4000"/>
<send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
[routes]
From: <sip:alice@$OVERLAY>;tag=[call_number]
[last_To:]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200"/>
</scenario>
XML
network_in phone timeout 120 sipp -sf "$WORK/call.xml" -i 192.0.2.6 -p 5080 -m 1 -nostdin "$gateway:5060" >"$WORK/call.log" 2>&1 &
call=$!
end=$(($(date +%s) + 30))
until [ -e "$WORK/talking" ]; do [ "$(date +%s)" -lt $end ] || die "alice does not reach bob"; read -rt 0.1 <> <(:); done
gateway_ctl 1 sip calls | grep -q "^talking .*<sip:alice@$OVERLAY> -> <sip:bob@$OVERLAY> via 192.0.2.6:5070 UDP" || die "the call is not listed: $(gateway_ctl 1 sip calls)"
gateway_ctl 1 sip trace "alice@$OVERLAY" --count 20 >"$WORK/trace.log" 2>&1 &
trace=$!
network_in flood python3 tests/net/sip_overload.py "$gateway" 5060 "$OVERLAY" "${SIP_OVERLOAD:-30000}" "${GATEWAY_PID[1]}" >"$WORK/flood.log" 2>&1 || die "$(cat "$WORK/flood.log")"
cat "$WORK/flood.log"
wait $trace || die "sip trace"
[ "$(grep -c "<- UDP 192.0.2.7:[0-9]* *\(INVITE\|REGISTER\|MESSAGE\|BYE\) sip:" "$WORK/trace.log")" -gt 0 ] || die "nothing was traced"
wait $call || die "the call was not finished in order"
wait $uas || die "bob has not heard the end of the call"
metric() { gateway_ctl 1 metrics | sed -n "s/^ringgate_$1 //p"; }
[ "$(metric sip_shed_total)" -gt 0 ] && [ "$(metric sip_overloads_total)" -gt 0 ] || die "no metrics: $(gateway_ctl 1 metrics | grep sip_)"
[ "$(metric sip_calls)" -ge 0 ] && gateway_ctl 1 sip calls | grep "5070" && die "the call that has ended is still listed"
[ "$(metric sip_overloaded)" = 0 ] || die "still overloaded"
gateway_stop 1 || die "the gateway did not end in order (status $?)"
echo "a call outlasts the overload"
