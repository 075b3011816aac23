/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The transit decision (RFC 6940 6.1 to 6.3, 10.3; rows FW-* of spec/forwarding.md): the only implementation, compiled for the
 * kernel and for userspace.
 *
 *     work.octets, work.length = the message; work.node = this node; work.arrival = the link it came on;
 *     switch (forward_decide(&work)) {
 *     case FORWARD_SEND:  forward_edit(&work): send work.head[0 .. verdict.head_length) and then the message from
 *                         verdict.rest_offset to its end, over the link verdict.slot
 *     case FORWARD_LOCAL: this node is the destination, after removing verdict.popped octets of the destination list
 *     case FORWARD_DROP:  count verdict.reason; with verdict.error_code tell the originator; FORWARD_CLOSE_LINK: close the link
 *     }
 *
 * Userspace includes this file and fills struct forward_tables. A kernel program defines FORWARD_CUSTOM_HOOKS and
 * FORWARD_WORK_MEMBERS before including it and the functions of the section "hooks" after. FORWARD_FAST selects the bounds of the
 * fast path: what exceeds them is FORWARD_PUNT, so that the kernel never decides anything differently.
 *
 * For the verifier (Linux 6.1, clang 14): work is a per-CPU map value; whatever a loop carries over is volatile in it, because
 * the verifier knows nothing about values loaded from maps, so that all rounds look alike to it; the large steps are global
 * functions, verified once each. Octets are read through forward_load_*() alone.
 */
#pragma once

#include "layout.h"

#define FORWARD_INLINE static inline __attribute__((always_inline, unused))
#ifdef __bpf__
#define FORWARD_FUNCTION __attribute__((noinline))
#else
#define FORWARD_FUNCTION static inline __attribute__((unused))
#endif

enum {
	FORWARD_FIXED = 38,            /* octets of the header in front of the lists */
	FORWARD_ID_LENGTH = 16,        /* */
	FORWARD_NODE_ENTRY = 2 + FORWARD_ID_LENGTH,
	FORWARD_COMPACT_ENTRY = 2,
	FORWARD_LIST_LIMIT = 0xffff,
#ifdef FORWARD_FAST
	FORWARD_DESTINATIONS_MAX = 16, /* entries looked at; more: userspace decides */
	FORWARD_VIA_MAX = 32,
	FORWARD_OPTIONS_MAX = 8,
	FORWARD_POPS_MAX = 4,
	FORWARD_TRIES_MAX = 8,         /* routing table members tried when the first choice is not usable */
	FORWARD_HEAD_MAX = 512,        /* octets forward_edit() may write */
	FORWARD_COPY_MAX = FORWARD_HEAD_MAX / 8,
#else
	FORWARD_DESTINATIONS_MAX = 64, /* LIMIT_DESTINATIONS; more: dropped */
	FORWARD_VIA_MAX = 255,         /* as many hops as a ttl allows; more: dropped */
	FORWARD_OPTIONS_MAX = 64,      /* more: dropped */
	FORWARD_POPS_MAX = FORWARD_DESTINATIONS_MAX,
	FORWARD_TRIES_MAX = LAYOUT_ROUTES_MAX,
	FORWARD_HEAD_MAX = FORWARD_FIXED + FORWARD_LIST_LIMIT + 2 * FORWARD_NODE_ENTRY,
	FORWARD_COPY_MAX = FORWARD_HEAD_MAX / 8,
#endif
	FORWARD_ROUTE_STEPS = 13,      /* binary search over LAYOUT_ROUTES_MAX entries */
};

/* Frames, destinations, options and codes this file looks at; the names are those of userspace/wire/codes.h with a prefix. */
enum {
	FORWARD_VERSION = 0x0a,
	FORWARD_FRAGMENT_ALWAYS = 0x80000000u,
	FORWARD_FRAGMENT_LAST = 0x40000000u,
	FORWARD_FRAGMENT_OFFSET = 0x00ffffffu,
	FORWARD_TYPE_NODE = 1,
	FORWARD_TYPE_RESOURCE = 2,
	FORWARD_TYPE_OPAQUE = 3,
	FORWARD_OPTION_ROUTING_MODE = 2,
	FORWARD_OPTION_FORWARD_CRITICAL = 0x01,
	FORWARD_OPTION_IGNORE_STATE = 0x08,
	FORWARD_CODE_ATTACH = 0x03,
	FORWARD_CODE_PING = 0x17,
	FORWARD_CODE_PATH_TRACK = 0x27,
	FORWARD_CODE_ERROR = 0xffff,
	FORWARD_ERROR_FORBIDDEN = 0x2,
	FORWARD_ERROR_NOT_FOUND = 0x3,
	FORWARD_ERROR_INCOMPATIBLE = 0x6,
	FORWARD_ERROR_UNSUPPORTED_OPTION = 0x7,
	FORWARD_ERROR_TTL_EXCEEDED = 0xa,
	FORWARD_ERROR_TOO_LARGE = 0xb,
	FORWARD_ERROR_INVALID_MESSAGE = 0x14,
};
#define FORWARD_TOKEN 0xd2454c4fu

enum forward_input_flags {
	FORWARD_OWN = 0x01,            /* a message of this node: no via entry, no ttl decrement, may go anywhere (no FW-D14) */
};

enum { FORWARD_ENTRY_FOREIGN = 0xff };  /* type of an entry nobody can route to */

/* One entry of a destination list. */
struct forward_entry {
	struct forward_id id;          /* node, resource */
	__u32 size;
	__u16 opaque;                  /* compact form or an opaque of two octets */
	__u8 type;                     /* enum of FORWARD_TYPE_*, FORWARD_ENTRY_FOREIGN for an opaque that is not ours */
	__u8 reserved;
};

