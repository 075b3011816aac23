/* SPDX-License-Identifier: BSD-2-Clause */
#include "sim/play.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <time.h>

enum {
	CHECK_EVERY_S = 10,
	RECORDS_EVERY_S = 30,
	KEY_VISITS = 16000,	    /* nodes asked whether they own a sampled key, at each check */
	GROWTH_DIVISOR = 20,	    /* a second adds a twentieth */
	GROWTH_DIVISOR_LARGE = 100, /* or, from GROWTH_LARGE nodes on, a hundredth, lest tables of joining peers fill the memory */
	GROWTH_LARGE = 2000,
	CHECK_STEP_LARGE_S = 30, /* between looks at a whole ring of more than GROWTH_LARGE nodes */
	JOIN_LIMIT_S = 3600,
	STORE_SETTLE_S = 60,
	PARTITION_S = 180,
	CHURN_AWAY_S = 60, /* on average */
	QUIET_S = 60,
	RESUME_S = 120,
	ROLL_LIMIT_S = 60, /* until a new document is everywhere */
	PROBES_MAX = 20000,
	PROBE_BATCH = 100,
};

struct play {
	const struct sim_play_settings *settings;
	struct sim_world *world;
	struct sim_result *result;
	const char *phase;
	uint64_t seconds;
	bool no_samples; /* while two rings are to be expected, samples say nothing */
};

static bool violated(struct play *play) {
	if (!play->result->violated)
		snprintf(play->result->reason, sizeof(play->result->reason), "%s", play->world->reason);
	play->result->violated = true;
	return false;
}

static void phase(struct play *play, const char *name) {
	play->phase = name;
	sim_tell(play->world, "%s", name);
}

/* Lets time pass under the checks that hold at any time; false: the run is over. */
static bool pass(struct play *play, uint64_t seconds) {
	struct sim_world *world = play->world;

	for (uint64_t i = 0; i < seconds; i++) {
		sim_run(world, USEC_PER_SEC);
		play->seconds++;
		if (play->settings->progress && play->settings->progress(play->settings->userdata, world, play->phase)) {
			play->result->cancelled = true;
			return false;
		}
		if (play->seconds % CHECK_EVERY_S == 0 && !sim_bounds_hold(world))
			return violated(play);
		if (play->seconds % CHECK_EVERY_S == 0 && !play->no_samples)
			sim_sample_keys(world, world->alive < KEY_VISITS ? 1 + KEY_VISITS / (world->alive + 1) / 16 : 1);
		if (play->seconds % RECORDS_EVERY_S == 0 && !sim_records_are_safe(world))
			return violated(play);
	}
	return true;
}

static uint32_t settle_limit(const struct play *play) {
	const struct sim_play_settings *settings = play->settings;

	return settings->settle_s ? settings->settle_s : 600 + 4 * settings->world.update_interval_s;
}

/* Until the ring is right and, with `records`, everything is where it must be. */
static bool settle(struct play *play, uint32_t limit_s, bool records) {
	uint64_t began_us = sim_now_us(play->world);
	uint32_t step_s = play->world->alive > GROWTH_LARGE ? CHECK_STEP_LARGE_S : 1;

	for (uint32_t i = 0; i <= limit_s; i += step_s) {
		if (sim_ring_is_right(play->world) && (!records || sim_records_are_placed(play->world))) {
			play->result->settle_s = (double)(sim_now_us(play->world) - began_us) / USEC_PER_SEC;
			return true;
		}
		if (!pass(play, step_s))
			return false;
	}
	/* Checked last, so that the reason tells what is not right. */
	(void)(sim_ring_is_right(play->world) && sim_records_are_placed(play->world));
	return violated(play);
}

/* ---- growing ---- */

static bool add(struct play *play, size_t count) {
	for (size_t i = 0; i < count; i++) {
		if (sim_node_add(play->world))
			continue;
		snprintf(play->world->reason, sizeof(play->world->reason), "a node could not be made: out of memory");
		return violated(play);
	}
	return true;
}

