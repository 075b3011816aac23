#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Makes the appliance from Debian 13, in $RINGGATE_IMAGE (default /var/tmp/ringgate-image), where what does not change is kept:
#   root/                 the root file system as a directory, for systemd-nspawn and containers   (build.sh root ends here)
#   ringgate_V.tar.zst    the same as an archive
#   ringgate_V.img.zst    the disk: EFI partition with systemd-boot and the kernel, root (erofs), its dm-verity tree
#   ringgate_V.img        the same, sparse, for virtual machines
#   ringgate_V.update     a signed update for machines that run a version before
#   SHA256SUMS
# The sources of packages are those of this machine's apt. The same packages and the same tree give the same octets: see docs/appliance.md.
#   build.sh disk                 makes the disk for virtual machines alone
#   build.sh update               makes the update alone
#   IMAGE_VERSION=0.2 build.sh    another version of the same tree, such as one to update to
#   PACKAGES=folder               packages of Ringgate that are there, instead of building them
#   UPDATE_KEY=file               private key (PEM) updates are signed with; made at the first build when it is not given
set -eu
WHAT=${1:-all}
case $WHAT in all | root | disk | update) ;; *) echo "build.sh makes all, root, disk or update" >&2; exit 2 ;; esac
cd "$(dirname "$0")/.."
TREE=$PWD
STORE=${RINGGATE_IMAGE:-/var/tmp/ringgate-image}
SUITE=trixie
VERSION=$(sed -n 's/^VERSION := //p' Makefile)
IMAGE_VERSION=${IMAGE_VERSION:-$VERSION}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date -d "$(dpkg-parsechangelog -l appliance/debian/changelog -S Date)" +%s)}
export LC_ALL=C.UTF-8 TZ=UTC PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" -eq 0 ] || { echo "Images are made as root." >&2; exit 1; }
[ "$(uname -m)" = x86_64 ] || { echo "Images are made on and for x86_64." >&2; exit 1; }
# Our mounts end with us, whatever happens.
[ "${INSIDE:-}" = yes ] || INSIDE=yes exec unshare -m --propagation private "$TREE/images/build.sh" "$@"
mkdir -p "$STORE"
exec 9>"$STORE/lock"
flock -n 9 || { echo "Another build works in $STORE." >&2; exit 1; }
WORK=$STORE/work
# An update is made beside the root that is there.
ROOT=$STORE/root
[ "$WHAT" != update ] || ROOT=$STORE/root-of-update
rm -rf "$WORK"
mkdir "$WORK"
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' HUP INT TERM

# Building Ringgate for Debian 13, and making file systems; nothing of this is in the image.
TOOLS=(gcc make pkgconf clang llvm libbpf-dev libmnl-dev libssl-dev libsystemd-dev libosip2-dev libxml2-dev libsqlite3-dev libjansson-dev
	uthash-dev bpftool libmicrohttpd-dev libcurl4-openssl-dev libc-ares-dev libinih-dev build-essential debhelper erofs-utils mtools
	dosfstools systemd-ukify systemd-boot-efi systemd cryptsetup-bin zstd cpio busybox-static kmod python3 fdisk)
# What the image has besides what Ringgate's packages need.
BASE=(systemd systemd-sysv udev dbus-broker systemd-timesyncd systemd-resolved systemd-repart systemd-boot-tools nftables iproute2 kmod
	e2fsprogs fdisk zstd ca-certificates openssh-server openssh-client libnss-systemd login passwd openssl less nano iputils-ping tcpdump
	libbpf1 libc-ares2 libcurl4t64 libjansson4 libmnl0 libosip2-15t64 libsqlite3-0 libssl3t64 libxml2 libmicrohttpd12t64 libinih1)

