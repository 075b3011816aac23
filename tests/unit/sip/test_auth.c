/* SPDX-License-Identifier: BSD-2-Clause */
/* Digest authentication: RFC 3261 22, RFC 7616, RFC 8760. */
#include "unit/sip/harness.h"

#include <inttypes.h>

#define PHONE "Contact: <sip:alice@192.0.2.7:5070>\r\n"

static char password[64] = "a good one";

static bool secret(void *userdata, const char *username, const char *realm, enum sip_digest algorithm,
		   char ret[static SIP_DIGEST_SIZE]) {
	(void)userdata;
	if (strcmp(realm, "example.org") != 0 ||
	    (strcmp(username, "alice") != 0 && strcmp(username, "alice@example.org") != 0 && strcmp(username, "admin") != 0))
		return false;
	assert_int_equal(digest_ha1(algorithm, username, realm, password, ret), 0);
	return true;
}

static bool registrar(void *userdata, const char *user, const char *aor) {
	(void)userdata;
	return strcmp(user, "admin@example.org") == 0 && strcmp(aor, "bob@example.org") == 0;
}

static int setup_auth(void **state) {
	fixture_secret = secret;
	fixture_registrar = registrar;
	strcpy(password, "a good one");
	return setup(state);
}

/* --- a phone that has a password --- */

struct answer {
	const char *username, *password, *realm, *uri, *nonce, *algorithm, *qop, *method;
	unsigned count;
	const char *extra;    /* further parameters */
	const char *response; /* instead of the right one */
};

static char nonce[64];

/* The nonce of the challenge that was received last. */
static void take_nonce(const struct fixture *f) {
	const char *at = strstr(f->answer, "nonce=\"");

	assert_non_null(at);
	assert_int_equal(sscanf(at, "nonce=\"%63[^\"]\"", nonce), 1);
}

static const char *authorization(struct answer answer) {
	static char text[4096];
	char ha1[SIP_DIGEST_SIZE], ha2[SIP_DIGEST_SIZE], response[SIP_DIGEST_SIZE], count[16];
	const char *name = answer.algorithm ? answer.algorithm : "MD5";
	enum sip_digest algorithm = strcmp(name, "SHA-256") == 0 ? SIP_DIGEST_SHA_256 : SIP_DIGEST_MD5;
	const char *username = answer.username ? answer.username : "alice", *realm = answer.realm ? answer.realm : "example.org";
	const char *uri = answer.uri ? answer.uri : "sip:example.org", *qop = answer.qop ? answer.qop : "auth";
	const char *used = answer.nonce ? answer.nonce : nonce;
	struct digest *digest;

	snprintf(count, sizeof(count), "%08x", answer.count ? answer.count : 1);
	assert_int_equal(digest_ha1(algorithm, username, realm, answer.password ? answer.password : "a good one", ha1), 0);
	assert_int_equal(digest_new(algorithm, &digest), 0);
	const struct octets a2[] = {octets_of_string(answer.method ? answer.method : "REGISTER"), octets_of_string(uri)};
	assert_int_equal(digest_parts(digest, a2, 2, ha2), 0);
	const struct octets parts[] = {octets_of_string(ha1),	   octets_of_string(used), octets_of_string(count),
				       octets_of_string("c\\\"n"), octets_of_string(qop),  octets_of_string(ha2)};
	assert_int_equal(digest_parts(digest, parts, 6, response), 0);
	digest_free(digest);
	snprintf(text, sizeof(text),
		 "Authorization: Digest username=\"%s\", realm=\"%s\",\r\n nonce=\"%s\", uri=\"%s\", response=\"%s\", "
		 "algorithm=%s, cnonce=\"c\\\"n\" , qop=%s, nc=%s%s\r\n" PHONE,
		 username, realm, used, uri, answer.response ? answer.response : response, name, qop, count,
		 answer.extra ? answer.extra : "");
	return text;
}

#define SHOW(...) authorization((struct answer){__VA_ARGS__})

static void get_challenge(struct fixture *f) {
	send_register(f, PHONE);
	expect_status(f, 401);
	take_nonce(f);
}

/* --- the hashes --- */

