/* SPDX-License-Identifier: BSD-2-Clause */
/* URIs of devices: RFC 5627, RFC 7904 6 (S-6-01, S-6-02); and callers who are to use the gateway (RFC 3261 21.3.5). */
#include "device.h"

#include <netinet/in.h>

#define GRUU "Supported: gruu\r\n"

/* Both of the last 200 that a phone got. */
static void gruus(const struct phone *phone, char *public, char *temporary) {
	quoted(phone, "pub-gruu=", public, 256);
	quoted(phone, "temp-gruu=", temporary, 256);
}

static void test_given(void **state) {
	struct site *site = *state;
	char public[256], temporary[256], other[256];

	register_at(site, &site->bob, "one", "", DEVICE_1, "SIP/2.0 200"); /* did not ask */
	phone_has(&site->bob, DEVICE_1 "\r\n");
	phone_lacks(&site->bob, "gruu");
	register_at(site, &site->bob, "one", GRUU, "", "SIP/2.0 200"); /* has no name */
	phone_lacks(&site->bob, "gruu");
	register_at(site, &site->bob, "one", GRUU, ";+sip.instance=\"<noname>\"", "SIP/2.0 200");
	phone_lacks(&site->bob, "gruu");
	register_at(site, &site->bob, "one", GRUU, DEVICE_1 ";pub-gruu=\"sip:eve@example.org;gr=x\"", "SIP/2.0 200");
	gruus(&site->bob, public, temporary);
	assert_string_equal(public, "sip:bob@example.org;gr=" INSTANCE_1);
	assert_int_equal(strncmp(temporary, "sip:tgruu.", 10), 0);
	assert_string_equal(strchr(temporary, '@'), "@example.org;gr=T1VSUw~~"); /* S-6-01 */
	assert_null(strstr(temporary, "bob"));					 /* S-6-02 */
	phone_lacks(&site->bob, "Supported:");
	phone_lacks(&site->bob, "Require:");
	/* another one each time, and nothing in common */
	register_at(site, &site->bob, "one", GRUU, DEVICE_1, "SIP/2.0 200");
	gruus(&site->bob, public, other);
	for (size_t i = 0; i < 48; i += 16)
		assert_int_not_equal(memcmp(temporary + 10 + i, other + 10 + i, 16), 0);
	/* what had to be escaped in a URI */
	register_at(site, &site->carol, "two", GRUU, ";+sip.instance=\"<urn:x:a;b?%c>\"", "SIP/2.0 200");
	phone_has(&site->carol, "pub-gruu=\"sip:bob@example.org;gr=urn:x:a%3Bb%3F%25c\"");
}

/* The one device rings, and no other. */
static void test_public(void **state) {
	struct site *site = *state;

	register_at(site, &site->bob, "one", GRUU, DEVICE_1, "SIP/2.0 200");
	register_at(site, &site->carol, "two", GRUU, DEVICE_2, "SIP/2.0 200");
	call_uri(site, "sip:bob@example.org;gr=" INSTANCE_1);
	phone_expect_nothing(&site->carol);
	rings(site, &site->bob);
	call_uri(site, "sip:bob@example.org;gr=URN:UUID:00000000-0000-1000-8000-AABBCCDDEE02");
	phone_expect_nothing(&site->bob);
	rings(site, &site->carol);
	site->f->resolve_status = 480;
	call_uri(site, "sip:bob@example.org;gr=urn:uuid:00000000-0000-1000-8000-aabbccddee03");
	alice_hears(site, "SIP/2.0 480"); /* RFC 5627 6.1 */
	call_uri(site, "sip:bob@example.org;gr");
	alice_hears(site, "SIP/2.0 404");
	phone_expect_nothing(&site->bob);
	phone_expect_nothing(&site->carol);
	/* a device that came back with another Contact rings there */
	register_at(site, &site->alice, "three", GRUU, DEVICE_1, "SIP/2.0 200");
	call_uri(site, "sip:bob@example.org;gr=" INSTANCE_1);
	phone_expect_nothing(&site->bob);
	phone_expect(&site->alice, "INVITE ");
	phone_answer(&site->alice, strdupa(site->alice.message), "486 Busy Here", NULL);
	phone_expect(&site->alice, "ACK ");
	alice_hears(site, "SIP/2.0 486");
}

