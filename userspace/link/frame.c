/* SPDX-License-Identifier: BSD-2-Clause */
#include "link/frame.h"

#include <errno.h>

int frame_parse(struct octets octets, struct frame *ret) {
	struct reader r = reader_of_octets(octets);
	struct frame frame = {.type = reader_u8(&r), .sequence = reader_u32(&r)};

	if (frame.type == FRAME_DATA)
		frame.message = reader_vector24(&r);
	else if (frame.type == FRAME_ACK)
		frame.received = reader_u32(&r);
	else
		return -EBADMSG;
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = frame;
	return 0;
}

void frame_write_data_header(uint8_t out[static FRAME_DATA_HEADER], uint32_t sequence, size_t message_length) {
	struct writer w = writer_fixed(out, FRAME_DATA_HEADER);

	writer_u8(&w, FRAME_DATA);
	writer_u32(&w, sequence);
	writer_u24(&w, (uint32_t)message_length);
}

void frame_write_ack(uint8_t out[static FRAME_ACK_LENGTH], uint32_t sequence, uint32_t received) {
	struct writer w = writer_fixed(out, FRAME_ACK_LENGTH);

	writer_u8(&w, FRAME_ACK);
	writer_u32(&w, sequence);
	writer_u32(&w, received);
}

uint32_t frame_receiver_note(struct frame_receiver *receiver, uint32_t sequence) {
	unsigned known = receiver->full ? FRAME_REMEMBERED : receiver->next;
	uint32_t mask = 0;

	/* Bit N - M for N - 32 < M < N (B-6.6.2-04, Q-21); differences wrap with the numbers. */
	for (unsigned i = 0; i < known; i++) {
		uint32_t back = sequence - receiver->numbers[i];
		if (back >= 1 && back <= 31)
			mask |= UINT32_C(1) << back;
	}
	receiver->numbers[receiver->next++] = sequence;
	if (receiver->next == FRAME_REMEMBERED) {
		receiver->next = 0;
		receiver->full = true;
	}
	return mask;
}
