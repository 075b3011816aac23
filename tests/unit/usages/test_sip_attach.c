/* SPDX-License-Identifier: BSD-2-Clause */
/* AppAttach between SIP gateways over a virtual network (RFC 7904 5, RFC 6940 6.5.2). S-5.1-01 S-5.1-02 B-6.5.2-01 B-6.5.2-03 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "support/router_net.h"
#include "usages/sip_attach.h"
#include "wire/method.h"

#include <errno.h>
#include <string.h>

struct gateway {
	struct sip_attach *attach;
	struct sip_place places[SIP_PLACES_MAX];
	size_t count;
	unsigned asked; /* where it is */
};

struct fixture {
	struct router_net net;
	struct gateway a, b;
	struct router_net_node *node_a, *node_b;
};

struct outcome {
	unsigned calls;
	int error;
	struct sip_place places[SIP_PLACES_MAX];
	size_t count;
};

static size_t on_places(void *userdata, uint16_t application, struct sip_place *out, size_t max) {
	struct gateway *gateway = userdata;

	gateway->asked++;
	if (application != SIP_APPLICATION)
		return 0;
	assert_true(gateway->count <= max);
	memcpy(out, gateway->places, gateway->count * sizeof(*out));
	return gateway->count;
}

static void add_place(struct gateway *gateway, const char *address, bool stream) {
	struct sip_place *place = &gateway->places[gateway->count++];

	assert_int_equal(address_parse(address, 5060, &place->address), 0);
	place->stream = stream;
}

static void on_found(void *userdata, int error, const struct sip_place *places, size_t count) {
	struct outcome *outcome = userdata;

	outcome->calls++;
	outcome->error = error;
	outcome->count = count;
	for (size_t i = 0; i < count; i++)
		outcome->places[i] = places[i];
}

static int setup(void **state) {
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	router_net_row(&f->net, NULL);
	f->node_a = &f->net.nodes[0];
	f->node_b = &f->net.nodes[2];
	add_place(&f->a, "192.0.2.1", false);
	add_place(&f->b, "198.51.100.2:5070", false);
	add_place(&f->b, "[2001:db8::2]:5060", true);
	const struct sip_attach_settings a = {.router = f->node_a->router, .userdata = &f->a, .places = on_places};
	const struct sip_attach_settings b = {.router = f->node_b->router, .userdata = &f->b, .places = on_places};
	assert_int_equal(sip_attach_new(&a, &f->a.attach), 0);
	assert_int_equal(sip_attach_new(&b, &f->b.attach), 0);
	*state = f;
	return 0;
}

static int teardown(void **state) {
	struct fixture *f = *state;

	sip_attach_free(f->a.attach);
	sip_attach_free(f->b.attach);
	router_net_stop(&f->net);
	free(f);
	return 0;
}

static int find(struct fixture *f, const struct router_net_node *node, uint16_t application, struct outcome *outcome) {
	*outcome = (struct outcome){0};
	return sip_attach_find(f->a.attach, router_net_node_list(&node->id), application, on_found, outcome);
}

static bool knows(const struct gateway *gateway, const char *text) {
	struct address address;

	assert_int_equal(address_parse(text, 1234, &address), 0);
	return sip_attach_knows(gateway->attach, &address);
}

