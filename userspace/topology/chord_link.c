/* SPDX-License-Identifier: BSD-2-Clause */
/* What happens to links: peers that come, go, fall silent and come back (RFC 6940 10.7.1, 10.7.2). */
#include "topology/chord.h"

#include <errno.h>

struct chord_member *chord_member_of(struct chord *chord, const struct connection *connection) {
	struct chord_member *member;

	if (chord_table_add(&chord->table, &connection->peer, &member) < 0)
		return NULL;
	if (member->since_us == 0 || member->slot != connection->slot) {
		member->slot = connection->slot;
		member->since_us = connection->since_us;
		member->left = member->listed = member->awaited = false;
		member->silent_pings = 0;
		member->check_due_us = member->missing_until_us = 0;
		member->ready = connection->update_received;
	}
	member->suspected = connection->suspected;
	return member;
}

/* After a loss: was it the only peer of its finger interval? Then a new one is searched for (B-10.7.2-01). */
static void lost(struct chord *chord, const struct id *id, bool was_finger) {
	unsigned index = chord_finger_index(chord_self(chord), id), missing[CHORD_FINGERS_MAX];

	chord_changed(chord, CHORD_LOSS);
	if (!was_finger || chord->state != TOPOLOGY_JOINED || !router_config(chord->router)->chord_reactive)
		return;
	size_t count = chord_table_missing_fingers(&chord->table, missing, CHORD_FINGERS_MAX);
	for (size_t i = 0; i < count; i++)
		if (missing[i] == index)
			chord_finger_arm(chord, true);
}

void chord_link_up(void *userdata, const struct connection *connection) {
	struct chord *chord = userdata;
	struct chord_member *member = id_is_none(&connection->peer) ? NULL : chord_table_find(&chord->table, &connection->peer);

	if (!member)
		return; /* a link alone makes nobody a peer (B-6.5.1-02) */
	bool was_usable = chord_member_usable(member), was_finger = chord_table_is_finger(&chord->table, &connection->peer);
	struct id peer = connection->peer;
	/* A new link to a known peer: it may have started anew, so it is out of the ring until it says otherwise. It is asked, as
	 * it may not know that we wait for that. */
	if (member->slot != connection->slot) {
		chord_replica_lost(chord, &peer);
		chord_owner_lost(chord, &peer);
	}
	member = chord_member_of(chord, connection);
	bool now_usable = chord_member_usable(member);
	if (was_usable && !now_usable)
		lost(chord, &peer, was_finger);
	if (chord->client)
		return;
	chord_update_send(chord, connection, CHORD_UPDATE_FITTING);
	member = chord_table_find(&chord->table, &peer);
	if (was_usable && !now_usable && member)
		chord_query(chord, member);
}

/* One of the nearest, or was until its link fell silent: that always comes first when a link dies. */
static bool is_near(const struct chord *chord, const struct chord_member *member) {
	return member->ready && !member->left && chord_table_wants(&chord->table, &member->id);
}

void chord_link_down(void *userdata, const struct connection *connection, enum link_reason reason) {
	struct chord *chord = userdata;
	struct id peer = connection->peer;
	const struct chord_member *member = id_is_none(&peer) ? NULL : chord_table_find(&chord->table, &peer);
	char text[ID_TEXT_SIZE];

	if (member && member->slot == connection->slot) {
		bool was_usable = chord_member_usable(member), was_near = is_near(chord, member);
		bool was_finger = chord_table_is_finger(&chord->table, &peer);
		chord_table_remove(&chord->table, &peer);
		chord_replica_lost(chord, &peer);
		chord_owner_lost(chord, &peer);
		/* Who closes the link to a peer that is no neighbor may just have no use for it. */
		if (reason != LINK_CLOSED_BY_US && reason != LINK_REVOKED && (reason != LINK_CLOSED_BY_PEER || was_near))
			chord_unreachable_add(chord, &peer, CHORD_HOLD_OFF_S, was_near && !chord->client); /* B-10.7.1-05 */
		if (was_usable && chord->state == TOPOLOGY_JOINED)
			log_info("Chord: lost peer %s: %s.", id_format(&peer, text), link_reason_text(reason));
		lost(chord, &peer, was_usable && was_finger);
	}
	if (chord->client)
		chord_client_link_lost(chord, connection->slot, &peer);
	else
		chord_join_link_lost(chord, connection->slot, &peer);
	if (chord->admission && chord->admission->slot == connection->slot)
		chord_admission_abandon(chord);
}

