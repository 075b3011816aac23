/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connection table: which links are up, whose they are, and who is told.
 *
 * A peer has one link. A second one to the same peer replaces the first, since a restarted peer is only reached over its new link.
 * The exception are links that crossed: both sides opened one at the same time. Which of the two came up first may differ between
 * the ends, so both keep the one that the numerically larger Node-ID opened. "At the same time" means one link of each direction,
 * up within ROUTER_CROSSING_US of each other. And a link from elsewhere does not replace one whose node answers: contest.c.
 */
#include "forward/internal.h"

/* ---- the index from Node-IDs to links ---- */

static size_t peer_hash(const struct router *router, struct forward_id id) {
	unsigned __int128 product = (unsigned __int128)(id.high ^ router->peer_seed[0]) * (id.low ^ router->peer_seed[1]);

	return (size_t)((uint64_t)product ^ (uint64_t)(product >> 64)) & (router->peer_index_size - 1);
}

uint16_t connection_slot_of(const struct router *router, struct forward_id id) {
	if (router->peer_count == 0)
		return LINK_SLOT_NONE;
	for (size_t i = peer_hash(router, id);; i = (i + 1) & (router->peer_index_size - 1)) {
		uint16_t entry = router->peer_index[i];
		if (entry == 0)
			return LINK_SLOT_NONE;
		const struct forward_link *link = &router->links[entry - 1]->forward;
		if (link->id.low == id.low && link->id.high == id.high)
			return (uint16_t)(entry - 1);
	}
}

static void peer_insert(struct router *router, uint16_t slot) {
	size_t i = peer_hash(router, router->links[slot]->forward.id);

	while (router->peer_index[i] != 0)
		i = (i + 1) & (router->peer_index_size - 1);
	router->peer_index[i] = (uint16_t)(slot + 1);
	router->peer_count++;
}

static int peer_add(struct router *router, uint16_t slot) {
	size_t old_size = router->peer_index_size;

	if (2 * (router->peer_count + 1) > old_size) {
		uint16_t *old = router->peer_index;
		size_t size = old_size ? 2 * old_size : 4 * ROUTER_LINKS_FIRST;
		uint16_t *index = calloc(size, sizeof(*index));
		if (!index)
			return -ENOMEM;
		router->peer_index = index;
		router->peer_index_size = size;
		router->peer_count = 0;
		for (size_t i = 0; i < old_size; i++)
			if (old[i] != 0)
				peer_insert(router, (uint16_t)(old[i] - 1));
		free(old);
	}
	peer_insert(router, slot);
	return 0;
}

/* Moves up entries that stood behind the removed one, so that no gap cuts a probing sequence; cannot fail. */
static void peer_remove(struct router *router, uint16_t slot) {
	size_t mask = router->peer_index_size - 1, i;

	for (i = peer_hash(router, router->links[slot]->forward.id); router->peer_index[i] != slot + 1; i = (i + 1) & mask)
		;
	for (size_t j = (i + 1) & mask; router->peer_index[j] != 0; j = (j + 1) & mask) {
		size_t home = peer_hash(router, router->links[router->peer_index[j] - 1]->forward.id);
		if (((j - home) & mask) >= ((j - i) & mask)) {
			router->peer_index[i] = router->peer_index[j];
			i = j;
		}
	}
	router->peer_index[i] = 0;
	router->peer_count--;
}

static struct router_link *peer_find(const struct router *router, const struct id *peer) {
	if (peer->length != ID_LENGTH_CHORD)
		return NULL;
	uint16_t slot = connection_slot_of(router, forward_id_of(peer));
	return slot == LINK_SLOT_NONE ? NULL : router->links[slot];
}

/* ---- listeners ---- */

void router_add_listener(struct router *router, struct connection_listener *listener) {
	listener->next = NULL;
	LL_APPEND(router->listeners, listener);
}

void router_remove_listener(struct router *router, struct connection_listener *listener) {
	struct connection_listener *each;

	LL_FOREACH (router->listeners, each) {
		if (each == listener) {
			LL_DELETE(router->listeners, listener);
			return;
		}
	}
}

