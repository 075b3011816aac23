/* SPDX-License-Identifier: BSD-2-Clause */
/* REGISTERs that say what the one before said are recognized; whatever differs in the least is looked at as the first. */
#include "unit/sip/harness.h"

#define ALICE "Contact: \"Desk\" <sip:alice@192.0.2.7:5070;line=a>;q=0.5\r\nExpires: 120\r\nSupported: path\r\n"

static void say(struct fixture *f, unsigned cseq, const char *fields) {
	send_text(f, REQUEST(f, .method = "REGISTER", .call_id = "desk", .cseq = cseq, .fields = fields));
}

/* Of how many it is known by what they say again. */
static size_t remembered(const struct fixture *f) {
	return HASH_COUNT(f->gateway->agains);
}

static void expect_repeated(const struct fixture *f, uint64_t count) {
	assert_int_equal(figures(f).repeated, count);
}

/* Registered, and recognized once. */
static void settle(struct fixture *f) {
	say(f, 1, ALICE);
	expect_status(f, 200);
	say(f, 2, ALICE);
	expect_status(f, 200);
	expect_repeated(f, 1);
}

/* The last answer without what each REGISTER has of its own. */
static void common_part(const struct fixture *f, char ret[static ANSWER_OCTETS]) {
	static const char *const own[] = {"branch=z9hG4bK", "CSeq: ", ";tag="};

	strcpy(ret, f->answer);
	for (size_t i = 0; i < ARRAY_LENGTH(own); i++)
		for (char *at = ret; (at = strstr(at, own[i]));) {
			at += strlen(own[i]);
			size_t length = strcspn(at, "; \r");
			memmove(at, at + length, strlen(at + length) + 1);
		}
}

static void test_recognized(void **state) {
	static char first[ANSWER_OCTETS], again[ANSWER_OCTETS];
	struct fixture *f = *state;

	say(f, 1, ALICE);
	expect_status(f, 200);
	expect_repeated(f, 0);
	assert_int_equal(remembered(f), 1);
	common_part(f, first);
	say(f, 2, ALICE);
	expect_status(f, 200);
	expect_text(f, "\r\nCSeq: 2 REGISTER\r\n");
	expect_text(f, "\r\nTo: <sip:alice@example.org>;tag=");
	common_part(f, again);
	assert_string_equal(again, first);
	expect_repeated(f, 1);
	assert_int_equal(f->asked, 2); /* the node is asked as before */
	assert_string_equal(f->questions[1].aor, "alice@example.org");
	assert_string_equal(f->questions[1].contact, "sip:alice@192.0.2.7:5070;line=a");
	assert_int_equal(f->questions[1].expires_s, 120);
	for (unsigned i = 3; i < 10; i++) {
		advance(f, 100 * USEC_PER_SEC);
		assert_int_equal(binding_count(f), 1); /* it was renewed */
		say(f, i, ALICE);
		expect_status(f, 200);
		expect_text(f, ">;expires=120;q=0.500\r\n");
	}
	expect_repeated(f, 8);
	assert_int_equal(remembered(f), 1);
	advance(f, 120 * USEC_PER_SEC);
	assert_int_equal(binding_count(f), 0);
	assert_int_equal(remembered(f), 0);
	say(f, 20, ALICE);
	expect_status(f, 200);
	expect_repeated(f, 8); /* nothing was known any more */
}

