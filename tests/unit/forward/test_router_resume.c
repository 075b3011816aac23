/* SPDX-License-Identifier: BSD-2-Clause */
/* router_resume_link(): whose a link is, and whether that peer may relay, from what a kernel program was told by a former daemon.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "forward.h"
#include "support/router_net.h"

enum { A = 0x10, B = 0x50, OTHER = 0x90, ROUTABLE = FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_ROUTABLE };

static struct router_net net;
static const struct connection *link_a; /* of A's to B */

static int setup(void **state) {
	(void)state;
	router_net_start(&net, NULL, (const uint8_t[]){A, B}, 2);
	router_net_connect(&net.nodes[0], &net.nodes[1]);
	link_a = router_net_link(&net.nodes[0], &net.nodes[1]);
	return link_a && !link_a->update_received && link_a->is_client ? 0 : -1;
}

static int teardown(void **state) {
	(void)state;
	router_net_stop(&net);
	return 0;
}

static void resume(struct router_net_node *node, uint16_t slot, const struct id *peer, uint16_t flags) {
	struct forward_link former = {.id = router_forward_id(peer), .slot = slot, .flags = flags};

	router_resume_link(node->router, &former);
}

static void test_peer(void **state) {
	(void)state;
	resume(&net.nodes[0], link_a->slot, &net.nodes[1].id, ROUTABLE);
	assert_true(link_a->update_received);
	assert_false(link_a->is_client);
	assert_true(id_equal(&link_a->peer, &net.nodes[1].id));
	resume(&net.nodes[0], link_a->slot, &net.nodes[1].id, ROUTABLE); /* again: as it is */
	assert_true(link_a->update_received);
}

/* A client of the former daemon stays one. */
static void test_client(void **state) {
	(void)state;
	resume(&net.nodes[0], link_a->slot, &net.nodes[1].id, FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_CLIENT);
	assert_false(link_a->update_received);
	assert_true(link_a->is_client);
}

/* What was not bound says nothing, nor does a slot that others have now, nor one that nobody has. */
static void test_not_this_link(void **state) {
	const struct id other = support_node_id(OTHER);

	(void)state;
	resume(&net.nodes[0], link_a->slot, &net.nodes[1].id, FORWARD_LINK_UP | FORWARD_LINK_ROUTABLE);
	resume(&net.nodes[0], link_a->slot, &other, ROUTABLE);
	resume(&net.nodes[0], link_a->slot, &net.nodes[0].id, ROUTABLE);
	resume(&net.nodes[0], (uint16_t)(link_a->slot ^ 1), &net.nodes[1].id, ROUTABLE);
	resume(&net.nodes[0], LINK_SLOT_NONE, &net.nodes[1].id, ROUTABLE);
	assert_false(link_a->update_received);
	assert_true(id_equal(&link_a->peer, &net.nodes[1].id));
	assert_null(router_connection_of(net.nodes[0].router, &other));
}

/* The link in `node` that is not bound to anybody. */
static uint16_t unbound_slot(const struct router_net_node *node) {
	const struct connection *connection;
	size_t position = 0;

	while ((connection = router_connection_next(node->router, &position)))
		if (id_is_none(&connection->peer))
			return connection->slot;
	return LINK_SLOT_NONE;
}

/* FW-B11: of several Node-IDs in a certificate the one it had, but none that is not in it. */
static void test_several_node_ids(void **state) {
	const struct id ids[] = {support_node_id(0x20), support_node_id(0x21)}, other = support_node_id(OTHER);
	struct router_net_node *several = router_net_add(&net, ids, 2, false), *a = &net.nodes[0];

	(void)state;
	router_net_connect(several, a);
	uint16_t slot = unbound_slot(a);
	assert_int_not_equal(slot, LINK_SLOT_NONE);
	resume(a, slot, &other, ROUTABLE);
	assert_int_equal(unbound_slot(a), slot);
	resume(a, slot, &a->id, ROUTABLE);
	assert_int_equal(unbound_slot(a), slot);
	unsigned ups = a->ups;
	resume(a, slot, &ids[1], ROUTABLE);
	assert_int_equal(unbound_slot(a), LINK_SLOT_NONE);
	const struct connection *bound = router_connection_of(a->router, &ids[1]);
	assert_non_null(bound);
	assert_int_equal(bound->slot, slot);
	assert_true(bound->update_received);
	assert_int_equal(a->ups, ups + 1);  /* those who listen hear of it */
	resume(a, slot, &ids[0], ROUTABLE); /* it is somebody's now */
	assert_null(router_connection_of(a->router, &ids[0]));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(test_peer),
		TEST(test_client),
		TEST(test_not_this_link),
		TEST(test_several_node_ids),
	};

	return cmocka_run_group_tests_name("links resumed in the router", tests, NULL, NULL);
}
