#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Every way to find a bootstrap peer alone, then all at once among dead ones, then with liars and floods on the local network.
# B-11.4-01 B-11.4-02 C-5.4-01
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'trap "" HUP INT TERM; [ -z "${KEEP:-}" ] || cp -r "$WORK" "$KEEP"; network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' HUP INT TERM
die() { echo "$*"; tail -n 8 "$WORK/gateway-5/log"; exit 1; }
command -v nft >/dev/null || network_refuse "the nft command is missing (package nftables)"

status() { # GATEWAY PYTHON-EXPRESSION over the status `s`
	gateway_ctl "$1" status --json | python3 -c "import json, sys; s = json.load(sys.stdin); s = s.get('result', s); print($2)"
}
settings() { # GATEWAY TEXT: a drop-in that replaces the one before
	mkdir -p "$WORK/gateway-$1/ringgate.conf.d"
	printf '%b' "$2" >"$WORK/gateway-$1/ringgate.conf.d/test.conf"
}
fresh() { gateway_stop 5; rm -f "$WORK/gateway-5/peers"; : >"$WORK/gateway-5/log"; }
# joins SOURCE: gateway 5 starts and comes in by that way, and says so in log and status
joins() {
	gateway_start 5 && gateway_wait 5 1 60 || die "it does not join by: $1"
	[ "$(status 5 "s['bootstrap']['source']")" = "$1" ] || die "it joined by $(status 5 "s['bootstrap']['source']"), not by $1"
	grep -q "Joined through .* ($1)" "$WORK/gateway-5/log" || die "the log does not say $1"
	gateway_ctl 5 status | grep -q "^bootstrap .* ($1), in after" || die "status does not say $1"
	echo "alone: $1, $(status 5 "s['bootstrap']['search_ms']") ms"
}

network_require
network_open
overlay_create --update-interval 60 || die "no overlay"
# Gateway 1, the document's bootstrap node, comes later; 4 is the bootstrap server.
for number in 1 2 3 4 5; do gateway_create "$number" || die "gateway $number"; done
local_ways='[discovery]\nmulticast-dns = yes\nmulticast = 239.192.60.84:6084 [ff15::6084]:6084\n'
settings 2 "[node]\nfirst-node = yes\n$local_ways"
settings 3 "[links]\nbootstrap = $(gateway_address 2)\n$local_ways"
settings 1 "[node]\nfirst-node = no\n[links]\nbootstrap = $(gateway_address 2)\n"
settings 4 "[node]\nrole = bootstrap-server\n[links]\nbootstrap = $(gateway_address 2) $(gateway_address 3)\n"
gateway_start 2 && gateway_wait 2 || die "gateway 2"
gateway_start 3 && gateway_wait 3 1 || die "gateway 3"
gateway_start 4 && gateway_wait 4 1 || die "the bootstrap server does not attach"
[ "$(status 4 "s['role'], s['state']")" = "bootstrap-server joined" ] || die "role: $(status 4 "s['role'], s['state']")"

# ---- each way alone ----
settings 5 "[links]\nbootstrap = $(gateway_address 2)\n"
joins settings
settings 5 ""
gateway_stop 5 # it leaves in order and writes its cache
grep -q "^192\.0\.2\.1[23]:6084 [0-9a-f]\{32\} [0-9]*$" "$WORK/gateway-5/peers" || die "no cache: $(cat "$WORK/gateway-5/peers")"
: >"$WORK/gateway-5/log"
joins "peer cache"
fresh
settings 5 "[discovery]\nmulticast-dns = yes\n"
joins "multicast DNS"
fresh
settings 5 "[discovery]\nmulticast = 239.192.60.84:6084\n"
joins multicast
fresh
settings 5 "[discovery]\nmulticast = [ff15::6084]:6084\n"
joins multicast
fresh
# Where it was attached to gateway 5, which has just left, it finds another peer first.
gateway_wait 4 1 60 || die "the bootstrap server does not attach anew"
settings 5 "[links]\nbootstrap-server = $(gateway_address 4)\n"
joins "bootstrap server"
relayed=$(status 4 "s['relay']['relayed']")
[ "$relayed" -ge 4 ] || die "the bootstrap server relayed $relayed messages"
[ "$(status 4 "s['relay']['refused'], s['relay']['limited']")" = "0 0" ] || die "it refused what joining takes"
gateway_stop 5
grep -q "^$(gateway_address 4):" "$WORK/gateway-5/peers" && die "the bootstrap server is in the cache, and it is no peer"
rm -f "$WORK/gateway-5/peers"
: >"$WORK/gateway-5/log"
settings 5 ""
gateway_start 1 && gateway_wait 1 1 || die "gateway 1"
joins "configuration document"
gateway_stop 1

