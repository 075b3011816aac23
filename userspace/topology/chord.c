/* SPDX-License-Identifier: BSD-2-Clause */
/* CHORD-RELOAD (RFC 6940 10): life cycle of the plug-in, the questions it answers, and what follows from a changed table. */
#include "topology/chord.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

static struct chord *chord_of(struct topology *topology) {
	return container_of(topology, struct chord, topology);
}

static const struct chord *chord_of_const(const struct topology *topology) {
	return (const struct chord *)(const void *)topology;
}

uint64_t chord_jitter(const struct chord *chord, uint64_t interval_us) {
	return interval_us - interval_us / 4 + runtime_random_below(chord->runtime, interval_us / 2 + 1);
}

/* ---- state ---- */

void chord_set_state(struct chord *chord, enum topology_state state) {
	if (chord->state == state)
		return;
	chord->state = state;
	if (chord->events.state_changed)
		chord->events.state_changed(chord->events.userdata, state);
}

static void disarm_all(struct chord *chord) {
	timer_disarm(chord->runtime, &chord->flush_timer);
	timer_disarm(chord->runtime, &chord->periodic_timer);
	timer_disarm(chord->runtime, &chord->check_timer);
	timer_disarm(chord->runtime, &chord->stabilize_timer);
	timer_disarm(chord->runtime, &chord->finger_timer);
	timer_disarm(chord->runtime, &chord->replica_timer);
	timer_disarm(chord->runtime, &chord->retry_timer);
	timer_disarm(chord->runtime, &chord->confirm_timer);
	timer_disarm(chord->runtime, &chord->join_timer);
}

bool chord_owns(const struct chord *chord, const struct id *point) {
	if (chord->state != TOPOLOGY_JOINED && chord->state != TOPOLOGY_LEAVING)
		return false;
	return !chord->client && (id_is_none(&chord->predecessor) || id_in_range(point, &chord->predecessor, chord_self(chord)));
}

/* ---- consequences of a change ---- */

/* The Routing Table: all peers, those not yet heard from included; the router relays only through the others.
 * True: it changed. */
static bool set_routes(struct chord *chord) {
	bool changed = chord->table.routed_removed;
	size_t count = 0;

	for (size_t i = 0; i < chord->table.count; i++) {
		struct chord_member *member = &chord->table.members[i];
		bool routed = !member->left && !member->suspected; /* B-10.5-03 */
		changed = changed || routed != member->routed;
		member->routed = routed;
		count += routed;
	}
	if (!changed)
		return false;
	struct id *ids = calloc(count ? count : 1, sizeof(*ids));
	int error = -ENOMEM;
	count = 0;
	for (size_t i = 0; ids && i < chord->table.count; i++)
		if (chord->table.members[i].routed)
			ids[count++] = chord->table.members[i].id;
	if (ids)
		error = router_set_routes(chord->router, ids, count);
	if (error < 0)
		log_error("Chord: the routing table cannot be updated: %s.", strerror(-error));
	chord->table.routed_removed = error < 0; /* then it is tried again with the next change */
	free(ids);
	return true;
}

static struct id own_predecessor(const struct chord *chord) {
	struct id predecessor = chord_table_first(&chord->table, CHORD_PREDECESSORS);

	/* A predecessor our admitting peer named: we are not entitled to its range while we still attach to it. */
	if (!id_is_none(&chord->range_bound) &&
	    (id_is_none(&predecessor) || id_between(&chord->range_bound, &predecessor, chord_self(chord))))
		return chord->range_bound;
	return predecessor;
}

/* Does `id` hold what we sent it as long as we know it? */
static bool replica_known(const struct chord *chord, const struct id *id) {
	for (size_t i = 0; i < chord->replica_count; i++)
		if (id_equal(id, &chord->replicas[i]))
			return !chord->replica_anew[i];
	return false;
}

void chord_replica_lost(struct chord *chord, const struct id *id) {
	for (size_t i = 0; i < chord->replica_count; i++)
		if (id_equal(id, &chord->replicas[i]))
			chord->replica_anew[i] = true;
}

