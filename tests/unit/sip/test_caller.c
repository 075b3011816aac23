/* SPDX-License-Identifier: BSD-2-Clause */
/* Whom calls are placed for, and as whom: RFC 3261 22.3. */
#include "device.h"

static bool secret(void *userdata, const char *username, const char *realm, enum sip_digest algorithm,
		   char ret[static SIP_DIGEST_SIZE]) {
	(void)userdata;
	if (strcmp(realm, "example.org") != 0 ||
	    (strcmp(username, "alice") != 0 && strcmp(username, "bob") != 0 && strcmp(username, "admin") != 0))
		return false;
	assert_int_equal(digest_ha1(algorithm, username, realm, username, ret), 0); /* the name is the password */
	return true;
}

static bool registrar(void *userdata, const char *user, const char *aor) {
	(void)userdata;
	(void)aor;
	return strcmp(user, "admin@example.org") == 0;
}

static int setup_passwords(void **state) {
	fixture_secret = secret;
	fixture_registrar = registrar;
	return setup_site(state);
}

static int setup_open(void **state) {
	fixture_secret = NULL;
	fixture_registrar = NULL;
	return setup_site(state);
}

/* Credentials of a user for the challenge in `challenge`, as a whole line. */
static const char *credentials(const char *challenge, const char *name, const char *user, const char *password, const char *method,
			       const char *uri) {
	static char text[1024];
	char nonce[64] = "", ha1[SIP_DIGEST_SIZE], ha2[SIP_DIGEST_SIZE], response[SIP_DIGEST_SIZE];
	const char *at = strstr(challenge, "nonce=\"");
	struct digest *digest = NULL;

	assert_non_null(at);
	assert_int_equal(sscanf(at, "nonce=\"%63[^\"]\"", nonce), 1);
	assert_int_equal(digest_new(SIP_DIGEST_SHA_256, &digest), 0);
	assert_int_equal(digest_ha1(SIP_DIGEST_SHA_256, user, "example.org", password, ha1), 0);
	const struct octets request[] = {octets_of_string(method), octets_of_string(uri)};
	assert_int_equal(digest_parts(digest, request, 2, ha2), 0);
	const struct octets parts[] = {
		octets_of_string(ha1),	octets_of_string(nonce),  octets_of_string("00000001"),
		octets_of_string("cn"), octets_of_string("auth"), octets_of_string(ha2),
	};
	assert_int_equal(digest_parts(digest, parts, ARRAY_LENGTH(parts), response), 0);
	digest_free(digest);
	snprintf(text, sizeof(text),
		 "%s: Digest username=\"%s\", realm=\"example.org\", nonce=\"%s\", uri=\"%s\", algorithm=SHA-256, qop=auth, "
		 "nc=00000001, cnonce=\"cn\", response=\"%s\"\r\n",
		 name, user, nonce, uri, response);
	return text;
}

static const char *register_user(struct site *site, const struct phone *phone, const char *user, const char *transport,
				 const char *fields) {
	static char text[4096];

	site->number++;
	snprintf(text, sizeof(text),
		 "REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:%u;branch=z9hG4bKr%u;rport\r\n"
		 "From: <sip:%s@example.org>;tag=1\r\nTo: <sip:%s@example.org>\r\nCall-ID: r%s\r\nCSeq: %u REGISTER\r\n"
		 "Contact: <sip:%s@127.0.0.1:%u>\r\n%sContent-Length: 0\r\n\r\n",
		 transport, phone->port, site->number, user, user, user, site->number, user, phone->port, fields);
	return text;
}

static void log_in(struct site *site, struct phone *phone, const char *user) {
	phone_send(phone, register_user(site, phone, user, "UDP", ""));
	phone_expect(phone, "SIP/2.0 401");
	phone_send(phone, register_user(site, phone, user, "UDP",
					credentials(phone->message, "Authorization", user, user, "REGISTER", "sip:example.org")));
	phone_expect(phone, "SIP/2.0 200");
}