static void test_temporary(void **state) {
	struct site *site = *state;
	char public[256], first[256], second[256], forged[256];

	register_at(site, &site->bob, "one", GRUU, DEVICE_1, "SIP/2.0 200");
	gruus(&site->bob, public, first);
	register_at(site, &site->carol, "two", GRUU, DEVICE_2, "SIP/2.0 200");
	register_at(site, &site->bob, "one", GRUU, DEVICE_1, "SIP/2.0 200");
	quoted(&site->bob, "temp-gruu=", second, sizeof(second));
	call_uri(site, first);
	rings(site, &site->bob);
	call_uri(site, second);
	rings(site, &site->bob);
	phone_expect_nothing(&site->carol);
	assert_int_equal(site->f->asked, 3); /* nobody else is asked */
	/* made up, changed, cut */
	strcpy(forged, first);
	forged[12] = forged[12] == '0' ? '1' : '0';
	call_uri(site, forged);
	alice_hears(site, "SIP/2.0 404");
	call_uri(site, "sip:tgruu.00@example.org;gr=T1VSUw~~");
	alice_hears(site, "SIP/2.0 404");
	call_uri(site, "sip:tgruu.@example.org;gr");
	alice_hears(site, "SIP/2.0 404");
	assert_int_equal(site->f->asked, 3);
	/* RFC 5627 5.1: another Call-ID ends those that were given before */
	register_at(site, &site->bob, "three", GRUU, DEVICE_1, "SIP/2.0 200");
	quoted(&site->bob, "temp-gruu=", second, sizeof(second));
	call_uri(site, first);
	alice_hears(site, "SIP/2.0 404");
	call_uri(site, second);
	rings(site, &site->bob);
	/* 5.3: so does the end of the last registration */
	register_at(site, &site->bob, "three", GRUU, DEVICE_1 ";expires=0", "SIP/2.0 200");
	call_uri(site, second);
	alice_hears(site, "SIP/2.0 404");
	register_at(site, &site->bob, "three", GRUU, DEVICE_1, "SIP/2.0 200");
	call_uri(site, second);
	alice_hears(site, "SIP/2.0 404");
	assert_int_equal(HASH_COUNT(site->f->gateway->devices), 2);
}

/* Two flows of a device have its GRUUs in common. */
static void test_flows(void **state) {
	struct site *site = *state;
	char first[256], second[256];

	register_at(site, &site->bob, "one", "Supported: gruu, outbound\r\n", DEVICE_1 ";reg-id=1", "SIP/2.0 200");
	quoted(&site->bob, "temp-gruu=", first, sizeof(first));
	register_at(site, &site->carol, "two", "Supported: gruu, outbound\r\n", DEVICE_1 ";reg-id=2", "SIP/2.0 200");
	quoted(&site->carol, "temp-gruu=", second, sizeof(second));
	call_uri(site, first);
	rings(site, &site->carol); /* the one renewed last */
	phone_expect_nothing(&site->bob);
	register_at(site, &site->carol, "two", "", DEVICE_1 ";reg-id=2;expires=0", "SIP/2.0 200");
	call_uri(site, second);
	rings(site, &site->bob);
	/* a new Call-ID for one of them ends all */
	register_at(site, &site->bob, "three", "Supported: gruu, outbound\r\n", DEVICE_1 ";reg-id=1", "SIP/2.0 200");
	call_uri(site, second);
	alice_hears(site, "SIP/2.0 404");
}

static struct sip_binding_request request_of_device(struct site *site, uint64_t number) {
	return (struct sip_binding_request){
		.aor = "bob@example.org",
		.contact = "sip:bob@127.0.0.1",
		.expires_s = 600,
		.call_id = "one",
		.cseq = 1,
		.q = -1,
		.source = {.family = AF_INET, .octets = {127, 0, 0, 1}, .port = site->bob.port},
		.local = site->f->address,
		.instance = INSTANCE_1,
		.device = number,
	};
}

/* After a restart, with the number that was written down and the key that stays the same. */
static void test_restored(void **state) {
	struct site *site = *state;
	struct fixture *f = site->f;
	char temporary[256], contact[64];

	register_at(site, &site->bob, "one", GRUU, DEVICE_1, "SIP/2.0 200");
	quoted(&site->bob, "temp-gruu=", temporary, sizeof(temporary));
	uint64_t number = f->gateway->devices->number;
	register_at(site, &site->bob, "one", GRUU, DEVICE_1 ";expires=0", "SIP/2.0 200");
	call_uri(site, temporary);
	alice_hears(site, "SIP/2.0 404");
	struct sip_binding_request request = request_of_device(site, number);
	snprintf(contact, sizeof(contact), "sip:bob@127.0.0.1:%u", site->bob.port);
	request.contact = contact;
	assert_int_equal(sip_gateway_restore(f->gateway, &request), 0);
	call_uri(site, temporary);
	rings(site, &site->bob);
	request = request_of_device(site, number - 1); /* another flow of it, written down before */
	assert_int_equal(sip_gateway_restore(f->gateway, &request), 0);
	assert_int_equal(f->gateway->devices->number, number);
	assert_int_equal(f->gateway->devices->bindings, 2);
}

