/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of outside domains: DNS answers and their cache (RFC 1035, 2308, 2782), where they lead (RFC 3263), and who may use it. */
#include "unit/sip/phone.h"

#include "sip/proxy.h"
#include "unit/sip/name_server.h"

struct outside {
	struct fixture *f;
	struct name_server server;
	struct phone alice, first, second;
	struct zone_record zone[16];
	char text[16][64];
};

static int setup_outside_mode(void **state, enum sip_mode mode) {
	struct outside *o = calloc(1, sizeof(*o));
	struct sip_gateway_settings settings = {.listen_count = 1, .mode = mode, .names = true};
	void *fixture = NULL;
	char reason[256] = "";

	assert_non_null(o);
	assert_int_equal(setup_mode(&fixture, "127.0.0.1", mode), 0);
	o->f = fixture;
	o->f->resolve_status = 404;
	name_server_open(o->f, &o->server);
	o->server.zone = o->zone;
	sip_gateway_free(o->f->gateway);
	settings.runtime = &o->f->runtime;
	settings.name_servers = o->server.text;
	assert_int_equal(address_parse("127.0.0.1", 0, &settings.listen[0]), 0);
	struct sip_gateway_events events = fixture_events(o->f);
	if (sip_gateway_new(&settings, &events, &o->f->gateway, reason, sizeof(reason)) < 0)
		fail_msg("%s", reason);
	assert_int_equal(sip_gateway_address(o->f->gateway, 0, &o->f->address), 0);
	sip_gateway_set_watch(o->f->gateway, on_watch, o->f);
	phone_open(o->f, &o->alice, "alice");
	phone_open(o->f, &o->first, "first");
	phone_open(o->f, &o->second, "second");
	*state = o;
	return 0;
}

static int setup_outside(void **state) {
	return setup_outside_mode(state, SIP_MODE_PROXY);
}

static int setup_outside_redirect(void **state) {
	return setup_outside_mode(state, SIP_MODE_REDIRECT);
}

static int teardown_outside(void **state) {
	struct outside *o = *state;
	void *fixture = o->f;

	advance(o->f, 300 * USEC_PER_SEC);
	assert_int_equal(figures(o->f).clients, 0);
	assert_int_equal(figures(o->f).proxies, 0);
	assert_int_equal(o->f->gateway->proxy_octets, 0);
	assert_int_equal(o->f->gateway->locate_count, 0);
	assert_null(o->f->gateway->acks);
	phone_close(&o->alice);
	phone_close(&o->first);
	phone_close(&o->second);
	close(o->server.fd);
	free(o);
	return teardown(&fixture);
}

/* Adds a record; `port` stands for %u in its data. */
static void zone_add(struct outside *o, const char *owner, enum dns_type type, const char *data, unsigned port) {
	size_t index = o->server.zone_count++;

	assert_true(index < ARRAY_LENGTH(o->zone));
	const char *mark = strstr(data, "%u");
	if (mark)
		snprintf(o->text[index], sizeof(o->text[index]), "%.*s%u%s", (int)(mark - data), data, port, mark + 2);
	else
		snprintf(o->text[index], sizeof(o->text[index]), "%s", data);
	o->zone[index] = (struct zone_record){owner, type, o->text[index]};
}

static void send_request(struct outside *o, const char *method, const char *uri, const char *fields) {
	char text[4096];

	snprintf(text, sizeof(text),
		 "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bK%u;rport\r\nMax-Forwards: 70\r\n"
		 "From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@far.example>\r\nCall-ID: call%u\r\nCSeq: 1 %s\r\n"
		 "Contact: <sip:alice@127.0.0.1:%u>\r\n%sContent-Length: 0\r\n\r\n",
		 method, uri, o->alice.port, o->f->number, o->f->number, method, o->alice.port, fields);
	o->f->number++;
	phone_send(&o->alice, text);
	name_server_run(&o->server);
}

