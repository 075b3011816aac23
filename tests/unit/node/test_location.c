/* SPDX-License-Identifier: BSD-2-Clause */
/* Look-ups of users: kept as long as they may be and no longer, one for several who ask, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/location.h"

enum { QUESTIONS = 32, SECONDS = 10 };

struct fixture {
	struct runtime runtime;
	struct location *location;
	struct {
		char aor[64];
		sip_resolve_answer done;
		void *userdata;
	} questions[QUESTIONS];
	size_t asked, answered;
	/* the last answer to a caller */
	unsigned callers, status, retry_after_s, expires_s;
	char uri[64];
	size_t count;
	bool ask_again, inside;
};

static void ask(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata) {
	struct fixture *f = userdata;

	assert_true(f->asked < QUESTIONS);
	snprintf(f->questions[f->asked].aor, sizeof(f->questions[0].aor), "%s", aor);
	f->questions[f->asked].done = done;
	f->questions[f->asked++].userdata = done_userdata;
}

static void on_answer(void *userdata, unsigned status, const struct sip_redirect_contact *contacts, size_t count,
		      unsigned retry_after_s) {
	struct fixture *f = userdata;

	assert_false(f->inside); /* never from within the question */
	f->callers++;
	f->status = status;
	f->retry_after_s = retry_after_s;
	f->count = count;
	f->uri[0] = 0;
	if (count > 0) {
		snprintf(f->uri, sizeof(f->uri), "%s", contacts[0].uri);
		f->expires_s = contacts[0].expires_s;
	}
	if (f->ask_again) {
		f->ask_again = false;
		location_resolve(f->location, "alice@example.org", on_answer, f);
	}
}

static void call(struct fixture *f, const char *aor) {
	f->inside = true;
	location_resolve(f->location, aor, on_answer, f);
	f->inside = false;
	runtime_fire(&f->runtime);
}

/* The overlay answers the oldest question. */
static void answer(struct fixture *f, unsigned status, const char *uri, unsigned expires_s) {
	char copy[64];
	const struct sip_redirect_contact contact = {.uri = copy, .expires_s = expires_s};

	assert_true(f->answered < f->asked);
	snprintf(copy, sizeof(copy), "%s", uri ? uri : "");
	f->questions[f->answered].done(f->questions[f->answered].userdata, status, uri ? &contact : NULL, uri ? 1 : 0,
				       status == 503 ? 7 : 0);
	f->answered++;
	memset(copy, 'x', sizeof(copy));
}

static int setup_for(void **state, unsigned seconds) {
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->runtime.now_us = 5000000;
	const struct location_settings settings = {.runtime = &f->runtime, .seconds = seconds, .userdata = f, .ask = ask};
	*state = f;
	return location_new(&settings, &f->location);
}

static int setup(void **state) {
	return setup_for(state, SECONDS);
}

static int setup_off(void **state) {
	return setup_for(state, 0);
}

static int teardown(void **state) {
	struct fixture *f = *state;

	while (f->answered < f->asked)
		answer(f, 503, NULL, 0);
	location_free(f->location);
	assert_null(f->runtime.timers);
	free(f);
	return 0;
}

/* Stale for at most the configured seconds. */
static void test_kept(void **state) {
	struct fixture *f = *state;

	call(f, "alice@example.org");
	assert_int_equal(f->callers, 0);
	answer(f, 302, "sip:alice@192.0.2.7", 100);
	assert_int_equal(f->callers, 1);
	assert_string_equal(f->uri, "sip:alice@192.0.2.7");
	f->runtime.now_us += (SECONDS - 1) * USEC_PER_SEC;
	call(f, "alice@example.org");
	assert_int_equal(f->callers, 2);
	assert_int_equal(f->status, 302);
	assert_string_equal(f->uri, "sip:alice@192.0.2.7");
	assert_int_equal(f->expires_s, 100 - (SECONDS - 1));
	assert_int_equal(f->asked, 1);
	f->runtime.now_us += USEC_PER_SEC;
	call(f, "alice@example.org"); /* she has moved */
	assert_int_equal(f->callers, 2);
	assert_int_equal(f->asked, 2);
	answer(f, 302, "sip:alice@192.0.2.8", 100);
	assert_string_equal(f->uri, "sip:alice@192.0.2.8");
	struct location_figures figures = location_figures(f->location);
	assert_int_equal(figures.hits, 1);
	assert_int_equal(figures.lookups, 2);
	assert_int_equal(figures.entries, 1);
	assert_true(figures.octets > 0);
}

/* Not longer than the records live, and not at all when they are about to end. */
static void test_lifetime_of_records(void **state) {
	struct fixture *f = *state;

	call(f, "alice@example.org");
	answer(f, 302, "sip:alice@192.0.2.7", 3);
	f->runtime.now_us += 3 * USEC_PER_SEC - 1;
	call(f, "alice@example.org");
	assert_int_equal(f->asked, 1);
	assert_int_equal(f->expires_s, 1);
	f->runtime.now_us += 1;
	call(f, "alice@example.org");
	assert_int_equal(f->asked, 2);
	answer(f, 302, "sip:alice@192.0.2.7", 0);
	call(f, "alice@example.org");
	assert_int_equal(f->asked, 3);
}

