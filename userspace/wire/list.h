/* SPDX-License-Identifier: BSD-2-Clause */
/* What the codecs share: views of what was just read, and the protocol of the *_next() functions. Private to this folder. */
#pragma once

#include <errno.h>

#include "base/id.h"

/* A reader of a whole body in an overlay whose Node-IDs have `node_id_length` octets; an impossible length fails. */
static inline struct reader reader_of_body(struct octets body, uint8_t node_id_length) {
	struct reader r = reader_of_octets(body);

	r.node_id_length = node_id_length;
	if (node_id_length < ID_LENGTH_MIN || node_id_length > ID_LENGTH_MAX) /* B-6.3.1-03 */
		reader_fail(&r);
	return r;
}

/* The octets read between two states of the same reader. */
static inline struct octets reader_between(const struct reader *before, const struct reader *after) {
	struct reader again = *before;

	return reader_octets(&again, after->position - before->position);
}

/* First step of every *_next(): 1 when there is an element, else what the caller returns. */
static inline int list_more(const struct reader *list) {
	return list->error < 0 ? -EBADMSG : reader_more(list);
}

/* A ResourceId: at most 254 octets, so that it fits a Destination (B-6.3.1-03). */
static inline struct octets reader_resource_id(struct reader *r) {
	struct octets resource_id = reader_vector8(r);

	if (resource_id.length > 254)
		reader_fail(r);
	return resource_id;
}

static inline void writer_resource_id(struct writer *w, struct octets resource_id) {
	if (resource_id.length > 254)
		writer_fail(w, -EMSGSIZE);
	writer_vector8(w, resource_id);
}

/* A list of Node-IDs behind a 16-bit length. */
static inline struct octets reader_node_ids16(struct reader *r) {
	struct octets ids = reader_vector16(r);

	if (r->node_id_length == 0 || ids.length % r->node_id_length != 0)
		reader_fail(r);
	return ids;
}

/* Walks `list` with a *_next(reader, element) function; evaluates to 0 or its error. */
#define LIST_CHECK(settings, octets, type, next)                                                                                   \
	({                                                                                                                         \
		int _status = 0;                                                                                                   \
		if ((octets).length > 0) {                                                                                         \
			struct reader _list = reader_nested((settings), (octets));                                                 \
			type _element;                                                                                             \
			while ((_status = next(&_list, &_element)) > 0)                                                            \
				;                                                                                                  \
		}                                                                                                                  \
		_status;                                                                                                           \
	})
