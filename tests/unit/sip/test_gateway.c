/* SPDX-License-Identifier: BSD-2-Clause */
/* The redirector, the core of the server, and its transactions over UDP (RFC 3261 8.2, 8.3, 9.2, 17.2; RFC 7890 5.2). */
#include "unit/sip/harness.h"

#define BOB "sip:bob@example.org"

static void give(struct fixture *f, const char *uri, unsigned expires_s) {
	f->contacts[f->contact_count++] = (struct sip_redirect_contact){.uri = uri, .expires_s = expires_s};
}

static void send_ack(struct fixture *f, const char *branch, const char *call_id) {
	send_text(f, REQUEST(f, .method = "ACK", .uri = BOB, .to = "<sip:bob@example.org>;tag=any", .branch = branch,
			     .call_id = call_id));
}

/* --- redirection --- */

static void test_redirect(void **state) {
	static const char *const methods[] = {"INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE", "REFER", "PUBLISH", "SOMETHING"};
	struct fixture *f = *state;

	give(f, "sip:bob@198.51.100.7:5070", 120); /* S-3.2-03: several registrations of one AoR */
	give(f, "sips:bob@[2001:db8::7]", 0);
	for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) { /* RFC 3261 8.3: even unknown ones */
		send_text(f, REQUEST(f, .method = methods[i], .uri = BOB, .fields = "Require: 100rel\r\nContact: <sip:a@b>\r\n"));
		expect_status(f, 300); /* RFC 3261 21.3.1: the choice is the caller's */
		expect_text(f, "\r\nContact: <sip:bob@198.51.100.7:5070>;expires=120\r\n");
		expect_text(f, "\r\nContact: <sips:bob@[2001:db8::7]>\r\n");
		assert_int_equal(contact_count(f), 2);
		assert_string_equal(f->questions[i].aor, "bob@example.org");
	}
}

static void test_redirect_local_q(void **state) {
	struct fixture *f = *state;

	send_register(f, "Contact: <sip:alice@192.0.2.7>;q=0.5\r\n");
	expect_status(f, 200);
	give(f, "sip:alice@192.0.2.7", 3600);
	give(f, "sip:alice@192.0.2.8", 3600);
	send_invite(f, "sip:alice@example.org");
	expect_status(f, 302);
	expect_text(f, "<sip:alice@192.0.2.7>;expires=3600;q=0.500\r\n");
	expect_text(f, "<sip:alice@192.0.2.8>;expires=3600\r\n");
}

/* Contacts come from other sites: nothing of them may become a header field, and none may be sent twice. */
static void test_redirect_contacts(void **state) {
	struct fixture *f = *state;
	char uris[SIP_REDIRECT_CONTACTS + 8][64], giant[2 * SIP_CONTACT_OCTETS];

	memset(giant, 'a', sizeof(giant) - 1);
	giant[sizeof(giant) - 1] = 0;
	memcpy(giant, "sip:", 4);
	give(f, "sip:bob@192.0.2.1>\r\nX-Evil: 1\r\nX: <a", 0);
	give(f, "sip:bob@192.0.2.1\r\n", 0);
	give(f, "", 0);
	give(f, NULL, 0);
	give(f, giant, 0);
	give(f, "sip:", 0);
	send_invite(f, BOB);
	expect_status(f, 480);
	give(f, "bob@192.0.2.2:5080", 0); /* an AoR without scheme */
	give(f, "sip:bob@192.0.2.2:5080", 0);
	give(f, "sip:bob@EXAMPLE.net", 0);
	give(f, "sip:bob@example.net", 0);
	give(f, "tel:+15550100", 0);
	send_invite(f, BOB);
	expect_status(f, 300);
	expect_no_text(f, "X-Evil");
	assert_int_equal(contact_count(f), 3);
	expect_text(f, "\r\nContact: <sip:bob@192.0.2.2:5080>\r\n");
	expect_text(f, "\r\nContact: <tel:+15550100>\r\n");
	f->contact_count = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(uris); i++) {
		snprintf(uris[i], sizeof(uris[i]), "sip:bob@192.0.2.%zu", i);
		give(f, uris[i], 0);
	}
	send_invite(f, BOB);
	expect_status(f, 300);
	assert_int_equal(contact_count(f), SIP_REDIRECT_CONTACTS);
}

