/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ChaCha20, Poly1305 and the record layer of the fast path alone, run by tests/unit/fastpath/test_crypto.c with BPF_PROG_RUN. What
 * goes in and out lies in the one value of `checks`.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define FORWARD_FUNCTION __attribute__((noinline))
#include "aead.h"
#include "check/crypto_check.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct crypto_check);
} checks SEC(".maps");

/* The block of chacha. */
SEC("xdp")
int check_block(struct xdp_md *context) {
	__u32 zero = 0;
	struct crypto_check *check = bpf_map_lookup_elem(&checks, &zero);

	(void)context;
	return check && chacha20_block(&check->chacha);
}

/* A pad, and the text sealed with it. */
SEC("xdp")
int check_seal(struct xdp_md *context) {
	__u32 zero = 0, length;
	struct crypto_check *check = bpf_map_lookup_elem(&checks, &zero);

	(void)context;
	if (!check)
		return 0;
	length = check->length;
	if (length > FASTPATH_TEXT_MAX)
		return 0;
	aead_pad_key(&check->chacha, &check->pad, &check->record, check->number, 1);
	chacha20_pad_stream(&check->chacha, &check->pad, length);
	return aead_seal(&check->buffer, &check->poly, &check->pad, check->number, length);
}

/* Poly1305 of the record in the buffer, and its plaintext. */
SEC("xdp")
int check_open(struct xdp_md *context) {
	__u32 zero = 0, length;
	struct crypto_check *check = bpf_map_lookup_elem(&checks, &zero);

	(void)context;
	if (!check)
		return 0;
	length = check->length;
	if (length > FASTPATH_TEXT_MAX)
		return 0;
	aead_pad_key(&check->chacha, &check->pad, &check->record, check->number, 0);
	chacha20_pad_stream(&check->chacha, &check->pad, length);
	aead_additional_set(&check->poly, check->number, length);
	aead_pad_zeros(&check->buffer, length);
	poly1305_record(&check->buffer, &check->poly, &check->pad, length);
	return aead_xor(&check->buffer, &check->pad, length);
}

char _license[] SEC("license") = "Dual BSD/GPL";