/* Not known when one was lost, but named by an Update or a Join since: the better match for which replacements are held back. */
static bool came_since_loss(const struct chord *chord, const struct id *id) {
	const struct chord_member *member = chord_table_find(&chord->table, id);

	return member && !member->before_loss;
}

static void check_replicas(struct chord *chord) {
	struct id now[CHORD_REPLICAS], added[CHORD_REPLICAS];
	size_t near = chord_table_nearest(&chord->table, CHORD_SUCCESSORS, now, CHORD_REPLICAS), count = 0, added_count = 0;
	bool held = chord->replica_hold_us > chord_now(chord);

	for (size_t i = 0; i < near; i++) {
		bool known = replica_known(chord, &now[i]);
		if (held && !known && !came_since_loss(chord, &now[i]))
			continue; /* B-10.7.1-02 */
		if (!known)
			added[added_count++] = now[i];
		now[count++] = now[i];
	}
	if (held && added_count == 0)
		return; /* who was lost may come back to what it holds */
	memcpy(chord->replicas, now, count * sizeof(now[0]));
	memset(chord->replica_anew, 0, sizeof(chord->replica_anew));
	chord->replica_count = count;
	if (added_count > 0 && chord->events.replicas_changed)
		chord->events.replicas_changed(chord->events.userdata, added, added_count); /* B-10.7.3-03 */
}

/* After a loss the replacement waits: an Update may soon name a better one (B-10.7.1-02). */
static void hold_replicas(struct chord *chord) {
	for (size_t i = 0; i < chord->replica_count; i++) {
		const struct chord_member *member = chord_table_find(&chord->table, &chord->replicas[i]);
		if (member && chord_member_usable(member))
			continue;
		if (chord->replica_hold_us <= chord_now(chord)) {
			chord->replica_hold_us = chord_now(chord) + chord->replacement_delay_us;
			for (size_t k = 0; k < chord->table.count; k++)
				chord->table.members[k].before_loss = chord_member_usable(&chord->table.members[k]);
			timer_arm(chord->runtime, &chord->replica_timer, chord->replica_hold_us);
		}
		return;
	}
}

static void replica_fire(struct timer *timer, void *userdata) {
	struct chord *chord = userdata;

	(void)timer;
	if (chord->state == TOPOLOGY_JOINED)
		check_replicas(chord);
}

/* B-10.7.1-04: nobody is left, and only the explicitly first node may own the ring alone (B-4.5.2-01). */
static void isolate(struct chord *chord) {
	log_warning("Chord: the connection to every peer is lost; the node is no longer in the overlay.");
	chord->isolated = true;
	chord->placing = false;
	chord->audience = CHORD_NOBODY;
	chord->range_bound = ID_NONE;
	chord_admission_abandon(chord);
	chord_attaches_cancel(chord);
	disarm_all(chord);
	router_set_range(chord->router, NULL, false);
	chord_set_state(chord, TOPOLOGY_OFFLINE);
	if (chord->events.bootstrap_wanted)
		chord->events.bootstrap_wanted(chord->events.userdata);
}

static void take_range(struct chord *chord, const struct id *predecessor) {
	char text[ID_TEXT_SIZE];

	chord->predecessor = *predecessor;
	router_set_range(chord->router, id_is_none(predecessor) ? NULL : &chord->predecessor, true);
	log_info("Chord: own range begins after %s.", id_is_none(predecessor) ? "ourselves" : id_format(predecessor, text));
}

