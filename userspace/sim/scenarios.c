/* SPDX-License-Identifier: BSD-2-Clause */
/* What happens to the overlay in each scenario. */
#include "sim/play_internal.h"

#include <time.h>

enum {
	CHURN_AWAY_S = 60, /* on average */
	PARTITION_S = 180,
	ROLL_LIMIT_S = 60, /* until a new document is everywhere */
};

static bool keeps_disk(struct play *play) {
	return sim_random_below(play->world, 1000000) < play->settings->disk_ppm;
}

static void take_sample(struct play *play, uint32_t after_s) {
	struct sim_result *result = play->result;

	if (result->sample_count == SIM_SAMPLES_MAX)
		return;
	result->samples[result->sample_count++] = (struct sim_sample){.after_s = after_s,
								      .octets_per_node = play_memory_per_node(play->world),
								      .links_mean = sim_links_mean(play->world)};
}

static bool pass_sampled(struct play *play, uint32_t duration_s, uint32_t sample_s) {
	uint32_t passed_s = 0;

	for (; sample_s > 0 && duration_s - passed_s >= sample_s; passed_s += sample_s) {
		if (!play_pass(play, sample_s))
			return false;
		take_sample(play, passed_s + sample_s);
	}
	return play_pass(play, duration_s - passed_s);
}

/* How long the quiet time takes is a figure of its own: an hour of 100,000 nodes is to be played in a quarter of one. */
static bool scenario_quiet(struct play *play) {
	if (!play_grow(play))
		return false;
	play_phase(play, "quiet");
	clock_t began = clock();
	uint64_t events = virtual_network_figures(play->world->network).events;
	bool going = pass_sampled(play, play->settings->duration_s, play->settings->sample_s);
	play->result->quiet_cpu_s = (double)(clock() - began) / CLOCKS_PER_SEC;
	play->result->quiet_events = virtual_network_figures(play->world->network).events - events;
	return going;
}

static bool scenario_mass_join(struct play *play) {
	play_phase(play, "joining all at once");
	if (!play_grow_to(play, play->settings->world.nodes, SIM_JOIN_AT_ONCE))
		return false;
	sim_load_start(play->world);
	return play_pass(play, STORE_SETTLE_S);
}

static bool scenario_flash_crowd(struct play *play) {
	play_phase(play, "growing to half");
	if (!play_grow_to(play, (play->settings->world.nodes + 1) / 2, play->settings->join))
		return false;
	sim_load_start(play->world);
	if (!play_pass(play, STORE_SETTLE_S))
		return false;
	play_phase(play, "the other half at once");
	return play_grow_to(play, play->settings->world.nodes, SIM_JOIN_AT_ONCE);
}

/* Dead nodes come back after CHURN_AWAY_S on average. */
static bool revive_some(struct play *play) {
	struct sim_world *world = play->world;

	for (size_t i = 0; i < world->node_count; i++)
		if (!world->nodes[i]->host && sim_random_below(world, CHURN_AWAY_S) == 0 && sim_node_restart(world->nodes[i]) < 0) {
			snprintf(world->reason, sizeof(world->reason), "a node could not be made again: out of memory");
			return play_violated(play);
		}
	return true;
}

/* Each second so many of the living die, on average, that half of them are gone after the half-life. */
static bool scenario_churn(struct play *play) {
	struct sim_world *world = play->world;
	const double half_life_s = play->settings->half_life_s;
	double due = 0;

	if (!play_grow(play))
		return false;
	play_phase(play, "churn");
	world->figures.lookups = world->figures.lookups_good = world->figures.lookups_failed = 0;
	world->figures.lookups_stale = world->figures.lookups_missing = world->figures.lookup_us = 0;
	for (uint32_t second = 0; second < play->settings->duration_s; second++) {
		due += 2 * 0.693147 / half_life_s * (double)world->alive * (double)sim_random_below(world, 1000001) / 1e6;
		/* Exact below 2^53. NOLINTNEXTLINE(cert-flp30-c,clang-analyzer-security.FloatLoopCounter) */
		for (; due >= 1; due--) {
			struct sim_node *node = sim_pick(world, false);
			if (!node)
				break;
			sim_tell(world, "node %zu dies", node->index);
			sim_node_kill(node, keeps_disk(play));
		}
		if (!revive_some(play) || !play_pass(play, 1))
			return false;
	}
	return play_revive(play);
}

