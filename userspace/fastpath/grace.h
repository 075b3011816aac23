/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting until programs that may still see an old state have ended, without holding up the daemon's thread: a thread of its own
 * waits for one RCU grace period, some milliseconds, for all that asked in the meantime.
 */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>

struct grace;

/* Embedded by whoever waits; not to be moved or freed while `pending`. */
struct grace_wait {
	void (*done)(void *userdata);
	void *userdata;
	bool pending;
	struct grace_wait *prev, *next; /* grace.c's */
};

/* -EMFILE, -ENOMEM, -EAGAIN no thread, or what fastpath_quiesce() gives on a kernel that cannot do it. */
int grace_new(struct grace **ret);

/* Ends the thread. What is still waiting is forgotten, and never told. */
struct grace *grace_free(struct grace *grace);
DEFINE_CLEANUP(struct grace *, grace_free)

/* Calls `done` from grace_ready(), once every program run that started before now has ended. Not for one that is pending. */
void grace_begin(struct grace *grace, struct grace_wait *wait);

/* Readable when grace_ready() has something to do. */
int grace_fd(const struct grace *grace);
void grace_ready(struct grace *grace);
