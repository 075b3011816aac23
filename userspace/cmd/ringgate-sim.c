/* SPDX-License-Identifier: BSD-2-Clause */
/* ringgate-sim: thousands of nodes in one process on virtual time. See ringgate-sim(1). */
#include "base/log.h"
#include "base/runtime.h"
#include "cmd/sim_report.h"
#include "sim/picture.h"
#include "sim/play.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <string.h>

static const char usage_head[] =
	"ringgate-sim - thousands of Ringgate nodes in one process, on virtual time\n"
	"\n"
	"Usage: ringgate-sim [OPTION...] [SCENARIO]\n"
	"\n"
	"The nodes are the daemon's own code for forwarding, topology and storage; only links, clock and signatures are\n"
	"simulated. While a scenario runs, and at its end, it is checked that the ring is right, that every record is where\n"
	"it must be, and that nothing acknowledged is lost. The same seed gives the same run.\n"
	"\n"
	"Scenarios:\n";

static const char usage_options[] =
	"\n"
	"Options:\n"
	"  -n, --nodes N               nodes (default 100)\n"
	"  -s, --seed N                what everything random is drawn from (default 1)\n"
	"      --runs N                play so many times, with seed, seed + 1 and so on; stop at the first violation\n"
	"      --records N             records stored (default: as many as nodes, at most 1000)\n"
	"      --duration S            seconds of virtual time for quiet, churn, bootstrap-loss, lying-peers and hidden-nodes "
	"(default 600)\n"
	"      --join growth|at-once|one-by-one|settled   how the overlay grows (default growth: by a twentieth each second;\n"
	"                              settled: it begins with all nodes, linked for a day already)\n"
	"      --half-life S           churn: after so long half of the nodes have died (default 600)\n"
	"      --repetitions N         kills and partitions (default 3), or faults of random (default 100)\n"
	"      --settle S              the ring must be right so long after the last fault (default 600 + 4 update intervals)\n"
	"      --disk PERCENT          crashed nodes that keep their records, in churn and kill-30-percent (default 0)\n"
	"      --latency MS|MIN-MAX|internet   one way (default internet: 5 to 250 ms, median 40 ms, fixed for a pair)\n"
	"      --loss PERCENT          messages lost on links\n"
	"      --reorder PERCENT       messages that may overtake others\n"
	"      --duplicate PERCENT     messages that arrive twice\n"
	"      --slow PERCENT          nodes that send everything 250 ms late\n"
	"      --skew MS               wall clocks are off by up to so much\n"
	"      --update-interval S     chord-update-interval (default 600)\n"
	"      --ping-interval S       chord-ping-interval (default 3600)\n"
	"      --check-interval S          silence before a neighbor is pinged (default 15)\n"
	"      --lookup-interval S     each node looks up a record so often on average (default 60, 0: never)\n"
	"      --store-interval S      each record is stored anew so often on average (default 600, 0: once)\n"
	"      --bootstraps N          bootstrap nodes (default: one of 64 nodes, at least 4)\n"
	"      --probes N              Pings that measure hops (default: ten times the nodes, at most 20000)\n"
	"      --window S              maintenance is measured over so long (default: an update interval)\n"
	"      --sample S              quiet: memory and links every so many seconds, for --json (at most 200 times)\n"
	"      --signatures stand-in|real   real ones take several times as long (default stand-in, of the usual length)\n"
	"      --shrink                random: when a check fails, look for the fewest faults that make it fail\n"
	"      --svg FILE              draw ring and figures there, anew every ten seconds and at the end\n"
	"      --json                  print the result as JSON\n"
	"      --log LEVEL             lines of the nodes: error, warning, notice, info or debug (default: none)\n"
	"  -h, --help                  this text\n"
	"      --version               version\n"
	"\n"
	"Examples:\n"
	"  ringgate-sim -n 1000                           how many hops, how much maintenance\n"
	"  ringgate-sim -n 1000 --half-life 600 churn     does a lookup find its record while nodes come and go?\n"
	"  ringgate-sim -n 40 --runs 20 --shrink random   twenty random fault scripts\n"
	"\n"
	"Exit status: 0 all checks held, 1 one did not (seed and history are printed), 2 wrong usage, 3 out of memory.\n";

