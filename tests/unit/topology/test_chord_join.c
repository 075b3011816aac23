/* SPDX-License-Identifier: BSD-2-Clause */
/* Joining over the virtual network, with real routers, credentials and signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "support/support_ring.h"
#include "topology/chord.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- rings grow ---- */

static void test_one_by_one(void **state) {
	static const size_t sizes[] = {1, 2, 3, 5, 16, 40};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
		struct ring *ring = ring_new(&(struct ring_settings){.seed = 100 + i});
		ring_grow(ring, sizes[i], false, 5);
		assert_int_equal(ring_alive(ring), sizes[i]);
		for (size_t k = 0; k < ring->count; k++) /* nobody ever fell out */
			assert_int_equal(ring->nodes[k]->joined_count, 1);
		ring_free(ring);
	}
}

static void test_all_at_once(void **state) {
	static const size_t sizes[] = {2, 3, 5, 16, 40};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
		struct ring *ring = ring_new(&(struct ring_settings){.seed = 200 + i});
		ring_grow(ring, sizes[i], true, 2);
		for (size_t k = 0; k < ring->count; k++) {
			assert_int_equal(ring->nodes[k]->joined_count, 1);
			assert_int_equal(ring->nodes[k]->offline_count, 0);
		}
		ring_free(ring);
	}
}

static void test_lossy_network(void **state) {
	struct ring *ring = ring_new(&(struct ring_settings){.seed = 300});

	(void)state;
	virtual_network_set_loss(ring->network, 50000);
	virtual_network_set_latency(ring->network, 1000, 60000);
	ring_grow(ring, 12, true, 30);
	ring_free(ring);
}

/* ---- the order of things (B-10.5-*) ---- */

enum event_type {
	EVENT_ATTACH,
	EVENT_JOIN,
	EVENT_HAND_OVER,
	EVENT_HANDED_OVER,
	EVENT_UPDATE_TO_JOINER,
	EVENT_UPDATE_OF_JOINER,
	EVENT_UPDATE_OF_ADMITTING
};

struct event {
	enum event_type type;
	uint64_t when_us;
	struct id first, last; /* of the destination list; `first` is none with one entry */
	bool resource, placing;
	struct id peer; /* at the other end of the link */
};

struct journal {
	struct event events[512];
	size_t count;
	struct ring *ring;
	struct ring_node *joiner, *admitting;
	/* the handover under test */
	void (*done)(void *done_userdata, int error);
	void *done_userdata;
	struct id from, to;
	unsigned handovers;
	bool hold;
};

static struct event *journal_add(struct journal *journal, enum event_type type) {
	assert_true(journal->count < ARRAY_LENGTH(journal->events));
	struct event *event = &journal->events[journal->count++];
	*event = (struct event){.type = type, .when_us = ring_now_us(journal->ring)};
	return event;
}

static void read_destinations(const struct forwarding_header *header, struct event *event) {
	struct reader r = reader_of_octets(header->destination_list);
	struct destination destination;

	for (unsigned n = 0; reader_more(&r) && destination_read(&r, &destination) == 0; n++) {
		if (n > 0)
			event->first = event->last;
		event->last = id_of(destination.value);
		event->resource = destination.type == DESTINATION_RESOURCE;
	}
}

static void trace_joiner(void *userdata, const char *name, const struct forwarding_header *header, uint16_t code, uint16_t slot,
			 const char *detail) {
	struct journal *journal = userdata;
	const struct connection *connection = router_connection(journal->joiner->router, slot);
	enum event_type type = code == ATTACH_REQ ? EVENT_ATTACH : code == JOIN_REQ ? EVENT_JOIN : EVENT_UPDATE_OF_JOINER;

	(void)detail;
	if (strcmp(name, "send") != 0 || (code != ATTACH_REQ && code != JOIN_REQ && code != UPDATE_REQ))
		return;
	struct event *event = journal_add(journal, type);
	event->peer = connection ? connection->peer : ID_NONE;
	read_destinations(header, event);
}

/* Every Update on its way to the handlers of the joiner. */
static void watch_update(void *userdata, struct request *request) {
	struct journal *journal = userdata;
	struct chord_update update;
	struct id predecessors[CHORD_DEPTH_MAX];
	struct chord *chord = (struct chord *)(void *)journal->joiner->topology;

	assert_int_equal(chord_update_read(request->message.contents.body, ID_LENGTH_CHORD, &update), 0);
	struct event *event = journal_add(journal, EVENT_UPDATE_TO_JOINER);
	event->peer = request->signer_id;
	event->placing = chord_ids_read(chord, update.predecessors, predecessors, CHORD_DEPTH_MAX) > 0 &&
			 id_equal(&predecessors[0], &journal->joiner->id);
	chord_update_handle(chord, request);
}

