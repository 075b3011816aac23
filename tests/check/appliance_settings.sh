#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Settings, backup and restore of the appliance, in a root that is a folder: what is taken, what is refused with which line, what is
# written for which service, and that nothing in such a file is ever run.
set -u
cd "$(dirname "$0")/../.." || exit 1
WORK=$(mktemp -d -p /dev/shm ringgate.XXXXXX)
trap 'rm -rf "$WORK"' EXIT
export RINGGATE_LIBRARY=$PWD/images/tree/usr/lib/ringgate RINGGATE_ROOT=$WORK/root
export RINGGATECTL=$(realpath "${BUILD:-build}/ringgatectl")
root=$RINGGATE_ROOT cases=0
die() {
	echo "FAILED: $*"
	exit 1
}
# All of what it says, as its reader may leave early and must not end it.
appliance() {
	local said status
	said=$(images/tree/usr/sbin/ringgate-appliance "$@" 2>&1)
	status=$?
	printf "%s\n" "$said"
	return $status
}
fresh() {
	rm -rf "$root"
	mkdir -p "$root"/{etc,proc,efi,run,var/lib/ringgate/users}
	echo 'IMAGE_VERSION=0.1' >"$root/etc/os-release"
	: >"$root/proc/cmdline"
}
fresh

# ---- lines
good() { printf '%b' "$1" >"$WORK/s"; appliance settings check "$WORK/s" >/dev/null || die "refused: $1: $(appliance settings check "$WORK/s")"; cases=$((cases + 1)); }
bad() { # TEXT SENTENCE
	printf '%b' "$1" >"$WORK/s"
	local said
	said=$(appliance settings check "$WORK/s") && die "taken: $1"
	[[ $said == *"$2"* ]] || die "\"$1\": expected \"$2\", got \"$said\""
	cases=$((cases + 1))
}
good ''
good '# nothing\n\n'
good 'hostname = site1\r\naddress = 192.0.2.11/24 2001:db8::11/64\r\n'
good '\xef\xbb\xbfhostname = site1\n'
good 'overlay=example.org\nuser=site1@example.org\npassword=  secret with spaces  \n'
good 'address = dhcp\nmetrics = off\nsip = off\nntp = time.example.org 192.0.2.1\nbootstrap = 192.0.2.11:6084 [2001:db8::1]:6084\n'
good 'ssh-key = ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA alice@example.org\nconsole-password-hash = $6$salt$hash\n'
good 'phone = alice@example.org oak-river-73\nphone=bob@example.org   with spaces in it \nphone = carol@example.org none\nsip-mode = proxy\nsip-digest = SHA-256 MD5\n'
appliance help settings | sed -nE 's/^  ([a-z-]+) = .*/\1/p' >"$WORK/names"
[ "$(wc -l <"$WORK/names")" -ge 18 ] || die "the help names $(wc -l <"$WORK/names") settings"
while read -r name; do
	printf '%s = \x01\n' "$name" >"$WORK/s"
	appliance settings check "$WORK/s" | grep -q "$name has characters" || die "$name is in the help and not known, or takes anything"
done <"$WORK/names"
bad 'hostname site1' 'line 1: a line is like: name = value'
bad '\nhostnam = x\n' 'line 2: hostnam is not among the settings'
bad 'hostname = $(reboot)\n' 'line 1: hostname is no host name'
bad 'hostname = a b\n' 'is no host name'
bad 'hostname = a\nhostname = b\n' 'line 2: hostname stands there twice'
bad 'address = 192.0.2.11\n' 'address has to be dhcp'
bad 'address = 192.0.2.11/24;reboot\n' 'address has to be dhcp'
bad 'gateway = gw.example.org\n' 'gateway has to be addresses'
bad 'sip-allow = 192.0.2.0/24 }\n' 'sip-allow has to be networks'
bad 'interface = ../../etc/passwd\n' 'is no name of an interface'
# What a firewall or a network service would refuse is refused here.
for each in 0.0.0.0/0 192.0.2.5/32 ::/0 ::1/128 fe80::/10 2001:db8::1:0:0/64 1:2:3:4:5:6:7:8/128 1:2:3:4:5:6:7::/112 ABCD::ef/8; do good "sip-allow = $each\n"; done
for each in 300.1.1.1/24 192.0.2.0/33 192.0.2.0/024 192.0.02.0/24 010.0.0.1/32 192.0.2/24 192.0.2.0 2001:db8::/129 ::ffff:192.0.2.1/96 :/0 :::/0 1::2::3/64 \
	12345::/16 1:2:3:4:5:6:7/64 1:2:3:4:5:6:7:8:9/64 1:2:3:4:5:6:7:8::/64 1:/64 :1/64 x::/64 /24 192.0.2.0/ 192.0.2.0/1/2; do
	bad "sip-allow = 192.0.2.0/24 $each\n" 'sip-allow has to be networks'
