#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# One transit peer and what its interfaces can be like: messages come in by one and leave by another; by an interface with several
# queues, served by several processors at once, over one link out, without using a record number twice; with VLAN tags; to an interface whose
# MTU becomes too small for them and large again. And an interface whose driver does not take the program: there it is the shield, and the
# daemon forwards; or, without the shield, it is off, and why is said.
#   PHASES="…"  RATE=600 LOAD_MS=1800     only some of them; the load of each source
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
PHASES=${PHASES:-queues tags mtu generic}
RATE=${RATE:-600} LOAD_MS=${LOAD_MS:-1800} SIZE=400
SOURCES=8 # all of them in one of four queues: once in 16,000 runs
LOG_LEVEL=notice
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
. tests/support/fastpath_net.sh
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
die() {
	echo "FAILED: $*"
	tail -n 8 "$WORK"/gateway-*/log
	gateway_ctl 1 fastpath
	exit 1
}
SINK=203.0.113.2
report=
transit() { network_in g1 "$@"; }
ready() { timeout 60 grep -q -m1 "$1" < <(tail -n +1 -F "$2" 2>/dev/null); }

# space NAME: a namespace without a connection to anything.
space() {
	NETWORK_SITES+=("$1")
	ip netns add "$NETWORK-$1" && network_in "$1" ip link set lo up
}

# wire SITE INTERFACE TRANSIT'S ADDRESS OPTION…: a veth from the transit peer's INTERFACE to SITE's, with that address there. The kernel
# behind it gives its own segments of joined datagrams, and takes what XDP redirects.
wire() {
	local site=$1 name=$2 address=$3
	shift 3
	ip link add "$name" netns "$NETWORK-g1" "$@" type veth peer name "$name" netns "$NETWORK-$site" "$@"
	transit ip link set "$name" gso_max_segs 1 up
	network_in "$site" ip link set "$name" gso_max_segs 1 up
	transit ip route add "$address" dev "$name"
	fastpath_gro "$name" "$site"
}

# attend SITE INTERFACE ADDRESS: SITE reaches the transit peer by it.
attend() { network_in "$1" ip address add "$3/32" dev "$2" && network_in "$1" ip route add "$(gateway_address 1)" dev "$2" src "$3"; }

# settle NAME: after the load, how many of the messages the kernel forwarded.
settle() {
	kernel=$(($(fastpath_figure 1 forwarded_kernel) - before))
	echo "$1: sent=$sent received=$received duplicates=$duplicates wrong=$wrong pieces=$pieces kernel=$kernel"
	[ "$wrong" -eq 0 ] && [ "$duplicates" -eq 0 ] || die "$1: $wrong messages are wrong, $duplicates came twice"
	[ "$sent" -gt $((RATE * LOAD_MS / 2000)) ] || die "$1: only $sent messages were sent"
}

