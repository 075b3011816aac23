#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# 20 peers that know each other from their caches alone: all are killed at once and started again without first node, bootstrap node and
# servers, and form one ring with their records; then the network is cut in two halves, each of which becomes a ring of its own, and
# when it is whole again so is the overlay, records of both halves included. B-11.4-02 B-10.7.4-04 B-4.5.2-01
#   CUT=SECONDS   how long the network stays cut (default 75; 1800 is longer than every timer)
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
PEERS=${PEERS:-20}
CUT=${CUT:-75}
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
LOG_LEVEL=info
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'trap "" HUP INT TERM; [ -z "${KEEP:-}" ] || cp -r "$WORK" "$KEEP"; network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' HUP INT TERM
die() { echo "$*"; tail -n 3 "$WORK"/gateway-*/log; exit 1; }
sockets() { local number; for number in "$@"; do echo "$WORK/gateway-$number/control"; done; }
command -v nft >/dev/null || network_refuse "the nft command is missing (package nftables)"

network_require
network_open
# Nobody listens at the document's only bootstrap node: gateway 1 of the scripts does not exist here.
overlay_create --require-kind 0xf0000001:SINGLE:NODE-MULTIPLE:1:2000:255 --update-interval 60 || die "no overlay"
all=($(seq 2 $((PEERS + 1))))
for number in "${all[@]}"; do gateway_create "$number" || die "gateway $number"; done

breathe() { read -r -t 1 <> <(:); return 0; } # between two looks

# One ring: every gateway sees all others as neighbors or fingers, and following first successors leads around past all of them.
one_ring() { # GATEWAY...
	python3 - "$(($# - 1))" $(sockets "$@") <<-'PYTHON'
		import json, socket, sys
		others = int(sys.argv[1])
		after = {}
		for path in sys.argv[2:]:
		    with socket.socket(socket.AF_UNIX) as s:
		        s.connect(path)
		        s.settimeout(30)
		        s.sendall(b'{"command": "ring"}\n')
		        ring = json.loads(s.makefile().readline())["result"]
		    if ring["state"] != "joined" or not ring["successors"]:
		        sys.exit(f"{path}: {ring['state']}, {len(ring['successors'])} successors")
		    after[ring["self"]] = ring["successors"][0]
		order = sorted(after)
		wrong = [node for i, node in enumerate(order) if after[node] != order[(i + 1) % len(order)]]
		sys.exit(f"{len(wrong)} of {len(order)} have another first successor" if wrong else 0)
	PYTHON
}
wait_one_ring() { # SECONDS GATEWAY...
	local limit=$(($(date +%s) + $1))
	shift
	until one_ring "$@" 2>"$WORK/ring"; do
		[ "$(date +%s)" -lt "$limit" ] || { cat "$WORK/ring"; return 1; }
		breathe
	done
	return 0
}

# The first time one of them is told to be first, and the others where it is; never again.
first=${all[0]}
cp "$WORK/gateway-$first/ringgate.conf" "$WORK/gateway-$first/ringgate.conf.later"
mkdir "$WORK/gateway-$first/ringgate.conf.d"
printf '[node]\nfirst-node = yes\n' >"$WORK/gateway-$first/ringgate.conf.d/first.conf"
gateway_start "$first" && gateway_wait "$first" || die "the first gateway"
for number in "${all[@]:1}"; do
	mkdir "$WORK/gateway-$number/ringgate.conf.d"
	printf '[links]\nbootstrap = %s\n' "$(gateway_address "$first")" >"$WORK/gateway-$number/ringgate.conf.d/first.conf"
	gateway_start "$number" || die "gateway $number"
done
wait_one_ring 120 "${all[@]}" || die "no ring at first"
rm "$WORK"/gateway-*/ringgate.conf.d/first.conf
python3 tests/net/records.py store 200 "$WORK/records.json" $(sockets "${all[@]}") || die "store"