/* A suspect link counts as a failed one at once and returns when it works again (B-10.7.1-05, B-6.6.3.1-05). */
void chord_link_suspect(void *userdata, const struct connection *connection) {
	struct chord *chord = userdata;
	struct chord_member *member = id_is_none(&connection->peer) ? NULL : chord_table_find(&chord->table, &connection->peer);
	struct id peer = connection->peer;

	if (!member || member->slot != connection->slot || member->suspected == connection->suspected)
		return;
	bool was_usable = chord_member_usable(member), was_finger = chord_table_is_finger(&chord->table, &peer);
	member->suspected = connection->suspected;
	if (was_usable && member->suspected)
		lost(chord, &peer, was_finger);
	else if (chord_member_usable(member)) {
		member->silent_pings = 0;
		chord_changed(chord, CHORD_GAIN);
		chord_update_send(chord, connection, CHORD_UPDATE_FITTING); /* what it missed */
	}
}

/* B-6.4.2.3-01: an Attach with send_update is owed our whole table. Not in the ring yet: everybody hears of us when we are. */
void chord_link_update_wanted(void *userdata, const struct connection *connection) {
	struct chord *chord = userdata;

	if (!chord->client)
		chord_update_send(chord, connection, CHORD_FULL);
}

/* ---- liveness (B-10.7-03, B-10.7.1-01) ---- */

static uint64_t last_heard_us(const struct chord *chord, uint16_t slot) {
	struct transport *transport = router_transport(chord->router);
	struct link_statistics statistics = {0};

	transport->ops->statistics(transport->object, slot, &statistics);
	return statistics.last_received_us;
}

/*
 * The first successor and predecessor are checked at the full rate, whatever their age: records survive two deaths at once, but not
 * a third before the first ones were noticed and made good. So everybody is watched from both sides, and whoever notices a death
 * tells the neighbors by an Update without the dead, who then look for themselves (chord_check_missing()). A link that both ends
 * watch costs one Ping in a check interval: the answer ends the silence on either side.
 */
struct watched {
	struct id successor, predecessor;
};

static struct watched watched_of(const struct chord *chord) {
	return (struct watched){.successor = chord_table_first(&chord->table, CHORD_SUCCESSORS),
				.predecessor = chord_table_first(&chord->table, CHORD_PREDECESSORS)};
}

static bool is_watched(const struct watched *watched, const struct id *id) {
	return id_equal(id, &watched->successor) || id_equal(id, &watched->predecessor);
}

/* Lifetimes of peers are spread so widely that the age says how long one is likely to stay; most traffic of a large overlay at rest
 * would be checks of those that have been there for days. */
static uint64_t check_interval_us(const struct chord *chord, const struct chord_member *member, const struct watched *watched) {
	uint64_t least_us = chord->check_interval_us, interval_us = (chord_now(chord) - member->since_us) / CHORD_CHECK_AGE;

	if (interval_us < least_us || is_watched(watched, &member->id))
		interval_us = least_us;
	if (interval_us > CHORD_CHECK_GROWTH * least_us)
		interval_us = CHORD_CHECK_GROWTH * least_us;
	return interval_us * (member->successor || member->predecessor ? 1 : CHORD_FINGER_CHECKS);
}

static uint64_t silent_since_us(const struct chord *chord, const struct chord_member *member) {
	uint64_t heard_us = last_heard_us(chord, member->slot);

	return heard_us < member->since_us ? member->since_us : heard_us;
}