done
good 'dns = 192.0.2.1:53 [2001:db8::1]:53 2001:db8::1 [2001:db8::1]\nmetrics = [::]:9464\nntp = 2001:db8::1 0.pool.ntp.org\n'
for each in 'dns = 192.0.2.1:65536' 'dns = 192.0.2.1:0' 'dns = [192.0.2.1]:53' 'dns = 192.0.2.256' 'dns = [2001:db8::1' 'bootstrap = 2001:db8::1' 'metrics = 9464' \
	'metrics = :9464' 'gateway = 192.0.2.1:80' 'gateway = 192.0.2.' 'server-address = 1.2.3' 'ntp = 192.0.2.300' 'address = 192.0.2.11/24 dhcp'; do
	bad "$each\n" "${each%% *} has to be"
done
bad 'overlay = ftp://example.org\n' 'neither a name'
bad 'overlay = http://example.org\n' 'neither a name'
bad 'user = site1@example.org\n' 'also overlay is needed'
bad 'password = short\n' '8 to 256'
bad 'ssh-key = no-pty ssh-ed25519 AAAA\n' 'is no public key'
bad 'fast-path = yes\n' 'auto or no'
bad 'sip-mode = on\n' 'redirect, proxy or redirect-inside'
bad 'sip-digest = md5\n' 'MD5, SHA-256 or both'
bad 'phone = alice@example.org\n' 'line 1: phone has to be a user and a password'
bad 'phone = alice oak-river-73\n' 'phone has to be a user and a password'
bad 'phone = alice@example.org short\n' 'needs a password of 8 to 256'
bad 'phone = $(reboot)@example.org oak-river-73\n' 'phone has to be a user and a password'
bad 'phone = alice@example.org oak-river-73\nphone = alice@example.org oak-river-74\n' 'line 2: alice@example.org has a password already'
bad 'hostname =\n' 'a line is like'
head -c 70000 /dev/zero | tr '\0' '#' >"$WORK/s"
appliance settings check "$WORK/s" | grep -q "too large" || die "a large file is read"
appliance settings check "$WORK/nowhere" | grep -q "cannot be read" || die "a file that is not there"
head -c 3000 /dev/urandom >"$WORK/s"
appliance settings check "$WORK/s" >/dev/null && die "noise is taken"

