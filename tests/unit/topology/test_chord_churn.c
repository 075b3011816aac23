/* SPDX-License-Identifier: BSD-2-Clause */
/* Peers that die, leave, return and part over the virtual network, with real routers, credentials and signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "support/support_ring.h"
#include "topology/chord.h"

#include <stdlib.h>
#include <string.h>

/* What the storage would be told. */
struct note {
	struct id added[64];
	uint64_t when_us[64];
	size_t count;
};

static void note_replicas(void *userdata, const struct id *added, size_t count) {
	struct ring_node *node = userdata;
	struct note *note = node->userdata;

	for (size_t i = 0; i < count && note->count < 64; i++) {
		note->added[note->count] = added[i];
		note->when_us[note->count++] = ring_now_us(node->ring);
	}
}

static void prepare(struct ring_node *node, void *userdata) {
	(void)userdata;
	node->userdata = calloc(1, sizeof(struct note));
	node->events.userdata = node;
	node->events.replicas_changed = note_replicas;
}

static void stopping(struct ring_node *node, void *userdata) {
	(void)userdata;
	free(node->userdata);
	node->userdata = NULL;
}

static struct ring *grown(size_t count, uint64_t seed) {
	struct ring *ring =
		ring_new(&(struct ring_settings){.seed = seed, .prepare = prepare, .stopping = stopping, .rejoin = true});

	ring_grow(ring, count, true, 2);
	ring_run(ring, 5000);
	return ring;
}

static void assert_right_within(struct ring *ring, unsigned seconds) {
	if (!ring_run_until_right(ring, seconds))
		fail_msg("%s", ring->reason);
}

/* ---- deaths ---- */

/* B-10.7.1-01, B-10.7.1-02, B-10.7.3-03 */
static void test_one_dies(void **state) {
	struct ring *ring = grown(10, 1);
	struct ring_node *dead = ring->nodes[4], *before = ring_after(ring, dead, 9), *third = ring_after(ring, dead, 2);
	struct note *note = before->userdata;
	uint64_t death_us = ring_now_us(ring);

	(void)state;
	note->count = 0;
	ring_kill(dead);
	assert_right_within(ring, 20);
	ring_run(ring, 20000);
	assert_int_equal(note->count, 0); /* held down: a better match may turn up */
	ring_run(ring, 30000);
	assert_int_equal(note->count, 1); /* its first replica holder was one before: the third is new */
	assert_true(id_equal(&note->added[0], &third->id));
	assert_true(note->when_us[0] - death_us >= 30 * USEC_PER_SEC);
	ring_free(ring);
}

/* A new successor gets its replicas at once, also in small rings. */
static void test_replicas_of_newcomers(void **state) {
	struct ring *ring = grown(5, 2);
	struct ring_node *owner = ring->nodes[2];
	struct note *note = owner->userdata;
	struct id id = id_add_small(&owner->id, 1);

	(void)state;
	assert_int_equal(note->count >= 2, true);
	note->count = 0;
	struct ring_node *next = ring_add(ring, &id);
	ring_bootstrap(next, ring->nodes[0]);
	assert_right_within(ring, 10);
	assert_int_equal(note->count, 1);
	assert_true(id_equal(&note->added[0], &next->id));
	ring_free(ring);
}

/* Who joins beside a gap is the better match for which the replacement waits: it gets its replicas at once, and nobody else. */
static void test_newcomer_beside_gap(void **state) {
	struct ring *ring = grown(10, 12);
	struct ring_node *owner = ring->nodes[4], *dead = ring_after(ring, owner, 1);
	struct note *note = owner->userdata;
	struct id id = id_add_small(&owner->id, 1);

	(void)state;
	uint64_t death_us = ring_now_us(ring);
	ring_kill(dead);
	assert_right_within(ring, 20);
	note->count = 0;
	struct ring_node *next = ring_add(ring, &id);
	ring_bootstrap(next, ring->nodes[0]);
	assert_right_within(ring, 5);
	assert_int_equal(note->count, 1);
	assert_true(id_equal(&note->added[0], &next->id));
	assert_true(note->when_us[0] - death_us < 30 * USEC_PER_SEC);
	ring_run(ring, 60000);
	assert_int_equal(note->count, 1); /* the two nearest are the newcomer and who was the second */
	ring_free(ring);
}

static void test_adjacent_die(void **state) {
	for (size_t deaths = 2; deaths <= 3; deaths++) {
		struct ring *ring = grown(12, 3 + deaths);
		struct ring_node *dead[3];

		(void)state;
		for (size_t i = 0; i < deaths; i++)
			dead[i] = ring_after(ring, ring->nodes[5], i);
		for (size_t i = 0; i < deaths; i++)
			ring_kill(dead[i]);
		assert_right_within(ring, 60);
		ring_free(ring);
	}
}

