/* SPDX-License-Identifier: BSD-2-Clause */
/* The proxy and its client transactions: RFC 3261 16, 17.1; RFC 5393; RFC 6026. */
#include "phone.h"

struct call {
	struct fixture *f;
	struct phone alice, bob, carol;
	char invite[ANSWER_OCTETS]; /* as bob got it */
};

static int setup_proxy(void **state) {
	struct call *call = calloc(1, sizeof(*call));
	void *fixture = NULL;

	assert_non_null(call);
	assert_int_equal(setup_mode(&fixture, "127.0.0.1", SIP_MODE_PROXY), 0);
	call->f = fixture;
	call->f->resolve_status = 404;
	phone_open(call->f, &call->alice, "alice");
	phone_open(call->f, &call->bob, "bob");
	phone_open(call->f, &call->carol, "carol");
	*state = call;
	return 0;
}

static int teardown_proxy(void **state) {
	struct call *call = *state;
	struct fixture *f = call->f;
	void *fixture = f;

	advance(f, 300 * USEC_PER_SEC);
	assert_int_equal(figures(f).clients, 0); /* nothing is left of any call */
	assert_int_equal(figures(f).proxies, 0);
	assert_int_equal(f->gateway->proxy_octets, 0);
	assert_int_equal(f->gateway->client_octets, 0);
	phone_close(&call->alice);
	phone_close(&call->bob);
	phone_close(&call->carol);
	free(call);
	return teardown(&fixture);
}

/* --- helpers --- */

static void phone_register(struct phone *phone, const char *user, const char *parameters) {
	char text[1024];

	snprintf(text, sizeof(text),
		 "REGISTER sip:example.org SIP/2.0\r\n"
		 "Via: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKr%s%u\r\n"
		 "From: <sip:%s@example.org>;tag=1\r\nTo: <sip:%s@example.org>\r\nCall-ID: r%s%u\r\nCSeq: 1 REGISTER\r\n"
		 "Contact: <sip:%s@127.0.0.1:%u>%s\r\nContent-Length: 0\r\n\r\n",
		 phone->port, phone->name, phone->port, user, user, phone->name, phone->port, user, phone->port, parameters);
	phone_send(phone, text);
	phone_expect(phone, "SIP/2.0 200");
}

static const char *request_of(struct phone *phone, const char *method, const char *uri, const char *fields) {
	static char text[ANSWER_OCTETS];

	snprintf(text, sizeof(text),
		 "%s %s SIP/2.0\r\n"
		 "Via: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bK%s%u;rport\r\n"
		 "Max-Forwards: 70\r\n"
		 "From: <sip:%s@example.org>;tag=%s\r\nTo: <sip:bob@example.org>\r\nCall-ID: call\r\nCSeq: 1 %s\r\n"
		 "Contact: <sip:%s@127.0.0.1:%u>\r\n%sContent-Length: 4\r\n\r\nbody",
		 method, uri, phone->port, method, phone->f->number, phone->name, phone->name, method, phone->name, phone->port,
		 fields ? fields : "");
	return text;
}

static void send_in_dialog(struct phone *phone, const char *method, unsigned cseq, const char *uri, const char *routes,
			   const char *to_tag) {
	char text[4096];

	snprintf(text, sizeof(text),
		 "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKin%s%u;rport\r\n%sMax-Forwards: 70\r\n"
		 "From: <sip:%s@example.org>;tag=%s\r\nTo: <sip:x@example.org>;tag=%s\r\nCall-ID: call\r\nCSeq: %u %s\r\n"
		 "Content-Length: 0\r\n\r\n",
		 method, uri, phone->port, method, cseq, routes, phone->name, phone->name, to_tag, cseq, method);
	phone_send(phone, text);
}

static void invite(struct call *call) {
	phone_send(&call->alice, request_of(&call->alice, "INVITE", "sip:bob@example.org", NULL));
}

static void bob_gets_invite(struct call *call) {
	phone_expect(&call->bob, "INVITE sip:bob@127.0.0.1:");
	strcpy(call->invite, call->bob.message);
}

/* --- one phone --- */

