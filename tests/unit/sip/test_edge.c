/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Phones of another overlay at our site: their REGISTERs and calls go to the gateway that knows them, and come back along our Path;
 * and the same seen from that gateway. RFC 3327, RFC 5626 5.
 */
#include "unit/sip/device.h"

struct edge {
	struct fixture *f;
	struct phone alice, bob, sibling; /* which stands elsewhere */
	int listener, stream;		  /* of the sibling */
	struct sip_sibling_settings settings;
	char path[256]; /* our Path, with < and > */
};

static void drain_phone(struct phone *phone) {
	while (phone_next(phone)[0])
		;
}

static char password[] = "a good one";

static bool secret(void *userdata, const char *username, const char *realm, enum sip_digest algorithm,
		   char ret[static SIP_DIGEST_SIZE]) {
	(void)userdata;
	if (strcmp(realm, "example.org") != 0 || strcmp(username, "alice") != 0)
		return false;
	assert_int_equal(digest_ha1(algorithm, username, realm, password, ret), 0);
	return true;
}

/* The sibling takes UDP and TCP at one port. */
static void sibling_open(struct edge *e) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1)};
	socklen_t length = sizeof(address);
	const int on = 1;

	e->sibling.f = e->f;
	e->sibling.name = "sibling";
	e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	e->sibling.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(e->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(e->listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(e->listener, (struct sockaddr *)&address, &length), 0);
	assert_int_equal(bind(e->sibling.fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(e->listener, 8), 0);
	e->sibling.port = ntohs(address.sin_port);
	e->stream = -1;
}

static void open_gateway(struct edge *e, enum sip_mode mode) {
	struct sip_gateway_settings settings = {
		.runtime = &e->f->runtime, .listen_count = 1, .mode = mode, .siblings = &e->settings, .sibling_count = 1};
	char reason[256] = "";

	sip_gateway_free(e->f->gateway);
	e->f->gateway = NULL;
	assert_int_equal(address_parse("127.0.0.1", 0, &settings.listen[0]), 0);
	struct sip_gateway_events events = fixture_events(e->f);
	if (sip_gateway_new(&settings, &events, &e->f->gateway, reason, sizeof(reason)) < 0)
		fail_msg("%s", reason);
	assert_int_equal(sip_gateway_address(e->f->gateway, 0, &e->f->address), 0);
	sip_gateway_set_watch(e->f->gateway, on_watch, e->f);
}

static int setup_edge(void **state) {
	struct edge *e = calloc(1, sizeof(*e));
	void *fixture = NULL;

	assert_non_null(e);
	assert_int_equal(setup_mode(&fixture, "127.0.0.1", SIP_MODE_PROXY), 0);
	e->f = fixture;
	e->f->resolve_status = 404;
	phone_open(e->f, &e->alice, "alice");
	phone_open(e->f, &e->bob, "bob");
	sibling_open(e);
	e->settings.domain = "far.example";
	assert_int_equal(address_parse("127.0.0.2", e->sibling.port, &e->settings.address), 0);
	open_gateway(e, SIP_MODE_PROXY);
	*state = e;
	return 0;
}

static int setup_with_passwords(void **state) {
	fixture_secret = secret;
	return setup_edge(state);
}

static int teardown_edge(void **state) {
	struct edge *e = *state;
	void *fixture = e->f;

	advance(e->f, 300 * USEC_PER_SEC);
	assert_int_equal(figures(e->f).clients, 0);
	assert_int_equal(figures(e->f).proxies, 0);
	phone_close(&e->alice);
	phone_close(&e->bob);
	phone_close(&e->sibling);
	if (e->listener >= 0)
		close(e->listener);
	if (e->stream >= 0)
		close(e->stream);
	fixture_secret = NULL;
	free(e);
	return teardown(&fixture);
}

/* What the sibling gets over TCP, into its `message`. */
static void stream_expect(struct edge *e, const char *start) {
	struct pollfd polled = {.fd = e->listener, .events = POLLIN};

	pump(e->f);
	if (e->stream < 0) {
		assert_int_equal(poll(&polled, 1, WAIT_MS), 1);
		e->stream = accept(e->listener, NULL, NULL);
		assert_true(e->stream >= 0);
		pump(e->f);
	}
	polled.fd = e->stream;
	assert_int_equal(poll(&polled, 1, WAIT_MS), 1);
	ssize_t length = recv(e->stream, e->sibling.message, sizeof(e->sibling.message) - 1, MSG_DONTWAIT);
	e->sibling.message[length < 0 ? 0 : length] = 0;
	phone_has(&e->sibling, "\r\n\r\n");
	if (strncmp(e->sibling.message, start, strlen(start)) != 0)
		fail_msg("the sibling expected \"%s\", got:\n%s", start, e->sibling.message);
}

/* Answers what the sibling got last; `fields` are whole lines. */
static void stream_answer(struct edge *e, const char *status, const char *fields) {
	char text[4096] = "";

	snprintf(text, sizeof(text), "SIP/2.0 %s\r\n", status);
	copy_lines(text, sizeof(text), e->sibling.message, "Via:");
	copy_lines(text, sizeof(text), e->sibling.message, "From:");
	copy_lines(text, sizeof(text), e->sibling.message, "To:");
	copy_lines(text, sizeof(text), e->sibling.message, "Call-ID:");
	copy_lines(text, sizeof(text), e->sibling.message, "CSeq:");
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "%sContent-Length: 0\r\n\r\n", fields);
	stream_send(e->f, e->stream, text);
}