static void test_redirect_loop(void **state) {
	struct fixture *f = *state;

	give(f, "sip:bob@example.org", 0);
	send_invite(f, BOB);
	expect_status(f, 404); /* RFC 3261 8.3: never to the Request-URI */
	give(f, "sip:bob@192.0.2.1", 0);
	send_invite(f, BOB);
	expect_status(f, 302);
	assert_int_equal(contact_count(f), 1);
}

/* RFC 3261 26.4.4: who asked for a secured path is not sent to another. S-5.1-04 */
static void test_redirect_sips(void **state) {
	struct fixture *f = *state;

	give(f, "sip:bob@192.0.2.1", 0);
	send_invite(f, "sips:bob@example.org");
	expect_status(f, 480);
	give(f, "sips:bob@192.0.2.1", 0);
	send_invite(f, "sips:bob@example.org");
	expect_status(f, 302);
	assert_int_equal(contact_count(f), 1);
	expect_text(f, "<sips:bob@192.0.2.1>");
}

static void test_resolve_statuses(void **state) {
	static const unsigned rows[][2] = {{404, 404}, {480, 480}, {482, 482}, {503, 503}, {500, 500}, {200, 500}, {99999, 500}};
	struct fixture *f = *state;
	unsigned retry_after_s;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		f->resolve_status = rows[i][0];
		f->retry_after_s = 40;
		send_invite(f, BOB);
		expect_status(f, rows[i][1]);
		if (rows[i][1] == 503) {
			assert_int_equal(sscanf(strstr(f->answer, "Retry-After: "), "Retry-After: %u", &retry_after_s), 1);
			assert_in_range(retry_after_s, 40, 80);
		}
	}
	f->resolve_status = 302; /* without a Contact */
	send_invite(f, BOB);
	expect_status(f, 480);
}

static void test_targets(void **state) {
	static const struct {
		const char *method, *uri, *to;
		unsigned status;
		const char *aor; /* NULL: the node is not asked */
	} rows[] = {
		{"INVITE", "sip:bob@example.org", "<sip:x@example.com>", 302, "bob@example.org"},
		{"INVITE", "sip:b%6Fb@EXAMPLE.ORG:5080;user=phone", "<sip:x@example.com>", 302, "bob@example.org"},
		{"INVITE", "sip:bob:secret@example.org", "<sip:x@example.com>", 302, "bob@example.org"},
		{"INVITE", "sip:bob@127.0.0.1", "<sip:bob@example.net>", 302, "bob@example.net"}, /* To tells our domain */
		{"INVITE", "sip:bob@127.0.0.1", "<sip:bob@127.0.0.1>", 404, NULL},
		{"INVITE", "sip:bob@127.0.0.1:1", "<sip:bob@example.org>", 404, NULL}, /* another server's port */
		{"INVITE", "sip:bob@example.com", "<sip:bob@example.org>", 404, NULL},
		{"INVITE", "sip:example.org", "<sip:bob@example.org>", 404, NULL},
		{"INVITE", "sip:bo%20b@example.org", "<sip:bob@example.org>", 404, NULL},
		{"INVITE", "tel:+15550100", "<sip:bob@example.org>", 416, NULL},
		{"INVITE", "http://example.org", "<sip:bob@example.org>", 416, NULL},
		{"OPTIONS", "sip:example.org", "<sip:example.org>", 200, NULL},
		{"OPTIONS", "sip:127.0.0.1", "<sip:example.org>", 200, NULL},
		{"OPTIONS", "sip:bob@127.0.0.1", "<sip:example.org>", 200, NULL},
		{"OPTIONS", "sip:bob@example.org", "<sip:example.org>", 302, "bob@example.org"},
		{"SOMETHING", "sip:example.org", "<sip:example.org>", 405, NULL},
		{"MESSAGE", "sip:example.org", "<sip:example.org>", 405, NULL},
		{"BYE", "sip:bob@example.org", "<sip:bob@example.org>", 481, NULL},
		{"PRACK", "sip:bob@example.org", "<sip:bob@example.org>", 481, NULL},
		{"UPDATE", "sip:bob@example.org", "<sip:bob@example.org>", 481, NULL},
		{"INFO", "sip:bob@example.org", "<sip:bob@example.org>", 481, NULL},
		{"INVITE", "sip:bob@example.org", "<sip:bob@example.org>;tag=1", 481, NULL},
		{"CANCEL", "sip:bob@example.org", "<sip:bob@example.org>", 481, NULL},
		{"invite", "sip:bob@example.org", "<sip:bob@example.org>", 302, "bob@example.org"}, /* an unknown method */
	};
	struct fixture *f = *state;

	give(f, "sip:there@192.0.2.1", 0);
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		size_t asked = f->asked;
		send_text(f, REQUEST(f, .method = rows[i].method, .uri = rows[i].uri, .to = rows[i].to));
		if (status_of(received(f)) != rows[i].status)
			fail_msg("row %zu: expected %u, got:\n%s", i, rows[i].status, f->answer);
		assert_int_equal(f->asked, asked + (rows[i].aor != NULL));
		if (rows[i].aor)
			assert_string_equal(f->questions[asked].aor, rows[i].aor);
		if (rows[i].status == 405)
			expect_text(f, "\r\nAllow: REGISTER, INVITE, ACK, CANCEL, OPTIONS");
	}
}

