/* SPDX-License-Identifier: BSD-2-Clause */
#include "sim/world.h"

#include "sim/random.h"
#include "storage/access.h"
#include "storage/database.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

enum {
	PAUSE_FIRST_MS = 500, /* as node/join.c */
	PAUSE_MAX_MS = 30000,
	SLOW_DELAY_US = 250 * 1000,
	NODES_PER_BOOTSTRAP = 64,
	BOOTSTRAPS_LEAST = 4,
};

const struct sim_settings sim_settings_default = {
	.seed = 1,
	.nodes = 100,
	.records = 100,
	.update_interval_s = 600,
	.ping_interval_s = 3600,
	.check_interval_s = 15,
	.internet = true,
};

/* ---- world ---- */

uint64_t sim_random_below(struct sim_world *world, uint64_t bound) {
	return splitmix(&world->random) % bound;
}

struct id sim_random_id(struct sim_world *world) {
	struct id id = {.length = ID_LENGTH_CHORD};

	for (size_t i = 0; i < id.length; i += 8) {
		uint64_t value = splitmix(&world->random);
		memcpy(id.octets + i, &value, 8);
	}
	return id;
}

uint64_t sim_now_us(const struct sim_world *world) {
	return virtual_network_now(world->network);
}

void sim_run(struct sim_world *world, uint64_t duration_us) {
	virtual_network_run(world->network, sim_now_us(world) + duration_us, NULL, NULL);
}

void sim_tell(struct sim_world *world, const char *format, ...) {
	char *line = world->history[world->history_count++ % SIM_HISTORY_LINES];
	int length = snprintf(line, SIM_HISTORY_LINE, "%.3f s: ", (double)sim_now_us(world) / USEC_PER_SEC);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line + length, SIM_HISTORY_LINE - (size_t)length, format, arguments);
	va_end(arguments);
}

static int records_new(struct sim_world *world) {
	world->records = calloc(world->settings.records + 1, sizeof(*world->records));
	if (!world->records)
		return -ENOMEM;
	for (size_t i = 0; i < world->settings.records; i++) {
		struct sim_record *record = &world->records[i];
		record->world = world;
		record->user = sim_identity_credential(&world->identity, "user", i);
		if (!record->user)
			return -EIO;
		record->place = resource_id_of_user(record->user->certificate->user_name, ID_LENGTH_CHORD);
	}
	return 0;
}

int sim_world_new(const struct sim_settings *settings, struct sim_world **ret) {
	struct sim_world *world = calloc(1, sizeof(*world));

	if (!world)
		return -ENOMEM;
	world->settings = *settings;
	world->sequence = 1;
	world->random = settings->seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
	if (world->settings.bootstraps == 0) {
		size_t bootstraps = settings->nodes / NODES_PER_BOOTSTRAP;
		world->settings.bootstraps = bootstraps > BOOTSTRAPS_LEAST ? (uint32_t)bootstraps : BOOTSTRAPS_LEAST;
	}
	const struct sim_identity_settings identity = {
		.seed = settings->seed,
		.update_interval_s = settings->update_interval_s,
		.ping_interval_s = settings->ping_interval_s,
		.real_signatures = settings->real_signatures,
	};
	int error = sim_identity_new(&identity, &world->identity);
	if (error == 0)
		error = virtual_network_new(settings->seed, &world->network);
	if (error == 0)
		error = records_new(world);
	if (error < 0) {
		sim_world_free(world);
		return error;
	}
	if (settings->internet)
		virtual_network_set_internet(world->network);
	else
		virtual_network_set_latency(world->network, settings->latency_min_us, settings->latency_max_us);
	virtual_network_set_tracked(world->network);
	virtual_network_set_loss(world->network, settings->loss_ppm);
	virtual_network_set_reordering(world->network, settings->reordering_ppm);
	virtual_network_set_duplication(world->network, settings->duplication_ppm);
	timer_init(&world->load, sim_load_fire, world);
	*ret = world;
	return 0;
}

static void node_stop(struct sim_node *node);

struct sim_world *sim_world_free(struct sim_world *world) {
	if (!world)
		return NULL;
	if (world->network)
		sim_load_stop(world);
	HASH_CLEAR(hh, world->by_id);
	for (size_t i = 0; i < world->node_count; i++) {
		struct sim_node *node = world->nodes[i];
		node_stop(node);
		record_database_close(node->database);
		trust_free(node->trust);
		credential_unref(node->credential);
		free(node);
	}
	free(world->nodes);
	sim_load_free(world);
	if (world->network)
		virtual_network_free(world->network);
	for (size_t i = 0; world->records && i < world->settings.records; i++)
		credential_unref(world->records[i].user);
	free(world->records);
	sim_identity_release(&world->identity);
	free(world);
	return NULL;
}