/* Each of these is another REGISTER. */
static void test_others(void **state) {
	static const struct phone_request rows[] = {
		{.fields = "Contact: \"Desk\" <sip:alice@192.0.2.7:5071;line=a>;q=0.5\r\nExpires: 120\r\nSupported: path\r\n"},
		{.fields = "Contact: \"Desk\" <sip:alice@192.0.2.7:5070;line=a>;q=0.4\r\nExpires: 120\r\nSupported: path\r\n"},
		{.fields = "Contact: \"Desk\" <sip:alice@192.0.2.7:5070;line=a>;q=0.5\r\nExpires: 121\r\nSupported: path\r\n"},
		{.fields = "Expires: 120\r\nContact: \"Desk\" <sip:alice@192.0.2.7:5070;line=a>;q=0.5\r\nSupported: path\r\n"},
		{.fields = ALICE "Subject: x\r\n"},
		{.fields = "v: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKhop\r\n" ALICE},
		{.fields = ALICE, .transport = "TCP"},
		{.fields = ALICE, .uri = "sip:example.org;x"},
		{.fields = ALICE, .to = "<sip:alice@example.org;x>"},
		{.fields = ALICE, .from = "Alice <sip:alice@example.org>"},
		{.fields = ALICE, .call_id = "other"},
		{.fields = ALICE, .body = "x"},
	};
	struct fixture *f = *state;

	settle(f);
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct phone_request request = rows[i];
		request.method = "REGISTER";
		request.cseq = 10 + (unsigned)i;
		request.call_id = request.call_id ? request.call_id : "desk";
		send_text(f, request_text(f, request));
		expect_status(f, 200);
		expect_repeated(f, 1);
	}
	/* From elsewhere */
	int phone = f->phone;
	uint16_t port = f->phone_port;
	f->phone = fixture_phone(f, AF_INET, &f->phone_port);
	const char *text = REQUEST(f, .method = "REGISTER", .call_id = "desk", .cseq = 90, .fields = ALICE);
	send_text(f, text);
	expect_status(f, 200);
	expect_repeated(f, 1);
	close(f->phone);
	f->phone = phone;
	f->phone_port = port;
	assert_true(remembered(f) <= binding_count(f));
}

/* The value of one field is not taken for that of another, nor is a piece of one that moved. */
static void test_moved(void **state) {
	static const char header[] = "REGISTER sip:example.org SIP/2.0\r\n%sFrom: <sip:alice@example.org>;tag=phone\r\n"
				     "To: <sip:alice@example.org>\r\nCall-ID: desk\r\n%sContact: <sip:alice@192.0.2.7>\r\n\r\n";
	struct fixture *f = *state;
	char text[1024];

	snprintf(text, sizeof(text), header, "Via: SIP/2.0/UDP h;rport;branch=z9hG4bKa1\r\n", "CSeq: 1 REGISTER\r\n");
	send_text(f, text);
	expect_status(f, 200);
	snprintf(text, sizeof(text), header, "CSeq: 2 REGISTER\r\n", "Via: SIP/2.0/UDP h;rport;branch=z9hG4bKa2\r\n");
	send_text(f, text);
	expect_status(f, 200);
	expect_repeated(f, 0);
	snprintf(text, sizeof(text), header, "CSeq:  3 REGISTER\r\n", "Via: SIP/2.0/UDP h;rport;branch=z9hG4bKa3\r\n");
	send_text(f, text);
	expect_status(f, 200);
	expect_repeated(f, 0);
	snprintf(text, sizeof(text), header, "CSeq:  4 REGISTER\r\n", "Via: SIP/2.0/UDP h2;rport;branch=z9hG4bKa4;x=y\r\n");
	send_text(f, text);
	expect_status(f, 200);
	expect_text(f, "Via: SIP/2.0/UDP h2;branch=z9hG4bKa4;x=y;received=127.0.0.1;rport=");
	expect_repeated(f, 1); /* a Via may say what it likes: it says nothing about what is to be registered */
	snprintf(text, sizeof(text), header, "CSeq:  5 REGISTER\r\n", "Via: SIP/2.0/UDP h2;rport;branch=z9hG4bKa5 \r\n ;x\r\n");
	send_text(f, text);
	expect_status(f, 200);
	expect_repeated(f, 1); /* such a one is for the parser */
}

