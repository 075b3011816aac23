/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the transit decision works on: bounds, struct forward_work, and the hooks through which it reaches octets and tables. See
 * forward.h.
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
	FORWARD_FIXED = 38,	/* octets of the header in front of the lists */
	FORWARD_ID_LENGTH = 16, /* */
	FORWARD_NODE_ENTRY = 2 + FORWARD_ID_LENGTH,
	FORWARD_COMPACT_ENTRY = 2,
	FORWARD_LIST_LIMIT = 0xffff,
#ifdef FORWARD_FAST
	FORWARD_DESTINATIONS_MAX = 16, /* entries looked at; more: userspace decides */
	FORWARD_VIA_MAX = 32,
	FORWARD_OPTIONS_MAX = 8,
	FORWARD_POPS_MAX = 4,
	FORWARD_TRIES_MAX = 8,	/* routing table members tried when the first choice is not usable */
	FORWARD_HEAD_MAX = 512, /* octets forward_edit() may write */
	FORWARD_COPY_MAX = FORWARD_HEAD_MAX / 8,
#else
	FORWARD_DESTINATIONS_MAX = 64, /* LIMIT_DESTINATIONS; more: dropped */
	FORWARD_VIA_MAX = 255,	       /* as many hops as a ttl allows; more: dropped */
	FORWARD_OPTIONS_MAX = 64,      /* more: dropped */
	FORWARD_POPS_MAX = FORWARD_DESTINATIONS_MAX,
	FORWARD_TRIES_MAX = LAYOUT_ROUTES_MAX,
	FORWARD_HEAD_MAX = FORWARD_FIXED + FORWARD_LIST_LIMIT + 2 * FORWARD_NODE_ENTRY,
	FORWARD_COPY_MAX = FORWARD_HEAD_MAX / 8,
#endif
	FORWARD_ROUTE_STEPS = 13, /* binary search over LAYOUT_ROUTES_MAX entries */
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
	FORWARD_OWN = 0x01, /* a message of this node: no via entry, no ttl decrement, may go anywhere (no FW-D14) */
};

enum { FORWARD_ENTRY_FOREIGN = 0xff }; /* type of an entry nobody can route to */

/* One entry of a destination list. */
struct forward_entry {
	struct forward_id id; /* node, resource */
	__u32 size;
	__u16 opaque; /* compact form or an opaque of two octets */
	__u8 type;    /* enum of FORWARD_TYPE_*, FORWARD_ENTRY_FOREIGN for an opaque that is not ours */
	__u8 reserved;
};

#ifndef FORWARD_CUSTOM_HOOKS
struct forward_tables;
#define FORWARD_WORK_MEMBERS                                                                                                       \
	const __u8 *octets; /* the message, `length` octets */                                                                     \
	const struct forward_tables *tables;                                                                                       \
	__u8 *head;	     /* forward_edit() writes here */                                                                      \
	__u32 head_capacity; /* octets of room there; verdict.head_length are needed */                                            \
	__u32 overruns;	     /* reads and writes outside the message or head; 0 unless this file has a defect */
#endif

struct forward_work {
	/* set by the caller */
	struct forward_node node;
	struct forward_link arrival;
	__u32 length;	   /* octets of the message as the link's framing says */
	__u32 input_flags; /* enum forward_input_flags */

	/* results */
	struct forward_header header; /* valid as far as checked before a drop */
	struct forward_verdict verdict;

	/* working storage */
	struct forward_link link;   /* filled by forward_link_at(), forward_link_of() */
	struct forward_route route; /* filled by forward_route_at() */
	struct forward_id point;    /* what forward_next_hop() looks for */
	struct forward_entry entry; /* first entry of the destination list */
	volatile __u32 cursor;
	volatile __u32 count;
	volatile __u32 low, high;
	volatile __u32 destination; /* where the destination list starts now */
	volatile __u32 critical;    /* an unknown option is FORWARD_CRITICAL (FW-C12) */
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

#ifdef FORWARD_WIDE_HOOKS
/* The same with fewer instructions. Room for eight octets follows message and head. Without these hooks: section "octets". */
FORWARD_INLINE __u16 forward_load_u16(struct forward_work *work, __u32 position);
FORWARD_INLINE __u32 forward_load_u32(struct forward_work *work, __u32 position);
FORWARD_INLINE void forward_store_u16(struct forward_work *work, __u32 position, __u32 value);
FORWARD_INLINE void forward_store_u32(struct forward_work *work, __u32 position, __u32 value);
#endif

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

#ifndef FORWARD_WIDE_HOOKS
FORWARD_INLINE __u16 forward_load_u16(struct forward_work *work, __u32 position) {
	return (__u16)(forward_load_u8(work, position) << 8 | forward_load_u8(work, position + 1));
}

FORWARD_INLINE __u32 forward_load_u32(struct forward_work *work, __u32 position) {
	return (__u32)forward_load_u16(work, position) << 16 | forward_load_u16(work, position + 2);
}

FORWARD_INLINE void forward_store_u16(struct forward_work *work, __u32 position, __u32 value) {
	forward_store_u8(work, position, (__u8)(value >> 8));
	forward_store_u8(work, position + 1, (__u8)value);
}

FORWARD_INLINE void forward_store_u32(struct forward_work *work, __u32 position, __u32 value) {
	forward_store_u16(work, position, value >> 16);
	forward_store_u16(work, position + 2, value);
}
#endif

FORWARD_INLINE void forward_load_id(struct forward_work *work, __u32 position, struct forward_id *ret) {
	ret->high = forward_load_u64(work, position);
	ret->low = forward_load_u64(work, position + 8);
}

/* A node entry: type, length, Node-ID. */
FORWARD_INLINE void forward_store_node(struct forward_work *work, __u32 position, const struct forward_id *id) {
	forward_store_u8(work, position, FORWARD_TYPE_NODE);
	forward_store_u8(work, position + 1, FORWARD_ID_LENGTH);
	forward_store_u64(work, position + 2, id->high);
	forward_store_u64(work, position + 10, id->low);
}
