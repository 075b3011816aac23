#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Three peers and a client that reaches two of them through the third: with the kernel fast path its messages and their answers are
# forwarded by the kernel of that peer, with real handshakes and links, and everything else is as without it. FW-A03 FW-E01
# alone: the load must not be late
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
COUNT=${COUNT:-40}
LOG_LEVEL=notice
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
ROOT=$WORK
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'network_close; rm -rf "$ROOT"' EXIT
trap 'exit 130' INT TERM
die() { echo "$*"; tail -n 3 "$WORK"/gateway-*/log; exit 1; }
node_id() { gateway_ctl "$1" status --json | sed -n 's/.*"node_id": "\([0-9a-f]*\)".*/\1/p'; }
# Sum of a figure of `ringgatectl fastpath --json` over the peers.
figure() {
	local number
	for number in 1 2 3; do gateway_ctl "$number" fastpath --json; done |
		sed -n "s/^ *\"$1\": \([0-9]*\),*$/\1/p" | awk '{ sum += $1 } END { print sum + 0 }'
}

# run MODE: the client pings every peer COUNT times, and fetches what it stored; counts answers in $answers.
run() {
	local number target
	WORK=$ROOT/$1
	mkdir "$WORK"
	network_open
	overlay_create || die "no overlay"
	for number in 1 2 3 4; do
		gateway_create "$number" || die "gateway $number"
		mkdir "$WORK/gateway-$number/ringgate.conf.d"
		printf '[links]\nfastpath = %s\n' "$1" >"$WORK/gateway-$number/ringgate.conf.d/fastpath.conf"
		# A veth takes redirected frames only if the other end has GRO or a program of its own.
		network_in lan python3 tests/net/veth_gro.py "rg$$-g$number" || network_refuse "GRO of veth cannot be switched on"
	done
	printf '[node]\nrole = client\n' >"$WORK/gateway-4/ringgate.conf.d/client.conf"
	for number in 1 2 3 4; do
		gateway_start "$number" || die "gateway $number"
		gateway_wait "$number" 0 60 || die "gateway $number does not join"
	done
	for number in 1 2 3; do gateway_wait "$number" 2 60 || die "gateway $number has no two links"; done
	if [ "$1" = auto ] && [ "$(gateway_ctl 1 fastpath --json | grep -c '"enabled": true')" -eq 0 ]; then
		network_refuse "$(gateway_ctl 1 fastpath | head -n 1)"
	fi
	answers=0
	before=$(figure forwarded_kernel) before_daemon=$(figure forwarded_daemon)
	for number in 1 2 3; do
		target=$(node_id "$number")
		answers=$((answers + $(gateway_ctl 4 ping "$target" --count "$COUNT" | grep -c "$target answered")))
	done
	kernel=$(($(figure forwarded_kernel) - before)) daemon=$(($(figure forwarded_daemon) - before_daemon))
	failed=$(figure failed) egress_failed=$(figure egress_failed)
	drops=$(for number in 1 2 3 4; do gateway_ctl "$number" drops; done | grep -E 'forged|replay|bad_tag|malformed|bad_frame')
	for number in 4 3 2 1; do gateway_stop "$number" || die "gateway $number does not stop in order"; done
	network_close
}

network_require
run no
[ "$answers" -eq $((3 * COUNT)) ] || die "without the fast path $answers of $((3 * COUNT)) pings were answered"
[ "$kernel" -eq 0 ] && [ "$daemon" -ge $((4 * COUNT)) ] || die "without the fast path the kernel forwarded $kernel, the daemons $daemon"
forwarded=$daemon
run auto
[ "$answers" -eq $((3 * COUNT)) ] || die "with the fast path $answers of $((3 * COUNT)) pings were answered"
[ -z "$drops" ] || die "records were dropped: $drops"
[ "$failed" -eq 0 ] && [ "$egress_failed" -eq 0 ] || die "$failed messages could not be sent, $egress_failed frames met no counterpart"
# Two pings of three, there and back. Now and then a neighbor is not known to the kernel, or keystream comes late on a busy machine.
[ "$kernel" -ge $((4 * COUNT / 2)) ] || die "the kernel forwarded $kernel messages, the daemons $daemon"
echo "kernel forwarded $kernel messages, daemons $daemon ($forwarded without the fast path); all $((3 * COUNT)) pings answered both times"
