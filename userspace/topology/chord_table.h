/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a CHORD-RELOAD peer knows of the ring (RFC 6940 10.1): the peers it holds links to, ordered clockwise from itself. The
 * Neighbor Table and the Finger Table are views of that one list, so that a lost entry is replaced by the best match the moment
 * it goes (B-10.7.1-01, B-10.7.2-01) and a closer peer is never forgotten (B-10.7.3-01). Pure: no network, no time, no logging.
 */
#pragma once

#include "base/id.h"

enum {
	CHORD_DEPTH_MIN = 4, /* successors, and predecessors, kept at least; the RFC asks for three (B-10.7-03) */
	CHORD_DEPTH_MAX = 16,
	CHORD_FINGERS_MAX = 128,
	CHORD_FINGERS_WANTED = 16, /* B-10.7.4-03 */
};

/* A peer we hold a link to. It stands in the tables while it is usable. */
struct chord_member {
	struct id id;
	bool ready;	/* it sent an Update over this link, or we admitted it: a peer of the ring (B-6.5.1-01, Q-68) */
	bool awaited;	/* we attached to it and its Update is on the way: nobody else is needed in its place */
	bool suspected; /* its link is suspect */
	bool left;	/* it sent a Leave */
	bool listed;	/* it told us its neighbors */
	bool ours;	/* the link was made for our use: we may close it when we need it no more */
	bool successor; /* stood in that list at the last chord_table_refresh() */
	bool predecessor;
	bool before_loss;     /* was usable when a holder of our replicas was lost last */
	bool routed;	      /* stands in the router's table */
	uint8_t silent_pings; /* liveness checks without an answer, in a row */
	uint16_t slot;
	uint64_t since_us;	   /* link */
	uint64_t update_due_us;	   /* next periodic Update to it */
	uint64_t check_due_us;	   /* no look at its liveness before this; 0: not looked at yet */
	uint64_t missing_until_us; /* it was checked because a neighbor did not list it; not again for that before this */
	uint64_t confirm_by_us;	   /* admitted: its own Update must come by then; 0: it came */
};

struct chord_table {
	struct id self;
	struct chord_member *members; /* clockwise from self */
	size_t count, capacity;
	unsigned depth;	       /* successors, and predecessors, that are neighbors */
	bool neighbor_removed; /* since the last chord_table_refresh() */
	bool routed_removed;   /* since the router was told */
};

enum chord_side { CHORD_SUCCESSORS, CHORD_PREDECESSORS };

void chord_table_init(struct chord_table *table, const struct id *self);
void chord_table_release(struct chord_table *table);

static inline bool chord_member_usable(const struct chord_member *member) {
	return member->ready && !member->suspected && !member->left; /* never NULL: NOLINT(clang-analyzer-core.NullDereference) */
}

/* Members are valid until the next add or remove. */
struct chord_member *chord_table_find(const struct chord_table *table, const struct id *id);
struct chord_member *chord_table_find_slot(const struct chord_table *table, uint16_t slot);

/* Finds or adds. Ourselves is -EINVAL (a peer never lists itself), -ENOMEM. */
int chord_table_add(struct chord_table *table, const struct id *id, struct chord_member **ret);
void chord_table_remove(struct chord_table *table, const struct id *id);

size_t chord_table_usable(const struct chord_table *table);

/* Up to `max` usable peers of one side, nearest first; `max` may exceed the depth. */
size_t chord_table_nearest(const struct chord_table *table, enum chord_side side, struct id *out, size_t max);

/* The Neighbor Table's list of one side: at most table->depth entries. */
size_t chord_table_neighbors(const struct chord_table *table, enum chord_side side, struct id out[static CHORD_DEPTH_MAX]);
bool chord_table_is_neighbor(const struct chord_table *table, const struct id *id);

/* Takes note of who the neighbors are; true when that changed since the last call. */
bool chord_table_refresh(struct chord_table *table);

/* First usable successor or predecessor; ID_NONE when there is none. */
struct id chord_table_first(const struct chord_table *table, enum chord_side side);

/* Is `point` ours: in (predecessor, self] (B-10.1-01)? Alone we own the whole ring. */
bool chord_table_owns(const struct chord_table *table, const struct id *point);

/* The usable peer or ourselves that is first at or after `point`. */
struct id chord_table_owner(const struct chord_table *table, const struct id *point);

/* Usable peers met from `point` (included) clockwise to ourselves (excluded): 0 when `point` is ours. */
size_t chord_table_between(const struct chord_table *table, const struct id *point);

/* Could `id` be among the `depth` nearest of a side, judged by usable and awaited members alone? */
bool chord_table_wants(const struct chord_table *table, const struct id *id);

/*
 * Which of `candidates` belong into the Neighbor Table when all of them are reachable: those among the `depth` nearest of a side in
 * the union of usable and awaited members and candidates. Invalid Node-IDs, ourselves, members and duplicates are left out. Returns
 * how many.
 */
size_t chord_table_select(const struct chord_table *table, const struct id *candidates, size_t count, struct id *out, size_t max);

/* i of the finger interval [self + 2^(128-i), self + 2^(129-i) - 1] that holds `id`: 1 to 128; 0 for ourselves (B-10.1-02). */
unsigned chord_finger_index(const struct id *self, const struct id *id);

/* First point of finger interval `i`. */
struct id chord_finger_start(const struct id *self, unsigned i);

/* A point of finger interval `i` chosen by `random` (16 octets). */
struct id chord_finger_point(const struct id *self, unsigned i, const uint8_t random[static 16]);

/* Valid fingers in numerically ascending order (B-10.7-01). */
size_t chord_table_fingers(const struct chord_table *table, struct id *out, size_t max);
bool chord_table_is_finger(const struct chord_table *table, const struct id *id);

/*
 * Finger intervals without a usable peer in which there may be one, ascending. Intervals that end before our last successor hold
 * nobody we do not know, so that growing the table to 16 or 128 entries costs no search (B-10.7.4-03).
 */
size_t chord_table_missing_fingers(const struct chord_table *table, unsigned *out, size_t max);

/* Peers of the overlay, ourselves included, from the density of the neighbors. */
double chord_table_size(const struct chord_table *table);

/* So many peers are likely to stand in (from, to], by the same estimate. */
double chord_table_peers_between(const struct chord_table *table, const struct id *from, const struct id *to);

/* Lets the depth follow the size: half the binary logarithm, with some inertia. Returns true when it changed. */
bool chord_table_adjust_depth(struct chord_table *table);

/* The same again until the depth stays: for a table that was filled at once. */
void chord_table_settle_depth(struct chord_table *table);