/* A request with From and To of this user; the Via says where it comes from. */
static const char *message_of(struct edge *e, const struct phone *phone, const char *transport, const char *method, const char *uri,
			      const char *user, const char *fields) {
	static char text[4096];
	unsigned number = ++e->f->number;

	snprintf(text, sizeof(text),
		 "%s %s SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:%u;branch=z9hG4bKedge%u;rport\r\n%s"
		 "From: <%s>;tag=1\r\nTo: <%s>\r\nCall-ID: edge%u\r\nCSeq: %u %s\r\nContent-Length: 0\r\n\r\n",
		 method, uri, transport, phone->port, number, fields, user, user, number, number, method);
	return text;
}

static void send_message(struct edge *e, struct phone *phone, const char *method, const char *uri, const char *user,
			 const char *fields) {
	phone_send(phone, message_of(e, phone, "UDP", method, uri, user, fields));
}

/* carol@far.example has a phone at our site: it is alice's socket. Leaves our Path in e->path. */
static void register_carol(struct edge *e) {
	char contact[128], *line;

	snprintf(contact, sizeof(contact), "Contact: <sip:carol@127.0.0.1:%u>\r\n", e->alice.port);
	send_message(e, &e->alice, "REGISTER", "sip:far.example", "sip:carol@far.example", contact);
	stream_expect(e, "REGISTER sip:far.example SIP/2.0\r\n");
	line = strstr(e->sibling.message, "\r\nPath: ");
	assert_non_null(line);
	snprintf(e->path, sizeof(e->path), "%.*s", (int)strcspn(line + 8, "\r"), line + 8);
	stream_answer(e, "200 OK", contact);
	phone_expect(&e->alice, "SIP/2.0 200");
}

/* --- our site --- */