/* ---- joining, by the rules of the daemon (node/join.c) ---- */

static void join_next(struct sim_node *node);

static void join_pause(struct sim_node *node) {
	struct runtime *runtime = virtual_host_runtime(node->host);
	uint64_t pause_us = node->pause_ms * USEC_PER_MSEC;

	node->pending_slot = LINK_SLOT_NONE;
	node->tried = 0;
	timer_arm_after(runtime, &node->retry, pause_us / 2 + runtime_random_below(runtime, pause_us));
	node->pause_ms = node->pause_ms * 2 < PAUSE_MAX_MS ? node->pause_ms * 2 : PAUSE_MAX_MS;
}

static void link_ready(struct sim_node *node, uint16_t slot) {
	node->pending_slot = LINK_SLOT_NONE;
	if (node->joining)
		node->topology->ops->join(node->topology, slot);
	else if (node->checking)
		node->topology->ops->check_partition(node->topology, slot);
	node->checking = false;
}

/* A bootstrap node by its address, whether it lives or not. */
static void contact(struct sim_node *node, const struct sim_node *other) {
	const struct connection *connection = router_connection_of(node->router, &other->id);
	struct transport *transport = router_transport(node->router);

	if (connection && connection->up) {
		link_ready(node, connection->slot);
	} else if (transport->ops->connect(transport->object, &other->address, 1, NULL, &node->pending_slot) < 0) {
		node->pending_slot = LINK_SLOT_NONE;
		if (node->joining)
			join_pause(node);
	}
}

/* Bootstrap nodes and peers it remembers, living or not; NULL when that is nobody but itself. */
static struct sim_node *bootstrap_node(struct sim_node *node) {
	struct sim_world *world = node->world;
	size_t count = world->settings.bootstraps < world->node_count ? world->settings.bootstraps : world->node_count;
	size_t draw = runtime_random_below(virtual_host_runtime(node->host), count + node->known_count);
	struct sim_node *other = world->nodes[draw < count ? draw : node->known[draw - count]];

	if (other == node)
		other = world->nodes[(other->index + 1) % count];
	return other == node ? NULL : other;
}

static void remember(struct sim_node *node, const struct connection *connection) {
	struct transport *transport = router_transport(node->router);
	struct address address = transport->ops->address(transport->object, connection->slot);
	const struct sim_node *other = virtual_network_userdata(node->world->network, &address);
	uint32_t at = 0;

	if (!other)
		return;
	while (at < node->known_count && node->known[at] != other->index)
		at++;
	if (at == node->known_count && at < SIM_KNOWN_MAX)
		node->known_count++;
	else if (at == SIM_KNOWN_MAX)
		at--;
	memmove(node->known + 1, node->known, at * sizeof(node->known[0]));
	node->known[0] = (uint32_t)other->index;
}

static void join_next(struct sim_node *node) {
	struct sim_node *other = bootstrap_node(node);
	unsigned most = node->world->settings.bootstraps + (node->index > 0 ? node->known_count : 0);

	if (other && node->tried < most) {
		node->tried++;
		contact(node, other);
	} else if (node->index == 0) { /* the first node, and nobody else is there */
		node->joining = false;
		node->topology->ops->start(node->topology);
	} else {
		join_pause(node);
	}
}

static void on_retry(struct timer *timer, void *userdata) {
	struct sim_node *node = userdata;

	(void)timer;
	node->joining = true;
	join_next(node);
}

static void partition_later(struct sim_node *node) {
	struct runtime *runtime = virtual_host_runtime(node->host);
	uint64_t interval_us = node->world->settings.update_interval_s * USEC_PER_SEC;

	timer_arm_after(runtime, &node->partition, interval_us / 2 + runtime_random_below(runtime, interval_us + 1));
}

static void on_partition(struct timer *timer, void *userdata) {
	struct sim_node *node = userdata;

	(void)timer;
	if (node->state == TOPOLOGY_JOINED && !node->checking) {
		struct sim_node *other = bootstrap_node(node);
		node->checking = other != NULL;
		if (other)
			contact(node, other);
	}
	partition_later(node);
}

static void on_up(void *userdata, const struct connection *connection) {
	struct sim_node *node = userdata;

	remember(node, connection);
	if (connection->slot == node->pending_slot && connection->initiated)
		link_ready(node, connection->slot);
}

static void on_down(void *userdata, const struct connection *connection, enum link_reason reason) {
	struct sim_node *node = userdata;

	(void)reason;
	if (connection->slot != node->pending_slot)
		return;
	node->pending_slot = LINK_SLOT_NONE;
	node->checking = false;
	if (node->joining)
		timer_arm_after(virtual_host_runtime(node->host), &node->retry, 0);
}

/* ---- events of the topology ---- */

