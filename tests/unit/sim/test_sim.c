/* SPDX-License-Identifier: BSD-2-Clause */
/* The simulator: the same seed gives the same run, scenarios end well, and its checks notice what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "sim/picture.h"
#include "sim/play.h"
#include "storage/database.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sim_play_settings settings_of(const char *scenario, size_t nodes, uint64_t seed) {
	struct sim_play_settings settings = {
		.world = sim_settings_default,
		.scenario = scenario,
		.duration_s = 60,
		.half_life_s = 600,
		.repetitions = 2,
		.probes = 100,
	};

	settings.world.seed = seed;
	settings.world.nodes = nodes;
	settings.world.records = nodes;
	settings.world.update_interval_s = 60;
	settings.world.ping_interval_s = 300;
	settings.world.lookup_interval_s = 20;
	settings.world.store_interval_s = 120;
	return settings;
}

static void play(const struct sim_play_settings *settings, struct sim_result *ret) {
	assert_int_equal(sim_play(settings, ret), 0);
	if (ret->violated)
		fail_msg("%s, seed %llu: %s", settings->scenario, (unsigned long long)settings->world.seed, ret->reason);
}

static void test_same_seed_same_run(void **state) {
	static struct sim_result a, b, c;
	struct sim_play_settings settings = settings_of("churn", 12, 7), other = settings_of("churn", 12, 8);

	(void)state;
	settings.world.loss_ppm = 10000;
	settings.world.reordering_ppm = settings.world.duplication_ppm = 20000;
	settings.world.skew_ms = 500;
	play(&settings, &a);
	play(&settings, &b);
	play(&other, &c);
	assert_int_equal(a.events, b.events);
	assert_memory_equal(&a.figures, &b.figures, sizeof(a.figures));
	assert_true(a.octets_per_node_s == b.octets_per_node_s && a.virtual_s == b.virtual_s);
	assert_int_not_equal(a.events, c.events);
}

static void test_scenarios(void **state) {
	static struct sim_result result;

	(void)state;
	for (const struct sim_scenario *scenario = sim_scenarios; scenario->name; scenario++) {
		struct sim_play_settings settings = settings_of(scenario->name, 16, 3);
		settings.repetitions = strcmp(scenario->name, "random") == 0 ? 12 : 2;
		play(&settings, &result);
		assert_true(result.nodes_alive > 0);
		assert_true(result.figures.stores_acknowledged >= 16);
		assert_int_equal(result.figures.records_lost, 0);
		assert_true(result.hops_mean > 0 && result.octets_per_node_s > 0);
	}
	struct sim_play_settings unknown = settings_of("unknown", 2, 1);
	assert_int_equal(sim_play(&unknown, &result), -EINVAL);
}

/* An overlay that begins settled is right without a further fault or join, and goes through what a grown one goes through. */
static void test_settled(void **state) {
	static const char *const scenarios[] = {"quiet", "kill-two"};
	static const size_t sizes[] = {2, 9, 60};
	static struct sim_result result;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
		struct sim_play_settings settings = settings_of(scenarios[sizes[i] == 60], sizes[i], 4);
		settings.join = SIM_JOIN_SETTLED;
		settings.window_s = 30;
		play(&settings, &result);
		assert_true(result.nodes_alive >= sizes[i]);
		assert_int_equal(result.figures.falls, 0);
		assert_true(result.figures.stores_acknowledged >= sizes[i]);
		assert_int_equal(result.figures.records_lost, 0);
	}
	struct sim_play_settings alone = settings_of("quiet", 1, 4);
	alone.join = SIM_JOIN_SETTLED;
	assert_int_equal(sim_play(&alone, &result), 0);
	assert_true(result.violated); /* nobody to be linked to */
}

/* Everybody has the links it wants, and no others: 300 nodes take themselves for some more than 4^4 or for some less, which makes a
 * neighbor more or less on either side. The ring is right from the first look on, and nobody closes a link or asks for one. */
static void test_settled_at_rest(void **state) {
	static struct sim_result result;
	struct sim_play_settings settings = settings_of("quiet", 300, 5);

	(void)state;
	settings.join = SIM_JOIN_SETTLED;
	settings.world.update_interval_s = 600;
	settings.world.records = 3;
	settings.window_s = 30;
	play(&settings, &result);
	assert_true(result.settle_s == 0);
	assert_int_equal(result.figures.joins, 300);
	assert_int_equal(result.figures.falls, 0);
	assert_true(result.quiet_events > 0 && result.links_mean > 2 * 4);
}

