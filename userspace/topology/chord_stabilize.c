/* SPDX-License-Identifier: BSD-2-Clause */
/* Stabilization besides the periodic Updates (RFC 6940 10.7.4): neighbors' tables, fingers, partitions, and links no longer needed.
 */
#include "topology/chord.h"

#include <errno.h>
#include <string.h>

enum {
	REACTIVE_SEARCH_MS = 1000, /* after a lost finger: the ring settles first */
	BOOTSTRAP_LINK_S = 30,	   /* a link to a bootstrap peer is kept at least so long */
};

/* ---- tables of the nearest neighbors ---- */

static void pull_from(struct chord *chord, enum chord_side side) {
	struct id first = chord_table_first(&chord->table, side);
	const struct chord_member *member = id_is_none(&first) ? NULL : chord_table_find(&chord->table, &first);

	if (!member || id_equal(&first, &chord->pulled[side]))
		return;
	/* It told us its lists of its own accord, or is asked for them. A peer far away that took the place of a lost neighbor does
	 * not know that we need them: this is how a torn ring closes again. */
	if (member->listed || chord_query(chord, member) == 0)
		chord->pulled[side] = first;
}

void chord_pull(struct chord *chord) {
	for (unsigned side = CHORD_SUCCESSORS; side <= CHORD_PREDECESSORS; side++) {
		struct id first = chord_table_first(&chord->table, side);
		const struct chord_member *old = chord_table_find(&chord->table, &chord->pulled[side]);
		struct chord_member *member = id_is_none(&first) ? NULL : chord_table_find(&chord->table, &first);
		/* What a replacement said long ago, while it was no neighbor, is no longer worth anything. */
		if (member && !id_equal(&first, &chord->pulled[side]) && !id_is_none(&chord->pulled[side]) &&
		    (!old || !chord_member_usable(old)))
			member->listed = false;
		pull_from(chord, side);
	}
}

static bool needed(const struct chord *chord, const struct chord_member *member) {
	return member->successor || member->predecessor || chord_table_wants(&chord->table, &member->id) ||
	       chord_table_is_finger(&chord->table, &member->id);
}

/* The link to a bootstrap peer has served its purpose; else bootstrap peers would be linked to the whole overlay in the end. */
static void close_bootstrap_link(struct chord *chord) {
	const struct connection *connection = router_connection(chord->router, chord->join.slot);
	uint16_t slot = chord->join.slot;

	if (connection && chord_now(chord) - connection->since_us < BOOTSTRAP_LINK_S * USEC_PER_SEC)
		return; /* answers may still come over it */
	chord->join.slot = LINK_SLOT_NONE;
	if (!connection || !connection->up)
		return;
	struct chord_member *member = chord_table_find(&chord->table, &connection->peer);
	if (member && chord_member_usable(member) && needed(chord, member))
		member->ours = true;
	else
		router_close(chord->router, slot, LINK_CLOSED_BY_US);
}

/* Links we made for ourselves and that serve us no more are closed; what others made, they may need. */
static void close_surplus(struct chord *chord) {
	uint64_t age_us = router_config(chord->router)->chord_update_interval_s * USEC_PER_SEC;
	struct id surplus[16];
	size_t count = 0;

	for (size_t i = 0; i < chord->table.count && count < 16; i++) {
		const struct chord_member *member = &chord->table.members[i];
		if (member->ours && chord_now(chord) - member->since_us > age_us && !needed(chord, member))
			surplus[count++] = member->id;
	}
	for (size_t i = 0; i < count; i++) {
		const struct chord_member *member = chord_table_find(&chord->table, &surplus[i]);
		if (member)
			router_close(chord->router, member->slot, LINK_CLOSED_BY_US);
	}
	if (chord->join.slot != LINK_SLOT_NONE)
		close_bootstrap_link(chord);
}

void chord_stabilize_fire(struct timer *timer, void *userdata) {
	struct chord *chord = userdata;

	(void)timer;
	if (chord->state == TOPOLOGY_LEAVING) {
		chord_leave_finish(chord);
		return;
	}
	if (chord->state != TOPOLOGY_JOINED)
		return;
	timer_arm_after(chord->runtime, &chord->stabilize_timer,
			chord_jitter(chord, router_config(chord->router)->chord_update_interval_s * USEC_PER_SEC));
	for (size_t i = 0; i < chord->table.count; i++)
		chord->table.members[i].awaited = false; /* whoever has said nothing by now is no peer */
	close_surplus(chord);
	struct id successor = chord_table_first(&chord->table, CHORD_SUCCESSORS);
	const struct chord_member *member = id_is_none(&successor) ? NULL : chord_table_find(&chord->table, &successor);
	if (member)
		chord_query(chord, member);
}

/* ---- fingers (B-10.7.4-02) ---- */

void chord_finger_arm(struct chord *chord, bool lost) {
	uint64_t interval_us = router_config(chord->router)->chord_ping_interval_s * USEC_PER_SEC;

	if (lost && chord->fingers_lost < CHORD_FINGERS_MAX)
		chord->fingers_lost++;
	if (chord->fingers_lost == 0)
		timer_arm_after(chord->runtime, &chord->finger_timer, chord_jitter(chord, interval_us));
	else if (chord->fingers_lost == 1 || !lost) /* else it is armed already */
		timer_arm_after(chord->runtime, &chord->finger_timer, chord_jitter(chord, REACTIVE_SEARCH_MS * USEC_PER_MSEC));
}