static void on_state_changed(void *userdata, enum topology_state state) {
	struct sim_node *node = userdata;
	struct runtime *runtime = virtual_host_runtime(node->host);
	bool was_joined = node->state == TOPOLOGY_JOINED;

	node->state = state;
	node->range_us = sim_now_us(node->world);
	if (state == TOPOLOGY_JOINED) {
		node->world->figures.joins++;
		node->joining = false;
		node->pause_ms = PAUSE_FIRST_MS;
		node->tried = 0;
		timer_disarm(runtime, &node->retry);
		partition_later(node);
	} else if (state == TOPOLOGY_OFFLINE) {
		node->world->figures.falls += was_joined;
		timer_disarm(runtime, &node->partition);
		node->checking = false;
		unsigned tried = node->tried;
		join_pause(node);
		node->tried = was_joined ? 0 : tried;
	}
}

static void on_bootstrap_wanted(void *userdata) {
	struct sim_node *node = userdata;

	if (!node->joining)
		join_pause(node);
}

static void on_hand_over(void *userdata, const struct id *joiner, const struct id *from, const struct id *to,
			 void (*done)(void *done_userdata, int error), void *done_userdata) {
	struct sim_node *node = userdata;

	store_hand_over(node->store, joiner, from, to, done, done_userdata);
}

static void on_replicas_changed(void *userdata, const struct id *added, size_t count) {
	struct sim_node *node = userdata;

	if (node->store)
		store_replicas_changed(node->store, added, count);
}

static void on_owner_changed(void *userdata, const struct id *owner, const struct id *from, const struct id *to) {
	struct sim_node *node = userdata;

	if (node->store)
		store_owner_changed(node->store, owner, from, to);
}

static void on_range_changed(void *userdata) {
	struct sim_node *node = userdata;

	node->range_us = sim_now_us(node->world);
	if (node->store)
		store_range_changed(node->store);
}

static void on_copies_changed(void *userdata) {
	struct sim_node *node = userdata;

	if (node->store)
		store_copies_changed(node->store);
}

static void on_idle(void *userdata) {
	struct sim_node *node = userdata;

	if (node->store && store_commit_wanted(node->store))
		store_commit(node->store);
}

static void on_configuration_changed(void *userdata) {
	struct sim_node *node = userdata;

	node->topology->ops->configuration_changed(node->topology);
	store_configuration_changed(node->store);
}

static void on_configuration_unsupported(void *userdata, const char *reason) {
	struct sim_node *node = userdata;

	sim_tell(node->world, "node %zu cannot do what the configuration asks for: %s", node->index, reason);
	node->topology->ops->leave(node->topology);
}

/* ---- nodes ---- */

static int node_make(struct sim_node *node) {
	struct runtime *runtime = virtual_host_runtime(node->host);
	struct sim_world *world = node->world;
	const struct router_settings router_settings = {
		.runtime = runtime, .trust = node->trust ? node->trust : world->identity.trust, .credential = node->credential};
	const struct configuration_settings configuration_settings = {
		.userdata = node, .changed = on_configuration_changed, .unsupported = on_configuration_unsupported};
	const struct topology_settings topology_settings = {
		.runtime = runtime,
		.neighbor_check_interval_ms = world->settings.check_interval_s * 1000,
		.events =
			{
				.userdata = node,
				.hand_over = on_hand_over,
				.replicas_changed = on_replicas_changed,
				.owner_changed = on_owner_changed,
				.range_changed = on_range_changed,
				.copies_changed = on_copies_changed,
				.state_changed = on_state_changed,
				.bootstrap_wanted = on_bootstrap_wanted,
			},
	};
	int error = router_new(&router_settings, &node->router);

	if (error < 0)
		return error;
	struct transport_events transport_events = router_transport_events(node->router);
	virtual_host_set_events(node->host, &transport_events);
	router_set_transport(node->router, virtual_host_transport(node->host));
	struct topology_settings settings = topology_settings;
	settings.router = node->router;
	error = topology_chord_reload.create(&settings, &node->topology);
	if (error == 0 && !node->database)
		error = record_database_open_memory(&node->database);
	if (error < 0)
		return error;
	const struct store_settings store_settings = {
		.runtime = runtime, .router = node->router, .topology = node->topology, .database = node->database};
	error = store_new(&store_settings, &node->store);
	router_add_listener(node->router, &node->listener);
	if (error < 0 || !node->trust)
		return error;
	struct configuration_settings own = configuration_settings;
	own.router = node->router;
	return configuration_new(&own, &node->configuration);
}