#ifndef FORWARD_CUSTOM_HOOKS
struct forward_tables;
#define FORWARD_WORK_MEMBERS                                                                                                     \
	const __u8 *octets;            /* the message, `length` octets */                                                        \
	const struct forward_tables *tables;                                                                                     \
	__u8 *head;                    /* forward_edit() writes here */                                                          \
	__u32 head_capacity;           /* octets of room there; verdict.head_length are needed */                               \
	__u32 overruns;                /* reads and writes outside the message or head; 0 unless this file has a defect */
#endif

struct forward_work {
	/* set by the caller */
	struct forward_node node;
	struct forward_link arrival;
	__u32 length;                  /* octets of the message as the link's framing says */
	__u32 input_flags;             /* enum forward_input_flags */

	/* results */
	struct forward_header header;  /* valid as far as checked before a drop */
	struct forward_verdict verdict;

	/* working storage */
	struct forward_link link;      /* filled by forward_link_at(), forward_link_of() */
	struct forward_route route;    /* filled by forward_route_at() */
	struct forward_id point;       /* what forward_next_hop() looks for */
	struct forward_entry entry;    /* first entry of the destination list */
	volatile __u32 cursor;
	volatile __u32 count;
	volatile __u32 low, high;
	volatile __u32 destination;    /* where the destination list starts now */
	volatile __u32 critical;       /* an unknown option is FORWARD_CRITICAL (FW-C12) */
	volatile __u64 digest;
	__u32 starts[FORWARD_DESTINATIONS_MAX];
	__u32 sizes[FORWARD_DESTINATIONS_MAX];
	__u64 digests[FORWARD_DESTINATIONS_MAX];
	FORWARD_WORK_MEMBERS
};

/* ---- hooks ---- */

/* Octets of the message: zero outside of it. Wider loads are big-endian. */
FORWARD_INLINE __u8 forward_load_u8(struct forward_work *work, __u32 position);
FORWARD_INLINE __u64 forward_load_u64(struct forward_work *work, __u32 position);

/* Octets of the edited head. */
FORWARD_INLINE void forward_store_u8(struct forward_work *work, __u32 position, __u8 value);
FORWARD_INLINE void forward_store_u64(struct forward_work *work, __u32 position, __u64 value);

/* Fill work->link from the connection table. Return 1 when there is a link in that slot, or one bound to that Node-ID. */
FORWARD_INLINE int forward_link_at(struct forward_work *work, __u32 slot);
FORWARD_INLINE int forward_link_of(struct forward_work *work, const struct forward_id *id);

/* Fills work->route with a member of the routing table, sorted by id; `index` is below node.route_count. Returns 1 when there. */
FORWARD_INLINE int forward_route_at(struct forward_work *work, __u32 index);

#ifndef FORWARD_CUSTOM_HOOKS
struct forward_tables {
	void *userdata;
	int (*link_at)(void *userdata, __u32 slot, struct forward_link *ret);
	int (*link_of)(void *userdata, const struct forward_id *id, struct forward_link *ret);
	int (*route_at)(void *userdata, __u32 index, struct forward_route *ret);
};

FORWARD_INLINE __u8 forward_load_u8(struct forward_work *work, __u32 position) {
	if (position < work->length)
		return work->octets[position];
	work->overruns++;
	return 0;
}

FORWARD_INLINE __u64 forward_load_u64(struct forward_work *work, __u32 position) {
	__u64 value = 0;

	for (__u32 i = 0; i < 8; i++)
		value = value << 8 | forward_load_u8(work, position + i);
	return value;
}

FORWARD_INLINE void forward_store_u8(struct forward_work *work, __u32 position, __u8 value) {
	if (position < work->head_capacity)
		work->head[position] = value;
	else
		work->overruns++;
}

FORWARD_INLINE void forward_store_u64(struct forward_work *work, __u32 position, __u64 value) {
	for (__u32 i = 0; i < 8; i++)
		forward_store_u8(work, position + i, (__u8)(value >> (56 - 8 * i)));
}

FORWARD_INLINE int forward_link_at(struct forward_work *work, __u32 slot) {
	return work->tables->link_at(work->tables->userdata, slot, &work->link);
}

FORWARD_INLINE int forward_link_of(struct forward_work *work, const struct forward_id *id) {
	return work->tables->link_of(work->tables->userdata, id, &work->link);
}

FORWARD_INLINE int forward_route_at(struct forward_work *work, __u32 index) {
	return work->tables->route_at(work->tables->userdata, index, &work->route);
}
#endif

/* ---- octets ---- */

FORWARD_INLINE __u16 forward_load_u16(struct forward_work *work, __u32 position) {
	return (__u16)(forward_load_u8(work, position) << 8 | forward_load_u8(work, position + 1));
}

FORWARD_INLINE __u32 forward_load_u32(struct forward_work *work, __u32 position) {
	return (__u32)forward_load_u16(work, position) << 16 | forward_load_u16(work, position + 2);
}

FORWARD_INLINE void forward_load_id(struct forward_work *work, __u32 position, struct forward_id *ret) {
	ret->high = forward_load_u64(work, position);
	ret->low = forward_load_u64(work, position + 8);
}

FORWARD_INLINE void forward_store_u16(struct forward_work *work, __u32 position, __u32 value) {
	forward_store_u8(work, position, (__u8)(value >> 8));
	forward_store_u8(work, position + 1, (__u8)value);
}

FORWARD_INLINE void forward_store_u32(struct forward_work *work, __u32 position, __u32 value) {
	forward_store_u16(work, position, value >> 16);
	forward_store_u16(work, position + 2, value);
}