say() { printf '%3d s  %s\n' "$SECONDS" "$*"; }
source_of_packages() {
	apt-get indextargets --format '$(CREATED_BY)|$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 2>/dev/null |
		awk -F'|' '$1 == "Packages" && $2 == "Debian" && $3 == "Debian" && $4 == "main" { print $5; exit }'
}
SOURCE=$(source_of_packages)
[ -n "$SOURCE" ] || { echo "This machine's apt has no source of Debian packages." >&2; exit 1; }
LINE="deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $SOURCE $SUITE main"
# kept NAME HASH-OF-INPUTS: whether what is kept under NAME was made from these.
kept() { [ -e "$STORE/$1" ] && [ "$(cat "$STORE/$1.made-of" 2>/dev/null)" = "$2" ]; }
keep() { rm -rf "${STORE:?}/$1" && mv "$WORK/$1" "$STORE/$1" && echo "$2" >"$STORE/$1.made-of"; }
digest() { sha256sum | cut -d' ' -f1; }
inside() { # ROOT COMMAND…
	local root=$1
	shift
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TZ=UTC DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" \
		HOME=/root chroot "$root" "$@"
}
mounted() { mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && mount -t tmpfs tmpfs "$1/tmp"; }
unmounted() { umount "$1/proc" "$1/dev" "$1/tmp"; }
logged() { "$@" >"$WORK/log" 2>&1 || { tail -n 20 "$WORK/log" >&2; exit 1; }; }

make_tools() {
	local of
	of=$(printf '%s\n' "$SUITE" "${TOOLS[@]}" | digest)
	kept tools "$of" && return
	say "tools of Debian 13"
	logged mmdebstrap --variant=apt --include="$(IFS=,; echo "${TOOLS[*]}")" --aptopt='APT::Install-Recommends "false"' "$SUITE" "$WORK/tools" "$LINE"
	keep tools "$of"
}

# What the packages are made from.
files_of_tree() { find Makefile LICENSE bpf userspace docs/man appliance -type f ! -name '*.swp' | sort; }

