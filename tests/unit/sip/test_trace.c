/* SPDX-License-Identifier: BSD-2-Clause */
/* What operators see of messages and calls, and what nobody may see. */
#include "phone.h"
#include "sip/proxy_internal.h"

enum { VIEWS = 16 };

struct seen {
	size_t count, calls;
	char text[VIEWS][512];
};

static void note(void *userdata, const struct sip_trace_view *view) {
	struct seen *seen = userdata;

	assert_true(seen->count < VIEWS);
	assert_non_null(strchr(view->peer, ':'));
	snprintf(seen->text[seen->count++], sizeof(seen->text[0]), "%s %s %s|%s|%s|%s|%s", view->sent ? "->" : "<-",
		 view->transport, view->start, view->from, view->to, view->cseq, view->call_id);
}

static void ignore(void *userdata, const struct sip_trace_view *view) {
	size_t *count = userdata;

	(void)view;
	++*count;
}

static uint64_t look(struct fixture *f, uint64_t after, const char *aor, struct seen *ret) {
	uint64_t next = 0, lost = 1;

	*ret = (struct seen){0};
	assert_int_equal(sip_gateway_trace(f->gateway, after, aor, VIEWS, note, ret, &next, &lost), 0);
	assert_int_equal(lost, 0);
	return next;
}

/* Received and sent, in order; neither passwords nor what authenticates. */
static void tells_what_came_and_went(void **state) {
	struct fixture *f = *state;
	struct seen seen;

	send_register(f, "Contact: <sip:alice@192.0.2.6>\r\n"); /* before anybody asked */
	expect_status(f, 200);
	uint64_t after = look(f, sip_gateway_trace_now(f->gateway), NULL, &seen);
	assert_int_equal(seen.count, 0);
	send_text(f, REQUEST(f, .method = "REGISTER", .uri = "sip:example.org", .from = "\"A\" <sip:alice:hidden@example.org;x>",
			     .to = "<sips:alice:hidden@example.org>", .call_id = "one", .cseq = 7,
			     .fields = "Authorization: Digest username=\"hidden\", response=\"hidden\"\r\n"
				       "Contact: <sip:alice:hidden@192.0.2.6>\r\n"));
	assert_int_not_equal(status_of(received(f)), 0);
	after = look(f, after, NULL, &seen);
	assert_int_equal(seen.count, 2);
	assert_string_equal(seen.text[0], "<- UDP REGISTER sip:example.org|\"A\" <sip:alice:*@example.org;x>|"
					  "<sips:alice:*@example.org>|7 REGISTER|one");
	assert_memory_equal(seen.text[1], "-> UDP ", 7);
	assert_non_null(strstr(seen.text[1], "|<sips:alice:*@example.org>|7 REGISTER|one"));
	for (size_t i = 0; i < seen.count; i++)
		assert_null(strstr(seen.text[i], "hidden"));
	look(f, after, NULL, &seen);
	assert_int_equal(seen.count, 0);
}

static void tells_of_one_user(void **state) {
	struct fixture *f = *state;
	struct seen seen;

	uint64_t after = look(f, 0, NULL, &seen);
	f->resolve_status = 404;
	send_invite(f, "sip:bob@example.org");
	expect_status(f, 404);
	send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:example.org"));
	expect_status(f, 200);
	uint64_t next = look(f, after, "BOB@example.org", &seen);
	assert_int_equal(seen.count, 2);
	assert_non_null(strstr(seen.text[0], "INVITE sip:bob@example.org|"));
	assert_non_null(strstr(seen.text[1], "404 Not Found|"));
	assert_int_equal(next, after + 4); /* what concerns others is passed over */
	look(f, after, "carol@example.org", &seen);
	assert_int_equal(seen.count, 0);
}

/* Octets that would steer a terminal are none that are shown. */
static void shows_plain_text_only(void **state) {
	struct fixture *f = *state;
	struct seen seen;

	uint64_t after = look(f, 0, NULL, &seen);
	send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:example.org", .from = "\"\xc2\x9b[2J\" <sip:alice@example.org>"));
	look(f, after, NULL, &seen);
	assert_true(seen.count > 0);
	for (const char *c = seen.text[0]; *c; c++)
		assert_in_range(*c, ' ', '~');
}

