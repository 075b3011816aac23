/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every structure of the wire format: round trip, truncation at every octet, trailing octets, damaged lengths and types, flipped
 * bits. Each input stands in an allocation of exactly its size, so that a sanitizer sees any read beyond it.
 *
 * With a directory as argument it writes the valid encodings there, as the seeds of tests/fuzz/fuzz_message.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "support/wire_cases.h"
#include "support/wire_recode.h"

enum {
	SEED = 6940,
	MUTATIONS = 400, /* of each valid encoding */
};

static const struct recoder *recoder_find(const char *name) {
	for (size_t i = 0; i < ARRAY_LENGTH(recoders); i++)
		if (strcmp(recoders[i].name, name) == 0)
			return &recoders[i];
	fail_msg("no recoder %s", name);
	return NULL;
}

static uint8_t digit(char c) {
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Room for one octet more than the encoding, for the trailing octet. */
static uint8_t *case_octets(const struct wire_case *test, size_t *ret_length) {
	size_t length = strlen(test->hex) / 2;
	uint8_t *octets = malloc(length + 1);

	assert_non_null(octets);
	for (size_t i = 0; i < length; i++)
		octets[i] = (uint8_t)(digit(test->hex[2 * i]) << 4 | digit(test->hex[2 * i + 1]));
	*ret_length = length;
	return octets;
}

/* Decodes a copy in an allocation of exactly `length` octets. */
static int run_exact(const struct recoder *recoder, const uint8_t *octets, size_t length, uint8_t node_id_length) {
	uint8_t *copy = malloc(length);

	if (length > 0) {
		assert_non_null(copy);
		memcpy(copy, octets, length);
	}
	int error = recode_run(recoder, OCTETS(copy, length), node_id_length);
	free(copy);
	return error;
}

/* B-6.3.1-01, B-6.3.1-03: valid encodings decode, and encode to the same octets. */
static void test_round_trip(void **state) {
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(wire_valid); i++) {
		const struct wire_case *test = &wire_valid[i];
		size_t length;
		_cleanup_free_ uint8_t *octets = case_octets(test, &length);
		if (run_exact(recoder_find(test->recoder), octets, length, test->node_id_length) < 0)
			fail_msg("%s %s does not decode", test->recoder, test->name);
	}
}

static void test_every_recoder_has_a_case(void **state) {
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(recoders); i++) {
		size_t found = 0;
		for (size_t j = 0; j < ARRAY_LENGTH(wire_valid); j++)
			found += strcmp(wire_valid[j].recoder, recoders[i].name) == 0;
		if (found == 0)
			fail_msg("%s has no valid encoding", recoders[i].name);
	}
}

/* B-6.3.1-02, B-6.3.1-05 and the lengths of every structure. */
static void test_malformed(void **state) {
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(wire_invalid); i++) {
		const struct wire_case *test = &wire_invalid[i];
		size_t length;
		_cleanup_free_ uint8_t *octets = case_octets(test, &length);
		if (run_exact(recoder_find(test->recoder), octets, length, test->node_id_length) >= 0)
			fail_msg("%s %s decodes", test->recoder, test->name);
	}
}

static void test_truncated(void **state) {
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(wire_valid); i++) {
		const struct wire_case *test = &wire_valid[i];
		const struct recoder *recoder = recoder_find(test->recoder);
		size_t length;
		_cleanup_free_ uint8_t *octets = case_octets(test, &length);
		for (size_t cut = 0; cut < length; cut++)
			if (run_exact(recoder, octets, cut, test->node_id_length) >= 0 && !(recoder->flags & RECODE_LIST))
				fail_msg("%s %s decodes from %zu of %zu octets", test->recoder, test->name, cut, length);
	}
}

static void test_trailing(void **state) {
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(wire_valid); i++) {
		const struct wire_case *test = &wire_valid[i];
		const struct recoder *recoder = recoder_find(test->recoder);
		size_t length;
		_cleanup_free_ uint8_t *octets = case_octets(test, &length);
		for (unsigned value = 0; value < 256; value += 51) {
			octets[length] = (uint8_t)value;
			if (run_exact(recoder, octets, length + 1, test->node_id_length) >= 0)
				fail_msg("%s %s decodes with a trailing %02x", test->recoder, test->name, value);
		}
	}
}

