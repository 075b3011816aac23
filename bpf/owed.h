/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Acks that wait for a frame that carries them.
 *
 * A frame cannot be made in XDP, only copied, and copying a message for the sake of its ack costs as much as decrypting it. But
 * traffic that is forwarded makes frames come that end here: the next hops' acks, one for every message. While these keep coming,
 * acks wait for them, and such a frame leaves again as an ack for the previous hop. RFC 6940 6.6.2 says that the ack SHOULD be
 * sent immediately: it is late by the time to the next frame, microseconds, at most by the next hop's round trip; every message
 * still gets an ack of its own (6.6.3). When no such frame came lately, or too many acks wait, the ack leaves at once in a copy. An
 * ack whose frame does not come in OWED_MAX_NS is lost, as it may be on any network: it takes that the next hop's ack is lost.
 *
 * Reading the time finely costs as much as sealing an ack. So once two such frames came within the time that acks may wait, the
 * next CARRIER_TRUST messages of the same tick rely on more, and only one frame in CARRIER_READ_EVERY is looked at again. Should
 * these cease, the acks of so many messages wait for those of the next hop to these very messages.
 */
#pragma once

#include "frames.h"

enum {
	CARRIER_TRUST = WORK_OWED,
	CARRIER_READ_EVERY = 8,
	OWED_WAIT_NS = 10000,	 /* unit of fastpath_settings.ack_wait */
	OWED_MAX_NS = 400000000, /* later it would tell nothing: by default a sender waits 500 ms (RFC 6940 6.6.3.1) */
	OWED_TRIES = 4,
};

INLINE __u64 owed_key(const struct fastpath_slot *slot) {
	return *(const __u64 *)slot->record.tx_iv;
}

INLINE int owed_possible(struct forward_work *work, const struct fastpath_settings *set) {
	__u32 rest = work->carrier_rest;

	if (work->owed_count >= WORK_OWED || set->ack_wait == 0)
		return 0;
	if (rest > 0 && work->carrier_tick == bpf_jiffies64()) {
		work->carrier_rest = rest - 1;
		return 1;
	}
	return bpf_ktime_get_ns() - work->carrier_ns < (__u64)set->ack_wait * OWED_WAIT_NS;
}

/* A frame came that can carry an ack. */
INLINE void owed_carrier(struct forward_work *work, const struct fastpath_settings *set) {
	__u64 tick = bpf_jiffies64(), now_ns;
	__u32 carriers = work->carriers + 1;

	if (work->carrier_rest > 0 && work->carrier_tick == tick && carriers < CARRIER_READ_EVERY) {
		work->carriers = carriers;
		return;
	}
	now_ns = bpf_ktime_get_ns();
	work->carrier_rest = now_ns - work->carrier_ns < (__u64)set->ack_wait * OWED_WAIT_NS ? CARRIER_TRUST : 0;
	work->carrier_ns = now_ns;
	work->carrier_tick = tick;
	work->carriers = 0;
}

FORWARD_FUNCTION int owed_add(struct forward_work *work, struct fastpath_slot *slot, __u32 sequence) {
	struct work_owed *owed;

	if (!work || !slot)
		return 0;
	owed = &work->owed[(work->owed_first + work->owed_count++) & (WORK_OWED - 1)];
	owed->since_ns = work_coarse_ns(work);
	owed->key = owed_key(slot);
	owed->slot = work->packet.slot;
	owed->sequence = sequence;
	owed->received = link_received_note(&slot->received, sequence);
	return 1;
}

/* The next ack that waits, and its way in work->back. */
INLINE struct fastpath_slot *owed_take(struct forward_work *work, struct fastpath_counters *count, __u64 now_ns,
				       struct work_owed **ret) {
	for (int i = 0; i < OWED_TRIES; i++) {
		struct work_owed *owed = &work->owed[work->owed_first & (WORK_OWED - 1)];
		struct fastpath_slot *slot;
		__u32 number = owed->slot;

		if (work->owed_count == 0)
			return 0;
		work->owed_first++;
		work->owed_count--;
		slot = bpf_map_lookup_elem(&slots, &number);
		if (slot && now_ns - owed->since_ns < OWED_MAX_NS && owed_key(slot) == owed->key && slot_usable(slot) &&
		    hop_read(slot, &work->back) && !(slot->record.tx_next >> NUMBER_LIMIT_BITS)) {
			*ret = owed;
			return slot;
		}
		count->acks_lost++;
	}
	return 0;
}

/* An ack came and was used up: its frame leaves as one of ours, if one waits. */
INLINE int owed_send(struct xdp_md *context, struct forward_work *work, struct fastpath_settings *set,
		     struct fastpath_counters *count) {
	struct fastpath_slot *slot;
	struct work_owed *owed;
	__u32 headers;

	owed_carrier(work, set);
	if (work->owed_count == 0)
		return XDP_DROP;
	slot = owed_take(work, count, work_coarse_ns(work), &owed);
	if (!slot)
		return XDP_DROP;
	headers = (__u32)ack_build(work, slot, count, owed->sequence, owed->received);
	if (headers == 0 ||
	    !packet_replace(context, &work->ack, headers, AEAD_HEADER + ACK_TEXT + AEAD_TAG, work->packet.frame_length)) {
		count->acks_lost++;
		return XDP_DROP;
	}
	count->acks_carried++;
	return (int)bpf_redirect_map(&ports, work->back.port, 0);
}
