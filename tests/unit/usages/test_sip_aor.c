/* SPDX-License-Identifier: BSD-2-Clause */
/* AoRs, contacts and GRUUs as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/support_identity.h"
#include "usages/sip_aor.h"
#include "wire/destination.h"
#include "wire/uri.h"

#include <errno.h>
#include <string.h>

static void test_aor(void **state) { /* S-2-01, S-7-01, Q-70 */
	static const char *const cases[][2] = {
		{"sip:Alice@Example.org;transport=tcp", "Alice@example.org"},
		{"alice@example.org", "alice@example.org"},
		{"SIPS:alice@EXAMPLE.ORG:5061", "alice@example.org"},
		{"sip:al%69ce@example.org", "alice@example.org"},
		{"sip:a%2Bb%2f@example.org?subject=x%40y", "a+b/@example.org"},
		{"sip:alice%40home@example.org", "alice@home@example.org"},
		{"sip:alice:secret@example.org", "alice@example.org"},
		{"sip:alice;day=monday@example.org", "alice;day=monday@example.org"},
		{"sip:alice@[2001:DB8::1]:5070", "alice@[2001:db8::1]"},
		{"sip:%C3%A4@example.org", "\xc3\xa4@example.org"},
	};
	static const char *const wrong[] = {
		"",
		"sip:",
		"alice",
		"sip:alice",
		"sip:@example.org",
		"sip:alice@",
		"sip:alice@:5060",
		"sip:al%6@example.org",
		"sip:al%zz@example.org",
		"sip:al%00ce@example.org",
		"sip:al%0ace@example.org",
		"sip:al ce@example.org",
		"sip:alice@exa mple.org",
		"sip:alice@example.org:x",
		"sip:alice@example.org:123456",
		"sip:alice@[2001:db8::1",
		"tel:+15551234",
		"sip:alice@example.org<x>",
		"sip::pw@example.org",
		"sip:al%",
		"sip:al%4",
		"sip:al%4@example.org",
	};
	char aor[256], small[10];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		assert_int_equal(sip_aor_of_uri(cases[i][0], aor, sizeof(aor)), 0);
		assert_string_equal(aor, cases[i][1]);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
		if (sip_aor_of_uri(wrong[i], aor, sizeof(aor)) != -EINVAL)
			fail_msg("\"%s\" became \"%s\"", wrong[i], aor);
	assert_int_equal(sip_aor_of_uri("ab@cd.org", small, 10), 0);
	assert_int_equal(sip_aor_of_uri("abc@cd.org", small, 10), -EINVAL);
}

static void test_overlay_aor(void **state) { /* S-3.4-01, Q-70 */
	static const struct {
		const char *text, *home, *any, *overlay_only;
	} cases[] = {
		{"sip:bob@overlay.example.org", "alice@example.org", "bob@overlay.example.org", "bob@overlay.example.org"},
		{"bob@OVERLAY.example.org", NULL, "bob@overlay.example.org", "bob@overlay.example.org"},
		{"sip:bob@example.org", "alice@example.org", "bob@example.org", NULL},
		{"sip:bob@example.org", "alice@example.com", NULL, NULL},
		{"sip:bob@example.org", NULL, NULL, NULL},
		{"sip:bob@overlay.example.org:5070", NULL, NULL, NULL},
		{"sip:bob@192.0.2.11", "alice@192.0.2.11", NULL, NULL},
		{"sip:bob@[2001:db8::1]", "alice@[2001:db8::1]", NULL, NULL},
		{"sip:bob@overlay.example.org;gr=ARAAESIzRFVmd4iZqrvM3e7~", NULL, NULL, NULL},
		{"sip:bob@overlay.example.org;transport=tcp", NULL, "bob@overlay.example.org", "bob@overlay.example.org"},
		{"nonsense", NULL, NULL, NULL},
	};
	struct support_overlay overlay;
	struct kind kind;

	(void)state;
	assert_int_equal(support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay), 0);
	for (int only = 0; only < 2; only++) {
		if (only) { /* an element that is not enabled */
			kind = *kind_registered(KIND_SIP_REGISTRATION);
			kind.domain_rule = DOMAIN_OVERLAY_ONLY;
			assert_int_equal(
				support_overlay_reconfigure(
					&overlay, &(struct document_settings){.sequence = 2, .kinds = &kind, .kind_count = 1}),
				0);
		}
		for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
			const char *expected = only ? cases[i].overlay_only : cases[i].any;
			char aor[SIP_AOR_SIZE] = "";
			bool is = sip_is_overlay_aor(overlay.config, cases[i].text, cases[i].home, aor);
			if (is != (expected != NULL) || (is && strcmp(aor, expected) != 0))
				fail_msg("%d \"%s\": %d \"%s\"", only, cases[i].text, is, aor);
		}
	}
	support_overlay_release(&overlay);
}

