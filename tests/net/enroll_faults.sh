#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What goes wrong around enrollment: servers that lie to a site, clients that abuse ringgate-enrolld, 50 sites at once. A clear sentence on both
# sides, nothing half-installed, and the server goes on serving others.
# B-11.1-01 B-11.1-11 B-11.2-02 B-11.2-03 B-11.3-02 B-11.3-05 B-11.3-06 B-11.3-07 B-11.3-08 B-13.4-02
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
OVERLAY=example.org
. appliance/trial/network.sh
. appliance/trial/overlay.sh
CTL=$BUILD/ringgatectl
FAULTS=$PWD/tests/net/enroll_faults.py
SERVER_PID='' BAD_PID=
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
die() { echo "$*"; tail -n 5 "$WORK"/*log 2>/dev/null; exit 1; }

certificate() { # NAME SUBJECT-ALT-NAME: $WORK/NAME.crt and .key
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/$1.key" -out "$WORK/$1.crt" -days 30 -subj "/CN=test" \
		-addext "subjectAltName=$2" -addext "keyUsage=critical,digitalSignature,keyCertSign" 2>/dev/null || die "no certificate $1"
}
expired_certificate() { # the same, of last year
	local directory=$WORK/expired-ca
	mkdir "$directory" && : >"$directory/index" && echo 01 >"$directory/serial"
	cat >"$directory/conf" <<-CONF
		[ca]
		default_ca = d
		[d]
		database = $directory/index
		serial = $directory/serial
		new_certs_dir = $directory
		default_md = sha256
		policy = p
		x509_extensions = e
		[p]
		commonName = optional
		[e]
		subjectAltName = $2
		keyUsage = critical,digitalSignature,keyCertSign
	CONF
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/$1.key" -out "$directory/request" -subj /CN=test 2>/dev/null
	openssl ca -batch -notext -config "$directory/conf" -selfsign -keyfile "$WORK/$1.key" -in "$directory/request" -out "$WORK/$1.crt" \
		-startdate 20250101000000Z -enddate 20250201000000Z 2>/dev/null || die "no expired certificate"
}
settings() { # [LINE…]: of [server] and [enrollment]
	cat >"$WORK/enrolld.conf" <<-CONF
		[server]
		listen = 192.0.2.5:443
		certificate = $WORK/tls.crt
		key = $WORK/tls.key
		request-seconds = ${REQUEST_SECONDS:-5}
		$1
		[enrollment]
		$2
		[overlay $OVERLAY]
		directory = $WORK/ca
		hosts = enroll.example.org
		[overlay second.example.net]
		directory = $WORK/second
		[overlay own.example.net]
		directory = $WORK/own
		[overlay secret.example.net]
		directory = $WORK/secret
	CONF
}
server_start() {
	: >"$WORK/server.log"
	ip netns exec "$NETWORK-server" "${@:-$BUILD/ringgate-enrolld}" --config "$WORK/enrolld.conf" >>"$WORK/server.log" 2>&1 &
	SERVER_PID=$!
	timeout 30 grep -q -m1 "Serving 4 overlays" < <(tail -n +1 -F --pid=$SERVER_PID "$WORK/server.log" 2>/dev/null) || die "the server does not start"
}
server_stop() { kill -TERM "$SERVER_PID"; wait "$SERVER_PID" || die "the server did not end in order"; }
bad_start() { # CERTIFICATE: the server that lies, at port 444
	[ -z "$BAD_PID" ] || { kill "$BAD_PID"; wait "$BAD_PID" 2>/dev/null; }
	: >"$WORK/bad.log"
	ip netns exec "$NETWORK-server" python3 "$FAULTS" serve 192.0.2.5:444 "$WORK/$1.crt" "$WORK/$1.key" "$WORK/ca/published.xml" "$WORK/tls.crt" \
		>>"$WORK/bad.log" 2>&1 &
	BAD_PID=$!
	timeout 30 grep -q -m1 serving < <(tail -n +1 -F --pid=$BAD_PID "$WORK/bad.log" 2>/dev/null) || die "the bad server does not start"
}
client() { # CASE HOST [ARGUMENT…]
	local case=$1 host=$2
	shift 2
	network_in phone timeout 120 python3 "$FAULTS" "$case" 192.0.2.5:443 "$WORK/tls.crt" "$host" "$@"
}
# refused SENTENCE URL PASSWORD [ARGUMENT…]: one clear sentence, and nothing is left
refused() {
	local sentence=$1 url=$2 password=$3 output
	shift 3
	mkdir -p "$WORK/empty"
	output=$(network_in site timeout 100 "$CTL" enroll "$url" --user "alice@$OVERLAY" --password-file - --ca-file "$WORK/tls.crt" --address 192.0.2.5:444 \
		--directory "$WORK/empty" "$@" <<<"$password" 2>&1) && die "\"$url\" was not refused"
	grep -qF -- "$sentence" <<<"$output" || die "$url, $password: expected \"$sentence\", got: $output"
	[ "$(wc -l <<<"$output")" -eq 1 ] && ! grep -q $'\e' <<<"$output" || die "$url: not one clean sentence: $output"
	[ -z "$(ls -A "$WORK/empty")" ] || die "$url: left behind: $(ls "$WORK/empty")"
}
serves() { # a site can enroll
	rm -rf "$WORK/good"
	mkdir "$WORK/good"
	network_in site timeout 60 "$CTL" enroll "https://$OVERLAY" --user "bob@$OVERLAY" --password-file - --ca-file "$WORK/tls.crt" --address 192.0.2.5 \
		--directory "$WORK/good" <<<"$bob" >"$WORK/enroll.log" 2>&1 || die "$1: the server does not serve others: $(cat "$WORK/enroll.log")"
}

network_require
network_open
overlay_create --enrollment-server "https://$OVERLAY/enroll" || die "no overlay"
"$CTL" overlay create "$WORK/second" --name second.example.net --enrollment-server https://second.example.net/enroll >/dev/null || die "second overlay"
"$CTL" overlay create "$WORK/own" --name own.example.net --self-signed sha256 >/dev/null || die "self-signed overlay"
"$CTL" overlay create "$WORK/secret" --name secret.example.net --shared-secret-file - <<<"0123456789abcdef" >/dev/null || die "secret overlay"
for directory in ca second own secret; do "$CTL" overlay publish "$WORK/$directory" >/dev/null || die "publish $directory"; done
network_site server 192.0.2.5
network_site site 192.0.2.11
network_site phone 192.0.2.6
certificate tls "DNS:$OVERLAY,DNS:enroll.example.org,DNS:second.example.net,DNS:own.example.net,DNS:secret.example.net"
certificate wrong "DNS:www.example.org"
expired_certificate expired "DNS:$OVERLAY"
bob=$("$CTL" user add "$WORK/ca" bob@$OVERLAY --json | sed -n 's/.*"password": "\(.*\)".*/\1/p')

# ---- servers that lie to a site ----
bad_start tls
url=https://$OVERLAY:444
for case in truncated empty noise deep; do refused "The document at $url/$case cannot be used" "$url/$case" x; done
for case in changed unsigned; do refused "The configuration document of $OVERLAY" "$url/$case" x; done
for case in bomb external; do refused "The document at $url/$case cannot be used" "$url/$case" x; done
refused "too large" "$url/huge" x
refused "failed" "$url/cut" x
refused "did not answer with a configuration document" "$url/page" x
refused "answered 302" "$url/redirect" x
refused "answered 500: no database" "$url/trouble" x
refused "cannot be used" "$url/good" x --name other.example.net
for password in other-certificate half-a-certificate huge-certificate empty-certificate; do
	case $password in huge*) sentence="too large" ;; *) sentence="certificate the server issued is not good" ;; esac
	refused "$sentence" "$url/good" "$password"
