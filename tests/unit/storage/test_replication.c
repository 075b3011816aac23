/* SPDX-License-Identifier: BSD-2-Clause */
/* Replicas, handover, offers, repair: what moves between stores as the topology changes (RFC 6940 10.4, 10.5, 10.7.3, 6.4.2.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/database.h"
#include "support/store_net.h"
#include "wire/method.h"

#include <errno.h>
#include <string.h>

/* Nodes 0x10, 0x50, 0x90 and 0xd0. Node 2 has not joined yet: node 3 owns its range. */
static struct store_net net;
static struct credential *alice, *bob; /* users of node 2's range, which is node 3's for now */
static struct id at_alice;

static void place(size_t i, const struct id *predecessor, bool without_two) {
	struct id routes[STORE_NET_MAX];
	size_t count = 0;

	for (size_t j = 1; j < 4; j++)
		if (!without_two || (i + j) % 4 != 2)
			routes[count++] = net.net.nodes[(i + j) % 4].id;
	router_net_place(&net.net.nodes[i], predecessor, routes, count);
}

static void join_two(void) {
	for (size_t i = 0; i < 4; i++)
		place(i, &net.net.nodes[(i + 3) % 4].id, false);
	net.nodes[2].own_nothing = false;
}

static int setup(void **state) {
	(void)state;
	store_net_start(&net, 4);
	alice = store_net_user(&net, 2, "alice");
	bob = store_net_user(&net, 2, "bob");
	at_alice = store_net_user_resource(alice);
	place(0, &net.net.nodes[3].id, true);
	place(1, &net.net.nodes[0].id, true);
	place(3, &net.net.nodes[1].id, true);
	net.nodes[2].own_nothing = true;
	return 0;
}

static int teardown(void **state) {
	(void)state;
	credential_unref(alice);
	credential_unref(bob);
	store_net_stop(&net);
	return 0;
}

static void holders(size_t owner, int first, int second) {
	struct store_net_node *node = &net.nodes[owner];

	node->holder_count = 0;
	if (first >= 0)
		node->holders[node->holder_count++] = net.net.nodes[first].id;
	if (second >= 0)
		node->holders[node->holder_count++] = net.net.nodes[second].id;
}

static struct store_figures figures(size_t i) {
	struct store_figures out;

	store_figures(net.nodes[i].store, &out);
	return out;
}

static const char *held(size_t at, uint32_t kind) {
	return store_net_held(&net, at, &at_alice, kind);
}

static void put(size_t to, uint32_t kind, uint64_t time_ms, struct stored_value value) {
	assert_int_equal(store_net_put(&net, to, alice, kind, time_ms, value), 0);
}

static struct record_kind kind_state(size_t at, uint32_t kind) {
	struct record_kind state;

	assert_true(record_kind_get(net.nodes[at].database, &at_alice, kind, &state) >= 0);
	return state;
}

static void cut(size_t a, size_t b, bool now) {
	struct address from = virtual_host_address(net.net.nodes[a].host), to = virtual_host_address(net.net.nodes[b].host);

	virtual_network_cut(net.net.network, &from, &to, now);
	virtual_network_cut(net.net.network, &to, &from, now);
}

/* ---- replicas ---- */

static void test_replicas(void **state) { /* B-10.4-01, B-7.4.1-13, B-7.4.1-16, B-6.3.4-01 */
	(void)state;
	holders(3, 0, 1);
	put(3, KIND_ARRAY_USER, 1000, store_net_entry(2, "c"));
	put(3, KIND_ARRAY_USER, 1000, store_net_entry(ARRAY_INDEX_LAST, "d"));
	put(3, KIND_SINGLE_USER, 1000, store_net_single(NULL));
	store_net_run_ms(&net, 1000);
	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(held(i, KIND_ARRAY_USER), "2=c 3=d ");
		assert_string_equal(held(i, KIND_SINGLE_USER), "(gone) "); /* B-7.4.1-20 */
		assert_int_equal(net.nodes[i].last_replica_number, i + 1);
		assert_int_equal(net.nodes[i].replica_questions, 3);
		assert_int_equal(kind_state(i, KIND_ARRAY_USER).generation, 2);
		assert_false(kind_state(i, KIND_ARRAY_USER).owned);
		assert_int_equal(figures(i).replicas_sent, 0); /* B-10.4-02 */
	}
	assert_true(kind_state(3, KIND_ARRAY_USER).owned);
	assert_string_equal(held(2, KIND_ARRAY_USER), "");
	assert_int_equal(figures(3).replicas_sent, 6);
}