static bool grow_to(struct play *play, size_t count, enum sim_join join) {
	struct sim_world *world = play->world;

	if (world->node_count == 0 && (!add(play, 1) || !pass(play, 1)))
		return false;
	while (world->node_count < count) {
		size_t missing = count - world->node_count, some = 1;
		if (join == SIM_JOIN_AT_ONCE)
			some = missing;
		else if (join == SIM_JOIN_GROWTH)
			some = 1 + world->node_count / (world->node_count < GROWTH_LARGE ? GROWTH_DIVISOR : GROWTH_DIVISOR_LARGE);
		if (!add(play, some < missing ? some : missing))
			return false;
		if (join == SIM_JOIN_ONE_BY_ONE ? !settle(play, JOIN_LIMIT_S, false) : !pass(play, 1))
			return false;
	}
	return settle(play, JOIN_LIMIT_S, false);
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
		return violated(play);
	}
	_cleanup_free_ struct sim_node **ring = sim_ring(world, false, &count);
	if (!ring) {
		snprintf(world->reason, sizeof(world->reason), "out of memory");
		return violated(play);
	}
	play->no_samples = true;
	for (size_t i = 0; i < count; i++) {
		if (sim_settled_resume(ring[i]) < 0) {
			snprintf(world->reason, sizeof(world->reason), "node %zu could not take its place", ring[i]->index);
			return violated(play);
		}
		if ((i + 1) % each == 0 && !pass(play, 1))
			return false;
	}
	play->no_samples = false;
	return settle(play, JOIN_LIMIT_S, false);
}

static bool grow(struct play *play) {
	phase(play, "growing");
	if (play->settings->join == SIM_JOIN_SETTLED ? !begin_settled(play)
						     : !grow_to(play, play->settings->world.nodes, play->settings->join))
		return false;
	phase(play, "storing");
	sim_load_start(play->world);
	return pass(play, STORE_SETTLE_S);
}

static bool revive(struct play *play) {
	for (size_t i = 0; i < play->world->node_count; i++) {
		struct sim_node *node = play->world->nodes[i];
		if (node->host && node->left) /* it ended in order */
			sim_node_kill(node, true);
		if (!node->host && sim_node_restart(node) < 0) {
			snprintf(play->world->reason, sizeof(play->world->reason), "a node could not be made again: out of memory");
			return violated(play);
		}
	}
	return true;
}

static bool keeps_disk(struct play *play) {
	return sim_random_below(play->world, 1000000) < play->settings->disk_ppm;
}

/* ---- scenarios ---- */

static double memory_per_node(const struct sim_world *world) {
	return world->node_count ? (double)mallinfo2().uordblks / (double)world->node_count : 0;
}

static void take_sample(struct play *play, uint32_t after_s) {
	struct sim_result *result = play->result;

	if (result->sample_count == SIM_SAMPLES_MAX)
		return;
	result->samples[result->sample_count++] = (struct sim_sample){
		.after_s = after_s, .octets_per_node = memory_per_node(play->world), .links_mean = sim_links_mean(play->world)};
}

static bool pass_sampled(struct play *play, uint32_t duration_s, uint32_t sample_s) {
	uint32_t passed_s = 0;

	for (; sample_s > 0 && duration_s - passed_s >= sample_s; passed_s += sample_s) {
		if (!pass(play, sample_s))
			return false;
		take_sample(play, passed_s + sample_s);
	}
	return pass(play, duration_s - passed_s);
}

/* How long the quiet time takes is a figure of its own: an hour of 100,000 nodes is to be played in a quarter of one. */
static bool play_quiet(struct play *play) {
	if (!grow(play))
		return false;
	phase(play, "quiet");
	clock_t began = clock();
	uint64_t events = virtual_network_figures(play->world->network).events;
	bool going = pass_sampled(play, play->settings->duration_s, play->settings->sample_s);
	play->result->quiet_cpu_s = (double)(clock() - began) / CLOCKS_PER_SEC;
	play->result->quiet_events = virtual_network_figures(play->world->network).events - events;
	return going;
}

static bool play_mass_join(struct play *play) {
	phase(play, "joining all at once");
	if (!grow_to(play, play->settings->world.nodes, SIM_JOIN_AT_ONCE))
		return false;
	sim_load_start(play->world);
	return pass(play, STORE_SETTLE_S);
}