static void announce_up(struct router *router, const struct connection *connection) {
	struct connection_listener *listener, *next;

	LL_FOREACH_SAFE (router->listeners, listener, next)
		if (listener->up)
			listener->up(listener->userdata, connection);
}

static void announce_down(struct router *router, const struct connection *connection, enum link_reason reason) {
	struct connection_listener *listener, *next;

	LL_FOREACH_SAFE (router->listeners, listener, next)
		if (listener->down)
			listener->down(listener->userdata, connection, reason);
}

void connection_update_wanted(struct router *router, const struct id *peer) {
	const struct router_link *link = peer_find(router, peer);
	struct connection_listener *listener, *next;

	if (!link)
		return;
	uint16_t slot = link->connection.slot;
	uint64_t serial = link->serial;
	LL_FOREACH_SAFE (router->listeners, listener, next) {
		if (listener->update_wanted)
			listener->update_wanted(listener->userdata, &link->connection);
		if (!connection_is(router, slot, serial))
			return;
	}
}

/* Keeps what the forwarding decision sees in step with the connection. */
static void link_publish(const struct router *router, struct router_link *link) {
	const struct connection *connection = &link->connection;

	link->forward.flags =
		(uint8_t)((connection->up ? FORWARD_LINK_UP : 0) | (connection->update_received ? FORWARD_LINK_ROUTABLE : 0) |
			  (connection->is_client ? FORWARD_LINK_CLIENT : 0) |
			  (id_is_none(&connection->peer) ? 0 : FORWARD_LINK_BOUND) |
			  (connection->suspected ? FORWARD_LINK_SUSPECT : 0));
	if (router->mirror)
		router->mirror->link(router->mirror->userdata, &link->forward);
}

/* ---- the table ---- */

struct router_link *connection_link(const struct router *router, uint16_t slot) {
	return slot < router->link_capacity ? router->links[slot] : NULL;
}

bool connection_is(const struct router *router, uint16_t slot, uint64_t serial) {
	const struct router_link *link = connection_link(router, slot);

	return link && link->serial == serial;
}

struct certificate *connection_certificate(const struct router *router, uint16_t slot) {
	return connection_link(router, slot) ? router->transport.ops->certificate(router->transport.object, slot) : NULL;
}

const struct connection *router_connection(const struct router *router, uint16_t slot) {
	const struct router_link *link = connection_link(router, slot);

	return link ? &link->connection : NULL;
}

const struct connection *router_connection_of(const struct router *router, const struct id *peer) {
	const struct router_link *link = peer_find(router, peer);

	return link ? &link->connection : NULL;
}

const struct connection *router_connection_next(const struct router *router, size_t *position) {
	while (*position < router->link_capacity) {
		const struct router_link *link = router->links[(*position)++];
		if (link)
			return &link->connection;
	}
	return NULL;
}

void router_mark_update_received(struct router *router, const struct id *peer) {
	struct router_link *link = peer_find(router, peer);

	if (!link || link->connection.update_received)
		return;
	link->connection.update_received = true; /* B-6.5.1-01, FW-E05, Q-68 */
	link->connection.is_client = false;
	link_publish(router, link);
	routes_changed(router);
}

void router_close(struct router *router, uint16_t slot, enum link_reason reason) {
	if (connection_link(router, slot))
		router->transport.ops->close(router->transport.object, slot, reason);
}

static int table_insert(struct router *router, struct router_link *link) {
	uint16_t slot = link->connection.slot;

	if (slot >= router->link_capacity) {
		size_t capacity = router->link_capacity ? router->link_capacity : ROUTER_LINKS_FIRST;
		while (capacity <= slot)
			capacity *= 2;
		struct router_link **links = realloc(router->links, capacity * sizeof(struct router_link *));
		if (!links)
			return -ENOMEM;
		memset(links + router->link_capacity, 0, (capacity - router->link_capacity) * sizeof(struct router_link *));
		router->links = links;
		router->link_capacity = capacity;
	}
	router->links[slot] = link;
	return 0;
}

static bool links_crossed(const struct connection *older, const struct connection *newer) {
	return older->initiated != newer->initiated && newer->since_us - older->since_us < ROUTER_CROSSING_US;
}