static void test_held_time(void **state) { /* B-7.4.1-13 */
	struct record_head head;
	struct id joined = net.net.nodes[2].id;

	(void)state;
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc")); /* for 3600 s */
	store_net_run_ms(&net, 1000 * 1000);
	holders(3, 2, -1);
	store_replicas_changed(net.nodes[3].store, &joined, 1); /* B-10.7.3-03 */
	store_net_run_ms(&net, 1000);
	assert_string_equal(held(2, KIND_SINGLE_USER), "abc ");
	assert_int_equal(record_head(net.nodes[2].database, &at_alice, KIND_SINGLE_USER, OCTETS_NONE, true, OCTETS_NONE, &head), 1);
	uint64_t left_ms = head.expires_ms - store_net_now_ms(&net);
	assert_in_range(left_ms, 2590000, 2600000);
	store_net_run_ms(&net, 2610 * 1000);
	for (size_t i = 2; i < 4; i++) {
		assert_string_equal(held(i, KIND_SINGLE_USER), "");
		assert_int_equal(figures(i).records, 0);
	}
}

static void test_split(void **state) { /* messages stay below max-message-size */
	static char text[1901];

	(void)state;
	memset(text, 't', 1900);
	for (uint32_t i = 0; i < 8; i++)
		put(3, KIND_ARRAY_LARGE, 1000, store_net_entry(i, text));
	holders(3, 0, -1);
	struct id added = net.net.nodes[0].id;
	store_replicas_changed(net.nodes[3].store, &added, 1);
	store_net_run_ms(&net, 2000);
	assert_int_equal(figures(0).records, 8);
	assert_int_equal(figures(0).octets, 8 * 1900);
	assert_in_range(figures(3).replicas_sent, 4, 8);
	assert_int_equal(kind_state(0, KIND_ARRAY_LARGE).generation, 8);
}

static void test_many_signers(void **state) { /* more certificates than one message takes */
	struct id resource_id = at_alice;

	(void)state;
	holders(3, 0, -1);
	struct credential *users[12];
	for (size_t i = 0; i < 12; i++) {
		char salt[8];
		snprintf(salt, sizeof(salt), "u%zu-", i);
		users[i] = store_net_user(&net, 2, salt);
		resource_id = store_net_user_resource(users[i]);
		assert_int_equal(store_net_put(&net, 3, users[i], KIND_SINGLE_USER, 1000, store_net_single("x")), 0);
	}
	store_net_run_ms(&net, 1000);
	assert_int_equal(figures(0).records, 12);
	assert_string_equal(store_net_held(&net, 0, &resource_id, KIND_SINGLE_USER), "x ");
	for (size_t i = 0; i < 12; i++)
		credential_unref(users[i]);
}

static void test_retry(void **state) {
	(void)state;
	holders(3, 0, -1);
	net.nodes[0].refuse_replicas = true; /* its neighbor table lags behind */
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc"));
	store_net_run_ms(&net, 1000);
	assert_string_equal(held(0, KIND_SINGLE_USER), "");
	net.nodes[0].refuse_replicas = false;
	store_net_run_ms(&net, 3000);
	assert_string_equal(held(0, KIND_SINGLE_USER), "abc ");
}

static void test_outage(void **state) { /* longer than all attempts: the holder gets everything again */
	(void)state;
	holders(3, 0, -1);
	net.nodes[0].refuse_replicas = true;
	for (unsigned i = 0; i < 20; i++) {
		put(3, KIND_SINGLE_USER, 1000 + i, store_net_single("abc"));
		store_net_run_ms(&net, 10000);
	}
	assert_string_equal(held(0, KIND_SINGLE_USER), "");
	net.nodes[0].refuse_replicas = false;
	store_net_run_ms(&net, 400 * 1000);
	assert_string_equal(held(0, KIND_SINGLE_USER), "abc ");
}

