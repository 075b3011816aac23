/* SPDX-License-Identifier: BSD-2-Clause */
/* What the topology plug-in decides, in the form the forwarding decision takes it: own range and the table of next hops. */
#include "forward.h"
#include "forward/internal.h"

struct forward_id forward_id_of(const struct id *id) {
	struct reader r = reader_of_octets(id_octets(id));

	/* In two statements: the order within an initializer is not defined. */
	uint64_t high = reader_u64(&r);
	return (struct forward_id){.high = high, .low = reader_u64(&r)};
}

struct forward_id router_forward_id(const struct id *id) {
	return forward_id_of(id);
}

struct id router_id_of(const struct forward_id *id) {
	uint8_t octets[ID_LENGTH_CHORD];
	struct writer w = writer_fixed(octets, sizeof(octets));

	writer_u64(&w, id->high);
	writer_u64(&w, id->low);
	return id_of(OCTETS(octets, sizeof(octets)));
}

static int route_compare(const void *a, const void *b) {
	const struct forward_route *first = a, *second = b;

	return forward_id_less(&first->id, &second->id) ? -1 : forward_id_less(&second->id, &first->id);
}

/* Members without a link stay out: they are unusable until their link comes up, and then this is called again. */
void routes_changed(struct router *router) {
	const uint8_t usable = FORWARD_LINK_UP | FORWARD_LINK_ROUTABLE | FORWARD_LINK_BOUND;
	size_t count = 0, suspects = 0, good = 0;

	for (size_t i = 0; i < router->route_count; i++) {
		struct forward_id id = forward_id_of(&router->routes[i]);
		uint16_t slot = connection_slot_of(router, id);
		if (slot == LINK_SLOT_NONE)
			continue;
		router->table[count++] = (struct forward_route){.id = id, .slot = slot};
		uint8_t flags = router->links[slot]->forward.flags;
		if ((flags & usable) != usable || flags & FORWARD_LINK_CLIENT) /* FW-E05 */
			continue;
		if (flags & FORWARD_LINK_SUSPECT)
			suspects++;
		else
			good++;
	}
	if (count > 1)
		qsort(router->table, count, sizeof(*router->table), route_compare);
	router->node.route_count = (uint32_t)count;
	router->only_suspects = good == 0 && suspects > 0;
	routes_mirror(router);
}

void routes_mirror(const struct router *router) {
	if (router->mirror)
		router->mirror->tables(router->mirror->userdata, &router->node, router->table, router->only_suspects);
}

void router_set_mirror(struct router *router, const struct router_mirror *mirror) {
	router->mirror = mirror;
	routes_mirror(router);
}

int router_set_routes(struct router *router, const struct id *ids, size_t count) {
	if (count > LAYOUT_ROUTES_MAX)
		count = LAYOUT_ROUTES_MAX;
	struct id *routes = malloc((count ? count : 1) * sizeof(*routes));
	struct forward_route *table = malloc((count ? count : 1) * sizeof(*table));
	if (!routes || !table) {
		free(routes);
		free(table);
		return -ENOMEM;
	}
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (ids[i].length == router->self.length && !id_equal(&ids[i], &router->self))
			routes[kept++] = ids[i];
	free(router->routes);
	free(router->table);
	router->routes = routes;
	router->route_count = kept;
	router->table = table;
	routes_changed(router);
	return 0;
}

void router_set_range(struct router *router, const struct id *predecessor, bool joined) {
	router->predecessor = predecessor && predecessor->length == router->self.length ? *predecessor : ID_NONE;
	router->node.flags &= (uint16_t) ~(FORWARD_NODE_JOINED | FORWARD_NODE_HAS_PREDECESSOR);
	if (joined && !router->client)
		router->node.flags |= FORWARD_NODE_JOINED; /* FW-D14 */
	if (!id_is_none(&router->predecessor)) {
		router->node.flags |= FORWARD_NODE_HAS_PREDECESSOR;
		router->node.predecessor = forward_id_of(&router->predecessor);
	}
	routes_mirror(router);
}

bool router_responsible(const struct router *router, const struct id *point) {
	if (point->length != router->self.length)
		return false;
	struct forward_id id = forward_id_of(point);
	return forward_responsible(&router->node, &id);
}

bool router_joined(const struct router *router) {
	return router->node.flags & FORWARD_NODE_JOINED;
}

/*
 * In Chord a resource belongs to the first peer clockwise from it, so "closer" is the shorter way clockwise from the resource to
 * the peer. A neighbor that does not acknowledge, or never sent an Update, proves nothing about who is responsible; our predecessor
 * counts as the topology plug-in vouches for it.
 */
bool routes_close_enough(const struct router *router, const struct id *resource, const struct id *responder) {
	const uint8_t usable = FORWARD_LINK_UP | FORWARD_LINK_ROUTABLE | FORWARD_LINK_BOUND;

	if (resource->length != router->self.length || responder->length != router->self.length)
		return true;
	struct id distance = id_subtract(responder, resource);
	if (router_joined(router) && !id_is_none(&router->predecessor)) {
		struct id neighbor = id_subtract(&router->predecessor, resource);
		if (id_compare(&neighbor, &distance) < 0)
			return false;
	}
	for (size_t i = 0; i < router->route_count; i++) {
		uint16_t slot = connection_slot_of(router, forward_id_of(&router->routes[i]));
		if (slot == LINK_SLOT_NONE)
			continue;
		uint8_t flags = router->links[slot]->forward.flags;
		if ((flags & (usable | FORWARD_LINK_SUSPECT | FORWARD_LINK_CLIENT)) != usable)
			continue;
		struct id neighbor = id_subtract(&router->routes[i], resource);
		if (id_compare(&neighbor, &distance) < 0)
			return false;
	}
	return true;
}

int routes_init(struct router *router) {
	router->node.id = forward_id_of(&router->self);
	router_configuration_changed(router);
	return router_set_routes(router, NULL, 0);
}

void routes_release(struct router *router) {
	free(router->routes);
	free(router->table);
}