static void message_answered(struct outside *o, const char *uri, const char *status) {
	send_request(o, "MESSAGE", uri, "");
	phone_expect(&o->alice, status);
}

/* --- answers of name servers --- */

static int parse(const struct name_server *server, const char *name, enum dns_type type, size_t cut, struct dns_answer **ret) {
	uint8_t octets[4096];
	struct writer w = writer_fixed(octets, sizeof(octets));

	write_answer(server, OCTETS("\1\2", 2), name, type, &w);
	assert_int_equal(writer_finish(&w), 0);
	assert_true(cut <= w.length);
	return dns_answer_parse(OCTETS(octets, w.length - cut), name, type, ret);
}

static void test_records(void **state) {
	static const struct zone_record zone[] = {
		{"far.example", DNS_NAPTR, "10 20 s SIP+d2t _sip._tcp.Far.Example"},
		{"far.example", DNS_A, "192.0.2.7"},
		{"far.example", DNS_A, "192.0.2.8"},
		{"far.example", DNS_AAAA, "[2001:db8::7]"},
		{"_sip._udp.far.example", DNS_SRV, "1 2 5070 one.far.example"},
		{"_sip._tcp.far.example", DNS_SRV, "0 0 0 ."},
	};
	const struct name_server server = {.zone = zone, .zone_count = ARRAY_LENGTH(zone), .ttl = 300};
	struct dns_answer *answer;

	(void)state;
	assert_int_equal(parse(&server, "far.example", DNS_NAPTR, 0, &answer), 0);
	assert_int_equal(answer->count, 1);
	assert_int_equal(answer->ttl_s, 300);
	assert_int_equal(answer->records[0].order, 10);
	assert_int_equal(answer->records[0].preference, 20);
	assert_string_equal(answer->records[0].flags, "S");
	assert_string_equal(answer->records[0].service, "SIP+D2T");
	assert_string_equal(answer->records[0].name, "_sip._tcp.far.example");
	assert_false(answer->records[0].regexp);
	free(answer);
	assert_int_equal(parse(&server, "far.example", DNS_A, 0, &answer), 0);
	assert_int_equal(answer->count, 2);
	assert_int_equal(answer->records[1].address.octets[3], 8);
	free(answer);
	assert_int_equal(parse(&server, "Far.Example", DNS_AAAA, 0, &answer), 0);
	assert_int_equal(answer->count, 1);
	assert_int_equal(answer->records[0].address.octets[15], 7);
	free(answer);
	assert_int_equal(parse(&server, "_sip._udp.far.example", DNS_SRV, 0, &answer), 0);
	assert_int_equal(answer->records[0].port, 5070);
	assert_string_equal(answer->records[0].name, "one.far.example");
	free(answer);
	assert_int_equal(parse(&server, "_sip._tcp.far.example", DNS_SRV, 0, &answer), 0);
	assert_string_equal(answer->records[0].name, "");
	free(answer);
	assert_int_equal(parse(&server, "other.example", DNS_A, 0, &answer), 0); /* NXDOMAIN */
	assert_int_equal(answer->count, 0);
	assert_int_equal(answer->ttl_s, 20); /* the least of the SOA record's own and what it says */
	free(answer);
}

static void test_aliases(void **state) {
	static const struct zone_record zone[] = {{"far.example", DNS_A, "192.0.2.7"}};
	const struct name_server server = {.zone = zone, .zone_count = 1, .ttl = 300, .alias = true};
	struct dns_answer *answer;

	(void)state;
	assert_int_equal(parse(&server, "far.example", DNS_A, 0, &answer), 0);
	assert_int_equal(answer->count, 1);
	assert_int_equal(answer->ttl_s, 7);
	free(answer);
}

