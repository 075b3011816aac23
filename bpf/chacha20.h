/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ChaCha20 (RFC 8439 2.3, 2.4) for records without a pad: makes the pad here. Global functions, which the verifier looks at once,
 * however often they are called.
 */
#pragma once

#include "fastpath.h"

#ifndef FORWARD_FUNCTION
#define FORWARD_FUNCTION __attribute__((noinline))
#endif

/* A block function's input and output. */
struct chacha20 {
	__u32 key[8];
	__u32 counter;
	__u32 nonce[3];
	__u64 block[8];
};

#define CHACHA20_ROTATE(v, n) ((v) << (n) | (v) >> (32 - (n)))
#define CHACHA20_QUARTER(a, b, c, d)                                                                                               \
	a += b;                                                                                                                    \
	d ^= a;                                                                                                                    \
	d = CHACHA20_ROTATE(d, 16);                                                                                                \
	c += d;                                                                                                                    \
	b ^= c;                                                                                                                    \
	b = CHACHA20_ROTATE(b, 12);                                                                                                \
	a += b;                                                                                                                    \
	d ^= a;                                                                                                                    \
	d = CHACHA20_ROTATE(d, 8);                                                                                                 \
	c += d;                                                                                                                    \
	b ^= c;                                                                                                                    \
	b = CHACHA20_ROTATE(b, 7)

/* Fills c->block with the block of c->counter. */
FORWARD_FUNCTION int chacha20_block(struct chacha20 *c) {
	if (!c)
		return 0;

	__u32 x0 = 0x61707865, x1 = 0x3320646e, x2 = 0x79622d32, x3 = 0x6b206574;
	__u32 x4 = c->key[0], x5 = c->key[1], x6 = c->key[2], x7 = c->key[3];
	__u32 x8 = c->key[4], x9 = c->key[5], x10 = c->key[6], x11 = c->key[7];
	__u32 x12 = c->counter, x13 = c->nonce[0], x14 = c->nonce[1], x15 = c->nonce[2];

	for (int i = 0; i < 10; i++) {
		CHACHA20_QUARTER(x0, x4, x8, x12);
		CHACHA20_QUARTER(x1, x5, x9, x13);
		CHACHA20_QUARTER(x2, x6, x10, x14);
		CHACHA20_QUARTER(x3, x7, x11, x15);
		CHACHA20_QUARTER(x0, x5, x10, x15);
		CHACHA20_QUARTER(x1, x6, x11, x12);
		CHACHA20_QUARTER(x2, x7, x8, x13);
		CHACHA20_QUARTER(x3, x4, x9, x14);
	}
#define CHACHA20_PAIR(low, high) ((__u64)(__u32)(high) << 32 | (__u32)(low))
	c->block[0] = CHACHA20_PAIR(x0 + 0x61707865, x1 + 0x3320646e);
	c->block[1] = CHACHA20_PAIR(x2 + 0x79622d32, x3 + 0x6b206574);
	c->block[2] = CHACHA20_PAIR(x4 + c->key[0], x5 + c->key[1]);
	c->block[3] = CHACHA20_PAIR(x6 + c->key[2], x7 + c->key[3]);
	c->block[4] = CHACHA20_PAIR(x8 + c->key[4], x9 + c->key[5]);
	c->block[5] = CHACHA20_PAIR(x10 + c->key[6], x11 + c->key[7]);
	c->block[6] = CHACHA20_PAIR(x12 + c->counter, x13 + c->nonce[0]);
	c->block[7] = CHACHA20_PAIR(x14 + c->nonce[1], x15 + c->nonce[2]);
#undef CHACHA20_PAIR
	return 1;
}

/* The keystream of a pad for `length` octets of plaintext, for key and nonce in `c` (RFC 8439 2.8). */
FORWARD_FUNCTION int chacha20_pad_stream(struct chacha20 *c, struct fastpath_pad *pad, __u32 length) {
	__u64 *out;

	if (!c || !pad)
		return 0;
	out = (__u64 *)pad->keystream;
	for (__u32 i = 0; i < FASTPATH_TEXT_MAX / 64; i++) {
		if (i * 64 >= length)
			break;
		c->counter = i + 1;
		chacha20_block(c);
		for (__u32 j = 0; j < 8; j++)
			out[i * 8 + j] = c->block[j];
	}
	return 1;
}
