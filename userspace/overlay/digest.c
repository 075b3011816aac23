/* SPDX-License-Identifier: BSD-2-Clause */
#include "overlay/digest.h"

#include "base/cleanup.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)

static void fetch(void) {
	sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
}

int digest_sha256(const struct octets *parts, size_t count, uint8_t ret[static SHA256_LENGTH]) {
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();

	pthread_once(&once, fetch);
	if (!context || !sha256 || EVP_DigestInit_ex2(context, sha256, NULL) != 1)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (parts[i].length > 0 && EVP_DigestUpdate(context, parts[i].data, parts[i].length) != 1)
			return -ENOMEM;
	return EVP_DigestFinal_ex(context, ret, NULL) == 1 ? 0 : -ENOMEM;
}
