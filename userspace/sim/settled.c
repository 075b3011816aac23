/* SPDX-License-Identifier: BSD-2-Clause */
/* An overlay that begins as if it had been there for a day: growing to a hundred thousand nodes takes longer than what follows. */
#include "base/cleanup.h"
#include "sim/world.h"

#include <errno.h>
#include <math.h>

enum { SETTLED_AGE_S = 24 * 3600, FINGER_BITS = 8 * ID_LENGTH_CHORD };

/* Neighbors on a side: half the binary logarithm of the size, four at least, as CHORD-RELOAD takes them, and one more for those
 * whose estimate of the size is above it. */
static size_t depth_of(size_t count) {
	size_t depth = (size_t)ceil(log2((double)count) / 2) + 1;

	return depth > 4 ? depth : 4;
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
	size_t depth = depth_of(count);
	int error = 0;

	for (size_t k = 1; k <= depth && k < count && error == 0; k++)
		error = link_up(ring[at], ring[(at + k) % count]);
	struct id last = ring[(at + (depth < count ? depth : count - 1)) % count]->id;
	for (unsigned i = 1; i <= FINGER_BITS && error == 0; i++) {
		struct id point = finger_point(world, &ring[at]->id, i);
		if (!id_between(&last, &ring[at]->id, &point))
			break; /* nobody there but neighbors */
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