/* Two consecutive nodes vanish with their disks at the same moment. No record may be lost: the third copy is the source. */
static bool scenario_kill_two(struct play *play) {
	struct sim_world *world = play->world;

	if (!play_grow(play) || !play_settle(play, play_settle_limit(play), true))
		return false;
	play_phase(play, "killing two neighbors");
	for (uint32_t i = 0; i < play->settings->repetitions; i++) {
		size_t count;
		_cleanup_free_ struct sim_node **ring = sim_ring(world, true, &count);
		if (!ring || count < 4)
			return true;
		size_t at = sim_random_below(world, count);
		struct sim_node *pair[2] = {ring[at], ring[(at + 1) % count]};
		for (size_t k = 0; k < 2; k++) {
			sim_tell(world, "node %zu dies with its disk", pair[k]->index);
			sim_node_kill(pair[k], false);
		}
		if (!play_settle(play, play_settle_limit(play), true) || !sim_records_are_safe(world))
			return play_violated(play);
		if (!play_revive(play) || !play_settle(play, play_settle_limit(play), true))
			return false;
	}
	return true;
}

static bool scenario_kill_third(struct play *play) {
	struct sim_world *world = play->world;

	if (!play_grow(play) || !play_settle(play, play_settle_limit(play), true))
		return false;
	play_phase(play, "30 of 100 vanish");
	size_t count = world->alive * 3 / 10;
	for (size_t i = 0; i < count; i++) {
		struct sim_node *node = sim_pick(world, false);
		if (node && node->index > 0)
			sim_node_kill(node, keeps_disk(play));
	}
	return play_settle(play, play_settle_limit(play), true);
}

static bool scenario_partition(struct play *play) {
	struct sim_world *world = play->world;

	if (!play_grow(play))
		return false;
	for (uint32_t i = 0; i < play->settings->repetitions; i++) {
		struct sim_fault part = {.type = SIM_FAULT_PARTITION, .argument = (uint32_t)sim_random_below(world, UINT32_MAX)};
		play_phase(play, "partition");
		play->no_samples = true;
		sim_fault_play(world, &part);
		if (!play_pass(play, PARTITION_S))
			return false;
		play_phase(play, "merging");
		sim_fault_play(world, &(struct sim_fault){.type = SIM_FAULT_HEAL});
		if (!play_settle(play, play_settle_limit(play), true))
			return false;
		play->no_samples = false;
	}
	return true;
}

static bool scenario_bootstrap_loss(struct play *play) {
	struct sim_world *world = play->world;
	size_t bootstraps = world->settings.bootstraps, spare = play->settings->world.nodes / 10 + 1;

	if (!play_grow(play))
		return false;
	play_phase(play, "without bootstrap nodes");
	for (size_t i = 0; i < bootstraps && i < world->node_count; i++)
		sim_node_kill(world->nodes[i], true);
	if (!play_settle(play, play_settle_limit(play), true) || !play_add(play, spare) ||
	    !play_pass(play, play->settings->duration_s))
		return false;
	play_phase(play, "bootstrap nodes are back");
	return play_revive(play) && play_settle(play, play_settle_limit(play), true);
}

static bool scenario_restart_all(struct play *play) {
	struct sim_world *world = play->world;

	if (!play_grow(play) || !play_settle(play, play_settle_limit(play), true))
		return false;
	play_phase(play, "restart of all");
	for (size_t i = 0; i < world->node_count; i++)
		sim_node_kill(world->nodes[i], true);
	return play_revive(play) && play_settle(play, play_settle_limit(play), true);
}

/* A tenth of the nodes, but not the first one, which starts the overlay. */
static void some(struct play *play, void (*what)(struct sim_node *node)) {
	struct sim_world *world = play->world;

	for (size_t i = 0; i < world->alive / 10 + 1; i++) {
		struct sim_node *node = sim_pick(world, true);
		if (node && node->index > 0)
			what(node);
	}
}

/* The others close the gaps within the time it takes to find out, and take them in again when they speak. */
static bool scenario_mute_peers(struct play *play) {
	struct sim_world *world = play->world;

	if (!play_grow(play) || !play_settle(play, play_settle_limit(play), true))
		return false;
	for (uint32_t i = 0; i < play->settings->repetitions; i++) {
		play_phase(play, "mute peers");
		play->no_samples = true; /* between a peer's end and its being noticed nobody owns its range */
		some(play, sim_node_mute);
		if (!play_settle(play, play_settle_limit(play), true))
			return false;
		play_phase(play, "they speak again");
		for (size_t k = 0; k < world->node_count; k++)
			if (world->nodes[k]->mute)
				sim_node_unmute(world->nodes[k]);
		if (!play_settle(play, play_settle_limit(play), true))
			return false;
		play->no_samples = false;
	}
	return true;
}

/*
 * What the limits of RFC 6940 13 leave to liars is that lookups through them and to them fail. The ring stays right while they lie,
 * nobody believes values that nobody stored, and nothing is left of it when they are gone.
 */
static bool scenario_lying_peers(struct play *play) {
	if (!play_grow(play) || !play_settle(play, play_settle_limit(play), true))
		return false;
	play_phase(play, "lying peers");
	some(play, sim_node_lie);
	for (uint32_t second = 0; second < play->settings->duration_s; second++) {
		sim_liars_act(play->world);
		if (!play_pass(play, 1))
			return false;
	}
	if (!play_settle(play, QUIET_S, false))
		return false;
	play_phase(play, "liars restart");
	for (size_t i = 0; i < play->world->node_count; i++)
		if (play->world->nodes[i]->liar)
			sim_node_kill(play->world->nodes[i], true);
	return play_revive(play) && play_settle(play, play_settle_limit(play), true);
}