/* More than the successor lists hold: fingers are what is left (B-10.7.1-04). */
static void test_arc_dies(void **state) {
	struct ring *ring = grown(20, 9);
	struct ring_node *dead[7];

	(void)state;
	for (size_t i = 0; i < 7; i++)
		dead[i] = ring_after(ring, ring->nodes[5], i);
	for (size_t i = 0; i < 7; i++)
		ring_kill(dead[i]);
	assert_right_within(ring, 180);
	ring_free(ring);
}

static void test_third_dies(void **state) {
	struct ring *ring = grown(30, 10);

	(void)state;
	for (size_t i = 0; i < 10; i++)
		ring_kill(ring->nodes[(7 * i + 3) % 30]);
	assert_int_equal(ring_alive(ring), 20);
	assert_right_within(ring, 180);
	ring_free(ring);
}

static void test_down_to_one(void **state) {
	struct ring *ring = grown(4, 11);

	(void)state;
	ring_kill(ring->nodes[1]);
	assert_right_within(ring, 30);
	ring_kill(ring->nodes[2]);
	assert_right_within(ring, 30);
	ring_kill(ring->nodes[3]);
	/* B-10.7.1-04, B-4.5.2-01: the explicitly first node goes on alone, ... */
	assert_right_within(ring, 30);
	assert_int_equal(ring->nodes[0]->bootstrap_wanted_count, 0);
	struct ring_node *second = ring_add(ring, NULL);
	ring_bootstrap(second, ring->nodes[0]);
	assert_right_within(ring, 30);
	/* ... any other is out of the overlay and wants a way back. */
	ring_kill(ring->nodes[0]);
	ring_run(ring, 30000);
	assert_int_equal(second->state, TOPOLOGY_OFFLINE);
	assert_int_equal(second->bootstrap_wanted_count, 1);
	assert_false(second->topology->ops->responsible(second->topology, &second->id));
	assert_false(router_joined(second->router));
	struct ring_node *again = ring_restart(ring, ring->nodes[0]);
	ring_start(again);
	assert_right_within(ring, 30);
	ring_free(ring);
}

/* ---- return with the same Node-ID ---- */

static void test_restart(void **state) {
	static const unsigned pauses_ms[] = {0, 300, 4000, 60000};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(pauses_ms); i++) {
		struct ring *ring = grown(8, 20 + i);
		struct ring_node *dead = ring->nodes[3];
		ring_kill(dead);
		ring_run(ring, pauses_ms[i]);
		struct ring_node *again = ring_restart(ring, dead);
		ring_bootstrap(again, ring->nodes[0]);
		assert_right_within(ring, 90);
		assert_int_equal(again->joined_count, 1);
		ring_free(ring);
	}
}

/* Restarts of the bootstrap peer itself, which everybody is linked to. */
static void test_restart_of_first(void **state) {
	struct ring *ring = grown(6, 30);

	(void)state;
	ring_kill(ring->nodes[0]);
	struct ring_node *again = ring_restart(ring, ring->nodes[0]);
	ring_bootstrap(again, ring->nodes[3]);
	assert_right_within(ring, 90);
	ring_free(ring);
}

static void unhear(struct ring_node *node, const struct ring_node *other) {
	struct chord *chord = (struct chord *)(void *)node->topology;

	chord_table_find(&chord->table, &other->id)->ready = false;
	chord_changed(chord, CHORD_LOSS);
}

/* Both ends of a link wait for the Update of the other one, which is sent to known peers alone: those who list them end that. */
static void test_silent_link(void **state) {
	struct ring *ring = grown(8, 31);
	struct ring_node *a = ring->nodes[2], *b = ring_after(ring, a, 3);

	(void)state;
	ring_run(ring, 120000); /* links to bootstrap peers are looked at once more */
	unhear(a, b);
	unhear(b, a);
	assert_false(ring_is_right(ring));
	assert_right_within(ring, 3 * 60);
	ring_free(ring);
}

/* ---- leaving ---- */

struct leave_seen {
	struct ring_node *leaver;
	struct id successor, predecessor; /* its nearest */
	unsigned from_successor, from_predecessor;
};

static struct leave_seen leaves;

static void watch_leave(void *userdata, struct request *request) {
	struct ring_node *node = userdata;
	struct leave_req leave;
	struct chord_leave_data data;
	struct id listed[CHORD_DEPTH_MAX];

	assert_int_equal(leave_req_read(request->message.contents.body, ID_LENGTH_CHORD, &leave), 0);
	assert_int_equal(chord_leave_read(leave.overlay_specific_data, ID_LENGTH_CHORD, &data), 0);
	size_t count = chord_ids_read((struct chord *)(void *)node->topology, data.node_ids, listed, CHORD_DEPTH_MAX);
	assert_true(count >= 3);
	/* Its predecessors hear of the leaver's successors, its successors of its predecessors (B-10.9-01). */
	bool from_successor = data.type == CHORD_FROM_SUCC;
	assert_true(id_equal(&listed[0], from_successor ? &leaves.successor : &leaves.predecessor));
	assert_true(id_equal(&node->id, &leaves.successor) ? !from_successor : true);
	assert_true(id_equal(&node->id, &leaves.predecessor) ? from_successor : true);
	leaves.from_successor += from_successor;
	leaves.from_predecessor += data.type == CHORD_FROM_PRED;
	for (size_t i = 0; i < count; i++)
		assert_false(id_equal(&listed[i], &leaves.leaver->id));
	chord_leave_handle(node->topology, request);
}

