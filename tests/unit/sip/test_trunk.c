/* SPDX-License-Identifier: BSD-2-Clause */
/* Trunks: numbers, the question for the password, the next trunk when one fails, calls that come, registration. */
#include "unit/sip/phone.h"

#include "sip/trunk.h"

struct line {
	struct fixture *f;
	struct phone alice, first, second; /* the trunks' servers */
	char folder[64], password[80], servers[2][64];
};

/* A trunk stands elsewhere than the phones. */
static void server_open(struct fixture *f, struct phone *server, const char *name) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1)};
	socklen_t length = sizeof(address);

	server->f = f;
	server->name = name;
	server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &length), 0);
	server->port = ntohs(address.sin_port);
}

static int open_line(struct line *l, const struct sip_trunk_settings *trunks, size_t count, char reason[static 256]) {
	struct sip_gateway_settings settings = {
		.runtime = &l->f->runtime, .listen_count = 1, .mode = SIP_MODE_PROXY, .trunks = trunks, .trunk_count = count};

	sip_gateway_free(l->f->gateway);
	l->f->gateway = NULL;
	assert_int_equal(address_parse("127.0.0.1", 0, &settings.listen[0]), 0);
	struct sip_gateway_events events = fixture_events(l->f);
	int error = sip_gateway_new(&settings, &events, &l->f->gateway, reason, 256);
	if (error < 0)
		return error;
	assert_int_equal(sip_gateway_address(l->f->gateway, 0, &l->f->address), 0);
	sip_gateway_set_watch(l->f->gateway, on_watch, l->f);
	return 0;
}

static int setup_line(void **state) {
	struct line *l = calloc(1, sizeof(*l));
	void *fixture = NULL;
	char reason[256] = "";

	assert_non_null(l);
	assert_int_equal(setup_mode(&fixture, "127.0.0.1", SIP_MODE_PROXY), 0);
	l->f = fixture;
	l->f->resolve_status = 404;
	phone_open(l->f, &l->alice, "alice");
	server_open(l->f, &l->first, "first");
	server_open(l->f, &l->second, "second");
	strcpy(l->folder, "/tmp/ringgate-trunk.XXXXXX");
	assert_non_null(mkdtemp(l->folder));
	snprintf(l->password, sizeof(l->password), "%s/password", l->folder);
	FILE *file = fopen(l->password, "w");
	assert_non_null(file);
	fputs("oak-river-73\n", file);
	fclose(file);
	snprintf(l->servers[0], sizeof(l->servers[0]), "sip:127.0.0.2:%u", l->first.port);
	snprintf(l->servers[1], sizeof(l->servers[1]), "sip:127.0.0.2:%u", l->second.port);
	const struct sip_trunk_settings trunks[] = {
		{.name = "first",
		 .server = l->servers[0],
		 .user = "site1",
		 .password_file = l->password,
		 .caller_id = "+4940123456",
		 .numbers = "00=+ 0=+49 +=+ 112=112",
		 .incoming = "+4940123456=bob@example.org"},
		{.name = "second", .server = l->servers[1], .numbers = "0=0 00=00"},
	};
	if (open_line(l, trunks, 2, reason) < 0)
		fail_msg("%s", reason);
	*state = l;
	return 0;
}

static int teardown_line(void **state) {
	struct line *l = *state;
	void *fixture = l->f;

	advance(l->f, 300 * USEC_PER_SEC);
	assert_int_equal(figures(l->f).clients, 0);
	assert_int_equal(figures(l->f).proxies, 0);
	assert_int_equal(l->f->gateway->proxy_octets, 0);
	assert_int_equal(l->f->gateway->client_octets, 0);
	phone_close(&l->alice);
	phone_close(&l->first);
	phone_close(&l->second);
	unlink(l->password);
	rmdir(l->folder);
	sip_gateway_free(l->f->gateway); /* its trunks have timers */
	l->f->gateway = NULL;
	struct sip_gateway_settings settings = {.runtime = &l->f->runtime};
	struct sip_gateway_events events = fixture_events(l->f);
	char reason[64];
	assert_int_equal(sip_gateway_new(&settings, &events, &l->f->gateway, reason, sizeof(reason)), 0);
	free(l);
	return teardown(&fixture);
}

static void dial(struct line *l, const char *method, const char *uri) {
	char text[2048];

	snprintf(text, sizeof(text),
		 "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bK%u;rport\r\nMax-Forwards: 70\r\n"
		 "From: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@example.org>\r\nCall-ID: call%u\r\nCSeq: 1 %s\r\n"
		 "Contact: <sip:alice@127.0.0.1:%u>\r\nContent-Length: 0\r\n\r\n",
		 method, uri, l->alice.port, l->f->number, l->f->number, method, l->alice.port);
	l->f->number++;
	phone_send(&l->alice, text);
}