# ---- where they come from, and what comes of them
cat >"$root/efi/ringgate.settings" <<'CONF'
hostname = site1
interface = lan0
address = 192.0.2.11/24 2001:db8::11/64
gateway = 192.0.2.1
dns = 192.0.2.1
overlay = example.org
user = site1@example.org
password = correct horse
sip-allow = 192.0.2.0/24 2001:db8::/32
ssh-key = ssh-ed25519 AAAA alice@example.org
users = at-registration
sip-mode = redirect-inside
sip-digest = MD5
phone = alice@example.org oak-river-73
phone = bob@example.org with spaces in it
CONF
echo "root certificate" >"$root/efi/ringgate-ca.pem"
appliance provision | grep -q "Settings of .* are in force" || die "settings on the EFI partition are not taken"
network=$root/run/systemd/network/50-ringgate.network
has() { grep -qxF -- "$2" "$1" || die "$1 has no line \"$2\": $(cat "$1")"; cases=$((cases + 1)); }
has "$network" "Name=lan0"
has "$network" "Address=192.0.2.11/24"
has "$network" "Address=2001:db8::11/64"
has "$network" "Gateway=192.0.2.1"
gateway=$root/etc/ringgate/ringgate.conf.d/50-appliance.conf
has "$gateway" "server = example.org"
has "$gateway" "user = site1@example.org"
has "$gateway" "users = at-registration"
has "$gateway" "ca-file = /etc/ringgate/ca.pem"
has "$gateway" "fastpath = auto"
has "$gateway" "mode = redirect-inside"
has "$gateway" "digest-algorithms = MD5"
hashes=$root/var/lib/ringgate/sip-passwords
hash() { printf %s "$1" | openssl dgst -md5 | sed 's/.* //'; }
grep -q "^alice@example.org .*MD5 $(hash 'alice:example.org:oak-river-73')" "$hashes" || die "alice has no password: $(cat "$hashes")"
grep -q "^bob@example.org .*MD5 $(hash 'bob:example.org:with spaces in it')" "$hashes" || die "bob has no password: $(cat "$hashes")"
grep -rq -e oak-river -e "with spaces" "$root" && die "a phone's password was written: $(grep -r -e oak-river -e "with spaces" "$root")"
has "$root/efi/ringgate.settings" "# The password of the phones of alice@example.org was taken over and removed."
appliance settings show | grep -q "phones of 2 users have passwords" || die "settings show does not tell of phones"
has "$gateway" "allow = 127.0.0.0/8 ::1/128 192.0.2.0/24 2001:db8::/32"
has "$root/run/ringgate-appliance/firewall.nft" "add element inet ringgate site4 { 192.0.2.0/24 }"
has "$root/run/ringgate-appliance/firewall.nft" "add element inet ringgate site6 { 2001:db8::/32 }"
has "$root/run/ringgate-appliance/firewall.nft" "add element inet ringgate site_ports { 5060 }"
[ "$(grep -c site_ports "$root/run/ringgate-appliance/firewall.nft")" -eq 1 ] || die "more than SIP is open to the site"
has "$root/run/ringgate-appliance/firewall.nft" "add element inet ringgate shell_ports { 22 }"
has "$root/run/ringgate-appliance/ssh" "ssh-ed25519 AAAA alice@example.org"
has "$root/etc/ringgate/ca.pem" "root certificate"
has "$root/var/lib/ringgate-appliance/password" "correct horse"
has "$root/etc/hostname" site1
[ -e "$root/run/ringgate-appliance/enrolls" ] || die "the gateway would not enroll"
grep -q password "$root/efi/ringgate.settings" && ! grep -q "was taken over" "$root/efi/ringgate.settings" && die "the password stays on the EFI partition"
grep -rq "correct horse" "$root/efi" "$root/etc" "$root/run" && die "the password is somewhere it does not belong"
[ "$(stat -c %a "$root/var/lib/ringgate-appliance/password" "$root/var/lib/ringgate-appliance/settings" | sort -u)" = 600 ] || die "others can read settings or password"
appliance settings show | grep -q "correct horse" && die "settings show prints the password"
# The same file again changes nothing, and the password is still there.
appliance provision | grep -q "in force" && die "the same settings are taken again"
has "$root/var/lib/ringgate-appliance/password" "correct horse"
# One more phone, and one less; the others stay.
printf 'phone = carol@example.org a-third-one-75\nphone = bob@example.org none\n' >"$WORK/phones"
cat "$root/efi/ringgate.settings" "$WORK/phones" >"$WORK/more"
appliance settings apply "$WORK/more" >/dev/null || die "phones cannot be added"
[ "$(grep -v ^# "$hashes" | cut -d' ' -f1 | sort | tr '\n' ' ')" = "alice@example.org carol@example.org " ] || die "phones: $(cat "$hashes")"
grep -q "a-third-one" "$WORK/more" || die "a file that was applied by hand was changed"
# What was applied by hand stays in force over a start, although the file on the EFI partition is another one; a file that changes is used.
problem=$root/run/ringgate-appliance/problem
printf 'hostname = by-hand\nntp = 192.0.2.1\noverlay = example.org\nuser = site1@example.org\n' >"$WORK/hand"
appliance settings apply "$WORK/hand" >/dev/null || die "settings cannot be applied"
timesync=$root/run/systemd/timesyncd.conf.d/50-ringgate.conf
has "$root/etc/hostname" by-hand
has "$timesync" "NTP=192.0.2.1"
# SIP off, and metrics for others than this machine.
firewall=$root/run/ringgate-appliance/firewall.nft
for each in '192.0.2.11:9999 9999' '192.0.2.11 9464' '[2001:db8::11]:80 80' '[2001:db8::11] 9464' '127.0.0.1:9464 ' '[::1]:9464 ' 'off '; do
	{ cat "$WORK/hand"; printf 'sip = off\nmetrics = %s\n' "${each% *}"; } >"$WORK/metrics"
	appliance settings apply "$WORK/metrics" >/dev/null || die "settings with metrics cannot be applied"
	[ "$(sed -n 's/.*site_ports { \(.*\) }/\1/p' "$firewall")" = "${each##* }" ] || die "metrics at ${each% *}: $(cat "$firewall")"
	cases=$((cases + 1))
