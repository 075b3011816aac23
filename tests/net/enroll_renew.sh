#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A site that has one name, one account and one password: it finds the server by the domain's SRV records, enrolls by itself at its
# first start, joins, and renews its certificate and those of its users without a restart, here with certificates that live for less
# than a minute. Then with the server gone and back, with an expired certificate at start, and with wrong passwords.
# B-11.1-03 B-11.2-01 B-11.2-02 B-11.2-04 B-11.3-01 B-11.3-05 B-11.3-07 B-8-01
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
SERVER_PID= DNS_PID=
. appliance/trial/network.sh
. appliance/trial/overlay.sh
CTL=$BUILD/ringgatectl
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
die() { echo "FAILED: $*"; [ -z "${KEEP:-}" ] || cp -r "$WORK" "$KEEP"; tail -n 8 "$WORK"/*log "$WORK"/gateway-*/log 2>/dev/null; exit 1; }

# until_true WHAT COMMAND…: again and again, for up to three minutes
until_true() {
	local what=$1 end=$((SECONDS + 180))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || die "waited in vain: $what"
		read -r -t 0.2 <> <(:)
	done
}
# wait_log FILE PATTERN: until the file has such a line
wait_log() { timeout --foreground 180 grep -q -m1 "$2" < <(tail -n +1 -F "$1" 2>/dev/null) || die "$1 does not say: $2"; }

