/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/runtime.h"

enum { TIMERS = 200, STEPS = 20000, SEED = 3 };

/* --- a reproducible source --- */

static uint64_t random_next(uint64_t *state) {
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void random_fill(void *userdata, void *data, size_t length) {
	uint8_t *at = data;

	while (length-- > 0)
		*at++ = (uint8_t)(random_next(userdata) >> 24);
}

static uint64_t realtime_fixed(void *userdata) {
	(void)userdata;
	return 1700000000000;
}

/* --- timers --- */

struct recorder {
	struct runtime runtime;
	struct timer *fired[TIMERS + 1];
	size_t count;
};

static void record(struct timer *timer, void *userdata) {
	struct recorder *recorder = userdata;

	assert_false(timer->armed);
	assert_true(timer->due_us <= recorder->runtime.now_us);
	assert_true(recorder->count < ARRAY_LENGTH(recorder->fired));
	recorder->fired[recorder->count++] = timer;
}

static void test_order(void **state) {
	struct recorder recorder = {.count = 0};
	struct timer timers[3];

	(void)state;
	assert_true(runtime_next(&recorder.runtime) == USEC_NEVER);
	runtime_fire(&recorder.runtime);
	for (size_t i = 0; i < 3; i++)
		timer_init(&timers[i], record, &recorder);
	timer_arm(&recorder.runtime, &timers[0], 30);
	timer_arm(&recorder.runtime, &timers[1], 10);
	timer_arm(&recorder.runtime, &timers[2], 20);
	assert_true(runtime_next(&recorder.runtime) == 10);
	recorder.runtime.now_us = 9;
	runtime_fire(&recorder.runtime);
	assert_int_equal(recorder.count, 0);
	recorder.runtime.now_us = 20;
	runtime_fire(&recorder.runtime);
	assert_int_equal(recorder.count, 2);
	assert_ptr_equal(recorder.fired[0], &timers[1]);
	assert_ptr_equal(recorder.fired[1], &timers[2]);
	assert_true(runtime_next(&recorder.runtime) == 30);
	assert_true(timers[0].armed);
	timer_disarm(&recorder.runtime, &timers[0]);
	assert_false(timers[0].armed);
	timer_disarm(&recorder.runtime, &timers[0]);
	assert_true(runtime_next(&recorder.runtime) == USEC_NEVER);
}

static void test_arming_again(void **state) {
	struct recorder recorder = {.runtime.now_us = 100};
	struct timer timer;

	(void)state;
	timer_init(&timer, record, &recorder);
	timer_disarm(&recorder.runtime, &timer); /* never armed */
	timer_arm_after(&recorder.runtime, &timer, 50);
	assert_true(runtime_next(&recorder.runtime) == 150);
	timer_arm_after(&recorder.runtime, &timer, 500);
	assert_true(runtime_next(&recorder.runtime) == 600);
	timer_arm(&recorder.runtime, &timer, 0); /* in the past: at once */
	runtime_fire(&recorder.runtime);
	assert_int_equal(recorder.count, 1);
	runtime_fire(&recorder.runtime);
	assert_int_equal(recorder.count, 1);
}

struct chain {
	struct runtime runtime;
	struct timer self, other;
	unsigned fired;
};

static void chain_fire(struct timer *timer, void *userdata) {
	struct chain *chain = userdata;

	chain->fired++;
	timer_arm_after(&chain->runtime, timer, 10);
	timer_disarm(&chain->runtime, &chain->other);
}

static void fire_never(struct timer *timer, void *userdata) {
	(void)timer;
	(void)userdata;
	fail_msg("a disarmed timer fires");
}

/* A timer may arm itself and disarm others from its own function. */
static void test_from_fire(void **state) {
	struct chain chain = {.runtime.now_us = 0};

	(void)state;
	timer_init(&chain.self, chain_fire, &chain);
	timer_init(&chain.other, fire_never, NULL);
	timer_arm(&chain.runtime, &chain.self, 10);
	timer_arm(&chain.runtime, &chain.other, 11);
	chain.runtime.now_us = 12;
	runtime_fire(&chain.runtime);
	assert_int_equal(chain.fired, 1);
	assert_true(runtime_next(&chain.runtime) == 22);
	chain.runtime.now_us = 1000;
	runtime_fire(&chain.runtime); /* late: one call, not one for each missed period */
	assert_int_equal(chain.fired, 2);
	assert_true(runtime_next(&chain.runtime) == 1010);
}

struct arming {
	struct runtime runtime;
	struct timer *next;
	unsigned fired;
};

static void arm_next(struct timer *timer, void *userdata) {
	struct arming *arming = userdata;

	(void)timer;
	arming->fired++;
	if (arming->next) {
		struct timer *next = TAKE(arming->next);
		timer_arm(&arming->runtime, next, 0);
	}
}

/* Another timer that becomes due while firing is not lost. */
static void test_due_while_firing(void **state) {
	struct arming arming = {.runtime.now_us = 5};
	struct timer first, second;

	(void)state;
	timer_init(&first, arm_next, &arming);
	timer_init(&second, arm_next, &arming);
	arming.next = &second;
	timer_arm(&arming.runtime, &first, 5);
	runtime_fire(&arming.runtime);
	arming.runtime.now_us++;
	runtime_fire(&arming.runtime);
	assert_int_equal(arming.fired, 2);
	assert_true(runtime_next(&arming.runtime) == USEC_NEVER);
}

static void arm_again(struct timer *timer, void *userdata) {
	struct chain *chain = userdata;

	chain->fired++;
	assert_true(chain->fired < 10);
	timer_arm_after(&chain->runtime, timer, 0);
}

/* A timer that arms itself for now fires once in each round. */
static void test_arming_for_now(void **state) {
	struct chain chain = {.runtime.now_us = 5};

	(void)state;
	timer_init(&chain.self, arm_again, &chain);
	timer_arm(&chain.runtime, &chain.self, 5);
	runtime_fire(&chain.runtime);
	assert_int_equal(chain.fired, 1);
	chain.runtime.now_us = runtime_next(&chain.runtime);
	runtime_fire(&chain.runtime);
	assert_int_equal(chain.fired, 2);
	timer_arm_after(&chain.runtime, &chain.self, USEC_NEVER); /* does not wrap */
	assert_true(runtime_next(&chain.runtime) == USEC_NEVER);
}

/* The heap against a plain array: arming, arming again, disarming and firing in random order. */
static void test_random(void **state) {
	static struct timer timers[TIMERS];
	struct recorder recorder = {.count = 0};
	uint64_t due[TIMERS], random = SEED, total = 0;

	(void)state;
	for (size_t i = 0; i < TIMERS; i++) {
		timer_init(&timers[i], record, &recorder);
		due[i] = USEC_NEVER;
	}
	for (unsigned step = 0; step < STEPS; step++) {
		size_t i = random_next(&random) % TIMERS;
		switch (random_next(&random) % 8) {
		default:
			/* Few different times, so that many are equal. */
			due[i] = recorder.runtime.now_us + random_next(&random) % 64;
			timer_arm(&recorder.runtime, &timers[i], due[i]);
			break;
		case 5:
		case 6:
			due[i] = USEC_NEVER;
			timer_disarm(&recorder.runtime, &timers[i]);
			break;
		case 7: {
			size_t expected = 0;
			recorder.count = 0;
			recorder.runtime.now_us += random_next(&random) % 16;
			for (size_t j = 0; j < TIMERS; j++)
				expected += due[j] <= recorder.runtime.now_us;
			runtime_fire(&recorder.runtime);
			assert_int_equal(recorder.count, expected);
			for (size_t j = 0; j < recorder.count; j++) {
				size_t k = (size_t)(recorder.fired[j] - timers);
				assert_true(due[k] <= recorder.runtime.now_us);
				if (j > 0)
					assert_true(recorder.fired[j - 1]->due_us <= recorder.fired[j]->due_us);
				due[k] = USEC_NEVER; /* also shows that none fired twice */
			}
			total += recorder.count;
			break;
		}
		}
		uint64_t next = USEC_NEVER;
		for (size_t j = 0; j < TIMERS; j++) {
			if (due[j] < next)
				next = due[j];
			assert_int_equal(timers[j].armed, due[j] != USEC_NEVER);
		}
		assert_true(runtime_next(&recorder.runtime) == next);
	}
	assert_true(total > 1000);
}

/* --- randomness and clocks --- */

static void random_bytes(void *userdata, void *data, size_t length) {
	uint64_t **values = userdata;

	assert_int_equal(length, sizeof(uint64_t));
	memcpy(data, (*values)++, length);
}

/* Values that would make some results likelier than others are drawn again. */
static void test_random_below(void **state) {
	uint64_t values[] = {UINT64_MAX, 7, UINT64_MAX, UINT64_MAX, UINT64_MAX - 1, 42, 0}, *at = values;
	struct runtime runtime = {.source = {.random = random_bytes, .userdata = &at}};

	(void)state;
	/* 2^64 modulo 10 is 6: the six largest values are refused. */
	assert_int_equal(runtime_random_below(&runtime, 10), 7);
	assert_ptr_equal(at, values + 2);
	/* A power of two divides 2^64: everything is taken. */
	assert_int_equal(runtime_random_below(&runtime, 16), 15);
	assert_ptr_equal(at, values + 3);
	assert_int_equal(runtime_random_below(&runtime, 1), 0);
	assert_ptr_equal(at, values + 4);
	/* Just above half of the range nearly half is refused. */
	assert_true(runtime_random_below(&runtime, (UINT64_C(1) << 63) + 1) == 42);
	assert_ptr_equal(at, values + 6);
	assert_true(runtime_random_below(&runtime, UINT64_MAX) == 0);
}

static void test_random_spread(void **state) {
	uint64_t seed = SEED;
	struct runtime runtime = {.source = {.random = random_fill, .realtime_ms = realtime_fixed, .userdata = &seed}};
	unsigned counts[7] = {0};

	(void)state;
	for (unsigned i = 0; i < 7000; i++) {
		uint64_t value = runtime_random_below(&runtime, 7);
		assert_true(value < 7);
		counts[value]++;
	}
	for (unsigned i = 0; i < 7; i++)
		assert_true(counts[i] > 800 && counts[i] < 1200);
	assert_true(runtime_realtime_ms(&runtime) == UINT64_C(1700000000000));
}

static void test_system(void **state) {
	struct runtime runtime = {.source = runtime_source_system()};
	uint8_t a[64] = {0}, b[64] = {0};

	(void)state;
	runtime_random(&runtime, a, sizeof(a));
	runtime_random(&runtime, b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	runtime_random(&runtime, a, 0);
	assert_true(runtime_realtime_ms(&runtime) > UINT64_C(1600000000000));
	uint64_t earlier = clock_monotonic_us();
	assert_true(clock_monotonic_us() >= earlier);
}

/* --- rates --- */

static unsigned take_all(uint64_t *paid_us, uint64_t now_us) {
	unsigned taken = 0;

	while (taken < 100 && rate_take(paid_us, now_us, 1000, 5))
		taken++;
	return taken;
}

static void test_rate(void **state) {
	uint64_t paid_us = 0;

	(void)state;
	assert_int_equal(take_all(&paid_us, 1), 5); /* a burst, also right at the start */
	assert_int_equal(take_all(&paid_us, 1000), 0);
	assert_int_equal(take_all(&paid_us, 1001), 1);
	assert_int_equal(take_all(&paid_us, 3500), 2); /* what has come of the next one is not lost */
	assert_int_equal(take_all(&paid_us, 4000), 0);
	assert_int_equal(take_all(&paid_us, 4001), 1);
	assert_int_equal(take_all(&paid_us, 1000000), 5); /* never more than a burst */
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_arming_again),
		cmocka_unit_test(test_from_fire),
		cmocka_unit_test(test_due_while_firing),
		cmocka_unit_test(test_arming_for_now),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_random_below),
		cmocka_unit_test(test_random_spread),
		cmocka_unit_test(test_system),
	};

	return cmocka_run_group_tests_name("base/runtime", tests, NULL, NULL);
}
