#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# make run: a trial overlay of PEERS site gateways on this machine, each in a network namespace of its own.
#   PEERS=5        how many gateways
#   ONCE=1         do the example call alone, print a line a step, end with status 0 or 1
#   KEYLOG=file    write the keys of all links there (SSLKEYLOGFILE format)
#   PCAP=file      record all RELOAD traffic there
#   CIPHERS=list   OpenSSL cipher list of the links (with KEYLOG: AES-GCM, see below)
set -u
cd "$(dirname "$0")/../.." || exit 1
PEERS=${PEERS:-5}
BUILD=$(realpath "${BUILD:-build}")
case $PEERS in
'' | *[!0-9]*) echo "PEERS is \"$PEERS\", expected a number from 1 to 100."; exit 2 ;;
esac
[ "$PEERS" -ge 1 ] && [ "$PEERS" -le 100 ] || { echo "PEERS is $PEERS, expected a number from 1 to 100."; exit 2; }
[ -z "${KEYLOG:-}" ] || { KEYLOG=$(realpath -m "$KEYLOG"); : >"$KEYLOG"; chmod 600 "$KEYLOG"; }
[ -z "${PCAP:-}" ] || PCAP=$(realpath -m "$PCAP")
# Wireshark 4.0, of Debian 12, cannot decrypt ChaCha20-Poly1305 in DTLS; what is recorded should be readable.
[ -z "${KEYLOG:-}" ] || CIPHERS=${CIPHERS:-ECDHE-ECDSA-AES128-GCM-SHA256}
. appliance/trial/network.sh
. appliance/trial/overlay.sh
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)

step=0
say() { step=$((step + 1)); printf '%2d. %s\n' "$step" "$*"; }
fail() {
	printf 'FAILED: %s\n' "$*"
	for log in "$WORK"/gateway-*/log; do
		[ -s "$log" ] && tail -n 3 "$log" | sed "s|^|  $(basename "$(dirname "$log")"): |"
	done
	exit 1
}

capture_pid=
finish() {
	trap '' HUP INT TERM PIPE # a second Ctrl-C does not leave half of it behind
	trap - EXIT
	# An orderly leave first, so that the capture holds it and nothing is left half-written.
	for number in "${!GATEWAY_PID[@]}"; do kill -TERM "${GATEWAY_PID[$number]}" 2>/dev/null; done
	for number in "${!GATEWAY_PID[@]}"; do
		timeout 10 tail --pid="${GATEWAY_PID[$number]}" -f /dev/null 2>/dev/null
	done
	if [ -n "$capture_pid" ]; then
		kill -TERM "$capture_pid" 2>/dev/null
		wait "$capture_pid" 2>/dev/null
	fi
	network_close
	rm -rf "$WORK"
}
trap finish EXIT
trap 'exit 130' HUP INT TERM PIPE

start_capture() {
	: >"$WORK/tcpdump.log"
	ip netns exec "$NETWORK-lan" tcpdump -i lan -s 0 -B 65536 -U -Z root -w "$PCAP" udp port 6084 2>"$WORK/tcpdump.log" &
	capture_pid=$!
	timeout --foreground 60 grep -q -m1 "listening on" < <(tail -n +1 -F --pid=$capture_pid "$WORK/tcpdump.log" 2>/dev/null) ||
		fail "tcpdump does not start: $(cat "$WORK/tcpdump.log")"
}

start_overlay() {
	local number wanted
	network_require
	network_open || fail "the bridge cannot be made"
	[ -z "${PCAP:-}" ] || start_capture
	overlay_create --require-kind 0xf0000001:SINGLE:NODE-MULTIPLE:1:2000:255 --update-interval 60 ||
		fail "the overlay cannot be made"
	say "overlay $OVERLAY: root certificate, signed configuration document"
	for number in $(seq "$PEERS"); do
		case $number in
		1) gateway_create 1 alice@$OVERLAY ;;
		2) gateway_create 2 bob@$OVERLAY ;;
		*) gateway_create "$number" "user$number@$OVERLAY" ;;
		esac || fail "gateway $number cannot be made"
	done
	say "$PEERS gateways: certificate, users and settings each"
	gateway_start 1 && gateway_wait 1 || fail "gateway 1 does not start the overlay"
	for number in $(seq 2 "$PEERS"); do
		gateway_start "$number" || fail "gateway $number does not start"
	done
	wanted=$((PEERS - 1 < 6 ? PEERS - 1 : 6))
	for number in $(seq "$PEERS"); do
		gateway_wait "$number" "$wanted" 120 || fail "gateway $number does not join"
		[ ! -t 1 ] || printf '\r    joined: %d of %d' "$number" "$PEERS"
	done
	[ ! -t 1 ] || printf '\r'
	say "all $PEERS peers have joined the ring over DTLS"
	network_site phone 192.0.2.5 || fail "the phones' namespace cannot be made"
}

