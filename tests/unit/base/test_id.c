/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/id.h"

enum { SEED = 1, ROUNDS = 20000 };

static struct id id_from(const char *text) {
	struct id id = ID_NONE;

	assert_int_equal(id_parse(text, &id), 0);
	return id;
}

#define assert_id(id_, text)                                                                                                       \
	({                                                                                                                         \
		struct id _id = (id_);                                                                                             \
		char _text[ID_TEXT_SIZE];                                                                                          \
		assert_string_equal(id_format(&_id, _text), text);                                                                 \
	})

/* B-6.3.1-03 */
static void test_lengths(void **state) {
	static const uint8_t octets[64] = {1};

	(void)state;
	for (size_t length = 0; length < sizeof(octets); length++) {
		struct id id = id_of(OCTETS(octets, length));
		bool valid = length >= 16 && length <= 20;
		assert_int_equal(id.length, valid ? length : 0);
		assert_int_equal(id_is_none(&id), !valid);
	}
	struct id none = ID_NONE, empty = id_of(OCTETS_NONE);
	assert_true(id_equal(&none, &empty));
}

static void test_text(void **state) {
	struct id id = id_from("00112233445566778899AABBCCDDEEFF"), untouched = id;

	(void)state;
	assert_id(id, "00112233445566778899aabbccddeeff");
	assert_id(id_from("00112233445566778899aabbccddeeff01020304"), "00112233445566778899aabbccddeeff01020304");
	assert_id(ID_NONE, "");
	static const char *const malformed[] = {
		"",
		"00112233445566778899aabbccddee",
		"00112233445566778899aabbccddeef",
		"00112233445566778899aabbccddeeff0",
		"00112233445566778899aabbccddeeff0102030405",
		"00112233445566778899aabbccddeefg",
		" 0112233445566778899aabbccddeeff",
		"0x112233445566778899aabbccddeeff",
	};
	for (size_t i = 0; i < ARRAY_LENGTH(malformed); i++)
		assert_int_equal(id_parse(malformed[i], &id), -EINVAL);
	assert_true(id_equal(&id, &untouched));
}

static void test_order(void **state) {
	struct id a = id_from("00112233445566778899aabbccddeeff"), b = id_from("00112233445566778899aabbccddef00");

	(void)state;
	assert_true(id_compare(&a, &b) < 0);
	assert_true(id_compare(&b, &a) > 0);
	assert_int_equal(id_compare(&a, &a), 0);
	assert_true(id_equal(&a, &a));
	assert_false(id_equal(&a, &b));
	struct id longer = id_from("00112233445566778899aabbccddeeff00000000");
	assert_false(id_equal(&a, &longer)); /* same value, other length */
}

/* B-3-01 */
static void test_among(void **state) {
	struct id ids[] = {id_from("00112233445566778899aabbccddeeff"), id_from("00112233445566778899aabbccddef00")},
		  other = id_from("00112233445566778899aabbccddef01");

	(void)state;
	assert_true(id_is_among(&ids[0], ids, 2));
	assert_true(id_is_among(&ids[1], ids, 2));
	assert_false(id_is_among(&ids[1], ids, 1));
	assert_false(id_is_among(&other, ids, 2));
	assert_false(id_is_among(&ids[0], ids, 0));
}

static void test_special(void **state) {
	(void)state;
	for (uint8_t length = 16; length <= 20; length++) {
		struct id wildcard = id_wildcard(length), zero = {.length = length};
		assert_true(id_is_wildcard(&wildcard));
		assert_false(id_is_zero(&wildcard));
		assert_true(id_is_zero(&zero));
		assert_false(id_is_wildcard(&zero));
		wildcard.octets[length - 1] = 0xfe;
		zero.octets[0] = 0x80;
		assert_false(id_is_wildcard(&wildcard));
		assert_false(id_is_zero(&zero));
		wildcard = id_wildcard(length);
		for (unsigned i = length; i < ID_LENGTH_MAX; i++)
			assert_int_equal(wildcard.octets[i], 0);
	}
	struct id none = ID_NONE;
	assert_false(id_is_wildcard(&none));
	assert_false(id_is_zero(&none));
}

static void test_arithmetic(void **state) {
	struct id a = id_from("000000000000000000000000000000ff"), one = id_from("00000000000000000000000000000001"),
		  zero = id_from("00000000000000000000000000000000"), wildcard = id_wildcard(16);

	(void)state;
	assert_id(id_add(&a, &one), "00000000000000000000000000000100");
	assert_id(id_subtract(&a, &one), "000000000000000000000000000000fe");
	assert_id(id_subtract(&one, &a), "ffffffffffffffffffffffffffffff02");
	assert_id(id_add(&wildcard, &one), "00000000000000000000000000000000"); /* round the ring */
	assert_id(id_subtract(&zero, &one), "ffffffffffffffffffffffffffffffff");
	assert_id(id_add_small(&a, 0xffffff02), "00000000000000000000000100000001");
	assert_id(id_add_small(&wildcard, 1), "00000000000000000000000000000000");
	assert_id(id_add_small(&a, 0), "000000000000000000000000000000ff");
	struct id longer = id_wildcard(20);
	assert_id(id_add_small(&longer, 2), "0000000000000000000000000000000000000001");
}