/* The gateway of another site, with its GRUUs: a socket of carol's. */
static void give_gateway(struct site *site) {
	struct fixture *f = site->f;

	f->contacts[0] = (struct sip_redirect_contact){
		.uri = "sip:bob@192.0.2.99",
		.expires_s = 60,
		.gateway = {.family = AF_INET, .octets = {127, 0, 0, 1}, .port = site->carol.port},
	};
	f->contact_count = 1;
	f->resolve_status = 302;
}

static void test_other_site(void **state) {
	struct site *site = *state;
	const struct question *question = site->f->questions;

	give_gateway(site);
	call_uri(site, "sip:bob@example.org;gr=" INSTANCE_1);
	phone_expect(&site->carol, "INVITE sip:bob@example.org;gr=" INSTANCE_1 " SIP/2.0\r\n");
	assert_string_equal(question[0].aor, "bob@example.org");
	phone_answer(&site->carol, strdupa(site->carol.message), "486 Busy Here", NULL);
	/* a list says where to ask (S-4.1-01, S-6-01) */
	call_uri(site, "sip:tgruu.0123@example.org;gr=VEhFSVJT");
	assert_string_equal(question[1].aor, "tgruu.0123@example.org;gr=VEhFSVJT");
	while (phone_next(&site->carol)[0] && strncmp(site->carol.message, "INVITE ", 7) != 0)
		;
	phone_has(&site->carol, "INVITE sip:tgruu.0123@example.org;gr=VEhFSVJT SIP/2.0\r\n");
	phone_answer(&site->carol, strdupa(site->carol.message), "486 Busy Here", NULL);
	call_uri(site, "sip:bob@example.org;gr=VEhFSVJT");
	assert_string_equal(question[2].aor, "bob@example.org;gr=VEhFSVJT");
	while (phone_next(&site->carol)[0] && strncmp(site->carol.message, "INVITE ", 7) != 0)
		;
	phone_has(&site->carol, "INVITE sip:bob@example.org;gr=VEhFSVJT SIP/2.0\r\n");
	phone_answer(&site->carol, strdupa(site->carol.message), "486 Busy Here", NULL);
	while (phone_next(&site->carol)[0])
		;
	/* bounded */
	char uri[SIP_GRUU_OCTETS + 64];
	snprintf(uri, sizeof(uri), "sip:bob@example.org;gr=%0*d", SIP_GRUU_OCTETS + 1, 1);
	call_uri(site, uri);
	alice_hears(site, "SIP/2.0 404");
	assert_int_equal(site->f->asked, 3);
}

/* --- malicious retargeting (RFC 7904 8.2.2) --- */

static size_t invites_at(struct phone *phone) {
	size_t count = 0;

	while (phone_next(phone)[0])
		count += strncmp(phone->message, "INVITE ", 7) == 0;
	return count;
}

/* bob has all calls for him sent to carol, who does not answer. */
static void test_retargeted(void **state) {
	struct site *site = *state;
	struct fixture *f = site->f;
	char contact[64];

	snprintf(contact, sizeof(contact), "sip:carol@127.0.0.1:%u", site->carol.port);
	f->contacts[0] = (struct sip_redirect_contact){.uri = contact, .expires_s = 60};
	f->contact_count = 1;
	f->resolve_status = 302;
	for (unsigned i = 0; i < SIP_RETARGET_WAITING + 4; i++)
		call_uri(site, "sip:bob@example.org");
	alice_hears(site, "SIP/2.0 480");
	assert_int_equal(invites_at(&site->carol), SIP_RETARGET_WAITING);
	assert_int_equal(figures(f).retargets_refused, 4);
	advance(f, 33 * USEC_PER_SEC); /* nobody answers these */
	invites_at(&site->carol);
	call_uri(site, "sip:bob@example.org");
	alice_hears(site, "SIP/2.0 480");
	assert_int_equal(invites_at(&site->carol), 0);
	/* whoever is known to be there is called all the same */
	register_at(site, &site->bob, "one", "", "", "SIP/2.0 200");
	call_uri(site, "sip:bob@example.org");
	rings(site, &site->bob);
	register_at(site, &site->bob, "one", "", ";expires=0", "SIP/2.0 200");
	give_gateway(site);
	call_uri(site, "sip:bob@example.org");
	rings(site, &site->carol);
	/* later it may be there again, and when it answers, all is well */
	f->contacts[0] = (struct sip_redirect_contact){.uri = contact, .expires_s = 60};
	advance(f, (SIP_RETARGET_SECONDS + 1) * USEC_PER_SEC);
	while (phone_next(&site->alice)[0]) /* answers that she has not acknowledged */
		;
	for (unsigned i = 0; i < SIP_RETARGET_WAITING + 4; i++) {
		invites_at(&site->carol);
		call_uri(site, "sip:bob@example.org");
		phone_expect(&site->carol, "INVITE ");
		phone_answer(&site->carol, strdupa(site->carol.message), "486 Busy Here", NULL);
		alice_hears(site, "SIP/2.0 486");
	}
	assert_int_equal(figures(f).retargets_refused, 6);
}

