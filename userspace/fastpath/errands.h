/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls that may take long, made one after the other by a thread of their own, so that they do not hold up the daemon's: the kernel
 * waits for its own locks, for RCU grace periods, and for drivers that set up their queues anew.
 */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>

struct errands;

/* Embedded by whoever has it done; not to be moved or freed while `pending`. */
struct errand {
	void (*run)(void *userdata);  /* in the thread */
	void (*done)(void *userdata); /* from errands_ready(); may begin the same one again */
	void *userdata;
	bool pending;
	struct errand *prev, *next; /* errands.c's */
};

/* `name`: of the thread. -EMFILE, -ENOMEM, -EAGAIN no thread. */
int errands_new(const char *name, struct errands **ret);

/* Waits for the one that is being run. Those behind it are forgotten, and nobody is told of either. */
struct errands *errands_free(struct errands *errands);
DEFINE_CLEANUP(struct errands *, errands_free)

/* Not one that is pending. What `run` reads and writes is the thread's until `done`. */
void errands_begin(struct errands *errands, struct errand *errand);

/* Readable when errands_ready() has something to do. */
int errands_fd(const struct errands *errands);
void errands_ready(struct errands *errands);
