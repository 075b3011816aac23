#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Wrong settings, documents, certificates, databases, command lines, ports that are taken, and what strangers send: each gives one
# sentence that names what is wrong and where, the exit status of the manual, and an unchanged state directory; what runs goes on.
# For the plain build and, where it is there, the one with sanitizers.
set -u
cd "$(dirname "$0")/../.." || exit 1
plain=$(realpath "${BUILD:-build}")
sanitized=$(realpath -m "${SAN_BUILD:-$plain-san}")
COUNT=${COUNT:-2000}
. appliance/trial/network.sh
. appliance/trial/overlay.sh
trap 'network_close; rm -rf "${WORK:-}"' EXIT
trap 'exit 130' INT TERM
checked=0
die() { echo "$*"; tail -n 20 "${WORK:-/nonexistent}"/gateway-*/log 2>/dev/null; exit 1; }

# What must not change: names, modes and contents. SQLite leaves an empty -wal file beside a database it has only looked at.
digest() { (cd "$1" && find . -type f ! -name log ! \( -name '*.db-*' -empty \) -printf '%p %m\n' -exec sha256sum {} + | sort) | sha256sum; }

# refuse STATUS TEXT COMMAND…: ends with STATUS and says exactly one line, with TEXT in it.
refuse() {
	local status=$1 text=$2 output got
	shift 2
	output=$(network_in g1 timeout 60 "$@" 2>&1 </dev/null)
	got=$?
	checked=$((checked + 1))
	[ "$got" -eq "$status" ] || die "status $got instead of $status: $* says: $output"
	[ "$(wc -l <<<"$output")" -eq 1 ] || die "not one line: $* says: $output"
	[[ $output == *"$text"* ]] || die "without \"$text\": $* says: $output"
}

daemon() { # STATUS TEXT: the daemon with the settings as they are
	local before after
	before=$(digest "$state")
	refuse "$1" "$2" "$BUILD/ringgated" --config "$state/ringgate.conf"
	after=$(digest "$state")
	[ "$before" = "$after" ] || die "the state directory changed: $2"
}

both() { # STATUS TEXT: --check finds it, too
	refuse "$1" "$2" "$BUILD/ringgated" --check --config "$state/ringgate.conf"
	daemon "$1" "$2"
}

settings() { cp "$WORK/good.conf" "$state/ringgate.conf"; cat >>"$state/ringgate.conf"; }
good() { cp "$WORK/good.conf" "$state/ringgate.conf"; }

try_command_lines() {
	local program
	for program in ringgated ringgatectl; do
		refuse 2 "--frobnicate is not an option" "$BUILD/$program" --frobnicate
		refuse 2 "-z is not an option" "$BUILD/$program" -z
		refuse 2 "takes no value" "$BUILD/$program" --version=3
		[ "$("$BUILD/$program" --help | head -n 1 | cut -d' ' -f1)" = "$program" ] || die "$program --help"
		[[ $("$BUILD/$program" --version) == "$program "[0-9]* ]] || die "$program --version"
	done
	refuse 2 "-c needs a value" "$BUILD/ringgated" -c
	refuse 2 "\"start\" is not an option" "$BUILD/ringgated" start
	refuse 78 "/no/such/file: cannot be read: No such file or directory." "$BUILD/ringgated" --config /no/such/file
	refuse 78 "/tmp: cannot be read: Is a directory." "$BUILD/ringgated" --config /tmp
	refuse 2 "no command" "$BUILD/ringgatectl"
	refuse 2 "there is no command \"stat\"" "$BUILD/ringgatectl" stat
	refuse 2 "status takes no argument" "$BUILD/ringgatectl" status now
	refuse 2 "resolve takes one name" "$BUILD/ringgatectl" resolve
	refuse 2 "overlay takes create, issue, show" "$BUILD/ringgatectl" overlay create
	refuse 2 "there is no \"overlay destroy\"" "$BUILD/ringgatectl" overlay destroy x
	refuse 2 "overlay create needs --name" "$BUILD/ringgatectl" overlay create "$WORK/new"
	refuse 1 "\"Example Org\" is not the name of an overlay" "$BUILD/ringgatectl" overlay create "$WORK/new" --name "Example Org"
	refuse 2 "--bootstrap is \"nowhere\"" "$BUILD/ringgatectl" overlay create "$WORK/new" --name example.org --bootstrap nowhere
	refuse 2 "--require-kind is \"1:SINGLE\"" "$BUILD/ringgatectl" overlay create "$WORK/new" --name example.org --require-kind 1:SINGLE
	[ ! -e "$WORK/new" ] || die "a refused overlay create left something behind"
	refuse 1 "already holds ca.key; choose another directory." "$BUILD/ringgatectl" overlay create "$WORK/ca" --name example.org
	refuse 1 "Make an overlay there with: ringgatectl overlay create" "$BUILD/ringgatectl" overlay issue "$WORK" --output "$WORK/x"
	refuse 1 "exists; it is not overwritten." "$BUILD/ringgatectl" overlay issue "$WORK/ca" --output "$state/node"
	refuse 1 "is not a user name such as alice@example.org" "$BUILD/ringgatectl" overlay issue "$WORK/ca" --output "$WORK/x" --user alice
	refuse 2 "--days is \"0\", expected a number from 1 to 3650." "$BUILD/ringgatectl" overlay issue "$WORK/ca" --output "$WORK/x" --days 0
	refuse 2 "--count is \"many\"" "$BUILD/ringgatectl" ping wildcard --count many
	refuse 2 "word 2 of the command line is not UTF-8." "$BUILD/ringgatectl" resolve $'\xff@example.org'
	refuse 3 "no daemon answers on $state/control" "$BUILD/ringgatectl" --socket "$state/control" status
	refuse 2 "the path of the socket is too long" "$BUILD/ringgatectl" --socket "/$(printf 'a%.0s' {1..200})" status
	refuse 1 "/no/such/file: cannot be opened: No such file or directory." "$BUILD/ringgatectl" overlay show /no/such/file
}