static void test_cseq(void **state) {
	static const char *const wrong[] = {"3 INVITE",	   "3REGISTER",		  "REGISTER",
					    "-3 REGISTER", "4294967296 REGISTER", "3 register"};
	static const char header[] = "REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP h;rport;branch=z9hG4bKc%u\r\n"
				     "From: <sip:alice@example.org>;tag=phone\r\nTo: <sip:alice@example.org>\r\nCall-ID: desk\r\n"
				     "CSeq: %s\r\nContact: <sip:alice@192.0.2.7>\r\n\r\n";
	struct fixture *f = *state;
	char text[1024];
	unsigned serial = 0;

	for (unsigned i = 1; i < 3; i++) {
		snprintf(text, sizeof(text), header, serial++, i == 1 ? "1 REGISTER" : "2 REGISTER");
		send_text(f, text);
		expect_status(f, 200);
	}
	expect_repeated(f, 1);
	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
		snprintf(text, sizeof(text), header, serial++, wrong[i]);
		send_text(f, text);
		expect_status(f, 400);
	}
	snprintf(text, sizeof(text), header, serial++, "2 REGISTER"); /* the second, on another way */
	send_text(f, text);
	expect_status(f, 482);
	advance(f, 33 * USEC_PER_SEC); /* and when that is forgotten */
	snprintf(text, sizeof(text), header, serial++, "2 REGISTER");
	send_text(f, text);
	expect_status(f, 400);
	expect_repeated(f, 1);
	snprintf(text, sizeof(text), header, serial++, "4294967295 REGISTER");
	send_text(f, text);
	expect_status(f, 200);
	expect_repeated(f, 2);
}

static void test_retransmission(void **state) {
	static char text[ANSWER_OCTETS], answer[ANSWER_OCTETS];
	struct fixture *f = *state;

	settle(f);
	strcpy(text, REQUEST(f, .method = "REGISTER", .call_id = "desk", .cseq = 3, .fields = ALICE));
	f->bind_status = 0;
	send_text(f, text);
	send_text(f, text);
	expect_nothing(f);
	expect_repeated(f, 2);
	f->bind_status = 200;
	test_answer_bind(f, f->asked - 1, 200);
	expect_status(f, 200);
	strcpy(answer, f->answer);
	expect_nothing(f);
	send_text(f, text);
	expect_status(f, 200);
	assert_string_equal(f->answer, answer);
	expect_repeated(f, 2);
	assert_int_equal(f->asked, 3);
}

static void test_in_turn(void **state) {
	struct fixture *f = *state;

	settle(f);
	f->bind_status = 0;
	say(f, 3, ALICE);
	say(f, 4, ALICE); /* waits for the other, so it is looked at more closely */
	expect_nothing(f);
	expect_repeated(f, 2);
	assert_int_equal(f->asked, 3);
	test_answer_bind(f, 2, 503); /* as it was before */
	expect_status(f, 503);
	expect_text(f, "\r\nRetry-After: ");
	assert_int_equal(binding_count(f), 1);
	test_answer_bind(f, 3, 200);
	expect_status(f, 200);
	expect_text(f, "CSeq: 4 REGISTER");
	f->bind_status = 200;
	say(f, 5, ALICE);
	expect_status(f, 200);
	expect_repeated(f, 3);
}

/* The binding goes while the node is asked: it is there again afterwards. */
static void test_expires_meanwhile(void **state) {
	struct fixture *f = *state;

	settle(f);
	advance(f, 110 * USEC_PER_SEC);
	f->bind_status = 0;
	say(f, 3, ALICE);
	expect_repeated(f, 2);
	advance(f, 10 * USEC_PER_SEC);
	assert_int_equal(binding_count(f), 0);
	assert_int_equal(remembered(f), 0);
	drain(f);
	test_answer_bind(f, 2, 200);
	expect_status(f, 200);
	assert_int_equal(binding_count(f), 1);
	f->bind_status = 200;
	say(f, 4, ALICE);
	expect_status(f, 200);
	expect_repeated(f, 2);
	say(f, 5, ALICE);
	expect_status(f, 200);
	expect_repeated(f, 3);
}

static bool nobody(void *userdata, const char *name) {
	(void)userdata;
	(void)name;
	return false;
}