static void test_leave(void **state) {
	struct ring *ring = grown(12, 40);
	struct ring_node *leaver = ring->nodes[6], *next = ring_after(ring, leaver, 1), *before = ring_after(ring, leaver, 11);

	(void)state;
	leaves = (struct leave_seen){.leaver = leaver, .successor = next->id, .predecessor = before->id};
	for (size_t i = 0; i < 12; i++)
		router_handle(ring->nodes[i]->router, LEAVE_REQ, watch_leave, ring->nodes[i]);
	ring_leave(leaver);
	assert_int_equal(leaver->state, TOPOLOGY_LEAVING);
	/* Its neighbors act at once, long before any link could be found dead (B-10.9-02, B-6.4.2.2-03). */
	ring_run(ring, 100);
	assert_true(next->topology->ops->responsible(next->topology, &leaver->id));
	struct topology_view view;
	before->topology->ops->view(before->topology, &view);
	assert_true(id_equal(&view.successors[0], &next->id));
	assert_true(leaves.from_successor >= 4 && leaves.from_predecessor >= 4);
	ring_run(ring, 5000);
	assert_int_equal(leaver->state, TOPOLOGY_LEFT);
	assert_false(leaver->topology->ops->responsible(leaver->topology, &leaver->id));
	ring_kill(leaver);
	assert_right_within(ring, 5);
	/* And back again, soon. */
	struct ring_node *again = ring_restart(ring, leaver);
	ring_bootstrap(again, ring->nodes[1]);
	assert_right_within(ring, 30);
	ring_free(ring);
}

static bool nobody_is_linked_to(void *userdata) {
	struct ring_node *gone = userdata;

	for (size_t i = 0; i < gone->ring->count; i++)
		if (gone->ring->nodes[i]->router && router_connection_of(gone->ring->nodes[i]->router, &gone->id))
			return false;
	return true;
}

/* It took its leave and ended, but nobody heard that its links ended, too: they do not stay for ever. */
static void test_leave_half_heard(void **state) {
	enum { CHECK_MS = 10000 };
	struct ring *ring =
		ring_new(&(struct ring_settings){.seed = 42, .prepare = prepare, .stopping = stopping, .check_ms = CHECK_MS});

	(void)state;
	ring_grow(ring, 12, true, 2);
	ring_run(ring, 5000);
	struct ring_node *leaver = ring->nodes[5];
	ring_leave(leaver);
	ring_run(ring, 5000);
	assert_int_equal(leaver->state, TOPOLOGY_LEFT);
	ring_kill(leaver);
	assert_false(nobody_is_linked_to(leaver));
	assert_true(ring_run_until(ring, 4 * CHECK_MS, nobody_is_linked_to, leaver));
	assert_right_within(ring, 5);
	ring_free(ring);
}

static void test_all_leave(void **state) {
	struct ring *ring = grown(5, 41);

	(void)state;
	for (size_t i = 1; i < 5; i++) {
		ring_leave(ring->nodes[i]);
		ring_run(ring, 6000);
		assert_int_equal(ring->nodes[i]->state, TOPOLOGY_LEFT);
		ring_kill(ring->nodes[i]);
		assert_right_within(ring, 5);
	}
	ring_leave(ring->nodes[0]);
	assert_int_equal(ring->nodes[0]->state, TOPOLOGY_LEFT); /* nobody to tell */
	ring_free(ring);
}

/* ---- links that fail and recover ---- */

static bool lists(struct ring_node *node, const struct ring_node *other) {
	struct topology_view view;

	node->topology->ops->view(node->topology, &view);
	for (size_t i = 0; i < view.successor_count; i++)
		if (id_equal(&view.successors[i], &other->id))
			return true;
	for (size_t i = 0; i < view.predecessor_count; i++)
		if (id_equal(&view.predecessors[i], &other->id))
			return true;
	return false;
}

/* B-10.7.1-05: out while the link is suspect, back when it works again, in both directions. */
static void test_suspect_and_back(void **state) {
	struct ring *ring = grown(8, 50);
	struct ring_node *node = ring->nodes[2], *next = ring_after(ring, node, 1);
	bool out = false;

	(void)state;
	ring_cut(node, next, true);
	for (unsigned i = 0; i < 200 && !out; i++) {
		ring_run(ring, 20);
		out = !lists(node, next);
	}
	assert_true(out);
	assert_non_null(router_connection_of(node->router, &next->id)); /* suspect, not down */
	assert_true(router_connection_of(node->router, &next->id)->suspected);
	ring_cut(node, next, false);
	assert_right_within(ring, 10);
	ring_free(ring);
}

