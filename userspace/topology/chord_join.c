/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Joining (RFC 6940 10.5): find the admitting peer, learn its table, attach to the future neighbors and fingers, ask to join, and
 * wait for the Update that places us. Any lasting failure ends in TOPOLOGY_OFFLINE within bounded time; the node tries again.
 */
#include "topology/chord.h"

#include <errno.h>
#include <string.h>

enum {
	JOIN_LIMIT_S = 90,   /* until our Join is accepted */
	PLACE_LIMIT_S = 180, /* from then until we are placed: the range's data comes in between */
	TABLE_WAIT_S = 3,    /* for the admitting peer's Update, before it is asked for */
	TABLE_QUERIES = 2,
	SETTLE_S = 3,	/* for the first Update of a peer we attached to */
	PAUSE_MS = 100, /* doubles with each attempt */
	PAUSE_MAX_MS = 3000,
	JOIN_ATTEMPTS_MAX = 4,	  /* to attach to an admitting peer */
	SUCCESSORS_BY_ATTACH = 3, /* found one by one when no table comes (B-10.5-10) */
};

static void pause_then(struct chord *chord, bool find_again);

static void arm_deadline(struct chord *chord, uint64_t wanted_us) {
	timer_arm(chord->runtime, &chord->join_timer, wanted_us < chord->join.deadline_us ? wanted_us : chord->join.deadline_us);
}

static void enter_phase(struct chord *chord, enum chord_join_phase phase, uint64_t wait_us) {
	chord->join.phase = phase;
	arm_deadline(chord, wait_us == USEC_NEVER ? USEC_NEVER : chord_now(chord) + wait_us);
}

void chord_join_fail(struct chord *chord, const char *why) {
	if (chord->state != TOPOLOGY_JOINING)
		return;
	log_warning("Chord: joining failed: %s.", why);
	chord_attaches_cancel(chord);
	chord_requests_cancel(chord, CHORD_REQUEST_JOIN);
	timer_disarm(chord->runtime, &chord->join_timer);
	timer_disarm(chord->runtime, &chord->check_timer);
	chord->join.phase = CHORD_JOIN_IDLE;
	router_set_range(chord->router, NULL, false);
	chord_set_state(chord, TOPOLOGY_OFFLINE);
}

/* A link over which the overlay can be asked: the bootstrap peer's, else that of a peer we know. */
static uint16_t entrance(const struct chord *chord) {
	struct id peer;

	if (chord->join.slot != LINK_SLOT_NONE)
		return chord->join.slot;
	if (chord_table_nearest(&chord->table, CHORD_SUCCESSORS, &peer, 1) == 1)
		return chord_table_find(&chord->table, &peer)->slot;
	return LINK_SLOT_NONE;
}

/* Step 2, B-10.5-02, B-11.4-01: whoever is responsible for the point after ours admits us. */
static void find_admitting_peer(struct chord *chord) {
	struct id point = id_add_small(chord_self(chord), 1), none = ID_NONE;
	uint16_t slot = entrance(chord);

	if (slot == LINK_SLOT_NONE) {
		chord_join_fail(chord, "the link to the bootstrap peer is lost");
		return;
	}
	enter_phase(chord, CHORD_JOIN_FIND, USEC_NEVER);
	int error = chord_attach_start(chord, CHORD_ATTACH_ADMITTING, &point, true, &none, slot);
	if (error < 0 && error != -EALREADY)
		chord_join_fail(chord, strerror(-error));
}

void chord_join_start(struct chord *chord, uint16_t slot) {
	const struct connection *connection = router_connection(chord->router, slot);

	chord->join = (struct chord_join){.slot = slot, .deadline_us = chord_now(chord) + JOIN_LIMIT_S * USEC_PER_SEC};
	chord->placing = false;
	chord->range_bound = ID_NONE;
	chord_forget(chord);
	chord_set_state(chord, TOPOLOGY_JOINING);
	timer_arm_after(chord->runtime, &chord->check_timer, chord_jitter(chord, chord->check_interval_us));
	if (!connection || !connection->up)
		chord_join_fail(chord, "the link to the bootstrap peer is down"); /* B-10.5-01 */
	else
		find_admitting_peer(chord);
}

