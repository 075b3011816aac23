/* SPDX-License-Identifier: BSD-2-Clause */
/* The two uses of SHA-1 in addressing: overlay field and Resource-IDs (RFC 6940 6.3.2, 10.2). */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "wire/message.h"

enum { SHA1_LENGTH = 20 };

/* SHA-1 is part of every supported libcrypto; without it no message can be addressed, so there is nothing to go on with. */
static void sha1(const void *data, size_t length, uint8_t digest[static SHA1_LENGTH]) {
	if (EVP_Digest(data, length, digest, NULL, EVP_sha1(), NULL) != 1)
		abort();
}

uint32_t overlay_hash(const char *overlay_name) { /* B-6.3.2-02: the last four octets */
	uint8_t digest[SHA1_LENGTH];

	sha1(overlay_name, strlen(overlay_name), digest);
	struct reader r = reader_of(digest + SHA1_LENGTH - 4, 4);
	return reader_u32(&r);
}

struct id resource_id_of_name(struct octets resource_name, uint8_t length) { /* B-10.2-01: the first octets */
	uint8_t digest[SHA1_LENGTH];

	sha1(resource_name.length > 0 ? resource_name.data : digest, resource_name.length, digest);
	return id_of(OCTETS(digest, length));
}
