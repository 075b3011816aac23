/* SPDX-License-Identifier: BSD-2-Clause */
#include "sim/play_internal.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>

enum {
	CHECK_EVERY_S = 10,
	RECORDS_EVERY_S = 10,	    /* a record may be whole for less than half a minute, and that counts */
	KEY_VISITS = 16000,	    /* nodes asked whether they own a sampled key, at each check */
	GROWTH_DIVISOR = 20,	    /* a second adds a twentieth */
	GROWTH_DIVISOR_LARGE = 100, /* or, from GROWTH_LARGE nodes on, a hundredth, lest tables of joining peers fill the memory */
	GROWTH_LARGE = 2000,
	CHECK_STEP_LARGE_S = 30, /* between looks at a whole ring of more than GROWTH_LARGE nodes */
	JOIN_LIMIT_S = 3600,
	RESUME_S = 120,
	PROBES_MAX = 20000,
	PROBE_BATCH = 100,
};

bool play_violated(struct play *play) {
	if (!play->result->violated)
		snprintf(play->result->reason, sizeof(play->result->reason), "%s", play->world->reason);
	play->result->violated = true;
	return false;
}

void play_phase(struct play *play, const char *name) {
	play->phase = name;
	sim_tell(play->world, "%s", name);
}

/* Lets time pass under the checks that hold at any time; false: the run is over. */
bool play_pass(struct play *play, uint64_t seconds) {
	struct sim_world *world = play->world;

	for (uint64_t i = 0; i < seconds; i++) {
		sim_run(world, USEC_PER_SEC);
		play->seconds++;
		if (play->settings->progress && play->settings->progress(play->settings->userdata, world, play->phase)) {
			play->result->cancelled = true;
			return false;
		}
		if (play->seconds % CHECK_EVERY_S == 0 && !sim_bounds_hold(world))
			return play_violated(play);
		if (play->seconds % CHECK_EVERY_S == 0 && !play->no_samples)
			sim_sample_keys(world, world->alive < KEY_VISITS ? 1 + KEY_VISITS / (world->alive + 1) / 16 : 1);
		if (play->seconds % RECORDS_EVERY_S == 0 && !sim_records_are_safe(world))
			return play_violated(play);
	}
	return true;
}

uint32_t play_settle_limit(const struct play *play) {
	const struct sim_play_settings *settings = play->settings;

	return settings->settle_s ? settings->settle_s : 600 + 4 * settings->world.update_interval_s;
}

/* Until the ring is right and, with `records`, everything is where it must be. */
bool play_settle(struct play *play, uint32_t limit_s, bool records) {
	uint64_t began_us = sim_now_us(play->world);
	uint32_t step_s = play->world->alive > GROWTH_LARGE ? CHECK_STEP_LARGE_S : 1;

	for (uint32_t i = 0; i <= limit_s; i += step_s) {
		if (sim_ring_is_right(play->world) && (!records || sim_records_are_placed(play->world))) {
			play->result->settle_s = (double)(sim_now_us(play->world) - began_us) / USEC_PER_SEC;
			return true;
		}
		if (!play_pass(play, step_s))
			return false;
	}
	/* Checked last, so that the reason tells what is not right. */
	(void)(sim_ring_is_right(play->world) && sim_records_are_placed(play->world));
	return play_violated(play);
}

/* ---- growing ---- */

bool play_add(struct play *play, size_t count) {
	for (size_t i = 0; i < count; i++) {
		if (sim_node_add(play->world))
			continue;
		snprintf(play->world->reason, sizeof(play->world->reason), "a node could not be made: out of memory");
		return play_violated(play);
	}
	return true;
}

