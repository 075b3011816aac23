/* SPDX-License-Identifier: BSD-2-Clause */
/* Registered Kinds and the domain rule of SIP registrations: B-11.1-08, S-3.4-01 (Q-71). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "overlay/kind.h"

static void registry(void **state) {
	static const struct {
		uint32_t id;
		const char *name;
		uint8_t model;
		enum access_policy access;
	} expected[] = {
		{0x1, "SIP-REGISTRATION", DATA_MODEL_DICTIONARY, ACCESS_USER_NODE_MATCH},
		{0x2, "TURN-SERVICE", DATA_MODEL_SINGLE, ACCESS_NODE_MULTIPLE},
		{0x3, "CERTIFICATE_BY_NODE", DATA_MODEL_ARRAY, ACCESS_NODE_MATCH},
		{0x10, "CERTIFICATE_BY_USER", DATA_MODEL_ARRAY, ACCESS_USER_MATCH},
	};
	size_t count = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		const struct kind *kind = kind_registered(expected[i].id);
		assert_ptr_equal(kind, kind_registered_by_name(expected[i].name));
		assert_string_equal(kind->name, expected[i].name);
		assert_int_equal(kind->model, expected[i].model);
		assert_int_equal(kind->access, expected[i].access);
		assert_true(kind->max_count > 0 && kind->max_size > 0);
	}
	assert_int_equal(kind_registered(KIND_TURN_SERVICE)->max_node_multiple, 20);
	for (const struct kind *kind = kind_registered_next(NULL); kind; kind = kind_registered_next(kind))
		count++;
	assert_int_equal(count, 4);
	assert_null(kind_registered(0));
	assert_null(kind_registered(0x104));
	assert_null(kind_registered_by_name("sip-registration"));
	assert_null(kind_registered_by_name(""));
}

static void names(void **state) {
	(void)state;
	assert_string_equal(data_model_name(DATA_MODEL_DICTIONARY), "DICTIONARY");
	assert_null(data_model_name(0));
	assert_null(data_model_name(4));
	assert_string_equal(access_policy_name(ACCESS_NODE_MULTIPLE), "NODE-MULTIPLE");
	assert_null(access_policy_name((enum access_policy)0));
	assert_null(access_policy_name((enum access_policy)5));
	assert_int_equal(data_model_by_name("ARRAY"), DATA_MODEL_ARRAY);
	assert_int_equal(data_model_by_name("array"), -ENOENT);
	assert_int_equal(access_policy_by_name("USER-MATCH"), ACCESS_USER_MATCH);
	assert_int_equal(access_policy_by_name("EXP-MATCH"), -ENOENT);
}

static void domains(void **state) {
	static char labels[] = "dht\\.example\\.com", any[] = ".*\\.my\\.example", either[] = "a|b";
	struct kind kind = {.domain_rule = DOMAIN_ANY};
	const char *overlay = "overlay.example.org";
	char longest[400];

	(void)state;
	assert_true(kind_domain_allowed(&kind, "alice@anywhere.example", overlay));
	assert_true(kind_domain_allowed(&kind, "alice", overlay));

	kind.domain_rule = DOMAIN_OVERLAY_ONLY;
	assert_true(kind_domain_allowed(&kind, "alice@overlay.example.org", overlay));
	assert_true(kind_domain_allowed(&kind, "alice@Overlay.Example.ORG", overlay));
	assert_false(kind_domain_allowed(&kind, "alice@example.org", overlay));
	assert_false(kind_domain_allowed(&kind, "alice@overlay.example.org.example.net", overlay));
	assert_false(kind_domain_allowed(&kind, "alice", overlay));
	assert_false(kind_domain_allowed(&kind, "alice@", overlay));

	kind.domain_rule = DOMAIN_PATTERNS;
	assert_false(kind_domain_allowed(&kind, "alice@overlay.example.org", overlay)); /* none listed, none allowed */
	kind.domain_patterns[0] = labels;
	kind.domain_patterns[1] = any;
	kind.domain_patterns[2] = either;
	kind.domain_pattern_count = 3;
	assert_true(kind_domain_allowed(&kind, "alice@dht.example.com", overlay));
	assert_true(kind_domain_allowed(&kind, "alice@DHT.example.com", overlay));
	assert_true(kind_domain_allowed(&kind, "alice@deep.down.my.example", overlay));
	assert_true(kind_domain_allowed(&kind, "odd@name@dht.example.com", overlay)); /* after the last "@" */
	assert_true(kind_domain_allowed(&kind, "alice@b", overlay));
	/* A domain that merely contains an allowed one. */
	assert_false(kind_domain_allowed(&kind, "alice@dht.example.com.example.net", overlay));
	assert_false(kind_domain_allowed(&kind, "alice@evil-dht.example.com", overlay));
	assert_false(kind_domain_allowed(&kind, "alice@dhtxexample.com", overlay));
	assert_false(kind_domain_allowed(&kind, "alice@my.example", overlay));
	assert_false(kind_domain_allowed(&kind, "dht.example.com@example.net", overlay));
	assert_false(kind_domain_allowed(&kind, "alice@bc", overlay));
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "alice@", 6);
	strcpy(longest + 6 + DOMAIN_LENGTH_MAX - 11 + 1, ".my.example");
	assert_false(kind_domain_allowed(&kind, longest, overlay));
	strcpy(longest + 6 + DOMAIN_LENGTH_MAX - 11, ".my.example");
	assert_true(kind_domain_allowed(&kind, longest, overlay));
}

