/* SPDX-License-Identifier: BSD-2-Clause */
#include "support/support_ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_MS = 1000 };

static void must(bool condition, const char *what) {
	if (condition)
		return;
	fprintf(stderr, "support_ring: %s\n", what);
	abort();
}

static uint64_t ring_random(struct ring *ring) {
	uint64_t z = ring->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

struct id ring_random_id(struct ring *ring) {
	struct id id = {.length = ID_LENGTH_CHORD};

	for (size_t i = 0; i < id.length; i += 8) {
		uint64_t value = ring_random(ring);
		memcpy(id.octets + i, &value, 8);
	}
	return id;
}

struct ring *ring_new(const struct ring_settings *settings) {
	struct ring *ring = calloc(1, sizeof(*ring));
	struct document_settings document = {.sequence = 1, .no_ice = true};

	must(ring != NULL, "out of memory");
	ring->settings = *settings;
	ring->random = settings->seed;
	if (settings->document)
		document = *settings->document;
	document.chord_update_interval_s = settings->update_interval_s ? settings->update_interval_s : 60;
	document.chord_ping_interval_s = settings->ping_interval_s ? settings->ping_interval_s : 300;
	must(support_overlay_new_with(SUPPORT_OVERLAY_NAME, &document, &ring->overlay) == 0, "no overlay");
	must(virtual_network_new(settings->seed, &ring->network) == 0, "no network");
	uint64_t latency_us = settings->latency_us ? settings->latency_us : 5000;
	virtual_network_set_latency(ring->network, latency_us, latency_us);
	return ring;
}

/* ---- nodes ---- */

static void on_state_changed(void *userdata, enum topology_state state) {
	struct ring_node *node = userdata;

	node->state = state;
	node->joined_count += state == TOPOLOGY_JOINED;
	node->offline_count += state == TOPOLOGY_OFFLINE;
	if (state == TOPOLOGY_OFFLINE && node->ring->settings.rejoin)
		timer_arm_after(virtual_host_runtime(node->host), &node->retry,
				(RETRY_MS / 2 + ring_random(node->ring) % RETRY_MS) * USEC_PER_MSEC);
	if (node->events.state_changed)
		node->events.state_changed(node->events.userdata, state);
}

static void on_owner_changed(void *userdata, const struct id *owner, const struct id *from, const struct id *to) {
	struct ring_node *node = userdata;

	if (node->events.owner_changed)
		node->events.owner_changed(node->events.userdata, owner, from, to);
}

static void on_range_changed(void *userdata) {
	struct ring_node *node = userdata;

	node->range_changed_count++;
	if (node->events.range_changed)
		node->events.range_changed(node->events.userdata);
}

static void on_copies_changed(void *userdata) {
	struct ring_node *node = userdata;

	if (node->events.copies_changed)
		node->events.copies_changed(node->events.userdata);
}

static void on_bootstrap_wanted(void *userdata) {
	struct ring_node *node = userdata;

	node->bootstrap_wanted_count++;
	if (node->events.bootstrap_wanted)
		node->events.bootstrap_wanted(node->events.userdata);
}

static void on_hand_over(void *userdata, const struct id *joiner, const struct id *from, const struct id *to,
			 void (*done)(void *done_userdata, int error), void *done_userdata) {
	struct ring_node *node = userdata;

	if (node->events.hand_over)
		node->events.hand_over(node->events.userdata, joiner, from, to, done, done_userdata);
	else
		done(done_userdata, 0);
}

static void on_replicas_changed(void *userdata, const struct id *added, size_t count) {
	struct ring_node *node = userdata;

	if (node->events.replicas_changed)
		node->events.replicas_changed(node->events.userdata, added, count);
}

static void link_ready(struct ring_node *node, uint16_t slot) {
	node->bootstrap_slot = LINK_SLOT_NONE;
	if (node->state == TOPOLOGY_JOINED)
		node->topology->ops->check_partition(node->topology, slot);
	else
		node->topology->ops->join(node->topology, slot);
}

static void on_up(void *userdata, const struct connection *connection) {
	struct ring_node *node = userdata;

	if (connection->slot == node->bootstrap_slot)
		link_ready(node, connection->slot);
}

static void on_down(void *userdata, const struct connection *connection, enum link_reason reason) {
	struct ring_node *node = userdata;

	(void)reason;
	if (connection->slot != node->bootstrap_slot)
		return;
	node->bootstrap_slot = LINK_SLOT_NONE;
	if (node->ring->settings.rejoin)
		timer_arm_after(virtual_host_runtime(node->host), &node->retry, RETRY_MS * USEC_PER_MSEC);
}

/* Falls back to any joined peer, preferring the one with the lowest index. */
static void on_retry(struct timer *timer, void *userdata) {
	struct ring_node *node = userdata;
	struct ring *ring = node->ring;

	(void)timer;
	if (node->state != TOPOLOGY_OFFLINE)
		return;
	for (size_t i = 0; i < ring->count; i++) {
		struct ring_node *other = ring->nodes[i];
		if (other != node && other->host && !other->client && other->state == TOPOLOGY_JOINED) {
			ring_bootstrap(node, other);
			return;
		}
	}
	timer_arm_after(virtual_host_runtime(node->host), &node->retry, RETRY_MS * USEC_PER_MSEC);
}

static struct ring_node *node_new(struct ring *ring, struct credential *credential, bool client) {
	struct ring_node *node = calloc(1, sizeof(*node));
	struct ring_node **nodes = reallocarray(ring->nodes, ring->count + 1, sizeof(*nodes));

	must(node && nodes && credential, "out of memory");
	ring->nodes = nodes;
	ring->nodes[ring->count] = node;
	node->ring = ring;
	node->index = ring->count++;
	node->credential = credential;
	node->id = credential->node_id;
	node->client = client;
	node->bootstrap_slot = LINK_SLOT_NONE;
	must(virtual_host_new(ring->network, credential, &node->host) == 0, "no host");
	struct runtime *runtime = virtual_host_runtime(node->host);
	struct router_settings router_settings = {
		.runtime = runtime, .trust = ring->overlay.trust, .credential = credential, .client = client};
	must(router_new(&router_settings, &node->router) == 0, "no router");
	struct transport_events transport_events = router_transport_events(node->router);
	virtual_host_set_events(node->host, &transport_events);
	router_set_transport(node->router, virtual_host_transport(node->host));
	timer_init(&node->retry, on_retry, node);
	if (ring->settings.prepare)
		ring->settings.prepare(node, ring->settings.userdata);
	struct topology_settings topology_settings = {
		.runtime = runtime,
		.router = node->router,
		.client = client,
		.neighbor_check_interval_ms = ring->settings.check_ms ? ring->settings.check_ms : 2000,
		.replacement_delay_ms = ring->settings.replacement_delay_ms,
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
	const struct topology_ops *ops = topology_find("CHORD-RELOAD");
	must(ops && ops->create(&topology_settings, &node->topology) == 0, "no topology");
	node->listener = (struct connection_listener){.userdata = node, .up = on_up, .down = on_down};
	router_add_listener(node->router, &node->listener);
	if (ring->settings.started)
		ring->settings.started(node, ring->settings.userdata);
	return node;
}

static struct ring_node *node_add(struct ring *ring, const struct id *id, bool client) {
	struct id node_id = id ? *id : ring_random_id(ring);
	char user_name[64];

	snprintf(user_name, sizeof(user_name), "node%zu@example.org", ring->count);
	return node_new(ring, support_credential(&ring->overlay, user_name, &node_id, 1), client);
}

struct ring_node *ring_add(struct ring *ring, const struct id *id) {
	return node_add(ring, id, false);
}

struct ring_node *ring_add_client(struct ring *ring, const struct id *id) {
	return node_add(ring, id, true);
}

struct ring_node *ring_restart(struct ring *ring, struct ring_node *dead) {
	must(!dead->host, "the node is alive");
	return node_new(ring, credential_ref(dead->credential), dead->client);
}

void ring_kill(struct ring_node *node) {
	if (!node->host)
		return;
	if (node->ring->settings.stopping)
		node->ring->settings.stopping(node, node->ring->settings.userdata);
	timer_disarm(virtual_host_runtime(node->host), &node->retry);
	router_remove_listener(node->router, &node->listener);
	node->topology = node->topology->ops->destroy(node->topology);
	node->router = router_free(node->router);
	virtual_host_kill(node->host);
	node->host = NULL;
	node->state = TOPOLOGY_OFFLINE;
}

struct ring *ring_free(struct ring *ring) {
	if (!ring)
		return NULL;
	for (size_t i = 0; i < ring->count; i++) {
		ring_kill(ring->nodes[i]);
		credential_unref(ring->nodes[i]->credential);
		free(ring->nodes[i]);
	}
	free(ring->nodes);
	virtual_network_free(ring->network);
	support_overlay_release(&ring->overlay);
	free(ring);
	return NULL;
}

/* ---- what nodes do ---- */

void ring_start(struct ring_node *node) {
	node->topology->ops->start(node->topology);
	ring_run(node->ring, 0);
}

void ring_bootstrap(struct ring_node *node, struct ring_node *through) {
	struct transport transport = virtual_host_transport(node->host);
	const struct connection *connection = router_connection_of(node->router, &through->id);

	if (connection && connection->up && !connection->suspected) {
		link_ready(node, connection->slot);
		return;
	}
	struct address address = virtual_host_address(through->host);
	must(transport.ops->connect(transport.object, &address, 1, NULL, &node->bootstrap_slot) == 0, "no link");
}

void ring_leave(struct ring_node *node) {
	node->topology->ops->leave(node->topology);
}

void ring_cut(struct ring_node *a, struct ring_node *b, bool cut) {
	struct address address_a = virtual_host_address(a->host), address_b = virtual_host_address(b->host);

	virtual_network_cut(a->ring->network, &address_a, &address_b, cut);
	virtual_network_cut(a->ring->network, &address_b, &address_a, cut);
}

/* ---- time ---- */

uint64_t ring_now_us(const struct ring *ring) {
	return virtual_network_now(ring->network);
}

void ring_run(struct ring *ring, unsigned milliseconds) {
	virtual_network_run(ring->network, ring_now_us(ring) + milliseconds * USEC_PER_MSEC, NULL, NULL);
}

bool ring_run_until(struct ring *ring, unsigned limit_ms, bool (*stop)(void *userdata), void *userdata) {
	return virtual_network_run(ring->network, ring_now_us(ring) + limit_ms * USEC_PER_MSEC, stop, userdata);
}

bool ring_run_until_right(struct ring *ring, unsigned limit_s) {
	uint64_t limit_us = ring_now_us(ring) + limit_s * USEC_PER_SEC;

	/* The check is too dear to make it after every event. */
	while (!ring_is_right(ring)) {
		if (ring_now_us(ring) >= limit_us)
			return false;
		ring_run(ring, 50);
	}
	return true;
}

void ring_grow(struct ring *ring, size_t count, bool at_once, unsigned limit_s) {
	struct ring_node *first = ring_add(ring, NULL);

	ring_start(first);
	for (size_t i = 1; i < count; i++) {
		ring_bootstrap(ring_add(ring, NULL), first);
		if (at_once)
			continue;
		if (!ring_run_until_right(ring, limit_s))
			must(false, ring->reason);
	}
	if (!ring_run_until_right(ring, (unsigned)(limit_s * count)))
		must(false, ring->reason);
}

/* ---- is the ring right? ---- */

static bool is_peer(const struct ring_node *node) {
	return node->host && !node->client;
}

static int compare_nodes(const void *a, const void *b) {
	return id_compare(&(*(struct ring_node *const *)a)->id, &(*(struct ring_node *const *)b)->id);
}

/* Living peers in ring order; the caller frees. */
static struct ring_node **sorted_peers(const struct ring *ring, bool joined_only, size_t *ret_count) {
	struct ring_node **peers = calloc(ring->count + 1, sizeof(*peers));

	must(peers != NULL, "out of memory");
	*ret_count = 0;
	for (size_t i = 0; i < ring->count; i++)
		if (is_peer(ring->nodes[i]) && (!joined_only || ring->nodes[i]->state == TOPOLOGY_JOINED))
			peers[(*ret_count)++] = ring->nodes[i];
	qsort(peers, *ret_count, sizeof(struct ring_node *), compare_nodes);
	return peers;
}

size_t ring_alive(const struct ring *ring) {
	size_t count = 0;

	for (size_t i = 0; i < ring->count; i++)
		count += is_peer(ring->nodes[i]);
	return count;
}

struct ring_node *ring_node_of(struct ring *ring, const struct id *id) {
	for (size_t i = 0; i < ring->count; i++)
		if (ring->nodes[i]->host && id_equal(&ring->nodes[i]->id, id))
			return ring->nodes[i];
	return NULL;
}

struct ring_node *ring_responsible(struct ring *ring, const struct id *point) {
	size_t count;
	struct ring_node **peers = sorted_peers(ring, true, &count), *found = count ? peers[0] : NULL;

	for (size_t i = 0; i < count; i++) {
		if (id_compare(point, &peers[i]->id) <= 0) {
			found = peers[i];
			break;
		}
	}
	free(peers);
	return found;
}

struct ring_node *ring_after(struct ring *ring, const struct ring_node *node, size_t steps) {
	size_t count;
	struct ring_node **peers = sorted_peers(ring, true, &count), *found = NULL;

	for (size_t i = 0; i < count; i++)
		if (peers[i] == node)
			found = peers[(i + steps) % count];
	free(peers);
	return found;
}

static bool wrong(struct ring *ring, const struct ring_node *node, const char *what, size_t detail) {
	char text[ID_TEXT_SIZE];

	snprintf(ring->reason, sizeof(ring->reason), "node %zu (%.8s, state %d): %s (%zu)", node->index, id_format(&node->id, text),
		 node->state, what, detail);
	return false;
}

/* The list holds the nearest peers in order, at least four where there are as many. */
static bool list_is_right(struct ring *ring, struct ring_node **peers, size_t count, size_t at, bool successors,
			  const struct topology_view *view) {
	size_t listed = successors ? view->successor_count : view->predecessor_count;
	const struct id *list = successors ? view->successors : view->predecessors;

	if (listed < (count - 1 < 4 ? count - 1 : 4) || listed > count - 1)
		return wrong(ring, peers[at], successors ? "too few successors" : "too few predecessors", listed);
	for (size_t i = 0; i < listed; i++)
		if (!id_equal(&list[i], &peers[(successors ? at + i + 1 : at + count - i - 1) % count]->id))
			return wrong(ring, peers[at], successors ? "successor is wrong" : "predecessor is wrong", i);
	return true;
}

static bool fingers_are_right(struct ring *ring, const struct ring_node *node, const struct topology_view *view) {
	for (size_t i = 0; i < view->finger_count; i++) {
		const struct ring_node *finger = ring_node_of(ring, &view->fingers[i]);
		if (!finger || finger == node || !is_peer(finger))
			return wrong(ring, node, "finger is no living peer", i);
		if (i > 0 && id_compare(&view->fingers[i - 1], &view->fingers[i]) >= 0)
			return wrong(ring, node, "fingers are not ascending", i);
	}
	return true;
}

static bool range_is_right(struct ring *ring, struct ring_node **peers, size_t count, size_t at) {
	const struct ring_node *before = peers[(at + count - 1) % count];
	struct id first = id_add_small(&before->id, 1), points[3] = {first, peers[at]->id, before->id};

	for (size_t i = 0; i < 3; i++) {
		bool expected = i < 2 || count == 1;
		if (peers[at]->topology->ops->responsible(peers[at]->topology, &points[i]) != expected)
			return wrong(ring, peers[at], "the topology's range is wrong", i);
		if (router_responsible(peers[at]->router, &points[i]) != expected)
			return wrong(ring, peers[at], "the router's range is wrong", i);
	}
	return true;
}

bool ring_is_right(struct ring *ring) {
	size_t count;
	struct ring_node **peers = sorted_peers(ring, false, &count);
	struct topology_view view;
	bool right = true;

	for (size_t i = 0; i < count && right; i++) {
		peers[i]->topology->ops->view(peers[i]->topology, &view);
		if (view.state != TOPOLOGY_JOINED)
			right = wrong(ring, peers[i], "not joined", 0);
		else
			right = list_is_right(ring, peers, count, i, true, &view) &&
				list_is_right(ring, peers, count, i, false, &view) && range_is_right(ring, peers, count, i) &&
				fingers_are_right(ring, peers[i], &view);
	}
	free(peers);
	return right;
}
