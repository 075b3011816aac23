/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Frames of the overlay link layer (RFC 6940 6.6.2). */
#pragma once

#include "forward_work.h"

struct forward_frame {
	__u32 sequence;	      /* of the data frame, or the one acknowledged */
	__u32 received;	      /* ack: mask */
	__u32 message_length; /* data: octets of the message, which starts at FORWARD_FRAME_DATA */
	__u32 type;	      /* FORWARD_FRAME_TYPE_*; 0: discard (FW-A02) */
};
enum { FORWARD_FRAME_TYPE_DATA = 128, FORWARD_FRAME_TYPE_ACK = 129, FORWARD_FRAME_DATA = 8, FORWARD_FRAME_ACK = 9 };

/* Reads the frame of `length` octets at the start of the octets of `work` (RFC 6940 6.6.2). 1, or 0 for a frame to be discarded. */
FORWARD_INLINE int forward_frame_read(struct forward_work *work, __u32 length, struct forward_frame *ret) {
	__u8 type = length > 0 ? forward_load_u8(work, 0) : 0;

	ret->type = 0;
	if (type == FORWARD_FRAME_TYPE_ACK && length == FORWARD_FRAME_ACK) { /* FW-A01 */
		ret->sequence = forward_load_u32(work, 1);
		ret->received = forward_load_u32(work, 5);
	} else if (type == FORWARD_FRAME_TYPE_DATA && length >= FORWARD_FRAME_DATA) { /* FW-A03 */
		ret->sequence = forward_load_u32(work, 1);
		ret->message_length = (__u32)forward_load_u8(work, 5) << 16 | forward_load_u16(work, 6);
		if (ret->message_length != length - FORWARD_FRAME_DATA)
			return 0;
	} else {
		return 0; /* FW-A02 */
	}
	ret->type = type;
	return 1;
}