/* A node entry: type, length, Node-ID. */
FORWARD_INLINE void forward_store_node(struct forward_work *work, __u32 position, const struct forward_id *id) {
	forward_store_u8(work, position, FORWARD_TYPE_NODE);
	forward_store_u8(work, position + 1, FORWARD_ID_LENGTH);
	forward_store_u64(work, position + 2, id->high);
	forward_store_u64(work, position + 10, id->low);
}

/* ---- the ring ---- */

FORWARD_INLINE int forward_id_equal(const struct forward_id *a, const struct forward_id *b) {
	return a->high == b->high && a->low == b->low;
}

FORWARD_INLINE int forward_id_less(const struct forward_id *a, const struct forward_id *b) {
	return a->high < b->high || (a->high == b->high && a->low < b->low);
}

FORWARD_INLINE int forward_id_is_wildcard(const struct forward_id *id) {
	return id->high == ~0ULL && id->low == ~0ULL;
}

/* Is `point` in (from, to]? from == to is the whole ring. */
FORWARD_INLINE int forward_id_in_range(const struct forward_id *point, const struct forward_id *from, const struct forward_id *to) {
	int above = forward_id_less(from, point), below = !forward_id_less(to, point);

	if (forward_id_less(from, to))
		return above && below;
	return forward_id_equal(from, to) || above || below;
}

/* Is `point` in (from, to)? from == to is the whole ring but that point. */
FORWARD_INLINE int forward_id_between(const struct forward_id *point, const struct forward_id *from, const struct forward_id *to) {
	if (forward_id_equal(point, to) || forward_id_equal(point, from))
		return 0;
	return forward_id_in_range(point, from, to);
}

/* N is responsible for (predecessor, N], without a predecessor for the whole ring (forwarding.md section 4). */
FORWARD_INLINE int forward_responsible(const struct forward_node *node, const struct forward_id *point) {
	if (!(node->flags & FORWARD_NODE_JOINED))
		return 0;
	if (!(node->flags & FORWARD_NODE_HAS_PREDECESSOR))
		return 1;
	return forward_id_in_range(point, &node->predecessor, &node->id);
}

/* Our compact opaque: 1ggg ssss ssss ssss, generation and slot of the previous hop's link (B-6.3.2.2-04). */
FORWARD_INLINE __u16 forward_opaque(const struct forward_link *link) {
	return (__u16)(0x8000 | (link->generation & 7) << 12 | (link->slot & 0xfff));
}

FORWARD_INLINE int forward_is_fragment(__u32 fragment) {
	return (fragment & (FORWARD_FRAGMENT_LAST | FORWARD_FRAGMENT_OFFSET)) != FORWARD_FRAGMENT_LAST;
}

enum { FORWARD_HOP_FOUND, FORWARD_HOP_NONE, FORWARD_HOP_SUSPECT };

/* May work->route relay for others? Fills work->link. */
FORWARD_INLINE int forward_route_usable(struct forward_work *work) {
	const __u8 needed = FORWARD_LINK_UP | FORWARD_LINK_ROUTABLE | FORWARD_LINK_BOUND;

	if (!forward_link_at(work, work->route.slot))
		return 0;
	if (!forward_id_equal(&work->link.id, &work->route.id)) /* the slot has a new owner */
		return 0;
	if ((work->link.flags & (needed | FORWARD_LINK_CLIENT)) != needed) /* FW-E05 */
		return 0;
	if (work->link.flags & FORWARD_LINK_SUSPECT) { /* FW-E10 */
		work->count = 1;
		return 0;
	}
	return 1;
}

/*
 * The next hop towards work->point by the rule of CHORD-RELOAD (RFC 6940 10.3): the closest usable member of the routing table in
 * (N, point), else the first one clockwise after the point. On FORWARD_HOP_FOUND work->link is its link; FORWARD_HOP_SUSPECT:
 * there are only such that do not acknowledge.
 */
FORWARD_FUNCTION int forward_next_hop(struct forward_work *work) {
	__u32 routes, index;

	if (!work)
		return FORWARD_HOP_NONE;
	routes = work->node.route_count;
	if (routes == 0 || routes > LAYOUT_ROUTES_MAX)
		return FORWARD_HOP_NONE;
	work->low = 0;
	work->high = routes;
	work->count = 0; /* becomes 1 when a suspect was passed over */
	for (int step = 0; step < FORWARD_ROUTE_STEPS; step++) {
		__u32 low = work->low, high = work->high, middle = (low + high) / 2;

		if (low >= high)
			break;
		if (!forward_route_at(work, middle))
			return FORWARD_HOP_NONE;
		if (forward_id_less(&work->route.id, &work->point))
			work->low = middle + 1;
		else
			work->high = middle;
	}
	/* work->low: the first member that is not below the point */
	for (int step = 0; step < FORWARD_TRIES_MAX; step++) {
		__u32 back = (__u32)step + 1;

		if (back > routes)
			break;
		index = work->low;
		index = index >= back ? index - back : index + routes - back;
		if (!forward_route_at(work, index))
			break;
		if (!forward_id_between(&work->route.id, &work->node.id, &work->point))
			break;
		if (forward_route_usable(work))
			return FORWARD_HOP_FOUND;
	}
	for (int step = 0; step < FORWARD_TRIES_MAX; step++) {
		if ((__u32)step >= routes)
			break;
		index = work->low + (__u32)step;
		if (index >= routes)
			index -= routes;
		if (!forward_route_at(work, index))
			break;
		if (!forward_id_equal(&work->route.id, &work->node.id) && forward_route_usable(work))
			return FORWARD_HOP_FOUND;
	}
	return work->count ? FORWARD_HOP_SUSPECT : FORWARD_HOP_NONE;
}

/* ---- verdicts ---- */