/* Was this one opened by the larger Node-ID? Both ends come to the same answer. */
static bool crossing_won(const struct router *router, const struct connection *connection) {
	bool we_are_larger = id_compare(&router->self, &connection->peer) > 0;

	return connection->initiated == we_are_larger;
}

/* A link to be closed once the listeners know the one that stays. */
struct loser {
	uint16_t slot; /* LINK_SLOT_NONE: there is none */
	uint64_t serial;
};

static void loser_close(struct router *router, const struct loser *loser) {
	if (connection_is(router, loser->slot, loser->serial))
		router_close(router, loser->slot, LINK_CLOSED_BY_US);
}

/* Makes `link` the link of `peer`; *ret_loser is the one replaced, or `link` itself when it crossed and lost. -ENOMEM. */
static int link_bind(struct router *router, struct router_link *link, const struct id *peer, struct loser *ret_loser) {
	struct router_link *older = peer_find(router, peer);
	struct connection *connection = &link->connection;

	*ret_loser = (struct loser){.slot = LINK_SLOT_NONE};
	connection->peer = *peer;
	link->forward.id = forward_id_of(peer);
	if (older) {
		bool crossed = links_crossed(&older->connection, connection);
		const struct router_link *loser = crossed && !crossing_won(router, connection) ? link : older;
		*ret_loser = (struct loser){.slot = loser->connection.slot, .serial = loser->serial};
		if (loser == link)
			return 0;
		/* Whoever was a peer says so anew: links of one that restarted soon after its first link look as if they crossed,
		 * and relaying through a node that is not in the overlay yet would send its own Attach back to it. */
		peer_remove(router, older->connection.slot);
	}
	if (peer_add(router, connection->slot) < 0) {
		connection->peer = ID_NONE;
		return -ENOMEM;
	}
	connection->is_client = !connection->update_received;
	link_publish(router, link);
	routes_changed(router);
	return 0;
}

int connection_bind(struct router *router, uint16_t slot, const struct id *peer) {
	struct router_link *link = connection_link(router, slot);
	struct certificate *certificate = connection_certificate(router, slot);
	struct loser loser;

	if (!link || !certificate || !certificate_has_node_id(certificate, peer) || id_equal(peer, &router->self))
		return -EACCES;
	if (link->defender)
		return -EBUSY;
	if (id_equal(&link->connection.peer, peer))
		return 0;
	if (!id_is_none(&link->connection.peer))
		return -EBUSY;
	if (link_bind(router, link, peer, &loser) < 0)
		return -ENOMEM;
	uint64_t serial = link->serial;
	if (loser.serial != serial)
		announce_up(router, &link->connection);
	loser_close(router, &loser);
	if (connection_is(router, slot, serial))
		attach_link_up(router, slot);
	return 0;
}

void router_resume_link(struct router *router, const struct forward_link *former) {
	const struct router_link *link = connection_link(router, former->slot);
	struct id peer = router_id_of(&former->id);

	if (!link || !(former->flags & FORWARD_LINK_BOUND))
		return;
	if (id_is_none(&link->connection.peer))
		connection_bind(router, former->slot, &peer);
	link = connection_link(router, former->slot);
	if (link && id_equal(&link->connection.peer, &peer) && former->flags & FORWARD_LINK_ROUTABLE)
		router_mark_update_received(router, &peer);
}

/* Whose link this is, as far as it can be told now: one Node-ID in the certificate, or the one an Attach is about (FW-B11). */
static struct id link_owner(struct router *router, uint16_t slot, const struct certificate *certificate) {
	struct id expected = attach_expected(router, slot, certificate);

	if (!id_is_none(&expected) && certificate_has_node_id(certificate, &expected))
		return expected;
	return certificate->node_id_count == 1 ? certificate->node_ids[0] : ID_NONE;
}

/* A link in the table, not bound and not announced. NULL without memory. */
static struct router_link *link_new(struct router *router, uint16_t slot, bool initiated) {
	struct router_link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	*link = (struct router_link){
		.connection = {.slot = slot, .up = true, .initiated = initiated, .since_us = router->runtime->now_us},
		.forward = {.slot = slot, .generation = router->transport.ops->generation(router->transport.object, slot)},
		.serial = ++router->last_serial,
		.router = router,
		.noticed_sequence = UINT32_MAX,
	};
	link_publish(router, link);
	if (table_insert(router, link) < 0) {
		free(link);
		return NULL;
	}
	return link;
}