static void test_registers_there(void **state) {
	static const enum sip_mode modes[] = {SIP_MODE_PROXY, SIP_MODE_REDIRECT, SIP_MODE_REDIRECT_INSIDE};
	struct edge *e = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
		open_gateway(e, modes[i]);
		if (e->stream >= 0)
			close(e->stream);
		e->stream = -1;
		send_message(e, &e->alice, "REGISTER", "sip:FAR.example", "sip:carol@far.example",
			     "Contact: <sip:carol@192.0.2.7>\r\nAuthorization: Digest username=\"carol\"\r\n"
			     "Path: <sip:192.0.2.9;lr>\r\nMax-Forwards: 70\r\n");
		stream_expect(e, "REGISTER sip:FAR.example SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:");
		phone_has(&e->sibling, "\r\nAuthorization: Digest username=\"carol\"\r\n");
		phone_has(&e->sibling, "\r\nMax-Forwards: 69\r\n");
		phone_has(&e->sibling, "\r\nPath: <sip:pt");
		phone_has(&e->sibling, ";lr;ob>\r\n"); /* no proxy before us */
		assert_true(strstr(e->sibling.message, "Path: <sip:pt") < strstr(e->sibling.message, "Path: <sip:192.0.2.9"));
		phone_lacks(&e->sibling, "Record-Route");
		stream_answer(e, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"far.example\", nonce=\"x\"\r\n");
		phone_expect(&e->alice, "SIP/2.0 401");
		phone_has(&e->alice, "WWW-Authenticate: Digest realm=\"far.example\", nonce=\"x\"\r\n");
		/* Phones that know our address alone mean the domain of To. */
		char uri[64];
		snprintf(uri, sizeof(uri), "sip:127.0.0.1:%u", e->f->address.port);
		send_message(e, &e->alice, "REGISTER", uri, "sip:carol@far.example", "Contact: *\r\nExpires: 0\r\n");
		stream_expect(e, "REGISTER sip:far.example SIP/2.0\r\n");
		phone_has(&e->sibling, "\r\nContact: *\r\nExpires: 0\r\n");
		stream_answer(e, "503 Later", "Retry-After: 17\r\n"); /* asked for itself: not another element's */
		phone_expect(&e->alice, "SIP/2.0 503");
		phone_has(&e->alice, "Retry-After: 17\r\n");
		assert_int_equal(binding_count(e->f), 0);
		assert_int_equal(e->f->asked, 0); /* the overlay has nothing to do with it */
	}
}

static void test_registers_not_there(void **state) {
	struct edge *e = *state;

	send_message(e, &e->alice, "REGISTER", "sip:third.example", "sip:carol@third.example", "");
	phone_expect(&e->alice, "SIP/2.0 404");
	send_message(e, &e->alice, "REGISTER", "sip:example.org", "sip:alice@example.org", "Contact: <sip:alice@192.0.2.7>\r\n");
	phone_expect(&e->alice, "SIP/2.0 200");
	assert_int_equal(binding_count(e->f), 1);
	send_message(e, &e->alice, "REGISTER", "sips:far.example", "sips:carol@far.example", "");
	phone_expect(&e->alice, "SIP/2.0 403 No Secured Way");
	send_message(e, &e->alice, "REGISTER", "sip:far.example", "sip:carol@far.example", "Max-Forwards: 0\r\n");
	phone_expect(&e->alice, "SIP/2.0 483");
	send_message(e, &e->alice, "REGISTER", "sip:far.example", "sip:carol@far.example", "Proxy-Require: tea\r\n");
	phone_expect(&e->alice, "SIP/2.0 420");
	e->f->forbidden = true;
	send_message(e, &e->alice, "REGISTER", "sip:far.example", "sip:carol@far.example", "");
	phone_expect(&e->alice, "SIP/2.0 403");
	/* What comes from there is not sent back, nor on to a third one. */
	send_message(e, &e->sibling, "REGISTER", "sip:far.example", "sip:carol@far.example", "");
	phone_expect(&e->sibling, "SIP/2.0 403");
	struct pollfd polled = {.fd = e->listener, .events = POLLIN};
	assert_int_equal(poll(&polled, 1, 0), 0);
	phone_expect_nothing(&e->sibling);
}