static void from_stranger(struct line *l, const char *uri) {
	char text[2048];

	snprintf(text, sizeof(text),
		 "MESSAGE %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKs%u;rport\r\n"
		 "From: <sip:eve@far.example>;tag=1\r\nTo: <sip:bob@example.org>\r\nCall-ID: s%u\r\nCSeq: 1 MESSAGE\r\n"
		 "Content-Length: 0\r\n\r\n",
		 uri, l->alice.port, l->f->number, l->f->number);
	l->f->number++;
	phone_send(&l->alice, text);
}

static void from_trunk(struct line *l, const char *uri, const char *to) {
	char text[2048];

	snprintf(text, sizeof(text),
		 "INVITE %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKt%u;rport\r\nMax-Forwards: 70\r\n"
		 "From: <sip:+4989123@trunk.example>;tag=1\r\nTo: <%s>\r\nCall-ID: t%u\r\nCSeq: 1 INVITE\r\n"
		 "Contact: <sip:127.0.0.1:%u>\r\nContent-Length: 0\r\n\r\n",
		 uri, l->first.port, l->f->number, to, l->f->number, l->first.port);
	l->f->number++;
	phone_send(&l->first, text);
}

/* --- numbers --- */

static void test_numbers(void **state) {
	static const struct {
		const char *uri, *number;
	} rows[] = {
		{"sip:0401234@example.org", "0401234"},
		{"sip:+49(40)12-34.5@example.org;user=phone", "+494012345"},
		{"tel:+49-40-1234", "+49401234"},
		{"tel:1234;phone-context=+49", "1234"},
		{"sip:*21%23@example.org", "*21#"},
		{"sip:alice@example.org", NULL},
		{"sip:12+3@example.org", NULL},
		{"sip:example.org", NULL},
		{"tel:", NULL},
		{"sip:0123456789012345678901234567890123@example.org", NULL},
		{"mailto:123@example.org", NULL},
	};
	char number[SIP_TRUNK_NUMBER];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		_cleanup_(uri_freep) osip_uri_t *uri = uri_parse(rows[i].uri);
		bool is = uri && sip_trunk_number(uri, number);
		if (is != (rows[i].number != NULL) || (is && strcmp(number, rows[i].number) != 0))
			fail_msg("%s: %s", rows[i].uri, is ? number : "none");
	}
}

/* The longest beginning counts, and what stands for it. */
static void test_rewritten(void **state) {
	struct line *l = *state;
	char start[128];

	static const struct {
		const char *dialled, *asked;
	} rows[] = {
		{"sip:0401234@example.org", "+49401234"},
		{"sip:0043123@example.org", "+43123"},
		{"tel:+1-202-555-0100", "+12025550100"},
		{"sip:112@example.org", "112"},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		dial(l, "MESSAGE", rows[i].dialled);
		snprintf(start, sizeof(start), "MESSAGE sip:%s@127.0.0.2:%u;user=phone SIP/2.0\r\n", rows[i].asked, l->first.port);
		phone_expect(&l->first, start);
		phone_has(&l->first, "\r\nP-Asserted-Identity: <sip:+4940123456@127.0.0.2;user=phone>\r\n");
		phone_answer(&l->first, l->first.message, "200 OK", NULL);
		phone_expect(&l->alice, "SIP/2.0 200");
	}
	dial(l, "MESSAGE", "sip:99@example.org"); /* fits no pattern: a user, who is not there */
	phone_expect(&l->alice, "SIP/2.0 404");
	dial(l, "MESSAGE", "tel:99");
	phone_expect(&l->alice, "SIP/2.0 416");
	phone_expect_nothing(&l->first);
}

/* --- the password --- */

