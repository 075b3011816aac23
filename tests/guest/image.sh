#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The image of the appliance in a virtual machine (software emulation will do), from its first start: settings on the EFI partition,
# enrollment at a real server, joining another gateway, native XDP on virtio_net, a restart that keeps state, an update that fails its
# health check and is rolled back, the same update when it is healthy, a stick that is plugged in, a disk that can only be read, no network
# at the start, and power cuts during first starts, stores and updates.
#   IMAGE=1 tests/guest/image.sh       called by make image-check; without IMAGE=1 it only says so
#   STEPS="restart update stick faults cuts"   what is done after the first start (default all)
#   POWER_CUTS=20                      how often the machine is switched off (default 3): in turn during a first start, stores, an update
#   BOOT_LIMIT=60                      seconds of the first start that are too many (default 900: machines that test do other things, too)
#   EXTRA="systemd.journald.forward_to_console=1"   more for the kernel command line, to see what the machine does
#   SEED=1                             for the moments of the power cuts
#   PROFILE=1                          says what the first start spent its time on
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
STORE=${RINGGATE_IMAGE:-/var/tmp/ringgate-image}
VERSION=$(sed -n 's/^VERSION := //p' Makefile)
NEXT=$VERSION.1
POWER_CUTS=${POWER_CUTS:-3}
STEPS=${STEPS-restart update stick faults cuts}
RANDOM=${SEED:-1}
[ "${IMAGE:-}" = 1 ] || { echo "SKIP: boots the image in a virtual machine, which takes minutes: make image-check"; exit 77; }
WORK=$(mktemp -d /var/tmp/ringgate.XXXXXX)
. appliance/trial/network.sh
. appliance/trial/overlay.sh
machine=
finish() {
	disown -a # whose end is wanted need not be reported
	[ -z "$machine" ] || kill -KILL "$machine" 2>/dev/null # what it has started is in a namespace that is closed
	network_close
	rm -rf "$WORK"
}
trap finish EXIT
trap 'exit 130' INT TERM
die() {
	echo "FAILED: $*"
	tr -d '\r' <"$WORK/console" | tail -n 25
	[ -z "${VERBOSE:-}" ] || tail -n 20 "$WORK"/*.log
	exit 1
}
say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
until_true() { # SECONDS COMMAND…
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		read -r -t 0.2 <> <(:)
	done
	return 0 # the status of read is no answer
}
# One connection for all commands: making one takes seconds in an emulated machine.
SHELL_OPTIONS=(-q -i "$WORK/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=60 -o LogLevel=ERROR
	-o ServerAliveInterval=10 -o ServerAliveCountMax=6 -o ControlMaster=auto -o ControlPersist=yes -o "ControlPath=$WORK/shell")
on() { # the machine's shell, which its settings open for our key
	network_in lan timeout "${LIMIT:-120}" ssh "${SHELL_OPTIONS[@]}" root@192.0.2.11 "$@" </dev/null 2>>"$WORK/shell.log"
}
firmware=/usr/share/OVMF/OVMF_CODE_4M.fd
for each in "$STORE/ringgate_$VERSION.img" $firmware; do [ -s "$each" ] || { echo "SKIP: $each is missing (make image-check)"; exit 77; }; done
for tool in qemu-system-x86_64 qemu-img mcopy ssh ssh-keygen python3; do command -v $tool >/dev/null || { echo "SKIP: $tool is missing"; exit 77; }; done
network_require

# A restart of the machine is another process: after a reset, software emulation keeps what it has translated before, and the kernel
# that is unpacked over it needs minutes.
DISK_OPTIONS=
machine_run() { # DISK
	while [ ! -e "$WORK/off" ]; do
		ip netns exec "$NETWORK-lan" nice -n 5 qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max,-cx16 -smp 2 -m 1024 -nodefaults \
			-display none -no-reboot \
			-drive "if=pflash,format=raw,readonly=on,file=$firmware" -drive "if=pflash,format=raw,file=$WORK/variables" \
			-drive "if=virtio,format=qcow2,file=$1,cache=writeback$DISK_OPTIONS" -serial "file:$WORK/console" \
			-device qemu-xhci -qmp "unix:$WORK/qmp,server=on,wait=off" \
			-object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng \
			-netdev "tap,id=lan,ifname=machine,script=no,downscript=no,vhost=off" \
			-device virtio-net-pci,netdev=lan,mac=52:54:00:00:02:11,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off \
			${EXTRA:+-smbios "type=11,value=io.systemd.stub.kernel-cmdline-extra=$EXTRA"} </dev/null &
		echo $! >"$WORK/machine"
		wait $!
	done
}
power_on() { # DISK
	rm -f "$WORK/off" "$WORK/machine"
	: >"$WORK/console"
	machine_run "$1" >>"$WORK/qemu.log" 2>&1 &
	machine=$!
	until_true 10 test -s "$WORK/machine"
	begin=$(now_ms)
}
power_off_then() { # COMMAND…: after which the machine ends
	: >"$WORK/off"
	"$@"
	wait "$machine" 2>/dev/null
	machine=
	ssh -q -o "ControlPath=$WORK/shell" -O exit root@192.0.2.11 2>/dev/null
	rm -f "$WORK/shell"
}
power_cut() { power_off_then kill -KILL "$(<"$WORK/machine")"; }
# What happens to the machine from outside: NAME JSON pairs, each one a command of QMP and its arguments.
machine_tell() {
	python3 - "$WORK/qmp" "$@" <<-'PYTHON'
		import json, socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.settimeout(60)
		s.connect(sys.argv[1])
		lines = s.makefile("rw")
		lines.readline()
		words = sys.argv[2:]
		for name, arguments in [("qmp_capabilities", "{}")] + list(zip(words[::2], words[1::2])):
		    lines.write(json.dumps({"execute": name, "arguments": json.loads(arguments)}) + "\n")
		    lines.flush()
		    while True:
		        answer = json.loads(lines.readline())
		        if "error" in answer:
		            sys.exit(name + ": " + answer["error"]["desc"])
		        if "return" in answer:
		            break
	PYTHON
}
disk_over() { qemu-img create -q -f qcow2 -F "${3:-raw}" -b "$1" "$2"; } # BACKING NEW [FORMAT]
processor_s() { awk '{ printf "%d", ($14 + $15) / 100 }' "/proc/$(<"$WORK/machine")/stat"; }
# What a site has a gateway for: a phone's question is answered.
sip_answers() {
	network_in lan python3 - "$1" <<-'PYTHON'
		import socket, sys, time
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.bind(("192.0.2.1", 0))
		s.settimeout(0.25)
		request = ("OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:%d;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\n"
		           "From: <sip:bob@example.org>;tag=1\r\nTo: <sip:example.org>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
		end, number = time.monotonic() + float(sys.argv[1]), 0
		while time.monotonic() < end:
		    number += 1
		    s.sendto((request % (s.getsockname()[1], number, number)).encode(), ("192.0.2.11", 5060))
		    try:
		        if s.recv(4096).startswith(b"SIP/2.0 "):
		            sys.exit(0)
		    except OSError:
		        pass
		sys.exit(1)
	PYTHON
}
joined() { on ringgatectl status | grep -q "^state *joined"; }
runs() { [ "$(on "sed -n s/^IMAGE_VERSION=//p /etc/os-release")" = "$1" ]; }
boot_id() { on cat /proc/sys/kernel/random/boot_id; }
restarted() { local now; now=$(boot_id) && [ -n "$now" ] && [ "$now" != "$before" ]; }

# ---- the world outside: a server for enrollment, and another gateway

network_open
network_in lan ip address add 192.0.2.1/24 dev lan
network_in lan ip tuntap add machine mode tap
network_in lan ip link set machine master lan up
overlay_create --enrollment-server "https://$OVERLAY/enroll" --require-kind 0xf0000001:SINGLE:USER-MATCH:4:100 || die "no overlay"
"$BUILD/ringgatectl" overlay publish "$WORK/ca" >/dev/null || die "publish"
network_site server 192.0.2.5
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/tls.key" -out "$WORK/tls.crt" -days 30 -subj "/CN=$OVERLAY" \
	-addext "subjectAltName=DNS:$OVERLAY" 2>/dev/null || die "no HTTPS certificate"
printf '[server]\nlisten = 192.0.2.5:443\ncertificate = %s/tls.crt\nkey = %s/tls.key\n[overlay %s]\ndirectory = %s/ca\n' "$WORK" "$WORK" "$OVERLAY" "$WORK" >"$WORK/enrolld.conf"
ip netns exec "$NETWORK-server" "$BUILD/ringgate-enrolld" --config "$WORK/enrolld.conf" >"$WORK/server.log" 2>&1 &
until_true 20 grep -q "Serving 1 overlay" "$WORK/server.log" || die "the server does not start"
password=$("$BUILD/ringgatectl" user add "$WORK/ca" "site1@$OVERLAY" --json | sed -n 's/.*"password": "\(.*\)".*/\1/p')
gateway_create 2 bob@$OVERLAY || die "gateway 2"
ssh-keygen -q -t ed25519 -N '' -f "$WORK/key" || die "no key"

# ---- the first start, with settings on the EFI partition

cp --sparse=always "$STORE/ringgate_$VERSION.img" "$WORK/new" && truncate -s 4G "$WORK/new"
cp /usr/share/OVMF/OVMF_VARS_4M.fd "$WORK/variables"
cat >"$WORK/ringgate.settings" <<-CONF
	# as a person writes it
	hostname = site1
	address = 192.0.2.11/24
	gateway = 192.0.2.1
	overlay = https://$OVERLAY
	server-address = 192.0.2.5
	user = site1@$OVERLAY
	password = $password
	first-node = yes
	sip-allow = 192.0.2.0/24
	ssh-key = $(cut -d' ' -f1,2 "$WORK/key.pub")
CONF
cp "$WORK/tls.crt" "$WORK/ringgate-ca.pem"
mcopy -i "$WORK/new@@1M" "$WORK/ringgate.settings" "$WORK/ringgate-ca.pem" ::/ || die "the settings cannot be written to the disk"
disk_over "$WORK/new" "$WORK/disk"
power_on "$WORK/disk"
sip_answers "${BOOT_LIMIT:-900}" || die "the machine does not serve within ${BOOT_LIMIT:-900} s after it was switched on for the first time"
first_ms=$(($(now_ms) - begin))
say "serves $first_ms ms after it was switched on for the first time; $(processor_s) s of processor time"
first_octets=$(stat -c %s "$WORK/console")
until_true 600 joined || die "the machine does not start the overlay"
gateway_start 2 && gateway_wait 2 1 60 || die "another gateway does not reach the machine"
on ringgate-appliance status | tee "$WORK/page.log" | grep -q "^overlay *$OVERLAY" || die "status page"
! grep -q "! attention" "$WORK/page.log" || die "the page complains: $(<"$WORK/page.log")"
tr -d '\r' <"$WORK/console" | grep -q "Node-ID" || until_true 30 grep -q "Node-ID" "$WORK/console" || die "no status page on the serial port"
! on cat /efi/ringgate.settings | grep -q "^password" || die "the password stayed on the EFI partition"
fastpath=$(on ringgatectl --json fastpath)
grep -q '"mode": "native"' <<<"$fastpath" || die "XDP is not native on virtio_net: $fastpath"
[[ $(on uname -r) == 6.12.* ]] || die "another kernel: $(on uname -r)"
on findmnt -n -o FSTYPE,OPTIONS / | grep -q "^erofs *ro" || die "the root is not read-only"
on cat /sys/block/dm-0/dm/uuid | grep -q CRYPT-VERITY || die "the root is not verified"
memory=$(on 'for p in $(pidof ringgated ringgate-enrolld); do awk "/^Pss:/ { print \$2 }" /proc/$p/smaps_rollup; done' | awk '{ n += $1 } END { print n }')
[ "${memory:-999999}" -le $((60 * 1024)) ] || die "the processes of Ringgate use $memory KB"
say "in the overlay, XDP native, $((memory / 1024)) MB"
[ -z "${PROFILE:-}" ] || LIMIT=600 on "systemd-analyze time; systemd-analyze critical-chain --no-pager ringgated.service; systemd-analyze blame --no-pager | head -n 40; dmesg; journalctl -b -o short-monotonic --no-pager | head -n 400" >"$BUILD/first-start.txt"

# ---- a restart keeps identity, records and settings

step_restart() {
	local node before
	node=$(on ringgatectl --json status | sed -n 's/.*"node_id": "\([0-9a-f]*\)".*/\1/p')
	before=$(boot_id)
	on systemctl reboot
	until_true 900 restarted || die "the machine does not come back after a restart"
	until_true 300 joined || die "the machine does not join after a restart"
	[ "$(on ringgatectl --json status | sed -n 's/.*"node_id": "\([0-9a-f]*\)".*/\1/p')" = "$node" ] || die "the machine is another node after a restart"
	[ "$(on cat /etc/hostname)" = site1 ] || die "the name is lost"
	say "the same node after a restart"
}

# ---- a stick that is plugged in brings settings, and keeps no password

step_stick() {
	truncate -s 16M "$WORK/stick" && mformat -i "$WORK/stick" -T 32768 -h 16 -s 32 -v RINGGATE :: || die "no file system for a stick"
	{
		grep -v -e ^hostname -e ^password "$WORK/ringgate.settings"
		printf 'hostname = site9\nphone = alice@%s oak-river-73\n' "$OVERLAY"
	} >"$WORK/stick.settings"
	mcopy -i "$WORK/stick" "$WORK/stick.settings" ::/ringgate.settings || die "the stick cannot be written"
	machine_tell blockdev-add '{"driver": "raw", "node-name": "stick", "file": {"driver": "file", "filename": "'"$WORK/stick"'"}}' \
		device_add '{"driver": "usb-storage", "id": "stick", "drive": "stick"}' || die "no stick can be plugged in"
	renamed() { [ "$(on cat /etc/hostname)" = site9 ]; }
	until_true 600 renamed || die "the settings of the stick are not taken: $(on journalctl -q -b -u ringgate-stick -o cat)"
	until_true 600 joined || die "the machine does not join with the settings of the stick"
	on grep -q "^alice@$OVERLAY " /var/lib/ringgate/sip-passwords || die "alice's phones have no password"
	machine_tell device_del '{"id": "stick"}' || die "the stick cannot be pulled out"
	! mtype -i "$WORK/stick" ::/ringgate.settings | grep -q oak-river || die "the password stayed on the stick"
	say "a stick was plugged in"
}

# ---- a disk that can only be read, and no network at the start

step_faults() {
	sees() { tr -d '\r' <"$WORK/console" | grep -a -q "! attention *$1"; }
	power_off_then on systemctl poweroff
	DISK_OPTIONS=,readonly=on
	power_on "$WORK/disk"
	machine_tell set_link '{"name": "lan", "up": false}' || die "the network cannot be taken away"
	until_true 900 sees "No network" || die "the console does not say that there is no network"
	sees "The state partition can only be read" || die "the console does not say that nothing can be kept"
	machine_tell set_link '{"name": "lan", "up": true}' || die "the network cannot be given"
	until_true 600 on ringgatectl wait --peers 1 --timeout 5 || die "the machine does not join when the network comes"
	sip_answers 60 || die "phones have no answer of a machine that cannot write"
	on ringgate-appliance status | grep -q "! attention *The state partition can only be read" || die "status page: $(on ringgate-appliance status)"
	on ringgate-appliance health && die "a machine that cannot write says that it is healthy"
	power_cut
	DISK_OPTIONS=
	power_on "$WORK/disk"
	until_true 900 joined || die "the machine does not come back with a disk that can be written"
	! on ringgate-appliance status | grep "! attention" || die "the page still complains"
	say "serves from a disk that can only be read, and waits for its network"
}

# ---- an update that is not healthy, and then one that is

build_update() {
	[ ! -s "$STORE/ringgate_$NEXT.update" ] || [ ! "$STORE/ringgate_$NEXT.update" -nt "$STORE/ringgate_$VERSION.img" ] || return 0
	IMAGE_VERSION=$NEXT images/build.sh update >"$WORK/build.log" 2>&1 || die "no update: $(tail -n 5 "$WORK/build.log")"
}
bring() { network_in lan scp "${SHELL_OPTIONS[@]}" "$1" "root@192.0.2.11:$2" </dev/null; }
step_update() {
	local before
	build_update
	bring "$STORE/ringgate_$NEXT.update" /var/lib/update || die "the update cannot be brought"
	on "head -c 100000 /var/lib/update >/var/lib/short; ringgate-appliance update /var/lib/short" && die "a short update was taken"
	on "cp /var/lib/update /var/lib/bad; printf x | dd of=/var/lib/bad bs=1 seek=520 conv=notrunc status=none; ringgate-appliance update /var/lib/bad; s=\$?; rm /var/lib/bad; exit \$s" && die "an update with a wrong signature was taken"
	on "mkdir -p /var/lib/ringgate-appliance/health.d; printf '#!/bin/sh\n! grep -q IMAGE_VERSION=$NEXT /etc/os-release\n' >/var/lib/ringgate-appliance/health.d/site; chmod +x /var/lib/ringgate-appliance/health.d/site"
	LIMIT=900 on ringgate-appliance update /var/lib/update || die "the update is not taken"
	before=$(boot_id)
	on systemctl reboot
	until_true 900 runs "$NEXT" || die "the update does not start: $(on ringgate-appliance update status)"
	say "version $NEXT is tried"
	until_true 1800 runs "$VERSION" || die "the version before does not come back"
	until_true 300 joined || die "the version before does not join"
	on ringgate-appliance status | grep -q "! attention *The update to $NEXT did not become healthy" || die "the page does not tell of the update: $(on ringgate-appliance status)"
	say "the unhealthy version was rolled back"
	on rm /var/lib/ringgate-appliance/health.d/site
	LIMIT=900 on ringgate-appliance update /var/lib/update --reboot || die "the update is not taken the second time"
	until_true 900 runs "$NEXT" || die "the update does not start"
	until_true 300 joined || die "the new version does not join"
	blessed() { ! on ls /efi/EFI/Linux | grep -q +; }
	until_true 180 blessed || die "the new version is not taken for good: $(on ls /efi/EFI/Linux)"
	before=$(boot_id)
	on systemctl reboot
	until_true 900 restarted || die "the machine does not come back after the update"
	runs "$NEXT" || die "the new version did not stay"
	say "version $NEXT runs from the other slot"
	VERSION_NOW=$NEXT
}

# ---- power cuts: the machine comes back each time, and what was acknowledged is there

# The machine is back, in the overlay, and has nothing to complain about but what a power cut explains.
back() {
	until_true 1200 joined || die "power cut $cut ($1): the machine does not come back"
	! on ringgate-appliance status | grep "! attention" | grep -v -e repaired -e "did not become healthy" || die "power cut $cut ($1): the page complains"
}
# A first start, cut when the machine has said so many octets; and again; then it has to be the site of its settings.
cut_first_start() {
	local number octets
	rm -f "$WORK/first"
	disk_over "$WORK/new" "$WORK/first"
	for number in 1 2; do
		octets=$((1 + RANDOM * 32768 % first_octets + RANDOM % 4096))
		power_on "$WORK/first"
		timeout --foreground 900 grep -q -m1 . < <(tail -c "+$octets" -f --pid="$machine" "$WORK/console" | head -c 1 | od -An -c) ||
			die "power cut $cut: the machine says less than $octets octets"
		power_cut
	done
	power_on "$WORK/first"
	back "during a first start"
	[ "$(on cat /etc/hostname)" = site1 ] || die "power cut $cut: the settings are lost"
	power_cut
	rm -f "$WORK/first"
}
# Stores, cut after so many were acknowledged.
cut_stores() {
	local wanted=$((1 + RANDOM % 12)) value storing
	power_on "$WORK/disk"
	back "before stores"
	: >"$WORK/acknowledged"
	on 'number=0; while number=$((number + 1)); do
		ringgatectl store --kind 0xf0000001 --node self --value "'"$cut"'-$number" >/dev/null && echo "$number"
	done' >"$WORK/acknowledged" &
	storing=$!
	timeout --foreground 600 grep -q -m1 "^$wanted$" < <(tail -n +1 -F "$WORK/acknowledged" 2>/dev/null) || die "power cut $cut: no $wanted stores are acknowledged"
	power_cut
	kill $storing 2>/dev/null
	wait $storing 2>/dev/null
	power_on "$WORK/disk"
	back "during stores"
	# The last acknowledged value, or one after it that had no time to be acknowledged.
	value=$(on ringgatectl --json fetch --kind 0xf0000001 --node self | grep -oE "$cut-[0-9]+" | head -n 1)
	[ "${value#*-}" -ge "$(tail -n 1 "$WORK/acknowledged")" ] 2>/dev/null ||
		die "power cut $cut: $cut-$(tail -n 1 "$WORK/acknowledged") was acknowledged, \"$value\" is there"
	power_cut
}
# An update, cut when so many blocks more are on the disk.
cut_update() {
	local before after installing
	rm -f "$WORK/trial"
	disk_over "$WORK/disk" "$WORK/trial" qcow2
	power_on "$WORK/trial"
	back "before an update"
	before=$(stat -c %b "$WORK/trial")
	after=$((before + RANDOM * 32768 % 700000)) # up to 350 MB
	LIMIT=900 on ringgate-appliance update /var/lib/other >"$WORK/update.log" 2>&1 &
	installing=$!
	grown() { [ "$(stat -c %b "$WORK/trial")" -ge "$after" ] || ! kill -0 $installing; }
	until_true 900 grown || die "power cut $cut: the update does not go on"
	power_cut
	wait $installing 2>/dev/null
	power_on "$WORK/trial"
	back "during an update"
	runs "$VERSION" || runs "$NEXT" || die "power cut $cut: neither version runs"
	power_cut
	rm -f "$WORK/trial"
}
step_cuts() {
	local other=$VERSION
	if [ "$VERSION_NOW" = "$VERSION" ]; then
		build_update
		other=$NEXT
	fi
	bring "$STORE/ringgate_$other.update" /var/lib/other && on "touch /var/lib/ringgate-appliance/allow-downgrade; sync" || die "the update cannot be brought"
	power_off_then on systemctl poweroff
	for ((cut = 1; cut <= POWER_CUTS; cut++)); do
		case $((cut % 3)) in
		1) cut_first_start ;;
		2) cut_stores ;;
		0) cut_update ;;
		esac
		say "power cut $cut"
	done
}

VERSION_NOW=$VERSION
for step in $STEPS; do "step_$step"; done
echo "first start $first_ms ms, $((memory / 1024)) MB, native XDP on virtio_net, then: $STEPS ($POWER_CUTS power cuts)"
