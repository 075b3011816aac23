/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Points of the identifier ring: Node-IDs and Resource-IDs (RFC 6940 3, 6.3.1.1).
 *
 * Octets beyond `length` are always zero, so that whole structures can be compared and hashed.
 */
#pragma once

#include "base/octets.h"

enum {
	ID_LENGTH_MIN = 16,
	ID_LENGTH_MAX = 20,
	ID_LENGTH_CHORD = 16,             /* CHORD-RELOAD fixes 128 bits */
	ID_TEXT_SIZE = 2 * ID_LENGTH_MAX + 1,
};

struct id {
	uint8_t length; /* octets in use, 16 to 20; 0 means "none" */
	uint8_t octets[ID_LENGTH_MAX];
};

#define ID_NONE ((struct id){.length = 0})

/* Makes an id of `octets`; anything but 16 to 20 octets yields ID_NONE. */
struct id id_of(struct octets octets);

static inline struct octets id_octets(const struct id *id) {
	return OCTETS(id->octets, id->length);
}

static inline bool id_is_none(const struct id *id) {
	return id->length == 0;
}

bool id_equal(const struct id *a, const struct id *b);
bool id_is_among(const struct id *id, const struct id *ids, size_t count);

/* Numerical order, as memcmp. */
int id_compare(const struct id *a, const struct id *b);

/* All ones: the wildcard Node-ID (RFC 6940 3). All zeros: never on the wire. */
bool id_is_wildcard(const struct id *id);
bool id_is_zero(const struct id *id);
struct id id_wildcard(uint8_t length);

/* Ring arithmetic modulo 2^(8·length). */
struct id id_add(const struct id *a, const struct id *b);
struct id id_subtract(const struct id *a, const struct id *b);
struct id id_add_small(const struct id *a, uint32_t value);

/* 2^exponent on a ring of `length` octets. */
struct id id_power_of_two(uint8_t length, unsigned exponent);

/* True when `point` is met walking clockwise from `from` (excluded) to `to` (included). from == to is the whole ring. */
bool id_in_range(const struct id *point, const struct id *from, const struct id *to);

/* The same with both ends excluded; from == to is the whole ring but that point. */
bool id_between(const struct id *point, const struct id *from, const struct id *to);

/* Lower-case hexadecimal text; returns `text`. */
const char *id_format(const struct id *id, char text[static ID_TEXT_SIZE]);

/* Parses 32 to 40 hexadecimal digits. Returns -EINVAL for anything else. */
int id_parse(const char *text, struct id *ret);

struct id reader_id(struct reader *r);
void writer_id(struct writer *w, const struct id *id);