/* Drops; `error` goes to the originator only if the message is the first or only fragment of a request (section 6). */
FORWARD_INLINE int forward_drop(struct forward_work *work, __u8 reason, __u16 error) {
	work->verdict.action = FORWARD_DROP;
	work->verdict.reason = reason;
	work->verdict.error_code = work->header.class == FORWARD_CLASS_REQUEST ? error : 0;
	return FORWARD_DROP;
}

/* A bound of ours is exceeded: the fast path leaves it to userspace, which has wider bounds and drops. */
FORWARD_INLINE int forward_limit(struct forward_work *work) {
	work->verdict.reason = DROP_LIST_TOO_LONG;
#ifdef FORWARD_FAST
	work->verdict.action = FORWARD_PUNT;
#else
	work->verdict.action = FORWARD_DROP;
#endif
	return work->verdict.action;
}

FORWARD_INLINE int forward_local(struct forward_work *work) {
	work->verdict.action = FORWARD_LOCAL;
	/* FW-D15 */
	work->verdict.reason = forward_is_fragment(work->header.fragment) ? DROP_PUNT_FRAGMENT : DROP_PUNT_LOCAL;
	return FORWARD_LOCAL;
}

enum { FORWARD_CONTINUE = -1 };

/* ---- frames ---- */

struct forward_frame {
	__u32 sequence;                /* of the data frame, or the one acknowledged */
	__u32 received;                /* ack: mask */
	__u32 message_length;          /* data: octets of the message, which starts at FORWARD_FRAME_DATA */
	__u32 type;                    /* FORWARD_FRAME_TYPE_*; 0: discard (FW-A02) */
};
enum { FORWARD_FRAME_TYPE_DATA = 128, FORWARD_FRAME_TYPE_ACK = 129, FORWARD_FRAME_DATA = 8, FORWARD_FRAME_ACK = 9 };

/* Reads the frame of `length` octets at the start of the octets of `work` (RFC 6940 6.6.2). 1, or 0 for a frame to be discarded. */
FORWARD_INLINE int forward_frame_read(struct forward_work *work, __u32 length, struct forward_frame *ret) {
	__u8 type = length > 0 ? forward_load_u8(work, 0) : 0;

	ret->type = 0;
	if (type == FORWARD_FRAME_TYPE_ACK && length == FORWARD_FRAME_ACK) { /* FW-A01 */
		ret->sequence = forward_load_u32(work, 1);
		ret->received = forward_load_u32(work, 5);
	} else if (type == FORWARD_FRAME_TYPE_DATA && length >= FORWARD_FRAME_DATA) { /* FW-A03 */
		ret->sequence = forward_load_u32(work, 1);
		ret->message_length = (__u32)forward_load_u8(work, 5) << 16 | forward_load_u16(work, 6);
		if (ret->message_length != length - FORWARD_FRAME_DATA)
			return 0;
	} else {
		return 0; /* FW-A02 */
	}
	ret->type = type;
	return 1;
}

/* ---- A, B: the fixed header ---- */

/* What kind of message it is (section 2). Later fragments do not show it. */
FORWARD_INLINE __u8 forward_classify(struct forward_work *work) {
	__u16 code;

	if (work->header.fragment & FORWARD_FRAGMENT_OFFSET)
		return FORWARD_CLASS_LATER;
	/* FW-C01 */
	if (work->header.header_length + 2 > work->length)
		return FORWARD_CLASS_INVALID;
	code = forward_load_u16(work, work->header.header_length);
	work->header.code = code;
	if (code == FORWARD_CODE_ERROR)
		return FORWARD_CLASS_RESPONSE;
	if (code == 0 || code >= 0x8000)
		return FORWARD_CLASS_INVALID; /* */
	return code & 1 ? FORWARD_CLASS_REQUEST : FORWARD_CLASS_RESPONSE;
}

/* A Ping whose list of extensions is not empty, or a PathTrack (section 6). Only what is visible in this piece counts. */
FORWARD_INLINE int forward_is_diagnostic(struct forward_work *work) {
	__u32 body, after = work->header.header_length + 6;

	if (work->header.class != FORWARD_CLASS_REQUEST && work->header.class != FORWARD_CLASS_RESPONSE)
		return 0;
	if (work->header.code == FORWARD_CODE_PATH_TRACK || work->header.code == FORWARD_CODE_PATH_TRACK + 1)
		return 1;
	if (work->header.code != FORWARD_CODE_PING || after + 4 > work->length)
		return 0;
	body = forward_load_u32(work, after - 4);
	if (body > work->length - after - 4)
		return 0;
	return forward_load_u32(work, after + body) != 0;
}

