/* SPDX-License-Identifier: BSD-2-Clause */
/* In which order the servers a domain names are tried (RFC 2782), and which names are asked for at all. B-11.2-01 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "enroll/discover.h"

/* Numbers that repeat from run to run. */
static void next_random(void *userdata, void *data, size_t length) {
	uint64_t *state = userdata;

	for (size_t i = 0; i < length; i++) {
		*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		((uint8_t *)data)[i] = (uint8_t)(*state >> 56);
	}
}

static struct discover_target target(char letter, uint16_t priority, uint16_t weight) {
	return (struct discover_target){.host = {letter}, .port = 443, .priority = priority, .weight = weight};
}

static void order(uint64_t *seed, struct discover_target *targets, size_t count) {
	struct runtime runtime = {.source = {.random = next_random, .userdata = seed}};

	discover_order(&runtime, targets, count);
}

static void by_priority(void **state) {
	uint64_t seed = 1;

	(void)state;
	for (int round = 0; round < 100; round++) {
		struct discover_target targets[] = {target('c', 30, 100), target('a', 10, 0), target('b', 20, 65535)};
		order(&seed, targets, 3);
		assert_int_equal(targets[0].host[0], 'a');
		assert_int_equal(targets[1].host[0], 'b');
		assert_int_equal(targets[2].host[0], 'c');
	}
}

static void by_weight(void **state) {
	unsigned first[256] = {0};
	uint64_t seed = 2;

	(void)state;
	for (int round = 0; round < 10000; round++) {
		struct discover_target targets[] = {target('x', 5, 60), target('y', 5, 40), target('z', 5, 0), target('l', 6, 9)};
		bool seen[256] = {false};
		order(&seed, targets, 4);
		first[(uint8_t)targets[0].host[0]]++;
		for (size_t i = 0; i < 4; i++)
			seen[(uint8_t)targets[i].host[0]] = true;
		assert_true(seen['x'] && seen['y'] && seen['z'] && seen['l']); /* none is lost */
		assert_int_equal(targets[3].host[0], 'l');
	}
	assert_in_range(first['x'], 5500, 6500);
	assert_in_range(first['y'], 3500, 4500);
	assert_in_range(first['z'], 1, 400); /* seldom, but not never */
	assert_int_equal(first['l'], 0);
}

static void few(void **state) {
	struct discover_target one = target('a', 1, 1);
	uint64_t seed = 3;

	(void)state;
	order(&seed, NULL, 0);
	order(&seed, &one, 1);
	assert_int_equal(one.host[0], 'a');
}

static void names(void **state) {
	static const char *const good[] = {"example.org",	    "example.org.",   "a",
					   "xn--bcher-kva.example", "_x.example.org", "192.0.2.1"};
	static const char *const bad[] = {"",
					  ".",
					  "-x.org",
					  ".example.org",
					  "example..org",
					  "example.org/",
					  "a b.org",
					  "example.org:8443",
					  "user@example.org",
					  "b\xc3\xbc"
					  "cher.example",
					  "a\nb"};
	char text[300];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(discover_name_usable(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(discover_name_usable(bad[i]));
	memset(text, 'a', sizeof(text));
	text[230] = 0;
	assert_true(discover_name_usable(text));
	text[230] = 'a';
	text[231] = 0;
	assert_false(discover_name_usable(text));
}

static void refuse_bad_names(void **state) {
	struct discover_target targets[DISCOVER_TARGETS_MAX];
	struct runtime runtime = {.source = runtime_source_system()};
	char reason[DISCOVER_REASON_SIZE] = "";
	size_t count = 7;

	(void)state;
	assert_int_equal(discover("not a name", &runtime, targets, &count, reason), -EINVAL);
	assert_string_equal(reason, "it is not the name of a domain");
	assert_int_equal(count, 7);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_priority), cmocka_unit_test(by_weight),	   cmocka_unit_test(few),
		cmocka_unit_test(names),       cmocka_unit_test(refuse_bad_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
