/* SPDX-License-Identifier: BSD-2-Clause */
/* A gateway on virtual time and real loopback sockets, a node that answers as told, and a phone. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "sip/gateway.h"
#include "sip/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELPER static __attribute__((unused))

enum { WATCHES = 64, QUESTIONS = 64, ANSWER_OCTETS = 65536, WAIT_MS = 5000 /* real time, before a missing answer fails a test */ };

struct question {
	bool bind;
	char aor[256], contact[SIP_CONTACT_OCTETS + 1];
	unsigned expires_s;
	uint32_t cseq;
	bool kept;
	sip_register_done bound;
	sip_resolve_answer resolved;
	void *userdata;
	bool answered;
};

struct fixture {
	struct runtime runtime;
	uint64_t random;
	struct sip_gateway *gateway;
	struct address address;
	struct {
		int fd;
		unsigned events;
	} watches[WATCHES];
	int phone; /* UDP */
	uint16_t phone_port;
	struct question questions[QUESTIONS];
	size_t asked;
	unsigned bind_status;	 /* 0: questions wait for test_answer() */
	unsigned resolve_status; /* 0: the same */
	struct sip_redirect_contact contacts[64];
	size_t contact_count;
	unsigned retry_after_s;
	bool forbidden; /* no source is allowed */
	void *userdata; /* of a test */
	struct timer answer_timer;
	unsigned number;	    /* of the next request */
	char answer[ANSWER_OCTETS]; /* the last one received */
};

/* --- the node --- */

HELPER void test_answer_bind(struct fixture *f, size_t index, unsigned status) {
	assert_true(index < f->asked && f->questions[index].bind && !f->questions[index].answered);
	f->questions[index].answered = true;
	f->questions[index].bound(f->questions[index].userdata, status, status == 200 ? NULL : "As Told");
}

HELPER void test_answer_resolve(struct fixture *f, size_t index, unsigned status) {
	assert_true(index < f->asked && !f->questions[index].bind && !f->questions[index].answered);
	f->questions[index].answered = true;
	f->questions[index].resolved(f->questions[index].userdata, status, f->contacts, f->contact_count, f->retry_after_s);
}

HELPER void answer_timer_fire(struct timer *timer, void *userdata) {
	struct fixture *f = userdata;

	(void)timer;
	for (size_t i = 0; i < f->asked; i++) {
		if (f->questions[i].answered)
			continue;
		if (f->questions[i].bind && f->bind_status != 0)
			test_answer_bind(f, i, f->bind_status);
		else if (!f->questions[i].bind && f->resolve_status != 0)
			test_answer_resolve(f, i, f->resolve_status);
	}
}

HELPER struct question *ask(struct fixture *f, const char *aor) {
	for (size_t i = 0; f->asked == QUESTIONS && i < QUESTIONS; i++) /* answered ones may be forgotten */
		if (f->questions[i].answered)
			memmove(&f->questions[i], &f->questions[i + 1], (--f->asked - i) * sizeof(f->questions[0]));
	assert_true(f->asked < QUESTIONS);
	struct question *question = &f->questions[f->asked++];
	*question = (struct question){0};
	snprintf(question->aor, sizeof(question->aor), "%s", aor);
	timer_arm_after(&f->runtime, &f->answer_timer, 0);
	return question;
}

HELPER void on_bind(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata) {
	struct question *question = ask(userdata, request->aor);

	question->bind = true;
	snprintf(question->contact, sizeof(question->contact), "%s", request->contact);
	question->expires_s = request->expires_s;
	question->cseq = request->cseq;
	question->kept = request->kept;
	question->bound = done;
	question->userdata = done_userdata;
}

HELPER void on_resolve(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata) {
	struct question *question = ask(userdata, aor);

	question->resolved = done;
	question->userdata = done_userdata;
}

HELPER bool on_domain(void *userdata, const char *domain) {
	(void)userdata;
	return strcmp(domain, "example.org") == 0 || strcmp(domain, "example.net") == 0;
}

HELPER bool on_user(void *userdata, const char *aor) {
	(void)userdata;
	return strcmp(aor, "alice@example.org") == 0 || strcmp(aor, "bob@example.org") == 0 || strcmp(aor, "a b") == 0;
}

HELPER bool on_allowed(void *userdata, const struct address *source) {
	const struct fixture *f = userdata;

	assert_true(source->family != 0);
	return !f->forbidden;
}

/* --- the driver --- */

HELPER void on_watch(void *userdata, int fd, unsigned events) {
	struct fixture *f = userdata;
	size_t free_slot = WATCHES;

	for (size_t i = 0; i < WATCHES; i++) {
		if (f->watches[i].fd == fd) {
			free_slot = i;
			break;
		}
		if (f->watches[i].fd < 0 && free_slot == WATCHES)
			free_slot = i;
	}
	assert_true(free_slot < WATCHES);
	f->watches[free_slot].fd = events == 0 ? -1 : fd;
	f->watches[free_slot].events = events;
}