/* --- redirectors --- */

static int setup_inside(void **state) {
	return setup_site_mode(state, SIP_MODE_REDIRECT_INSIDE);
}

static int setup_redirect(void **state) {
	return setup_site_mode(state, SIP_MODE_REDIRECT);
}

static void give_local(struct site *site, const char *contact) {
	site->f->contacts[site->f->contact_count++] = (struct sip_redirect_contact){.uri = contact, .expires_s = 60};
	site->f->resolve_status = 302;
}

/* A pure redirector gives none: from elsewhere they would lead nowhere. */
static void test_redirector(void **state) {
	struct site *site = *state;

	register_at(site, &site->bob, "one", GRUU, DEVICE_1, "SIP/2.0 200");
	phone_lacks(&site->bob, "gruu");
	/* but knows those of others */
	give_gateway(site);
	call_uri(site, "sip:bob@example.org;gr=VEhFSVJT");
	alice_hears(site, "SIP/2.0 302");
	phone_has(&site->alice, "\r\nContact: <sip:bob@192.0.2.99;gr=VEhFSVJT>;expires=60\r\n");
}

static void test_redirected(void **state) {
	struct site *site = *state;
	char first[64], second[64], temporary[256];

	register_at(site, &site->bob, "one", GRUU, DEVICE_1, "SIP/2.0 200");
	quoted(&site->bob, "temp-gruu=", temporary, sizeof(temporary));
	register_at(site, &site->carol, "two", GRUU, DEVICE_2, "SIP/2.0 200");
	snprintf(first, sizeof(first), "sip:bob@127.0.0.1:%u", site->bob.port);
	snprintf(second, sizeof(second), "sip:bob@127.0.0.1:%u", site->carol.port);
	give_local(site, first);
	give_local(site, second);
	call_uri(site, "sip:bob@example.org;gr=" INSTANCE_2);
	alice_hears(site, "SIP/2.0 302");
	phone_has(&site->alice, second);
	phone_lacks(&site->alice, first);
	call_uri(site, temporary);
	alice_hears(site, "SIP/2.0 302");
	phone_has(&site->alice, first);
	phone_lacks(&site->alice, second);
	call_uri(site, "sip:bob@example.org");
	alice_hears(site, "SIP/2.0 300");
	call_uri(site, "sip:bob@example.org;gr=urn:x:other");
	alice_hears(site, "SIP/2.0 480");
}

/* Who is behind a flow cannot be called directly; the Contact of the 305 works as Route and as Request-URI. */
static void test_use_proxy(void **state) {
	struct site *site = *state;
	char uri[128], text[2048];

	phone_send(&site->bob, register_text(site, &site->bob, "UDP", "one", "Supported: outbound\r\n",
					     "<sip:bob@192.0.2.7>" DEVICE_1 ";reg-id=1"));
	phone_expect(&site->bob, "SIP/2.0 200");
	give_local(site, "sip:bob@192.0.2.7");
	call_uri(site, "sip:bob@example.org");
	alice_hears(site, "SIP/2.0 305 Use Proxy");
	snprintf(uri, sizeof(uri), "sip:bob@127.0.0.1:%u;lr;use-proxy", site->f->address.port);
	snprintf(text, sizeof(text), "\r\nContact: <%s>\r\n", uri);
	phone_has(&site->alice, text);
	phone_expect_nothing(&site->bob);
	call_uri(site, uri);
	rings(site, &site->bob);
	site->call = ++site->number;
	snprintf(text, sizeof(text),
		 "INVITE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKinv%u;rport\r\n"
		 "Route: <%s>\r\nMax-Forwards: 70\r\n"
		 "From: <sip:alice@example.org>;tag=a\r\nTo: <sip:bob@example.org>\r\nCall-ID: call%u\r\nCSeq: 1 INVITE\r\n"
		 "Contact: <sip:alice@127.0.0.1:%u>\r\nContent-Length: 0\r\n\r\n",
		 site->alice.port, site->number, uri, site->call, site->alice.port);
	phone_send(&site->alice, text);
	rings(site, &site->bob);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_given, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_public, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_temporary, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_flows, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_restored, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_other_site, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_retargeted, setup_site, teardown_site),
		cmocka_unit_test_setup_teardown(test_redirector, setup_redirect, teardown_site),
		cmocka_unit_test_setup_teardown(test_redirected, setup_inside, teardown_site),
		cmocka_unit_test_setup_teardown(test_use_proxy, setup_inside, teardown_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
