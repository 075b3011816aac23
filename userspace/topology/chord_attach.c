/* SPDX-License-Identifier: BSD-2-Clause */
/* Attaches of the plug-in, and the peers that could not be reached of late. */
#include "topology/chord.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

/* ---- unreachable peers ---- */

static struct chord_unreachable *unreachable_find(const struct chord *chord, const struct id *id) {
	for (size_t i = 0; i < chord->unreachable_count; i++)
		if (id_equal(&chord->unreachable[i].id, id))
			return &chord->unreachable[i];
	return NULL;
}

static void unreachable_arm(struct chord *chord) {
	uint64_t due_us = USEC_NEVER;

	for (size_t i = 0; i < chord->unreachable_count; i++)
		if (chord->unreachable[i].retry && chord->unreachable[i].retry_us < due_us)
			due_us = chord->unreachable[i].retry_us;
	if (due_us == USEC_NEVER)
		timer_disarm(chord->runtime, &chord->retry_timer);
	else
		timer_arm(chord->runtime, &chord->retry_timer, due_us);
}

/* Room for one more: the entry nearest to its release goes when the list is full. */
static struct chord_unreachable *unreachable_new(struct chord *chord) {
	for (size_t i = 0; i < chord->unreachable_count; i++)
		if (id_is_none(&chord->unreachable[i].id))
			return &chord->unreachable[i];
	if (chord->unreachable_count < CHORD_UNREACHABLE_MAX) {
		if ((chord->unreachable_count & (chord->unreachable_count - 1)) == 0) {
			size_t capacity = chord->unreachable_count ? 2 * chord->unreachable_count : 1;
			struct chord_unreachable *grown = reallocarray(chord->unreachable, capacity, sizeof(*grown));
			if (!grown)
				return NULL;
			chord->unreachable = grown;
		}
		return &chord->unreachable[chord->unreachable_count++];
	}
	struct chord_unreachable *oldest = &chord->unreachable[0];
	for (size_t i = 1; i < chord->unreachable_count; i++)
		if (chord->unreachable[i].until_us < oldest->until_us)
			oldest = &chord->unreachable[i];
	return oldest;
}

/* Doubles with each failure, unless it was short. */
static uint64_t hold_off_end(const struct chord *chord, unsigned seconds, unsigned failures) {
	if (seconds >= CHORD_HOLD_OFF_S) {
		seconds <<= failures < 4 ? failures : 4;
		if (seconds > CHORD_HOLD_OFF_MAX_S)
			seconds = CHORD_HOLD_OFF_MAX_S;
	}
	return chord_now(chord) + chord_jitter(chord, seconds * USEC_PER_SEC);
}

static void plan_retry(struct chord *chord, struct chord_unreachable *entry, unsigned seconds) {
	entry->retry = entry->retries < CHORD_RETRIES_MAX;
	if (!entry->retry)
		return;
	entry->retry_us = hold_off_end(chord, seconds, entry->retries++);
	unreachable_arm(chord);
}

void chord_unreachable_add(struct chord *chord, const struct id *id, unsigned seconds, bool retry) {
	struct chord_unreachable *entry = unreachable_find(chord, id);

	if (!entry) {
		entry = unreachable_new(chord);
		if (!entry)
			return;
		*entry = (struct chord_unreachable){.id = *id};
	}
	entry->until_us = hold_off_end(chord, seconds, entry->failures);
	if (entry->failures < UINT8_MAX)
		entry->failures++;
	if (retry && !entry->retry)
		plan_retry(chord, entry, seconds);
}

void chord_unreachable_still(struct chord *chord, const struct id *id, unsigned seconds) {
	struct chord_unreachable *entry = unreachable_find(chord, id);

	if (entry)
		plan_retry(chord, entry, seconds);
}

void chord_unreachable_remove(struct chord *chord, const struct id *id) {
	struct chord_unreachable *entry = unreachable_find(chord, id);

	if (!entry)
		return;
	*entry = (struct chord_unreachable){.id = ID_NONE}; /* a free place */
	unreachable_arm(chord);
}

bool chord_unreachable_now(const struct chord *chord, const struct id *id) {
	const struct chord_unreachable *entry = unreachable_find(chord, id);

	return entry && entry->until_us > chord_now(chord);
}

