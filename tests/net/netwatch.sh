#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The watcher of routes and neighbors against a real kernel. Namespace "here" watches; "near" is its neighbor on two wires, and
# the router to "far" addresses, which are its own.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
trap 'exec 7>&-; network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
LIMIT=${LIMIT:-20}

die() {
	echo "FAILED: $*"
	echo "--- what the watcher said:"
	cat "$WORK"/log.* 2>/dev/null
	exit 1
}

here() { network_in here "$@" || die "here: $*"; }
near() { network_in near "$@" || die "near: $*"; }
mac() { network_in "$1" cat "/sys/class/net/$2/address"; }

many_routes() {
	local number
	for number in {0..29999}; do
		echo "route $1 100.64.$((number >> 8)).$((number & 255)) dev lo"
	done | network_in here ip -batch - || die "many routes"
}

# Starts the watcher: its lines go through a pipe to `expect`, its commands come from descriptor 7.
watcher() {
	mkfifo "$WORK/out.$1" "$WORK/in.$1"
	local number=$1
	shift
	"$@" <"$WORK/in.$number" >"$WORK/out.$number" 2>&1 &
	exec 7>"$WORK/in.$number" 8<"$WORK/out.$number"
	LOG=$WORK/log.$number
}

# Reads lines until one holds the pattern. Lines in between are passed over: a change may take more than one step.
expect() {
	local line what=$1 pattern=$2
	while read -r -t "$LIMIT" line <&8; do
		echo "$line" >>"$LOG"
		if [[ $line =~ $pattern ]]; then
			echo "ok: $what"
			return
		fi
	done
	die "$what: no line with: $pattern"
}

network_require
for name in here near; do
	ip netns add "$NETWORK-$name" || die "namespace $name"
	NETWORK_SITES+=("$name")
	network_in "$name" ip link set lo up
done
for wire in left right; do
	ip link add "$wire" netns "$NETWORK-here" type veth peer name "$wire" netns "$NETWORK-near" || die "wire $wire"
done
# Neighbors age in tenths of seconds, so that their end need not be waited for long.
for wire in left right; do
	for family in ipv4 ipv6; do
		here sysctl -qw "net.$family.neigh.$wire.base_reachable_time_ms=400" "net.$family.neigh.$wire.retrans_time_ms=100" \
			"net.$family.neigh.$wire.delay_first_probe_time=1"
	done
done
here ip address add 192.0.2.1/24 dev left
here ip address add 203.0.113.1/24 dev right
near ip address add 192.0.2.2/24 dev left
near ip address add 203.0.113.2/24 dev right
near ip address add 198.51.100.1/32 dev lo
near ip address add 2001:db8:f::1/128 dev lo
for name in here near; do for wire in left right; do network_in "$name" ip link set "$wire" up; done; done
near ip link set left address 02:00:00:00:00:0a
# Neither side has sent a packet yet: whatever is known below, the watcher asked for.
watcher 1 network_in here "$BUILD/net/netwatch_probe" 192.0.2.2,192.0.2.1
here_a=$(mac here left) here_b=$(mac here right)
near_a=02:00:00:00:00:0a near_b=$(mac near right)
expect "the interface is listed" '^interfaces left:veth:1\.'
expect "on-link neighbor is resolved" "^1 known out=left device=left to=$near_a from=$here_a vlan=0 mtu=1500 hop_limit=64\."

near ip link set left down
expect "carrier lost" '^1 down'
near ip link set left address 02:00:00:00:00:1a
near ip link set left up
expect "link back, with the neighbor's new address" "^1 known out=left device=left to=02:00:00:00:00:1a "
near ip link set left address "$near_a"
expect "neighbor changed its address on a live link" "^1 known out=left device=left to=$near_a "
here ip link set left down
expect "interface down" '^1 (down|no-route)'
here ip link set left up
expect "interface up" "^1 known out=left device=left to=$near_a "
here ip link set left mtu 1400
expect "MTU of the interface" '^1 known .* mtu=1400 '
here ip link set left mtu 1500
expect "MTU back" '^1 known .* mtu=1500 '
here ip link set left address 02:00:00:00:00:ff
expect "own address changed" '^1 known .* from=02:00:00:00:00:ff '
here ip link set left address "$here_a"
expect "own address back" "^1 known .* from=$here_a "
here ip address del 192.0.2.1/24 dev left
expect "local address gone" '^1 no-address'
here ip address add 192.0.2.1/24 dev left
expect "local address back" "^1 known out=left device=left to=$near_a "
near ip address del 192.0.2.2/24 dev left
expect "neighbor died" '^1 no-neighbor'
near ip address add 192.0.2.2/24 dev left
expect "neighbor came back" "^1 known out=left device=left to=$near_a "

# More than the socket's buffer holds, and in the midst of it the neighbor gets another address.
watcher=$(ip netns pids "$NETWORK-here")
kill -STOP $watcher || die "the watcher cannot be stopped"
many_routes add
here ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:2a dev left nud permanent
many_routes del
kill -CONT $watcher
expect "neighbor's address after lost events" "^1 known out=left device=left to=02:00:00:00:00:2a "
echo statistics >&7
expect "events were lost" '^statistics .* overruns=[1-9].* synchronizations=([2-9]|[1-9][0-9]+) malformed=0 '
here ip neigh del 192.0.2.2 dev left
expect "entry deleted, and made again" "^1 known out=left device=left to=$near_a "
exec 7>&- 8<&-
wait

