/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The admitting peer's side of joining (RFC 6940 10.5, 6.4.2.1), and the other requests of the plug-in: Leave and RouteQuery. One
 * joiner is admitted at a time; the next one is told Error_In_Progress and asks again, after the ring has changed under it.
 */
#include "topology/chord.h"

#include <errno.h>
#include <string.h>

/* ---- admission ---- */

void chord_admission_abandon(struct chord *chord) {
	if (!chord->admission)
		return;
	chord->admission->chord = NULL; /* freed when the storage is done with it */
	chord->admission = NULL;
}

static void confirm_arm(struct chord *chord) {
	uint64_t due_us = USEC_NEVER;

	for (size_t i = 0; i < chord->table.count; i++)
		if (chord->table.members[i].confirm_by_us != 0 && chord->table.members[i].confirm_by_us < due_us)
			due_us = chord->table.members[i].confirm_by_us;
	if (due_us == USEC_NEVER)
		timer_disarm(chord->runtime, &chord->confirm_timer);
	else
		timer_arm(chord->runtime, &chord->confirm_timer, due_us);
}

/* A joiner that was placed and never said so is no peer: its range returns to us. */
void chord_confirm_fire(struct timer *timer, void *userdata) {
	struct chord *chord = userdata;
	char text[ID_TEXT_SIZE];
	bool changed = false;

	(void)timer;
	for (size_t i = 0; i < chord->table.count; i++) {
		struct chord_member *member = &chord->table.members[i];
		if (member->confirm_by_us == 0 || member->confirm_by_us > chord_now(chord))
			continue;
		log_warning("Chord: joiner %s never sent its Update; it is not in the overlay.", id_format(&member->id, text));
		member->confirm_by_us = 0;
		member->ready = false;
		changed = true;
	}
	if (changed)
		chord_changed(chord, CHORD_LOSS);
	confirm_arm(chord);
}

/* Steps 7 and 8: the joiner learns first that it is our predecessor, then everybody does (B-10.5-06, B-10.5-08). */
static void place(struct chord *chord, const struct connection *connection) {
	struct chord_member *member = chord_member_of(chord, connection);
	char text[ID_TEXT_SIZE];

	if (!member) {
		log_error("Chord: no memory to admit %s.", id_format(&connection->peer, text));
		return;
	}
	log_info("Chord: admitted %s.", id_format(&connection->peer, text));
	member->ready = true;
	member->left = false;
	member->confirm_by_us = chord_now(chord) + CHORD_CONFIRM_S * USEC_PER_SEC;
	confirm_arm(chord);
	chord_update_send(chord, connection, CHORD_NEIGHBORS);
	chord_changed(chord, CHORD_GAIN);
	chord_update_schedule(chord, CHORD_NEIGHBORS_ONLY);
	chord_update_flush(chord);
}

static void handed_over(void *userdata, int error) {
	struct chord_admission *done = userdata, admission = *done;
	struct chord *chord = admission.chord;
	char text[ID_TEXT_SIZE];

	free(done);
	if (!chord)
		return;
	chord->admission = NULL;
	const struct connection *connection = router_connection_of(chord->router, &admission.joiner);
	if (error < 0)
		log_warning("Chord: %s is not admitted, its data could not be handed over: %s.", id_format(&admission.joiner, text),
			    strerror(-error));
	else if (chord->state == TOPOLOGY_JOINED && connection && connection->up)
		place(chord, connection);
}

/* Where the joiner's range begins: after our predecessor, or after the joiner's own when it is that very predecessor. */
static struct id range_before(const struct chord *chord, const struct id *joiner) {
	struct id predecessors[2];
	size_t count = chord_table_nearest(&chord->table, CHORD_PREDECESSORS, predecessors, 2);

	for (size_t i = 0; i < count; i++)
		if (!id_equal(&predecessors[i], joiner))
			return predecessors[i];
	return *chord_self(chord);
}

static bool admissible(const struct chord *chord, const struct id *joiner) {
	struct id predecessor = chord_table_first(&chord->table, CHORD_PREDECESSORS);

	/* Our predecessor may ask when it lost its successors and we did not notice (B-10.7.1-04). */
	return !id_equal(joiner, chord_self(chord)) && (chord_owns(chord, joiner) || id_equal(joiner, &predecessor));
}

/* The signer's own link is the only way for Join and Leave (B-6.4.2.1-02, B-6.4.2.2-02). */
static bool over_own_link(const struct request *request) {
	return request->slot != LINK_SLOT_NONE && id_equal(&request->previous_hop, &request->signer_id);
}