void chord_changed(struct chord *chord, enum chord_change change) {
	/* Who is out of the ring knows some of its peers, whose density says nothing. */
	if (chord->state != TOPOLOGY_OFFLINE || chord->client)
		chord_table_adjust_depth(&chord->table);
	bool neighbors_changed = chord_table_refresh(&chord->table);

	bool peers_changed = set_routes(chord);
	if (chord->client)
		return;
	if (chord->isolated && chord->state == TOPOLOGY_OFFLINE && chord_table_usable(&chord->table) > 0) {
		log_notice("Chord: connectivity is back."); /* B-10.7.1-05 */
		chord_enter(chord);
		return;
	}
	if (chord->state != TOPOLOGY_JOINED)
		return;
	if (change == CHORD_LOSS && !chord->started && chord_table_usable(&chord->table) == 0) {
		isolate(chord);
		return;
	}

	struct id predecessor = own_predecessor(chord);
	bool range_changed = !id_equal(&predecessor, &chord->predecessor);
	if (range_changed) {
		take_range(chord, &predecessor);
		chord_update_schedule(chord, CHORD_EVERYBODY); /* B-10.7.1-03, B-10.7.3-05, B-6.4.1-01 */
	} else if (neighbors_changed && router_config(chord->router)->chord_reactive) {
		/* Q-54, B-10.7.1-01, B-10.7.3-02 */
		chord_update_schedule(chord, change == CHORD_LOSS ? CHORD_NEIGHBORS_ONLY : CHORD_EVERYBODY);
	}
	if (neighbors_changed) {
		chord_pull(chord);
		chord_periodic_arm(chord);
	}
	if (neighbors_changed || (peers_changed && change == CHORD_GAIN))
		chord_check_soon(chord);
	if (change == CHORD_LOSS)
		hold_replicas(chord);
	check_replicas(chord);
	chord_check_owners(chord);
	if (range_changed && chord->events.range_changed)
		chord->events.range_changed(chord->events.userdata);
}

void chord_forget(struct chord *chord) {
	struct id self = *chord_self(chord);

	chord_table_release(&chord->table);
	chord_table_init(&chord->table, &self);
	chord->table.routed_removed = true;
	set_routes(chord);
}

void chord_enter(struct chord *chord) {
	struct id predecessor = own_predecessor(chord);
	uint64_t interval_us = router_config(chord->router)->chord_update_interval_s * USEC_PER_SEC;

	chord->isolated = false;
	chord->fingers_lost = 0;
	chord->joined_us = chord_now(chord);
	chord->replica_count = chord->owner_count = 0;
	chord->replica_hold_us = 0;
	chord->copies_from = ID_NONE;
	chord->pulled[0] = chord->pulled[1] = ID_NONE;
	take_range(chord, &predecessor);
	chord_check_soon(chord);
	timer_arm_after(chord->runtime, &chord->stabilize_timer, runtime_random_below(chord->runtime, interval_us + 1));
	chord_set_state(chord, TOPOLOGY_JOINED);
	chord_finger_arm(chord, false);
	chord_update_schedule(chord, CHORD_EVERYBODY); /* B-10.5-08 */
	chord_periodic_arm(chord);
	check_replicas(chord);
	chord_check_owners(chord);
	if (chord->events.range_changed)
		chord->events.range_changed(chord->events.userdata);
}

/* ---- life cycle ---- */

static void register_handlers(struct chord *chord) {
	router_handle(chord->router, UPDATE_REQ, chord_update_handle, chord);
	if (chord->client)
		return; /* clients neither admit nor route */
	router_handle(chord->router, JOIN_REQ, chord_join_handle, chord);
	router_handle(chord->router, LEAVE_REQ, chord_leave_handle, chord);
	router_handle(chord->router, ROUTE_QUERY_REQ, chord_route_query_handle, chord);
}