static const char *invite_text(struct site *site, const struct phone *phone, const char *transport, const char *from,
			       const char *fields) {
	static char text[4096];

	site->call = ++site->number;
	snprintf(
		text, sizeof(text),
		"INVITE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:%u;branch=z9hG4bKi%u;rport\r\nMax-Forwards: 70\r\n"
		"From: <%s>;tag=a%u\r\nTo: <sip:bob@example.org>\r\nCall-ID: call%u\r\nCSeq: 1 INVITE\r\n"
		"Contact: <sip:alice@127.0.0.1:%u>\r\n%sContent-Length: 0\r\n\r\n",
		transport, phone->port, site->number, from, site->number, site->number, phone->port, fields);
	return text;
}

/* The answer to the last call that `phone` made; a challenge is acknowledged by nobody. */
static void hears(struct site *site, struct phone *phone, const char *start) {
	char call_id[32];

	snprintf(call_id, sizeof(call_id), "\r\nCall-ID: call%u\r\n", site->call);
	do
		phone_next(phone);
	while (strncmp(phone->message, "SIP/2.0 100", 11) == 0 || (phone->message[0] && !strstr(phone->message, call_id)));
	if (strncmp(phone->message, start, strlen(start)) != 0)
		fail_msg("%s expected \"%s\", got:\n%s", phone->name, start, phone->message);
}

static void calls(struct site *site, struct phone *phone, const char *from, const char *answer) {
	phone_send(phone, invite_text(site, phone, "UDP", from, ""));
	hears(site, phone, answer);
}

/* It reaches bob, who refuses. */
static void gets_through(struct site *site, struct phone *phone, const char *text) {
	phone_send(phone, text);
	if (strncmp(phone_next(&site->bob), "INVITE ", 7) != 0) {
		phone_next(phone);
		fail_msg("bob got nothing, %s:\n%s", phone->name, phone->message);
	}
	phone_answer(&site->bob, strdupa(site->bob.message), "486 Busy Here", NULL);
	hears(site, phone, "SIP/2.0 486");
}

static void bob_is_there(struct site *site) {
	log_in(site, &site->bob, "bob");
}

static void expect_nothing_at_bob(struct site *site) {
	while (phone_next(&site->bob)[0])
		if (strncmp(site->bob.message, "INVITE ", 7) == 0)
			fail_msg("bob got:\n%s", site->bob.message);
}

/* A phone is asked for nothing where it is registered, and anybody else for a password. */
static void test_registered(void **state) {
	struct site *site = *state;
	struct phone *alice = &site->alice, *carol = &site->carol;

	bob_is_there(site);
	log_in(site, alice, "alice");
	gets_through(site, alice, invite_text(site, alice, "UDP", "sip:alice@example.org", ""));
	calls(site, carol, "sip:alice@example.org", "SIP/2.0 407 Proxy Authentication Required");
	phone_has(carol, "\r\nProxy-Authenticate: Digest realm=\"example.org\", nonce=");
	phone_has(carol, "algorithm=SHA-256");
	phone_has(carol, "algorithm=MD5");
	phone_lacks(carol, "WWW-Authenticate");
	expect_nothing_at_bob(site);
	const char *shown = credentials(carol->message, "Proxy-Authorization", "alice", "alice", "INVITE", "sip:bob@example.org");
	char fields[2048];
	snprintf(fields, sizeof(fields), "%sProxy-Authorization: Digest username=\"x\", realm=\"example.com\", nonce=\"y\"\r\n",
		 shown);
	gets_through(site, carol, invite_text(site, carol, "UDP", "sip:alice@example.org", fields));
	phone_expect(&site->bob, "ACK ");
	/* a used one is not taken twice */
	phone_send(carol, invite_text(site, carol, "UDP", "sip:alice@example.org", fields));
	hears(site, carol, "SIP/2.0 407");
	phone_has(carol, "stale=true");
}

