/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SIP gateway without sockets. Input: one octet of settings, then datagrams with 0xff between them; with the lowest bit of the
 * settings they are one stream. The node answers with what the other bits say; bit 5 makes the gateway a proxy, whose requests get
 * lost.
 */
#include "base/cleanup.h"
#include "sip/internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                                                                      \
	do {                                                                                                                       \
		if (!(condition))                                                                                                  \
			abort();                                                                                                   \
	} while (0)

enum { DATAGRAMS = 64 };

struct question {
	struct fuzz *fuzz;
	sip_register_done bound;
	sip_resolve_answer resolved;
	void *userdata;
	struct timer timer;
};

struct fuzz {
	struct runtime runtime;
	uint8_t settings;
	uint64_t random;
	char contact[SIP_CONTACT_OCTETS + 1]; /* the last one bound, given to callers */
	size_t waiting;
};

static uint64_t fuzz_realtime(void *userdata) {
	const struct fuzz *fuzz = userdata;

	return fuzz->runtime.now_us / 1000;
}

static void fuzz_random(void *userdata, void *data, size_t length) {
	struct fuzz *fuzz = userdata;
	uint8_t *octets = data;

	for (size_t i = 0; i < length; i++)
		octets[i] = (uint8_t)(fuzz->random = fuzz->random * 1103515245 + 12345);
}

static void answer(struct timer *timer, void *userdata) {
	static const unsigned statuses[] = {200, 403, 503, 500}, resolved[] = {302, 404, 480, 503};
	struct question *question = userdata;
	struct fuzz *fuzz = question->fuzz;
	const struct sip_redirect_contact contacts[] = {{.uri = fuzz->contact, .expires_s = 7}, {.uri = "alice@192.0.2.1"}};

	(void)timer;
	fuzz->waiting--;
	if (question->bound)
		question->bound(question->userdata, statuses[fuzz->settings >> 1 & 3], "reason");
	else
		question->resolved(question->userdata, resolved[fuzz->settings >> 3 & 3], contacts, ARRAY_LENGTH(contacts), 1);
	free(question);
}

static void ask(struct fuzz *fuzz, sip_register_done bound, sip_resolve_answer resolved, void *userdata) {
	struct question *question = calloc(1, sizeof(*question));

	FUZZ_CHECK(question);
	*question = (struct question){.fuzz = fuzz, .bound = bound, .resolved = resolved, .userdata = userdata};
	timer_init(&question->timer, answer, question);
	fuzz->waiting++;
	/* Some settings let the gateway's own time run out first. */
	timer_arm_after(&fuzz->runtime, &question->timer,
			fuzz->settings & 0x80	? 40 * USEC_PER_SEC
			: fuzz->settings & 0x40 ? USEC_PER_SEC
						: 0);
}

static void check_aor(const char *aor) {
	FUZZ_CHECK(strlen(aor) <= SIP_AOR_OCTETS && strchr(aor, '@') && strchr(aor, '@') == strrchr(aor, '@'));
	for (const char *c = aor; *c; c++)
		FUZZ_CHECK(*c > ' ' && *c < 0x7f);
}

static void on_bind(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata) {
	struct fuzz *fuzz = userdata;

	check_aor(request->aor);
	FUZZ_CHECK(uri_text_valid(request->contact));
	FUZZ_CHECK(request->expires_s <= 86400);
	strcpy(fuzz->contact, request->contact);
	ask(fuzz, done, NULL, done_userdata);
}

static void on_resolve(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata) {
	check_aor(aor);
	ask(userdata, NULL, done, done_userdata);
}

static bool on_domain(void *userdata, const char *domain) {
	(void)userdata;
	FUZZ_CHECK(strlen(domain) <= SIP_AOR_OCTETS);
	return strncmp(domain, "example.", 8) == 0;
}

static bool on_user(void *userdata, const char *aor) {
	(void)userdata;
	return aor[0] != 'x';
}

static bool on_allowed(void *userdata, const struct address *source) {
	(void)userdata;
	(void)source;
	return true;
}

static void check_view(void *userdata, const struct sip_binding_view *view) {
	size_t *count = userdata;

	check_aor(view->aor);
	FUZZ_CHECK(uri_text_valid(view->contact));
	++*count;
}

static void check(const struct sip_gateway *gateway) {
	struct sip_figures figures;
	size_t count = 0;

	sip_gateway_figures(gateway, &figures);
	sip_gateway_bindings(gateway, check_view, &count);
	FUZZ_CHECK(count == figures.bindings);
	for (const struct registration *registration = gateway->registrations; registration; registration = registration->hh.next)
		FUZZ_CHECK(registration->binding_count <= SIP_CONTACTS_PER_AOR && registration->job_count <= SIP_REGISTERS_PER_AOR);
	for (const struct sip_transaction *transaction = gateway->transactions; transaction; transaction = transaction->hh.next)
		if (transaction->response.length > 0)
			FUZZ_CHECK(memcmp(transaction->response.data, "SIP/2.0 ", 8) == 0 &&
				   memcmp(transaction->response.data + transaction->response.length - 4, "\r\n\r\n", 4) == 0);
}

