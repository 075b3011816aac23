/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames (RFC 6940 6.6.2) in a stream of octets that arrives in pieces of any size. */
#pragma once

#include "link/frame.h"

enum {
	STREAM_BUFFER_FIRST = 2048, /* octets; grows with what has really arrived, never ahead of it by more than its double */
	STREAM_BUFFER_KEPT = 16384, /* larger ones are given back after the frame */
};

struct stream {
	uint8_t *buffer; /* the beginning of a frame */
	size_t used, size;
	bool delivered; /* the buffer holds the frame returned last */
};

/*
 * Takes one frame from the `*length` octets at `*data`, which it moves on. The message of a data frame stands in the caller's
 * memory or in the stream's, may be written to, and is valid until the next call. `limit`: longest message, in octets. 1 a frame, 0
 * everything was taken and more is needed, -EBADMSG no frame begins here, -EMSGSIZE longer than `limit`, -ENOMEM.
 */
int stream_next(struct stream *stream, size_t limit, uint8_t **data, size_t *length, struct frame *ret);

/* Memory held. */
static inline size_t stream_octets(const struct stream *stream) {
	return stream->size;
}

void stream_release(struct stream *stream);
