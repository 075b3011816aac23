/* SPDX-License-Identifier: BSD-2-Clause */
/* Storage over a real ring: replicas, deaths, joins, restarts, partitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "storage/database.h"
#include "support/store_ring.h"

#include <errno.h>
#include <string.h>

enum { USERS = 24 };

static struct store_ring stores;
static struct ring *ring;
static struct credential *users[USERS];
static char values[USERS][32];

static void start(uint64_t seed, size_t peers, const char *directory) {
	store_ring_start(&stores, &(struct ring_settings){.seed = seed, .rejoin = true}, directory);
	ring = stores.ring;
	if (peers > 0)
		ring_grow(ring, peers, true, 5);
	for (unsigned i = 0; i < USERS; i++)
		users[i] = store_ring_user(&stores, "user", i);
}

static void stop(void) {
	for (unsigned i = 0; i < USERS; i++)
		users[i] = credential_unref(users[i]);
	store_ring_stop(&stores);
}

static struct ring_node *alive(unsigned i) {
	for (;; i++)
		if (ring->nodes[i % ring->count]->host)
			return ring->nodes[i % ring->count];
}

static void put_all(const char *text) {
	for (unsigned i = 0; i < USERS; i++) {
		snprintf(values[i], sizeof(values[i]), "%s %u", text, i);
		assert_int_equal(store_ring_put(alive(i), users[i], values[i], 86400, NULL), 0);
	}
}

static void get_all(void) {
	for (unsigned i = 0; i < USERS; i++) {
		const char *text = store_ring_get(alive(3 * i + 1), users[i]);
		if (!text || strcmp(text, values[i]) != 0)
			fail_msg("user %u: \"%s\" instead of \"%s\"", i, text ? text : "(failed)", values[i]);
	}
}

/* Every value is at its owner and the next two. */
static bool all_placed(void *userdata) {
	(void)userdata;
	for (unsigned i = 0; i < USERS; i++)
		if (!store_ring_well_placed(&stores, users[i], values[i], 2))
			return false;
	return true;
}

static void assert_placed_within(unsigned seconds) {
	for (unsigned i = 0; i < seconds && !all_placed(NULL); i++)
		ring_run(ring, 1000);
	for (unsigned i = 0; i < USERS; i++)
		if (!store_ring_well_placed(&stores, users[i], values[i], 2))
			fail_msg("user %u has %zu copies", i, store_ring_copies(&stores, users[i], values[i]));
}

static void assert_right_within(unsigned seconds) {
	if (!ring_run_until_right(ring, seconds))
		fail_msg("%s", ring->reason);
}

static void test_replicas(void **state) { /* B-10.4-01, B-10.4-02 */
	(void)state;
	start(1, 10, NULL);
	put_all("value");
	ring_run(ring, 2000);
	assert_true(all_placed(NULL));
	for (unsigned i = 0; i < USERS; i++)
		assert_int_equal(store_ring_copies(&stores, users[i], values[i]), 3); /* and nowhere else */
	get_all();
	uint16_t code;
	assert_int_equal(store_ring_put(alive(0), users[0], "x", 0xffffffff, &code), 0);
	stop();
}

static void test_two_adjacent_holders_die(void **state) { /* B-10.7.1-02, B-10.7.3-03 */
	(void)state;
	start(2, 12, NULL);
	put_all("value");
	ring_run(ring, 2000);
	struct id place = store_ring_place(users[0]);
	struct ring_node *owner = ring_responsible(ring, &place), *next = ring_after(ring, owner, 1);
	ring_kill(owner);
	ring_kill(next);
	assert_right_within(60);
	get_all();
	ring_run(ring, 60000); /* the hold-down, then new replicas */
	assert_placed_within(60);
	/* and once more, so that the new replicas have to serve */
	owner = ring_responsible(ring, &place);
	next = ring_after(ring, owner, 1);
	ring_kill(owner);
	ring_kill(next);
	assert_right_within(60);
	get_all();
	ring_run(ring, 60000);
	assert_placed_within(60);
	stop();
}

static void test_third_copy(void **state) { /* two of three die one after the other, the first is back without its disk */
	(void)state;
	start(6, 12, NULL);
	put_all("value");
	ring_run(ring, 2000);
	struct id place = store_ring_place(users[0]);
	struct ring_node *owner = ring_responsible(ring, &place), *next = ring_after(ring, owner, 1),
			 *peer = ring_after(ring, owner, 5);
	ring_kill(next);
	ring_run(ring, 12000);
	next = ring_restart(ring, next);
	ring_bootstrap(next, peer);
	ring_run(ring, 2000);
	ring_kill(owner);
	assert_right_within(60);
	assert_ptr_equal(ring_responsible(ring, &place), next);
	ring_run(ring, 30000); /* the third offers its copy */
	get_all();
	ring_run(ring, 60000);
	assert_placed_within(60);
	stop();
}