static void hand_over(void *userdata, const struct id *joiner, const struct id *from, const struct id *to,
		      void (*done)(void *done_userdata, int error), void *done_userdata) {
	struct ring_node *node = userdata;
	struct journal *journal = node->userdata;

	if (!journal || node != journal->admitting) {
		done(done_userdata, 0);
		return;
	}
	journal_add(journal, EVENT_HAND_OVER)->peer = *joiner;
	journal->handovers++;
	journal->from = *from;
	journal->to = *to;
	journal->done = done;
	journal->done_userdata = done_userdata;
	if (!journal->hold) {
		journal_add(journal, EVENT_HANDED_OVER);
		done(done_userdata, 0);
	}
}

static void prepare(struct ring_node *node, void *userdata) {
	node->userdata = userdata;
	node->events.userdata = node;
	node->events.hand_over = hand_over;
}

static const struct event *journal_first(const struct journal *journal, enum event_type type) {
	for (size_t i = 0; i < journal->count; i++)
		if (journal->events[i].type == type)
			return &journal->events[i];
	return NULL;
}

static const struct event *journal_attach_to(const struct journal *journal, const struct id *target) {
	for (size_t i = 0; i < journal->count; i++)
		if (journal->events[i].type == EVENT_ATTACH && id_equal(&journal->events[i].last, target))
			return &journal->events[i];
	return NULL;
}

/* A joiner in a ring of `count`, watched but not started. */
static struct ring *watched_ring(struct journal *journal, size_t count, uint64_t seed) {
	*journal = (struct journal){0};
	struct ring *ring = ring_new(&(struct ring_settings){.seed = seed, .prepare = prepare, .userdata = journal});
	journal->ring = ring;
	ring_grow(ring, count, false, 5);
	ring_run(ring, 1000);
	struct id id = ring_random_id(ring);
	journal->admitting = ring_responsible(ring, &id);
	journal->joiner = ring_add(ring, &id);
	router_set_trace(journal->joiner->router, trace_joiner, journal);
	router_handle(journal->joiner->router, UPDATE_REQ, watch_update, journal);
	return ring;
}

static bool joiner_joined(void *userdata) {
	const struct journal *journal = userdata;

	return journal->joiner->state == TOPOLOGY_JOINED;
}

static void test_order_of_a_join(void **state) {
	struct journal journal;
	struct ring *ring = watched_ring(&journal, 24, 42);
	struct ring_node *joiner = journal.joiner, *admitting = journal.admitting;
	struct ring_node *before = ring_after(ring, admitting, ring_alive(ring) - 2); /* the joiner is alive, but not in the ring */
	struct topology_view view;

	(void)state;
	assert_ptr_not_equal(admitting, ring->nodes[0]);
	ring_bootstrap(joiner, ring->nodes[0]);
	assert_true(ring_run_until_right(ring, 10));

	/* B-10.5-02, B-11.4-01: first of all an Attach to Resource-ID n + 1, over the link to the bootstrap peer (B-10.5-01). */
	const struct event *event = journal_first(&journal, EVENT_ATTACH);
	struct id point = id_add_small(&joiner->id, 1);
	assert_ptr_equal(event, &journal.events[0]);
	assert_true(event->resource && id_equal(&event->last, &point) && id_is_none(&event->first));
	assert_true(id_equal(&event->peer, &ring->nodes[0]->id));
	/* B-6.4.2.3-01: its send_update brings the admitting peer's table. */
	const struct event *table = journal_first(&journal, EVENT_UPDATE_TO_JOINER);
	assert_true(id_equal(&table->peer, &admitting->id) && !table->placing);

	const struct event *join = journal_first(&journal, EVENT_JOIN), *handed = journal_first(&journal, EVENT_HAND_OVER);
	assert_non_null(join);
	/* B-10.5-04: over the admitting peer's link, to nobody else. */
	assert_true(id_equal(&join->peer, &admitting->id) && id_equal(&join->last, &admitting->id) && id_is_none(&join->first));
	/* B-10.6-01, B-10.5-03: neighbors through the peer that reported them, before the Join. */
	joiner->topology->ops->view(joiner->topology, &view);
	assert_int_equal(view.successor_count, 4);
	assert_int_equal(view.predecessor_count, 4);
	for (size_t i = 0; i < 4; i++) {
		event = journal_attach_to(&journal, &view.predecessors[i]);
		assert_true(event && event < join && !event->resource && !id_is_none(&event->first));
		if (id_equal(&view.successors[i], &admitting->id))
			continue;
		event = journal_attach_to(&journal, &view.successors[i]);
		assert_true(event && event < join && !event->resource && !id_is_none(&event->first));
	}
	/* B-10.5-11: the first fingers at n + 2^127 and n + 2^126, as Resource-IDs, before the Join. */
	for (unsigned i = 1; i <= 2; i++) {
		point = chord_finger_start(&joiner->id, i);
		event = journal_attach_to(&journal, &point);
		assert_true(event && event < join && event->resource && id_is_none(&event->first));
	}
	/* B-10.5-05, B-6.4.2.1-04: the data of (predecessor, joiner] after the Join. */
	assert_true(handed > join && id_equal(&handed->peer, &joiner->id));
	assert_true(id_equal(&journal.from, &before->id) && id_equal(&journal.to, &joiner->id));
	assert_int_equal(journal.handovers, 1);
	/* B-10.5-06: then the Update naming the joiner; none before. B-10.5-09: nothing from the joiner until then. */
	const struct event *done = journal_first(&journal, EVENT_HANDED_OVER), *placed = NULL;
	for (size_t i = 0; i < journal.count && !placed; i++) {
		assert_int_not_equal(journal.events[i].type, EVENT_UPDATE_OF_JOINER);
		if (journal.events[i].type == EVENT_UPDATE_TO_JOINER && journal.events[i].placing)
			placed = &journal.events[i];
	}
	assert_true(placed && placed > done && id_equal(&placed->peer, &admitting->id));
	/* B-10.5-08: the joiner's Updates to all its neighbors. */
	for (size_t i = 0; i < 4; i++) {
		bool found_successor = false, found_predecessor = false;
		for (event = placed; event < journal.events + journal.count; event++) {
			if (event->type != EVENT_UPDATE_OF_JOINER)
				continue;
			found_successor = found_successor || id_equal(&event->last, &view.successors[i]);
			found_predecessor = found_predecessor || id_equal(&event->last, &view.predecessors[i]);
		}
		assert_true(found_successor && found_predecessor);
	}
	ring_free(ring);
}

