/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What kernel and daemon change together in a link, without locks: neither may wait for the other, because the daemon can be
 * stopped or killed at any instruction. Compiled for both.
 */
#pragma once

#include "fastpath.h"

#define LINK_STATE_INLINE static inline __attribute__((always_inline, unused))
enum { LINK_STATE_TRIES = 8, LINK_WINDOW_BITS = 32 };

/* A word that the other side may write now: once, and whole. The BPF back end knows no atomic loads (clang 14), and needs none. */
#ifdef __bpf__
#define LINK_LOAD(place) (*(const volatile __typeof__(*(place)) *)(place))
#define LINK_STORE(place, value) (*(volatile __typeof__(*(place)) *)(place) = (value))
#else
#define LINK_LOAD(place) __atomic_load_n(place, __ATOMIC_RELAXED)
#define LINK_STORE(place, value) __atomic_store_n(place, value, __ATOMIC_RELAXED)
#endif

/* A record number to send with, never given to anybody else. Above 2^48 - 1 the link is used up. */
LINK_STATE_INLINE __u64 link_claim_number(struct fastpath_record *record) {
	return __sync_fetch_and_add(&record->tx_next, 1);
}

/*
 * The replay window (RFC 6347 4.1.2.6): eight words, each with the number of a block of 32 record numbers in its upper half and, in
 * its lower half, which of the block were accepted. A block belongs into word block % 8. One compare-and-swap accepts a number,
 * and at most one of those who try does; nothing is ever shifted or cleared. A number is refused when it was accepted, or when its
 * word holds a later block, which is at least 225 numbers later.
 */
LINK_STATE_INLINE int link_window_next(__u64 word, __u64 number, __u64 *ret) {
	__u32 block = (__u32)(number / LINK_WINDOW_BITS), seen = (__u32)(word >> 32);
	__u64 bit = 1ULL << (number % LINK_WINDOW_BITS);

	if (block == seen) {
		*ret = word | bit;
		return !(word & bit);
	}
	*ret = (__u64)block << 32 | bit;
	return (__s32)(block - seen) > 0;
}

/* Would link_window_accept() accept it? For not working in vain. */
LINK_STATE_INLINE int link_window_would_accept(const struct fastpath_record *record, __u64 number) {
	__u64 next;

	return link_window_next(LINK_LOAD(&record->rx_window[number / LINK_WINDOW_BITS % FASTPATH_WINDOW_WORDS]), number, &next);
}

/* 1 accepted, 0 replayed or too old, -1 others were faster LINK_STATE_TRIES times. Only after the tag of the record verified. */
LINK_STATE_INLINE int link_window_accept(struct fastpath_record *record, __u64 number) {
	__u64 *place = &record->rx_window[number / LINK_WINDOW_BITS % FASTPATH_WINDOW_WORDS];

	for (int i = 0; i < LINK_STATE_TRIES; i++) {
		__u64 word = LINK_LOAD(place), next;

		if (!link_window_next(word, number, &next))
			return 0;
		if (__sync_val_compare_and_swap(place, word, next) == word) {
			if (number >= LINK_LOAD(&record->rx_end))
				LINK_STORE(&record->rx_end, number + 1);
			return 1;
		}
	}
	return -1;
}

/*
 * Notes that data frame `sequence` was received and returns the mask for its ack: bit i tells that sequence - i was received, 1 <=
 * i
 * <= 31 (B-6.6.2-04). The word holds the highest number in its upper half and the 32 numbers up to it in its lower half; all zero:
 * nothing yet. In order, and with what overtakes, that is what remembering the last 32 frames gives; for a frame that comes late,
 * those more than 31 below the highest are not told, and for one that comes more than 31 late nothing is.
 */
LINK_STATE_INLINE __u32 link_received_note(__u64 *place, __u32 sequence) {
	__u32 result = 0;

	for (int i = 0; i < LINK_STATE_TRIES; i++) {
		__u64 word = LINK_LOAD(place);
		__u32 mask = (__u32)word, highest = (__u32)(word >> 32), ahead = sequence - highest, back = highest - sequence;

		if (mask == 0) {
			mask = 1;
			highest = sequence;
			result = 0;
		} else if ((__s32)ahead > 0) {
			mask = ahead < 32 ? mask << (ahead & 31) | 1 : 1;
			highest = sequence;
			result = mask & ~1U;
		} else if (back < 32) {
			result = mask >> (back & 31) & ~1U;
			mask |= 1U << (back & 31);
		} else {
			return 0;
		}
		if (__sync_val_compare_and_swap(place, word, (__u64)highest << 32 | mask) == word)
			break;
	}
	return result;
}

/* The next framing number. `own`: the daemon's, whose ack must reach it. */
LINK_STATE_INLINE __u32 link_claim_sequence(struct fastpath_slot *slot, int own) {
	__u32 sequence = __sync_fetch_and_add(&slot->tx_sequence, 1);
	__u64 *place = &slot->own[sequence / 64 % (FASTPATH_OWN_SEQUENCES / 64)];
	__u64 bit = 1ULL << (sequence % 64);

	if (own)
		__sync_fetch_and_or(place, bit);
	else if (LINK_LOAD(place) & bit)
		__sync_fetch_and_and(place, ~bit);
	return sequence;
}

/* Who sent the data frame that an ack is for? 1 the kernel, 0 the daemon or nobody. */
LINK_STATE_INLINE int link_sequence_is_kernels(const struct fastpath_slot *slot, __u32 sequence) {
	__u32 age = LINK_LOAD(&slot->tx_sequence) - sequence;

	if (age == 0 || age > FASTPATH_OWN_SEQUENCES)
		return 0;
	return !(LINK_LOAD(&slot->own[sequence / 64 % (FASTPATH_OWN_SEQUENCES / 64)]) >> (sequence % 64) & 1);
}

/* An ack for `sequence` arrived. */
LINK_STATE_INLINE void link_note_acked(struct fastpath_slot *slot, __u32 sequence) {
	__u32 acked = LINK_LOAD(&slot->acked);

	if ((__s32)(sequence + 1 - acked) > 0)
		LINK_STORE(&slot->acked, sequence + 1);
}
