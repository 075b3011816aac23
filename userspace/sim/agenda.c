/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hundreds of thousands of timers are armed at any time, mostly for the next minute. They wait in a wheel, a list for each
 * millisecond, where arming and disarming touches two neighbors; only those of the current millisecond, and those too far away for
 * the wheel, are in order, in the heap of the clock.
 */
#include "sim/agenda.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>

enum {
	TICK_US = 1024,
	WHEEL_SIZE = 1 << 17, /* ticks: two minutes */
};

int agenda_init(struct agenda *agenda) {
	struct timer **wheel = calloc(WHEEL_SIZE, sizeof(*wheel));

	if (!wheel)
		return -ENOMEM;
	*agenda = (struct agenda){.wheel = wheel};
	return 0;
}

void agenda_release(struct agenda *agenda) {
	free(agenda->wheel);
}

static uint64_t tick_of(uint64_t time_us) {
	return time_us / TICK_US;
}

void event_disarm(struct agenda *agenda, struct event *event) {
	struct timer *timer = &event->timer;

	if (!event->waiting) {
		timer_disarm(&agenda->clock, timer);
		return;
	}
	if (timer->previous)
		timer->previous->sibling = timer->sibling;
	else
		agenda->wheel[tick_of(timer->due_us) % WHEEL_SIZE] = timer->sibling;
	if (timer->sibling)
		timer->sibling->previous = timer->previous;
	timer->sibling = timer->previous = NULL;
	event->waiting = false;
	agenda->waiting--;
}

void event_arm(struct agenda *agenda, struct event *event, uint64_t due_us) {
	struct timer *timer = &event->timer;
	uint64_t tick = tick_of(due_us);

	event_disarm(agenda, event);
	if (agenda->waiting == 0 && tick_of(agenda->clock.now_us) > agenda->tick)
		agenda->tick = tick_of(agenda->clock.now_us);
	if (tick <= agenda->tick || tick - agenda->tick >= WHEEL_SIZE) {
		timer_arm(&agenda->clock, timer, due_us);
		return;
	}
	struct timer **list = &agenda->wheel[tick % WHEEL_SIZE];
	timer->due_us = due_us;
	timer->sibling = *list;
	if (*list)
		(*list)->previous = timer;
	*list = timer;
	event->waiting = true;
	agenda->waiting++;
}

void event_arm_after(struct agenda *agenda, struct event *event, uint64_t delay_us) {
	event_arm(agenda, event, agenda->clock.now_us + delay_us);
}

bool event_is_for(const struct event *event, uint64_t due_us) {
	return (event->waiting || event->timer.armed) && event->timer.due_us == due_us;
}

/* In the order in which they were armed, so that what is due at the same time happens in that order. */
static void list_to_heap(struct agenda *agenda, struct timer *list) {
	struct timer *timer = list, *previous;

	while (timer && timer->sibling)
		timer = timer->sibling;
	for (; timer; timer = previous) {
		struct event *event = container_of(timer, struct event, timer);
		uint64_t due_us = timer->due_us;
		previous = timer->previous;
		event_disarm(agenda, event);
		timer_arm(&agenda->clock, timer, due_us);
	}
}

uint64_t agenda_next(struct agenda *agenda, uint64_t limit_us) {
	while (agenda->waiting > 0) {
		uint64_t next_us = runtime_next(&agenda->clock);
		if (tick_of(next_us) <= agenda->tick || tick_of(limit_us) <= agenda->tick)
			break;
		list_to_heap(agenda, agenda->wheel[++agenda->tick % WHEEL_SIZE]);
	}
	return runtime_next(&agenda->clock);
}
