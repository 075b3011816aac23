/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The owners before us, whose records we hold copies of. Replication flows from the owner to its successors (RFC 6940 10.4); when
 * the owner is new and holds nothing - it restarted without its disk, or took over after two losses in a row - the copies of its
 * successors are all there is, and nobody would ever send them. So whoever becomes owner of a range that we hold copies of is
 * announced to the storage, which offers them.
 */
#include "topology/chord.h"

#include <string.h>

/* The ranges of the nearest predecessors, nearest first. In a small ring the farthest one's range begins behind us. */
static size_t ranges_before_us(const struct chord *chord, struct chord_range out[CHORD_REPLICAS]) {
	struct id before[CHORD_REPLICAS + 1];
	size_t count = chord_table_nearest(&chord->table, CHORD_PREDECESSORS, before, CHORD_REPLICAS + 1), ranges = 0;

	for (; ranges < count && ranges < CHORD_REPLICAS; ranges++)
		out[ranges] = (struct chord_range){
			.owner = before[ranges],
			.from = ranges + 1 < count ? before[ranges + 1] : *chord_self(chord),
		};
	return ranges;
}

static const struct chord_range *range_of(const struct chord *chord, const struct id *owner) {
	for (size_t i = 0; i < chord->owner_count; i++)
		if (id_equal(&chord->owners[i].owner, owner))
			return &chord->owners[i];
	return NULL;
}

void chord_owner_lost(struct chord *chord, const struct id *id) {
	for (size_t i = 0; i < chord->owner_count; i++)
		if (id_equal(&chord->owners[i].owner, id)) {
			chord->owners[i] = chord->owners[--chord->owner_count];
			return;
		}
}

void chord_check_owners(struct chord *chord) {
	struct chord_range now[CHORD_REPLICAS], news[CHORD_REPLICAS];
	size_t count = ranges_before_us(chord, now), news_count = 0;

	for (size_t i = 0; i < count; i++) {
		const struct chord_range *known = range_of(chord, &now[i].owner);
		struct id to = now[i].owner;
		if (known && (id_equal(&now[i].from, &known->from) || id_in_range(&now[i].from, &known->from, &now[i].owner)))
			continue; /* the range became smaller, or is the same */
		if (known)
			to = known->from;
		news[news_count++] = (struct chord_range){.owner = now[i].owner, .from = now[i].from, .to = to};
	}
	struct id copies_from = count == CHORD_REPLICAS ? now[count - 1].from : ID_NONE;
	bool copies_changed = !id_equal(&copies_from, &chord->copies_from);
	chord->copies_from = copies_from;
	memcpy(chord->owners, now, count * sizeof(now[0]));
	chord->owner_count = count;
	for (size_t i = 0; i < news_count && chord->events.owner_changed; i++)
		chord->events.owner_changed(chord->events.userdata, &news[i].owner, &news[i].from, &news[i].to);
	if (copies_changed && chord->events.copies_changed)
		chord->events.copies_changed(chord->events.userdata); /* B-10.7.3-04 */
}
