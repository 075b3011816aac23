/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/clients.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct clients {
	struct router *router;
	struct runtime *runtime;
	struct connection_listener listener;
	struct timer timer;
	uint64_t closed;
};

/* The port is whatever a link that they opened came from. */
static bool is_bootstrap_node(const struct clients *clients, uint16_t slot) {
	const struct overlay_config *config = router_config(clients->router);
	const struct transport *transport = router_transport(clients->router);
	struct address address = transport->ops->address(transport->object, slot);

	for (size_t i = 0; i < config->bootstrap_count; i++)
		if (address_same_host(&config->bootstrap[i], &address))
			return true;
	return false;
}

static bool forbidden(const struct clients *clients, const struct connection *connection) {
	return connection->up && !connection->update_received && !is_bootstrap_node(clients, connection->slot);
}

static void close_client(struct clients *clients, const struct connection *connection) {
	char text[ID_TEXT_SIZE];

	clients->closed++;
	log_notice("closing link %u with %s: it has not become a peer, and this overlay permits no clients", connection->slot,
		   id_is_none(&connection->peer) ? "a node without a Node-ID" : id_format(&connection->peer, text));
	router_close(clients->router, connection->slot, LINK_NOT_PERMITTED); /* B-11.1-14 */
}

void clients_check(struct clients *clients) {
	uint64_t now_us = clients->runtime->now_us, next_us = USEC_NEVER;
	const struct connection *connection;
	size_t position = 0;

	/* Who is not in the ring itself hears no Updates. */
	if (router_config(clients->router)->clients_permitted || !router_joined(clients->router)) {
		timer_disarm(clients->runtime, &clients->timer);
		return;
	}
	while ((connection = router_connection_next(clients->router, &position))) {
		uint64_t due_us = connection->since_us + CLIENTS_GRACE_S * USEC_PER_SEC;
		if (!forbidden(clients, connection))
			continue;
		if (due_us <= now_us)
			close_client(clients, connection);
		else if (due_us < next_us)
			next_us = due_us;
	}
	if (next_us == USEC_NEVER)
		timer_disarm(clients->runtime, &clients->timer);
	else
		timer_arm(clients->runtime, &clients->timer, next_us);
}

static void on_timer(struct timer *timer, void *userdata) {
	(void)timer;
	clients_check(userdata);
}

void clients_soon(struct clients *clients) {
	if (clients)
		timer_arm(clients->runtime, &clients->timer, clients->runtime->now_us);
}

static void on_up(void *userdata, const struct connection *connection) {
	struct clients *clients = userdata;

	if (!router_config(clients->router)->clients_permitted && !connection->update_received && !clients->timer.armed)
		timer_arm(clients->runtime, &clients->timer, connection->since_us + CLIENTS_GRACE_S * USEC_PER_SEC);
}

int clients_new(struct router *router, struct clients **ret) {
	struct clients *clients = calloc(1, sizeof(*clients));

	if (!clients)
		return -ENOMEM;
	clients->router = router;
	clients->runtime = router_runtime(router);
	clients->listener = (struct connection_listener){.userdata = clients, .up = on_up};
	timer_init(&clients->timer, on_timer, clients);
	router_add_listener(router, &clients->listener);
	*ret = clients;
	return 0;
}

struct clients *clients_free(struct clients *clients) {
	if (!clients)
		return NULL;
	router_remove_listener(clients->router, &clients->listener);
	timer_disarm(clients->runtime, &clients->timer);
	free(clients);
	return NULL;
}

uint64_t clients_closed(const struct clients *clients) {
	return clients ? clients->closed : 0;
}