static void test_password(void **state) {
	struct line *l = *state;
	char expected[SIP_DIGEST_SIZE], ha1[SIP_DIGEST_SIZE], ha2[SIP_DIGEST_SIZE], cnonce[64] = "", uri[128];
	struct digest *digest;

	dial(l, "INVITE", "sip:0401234@example.org");
	phone_expect(&l->first, "INVITE ");
	phone_lacks(&l->first, "Authorization:");
	phone_answer(&l->first, l->first.message, "407 Proxy Authentication Required",
		     "Proxy-Authenticate: Basic realm=\"x\"\r\n"
		     "Proxy-Authenticate: Digest realm=\"pstn\",nonce=\"n1\",algorithm=MD5,qop=\"auth,auth-int\",opaque=\"o\"\r\n");
	phone_expect(&l->first, "ACK ");
	phone_expect(&l->first, "INVITE ");
	phone_has(&l->first, "\r\nProxy-Authorization: Digest username=\"site1\",realm=\"pstn\",nonce=\"n1\"");
	phone_has(&l->first, ",opaque=\"o\"");
	snprintf(uri, sizeof(uri), "sip:+49401234@127.0.0.2:%u;user=phone", l->first.port);
	sscanf(strstr(l->first.message, "cnonce=\"") + 8, "%63[^\"]", cnonce);
	assert_int_equal(digest_new(SIP_DIGEST_MD5, &digest), 0);
	const struct octets a1[] = {octets_of_string("site1"), octets_of_string("pstn"), octets_of_string("oak-river-73")};
	const struct octets a2[] = {octets_of_string("INVITE"), octets_of_string(uri)};
	assert_int_equal(digest_parts(digest, a1, 3, ha1), 0);
	assert_int_equal(digest_parts(digest, a2, 2, ha2), 0);
	const struct octets all[] = {octets_of_string(ha1),    octets_of_string("n1"),	 octets_of_string("00000001"),
				     octets_of_string(cnonce), octets_of_string("auth"), octets_of_string(ha2)};
	assert_int_equal(digest_parts(digest, all, 6, expected), 0);
	digest_free(digest);
	phone_has(&l->first, expected);
	phone_expect_nothing(&l->alice); /* is not asked */
	/* who does not believe us is not told again */
	phone_answer(&l->first, l->first.message, "407 Proxy Authentication Required",
		     "Proxy-Authenticate: Digest realm=\"pstn\",nonce=\"n2\"\r\n");
	phone_expect(&l->first, "ACK ");
	phone_expect(&l->alice, "SIP/2.0 407");
	phone_expect_nothing(&l->first);
	phone_expect_nothing(&l->second);
}

/* --- numbers of requests (RFC 3261 22.2, RFC 3262 7.2) --- */

#define QUESTION "WWW-Authenticate: Digest realm=\"pstn\",nonce=\"n1\"\r\n"

/* What alice sends in the call with this Call-ID, along the Routes she has learned. */
static void within(struct line *l, const char *method, unsigned number, const char *call_id, const char *routes,
		   const char *fields) {
	char text[4096];

	snprintf(
		text, sizeof(text),
		"%s sip:first@127.0.0.2:%u SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKw%u;rport\r\nMax-Forwards: 70\r\n"
		"%sFrom: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@example.org>;tag=first\r\n%sCSeq: %u %s\r\n%s"
		"Contact: <sip:alice@127.0.0.1:%u>\r\nContent-Length: 0\r\n\r\n",
		method, l->first.port, l->alice.port, l->f->number, routes, call_id, number, method, fields, l->alice.port);
	l->f->number++;
	phone_send(&l->alice, text);
}

/* The trunk gets this method with this number, and answers; alice hears of it under her own. */
static void numbered(struct line *l, const char *method, unsigned there, const char *status, unsigned here) {
	char start[32], line[64];

	snprintf(start, sizeof(start), "%s ", method);
	phone_expect(&l->first, start);
	snprintf(line, sizeof(line), "\r\nCSeq: %u %s\r\n", there, method);
	phone_has(&l->first, line);
	if (!status)
		return;
	phone_answer(&l->first, l->first.message, status, strncmp(status, "401", 3) == 0 ? QUESTION : NULL);
	if (here == 0)
		return;
	snprintf(line, sizeof(line), "SIP/2.0 %.3s", status);
	phone_expect(&l->alice, line);
	snprintf(line, sizeof(line), "\r\nCSeq: %u %s\r\n", here, method);
	phone_has(&l->alice, line);
}

