#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Three sites and a server, each a network namespace with an /etc, /var, /root and /run of its own, set up by the commands of
# docs/operators.md and by nothing else. Then: the revoked site's links are gone everywhere within 5 s, it cannot return, a site that
# was away heals, and useless documents change nothing. B-11.1-06 B-11.1-11 B-6.3.2.1-02 B-6.3.2.1-03 B-6.5.4-01 B-11.2-01 B-11.3-02
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
. appliance/trial/network.sh
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
GUIDE=docs/operators.md
DIRECTORY=/var/lib/ringgate-enroll/example.org
MACHINES="server site1 site2 site3 phone"
declare -A ADDRESS=([server]=192.0.2.5 [site1]=192.0.2.11 [site2]=192.0.2.12 [site3]=192.0.2.13 [phone]=192.0.2.21) PID
trap 'network_close; rm -rf "$WORK"' EXIT
trap 'exit 130' HUP INT TERM
die() {
	echo "$*"
	tail -n 5 "$WORK"/*.log 2>/dev/null
	exit 1
}

# A shell in the machine. Its files are reached from outside through /proc/PID/root.
on() {
	local machine=$1
	shift
	nsenter -t "${PID[$machine]}" -m -n --wd="$PWD" env PATH="$WORK/bin:$PATH" MACHINE="$machine" HOME=/root "$@"
}
root_of() { echo "/proc/${PID[$1]}/root"; }

machine_start() {
	local machine=$1
	network_site "$machine" "${ADDRESS[$machine]}"
	mkfifo "$WORK/$machine.ready"
	ip netns exec "$NETWORK-$machine" unshare -m --propagation private bash -c '
		set -e
		mkdir -p "$0/etc"; cp -a /etc/. "$0/etc"; rm -rf "$0/etc/ringgate"
		for each in etc var root run; do mkdir -p "$0/$each"; mount --bind "$0/$each" "/$each"; done
		mkdir -p /var/lib /var/log
		echo ready >"$0.ready"
		exec sleep infinity' "$WORK/$machine" >"$WORK/$machine.log" 2>&1 &
	PID[$machine]=$!
	local line
	read -r -t 30 line <"$WORK/$machine.ready" && [ "$line" = ready ] || die "machine $machine does not start"
	# What "make install" puts outside of PREFIX.
	install -d "$WORK/$machine/etc/ringgate" "$WORK/$machine/etc/sysusers.d"
	cp appliance/ringgate.conf appliance/ringgate-enrolld.conf "$WORK/$machine/etc/ringgate/"
	for each in appliance/*.sysusers; do cp "$each" "$WORK/$machine/etc/sysusers.d/$(basename "$each" .sysusers).conf"; done
}

# What the guide uses of a whole machine: the service manager starts and stops what its name says, scp copies.
make_tools() {
	mkdir -p "$WORK/bin"
	cp "$BUILD"/ringgate{d,ctl,-enrolld} "$WORK/bin/"
	chmod 711 "$WORK" # services run as users of their own
	cat >"$WORK/bin/systemctl" <<-'TOOL'
		#!/bin/bash
		name=${!#} name=${name%.service} log=/var/log/${name%.service}.log unit=appliance/${name%.service}.service
		setting() { sed -n "s/^$1=//p" "$unit"; }
		case "$*" in
		"enable --now "*) ;;
		"stop "*) kill -TERM "$(cat "/run/$name.pid")"; exec tail -f /dev/null --pid="$(cat "/run/$name.pid")" ;;
		*) echo "systemctl $* is not among what this test knows" >&2; exit 1 ;;
		esac
		: >"$log"
		as= user=$(setting User) runtime=$(setting RuntimeDirectory)
		[ -z "$runtime" ] || install -d -o "$user" -g "$user" "/run/$runtime"
		install -d -m "$(setting StateDirectoryMode)" -o "$user" -g "$user" "/var/lib/$(setting StateDirectory)"
		as="setpriv --reuid=$user --regid=$user --clear-groups --no-new-privs"
		credentials=/run/credentials/$name.service
		for each in $(setting LoadCredential); do
			instead=$(setting SetCredential | sed -n "s/^${each%%:*}://p")
			[ -e "${each#*:}" ] || [ -z "$instead" ] || { each=${each%%:*}:/run/instead; printf "$instead" >/run/instead; }
			install -D -m 400 -o "$user" "${each#*:}" "$credentials/${each%%:*}"
			chmod 755 "$credentials"
			export CREDENTIALS_DIRECTORY=$credentials
		done
		socket=$(sed -n 's/^ListenStream=//p' "${unit%.service}.socket" 2>/dev/null)
		[ -z "$socket" ] || as="python3 ${0%/*}/listen $socket $as"
		setsid $as "${0%/*}/$name" >>"$log" 2>&1 </dev/null &
		echo $! >"/run/$name.pid"
		case $name in ringgated) sign="Node [0-9a-f]* of overlay" ;; *) sign="Serving " ;; esac
		timeout 30 grep -q -m1 "$sign" < <(tail -n +1 -F --pid=$! "$log" 2>/dev/null) || { cat "$log"; exit 1; }
	TOOL
	cat >"$WORK/bin/listen" <<-'TOOL'
		import os, socket, sys
		s = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
		os.dup2(s.fileno(), 3)
		os.set_inheritable(3, True)
		os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
		os.execvp(sys.argv[2], sys.argv[2:])
	TOOL
	cat >"$WORK/bin/scp" <<-'TOOL'
		#!/bin/bash
		target=${!#}
		while [ $# -gt 1 ]; do cp "$1" "${0%/*}/to/${target%%:*}${target#*:}" || exit 1; shift; done
	TOOL
	chmod +x "$WORK/bin/systemctl" "$WORK/bin/scp"
	mkdir -p "$WORK/bin/to"
	local machine
	for machine in site1 site2 site3; do ln -s "$WORK/$machine" "$WORK/bin/to/root@${ADDRESS[$machine]}"; done
}

# The guide's blocks of commands in order, one file each: 001.server, 002.site1, …
extract() {
	mkdir "$WORK/guide"
	awk -v directory="$WORK/guide" '
		/^```sh / { file = sprintf("%s/%03d.%s", directory, ++count, $2); next }
		/^```/ { file = "" }
		file { print >file }' "$GUIDE"
	blocks=("$WORK"/guide/*)
	[ ${#blocks[@]} -ge 12 ] || die "the guide has only ${#blocks[@]} blocks of commands"
}

# Runs the guide up to, not including, the first block that holds the text.
follow_until() {
	local block machine machines
	while [ $next -lt ${#blocks[@]} ]; do
		block=${blocks[$next]}
		[ -n "$1" ] && grep -qF "$1" "$block" && return 0
		next=$((next + 1))
		machines=${block##*.}
		[ "$machines" != all ] || machines=$MACHINES
		for machine in $machines; do
			[ -n "${PID[$machine]:-}" ] || die "the guide speaks of a machine \"$machine\""
			timeout --foreground 120 nsenter -t "${PID[$machine]}" -m -n --wd="$PWD" env PATH="$WORK/bin:$PATH" HOME=/root \
				bash -euo pipefail "$block" >"$WORK/$machine.log" 2>&1 </dev/null ||
				die "$machine: the guide's commands fail: $(cat "$block")"
			commands=$((commands + 1))
		done
	done
	[ -z "$1" ] || die "the guide has no block with $1"
}

field() { sed -n "s/.*\"$2\": \"\?\([^\",]*\)\"\?.*/\1/p" <<<"$1" | head -n 1; }
node_of() { field "$(on "$1" ringgatectl --json status)" node_id; }
linked() { on "$1" ringgatectl --json peers | grep -q "\"node_id\": \"$2\""; }
sequence_of() { field "$(on "$1" ringgatectl --json configuration)" sequence; }
metric() { on "$1" ringgatectl metrics | sed -n "s/^$2 //p"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
# until_true MILLISECONDS COMMAND…: asks again until it holds
until_true() {
	local end=$(($(now_ms) + $1))
	shift
	until "$@"; do [ "$(now_ms)" -lt $end ] || return 1; done
}
not_linked() { ! linked "$@"; }
has_sequence() { [ "$(sequence_of "$1")" = "$2" ]; }

network_require
command -v sipp >/dev/null || network_refuse "sipp is missing (package sip-tester)"
network_open
for machine in $MACHINES; do machine_start "$machine"; done
make_tools
extract
next=0 commands=0
follow_until "node revoke"
echo "three sites are up by $commands blocks of the guide's commands, and a call across them is answered"

bad=$(node_of site2) third=$(node_of site3)
linked site1 "$bad" || die "site 1 is not linked to site 2"
linked site3 "$bad" || die "site 3 is not linked to site 2"
before=$(sequence_of site1)
# A restart of site 3, whose links are younger than the others'.
on site3 systemctl stop ringgated || die "site 3 does not stop"
until_true 20000 not_linked site1 "$third" || die "site 1 does not notice that site 3 is gone"
on site3 systemctl enable --now ringgated || die "site 3 does not start again"
on site3 ringgatectl wait --peers 2 >/dev/null || die "site 3 does not come back"

follow_until "configuration fetch" # revoked on the server
started=$(now_ms)
follow_until "" # fetched at site 1, and the rest of the guide
for site in site1 site3; do
	until_true $((started + 5000 - $(now_ms))) not_linked $site "$bad" || die "$site is linked to the revoked site after 5 s"
done
links_of_bad() { [ "$(on site2 ringgatectl --json peers | grep -c '"node_id"')" -eq 0 ]; }
until_true $((started + 5000 - $(now_ms))) links_of_bad || die "the revoked site has links after 5 s: $(on site2 ringgatectl peers)"
echo "$(($(now_ms) - started)) ms after the new document was fetched at one site, the revoked site has no link anywhere"
for site in site1 site3; do [ "$(sequence_of $site)" -gt "$before" ] || die "$site has the old document"; done
[ "$(metric site3 'ringgate_configuration_documents_total{outcome="applied"}')" = 1 ] || die "site 3 did not get it from another site"

# It cannot return: not as it is, not started again, not with a new certificate.
on site2 systemctl stop ringgated || die "site 2 does not stop"
handshakes=$(metric site1 ringgate_handshakes_failed_total)
on site2 systemctl enable --now ringgated || die "site 2 does not start"
refused() { [ "$(metric site1 ringgate_handshakes_failed_total)" -gt "$handshakes" ]; }
until_true 20000 refused || die "site 1 does not refuse the revoked site"
on site2 ringgatectl wait --timeout 3 >/dev/null 2>&1 && die "the revoked site is in the overlay again"
for site in site1 site3; do linked $site "$bad" && die "$site let the revoked site in"; done
on server bash -c "echo another-password-1 | ringgatectl user passwd $DIRECTORY site2@example.org --password-file -" >/dev/null || die "passwd"
on site2 bash -c 'cd /root; echo another-password-1 >p; ringgatectl enroll https://example.org --ca-file /etc/ringgate/https.crt --user site2@example.org --password-file p --renew' \
	>"$WORK/refused.log" 2>&1 && die "the revoked site got a certificate"
grep -q "failed_authentication" "$WORK/refused.log" || die "refused for another reason: $(cat "$WORK/refused.log")"
echo "the revoked site is refused, by the others and by the server"

# A site that was away when the next document came gets it when it is back.
on site3 systemctl stop ringgated || die "site 3 does not stop"
on server ringgatectl overlay bump $DIRECTORY >/dev/null && on server ringgatectl overlay publish $DIRECTORY >/dev/null || die "bump"
cp "$WORK/server$DIRECTORY/overlay.xml" "$WORK/site1/root/overlay.xml"
on site1 ringgatectl configuration update /root/overlay.xml | grep -q "is in force here" || die "update"
on site1 ringgatectl configuration update /root/overlay.xml | grep -q "in force already" || die "update again"
wanted=$(sequence_of site1)
on site3 systemctl enable --now ringgated || die "site 3 does not start"
until_true 60000 has_sequence site3 "$wanted" || die "site 3 does not get the document it missed"
on site3 ringgatectl wait --peers 1 >/dev/null || die "site 3 does not come back"

# Documents that are of no use: one sentence each, counted, and nothing changes.
sed 's/sequence="[0-9]*"/sequence="900"/' "$WORK/site1/root/overlay.xml" >"$WORK/site1/root/forged.xml"
head -c 1500 "$WORK/site1/root/overlay.xml" >"$WORK/site1/root/truncated.xml"
on server ringgatectl overlay create /root/other --name example.net >/dev/null || die "another overlay"
cp "$WORK/server/root/other/overlay.xml" "$WORK/site1/root/other.xml"
useless() {
	local output
	output=$(on site1 ringgatectl configuration update "/root/$1.xml" 2>&1) && die "the $1 document was taken"
	[[ $output == *"$2"* && $(wc -l <<<"$output") -eq 1 ]] || die "expected \"$2\", got: $output"
	[ "$(metric site1 "ringgate_configuration_documents_total{outcome=\"$3\"}")" = 1 ] || die "$3 is not counted"
}
useless forged "The signature of the document is not good" bad_signature
useless truncated "Line" malformed
useless other "has no configuration for overlay example.org" other_overlay
[ "$(sequence_of site1)" = "$wanted" ] || die "a useless document changed something"
on site1 ringgatectl configuration fetch https://example.org:444 2>&1 | grep -q "cannot be reached" || die "fetch from nowhere"
echo "a site that was away heals, useless documents are counted and change nothing"

# A document too large for the overlay's messages is fetched from the server by whoever notices that others have it.
on server cat $DIRECTORY/overlay.xml | awk -v next_sequence=$((wanted + 1)) '
	{ sub(/sequence="[0-9]*"/, "sequence=\"" next_sequence "\"") }
	/<bad-node>/ && !done { for (i = 0; i < 200; i++) printf "    <bad-node>%032x</bad-node>\n", i + 1; done = 1 }
	{ print }' >"$WORK/server/root/large.xml"
on server ringgatectl overlay sign $DIRECTORY /root/large.xml >/dev/null && on server ringgatectl overlay publish $DIRECTORY >/dev/null || die "sign"
on site1 ringgatectl configuration fetch | grep -q "Configuration $((wanted + 1)) is in force" || die "fetch of the large document"
[ "$(field "$(on site1 ringgatectl --json configuration)" too_large)" -ge 1 ] || die "site 1 sent a document that is too large"
until_true 90000 has_sequence site3 $((wanted + 1)) || die "site 3 does not fetch the large document: $(on site3 ringgatectl configuration)"
[ "$(field "$(on site3 ringgatectl --json configuration)" asked)" -ge 1 ] || die "site 3 got the large document from another site"
echo "a document too large for messages is fetched from the server by the sites themselves"
