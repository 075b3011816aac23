/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Transit of RELOAD messages in XDP: one DTLS record is opened, decided about (forward.h), edited, sealed for the next hop and
 * sent; the previous hop gets its ack in the same run. What is not fully understood goes up untouched: all work is done on a copy,
 * and nothing shared changes before every reason to leave a datagram to the daemon has been looked at.
 *
 * Order: the tag verifies, the replay window accepts the number, and only then record and framing numbers are claimed and sealed.
 * Whoever loses at the window does nothing more, forgeries change nothing, and a number once claimed is used at most once.
 */
#include "caretaker.h"
#include "shield.h"

#define INLINE static inline __attribute__((always_inline))

enum {
	PADS_LOOK_EVERY = 32,			/* records between two looks whether pads run out */
	PADS_LOW = 96,				/* pads left of a link that wakes the pad worker: NAPI budget 64, and its way */
	PADS_HALF = 192,			/* that has the worker look after the link too when others wake it */
	PADS_ASK_EVERY = FASTPATH_PAD_RING / 2, /* records between two questions of a link without rings */
	RTT_SAMPLE_EVERY = 64,
	RTT_MAX_US = 60000000,
	PROBE_NS = 500000000, /* between frames of a link whose limit is reached and that acknowledges nothing */
	ACK_TEXT = 9,
	NUMBER_LIMIT_BITS = 48,
};

/* ---- pads ---- */

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

enum { OPEN_OK, OPEN_FORGED, OPEN_NO_PAD, OPEN_CONTENTION };
enum {
	OPEN_FIRST = 64,  /* octets of plaintext in which the lengths of the lists stand */
	OPEN_BEHIND = 16, /* read behind the forwarding header: message code, length of the body */
};
_Static_assert(OPEN_FIRST >= FORWARD_FRAME_DATA + FORWARD_FIXED, "fixed header");

/* Does the tag of the record in work->in match, by the key in `pad`? The tag that came is in work->tag. */
INLINE int record_verify(struct forward_work *work, struct fastpath_pad *pad) {
	poly1305_record(&work->in, &work->poly, pad, work->packet.text_length);
	return ((work->poly.tag[0] ^ work->tag[0]) | (work->poly.tag[1] ^ work->tag[1])) == 0;
}

/*
 * Decrypts the record in work->in as far as the decision reads: frame, forwarding header, message code. What follows is encrypted
 * anew without being read, in one pass with its decryption (message_text()). A Ping is read on (forward_is_diagnostic()).
 */
INLINE void record_decrypt(struct forward_work *work, struct fastpath_pad *pad) {
	__u32 length = work->packet.text_length, head, end = OPEN_FIRST;
	const __u8 *text = work->in.text;
	__u16 code;

	for (__u32 i = 0; i < OPEN_FIRST / 8; i++)
		((__u64 *)work->in.text)[i] ^= ((const __u64 *)pad->keystream)[i];
	if (length > OPEN_FIRST) {
		head = FORWARD_FRAME_DATA + FORWARD_FIXED;
		head += (__u32)__builtin_bswap16(*(const __u16 *)&text[FORWARD_FRAME_DATA + 32]) +
			__builtin_bswap16(*(const __u16 *)&text[FORWARD_FRAME_DATA + 34]) +
			__builtin_bswap16(*(const __u16 *)&text[FORWARD_FRAME_DATA + 36]);
		end = (head + OPEN_BEHIND + 31) & ~31U;
		if (end > length)
			end = length;
		aead_xor_part(&work->in, pad, OPEN_FIRST, end);
		if (end < length) {
			code = __builtin_bswap16(*(const __u16 *)&text[AEAD_MASK(head)]);
			if (code == FORWARD_CODE_PING || code == FORWARD_CODE_PING + 1) {
				aead_xor_part(&work->in, pad, end, length);
				end = length;
			}
		}
	}
	work->opened = end < length ? end : length;
}

/* Opens the record in work->in in place, see record_decrypt(). Its pad stays in its ring until record_used(), but an ack's. */
FORWARD_FUNCTION int record_open(struct forward_work *work, struct fastpath_slot *slot, struct fastpath_counters *count,
				 __u32 compute_max) {
	struct fastpath_pad *pad;
	__u32 at;

	if (!work || !slot || !count)
		return OPEN_CONTENTION;
	at = AEAD_MASK(work->packet.text_length);
	work->tag[0] = *(__u64 *)&work->in.text[at];
	work->tag[1] = *(__u64 *)&work->in.text[at + 8];
	work->rx_computed = 0;
	aead_additional_set(&work->poly, work->packet.number, work->packet.text_length);
	aead_pad_zeros(&work->in, work->packet.text_length);
	pad = pad_find(slot->rx_ring, work->packet.number, work->packet.text_length);
	if (pad) {
		if (record_verify(work, pad)) {
			record_decrypt(work, pad);
			if (work->packet.text_length == ACK_TEXT) {
				count->ack_pad_hits++;
				return pad_take(pad, work->packet.number) ? OPEN_OK : OPEN_CONTENTION;
			}
			count->pad_hits++;
			return *(volatile __u64 *)&pad->number == PAD_SEQUENCE(work->packet.number) ? OPEN_OK : OPEN_CONTENTION;
		}
		if (*(volatile __u64 *)&pad->number == PAD_SEQUENCE(work->packet.number))
			return OPEN_FORGED;
	}
	if (work->packet.text_length > compute_max)
		return OPEN_NO_PAD;
	aead_pad_key(&work->chacha, &work->rx_pad, &slot->record, work->packet.number, 0);
	if (!record_verify(work, &work->rx_pad))
		return OPEN_FORGED;
	chacha20_pad_stream(&work->chacha, &work->rx_pad, work->packet.text_length);
	work->rx_computed = 1;
	record_decrypt(work, &work->rx_pad);
	if (work->packet.text_length == ACK_TEXT)
		count->ack_pad_misses++;
	else
		count->pad_misses++;
	return OPEN_OK;
}