/* Lets the gateway handle all that is ready or due. True when something was. */
HELPER bool pump_once(struct fixture *f) {
	struct pollfd polled[WATCHES];
	bool busy = runtime_next(&f->runtime) <= f->runtime.now_us;

	for (size_t i = 0; i < WATCHES; i++)
		polled[i] = (struct pollfd){.fd = f->watches[i].fd, .events = (short)(f->watches[i].events & (EPOLLIN | EPOLLOUT))};
	if (poll(polled, WATCHES, 0) > 0)
		for (size_t i = 0; i < WATCHES; i++)
			if (polled[i].revents != 0) {
				busy = true;
				sip_gateway_ready(f->gateway, polled[i].fd, (unsigned)polled[i].revents);
			}
	runtime_fire(&f->runtime);
	return busy;
}

HELPER void pump(struct fixture *f) {
	while (pump_once(f))
		;
}

/* Virtual time passes, timer by timer. */
HELPER void advance(struct fixture *f, uint64_t delay_us) {
	uint64_t end_us = f->runtime.now_us + delay_us;

	pump(f);
	while (runtime_next(&f->runtime) <= end_us) {
		f->runtime.now_us = runtime_next(&f->runtime);
		runtime_fire(&f->runtime);
		pump(f);
	}
	f->runtime.now_us = end_us;
	pump(f);
}

HELPER uint64_t fixture_realtime(void *userdata) {
	const struct fixture *f = userdata;

	return UINT64_C(1289690940000) + f->runtime.now_us / 1000; /* Sat, 13 Nov 2010 23:29:00 GMT */
}

HELPER uint64_t fixture_next_random(struct fixture *f) {
	f->random = f->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return f->random >> 33;
}

HELPER void fixture_random(void *userdata, void *data, size_t length) {
	uint8_t *octets = data;

	for (size_t i = 0; i < length; i++)
		octets[i] = (uint8_t)fixture_next_random(userdata);
}

/* Set before setup(): phones need a password then. */
static __attribute__((unused)) bool (*fixture_secret)(void *userdata, const char *username, const char *realm,
						      enum sip_digest algorithm, char ret[static SIP_DIGEST_SIZE]);
static __attribute__((unused)) bool (*fixture_registrar)(void *userdata, const char *user, const char *aor);

HELPER struct sip_gateway_events fixture_events(struct fixture *f) {
	return (struct sip_gateway_events){
		.userdata = f,
		.bind = on_bind,
		.resolve = on_resolve,
		.domain = on_domain,
		.user = on_user,
		.allowed = on_allowed,
		.secret = fixture_secret,
		.registrar = fixture_registrar,
	};
}

HELPER int fixture_phone(struct fixture *f, int family, uint16_t *ret_port) {
	struct address any = {.family = (uint16_t)family};
	struct sockaddr_storage sockaddr;

	any.octets[0] = family == AF_INET ? 127 : 0;
	any.octets[family == AF_INET ? 3 : 15] = 1;
	socklen_t length = address_to_sockaddr(&any, &sockaddr);
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sockaddr, length), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sockaddr, &length), 0);
	*ret_port = address_of_sockaddr((struct sockaddr *)&sockaddr).port;
	(void)f;
	return fd;
}

HELPER int setup_mode(void **state, const char *listen, enum sip_mode mode) {
	struct fixture *f = calloc(1, sizeof(*f));
	char reason[256] = "";

	assert_non_null(f);
	f->random = 7904;
	f->runtime.now_us = 1000000;
	f->runtime.source = (struct runtime_source){.realtime_ms = fixture_realtime, .random = fixture_random, .userdata = f};
	f->bind_status = 200;
	f->resolve_status = 302;
	for (size_t i = 0; i < WATCHES; i++)
		f->watches[i].fd = -1;
	timer_init(&f->answer_timer, answer_timer_fire, f);
	struct sip_gateway_settings settings = {.runtime = &f->runtime, .listen_count = 1, .mode = mode};
	assert_int_equal(address_parse(listen, 0, &settings.listen[0]), 0);
	struct sip_gateway_events events = fixture_events(f);
	if (sip_gateway_new(&settings, &events, &f->gateway, reason, sizeof(reason)) < 0)
		fail_msg("%s", reason);
	assert_int_equal(sip_gateway_address(f->gateway, 0, &f->address), 0);
	assert_int_equal(sip_gateway_address(f->gateway, 1, &f->address), -ENOENT);
	assert_int_not_equal(f->address.port, 0);
	sip_gateway_set_watch(f->gateway, on_watch, f);
	f->phone = fixture_phone(f, f->address.family, &f->phone_port);
	*state = f;
	return 0;
}

HELPER int setup_at(void **state, const char *listen) {
	return setup_mode(state, listen, SIP_MODE_REDIRECT);
}

HELPER int setup(void **state) {
	return setup_at(state, "127.0.0.1");
}

