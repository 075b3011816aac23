/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire_test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wire/uri.h"

#define PEER_URI "reload://0110" N_HEX "@overlay.example.org/"
#define SPECIFIER_HEX                                                                                                              \
	"00000003"                                                                                                                 \
	"0000000000000000"                                                                                                         \
	"000a"                                                                                                                     \
	"0008"                                                                                                                     \
	"00000000"                                                                                                                 \
	"ffffffff"

/* B-14.15-01 */
static void test_peer(void **state) {
	struct reload_uri uri;
	char text[RELOAD_URI_MAX];

	(void)state;
	assert_int_equal(reload_uri_parse(PEER_URI, &uri), 0);
	assert_octets(OCTETS(uri.destination_list, uri.destination_list_length), "0110" N_HEX);
	assert_string_equal(uri.overlay, "overlay.example.org");
	assert_int_equal(uri.specifier_length, 0);
	assert_int_equal(reload_uri_format(&uri, text, sizeof(text)), 0);
	assert_string_equal(text, PEER_URI);
	assert_int_equal(reload_uri_format(&uri, text, sizeof(PEER_URI)), 0);
	assert_int_equal(reload_uri_format(&uri, text, sizeof(PEER_URI) - 1), -ENOBUFS);
	assert_int_equal(reload_uri_format(&uri, text, 0), -ENOBUFS);
}

static void test_case(void **state) {
	struct reload_uri uri;

	(void)state;
	assert_int_equal(reload_uri_parse("ReLoad://0110"
					  "00112233445566778899AABBCCDDEEFF"
					  "@OVERLAY.Example.org/",
					  &uri),
			 0);
	assert_octets(OCTETS(uri.destination_list, uri.destination_list_length), "0110" N_HEX);
	assert_string_equal(uri.overlay, "overlay.example.org");
}

static void test_specifier(void **state) {
	struct reload_uri uri;
	char text[RELOAD_URI_MAX];

	(void)state;
	assert_int_equal(reload_uri_parse("reload://021110" R_HEX "@overlay.example.org/" SPECIFIER_HEX, &uri), 0);
	assert_octets(OCTETS(uri.specifier, uri.specifier_length), SPECIFIER_HEX);
	assert_int_equal(reload_uri_format(&uri, text, sizeof(text)), 0);
	assert_string_equal(text, "reload://021110" R_HEX "@overlay.example.org/" SPECIFIER_HEX);
	uri.specifier_length--;
	assert_int_equal(reload_uri_format(&uri, text, sizeof(text)), -EINVAL);
}

