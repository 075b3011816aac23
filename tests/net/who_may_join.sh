#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Who may join: each kind of overlay that "ringgatectl overlay create" makes, with the commands of docs/operators.md, and somebody who may
# not. The shared secret kept beside the document has its place in tls_links.sh. B-4.1-01 B-11.1-14 B-11.3.1-01 B-11.3.1-02 B-13.4-01
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
NEIGHBOR_CHECK=2000
. appliance/trial/network.sh
. appliance/trial/overlay.sh
WORK=
trap 'trap "" HUP INT TERM; network_close; rm -rf "${WORK:-}"' EXIT
trap 'exit 130' HUP INT TERM
die() { echo "$*"; tail -n 20 "$WORK"/gateway-*/log; exit 1; }
CTL=$BUILD/ringgatectl

begin() { # OPTION... of overlay create
	WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
	network_open
	overlay_create --update-interval 60 "$@" || die "no overlay"
}

finish() {
	local number
	for number in "${!GATEWAY_PID[@]}"; do
		gateway_stop "$number" || die "gateway $number did not end well"
		unset "GATEWAY_PID[$number]"
	done
	! grep -lE 'AddressSanitizer|LeakSanitizer|runtime error' "$WORK"/gateway-*/log || die "a sanitizer spoke"
	network_close
	rm -rf "$WORK"
}

says() { # gateway, words
	timeout --foreground 60 grep -q -m1 -e "$2" < <(tail -n +1 -F --pid="${GATEWAY_PID[$1]}" "$WORK/gateway-$1/log" 2>/dev/null) || die "gateway $1 does not say: $2"
}

# How many links gateway $1 has.
links() { gateway_ctl "$1" peers --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["peers"]))'; }

shows() { # words of "overlay show"
	"$CTL" overlay show "$WORK/ca/overlay.xml" >"$WORK/show" || die "show: $(cat "$WORK/show")"
	grep -q -e "$1" "$WORK/show" || die "overlay show does not say \"$1\": $(cat "$WORK/show")"
}

three() { # gateways 1, 2 and 3 form an overlay
	gateway_start 1 && gateway_wait 1 || die "gateway 1 does not start"
	gateway_start 2 && gateway_start 3 || die "gateways 2 and 3 do not start"
	for number in 1 2 3; do gateway_wait "$number" 2 60 || die "gateway $number does not join"; done
}

network_require
command -v python3 >/dev/null || network_refuse "the python3 command is missing"

# --- a CA: who has a certificate of it ---
begin
shows "certificates of"
for number in 1 2 3 4; do gateway_create "$number" || die "gateway $number"; done
# Gateway 4 has one of another CA that calls itself the same, and the right document.
"$CTL" overlay create "$WORK/other" --name "$OVERLAY" --bootstrap "$(gateway_address 1):6084" >/dev/null || die "no other overlay"
rm "$WORK"/gateway-4/node.*
"$CTL" overlay issue "$WORK/other" --output "$WORK/gateway-4/node" >/dev/null || die "no foreign certificate"
three
"$BUILD/ringgated" --check --config "$WORK/gateway-4/ringgate.conf" >"$WORK/check" 2>&1 && die "a foreign certificate passes the check"
grep -q "cannot be used in overlay $OVERLAY" "$WORK/check" || die "no reason: $(cat "$WORK/check")"
# With the other CA's document it goes so far as to try.
cp "$WORK/other/overlay.xml" "$WORK/gateway-4/overlay.xml"
gateway_start 4 || die "gateway 4 does not start"
says 1 "it refuses our certificate"
says 4 "its certificate is refused: the certificate was not issued by a root of the overlay"
[ "$(links 1)" -eq 2 ] || die "a stranger has a link"

