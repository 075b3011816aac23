#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Overlay links over TLS: an overlay whose sites all block UDP forms over TCP and serves calls; one where only some do forwards between
# DTLS and TLS; one with a shared secret lets in who knows it, and says why others stay outside. B-6.6.5-01 B-13.4-01 B-4.1.1-01 Q-57
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
NEIGHBOR_CHECK=2000
. appliance/trial/network.sh
. appliance/trial/overlay.sh
WORK=
trap 'trap "" HUP INT TERM; network_close; rm -rf "${WORK:-}"' EXIT
trap 'exit 130' HUP INT TERM
die() { echo "$*"; tail -n 20 "$WORK"/gateway-*/log; exit 1; }

begin() {
	WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
	network_open
	overlay_create --update-interval 60 || die "no overlay"
	network_site phone 192.0.2.5
}

finish() {
	local number
	for number in "${!GATEWAY_PID[@]}"; do
		gateway_stop "$number" || die "gateway $number did not end well"
		unset "GATEWAY_PID[$number]"
	done
	if grep -lE 'AddressSanitizer|LeakSanitizer|runtime error' "$WORK"/gateway-*/log; then
		die "a sanitizer spoke"
	fi
	network_close
	rm -rf "$WORK"
}

block_udp() { # all of it but what stays on the host
	network_in "g$1" nft -f - <<-RULES
		table inet site {
			chain in { type filter hook input priority 0; iif != "lo" meta l4proto udp udp dport 6084 drop; }
			chain out { type filter hook output priority 0; oif != "lo" meta l4proto udp udp dport 6084 drop; }
		}
	RULES
}

# How many links of gateway $1 run over protocol $2.
links_over() {
	gateway_ctl "$1" peers --json | python3 -c 'import json, sys; print(sum(p["protocol"] == sys.argv[1] for p in json.load(sys.stdin)["peers"]))' "$2"
}

sipp_run() {
	local name=$1
	shift
	network_in phone timeout --foreground 60 sipp -sf "tests/sip/$name.xml" -key domain "$OVERLAY" -i 192.0.2.5 -m 1 -nostdin -timeout 50 -timeout_error \
		"$@" >"$WORK/sipp.log" 2>&1 || die "$name: $(tail -n 5 "$WORK/sipp.log")"
}

call() { # a phone registers at the first gateway; the last one resolves it
	sipp_run register -s alice -p 5070 "$(gateway_address 1):5060"
	sipp_run invite_302 -s alice -key expect "sip:alice@192.0.2.5:5070" -p 5080 "$(gateway_address "$1"):5060"
}

network_require
for tool in nft sipp python3; do
	command -v "$tool" >/dev/null || network_refuse "the $tool command is missing"
done
network_open
network_site g0 192.0.2.9
block_udp 0 2>/dev/null || network_refuse "this kernel has no nftables"
network_close

# --- nobody has UDP ---
begin
for number in 1 2 3 4 5; do
	gateway_create "$number" $([ "$number" -ne 1 ] || echo "alice@$OVERLAY") || die "no gateway $number"
	block_udp "$number"
done
gateway_start 1 && gateway_wait 1 || die "gateway 1 does not start"
for number in 2 3 4 5; do gateway_start "$number" || die "gateway $number does not start"; done
for number in 1 2 3 4 5; do
	gateway_wait "$number" 4 120 || die "gateway $number does not join over TCP"
	[ "$(links_over "$number" DTLS-UDP-SR-NO-ICE)" -eq 0 ] || die "gateway $number has a link over UDP"
	[ "$(links_over "$number" TLS-TCP-FH-NO-ICE)" -ge 4 ] || die "gateway $number lacks links over TCP"
