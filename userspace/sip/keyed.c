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

/* Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012. */
uint64_t keyed_hash(const uint64_t key[static 2], struct octets octets) {
	uint64_t v[4] = {
		key[0] ^ UINT64_C(0x736f6d6570736575),
		key[1] ^ UINT64_C(0x646f72616e646f6d),
		key[0] ^ UINT64_C(0x6c7967656e657261),
		key[1] ^ UINT64_C(0x7465646279746573),
	};
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
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
