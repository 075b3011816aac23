/* SPDX-License-Identifier: BSD-2-Clause */
#include "topology/chord_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void chord_table_init(struct chord_table *table, const struct id *self) {
	*table = (struct chord_table){.self = *self, .depth = CHORD_DEPTH_MIN};
}

void chord_table_release(struct chord_table *table) {
	free(table->members);
	table->members = NULL;
	table->count = table->capacity = 0;
}

/* Is `a` met before `b` walking clockwise from `from`? */
static bool nearer(const struct id *from, const struct id *a, const struct id *b) {
	struct id distance_a = id_subtract(a, from), distance_b = id_subtract(b, from);

	return id_compare(&distance_a, &distance_b) < 0;
}

/* Index of the first member that is not before `id`. */
static size_t lower_bound(const struct chord_table *table, const struct id *id) {
	size_t low = 0, high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (nearer(&table->self, &table->members[middle].id, id))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct chord_member *chord_table_find(const struct chord_table *table, const struct id *id) {
	size_t i = lower_bound(table, id);

	return i < table->count && id_equal(&table->members[i].id, id) ? &table->members[i] : NULL;
}

struct chord_member *chord_table_find_slot(const struct chord_table *table, uint16_t slot) {
	for (size_t i = 0; i < table->count; i++)
		if (table->members[i].slot == slot)
			return &table->members[i];
	return NULL;
}

int chord_table_add(struct chord_table *table, const struct id *id, struct chord_member **ret) {
	size_t i = lower_bound(table, id);

	if (id->length != table->self.length || id_equal(id, &table->self)) /* B-10.7.3-02 */
		return -EINVAL;
	if (i == table->count || !id_equal(&table->members[i].id, id)) {
		if (table->count == table->capacity) {
			size_t capacity = table->capacity ? 2 * table->capacity : 8;
			struct chord_member *members = reallocarray(table->members, capacity, sizeof(*members));
			if (!members)
				return -ENOMEM;
			table->members = members;
			table->capacity = capacity;
		}
		memmove(&table->members[i + 1], &table->members[i], (table->count - i) * sizeof(table->members[0]));
		table->members[i] = (struct chord_member){.id = *id};
		table->count++;
	}
	*ret = &table->members[i];
	return 0;
}

void chord_table_remove(struct chord_table *table, const struct id *id) {
	struct chord_member *member = chord_table_find(table, id);

	if (!member)
		return;
	table->neighbor_removed = table->neighbor_removed || member->successor || member->predecessor;
	table->routed_removed = table->routed_removed || member->routed;
	size_t i = (size_t)(member - table->members);
	memmove(member, member + 1, (table->count - i - 1) * sizeof(*member));
	table->count--;
}

size_t chord_table_usable(const struct chord_table *table) {
	size_t usable = 0;

	for (size_t i = 0; i < table->count; i++)
		usable += chord_member_usable(&table->members[i]);
	return usable;
}

size_t chord_table_nearest(const struct chord_table *table, enum chord_side side, struct id *out, size_t max) {
	size_t found = 0;

	for (size_t i = 0; i < table->count && found < max; i++) {
		const struct chord_member *member = &table->members[side == CHORD_SUCCESSORS ? i : table->count - 1 - i];
		if (chord_member_usable(member))
			out[found++] = member->id;
	}
	return found;
}

size_t chord_table_neighbors(const struct chord_table *table, enum chord_side side, struct id out[static CHORD_DEPTH_MAX]) {
	return chord_table_nearest(table, side, out, table->depth);
}

/* How many usable members, or prospective ones too, stand nearer than `id` on a side. */
static size_t rank(const struct chord_table *table, enum chord_side side, const struct id *id, bool prospective) {
	size_t nearer_members = 0;

	for (size_t i = 0; i < table->count; i++) {
		const struct chord_member *member = &table->members[side == CHORD_SUCCESSORS ? i : table->count - 1 - i];
		if (id_equal(&member->id, id))
			break;
		if (side == CHORD_SUCCESSORS ? !nearer(&table->self, &member->id, id) : nearer(&table->self, &member->id, id))
			break;
		nearer_members +=
			chord_member_usable(member) || (prospective && member->awaited && !member->suspected && !member->left);
	}
	return nearer_members;
}

bool chord_table_is_neighbor(const struct chord_table *table, const struct id *id) {
	const struct chord_member *member = chord_table_find(table, id);

	return member && chord_member_usable(member) &&
	       (rank(table, CHORD_SUCCESSORS, id, false) < table->depth ||
		rank(table, CHORD_PREDECESSORS, id, false) < table->depth);
}

bool chord_table_refresh(struct chord_table *table) {
	size_t usable = chord_table_usable(table), before = 0;
	bool changed = table->neighbor_removed;

	for (size_t i = 0; i < table->count; i++) {
		struct chord_member *member = &table->members[i];
		bool is_usable = chord_member_usable(member);
		bool successor = is_usable && before < table->depth;
		bool predecessor = is_usable && usable - before - 1 < table->depth;
		changed = changed || successor != member->successor || predecessor != member->predecessor;
		member->successor = successor;
		member->predecessor = predecessor;
		before += is_usable;
	}
	table->neighbor_removed = false;
	return changed;
}

struct id chord_table_first(const struct chord_table *table, enum chord_side side) {
	struct id first = ID_NONE;

	chord_table_nearest(table, side, &first, 1);
	return first;
}

bool chord_table_owns(const struct chord_table *table, const struct id *point) {
	struct id predecessor = chord_table_first(table, CHORD_PREDECESSORS);

	return id_is_none(&predecessor) || id_in_range(point, &predecessor, &table->self); /* B-10.1-01 */
}

struct id chord_table_owner(const struct chord_table *table, const struct id *point) {
	if (chord_table_owns(table, point))
		return table->self;
	for (size_t i = lower_bound(table, point); i < table->count; i++)
		if (chord_member_usable(&table->members[i]))
			return table->members[i].id;
	return table->self;
}

size_t chord_table_between(const struct chord_table *table, const struct id *point) {
	size_t between = 0;

	if (id_equal(point, &table->self))
		return 0;
	for (size_t i = lower_bound(table, point); i < table->count; i++)
		between += chord_member_usable(&table->members[i]);
	return between;
}

static bool plausible(const struct chord_table *table, const struct id *id) {
	return id->length == table->self.length && !id_equal(id, &table->self) && !id_is_zero(id) && !id_is_wildcard(id);
}

bool chord_table_wants(const struct chord_table *table, const struct id *id) {
	return plausible(table, id) &&
	       (rank(table, CHORD_SUCCESSORS, id, true) < table->depth || rank(table, CHORD_PREDECESSORS, id, true) < table->depth);
}

/* Appends unless already there. */
static size_t append_once(struct id *ids, size_t count, const struct id *id) {
	if (id_is_among(id, ids, count))
		return count;
	ids[count] = *id;
	return count + 1;
}

size_t chord_table_select(const struct chord_table *table, const struct id *candidates, size_t count, struct id *out, size_t max) {
	size_t wanted = 0, selected = 0;
	struct id *pool = calloc(count ? count : 1, sizeof(*pool));

	if (!pool)
		return 0; /* the next Update names them again */
	for (size_t i = 0; i < count; i++)
		if (!chord_table_find(table, &candidates[i]) && chord_table_wants(table, &candidates[i]))
			wanted = append_once(pool, wanted, &candidates[i]);

	for (size_t i = 0; i < wanted && selected < max; i++) {
		size_t after = rank(table, CHORD_SUCCESSORS, &pool[i], true),
		       before = rank(table, CHORD_PREDECESSORS, &pool[i], true);
		for (size_t k = 0; k < wanted; k++) {
			if (k == i)
				continue;
			if (nearer(&table->self, &pool[k], &pool[i]))
				after++;
			else
				before++;
		}
		if (after < table->depth || before < table->depth)
			out[selected++] = pool[i];
	}
	free(pool);
	return selected;
}

unsigned chord_finger_index(const struct id *self, const struct id *id) {
	struct id distance = id_subtract(id, self);

	for (unsigned i = 0; i < distance.length; i++)
		if (distance.octets[i])
			return 8 * i + (unsigned)__builtin_clz(distance.octets[i]) - 24 + 1;
	return 0;
}

struct id chord_finger_start(const struct id *self, unsigned i) {
	struct id offset = id_power_of_two(self->length, 8u * self->length - i); /* B-10.5-11: i counts from 1 */

	return id_add(self, &offset);
}

struct id chord_finger_point(const struct id *self, unsigned i, const uint8_t random[static 16]) {
	unsigned exponent = 8u * self->length - i;
	struct id offset = {.length = self->length};

	/* The low `exponent` bits are free, the bit above them is set (B-10.7.4-02). */
	for (unsigned octet = 0; octet < self->length && octet < 16; octet++) {
		unsigned lowest = 8u * (self->length - 1 - octet); /* exponent of the octet's lowest bit */
		if (exponent >= lowest + 8)
			offset.octets[octet] = random[octet];
		else if (exponent > lowest)
			offset.octets[octet] = (uint8_t)(random[octet] & ((1u << (exponent - lowest)) - 1));
	}
	offset.octets[self->length - 1 - exponent / 8] |= (uint8_t)(1u << exponent % 8);
	return id_add(self, &offset);
}

static int compare_ids(const void *a, const void *b) {
	return id_compare(a, b);
}

/*
 * The finger of the interval that begins with member *i; *i moves on to the next interval. Of several peers the first one whose
 * link is ours is taken: other links may be closed by those who made them. NULL when no member of the interval is usable.
 */
static const struct chord_member *next_finger(const struct chord_table *table, size_t *i) {
	unsigned index = chord_finger_index(&table->self, &table->members[*i].id);
	const struct chord_member *finger = NULL;

	for (; *i < table->count && chord_finger_index(&table->self, &table->members[*i].id) == index; (*i)++) {
		const struct chord_member *member = &table->members[*i];
		if (chord_member_usable(member) && (!finger || (member->ours && !finger->ours)))
			finger = member;
	}
	return finger;
}

size_t chord_table_fingers(const struct chord_table *table, struct id *out, size_t max) {
	size_t found = 0;

	for (size_t i = 0; i < table->count && found < max;) {
		const struct chord_member *finger = next_finger(table, &i);
		if (finger)
			out[found++] = finger->id;
	}
	qsort(out, found, sizeof(*out), compare_ids);
	return found;
}

bool chord_table_is_finger(const struct chord_table *table, const struct id *id) {
	for (size_t i = 0; i < table->count;) {
		const struct chord_member *finger = next_finger(table, &i);
		if (finger && id_equal(&finger->id, id))
			return true;
	}
	return false;
}

/* Do the neighbor lists reach all around the ring? */
static bool whole_ring_known(const struct chord_table *table) {
	return chord_table_usable(table) < 2 * table->depth;
}

size_t chord_table_missing_fingers(const struct chord_table *table, unsigned *out, size_t max) {
	struct id successors[CHORD_DEPTH_MAX];
	size_t count = chord_table_neighbors(table, CHORD_SUCCESSORS, successors), found = 0;
	bool present[CHORD_FINGERS_MAX + 1] = {false};

	if (whole_ring_known(table))
		return 0;
	for (size_t i = 0; i < table->count; i++)
		if (chord_member_usable(&table->members[i]))
			present[chord_finger_index(&table->self, &table->members[i].id)] = true;

	unsigned last = chord_finger_index(&table->self, &successors[count - 1]);
	for (unsigned i = 1; i <= last && i <= CHORD_FINGERS_MAX && found < max; i++)
		if (!present[i])
			out[found++] = i;
	return found;
}

/* The distance as a fraction of the ring. */
static double fraction(const struct id *from, const struct id *to) {
	struct id distance = id_subtract(to, from);
	double value = 0, weight = 1;

	for (unsigned i = 0; i < 8 && i < distance.length; i++) {
		weight /= 256;
		value += distance.octets[i] * weight;
	}
	return value;
}

double chord_table_size(const struct chord_table *table) {
	struct id successors[CHORD_DEPTH_MAX], predecessors[CHORD_DEPTH_MAX];
	size_t after = chord_table_neighbors(table, CHORD_SUCCESSORS, successors);
	size_t before = chord_table_neighbors(table, CHORD_PREDECESSORS, predecessors);

	if (whole_ring_known(table))
		return (double)(chord_table_usable(table) + 1);
	double span = fraction(&predecessors[before - 1], &successors[after - 1]);
	/* One gap less than there are: the mean of count / span is too high when the span is what varies. */
	return span > 0 ? (double)(after + before - 1) / span : (double)(after + before + 1);
}

double chord_table_peers_between(const struct chord_table *table, const struct id *from, const struct id *to) {
	return fraction(from, to) * chord_table_size(table);
}

bool chord_table_adjust_depth(struct chord_table *table) {
	double size = chord_table_size(table);
	unsigned wanted = 0, depth = table->depth;

	while (wanted < CHORD_DEPTH_MAX && (double)(UINT64_C(1) << (2 * wanted)) < size)
		wanted++; /* smallest w with 4^w >= size */
	if (wanted < CHORD_DEPTH_MIN)
		wanted = CHORD_DEPTH_MIN;
	if (wanted > depth)
		depth = wanted;
	else if (wanted + 1 < depth)
		depth = wanted + 1;
	if (depth == table->depth)
		return false;
	table->depth = depth;
	return true;
}

/* A depth may lead to another one's estimate and that one back; one of them is as good as the other. */
void chord_table_settle_depth(struct chord_table *table) {
	for (unsigned i = 0; i < 2 * CHORD_DEPTH_MAX && chord_table_adjust_depth(table); i++)
		;
}
