#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The verifier accepts the transit decision, and the kernel decides the table of spec/forwarding.md as userspace does.
# Prints "ok" or "SKIP reason"; status 0, 1 or 77.
set -u
cd "$(dirname "$0")/../.." || exit 1
CLANG=${CLANG:-clang}
CC=${CC:-gcc}

skip() {
	echo "SKIP $*"
	exit 77
}

fail() {
	echo "FAIL $*"
	exit 1
}

[ "$(id -u)" = 0 ] || skip "loading programs needs root"
for tool in "$CLANG" bpftool "$CC"; do
	command -v "$tool" >/dev/null || skip "$tool is not installed"
done
[ -e /usr/include/bpf/bpf_helpers.h ] || skip "libbpf-dev is not installed"
grep -qw bpf /proc/filesystems || skip "this kernel has no bpf file system"

directory=$(mktemp -d) || exit 1
cleanup() {
	mountpoint -q "$directory/bpffs" && umount "$directory/bpffs"
	rm -rf "$directory"
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM
mkdir "$directory/bpffs"
mount -t bpf bpf "$directory/bpffs" 2>/dev/null || skip "cannot mount a bpf file system"

"$CLANG" -target bpf -O2 -g -Wall -Wextra -Werror -Ibpf "-I/usr/include/$("$CC" -print-multiarch)" \
	-c bpf/check/forward_check.bpf.c -o "$directory/forward_check.bpf.o" || fail "the program does not compile"

# A program without anything in it tells a kernel that refuses all from a verifier that refuses ours.
printf '#include <linux/bpf.h>\n__attribute__((section("xdp"), used)) int empty(struct xdp_md *c) { return XDP_PASS; }\n' |
	"$CLANG" -target bpf -O2 -g "-I/usr/include/$("$CC" -print-multiarch)" -x c -c - -o "$directory/empty.o" || fail "clang"
bpftool prog load "$directory/empty.o" "$directory/bpffs/empty" type xdp >/dev/null 2>&1 || skip "this machine does not load programs"

if ! bpftool -d prog load "$directory/forward_check.bpf.o" "$directory/bpffs/forward_check" type xdp >"$directory/log" 2>&1; then
	tail -40 "$directory/log"
	fail "the verifier refuses the decision"
fi
sed -n 's/^processed \([0-9]*\) insns.*/# instructions verified: \1/p' "$directory/log" | tail -1

"$CC" -std=gnu17 -O2 -g -Wall -Wextra -Wno-missing-field-initializers -D_GNU_SOURCE -Iuserspace -Ibpf -Itests \
	-o "$directory/forward_prog_run" bpf/check/forward_prog_run.c tests/support/forward_cases.c userspace/base/octets.c -lbpf ||
	fail "the runner does not compile"
"$directory/forward_prog_run" "$directory/forward_check.bpf.o" || fail "the kernel decides differently"
echo ok
