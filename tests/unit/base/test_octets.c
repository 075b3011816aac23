/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/octets.h"

static const uint8_t counting[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
				   0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13};

static void test_views(void **state) {
	(void)state;
	assert_int_equal(octets_of_string("abc").length, 3);
	assert_int_equal(octets_of_string("").length, 0);
	assert_int_equal(octets_of_string(NULL).length, 0);
	assert_true(octets_equal(octets_of_string("abc"), OCTETS("abcd", 3)));
	assert_false(octets_equal(octets_of_string("abc"), octets_of_string("abd")));
	assert_false(octets_equal(octets_of_string("abc"), octets_of_string("ab")));
	assert_true(octets_equal(OCTETS_NONE, octets_of_string("")));
	assert_true(octets_equal_secret("abc", "abc", 3));
	assert_false(octets_equal_secret("abc", "abd", 3));
	assert_false(octets_equal_secret("bbc", "abc", 3));
	assert_true(octets_equal_secret("abc", "abd", 2));
	assert_true(octets_equal_secret(NULL, NULL, 0));
	char secret[] = "secret";
	octets_wipe(secret, sizeof(secret));
	for (size_t i = 0; i < sizeof(secret); i++)
		assert_int_equal(secret[i], 0);
	octets_wipe(NULL, 10);
}

static void test_lower_case(void **state) {
	static const char from[] = "@AZ[`az{0\xc4\xe4", to[] = "@az[`az{0\xc4\xe4";

	(void)state;
	for (size_t i = 0; i < sizeof(from); i++)
		assert_int_equal(ascii_lower(from[i]), to[i]);
}

static void test_integers_are_big_endian(void **state) {
	struct reader r = reader_of(counting, sizeof(counting));

	(void)state;
	assert_int_equal(reader_u8(&r), 0x01);
	assert_int_equal(reader_u16(&r), 0x0203);
	assert_int_equal(reader_u24(&r), 0x040506);
	assert_int_equal(reader_u32(&r), 0x0708090a);
	assert_true(reader_u64(&r) == UINT64_C(0x0b0c0d0e0f101112));
	assert_true(reader_more(&r));
	assert_int_equal(reader_left(&r), 1);
	assert_int_equal(reader_finish(&r), -EBADMSG); /* one octet is left over */
	assert_int_equal(reader_u8(&r), 0x13);
	assert_false(reader_more(&r));
	assert_int_equal(reader_finish(&r), 0);
}

/* An exact allocation for each length, so that a sanitizer sees a read beyond it. */
static void test_reads_stop_at_the_end(void **state) {
	(void)state;
	for (size_t length = 0; length <= 8; length++) {
		_cleanup_free_ uint8_t *data = malloc(length);
		memset(data, 0xff, length);
#define READS(width, call)                                                                                                         \
	({                                                                                                                         \
		struct reader r = reader_of(data, length);                                                                         \
		bool fits = length >= (width);                                                                                     \
		assert_true((call) == (fits ? UINT64_MAX >> (64 - 8 * (width)) : 0));                                              \
		assert_int_equal(r.error, fits ? 0 : -EBADMSG);                                                                    \
		assert_int_equal(reader_left(&r), fits ? length - (width) : 0);                                                    \
	})
		READS(1, reader_u8(&r));
		READS(2, reader_u16(&r));
		READS(3, reader_u24(&r));
		READS(4, reader_u32(&r));
		READS(8, reader_u64(&r));
#undef READS
	}
}

static void test_error_is_sticky(void **state) {
	struct reader r = reader_of(counting, 3);

	(void)state;
	assert_int_equal(reader_u32(&r), 0);
	assert_int_equal(reader_u8(&r), 0);
	assert_int_equal(reader_octets(&r, 1).length, 0);
	assert_null(reader_octets(&r, 0).data);
	assert_int_equal(reader_rest(&r).length, 0);
	assert_int_equal(reader_left(&r), 0);
	assert_false(reader_more(&r));
	assert_int_equal(reader_finish(&r), -EBADMSG);

	r = reader_of(counting, 3);
	assert_int_equal(reader_fail(&r), -EBADMSG);
	assert_int_equal(reader_u8(&r), 0);
	assert_int_equal(reader_finish(&r), -EBADMSG);

	/* Failed even with everything read. */
	r = reader_of(counting, 1);
	reader_u8(&r);
	reader_fail(&r);
	assert_int_equal(reader_finish(&r), -EBADMSG);
}