/* RFC 7616 3.9.1 */
static void test_vectors(void **state) {
	static const char *const expected[SIP_DIGESTS] = {
		[SIP_DIGEST_SHA_256] = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
		[SIP_DIGEST_MD5] = "8ca523f5e9506fed4657c9700eebdbec",
	};

	(void)state;
	for (unsigned i = 0; i < SIP_DIGESTS; i++) {
		char ha1[SIP_DIGEST_SIZE], ha2[SIP_DIGEST_SIZE], response[SIP_DIGEST_SIZE];
		const struct octets a2[] = {octets_of_string("GET"), octets_of_string("/dir/index.html")};
		struct digest *digest;
		assert_int_equal(digest_ha1(i, "Mufasa", "http-auth@example.org", "Circle of Life", ha1), 0);
		assert_int_equal(digest_new(i, &digest), 0);
		assert_int_equal(digest_parts(digest, a2, 2, ha2), 0);
		const struct octets parts[] = {
			octets_of_string(ha1),	      octets_of_string("7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"),
			octets_of_string("00000001"), octets_of_string("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"),
			octets_of_string("auth"),     octets_of_string(ha2),
		};
		assert_int_equal(digest_parts(digest, parts, 6, response), 0);
		assert_string_equal(response, expected[i]);
		digest_free(digest);
	}
}

/* --- the registrar --- */

static void test_challenge(void **state) {
	struct fixture *f = *state;

	send_register(f, PHONE);
	expect_status(f, 401);
	expect_text(f, "WWW-Authenticate: Digest realm=\"example.org\", nonce=\"");
	const char *strong = strstr(f->answer, "algorithm=SHA-256, qop=\"auth\"\r\n"),
		   *weak = strstr(f->answer, "algorithm=MD5, qop=\"auth\"\r\n");
	assert_non_null(strong);
	assert_non_null(weak);
	assert_true(strong < weak); /* RFC 8760 2.4 */
	expect_no_text(f, "stale");
	assert_int_equal(f->asked, 0);
	assert_int_equal(figures(f).challenges, 1);
	assert_int_equal(figures(f).auth_failures, 0);
}

static void test_good(void **state) {
	static const char *const algorithms[] = {"MD5", "SHA-256"}, *const names[] = {"alice", "alice@example.org"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(algorithms); i++)
		for (size_t j = 0; j < ARRAY_LENGTH(names); j++) {
			get_challenge(f);
			send_register(f, SHOW(.algorithm = algorithms[i], .username = names[j]));
			expect_status(f, 200);
			send_register(f, SHOW(.algorithm = algorithms[i], .username = names[j], .count = 2));
			expect_status(f, 200);
		}
	assert_int_equal(binding_count(f), 1);
	assert_int_equal(figures(f).auth_failures, 0);
}

/* Parameters we have no use for, another realm's credentials first, and the URI in another spelling. */
static void test_variants(void **state) {
	struct fixture *f = *state;
	char text[8192];

	get_challenge(f);
	send_register(f, SHOW(.extra = ", opaque=\"\", unknown=token, other=\"a, b\""));
	expect_status(f, 200);
	snprintf(text, sizeof(text),
		 "Authorization: Digest username=\"x\", realm=\"elsewhere\", nonce=\"n\"\r\nAuthorization: Basic YTpi\r\n%s",
		 SHOW(.count = 2));
	send_register(f, text);
	expect_status(f, 200);
	send_register(f, SHOW(.count = 3, .uri = "sip:EXAMPLE.org"));
	expect_status(f, 200);
	send_register(f, SHOW(.count = 4, .uri = "sip:127.0.0.1"));
	expect_status(f, 200);
}

static void test_wrong_password(void **state) {
	struct fixture *f = *state;

	get_challenge(f);
	send_register(f, SHOW(.password = "a bad one"));
	expect_status(f, 401);
	expect_no_text(f, "stale");
	assert_int_equal(figures(f).auth_failures, 1);
	send_register(f, SHOW(.response = "00"));
	expect_status(f, 401);
	send_register(f, SHOW(.response = ""));
	expect_status(f, 401);
	/* Nobody learns who exists: bob has no password, mallory is no user. */
	send_register(f, SHOW(.username = "bob"));
	expect_status(f, 401);
	send_register(f, SHOW(.username = "mallory"));
	expect_status(f, 401);
	assert_int_equal(figures(f).auth_failures, 5);
	assert_int_equal(binding_count(f), 0);
	send_register(f, SHOW(.count = 9)); /* failures have not used the nonce up */
	expect_status(f, 200);
}

/* The site may change a password at any time. */
static void test_changed_password(void **state) {
	struct fixture *f = *state;

	get_challenge(f);
	send_register(f, SHOW(.count = 1));
	expect_status(f, 200);
	strcpy(password, "another one");
	send_register(f, SHOW(.count = 2));
	expect_status(f, 401);
	send_register(f, SHOW(.count = 3, .password = "another one"));
	expect_status(f, 200);
}

