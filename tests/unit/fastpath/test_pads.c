/* SPDX-License-Identifier: BSD-2-Clause */
/* Keystream pads of every method against RFC 8439's vectors, OpenSSL's cipher and the record layer. */
#include "fastpath/chacha.h"
#include "fastpath/pad_maker.h"
#include "link/record.h"
#include "support/pad_reference.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/evp.h>

#include <cmocka.h>

enum { JOBS = 70, LENGTH_MAX = 1536, GUARD = 64, COUNTER_LENGTH = 300 * PAD_BLOCK };

/* Places for pads with something around each that must stay. */
struct places {
	struct pad_job jobs[JOBS];
	struct {
		uint8_t before[GUARD], poly_key[PAD_POLY_KEY], between[GUARD], keystream[LENGTH_MAX], behind[GUARD];
	} pad[JOBS];
};

/* Makes the pads of `sequences`; `offset` puts them at addresses of every kind. */
static void places_set(struct places *places, const uint64_t *sequences, size_t count, size_t offset) {
	memset(places->pad, 0xa5, sizeof(places->pad));
	for (size_t i = 0; i < count; i++)
		places->jobs[i] =
			(struct pad_job){sequences[i], places->pad[i].poly_key + offset % 8, places->pad[i].keystream + offset};
}

static void assert_guard(const uint8_t *from, const uint8_t *to) {
	for (; from < to; from++)
		assert_int_equal(*from, 0xa5);
}

/* Nothing but keystream octets `from` to `length` (and the key when `from` is 0) of the first `count` pads was written. */
static void assert_bounds(const struct places *places, size_t count, size_t from, size_t length) {
	for (size_t i = 0; i < count; i++) {
		const uint8_t *key = places->jobs[i].poly_key, *stream = places->jobs[i].keystream;

		assert_guard(places->pad[i].before, key);
		assert_guard(from == 0 ? key + PAD_POLY_KEY : key, stream + from);
		assert_guard(stream + length, places->pad[i].behind + GUARD);
	}
	for (size_t i = count; i < JOBS; i++)
		assert_guard(places->pad[i].before, places->pad[i].behind + GUARD);
}

static struct pad_maker *maker_of(void **state) {
	return *state;
}

static void unhex(const char *text, uint8_t *out, size_t length) {
	assert_int_equal(strlen(text), 2 * length);
	for (size_t i = 0; i < length; i++)
		assert_int_equal(sscanf(text + 2 * i, "%2hhx", &out[i]), 1);
}

/* The nonce of a vector is split into a fixed part and one for the record number in several ways: their combination counts. */
static const struct vector {
	const char *name, *key, *nonce, *poly_key, *keystream;
} vectors[] = {
	{"RFC 8439 2.4.2", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "000000000000004a00000000", NULL,
	 "224f51f3401bd9e12fde276fb8631ded8c131f823d2c06e27e4fcaec9ef3cf788a3b0aa372600a92b57974cded2b9334794cba40c63e34cdea212c4cf"
	 "0"
	 "7d41b769a6749f3f630f4122cafe28ec4dc47e26d4346d70b98c73f3e9c53ac40c5945398b6eda1a832c89c167eacd901d7e2bf363"},
	{"RFC 8439 2.6.2", "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", "000000000001020304050607",
	 "8ad5a08b905f81cc815040274ab29471a833b637e3fd0da508dbb8e2fdd1a646", NULL},
	{"RFC 8439 2.8.2", "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", "070000004041424344454647",
	 "7bac2b252db447af09b67a55a4e955840ae1d6731075d9eb2a9375783ed553ff",
	 "9f7be95d01fd40ba15e28ffb36810aaec1c0883f09016ededd8ad087558203a54e9ecb38ac8e5e2bb8dab20ffadb52e87504b26ebe696d4f60a485cf1"
	 "1"
	 "b81b59fcb1c45f4219eeacec6adec34e6669788edb41c49ca301e127e0acab3b44b9cf5c86bb95e06b0df2901ab645e4abe6221538"},
	{"RFC 8439 A.4 #1", "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
	 "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7", NULL},
	{"RFC 8439 A.4 #2", "0000000000000000000000000000000000000000000000000000000000000001", "000000000000000000000002",
	 "ecfa254f845f647473d3cb140da9e87606cb33066c447b87bc2666dde3fbb739", NULL},
	{"RFC 8439 A.4 #3", "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0", "000000000000000000000002",
	 "965e3bc6f9ec7ed9560808f4d229f94b137ff275ca9b3fcbdd59deaad23310ae", NULL},
};