/* A gateway that is down is noticed at once, one that is silent before the phone gives up. */
static void test_registrar_down(void **state) {
	struct edge *e = *state;

	send_message(e, &e->alice, "REGISTER", "sip:far.example", "sip:carol@far.example", "");
	stream_expect(e, "REGISTER ");
	advance(e->f, (SIP_REGISTRAR_SECONDS - 1) * USEC_PER_SEC);
	phone_expect(&e->alice, "SIP/2.0 100");
	phone_expect_nothing(&e->alice);
	advance(e->f, USEC_PER_SEC);
	phone_expect(&e->alice, "SIP/2.0 503 Registrar Not Reachable");
	phone_has(&e->alice, "\r\nRetry-After: ");
	close(e->stream);
	close(e->listener);
	e->stream = e->listener = -1;
	pump(e->f);
	send_message(e, &e->alice, "REGISTER", "sip:far.example", "sip:carol@far.example", "");
	phone_expect(&e->alice, "SIP/2.0 503 Registrar Not Reachable");
	phone_has(&e->alice, "\r\nRetry-After: ");
	/* Our own users are not concerned. */
	send_message(e, &e->bob, "REGISTER", "sip:example.org", "sip:bob@example.org", "Contact: <sip:bob@192.0.2.7>\r\n");
	phone_expect(&e->bob, "SIP/2.0 200");
}

static void test_called_along_path(void **state) {
	static const enum sip_mode modes[] = {SIP_MODE_PROXY, SIP_MODE_REDIRECT};
	struct edge *e = *state;
	char route[300], uri[64];

	for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
		open_gateway(e, modes[i]);
		if (e->stream >= 0)
			close(e->stream);
		e->stream = -1;
		e->f->forbidden = false;
		register_carol(e);
		e->f->forbidden = true; /* the sibling is no phone of ours */
		snprintf(route, sizeof(route), "Route: %s\r\nContact: <sip:x@127.0.0.2>\r\n", e->path);
		snprintf(uri, sizeof(uri), "sip:carol@127.0.0.1:%u", e->alice.port);
		/* Also when alice of our overlay calls: who has let her through knows. */
		send_message(e, &e->sibling, "INVITE", uri, "sip:alice@example.org", route);
		phone_expect(&e->alice, "INVITE sip:carol@127.0.0.1:");
		phone_has(&e->alice, "Record-Route: ");
		phone_lacks(&e->alice, "\r\nRoute: ");
		char invite[ANSWER_OCTETS], routes[1024];
		strcpy(invite, e->alice.message);
		phone_answer(&e->alice, invite, "200 OK", NULL);
		phone_expect(&e->sibling, "SIP/2.0 200");
		/* She hangs up; her Routes lead back to the sibling, allowed or not. */
		route_lines(routes, sizeof(routes), invite, false);
		char bye[4096], call_id[64] = "";
		copy_lines(call_id, sizeof(call_id), invite, "Call-ID:");
		snprintf(bye, sizeof(bye),
			 "BYE sip:x@127.0.0.2:%u SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKbye%zu;rport\r\n%s"
			 "From: <sip:carol@far.example>;tag=alice\r\nTo: <sip:alice@example.org>;tag=1\r\n%sCSeq: 1 BYE\r\n"
			 "Content-Length: 0\r\n\r\n",
			 e->sibling.port, e->alice.port, i, routes, call_id);
		phone_send(&e->alice, bye);
		phone_expect(&e->sibling, "BYE sip:x@127.0.0.2:");
		phone_answer(&e->sibling, e->sibling.message, "200 OK", NULL);
		phone_expect(&e->alice, "SIP/2.0 200");
		/* The caller gives up while it rings. */
		send_message(e, &e->sibling, "INVITE", uri, "sip:dave@far.example", route);
		phone_expect(&e->alice, "INVITE sip:carol@127.0.0.1:");
		strcpy(invite, e->alice.message);
		phone_answer(&e->alice, invite, "180 Ringing", NULL);
		phone_expect(&e->sibling, "SIP/2.0 180");
		e->f->number--; /* the same branch, Call-ID and CSeq */
		send_message(e, &e->sibling, "CANCEL", uri, "sip:dave@far.example", route);
		phone_expect(&e->sibling, "SIP/2.0 200");
		phone_expect(&e->alice, "CANCEL sip:carol@127.0.0.1:");
		phone_answer(&e->alice, e->alice.message, "200 OK", NULL);
		phone_answer(&e->alice, invite, "487 Request Terminated", NULL);
		phone_expect(&e->alice, "ACK ");
		phone_expect(&e->sibling, "SIP/2.0 487");
		/* Nobody else gets there by it. */
		e->f->gateway->outside_calls = true;
		send_message(e, &e->bob, "MESSAGE", uri, "sip:eve@third.example", route);
		assert_true(phone_next(&e->bob)[0] && strncmp(e->bob.message, "SIP/2.0 4", 9) == 0);
		phone_expect_nothing(&e->alice);
		/* Nor by one that was made up, or for a dialog. */
		char *digit = strstr(route, "<sip:pt") + 10;
		*digit = *digit == '0' ? '1' : '0';
		send_message(e, &e->sibling, "MESSAGE", uri, "sip:eve@third.example", route);
		phone_expect(&e->sibling, "SIP/2.0 404");
		phone_expect_nothing(&e->alice);
	}
}