enum {
	OPTION_RUNS = 256,
	OPTION_RECORDS,
	OPTION_DURATION,
	OPTION_JOIN,
	OPTION_HALF_LIFE,
	OPTION_REPETITIONS,
	OPTION_SETTLE,
	OPTION_DISK,
	OPTION_LATENCY,
	OPTION_LOSS,
	OPTION_REORDER,
	OPTION_DUPLICATE,
	OPTION_SLOW,
	OPTION_SKEW,
	OPTION_UPDATE_INTERVAL,
	OPTION_PING_INTERVAL,
	OPTION_CHECK_INTERVAL,
	OPTION_LOOKUP_INTERVAL,
	OPTION_STORE_INTERVAL,
	OPTION_BOOTSTRAPS,
	OPTION_PROBES,
	OPTION_WINDOW,
	OPTION_SAMPLE,
	OPTION_SIGNATURES,
	OPTION_SHRINK,
	OPTION_SVG,
	OPTION_JSON,
	OPTION_LOG,
	OPTION_VERSION,
};

static const struct option options[] = {
	{"nodes", required_argument, NULL, 'n'},
	{"seed", required_argument, NULL, 's'},
	{"runs", required_argument, NULL, OPTION_RUNS},
	{"records", required_argument, NULL, OPTION_RECORDS},
	{"duration", required_argument, NULL, OPTION_DURATION},
	{"join", required_argument, NULL, OPTION_JOIN},
	{"half-life", required_argument, NULL, OPTION_HALF_LIFE},
	{"repetitions", required_argument, NULL, OPTION_REPETITIONS},
	{"settle", required_argument, NULL, OPTION_SETTLE},
	{"disk", required_argument, NULL, OPTION_DISK},
	{"latency", required_argument, NULL, OPTION_LATENCY},
	{"loss", required_argument, NULL, OPTION_LOSS},
	{"reorder", required_argument, NULL, OPTION_REORDER},
	{"duplicate", required_argument, NULL, OPTION_DUPLICATE},
	{"slow", required_argument, NULL, OPTION_SLOW},
	{"skew", required_argument, NULL, OPTION_SKEW},
	{"update-interval", required_argument, NULL, OPTION_UPDATE_INTERVAL},
	{"ping-interval", required_argument, NULL, OPTION_PING_INTERVAL},
	{"check-interval", required_argument, NULL, OPTION_CHECK_INTERVAL},
	{"lookup-interval", required_argument, NULL, OPTION_LOOKUP_INTERVAL},
	{"store-interval", required_argument, NULL, OPTION_STORE_INTERVAL},
	{"bootstraps", required_argument, NULL, OPTION_BOOTSTRAPS},
	{"probes", required_argument, NULL, OPTION_PROBES},
	{"window", required_argument, NULL, OPTION_WINDOW},
	{"sample", required_argument, NULL, OPTION_SAMPLE},
	{"signatures", required_argument, NULL, OPTION_SIGNATURES},
	{"shrink", no_argument, NULL, OPTION_SHRINK},
	{"svg", required_argument, NULL, OPTION_SVG},
	{"json", no_argument, NULL, OPTION_JSON},
	{"log", required_argument, NULL, OPTION_LOG},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPTION_VERSION},
	{NULL, 0, NULL, 0},
};

enum { DRAW_EVERY_US = 10 * 1000 * 1000 };
enum { EXIT_VIOLATION = 1, EXIT_USAGE = 2, EXIT_MEMORY = 3, NODES_MAX = 1000000, RECORDS_DEFAULT_MAX = 1000 };

struct command {
	struct sim_play_settings play;
	uint64_t runs;
	bool shrink, json, terminal, records_given, repetitions_given;
	const char *svg;
	uint64_t began_us, shown_us, drawn_us;
};

/* ---- options ---- */

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *ret) {
	char *end;
	unsigned long long value = strtoull(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < min || value > max) {
		fprintf(stderr, "ringgate-sim: %s is not a number from %llu to %llu.\n", text, (unsigned long long)min,
			(unsigned long long)max);
		return false;
	}
	*ret = value;
	return true;
}

