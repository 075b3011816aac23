/* SPDX-License-Identifier: BSD-2-Clause */
/* The registrar: RFC 3261 10.3, with the node behind it. S-3.3-01, S-2-01 */
#include "unit/sip/harness.h"

#define ALICE "Contact: <sip:alice@192.0.2.7:5070>\r\n"

static void test_register(void **state) {
	struct fixture *f = *state;

	send_register(f, "Contact: \"Desk\" <sip:alice@192.0.2.7:5070;transport=tcp>;q=0.25;expires=120\r\n");
	expect_status(f, 200);
	expect_text(f, "\r\nContact: <sip:alice@192.0.2.7:5070;transport=tcp>;expires=120;q=0.250\r\n");
	expect_text(f, "\r\nDate: Sat, 13 Nov 2010 23:29:01 GMT\r\n");
	expect_text(f, "\r\nCSeq: 1 REGISTER\r\n");
	expect_text(f, "\r\nTo: <sip:alice@example.org>;tag=");
	assert_int_equal(f->asked, 1);
	assert_string_equal(f->questions[0].aor, "alice@example.org"); /* S-2-01 */
	assert_string_equal(f->questions[0].contact, "sip:alice@192.0.2.7:5070;transport=tcp");
	assert_int_equal(f->questions[0].expires_s, 120);
	assert_int_equal(binding_count(f), 1);
}

/* The local table and the answer wait for the overlay. */
static void test_answer_waits(void **state) {
	struct fixture *f = *state;

	f->bind_status = 0;
	send_register(f, ALICE);
	expect_nothing(f);
	assert_int_equal(binding_count(f), 0);
	test_answer_bind(f, 0, 200);
	expect_status(f, 200);
	assert_int_equal(binding_count(f), 1);
	assert_int_equal(f->questions[0].expires_s, 3600);
}

static void test_query(void **state) {
	struct fixture *f = *state;

	send_register(f, NULL);
	expect_status(f, 200);
	assert_int_equal(contact_count(f), 0);
	send_register(f, ALICE "Contact: <sip:alice@192.0.2.8>;expires=100, <sip:alice@192.0.2.9>;expires=200\r\nExpires: 300\r\n");
	expect_status(f, 200);
	assert_int_equal(contact_count(f), 3);
	assert_int_equal(f->asked, 3);
	advance(f, 50 * USEC_PER_SEC + 1);
	send_register(f, NULL);
	expect_status(f, 200);
	expect_text(f, "<sip:alice@192.0.2.7:5070>;expires=250\r\n");
	expect_text(f, "<sip:alice@192.0.2.8>;expires=50\r\n");
	expect_text(f, "<sip:alice@192.0.2.9>;expires=150\r\n");
	assert_int_equal(f->asked, 3);
}

static void test_expiry(void **state) {
	struct fixture *f = *state;

	send_register(f, ALICE "Expires: 60\r\n");
	expect_status(f, 200);
	advance(f, 60 * USEC_PER_SEC - 1);
	assert_int_equal(binding_count(f), 1);
	advance(f, 1);
	assert_int_equal(binding_count(f), 0);
	assert_null(f->gateway->registrations);
	assert_int_equal(f->asked, 1); /* the overlay was given the same time */
	send_register(f, ALICE "Expires: 60\r\n");
	advance(f, 40 * USEC_PER_SEC);
	send_register(f, ALICE "Expires: 60\r\n"); /* another Call-ID */
	advance(f, 40 * USEC_PER_SEC);
	assert_int_equal(binding_count(f), 1);
}