static void test_numbering(void **state) {
	struct line *l = *state;
	char call_id[64] = "", routes[1024], ringing[ANSWER_OCTETS];

	dial(l, "INVITE", "sip:0401234@example.org");
	numbered(l, "INVITE", 2, "401 Unauthorized", 0);
	phone_expect(&l->first, "ACK ");
	phone_has(&l->first, "\r\nCSeq: 2 ACK\r\n");
	numbered(l, "INVITE", 3, NULL, 0);
	phone_has(&l->first, "\r\nAuthorization: Digest ");
	copy_lines(call_id, sizeof(call_id), l->first.message, "Call-ID:");
	route_lines(routes, sizeof(routes), l->first.message, true);
	strcpy(ringing, l->first.message);
	phone_answer(&l->first, ringing, "183 Session Progress", "Require: 100rel\r\nRSeq: 776656\r\n");
	phone_expect(&l->alice, "SIP/2.0 183");
	phone_has(&l->alice, "\r\nCSeq: 1 INVITE\r\n");
	within(l, "PRACK", 2, call_id, routes, "RAck: 776656 1 INVITE\r\n");
	phone_expect(&l->first, "PRACK ");
	phone_has(&l->first, "\r\nCSeq: 5 PRACK\r\n");
	phone_has(&l->first, "\r\nRAck: 776656 3 INVITE\r\n");
	phone_answer(&l->first, l->first.message, "200 OK", NULL);
	phone_expect(&l->alice, "SIP/2.0 200");
	phone_has(&l->alice, "\r\nCSeq: 2 PRACK\r\n");
	phone_answer(&l->first, ringing, "200 OK", NULL);
	phone_expect(&l->alice, "SIP/2.0 200");
	phone_has(&l->alice, "\r\nCSeq: 1 INVITE\r\n");
	within(l, "ACK", 1, call_id, routes, "");
	numbered(l, "ACK", 3, NULL, 0);
	/* Each further question is answered with one more, and what follows is higher. */
	within(l, "INVITE", 3, call_id, routes, "");
	numbered(l, "INVITE", 7, "401 Unauthorized", 0);
	phone_expect(&l->first, "ACK ");
	numbered(l, "INVITE", 8, "200 OK", 3);
	within(l, "ACK", 3, call_id, routes, "");
	numbered(l, "ACK", 8, NULL, 0);
	within(l, "INVITE", 4, call_id, routes, "");
	numbered(l, "INVITE", 9, "200 OK", 4);
	within(l, "ACK", 4, call_id, routes, "");
	numbered(l, "ACK", 9, NULL, 0);
	within(l, "INFO", 5, call_id, routes, "RAck: broken\r\n");
	numbered(l, "INFO", 11, "401 Unauthorized", 0);
	numbered(l, "INFO", 12, "200 OK", 5);
	within(l, "BYE", 6, call_id, routes, "");
	numbered(l, "BYE", 13, "200 OK", 6);
	phone_expect_nothing(&l->alice);
	/* What the trunk itself sends has numbers of its own. */
	route_lines(routes, sizeof(routes), ringing, false);
	char text[4096];
	snprintf(text, sizeof(text),
		 "INFO sip:alice@127.0.0.1:%u SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2:%u;branch=z9hG4bKi\r\nMax-Forwards: 70\r\n%s"
		 "From: <sip:bob@example.org>;tag=first\r\nTo: <sip:alice@example.org>;tag=1\r\n%sCSeq: 7 INFO\r\nContent-Length: "
		 "0\r\n\r\n",
		 l->alice.port, l->first.port, routes, call_id);
	phone_send(&l->first, text);
	phone_expect(&l->alice, "INFO ");
	phone_has(&l->alice, "\r\nCSeq: 7 INFO\r\n");
	phone_answer(&l->alice, l->alice.message, "200 OK", NULL);
	phone_expect(&l->first, "SIP/2.0 200");
	phone_has(&l->first, "\r\nCSeq: 7 INFO\r\n");
	advance(l->f, 60 * USEC_PER_SEC);
	assert_int_equal(l->f->gateway->raised_count, 0);
}

/* Without a question the numbers are even; a trunk without a password gets the phone's; so it is with those that cannot be doubled.
 */
static void test_numbering_elsewhere(void **state) {
	struct line *l = *state;
	char text[2048];

	dial(l, "MESSAGE", "sip:0401234@example.org");
	numbered(l, "MESSAGE", 2, "503 Overload", 0);
	phone_expect(&l->second, "MESSAGE ");
	phone_has(&l->second, "\r\nCSeq: 1 MESSAGE\r\n");
	phone_answer(&l->second, l->second.message, "200 OK", NULL);
	phone_expect(&l->alice, "SIP/2.0 200");
	phone_has(&l->alice, "\r\nCSeq: 1 MESSAGE\r\n");
	static const struct {
		unsigned here, there, again;
	} rows[] = {
		{1073741822, 2147483644, 2147483645}, {1073741823, 1073741823, 1073741823}, {2147483647, 2147483647, 2147483647}};
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		snprintf(text, sizeof(text),
			 "MESSAGE sip:0401234@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKn%zu;rport\r\n"
			 "From: <sip:alice@example.org>;tag=1\r\nTo: <sip:0401234@example.org>\r\nCall-ID: n%zu\r\nCSeq: %u "
			 "MESSAGE\r\n"
			 "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
			 l->alice.port, i, i, rows[i].here);
		phone_send(&l->alice, text);
		numbered(l, "MESSAGE", rows[i].there, "401 Unauthorized", 0);
		numbered(l, "MESSAGE", rows[i].again, "200 OK", rows[i].here);
	}
}

