#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The real root of the appliance, booted twice as containers in namespaces of their own: settings come as credentials, the gateways form
# an overlay, a call is resolved from one to the other, transit goes through XDP in native mode; a restart of the service under SIP
# load keeps links and registrations; the page says what is wrong when something is.
# The root is that of `make image` ($RINGGATE_IMAGE/root); without one this test is skipped.
# How long a boot and the wait of phones take is printed. On a machine that does nothing else it can be held to what is required:
#   BOOT_LIMIT_MS=5000 RESTART_LIMIT_MS=2000 tests/net/appliance.sh
# alone: two machines boot, and SIP is to be back within seconds
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
STORE=${RINGGATE_IMAGE:-/var/tmp/ringgate-image}
BOOT_LIMIT_MS=${BOOT_LIMIT_MS:-0} RESTART_LIMIT_MS=${RESTART_LIMIT_MS:-0}
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
. tests/support/fastpath_net.sh
declare -A PAGE_PID
finish() {
	local number
	disown -a # whose end is wanted need not be reported
	for number in "${!PAGE_PID[@]}"; do
		kill -KILL "$(leader "$number")" 2>/dev/null || kill -KILL "${PAGE_PID[$number]}" 2>/dev/null
		tail -f /dev/null --pid="${PAGE_PID[$number]}" # its mounts end with it
	done
	network_close
	umount -R "$WORK"/root-* "$WORK"/bpf-* "$WORK"/upper 2>/dev/null
	rm -rf "$WORK"
}
trap finish EXIT
trap 'exit 130' INT TERM
die() {
	echo "FAILED: $*"
	for number in "${!PAGE_PID[@]}"; do
		tail -n 5 "$WORK/console-$number"
		within "$number" journalctl -q -n 15 -o short-monotonic --no-pager
	done
	exit 1
}
now_ms() { echo $(($(date +%s%N) / 1000000)); }
# Something to read that never comes. One for all of the time: with a new one each time, bash in the end waits for the wrong process.
exec {IDLE}<> <(:)
until_true() { # SECONDS COMMAND…
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		read -r -t 0.05 -u "$IDLE"
	done
	return 0 # the status of read is no answer
}
leader() { cat "$WORK/leader-$1" 2>/dev/null || return 1; }
within() {
	local number=$1
	shift
	nsenter -t "$(leader "$number")" -a -w env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
}

[ -d "$STORE/root/usr/lib/ringgate" ] || network_refuse "no root of the appliance in $STORE: make image makes it"
command -v systemd-nspawn >/dev/null || network_refuse "systemd-nspawn is missing (package systemd-container)"
network_require
unshare -m true 2>/dev/null || network_refuse "no mount namespaces here"
network_open
overlay_create >/dev/null || die "no overlay"
# An overlay file system cannot lie on every file system, but on a tmpfs.
mkdir "$WORK/upper" && mount -t tmpfs -o size=160m tmpfs "$WORK/upper" || network_refuse "nothing can be mounted here"
owner=$(awk -F: '$1 == "ringgate" { print $3 ":" $4 }' "$STORE/root/etc/passwd")
[ -n "$owner" ] || die "the root has no user ringgate"

container_create() {
	local number=$1 root=$WORK/root-$1 state=$WORK/upper/$1/up/var/lib/ringgate each
	shift
	network_site "g$number" "$(gateway_address "$number")"
	network_in "g$number" ip address flush dev lan scope global
	mkdir -p "$WORK/upper/$number/up/etc/ringgate/ringgate.conf.d"
	# Phones of the test have no passwords.
	printf '[sip]\nauthentication = no\n' >"$WORK/upper/$number/up/etc/ringgate/ringgate.conf.d/90-test.conf"
	mkdir -p "$state/users" "$WORK/upper/$number/work" "$root" "$WORK/bpf-$number"
	cp "$WORK/ca/overlay.xml" "$state/"
	overlay_issue --output "$state/node"
	for each in "$@"; do overlay_issue --user "$each" --node-ids 4 --output "$state/users/$each"; done
	chown -R "$owner" "$state" && chmod 700 "$state"
	mount -t overlay -o "lowerdir=$STORE/root,upperdir=$WORK/upper/$number/up,workdir=$WORK/upper/$number/work" overlay "$root" ||
		network_refuse "no overlay file system here"
	mount -t bpf bpf "$WORK/bpf-$number" || network_refuse "a bpf file system cannot be mounted"
	cat >"$WORK/settings-$number" <<-CONF
		hostname = site$number
		interface = lan
		address = $(gateway_address "$number")/24
		sip-allow = 192.0.2.0/24
		first-node = $([ "$number" -eq 1 ] && echo yes || echo no)
	CONF
}

