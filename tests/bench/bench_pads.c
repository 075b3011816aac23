/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nanoseconds to make one keystream pad for a record of 200, 400, 800 or 1300 octets, as a refill makes them: 128 at once into a
 * ring. Prints pad_ns_* for the fastest method of this processor, pad_avx2_ns_* where there is AVX2, and pad_evp_ns_* for OpenSSL,
 * each the median of the repetitions.
 */
#include "fastpath/pad_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REFILL = 128, PLACES = 256, PLACE = 1600, REFILLS = 50, REPETITIONS = 15 };

static double now_ns(void) {
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int measure(struct pad_maker *maker, const char *name, uint8_t *ring) {
	static const unsigned lengths[] = {200, 400, 800, 1300};
	struct pad_key key;
	struct pad_job jobs[REFILL];
	double samples[REPETITIONS];
	uint64_t number = 1;

	memset(&key, 0x5a, sizeof(key));
	for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
		size_t length = (lengths[i] + PAD_BLOCK - 1) / PAD_BLOCK * PAD_BLOCK;

		for (unsigned repetition = 0; repetition < REPETITIONS; repetition++) {
			double start = now_ns();
			for (unsigned refill = 0; refill < REFILLS; refill++) {
				for (unsigned job = 0; job < REFILL; job++, number++) {
					uint8_t *place = ring + number % PLACES * PLACE;
					jobs[job] = (struct pad_job){pad_sequence(1, number), place, place + PAD_BLOCK};
				}
				if (pad_maker_make(maker, &key, jobs, REFILL, 0, length) < 0)
					return -1;
			}
			samples[repetition] = (now_ns() - start) / REFILLS / REFILL;
		}
		qsort(samples, REPETITIONS, sizeof(*samples), compare);
		printf("%s_%u %.1f\n", name, lengths[i], samples[REPETITIONS / 2]);
	}
	return 0;
}

static int measure_method(enum pad_method method, const char *name, uint8_t *ring) {
	_cleanup_(pad_maker_freep) struct pad_maker *maker = NULL;

	if (pad_maker_new_method(method, &maker) < 0)
		return method == PAD_METHOD_EVP ? -1 : 0; /* this processor may lack the others */
	return measure(maker, name, ring);
}

int main(void) {
	_cleanup_free_ uint8_t *ring = aligned_alloc(4096, PLACES * PLACE);
	_cleanup_(pad_maker_freep) struct pad_maker *best = NULL;

	if (!ring || pad_maker_new(&best) < 0)
		return EXIT_FAILURE;
	memset(ring, 0, PLACES * PLACE);
	fprintf(stderr, "bench_pads: the fastest method is %s\n", pad_method_name(pad_maker_method(best)));
	if (measure(best, "pad_ns", ring) < 0 || measure_method(PAD_METHOD_AVX2, "pad_avx2_ns", ring) < 0 ||
	    measure_method(PAD_METHOD_EVP, "pad_evp_ns", ring) < 0)
		return EXIT_FAILURE;
	return EXIT_SUCCESS;
}
