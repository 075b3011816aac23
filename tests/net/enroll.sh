#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# From nothing to two sites and a call: an overlay, accounts, ringgate-enrolld in a namespace, gateways and users enrolled over HTTPS; then
# everything that can go wrong: a clear sentence on both sides, nothing half-installed, and the server goes on.
# B-11.1-01 B-11.1-06 B-11.2-01 B-11.2-02 B-11.2-03 B-11.3-01 B-11.3-02 B-11.3-03 B-11.3-05 B-11.3-06 B-11.3-08
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
SERVER_PID=
. appliance/trial/network.sh
. appliance/trial/overlay.sh
CTL=$BUILD/ringgatectl
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
die() { echo "$*"; tail -n 5 "$WORK"/*log "$WORK"/gateway-*/log 2>/dev/null; exit 1; }

server_start() {
	ip netns exec "$NETWORK-server" "$BUILD/ringgate-enrolld" --config "$WORK/enrolld.conf" >>"$WORK/server.log" 2>&1 &
	SERVER_PID=$!
	timeout 30 grep -q -m1 "Serving 1 overlay" < <(tail -n +1 -F --pid=$SERVER_PID "$WORK/server.log" 2>/dev/null) || die "the server does not start"
}
server_stop() { kill -TERM "$SERVER_PID"; wait "$SERVER_PID" || die "the server did not end in order"; : >"$WORK/server.log"; }
add_user() { "$CTL" user add "$WORK/ca" "$1" --node-ids "${2:-1}" --json | sed -n 's/.*"password": "\(.*\)".*/\1/p'; }
# enroll SITE PASSWORD ARGUMENT...
enroll() {
	local site=$1 password=$2
	shift 2
	network_in "$site" "$CTL" enroll --ca-file "$WORK/tls.crt" --address 192.0.2.5 --password-file - "$@" <<<"$password"
}
# refused SENTENCE SITE PASSWORD ARGUMENT...: fails with that sentence, and leaves nothing
refused() {
	local sentence=$1 output
	shift
	mkdir -p "$WORK/empty"
	output=$(enroll "$@" --directory "$WORK/empty" 2>&1) && die "\"$*\" was not refused"
	grep -qF "$sentence" <<<"$output" || die "expected \"$sentence\", got: $output"
	[ "$(wc -l <<<"$output")" -eq 1 ] || die "not one sentence: $output"
	[ -z "$(ls -A "$WORK/empty")" ] || die "left behind: $(ls "$WORK/empty")"
}
logged() { grep -q "$1" "$WORK/server.log" || die "the server's log does not say: $1"; }

network_require
network_open
overlay_create --enrollment-server "https://$OVERLAY/enroll" || die "no overlay"
"$CTL" overlay publish "$WORK/ca" >/dev/null || die "publish"
network_site server 192.0.2.5
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/tls.key" -out "$WORK/tls.crt" -days 30 -subj "/CN=$OVERLAY" \
	-addext "subjectAltName=DNS:$OVERLAY,DNS:other.example.net" 2>/dev/null || die "no HTTPS certificate"
cat >"$WORK/enrolld.conf" <<-CONF
	[server]
	listen = 192.0.2.5:443
	certificate = $WORK/tls.crt
	key = $WORK/tls.key
	request-seconds = 3
	[enrollment]
	failures-max = 3
	lockout-seconds = 600
	failures-per-minute = 1000
	[overlay $OVERLAY]
	directory = $WORK/ca
CONF
network_in server "$BUILD/ringgate-enrolld" --check --config "$WORK/enrolld.conf" | grep -q "are usable" || die "--check"
server_start
echo "ringgate-enrolld serves $OVERLAY"

# Two sites: gateway and a user each, from one URL and one password.
for number in 1 2; do
	site=g$number state=$WORK/gateway-$number
	gateway_create "$number" || die "gateway $number"
	rm -f "$state"/node.* "$state/overlay.xml"
	password=$(add_user "site$number@$OVERLAY") && [ -n "$password" ] || die "user add"
	enroll "$site" "$password" "https://$OVERLAY" --user "site$number@$OVERLAY" --directory "$state" >/dev/null || die "site $number is not enrolled"
	[ "$(stat -c %a "$state/node.key")" = 600 ] || die "the key is open to others"
	eval "password_$number=\$password"
