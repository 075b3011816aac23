/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A gateway with many registrations is started again: it knows all of them at once, stores them in the overlay one by one over
 * time, and every call meanwhile is answered with where to go. Virtual time. SIP_REGISTRATIONS=100000 for the whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/location.h"
#include "node/phones.h"
#include "sip/internal.h"

enum { FEWEST = 5000, EXPIRES_S = 3600, LATENCY_US = 50000 /* of the overlay */, CALL_EVERY_US = 250000 };

struct site {
	struct runtime runtime;
	uint64_t random, epoch_ms;
	struct sip_gateway *gateway;
	struct phones *phones;
	struct location *location;
	unsigned binds, in_flight, most_in_flight;
	uint64_t most_in_second, second, in_second;
	unsigned serial;
	char directory[32], path[64];
};

struct question {
	struct site *site;
	char aor[64];
	sip_register_done bound;
	sip_resolve_answer resolved;
	void *userdata;
	struct timer timer;
};

static uint64_t realtime(void *userdata) {
	const struct site *site = userdata;

	return site->epoch_ms + site->runtime.now_us / USEC_PER_MSEC;
}

static void random_octets(void *userdata, void *data, size_t length) {
	struct site *site = userdata;

	for (size_t i = 0; i < length; i++)
		((uint8_t *)data)[i] = (uint8_t)((site->random = site->random * 6364136223846793005 + 1442695040888963407) >> 40);
}

static void answer(struct timer *timer, void *userdata) {
	struct question *question = userdata;
	struct site *site = question->site;
	struct sip_redirect_contact contacts[SIP_CONTACTS_PER_AOR];

	(void)timer;
	if (question->bound) {
		site->in_flight--;
		question->bound(question->userdata, 200, "OK");
	} else {
		size_t count = sip_gateway_contacts(site->gateway, question->aor, contacts, ARRAY_LENGTH(contacts));
		question->resolved(question->userdata, count > 0 ? 302 : 404, contacts, count, 0);
	}
	free(question);
}

static struct question *ask(struct site *site, const char *aor, void *userdata) {
	struct question *question = calloc(1, sizeof(*question));

	assert_non_null(question);
	question->site = site;
	question->userdata = userdata;
	snprintf(question->aor, sizeof(question->aor), "%s", aor);
	timer_init(&question->timer, answer, question);
	timer_arm_after(&site->runtime, &question->timer, LATENCY_US);
	return question;
}

static void overlay_bind(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata) {
	struct site *site = userdata;
	uint64_t second = site->runtime.now_us / USEC_PER_SEC;

	ask(site, request->aor, done_userdata)->bound = done;
	site->binds++;
	if (++site->in_flight > site->most_in_flight)
		site->most_in_flight = site->in_flight;
	site->in_second = second == site->second ? site->in_second + 1 : 1;
	site->second = second;
	if (site->in_second > site->most_in_second)
		site->most_in_second = site->in_second;
}

static void overlay_resolve(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata) {
	ask(userdata, aor, done_userdata)->resolved = done;
}

static void on_bind(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata) {
	phones_bind(((struct site *)userdata)->phones, request, done, done_userdata);
}

static void on_resolve(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata) {
	location_resolve(((struct site *)userdata)->location, aor, done, done_userdata);
}

static bool yes(void *userdata, const char *name) {
	(void)userdata;
	(void)name;
	return true;
}

static bool on_allowed(void *userdata, const struct address *source) {
	(void)userdata;
	(void)source;
	return true;
}

static void on_former(void *userdata, const struct sip_binding_request *request) {
	struct site *site = userdata;

	assert_int_equal(sip_gateway_restore(site->gateway, request), 0);
}

static void start(struct site *site) {
	const struct sip_gateway_events events = {
		.userdata = site, .bind = on_bind, .resolve = on_resolve, .domain = yes, .user = yes, .allowed = on_allowed};
	const struct sip_gateway_settings settings = {.runtime = &site->runtime};
	const struct phones_settings phones = {
		.runtime = &site->runtime, .path = site->path, .userdata = site, .bind = overlay_bind};
	const struct location_settings location = {
		.runtime = &site->runtime, .seconds = 10, .userdata = site, .ask = overlay_resolve};
	char reason[PHONES_REASON_SIZE] = "";

	assert_int_equal(sip_gateway_new(&settings, &events, &site->gateway, reason, sizeof(reason)), 0);
	assert_int_equal(phones_new(&phones, &site->phones, reason), 0);
	assert_int_equal(location_new(&location, &site->location), 0);
	assert_int_equal(phones_each(site->phones, on_former, site), 0);
}

static void stop(struct site *site) {
	site->gateway = sip_gateway_free(site->gateway);
	site->phones = phones_free(site->phones);
	site->location = location_free(site->location);
}

static struct sip_figures figures(const struct site *site) {
	struct sip_figures figures;

