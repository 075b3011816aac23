/* SPDX-License-Identifier: BSD-2-Clause */
/* What is due on virtual time, in its order. */
#pragma once

#include "base/runtime.h"

/* A timer of the agenda. While it waits in the wheel its `sibling` and `previous` link the list of its tick. */
struct event {
	struct timer timer;
	bool waiting;
};

struct agenda {
	struct runtime clock;
	struct timer **wheel; /* lists, by tick modulo their number */
	uint64_t tick;	      /* everything due up to its end is in the heap of the clock */
	size_t waiting;	      /* in the wheel */
};

/* -ENOMEM. What is still armed when it is released may not be touched any more. */
int agenda_init(struct agenda *agenda);
void agenda_release(struct agenda *agenda);

/* Arms, also what is armed already. Never fails. */
void event_arm(struct agenda *agenda, struct event *event, uint64_t due_us);
void event_arm_after(struct agenda *agenda, struct event *event, uint64_t delay_us);
void event_disarm(struct agenda *agenda, struct event *event);

/* Is it armed for that time? */
bool event_is_for(const struct event *event, uint64_t due_us);

/* When something is due next, USEC_NEVER: nothing is. If that is not after `limit_us`, it is the first timer of the clock now. */
uint64_t agenda_next(struct agenda *agenda, uint64_t limit_us);