/* Samples of the quiet time are taken as often as asked for, and no more than there is room for. */
static void test_samples(void **state) {
	static struct sim_result result;
	struct sim_play_settings settings = settings_of("quiet", 8, 9);

	(void)state;
	play(&settings, &result);
	assert_int_equal(result.sample_count, 0);
	settings.duration_s = 70;
	settings.sample_s = 20;
	play(&settings, &result);
	assert_int_equal(result.sample_count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_true(result.samples[i].after_s == 20.0 * (double)(i + 1));
#ifndef __SANITIZE_ADDRESS__ /* its allocator does not count */
		assert_true(result.samples[i].octets_per_node > 1000);
#endif
		assert_true(result.samples[i].links_mean > 6 && result.samples[i].links_mean < 8);
	}
	settings.duration_s = SIM_SAMPLES_MAX + 10;
	settings.sample_s = 1;
	play(&settings, &result);
	assert_int_equal(result.sample_count, SIM_SAMPLES_MAX);
	assert_true(result.samples[SIM_SAMPLES_MAX - 1].after_s == SIM_SAMPLES_MAX);
}

/* Liars do harm, as far as lookups go, and nothing else. */
static void test_lying_peers(void **state) {
	static struct sim_result result;
	struct sim_play_settings settings = settings_of("lying-peers", 24, 6);

	(void)state;
	settings.duration_s = 120;
	settings.world.lookup_interval_s = 5;
	play(&settings, &result);
	assert_true(result.figures.lies > 200);
	assert_true(result.figures.lookups_missing + result.figures.lookups_failed > 0);
	assert_int_equal(result.figures.lookups_forged, 0);
	assert_int_equal(result.figures.lookups_stale, 0);
	assert_true(result.lookup_success > 0.5 && result.lookup_success < 1);
	assert_int_equal(result.figures.falls, 0);
}

static void test_mute_and_hidden(void **state) {
	static struct sim_result result;
	struct sim_play_settings mute = settings_of("mute-peers", 20, 6), hidden = settings_of("hidden-nodes", 20, 6);

	(void)state;
	play(&mute, &result);
	assert_true(result.figures.falls > 0); /* who hears of nobody is not in the overlay */
	assert_true(result.figures.joins >= 20 + result.figures.falls);
	assert_int_equal(result.figures.kills, 0);
	play(&hidden, &result);
	assert_int_equal(result.nodes_alive, 23);
	assert_int_equal(result.figures.joins, 20);
	assert_int_equal(result.figures.falls, 0);
}

/* B-6.5.4: a new document spreads over the neighbors; whoever was away has it after its first requests. */
static void test_configuration_roll(void **state) {
	struct sim_play_settings settings = settings_of("quiet", 12, 5);
	struct sim_world *world;

	(void)state;
	settings.world.own_configurations = true;
	assert_int_equal(sim_world_new(&settings.world, &world), 0);
	assert_int_equal(sim_configuration_roll(world), -EBADMSG); /* nobody there to take it */
	for (size_t i = 0; i < 12; i++) {
		assert_non_null(sim_node_add(world));
		sim_run(world, 5 * USEC_PER_SEC);
	}
	assert_true(sim_configuration_is_everywhere(world));
	sim_node_kill(world->nodes[7], true);
	assert_int_equal(sim_configuration_roll(world), 0);
	assert_int_equal(world->sequence, 2);
	assert_false(sim_configuration_is_everywhere(world));
	assert_non_null(strstr(world->reason, "has configuration 1, not 2"));
	sim_run(world, 20 * USEC_PER_SEC);
	assert_true(sim_configuration_is_everywhere(world));
	assert_int_equal(sim_node_restart(world->nodes[7]), 0);
	assert_false(sim_configuration_is_everywhere(world));
	sim_run(world, 60 * USEC_PER_SEC);
	assert_true(sim_configuration_is_everywhere(world));
	assert_true(sim_ring_is_right(world));
	sim_world_free(world);
}