static void test_expires_bounds(void **state) {
	static const struct {
		const char *fields;
		unsigned status;
		const char *text;
	} rows[] = {
		{"Contact: <sip:alice@192.0.2.1>;expires=59\r\n", 423, "\r\nMin-Expires: 60\r\n"},
		{"Contact: <sip:alice@192.0.2.1>\r\nExpires: 1\r\n", 423, "\r\nMin-Expires: 60\r\n"},
		{"Contact: <sip:alice@192.0.2.1>;expires=60\r\nExpires: 1\r\n", 200, ";expires=60\r\n"},
		{"Contact: <sip:alice@192.0.2.1>;expires=4000000000\r\n", 200, ";expires=86400\r\n"},
		{"Contact: <sip:alice@192.0.2.1>;expires=99999999999999999999\r\n", 200, ";expires=86400\r\n"},
		{"Contact: <sip:alice@192.0.2.1>\r\n", 200, ";expires=3600\r\n"},
		{"Contact: <sip:alice@192.0.2.1>;expires=soon\r\n", 200, ";expires=3600\r\n"}, /* RFC 3261 20.19 */
		{"Contact: <sip:alice@192.0.2.1>;expires\r\n", 200, ";expires=3600\r\n"},
		{"m: <sip:alice@192.0.2.1>;EXPIRES=61\r\n", 200, ";expires=61\r\n"},
		{"Contact: <sip:alice@192.0.2.1>;q=1.5;expires=70\r\n", 200, ">;expires=70\r\n"},
		{"Contact: <sip:alice@192.0.2.1>;q=1.0;expires=70\r\n", 200, ";q=1.000\r\n"},
		{"Contact: <sip:alice@192.0.2.1>;q=0;expires=70\r\n", 200, ";q=0.000\r\n"},
		{"Contact: <sip:alice@192.0.2.1>;q=0.1234;expires=70\r\n", 200, ">;expires=70\r\n"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		send_register(f, rows[i].fields);
		expect_status(f, rows[i].status);
		expect_text(f, rows[i].text);
	}
}

static void test_remove(void **state) {
	struct fixture *f = *state;

	send_register(f, ALICE "Contact: <sip:alice@192.0.2.8>\r\n");
	expect_status(f, 200);
	send_register(f, "Contact: <sip:alice@192.0.2.7:5070>;expires=0\r\n");
	expect_status(f, 200);
	assert_int_equal(contact_count(f), 1);
	assert_int_equal(f->questions[2].expires_s, 0);
	send_register(f, "Contact: <sip:alice@198.51.100.1>;expires=0\r\n"); /* not ours, may be in the overlay */
	expect_status(f, 200);
	assert_int_equal(f->asked, 4);
	assert_string_equal(f->questions[3].contact, "sip:alice@198.51.100.1");
	assert_int_equal(binding_count(f), 1);
	send_register(f, "Contact: <sip:alice@192.0.2.8>\r\nExpires: 0\r\n");
	expect_status(f, 200);
	assert_int_equal(binding_count(f), 0);
}

static void test_remove_everything(void **state) {
	static const char *const wrong[] = {
		"Contact: *\r\n",
		"Contact: *\r\nExpires: 1\r\n",
		"Contact: *\r\nExpires: 00\r\n",
		"Contact: *;expires=0\r\n",
		"Contact: *\r\nContact: <sip:alice@192.0.2.8>\r\nExpires: 0\r\n",
		"Contact: <sip:alice@192.0.2.8>\r\nContact: *\r\nExpires: 0\r\n",
		"Contact: *\r\nContact: *\r\nExpires: 0\r\n",
	};
	struct fixture *f = *state;

	send_register(f, ALICE "Contact: <sip:alice@192.0.2.8>\r\n");
	expect_status(f, 200);
	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
		send_register(f, wrong[i]);
		expect_status(f, 400);
	}
	assert_int_equal(binding_count(f), 2);
	assert_int_equal(f->asked, 2);
	send_register(f, "Contact: *\r\nExpires: 0\r\n");
	expect_status(f, 200);
	assert_int_equal(contact_count(f), 0);
	assert_int_equal(binding_count(f), 0);
	assert_int_equal(f->asked, 4);
	assert_int_equal(f->questions[2].expires_s, 0);
	assert_int_equal(f->questions[3].expires_s, 0);
	send_register(f, "Contact: *\r\nExpires: 0\r\n"); /* of nothing */
	expect_status(f, 200);
	assert_int_equal(f->asked, 4);
}

