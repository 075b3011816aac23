# SPDX-License-Identifier: BSD-2-Clause
# What the network tests of the fast path have in common: transit gateways, and a load of numbered messages from one namespace to another
# through them. Sourced after appliance/trial/network.sh and overlay.sh; needs $WORK.
#
#   fastpath_settings N [MODE]        gateway N runs with fastpath = MODE (auto)
#   fastpath_gro INTERFACE [NETWORK [off]]  an end of a veth, on the bridge by default, takes what the kernel behind the other end forwards
#   fastpath_on N                     is it running there? else the reason in $reason
#   fastpath_figure N NAME            a figure of `ringgatectl fastpath --json` of gateway N
#   fastpath_clean N…                 no record was forged, replayed, damaged or lost by the kernels of these gateways
#   load_identity NAME                a certificate for an end of the load
#   load_sink NAME SITE LOCAL TRANSIT[,TRANSIT]    starts it; its Node-ID is in $sink
#   load_source NAME SITE LOCAL TRANSIT NODE-ID RATE MILLISECONDS SIZE     starts it, goes on once it has its link
#   load_third                        waits until a third of the load's time is over
#   load_end                          waits for the source, ends the sink; what both say is in $sent, $refused, $skipped_us, $received, $highest,
#                                     $duplicates, $wrong, $gap_us, $pause_us, $stalled_us, … (transit_load.c)

fastpath_settings() {
	mkdir -p "$WORK/gateway-$1/ringgate.conf.d"
	printf '[links]\nfastpath = %s\n' "${2:-auto}" >"$WORK/gateway-$1/ringgate.conf.d/fastpath.conf"
}

fastpath_gro() { network_in "${2:-lan}" python3 tests/net/veth_gro.py "$1" "${3:-on}" || network_refuse "GRO of veth cannot be switched on"; }

fastpath_on() {
	[ "$(gateway_ctl "$1" fastpath --json | grep -c '"enabled": true')" -gt 0 ] && return 0
	reason=$(gateway_ctl "$1" fastpath | head -n 1)
	return 1
}

fastpath_figure() { gateway_ctl "$1" fastpath --json | sed -n "s/^ *\"$2\": \([0-9]*\),*$/\1/p" | awk '{ sum += $1 } END { print sum + 0 }'; }

fastpath_clean() {
	local number found
	for number in "$@"; do
		found=$(gateway_ctl "$number" drops | grep -E 'forged|replay|bad_tag|malformed|bad_frame')
		[ -z "$found" ] || {
			echo "gateway $number dropped: $found"
			return 1
		}
	done
}

load_identity() { overlay_issue --output "$WORK/$1"; }

load_sink() {
	local name=$1 site=$2
	shift 2
	: >"$WORK/$name.out"
	mkfifo "$WORK/$name.in"
	ip netns exec "$NETWORK-$site" "$BUILD/net/transit_load" sink "$WORK/ca/overlay.xml" "$WORK/$name.crt" "$WORK/$name.key" "$@" \
		<"$WORK/$name.in" >"$WORK/$name.out" 2>&1 &
	LOAD_SINK=$!
	LOAD_SINK_OUT=$WORK/$name.out
	exec {LOAD_INPUT}>"$WORK/$name.in"
	load_wait "$LOAD_SINK" "$LOAD_SINK_OUT" || return 1
	sink=$(sed -n 's/^up //p' "$LOAD_SINK_OUT")
}

load_wait() {
	timeout --foreground 30 grep -q -m1 '^up' < <(tail -n +1 -F --pid="$1" "$2" 2>/dev/null) || {
		cat "$2"
		return 1
	}
}

load_source() {
	local name=$1 site=$2
	shift 2
	: >"$WORK/$name.out"
	ip netns exec "$NETWORK-$site" $LOAD_PREFIX "$BUILD/net/transit_load" source "$WORK/ca/overlay.xml" "$WORK/$name.crt" "$WORK/$name.key" "$@" \
		>"$WORK/$name.out" 2>&1 </dev/null &
	LOAD_SOURCE=$!
	LOAD_SOURCE_OUT=$WORK/$name.out
	load_wait "$LOAD_SOURCE" "$LOAD_SOURCE_OUT"
}
LOAD_PREFIX=

load_third() { timeout --foreground 30 grep -q -m1 '^third' < <(tail -n +1 -F --pid="$LOAD_SOURCE" "$LOAD_SOURCE_OUT" 2>/dev/null); }

load_end() {
	local result=0
	wait "$LOAD_SOURCE" || result=1
	exec {LOAD_INPUT}>&-
	wait "$LOAD_SINK" || result=1
	local line
	line=$(grep -h = "$LOAD_SOURCE_OUT" "$LOAD_SINK_OUT" | tr '\n' ' ')
	rm -f "${LOAD_SINK_OUT%.out}.in"
	case $line in
	*sent=*received=*) ;;
	*)
		cat "$LOAD_SOURCE_OUT" "$LOAD_SINK_OUT"
		return 1
		;;
	esac
	line=${line//third/}
	eval "${line//[^a-z0-9_= ]/}"
	return $result
}
