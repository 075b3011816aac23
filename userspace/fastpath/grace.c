/* SPDX-License-Identifier: BSD-2-Clause */
#include "fastpath/grace.h"

#include "base/log.h"
#include "fastpath/loader.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#include <utlist.h>

struct grace {
	pthread_t thread;
	int ended_fd; /* eventfd: `over` is not empty */

	pthread_mutex_t lock; /* of everything below */
	pthread_cond_t wanted;
	struct grace_wait *waiting, *over;
	bool stopping;
};

static void *run(void *userdata) {
	struct grace *grace = userdata;

	pthread_mutex_lock(&grace->lock);
	for (;;) {
		while (!grace->waiting && !grace->stopping)
			pthread_cond_wait(&grace->wanted, &grace->lock);
		if (grace->stopping)
			break;
		/* One period for all that wait by now; who comes later needs the next one. */
		struct grace_wait *batch = grace->waiting;
		grace->waiting = NULL;
		pthread_mutex_unlock(&grace->lock);
		int error = fastpath_quiesce();
		pthread_mutex_lock(&grace->lock);
		if (error < 0) {
			/* It worked when we began. Keys and tables must not change under a program: these wait for ever. */
			log_error("Waiting for programs of the fast path is not possible any more: %s.", strerror(-error));
			break;
		}
		DL_CONCAT(grace->over, batch);
		eventfd_write(grace->ended_fd, 1);
	}
	pthread_mutex_unlock(&grace->lock);
	return NULL;
}

/* Signals are the business of the daemon's thread. */
static int start_thread(struct grace *grace) {
	sigset_t all, before;

	sigfillset(&all);
	int error = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (error != 0)
		return -error;
	error = pthread_create(&grace->thread, NULL, run, grace);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		pthread_setname_np(grace->thread, "grace");
	return -error;
}

static struct grace *release(struct grace *grace) {
	if (grace->ended_fd >= 0)
		close(grace->ended_fd);
	pthread_cond_destroy(&grace->wanted);
	pthread_mutex_destroy(&grace->lock);
	free(grace);
	return NULL;
}

int grace_new(struct grace **ret) {
	int error = fastpath_quiesce();

	if (error < 0)
		return error;
	struct grace *grace = calloc(1, sizeof(*grace));
	if (!grace)
		return -ENOMEM;
	pthread_mutex_init(&grace->lock, NULL);
	pthread_cond_init(&grace->wanted, NULL);
	grace->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = grace->ended_fd < 0 ? -errno : start_thread(grace);
	if (error < 0) {
		release(grace);
		return error;
	}
	*ret = grace;
	return 0;
}

struct grace *grace_free(struct grace *grace) {
	if (!grace)
		return NULL;
	pthread_mutex_lock(&grace->lock);
	grace->stopping = true;
	pthread_cond_signal(&grace->wanted);
	pthread_mutex_unlock(&grace->lock);
	pthread_join(grace->thread, NULL);
	return release(grace);
}

void grace_begin(struct grace *grace, struct grace_wait *wait) {
	wait->pending = true;
	pthread_mutex_lock(&grace->lock);
	DL_APPEND(grace->waiting, wait);
	pthread_cond_signal(&grace->wanted);
	pthread_mutex_unlock(&grace->lock);
}

int grace_fd(const struct grace *grace) {
	return grace->ended_fd;
}

void grace_ready(struct grace *grace) {
	eventfd_t count;

	if (eventfd_read(grace->ended_fd, &count) < 0)
		return;
	pthread_mutex_lock(&grace->lock);
	struct grace_wait *over = grace->over, *wait, *next;
	grace->over = NULL;
	pthread_mutex_unlock(&grace->lock);
	/* Nobody else holds them now; `done` may begin the next wait with the same one. */
	DL_FOREACH_SAFE (over, wait, next) {
		DL_DELETE(over, wait);
		wait->pending = false;
		wait->done(wait->userdata);
	}
}