/* One of the missing: each with probability one half, from the farthest on. */
static unsigned choose_finger(const struct chord *chord) {
	unsigned missing[CHORD_FINGERS_MAX];
	size_t count = chord_table_missing_fingers(&chord->table, missing, CHORD_FINGERS_MAX);

	for (size_t i = 0; i < count; i++)
		if (runtime_random_below(chord->runtime, 2) == 0)
			return missing[i];
	return count > 0 ? missing[0] : 0;
}

void chord_finger_fire(struct timer *timer, void *userdata) {
	struct chord *chord = userdata;
	uint8_t random[16], list[CHORD_DESTINATIONS_MAX], body[8];
	struct writer w = writer_fixed(body, sizeof(body));
	struct id none = ID_NONE;

	(void)timer;
	if (chord->state != TOPOLOGY_JOINED)
		return;
	if (chord->fingers_lost > 0)
		chord->fingers_lost--;
	chord_finger_arm(chord, false);
	unsigned index = choose_finger(chord);
	if (index == 0)
		return;
	runtime_random(chord->runtime, random, sizeof(random));
	struct id point = chord_finger_point(chord_self(chord), index, random);
	ping_req_write(&w, OCTETS_NONE);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = chord_destinations(list, sizeof(list), &none, &point, true), /* */
		.code = PING_REQ,
		.body = writer_octets_written(&w),
	};
	chord_request_start(chord, CHORD_REQUEST_SEARCH, &point, &outgoing);
}

void chord_finger_answered(struct chord *chord, const struct response *response) {
	unsigned index = chord_finger_index(chord_self(chord), &response->signer_id), missing[CHORD_FINGERS_MAX];
	struct id none = ID_NONE;

	if (chord->state != TOPOLOGY_JOINED || index == 0 || chord_table_find(&chord->table, &response->signer_id) ||
	    chord_unreachable_now(chord, &response->signer_id))
		return;
	size_t count = chord_table_missing_fingers(&chord->table, missing, CHORD_FINGERS_MAX);
	for (size_t i = 0; i < count; i++)
		if (missing[i] == index)
			chord_attach_start(chord, CHORD_ATTACH_FINGER, &response->signer_id, false, &none, LINK_SLOT_NONE);
}

/* ---- partitions (B-10.7.4-04) ---- */

/* the point after ours as a Resource-ID. The ring of the bootstrap peer answers through who it holds for our successor. */
void chord_partition_check(struct chord *chord, uint16_t slot) {
	const struct connection *connection = router_connection(chord->router, slot);
	uint8_t list[CHORD_DESTINATIONS_MAX], body[8];
	struct writer w = writer_fixed(body, sizeof(body));
	struct id point = id_add_small(chord_self(chord), 1);

	if (chord->client || chord->state != TOPOLOGY_JOINED || !connection || !connection->up)
		return;
	ping_req_write(&w, OCTETS_NONE);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,      .destination_list = chord_destinations(list, sizeof(list), &connection->peer, &point, true),
		.code = PING_REQ,      .body = writer_octets_written(&w),
		.any_responder = true, /* one of another ring may well be farther away than our neighbors */
	};
	outgoing.via_slot = slot;
	if (connection->initiated && !chord_table_find(&chord->table, &connection->peer))
		chord->join.slot = slot; /* opened for this: closed again later on */
	int error = chord_request_start(chord, CHORD_REQUEST_PARTITION, &connection->peer, &outgoing);
	if (error < 0)
		log_info("Chord: the partition check cannot be sent: %s.", strerror(-error));
}

void chord_partition_answered(struct chord *chord, const struct chord_request *request, const struct response *response) {
	struct id found = response->signer_id, successor = chord_table_first(&chord->table, CHORD_SUCCESSORS);
	const struct chord_member *member = chord_table_find(&chord->table, &found);
	char text[ID_TEXT_SIZE];

	if (chord->state != TOPOLOGY_JOINED || id_equal(&found, chord_self(chord)) || id_equal(&found, &successor))
		return;
	log_notice("Chord: a bootstrap peer's overlay holds %s for our successor; merging.", id_format(&found, text));
	if (member && chord_member_usable(member)) {
		chord_partition_attached(chord, member->slot);
		return;
	}
	chord_unreachable_remove(chord, &found);
	int error = chord_attach_start(chord, CHORD_ATTACH_MERGE, &found, false, &request->peer, request->slot);
	if (error < 0 && error != -EALREADY)
		log_info("Chord: attaching to %s failed: %s.", id_format(&found, text), strerror(-error));
}

/* Both sides learn each other's table; who is nearer takes the place of who was there (B-10.7.3-01). */
void chord_partition_attached(struct chord *chord, uint16_t slot) {
	const struct connection *connection = router_connection(chord->router, slot);
	const struct chord_member *member = connection ? chord_table_find(&chord->table, &connection->peer) : NULL;

	if (!member)
		return;
	chord_update_send(chord, connection, CHORD_FULL);
	if (!member->listed)
		chord_query(chord, member);
}
