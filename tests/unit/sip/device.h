/* SPDX-License-Identifier: BSD-2-Clause */
/* Tests of the proxy with devices of bob's, and alice who calls. Include instead of harness.h. */
#pragma once

#include "phone.h"

#include <netinet/tcp.h>

#define INSTANCE_1 "urn:uuid:00000000-0000-1000-8000-aabbccddee01"
#define INSTANCE_2 "urn:uuid:00000000-0000-1000-8000-aabbccddee02"
#define DEVICE_1 ";+sip.instance=\"<" INSTANCE_1 ">\""
#define DEVICE_2 ";+sip.instance=\"<" INSTANCE_2 ">\""

struct site {
	struct fixture *f;
	struct phone alice, bob, carol;
	unsigned number, call;
};

HELPER int setup_site_mode(void **state, enum sip_mode mode) {
	struct site *site = calloc(1, sizeof(*site));
	void *fixture = NULL;

	assert_non_null(site);
	assert_int_equal(setup_mode(&fixture, "127.0.0.1", mode), 0);
	site->f = fixture;
	site->f->resolve_status = 404;
	site->f->gateway->gruu = strdup("T1VSUw~~");
	phone_open(site->f, &site->alice, "alice");
	phone_open(site->f, &site->bob, "bob");
	phone_open(site->f, &site->carol, "carol");
	*state = site;
	return 0;
}

HELPER int setup_site(void **state) {
	return setup_site_mode(state, SIP_MODE_PROXY);
}

HELPER int teardown_site(void **state) {
	struct site *site = *state;
	struct fixture *f = site->f;
	void *fixture = f;

	advance(f, 300 * USEC_PER_SEC);
	assert_int_equal(figures(f).clients, 0);
	assert_int_equal(figures(f).proxies, 0);
	phone_close(&site->alice);
	phone_close(&site->bob);
	phone_close(&site->carol);
	free(site);
	return teardown(&fixture);
}

/* A REGISTER of bob's that leaves from `phone`; `fields` are whole lines, `contact` is what stands in Contact. */
HELPER const char *register_text(struct site *site, const struct phone *phone, const char *transport, const char *call_id,
				 const char *fields, const char *contact) {
	static char text[4096];

	site->number++;
	snprintf(text, sizeof(text),
		 "REGISTER sip:example.org SIP/2.0\r\n"
		 "Via: SIP/2.0/%s 127.0.0.1:%u;branch=z9hG4bKreg%u;rport\r\n"
		 "From: <sip:bob@example.org>;tag=1\r\nTo: <sip:bob@example.org>\r\nCall-ID: %s\r\nCSeq: %u REGISTER\r\n"
		 "%s%s%s%sContent-Length: 0\r\n\r\n",
		 transport, phone->port, site->number, call_id, site->number, fields, contact ? "Contact: " : "",
		 contact ? contact : "", contact ? "\r\n" : "");
	return text;
}

HELPER void register_at(struct site *site, struct phone *phone, const char *call_id, const char *fields, const char *parameters,
			const char *status) {
	char contact[512];

	snprintf(contact, sizeof(contact), "<sip:bob@127.0.0.1:%u>%s", phone->port, parameters);
	phone_send(phone, register_text(site, phone, "UDP", call_id, fields, contact));
	phone_expect(phone, status);
}

/* alice calls; each call is another one. */
HELPER void call_uri(struct site *site, const char *uri) {
	char text[4096];

	site->call = ++site->number;
	snprintf(text, sizeof(text),
		 "INVITE %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKinv%u;rport\r\nMax-Forwards: 70\r\n"
		 "From: <sip:alice@example.org>;tag=a%u\r\nTo: <sip:bob@example.org>\r\nCall-ID: call%u\r\nCSeq: 1 INVITE\r\n"
		 "Contact: <sip:alice@127.0.0.1:%u>\r\nContent-Length: 0\r\n\r\n",
		 uri, site->alice.port, site->number, site->number, site->number, site->alice.port);
	phone_send(&site->alice, text);
}

/* What is new of the last call. */
HELPER void alice_hears(struct site *site, const char *start) {
	char call_id[32];

	snprintf(call_id, sizeof(call_id), "\r\nCall-ID: call%u\r\n", site->call);
	do
		phone_next(&site->alice);
	while (strncmp(site->alice.message, "SIP/2.0 100", 11) == 0 ||
	       (site->alice.message[0] && !strstr(site->alice.message, call_id)));
	if (strncmp(site->alice.message, start, strlen(start)) != 0)
		fail_msg("alice expected \"%s\", got:\n%s", start, site->alice.message);
}

/* The phone gets the INVITE, and refuses it. */
HELPER void rings(struct site *site, struct phone *phone) {
	char request[ANSWER_OCTETS];

	phone_expect(phone, "INVITE ");
	strcpy(request, phone->message);
	phone_answer(phone, request, "486 Busy Here", NULL);
	phone_expect(phone, "ACK ");
	alice_hears(site, "SIP/2.0 486");
}

/* What stands in quotes behind `name`, where that stands last, in the last message of a phone. */
HELPER void quoted(const struct phone *phone, const char *name, char *ret, size_t size) {
	const char *at = strstr(phone->message, name);

	for (const char *later = at; later; later = strstr(later + 1, name))
		at = later;
	if (!at)
		fail_msg("%s: no %s in:\n%s", phone->name, name, phone->message);
	at = strchr(at, '"') + 1;
	snprintf(ret, size, "%.*s", (int)strcspn(at, "\""), at);
}

/* --- a phone behind TCP --- */

HELPER int dial(struct fixture *f) {
	struct sockaddr_storage sockaddr;
	const int on = 1;
	socklen_t length = address_to_sockaddr(&f->address, &sockaddr);
	int fd = socket(f->address.family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sockaddr, length), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	pump(f);
	return fd;
}

HELPER const char *stream_next(struct fixture *f, int fd) {
	struct pollfd polled = {.fd = fd, .events = POLLIN};

	pump(f);
	assert_int_equal(poll(&polled, 1, WAIT_MS), 1);
	ssize_t length = recv(fd, f->answer, sizeof(f->answer) - 1, MSG_DONTWAIT);
	f->answer[length < 0 ? 0 : length] = 0;
	return f->answer;
}

HELPER void stream_send(struct fixture *f, int fd, const char *text) {
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	pump(f);
}