static void test_credentials_kept(void **state) {
	struct site *site = *state;
	struct phone *carol = &site->carol;
	char fields[2048];

	bob_is_there(site);
	calls(site, carol, "sip:alice@example.org", "SIP/2.0 407");
	snprintf(fields, sizeof(fields), "%sproxy-authorization: Digest username=\"x\", realm=\"example.com\", nonce=\"y\"\r\n",
		 credentials(carol->message, "Proxy-Authorization", "alice", "alice", "INVITE", "sip:bob@example.org"));
	phone_send(carol, invite_text(site, carol, "UDP", "sip:alice@example.org", fields));
	phone_expect(&site->bob, "INVITE ");
	phone_lacks(&site->bob, "realm=\"example.org\""); /* what was shown to us */
	phone_has(&site->bob, "proxy-authorization: Digest username=\"x\", realm=\"example.com\"");
	phone_answer(&site->bob, strdupa(site->bob.message), "486 Busy Here", NULL);
}

/* With the password of one user nobody calls as another one, unless the site says so. */
static void test_names(void **state) {
	static const struct {
		const char *from, *user, *password, *answer;
	} rows[] = {
		{"sip:bob@example.org", "alice", "alice", "SIP/2.0 403 From Names Another User"},
		{"sip:bob@example.org", "bob", "guess", "SIP/2.0 407"},
		{"sip:nobody@example.org", "nobody", "nobody", "SIP/2.0 407"},
		{"sip:nobody@example.org", "alice", "alice", "SIP/2.0 403"},
		{"sip:bob@127.0.0.1", "alice", "alice", "SIP/2.0 403"},
		{"sip:example.org", "alice", "alice", "SIP/2.0 403"},
		{"sip:bob@EXAMPLE.ORG.", "alice", "alice", "SIP/2.0 403"},
		{"sip:alice@127.0.0.1", "alice", "alice", NULL},
		{"sip:alice@example.org", "alice", "alice", NULL},
		{"sip:anonymous@anonymous.invalid", "alice", "alice", NULL},
		{"sip:bob@example.org", "admin", "admin", NULL},
	};
	struct site *site = *state;
	struct phone *alice = &site->alice;

	bob_is_there(site);
	log_in(site, alice, "alice");
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct phone *phone = i == 0 ? alice : &site->carol;
		calls(site, phone, rows[i].from, "SIP/2.0 407");
		const char *shown = credentials(phone->message, "Proxy-Authorization", rows[i].user, rows[i].password, "INVITE",
						"sip:bob@example.org");
		const char *text = invite_text(site, phone, "UDP", rows[i].from, shown);
		expect_nothing_at_bob(site);
		if (rows[i].answer) {
			phone_send(phone, text);
			hears(site, phone, rows[i].answer);
			expect_nothing_at_bob(site);
		} else {
			gets_through(site, phone, text);
		}
	}
	assert_int_equal(figures(site->f).callers_refused, 5);
	assert_int_equal(figures(site->f).auth_failures, 2);
}

static void test_levels(void **state) {
	struct site *site = *state;
	struct phone *alice = &site->alice, *carol = &site->carol;

	bob_is_there(site);
	log_in(site, alice, "alice");
	site->f->gateway->callers = SIP_CALLERS_PASSWORD;
	calls(site, alice, "sip:alice@example.org", "SIP/2.0 407");
	gets_through(
		site, alice,
		invite_text(site, alice, "UDP", "sip:alice@example.org",
			    credentials(alice->message, "Proxy-Authorization", "alice", "alice", "INVITE", "sip:bob@example.org")));
	site->f->gateway->callers = SIP_CALLERS_ANY;
	phone_expect(&site->bob, "ACK ");
	gets_through(site, carol, invite_text(site, carol, "UDP", "sip:alice@example.org", ""));
}

