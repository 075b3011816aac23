/* SPDX-License-Identifier: BSD-2-Clause */
#include "sip/internal.h"

#include <endian.h>
#include <string.h>

static inline uint64_t rotate(uint64_t value, unsigned bits) {
	return value << bits | value >> (64 - bits);
}

static inline void rounds(uint64_t v[static 4], unsigned count) {
	while (count-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static inline void start(uint64_t v[static 4], const uint64_t key[static 2]) {
	v[0] = key[0] ^ UINT64_C(0x736f6d6570736575);
	v[1] = key[1] ^ UINT64_C(0x646f72616e646f6d);
	v[2] = key[0] ^ UINT64_C(0x6c7967656e657261);
	v[3] = key[1] ^ UINT64_C(0x7465646279746573);
}

static inline void absorb(uint64_t v[static 4], struct octets octets) {
	uint64_t word = 0;
	size_t at = 0;

	for (; octets.length - at >= sizeof(word); at += sizeof(word)) {
		memcpy(&word, &octets.data[at], sizeof(word));
		word = le64toh(word);
		v[3] ^= word;
		rounds(v, 2);
		v[0] ^= word;
	}
	word = (uint64_t)(octets.length & 0xff) << 56;
	for (unsigned i = 0; at + i < octets.length; i++)
		word |= (uint64_t)octets.data[at + i] << 8 * i;
	v[3] ^= word;
	rounds(v, 2);
	v[0] ^= word;
}

static inline uint64_t finish(uint64_t v[static 4]) {
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012. */
uint64_t keyed_hash(const uint64_t key[static 2], struct octets octets) {
	uint64_t v[4];

	start(v, key);
	absorb(v, octets);
	v[2] ^= 0xff;
	return finish(v);
}

/* As its authors have it for twice as many octets. */
void keyed_hash_long(const uint64_t key[static 2], struct octets octets, uint64_t ret[static 2]) {
	uint64_t v[4];

	start(v, key);
	v[1] ^= 0xee;
	absorb(v, octets);
	v[2] ^= 0xee;
	ret[0] = finish(v);
	v[1] ^= 0xdd;
	ret[1] = finish(v);
}