static void test_malformed(void **state) {
	static const struct zone_record zone[] = {{"far.example", DNS_SRV, "1 2 5070 one.far.example"}};
	struct name_server server = {.zone = zone, .zone_count = 1};
	struct dns_answer *answer = NULL;
	uint8_t octets[512];

	(void)state;
	for (size_t cut = 1; cut < 60; cut++)
		assert_int_equal(parse(&server, "far.example", DNS_SRV, cut, &answer), -EBADMSG);
	struct writer w = writer_fixed(octets, sizeof(octets));
	write_answer(&server, OCTETS("\1\2", 2), "far.example", DNS_SRV, &w);
	size_t length = w.length;
	assert_int_equal(dns_answer_parse(OCTETS(octets, length), "other.example", DNS_SRV, &answer), -EBADMSG);
	assert_int_equal(dns_answer_parse(OCTETS(octets, length), "far.example", DNS_A, &answer), -EBADMSG);
	octets[2] &= 0x7f; /* a question */
	assert_int_equal(dns_answer_parse(OCTETS(octets, length), "far.example", DNS_SRV, &answer), -EBADMSG);
	octets[2] |= 0x82; /* cut off */
	assert_int_equal(dns_answer_parse(OCTETS(octets, length), "far.example", DNS_SRV, &answer), -EBADMSG);
	octets[2] &= 0xfd;
	octets[29] = 0xc0; /* the owner of the record: names that point to themselves, and beyond the message */
	octets[30] = 29;
	assert_int_equal(dns_answer_parse(OCTETS(octets, length), "far.example", DNS_SRV, &answer), -EBADMSG);
	octets[30] = 250;
	assert_int_equal(dns_answer_parse(OCTETS(octets, length), "far.example", DNS_SRV, &answer), -EBADMSG);
	server.fails = true;
	assert_int_equal(parse(&server, "far.example", DNS_SRV, 0, &answer), -EAGAIN);
	assert_null(answer);
	server.fails = false;
	/* every octet changed, one by one: never more than what is there */
	for (size_t i = 0; i < length; i++)
		for (unsigned value = 0; value < 256; value += 5) {
			w = writer_fixed(octets, sizeof(octets));
			write_answer(&server, OCTETS("\1\2", 2), "far.example", DNS_SRV, &w);
			octets[i] = (uint8_t)value;
			if (dns_answer_parse(OCTETS(octets, length), "far.example", DNS_SRV, &answer) == 0)
				free(answer);
		}
}

/* --- the order of SRV records --- */

static void test_srv_order(void **state) {
	struct fixture f = {.random = 1};
	struct runtime runtime = {.source = {.random = fixture_random, .userdata = &f}};
	unsigned first[3] = {0};

	(void)state;
	for (unsigned i = 0; i < 4000; i++) {
		struct dns_record records[] = {
			{.order = 20, .preference = 100, .port = 9},
			{.order = 10, .preference = 0, .port = 0},
			{.order = 10, .preference = 25, .port = 1},
			{.order = 10, .preference = 75, .port = 2},
		};
		sip_srv_order(&runtime, records, ARRAY_LENGTH(records));
		assert_int_equal(records[3].port, 9); /* another priority never comes before */
		first[records[0].port]++;
	}
	/* A weight of 0 has a very small chance; the others 1 to 3. */
	assert_in_range(first[0], 1, 200);
	assert_in_range(first[1], 700, 1300);
	assert_in_range(first[2], 2500, 3300);
}

/* --- calls to outside domains --- */

static void test_address(void **state) {
	struct outside *o = *state;
	char uri[64];

	zone_add(o, "far.example", DNS_A, "127.0.0.1", 0);
	snprintf(uri, sizeof(uri), "sip:bob@Far.Example:%u", o->first.port);
	send_request(o, "MESSAGE", uri, "");
	phone_expect(&o->first, "MESSAGE sip:bob@Far.Example:");
	assert_int_equal(o->server.asked, 1); /* a port leaves only the address to be asked for */
	phone_answer(&o->first, o->first.message, "200 OK", NULL);
	phone_expect(&o->alice, "SIP/2.0 200");
}