/* For so long that the link goes down: a new Attach after the hold-off. */
static void test_link_lost_and_back(void **state) {
	struct ring *ring = grown(8, 51);
	struct ring_node *node = ring->nodes[2], *next = ring_after(ring, node, 1);

	(void)state;
	ring_cut(node, next, true);
	ring_run(ring, 20000);
	assert_false(lists(node, next));
	assert_null(router_connection_of(node->router, &next->id));
	ring_cut(node, next, false);
	assert_right_within(ring, 150);
	ring_free(ring);
}

static struct ring *rarely_updating(size_t count, uint64_t seed) {
	struct ring *ring =
		ring_new(&(struct ring_settings){.seed = seed, .update_interval_s = 3600, .ping_interval_s = 3600, .rejoin = true});

	ring_grow(ring, count, true, 2);
	ring_run(ring, 5000);
	return ring;
}

/* The same of its own accord, long before anybody sends a periodic Update: a link is suspect before it is down, and its peer was a
 * neighbor until then (B-10.7.1-05). */
static void test_lost_neighbor_is_retried(void **state) {
	struct ring *ring = rarely_updating(8, 55);
	struct ring_node *node = ring->nodes[2], *next = ring_after(ring, node, 1);

	(void)state;
	ring_cut(node, next, true);
	ring_run(ring, 20000);
	assert_null(router_connection_of(node->router, &next->id));
	ring_cut(node, next, false);
	assert_right_within(ring, 60);
	ring_free(ring);
}

/* Cut off for so long that some links go down while the others are still suspect: from those it hears of the rest. */
static void test_cut_off_from_some(void **state) {
	struct ring *ring = rarely_updating(9, 56);
	struct ring_node *node = ring->nodes[4], *others[8];

	(void)state;
	for (size_t i = 0; i < 8; i++)
		others[i] = ring_after(ring, node, i + 1);
	for (size_t i = 0; i < 6; i++)
		ring_cut(node, others[i], true);
	ring_run(ring, 8000);
	for (size_t i = 6; i < 8; i++)
		ring_cut(node, others[i], true);
	for (unsigned i = 0; i < 200 && node->state == TOPOLOGY_JOINED; i++)
		ring_run(ring, 50);
	assert_int_equal(node->state, TOPOLOGY_OFFLINE);
	assert_null(router_connection_of(node->router, &others[0]->id));
	assert_non_null(router_connection_of(node->router, &others[7]->id));
	for (size_t i = 0; i < 8; i++)
		ring_cut(node, others[i], false);
	assert_right_within(ring, 90);
	ring_free(ring);
}

/* Own retries in vain, rarer and rarer, must not hold off a peer that others name: they reach it. */
static void test_named_after_retries(void **state) {
	struct ring *ring = rarely_updating(8, 57);
	struct ring_node *node = ring->nodes[2], *next = ring_after(ring, node, 1);
	struct chord *chord = (struct chord *)(void *)node->topology;

	(void)state;
	ring_cut(node, next, true);
	ring_run(ring, 300000); /* three retries, and the next one is minutes away */
	assert_false(lists(node, next));
	assert_false(chord_unreachable_now(chord, &next->id));
	assert_int_equal(chord_attach_count(chord, CHORD_ATTACH_RETRY), 0);
	ring_cut(node, next, false);
	chord_learn(chord, &ring_after(ring, node, 2)->id, &next->id, 1);
	assert_int_equal(chord_attach_count(chord, CHORD_ATTACH_NEIGHBOR), 1);
	assert_right_within(ring, 10);
	ring_free(ring);
}

/* A peer that is gone is looked for a few times, each later than the one before, and then no more. */
static void test_retries_end(void **state) {
	struct ring *ring = rarely_updating(8, 58);
	struct ring_node *node = ring->nodes[2];
	struct chord *chord = (struct chord *)(void *)node->topology;
	unsigned attempts = 0;
	bool trying = false;

	(void)state;
	ring_kill(ring_after(ring, node, 1));
	for (unsigned i = 0; i < 1200; i++) {
		ring_run(ring, 500);
		bool now = chord_attach_count(chord, CHORD_ATTACH_RETRY) > 0;
		attempts += now && !trying;
		trying = now;
	}
	assert_in_range(attempts, 1, CHORD_RETRIES_MAX);
	ring_run(ring, 300000);
	assert_int_equal(chord_attach_count(chord, CHORD_ATTACH_RETRY), 0);
	assert_true(ring_is_right(ring));
	ring_free(ring);
}

