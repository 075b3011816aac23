/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the kernel programs and the daemon share: structures, limits, drop reasons. Sized types, explicit padding, sizes asserted.
 *
 * The numbers of enum drop_reason are stable: they index counters in pinned maps and label metrics. New reasons go to the end.
 * Raise LAYOUT_VERSION when anything here changes: a restarted daemon adopts pinned maps only if the version is its own.
 */
#pragma once

#include <linux/types.h>

enum {
	LAYOUT_VERSION = 1,
	LAYOUT_SLOTS_MAX = 4096, /* 12 bits of a compact opaque */
	LAYOUT_GENERATIONS = 8,	 /* 3 bits */
	LAYOUT_SLOT_NONE = 0xffff,
	LAYOUT_ROUTES_MAX = 4096, /* entries of the sorted routing table */
};

/* A point of the ring as a number: CHORD-RELOAD fixes 128 bits, overlays with longer Node-IDs are refused. Host order. */
struct forward_id {
	__u64 high;
	__u64 low;
};

enum forward_link_flags {
	FORWARD_LINK_UP = 0x01,	      /* handshake done, usable */
	FORWARD_LINK_ROUTABLE = 0x02, /* an Update was received: may relay for others (FW-E05) */
	FORWARD_LINK_CLIENT = 0x04,   /* attached, not a peer; never a relay */
	FORWARD_LINK_BOUND = 0x08,    /* `id` is known: one Node-ID in the certificate, or an Attach chose one (FW-B11) */
	FORWARD_LINK_SUSPECT = 0x10,  /* no acknowledgements of late (FW-E10) */
};

/* A link as the decision sees it. */
struct forward_link {
	struct forward_id id; /* valid with FORWARD_LINK_BOUND */
	__u16 slot;
	__u8 generation; /* 0 to 7 */
	__u8 flags;	 /* enum forward_link_flags */
	__u32 reserved;
};

/* One member of the routing table. The table is sorted by `id`, ascending. */
struct forward_route {
	struct forward_id id;
	__u16 slot;
	__u16 reserved16;
	__u32 reserved32;
};

enum forward_node_flags {
	FORWARD_NODE_JOINED = 0x01,	      /* responsible for a range and routes for others; never set on a client (FW-D14) */
	FORWARD_NODE_HAS_PREDECESSOR = 0x02,  /* without one a joined node owns the whole ring */
	FORWARD_NODE_VIA_NODE_ID = 0x04,      /* append whole Node-IDs to via lists (FW-F02) instead of compact opaques (FW-F03) */
	FORWARD_NODE_PUNT_DIAGNOSTICS = 0x08, /* FORWARD_PUNT for RFC 7851 messages instead of sending them on */
};

/* This node: its position in the ring and the settings of the overlay. */
struct forward_node {
	struct forward_id id;
	struct forward_id predecessor;
	__u32 overlay; /* header field */
	__u32 max_message_size;
	__u32 route_count; /* entries of the routing table */
	__u16 flags;	   /* enum forward_node_flags */
	__u8 initial_ttl;
	__u8 reserved;
};

enum forward_action {
	FORWARD_DROP,  /* count `reason`; answer with `error_code` unless it is 0 */
	FORWARD_LOCAL, /* for this node; a fragment when reason is PUNT_FRAGMENT */
	FORWARD_SEND,  /* edit and send over link `slot` */
	FORWARD_PUNT,  /* the fast path leaves it to userspace; never seen there */
};

enum forward_class {			    /* forwarding.md section 2 */
		     FORWARD_CLASS_UNKNOWN, /* header not understood */
		     FORWARD_CLASS_REQUEST,
		     FORWARD_CLASS_RESPONSE, /* answers and errors */
		     FORWARD_CLASS_INVALID,  /* code 0, 0x8000 to 0xfffe, or no room for a code */
		     FORWARD_CLASS_LATER,    /* later fragment: may be anything */
};

enum forward_append { FORWARD_APPEND_NONE, FORWARD_APPEND_COMPACT, FORWARD_APPEND_NODE };