server_start() {
	ip netns exec "$NETWORK-server" "$BUILD/ringgate-enrolld" --config "$WORK/enrolld.conf" >>"$WORK/server.log" 2>&1 &
	SERVER_PID=$!
	wait_log "$WORK/server.log" "Serving 1 overlay"
}
server_stop() { kill -TERM "$SERVER_PID"; wait "$SERVER_PID" || die "the server did not end in order"; : >"$WORK/server.log"; }
# A name server with these records: "NAME TYPE VALUE…" lines.
dns_start() {
	[ -z "$DNS_PID" ] || { kill "$DNS_PID"; wait "$DNS_PID" 2>/dev/null; }
	: >"$WORK/dns.log"
	network_in server python3 tests/net/dns_server.py 192.0.2.5 53 "$WORK/zone" >"$WORK/dns.log" 2>&1 &
	DNS_PID=$!
	wait_log "$WORK/dns.log" "serving"
}
# Runs a command at a site with that name server, in a mount namespace of its own.
at_site() {
	local site=$1
	shift
	network_in "$site" unshare -m sh -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$WORK/resolv.conf" "$@"
}
add_user() { local name=$1; shift; "$CTL" user add "$WORK/ca" "$name" --json "$@" | sed -n 's/.*"password": "\(.*\)".*/\1/p'; }
status_of() { gateway_ctl 1 status --json | python3 -c 'import json,sys; d=json.load(sys.stdin)
for k in sys.argv[1].split("."): d=d[k]
print(d)' "$1"; }
ended() { ! openssl x509 -checkend 0 -noout -in "$1" >/dev/null; }
serial_of() { openssl x509 -in "$1" -noout -serial; }
names_of() { openssl x509 -in "$1" -noout -ext subjectAltName; }
# gateway_run N: as gateway_start, with the name server, and not waiting for the overlay
gateway_run() {
	touch "$WORK/gateway-$1/log"
	ip netns exec "$NETWORK-g$1" unshare -m sh -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$WORK/resolv.conf" \
		"$BUILD/ringgated" --config "$WORK/gateway-$1/ringgate.conf" >>"$WORK/gateway-$1/log" 2>&1 &
	GATEWAY_PID[$1]=$!
}
gateway_end() { gateway_stop "$1"; : >"$WORK/gateway-$1/log"; }

network_require
network_open
overlay_create --enrollment-server "https://$OVERLAY/enroll" --update-interval 5 || die "no overlay"
"$CTL" overlay publish "$WORK/ca" >/dev/null || die "publish"
network_site server 192.0.2.5
network_in server ip address add 192.0.2.4/24 dev lan
network_site phone 192.0.2.6
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/tls.key" -out "$WORK/tls.crt" -days 30 -subj "/CN=$OVERLAY" \
	-addext "subjectAltName=DNS:$OVERLAY" 2>/dev/null || die "no HTTPS certificate"
cat >"$WORK/enrolld.conf" <<-CONF
	[server]
	listen = 192.0.2.5:8443
	certificate = $WORK/tls.crt
	key = $WORK/tls.key
	[enrollment]
	certificate-seconds = 30
	certificates-per-day = 1000
	[overlay $OVERLAY]
	directory = $WORK/ca
CONF
echo "nameserver 192.0.2.5" >"$WORK/resolv.conf"
cat >"$WORK/zone" <<-ZONE
	_reload-config._tcp.$OVERLAY SRV 10 0 443 dead.$OVERLAY
	_reload-config._tcp.$OVERLAY SRV 20 5 8443 server.$OVERLAY
	_reload-config._tcp.$OVERLAY SRV 30 0 443 gone.$OVERLAY
	dead.$OVERLAY A 192.0.2.4
	server.$OVERLAY A 192.0.2.5
	_reload-config._tcp.none.example.net SRV 0 0 0 .
	_reload-config._tcp.alias.example.net SRV 0 0 8443 server.$OVERLAY
ZONE
dns_start
server_start

# Names that lead nowhere, each with its sentence.
fetch() { at_site phone "$CTL" overlay fetch --ca-file "$WORK/tls.crt" "$1" "$WORK/fetched.xml" 2>&1; }
refused() {
	local sentence=$1 output
	output=$(fetch "$2") && die "$2 was not refused"
	grep -qF "$sentence" <<<"$output" || die "$2: expected \"$sentence\", got: $output"
	[ "$(wc -l <<<"$output")" -eq 1 ] || die "not one sentence: $output"
	[ ! -e "$WORK/fetched.xml" ] || die "$2 left a document"
}
refused "says that it has no configuration server" none.example.net
refused "The HTTPS certificate of https://alias.example.net/.well-known/reload-config (at server.$OVERLAY:8443) is not good" alias.example.net
refused "The host name of https://nothing.example.net/.well-known/reload-config is not known" nothing.example.net
refused "neither an overlay name nor an https URL" "no name at all"
fetch "$OVERLAY" | grep -q "is now the document of overlay $OVERLAY with sequence number 1" || die "the document is not fetched"
fetch "$OVERLAY" | grep -q "was already the document" || die "the same document is not recognized"
grep -q "asked _reload-config._tcp.$OVERLAY SRV" "$WORK/dns.log" || die "no SRV question: $(cat "$WORK/dns.log")"
grep -q "asked dead.$OVERLAY A" "$WORK/dns.log" || die "the first server was not tried first"
grep -q "asked gone.$OVERLAY" "$WORK/dns.log" && die "a third server was tried after the second answered"
echo "a name leads to the server its domain names, in the order of the records"

# From one name, one account and one password to a member of the overlay.
gateway_create 1 || die "gateway 1"
state=$WORK/gateway-1
rm -f "$state"/node.* "$state/overlay.xml"
password=$(add_user "site1@$OVERLAY" --node-ids 2 --voucher "$OVERLAY") && [ -n "$password" ] || die "user add"
(umask 077; echo "wrong-$password" >"$state/password")
cat >>"$state/ringgate.conf" <<-CONF
	[enroll]
	server = $OVERLAY
	user = site1@$OVERLAY
	password-file = $state/password
	ca-file = $WORK/tls.crt
	users = at-registration
CONF
"$BUILD/ringgated" --check --config "$state/ringgate.conf" >/dev/null || die "--check before the first start"
[ ! -e "$state/node.crt" ] || die "--check enrolled"
gateway_run 1
wait_log "$state/log" "There is no certificate yet; enrolling site1@$OVERLAY"
wait_log "$state/log" "Not enrolled: The server refused site1@$OVERLAY: .*failed_authentication.*Trying again in"
[ -z "$(ls "$state" | grep -E '^(node|overlay)')" ] || die "a refusal left something: $(ls "$state")"
kill -0 "${GATEWAY_PID[1]}" || die "the daemon gave up"
echo "$password" >"$state/password"
wait_log "$state/log" "Enrolled as site1@$OVERLAY"
wait_log "$state/log" "The node is joined"
gateway_wait 1 || die "gateway 1 does not join"
[ "$(stat -c %a "$state/node.key")" = 600 ] || die "the key is open to others"
echo "a gateway enrolls by itself, after a wrong password was put right, and joins"

# Renewed while it runs: the same Node-ID and key, another certificate, in force without a restart.
sipp_run() {
	local name=$1
	shift
	network_in phone timeout 60 sipp -sf "tests/sip/$name.xml" -key domain "$OVERLAY" -i 192.0.2.6 -m 1 -nostdin -timeout 50 -timeout_error "$@" \
		>"$WORK/sipp.log" 2>&1
}
cp "$state/node.crt" "$WORK/first.crt"
first=$(serial_of "$state/node.crt") names=$(names_of "$state/node.crt") key=$(sha256sum <"$state/node.key") node=$(status_of node_id) pid=${GATEWAY_PID[1]}
sipp_run register -s alice -p 5070 192.0.2.11:5060 || die "alice's phone does not register: $(tail -n 3 "$WORK/sipp.log")"
wait_log "$state/log" "alice@$OVERLAY is enrolled"
names_of "$state/users/alice@$OVERLAY.crt" | grep -q "email:alice@$OVERLAY" || die "alice's certificate"
[ "$(names_of "$state/users/alice@$OVERLAY.crt" | grep -o 'URI:reload' | wc -l)" -eq 4 ] || die "alice's Node-IDs"
[ "$(status_of users)" = 1 ] || die "alice is not a user"
alice=$(serial_of "$state/users/alice@$OVERLAY.crt")
echo "a phone's first registration gets its user a certificate with the site's voucher"
wait_log "$state/log" "The certificate of this node is renewed"
[ "$first" != "$(serial_of "$state/node.crt")" ] || die "no new certificate"
[ "$names" = "$(names_of "$state/node.crt")" ] || die "other names after renewal"
[ "$key" = "$(sha256sum <"$state/node.key")" ] || die "another key after renewal"
[ "$node" = "$(status_of node_id)" ] && kill -0 "$pid" || die "another node after renewal"
[ "$(status_of certificate.left_s)" -gt 10 ] || die "the status shows the former certificate"
gateway_ctl 1 metrics | grep -q "^ringgate_certificate_days_left 0\.00" || die "metrics: $(gateway_ctl 1 metrics | grep certificate)"
gateway_ctl 1 status | grep -q "^certificate *good for 0 d 00:00:.*, renewal 2" || die "status"
# A second gateway comes after the first certificate has ended: only the renewed one lets it in.
until_true "the first certificate ends" ended "$WORK/first.crt"
gateway_create 2 || die "gateway 2"
rm -f "$WORK/gateway-2"/node.* "$WORK/gateway-2/overlay.xml"
add_user "site2@$OVERLAY" >"$WORK/gateway-2/password" && chmod 600 "$WORK/gateway-2/password"
cat >>"$WORK/gateway-2/ringgate.conf" <<-CONF
	[enroll]
	server = $OVERLAY
	user = site2@$OVERLAY
	password-file = $WORK/gateway-2/password
	ca-file = $WORK/tls.crt
CONF
gateway_run 2
wait_log "$WORK/gateway-2/log" "The node is joined"
gateway_wait 2 1 || die "gateway 2 does not join"
until_true "alice is renewed" sh -c "[ '$alice' != \"\$(openssl x509 -in '$state/users/alice@$OVERLAY.crt' -noout -serial)\" ]"
sipp_run invite_302 -s alice -key expect "sip:alice@192.0.2.6:5070" -p 5080 192.0.2.12:5060 || die "a call for alice: $(tail -n 3 "$WORK/sipp.log")"
echo "certificates are renewed without a restart; links and registrations go on"

# What is put there by hand is taken up without a restart, too: users in bulk, and the certificate of a node that does not renew by itself.
printf '%s\n' "carol@$OVERLAY" "dave@$OVERLAY" >"$WORK/people"
at_site g1 "$CTL" enroll "$OVERLAY" --users "$WORK/people" --account "site1@$OVERLAY" --password-file "$state/password" --ca-file "$WORK/tls.crt" \
	--directory "$state" >"$WORK/bulk" 2>&1 || die "bulk enrollment: $(cat "$WORK/bulk")"
grep -q "^2 enrolled, 0 renewed, 0 not due, 0 failed" "$WORK/bulk" || die "bulk enrollment says: $(cat "$WORK/bulk")"
"$CTL" user list "$WORK/ca" | grep -q "^site1@$OVERLAY .* 3 of 1000: $OVERLAY$" || die "the voucher is not shown: $("$CTL" user list "$WORK/ca")"
wait_log "$state/log" "carol@$OVERLAY is a user of this site now"
wait_log "$state/log" "dave@$OVERLAY is a user of this site now"
cp "$state/users/carol@$OVERLAY.crt" "$state/users/half.crt" # without a key
cp "$state/users/carol@$OVERLAY.crt" "$state/users/wrong.crt" && cp "$state/users/dave@$OVERLAY.key" "$state/users/wrong.key"
wait_log "$state/log" "User left out: .*wrong"
grep -q "half" "$state/log" && die "half of a pair was looked at"
rm "$state/users/half.crt" "$state/users/wrong."*
[ "$(status_of users)" = 3 ] || die "$(status_of users) users"
sipp_run register -s carol -p 5071 192.0.2.11:5060 || die "carol's phone does not register: $(tail -n 3 "$WORK/sipp.log")"
gateway_create 3 || die "gateway 3"
rm -f "$WORK/gateway-3"/node.*
third_password=$(add_user "site3@$OVERLAY")
by_hand() {
	at_site g3 "$CTL" enroll "$OVERLAY" --user "site3@$OVERLAY" --ca-file "$WORK/tls.crt" --directory "$WORK/gateway-3" --keep-document "$@" >"$WORK/by-hand" 2>&1 ||
		die "by hand: $(cat "$WORK/by-hand")"
}
by_hand --password-file - <<<"$third_password"
gateway_run 3
wait_log "$WORK/gateway-3/log" "The node is joined"
gateway_wait 3 1 || die "gateway 3 does not join"
by_hand --renew
wait_log "$WORK/gateway-3/log" "The certificate of this node is renewed"
gateway_end 3
echo "certificates that are installed by hand are taken up without a restart"

# The server is gone for a while: warned about, and tried again. One gateway is switched off meanwhile, and its certificate ends.
server_stop
wait_log "$state/log" "The certificate of this node is not renewed: None of the 3 servers .*cannot be reached.*trying again in"
[ "$(status_of certificate.failed)" -ge 1 ] || die "no failure in the status"
gateway_ctl 1 status | grep -q "cannot be reached" || die "the status does not say why"
gateway_ctl 1 metrics | grep -q "^ringgate_enrollments_failed_total [1-9]" || die "the metrics do not count the failure"
gateway_end 1
until_true "the certificate ends" ended "$state/node.crt"
wait_log "$WORK/gateway-2/log" "The certificate of this node is not renewed: None of the 3 servers"
before_1=$(serial_of "$state/node.crt") before_2=$(serial_of "$WORK/gateway-2/node.crt")
cp "$state/node.crt" "$state/node.crt.new" # and an installation was cut off before it was decided
gateway_run 1
wait_log "$state/log" "The certificate $state/node.crt has expired; renewing it at $OVERLAY before anything else"
wait_log "$state/log" "Not enrolled: None of the 3 servers .*Trying again in"
server_start
wait_log "$state/log" "Enrolled as site1@$OVERLAY"
wait_log "$state/log" "The node is joined"
[ ! -e "$state/node.crt.new" ] || die "what an unfinished installation left is still there"
[ "$node" = "$(status_of node_id)" ] && [ "$before_1" != "$(serial_of "$state/node.crt")" ] || die "not the same node with another certificate"
until_true "gateway 2 has a new certificate" sh -c "[ '$before_2' != \"\$(openssl x509 -in '$WORK/gateway-2/node.crt' -noout -serial)\" ]"
until_true "the gateways find each other again" gateway_ctl 1 wait --peers 1 --timeout 2
gateway_end 2
gateway_end 1
server_stop
echo "SRV, first start, renewal, voucher; a server that was away, a certificate that expired"