FORWARD_FUNCTION int forward_check_header(struct forward_work *work) {
	struct forward_header *header;

	if (!work)
		return FORWARD_DROP;
	header = &work->header;
	__builtin_memset(header, 0, sizeof(*header));
	__builtin_memset(&work->verdict, 0, sizeof(work->verdict));
	if (work->length < FORWARD_FIXED)
		return forward_drop(work, DROP_SHORT, 0); /* FW-A04 */
	header->overlay = forward_load_u32(work, 4);
	header->version = forward_load_u8(work, 10);
	header->ttl = forward_load_u8(work, 11);
	header->fragment = forward_load_u32(work, 12);
	header->length = forward_load_u32(work, 16);
	header->via_length = forward_load_u16(work, 32);
	header->destination_length = forward_load_u16(work, 34);
	header->options_length = forward_load_u16(work, 36);
	header->header_length =
		(__u32)FORWARD_FIXED + header->via_length + header->destination_length + header->options_length;
	if (header->length != work->length)
		return forward_drop(work, DROP_LEN_MISMATCH, 0); /* FW-A05 */
	if (forward_load_u32(work, 0) != FORWARD_TOKEN)
		return forward_drop(work, DROP_BAD_TOKEN, 0); /* FW-B01, B-6.3.2-01 */
	if (header->version != FORWARD_VERSION)
		return forward_drop(work, DROP_BAD_VERSION, 0); /* FW-B02, B-6.3.2-04 */
	if (header->fragment & FORWARD_FRAGMENT_ALWAYS)
		header->class = forward_classify(work);
	if (header->overlay != work->node.overlay)
		return forward_drop(work, DROP_BAD_OVERLAY, FORWARD_ERROR_INCOMPATIBLE); /* FW-B03, B-6.3.2-02 */
	if (header->header_length > work->node.max_message_size) {
		work->verdict.flags |= FORWARD_CLOSE_LINK;
		return forward_drop(work, DROP_HDR_TOO_LARGE, 0); /* FW-B04 */
	}
	if (header->length > work->node.max_message_size) {
		work->verdict.flags |= FORWARD_CLOSE_LINK;
		return forward_drop(work, DROP_TOO_LARGE, FORWARD_ERROR_TOO_LARGE); /* FW-B05 */
	}
	if (header->header_length > header->length)
		return forward_drop(work, DROP_HDR_OVERRUN, 0); /* FW-B06 */
	if (header->ttl > work->node.initial_ttl)
		return forward_drop(work, DROP_TTL_ABOVE_MAX, FORWARD_ERROR_TTL_EXCEEDED); /* FW-B07, B-6.3.2-08 */
	if (!(header->fragment & FORWARD_FRAGMENT_ALWAYS))
		return forward_drop(work, DROP_FRAG_HIGHBIT, 0); /* FW-B08, B-6.3.2-09 */
	/* FW-B09: the reserved bits stay as they are */
	if (header->class == FORWARD_CLASS_LATER) {
		__u32 payload = header->length - header->header_length;

		if (payload == 0 || (header->fragment & FORWARD_FRAGMENT_OFFSET) + payload > FORWARD_FRAGMENT_OFFSET)
			return forward_drop(work, DROP_FRAG_RANGE, 0); /* FW-B10 */
	}
	/* FW-B11, FW-B12, B-6.1.2-07 */
	if (!(work->input_flags & FORWARD_OWN) && !(work->arrival.flags & FORWARD_LINK_BOUND) &&
	    (header->class == FORWARD_CLASS_REQUEST || header->class == FORWARD_CLASS_INVALID) &&
	    header->code != FORWARD_CODE_PING && header->code != FORWARD_CODE_ATTACH)
		return forward_drop(work, DROP_UNBOUND_MULTI_ID, FORWARD_ERROR_FORBIDDEN);
	/* FW-B14: configuration_sequence is the destination's business */
	return FORWARD_CONTINUE;
}

/* ---- C: the lists ---- */

/* Octets of the entry at `position` of a list ending at `end`; 0 when it does not fit. */
FORWARD_INLINE __u32 forward_entry_size(struct forward_work *work, __u32 position, __u32 end) {
	__u32 size = FORWARD_COMPACT_ENTRY; /* FW-C03 */

	if (position >= end || end - position < 2)
		return 0;
	if (!(forward_load_u8(work, position) & 0x80))
		size = 2 + forward_load_u8(work, position + 1);
	return size <= end - position ? size : 0;
}

/* Reads the entry in front of the destination list into work->entry. Returns 0 or the reason to drop. */
FORWARD_FUNCTION int forward_entry_read(struct forward_work *work) {
	__u32 position, end, size, data;
	struct forward_entry *entry;
	__u8 type;

	if (!work)
		return DROP_HDR_OVERRUN;
	entry = &work->entry;
	position = work->destination;
	end = FORWARD_FIXED + work->header.via_length + work->header.destination_length;
	if (position >= end)
		return DROP_DEST_EMPTY; /* FW-C02 */
	size = forward_entry_size(work, position, end);
	if (size == 0)
		return DROP_HDR_OVERRUN; /* FW-C09 */
	type = forward_load_u8(work, position);
	data = size - 2;
	entry->size = size;
	entry->opaque = 0;
	if (type & 0x80) {
		entry->type = FORWARD_TYPE_OPAQUE;
		entry->opaque = forward_load_u16(work, position);
		return 0;
	}
	entry->type = type;
	switch (type) {
	case FORWARD_TYPE_NODE: /* FW-C04 */
		if (data != FORWARD_ID_LENGTH)
			return DROP_DEST_BAD_TYPE;
		forward_load_id(work, position + 2, &entry->id);
		return 0;
	case FORWARD_TYPE_RESOURCE: /* FW-C05 */
		if (data != 1 + FORWARD_ID_LENGTH || forward_load_u8(work, position + 2) != FORWARD_ID_LENGTH)
			return DROP_DEST_BAD_TYPE;
		forward_load_id(work, position + 3, &entry->id);
		return 0;
	case FORWARD_TYPE_OPAQUE: /* FW-C06 */
		if (data == 0 || forward_load_u8(work, position + 2) != data - 1)
			return DROP_DEST_BAD_TYPE;
		if (data == 3)
			entry->opaque = forward_load_u16(work, position + 3); /* B-6.3.2.2-01 */
		if (!(entry->opaque & 0x8000))
			entry->type = FORWARD_ENTRY_FOREIGN;
		return 0;
	default:
		return DROP_DEST_BAD_TYPE; /* FW-C07 */
	}
}