/* B-6.3.1-02 */
static void test_boolean(void **state) {
	(void)state;
	for (unsigned value = 0; value < 256; value++) {
		uint8_t octet = (uint8_t)value;
		struct reader r = reader_of(&octet, 1);
		assert_int_equal(reader_boolean(&r), value == 1);
		assert_int_equal(reader_finish(&r), value <= 1 ? 0 : -EBADMSG);
	}
	struct reader r = reader_of(counting, 0);
	assert_false(reader_boolean(&r));
	assert_int_equal(reader_finish(&r), -EBADMSG);
}

static void test_views_into_the_input(void **state) {
	struct reader r = reader_of_octets(OCTETS(counting, sizeof(counting)));

	(void)state;
	struct octets first = reader_octets(&r, 3), none = reader_octets(&r, 0), rest = reader_rest(&r);
	assert_ptr_equal(first.data, counting);
	assert_int_equal(first.length, 3);
	assert_int_equal(none.length, 0);
	assert_ptr_equal(rest.data, counting + 3);
	assert_int_equal(rest.length, sizeof(counting) - 3);
	assert_int_equal(reader_finish(&r), 0);
	r = reader_of(counting, 3);
	assert_int_equal(reader_octets(&r, SIZE_MAX).length, 0);
	assert_int_equal(reader_finish(&r), -EBADMSG);
	r = reader_of(counting, 3);
	reader_u8(&r);
	assert_int_equal(reader_octets(&r, SIZE_MAX).length, 0); /* position + length would wrap */
	assert_int_equal(reader_finish(&r), -EBADMSG);
}

static void test_vectors_read(void **state) {
	static const uint8_t octets[] = {1, 'a', 0, 2, 'b', 'c', 0, 0, 1, 'd', 0, 0, 0, 2, 'e', 'f', 0};
	struct reader r = reader_of(octets, sizeof(octets));

	(void)state;
	assert_true(octets_equal(reader_vector8(&r), octets_of_string("a")));
	assert_true(octets_equal(reader_vector16(&r), octets_of_string("bc")));
	assert_true(octets_equal(reader_vector24(&r), octets_of_string("d")));
	assert_true(octets_equal(reader_vector32(&r), octets_of_string("ef")));
	assert_int_equal(reader_vector8(&r).length, 0);
	assert_int_equal(reader_finish(&r), 0);
	static const uint8_t oversized[] = {0xff, 0xff, 0xff, 0xff, 'x'};
	r = reader_of(oversized, sizeof(oversized));
	assert_int_equal(reader_vector8(&r).length, 0);
	assert_int_equal(reader_finish(&r), -EBADMSG);
	r = reader_of(oversized, sizeof(oversized));
	assert_int_equal(reader_vector32(&r).length, 0);
	assert_int_equal(reader_finish(&r), -EBADMSG);
}

static void test_nested(void **state) {
	static const uint8_t octets[] = {2, 'a', 'b', 'c'};
	struct reader r = reader_of(octets, sizeof(octets));

	(void)state;
	r.node_id_length = 20;
	struct reader nested = reader_nested(&r, reader_vector8(&r));
	assert_int_equal(nested.node_id_length, 20);
	reader_u8(&nested);
	assert_int_equal(r.error, 0);
	assert_int_equal(reader_finish_nested(&r, &nested), -EBADMSG); /* 'b' is left over */
	assert_int_equal(reader_u8(&r), 0);

	r = reader_of(octets, sizeof(octets));
	nested = reader_nested(&r, reader_vector8(&r));
	reader_u16(&nested);
	assert_int_equal(reader_finish_nested(&r, &nested), 0);
	assert_int_equal(reader_u8(&r), 'c');
	assert_int_equal(reader_finish(&r), 0);

	/* Errors go down into a nested reader, and up only through reader_finish_nested(). */
	r = reader_of(octets, sizeof(octets));
	nested = reader_nested(&r, reader_vector8(&r));
	reader_u32(&nested);
	assert_int_equal(r.error, 0);
	reader_fail(&r);
	nested = reader_nested(&r, OCTETS(octets, 2));
	assert_int_equal(reader_u8(&nested), 0);
	assert_int_equal(reader_finish(&nested), -EBADMSG);
}