static void advance(struct fuzz *fuzz, uint64_t delay_us) {
	uint64_t end_us = fuzz->runtime.now_us + delay_us;

	while (runtime_next(&fuzz->runtime) <= end_us) {
		fuzz->runtime.now_us = runtime_next(&fuzz->runtime);
		runtime_fire(&fuzz->runtime);
	}
	fuzz->runtime.now_us = end_us;
}

static void feed_datagrams(struct fuzz *fuzz, struct sip_gateway *gateway, const struct sip_flow *flow, struct octets octets) {
	for (unsigned i = 0; i < DATAGRAMS && octets.length > 0; i++) {
		const uint8_t *end = memchr(octets.data, 0xff, octets.length);
		size_t length = end ? (size_t)(end - octets.data) : octets.length;
		uint8_t *copy = malloc(length ? length : 1); /* so that reading beyond the end is seen */
		FUZZ_CHECK(copy);
		memcpy(copy, octets.data, length);
		sip_receive_datagram(gateway, flow, OCTETS(copy, length));
		free(copy);
		advance(fuzz, fuzz->settings & 0x40 ? 100 * USEC_PER_MSEC : 1);
		check(gateway);
		octets.data += length + (end ? 1 : 0);
		octets.length -= length + (end ? 1 : 0);
	}
}

static void feed_stream(struct fuzz *fuzz, struct sip_gateway *gateway, const struct sip_flow *flow, struct octets octets) {
	struct sip_frame frame;

	while (octets.length > 0 && sip_frame_find(octets, true, &frame) == 0) {
		FUZZ_CHECK(frame.length > 0 && frame.length <= octets.length && frame.header.length <= frame.length);
		sip_receive(gateway, flow, &frame);
		advance(fuzz, 1);
		check(gateway);
		if (frame.status == 513 || !frame.content_length)
			return;
		octets.data += frame.length;
		octets.length -= frame.length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz fuzz = {.random = 1, .runtime.now_us = USEC_PER_SEC, .settings = size > 0 ? data[0] : 0};
	const struct sip_gateway_settings settings = {
		.runtime = &fuzz.runtime,
		.mode = fuzz.settings & 0x20 ? SIP_MODE_PROXY : SIP_MODE_REDIRECT,
		.outside_calls = true,
	};
	const struct sip_gateway_events events = {
		.userdata = &fuzz,
		.bind = on_bind,
		.resolve = on_resolve,
		.domain = on_domain,
		.user = on_user,
		.allowed = on_allowed,
	};
	struct sip_flow flow = {.fd = -1};
	struct sip_gateway *gateway = NULL;
	char reason[128];

	fuzz.runtime.source = (struct runtime_source){.realtime_ms = fuzz_realtime, .random = fuzz_random, .userdata = &fuzz};
	if (size < 1 || address_parse("192.0.2.7:5060", 5060, &flow.remote) < 0 ||
	    address_parse("192.0.2.1:5060", 5060, &flow.local) < 0)
		return 0;
	FUZZ_CHECK(sip_gateway_new(&settings, &events, &gateway, reason, sizeof(reason)) == 0);
	gateway->listeners[gateway->listener_count++] =
		(struct sip_listener){.gateway = gateway, .address = flow.local, .udp = -1, .tcp = -1};
	if (fuzz.settings & 1)
		feed_stream(&fuzz, gateway, &flow, OCTETS(data + 1, size - 1));
	else
		feed_datagrams(&fuzz, gateway, &flow, OCTETS(data + 1, size - 1));
	advance(&fuzz, 300 * USEC_PER_SEC);
	FUZZ_CHECK(!gateway->clients && !gateway->proxies && gateway->proxy_octets == 0 && gateway->client_octets == 0);
	FUZZ_CHECK(!gateway->transactions && !gateway->merges && gateway->transaction_octets == 0 && gateway->unacknowledged == 0);
	FUZZ_CHECK(fuzz.waiting == 0 && gateway->call_count == 0);
	for (const struct registration *registration = gateway->registrations; registration; registration = registration->hh.next)
		FUZZ_CHECK(!registration->jobs);
	FUZZ_CHECK(gateway->reserved_bindings == 0);
	sip_gateway_free(gateway);
	FUZZ_CHECK(!fuzz.runtime.timers);
	return 0;
}
