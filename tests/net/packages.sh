#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The Debian packages: what make install installs is in exactly one of them, they install, upgrade and purge in a copy of this machine's
# root, nothing runs because of it, settings of the operator and keys of overlays survive, and lintian has nothing to say.
# The programs in them are those of $BUILD, which takes no time to build; `make deb` builds its own.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
refuse() {
	echo "SKIP: $1"
	exit 77
}
[ "$(id -u)" -eq 0 ] || refuse "a copy of the root needs root"
command -v dh >/dev/null || refuse "debhelper is missing (make deb installs it)"
if [ "${INSIDE:-}" != yes ]; then
	INSIDE=yes exec unshare -m --propagation private "$0"
fi
WORK=$(mktemp -d /tmp/ringgate.XXXXXX)
trap 'umount -R "$WORK/root" 2>/dev/null; umount "$WORK" && rmdir "$WORK"' EXIT
trap 'exit 130' HUP INT TERM
mount -t tmpfs ringgate "$WORK" || refuse "nothing can be mounted here"
die() {
	echo "FAILED: $*"
	exit 1
}

# ---- what is in them

PREBUILT=$BUILD DEB_BUILD_OPTIONS=noautodbgsym appliance/build-deb.sh "$WORK/deb" >"$WORK/log" 2>&1 || die "the packages are not made: $(tail -n 20 "$WORK/log")"
version=$(dpkg-parsechangelog -l appliance/debian/changelog -S Version)
architecture=$(dpkg --print-architecture)
gateway=$WORK/deb/ringgate_${version}_$architecture.deb server=$WORK/deb/ringgate-enrolld_${version}_$architecture.deb
for each in $gateway $server; do [ -s "$each" ] || die "$each was not made"; done
contents() { dpkg-deb --fsys-tarfile "$1" | tar -t | grep -v '/$'; }
[ -z "$( (contents "$gateway" && contents "$server") | sort | uniq -d)" ] || die "a file is in both packages"
for file in usr/sbin/ringgated usr/bin/ringgatectl usr/bin/ringgate-sim usr/share/man/man8/ringgated.8.gz; do
	contents "$gateway" | grep -qx "./$file" || die "ringgate has no $file"
done
contents "$gateway" | grep -q enrolld && contents "$gateway" | grep -qE 'sbin/ringgate-enrolld' && die "the server is in the gateway's package"
contents "$server" | grep -qx "./usr/sbin/ringgate-enrolld" || die "ringgate-enrolld has no daemon"
# Programs cannot be written but by root, and none gets a user or capabilities by being run.
dpkg-deb --fsys-tarfile "$gateway" | tar -tv | grep -E '^-..[sS]|^-.....[sS]|^.......[w]' | grep -v '^l' && die "modes above"
for each in "$gateway" "$server"; do
	[ "$(dpkg-deb -I "$each" conffiles | wc -l)" -eq 1 ] || die "$(basename "$each") does not have its settings file alone as conffile"
done
if command -v lintian >/dev/null; then
	# hardening: the programs were built without the flags of dpkg-buildflags.
	lintian --allow-root --fail-on error,warning --suppress-tags hardening-no-fortify-functions "$gateway" "$server" >"$WORK/lintian" 2>&1 ||
		die "$(<"$WORK/lintian")"
	said=", lintian says nothing"
else
	said=", lintian is missing"
fi

# ---- a copy of this machine's root, where writing changes nothing here