/* Who reads slowly learns how much was missed; nothing waits for him. */
static void bounded(void **state) {
	struct fixture *f = *state;
	uint64_t next = 0, lost = 0;
	size_t count = 0;
	struct seen seen;

	uint64_t after = look(f, 0, NULL, &seen);
	for (unsigned i = 0; i < SIP_TRACE_MESSAGES; i++) {
		send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:example.org"));
		expect_status(f, 200);
	}
	assert_int_equal(sip_gateway_trace(f->gateway, after, NULL, 10, ignore, &count, &next, &lost), 0);
	assert_int_equal(lost, SIP_TRACE_MESSAGES); /* of twice as many */
	assert_int_equal(count, 10);
	assert_int_equal(next, after + SIP_TRACE_MESSAGES + 10);
	count = 0;
	assert_int_equal(sip_gateway_trace(f->gateway, next, NULL, SIZE_MAX, ignore, &count, &next, &lost), 0);
	assert_int_equal(lost, 0);
	assert_int_equal(count, SIP_TRACE_MESSAGES - 10);
	assert_int_equal(sip_gateway_trace(f->gateway, UINT64_MAX, NULL, 1, ignore, &count, &next, &lost), 0);
	assert_int_equal(next, sip_gateway_trace_now(f->gateway));
}

/* Without readers nothing is kept; who comes back finds the numbers gone on. */
static void ends_without_readers(void **state) {
	struct fixture *f = *state;
	struct seen seen;

	uint64_t after = look(f, 0, NULL, &seen);
	send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:example.org"));
	advance(f, SIP_TRACE_SECONDS * USEC_PER_SEC - 1);
	assert_non_null(f->gateway->trace);
	advance(f, 1);
	assert_null(f->gateway->trace);
	assert_int_equal(sip_gateway_trace_now(f->gateway), after + 2);
}

/* --- calls --- */

struct call {
	struct fixture *f;
	struct phone alice, bob;
};

static int setup_call(void **state) {
	struct call *call = calloc(1, sizeof(*call));
	void *fixture = NULL;

	assert_non_null(call);
	assert_int_equal(setup_mode(&fixture, "127.0.0.1", SIP_MODE_PROXY), 0);
	call->f = fixture;
	call->f->resolve_status = 404;
	phone_open(call->f, &call->alice, "alice");
	phone_open(call->f, &call->bob, "bob");
	*state = call;
	return 0;
}

static int teardown_call(void **state) {
	struct call *call = *state;
	void *fixture = call->f;

	phone_close(&call->alice);
	phone_close(&call->bob);
	free(call);
	return teardown(&fixture);
}

static void send_for(struct phone *phone, const char *method, const char *uri, const char *user, const char *to_tag, unsigned cseq,
		     const char *fields) {
	char text[4096];

	snprintf(text, sizeof(text),
		 "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bK%s%u;rport\r\nMax-Forwards: 70\r\n%s"
		 "From: <sip:%s@example.org>;tag=%s\r\nTo: <sip:%s@example.org>%s\r\nCall-ID: call of %s\r\nCSeq: %u %s\r\n"
		 "Contact: <sip:%s@127.0.0.1:%u>\r\nContent-Length: 0\r\n\r\n",
		 method, uri, phone->port, method, cseq, fields, phone->name, phone->name, user, to_tag, phone->name, cseq, method,
		 phone->name, phone->port);
	phone_send(phone, text);
}

static void count_call(void *userdata, const struct sip_call_view *view) {
	struct seen *seen = userdata;

	snprintf(seen->text[seen->calls++], sizeof(seen->text[0]), "%s %s %s %llu via %s %s, %s", view->from, view->to, view->state,
		 (unsigned long long)view->since_s, view->via, view->transport, view->call_id);
}

static void expect_call(struct fixture *f, const char *text) {
	struct seen seen = {0};

	assert_int_equal(sip_gateway_calls(f->gateway, count_call, &seen), text ? 1 : 0);
	assert_int_equal(seen.calls, text ? 1 : 0);
	if (text)
		assert_string_equal(seen.text[0], text);
}

static void begin_call(struct call *call) {
	send_for(&call->bob, "REGISTER", "sip:example.org", "bob", "", 1, "");
	phone_expect(&call->bob, "SIP/2.0 200");
	send_for(&call->alice, "INVITE", "sip:bob@example.org", "bob", "", 1, "");
	phone_expect(&call->bob, "INVITE ");
}

