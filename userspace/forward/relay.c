/* SPDX-License-Identifier: BSD-2-Clause */
#include "forward/relay.h"

#include "forward/internal.h"

/* ---- limits ---- */

static bool take(const struct router *router, uint64_t *paid_us, uint32_t burst, uint32_t per_second) {
	return rate_take(paid_us, router->runtime->now_us, USEC_PER_SEC / per_second, burst);
}

static bool is_peer(const struct router_link *link) {
	return link->connection.update_received;
}

/* What joining takes; the rest of the overlay's service is for those who are in it. Answers were asked for. */
static bool helps_joining(uint8_t class, uint16_t code) {
	if (class == FORWARD_CLASS_RESPONSE || class == FORWARD_CLASS_LATER)
		return true;
	return class == FORWARD_CLASS_REQUEST && (code == PING_REQ || code == PROBE_REQ || code == ATTACH_REQ ||
						  code == ROUTE_QUERY_REQ || code == CONFIG_UPDATE_REQ);
}

unsigned relay_admit(struct router *router, struct router_link *from, uint16_t to_slot, uint8_t class, uint16_t code) {
	struct router_link *to = connection_link(router, to_slot);
	struct relay *relay = router->relay;

	/* A joining peer asks whether another one has its Node-ID (node/twin.h), and there is none but itself. */
	if (to == from)
		return DROP_RELAY_REFUSED;
	if (!to || is_peer(from) == is_peer(to) || !helps_joining(class, code)) {
		relay->figures.refused++;
		return DROP_RELAY_REFUSED;
	}
	struct router_link *joiner = is_peer(from) ? to : from;
	if (!take(router, &joiner->relay.paid_us, RELAY_BURST, RELAY_PER_SECOND) ||
	    !take(router, &relay->paid_us, RELAY_TOTAL_BURST, RELAY_TOTAL_PER_SECOND)) {
		relay->figures.limited++;
		return DROP_RELAY_LIMIT;
	}
	joiner->relay.used_us = router->runtime->now_us;
	relay->figures.relayed++;
	return 0;
}

/* ---- links of joining peers ---- */

/* Links we opened lead to bootstrap peers, or to whoever might be one. */
static bool is_joiner(const struct router_link *link) {
	return !link->connection.initiated && !is_peer(link);
}

static size_t count_joiners(const struct router *router) {
	size_t count = 0;

	for (size_t i = 0; i < router->link_capacity; i++)
		count += router->links[i] && is_joiner(router->links[i]);
	return count;
}

static uint64_t expires_us(const struct router_link *link) {
	uint64_t used_us = link->relay.used_us > link->connection.since_us ? link->relay.used_us : link->connection.since_us;
	uint64_t idle_us = used_us + RELAY_IDLE_S * USEC_PER_SEC, age_us = link->connection.since_us + RELAY_AGE_S * USEC_PER_SEC;

	return idle_us < age_us ? idle_us : age_us;
}

static void on_expire(struct timer *timer, void *userdata) {
	struct router *router = userdata;
	uint64_t next_us = USEC_NEVER;

	(void)timer;
	/* Closing one may change the table, but not move what stands behind it. */
	for (uint16_t slot = 0; slot < router->link_capacity; slot++) {
		const struct router_link *link = router->links[slot];
		if (!link || !is_joiner(link))
			continue;
		uint64_t due_us = expires_us(link);
		if (due_us <= router->runtime->now_us) {
			router->relay->figures.links_expired++;
			router_close(router, slot, LINK_CLOSED_BY_US);
		} else if (due_us < next_us) {
			next_us = due_us;
		}
	}
	if (next_us != USEC_NEVER)
		timer_arm(router->runtime, &router->relay->timer, next_us);
}

bool relay_link_up(struct router *router, const struct router_link *link) {
	struct relay *relay = router->relay;

	if (!is_joiner(link))
		return true;
	if (count_joiners(router) > RELAY_LINKS_MAX) {
		relay->figures.links_refused++;
		return false;
	}
	if (!relay->timer.armed)
		timer_arm(router->runtime, &relay->timer, expires_us(link));
	return true;
}

/* ---- interface ---- */

void router_set_relay(struct router *router) {
	if (router->relay)
		return;
	router->relay = &router->relay_state;
	timer_init(&router->relay->timer, on_expire, router);
}

void relay_release(struct router *router) {
	if (router->relay)
		timer_disarm(router->runtime, &router->relay->timer);
}

void router_relay_figures(const struct router *router, struct relay_figures *ret) {
	*ret = router->relay_state.figures;
	if (router->relay)
		ret->links = count_joiners(router);
}