static void test_options(void **state) {
	struct fixture *f = *state;

	send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:example.org", .fields = "Accept: application/sdp\r\n"));
	expect_status(f, 200);
	expect_text(f, "\r\nAllow: REGISTER, INVITE, ACK, CANCEL, OPTIONS");
	expect_text(f, "\r\nAccept: ");
	send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:example.org", .fields = "Require: a\r\nRequire: b\r\n"));
	expect_status(f, 420);
	expect_text(f, "\r\nUnsupported: a\r\n");
	expect_text(f, "\r\nUnsupported: b\r\n");
}

static void send_hops(struct fixture *f, const char *method, const char *uri, const char *hops) {
	char text[2048];

	snprintf(text, sizeof(text), "%s", REQUEST(f, .method = method, .uri = uri));
	char *field = strstr(text, "Max-Forwards: 70"), *rest = strstr(field, "From:");
	char tail[2048];
	snprintf(tail, sizeof(tail), "%s", rest);
	snprintf(field, sizeof(text) - (size_t)(field - text), "%s%s", hops, tail);
	send_text(f, text);
}

static void test_max_forwards(void **state) {
	struct fixture *f = *state;

	give(f, "sip:there@192.0.2.1", 0);
	send_hops(f, "INVITE", BOB, "Max-Forwards: 0\r\n");
	expect_status(f, 483);
	send_hops(f, "INVITE", BOB, "Max-Forwards: 1\r\n");
	expect_status(f, 302);
	send_hops(f, "INVITE", BOB, "");
	expect_status(f, 302);
	send_hops(f, "INVITE", BOB, "Max-Forwards: 256\r\n");
	expect_status(f, 400);
	send_hops(f, "INVITE", BOB, "Max-Forwards: many\r\n");
	expect_status(f, 400);
	send_hops(f, "INVITE", BOB, "Max-Forwards: 1\r\nMax-Forwards: 1\r\n");
	expect_status(f, 400);
	send_hops(f, "REGISTER", "sip:example.org", "Max-Forwards: 0\r\n"); /* has arrived */
	expect_status(f, 200);
	send_hops(f, "OPTIONS", "sip:example.org", "Max-Forwards: 0\r\n"); /* RFC 3261 11 */
	expect_status(f, 200);
}

/* --- transactions --- */

static void test_invite_trying(void **state) {
	struct fixture *f = *state;

	f->resolve_status = 0;
	send_text(f, REQUEST(f, .method = "INVITE", .uri = BOB, .fields = "Timestamp: 54\r\n"));
	advance(f, 199 * USEC_PER_MSEC);
	expect_nothing(f);
	advance(f, USEC_PER_MSEC);
	expect_status(f, 100); /* RFC 3261 17.2.1 */
	expect_text(f, "\r\nTimestamp: 54\r\n");
	advance(f, 10 * USEC_PER_SEC);
	expect_nothing(f);
	give(f, "sip:there@192.0.2.1", 0);
	test_answer_resolve(f, 0, 302);
	expect_status(f, 302);
}

static void test_invite_repeated(void **state) {
	struct fixture *f = *state;
	char text[2048];

	f->resolve_status = 0;
	snprintf(text, sizeof(text), "%s", REQUEST(f, .method = "INVITE", .uri = BOB));
	send_text(f, text);
	send_text(f, text);
	expect_nothing(f);
	advance(f, 200 * USEC_PER_MSEC);
	expect_status(f, 100);
	send_text(f, text);
	expect_status(f, 100);
	give(f, "sip:there@192.0.2.1", 0);
	test_answer_resolve(f, 0, 302);
	expect_status(f, 302);
	_cleanup_free_ char *first = strdup(f->answer);
	send_text(f, text);
	expect_status(f, 302);
	assert_string_equal(f->answer, first); /* with the same tag */
	assert_int_equal(f->asked, 1);
	expect_nothing(f);
}