/* A phone behind a connection: it is called over that, and 430 says that it is gone (RFC 5626 5.3). */
static void test_called_over_its_connection(void **state) {
	struct edge *e = *state;
	char route[300];
	int phone = dial(e->f);

	stream_send(e->f, phone,
		    message_of(e, &e->alice, "TCP", "REGISTER", "sip:far.example", "sip:carol@far.example",
			       "Supported: path, outbound\r\n"
			       "Contact: <sip:carol@10.0.0.7;transport=tcp>;reg-id=1;+sip.instance=\"<" INSTANCE_1 ">\"\r\n"));
	stream_expect(e, "REGISTER ");
	char *line = strstr(e->sibling.message, "\r\nPath: ");
	assert_non_null(line);
	snprintf(route, sizeof(route), "Route: %.*s\r\n", (int)strcspn(line + 8, "\r"), line + 8);
	stream_answer(e, "200 OK", "Require: outbound\r\n");
	stream_next(e->f, phone);
	assert_int_equal(status_of(e->f->answer), 200);
	expect_text(e->f, "Require: outbound\r\n");
	send_message(e, &e->sibling, "MESSAGE", "sip:carol@10.0.0.7;transport=tcp", "sip:dave@far.example", route);
	stream_next(e->f, phone);
	expect_text(e->f, "MESSAGE sip:carol@10.0.0.7;transport=tcp SIP/2.0\r\n");
	char answer[4096] = "SIP/2.0 200 OK\r\n";
	copy_lines(answer, sizeof(answer), e->f->answer, "Via:");
	copy_lines(answer, sizeof(answer), e->f->answer, "From:");
	copy_lines(answer, sizeof(answer), e->f->answer, "To:");
	copy_lines(answer, sizeof(answer), e->f->answer, "Call-ID:");
	copy_lines(answer, sizeof(answer), e->f->answer, "CSeq:");
	snprintf(answer + strlen(answer), sizeof(answer) - strlen(answer), "Content-Length: 0\r\n\r\n");
	stream_send(e->f, phone, answer);
	phone_expect(&e->sibling, "SIP/2.0 200");
	close(phone);
	pump(e->f);
	send_message(e, &e->sibling, "MESSAGE", "sip:carol@10.0.0.7;transport=tcp", "sip:dave@far.example", route);
	phone_expect(&e->sibling, "SIP/2.0 430 Flow Failed");
}

