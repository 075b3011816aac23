/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/join.h"

#include "base/log.h"

#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <string.h>

enum {
	CANDIDATES_MAX = CONFIG_BOOTSTRAP_MAX + SETTINGS_BOOTSTRAP_MAX + PEER_CACHE_MAX,
	PAUSE_FIRST_MS = 500,
	PAUSE_MAX_MS = 30000,
	CACHE_DELAY_S = 10,
};

enum join_goal { GOAL_NONE, GOAL_JOIN, GOAL_PARTITION_CHECK };

struct join {
	struct node *node;
	struct connection_listener listener;
	struct timer retry, cache, partition;
	struct address candidates[CANDIDATES_MAX];
	size_t candidate_count, candidate;
	enum join_goal goal;
	uint16_t pending_slot; /* link being opened for the goal */
	uint32_t pause_ms;
	bool cache_wanted;
};

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
		found = address_equal(&candidate, address);
	}
	freeifaddrs(interfaces);
	return found;
}

/* Is this the address of one of our own sockets, or one that leads to it? */
static bool is_own_address(const struct join *join, const struct address *address) {
	static const uint8_t any[sizeof(address->octets)] = {0};
	const struct settings *settings = join->node->settings;

	for (size_t i = 0; i < settings->announce_count; i++)
		if (address_equal(&settings->announce[i], address))
			return true;
	for (size_t i = 0; i < settings->listen_count; i++) {
		const struct address *listen = &settings->listen[i];
		if (listen->family != address->family || listen->port != address->port)
			continue;
		if (memcmp(listen->octets, any, sizeof(any)) == 0 ? is_interface_address(address) : address_equal(listen, address))
			return true;
	}
	return false;
}

static void add_candidate(struct join *join, const struct address *address) {
	for (size_t i = 0; i < join->candidate_count; i++)
		if (address_equal(&join->candidates[i], address))
			return;
	if (join->candidate_count < CANDIDATES_MAX && !is_own_address(join, address))
		join->candidates[join->candidate_count++] = *address;
}

static void cache_path(const struct join *join, char path[static PATH_MAX]) {
	snprintf(path, PATH_MAX, "%s/peers", join->node->settings->state_directory);
}

static void add_cached(struct join *join) {
	char path[PATH_MAX], line[ADDRESS_TEXT_SIZE + 2];
	struct address address;

	cache_path(join, path);
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	for (size_t lines = 0; file && lines < PEER_CACHE_MAX && fgets(line, sizeof(line), file); lines++) {
		line[strcspn(line, "\n")] = 0;
		if (address_parse(line, RELOAD_PORT, &address) == 0)
			add_candidate(join, &address);
	}
}

/* Cached peers first, then what the operator named, then the document's bootstrap nodes. */
static void collect_candidates(struct join *join) {
	const struct settings *settings = join->node->settings;
	const struct overlay_config *config = router_config(join->node->router);

	join->candidate_count = join->candidate = 0;
	add_cached(join);
	for (size_t i = 0; i < settings->bootstrap_count; i++)
		add_candidate(join, &settings->bootstrap[i]);
	size_t start = config->bootstrap_count ? runtime_random_below(&join->node->runtime, config->bootstrap_count) : 0;
	for (size_t i = 0; i < config->bootstrap_count; i++)
		add_candidate(join, &config->bootstrap[(start + i) % config->bootstrap_count]);
}

/* ---- peer cache ---- */

static void cache_write(struct timer *timer, void *userdata) {
	struct join *join = userdata;
	char path[PATH_MAX], temporary[PATH_MAX + 8], text[ADDRESS_TEXT_SIZE];
	const struct connection *connection;
	struct transport *transport = router_transport(join->node->router);
	size_t position = 0, count = 0;

	(void)timer;
	join->cache_wanted = false;
	cache_path(join, path);
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	FILE *file = fopen(temporary, "we");
	if (!file) {
		log_warning("The peer cache %s cannot be written: %s.", path, strerror(errno));
		return;
	}
	while (count < PEER_CACHE_MAX && (connection = router_connection_next(join->node->router, &position))) {
		if (!connection->up || !connection->update_received)
			continue;
		struct address address = transport->ops->address(transport->object, connection->slot);
		fprintf(file, "%s\n", address_format(&address, text));
		count++;
	}
	bool written = fclose(file) == 0;
	/* An isolated node keeps what it knew: those addresses are its way back. */
	if (!written || count == 0 || rename(temporary, path) < 0)
		unlink(temporary);
}

