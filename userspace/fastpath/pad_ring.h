/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ring of keystream pads of one direction of a hot link: FASTPATH_PAD_RING places in memory shared with the kernel program, the
 * consumer. The pad of record number n stands in place n modulo FASTPATH_PAD_RING. One producer keeps the ring filled.
 *
 * The producer writes places that are cleared, or whose number the link has left behind: number 0, contents, then the number with
 * release. A consumer loads the number with acquire, computes with length and contents, and swaps the number for 0; only if that
 * succeeds it has used the pad, else what it computed is void. Pads that wait may become longer in place: the producer then writes
 * the octets that stand there already, and more behind them.
 */
#pragma once

#include "fastpath.h"
#include "fastpath/pad_maker.h"

enum {
	PAD_LENGTH_FIRST = 512,	 /* octets of keystream of the first pads, before any record was seen */
	PAD_LENGTH_HISTORY = 4,	 /* refills whose longest record counts */
	PAD_RECEIVE_BEHIND = 32, /* numbers below the highest accepted that may still arrive */
	PAD_TRANSMIT_BEHIND =
		64, /* numbers below the counter whose sender may still be at work; older ones were sent without pad */
};

enum pad_direction { PAD_RECEIVE, PAD_TRANSMIT };

struct pad_ring_config {
	enum pad_direction direction;
	bool adopt;		   /* keep pads of these keys that are there already, after a restart of the daemon */
	struct fastpath_pad *pads; /* FASTPATH_PAD_RING of them, shared; outlive the ring */
	const __u64 *next;	   /* shared: record number sent next, or highest accepted plus one, without the epoch */
	__u32 *longest;		   /* shared: octets of the longest plaintext since the producer set it to 0 */
	struct pad_key key;
};

struct pad_ring_statistics {
	uint64_t made;	     /* pads */
	uint64_t left;	     /* of them in places whose number was not used: record lost, or handled without the pad */
	uint64_t lengthened; /* times a pad was made longer in place */
	uint64_t refills;    /* that made anything */
	uint32_t length;     /* octets of keystream of new pads */
};

struct pad_ring;

/* Copies the key. Without `adopt` all pads are wiped first. -ENOMEM. */
int pad_ring_new(const struct pad_ring_config *config, struct pad_ring **ret);

/* Forgets the key. The pads stay, for the kernel and for the next run of the daemon. */
struct pad_ring *pad_ring_free(struct pad_ring *ring);
DEFINE_CLEANUP(struct pad_ring *, pad_ring_free)

/*
 * Wipes all pads: the link goes away, or gets other keys. Before that the caller makes the link unreachable for the kernel program
 * and waits for runs that still go on. A refill afterwards starts anew.
 */
void pad_ring_wipe(struct pad_ring *ring);

/*
 * Fills the ring for the records to come, those first that come first. Returns how many pads were made, -EIO when OpenSSL fails.
 * Calls for one ring must not overlap.
 */
int pad_ring_refill(struct pad_ring *ring, struct pad_maker *maker);

/* May be called from any thread. */
void pad_ring_statistics(const struct pad_ring *ring, struct pad_ring_statistics *ret);
