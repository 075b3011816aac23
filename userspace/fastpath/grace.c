/* SPDX-License-Identifier: BSD-2-Clause */
#include "fastpath/grace.h"

#include "base/log.h"
#include "fastpath/errands.h"
#include "fastpath/loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

/* The thread sees the errand and its result alone. */
struct grace {
	struct errands *errands;
	struct errand period;
	int error;			    /* of that period */
	struct grace_wait *waiting, *batch; /* for the next period; for the one under way */
};

static void quiesce(void *userdata) {
	struct grace *grace = userdata;

	grace->error = fastpath_quiesce();
}

/* One period for all that wait by now; who comes later needs the next one. */
static void begin(struct grace *grace) {
	if (grace->period.pending || grace->error < 0 || !grace->waiting)
		return;
	grace->batch = grace->waiting;
	grace->waiting = NULL;
	errands_begin(grace->errands, &grace->period);
}

static void ended(void *userdata) {
	struct grace *grace = userdata;
	struct grace_wait *over = grace->batch, *wait, *next;

	if (grace->error < 0) {
		/* It worked when we began. Keys and tables must not change under a program: these wait for ever. */
		log_error("Waiting for programs of the fast path is not possible any more: %s.", strerror(-grace->error));
		return;
	}
	grace->batch = NULL;
	begin(grace);
	/* `done` may begin the next wait with the same one. */
	DL_FOREACH_SAFE (over, wait, next) {
		DL_DELETE(over, wait);
		wait->pending = false;
		wait->done(wait->userdata);
	}
}

int grace_new(struct grace **ret) {
	int error = fastpath_quiesce();

	if (error < 0)
		return error;
	struct grace *grace = calloc(1, sizeof(*grace));
	if (!grace)
		return -ENOMEM;
	grace->period = (struct errand){.run = quiesce, .done = ended, .userdata = grace};
	error = errands_new("grace", &grace->errands);
	if (error < 0) {
		free(grace);
		return error;
	}
	*ret = grace;
	return 0;
}

struct grace *grace_free(struct grace *grace) {
	if (!grace)
		return NULL;
	errands_free(grace->errands);
	free(grace);
	return NULL;
}

void grace_begin(struct grace *grace, struct grace_wait *wait) {
	wait->pending = true;
	DL_APPEND(grace->waiting, wait);
	begin(grace);
}

int grace_fd(const struct grace *grace) {
	return errands_fd(grace->errands);
}

void grace_ready(struct grace *grace) {
	errands_ready(grace->errands);
}