/* A request that was overheard is of no use. */
static void test_replay(void **state) {
	struct fixture *f = *state;
	static const struct {
		unsigned count, status;
	} rows[] = {
		{5, 200}, {5, 401}, {4, 200},  {4, 401},  {1, 200},    {6, 200},  {1, 401},   {70, 200},  {7, 200},
		{7, 401}, {6, 401}, {69, 200}, {69, 401}, {1000, 200}, {70, 401}, {937, 200}, {936, 401}, {1000, 401},
	};

	get_challenge(f);
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		send_register(f, SHOW(.count = rows[i].count));
		if (status_of(received(f)) != rows[i].status)
			fail_msg("row %zu: %s", i, f->answer);
		if (rows[i].status == 401)
			expect_text(f, ", stale=true\r\n");
	}
	assert_int_equal(figures(f).auth_failures, 0);
	take_nonce(f);
	send_register(f, SHOW(.count = 1));
	expect_status(f, 200);
}

static void test_stale(void **state) {
	struct fixture *f = *state;
	char other[64];

	get_challenge(f);
	advance(f, (SIP_NONCE_SECONDS - 2) * USEC_PER_SEC);
	send_register(f, SHOW(.count = 1));
	expect_status(f, 200);
	advance(f, 3 * USEC_PER_SEC);
	send_register(f, SHOW(.count = 2));
	expect_status(f, 401);
	expect_text(f, ", stale=true\r\n");
	/* One of another gateway, or from before a restart; and one that somebody has changed. */
	take_nonce(f);
	strcpy(other, nonce);
	other[0] ^= 1;
	send_register(f, SHOW(.nonce = other));
	expect_status(f, 401);
	expect_text(f, ", stale=true\r\n");
	send_register(f, SHOW(.nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"));
	expect_status(f, 401);
	expect_text(f, ", stale=true\r\n");
	/* A wrong password gets the very same: nobody learns by a nonce of their own whether a guess is right. */
	send_register(f, SHOW(.nonce = other, .password = "bad"));
	expect_status(f, 401);
	expect_text(f, ", stale=true\r\n");
	assert_int_equal(figures(f).auth_failures, 0);
}

/* At the bound the nonce that was used first is stale, and all that were given out before it. */
static void test_nonce_bound(void **state) {
	struct fixture *f = *state;
	char first[64], second[64], unused[64];

	get_challenge(f);
	strcpy(unused, nonce);
	get_challenge(f);
	strcpy(first, nonce);
	get_challenge(f);
	strcpy(second, nonce);
	send_register(f, SHOW(.nonce = first));
	expect_status(f, 200);
	send_register(f, SHOW(.nonce = second));
	expect_status(f, 200);
	f->gateway->auth.floor = 2; /* as if `first` had been displaced */
	send_register(f, SHOW(.nonce = second, .count = 2));
	expect_status(f, 200);
	send_register(f, SHOW(.nonce = unused));
	expect_status(f, 401);
	expect_text(f, "stale=true");
}

static void test_malformed(void **state) {
	static const char *const fields[] = {
		"Authorization: Digest\r\n",
		"Authorization: Digest username=\"alice\r\n",
		"Authorization: Digest realm=\"example.org\" nonce=\"x\"\r\n",
		"Authorization: Digest realm=\"example.org\", realm=\"example.org\"\r\n",
		"Authorization: Digest realm=\"example.org\", algorithm=MD5\r\n",
		"Authorization: Digest =, realm=\r\n",
		"Authorization: Digest realm=\"\\\r\n",
	};
	static const unsigned statuses[] = {401, 400, 400, 400, 400, 400, 400};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
		send_register(f, fields[i]);
		if (status_of(received(f)) != statuses[i])
			fail_msg("row %zu: %s", i, f->answer);
	}
	get_challenge(f);
	send_register(f, SHOW(.uri = "sip:example.com"));
	expect_status(f, 400);
	send_register(f, SHOW(.qop = "auth-int"));
	expect_status(f, 400);
	send_register(f, SHOW(.extra = ", nc=00000001"));
	expect_status(f, 400);
	assert_int_equal(binding_count(f), 0);
}

/* An algorithm that was not offered is no answer to our challenge. */
static void test_other_algorithm(void **state) {
	struct fixture *f = *state;

	get_challenge(f);
	send_register(f, SHOW(.algorithm = "SHA-512-256"));
	expect_status(f, 401);
	send_register(f, SHOW(.algorithm = "MD5-sess"));
	expect_status(f, 401);
}

/* RFC 3261 10.3 step 4 */
static void test_third_party(void **state) {
	struct fixture *f = *state;

	get_challenge(f);
	send_text(f, REQUEST(f, .method = "REGISTER", .to = "<sip:bob@example.org>", .from = "<sip:bob@example.org>",
			     .fields = SHOW(.count = 1)));
	expect_status(f, 403);
	send_text(f, REQUEST(f, .method = "REGISTER", .to = "<sip:bob@example.org>", .fields = SHOW(.count = 2)));
	expect_status(f, 403);
	send_text(f, REQUEST(f, .method = "REGISTER", .from = "<sip:bob@example.org>", .fields = SHOW(.count = 3)));
	expect_status(f, 403); /* From is neither who asks nor whom it is for */
	/* Who may: in the own name or in that of the user. */
	send_text(f, REQUEST(f, .method = "REGISTER", .to = "<sip:bob@example.org>", .from = "<sip:admin@example.org>",
			     .fields = SHOW(.count = 4, .username = "admin")));
	expect_status(f, 200);
	send_text(f, REQUEST(f, .method = "REGISTER", .to = "<sip:bob@example.org>", .from = "<sip:bob@example.org>",
			     .fields = SHOW(.count = 5, .username = "admin")));
	expect_status(f, 200);
	send_text(f, REQUEST(f, .method = "REGISTER", .to = "<sip:bob@example.org>", .from = "<sip:alice@example.org>",
			     .fields = SHOW(.count = 6, .username = "admin")));
	expect_status(f, 403);
	send_text(f, REQUEST(f, .method = "REGISTER", .fields = SHOW(.count = 7, .username = "admin")));
	expect_status(f, 403); /* not alice */
}

/* A REGISTER that says what the one before said shows its password like any other. */
static void test_again(void **state) {
	struct fixture *f = *state;
	unsigned cseq = 0;

#define SAY(...) send_text(f, REQUEST(f, .method = "REGISTER", .call_id = "desk", .cseq = ++cseq, .fields = SHOW(__VA_ARGS__)))
	get_challenge(f);
	SAY(.count = 1);
	expect_status(f, 200);
	assert_int_equal(figures(f).repeated, 0);
	SAY(.count = 2);
	expect_status(f, 200);
	assert_int_equal(figures(f).repeated, 1);
	SAY(.count = 2); /* overheard */
	expect_status(f, 401);
	expect_text(f, "stale=true");
	take_nonce(f);
	SAY(.count = 1, .password = "guessed");
	expect_status(f, 401);
	assert_int_equal(figures(f).auth_failures, 1);
	SAY(.count = 1, .username = "admin"); /* may register others, not alice */
	expect_status(f, 403);
	SAY(.count = 2, .uri = "mailto:alice@example.org");
	expect_status(f, 400);
	SAY(.count = 2, .uri = "sip:example.com");
	expect_status(f, 400);
	send_text(f, REQUEST(f, .method = "REGISTER", .call_id = "desk", .cseq = ++cseq, .fields = PHONE));
	expect_status(f, 401);
	assert_int_equal(f->asked, 2); /* none of these got so far */
	take_nonce(f);
	SAY(.count = 1, .algorithm = "SHA-256");
	expect_status(f, 200);
	strcpy(password, "another one");
	SAY(.count = 2);
	expect_status(f, 401);
	take_nonce(f);
	SAY(.count = 1, .password = "another one");
	expect_status(f, 200);
	assert_int_equal(figures(f).repeated, 9);
	assert_int_equal(binding_count(f), 1);
#undef SAY
}

static void test_again_third_party(void **state) {
	struct fixture *f = *state;
	const char *const bob = "<sip:bob@example.org>";

	get_challenge(f);
	for (unsigned i = 1; i < 3; i++) {
		send_text(f, REQUEST(f, .method = "REGISTER", .call_id = "desk", .cseq = i, .to = bob, .from = bob,
				     .fields = SHOW(.count = i, .username = "admin")));
		expect_status(f, 200);
		assert_int_equal(figures(f).repeated, i - 1);
	}
	send_text(f, REQUEST(f, .method = "REGISTER", .call_id = "desk", .cseq = 3, .to = bob, .from = bob,
			     .fields = SHOW(.count = 3, .username = "alice")));
	expect_status(f, 403);
	assert_int_equal(f->asked, 2);
}

static void test_guessing(void **state) {
	struct fixture *f = *state;
	unsigned barred = 0;

	get_challenge(f);
	for (unsigned i = 0; i < SIP_AUTH_FAILURES + 5; i++) {
		send_register(f, SHOW(.count = i + 1, .password = "a guess"));
		unsigned status = status_of(received(f));
		assert_true(status == 401 || status == 503);
		barred += status == 503;
	}
	assert_int_equal(barred, 4); /* one more than the bound was looked at */
	expect_text(f, "Retry-After: ");
	send_register(f, SHOW(.count = 100)); /* also the right one has to wait */
	expect_status(f, 503);
	assert_int_equal(binding_count(f), 0);
	advance(f, 2 * SIP_AUTH_FAILURE_SECONDS * USEC_PER_SEC);
	send_register(f, SHOW(.count = 101));
	expect_status(f, 200);
}

/* example.net stands for example.org, except for bob, who has a certificate for his AoR there. */
static void canonical(void *userdata, char aor[static SIP_AOR_OCTETS + 1]) {
	char *at = strrchr(aor, '@');

	(void)userdata;
	if (strcmp(at, "@example.net") == 0 && strncmp(aor, "bob@", 4) != 0)
		strcpy(at, "@example.org");
}

/* Under whatever name of the domain a phone registers, it is one user with one password. */
static void test_domains(void **state) {
	struct fixture *f = *state;

	f->gateway->events.canonical = canonical;
	send_text(f, REQUEST(f, .method = "REGISTER", .uri = "sip:example.net", .from = "<sip:alice@example.net>",
			     .to = "<sip:alice@example.net>", .fields = PHONE));
	expect_status(f, 401);
	expect_text(f, "WWW-Authenticate: Digest realm=\"example.org\", ");
	expect_no_text(f, "example.net\"");
	take_nonce(f);
	send_text(f, REQUEST(f, .method = "REGISTER", .uri = "sip:example.net", .from = "<sip:alice@example.net>",
			     .to = "<sip:alice@example.net>", .fields = SHOW(.uri = "sip:example.net")));
	expect_status(f, 200);
	assert_string_equal(f->questions[0].aor, "alice@example.org");
	send_register(f, SHOW(.count = 2));
	expect_status(f, 200);
	send_text(f, REQUEST(f, .method = "REGISTER", .to = "<sip:alice@example.net>", .fields = SHOW(.count = 3)));
	expect_status(f, 200);
	send_text(f,
		  REQUEST(f, .method = "REGISTER", .uri = "sip:EXAMPLE.NET", .fields = SHOW(.count = 4, .uri = "sip:example.net")));
	expect_status(f, 200);
	assert_int_equal(binding_count(f), 1);
	/* nobody else by that */
	send_text(f, REQUEST(f, .method = "REGISTER", .to = "<sip:bob@example.org>", .from = "<sip:alice@example.net>",
			     .fields = SHOW(.count = 5)));
	expect_status(f, 403);
	send_text(f, REQUEST(f, .method = "REGISTER", .uri = "sip:example.com", .to = "<sip:alice@example.net>",
			     .fields = SHOW(.count = 6)));
	expect_status(f, 404);
	assert_int_equal(binding_count(f), 1);
	/* callers find the same user */
	f->contacts[0] = (struct sip_redirect_contact){.uri = "sip:alice@192.0.2.7:5070"};
	f->contact_count = 1;
	send_text(f, REQUEST(f, .method = "INVITE", .uri = "sip:alice@example.net", .to = "<sip:alice@example.net>"));
	expect_status(f, 302);
	assert_string_equal(f->questions[f->asked - 1].aor, "alice@example.org");
	/* who is certified under the other name is somebody else */
	send_text(f, REQUEST(f, .method = "REGISTER", .uri = "sip:example.net", .from = "<sip:bob@example.net>",
			     .to = "<sip:bob@example.net>", .fields = PHONE));
	expect_status(f, 401);
	expect_text(f, "Digest realm=\"example.net\", ");
	send_text(f, REQUEST(f, .method = "INVITE", .uri = "sip:bob@example.net", .to = "<sip:bob@example.net>"));
	expect_status(f, 302);
	assert_string_equal(f->questions[f->asked - 1].aor, "bob@example.net");
}

/* Without passwords nothing changes for calls: look-ups are open to the networks that are allowed. */
static void test_invite_needs_none(void **state) {
	struct fixture *f = *state;

	f->contacts[0] = (struct sip_redirect_contact){.uri = "sip:bob@192.0.2.8"};
	f->contact_count = 1;
	send_invite(f, "sip:bob@example.org");
	expect_status(f, 302);
}

int main(void) {
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test_setup_teardown(test_challenge, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_good, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_variants, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_password, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_changed_password, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_replay, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_stale, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_nonce_bound, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_other_algorithm, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_third_party, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_guessing, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_domains, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_again, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_again_third_party, setup_auth, teardown),
		cmocka_unit_test_setup_teardown(test_invite_needs_none, setup_auth, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
