/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ways back into the overlay once we are in it: the peer cache (B-11.4-02), the partition check (B-10.7.4-04), and peers that fell
 * silent, who may stand for a part of the overlay that was cut off. Each is looked for with growing pauses; one that answers is
 * reason to look for the others at once.
 */
#include "base/log.h"
#include "node/join_internal.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum {
	CACHE_DELAY_S = 10, /* changes of this time are written together */
	CHECK_FIRST_S = 15, /* from joining to the first partition check; doubles up to chord-update-interval */
	CANDIDATES_MAX = PEER_CACHE_MAX + SETTINGS_BOOTSTRAP_MAX + SETTINGS_BOOTSTRAP_SERVER_MAX + CONFIG_BOOTSTRAP_MAX,
};

static struct runtime *runtime_of(const struct join *join) {
	return &join->node->runtime;
}

/* ---- peer cache ---- */

static void cache_path(const struct join *join, char path[static PATH_MAX]) {
	snprintf(path, PATH_MAX, "%s/peers", join->node->settings->state_directory);
}

void reunion_load(struct join *join) {
	char path[PATH_MAX];
	size_t bad = 0;

	cache_path(join, path);
	int error = peer_cache_load(path, join->cached, &join->cached_count, &bad);
	if (error < 0 && error != -ENOENT)
		log_warning("The peer cache %s cannot be read: %s.", path, strerror(-error));
	if (bad > 0)
		log_warning("The peer cache %s holds %zu lines that are no peers; they are passed over.", path, bad);
	join->member = join->cached_count > 0;
}

void reunion_known(struct join *join, void (*each)(struct join *join, const struct address *address)) {
	for (size_t i = join->lost.count; i-- > 0;)
		each(join, &join->lost.entries[i].peer.address);
	for (size_t i = 0; i < join->cached_count; i++)
		each(join, &join->cached[i].address);
}

static struct cached_peer peer_of(const struct join *join, const struct connection *connection) {
	struct transport *transport = router_transport(join->node->router);
	struct address address = transport->ops->address(transport->object, connection->slot);

	/* Who opened a TCP connection did so from any port: the registered one is worth a try. */
	if (address.protocol == IPPROTO_TCP && !connection->initiated)
		address.port = RELOAD_PORT;
	return (struct cached_peer){
		.address = address,
		.id = connection->peer,
		.seen_s = runtime_realtime_ms(runtime_of(join)) / 1000,
	};
}

struct live_peer {
	struct cached_peer peer;
	bool initiated;
	uint64_t since_us;
};

/* Those we reached ourselves can be reached; those that stayed long will stay. */
static int live_compare(const void *a, const void *b) {
	const struct live_peer *first = a, *second = b;

	if (first->initiated != second->initiated)
		return first->initiated ? -1 : 1;
	return first->since_us < second->since_us ? -1 : first->since_us > second->since_us;
}

static size_t live_peers(const struct join *join, struct live_peer **ret) {
	const struct connection *connection;
	size_t position = 0, count = 0, room = 0;

	while (router_connection_next(join->node->router, &position))
		room++;
	struct live_peer *peers = calloc(room ? room : 1, sizeof(*peers));
	*ret = peers;
	if (!peers)
		return 0;
	position = 0;
	while ((connection = router_connection_next(join->node->router, &position)) && count < room) {
		if (!connection->up || !connection->update_received || connection->suspected)
			continue; /* B-11.4-02: directly connected peers, and neither clients nor bootstrap servers */
		peers[count++] = (struct live_peer){peer_of(join, connection), connection->initiated, connection->since_us};
	}
	qsort(peers, count, sizeof(*peers), live_compare);
	return count;
}

static void put(struct cached_peer *list, size_t *count, size_t max, const struct cached_peer *peer) {
	for (size_t i = 0; i < *count; i++)
		if (address_same(&list[i].address, &peer->address) || (!id_is_none(&peer->id) && id_equal(&list[i].id, &peer->id)))
			return;
	if (*count < max && peer_address_usable(&peer->address))
		list[(*count)++] = *peer;
}