static int chord_create(const struct topology_settings *settings, struct topology **ret) {
	const struct id *self = router_node_id(settings->router);

	if (self->length != ID_LENGTH_CHORD)
		return -EOPNOTSUPP; /* */
	struct chord *chord = calloc(1, sizeof(*chord));
	if (!chord)
		return -ENOMEM;
	chord->topology.ops = &topology_chord_reload;
	chord->runtime = settings->runtime;
	chord->router = settings->router;
	chord->events = settings->events;
	chord->client = settings->client;
	chord->created_us = chord_now(chord);
	chord->check_interval_us = settings->neighbor_check_interval_ms ? settings->neighbor_check_interval_ms * USEC_PER_MSEC
									: CHORD_CHECK_S * USEC_PER_SEC;
	chord->replacement_delay_us = settings->replacement_delay_ms ? settings->replacement_delay_ms * USEC_PER_MSEC
								     : CHORD_REPLACEMENT_S * USEC_PER_SEC;
	chord->join.slot = LINK_SLOT_NONE;
	chord_table_init(&chord->table, self);
	timer_init(&chord->flush_timer, chord_flush_fire, chord);
	timer_init(&chord->periodic_timer, chord_periodic_fire, chord);
	timer_init(&chord->check_timer, chord_check_fire, chord);
	timer_init(&chord->stabilize_timer, chord_stabilize_fire, chord);
	timer_init(&chord->finger_timer, chord_finger_fire, chord);
	timer_init(&chord->replica_timer, replica_fire, chord);
	timer_init(&chord->retry_timer, chord_retry_fire, chord);
	timer_init(&chord->confirm_timer, chord_confirm_fire, chord);
	timer_init(&chord->join_timer, chord_join_fire, chord);
	chord->listener = (struct connection_listener){
		.userdata = chord,
		.up = chord_link_up,
		.down = chord_link_down,
		.suspect = chord_link_suspect,
		.update_wanted = chord_link_update_wanted,
	};
	router_add_listener(chord->router, &chord->listener);
	register_handlers(chord);
	*ret = &chord->topology;
	return 0;
}

static struct topology *chord_destroy(struct topology *topology) {
	if (!topology)
		return NULL;
	struct chord *chord = chord_of(topology);
	chord_admission_abandon(chord);
	chord_attaches_cancel(chord);
	chord_requests_cancel_all(chord);
	disarm_all(chord);
	router_remove_listener(chord->router, &chord->listener);
	router_handle(chord->router, UPDATE_REQ, NULL, NULL);
	router_handle(chord->router, JOIN_REQ, NULL, NULL);
	router_handle(chord->router, LEAVE_REQ, NULL, NULL);
	router_handle(chord->router, ROUTE_QUERY_REQ, NULL, NULL);
	router_set_range(chord->router, NULL, false);
	router_set_routes(chord->router, NULL, 0);
	chord_table_release(&chord->table);
	free(chord->unreachable);
	free(chord);
	return NULL;
}

static void begin_ring(struct chord *chord, bool first_node) {
	if (chord->client || chord->state == TOPOLOGY_JOINED || chord->state == TOPOLOGY_LEAVING)
		return;
	chord_attaches_cancel(chord);
	chord_requests_cancel(chord, CHORD_REQUEST_JOIN);
	timer_disarm(chord->runtime, &chord->join_timer);
	chord->join.phase = CHORD_JOIN_IDLE;
	chord->started = first_node; /* B-6.4.2.1-06 */
	chord_enter(chord);
}

static void chord_start(struct topology *topology) {
	begin_ring(chord_of(topology), true);
}

/* What we knew of the ring is out of date: those that join tell us anew. */
static void chord_restart(struct topology *topology) {
	struct chord *chord = chord_of(topology);

	if (chord->state == TOPOLOGY_OFFLINE && !chord->client)
		chord_forget(chord);
	begin_ring(chord, false);
}

static void chord_join(struct topology *topology, uint16_t slot) {
	struct chord *chord = chord_of(topology);

	if (chord->state == TOPOLOGY_JOINING || chord->state == TOPOLOGY_LEAVING)
		return;
	if (chord->state == TOPOLOGY_JOINED) {
		if (!chord->client)
			chord_partition_check(chord, slot);
		return;
	}
	chord->isolated = false;
	if (chord->client)
		chord_client_join(chord, slot);
	else
		chord_join_start(chord, slot);
}

/*
 * After a restart that the neighbors did not notice, as the kernel went on forwarding and acknowledging. What changed meanwhile is
 * learned as ever: everybody gets our Update (B-10.5-08), and the nearest neighbors are asked for their tables.
 */
