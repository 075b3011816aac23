/* SPDX-License-Identifier: BSD-2-Clause */
/* Phones behind other proxies and behind connections of theirs: RFC 3327, RFC 5626. */
#include "device.h"

#define OUTBOUND "Supported: path, outbound\r\n"

static void register_path(struct site *site, struct phone *edge, const char *fields, const char *status) {
	phone_send(edge, register_text(site, edge, "UDP", "path", fields, "<sip:bob@192.0.2.7:5070>"));
	phone_expect(edge, status);
}

/* RFC 3327 5.3: what is stored comes back; what a proxy did behind the phone's back is refused. */
static void test_path_rules(void **state) {
	struct site *site = *state;
	struct phone *edge = &site->carol;
	char fields[2048] = "Supported: path\r\nPath: ";

	register_path(site, edge, "Path: <sip:192.0.2.1;lr>\r\n", "SIP/2.0 420 Bad Extension");
	phone_has(edge, "\r\nUnsupported: path\r\n");
	register_path(site, edge, "Supported: timer\r\nPath: <sip:192.0.2.1;lr>\r\n", "SIP/2.0 420");
	register_path(site, edge, "Supported: path\r\nPath: <sip:192.0.2.1>\r\n", "SIP/2.0 400 Malformed Path");
	register_path(site, edge, "Supported: path\r\nPath: <tel:+49;lr>\r\n", "SIP/2.0 400");
	register_path(site, edge, "Supported: path\r\nPath: sip:192.0.2.1;lr\r\n", "SIP/2.0 400");
	register_path(site, edge, "Require: path, magic\r\n", "SIP/2.0 420");
	phone_has(edge, "Unsupported: magic\r\n");
	phone_lacks(edge, "Unsupported: path");
	assert_int_equal(binding_count(site->f), 0);
	register_path(site, edge,
		      "Require: path\r\nk: 100rel, PATH\r\nPath: <sip:127.0.0.1;lr>,<sip:192.0.2.2;lr;ob>\r\nPath: "
		      "<sip:192.0.2.3;lr>\r\n",
		      "SIP/2.0 200");
	phone_has(edge, "\r\nPath: <sip:127.0.0.1;lr>, <sip:192.0.2.2;lr;ob>, <sip:192.0.2.3;lr>\r\n");
	assert_int_equal(binding_count(site->f), 1);
	for (size_t i = 0; i < SIP_PATHS; i++)
		snprintf(fields + strlen(fields), sizeof(fields) - strlen(fields), "<sip:192.0.2.1;lr>,");
	snprintf(fields + strlen(fields), sizeof(fields) - strlen(fields), "<sip:192.0.2.1;lr>\r\n");
	register_path(site, edge, fields, "SIP/2.0 400 Path Too Long");
	snprintf(fields, sizeof(fields), "Supported: path\r\nPath: <sip:%0*d@192.0.2.1;lr>\r\n", SIP_PATH_OCTETS, 1);
	register_path(site, edge, fields, "SIP/2.0 400");
}

/* A redirector could tell nobody to take that path. */
static void test_path_redirector(void **state) {
	struct site *site = *state;

	register_path(site, &site->carol, "Require: path\r\nSupported: path\r\nPath: <sip:192.0.2.1;lr>\r\n", "SIP/2.0 420");
	phone_has(&site->carol, "Unsupported: path\r\n");
	register_path(site, &site->carol, "Supported: path\r\nPath: <sip:192.0.2.1;lr>\r\n", "SIP/2.0 200");
	phone_lacks(&site->carol, "Path:");
}

/* RFC 3327 5.5: the first proxy gets it, with the whole path as Route and the Contact as Request-URI. */
static void test_path_followed(void **state) {
	struct site *site = *state;
	struct phone *edge = &site->carol;
	char fields[256], route[256], invite[ANSWER_OCTETS];

	snprintf(fields, sizeof(fields), "Supported: path\r\nPath: <sip:127.0.0.1:%u;lr>\r\nPath: <sip:192.0.2.3;lr>\r\n",
		 edge->port);
	register_path(site, edge, fields, "SIP/2.0 200");
	call_uri(site, "sip:bob@example.org");
	phone_expect(edge, "INVITE sip:bob@192.0.2.7:5070 SIP/2.0\r\n");
	snprintf(route, sizeof(route), "\r\nRoute: <sip:127.0.0.1:%u;lr>, <sip:192.0.2.3;lr>\r\n", edge->port);
	phone_has(edge, route);
	phone_answer(edge, strcpy(invite, edge->message), "486 Busy Here", NULL);
	phone_expect(edge, "ACK ");
	phone_has(edge, route);
	alice_hears(site, "SIP/2.0 486");
}