/* A peer that cannot be reached although others name it again and again is not tried again and again. */
static void test_hold_off(void **state) {
	struct ring *ring = grown(8, 52);
	struct ring_node *node = ring->nodes[2], *next = ring_after(ring, node, 1);
	struct chord *chord = (struct chord *)(void *)node->topology;

	(void)state;
	ring_cut(node, next, true);
	ring_run(ring, 15000);
	assert_true(chord_unreachable_now(chord, &next->id));
	for (unsigned i = 0; i < 5; i++) {
		chord_learn(chord, &ring_after(ring, node, 2)->id, &next->id, 1);
		assert_int_equal(chord_attach_count(chord, CHORD_ATTACH_NEIGHBOR), 0);
	}
	ring_free(ring);
}

/* Cut off from everybody: offline, and back through a bootstrap peer or its old links. */
static void test_cut_off(void **state) {
	static const unsigned seconds[] = {2, 60};

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct ring *ring = grown(7, 53 + k);
		struct ring_node *node = ring->nodes[3];
		for (size_t i = 0; i < 7; i++)
			if (ring->nodes[i] != node)
				ring_cut(node, ring->nodes[i], true);
		for (unsigned i = 0; i < 100 && node->state == TOPOLOGY_JOINED; i++)
			ring_run(ring, 100);
		assert_int_equal(node->state, TOPOLOGY_OFFLINE);
		assert_int_equal(node->bootstrap_wanted_count, 1);
		ring_run(ring, 1000 * seconds[k]);
		for (size_t i = 0; i < 7; i++)
			if (ring->nodes[i] != node)
				ring_cut(node, ring->nodes[i], false);
		assert_right_within(ring, 120);
		ring_free(ring);
	}
}

/* ---- partitions (B-10.7.4-04, B-6.4.2.3-02) ---- */

static void test_two_rings_merge(void **state) {
	static const size_t sizes[][2] = {{1, 1}, {1, 6}, {2, 2}, {5, 5}, {10, 12}};

	(void)state;
	for (size_t k = 0; k < ARRAY_LENGTH(sizes); k++) {
		struct ring *ring = ring_new(&(struct ring_settings){.seed = 60 + k});
		for (size_t half = 0; half < 2; half++) {
			struct ring_node *first = ring_add(ring, NULL);
			ring_start(first);
			for (size_t i = 1; i < sizes[k][half]; i++) {
				ring_bootstrap(ring_add(ring, NULL), first);
				ring_run(ring, 1500);
			}
		}
		ring_run(ring, 2000);
		assert_false(ring_is_right(ring));
		/* One peer of the first ring looks through one of the second. */
		ring_bootstrap(ring->nodes[sizes[k][0] - 1], ring->nodes[sizes[k][0]]);
		assert_right_within(ring, 60);
		ring_free(ring);
	}
}

/* A ring torn in two by the network, for longer than all hold-offs and retries, and joined again. */
static void test_torn_and_merged(void **state) {
	struct ring *ring = ring_new(&(struct ring_settings){.seed = 70, .check_ms = 15000});

	(void)state;
	ring_grow(ring, 12, true, 2);
	ring_run(ring, 5000);
	for (size_t i = 0; i < 12; i++)
		for (size_t k = i + 1; k < 12; k++)
			if (i % 2 != k % 2)
				ring_cut(ring->nodes[i], ring->nodes[k], true);
	ring_run(ring, 600000);
	for (size_t i = 0; i < 12; i++)
		assert_int_equal(ring->nodes[i]->state, TOPOLOGY_JOINED);
	assert_false(ring_is_right(ring));
	for (size_t i = 0; i < 12; i++)
		for (size_t k = i + 1; k < 12; k++)
			if (i % 2 != k % 2)
				ring_cut(ring->nodes[i], ring->nodes[k], false);
	ring_run(ring, 60000);
	ring_bootstrap(ring->nodes[3], ring->nodes[4]);
	assert_right_within(ring, 60);
	ring_free(ring);
}

/* In one ring the check changes nothing. */
static void test_no_partition(void **state) {
	struct ring *ring = grown(9, 71);

	(void)state;
	for (size_t i = 1; i < 9; i++)
		ring_bootstrap(ring->nodes[i], ring->nodes[0]);
	ring_run(ring, 2000);
	for (size_t i = 0; i < 9; i++) {
		const struct chord *chord = (const struct chord *)(const void *)ring->nodes[i]->topology;
		assert_int_equal(chord->attach_count, 0);
	}
	assert_true(ring_is_right(ring));
	ring_free(ring);
}

/* ---- stabilization ---- */

struct update_count {
	struct ring_node *node;
	unsigned neighbors, ready, full;
};

static void count_update(void *userdata, struct request *request) {
	struct update_count *count = userdata;
	struct chord_update update;

	assert_int_equal(chord_update_read(request->message.contents.body, ID_LENGTH_CHORD, &update), 0);
	if (lists(count->node, ring_node_of(count->node->ring, &request->signer_id))) {
		assert_int_not_equal(update.type, CHORD_PEER_READY); /* B-10.7-02 */
		count->neighbors += update.type == CHORD_NEIGHBORS;
		count->full += update.type == CHORD_FULL;
	} else {
		assert_int_not_equal(update.type, CHORD_NEIGHBORS);
		count->ready += update.type == CHORD_PEER_READY;
	}
	chord_update_handle(count->node->topology, request);
}

