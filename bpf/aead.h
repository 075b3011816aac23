/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Opening and sealing one record with a pad: DTLS 1.2, epoch 1, CHACHA20-POLY1305 (RFC 6347 4.1, RFC 7905). */
#pragma once

#include "chacha20.h"
#include "poly1305.h"

enum { AEAD_HEADER = 13, AEAD_TAG = 16, AEAD_APPLICATION = 23 };

/* Hides from the compiler that an index is in range, so that it keeps the mask the verifier wants to see (clang 14). */
#define AEAD_MASK(position)                                                                                                        \
	({                                                                                                                         \
		__u32 _position = (position);                                                                                      \
		asm volatile("" : "+r"(_position));                                                                                \
		_position &(RECORD_BUFFER_TEXT - 1);                                                                               \
	})

/*
 * Sets `c` for a record, and makes the Poly1305 key of its pad (RFC 8439 2.6). The nonce is the record number with its epoch, in
 * network order, exclusive or the IV (RFC 7905 2).
 */
FORWARD_FUNCTION int aead_pad_key(struct chacha20 *c, struct fastpath_pad *pad, struct fastpath_record *record, __u64 number,
				  __u32 sending) {
	const __u32 *key, *iv;
	__u64 *out;

	if (!c || !pad || !record)
		return 0;
	key = (const __u32 *)(sending ? record->tx_key : record->rx_key);
	iv = (const __u32 *)(sending ? record->tx_iv : record->rx_iv);
	number |= 1ULL << 48;
	for (int i = 0; i < 8; i++)
		c->key[i] = key[i];
	c->nonce[0] = iv[0];
	c->nonce[1] = iv[1] ^ __builtin_bswap32((__u32)(number >> 32));
	c->nonce[2] = iv[2] ^ __builtin_bswap32((__u32)number);
	c->counter = 0;
	chacha20_block(c);
	out = (__u64 *)pad->poly_key;
	out[0] = c->block[0];
	out[1] = c->block[1];
	out[2] = c->block[2];
	out[3] = c->block[3];
	return 1;
}

/* Epoch and number, type, version, length of the plaintext (RFC 5246 6.2.3.3), as words of this processor's order. */
static inline __attribute__((always_inline, unused)) void aead_additional_set(struct poly1305 *p, __u64 number, __u32 length) {
	p->additional[0] = __builtin_bswap64(1ULL << 48 | number);
	p->additional[1] = (__u64)AEAD_APPLICATION | 0xfdfeULL << 8 | (__u64)__builtin_bswap16((__u16)length) << 24;
}

/* Zeros behind the ciphertext up to a whole block. */
static inline __attribute__((always_inline, unused)) void aead_pad_zeros(struct record_buffer *b, __u32 length) {
	__u32 at = AEAD_MASK(length);

	*(__u64 *)&b->text[at] = 0;
	*(__u64 *)&b->text[at + 8] = 0;
}

/* Ciphertext to plaintext or back, from octet `from` on up to `to`, whole pieces of 32 octets. */
FORWARD_FUNCTION int aead_xor_part(struct record_buffer *b, struct fastpath_pad *pad, __u32 from, __u32 to) {
	if (!b || !pad)
		return 0;
	for (__u32 i = 0; i < FASTPATH_TEXT_MAX / 32; i++) {
		__u32 at = AEAD_MASK(from + i * 32);
		const __u64 *stream;
		__u64 *text;

		if (at >= to || at > FASTPATH_PAD_KEYSTREAM - 32)
			break;
		text = (__u64 *)&b->text[at];
		stream = (const __u64 *)&pad->keystream[at];
		text[0] ^= stream[0];
		text[1] ^= stream[1];
		text[2] ^= stream[2];
		text[3] ^= stream[3];
	}
	return 1;
}

/* As much of it as an ack is, and more: the first 16 octets. */
static inline __attribute__((always_inline, unused)) void aead_xor_ack(struct record_buffer *b, const struct fastpath_pad *pad) {
	__u64 *text = (__u64 *)b->text;
	const __u64 *stream = (const __u64 *)pad->keystream;

	text[0] ^= stream[0];
	text[1] ^= stream[1];
}

/* All of it. */
static inline __attribute__((always_inline, unused)) int aead_xor(struct record_buffer *b, struct fastpath_pad *pad, __u32 length) {
	return aead_xor_part(b, pad, 0, length);
}

/* Header and tag around the `length` octets of ciphertext in `b`. The record starts at b->header. */
static inline __attribute__((always_inline, unused)) int aead_finish(struct record_buffer *b, struct poly1305 *p,
								     struct fastpath_pad *pad, __u64 number, __u32 length) {
	__u32 at;

	aead_pad_zeros(b, length);
	aead_additional_set(p, number, length);
	poly1305_record(b, p, pad, length);
	at = AEAD_MASK(length);
	*(__u64 *)&b->text[at] = p->tag[0];
	*(__u64 *)&b->text[at + 8] = p->tag[1];
	b->header[0] = AEAD_APPLICATION;
	b->header[1] = 0xfe;
	b->header[2] = 0xfd;
	*(__u64 *)&b->header[3] = p->additional[0];
	*(__u16 *)&b->header[11] = __builtin_bswap16((__u16)(length + AEAD_TAG));
	return 1;
}

/* Encrypts the `length` octets of plaintext in `b`, and writes header and tag around them. */
static inline __attribute__((always_inline, unused)) int aead_seal(struct record_buffer *b, struct poly1305 *p,
								   struct fastpath_pad *pad, __u64 number, __u32 length) {
	aead_xor(b, pad, length);
	return aead_finish(b, p, pad, number, length);
}