static void test_vectors(void **state) {
	static const uint64_t masks[] = {0, UINT64_MAX, UINT64_C(0x0001000000000001), UINT64_C(0xfedcba9876543210)};
	_cleanup_free_ struct places *places = malloc(sizeof(*places));

	assert_non_null(places);
	for (size_t v = 0; v < ARRAY_LENGTH(vectors) * ARRAY_LENGTH(masks); v++) {
		const struct vector *vector = &vectors[v / ARRAY_LENGTH(masks)];
		uint64_t mask = masks[v % ARRAY_LENGTH(masks)], own = 0, sequences[JOBS];
		uint8_t expected[LENGTH_MAX];
		struct pad_key key;

		unhex(vector->key, key.key, sizeof(key.key));
		unhex(vector->nonce, key.iv, sizeof(key.iv));
		for (unsigned i = 0; i < 8; i++) {
			own = own << 8 | (key.iv[4 + i] ^ (uint8_t)(mask >> (56 - 8 * i)));
			key.iv[4 + i] = (uint8_t)(mask >> (56 - 8 * i));
		}
		for (size_t lane = 0; lane < 33; lane++) {
			for (size_t i = 0; i < JOBS; i++)
				sequences[i] = own + i - lane;
			places_set(places, sequences, 33, 0);
			assert_int_equal(pad_maker_make(maker_of(state), &key, places->jobs, 33, 0, 128), 0);
			if (vector->poly_key) {
				unhex(vector->poly_key, expected, PAD_POLY_KEY);
				assert_memory_equal(places->pad[lane].poly_key, expected, PAD_POLY_KEY);
			}
			if (vector->keystream) {
				unhex(vector->keystream, expected, strlen(vector->keystream) / 2);
				assert_memory_equal(places->pad[lane].keystream, expected, strlen(vector->keystream) / 2);
			}
		}
	}
}

/* Numbers around every carry of their octets and words, in epoch 1 and others. */
static size_t numbers_make(uint64_t out[static JOBS]) {
	size_t count = 0;

	for (unsigned bit = 8; bit <= 48; bit += 8) {
		for (int away = -2; away <= 2 && count < JOBS; away++)
			out[count++] = pad_sequence(1, ((UINT64_C(1) << bit) + (uint64_t)away) & RECORD_NUMBER_MAX);
	}
	for (uint64_t number = 0; number < 20; number++)
		out[count++] = pad_sequence(1, number);
	for (unsigned i = 0; i < 8; i++)
		out[count++] = pad_sequence((uint16_t)(0xffff - i), RECORD_NUMBER_MAX - i);
	out[count++] = 0;
	out[count++] = UINT64_MAX;
	assert_true(count <= JOBS);
	return count;
}

static void test_lengths(void **state) {
	_cleanup_free_ struct places *places = malloc(sizeof(*places));
	uint64_t sequences[JOBS];
	size_t count = numbers_make(sequences);

	assert_non_null(places);
	for (size_t length = 0; length <= LENGTH_MAX; length += PAD_BLOCK) {
		struct pad_key key = pad_reference_key((uint8_t)length);

		places_set(places, sequences, count, 0);
		assert_int_equal(pad_maker_make(maker_of(state), &key, places->jobs, count, 0, length), 0);
		assert_bounds(places, count, 0, length);
		for (size_t i = 0; i < count; i++)
			assert_true(pad_reference_matches(&key, sequences[i], places->pad[i].poly_key, places->pad[i].keystream,
							  length));
	}
}