/* Also takes apart what node_make() could not finish. */
static void node_stop(struct sim_node *node) {
	if (!node->host)
		return;
	struct runtime *runtime = virtual_host_runtime(node->host);
	virtual_host_enter(node->host);
	timer_disarm(runtime, &node->retry);
	timer_disarm(runtime, &node->partition);
	if (node->router)
		router_remove_listener(node->router, &node->listener);
	if (node->database && record_database_in_transaction(node->database))
		record_database_rollback(node->database);
	node->store = store_free(node->store);
	if (node->topology)
		node->topology = node->topology->ops->destroy(node->topology);
	node->configuration = configuration_free(node->configuration);
	node->router = router_free(node->router);
	virtual_host_kill(node->host);
	node->host = NULL;
	node->mute = node->liar = false;
	node->state = TOPOLOGY_OFFLINE;
	node->range_us = sim_now_us(node->world);
	node->world->alive--;
}

static int node_start(struct sim_node *node) {
	struct sim_world *world = node->world;

	node->pending_slot = LINK_SLOT_NONE;
	node->joining = node->checking = false;
	node->tried = 0;
	node->pause_ms = PAUSE_FIRST_MS;
	node->state = TOPOLOGY_OFFLINE;
	int error = virtual_host_new(world->network, node->credential, &node->host);
	if (error < 0)
		return error;
	world->alive++;
	node->address = virtual_host_address(node->host);
	virtual_host_enter(node->host);
	error = node_make(node);
	if (error < 0) {
		node_stop(node);
		return error;
	}
	virtual_host_set_idle(node->host, on_idle, node);
	virtual_host_set_hidden(node->host, node->hidden);
	if (world->settings.skew_ms > 0)
		virtual_host_set_skew(node->host, (int64_t)sim_random_below(world, 2 * world->settings.skew_ms + 1) -
							  (int64_t)world->settings.skew_ms);
	if (world->settings.slow_ppm > 0 && sim_random_below(world, 1000000) < world->settings.slow_ppm)
		virtual_host_set_delay(node->host, SLOW_DELAY_US);
	if (!world->settling)
		timer_arm_after(virtual_host_runtime(node->host), &node->retry, 0);
	virtual_host_leave(node->host);
	return 0;
}

struct sim_node *sim_node_add(struct sim_world *world) {
	struct sim_node *node = calloc(1, sizeof(*node));
	struct sim_node **nodes = reallocarray(world->nodes, world->node_count + 1, sizeof(*nodes));

	if (nodes)
		world->nodes = nodes;
	if (!node || !nodes) {
		free(node);
		return NULL;
	}
	node->world = world;
	node->index = world->node_count;
	node->hidden = world->hiding;
	node->credential = sim_identity_credential(&world->identity, "node", node->index);
	node->listener = (struct connection_listener){.userdata = node, .up = on_up, .down = on_down};
	timer_init(&node->retry, on_retry, node);
	timer_init(&node->partition, on_partition, node);
	bool good = node->credential &&
		    (!world->settings.own_configurations || sim_identity_trust(&world->identity, &node->trust) == 0);
	if (good) {
		node->id = node->credential->node_id;
		HASH_ADD(hh, world->by_id, id.octets, ID_LENGTH_CHORD, node);
	}
	if (!good || !node->hh.tbl) {
		credential_unref(node->credential);
		trust_free(node->trust);
		free(node);
		return NULL;
	}
	world->nodes[world->node_count++] = node;
	return node_start(node) == 0 ? node : NULL;
}

void sim_node_kill(struct sim_node *node, bool disk) {
	if (!node->host)
		return;
	node->world->figures.kills++;
	node->world->fault_us = sim_now_us(node->world);
	if (!node->left) /* else it is gone since it left */
		node->died_us = node->world->fault_us;
	node_stop(node);
	if (disk)
		return;
	node->database = record_database_close(node->database);
	node->known_count = 0;
}

int sim_node_restart(struct sim_node *node) {
	if (node->host)
		return -EALREADY;
	node->world->figures.restarts++;
	node->world->fault_us = sim_now_us(node->world);
	node->left = false;
	return node_start(node);
}

void sim_node_leave(struct sim_node *node) {
	if (!node->host || node->left)
		return;
	node->world->figures.leaves++;
	node->died_us = node->world->fault_us = sim_now_us(node->world);
	node->left = true;
	virtual_host_enter(node->host);
	timer_disarm(virtual_host_runtime(node->host), &node->retry);
	node->topology->ops->leave(node->topology);
	virtual_host_leave(node->host);
}

struct sim_node *sim_pick(struct sim_world *world, bool joined) {
	size_t start = world->node_count ? sim_random_below(world, world->node_count) : 0;

	for (size_t i = 0; i < world->node_count; i++) {
		struct sim_node *node = world->nodes[(start + i) % world->node_count];
		if (node->host && !node->left && !node->mute && (!joined || node->state == TOPOLOGY_JOINED))
			return node;
	}
	return NULL;
}
