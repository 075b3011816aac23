/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Poly1305 (RFC 8439 2.5) over a record of the form of RFC 7905: additional data, ciphertext, lengths, each padded to 16 octets, so
 * that every block is a whole one. Words of 32 bits with the carries put off: twenty-one multiplications a block. There is no
 * multiplication to 128 bits in BPF.
 */
#pragma once

#include "fastpath.h"

enum { RECORD_BUFFER_ROOM = 83, RECORD_BUFFER_TEXT = 2048, RECORD_BUFFER_SLACK = 64 };

/*
 * A record with room for the headers in front of it, so that the whole packet is written at once. `text` is aligned to 16 octets.
 * The lengths are such that a mask keeps an index inside.
 */
struct record_buffer {
	__u8 room[RECORD_BUFFER_ROOM];
	__u8 header[13];
	__u8 text[RECORD_BUFFER_TEXT + RECORD_BUFFER_SLACK];
};
_Static_assert(__builtin_offsetof(struct record_buffer, text) == 96, "alignment");

struct poly1305 {
	__u64 additional[2]; /* the 13 octets of additional data, padded */
	__u64 tag[2];
};

/* The low 32 bits in one instruction: without this clang shifts twice. */
#ifndef __bpf__
#define POLY1305_LOW(value) ((__u64)(__u32)(value))
#else
#define POLY1305_LOW(value)                                                                                                        \
	({                                                                                                                         \
		__u32 _value = (__u32)(value);                                                                                     \
		asm("%0 = %0" : "+w"(_value));                                                                                     \
		(__u64) _value;                                                                                                    \
	})
#endif

/*
 * h = (h + block + 2^128) * r modulo 2^130 - 5. No carry travels further than one word, so that they do not wait for each other:
 * a word is the low half of its sum plus the high half of its neighbor's. In units of 2^32 that leaves h0 < 2.25, h1 to h3 < 2 and
 * h4 <= 3, hence s0 < 3.25, s1 to s3 < 3, s4 <= 4. With r0 to r3 < 2^28 and rr1 to rr3 < 1.25 * 2^28 the largest sum, x0, is below
 * (3.25 + 3 * 3 * 1.25 + 0.01) * 2^60 = 14.51 * 2^60 < 2^64.
 */
#define POLY1305_BLOCK(m0, m1, m2, m3)                                                                                             \
	do {                                                                                                                       \
		__u64 s0 = h0 + (m0), s1 = h1 + (m1), s2 = h2 + (m2), s3 = h3 + (m3), s4 = h4 + 1, x0, x1, x2, x3, x4;             \
		x3 = s0 * r3 + s1 * r2 + s2 * r1 + s3 * r0 + s4 * rr3;                                                             \
		x4 = s4 * rr4 + (x3 >> 32);                                                                                        \
		x0 = s0 * r0 + s1 * rr3 + s2 * rr2 + s3 * rr1 + s4 * rr0;                                                          \
		x1 = s0 * r1 + s1 * r0 + s2 * rr3 + s3 * rr2 + s4 * rr1;                                                           \
		x2 = s0 * r2 + s1 * r1 + s2 * r0 + s3 * rr3 + s4 * rr2;                                                            \
		h0 = POLY1305_LOW(x0) + (x4 >> 2) * 5;                                                                             \
		h1 = POLY1305_LOW(x1) + (x0 >> 32);                                                                                \
		h2 = POLY1305_LOW(x2) + (x1 >> 32);                                                                                \
		h3 = POLY1305_LOW(x3) + (x2 >> 32);                                                                                \
		h4 = x4 & 3;                                                                                                       \
	} while (0)

/* The tag of the `length` octets of ciphertext in `b`, which zeros follow to a multiple of 16, under the key in `pad`. */
FORWARD_FUNCTION int poly1305_record(struct record_buffer *b, struct poly1305 *p, struct fastpath_pad *pad, __u32 length) {
	__u64 h0 = 0, h1 = 0, h2 = 0, h3 = 0, h4 = 0, c;
	const __u32 *key, *text;

	if (!b || !p || !pad)
		return 0;
	key = (const __u32 *)pad->poly_key;
	text = (const __u32 *)b->text;

	const __u64 r0 = key[0] & 0x0fffffff, r1 = key[1] & 0x0ffffffc, r2 = key[2] & 0x0ffffffc, r3 = key[3] & 0x0ffffffc;
	const __u64 rr0 = (r0 >> 2) * 5, rr1 = (r1 >> 2) + r1, rr2 = (r2 >> 2) + r2, rr3 = (r3 >> 2) + r3, rr4 = r0 & 3;

	POLY1305_BLOCK((__u32)p->additional[0], p->additional[0] >> 32, (__u32)p->additional[1], p->additional[1] >> 32);
	for (__u32 i = 0; i < FASTPATH_TEXT_MAX / 32; i++) {
		if (i * 32 >= length)
			break;
		POLY1305_BLOCK(text[8 * i], text[8 * i + 1], text[8 * i + 2], text[8 * i + 3]);
		if (i * 32 + 16 >= length)
			break;
		POLY1305_BLOCK(text[8 * i + 4], text[8 * i + 5], text[8 * i + 6], text[8 * i + 7]);
	}
	POLY1305_BLOCK(13, 0, length, 0);

	/* All carries. What goes beyond 130 bits comes back once, and cannot travel again further than h1. */
	h1 += h0 >> 32;
	h2 += h1 >> 32;
	h3 += h2 >> 32;
	h4 += h3 >> 32;
	h0 = (__u32)h0 + (h4 >> 2) * 5;
	h4 &= 3;
	h1 = (__u32)h1 + (h0 >> 32);
	h2 = (__u32)h2 + (h1 >> 32);
	h3 = (__u32)h3 + (h2 >> 32);
	h4 += h3 >> 32;
	h0 = (__u32)h0;
	h1 = (__u32)h1;
	h2 = (__u32)h2;
	h3 = (__u32)h3;

	/* Does subtracting the prime carry out of 130 bits? Then do. */
	c = (h0 + 5) >> 32;
	c = (c + h1) >> 32;
	c = (c + h2) >> 32;
	c = (c + h3) >> 32;
	c = ((c + h4) >> 2) * 5;
	c += h0 + key[4];
	h0 = (__u32)c;
	c = (c >> 32) + h1 + key[5];
	p->tag[0] = c << 32 | h0;
	c = (c >> 32) + h2 + key[6];
	h2 = (__u32)c;
	c = (c >> 32) + h3 + key[7];
	p->tag[1] = c << 32 | h2;
	return 1;
}