/* Every count of jobs, so that lanes stay empty in all ways, at addresses without alignment. */
static void test_counts(void **state) {
	_cleanup_free_ struct places *places = malloc(sizeof(*places));
	uint64_t sequences[JOBS];
	struct pad_key key = pad_reference_key(9);

	assert_non_null(places);
	for (size_t count = 0; count <= JOBS; count++) {
		size_t length = (1 + count % 5) * PAD_BLOCK, offset = count % GUARD;

		for (size_t i = 0; i < JOBS; i++)
			sequences[i] = pad_sequence(1, UINT64_C(0xfffffff0) + 0x10001 * (i + count)); /* not consecutive */
		places_set(places, sequences, count, offset);
		assert_int_equal(pad_maker_make(maker_of(state), &key, places->jobs, count, 0, length), 0);
		assert_bounds(places, count, 0, length);
		for (size_t i = 0; i < count; i++)
			assert_true(pad_reference_matches(&key, sequences[i], places->jobs[i].poly_key, places->jobs[i].keystream,
							  length));
	}
}

/* From one length to another: the octets in front and the key are not touched, and doing it again changes nothing. */
static void test_lengthen(void **state) {
	_cleanup_free_ struct places *places = malloc(sizeof(*places)), *before = malloc(sizeof(*before));
	uint64_t sequences[JOBS];
	struct pad_key key = pad_reference_key(77);

	assert_non_null(places);
	assert_non_null(before);
	for (size_t i = 0; i < JOBS; i++)
		sequences[i] = pad_sequence(1, 1000 + i);
	for (size_t from = PAD_BLOCK; from <= LENGTH_MAX; from += 5 * PAD_BLOCK) {
		for (size_t length = from; length <= LENGTH_MAX; length += 3 * PAD_BLOCK) {
			places_set(places, sequences, 40, 0);
			assert_int_equal(pad_maker_make(maker_of(state), &key, places->jobs, 40, from, length), 0);
			assert_bounds(places, 40, from, length);
			assert_int_equal(pad_maker_make(maker_of(state), &key, places->jobs, 40, 0, from), 0);
			for (size_t i = 0; i < 40; i++)
				assert_true(pad_reference_matches(&key, sequences[i], places->pad[i].poly_key,
								  places->pad[i].keystream, length));
			memcpy(before, places, sizeof(*before));
			assert_int_equal(pad_maker_make(maker_of(state), &key, places->jobs, 40, from, length), 0);
			assert_memory_equal(before->pad, places->pad, sizeof(places->pad));
		}
	}
}

/* The block counter beyond one octet. */
static void test_block_counter(void **state) {
	_cleanup_free_ uint8_t *streams = malloc(20 * COUNTER_LENGTH);
	uint8_t keys[20][PAD_POLY_KEY];
	struct pad_job jobs[20];
	struct pad_key key = pad_reference_key(200);

	assert_non_null(streams);
	for (size_t i = 0; i < 20; i++)
		jobs[i] = (struct pad_job){pad_sequence(1, UINT32_MAX - 10 + i), keys[i], streams + i * COUNTER_LENGTH};
	assert_int_equal(pad_maker_make(maker_of(state), &key, jobs, 20, 0, COUNTER_LENGTH), 0);
	for (size_t i = 0; i < 20; i++)
		assert_true(pad_reference_matches(&key, jobs[i].sequence, keys[i], jobs[i].keystream, COUNTER_LENGTH));
}

static void test_arguments(void **state) {
	uint8_t place[LENGTH_MAX], key_place[PAD_POLY_KEY];
	struct pad_job job = {1, key_place, place};
	struct pad_key key = pad_reference_key(1);

	assert_int_equal(pad_maker_make(maker_of(state), &key, &job, 1, 0, 63), -EINVAL);
	assert_int_equal(pad_maker_make(maker_of(state), &key, &job, 1, 1, 64), -EINVAL);
	assert_int_equal(pad_maker_make(maker_of(state), &key, &job, 1, 128, 64), -EINVAL);
	assert_int_equal(pad_maker_make(maker_of(state), &key, &job, 1, 0, (size_t)INT32_MAX + 1), -EINVAL);
	assert_int_equal(pad_maker_make(maker_of(state), &key, NULL, 0, 0, 64), 0);
}

