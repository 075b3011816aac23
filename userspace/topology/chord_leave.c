/* SPDX-License-Identifier: BSD-2-Clause */
/* Leaving the overlay (RFC 6940 10.9, 6.4.2.2). */
#include "topology/chord.h"

#include <errno.h>
#include <string.h>

enum {
	LEAVE_LINGER_S = 2, /* neighbors may attach to each other through us meanwhile (B-10.6-01) */
	LEAVE_LIMIT_S = 5,  /* then unanswered Leaves are not waited for */
};

void chord_leave_finish(struct chord *chord) {
	timer_disarm(chord->runtime, &chord->stabilize_timer);
	chord_requests_cancel(chord, CHORD_REQUEST_LEAVE);
	chord_attaches_cancel(chord);
	router_set_range(chord->router, NULL, false);
	chord_set_state(chord, TOPOLOGY_LEFT);
}

void chord_leave_answered(struct chord *chord) {
	if (chord->state != TOPOLOGY_LEAVING || chord_requests_count(chord, CHORD_REQUEST_LEAVE) > 0)
		return;
	timer_arm(chord->runtime, &chord->stabilize_timer, chord->join.settle_us);
}

/*
 * Our successors are told of our predecessors, which become theirs, and the other way round. A peer of a small ring that is both
 * is told as what it is nearer to.
 */
static int send_leave(struct chord *chord, const struct chord_member *member, bool to_predecessor) {
	uint8_t destinations[CHORD_DESTINATIONS_MAX], data[8 + CHORD_DEPTH_MAX * ID_LENGTH_CHORD];
	uint8_t body[16 + ID_LENGTH_MAX + sizeof(data)];
	struct id ids[CHORD_DEPTH_MAX], none = ID_NONE;
	struct writer list = writer_fixed(data, sizeof(data)), w = writer_fixed(body, sizeof(body));

	size_t count = chord_table_neighbors(&chord->table, to_predecessor ? CHORD_SUCCESSORS : CHORD_PREDECESSORS, ids);
	chord_leave_write(&list, to_predecessor ? CHORD_FROM_SUCC : CHORD_FROM_PRED, ids, count);
	struct leave_req leave = {.leaving_peer_id = *chord_self(chord), .overlay_specific_data = writer_octets_written(&list)};
	leave_req_write(&w, &leave);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = chord_destinations(destinations, sizeof(destinations), &none, &member->id, false),
		.code = LEAVE_REQ,
		.body = writer_octets_written(&w),
	};
	outgoing.via_slot = member->slot;
	return chord_request_start(chord, CHORD_REQUEST_LEAVE, &member->id, &outgoing);
}

void chord_leave_start(struct chord *chord) {
	if (chord->state == TOPOLOGY_LEAVING || chord->state == TOPOLOGY_LEFT)
		return;
	bool in_ring = chord->state == TOPOLOGY_JOINED && !chord->client;
	timer_disarm(chord->runtime, &chord->flush_timer);
	timer_disarm(chord->runtime, &chord->periodic_timer);
	timer_disarm(chord->runtime, &chord->check_timer);
	timer_disarm(chord->runtime, &chord->finger_timer);
	timer_disarm(chord->runtime, &chord->replica_timer);
	timer_disarm(chord->runtime, &chord->retry_timer);
	timer_disarm(chord->runtime, &chord->confirm_timer);
	timer_disarm(chord->runtime, &chord->join_timer);
	chord_admission_abandon(chord);
	chord_attaches_cancel(chord);
	chord_requests_cancel(chord, CHORD_REQUEST_JOIN);
	chord->placing = false;
	if (!in_ring) {
		chord_leave_finish(chord);
		return;
	}
	chord_set_state(chord, TOPOLOGY_LEAVING);
	chord->join.settle_us = chord_now(chord) + LEAVE_LINGER_S * USEC_PER_SEC;
	/* B-10.9-01, B-6.4.2.2-01: every peer we hold a link to; those of the nearer half ring behind us as predecessors. */
	size_t usable = chord_table_usable(&chord->table), passed = 0;
	for (size_t i = 0; i < chord->table.count; i++) {
		const struct chord_member *member = &chord->table.members[i];
		if (!chord_member_usable(member))
			continue;
		passed++;
		int error = send_leave(chord, member, 2 * passed > usable);
		if (error < 0)
			log_info("Chord: no Leave could be sent: %s.", strerror(-error));
	}
	timer_arm_after(chord->runtime, &chord->stabilize_timer, LEAVE_LIMIT_S * USEC_PER_SEC);
	if (usable == 0)
		chord_leave_finish(chord);
}