/* What such a phone calls is for its own gateway to decide, whoever it is. */
static void test_calls_by_way_of_home(void **state) {
	static const char *const called[] = {"sip:bob@example.org", "sip:dave@far.example", "sip:info@third.example",
					     "sip:0401234@far.example"};
	struct edge *e = *state;
	char uri[64];

	for (size_t i = 0; i < ARRAY_LENGTH(called); i++) {
		send_message(e, &e->alice, "MESSAGE", called[i], "sip:carol@far.example",
			     "Proxy-Authorization: Digest realm=\"far.example\"\r\n");
		char start[128];
		snprintf(start, sizeof(start), "MESSAGE %s SIP/2.0\r\n", called[i]);
		phone_expect(&e->sibling, start);
		phone_has(&e->sibling, "\r\nProxy-Authorization: Digest realm=\"far.example\"\r\n");
		phone_answer(&e->sibling, e->sibling.message, "407 Proxy Authentication Required",
			     "Proxy-Authenticate: Digest realm=\"far.example\", nonce=\"x\"\r\n");
		phone_expect(&e->alice, "SIP/2.0 407");
		phone_has(&e->alice, "Proxy-Authenticate: Digest realm=\"far.example\"");
	}
	assert_int_equal(e->f->asked, 0);
	/* From there it may come back: to a user of ours that is no loop, but it is the second time. */
	for (unsigned i = 0; i < 2; i++) {
		static char vias[2048], back[4096];
		if (i == 0) {
			send_message(e, &e->alice, "MESSAGE", "sip:bob@example.org", "sip:carol@far.example",
				     "Max-Forwards: 9\r\n");
			phone_expect(&e->sibling, "MESSAGE sip:bob@example.org SIP/2.0\r\n");
			strcpy(back, e->sibling.message);
		}
		vias[0] = 0;
		copy_lines(vias, sizeof(vias), back, "Via:");
		snprintf(uri, sizeof(uri), "sip:bob@127.0.0.1:%u", e->bob.port);
		e->f->contacts[0] = (struct sip_redirect_contact){.uri = uri, .expires_s = 60};
		e->f->contact_count = 1;
		e->f->resolve_status = 302;
		char again[4096], call_id[64] = "", cseq[64] = "";
		copy_lines(call_id, sizeof(call_id), back, "Call-ID:");
		copy_lines(cseq, sizeof(cseq), back, "CSeq:");
		snprintf(again, sizeof(again),
			 "MESSAGE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2:%u;branch=z9hG4bKback%u\r\n%s"
			 "From: <sip:carol@far.example>;tag=1\r\nTo: <sip:carol@far.example>\r\n%s%sContent-Length: 0\r\n\r\n",
			 e->sibling.port, i, vias, call_id, cseq);
		phone_send(&e->sibling, again);
		if (i == 1) {
			phone_expect(&e->sibling, "SIP/2.0 482 Loop Detected");
			break;
		}
		phone_expect(&e->bob, "MESSAGE sip:bob@127.0.0.1:");
		strcpy(back, e->bob.message);
		phone_answer(&e->bob, back, "200 OK", NULL);
		phone_expect(&e->sibling, "SIP/2.0 200");
	}
	advance(e->f, 40 * USEC_PER_SEC);
	drain_phone(&e->alice);
	drain_phone(&e->sibling);
	/* Our address means the domain of To, which is the caller's here. */
	snprintf(uri, sizeof(uri), "sip:dave@127.0.0.1:%u", e->f->address.port);
	send_message(e, &e->alice, "MESSAGE", uri, "sip:carol@far.example", "");
	phone_expect(&e->sibling, "MESSAGE sip:dave@far.example SIP/2.0\r\n");
	phone_answer(&e->sibling, e->sibling.message, "200 OK", NULL);
	phone_expect(&e->alice, "SIP/2.0 200");
	snprintf(uri, sizeof(uri), "sip:127.0.0.1:%u", e->f->address.port);
	send_message(e, &e->alice, "OPTIONS", uri, "sip:carol@far.example", ""); /* asks whether we are there */
	phone_expect(&e->alice, "SIP/2.0 200");
	phone_expect_nothing(&e->sibling);
}

/* --- the gateway that knows them --- */

static char nonce[64];

