/* SPDX-License-Identifier: BSD-2-Clause */
/* The torture test messages of RFC 4475, octet by octet as its appendix A has them, in tests/sip/torture. */
#include "sip/proxy.h"
#include "unit/sip/harness.h"

static bool any_domain(void *userdata, const char *domain) {
	(void)userdata;
	return domain[0] != 0;
}

static bool any_user(void *userdata, const char *aor) {
	(void)userdata;
	return aor[0] != 0;
}

static size_t read_message(const char *name, char *text, size_t size) {
	char path[128];

	snprintf(path, sizeof(path), "tests/sip/torture/%s.dat", name);
	_cleanup_fclose_ FILE *file = fopen(path, "r");
	if (!file)
		fail_msg("%s is missing; run in the root of the repository", path);
	size_t length = fread(text, 1, size, file);
	assert_true(length > 0 && length < size);
	return length;
}

/*
 * What we answer, 0 for nothing. The Via names a port that is nobody's here, so the status is taken from the transaction, or for
 * answers without one, of which only the class is counted, as 400 or 500. `complete`: with the line end that the archive lacks.
 */
static unsigned answer_in(enum sip_mode mode, const char *name, bool complete) {
	void *state = NULL;
	char text[8192];

	assert_int_equal(setup_mode(&state, "127.0.0.1", mode), 0);
	struct fixture *f = state;
	struct sip_flow flow = {.local = f->address, .fd = f->gateway->listeners[0].udp};
	f->gateway->events.domain = any_domain;
	f->gateway->events.user = any_user;
	f->resolve_status = 404;
	size_t length = read_message(name, text, sizeof(text) - 2);
	if (complete) {
		memcpy(text + length, "\r\n", 2);
		length += 2;
	}
	assert_int_equal(address_parse("127.0.0.1", f->phone_port, &flow.remote), 0);
	sip_receive_datagram(f->gateway, &flow, OCTETS(text, length));
	pump(f);
	struct sip_figures counted = figures(f);
	unsigned status = f->gateway->transactions    ? f->gateway->transactions->status
			  : counted.responses_4xx > 0 ? 400
			  : counted.responses_5xx > 0 ? 500
						      : 0;
	advance(f, 100 * USEC_PER_SEC);
	assert_null(f->gateway->transactions);
	assert_int_equal(teardown(&state), 0);
	return status;
}

/* RFC 4475's section, what it says, what we do: 404 here means understood, as nobody is registered, and 400 refused. */
static const struct {
	const char *name;
	unsigned redirect, proxy;
	bool complete;
} rows[] = {
	/* 3.1.1: valid */
	{"wsinv", 481, 404, false}, /* a To tag: for a redirector of a dialog it does not have */
	{"intmeth", 404, 404, false},
	{"esc01", 404, 404, false},
	{"escnull", 400, 400, false}, /* well-formed, but no name of ours has a NUL; see docs/deviations.md */
	{"esc02", 405, 405, false},   /* a method nobody knows, for us */
	{"lwsdisp", 404, 404, false},
	{"longreq", 404, 404, false},
	{"dblreq", 200, 200, false},  /* what follows in the datagram is nothing */
	{"semiuri", 404, 404, false}, /* with "@" in the name, which is no AoR of ours */
	{"transports", 404, 404, false},
	{"mpart01", 404, 404, false},
	{"unreason", 0, 0, false}, /* responses to what was never asked */
	{"noreason", 0, 0, false},
	/* 3.1.2: invalid */
	{"badinv01", 400, 400, true}, /* the archive has it without an end */
	{"clerr", 400, 400, false},
	{"ncl", 400, 400, false},
	{"scalar02", 400, 400, false},
	{"scalarlg", 0, 0, false},
	{"quotbal", 400, 400, false},
	{"ltgtruri", 400, 400, false},
	{"lwsruri", 400, 400, false},
	{"lwsstart", 400, 400, false},
	{"trws", 400, 400, false},
	{"escruri", 404, 404, false},  /* the header in the Request-URI is not looked at */
	{"baddate", 404, 404, false},  /* nor is a Date (RFC 3261 8.2) */
	{"regbadct", 200, 200, false}, /* there is no ambiguity about where the URI ends */
	{"badaspec", 400, 400, false},
	{"baddn", 0, 0, false}, /* its header does not end */
	{"baddn", 400, 400, true},
	{"badvers", 500, 500, false}, /* 505 */
	{"mismatch01", 400, 400, false},
	{"mismatch02", 400, 400, false},
	{"bigcode", 0, 0, false},
	/* 3.2, 3.3, 3.4 */
	{"badbranch", 404, 404, false},
	{"insuf", 400, 400, false},
	{"unkscm", 416, 416, false},
	{"novelsc", 400, 400, false}, /* 416 */
	{"unksm2", 404, 404, false},  /* To is no AoR of ours */
	{"bext01", 404, 420, false},
	{"invut", 404, 404, false},
	{"regaut01", 200, 200, false},
	{"multi01", 400, 400, false},
	{"mcl01", 400, 400, false},
	{"bcast", 0, 0, false},
	{"zeromf", 483, 483, false},
	{"cparam01", 200, 200, false},
	{"cparam02", 200, 200, false},
	{"regescrt", 200, 200, false},
	{"sdp01", 404, 404, false},
	{"inv2543", 404, 404, false},
	{"test", 0, 0, false}, /* in the archive, but not in the text; its header does not end */
};

