/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Opening the record in work->in as far as the decision reads, its replay window, and sealing an ack. */
#pragma once

#include "aead.h"
#include "link_state.h"
#include "pads.h"

enum {
	ACK_TEXT = 9,
	NUMBER_LIMIT_BITS = 48,
};

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