	sip_gateway_figures(site->gateway, &figures);
	return figures;
}

static void send_request(struct site *site, const char *method, unsigned user) {
	struct sip_flow flow = {.fd = -1};
	char text[1024];

	assert_int_equal(address_parse("192.0.2.6:5060", 0, &flow.remote), 0);
	assert_int_equal(address_parse("192.0.2.1:5060", 0, &flow.local), 0);
	int length =
		snprintf(text, sizeof(text),
			 "%s sip:user%u@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.6;branch=z9hG4bK%u\r\n"
			 "From: <sip:user%u@example.org>;tag=1\r\nTo: <sip:user%u@example.org>\r\nCall-ID: %u\r\nCSeq: 1 %s\r\n"
			 "Contact: <sip:user%u@192.0.2.6;line=%u>\r\nExpires: %d\r\nContent-Length: 0\r\n\r\n",
			 method, user, site->serial, user, user, site->serial, method, user, user, EXPIRES_S);
	site->serial++;
	sip_receive_datagram(site->gateway, &flow, OCTETS(text, (size_t)length));
}

/* As the daemon does it. */
static void turn(struct site *site) {
	runtime_fire(&site->runtime);
	if (phones_commit_wanted(site->phones))
		phones_commit(site->phones);
}

static void pass(struct site *site, uint64_t until_us) {
	while (runtime_next(&site->runtime) <= until_us) {
		if (runtime_next(&site->runtime) > site->runtime.now_us)
			site->runtime.now_us = runtime_next(&site->runtime);
		turn(site);
	}
	site->runtime.now_us = until_us;
	turn(site);
}

/* Asks for a user, and acknowledges the answer. */
static void call(struct site *site, unsigned user) {
	send_request(site, "INVITE", user);
	pass(site, site->runtime.now_us + CALL_EVERY_US);
	site->serial--; /* the ACK has the branch of its INVITE */
	send_request(site, "ACK", user);
}

static void test_storm(void **state) {
	const char *wanted = getenv("SIP_REGISTRATIONS");
	unsigned many = wanted ? (unsigned)strtoul(wanted, NULL, 10) : FEWEST;
	struct site site = {.random = 7904, .epoch_ms = UINT64_C(1289690940000), .directory = "/tmp/test_storm_XXXXXX"};

	(void)state;
	assert_true(many >= FEWEST); /* fewer are stored one each PHONES_STEP_MS */
	site.runtime.now_us = USEC_PER_SEC;
	site.runtime.source = (struct runtime_source){.realtime_ms = realtime, .random = random_octets, .userdata = &site};
	assert_non_null(mkdtemp(site.directory));
	snprintf(site.path, sizeof(site.path), "%s/phones.db", site.directory);
	start(&site);
	for (unsigned i = 0; i < many; i++) {
		send_request(&site, "REGISTER", i);
		if (i % 1000 == 999)
			pass(&site, site.runtime.now_us + 2ULL * LATENCY_US);
	}
	pass(&site, site.runtime.now_us + 2ULL * LATENCY_US);
	assert_int_equal(figures(&site).bindings, many);
	assert_int_equal(figures(&site).responses_2xx, many);
	assert_int_equal(site.binds, many);

	site.epoch_ms = realtime(&site) + 30000; /* it was away for half a minute, and has another clock */
	stop(&site);
	assert_null(site.runtime.timers);
	site.runtime.now_us = 1;
	site.binds = site.most_in_flight = 0;
	site.most_in_second = 0;
	start(&site);
	assert_int_equal(figures(&site).bindings, many);
	call(&site, many / 2); /* before the overlay is joined */
	assert_int_equal(figures(&site).responses_3xx, 1);
	assert_int_equal(site.binds, 0);

	phones_store_again(site.phones);
	uint64_t begun_us = site.runtime.now_us;
	unsigned calls = 1;
	while (phones_figures(site.phones).restore_left > 0) {
		call(&site, (calls * 7919) % many);
		calls++;
		assert_int_equal(figures(&site).responses_3xx, calls);
	}
	uint64_t took_s = (site.runtime.now_us - begun_us) / USEC_PER_SEC;
	assert_int_equal(site.binds, many); /* each once */
	assert_int_equal(phones_figures(site.phones).restored, many);
	assert_int_equal(figures(&site).responses_4xx + figures(&site).responses_5xx, 0);
	assert_in_range(took_s, PHONES_SPREAD_SECONDS * 9 / 10, PHONES_SPREAD_SECONDS * 11 / 10);
	assert_true(site.most_in_flight <= PHONES_AT_ONCE);
	assert_true(site.most_in_second <= 2 * (many / PHONES_SPREAD_SECONDS + 1)); /* no storm */
	assert_int_equal(figures(&site).bindings, many);
	stop(&site);
	assert_int_equal(unlink(site.path), 0);
	assert_int_equal(rmdir(site.directory), 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_storm)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