static void test_gone_holder(void **state) { /* what waits for a peer that holds no replicas any more is dropped */
	(void)state;
	holders(3, 0, 1);
	net.nodes[0].refuse_replicas = true;
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc"));
	store_net_run_ms(&net, 1000);
	holders(3, 1, -1);
	uint64_t sent = figures(3).replicas_sent;
	store_net_run_ms(&net, 600 * 1000);
	assert_int_equal(figures(3).replicas_sent, sent);
	assert_string_equal(held(1, KIND_SINGLE_USER), "abc ");
}

static void test_expired_signer(void **state) { /* B-7.1-02: not replicated either */
	struct credential *old = store_net_user_valid(&net, 2, "old", store_net_now_ms(&net) + 50000);
	struct id at_old = store_net_user_resource(old), added = net.net.nodes[0].id;

	(void)state;
	assert_int_equal(store_net_put(&net, 3, old, KIND_SINGLE_USER, 1000, store_net_single("x")), 0);
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc"));
	store_net_run_ms(&net, 51000);
	holders(3, 0, -1);
	store_replicas_changed(net.nodes[3].store, &added, 1);
	store_net_run_ms(&net, 1000);
	assert_string_equal(store_net_held(&net, 0, &at_old, KIND_SINGLE_USER), "");
	assert_string_equal(held(0, KIND_SINGLE_USER), "abc ");
	credential_unref(old);
}

/* ---- handover ---- */

struct handed {
	unsigned calls;
	int error;
};

static void on_handed(void *userdata, int error) {
	struct handed *handed = userdata;

	handed->calls++;
	handed->error = error;
}

static void test_handover(void **state) { /* B-10.5-05, B-10.5-06, B-10.5-07, Q-25 */
	struct id joiner = net.net.nodes[2].id, from = net.net.nodes[1].id;
	struct credential *carol = store_net_user(&net, 3, "carol"); /* stays with node 3 */
	struct id at_carol = store_net_user_resource(carol);
	struct handed handed = {0};

	(void)state;
	join_two();
	carol = (credential_unref(carol), store_net_user(&net, 3, "carol")); /* of the range that node 3 keeps */
	at_carol = store_net_user_resource(carol);
	place(3, &net.net.nodes[1].id, true);
	net.nodes[2].own_nothing = true;
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc"));
	put(3, KIND_DICTIONARY_USER, 1000, store_net_pair("k", "v"));
	assert_int_equal(store_net_put(&net, 3, bob, KIND_SINGLE_USER, 1000, store_net_single("bob's")), 0);
	assert_int_equal(store_net_put(&net, 3, carol, KIND_SINGLE_USER, 1000, store_net_single("carol's")), 0);

	store_hand_over(net.nodes[3].store, &joiner, &from, &joiner, on_handed, &handed);
	assert_int_equal(handed.calls, 0);
	store_net_run_ms(&net, 1000);
	assert_int_equal(handed.calls, 1);
	assert_int_equal(handed.error, 0);
	assert_string_equal(held(2, KIND_SINGLE_USER), "abc ");
	assert_string_equal(held(2, KIND_DICTIONARY_USER), "k=v ");
	assert_int_equal(figures(2).records, 3);
	assert_string_equal(store_net_held(&net, 2, &at_carol, KIND_SINGLE_USER), "");
	assert_int_equal(net.nodes[2].last_replica_number, 1);
	assert_false(kind_state(3, KIND_SINGLE_USER).owned);

	/* now the ring changes: nothing is offered again, and node 3 keeps its copies as a replica holder */
	join_two();
	uint64_t sent = figures(3).replicas_sent;
	store_range_changed(net.nodes[3].store);
	store_range_changed(net.nodes[2].store);
	store_net_run_ms(&net, 2000);
	assert_int_equal(figures(3).replicas_sent, sent);
	assert_string_equal(held(3, KIND_SINGLE_USER), "abc ");
	assert_true(kind_state(2, KIND_SINGLE_USER).owned);
	/* until it is too far away */
	net.nodes[3].discard = true;
	store_range_changed(net.nodes[3].store);
	store_net_run_ms(&net, 2000);
	assert_string_equal(held(3, KIND_SINGLE_USER), "");
	assert_string_equal(store_net_held(&net, 3, &at_carol, KIND_SINGLE_USER), "carol's ");
	assert_int_equal(figures(3).records, 1);
	credential_unref(carol);
}