try_settings() {
	local last line
	last=$(($(wc -l <"$WORK/good.conf") + 1))
	settings <<<"nonsense"; both 78 "ringgate.conf:$last: this is neither [section] nor name = value."
	settings <<<"[nodes]"; both 78 "ringgate.conf:$last: there is no section [nodes]"
	settings <<<"colour = blue"; both 78 "ringgate.conf:$last: there is no setting \"colour\" in section [control]"
	settings <<<$'[links]\nlisten = somewhere'; both 78 "ringgate.conf:$((last + 1)): [links] listen is \"somewhere\", expected one IPv4 address"
	settings <<<$'[links]\nmtu = 12'; both 78 "ringgate.conf:$((last + 1)): [links] mtu is \"12\", expected a number of octets from 576 to 9216."
	settings <<<$'[sip]\nallow = 192.0.2.0/64'; both 78 "[sip] allow is \"192.0.2.0/64\", expected up to 32 networks"
	settings <<<$'[sip]\nexpires-min = 100\nexpires-max = 99'; both 78 "each may be at most the next."
	settings <<<$'[node]\nrole = client\nfirst-node = yes'; both 78 "a client cannot be the first node"
	settings <<<$'[node]\nkey = node.key'; both 78 "[node] key is \"node.key\", expected an absolute path."
	good
	head -c 5000 /dev/urandom >>"$state/ringgate.conf"; both 78 "ringgate.conf:$last: "
	good
	mkdir "$state/ringgate.conf.d"
	echo "role = server" >"$state/ringgate.conf.d/10-role.conf"; both 78 "10-role.conf:1: \"role\" stands in front of the first [section]."
	printf '[node]\n\nrole = server\n' >"$state/ringgate.conf.d/10-role.conf"; both 78 "10-role.conf:3: [node] role is \"server\", expected peer, client or bootstrap-server."
	rm -r "$state/ringgate.conf.d"
}

