/* SPDX-License-Identifier: BSD-2-Clause */
/* What a keystream pad has to hold, straight from RFC 8439 and RFC 7905 with OpenSSL's ChaCha20. */
#pragma once

#include "fastpath/pad_maker.h"

/* Fills `poly_key` and `length` octets of `keystream`; false when OpenSSL fails. Usable from any thread. */
bool pad_reference(const struct pad_key *key, uint64_t sequence, uint8_t poly_key[static PAD_POLY_KEY], uint8_t *keystream,
		   size_t length);

/* Does a pad hold this? */
bool pad_reference_matches(const struct pad_key *key, uint64_t sequence, const uint8_t poly_key[static PAD_POLY_KEY],
			   const uint8_t *keystream, size_t length);

/* A key that depends on `seed` alone. */
struct pad_key pad_reference_key(uint8_t seed);