static void test_naptr(void **state) {
	struct outside *o = *state;

	zone_add(o, "far.example", DNS_NAPTR, "20 10 s SIP+D2T _sip._tcp.far.example", 0);
	zone_add(o, "far.example", DNS_NAPTR, "10 30 s SIP+D2U _sip._udp.servers.example", 0);
	zone_add(o, "far.example", DNS_NAPTR, "10 20 u E2U+sip nothing.example", 0);
	zone_add(o, "_sip._udp.servers.example", DNS_SRV, "1 1 %u one.servers.example", o->first.port);
	zone_add(o, "one.servers.example", DNS_A, "127.0.0.1", 0);
	send_request(o, "INVITE", "sip:bob@far.example", "");
	phone_expect(&o->first, "INVITE sip:bob@far.example SIP/2.0\r\n");
	assert_int_equal(o->server.asked, 3); /* NAPTR, SRV, A */
	phone_answer(&o->first, o->first.message, "486 Busy Here", NULL);
	phone_expect(&o->first, "ACK sip:bob@far.example");
	phone_expect(&o->alice, "SIP/2.0 486");
	send_request(o, "MESSAGE", "sip:eve@far.example", "");
	phone_expect(&o->first, "MESSAGE sip:eve@far.example SIP/2.0\r\n");
	assert_int_equal(o->server.asked, 3); /* known */
	phone_answer(&o->first, o->first.message, "404 Not Found", NULL);
	phone_expect(&o->alice, "SIP/2.0 404");
	advance(o->f, 301 * USEC_PER_SEC); /* not for longer than it says */
	send_request(o, "MESSAGE", "sip:bob@far.example", "");
	phone_expect(&o->first, "MESSAGE");
	assert_int_equal(o->server.asked, 6);
}

/* RFC 3263 4.3: an answer of 503, and no answer at all, lead to the next server; any other answer does not. */
static void test_fail_over(void **state) {
	struct outside *o = *state;

	zone_add(o, "_sip._udp.far.example", DNS_SRV, "1 1 %u one.far.example", o->first.port);
	zone_add(o, "_sip._udp.far.example", DNS_SRV, "2 1 %u one.far.example", o->second.port);
	zone_add(o, "one.far.example", DNS_A, "127.0.0.1", 0);
	send_request(o, "MESSAGE", "sip:bob@far.example;transport=udp", "");
	phone_expect(&o->first, "MESSAGE");
	phone_answer(&o->first, o->first.message, "503 Overload", "Retry-After: 5\r\n");
	phone_expect(&o->second, "MESSAGE");
	phone_expect_nothing(&o->alice);
	phone_answer(&o->second, o->second.message, "200 OK", NULL);
	phone_expect(&o->alice, "SIP/2.0 200");
	send_request(o, "INVITE", "sip:bob@far.example;transport=udp", "");
	phone_expect(&o->first, "INVITE");
	advance(o->f, 4100 * USEC_PER_MSEC); /* no answer */
	while (phone_next(&o->first)[0])
		;
	phone_expect(&o->second, "INVITE");
	phone_answer(&o->second, o->second.message, "180 Ringing", NULL);
	phone_expect(&o->alice, "SIP/2.0 100");
	phone_expect(&o->alice, "SIP/2.0 180");
	phone_answer(&o->second, o->second.message, "486 Busy Here", NULL);
	phone_expect(&o->second, "ACK");
	phone_expect(&o->alice, "SIP/2.0 486");
	send_request(o, "MESSAGE", "sip:bob@far.example;transport=udp", "");
	phone_expect(&o->first, "MESSAGE");
	phone_answer(&o->first, o->first.message, "500 Broken", NULL);
	phone_expect(&o->alice, "SIP/2.0 500");
	phone_expect_nothing(&o->second);
	/* all of them */
	send_request(o, "MESSAGE", "sip:bob@far.example;transport=udp", "");
	phone_expect(&o->first, "MESSAGE");
	phone_answer(&o->first, o->first.message, "503 Overload", NULL);
	phone_expect(&o->second, "MESSAGE");
	phone_answer(&o->second, o->second.message, "503 Overload", NULL);
	phone_expect(&o->alice, "SIP/2.0 500"); /* not our overload (RFC 3261 16.7 step 6) */
}