bool play_grow_to(struct play *play, size_t count, enum sim_join join) {
	struct sim_world *world = play->world;

	if (world->node_count == 0 && (!play_add(play, 1) || !play_pass(play, 1)))
		return false;
	while (world->node_count < count) {
		size_t missing = count - world->node_count, some = 1;
		if (join == SIM_JOIN_AT_ONCE)
			some = missing;
		else if (join == SIM_JOIN_GROWTH)
			some = 1 + world->node_count / (world->node_count < GROWTH_LARGE ? GROWTH_DIVISOR : GROWTH_DIVISOR_LARGE);
		if (!play_add(play, some < missing ? some : missing))
			return false;
		if (join == SIM_JOIN_ONE_BY_ONE ? !play_settle(play, JOIN_LIMIT_S, false) : !play_pass(play, 1))
			return false;
	}
	return play_settle(play, JOIN_LIMIT_S, false);
}

/*
 * Everybody takes its place within RESUME_S: what each then says to all it is linked to would fill the memory if said at once. One
 * after the other around the ring, as who has heard of peers on either side, but not yet of all of them, takes the overlay for one
 * of another size.
 */
static bool begin_settled(struct play *play) {
	struct sim_world *world = play->world;
	size_t count = play->settings->world.nodes, each = count / RESUME_S + 1;

	if (sim_settled_make(world, count) < 0) {
		snprintf(world->reason, sizeof(world->reason), "the nodes could not be made: out of memory");
		return play_violated(play);
	}
	_cleanup_free_ struct sim_node **ring = sim_ring(world, false, &count);
	if (!ring) {
		snprintf(world->reason, sizeof(world->reason), "out of memory");
		return play_violated(play);
	}
	play->no_samples = true;
	for (size_t i = 0; i < count; i++) {
		if (sim_settled_resume(ring[i]) < 0) {
			snprintf(world->reason, sizeof(world->reason), "node %zu could not take its place", ring[i]->index);
			return play_violated(play);
		}
		if ((i + 1) % each == 0 && !play_pass(play, 1))
			return false;
	}
	play->no_samples = false;
	return play_settle(play, JOIN_LIMIT_S, false);
}

bool play_grow(struct play *play) {
	play_phase(play, "growing");
	if (play->settings->join == SIM_JOIN_SETTLED ? !begin_settled(play)
						     : !play_grow_to(play, play->settings->world.nodes, play->settings->join))
		return false;
	play_phase(play, "storing");
	sim_load_start(play->world);
	return play_pass(play, STORE_SETTLE_S);
}

bool play_revive(struct play *play) {
	for (size_t i = 0; i < play->world->node_count; i++) {
		struct sim_node *node = play->world->nodes[i];
		if (node->host && node->left) /* it ended in order */
			sim_node_kill(node, true);
		if (!node->host && sim_node_restart(node) < 0) {
			snprintf(play->world->reason, sizeof(play->world->reason), "a node could not be made again: out of memory");
			return play_violated(play);
		}
	}
	return true;
}

double play_memory_per_node(const struct sim_world *world) {
	return world->node_count ? (double)mallinfo2().uordblks / (double)world->node_count : 0;
}

/* ---- the end of each run ---- */

static bool operations_end(struct play *play) {
	sim_load_stop(play->world);
	for (unsigned i = 0; i < SIM_OPERATION_LIMIT_S && play->world->operation_count > 0; i++)
		if (!play_pass(play, 1))
			return false;
	if (play->world->operation_count == 0)
		return true;
	snprintf(play->world->reason, sizeof(play->world->reason), "%zu operations did not end", play->world->operation_count);
	return play_violated(play);
}

static bool read_all(struct play *play) {
	struct sim_world *world = play->world;
	struct sim_figures before = world->figures;

	play_phase(play, "reading all records");
	for (size_t i = 0; i < world->settings.records; i++) {
		if (!world->records[i].excused)
			sim_lookup(world, &world->records[i]);
		if (i % PROBE_BATCH == PROBE_BATCH - 1 && !play_pass(play, 1))
			return false;
	}
	if (!operations_end(play))
		return false;
	uint64_t missing = world->figures.lookups_missing - before.lookups_missing;
	uint64_t stale = world->figures.lookups_stale - before.lookups_stale;
	/* At rest, and without loss, nothing excuses these. */
	if (missing + stale > 0) {
		snprintf(world->reason, sizeof(world->reason), "at rest %llu records were not found and %llu are old",
			 (unsigned long long)missing, (unsigned long long)stale);
		return play_violated(play);
	}
	return true;
}

