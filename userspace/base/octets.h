/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one bounded reader and writer. No other code does pointer arithmetic on received octets.
 *
 * Both carry a sticky error: after the first failure every further call is harmless, reads return zero or empty views, and
 * reader_finish() or writer_finish() reports what went wrong. All integers are big-endian (RFC 6940 6.3.1).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A view of octets owned by somebody else. */
struct octets {
	const uint8_t *data;
	size_t length;
};

#define OCTETS(pointer, count) ((struct octets){.data = (const uint8_t *)(pointer), .length = (count)})
#define OCTETS_NONE ((struct octets){.data = NULL, .length = 0})

struct octets octets_of_string(const char *string);
bool octets_equal(struct octets a, struct octets b);

/* In names that compare without case (of domains and hosts): ASCII alone, whatever the locale. */
static inline char ascii_lower(char c) {
	return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* Compares in constant time; for secrets and authentication tags. */
bool octets_equal_secret(const void *a, const void *b, size_t length);

/* Overwrites secrets in a way the compiler cannot remove. */
void octets_wipe(void *data, size_t length);

struct reader {
	const uint8_t *data;
	size_t length;
	size_t position;
	int error;		/* 0, or -EBADMSG once anything did not fit or was invalid */
	uint8_t node_id_length; /* octets of a Node-ID in this overlay, 16 unless set (RFC 6940 6.3.1.1) */
};

struct reader reader_of(const void *data, size_t length);
struct reader reader_of_octets(struct octets octets);

uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u24(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);

/* A Boolean octet: 0 or 1, anything else is an error (RFC 6940 6.3.1.1). */
bool reader_boolean(struct reader *r);

/* `length` octets as a view into the input. */
struct octets reader_octets(struct reader *r, size_t length);

/* A byte string behind a length prefix of 8, 16, 24 or 32 bits. */
struct octets reader_vector8(struct reader *r);
struct octets reader_vector16(struct reader *r);
struct octets reader_vector24(struct reader *r);
struct octets reader_vector32(struct reader *r);

/* Everything not read yet. */
struct octets reader_rest(struct reader *r);

size_t reader_left(const struct reader *r);

/* True while there is something left to read and nothing has failed: the condition of a loop over list elements. */
bool reader_more(const struct reader *r);

/* Marks the input as malformed. Returns -EBADMSG. */
int reader_fail(struct reader *r);

/* A reader of `octets` that inherits the settings of `r`; errors are separate, see reader_finish_nested(). */
struct reader reader_nested(const struct reader *r, struct octets octets);

/* 0 when nothing failed and nothing is left over, else -EBADMSG. */
int reader_finish(const struct reader *r);

/* The same for a nested reader, handing its failure on to `r`. */
int reader_finish_nested(struct reader *r, const struct reader *nested);

struct writer {
	uint8_t *data;
	size_t capacity;
	size_t length;		/* octets written so far */
	size_t limit;		/* most octets a growing writer may hold; 0 for a writer over a fixed buffer */
	int error;		/* 0, -ENOBUFS or -ENOMEM, sticky */
	uint8_t node_id_length; /* as in struct reader */
};

/* Writes into a buffer of the caller. */
struct writer writer_fixed(void *buffer, size_t capacity);

/* Allocates as it goes, up to `limit` octets; writer_release() frees, writer_take() hands the octets over. */
struct writer writer_growing(size_t limit);
void writer_release(struct writer *w);

void writer_u8(struct writer *w, uint8_t value);
void writer_u16(struct writer *w, uint16_t value);
void writer_u24(struct writer *w, uint32_t value);
void writer_u32(struct writer *w, uint32_t value);
void writer_u64(struct writer *w, uint64_t value);
void writer_boolean(struct writer *w, bool value);
void writer_raw(struct writer *w, const void *data, size_t length);
void writer_octets(struct writer *w, struct octets octets);

/* A whole byte string with its length prefix; too long for the prefix is -EMSGSIZE. */
void writer_vector8(struct writer *w, struct octets octets);
void writer_vector16(struct writer *w, struct octets octets);
void writer_vector24(struct writer *w, struct octets octets);
void writer_vector32(struct writer *w, struct octets octets);

/*
 * Reserves a length field of `width` octets (1 to 4) and later fills it with the number of octets written in between:
 *     size_t mark = writer_begin(w, 2); ... writer_end(w, mark, 2);
 */
size_t writer_begin(struct writer *w, unsigned width);
void writer_end(struct writer *w, size_t mark, unsigned width);

/* Room for `length` octets to be filled by the caller, or NULL after an error. */
uint8_t *writer_reserve(struct writer *w, size_t length);

/* Makes the writer fail with `error` (negative errno). */
void writer_fail(struct writer *w, int error);

/* What was written so far. */
struct octets writer_octets_written(const struct writer *w);

/* 0 or the sticky error. */
int writer_finish(const struct writer *w);

/* Hands the allocated octets of a growing writer to the caller, who frees them. The writer is empty afterwards. */
uint8_t *writer_take(struct writer *w, size_t *ret_length);