static void lists_a_call(void **state) {
	struct call *call = *state;
	struct phone *alice = &call->alice, *bob = &call->bob;
	char text[512], uri[64], routes[2048], invite[ANSWER_OCTETS];

	expect_call(call->f, NULL);
	begin_call(call);
	strcpy(invite, bob->message);
	expect_call(call->f, "<sip:alice@example.org> <sip:bob@example.org> placing 0 via  , call of alice");
	phone_answer(bob, invite, "100 Trying", NULL);
	expect_call(call->f, "<sip:alice@example.org> <sip:bob@example.org> placing 0 via  , call of alice");
	phone_answer(bob, invite, "180 Ringing", NULL);
	phone_expect(alice, "SIP/2.0 180");
	advance(call->f, 3 * USEC_PER_SEC);
	snprintf(text, sizeof(text), "<sip:alice@example.org> <sip:bob@example.org> ringing 3 via 127.0.0.1:%u UDP, call of alice",
		 bob->port);
	expect_call(call->f, text);
	phone_answer(bob, invite, "200 OK", NULL);
	phone_expect(alice, "SIP/2.0 200");
	route_lines(routes, sizeof(routes), alice->message, true);
	advance(call->f, 100 * USEC_PER_SEC); /* all transactions are over */
	snprintf(text, sizeof(text),
		 "<sip:alice@example.org> <sip:bob@example.org> talking 100 via 127.0.0.1:%u UDP, call of alice", bob->port);
	expect_call(call->f, text);
	snprintf(uri, sizeof(uri), "sip:bob@127.0.0.1:%u", bob->port);
	send_for(alice, "UPDATE", uri, "bob", ";tag=bob", 2, routes);
	expect_call(call->f, text);
	send_for(alice, "BYE", uri, "bob", ";tag=bob", 3, routes);
	expect_call(call->f, NULL);
}

static void forgets_a_call_that_fails(void **state) {
	struct call *call = *state;

	begin_call(call);
	phone_answer(&call->bob, call->bob.message, "486 Busy Here", NULL);
	phone_expect(&call->alice, "SIP/2.0 486");
	advance(call->f, 100 * USEC_PER_SEC);
	expect_call(call->f, NULL);
}

/* At the bound the one nothing was heard of for longest goes; requests inside a call count as hearing of it. */
static void lists_so_many_calls(void **state) {
	struct call *call = *state;
	struct sip_gateway *gateway = call->f->gateway;
	struct sip_proxy *proxies = calloc(SIP_CALLS_LISTED + 1, sizeof(*proxies));

	assert_non_null(proxies);
	for (unsigned i = 0; i <= SIP_CALLS_LISTED; i++) {
		char call_id[16];
		snprintf(call_id, sizeof(call_id), "%u", i);
		struct sip_request request = {.frame.field[SIP_FIELD_CALL_ID] = octets_of_string(call_id), .method = SIP_INVITE};
		proxies[i] = (struct sip_proxy){.gateway = gateway, .invite = true};
		sip_calls_placed(&proxies[i], &request);
		if (i + 1 == SIP_CALLS_LISTED) {
			request.frame.field[SIP_FIELD_CALL_ID] = octets_of_string("0");
			sip_calls_placed(&proxies[0], &request); /* heard of again */
		}
	}
	assert_int_equal(sip_gateway_calls(gateway, NULL, NULL), SIP_CALLS_LISTED);
	assert_non_null(proxies[0].record);
	assert_null(proxies[1].record);
	assert_non_null(proxies[SIP_CALLS_LISTED].record);
	for (unsigned i = 0; i <= SIP_CALLS_LISTED; i++)
		sip_calls_released(&proxies[i]);
	assert_int_equal(sip_gateway_calls(gateway, NULL, NULL), 0);
	free(proxies);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
#define TEST_CALL(function) cmocka_unit_test_setup_teardown(function, setup_call, teardown_call)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(tells_what_came_and_went),	      TEST(tells_of_one_user),
		TEST(shows_plain_text_only),	      TEST(bounded),
		TEST(ends_without_readers),	      TEST_CALL(lists_a_call),
		TEST_CALL(forgets_a_call_that_fails), TEST_CALL(lists_so_many_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