/* Timer G doubles up to T2 and ends with timer H; an ACK ends it at once. */
static void test_invite_unacknowledged(void **state) {
	static const uint64_t after_ms[] = {500, 1000, 2000, 4000, 4000, 4000, 4000, 4000, 4000, 4000};
	struct fixture *f = *state;

	give(f, "sip:there@192.0.2.1", 0);
	send_text(f, REQUEST(f, .method = "INVITE", .uri = BOB, .branch = "z9hG4bKg", .call_id = "g"));
	expect_status(f, 302);
	for (size_t i = 0; i < ARRAY_LENGTH(after_ms); i++) {
		advance(f, after_ms[i] * USEC_PER_MSEC - 1);
		expect_nothing(f);
		advance(f, 1);
		expect_status(f, 302);
	}
	advance(f, 60 * USEC_PER_SEC);
	expect_nothing(f);
	assert_null(f->gateway->transactions);
	send_text(f, REQUEST(f, .method = "INVITE", .uri = BOB, .branch = "z9hG4bKh", .call_id = "h"));
	expect_status(f, 302);
	send_ack(f, "z9hG4bKh", "h");
	advance(f, 4 * USEC_PER_SEC);
	send_ack(f, "z9hG4bKh", "h");
	expect_nothing(f);
	assert_non_null(f->gateway->transactions);
	assert_int_equal(f->gateway->unacknowledged, 0);
	advance(f, USEC_PER_SEC); /* timer I */
	assert_null(f->gateway->transactions);
	expect_nothing(f);
	send_ack(f, "z9hG4bKnone", "none"); /* of nothing: silence */
	expect_nothing(f);
}

static void test_other_repeated(void **state) {
	struct fixture *f = *state;
	char text[2048];

	snprintf(text, sizeof(text), "%s", REQUEST(f, .method = "REGISTER", .fields = "Contact: <sip:alice@192.0.2.1>\r\n"));
	send_text(f, text);
	expect_status(f, 200);
	advance(f, 31 * USEC_PER_SEC);
	send_text(f, text);
	expect_status(f, 200);
	assert_int_equal(f->asked, 1);
	advance(f, USEC_PER_SEC); /* timer J */
	assert_null(f->gateway->transactions);
	expect_nothing(f);
}

/* A client of RFC 2543 has no cookie in its branch, or none at all. */
static void test_old_client(void **state) {
	struct fixture *f = *state;
	char text[2048];

	give(f, "sip:there@192.0.2.1", 0);
	snprintf(text, sizeof(text), "%s", REQUEST(f, .method = "INVITE", .uri = BOB, .branch = "1", .call_id = "old"));
	send_text(f, text);
	expect_status(f, 302);
	send_text(f, text);
	expect_status(f, 302);
	assert_int_equal(f->asked, 1);
	send_text(f,
		  REQUEST(f, .method = "ACK", .uri = BOB, .branch = "1", .call_id = "old", .to = "<sip:bob@example.org>;tag=any"));
	advance(f, 3 * USEC_PER_SEC);
	expect_nothing(f);
	send_text(f, REQUEST(f, .method = "INVITE", .uri = BOB, .branch = "1", .call_id = "other")); /* same branch, another call */
	expect_status(f, 302);
	assert_int_equal(f->asked, 2);
}

static void test_merged(void **state) {
	struct fixture *f = *state;

	give(f, "sip:there@192.0.2.1", 0);
	send_text(f, REQUEST(f, .method = "INVITE", .uri = BOB, .call_id = "same"));
	expect_status(f, 302);
	send_text(f, REQUEST(f, .method = "INVITE", .uri = BOB, .call_id = "same")); /* another branch */
	expect_status(f, 482);
	send_text(f, REQUEST(f, .method = "INVITE", .uri = BOB, .call_id = "same", .cseq = 2));
	expect_status(f, 302);
	assert_int_equal(f->asked, 2);
}