/* The tag of RFC 8439 2.8 over a record of RFC 7905, with the pad's Poly1305 key. */
static void tag_make(const uint8_t poly_key[static PAD_POLY_KEY], const uint8_t *record, size_t length, uint8_t tag[static 16]) {
	_cleanup_free_ uint8_t *input = calloc(1, length + 64);
	size_t padded = (length + 15) / 16 * 16, written;
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
	EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);

	assert_non_null(input);
	assert_non_null(context);
	memcpy(input, record + 3, 8); /* epoch and number */
	memcpy(input + 8, record, 3); /* type and version */
	input[11] = (uint8_t)(length >> 8);
	input[12] = (uint8_t)length;
	memcpy(input + 16, record + RECORD_HEADER, length);
	input[16 + padded] = 13;
	input[16 + padded + 8] = (uint8_t)length;
	input[16 + padded + 9] = (uint8_t)(length >> 8);
	assert_int_equal(EVP_MAC_init(context, poly_key, PAD_POLY_KEY, NULL), 1);
	assert_int_equal(EVP_MAC_update(context, input, 32 + padded), 1);
	assert_int_equal(EVP_MAC_final(context, tag, &written, 16), 1);
	EVP_MAC_CTX_free(context);
	EVP_MAC_free(mac);
}

/* A record sealed with a pad is the record the record layer seals. */
static void test_records(void **state) {
	static const uint64_t numbers[] = {1, 2, 255, 256, 65535, UINT32_MAX, UINT64_C(1) << 32, RECORD_NUMBER_MAX};
	static const uint8_t secret[RECORD_MASTER_SECRET] = {1, 2, 3};
	struct record_layer layer = {0};
	struct pad_key key;

	assert_int_equal(
		record_state_derive(&layer.state, RECORD_CHACHA20_POLY1305, "SHA256", secret, secret, secret + 16, true, 1), 0);
	assert_int_equal(record_layer_start(&layer), 0);
	memcpy(key.key, layer.state.tx_key, sizeof(key.key));
	memcpy(key.iv, layer.state.tx_iv, sizeof(key.iv));
	for (size_t n = 0; n < ARRAY_LENGTH(numbers); n++) {
		for (size_t length = 0; length <= LENGTH_MAX; length += 97) {
			uint8_t record[RECORD_OVERHEAD_MAX + LENGTH_MAX], made[LENGTH_MAX], poly_key[PAD_POLY_KEY], tag[16];
			struct pad_job job = {pad_sequence(RECORD_EPOCH, numbers[n]), poly_key, made};

			for (size_t i = 0; i < length; i++)
				record[RECORD_HEADER + i] = (uint8_t)(i * 31);
			layer.state.tx_next = numbers[n];
			assert_int_equal(record_seal(&layer, RECORD_APPLICATION, record, length),
					 RECORD_HEADER + length + RECORD_TAG);
			assert_int_equal(pad_maker_make(maker_of(state), &key, &job, 1, 0, LENGTH_MAX), 0);
			for (size_t i = 0; i < length; i++)
				assert_int_equal(record[RECORD_HEADER + i], (uint8_t)(i * 31) ^ made[i]);
			tag_make(poly_key, record, length, tag);
			assert_memory_equal(record + RECORD_HEADER + length, tag, sizeof(tag));
		}
	}
	record_layer_stop(&layer);
}

static void good_pads(const struct chacha_words *words, const struct pad_job *jobs, size_t count, size_t from, size_t length) {
	struct pad_key key;

	memcpy(key.key, words->key, sizeof(key.key)); /* little-endian, as the test machines are */
	memcpy(key.iv, words->iv, sizeof(key.iv));
	for (size_t i = 0; i < count; i++) {
		uint8_t stream[LENGTH_MAX + 4 * PAD_BLOCK], poly_key[PAD_POLY_KEY];

		assert_true(length <= sizeof(stream));
		assert_true(pad_reference(&key, jobs[i].sequence, poly_key, stream, length));
		if (from == 0)
			memcpy(jobs[i].poly_key, poly_key, sizeof(poly_key));
		memcpy(jobs[i].keystream + from, stream + from, length - from);
	}
}

static void wrong_last(const struct chacha_words *words, const struct pad_job *jobs, size_t count, size_t from, size_t length) {
	good_pads(words, jobs, count, from, length);
	jobs[count - 1].keystream[length - 1] ^= 0x80;
}

static void wrong_key(const struct chacha_words *words, const struct pad_job *jobs, size_t count, size_t from, size_t length) {
	good_pads(words, jobs, count, from, length);
	if (from == 0)
		jobs[0].poly_key[31] ^= 1;
}