/* Whoever registers cannot have us send to a host that he does not come from. */
static void test_path_elsewhere(void **state) {
	struct site *site = *state;

	register_path(site, &site->carol, "Supported: path\r\nPath: <sip:198.51.100.9;lr>\r\n", "SIP/2.0 200");
	call_uri(site, "sip:bob@example.org");
	phone_expect(&site->carol, "INVITE sip:bob@192.0.2.7:5070 SIP/2.0\r\n");
	phone_answer(&site->carol, site->carol.message, "486 Busy Here", NULL);
}

static void test_flow(void **state) {
	struct site *site = *state;

	register_at(site, &site->bob, "one", OUTBOUND, DEVICE_1 ";reg-id=1", "SIP/2.0 200");
	phone_has(&site->bob, "\r\nRequire: outbound\r\n");
	phone_has(&site->bob, DEVICE_1 ";reg-id=1\r\n");
	phone_lacks(&site->bob, "Flow-Timer");
	/* Bound to the flow: the Contact need not lead to it. */
	phone_send(&site->carol,
		   register_text(site, &site->carol, "UDP", "one", OUTBOUND, "<sip:bob@192.0.2.9>" DEVICE_1 ";reg-id=1"));
	phone_expect(&site->carol, "SIP/2.0 200");
	assert_int_equal(binding_count(site->f), 1); /* in the place of the other one */
	assert_int_equal(site->f->asked, 2);
	assert_int_not_equal(site->f->questions[1].expires_s, 0);
	call_uri(site, "sip:bob@example.org");
	rings(site, &site->carol);
	phone_expect_nothing(&site->bob);
	/* not asked for by the phone: bound all the same, and not said */
	register_at(site, &site->bob, "one", "", DEVICE_1 ";reg-id=1", "SIP/2.0 200");
	phone_lacks(&site->bob, "Require:");
	/* removed by its name, whatever the Contact */
	phone_send(&site->bob,
		   register_text(site, &site->bob, "UDP", "one", OUTBOUND, "<sip:x@192.0.2.1>" DEVICE_1 ";reg-id=1;expires=0"));
	phone_expect(&site->bob, "SIP/2.0 200");
	assert_int_equal(binding_count(site->f), 0);
}

/* The same Contact over two flows is bound twice; one of other phones is told apart by its URI. */
static void test_two_flows(void **state) {
	struct site *site = *state;

	register_at(site, &site->bob, "one", OUTBOUND, DEVICE_1 ";reg-id=1", "SIP/2.0 200");
	register_at(site, &site->bob, "two", OUTBOUND, DEVICE_1 ";reg-id=2", "SIP/2.0 200");
	assert_int_equal(binding_count(site->f), 2);
	register_at(site, &site->bob, "two", OUTBOUND, DEVICE_1 ";reg-id=2;expires=0", "SIP/2.0 200");
	assert_int_equal(binding_count(site->f), 1);
	register_at(site, &site->bob, "three", OUTBOUND, ";reg-id=3", "SIP/2.0 200"); /* no device: means nothing */
	phone_lacks(&site->bob, "Require:");
	phone_lacks(&site->bob, "reg-id=3");
	phone_send(&site->bob, register_text(site, &site->bob, "UDP", "four", "Expires: 0\r\n", "*"));
	phone_expect(&site->bob, "SIP/2.0 200");
	assert_int_equal(binding_count(site->f), 0);
	for (size_t i = 1; i < site->f->asked; i++)
		assert_int_equal(site->f->questions[i].answered, true);
}

