/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire/destination.h"

#include <string.h>

#include "wire/list.h"

enum {
	COMPACT_BIT = 0x80, /* first octet of the two-octet opaque form */
	DESTINATION_TYPE_LIMIT = 0x80,
	IPV4_LENGTH = 6,
	IPV6_LENGTH = 18,
};

static bool is_node_id_length(const struct reader *r, size_t length) {
	if (r->node_id_length == 0)
		return length >= ID_LENGTH_MIN && length <= ID_LENGTH_MAX;
	return length == r->node_id_length;
}

/* The value of an entry whose type has been read, and is no compact one. */
static struct octets value_read(struct reader *r, uint8_t type) {
	uint8_t length = reader_u8(r);
	struct octets value;

	switch (type) {
	case DESTINATION_NODE:
		if (!is_node_id_length(r, length))
			reader_fail(r);
		return reader_octets(r, length);
	case DESTINATION_RESOURCE:
	case DESTINATION_OPAQUE:
		value = reader_vector8(r);
		if (value.length + 1 != length) /* an inner length that does not fill the entry: B-6.3.2.2-02 */
			reader_fail(r);
		return value;
	default: /* skipped by its length: B-6.3.2.2-06 */
		return reader_octets(r, length);
	}
}

int destination_read(struct reader *r, struct destination *ret) {
	struct reader before = *r;
	struct destination destination = {.type = reader_u8(r)};

	if (destination.type & COMPACT_BIT) { /* B-6.3.2.2-01 */
		destination.type = DESTINATION_OPAQUE;
		destination.compact = true;
		reader_u8(r);
	} else {
		destination.value = value_read(r, destination.type);
	}
	if (r->error < 0)
		return -EBADMSG;
	destination.whole = reader_between(&before, r);
	if (destination.compact)
		destination.value = destination.whole;
	*ret = destination;
	return 0;
}

/* Runs over every list of every message: reads what destination_read() would, but keeps nothing. */
int destination_list_check(struct octets list, uint8_t node_id_length, size_t max_entries) {
	struct reader r = node_id_length == 0 ? reader_of_octets(list) : reader_of_body(list, node_id_length);

	r.node_id_length = node_id_length;
	for (size_t entries = 0; reader_more(&r); entries++) {
		if (entries == max_entries)
			return -E2BIG;
		uint8_t type = reader_u8(&r);
		if (type & COMPACT_BIT)
			reader_u8(&r);
		else
			value_read(&r, type);
	}
	return reader_finish(&r);
}

void destination_write_node(struct writer *w, const struct id *node_id) {
	writer_u8(w, DESTINATION_NODE);
	writer_u8(w, node_id->length);
	writer_id(w, node_id);
}

static void write_with_inner(struct writer *w, uint8_t type, struct octets value) {
	if (value.length > UINT8_MAX - 1) {
		writer_fail(w, -EMSGSIZE);
		return;
	}
	writer_u8(w, type);
	writer_u8(w, (uint8_t)(value.length + 1));
	writer_vector8(w, value);
}

void destination_write_resource(struct writer *w, struct octets resource_id) {
	write_with_inner(w, DESTINATION_RESOURCE, resource_id);
}

void destination_write_opaque(struct writer *w, struct octets opaque) {
	write_with_inner(w, DESTINATION_OPAQUE, opaque);
}

void destination_write_compact(struct writer *w, uint16_t opaque) {
	writer_u16(w, opaque | COMPACT_BIT << 8);
}

/*
 * Entries are only delimited here, whatever their types: what a list compressing node put into its own entries is returned
 * to it octet for octet.
 */
static struct octets entry_skip(struct reader *r) {
	struct reader before = *r;

	if (reader_u8(r) & COMPACT_BIT)
		reader_u8(r);
	else
		reader_vector8(r);
	return r->error < 0 ? OCTETS_NONE : reader_between(&before, r);
}

int destination_write_reversed(struct writer *w, struct octets list) { /* B-6.2.2-01 */
	struct reader check = reader_of_octets(list), r = check;

	while (reader_more(&check))
		entry_skip(&check);
	if (reader_finish(&check) < 0)
		return -EBADMSG;
	uint8_t *reversed = writer_reserve(w, list.length);
	if (!reversed)
		return 0; /* the writer keeps the error */
	size_t place = list.length;
	while (reader_more(&r)) {
		struct octets entry = entry_skip(&r);
		place -= entry.length;
		/* Each could be read a moment ago. NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
		memcpy(reversed + place, entry.data, entry.length);
	}
	return 0;
}

struct id destination_sole_node(struct octets list, uint8_t node_id_length) {
	struct reader r = reader_of_body(list, node_id_length);
	struct destination destination;

	if (destination_read(&r, &destination) < 0 || reader_finish(&r) < 0 || destination.type != DESTINATION_NODE)
		return ID_NONE;
	return id_of(destination.value);
}

int destination_last(struct octets list, uint8_t node_id_length, struct destination *ret) {
	struct reader r = reader_of_body(list, node_id_length);
	struct destination destination;

	if (r.error == 0 && list.length == 0)
		return -ENOENT;
	do
		if (destination_read(&r, &destination) < 0)
			return -EBADMSG;
	while (reader_more(&r));
	*ret = destination;
	return 0;
}

int ip_address_port_read(struct reader *r, struct address *ret) { /* B-6.3.1-04 */
	uint8_t type = reader_u8(r);
	struct reader nested = reader_nested(r, reader_vector8(r));
	struct address address = {0};
	struct octets octets = OCTETS_NONE;

	switch (type) {
	case ADDRESS_IPV4:
		address.family = AF_INET;
		octets = reader_octets(&nested, IPV4_LENGTH - 2);
		address.port = reader_u16(&nested);
		break;
	case ADDRESS_IPV6:
		address.family = AF_INET6;
		octets = reader_octets(&nested, IPV6_LENGTH - 2);
		address.port = reader_u16(&nested);
		break;
	default: /* a family we do not know is skipped by its length */
		reader_rest(&nested);
		break;
	}
	reader_finish_nested(r, &nested);
	if (r->error < 0)
		return -EBADMSG;
	if (octets.length > 0)
		memcpy(address.octets, octets.data, octets.length);
	*ret = address;
	return 0;
}

void ip_address_port_write(struct writer *w, const struct address *address) {
	switch (address->family) {
	case AF_INET:
		writer_u8(w, ADDRESS_IPV4);
		writer_u8(w, IPV4_LENGTH);
		writer_raw(w, address->octets, IPV4_LENGTH - 2);
		break;
	case AF_INET6:
		writer_u8(w, ADDRESS_IPV6);
		writer_u8(w, IPV6_LENGTH);
		writer_raw(w, address->octets, IPV6_LENGTH - 2);
		break;
	default:
		writer_fail(w, -EINVAL);
		return;
	}
	writer_u16(w, address->port);
}