static bool chord_resume(struct topology *topology, const struct id *predecessor) {
	struct chord *chord = chord_of(topology);
	const struct connection *connection;
	size_t position = 0;

	if (chord->client || chord->state != TOPOLOGY_OFFLINE)
		return false;
	while ((connection = router_connection_next(chord->router, &position))) {
		struct chord_member *member =
			connection->up && connection->update_received ? chord_member_of(chord, connection) : NULL;
		if (member)
			member->ours = connection->initiated;
	}
	if (chord_table_usable(&chord->table) == 0) {
		chord_forget(chord);
		return false;
	}
	chord_table_settle_depth(&chord->table);
	chord_changed(chord, CHORD_GAIN);
	/* The link to our predecessor may be one that did not survive: its range is not ours for that. */
	if (!id_is_none(predecessor) && !chord_table_find(&chord->table, predecessor)) {
		struct id none = ID_NONE;
		chord->range_bound = *predecessor;
		if (chord_attach_start(chord, CHORD_ATTACH_NEIGHBOR, predecessor, false, &none, LINK_SLOT_NONE) < 0)
			chord->range_bound = ID_NONE;
	}
	chord_enter(chord);
	chord_pull(chord);
	return true;
}

static void chord_leave(struct topology *topology) {
	chord_leave_start(chord_of(topology));
}

static void chord_check_partition(struct topology *topology, uint16_t slot) {
	chord_partition_check(chord_of(topology), slot);
}

/* ---- questions ---- */

static bool chord_responsible(const struct topology *topology, const struct id *resource_id) {
	return chord_owns(chord_of_const(topology), resource_id);
}

static size_t chord_replicas(const struct topology *topology, struct id out[TOPOLOGY_REPLICAS_MAX]) {
	const struct chord *chord = chord_of_const(topology);

	if (chord->client || chord->state != TOPOLOGY_JOINED)
		return 0;
	return chord_table_nearest(&chord->table, CHORD_SUCCESSORS, out, CHORD_REPLICAS);
}

/* Does a usable peer other than `sender` stand between the resource (included) and `sender` (excluded)? */
static bool better_owner_known(const struct chord *chord, const struct id *sender, const struct id *resource_id) {
	struct id owner = chord_table_owner(&chord->table, resource_id);

	return !id_equal(&owner, sender) && !id_equal(&owner, chord_self(chord)) &&
	       (id_equal(&owner, resource_id) || id_between(&owner, resource_id, sender));
}

/*
 * A peer that was alone in its part of the network owned the whole ring there, so that it may stand anywhere. What it offers are
 * records signed by whoever may write them, and the newer value stays; what a flood of them could cost is the checking, so they
 * are taken at a bounded rate, and refused ones are offered again.
 */
static bool stranger_acceptable(struct chord *chord) {
	return rate_take(&chord->strangers_us, chord_now(chord), CHORD_STRANGER_STORE_MS * USEC_PER_MSEC, CHORD_STRANGER_STORES);
}

static bool chord_replica_acceptable(struct topology *topology, const struct id *sender, const struct id *resource_id,
				     uint8_t replica_number) {
	struct chord *chord = chord_of(topology);
	const struct chord_member *member = chord_table_find(&chord->table, sender);

	if (chord->client || replica_number == 0 || replica_number > TOPOLOGY_REPLICAS_MAX ||
	    resource_id->length != ID_LENGTH_CHORD)
		return false;
	if (chord->state == TOPOLOGY_JOINING) /* handover: what will be ours comes from our admitting peer */
		return (chord->join.phase == CHORD_JOIN_REQUEST || chord->join.phase == CHORD_JOIN_PLACE) &&
		       id_equal(sender, &chord->join.admitting_peer) && id_in_range(resource_id, sender, chord_self(chord));
	if (chord->state != TOPOLOGY_JOINED)
		return false;
	/* Ours already: handed over or repaired by a peer that held it. After a partition that is no peer we know: the owner
	 * in the other part, somewhere behind the resource. Few had a reason to hold it who stand far away. */
	if (chord_owns(chord, resource_id))
		return (member && chord_member_usable(member)) ||
		       chord_table_peers_between(&chord->table, resource_id, sender) <= CHORD_FORMER_OWNERS ||
		       stranger_acceptable(chord);
	/* B-10.4-02, B-7.4.1-03: at most the owner and one more peer stand between the resource and us. */
	if (chord_table_between(&chord->table, resource_id) > CHORD_REPLICAS)
		return false;
	/* B-7.4.1-06: from the owner, or from a node nearer to the resource than the replica set as we know it. */
	if (!id_equal(sender, resource_id) && !id_between(sender, resource_id, chord_self(chord)))
		return false;
	return !better_owner_known(chord, sender, resource_id);
}