static void test_cancel(void **state) {
	struct fixture *f = *state;
	char tag[32] = "", cancel_tag[32] = "";

	f->resolve_status = 0;
	send_text(f, REQUEST(f, .method = "INVITE", .uri = BOB, .branch = "z9hG4bKc", .call_id = "c"));
	send_text(f, REQUEST(f, .method = "CANCEL", .uri = BOB, .branch = "z9hG4bKother", .call_id = "c"));
	expect_status(f, 481);
	send_text(f, REQUEST(f, .method = "CANCEL", .uri = BOB, .branch = "z9hG4bKc", .call_id = "c", .fields = "Require: x\r\n"));
	expect_status(f, 200);
	expect_text(f, "\r\nCSeq: 1 CANCEL\r\n");
	assert_int_equal(sscanf(strstr(f->answer, "\r\nTo:"), "\r\nTo: <sip:alice@example.org>;tag=%31[0-9a-f]", cancel_tag), 1);
	expect_status(f, 487);
	expect_text(f, "\r\nCSeq: 1 INVITE\r\n");
	assert_int_equal(sscanf(strstr(f->answer, "\r\nTo:"), "\r\nTo: <sip:alice@example.org>;tag=%31[0-9a-f]", tag), 1);
	assert_string_equal(tag, cancel_tag); /* RFC 3261 9.2 */
	test_answer_resolve(f, 0, 302);	      /* too late */
	expect_nothing(f);
	send_ack(f, "z9hG4bKc", "c");
	send_text(f, REQUEST(f, .method = "CANCEL", .uri = BOB, .branch = "z9hG4bKc", .call_id = "c"));
	expect_status(f, 200); /* the same again */
	expect_nothing(f);
	give(f, "sip:there@192.0.2.1", 0);
	f->resolve_status = 302;
	send_text(f, REQUEST(f, .method = "INVITE", .uri = BOB, .branch = "z9hG4bKd", .call_id = "d"));
	expect_status(f, 302);
	send_text(f, REQUEST(f, .method = "CANCEL", .uri = BOB, .branch = "z9hG4bKd", .call_id = "d"));
	expect_status(f, 200); /* without effect */
	expect_nothing(f);
}

/* Answers in another order than the questions, and one that never comes. */
static void test_any_order(void **state) {
	struct fixture *f = *state;

	f->resolve_status = 0;
	give(f, "sip:there@192.0.2.1", 0);
	send_text(f, REQUEST(f, .method = "MESSAGE", .uri = "sip:a@example.org", .call_id = "first"));
	send_text(f, REQUEST(f, .method = "MESSAGE", .uri = "sip:b@example.org", .call_id = "second"));
	send_text(f, REQUEST(f, .method = "MESSAGE", .uri = "sip:c@example.org", .call_id = "third"));
	test_answer_resolve(f, 2, 302);
	expect_status(f, 302);
	expect_text(f, "Call-ID: third");
	test_answer_resolve(f, 0, 404);
	expect_status(f, 404);
	expect_text(f, "Call-ID: first");
	advance(f, 4 * USEC_PER_SEC);
	expect_status(f, 100);
	advance(f, SIP_ANSWER_SECONDS * USEC_PER_SEC);
	expect_status(f, 503);
	expect_text(f, "Call-ID: second");
	advance(f, 60 * USEC_PER_SEC);
	assert_null(f->gateway->transactions);
	assert_int_equal(f->gateway->call_count, 1);
	test_answer_resolve(f, 1, 302);
	expect_nothing(f);
	assert_int_equal(f->gateway->call_count, 0);
}

/* The gateway goes while questions are open; teardown answers them afterwards. */
static void test_open_questions(void **state) {
	struct fixture *f = *state;

	f->bind_status = f->resolve_status = 0;
	send_invite(f, BOB);
	send_register(f, "Contact: <sip:alice@192.0.2.1>\r\n");
	send_register(f, "Contact: <sip:alice@192.0.2.2>\r\n");
	advance(f, USEC_PER_SEC);
	expect_status(f, 100);
	expect_nothing(f);
	assert_int_equal(f->gateway->call_count, 2);
}

/* --- bounds --- */