static void test_order(void **state) {
	struct fixture *f = *state;

	send_text(f, REQUEST(f, .method = "REGISTER", .fields = ALICE, .call_id = "same", .cseq = 7));
	expect_status(f, 200);
	advance(f, 40 * USEC_PER_SEC); /* past timer J */
	for (unsigned cseq = 6; cseq <= 7; cseq++) {
		send_text(f, REQUEST(f, .method = "REGISTER", .fields = "Contact: <sip:alice@192.0.2.7:5070>;expires=0\r\n",
				     .call_id = "same", .cseq = cseq));
		expect_status(f, 400);
		send_text(f, REQUEST(f, .method = "REGISTER", .fields = "Contact: *\r\nExpires: 0\r\n", .call_id = "same",
				     .cseq = cseq, .from = "<sip:alice@example.org>;x=y"));
		expect_status(f, 482); /* merged with the one before: same From tag, Call-ID and CSeq */
		advance(f, 40 * USEC_PER_SEC);
	}
	send_text(f, REQUEST(f, .method = "REGISTER", .fields = "Contact: *\r\nExpires: 0\r\n", .call_id = "same", .cseq = 5));
	expect_status(f, 400);
	assert_int_equal(f->asked, 1);
	send_text(f, REQUEST(f, .method = "REGISTER", .fields = ALICE, .call_id = "same", .cseq = 8));
	expect_status(f, 200);
	send_text(f, REQUEST(f, .method = "REGISTER", .fields = ALICE, .call_id = "other", .cseq = 1));
	expect_status(f, 200);
	assert_int_equal(contact_count(f), 1);
}

/* RFC 3261 19.1.4: one binding; the former spelling leaves the overlay before the new one comes. */
static void test_equal_uris(void **state) {
	struct fixture *f = *state;

	send_register(f, "Contact: <sip:alice@PHONE.example.org;line=1>\r\n");
	expect_status(f, 200);
	send_register(f, "Contact: <sip:alice@phone.example.org>\r\n");
	expect_status(f, 200);
	assert_int_equal(contact_count(f), 1);
	expect_text(f, "<sip:alice@phone.example.org>");
	assert_int_equal(f->asked, 3);
	assert_string_equal(f->questions[1].contact, "sip:alice@PHONE.example.org;line=1");
	assert_int_equal(f->questions[1].expires_s, 0);
	assert_string_equal(f->questions[2].contact, "sip:alice@phone.example.org");
	assert_int_equal(f->questions[2].expires_s, 3600);
	send_register(f, "Contact: <sip:alice@phone.example.org:5060>\r\nContact: <sip:ALICE@phone.example.org>\r\n"
			 "Contact: <sip:alice@phone.example.org;transport=tcp>\r\nContact: <sips:alice@phone.example.org>\r\n");
	expect_status(f, 200);
	assert_int_equal(contact_count(f), 5);
	send_register(f,
		      "Contact: <sip:x@192.0.2.1>;expires=60\r\nContact: <sip:x@192.0.2.1>;expires=90\r\n"); /* the last counts */
	expect_status(f, 200);
	assert_int_equal(contact_count(f), 6);
	expect_text(f, "<sip:x@192.0.2.1>;expires=90\r\n");
}

/* The new spelling cannot be stored: the former one is stored again. */
static void test_respelling_undone(void **state) {
	struct fixture *f = *state;

	send_register(f, "Contact: <sip:alice@phone.example.org;line=1>\r\nExpires: 100\r\n");
	expect_status(f, 200);
	f->bind_status = 0;
	send_register(f,
		      "Contact: <sip:new@192.0.2.1>, <sip:alice@PHONE.example.org;line=1;x>, <sip:gone@192.0.2.1>;expires=0\r\n");
	test_answer_bind(f, 1, 200); /* line=1 goes */
	test_answer_bind(f, 2, 200); /* gone goes */
	assert_string_equal(f->questions[2].contact, "sip:gone@192.0.2.1");
	test_answer_bind(f, 3, 200); /* new comes */
	assert_string_equal(f->questions[4].contact, "sip:alice@PHONE.example.org;line=1;x");
	test_answer_bind(f, 4, 403);
	expect_status(f, 403);
	assert_string_equal(f->questions[5].contact, "sip:new@192.0.2.1");
	assert_int_equal(f->questions[5].expires_s, 0);
	test_answer_bind(f, 5, 200);
	assert_string_equal(f->questions[6].contact, "sip:alice@phone.example.org;line=1"); /* nothing to undo for gone */
	assert_int_equal(f->questions[6].expires_s, 100);
	test_answer_bind(f, 6, 200);
	assert_int_equal(f->asked, 7);
	send_register(f, NULL);
	expect_status(f, 200);
	assert_int_equal(contact_count(f), 1);
	expect_text(f, "<sip:alice@phone.example.org;line=1>;expires=100\r\n");
}