/* A checksum of the entry of `size` octets at `position`. Different entries may share one; see forward_entries_equal(). */
FORWARD_FUNCTION int forward_entry_digest(struct forward_work *work, __u32 position, __u32 size) {
	if (!work)
		return 0;
	work->digest = size;
	work->cursor = 0;
	for (int i = 0; i < 257 / 2 + 1; i++) {
		__u32 at = work->cursor;

		if (at + 1 >= size)
			break;
		work->digest = (work->digest ^ forward_load_u16(work, position + at)) * 0x9e3779b97f4a7c15ULL;
		work->cursor = at + 2;
	}
	if (size & 1)
		work->digest = (work->digest ^ forward_load_u8(work, position + size - 1)) * 0x9e3779b97f4a7c15ULL;
	return 1;
}

FORWARD_FUNCTION int forward_entries_equal(struct forward_work *work, __u32 a, __u32 b, __u32 size) {
	if (!work)
		return 0;
	work->cursor = 0;
	for (int i = 0; i < 257; i++) {
		__u32 at = work->cursor;

		if (at >= size)
			return 1;
		if (forward_load_u8(work, a + at) != forward_load_u8(work, b + at))
			return 0;
		work->cursor = at + 1;
	}
	return 1;
}

/* Walks the via list: entries fit and none is a resource (FW-C09, FW-C17). */
FORWARD_FUNCTION int forward_check_via(struct forward_work *work) {
	__u32 end;

	if (!work)
		return FORWARD_DROP;
	end = FORWARD_FIXED + work->header.via_length;
	work->cursor = FORWARD_FIXED;
	for (int i = 0; i < FORWARD_VIA_MAX; i++) {
		__u32 position = work->cursor, size;

		if (position >= end)
			return FORWARD_CONTINUE;
		size = forward_entry_size(work, position, end);
		if (size == 0)
			return forward_drop(work, DROP_HDR_OVERRUN, 0);
		if (forward_load_u8(work, position) == FORWARD_TYPE_RESOURCE)
			return forward_drop(work, DROP_VIA_RESOURCE, 0);
		work->cursor = position + size;
	}
	return work->cursor >= end ? FORWARD_CONTINUE : forward_limit(work);
}

/* Walks the destination list: entries fit (FW-C08, FW-C09). Leaves their places in `starts` and `sizes` and their number in count. */
FORWARD_FUNCTION int forward_check_destinations(struct forward_work *work) {
	__u32 end;

	if (!work)
		return FORWARD_DROP;
	end = FORWARD_FIXED + work->header.via_length + work->header.destination_length;
	work->cursor = FORWARD_FIXED + work->header.via_length;
	work->count = 0;
	for (int i = 0; i < FORWARD_DESTINATIONS_MAX; i++) {
		__u32 position = work->cursor, size;

		if (position >= end)
			return FORWARD_CONTINUE;
		size = forward_entry_size(work, position, end);
		if (size == 0)
			return forward_drop(work, DROP_HDR_OVERRUN, 0);
		work->starts[i] = position;
		work->sizes[i] = size;
		work->count = (__u32)i + 1;
		work->cursor = position + size;
	}
	return work->cursor >= end ? FORWARD_CONTINUE : forward_limit(work);
}

/* FW-C10: does an entry occur twice? After forward_check_destinations(). */
FORWARD_FUNCTION int forward_has_duplicates(struct forward_work *work) {
	__u32 entries;

	if (!work)
		return 0;
	entries = work->count;
	for (__u32 i = 0; i < FORWARD_DESTINATIONS_MAX; i++) {
		if (i >= entries)
			break;
		forward_entry_digest(work, work->starts[i], work->sizes[i]);
		work->digests[i] = work->digest;
		work->high = work->sizes[i];
		for (__u32 j = 0; j < FORWARD_DESTINATIONS_MAX; j++) {
			if (j >= i)
				break;
			if (work->digests[j] == work->digest && work->sizes[j] == work->high &&
			    forward_entries_equal(work, work->starts[i], work->starts[j], work->high))
				return 1;
		}
	}
	return 0;
}

/* Walks the options; notes unknown critical ones and IGNORE_STATE_KEEPING. */
FORWARD_FUNCTION int forward_check_options(struct forward_work *work) {
	__u32 end;

	if (!work)
		return FORWARD_DROP;
	end = work->header.header_length;
	work->cursor = end - work->header.options_length;
	work->critical = 0;
	for (int i = 0; i < FORWARD_OPTIONS_MAX; i++) {
		__u32 position = work->cursor, size;
		__u8 flags;

		if (position >= end)
			return FORWARD_CONTINUE;
		if (end - position < 4)
			return forward_drop(work, DROP_HDR_OVERRUN, 0);
		size = 4 + (__u32)forward_load_u16(work, position + 2);
		if (size > end - position)
			return forward_drop(work, DROP_HDR_OVERRUN, 0);
		flags = forward_load_u8(work, position + 1);
		/* FW-C12, FW-C16: every type but 2 is unknown here. FW-C14: flags in anything but a request mean nothing. */
		if (flags & FORWARD_OPTION_FORWARD_CRITICAL && work->header.class == FORWARD_CLASS_REQUEST &&
		    forward_load_u8(work, position) != FORWARD_OPTION_ROUTING_MODE)
			work->critical = 1;
		if (flags & FORWARD_OPTION_IGNORE_STATE)
			work->verdict.flags |= FORWARD_NO_STATE; /* FW-C15 */
		work->cursor = position + size;
	}
	return work->cursor >= end ? FORWARD_CONTINUE : forward_limit(work);
}

FORWARD_INLINE int forward_check_lists(struct forward_work *work) {
	int reason, action;

	work->destination = FORWARD_FIXED + work->header.via_length;
	reason = forward_entry_read(work);
	if (reason != 0)
		return forward_drop(work, (__u8)reason, 0);
	action = forward_check_via(work);
	if (action != FORWARD_CONTINUE)
		return action;
	action = forward_check_destinations(work);
	if (action != FORWARD_CONTINUE)
		return action;
	if (work->header.class == FORWARD_CLASS_REQUEST && work->count > 1 && forward_has_duplicates(work))
		return forward_drop(work, DROP_DEST_DUP, FORWARD_ERROR_INVALID_MESSAGE); /* FW-C10, Q-10 */
	return forward_check_options(work);
}