static bool measure(struct play *play) {
	struct sim_world *world = play->world;
	uint32_t probes = play->settings->probes;

	if (probes == 0)
		probes = world->alive * 10 < PROBES_MAX ? (uint32_t)world->alive * 10 : PROBES_MAX;
	play_phase(play, "measuring hops");
	for (uint32_t i = 0; i < probes; i += PROBE_BATCH) {
		sim_probe(world, PROBE_BATCH);
		if (!play_pass(play, 1))
			return false;
	}
	if (!operations_end(play))
		return false;
	play_phase(play, "measuring maintenance");
	uint32_t window_s = world->settings.update_interval_s > QUIET_S ? world->settings.update_interval_s : QUIET_S;
	if (play->settings->window_s > 0)
		window_s = play->settings->window_s;
	struct virtual_figures before = virtual_network_figures(world->network);
	if (!play_pass(play, window_s))
		return false;
	struct virtual_figures after = virtual_network_figures(world->network);
	double node_seconds = (double)world->alive * window_s;
	play->result->octets_per_node_s = (double)(after.octets - before.octets) / node_seconds;
	play->result->messages_per_node_s = (double)(after.packets - before.packets) / node_seconds;
	return true;
}

static void conclude(struct play *play) {
	struct sim_world *world = play->world;
	struct sim_result *result = play->result;
	struct sim_figures *figures = &world->figures;
	uint64_t seen = 0;

	memcpy(result->history, world->history, sizeof(result->history));
	result->history_count = world->history_count;
	result->figures = *figures;
	result->nodes_alive = world->alive;
	result->virtual_s = (double)sim_now_us(world) / USEC_PER_SEC;
	result->events = virtual_network_figures(world->network).events;
	result->links_mean = sim_links_mean(world);
	result->octets_per_node = play_memory_per_node(world);
	snprintf(result->phase, sizeof(result->phase), "%s", play->phase);
	if (figures->probes > 0)
		result->hops_mean = (double)figures->hops / (double)figures->probes;
	for (unsigned i = 0; i <= SIM_HOPS_MAX && seen * 100 < figures->probes * 99; i++) {
		seen += figures->hops_of[i];
		result->hops_p99 = i;
	}
}

/* Of the lookups that ended: some began before the counting did. */
static double lookup_success(const struct sim_figures *figures) {
	uint64_t bad = figures->lookups_failed + figures->lookups_missing + figures->lookups_stale;

	return figures->lookups_good + bad ? (double)figures->lookups_good / (double)(figures->lookups_good + bad) : 1;
}

int sim_play(const struct sim_play_settings *settings, struct sim_result *ret) {
	struct play play = {.settings = settings, .result = ret, .phase = "start"};
	size_t which = 0;

	while (sim_scenarios[which].name && strcmp(sim_scenarios[which].name, settings->scenario) != 0)
		which++;
	if (!sim_scenarios[which].name)
		return -EINVAL;
	struct sim_settings world = settings->world;
	world.own_configurations = strcmp(settings->scenario, "configuration-roll") == 0;
	int error = sim_world_new(&world, &play.world);
	if (error < 0)
		return error;
	*ret = (struct sim_result){0};
	bool good = sim_scenarios[which].play(&play) && operations_end(&play);
	ret->lookup_success = lookup_success(&play.world->figures);
	double settle_s = ret->settle_s;
	good = good && play_settle(&play, play_settle_limit(&play), true);
	if (strcmp(settings->scenario, "churn") != 0)
		ret->settle_s = settle_s > ret->settle_s ? settle_s : ret->settle_s;
	if (good && read_all(&play))
		(void)measure(&play);
	conclude(&play);
	if (settings->end)
		settings->end(settings->userdata, play.world);
	sim_world_free(play.world);
	return 0;
}
