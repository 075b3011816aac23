/* SPDX-License-Identifier: BSD-2-Clause */
#include "fastpath/pad_worker.h"

#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include <utlist.h>

struct pad_link {
	struct pad_ring *rx, *tx;
	__u32 *wanted;
	bool fill;    /* new: to be filled without being asked */
	bool leaving; /* pad_worker_remove() waits for it */
	struct pad_link *prev, *next;
};

struct pad_worker {
	pthread_t thread;
	struct pad_maker *maker; /* the thread's */
	struct pad_wake wake;
	int own_fd; /* eventfd: look again, or end */

	pthread_mutex_t lock; /* of everything below; not held while rings are filled */
	pthread_cond_t idle;  /* `busy` became NULL */
	struct pad_link *links;
	struct pad_link *busy; /* whose rings are being filled */
	size_t link_count;
	bool stopping;
	bool failing; /* OpenSSL failed last time */
	struct pad_worker_statistics statistics;
};

/* What the worker does for one link, without the lock. */
static int link_fill(struct pad_worker *worker, struct pad_link *link) {
	int rx = pad_ring_refill(link->rx, worker->maker), tx = pad_ring_refill(link->tx, worker->maker);

	if (rx < 0 || tx < 0)
		return rx < 0 ? rx : tx;
	return rx + tx;
}

static bool link_wants(struct pad_link *link) {
	bool fill = link->fill;

	link->fill = false;
	/* Cleared before anybody looks at the rings: what is used from here on asks again. */
	return __atomic_exchange_n(link->wanted, 0, __ATOMIC_SEQ_CST) != 0 || fill;
}

static void worker_count(struct pad_worker *worker, int made) {
	worker->statistics.refills++;
	if (made >= 0)
		worker->statistics.pads += (uint64_t)made;
	else
		worker->statistics.failures++;
	if (made < 0 && !worker->failing)
		log_error("Keystream pads could not be made: %s.", strerror(-made));
	worker->failing = made < 0;
}

/* Looks at every link once. Called and left with the lock held. */
static void worker_scan(struct pad_worker *worker) {
	struct pad_link *link;

	/* The link that is busy stays in the list, so that its successor is known when the lock is taken again. */
	DL_FOREACH (worker->links, link) {
		if (worker->stopping)
			return;
		if (link->leaving || !link_wants(link))
			continue;
		worker->busy = link;
		pthread_mutex_unlock(&worker->lock);
		int made = link_fill(worker, link);
		pthread_mutex_lock(&worker->lock);
		worker->busy = NULL;
		worker_count(worker, made);
		pthread_cond_broadcast(&worker->idle);
	}
}

static void own_drain(int fd) {
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
}

static void *worker_run(void *userdata) {
	struct pad_worker *worker = userdata;
	struct pollfd fds[] = {{.fd = worker->own_fd, .events = POLLIN}, {.fd = worker->wake.fd, .events = POLLIN}};

	pthread_mutex_lock(&worker->lock);
	while (!worker->stopping) {
		worker_scan(worker);
		if (worker->stopping)
			break;
		pthread_mutex_unlock(&worker->lock);
		if (poll(fds, ARRAY_LENGTH(fds), -1) > 0) {
			if (fds[0].revents)
				own_drain(worker->own_fd);
			if (fds[1].revents & POLLIN)
				worker->wake.drain(worker->wake.userdata);
			else if (fds[1].revents) /* gone: would be reported for ever */
				fds[1].fd = -1;
		}
		pthread_mutex_lock(&worker->lock);
		worker->statistics.wakes++;
	}
	pthread_mutex_unlock(&worker->lock);
	return NULL;
}

