/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"
#include "node/discovery.h"
#include "node/join_internal.h"

#include <errno.h>
#include <ifaddrs.h>
#include <string.h>

/* ---- candidates ---- */

static bool is_interface_address(const struct address *address) {
	struct ifaddrs *interfaces = NULL;
	bool found = false;

	if (getifaddrs(&interfaces) < 0)
		return false;
	for (const struct ifaddrs *i = interfaces; i && !found; i = i->ifa_next) {
		if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
			continue;
		struct address candidate = address_of_sockaddr(i->ifa_addr);
		candidate.port = address->port;
		found = address_same(&candidate, address);
	}
	freeifaddrs(interfaces);
	return found;
}

/* Is this the address of one of our own sockets, or one that leads to it? */
bool join_is_own_address(const struct join *join, const struct address *address) {
	static const uint8_t any[sizeof(address->octets)] = {0};
	const struct settings *settings = join->node->settings;

	for (size_t i = 0; i < settings->announce_count; i++)
		if (address_same(&settings->announce[i], address))
			return true;
	for (size_t i = 0; i < settings->listen_count; i++) {
		const struct address *listen = &settings->listen[i];
		if (listen->family != address->family || listen->port != address->port)
			continue;
		if (memcmp(listen->octets, any, sizeof(any)) == 0 ? is_interface_address(address) : address_same(listen, address))
			return true;
	}
	return false;
}

static void add(struct join *join, enum bootstrap_source source, const struct address *address) {
	if (peer_address_usable(address) && !join_is_own_address(join, address))
		bootstrap_add(&join->race, source, address);
}

static void add_known(struct join *join, const struct address *address) {
	add(join, BOOTSTRAP_CACHED, address);
}

/* Whoever opened a link to us may be in the overlay by now. */
static void add_linked(struct join *join) {
	struct transport *transport = router_transport(join->node->router);
	const struct connection *connection;
	size_t position = 0;

	while ((connection = router_connection_next(join->node->router, &position))) {
		struct address address = transport->ops->address(transport->object, connection->slot);
		if (connection->up && !connection->suspected)
			add(join, BOOTSTRAP_LINKED, &address);
	}
}

static void add_configured(struct join *join) {
	const struct settings *settings = join->node->settings;
	const struct overlay_config *config = router_config(join->node->router);

	for (size_t i = 0; i < settings->bootstrap_count; i++)
		add(join, BOOTSTRAP_SETTINGS, &settings->bootstrap[i]);
	/* Not all begin with the same. */
	size_t start = config->bootstrap_count ? runtime_random_below(&join->node->runtime, config->bootstrap_count) : 0;
	for (size_t i = 0; i < config->bootstrap_count; i++)
		add(join, BOOTSTRAP_DOCUMENT, &config->bootstrap[(start + i) % config->bootstrap_count]);
	for (size_t i = 0; i < settings->bootstrap_server_count; i++)
		add(join, BOOTSTRAP_SERVER, &settings->bootstrap_server[i]);
}

void join_found(struct join *join, enum bootstrap_source source, const struct address *address) {
	if (join->searching)
		add(join, source, address);
}

/* ---- what the race needs ---- */

static uint16_t connected_slot(const struct join *join, const struct address *address) {
	struct transport *transport = router_transport(join->node->router);
	const struct connection *connection;
	size_t position = 0;

	while ((connection = router_connection_next(join->node->router, &position))) {
		struct address remote = transport->ops->address(transport->object, connection->slot);
		if (connection->up && address_same(&remote, address)) /* one link is enough, whatever it runs over */
			return connection->slot;
	}
	return LINK_SLOT_NONE;
}

int join_connect(struct join *join, const struct address *address, uint16_t *ret_slot) {
	struct transport *transport = router_transport(join->node->router);
	uint16_t slot = connected_slot(join, address);

	/* UDP and, for networks that block it, TCP; where TCP did it the last time it comes first. */
	struct address both[] = {*address, *address};
	both[0].protocol = address->protocol;
	both[1].protocol = address->protocol == IPPROTO_TCP ? 0 : IPPROTO_TCP;
	if (slot == LINK_SLOT_NONE)
		return transport->ops->connect(transport->object, both, ARRAY_LENGTH(both), NULL, ret_slot);
	*ret_slot = slot;
	return -EISCONN;
}

static int on_connect(void *userdata, const struct address *address, uint16_t *ret_slot) {
	return join_connect(userdata, address, ret_slot);
}

static void on_close(void *userdata, uint16_t slot) {
	struct join *join = userdata;
	struct transport *transport = router_transport(join->node->router);

	/* It never came up, so the router does not know it. */
	transport->ops->close(transport->object, slot, LINK_CLOSED_BY_US);
}