static bool number32(const char *text, uint32_t min, uint32_t max, uint32_t *ret) {
	uint64_t value;

	if (!number(text, min, max, &value))
		return false;
	*ret = (uint32_t)value;
	return true;
}

static bool percent(const char *text, uint32_t *ret_ppm) {
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= 0 && value <= 100)) {
		fprintf(stderr, "ringgate-sim: %s is not a percentage.\n", text);
		return false;
	}
	*ret_ppm = (uint32_t)(value * 10000 + 0.5);
	return true;
}

static bool latency(const char *text, struct sim_settings *world) {
	unsigned min_ms, max_ms;
	char rest;

	if (strcmp(text, "internet") == 0)
		return true;
	world->internet = false;
	/* Five digits fit. NOLINTNEXTLINE(cert-err34-c) */
	if (sscanf(text, "%5u-%5u%c", &min_ms, &max_ms, &rest) != 2) {
		if (sscanf(text, "%5u%c", &min_ms, &rest) != 1) /* NOLINT(cert-err34-c) */
			min_ms = UINT32_MAX;
		max_ms = min_ms;
	}
	if (min_ms > max_ms || max_ms > 10000) {
		fprintf(stderr, "ringgate-sim: %s is no latency; say internet, 20 or 10-80 (milliseconds).\n", text);
		return false;
	}
	world->latency_min_us = min_ms * USEC_PER_MSEC;
	world->latency_max_us = max_ms * USEC_PER_MSEC;
	return true;
}

static bool choice(const char *text, const char *const *names, size_t count, size_t *ret) {
	for (size_t i = 0; i < count; i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*ret = i;
		return true;
	}
	fprintf(stderr, "ringgate-sim: %s is unknown here, see --help.\n", text);
	return false;
}

static bool set_choice(struct command *command, int option, const char *text) {
	static const char *const joins[] = {"growth", "at-once", "one-by-one", "settled"};
	static const char *const signatures[] = {"stand-in", "real"};
	static const char *const levels[] = {"error", "warning", "notice", "info", "debug"};
	size_t chosen;

	if (option == OPTION_JOIN) {
		if (!choice(text, joins, ARRAY_LENGTH(joins), &chosen))
			return false;
		command->play.join = (enum sim_join)chosen;
		return true;
	}
	if (option == OPTION_SIGNATURES) {
		if (!choice(text, signatures, ARRAY_LENGTH(signatures), &chosen))
			return false;
		command->play.world.real_signatures = chosen == 1;
		return true;
	}
	if (!choice(text, levels, ARRAY_LENGTH(levels), &chosen))
		return false;
	log_level = LOG_ERR + (int)chosen;
	return true;
}

static bool set(struct command *command, int option, const char *text) {
	struct sim_play_settings *play = &command->play;
	struct sim_settings *world = &play->world;
	uint64_t value = 0;

	switch (option) {
	case 'n':
		return number(text, 1, NODES_MAX, &value) && (world->nodes = value, true);
	case 's':
		return number(text, 0, UINT64_MAX, &world->seed);
	case OPTION_RUNS:
		return number(text, 1, UINT32_MAX, &command->runs);
	case OPTION_RECORDS:
		command->records_given = true;
		return number(text, 0, NODES_MAX, &value) && (world->records = value, true);
	case OPTION_DURATION:
		return number32(text, 0, UINT32_MAX / 2, &play->duration_s);
	case OPTION_HALF_LIFE:
		return number32(text, 10, UINT32_MAX, &play->half_life_s);
	case OPTION_REPETITIONS:
		command->repetitions_given = true;
		return number32(text, 1, 1000000, &play->repetitions);
	case OPTION_SETTLE:
		return number32(text, 1, UINT32_MAX / 2, &play->settle_s);
	case OPTION_DISK:
		return percent(text, &play->disk_ppm);
	case OPTION_LATENCY:
		return latency(text, world);
	case OPTION_LOSS:
		return percent(text, &world->loss_ppm);
	case OPTION_REORDER:
		return percent(text, &world->reordering_ppm);
	case OPTION_DUPLICATE:
		return percent(text, &world->duplication_ppm);
	case OPTION_SLOW:
		return percent(text, &world->slow_ppm);
	case OPTION_SKEW:
		return number32(text, 0, 86400000, &world->skew_ms);
	case OPTION_UPDATE_INTERVAL:
		return number32(text, 10, 86400, &world->update_interval_s);
	case OPTION_PING_INTERVAL:
		return number32(text, 10, 86400, &world->ping_interval_s);
	case OPTION_CHECK_INTERVAL:
		return number32(text, 1, 86400, &world->check_interval_s);
	case OPTION_LOOKUP_INTERVAL:
		return number32(text, 0, 86400, &world->lookup_interval_s);
	case OPTION_STORE_INTERVAL:
		return number32(text, 0, 86400, &world->store_interval_s);
	case OPTION_BOOTSTRAPS:
		return number32(text, 1, NODES_MAX, &world->bootstraps);
	case OPTION_SVG:
		command->svg = text;
		return true;
	case OPTION_PROBES:
		return number32(text, 1, 10000000, &play->probes);
	case OPTION_WINDOW:
		return number32(text, 1, 7 * 86400, &play->window_s);
	case OPTION_SAMPLE:
		return number32(text, 1, UINT32_MAX / 2, &play->sample_s);
	default:
		return set_choice(command, option, text);
	}
}