/* B-10.5-05, B-10.5-06: nothing is the joiner's before the data is there, and nobody else is admitted meanwhile. */
static void test_hand_over_takes_time(void **state) {
	struct journal journal;
	struct ring *ring = watched_ring(&journal, 6, 77);
	struct ring_node *joiner = journal.joiner, *admitting = journal.admitting;

	(void)state;
	journal.hold = true;
	ring_bootstrap(joiner, ring->nodes[0]);
	ring_run(ring, 20000);
	assert_int_equal(journal.handovers, 1);
	assert_int_equal(joiner->state, TOPOLOGY_JOINING);
	assert_true(admitting->topology->ops->responsible(admitting->topology, &joiner->id));
	assert_false(joiner->topology->ops->responsible(joiner->topology, &joiner->id));
	/* meanwhile the joiner takes what will be its own, from its admitting peer alone. */
	const struct topology_ops *ops = joiner->topology->ops;
	struct ring_node *other = ring_after(ring, admitting, 1);
	assert_true(ops->replica_acceptable(joiner->topology, &admitting->id, &joiner->id, 1));
	assert_false(ops->replica_acceptable(joiner->topology, &admitting->id, &joiner->id, 0));
	assert_false(ops->replica_acceptable(joiner->topology, &other->id, &joiner->id, 1));
	assert_false(ops->replica_acceptable(joiner->topology, &admitting->id, &admitting->id, 1));
	/* A second joiner of the same range has to wait and gets in afterwards. */
	struct id id = id_subtract(&joiner->id, &(struct id){.length = 16, .octets = {[15] = 1}});
	struct ring_node *second = ring_add(ring, &id);
	ring_bootstrap(second, ring->nodes[0]);
	ring_run(ring, 5000);
	assert_int_equal(second->state, TOPOLOGY_JOINING);
	assert_int_equal(journal.handovers, 1);
	journal.hold = false;
	journal.done(journal.done_userdata, 0);
	assert_true(ring_run_until_right(ring, 15));
	assert_true(joiner->topology->ops->responsible(joiner->topology, &joiner->id));
	assert_true(second->topology->ops->responsible(second->topology, &second->id));
	ring_free(ring);
}

static void test_hand_over_fails(void **state) {
	struct journal journal;
	struct ring *ring = watched_ring(&journal, 6, 78);

	(void)state;
	journal.hold = true;
	ring_bootstrap(journal.joiner, ring->nodes[0]);
	ring_run(ring, 2000);
	assert_int_equal(journal.handovers, 1);
	journal.done(journal.done_userdata, -EIO);
	ring_run(ring, 200000); /* bounded: the joiner gives up */
	assert_int_equal(journal.joiner->state, TOPOLOGY_OFFLINE);
	assert_int_equal(journal.joiner->offline_count, 1);
	assert_true(journal.admitting->topology->ops->responsible(journal.admitting->topology, &journal.joiner->id));
	/* And may try again. */
	journal.hold = false;
	ring_bootstrap(journal.joiner, ring->nodes[1]);
	assert_true(ring_run_until_right(ring, 10));
	ring_free(ring);
}