/* Finished transactions make room; when all are unfinished, 503. */
static void test_transaction_limit(void **state) {
	struct fixture *f = *state;

	for (unsigned i = 0; i < LIMIT_SIP_TRANSACTIONS + 100; i++) {
		send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:example.org"));
		expect_status(f, 200);
	}
	assert_int_equal(HASH_CNT(hh, f->gateway->transactions), LIMIT_SIP_TRANSACTIONS - SIP_TRANSACTIONS_KEPT);
	assert_int_equal(HASH_CNT(merge_hh, f->gateway->merges), LIMIT_SIP_TRANSACTIONS - SIP_TRANSACTIONS_KEPT);
	f->gateway->call_count += LIMIT_SIP_TRANSACTIONS; /* as if the node had that many questions */
	send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:example.org"));
	expect_status(f, 503);
	expect_text(f, "\r\nRetry-After: ");
	f->gateway->call_count -= LIMIT_SIP_TRANSACTIONS;
	advance(f, 60 * USEC_PER_SEC);
	assert_int_equal(f->gateway->transaction_octets, 0);
}

static void test_transaction_octets(void **state) {
	struct fixture *f = *state;
	static char fields[4000];

	memset(fields, 'a', sizeof(fields) - 1);
	memcpy(fields, "Timestamp: ", 11);
	memcpy(fields + sizeof(fields) - 3, "\r\n", 3);
	for (unsigned i = 0; i < 6000; i++) {
		send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:example.org", .fields = fields));
		drain(f);
	}
	assert_in_range(f->gateway->transaction_octets, SIP_TRANSACTION_OCTETS / 2, SIP_TRANSACTION_OCTETS + 2 * SIP_HEADER_OCTETS);
	assert_true(HASH_CNT(hh, f->gateway->transactions) < 6000);
}

/* Beyond the bound answers are still given, but not again and again to who does not acknowledge. */
static void test_unacknowledged_limit(void **state) {
	struct fixture *f = *state;

	f->gateway->unacknowledged = SIP_UNACKNOWLEDGED - 1;
	f->resolve_status = 404;
	send_text(f, REQUEST(f, .method = "INVITE", .uri = BOB, .call_id = "counted"));
	send_text(f, REQUEST(f, .method = "INVITE", .uri = BOB, .call_id = "beyond"));
	expect_status(f, 404);
	expect_status(f, 404);
	advance(f, USEC_PER_SEC);
	expect_status(f, 404);
	expect_text(f, "counted");
	expect_nothing(f);
	advance(f, 60 * USEC_PER_SEC);
	drain(f);
	assert_int_equal(f->gateway->unacknowledged, SIP_UNACKNOWLEDGED - 1);
	f->gateway->unacknowledged = 0;
}

/* Strangers get 403, but only so many a second. */
static void test_forbidden(void **state) {
	struct fixture *f = *state;
	unsigned answers = 0;

	f->forbidden = true;
	send_text(f, REQUEST(f, .method = "ACK", .uri = BOB));
	expect_nothing(f);
	for (unsigned i = 0; i < 2 * SIP_STATELESS_PER_SECOND; i++) {
		send_register(f, "Contact: <sip:alice@192.0.2.1>\r\n");
		answers += status_of(received(f)) == 403;
	}
	assert_int_equal(answers, SIP_STATELESS_PER_SECOND);
	assert_null(f->gateway->transactions);
	assert_int_equal(f->asked, 0);
	assert_true(figures(f).dropped >= 2 * SIP_STATELESS_PER_SECOND);
	advance(f, USEC_PER_SEC / 2);
	for (answers = 0; status_of((send_register(f, NULL), received(f))) == 403;)
		answers++;
	assert_int_equal(answers, SIP_STATELESS_PER_SECOND / 2);
}

/* --- where responses go --- */

