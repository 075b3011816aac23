/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of the overlay (RFC 6940 4.2.1): attached to the peer responsible for its Node-ID, it watches that peer's Updates and
 * moves when the range moves (B-4.2.1-01). It owns nothing, routes nothing and never sends an Update.
 */
#include "topology/chord.h"

#include <errno.h>
#include <string.h>

enum {
	CLIENT_LIMIT_S = 60,
	CLIENT_TABLE_WAIT_S = 3, /* for the responsible peer's Update, before it is asked for */
	CLIENT_AGAIN_MS = 500,	 /* the peer that hands its range over may still answer for it */
};

static void client_fail(struct chord *chord, const char *why) {
	bool was_joined = chord->state == TOPOLOGY_JOINED;

	log_warning("Chord: the client is not attached to its responsible peer: %s.", why);
	chord_attaches_cancel(chord);
	timer_disarm(chord->runtime, &chord->join_timer);
	chord->join.phase = CHORD_JOIN_IDLE;
	chord_set_state(chord, TOPOLOGY_OFFLINE);
	if (was_joined && chord->events.bootstrap_wanted)
		chord->events.bootstrap_wanted(chord->events.userdata);
}

/* A link to ask over: the bootstrap peer's, or the one of a peer we are attached to. */
static uint16_t client_entrance(const struct chord *chord) {
	for (size_t i = 0; i < chord->table.count; i++)
		if (chord_member_usable(&chord->table.members[i]))
			return chord->table.members[i].slot;
	return chord->join.slot;
}

static void client_find(struct chord *chord) {
	struct id point = id_add_small(chord_self(chord), 1), none = ID_NONE;
	uint16_t slot = client_entrance(chord);

	chord->join.phase = CHORD_JOIN_FIND;
	timer_disarm(chord->runtime, &chord->join_timer);
	int error = slot == LINK_SLOT_NONE ? -ENETUNREACH
					   : chord_attach_start(chord, CHORD_ATTACH_ADMITTING, &point, true, &none, slot);
	if (error < 0 && error != -EALREADY)
		client_fail(chord, strerror(-error));
}

void chord_client_join(struct chord *chord, uint16_t slot) {
	const struct connection *connection = router_connection(chord->router, slot);

	chord->join = (struct chord_join){.slot = slot, .deadline_us = chord_now(chord) + CLIENT_LIMIT_S * USEC_PER_SEC};
	router_set_range(chord->router, NULL, false);
	chord_forget(chord);
	chord_set_state(chord, TOPOLOGY_JOINING);
	if (!connection || !connection->up)
		client_fail(chord, "the link to the bootstrap peer is down");
	else
		client_find(chord);
}

void chord_client_attached(struct chord *chord, int error, uint16_t slot, const struct id *peer) {
	const struct connection *connection = error == 0 ? router_connection(chord->router, slot) : NULL;
	struct chord_member *member = connection && connection->up ? chord_member_of(chord, connection) : NULL;

	if (chord->join.phase != CHORD_JOIN_FIND)
		return;
	if (!member) {
		if (chord->join.attempts++ < 4 && client_entrance(chord) != LINK_SLOT_NONE) {
			chord->join.phase = CHORD_JOIN_PAUSE;
			timer_arm_after(chord->runtime, &chord->join_timer,
					chord_jitter(chord, CLIENT_AGAIN_MS * USEC_PER_MSEC << chord->join.attempts));
		} else {
			client_fail(chord, error < 0 ? strerror(-error) : "no memory");
		}
		return;
	}
	member->ours = true;
	chord->join.admitting_peer = *peer;
	chord->join.phase = CHORD_JOIN_TABLE;
	chord->join.queries = 0;
	chord_changed(chord, CHORD_GAIN);
	timer_arm_after(chord->runtime, &chord->join_timer, CLIENT_TABLE_WAIT_S * USEC_PER_SEC);
}