/* ---- step 3: neighbors and fingers ---- */

/*
 * B-10.5-11: finger i by an Attach to n + 2^(128-i). The owners of points up to the last known successor are known, and points
 * between the first predecessor and ourselves will be ours: neither is asked for.
 */
static void start_fingers(struct chord *chord, const struct id *predecessor, const struct id *last_successor) {
	struct id none = ID_NONE;
	const struct chord_member *admitting = chord_table_find(&chord->table, &chord->join.admitting_peer);

	if (chord->join.fingers_started || !admitting)
		return;
	chord->join.fingers_started = true;
	for (unsigned i = 1; i <= CHORD_FINGERS_MAX; i++) {
		struct id point = chord_finger_start(chord_self(chord), i);
		if (id_in_range(&point, chord_self(chord), last_successor))
			break; /* all later ones are nearer still */
		if (id_in_range(&point, predecessor, chord_self(chord)))
			continue;
		if (chord_attach_start(chord, CHORD_ATTACH_FINGER, &point, true, &none, admitting->slot) == -ENOBUFS)
			break;
	}
}

static void ask_for_table(struct chord *chord) {
	const struct chord_member *admitting = chord_table_find(&chord->table, &chord->join.admitting_peer);

	if (!admitting) {
		pause_then(chord, true);
		return;
	}
	chord->join.queries++;
	chord_query(chord, admitting);
	enter_phase(chord, CHORD_JOIN_TABLE, TABLE_WAIT_S * USEC_PER_SEC);
}

/* B-10.5-10: no table came. The peers after ours are found one by one, each by attaching to the point after the one before. */
static void find_successor(struct chord *chord, const struct id *after) {
	struct id point = id_add_small(after, 1), none = ID_NONE;

	chord->join.phase = CHORD_JOIN_NEIGHBORS;
	if (chord->join.successors_found++ >= SUCCESSORS_BY_ATTACH ||
	    chord_attach_start(chord, CHORD_ATTACH_SUCCESSOR, &point, true, &none, entrance(chord)) < 0)
		chord_join_progress(chord);
}

void chord_join_attached(struct chord *chord, const struct chord_attach *attach, int error, const struct id *peer) {
	struct chord_join *join = &chord->join;
	struct chord_member *member;

	join->settle_us = chord_now(chord) + SETTLE_S * USEC_PER_SEC;
	switch (attach->purpose) {
	case CHORD_ATTACH_ADMITTING:
		if (join->phase != CHORD_JOIN_FIND)
			return;
		if (error < 0) {
			if (entrance(chord) == LINK_SLOT_NONE || ++join->attempts > JOIN_ATTEMPTS_MAX)
				chord_join_fail(chord, strerror(-error));
			else
				pause_then(chord, true);
			return;
		}
		member = chord_table_find(&chord->table, peer);
		if (!member) {
			pause_then(chord, true);
			return;
		}
		join->admitting_peer = *peer;
		enter_phase(chord, CHORD_JOIN_TABLE, TABLE_WAIT_S * USEC_PER_SEC);
		/* It attached before and its Update came already, or comes now and anew. */
		if (member->listed && member->ready)
			ask_for_table(chord);
		return;
	case CHORD_ATTACH_SUCCESSOR:
		if (error == 0 && peer && !id_equal(peer, &join->admitting_peer)) {
			find_successor(chord, peer);
			return;
		}
		break;
	case CHORD_ATTACH_NEIGHBOR:
	case CHORD_ATTACH_RETRY:
	case CHORD_ATTACH_FINGER:
	case CHORD_ATTACH_MERGE:
		break;
	}
	chord_join_progress(chord);
}

/* ---- step 5: Join ---- */

