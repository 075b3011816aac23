/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/address.h"
#include "base/cleanup.h"

static void test_round_trip(void **state) {
	static const struct {
		const char *text, *formatted, *host;
	} cases[] = {
		{"192.0.2.1:6084", "192.0.2.1:6084", "192.0.2.1"},
		{"192.0.2.1", "192.0.2.1:5060", "192.0.2.1"},
		{"192.0.2.1:1", "192.0.2.1:1", "192.0.2.1"},
		{"192.0.2.1:65535", "192.0.2.1:65535", "192.0.2.1"},
		{"[2001:db8::1]:6084", "[2001:db8::1]:6084", "2001:db8::1"},
		{"[2001:db8::1]", "[2001:db8::1]:5060", "2001:db8::1"},
		{"2001:db8::1", "[2001:db8::1]:5060", "2001:db8::1"},
		{"[2001:DB8:0:0:0:0:0:1]:6084", "[2001:db8::1]:6084", "2001:db8::1"},
		{"[fe80::1%1]:6084", "[fe80::1%1]:6084", "fe80::1%1"},
		{"[2001:db8:1111:2222:3333:4444:5555:6666]:65535", "[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
		 "2001:db8:1111:2222:3333:4444:5555:6666"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct address address, again;
		char text[ADDRESS_TEXT_SIZE];
		if (address_parse(cases[i].text, 5060, &address) < 0)
			fail_msg("%s is refused", cases[i].text);
		assert_string_equal(address_format(&address, text), cases[i].formatted);
		assert_int_equal(address_parse(text, 0, &again), 0);
		assert_true(address_equal(&address, &again));
		assert_string_equal(address_format_host(&address, text), cases[i].host);

		struct sockaddr_storage storage;
		socklen_t length = address_to_sockaddr(&address, &storage);
		assert_int_equal(length, address.family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
		again = address_of_sockaddr((struct sockaddr *)&storage);
		assert_true(address_equal(&address, &again));
	}
}

static void test_malformed(void **state) {
	static const char *const texts[] = {
		"",
		":",
		":6084",
		"[]",
		"[]:6084",
		"example.org",
		"example.org:6084",
		"192.0.2",
		"192.0.2.256",
		"192.0.2.1:",
		"192.0.2.1:0",
		"192.0.2.1:65536",
		"192.0.2.1:99999999999999999999",
		"192.0.2.1:-1",
		"192.0.2.1:+1",
		"192.0.2.1: 1",
		"192.0.2.1:60x",
		"192.0.2.1%1",
		" 192.0.2.1",
		"192.0.2.1 ",
		"[2001:db8::1",
		"2001:db8::1]",
		"[2001:db8::1]6084",
		"[2001:db8::1]:",
		"[2001:db8::1]:0",
		"[2001:db8::1]x",
		"[fe80::1%]",
		"[fe80::1%no-such-interface]",
		"2001:db8::1::2",
		"2001:db8:1:2:3:4:5:6:7",
		"0000000000000000000000000000000000000000000000000000000000000000000000",
	};
	struct address address = {.port = 77};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
		if (address_parse(texts[i], 6084, &address) != -EINVAL)
			fail_msg("%s is taken", texts[i]);
	assert_int_equal(address.port, 77);
}

static void test_bytes(void **state) {
	struct address address;

	(void)state;
	assert_int_equal(address_parse("192.0.2.1:6084", 0, &address), 0);
	assert_int_equal(address.family, AF_INET);
	assert_int_equal(address.port, 6084);
	static const uint8_t expected[16] = {192, 0, 2, 1};
	assert_memory_equal(address.octets, expected, 16); /* unused octets are zero */
	struct sockaddr_storage storage;
	address_to_sockaddr(&address, &storage);
	const struct sockaddr_in *in = (const void *)&storage;
	assert_int_equal(in->sin_port, htons(6084));
	assert_int_equal(in->sin_addr.s_addr, htonl(0xc0000201));
}

static void test_equality(void **state) {
	struct address a, b;

	(void)state;
	assert_int_equal(address_parse("192.0.2.1:6084", 0, &a), 0);
	assert_int_equal(address_parse("192.0.2.1:6085", 0, &b), 0);
	assert_false(address_equal(&a, &b));
	assert_int_equal(address_parse("192.0.2.2:6084", 0, &b), 0);
	assert_false(address_equal(&a, &b));
	assert_int_equal(address_parse("[fe80::1%1]:6084", 0, &a), 0);
	assert_int_equal(address_parse("[fe80::1]:6084", 0, &b), 0);
	assert_false(address_equal(&a, &b));
}

/* The zone counts for link-local addresses only: the same global address is one address whatever interface it came by. */
static struct address parsed(const char *text) {
	struct address address;

	assert_int_equal(address_parse(text, RELOAD_PORT, &address), 0);
	return address;
}

static void test_hosts(void **state) {
	static const struct {
		const char *a, *b;
		bool same, likely;
	} cases[] = {
		{"192.0.2.1:5060", "192.0.2.1:6084", true, true},
		{"192.0.2.1", "192.0.2.2", false, false},
		{"[2001:db8::1]:1", "[2001:db8::1]:2", true, true},
		{"2001:db8::1", "2001:db8::2", false, true},
		{"2001:db8::1", "2001:db8:0:1::1", false, false},
		{"192.0.2.1", "c000:201::", false, false}, /* the same octets, another family */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct address a = parsed(cases[i].a), b = parsed(cases[i].b);
		b.protocol = IPPROTO_TCP;
		assert_int_equal(address_same_host(&a, &b), cases[i].same);
		assert_int_equal(address_likely_same_host(&a, &b), cases[i].likely);
	}
}

static void test_scope(void **state) {
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(1), .sin6_scope_id = 7};
	struct address address;

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &in6.sin6_addr), 1);
	address = address_of_sockaddr((struct sockaddr *)&in6);
	assert_int_equal(address.scope, 0);
	assert_int_equal(inet_pton(AF_INET6, "fe80::1", &in6.sin6_addr), 1);
	address = address_of_sockaddr((struct sockaddr *)&in6);
	assert_int_equal(address.scope, 7);
}

static void test_none(void **state) {
	struct address none = {0};
	struct sockaddr_storage storage;
	struct sockaddr other = {.sa_family = AF_UNIX};
	char text[ADDRESS_TEXT_SIZE];

	(void)state;
	assert_int_equal(address_to_sockaddr(&none, &storage), 0);
	assert_string_equal(address_format_host(&none, text), "-");
	assert_string_equal(address_format(&none, text), "-:0");
	struct address read = address_of_sockaddr(&other);
	assert_true(address_equal(&read, &none));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_malformed), cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_equality),   cmocka_unit_test(test_hosts),     cmocka_unit_test(test_scope),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests_name("base/address", tests, NULL, NULL);
}
