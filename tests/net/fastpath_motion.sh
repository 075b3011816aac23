#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Everything under a transit peer moves while it is under load: the route and the hardware address of the next hop, a link that dies,
# an interface that begins to swallow what the kernel forwards or goes down for a moment, peers that leave and peers whose power is
# cut. Traffic follows within a second (and over IPv6, when nothing moves, nothing is lost), nothing comes twice or to a wrong peer,
# no record number is used twice. What is lost meanwhile is lost: transit peers do not resend (RFC 6940 6.6.3.1).
# All times are those in which the machine let programs run: the load notes when it does not (transit_load.c).
#   LIMIT_US=1000000   the longest time in which what is sent may get lost, and in which nothing arrives, by the clock of the load
#   PHASES="…"         only some of them
#   LOAD_MS=2400 RATE=1000    each one's load
# alone: what moves may cost a second at most, by the clock of the load
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
LIMIT_US=${LIMIT_US:-1000000}
PHASES=${PHASES:-ipv6 route address hole down leave death silence}
RATE=${RATE:-1000} LOAD_MS=${LOAD_MS:-2400} SIZE=400
LOG_LEVEL=${LOG_LEVEL:-notice}
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
. tests/support/fastpath_net.sh
trap 'network_close; [ -n "${KEEP:-}" ] || rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
die() {
	echo "FAILED: $*"
	tail -n 8 "$WORK"/gateway-*/log
	gateway_ctl "$entry" fastpath
	exit 1
}
entry=1
declare -A ID

node_id() { gateway_ctl "$1" status --json | sed -n 's/.*"node_id": "\([0-9a-f]*\)".*/\1/p'; }

# Peers in the order in which they are responsible for what goes to $sink: the first one is now, the next one if that ends. Node-IDs
# are hexadecimal digits of equal number: their order is the ring's.
ring_from_sink() {
	local number
	for number in 1 2 3 4; do
		if [[ ${ID[$number]} > $sink ]]; then echo "0${ID[$number]} $number"; else echo "1${ID[$number]} $number"; fi
	done | sort | cut -d ' ' -f 2
}

# phase NAME LINKS COMMAND…: load from the source over the entry peer to the sink, which has links to LINKS; a third into it, COMMAND.
phase() {
	local name=$1 links=$2 before number limit=$LIMIT_US late
	# Linux looks at carriers once a second: so long the bridge may keep the port of an interface that came up closed.
	[ "$name" != down ] || limit=$((limit + 1000000))
	shift 2
	load_sink b b "$SINK" "$links" || die "$name: no sink"
	load_source a a "$SOURCE" "$(links_to "$entry")" "$sink" $RATE "$LOAD_MS" $SIZE || die "$name: no source"
	before=$(fastpath_figure "$entry" forwarded_kernel)
	load_third || die "$name: the load does not begin"
	"$@" || die "$name: $*"
	load_end || die "$name: the load ended badly: $(tail -qn 3 "$LOAD_SOURCE_OUT" "$LOAD_SINK_OUT" | tr '\n' ' ')"
	kernel=$(($(fastpath_figure "$entry" forwarded_kernel) - before))
	echo "$name: sent=$sent refused=$refused skipped_us=$skipped_us received=$received highest=$highest duplicates=$duplicates" \
		"wrong=$wrong gap_us=$gap_us of $gap_whole_us pause_us=$pause_us of $pause_whole_us stalled_us=$stalled_us" \
		"latency_us_max=$latency_us_max kernel=$kernel"
	# As many as were sent while a processor did not run anything of this: queues of interfaces hold a quarter of a second.
	late=$((RATE * stalled_us / 1000000))
	# What the source could not send tells of its own link.
	[ "$refused" -eq 0 ] || sed -n "s/^sent=/$name: the source: sent=/p" "$LOAD_SOURCE_OUT"
	[ "$forged" -eq 0 ] || die "$name: the source got $forged records that are not its neighbor's"
	[ "$wrong" -eq 0 ] && [ "$duplicates" -eq 0 ] || die "$name: $wrong messages came to a wrong peer, $duplicates twice"
	[ "$gap_us" -le "$limit" ] || die "$name: nothing that was sent in $gap_us us arrived"
	[ "$pause_us" -le "$limit" ] || die "$name: nothing arrived for $pause_us us"
	[ $((sent - highest)) -lt $((RATE / 4 + late)) ] || die "$name: the last $((sent - highest)) messages did not arrive"
	[ "$kernel" -gt $((sent / 8)) ] || die "$name: the kernel forwarded $kernel of $sent messages"
	report+="$name $((pause_us / 1000)) ms, "
}
links_to() {
	local number list=
	for number in "$@"; do
		case $SINK in
		*:*) list+=",[2001:db8:6084::$((10 + number))]:6084" ;;
		*) list+=,$(gateway_address "$number"):6084 ;;
		esac
	done
	echo "${list#,}"
}
# Nothing moves: nothing is lost, and the kernel does it. When the machine stood still, queues may have overflowed: once more.
still() {
	local again
	for again in 1 2 3 4 5; do
		"$@" true
		[ "$received" -eq "$sent" ] && [ "$kernel" -gt $((sent / 2)) ] && return 0
		[ "$stalled_us" -gt 50000 ] || break
		echo "$2: $received of $sent arrived, but the machine stood still for $stalled_us us: once more"
	done
	die "$2: $received of $sent arrived, $kernel forwarded by the kernel"
}
in_entry() { network_in "g$entry" "$@"; }

network_require
network_open
overlay_create || die "no overlay"
for number in 1 2 3 4; do
	gateway_create $number || die "gateway $number"
	fastpath_settings $number
	fastpath_gro "rg$$-g$number"
	gateway_start $number && gateway_wait $number 0 60 || die "gateway $number does not start"
