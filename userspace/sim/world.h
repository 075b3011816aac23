/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A simulated overlay: nodes made of the daemon's own router, topology and store on a virtual network, joining and re-joining by
 * the daemon's rules, with Stores and Fetches running through them. The same settings give the same run.
 */
#pragma once

#include "base/table.h"
#include "node/configuration.h"
#include "sim/identity.h"
#include "sim/virtual.h"
#include "storage/store.h"

enum {
	SIM_HOLDERS_MAX = 8,	/* of one record that are remembered */
	SIM_HISTORY_LINES = 48, /* told when something is wrong */
	SIM_HISTORY_LINE = 120,
	SIM_HOPS_MAX = 100,
	SIM_REASON_SIZE = 512,
	SIM_OPERATION_LIMIT_S = 120, /* an operation that has not ended by then never will */
	SIM_KNOWN_MAX = 10,	     /* peers that a node remembers, as PEER_CACHE_MAX */
	SIM_REPAIR_S = 120,	     /* three holders that die within this may take a record with them */
};

struct sim_settings {
	uint64_t seed;
	size_t nodes, records;
	uint32_t bootstraps; /* the first nodes; 0: one of 64 nodes, at least four */
	uint32_t update_interval_s, ping_interval_s;
	uint32_t check_interval_s; /* silence before a neighbor is pinged */
	bool internet;
	uint64_t latency_min_us, latency_max_us;
	uint32_t loss_ppm, reordering_ppm, duplication_ppm;
	uint32_t skew_ms;	    /* wall clocks are off by up to so much */
	uint32_t slow_ppm;	    /* nodes that send everything a quarter of a second late */
	uint32_t lookup_interval_s; /* of each node; 0: no lookups */
	uint32_t store_interval_s;  /* of each record; 0: stored once */
	bool real_signatures;	    /* else stand-ins, see identity.h */
	bool own_configurations;    /* each node has its own document in force, kept over crashes; else all share one */
};
/* What stands in RFC 6940 11.1 as defaults, over links of the Internet. */
extern const struct sim_settings sim_settings_default;

struct sim_world;

struct sim_node {
	struct sim_world *world;
	size_t index;
	struct id id;
	struct credential *credential;
	struct virtual_host *host; /* NULL while it is dead */
	struct router *router;
	struct topology *topology;
	struct store *store;
	struct record_database *database; /* kept over a crash with disk */
	struct trust *trust;		  /* own_configurations: likewise, over any crash */
	struct configuration *configuration;
	struct address address; /* the last one */
	enum topology_state state;
	struct connection_listener listener;
	struct timer retry, partition;
	uint16_t pending_slot;
	bool joining, checking;	       /* what the pending link is for */
	unsigned tried;		       /* nodes of this round */
	uint32_t known[SIM_KNOWN_MAX]; /* indices of nodes it was linked to, the last one first: ways back besides the bootstrap
					  nodes */
	uint32_t known_count;
	uint32_t pause_ms;
	uint64_t died_us;  /* or left */
	uint64_t range_us; /* what it is responsible for changed last */
	bool left;
	bool mute, liar;
	bool hidden; /* behind a NAT */
	UT_hash_handle hh;
};

/* One user's record and what was promised about it. */
struct sim_record {
	struct sim_world *world;
	struct credential *user;
	struct id place;
	uint32_t sent, acknowledged;		     /* numbers of the values */
	uint64_t acknowledged_us, seen_us, whole_us; /* when last found, and with all its copies */
	bool storing, lost, excused;
	size_t holders[SIM_HOLDERS_MAX]; /* nodes that held it when last looked at */
	size_t holder_count;
};

struct sim_figures {
	uint64_t stores_sent, stores_acknowledged, stores_failed;
	uint64_t lookups, lookups_good, lookups_failed, lookups_stale, lookups_missing;
	uint64_t lookups_forged; /* values nobody stored were believed */
	uint64_t lies;		 /* told by liars: false Updates, wrong routes, forged and refused Fetches */
	uint64_t lookup_us;
	uint64_t answers;   /* that were believed: to Stores, Fetches and Pings to a resource */
	uint64_t strangers; /* of them, by somebody not responsible for it */
	uint64_t probes, probes_failed, hops, hops_of[SIM_HOPS_MAX + 1];
	uint64_t joins, falls; /* out of the overlay, to join again */
	uint64_t kills, restarts, leaves;
	uint64_t keys_sampled, keys_unowned, keys_contested;
	uint64_t records_lost, records_excused;
	uint64_t operations_overdue;
};

struct sim_operation;