static void test_negative(void **state) {
	static const unsigned statuses[] = {404, 480, 482};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(statuses); i++) {
		size_t asked = f->asked;
		call(f, "nobody@example.org");
		answer(f, statuses[i], NULL, 0);
		f->runtime.now_us += LOCATION_NEGATIVE_SECONDS * USEC_PER_SEC - 1;
		call(f, "nobody@example.org");
		assert_int_equal(f->status, statuses[i]);
		assert_int_equal(f->asked, asked + 1);
		f->runtime.now_us += 1;
		call(f, "nobody@example.org");
		assert_int_equal(f->asked, asked + 2);
		answer(f, 503, NULL, 0); /* not kept: the overlay may be back */
		assert_int_equal(f->status, 503);
		assert_int_equal(f->retry_after_s, 7);
		call(f, "nobody@example.org");
		assert_int_equal(f->asked, asked + 3);
		answer(f, 503, NULL, 0);
	}
	assert_int_equal(location_figures(f->location).entries, 0);
}

static void test_one_for_all(void **state) {
	struct fixture *f = *state;

	for (unsigned i = 0; i < 100; i++)
		call(f, "alice@example.org");
	call(f, "bob@example.org");
	assert_int_equal(f->asked, 2);
	answer(f, 302, "sip:alice@192.0.2.7", 100);
	assert_int_equal(f->callers, 100);
	answer(f, 480, NULL, 0);
	assert_int_equal(f->callers, 101);
	assert_int_equal(location_figures(f->location).joined, 99);
}

/* A registration at this gateway is seen by the next call, also when a look-up was under way. */
static void test_forget(void **state) {
	struct fixture *f = *state;

	location_forget(f->location, "alice@example.org");
	call(f, "alice@example.org");
	answer(f, 480, NULL, 0);
	location_forget(f->location, "alice@example.org");
	call(f, "alice@example.org");
	assert_int_equal(f->asked, 2);
	location_forget(f->location, "alice@example.org");
	answer(f, 480, NULL, 0);
	call(f, "alice@example.org");
	assert_int_equal(f->asked, 3);
	answer(f, 302, "sip:alice@192.0.2.7", 100);
	call(f, "alice@example.org");
	assert_int_equal(f->asked, 3);
	location_forget_all(f->location);
	call(f, "alice@example.org");
	assert_int_equal(f->asked, 4);
}

/* Who asks within an answer is served as well. */
static void test_again_from_within(void **state) {
	struct fixture *f = *state;

	f->ask_again = true;
	call(f, "alice@example.org");
	answer(f, 503, NULL, 0);
	assert_int_equal(f->asked, 2);
	f->ask_again = true;
	answer(f, 302, "sip:alice@192.0.2.7", 100);
	runtime_fire(&f->runtime);
	assert_int_equal(f->callers, 3);
	assert_int_equal(f->asked, 2);
}

static void test_bound(void **state) {
	struct fixture *f = *state;
	char aor[64];

	for (unsigned i = 0; i < LOCATION_ENTRIES + 10; i++) {
		snprintf(aor, sizeof(aor), "user%u@example.org", i);
		f->asked = f->answered = 0;
		call(f, aor);
		answer(f, 302, "sip:alice@192.0.2.7", 100);
		if (i % 100 == 0)
			call(f, "user0@example.org"); /* in use, so it stays */
	}
	struct location_figures figures = location_figures(f->location);
	assert_int_equal(figures.entries, LOCATION_ENTRIES);
	assert_int_equal(figures.displaced, 10);
	f->asked = f->answered = 0;
	call(f, "user0@example.org");
	assert_int_equal(f->asked, 0);
	call(f, "user1@example.org");
	assert_int_equal(f->asked, 1);
}

/* Users with many long Contacts fill the room before there are too many of them. */
static void test_bound_of_octets(void **state) {
	struct sip_redirect_contact contacts[LOCATION_CONTACTS + 1];
	char uri[512], aor[64];
	struct fixture *f = *state;

	memset(uri, 'u', sizeof(uri) - 1);
	uri[sizeof(uri) - 1] = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(contacts); i++)
		contacts[i] = (struct sip_redirect_contact){.uri = uri, .expires_s = 100};
	const unsigned most = LOCATION_OCTETS / (LOCATION_CONTACTS * sizeof(uri));
	for (unsigned i = 0; i < 2 * most; i++) {
		snprintf(aor, sizeof(aor), "user%u@example.org", i);
		f->asked = f->answered = 0;
		call(f, aor);
		f->questions[0].done(f->questions[0].userdata, 302, contacts, ARRAY_LENGTH(contacts), 0);
		f->answered = 1;
		assert_int_equal(f->count, LOCATION_CONTACTS);
		assert_true(location_figures(f->location).octets <= LOCATION_OCTETS);
	}
	struct location_figures figures = location_figures(f->location);
	assert_in_range(figures.entries, most / 2, most);
	assert_int_equal(figures.displaced, 2 * most - figures.entries);
	f->asked = f->answered = 0;
	call(f, aor); /* the last one is known */
	assert_int_equal(f->asked, 0);
	assert_int_equal(f->count, LOCATION_CONTACTS);
	call(f, "user0@example.org");
	assert_int_equal(f->asked, 1);
}

static void test_off(void **state) {
	struct fixture *f = *state;

	call(f, "alice@example.org");
	call(f, "alice@example.org");
	assert_int_equal(f->asked, 1);
	answer(f, 302, "sip:alice@192.0.2.7", 100);
	assert_int_equal(f->callers, 2);
	call(f, "alice@example.org");
	assert_int_equal(f->asked, 2);
}

int main(void) {
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lifetime_of_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_negative, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_for_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forget, setup, teardown),
		cmocka_unit_test_setup_teardown(test_again_from_within, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bound_of_octets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_off, setup_off, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
