/* SPDX-License-Identifier: BSD-2-Clause */
#include "sip/digest.h"

#include "base/cleanup.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>

struct digest {
	EVP_MD *algorithm; /* fetched once: looking it up costs more than the hash */
	EVP_MD_CTX *context;
};

DEFINE_CLEANUP(struct digest *, digest_free)

static const char *const names[SIP_DIGESTS] = {[SIP_DIGEST_SHA_256] = "SHA-256", [SIP_DIGEST_MD5] = "MD5"};

const char *digest_name(enum sip_digest algorithm) {
	return names[algorithm];
}

int digest_new(enum sip_digest algorithm, struct digest **ret) {
	_cleanup_(digest_freep) struct digest *digest = calloc(1, sizeof(*digest));

	if (!digest)
		return -ENOMEM;
	digest->algorithm = EVP_MD_fetch(NULL, names[algorithm], NULL);
	if (!digest->algorithm)
		return -EOPNOTSUPP;
	digest->context = EVP_MD_CTX_new();
	if (!digest->context)
		return -ENOMEM;
	*ret = TAKE(digest);
	return 0;
}

struct digest *digest_free(struct digest *digest) {
	if (!digest)
		return NULL;
	EVP_MD_CTX_free(digest->context);
	EVP_MD_free(digest->algorithm);
	free(digest);
	return NULL;
}

static void write_hexadecimal(const uint8_t *octets, size_t length, char *ret) {
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < length; i++) {
		ret[2 * i] = digits[octets[i] >> 4];
		ret[2 * i + 1] = digits[octets[i] & 0x0f];
	}
	ret[2 * length] = 0;
}

int digest_parts(struct digest *digest, const struct octets *parts, size_t count, char ret[static SIP_DIGEST_SIZE]) {
	uint8_t octets[EVP_MAX_MD_SIZE];
	unsigned length = 0;

	if (EVP_DigestInit_ex2(digest->context, digest->algorithm, NULL) != 1)
		return -EIO;
	for (size_t i = 0; i < count; i++)
		if ((i > 0 && EVP_DigestUpdate(digest->context, ":", 1) != 1) ||
		    EVP_DigestUpdate(digest->context, parts[i].data, parts[i].length) != 1)
			return -EIO;
	if (EVP_DigestFinal_ex(digest->context, octets, &length) != 1 || 2 * length >= SIP_DIGEST_SIZE)
		return -EIO;
	write_hexadecimal(octets, length, ret);
	octets_wipe(octets, sizeof(octets));
	return 0;
}

int digest_ha1(enum sip_digest algorithm, const char *username, const char *realm, const char *password,
	       char ret[static SIP_DIGEST_SIZE]) {
	const struct octets parts[] = {octets_of_string(username), octets_of_string(realm), octets_of_string(password)};
	_cleanup_(digest_freep) struct digest *digest = NULL;

	int error = digest_new(algorithm, &digest);
	return error < 0 ? error : digest_parts(digest, parts, ARRAY_LENGTH(parts), ret);
}