/* Nodes that cannot be reached try to join for the whole duration; the others must not suffer from it. */
static bool scenario_hidden_nodes(struct play *play) {
	if (!play_grow(play) || !play_settle(play, play_settle_limit(play), true))
		return false;
	play_phase(play, "nodes behind NATs");
	play->world->hiding = true;
	bool going = play_add(play, play->settings->world.nodes / 10 + 1) && play_pass(play, play->settings->duration_s);
	play->world->hiding = false;
	return going && play_settle(play, play_settle_limit(play), true);
}

static bool rolled_out(struct play *play) {
	uint64_t began_us = sim_now_us(play->world);

	while (!sim_configuration_is_everywhere(play->world)) {
		if (sim_now_us(play->world) - began_us > ROLL_LIMIT_S * USEC_PER_SEC)
			return play_violated(play);
		if (!play_pass(play, 1))
			return false;
	}
	sim_tell(play->world, "configuration %u is everywhere", play->world->sequence);
	return true;
}

/* New documents one after the other, each given to one node, while Stores and Fetches go on; a tenth of the nodes is away and comes
 * back with the old document. */
static bool scenario_configuration_roll(struct play *play) {
	struct sim_world *world = play->world;

	if (!play_grow(play) || !play_settle(play, play_settle_limit(play), true))
		return false;
	for (uint32_t i = 0; i < play->settings->repetitions; i++) {
		play_phase(play, "configuration roll");
		for (size_t k = 0; k < world->alive / 10 + 1; k++) {
			struct sim_node *node = sim_pick(world, false);
			if (node && node->index > 0)
				sim_node_kill(node, true);
		}
		if (sim_configuration_roll(world) < 0) {
			snprintf(world->reason, sizeof(world->reason), "a node did not take configuration %u",
				 world->sequence + 1u);
			return play_violated(play);
		}
		if (!rolled_out(play) || !play_revive(play) || !play_settle(play, play_settle_limit(play), true) ||
		    !rolled_out(play))
			return false;
	}
	return true;
}

static bool scenario_random(struct play *play) {
	struct sim_world *world = play->world;
	struct sim_script drawn = {0};
	const struct sim_script *script = play->settings->script;

	if (!play_grow(play))
		return false;
	if (!script) {
		if (sim_script_random(world->settings.seed, play->settings->repetitions, &drawn) < 0)
			return play_violated(play);
		script = &drawn;
	}
	play_phase(play, "faults");
	play->no_samples = true;
	bool going = true;
	uint64_t waited_ms = 0;
	for (size_t i = 0; i < script->count && going; i++) {
		waited_ms += script->faults[i].after_ms;
		going = play_pass(play, waited_ms / 1000);
		waited_ms %= 1000;
		if (going)
			sim_fault_play(world, &script->faults[i]);
	}
	sim_script_release(&drawn);
	if (!going)
		return false;
	play_phase(play, "healing");
	sim_fault_play(world, &(struct sim_fault){.type = SIM_FAULT_HEAL});
	return play_revive(play) && play_settle(play, play_settle_limit(play), true);
}

const struct sim_scenario sim_scenarios[] = {
	{"quiet", "nodes join, records are stored, nothing else happens", scenario_quiet},
	{"mass-join", "all nodes join at the same moment through the bootstrap nodes", scenario_mass_join},
	{"flash-crowd", "half of the nodes join at once an overlay made of the other half", scenario_flash_crowd},
	{"churn", "nodes die all the time, with the half-life given, and come back after a minute on average", scenario_churn},
	{"kill-two", "two consecutive nodes vanish with their disks, again and again", scenario_kill_two},
	{"kill-30-percent", "three nodes of ten vanish at once", scenario_kill_third},
	{"partition-merge", "the network falls into two halves and becomes one again, repeatedly", scenario_partition},
	{"bootstrap-loss", "all bootstrap nodes vanish while new nodes want to join, and come back", scenario_bootstrap_loss},
	{"restart-all", "all nodes crash at once and start again with their disks", scenario_restart_all},
	{"configuration-roll", "new configuration documents, each given to one node, must reach all, those that were away too",
	 scenario_configuration_roll},
	{"mute-peers", "a tenth of the nodes hangs: links live, nobody answers; later they speak again", scenario_mute_peers},
	{"lying-peers", "a tenth of the nodes drops, misroutes, invents neighbors and forges answers", scenario_lying_peers},
	{"hidden-nodes", "a tenth more, which nobody can open a link to, tries to join", scenario_hidden_nodes},
	{"random", "a script of random faults drawn from the seed", scenario_random},
	{NULL, NULL, NULL},
};