/* The old responsible peers' links are of no use any more. */
static void close_others(struct chord *chord) {
	for (size_t i = 0; i < chord->table.count;) {
		const struct chord_member *member = &chord->table.members[i];
		size_t before = chord->table.count;
		if (member->ours && !id_equal(&member->id, &chord->join.admitting_peer))
			router_close(chord->router, member->slot, LINK_CLOSED_BY_US);
		if (chord->table.count == before)
			i++;
	}
	const struct connection *bootstrap = router_connection(chord->router, chord->join.slot);
	if (bootstrap && !id_equal(&bootstrap->peer, &chord->join.admitting_peer))
		router_close(chord->router, chord->join.slot, LINK_CLOSED_BY_US);
	chord->join.slot = LINK_SLOT_NONE;
}

static void client_settled(struct chord *chord) {
	chord->join.phase = CHORD_JOIN_IDLE;
	chord->join.attempts = 0;
	timer_disarm(chord->runtime, &chord->join_timer);
	close_others(chord);
	if (!chord->check_timer.armed)
		timer_arm_after(chord->runtime, &chord->check_timer, chord_jitter(chord, chord->check_interval_us));
	if (chord->state == TOPOLOGY_JOINED)
		return;
	chord->joined_us = chord_now(chord);
	chord_set_state(chord, TOPOLOGY_JOINED);
}

void chord_client_updated(struct chord *chord, const struct id *sender, const struct id *predecessors, size_t predecessor_count,
			  bool lists) {
	struct chord_member *member = chord_table_find(&chord->table, sender);

	if (!member)
		return;
	member->ready = true;
	router_mark_update_received(chord->router, sender);
	chord_changed(chord, CHORD_GAIN);
	if (!lists || !id_equal(sender, &chord->join.admitting_peer) ||
	    (chord->join.phase != CHORD_JOIN_TABLE && chord->join.phase != CHORD_JOIN_IDLE) ||
	    (chord->state != TOPOLOGY_JOINED && chord->state != TOPOLOGY_JOINING))
		return;
	if (predecessor_count > 0 && !id_in_range(chord_self(chord), &predecessors[0], sender)) {
		log_info("Chord: another peer is responsible for this client now; moving.");
		chord->join.phase = CHORD_JOIN_PAUSE; /* at once, and again later while the old peer still answers */
		timer_arm_after(chord->runtime, &chord->join_timer, chord->join.attempts ? CLIENT_AGAIN_MS * USEC_PER_MSEC : 0);
		chord->join.attempts++;
		return;
	}
	client_settled(chord);
}

void chord_client_link_lost(struct chord *chord, uint16_t slot, const struct id *peer) {
	if (slot == chord->join.slot)
		chord->join.slot = LINK_SLOT_NONE;
	if (!id_equal(peer, &chord->join.admitting_peer) || chord->join.phase == CHORD_JOIN_FIND ||
	    (chord->state != TOPOLOGY_JOINED && chord->state != TOPOLOGY_JOINING))
		return;
	if (client_entrance(chord) == LINK_SLOT_NONE) {
		client_fail(chord, "its link is lost");
		return;
	}
	chord->join.phase = CHORD_JOIN_PAUSE;
	timer_arm_after(chord->runtime, &chord->join_timer, chord_jitter(chord, CLIENT_AGAIN_MS * USEC_PER_MSEC));
}

void chord_client_fire(struct chord *chord) {
	const struct chord_member *member = chord_table_find(&chord->table, &chord->join.admitting_peer);

	if (chord->join.phase == CHORD_JOIN_PAUSE) {
		client_find(chord);
	} else if (chord->join.phase == CHORD_JOIN_TABLE && member) {
		/* A peer that never says how far its range goes is taken at its word. */
		if (chord->join.queries++ >= 2) {
			client_settled(chord);
			return;
		}
		chord_query(chord, member);
		timer_arm_after(chord->runtime, &chord->join_timer, CLIENT_TABLE_WAIT_S * USEC_PER_SEC);
	}
}