/* All other holders are gone, and two peers have joined in front of the third, the farther one last: nobody expects the copy there
 * any more, its holder's range stays as it was, and the owner does not have it. (B-10.7.3-04) */
static void test_last_copy_far_away(void **state) {
	(void)state;
	start(7, 10, NULL);
	put_all("value");
	ring_run(ring, 2000);
	struct id place = store_ring_place(users[0]);
	struct ring_node *owner = ring_responsible(ring, &place), *holder = ring_after(ring, owner, 1);
	struct id near = id_add_small(&owner->id, 1000), far = id_add_small(&owner->id, 500);
	ring_bootstrap(ring_add(ring, &near), holder);
	assert_right_within(30);
	assert_placed_within(60);
	ring_run(ring, 130000); /* whatever was to be looked at after that */
	for (size_t i = 0; i < ring_alive(ring); i++)
		if (alive((unsigned)i) != holder)
			assert_true(record_discard(store_ring_of(alive((unsigned)i))->database, &place, STORE_RING_SINGLE) >= 0);
	assert_int_equal(store_ring_copies(&stores, users[0], values[0]), 1);
	ring_bootstrap(ring_add(ring, &far), holder);
	assert_right_within(30);
	assert_ptr_equal(ring_responsible(ring, &place), owner);
	assert_placed_within(120);
	ring_run(ring, 5000);
	assert_int_equal(store_ring_copies(&stores, users[0], values[0]), 3); /* and the far one has gone */
	stop();
}

static void test_join(void **state) { /* B-10.5-05, B-10.5-06 */
	(void)state;
	start(3, 4, NULL);
	put_all("before");
	for (unsigned round = 0; round < 6; round++) {
		struct ring_node *joiner = ring_add(ring, NULL);
		ring_bootstrap(joiner, ring->nodes[0]);
		assert_right_within(30);
		get_all(); /* as soon as it owns its range, it serves it */
		for (unsigned i = 0; i < USERS; i++) {
			struct id place = store_ring_place(users[i]);
			if (ring_responsible(ring, &place) == joiner)
				assert_string_equal(store_ring_get(alive(i), users[i]), values[i]);
		}
	}
	assert_placed_within(120);
	/* what is three predecessors away has gone (B-10.7.3-04) */
	size_t copies = 0;
	for (unsigned i = 0; i < USERS; i++)
		copies += store_ring_copies(&stores, users[i], values[i]);
	assert_in_range(copies, 3 * USERS, 5 * USERS);
	stop();
}

static void test_leave(void **state) {
	(void)state;
	start(4, 8, NULL);
	put_all("value");
	ring_run(ring, 2000);
	for (unsigned i = 0; i < 3; i++) {
		ring_leave(ring->nodes[2 * i + 1]);
		ring_run(ring, 6000);
		assert_int_equal(ring->nodes[2 * i + 1]->state, TOPOLOGY_LEFT);
		ring_kill(ring->nodes[2 * i + 1]);
		assert_right_within(60);
		get_all();
		ring_run(ring, 60000);
	}
	assert_placed_within(120);
	stop();
}

static void test_small_rings(void **state) {
	(void)state;
	start(5, 1, NULL);
	put_all("alone");
	get_all();
	ring_bootstrap(ring_add(ring, NULL), ring->nodes[0]);
	assert_right_within(30);
	get_all();
	ring_run(ring, 60000);
	ring_kill(ring->nodes[0]); /* the second has everything */
	for (unsigned i = 0; i < 60 && ring->nodes[1]->state == TOPOLOGY_JOINED; i++)
		ring_run(ring, 1000);
	if (ring->nodes[1]->state != TOPOLOGY_JOINED)
		ring_start(ring->nodes[1]); /* isolated: the operator makes it the first node again */
	assert_right_within(10);
	get_all();
	stop();
}

static void test_restart(void **state) { /* data survives, and what changed meanwhile wins */
	char directory[64] = "/tmp/ringgate-ring-XXXXXX", command[128];

	(void)state;
	assert_non_null(mkdtemp(directory));
	start(6, 6, directory);
	put_all("old");
	ring_run(ring, 2000);
	struct id place = store_ring_place(users[0]);
	struct ring_node *owner = ring_responsible(ring, &place);
	ring_kill(owner);
	assert_right_within(60);
	ring_run(ring, 40000);
	for (unsigned i = 0; i < USERS; i += 2) {
		snprintf(values[i], sizeof(values[i]), "new %u", i);
		assert_int_equal(store_ring_put(alive(i), users[i], values[i], 86400, NULL), 0);
	}
	struct ring_node *back = ring_restart(ring, owner);
	struct store_figures figures;
	store_figures(store_ring_of(back)->store, &figures);
	assert_true(figures.records > 0);
	ring_bootstrap(back, alive(owner->index + 1));
	assert_right_within(60);
	get_all();
	ring_run(ring, 60000);
	get_all();
	assert_placed_within(60);
	stop();
	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert_int_equal(system(command), 0);
}