/* When the joiner is in the ring another peer turns out to be the owner, as when rings merge meanwhile. Whoever handed over owes
 * the record to nobody any more, so the joiner does. */
static void test_handover_to_no_owner(void **state) { /* B-10.5-05, B-6.4.2.3-02 */
	struct id joiner = net.net.nodes[2].id, from = net.net.nodes[1].id, near_joiner = joiner;
	struct handed handed = {0};

	(void)state;
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc"));
	router_set_range(net.net.nodes[2].router, &from, false); /* it is joining */
	store_hand_over(net.nodes[3].store, &joiner, &from, &joiner, on_handed, &handed);
	store_net_run_ms(&net, 1000);
	assert_int_equal(handed.calls, 1);
	assert_int_equal(handed.error, 0);
	assert_false(kind_state(3, KIND_SINGLE_USER).owned);
	assert_true(kind_state(2, KIND_SINGLE_USER).owned);

	assert_int_equal(record_discard(net.nodes[3].database, &at_alice, KIND_SINGLE_USER), 0);
	near_joiner.octets[near_joiner.length - 1]--;
	place(2, &near_joiner, false);
	net.nodes[2].discard = true;
	store_range_changed(net.nodes[2].store);
	store_net_run_ms(&net, 2000);
	assert_string_equal(held(3, KIND_SINGLE_USER), "abc ");
	assert_true(kind_state(3, KIND_SINGLE_USER).owned);
	assert_string_equal(held(2, KIND_SINGLE_USER), "abc "); /* not dropped before */
}

static void test_handover_of_nothing(void **state) {
	struct id joiner = net.net.nodes[2].id, from = net.net.nodes[1].id;
	struct handed handed = {0};

	(void)state;
	store_hand_over(net.nodes[3].store, &joiner, &from, &joiner, on_handed, &handed);
	store_net_run_ms(&net, 100);
	assert_int_equal(handed.calls, 1);
	assert_int_equal(handed.error, 0);
}

static void test_handover_many(void **state) { /* paced, and around zero */
	struct id joiner = net.net.nodes[2].id, from = support_node_id(0x8f), to = support_node_id(0x8e);
	struct handed handed = {0};

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		char salt[16];
		snprintf(salt, sizeof(salt), "u%zu-", i);
		struct credential *user = store_net_user(&net, 2, salt);
		assert_int_equal(store_net_put(&net, 3, user, KIND_SINGLE_USER, 1000, store_net_single("x")), 0);
		credential_unref(user);
	}
	uint64_t before = figures(3).replicas_sent;
	cut(3, 2, true);
	store_hand_over(net.nodes[3].store, &joiner, &from, &to, on_handed, &handed); /* nearly the whole ring */
	store_net_run_ms(&net, 500);
	assert_in_range(figures(3).replicas_sent - before, 1, 8); /* no more than the window is under way */
	cut(3, 2, false);
	store_net_run_ms(&net, 60000);
	assert_int_equal(handed.calls, 1);
	assert_int_equal(handed.error, 0);
	assert_in_range(figures(2).records, 99, 100); /* all but what lies between 0x8e… and 0x8f… */
}

static void swallow(void *userdata, struct request *request) {
	(void)userdata;
	request_drop(request);
}