static void test_not_served_any_more(void **state) {
	struct fixture *f = *state;
	struct sip_gateway_events events = f->gateway->events;

	settle(f);
	f->forbidden = true;
	say(f, 3, ALICE);
	expect_status(f, 403);
	f->forbidden = false;
	f->gateway->events.user = nobody;
	say(f, 4, ALICE);
	expect_status(f, 404);
	f->gateway->events = events;
	f->gateway->events.domain = nobody;
	say(f, 5, ALICE);
	expect_status(f, 404);
	f->gateway->events = events;
	expect_repeated(f, 1);
	say(f, 6, ALICE);
	expect_status(f, 200);
	expect_repeated(f, 2);
}

static void test_unregistered(void **state) {
	struct fixture *f = *state;

	settle(f);
	say(f, 3, "Contact: <sip:alice@192.0.2.7:5070;line=a>;expires=0\r\n");
	expect_status(f, 200);
	assert_int_equal(contact_count(f), 0);
	assert_int_equal(remembered(f), 0);
	say(f, 4, ALICE);
	expect_status(f, 200);
	say(f, 5, ALICE);
	expect_status(f, 200);
	expect_repeated(f, 2);
	say(f, 6, "Contact: *\r\nExpires: 0\r\n");
	expect_status(f, 200);
	assert_int_equal(remembered(f), 0);
}

/* Several Contacts, a query, a removal: nothing that could be said again in one go. */
static void test_not_remembered(void **state) {
	static const char *const fields[] = {"Contact: <sip:alice@192.0.2.7>\r\nContact: <sip:alice@192.0.2.8>\r\n", "",
					     "Contact: <sip:alice@192.0.2.7>;expires=0\r\n"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++)
		for (unsigned k = 1; k < 3; k++) {
			say(f, 2 * (unsigned)i + k, fields[i]);
			expect_status(f, 200);
			assert_int_equal(remembered(f), 0);
		}
	send_text(f, REQUEST(f, .method = "REGISTER", .to = "<sip:alice@example.org>;tag=x", .fields = ALICE));
	drain(f);
	assert_int_equal(remembered(f), 0);
	expect_repeated(f, 0);
}

static void test_overload(void **state) {
	struct fixture *f = *state;

	settle(f);
	f->gateway->overload.shedding = 1;
	say(f, 3, ALICE);
	expect_status(f, 503);
	expect_text(f, "\r\nRetry-After: ");
	f->gateway->overload.shedding = 0;
	expect_repeated(f, 1);
	say(f, 4, ALICE);
	expect_status(f, 200);
	expect_repeated(f, 2);
}

/* --- what the overlay is told --- */

#define LONG "Contact: <sip:alice@192.0.2.7:5070>\r\nExpires: 1000\r\n"

/* Registered at 0 and renewed at 100 s: the overlay has it until 1000 s, the phone was promised 1100 s. */
static void keep(struct fixture *f) {
	say(f, 1, LONG);
	expect_status(f, 200);
	assert_false(f->questions[0].kept);
	advance(f, 100 * USEC_PER_SEC);
	say(f, 2, LONG);
	expect_status(f, 200);
	expect_text(f, ">;expires=1000\r\n");
	assert_int_equal(f->asked, 2);
	assert_true(f->questions[1].kept);
	assert_int_equal(figures(f).kept, 1);
}

/* Until the overlay is told of it again, or for so many seconds. Returns how many it took. */
static unsigned wait_for_question(struct fixture *f, unsigned most_s) {
	size_t asked = f->asked;
	unsigned s = 0;

	for (; s < most_s && f->asked == asked; s++)
		advance(f, USEC_PER_SEC);
	return s;
}

static void test_kept(void **state) {
	struct fixture *f = *state;

	keep(f);
	unsigned took_s = wait_for_question(f, 1000);
	assert_in_range(took_s, 400, 651); /* between one half and three quarters of the time that the overlay was given */
	assert_int_equal(f->asked, 3);
	assert_false(f->questions[2].kept);
	assert_in_range(f->questions[2].expires_s, 1000 - took_s, 1001 - took_s);
	assert_string_equal(f->questions[2].contact, "sip:alice@192.0.2.7:5070");
	assert_int_equal(f->questions[2].cseq, 2);
	expect_nothing(f); /* the phone has nothing to do with it */
	advance(f, (999 - took_s) * USEC_PER_SEC);
	assert_int_equal(f->asked, 3);
	assert_int_equal(binding_count(f), 1);
	advance(f, 2 * USEC_PER_SEC);
	assert_int_equal(binding_count(f), 0);
}

