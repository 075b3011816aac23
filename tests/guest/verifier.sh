#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The verifier of another kernel, by default that of Debian 13: its package is fetched from the machine's own package source and booted in
# a virtual machine (software emulation will do) that holds nothing but the tests of the kernel program. There the program is loaded,
# attached to virtual interfaces and compared with userspace message by message, as tests/unit/fastpath does here.
#
#   GUEST=1 tests/guest/verifier.sh    called by `make check-guest`; without GUEST=1 it only says so
#   SUITE=trixie FASTPATH_MESSAGES=4000 LIMIT=900     what else it can be told by the environment
#
# Ends with status 0, 1, or 77 after a last line "SKIP: reason".
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
SUITE=${SUITE:-trixie}
LIMIT=${LIMIT:-900}
MESSAGES=${FASTPATH_MESSAGES:-4000}
TESTS=(test_crypto test_program test_links test_shield test_live)
STORE=$BUILD/guest/$SUITE

refuse() {
	echo "SKIP: $1"
	exit 77
}
die() {
	echo "FAILED: $*"
	exit 1
}

[ "${GUEST:-}" = 1 ] || refuse "boots another kernel, which takes a minute: make check-guest"
[ "$(uname -m)" = x86_64 ] || refuse "the guest is for x86_64"
for tool in qemu-system-x86_64 busybox cpio xz apt-get dpkg-deb ip bpftool; do
	command -v "$tool" >/dev/null || refuse "$tool is missing (make check-guest installs what is needed)"
done
busybox --list | grep -qx insmod || refuse "this busybox has no insmod (package busybox-static)"
for test in "${TESTS[@]}"; do
	[ -x "$BUILD/unit/fastpath/$test" ] || die "$BUILD/unit/fastpath/$test is not built (make check-guest does)"
done
WORK=$(mktemp -d /tmp/ringgate.XXXXXX) || exit 1
emulator=
trap '[ -z "$emulator" ] || kill "$emulator" 2>/dev/null; rm -rf "$WORK"' EXIT
trap 'exit 130' HUP INT TERM

# ---- the kernel, by a package list of its own: nothing of this machine's is touched ----

mkdir -p "$STORE" "$WORK/apt/lists/partial" "$WORK/apt/archives/partial"
source=$(apt-get indextargets --format '$(CREATED_BY)|$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 2>/dev/null |
	awk -F'|' '$1 == "Packages" && $2 == "Debian" && $3 == "Debian" && $4 == "main" { print $5; exit }')
[ -n "$source" ] || refuse "this machine has no source of Debian packages"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $source $SUITE main" >"$WORK/apt/sources.list"
: >"$WORK/apt/status"
cat >"$WORK/apt/apt.conf" <<-CONF
	Dir::State "$WORK/apt";
	Dir::State::status "$WORK/apt/status";
	Dir::Cache "$WORK/apt";
	Dir::Etc::sourcelist "$WORK/apt/sources.list";
	Dir::Etc::sourceparts "/dev/null";
	Acquire::Languages "none";
	APT::Architecture "amd64";
	APT::Sandbox::User "root";
CONF
apt_of_suite() { APT_CONFIG=$WORK/apt/apt.conf "$@" </dev/null; }
apt_of_suite apt-get update >"$WORK/apt.log" 2>&1 || refuse "the package source has no suite $SUITE, or does not answer"
package=$(apt_of_suite apt-cache depends linux-image-amd64 | awk '/Depends:/ { print $2; exit }')
[ -n "$package" ] || die "no kernel package in $SUITE"
if [ ! -s "$STORE/$package.deb" ]; then
	rm -rf "$STORE" && mkdir -p "$STORE"
	(cd "$WORK/apt" && apt_of_suite apt-get download "$package" >>"$WORK/apt.log" 2>&1) || die "$package cannot be fetched"
	mv "$WORK/apt/$package"_*.deb "$STORE/$package.deb" || die "$package was not fetched"
fi
root=$WORK/root
mkdir -p "$root"/{bin,dev,etc,modules,proc,run,sys,tests,tmp,var/run} "$WORK/kernel"
dpkg-deb --fsys-tarfile "$STORE/$package.deb" | tar -x -C "$WORK/kernel" --wildcards './boot/vmlinuz-*' '*/drivers/net/veth.ko*' '*/8021q.ko*' \
	'*/802/*.ko*' '*/llc/llc.ko*' || die "the kernel package cannot be unpacked"