mkdir "$WORK/upper" "$WORK/work" "$WORK/root"
mount -t overlay -o "lowerdir=/,upperdir=$WORK/upper,workdir=$WORK/work" overlay "$WORK/root" 2>/dev/null || refuse "no overlay file system here"
root=$WORK/root
mount -t proc proc "$root/proc" && mount -t tmpfs tmpfs "$root/run" && mount -t tmpfs tmpfs "$root/tmp" || die "the root is not whole"
mount -t tmpfs -o mode=755 tmpfs "$root/sys" && mkdir -p "$root/sys/fs/bpf"
mount --rbind /dev "$root/dev"
mkdir "$root/run/deb"
cp "$WORK"/deb/*.deb "$root/run/deb/"
within() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 chroot "$root" "$@"; }
rm -rf "$root/etc/ringgate" "$root/var/lib/ringgate" "$root/var/lib/ringgate-enroll"
within dpkg --purge ringgate-enrolld ringgate >/dev/null 2>&1 # should this machine be a gateway

within dpkg -i "/run/deb/$(basename "$gateway")" "/run/deb/$(basename "$server")" >"$WORK/log" 2>&1 || die "install: $(tail -n 8 "$WORK/log")"
is() { [ "$(within stat -c '%U:%G %a' "$1" 2>&1)" = "$2" ] || die "$1 is $(within stat -c '%U:%G %a' "$1" 2>&1), not $2"; }
is /var/lib/ringgate "ringgate:ringgate 700"
is /var/lib/ringgate/users "ringgate:ringgate 700"
is /var/lib/ringgate-enroll "ringgate-enroll:ringgate-enroll 700"
is /sys/fs/bpf/ringgate "ringgate:ringgate 700"
is /etc/ringgate/ringgate.conf "root:root 644"
within ringgated --version | grep -qF "$version" || die "the daemon does not run"
# Nothing is enabled.
for unit in ringgated.service ringgated@.service ringgate-enrolld.service ringgate-enrolld.socket; do
	[ "$(within systemctl is-enabled $unit 2>/dev/null)" = disabled ] || die "$unit is enabled by the installation"
done
within systemd-analyze verify --man=no ringgated.service ringgated@other.service ringgate-enrolld.service >"$WORK/verify" 2>&1
grep -E 'ringgate' "$WORK/verify" | grep -vE 'standard output' && die "the units are not right"

# ---- upgrade: to the same packages with a higher version

for each in "$gateway" "$server"; do
	name=$(dpkg-deb -f "$each" Package)
	dpkg-deb -R "$each" "$WORK/new-$name" && sed -i "s/^Version: .*/Version: $version+upgrade/; s/(= $version)/(= $version+upgrade)/" "$WORK/new-$name/DEBIAN/control"
	dpkg-deb -b "$WORK/new-$name" "$root/run/deb/new-$name.deb" >/dev/null || die "no newer $name"
done
echo "# of the operator" >>"$root/etc/ringgate/ringgate.conf"
within sh -c 'echo secret >/var/lib/ringgate/node.key; echo secret >/etc/ringgate/enroll.password; mkdir /var/lib/ringgate-enroll/example.org; echo secret >/var/lib/ringgate-enroll/example.org/ca.key'
within systemctl enable ringgated.service >/dev/null 2>&1 || die "the service cannot be enabled"
within dpkg -i /run/deb/new-ringgate.deb /run/deb/new-ringgate-enrolld.deb >"$WORK/log" 2>&1 || die "upgrade: $(tail -n 8 "$WORK/log")"
[ "$(within dpkg-query -W -f '${Version}' ringgate)" = "$version+upgrade" ] || die "the upgrade did not happen"
tail -n 1 "$root/etc/ringgate/ringgate.conf" | grep -q operator || die "the upgrade replaced the operator's settings"
[ "$(within systemctl is-enabled ringgated.service 2>/dev/null)" = enabled ] || die "the upgrade disabled the service"
[ "$(within systemctl is-enabled ringgate-enrolld.socket 2>/dev/null)" = disabled ] || die "the upgrade enabled the server"
within test -s /var/lib/ringgate/node.key || die "the upgrade lost the key"

# ---- removal keeps state, purge removes it, but never the keys of an overlay

within dpkg -r ringgate-enrolld ringgate >"$WORK/log" 2>&1 || die "remove: $(tail -n 8 "$WORK/log")"
within test -s /var/lib/ringgate/node.key || die "removal lost the key"
within dpkg -P ringgate-enrolld ringgate >"$WORK/log" 2>&1 || die "purge: $(tail -n 8 "$WORK/log")"
grep -q "holds the keys of overlays and is kept" "$WORK/log" || die "purge does not say what it keeps"
within test -s /var/lib/ringgate-enroll/example.org/ca.key || die "purge removed the key of an overlay"
for each in /etc/ringgate /var/lib/ringgate /usr/sbin/ringgated /usr/bin/ringgatectl /usr/sbin/ringgate-enrolld; do
	within test -e $each && die "$each is still there after purge: $(within ls -la $each)"
done
within find /etc/systemd /var/lib/systemd -name '*ringgate*' | grep . && die "the files above are left after purge"
echo "installed, upgraded, removed and purged$said"