static void test_call(void **state) {
	struct call *call = *state;
	struct phone *alice = &call->alice, *bob = &call->bob;
	char routes[2048], uri[64], accepted[ANSWER_OCTETS];

	phone_register(bob, "bob", "");
	invite(call);
	bob_gets_invite(call);
	phone_has(bob, "Max-Forwards: 69\r\n");
	phone_has(bob, "\r\n\r\nbody");
	phone_has(bob, ";rport=");
	phone_has(bob, "\r\nContact: <sip:alice@");
	assert_int_equal(count_text(bob->message, "\r\nVia: "), 2);
	assert_int_equal(count_text(bob->message, "\r\nRecord-Route: "), 2);
	assert_int_equal(count_text(bob->message, "\r\nContent-Length: "), 1);
	phone_answer(bob, call->invite, "100 Trying", NULL);
	phone_expect_nothing(alice); /* hop by hop */
	phone_answer(bob, call->invite, "180 Ringing", NULL);
	phone_expect(alice, "SIP/2.0 180 Ringing\r\n");
	assert_int_equal(count_text(alice->message, "\r\nVia: "), 1);
	phone_answer(bob, call->invite, "200 OK", "X-Kept: as \"it\" is\r\n");
	phone_expect(alice, "SIP/2.0 200 OK\r\n");
	phone_has(alice, "\r\nX-Kept: as \"it\" is\r\n");
	strcpy(accepted, alice->message);
	/* RFC 6026: what is repeated on one side is passed on or absorbed, never answered again by us. */
	phone_answer(bob, call->invite, "200 OK", NULL);
	phone_expect(alice, "SIP/2.0 200");
	invite(call);
	phone_expect_nothing(alice);
	phone_expect_nothing(bob);
	/* the ACK goes along the recorded route, and so does what follows, in both directions */
	route_lines(routes, sizeof(routes), accepted, true);
	snprintf(uri, sizeof(uri), "sip:bob@127.0.0.1:%u", bob->port);
	send_in_dialog(alice, "ACK", 1, uri, routes, "bob");
	phone_expect(bob, "ACK sip:bob@127.0.0.1:");
	phone_lacks(bob, "Route:");
	phone_has(bob, "Max-Forwards: 69");
	send_in_dialog(alice, "UPDATE", 2, uri, routes, "bob");
	phone_expect(bob, "UPDATE sip:bob@127.0.0.1:");
	phone_lacks(bob, "Route:");
	phone_answer(bob, bob->message, "200 OK", NULL);
	phone_expect(alice, "SIP/2.0 200");
	route_lines(routes, sizeof(routes), call->invite, false);
	snprintf(uri, sizeof(uri), "sip:alice@127.0.0.1:%u", alice->port);
	send_in_dialog(bob, "BYE", 1, uri, routes, "alice");
	phone_expect(alice, "BYE sip:alice@127.0.0.1:");
	phone_answer(alice, alice->message, "200 OK", NULL);
	phone_expect(bob, "SIP/2.0 200");
	phone_expect_nothing(alice);
}

static void test_nobody(void **state) {
	struct call *call = *state;

	invite(call);
	phone_expect(&call->alice, "SIP/2.0 404 Not Found");
	call->f->resolve_status = 480;
	call->f->number++;
	invite(call);
	phone_expect(&call->alice, "SIP/2.0 480");
	call->f->resolve_status = 503;
	call->f->retry_after_s = 20;
	call->f->number++;
	invite(call);
	phone_expect(&call->alice, "SIP/2.0 503");
	phone_has(&call->alice, "Retry-After: ");
}

static void test_contact_of_the_overlay(void **state) {
	struct call *call = *state;
	char contact[64];

	snprintf(contact, sizeof(contact), "sip:bob@127.0.0.1:%u", call->bob.port);
	call->f->contacts[0] = (struct sip_redirect_contact){.uri = contact, .expires_s = 60};
	call->f->contact_count = 1;
	call->f->resolve_status = 302;
	invite(call);
	bob_gets_invite(call);
	phone_answer(&call->bob, call->invite, "603 Decline", NULL);
	phone_expect(&call->bob, "ACK sip:bob@127.0.0.1:");
	phone_expect(&call->alice, "SIP/2.0 603 Decline");
}

/* The overlay's Contact of a phone that is registered here is no second branch; nor are we. */
static void test_contact_twice(void **state) {
	struct call *call = *state;
	char contact[64], own[64], text[ADDRESS_TEXT_SIZE];

	phone_register(&call->bob, "bob", "");
	snprintf(contact, sizeof(contact), "sip:bob@127.0.0.1:%u", call->bob.port);
	snprintf(own, sizeof(own), "sip:bob@%s", address_format(&call->f->address, text));
	call->f->contacts[0] = (struct sip_redirect_contact){.uri = contact, .expires_s = 60};
	call->f->contacts[1] = (struct sip_redirect_contact){.uri = own, .expires_s = 60};
	call->f->contact_count = 2;
	call->f->resolve_status = 302;
	invite(call);
	bob_gets_invite(call);
	phone_expect_nothing(&call->bob);
	assert_int_equal(figures(call->f).forks, 1);
	phone_answer(&call->bob, call->invite, "486 Busy Here", NULL);
	phone_expect(&call->bob, "ACK ");
	phone_expect(&call->alice, "SIP/2.0 486");
}

