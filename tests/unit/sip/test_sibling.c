/* SPDX-License-Identifier: BSD-2-Clause */
/* Gateways of other overlays that are known by their addresses: calls there, calls from there, and no circles. S-4.1-01 */
#include "unit/sip/phone.h"

struct pair {
	struct fixture *f;
	struct phone alice, sibling; /* which stands elsewhere */
	struct sip_sibling_settings settings;
};

static void sibling_open(struct fixture *f, struct phone *sibling) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1)};
	socklen_t length = sizeof(address);

	sibling->f = f;
	sibling->name = "sibling";
	sibling->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(sibling->fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(sibling->fd, (struct sockaddr *)&address, &length), 0);
	sibling->port = ntohs(address.sin_port);
}

static int open_gateway(struct pair *p, enum sip_mode mode, const struct sip_sibling_settings *siblings, size_t count,
			char reason[static 256]) {
	struct sip_gateway_settings settings = {
		.runtime = &p->f->runtime, .listen_count = 1, .mode = mode, .siblings = siblings, .sibling_count = count};

	sip_gateway_free(p->f->gateway);
	p->f->gateway = NULL;
	assert_int_equal(address_parse("127.0.0.1", 0, &settings.listen[0]), 0);
	struct sip_gateway_events events = fixture_events(p->f);
	int error = sip_gateway_new(&settings, &events, &p->f->gateway, reason, 256);
	if (error < 0)
		return error;
	assert_int_equal(sip_gateway_address(p->f->gateway, 0, &p->f->address), 0);
	sip_gateway_set_watch(p->f->gateway, on_watch, p->f);
	return 0;
}

static int setup_pair(void **state) {
	struct pair *p = calloc(1, sizeof(*p));
	void *fixture = NULL;
	char reason[256] = "";

	assert_non_null(p);
	assert_int_equal(setup_mode(&fixture, "127.0.0.1", SIP_MODE_PROXY), 0);
	p->f = fixture;
	p->f->resolve_status = 404;
	phone_open(p->f, &p->alice, "alice");
	sibling_open(p->f, &p->sibling);
	p->settings.domain = "far.example";
	assert_int_equal(address_parse("127.0.0.2", p->sibling.port, &p->settings.address), 0);
	if (open_gateway(p, SIP_MODE_PROXY, &p->settings, 1, reason) < 0)
		fail_msg("%s", reason);
	*state = p;
	return 0;
}

static int teardown_pair(void **state) {
	struct pair *p = *state;
	void *fixture = p->f;

	advance(p->f, 300 * USEC_PER_SEC);
	assert_int_equal(figures(p->f).clients, 0);
	assert_int_equal(figures(p->f).proxies, 0);
	phone_close(&p->alice);
	phone_close(&p->sibling);
	free(p);
	return teardown(&fixture);
}

static const char *text_of(const struct phone *phone, const char *method, const char *uri, const char *from, unsigned number,
			   const char *vias) {
	static char text[4096];

	snprintf(text, sizeof(text),
		 "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bK%s%u;rport\r\n%sMax-Forwards: 70\r\n"
		 "From: <%s>;tag=1\r\nTo: <sip:somebody@example.org>\r\nCall-ID: call%u\r\nCSeq: 1 %s\r\n"
		 "Contact: <sip:127.0.0.1:%u>\r\nContent-Length: 0\r\n\r\n",
		 method, uri, phone->port, *vias ? "back" : "", number, vias, from, number, method, phone->port);
	return text;
}

static void request(struct pair *p, struct phone *phone, const char *uri, const char *from) {
	phone_send(phone, text_of(phone, "MESSAGE", uri, from, ++p->f->number, ""));
}

/* Whatever the mode: nobody can be told to go there by a name that is in no DNS. */
static void test_calls_there(void **state) {
	static const enum sip_mode modes[] = {SIP_MODE_PROXY, SIP_MODE_REDIRECT, SIP_MODE_REDIRECT_INSIDE};
	struct pair *p = *state;
	char reason[256];

	for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
		assert_int_equal(open_gateway(p, modes[i], &p->settings, 1, reason), 0);
		size_t asked = p->f->asked;
		request(p, &p->alice, "sip:carol@FAR.example", "sip:alice@example.org");
		phone_expect(&p->sibling, "MESSAGE sip:carol@FAR.example SIP/2.0\r\n");
		phone_answer(&p->sibling, p->sibling.message, "200 OK", NULL);
		phone_expect(&p->alice, "SIP/2.0 200");
		request(p, &p->alice, "sip:carol@other.example", "sip:alice@example.org");
		phone_expect(&p->alice, "SIP/2.0 404");
		request(p, &p->alice, "sip:carol@sub.far.example", "sip:alice@example.org");
		phone_expect(&p->alice, "SIP/2.0 404");
		request(p, &p->alice, "sip:carol@far.example:5070", "sip:alice@example.org"); /* another server */
		phone_expect(&p->alice, "SIP/2.0 404");
		request(p, &p->alice, "sips:carol@far.example", "sip:alice@example.org"); /* not in the clear */
		assert_true(phone_next(&p->alice)[0] && strncmp(p->alice.message, "SIP/2.0 2", 9) != 0);
		phone_expect_nothing(&p->sibling);
		assert_int_equal(p->f->asked, asked); /* the overlay is not */
	}
}