static void test_writer_fixed(void **state) {
	uint8_t buffer[32];
	struct writer w = writer_fixed(buffer, 19);

	(void)state;
	writer_u8(&w, 0x01);
	writer_u16(&w, 0x0203);
	writer_u24(&w, 0x040506);
	writer_u32(&w, 0x0708090a);
	writer_u64(&w, UINT64_C(0x0b0c0d0e0f101112));
	writer_raw(&w, "\x13", 1);
	writer_raw(&w, NULL, 0);
	assert_int_equal(writer_finish(&w), 0);
	assert_true(octets_equal(writer_octets_written(&w), OCTETS(counting, sizeof(counting))));
	writer_u8(&w, 1);
	assert_int_equal(writer_finish(&w), -ENOBUFS);
	assert_int_equal(w.length, 19);
	writer_release(&w); /* the buffer is the caller's */

	/* What does not fit is not begun, and nothing follows it. */
	w = writer_fixed(buffer, 3);
	buffer[0] = 0x77;
	writer_u32(&w, 1);
	writer_u8(&w, 1);
	assert_int_equal(w.length, 0);
	assert_int_equal(buffer[0], 0x77);
	assert_int_equal(writer_finish(&w), -ENOBUFS);
	w = writer_fixed(buffer, 2);
	writer_u8(&w, 1);
	assert_null(writer_reserve(&w, SIZE_MAX));
	assert_int_equal(writer_finish(&w), -ENOBUFS);
}

static void test_writer_failure(void **state) {
	uint8_t buffer[8];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	(void)state;
	writer_fail(&w, -EINVAL);
	writer_fail(&w, -ENOMEM); /* the first one counts */
	writer_u8(&w, 1);
	assert_null(writer_reserve(&w, 0));
	assert_int_equal(w.length, 0);
	assert_int_equal(writer_finish(&w), -EINVAL);
}

static void test_writer_booleans_and_octets(void **state) {
	uint8_t buffer[8];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	(void)state;
	writer_boolean(&w, true);
	writer_boolean(&w, false);
	writer_octets(&w, octets_of_string("ab"));
	writer_octets(&w, OCTETS_NONE);
	assert_true(octets_equal(writer_octets_written(&w), OCTETS("\x01\x00"
								   "ab",
								   4)));
}

static void test_vectors_written(void **state) {
	uint8_t buffer[32];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	(void)state;
	writer_vector8(&w, octets_of_string("a"));
	writer_vector16(&w, octets_of_string("bc"));
	writer_vector24(&w, octets_of_string("d"));
	writer_vector32(&w, OCTETS_NONE);
	assert_true(octets_equal(writer_octets_written(&w), OCTETS("\1a\0\2bc\0\0\1d\0\0\0\0", 14)));
}

/* B-6.3.1-01: a length must fit the octets that carry it. */
static void test_vector_bounds(void **state) {
	_cleanup_free_ uint8_t *zeros = calloc(1, 0x1000001);

	(void)state;
	assert_non_null(zeros);
	struct writer w = writer_growing(0x2000000);
	writer_vector8(&w, OCTETS(zeros, 0xff));
	writer_vector16(&w, OCTETS(zeros, 0xffff));
	writer_vector24(&w, OCTETS(zeros, 0xffffff));
	assert_int_equal(writer_finish(&w), 0);
	writer_release(&w);
	writer_vector8(&w, OCTETS(zeros, 0x100));
	assert_int_equal(writer_finish(&w), -EMSGSIZE);
	writer_release(&w);
	writer_vector16(&w, OCTETS(zeros, 0x10000));
	assert_int_equal(writer_finish(&w), -EMSGSIZE);
	writer_release(&w);
	writer_vector24(&w, OCTETS(zeros, 0x1000000));
	assert_int_equal(writer_finish(&w), -EMSGSIZE);
	writer_release(&w);
	assert_int_equal(writer_finish(&w), 0); /* a released writer starts anew */
}