container_start() {
	local number=$1
	: >"$WORK/console-$number"
	systemd-nspawn -q -b -D "$WORK/root-$number" -M "rg$$-$number" --network-namespace-path="/run/netns/$NETWORK-g$number" --register=no --keep-unit \
		--link-journal=no --resolv-conf=off --timezone=off --notify-ready=no --console=pipe --kill-signal=SIGRTMIN+3 \
		--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN,CAP_SYS_RESOURCE --system-call-filter="bpf perf_event_open" \
		--bind="$WORK/bpf-$number:/sys/fs/bpf" --load-credential="ringgate.settings:$WORK/settings-$number" \
		</dev/null >>"$WORK/console-$number" 2>&1 &
	PAGE_PID[$number]=$!
	until_true 20 find_leader "$number" || die "container $number does not start"
}
# The first process of the container is the child of systemd-nspawn in a namespace of its own; another one, which makes it, is gone soon.
find_leader() {
	local child namespace
	for child in $(pgrep -P "${PAGE_PID[$1]}"); do
		namespace=$(readlink "/proc/$child/ns/pid") && [ "$namespace" != "$(readlink /proc/self/ns/pid)" ] || continue
		echo "$child" >"$WORK/leader-$1" && return 0
	done
	return 1
}
answers() { within "$1" ringgatectl status; }
container_stop() {
	kill -RTMIN+3 "$(leader "$1")"
	wait "${PAGE_PID[$1]}"
}

container_create 1 alice@example.org
container_create 2 bob@example.org
echo "ssh-key = ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEWv0hE0bRZXx1DTDqkUzZpCJhFLfWxqHR7PKZgdHF" >>"$WORK/settings-2"
begin=$(now_ms)
container_start 1
until_true 60 answers 1 || die "gateway 1 does not serve"
served_ms=$(($(now_ms) - begin))
[ "$BOOT_LIMIT_MS" -eq 0 ] || [ $served_ms -le "$BOOT_LIMIT_MS" ] || die "gateway 1 serves $served_ms ms after the boot began, more than $BOOT_LIMIT_MS"
container_start 2
until_true 60 answers 2 || die "gateway 2 does not serve"
for number in 1 2; do
	within "$number" ringgatectl wait --peers 1 --timeout 60 >/dev/null || die "gateway $number does not join"
	[ "$(within "$number" uname -n)" = "site$number" ] || die "container $number has the name $(within "$number" uname -n)"
done

# ---- locked in: the daemon is not root, has two capabilities, and nobody listens who need not
pid=$(within 1 pidof ringgated)
[ "$(within 1 ps -o user= -p "$pid" 2>/dev/null || within 1 stat -c %U "/proc/$pid")" = ringgate ] || die "ringgated runs as somebody else"
within 1 grep -q '^CapEff:.0000008000001000$' "/proc/$pid/status" || die "capabilities: $(within 1 grep Cap "/proc/$pid/status")"
listening=$(network_in g1 ss -Hltun | awk '{ print $1 $5 }' | grep -vE '127\.0\.0|\[::1\]|:(6084|5060)$')
[ -z "$listening" ] || die "others listen: $listening"
within 1 nft list chain inet ringgate input | grep -q "policy drop" || die "the firewall is not there"

# ---- native XDP
fastpath=$(within 1 ringgatectl --json fastpath)
grep -q '"enabled": true' <<<"$fastpath" || die "no fast path: $fastpath"
grep -q '"mode": "native"' <<<"$fastpath" || die "XDP is not native: $fastpath"

