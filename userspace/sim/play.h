/* SPDX-License-Identifier: BSD-2-Clause */
/* Scenarios and random fault scripts played in a simulated overlay, watched by the checks of world.h. */
#pragma once

#include "sim/world.h"

enum sim_fault_type {
	SIM_FAULT_CRASH,      /* a node vanishes, its disk stays */
	SIM_FAULT_CRASH_DISK, /* and its disk with it */
	SIM_FAULT_LEAVE,      /* in order */
	SIM_FAULT_RESTART,    /* a dead node comes back */
	SIM_FAULT_ADD,	      /* a further node */
	SIM_FAULT_PARTITION,  /* two groups */
	SIM_FAULT_HEAL,	      /* partitions, cuts, loss and slowness end */
	SIM_FAULT_CUT,	      /* messages of one node to another are lost, not those back */
	SIM_FAULT_LOSS,	      /* up to one message in ten is lost */
	SIM_FAULT_SLOW,	      /* a node sends everything late */
	SIM_FAULTS
};
const char *sim_fault_name(enum sim_fault_type type);

/* What happens when `argument` chooses among those that live (or are dead) at that time: a script stays playable when faults are
 * taken out. */
struct sim_fault {
	uint32_t after_ms; /* the fault before */
	enum sim_fault_type type;
	uint32_t argument;
};
struct sim_script {
	struct sim_fault *faults;
	size_t count;
};
int sim_script_random(uint64_t seed, size_t count, struct sim_script *ret);
void sim_script_release(struct sim_script *script);
void sim_fault_play(struct sim_world *world, const struct sim_fault *fault);

enum sim_join {
	SIM_JOIN_GROWTH,
	SIM_JOIN_AT_ONCE,
	SIM_JOIN_ONE_BY_ONE,
	SIM_JOIN_SETTLED, /* not at all: see sim_settled_make() */
};

enum { SIM_SAMPLES_MAX = 200 }; /* of one run; further ones are not taken */

/* What the overlay holds while it is quiet. */
struct sim_sample {
	double after_s;		/* the quiet time began */
	double octets_per_node; /* of memory in use */
	double links_mean;
};

struct sim_play_settings {
	struct sim_settings world;
	const char *scenario;
	enum sim_join join;
	uint32_t duration_s;  /* of churn and the like */
	uint32_t half_life_s; /* of nodes under churn */
	uint32_t repetitions; /* of kills and partitions */
	uint32_t settle_s;    /* the ring must be right so long after the last fault; 0: 600 s and four update intervals */
	uint32_t disk_ppm;    /* crashed nodes that keep their records */
	uint32_t probes;      /* Pings that measure hops; 0: ten times the nodes, at most 20,000 */
	uint32_t sample_s;    /* scenario quiet: a sample is taken so often; 0: none */
	uint32_t window_s;    /* in which maintenance is measured; 0: an update interval */
	const struct sim_script *script; /* for "random"; NULL: drawn from the seed, `repetitions` faults */
	/* Called after each second of virtual time; true ends the run as cancelled. */
	bool (*progress)(void *userdata, struct sim_world *world, const char *phase);
	/* At the end, before the world goes. Both may be NULL. */
	void (*end)(void *userdata, struct sim_world *world);
	void *userdata;
};

struct sim_result {
	bool violated, cancelled;
	char reason[SIM_REASON_SIZE];
	char phase[32];
	char history[SIM_HISTORY_LINES][SIM_HISTORY_LINE];
	size_t history_count;
	struct sim_figures figures;
	size_t nodes_alive;
	double virtual_s, settle_s; /* whole run; from the last fault to the right ring */
	double hops_mean, links_mean;
	unsigned hops_p99;
	double octets_per_node_s, messages_per_node_s; /* at rest, without Stores and Fetches */
	double lookup_success;
	double octets_per_node; /* of memory in use at the end */
	uint64_t events;
	double quiet_cpu_s; /* scenario quiet: processor time and events of the duration alone */
	uint64_t quiet_events;
	struct sim_sample samples[SIM_SAMPLES_MAX];
	size_t sample_count;
};

/* Ends with one whose name is NULL. `text`: one sentence. `play`: for sim_play(). */
struct play;
struct sim_scenario {
	const char *name, *text;
	bool (*play)(struct play *play);
};
extern const struct sim_scenario sim_scenarios[];

/* 0 (see result->violated), -EINVAL no such scenario, -ENOMEM. */
int sim_play(const struct sim_play_settings *settings, struct sim_result *ret);

/*
 * Takes faults out of a script that fails, as long as it fails without them. `fails` plays a script; true: it still fails. What is
 * left is in `script`. Returns how many scripts were played.
 */
size_t sim_script_shrink(struct sim_script *script, bool (*fails)(void *userdata, const struct sim_script *script), void *userdata);