static const char *credentials(const char *field, const char *method, const char *uri, const char *its_password) {
	static char text[1024];
	char ha1[SIP_DIGEST_SIZE], ha2[SIP_DIGEST_SIZE], response[SIP_DIGEST_SIZE];
	const struct octets a2[] = {octets_of_string(method), octets_of_string(uri)};
	struct digest *digest;

	assert_int_equal(digest_ha1(SIP_DIGEST_MD5, "alice", "example.org", its_password, ha1), 0);
	assert_int_equal(digest_new(SIP_DIGEST_MD5, &digest), 0);
	assert_int_equal(digest_parts(digest, a2, 2, ha2), 0);
	const struct octets parts[] = {octets_of_string(ha1), octets_of_string(nonce),	octets_of_string("00000001"),
				       octets_of_string("c"), octets_of_string("auth"), octets_of_string(ha2)};
	assert_int_equal(digest_parts(digest, parts, 6, response), 0);
	digest_free(digest);
	snprintf(text, sizeof(text),
		 "%s: Digest username=\"alice\", realm=\"example.org\", nonce=\"%s\", uri=\"%s\", response=\"%s\", algorithm=MD5, "
		 "cnonce=\"c\", qop=auth, nc=00000001\r\n",
		 field, nonce, uri, response);
	return text;
}

static void take_nonce(const struct phone *phone) {
	quoted(phone, "nonce=", nonce, sizeof(nonce));
}

/* A REGISTER of alice's, as the sibling passes it on from a phone at this host. */
static void pass_register(struct edge *e, const char *host, const char *authorization) {
	char fields[2048];

	snprintf(fields, sizeof(fields),
		 "Via: SIP/2.0/UDP phone.example.net:5060;branch=z9hG4bKp%u;received=%s;rport=1024\r\n"
		 "Path: <sip:pt01@127.0.0.2:%u;lr;ob>\r\nContact: <sip:alice@10.0.0.7>\r\n%s",
		 e->f->number, host, e->sibling.port, authorization);
	send_message(e, &e->sibling, "REGISTER", "sip:example.org", "sip:alice@example.org", fields);
}

static void test_registrar(void **state) {
	struct edge *e = *state;

	e->f->forbidden = true;
	pass_register(e, "198.51.100.7", "");
	phone_expect(&e->sibling, "SIP/2.0 401");
	take_nonce(&e->sibling);
	pass_register(e, "198.51.100.8", credentials("Authorization", "REGISTER", "sip:example.org", password));
	phone_expect(&e->sibling, "SIP/2.0 401"); /* another phone's */
	pass_register(e, "198.51.100.7", credentials("Authorization", "REGISTER", "sip:192.0.2.200", password));
	phone_expect(&e->sibling, "SIP/2.0 200"); /* over the address of that gateway, as some phones do it */
	phone_lacks(&e->sibling, "\r\nPath: ");	  /* the phone knows nothing of it */
	assert_int_equal(binding_count(e->f), 1);
	/* Calls go along the Path. */
	send_message(e, &e->sibling, "MESSAGE", "sip:alice@example.org", "sip:carol@far.example", "");
	phone_expect(&e->sibling, "MESSAGE sip:alice@10.0.0.7 SIP/2.0\r\n");
	phone_has(&e->sibling, "\r\nRoute: <sip:pt01@127.0.0.2:");
	char request[ANSWER_OCTETS];
	strcpy(request, e->sibling.message);
	phone_answer(&e->sibling, request, "200 OK", NULL);
	phone_expect(&e->sibling, "SIP/2.0 200");
}

/* Wrong passwords of one phone there do not bar the others. */
static void test_wrong_passwords(void **state) {
	struct edge *e = *state;

	for (unsigned i = 0; i <= SIP_AUTH_FAILURES + 1; i++) {
		pass_register(e, "198.51.100.7", "");
		phone_next(&e->sibling);
		if (strncmp(e->sibling.message, "SIP/2.0 503", 11) == 0)
			break;
		take_nonce(&e->sibling);
		pass_register(e, "198.51.100.7", credentials("Authorization", "REGISTER", "sip:example.org", "a bad one"));
		phone_expect(&e->sibling, "SIP/2.0 401");
	}
	phone_has(&e->sibling, "SIP/2.0 503 Too Many Wrong Passwords");
	pass_register(e, "198.51.100.8", "");
	phone_expect(&e->sibling, "SIP/2.0 401");
	take_nonce(&e->sibling);
	pass_register(e, "198.51.100.8", credentials("Authorization", "REGISTER", "sip:example.org", password));
	phone_expect(&e->sibling, "SIP/2.0 200");
}