# Packages of Ringgate, made in the tools tree from the files of this tree.
make_packages() {
	local of each
	if [ -n "${PACKAGES:-}" ]; then
		rm -rf "$STORE/packages" "$STORE/packages.made-of" && mkdir "$STORE/packages" && cp "$PACKAGES"/*.deb "$STORE/packages/"
		return
	fi
	of=$({ cat "$STORE/tools.made-of"; files_of_tree | xargs sha256sum; } | digest)
	kept packages "$of" && return
	say "packages of Ringgate"
	mkdir -p "$STORE/tools/src" "$WORK/packages" "$WORK/src"
	files_of_tree | tar -cf - -T - | tar -xf - -C "$WORK/src"
	mount --bind "$WORK/src" "$STORE/tools/src"
	mounted "$STORE/tools"
	mkdir -p "$STORE/tools/packages"
	mount --bind "$WORK/packages" "$STORE/tools/packages"
	logged inside "$STORE/tools" env DEB_BUILD_OPTIONS=noautodbgsym JOBS="${JOBS:-2}" /src/appliance/build-deb.sh /packages
	umount "$STORE/tools/packages" "$STORE/tools/src"
	unmounted "$STORE/tools"
	keep packages "$of"
}

make_debian() {
	local of
	of=$(printf '%s\n' "$SUITE" "${BASE[@]}" | digest)
	kept debian "$of" && return
	say "base of Debian 13"
	logged mmdebstrap --variant=essential --include="$(IFS=,; echo "${BASE[*]}")" --aptopt='APT::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \
		--skip=cleanup/apt/lists "$SUITE" "$WORK/debian" "$LINE"
	keep debian "$of"
}

# The minimal Debian, and the package of the kernel unpacked: nobody needs its scripts here.
make_base() {
	local of kernel each
	of=$({ cat "$STORE/debian.made-of"; declare -f prune_kernel make_base; } | digest)
	kept base "$of" && return
	say "kernel of Debian 13"
	kernel=$(apt_of "$STORE/debian" apt-cache depends linux-image-amd64 | awk '/Depends:/ { print $2; exit }')
	[ -n "$kernel" ] || { echo "$SUITE has no kernel." >&2; exit 1; }
	mkdir -p "$STORE/kernel"
	for each in "$kernel" systemd-boot; do
		[ -e "$STORE/kernel/$each.deb" ] && [ "$STORE/kernel/$each.deb" -nt "$STORE/debian.made-of" ] && continue
		(cd "$WORK" && logged apt_of "$STORE/debian" apt-get download -qq "$each")
		mv "$WORK/$each"_*.deb "$STORE/kernel/$each.deb"
		touch "$STORE/kernel/$each.deb"
	done
	cp -a "$STORE/debian" "$WORK/base"
	dpkg-deb -x "$STORE/kernel/$kernel.deb" "$WORK/base"
	# systemd-bless-boot, without the scripts that would install a boot loader here.
	dpkg-deb --fsys-tarfile "$STORE/kernel/systemd-boot.deb" | tar -C "$WORK/base" -xf - ./usr/lib/systemd
	rm -rf "$WORK/base/var/lib/apt/lists"/*
	prune_kernel "$WORK/base"
	keep base "$of"
}

# apt of this machine with the lists of the other root.
apt_of() {
	local root=$1
	shift
	"$@" -o Dir="$root" -o Dir::Etc="$root/etc/apt" -o Dir::State="$root/var/lib/apt" -o Dir::State::status="$root/var/lib/dpkg/status" \
		-o Dir::Cache="$root/var/cache/apt" -o APT::Sandbox::User=root
}

# Drivers a gateway has no use for are most of the kernel's package.
prune_kernel() {
	local root=$1 modules=$1/usr/lib/modules each
	modules=$(echo "$modules"/*)
	for each in sound drivers/gpu drivers/media drivers/iio drivers/staging drivers/infiniband drivers/isdn drivers/bluetooth net/bluetooth \
		drivers/net/wireless net/wireless net/mac80211 drivers/comedi drivers/video drivers/input/touchscreen drivers/input/joystick \
		drivers/input/tablet drivers/hwmon drivers/rtc drivers/mfd drivers/power drivers/thunderbolt drivers/accel drivers/mtd drivers/w1 \
		drivers/leds drivers/target drivers/nfc net/nfc net/can drivers/net/can drivers/pcmcia drivers/parport drivers/gnss drivers/extcon \
		drivers/soundwire drivers/edac drivers/spi drivers/i2c drivers/usb/gadget drivers/usb/serial drivers/usb/misc drivers/uio \
		fs/ocfs2 fs/gfs2 fs/ceph fs/smb fs/nfs fs/nfsd fs/btrfs fs/xfs fs/jfs fs/f2fs fs/ubifs fs/jffs2 fs/bcachefs fs/afs fs/orangefs fs/9p \
		fs/ntfs3 fs/hfs fs/hfsplus fs/udf fs/reiserfs fs/nilfs2 fs/dlm fs/coda fs/ecryptfs net/ceph net/sunrpc net/sctp net/tipc net/rds \
		net/ax25 net/netrom net/rose net/batman-adv net/openvswitch net/9p net/dccp net/atm drivers/atm drivers/fpga drivers/counter \
		drivers/platform/x86 drivers/firewire drivers/md/bcache drivers/md/persistent-data drivers/md/dm-vdo drivers/block/drbd drivers/scsi/lpfc \
		drivers/scsi/qla2xxx drivers/scsi/bfa drivers/net/ethernet/mellanox/mlxsw drivers/net/wwan drivers/net/hamradio drivers/net/arcnet \
		drivers/net/ieee802154 drivers/net/thunderbolt drivers/crypto drivers/xen drivers/nvdimm drivers/dax drivers/cxl drivers/ntb \
		arch/x86/kvm virt drivers/vfio drivers/vhost drivers/input/mouse drivers/input/misc; do
		rm -rf "${modules:?}/kernel/$each"
	done
	rm -f "$root"/boot/System.map-* "$root"/boot/config-*
	mv "$root"/boot/vmlinuz-* "$modules/vmlinuz"
	inside "$root" depmod "$(basename "$modules")"
}

make_root() {
	say "root"
	cp -a "$STORE/base" "$WORK/root"
	local root=$WORK/root
	mounted "$root"
	cp "$STORE"/packages/*.deb "$root/tmp/"
	logged inside "$root" dpkg -i --force-not-root --no-triggers $(cd "$root" && ls tmp/*.deb | grep -v -e dbgsym -e enrolld | sed 's|^|/|')
	logged inside "$root" dpkg --configure --pending
	cp -a --no-preserve=ownership images/tree/. "$root/"
	make_key
	openssl pkey -in "$KEY" -pubout -out "$root/usr/lib/ringgate/update.pem"
	finish_root "$root"
	unmounted "$root"
	# All that differs from build to build although nothing else does.
	rm -rf "$root"/var/log/* "$root"/var/cache/* "$root"/var/lib/apt "$root"/var/lib/dpkg/*-old "$root"/etc/*- "$root"/run/* "$root"/tmp/* \
		"$root"/var/lib/systemd/random-seed "$root"/var/lib/systemd/catalog "$root"/var/tmp/* "$root"/etc/apt/sources.list* "$root"/root/.[a-z]* \
		"$root"/etc/ssh/ssh_host_* "$root"/etc/ssl/private/*
	find "$root" -name __pycache__ -prune -exec rm -rf {} +
	mkdir -p "$root/efi" "$root/var/tmp" "$root/var/log" "$root/var/cache" "$root/var/spool"
	chmod 1777 "$root/var/tmp"
	: >"$root/etc/machine-id"
	find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	rm -rf "${ROOT:?}" && mv "$root" "$ROOT"
}

finish_root() {
	local root=$1
	rm -f "$root/etc/os-release"
	sed -E 's/^PRETTY_NAME=.*/PRETTY_NAME="Ringgate '"$IMAGE_VERSION"' (Debian 13)"/' "$root/usr/lib/os-release" >"$WORK/os-release"
	printf 'IMAGE_ID=ringgate\nIMAGE_VERSION=%s\n' "$IMAGE_VERSION" >>"$WORK/os-release"
	cp "$WORK/os-release" "$root/usr/lib/os-release"
	ln -s ../usr/lib/os-release "$root/etc/os-release"
	echo ringgate >"$root/etc/hostname"
	printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >"$root/etc/hosts"
	ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
	ln -sf /usr/share/zoneinfo/UTC "$root/etc/localtime"
	inside "$root" passwd -l root >"$WORK/log" 2>&1
	inside "$root" systemctl preset-all >"$WORK/log" 2>&1
	# Consoles have the status page; what others find out at each start is known here.
	mkdir -p "$root/usr/lib/systemd/system/multi-user.target.wants"
	for each in tty1 ttyS0; do
		ln -sf ../ringgate-status@.service "$root/usr/lib/systemd/system/multi-user.target.wants/ringgate-status@$each.service"
	done
	ln -sf multi-user.target "$root/usr/lib/systemd/system/default.target"
	for each in getty@ serial-getty@ console-getty systemd-repart systemd-firstboot ldconfig systemd-sysusers systemd-boot-random-seed \
		systemd-journal-catalog-update systemd-update-done systemd-hwdb-update systemd-pcrphase systemd-pcrphase-sysinit systemd-pcrmachine \
		systemd-tpm2-setup systemd-tpm2-setup-early systemd-network-generator systemd-machine-id-commit systemd-binfmt systemd-hibernate-clear; do
		ln -sf /dev/null "$root/etc/systemd/system/$each.service"
	done
	for each in systemd-bootctl.socket systemd-creds.socket systemd-hostnamed.socket systemd-initctl.socket systemd-pcrextend.socket \
		systemd-pcrlock.socket systemd-sysext.socket sys-fs-fuse-connections.mount dev-hugepages.mount sys-kernel-debug.mount \
		sys-kernel-tracing.mount sys-kernel-config.mount modprobe@drm.service proc-sys-fs-binfmt_misc.automount systemd-ask-password-console.path systemd-ask-password-wall.path; do
		ln -sf /dev/null "$root/etc/systemd/system/$each"
	done
	mkdir -p "$root/etc/systemd/system-generators"
	for each in gpt-auto ssh hibernate-resume rc-local system-update sysv tpm2 getty; do
		ln -sf /dev/null "$root/etc/systemd/system-generators/systemd-$each-generator"
	done
	# The first start finds /var empty.
	cat >"$root/usr/lib/tmpfiles.d/ringgate-appliance.conf" <<-'CONF'
		d /var/lib 0755 root root -
		d /var/log 0755 root root -
		d /var/cache 0755 root root -
		d /var/spool 0755 root root -
		d /var/tmp 1777 root root 10d
		d /var/lib/ringgate-appliance 0700 root root -
		L /var/run - - - - ../run
	CONF
}

