# SPDX-License-Identifier: BSD-2-Clause
# An overlay of site gateways in the namespaces of network.sh. Sourced by run.sh and by the network tests.
#
#   overlay_create [OPTION…]      makes the overlay in $WORK/ca; options go to "ringgatectl overlay create"
#   gateway_create N [USER…]      namespace, certificate, users and settings of gateway N at 192.0.2.(10+N)
#   gateway_start N               starts ringgated there
#   gateway_wait N [PEERS [S]]    until it has joined and is connected to that many peers
#   gateway_ctl N ARGUMENT…       ringgatectl for gateway N
#   gateway_kill N, gateway_stop N    SIGKILL; orderly leave

OVERLAY=${OVERLAY:-example.org}
BUILD=${BUILD:-build}
SIP_ALLOW=${SIP_ALLOW:-192.0.2.0/24}
declare -A GATEWAY_PID

gateway_address() { echo "192.0.2.$((10 + $1))"; }

overlay_create() {
	"$BUILD/ringgatectl" overlay create "$WORK/ca" --name "$OVERLAY" --bootstrap "$(gateway_address 1):6084" "$@" >"$WORK/create.log" ||
		{ cat "$WORK/create.log"; return 1; }
}

overlay_issue() { "$BUILD/ringgatectl" overlay issue "$WORK/ca" "$@" >>"$WORK/create.log"; }

gateway_create() {
	local number=$1 state=$WORK/gateway-$1 user address
	address=$(gateway_address "$number")
	shift
	network_site "g$number" "$address"
	mkdir -m 0700 "$state" "$state/users"
	cp "$WORK/ca/overlay.xml" "$state/overlay.xml"
	overlay_issue --output "$state/node"
	for user in "$@"; do
		overlay_issue --user "$user" --node-ids 4 --output "$state/users/$user"
	done
	cat >"$state/ringgate.conf" <<-CONF
		[node]
		state-directory = $state
		first-node = $([ "$number" -eq 1 ] && echo yes || echo no)
		log-level = ${LOG_LEVEL:-info}
		[links]
		listen = $address:6084 [2001:db8:6084::$((10 + number))]:6084
		neighbor-check-interval = ${NEIGHBOR_CHECK:-2000}
		# Several gateways share one machine here. FASTPATH=auto is the default elsewhere.
		fastpath = ${FASTPATH:-no}
		${KEYLOG:+keylog = $KEYLOG}
		${CIPHERS:+ciphers = $CIPHERS}
		[sip]
		listen = $address:5060
		allow = $SIP_ALLOW
		# So that a step sees at once what the one before it has changed.
		lookup-seconds = ${LOOKUP_SECONDS:-0}
		# Only here, where the phones are programs on this machine.
		authentication = ${SIP_AUTHENTICATION:-no}
		[control]
		socket = $state/control
	CONF
}

gateway_start() {
	local number=$1 state=$WORK/gateway-$1 said
	touch "$state/log"
	said=$(wc -l <"$state/log") # by a former run
	# Not through a function: then the process number would be that of a subshell.
	ip netns exec "$NETWORK-g$number" "$BUILD/ringgated" --config "$state/ringgate.conf" >>"$state/log" 2>&1 &
	GATEWAY_PID[$number]=$!
	# The first line that is logged after the sockets are open; tail ends with the daemon.
	timeout --foreground 30 grep -q -m1 "Node [0-9a-f]* of overlay" < <(tail -n +$((said + 1)) -F --pid="${GATEWAY_PID[$number]}" "$state/log" 2>/dev/null) || {
		echo "gateway $number did not start:"
		tail -n 5 "$state/log"
		return 1
	}
}

gateway_ctl() {
	local number=$1
	shift
	"$BUILD/ringgatectl" --socket "$WORK/gateway-$number/control" "$@"
}

gateway_wait() {
	gateway_ctl "$1" wait --peers "${2:-0}" --timeout "${3:-60}" >/dev/null
}

gateway_kill() {
	kill -KILL "${GATEWAY_PID[$1]}" 2>/dev/null
	wait "${GATEWAY_PID[$1]}" 2>/dev/null
	: >"$WORK/gateway-$1/log"
	return 0
}

gateway_stop() {
	kill -TERM "${GATEWAY_PID[$1]}" 2>/dev/null
	wait "${GATEWAY_PID[$1]}"
}
