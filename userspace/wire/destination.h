/* SPDX-License-Identifier: BSD-2-Clause */
/* Destination lists, via lists and IpAddressPort (RFC 6940 6.3.1.1, 6.3.2.2). */
#pragma once

#include "base/address.h"
#include "base/id.h"
#include "wire/codes.h"

struct destination {
	uint8_t type;           /* enum destination_type; a compact opaque reads as DESTINATION_OPAQUE; others are unknown */
	bool compact;           /* the two-octet opaque form */
	struct octets value;    /* node: the Node-ID; resource, opaque: without the inner length; unknown: all data */
	struct octets whole;    /* the entry as it stands on the wire */
};

/*
 * Reads one entry; unknown types are returned with their octets (B-6.3.2.2-06). Node entries have the Node-ID length of the
 * reader; a reader whose node_id_length is 0 takes any of 16 to 20.
 */
int destination_read(struct reader *r, struct destination *ret);

/*
 * Checks a whole list: entries fit, node entries have Node-ID length. `max_entries` bounds the walk. -EBADMSG, -E2BIG.
 * A `node_id_length` of 0 takes any of 16 to 20, for lists in stored values and URIs.
 */
int destination_list_check(struct octets list, uint8_t node_id_length, size_t max_entries);

void destination_write_node(struct writer *w, const struct id *node_id);
void destination_write_resource(struct writer *w, struct octets resource_id);
void destination_write_opaque(struct writer *w, struct octets opaque);
void destination_write_compact(struct writer *w, uint16_t opaque); /* top bit is set by the writer */

/* Writes the entries of `list` in reverse order (B-6.2.2-01). Returns -EBADMSG if it does not parse. */
int destination_write_reversed(struct writer *w, struct octets list);

/* The one Node-ID of a list that is a single node entry; ID_NONE otherwise. */
struct id destination_sole_node(struct octets list, uint8_t node_id_length);

/* The last entry of a list. Returns -ENOENT for an empty one, -EBADMSG. */
int destination_last(struct octets list, uint8_t node_id_length, struct destination *ret);

/* IpAddressPort: 8 or 20 octets. An unknown address type reads as family 0 (B-6.3.1-04). */
int ip_address_port_read(struct reader *r, struct address *ret);
void ip_address_port_write(struct writer *w, const struct address *address);