static struct sim_world *grown(size_t nodes) {
	struct sim_play_settings settings = settings_of("quiet", nodes, 5);
	struct sim_world *world;

	assert_int_equal(sim_world_new(&settings.world, &world), 0);
	for (size_t i = 0; i < nodes; i++) {
		assert_non_null(sim_node_add(world));
		sim_run(world, 5 * USEC_PER_SEC);
	}
	sim_load_start(world);
	sim_run(world, 120 * USEC_PER_SEC);
	assert_true(sim_ring_is_right(world));
	assert_true(sim_records_are_placed(world));
	assert_true(sim_records_are_safe(world));
	assert_true(sim_bounds_hold(world));
	return world;
}

static void test_broken_ring_is_noticed(void **state) {
	struct sim_world *world = grown(8);

	(void)state;
	struct sim_node *node = world->nodes[3];
	router_set_range(node->router, NULL, true); /* it thinks that everything is its own */
	assert_false(sim_ring_is_right(world));
	assert_non_null(strstr(world->reason, "node 3"));
	sim_world_free(world);
}

static void test_dead_neighbor_is_noticed(void **state) {
	struct sim_world *world = grown(8);

	(void)state;
	sim_node_kill(world->nodes[2], true);
	assert_false(sim_ring_is_right(world)); /* its neighbors still list it */
	sim_run(world, 300 * USEC_PER_SEC);
	assert_true(sim_ring_is_right(world));
	assert_true(sim_records_are_placed(world));
	assert_int_equal(sim_node_restart(world->nodes[2]), 0);
	assert_int_equal(sim_node_restart(world->nodes[2]), -EALREADY);
	assert_false(sim_ring_is_right(world)); /* not joined */
	sim_world_free(world);
}

static void test_loss_is_noticed(void **state) {
	struct sim_world *world = grown(8);
	const struct sim_record *record = &world->records[4];

	(void)state;
	for (size_t i = 0; i < world->node_count; i++) {
		if (i == 0)
			assert_true(sim_records_are_safe(world));
		assert_true(record_discard(world->nodes[i]->database, &record->place, SIM_KIND) >= 0);
	}
	assert_false(sim_records_are_placed(world));
	assert_false(sim_records_are_safe(world));
	assert_non_null(strstr(world->reason, record->user->certificate->user_name));
	assert_int_equal(world->figures.records_lost, 1);
	sim_world_free(world);
}

static bool not_mine(const struct topology *topology, const struct id *resource) {
	(void)topology;
	(void)resource;
	return false;
}

/* The peer that answers says afterwards that the resource is not its own: as if it had answered for another one. */
static void test_stranger_is_noticed(void **state) {
	struct sim_world *world = grown(8);
	const struct sim_record *record = &world->records[4];

	(void)state;
	assert_true(world->figures.answers >= 8);
	for (size_t i = 0; i < world->node_count; i++) {
		struct topology *topology = world->nodes[i]->topology;
		static struct topology_ops ops;
		if (!topology->ops->responsible(topology, &record->place))
			continue;
		ops = *topology->ops;
		ops.responsible = not_mine;
		topology->ops = &ops;
	}
	sim_load_stop(world);
	sim_run(world, 60 * USEC_PER_SEC);
	assert_true(sim_bounds_hold(world));
	assert_int_equal(sim_lookup(world, &world->records[4]), 0);
	sim_run(world, 10 * USEC_PER_SEC);
	assert_int_equal(world->figures.strangers, 1);
	assert_false(sim_bounds_hold(world));
	assert_non_null(strstr(world->reason, "not responsible"));
	sim_world_free(world);
}

/* Nobody can sign for others, and who has a key of its own is believed, whatever stands for signatures. */
static void test_real_signatures(void **state) {
	static struct sim_result result;
	struct sim_play_settings settings = settings_of("lying-peers", 16, 6);

	(void)state;
	settings.world.real_signatures = true;
	play(&settings, &result);
	assert_true(result.figures.lies > 0);
	assert_true(result.figures.answers >= result.figures.stores_acknowledged);
	assert_true(result.lookup_success > 0.5);
}

