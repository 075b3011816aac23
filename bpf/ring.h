/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The identifier ring of CHORD-RELOAD and the choice of the next hop (RFC 6940 10.3, spec/forwarding.md section 4). */
#pragma once

#include "forward_work.h"

FORWARD_INLINE int forward_id_equal(const struct forward_id *a, const struct forward_id *b) {
	return a->high == b->high && a->low == b->low;
}

FORWARD_INLINE int forward_id_less(const struct forward_id *a, const struct forward_id *b) {
	return a->high < b->high || (a->high == b->high && a->low < b->low);
}

FORWARD_INLINE int forward_id_is_wildcard(const struct forward_id *id) {
	return id->high == ~0ULL && id->low == ~0ULL;
}

/* Is `point` in (from, to]? from == to is the whole ring. */
FORWARD_INLINE int forward_id_in_range(const struct forward_id *point, const struct forward_id *from, const struct forward_id *to) {
	int above = forward_id_less(from, point), below = !forward_id_less(to, point);

	if (forward_id_less(from, to))
		return above && below;
	return forward_id_equal(from, to) || above || below;
}

/* Is `point` in (from, to)? from == to is the whole ring but that point. */
FORWARD_INLINE int forward_id_between(const struct forward_id *point, const struct forward_id *from, const struct forward_id *to) {
	if (forward_id_equal(point, to) || forward_id_equal(point, from))
		return 0;
	return forward_id_in_range(point, from, to);
}

/* N is responsible for (predecessor, N], without a predecessor for the whole ring (forwarding.md section 4). */
FORWARD_INLINE int forward_responsible(const struct forward_node *node, const struct forward_id *point) {
	if (!(node->flags & FORWARD_NODE_JOINED))
		return 0;
	if (!(node->flags & FORWARD_NODE_HAS_PREDECESSOR))
		return 1;
	return forward_id_in_range(point, &node->predecessor, &node->id);
}

/* Our compact opaque: 1ggg ssss ssss ssss, generation and slot of the previous hop's link (B-6.3.2.2-04). */
FORWARD_INLINE __u16 forward_opaque(const struct forward_link *link) {
	return (__u16)(0x8000 | (link->generation & 7) << 12 | (link->slot & 0xfff));
}

FORWARD_INLINE int forward_is_fragment(__u32 fragment) {
	return (fragment & (FORWARD_FRAGMENT_LAST | FORWARD_FRAGMENT_OFFSET)) != FORWARD_FRAGMENT_LAST;
}

enum { FORWARD_HOP_FOUND, FORWARD_HOP_NONE, FORWARD_HOP_SUSPECT };

/* May work->route relay for others? Fills work->link. */
FORWARD_INLINE int forward_route_usable(struct forward_work *work) {
	const __u8 needed = FORWARD_LINK_UP | FORWARD_LINK_ROUTABLE | FORWARD_LINK_BOUND;

	if (!forward_link_at(work, work->route.slot))
		return 0;
	if (!forward_id_equal(&work->link.id, &work->route.id)) /* the slot has a new owner */
		return 0;
	if ((work->link.flags & (needed | FORWARD_LINK_CLIENT)) != needed) /* FW-E05 */
		return 0;
	if (work->link.flags & FORWARD_LINK_SUSPECT) { /* FW-E10 */
		work->count = 1;
		return 0;
	}
	return 1;
}

/*
 * The next hop towards work->point by the rule of CHORD-RELOAD (RFC 6940 10.3): the closest usable member of the routing table in
 * (N, point), else the first one clockwise after the point. On FORWARD_HOP_FOUND work->link is its link; FORWARD_HOP_SUSPECT:
 * there are only such that do not acknowledge.
 */
FORWARD_FUNCTION int forward_next_hop(struct forward_work *work) {
	__u32 routes, index;

	if (!work)
		return FORWARD_HOP_NONE;
	routes = work->node.route_count;
	if (routes == 0 || routes > LAYOUT_ROUTES_MAX)
		return FORWARD_HOP_NONE;
	work->low = 0;
	work->high = routes;
	work->count = 0; /* becomes 1 when a suspect was passed over */
	for (int step = 0; step < FORWARD_ROUTE_STEPS; step++) {
		__u32 low = work->low, high = work->high, middle = (low + high) / 2;

		if (low >= high)
			break;
		if (!forward_route_at(work, middle))
			return FORWARD_HOP_NONE;
		if (forward_id_less(&work->route.id, &work->point))
			work->low = middle + 1;
		else
			work->high = middle;
	}
	/* work->low: the first member that is not below the point */
	for (int step = 0; step < FORWARD_TRIES_MAX; step++) {
		__u32 back = (__u32)step + 1;

		if (back > routes)
			break;
		index = work->low;
		index = index >= back ? index - back : index + routes - back;
		if (!forward_route_at(work, index))
			break;
		if (!forward_id_between(&work->route.id, &work->node.id, &work->point))
			break;
		if (forward_route_usable(work))
			return FORWARD_HOP_FOUND;
	}
	for (int step = 0; step < FORWARD_TRIES_MAX; step++) {
		if ((__u32)step >= routes)
			break;
		index = work->low + (__u32)step;
		if (index >= routes)
			index -= routes;
		if (!forward_route_at(work, index))
			break;
		if (!forward_id_equal(&work->route.id, &work->node.id) && forward_route_usable(work))
			return FORWARD_HOP_FOUND;
	}
	return work->count ? FORWARD_HOP_SUSPECT : FORWARD_HOP_NONE;
}