static void wrong_number(const struct chacha_words *words, const struct pad_job *jobs, size_t count, size_t from, size_t length) {
	struct pad_job job = jobs[count - 1];

	good_pads(words, jobs, count, from, length);
	job.sequence &= UINT32_MAX; /* the upper half is forgotten */
	good_pads(words, &job, 1, from, length);
}

static void wrong_bounds(const struct chacha_words *words, const struct pad_job *jobs, size_t count, size_t from, size_t length) {
	good_pads(words, jobs, count, from, length);
	good_pads(words, jobs, 1, from, length + PAD_BLOCK);
}

static void wrong_nothing(const struct chacha_words *words, const struct pad_job *jobs, size_t count, size_t from, size_t length) {
	(void)words, (void)jobs, (void)count, (void)from, (void)length;
}

/* An implementation that errs is found at the start. */
static void test_check(void **state) {
	(void)state;
	assert_int_equal(chacha_check(good_pads), 0);
	assert_int_equal(chacha_check(wrong_last), -EBADMSG);
	assert_int_equal(chacha_check(wrong_key), -EBADMSG);
	assert_int_equal(chacha_check(wrong_number), -EBADMSG);
	assert_int_equal(chacha_check(wrong_bounds), -EBADMSG);
	assert_int_equal(chacha_check(wrong_nothing), -EBADMSG);
}

/* The fastest method that can be had alone is the one that is chosen. */
static void test_choice(void **state) {
	struct pad_maker *best = NULL, *maker;
	enum pad_method fastest = PAD_METHOD_EVP;

	(void)state;
	assert_int_equal(pad_maker_new(&best), 0);
	for (int method = PAD_METHOD_EVP; method < PAD_METHOD_COUNT; method++) {
		maker = NULL;
		int result = pad_maker_new_method((enum pad_method)method, &maker);
		if (result == 0)
			fastest = (enum pad_method)method;
		else
			assert_int_equal(result, -EOPNOTSUPP);
		assert_true((result == 0) == (maker != NULL));
		assert_null(pad_maker_free(maker));
	}
	assert_int_equal(pad_maker_method(best), fastest);
	maker = NULL;
	assert_int_equal(pad_maker_new_method(PAD_METHOD_COUNT, &maker), -EOPNOTSUPP);
	assert_null(maker);
	assert_string_equal(pad_method_name(PAD_METHOD_EVP), "OpenSSL");
	assert_string_equal(pad_method_name(PAD_METHOD_COUNT), "unknown");
	assert_null(pad_maker_free(best));
	assert_null(pad_maker_free(NULL));
}

static int setup(void **state, enum pad_method method) {
	struct pad_maker *maker = NULL;
	int result = pad_maker_new_method(method, &maker);

	*state = maker;
	return result;
}

static int setup_evp(void **state) {
	return setup(state, PAD_METHOD_EVP);
}

static int setup_avx2(void **state) {
	return setup(state, PAD_METHOD_AVX2);
}

static int setup_avx512(void **state) {
	return setup(state, PAD_METHOD_AVX512);
}

static int teardown(void **state) {
	*state = pad_maker_free(*state);
	return 0;
}

static int run_method(enum pad_method method, const char *name, CMFixtureFunction function) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),	 cmocka_unit_test(test_lengths),       cmocka_unit_test(test_counts),
		cmocka_unit_test(test_lengthen), cmocka_unit_test(test_block_counter), cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_records),
	};
	struct pad_maker *maker = NULL;

	if (pad_maker_new_method(method, &maker) == -EOPNOTSUPP) {
		printf("# %s: this processor lacks it\n", name);
		return 0;
	}
	pad_maker_free(maker);
	return cmocka_run_group_tests_name(name, tests, function, teardown);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_check), cmocka_unit_test(test_choice)};

	return run_method(PAD_METHOD_EVP, "pads by OpenSSL", setup_evp) + run_method(PAD_METHOD_AVX2, "pads by AVX2", setup_avx2) +
	       run_method(PAD_METHOD_AVX512, "pads by AVX-512", setup_avx512) +
	       cmocka_run_group_tests_name("methods for pads", tests, NULL, NULL);
}
