/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stores and Fetches in a ring of three peers in one process: real signatures, databases in files with group commit, values of 100
 * octets, virtual links. A Store counts once with everything it causes: signing by the writer, checks at the owner, two replicas
 * with their checks, and all answers. Operations per second of CPU time of one core; median of the repetitions. The figures of all
 * three peers and of the writer are in it, so that a single peer does several times as much.
 */
#include "base/log.h"
#include "storage/access.h"
#include "support/store_ring.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { REPETITIONS = 7, USERS = 256, OPERATIONS = 1024, TOGETHER = 64, VALUE_OCTETS = 100 };

struct load {
	struct ring *ring;
	struct credential *users[USERS];
	struct id places[USERS];
	uint8_t value[VALUE_OCTETS];
	uint64_t storage_time_ms;
	unsigned next, running, done, failed;
	bool fetching;
};

static void start_one(struct load *load);

static void finish_one(struct load *load, bool good) {
	load->running--;
	load->done++;
	load->failed += !good;
}

static void on_stored(void *userdata, const struct storage_outcome *outcome) {
	finish_one(userdata, outcome->error == 0);
}

static void on_fetched(void *userdata, const struct storage_outcome *outcome, const struct fetched_value *values, size_t count,
		       bool partial) {
	finish_one(userdata, outcome->error == 0 && count == 1 && !partial && values[0].value.value.length == VALUE_OCTETS);
}

static void start_one(struct load *load) {
	unsigned i = load->next++ % USERS;
	struct router *router = load->ring->nodes[i % 3]->router;
	int error;

	if (load->fetching) {
		error = storage_fetch(router, &load->places[i], STORE_RING_SINGLE, NULL, on_fetched, load);
	} else {
		struct storage_value value = {
			.value = {.model = DATA_MODEL_SINGLE, .exists = true, .value = OCTETS(load->value, VALUE_OCTETS)},
			.lifetime_s = 86400,
			.storage_time_ms = ++load->storage_time_ms,
		};
		load->value[0]++;
		error = storage_store(router, load->users[i], &load->places[i], STORE_RING_SINGLE, 0, &value, 1, on_stored, load);
	}
	load->running++;
	if (error < 0)
		finish_one(load, false);
}

static bool quiet(void *userdata) {
	const struct load *load = userdata;

	return load->running == 0;
}

/* Operations per second of CPU time; 0 when any of them failed. */
static double run(struct load *load, bool fetching) {
	clock_t start = clock();

	load->fetching = fetching;
	load->done = load->failed = 0;
	while (load->done < OPERATIONS) {
		while (load->running < TOGETHER)
			start_one(load);
		if (!ring_run_until(load->ring, 60000, quiet, load))
			return 0;
	}
	ring_run(load->ring, 200); /* the last replicas */
	double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
	return load->failed > 0 ? 0 : load->done / seconds;
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static bool measure(struct load *load, const char *name, bool fetching) {
	double rates[REPETITIONS];

	if (run(load, fetching) <= 0) /* warm up */
		return false;
	for (unsigned i = 0; i < REPETITIONS; i++) {
		rates[i] = run(load, fetching);
		if (rates[i] <= 0)
			return false;
	}
	qsort(rates, REPETITIONS, sizeof(rates[0]), compare);
	printf("%s %.0f\n", name, rates[REPETITIONS / 2]);
	return true;
}

static void remove_files(struct load *load, const char *directory) {
	static const char *const endings[] = {"", "-wal", "-shm"};
	char path[256], text[ID_TEXT_SIZE];

	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < ARRAY_LENGTH(endings); k++) {
			snprintf(path, sizeof(path), "%s/%s.db%s", directory, id_format(&load->ring->nodes[i]->id, text),
				 endings[k]);
			unlink(path);
		}
	rmdir(directory);
}

int main(void) {
	static struct load load;
	struct store_ring stores;
	char directory[] = "/tmp/ringgate-bench-XXXXXX";
	cpu_set_t core;

	log_level = LOG_ERR;
	CPU_ZERO(&core);
	CPU_SET(0, &core);
	if (sched_setaffinity(0, sizeof(core), &core) != 0)
		perror("sched_setaffinity");
	if (!mkdtemp(directory)) {
		perror("mkdtemp");
		return 1;
	}
	store_ring_start(&stores, &(struct ring_settings){.seed = 1, .check_ms = 3600000}, directory);
	load.ring = stores.ring;
	load.storage_time_ms = SUPPORT_NOW_MS;
	ring_grow(load.ring, 3, false, 10);
	for (unsigned i = 0; i < USERS; i++) {
		load.users[i] = store_ring_user(&stores, "user", i);
		load.places[i] = store_ring_place(load.users[i]);
	}
	bool good = measure(&load, "store_per_s", false) && measure(&load, "fetch_per_s", true);
	for (unsigned i = 0; i < USERS; i++)
		credential_unref(load.users[i]);
	remove_files(&load, directory);
	store_ring_stop(&stores);
	if (!good)
		fprintf(stderr, "bench_store: operations failed\n");
	return good ? 0 : 1;
}