show_ring() {
	local number
	echo
	echo "The ring of $OVERLAY, in order:"
	for number in $(seq "$PEERS"); do
		printf '  %s  gateway %-3d %s  %s\n' "$(gateway_ctl "$number" status --json | sed -n 's/.*"node_id": "\([0-9a-f]*\)".*/\1/p')" "$number" \
			"$(gateway_address "$number")" "$(cd "$WORK/gateway-$number/users" && ls -- *.crt | sed 's/\.crt$//' | tr '\n' ' ')"
	done | sort
}

explain() {
	local last=$PEERS
	cat <<-TEXT

		Every gateway serves SIP on its port 5060. Place the example call from a second terminal, as root:

		  # alice's phone registers at gateway 1
		  ip netns exec $NETWORK-phone sipp -sf tests/sip/register.xml -s alice -key domain $OVERLAY -i 192.0.2.5 -p 5070 -m 1 $(gateway_address 1):5060

		  # somebody calls her through gateway $last: the answer is 302 with her Contact
		  ip netns exec $NETWORK-phone sipp -sf tests/sip/invite_302.xml -s alice -key domain $OVERLAY -key expect sip:alice@192.0.2.5:5070 -i 192.0.2.5 -p 5080 -m 1 $(gateway_address "$last"):5060

		  # what the overlay knows
		  $BUILD/ringgatectl --socket $WORK/gateway-$last/control resolve alice@$OVERLAY
		  $BUILD/ringgatectl --socket $WORK/gateway-1/control ring
		  $BUILD/ringgatectl --socket $WORK/gateway-1/control status

		It stays up until you press Ctrl-C.
	TEXT
}

sipp_run() {
	local name=$1
	shift
	network_in phone timeout --foreground 60 sipp -sf "tests/sip/$name.xml" -key domain "$OVERLAY" -i 192.0.2.5 -m 1 -nostdin -timeout 50 -timeout_error \
		"$@" >"$WORK/sipp.log" 2>&1
}

call_once() {
	local caller=$PEERS registrar=1 contact="sip:alice@192.0.2.5:5070"
	sipp_run register -s alice -p 5070 "$(gateway_address $registrar):5060" ||
		fail "REGISTER at gateway $registrar: $(tail -n 3 "$WORK/sipp.log")"
	say "alice's phone is registered at gateway $registrar (REGISTER, 200)"
	sipp_run invite_302 -s alice -key expect "$contact" -p 5080 "$(gateway_address "$caller"):5060" ||
		fail "INVITE at gateway $caller: $(tail -n 3 "$WORK/sipp.log")"
	say "INVITE for alice@$OVERLAY at gateway $caller is answered 302, Contact <$contact> as registered"
	sipp_run options_302 -s alice -key expect "$contact" -p 5081 "$(gateway_address "$caller"):5060" || fail "OPTIONS at gateway $caller: $(tail -n 3 "$WORK/sipp.log")"
	say "OPTIONS for alice is answered 302 as well"
	sipp_run invite_404 -s nobody -p 5082 "$(gateway_address "$caller"):5060" || fail "INVITE for nobody: $(tail -n 3 "$WORK/sipp.log")"
	say "INVITE for nobody@$OVERLAY is answered 404"
	if [ "$PEERS" -gt 1 ]; then
		sipp_run register -s bob -t t1 -p 5090 "$(gateway_address 2):5060" || fail "REGISTER over TCP at gateway 2: $(tail -n 3 "$WORK/sipp.log")"
		sipp_run invite_302 -s bob -t t1 -key expect "sip:bob@192.0.2.5:5090" -p 5091 "$(gateway_address 1):5060" ||
			fail "INVITE over TCP at gateway 1: $(tail -n 3 "$WORK/sipp.log")"
		say "bob's phone registers at gateway 2 over TCP, INVITE at gateway 1 over TCP is answered 302"
	fi
	sipp_run unregister -s alice -p 5070 "$(gateway_address $registrar):5060" ||
		fail "un-REGISTER at gateway $registrar: $(tail -n 3 "$WORK/sipp.log")"
	sipp_run invite_480 -s alice -p 5083 "$(gateway_address "$caller"):5060" || fail "INVITE after the phone left: $(tail -n 3 "$WORK/sipp.log")"
	say "after the phone unregistered, INVITE is answered 480"
}

start_overlay
if [ -n "${ONCE:-}" ]; then
	call_once
	echo "The call flow works over $PEERS peers."
	exit 0
fi
show_ring
explain
while :; do
	wait -n "${GATEWAY_PID[@]}"
	for number in "${!GATEWAY_PID[@]}"; do
		kill -0 "${GATEWAY_PID[$number]}" 2>/dev/null && continue
		echo "gateway $number has ended; the others go on."
		unset "GATEWAY_PID[$number]"
	done
	[ ${#GATEWAY_PID[@]} -gt 0 ] || fail "no gateway is left"
done