/* Every octet set to values that matter as lengths, types and Booleans; recode_run() checks what still decodes. */
static void test_octets_replaced(void **state) {
	static const uint8_t values[] = {0x00, 0x01, 0x02, 0x03, 0x55, 0x7f, 0x80, 0xfe, 0xff};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(wire_valid); i++) {
		const struct wire_case *test = &wire_valid[i];
		const struct recoder *recoder = recoder_find(test->recoder);
		size_t length;
		_cleanup_free_ uint8_t *octets = case_octets(test, &length);
		for (size_t at = 0; at < length; at++) {
			uint8_t original = octets[at];
			for (size_t v = 0; v < ARRAY_LENGTH(values); v++) {
				octets[at] = values[v];
				run_exact(recoder, octets, length, test->node_id_length);
			}
			octets[at] = original;
		}
	}
}

static void test_bits_flipped(void **state) {
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(wire_valid); i++) {
		const struct wire_case *test = &wire_valid[i];
		const struct recoder *recoder = recoder_find(test->recoder);
		size_t length;
		_cleanup_free_ uint8_t *octets = case_octets(test, &length);
		for (size_t bit = 0; bit < 8 * length; bit++) {
			octets[bit / 8] ^= (uint8_t)(1u << bit % 8);
			run_exact(recoder, octets, length, test->node_id_length);
			octets[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
}

static uint32_t random_next(uint64_t *state) {
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

/* Several changes at once, parts cut out or repeated, read by every decoder in turn. */
static void test_mutations(void **state) {
	uint64_t random = SEED;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(wire_valid); i++) {
		const struct wire_case *test = &wire_valid[i];
		size_t length;
		_cleanup_free_ uint8_t *original = case_octets(test, &length);
		if (length == 0)
			continue;
		for (unsigned n = 0; n < MUTATIONS; n++) {
			_cleanup_free_ uint8_t *octets = malloc(2 * length);
			assert_non_null(octets);
			memcpy(octets, original, length);
			for (unsigned changes = 1 + random_next(&random) % 4; changes > 0; changes--)
				octets[random_next(&random) % length] ^= (uint8_t)(1 + random_next(&random) % 255);
			size_t used = length;
			if (random_next(&random) % 4 == 0) {
				size_t from = random_next(&random) % length, count = random_next(&random) % (length - from) + 1;
				if (random_next(&random) % 2 == 0) {
					memmove(octets + from, octets + from + count, length - from - count);
					used -= count;
				} else {
					memmove(octets + from + count, octets + from, length - from);
					used += count;
				}
			}
			const struct recoder *recoder =
				n % 2 == 0 ? recoder_find(test->recoder) : &recoders[n % ARRAY_LENGTH(recoders)];
			run_exact(recoder, octets, used, n % 3 == 0 ? ID_LENGTH_MAX : test->node_id_length);
		}
	}
}

/* A structure is not taken for another length of Node-ID unless it holds none. */
static void test_impossible_node_id_length(void **state) {
	static const uint8_t lengths[] = {1, 15, 21, 255};
	static const char *const bodies[] = {
		"message",	   "join_req", "leave_req", "chord_leave", "chord_update", "route_query", "chord_route_query_ans",
		"destination_list"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(wire_valid); i++)
		for (size_t j = 0; j < ARRAY_LENGTH(bodies); j++) {
			const struct wire_case *test = &wire_valid[i];
			if (strcmp(test->recoder, bodies[j]) != 0 || test->hex[0] == 0)
				continue;
			size_t length;
			_cleanup_free_ uint8_t *octets = case_octets(test, &length);
			for (size_t n = 0; n < ARRAY_LENGTH(lengths); n++)
				assert_true(recoder_find(test->recoder)
						    ->recode(OCTETS(octets, length), lengths[n], &(struct writer){.limit = 1}) < 0);
		}
}

static int write_seeds(const char *directory) {
	for (size_t i = 0; i < ARRAY_LENGTH(wire_valid); i++) {
		const struct wire_case *test = &wire_valid[i];
		char path[512];
		size_t length;
		_cleanup_free_ uint8_t *octets = case_octets(test, &length);
		snprintf(path, sizeof(path), "%s/%s-%s", directory, test->recoder, test->name);
		_cleanup_fclose_ FILE *file = fopen(path, "w");
		if (!file || fwrite(octets, 1, length, file) != length)
			return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_recoder_has_a_case),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_trailing),
		cmocka_unit_test(test_octets_replaced),
		cmocka_unit_test(test_bits_flipped),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_impossible_node_id_length),
	};

	if (argc > 1)
		return write_seeds(argv[1]);
	return cmocka_run_group_tests_name("wire/cases", tests, NULL, NULL);
}
