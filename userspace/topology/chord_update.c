/* SPDX-License-Identifier: BSD-2-Clause */
/* Update: what we tell others of the ring, and what we learn from them (RFC 6940 6.4.2.3, 10.7). */
#include "topology/chord.h"

#include <errno.h>
#include <string.h>

/* ---- sending ---- */

static struct octets encode_ids(uint8_t *buffer, size_t size, const struct id *ids, size_t count) {
	struct writer w = writer_fixed(buffer, size);

	for (size_t i = 0; i < count; i++)
		writer_id(&w, &ids[i]);
	return writer_octets_written(&w);
}

static uint8_t fitting_type(const struct chord *chord, const struct id *peer) {
	const struct chord_member *member = chord_table_find(&chord->table, peer);

	/* Neighbors, and those that are no peers (yet): clients and joiners follow our range. Other peers only need to know that
	 * we are there (B-10.7-02). */
	return !member || chord_table_wants(&chord->table, peer) ? CHORD_NEIGHBORS : CHORD_PEER_READY;
}

static int send_type(struct chord *chord, const struct id *peer, uint16_t slot, uint8_t type) {
	uint8_t destinations[CHORD_DESTINATIONS_MAX], body[CHORD_UPDATE_MAX];
	uint8_t lists[2][CHORD_DEPTH_MAX * ID_LENGTH_CHORD], fingers[CHORD_FINGERS_MAX * ID_LENGTH_CHORD];
	struct id ids[CHORD_FINGERS_MAX], none = ID_NONE;
	struct chord_update update = {.type = type, .uptime_s = (uint32_t)((chord_now(chord) - chord->created_us) / USEC_PER_SEC)};
	struct writer w = writer_fixed(body, sizeof(body));

	if (type != CHORD_PEER_READY) {
		size_t count = chord_table_neighbors(&chord->table, CHORD_PREDECESSORS, ids);
		update.predecessors = encode_ids(lists[0], sizeof(lists[0]), ids, count);
		count = chord_table_neighbors(&chord->table, CHORD_SUCCESSORS, ids);
		update.successors = encode_ids(lists[1], sizeof(lists[1]), ids, count);
	}
	if (type == CHORD_FULL)
		update.fingers =
			encode_ids(fingers, sizeof(fingers), ids, chord_table_fingers(&chord->table, ids, CHORD_FINGERS_MAX));
	chord_update_write(&w, &update); /* B-10.7-01 */
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = chord_destinations(destinations, sizeof(destinations), &none, peer, false),
		.code = UPDATE_REQ,
		.body = writer_octets_written(&w),
	};
	outgoing.via_slot = slot;
	return chord_request_start(chord, CHORD_REQUEST_UPDATE, peer, &outgoing);
}

int chord_update_send(struct chord *chord, const struct connection *connection, uint8_t type) {
	struct id peer = connection->peer;
	uint16_t slot = connection->slot;
	char text[ID_TEXT_SIZE];

	if (chord->client || chord->state != TOPOLOGY_JOINED || chord->placing || id_is_none(&peer) || !connection->up)
		return -ENOTCONN; /* B-10.5-09: whoever is not in the ring says nothing */
	if (type == CHORD_UPDATE_FITTING)
		type = fitting_type(chord, &peer);
	int error = send_type(chord, &peer, slot, type);
	if (error == -EMSGSIZE && type == CHORD_FULL)
		error = send_type(chord, &peer, slot, CHORD_NEIGHBORS);
	if (error < 0)
		log_info("Chord: no Update could be sent to %s: %s.", id_format(&peer, text), strerror(-error));
	struct chord_member *member = chord_table_find(&chord->table, &peer);
	if (member)
		member->update_due_us = chord_now(chord) +
					chord_jitter(chord, router_config(chord->router)->chord_update_interval_s * USEC_PER_SEC);
	return error;
}

void chord_update_schedule(struct chord *chord, enum chord_audience audience) {
	if (audience > chord->audience)
		chord->audience = audience;
	if (chord->flush_timer.armed)
		return;
	/* Several links often change at once; they go into one Update. */
	uint64_t spread_ms = CHORD_FLUSH_MAX_MS - CHORD_FLUSH_MIN_MS + 1;
	timer_arm_after(chord->runtime, &chord->flush_timer,
			(CHORD_FLUSH_MIN_MS + runtime_random_below(chord->runtime, spread_ms)) * USEC_PER_MSEC);
}

void chord_update_flush(struct chord *chord) {
	enum chord_audience audience = chord->audience;
	const struct connection *connection;
	size_t position = 0;

	if (chord->state != TOPOLOGY_JOINED || chord->placing)
		return; /* what is due goes out when the placing is over */
	chord->audience = CHORD_NOBODY;
	timer_disarm(chord->runtime, &chord->flush_timer);
	while (audience != CHORD_NOBODY && (connection = router_connection_next(chord->router, &position)))
		if (connection->up && !id_is_none(&connection->peer) &&
		    (audience == CHORD_EVERYBODY || chord_table_is_neighbor(&chord->table, &connection->peer)))
			chord_update_send(chord, connection, CHORD_UPDATE_FITTING);
}

void chord_flush_fire(struct timer *timer, void *userdata) {
	(void)timer;
	chord_update_flush(userdata);
}

/* ---- periodically (B-10.7.4-01) ---- */