/* B-10.7.4-01: every neighbor about once an interval, not all at once; other peers get a sign of life. */
static void test_periodic_updates(void **state) {
	struct ring *ring = ring_new(&(struct ring_settings){.seed = 80, .check_ms = 60000});
	ring_grow(ring, 30, true, 2);
	struct update_count count = {.node = ring->nodes[5]};

	(void)state;
	ring_run(ring, 120000);
	router_handle(count.node->router, UPDATE_REQ, count_update, &count);
	ring_run(ring, 300000); /* five intervals */
	assert_true(count.neighbors >= 8 * 4 && count.neighbors <= 8 * 7);
	assert_true(count.ready > 0);
	assert_true(count.full >= 4 && count.full <= 7); /* what we ask our successor for */
	ring_free(ring);
}

struct ping_count {
	struct ring_node *node;
	unsigned searches;
};

static void trace_pings(void *userdata, const char *event, const struct forwarding_header *header, uint16_t code, uint16_t slot,
			const char *detail) {
	struct ping_count *count = userdata;
	struct reader r = reader_of_octets(header->destination_list);
	struct destination destination;

	(void)slot, (void)detail;
	if (strcmp(event, "send") == 0 && code == PING_REQ && destination_read(&r, &destination) == 0)
		count->searches += destination.type == DESTINATION_RESOURCE;
}

/* B-10.7.2-01, B-10.7.4-02: without its fingers a peer searches for others, by Pings to Resource-IDs, and finds some. */
static void test_fingers_found_again(void **state) {
	struct ring *ring = ring_new(&(struct ring_settings){.seed = 81, .check_ms = 600000, .update_interval_s = 600});
	ring_grow(ring, 30, true, 2);
	ring_run(ring, 1000);
	struct ping_count count = {0};
	struct chord *chord = NULL;
	unsigned missing[CHORD_FINGERS_MAX];

	(void)state;
	/* A peer that keeps no neighbor in an interval where it had fingers. */
	for (size_t k = 9; k < 30 && (!chord || chord->fingers_lost == 0); k++) {
		chord = (struct chord *)(void *)ring->nodes[k]->topology;
		count.node = ring->nodes[k];
		for (size_t i = 0; i < chord->table.count;) {
			const struct chord_member *member = &chord->table.members[i];
			if (member->successor || member->predecessor)
				i++;
			else
				router_close(count.node->router, member->slot, LINK_CLOSED_BY_US);
		}
	}
	assert_true(chord->fingers_lost > 0);
	router_set_trace(count.node->router, trace_pings, &count);
	size_t lost = chord_table_missing_fingers(&chord->table, missing, CHORD_FINGERS_MAX);
	assert_true(lost > 0);
	ring_run(ring, 8000);
	assert_true(count.searches >= 1); /* reactively */
	ring_run(ring, 3600000 / 2);	  /* six intervals */
	assert_true(count.searches <= 10);
	assert_true(chord_table_missing_fingers(&chord->table, missing, CHORD_FINGERS_MAX) < lost);
	assert_true(ring_is_right(ring));
	ring_free(ring);
}

/* ---- liveness (B-10.7-03) ---- */

static void trace_checks(void *userdata, const char *event, const struct forwarding_header *header, uint16_t code, uint16_t slot,
			 const char *detail) {
	unsigned *checks = userdata;

	(void)header, (void)slot, (void)detail;
	*checks += strcmp(event, "send") == 0 && code == PING_REQ;
}

static unsigned checks_within(struct ring *ring, unsigned *checks, unsigned seconds) {
	*checks = 0;
	ring_run(ring, seconds * 1000);
	return *checks;
}

/* Peers that have been there long are checked more seldom, but never less than once in CHORD_CHECK_GROWTH intervals, and the
 * nearest always; one that falls silent then is noticed by all within that time all the same. */
static void test_checks_grow_rare(void **state) {
	enum { CHECK_S = 10, SPAN_S = 240, NEIGHBORS = 8, WATCHED = 2 };
	struct ring *ring = ring_new(&(struct ring_settings){
		.seed = 83, .check_ms = CHECK_S * 1000, .update_interval_s = 86400, .ping_interval_s = 86400});
	const unsigned often = SPAN_S / CHECK_S, rare = SPAN_S / (CHECK_S * CHORD_CHECK_GROWTH);
	unsigned checks;

	(void)state;
	ring_grow(ring, NEIGHBORS + 1, true, 2);
	router_set_trace(ring->nodes[2]->router, trace_checks, &checks);
	unsigned young = checks_within(ring, &checks, SPAN_S);
	ring_run(ring, CHECK_S * 1000 * CHORD_CHECK_AGE * CHORD_CHECK_GROWTH);
	unsigned old = checks_within(ring, &checks, SPAN_S);
	/* Each of the two ends of a link may ask, and hears of the other. */
	assert_true(young >= NEIGHBORS * often / 4 && young <= NEIGHBORS * often * 4 / 3);
	assert_true(old >= WATCHED * often / 4 && old <= (WATCHED * often + (NEIGHBORS - WATCHED) * rare) * 4 / 3);
	ring_kill(ring->nodes[4]);
	ring_run(ring, CHECK_S * 1000 * CHORD_CHECK_GROWTH * 5 / 4 + 30000);
	assert_int_equal(ring_alive(ring), NEIGHBORS);
	assert_true(ring_is_right(ring));
	ring_free(ring);
}