/* A peer that ended while it was being sent copies begins anew before the last of them is given up. */
static void test_handover_to_new_run(void **state) { /* B-10.5-05 */
	struct id joiner = net.net.nodes[2].id, from = support_node_id(0x8f), to = support_node_id(0x8e);
	struct handed handed = {0};

	(void)state;
	holders(3, 2, -1);
	router_handle(net.net.nodes[2].router, STORE_REQ, swallow, NULL);
	for (size_t i = 0; i < 10; i++) { /* more than the window */
		char salt[16];
		snprintf(salt, sizeof(salt), "u%zu-", i);
		struct credential *user = store_net_user(&net, 2, salt);
		assert_int_equal(store_net_put(&net, 3, user, KIND_SINGLE_USER, 1000, store_net_single("x")), 0);
		credential_unref(user);
	}
	store_net_run_ms(&net, 20000);
	assert_int_equal(figures(2).records, 0);
	holders(3, -1, -1);
	store_net_open(&net.nodes[2], NULL);
	store_hand_over(net.nodes[3].store, &joiner, &from, &to, on_handed, &handed); /* nearly the whole ring */
	store_net_run_ms(&net, 1000);
	assert_int_equal(handed.calls, 1);
	assert_int_equal(handed.error, 0);
	assert_in_range(figures(2).records, 9, 10);
}

static void test_handover_fails(void **state) {
	struct id joiner = support_node_id(0x77), from = net.net.nodes[1].id; /* nobody */
	struct handed handed = {0};

	(void)state;
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc"));
	store_hand_over(net.nodes[3].store, &joiner, &from, &net.net.nodes[2].id, on_handed, &handed);
	store_net_run_ms(&net, 300 * 1000);
	assert_int_equal(handed.calls, 1);
	assert_true(handed.error < 0);
	assert_true(kind_state(3, KIND_SINGLE_USER).owned); /* still ours */
}

static void test_write_during_handover(void **state) {
	struct id joiner = net.net.nodes[2].id, from = net.net.nodes[1].id;
	struct handed handed = {0};

	(void)state;
	put(3, KIND_SINGLE_USER, 1000, store_net_single("old"));
	store_hand_over(net.nodes[3].store, &joiner, &from, &joiner, on_handed, &handed);
	store_net_run_ms(&net, 1000);
	assert_int_equal(handed.calls, 1);
	put(3, KIND_SINGLE_USER, 1001, store_net_single("new")); /* before the joiner is announced */
	assert_true(kind_state(3, KIND_SINGLE_USER).owned);
	join_two();
	store_range_changed(net.nodes[3].store);
	store_net_run_ms(&net, 2000);
	assert_string_equal(held(2, KIND_SINGLE_USER), "new ");
	assert_false(kind_state(3, KIND_SINGLE_USER).owned);
}

/* The joiner's answer about the old value comes after the new one was stored. */
static void test_write_overtakes_handover(void **state) {
	struct id joiner = net.net.nodes[2].id, from = net.net.nodes[1].id;
	struct address two = virtual_host_address(net.net.nodes[2].host), three = virtual_host_address(net.net.nodes[3].host);
	struct handed handed = {0};

	(void)state;
	put(3, KIND_SINGLE_USER, 1000, store_net_single("old"));
	virtual_network_cut(net.net.network, &two, &three, true);
	store_hand_over(net.nodes[3].store, &joiner, &from, &joiner, on_handed, &handed);
	store_net_run_ms(&net, 1000);
	assert_string_equal(held(2, KIND_SINGLE_USER), "old ");
	assert_int_equal(handed.calls, 0);
	put(3, KIND_SINGLE_USER, 1001, store_net_single("new"));
	virtual_network_cut(net.net.network, &two, &three, false);
	store_net_run_ms(&net, 10000);
	assert_int_equal(handed.calls, 1);
	assert_true(kind_state(3, KIND_SINGLE_USER).owned); /* the new value is not there yet */
	join_two();
	store_range_changed(net.nodes[3].store);
	store_net_run_ms(&net, 2000);
	assert_string_equal(held(2, KIND_SINGLE_USER), "new ");
}

/* ---- copies that nobody expects any more ---- */

static void leave_neighborhood(size_t i) {
	net.nodes[i].discard = true;
	store_range_changed(net.nodes[i].store);
}