done
call 5
gateway_kill 3; unset 'GATEWAY_PID[3]' # TCP connections that end are noticed like links that do
gateway_wait 1 3 60 && call 4
# The cache says how they were reached, and at the next start TCP is not kept waiting for UDP.
gateway_stop 5 || die "gateway 5 did not end well"
grep -q "^192\.0\.2\.1[1-4]:6084 [0-9a-f]\{32\} [0-9]* tcp$" "$WORK/gateway-5/peers" || die "the cache does not name TCP: $(cat "$WORK/gateway-5/peers")"
: >"$WORK/gateway-5/log"
gateway_start 5 && gateway_wait 5 3 60 || die "gateway 5 does not come back"
grep -q "Joined through .* (peer cache)" "$WORK/gateway-5/log" || die "gateway 5 did not use its cache"
milliseconds=$(sed -n 's/.*Joined through .* (peer cache), \([0-9]*\) ms after.*/\1/p' "$WORK/gateway-5/log")
echo "without UDP, from the cache, in again after $milliseconds ms"
finish
echo "ok: 5 peers without UDP"

# --- two of five have none ---
begin
for number in 1 2 3 4 5; do
	gateway_create "$number" $([ "$number" -ne 1 ] || echo "alice@$OVERLAY") || die "no gateway $number"
done
block_udp 2
block_udp 4
gateway_start 1 && gateway_wait 1 || die "gateway 1 does not start"
for number in 2 3 4 5; do gateway_start "$number" || die "gateway $number does not start"; done
for number in 1 2 3 4 5; do gateway_wait "$number" 4 120 || die "gateway $number does not join"; done
for number in 1 3 5; do
	[ "$(links_over "$number" DTLS-UDP-SR-NO-ICE)" -ge 2 ] || die "gateway $number does not prefer UDP"
	[ "$(links_over "$number" TLS-TCP-FH-NO-ICE)" -ge 2 ] || die "gateway $number has no link to those without UDP"
done
for number in 2 4; do
	[ "$(links_over "$number" TLS-TCP-FH-NO-ICE)" -ge 4 ] || die "gateway $number lacks links over TCP"
done
for number in 2 3 4 5; do call "$number"; done
finish
echo "ok: 5 peers, two of them without UDP"

# --- a shared secret, over either protocol ---
secret() { # gateway, secret
	install -m 600 /dev/null "$WORK/gateway-$1/secret"
	printf '%s\n' "$2" >"$WORK/gateway-$1/secret"
	sed -i "/^\[node\]/a shared-secret = $WORK/gateway-$1/secret" "$WORK/gateway-$1/ringgate.conf"
}
begin
for number in 1 2 3 4 5; do gateway_create "$number" $([ "$number" -ne 1 ] || echo "alice@$OVERLAY") || die "no gateway $number"; done
for number in 1 2 3; do secret "$number" "c0rrect horse battery staple 1"; done
secret 4 "wrong horse battery staple 12"
block_udp 3
chmod 640 "$WORK/gateway-2/secret"
"$BUILD/ringgated" --check --config "$WORK/gateway-2/ringgate.conf" >"$WORK/check" 2>&1 && die "a secret that others can read is accepted"
grep -q "others can read the shared secret; run: chmod 600" "$WORK/check" || die "no advice: $(cat "$WORK/check")"
chmod 600 "$WORK/gateway-2/secret"
gateway_start 1 && gateway_wait 1 || die "gateway 1 does not start"
for number in 2 3 4 5; do gateway_start "$number" || die "gateway $number does not start"; done
for number in 1 2 3; do gateway_wait "$number" 2 120 || die "gateway $number does not join with the secret"; done
[ "$(links_over 1 DTLS-UDP-SR-NO-ICE)" -ge 1 ] && [ "$(links_over 1 TLS-TCP-FH-NO-ICE)" -ge 1 ] || die "not over both protocols"
call 3
says() { # gateway, words: both sides tell their operator why
	timeout --foreground 60 grep -q -m1 -e "$2" < <(tail -n +1 -F --pid="${GATEWAY_PID[$1]}" "$WORK/gateway-$1/log" 2>/dev/null) || die "gateway $1 does not say: $2"
}
says 4 "its shared secret is not ours"
says 1 "its shared secret is not ours"
says 5 "maybe it uses a shared secret that this node has not been given"
says 1 "it does not use a shared secret, as this overlay does"
[ "$(gateway_ctl 1 peers --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["peers"]))')" -eq 2 ] || die "a stranger has a link"
! grep -q "staple" "$WORK"/gateway-*/log || die "a secret is in a log"
finish
echo "ok: a shared secret; the wrong one and none are refused with reasons"