/* bob is called by the trunk, and hangs up: a question for that is answered, too. */
static void test_numbering_of_who_is_called(void **state) {
	struct line *l = *state;
	char contact[64], routes[1024], call_id[64] = "", text[4096];

	snprintf(contact, sizeof(contact), "sip:bob@127.0.0.1:%u", l->alice.port);
	l->f->contacts[0] = (struct sip_redirect_contact){.uri = contact, .expires_s = 60};
	l->f->contact_count = 1;
	l->f->resolve_status = 302;
	from_trunk(l, "sip:+4940123456@127.0.0.1", "sip:+4940123456@127.0.0.1");
	phone_expect(&l->alice, "INVITE sip:bob@127.0.0.1:");
	phone_has(&l->alice, "\r\nCSeq: 1 INVITE\r\n");
	route_lines(routes, sizeof(routes), l->alice.message, false);
	copy_lines(call_id, sizeof(call_id), l->alice.message, "Call-ID:");
	phone_answer(&l->alice, l->alice.message, "200 OK", NULL);
	phone_expect(&l->first, "SIP/2.0 200");
	snprintf(text, sizeof(text),
		 "BYE sip:127.0.0.2:%u SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKb;rport\r\nMax-Forwards: 70\r\n%s"
		 "From: <sip:bob@example.org>;tag=alice\r\nTo: <sip:+4989123@trunk.example>;tag=1\r\n%sCSeq: 21 "
		 "BYE\r\nContent-Length: 0\r\n\r\n",
		 l->first.port, l->alice.port, routes, call_id);
	phone_send(&l->alice, text);
	numbered(l, "BYE", 42, "401 Unauthorized", 0);
	numbered(l, "BYE", 43, "200 OK", 21);
}

/* Nobody else is given the answer, and no question that is none of ours is answered. */
static void test_foreign_questions(void **state) {
	struct line *l = *state;

	static const char *const questions[] = {
		"WWW-Authenticate: Digest realm=\"x\",nonce=\"n\",algorithm=SHA-512-256\r\n",
		"WWW-Authenticate: Digest realm=\"x\"\r\n",
		"WWW-Authenticate: Bearer realm=\"x\"\r\n",
		"",
	};
	for (size_t i = 0; i < ARRAY_LENGTH(questions); i++) {
		dial(l, "MESSAGE", "sip:0401234@example.org");
		phone_expect(&l->first, "MESSAGE ");
		phone_answer(&l->first, l->first.message, "401 Unauthorized", questions[i]);
		phone_expect(&l->alice, "SIP/2.0 401");
		phone_expect_nothing(&l->first);
	}
}

/* --- the next trunk --- */

static void test_fail_over(void **state) {
	struct line *l = *state;

	dial(l, "MESSAGE", "sip:0401234@example.org");
	phone_expect(&l->first, "MESSAGE ");
	phone_answer(&l->first, l->first.message, "503 Overload", NULL);
	phone_expect(&l->second, "MESSAGE sip:0401234@127.0.0.2:");
	phone_lacks(&l->second, "P-Asserted-Identity");
	phone_answer(&l->second, l->second.message, "200 OK", NULL);
	phone_expect(&l->alice, "SIP/2.0 200");
	/* an answer is one */
	dial(l, "MESSAGE", "sip:0401234@example.org");
	phone_expect(&l->first, "MESSAGE ");
	phone_answer(&l->first, l->first.message, "486 Busy Here", NULL);
	phone_expect(&l->alice, "SIP/2.0 486");
	phone_expect_nothing(&l->second);
	/* none at all */
	dial(l, "MESSAGE", "sip:0401234@example.org");
	phone_expect(&l->first, "MESSAGE ");
	advance(l->f, 4100 * USEC_PER_MSEC);
	phone_expect(&l->second, "MESSAGE ");
	phone_answer(&l->second, l->second.message, "503 Overload", NULL);
	phone_expect(&l->alice, "SIP/2.0 100");
	phone_expect(&l->alice, "SIP/2.0 408"); /* both have failed */
}

/* --- who may --- */