static void test_flow_rules(void **state) {
	struct site *site = *state;
	struct phone *bob = &site->bob;
	const char *two = "<sip:bob@192.0.2.1>" DEVICE_1 ";reg-id=1, <sip:bob@192.0.2.2>" DEVICE_1 ";reg-id=2";
	const char *one = "<sip:bob@192.0.2.1>" DEVICE_1 ";reg-id=1";
	const char *behind = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n";
	char fields[512];

	phone_send(bob, register_text(site, bob, "UDP", "one", OUTBOUND, two));
	phone_expect(bob, "SIP/2.0 400 One Flow Per Registration");
	/* behind a proxy that does not keep flows */
	snprintf(fields, sizeof(fields), "%s" OUTBOUND, behind);
	phone_send(bob, register_text(site, bob, "UDP", "one", fields, one));
	phone_expect(bob, "SIP/2.0 439 First Hop Lacks Outbound Support");
	snprintf(fields, sizeof(fields), "%s" OUTBOUND "Path: <sip:127.0.0.1;lr>\r\n", behind);
	phone_send(bob, register_text(site, bob, "UDP", "one", fields, one));
	phone_expect(bob, "SIP/2.0 439");
	assert_int_equal(binding_count(site->f), 0);
	phone_send(bob, register_text(site, bob, "UDP", "one", behind, one));
	phone_expect(bob, "SIP/2.0 200");
	phone_lacks(bob, "reg-id");
	phone_lacks(bob, "Require:");
	snprintf(fields, sizeof(fields), "%s" OUTBOUND "Path: <sip:127.0.0.1;lr;ob>\r\n", behind);
	phone_send(bob, register_text(site, bob, "UDP", "two", fields, one));
	phone_expect(bob, "SIP/2.0 200");
	phone_has(bob, "Require: outbound\r\n");
	phone_has(bob, "reg-id=1");
}

/* RFC 5626 7: one flow of a device at a time; another one only when nothing came back on the first. */
static void test_flow_fails(void **state) {
	struct site *site = *state;
	struct phone *edge = &site->carol;
	char fields[256], invite[ANSWER_OCTETS];

	register_at(site, &site->bob, "one", OUTBOUND, DEVICE_1 ";reg-id=1", "SIP/2.0 200");
	snprintf(fields, sizeof(fields),
		 "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n" OUTBOUND "Path: <sip:127.0.0.1:%u;lr;ob>\r\n", edge->port);
	phone_send(edge, register_text(site, edge, "UDP", "two", fields, "<sip:bob@192.0.2.7>" DEVICE_1 ";reg-id=2"));
	phone_expect(edge, "SIP/2.0 200");
	call_uri(site, "sip:bob@example.org");
	phone_expect_nothing(&site->bob);
	rings(site, edge); /* what the device says counts */
	phone_expect_nothing(&site->bob);
	call_uri(site, "sip:bob@example.org");
	phone_expect(edge, "INVITE ");
	strcpy(invite, edge->message);
	phone_answer(edge, invite, "430 Flow Failed", NULL);
	phone_expect(edge, "ACK ");
	rings(site, &site->bob);
	/* and is not tried again */
	call_uri(site, "sip:bob@example.org");
	phone_expect_nothing(edge);
	rings(site, &site->bob);
	assert_int_equal(binding_count(site->f), 2);
	advance(site->f, (SIP_FLOW_SECONDS + 1) * USEC_PER_SEC);
	assert_int_equal(binding_count(site->f), 1);
	/* the last one fails: nobody hears of 430 */
	register_at(site, &site->bob, "one", OUTBOUND, DEVICE_1 ";reg-id=1;expires=0", "SIP/2.0 200");
	phone_send(edge, register_text(site, edge, "UDP", "two", fields, "<sip:bob@192.0.2.7>" DEVICE_1 ";reg-id=2"));
	phone_expect(edge, "SIP/2.0 200");
	call_uri(site, "sip:bob@example.org");
	phone_expect(edge, "INVITE ");
	strcpy(invite, edge->message);
	phone_answer(edge, invite, "430 Flow Failed", NULL);
	alice_hears(site, "SIP/2.0 480");
}

static void test_no_answer(void **state) {
	struct site *site = *state;

	register_at(site, &site->bob, "one", OUTBOUND, DEVICE_1 ";reg-id=1", "SIP/2.0 200");
	register_at(site, &site->carol, "two", OUTBOUND, DEVICE_1 ";reg-id=2", "SIP/2.0 200");
	call_uri(site, "sip:bob@example.org");
	phone_expect(&site->carol, "INVITE ");
	phone_expect_nothing(&site->bob);
	advance(site->f, 32 * USEC_PER_SEC + 1);
	rings(site, &site->bob);
	while (phone_next(&site->carol)[0]) /* repetitions */
		;
}

static void register_stream(struct site *site, int fd, const char *call_id) {
	stream_send(site->f, fd,
		    register_text(site, &site->bob, "TCP", call_id, OUTBOUND,
				  "<sip:bob@192.0.2.7;transport=tcp>" DEVICE_1 ";reg-id=1"));
	if (status_of(stream_next(site->f, fd)) != 200)
		fail_msg("got:\n%s", site->f->answer);
	expect_text(site->f, "\r\nRequire: outbound\r\n");
	expect_text(site->f, "\r\nFlow-Timer: 120\r\n");
}