/* All three holders vanish at once: nobody can be blamed. */
static void test_excused_loss(void **state) {
	struct sim_world *world = grown(10);
	struct sim_record *record = &world->records[1];

	(void)state;
	assert_true(record->holder_count >= 3);
	for (size_t i = 0; i < world->node_count; i++)
		if (i > 0 && world->nodes[i]->host)
			for (size_t k = 0; k < record->holder_count; k++)
				if (record->holders[k] == i)
					sim_node_kill(world->nodes[i], false);
	sim_run(world, 60 * USEC_PER_SEC);
	assert_true(sim_records_are_safe(world));
	assert_int_equal(world->figures.records_lost, 0);
	sim_world_free(world);
}

/* A record survives the restart of a neighbor within the hold-down, which returns with nothing. */
static void test_quick_restart_gets_copies(void **state) {
	struct sim_world *world = grown(10);

	(void)state;
	sim_load_stop(world);
	for (size_t i = 1; i < world->node_count; i++) {
		sim_node_kill(world->nodes[i], false);
		assert_int_equal(sim_node_restart(world->nodes[i]), 0);
		sim_run(world, 150 * USEC_PER_SEC);
		if (!sim_records_are_placed(world))
			fail_msg("%s", world->reason);
	}
	sim_world_free(world);
}

/* A picture with a circle for each node and each record, whole or not there at all. */
static void test_picture(void **state) {
	struct sim_world *world = grown(8);
	char directory[] = "/tmp/ringgate-picture-XXXXXX", path[64], line[512];
	size_t circles = 0, lines = 0;
	bool ended = false;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/ring.svg", directory);
	sim_node_kill(world->nodes[3], true);
	for (int i = 0; i < 2; i++) /* the second replaces the first */
		assert_int_equal(sim_picture_write(world, path), 0);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		circles += strstr(line, "<circle") != NULL;
		lines += strstr(line, "<line") != NULL;
		ended = strcmp(line, "</svg>\n") == 0;
	}
	fclose(file);
	assert_true(ended);
	assert_int_equal(circles, 8 + world->settings.records);
	assert_true(lines > 0);
	unlink(path);
	rmdir(directory);
	assert_int_equal(sim_picture_write(world, path), -ENOENT);
	sim_world_free(world);
}

/* ---- scripts ---- */

static bool two_crashes(void *userdata, const struct sim_script *script) {
	size_t crashes = 0;

	(void)userdata;
	for (size_t i = 0; i < script->count; i++)
		crashes += script->faults[i].type == SIM_FAULT_CRASH;
	return crashes >= 2;
}

static void test_shrink(void **state) {
	struct sim_script script, again;
	uint64_t before_ms = 0;

	(void)state;
	assert_int_equal(sim_script_random(9, 200, &script), 0);
	assert_int_equal(sim_script_random(9, 200, &again), 0);
	assert_memory_equal(script.faults, again.faults, 200 * sizeof(*script.faults));
	for (size_t i = 0; i < script.count; i++) {
		assert_true(script.faults[i].type < SIM_FAULTS);
		before_ms += script.faults[i].after_ms;
	}
	assert_true(two_crashes(NULL, &script));
	assert_true(sim_script_shrink(&script, two_crashes, NULL) > 0);
	assert_int_equal(script.count, 2);
	assert_true(script.faults[0].after_ms + script.faults[1].after_ms <= before_ms);
	sim_script_release(&script);
	sim_script_release(&again);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_seed_same_run),
		cmocka_unit_test(test_scenarios),
		cmocka_unit_test(test_settled),
		cmocka_unit_test(test_settled_at_rest),
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_lying_peers),
		cmocka_unit_test(test_mute_and_hidden),
		cmocka_unit_test(test_configuration_roll),
		cmocka_unit_test(test_broken_ring_is_noticed),
		cmocka_unit_test(test_dead_neighbor_is_noticed),
		cmocka_unit_test(test_loss_is_noticed),
		cmocka_unit_test(test_stranger_is_noticed),
		cmocka_unit_test(test_real_signatures),
		cmocka_unit_test(test_excused_loss),
		cmocka_unit_test(test_quick_restart_gets_copies),
		cmocka_unit_test(test_picture),
		cmocka_unit_test(test_shrink),
	};

	log_level = LOG_EMERG;
	return cmocka_run_group_tests_name("sim", tests, NULL, NULL);
}