static void test_open(void **state) {
	struct site *site = *state;

	phone_send(&site->bob, register_user(site, &site->bob, "bob", "UDP", ""));
	phone_expect(&site->bob, "SIP/2.0 200");
	gets_through(site, &site->carol, invite_text(site, &site->carol, "UDP", "sip:alice@example.org", ""));
}

/* Whoever is not of the site, and no gateway, is no user of the overlay. */
static void test_outside(void **state) {
	struct site *site = *state;
	struct phone *carol = &site->carol;

	phone_send(&site->bob, register_user(site, &site->bob, "bob", "UDP", ""));
	phone_expect(&site->bob, "SIP/2.0 200");
	site->f->gateway->outside_calls = true;
	site->f->forbidden = true;
	gets_through(site, carol, invite_text(site, carol, "UDP", "sip:eve@example.com", ""));
	phone_expect(&site->bob, "ACK ");
	calls(site, carol, "sip:alice@example.org", "SIP/2.0 403 From Names A User Of This Overlay");
	calls(site, carol, "sips:whoever@Example.Org", "SIP/2.0 403");
	calls(site, carol, "sip:alice@127.0.0.1", "SIP/2.0 403");
	expect_nothing_at_bob(site);
	assert_int_equal(figures(site->f).callers_refused, 3);
}

static bool always(void *userdata, const struct address *source) {
	(void)userdata;
	(void)source;
	return true;
}

/* Gateways answer for the users of their sites, also from a network of ours. */
static void test_gateway(void **state) {
	struct site *site = *state;

	bob_is_there(site);
	site->f->gateway->events.peer = always;
	gets_through(site, &site->carol, invite_text(site, &site->carol, "UDP", "sip:dave@example.org", ""));
	phone_expect(&site->bob, "ACK ");
	site->f->forbidden = true;
	gets_through(site, &site->carol, invite_text(site, &site->carol, "UDP", "sip:dave@example.org", ""));
}

/* What belongs to a call that was placed is not asked again. */
static void test_dialog(void **state) {
	struct site *site = *state;
	struct phone *alice = &site->alice, *bob = &site->bob;
	char routes[2048], text[4096];

	bob_is_there(site);
	log_in(site, alice, "alice");
	phone_send(alice, invite_text(site, alice, "UDP", "sip:alice@example.org", ""));
	phone_expect(bob, "INVITE ");
	phone_answer(bob, strdupa(bob->message), "200 OK", NULL);
	hears(site, alice, "SIP/2.0 200");
	route_lines(routes, sizeof(routes), alice->message, true);
	site->f->gateway->callers = SIP_CALLERS_PASSWORD;
	snprintf(text, sizeof(text),
		 "BYE sip:bob@127.0.0.1:%u SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKbye;rport\r\n%s"
		 "From: <sip:alice@example.org>;tag=a%u\r\nTo: <sip:bob@example.org>;tag=bob\r\nCall-ID: call%u\r\nCSeq: 2 "
		 "BYE\r\n\r\n",
		 bob->port, alice->port, routes, site->call, site->call);
	phone_send(alice, text);
	while (phone_next(bob)[0] && strncmp(bob->message, "BYE ", 4) != 0)
		;
	phone_has(bob, "BYE sip:bob@");
	phone_answer(bob, strdupa(bob->message), "200 OK", NULL);
}