/* When `member` is looked at next; pings it if it has been silent. */
static uint64_t check(struct chord *chord, struct chord_member *member, const struct watched *watched) {
	uint64_t interval_us = check_interval_us(chord, member, watched);
	uint64_t early_us = chord_now(chord) + interval_us / CHORD_CHECK_EARLY;

	/* A finger that became a neighbor, or a neighbor the nearest, is looked at anew. */
	if (member->check_due_us > early_us && member->check_due_us <= chord_now(chord) + 2 * interval_us)
		return member->check_due_us;
	member->check_due_us = silent_since_us(chord, member) + interval_us;
	if (member->check_due_us <= early_us) {
		chord_ping_peer(chord, member);
		member->check_due_us = chord_now(chord) + chord_jitter(chord, interval_us);
	}
	return member->check_due_us;
}

void chord_check_missing(struct chord *chord, const struct id *sender, enum chord_side side, const struct id *list, size_t count) {
	if (chord->state != TOPOLOGY_JOINED || count == 0)
		return;
	const struct id *from = side == CHORD_SUCCESSORS ? sender : &list[count - 1];
	const struct id *to = side == CHORD_SUCCESSORS ? &list[count - 1] : sender;
	for (size_t i = 0; i < chord->table.count; i++) {
		struct chord_member *member = &chord->table.members[i];
		if (!chord_member_usable(member) || !(member->successor || member->predecessor) ||
		    !id_between(&member->id, from, to) || id_is_among(&member->id, list, count))
			continue;
		uint64_t silence_us = chord_now(chord) - silent_since_us(chord, member);
		if (silence_us < CHORD_MISSING_MS * USEC_PER_MSEC || member->missing_until_us > chord_now(chord))
			continue;
		member->missing_until_us = chord_now(chord) + chord->check_interval_us;
		chord_ping_peer(chord, member);
	}
}

/*
 * Who left closes its links, but the word of that may be lost, and nothing else is ever sent over such a link that would find it
 * dead. When its owner is back with new links to others, the old one would stand in the way of a new one to us.
 */
static void close_links_of_left(struct chord *chord) {
	struct id silent[CHORD_LEFT_CLOSED];
	size_t count = 0;

	for (size_t i = 0; i < chord->table.count && count < CHORD_LEFT_CLOSED; i++) {
		const struct chord_member *member = &chord->table.members[i];
		if (member->left && chord_now(chord) - silent_since_us(chord, member) >= chord->check_interval_us)
			silent[count++] = member->id;
	}
	for (size_t i = 0; i < count; i++) {
		const struct chord_member *member = chord_table_find(&chord->table, &silent[i]);
		if (member)
			router_close(chord->router, member->slot, LINK_CLOSED_BY_US);
	}
}

void chord_check_soon(struct chord *chord) {
	uint64_t due_us = chord_now(chord) + chord_jitter(chord, chord->check_interval_us);

	if (!chord->check_timer.armed || chord->check_timer.due_us > due_us)
		timer_arm(chord->runtime, &chord->check_timer, due_us);
}

/*
 * One of the nearest silent for the check interval is pinged, other neighbors and fingers after some of them. The answer ends the
 * silence; without one the link's own resending finds out that it is dead and says so by suspect and down.
 */
void chord_check_fire(struct timer *timer, void *userdata) {
	struct chord *chord = userdata;
	uint64_t next_us = USEC_NEVER;

	(void)timer;
	if (chord->state != TOPOLOGY_JOINED && chord->state != TOPOLOGY_JOINING)
		return;
	close_links_of_left(chord);
	struct watched watched = watched_of(chord);
	if (chord->state == TOPOLOGY_JOINING) /* whom we know comes and goes */
		next_us = chord_now(chord) + chord_jitter(chord, chord->check_interval_us);
	for (size_t i = 0; i < chord->table.count; i++) {
		struct chord_member *member = &chord->table.members[i];
		if (!chord_member_usable(member))
			continue;
		uint64_t due_us = check(chord, member, &watched);
		if (due_us < next_us)
			next_us = due_us;
	}
	if (next_us != USEC_NEVER)
		timer_arm(chord->runtime, &chord->check_timer, next_us);
}
