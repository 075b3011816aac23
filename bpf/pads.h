/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Pads made in advance by the daemon: finding, using up, and telling that they run out. Which ring is whose: fastpath.h. */
#pragma once

#include "work.h"

enum {
	PADS_LOOK_EVERY = 32,			/* records between two looks whether pads run out */
	PADS_LOW = 96,				/* pads left of a link that wakes the pad worker: NAPI budget 64, and its way */
	PADS_HALF = 192,			/* that has the worker look after the link too when others wake it */
	PADS_ASK_EVERY = FASTPATH_PAD_RING / 2, /* records between two questions of a link without rings */
};

#define PAD_SEQUENCE(number) (1ULL << 48 | (number))

INLINE struct fastpath_pad *pad_find(__u32 ring, __u64 number, __u32 length) {
	__u32 index = ring * FASTPATH_PAD_RING + (__u32)(number & (FASTPATH_PAD_RING - 1));
	struct fastpath_pad *pad;

	if (ring == FASTPATH_RING_NONE)
		return 0;
	pad = bpf_map_lookup_elem(&pads, &index);
	if (!pad || *(volatile __u64 *)&pad->number != PAD_SEQUENCE(number) || *(volatile __u32 *)&pad->length < length)
		return 0;
	return pad;
}

/*
 * Clears it. 0: it was overwritten meanwhile, and what was computed with it is void. Nobody else has a claim to it: a number to
 * send with is given once, one that was received is accepted once (link_window_accept()), and only the pad worker writes here
 * otherwise. Where a processor keeps loads in order and stores in order, it is therefore enough to see afterwards that the number
 * still stands: the worker clears it before it touches the rest. Should it do so between load and store, a pad of its is cleared,
 * and made again.
 */
INLINE int pad_take(struct fastpath_pad *pad, __u64 number) {
#ifdef PAD_IN_ORDER
	asm volatile("" ::: "memory");
	if (*(volatile __u64 *)&pad->number != PAD_SEQUENCE(number))
		return 0;
	*(volatile __u64 *)&pad->number = 0;
	return 1;
#else
	return __sync_val_compare_and_swap(&pad->number, PAD_SEQUENCE(number), 0) == PAD_SEQUENCE(number);
#endif
}

enum { PADS_WANTED = 1, PADS_ASKED = 2 }; /* slot->wanted; 2: the worker was woken for it */

/* Wakes the pad worker if it is not awake anyway. */
INLINE void pads_want(struct fastpath_slot *slot, __u32 number, struct fastpath_counters *count) {
	struct fastpath_event event = {FASTPATH_VERSION, FASTPATH_EVENT_PADS, number};

	if (*(volatile __u32 *)&slot->wanted == PADS_ASKED || __sync_lock_test_and_set(&slot->wanted, PADS_ASKED) == PADS_ASKED)
		return;
	if (bpf_ringbuf_output(&events, &event, sizeof(event), BPF_RB_FORCE_WAKEUP) == 0) {
		count->wakeups++;
	} else {
		count->wakeups_lost++;
		*(volatile __u32 *)&slot->wanted = 0;
	}
}

/*
 * Do the pads of `ring` run out behind record `next`? A wake-up is an interrupt and two changes of threads: as much as a message or
 * two. The links of a message use up their pads alike, so that one wake-up does for all of them.
 */
INLINE void pads_look(struct fastpath_slot *slot, __u32 ring, __u64 next, __u32 number, struct fastpath_counters *count) {
	if (ring == FASTPATH_RING_NONE && next % PADS_ASK_EVERY >= 2)
		return;
	if (!pad_find(ring, next + PADS_LOW, 0))
		pads_want(slot, number, count);
	else if (!*(volatile __u32 *)&slot->wanted && !pad_find(ring, next + PADS_HALF, 0))
		*(volatile __u32 *)&slot->wanted = PADS_WANTED;
}