/* Without NAPTR and SRV the name is the host, at the usual port. */
static void test_no_services(void **state) {
	struct outside *o = *state;
	const struct address address = {.family = AF_INET, .octets = {192, 0, 2, 77}};

	zone_add(o, "far.example", DNS_A, "192.0.2.77", 0);
	send_request(o, "MESSAGE", "sip:bob@far.example", "");
	assert_int_equal(o->server.asked, 4); /* NAPTR, two SRV, A */
	assert_int_equal(figures(o->f).forks, sip_hop_possible(&address) ? 1 : 0);
}

static void test_no_such_domain(void **state) {
	struct outside *o = *state;

	message_answered(o, "sip:bob@nowhere.example", "SIP/2.0 404");
	size_t asked = o->server.asked;
	message_answered(o, "sip:bob@nowhere.example", "SIP/2.0 404");
	assert_int_equal(o->server.asked, asked); /* that there is none is known, too */
	advance(o->f, 21 * USEC_PER_SEC);
	message_answered(o, "sip:bob@nowhere.example", "SIP/2.0 404");
	assert_true(o->server.asked > asked);
	zone_add(o, "_sip._udp.closed.example", DNS_SRV, "0 0 0 .", 0);
	message_answered(o, "sip:bob@closed.example;transport=udp", "SIP/2.0 404"); /* says that it takes none */
	message_answered(o, "sip:bob@[2001:db8::99999]", "SIP/2.0 4");
	message_answered(o, "sip:bob@a_b..example", "SIP/2.0 404");
}

static void test_no_name_server(void **state) {
	struct outside *o = *state;

	o->server.fails = true;
	send_request(o, "MESSAGE", "sip:bob@far.example", "");
	advance(o->f, (2 + 3 * DNS_SECONDS) * USEC_PER_SEC);
	name_server_run(&o->server);
	phone_expect(&o->alice, "SIP/2.0 503");
	phone_has(&o->alice, "Retry-After: ");
}

/* It may lead to what listens on this host only, for those who are elsewhere. */
static void test_not_to_this_host(void **state) {
	struct outside *o = *state;
	char uri[64];

	zone_add(o, "far.example", DNS_A, "127.0.0.1", 0);
	snprintf(uri, sizeof(uri), "sip:bob@far.example:%u", o->f->address.port);
	message_answered(o, uri, "SIP/2.0 404"); /* ourselves */
	zone_add(o, "group.example", DNS_A, "224.0.1.75", 0);
	message_answered(o, "sip:bob@group.example:5060", "SIP/2.0 404");
	zone_add(o, "zero.example", DNS_A, "0.0.0.0", 0);
	message_answered(o, "sip:bob@zero.example:5060", "SIP/2.0 404");
}

/* No open relay: only phones of the site get anywhere outside, whatever the mode. */
static void test_strangers(void **state) {
	struct outside *o = *state;

	zone_add(o, "far.example", DNS_A, "127.0.0.1", 0);
	o->f->forbidden = true;
	message_answered(o, "sip:bob@far.example", "SIP/2.0 403");
	o->f->gateway->outside_calls = true;
	message_answered(o, "sip:bob@far.example", "SIP/2.0 404");
	message_answered(o, "sip:bob@far.example:5060", "SIP/2.0 404");
	send_request(o, "MESSAGE", "sip:bob@example.org", "Route: <sip:far.example;lr>\r\n");
	phone_expect(&o->alice, "SIP/2.0 403");
	assert_int_equal(o->server.asked, 0);
	assert_int_equal(figures(o->f).forks, 0);
}