try_documents() {
	local document=$state/overlay.xml
	try_document() { both 78 "$document: $1"; cp "$WORK/good.xml" "$document"; }
	head -c 900 "$WORK/good.xml" >"$document"; try_document "Line "
	: >"$document"; try_document "The document is empty."
	head -c 5000 /dev/urandom >"$document"; try_document "The document "
	{ cat "$WORK/good.xml"; head -c 300000 /dev/zero | tr '\0' ' '; } >"$document"; try_document "The document is larger than 262144 octets."
	sed 's/<overlay /<!DOCTYPE overlay [<!ENTITY a SYSTEM "file:\/\/\/etc\/passwd">]><overlay /' "$WORK/good.xml" >"$document"
	try_document "The document has a document type declaration, which is not accepted."
	sed 's/sequence="1"/sequence="2"/' "$WORK/good.xml" >"$document"; try_document "The signature does not fit"
	sed 's/<no-ice>true/<no-ice>false/' "$WORK/good.xml" >"$document"; try_document "The overlay uses ICE"
	sed 's/CHORD-RELOAD/OTHER-RING/' "$WORK/good.xml" >"$document"; try_document "Line 4, element topology-plugin: overlay algorithm \"OTHER-RING\""
	sed 's/<node-id-length>16/<node-id-length>seventeen/' "$WORK/good.xml" >"$document"; try_document "Line "
	rm "$document"; try_document "cannot be opened: No such file or directory."
	rm "$document"; mkdir "$document"; both 78 "$document: is not a regular file."; rmdir "$document"; cp "$WORK/good.xml" "$document"
	cp "$WORK/other/overlay.xml" "$document"; both 78 "$state/node.crt: a URI in subjectAltName belongs to another overlay."
	cp "$WORK/twin/overlay.xml" "$document"; both 78 "$state/node.crt: cannot be used in overlay example.org: "
	cp "$WORK/good.xml" "$document"
	settings <<<$'[node]\noverlay = example.net'; both 78 "$document: "; good
}

# A clock for ringgatectl that is SHIFT seconds off, so that certificates are made that have expired or are not valid yet.
make_shifted_clock() {
	cat >"$WORK/shift.c" <<-'CODE'
		#define _GNU_SOURCE
		#include <stdlib.h>
		#include <sys/syscall.h>
		#include <time.h>
		#include <unistd.h>
		int clock_gettime(clockid_t clock, struct timespec *now) {
			long result = syscall(SYS_clock_gettime, clock, now);
			if (clock == CLOCK_REALTIME) now->tv_sec += atol(getenv("SHIFT"));
			return (int)result;
		}
	CODE
	gcc -shared -fPIC -o "$WORK/shift.so" "$WORK/shift.c" || die "the shifted clock does not compile"
}
issue_shifted() { SHIFT=$1 LD_PRELOAD=$WORK/shift.so "$plain/ringgatectl" overlay issue "$WORK/ca" --days 1 --output "$2" >/dev/null || die "a shifted certificate"; }

# --check says what is wrong; the daemon takes it that the clock is, and waits for the time.
try_early() {
	local waiting
	refuse 78 "$1" "$BUILD/ringgated" --check --config "$state/ringgate.conf"
	ip netns exec "$NETWORK-g1" "$BUILD/ringgated" --config "$state/ringgate.conf" >"$WORK/early.log" 2>&1 &
	waiting=$!
	timeout --foreground 60 grep -q -m1 "The clock is wrong: it says .* Waiting until the time is set" < <(tail -n +1 -F --pid="$waiting" "$WORK/early.log" 2>/dev/null) ||
		die "no word of the clock: $(cat "$WORK/early.log")"
	kill -TERM "$waiting"
	wait "$waiting"
	grep -q "Ended before the clock was set" "$WORK/early.log" || die "it did not wait: $(cat "$WORK/early.log")"
	checked=$((checked + 1))
}

try_certificates() {
	local certificate=$state/node.crt key=$state/node.key
	restore() { cp -p "$WORK/good.crt" "$certificate"; cp -p "$WORK/good.key" "$key"; }
	use() { cp "$1.crt" "$certificate"; cp "$1.key" "$key"; chmod 600 "$key"; }
	use "$WORK/expired"; both 78 "$certificate: cannot be used in overlay example.org: the certificate has expired."
	use "$WORK/early"; try_early "$certificate: cannot be used in overlay example.org: the certificate is not valid yet."
	use "$WORK/foreign"; both 78 "$certificate: cannot be used in overlay example.org: "
	restore; cp "$WORK/foreign.key" "$key"; chmod 600 "$key"; both 78 "$key: is not the key of the certificate $certificate."
	restore; chmod 640 "$key"; both 78 "$key: others than its owner have access; its mode should be 0600."
	restore; rm "$key"; both 78 "$key: cannot be opened: No such file or directory."
	restore; rm "$certificate"; both 78 "$certificate: cannot be opened: No such file or directory."
	restore; echo nonsense >"$certificate"; both 78 "$certificate: holds no certificate in PEM form."
	restore; : >"$key"; both 78 "$key: holds no unencrypted private key in PEM form."
	restore; cp "$WORK/ca/ca.crt" "$certificate"; both 78 "$certificate: "
	restore
	# A user that cannot be used is left out and does not stop the site.
	cp "$WORK/foreign.crt" "$state/users/mallory@example.org.crt"
	cp "$WORK/foreign.key" "$state/users/mallory@example.org.key"
	network_in g1 "$BUILD/ringgated" --check --config "$state/ringgate.conf" >"$WORK/output" 2>&1 || die "a bad user stops the site"
	grep -q "User left out: .*mallory@example.org.crt: " "$WORK/output" || die "a bad user is not mentioned"
	rm "$state"/users/mallory*
}