done
appliance settings apply "$WORK/hand" >/dev/null || die "settings cannot be applied again"
[ ! -e "$network" ] || die "the address of settings before is kept: $(cat "$network")"
appliance provision | grep -q "in force" && die "a file that did not change replaces what was applied by hand"
has "$root/etc/hostname" by-hand
has "$root/var/lib/ringgate-appliance/password" "correct horse"
cp "$root/efi/ringgate.settings" "$WORK/efi"
sed -i '/^hostname/d' "$root/efi/ringgate.settings"
appliance provision | grep -q "in force" || die "a file that was changed is not taken"
has "$root/etc/hostname" ringgate
[ ! -e "$timesync" ] || die "the time server of settings before is kept"
cp "$WORK/efi" "$root/efi/ringgate.settings"
appliance provision | grep -q "in force" || die "a file that was changed back is not taken"
# When nothing could be kept for a while, what can be kept later is in force.
echo "hostname = forgotten" >"$root/run/ringgate-appliance/settings"
echo "of a stick before" >"$problem"
appliance settings apply "$WORK/efi" >/dev/null || die "settings cannot be applied a second time"
has "$root/etc/hostname" site1
[ ! -s "$problem" ] || die "the page still complains of settings that were replaced: $(cat "$problem")"
# Damaged ones change nothing either, and the page says which line.
echo "hostname = not a name" >"$root/efi/ringgate.settings"
appliance provision >/dev/null
grep -q "line 1: hostname is no host name" "$root/run/ringgate-appliance/problem" || die "wrong settings are not told"
has "$root/etc/hostname" site1
rm "$root/efi/ringgate.settings"
# The command line, and another account: the identity of the former is set aside.
echo key >"$root/var/lib/ringgate/node.key"; echo crt >"$root/var/lib/ringgate/node.crt"; echo document >"$root/var/lib/ringgate/overlay.xml"
echo "quiet ringgate.overlay=example.org ringgate.user=site2@example.org ringgate.address=192.0.2.12/24,2001:db8::12/64 ringgate.hostname=site2" >"$root/proc/cmdline"
appliance provision | grep -q 'what belonged to "example.org site1@example.org" is in' || die "the former identity is not set aside"
[ -e "$root/var/lib/ringgate/node.key" ] && die "the former key is still in use"
compgen -G "$root/var/lib/ringgate/former-*/node.key" >/dev/null || die "the former key is lost"
has "$network" "Address=2001:db8::12/64"
[ ! -s "$root/var/lib/ringgate-appliance/password" ] || die "the password of another account is kept"

# ---- backup and restore
echo key >"$root/var/lib/ringgate/node.key"; echo crt >"$root/var/lib/ringgate/node.crt"; mkdir -p "$root/var/lib/ringgate/users"; echo a >"$root/var/lib/ringgate/users/alice@example.org.key"; echo h >"$root/var/lib/ringgate/sip-passwords"
appliance backup "$WORK/backup.tar" | grep -q "keep it where nobody else" || die "backup"
[ "$(stat -c %a "$WORK/backup.tar")" = 600 ] || die "others can read the backup"
fresh
appliance backup "$WORK/empty.tar" | grep -q "nothing to save" || die "a backup of nothing"
appliance restore "$WORK/backup.tar" | grep -q "are those of" || die "restore"
has "$root/var/lib/ringgate/node.key" key
has "$root/var/lib/ringgate/users/alice@example.org.key" a
has "$root/var/lib/ringgate/sip-passwords" h
appliance provision >/dev/null
has "$root/etc/hostname" site2
[ -z "$(find "$root/var/lib/ringgate" "$root/var/lib/ringgate-appliance" -perm /077)" ] || die "others can read what was restored"
# A backup takes the place of what is there: users, phones and roots of two sites do not mix. One that a power cut left half in its
# place is restored at the next start, from the beginning.
backup_put() { mkdir -p "$root/var/lib/ringgate-restore" && tar -C "$root/var/lib/ringgate-restore" -xf "$WORK/backup.tar"; }
other_site() {
	echo other >"$root/var/lib/ringgate/node.key"; echo other >"$root/var/lib/ringgate/users/mallory@example.org.key"
	echo other >"$root/var/lib/ringgate/sip-passwords"; echo other >"$root/var/lib/ringgate/records.db"
	echo other >"$root/var/lib/ringgate-appliance/ca.pem"; echo other >"$root/run/ringgate-appliance/settings"
}
this_site() {
	has "$root/var/lib/ringgate/node.key" key
	has "$root/var/lib/ringgate/sip-passwords" h
	[ "$(ls "$root/var/lib/ringgate/users")" = alice@example.org.key ] || die "users are mixed: $(ls "$root/var/lib/ringgate/users")"
	[ ! -e "$root/var/lib/ringgate/records.db" ] || die "records of the other site are kept"
	[ ! -e "$root/run/ringgate-appliance/settings" ] || die "settings that could not be kept are in force over those of the backup"
	! compgen -G "$root/var/lib/ringgate-restore*" >/dev/null || die "the unpacked backup is left"
	cases=$((cases + 5))
}
other_site
appliance restore "$WORK/backup.tar" >/dev/null || die "restore over another site"
this_site
has "$root/var/lib/ringgate-appliance/ca.pem" "root certificate"
tar -C "$root/var/lib" --delete -f "$WORK/backup.tar" ringgate-appliance/ca.pem || die "no backup without roots"
other_site
backup_put
appliance provision | grep -q "was interrupted is restored" || die "an interrupted restore is not gone on with"
this_site
[ ! -e "$root/var/lib/ringgate-appliance/ca.pem" ] || die "roots of the other site are kept"
other_site
mkdir "$root/var/lib/ringgate-restore.new" && echo half >"$root/var/lib/ringgate-restore.new/half"
appliance provision >/dev/null
has "$root/var/lib/ringgate/node.key" other
appliance restore "$WORK/backup.tar" >/dev/null || die "restore after half of one"
this_site