/* link_window_accept() for the record at hand. */
FORWARD_FUNCTION int record_accept(struct forward_work *work, struct fastpath_slot *slot) {
	return work && slot ? link_window_accept(&slot->record, work->packet.number) : 0;
}

/* Seals the ack in work->ack with a number claimed of the link. 0: the pad was overwritten while in use, the number is lost. */
INLINE int ack_seal(struct forward_work *work, struct fastpath_slot *slot, struct fastpath_counters *count) {
	struct record_buffer *b = &work->ack;
	struct fastpath_pad *pad;
	__u64 number;

	number = link_claim_number(&slot->record);
	if (number >> NUMBER_LIMIT_BITS)
		return 0;
	pad = pad_find(slot->tx_ring, number, ACK_TEXT);
	if (pad) {
		aead_xor_ack(b, pad);
		aead_finish(b, &work->poly, pad, number, ACK_TEXT);
		count->ack_pad_hits++;
		return pad_take(pad, number);
	}
	aead_pad_key(&work->chacha, &work->tx_pad, &slot->record, number, 1);
	chacha20_pad_stream(&work->chacha, &work->tx_pad, ACK_TEXT);
	aead_xor_ack(b, &work->tx_pad);
	aead_finish(b, &work->poly, &work->tx_pad, number, ACK_TEXT);
	count->ack_pad_misses++;
	return 1;
}

/* ---- frames ---- */

INLINE __u32 load_u32(const __u8 *at) {
	return __builtin_bswap32(*(const __u32 *)at);
}

/* The fields of a link that the netlink watcher changes under us. */
INLINE int hop_read(const struct fastpath_slot *slot, struct fastpath_hop *ret) {
	__u32 version = *(volatile const __u32 *)&slot->hop.version;

	asm volatile("" ::: "memory");
	*ret = slot->hop;
	asm volatile("" ::: "memory");
	return !(version & 1) && *(volatile const __u32 *)&slot->hop.version == version && ret->flags & FASTPATH_HOP_VALID &&
	       ret->port < FASTPATH_PORTS_MAX;
}

INLINE int slot_usable(const struct fastpath_slot *slot) {
	return slot->flags & FASTPATH_SLOT_ACTIVE && slot->link.flags & FORWARD_LINK_UP && slot->record.cipher == 1;
}

/* An ack for a frame the kernel sent: the other side lives. */
INLINE void ack_note(struct forward_work *work, struct fastpath_slot *slot, __u32 sequence) {
	__u64 now_ns = work_coarse_ns(work);

	link_note_acked(slot, sequence);
	*(volatile __u64 *)&slot->last_acked_ns = now_ns;
	*(volatile __u64 *)&slot->last_received_ns = now_ns;
	if (sequence == slot->rtt_sequence && slot->rtt_sent_ns != 0) {
		__u64 rtt_us = (bpf_ktime_get_ns() - slot->rtt_sent_ns) / 1000;
		__u32 smoothed = slot->rtt_us;

		slot->rtt_sent_ns = 0;
		if (rtt_us <= RTT_MAX_US)
			slot->rtt_us = smoothed ? smoothed - smoothed / 8 + (__u32)rtt_us / 8 : (__u32)rtt_us;
	}
}

/*
 * Too many frames under way (RFC 5405)? Then one now and then, so that the link comes back without the daemon. On trial, few are
 * risked until the daemon has seen that they are acknowledged.
 */
INLINE int congested(struct forward_work *work, struct fastpath_slot *slot) {
	__u32 limit = slot->unacked_limit, flying = *(volatile __u32 *)&slot->tx_sequence - *(volatile __u32 *)&slot->acked;
	__u64 now_ns;

	if (slot->flags & FASTPATH_SLOT_TRIAL) {
		__u32 credits = *(volatile __u32 *)&slot->trial_credits;

		if (credits == 0)
			return 1;
		*(volatile __u32 *)&slot->trial_credits = credits - 1;
	}
	if (limit == 0 || flying < limit)
		return 0;
	now_ns = work_coarse_ns(work);
	if (now_ns - slot->probe_ns < PROBE_NS)
		return 1;
	slot->probe_ns = now_ns;
	return 0;
}