static void test_powers_of_two(void **state) {
	(void)state;
	assert_id(id_power_of_two(16, 0), "00000000000000000000000000000001");
	assert_id(id_power_of_two(16, 7), "00000000000000000000000000000080");
	assert_id(id_power_of_two(16, 8), "00000000000000000000000000000100");
	assert_id(id_power_of_two(16, 127), "80000000000000000000000000000000");
	assert_id(id_power_of_two(16, 128), "00000000000000000000000000000000"); /* 2^128 modulo 2^128 */
	assert_id(id_power_of_two(20, 159), "8000000000000000000000000000000000000000");
	for (unsigned exponent = 0; exponent < 127; exponent++) {
		struct id power = id_power_of_two(16, exponent), twice = id_add(&power, &power),
			  next = id_power_of_two(16, exponent + 1);
		assert_true(id_equal(&twice, &next));
	}
}

/* B-10.1-01 */
static void test_ranges(void **state) {
	struct id a = id_from("10000000000000000000000000000000"), b = id_from("20000000000000000000000000000000"),
		  c = id_from("30000000000000000000000000000000"), zero = {.length = 16}, wildcard = id_wildcard(16);

	(void)state;
	assert_true(id_in_range(&b, &a, &c));
	assert_false(id_in_range(&b, &c, &a));
	assert_false(id_in_range(&a, &a, &c)); /* from is excluded, to included */
	assert_true(id_in_range(&c, &a, &c));
	assert_false(id_between(&c, &a, &c));
	assert_false(id_between(&a, &a, &c));
	assert_true(id_between(&b, &a, &c));
	/* Across zero. */
	assert_true(id_in_range(&zero, &c, &a));
	assert_true(id_in_range(&wildcard, &c, &a));
	assert_true(id_in_range(&a, &c, &a));
	assert_false(id_between(&a, &c, &a));
	assert_false(id_in_range(&c, &c, &a));
	assert_true(id_between(&zero, &c, &a));
	/* A node alone owns the whole ring, itself included. */
	assert_true(id_in_range(&a, &b, &b));
	assert_true(id_in_range(&b, &b, &b));
	assert_true(id_between(&a, &b, &b));
	assert_false(id_between(&b, &b, &b));
}

static uint64_t random_state = SEED;

static struct id id_random(void) {
	struct id id = {.length = 16};

	for (unsigned i = 0; i < 16; i++) {
		random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		/* Few different values, so that equal and adjacent points occur. */
		id.octets[i] = i < 14 ? (uint8_t)(random_state >> 40 & 1 ? 0xff : 0) : (uint8_t)(random_state >> 56);
	}
	return id;
}

/* Against the definition: clockwise distances from `from`. */
static void test_ranges_by_distance(void **state) {
	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct id from = id_random(), to = id_random(), point = id_random();
		if (i % 7 == 0)
			point = from;
		if (i % 11 == 0)
			point = to;
		if (i % 13 == 0)
			to = from;
		struct id distance = id_subtract(&point, &from), span = id_subtract(&to, &from), back = id_add(&from, &distance);
		bool whole = id_is_zero(&span);
		assert_int_equal(id_in_range(&point, &from, &to),
				 whole || (!id_is_zero(&distance) && id_compare(&distance, &span) <= 0));
		assert_int_equal(id_between(&point, &from, &to),
				 !id_is_zero(&distance) && (whole || id_compare(&distance, &span) < 0));
		assert_true(id_equal(&back, &point));
	}
}

static void test_codec(void **state) {
	uint8_t octets[20], buffer[64];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	(void)state;
	for (uint8_t i = 0; i < sizeof(octets); i++)
		octets[i] = i;
	struct reader r = reader_of(octets, sizeof(octets));
	struct id id = reader_id(&r);
	assert_int_equal(id.length, 16);
	assert_int_equal(reader_left(&r), 4);
	writer_id(&w, &id);
	assert_int_equal(w.length, 16);
	assert_memory_equal(buffer, octets, 16);
	r = reader_of(octets, sizeof(octets));
	r.node_id_length = 20;
	id = reader_id(&r);
	assert_int_equal(id.length, 20);
	writer_id(&w, &id); /* not the length of this overlay */
	assert_int_equal(writer_finish(&w), -EINVAL);
	r = reader_of(octets, 15);
	id = reader_id(&r);
	assert_true(id_is_none(&id));
	assert_int_equal(reader_finish(&r), -EBADMSG);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lengths),	   cmocka_unit_test(test_text),
		cmocka_unit_test(test_order),	   cmocka_unit_test(test_special),
		cmocka_unit_test(test_arithmetic), cmocka_unit_test(test_powers_of_two),
		cmocka_unit_test(test_ranges),	   cmocka_unit_test(test_ranges_by_distance),
		cmocka_unit_test(test_codec),	   cmocka_unit_test(test_among),
	};

	return cmocka_run_group_tests_name("base/id", tests, NULL, NULL);
}
