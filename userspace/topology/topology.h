/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The topology plug-in interface (RFC 6940 6.4.1): one overlay algorithm behind it, CHORD-RELOAD in chord.c. Another algorithm is
 * another struct topology_ops in the table of topology.c. Sans-I/O.
 */
#pragma once

#include "forward/router.h"

struct topology;

enum { TOPOLOGY_REPLICAS_MAX = 4, TOPOLOGY_VIEW_MAX = 160 };

enum topology_state { TOPOLOGY_OFFLINE, TOPOLOGY_JOINING, TOPOLOGY_JOINED, TOPOLOGY_LEAVING, TOPOLOGY_LEFT };

struct topology_events {
	void *userdata;

	/* Store every record of the range (from, to] at `joiner` (replica number 1, Q-25), then call done(done_userdata, error). */
	void (*hand_over)(void *userdata, const struct id *joiner, const struct id *from, const struct id *to,
			  void (*done)(void *done_userdata, int error), void *done_userdata);

	/* The peers that hold replicas of our range changed; `added` are new among them (B-10.7.3-03). Holding back after a loss
	 * (B-10.7.1-02) has already happened. */
	void (*replicas_changed)(void *userdata, const struct id *added, size_t count);

	/* `owner` became responsible for (from, to], of which we hold copies; it may have none. */
	void (*owner_changed)(void *userdata, const struct id *owner, const struct id *from, const struct id *to);

	/* Own range changed: records now owned by others are offered to them. */
	void (*range_changed)(void *userdata);

	/* The third predecessor changed, and with it what may_discard() says. */
	void (*copies_changed)(void *userdata);

	void (*state_changed)(void *userdata, enum topology_state state);

	/* Isolated: every successor or every finger is gone and rejoining needs a bootstrap node (B-10.7.1-04). */
	void (*bootstrap_wanted)(void *userdata);
};

struct topology_settings {
	struct runtime *runtime;
	struct router *router;
	struct topology_events events;
	bool client;			      /* attach to the responsible peer and follow it; own nothing (B-4.2.1-01) */
	uint32_t neighbor_check_interval_ms;  /* silence on a neighbor's link before it is pinged */
	uint32_t replacement_delay_ms;	      /* hold-down after losing a successor; 0: 30 s */
	uint32_t partition_check_interval_ms; /* 0: chord-update-interval */
};

struct topology_view {
	enum topology_state state;
	struct id self, predecessors[TOPOLOGY_VIEW_MAX], successors[TOPOLOGY_VIEW_MAX], fingers[TOPOLOGY_VIEW_MAX];
	size_t predecessor_count, successor_count, finger_count;
	double size_estimate; /* peers in the overlay, from the density of the neighbors */
	uint64_t joined_us;
};

struct topology_ops {
	const char *name; /* as in the configuration document */
	int (*create)(const struct topology_settings *settings, struct topology **ret);
	struct topology *(*destroy)(struct topology *topology);

	/* We are explicitly the first node: own the whole ring (B-4.5.2-01, B-6.4.2.1-06). */
	void (*start)(struct topology *topology);

	/* All peers we can reach are looking for the overlay themselves: own the whole ring, as long as others join us. */
	void (*restart)(struct topology *topology);

	/* Join through the link `slot` to a bootstrap peer (B-10.5-*). Failure returns the state to TOPOLOGY_OFFLINE. */
	void (*join)(struct topology *topology, uint16_t slot);

	/*
	 * Takes up the place in the ring that a former run of this node had, with the links it had, which are up; `predecessor`: of
	 * then, ID_NONE for none. False: there is nothing to go on with, and the state is as before. NULL: cannot do it.
	 */
	bool (*resume)(struct topology *topology, const struct id *predecessor);

	/* Leave requests to all neighbors, then state TOPOLOGY_LEFT (B-10.9-01). */
	void (*leave)(struct topology *topology);

	/* Partition check through a bootstrap peer's link, merge when it shows another ring (B-10.7.4-04). */
	void (*check_partition)(struct topology *topology, uint16_t slot);

	bool (*responsible)(const struct topology *topology, const struct id *resource_id);

	/* Node-IDs that hold replicas of our range, replica number 1 first. */
	size_t (*replicas)(const struct topology *topology, struct id out[TOPOLOGY_REPLICAS_MAX]);

	/* May `sender` store replica `replica_number` of `resource_id` here (B-7.4.1-03, B-7.4.1-06, B-10.4-02)? Asked once for each
	 * Store: some senders may only now and then. */
	bool (*replica_acceptable)(struct topology *topology, const struct id *sender, const struct id *resource_id,
				   uint8_t replica_number);

	/* Best known owner of a resource that is not ours; ID_NONE when ours or unknown. */
	struct id (*owner_hint)(const struct topology *topology, const struct id *resource_id);

	/* Three predecessors between us and the record: it may be deleted (B-10.7.3-04). */
	bool (*may_discard)(const struct topology *topology, const struct id *resource_id);

	void (*view)(const struct topology *topology, struct topology_view *ret);

	/* A new configuration document is in force: its intervals count from now on. */
	void (*configuration_changed)(struct topology *topology);
};

/* Every plug-in embeds this first. */
struct topology {
	const struct topology_ops *ops;
};

/* By the name in the configuration document; NULL when this node does not implement it. */
const struct topology_ops *topology_find(const char *name);

/* The CHORD-RELOAD plug-in. */
extern const struct topology_ops topology_chord_reload;
