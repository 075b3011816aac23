#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The image of the appliance in a virtual machine (software emulation will do), from its first start: settings on the EFI partition,
# enrollment at a real server, joining another gateway, native XDP on virtio_net, a restart that keeps state, an update that fails its
# health check and is rolled back, the same update when it is healthy, a stick that is plugged in, a disk that can only be read or fails, no
# network at the start, a clock that nobody has set, a new machine with the backup of a broken one, and power cuts during first starts,
# stores and updates.
#   IMAGE=1 tests/guest/image.sh       called by make image-check; without IMAGE=1 it only says so
#   STEPS="restart update stick faults replace cuts"   what is done after the first start (default all)
#   POWER_CUTS=20                      how often the machine is switched off (default 3): a third each in first starts, stores and updates
#   CUTS_FROM=8                        goes on with this one of them: its moment depends on SEED and its number alone
#   PRIORITY=0                         nice value of the machine (default 5)
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
STEPS=${STEPS-restart update stick faults replace cuts}
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
# Something to read that never comes. One for all of the time: with a new one each time, bash in the end waits for the wrong process.
exec {IDLE}<> <(:)
until_true() { # SECONDS COMMAND…
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		read -r -t 0.2 -u "$IDLE"
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
DISK_OPTIONS='' STICK='' CLOCK=utc
machine_run() { # DISK
	while [ ! -e "$WORK/off" ]; do
		ip netns exec "$NETWORK-lan" nice -n "${PRIORITY:-5}" qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max,-cx16 -smp 2 -m 1024 -nodefaults \
			-display none -no-reboot -rtc "base=$CLOCK" \
			-drive "if=pflash,format=raw,readonly=on,file=$firmware" -drive "if=pflash,format=raw,file=$WORK/variables" \
			-drive "if=virtio,format=qcow2,file=$1,cache=writeback$DISK_OPTIONS" -serial "file:$WORK/console" \
			-device qemu-xhci ${STICK:+-drive "if=none,id=backup,format=raw,file=$STICK" -device usb-storage,drive=backup} -qmp "unix:$WORK/qmp,server=on,wait=off" \
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
# Returns when the machine has written so many octets more to its disks, or the process is gone.
machine_writes() { # OCTETS PROCESS
	python3 - "$WORK/qmp" "$@" <<-'PYTHON'
		import json, os, socket, sys, time
		s = socket.socket(socket.AF_UNIX)
		s.connect(sys.argv[1])
		lines = s.makefile("rw")
		lines.readline()
		def ask(name):
		    lines.write(json.dumps({"execute": name}) + "\n")
		    lines.flush()
		    while True:
		        answer = json.loads(lines.readline())
		        if "return" in answer:
		            return answer["return"]
		ask("qmp_capabilities")
		written = lambda: sum(each["stats"]["wr_bytes"] for each in ask("query-blockstats"))
		end = written() + int(sys.argv[2])
		def lives():
		    try:
		        with open("/proc/%s/stat" % sys.argv[3]) as f:
		            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
		    except OSError:
		        return False
		while written() < end and lives():
		    time.sleep(0.02)
	PYTHON
}
disk_over() { qemu-img create -q -f qcow2 -F raw -b "$1" "$2" 4G; } # BACKING NEW
# TICKS are the hundredths of a second of processor time the machine has used. No process is started to find out.
processor_ticks() {
	local fields process
	read -r process <"$WORK/machine" && read -ra fields <"/proc/$process/stat" && TICKS=$((fields[13] + fields[14]))
}
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
node_id() { on ringgatectl --json status | sed -n 's/.*"node_id": "\([0-9a-f]*\)".*/\1/p'; }
stick_create() { truncate -s 16M "$1" && mformat -i "$1" -T 32768 -h 16 -s 32 -v RINGGATE :: || die "no file system for a stick"; }
page() { on ringgate-appliance status | grep -q "! attention *$1"; }
boot_id() { on cat /proc/sys/kernel/random/boot_id; }
restarted() { local now; now=$(boot_id) && [ -n "$now" ] && [ "$now" != "$before" ]; }

# ---- the world outside: a server for enrollment, and another gateway

network_open
network_in lan ip address add 192.0.2.1/24 dev lan
network_in lan ip tuntap add machine mode tap
network_in lan ip link set machine master lan up
overlay_create --enrollment-server "https://$OVERLAY/enroll" --require-kind 0xf0000001:SINGLE:NODE-MATCH:4:100 || die "no overlay"
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
processor_ticks
first_ticks=$TICKS
say "serves $first_ms ms after it was switched on for the first time; $((first_ticks / 100)) s of processor time"
until_true 600 joined || die "the machine does not start the overlay"
gateway_start 2 && gateway_wait 2 1 60 || die "another gateway does not reach the machine"
on ringgate-appliance status | tee "$WORK/page.log" | grep -q "^overlay *$OVERLAY" || die "status page"
! grep -q "! attention" "$WORK/page.log" || die "the page complains: $(<"$WORK/page.log")"
tr -d '\r' <"$WORK/console" | grep -q "Node-ID" || until_true 30 grep -q "Node-ID" "$WORK/console" || die "no status page on the serial port"
! on cat /efi/ringgate.settings | grep -q "^password" || die "the password stayed on the EFI partition"
[ "$(on cat /etc/hostname)" = site1 ] || die "the machine has another name"
fastpath=$(on ringgatectl --json fastpath)
grep -q '"mode": "native"' <<<"$fastpath" || die "XDP is not native on virtio_net: $fastpath"
[[ $(on uname -r) == 6.12.* ]] || die "another kernel: $(on uname -r)"
on findmnt -n -o FSTYPE,OPTIONS / | grep -q "^erofs *ro" || die "the root is not read-only"
on cat /sys/block/dm-0/dm/uuid | grep -q CRYPT-VERITY || die "the root is not verified"
memory=$(on 'for p in $(pidof ringgated ringgate-enrolld); do awk "/^Pss:/ { print \$2 }" /proc/$p/smaps_rollup; done' | awk '{ n += $1 } END { print n }')
[ "${memory:-999999}" -le $((60 * 1024)) ] || die "the processes of Ringgate use $memory KB"
say "in the overlay, XDP native, $((memory / 1024)) MB"
[ -z "${PROFILE:-}" ] || LIMIT=600 on "systemd-analyze time; systemd-analyze critical-chain --no-pager ringgated.service
	systemd-analyze blame --no-pager | head -n 40; dmesg" | tee "$BUILD/first-start.txt" | head -n 65

# Steps leave the machine switched off when that saves a start.
running() {
	[ -z "$machine" ] || return 0
	power_on "$WORK/disk"
	until_true 900 joined || die "the machine does not come back"
}

# ---- a restart keeps identity, records and settings

step_restart() {
	local node name before
	running
	node=$(node_id) name=$(on cat /etc/hostname)
	before=$(boot_id)
	on systemctl reboot
	until_true 900 restarted || die "the machine does not come back after a restart"
	until_true 300 joined || die "the machine does not join after a restart"
	[ "$(node_id)" = "$node" ] || die "the machine is another node after a restart"
	[ "$(on cat /etc/hostname)" = "$name" ] || die "the name is lost"
	say "the same node after a restart"
}

# ---- a stick that is plugged in brings settings, and keeps no password

step_stick() {
	running
	stick_create "$WORK/stick"
	{
		grep -v -e ^hostname -e ^password "$WORK/ringgate.settings"
		printf 'hostname = site9\nphone = alice@%s oak-river-73\n' "$OVERLAY"
	} >"$WORK/stick.settings"
	mcopy -i "$WORK/stick" "$WORK/stick.settings" ::/ringgate.settings || die "the stick cannot be written"
	machine_tell blockdev-add '{"driver": "raw", "node-name": "stick", "file": {"driver": "file", "filename": "'"$WORK/stick"'"}}' \
		device_add '{"driver": "usb-storage", "id": "stick", "drive": "stick"}' || die "no stick can be plugged in"
	renamed() { [ "$(on cat /etc/hostname)" = site9 ]; }
	until_true 600 renamed || die "the settings of the stick are not taken: $(on journalctl -q -b -u ringgate-stick -o cat)"
	taken() { [ "$(on systemctl show -p ActiveState --value ringgate-stick.service)" = inactive ]; } # it starts services again
	until_true 600 taken || die "taking the settings of the stick does not end"
	until_true 600 joined || die "the machine does not join with the settings of the stick"
	on grep -q "^alice@$OVERLAY " /var/lib/ringgate/sip-passwords || die "alice's phones have no password"
	machine_tell device_del '{"id": "stick"}' || die "the stick cannot be pulled out"
	! mtype -i "$WORK/stick" ::/ringgate.settings | grep -q oak-river || die "the password stayed on the stick"
	say "a stick was plugged in"
}

# ---- a disk that fails while the machine runs, one that can only be read, and no network at the start

step_faults() {
	local before name
	sees() { tr -d '\r' <"$WORK/console" | grep -a -q "! attention *$1"; }
	running
	until_true 900 joined || die "the machine is not in the overlay"
	on 'echo test >/sys/fs/ext4/$(basename "$(findmnt -n -o SOURCE /var)")/trigger_fs_error' || die "no error of the disk can be made"
	until_true 60 page "The state partition cannot be written" || die "the page does not tell of a disk that fails: $(on ringgate-appliance status)"
	sip_answers 60 || die "phones have no answer of a machine whose disk fails"
	on ringgate-appliance health && die "a machine whose disk fails says that it is healthy"
	before=$(boot_id) name=$(on cat /etc/hostname)
	on systemctl reboot
	until_true 900 restarted || die "the machine does not restart after an error of the disk"
	until_true 300 joined || die "the machine does not join after an error of the disk"
	! on ringgate-appliance status | grep "! attention" | grep -v repaired || die "the page complains after an error of the disk"
	# That of the stick, if it was there, and not what the EFI partition has said since before it.
	[ "$(on cat /etc/hostname)" = "$name" ] || die "the machine has other settings after a restart: $(on cat /etc/hostname)"
	say "an error of the disk is told, and mended by a restart"
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

# ---- a broken machine is replaced: a new disk without settings, a clock that nobody has set, and the backup on a stick

step_replace() {
	local node
	running
	node=$(node_id)
	on ringgate-appliance backup /run/site.tar && on cat /run/site.tar >"$WORK/site.tar" || die "no backup"
	power_cut
	STICK=$WORK/backup-stick
	stick_create "$STICK"
	mcopy -i "$STICK" "$WORK/site.tar" ::/ringgate-backup.tar || die "the stick cannot be written"
	disk_over "$STORE/ringgate_$VERSION.img" "$WORK/replaced"
	CLOCK=2020-01-01T00:00:00
	power_on "$WORK/replaced"
	until_true 900 page "The clock is wrong" || die "the page of the new machine does not tell of the clock: $(on ringgate-appliance status)"
	! joined || die "the new machine joins before its certificate was made"
	# Nothing but the gateway waits for the clock: another stick could bring a time server.
	taken() { [ "$(on systemctl show -p ActiveState --value ringgate-stick.service)" = inactive ]; }
	until_true 600 taken || die "taking the backup of the stick does not end"
	on date -u -s "@$(date +%s)" || die "the clock cannot be set"
	until_true 900 joined || die "the new machine does not join with the backup of the broken one"
	[ "$(node_id)" = "$node" ] || die "the new machine is another node"
	[ "$(on cat /etc/hostname)" = "$(tar -xOf "$WORK/site.tar" ringgate-appliance/settings | sed -n 's/^hostname = //p')" ] || die "the new machine has another name"
	on ringgate-appliance status | tee "$WORK/page.log" | grep -q "! attention" && die "the page of the new machine complains: $(<"$WORK/page.log")"
	power_cut
	STICK='' CLOCK=utc
	rm -f "$WORK/replaced"
	say "a new machine took the place of a broken one"
}

# ---- an update that is not healthy, and then one that is

build_update() {
	[ ! -s "$STORE/ringgate_$NEXT.update" ] || [ ! "$STORE/ringgate_$NEXT.update" -nt "$STORE/ringgate_$VERSION.img" ] || return 0
	IMAGE_VERSION=$NEXT images/build.sh update >"$WORK/build.log" 2>&1 || die "no update: $(tail -n 5 "$WORK/build.log")"
}
blessed() { on ls /efi/EFI/Linux >"$WORK/entries" && ! grep -q '+[1-9]' "$WORK/entries"; }
bring() { network_in lan scp "${SHELL_OPTIONS[@]}" "$1" "root@192.0.2.11:$2" </dev/null; }
step_update() {
	local before
	build_update
	running
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
	until_true 180 blessed || die "the new version is not taken for good: $(on ls /efi/EFI/Linux)"
	before=$(boot_id)
	on systemctl reboot
	until_true 900 restarted || die "the machine does not come back after the update"
	runs "$NEXT" || die "the new version did not stay"
	say "version $NEXT runs from the other slot"
	# The version before: refused by a sentence, unless it is meant.
	head -c 8192 "$STORE/ringgate_$VERSION.update" >"$WORK/older"
	bring "$WORK/older" /var/lib/older || die "no older version can be brought"
	on "ringgate-appliance update /var/lib/older 2>&1" | grep -q "$VERSION is older than $NEXT" || die "an older version is not refused, or without saying why"
	bring "$STORE/ringgate_$VERSION.update" /var/lib/update || die "the older version cannot be brought"
	on touch /var/lib/ringgate-appliance/allow-downgrade
	LIMIT=900 on ringgate-appliance update /var/lib/update --reboot || die "an older version is not taken although it is meant"
	until_true 900 runs "$VERSION" || die "the older version does not start"
	until_true 300 joined || die "the older version does not join"
	until_true 180 blessed || die "the older version is not taken for good: $(on ls /efi/EFI/Linux)"
	on rm /var/lib/ringgate-appliance/allow-downgrade /var/lib/update
	say "version $VERSION was taken again, because that was meant"
}

# ---- power cuts: the machine comes back each time, and what was acknowledged is there

# The machine is back, in the overlay, and has nothing to complain about but what a power cut explains.
back() {
	until_true 1200 joined || die "power cut $cut ($1): the machine does not come back"
	! on ringgate-appliance status | grep "! attention" | grep -v -e repaired -e "did not become healthy" || die "power cut $cut ($1): the page complains"
}
random() { DRAWN=$(((RANDOM * 32768 + RANDOM) % $1)); } # below a number; not in a subshell, which would draw others than those of SEED
# Returns when the machine has used so many hundredths of a second of processor time more.
machine_works() {
	local end
	worked() { processor_ticks && [ "$TICKS" -ge "$end" ]; }
	processor_ticks || return 1
	end=$((TICKS + $1))
	until_true 900 worked
}
# A first start, cut at a moment of it, and begun again; then it has to be the site of its settings.
cut_first_start() {
	local moment
	random "$first_ticks"
	moment=$DRAWN
	[ -z "$machine" ] || power_cut
	rm -f "$WORK/first"
	disk_over "$WORK/new" "$WORK/first"
	power_on "$WORK/first"
	machine_works "$moment" || die "power cut $cut: the machine does not start"
	power_cut
	power_on "$WORK/first"
	back "during a first start"
	[ "$(on cat /etc/hostname)" = site1 ] || die "power cut $cut: the settings are lost"
	power_cut
	rm -f "$WORK/first"
	what="$((moment / 100)) s of processor time after the beginning of a first start"
}
# Stores, cut some time after so many were acknowledged.
cut_stores() {
	local wanted more value storing last
	random 12
	wanted=$((1 + DRAWN))
	random 300
	more=$DRAWN
	running
	: >"$WORK/acknowledged"
	LIMIT=1800 on 'number=0; while number=$((number + 1)); do
		ringgatectl store --kind 0xf0000001 --node self --value "'"$cut"'-$number" >/dev/null && echo "$number"
	done' >"$WORK/acknowledged" &
	storing=$!
	until_true 600 grep -q "^$wanted$" "$WORK/acknowledged" || die "power cut $cut: no $wanted stores are acknowledged"
	machine_works "$more"
	power_cut
	kill $storing 2>/dev/null
	wait $storing 2>/dev/null
	last=$(grep -c . "$WORK/acknowledged")
	power_on "$WORK/disk"
	back "during stores"
	# The last acknowledged value, or one after it whose acknowledgement was under way.
	value=$(on ringgatectl --json fetch --kind 0xf0000001 --node self | grep -oE "$cut-[0-9]+" | head -n 1)
	[ "${value#*-}" -ge "$last" ] 2>/dev/null || die "power cut $cut: $cut-$last was acknowledged, \"$value\" is there"
	what="after $last acknowledged stores, ${value#*-} of them kept"
}
# An update to the version that does not run, cut when so many octets more are on the disk, or right after its end. Every second one is cut
# in the boot partition's part or right after it: that takes the shortest, and decides what starts next.
cut_update() {
	local size last octets installing to status
	running
	until_true 600 blessed || die "power cut $cut: the version that runs is not taken for good: $(on ls /efi/EFI/Linux)"
	to=$NEXT
	! runs "$NEXT" || to=$VERSION
	size=$(tar -xOf "$STORE/ringgate_$to.update" manifest | awk -F' = ' '/-size = / { n += $2 } END { print n }')
	last=$(tar -xOf "$STORE/ringgate_$to.update" manifest | sed -n 's/^uki-size = //p')
	if [ $((cut % 2)) -eq 1 ]; then
		random $((last * 5 / 4))
		octets=$((size - last + DRAWN))
	else
		random "$size"
		octets=$DRAWN
	fi
	LIMIT=1800 on ringgate-appliance update "/var/lib/ringgate_$to.update" >"$WORK/update.log" 2>&1 &
	installing=$!
	machine_writes "$octets" "$installing"
	power_cut
	wait $installing
	status=$?
	power_on "$WORK/disk"
	back "during an update"
	runs "$VERSION" || runs "$NEXT" || die "power cut $cut: neither version runs"
	[ $status -ne 0 ] || runs "$to" || die "power cut $cut: the update to $to was installed, and does not run"
	what="$((octets >> 20)) of $((size >> 20)) MB into an update to $to, which $([ $status -eq 0 ] && echo "was done" || echo "was not done")"
}
step_cuts() {
	local each what have_updates=
	build_update
	for ((cut = ${CUTS_FROM:-1}; cut <= POWER_CUTS; cut++)); do
		RANDOM=$((${SEED:-1} * 1000 + cut))
		case $((3 * (cut - 1) / POWER_CUTS)) in
		0) cut_first_start ;;
		1) cut_stores ;;
		2)
			running
			for each in $VERSION $NEXT; do
				[ -n "$have_updates" ] || bring "$STORE/ringgate_$each.update" /var/lib/ || die "the update cannot be brought"
			done
			[ -n "$have_updates" ] || on "touch /var/lib/ringgate-appliance/allow-downgrade; sync" || die "the update cannot be brought"
			have_updates=yes
			cut_update
			;;
		esac
		say "power cut $cut: $what"
	done
}

for step in $STEPS; do "step_$step"; done
echo "first start $first_ms ms, $((memory / 1024)) MB, native XDP on virtio_net, then: $STEPS ($POWER_CUTS power cuts)"