# ---- a stick with a backup: taken by a machine that is nobody yet; a machine that is somebody else says why it does not
stick=$root/run/ringgate-appliance/stick
other_site
mkdir -p "$stick" && cp "$WORK/backup.tar" "$stick/ringgate-backup.tar"
rm "$root/run/ringgate-appliance/settings"
appliance provision >/dev/null
has "$root/var/lib/ringgate/node.key" other
grep -q "not restored: this machine has an identity already" "$problem" || die "a backup that is not taken is not told"
# Settings that lie on the EFI partition do not replace those of the backup.
appliance forget --yes >/dev/null || die "forget"
printf 'hostname = efi\noverlay = example.org\nuser = site7@example.org\n' >"$root/efi/ringgate.settings"
mkdir -p "$stick" && cp "$WORK/backup.tar" "$stick/ringgate-backup.tar"
appliance provision | grep -q "are those of" || die "the backup of the stick is not restored"
this_site
has "$root/etc/hostname" site2
appliance provision >/dev/null
this_site
has "$root/etc/hostname" site2
[ ! -s "$problem" ] || die "a stick whose backup was restored is complained of: $(cat "$problem")"
# What a stick says holds as long as it is plugged in.
printf 'hostname = stick\noverlay = example.org\nuser = site2@example.org\n' >"$stick/ringgate.settings"
appliance provision | grep -q "in force" || die "the settings of the stick are not taken"
has "$root/etc/hostname" stick
rm -r "$stick" "$root/efi/ringgate.settings"
appliance provision >/dev/null
has "$root/etc/hostname" stick

# ---- an update on a stick is tried once
tried() { # VERSION
	printf 'version = %s\n' "$1" >"$WORK/manifest" && tar -C "$WORK" -cf "$WORK/u.update" manifest || die "no manifest"
	(ROOT=$root; . "$RINGGATE_LIBRARY/update.sh"; VERSION=0.1 STATE=$root/var/lib/ringgate-appliance; update_tried "$WORK/u.update")
}
tried 0.1 || die "the version that runs is installed again"
tried 0.2 && die "another version is not installed"
echo 0.2 >"$root/var/lib/ringgate-appliance/update-to"; echo boot >"$root/var/lib/ringgate-appliance/update-started"
tried 0.2 || die "a version that was tried is installed again by itself"
tried 0.3 && die "the version after that is not installed"
appliance status | grep "^update" && die "an update of another start is said to start next"
mkdir -p "$root/proc/sys/kernel/random" && echo boot >"$root/proc/sys/kernel/random/boot_id"
appliance status | grep -q "^update *version 0.2 is installed and starts next" || die "the page does not tell of an update that is installed"
rm "$root"/var/lib/ringgate-appliance/update-*
cases=$((cases + 6))