void chord_join_handle(void *userdata, struct request *request) {
	struct chord *chord = userdata;
	struct id joiner = request->signer_id;
	struct join_req join;

	if (join_req_read(request->message.contents.body, chord_self(chord)->length, &join) < 0) {
		request_fail_text(request, ERROR_INVALID_MESSAGE, "This Join cannot be read.");
		return;
	}
	if (!id_equal(&join.joining_peer_id, &joiner)) {
		request_fail_text(request, ERROR_FORBIDDEN, "The joining peer is not who signed."); /* B-6.4.2.1-01 */
		return;
	}
	if (!over_own_link(request)) {
		request_fail_text(request, ERROR_FORBIDDEN, "A Join is taken over the joining peer's own link only.");
		return;
	}
	if (chord->state == TOPOLOGY_JOINING || (chord->state == TOPOLOGY_JOINED && (chord->placing || chord->admission))) {
		request_fail_text(request, ERROR_IN_PROGRESS, "Another peer is just joining here; try again.");
		return;
	}
	if (chord->state != TOPOLOGY_JOINED || !admissible(chord, &joiner)) {
		request_fail_text(request, ERROR_FORBIDDEN, "This peer is not responsible for the joining peer's place.");
		return;
	}
	struct chord_admission *admission = calloc(1, sizeof(*admission));
	if (!admission) {
		request_drop(request);
		return;
	}
	*admission = (struct chord_admission){
		.chord = chord, .joiner = joiner, .from = range_before(chord, &joiner), .slot = request->slot};
	struct id from = admission->from;
	uint8_t body[4];
	struct writer w = writer_fixed(body, sizeof(body));
	join_ans_write(&w, OCTETS_NONE);
	request_answer(request, writer_octets_written(&w), NULL);

	/* B-6.4.2.1-04, B-10.5-05: the data first, our Update afterwards. */
	chord->admission = admission;
	if (chord->events.hand_over)
		chord->events.hand_over(chord->events.userdata, &joiner, &from, &joiner, handed_over, admission);
	else
		handed_over(admission, 0);
}

/* ---- Leave ---- */

void chord_leave_handle(void *userdata, struct request *request) {
	struct chord *chord = userdata;
	struct id leaver = request->signer_id, listed[CHORD_LISTED_MAX];
	struct chord_leave_data data = {0};
	struct leave_req leave;
	size_t count = 0;
	char text[ID_TEXT_SIZE];

	if (leave_req_read(request->message.contents.body, chord_self(chord)->length, &leave) < 0) {
		request_fail_text(request, ERROR_INVALID_MESSAGE, "This Leave cannot be read.");
		return;
	}
	if (!id_equal(&leave.leaving_peer_id, &leaver)) {
		request_fail_text(request, ERROR_FORBIDDEN, "The leaving peer is not who signed."); /* B-6.4.2.2-02 */
		return;
	}
	if (!over_own_link(request)) {
		request_fail_text(request, ERROR_FORBIDDEN, "A Leave is taken over the leaving peer's own link only.");
		return;
	}
	/* Without its lists it is a Leave all the same. */
	if (chord_leave_read(leave.overlay_specific_data, chord_self(chord)->length, &data) == 0)
		count = chord_ids_read(chord, data.node_ids, listed, CHORD_LISTED_MAX);
	request_answer(request, OCTETS_NONE, NULL); /* B-6.4.2.2-03 */

	struct chord_member *member = chord_table_find(&chord->table, &leaver);
	if (!member || member->left)
		return;
	log_info("Chord: peer %s leaves.", id_format(&leaver, text));
	bool was_finger = chord_table_is_finger(&chord->table, &leaver);
	member->left = true;
	if (chord->admission && id_equal(&chord->admission->joiner, &leaver))
		chord_admission_abandon(chord);
	chord_unreachable_add(chord, &leaver, CHORD_HOLD_OFF_S, false);
	chord_changed(chord, CHORD_LOSS); /* B-10.9-02 */
	if (chord->state == TOPOLOGY_JOINED) {
		chord_learn(chord, &leaver, listed, count);
		if (was_finger && router_config(chord->router)->chord_reactive)
			chord_finger_arm(chord, true);
	}
}

/* ---- RouteQuery ---- */

static bool query_point(const struct route_query_req *query, struct id *ret) {
	if (query->destination.type != DESTINATION_NODE && query->destination.type != DESTINATION_RESOURCE)
		return false;
	*ret = id_of(query->destination.value);
	return ret->length == ID_LENGTH_CHORD;
}

static struct id next_peer(const struct chord *chord, const struct route_query_req *query, const struct id *point) {
	const struct connection *connection = NULL;

	if (id_equal(point, chord_self(chord)) || chord_owns(chord, point))
		return *chord_self(chord);
	if (query->destination.type == DESTINATION_NODE)
		connection = router_connection_of(chord->router, point);
	if (!connection || !connection->up)
		connection = router_next_hop(chord->router, point);
	return connection ? connection->peer : ID_NONE;
}

void chord_route_query_handle(void *userdata, struct request *request) {
	struct chord *chord = userdata;
	struct id requester = request->signer_id, point, next = ID_NONE;
	struct route_query_req query;
	uint8_t body[ID_LENGTH_MAX];
	struct writer w = writer_fixed(body, sizeof(body));

	if (route_query_read(request->message.contents.body, chord_self(chord)->length, &query) < 0) {
		request_fail_text(request, ERROR_INVALID_MESSAGE, "This RouteQuery cannot be read.");
		return;
	}
	bool send_update = query.send_update;
	if (!query_point(&query, &point)) {
		/* B-6.4.2.4-02: an answer would tell who an opaque ID stands for. */
		request_fail_text(request, ERROR_FORBIDDEN, "Only Node-IDs and Resource-IDs are answered.");
		return;
	}
	if (chord->state == TOPOLOGY_JOINED)
		next = next_peer(chord, &query, &point);
	if (id_is_none(&next)) {
		request_fail_text(request, ERROR_NOT_FOUND, "No next hop is known.");
		return;
	}
	writer_id(&w, &next); /* B-10.8-01 */
	request_answer(request, writer_octets_written(&w), NULL);

	const struct connection *connection = router_connection_of(chord->router, &requester);
	if (send_update && connection)
		chord_update_send(chord, connection, CHORD_FULL);
}
