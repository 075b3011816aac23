/* SPDX-License-Identifier: BSD-2-Clause */
/* How many wrong passwords networks and accounts may send. B-11.3-08 */
#include "enroll/guard.h"

#include "base/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW_US (1000 * USEC_PER_SEC)

static const struct guard_limits limits = {.network_per_minute = 6, .account_failures = 4, .account_s = 100};

static int setup(void **state) {
	return guard_new(&limits, (struct guard **)state);
}

static int teardown(void **state) {
	guard_free(*state);
	return 0;
}

static struct address from(const char *text) {
	struct address address;

	assert_int_equal(address_parse(text, 1234, &address), 0);
	return address;
}

static void one_network(void **state) {
	struct address a = from("192.0.2.1"), mapped = from("[::ffff:192.0.2.1]"), other = from("192.0.2.2");
	struct address six = from("[2001:db8::1]"), neighbour = from("[2001:db8::ffff]"), far = from("[2001:db8:0:1::1]");

	for (int i = 0; i < 6; i++) {
		assert_int_equal(guard_network_wait_s(*state, &a, NOW_US), 0);
		guard_network_failed(*state, i % 2 ? &a : &mapped, NOW_US);
		guard_network_failed(*state, i % 2 ? &six : &neighbour, NOW_US);
	}
	assert_int_equal(guard_network_wait_s(*state, &a, NOW_US), 10);
	assert_int_equal(guard_network_wait_s(*state, &mapped, NOW_US), 10);
	assert_int_equal(guard_network_wait_s(*state, &neighbour, NOW_US), 10);
	assert_int_equal(guard_network_wait_s(*state, &other, NOW_US), 0);
	assert_int_equal(guard_network_wait_s(*state, &far, NOW_US), 0);
	assert_int_equal(guard_network_wait_s(*state, &a, NOW_US + 10 * USEC_PER_SEC - 1), 1);
	assert_int_equal(guard_network_wait_s(*state, &a, NOW_US + 10 * USEC_PER_SEC), 0);
	/* Many that were on their way at once overdraw, within bounds. */
	for (int i = 0; i < 1000; i++)
		guard_network_failed(*state, &a, NOW_US);
	assert_int_equal(guard_network_wait_s(*state, &a, NOW_US), 70);
}

/* Hosts of one /24, or /48, together. */
static void wide_network(void **state) {
	char text[64];

	for (unsigned i = 0; i < 6 * GUARD_WIDE_FACTOR; i++) {
		snprintf(text, sizeof(text), "198.51.100.%u", i);
		struct address four = from(text);
		snprintf(text, sizeof(text), "[2001:db8:7:%x::1]", i);
		struct address six = from(text);
		assert_int_equal(guard_network_wait_s(*state, &four, NOW_US), 0);
		assert_int_equal(guard_network_wait_s(*state, &six, NOW_US), 0);
		guard_network_failed(*state, &four, NOW_US);
		guard_network_failed(*state, &six, NOW_US);
	}
	struct address four = from("198.51.100.250"), six = from("[2001:db8:7:ffff::1]");
	assert_int_equal(guard_network_wait_s(*state, &four, NOW_US), 2);
	assert_int_equal(guard_network_wait_s(*state, &six, NOW_US), 2);
	four = from("198.51.101.1"), six = from("[2001:db8:8::1]");
	assert_int_equal(guard_network_wait_s(*state, &four, NOW_US), 0);
	assert_int_equal(guard_network_wait_s(*state, &six, NOW_US), 0);
}

static void accounts(void **state) {
	struct guard_account alice = guard_account(octets_of_string("alice@example.org"), "a hash");
	struct guard_account changed = guard_account(octets_of_string("alice@example.org"), "another");
	struct address a = from("192.0.2.1"), b = from("203.0.113.1");

	for (int i = 0; i < 4; i++) {
		assert_int_equal(guard_account_wait_s(*state, &alice, &a, NOW_US), 0);
		guard_account_failed(*state, &alice, &a, NOW_US);
	}
	assert_int_equal(guard_account_wait_s(*state, &alice, &a, NOW_US), 25);
	assert_int_equal(guard_account_wait_s(*state, &alice, &b, NOW_US), 0);
	assert_int_equal(guard_account_wait_s(*state, &changed, &a, NOW_US), 0);
	assert_int_equal(guard_strangers_wait_s(*state, &alice, NOW_US), 0);
	guard_account_succeeded(*state, &alice, &a);
	assert_int_equal(guard_account_wait_s(*state, &alice, &a, NOW_US), 0);
	for (int i = 0; i < 4 * GUARD_ACCOUNT_FACTOR - 4; i++)
		guard_account_failed(*state, &alice, &b, NOW_US);
	assert_int_equal(guard_strangers_wait_s(*state, &alice, NOW_US), 3); /* 2.5 */
	assert_int_equal(guard_account_wait_s(*state, &alice, &a, NOW_US), 0);
	assert_int_equal(guard_strangers_wait_s(*state, &changed, NOW_US), 0);
}

/* The table is bounded: who was quiet longest is forgotten, who failed last is not. */
static void bounded(void **state) {
	struct address quiet = from("192.0.2.1"), busy = from("192.0.3.1");

	for (int i = 0; i < 6; i++)
		guard_network_failed(*state, &quiet, NOW_US);
	assert_int_not_equal(guard_network_wait_s(*state, &quiet, NOW_US), 0);
	for (uint32_t i = 0; i < GUARD_BUCKETS_MAX; i++) {
		struct address address = {.family = AF_INET, .octets = {10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}};
		guard_network_failed(*state, &address, NOW_US);
		if (i % 8192 == 0)
			for (int j = 0; j < 2; j++)
				guard_network_failed(*state, &busy, NOW_US);
	}
	assert_int_equal(guard_network_wait_s(*state, &quiet, NOW_US), 0);
	assert_int_not_equal(guard_network_wait_s(*state, &busy, NOW_US), 0);
}

static void unlimited(void **state) {
	static const struct guard_limits none;
	_cleanup_(guard_freep) struct guard *guard = NULL;
	struct guard_account account = guard_account(octets_of_string("x"), "");
	struct address a = from("192.0.2.1");

	(void)state;
	assert_int_equal(guard_new(&none, &guard), 0);
	for (int i = 0; i < 1000; i++) {
		guard_network_failed(guard, &a, NOW_US);
		guard_account_failed(guard, &account, &a, NOW_US);
	}
	assert_int_equal(guard_network_wait_s(guard, &a, NOW_US), 0);
	assert_int_equal(guard_account_wait_s(guard, &account, &a, NOW_US), 0);
	assert_int_equal(guard_strangers_wait_s(guard, &account, NOW_US), 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(one_network), TEST(wide_network), TEST(accounts), TEST(bounded), TEST(unlimited),
	};

	return cmocka_run_group_tests_name("enroll/guard", tests, NULL, NULL);
}