kernel=$(echo "$WORK"/kernel/boot/vmlinuz-*)
find "$WORK/kernel" -name '*.ko.xz' -exec xz -d {} +
find "$WORK/kernel" -name '*.ko' -exec mv {} "$root/modules/" \;

# ---- a root of tests ----

cp "$(command -v busybox)" "$root/bin/busybox"
for applet in mount sysctl insmod poweroff uname timeout grep tail; do ln -s busybox "$root/bin/$applet"; done
copy_with_libraries() {
	local library
	cp "$1" "$root/$2" || die "no $1"
	ldd "$1" | grep -o '/[^ ]*' | while read -r library; do
		mkdir -p "$root$(dirname "$library")"
		cp -Ln "$library" "$root$library"
	done
}
copy_with_libraries "$(command -v ip)" bin/ip
copy_with_libraries "$(realpath "$(command -v sh)")" bin/sh # the shell of busybox takes its own ip
copy_with_libraries "$(command -v bpftool)" bin/bpftool
for test in "${TESTS[@]}"; do copy_with_libraries "$BUILD/unit/fastpath/$test" "tests/$test"; done
cp "$BUILD/bpf/ringgate.bpf.o" "$root/tests/"
cat >"$root/init" <<-INIT
	#!/bin/sh
	export PATH=/bin FASTPATH_MESSAGES=$MESSAGES
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t devtmpfs devtmpfs /dev
	mount -t tmpfs tmpfs /tmp
	mount -t tmpfs tmpfs /run
	mount -t bpf bpf /sys/fs/bpf
	for module in llc stp mrp garp veth 8021q; do [ ! -e /modules/\$module.ko ] || insmod /modules/\$module.ko; done
	echo "kernel: \$(uname -r)"
	for test in ${TESTS[*]}; do
	        echo "begin: \$test"
	        timeout 600 /tests/\$test 2>&1
	        echo "status: \$test \$?"
	done
	# What it has against the program; its whole log takes minutes here.
	bpftool prog loadall /tests/ringgate.bpf.o /sys/fs/bpf/guest >/tmp/verifier 2>&1
	echo "verifier: status \$?"
	[ -e /sys/fs/bpf/guest ] || tail -n 60 /tmp/verifier
	echo "end of tests"
	poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) >"$WORK/root.cpio" || die "no file system for the guest"

# ---- run it ----

# Without CMPXCHG16B: the emulation of QEMU 7.2 has a defect there that stops kernels from 6.12 on.
timeout "$LIMIT" qemu-system-x86_64 -accel tcg,thread=multi -cpu max,-cx16 -smp 2 -m 1024 -nodefaults -no-reboot -display none \
	-serial file:"$WORK/console" -kernel "$kernel" -initrd "$WORK/root.cpio" -append "console=ttyS0 quiet panic=-1 no_timer_check" </dev/null &
emulator=$!
wait "$emulator"
status=$?
emulator=
tr -d '\r' <"$WORK/console" >"$STORE/console.log"
[ $status -ne 124 ] || die "not done after $LIMIT seconds, see $STORE/console.log"
grep -q '^end of tests' "$STORE/console.log" || {
	tail -n 15 "$STORE/console.log"
	die "the guest ended before the tests did"
}
release=$(sed -n 's/^kernel: //p' "$STORE/console.log")
grep '^# verified' "$STORE/console.log"
failed=0 passed=0
for test in "${TESTS[@]}"; do
	if grep -q "^status: $test 0\$" "$STORE/console.log"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "$test fails on $release"
	fi
done
passed_tests=$(grep -c '^\[       OK \]' "$STORE/console.log")
skipped=$(grep -c 'SKIPPED \] [^0-9]' "$STORE/console.log")
grep -E '^\[ +FAILED|^SKIP|verifier' "$STORE/console.log" | sort -u
[ $failed -eq 0 ] || die "$failed of ${#TESTS[@]} test programs on Linux $release, see $STORE/console.log"
[ "$passed_tests" -gt 0 ] && [ "$skipped" -eq 0 ] || die "$skipped tests were skipped on Linux $release, $passed_tests ran"
echo "Linux $release: the verifier accepts the program, $passed_tests tests pass"
