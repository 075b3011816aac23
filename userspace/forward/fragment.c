/* SPDX-License-Identifier: BSD-2-Clause */
#include "forward/fragment.h"

#include "wire/message.h"

#include <errno.h>
#include <string.h>

_Static_assert((int)FRAGMENT_FIXED == (int)FORWARDING_HEADER_FIXED, "fixed header");

enum { FRAGMENT_OFFSET_OF_FIELD = 12, LENGTH_OFFSET_OF_FIELD = 16 };

/* The fields the splitter needs, from the fixed header. */
struct fixed_header {
	uint32_t fragment, length;
	size_t header_length;
};

static int fixed_header_read(struct octets octets, struct fixed_header *ret) {
	struct reader r = reader_of_octets(octets);
	struct fixed_header fixed;

	reader_octets(&r, FRAGMENT_OFFSET_OF_FIELD);
	fixed.fragment = reader_u32(&r);
	fixed.length = reader_u32(&r);
	reader_octets(&r, 8 + 4); /* transaction_id, max_response_length */
	fixed.header_length = FRAGMENT_FIXED;
	for (int i = 0; i < 3; i++)
		fixed.header_length += reader_u16(&r);
	if (r.error < 0)
		return -EBADMSG;
	*ret = fixed;
	return 0;
}

/*
 * Number of pieces for `body` octets with at most `room` of them in each and FRAGMENT_BODY_MIN at least; 0 when there is no such
 * number.
 */
static size_t fragment_count(size_t body, size_t room) {
	if (room < FRAGMENT_BODY_MIN)
		return 0;
	size_t count = (body + room - 1) / room;
	return body / count >= FRAGMENT_BODY_MIN ? count : 0; /* FW-S01 */
}

int fragment_split_begin(struct fragment_split *split, struct octets head, struct octets rest, size_t payload_max) {
	struct fixed_header fixed;
	size_t total = head.length + rest.length;

	int r = fixed_header_read(head, &fixed);
	if (r < 0)
		return r;
	if (fixed.length != total || fixed.header_length > total)
		return -EBADMSG;
	*split = (struct fragment_split){
	    .head = head,
	    .rest = rest,
	    .header_length = fixed.header_length,
	    .body_length = total - fixed.header_length,
	    .count = 1,
	    .fragment = fixed.fragment,
	};
	if (total <= payload_max)
		return 0;
	size_t room = payload_max > fixed.header_length ? payload_max - fixed.header_length : 0;
	size_t count = fragment_count(split->body_length, room);
	if (count > 0)
		split->count = count;
	else
		split->oversize = true; /* FW-S03 */
	return 0;
}

static void piece_part(struct fragment_piece *piece, struct octets octets) {
	if (octets.length > 0)
		piece->parts[piece->part_count++] = (struct iovec){.iov_base = (void *)octets.data, .iov_len = octets.length};
	piece->length += octets.length;
}

/* Adds octets `from` to `from + length` of head ‖ rest. */
static void piece_range(struct fragment_piece *piece, const struct fragment_split *split, size_t from, size_t length) {
	size_t in_head = 0;

	if (from < split->head.length) {
		in_head = length < split->head.length - from ? length : split->head.length - from;
		piece_part(piece, OCTETS(split->head.data + from, in_head));
	}
	if (length > in_head)
		piece_part(piece, OCTETS(split->rest.data + (from + in_head - split->head.length), length - in_head));
}

bool fragment_split_next(struct fragment_split *split, struct fragment_piece *ret) {
	size_t index = split->next, start, length;

	if (index >= split->count)
		return false;
	split->next++;
	/* FW-S02: equal sizes; what does not divide goes to the first pieces, one octet each */
	size_t base = split->body_length / split->count, extra = split->body_length % split->count;
	start = index * base + (index < extra ? index : extra);
	length = base + (index < extra ? 1 : 0);

	ret->part_count = 0;
	ret->length = 0;
	memcpy(ret->fixed, split->head.data, FRAGMENT_FIXED); /* fragment_split_begin() has read that much */
	piece_part(ret, OCTETS(ret->fixed, FRAGMENT_FIXED));
	if (split->count == 1) { /* FW-S06 */
		piece_range(ret, split, FRAGMENT_FIXED, split->head.length + split->rest.length - FRAGMENT_FIXED);
		return true;
	}
	/* The lists and the chunk; two parts each at most, but head ends in only one of them. */
	piece_range(ret, split, FRAGMENT_FIXED, split->header_length - FRAGMENT_FIXED);
	piece_range(ret, split, split->header_length + start, length);

	/* FW-S04: the offset counts from the incoming one, and only the final piece may be the last of the message */
	uint32_t fragment = split->fragment | FRAGMENT_ALWAYS;
	fragment = (fragment & ~FRAGMENT_OFFSET) | ((fragment + (uint32_t)start) & FRAGMENT_OFFSET);
	if (index + 1 < split->count)
		fragment &= ~FRAGMENT_LAST;
	struct writer w = writer_fixed(ret->fixed + FRAGMENT_OFFSET_OF_FIELD, 8);
	writer_u32(&w, fragment);
	writer_u32(&w, (uint32_t)ret->length); /* FW-S05 */
	return true;
}