/*
 * From the frame with the edited head in work->out, and what forward_edit() left alone in work->in, to ciphertext in work->out. Of
 * work->in the first work->opened octets are plaintext; from there on it is decrypted by `rx` and encrypted by `tx` on the way.
 */
FORWARD_FUNCTION int message_text(struct forward_work *work, struct fastpath_pad *rx, struct fastpath_pad *tx, __u32 total) {
	__u32 from, to, plain, back, odd;

	if (!work || !rx || !tx)
		return 0;
	from = FORWARD_FRAME_DATA + work->verdict.rest_offset;
	to = FORWARD_FRAME_DATA + work->verdict.head_length;
	plain = AEAD_MASK(work->opened);
	if (plain < work->packet.text_length) {
		/* Up to where the target is aligned, so that stores are: Poly1305 loads what was stored. */
		odd = -(plain + to - from) & 7;
		if (plain > FASTPATH_PAD_KEYSTREAM - 8)
			return 0;
		*(__u64 *)&work->in.text[plain] ^= *(__u64 *)&rx->keystream[plain] & ((1ULL << 8 * odd) - 1);
		plain += odd;
	}
	for (__u32 i = 0; i < FASTPATH_TEXT_MAX / 32; i++) {
		__u32 source = AEAD_MASK(from + i * 32), target = AEAD_MASK(to + i * 32);

		if (from + i * 32 >= plain)
			break;
		*(__u64 *)&work->out.text[target] = *(__u64 *)&work->in.text[source];
		*(__u64 *)&work->out.text[target + 8] = *(__u64 *)&work->in.text[source + 8];
		*(__u64 *)&work->out.text[target + 16] = *(__u64 *)&work->in.text[source + 16];
		*(__u64 *)&work->out.text[target + 24] = *(__u64 *)&work->in.text[source + 24];
	}
	back = to - from;
	aead_xor_part(&work->out, tx, 0, plain + back);
	if (plain >= work->packet.text_length)
		return 1;
	for (__u32 i = 0; i < FASTPATH_TEXT_MAX / 32; i++) {
		__u32 source = AEAD_MASK(plain + i * 32), target = AEAD_MASK(plain + back + i * 32);
		const __u64 *in, *opening, *sealing;
		__u64 *out;

		if (target >= total || target > FASTPATH_PAD_KEYSTREAM - 32 || source > FASTPATH_PAD_KEYSTREAM - 32)
			break;
		in = (const __u64 *)&work->in.text[source];
		out = (__u64 *)&work->out.text[target];
		opening = (const __u64 *)&rx->keystream[source];
		sealing = (const __u64 *)&tx->keystream[target];
		out[0] = in[0] ^ opening[0] ^ sealing[0];
		out[1] = in[1] ^ opening[1] ^ sealing[1];
		out[2] = in[2] ^ opening[2] ^ sealing[2];
		out[3] = in[3] ^ opening[3] ^ sealing[3];
	}
	return 1;
}

/* The pad by which the record in work->in was opened. NULL: it was overwritten, or another CPU used it up. */
INLINE struct fastpath_pad *record_pad(struct forward_work *work, const struct fastpath_slot *slot) {
	if (work->rx_computed)
		return &work->rx_pad;
	return pad_find(slot->rx_ring, work->packet.number, work->packet.text_length);
}

/*
 * Seals the message whose edited head is in work->out, `length` octets of plaintext with its frame header, with a number claimed of
 * the link. 0: a pad was overwritten while in use, the number is lost.
 */
INLINE int message_seal(struct forward_work *work, struct fastpath_slot *from, struct fastpath_slot *next,
			struct fastpath_counters *count, __u32 length) {
	struct fastpath_pad *opening, *sealing;
	__u64 number;

	opening = record_pad(work, from);
	number = link_claim_number(&next->record);
	if (number >> NUMBER_LIMIT_BITS || !opening)
		return 0;
	sealing = pad_find(next->tx_ring, number, length);
	if (sealing) {
		count->pad_hits++;
		if (!message_text(work, opening, sealing, length))
			return 0;
		aead_finish(&work->out, &work->poly, sealing, number, length);
		if (!pad_take(sealing, number))
			return 0;
	} else {
		count->pad_misses++;
		aead_pad_key(&work->chacha, &work->tx_pad, &next->record, number, 1);
		chacha20_pad_stream(&work->chacha, &work->tx_pad, length);
		if (!message_text(work, opening, &work->tx_pad, length))
			return 0;
		aead_finish(&work->out, &work->poly, &work->tx_pad, number, length);
	}
	return work->rx_computed || pad_take(opening, work->packet.number);
}

/* link_received_note() for a data frame. */
FORWARD_FUNCTION int frame_note(struct fastpath_slot *slot, __u32 sequence) {
	return slot ? (int)link_received_note(&slot->received, sequence) : 0;
}