/* ---- E, F: checks and edits of what is sent on ---- */

/* Octets that `append` adds to the via list. */
FORWARD_INLINE __u32 forward_append_size(__u8 append) {
	return append == FORWARD_APPEND_NODE ? FORWARD_NODE_ENTRY : append == FORWARD_APPEND_COMPACT ? FORWARD_COMPACT_ENTRY : 0;
}

FORWARD_INLINE int forward_sizes_fit(struct forward_work *work, __u32 limit) {
	struct forward_verdict *verdict = &work->verdict;
	__u32 replacement = verdict->flags & FORWARD_REPLACE ? FORWARD_NODE_ENTRY : 0;
	__u32 via = work->header.via_length + forward_append_size(verdict->append);
	__u32 destinations = work->header.destination_length - verdict->popped + replacement;

	verdict->via_length = (__u16)via;
	verdict->destination_length = (__u16)destinations;
	verdict->head_length = FORWARD_FIXED + via + replacement;
	verdict->rest_offset = (__u32)FORWARD_FIXED + work->header.via_length + verdict->popped;
	verdict->length = work->header.length - work->header.via_length + via - work->header.destination_length + destinations;
	return via <= FORWARD_LIST_LIMIT && destinations <= FORWARD_LIST_LIMIT && verdict->length <= limit; /* FW-E07, FW-E08 */
}

/*
 * The verdict for a message that goes on: over work->link, or (`routed`) to the next hop towards work->point. C12 stands in front of
 * E because the table notes it there.
 */
FORWARD_INLINE int forward_onwards(struct forward_work *work, int routed) {
	struct forward_verdict *verdict = &work->verdict;
	int own = work->input_flags & FORWARD_OWN;

	if (work->critical && !own)
		return forward_drop(work, DROP_OPT_CRITICAL, FORWARD_ERROR_UNSUPPORTED_OPTION); /* FW-C12, B-6.3.2.3-01 */
	if (work->header.ttl == 0 && !own)
		return forward_drop(work, DROP_TTL_ZERO, FORWARD_ERROR_TTL_EXCEEDED); /* FW-E01, B-6.3.2-06 */
	if (routed) {
		int hop = forward_next_hop(work);

		if (hop == FORWARD_HOP_SUSPECT)
			return forward_drop(work, DROP_LINK_DOWN, 0); /* FW-E10 */
		if (hop != FORWARD_HOP_FOUND)
			return forward_drop(work, DROP_NO_NEXT_HOP, FORWARD_ERROR_NOT_FOUND); /* FW-E04 */
	}
	if (!own && work->header.class != FORWARD_CLASS_RESPONSE) { /* B-6.1.2-03, Q-04 */
		verdict->append = FORWARD_APPEND_COMPACT; /* FW-F03 */
		/* FW-F02, FW-C15, D-5.2.1-01 */
		if (work->arrival.flags & FORWARD_LINK_BOUND &&
		    (work->node.flags & FORWARD_NODE_VIA_NODE_ID || verdict->flags & FORWARD_NO_STATE))
			verdict->append = FORWARD_APPEND_NODE;
		verdict->opaque = forward_opaque(&work->arrival);
	}
	if (!forward_sizes_fit(work, work->node.max_message_size)) {
		int fits = 0;

		if (verdict->append == FORWARD_APPEND_NODE) {
			verdict->append = FORWARD_APPEND_COMPACT;
			fits = forward_sizes_fit(work, work->node.max_message_size);
		}
		if (!fits)
			return forward_drop(work, DROP_WOULD_EXCEED_MAX, FORWARD_ERROR_TOO_LARGE); /* FW-E07, Q-18 */
	}
	if (verdict->head_length > FORWARD_HEAD_MAX)
		return forward_limit(work);
	if (forward_is_diagnostic(work)) {
		verdict->flags |= FORWARD_DIAGNOSTIC;
		if (work->node.flags & FORWARD_NODE_PUNT_DIAGNOSTICS) {
			verdict->action = FORWARD_PUNT;
			verdict->reason = DROP_PUNT_DIAG;
			return FORWARD_PUNT;
		}
	}
	if (!own && work->link.slot == work->arrival.slot)
		verdict->flags |= FORWARD_BACK; /* FW-E03, Q-16 */
	verdict->slot = work->link.slot;
	verdict->ttl = own ? work->header.ttl : work->header.ttl - 1; /* FW-E02, FW-F01, B-6.3.2-05 */
	verdict->action = FORWARD_SEND;
	return FORWARD_SEND;
}

/* ---- D: whose message is it ---- */

/* FW-D01 to FW-D03: an opaque of ours stands for the one node in the slot it names. */
FORWARD_INLINE int forward_expand(struct forward_work *work) {
	struct forward_verdict *verdict = &work->verdict;
	__u16 opaque = work->entry.opaque;

	if (!forward_link_at(work, opaque & 0xfff) || !(work->link.flags & FORWARD_LINK_UP))
		return forward_drop(work, DROP_OPAQUE_UNKNOWN, 0); /* FW-D03, Q-13 */
	if ((work->link.generation & 7) != (opaque >> 12 & 7))
		return forward_drop(work, DROP_OPAQUE_STALE, 0); /* FW-D02, B-6.3.2.2-05 */
	verdict->popped += (__u16)work->entry.size;
	verdict->flags |= FORWARD_REPLACE; /* B-6.1.2-04, B-6.1.3-01 */
	if (work->link.flags & FORWARD_LINK_BOUND) {
		verdict->replacement = work->link.id;
	} else {
		/* FW-B12: the Node-ID of the other side is not known; the wildcard is consumed by whoever receives it */
		verdict->replacement.high = ~0ULL;
		verdict->replacement.low = ~0ULL;
	}
	return forward_onwards(work, 0);
}