# ---- a call
network_site phone 192.0.2.30
register() { network_in phone timeout 20 sipp -sf tests/sip/register.xml -s alice -key domain example.org -i 192.0.2.30 -p 5070 -m 1 -nostdin 192.0.2.11:5060 >"$WORK/sipp" 2>&1; }
invite() {
	network_in phone timeout 20 sipp -sf tests/sip/invite_302.xml -s alice -key domain example.org -key expect sip:alice@192.0.2.30:5070 \
		-i 192.0.2.30 -p 5080 -m 1 -nostdin 192.0.2.12:5060 >"$WORK/sipp" 2>&1
}
if command -v sipp >/dev/null; then
	register || die "REGISTER is not answered: $(tail -n 40 "$WORK/sipp")"
	invite || die "INVITE is not redirected: $(tail -n 5 "$WORK/sipp")"
	called="a call is resolved"
else
	called="sipp is missing, no call was made"
fi

# ---- restarts of the service under load: no message in transit is lost, no handshake is made, and no question of a phone stays without
# answer although none is asked twice: what comes in between waits in the sockets that systemd keeps
handshakes() { within 2 ringgatectl metrics | sed -n 's/^ringgate_handshakes_done_total //p'; }
# Asks every 20 ms until its standard input ends, and for 15 s after that waits for what is missing: "asked= unanswered= gap_ms=".
phone_asks() {
	network_in phone python3 -c '
import select, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("192.0.2.30", 0))
s.setblocking(False)
request = ("OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.30:%d;branch=z9hG4bK-%d\r\nMax-Forwards: 70\r\n"
           "From: <sip:bob@example.org>;tag=1\r\nTo: <sip:example.org>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
asked, open_ones, gap, last, end, due = 0, set(), 0.0, time.monotonic(), None, time.monotonic()
while end is None or (open_ones and time.monotonic() < end):
    if end is None and time.monotonic() >= due:
        s.sendto((request % (s.getsockname()[1], asked, asked)).encode(), ("192.0.2.11", 5060))
        open_ones.add(asked)
        asked, due = asked + 1, due + 0.02
    ready, _, _ = select.select([s] + ([sys.stdin] if end is None else []), [], [], max(0.0, min(0.02, due - time.monotonic()) if end is None else 0.1))
    if sys.stdin in ready and not sys.stdin.read(1):
        end = time.monotonic() + 15
    if s in ready:
        answer = s.recv(4096).decode()
        open_ones.discard(int(answer.split("branch=z9hG4bK-")[1].split(";")[0].split("\r")[0]))
        now = time.monotonic()
        gap, last = max(gap, now - last), now
print("asked=%d unanswered=%d gap_ms=%d" % (asked, len(open_ones), gap * 1000))
'
}
before=$(handshakes)
network_site a 192.0.2.101
network_site b 192.0.2.102
load_identity a && load_identity b || die "no certificates for a load"
for number in g1 a b; do fastpath_gro "rg$$-$number"; done
restart_ms=
for round in 1 2 3; do
	# A machine with something else to do may be late; that nothing is lost holds each time.
	[ -z "$restart_ms" ] || { [ "$RESTART_LIMIT_MS" -ne 0 ] && [ "$restart_ms" -ge "$RESTART_LIMIT_MS" ]; } || break
	load_sink b b 192.0.2.102 192.0.2.11:6084 || die "no sink"
	load_source a a 192.0.2.101 192.0.2.11:6084 "$sink" 200 9000 400 || die "no source"
	mkfifo "$WORK/phone"
	phone_asks <"$WORK/phone" >"$WORK/asked" {LOAD_INPUT}>&- &
	asking=$!
	exec {phone}>"$WORK/phone"
	load_third || die "no load"
	within 1 systemctl restart ringgated.service || die "the service cannot be restarted"
	until_true 20 answers 1 || die "the gateway does not serve after a restart"
	load_end || die "the load ends in trouble"
	exec {phone}>&-
	rm "$WORK/phone"
	wait $asking || die "the phone ends in trouble"
	[ "$received" = "$sent" ] && [ "$wrong" = 0 ] || die "of $sent messages in transit $received arrived, $wrong of them wrong"
	# One that was being answered when the daemon ended is gone; a phone asks again after 0.5 s.
	[ "$(sed 's/.*unanswered=\([0-9]*\).*/\1/' "$WORK/asked")" -le 1 ] || die "a phone has no answers: $(<"$WORK/asked")"
	restart_ms=$(sed 's/.*gap_ms=//' "$WORK/asked")
	[ "$(within 1 ringgatectl --json fastpath | sed -n 's/^ *"adopted_links": \([0-9]*\),*$/\1/p')" -ge 1 ] ||
		die "no link was taken over: $(within 1 journalctl -q -u ringgated -n 12 -o cat)"