static bool play_flash_crowd(struct play *play) {
	phase(play, "growing to half");
	if (!grow_to(play, (play->settings->world.nodes + 1) / 2, play->settings->join))
		return false;
	sim_load_start(play->world);
	if (!pass(play, STORE_SETTLE_S))
		return false;
	phase(play, "the other half at once");
	return grow_to(play, play->settings->world.nodes, SIM_JOIN_AT_ONCE);
}

/* Dead nodes come back after CHURN_AWAY_S on average. */
static bool revive_some(struct play *play) {
	struct sim_world *world = play->world;

	for (size_t i = 0; i < world->node_count; i++)
		if (!world->nodes[i]->host && sim_random_below(world, CHURN_AWAY_S) == 0 && sim_node_restart(world->nodes[i]) < 0) {
			snprintf(world->reason, sizeof(world->reason), "a node could not be made again: out of memory");
			return violated(play);
		}
	return true;
}

/* Each second so many of the living die, on average, that half of them are gone after the half-life. */
static bool play_churn(struct play *play) {
	struct sim_world *world = play->world;
	const double half_life_s = play->settings->half_life_s;
	double due = 0;

	if (!grow(play))
		return false;
	phase(play, "churn");
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
		if (!revive_some(play) || !pass(play, 1))
			return false;
	}
	return revive(play);
}

/* Two consecutive nodes vanish with their disks at the same moment. No record may be lost: the third copy is the source. */
static bool play_kill_two(struct play *play) {
	struct sim_world *world = play->world;

	if (!grow(play) || !settle(play, settle_limit(play), true))
		return false;
	phase(play, "killing two neighbors");
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
		if (!settle(play, settle_limit(play), true) || !sim_records_are_safe(world))
			return violated(play);
		if (!revive(play) || !settle(play, settle_limit(play), true))
			return false;
	}
	return true;
}

static bool play_kill_third(struct play *play) {
	struct sim_world *world = play->world;

	if (!grow(play) || !settle(play, settle_limit(play), true))
		return false;
	phase(play, "30 of 100 vanish");
	size_t count = world->alive * 3 / 10;
	for (size_t i = 0; i < count; i++) {
		struct sim_node *node = sim_pick(world, false);
		if (node && node->index > 0)
			sim_node_kill(node, keeps_disk(play));
	}
	return settle(play, settle_limit(play), true);
}

static bool play_partition(struct play *play) {
	struct sim_world *world = play->world;

	if (!grow(play))
		return false;
	for (uint32_t i = 0; i < play->settings->repetitions; i++) {
		struct sim_fault part = {.type = SIM_FAULT_PARTITION, .argument = (uint32_t)sim_random_below(world, UINT32_MAX)};
		phase(play, "partition");
		play->no_samples = true;
		sim_fault_play(world, &part);
		if (!pass(play, PARTITION_S))
			return false;
		phase(play, "merging");
		sim_fault_play(world, &(struct sim_fault){.type = SIM_FAULT_HEAL});
		if (!settle(play, settle_limit(play), true))
			return false;
		play->no_samples = false;
	}
	return true;
}

static bool play_bootstrap_loss(struct play *play) {
	struct sim_world *world = play->world;
	size_t bootstraps = world->settings.bootstraps, spare = play->settings->world.nodes / 10 + 1;

	if (!grow(play))
		return false;
	phase(play, "without bootstrap nodes");
	for (size_t i = 0; i < bootstraps && i < world->node_count; i++)
		sim_node_kill(world->nodes[i], true);
	if (!settle(play, settle_limit(play), true) || !add(play, spare) || !pass(play, play->settings->duration_s))
		return false;
	phase(play, "bootstrap nodes are back");
	return revive(play) && settle(play, settle_limit(play), true);
}