# load NAME SITE ADDRESS [COMMAND…]: from there to the sink; COMMAND a third into it.
load() {
	local name=$1 site=$2 address=$3
	shift 3
	load_sink sink b $SINK "$(gateway_address 1):6084" || die "$name: no sink"
	load_source source "$site" "$address" "$(gateway_address 1):6084" "$sink" $RATE "$LOAD_MS" $SIZE || die "$name: no source"
	before=$(fastpath_figure 1 forwarded_kernel)
	load_third || die "$name: the load does not begin"
	[ $# -eq 0 ] || "$@" || die "$name: $*"
	load_end || die "$name: the load ended badly"
	settle "$name"
}
all_by_kernel() {
	[ "$received" -eq "$sent" ] || die "$1: $received of $sent messages arrived"
	[ "$kernel" -gt $((sent / 2)) ] || die "$1: the kernel forwarded $kernel of $sent messages"
}

queues() {
	local i used
	declare -a pids=()
	load_sink sink b $SINK "$(gateway_address 1):6084" || die "queues: no sink"
	before=$(fastpath_figure 1 forwarded_kernel)
	for ((i = 0; i < SOURCES; i++)); do
		# Who sends runs the receiver of a veth, too.
		LOAD_PREFIX="taskset -c $((i % $(nproc)))" load_source "source$i" a 198.51.100.101 "$(gateway_address 1):6084" "$sink" \
			$RATE "$LOAD_MS" $SIZE $((i * 100000)) || die "queues: no source"
		pids+=("$LOAD_SOURCE")
	done
	for i in "${pids[@]}"; do wait "$i" || die "queues: a source ended badly"; done
	load_end || die "queues: the load ended badly"
	sent=$(sed -n 's/^sent=\([0-9]*\) .*/\1/p' "$WORK"/source[0-9].out | awk '{ sum += $1 } END { print sum + 0 }')
	settle queues
	all_by_kernel queues
	used=$(transit python3 tests/net/veth_queues.py many)
	echo "queues: packets of each: $used"
	[ "$(tr ' ' '\n' <<<"$used" | awk '$1 > 100' | wc -l)" -ge 2 ] || die "queues: not several were used: $used"
	report+="$sent messages of $SOURCES sources by the queues $used; "
}

tags() {
	local relay relayed
	ip netns exec "$NETWORK-relay" python3 tests/net/tag_relay.py plain tagged >"$WORK/relay" 2>&1 &
	relay=$!
	ready ready "$WORK/relay" || die "tags: no relay"
	load tags c 198.51.100.103 kill -USR1 $relay
	kill -TERM $relay
	wait $relay
	relayed=$(sed -n 's/^tagged=\([0-9]*\) .*/\1/p' "$WORK/relay")
	# Nobody has an interface for the tags here: what the kernel does not take is lost.
	[ "${relayed:-0}" -ge $((sent / 2)) ] || die "tags: $(tail -n 1 "$WORK/relay")"
	all_by_kernel tags
	report+="$relayed records with tags; "
}

# Room for all, not for these until the daemon has sent $sent_third in pieces, room again.
shrink() {
	local until=$(($(fastpath_figure 1 forwarded_daemon) + sent_third)) give_up=$((SECONDS + 20))
	transit ip link set side mtu 1000
	until [ "$(fastpath_figure 1 forwarded_daemon)" -ge $until ]; do
		[ $SECONDS -lt $give_up ] || return 1
	done
	middle=$(fastpath_figure 1 forwarded_kernel)
	transit ip link set side mtu 1500
}
mtu() {
	SIZE=1200
	sent_third=$((RATE * LOAD_MS / 3000))
	LOAD_MS=$((LOAD_MS * 2)) load mtu a 198.51.100.101 shrink
	# Datagrams of the daemon are cut by IP on the way of a link that came up when there was room; there, messages go as a whole.
	# What a processor has in hand at the moment of the change is too long when it comes to the device: one message of each at most.
	[ "$received" -ge $((sent - $(nproc))) ] || die "mtu: $received of $sent messages arrived"
	[ $((kernel + before - middle)) -ge $((sent_third / 2)) ] || die "mtu: the kernel does not go on when there is room again"
	report+="$sent messages while the MTU changed, $((sent - received)) lost; "
	transit ip link set side mtu 1000
	load "mtu from the start" a 198.51.100.101
	transit ip link set side mtu 1500
	SIZE=400
	[ "$received" -eq "$sent" ] && [ "$pieces" -ge $((2 * sent)) ] || die "mtu: $received of $sent messages arrived, $pieces pieces"
	report+="$sent in $pieces pieces; "
}

# note_mode INTERFACE: $why becomes how the program runs there, and for what reason.
note_mode() {
	why=$(gateway_ctl 1 fastpath --json | python3 -c 'import json, sys
for each in json.load(sys.stdin)["interfaces"]:
    if each["name"] == sys.argv[1]:
        print(each["mode"], each["reason"])' "$1")
}

# The transit peer's addresses are on a bridge, to which its veth belongs.
generic() {
	gateway_stop 1 || die "generic: the gateway does not stop"
	transit ip link add bridge0 type bridge mcast_snooping 0 && transit ip link set bridge0 up || network_refuse "no bridge"
	transit ip address flush dev lan && transit ip link set lan master bridge0
	transit ip address add "$(gateway_address 1)/24" dev bridge0
	transit ip address add 2001:db8:6084::11/64 dev bridge0 nodad
	local shield why
	for shield in yes no; do
		printf '[links]\nshield = %s\n' $shield >"$WORK/gateway-1/ringgate.conf.d/shield.conf"
		: >"$WORK/gateway-1/log"
		gateway_start 1 && gateway_wait 1 0 60 || die "generic: the gateway does not start"
		load generic d 192.0.2.104 note_mode bridge0
		case $shield in
		yes) [[ $why == "generic shield only, the driver does not take it: "* ]] || die "generic: bridge0 is: $why" ;;
		no) [[ $why == "off "*"driver does not take it"* ]] || die "generic: bridge0 is: $why" ;;
		esac
		[ "$received" -eq "$sent" ] || die "generic: $received of $sent messages arrived"
		[ "$kernel" -eq 0 ] || die "generic: the kernel forwarded $kernel messages of an interface that cannot do it"
		report+="bridge: $why; "
		[ $shield = no ] || gateway_stop 1 || die "generic: the gateway does not stop"
	done
}

network_require
network_open
overlay_create || die "no overlay"
gateway_create 1 || die "no gateway"
fastpath_settings 1
for name in sink source source{0..7}; do load_identity "$name" || die "no certificate"; done
space a && space b && space c && space relay
wire b side $SINK
attend b side $SINK
wire a many 198.51.100.101 numrxqueues 4 numtxqueues 4
attend a many 198.51.100.101
wire relay tagged 198.51.100.103
ip link add plain netns "$NETWORK-relay" type veth peer name plain netns "$NETWORK-c"
network_in relay ip link set plain up
network_in c ip link set plain gso_max_segs 1 up
attend c plain 198.51.100.103
network_site d 192.0.2.104
gateway_start 1 && gateway_wait 1 0 60 || die "the gateway does not start"
fastpath_on 1 || network_refuse "$reason"
ip netns exec "$NETWORK-b" python3 tests/net/record_numbers.py side 6084 >"$WORK/numbers" &
watcher=$!
ready watching "$WORK/numbers" || die "the watcher does not start"
for name in $PHASES; do "$name"; done
kill -TERM $watcher
wait $watcher
grep -q "^records=[0-9]* repeated=0 missed=0 " "$WORK/numbers" || die "record numbers on the wire: $(cat "$WORK/numbers")"
fastpath_clean 1 || die "records were not in order"
echo "${report}$(sed -n 's/^records=\([0-9]*\) .*/\1/p' "$WORK/numbers") records to the sink, no number twice"