/* The owner lost it, or never had it: the last copy is not dropped before the owner has it. */
static void test_last_copy_goes_to_owner(void **state) { /* B-10.7.3-04, B-10.5-07 */
	(void)state;
	holders(3, 0, -1);
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc"));
	store_net_run_ms(&net, 1000);
	assert_string_equal(held(0, KIND_SINGLE_USER), "abc ");
	assert_int_equal(record_discard(net.nodes[3].database, &at_alice, KIND_SINGLE_USER), 0);
	holders(3, -1, -1);
	net.nodes[3].hold_commit = true;
	leave_neighborhood(0);
	store_net_run_ms(&net, 2000);
	assert_string_equal(held(0, KIND_SINGLE_USER), "abc "); /* not answered yet */
	net.nodes[3].hold_commit = false;
	store_commit(net.nodes[3].store);
	store_net_run_ms(&net, 1000);
	assert_string_equal(held(3, KIND_SINGLE_USER), "abc ");
	assert_true(kind_state(3, KIND_SINGLE_USER).owned);
	assert_string_equal(held(0, KIND_SINGLE_USER), "");
	assert_int_equal(figures(0).records, 0);
}

/* The owner has it already: that costs one message and does not turn its counter back. */
static void test_copy_the_owner_has(void **state) { /* B-7.4.1-12 */
	(void)state;
	holders(3, 0, -1);
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc"));
	store_net_run_ms(&net, 1000);
	struct record_kind copy = kind_state(0, KIND_SINGLE_USER), owners = kind_state(3, KIND_SINGLE_USER);
	holders(3, -1, -1);
	owners.generation += 5;
	assert_int_equal(record_kind_put(net.nodes[3].database, &owners), 0);
	leave_neighborhood(0);
	leave_neighborhood(0);
	store_net_run_ms(&net, 2000);
	assert_string_equal(held(0, KIND_SINGLE_USER), "");
	assert_string_equal(held(3, KIND_SINGLE_USER), "abc ");
	assert_int_equal(figures(0).replicas_sent, 1);
	assert_int_equal(kind_state(3, KIND_SINGLE_USER).generation, copy.generation + 5);
}

/* What the owner refuses for good is dropped: an old value, or one from a peer it cannot know. */
static void test_copy_the_owner_refuses(void **state) {
	(void)state;
	holders(3, 0, -1);
	put(3, KIND_SINGLE_USER, 1000, store_net_single("old"));
	store_net_run_ms(&net, 1000);
	holders(3, -1, -1);
	put(3, KIND_SINGLE_USER, 2000, store_net_single("new"));
	leave_neighborhood(0);
	store_net_run_ms(&net, 120 * 1000);
	assert_string_equal(held(0, KIND_SINGLE_USER), "");
	assert_string_equal(held(3, KIND_SINGLE_USER), "new ");

	net.nodes[0].discard = false;
	holders(3, 0, -1);
	put(3, KIND_SINGLE_USER, 3000, store_net_single("third"));
	store_net_run_ms(&net, 1000);
	assert_string_equal(held(0, KIND_SINGLE_USER), "third ");
	holders(3, -1, -1);
	net.nodes[3].refuse_replicas = true;
	leave_neighborhood(0);
	store_net_run_ms(&net, 10 * 1000);
	assert_string_equal(held(0, KIND_SINGLE_USER), "third "); /* its view may lag behind */
	store_net_run_ms(&net, 120 * 1000);
	assert_string_equal(held(0, KIND_SINGLE_USER), "");
}

/* ---- offers and takeovers ---- */

static void test_offer(void **state) { /* B-6.4.2.3-02 */
	(void)state;
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc"));
	join_two(); /* as when two rings merge: without handover */
	store_range_changed(net.nodes[3].store);
	store_net_run_ms(&net, 2000);
	assert_string_equal(held(2, KIND_SINGLE_USER), "abc ");
	assert_true(kind_state(2, KIND_SINGLE_USER).owned);
	assert_false(kind_state(3, KIND_SINGLE_USER).owned);
	uint64_t sent = figures(3).replicas_sent;
	store_range_changed(net.nodes[3].store); /* known to be there */
	store_net_run_ms(&net, 2000);
	assert_int_equal(figures(3).replicas_sent, sent);
}