/* Connected ones, then lost ones, then, while there is room, those of the file. */
static void cache_collect(struct join *join, const struct live_peer *live, size_t live_count) {
	struct cached_peer list[PEER_CACHE_MAX];
	size_t count = 0, lost = join->lost.count < PEER_CACHE_LOST ? join->lost.count : PEER_CACHE_LOST;

	for (size_t i = 0; i < live_count; i++)
		put(list, &count, PEER_CACHE_MAX - lost, &live[i].peer);
	for (size_t i = join->lost.count; i-- > 0;)
		put(list, &count, PEER_CACHE_MAX, &join->lost.entries[i].peer);
	for (size_t i = 0; i < live_count; i++)
		put(list, &count, PEER_CACHE_MAX, &live[i].peer);
	for (size_t i = 0; i < join->cached_count; i++)
		put(list, &count, PEER_CACHE_MAX, &join->cached[i]);
	memcpy(join->cached, list, count * sizeof(list[0]));
	join->cached_count = count;
}

static void cache_write(struct timer *timer, void *userdata) {
	struct join *join = userdata;
	_cleanup_free_ struct live_peer *live = NULL;
	char path[PATH_MAX];

	(void)timer;
	join->cache_wanted = false;
	size_t count = live_peers(join, &live);
	if (count == 0)
		return; /* an isolated node keeps what it knew: those addresses are its way back */
	cache_collect(join, live, count);
	cache_path(join, path);
	int error = peer_cache_save(path, join->cached, join->cached_count);
	if (error < 0)
		log_warning("The peer cache %s cannot be written: %s.", path, strerror(-error));
}

static void cache_later(struct join *join) {
	if (join->cache_wanted || join->node->leaving)
		return;
	join->cache_wanted = true;
	timer_arm_after(runtime_of(join), &join->cache, CACHE_DELAY_S * USEC_PER_SEC);
}

/* ---- links that were opened on the way ---- */

static void opened_add(struct join *join, const struct connection *connection) {
	if (join->opened_count == JOIN_OPENED_MAX)
		memmove(&join->opened[0], &join->opened[1], --join->opened_count * sizeof(join->opened[0]));
	join->opened[join->opened_count].slot = connection->slot;
	join->opened[join->opened_count++].since_us = connection->since_us;
	if (!join->tidy.armed)
		timer_arm_after(runtime_of(join), &join->tidy, JOIN_SPARE_S * USEC_PER_SEC);
}

/* Who is no peer to us by now was a stranger on the way in; else bootstrap nodes were linked to the whole overlay in the end. */
static void on_tidy(struct timer *timer, void *userdata) {
	struct join *join = userdata;
	uint64_t now_us = runtime_of(join)->now_us;
	size_t kept = 0;

	(void)timer;
	for (size_t i = 0; i < join->opened_count; i++) {
		const struct connection *connection = router_connection(join->node->router, join->opened[i].slot);
		if (!connection || !connection->up || connection->since_us != join->opened[i].since_us ||
		    connection->update_received)
			continue;
		if (join->node->state == TOPOLOGY_JOINED && now_us - connection->since_us >= JOIN_SPARE_S * USEC_PER_SEC)
			router_close(join->node->router, connection->slot, LINK_CLOSED_BY_US);
		else
			join->opened[kept++] = join->opened[i];
	}
	join->opened_count = kept;
	if (kept > 0)
		timer_arm_after(runtime_of(join), &join->tidy, JOIN_SPARE_S * USEC_PER_SEC);
}

/* ---- partitions ---- */

static void partition_arm(struct join *join) {
	uint64_t due_us = lost_peers_next(&join->lost);

	if (due_us > join->check_due_us)
		due_us = join->check_due_us;
	if (due_us < runtime_of(join)->now_us)
		due_us = runtime_of(join)->now_us;
	if (join->node->state == TOPOLOGY_JOINED)
		timer_arm(runtime_of(join), &join->partition, due_us);
}

static void check_later(struct join *join) {
	uint64_t interval_us = router_config(join->node->router)->chord_update_interval_s * USEC_PER_SEC;

	if (join->check_pause_us > interval_us)
		join->check_pause_us = interval_us;
	join->check_due_us = runtime_of(join)->now_us + join->check_pause_us / 2 +
			     runtime_random_below(runtime_of(join), join->check_pause_us + 1);
	join->check_pause_us *= 2;
}

static void check_through(struct join *join, const struct address *address) {
	struct topology *topology = join->node->topology;
	uint16_t slot = LINK_SLOT_NONE;

	int error = join_connect(join, address, &slot);
	if (error == -EISCONN)
		topology->ops->check_partition(topology, slot);
	else if (error == 0)
		join->check_slot = slot;
}

struct candidates {
	struct address addresses[CANDIDATES_MAX];
	size_t count;
};