/* A call that is given up while the name is looked up. */
static void test_cancel(void **state) {
	struct outside *o = *state;
	char text[1024];

	snprintf(text, sizeof(text),
		 "INVITE sip:bob@far.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKc;rport\r\n"
		 "From: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@far.example>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
		 "Contact: <sip:alice@127.0.0.1>\r\nContent-Length: 0\r\n\r\n",
		 o->alice.port);
	phone_send(&o->alice, text); /* its questions are not answered yet */
	memcpy(text, "CANCEL", 6);
	memcpy(strstr(text, "1 INVITE"), "1 CANCEL", 8);
	phone_send(&o->alice, text);
	phone_expect(&o->alice, "SIP/2.0 200");
	phone_expect(&o->alice, "SIP/2.0 487");
	name_server_run(&o->server);
	assert_int_equal(figures(o->f).forks, 0);
}

/* The other side may record its route by name: what follows in the dialog is looked up, the ACK included. */
static void test_route_by_name(void **state) {
	struct outside *o = *state;
	char text[4096], uri[64], fields[2048], routes[2048];

	zone_add(o, "far.example", DNS_A, "127.0.0.1", 0);
	snprintf(uri, sizeof(uri), "sip:bob@far.example:%u", o->first.port);
	send_request(o, "INVITE", uri, "");
	phone_expect(&o->first, "INVITE");
	snprintf(fields, sizeof(fields), "Record-Route: <sip:far.example:%u;lr>\r\n", o->second.port);
	/* theirs stands above ours */
	char *request = strdup(o->first.message);
	char *ours = strstr(request, "Record-Route:");
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(ours - request), request, fields, ours);
	phone_answer(&o->first, text, "200 OK", NULL);
	free(request);
	phone_expect(&o->alice, "SIP/2.0 200");
	route_lines(routes, sizeof(routes), o->alice.message, true);
	snprintf(text, sizeof(text),
		 "ACK sip:bob@127.0.0.1:%u SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKack;rport\r\n%s"
		 "From: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@far.example>;tag=first\r\nCall-ID: call0\r\n"
		 "CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
		 o->first.port, o->alice.port, routes);
	phone_send(&o->alice, text);
	name_server_run(&o->server);
	phone_expect(&o->second, "ACK sip:bob@127.0.0.1:");
	phone_has(&o->second, "\r\nRoute: <sip:far.example:");
	memcpy(text, "BYE", 3);
	memcpy(strstr(text, "1 ACK"), "2 BYE", 5);
	phone_send(&o->alice, text);
	name_server_run(&o->server);
	phone_expect(&o->second, "BYE sip:bob@127.0.0.1:");
	phone_answer(&o->second, o->second.message, "200 OK", NULL);
	phone_expect(&o->alice, "SIP/2.0 200");
}

/* A redirector places what it cannot redirect (RFC 3261 8.3), for phones of the site. */
static void test_redirector(void **state) {
	struct outside *o = *state;
	char uri[64];

	zone_add(o, "far.example", DNS_A, "127.0.0.1", 0);
	snprintf(uri, sizeof(uri), "sip:bob@far.example:%u", o->first.port);
	send_request(o, "MESSAGE", uri, "");
	phone_expect(&o->first, "MESSAGE");
	phone_answer(&o->first, o->first.message, "200 OK", NULL);
	phone_expect(&o->alice, "SIP/2.0 200");
	o->f->forbidden = true;
	message_answered(o, uri, "SIP/2.0 403");
	phone_expect_nothing(&o->first);
}

/* --- calls from outside --- */

static void send_option(struct outside *o, const char *user) {
	char text[64];

	snprintf(text, sizeof(text), "sip:%s@example.org", user);
	send_request(o, "MESSAGE", text, "");
}

