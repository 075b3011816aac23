/* SPDX-License-Identifier: BSD-2-Clause */
#include "support/fastpath_bpf.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Loads "return XDP_PASS", so that a kernel that refuses every program is told from a verifier that refuses ours. */
const char *fastpath_unavailable(void) {
	static const struct bpf_insn instructions[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	static const char license[] = "Dual BSD/GPL";
	union bpf_attr attributes;

	if (geteuid() != 0)
		return "loading kernel programs needs root";
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		return "this kernel has no BTF";
	memset(&attributes, 0, sizeof(attributes));
	attributes.prog_type = BPF_PROG_TYPE_XDP;
	attributes.insns = (uint64_t)(uintptr_t)instructions;
	attributes.insn_cnt = sizeof(instructions) / sizeof(instructions[0]);
	attributes.license = (uint64_t)(uintptr_t)license;
	long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
	if (fd < 0)
		return errno == EPERM ? "this process may not load kernel programs" : "this kernel does not load programs";
	close((int)fd);
	return NULL;
}