static void patterns(void **state) {
	static const char *const good[] = {
		"dht\\.example\\.com",
		".*",
		"[a-z]+",
		"[]a]",
		"[^]]",
		"[[:alpha:]]{1,63}\\.example",
		"(a|b)*",
		"a{3}",
		"a{3,}",
		"((a{2}){3}){4}",
		"x{0,2000}",
		"([a-z0-9-]+\\.)+(example|test)\\.(org|com)",
		"((a+)+)+",
		"a++",
		"a????",
		"^.*\\.example\\.org$",
		"([a-z]*\\.)*example",
		"(a?|b?)(a?|b?)c",
		"(|a)b",
		"(a{0,3}b){2,}",
		"[a-z]{1,63}\\.[a-z]{1,63}\\.[a-z]{1,63}",
		"\\(",
	};
	static const char *const bad[] = {
		"",
		"(",
		")",
		"a)|(b",
		"[a",
		"[[:alpha:]",
		"a\\",
		"(a)\\1",
		"((a{100}){100}){100}",
		"(((((((((((a+)+)+)+)+)+)+)+)+)+)+)+",
		"()++++++++++++++++++++",
		"(|)++++++++++++++++++++",
		"`++?+++++++",
		"a**",
		"(a*)*",
		"(a?)+",
		"(a{0,3}){2,}",
		"((a?|b?)(a?|b?)(a?|b?))*",
		"(a|)+",
		"(|a)+",
		"(a||b)*",
		"()*",
		"*a",
		"a|+b",
		"(^a|b)",
		"a$b",
		"\\bexample",
		"\\<example",
		"`++++++++++++++++++++++++++++++++bad-node.ee",
		"++++++++++++++++++++++++++++++++",
		"a{3",
		"a{",
		"a{x}",
		"a{1,2,3}",
		"a{99999}",
		"a b",
		"a\tb",
		"a\x7f",
		"\xc3\xa4",
		"((((((((((((((((((a))))))))))))))))))",
		"[[.a",
		"[z-a]",
	};
	char longest[DOMAIN_PATTERN_LENGTH_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(domain_pattern_check(good[i]), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(domain_pattern_check(bad[i]), -EINVAL);
	memset(longest, 'a', sizeof(longest));
	longest[DOMAIN_PATTERN_LENGTH_MAX + 1] = 0;
	assert_int_equal(domain_pattern_check(longest), -EINVAL);
	longest[DOMAIN_PATTERN_LENGTH_MAX] = 0;
	assert_int_equal(domain_pattern_check(longest), 0);
}

static void copies(void **state) {
	static char pattern[] = "a";
	const struct kind kind = {.id = 7, .domain_rule = DOMAIN_PATTERNS, .domain_patterns = {pattern}, .domain_pattern_count = 1};
	struct kind copy;

	(void)state;
	assert_int_equal(kind_copy(&kind, &copy), 0);
	assert_int_equal(copy.id, 7);
	assert_string_equal(copy.domain_patterns[0], "a");
	assert_ptr_not_equal(copy.domain_patterns[0], pattern);
	kind_release(&copy);
	assert_null(copy.domain_patterns[0]);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registry), cmocka_unit_test(names),  cmocka_unit_test(domains),
		cmocka_unit_test(patterns), cmocka_unit_test(copies),
	};
	return cmocka_run_group_tests_name("overlay/kind", tests, NULL, NULL);
}