done
enroll g1 "$(add_user alice@$OVERLAY 4)" "$OVERLAY" --user alice@$OVERLAY --node-ids 4 --directory "$WORK/gateway-1" \
	--output "$WORK/gateway-1/users/alice@$OVERLAY" >/dev/null || die "alice is not enrolled"
openssl x509 -in "$WORK/gateway-1/users/alice@$OVERLAY.crt" -noout -ext subjectAltName | grep -q "email:alice@$OVERLAY" || die "alice's certificate"
gateway_start 1 && gateway_wait 1 || die "gateway 1 does not start the overlay"
gateway_start 2 && gateway_wait 2 1 || die "gateway 2 does not join"
network_site phone 192.0.2.6
sipp_run() {
	local name=$1
	shift
	network_in phone timeout 60 sipp -sf "tests/sip/$name.xml" -key domain "$OVERLAY" -i 192.0.2.6 -m 1 -nostdin -timeout 50 -timeout_error "$@" \
		>"$WORK/sipp.log" 2>&1
}
sipp_run register -s alice -p 5070 "$(gateway_address 1):5060" || die "REGISTER"
sipp_run invite_302 -s alice -key expect "sip:alice@192.0.2.6:5070" -p 5080 "$(gateway_address 2):5060" || die "INVITE"
echo "two enrolled gateways joined, a call for an enrolled user resolves"

# Who comes back gets the same Node-ID, with the same key.
before=$(openssl x509 -in "$WORK/gateway-2/node.crt" -noout -ext subjectAltName) key=$(sha256sum <"$WORK/gateway-2/node.key")
enroll g2 "$password_2" "https://$OVERLAY" --user "site2@$OVERLAY" --directory "$WORK/gateway-2" 2>&1 | grep -q -- "--renew" || die "an installed key was not kept"
serial=$(openssl x509 -in "$WORK/gateway-2/node.crt" -noout -serial)
renewed=$(network_in g2 "$CTL" enroll --ca-file "$WORK/tls.crt" --address 192.0.2.5 "https://$OVERLAY" --user "site2@$OVERLAY" \
	--directory "$WORK/gateway-2" --renew </dev/null) || die "renewal with the certificate alone: $renewed"
[ "$before" = "$(openssl x509 -in "$WORK/gateway-2/node.crt" -noout -ext subjectAltName)" ] || die "another Node-ID after renewal"
[ "$key" = "$(sha256sum <"$WORK/gateway-2/node.key")" ] || die "another key after renewal"
[ "$serial" != "$(openssl x509 -in "$WORK/gateway-2/node.crt" -noout -serial)" ] || die "no new certificate"
echo "a renewed certificate has the same Node-ID"