static void test_strangers(void **state) {
	struct line *l = *state;

	l->f->forbidden = true;
	dial(l, "MESSAGE", "tel:0401234");
	phone_expect(&l->alice, "SIP/2.0 403");
	dial(l, "MESSAGE", "sip:0401234@example.org");
	phone_expect(&l->alice, "SIP/2.0 403");
	l->f->gateway->outside_calls = true;
	from_stranger(l, "tel:0401234");
	phone_expect(&l->alice, "SIP/2.0 416");
	from_stranger(l, "sip:0401234@example.org");
	phone_expect(&l->alice, "SIP/2.0 404");
	phone_expect_nothing(&l->first);
	phone_expect_nothing(&l->second);
}

/* --- calls that come --- */

static void test_incoming(void **state) {
	struct line *l = *state;
	char text[1024];

	l->f->forbidden = true;
	snprintf(text, sizeof(text), "sip:bob@127.0.0.2:%u", l->second.port);
	l->f->contacts[0] = (struct sip_redirect_contact){.uri = text, .expires_s = 60};
	l->f->contact_count = 1;
	l->f->resolve_status = 302;
	from_trunk(l, "sip:+4940123456@127.0.0.1", "sip:+4940123456@127.0.0.1");
	phone_expect(&l->second, "INVITE sip:bob@127.0.0.2:");
	assert_string_equal(l->f->questions[l->f->asked - 1].aor, "bob@example.org");
	phone_answer(&l->second, l->second.message, "486 Busy Here", NULL);
	phone_expect(&l->second, "ACK ");
	phone_expect(&l->first, "SIP/2.0 486");
	/* the number may stand in To alone */
	from_trunk(l, "sip:site1@127.0.0.1", "sip:+49-40-123456@trunk.example");
	phone_expect(&l->second, "INVITE sip:bob@127.0.0.2:");
	phone_answer(&l->second, l->second.message, "486 Busy Here", NULL);
	phone_expect(&l->second, "ACK ");
	phone_expect(&l->first, "SIP/2.0 486");
	size_t asked = l->f->asked;
	from_trunk(l, "sip:+4940999@127.0.0.1", "sip:+4940999@127.0.0.1");
	phone_expect(&l->first, "SIP/2.0 404 Number Not Assigned");
	from_trunk(l, "sip:0401234@127.0.0.1", "sip:0401234@127.0.0.1"); /* not out again */
	phone_expect(&l->first, "SIP/2.0 404");
	assert_int_equal(l->f->asked, asked);
}

static void incoming_from(struct line *l, const char *from, const char *fields, const char *answer) {
	char text[2048];

	snprintf(text, sizeof(text),
		 "INVITE sip:+4940123456@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKf%u;rport\r\n"
		 "Max-Forwards: 70\r\nFrom: <%s>;tag=1\r\nTo: <sip:+4940123456@127.0.0.1>\r\nCall-ID: f%u\r\nCSeq: 1 INVITE\r\n"
		 "Contact: <sip:127.0.0.1:%u>\r\n%sContent-Length: 0\r\n\r\n",
		 l->first.port, l->f->number, from, l->f->number, l->first.port, fields);
	l->f->number++;
	phone_send(&l->first, text);
	if (!answer)
		return;
	phone_expect(&l->first, answer);
}

static bool no_secret(void *userdata, const char *username, const char *realm, enum sip_digest algorithm,
		      char ret[static SIP_DIGEST_SIZE]) {
	(void)userdata, (void)username, (void)realm, (void)algorithm, (void)ret;
	return false;
}

static int setup_line_passwords(void **state) {
	fixture_secret = no_secret;
	int error = setup_line(state);
	fixture_secret = NULL;
	return error;
}

/* A trunk that stands among the phones is asked for no password, and may write numbers as if they were our users; but no user. */
static void test_incoming_inside(void **state) {
	static const char *const good[] = {"sip:+4989123@trunk.example", "sip:089123@example.org", "sip:+4989123@127.0.0.1",
					   "sip:anonymous@anonymous.invalid", "sip:example.org"};
	struct line *l = *state;
	char text[64];

	assert_false(l->f->forbidden);
	snprintf(text, sizeof(text), "sip:bob@127.0.0.2:%u", l->second.port);
	l->f->contacts[0] = (struct sip_redirect_contact){.uri = text, .expires_s = 60};
	l->f->contact_count = 1;
	l->f->resolve_status = 302;
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
		incoming_from(l, good[i], "", NULL);
		phone_expect(&l->second, "INVITE sip:bob@127.0.0.2:");
		phone_answer(&l->second, l->second.message, "486 Busy Here", NULL);
		phone_expect(&l->second, "ACK ");
		phone_expect(&l->first, "SIP/2.0 486");
	}
	incoming_from(l, "sip:alice@example.org", "", "SIP/2.0 403 From Names A User Of This Overlay");
	incoming_from(l, "sip:carol@example.org", "", "SIP/2.0 403 From Names A User Of This Overlay");
	dial(l, "INVITE", "sip:0401234@example.org"); /* a phone is */
	phone_expect(&l->alice, "SIP/2.0 407");
	phone_expect_nothing(&l->second);
}