static void test_refusals(void **state) {
	struct call *call = *state;
	struct phone *alice = &call->alice;
	char text[ANSWER_OCTETS];

	phone_register(&call->bob, "bob", "");
	phone_send(alice, request_of(alice, "INVITE", "sip:bob@example.org", "Proxy-Require: magic\r\n"));
	phone_expect(alice, "SIP/2.0 420");
	phone_has(alice, "Unsupported: magic\r\n");
	call->f->number++;
	phone_send(alice, request_of(alice, "INVITE", "tel:+15550100", NULL));
	phone_expect(alice, "SIP/2.0 416");
	call->f->number++;
	phone_send(alice, request_of(alice, "INVITE", "sip:bob@example.org", "Max-Breadth: 0\r\n"));
	phone_expect(alice, "SIP/2.0 440");
	call->f->number++;
	strcpy(text, request_of(alice, "INVITE", "sip:bob@example.org", NULL));
	memcpy(strstr(text, "Max-Forwards: 70"), "Max-Forwards: 0 ", 16);
	phone_send(alice, text);
	phone_expect(alice, "SIP/2.0 483");
	call->f->number++;
	phone_send(alice, request_of(alice, "INVITE", "sips:bob@example.org", NULL)); /* no phone of his is secured */
	phone_expect(alice, "SIP/2.0 404");
	call->f->number++;
	phone_send(alice, request_of(alice, "INVITE", "sip:bob@example.org", "Route: <sip:nonsense\r\n"));
	phone_expect(alice, "SIP/2.0 400");
	phone_expect_nothing(&call->bob);
}

static void test_options_for_us(void **state) {
	struct call *call = *state;

	phone_send(&call->alice, request_of(&call->alice, "OPTIONS", "sip:example.org", NULL));
	phone_expect(&call->alice, "SIP/2.0 200");
	phone_has(&call->alice, "Accept: ");
}

/* --- client transactions --- */

static void test_no_answer(void **state) {
	struct call *call = *state;
	unsigned copies = 0;

	phone_register(&call->bob, "bob", "");
	invite(call);
	advance(call->f, 31900 * USEC_PER_MSEC);
	while (strncmp(phone_next(&call->bob), "INVITE ", 7) == 0)
		copies++;
	assert_int_equal(copies, 6 + 1); /* timer A: 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 */
	phone_expect(&call->alice, "SIP/2.0 100");
	phone_expect_nothing(&call->alice);
	advance(call->f, 2 * USEC_PER_SEC);
	phone_expect(&call->alice, "SIP/2.0 408");
}

static void test_message(void **state) {
	struct call *call = *state;
	unsigned copies = 0;

	phone_register(&call->bob, "bob", "");
	phone_send(&call->alice, request_of(&call->alice, "MESSAGE", "sip:bob@example.org", NULL));
	phone_expect(&call->bob, "MESSAGE ");
	phone_lacks(&call->bob, "Record-Route");
	advance(call->f, 8 * USEC_PER_SEC);
	strcpy(call->invite, call->bob.message);
	while (phone_next(&call->bob)[0])
		copies++;
	assert_int_equal(copies, 4);		   /* timer E: 0.5, 1.5, 3.5, 7.5 */
	phone_expect(&call->alice, "SIP/2.0 100"); /* RFC 4320 */
	phone_answer(&call->bob, call->invite, "202 Accepted", NULL);
	phone_expect(&call->alice, "SIP/2.0 202");
	phone_answer(&call->bob, call->invite, "202 Accepted", NULL);
	phone_expect_nothing(&call->alice);
}

/* Timer C: ringing does not last for ever, but each provisional answer begins it anew. */
static void test_ringing_ends(void **state) {
	struct call *call = *state;

	phone_register(&call->bob, "bob", "");
	invite(call);
	bob_gets_invite(call);
	phone_answer(&call->bob, call->invite, "180 Ringing", NULL);
	advance(call->f, 170 * USEC_PER_SEC);
	phone_answer(&call->bob, call->invite, "180 Ringing", NULL);
	advance(call->f, 170 * USEC_PER_SEC);
	phone_expect(&call->alice, "SIP/2.0 180");
	phone_expect(&call->alice, "SIP/2.0 180");
	phone_expect_nothing(&call->bob);
	advance(call->f, 20 * USEC_PER_SEC);
	phone_expect(&call->bob, "CANCEL sip:bob@127.0.0.1:");
	advance(call->f, 40 * USEC_PER_SEC); /* it does not even answer that */
	phone_expect(&call->alice, "SIP/2.0 408");
}