/* Also shows that answers after the gateway's end release what they must. */
HELPER int teardown(void **state) {
	struct fixture *f = *state;

	sip_gateway_free(f->gateway);
	timer_disarm(&f->runtime, &f->answer_timer);
	assert_null(f->runtime.timers);
	for (size_t i = 0; i < WATCHES; i++)
		assert_int_equal(f->watches[i].fd, -1);
	for (size_t i = 0; i < f->asked; i++)
		if (!f->questions[i].answered) {
			if (f->questions[i].bind)
				test_answer_bind(f, i, 200);
			else
				test_answer_resolve(f, i, 302);
		}
	close(f->phone);
	free(f);
	return 0;
}

HELPER struct sip_figures figures(const struct fixture *f) {
	struct sip_figures figures;

	sip_gateway_figures(f->gateway, &figures);
	return figures;
}

/* --- the phone --- */

HELPER void send_octets(struct fixture *f, const void *data, size_t length) {
	struct sockaddr_storage sockaddr;
	socklen_t sockaddr_length = address_to_sockaddr(&f->address, &sockaddr);

	assert_int_equal(sendto(f->phone, data, length, 0, (struct sockaddr *)&sockaddr, sockaddr_length), (ssize_t)length);
}

HELPER void send_text(struct fixture *f, const char *text) {
	send_octets(f, text, strlen(text));
	pump(f);
}

/* The next datagram, or "" when there is none now. */
HELPER const char *received(struct fixture *f) {
	pump(f);
	ssize_t length = recv(f->phone, f->answer, sizeof(f->answer) - 1, MSG_DONTWAIT);
	f->answer[length < 0 ? 0 : length] = 0;
	return f->answer;
}

HELPER void drain(struct fixture *f) {
	while (received(f)[0])
		;
}

HELPER unsigned status_of(const char *answer) {
	unsigned status = 0;

	return sscanf(answer, "SIP/2.0 %u ", &status) == 1 ? status : 0;
}

HELPER void expect_status(struct fixture *f, unsigned status) {
	const char *answer = received(f);

	if (status_of(answer) != status)
		fail_msg("expected %u, got:\n%s", status, answer);
}

HELPER void expect_nothing(struct fixture *f) {
	assert_string_equal(received(f), "");
}

HELPER void expect_text(const struct fixture *f, const char *text) {
	if (!strstr(f->answer, text))
		fail_msg("no \"%s\" in:\n%s", text, f->answer);
}

HELPER void expect_no_text(const struct fixture *f, const char *text) {
	if (strstr(f->answer, text))
		fail_msg("\"%s\" in:\n%s", text, f->answer);
}

HELPER size_t count_text(const char *in, const char *text) {
	size_t count = 0;

	for (; (in = strstr(in, text)); in += strlen(text))
		count++;
	return count;
}

struct phone_request {
	const char *method, *uri, *from, *to, *fields, *call_id, *branch;
	unsigned cseq;
	const char *transport, *body;
};

/* Fills in what is not given; returns a static text. */
HELPER const char *request_text(struct fixture *f, struct phone_request request) {
	static char text[ANSWER_OCTETS];
	char branch[64], call_id[64];

	f->number++;
	snprintf(branch, sizeof(branch), "z9hG4bK%u", f->number);
	snprintf(call_id, sizeof(call_id), "call%u", f->number);
	snprintf(text, sizeof(text),
		 "%s %s SIP/2.0\r\n"
		 "Via: SIP/2.0/%s phone.example.org:%u;rport;branch=%s\r\n"
		 "Max-Forwards: 70\r\n"
		 "From: %s;tag=phone\r\n"
		 "To: %s\r\n"
		 "Call-ID: %s\r\n"
		 "CSeq: %u %s\r\n"
		 "%s"
		 "Content-Length: %zu\r\n"
		 "\r\n%s",
		 request.method, request.uri ? request.uri : "sip:example.org", request.transport ? request.transport : "UDP",
		 f->phone_port, request.branch ? request.branch : branch, request.from ? request.from : "<sip:alice@example.org>",
		 request.to ? request.to : "<sip:alice@example.org>", request.call_id ? request.call_id : call_id,
		 request.cseq ? request.cseq : 1, request.method, request.fields ? request.fields : "",
		 request.body ? strlen(request.body) : 0, request.body ? request.body : "");
	return text;
}

#define REQUEST(f, ...) request_text(f, (struct phone_request){__VA_ARGS__})

/* Sends a REGISTER of alice with these fields. */
HELPER void send_register(struct fixture *f, const char *fields) {
	send_text(f, REQUEST(f, .method = "REGISTER", .fields = fields));
}

HELPER void send_invite(struct fixture *f, const char *uri) {
	send_text(f, REQUEST(f, .method = "INVITE", .uri = uri, .to = "<sip:bob@example.org>"));
}

/* How many Contacts the last answer has. */
HELPER size_t contact_count(const struct fixture *f) {
	return count_text(f->answer, "\r\nContact: ");
}

HELPER void count_view(void *userdata, const struct sip_binding_view *view) {
	size_t *count = userdata;

	assert_non_null(view->aor);
	assert_non_null(view->contact);
	assert_non_null(view->source);
	++*count;
}

HELPER size_t binding_count(const struct fixture *f) {
	size_t count = 0;

	sip_gateway_bindings(f->gateway, count_view, &count);
	assert_int_equal(count, figures(f).bindings);
	return count;
}