sqlite() { python3 -c 'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.executescript(sys.argv[2]); d.close()' "$@"; }

try_databases() {
	local records=$state/records.db
	try_records() { daemon "$1" "$records $2"; rm -rf "$records" "$records"-*; cp "$WORK/good.db" "$records"; }
	head -c 8192 /dev/urandom >"$records"; try_records 78 "is not a sound record database"
	dd if=/dev/urandom of="$records" bs=4096 seek=1 count=4 conv=notrunc 2>/dev/null; try_records 78 "is not a sound record database"
	truncate -s 5000 "$records"; try_records 78 "is not a sound record database"
	sqlite "$records" "PRAGMA user_version = 99"; try_records 78 "was written by a newer version (schema 99, this version knows "
	rm "$records"; sqlite "$records" "CREATE TABLE notes (text)"; try_records 78 "is not a sound record database (another program's database)"
	rm "$records"; mkdir "$records"; try_records 78 "is not a regular file"
	hold "$WORK" lock "$records"; daemon 1 "$records is in use by another process"; release
	# Root may write everything, so another user meets what may not be written.
	chmod 711 "$WORK"
	chown -R nobody "$state"
	as_nobody() { refuse "$1" "$2" setpriv --reuid nobody --clear-groups "$BUILD/ringgated" --config "$state/ringgate.conf"; }
	chown root "$records"; chmod 444 "$records"; as_nobody 78 "$records cannot be written"
	chown nobody "$records"; chmod 640 "$records"
	chmod 500 "$state"; as_nobody 78 "The state directory $state cannot be written: Permission denied."; chmod 700 "$state"
	chown -R root "$state"
}

# hold DIRECTORY ARGUMENT…: something is taken until release
hold() {
	local directory=$1
	shift
	mkfifo "$directory/end"
	network_in g1 python3 tests/net/bad_input.py "$@" <"$directory/end" >"$directory/held" 2>&1 &
	holder=$!
	exec 9>"$directory/end"
	timeout 60 grep -q held < <(tail -n +1 -F --pid=$holder "$directory/held" 2>/dev/null) || die "cannot hold $*: $(cat "$directory/held")"
}
release() { exec 9>&-; wait "$holder"; rm -f "$WORK/end"; }

try_ports() {
	local address
	address=$(gateway_address 1)
	hold "$WORK" hold udp "$address" 6084; daemon 1 "$address:6084"; release
	hold "$WORK" hold udp 2001:db8:6084::11 6084; daemon 1 "[2001:db8:6084::11]:6084"; release
	hold "$WORK" hold udp "$address" 5060; daemon 1 "$address:5060: Address already in use."; release
	hold "$WORK" hold tcp "$address" 5060; daemon 1 "$address:5060: Address already in use."; release
	settings <<<$'[metrics]\nlisten = 127.0.0.1:9464'
	hold "$WORK" hold tcp 127.0.0.1 9464; daemon 1 "The metrics cannot be served on 127.0.0.1:9464: Address already in use."; release
	settings <<<$'[links]\nlisten = 198.51.100.77'; daemon 1 "198.51.100.77:6084: Cannot assign requested address."
	settings <<<$'[sip]\nlisten = 198.51.100.77'; daemon 1 "198.51.100.77:5060: Cannot assign requested address."
	settings <<<$'[links]\nciphers = NO-SUCH-CIPHER'; daemon 78 "NO-SUCH-CIPHER"
	settings <<<$'[links]\nkeylog = /no/such/directory/keys'; daemon 78 "/no/such/directory/keys: No such file or directory."
	settings <<<"group = no-such-group"; daemon 78 "There is no group \"no-such-group\" for the control socket."
	settings <<<$'socket = /no/such/directory/control'; daemon 78 "The directory /no/such/directory cannot be made: No such file or directory."
	settings <<<"socket = $state/overlay.xml"; daemon 78 "The control socket $state/overlay.xml cannot be made: something else is there."
	settings <<<$'[node]\nstate-directory = /proc/ringgate\noverlay-config = '"$state/overlay.xml"$'\ncertificate = '"$state/node.crt"$'\nkey = '"$state/node.key"
	daemon 78 "The state directory /proc/ringgate cannot be made: No such file or directory."
	good
}