/*
 * The sealed ack for data frame `sequence` with mask `received` in work->ack. Returns the length of its packet's headers, 0: it
 * could not be made.
 */
FORWARD_FUNCTION int ack_build(struct forward_work *work, struct fastpath_slot *slot, struct fastpath_counters *count,
			       __u32 sequence, __u32 received) {
	if (!work || !slot || !count)
		return 0;
	work->ack.text[0] = FORWARD_FRAME_TYPE_ACK;
	*(__u32 *)&work->ack.text[1] = __builtin_bswap32(sequence);
	*(__u32 *)&work->ack.text[5] = __builtin_bswap32(received);
	if (!ack_seal(work, slot, count))
		return 0;
	count->acks_sent++;
	return packet_headers(&work->ack, slot, &work->back, AEAD_HEADER + ACK_TEXT + AEAD_TAG);
}

/* The message for the next hop in work->out, edited and sealed. Returns the length of its packet's headers, 0: it is lost. */
FORWARD_FUNCTION int message_build(struct forward_work *work, struct fastpath_slot *from, struct fastpath_slot *next,
				   struct fastpath_counters *count) {
	__u32 sequence, length;

	if (!work || !from || !next || !count)
		return 0;
	forward_edit(work);
	sequence = link_claim_sequence(next, 0);
	if (sequence % RTT_SAMPLE_EVERY == 0) {
		next->rtt_sequence = sequence;
		next->rtt_sent_ns = bpf_ktime_get_ns();
	}
	*(__u64 *)work->out.text =
		__builtin_bswap64((__u64)FORWARD_FRAME_TYPE_DATA << 56 | (__u64)sequence << 24 | (work->verdict.length & 0xffffff));
	length = FORWARD_FRAME_DATA + work->verdict.length;
	if (!message_seal(work, from, next, count, length))
		return 0;
	if (length > next->tx_longest)
		next->tx_longest = length;
	return packet_headers(&work->out, next, &work->onward, AEAD_HEADER + length + AEAD_TAG);
}

/* Replaces the packet by headers and record in `b`. */
INLINE int packet_replace(struct xdp_md *context, struct record_buffer *b, __u32 headers, __u32 record_length, __u32 frame_length) {
	__u32 total = headers + record_length;

	if (bpf_xdp_adjust_head(context, (int)frame_length - (int)total) < 0)
		return 0;
	asm volatile("" : "+r"(headers));
	headers &= 127;
	if (headers > RECORD_BUFFER_ROOM || total == 0 || total > RECORD_BUFFER_ROOM + PACKET_DATAGRAM_MAX)
		return 0;
	total = work_length(total, RECORD_BUFFER_ROOM + PACKET_DATAGRAM_MAX);
	return bpf_xdp_store_bytes(context, 0, &b->room[RECORD_BUFFER_ROOM - headers], total) == 0;
}

/* A place for the ack until the packet reaches its device, and the marks by which it is found there. */
FORWARD_FUNCTION int pending_fill(struct forward_work *work, __u32 headers, __u32 ack_headers) {
	struct fastpath_pending *pending;
	__u32 place, at;

	if (!work)
		return 0;
	place = work->messages++ & (FASTPATH_PENDING - 1);
	pending = bpf_map_lookup_elem(&pendings, &place);
	if (!pending)
		return 0;
	pending->mark = (__u64)work->messages << 32 | FASTPATH_MARK | place << FASTPATH_MARK_PLACE;
	pending->ack_ifindex = work->back.ifindex;
	pending->ack_done = 0;
	pending->ack_length = (__u16)(ack_headers + AEAD_HEADER + ACK_TEXT + AEAD_TAG);
	at = (RECORD_BUFFER_ROOM - ack_headers) & 63;
	for (__u32 i = 0; i < FASTPATH_FRAME_MAX / 8; i++)
		*(__u64 *)&pending->ack[8 * i] = *(__u64 *)&work->ack.room[at + 8 * i];
	at = (RECORD_BUFFER_ROOM - headers) & 63;
	*(__u64 *)pending->ethernet = *(__u64 *)&work->out.room[at];
	*(__u64 *)&pending->ethernet[8] = *(__u64 *)&work->out.room[at + 8];
	*(__u64 *)&work->out.room[at] = pending->mark;
	return 1;
}

INLINE int fail(struct fastpath_counters *count) {
	count->verdicts[FASTPATH_FAILED]++;
	return XDP_DROP;
}

/* ---- acks that wait ---- */

/*
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

/* The replay window of a record whose tag verified: 0, or what becomes of the datagram. */
INLINE int accept(struct forward_work *work, struct fastpath_slot *slot, struct fastpath_counters *count,
		  struct fastpath_link_counters *link_count, int *ret) {
	int accepted = record_accept(work, slot);

	if (accepted == 1)
		return 1;
	if (accepted == 0) {
		link_count->replayed++;
		*ret = work_reject(count, DROP_LINK_REPLAY);
	} else {
		*ret = work_pass(count, PASS_CONTENTION);
	}
	return 0;
}

/* ---- the way of a datagram ---- */