static void test_reservations(void **state) {
	uint8_t buffer[32];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	(void)state;
	writer_u8(&w, 0xaa);
	size_t outer = writer_begin(&w, 4), inner = writer_begin(&w, 1);
	writer_u16(&w, 0x0102);
	writer_end(&w, inner, 1);
	writer_end(&w, outer, 4);
	assert_true(octets_equal(writer_octets_written(&w), OCTETS("\xaa\0\0\0\3\2\1\2", 8)));
	w = writer_fixed(buffer, 3);
	outer = writer_begin(&w, 2);
	writer_u16(&w, 1);
	writer_end(&w, outer, 2); /* harmless after the failure */
	assert_int_equal(writer_finish(&w), -ENOBUFS);
	w = writer_fixed(buffer, 1);
	outer = writer_begin(&w, 2);
	writer_end(&w, outer, 2);
	assert_int_equal(writer_finish(&w), -ENOBUFS);
}

static void test_writer_growing(void **state) {
	struct writer w = writer_growing(1024);
	size_t length = 77;

	(void)state;
	assert_int_equal(writer_octets_written(&w).length, 0);
	for (unsigned i = 0; i < 1024; i++)
		writer_u8(&w, (uint8_t)i);
	assert_int_equal(writer_finish(&w), 0);
	for (unsigned i = 0; i < 1024; i++)
		assert_int_equal(w.data[i], (uint8_t)i);
	uint8_t *taken = writer_take(&w, &length);
	assert_int_equal(length, 1024);
	assert_int_equal(taken[1023], (uint8_t)1023);
	free(taken);
	assert_null(w.data);
	assert_int_equal(w.length, 0);

	/* The limit holds, and the writer may be used again after it was emptied. */
	assert_non_null(writer_reserve(&w, 1024));
	assert_null(writer_reserve(&w, 1));
	assert_int_equal(writer_finish(&w), -ENOBUFS);
	writer_release(&w);
	assert_null(writer_reserve(&w, 1025));
	assert_int_equal(writer_finish(&w), -ENOBUFS);
	writer_release(&w);
	writer_u8(&w, 1);
	assert_null(writer_reserve(&w, SIZE_MAX));
	writer_release(&w);
	w.node_id_length = 20;
	writer_release(&w);
	assert_int_equal(w.node_id_length, 20);

	/* Also where doubling would pass it. */
	w = writer_growing(1000);
	assert_non_null(writer_reserve(&w, 1000));
	assert_null(writer_reserve(&w, 1));
	assert_int_equal(writer_finish(&w), -ENOBUFS);
	writer_release(&w);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_views),
		cmocka_unit_test(test_lower_case),
		cmocka_unit_test(test_integers_are_big_endian),
		cmocka_unit_test(test_reads_stop_at_the_end),
		cmocka_unit_test(test_error_is_sticky),
		cmocka_unit_test(test_boolean),
		cmocka_unit_test(test_views_into_the_input),
		cmocka_unit_test(test_vectors_read),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_writer_fixed),
		cmocka_unit_test(test_writer_failure),
		cmocka_unit_test(test_writer_booleans_and_octets),
		cmocka_unit_test(test_vectors_written),
		cmocka_unit_test(test_vector_bounds),
		cmocka_unit_test(test_reservations),
		cmocka_unit_test(test_writer_growing),
	};

	return cmocka_run_group_tests_name("base/octets", tests, NULL, NULL);
}