static void test_overlay_refuses(void **state) {
	static const struct {
		unsigned of_node, to_phone;
	} rows[] = {{403, 403}, {404, 404}, {500, 500}, {503, 503}, {0xffff, 500}, {302, 500}};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		f->bind_status = rows[i].of_node;
		send_register(f, ALICE);
		expect_status(f, rows[i].to_phone);
		if (rows[i].to_phone == 503)
			expect_text(f, "\r\nRetry-After: ");
		assert_int_equal(binding_count(f), 0);
	}
}

/* What was stored of a REGISTER that fails is taken back, in reverse order; the table has never changed. */
static void test_atomic(void **state) {
	struct fixture *f = *state;

	send_register(f, ALICE "Expires: 1000\r\n");
	expect_status(f, 200);
	advance(f, 100 * USEC_PER_SEC);
	f->bind_status = 0;
	send_register(f, "Contact: <sip:alice@192.0.2.7:5070>;expires=2000\r\nContact: <sip:alice@192.0.2.8>\r\n"
			 "Contact: <sip:alice@192.0.2.9>\r\n");
	assert_int_equal(f->asked, 2);
	test_answer_bind(f, 1, 200);
	test_answer_bind(f, 2, 200);
	expect_nothing(f);
	assert_int_equal(f->asked, 4);
	test_answer_bind(f, 3, 503);
	expect_status(f, 503);
	assert_string_equal(f->questions[4].contact, "sip:alice@192.0.2.8");
	assert_int_equal(f->questions[4].expires_s, 0);
	send_register(f, NULL); /* waits for its turn */
	expect_nothing(f);
	test_answer_bind(f, 4, 200);
	assert_string_equal(f->questions[5].contact, "sip:alice@192.0.2.7:5070");
	assert_int_equal(f->questions[5].expires_s, 900);
	test_answer_bind(f, 5, 503); /* is only logged */
	expect_status(f, 200);
	assert_int_equal(contact_count(f), 1);
	expect_text(f, "<sip:alice@192.0.2.7:5070>;expires=900\r\n");
}

/* REGISTERs of one AoR run one after the other, those of others do not wait (RFC 3261 10.3). */
static void test_in_turn(void **state) {
	struct fixture *f = *state;

	f->bind_status = 0;
	send_register(f, ALICE);
	send_register(f, "Contact: *\r\nExpires: 0\r\n");
	send_text(f, REQUEST(f, .method = "REGISTER", .from = "<sip:bob@example.org>", .to = "<sip:bob@example.org>",
			     .fields = "Contact: <sip:bob@192.0.2.5>\r\n"));
	assert_int_equal(f->asked, 2);
	assert_string_equal(f->questions[1].aor, "bob@example.org");
	test_answer_bind(f, 1, 200);
	expect_status(f, 200);
	expect_text(f, "Contact: <sip:bob@192.0.2.5>");
	test_answer_bind(f, 0, 200);
	expect_status(f, 200);
	expect_text(f, "Contact: <sip:alice@192.0.2.7:5070>");
	assert_int_equal(f->asked, 3);
	test_answer_bind(f, 2, 200);
	expect_status(f, 200);
	assert_int_equal(contact_count(f), 0);
	for (unsigned i = 0; i < SIP_REGISTERS_PER_AOR + 1; i++)
		send_register(f, ALICE);
	expect_status(f, 503); /* one too many */
	expect_nothing(f);
	assert_int_equal(f->asked, 4);
}

/* The phone gets 503 in time; a late success is undone, as the phone was told it failed. */
static void test_overlay_silent(void **state) {
	struct fixture *f = *state;

	f->bind_status = 0;
	send_register(f, ALICE);
	send_register(f, ALICE);
	advance(f, 3 * USEC_PER_SEC);
	expect_nothing(f); /* no 100 before (RFC 4320) */
	advance(f, USEC_PER_SEC);
	expect_status(f, 100);
	expect_status(f, 100);
	advance(f, (SIP_ANSWER_SECONDS - 4) * USEC_PER_SEC);
	expect_status(f, 503);
	expect_text(f, "\r\nRetry-After: ");
	expect_status(f, 503);
	assert_int_equal(f->asked, 1);
	test_answer_bind(f, 0, 200);
	assert_int_equal(f->asked, 2);
	assert_int_equal(f->questions[1].expires_s, 0);
	test_answer_bind(f, 1, 200);
	assert_int_equal(f->asked, 2); /* the second had waited in vain */
	expect_nothing(f);
	assert_int_equal(binding_count(f), 0);
}