static void send_join(struct chord *chord, const struct chord_member *admitting) {
	uint8_t destinations[CHORD_DESTINATIONS_MAX], body[8 + ID_LENGTH_MAX];
	struct writer w = writer_fixed(body, sizeof(body));
	struct join_req join = {.joining_peer_id = *chord_self(chord)};
	struct id none = ID_NONE;

	join_req_write(&w, &join);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = chord_destinations(destinations, sizeof(destinations), &none, &admitting->id, false),
		.code = JOIN_REQ,
		.body = writer_octets_written(&w),
	};
	outgoing.via_slot = admitting->slot;
	chord->join.admitting_peer = admitting->id;
	enter_phase(chord, CHORD_JOIN_REQUEST, USEC_NEVER);
	int error = chord_request_start(chord, CHORD_REQUEST_JOIN, &admitting->id, &outgoing); /* B-10.5-04 */
	if (error < 0)
		chord_join_fail(chord, strerror(-error));
}

/* A peer that should be our neighbor and has not said anything yet. */
static bool neighbors_outstanding(const struct chord *chord) {
	for (size_t i = 0; i < chord->table.count; i++) {
		const struct chord_member *member = &chord->table.members[i];
		if (!member->ready && !member->left && !member->suspected && chord_table_wants(&chord->table, &member->id))
			return true;
	}
	return false;
}

void chord_join_progress(struct chord *chord) {
	struct chord_join *join = &chord->join;

	if (chord->state != TOPOLOGY_JOINING || join->phase != CHORD_JOIN_NEIGHBORS)
		return;
	/* B-10.5-09: no Attach to a future neighbor is open when we ask to be placed. */
	if (chord_attach_count(chord, CHORD_ATTACH_NEIGHBOR) > 0 || chord_attach_count(chord, CHORD_ATTACH_SUCCESSOR) > 0) {
		arm_deadline(chord, USEC_NEVER);
		return;
	}
	if (neighbors_outstanding(chord) && chord_now(chord) < join->settle_us) {
		arm_deadline(chord, join->settle_us);
		return;
	}
	/* Another peer may have come between since we asked. */
	struct id successor = chord_table_first(&chord->table, CHORD_SUCCESSORS);
	const struct chord_member *admitting = chord_table_find(&chord->table, &join->admitting_peer);
	if (!id_is_none(&successor) && (!admitting || id_between(&successor, chord_self(chord), &admitting->id)))
		admitting = chord_table_find(&chord->table, &successor);
	if (admitting)
		send_join(chord, admitting);
	else
		pause_then(chord, true);
}

static void pause_then(struct chord *chord, bool find_again) {
	struct chord_join *join = &chord->join;
	uint64_t pause_us = PAUSE_MS * USEC_PER_MSEC << (join->attempts < 5 ? join->attempts : 5);

	if (pause_us > PAUSE_MAX_MS * USEC_PER_MSEC)
		pause_us = PAUSE_MAX_MS * USEC_PER_MSEC;
	join->attempts++;
	join->find_again = find_again;
	enter_phase(chord, CHORD_JOIN_PAUSE, chord_jitter(chord, pause_us));
}

void chord_join_answered(struct chord *chord, const struct chord_request *request, int error, const struct response *response) {
	struct chord_join *join = &chord->join;

	if (chord->state != TOPOLOGY_JOINING || join->phase != CHORD_JOIN_REQUEST ||
	    !id_equal(&request->peer, &join->admitting_peer))
		return;
	if (error == 0 && !id_equal(&response->signer_id, &join->admitting_peer))
		return; /* B-6.4.2.1-05: forged; the deadline decides */
	if (error == 0) {
		join->deadline_us = chord_now(chord) + PLACE_LIMIT_S * USEC_PER_SEC;
		enter_phase(chord, CHORD_JOIN_PLACE, USEC_NEVER);
	} else if (error == -EREMOTEIO) {
		/* Busy with another joiner, or no longer responsible: its Updates tell who is, the next look decides. */
		pause_then(chord, response->error.code != ERROR_IN_PROGRESS);
	} else {
		chord_join_fail(chord, error == -ETIMEDOUT ? "the admitting peer does not answer" : strerror(-error));
	}
}

/* ---- step 7: placed ---- */