/* It needs no permission, is asked for no password and not held up, and vouches for its own users only. */
static void test_calls_from_there(void **state) {
	struct pair *p = *state;
	char contact[64];

	p->f->forbidden = true;
	for (unsigned i = 0; i < 2 * SIP_OUTSIDE_PER_HOST; i++) {
		request(p, &p->sibling, "sip:nobody@example.org", "sip:carol@far.example");
		phone_expect(&p->sibling, "SIP/2.0 404");
	}
	snprintf(contact, sizeof(contact), "sip:bob@127.0.0.1:%u", p->alice.port);
	p->f->contacts[0] = (struct sip_redirect_contact){.uri = contact, .expires_s = 60};
	p->f->contact_count = 1;
	p->f->resolve_status = 302;
	request(p, &p->sibling, "sip:bob@example.org", "sip:carol@far.example");
	phone_expect(&p->alice, "MESSAGE sip:bob@127.0.0.1:");
	phone_answer(&p->alice, p->alice.message, "200 OK", NULL);
	phone_expect(&p->sibling, "SIP/2.0 200");
	request(p, &p->sibling, "sip:bob@example.org", "sip:alice@example.org");
	phone_expect(&p->sibling, "SIP/2.0 403 From Names A User Of This Overlay");
	size_t asked = p->f->asked;
	static const char *const elsewhere[] = {"sip:carol@far.example", "sip:carol@other.example", "sip:carol@192.0.2.7"};
	for (size_t i = 0; i < ARRAY_LENGTH(elsewhere); i++) { /* our users and nobody else */
		request(p, &p->sibling, elsewhere[i], "sip:carol@far.example");
		phone_expect(&p->sibling, "SIP/2.0 404");
		phone_expect_nothing(&p->sibling);
	}
	assert_int_equal(p->f->asked, asked);
	phone_send(&p->sibling, text_of(&p->sibling, "REGISTER", "sip:example.org", "sip:bob@example.org", ++p->f->number, ""));
	phone_expect(&p->sibling, "SIP/2.0 403");
	assert_int_equal(binding_count(p->f), 0);
}

/* Neither do strangers get there through us. */
static void test_strangers(void **state) {
	struct pair *p = *state;

	p->f->forbidden = true;
	request(p, &p->alice, "sip:carol@far.example", "sip:eve@third.example");
	phone_expect(&p->alice, "SIP/2.0 403");
	p->f->gateway->outside_calls = true;
	request(p, &p->alice, "sip:carol@far.example", "sip:eve@third.example");
	phone_expect(&p->alice, "SIP/2.0 404");
	phone_expect_nothing(&p->sibling);
}

/* A user of ours has his calls sent to the other overlay, where somebody has them sent back. */
static void test_circle(void **state) {
	struct pair *p = *state;
	char vias[1024];

	p->f->contacts[0] = (struct sip_redirect_contact){.uri = "sip:dave@far.example", .expires_s = 60};
	p->f->contact_count = 1;
	p->f->resolve_status = 302;
	phone_send(&p->sibling, text_of(&p->sibling, "INVITE", "sip:bob@example.org", "sip:carol@far.example", 1000, ""));
	phone_expect(&p->sibling, "INVITE sip:dave@far.example SIP/2.0\r\n");
	const char *first = strstr(p->sibling.message, "Via: "), *end = strstr(first, "\r\n");
	snprintf(vias, sizeof(vias), "%.*s\r\n", (int)(end - first), first);
	char received[ANSWER_OCTETS];
	strcpy(received, p->sibling.message);
	phone_send(&p->sibling, text_of(&p->sibling, "INVITE", "sip:bob@example.org", "sip:carol@far.example", 1000, vias));
	phone_expect(&p->sibling, "SIP/2.0 482 Loop Detected");
	phone_answer(&p->sibling, received, "482 Loop Detected", NULL);
	phone_expect(&p->sibling, "ACK sip:dave@far.example ");
	phone_expect(&p->sibling, "SIP/2.0 482");
	phone_expect_nothing(&p->sibling);
}

static void test_settings(void **state) {
	struct sip_sibling_settings many[SIP_SIBLINGS + 1];
	struct pair *p = *state;
	char reason[256] = "", domain[SIP_AOR_OCTETS + 2];

	for (size_t i = 0; i < ARRAY_LENGTH(many); i++)
		many[i] = p->settings;
	assert_int_equal(open_gateway(p, SIP_MODE_PROXY, many, ARRAY_LENGTH(many), reason), -E2BIG);
	assert_non_null(strstr(reason, "more than 8"));
	memset(domain, 'a', sizeof(domain) - 1);
	domain[sizeof(domain) - 1] = 0;
	many[0].domain = domain;
	assert_int_equal(open_gateway(p, SIP_MODE_PROXY, many, 1, reason), -ENAMETOOLONG);
	assert_int_equal(open_gateway(p, SIP_MODE_PROXY, many + 1, SIP_SIBLINGS, reason), 0);
}

#define PAIR_TEST(function) cmocka_unit_test_setup_teardown(function, setup_pair, teardown_pair)

int main(void) {
	const struct CMUnitTest tests[] = {
		PAIR_TEST(test_calls_there), PAIR_TEST(test_calls_from_there), PAIR_TEST(test_strangers),
		PAIR_TEST(test_circle),	     PAIR_TEST(test_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