static void print_usage(void) {
	fputs(usage_head, stdout);
	for (const struct sim_scenario *scenario = sim_scenarios; scenario->name; scenario++)
		printf("  %-27s %s%s\n", scenario->name, scenario->text, scenario == sim_scenarios ? " (default)" : "");
	fputs(usage_options, stdout);
}

/* Do the options go with the scenario, and with each other? */
static bool fitting(const struct command *command) {
	const struct sim_play_settings *play = &command->play;

	if (command->shrink && strcmp(play->scenario, "random") != 0) {
		fprintf(stderr, "ringgate-sim: --shrink takes faults out of scripts: it goes with the scenario random.\n");
		return false;
	}
	if (play->sample_s == 0)
		return true;
	if (!command->json || strcmp(play->scenario, "quiet") != 0) {
		fprintf(stderr, "ringgate-sim: --sample goes with --json and the scenario quiet.\n");
		return false;
	}
	if (play->duration_s / play->sample_s > SIM_SAMPLES_MAX) {
		fprintf(stderr, "ringgate-sim: at most %d samples are taken: say --sample %u or more for that duration.\n",
			SIM_SAMPLES_MAX, play->duration_s / SIM_SAMPLES_MAX + 1);
		return false;
	}
	return true;
}

/* -1: go on; else the exit status. */
static int parse(struct command *command, int argc, char **argv) {
	for (int option; (option = getopt_long(argc, argv, "n:s:h", options, NULL)) != -1;) {
		if (option == 'h') {
			print_usage();
			return 0;
		} else if (option == OPTION_VERSION) {
			puts("ringgate-sim " VERSION);
			return 0;
		} else if (option == OPTION_SHRINK) {
			command->shrink = true;
		} else if (option == OPTION_JSON) {
			command->json = true;
		} else if (option == '?' || !set(command, option, optarg)) {
			return EXIT_USAGE;
		}
	}
	if (argc - optind > 1) {
		fprintf(stderr, "ringgate-sim: one scenario at a time, see --help.\n");
		return EXIT_USAGE;
	}
	if (optind < argc)
		command->play.scenario = argv[optind];
	bool random = strcmp(command->play.scenario, "random") == 0;
	if (!command->records_given)
		command->play.world.records =
			command->play.world.nodes < RECORDS_DEFAULT_MAX ? command->play.world.nodes : RECORDS_DEFAULT_MAX;
	if (!command->repetitions_given)
		command->play.repetitions = random ? 100 : 3;
	return fitting(command) ? -1 : EXIT_USAGE;
}

/* ---- what a person sees ---- */

static void draw(struct command *command, struct sim_world *world) {
	int error = sim_picture_write(world, command->svg);

	if (error == 0)
		return;
	fprintf(stderr, "ringgate-sim: %s cannot be written: %s; going on without.\n", command->svg, strerror(-error));
	command->svg = NULL;
}