# Ten seconds of quiet after the last change a cache is written.
for number in "${all[@]}"; do
	timeout 60 bash -c 'until [ -e "$1" ] && [ "$(grep -vc "^#" "$1")" -ge 5 ]; do read -r -t 1 <> <(:); done; true' - "$WORK/gateway-$number/peers" ||
		die "gateway $number has no cache"
	[ "$(grep -vc '^#' "$WORK/gateway-$number/peers")" -le 10 ] || die "gateway $number caches more than 10 peers" # B-11.4-02
done
for number in "${all[@]}"; do kill -KILL "${GATEWAY_PID[$number]}"; done
for number in "${all[@]}"; do wait "${GATEWAY_PID[$number]}" 2>/dev/null; : >"$WORK/gateway-$number/log"; done
echo "$PEERS peers were killed at once"

began=$(date +%s)
for number in "${all[@]}"; do gateway_start "$number" || die "gateway $number again"; done
wait_one_ring 180 "${all[@]}" || die "the overlay does not form again"
formed=$(($(date +%s) - began))
restarted=$(grep -l "beginning its ring anew" "$WORK"/gateway-*/log | wc -l)
[ "$restarted" -ge 1 ] || die "nobody began the ring anew"
python3 tests/net/records.py fetch "$WORK/records.json" $(sockets "${all[@]}") || die "fetch after the cold restart"
gateway_ctl "${all[5]}" status | grep -q '^bootstrap' || die "status does not say how the node came in"
echo "formed again in $formed s, $restarted of $PEERS began a ring"

# Two halves: odd and even do not hear each other.
left=() right=()
for number in "${all[@]}"; do [ $((number % 2)) -eq 0 ] && left+=("$number") || right+=("$number"); done
addresses() { local number; for number in "$@"; do gateway_address "$number"; done | paste -sd,; }
addresses6() { local number; for number in "$@"; do echo "2001:db8:6084::$((10 + number))"; done | paste -sd,; }
network_in lan nft -f - <<-NFT || network_refuse "the kernel has no nftables for bridges"
	table bridge cut {
		chain forward {
			type filter hook forward priority 0
			ip saddr { $(addresses "${left[@]}") } ip daddr { $(addresses "${right[@]}") } drop
			ip saddr { $(addresses "${right[@]}") } ip daddr { $(addresses "${left[@]}") } drop
			ip6 saddr { $(addresses6 "${left[@]}") } ip6 daddr { $(addresses6 "${right[@]}") } drop
			ip6 saddr { $(addresses6 "${right[@]}") } ip6 daddr { $(addresses6 "${left[@]}") } drop
		}
	}
NFT
cut=$(date +%s)
wait_one_ring 300 "${left[@]}" && wait_one_ring 300 "${right[@]}" || die "the halves do not become rings of their own"
python3 tests/net/records.py store 100 "$WORK/left.json" $(sockets "${left[@]}") || die "store in one half"
python3 tests/net/records.py store 100 "$WORK/right.json" $(sockets "${right[@]}") || die "store in the other half"
while [ $(($(date +%s) - cut)) -lt "$CUT" ]; do breathe; done
one_ring "${left[@]}" && one_ring "${right[@]}" || die "the halves are not rings of their own any more"
echo "two rings of $((PEERS / 2)), cut off from each other for $(($(date +%s) - cut)) s"
network_in lan nft delete table bridge cut
healed=$(date +%s)
# A lost peer is looked for every ten minutes at the least, and there are many of them.
wait_one_ring 400 "${all[@]}" || die "the halves do not find each other again"
echo "one ring again after $(($(date +%s) - healed)) s"
fetched() { python3 tests/net/records.py fetch-any "$1" $(sockets "${all[@]}"); }
limit=$(($(date +%s) + 120))
for records in left right; do
	until fetched "$WORK/$records.json" >"$WORK/fetch" 2>&1; do
		[ "$(date +%s)" -lt "$limit" ] || { cat "$WORK/fetch"; die "records of the $records half are missing"; }
		breathe
	done
done
python3 tests/net/records.py fetch "$WORK/left.json" $(sockets "${all[@]}") || die "fetch of one half's records"
python3 tests/net/records.py fetch "$WORK/right.json" $(sockets "${all[@]}") || die "fetch of the other half's records"
echo "$PEERS peers came back from their caches in $formed s, and two halves merged with the records of both"