# An interface that went down took what follows along, hence only now.
here ip route add 198.51.100.0/24 via 192.0.2.2
here ip -6 address add 2001:db8:a::1/64 dev left nodad
near ip -6 address add 2001:db8:a::2/64 dev left nodad
here ip -6 route add 2001:db8:f::/64 via 2001:db8:a::2
vlan=yes count=6
network_in here ip link add link left name left.7 type vlan id 7 egress-qos-map 0:5 2>/dev/null || vlan=
if [ -n "$vlan" ]; then
	here ip address add 192.0.2.129/30 dev left.7
	here ip link set left.7 up
	near ip link add link left name left.7 type vlan id 7
	near ip link set left.7 up
	near ip address add 192.0.2.130/30 dev left.7
else
	count=5
	echo "skipped: VLAN devices, which this kernel does not have"
fi
near_local=$(network_in near ip -6 -o address show dev right scope link | awk '{ split($4, part, "/"); print part[1] }')
watcher 2 network_in here "$BUILD/net/netwatch_probe" 198.51.100.1:6084 '[2001:db8:f::1]:6084,[2001:db8:a::1]:6084' \
	"[$near_local%right]:6084" 192.0.2.130,192.0.2.129 192.0.2.1 127.0.0.1
declare -A first=()
while [ ${#first[@]} -lt $count ] && read -r -t "$LIMIT" line <&8; do
	echo "$line" >>"$LOG"
	case $line in
	"1 known out=left device=left to=$near_a from=$here_a vlan=0 mtu=1500 "*) first[gateway]=1 ;;
	"2 known out=left device=left to=$near_a from=$here_a vlan=0 mtu=1500 hop_limit=64."*) first[gateway6]=1 ;;
	"3 known out=right device=right to=$near_b from=$here_b vlan=0 "*) first[local6]=1 ;;
	"4 known out=left device=left.7 to=$near_a from=$here_a vlan=$((5 << 13 | 7)) "*) first[vlan]=1 ;;
	"5 local"*) first[own]=1 ;;
	"6 local"*) first[loopback]=1 ;;
	esac
done
[ ${#first[@]} -eq $count ] || die "of gateway, gateway6, local6, vlan, own and loopback only: ${!first[*]}"
echo "ok: gateways, IPv6 link-local, own addresses${vlan:+, VLAN device}"

here ip route replace 198.51.100.0/24 via 203.0.113.2
expect "route moved to another interface" "^1 known out=right device=right to=$near_b from=$here_b "
here ip route replace 198.51.100.0/24 via 203.0.113.2 mtu 1300 hoplimit 9
expect "MTU and hop limit of the route" '^1 known out=right .* mtu=1300 hop_limit=9\.'
here ip route add 198.51.100.1/32 via 192.0.2.2
expect "more specific route" "^1 known out=left device=left to=$near_a "
here ip rule add to 198.51.100.1 ipproto 17 dport 6084 lookup 100
here ip route add default via 203.0.113.2 table 100
expect "rule for the port" "^1 known out=right "
here ip rule del to 198.51.100.1 ipproto 17 dport 6084 lookup 100
expect "rule removed" "^1 known out=left "
here ip route add unreachable 198.51.100.1/32 metric 0 table 99
here ip rule add to 198.51.100.1 lookup 99
expect "unreachable" '^1 no-route'
here ip rule del to 198.51.100.1 lookup 99
expect "reachable" '^1 known out=left '
here ip -6 route replace 2001:db8:f::/64 via "$near_local" dev right
expect "IPv6 route moved, gateway link-local" "^2 known out=right device=right to=$near_b from=$here_b "
here ip route replace 198.51.100.1/32 via inet6 "$near_local" dev right
expect "IPv4 over an IPv6 gateway" "^1 known out=right device=right to=$near_b "
if [ -n "$vlan" ]; then
	here ip link set left.7 down
	expect "VLAN device down" '^4 (down|no-route)'
	here ip link del left.7
	expect "VLAN device gone" '^4 no-address'
fi
here ip link del right
expect "interface gone" '^(1|2|3) (no-route|unsupported|known out=left)'
echo statistics >&7
expect "statistics" '^statistics watches=6 .* overruns=0 .* malformed=0 refused=0'
exec 7>&- 8<&-
wait

# Reading needs no privileges. Without them nothing is probed, which is said once, and what others resolve is seen.
if command -v setpriv >/dev/null; then
	here ip neigh flush dev left
	watcher 3 network_in here setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all --inh-caps=-all \
		"$BUILD/net/netwatch_probe" 192.0.2.2
	expect "unprivileged: the failure is reported" 'cannot be probed'
	here ip neigh replace 192.0.2.2 lladdr "$near_a" dev left nud permanent
	expect "unprivileged: an entry made by somebody else is seen" "^1 known out=left device=left to=$near_a "
	exec 7>&- 8<&-
	wait
	[ "$(grep -c 'cannot be probed' "$WORK/log.3")" -eq 1 ] || die "the failure to probe is not reported once"
fi
echo "changes of neighbors, interfaces, addresses, routes and rules are seen"