# The configuration server.
get() { network_in phone curl -s --cacert "$WORK/tls.crt" --connect-to ::192.0.2.5:443 "$@"; }
headers=$(get -o "$WORK/fetched.xml" -D - "https://$OVERLAY/.well-known/reload-config")
grep -qi "^content-type: application/p2p-overlay+xml" <<<"$headers" && grep -qi "^cache-control: .*max-age=3600" <<<"$headers" || die "headers: $headers"
cmp -s "$WORK/fetched.xml" "$WORK/ca/overlay.xml" || die "another document"
etag=$(sed -n 's/^etag: \(.*\)\r$/\1/Ip' <<<"$headers")
[ "$(get -o /dev/null -w '%{http_code}' -H "If-None-Match: $etag" "https://$OVERLAY/.well-known/reload-config")" = 304 ] || die "no 304"
[ "$(get -o /dev/null -w '%{http_code}' "https://other.example.net/.well-known/reload-config")" = 404 ] || die "unknown overlay"
[ "$(get -o /dev/null -w '%{http_code}' "https://$OVERLAY/elsewhere")" = 404 ] || die "unknown path"
[ "$(get -o /dev/null -w '%{http_code}' "https://$OVERLAY/enroll")" = 405 ] || die "GET of /enroll"

# Requests that are wrong.
bob=$(add_user bob@$OVERLAY)
post() { get -o "$WORK/answer" -w '%{http_code}' -H 'Accept: application/pkix-cert' "$@" "https://$OVERLAY/enroll"; }
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/k" -subj / -outform DER -out "$WORK/csr" 2>/dev/null
head -c 1000 /dev/urandom >"$WORK/noise"
form=(-F username=bob@$OVERLAY -F "password=$bob")
[ "$(post "${form[@]}" -F "csr=@$WORK/noise;type=application/pkcs10") $(cat "$WORK/answer")" = "403 bad_CSR" ] || die "noise as request"
[ "$(post "${form[@]}" -F "csr=@$WORK/csr;type=text/plain") $(cat "$WORK/answer")" = "403 bad_CSR" ] || die "wrong type of request"
[ "$(post "${form[@]}" -F nodeids=9 -F "csr=@$WORK/csr;type=application/pkcs10") $(cat "$WORK/answer")" = "403 Node-IDs_not_available" ] || die "nodeids"
[ "$(post -F username=bob@$OVERLAY "${form[@]}" -F "csr=@$WORK/csr;type=application/pkcs10")" = 400 ] || die "user name twice"
openssl req -new -key "$WORK/k" -subj / -addext subjectAltName=email:alice@$OVERLAY -outform DER -out "$WORK/csr2" 2>/dev/null
[ "$(post "${form[@]}" -F "csr=@$WORK/csr2;type=application/pkcs10") $(cat "$WORK/answer")" = "403 username_not_available" ] || die "another's name"
head -c 100000 /dev/zero >"$WORK/large"
# Who asks first reads the answer; to one in the midst of sending it may be lost as the server hangs up.
[ "$(post -H 'Expect: 100-continue' "${form[@]}" -F "csr=@$WORK/large;type=application/pkcs10")" = 413 ] || die "a large request: $(cat "$WORK/answer")"
[[ $(post -H 'Transfer-Encoding: chunked' "${form[@]}" -F "csr=@$WORK/large;type=application/pkcs10") =~ ^(413|000)$ ]] || die "a large chunked request"
[ "$(post -d username=bob)" = 415 ] || die "another kind of form"
[ "$(post "${form[@]}" -F "csr=@$WORK/csr;type=application/pkcs10")" = 200 ] || die "a good request after bad ones: $(cat "$WORK/answer")"
openssl x509 -inform DER -in "$WORK/answer" -noout -subject | grep -qx "subject=" || die "the subject is not empty"
logged "Refused bob@$OVERLAY of overlay $OVERLAY at 192.0.2.6: it is not a PKCS#10 request in DER."
# A client that never finishes is cut off while others are served.
network_in phone timeout 20 openssl s_client -quiet -connect 192.0.2.5:443 -servername $OVERLAY < <(printf 'POST /enroll HTTP/1.1\r\nHost: %s\r\n' $OVERLAY; exec sleep 30) \
	>/dev/null 2>&1 &
slow=$!
refused "(failed_authentication)" g1 wrong-password "https://$OVERLAY" --user "bob@$OVERLAY"
wait $slow
[ $? -ne 124 ] || die "a slow client was not cut off"
echo "wrong requests are refused, slow clients are cut off"

# Passwords: wrong, nobody's, locked, disabled, another one.
logged "Refused bob@$OVERLAY of overlay $OVERLAY at .*: wrong password."
refused "(failed_authentication)" g1 wrong-password "https://$OVERLAY" --user "nobody@$OVERLAY"
logged "Refused nobody@$OVERLAY .*: no such account."
refused "(failed_authentication)" g1 wrong-password "https://$OVERLAY" --user "bob@$OVERLAY"
refused "(failed_authentication)" g1 wrong-password "https://$OVERLAY" --user "bob@$OVERLAY"
refused "answered 429: too many wrong passwords for this account; try again in" g1 "$bob" "https://$OVERLAY" --user "bob@$OVERLAY"
logged "Refused bob@$OVERLAY .*: too many wrong passwords for this account"
"$CTL" user list "$WORK/ca" --json | tr -d '\n' | grep -q '"user": "bob@'"$OVERLAY"'", *"state": "active", *"failures": 3' ||
	die "the list does not show wrong passwords"
[ "$(post "${form[@]}" -F "csr=@$WORK/csr;type=application/pkcs10")" = 200 ] || die "strangers have locked the account for its own site"
bob=$("$CTL" user passwd "$WORK/ca" bob@$OVERLAY --json | sed -n 's/.*"password": "\(.*\)".*/\1/p')
"$CTL" user disable "$WORK/ca" bob@$OVERLAY >/dev/null
refused "(failed_authentication)" g1 "$bob" "https://$OVERLAY" --user "bob@$OVERLAY"
logged "Refused bob@$OVERLAY .*: the account is disabled"
"$CTL" user add "$WORK/ca" bob@$OVERLAY 2>&1 | grep -q "exists already" || die "a name twice"
"$CTL" user add "$WORK/ca" "../bob@$OVERLAY" >/dev/null 2>&1 && die "a name that is a path"
refused "(Node-IDs_not_available)" g1 "$password_1" "https://$OVERLAY" --user "site1@$OVERLAY" --node-ids 2
echo "wrong, locked and disabled: refused, each with its reason in the log"

# The server itself: wrong name, wrong root, no overlay of that name, stopped.
refused "is not good: wrong host name" g1 "$password_1" "https://wrong.example.org" --user "site1@$OVERLAY"
refused "This server has no overlay" g1 "$password_1" "https://other.example.net" --user "site1@$OVERLAY"
refused "cannot be reached: Connection refused" g1 "$password_1" "https://$OVERLAY:444" --address 192.0.2.5:444 --user "site1@$OVERLAY"
refused "cannot be used" g1 "$password_1" "https://$OVERLAY" --name third.example.org --user "site1@$OVERLAY"

# Revoked: a new signed document is out at once, and the account gets nothing more.
node=$(gateway_ctl 2 status --json | sed -n 's/.*"node_id": "\([0-9a-f]*\)".*/\1/p')
"$CTL" node revoke "$WORK/ca" "$node" | grep -q "account site2@$OVERLAY is disabled" || die "node revoke"
get "https://$OVERLAY/.well-known/reload-config" | grep -q "<bad-node>$node</bad-node>" || die "the new document is not out"
refused "(failed_authentication)" g1 "$password_2" "https://$OVERLAY" --user "site2@$OVERLAY"
"$CTL" overlay bump "$WORK/ca" >/dev/null && "$CTL" overlay publish "$WORK/ca" | grep -q "number 3 is published" || die "bump and publish"
sed 's/sequence="3"/sequence="4"/; s/<no-ice>/<max-message-size>6000<\/max-message-size><no-ice>/' "$WORK/ca/overlay.xml" >"$WORK/changed.xml"
"$CTL" overlay sign "$WORK/ca" "$WORK/changed.xml" >/dev/null && "$CTL" overlay publish "$WORK/ca" >/dev/null || die "sign"
enroll g1 "$password_1" "https://$OVERLAY" --user "site1@$OVERLAY" --directory "$WORK/gateway-1" --renew >/dev/null || die "renewal under a new document"
grep -q 'sequence="4"' "$WORK/gateway-1/overlay.xml" || die "the newer document is not installed"
server_stop
refused "cannot be reached" g1 "$password_1" "https://$OVERLAY" --user "site1@$OVERLAY"
server_start
enroll g1 "$password_1" "https://$OVERLAY" --user "site1@$OVERLAY" --directory "$WORK/gateway-1" --renew >/dev/null || die "after a restart"
server_stop
echo "revoked, bumped, signed by hand; stopped and started again"