# --- the same overlay, and from now on without clients ---
gateway_kill 4; unset 'GATEWAY_PID[4]'
gateway_create 5 || die "gateway 5"
sed -i '/^\[node\]/a role = client' "$WORK/gateway-5/ringgate.conf"
gateway_start 5 && gateway_wait 5 1 60 || die "the client does not attach"
gateway_ctl 5 status --json | grep -q '"role": "client"' || die "gateway 5 is no client"
sequence=$(sed -n 's/.* sequence="\([0-9]*\)".*/\1/p' "$WORK/ca/overlay.xml")
sed -e "s/ sequence=\"$sequence\"/ sequence=\"$((sequence + 1))\"/" -e '/<chord:chord-update-interval>/i <clients-permitted>false</clients-permitted>' "$WORK/ca/overlay.xml" >"$WORK/changed.xml"
"$CTL" overlay sign "$WORK/ca" "$WORK/changed.xml" >"$WORK/sign.log" 2>&1 || die "sign: $(cat "$WORK/sign.log")"
shows "not permitted: every node has to become a peer"
gateway_ctl 2 configuration update "$WORK/ca/overlay.xml" >/dev/null || die "the document is not taken"
says 5 "permits no clients; set role = peer in \[node\] and start again"
timeout --foreground 60 tail -f --pid="${GATEWAY_PID[5]}" /dev/null || die "the client stays"
wait "${GATEWAY_PID[5]}" || die "the client did not leave in order"
unset 'GATEWAY_PID[5]'
for number in 1 2 3; do
	gateway_wait "$number" 2 60 || die "gateway $number lost a peer"
	[ "$(links "$number")" -eq 2 ] || die "gateway $number has a link with the client"
done
# It stays outside, with a reason, and comes back as a peer.
cp "$WORK/ca/overlay.xml" "$WORK/gateway-5/overlay.xml"
"$BUILD/ringgated" --check --config "$WORK/gateway-5/ringgate.conf" >"$WORK/check" 2>&1 && die "a client passes the check"
grep -q "Overlay $OVERLAY permits no clients (.*); set role = peer in \[node\]" "$WORK/check" || die "no advice: $(cat "$WORK/check")"
sed -i 's/^role = client/role = peer/' "$WORK/gateway-5/ringgate.conf"
: >"$WORK/gateway-5/log"
gateway_start 5 && gateway_wait 5 3 60 || die "gateway 5 does not join as a peer"
finish
echo "ok: a CA, a certificate of another one, and clients that are no longer permitted"

# --- no CA: who makes a certificate ---
begin --self-signed sha256
shows "self-signed certificates, Node-IDs are the sha256 of their keys"
[ ! -e "$WORK/ca/ca.key" ] || die "a CA without need"
for number in 1 2 3; do
	# With nothing but the document, as at a site.
	gateway_create "$number" || die "gateway $number"
	rm "$WORK/gateway-$number"/node.*
	(cd "$WORK/gateway-$number" && "$CTL" overlay issue . --output node >/dev/null) || die "no certificate of its own for gateway $number"
done
three
# Node-ID and key belong together: a Node-ID of one's choice is refused by everybody.
gateway_create 4 || die "gateway 4"
rm "$WORK"/gateway-4/node.*
"$CTL" overlay create "$WORK/other" --name "$OVERLAY" --bootstrap "$(gateway_address 1):6084" --self-signed sha1 >/dev/null || die "no other overlay"
"$CTL" overlay issue "$WORK/other" --output "$WORK/gateway-4/node" >/dev/null || die "no certificate with another digest"
cp "$WORK/other/overlay.xml" "$WORK/gateway-4/overlay.xml"
gateway_start 4 || die "gateway 4 does not start"
says 1 "it refuses our certificate"
says 4 "its certificate is refused: a Node-ID of the self-signed certificate does not follow from its key"
[ "$(links 1)" -eq 2 ] || die "a stranger has a link"
finish
echo "ok: self-signed certificates, and one whose Node-ID does not follow from its key"

# --- a secret in the document ---
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
(umask 077; echo "correct-horse-only-members-know" >"$WORK/secret")
secret=$WORK/secret
network_open
overlay_create --update-interval 60 --self-signed sha256 --shared-secret-file "$secret" || die "no overlay"
shows "shared secret"
[ "$(stat -c %a "$WORK/ca/overlay.xml")" = 600 ] || die "others can read the document"
for number in 1 2 3 4; do gateway_create "$number" || die "gateway $number"; done
three
# Who knows all of the document but the secret.
sed '/<shared-secret>/d; /<signature>/,/<\/signature>/d' "$WORK/ca/overlay.xml" >"$WORK/gateway-4/overlay.xml"
grep -q "only-members" "$WORK/gateway-4/overlay.xml" && die "the secret is still there"
gateway_start 4 || die "gateway 4 does not start"
says 1 "it does not use a shared secret, as this overlay does"
[ "$(links 1)" -eq 2 ] || die "a stranger has a link"
! grep -q "only-members" "$WORK"/gateway-*/log || die "a secret is in a log"
finish
echo "a CA, no clients, self-signed certificates and a shared secret, each with somebody who may not join"