static bool play_restart_all(struct play *play) {
	struct sim_world *world = play->world;

	if (!grow(play) || !settle(play, settle_limit(play), true))
		return false;
	phase(play, "restart of all");
	for (size_t i = 0; i < world->node_count; i++)
		sim_node_kill(world->nodes[i], true);
	return revive(play) && settle(play, settle_limit(play), true);
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
static bool play_mute_peers(struct play *play) {
	struct sim_world *world = play->world;

	if (!grow(play) || !settle(play, settle_limit(play), true))
		return false;
	for (uint32_t i = 0; i < play->settings->repetitions; i++) {
		phase(play, "mute peers");
		play->no_samples = true; /* between a peer's end and its being noticed nobody owns its range */
		some(play, sim_node_mute);
		if (!settle(play, settle_limit(play), true))
			return false;
		phase(play, "they speak again");
		for (size_t k = 0; k < world->node_count; k++)
			if (world->nodes[k]->mute)
				sim_node_unmute(world->nodes[k]);
		if (!settle(play, settle_limit(play), true))
			return false;
		play->no_samples = false;
	}
	return true;
}

/*
 * What the limits of RFC 6940 13 leave to liars is that lookups through them and to them fail. The ring stays right while they lie,
 * nobody believes values that nobody stored, and nothing is left of it when they are gone.
 */
static bool play_lying_peers(struct play *play) {
	if (!grow(play) || !settle(play, settle_limit(play), true))
		return false;
	phase(play, "lying peers");
	some(play, sim_node_lie);
	for (uint32_t second = 0; second < play->settings->duration_s; second++) {
		sim_liars_act(play->world);
		if (!pass(play, 1))
			return false;
	}
	if (!settle(play, QUIET_S, false))
		return false;
	phase(play, "liars restart");
	for (size_t i = 0; i < play->world->node_count; i++)
		if (play->world->nodes[i]->liar)
			sim_node_kill(play->world->nodes[i], true);
	return revive(play) && settle(play, settle_limit(play), true);
}

/* Nodes that cannot be reached try to join for the whole duration; the others must not suffer from it. */
static bool play_hidden_nodes(struct play *play) {
	if (!grow(play) || !settle(play, settle_limit(play), true))
		return false;
	phase(play, "nodes behind NATs");
	play->world->hiding = true;
	bool going = add(play, play->settings->world.nodes / 10 + 1) && pass(play, play->settings->duration_s);
	play->world->hiding = false;
	return going && settle(play, settle_limit(play), true);
}

static bool rolled_out(struct play *play) {
	uint64_t began_us = sim_now_us(play->world);

	while (!sim_configuration_is_everywhere(play->world)) {
		if (sim_now_us(play->world) - began_us > ROLL_LIMIT_S * USEC_PER_SEC)
			return violated(play);
		if (!pass(play, 1))
			return false;
	}
	sim_tell(play->world, "configuration %u is everywhere", play->world->sequence);
	return true;
}

/* New documents one after the other, each given to one node, while Stores and Fetches go on; a tenth of the nodes is away and comes
 * back with the old document. */
static bool play_configuration_roll(struct play *play) {
	struct sim_world *world = play->world;

	if (!grow(play) || !settle(play, settle_limit(play), true))
		return false;
	for (uint32_t i = 0; i < play->settings->repetitions; i++) {
		phase(play, "configuration roll");
		for (size_t k = 0; k < world->alive / 10 + 1; k++) {
			struct sim_node *node = sim_pick(world, false);
			if (node && node->index > 0)
				sim_node_kill(node, true);
		}
		if (sim_configuration_roll(world) < 0) {
			snprintf(world->reason, sizeof(world->reason), "a node did not take configuration %u",
				 world->sequence + 1u);
			return violated(play);
		}
		if (!rolled_out(play) || !revive(play) || !settle(play, settle_limit(play), true) || !rolled_out(play))
			return false;
	}
	return true;
}

static bool play_random(struct play *play) {
	struct sim_world *world = play->world;
	struct sim_script drawn = {0};
	const struct sim_script *script = play->settings->script;

	if (!grow(play))
		return false;
	if (!script) {
		if (sim_script_random(world->settings.seed, play->settings->repetitions, &drawn) < 0)
			return violated(play);
		script = &drawn;
	}
	phase(play, "faults");
	play->no_samples = true;
	bool going = true;
	uint64_t waited_ms = 0;
	for (size_t i = 0; i < script->count && going; i++) {
		waited_ms += script->faults[i].after_ms;
		going = pass(play, waited_ms / 1000);
		waited_ms %= 1000;
		if (going)
			sim_fault_play(world, &script->faults[i]);
	}
	sim_script_release(&drawn);
	if (!going)
		return false;
	phase(play, "healing");
	sim_fault_play(world, &(struct sim_fault){.type = SIM_FAULT_HEAL});
	return revive(play) && settle(play, settle_limit(play), true);
}

static bool (*const scenario_functions[])(struct play *play) = {
	play_quiet,	 play_mass_join,   play_flash_crowd,	play_churn,	  play_kill_two,
	play_kill_third, play_partition,   play_bootstrap_loss, play_restart_all, play_configuration_roll,
	play_mute_peers, play_lying_peers, play_hidden_nodes,	play_random,
};

const struct sim_scenario_text sim_scenarios[] = {
	{"quiet", "nodes join, records are stored, nothing else happens"},
	{"mass-join", "all nodes join at the same moment through the bootstrap nodes"},
	{"flash-crowd", "half of the nodes join at once an overlay made of the other half"},
	{"churn", "nodes die all the time, with the half-life given, and come back after a minute on average"},
	{"kill-two", "two consecutive nodes vanish with their disks, again and again"},
	{"kill-30-percent", "three nodes of ten vanish at once"},
	{"partition-merge", "the network falls into two halves and becomes one again, repeatedly"},
	{"bootstrap-loss", "all bootstrap nodes vanish while new nodes want to join, and come back"},
	{"restart-all", "all nodes crash at once and start again with their disks"},
	{"configuration-roll", "new configuration documents, each given to one node, must reach all, those that were away too"},
	{"mute-peers", "a tenth of the nodes hangs: links live, nobody answers; later they speak again"},
	{"lying-peers", "a tenth of the nodes drops, misroutes, invents neighbors and forges answers"},
	{"hidden-nodes", "a tenth more, which nobody can open a link to, tries to join"},
	{"random", "a script of random faults drawn from the seed"},
	{NULL, NULL},
};

/* ---- the end of each run ---- */

static bool operations_end(struct play *play) {
	sim_load_stop(play->world);
	for (unsigned i = 0; i < SIM_OPERATION_LIMIT_S && play->world->operation_count > 0; i++)
		if (!pass(play, 1))
			return false;
	if (play->world->operation_count == 0)
		return true;
	snprintf(play->world->reason, sizeof(play->world->reason), "%zu operations did not end", play->world->operation_count);
	return violated(play);
}

static bool read_all(struct play *play) {
	struct sim_world *world = play->world;
	struct sim_figures before = world->figures;

	phase(play, "reading all records");
	for (size_t i = 0; i < world->settings.records; i++) {
		if (!world->records[i].excused)
			sim_lookup(world, &world->records[i]);
		if (i % PROBE_BATCH == PROBE_BATCH - 1 && !pass(play, 1))
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
		return violated(play);
	}
	return true;
}

static bool measure(struct play *play) {
	struct sim_world *world = play->world;
	uint32_t probes = play->settings->probes;

	if (probes == 0)
		probes = world->alive * 10 < PROBES_MAX ? (uint32_t)world->alive * 10 : PROBES_MAX;
	phase(play, "measuring hops");
	for (uint32_t i = 0; i < probes; i += PROBE_BATCH) {
		sim_probe(world, PROBE_BATCH);
		if (!pass(play, 1))
			return false;
	}
	if (!operations_end(play))
		return false;
	phase(play, "measuring maintenance");
	uint32_t window_s = world->settings.update_interval_s > QUIET_S ? world->settings.update_interval_s : QUIET_S;
	if (play->settings->window_s > 0)
		window_s = play->settings->window_s;
	struct virtual_figures before = virtual_network_figures(world->network);
	if (!pass(play, window_s))
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
	result->octets_per_node = memory_per_node(world);
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
	bool good = scenario_functions[which](&play) && operations_end(&play);
	ret->lookup_success = lookup_success(&play.world->figures);
	double settle_s = ret->settle_s;
	good = good && settle(&play, settle_limit(&play), true);
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