enum forward_verdict_flags {
	FORWARD_CLOSE_LINK = 0x01, /* close the link it came on, after the error if there is one (FW-B04, FW-B05) */
	FORWARD_BACK = 0x02,	   /* the next hop is the previous hop (FW-E03) */
	FORWARD_DIAGNOSTIC = 0x04, /* PathTrack, or a Ping with extensions (RFC 7851) */
	FORWARD_REPLACE = 0x08,	   /* `replacement` goes in front of the destination list, as a node entry */
	FORWARD_NO_STATE = 0x10,   /* an option carries IGNORE_STATE_KEEPING (FW-C15) */
};

struct forward_verdict {
	struct forward_id replacement;	      /* with FORWARD_REPLACE */
	__u32 length;			      /* SEND: value of the length field */
	__u32 head_length;		      /* SEND: octets forward_edit() writes */
	__u32 rest_offset;		      /* SEND: where the part of the message starts that follows them unchanged */
	__u16 popped;			      /* octets to remove from the front of the destination list; also for LOCAL */
	__u16 slot;			      /* SEND: the next hop's link */
	__u16 via_length, destination_length; /* SEND: new values */
	__u16 error_code;		      /* error to send to the originator, 0: none (enum error_code) */
	__u16 opaque;			      /* FORWARD_APPEND_COMPACT: what to append to the via list */
	__u8 action;			      /* enum forward_action */
	__u8 reason;			      /* enum drop_reason */
	__u8 append;			      /* enum forward_append */
	__u8 ttl;			      /* SEND: new value */
	__u8 flags;			      /* enum forward_verdict_flags */
	__u8 reserved[7];
};

/* The header as read, in host order. */
struct forward_header {
	__u32 overlay;
	__u32 fragment;
	__u32 length;
	__u32 header_length;
	__u16 via_length, destination_length, options_length;
	__u16 code; /* message code; 0 when not visible */
	__u8 version, ttl;
	__u8 class; /* enum forward_class */
	__u8 reserved[5];
};

_Static_assert(sizeof(struct forward_id) == 16, "layout");
_Static_assert(sizeof(struct forward_link) == 24, "layout");
_Static_assert(sizeof(struct forward_route) == 24, "layout");
_Static_assert(sizeof(struct forward_node) == 48, "layout");
_Static_assert(sizeof(struct forward_verdict) == 56, "layout");
_Static_assert(sizeof(struct forward_header) == 32, "layout");