/* A data frame is dropped: its ack goes back all the same (FW-A03). */
INLINE int acknowledge_only(struct xdp_md *context, struct forward_work *work, struct fastpath_slot *slot,
			    struct fastpath_counters *count, __u32 sequence) {
	__u32 headers = (__u32)ack_build(work, slot, count, sequence, (__u32)frame_note(slot, sequence));

	count->verdicts[FASTPATH_DROPPED]++;
	count->drops[work->verdict.reason & 63]++;
	if (headers == 0)
		return XDP_DROP;
	if (!packet_replace(context, &work->ack, headers, AEAD_HEADER + ACK_TEXT + AEAD_TAG, work->packet.frame_length))
		return fail(count);
	return (int)bpf_redirect_map(&ports, work->back.port, 0);
}

/*
 * Does an IP packet of `length` octets fit on the way? The device itself is asked too: it can have become smaller since the daemon
 * looked at it last, and a frame that is too long for it is lost without a word.
 */
INLINE int hop_takes(struct xdp_md *context, struct fastpath_hop *hop, __u32 length) {
	__u32 device = length;

	return length <= hop->mtu && bpf_check_mtu(context, hop->ifindex, &device, 0, 0) == 0;
}

/* A data frame in work->in.text of work->packet.text_length octets. */
INLINE int data_frame(struct xdp_md *context, struct forward_work *work, struct fastpath_slot *slot, struct fastpath_settings *set,
		      struct fastpath_counters *count, struct fastpath_link_counters *link_count, __u64 misses) {
	__u32 sequence = load_u32(&work->in.text[1]), pads_ran_out, number, pair, text, ip, headers, ack_headers;
	struct fastpath_link_counters *next_count;
	struct fastpath_slot *next;
	void *pair_map;
	int action, result, owed;

	work->node = set->node;
	work->arrival = slot->link;
	work->length = work->packet.text_length - FORWARD_FRAME_DATA;
	work->input_flags = 0;
	action = forward_decide(work);
	if (*(volatile __u32 *)&set->version != work->settings_version)
		return work_pass(count, PASS_TABLES);
	work->for_daemon = 1;
	work->sequence = sequence;
	if (action == FORWARD_LOCAL)
		return work_pass(count, PASS_LOCAL);
	if (action == FORWARD_PUNT)
		return work_pass(count, PASS_PUNT);
	if (action == FORWARD_DROP && (work->verdict.error_code || work->verdict.flags & FORWARD_CLOSE_LINK))
		return work_pass(count, PASS_ERROR);
	work->for_daemon = 0;
	if (!hop_read(slot, &work->back))
		return work_pass(count, PASS_HOP);
	if (slot->record.tx_next >> NUMBER_LIMIT_BITS)
		return work_pass(count, PASS_NUMBERS);
	pair = work->back.port * FASTPATH_PORTS_MAX + work->back.port;
	if (!bpf_map_lookup_elem(&pairs, &pair))
		return work_pass(count, PASS_HOP); /* not attached, or not natively */
	if (action == FORWARD_DROP) {
		if (!accept(work, slot, count, link_count, &result))
			return result;
		link_count->received++;
		link_count->received_octets += work->length;
		link_count->acks_sent++;
		return acknowledge_only(context, work, slot, count, sequence);
	}

	number = work->verdict.slot;
	next = bpf_map_lookup_elem(&slots, &number);
	next_count = bpf_map_lookup_elem(&link_counters, &number);
	if (!next || !next_count || !slot_usable(next))
		return work_pass(count, PASS_NEXT_LINK);
	if (!hop_read(next, &work->onward))
		return work_pass(count, PASS_HOP);
	text = FORWARD_FRAME_DATA + work->verdict.length;
	ip = text + AEAD_HEADER + AEAD_TAG + 8 + (next->record.family == PACKET_IPV4_FAMILY ? 20 : 40);
	if (text > FASTPATH_TEXT_MAX || !hop_takes(context, &work->onward, ip))
		return work_pass(count, PASS_MTU); /* FW-E09: the daemon splits it */
	if (next->record.tx_next >> NUMBER_LIMIT_BITS)
		return work_pass(count, PASS_NUMBERS);
	if (text > set->compute_max && !pad_find(next->tx_ring, next->record.tx_next, text)) {
		pads_want(next, number, count);
		return work_pass(count, PASS_NO_PAD);
	}
	pair = work->back.port * FASTPATH_PORTS_MAX + work->onward.port;
	pair_map = bpf_map_lookup_elem(&pairs, &pair);
	if (!pair_map)
		return work_pass(count, PASS_HOP);
	if (congested(work, next))
		return work_pass(count, PASS_CONGESTION);
	if (!accept(work, slot, count, link_count, &result))
		return result;

	/* From here on it is ours. */
	link_count->received++;
	link_count->received_octets += work->length;
	link_count->acks_sent++;
	owed = owed_possible(work, set);
	ack_headers = owed ? 0 : (__u32)ack_build(work, slot, count, sequence, (__u32)frame_note(slot, sequence));
	headers = (__u32)message_build(work, slot, next, count);
	if (headers == 0 || (!owed && (ack_headers == 0 || !pending_fill(work, headers, ack_headers))))
		return fail(count);
	if (!packet_replace(context, &work->out, headers, AEAD_HEADER + text + AEAD_TAG, work->packet.frame_length))
		return fail(count);
	next_count->sent++;
	next_count->sent_octets += work->verdict.length;
	count->verdicts[FASTPATH_FORWARDED]++;
	pads_ran_out = count->pad_misses + count->ack_pad_misses != misses;
	if (pads_ran_out && next->tx_ring != FASTPATH_RING_NONE)
		pads_want(next, number, count);
	else if (next->record.tx_next % PADS_LOOK_EVERY < 2)
		pads_look(next, next->tx_ring, next->record.tx_next, number, count);
	if (pads_ran_out && slot->rx_ring != FASTPATH_RING_NONE)
		pads_want(slot, work->packet.slot, count);
	if (!owed)
		return (int)bpf_redirect_map(pair_map, 0, BPF_F_BROADCAST);
	owed_add(work, slot, sequence);
	return (int)bpf_redirect_map(&ports, work->onward.port, 0);
}