# ---- in competition, most of them dead ----
fresh
for last in $(seq 100 109); do printf '192.0.2.%d:6084 %032x 1700000000\n' "$last" "$last"; done >"$WORK/gateway-5/peers"
settings 5 "[links]\nbootstrap = 192.0.2.120 192.0.2.121 192.0.2.122\nbootstrap-server = 192.0.2.130 $(gateway_address 4)\n$local_ways"
gateway_start 5 && gateway_wait 5 1 60 || die "it does not join among dead ones"
winner=$(status 5 "s['bootstrap']['source']")
case $winner in multicast | "multicast DNS" | "bootstrap server") ;; *) die "it joined by $winner" ;; esac
[ "$(status 5 "len([c for c in s['bootstrap']['tried'] if c['source'] == 'peer cache'])")" = 10 ] || die "not all cached peers are named"
echo "among dead ones: $winner, $(status 5 "s['bootstrap']['search_ms']") ms"

# A damaged cache costs nothing but its lines.
fresh
head -c 4096 /dev/urandom >"$WORK/gateway-5/peers"
settings 5 "[links]\nbootstrap = $(gateway_address 2)\n"
joins settings
grep -q "lines that are no peers" "$WORK/gateway-5/log" || die "nobody speaks of the damaged cache"

# ---- what is announced ----
network_site evil 192.0.2.66
timeout 20 ip netns exec "$NETWORK-evil" python3 tests/net/discovery.py listen 192.0.2.66 4 >"$WORK/heard" || die "listen"
for number in 2 3; do
	id=$(status "$number" "s['node_id']")
	grep -q "^$(gateway_address "$number"); .*PTR $id._reload._udp.local ttl 4500.*SRV $id._reload._udp.local port 6084.*overlay=example.org.*A $(gateway_address "$number")" \
		"$WORK/heard" || { cat "$WORK/heard"; die "gateway $number does not announce itself"; }
done
grep -q "^$(gateway_address 5);" "$WORK/heard" && die "gateway 5 announces itself without being told"
# Many questions at once get few answers, and none goes to whoever asks from another port.
read -r answers direct < <(timeout 20 ip netns exec "$NETWORK-evil" python3 tests/net/discovery.py amplify 192.0.2.66 500)
[ "$answers" -ge 1 ] && [ "$answers" -le 10 ] || die "1000 questions got $answers answers"
[ "$direct" -eq 0 ] || die "$direct answers went to a simple resolver"

# ---- liars and floods ----
fresh
network_in g5 nft -f - <<-NFT || network_refuse "the kernel has no nftables"
	table inet watch {
		counter lied { }
		chain output {
			type filter hook output priority 0
			ip daddr { 192.0.2.66, 203.0.113.66 } udp dport 6084 counter name lied
		}
	}
NFT
ip netns exec "$NETWORK-evil" python3 tests/net/discovery.py flood 192.0.2.66 example.org >"$WORK/flood" 2>&1 &
flood=$!
timeout 60 grep -q -m1 flooding < <(tail -n +1 -F --pid=$flood "$WORK/flood" 2>/dev/null) || die "no flood: $(cat "$WORK/flood")"
settings 5 "[links]\nbootstrap = $(gateway_address 3)\n$local_ways"
gateway_start 5 && gateway_wait 5 1 60 || die "it does not join under a flood of answers"
# Until the limit of messages has been reached, which takes as long as the flood needs for a hundred.
for number in 2 5; do
	for ((try = 0; try < 100; try++)); do
		[ "$(status "$number" "s['discovery']['multicast_dns']['limited'] > 0")" = True ] && break
	done
	[ "$(status "$number" "s['discovery']['multicast_dns']['limited'] > 0")" = True ] || die "no limit: $(status "$number" "s['discovery']")"
done
gateway_ctl 2 wait --peers 1 --timeout 20 >/dev/null || die "gateway 2 suffers"
kill $flood
wait $flood 2>/dev/null
lied=$(network_in g5 nft list counter inet watch lied | sed -n 's/.*packets \([0-9]*\).*/\1/p')
[ "$lied" = 0 ] || die "$lied packets went to addresses that were lies"
echo "under a flood: $(status 5 "s['bootstrap']['source']"), $(status 5 "s['bootstrap']['search_ms']") ms"

# Nobody of this overlay: nothing is contacted, and the log says what to do.
fresh
gateway_stop 2
gateway_stop 3
gateway_stop 4
settings 5 "[discovery]\nmulticast-dns = yes\n"
gateway_start 5 || die "gateway 5 alone"
timeout 60 grep -q -m1 "None of 1 bootstrap nodes let us in" < <(tail -n +1 -F "$WORK/gateway-5/log" 2>/dev/null) || die "no word of a vain search"
gateway_ctl 5 status | grep -q "^bootstrap *searching, round" || die "status does not say that it searches"
echo "each way alone, all ways at once, liars and a flood: $lied packets to lied-about addresses, $answers answers to 1000 questions"
