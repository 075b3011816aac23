/* SPDX-License-Identifier: BSD-2-Clause */
#include "cmd/sim_report.h"

#include "base/runtime.h"

#include <jansson.h>
#include <sys/resource.h>

static double resident_mib(void) {
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_maxrss / 1024;
}

/* Of the whole process, all runs. */
static double cpu_seconds(void) {
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / USEC_PER_SEC;
}

void sim_report_text(const struct sim_play_settings *play, const struct sim_result *result, double wall_s) {
	const struct sim_figures *figures = &result->figures;

	printf("%s, %zu nodes, seed %llu: %s\n", play->scenario, play->world.nodes, (unsigned long long)play->world.seed,
	       result->violated ? "a check FAILED" : "all checks held");
	printf("  time           %.0f s simulated in %.1f s, %llu events, %.0f events/s\n", result->virtual_s, wall_s,
	       (unsigned long long)result->events, (double)result->events / wall_s);
	printf("  memory         %.1f KiB a node at the end, %.0f MiB at most\n", result->octets_per_node / 1024, resident_mib());
	printf("  nodes          %zu living, %llu joins, %llu fell out, %llu crashes, %llu left; ring right %.0f s after the last "
	       "fault\n",
	       result->nodes_alive, (unsigned long long)figures->joins, (unsigned long long)figures->falls,
	       (unsigned long long)figures->kills, (unsigned long long)figures->leaves, result->settle_s);
	printf("  lookups        %llu, success %.5f while the scenario ran; %llu failed, %llu old, %llu missing in all\n",
	       (unsigned long long)figures->lookups, result->lookup_success, (unsigned long long)figures->lookups_failed,
	       (unsigned long long)figures->lookups_stale, (unsigned long long)figures->lookups_missing);
	printf("  stores         %llu acknowledged, %llu failed; %llu records lost, %llu more with all their holders\n",
	       (unsigned long long)figures->stores_acknowledged, (unsigned long long)figures->stores_failed,
	       (unsigned long long)figures->records_lost, (unsigned long long)figures->records_excused);
	printf("  keys           %llu sampled: %llu without a responsible peer, %llu with several at that moment\n",
	       (unsigned long long)figures->keys_sampled, (unsigned long long)figures->keys_unowned,
	       (unsigned long long)figures->keys_contested);
	printf("  hops           %.3f on average, 99 of 100 within %u (%llu Pings, %llu failed)\n", result->hops_mean,
	       result->hops_p99, (unsigned long long)figures->probes, (unsigned long long)figures->probes_failed);
	printf("  maintenance    %.1f octets and %.2f messages per node and second, %.1f links per node\n",
	       result->octets_per_node_s, result->messages_per_node_s, result->links_mean);
}

static json_t *samples_json(const struct sim_result *result) {
	json_t *list = json_array();

	for (size_t i = 0; i < result->sample_count; i++) {
		const struct sim_sample *sample = &result->samples[i];
		json_array_append_new(list, json_pack("{s:f, s:f, s:f}", "after_s", sample->after_s, "bytes_per_node",
						      sample->octets_per_node, "links_mean", sample->links_mean));
	}
	return list;
}

static json_t *result_json(const struct sim_play_settings *play, const struct sim_result *result, double wall_s) {
	const struct sim_figures *figures = &result->figures;
	json_t *json = json_pack("{s:s, s:i, s:I, s:b, s:s, s:f, s:f, s:I, s:f, s:f, s:i, s:f}", "scenario", play->scenario,
				 "nodes", (int)play->world.nodes, "seed", (json_int_t)play->world.seed, "violated",
				 result->violated, "reason", result->reason, "virtual_s", result->virtual_s, "wall_s", wall_s,
				 "events", (json_int_t)result->events, "events_per_s", (double)result->events / wall_s, "settle_s",
				 result->settle_s, "hops_p99", (int)result->hops_p99, "resident_mib", resident_mib());
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
		{"nodes_alive", result->nodes_alive},
		{"joins", figures->joins},
		{"falls", figures->falls},
		{"crashes", figures->kills},
		{"leaves", figures->leaves},
		{"lookups", figures->lookups},
		{"lookups_failed", figures->lookups_failed},
		{"lookups_stale", figures->lookups_stale},
		{"lookups_missing", figures->lookups_missing},
		{"lookups_forged", figures->lookups_forged},
		{"lies", figures->lies},
		{"answers", figures->answers},
		{"answers_of_strangers", figures->strangers},
		{"stores_acknowledged", figures->stores_acknowledged},
		{"stores_failed", figures->stores_failed},
		{"records_lost", figures->records_lost},
		{"records_lost_with_all_holders", figures->records_excused},
		{"keys_sampled", figures->keys_sampled},
		{"keys_unowned", figures->keys_unowned},
		{"keys_contested", figures->keys_contested},
		{"probes", figures->probes},
		{"probes_failed", figures->probes_failed},
	};
	const struct {
		const char *name;
		double value;
	} means[] = {
		{"hops_mean", result->hops_mean},
		{"lookup_success", result->lookup_success},
		{"cpu_s", cpu_seconds()},
		{"quiet_cpu_s", result->quiet_cpu_s},
		{"quiet_events", (double)result->quiet_events},
		{"bytes_per_node", result->octets_per_node},
		{"octets_per_node_s", result->octets_per_node_s},
		{"messages_per_node_s", result->messages_per_node_s},
		{"links_mean", result->links_mean},
	};

	for (size_t i = 0; json && i < ARRAY_LENGTH(counts); i++)
		json_object_set_new(json, counts[i].name, json_integer((json_int_t)counts[i].value));
	for (size_t i = 0; json && i < ARRAY_LENGTH(means); i++)
		json_object_set_new(json, means[i].name, json_real(means[i].value));
	if (json && play->sample_s > 0)
		json_object_set_new(json, "samples", samples_json(result));
	return json;
}

void sim_report_json(const struct sim_play_settings *play, const struct sim_result *result, double wall_s) {
	json_t *json = result_json(play, result, wall_s);

	if (json)
		json_dumpf(json, stdout, JSON_INDENT(2));
	puts("");
	json_decref(json);
}

void sim_report_violation(const struct sim_play_settings *play, const struct sim_result *result) {
	size_t lines = result->history_count < SIM_HISTORY_LINES ? result->history_count : SIM_HISTORY_LINES;

	fprintf(stderr, "A check failed at %.0f s of \"%s\" (%s): %s.\nWhat happened before:\n", result->virtual_s, play->scenario,
		result->phase, result->reason);
	for (size_t i = result->history_count - lines; i < result->history_count; i++)
		fprintf(stderr, "  %s\n", result->history[i % SIM_HISTORY_LINES]);
	fprintf(stderr, "The same again: --seed %llu and the same options.\n", (unsigned long long)play->world.seed);
}