done
for number in 1 2 3 4; do
	gateway_wait $number 3 60 || die "gateway $number has no three links"
	ID[$number]=$(node_id $number)
done
fastpath_on 1 || network_refuse "$reason"

# ---- the ends: the sink's address is on no interface, so that there are two ways to it
SINK=203.0.113.2 SOURCE=192.0.2.101
network_site a 192.0.2.101 && load_identity a || die "no source"
network_site b 192.0.2.102 && load_identity b || die "no sink"
network_in b ip address add $SINK/32 dev lo
fastpath_gro "rg$$-b"
load_sink b b $SINK "$(links_to 1)" || die "no sink"
exec {LOAD_INPUT}>&-
wait "$LOAD_SINK"
rm "$WORK/b.in"
# What has no link to the sink goes from the entry peer to the one before the sink, from there to the one that is responsible.
read -r first second entry last < <(ring_from_sink | tr '\n' ' ')
echo "sink $sink; then $first ${ID[$first]}, $second ${ID[$second]}, $entry ${ID[$entry]} (entry), $last ${ID[$last]}"
ip link add side netns "$NETWORK-g$entry" type veth peer name side netns "$NETWORK-b"
in_entry ip address add 198.51.100.1/30 dev side && in_entry ip link set side up
network_in b ip address add 198.51.100.2/30 dev side && network_in b ip link set side up
fastpath_gro side b
: >"$WORK/numbers"
ip netns exec "$NETWORK-lan" python3 tests/net/record_numbers.py "rg$$-g$entry" 6084 >"$WORK/numbers" &
watcher=$!
timeout 60 grep -q watching < <(tail -n +1 -F "$WORK/numbers" 2>/dev/null) || die "the watcher does not start"

# One that must not get anything.
network_site c 192.0.2.103 && load_identity c && load_sink c c 192.0.2.103 "$(links_to 1 2 3 4)" || die "no bystander"
bystander=$LOAD_SINK bystander_input=$LOAD_INPUT

# ---- what happens in the phases
move_route() { in_entry ip route replace $SINK dev side; }
move_address() { network_in b ip link set dev lan address 02:00:5e:00:53:0$1; }
open_hole() { fastpath_gro "rg$$-g$entry" lan off; }
close_hole() { fastpath_gro "rg$$-g$entry"; }
blink() { in_entry ip link set lan down && in_entry ip link set lan up && in_entry ip route replace default dev lan; }
silence() {
	network_in lan nft -f - <<-RULES
		table netdev silence {
			chain to {
				type filter hook ingress device "rg$$-g$entry" priority 0;
				ip daddr $(gateway_address "$last") drop
			}
			chain from {
				type filter hook ingress device "rg$$-g$last" priority 0;
				ip daddr $(gateway_address "$entry") drop
			}
		}
	RULES
}
# Who has left joins anew. Each peer notices on its own that another one is dead: with a ring that is torn already, messages would go to
# one that is dead twice, which is not what is tested here. The link that is silenced comes last, as nobody looks for it for a while.
join_again() {
	# Not with the bystander's input, which ends when nobody has it any more.
	eval "gateway_start $last $bystander_input>&-" && gateway_wait "$last" 3 60 || die "leave: gateway $last does not come back"
	local other end=$((SECONDS + 60))
	for other in "$first" "$second" "$entry"; do
		until works "$other" "$last" && works "$last" "$other"; do
			[ $SECONDS -lt $end ] || die "leave: the links of gateway $last do not come back"
			read -rt 0.1 <> <(:)
		done
	done
}
works() { gateway_ctl "$1" peers | grep "${ID[$2]}" | grep " peer " | grep -qv "(silent)"; }
cut() { network_in lan ip link set "rg$$-g$1" down; }

for name in $PHASES; do
	case $name in
	ipv6) SINK=2001:db8:6084::102 SOURCE=2001:db8:6084::101 still phase ipv6 "$(SINK=: links_to "$entry")" ;;
	route)
		phase route "$(links_to "$entry")" move_route && in_entry ip route del $SINK dev side
		# In by one interface and out by another.
		[ $((kernel + RATE * stalled_us / 1000000)) -gt $((sent / 2)) ] || die "route: the kernel forwarded $kernel of $sent messages"
		;;
	address) phase address "$(links_to "$entry")" move_address 1 ;;
	hole) phase hole "$(links_to "$entry")" open_hole && close_hole ;;
	down) LOAD_MS=$((LOAD_MS + 1500)) phase down "$(links_to "$entry")" blink ;;
	leave) phase leave "$(links_to "$first")" kill -TERM "${GATEWAY_PID[$last]}" && wait "${GATEWAY_PID[$last]}" && join_again ;;
	death) phase death "$(links_to "$first" "$second")" cut "$first" ;;
	silence) phase silence "$(links_to "$second")" silence && network_in lan nft delete table netdev silence ;;
	esac
done
exec {bystander_input}>&-
wait "$bystander"
grep -q "^received=0 .* wrong=0 " "$WORK/c.out" || die "messages came to a bystander: $(tail -n 1 "$WORK/c.out")"
kill -TERM $watcher
wait $watcher
grep -q "^records=[0-9]* repeated=0 missed=0 " "$WORK/numbers" || die "record numbers on the wire: $(cat "$WORK/numbers")"
fastpath_clean "$entry" || die "records were not in order"
echo "nothing arrived for: ${report}$(sed -n 's/^records=\([0-9]*\) .*/\1/p' "$WORK/numbers") records, no number twice, nothing to a wrong peer"