static void test_expires_while_asking(void **state) {
	struct fixture *f = *state;

	send_register(f, ALICE "Expires: 60\r\n");
	expect_status(f, 200);
	advance(f, 50 * USEC_PER_SEC);
	f->bind_status = 0;
	send_register(f, "Contact: <sip:alice@192.0.2.7:5070>;expires=100\r\nContact: <sip:alice@192.0.2.8>\r\n");
	test_answer_bind(f, 1, 200);
	advance(f, 15 * USEC_PER_SEC);
	assert_int_equal(binding_count(f), 0);
	test_answer_bind(f, 2, 503);
	expect_status(f, 100);
	expect_status(f, 503);
	assert_int_equal(f->asked, 4); /* what the first Contact was before has ended meanwhile */
	assert_string_equal(f->questions[3].contact, "sip:alice@192.0.2.7:5070");
	assert_int_equal(f->questions[3].expires_s, 0);
	test_answer_bind(f, 3, 200);
}

static void test_who(void **state) {
	static const struct {
		const char *uri, *from, *to;
		unsigned status;
	} rows[] = {
		{"sip:example.org", "<sip:alice@example.org>", "<sip:alice@example.org>", 200},
		{"sip:EXAMPLE.org", "<sip:alice@example.org:5080;x=y>", "\"A\" <sip:alice@Example.ORG;user=ip>", 200},
		{"sips:example.org", "<sips:alice@example.org>", "<sips:alice@example.org>", 200},
		{"sip:example.org", "<sip:%61lice@example.org>", "sip:al%69ce@example.org", 200},
		{"sip:example.org.", "<sip:alice@example.org>", "<sip:alice@example.org.>", 200},
		{"sip:127.0.0.1", "<sip:alice@example.org>", "<sip:alice@example.org>",
		 200}, /* our address stands for our domains */
		{"sip:alice@example.org", "<sip:alice@example.org>", "<sip:alice@example.org>", 200},
		{"sip:example.org", "<sip:bob@example.org>", "<sip:alice@example.org>", 403}, /* third party */
		{"sip:example.org", "<sip:alice@example.net>", "<sip:alice@example.org>", 403},
		{"sip:example.org", "<tel:+15550100>", "<sip:alice@example.org>", 403},
		{"sip:example.org", "<sip:carol@example.org>", "<sip:carol@example.org>", 404}, /* S-3.3-01: no credential here */
		{"sip:example.org", "<sip:Alice@example.org>", "<sip:Alice@example.org>", 404}, /* users differ by case */
		{"sip:example.org", "<sip:example.org>", "<sip:example.org>", 404},
		{"sip:example.org", "<sip:a%20b@example.org>", "<sip:a%20b@example.org>", 404},
		{"sip:example.org", "<sip:a%40b@example.org>", "<sip:a%40b@example.org>", 404},
		{"sip:example.net", "<sip:alice@example.org>", "<sip:alice@example.org>", 404}, /* AoR not of that domain */
		{"sip:example.org", "<sip:alice@example.net>", "<sip:alice@example.net>", 404},
		{"sip:example.com", "<sip:alice@example.com>", "<sip:alice@example.com>", 404}, /* not served */
		{"sip:example.com", "<sip:alice@example.org>", "<sip:alice@example.org>", 404},
		{"sip:127.0.0.2", "<sip:alice@example.org>", "<sip:alice@example.org>", 404},
		{"sip:127.0.0.1", "<sip:alice@127.0.0.1>", "<sip:alice@127.0.0.1>", 404},
		{"sip:example.org", "<tel:+15550100>", "<tel:+15550100>", 404},
		{"tel:+15550100", "<sip:alice@example.org>", "<sip:alice@example.org>", 416},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		send_text(f, REQUEST(f, .method = "REGISTER", .uri = rows[i].uri, .from = rows[i].from, .to = rows[i].to,
				     .fields = ALICE));
		if (status_of(received(f)) != rows[i].status)
			fail_msg("row %zu: expected %u, got:\n%s", i, rows[i].status, f->answer);
	}
	assert_int_equal(binding_count(f), 1);
}