static void test_reply_address(void **state) {
	struct fixture *f = *state;
	char text[2048];
	uint16_t other_port;
	int other = fixture_phone(f, AF_INET, &other_port);

	/* Without rport: to the port of sent-by at the source address (RFC 3261 18.2.2); what the Via says of received is void. */
	snprintf(text, sizeof(text),
		 "OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP "
		 "192.0.2.99:%u;received=192.0.2.98;maddr=192.0.2.97;branch=z9hG4bKr\r\n"
		 "Via: SIP/2.0/UDP [2001:db8::1];branch=z9hG4bKq;x=\"a,b\", SIP/2.0/TCP third.example.org\r\n"
		 "f: <sip:alice@example.org>;tag=1\r\nt: sip:example.org\r\ni: r\r\nCSeq: 1 OPTIONS\r\n\r\n",
		 other_port);
	send_text(f, text);
	expect_nothing(f);
	ssize_t length = recv(other, f->answer, sizeof(f->answer) - 1, MSG_DONTWAIT);
	assert_true(length > 0);
	f->answer[length] = 0;
	assert_int_equal(status_of(f->answer), 200);
	expect_text(f, ";received=127.0.0.1\r\n");
	expect_no_text(f, "192.0.2.98");
	expect_no_text(f, "rport");
	assert_int_equal(count_text(f->answer, "\r\nVia: "), 3);
	expect_text(f, "\r\nVia: SIP/2.0/UDP [2001:db8::1];branch=z9hG4bKq;x=\"a,b\"\r\nVia: SIP/2.0/TCP third.example.org\r\n");
	expect_text(f, "\r\nTo: sip:example.org;tag=");
	expect_text(f, "\r\nCall-ID: r\r\n");
	/* With rport: back to where it came from (RFC 3581). */
	send_text(f, "OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport=7;branch=z9hG4bKs\r\n"
		     "From: <sip:alice@example.org>;tag=1\r\nTo: sip:example.org\r\nCall-ID: s\r\nCSeq: 1 OPTIONS\r\n\r\n");
	expect_status(f, 200);
	snprintf(text, sizeof(text), ";received=127.0.0.1;rport=%u\r\n", f->phone_port);
	expect_text(f, text);
	close(other);
}

static int setup_ipv6(void **state) {
	return setup_at(state, "[::1]");
}

static void test_ipv6(void **state) {
	struct fixture *f = *state;

	send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:[::1]"));
	expect_status(f, 200);
	expect_text(f, ";received=::1;rport=");
	give(f, "sip:bob@[2001:db8::5]:5070", 0);
	send_text(f, REQUEST(f, .method = "INVITE", .uri = "sip:bob@[::1]", .to = "<sip:bob@example.org>"));
	expect_status(f, 302);
	expect_text(f, "Contact: <sip:bob@[2001:db8::5]:5070>\r\n");
}

static int setup_any(void **state) {
	return setup_at(state, "0.0.0.0");
}

/* The answer leaves from the address that was asked. */
static void test_any_address(void **state) {
	struct fixture *f = *state;
	struct sockaddr_storage source = {0};
	socklen_t length = sizeof(source);

	f->address.octets[0] = 127;
	f->address.octets[3] = 5;
	send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:127.0.0.5"));
	assert_true(recvfrom(f->phone, f->answer, sizeof(f->answer), MSG_DONTWAIT, (struct sockaddr *)&source, &length) > 0);
	struct address from = address_of_sockaddr((struct sockaddr *)&source);
	assert_true(address_equal(&from, &f->address));
}

static void test_settings(void **state) {
	struct fixture *f = *state;
	struct sip_gateway_settings settings = {.runtime = &f->runtime, .listen = {f->address}, .listen_count = 1};
	struct sip_gateway_events events = fixture_events(f);
	struct sip_gateway *second = NULL;
	char reason[256] = "";

	assert_int_equal(sip_gateway_new(&settings, &events, &second, reason, sizeof(reason)), -EADDRINUSE);
	assert_non_null(strstr(reason, "cannot listen for SIP on 127.0.0.1:"));
	settings.listen_count = SIP_LISTENERS + 1;
	assert_int_equal(sip_gateway_new(&settings, &events, &second, reason, sizeof(reason)), -E2BIG);
	settings.listen_count = 0;
	settings.expires_min_s = 7200;
	assert_int_equal(sip_gateway_new(&settings, &events, &second, reason, sizeof(reason)), -EINVAL);
	settings.expires_default_s = 7200;
	assert_int_equal(sip_gateway_new(&settings, &events, &second, reason, sizeof(reason)), 0);
	assert_null(sip_gateway_free(second));
	assert_null(sip_gateway_free(NULL));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_redirect, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redirect_local_q, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redirect_contacts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redirect_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redirect_sips, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resolve_statuses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_targets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_options, setup, teardown),
		cmocka_unit_test_setup_teardown(test_max_forwards, setup, teardown),
		cmocka_unit_test_setup_teardown(test_invite_trying, setup, teardown),
		cmocka_unit_test_setup_teardown(test_invite_repeated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_invite_unacknowledged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_repeated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_merged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_any_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_open_questions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_transaction_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_transaction_octets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unacknowledged_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forbidden, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reply_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ipv6, setup_ipv6, teardown),
		cmocka_unit_test_setup_teardown(test_any_address, setup_any, teardown),
		cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
	};

	return cmocka_run_group_tests_name("sip redirector and transactions", tests, NULL, NULL);
}