static const char *error_text(int error) {
	switch (error) {
	case -ENOBUFS:
		return "all links are taken";
	case -EAFNOSUPPORT:
		return "no socket of its address family";
	case -ENOMEM:
		return "not enough memory";
	default:
		return "it cannot be contacted";
	}
}

static void on_won(void *userdata, const struct bootstrap_candidate *candidate) {
	struct join *join = userdata;
	char text[ADDRESS_TEXT_SIZE];

	join->winner = *candidate;
	log_info("The overlay answers through %s (%s).", address_format(&candidate->address, text),
		 bootstrap_source_text(candidate->source));
	join->node->topology->ops->join(join->node->topology, candidate->slot);
}

/* ---- rounds ---- */

static void search_pause(struct join *join) {
	struct runtime *runtime = &join->node->runtime;
	uint64_t pause_us = join->pause_ms * USEC_PER_MSEC;

	timer_arm_after(runtime, &join->retry, pause_us / 2 + runtime_random_below(runtime, pause_us));
	join->pause_ms = join->pause_ms * 2 < JOIN_PAUSE_MAX_MS ? join->pause_ms * 2 : JOIN_PAUSE_MAX_MS;
}

static void round_begin(struct join *join) {
	join->rounds++;
	bootstrap_begin(&join->race, join->node->discovery ? JOIN_DISCOVERY_MS : 0);
	add_linked(join);
	reunion_known(join, add_known);
	add_configured(join);
	discovery_search(join->node->discovery, true);
}

static void search_begin(struct join *join) {
	join->searching = true;
	join->entered = join->restarted = false;
	join->rounds = 0;
	join->search_since_us = join->node->runtime.now_us;
	join->pause_ms = JOIN_PAUSE_FIRST_MS;
}

/*
 * Nobody we know is in the overlay, and some of them were members as we were: it stopped as a whole, or this part of it is cut off.
 * Of those that see each other the one with the smallest Node-ID begins the ring anew and the others join it; where two begin, the
 * partition check merges them (B-10.7.4-04). Alone nobody begins: B-4.5.2-01 leaves that to the explicitly first node.
 */
static bool may_restart(const struct join *join) {
	const struct node *node = join->node;
	size_t others = 0;

	if (!join->member || node->settings->client || join->rounds < JOIN_RESTART_ROUNDS)
		return false;
	for (size_t i = 0; i < join->race.count; i++) {
		const struct bootstrap_candidate *candidate = &join->race.candidates[i];
		if (candidate->state == BOOTSTRAP_SILENT && join->rounds < JOIN_SILENT_ROUNDS)
			return false; /* it may be in the ring, and its answers were lost */
		if (candidate->state != BOOTSTRAP_OUTSIDE)
			continue;
		const struct connection *connection = router_connection(node->router, candidate->slot);
		if (!connection || id_is_none(&connection->peer))
			continue;
		if (id_compare(&connection->peer, router_node_id(node->router)) < 0)
			return false;
		others++;
	}
	return others > 0;
}

static void log_round(const struct join *join) {
	char text[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < join->race.count; i++) {
		const struct bootstrap_candidate *candidate = &join->race.candidates[i];
		log_info("Round %u: %s (%s): %s%s%s.", join->rounds, address_format(&candidate->address, text),
			 bootstrap_source_text(candidate->source), bootstrap_state_text(candidate->state),
			 candidate->state == BOOTSTRAP_FAILED && candidate->why ? ": " : "",
			 candidate->state == BOOTSTRAP_FAILED && candidate->why ? candidate->why : "");
	}
}

static void on_over(void *userdata) {
	struct join *join = userdata;
	struct node *node = join->node;
	const char *overlay = router_config(node->router)->overlay_name;

	log_round(join);
	if (node->settings->first_node) {
		log_notice("Nobody else is there: starting overlay %s as its first node.", overlay);
		node->topology->ops->start(node->topology);
		return;
	}
	if (may_restart(join)) {
		log_notice("All peers that answer are looking for overlay %s themselves: beginning its ring anew.", overlay);
		join->restarted = true;
		node->topology->ops->restart(node->topology);
		return;
	}
	if (join->race.count == 0)
		log_error("No bootstrap node is known. Name one with bootstrap = in [links], or set first-node = yes on the very "
			  "first node.");
	else
		log_warning("None of %zu bootstrap nodes let us in; trying again.", join->race.count);
	search_pause(join);
}

static void on_retry(struct timer *timer, void *userdata) {
	struct join *join = userdata;

	(void)timer;
	if (join->node->leaving || join->node->state == TOPOLOGY_JOINED)
		return;
	if (!join->searching)
		search_begin(join);
	round_begin(join);
}