static void test_contacts_bad(void **state) {
	static const char *const bad[] = {
		"Contact: <tel:+15550100>\r\n",
		"Contact: <mailto:alice@example.org>\r\n",
		"Contact: <sip:>\r\n",
		"Contact: alice\r\n",
		"Contact: <sip:alice@192.0.2.1\r\n",
		"Contact: <sip:alice@192.0.2.1;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a;a>\r\n",
		"Contact: <sip:alice@192.0.2.1;x=%00>\r\n",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		send_register(f, bad[i]);
		if (status_of(received(f)) != 400)
			fail_msg("%s got:\n%s", bad[i], f->answer);
	}
	assert_int_equal(f->asked, 0);
	assert_int_equal(binding_count(f), 0);
}

/* What a phone hides in escapes must not come out as a line of its own. */
static void test_contact_escapes(void **state) {
	struct fixture *f = *state;

	send_register(f, "Contact: <sip:a%0d%0aX-Evil:%201@192.0.2.1;p=%0d%0aX-Evil:1?h=%0d%0aX-Evil:1>\r\n");
	received(f);
	assert_true(status_of(f->answer) == 400 || status_of(f->answer) == 200);
	expect_no_text(f, "\nX-Evil");
	if (f->asked > 0)
		assert_null(strpbrk(f->questions[0].contact, "\r\n <>\""));
}

static void test_contact_bounds(void **state) {
	struct fixture *f = *state;
	char fields[8192], name[SIP_CONTACT_OCTETS + 1];
	size_t length = 0;

	for (unsigned i = 0; i < SIP_CONTACTS_PER_AOR + 1; i++)
		length += (size_t)snprintf(fields + length, sizeof(fields) - length, "Contact: <sip:alice@192.0.2.%u>\r\n", i + 1);
	send_register(f, fields);
	expect_status(f, 403);
	assert_int_equal(f->asked, 0);
	strstr(fields, "Contact: <sip:alice@192.0.2.17>")[0] = 0;
	send_register(f, fields);
	expect_status(f, 200);
	assert_int_equal(contact_count(f), SIP_CONTACTS_PER_AOR);
	send_register(f, fields); /* the same again is no more */
	expect_status(f, 200);
	send_register(f, "Contact: <sip:alice@192.0.2.99>\r\n");
	expect_status(f, 403);
	send_register(f, "Contact: <sip:alice@192.0.2.99>, <sip:alice@192.0.2.1>;expires=0\r\n"); /* one goes, one comes */
	expect_status(f, 200);
	assert_int_equal(contact_count(f), SIP_CONTACTS_PER_AOR);
	send_register(f, "Contact: *\r\nExpires: 0\r\n");
	expect_status(f, 200);
	for (size_t excess = 0; excess < 2; excess++) {
		size_t room = SIP_CONTACT_OCTETS + excess - strlen("sip:@192.0.2.1");
		memset(name, 'n', room);
		name[room] = 0;
		snprintf(fields, sizeof(fields), "Contact: <sip:%s@192.0.2.1>\r\n", name);
		send_register(f, fields);
		expect_status(f, excess ? 400 : 200);
	}
	memset(name, 'c', 300);
	name[300] = 0;
	send_text(f, REQUEST(f, .method = "REGISTER", .call_id = name));
	expect_status(f, 400);
}

static void test_binding_limit(void **state) {
	struct fixture *f = *state;

	f->gateway->figures.bindings = LIMIT_SIP_BINDINGS - 1; /* as if others had them */
	f->bind_status = 0;
	send_register(f, ALICE);
	send_text(f, REQUEST(f, .method = "REGISTER", .from = "<sip:bob@example.org>", .to = "<sip:bob@example.org>",
			     .fields = "Contact: <sip:bob@192.0.2.5>\r\n"));
	expect_status(f, 503); /* the last place is promised */
	expect_text(f, "\r\nRetry-After: ");
	test_answer_bind(f, 0, 503);
	expect_status(f, 503);
	f->bind_status = 200;
	send_text(f, REQUEST(f, .method = "REGISTER", .from = "<sip:bob@example.org>", .to = "<sip:bob@example.org>",
			     .fields = "Contact: <sip:bob@192.0.2.5>\r\n"));
	expect_status(f, 200);
	send_register(f, ALICE);
	expect_status(f, 503);
	f->gateway->figures.bindings -= LIMIT_SIP_BINDINGS - 1;
	assert_int_equal(binding_count(f), 1);
}