static void test_offer_is_owed(void **state) { /* refused at first, and across a restart of the program */
	char directory[64] = "/tmp/ringgate-replication-XXXXXX", path[96];

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/records.db", directory);
	store_net_open(&net.nodes[3], path);
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc"));
	join_two();
	net.nodes[2].refuse_replicas = true;
	net.nodes[3].discard = true; /* what is owed is not discarded */
	store_range_changed(net.nodes[3].store);
	store_net_run_ms(&net, 200 * 1000);
	assert_string_equal(held(3, KIND_SINGLE_USER), "abc ");
	store_net_open(&net.nodes[3], path);
	net.nodes[2].refuse_replicas = false;
	store_range_changed(net.nodes[3].store);
	store_net_run_ms(&net, 2000);
	assert_string_equal(held(2, KIND_SINGLE_USER), "abc ");
	store_range_changed(net.nodes[3].store);
	store_net_run_ms(&net, 2000);
	assert_string_equal(held(3, KIND_SINGLE_USER), "");
	store_net_close(&net.nodes[3]);
	unlink(path);
	rmdir(directory);
}

static void test_takeover(void **state) { /* the owner died: a replica holder becomes the owner and makes new replicas */
	(void)state;
	holders(3, 0, 1);
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc"));
	store_net_run_ms(&net, 1000);
	store_net_close(&net.nodes[3]);
	router_net_kill(&net.net.nodes[3]);
	net.nodes[0].own_everything = true;
	holders(0, 1, 2);
	store_range_changed(net.nodes[0].store);
	store_net_run_ms(&net, 2000);
	assert_true(kind_state(0, KIND_SINGLE_USER).owned);
	assert_string_equal(held(2, KIND_SINGLE_USER), "abc ");
	assert_string_equal(held(1, KIND_SINGLE_USER), "abc ");
}

/* ---- repair ---- */

/* Gives node `at` a value as a replica from node 0. */
static void put_replica(size_t at, uint64_t generation, uint64_t time_ms, struct stored_value value) {
	struct store_net_request request;
	struct store_net_outcome outcome;

	store_net_begin(&request, &at_alice, 1);
	store_net_kind(&request, value.model == DATA_MODEL_DICTIONARY ? KIND_DICTIONARY_USER : KIND_SINGLE_USER, generation);
	store_net_value(&request, alice, time_ms, 3600, &value);
	store_net_send(&net, &request, 3, at, NULL, &outcome);
	assert_int_equal(outcome.error, 0);
}

static void test_repair(void **state) { /* B-7.4.1-14, B-7.4.1-15 */
	(void)state;
	/* node 1 saw newer writes in another partition */
	put_replica(1, 9, 5000, store_net_pair("a", "newer"));
	put_replica(1, 9, 1000, store_net_pair("b", "older"));
	put_replica(1, 9, 1000, store_net_pair("c", "only there"));
	put(3, KIND_DICTIONARY_USER, 2000, store_net_pair("a", "old"));
	put(3, KIND_DICTIONARY_USER, 2000, store_net_pair("b", "new"));
	holders(3, 0, 1);
	struct id added[2] = {net.net.nodes[0].id, net.net.nodes[1].id};
	store_replicas_changed(net.nodes[3].store, added, 2);
	store_net_run_ms(&net, 10000);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(held(i, KIND_DICTIONARY_USER), i == 2 ? "" : "a=newer b=new c=only there ");
	assert_int_equal(kind_state(3, KIND_DICTIONARY_USER).generation, 10);
	assert_int_equal(kind_state(1, KIND_DICTIONARY_USER).generation, 10);
}

static void test_repair_tombstone(void **state) {
	(void)state;
	put_replica(1, 4, 5000, store_net_single(NULL)); /* removed in another partition */
	put(3, KIND_SINGLE_USER, 2000, store_net_single("old"));
	holders(3, 1, -1);
	struct id added = net.net.nodes[1].id;
	store_replicas_changed(net.nodes[3].store, &added, 1);
	store_net_run_ms(&net, 10000);
	assert_string_equal(held(3, KIND_SINGLE_USER), "(gone) ");
	assert_string_equal(held(1, KIND_SINGLE_USER), "(gone) ");
}