static void expect_unlisted(const struct ring *ring, const struct ring_node *dead) {
	for (size_t i = 0; i < ring->count; i++) {
		const struct chord *chord = (const struct chord *)(const void *)ring->nodes[i]->topology;
		assert_true(!chord || !chord_table_is_neighbor(&chord->table, &dead->id));
	}
}

/*
 * However long they have been there: the two next to a dead peer notice within a check interval, a quarter of it for the spread,
 * and the time in which a link finds out; its other neighbors look as soon as these tell, by Updates without it, and find out
 * likewise.
 */
static void test_deaths_are_told(void **state) {
	enum { PEERS = 10, CHECK_MS = 20000, LINK_MS = 5000, AGED = 4, DEATHS = 4 };
	struct ring *ring = ring_new(
		&(struct ring_settings){.seed = 84, .check_ms = CHECK_MS, .update_interval_s = 86400, .ping_interval_s = 86400});

	(void)state;
	ring_grow(ring, PEERS, true, 2);
	ring_run(ring, CHECK_MS * CHORD_CHECK_AGE * AGED);
	for (size_t deaths = 1; deaths <= DEATHS; deaths++) {
		struct ring_node *dead = ring->nodes[2 * deaths];
		ring_kill(dead);
		ring_run(ring, CHECK_MS * 5 / 4 + 2 * LINK_MS);
		expect_unlisted(ring, dead);
		assert_true(ring_is_right(ring));
	}
	ring_free(ring);
}

/* Two that stand next to each other die: each has a living neighbor on one side. */
static void test_two_deaths_are_told(void **state) {
	enum { PEERS = 12, CHECK_MS = 20000, LINK_MS = 5000, AGED = 4 };
	struct ring *ring = ring_new(
		&(struct ring_settings){.seed = 85, .check_ms = CHECK_MS, .update_interval_s = 86400, .ping_interval_s = 86400});

	(void)state;
	ring_grow(ring, PEERS, true, 2);
	ring_run(ring, CHECK_MS * CHORD_CHECK_AGE * AGED);
	struct ring_node *dead[] = {ring->nodes[5], ring_after(ring, ring->nodes[5], 1)};
	struct ring_node *after = ring_after(ring, ring->nodes[5], 2);
	ring_kill(dead[0]);
	ring_kill(dead[1]);
	ring_run(ring, CHECK_MS * 5 / 4 + 3 * LINK_MS);
	expect_unlisted(ring, dead[0]);
	expect_unlisted(ring, dead[1]);
	assert_ptr_equal(ring_responsible(ring, &dead[0]->id), after);
	assert_true(after->topology->ops->responsible(after->topology, &dead[0]->id));
	ring_free(ring);
}

/* One whom a neighbor does not list, though it is there, is asked once, answers, and stays. */
static void test_missing_is_asked(void **state) {
	enum { CHECK_MS = 3600000 };
	struct ring *ring = ring_new(
		&(struct ring_settings){.seed = 86, .check_ms = CHECK_MS, .update_interval_s = 86400, .ping_interval_s = 86400});
	unsigned checks;

	(void)state;
	ring_grow(ring, 9, true, 2);
	struct ring_node *node = ring->nodes[3];
	struct chord *chord = (struct chord *)(void *)node->topology;
	struct id all[] = {ring_after(ring, node, 2)->id, ring_after(ring, node, 3)->id, ring_after(ring, node, 4)->id};
	struct id sender = ring_after(ring, node, 1)->id, gap[] = {all[1], all[2]}, early[] = {all[0]};
	struct id behind[] = {ring_after(ring, node, 8)->id};
	router_set_trace(node->router, trace_checks, &checks);
	chord_ping_peer(chord, chord_table_find(&chord->table, &all[0]));
	ring_run(ring, CHORD_MISSING_MS / 2);
	checks = 0;
	chord_check_missing(chord, &sender, CHORD_SUCCESSORS, gap, 2);
	assert_int_equal(checks, 0); /* it was heard of just now */
	ring_run(ring, 2 * CHORD_MISSING_MS);
	chord_check_missing(chord, &sender, CHORD_SUCCESSORS, all, 3);
	chord_check_missing(chord, &sender, CHORD_SUCCESSORS, early, 1); /* nobody beyond the end of the list is missing */
	chord_check_missing(chord, &sender, CHORD_SUCCESSORS, gap, 0);
	chord_check_missing(chord, &sender, CHORD_PREDECESSORS, behind, 1); /* we are never missing */
	assert_int_equal(checks, 0);
	chord_check_missing(chord, &sender, CHORD_SUCCESSORS, gap, 2);
	assert_int_equal(checks, 1);
	chord_check_missing(chord, &all[2], CHORD_PREDECESSORS, (struct id[]){all[1], sender}, 2);
	assert_int_equal(checks, 1); /* others may tell so, too */
	ring_run(ring, 2 * CHORD_MISSING_MS);
	assert_true(chord_table_is_neighbor(&chord->table, &all[0]));
	assert_true(ring_is_right(ring));
	chord_check_missing(chord, &sender, CHORD_SUCCESSORS, gap, 2);
	assert_int_equal(checks, 1); /* once in a check interval */
	ring_run(ring, CHECK_MS);
	checks = 0;
	chord_check_missing(chord, &sender, CHORD_PREDECESSORS, (struct id[]){behind[0], ring_after(ring, node, 6)->id}, 2);
	assert_int_equal(checks, 1); /* the other side likewise */
	ring_free(ring);
}

