/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the sans-I/O code takes from outside: time, randomness and timers.
 *
 * The driver (the daemon's event loop, a unit test, the simulator) sets `now_us` before it calls in, asks runtime_next()
 * when the next timer is due, and calls runtime_fire() then. Timers are intrusive: arming one cannot fail.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_NEVER UINT64_MAX

struct timer {
	uint64_t due_us; /* monotonic */
	void (*fire)(struct timer *timer, void *userdata);
	void *userdata;
	struct timer *child, *sibling, *previous; /* pairing heap */
	bool armed;
};

struct runtime_source {
	/* Wall clock, milliseconds since 1970 UTC (RFC 6940 7). */
	uint64_t (*realtime_ms)(void *userdata);

	/* Fills `data` with unpredictable octets (in the simulator: reproducible ones). */
	void (*random)(void *userdata, void *data, size_t length);
	void *userdata;
};

struct runtime {
	uint64_t now_us; /* monotonic microseconds, set by the driver */
	struct runtime_source source;
	struct timer *timers;
	bool firing; /* inside runtime_fire() */
};

/* The system's clock and random numbers. */
struct runtime_source runtime_source_system(void);

/* Monotonic microseconds of the system. */
uint64_t clock_monotonic_us(void);

static inline uint64_t runtime_realtime_ms(const struct runtime *runtime) {
	return runtime->source.realtime_ms(runtime->source.userdata);
}

static inline void runtime_random(const struct runtime *runtime, void *data, size_t length) {
	runtime->source.random(runtime->source.userdata, data, length);
}

/* A uniformly chosen number below `bound` (at least 1). */
uint64_t runtime_random_below(const struct runtime *runtime, uint64_t bound);

/* Prepares a timer once; it may then be armed, re-armed and disarmed at will, also from its own `fire`. */
void timer_init(struct timer *timer, void (*fire)(struct timer *timer, void *userdata), void *userdata);
void timer_arm(struct runtime *runtime, struct timer *timer, uint64_t due_us);
void timer_arm_after(struct runtime *runtime, struct timer *timer, uint64_t delay_us);
void timer_disarm(struct runtime *runtime, struct timer *timer);

/*
 * Takes one of what may come once every `interval_us`, `burst` (at least 1) of them at once. False: there is none left. *paid_us,
 * at first 0, is when all that was taken so far would have come at an even pace.
 */
bool rate_take(uint64_t *paid_us, uint64_t now_us, uint64_t interval_us, unsigned burst);

/* When the next timer is due, USEC_NEVER without one. */
uint64_t runtime_next(const struct runtime *runtime);

/* Fires every timer due at or before now_us, each once. */
void runtime_fire(struct runtime *runtime);