static void test_malformed(void **state) {
	static const char *const texts[] = {
		"",
		"reload:",
		"reload://",
		"sip:alice@example.org",
		"reload:/0110" N_HEX "@overlay.example.org/",
		"reload://0110" N_HEX "@overlay.example.org",
		"reload://0110" N_HEX "@/",
		"reload://0110" N_HEX "/overlay.example.org/",
		"reload://@overlay.example.org/",
		"reload://011@overlay.example.org/",
		"reload://0110"
		"00112233445566778899aabbccddeefg"
		"@overlay.example.org/",
		"reload://0110"
		"00112233445566778899aabbccddee"
		"@overlay.example.org/",
		"reload://0110" N_HEX "00@overlay.example.org/",
		"reload:// 0110" N_HEX "@overlay.example.org/",
		"reload://0110" N_HEX "@overlay.example.org/abc",
		"reload://0110" N_HEX "@overlay.example.org/00",
		"reload://0110" N_HEX "@overlay.example.org/" SPECIFIER_HEX "00",
		"reload://0110" N_HEX "@overlay.example.org/" SPECIFIER_HEX "/",
		"reload://0110" N_HEX "@overlay.example.org/?x",
		"reload://0110" N_HEX "@overlay..org/",
		"reload://0110" N_HEX "@.org/",
		"reload://0110" N_HEX "@overlay.org./",
		"reload://0110" N_HEX "@-overlay.org/",
		"reload://0110" N_HEX "@overlay-.org/",
		"reload://0110" N_HEX "@overlay.org-/",
		"reload://0110" N_HEX "@over_lay.org/",
		"reload://0110" N_HEX "@over%6cay.org/",
		"reload://0110" N_HEX "@b\xc3\xa4r.org/",
		"reload://0110" N_HEX "@overlay.example.org:6084/",
		"reload://0110" N_HEX "@a@overlay.example.org/",
		"reload://0110" N_HEX "@aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg.org/",
	};
	struct reload_uri uri = {.overlay = "untouched"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
		if (reload_uri_parse(texts[i], &uri) != -EINVAL)
			fail_msg("%s is taken", texts[i]);
	assert_string_equal(uri.overlay, "untouched");
}

static void test_bounds(void **state) {
	struct reload_uri uri = {.overlay = "example.org"}, parsed;
	char text[4096];

	(void)state;
	for (size_t i = 0; i < 64; i++) {
		uri.destination_list[2 * i] = 0x80;
		uri.destination_list[2 * i + 1] = (uint8_t)i;
	}
	uri.destination_list_length = 128;
	assert_int_equal(reload_uri_format(&uri, text, sizeof(text)), 0);
	assert_int_equal(reload_uri_parse(text, &parsed), 0);
	assert_int_equal(parsed.destination_list_length, 128);

	uri.destination_list[0] = 3;
	uri.destination_list[1] = 255;
	uri.destination_list[2] = 254;
	memset(uri.destination_list + 3, 'x', 254);
	uri.destination_list_length = 257;
	memcpy(uri.destination_list + 257, uri.destination_list, 255);
	uri.destination_list[258] = 253;
	uri.destination_list[259] = 252;
	uri.destination_list_length = GRUU_LIST_MAX;
	assert_int_equal(reload_uri_format(&uri, text, sizeof(text)), -ENOBUFS); /* more than RELOAD_URI_MAX */
	uri.destination_list_length = GRUU_LIST_MAX + 1;
	assert_int_equal(reload_uri_format(&uri, text, sizeof(text)), -EINVAL);
	uri.destination_list_length = 0;
	assert_int_equal(reload_uri_format(&uri, text, sizeof(text)), -EINVAL);

	memset(text, '0', sizeof(text));
	text[sizeof(text) - 1] = 0;
	memcpy(text, "reload://", 9);
	assert_int_equal(reload_uri_parse(text, &parsed), -EINVAL);
}

/* B-6.3.2-03 */
static void test_overlay_name_bounds(void **state) {
	char label[65], text[RELOAD_URI_MAX + 1], again[RELOAD_URI_MAX];
	struct reload_uri uri;

	(void)state;
	memset(label, 'a', sizeof(label));
	snprintf(text, sizeof(text), "reload://8005@%.63s.org/", label);
	assert_int_equal(reload_uri_parse(text, &uri), 0);
	snprintf(text, sizeof(text), "reload://8005@%.64s.org/", label);
	assert_int_equal(reload_uri_parse(text, &uri), -EINVAL);
	/* 63 + 63 + 63 + 61 and three dots are 253. */
	snprintf(text, sizeof(text), "reload://8005@%.63s.%.63s.%.63s.%.61s/", label, label, label, label);
	assert_int_equal(reload_uri_parse(text, &uri), 0);
	assert_int_equal(strlen(uri.overlay), OVERLAY_NAME_MAX);
	assert_int_equal(reload_uri_format(&uri, again, sizeof(again)), 0);
	assert_string_equal(text, again);
	snprintf(text, sizeof(text), "reload://8005@%.63s.%.63s.%.63s.%.62s/", label, label, label, label);
	assert_int_equal(reload_uri_parse(text, &uri), -EINVAL);
}

/* Text of RELOAD_URI_MAX with its NUL is the longest, both ways. */
static void test_longest_uri(void **state) {
	char text[RELOAD_URI_MAX + 8], again[RELOAD_URI_MAX + 8];
	struct reload_uri uri = {.destination_list = {3, 255, 254}, .destination_list_length = 257};
	struct reload_uri parsed;

	(void)state;
	uint8_t *second = uri.destination_list + 257;
	second[0] = 9; /* a type of later days, which fills up */
	second[1] = 224;
	uri.destination_list_length += 2u + second[1];
	size_t fixed = strlen("reload://@/") + 1 + 2 * uri.destination_list_length;
	memset(uri.overlay, 'a', RELOAD_URI_MAX - fixed);
	assert_true(RELOAD_URI_MAX - fixed <= 63);
	assert_int_equal(reload_uri_format(&uri, text, sizeof(text)), 0);
	assert_int_equal(strlen(text), RELOAD_URI_MAX - 1);
	assert_int_equal(reload_uri_parse(text, &parsed), 0);
	assert_int_equal(reload_uri_format(&parsed, again, sizeof(again)), 0);
	assert_string_equal(text, again);
	uri.overlay[RELOAD_URI_MAX - fixed] = 'a';
	assert_int_equal(reload_uri_format(&uri, again, sizeof(again)), -ENOBUFS);
	strcpy(text + strlen(text) - 1, "a/");
	assert_int_equal(reload_uri_parse(text, &parsed), -EINVAL);
	uri.specifier_length = sizeof(uri.specifier) + 1;
	assert_int_equal(reload_uri_format(&uri, again, sizeof(again)), -EINVAL);
}

static void test_longest_gruu(void **state) {
	uint8_t list[GRUU_LIST_MAX + 1] = {3, 255, 254}, again[GRUU_LIST_MAX];
	char text[1024];
	size_t length;

	(void)state;
	list[257] = 9;
	list[258] = 253; /* 257 + 2 + 253 are 512 */
	assert_int_equal(gruu_value_format(OCTETS(list, GRUU_LIST_MAX), text, sizeof(text)), 0);
	assert_int_equal(gruu_value_parse(text, again, sizeof(again), &length), 0);
	assert_int_equal(length, GRUU_LIST_MAX);
	assert_memory_equal(list, again, length);
	list[258]++;
	assert_int_equal(gruu_value_format(OCTETS(list, GRUU_LIST_MAX + 1), text, sizeof(text)), -EINVAL);
}

/* S-6-01 */
static void test_gruu(void **state) {
	uint8_t list[GRUU_LIST_MAX];
	char text[64];
	size_t length = 0;

	(void)state;
	assert_int_equal(gruu_value_format(HEX("0110" N_HEX), text, sizeof(text)), 0);
	assert_string_equal(text, "ARAAESIzRFVmd4iZqrvM3e7/");
	assert_int_equal(gruu_value_parse(text, list, sizeof(list), &length), 0);
	assert_octets(OCTETS(list, length), "0110" N_HEX);
	assert_int_equal(gruu_value_format(HEX("8005"), text, sizeof(text)), 0);
	assert_string_equal(text, "gAU~");
	assert_int_equal(gruu_value_parse(text, list, sizeof(list), &length), 0);
	assert_octets(OCTETS(list, length), "8005");
	assert_int_equal(gruu_value_format(HEX("8005 fbff"), text, sizeof(text)), 0);
	assert_string_equal(text, "gAX7/w~~");
	assert_int_equal(gruu_value_parse(text, list, sizeof(list), &length), 0);
	assert_octets(OCTETS(list, length), "8005fbff");
	assert_int_equal(gruu_value_parse(text, list, 4, &length), 0);
	assert_int_equal(gruu_value_parse(text, list, 3, &length), -ENOBUFS);
	assert_int_equal(gruu_value_format(HEX("8005"), text, 5), 0);
	assert_int_equal(gruu_value_format(HEX("8005"), text, 4), -ENOBUFS);
	assert_int_equal(gruu_value_format(HEX("80"), text, sizeof(text)), -EINVAL);
	assert_int_equal(gruu_value_format(OCTETS_NONE, text, sizeof(text)), -EINVAL);
}

static void test_gruu_malformed(void **state) {
	static const char *const texts[] = {
		"",
		"g",
		"gAU",
		"gAU=",
		"gAV~" /* unused bits */,
		"g~U~",
		"~AU~",
		"gA~U",
		"gA~~",
		"gAU~gAU~",
		"gAU!",
		"gAU~ ",
		"gA-_",
		"\xff"
		"AU~",
		"MDEyMzQ1Njc4OTAxMjM0NTY3ODk~", /* the sample of RFC 7904 6 is not a destination list */
	};
	uint8_t list[GRUU_LIST_MAX];
	char text[2048];
	size_t length = 77;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
		if (gruu_value_parse(texts[i], list, sizeof(list), &length) != -EINVAL)
			fail_msg("%s is taken", texts[i]);
	memset(text, 'g', sizeof(text));
	for (size_t end = 0; end < sizeof(text); end += 4) {
		text[end] = 0;
		assert_int_equal(gruu_value_parse(text, list, sizeof(list), &length), -EINVAL);
		text[end] = 'g';
	}
	assert_int_equal(length, 77);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_peer),	       cmocka_unit_test(test_case),
		cmocka_unit_test(test_specifier),      cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_bounds),	       cmocka_unit_test(test_gruu),
		cmocka_unit_test(test_gruu_malformed), cmocka_unit_test(test_overlay_name_bounds),
		cmocka_unit_test(test_longest_uri),    cmocka_unit_test(test_longest_gruu),
	};

	return cmocka_run_group_tests_name("wire/uri", tests, NULL, NULL);
}
