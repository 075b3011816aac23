/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many nodes in one process: virtual host, router and topology each, on one virtual network, with real credentials and signatures.
 * Everything is reproducible but the ECDSA keys. Failures to set up abort the test program.
 */
#pragma once

#include "sim/virtual.h"
#include "support/support_identity.h"
#include "topology/topology.h"

struct ring;

struct ring_node {
	struct ring *ring;
	size_t index; /* in ring->nodes */
	struct id id;
	struct credential *credential;
	struct virtual_host *host; /* NULL once the node is dead */
	struct router *router;
	struct topology *topology;
	struct topology_events events; /* of the test, as its hook filled them in */
	enum topology_state state;     /* as last reported */
	bool client;
	uint16_t bootstrap_slot; /* link being opened to a bootstrap peer */
	struct connection_listener listener;
	struct timer retry;
	unsigned offline_count, joined_count, bootstrap_wanted_count, range_changed_count;
	void *userdata; /* for the test */
};

struct ring_settings {
	uint64_t seed;
	uint32_t update_interval_s, ping_interval_s; /* 0: 60 and 300 */
	uint32_t check_ms;			     /* liveness of neighbors; 0: 2000 */
	uint32_t replacement_delay_ms;
	uint64_t latency_us; /* 0: 5000 */
	bool rejoin;	     /* nodes that fell out of the overlay look for a bootstrap peer again */

	/* Called for each new node before its topology is made: may fill in node->events (its own userdata; state_changed,
	 * range_changed and bootstrap_wanted are passed on) and node->userdata. May be NULL. */
	void (*prepare)(struct ring_node *node, void *userdata);
	/* After the topology was made: the store of a test and the like. May be NULL. */
	void (*started)(struct ring_node *node, void *userdata);
	/* Before topology and router of the node go. May be NULL. */
	void (*stopping)(struct ring_node *node, void *userdata);
	void *userdata;
	/* Further settings of the configuration document (Kinds and so on); may be NULL. */
	const struct document_settings *document;
};

struct ring {
	struct ring_settings settings;
	struct support_overlay overlay;
	struct virtual_network *network;
	struct ring_node **nodes;
	size_t count;
	uint64_t random;
	char reason[256]; /* why the ring is not right, see ring_is_right() */
};

struct ring *ring_new(const struct ring_settings *settings);
struct ring *ring_free(struct ring *ring);

/* A node that is not in the overlay yet. `id` NULL: a random Node-ID. */
struct ring_node *ring_add(struct ring *ring, const struct id *id);
struct ring_node *ring_add_client(struct ring *ring, const struct id *id);
/* A node that died comes back with the same Node-ID and certificate, on a new host. Returns it; the old entry stays dead. */
struct ring_node *ring_restart(struct ring *ring, struct ring_node *dead);

/* Explicitly the first node. */
void ring_start(struct ring_node *node);
/* Opens a link to `through` and joins, or checks for a partition when it is joined already. */
void ring_bootstrap(struct ring_node *node, struct ring_node *through);

/* Without a word, as after SIGKILL. */
void ring_kill(struct ring_node *node);
void ring_leave(struct ring_node *node);

/* `count` nodes; the first is started, the others join through it, one after the other or all at once; runs until the ring is
 * right. Fails the test when it does not become so within `limit_s` of virtual time per joining node. */
void ring_grow(struct ring *ring, size_t count, bool at_once, unsigned limit_s);

void ring_run(struct ring *ring, unsigned milliseconds);
bool ring_run_until(struct ring *ring, unsigned limit_ms, bool (*stop)(void *userdata), void *userdata);
/* Runs until ring_is_right(); false after `limit_s`, with ring->reason telling why not. */
bool ring_run_until_right(struct ring *ring, unsigned limit_s);
uint64_t ring_now_us(const struct ring *ring);

/*
 * All living peers are joined, each point has exactly one responsible peer, successor and predecessor lists are the true nearest
 * peers in order, and every finger is a living peer in ascending order. Clients do not count.
 */
bool ring_is_right(struct ring *ring);

/* The living, joined peer that should be responsible for `point`. */
struct ring_node *ring_responsible(struct ring *ring, const struct id *point);
/* The `steps`-th joined peer clockwise from `node`. */
struct ring_node *ring_after(struct ring *ring, const struct ring_node *node, size_t steps);
size_t ring_alive(const struct ring *ring);
struct ring_node *ring_node_of(struct ring *ring, const struct id *id);

/* Messages between the two are lost in both directions, or no longer. */
void ring_cut(struct ring_node *a, struct ring_node *b, bool cut);
struct id ring_random_id(struct ring *ring);