void connection_admit(struct router *router, uint16_t slot, const struct id *peer) {
	struct router_link *link = connection_link(router, slot);
	struct loser loser = {.slot = LINK_SLOT_NONE};

	if (!id_is_none(peer) && link_bind(router, link, peer, &loser) < 0) {
		router_close(router, slot, LINK_PROTOCOL_ERROR);
		return;
	}
	uint64_t serial = link->serial;
	if (loser.serial != serial) {
		link->announced = true;
		announce_up(router, &link->connection);
	}
	loser_close(router, &loser);
	if (connection_is(router, slot, serial))
		attach_link_up(router, slot);
}

void router_met_itself(const struct router *router, unsigned *ret_by_us, unsigned *ret_by_others) {
	*ret_by_us = router->met_itself[true];
	*ret_by_others = router->met_itself[false];
}

void connection_on_up(void *userdata, uint16_t slot, bool initiated) {
	struct router *router = userdata;
	struct transport *transport = &router->transport;

	struct certificate *certificate = transport->ops->certificate(transport->object, slot);
	struct router_link *link = certificate ? link_new(router, slot, initiated) : NULL;
	if (!link) {
		transport->ops->close(transport->object, slot, LINK_PROTOCOL_ERROR);
		return;
	}
	if (router->relay && !relay_link_up(router, link)) {
		router_close(router, slot, LINK_CLOSED_BY_US);
		return;
	}
	struct id owner = link_owner(router, slot, certificate);
	struct router_link *older = peer_find(router, &owner);
	if (id_equal(&owner, &router->self)) {
		/* A bootstrap list that names us too leads here, and another node with our Node-ID. */
		router->met_itself[initiated]++;
		router_close(router, slot, LINK_CLOSED_BY_US);
	} else if (!older || links_crossed(&older->connection, &link->connection) || !contest_begin(router, link, older)) {
		connection_admit(router, slot, &owner);
	}
}

void connection_on_down(void *userdata, uint16_t slot, enum link_reason reason) {
	struct router *router = userdata;
	struct router_link *link = connection_link(router, slot);

	if (!link) {
		/* A connect() that came to nothing: ours for an Attach, or one of the node object. */
		struct connection failed = {.slot = slot, .initiated = true, .since_us = router->runtime->now_us};
		if (!attach_link_down(router, slot))
			announce_down(router, &failed, reason);
		return;
	}
	if (peer_find(router, &link->connection.peer) == link)
		peer_remove(router, slot);
	contest_link_down(router, link);
	router->links[slot] = NULL;
	link->connection.up = false;
	routes_changed(router);
	reassembly_link_down(router->reassembly, slot);
	attach_link_down(router, slot);
	if (!link->announced)
		link->connection.peer = ID_NONE;
	if (link->announced || link->connection.initiated) /* who opened it waits for the outcome */
		announce_down(router, &link->connection, reason);
	free(link);
}

void connection_on_suspect(void *userdata, uint16_t slot, bool suspected) {
	struct router *router = userdata;
	struct router_link *link = connection_link(router, slot);
	struct connection_listener *listener, *next;

	if (!link || link->connection.suspected == suspected)
		return;
	link->connection.suspected = suspected;
	link_publish(router, link);
	routes_changed(router); /* FW-E10 */
	uint64_t serial = link->serial;
	LL_FOREACH_SAFE (router->listeners, listener, next) {
		if (listener->suspect)
			listener->suspect(listener->userdata, &link->connection);
		if (!connection_is(router, slot, serial))
			return;
	}
}

void connection_release(struct router *router) {
	for (size_t i = 0; i < router->link_capacity; i++) {
		if (router->links[i] && router->links[i]->challenger)
			timer_disarm(router->runtime, &router->links[i]->contest);
		free(router->links[i]);
	}
	free(router->links);
	free(router->peer_index);
}