/* ---- links ---- */

static void on_up(void *userdata, const struct connection *connection) {
	struct join *join = userdata;
	struct runtime *runtime = &join->node->runtime;
	uint64_t soon_us = runtime->now_us + JOIN_PAUSE_FIRST_MS * USEC_PER_MSEC;

	reunion_up(join, connection);
	if (connection->initiated)
		bootstrap_up(&join->race, connection->slot);
	/* Somebody found us in the pause between two rounds: that is worth a look soon. */
	else if (join->retry.armed && join->retry.due_us > soon_us)
		timer_arm(runtime, &join->retry, soon_us + runtime_random_below(runtime, JOIN_PAUSE_FIRST_MS * USEC_PER_MSEC));
}

static void on_down(void *userdata, const struct connection *connection, enum link_reason reason) {
	struct join *join = userdata;

	bootstrap_down(&join->race, connection->slot, link_reason_text(reason));
	reunion_down(join, connection, reason);
}

/* ---- interface ---- */

int join_new(struct node *node, struct join **ret) {
	struct join *join = calloc(1, sizeof(*join));
	const struct bootstrap_ops ops = {.userdata = join,
					  .connect = on_connect,
					  .close = on_close,
					  .verify = join_verify,
					  .won = on_won,
					  .over = on_over,
					  .error_text = error_text};

	if (!join)
		return -ENOMEM;
	join->node = node;
	join->pause_ms = JOIN_PAUSE_FIRST_MS;
	join->listener = (struct connection_listener){.userdata = join, .up = on_up, .down = on_down};
	timer_init(&join->retry, on_retry, join);
	bootstrap_init(&join->race, &node->runtime, &ops);
	reunion_init(join);
	router_add_listener(node->router, &join->listener);
	*ret = join;
	return 0;
}

struct join *join_free(struct join *join) {
	if (!join)
		return NULL;
	router_remove_listener(join->node->router, &join->listener);
	timer_disarm(&join->node->runtime, &join->retry);
	bootstrap_release(&join->race);
	reunion_release(join);
	free(join);
	return NULL;
}

void join_start(struct join *join) {
	reunion_load(join);
	search_begin(join);
	round_begin(join);
}

static void joined(struct join *join) {
	char text[ADDRESS_TEXT_SIZE];

	timer_disarm(&join->node->runtime, &join->retry);
	if (join->searching) {
		join->search_us = join->node->runtime.now_us - join->search_since_us;
		/* The first node and whoever begins the ring anew come in through nobody, and so does one whose links came back. */
		join->entered = join->race.running && join->race.paused;
		if (join->entered)
			log_notice("Joined through %s (%s), %u ms after the search began, in round %u.",
				   address_format(&join->winner.address, text), bootstrap_source_text(join->winner.source),
				   (unsigned)(join->search_us / USEC_PER_MSEC), join->rounds);
	}
	join->searching = false;
	join->member = true;
	bootstrap_end(&join->race);
	discovery_search(join->node->discovery, false);
	discovery_announce(join->node->discovery, !join->node->settings->client || join->node->settings->relay);
	reunion_joined(join);
}

void join_state_changed(struct join *join, enum topology_state state) {
	if (state == TOPOLOGY_JOINED) {
		joined(join);
		return;
	}
	if (state != TOPOLOGY_OFFLINE || join->node->leaving)
		return;
	discovery_announce(join->node->discovery, false);
	reunion_offline(join);
	/* A peer that would not let us in is followed by the next one (B-11.4-01); a ring that was lost is looked for anew. */
	if (join->searching && join->race.running)
		bootstrap_resume(&join->race);
	else
		search_pause(join);
}

void join_leaving(struct join *join) {
	timer_disarm(&join->node->runtime, &join->retry);
	join->searching = false;
	bootstrap_end(&join->race);
	discovery_search(join->node->discovery, false);
	discovery_announce(join->node->discovery, false);
	reunion_leaving(join);
}

void join_bootstrap_wanted(struct join *join) {
	if (join->searching || join->node->leaving)
		return;
	log_warning("No neighbor is left; looking for the overlay through bootstrap nodes.");
	join->pause_ms = JOIN_PAUSE_FIRST_MS;
	search_begin(join);
	search_pause(join);
}

void join_report(const struct join *join, struct join_report *ret) {
	*ret = (struct join_report){
		.searching = join->searching,
		.entered = join->entered,
		.restarted = join->restarted,
		.rounds = join->rounds,
		.source = join->winner.source,
		.address = join->winner.address,
		.took_us = join->winner.took_us,
		.search_us = join->search_us,
		.cached = join->cached_count,
		.lost = join->lost.count,
		.race = &join->race,
	};
}
