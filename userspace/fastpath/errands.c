/* SPDX-License-Identifier: BSD-2-Clause */
#include "fastpath/errands.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utlist.h>

struct errands {
	pthread_t thread;
	int over_fd; /* eventfd: `over` is not empty */

	pthread_mutex_t lock; /* of everything below */
	pthread_cond_t wanted;
	struct errand *waiting, *over;
	bool stopping;
};

static void *run(void *userdata) {
	struct errands *errands = userdata;

	pthread_mutex_lock(&errands->lock);
	for (;;) {
		while (!errands->waiting && !errands->stopping)
			pthread_cond_wait(&errands->wanted, &errands->lock);
		if (errands->stopping)
			break;
		struct errand *errand = errands->waiting;
		DL_DELETE(errands->waiting, errand);
		pthread_mutex_unlock(&errands->lock);
		errand->run(errand->userdata);
		pthread_mutex_lock(&errands->lock);
		DL_APPEND(errands->over, errand);
		eventfd_write(errands->over_fd, 1);
	}
	pthread_mutex_unlock(&errands->lock);
	return NULL;
}

/* Signals are the business of the daemon's thread. */
static int start_thread(struct errands *errands, const char *name) {
	sigset_t all, before;

	sigfillset(&all);
	int error = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (error != 0)
		return -error;
	error = pthread_create(&errands->thread, NULL, run, errands);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		pthread_setname_np(errands->thread, name);
	return -error;
}

static struct errands *release(struct errands *errands) {
	if (errands->over_fd >= 0)
		close(errands->over_fd);
	pthread_cond_destroy(&errands->wanted);
	pthread_mutex_destroy(&errands->lock);
	free(errands);
	return NULL;
}

int errands_new(const char *name, struct errands **ret) {
	struct errands *errands = calloc(1, sizeof(*errands));

	if (!errands)
		return -ENOMEM;
	pthread_mutex_init(&errands->lock, NULL);
	pthread_cond_init(&errands->wanted, NULL);
	errands->over_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int error = errands->over_fd < 0 ? -errno : start_thread(errands, name);
	if (error < 0) {
		release(errands);
		return error;
	}
	*ret = errands;
	return 0;
}

struct errands *errands_free(struct errands *errands) {
	if (!errands)
		return NULL;
	pthread_mutex_lock(&errands->lock);
	errands->stopping = true;
	pthread_cond_signal(&errands->wanted);
	pthread_mutex_unlock(&errands->lock);
	pthread_join(errands->thread, NULL);
	return release(errands);
}

void errands_begin(struct errands *errands, struct errand *errand) {
	errand->pending = true;
	pthread_mutex_lock(&errands->lock);
	DL_APPEND(errands->waiting, errand);
	pthread_cond_signal(&errands->wanted);
	pthread_mutex_unlock(&errands->lock);
}

int errands_fd(const struct errands *errands) {
	return errands->over_fd;
}

void errands_ready(struct errands *errands) {
	eventfd_t count;

	if (eventfd_read(errands->over_fd, &count) < 0)
		return;
	pthread_mutex_lock(&errands->lock);
	struct errand *over = errands->over, *errand, *next;
	errands->over = NULL;
	pthread_mutex_unlock(&errands->lock);
	DL_FOREACH_SAFE (over, errand, next) {
		DL_DELETE(over, errand);
		errand->pending = false;
		errand->done(errand->userdata);
	}
}