static void test_foreign_answers(void **state) {
	struct call *call = *state;
	char text[ANSWER_OCTETS], *id;

	phone_register(&call->bob, "bob", "");
	invite(call);
	bob_gets_invite(call);
	strcpy(text, call->invite);
	id = strstr(text, "branch=z9hG4bK") + 14;
	*id = *id == '0' ? '1' : '0';
	phone_answer(&call->bob, text, "200 OK", NULL); /* of a branch we do not have */
	strcpy(text, call->invite);
	memcpy(strstr(text, "CSeq: 1 INVITE"), "CSeq: 1 UPDATE", 14);
	phone_answer(&call->bob, text, "200 OK", NULL); /* of another method */
	phone_send(&call->bob, "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n");
	phone_send(&call->bob, "SIP/2.0 99 Low\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK0123456789abcdef\r\n\r\n");
	phone_expect_nothing(&call->alice);
	assert_int_equal(figures(call->f).dropped, 4);
	phone_answer(&call->bob, call->invite, "486 Busy Here", NULL);
	phone_expect(&call->alice, "SIP/2.0 486");
	phone_expect(&call->bob, "ACK ");
	phone_answer(&call->bob, call->invite, "486 Busy Here", NULL); /* its ACK was lost */
	phone_expect(&call->bob, "ACK ");
	phone_expect_nothing(&call->alice);
}

/* --- CANCEL --- */

static void test_cancel(void **state) {
	struct call *call = *state;
	struct phone *alice = &call->alice, *bob = &call->bob;
	char branch[2048] = "", cancel[2048] = "";

	phone_register(bob, "bob", "");
	invite(call);
	bob_gets_invite(call);
	char text[ANSWER_OCTETS];
	strcpy(text, request_of(alice, "INVITE", "sip:bob@example.org", NULL));
	memcpy(text, "CANCEL", 6);
	memcpy(strstr(text, "CSeq: 1 INVITE"), "CSeq: 1 CANCEL", 14);
	phone_send(alice, text);
	phone_expect(alice, "SIP/2.0 200"); /* of the CANCEL */
	phone_expect_nothing(bob);	    /* not before a provisional answer (RFC 3261 9.1) */
	phone_answer(bob, call->invite, "180 Ringing", NULL);
	phone_expect(bob, "CANCEL sip:bob@127.0.0.1:");
	copy_lines(branch, sizeof(branch), call->invite, "Via: SIP/2.0/UDP 127.0.0.1:");
	copy_lines(cancel, sizeof(cancel), bob->message, "Via:");
	assert_int_equal(strncmp(branch, cancel, strlen(cancel)), 0); /* our Via alone, with the same branch */
	phone_has(bob, "CSeq: 1 CANCEL\r\n");
	phone_answer(bob, bob->message, "200 OK", NULL);
	phone_answer(bob, call->invite, "487 Request Terminated", NULL);
	phone_expect(bob, "ACK ");
	phone_expect(alice, "SIP/2.0 180");
	phone_expect(alice, "SIP/2.0 487");
}

/* The callee answers while the CANCEL is on its way: that is a call. */
static void test_cancel_too_late(void **state) {
	struct call *call = *state;
	char text[ANSWER_OCTETS];

	phone_register(&call->bob, "bob", "");
	invite(call);
	bob_gets_invite(call);
	phone_answer(&call->bob, call->invite, "180 Ringing", NULL);
	phone_expect(&call->alice, "SIP/2.0 180");
	strcpy(text, request_of(&call->alice, "INVITE", "sip:bob@example.org", NULL));
	memcpy(text, "CANCEL", 6);
	memcpy(strstr(text, "CSeq: 1 INVITE"), "CSeq: 1 CANCEL", 14);
	phone_send(&call->alice, text);
	phone_expect(&call->alice, "SIP/2.0 200");
	phone_answer(&call->bob, call->invite, "200 OK", NULL);
	phone_expect(&call->alice, "SIP/2.0 200");
	phone_has(&call->alice, "CSeq: 1 INVITE");
}

/* --- forking --- */

