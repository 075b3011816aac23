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

#include "forward_work.h"
#include "frame.h"
#include "ring.h"

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

FORWARD_INLINE int forward_check_header(struct forward_work *work) {
	struct forward_header *header = &work->header;

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
	header->header_length = (__u32)FORWARD_FIXED + header->via_length + header->destination_length + header->options_length;
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
FORWARD_INLINE int forward_entry_parse(struct forward_work *work) {
	__u32 position, end, size, data;
	struct forward_entry *entry;
	__u8 type;

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

/* The same for all but the first entry: seldom, and out of the way. */
FORWARD_FUNCTION int forward_entry_read(struct forward_work *work) {
	return work ? forward_entry_parse(work) : DROP_HDR_OVERRUN;
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
FORWARD_INLINE int forward_check_via(struct forward_work *work) {
	__u32 end;

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

/* Walks the destination list: entries fit (FW-C08, FW-C09). Leaves their places in `starts` and `sizes` and their number in count.
 */
FORWARD_INLINE int forward_check_destinations(struct forward_work *work) {
	__u32 end;

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
	reason = forward_entry_parse(work);
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
	work->critical = 0;
	return work->header.options_length == 0 ? FORWARD_CONTINUE : forward_check_options(work);
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
 * The verdict for a message that goes on: over work->link, or (`routed`) to the next hop towards work->point. C12 stands in front
 * of E because the table notes it there.
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
		verdict->append = FORWARD_APPEND_COMPACT;	    /* FW-F03 */
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

/* One round over the first entry, in work->entry; FORWARD_CONTINUE after removing our own Node-ID from the front. */
FORWARD_FUNCTION int forward_examine(struct forward_work *work) {
	__u32 remaining;

	if (!work)
		return FORWARD_DROP;
	remaining = FORWARD_FIXED + work->header.via_length + work->header.destination_length - work->destination;
	if (work->entry.type == FORWARD_TYPE_RESOURCE && remaining != work->entry.size)
		return forward_drop(work, DROP_RES_NOT_LAST, 0); /* FW-C11, FW-D08, B-6.1.1-01, Q-11 */
	if (work->entry.type == FORWARD_TYPE_NODE && forward_id_is_wildcard(&work->entry.id))
		return forward_local(work); /* FW-D04, B-6.1.1-05 */
	if (work->entry.type == FORWARD_TYPE_NODE && forward_id_equal(&work->entry.id, &work->node.id)) {
		if (remaining == work->entry.size)
			return forward_local(work);		 /* FW-D05, B-6.1.1-03 */
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
		return forward_onwards(work, 1);				      /* FW-D11, B-6.1.2-01 */
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
	int action, reason;

	if (!work)
		return FORWARD_DROP;
	action = forward_check_header(work);
	if (action != FORWARD_CONTINUE)
		return action;
	action = forward_check_lists(work);
	if (action != FORWARD_CONTINUE)
		return action;
	for (int i = 0; i < FORWARD_POPS_MAX; i++) {
		/* The first entry was read by forward_check_lists(). */
		reason = i == 0 ? 0 : forward_entry_read(work);
		if (reason != 0)
			return forward_drop(work, (__u8)reason, 0);
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
FORWARD_INLINE int forward_edit(struct forward_work *work) {
	__u32 copied = FORWARD_FIXED + work->header.via_length, end;

	work->cursor = 0;
	for (int i = 0; i < FORWARD_COPY_MAX; i++) {
		__u32 at = work->cursor;

#ifdef FORWARD_WIDE_HOOKS
		/* The last ones may reach beyond; what belongs there is written afterwards. */
		if (at >= copied)
			break;
#else
		if (at + 8 > copied)
			break;
#endif
		forward_store_u64(work, at, forward_load_u64(work, at));
		work->cursor = at + 8;
	}
#ifndef FORWARD_WIDE_HOOKS
	for (int i = 0; i < 7; i++) {
		__u32 at = work->cursor;

		if (at >= copied)
			break;
		forward_store_u8(work, at, forward_load_u8(work, at));
		work->cursor = at + 1;
	}
#endif
	forward_store_u8(work, 11, work->verdict.ttl);
	forward_store_u32(work, 16, work->verdict.length); /* FW-F09 */
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