static void test_everybody_restarts(void **state) { /* the whole overlay was down: the disks have it all */
	char directory[64] = "/tmp/ringgate-ring-XXXXXX", command[128];

	(void)state;
	assert_non_null(mkdtemp(directory));
	start(7, 5, directory);
	put_all("kept");
	ring_run(ring, 2000);
	for (size_t i = 0; i < 5; i++)
		ring_kill(ring->nodes[i]);
	struct ring_node *first = ring_restart(ring, ring->nodes[2]);
	ring_start(first);
	for (size_t i = 0; i < 5; i++)
		if (i != 2) {
			ring_bootstrap(ring_restart(ring, ring->nodes[i]), first);
			ring_run(ring, 3000);
		}
	assert_right_within(60);
	ring_run(ring, 90000);
	get_all();
	assert_placed_within(60);
	stop();
	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert_int_equal(system(command), 0);
}

static void test_expiry_and_tombstones(void **state) { /* B-7.4.1-20 */
	(void)state;
	start(8, 6, NULL);
	assert_int_equal(store_ring_put(alive(0), users[0], "short", 120, NULL), 0);
	assert_int_equal(store_ring_put(alive(0), users[1], "removed", 600, NULL), 0);
	assert_int_equal(store_ring_put(alive(0), users[1], NULL, 600, NULL), 0);
	ring_run(ring, 1000);
	assert_string_equal(store_ring_get(alive(3), users[0]), "short");
	assert_string_equal(store_ring_get(alive(3), users[1]), "(gone)");
	assert_int_equal(store_ring_copies(&stores, users[1], NULL), 3);
	/* the tombstone outlives its owner */
	struct id place = store_ring_place(users[1]);
	ring_kill(ring_responsible(ring, &place));
	assert_right_within(60);
	assert_string_equal(store_ring_get(alive(3), users[1]), "(gone)");
	ring_run(ring, 121 * 1000);
	assert_string_equal(store_ring_get(alive(3), users[0]), "");
	assert_int_equal(store_ring_copies(&stores, users[0], "short"), 0);
	ring_run(ring, 600 * 1000);
	assert_int_equal(store_ring_copies(&stores, users[1], NULL), 0);
	stop();
}

static void test_partition(void **state) { /* B-6.4.2.3-02, B-7.4.1-14: the newer write wins, from whichever side */
	(void)state;
	store_ring_start(&stores, &(struct ring_settings){.seed = 70, .check_ms = 15000}, NULL);
	ring = stores.ring;
	ring_grow(ring, 12, true, 2);
	for (unsigned i = 0; i < USERS; i++)
		users[i] = store_ring_user(&stores, "user", i);
	put_all("before");
	ring_run(ring, 5000);
	for (size_t i = 0; i < 12; i++)
		for (size_t k = i + 1; k < 12; k++)
			if (i % 2 != k % 2)
				ring_cut(ring->nodes[i], ring->nodes[k], true);
	ring_run(ring, 600000);
	for (unsigned i = 0; i < USERS; i++) { /* both sides write; the later one is on an even or an odd peer */
		char older[32];
		snprintf(older, sizeof(older), "older %u", i);
		snprintf(values[i], sizeof(values[i]), "newer %u", i);
		assert_int_equal(store_ring_put(ring->nodes[i % 2], users[i], older, 86400, NULL), 0);
		ring_run(ring, 100);
		assert_int_equal(store_ring_put(ring->nodes[1 - i % 2], users[i], values[i], 86400, NULL), 0);
	}
	for (size_t i = 0; i < 12; i++)
		for (size_t k = i + 1; k < 12; k++)
			if (i % 2 != k % 2)
				ring_cut(ring->nodes[i], ring->nodes[k], false);
	ring_run(ring, 60000);
	ring_bootstrap(ring->nodes[3], ring->nodes[4]);
	assert_right_within(60);
	ring_run(ring, 120000);
	get_all();
	assert_placed_within(120);
	stop();
}

static void test_churn(void **state) {
	(void)state;
	start(9, 10, NULL);
	put_all("value");
	ring_run(ring, 2000);
	for (unsigned round = 0; round < 5; round++) {
		ring_bootstrap(ring_add(ring, NULL), alive(round));
		ring_run(ring, 2000);
		ring_kill(alive(round + 3));
		assert_right_within(90);
		get_all();
		ring_run(ring, 60000);
	}
	assert_placed_within(120);
	stop();
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replicas),
		cmocka_unit_test(test_two_adjacent_holders_die),
		cmocka_unit_test(test_third_copy),
		cmocka_unit_test(test_last_copy_far_away),
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_leave),
		cmocka_unit_test(test_small_rings),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_everybody_restarts),
		cmocka_unit_test(test_expiry_and_tombstones),
		cmocka_unit_test(test_partition),
		cmocka_unit_test(test_churn),
	};

	log_level = LOG_ERR;
	return cmocka_run_group_tests_name("storage in a ring", tests, NULL, NULL);
}