static void placed(struct chord *chord, const struct id *predecessors, size_t count) {
	log_info("Chord: placed in the overlay.");
	timer_disarm(chord->runtime, &chord->join_timer);
	chord->join.phase = CHORD_JOIN_IDLE;
	chord->started = false;
	/* A neighbor named only now: our Updates wait until we are attached to it (B-10.5-09), and its range is not ours. */
	chord->placing = chord_attach_count(chord, CHORD_ATTACH_NEIGHBOR) > 0;
	chord->range_bound = ID_NONE;
	for (size_t i = 1; chord->placing && i < count; i++) {
		const struct chord_member *member = chord_table_find(&chord->table, &predecessors[i]);
		if ((member && chord_member_usable(member)) || chord_unreachable_now(chord, &predecessors[i]))
			break;
		if (!member) {
			chord->range_bound = predecessors[i];
			break;
		}
	}
	chord_enter(chord); /* B-10.5-06: from here on the range is ours */
	chord_update_flush(chord);
}

void chord_join_settle(struct chord *chord) {
	if (!chord->placing || chord_attach_count(chord, CHORD_ATTACH_NEIGHBOR) > 0)
		return;
	chord->placing = false;
	chord->range_bound = ID_NONE;
	chord_changed(chord, CHORD_GAIN);
	chord_update_schedule(chord, CHORD_EVERYBODY);
	chord_update_flush(chord);
}

void chord_join_updated(struct chord *chord, const struct id *sender, const struct id *predecessors, size_t predecessor_count,
			const struct id *last_successor) {
	struct chord_join *join = &chord->join;
	bool from_admitting_peer = id_equal(sender, &join->admitting_peer);
	const struct chord_member *member = chord_table_find(&chord->table, sender);

	if (from_admitting_peer && (join->phase == CHORD_JOIN_REQUEST || join->phase == CHORD_JOIN_PLACE) &&
	    predecessor_count > 0 && id_equal(&predecessors[0], chord_self(chord))) {
		placed(chord, predecessors, predecessor_count);
		return;
	}
	if (from_admitting_peer && join->phase == CHORD_JOIN_TABLE && member && member->listed) {
		enter_phase(chord, CHORD_JOIN_NEIGHBORS, USEC_NEVER);
		if (predecessor_count > 0 && !id_is_none(last_successor)) /* else it is alone */
			start_fingers(chord, &predecessors[0], last_successor);
	}
	chord_join_progress(chord);
}

/* ---- when things go wrong ---- */

void chord_join_link_lost(struct chord *chord, uint16_t slot, const struct id *peer) {
	struct chord_join *join = &chord->join;

	if (slot == join->slot)
		join->slot = LINK_SLOT_NONE;
	if (chord->state != TOPOLOGY_JOINING || join->phase == CHORD_JOIN_FIND || join->phase == CHORD_JOIN_PAUSE)
		return;
	if (!id_equal(peer, &join->admitting_peer)) {
		chord_join_progress(chord);
		return;
	}
	log_info("Chord: the admitting peer is lost; looking for another one.");
	chord_requests_cancel(chord, CHORD_REQUEST_JOIN);
	pause_then(chord, true);
}

void chord_join_fire(struct timer *timer, void *userdata) {
	struct chord *chord = userdata;
	struct chord_join *join = &chord->join;

	(void)timer;
	if (chord->client) {
		chord_client_fire(chord);
		return;
	}
	if (chord->state != TOPOLOGY_JOINING)
		return;
	if (chord_now(chord) >= join->deadline_us) {
		chord_join_fail(chord,
				join->phase == CHORD_JOIN_PLACE ? "the admitting peer did not place us" : "it took too long");
	} else if (join->phase == CHORD_JOIN_PAUSE) {
		if (join->find_again) {
			find_admitting_peer(chord);
		} else {
			join->phase = CHORD_JOIN_NEIGHBORS;
			chord_join_progress(chord);
		}
	} else if (join->phase == CHORD_JOIN_TABLE) {
		if (join->queries < TABLE_QUERIES)
			ask_for_table(chord);
		else
			find_successor(chord, &join->admitting_peer);
	} else {
		chord_join_progress(chord);
	}
}