done
refused "did not answer with a certificate" "$url/good" wrong-type
refused "answered 403: moon_phase" "$url/good" unknown-token
refused "answered 503: The server is busy." "$url/good" busy-for-now
refused "failed" "$url/good" hang-up
echo "documents and certificates that lie are refused, nothing is installed"
for certificate in wrong expired; do
	bad_start "$certificate"
	refused "The HTTPS certificate of $url/good" "$url/good" x --ca-file "$WORK/$certificate.crt"
done
bad_start tls
refused "The HTTPS certificate of $url/good" "$url/good" x --ca-file "$WORK/wrong.crt"
kill "$BAD_PID"
wait "$BAD_PID" 2>/dev/null
BAD_PID=
refused "cannot be reached: Connection refused" "$url/good" x
output=$(network_in site timeout 100 "$CTL" enroll "https://nowhere.invalid" --user "alice@$OVERLAY" --password-file - --directory "$WORK/empty" <<<x 2>&1) &&
	die "a host that does not exist was not refused"
grep -qE "is not known|cannot be found" <<<"$output" && [ -z "$(ls -A "$WORK/empty")" ] || die "wrong DNS name: $output"
echo "wrong names, expired and foreign HTTPS certificates are refused"

# ---- clients that abuse the server; as a user of its own ----
settings "user = nobody" "failures-per-minute = 10000"
chown -R nobody "$WORK/ca" "$WORK/second" "$WORK/own" "$WORK/secret" "$WORK/tls.key"
chmod 0711 "$WORK"
server_start
[ "$(awk '$1 == "Uid:" {print $2 $3 $4}' "/proc/$SERVER_PID/status")" = "$(id -u nobody)$(id -u nobody)$(id -u nobody)" ] || die "the server is still root"
[ "$(awk '/^Cap(Prm|Eff|Inh|Amb):/ {s = s $2} END {print s + 0}' "/proc/$SERVER_PID/status")" = 0 ] || die "the server has capabilities"
serves "at first"
client forms "$OVERLAY" || die "broken forms"
client huge "$OVERLAY" || die "huge requests"
serves "after broken and huge requests"
coproc SLOW { client slow "$OVERLAY"; }
slow_pid=$SLOW_PID
read -r -t 60 line <&"${SLOW[0]}" && [ "$line" = holding ] || die "the slow clients do not connect"
serves "beside 40 slow clients"
client drip "$OVERLAY" || die "a client that drips was not cut off"
wait "$slow_pid" || die "the slow clients were not cut off"
echo "broken, huge and slow requests: the server goes on"