static void test_registrar_without_passwords(void **state) {
	struct edge *e = *state;

	pass_register(e, "198.51.100.7", "");
	phone_expect(&e->sibling, "SIP/2.0 403 Password Needed From Elsewhere");
	assert_int_equal(binding_count(e->f), 0);
}

/* alice, at the site of the sibling, calls: with her password as if she were here, and nobody without. */
static void test_caller_there(void **state) {
	struct edge *e = *state;
	char contact[64];

	e->f->forbidden = true;
	e->f->gateway->callers = SIP_CALLERS_ANY; /* that is for phones of the site */
	snprintf(contact, sizeof(contact), "sip:bob@127.0.0.1:%u", e->bob.port);
	e->f->contacts[0] = (struct sip_redirect_contact){.uri = contact, .expires_s = 60};
	e->f->contact_count = 1;
	e->f->resolve_status = 302;
	send_message(e, &e->sibling, "MESSAGE", "sip:bob@example.org", "sip:alice@example.org", "");
	phone_expect(&e->sibling, "SIP/2.0 407");
	take_nonce(&e->sibling);
	phone_expect_nothing(&e->bob);
	send_message(e, &e->sibling, "MESSAGE", "sip:bob@example.org", "sip:bob@example.org",
		     credentials("Proxy-Authorization", "MESSAGE", "sip:bob@example.org", password));
	phone_expect(&e->sibling, "SIP/2.0 403 From Names Another User");
	send_message(e, &e->sibling, "MESSAGE", "sip:bob@example.org", "sip:alice@example.org", "");
	phone_expect(&e->sibling, "SIP/2.0 407");
	take_nonce(&e->sibling);
	send_message(e, &e->sibling, "MESSAGE", "sip:bob@example.org", "sip:alice@example.org",
		     credentials("Proxy-Authorization", "MESSAGE", "sip:bob@example.org", password));
	phone_expect(&e->bob, "MESSAGE sip:bob@127.0.0.1:");
	phone_lacks(&e->bob, "Proxy-Authorization"); /* shown to us alone */
	phone_answer(&e->bob, e->bob.message, "200 OK", NULL);
	phone_expect(&e->sibling, "SIP/2.0 200");
	/* Further than to our users as well: back to that overlay, too. */
	send_message(e, &e->sibling, "MESSAGE", "sip:dave@far.example", "sip:alice@example.org", "");
	phone_expect(&e->sibling, "SIP/2.0 407");
	take_nonce(&e->sibling);
	send_message(e, &e->sibling, "MESSAGE", "sip:dave@far.example", "sip:alice@example.org",
		     credentials("Proxy-Authorization", "MESSAGE", "sip:dave@far.example", password));
	phone_expect(&e->sibling, "MESSAGE sip:dave@far.example SIP/2.0\r\n");
	char request[ANSWER_OCTETS];
	strcpy(request, e->sibling.message);
	phone_answer(&e->sibling, request, "200 OK", NULL);
	phone_expect(&e->sibling, "SIP/2.0 200");
}

#define EDGE_TEST(function) cmocka_unit_test_setup_teardown(function, setup_edge, teardown_edge)
#define PASSWORD_TEST(function) cmocka_unit_test_setup_teardown(function, setup_with_passwords, teardown_edge)

int main(void) {
	const struct CMUnitTest tests[] = {
		EDGE_TEST(test_registers_there),
		EDGE_TEST(test_registers_not_there),
		EDGE_TEST(test_registrar_down),
		EDGE_TEST(test_called_along_path),
		EDGE_TEST(test_called_over_its_connection),
		EDGE_TEST(test_calls_by_way_of_home),
		PASSWORD_TEST(test_registrar),
		PASSWORD_TEST(test_wrong_passwords),
		EDGE_TEST(test_registrar_without_passwords),
		PASSWORD_TEST(test_caller_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