INLINE int ack_frame(struct xdp_md *context, struct forward_work *work, struct fastpath_slot *slot, struct fastpath_settings *set,
		     struct fastpath_counters *count, struct fastpath_link_counters *link_count) {
	__u32 sequence = load_u32(&work->in.text[1]);
	int result;

	if (!link_sequence_is_kernels(slot, sequence))
		return work_pass(count, PASS_OWN_ACK);
	if (!accept(work, slot, count, link_count, &result))
		return result;
	ack_note(work, slot, sequence);
	link_count->acks_received++;
	count->verdicts[FASTPATH_ACK]++;
	return owed_send(context, work, set, count);
}

enum { RECORD_ONE, RECORD_FIRST, RECORD_OTHER };

/* Does what was loaded begin with a record with application data of epoch 1? Then its number and length are noted. */
INLINE int record_read(struct forward_work *work) {
	struct work_packet *packet = &work->packet;
	const __u8 *header = work->in.header;
	__u32 length = (__u32)header[11] << 8 | header[12];

	if (packet->payload_length < AEAD_HEADER + AEAD_TAG || length < AEAD_TAG || length > packet->payload_length - AEAD_HEADER)
		return RECORD_OTHER;
	if (header[0] != AEAD_APPLICATION || header[1] != 0xfe || header[2] != 0xfd || header[3] != 0 || header[4] != 1)
		return RECORD_OTHER;
	packet->number = (__u64)header[5] << 40 | (__u64)header[6] << 32 | load_u32(&header[7]);
	packet->text_length = length - AEAD_TAG;
	return length == packet->payload_length - AEAD_HEADER ? RECORD_ONE : RECORD_FIRST;
}

/*
 * Numbers of a link go up by one. A record that is more than FAR_NUMBERS ahead of all that came follows the loss of as many others,
 * or it is forged; there is no pad for it, and computing one to see that its tag is wrong is the most that a datagram of a stranger
 * can cost. So no more than FAR_PER_TICK of such are looked at in a tick of 1 to 10 ms: enough that after a loss the link's own
 * records get through besides forged ones, since one of them that does moves the window on, and those behind it are not far any
 * more. While a handshake is going on, all go up.
 */
enum { FAR_NUMBERS = FASTPATH_PAD_RING, FAR_PER_TICK = 16 };

INLINE int record_is_far(struct forward_work *work, struct fastpath_slot *slot) {
	__u64 tick;

	if (work->packet.number < slot->record.rx_end + FAR_NUMBERS || slot->flags & FASTPATH_SLOT_HANDSHAKE)
		return 0;
	tick = bpf_jiffies64();
	if (slot->far_tick != tick) {
		slot->far_tick = tick;
		slot->far_count = 0;
	}
	if (slot->far_count >= FAR_PER_TICK)
		return 1;
	slot->far_count++;
	return 0;
}

INLINE int same_address(const __u8 *a, const __u8 *b) {
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;

	return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) == 0;
}