refused() { # SENTENCE: of $WORK/x.tar, and nothing changed
	local said
	said=$(appliance restore "$WORK/x.tar") && die "restored, but expected: $1"
	[[ $said == *"$1"* ]] || die "expected \"$1\", got \"$said\""
	has "$root/var/lib/ringgate/node.key" key
	[ ! -e "$WORK/root/etc/evil" ] && [ ! -e "$WORK/evil" ] || die "something was written outside"
}
mkdir -p "$WORK/x/ringgate"; echo new >"$WORK/x/ringgate/node.key"; echo x >"$WORK/evil-source"
tar -C "$WORK/x" -cf "$WORK/x.tar" ringgate/node.key --transform 's|^ringgate/node.key|../../etc/evil|' -P; refused "it has ../../etc/evil"
tar -C "$WORK/x" -cf "$WORK/x.tar" ringgate/node.key --transform 's|^|/|' -P; refused "it has /ringgate/node.key"
ln -s /etc/passwd "$WORK/x/ringgate/node.crt"; tar -C "$WORK/x" -cf "$WORK/x.tar" ringgate/node.key ringgate/node.crt; refused "links or devices"
rm "$WORK/x/ringgate/node.crt"; echo c >"$WORK/x/ringgate/overlay.xml"; tar -C "$WORK/x" -cf "$WORK/x.tar" ringgate/overlay.xml; refused "no key of a node"
head -c 5000 /dev/urandom >"$WORK/x.tar"; refused "is no backup"
: >"$WORK/x.tar"; refused "cannot be read"
head -c 1500 "$WORK/backup.tar" >"$WORK/x.tar"
appliance restore "$WORK/x.tar" >/dev/null && die "a short backup was restored"
has "$root/var/lib/ringgate/node.key" key

# ---- the host key: made once, and again when a power cut has left only its length
if command -v ssh-keygen >/dev/null; then
	key=$root/var/lib/ringgate-appliance/ssh_host_ed25519_key
	appliance host-keys >/dev/null && [ -s "$key" ] || die "no host key is made"
	before=$(sha256sum <"$key")
	appliance host-keys >/dev/null && [ "$(sha256sum <"$key")" = "$before" ] || die "a host key that is there is made again"
	head -c 399 /dev/zero >"$key"
	appliance host-keys >/dev/null && ssh-keygen -y -P '' -f "$key" >/dev/null || die "a damaged host key stays"
	[ "$(stat -c %a "$key")" = 600 ] || die "others can read the host key"
	cases=$((cases + 4))
fi

# ---- the clock
status_text() { appliance status | grep "^! attention *The c" || true; }
rm -f "$root/var/lib/ringgate/node.crt"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/k" -out "$root/var/lib/ringgate/node.crt" -days 2 -subj /CN=x 2>/dev/null
touch -d '2026-01-01 00:00:00' "$root/etc/os-release"
clock() { # SENTENCE NOW
	local said
	said=$(. "$RINGGATE_LIBRARY/status.sh"; ROOT=$root NODE=$root/var/lib/ringgate; certificate_read; clock_trouble "$2")
	[[ ($1 = nothing && -z $said) || ($1 != nothing && $said == *"$1"*) ]] || die "at $2: expected \"$1\", got \"$said\""
	cases=$((cases + 1))
}
clock nothing "$(date -u '+%Y-%m-%d %H:%M:%SZ')"
clock "The clock is wrong (1970-01-01 00:00 UTC): certificates look as if" "1970-01-01 00:00:10Z"
clock "the certificate of this gateway was made at" "$(date -u -d '-3 days' '+%Y-%m-%d %H:%M:%SZ')"
clock "or the certificate of this gateway has ended" "2099-01-01 00:00:00Z"
mkdir -p "$root/run/systemd/timesync"
: >"$root/run/systemd/timesync/synchronized"
clock "The certificate of this gateway ended at" "2099-01-01 00:00:00Z"
echo damaged >"$root/var/lib/ringgate/node.crt"
clock nothing "2099-01-01 00:00:00Z"
rm "$root/var/lib/ringgate/node.crt"
clock nothing "2099-01-01 00:00:00Z"
status_text | grep -q . && die "the page complains of the clock: $(status_text)"

# ---- use
appliance forget >/dev/null; [ -e "$root/var/lib/ringgate/node.key" ] || die "forget without --yes"
appliance forget --yes >/dev/null; [ ! -e "$root/var/lib/ringgate/node.key" ] || die "forget"
for words in '' 'nonsense' 'settings' 'settings check' 'backup' 'health --wait x' 'update' 'update --reboot' 'help nonsense' 'status x'; do
	appliance $words >/dev/null
	[ $? -eq 2 ] || die "\"$words\" does not end with status 2"
	cases=$((cases + 1))
done
appliance --help | grep -q "^Usage:" || die "--help"
echo "$cases cases"