/* It was a neighbor once: is it still to be one, and not there yet? */
static void retry(struct chord *chord, struct chord_unreachable *entry) {
	struct id none = ID_NONE;

	if (chord->state != TOPOLOGY_JOINED || chord_table_find(&chord->table, &entry->id) ||
	    !chord_table_wants(&chord->table, &entry->id))
		entry->retry = false;
	else if (chord_attach_count(chord, CHORD_ATTACH_RETRY) >= CHORD_RETRIES_AT_ONCE)
		entry->retry_us = chord_now(chord) + CHORD_REFUSED_HOLD_OFF_S * USEC_PER_SEC;
	else if (chord_attach_start(chord, CHORD_ATTACH_RETRY, &entry->id, false, &none, LINK_SLOT_NONE) < 0)
		plan_retry(chord, entry, CHORD_HOLD_OFF_S);
	else
		entry->retry_us = chord_now(chord) + CHORD_HOLD_OFF_MAX_S * USEC_PER_SEC; /* until the Attach tells */
}

/* Time is up: a lost neighbor is tried once more unless nearer ones have come (B-10.7.1-05). */
void chord_retry_fire(struct timer *timer, void *userdata) {
	struct chord *chord = userdata;

	(void)timer;
	for (size_t i = 0; i < chord->unreachable_count; i++) {
		struct chord_unreachable *entry = &chord->unreachable[i];
		if (entry->retry && entry->retry_us <= chord_now(chord))
			retry(chord, entry);
	}
	unreachable_arm(chord);
}

/* ---- attaches ---- */

static void attach_free(struct chord_attach *attach) {
	DL_DELETE(attach->chord->attaches, attach);
	attach->chord->attach_count--;
	free(attach);
}

static void neighbor_failed(struct chord *chord, const struct chord_attach *attach, int error) {
	char text[ID_TEXT_SIZE];

	log_info("Chord: attaching to %s failed: %s.", id_format(&attach->target, text), strerror(-error));
	if (attach->resource)
		return;
	if (id_equal(&attach->target, &chord->range_bound))
		chord->range_bound = ID_NONE;
	unsigned seconds = error == -EREMOTEIO ? CHORD_REFUSED_HOLD_OFF_S : CHORD_HOLD_OFF_S;
	if (attach->purpose == CHORD_ATTACH_RETRY)
		chord_unreachable_still(chord, &attach->target, seconds);
	else
		chord_unreachable_add(chord, &attach->target, seconds, attach->purpose == CHORD_ATTACH_NEIGHBOR);
}

static void attached(struct chord *chord, const struct chord_attach *attach, uint16_t slot) {
	const struct connection *connection = router_connection(chord->router, slot);
	struct chord_member *member = connection && connection->up ? chord_member_of(chord, connection) : NULL;

	if (!member)
		return;
	member->ours = true;
	member->awaited = !member->ready;
	chord_changed(chord, CHORD_GAIN);
	if (chord->state != TOPOLOGY_JOINED)
		return;
	if (attach->purpose == CHORD_ATTACH_MERGE)
		chord_partition_attached(chord, slot);
	else
		chord_update_send(chord, connection, CHORD_UPDATE_FITTING); /* it learns at once that we are a peer */
}

static void attach_ended(void *userdata, int error, uint16_t slot, const struct id *peer) {
	struct chord_attach *ended = userdata, attach = *ended;
	struct chord *chord = attach.chord;

	attach_free(ended);
	if (error == -ECANCELED)
		return;
	if (chord->client) {
		chord_client_attached(chord, error, slot, peer);
		return;
	}
	/* Both ends may have started one at the same time; then a refused one counts as done. */
	const struct connection *existing =
		error < 0 && !attach.resource ? router_connection_of(chord->router, &attach.target) : NULL;
	if (existing && existing->up) {
		error = 0;
		slot = existing->slot;
		peer = &attach.target;
	}
	if (error == 0)
		attached(chord, &attach, slot);
	else if (attach.purpose != CHORD_ATTACH_ADMITTING)
		neighbor_failed(chord, &attach, error);
	if (chord->state == TOPOLOGY_JOINING)
		chord_join_attached(chord, &attach, error, peer);
	else
		chord_join_settle(chord);
}