/* A connection that breaks takes its flow with it; its phone has a while to come back. */
static void test_connection(void **state) {
	struct site *site = *state;
	struct fixture *f = site->f;

	f->resolve_status = 480;
	int fd = dial(f);
	register_stream(site, fd, "one");
	call_uri(site, "sip:bob@example.org");
	assert_int_equal(strncmp(stream_next(f, fd), "INVITE sip:bob@192.0.2.7;transport=tcp SIP/2.0\r\n", 48), 0);
	close(fd);
	pump(f);
	assert_int_equal(binding_count(f), 1);
	advance(f, 1);
	alice_hears(site, "SIP/2.0 503");
	call_uri(site, "sip:bob@example.org");
	alice_hears(site, "SIP/2.0 480");
	phone_send(&site->bob, register_text(site, &site->bob, "UDP", "query", "", NULL));
	phone_expect(&site->bob, "SIP/2.0 200");
	phone_lacks(&site->bob, "Contact:");
	/* it comes back in time */
	advance(f, (SIP_FLOW_SECONDS - 1) * USEC_PER_SEC);
	fd = dial(f);
	size_t asked = f->asked;
	register_stream(site, fd, "one");
	assert_int_equal(f->asked, asked + 1);
	advance(f, 60 * USEC_PER_SEC);
	assert_int_equal(binding_count(f), 1);
	asked = f->asked;
	/* and does not */
	close(fd);
	advance(f, (SIP_FLOW_SECONDS - 1) * USEC_PER_SEC);
	assert_int_equal(binding_count(f), 1);
	assert_int_equal(f->asked, asked);
	advance(f, 2 * USEC_PER_SEC);
	assert_int_equal(binding_count(f), 0);
	assert_int_equal(f->asked, asked + 1);
	assert_true(f->questions[asked].bind);
	assert_int_equal(f->questions[asked].expires_s, 0);
	assert_null(f->gateway->registrations);
}

/* It comes back while the overlay is being told that it is gone. */
static void test_connection_race(void **state) {
	struct site *site = *state;
	struct fixture *f = site->f;

	int fd = dial(f);
	register_stream(site, fd, "one");
	close(fd);
	pump(f);
	f->bind_status = 0;
	advance(f, (SIP_FLOW_SECONDS + 1) * USEC_PER_SEC);
	fd = dial(f);
	stream_send(
		f, fd,
		register_text(site, &site->bob, "TCP", "two", OUTBOUND, "<sip:bob@192.0.2.7;transport=tcp>" DEVICE_1 ";reg-id=1"));
	assert_int_equal(f->asked, 2);
	test_answer_bind(f, 1, 503);
	pump(f);
	assert_int_equal(f->asked, 3);
	test_answer_bind(f, 2, 200);
	assert_int_equal(status_of(stream_next(f, fd)), 200);
	assert_int_equal(binding_count(f), 1);
	f->bind_status = 200;
	advance(f, 100 * USEC_PER_SEC);
	assert_int_equal(binding_count(f), 1);
	close(fd);
}

/* After a restart flows over UDP are what they were. */
static void test_restore(void **state) {
	struct site *site = *state;
	const struct sip_binding_request request = {
		.aor = "bob@example.org",
		.contact = "sip:bob@192.0.2.7",
		.name = "reg-id=1;" INSTANCE_1,
		.expires_s = 600,
		.call_id = "one",
		.cseq = 1,
		.q = -1,
		.source = {.family = AF_INET, .octets = {127, 0, 0, 1}, .port = site->bob.port},
		.local = site->f->address,
		.transport = SIP_UDP,
		.instance = INSTANCE_1,
		.reg_id = 1,
		.device = 7,
	};

	assert_int_equal(sip_gateway_restore(site->f->gateway, &request), 0);
	assert_int_equal(sip_gateway_restore(site->f->gateway, &request), -EEXIST);
	call_uri(site, "sip:bob@example.org");
	rings(site, &site->bob);
	register_at(site, &site->bob, "one", OUTBOUND, DEVICE_1 ";reg-id=1", "SIP/2.0 200");
	assert_int_equal(binding_count(site->f), 1);
}

/* --- keep-alives over UDP: RFC 5626 8, RFC 5389; S-5.2-01 --- */

/* "2112a442" in octets. Returns how many. */
static size_t octets_of(const char *digits, uint8_t *to) {
	size_t count = 0;

	for (; *digits; digits += 2, count++)
		assert_int_equal(sscanf(digits, "%2hhx", &to[count]), 1);
	return count;
}

#define TRANSACTION "2112a442000102030405060708090a0b"