static void draw_at_end(void *userdata, struct sim_world *world) {
	struct command *command = userdata;

	if (command->svg)
		draw(command, world);
}

static bool show_progress(void *userdata, struct sim_world *world, const char *phase) {
	struct command *command = userdata;
	uint64_t now_us = clock_monotonic_us();

	if (command->svg && now_us - command->drawn_us >= DRAW_EVERY_US) {
		command->drawn_us = now_us;
		draw(command, world);
	}

	if (!command->terminal || now_us - command->shown_us < USEC_PER_SEC / 4)
		return false;
	command->shown_us = now_us;
	fprintf(stderr, "\r\033[K%8.0f s  %-28s %6zu nodes  %9llu events  %llu lookups, %llu not good",
		(double)sim_now_us(world) / USEC_PER_SEC, phase, world->alive,
		(unsigned long long)virtual_network_figures(world->network).events, (unsigned long long)world->figures.lookups,
		(unsigned long long)(world->figures.lookups_failed + world->figures.lookups_stale +
				     world->figures.lookups_missing));
	return false;
}

static void clear_progress(const struct command *command) {
	if (command->terminal)
		fputs("\r\033[K", stderr);
}

static void print_result(const struct command *command, const struct sim_result *result) {
	double wall_s = (double)(clock_monotonic_us() - command->began_us) / USEC_PER_SEC;

	if (command->json)
		sim_report_json(&command->play, result, wall_s);
	else
		sim_report_text(&command->play, result, wall_s);
	fflush(stdout);
}

/* ---- shrinking ---- */

static bool script_fails(void *userdata, const struct sim_script *script) {
	struct command *command = userdata;
	struct sim_play_settings settings = command->play;
	static struct sim_result result;

	settings.script = script;
	fprintf(stderr, "with %zu faults: ", script->count);
	bool fails = sim_play(&settings, &result) == 0 && result.violated;
	fprintf(stderr, "%s\n", fails ? result.reason : "all checks hold");
	return fails;
}

static void shrink(struct command *command) {
	struct sim_script script;

	if (sim_script_random(command->play.world.seed, command->play.repetitions, &script) < 0)
		return;
	command->terminal = false;
	size_t played = sim_script_shrink(&script, script_fails, command);
	fprintf(stderr, "%zu faults are left after %zu scripts (milliseconds after the one before, fault, argument):\n",
		script.count, played);
	for (size_t i = 0; i < script.count; i++)
		fprintf(stderr, "  %6u %-12s %u\n", script.faults[i].after_ms, sim_fault_name(script.faults[i].type),
			script.faults[i].argument);
	sim_script_release(&script);
}

int main(int argc, char **argv) {
	static struct sim_result result;
	struct command command = {
		.play = {.world = sim_settings_default, .scenario = sim_scenarios[0].name, .duration_s = 600, .half_life_s = 600},
		.runs = 1,
		.terminal = isatty(STDERR_FILENO),
	};

	log_level = LOG_EMERG;
	/* One thread: what a peak needed is kept rather than given back to the system and asked for again. */
	mallopt(M_TRIM_THRESHOLD, INT32_MAX);
	command.play.world.lookup_interval_s = 60;
	command.play.world.store_interval_s = 600;
	int status = parse(&command, argc, argv);
	if (status >= 0)
		return status;
	command.play.progress = show_progress;
	command.play.end = draw_at_end;
	command.play.userdata = &command;
	for (uint64_t run = 0; run < command.runs; run++, command.play.world.seed++) {
		command.began_us = clock_monotonic_us();
		int error = sim_play(&command.play, &result);
		clear_progress(&command);
		if (error == -EINVAL) {
			fprintf(stderr, "ringgate-sim: there is no scenario %s, see --help.\n", command.play.scenario);
			return EXIT_USAGE;
		}
		if (error < 0) {
			fprintf(stderr, "ringgate-sim: %s.\n", strerror(-error));
			return EXIT_MEMORY;
		}
		print_result(&command, &result);
		if (!result.violated)
			continue;
		sim_report_violation(&command.play, &result);
		if (command.shrink)
			shrink(&command);
		return EXIT_VIOLATION;
	}
	return 0;
}