/* Signals are the business of the daemon's thread. */
static int worker_thread_start(struct pad_worker *worker) {
	sigset_t all, before;
	int error;

	sigfillset(&all);
	error = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (error != 0)
		return -error;
	error = pthread_create(&worker->thread, NULL, worker_run, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		pthread_setname_np(worker->thread, "pads");
	return -error;
}

static struct pad_worker *worker_release(struct pad_worker *worker) {
	pad_maker_free(worker->maker);
	if (worker->own_fd >= 0)
		close(worker->own_fd);
	pthread_cond_destroy(&worker->idle);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
	return NULL;
}

int pad_worker_start(const struct pad_wake *wake, struct pad_worker **ret) {
	struct pad_worker *worker = calloc(1, sizeof(*worker));
	int result;

	if (!worker)
		return -ENOMEM;
	pthread_mutex_init(&worker->lock, NULL);
	pthread_cond_init(&worker->idle, NULL);
	worker->wake = wake ? *wake : (struct pad_wake){.fd = -1};
	worker->own_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	result = worker->own_fd < 0 ? -errno : pad_maker_new(&worker->maker);
	if (result == 0) {
		worker->statistics.method = pad_maker_method(worker->maker);
		result = worker_thread_start(worker);
	}
	if (result < 0) {
		worker_release(worker);
		return result;
	}
	*ret = worker;
	return 0;
}

void pad_worker_wake(struct pad_worker *worker) {
	uint64_t one = 1;

	/* Only a full counter refuses, and then the thread is being woken anyway. */
	(void)!write(worker->own_fd, &one, sizeof(one));
}

static struct pad_link *link_free(struct pad_link *link) {
	pad_ring_free(link->rx);
	pad_ring_free(link->tx);
	free(link);
	return NULL;
}

struct pad_worker *pad_worker_stop(struct pad_worker *worker) {
	struct pad_link *link, *next;

	if (!worker)
		return NULL;
	pthread_mutex_lock(&worker->lock);
	worker->stopping = true;
	pthread_mutex_unlock(&worker->lock);
	pad_worker_wake(worker);
	pthread_join(worker->thread, NULL);
	DL_FOREACH_SAFE (worker->links, link, next) {
		DL_DELETE(worker->links, link);
		link_free(link);
	}
	return worker_release(worker);
}

static int ring_new(const struct pad_link_config *config, enum pad_direction direction, struct pad_ring **ret) {
	struct fastpath_slot *slot = config->slot;
	bool receive = direction == PAD_RECEIVE;
	struct pad_ring_config ring = {
		.direction = direction,
		.adopt = config->adopt,
		.pads = receive ? config->rx_pads : config->tx_pads,
		.next = receive ? &slot->record.rx_end : &slot->record.tx_next,
		.longest = receive ? &slot->rx_longest : &slot->tx_longest,
	};
	int result;

	memcpy(ring.key.key, receive ? slot->record.rx_key : slot->record.tx_key, sizeof(ring.key.key));
	memcpy(ring.key.iv, receive ? slot->record.rx_iv : slot->record.tx_iv, sizeof(ring.key.iv));
	result = pad_ring_new(&ring, ret);
	octets_wipe(&ring.key, sizeof(ring.key));
	return result;
}

int pad_worker_add(struct pad_worker *worker, const struct pad_link_config *config, struct pad_link **ret) {
	struct pad_link *link = calloc(1, sizeof(*link));
	int result;

	if (!link)
		return -ENOMEM;
	link->wanted = &config->slot->wanted;
	link->fill = true;
	result = ring_new(config, PAD_RECEIVE, &link->rx);
	if (result == 0)
		result = ring_new(config, PAD_TRANSMIT, &link->tx);
	if (result < 0) {
		link_free(link);
		return result;
	}
	pthread_mutex_lock(&worker->lock);
	if (worker->link_count < PAD_WORKER_LINKS_MAX) {
		DL_APPEND(worker->links, link);
		worker->link_count++;
	} else {
		result = -ENOSPC;
	}
	pthread_mutex_unlock(&worker->lock);
	if (result < 0) {
		link_free(link);
		return result;
	}
	pad_worker_wake(worker);
	*ret = link;
	return 0;
}

struct pad_link *pad_worker_remove(struct pad_worker *worker, struct pad_link *link, bool wipe) {
	if (!link)
		return NULL;
	pthread_mutex_lock(&worker->lock);
	link->leaving = true;
	while (worker->busy == link)
		pthread_cond_wait(&worker->idle, &worker->lock);
	DL_DELETE(worker->links, link);
	worker->link_count--;
	pthread_mutex_unlock(&worker->lock);
	if (wipe) {
		pad_ring_wipe(link->rx);
		pad_ring_wipe(link->tx);
	}
	return link_free(link);
}

void pad_worker_statistics(struct pad_worker *worker, struct pad_worker_statistics *ret) {
	struct timespec used = {0};
	clockid_t clock;

	pthread_mutex_lock(&worker->lock);
	*ret = worker->statistics;
	ret->links = worker->link_count;
	pthread_mutex_unlock(&worker->lock);
	if (pthread_getcpuclockid(worker->thread, &clock) == 0)
		clock_gettime(clock, &used);
	ret->cpu_ns = (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

void pad_link_statistics(const struct pad_link *link, struct pad_ring_statistics *ret_rx, struct pad_ring_statistics *ret_tx) {
	pad_ring_statistics(link->rx, ret_rx);
	pad_ring_statistics(link->tx, ret_tx);
}