/* Both sides know of each other afterwards, whatever port requests come from; and no link was made. */
static void test_find(void **state) {
	struct fixture *f = *state;
	struct outcome outcome, again;

	assert_int_equal(find(f, f->node_b, SIP_APPLICATION, &outcome), 0);
	assert_int_equal(find(f, f->node_b, SIP_APPLICATION, &again), 0); /* waits for the same answer */
	assert_int_equal(outcome.calls, 0);
	assert_false(knows(&f->b, "192.0.2.1"));
	router_net_run_ms(&f->net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(again.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(outcome.count, 2);
	assert_true(address_equal(&outcome.places[0].address, &f->b.places[0].address));
	assert_false(outcome.places[0].stream);
	assert_true(address_equal(&outcome.places[1].address, &f->b.places[1].address));
	assert_true(outcome.places[1].stream);
	assert_int_equal(f->b.asked, 1);
	assert_true(knows(&f->b, "192.0.2.1"));
	assert_false(knows(&f->b, "192.0.2.9"));
	assert_true(knows(&f->a, "198.51.100.2"));
	assert_true(knows(&f->a, "2001:db8::2"));
	assert_false(router_net_linked(f->node_a, f->node_b));
}

static void test_cache(void **state) {
	struct fixture *f = *state;
	struct outcome outcome;

	assert_int_equal(find(f, f->node_b, SIP_APPLICATION, &outcome), 0);
	router_net_run_ms(&f->net, 100);
	assert_int_equal(find(f, f->node_b, SIP_APPLICATION, &outcome), 0);
	assert_int_equal(outcome.calls, 0); /* not from within */
	router_net_run_ms(&f->net, 1);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.count, 2);
	assert_int_equal(f->b.asked, 1);
	router_net_run_ms(&f->net, (SIP_ATTACH_CACHE_SECONDS + 1) * 1000);
	assert_int_equal(find(f, f->node_b, SIP_APPLICATION, &outcome), 0);
	router_net_run_ms(&f->net, 100);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(f->b.asked, 2);
	router_net_run_ms(&f->net, (SIP_ATTACH_ALLOWED_SECONDS + 1) * UINT64_C(1000));
	assert_false(knows(&f->b, "192.0.2.1"));
}

static void test_not_offered(void **state) {
	struct fixture *f = *state;
	struct outcome outcome;

	f->b.count = 0;
	assert_int_equal(find(f, f->node_b, SIP_APPLICATION, &outcome), 0);
	router_net_run_ms(&f->net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -ENOENT);
	assert_int_equal(outcome.count, 0);
	assert_false(knows(&f->b, "192.0.2.1")); /* who takes no calls learns nothing */
	/* the failure is remembered for a moment */
	f->b.count = 2;
	assert_int_equal(find(f, f->node_b, SIP_APPLICATION, &outcome), 0);
	router_net_run_ms(&f->net, 100);
	assert_int_equal(outcome.error, -ENOENT);
	router_net_run_ms(&f->net, SIP_ATTACH_FAILURE_SECONDS * 1000);
	assert_int_equal(find(f, f->node_b, SIP_APPLICATION, &outcome), 0);
	router_net_run_ms(&f->net, 100);
	assert_int_equal(outcome.error, 0);
}

static void test_refusals(void **state) {
	struct fixture *f = *state;
	struct outcome outcome;
	struct id resource = resource_id_of_name(octets_of_string("alice@example.org"), 16);
	uint8_t list[32];
	struct writer w = writer_fixed(list, sizeof(list));

	assert_int_equal(find(f, f->node_a, SIP_APPLICATION, &outcome), 0);
	router_net_run_ms(&f->net, 1);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -ELOOP);
	assert_int_equal(find(f, f->node_b, SIPS_APPLICATION, &outcome), -EADDRNOTAVAIL); /* we do not offer it ourselves */
	destination_write_resource(&w, id_octets(&resource));
	assert_int_equal(sip_attach_find(f->a.attach, writer_octets_written(&w), SIP_APPLICATION, on_found, &outcome), -EINVAL);
	assert_int_equal(sip_attach_find(f->a.attach, OCTETS_NONE, SIP_APPLICATION, on_found, &outcome), -EINVAL);
}

/* A node that never answers, and the end in the midst of it. */
static void test_silence_and_end(void **state) {
	struct fixture *f = *state;
	struct outcome outcome, other;

	f->b.attach = sip_attach_free(f->b.attach);
	router_net_kill(f->node_b);
	assert_int_equal(find(f, f->node_b, SIP_APPLICATION, &outcome), 0);
	router_net_run_ms(&f->net, 60000);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -EHOSTUNREACH);
	router_net_run_ms(&f->net, SIP_ATTACH_FAILURE_SECONDS * 1000);
	assert_int_equal(find(f, f->node_b, SIP_APPLICATION, &other), 0);
	f->a.attach = sip_attach_free(f->a.attach);
	assert_int_equal(other.calls, 1);
	assert_int_equal(other.error, -ECANCELED);
}

/* What a stranger offers is looked at before anything is sent there. */
static void test_candidates(void **state) {
	struct fixture *f = *state;
	struct outcome outcome;

	f->b.count = 0;
	add_place(&f->b, "127.0.0.1", false);
	add_place(&f->b, "224.0.0.1", false);
	add_place(&f->b, "0.0.0.0", false);
	add_place(&f->b, "[::1]:5060", true);
	add_place(&f->b, "[fe80::1]:5060", true);
	add_place(&f->b, "[ff02::1]:5060", true);
	add_place(&f->b, "203.0.113.7:5099", true);
	assert_int_equal(find(f, f->node_b, SIP_APPLICATION, &outcome), 0);
	router_net_run_ms(&f->net, 100);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(outcome.count, 1);
	assert_int_equal(outcome.places[0].address.port, 5099);
}

#define ATTACH_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
	const struct CMUnitTest tests[] = {
		ATTACH_TEST(test_find),	    ATTACH_TEST(test_cache),	       ATTACH_TEST(test_not_offered),
		ATTACH_TEST(test_refusals), ATTACH_TEST(test_silence_and_end), ATTACH_TEST(test_candidates),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
