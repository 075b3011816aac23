/* SPDX-License-Identifier: BSD-2-Clause */
/* Framing of messages on links (RFC 6940 6.6.2). */
#include "wire/list.h"
#include "wire/message.h"

enum { FRAMED_MESSAGE_MAX = 0xffffff };

int framed_message_read(struct reader *r, struct framed_message *ret) { /* B-6.6.2-01 */
	struct framed_message frame = {.type = reader_u8(r)};

	switch (frame.type) {
	case FRAMED_DATA:
		frame.sequence = reader_u32(r);
		frame.message = reader_vector24(r);
		break;
	case FRAMED_ACK:
		frame.sequence = reader_u32(r);
		frame.received = reader_u32(r);
		break;
	default: /* without a length: cannot be skipped */
		reader_fail(r);
		break;
	}
	if (r->error < 0)
		return -EBADMSG;
	*ret = frame;
	return 0;
}

void framed_data_write_header(struct writer *w, uint32_t sequence, size_t message_length) {
	if (message_length > FRAMED_MESSAGE_MAX) {
		writer_fail(w, -EMSGSIZE);
		return;
	}
	writer_u8(w, FRAMED_DATA);
	writer_u32(w, sequence);
	writer_u24(w, (uint32_t)message_length);
}

void framed_ack_write(struct writer *w, uint32_t ack_sequence, uint32_t received) {
	writer_u8(w, FRAMED_ACK);
	writer_u32(w, ack_sequence);
	writer_u32(w, received);
}