/* The joiner dies while its data is handed over; the storage answers later, or the admitting peer dies first. */
static void test_death_during_hand_over(void **state) {
	for (unsigned who = 0; who < 2; who++) {
		struct journal journal;
		struct ring *ring = watched_ring(&journal, 6, 79);

		(void)state;
		journal.hold = true;
		ring_bootstrap(journal.joiner, ring->nodes[who ? 0 : 1]);
		ring_run(ring, 2000);
		assert_int_equal(journal.handovers, 1);
		ring_kill(who ? journal.admitting : journal.joiner);
		if (who) {
			journal.done(journal.done_userdata, 0);
			assert_true(ring_run_until_right(ring, 60)); /* another peer admits it */
		} else {
			ring_run(ring, 60000);
			journal.done(journal.done_userdata, -ETIMEDOUT);
			assert_true(ring_run_until_right(ring, 1));
		}
		ring_free(ring);
	}
}

/* B-10.5-09: a neighbor that cannot be attached to holds the joiner back until that Attach has definitely failed. */
static void test_blocked_neighbor(void **state) {
	struct journal journal;
	struct ring *ring = watched_ring(&journal, 12, 80);
	struct ring_node *joiner = journal.joiner;
	struct ring_node *blocked = ring_after(ring, journal.admitting, 2);

	(void)state;
	ring_cut(joiner, blocked, true);
	ring_bootstrap(joiner, blocked == ring->nodes[0] ? ring->nodes[1] : ring->nodes[0]);
	ring_run(ring, 8000);
	assert_non_null(journal_attach_to(&journal, &blocked->id));
	assert_null(journal_first(&journal, EVENT_JOIN));
	assert_null(journal_first(&journal, EVENT_UPDATE_OF_JOINER));
	assert_int_equal(joiner->state, TOPOLOGY_JOINING);
	assert_true(ring_run_until(ring, 60000, joiner_joined, &journal));
	/* B-10.7.1-05: when the way is free again they find each other. */
	ring_cut(joiner, blocked, false);
	assert_true(ring_run_until_right(ring, 120));
	ring_free(ring);
}

/* B-10.5-10: the admitting peer's Updates stay away until it places the joiner. */
static void drop_tables(void *userdata, struct request *request) {
	struct journal *journal = userdata;
	struct chord *chord = (struct chord *)(void *)journal->joiner->topology;

	if (chord->state == TOPOLOGY_JOINING && chord->join.phase < CHORD_JOIN_NEIGHBORS)
		request_fail_text(request, ERROR_FORBIDDEN, "Not now.");
	else
		chord_update_handle(chord, request);
}

static void test_no_table(void **state) {
	struct journal journal;
	struct ring *ring = watched_ring(&journal, 8, 81);
	struct ring_node *next = ring_after(ring, journal.admitting, 1);

	(void)state;
	router_handle(journal.joiner->router, UPDATE_REQ, drop_tables, &journal);
	ring_bootstrap(journal.joiner, ring->nodes[0]);
	assert_true(ring_run_until_right(ring, 60));
	struct id point = id_add_small(&journal.admitting->id, 1), after = id_add_small(&next->id, 1);
	const struct event *first = journal_attach_to(&journal, &point), *second = journal_attach_to(&journal, &after);
	assert_true(first && first->resource);
	assert_true(second && second->resource && second > first);
	ring_free(ring);
}

/* ---- joins that fail ---- */

static void test_bootstrap_not_in_overlay(void **state) {
	struct ring *ring = ring_new(&(struct ring_settings){.seed = 5});
	struct ring_node *idle = ring_add(ring, NULL), *joiner = ring_add(ring, NULL);

	(void)state;
	ring_bootstrap(joiner, idle);
	ring_run(ring, 120000);
	assert_int_equal(joiner->state, TOPOLOGY_OFFLINE); /* B-4.5.2-01: it does not make an overlay of its own */
	assert_int_equal(joiner->offline_count, 1);
	assert_false(joiner->topology->ops->responsible(joiner->topology, &joiner->id));
	/* A slot without a link. */
	joiner->topology->ops->join(joiner->topology, 99);
	assert_int_equal(joiner->state, TOPOLOGY_OFFLINE);
	assert_int_equal(joiner->offline_count, 2);
	/* The bootstrap peer dies in the middle of it. */
	ring_start(idle);
	ring_bootstrap(joiner, idle);
	ring_run(ring, 12);
	ring_kill(idle);
	ring_run(ring, 120000);
	assert_int_equal(joiner->state, TOPOLOGY_OFFLINE);
	assert_int_equal(joiner->offline_count, 3);
	ring_free(ring);
}