static void test_messages(void **state) {
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		unsigned redirect = answer_in(SIP_MODE_REDIRECT, rows[i].name, rows[i].complete);
		unsigned proxy = answer_in(SIP_MODE_PROXY, rows[i].name, rows[i].complete);
		if (redirect != rows[i].redirect || proxy != rows[i].proxy)
			fail_msg("%s: %u and %u instead of %u and %u", rows[i].name, redirect, proxy, rows[i].redirect,
				 rows[i].proxy);
	}
}

/* What is passed on arrives as it was sent, odd as it may be: the body, and every field that is not ours to change. */
static void test_passed_on(void **state) {
	static const char *const names[] = {"wsinv", "intmeth", "lwsdisp", "longreq", "transports", "mpart01", "invut", "sdp01"};
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		void *fixture = NULL;
		char text[8192], contact[64];
		assert_int_equal(setup_mode(&fixture, "127.0.0.1", SIP_MODE_PROXY), 0);
		struct fixture *f = fixture;
		struct sip_flow flow = {.local = f->address, .fd = f->gateway->listeners[0].udp};
		f->gateway->events.domain = any_domain;
		snprintf(contact, sizeof(contact), "sip:callee@127.0.0.1:%u", f->phone_port);
		f->contacts[0] = (struct sip_redirect_contact){.uri = contact, .expires_s = 60};
		f->contact_count = 1;
		assert_int_equal(address_parse("127.0.0.1", 5999, &flow.remote), 0);
		size_t length = read_message(names[i], text, sizeof(text));
		sip_receive_datagram(f->gateway, &flow, OCTETS(text, length));
		advance(f, 5 * USEC_PER_SEC); /* long ones try TCP first */
		ssize_t got_length = recv(f->phone, f->answer, sizeof(f->answer) - 1, MSG_DONTWAIT);
		struct sip_frame sent, got;
		assert_int_equal(sip_frame_find(OCTETS(text, length), false, &sent), 0);
		if (got_length <= 0 || sip_frame_find(OCTETS(f->answer, got_length), false, &got) < 0)
			fail_msg("%s is not passed on", names[i]);
		assert_int_equal(got.status, 0);
		assert_true(octets_equal(sip_frame_body(&got), sip_frame_body(&sent)));
		struct reader r = reader_of_octets(sent.header);
		struct sip_raw_field field;
		while (sip_raw_field_next(&r, &field))
			if (field.field != SIP_FIELD_VIA && field.field != SIP_FIELD_MAX_FORWARDS &&
			    field.field != SIP_FIELD_ROUTE && field.field != SIP_FIELD_CONTENT_LENGTH &&
			    !memmem(got.header.data, got.header.length, field.whole.data, field.whole.length))
				fail_msg("%s: \"%.*s\" is not passed on", names[i], (int)field.whole.length,
					 (const char *)field.whole.data);
		assert_int_equal(teardown(&fixture), 0);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_messages), cmocka_unit_test(test_passed_on)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