/* A connection is its own flow; what comes through another proxy may be of anybody behind that one. */
static void test_flows(void **state) {
	struct site *site = *state;
	struct fixture *f = site->f;
	struct phone *carol = &site->carol;
	char fields[2048];

	bob_is_there(site);
	int fd = dial(f), other = dial(f);
	stream_send(f, fd, register_user(site, &site->alice, "alice", "TCP", ""));
	assert_int_equal(status_of(stream_next(f, fd)), 401);
	stream_send(f, fd,
		    register_user(site, &site->alice, "alice", "TCP",
				  credentials(f->answer, "Authorization", "alice", "alice", "REGISTER", "sip:example.org")));
	assert_int_equal(status_of(stream_next(f, fd)), 200);
	stream_send(f, other, invite_text(site, &site->alice, "TCP", "sip:alice@example.org", ""));
	assert_int_equal(status_of(stream_next(f, other)), 407);
	stream_send(f, fd, invite_text(site, &site->alice, "TCP", "sip:alice@example.org", ""));
	phone_expect(&site->bob, "INVITE ");
	phone_answer(&site->bob, strdupa(site->bob.message), "486 Busy Here", NULL);
	close(fd);
	close(other);
	phone_send(carol, register_user(site, carol, "alice", "UDP", ""));
	phone_expect(carol, "SIP/2.0 401");
	snprintf(fields, sizeof(fields), "Supported: path\r\nPath: <sip:127.0.0.1:%u;lr>\r\n%s", carol->port,
		 credentials(carol->message, "Authorization", "alice", "alice", "REGISTER", "sip:example.org"));
	phone_send(carol, register_user(site, carol, "alice", "UDP", fields));
	phone_expect(carol, "SIP/2.0 200");
	calls(site, carol, "sip:alice@example.org", "SIP/2.0 407");
}

static void canonical(void *userdata, char aor[static SIP_AOR_OCTETS + 1]) {
	char *at = strrchr(aor, '@');

	(void)userdata;
	if (strcmp(at, "@example.net") == 0)
		strcpy(at, "@example.org");
}

/* A user is the same one under the other names of the domain: where the phone is registered, and for who has no password. */
static void test_domains(void **state) {
	struct site *site = *state;
	struct phone *alice = &site->alice, *carol = &site->carol;

	site->f->gateway->events.canonical = canonical;
	bob_is_there(site);
	log_in(site, alice, "alice");
	gets_through(site, alice, invite_text(site, alice, "UDP", "sip:alice@example.net", ""));
	calls(site, carol, "sip:alice@example.net", "SIP/2.0 407");
	phone_has(carol, "Digest realm=\"example.org\"");
	phone_lacks(carol, "realm=\"example.net\"");
	calls(site, carol, "sip:example.net", "SIP/2.0 407"); /* nobody's name, but our domain */
	phone_has(carol, "Digest realm=\"example.org\"");
	char fields[2048];
	calls(site, carol, "sip:alice@example.net", "SIP/2.0 407");
	snprintf(fields, sizeof(fields), "%s",
		 credentials(carol->message, "Proxy-Authorization", "bob", "bob", "INVITE", "sip:bob@example.org"));
	phone_send(carol, invite_text(site, carol, "UDP", "sip:alice@example.net", fields));
	hears(site, carol, "SIP/2.0 403 From Names Another User");
	expect_nothing_at_bob(site);
	calls(site, carol, "sip:bob@example.net", "SIP/2.0 407");
	gets_through(
		site, carol,
		invite_text(site, carol, "UDP", "sip:bob@example.net",
			    credentials(carol->message, "Proxy-Authorization", "bob", "bob", "INVITE", "sip:bob@example.org")));
	expect_nothing_at_bob(site);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_registered, setup_passwords, teardown_site),
		cmocka_unit_test_setup_teardown(test_credentials_kept, setup_passwords, teardown_site),
		cmocka_unit_test_setup_teardown(test_names, setup_passwords, teardown_site),
		cmocka_unit_test_setup_teardown(test_levels, setup_passwords, teardown_site),
		cmocka_unit_test_setup_teardown(test_open, setup_open, teardown_site),
		cmocka_unit_test_setup_teardown(test_outside, setup_open, teardown_site),
		cmocka_unit_test_setup_teardown(test_gateway, setup_passwords, teardown_site),
		cmocka_unit_test_setup_teardown(test_dialog, setup_passwords, teardown_site),
		cmocka_unit_test_setup_teardown(test_flows, setup_passwords, teardown_site),
		cmocka_unit_test_setup_teardown(test_domains, setup_passwords, teardown_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
