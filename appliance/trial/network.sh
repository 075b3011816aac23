# SPDX-License-Identifier: BSD-2-Clause
# Sites as network namespaces: a bridge in a namespace of its own, one namespace a site, a veth pair between. Nothing of the host's own
# network is touched. Sourced by run.sh and by the network tests.
#
#   network_open            makes the bridge; everything disappears with network_close
#   network_site NAME IP    a namespace "$NETWORK-NAME" with address IP/24 (and 2001:db8:6084::LAST/64) on the bridge
#   network_in NAME CMD…    runs a command there
#   network_close           kills what runs there and removes it all

NETWORK=${NETWORK:-ringgate-$$}
NETWORK_SITES=()

network_refuse() {
	echo "SKIP: $1"
	exit 77
}

network_require() {
	[ "$(id -u)" -eq 0 ] || network_refuse "network namespaces need root"
	command -v ip >/dev/null || network_refuse "the ip command is missing (package iproute2)"
	ip netns add "$NETWORK-probe" 2>/dev/null || network_refuse "this machine does not allow network namespaces"
	ip netns del "$NETWORK-probe"
}

network_open() {
	NETWORK_SITES+=(lan) # first, so that it is removed whenever we are interrupted
	ip netns add "$NETWORK-lan"
	network_in lan ip link set lo up
	network_in lan ip link add lan type bridge mcast_snooping 0
	network_in lan ip link set lan up
}

network_site() {
	local name=$1 address=$2
	NETWORK_SITES+=("$name")
	ip netns add "$NETWORK-$name"
	network_in "$name" ip link set lo up
	ip link add "rg$$-$name" netns "$NETWORK-lan" type veth peer name lan netns "$NETWORK-$name"
	network_in lan ip link set "rg$$-$name" master lan up
	network_in "$name" ip address add "$address/24" dev lan
	network_in "$name" ip address add "2001:db8:6084::${address##*.}/64" dev lan nodad
	network_in "$name" ip link set lan up
	network_in "$name" ip route add default dev lan
}

network_in() {
	local name=$1
	shift
	ip netns exec "$NETWORK-$name" "$@"
}

network_close() {
	local name
	for name in "${NETWORK_SITES[@]}"; do
		ip netns pids "$NETWORK-$name" 2>/dev/null | xargs -r kill -KILL 2>/dev/null
	done
	for name in "${NETWORK_SITES[@]}"; do
		ip netns del "$NETWORK-$name" 2>/dev/null
	done
	NETWORK_SITES=()
}