/* --- who calls (RFC 3325) --- */

#define CLAIMS "P-Asserted-Identity: <sip:boss@example.org>\r\np-preferred-identity: <sip:chief@example.org>\r\n"

/* What a phone says of itself does not leave the gateway; what the telephone network says of a caller is passed on. */
static void test_identity(void **state) {
	struct line *l = *state;
	char text[2048], contact[64];

	snprintf(text, sizeof(text),
		 "MESSAGE sip:0401234@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKp1;rport\r\n"
		 "From: <sip:alice@example.org>;tag=1\r\nTo: <sip:0401234@example.org>\r\nCall-ID: p1\r\nCSeq: 1 MESSAGE\r\n"
		 "Max-Forwards: 70\r\n" CLAIMS "Content-Length: 0\r\n\r\n",
		 l->alice.port);
	phone_send(&l->alice, text);
	phone_expect(&l->first, "MESSAGE ");
	phone_has(&l->first, "\r\nP-Asserted-Identity: <sip:+4940123456@127.0.0.2;user=phone>\r\n");
	phone_lacks(&l->first, "boss@");
	phone_lacks(&l->first, "chief@");
	phone_answer(&l->first, l->first.message, "200 OK", NULL);
	phone_expect(&l->alice, "SIP/2.0 200");
	snprintf(contact, sizeof(contact), "sip:bob@127.0.0.2:%u", l->second.port);
	l->f->contacts[0] = (struct sip_redirect_contact){.uri = contact, .expires_s = 60};
	l->f->contact_count = 1;
	l->f->resolve_status = 302;
	static const struct {
		const char *fields;
		bool told;
	} rows[] = {
		{CLAIMS, true},
		{CLAIMS "Privacy: header;session\r\n", true},
		{CLAIMS "Privacy: header; ID\r\n", false},
		{CLAIMS "Privacy: id;critical\r\n", false},
		{CLAIMS "Privacy:\r\n", true},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		incoming_from(l, "sip:+4989123@trunk.example", rows[i].fields, NULL);
		phone_expect(&l->second, "INVITE sip:bob@127.0.0.2:");
		if (rows[i].told)
			phone_has(&l->second, "\r\nP-Asserted-Identity: <sip:boss@example.org>\r\n");
		else
			phone_lacks(&l->second, "boss@");
		phone_lacks(&l->second, "chief@");
		phone_answer(&l->second, l->second.message, "486 Busy Here", NULL);
		phone_expect(&l->second, "ACK ");
		phone_expect(&l->first, "SIP/2.0 486");
	}
	/* a stranger */
	l->f->forbidden = true;
	l->f->gateway->outside_calls = true;
	snprintf(text, sizeof(text),
		 "MESSAGE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKp2;rport\r\n"
		 "From: <sip:eve@far.example>;tag=1\r\nTo: <sip:bob@example.org>\r\nCall-ID: p2\r\nCSeq: 1 MESSAGE\r\n"
		 "Max-Forwards: 70\r\n" CLAIMS "Content-Length: 0\r\n\r\n",
		 l->alice.port);
	phone_send(&l->alice, text);
	phone_expect(&l->second, "MESSAGE ");
	phone_lacks(&l->second, "boss@");
	phone_lacks(&l->second, "chief@");
	phone_answer(&l->second, l->second.message, "200 OK", NULL);
	phone_expect(&l->alice, "SIP/2.0 200");
}

/* --- registration --- */

static struct sip_trunk_view view;

static void take_view(void *userdata, const struct sip_trunk_view *trunk) {
	(void)userdata;
	view = *trunk;
}

static void expect_view(const struct line *l, bool registers, unsigned registered_s, const char *error) {
	assert_int_equal(sip_gateway_trunks(l->f->gateway, take_view, NULL), 1);
	assert_string_equal(view.name, "first");
	assert_string_equal(view.server, l->servers[0]);
	assert_int_equal(view.registers, registers);
	assert_int_equal(view.registered_s, registered_s);
	assert_string_equal(view.error, error);
	assert_int_equal(view.host_count, 1);
}