/* ---- forged and misdirected requests ---- */

struct outcome {
	int error;
	uint16_t code;
	bool done;
};

static void note_outcome(void *userdata, int error, const struct response *response) {
	struct outcome *outcome = userdata;

	outcome->error = error;
	outcome->code = error == -EREMOTEIO ? response->error.code : 0;
	outcome->done = true;
}

static struct outcome ask(struct ring_node *from, const struct id *through, struct ring_node *to, uint16_t code,
			  struct octets body) {
	uint8_t list[CHORD_DESTINATIONS_MAX];
	struct outcome outcome = {0};
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,     .destination_list = chord_destinations(list, sizeof(list), through, &to->id, false),
		.code = code,	      .body = body,
		.done = note_outcome, .userdata = &outcome,
	};
	assert_int_equal(router_send_request(from->router, &outgoing, NULL), 0);
	for (unsigned i = 0; i < 400 && !outcome.done; i++)
		ring_run(from->ring, 100);
	assert_true(outcome.done);
	return outcome;
}

static struct octets join_body(uint8_t *buffer, size_t size, const struct id *id) {
	struct writer w = writer_fixed(buffer, size);
	struct join_req join = {.joining_peer_id = *id};

	join_req_write(&w, &join);
	return writer_octets_written(&w);
}

static struct octets leave_body(uint8_t *buffer, size_t size, const struct id *id) {
	uint8_t data[64];
	struct writer list = writer_fixed(data, sizeof(data)), w = writer_fixed(buffer, size);
	struct leave_req leave = {.leaving_peer_id = *id};

	chord_leave_write(&list, CHORD_FROM_SUCC, NULL, 0);
	leave.overlay_specific_data = writer_octets_written(&list);
	leave_req_write(&w, &leave);
	return writer_octets_written(&w);
}

static void test_forged(void **state) {
	struct ring *ring = ring_new(&(struct ring_settings){.seed = 6});
	uint8_t buffer[256];
	struct id none = ID_NONE;

	(void)state;
	ring_grow(ring, 6, false, 5);
	struct ring_node *victim = ring->nodes[0], *evil = ring_after(ring, victim, 1), *third = ring_after(ring, victim, 2);
	struct ring_node *before = ring_after(ring, victim, 5);
	struct id inside = id_add_small(&before->id, 1);

	/* B-6.4.2.1-01: another Node-ID than the signer's. */
	struct outcome outcome = ask(evil, &none, victim, JOIN_REQ, join_body(buffer, sizeof(buffer), &inside));
	assert_int_equal(outcome.error, -EREMOTEIO);
	assert_int_equal(outcome.code, ERROR_FORBIDDEN);
	/* A member that is not responsible's predecessor, over its own link. */
	outcome = ask(evil, &none, victim, JOIN_REQ, join_body(buffer, sizeof(buffer), &evil->id));
	assert_int_equal(outcome.code, ERROR_FORBIDDEN);
	/* B-6.4.2.1-02: over a third node. */
	outcome = ask(before, &third->id, victim, JOIN_REQ, join_body(buffer, sizeof(buffer), &before->id));
	assert_int_equal(outcome.code, ERROR_FORBIDDEN);
	/* B-6.4.2.2-02: the same for Leave. */
	outcome = ask(evil, &none, victim, LEAVE_REQ, leave_body(buffer, sizeof(buffer), &before->id));
	assert_int_equal(outcome.code, ERROR_FORBIDDEN);
	outcome = ask(before, &third->id, victim, LEAVE_REQ, leave_body(buffer, sizeof(buffer), &before->id));
	assert_int_equal(outcome.code, ERROR_FORBIDDEN);
	/* An Update that came over somebody else's link. */
	uint8_t update[] = {0, 0, 0, 1, CHORD_PEER_READY};
	outcome = ask(before, &third->id, victim, UPDATE_REQ, OCTETS(update, sizeof(update)));
	assert_int_equal(outcome.code, ERROR_FORBIDDEN);
	/* Malformed bodies. */
	static const uint16_t codes[] = {JOIN_REQ, LEAVE_REQ, UPDATE_REQ, ROUTE_QUERY_REQ};
	for (size_t i = 0; i < ARRAY_LENGTH(codes); i++) {
		outcome = ask(evil, &none, victim, codes[i], OCTETS("abc", 3));
		assert_int_equal(outcome.error, -EREMOTEIO);
		assert_int_equal(outcome.code, ERROR_INVALID_MESSAGE);
	}
	ring_run(ring, 1000);
	assert_true(ring_is_right(ring));
	ring_free(ring);
}