static void test_fork(void **state) {
	struct call *call = *state;
	struct phone *bob = &call->bob, *carol = &call->carol;

	phone_register(bob, "bob", ";q=0.5");
	phone_register(carol, "bob", ";q=0.5");
	invite(call);
	bob_gets_invite(call);
	phone_expect(carol, "INVITE ");
	phone_has(carol, "Max-Breadth: ");
	char invite_of_carol[ANSWER_OCTETS];
	strcpy(invite_of_carol, carol->message);
	phone_answer(bob, call->invite, "180 Ringing", NULL);
	phone_answer(carol, invite_of_carol, "180 Ringing", NULL);
	phone_expect(&call->alice, "SIP/2.0 180");
	phone_expect(&call->alice, "SIP/2.0 180");
	phone_answer(carol, invite_of_carol, "200 OK", NULL);
	phone_expect(&call->alice, "SIP/2.0 200");
	phone_has(&call->alice, "tag=carol");
	phone_expect(bob, "CANCEL ");
	phone_answer(bob, bob->message, "200 OK", NULL);
	phone_answer(bob, call->invite, "200 OK", NULL); /* both picked up: the caller gets both (RFC 3261 16.7 step 5) */
	phone_expect(&call->alice, "SIP/2.0 200");
	phone_has(&call->alice, "tag=bob");
}

static void test_serial(void **state) {
	struct call *call = *state;
	struct phone *bob = &call->bob, *carol = &call->carol;

	phone_register(bob, "bob", ";q=0.9");
	phone_register(carol, "bob", ";q=0.1");
	invite(call);
	bob_gets_invite(call);
	phone_expect_nothing(carol);
	phone_answer(bob, call->invite, "404 Gone Home", NULL);
	phone_expect(carol, "INVITE ");
	phone_expect_nothing(&call->alice);
	phone_answer(carol, carol->message, "486 Busy Here", NULL);
	phone_expect(carol, "ACK ");
	phone_expect(&call->alice, "SIP/2.0 404 Gone Home"); /* of one class, the first */
}

static void test_breadth(void **state) {
	struct call *call = *state;

	phone_register(&call->bob, "bob", "");
	phone_register(&call->carol, "bob", "");
	phone_send(&call->alice, request_of(&call->alice, "INVITE", "sip:bob@example.org", "Max-Breadth: 1\r\n"));
	bob_gets_invite(call);
	phone_has(&call->bob, "Max-Breadth: 1\r\n");
	phone_expect_nothing(&call->carol); /* one after the other */
	phone_answer(&call->bob, call->invite, "480 Away", NULL);
	phone_expect(&call->carol, "INVITE ");
	phone_answer(&call->carol, call->carol.message, "200 OK", NULL);
	phone_expect(&call->alice, "SIP/2.0 200");
}

static void fork_answered(struct call *call, const char *of_bob, const char *of_carol) {
	phone_register(&call->bob, "bob", "");
	phone_register(&call->carol, "bob", "");
	invite(call);
	bob_gets_invite(call);
	phone_expect(&call->carol, "INVITE ");
	phone_answer(&call->bob, call->invite, of_bob, "WWW-Authenticate: Digest realm=\"bob\"\r\n");
	phone_answer(&call->carol, call->carol.message, of_carol, "Proxy-Authenticate: Digest realm=\"carol\"\r\n");
}

static void test_best_challenges(void **state) {
	struct call *call = *state;

	fork_answered(call, "401 Unauthorized", "407 Proxy Authentication Required");
	phone_next(&call->alice);
	phone_has(&call->alice, "WWW-Authenticate: Digest realm=\"bob\"\r\n");
	phone_has(&call->alice, "Proxy-Authenticate: Digest realm=\"carol\"\r\n");
}

static void test_best_of_classes(void **state) {
	struct call *call = *state;

	fork_answered(call, "500 Broken", "302 Elsewhere");
	phone_expect(&call->alice, "SIP/2.0 302 Elsewhere");
}

static void test_best_global(void **state) {
	struct call *call = *state;

	fork_answered(call, "302 Elsewhere", "600 Busy Everywhere");
	phone_expect(&call->alice, "SIP/2.0 600 Busy Everywhere");
}

static void test_best_not_503(void **state) {
	struct call *call = *state;

	fork_answered(call, "503 Full", "503 Full");
	phone_expect(&call->alice, "SIP/2.0 500 Full"); /* it is not we who are full */
}

/* 6xx ends the others, and what was not begun is not begun. */
static void test_declined(void **state) {
	struct call *call = *state;

	phone_register(&call->bob, "bob", ";q=0.9");
	phone_register(&call->carol, "bob", ";q=0.1");
	invite(call);
	bob_gets_invite(call);
	phone_answer(&call->bob, call->invite, "603 Decline", NULL);
	phone_expect(&call->alice, "SIP/2.0 603");
	phone_expect_nothing(&call->carol);
}