# Old TLS, and no TLS at all.
for version in tls1 tls1_1; do
	network_in phone timeout 20 openssl s_client -connect 192.0.2.5:443 -servername "$OVERLAY" -$version -cipher 'ALL:@SECLEVEL=0' </dev/null >"$WORK/s_client" 2>&1 &&
		die "$version is accepted"
done
for version in tls1_2 tls1_3; do
	network_in phone timeout 20 openssl s_client -connect 192.0.2.5:443 -servername "$OVERLAY" -$version </dev/null >"$WORK/s_client" 2>&1 || die "$version is refused"
done
network_in phone timeout 20 curl -s "http://192.0.2.5:443/" && die "an answer without TLS"

# Each overlay under its own name; what may not be handed out is not.
client get "$OVERLAY" 200 'instance-name="example.org"' && client get enroll.example.org 200 'instance-name="example.org"' &&
	client get second.example.net 200 'instance-name="second.example.net"' && client get own.example.net 200 "self-signed-permitted" || die "documents"
client get secret.example.net 403 "shared secret" || die "the secret is handed out"
network_in phone curl -s --cacert "$WORK/tls.crt" --connect-to ::192.0.2.5:443 -F username=x https://own.example.net/enroll | grep -q "make their own certificates" ||
	die "enrollment without a CA"