done
[ "$RESTART_LIMIT_MS" -eq 0 ] || [ "$restart_ms" -lt "$RESTART_LIMIT_MS" ] || die "phones waited $restart_ms ms for answers"
[ "$(handshakes)" = "$before" ] || die "the restarts cost handshakes"
if command -v sipp >/dev/null; then invite || die "the registration is lost with the restart"; fi

# ---- what a person sees
page=$(within 1 ringgate-appliance status)
grep -q "^overlay *example.org" <<<"$page" && grep -q "^fingerprint *..:" <<<"$page" && grep -q "^addresses *192.0.2.11/24" <<<"$page" || die "status page: $page"
! grep -q "! attention" <<<"$page" || die "the page complains: $page"
within 1 ringgate-appliance status --json | python3 -c 'import json, sys; s = json.load(sys.stdin); assert s["peers"] == 1 and s["troubles"] == [], s' || die "status --json"
within 1 ringgate-appliance health >/dev/null || die "not healthy"
memory=0
for pid in $(within 1 pidof ringgated ringgate-enrolld); do
	memory=$((memory + $(within 1 awk '/^Pss:/ { n += $2 } END { print n }' "/proc/$pid/smaps_rollup")))
done
[ "$memory" -le $((60 * 1024)) ] || die "the processes of Ringgate use $memory KB"
within 1 sh -c 'echo "address = 1" >/run/bad; ringgate-appliance settings check /run/bad' 2>&1 | grep -q "line 1: address has to be" || die "a wrong setting is not named"

# ---- rules of a firewall that cannot be used leave the machine closed
within 1 sh -c 'cd /run/ringgate-appliance && cp firewall.nft /run/kept && echo "add element inet ringgate site4 { 192.0.2.0/99 }" >>firewall.nft &&
	systemctl restart nftables.service' || die "the firewall cannot be made anew"
within 1 nft list chain inet ringgate input | grep -q "policy drop" || die "a firewall that cannot be made of the settings leaves the machine open"
within 1 ringgate-appliance status | grep -q "! attention *The firewall cannot be made" || die "the page does not tell of the firewall: $(within 1 ringgate-appliance status)"
within 1 sh -c 'cd /run/ringgate-appliance && mv /run/kept firewall.nft && rm problem && systemctl reload nftables.service' || die "the firewall cannot be mended"
within 1 nft list set inet ringgate site4 | grep -q "elements = { 192.0.2.0/24 }" || die "the firewall is not that of the settings"

# ---- a full disk: the page says so, calls and links go on, and all is well when there is room again
within 1 sh -c 'cat /dev/zero >/var/lib/fill' 2>/dev/null
within 1 ringgate-appliance status | grep -q "! attention *The state partition is full" || die "a full disk is not told: $(within 1 ringgate-appliance status)"
answers 1 || die "the gateway does not answer with a full disk"
if command -v sipp >/dev/null; then invite || die "calls end with a full disk"; fi
within 1 systemctl restart ringgated.service
until_true 20 answers 1 || die "the gateway does not start with a full disk: $(within 1 journalctl -q -u ringgated -n 5 -o cat)"
within 1 rm /var/lib/fill
until_true 10 answers 1 || die "the gateway does not come back after a full disk"
! within 1 ringgate-appliance status | grep -q "! attention" || die "the page still complains: $(within 1 ringgate-appliance status)"