void chord_periodic_arm(struct chord *chord) {
	uint64_t interval_us = router_config(chord->router)->chord_update_interval_s * USEC_PER_SEC, due_us = USEC_NEVER;

	for (size_t i = 0; i < chord->table.count; i++) {
		struct chord_member *member = &chord->table.members[i];
		if (!chord_member_usable(member))
			continue;
		if (member->update_due_us == 0)
			member->update_due_us = chord_now(chord) + chord_jitter(chord, interval_us);
		if (member->update_due_us < due_us)
			due_us = member->update_due_us;
	}
	if (due_us == USEC_NEVER)
		timer_disarm(chord->runtime, &chord->periodic_timer);
	else
		timer_arm(chord->runtime, &chord->periodic_timer, due_us);
}

/* Neighbors get our lists; other peers a sign of life, whose failure tells that they are gone. */
void chord_periodic_fire(struct timer *timer, void *userdata) {
	struct chord *chord = userdata;

	(void)timer;
	for (size_t i = 0; i < chord->table.count; i++) {
		struct chord_member *member = &chord->table.members[i];
		if (!chord_member_usable(member) || member->update_due_us > chord_now(chord))
			continue;
		const struct connection *connection = router_connection(chord->router, member->slot);
		member->update_due_us = chord_now(chord) +
					chord_jitter(chord, router_config(chord->router)->chord_update_interval_s * USEC_PER_SEC);
		if (connection)
			chord_update_send(chord, connection, CHORD_UPDATE_FITTING);
	}
	chord_periodic_arm(chord);
}

/* ---- receiving ---- */

size_t chord_ids_read(const struct chord *chord, struct octets list, struct id *out, size_t max) {
	struct reader r = reader_of_octets(list);
	size_t count = 0;

	r.node_id_length = chord_self(chord)->length;
	while (count < max && node_id_next(&r, &out[count]) > 0)
		count++;
	return count;
}

struct listed {
	struct id predecessors[CHORD_LISTED_MAX], all[CHORD_LISTED_MAX];
	size_t predecessor_count, successor_count, count; /* `all` are the predecessors, the successors and the fingers */
	struct id last_successor;
	bool lists; /* the Update had lists at all */
};

static void listed_read(const struct chord *chord, const struct chord_update *update, struct listed *listed) {
	listed->lists = update->type == CHORD_NEIGHBORS || update->type == CHORD_FULL;
	listed->predecessor_count = chord_ids_read(chord, update->predecessors, listed->predecessors, CHORD_LISTED_MAX);
	memcpy(listed->all, listed->predecessors, listed->predecessor_count * sizeof(struct id));
	listed->count = listed->predecessor_count;
	listed->successor_count =
		chord_ids_read(chord, update->successors, listed->all + listed->count, CHORD_LISTED_MAX - listed->count);
	listed->count += listed->successor_count;
	listed->last_successor = listed->successor_count ? listed->all[listed->count - 1] : ID_NONE;
	listed->count += chord_ids_read(chord, update->fingers, listed->all + listed->count, CHORD_LISTED_MAX - listed->count);
}

static void take_in(struct chord *chord, const struct connection *connection, const struct listed *listed) {
	struct id sender = connection->peer;
	struct chord_member *member = chord_member_of(chord, connection);

	if (!member || member->left)
		return; /* it said good-bye; only a new link makes it a peer again */
	member->ready = true;
	member->awaited = false;
	member->silent_pings = 0;
	member->confirm_by_us = 0;
	member->listed = member->listed || listed->lists;
	router_mark_update_received(chord->router, &sender); /* B-6.5.1-01 */
	chord_unreachable_remove(chord, &sender);
	chord_changed(chord, CHORD_GAIN);
	if (chord->state == TOPOLOGY_JOINED || (chord->state == TOPOLOGY_JOINING && chord->join.phase != CHORD_JOIN_FIND))
		chord_learn(chord, &sender, listed->all, listed->count); /* B-10.7.3-01 */
	chord_check_missing(chord, &sender, CHORD_PREDECESSORS, listed->predecessors, listed->predecessor_count);
	chord_check_missing(chord, &sender, CHORD_SUCCESSORS, listed->all + listed->predecessor_count, listed->successor_count);
	if (chord->state == TOPOLOGY_JOINING)
		chord_join_updated(chord, &sender, listed->predecessors, listed->predecessor_count, &listed->last_successor);
}

/*
 * Updates are taken from directly connected nodes alone, over their own link: an Update makes its sender a peer we relay through.
 */
void chord_update_handle(void *userdata, struct request *request) {
	struct chord *chord = userdata;
	struct chord_update update;
	struct listed listed;
	struct id sender = request->signer_id;
	const struct connection *connection = router_connection_of(chord->router, &sender);

	if (chord_update_read(request->message.contents.body, chord_self(chord)->length, &update) < 0) {
		request_fail_text(request, ERROR_INVALID_MESSAGE, "This Update cannot be read.");
		return;
	}
	if (!connection || !connection->up || !id_equal(&request->previous_hop, &sender)) {
		request_fail_text(request, ERROR_FORBIDDEN, "Updates are taken over the sender's own link only.");
		return;
	}
	listed_read(chord, &update, &listed);
	request_answer(request, OCTETS_NONE, NULL);
	if (chord->state == TOPOLOGY_LEAVING || chord->state == TOPOLOGY_LEFT)
		return;
	if (chord->client)
		chord_client_updated(chord, &sender, listed.predecessors, listed.predecessor_count, listed.lists);
	else
		take_in(chord, connection, &listed);
}