/* Node-IDs nobody has, ourselves, zero and the wildcard in an Update change nothing but a few Attaches that come to nothing. */
static void test_lying_update(void **state) {
	struct ring *ring = ring_new(&(struct ring_settings){.seed = 7});
	uint8_t buffer[1400], ids[40 * ID_LENGTH_CHORD];
	struct id none = ID_NONE;

	(void)state;
	ring_grow(ring, 6, false, 5);
	struct ring_node *victim = ring->nodes[0], *liar = ring_after(ring, victim, 1);
	struct writer list = writer_fixed(ids, sizeof(ids)), w = writer_fixed(buffer, sizeof(buffer));
	struct id wildcard = id_wildcard(ID_LENGTH_CHORD), zero = {.length = ID_LENGTH_CHORD};
	writer_id(&list, &victim->id);
	writer_id(&list, &wildcard);
	writer_id(&list, &zero);
	for (unsigned i = 1; i <= 37; i++) {
		struct id near = id_add_small(&victim->id, i);
		writer_id(&list, &near);
	}
	struct chord_update update = {
		.type = CHORD_NEIGHBORS, .predecessors = writer_octets_written(&list), .successors = writer_octets_written(&list)};
	chord_update_write(&w, &update);
	assert_int_equal(writer_finish(&w), 0);
	struct outcome outcome = ask(liar, &none, victim, UPDATE_REQ, writer_octets_written(&w));
	assert_int_equal(outcome.error, 0);
	struct chord *chord = (struct chord *)(void *)victim->topology;
	assert_true(chord->attach_count > 0 && chord->attach_count <= 2 * CHORD_DEPTH_MIN);
	assert_true(ring_is_right(ring)); /* adopted only on success */
	ring_run(ring, 60000);
	assert_true(ring_is_right(ring));
	ring_free(ring);
}

/* ---- RouteQuery (B-10.8-01) ---- */

struct query_outcome {
	struct id next;
	uint16_t error;
	bool done;
};

static void note_query(void *userdata, int error, const struct response *response) {
	struct query_outcome *outcome = userdata;

	outcome->done = true;
	if (error == 0)
		assert_int_equal(chord_route_query_ans_read(response->body, ID_LENGTH_CHORD, &outcome->next), 0);
	else if (error == -EREMOTEIO)
		outcome->error = response->error.code;
}

static struct query_outcome route_query(struct ring_node *from, struct ring_node *to, uint8_t type, struct octets value,
					bool send_update) {
	uint8_t list[CHORD_DESTINATIONS_MAX], entry[64], body[128];
	struct writer e = writer_fixed(entry, sizeof(entry)), w = writer_fixed(body, sizeof(body));
	struct query_outcome outcome = {0};
	struct id none = ID_NONE, id = id_of(value);

	if (type == DESTINATION_NODE)
		destination_write_node(&e, &id);
	else if (type == DESTINATION_RESOURCE)
		destination_write_resource(&e, value);
	else
		destination_write_opaque(&e, value);
	struct route_query_req query = {.send_update = send_update,
					.destination = {.type = type, .value = value, .whole = writer_octets_written(&e)}};
	route_query_write(&w, &query);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,	 .destination_list = chord_destinations(list, sizeof(list), &none, &to->id, false),
		.code = ROUTE_QUERY_REQ, .body = writer_octets_written(&w),
		.done = note_query,	 .userdata = &outcome,
	};
	assert_int_equal(router_send_request(from->router, &outgoing, NULL), 0);
	ring_run(from->ring, 200);
	assert_true(outcome.done);
	return outcome;
}

static unsigned updates_seen;

static void count_update(void *userdata, struct request *request) {
	struct chord_update update;

	assert_int_equal(chord_update_read(request->message.contents.body, ID_LENGTH_CHORD, &update), 0);
	updates_seen += update.type == CHORD_FULL;
	chord_update_handle(userdata, request);
}