static void cache_later(struct join *join) {
	if (join->cache_wanted || join->node->leaving)
		return;
	join->cache_wanted = true;
	timer_arm_after(&join->node->runtime, &join->cache, CACHE_DELAY_S * USEC_PER_SEC);
}

/* ---- joining ---- */

static void join_next(struct join *join);

static void join_pause(struct join *join) {
	struct runtime *runtime = &join->node->runtime;
	uint64_t pause_us = join->pause_ms * USEC_PER_MSEC;

	join->pending_slot = LINK_SLOT_NONE;
	timer_arm_after(runtime, &join->retry, pause_us / 2 + runtime_random_below(runtime, pause_us));
	join->pause_ms = join->pause_ms * 2 < PAUSE_MAX_MS ? join->pause_ms * 2 : PAUSE_MAX_MS;
}

static void join_round_over(struct join *join) {
	struct node *node = join->node;
	size_t tried = join->candidate_count;

	join->candidate = join->candidate_count = 0; /* what comes next is a new round */
	if (node->settings->first_node) {
		log_notice("Nobody else is there: starting overlay %s as its first node.",
			   router_config(node->router)->overlay_name);
		join->goal = GOAL_NONE;
		node->topology->ops->start(node->topology);
		return;
	}
	if (tried == 0)
		log_error("No bootstrap node is known. Name one with bootstrap = in [links], or set first-node = yes on the very "
			  "first node.");
	else
		log_warning("None of %zu bootstrap nodes let us in; trying again.", tried);
	join_pause(join);
}

static void join_link_ready(struct join *join, uint16_t slot) {
	struct node *node = join->node;

	join->pending_slot = LINK_SLOT_NONE;
	if (join->goal == GOAL_JOIN)
		node->topology->ops->join(node->topology, slot);
	else if (join->goal == GOAL_PARTITION_CHECK)
		node->topology->ops->check_partition(node->topology, slot);
	if (join->goal == GOAL_PARTITION_CHECK)
		join->goal = GOAL_NONE;
}

static uint16_t connected_slot(const struct join *join, const struct address *address) {
	struct transport *transport = router_transport(join->node->router);
	const struct connection *connection;
	size_t position = 0;

	while ((connection = router_connection_next(join->node->router, &position))) {
		struct address remote = transport->ops->address(transport->object, connection->slot);
		if (connection->up && address_equal(&remote, address))
			return connection->slot;
	}
	return LINK_SLOT_NONE;
}

/* Tries the next candidate, or ends the round. */
static void join_next(struct join *join) {
	struct transport *transport = router_transport(join->node->router);
	char text[ADDRESS_TEXT_SIZE];

	while (join->candidate < join->candidate_count) {
		const struct address *address = &join->candidates[join->candidate++];
		uint16_t slot = connected_slot(join, address);
		if (slot != LINK_SLOT_NONE) {
			join_link_ready(join, slot);
			return;
		}
		int error = transport->ops->connect(transport->object, address, 1, NULL, &slot);
		if (error == 0) {
			log_info("Connecting to bootstrap node %s.", address_format(address, text));
			join->pending_slot = slot;
			return;
		}
		log_warning("Bootstrap node %s cannot be contacted: %s.", address_format(address, text), strerror(-error));
	}
	if (join->goal == GOAL_JOIN)
		join_round_over(join);
	else
		join->goal = GOAL_NONE;
}

static void join_begin(struct join *join) {
	join->goal = GOAL_JOIN;
	collect_candidates(join);
	join_next(join);
}

static void on_up(void *userdata, const struct connection *connection) {
	struct join *join = userdata;

	if (connection->slot == join->pending_slot && connection->initiated)
		join_link_ready(join, connection->slot);
	cache_later(join);
}

