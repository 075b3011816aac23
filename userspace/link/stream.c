/* SPDX-License-Identifier: BSD-2-Clause */
#include "link/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Octets of the frame that begins with `octets`, as far as they tell: the least it can have. -EBADMSG. */
static ssize_t frame_needs(const uint8_t *octets, size_t length) {
	struct reader r = reader_of(octets, length);

	if (length == 0)
		return 1;
	switch (reader_u8(&r)) {
	case FRAME_ACK:
		return FRAME_ACK_LENGTH;
	case FRAME_DATA:
		if (length < FRAME_DATA_HEADER)
			return FRAME_DATA_HEADER;
		reader_u32(&r);
		return (ssize_t)(FRAME_DATA_HEADER + reader_u24(&r));
	default:
		return -EBADMSG;
	}
}

static int make_room(struct stream *stream, size_t wanted, size_t needed) {
	size_t size = stream->size ? stream->size : STREAM_BUFFER_FIRST;

	while (size < wanted)
		size *= 2;
	if (needed > STREAM_BUFFER_FIRST && size > needed)
		size = needed;
	if (size <= stream->size)
		return 0;
	uint8_t *buffer = realloc(stream->buffer, size);
	if (!buffer)
		return -ENOMEM;
	stream->buffer = buffer;
	stream->size = size;
	return 0;
}

static void begin_anew(struct stream *stream) {
	stream->delivered = false;
	stream->used = 0;
	if (stream->size > STREAM_BUFFER_KEPT)
		stream_release(stream);
}

void stream_release(struct stream *stream) {
	free(stream->buffer);
	*stream = (struct stream){0};
}

/* One more step towards a whole frame: 1 it is whole, 0 octets were moved, or there are none. */
static int collect(struct stream *stream, size_t limit, uint8_t **data, size_t *length) {
	ssize_t needed = frame_needs(stream->buffer, stream->used);

	if (needed < 0)
		return -EBADMSG;
	if ((size_t)needed > FRAME_DATA_HEADER + limit && needed > FRAME_ACK_LENGTH)
		return -EMSGSIZE;
	if (stream->used == (size_t)needed)
		return 1;
	size_t part = (size_t)needed - stream->used < *length ? (size_t)needed - stream->used : *length;
	int error = part > 0 ? make_room(stream, stream->used + part, (size_t)needed) : 0;
	if (error < 0)
		return error;
	if (part > 0)
		memcpy(stream->buffer + stream->used, *data, part);
	stream->used += part;
	*data += part;
	*length -= part;
	return 0;
}

int stream_next(struct stream *stream, size_t limit, uint8_t **data, size_t *length, struct frame *ret) {
	if (stream->delivered)
		begin_anew(stream);
	if (stream->used == 0 && *length > 0) {
		/* Most often the whole frame is there. */
		ssize_t needed = frame_needs(*data, *length);
		if (needed < 0)
			return -EBADMSG;
		if ((size_t)needed > FRAME_DATA_HEADER + limit && needed > FRAME_ACK_LENGTH)
			return -EMSGSIZE;
		if (needed >= FRAME_DATA_HEADER && (size_t)needed <= *length) {
			int error = frame_parse(OCTETS(*data, (size_t)needed), ret);
			*data += needed;
			*length -= (size_t)needed;
			return error < 0 ? error : 1;
		}
	}
	for (;;) {
		size_t before = *length;
		int result = collect(stream, limit, data, length);
		if (result < 0)
			return result;
		if (result == 1) {
			stream->delivered = true;
			result = frame_parse(OCTETS(stream->buffer, stream->used), ret);
			return result < 0 ? result : 1;
		}
		if (before == *length)
			return 0;
	}
}