struct sim_world {
	struct sim_settings settings;
	struct sim_identity identity;
	struct virtual_network *network;
	struct sim_node **nodes;
	size_t node_count, alive;
	struct sim_node *by_id;
	size_t bounds_next; /* node whose bounds are checked next */
	struct sim_record *records;
	struct sim_figures figures;
	struct sim_operation *operations;
	size_t operation_count;
	struct timer load;
	bool load_on;
	bool hiding;   /* nodes are made behind NATs */
	bool settling; /* nodes are made that do not join on their own */
	uint64_t random;
	uint64_t fault_us; /* of the last fault */
	uint16_t sequence; /* of the newest configuration document */
	char history[SIM_HISTORY_LINES][SIM_HISTORY_LINE];
	size_t history_count;
	char reason[SIM_REASON_SIZE]; /* what is wrong */
};

int sim_world_new(const struct sim_settings *settings, struct sim_world **ret);
struct sim_world *sim_world_free(struct sim_world *world);

uint64_t sim_now_us(const struct sim_world *world);
uint64_t sim_random_below(struct sim_world *world, uint64_t bound);
struct id sim_random_id(struct sim_world *world);
void sim_run(struct sim_world *world, uint64_t duration_us);

/* Remembers what happened, for the report of a violation. */
void sim_tell(struct sim_world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A further node that begins to join; the very first one starts the overlay. NULL without memory. */
struct sim_node *sim_node_add(struct sim_world *world);
/*
 * settled.c: all nodes at once, each linked to its neighbors and fingers for a day already, as a run that joined them one after the
 * other would have left them. They take their places when sim_settled_resume() is called for each. 0, -ENOMEM.
 */
int sim_settled_make(struct sim_world *world, size_t count);
int sim_settled_resume(struct sim_node *node);

/* Without a word, as after SIGKILL; `disk`: what was committed is still there after sim_node_restart(). */
void sim_node_kill(struct sim_node *node, bool disk);
int sim_node_restart(struct sim_node *node);
void sim_node_leave(struct sim_node *node);

/* A living node chosen at random, joined ones only or all; NULL when there is none. */
struct sim_node *sim_pick(struct sim_world *world, bool joined);

/* ---- load.c ---- */

/* Stores each record once and then, with intervals in the settings, stores and looks up for ever. */
void sim_load_start(struct sim_world *world);
void sim_load_stop(struct sim_world *world);
/* Sends `count` Pings to random Resource-IDs from random nodes, which measure hops. */
void sim_probe(struct sim_world *world, size_t count);
int sim_store(struct sim_world *world, struct sim_record *record);
int sim_lookup(struct sim_world *world, struct sim_record *record);
void sim_load_free(struct sim_world *world);
void sim_load_fire(struct timer *timer, void *userdata);

/* ---- hostile.c ---- */

/* As after its process hung: its links acknowledge, and that is all. It counts as dead; over ends it. */
void sim_node_mute(struct sim_node *node);
void sim_node_unmute(struct sim_node *node);

/* From now on, until it is killed, a node drops what it should pass on, names peers that do not exist when it is asked for a route,
 * and answers Fetches with values it made up, with refusals or not at all. */
void sim_node_lie(struct sim_node *node);
/* Each liar tells one of its peers that invented peers stand right beside that. */
void sim_liars_act(struct sim_world *world);

/* ---- roll.c ---- */

/* One node is given the next configuration document. Needs own_configurations. 0, -ENOMEM, -EBADMSG it was not taken. */
int sim_configuration_roll(struct sim_world *world);
/* Has it reached everybody? Else world->reason says whom not. */
bool sim_configuration_is_everywhere(struct sim_world *world);

/* ---- check.c: each says in world->reason what is wrong ---- */

/* Living nodes in ring order; the caller frees. NULL without memory. */
struct sim_node **sim_ring(const struct sim_world *world, bool joined, size_t *ret_count);

/* At rest: everybody is joined, each point has one owner, successors and predecessors are the true ones, fingers live. */
bool sim_ring_is_right(struct sim_world *world);
/* At rest: every acknowledged record is at its owner and the next two peers. */
bool sim_records_are_placed(struct sim_world *world);
/* At any time: tables and queues within their bounds, databases healthy, operations end, nobody was believed who had nothing to
 * say; and no record lost without excuse. */
bool sim_bounds_hold(struct sim_world *world);
bool sim_records_are_safe(struct sim_world *world);
/* Counts owners of some random keys. */
void sim_sample_keys(struct sim_world *world, size_t keys);
/* Mean number of links of a living node. */
double sim_links_mean(const struct sim_world *world);
