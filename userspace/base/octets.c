/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/octets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WRITER_FIRST_CAPACITY = 256 };

struct octets octets_of_string(const char *string) {
	return OCTETS(string, string ? strlen(string) : 0);
}

bool octets_equal(struct octets a, struct octets b) {
	return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

bool octets_equal_secret(const void *a, const void *b, size_t length) {
	const volatile uint8_t *x = a, *y = b;
	uint8_t difference = 0;

	for (size_t i = 0; i < length; i++)
		difference |= x[i] ^ y[i];
	return difference == 0;
}

void octets_wipe(void *data, size_t length) {
	if (data && length > 0)
		explicit_bzero(data, length);
}

struct reader reader_of(const void *data, size_t length) {
	return (struct reader){.data = data, .length = length, .node_id_length = 16};
}

struct reader reader_of_octets(struct octets octets) {
	return reader_of(octets.data, octets.length);
}

int reader_fail(struct reader *r) {
	r->error = -EBADMSG;
	return -EBADMSG;
}

static const uint8_t *reader_advance(struct reader *r, size_t count) {
	if (r->error < 0 || count > r->length - r->position) {
		reader_fail(r);
		return NULL;
	}
	const uint8_t *at = r->data ? r->data + r->position : NULL; /* even NULL + 0 is undefined */
	r->position += count;
	return at;
}

static uint64_t reader_unsigned(struct reader *r, unsigned width) {
	const uint8_t *at = reader_advance(r, width);
	uint64_t value = 0;

	if (!at)
		return 0;
	for (unsigned i = 0; i < width; i++)
		value = value << 8 | at[i];
	return value;
}

uint8_t reader_u8(struct reader *r) {
	return (uint8_t)reader_unsigned(r, 1);
}

uint16_t reader_u16(struct reader *r) {
	return (uint16_t)reader_unsigned(r, 2);
}

uint32_t reader_u24(struct reader *r) {
	return (uint32_t)reader_unsigned(r, 3);
}

uint32_t reader_u32(struct reader *r) {
	return (uint32_t)reader_unsigned(r, 4);
}

uint64_t reader_u64(struct reader *r) {
	return reader_unsigned(r, 8);
}

bool reader_boolean(struct reader *r) {
	uint8_t value = reader_u8(r);

	if (value > 1) /* B-6.3.1-02 */
		reader_fail(r);
	return value == 1;
}

struct octets reader_octets(struct reader *r, size_t length) {
	const uint8_t *at = reader_advance(r, length);

	return at ? OCTETS(at, length) : OCTETS_NONE;
}

struct octets reader_vector8(struct reader *r) {
	return reader_octets(r, reader_u8(r));
}

struct octets reader_vector16(struct reader *r) {
	return reader_octets(r, reader_u16(r));
}

struct octets reader_vector24(struct reader *r) {
	return reader_octets(r, reader_u24(r));
}

struct octets reader_vector32(struct reader *r) {
	return reader_octets(r, reader_u32(r));
}

struct octets reader_rest(struct reader *r) {
	return reader_octets(r, reader_left(r));
}

size_t reader_left(const struct reader *r) {
	return r->error < 0 ? 0 : r->length - r->position;
}

bool reader_more(const struct reader *r) {
	return reader_left(r) > 0;
}

struct reader reader_nested(const struct reader *r, struct octets octets) {
	struct reader nested = reader_of_octets(octets);

	nested.node_id_length = r->node_id_length;
	nested.error = r->error;
	return nested;
}

int reader_finish(const struct reader *r) {
	return r->error < 0 || r->position != r->length ? -EBADMSG : 0;
}

int reader_finish_nested(struct reader *r, const struct reader *nested) {
	return reader_finish(nested) < 0 ? reader_fail(r) : 0;
}

struct writer writer_fixed(void *buffer, size_t capacity) {
	return (struct writer){.data = buffer, .capacity = capacity, .node_id_length = 16};
}

struct writer writer_growing(size_t limit) {
	return (struct writer){.limit = limit, .node_id_length = 16};
}

void writer_release(struct writer *w) {
	if (w->limit > 0)
		free(w->data);
	*w = (struct writer){.limit = w->limit, .node_id_length = w->node_id_length};
}

void writer_fail(struct writer *w, int error) {
	if (w->error == 0)
		w->error = error;
}

static int writer_grow(struct writer *w, size_t needed) {
	size_t capacity = w->capacity ? w->capacity : WRITER_FIRST_CAPACITY;

	if (needed > w->limit)
		return -ENOBUFS;
	while (capacity < needed)
		capacity *= 2;
	if (capacity > w->limit)
		capacity = w->limit; /* what stands in the writer never exceeds it */
	uint8_t *data = realloc(w->data, capacity);
	if (!data)
		return -ENOMEM;
	w->data = data;
	w->capacity = capacity;
	return 0;
}

uint8_t *writer_reserve(struct writer *w, size_t length) {
	if (w->error < 0)
		return NULL;
	if (length > w->capacity - w->length) {
		int error = w->limit > 0 && length <= w->limit ? writer_grow(w, w->length + length) : -ENOBUFS;
		if (error < 0) {
			writer_fail(w, error);
			return NULL;
		}
	}
	uint8_t *at = w->data ? w->data + w->length : NULL;
	w->length += length;
	return at;
}

static void store_unsigned(uint8_t *at, uint64_t value, unsigned width) {
	for (unsigned i = 0; i < width; i++)
		at[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
}

static void writer_unsigned(struct writer *w, uint64_t value, unsigned width) {
	uint8_t *at = writer_reserve(w, width);

	if (at)
		store_unsigned(at, value, width);
}

void writer_u8(struct writer *w, uint8_t value) {
	writer_unsigned(w, value, 1);
}

void writer_u16(struct writer *w, uint16_t value) {
	writer_unsigned(w, value, 2);
}

void writer_u24(struct writer *w, uint32_t value) {
	writer_unsigned(w, value, 3);
}

void writer_u32(struct writer *w, uint32_t value) {
	writer_unsigned(w, value, 4);
}

void writer_u64(struct writer *w, uint64_t value) {
	writer_unsigned(w, value, 8);
}

void writer_boolean(struct writer *w, bool value) {
	writer_u8(w, value ? 1 : 0);
}

void writer_raw(struct writer *w, const void *data, size_t length) {
	uint8_t *at = writer_reserve(w, length);

	if (at && length > 0)
		memcpy(at, data, length);
}

void writer_octets(struct writer *w, struct octets octets) {
	writer_raw(w, octets.data, octets.length);
}

static void writer_vector(struct writer *w, struct octets octets, unsigned width) {
	size_t mark = writer_begin(w, width);

	writer_octets(w, octets);
	writer_end(w, mark, width);
}

void writer_vector8(struct writer *w, struct octets octets) {
	writer_vector(w, octets, 1);
}

void writer_vector16(struct writer *w, struct octets octets) {
	writer_vector(w, octets, 2);
}

void writer_vector24(struct writer *w, struct octets octets) {
	writer_vector(w, octets, 3);
}

void writer_vector32(struct writer *w, struct octets octets) {
	writer_vector(w, octets, 4);
}

size_t writer_begin(struct writer *w, unsigned width) {
	size_t mark = w->length;

	writer_unsigned(w, 0, width);
	return mark;
}

void writer_end(struct writer *w, size_t mark, unsigned width) {
	if (w->error < 0)
		return;
	uint64_t length = w->length - mark - width;
	if (width < 8 && length >> (8 * width) != 0) {
		writer_fail(w, -EMSGSIZE);
		return;
	}
	store_unsigned(w->data + mark, length, width);
}

struct octets writer_octets_written(const struct writer *w) {
	return OCTETS(w->data, w->length);
}

int writer_finish(const struct writer *w) {
	return w->error;
}

uint8_t *writer_take(struct writer *w, size_t *ret_length) {
	uint8_t *data = w->data;

	*ret_length = w->length;
	*w = (struct writer){.limit = w->limit, .node_id_length = w->node_id_length};
	return data;
}