/* --- loops and strangers --- */

static bool on_peer_of_loopback(void *userdata, const struct address *source) {
	(void)userdata;
	return source->family == AF_INET && source->octets[0] == 127;
}

static void test_loop(void **state) {
	struct call *call = *state;
	char text[ANSWER_OCTETS], *rest;

	phone_register(&call->bob, "bob", "");
	invite(call);
	bob_gets_invite(call);
	/* bob's phone sends the call back to where it came from */
	rest = strstr(call->invite, " SIP/2.0\r\n");
	snprintf(text, sizeof(text), "INVITE sip:bob@example.org%.10sVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKloop\r\n%s", rest,
		 call->bob.port, rest + 10);
	phone_send(&call->bob, text);
	phone_expect(&call->bob, "SIP/2.0 482 Loop Detected");
	/* to another user it is a spiral, and no loop */
	memcpy(strstr(text, "sip:bob@example.org"), "sip:eve@example.org", 19);
	memcpy(strstr(text, "z9hG4bKloop"), "z9hG4bKspir", 11);
	phone_send(&call->bob, text);
	phone_expect(&call->bob, "SIP/2.0 404 Not Found");
}

/* Another gateway with the same key goes on with the call; one with a key of its own does not. */
static void test_restart(void **state) {
	struct call *call = *state;
	struct fixture *f = call->f;
	char routes[2048], uri[64], reason[64];

	phone_register(&call->bob, "bob", "");
	invite(call);
	bob_gets_invite(call);
	phone_answer(&call->bob, call->invite, "200 OK", NULL);
	phone_expect(&call->alice, "SIP/2.0 200");
	route_lines(routes, sizeof(routes), call->invite, false);
	snprintf(uri, sizeof(uri), "sip:alice@127.0.0.1:%u", call->alice.port);
	uint8_t key[16];
	memcpy(key, f->gateway->dialog_key, sizeof(key));
	struct sip_gateway_settings settings = {
		.runtime = &f->runtime, .listen = {f->address}, .listen_count = 1, .mode = SIP_MODE_PROXY, .dialog_key = key};
	struct sip_gateway_events events = fixture_events(f);
	for (unsigned i = 0; i < 2; i++) {
		f->gateway = sip_gateway_free(f->gateway);
		assert_int_equal(sip_gateway_new(&settings, &events, &f->gateway, reason, sizeof(reason)), 0);
		sip_gateway_set_watch(f->gateway, on_watch, f);
		f->forbidden = true;
		send_in_dialog(&call->bob, "INFO", i + 1, uri, routes, "alice");
		if (i == 0) {
			phone_expect(&call->alice, "INFO ");
			phone_answer(&call->alice, call->alice.message, "200 OK", NULL);
			phone_expect(&call->bob, "SIP/2.0 200");
		} else {
			phone_expect(&call->bob, "SIP/2.0 403");
			phone_expect_nothing(&call->alice);
		}
		settings.dialog_key = NULL;
	}
}

/* Strangers use us only for dialogs that we recorded, and only towards the other end of these. */
static void test_strangers(void **state) {
	struct call *call = *state;
	struct phone *alice = &call->alice, *bob = &call->bob;
	char routes[2048], uri[64], changed[2048];

	phone_register(bob, "bob", "");
	invite(call);
	bob_gets_invite(call);
	phone_answer(bob, call->invite, "200 OK", NULL);
	phone_expect(alice, "SIP/2.0 200");
	route_lines(routes, sizeof(routes), call->invite, false);
	call->f->forbidden = true;
	call->f->number++;
	invite(call);
	phone_expect(alice, "SIP/2.0 403");
	snprintf(uri, sizeof(uri), "sip:alice@127.0.0.1:%u", alice->port);
	send_in_dialog(bob, "INFO", 1, uri, routes, "alice");
	phone_expect(alice, "INFO ");
	phone_answer(alice, alice->message, "200 OK", NULL);
	phone_expect(bob, "SIP/2.0 200");
	send_in_dialog(bob, "INFO", 2, "sip:victim@192.0.2.66:5060", routes, "alice");
	phone_expect(alice, "INFO sip:victim@192.0.2.66"); /* not there: to alice's address, who can refuse it */
	phone_answer(alice, alice->message, "404 Not Here", NULL);
	phone_expect(bob, "SIP/2.0 404");
	strcpy(changed, routes);
	for (char *at = strstr(changed, "sip:rr"); at; at = strstr(at + 1, "sip:rr"))
		at[6] = at[6] == '0' ? '1' : '0';
	send_in_dialog(bob, "INFO", 3, uri, changed, "alice");
	phone_expect(bob, "SIP/2.0 403");
	phone_expect_nothing(alice);
}