static void candidates_add(const struct join *join, struct candidates *candidates, const struct address *addresses, size_t count) {
	for (size_t i = 0; i < count && candidates->count < CANDIDATES_MAX; i++)
		if (!join_is_own_address(join, &addresses[i]))
			candidates->addresses[candidates->count++] = addresses[i];
}

/* B-10.7.4-04: the discovery of the join once more, through any of those it began with. */
static void check_anyone(struct join *join) {
	const struct settings *settings = join->node->settings;
	const struct overlay_config *config = router_config(join->node->router);
	struct candidates candidates = {.count = 0};

	for (size_t i = 0; i < join->cached_count; i++)
		candidates_add(join, &candidates, &join->cached[i].address, 1);
	candidates_add(join, &candidates, settings->bootstrap, settings->bootstrap_count);
	candidates_add(join, &candidates, settings->bootstrap_server, settings->bootstrap_server_count);
	candidates_add(join, &candidates, config->bootstrap, config->bootstrap_count);
	if (candidates.count > 0)
		check_through(join, &candidates.addresses[runtime_random_below(runtime_of(join), candidates.count)]);
}

static void on_partition(struct timer *timer, void *userdata) {
	struct join *join = userdata;

	(void)timer;
	if (join->node->state != TOPOLOGY_JOINED)
		return;
	struct lost_peer *lost = lost_peers_due(&join->lost);
	bool busy = join->check_slot != LINK_SLOT_NONE; /* one at a time; an attempt ends by itself */
	if (lost) {
		struct address address = lost->peer.address;
		lost_peers_tried(&join->lost, lost);
		if (!busy)
			check_through(join, &address);
	} else if (join->check_due_us <= runtime_of(join)->now_us) {
		check_later(join);
		if (!busy)
			check_anyone(join);
	}
	partition_arm(join);
}

void reunion_joined(struct join *join) {
	join->check_pause_us = CHECK_FIRST_S * USEC_PER_SEC;
	check_later(join);
	partition_arm(join);
	cache_later(join);
}

void reunion_offline(struct join *join) {
	timer_disarm(runtime_of(join), &join->partition);
}

/* ---- links ---- */

void reunion_up(struct join *join, const struct connection *connection) {
	struct topology *topology = join->node->topology;
	char text[ID_TEXT_SIZE];

	if (!id_is_none(&connection->peer) && lost_peers_found(&join->lost, &connection->peer)) {
		log_info("Lost peer %s is back.", id_format(&connection->peer, text));
		partition_arm(join);
	}
	if (connection->initiated && (join->searching || connection->slot == join->check_slot))
		opened_add(join, connection);
	if (connection->slot == join->check_slot && connection->initiated) {
		join->check_slot = LINK_SLOT_NONE;
		if (join->node->state == TOPOLOGY_JOINED)
			topology->ops->check_partition(topology, connection->slot);
	}
	cache_later(join);
}

void reunion_down(struct join *join, const struct connection *connection, enum link_reason reason) {
	const struct connection *other =
		id_is_none(&connection->peer) ? NULL : router_connection_of(join->node->router, &connection->peer);

	if (connection->slot == join->check_slot)
		join->check_slot = LINK_SLOT_NONE;
	/* Whoever says good-bye is not lost, and who is still connected over another link is not either. */
	if (!connection->up || !connection->update_received || (reason != LINK_TIMED_OUT && reason != LINK_UNREACHABLE) ||
	    (other && other->slot != connection->slot) || join->node->leaving)
		return;
	struct cached_peer peer = peer_of(join, connection);
	lost_peers_add(&join->lost, &peer);
	partition_arm(join);
	cache_later(join);
}

/* ---- life cycle ---- */

void reunion_init(struct join *join) {
	join->check_slot = LINK_SLOT_NONE;
	join->check_due_us = USEC_NEVER;
	join->lost.runtime = runtime_of(join);
	timer_init(&join->cache, cache_write, join);
	timer_init(&join->partition, on_partition, join);
	timer_init(&join->tidy, on_tidy, join);
}

void reunion_release(struct join *join) {
	timer_disarm(runtime_of(join), &join->cache);
	timer_disarm(runtime_of(join), &join->partition);
	timer_disarm(runtime_of(join), &join->tidy);
}

void reunion_leaving(struct join *join) {
	bool wanted = join->cache_wanted;

	reunion_release(join);
	if (wanted)
		cache_write(&join->cache, join);
}
