/* SPDX-License-Identifier: BSD-2-Clause */
/* An overlay that begins as if it had been there for a day: growing to a hundred thousand nodes takes longer than what follows. */
#include "base/cleanup.h"
#include "sim/world.h"
#include "topology/chord_table.h"

#include <errno.h>

enum {
	SETTLED_AGE_S = 24 * 3600,
	REACH = CHORD_DEPTH_MAX + 1, /* peers of a side that an estimate may be made of */
};

/*
 * Neighbors on a side that the node itself will want, by the plug-in's own estimate of the size from how dense its neighbors are.
 * One link less and it has to look for neighbors, one more and it closes it in its first round of stabilization; neither is to be
 * seen in an overlay that was there for a day. 0 without memory.
 */
static size_t depth_of(struct sim_node **ring, size_t count, size_t at) {
	struct chord_table table;
	struct chord_member *member;
	size_t reach = count - 1 < 2 * REACH ? count / 2 : REACH;

	chord_table_init(&table, &ring[at]->id);
	for (size_t k = 1; k <= reach; k++) {
		const struct id *sides[] = {&ring[(at + k) % count]->id, &ring[(at + count - k) % count]->id};
		for (size_t side = 0; side < ARRAY_LENGTH(sides); side++) {
			if (chord_table_add(&table, sides[side], &member) < 0) {
				chord_table_release(&table);
				return 0;
			}
			member->ready = true;
		}
	}
	chord_table_settle_depth(&table);
	size_t depth = table.depth;
	chord_table_release(&table);
	return depth;
}

static int link_up(struct sim_node *from, struct sim_node *to) {
	if (from == to || router_connection_of(from->router, &to->id))
		return 0;
	int error = virtual_host_link(from->host, to->host);
	if (error == 0) { /* each had the other's Updates */
		router_mark_update_received(from->router, &to->id);
		router_mark_update_received(to->router, &from->id);
	}
	return error;
}

/* First node at or after `point`. */
static size_t owner_of(struct sim_node **ring, size_t count, const struct id *point) {
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (id_compare(&ring[middle]->id, point) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low % count;
}

/* self + 2^(128 - i) + something below that. */
static struct id finger_point(struct sim_world *world, const struct id *self, unsigned i) {
	struct id distance = sim_random_id(world);
	unsigned leading = i - 1; /* bits that are zero */

	for (unsigned bit = 0; bit < leading; bit++)
		distance.octets[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	distance.octets[leading / 8] |= (uint8_t)(0x80 >> leading % 8);
	return id_add(self, &distance);
}

static int link_node(struct sim_world *world, struct sim_node **ring, size_t count, size_t at) {
	size_t depth = count > 1 ? depth_of(ring, count, at) : CHORD_DEPTH_MIN;
	int error = depth > 0 ? 0 : -ENOMEM;

	for (size_t k = 1; k <= depth && k < count && error == 0; k++) {
		error = link_up(ring[at], ring[(at + k) % count]);
		if (error == 0)
			error = link_up(ring[at], ring[(at + count - k) % count]);
	}
	struct id last = ring[(at + (depth < count ? depth : count - 1)) % count]->id;
	/* From the interval of the last neighbor on there is nobody to look for: a finger there would be closed again. */
	for (unsigned i = 1; i < chord_finger_index(&ring[at]->id, &last) && error == 0; i++) {
		struct id point = finger_point(world, &ring[at]->id, i);
		error = link_up(ring[at], ring[owner_of(ring, count, &point)]);
	}
	return error;
}

int sim_settled_make(struct sim_world *world, size_t count) {
	int error = 0;
	size_t made;

	world->settling = true;
	while (world->node_count < count && error == 0)
		error = sim_node_add(world) ? 0 : -ENOMEM;
	world->settling = false;
	_cleanup_free_ struct sim_node **ring = sim_ring(world, false, &made);
	if (!ring)
		error = -ENOMEM;
	for (size_t i = 0; i < made && error == 0; i++)
		error = link_node(world, ring, made, i);
	if (error == 0)
		sim_run(world, SETTLED_AGE_S * USEC_PER_SEC);
	return error;
}

int sim_settled_resume(struct sim_node *node) {
	struct id none = ID_NONE;

	virtual_host_enter(node->host);
	bool resumed = node->topology->ops->resume(node->topology, &none);
	virtual_host_leave(node->host);
	return resumed ? 0 : -ENOMEM;
}