/* A phone that has us as outbound proxy brings what it was redirected to; strangers do not. */
static void test_outbound_proxy(void **state) {
	struct call *call = *state;
	char uri[64], route[128], text[ADDRESS_TEXT_SIZE], request[ANSWER_OCTETS];

	call->f->gateway->mode = SIP_MODE_REDIRECT;
	snprintf(uri, sizeof(uri), "sip:bob@127.0.0.1:%u", call->bob.port);
	snprintf(route, sizeof(route), "Route: <sip:%s;lr>\r\n", address_format(&call->f->address, text));
	phone_send(&call->alice, request_of(&call->alice, "INVITE", uri, NULL));
	phone_expect(&call->alice, "SIP/2.0 404");
	call->f->number++;
	phone_send(&call->alice, request_of(&call->alice, "INVITE", uri, route));
	bob_gets_invite(call);
	phone_lacks(&call->bob, "\r\nRoute:");
	phone_answer(&call->bob, call->invite, "486 Busy Here", NULL);
	phone_expect(&call->alice, "SIP/2.0 486");
	call->f->forbidden = true;
	call->f->gateway->mode = SIP_MODE_PROXY;
	call->f->gateway->outside_calls = true;
	call->f->number++;
	strcpy(request, request_of(&call->alice, "INVITE", uri, route));
	phone_send(&call->alice, request);
	phone_expect(&call->alice, "SIP/2.0 403"); /* nobody outside is a user of ours */
	call->f->number++;
	strcpy(request, request_of(&call->alice, "INVITE", uri, route));
	memcpy(strstr(request, "alice@example.org"), "alice@example.com", 17);
	phone_send(&call->alice, request);
	while (strncmp(phone_next(&call->alice), "SIP/2.0 403", 11) == 0) /* the former one again */
		;
	if (strncmp(call->alice.message, "SIP/2.0 404", 11) != 0)
		fail_msg("expected 404, got:\n%s", call->alice.message);
	phone_expect(&call->bob, "ACK "); /* of the 486 */
	phone_expect_nothing(&call->bob);
}

/* The gateway of another site is asked for the user by name. */
static void test_gateway_of_another_site(void **state) {
	struct call *call = *state;

	call->f->contacts[0] = (struct sip_redirect_contact){.uri = "sip:bob@192.0.2.1", .expires_s = 60, .transport = SIP_UDP};
	assert_int_equal(address_parse("127.0.0.1", call->bob.port, &call->f->contacts[0].gateway), 0);
	call->f->contact_count = 1;
	call->f->resolve_status = 302;
	invite(call);
	phone_expect(&call->bob, "INVITE sip:bob@example.org SIP/2.0\r\n");
}

/* It may call our users, and is not asked back where they are. */
static void test_from_another_site(void **state) {
	struct call *call = *state;

	phone_register(&call->bob, "bob", "");
	call->f->forbidden = true;
	call->f->gateway->events.peer = on_allowed; /* nobody */
	invite(call);
	phone_expect(&call->alice, "SIP/2.0 403");
	call->f->gateway->events.peer = on_peer_of_loopback;
	size_t asked = call->f->asked;
	call->f->number++;
	invite(call);
	bob_gets_invite(call);
	assert_int_equal(call->f->asked, asked);
	phone_answer(&call->bob, call->invite, "486 Busy Here", NULL);
	phone_expect(&call->alice, "SIP/2.0 486");
	call->f->number++;
	phone_send(&call->alice, request_of(&call->alice, "INVITE", "sip:eve@example.org", NULL));
	phone_expect(&call->alice, "SIP/2.0 404"); /* not here any more, and nowhere else */
	assert_int_equal(call->f->asked, asked + 1);
	call->f->number++;
	phone_send(&call->alice, request_of(&call->alice, "INVITE", "sip:eve@192.0.2.9", NULL));
	phone_expect(&call->alice, "SIP/2.0 404");
	call->f->number++;
	phone_send(&call->alice, request_of(&call->alice, "INVITE", "sip:bob@example.org", "Route: <sip:192.0.2.9;lr>\r\n"));
	phone_expect(&call->alice, "SIP/2.0 403");
	call->f->number++;
	phone_send(&call->alice, request_of(&call->alice, "REGISTER", "sip:example.org", NULL));
	phone_expect(&call->alice, "SIP/2.0 403");
}

