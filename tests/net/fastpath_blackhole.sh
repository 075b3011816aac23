#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# An interface that takes what the kernel forwards and does not send it: that is seen beforehand, the daemon serves its links and no
# message is lost; once the interface sends, the kernel forwards.
# alone: links are judged by the acks they miss
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
LOG_LEVEL=notice
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
. tests/support/fastpath_net.sh
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
TRANSIT=192.0.2.11:6084
log=$WORK/gateway-1/log
die() {
	echo "FAILED: $*"
	cat "$log"
	gateway_ctl 1 fastpath
	exit 1
}
# run MILLISECONDS: the load, while "$@" happens in its midst
run() {
	local milliseconds=$1
	shift
	load_source a a 192.0.2.101 $TRANSIT "$sink" 1000 "$milliseconds" 400 || die "no source"
	[ $# -eq 0 ] || "$@"
	kernel=$(fastpath_figure 1 forwarded_kernel)
	load_end || die "the load ended badly"
	kernel=$(($(fastpath_figure 1 forwarded_kernel) - kernel))
	[ "$wrong" -eq 0 ] && [ "$duplicates" -eq 0 ] || die "$wrong messages came to a wrong peer, $duplicates twice"
}
said() { timeout --foreground "${2:-30}" grep -q -m1 "$1" < <(tail -n +1 -F "$log" 2>/dev/null) || die "not said in ${2:-30} s: $1"; }
network_require
network_open
overlay_create || die "no overlay"
gateway_create 1 || die "no gateway"
fastpath_settings 1
network_site a 192.0.2.101 && load_identity a || die "no source"
network_site b 192.0.2.102 && load_identity b || die "no sink"
gateway_start 1 && gateway_wait 1 0 || die "the gateway does not start"
fastpath_on 1 || network_refuse "$reason"

# A veth whose other end does not poll. Kernels before 6.3 do not tell, which is the second case already.
load_sink b b 192.0.2.102 $TRANSIT || die "no sink"
said "Fast path on lan: native"
if gateway_ctl 1 fastpath | grep -q "does not send what the kernel forwards"; then
	run 1500
	[ "$received" -eq "$sent" ] && [ "$kernel" -eq 0 ] || die "$received of $sent arrived, $kernel forwarded by the kernel"
	echo "veth without GRO at its other end: said, and all $sent messages sent by the daemon"
	load_sink b b 192.0.2.102 $TRANSIT || die "no sink"
	fastpath_gro "rg$$-g1"
	# It says so, or the interface is attached anew because of the change and sends at once.
	end=$(($(date +%s) + 30))
	while gateway_ctl 1 fastpath | grep -q "does not send what the kernel forwards\|interface.*off"; do
		[ "$(date +%s)" -lt $end ] || die "it does not notice that what the kernel forwards is sent now"
		read -rt 0.1 <> <(:)
	done
else
	fastpath_gro "rg$$-g1"
fi
run 1000
[ "$received" -eq "$sent" ] && [ "$kernel" -gt $((sent / 2)) ] || die "$received of $sent arrived, $kernel forwarded by the kernel"

fastpath_clean 1 || die "records were not in order"
gateway_stop 1 || die "the gateway does not stop in order"
echo "redirection that the other end does not take is seen beforehand; $kernel of $sent messages by the kernel once it does"