/* Why a message was dropped or handed to userspace: index of counters, label of metrics, line of `ringgatectl drops`. */
#define DROP_REASONS(X)                                                                                                            \
	X(0, NONE, none)                                                                                                           \
	/* spec/forwarding.md section 9 */                                                                                         \
	X(1, BAD_FRAME, bad_frame)                                                                                                 \
	X(2, SHORT, short)                                                                                                         \
	X(3, LEN_MISMATCH, len_mismatch)                                                                                           \
	X(4, BAD_TOKEN, bad_token)                                                                                                 \
	X(5, BAD_VERSION, bad_version)                                                                                             \
	X(6, BAD_OVERLAY, bad_overlay)                                                                                             \
	X(7, TOO_LARGE, too_large)                                                                                                 \
	X(8, HDR_TOO_LARGE, hdr_too_large)                                                                                         \
	X(9, HDR_OVERRUN, hdr_overrun)                                                                                             \
	X(10, TTL_ABOVE_MAX, ttl_above_max)                                                                                        \
	X(11, TTL_ZERO, ttl_zero)                                                                                                  \
	X(12, FRAG_HIGHBIT, frag_highbit)                                                                                          \
	X(13, FRAG_RANGE, frag_range) /* FW-B10 */                                                                                 \
	X(14, UNBOUND_MULTI_ID, unbound_multi_id)                                                                                  \
	X(15, VIA_RESOURCE, via_resource)                                                                                          \
	X(16, DEST_EMPTY, dest_empty)                                                                                              \
	X(17, DEST_BAD_TYPE, dest_bad_type)                                                                                        \
	X(18, DEST_DUP, dest_dup)                                                                                                  \
	X(19, OPT_CRITICAL, opt_critical)                                                                                          \
	X(20, OPAQUE_UNKNOWN, opaque_unknown)                                                                                      \
	X(21, OPAQUE_STALE, opaque_stale)                                                                                          \
	X(22, RES_NOT_LAST, res_not_last)                                                                                          \
	X(23, NODE_IN_RANGE_UNREACHABLE, node_in_range_unreachable)                                                                \
	X(24, NOT_ROUTING, not_routing)                                                                                            \
	X(25, NO_NEXT_HOP, no_next_hop)                                                                                            \
	X(26, WOULD_EXCEED_MAX, would_exceed_max)                                                                                  \
	X(27, LINK_DOWN, link_down)                                                                                                \
	X(28, LIST_TOO_LONG, list_too_long) /* more entries than we look at */                                                     \
	/* handed to userspace by the fast path */                                                                                 \
	X(29, PUNT_LOCAL, punt_local)                                                                                              \
	X(30, PUNT_ERROR, punt_error)                                                                                              \
	X(31, PUNT_STATE, punt_state)                                                                                              \
	X(32, PUNT_FRAGMENT, punt_fragment)                                                                                        \
	X(33, PUNT_DIAG, punt_diag)                                                                                                \
	X(34, PUNT_MTU, punt_mtu)                                                                                                  \
	/* links */                                                                                                                \
	X(35, LINK_UNKNOWN, link_unknown)                                                                                          \
	X(36, LINK_REPLAY, link_replay)                                                                                            \
	X(37, LINK_BAD_TAG, link_bad_tag)                                                                                          \
	X(38, LINK_CONGESTION, link_congestion)	    /* queue of the link full */                                                   \
	X(39, LINK_MESSAGE_SIZE, link_message_size) /* does not fit a datagram and may not be split */                             \
	X(40, LINK_ERROR, link_error)                                                                                              \
	X(41, SHIELD, shield)		/* not STUN, no handshake, no known link */                                                \
	X(42, SHIELD_RATE, shield_rate) /* handshakes of one prefix above the limit */                                             \
	X(43, ACCESS_LIST, access_list)                                                                                            \
	/* messages for this node */                                                                                               \
	X(44, MALFORMED, malformed) /* contents or security block do not parse */                                                  \
	X(45, BAD_SIGNATURE, bad_signature)                                                                                        \
	X(46, UNTRUSTED_CERTIFICATE, untrusted_certificate)                                                                        \
	X(47, WRONG_SIGNER, wrong_signer)     /* answer not from who was asked */                                                  \
	X(48, NO_TRANSACTION, no_transaction) /* answer to nothing we asked */                                                     \
	X(49, DUPLICATE, duplicate)	      /* retransmission of a request still being worked on */                              \
	X(50, REQUEST_LIMIT, request_limit)                                                                                        \
	X(51, UNKNOWN_METHOD, unknown_method)                                                                                      \
	X(52, CONFIG_MISMATCH, config_mismatch)                                                                                    \
	X(53, REASSEMBLY_LIMIT, reassembly_limit)                                                                                  \
	X(54, REASSEMBLY_CONFLICT, reassembly_conflict)                                                                            \
	X(55, REASSEMBLY_TIMEOUT, reassembly_timeout)                                                                              \
	X(56, REASSEMBLY_TOO_LARGE, reassembly_too_large)                                                                          \
	X(57, ERROR_RATE, error_rate) /* error response not made: above the limit per second */                                    \
	X(58, NO_MEMORY, no_memory)                                                                                                \
	X(59, NO_DAEMON, no_daemon) /* for the daemon while none is running; acknowledged all the same */                          \
	/* bootstrap server */                                                                                                     \
	X(60, RELAY_REFUSED, relay_refused) /* not between a joining peer and a bootstrap peer, or not for joining */              \
	X(61, RELAY_LIMIT, relay_limit)                                                                                            \
	/* links again */                                                                                                          \
	X(62, LINK_FAR, link_far) /* record number far ahead of those that came, and too many of such */

enum drop_reason {
#define X(number, symbol, name) DROP_##symbol = number,
	DROP_REASONS(X)
#undef X
		DROP_REASON_COUNT,
};
_Static_assert(DROP_REASON_COUNT < 64, "counters have 64 places");

#ifndef __bpf__
/* The name of section 9 of spec/forwarding.md; NULL for a number nobody uses. */
static inline const char *drop_reason_name(unsigned reason) {
	static const char *const names[DROP_REASON_COUNT] = {
#define X(number, symbol, name) [number] = #name,
		DROP_REASONS(X)
#undef X
	};

	return reason < DROP_REASON_COUNT ? names[reason] : 0;
}
#endif
