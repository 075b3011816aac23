/* SPDX-License-Identifier: BSD-2-Clause */
#include "fastpath/pad_maker.h"

#include "base/log.h"
#include "fastpath/chacha.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

enum {
	CHECK_ROUNDS = 8,
	CHECK_JOBS = 53, /* whole and partly filled groups of lanes */
	CHECK_LENGTH = 26 * PAD_BLOCK,
	EVP_IV = 16, /* block counter, little-endian, then the nonce */
	EVP_PIECE = 2048,
};

struct pad_maker {
	enum pad_method method;
	chacha_pads *pads; /* NULL with EVP */
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *context;
};

static uint32_t little_endian(const uint8_t octets[static 4]) {
	return octets[0] | (uint32_t)octets[1] << 8 | (uint32_t)octets[2] << 16 | (uint32_t)octets[3] << 24;
}

static void words_load(struct chacha_words *words, const struct pad_key *key) {
	static const uint32_t constant[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}; /* RFC 8439 2.3 */

	memcpy(words->constant, constant, sizeof(constant));
	for (size_t i = 0; i < ARRAY_LENGTH(words->key); i++)
		words->key[i] = little_endian(key->key + 4 * i);
	for (size_t i = 0; i < ARRAY_LENGTH(words->iv); i++)
		words->iv[i] = little_endian(key->iv + 4 * i);
}

/* Leaves the nonce of RFC 7905 2 behind a block counter. */
static void evp_iv(uint8_t out[static EVP_IV], const struct pad_key *key, uint64_t sequence, uint32_t block) {
	for (unsigned i = 0; i < 4; i++)
		out[i] = (uint8_t)(block >> 8 * i);
	memcpy(out + 4, key->iv, PAD_IV);
	for (unsigned i = 0; i < 8; i++)
		out[8 + i] ^= (uint8_t)(sequence >> (56 - 8 * i));
}

/* Goes through a buffer, so that a pad in use never holds anything but its keystream. */
static int evp_keystream(EVP_CIPHER_CTX *context, uint8_t *out, size_t length) {
	static const uint8_t zeros[EVP_PIECE];
	uint8_t buffer[EVP_PIECE];
	int written, result = 0;

	while (length > 0 && result == 0) {
		size_t piece = length < EVP_PIECE ? length : EVP_PIECE;

		if (EVP_EncryptUpdate(context, buffer, &written, zeros, (int)piece) == 1)
			memcpy(out, buffer, piece);
		else
			result = -EIO;
		out += piece;
		length -= piece;
	}
	octets_wipe(buffer, sizeof(buffer));
	return result;
}

static int evp_pad(EVP_CIPHER_CTX *context, const struct pad_key *key, const struct pad_job *job, size_t from, size_t length) {
	uint8_t iv[EVP_IV], block[PAD_BLOCK];
	int result;

	evp_iv(iv, key, job->sequence, from == 0 ? 0 : (uint32_t)(from / PAD_BLOCK) + 1);
	if (EVP_EncryptInit_ex2(context, NULL, NULL, iv, NULL) != 1)
		return -EIO;
	if (from == 0) {
		result = evp_keystream(context, block, sizeof(block));
		if (result < 0)
			return result;
		memcpy(job->poly_key, block, PAD_POLY_KEY);
		octets_wipe(block, sizeof(block));
	}
	return evp_keystream(context, job->keystream + from, length - from);
}

static int evp_pads(EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, const struct pad_key *key, const struct pad_job *jobs,
		    size_t count, size_t from, size_t length) {
	if (EVP_EncryptInit_ex2(context, cipher, key->key, NULL, NULL) != 1)
		return -EIO;
	for (size_t i = 0; i < count; i++) {
		int result = evp_pad(context, key, &jobs[i], from, length);

		if (result < 0)
			return result;
	}
	return 0;
}

static chacha_pads *method_pads(enum pad_method method) {
#if defined(__x86_64__)
	/* These also ask whether the operating system keeps the registers. */
	if (method == PAD_METHOD_AVX512 && __builtin_cpu_supports("avx512f"))
		return chacha_avx512_pads;
	if (method == PAD_METHOD_AVX2 && __builtin_cpu_supports("avx2"))
		return chacha_avx2_pads;
#endif
	(void)method;
	return NULL;
}

const char *pad_method_name(enum pad_method method) {
	static const char *const names[PAD_METHOD_COUNT] = {
		[PAD_METHOD_EVP] = "OpenSSL",
		[PAD_METHOD_AVX2] = "AVX2",
		[PAD_METHOD_AVX512] = "AVX-512",
	};

	return method < PAD_METHOD_COUNT ? names[method] : "unknown";
}