# ---- a broken box: its backup makes another one
within 2 ringgate-appliance backup /run/backup.tar >/dev/null || die "no backup"
node2=$(within 2 ringgatectl --json status | sed -n 's/.*"node_id": "\([0-9a-f]*\)".*/\1/p')
within 2 cat /run/backup.tar >"$WORK/backup.tar"
container_stop 2
umount "$WORK/root-2" && rm -rf "$WORK/upper/2" && mkdir -p "$WORK/upper/2/up" "$WORK/upper/2/work"
mount -t overlay -o "lowerdir=$STORE/root,upperdir=$WORK/upper/2/up,workdir=$WORK/upper/2/work" overlay "$WORK/root-2"
: >"$WORK/settings-2"
rm -f "$WORK/leader-2"
container_start 2
until_true 60 within 2 systemctl is-active multi-user.target || die "a machine without settings does not boot"
within 2 ringgate-appliance status | grep -q "! attention *No settings yet" || die "a machine without settings does not say so: $(within 2 ringgate-appliance status)"
within 2 ringgate-appliance status | grep -q "! attention *No network" || die "a machine without network does not say so"
within 2 pidof ringgated && die "ringgated runs without settings"
within 2 pidof sshd && die "there is a remote shell without settings"
cat "$WORK/backup.tar" | within 2 sh -c 'cat >/run/backup.tar' || die "the backup cannot be brought"
within 2 ringgate-appliance restore /run/backup.tar >/dev/null || die "the backup cannot be restored"
until_true 60 answers 2 || die "the restored gateway does not serve"
[ "$(within 2 ringgatectl --json status | sed -n 's/.*"node_id": "\([0-9a-f]*\)".*/\1/p')" = "$node2" ] || die "the restored gateway is another node"
within 2 ringgatectl wait --peers 1 --timeout 60 >/dev/null || die "the restored gateway does not join"
[ "$(within 2 uname -n)" = site2 ] || die "the restored machine has the name $(within 2 uname -n)"
until_true 60 within 2 systemctl is-active ssh.service || die "the restored machine has no remote shell, for which its settings have a key"
within 2 nft list set inet ringgate shell_ports | grep -q "elements = { 22 }" || die "the firewall of the restored machine is not that of its settings"
if command -v sipp >/dev/null; then until_true 60 invite || die "the restored gateway does not redirect calls: $(tail -n 5 "$WORK/sipp")"; fi

# ---- a disk that takes no more writes while the gateway runs: the page says so, calls go on
within 2 sh -c 'mount --bind /var /var && mount -o remount,bind,ro /var' || die "the state cannot be made read-only"
within 2 ringgate-appliance status | grep -q "! attention *The state partition cannot be written" || die "a read-only disk is not told: $(within 2 ringgate-appliance status)"
answers 2 || die "the gateway does not answer with a read-only disk"
if command -v sipp >/dev/null; then until_true 60 invite || die "calls end with a read-only disk: $(tail -n 5 "$WORK/sipp")"; fi
within 2 umount -l /var || die "the state cannot be made writable again"
! within 2 ringgate-appliance status | grep -q "! attention" || die "the page still complains: $(within 2 ringgate-appliance status)"

# ---- a second box with the disk of gateway 2: it stays out and says why, and takes over when the first one is gone
container_create 3
rm -rf "$WORK/root-3/var/lib/ringgate"
within 2 tar -C /var/lib --exclude=peers -cf - ringgate >"$WORK/disk.tar" && tar -C "$WORK/root-3/var/lib" -xpf "$WORK/disk.tar" || die "no copy of gateway 2"
container_start 3
twin() { within 3 ringgate-appliance status | grep -q "! attention *Another machine with the identity of this one"; }
until_true 120 twin || die "a second box with one identity does not say so: $(within 3 ringgate-appliance status)"
within 2 ringgatectl wait --peers 1 --timeout 30 >/dev/null || die "the first box is out of the overlay"
within 1 ringgatectl ping "$node2" >/dev/null || die "the first box does not answer any more"
container_stop 2
# It tries again by itself, ever more seldom; a person need not wait.
within 3 systemctl restart ringgated.service
until_true 120 answers 3 || die "the second box does not take the place of the first one: $(within 3 ringgate-appliance status)"
within 3 ringgatectl wait --peers 1 --timeout 120 >/dev/null || die "the second box does not join"
echo "serves $served_ms ms after the boot began, $((memory / 1024)) MB, native XDP, $called, restart under load: $sent messages in transit and all arrived, phones waited $restart_ms ms"