/* A phone that renews all the time is stored each time that three quarters of it are over at the latest. */
static void test_kept_often(void **state) {
	struct fixture *f = *state;
	uint64_t stored_us = f->runtime.now_us;
	unsigned stored = 1;

	say(f, 1, LONG);
	expect_status(f, 200);
	for (unsigned i = 2; i < 200; i++) {
		f->asked = 0;
		advance(f, 30 * USEC_PER_SEC);
		if (f->asked > 0) {
			assert_false(f->questions[0].kept);
			assert_true(f->runtime.now_us - stored_us <= 781 * USEC_PER_SEC);
			stored_us = f->runtime.now_us;
			stored++;
		}
		f->asked = 0;
		say(f, i, LONG);
		expect_status(f, 200);
		assert_true(f->questions[0].kept);
	}
	assert_in_range(stored, 5940 / 781, 5940 / 469 + 1);
	assert_int_equal(figures(f).kept, 198);
}

/* Nothing comes of it: tried again, and the phone is told when there is nothing left. */
static void test_kept_in_vain(void **state) {
	struct fixture *f = *state;

	keep(f);
	f->bind_status = 503;
	unsigned gone_s = 100 + wait_for_question(f, 1000);
	while (gone_s < 760) {
		assert_in_range(f->questions[f->asked - 1].expires_s, 1099 - gone_s, 1101 - gone_s);
		assert_in_range(wait_for_question(f, 100), SIP_STORE_RETRY_SECONDS, SIP_STORE_RETRY_SECONDS + 1);
		gone_s += SIP_STORE_RETRY_SECONDS;
	}
	assert_int_equal(binding_count(f), 1);
	say(f, 3, LONG);
	expect_status(f, 503);
	assert_false(f->questions[f->asked - 1].kept);
	f->bind_status = 200;
	wait_for_question(f, 100);
	say(f, 4, LONG);
	expect_status(f, 200);
	expect_text(f, ">;expires=1000\r\n");
	assert_int_equal(binding_count(f), 1);
}

/* While it is being stored again the phone unregisters, or its time is over. */
static void test_kept_and_gone(void **state) {
	struct fixture *f = *state;

	keep(f);
	f->bind_status = 0;
	wait_for_question(f, 1000);
	assert_int_equal(f->asked, 3);
	say(f, 3, "Contact: <sip:alice@192.0.2.7:5070>;expires=0\r\n");
	expect_nothing(f);
	assert_int_equal(f->asked, 3);
	test_answer_bind(f, 2, 200);
	assert_int_equal(f->asked, 4);
	assert_int_equal(f->questions[3].expires_s, 0);
	test_answer_bind(f, 3, 200);
	expect_status(f, 200);
	assert_int_equal(binding_count(f), 0);
	assert_null(f->gateway->registrations);

	f->bind_status = 200;
	f->asked = 0;
	say(f, 10, LONG);
	expect_status(f, 200);
	say(f, 11, LONG);
	expect_status(f, 200);
	f->bind_status = 0;
	advance(f, USEC_PER_SEC);
	say(f, 12, LONG);
	test_answer_bind(f, 2, 200);
	expect_status(f, 200);
	wait_for_question(f, 1000);
	assert_int_equal(f->asked, 4);
	advance(f, 1000 * USEC_PER_SEC);
	assert_int_equal(binding_count(f), 0);
	test_answer_bind(f, 3, 200);
	assert_null(f->gateway->registrations);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_recognized, setup, teardown),
		cmocka_unit_test_setup_teardown(test_others, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moved, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cseq, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retransmission, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_expires_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_served_any_more, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unregistered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_remembered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept_often, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept_in_vain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept_and_gone, setup, teardown),
	};

	return cmocka_run_group_tests_name("sip registrar, again", tests, NULL, NULL);
}