static void test_route_query(void **state) {
	struct ring *ring = ring_new(&(struct ring_settings){.seed = 8});

	(void)state;
	ring_grow(ring, 8, false, 5);
	ring_run(ring, 1000);
	struct ring_node *asked = ring->nodes[3], *asker = ring_after(ring, asked, 1), *far = ring_after(ring, asked, 3);
	router_handle(asker->router, UPDATE_REQ, count_update, asker->topology);
	struct query_outcome outcome = route_query(asker, asked, DESTINATION_NODE, id_octets(&far->id), false);
	assert_true(id_equal(&outcome.next, &far->id));
	outcome = route_query(asker, asked, DESTINATION_RESOURCE, id_octets(&asked->id), false);
	assert_true(id_equal(&outcome.next, &asked->id));
	struct id point = id_add_small(&asked->id, 1);
	outcome = route_query(asker, asked, DESTINATION_RESOURCE, id_octets(&point), false);
	assert_true(id_equal(&outcome.next, &asker->id));
	assert_int_equal(updates_seen, 0);
	outcome = route_query(asker, asked, DESTINATION_NODE, id_octets(&asked->id), true);
	assert_true(id_equal(&outcome.next, &asked->id));
	assert_int_equal(updates_seen, 1); /* B-10.7-02: full on request */
	/* B-6.4.2.4-02 */
	outcome = route_query(asker, asked, DESTINATION_OPAQUE, OCTETS("0123456789abcdef", 16), true);
	assert_int_equal(outcome.error, ERROR_FORBIDDEN);
	assert_int_equal(updates_seen, 1);
	ring_free(ring);
}

/* ---- what the storage asks ---- */

static void test_replica_questions(void **state) {
	struct ring *ring = ring_new(&(struct ring_settings){.seed = 9});
	struct id replicas[TOPOLOGY_REPLICAS_MAX];

	(void)state;
	ring_grow(ring, 10, false, 5);
	ring_run(ring, 1000);
	struct ring_node *owner = ring->nodes[4], *peers[7];
	for (size_t i = 0; i < 7; i++)
		peers[i] = ring_after(ring, owner, i);
	const struct topology_ops *ops = owner->topology->ops;
	struct ring_node *before = ring_after(ring, owner, 9);
	struct id resource = id_add_small(&before->id, 5), near = id_add_small(&before->id, 6);

	assert_int_equal(ops->replicas(owner->topology, replicas), 2); /* B-10.4-01 */
	assert_true(id_equal(&replicas[0], &peers[1]->id) && id_equal(&replicas[1], &peers[2]->id));
	/* B-10.4-02, B-7.4.1-03, B-7.4.1-06 */
	assert_true(ops->replica_acceptable(peers[1]->topology, &owner->id, &resource, 1));
	assert_true(ops->replica_acceptable(peers[2]->topology, &owner->id, &resource, 2));
	assert_false(ops->replica_acceptable(peers[3]->topology, &owner->id, &resource, 2));	/* no replica holder */
	assert_false(ops->replica_acceptable(peers[2]->topology, &peers[1]->id, &resource, 2)); /* a better owner is known */
	assert_false(ops->replica_acceptable(peers[1]->topology, &peers[4]->id, &resource, 1)); /* a stranger */
	assert_false(ops->replica_acceptable(peers[1]->topology, &before->id, &resource, 1));
	assert_true(ops->replica_acceptable(peers[1]->topology, &near, &resource, 1)); /* nearer than the owner we know */
	assert_false(ops->replica_acceptable(peers[1]->topology, &owner->id, &resource, 0));
	assert_false(ops->replica_acceptable(peers[1]->topology, &owner->id, &resource, 200));
	assert_true(ops->replica_acceptable(owner->topology, &peers[1]->id, &resource, 1)); /* repair */
	assert_true(ops->replica_acceptable(owner->topology, &near, &resource, 1)); /* unknown, an owner in the other part */

	struct id hint = ops->owner_hint(peers[1]->topology, &resource);
	assert_true(id_equal(&hint, &owner->id));
	hint = ops->owner_hint(owner->topology, &resource);
	assert_true(id_is_none(&hint));
	/* B-10.7.3-04 */
	assert_false(ops->may_discard(owner->topology, &resource));
	assert_false(ops->may_discard(peers[1]->topology, &resource));
	assert_false(ops->may_discard(peers[2]->topology, &resource));
	assert_true(ops->may_discard(peers[3]->topology, &resource));
	ring_free(ring);
}

/* After a partition the owner in the other part offers what it holds: it stands behind the resource, and mostly not far away. One
 * that was alone in its part stands anywhere: such offers are taken too, at a rate that makes a flood of them harmless. */