static struct chord_attach *attach_find(const struct chord *chord, const struct id *target) {
	struct chord_attach *attach;

	DL_FOREACH (chord->attaches, attach)
		if (id_equal(&attach->target, target))
			return attach;
	return NULL;
}

int chord_attach_start(struct chord *chord, enum chord_attach_purpose purpose, const struct id *target, bool resource,
		       const struct id *reporter, uint16_t via_slot) {
	uint8_t list[CHORD_DESTINATIONS_MAX];

	if (attach_find(chord, target))
		return -EALREADY;
	if (chord->attach_count >= CHORD_ATTACHES_MAX)
		return -ENOBUFS;
	struct chord_attach *attach = calloc(1, sizeof(*attach));
	if (!attach)
		return -ENOMEM;
	*attach = (struct chord_attach){
		.chord = chord, .purpose = purpose, .target = *target, .resource = resource, .reporter = *reporter};
	/* B-10.6-01: through the peer that named it. Q-68: every Attach asks for an Update, which makes the peer usable. */
	struct octets destinations = chord_destinations(list, sizeof(list), reporter, target, resource);
	int error = attach_start(chord->router, destinations, ATTACH_SEND_UPDATE, via_slot, attach_ended, attach);
	if (error < 0) {
		free(attach);
		return error;
	}
	DL_APPEND(chord->attaches, attach);
	chord->attach_count++;
	return 0;
}

size_t chord_attach_count(const struct chord *chord, enum chord_attach_purpose purpose) {
	struct chord_attach *attach;
	size_t count = 0;

	DL_FOREACH (chord->attaches, attach)
		count += attach->purpose == purpose;
	return count;
}

void chord_attaches_cancel(struct chord *chord) {
	struct chord_attach *attach, *next;

	DL_FOREACH_SAFE (chord->attaches, attach, next) {
		attach_cancel(chord->router, attach);
		attach_free(attach);
	}
}

/* ---- what others tell ---- */

/*
 * Peers that others name as neighbors, that we are linked to, and that we have heard no Update of: both ends of a link may hold it
 * for the other to speak first. Each is asked once in a round of stabilization.
 */
static void ask_silent(struct chord *chord, const struct id *ids, size_t count) {
	for (size_t i = 0; i < count; i++) {
		struct chord_member *member = chord_table_find(&chord->table, &ids[i]);
		if (!member || member->ready || member->awaited || member->left || member->suspected ||
		    !chord_table_wants(&chord->table, &ids[i]))
			continue;
		member->awaited = true;
		chord_query(chord, member);
	}
}

void chord_learn(struct chord *chord, const struct id *reporter, const struct id *ids, size_t count) {
	struct id candidates[CHORD_LISTED_MAX + CHORD_ATTACHES_MAX], chosen[2 * CHORD_DEPTH_MAX];
	struct chord_attach *attach;
	size_t candidate_count = 0;

	if (count == 0)
		return;
	if (chord->state == TOPOLOGY_JOINED)
		ask_silent(chord, ids, count);
	for (size_t i = 0; i < count && i < CHORD_LISTED_MAX; i++)
		if (!chord_unreachable_now(chord, &ids[i]))
			candidates[candidate_count++] = ids[i];
	/* Those being attached to count as if they were there, so that no more than needed are started; those that are tried again
	 * have failed before. */
	DL_FOREACH (chord->attaches, attach)
		if (attach->purpose == CHORD_ATTACH_NEIGHBOR && !attach->resource)
			candidates[candidate_count++] = attach->target;

	size_t chosen_count = chord_table_select(&chord->table, candidates, candidate_count, chosen, 2 * CHORD_DEPTH_MAX);
	for (size_t i = 0; i < chosen_count; i++) {
		if (attach_find(chord, &chosen[i]))
			continue;
		int error = chord_attach_start(chord, CHORD_ATTACH_NEIGHBOR, &chosen[i], false, reporter, LINK_SLOT_NONE);
		if (error < 0) {
			char text[ID_TEXT_SIZE];
			log_info("Chord: attaching to %s failed: %s.", id_format(&chosen[i], text), strerror(-error));
		}
	}
}