/* Users of the overlay can be called by anyone then, and nothing else be asked for. */
static void test_redirect_strangers(void **state) {
	struct outside *o = *state;

	o->f->resolve_status = 302;
	o->f->contacts[0] = (struct sip_redirect_contact){.uri = "sip:bob@192.0.2.7", .expires_s = 60};
	o->f->contact_count = 1;
	o->f->forbidden = true;
	send_option(o, "bob");
	phone_expect(&o->alice, "SIP/2.0 403");
	o->f->gateway->outside_calls = true;
	send_option(o, "bob");
	phone_expect(&o->alice, "SIP/2.0 302");
	phone_has(&o->alice, "Contact: <sip:bob@192.0.2.7>");
	message_answered(o, "sip:bob@far.example", "SIP/2.0 404");
	send_request(o, "REGISTER", "sip:example.org", "");
	phone_expect(&o->alice, "SIP/2.0 403");
	assert_int_equal(o->server.asked, 0);
}

static void test_strangers_rate(void **state) {
	struct outside *o = *state;
	struct address other = {.family = AF_INET6, .octets = {0x20, 1, 0xd, 0xb8}};
	unsigned served = 0, refused = 0;

	o->f->forbidden = true;
	o->f->gateway->outside_calls = true;
	for (unsigned i = 0; i < SIP_OUTSIDE_PER_HOST + 5; i++) {
		char text[32];
		snprintf(text, sizeof(text), "user%u", i);
		phone_expect_nothing(&o->alice);
		/* all at one time */
		char request[512];
		snprintf(request, sizeof(request),
			 "MESSAGE sip:%s@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKrate%u;rport\r\n"
			 "From: <sip:x@far.example>;tag=1\r\nTo: <sip:bob@example.org>\r\nCall-ID: rate%u\r\nCSeq: 1 MESSAGE\r\n"
			 "Content-Length: 0\r\n\r\n",
			 text, o->alice.port, i, i);
		phone_send(&o->alice, request);
		phone_next(&o->alice);
		served += strncmp(o->alice.message, "SIP/2.0 404", 11) == 0;
		refused += strncmp(o->alice.message, "SIP/2.0 503", 11) == 0;
	}
	assert_int_equal(served, SIP_OUTSIDE_PER_HOST);
	assert_int_equal(refused, 5);
	assert_int_equal(figures(o->f).outside_refused, 5);
	advance(o->f, USEC_PER_SEC / SIP_OUTSIDE_PER_HOST);
	send_option(o, "bob");
	phone_expect(&o->alice, "SIP/2.0 404"); /* one more, by and by */
	/* another host has a share of its own, whichever addresses of its network it takes */
	for (unsigned i = 0; i < SIP_OUTSIDE_PER_HOST; i++) {
		other.octets[15] = (uint8_t)i;
		assert_true(sip_outside_may(o->f->gateway, &other));
	}
	assert_false(sip_outside_may(o->f->gateway, &other));
	/* all together */
	unsigned total = 0;
	for (unsigned i = 0; i < 2 * SIP_OUTSIDE_HOSTS; i++) {
		other.octets[4] = (uint8_t)(i >> 8);
		other.octets[5] = (uint8_t)i;
		other.octets[6] = 1;
		total += sip_outside_may(o->f->gateway, &other);
	}
	assert_in_range(total, SIP_OUTSIDE_PER_SECOND / 2, SIP_OUTSIDE_PER_SECOND);
	assert_int_equal(o->f->gateway->stranger_count, SIP_OUTSIDE_HOSTS);
	advance(o->f, USEC_PER_SEC);
	/* phones of the site are not counted */
	o->f->forbidden = false;
	for (unsigned i = 0; i < 2 * SIP_OUTSIDE_PER_HOST; i++) {
		send_option(o, "bob");
		phone_expect(&o->alice, "SIP/2.0 404");
	}
}

/* --- bounds --- */

