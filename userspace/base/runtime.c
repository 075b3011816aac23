/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/runtime.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static uint64_t clock_us(clockid_t clock) {
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_monotonic_us(void) {
	return clock_us(CLOCK_MONOTONIC);
}

static uint64_t system_realtime_ms(void *userdata) {
	(void)userdata;
	return clock_us(CLOCK_REALTIME) / USEC_PER_MSEC;
}

static void system_random(void *userdata, void *data, size_t length) {
	uint8_t *at = data;

	(void)userdata;
	while (length > 0) {
		ssize_t got = getrandom(at, length, 0);
		if (got < 0)
			continue; /* only EINTR is possible with flags 0 and a valid buffer */
		at += got;
		length -= (size_t)got;
	}
}

struct runtime_source runtime_source_system(void) {
	return (struct runtime_source){.realtime_ms = system_realtime_ms, .random = system_random};
}

uint64_t runtime_random_below(const struct runtime *runtime, uint64_t bound) {
	uint64_t value, excess = UINT64_MAX % bound + 1;

	if (excess == bound)
		excess = 0;
	do
		runtime_random(runtime, &value, sizeof(value));
	while (value > UINT64_MAX - excess);
	return value % bound;
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer, void *userdata), void *userdata) {
	*timer = (struct timer){.fire = fire, .userdata = userdata};
}

static struct timer *heap_meld(struct timer *a, struct timer *b) {
	if (!a || !b)
		return a ? a : b;
	if (b->due_us < a->due_us) {
		struct timer *swap = a;
		a = b;
		b = swap;
	}
	b->sibling = a->child;
	if (a->child)
		a->child->previous = b;
	b->previous = a;
	a->child = b;
	a->sibling = NULL;
	return a;
}

/* Melds a list of siblings in pairs and then the pairs from the right, which keeps removal at O(log n) amortised. */
static struct timer *heap_meld_siblings(struct timer *first) {
	struct timer *pairs = NULL, *heap = NULL;

	while (first) {
		struct timer *a = first, *b = a->sibling;
		first = b ? b->sibling : NULL;
		a->sibling = NULL;
		if (b)
			b->sibling = NULL;
		a = heap_meld(a, b);
		a->sibling = pairs;
		pairs = a;
	}
	while (pairs) {
		struct timer *next = pairs->sibling;
		pairs->sibling = NULL;
		heap = heap_meld(heap, pairs);
		pairs = next;
	}
	if (heap)
		heap->previous = NULL;
	return heap;
}

void timer_disarm(struct runtime *runtime, struct timer *timer) {
	if (!timer->armed)
		return;
	struct timer *rest = heap_meld_siblings(timer->child);
	if (timer == runtime->timers) {
		runtime->timers = rest;
	} else {
		if (timer->previous->child == timer)
			timer->previous->child = timer->sibling;
		else
			timer->previous->sibling = timer->sibling;
		if (timer->sibling)
			timer->sibling->previous = timer->previous;
		runtime->timers = heap_meld(runtime->timers, rest);
	}
	if (runtime->timers)
		runtime->timers->previous = NULL;
	timer->child = timer->sibling = timer->previous = NULL;
	timer->armed = false;
}

void timer_arm(struct runtime *runtime, struct timer *timer, uint64_t due_us) {
	timer_disarm(runtime, timer);
	/* While firing, "now" is past: a timer that arms itself for now must not keep runtime_fire() from returning. */
	timer->due_us = runtime->firing && due_us <= runtime->now_us ? runtime->now_us + 1 : due_us;
	timer->armed = true;
	runtime->timers = heap_meld(runtime->timers, timer);
	runtime->timers->previous = NULL;
}

void timer_arm_after(struct runtime *runtime, struct timer *timer, uint64_t delay_us) {
	timer_arm(runtime, timer, delay_us < USEC_NEVER - runtime->now_us ? runtime->now_us + delay_us : USEC_NEVER);
}

uint64_t runtime_next(const struct runtime *runtime) {
	return runtime->timers ? runtime->timers->due_us : USEC_NEVER;
}

void runtime_fire(struct runtime *runtime) {
	uint64_t now_us = runtime->now_us;

	runtime->firing = true;
	while (runtime->timers && runtime->timers->due_us <= now_us) {
		struct timer *timer = runtime->timers;
		timer_disarm(runtime, timer);
		timer->fire(timer, timer->userdata);
	}
	runtime->firing = false;
}

bool rate_take(uint64_t *paid_us, uint64_t now_us, uint64_t interval_us, unsigned burst) {
	if (*paid_us < now_us)
		*paid_us = now_us;
	if (*paid_us - now_us > (burst - 1) * interval_us)
		return false;
	*paid_us += interval_us;
	return true;
}
