/* SPDX-License-Identifier: BSD-2-Clause */
/* Hashing, checking and making passwords; counting wrong ones. */
#include "enroll/password.h"

#include "base/runtime.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void check_right_and_wrong(void **state) {
	char text[PASSWORD_TEXT_SIZE], again[PASSWORD_TEXT_SIZE];

	(void)state;
	assert_int_equal(password_hash(OCTETS("secret word", 11), 4, text), 0);
	assert_int_equal(password_hash(OCTETS("secret word", 11), 4, again), 0);
	assert_string_not_equal(text, again); /* a salt each */
	assert_null(strstr(text, "secret"));
	assert_int_equal(password_check(OCTETS("secret word", 11), text), 0);
	assert_int_equal(password_check(OCTETS("secret worD", 11), text), -EKEYREJECTED);
	assert_int_equal(password_check(OCTETS("secret word\0", 12), text), -EKEYREJECTED);
	assert_int_equal(password_check(OCTETS("", 0), text), -EKEYREJECTED);
}

/* RFC 7914, section 12: scrypt("pleaseletmein", "SodiumChloride", 16384, 8, 1) has a salt of 14 octets; ours have 16, so that the
 * format is checked by a value computed with another implementation. */
static void check_known_value(void **state) {
	static const char text[] = "$scrypt$ln=4,r=8,p=1$000102030405060708090a0b0c0d0e0f$"
				   "1aec9c0af3af0574b25e7efe9d8f92c21b686ba126a9eaa5c85c446cf39ecf9a";

	(void)state;
	assert_int_equal(password_check(OCTETS("pleaseletmein", 13), text), 0);
}

static void refuse_bad_texts(void **state) {
	static const char *const texts[] = {
		"",
		"$scrypt$",
		"$scrypt$ln=4,r=8,p=1$00$00",
		"$scrypt$ln=3,r=8,p=1$000102030405060708090a0b0c0d0e0f$"
		"00000000000000000000000000000000000000000000000000000000000000ff",
		"$scrypt$ln=21,r=8,p=1$000102030405060708090a0b0c0d0e0f$"
		"00000000000000000000000000000000000000000000000000000000000000ff",
		"$scrypt$ln=4,r=8,p=1$000102030405060708090a0b0c0d0e0f$"
		"00000000000000000000000000000000000000000000000000000000000000ffx",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(password_check(OCTETS("x", 1), texts[i]), -EBADMSG);
}

static void refuse_too_long(void **state) {
	uint8_t long_one[PASSWORD_MAX + 1];
	char text[PASSWORD_TEXT_SIZE];

	(void)state;
	memset(long_one, 'a', sizeof(long_one));
	assert_int_equal(password_hash(OCTETS(long_one, PASSWORD_MAX), 4, text), 0);
	assert_int_equal(password_check(OCTETS(long_one, PASSWORD_MAX), text), 0);
	assert_int_equal(password_check(OCTETS(long_one, PASSWORD_MAX + 1), text), -EKEYREJECTED);
	assert_int_equal(password_hash(OCTETS(long_one, PASSWORD_MAX + 1), 4, text), -EINVAL);
	assert_int_equal(password_hash(OCTETS(long_one, 8), PASSWORD_LOG_N_MAX + 1, text), -EINVAL);
}

static void generate_passwords(void **state) {
	char a[PASSWORD_GENERATED_SIZE], b[PASSWORD_GENERATED_SIZE];

	(void)state;
	assert_int_equal(password_generate(a), 0);
	assert_int_equal(password_generate(b), 0);
	assert_int_equal(strlen(a), PASSWORD_GENERATED_SIZE - 1);
	assert_string_not_equal(a, b);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_right_and_wrong), cmocka_unit_test(check_known_value),  cmocka_unit_test(refuse_bad_texts),
		cmocka_unit_test(refuse_too_long),	 cmocka_unit_test(generate_passwords),
	};

	return cmocka_run_group_tests_name("enroll/password", tests, NULL, NULL);
}