echo "old TLS is refused, four overlays are told apart"

# The ledger is held by somebody else: the document is still served, nothing is issued, and it goes on afterwards.
coproc HOLD { python3 -c '
import sqlite3, sys
ledger = sqlite3.connect(sys.argv[1], isolation_level=None)
ledger.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()' "$WORK/ca/ledger.db"; }
hold_pid=$HOLD_PID hold_in=${HOLD[1]}
read -r -t 30 line <&"${HOLD[0]}" && [ "$line" = held ] || die "the ledger cannot be held"
rm -rf "$WORK/empty"
refused "answered 500" "https://$OVERLAY" "$bob" --address 192.0.2.5 --user "bob@$OVERLAY" &
waiting=$!
client get "$OVERLAY" 200 || die "the document has to wait for the ledger"
wait $waiting || die "$(tail -n 1 "$WORK/server.log")"
echo >&"$hold_in"
wait "$hold_pid"
serves "after trouble with the ledger"
grep -q "Refused bob@$OVERLAY .*: the ledger cannot be written" "$WORK/server.log" || die "trouble is not logged"
server_stop

# More at once than one worker and a short queue can take.
settings $'user = nobody\nworkers = 1\nqueue = 3' "failures-per-minute = 10000"
server_start
client busy "$OVERLAY" >"$WORK/busy" || die "a full queue: $(cat "$WORK/busy")"
serves "after a full queue"
server_stop

# Somebody takes all connections and is never silent for long: then nobody has much time, and others get in.
REQUEST_SECONDS=30 settings $'user = nobody\nconnections = 40' "failures-per-minute = 10000"
server_start
coproc CROWD { client crowd "$OVERLAY"; }
crowd_pid=$CROWD_PID
read -r -t 60 line <&"${CROWD[0]}" && [ "$line" = holding ] || die "the crowd does not connect"
serves "beside a crowd"
wait "$crowd_pid" || die "the crowd was not cut off"
server_stop

# Guessing: the network is refused before hashes are computed for it, others are not.
settings "user = nobody" "failures-per-minute = 5"
server_start
[ "$(client guess "$OVERLAY")" = 5 ] || die "guesses"
serves "while another guesses"
server_stop
echo "a held ledger, a full queue, guesses: told in time"

# 50 sites at once, the service manager's socket.
settings "user = nobody" "failures-per-minute = 5"
for number in $(seq 50); do
	"$CTL" user add "$WORK/ca" "site$number@$OVERLAY" --password-file - <<<"password of $number" >/dev/null || die "user add"
done
if command -v systemd-socket-activate >/dev/null; then
	: >"$WORK/server.log"
	ip netns exec "$NETWORK-server" systemd-socket-activate -l 192.0.2.5:443 "$BUILD/ringgate-enrolld" --config "$WORK/enrolld.conf" >>"$WORK/server.log" 2>&1 &
	SERVER_PID=$!
	timeout 30 grep -q -m1 "Listening on" < <(tail -n +1 -F --pid=$SERVER_PID "$WORK/server.log" 2>/dev/null) || die "no socket"
else
	server_start
fi
pids=()
for number in $(seq 50); do
	mkdir "$WORK/site-$number"
	network_in site timeout 120 "$CTL" enroll "https://$OVERLAY" --user "site$number@$OVERLAY" --password-file - --ca-file "$WORK/tls.crt" --address 192.0.2.5 \
		--directory "$WORK/site-$number" --json <<<"password of $number" >"$WORK/site-$number/answer" 2>&1 &
	pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || die "not all of 50 sites are enrolled: $(cat "$WORK"/site-*/answer | grep -v '[{}":]' | head -3)"; done
[ "$(grep -ho '"node_id": "[0-9a-f]*"' "$WORK"/site-*/answer | sort -u | wc -l)" = 50 ] || die "Node-IDs are not all different"
server_stop
echo "50 sites at once are enrolled, each with a Node-ID of its own"