static void test_require(void **state) {
	struct fixture *f = *state;

	send_register(f, ALICE "Require: path, outbound\r\nSupported: gruu\r\nProxy-Require: x\r\n");
	expect_status(f, 420);
	expect_text(f, "path");
	expect_text(f, "outbound");
	expect_text(f, "\r\nUnsupported: ");
	expect_no_text(f, "gruu");
	assert_int_equal(f->asked, 0);
}

/* Callers are told the Contacts in the order of their q. */
static void test_redirect_by_q(void **state) {
	static const char *const uris[] = {"sip:bob@192.0.2.1", "sip:bob@192.0.2.2", "sip:bob@192.0.2.3", "sip:bob@192.0.2.4"};
	struct fixture *f = *state;
	const char *at, *former = NULL;

	send_text(
		f,
		REQUEST(f, .method = "REGISTER", .to = "<sip:bob@example.org>", .from = "<sip:bob@example.org>",
			.fields = "Contact: <sip:bob@192.0.2.4>;q=0.1, <sip:bob@192.0.2.2>;q=1.0, <sip:bob@192.0.2.3>;q=0.5\r\n"));
	expect_status(f, 200);
	f->contact_count = ARRAY_LENGTH(uris);
	f->contacts[0] = (struct sip_redirect_contact){.uri = uris[3], .expires_s = 60};
	f->contacts[1] = (struct sip_redirect_contact){.uri = uris[0], .expires_s = 60}; /* of another gateway, without q */
	f->contacts[2] = (struct sip_redirect_contact){.uri = uris[2], .expires_s = 60};
	f->contacts[3] = (struct sip_redirect_contact){.uri = uris[1], .expires_s = 60};
	send_invite(f, "sip:bob@example.org");
	expect_status(f, 302);
	assert_int_equal(contact_count(f), 4);
	for (size_t i = 0; i < ARRAY_LENGTH(uris); i++) {
		at = strstr(f->answer, uris[i]);
		assert_non_null(at);
		assert_true(at > former);
		former = at;
	}
}

/* After a restart a phone is as registered as before, and its next REGISTER goes on where it was. */
static void test_restore(void **state) {
	struct fixture *f = *state;
	struct sip_binding_request request = {
		.aor = "alice@example.org",
		.contact = "sip:alice@192.0.2.7:5070",
		.expires_s = 100,
		.call_id = "call1",
		.cseq = 7,
		.q = 500,
		.source = {.family = AF_INET, .octets = {192, 0, 2, 7}, .port = 5070},
		.local = f->address,
	};

	assert_int_equal(sip_gateway_restore(f->gateway, &request), 0);
	assert_int_equal(sip_gateway_restore(f->gateway, &request), -EEXIST);
	request.contact = "mailto:alice@example.org";
	assert_int_equal(sip_gateway_restore(f->gateway, &request), -EINVAL);
	request.contact = "sip:alice@192.0.2.8";
	request.expires_s = 0;
	assert_int_equal(sip_gateway_restore(f->gateway, &request), -EINVAL);
	assert_int_equal(binding_count(f), 1);
	assert_int_equal(f->gateway->registrations->bindings->flow.fd, f->gateway->listeners[0].udp);
	send_register(f, NULL);
	expect_status(f, 200);
	expect_text(f, "\r\nContact: <sip:alice@192.0.2.7:5070>;expires=100;q=0.500\r\n");
	send_text(f, REQUEST(f, .method = "REGISTER", .fields = ALICE, .call_id = "call1", .cseq = 7));
	expect_status(f, 400);
	send_text(f, REQUEST(f, .method = "REGISTER", .fields = ALICE, .call_id = "call1", .cseq = 8));
	expect_status(f, 200);
	assert_int_equal(binding_count(f), 1);
	request.expires_s = 100;
	for (unsigned i = 1; i < SIP_CONTACTS_PER_AOR + 1; i++) {
		char contact[64];
		snprintf(contact, sizeof(contact), "sip:alice@198.51.100.%u", i);
		request.contact = contact;
		assert_int_equal(sip_gateway_restore(f->gateway, &request), i < SIP_CONTACTS_PER_AOR ? 0 : -ENOBUFS);
	}
	advance(f, 100 * USEC_PER_SEC);
	assert_int_equal(binding_count(f), 1); /* the others have expired as they would have without the restart */
}

