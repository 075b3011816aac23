/* SPDX-License-Identifier: BSD-2-Clause */
#include "support/pad_reference.h"

#include <string.h>

#include <openssl/evp.h>

struct pad_key pad_reference_key(uint8_t seed) {
	struct pad_key key;

	for (unsigned i = 0; i < sizeof(key.key); i++)
		key.key[i] = (uint8_t)(seed + 7 * i);
	for (unsigned i = 0; i < sizeof(key.iv); i++)
		key.iv[i] = (uint8_t)(seed ^ (0x3d * (i + 1)));
	return key;
}

bool pad_reference(const struct pad_key *key, uint64_t sequence, uint8_t poly_key[static PAD_POLY_KEY], uint8_t *keystream,
		   size_t length) {
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	uint8_t iv[16] = {0}, block[PAD_BLOCK] = {0}, *zeros = calloc(1, length + 1);
	int written;

	/* Counter 0, then the sequence, padded on the left to 12 octets and combined with the IV (RFC 7905 2). */
	for (unsigned i = 0; i < 8; i++)
		iv[8 + i] = (uint8_t)(sequence >> (56 - 8 * i));
	for (unsigned i = 0; i < PAD_IV; i++)
		iv[4 + i] ^= key->iv[i];
	bool good = context && zeros && EVP_EncryptInit_ex2(context, EVP_chacha20(), key->key, iv, NULL) == 1 &&
		    EVP_EncryptUpdate(context, block, &written, block, sizeof(block)) == 1 &&
		    (length == 0 || EVP_EncryptUpdate(context, keystream, &written, zeros, (int)length) == 1);
	memcpy(poly_key, block, PAD_POLY_KEY);
	EVP_CIPHER_CTX_free(context);
	free(zeros);
	return good;
}

bool pad_reference_matches(const struct pad_key *key, uint64_t sequence, const uint8_t poly_key[static PAD_POLY_KEY],
			   const uint8_t *keystream, size_t length) {
	uint8_t expected_key[PAD_POLY_KEY], *expected = malloc(length + 1);
	bool good = expected && pad_reference(key, sequence, expected_key, expected, length) &&
		    memcmp(expected_key, poly_key, sizeof(expected_key)) == 0 && memcmp(expected, keystream, length) == 0;

	free(expected);
	return good;
}