/* What a site's other domains mean depends on what the document says of them. */
static void test_alias(void **state) { /* S-3.3-01, S-3.4-01 */
	static const struct {
		const char *aor;
		bool certified;
		const char *meant[3]; /* any domain, the overlay's alone, by patterns */
	} cases[] = {
		{"alice@voice.example.net",
		 false,
		 {"alice@overlay.example.org", "alice@overlay.example.org", "alice@overlay.example.org"}},
		{"alice@voice.example.net", true, {NULL, "alice@overlay.example.org", "alice@overlay.example.org"}},
		{"Alice@VOICE.example.net",
		 false,
		 {"Alice@overlay.example.org", "Alice@overlay.example.org", "Alice@overlay.example.org"}},
		{"alice@example.com", false, {"alice@overlay.example.org", "alice@overlay.example.org", NULL}},
		{"alice@example.com", true, {NULL, "alice@overlay.example.org", NULL}},
		{"@voice.example.net", false, {"@overlay.example.org", "@overlay.example.org", "@overlay.example.org"}},
		{"alice@overlay.example.org", false, {NULL, NULL, NULL}},
		{"alice@example.net", false, {NULL, NULL, NULL}},
		{"alice@x.voice.example.net", false, {NULL, NULL, NULL}},
		{"alice", false, {NULL, NULL, NULL}},
	};
	static const int rules[] = {DOMAIN_ANY, DOMAIN_OVERLAY_ONLY, DOMAIN_PATTERNS};
	char *domains[] = {"voice.example.net", "example.com", "overlay.example.org"}, aor[SIP_AOR_SIZE], large[300];
	char *patterns[] = {"overlay\\.example\\.org", "example\\.com"};
	struct support_overlay overlay;
	struct kind kind;

	(void)state;
	assert_int_equal(support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay), 0);
	for (size_t rule = 0; rule < ARRAY_LENGTH(rules); rule++) {
		kind = *kind_registered(KIND_SIP_REGISTRATION);
		kind.domain_rule = (typeof(kind.domain_rule))rules[rule];
		kind.domain_pattern_count = rules[rule] == DOMAIN_PATTERNS ? ARRAY_LENGTH(patterns) : 0;
		for (size_t i = 0; i < kind.domain_pattern_count; i++)
			kind.domain_patterns[i] = patterns[i];
		assert_int_equal(support_overlay_reconfigure(&overlay, &(struct document_settings){.sequence = (uint16_t)(rule + 2),
												   .kinds = &kind,
												   .kind_count = 1}),
				 0);
		for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
			const char *expected = cases[i].meant[rule];
			bool is = sip_aor_of_alias(overlay.config, domains, 3, cases[i].aor, cases[i].certified, aor);
			if (is != (expected != NULL) || (is && strcmp(aor, expected) != 0))
				fail_msg("rule %zu \"%s\": %d \"%s\"", rule, cases[i].aor, is, aor);
			assert_false(sip_aor_of_alias(overlay.config, domains, 0, cases[i].aor, cases[i].certified, aor));
		}
	}
	/* the longest that fits, and one more */
	const size_t longest = SIP_AOR_SIZE - 1 - strlen("@overlay.example.org");
	for (size_t length = longest; length <= longest + 1; length++) {
		memset(large, 'a', length);
		strcpy(large + length, "@voice.example.net");
		assert_int_equal(sip_aor_of_alias(overlay.config, domains, 3, large, false, aor), length == longest);
	}
	support_overlay_release(&overlay);
}

static void test_gruu(void **state) { /* S-6-01 */
	uint8_t list[64], expected[32];
	struct writer w = writer_fixed(expected, sizeof(expected));
	char value[64], uri[128];
	struct id id;
	size_t length;

	(void)state;
	assert_int_equal(id_parse("00112233445566778899aabbccddeeff", &id), 0);
	destination_write_node(&w, &id);
	assert_int_equal(gruu_value_format(writer_octets_written(&w), value, sizeof(value)), 0);
	assert_string_equal(value, "ARAAESIzRFVmd4iZqrvM3e7/");
	snprintf(uri, sizeof(uri), "sip:alice@example.org;x=y;gr=%s;z", value);
	assert_int_equal(sip_gruu_of_uri(uri, list, sizeof(list), &length), 0);
	assert_int_equal(length, w.length);
	assert_memory_equal(list, expected, length);
	assert_int_equal(sip_gruu_of_uri("sip:alice@example.org;grr=abc", list, sizeof(list), &length), -ENOENT);
	assert_int_equal(sip_gruu_of_uri("sip:alice@example.org", list, sizeof(list), &length), -ENOENT);
	assert_int_equal(sip_gruu_of_uri("sip:alice@example.org;gr=!!!", list, sizeof(list), &length), -EINVAL);
	assert_int_equal(sip_gruu_of_uri(uri, list, 4, &length), -EINVAL);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aor),
		cmocka_unit_test(test_overlay_aor),
		cmocka_unit_test(test_alias),
		cmocka_unit_test(test_gruu),
	};
	return cmocka_run_group_tests_name("AoRs", tests, NULL, NULL);
}