static void test_register(void **state) {
	struct line *l = *state;
	char reason[256];
	const struct sip_trunk_settings trunk = {.name = "first",
						 .server = l->servers[0],
						 .user = "site1",
						 .password_file = l->password,
						 .incoming = "*=bob@example.org",
						 .registers = true};

	assert_int_equal(open_line(l, &trunk, 1, reason), 0);
	advance(l->f, USEC_PER_MSEC);
	phone_expect(&l->first, "REGISTER sip:127.0.0.2 SIP/2.0\r\n");
	phone_has(&l->first, "\r\nCSeq: 1 REGISTER\r\n");
	phone_has(&l->first, "\r\nContact: <sip:site1@127.0.0.1:");
	expect_view(l, true, 0, "");
	phone_answer(&l->first, l->first.message, "401 Unauthorized",
		     "WWW-Authenticate: Digest realm=\"pstn\",nonce=\"n1\",algorithm=SHA-256,qop=\"auth\"\r\n");
	phone_expect(&l->first, "REGISTER ");
	phone_has(&l->first, "\r\nCSeq: 2 REGISTER\r\n");
	phone_has(&l->first, "\r\nAuthorization: Digest username=\"site1\"");
	phone_has(&l->first, "algorithm=SHA-256");
	phone_answer(&l->first, l->first.message, "200 OK", "Expires: 100\r\n");
	expect_view(l, true, 100, "");
	advance(l->f, 74 * USEC_PER_SEC);
	phone_expect_nothing(&l->first);
	advance(l->f, 1010 * USEC_PER_MSEC);
	phone_expect(&l->first, "REGISTER ");
	phone_has(&l->first, "\r\nCSeq: 3 REGISTER\r\n");
	phone_answer(&l->first, l->first.message, "403 Forbidden", NULL);
	phone_expect_nothing(&l->first);
	assert_int_equal(sip_gateway_trunks(l->f->gateway, take_view, NULL), 1);
	assert_string_equal(view.error, "it answers 403");
	assert_in_range(view.registered_s, 24, 25); /* what it had granted still holds */
	advance(l->f, SIP_TRUNK_RETRY_SECONDS * USEC_PER_SEC + 1000);
	phone_expect(&l->first, "REGISTER ");
	phone_answer(&l->first, l->first.message, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"pstn\",nonce=\"n1\"\r\n");
	phone_expect(&l->first, "REGISTER ");
	phone_answer(&l->first, l->first.message, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"pstn\",nonce=\"n2\"\r\n");
	expect_view(l, true, 0, "its password is refused");
	phone_expect_nothing(&l->first);			     /* a wrong password is not tried again at once */
	advance(l->f, (SIP_TRUNK_RETRY_SECONDS + 6) * USEC_PER_SEC); /* no answer at all */
	while (phone_next(&l->first)[0])
		phone_has(&l->first, "REGISTER ");
	expect_view(l, true, 0, "no server answers");
	assert_int_equal(open_line(l, NULL, 0, reason), 0);
	assert_int_equal(sip_gateway_trunks(l->f->gateway, take_view, NULL), 0);
}

static void test_settings(void **state) {
	struct line *l = *state;
	char reason[256];
	static const struct sip_trunk_settings wrong[] = {
		{.name = "x"},
		{.name = "x", .server = "tel:123"},
		{.name = "x", .server = "sip:127.0.0.1", .numbers = "0"},
		{.name = "x", .server = "sip:127.0.0.1", .numbers = "0=a"},
		{.name = "x", .server = "sip:127.0.0.1", .incoming = "1=bob"},
		{.name = "x", .server = "sip:127.0.0.1", .caller_id = "a b"},
		{.name = "x", .server = "sip:127.0.0.1", .password_file = "/nowhere/password"},
		{.name = "x", .server = "sip:127.0.0.1", .registers = true},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
		reason[0] = 0;
		assert_true(open_line(l, &wrong[i], 1, reason) < 0);
		assert_non_null(strstr(reason, "[trunk x]"));
	}
	const struct sip_trunk_settings good = {.name = "x", .server = "sip:127.0.0.1"};
	assert_int_equal(open_line(l, &good, 1, reason), 0);
}

#define LINE_TEST(function) cmocka_unit_test_setup_teardown(function, setup_line, teardown_line)

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		LINE_TEST(test_rewritten),
		LINE_TEST(test_password),
		LINE_TEST(test_numbering),
		LINE_TEST(test_numbering_elsewhere),
		LINE_TEST(test_numbering_of_who_is_called),
		LINE_TEST(test_foreign_questions),
		LINE_TEST(test_fail_over),
		LINE_TEST(test_strangers),
		LINE_TEST(test_incoming),
		LINE_TEST(test_register),
		LINE_TEST(test_settings),
		LINE_TEST(test_identity),
		cmocka_unit_test_setup_teardown(test_incoming_inside, setup_line_passwords, teardown_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