static struct id chord_owner_hint(const struct topology *topology, const struct id *resource_id) {
	const struct chord *chord = chord_of_const(topology);

	if (chord->client || chord->state != TOPOLOGY_JOINED || chord_owns(chord, resource_id))
		return ID_NONE;
	struct id owner = chord_table_owner(&chord->table, resource_id);
	return id_equal(&owner, chord_self(chord)) ? ID_NONE : owner;
}

static bool chord_may_discard(const struct topology *topology, const struct id *resource_id) {
	const struct chord *chord = chord_of_const(topology);

	return !chord->client && chord->state == TOPOLOGY_JOINED && !chord_owns(chord, resource_id) &&
	       chord_table_between(&chord->table, resource_id) > CHORD_REPLICAS; /* B-10.7.3-04 */
}

static void chord_view(const struct topology *topology, struct topology_view *ret) {
	const struct chord *chord = chord_of_const(topology);

	*ret = (struct topology_view){.state = chord->state, .self = *chord_self(chord), .joined_us = chord->joined_us};
	ret->successor_count = chord_table_neighbors(&chord->table, CHORD_SUCCESSORS, ret->successors);
	ret->predecessor_count = chord_table_neighbors(&chord->table, CHORD_PREDECESSORS, ret->predecessors);
	ret->finger_count = chord_table_fingers(&chord->table, ret->fingers, TOPOLOGY_VIEW_MAX);
	ret->size_estimate = chord_table_size(&chord->table);
}

/* Timers that were set by a longer interval come earlier; one that is due anyway stays. */
static void chord_configuration_changed(struct topology *topology) {
	struct chord *chord = (struct chord *)topology;
	uint64_t update_us = router_config(chord->router)->chord_update_interval_s * USEC_PER_SEC;

	if (chord->state != TOPOLOGY_JOINED)
		return;
	for (size_t i = 0; i < chord->table.count; i++) {
		struct chord_member *member = &chord->table.members[i];
		uint64_t due_us = chord_now(chord) + chord_jitter(chord, update_us);
		if (member->update_due_us > due_us)
			member->update_due_us = due_us;
	}
	chord_periodic_arm(chord);
	uint64_t due_us = chord_now(chord) + chord_jitter(chord, update_us);
	if (chord->stabilize_timer.due_us > due_us)
		timer_arm(chord->runtime, &chord->stabilize_timer, due_us);
	if (chord->fingers_lost == 0)
		chord_finger_arm(chord, false);
}

const struct topology_ops topology_chord_reload = {
	.name = "CHORD-RELOAD",
	.create = chord_create,
	.destroy = chord_destroy,
	.start = chord_start,
	.restart = chord_restart,
	.join = chord_join,
	.resume = chord_resume,
	.leave = chord_leave,
	.check_partition = chord_check_partition,
	.responsible = chord_responsible,
	.replicas = chord_replicas,
	.replica_acceptable = chord_replica_acceptable,
	.owner_hint = chord_owner_hint,
	.may_discard = chord_may_discard,
	.view = chord_view,
	.configuration_changed = chord_configuration_changed,
};
