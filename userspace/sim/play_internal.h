/* SPDX-License-Identifier: BSD-2-Clause */
/* A run, and what scenarios are made of. Where a function says bool, false means that the run is over. */
#pragma once

#include "sim/play.h"

enum {
	STORE_SETTLE_S = 60, /* until the first Stores have their copies */
	QUIET_S = 60,	     /* at least, to see what is left of what was done */
};

struct play {
	const struct sim_play_settings *settings;
	struct sim_world *world;
	struct sim_result *result;
	const char *phase;
	uint64_t seconds;
	bool no_samples; /* while two rings are to be expected, samples say nothing */
};

/* Ends the run as violated, for what world->reason says. Returns false. */
bool play_violated(struct play *play);

/* What is going on now, for whoever watches. */
void play_phase(struct play *play, const char *name);

/* Lets time pass under the checks that hold at any time. */
bool play_pass(struct play *play, uint64_t seconds);

/* Until the ring is right and, with `records`, everything is where it must be, at most `limit_s` seconds. */
bool play_settle(struct play *play, uint32_t limit_s, bool records);
uint32_t play_settle_limit(const struct play *play);

/* Adds nodes; until there are `count`; as many as the settings say, and stores the records. */
bool play_add(struct play *play, size_t count);
bool play_grow_to(struct play *play, size_t count, enum sim_join join);
bool play_grow(struct play *play);

/* Starts all that died or left. */
bool play_revive(struct play *play);

/* Octets of memory that the process has in use, for each node there ever was. */
double play_memory_per_node(const struct sim_world *world);