make_key() {
	KEY=${UPDATE_KEY:-$STORE/update.key}
	[ -s "$KEY" ] || (umask 077 && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$KEY" 2>/dev/null)
}

# busybox, veritysetup, blkid and the modules for disks; files in the order of their names, so that it is the same each time.
make_initrd() {
	local out=$WORK/initrd modules each name
	mkdir -p "$out"/{bin,lib,lib64,proc,sys,dev,run,sysroot}
	# The kernel itself asks for modules, too, with /sbin/modprobe.
	ln -s bin "$out/sbin"
	cp images/initrd/init "$out/init"
	chmod 755 "$out/init"
	cp "$STORE/tools/usr/bin/busybox" "$out/bin/"
	for each in usr/sbin/veritysetup usr/sbin/blkid; do
		cp "$STORE/tools/$each" "$out/bin/"
		inside "$STORE/tools" ldd "/$each" | grep -oE '/[^ ]+' | while read -r name; do cp -nL "$STORE/tools$name" "$out/lib/"; done
	done
	mv "$out"/lib/ld-linux-x86-64.so.2 "$out/lib64/"
	modules=$(basename "$ROOT"/usr/lib/modules/*)
	mkdir -p "$out/lib/modules/$modules/kernel"
	local from=$ROOT/usr/lib/modules/$modules
	# Drivers of disks and file systems, by the names of their modules or whole folders, and what they need.
	for each in virtio_pci virtio_mmio virtio_blk virtio_scsi sd_mod nvme ahci ata_piix ata_generic pata_acpi usb-storage uas xhci-pci ehci-pci ohci-pci \
		uhci-hcd mmc_block sdhci-pci sdhci-acpi hv_storvsc hv_vmbus vmw_pvscsi mptspi megaraid_sas mpt3sas aacraid hpsa smartpqi 3w-sas \
		dm-mod dm-verity erofs ext4 overlay vfat nls_cp437 nls_ascii nls_iso8859-1 nls_utf8 crc32c_generic crc32c_intel sha256_generic; do
		name=$(find "$from/kernel" -name "${each//-/[_-]}.ko.xz" -o -name "${each//_/[_-]}.ko.xz" | head -n 1)
		[ -n "$name" ] || continue # some are part of the kernel
		echo "${name#"$from/"}"
		sed -n "s|^${name#"$from/"}: *||p" "$from/modules.dep" | tr ' ' '\n'
	done | sed '/^$/d' | sort -u >"$WORK/modules"
	while read -r name; do
		mkdir -p "$out/lib/modules/$modules/$(dirname "$name")"
		cp -a "$from/$name" "$out/lib/modules/$modules/$name"
	done <"$WORK/modules"
	cp "$from"/modules.{order,builtin,builtin.modinfo} "$out/lib/modules/$modules/"
	# The cpio is compressed as a whole, and modprobe of busybox reads plain modules.
	find "$out/lib/modules" -name '*.ko.xz' -exec xz -d {} +
	inside "$STORE/tools" depmod -b /work/initrd "$modules"
	find "$out" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	inside "$STORE/tools" sh -c "cd /work/initrd && find . -mindepth 1 -printf '%P\n' | sort | cpio -o -H newc --reproducible --quiet -R 0:0" |
		zstd -q -12 -T2 >"$WORK/initrd.zst"
}

# uuid_of WORD: the same for the same version.
uuid_of() { echo "ringgate $IMAGE_VERSION $1" | sha256sum | sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/\1-\2-4\3-8\4-\5/'; }
half() { echo "${1:$2:32}" | sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12})$/\1-\2-\3-\4-\5/'; }

make_disk() {
	local name=$STORE/ringgate_$IMAGE_VERSION hash kernel
	say "file system, dm-verity"
	mounted "$STORE/tools"
	mkdir -p "$STORE/tools/work"
	mount --bind "$WORK" "$STORE/tools/work"
	mkdir -p "$STORE/tools/root-of-image"
	mount --bind "$ROOT" "$STORE/tools/root-of-image"
	logged inside "$STORE/tools" mkfs.erofs -T"$SOURCE_DATE_EPOCH" -U"$(uuid_of root)" -zlz4hc,9 -C65536 /work/root.erofs /root-of-image
	umount "$STORE/tools/root-of-image"
	logged inside "$STORE/tools" veritysetup format --uuid="$(uuid_of verity)" --salt="$(echo "$IMAGE_VERSION" | digest)" /work/root.erofs /work/root.verity
	hash=$(sed -n 's/^Root hash:[[:space:]]*//p' "$WORK/log")
	say "kernel and initrd"
	make_initrd
	kernel=$(echo "$ROOT"/usr/lib/modules/*/vmlinuz)
	cp "$kernel" "$WORK/vmlinuz"
	cp "$ROOT/usr/lib/os-release" "$WORK/os-release"
	logged inside "$STORE/tools" ukify build --linux=/work/vmlinuz --initrd=/work/initrd.zst --os-release=@/work/os-release \
		--cmdline="roothash=$hash console=tty0 console=ttyS0,115200 panic=10 quiet loglevel=4 rd.systemd.show_status=false" --output=/work/uki.efi
	say "disk"
	mkdir -p "$WORK/esp/EFI/BOOT" "$WORK/esp/EFI/systemd" "$WORK/esp/EFI/Linux" "$WORK/esp/loader"
	cp "$STORE/tools/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$WORK/esp/EFI/BOOT/BOOTX64.EFI"
	cp "$WORK/uki.efi" "$WORK/esp/EFI/Linux/ringgate_$IMAGE_VERSION.efi"
	printf 'timeout 0\nconsole-mode keep\neditor no\n' >"$WORK/esp/loader/loader.conf"
	find "$WORK/esp" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
	truncate -s 320M "$WORK/esp.img"
	logged inside "$STORE/tools" mkfs.vfat --invariant -F32 -n RINGGATEEFI -i 6084ca11 /work/esp.img
	logged inside "$STORE/tools" sh -c 'cd /work/esp && mcopy -spmQ -i /work/esp.img EFI loader ::/'
	# 1 MB, 320 MB for EFI, slots of 512 and 16 MB, and the end of the table: slot b and state are made at the first start.
	truncate -s 852M "$WORK/disk.img"
	cat >"$WORK/table" <<-TABLE
		label: gpt
		label-id: $(uuid_of disk)
		unit: sectors
		first-lba: 2048
		start=2048, size=655360, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=$(uuid_of esp), name=ringgate-esp
		start=657408, size=1048576, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=$(half "$hash" 0), name=ringgate-a
		start=1705984, size=32768, type=2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5, uuid=$(half "$hash" 32), name=ringgate-a-verity
	TABLE
	logged inside "$STORE/tools" sh -c 'sfdisk -q /work/disk.img </work/table'
	dd if="$WORK/esp.img" of="$WORK/disk.img" bs=1M seek=1 conv=notrunc,sparse status=none
	dd if="$WORK/root.erofs" of="$WORK/disk.img" bs=1M seek=321 conv=notrunc,sparse status=none
	dd if="$WORK/root.verity" of="$WORK/disk.img" bs=1M seek=833 conv=notrunc,sparse status=none
	umount "$STORE/tools/work"
	unmounted "$STORE/tools"
	say "archives"
	[ "$WHAT" = disk ] || make_update "$name.update" "$hash"
	[ "$WHAT" != update ] || return 0
	[ "$WHAT" = disk ] || zstd -q -f -T2 -15 "$WORK/disk.img" -o "$name.img.zst"
	mv "$WORK/disk.img" "$name.img"
}

make_update() {
	local out=$1 hash=$2 member
	for member in root:root.erofs verity:root.verity; do zstd -q -f -T2 -15 "$WORK/${member#*:}" -o "$WORK/${member%:*}.zst"; done
	{
		printf 'version = %s\narchitecture = %s\nroothash = %s\n' "$IMAGE_VERSION" "$(uname -m)" "$hash"
		for member in root:root.erofs verity:root.verity uki:uki.efi; do
			printf '%s-size = %s\n%s-sha256 = %s\n' "${member%:*}" "$(stat -c %s "$WORK/${member#*:}")" "${member%:*}" "$(digest <"$WORK/${member#*:}")"
		done
	} >"$WORK/manifest"
	openssl dgst -sha256 -sign "$KEY" -out "$WORK/manifest.sig" "$WORK/manifest"
	tar -C "$WORK" --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf "$out" manifest manifest.sig root.zst verity.zst uki.efi
}

make_tools
make_packages
make_debian
make_base
make_root
[ "$WHAT" != root ] || { say "root in $ROOT"; exit 0; }
[ "$WHAT" != all ] || tar -C "$ROOT" --sort=name --numeric-owner -cf - . | zstd -q -f -T2 -12 -o "$STORE/ringgate_$IMAGE_VERSION.tar.zst"
make_disk
[ "$WHAT" != disk ] || { say "disk in $STORE/ringgate_$IMAGE_VERSION.img"; exit 0; }
[ "$WHAT" != update ] || { say "update in $STORE/ringgate_$IMAGE_VERSION.update"; exit 0; }
(cd "$STORE" && sha256sum "ringgate_$IMAGE_VERSION".{tar.zst,img.zst,img,update} >SHA256SUMS)
say "done:"
(cd "$STORE" && ls -l --block-size=1MB "ringgate_$IMAGE_VERSION".{tar.zst,img.zst,img,update} | awk '{ printf "       %5d MB  %s\n", $5, $NF }')