static void test_conflict(void **state) { /* two values of the same millisecond: neither is newer, and nobody insists for ever */
	(void)state;
	put_replica(1, 4, 2000, store_net_single("one"));
	put(3, KIND_SINGLE_USER, 2000, store_net_single("other"));
	holders(3, 1, -1);
	struct id added = net.net.nodes[1].id;
	store_replicas_changed(net.nodes[3].store, &added, 1);
	store_net_run_ms(&net, 300 * 1000);
	uint64_t sent = figures(3).replicas_sent;
	assert_in_range(sent, 1, 8);
	store_net_run_ms(&net, 600 * 1000);
	assert_int_equal(figures(3).replicas_sent, sent);
	put(3, KIND_SINGLE_USER, 2001, store_net_single("final"));
	store_net_run_ms(&net, 1000);
	assert_string_equal(held(1, KIND_SINGLE_USER), "final ");
}

/* ---- Kinds another peer does not know ---- */

struct update {
	unsigned calls;
	bool kind;
	char text[2000];
};

static void on_config_update(void *userdata, struct request *request) {
	struct update *update = userdata;
	struct config_update_req req;
	struct octets description;

	update->calls++;
	if (config_update_read(request->message.contents.body, &req) == 0 && req.type == CONFIG_UPDATE_KIND) {
		struct reader list = reader_of_octets(req.kinds);
		update->kind = kind_description_next(&list, &description) > 0;
		if (update->kind)
			snprintf(update->text, sizeof(update->text), "%.*s", (int)description.length,
				 (const char *)description.data);
	}
	request_answer(request, OCTETS_NONE, NULL);
}

static void test_kind_update(void **state) { /* B-7.4.1-04 */
	struct document_settings settings = {0};
	struct kind kinds[1] = {*overlay_config_kind(net.net.overlay.config, KIND_SINGLE_USER)};
	struct update update = {0};

	(void)state;
	settings.kinds = kinds;
	settings.kind_count = 1;
	router_net_configure(&net.net.nodes[0], &settings); /* knows one Kind only */
	router_handle(net.net.nodes[0].router, CONFIG_UPDATE_REQ, on_config_update, &update);
	holders(3, 0, -1);
	put(3, KIND_DICTIONARY_USER, 1000, store_net_pair("k", "v"));
	store_net_run_ms(&net, 1000);
	assert_true(update.calls > 0);
	assert_true(update.kind);
	assert_non_null(strstr(update.text, "4026531843")); /* KIND_DICTIONARY_USER */
	assert_non_null(strstr(update.text, "<kind-signature>"));
	assert_null(strstr(update.text, "4026531841"));
	router_handle(net.net.nodes[0].router, CONFIG_UPDATE_REQ, NULL, NULL);
}

static void test_stop_in_the_middle(void **state) {
	struct id joiner = net.net.nodes[2].id, from = net.net.nodes[1].id;
	struct handed handed = {0};

	(void)state;
	holders(3, 0, 1);
	put(3, KIND_SINGLE_USER, 1000, store_net_single("abc"));
	store_hand_over(net.nodes[3].store, &joiner, &from, &joiner, on_handed, &handed);
	store_range_changed(net.nodes[3].store);
	store_net_run_ms(&net, 3);
	store_net_close(&net.nodes[3]); /* with requests under way; nothing calls back */
	store_net_run_ms(&net, 60000);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_replicas),
		TEST(test_held_time),
		TEST(test_split),
		TEST(test_many_signers),
		TEST(test_retry),
		TEST(test_outage),
		TEST(test_gone_holder),
		TEST(test_expired_signer),
		TEST(test_handover),
		TEST(test_handover_to_no_owner),
		TEST(test_handover_of_nothing),
		TEST(test_handover_many),
		TEST(test_handover_to_new_run),
		TEST(test_handover_fails),
		TEST(test_write_during_handover),
		TEST(test_write_overtakes_handover),
		TEST(test_last_copy_goes_to_owner),
		TEST(test_copy_the_owner_has),
		TEST(test_copy_the_owner_refuses),
		TEST(test_offer),
		TEST(test_offer_is_owed),
		TEST(test_takeover),
		TEST(test_repair),
		TEST(test_repair_tombstone),
		TEST(test_conflict),
		TEST(test_kind_update),
		TEST(test_stop_in_the_middle),
	};
	return cmocka_run_group_tests_name("replication", tests, NULL, NULL);
}