/* What comes back for it, in digits; "" for nothing. */
static const char *stun(struct site *site, const char *digits) {
	static char text[512];
	uint8_t octets[256];
	struct sockaddr_storage sockaddr;
	socklen_t sockaddr_length = address_to_sockaddr(&site->f->address, &sockaddr);

	size_t length = octets_of(digits, octets);
	assert_int_equal(sendto(site->bob.fd, octets, length, 0, (struct sockaddr *)&sockaddr, sockaddr_length), (ssize_t)length);
	pump(site->f);
	ssize_t got = recv(site->bob.fd, octets, sizeof(octets), MSG_DONTWAIT);
	text[0] = 0;
	for (ssize_t i = 0; i < got; i++)
		sprintf(text + 2 * i, "%02x", octets[i]);
	return text;
}

static void test_stun(void **state) {
	static const char *const silent[] = {
		"00110000" TRANSACTION,		   /* an indication */
		"01010000" TRANSACTION,		   /* an answer */
		"00010004" TRANSACTION,		   /* cut */
		"00010000" TRANSACTION "00",	   /* too long */
		"00010004" TRANSACTION "80220001", /* an attribute beyond the end */
		"00010000"
		"2112a443000102030405060708090a0b",
		"00010000"
		"2112a442",
		"00",
		"0001",
	};
	struct site *site = *state;
	char wanted[512];

	snprintf(wanted, sizeof(wanted), "0101000c" TRANSACTION "002000080001%04x5e12a443", site->bob.port ^ 0x2112);
	assert_string_equal(stun(site, "00010000" TRANSACTION), wanted);
	assert_string_equal(stun(site, "0001000c" TRANSACTION "8022000474657374"
				       "80000000"),
			    wanted);
	assert_string_equal(stun(site, "00010010" TRANSACTION "0003000400000006"
				       "7fff000161000000"),
			    "01110024" TRANSACTION "00090015"
			    "00000414"
			    "556e6b6e6f776e20417474726962757465"
			    "000000"
			    "000a0004"
			    "00037fff");
	for (size_t i = 0; i < ARRAY_LENGTH(silent); i++)
		assert_string_equal(stun(site, silent[i]), "");
	/* more than are named; the answer stays short */
	assert_int_equal(strlen(stun(site, "00010030" TRANSACTION "000300000003000000030000000300000003000000030000"
					   "000300000003000000030000000300000003000000030000")),
			 2 * 68);
	assert_int_equal(figures(site->f).keep_alives, 4);
	site->f->forbidden = true;
	assert_string_equal(stun(site, "00010000" TRANSACTION), "");
}

static int setup_ipv6(void **state) {
	struct site *site = calloc(1, sizeof(*site));
	void *fixture = NULL;

	assert_non_null(site);
	assert_int_equal(setup_mode(&fixture, "[::1]", SIP_MODE_PROXY), 0);
	site->f = fixture;
	phone_open(site->f, &site->alice, "alice");
	phone_open(site->f, &site->bob, "bob");
	phone_open(site->f, &site->carol, "carol");
	*state = site;
	return 0;
}

static void test_stun_ipv6(void **state) {
	struct site *site = *state;
	char wanted[512];

	snprintf(wanted, sizeof(wanted),
		 "01010018" TRANSACTION "002000140002%04x"
		 "2112a442000102030405060708090a0a",
		 site->bob.port ^ 0x2112);
	assert_string_equal(stun(site, "00010000" TRANSACTION), wanted);
}

/* What the gateway says of itself. */
static void test_supported(void **state) {
	struct site *site = *state;
	char text[1024];

	snprintf(text, sizeof(text),
		 "OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKo\r\nFrom: "
		 "<sip:a@example.org>;tag=1\r\n"
		 "To: <sip:example.org>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n\r\n",
		 site->alice.port);
	phone_send(&site->alice, text);
	phone_expect(&site->alice, "SIP/2.0 200");
	phone_has(&site->alice, "\r\nSupported: path, outbound, gruu\r\n");
}

static int setup_redirect(void **state) {
	return setup_site_mode(state, SIP_MODE_REDIRECT);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_path_rules, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_path_redirector, setup_redirect, teardown_site),
		cmocka_unit_test_setup_teardown(test_path_followed, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_path_elsewhere, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_flow, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_two_flows, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_flow_rules, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_flow_fails, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_no_answer, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_connection, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_connection_race, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_restore, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_stun, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_stun_ipv6, setup_ipv6, teardown_site),
		cmocka_unit_test_setup_teardown(test_supported, setup_site, teardown_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
