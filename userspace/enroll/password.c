/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/password.h"

#include "base/cleanup.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

enum { SALT_LENGTH = 16, HASH_LENGTH = 32, BLOCK_SIZE = 8, PARALLEL = 1 };

DEFINE_CLEANUP(EVP_KDF *, EVP_KDF_free)
DEFINE_CLEANUP(EVP_KDF_CTX *, EVP_KDF_CTX_free)

static int derive(struct octets password, const uint8_t salt[static SALT_LENGTH], unsigned log_n,
		  uint8_t hash[static HASH_LENGTH]) {
	_cleanup_(EVP_KDF_freep) EVP_KDF *kdf = EVP_KDF_fetch(NULL, "SCRYPT", NULL);
	_cleanup_(EVP_KDF_CTX_freep) EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	uint64_t n = UINT64_C(1) << log_n, memory = 2 * 128 * BLOCK_SIZE * n + (1 << 20);
	uint32_t r = BLOCK_SIZE, p = PARALLEL;
	static const uint8_t nothing;

	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD,
						  (void *)(uintptr_t)(password.length ? password.data : &nothing), password.length),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt, SALT_LENGTH),
		OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
		OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
		OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
		OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory),
		OSSL_PARAM_construct_end(),
	};
	if (context && EVP_KDF_derive(context, hash, HASH_LENGTH, parameters) == 1)
		return 0;
	ERR_clear_error();
	return -EIO;
}

/* The key of HMAC, which scrypt begins with, is padded with zeros: with NULs at its end another password would do as well. */
static bool usable(struct octets password) {
	return password.length <= PASSWORD_MAX && (password.length == 0 || !memchr(password.data, 0, password.length));
}

static void to_hex(const uint8_t *octets, size_t count, char *text) {
	for (size_t i = 0; i < count; i++)
		snprintf(text + 2 * i, 3, "%02x", octets[i]);
}

static int from_hex(const char *text, size_t count, uint8_t *octets) {
	if (strspn(text, "0123456789abcdef") != 2 * count)
		return -EBADMSG;
	for (size_t i = 0; i < count; i++)
		sscanf(text + 2 * i, "%2hhx", &octets[i]); /* two digits are there: NOLINT(cert-err34-c) */
	return 0;
}

int password_hash(struct octets password, unsigned log_n, char text[static PASSWORD_TEXT_SIZE]) {
	uint8_t salt[SALT_LENGTH], hash[HASH_LENGTH];
	char salt_text[2 * SALT_LENGTH + 1], hash_text[2 * HASH_LENGTH + 1];

	if (!usable(password) || log_n < PASSWORD_LOG_N_MIN || log_n > PASSWORD_LOG_N_MAX)
		return -EINVAL;
	if (RAND_bytes(salt, sizeof(salt)) != 1)
		return -EIO;
	int error = derive(password, salt, log_n, hash);
	if (error < 0)
		return error;
	to_hex(salt, sizeof(salt), salt_text);
	to_hex(hash, sizeof(hash), hash_text);
	snprintf(text, PASSWORD_TEXT_SIZE, "$scrypt$ln=%u,r=%d,p=%d$%s$%s", log_n, BLOCK_SIZE, PARALLEL, salt_text, hash_text);
	octets_wipe(hash, sizeof(hash));
	octets_wipe(hash_text, sizeof(hash_text));
	return 0;
}

int password_check(struct octets password, const char *text) {
	uint8_t salt[SALT_LENGTH], expected[HASH_LENGTH], hash[HASH_LENGTH];
	char salt_text[2 * SALT_LENGTH + 1], hash_text[2 * HASH_LENGTH + 1], end;
	unsigned log_n;

	/* Two digits fit. NOLINTNEXTLINE(cert-err34-c) */
	if (sscanf(text, "$scrypt$ln=%2u,r=8,p=1$%32[0-9a-f]$%64[0-9a-f]%c", &log_n, salt_text, hash_text, &end) != 3 ||
	    log_n < PASSWORD_LOG_N_MIN || log_n > PASSWORD_LOG_N_MAX || from_hex(salt_text, SALT_LENGTH, salt) < 0 ||
	    from_hex(hash_text, HASH_LENGTH, expected) < 0)
		return -EBADMSG;
	if (!usable(password))
		return -EKEYREJECTED;
	int error = derive(password, salt, log_n, hash);
	if (error == 0 && !octets_equal_secret(hash, expected, HASH_LENGTH))
		error = -EKEYREJECTED;
	octets_wipe(hash, sizeof(hash));
	return error;
}

int password_generate(char text[static PASSWORD_GENERATED_SIZE]) {
	static const char alphabet[33] = "abcdefghijkmnpqrstuvwxyz23456789"; /* 32: every octet falls evenly */
	uint8_t octets[PASSWORD_GENERATED_SIZE - 1];

	if (RAND_bytes(octets, sizeof(octets)) != 1)
		return -EIO;
	for (size_t i = 0; i < sizeof(octets); i++)
		text[i] = alphabet[octets[i] % 32];
	text[sizeof(octets)] = 0;
	octets_wipe(octets, sizeof(octets));
	return 0;
}