static void test_former_owners(void **state) {
	struct ring *ring = ring_new(&(struct ring_settings){.seed = 19});

	(void)state;
	ring_grow(ring, 40, false, 5);
	ring_run(ring, 1000);
	struct ring_node *owner = ring->nodes[4];
	struct id resource = id_add_small(&ring_after(ring, owner, 39)->id, 5);
	struct id behind = id_add_small(&ring_after(ring, owner, 12)->id, 1),
		  far = id_add_small(&ring_after(ring, owner, 39)->id, 1);

	const struct topology_ops *ops = owner->topology->ops;
	unsigned taken = 0;

	ring_run(ring, CHORD_STRANGER_STORES * CHORD_STRANGER_STORE_MS);
	while (taken <= CHORD_STRANGER_STORES && ops->replica_acceptable(owner->topology, &far, &resource, 1))
		taken++;
	assert_int_equal(taken, CHORD_STRANGER_STORES);
	assert_true(ops->replica_acceptable(owner->topology, &behind, &resource, 1)); /* not held up by the flood */
	assert_true(ops->replica_acceptable(owner->topology, &ring_after(ring, owner, 1)->id, &resource, 1)); /* a neighbor */
	ring_run(ring, 2 * CHORD_STRANGER_STORE_MS);
	assert_true(ops->replica_acceptable(owner->topology, &far, &resource, 1));
	assert_true(ops->replica_acceptable(owner->topology, &far, &resource, 1));
	assert_false(ops->replica_acceptable(owner->topology, &far, &resource, 1));
	/* Of what is not ours nothing is taken from strangers. */
	assert_false(ops->replica_acceptable(owner->topology, &far, &ring_after(ring, owner, 20)->id, 1));
	ring_free(ring);
}

/* ---- clients (B-4.2.1-01) ---- */

static bool client_is_home(void *userdata) {
	struct ring_node *client = userdata;
	struct topology_view view;
	const struct ring_node *home = ring_responsible(client->ring, &client->id);

	client->topology->ops->view(client->topology, &view);
	return view.state == TOPOLOGY_JOINED && view.successor_count == 1 && id_equal(&view.successors[0], &home->id);
}

static void test_client(void **state) {
	struct ring *ring = ring_new(&(struct ring_settings){.seed = 10, .rejoin = true});
	struct id none = ID_NONE;
	uint8_t ping[8];
	struct writer w = writer_fixed(ping, sizeof(ping));

	(void)state;
	ping_req_write(&w, OCTETS_NONE);
	ring_grow(ring, 6, false, 5);
	struct ring_node *client = ring_add_client(ring, NULL);
	ring_bootstrap(client, ring->nodes[2]);
	assert_true(ring_run_until(ring, 10000, client_is_home, client));
	assert_false(client->topology->ops->responsible(client->topology, &client->id));
	assert_true(ring_is_right(ring)); /* B-6.5.1-02: it is in nobody's table */
	ring_run(ring, 1000);
	struct ring_node *old = ring_responsible(ring, &client->id), *far = ring_after(ring, old, 3);
	assert_true(router_connection_of(old->router, &client->id)->is_client);

	/* B-10.7.1-03: a peer comes in between; the client hears of it and moves. */
	struct id between = id_add_small(&client->id, 1);
	ring_bootstrap(ring_add(ring, &between), ring->nodes[0]);
	assert_true(ring_run_until_right(ring, 10));
	assert_true(ring_run_until(ring, 5000, client_is_home, client));
	assert_ptr_not_equal(ring_responsible(ring, &client->id), old);
	assert_int_equal(client->joined_count, 1);
	ring_run(ring, 2000);
	struct outcome outcome = ask(far, &none, client, PING_REQ, writer_octets_written(&w));
	assert_int_equal(outcome.error, 0);
	outcome = ask(client, &none, far, PING_REQ, writer_octets_written(&w));
	assert_int_equal(outcome.error, 0);
	/* Its peer dies: the client finds back. */
	ring_kill(ring_responsible(ring, &client->id));
	assert_true(ring_run_until_right(ring, 60));
	ring_run(ring, 60000);
	assert_true(ring_run_until(ring, 60000, client_is_home, client));
	ring_leave(client);
	assert_int_equal(client->state, TOPOLOGY_LEFT);
	ring_free(ring);
}

/* B-6.4.1-02: a plug-in is found by its name in the configuration document. */
static void test_find(void **state) {
	(void)state;
	assert_ptr_equal(topology_find("CHORD-RELOAD"), &topology_chord_reload);
	assert_null(topology_find("CHORD"));
	assert_null(topology_find(""));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_one_by_one),
		cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_lossy_network),
		cmocka_unit_test(test_order_of_a_join),
		cmocka_unit_test(test_hand_over_takes_time),
		cmocka_unit_test(test_hand_over_fails),
		cmocka_unit_test(test_death_during_hand_over),
		cmocka_unit_test(test_blocked_neighbor),
		cmocka_unit_test(test_no_table),
		cmocka_unit_test(test_bootstrap_not_in_overlay),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_lying_update),
		cmocka_unit_test(test_route_query),
		cmocka_unit_test(test_replica_questions),
		cmocka_unit_test(test_former_owners),
		cmocka_unit_test(test_client),
	};

	log_level = getenv("LOG") ? LOG_DEBUG : LOG_ERR;
	return cmocka_run_group_tests_name("chord join", tests, NULL, NULL);
}
