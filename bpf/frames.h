/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Frames of a link (RFC 6940 6.6.2): what its neighbor has acknowledged, and acks and messages made and sealed for it. */
#pragma once

#include "forward.h"
#include "packet.h"
#include "record.h"

enum {
	RTT_SAMPLE_EVERY = 64,
	RTT_MAX_US = 60000000,
	PROBE_NS = 500000000, /* between frames of a link whose limit is reached and that acknowledges nothing */
};

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