/* Links of peers that are neither neighbors nor fingers any more do not pile up. */
static void test_surplus_links(void **state) {
	struct ring *ring = ring_new(&(struct ring_settings){.seed = 82, .check_ms = 300000});
	size_t links = 0;

	(void)state;
	ring_grow(ring, 40, true, 2);
	ring_run(ring, 200000);
	for (size_t i = 0; i < ring->count; i++) {
		size_t position = 0;
		size_t own = 0;
		while (router_connection_next(ring->nodes[i]->router, &position))
			own++;
		assert_true(own < 25); /* the bootstrap peer of all of them, too */
		links += own;
	}
	assert_true(links / ring->count < 18);
	assert_true(ring_is_right(ring));
	ring_free(ring);
}

/* Joins, deaths and leaves at the same time, then quiet. */
static void test_churn(void **state) {
	struct ring *ring = grown(16, 90);

	(void)state;
	for (unsigned round = 0; round < 24; round++) {
		struct ring_node *node = ring->nodes[1 + (13 * round) % (ring->count - 1)];
		if (round % 3 == 0)
			ring_kill(node);
		else if (round % 3 == 1)
			ring_bootstrap(ring_add(ring, NULL), ring->nodes[0]);
		else if (node->host && node->state == TOPOLOGY_JOINED)
			ring_leave(node);
		ring_run(ring, 700);
		for (size_t i = 0; i < ring->count; i++)
			if (ring->nodes[i]->host && ring->nodes[i]->state == TOPOLOGY_LEFT)
				ring_kill(ring->nodes[i]);
	}
	ring_run(ring, 6000);
	for (size_t i = 0; i < ring->count; i++)
		if (ring->nodes[i]->host && ring->nodes[i]->state == TOPOLOGY_LEFT)
			ring_kill(ring->nodes[i]);
	assert_right_within(ring, 240);
	ring_free(ring);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_dies),
		cmocka_unit_test(test_replicas_of_newcomers),
		cmocka_unit_test(test_newcomer_beside_gap),
		cmocka_unit_test(test_adjacent_die),
		cmocka_unit_test(test_arc_dies),
		cmocka_unit_test(test_third_dies),
		cmocka_unit_test(test_down_to_one),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_restart_of_first),
		cmocka_unit_test(test_silent_link),
		cmocka_unit_test(test_leave),
		cmocka_unit_test(test_leave_half_heard),
		cmocka_unit_test(test_all_leave),
		cmocka_unit_test(test_suspect_and_back),
		cmocka_unit_test(test_link_lost_and_back),
		cmocka_unit_test(test_lost_neighbor_is_retried),
		cmocka_unit_test(test_cut_off_from_some),
		cmocka_unit_test(test_named_after_retries),
		cmocka_unit_test(test_retries_end),
		cmocka_unit_test(test_hold_off),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_two_rings_merge),
		cmocka_unit_test(test_torn_and_merged),
		cmocka_unit_test(test_no_partition),
		cmocka_unit_test(test_periodic_updates),
		cmocka_unit_test(test_fingers_found_again),
		cmocka_unit_test(test_checks_grow_rare),
		cmocka_unit_test(test_deaths_are_told),
		cmocka_unit_test(test_two_deaths_are_told),
		cmocka_unit_test(test_missing_is_asked),
		cmocka_unit_test(test_surplus_links),
		cmocka_unit_test(test_churn),
	};

	log_level = getenv("LOG") ? LOG_DEBUG : LOG_ERR;
	return cmocka_run_group_tests_name("chord churn", tests, NULL, NULL);
}