/* A datagram of a link. */
INLINE int link_datagram(struct xdp_md *context, struct forward_work *work, struct fastpath_slot *slot,
			 struct fastpath_settings *set, struct fastpath_counters *count,
			 struct fastpath_link_counters *link_count) {
	__u64 misses = count->pad_misses + count->ack_pad_misses; /* so far */
	__u32 length, reason;
	int opened, kind;

	if (!same_address(work->packet.local.address, slot->record.local_address))
		return work_pass(count, PASS_ADDRESS);
	if (work->packet.payload_length > PACKET_DATAGRAM_MAX)
		return work_pass(count, PASS_SIZE);
	kind = record_read(work);
	if (kind == RECORD_OTHER) {
		if (!(set->flags & FASTPATH_SHIELD))
			return work_pass(count, PASS_RECORD);
		/* With application data: another epoch or version, or cut off. */
		reason = work->in.header[0] == AEAD_APPLICATION ? DROP_SHIELD : (__u32)shield_link(work, set);
		return reason ? work_reject(count, reason) : work_pass(count, PASS_RECORD);
	}
	if (kind == RECORD_FIRST && !(set->flags & FASTPATH_SHIELD))
		return work_pass(count, PASS_RECORD);
	if (!link_window_would_accept(&slot->record, work->packet.number)) {
		link_count->replayed++;
		return work_reject(count, DROP_LINK_REPLAY);
	}
	if (record_is_far(work, slot))
		return work_reject(count, DROP_LINK_FAR);
	length = work->packet.payload_length - AEAD_HEADER;
	if (bpf_xdp_load_bytes(context, work->packet.payload + AEAD_HEADER, work->in.text,
			       work_length(length, PACKET_DATAGRAM_MAX - AEAD_HEADER)) < 0)
		return work_pass(count, PASS_FRAGMENT); /* not linear */
	opened = record_open(work, slot, count, set->compute_max);
	if (opened == OPEN_FORGED) {
		if (slot->flags & FASTPATH_SLOT_HANDSHAKE)
			return work_pass(count, PASS_HANDSHAKE);
		link_count->forged++;
		return work_reject(count, DROP_LINK_BAD_TAG);
	}
	if (kind == RECORD_FIRST) /* others follow it: opened here only to see that it is none of a stranger */
		return work_pass(count, PASS_RECORD);
	if (opened == OPEN_NO_PAD) {
		pads_want(slot, work->packet.slot, count);
		return work_pass(count, PASS_NO_PAD);
	}
	if (opened != OPEN_OK)
		return work_pass(count, PASS_CONTENTION);
	length = work->packet.text_length;
	if (length > slot->rx_longest)
		slot->rx_longest = length;
	if (work->packet.number % PADS_LOOK_EVERY == 0)
		pads_look(slot, slot->rx_ring, work->packet.number, work->packet.slot, count);
	if (length == ACK_TEXT && work->in.text[0] == FORWARD_FRAME_TYPE_ACK)
		return ack_frame(context, work, slot, set, count, link_count);
	if (length >= FORWARD_FRAME_DATA && work->in.text[0] == FORWARD_FRAME_TYPE_DATA &&
	    (load_u32(&work->in.text[4]) & 0xffffff) == length - FORWARD_FRAME_DATA)
		return data_frame(context, work, slot, set, count, link_count, misses);
	if (accept(work, slot, count, link_count, &opened))
		return work_reject(count, DROP_BAD_FRAME); /* FW-A02 */
	return opened;
}

/* A datagram of a link that goes up, and nobody is there (caretaker.h). */
INLINE int caretake(struct xdp_md *context, struct forward_work *work, struct fastpath_slot *slot, struct fastpath_counters *count,
		    struct fastpath_link_counters *link_count) {
	__u32 pair;
	int result;

	if (!caretaker_on_duty(context, work))
		return XDP_PASS;
	count->verdicts[FASTPATH_PASSED]--;
	if (!work->for_daemon || !hop_read(slot, &work->back) || slot->record.tx_next >> NUMBER_LIMIT_BITS)
		return work_reject(count, DROP_NO_DAEMON);
	pair = work->back.port * FASTPATH_PORTS_MAX + work->back.port;
	if (!bpf_map_lookup_elem(&pairs, &pair))
		return work_reject(count, DROP_NO_DAEMON);
	if (!accept(work, slot, count, link_count, &result))
		return XDP_DROP;
	link_count->received++;
	link_count->received_octets += work->length;
	link_count->acks_sent++;
	work->verdict.reason = DROP_NO_DAEMON;
	return acknowledge_only(context, work, slot, count, work->sequence);
}

/*
 * The slot of the flow of work->packet: 1, or 0 when there is none. Each of WORK_FLOWS places remembers what was found last: no
 * hash, no comparison by call.
 */
INLINE int flow_find(struct forward_work *work, __u32 *ret) {
	const __u64 *flow = (const __u64 *)&work->packet.flow, *held;
	__u32 version = work->flows_version, place;
	struct fastpath_flow_target *target;
	struct work_flow *known;

	place = (__u32)flow[0] ^ (__u32)(flow[1] >> 32) ^ (__u32)flow[2]; /* IPv4 address, end of an IPv6 address, ports */
	place ^= place >> 16;
	place ^= place >> 8; /* addresses and ports differ in the last octet, which is the highest of the word or half word */
	known = &work->known[place & (WORK_FLOWS - 1)];
	held = (const __u64 *)&known->flow;
	if (((held[0] ^ flow[0]) | (held[1] ^ flow[1]) | (held[2] ^ flow[2])) == 0 && known->version == version) {
		*ret = known->slot;
		return 1;
	}
	target = bpf_map_lookup_elem(&flows, &work->packet.flow);
	if (!target)
		return 0;
	*ret = known->slot = target->slot;
	known->version = version;
	known->flow = work->packet.flow;
	return 1;
}

