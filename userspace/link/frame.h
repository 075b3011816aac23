/* SPDX-License-Identifier: BSD-2-Clause */
/* Framing of messages on a link and the receiver's half of acknowledgement (RFC 6940 6.6.2, B-6.6.2-01). */
#pragma once

#include "base/octets.h"

enum {
	FRAME_DATA = 128,
	FRAME_ACK = 129,
	FRAME_DATA_HEADER = 8, /* type, sequence, length of the message */
	FRAME_ACK_LENGTH = 9,
	FRAME_REMEMBERED = 32, /* sequence numbers a receiver remembers (B-6.6.2-04) */
};

struct frame {
	uint8_t type;
	uint32_t sequence;     /* of the message, or the one acknowledged */
	uint32_t received;     /* ack: bit i set: sequence - i has been received */
	struct octets message; /* data: a view into the input */
};

/* Reads the one frame of a record. -EBADMSG. */
int frame_parse(struct octets octets, struct frame *ret);

void frame_write_data_header(uint8_t out[static FRAME_DATA_HEADER], uint32_t sequence, size_t message_length);
void frame_write_ack(uint8_t out[static FRAME_ACK_LENGTH], uint32_t sequence, uint32_t received);

/* The numbers most recently received, oldest overwritten first. All zero is the state of a new link. */
struct frame_receiver {
	uint32_t numbers[FRAME_REMEMBERED];
	uint32_t next; /* where the next one goes */
	bool full;     /* every place is taken */
};

/* Notes that `sequence` was received. Returns the mask for its ack: 1 << (sequence - M) for every remembered M in reach. */
uint32_t frame_receiver_note(struct frame_receiver *receiver, uint32_t sequence);