static void on_dns(void *userdata, const struct dns_answer *answer) {
	(void)answer;
	(*(unsigned *)userdata)++;
}

static void test_bounds(void **state) {
	struct outside *o = *state;
	struct dns *dns = o->f->gateway->dns;
	struct dns_question *question;
	unsigned answered = 0;
	char name[64];

	for (unsigned i = 0; i < DNS_QUERIES; i++) {
		snprintf(name, sizeof(name), "host%u.example", i);
		assert_int_equal(dns_ask(dns, name, DNS_A, on_dns, &answered, &question), 0);
	}
	assert_int_equal(dns_ask(dns, "one-more.example", DNS_A, on_dns, &answered, &question), -ENOBUFS);
	assert_int_equal(dns_ask(dns, "host0.example", DNS_A, on_dns, &answered, &question), 0); /* asked already */
	question = dns_question_free(question);
	assert_int_equal(answered, 0);
	advance(o->f, (DNS_SECONDS + 1) * USEC_PER_SEC);
	assert_int_equal(answered, DNS_QUERIES); /* without answers, in time */
	assert_int_equal(dns_figures(dns).failures, DNS_QUERIES);
	name_server_run(&o->server);
	assert_int_equal(dns_ask(dns, "", DNS_A, on_dns, &answered, &question), -EINVAL);
	assert_int_equal(dns_ask(dns, "a..b", DNS_A, on_dns, &answered, &question), -EINVAL);
	assert_int_equal(dns_ask(dns, "a b", DNS_A, on_dns, &answered, &question), -EINVAL);
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	assert_int_equal(dns_ask(dns, name, DNS_A, on_dns, &answered, &question), 0); /* a label of 63 */
	question = dns_question_free(question);
	o->f->gateway->locate_count += SIP_LOCATES;
	message_answered(o, "sip:bob@far.example", "SIP/2.0 503");
	o->f->gateway->locate_count -= SIP_LOCATES;
	name_server_run(&o->server);
}

/* Everything is released in the midst of look-ups. */
static void test_end(void **state) {
	struct outside *o = *state;
	char text[512];

	snprintf(text, sizeof(text),
		 "MESSAGE sip:bob@far.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKe;rport\r\n"
		 "From: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@far.example>\r\nCall-ID: e\r\nCSeq: 1 MESSAGE\r\n"
		 "Content-Length: 0\r\n\r\n",
		 o->alice.port);
	phone_send(&o->alice, text);
	assert_int_equal(o->f->gateway->locate_count, 1);
	sip_gateway_free(o->f->gateway);
	struct sip_gateway_settings settings = {.runtime = &o->f->runtime, .listen_count = 0};
	struct sip_gateway_events events = fixture_events(o->f);
	char reason[64];
	assert_int_equal(sip_gateway_new(&settings, &events, &o->f->gateway, reason, sizeof(reason)), 0);
}

#define OUTSIDE_TEST(function) cmocka_unit_test_setup_teardown(function, setup_outside, teardown_outside)

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_aliases),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_srv_order),
		OUTSIDE_TEST(test_address),
		OUTSIDE_TEST(test_naptr),
		OUTSIDE_TEST(test_fail_over),
		OUTSIDE_TEST(test_no_services),
		OUTSIDE_TEST(test_no_such_domain),
		OUTSIDE_TEST(test_no_name_server),
		OUTSIDE_TEST(test_not_to_this_host),
		OUTSIDE_TEST(test_strangers),
		OUTSIDE_TEST(test_cancel),
		OUTSIDE_TEST(test_route_by_name),
		cmocka_unit_test_setup_teardown(test_redirector, setup_outside_redirect, teardown_outside),
		cmocka_unit_test_setup_teardown(test_redirect_strangers, setup_outside_redirect, teardown_outside),
		OUTSIDE_TEST(test_strangers_rate),
		OUTSIDE_TEST(test_bounds),
		OUTSIDE_TEST(test_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