static void on_down(void *userdata, const struct connection *connection, enum link_reason reason) {
	struct join *join = userdata;

	if (connection->slot != join->pending_slot)
		return;
	log_info("Bootstrap node %zu of %zu: %s.", join->candidate, join->candidate_count, link_reason_text(reason));
	join->pending_slot = LINK_SLOT_NONE;
	/* Not from within the callback: the slot is only free when it returns. */
	timer_arm_after(&join->node->runtime, &join->retry, 0);
}

/* After a failed link, or a peer that did not let us in, the round goes on with the next candidate; then a fresh one begins. */
static void on_retry(struct timer *timer, void *userdata) {
	struct join *join = userdata;

	(void)timer;
	if (join->goal != GOAL_NONE && join->candidate > 0)
		join_next(join);
	else
		join_begin(join);
}

/* ---- partitions ---- */

static void partition_later(struct join *join) {
	struct runtime *runtime = &join->node->runtime;
	uint64_t interval_us = router_config(join->node->router)->chord_update_interval_s * USEC_PER_SEC;

	timer_arm_after(runtime, &join->partition, interval_us / 2 + runtime_random_below(runtime, interval_us + 1));
}

static void on_partition(struct timer *timer, void *userdata) {
	struct join *join = userdata;

	(void)timer;
	if (join->node->state == TOPOLOGY_JOINED && join->goal == GOAL_NONE) {
		join->goal = GOAL_PARTITION_CHECK;
		collect_candidates(join);
		if (join->candidate_count > 1)
			join->candidate = runtime_random_below(&join->node->runtime, join->candidate_count);
		join_next(join);
	}
	partition_later(join);
}

/* ---- interface ---- */

int join_new(struct node *node, struct join **ret) {
	struct join *join = calloc(1, sizeof(*join));

	if (!join)
		return -ENOMEM;
	join->node = node;
	join->pending_slot = LINK_SLOT_NONE;
	join->pause_ms = PAUSE_FIRST_MS;
	join->listener = (struct connection_listener){.userdata = join, .up = on_up, .down = on_down};
	timer_init(&join->retry, on_retry, join);
	timer_init(&join->cache, cache_write, join);
	timer_init(&join->partition, on_partition, join);
	router_add_listener(node->router, &join->listener);
	*ret = join;
	return 0;
}

struct join *join_free(struct join *join) {
	if (!join)
		return NULL;
	router_remove_listener(join->node->router, &join->listener);
	timer_disarm(&join->node->runtime, &join->retry);
	timer_disarm(&join->node->runtime, &join->cache);
	timer_disarm(&join->node->runtime, &join->partition);
	free(join);
	return NULL;
}

void join_start(struct join *join) {
	join_begin(join);
}

void join_state_changed(struct join *join, enum topology_state state) {
	if (state == TOPOLOGY_JOINED) {
		join->goal = GOAL_NONE;
		join->pause_ms = PAUSE_FIRST_MS;
		timer_disarm(&join->node->runtime, &join->retry);
		partition_later(join);
		cache_later(join);
	} else if (state == TOPOLOGY_OFFLINE && !join->node->leaving) {
		timer_disarm(&join->node->runtime, &join->partition);
		/* A peer that would not let us in is followed by the next one (B-11.4-01); a ring that was lost is looked for anew.
		 */
		if (join->goal != GOAL_JOIN)
			join->goal = GOAL_NONE;
		join_pause(join);
	}
}

void join_leaving(struct join *join) {
	struct runtime *runtime = &join->node->runtime;

	timer_disarm(runtime, &join->retry);
	timer_disarm(runtime, &join->partition);
	timer_disarm(runtime, &join->cache);
	if (join->cache_wanted)
		cache_write(&join->cache, join);
	join->goal = GOAL_NONE;
	join->pending_slot = LINK_SLOT_NONE;
}

void join_bootstrap_wanted(struct join *join) {
	if (join->goal == GOAL_JOIN || join->node->leaving)
		return;
	log_warning("No neighbor is left; looking for the overlay through bootstrap nodes.");
	join->goal = GOAL_NONE;
	join_pause(join);
}
