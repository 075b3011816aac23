/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Simulated overlays: hops and cost of maintenance with 100 and 1,000 nodes, lookups at 1,000 nodes whose half dies in ten minutes,
 * and how many events of virtual time one core plays in a second. One run each: the first three follow from the seed alone.
 */
#include "base/log.h"
#include "base/runtime.h"
#include "sim/play.h"

static bool play(const char *scenario, size_t nodes, struct sim_result *ret, double *ret_events_per_s) {
	struct sim_play_settings settings = {
		.world = sim_settings_default, .scenario = scenario, .duration_s = 300, .half_life_s = 600, .repetitions = 1};

	settings.world.nodes = nodes;
	settings.world.records = nodes;
	settings.world.lookup_interval_s = 60;
	settings.world.store_interval_s = 600;
	uint64_t began_us = clock_monotonic_us();
	if (sim_play(&settings, ret) < 0)
		return false;
	*ret_events_per_s = (double)ret->events * USEC_PER_SEC / (double)(clock_monotonic_us() - began_us);
	if (ret->violated)
		fprintf(stderr, "%s, %zu nodes: %s\n", scenario, nodes, ret->reason);
	return true;
}

static bool quiet(size_t nodes, double *ret_events_per_s) {
	static struct sim_result result;

	if (!play("quiet", nodes, &result, ret_events_per_s) || result.violated)
		return false;
	printf("sim_hops_mean_%zu %.3f\n", nodes, result.hops_mean);
	printf("sim_maint_bytes_per_node_s_%zu %.1f\n", nodes, result.octets_per_node_s);
	fflush(stdout);
	return true;
}

int main(void) {
	static struct sim_result result;
	double events_per_s, ignored;

	log_level = LOG_EMERG;
	if (!quiet(100, &ignored) || !quiet(1000, &events_per_s))
		return 1;
	printf("sim_events_per_s %.0f\n", events_per_s);
	if (!play("churn", 1000, &result, &ignored))
		return 1;
	printf("sim_lookup_success_churn10 %.5f\n", result.lookup_success);
	return result.violated;
}
