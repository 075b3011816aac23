/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/id.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

struct id id_of(struct octets octets) {
	struct id id = ID_NONE;

	if (octets.length < ID_LENGTH_MIN || octets.length > ID_LENGTH_MAX)
		return id;
	id.length = (uint8_t)octets.length;
	memcpy(id.octets, octets.data, octets.length);
	return id;
}

bool id_equal(const struct id *a, const struct id *b) {
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool id_is_among(const struct id *id, const struct id *ids, size_t count) {
	for (size_t i = 0; i < count; i++)
		if (id_equal(&ids[i], id))
			return true;
	return false;
}

int id_compare(const struct id *a, const struct id *b) {
	return memcmp(a->octets, b->octets, sizeof(a->octets));
}

static bool id_all(const struct id *id, uint8_t value) {
	for (uint8_t i = 0; i < id->length; i++)
		if (id->octets[i] != value)
			return false;
	return id->length > 0;
}

bool id_is_wildcard(const struct id *id) {
	return id_all(id, 0xff);
}

bool id_is_zero(const struct id *id) {
	return id_all(id, 0);
}

struct id id_wildcard(uint8_t length) {
	struct id id = {.length = length};

	memset(id.octets, 0xff, length);
	return id;
}

struct id id_add(const struct id *a, const struct id *b) {
	struct id sum = {.length = a->length};
	unsigned carry = 0;

	for (int i = a->length - 1; i >= 0; i--) {
		carry += a->octets[i] + b->octets[i];
		sum.octets[i] = (uint8_t)carry;
		carry >>= 8;
	}
	return sum;
}

/* The usual length, on which routing spends much of its time. */
static struct id subtract_16(const struct id *a, const struct id *b) {
	struct id difference = {.length = 16};
	uint64_t high[2], low[2];

	memcpy(&high[0], a->octets, 8);
	memcpy(&low[0], a->octets + 8, 8);
	memcpy(&high[1], b->octets, 8);
	memcpy(&low[1], b->octets + 8, 8);
	uint64_t low_difference = be64toh(low[0]) - be64toh(low[1]);
	uint64_t high_difference = be64toh(high[0]) - be64toh(high[1]) - (be64toh(low[0]) < be64toh(low[1]));
	low_difference = htobe64(low_difference);
	high_difference = htobe64(high_difference);
	memcpy(difference.octets, &high_difference, 8);
	memcpy(difference.octets + 8, &low_difference, 8);
	return difference;
}

struct id id_subtract(const struct id *a, const struct id *b) {
	struct id difference = {.length = a->length};
	int borrow = 0;

	if (a->length == 16)
		return subtract_16(a, b);
	for (int i = a->length - 1; i >= 0; i--) {
		int value = a->octets[i] - b->octets[i] - borrow;
		borrow = value < 0;
		difference.octets[i] = (uint8_t)value;
	}
	return difference;
}

struct id id_add_small(const struct id *a, uint32_t value) {
	struct id b = {.length = a->length};

	for (int i = 0; i < 4; i++)
		b.octets[a->length - 1 - i] = (uint8_t)(value >> (8 * i));
	return id_add(a, &b);
}

struct id id_power_of_two(uint8_t length, unsigned exponent) {
	struct id id = {.length = length};

	if (exponent < 8u * length)
		id.octets[length - 1 - exponent / 8] = (uint8_t)(1u << exponent % 8);
	return id;
}

bool id_in_range(const struct id *point, const struct id *from, const struct id *to) {
	int order = id_compare(from, to);

	if (order == 0)
		return true;
	if (order < 0)
		return id_compare(from, point) < 0 && id_compare(point, to) <= 0;
	return id_compare(from, point) < 0 || id_compare(point, to) <= 0;
}

bool id_between(const struct id *point, const struct id *from, const struct id *to) {
	if (id_compare(from, to) == 0)
		return id_compare(point, from) != 0;
	return id_in_range(point, from, to) && id_compare(point, to) != 0;
}

const char *id_format(const struct id *id, char text[static ID_TEXT_SIZE]) {
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (uint8_t i = 0; i < id->length; i++) {
		text[n++] = digits[id->octets[i] >> 4];
		text[n++] = digits[id->octets[i] & 15];
	}
	text[n] = 0;
	return text;
}

static int hex_digit(char c) {
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int id_parse(const char *text, struct id *ret) {
	size_t digits = strlen(text);
	struct id id = ID_NONE;

	if (digits % 2 != 0 || digits < 2 * ID_LENGTH_MIN || digits > 2 * ID_LENGTH_MAX)
		return -EINVAL;
	id.length = (uint8_t)(digits / 2);
	for (uint8_t i = 0; i < id.length; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return -EINVAL;
		id.octets[i] = (uint8_t)(high << 4 | low);
	}
	*ret = id;
	return 0;
}

struct id reader_id(struct reader *r) {
	return id_of(reader_octets(r, r->node_id_length));
}

void writer_id(struct writer *w, const struct id *id) {
	if (id->length != w->node_id_length)
		writer_fail(w, -EINVAL);
	writer_octets(w, id_octets(id));
}