/* A datagram to one of our ports, with work->packet filled in. */
INLINE int datagram(struct xdp_md *context, struct forward_work *work, struct fastpath_control *switches,
		    struct fastpath_settings *set, struct fastpath_counters *count) {
	struct fastpath_link_counters *link_count;
	struct fastpath_slot *slot;
	__u32 length = work->packet.payload_length, number;
	int result;

	if (length > 0 && work->packet.frame_length - work->packet.payload < PACKET_PEEK &&
	    bpf_xdp_load_bytes(context, work->packet.payload, work->in.header, work_length(length, PACKET_PEEK)) < 0)
		return work_pass(count, PASS_FRAGMENT); /* not linear */
	/* Before the map: the daemon writes the version behind it. */
	work->flows_version = *(volatile const __u32 *)&switches->flows_version;
	if (length > 0 && work->in.header[0] != AEAD_APPLICATION && set->flags & FASTPATH_SHIELD) {
		number = (__u32)shield_early(work, set);
		if (number)
			return work_reject(count, number);
	}
	if (!flow_find(work, &number))
		return shield_examine(work, set, count);
	if (!(set->flags & FASTPATH_FORWARD) || work_coarse_ns(work) > switches->forward_until_ns)
		return work_pass(count, PASS_OFF);
	work->packet.slot = number;
	slot = bpf_map_lookup_elem(&slots, &number);
	link_count = bpf_map_lookup_elem(&link_counters, &number);
	if (!slot || !link_count || !slot_usable(slot))
		return work_pass(count, PASS_LINK);
	work->for_daemon = 0;
	result = link_datagram(context, work, slot, set, count, link_count);
	if (result == XDP_PASS && set->flags & FASTPATH_CARETAKER)
		result = caretake(context, work, slot, count, link_count);
	return result;
}

SEC("xdp")
int ringgate(struct xdp_md *context) {
	struct fastpath_counters *count;
	struct fastpath_settings *set;
	struct fastpath_control *switches;
	struct forward_work *work;
	__u32 zero = 0, active;
	int result;

	switches = bpf_map_lookup_elem(&control, &zero);
	work = bpf_map_lookup_elem(&works, &zero);
	count = bpf_map_lookup_elem(&counters, &zero);
	if (!switches || !work || !count)
		return XDP_PASS;
	active = *(volatile __u32 *)&switches->active;
	set = bpf_map_lookup_elem(&settings, &active);
	if (!set)
		return XDP_PASS;
	/* A packet may arrive in the middle of a run by BPF_PROG_RUN, on kernels before 6.11. */
	if (work->busy)
		return work_pass(count, PASS_BUSY);
	work->busy = 1;
	result = packet_parse(context, work, set);
	if (result == PACKET_FOREIGN) {
		result = XDP_PASS;
	} else if (result == PACKET_ODD) {
		result = work_pass(count, PASS_FRAGMENT);
	} else {
		work->settings_version = *(volatile __u32 *)&set->version;
		work->route_base = active * LAYOUT_ROUTES_MAX;
		result = work->settings_version & 1 ? work_pass(count, PASS_TABLES) : datagram(context, work, switches, set, count);
	}
	work->busy = 0;
	return result;
}

/*
 * On the way out of a device, for the two copies of a message. The first copy on the device of the previous hop becomes the ack,
 * the other one the message: when both leave by the same device, they come one behind the other.
 * Frames that are one copy only leave as they are. They pass here too, because a device sends its queue with the program of the
 * first frame in it, whatever map the others came by.
 */
SEC("xdp/devmap")
int ringgate_egress(struct xdp_md *context) {
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct fastpath_pending *pending;
	struct fastpath_counters *count;
	__u32 zero = 0, place, length;
	__u64 mark;

	if (data + 14 > end)
		return XDP_DROP;
	mark = *(__u64 *)data;
	if (!(mark & FASTPATH_MARK & 0xff))
		return XDP_PASS;
	count = bpf_map_lookup_elem(&counters, &zero);
	if (!count)
		return XDP_DROP;
	place = mark >> FASTPATH_MARK_PLACE & (FASTPATH_PENDING - 1);
	pending = bpf_map_lookup_elem(&pendings, &place);
	if (!pending || pending->mark != mark) {
		count->egress_failed++;
		return XDP_DROP;
	}
	if (context->egress_ifindex != pending->ack_ifindex || pending->ack_done) {
		*(__u64 *)data = *(__u64 *)pending->ethernet;
		*(__u32 *)(data + 8) = *(__u32 *)&pending->ethernet[8];
		return XDP_PASS;
	}
	pending->ack_done = 1;
	length = pending->ack_length;
	if (bpf_xdp_adjust_tail(context, (int)length - (int)(end - data)) < 0) {
		count->egress_failed++;
		return XDP_DROP;
	}
	if (length == 0 || length > FASTPATH_FRAME_MAX ||
	    bpf_xdp_store_bytes(context, 0, pending->ack, work_length(length, FASTPATH_FRAME_MAX)) < 0) {
		count->egress_failed++;
		return XDP_DROP;
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
