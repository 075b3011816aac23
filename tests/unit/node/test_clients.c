/* SPDX-License-Identifier: BSD-2-Clause */
/* Overlays that permit no clients: who keeps its link and for how long. B-11.1-14 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "node/clients.h"
#include "support/router_net.h"

static const struct document_settings forbidding = {.sequence = 2, .clients_forbidden = true};
static struct router_net net;
static struct clients *clients;
static struct router_net_node *a, *b, *c;

/* Nodes b and c are linked to a; b is a peer, c has never sent an Update. */
static int setup(void **state) {
	const uint8_t octets[] = {0x10, 0x50, 0x90};

	(void)state;
	log_level = -1;
	memset(&net, 0, sizeof(net));
	router_net_start(&net, NULL, octets, 3);
	a = &net.nodes[0];
	b = &net.nodes[1];
	c = &net.nodes[2];
	router_set_range(a->router, NULL, true);
	if (clients_new(a->router, &clients) < 0)
		return -1;
	router_net_peers(a, b);
	router_net_connect(c, a);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	clients = clients_free(clients);
	router_net_stop(&net);
	return 0;
}

static void forbid(void) {
	router_net_configure(a, &forbidding);
	clients_check(clients);
}

static void test_permitted(void **state) {
	(void)state;
	clients_check(clients);
	router_net_run_ms(&net, 10 * CLIENTS_GRACE_S * 1000);
	assert_true(router_net_linked(a, b));
	assert_true(router_net_linked(a, c));
	assert_int_equal(clients_closed(clients), 0);
}

/* Linked for long: at once. */
static void test_forbidden_later(void **state) {
	(void)state;
	router_net_run_ms(&net, CLIENTS_GRACE_S * 1000 + 1000);
	assert_true(router_net_linked(a, c));
	forbid();
	assert_null(router_net_link(a, c));
	assert_int_equal(a->last_down, LINK_NOT_PERMITTED);
	router_net_run_ms(&net, 100);
	assert_null(router_net_link(c, a));
	assert_true(router_net_linked(a, b));
	assert_int_equal(clients_closed(clients), 1);
}

/* A moment ago: it may be about to join. */
static void test_grace(void **state) {
	(void)state;
	forbid();
	assert_true(router_net_linked(a, c));
	router_net_run_ms(&net, CLIENTS_GRACE_S * 1000 - 2000);
	assert_true(router_net_linked(a, c));
	router_net_run_ms(&net, 4000);
	assert_null(router_net_link(a, c));
	assert_true(router_net_linked(a, b));
	/* Every new link has that time of its own. */
	router_net_connect(c, a);
	router_net_run_ms(&net, CLIENTS_GRACE_S * 1000 - 2000);
	assert_true(router_net_linked(a, c));
	router_net_run_ms(&net, 4000);
	assert_null(router_net_link(a, c));
	assert_int_equal(clients_closed(clients), 2);
}

static void test_joined_in_time(void **state) {
	(void)state;
	forbid();
	router_net_run_ms(&net, CLIENTS_GRACE_S * 500);
	router_mark_update_received(a->router, &c->id);
	router_net_run_ms(&net, 10 * CLIENTS_GRACE_S * 1000);
	assert_true(router_net_linked(a, c));
	assert_int_equal(clients_closed(clients), 0);
}

/* Outside the ring nobody sends us Updates; the check is made up for once we are in it. */
static void test_not_joined(void **state) {
	(void)state;
	router_set_range(a->router, NULL, false);
	forbid();
	router_net_run_ms(&net, 2 * CLIENTS_GRACE_S * 1000);
	assert_true(router_net_linked(a, c));
	router_set_range(a->router, NULL, true);
	clients_soon(clients);
	assert_true(router_net_linked(a, c)); /* not from within that call */
	router_net_run_ms(&net, 10);
	assert_null(router_net_link(a, c));
	clients_soon(NULL);
}

/* A bootstrap server is outside the ring. */
static void test_bootstrap_node(void **state) {
	struct document_settings settings = forbidding;
	struct address address = virtual_host_address(c->host);

	(void)state;
	settings.bootstrap = &address;
	settings.bootstrap_count = 1;
	router_net_configure(a, &settings);
	clients_check(clients);
	router_net_run_ms(&net, 10 * CLIENTS_GRACE_S * 1000);
	assert_true(router_net_linked(a, c));
}

/* Permitted again before the time is over. */
static void test_permitted_again(void **state) {
	const struct document_settings permitting = {.sequence = 3};

	(void)state;
	forbid();
	router_net_run_ms(&net, CLIENTS_GRACE_S * 500);
	router_net_configure(a, &permitting);
	clients_check(clients);
	router_net_run_ms(&net, 10 * CLIENTS_GRACE_S * 1000);
	assert_true(router_net_linked(a, c));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_permitted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forbidden_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grace, setup, teardown),
		cmocka_unit_test_setup_teardown(test_joined_in_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_joined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bootstrap_node, setup, teardown),
		cmocka_unit_test_setup_teardown(test_permitted_again, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