/* One round over the first entry; FORWARD_CONTINUE after removing our own Node-ID from the front. */
FORWARD_FUNCTION int forward_examine(struct forward_work *work) {
	__u32 remaining;
	int reason;

	if (!work)
		return FORWARD_DROP;
	reason = forward_entry_read(work);
	if (reason != 0)
		return forward_drop(work, (__u8)reason, 0);
	remaining = FORWARD_FIXED + work->header.via_length + work->header.destination_length - work->destination;
	if (work->entry.type == FORWARD_TYPE_RESOURCE && remaining != work->entry.size)
		return forward_drop(work, DROP_RES_NOT_LAST, 0); /* FW-C11, FW-D08, B-6.1.1-01, Q-11 */
	if (work->entry.type == FORWARD_TYPE_NODE && forward_id_is_wildcard(&work->entry.id))
		return forward_local(work); /* FW-D04, B-6.1.1-05 */
	if (work->entry.type == FORWARD_TYPE_NODE && forward_id_equal(&work->entry.id, &work->node.id)) {
		if (remaining == work->entry.size)
			return forward_local(work); /* FW-D05, B-6.1.1-03 */
		work->verdict.popped += (__u16)work->entry.size; /* FW-D06 */
		work->destination += work->entry.size;
		return FORWARD_CONTINUE;
	}
	if (!(work->node.flags & FORWARD_NODE_JOINED) && !(work->input_flags & FORWARD_OWN))
		return forward_drop(work, DROP_NOT_ROUTING, 0); /* FW-D14, Q-15 */
	if (work->entry.type == FORWARD_ENTRY_FOREIGN)
		return forward_drop(work, DROP_OPAQUE_UNKNOWN, 0); /* FW-D03 */
	if (work->entry.type == FORWARD_TYPE_OPAQUE)
		return forward_expand(work);
	work->point = work->entry.id;
	if (work->entry.type == FORWARD_TYPE_NODE) {
		if (forward_link_of(work, &work->point) && work->link.flags & FORWARD_LINK_UP)
			return forward_onwards(work, 0); /* FW-D09, B-6.1.2-02, B-6.1.1-06, B-6.1.2-08 */
		if (forward_responsible(&work->node, &work->point))
			return forward_drop(work, DROP_NODE_IN_RANGE_UNREACHABLE, 0); /* FW-D10, B-6.1.1-06 */
		return forward_onwards(work, 1); /* FW-D11, B-6.1.2-01 */
	}
	if (forward_responsible(&work->node, &work->point))
		return forward_local(work); /* FW-D07, B-6.1.1-02 */
	/* FW-D12: nodes that have sent an Update */
	if (forward_link_of(work, &work->point) &&
	    (work->link.flags & (FORWARD_LINK_UP | FORWARD_LINK_ROUTABLE | FORWARD_LINK_CLIENT)) ==
		    (FORWARD_LINK_UP | FORWARD_LINK_ROUTABLE))
		return forward_onwards(work, 0);
	return forward_onwards(work, 1); /* FW-D13 */
}

/* The decision about the message in `work`. Returns enum forward_action, which is also in work->verdict. */
FORWARD_FUNCTION int forward_decide(struct forward_work *work) {
	int action;

	if (!work)
		return FORWARD_DROP;
	action = forward_check_header(work);
	if (action != FORWARD_CONTINUE)
		return action;
	action = forward_check_lists(work);
	if (action != FORWARD_CONTINUE)
		return action;
	for (int i = 0; i < FORWARD_POPS_MAX; i++) {
		action = forward_examine(work);
		if (action != FORWARD_CONTINUE)
			return action;
	}
	return forward_limit(work);
}

/* ---- F: the edited header ---- */

/*
 * Writes what changes of a message whose verdict is FORWARD_SEND: fixed header, via list with its new entry, and the replaced
 * front of the destination list. The message from verdict.rest_offset on follows unchanged. Returns verdict.head_length, which the
 * caller has made room for.
 */
FORWARD_FUNCTION int forward_edit(struct forward_work *work) {
	__u32 copied, end;

	if (!work)
		return 0;
	copied = FORWARD_FIXED + work->header.via_length;
	work->cursor = 0;
	for (int i = 0; i < FORWARD_COPY_MAX; i++) {
		__u32 at = work->cursor;

		if (at + 8 > copied)
			break;
		forward_store_u64(work, at, forward_load_u64(work, at));
		work->cursor = at + 8;
	}
	for (int i = 0; i < 7; i++) {
		__u32 at = work->cursor;

		if (at >= copied)
			break;
		forward_store_u8(work, at, forward_load_u8(work, at));
		work->cursor = at + 1;
	}
	forward_store_u8(work, 11, work->verdict.ttl);
	forward_store_u32(work, 16, work->verdict.length);              /* FW-F09 */
	forward_store_u16(work, 32, work->verdict.via_length);
	forward_store_u16(work, 34, work->verdict.destination_length);
	end = copied;
	if (work->verdict.append == FORWARD_APPEND_COMPACT)
		forward_store_u16(work, end, work->verdict.opaque);
	else if (work->verdict.append == FORWARD_APPEND_NODE)
		forward_store_node(work, end, &work->arrival.id);
	end += forward_append_size(work->verdict.append);
	if (work->verdict.flags & FORWARD_REPLACE)
		forward_store_node(work, end, &work->verdict.replacement); /* FW-F07, FW-F08 */
	return (int)work->verdict.head_length;
}
