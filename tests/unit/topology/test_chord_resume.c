/* SPDX-License-Identifier: BSD-2-Clause */
/* A peer whose daemon was restarted takes up its place in the ring, with the links that the kernel kept up meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "support/support_ring.h"

#include <stdlib.h>

enum { PEERS = 8, LINK_MS = 2000, DEAD_MS = 60000, RIGHT_S = 90 };

static struct ring *ring;
static struct ring_node *back, *predecessor;

/*
 * A ring of PEERS; one of them dies and is there again, with a link to nobody. In between the others find out, so that they take
 * the links of the next run as new ones: a virtual host cannot keep its links through a death as the kernel does.
 */
static void begin(uint64_t seed) {
	ring = ring_new(&(struct ring_settings){.seed = seed});
	ring_grow(ring, PEERS, false, 5);
	struct ring_node *dead = ring->nodes[seed % PEERS];
	predecessor = ring_after(ring, dead, PEERS - 1);
	ring_kill(dead);
	ring_run(ring, DEAD_MS);
	back = ring_restart(ring, dead);
	assert_int_equal(back->state, TOPOLOGY_OFFLINE);
}

static bool is_linked(void *userdata) {
	const struct ring_node *peer = userdata;

	return router_connection_of(back->router, &peer->id) && router_connection_of(peer->router, &back->id);
}

/* A link to a neighbor, as the kernel's table says. */
static void link_to(struct ring_node *peer) {
	struct transport transport = virtual_host_transport(back->host);
	struct address address = virtual_host_address(peer->host);
	uint16_t slot;

	assert_int_equal(transport.ops->connect(transport.object, &address, 1, NULL, &slot), 0);
	assert_true(ring_run_until(ring, LINK_MS, is_linked, peer));
	router_mark_update_received(back->router, &peer->id);
}

static bool resume(const struct id *former) {
	return back->topology->ops->resume(back->topology, former);
}

static bool owns(const struct id *point) {
	return back->topology->ops->responsible(back->topology, point);
}

static void expect_right(void) {
	if (!ring_run_until_right(ring, RIGHT_S))
		fail_msg("%s", ring->reason);
	assert_int_equal(ring_alive(ring), PEERS);
	assert_int_equal(back->joined_count, 1);
	assert_int_equal(back->offline_count, 0);
	assert_true(owns(&back->id));
}

/* With all neighbors: in the ring at once, without a join, and with the range it had. */
static void test_all_links(void **state) {
	(void)state;
	for (uint64_t seed = 1; seed <= PEERS; seed++) {
		begin(seed);
		for (size_t steps = 1; steps < PEERS - 1; steps++)
			link_to(ring_after(ring, predecessor, steps));
		link_to(predecessor);
		assert_true(resume(&predecessor->id));
		assert_int_equal(back->state, TOPOLOGY_JOINED);
		assert_true(owns(&back->id));
		assert_false(owns(&predecessor->id));
		expect_right();
		ring_free(ring);
	}
}

/* The link to the predecessor is one that did not survive: its range is not taken for that. */
static void test_predecessor_missing(void **state) {
	(void)state;
	for (uint64_t seed = 11; seed < 11 + PEERS; seed++) {
		begin(seed);
		for (size_t steps = 1; steps <= 3; steps++)
			link_to(ring_after(ring, predecessor, steps));
		assert_true(resume(&predecessor->id));
		assert_int_equal(back->state, TOPOLOGY_JOINED);
		assert_true(owns(&back->id));
		assert_false(owns(&predecessor->id));
		expect_right();
		assert_false(owns(&predecessor->id));
		ring_free(ring);
	}
}

/* There was none, or its Node-ID was not kept: all is learned from those who are there. */
static void test_predecessor_unknown(void **state) {
	const struct id none = ID_NONE;

	(void)state;
	begin(21);
	link_to(predecessor);
	link_to(ring_after(ring, predecessor, 1));
	assert_true(resume(&none));
	assert_false(owns(&predecessor->id));
	expect_right();
	ring_free(ring);
}

/* Nothing to go on with: the state is as before, and a join works as ever. */
static void test_refused(void **state) {
	(void)state;
	begin(31);
	assert_false(resume(&predecessor->id));
	assert_int_equal(back->state, TOPOLOGY_OFFLINE);
	assert_int_equal(back->joined_count, 0);
	assert_false(owns(&back->id));
	ring_bootstrap(back, predecessor);
	expect_right();
	assert_false(resume(&predecessor->id)); /* it is in */
	assert_int_equal(back->state, TOPOLOGY_JOINED);
	ring_free(ring);
}

/* Killed and back at once, before anybody noticed, through each of the others in turn: those who still hold the link of the former
 * run learn of the new one, and all lists are right within a few rounds of stabilization (RFC 6940 10.7). */
static void test_back_at_once(void **state) {
	(void)state;
	for (uint64_t seed = 31; seed < 31 + PEERS; seed++) {
		for (size_t steps = 1; steps < PEERS; steps++) {
			ring = ring_new(&(struct ring_settings){.seed = seed, .rejoin = true});
			ring_grow(ring, PEERS, false, 5);
			struct ring_node *dead = ring->nodes[seed % PEERS], *through = ring_after(ring, dead, steps);
			ring_kill(dead);
			back = ring_restart(ring, dead);
			ring_bootstrap(back, through);
			if (!ring_run_until_right(ring, RIGHT_S))
				fail_msg("seed %d, through the peer %zu after it: %s", (int)seed, steps, ring->reason);
			ring_free(ring);
		}
	}
}

static void test_client(void **state) {
	(void)state;
	ring = ring_new(&(struct ring_settings){.seed = 41});
	ring_grow(ring, 3, false, 5);
	predecessor = ring->nodes[0];
	struct id id = ring_random_id(ring);
	back = ring_add_client(ring, &id);
	link_to(predecessor);
	assert_false(resume(&predecessor->id));
	assert_int_equal(back->state, TOPOLOGY_OFFLINE);
	ring_free(ring);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_links),	    cmocka_unit_test(test_predecessor_missing),
		cmocka_unit_test(test_predecessor_unknown), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_back_at_once),	    cmocka_unit_test(test_client),
	};

	log_level = getenv("LOG") ? LOG_DEBUG : LOG_ERR;
	return cmocka_run_group_tests_name("chord resume", tests, NULL, NULL);
}