try_strangers() {
	local pid address
	address=$(gateway_address 1)
	: >"$state/log" # gateway_start waits for what it finds there
	gateway_start 1 && gateway_wait 1 || die "gateway 1 does not start"
	pid=${GATEWAY_PID[1]}
	refuse 1 "cannot listen on $address:6084: Address already in use." "$BUILD/ringgated" --config "$state/ringgate.conf"
	network_in g1 "$BUILD/ringgated" --check --config "$state/ringgate.conf" >/dev/null || die "--check beside a running daemon"
	python3 tests/net/bad_input.py control "$state/control" || die "control socket"
	network_in phone python3 tests/net/bad_input.py sip "$address" 5060 "$COUNT" || die "SIP"
	[ "$(gateway_ctl 1 metrics | sed -n 's/^ringgate_sip_malformed_total //p')" -gt 100 ] || die "malformed SIP messages are not counted"
	refuse 1 "Kind \"nonsense\" is not known in this overlay." "$BUILD/ringgatectl" -s "$state/control" fetch alice@example.org --kind nonsense
	refuse 1 "Say which: a name" "$BUILD/ringgatectl" -s "$state/control" fetch --kind 1
	refuse 1 "Give a name such as alice@example.org." "$BUILD/ringgatectl" -s "$state/control" resolve alice
	refuse 1 "neither a Node-ID of 32 hexadecimal digits nor a name" "$BUILD/ringgatectl" -s "$state/control" trace nowhere
	refuse 1 "Time is up, and the node has not joined with that many peers." "$BUILD/ringgatectl" -s "$state/control" wait --peers 9 --timeout 1
	kill -0 "$pid" || die "the gateway has ended"
	gateway_ctl 1 status >/dev/null || die "the gateway does not answer"
	gateway_stop 1 || die "the gateway did not end well"
	if grep -E 'AddressSanitizer|LeakSanitizer|runtime error' "$state/log"; then die "a sanitizer spoke"; fi
}

round() {
	WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
	state=$WORK/gateway-1
	network_open
	overlay_create || die "no overlay"
	gateway_create 1 alice@example.org || die "no gateway"
	network_site phone 192.0.2.5
	"$BUILD/ringgatectl" overlay create "$WORK/other" --name example.net >/dev/null &&
		"$BUILD/ringgatectl" overlay create "$WORK/twin" --name example.org >/dev/null &&
		"$BUILD/ringgatectl" overlay issue "$WORK/twin" --output "$WORK/foreign" >/dev/null || die "no other overlays"
	make_shifted_clock
	issue_shifted -864000 "$WORK/expired"
	issue_shifted 864000 "$WORK/early"
	# Once up and down, so that there are records to keep.
	gateway_start 1 && gateway_wait 1 && gateway_stop 1 || die "the gateway does not start and end"
	rm -f "$state/peers"
	cp "$state/ringgate.conf" "$WORK/good.conf"
	cp "$state/overlay.xml" "$WORK/good.xml"
	cp "$state/records.db" "$WORK/good.db"
	cp -p "$state/node.crt" "$WORK/good.crt"
	cp -p "$state/node.key" "$WORK/good.key"
	try_command_lines
	try_settings
	try_documents
	try_certificates
	try_databases
	try_ports
	good
	try_strangers
	network_close
	rm -rf "$WORK"
}

network_require
for BUILD in "$plain" "$sanitized"; do
	[ -x "$BUILD/ringgated" ] && [ -x "$BUILD/ringgatectl" ] || continue
	round
done
echo "$checked mistakes, each with one sentence and its exit status; nothing changed, and what ran went on"