static int maker_new(enum pad_method method, chacha_pads *pads, struct pad_maker **ret) {
	_cleanup_(pad_maker_freep) struct pad_maker *maker = calloc(1, sizeof(*maker));

	if (!maker)
		return -ENOMEM;
	maker->method = method;
	maker->pads = pads;
	if (!pads) {
		maker->cipher = EVP_CIPHER_fetch(NULL, "ChaCha20", NULL);
		maker->context = EVP_CIPHER_CTX_new();
		if (!maker->cipher || !maker->context)
			return -EIO;
	}
	*ret = TAKE(maker);
	return 0;
}

struct check {
	struct pad_key key;
	struct pad_job jobs[CHECK_JOBS];
	uint8_t poly_key[CHECK_JOBS][PAD_POLY_KEY];
	uint8_t keystream[CHECK_JOBS][CHECK_LENGTH];
};

static struct check *check_free(struct check *check) {
	if (check)
		octets_wipe(check, sizeof(*check));
	free(check);
	return NULL;
}
DEFINE_CLEANUP(struct check *, check_free)

static void check_places(struct check *check) {
	for (unsigned i = 0; i < CHECK_JOBS; i++) {
		check->jobs[i].poly_key = check->poly_key[i];
		check->jobs[i].keystream = check->keystream[i];
	}
}

int chacha_check(chacha_pads *pads) {
	_cleanup_(pad_maker_freep) struct pad_maker *evp = NULL;
	_cleanup_(check_freep) struct check *good = calloc(1, sizeof(*good)), *tried = calloc(1, sizeof(*tried));
	struct chacha_words words;
	int result;

	if (!good || !tried)
		return -ENOMEM;
	result = maker_new(PAD_METHOD_EVP, NULL, &evp);
	for (unsigned round = 0; round < CHECK_ROUNDS && result == 0; round++) {
		uint8_t choice[2];

		if (RAND_bytes((uint8_t *)&good->key, sizeof(good->key)) != 1 ||
		    RAND_bytes((uint8_t *)good->jobs, sizeof(good->jobs)) != 1 ||
		    RAND_bytes((uint8_t *)good->keystream, sizeof(good->keystream)) != 1 || RAND_bytes(choice, sizeof(choice)) != 1)
			return -EIO;
		memcpy(tried, good, sizeof(*tried));
		check_places(good);
		check_places(tried);
		size_t count = 1 + choice[0] % CHECK_JOBS, blocks = 1 + choice[1] % (CHECK_LENGTH / PAD_BLOCK - 1);
		size_t from = round % 2 ? choice[0] % blocks * PAD_BLOCK : 0, length = blocks * PAD_BLOCK;

		/* What lies around the places stays as it was, on both sides. */
		result = evp_pads(evp->context, evp->cipher, &good->key, good->jobs, count, from, length);
		if (result < 0)
			break;
		words_load(&words, &tried->key);
		pads(&words, tried->jobs, count, from, length);
		if (memcmp(good->poly_key, tried->poly_key, sizeof(good->poly_key)) != 0 ||
		    memcmp(good->keystream, tried->keystream, sizeof(good->keystream)) != 0)
			result = -EBADMSG;
	}
	octets_wipe(&words, sizeof(words));
	return result;
}

int pad_maker_new_method(enum pad_method method, struct pad_maker **ret) {
	chacha_pads *pads = method_pads(method);
	int result = 0;

	if (method != PAD_METHOD_EVP && !pads)
		return -EOPNOTSUPP;
	if (pads)
		result = chacha_check(pads);
	return result < 0 ? result : maker_new(method, pads, ret);
}

int pad_maker_new(struct pad_maker **ret) {
	for (int method = PAD_METHOD_COUNT - 1; method > PAD_METHOD_EVP; method--) {
		int result = pad_maker_new_method((enum pad_method)method, ret);

		if (result == 0)
			return 0;
		if (result == -EBADMSG)
			log_warning("Keystream pads are not made with %s: its results differ from OpenSSL's.",
				    pad_method_name((enum pad_method)method));
	}
	return pad_maker_new_method(PAD_METHOD_EVP, ret);
}

struct pad_maker *pad_maker_free(struct pad_maker *maker) {
	if (!maker)
		return NULL;
	EVP_CIPHER_CTX_free(maker->context); /* wipes the key */
	EVP_CIPHER_free(maker->cipher);
	free(maker);
	return NULL;
}

enum pad_method pad_maker_method(const struct pad_maker *maker) {
	return maker->method;
}

int pad_maker_make(struct pad_maker *maker, const struct pad_key *key, const struct pad_job *jobs, size_t count, size_t from,
		   size_t length) {
	struct chacha_words words;

	if (from % PAD_BLOCK != 0 || length % PAD_BLOCK != 0 || from > length || length > INT32_MAX)
		return -EINVAL;
	if (count == 0)
		return 0;
	if (!maker->pads)
		return evp_pads(maker->context, maker->cipher, key, jobs, count, from, length);
	words_load(&words, key);
	maker->pads(&words, jobs, count, from, length);
	octets_wipe(&words, sizeof(words));
	return 0;
}
