/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread that keeps the pad rings of hot links filled. It sleeps until the kernel program wakes it, looks which links want
 * pads, fills their rings and sleeps again: no timer, no polling. It shares nothing with the daemon's thread but what stands here;
 * all functions are for that thread.
 */
#pragma once

#include "fastpath/pad_ring.h"

enum {
	PAD_WORKER_LINKS_MAX = 256, /* hot links, each with 800 kB of pads; more: -ENOSPC */
};

/* How the kernel wakes the worker. */
struct pad_wake {
	int fd; /* readable when links want pads: a BPF ring buffer, or an eventfd; stays the caller's */
	void (*drain)(
		void *userdata); /* called by the worker's thread when it is: takes everything out, so that fd is not readable */
	void *userdata;
};

/* A hot link: one that has both rings. Everything shared outlives it. */
struct pad_link_config {
	struct fastpath_slot *slot; /* keys, counters, lengths, and the flag `wanted` */
	struct fastpath_pad *rx_pads, *tx_pads;
	bool adopt; /* the rings are this link's from before a restart */
};

struct pad_worker_statistics {
	enum pad_method method;
	size_t links;
	uint64_t wakes;	   /* times the thread woke */
	uint64_t refills;  /* links it found wanting and filled */
	uint64_t pads;	   /* made */
	uint64_t failures; /* of OpenSSL; the link then goes on without pads until it is asked for again */
	uint64_t cpu_ns;   /* processor time of the thread */
};

struct pad_worker;
struct pad_link;

/* `wake` may be NULL: then only pad_worker_wake() does. -ENOMEM, -EIO, -EMFILE, -EAGAIN no thread. */
int pad_worker_start(const struct pad_wake *wake, struct pad_worker **ret);

/* Ends the thread and forgets all links; their pads stay, for the kernel and for the next run of the daemon. */
struct pad_worker *pad_worker_stop(struct pad_worker *worker);
DEFINE_CLEANUP(struct pad_worker *, pad_worker_stop)

/*
 * Has the rings of a link filled, at once and whenever it wants. slot->rx_ring and tx_ring, by which the kernel finds the rings,
 * are the caller's: set after this, so that pads of other keys are gone. -ENOSPC, -ENOMEM.
 */
int pad_worker_add(struct pad_worker *worker, const struct pad_link_config *config, struct pad_link **ret);

/*
 * Afterwards the thread touches nothing of the link. With `wipe` its pads are wiped, for which the kernel must not reach them any
 * more (pad_ring_wipe()); without, they stay for another run. Waits for a refill of this link that is under way, some 100 µs.
 */
struct pad_link *pad_worker_remove(struct pad_worker *worker, struct pad_link *link, bool wipe);

/* Makes the thread look at the flags now. */
void pad_worker_wake(struct pad_worker *worker);

void pad_worker_statistics(struct pad_worker *worker, struct pad_worker_statistics *ret);
void pad_link_statistics(const struct pad_link *link, struct pad_ring_statistics *ret_rx, struct pad_ring_statistics *ret_tx);