struct listed {
	size_t count;
	char first[64], last[64];
};

static void list_binding(void *userdata, const struct sip_binding_view *view) {
	struct listed *listed = userdata;

	if (listed->count++ == 0)
		snprintf(listed->first, sizeof(listed->first), "%s", view->aor);
	snprintf(listed->last, sizeof(listed->last), "%s", view->aor);
}

/* A long list comes in pieces, in which nobody is left out or comes twice, though others come and go. */
static void test_listed_in_pieces(void **state) {
	enum { USERS = 2500, PIECE = 1000 };
	struct fixture *f = *state;
	char aor[64];

	for (unsigned i = 0; i < USERS; i++) {
		snprintf(aor, sizeof(aor), "user%04u@example.org", i);
		const struct sip_binding_request request = {.aor = aor,
							    .contact = "sip:phone@192.0.2.7",
							    .call_id = "call",
							    .cseq = 1,
							    .q = -1,
							    .expires_s = 600,
							    .source = {.family = AF_INET, .octets = {192, 0, 2, 7}}};
		assert_int_equal(sip_gateway_restore(f->gateway, &request), 0);
	}
	struct listed listed = {0};
	uint64_t after = sip_gateway_bindings_after(f->gateway, 0, NULL, PIECE, list_binding, &listed);
	assert_int_equal(listed.count, PIECE);
	assert_string_equal(listed.first, "user0000@example.org");
	assert_string_equal(listed.last, "user0999@example.org");
	assert_int_not_equal(after, 0);
	/* The last one shown goes, as does the next; somebody new comes. */
	binding_free(registration_find(f->gateway, "user0999@example.org")->bindings);
	registration_release(registration_find(f->gateway, "user0999@example.org"));
	binding_free(registration_find(f->gateway, "user1000@example.org")->bindings);
	registration_release(registration_find(f->gateway, "user1000@example.org"));
	send_register(f, "Contact: <sip:alice@192.0.2.7>, <sip:alice@192.0.2.8>\r\n");
	expect_status(f, 200);
	listed = (struct listed){0};
	after = sip_gateway_bindings_after(f->gateway, after, NULL, PIECE, list_binding, &listed);
	assert_int_equal(listed.count, PIECE);
	assert_string_equal(listed.first, "user1001@example.org");
	assert_string_equal(listed.last, "user2000@example.org");
	listed = (struct listed){0};
	assert_int_equal(sip_gateway_bindings_after(f->gateway, after, NULL, PIECE, list_binding, &listed), 0);
	assert_int_equal(listed.count, 499 + 2);
	assert_string_equal(listed.last, "alice@example.org");
	/* Of a user all or none, and exactly as many as there are is the end. */
	listed = (struct listed){0};
	assert_int_equal(sip_gateway_bindings_after(f->gateway, after + 499, NULL, 1, list_binding, &listed), 0);
	assert_int_equal(listed.count, 2);
	listed = (struct listed){0};
	after = sip_gateway_bindings_after(f->gateway, 0, "7@", 100, list_binding, &listed);
	assert_int_equal(listed.count, 100);
	assert_string_equal(listed.last, "user0997@example.org");
	assert_int_not_equal(after, 0);
	assert_int_equal(sip_gateway_bindings_after(f->gateway, 0, "nobody", 100, list_binding, &listed), 0);
	assert_int_equal(listed.count, 100);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_register, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answer_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_query, setup, teardown),
		cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
		cmocka_unit_test_setup_teardown(test_expires_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_equal_uris, setup, teardown),
		cmocka_unit_test_setup_teardown(test_respelling_undone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overlay_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_atomic, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overlay_silent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_expires_while_asking, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who, setup, teardown),
		cmocka_unit_test_setup_teardown(test_contacts_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(test_contact_escapes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_contact_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_binding_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_require, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restore, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redirect_by_q, setup, teardown),
		cmocka_unit_test_setup_teardown(test_listed_in_pieces, setup, teardown),
	};

	return cmocka_run_group_tests_name("sip registrar", tests, NULL, NULL);
}