/* Nor do we speak to ourselves, whatever a Route or a Contact says. */
static void test_not_to_ourselves(void **state) {
	struct call *call = *state;
	char text[ADDRESS_TEXT_SIZE], contact[128];

	snprintf(contact, sizeof(contact), "sip:x@%s", address_format(&call->f->address, text));
	call->f->contacts[0] = (struct sip_redirect_contact){.uri = contact, .expires_s = 60};
	call->f->contact_count = 1;
	call->f->resolve_status = 302;
	invite(call);
	phone_expect(&call->alice, "SIP/2.0 480");
	assert_int_equal(figures(call->f).forks, 0);
}

/* --- bounds --- */

/* S-8-01 */
static void test_forks_bound(void **state) {
	struct call *call = *state;
	char contacts[24][64];

	for (unsigned i = 0; i < 24; i++) {
		snprintf(contacts[i], sizeof(contacts[i]), "sip:bob%u@127.0.0.1:%u", i, call->bob.port);
		call->f->contacts[i] = (struct sip_redirect_contact){.uri = contacts[i], .expires_s = 60};
	}
	call->f->contact_count = 24;
	call->f->resolve_status = 302;
	invite(call);
	assert_int_equal(figures(call->f).forks, SIP_FORKS);
}

static void test_octets_bound(void **state) {
	struct call *call = *state;

	phone_register(&call->bob, "bob", "");
	call->f->gateway->proxy_octets += SIP_PROXY_OCTETS;
	invite(call);
	phone_expect(&call->alice, "SIP/2.0 503");
	phone_has(&call->alice, "Retry-After: ");
	call->f->gateway->proxy_octets -= SIP_PROXY_OCTETS;
	call->f->gateway->client_octets += SIP_CLIENT_OCTETS;
	call->f->number++;
	invite(call);
	phone_expect(&call->alice, "SIP/2.0 503");
	call->f->gateway->client_octets -= SIP_CLIENT_OCTETS;
	call->f->number++;
	invite(call);
	bob_gets_invite(call);
}

/* The gateway ends in the midst of it all. */
static void test_end(void **state) {
	struct call *call = *state;

	phone_register(&call->bob, "bob", "");
	call->f->resolve_status = 0;
	invite(call);
	bob_gets_invite(call);
	phone_answer(&call->bob, call->invite, "180 Ringing", NULL);
	call->f->gateway = sip_gateway_free(call->f->gateway);
	assert_null(call->f->runtime.timers == &call->f->answer_timer ? NULL : call->f->runtime.timers);
	for (size_t i = 0; i < call->f->asked; i++)
		if (!call->f->questions[i].answered)
			test_answer_resolve(call->f, i, 302);
	timer_disarm(&call->f->runtime, &call->f->answer_timer);
	struct sip_gateway_settings settings = {.runtime = &call->f->runtime, .listen_count = 0};
	struct sip_gateway_events events = fixture_events(call->f);
	char reason[64];
	assert_int_equal(sip_gateway_new(&settings, &events, &call->f->gateway, reason, sizeof(reason)), 0);
}

#define PROXY_TEST(function) cmocka_unit_test_setup_teardown(function, setup_proxy, teardown_proxy)

int main(void) {
	const struct CMUnitTest tests[] = {
		PROXY_TEST(test_call),
		PROXY_TEST(test_nobody),
		PROXY_TEST(test_contact_of_the_overlay),
		PROXY_TEST(test_contact_twice),
		PROXY_TEST(test_refusals),
		PROXY_TEST(test_options_for_us),
		PROXY_TEST(test_no_answer),
		PROXY_TEST(test_message),
		PROXY_TEST(test_ringing_ends),
		PROXY_TEST(test_foreign_answers),
		PROXY_TEST(test_cancel),
		PROXY_TEST(test_cancel_too_late),
		PROXY_TEST(test_fork),
		PROXY_TEST(test_serial),
		PROXY_TEST(test_breadth),
		PROXY_TEST(test_best_challenges),
		PROXY_TEST(test_best_of_classes),
		PROXY_TEST(test_best_global),
		PROXY_TEST(test_best_not_503),
		PROXY_TEST(test_declined),
		PROXY_TEST(test_loop),
		PROXY_TEST(test_strangers),
		PROXY_TEST(test_restart),
		PROXY_TEST(test_outbound_proxy),
		PROXY_TEST(test_gateway_of_another_site),
		PROXY_TEST(test_from_another_site),
		PROXY_TEST(test_not_to_ourselves),
		PROXY_TEST(test_forks_bound),
		PROXY_TEST(test_octets_bound),
		PROXY_TEST(test_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
