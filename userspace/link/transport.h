/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the overlay code sees of links. The daemon implements it with DTLS (link/dtls.h), tests and the simulator with virtual
 * links.
 *
 * A link lives in a slot, 0 to LINK_SLOTS_MAX - 1; the slot and its generation are what our opaque IDs carry (B-6.3.2.2-04).
 */
#pragma once

#include "base/address.h"
#include "base/id.h"
#include "overlay/certificate.h"

#include <sys/uio.h>

enum {
	LINK_SLOTS_MAX = 4096, /* 12 bits of an opaque ID */
	LINK_GENERATIONS = 8,  /* 3 bits */
	LINK_SLOT_NONE = 0xffff,
	LINK_CANDIDATES_MAX = 8,
	LINK_SEND_PARTS_MAX = 8,
};

enum link_reason {
	LINK_CLOSED_BY_US,
	LINK_CLOSED_BY_PEER, /* close_notify */
	LINK_HANDSHAKE_FAILED,
	LINK_TIMED_OUT,	  /* no acknowledgement through all retransmissions, or silence */
	LINK_UNREACHABLE, /* hard ICMP error */
	LINK_PROTOCOL_ERROR,
	LINK_REVOKED,	    /* certificate no longer valid */
	LINK_NOT_PERMITTED, /* a client where there may be none */
};
const char *link_reason_text(enum link_reason reason);

enum link_send_flags {
	LINK_SEND_OWN = 1, /* our own message: resent until acknowledged; transit messages are sent once */
};

struct link_statistics {
	uint32_t rtt_us, rto_us;
	uint32_t window, in_flight, queued; /* messages */
	uint64_t sent, received, resent, octets_sent, octets_received;
	uint64_t last_received_us;
	const char *cipher;
	const char *protocol; /* name of the OverlayLinkType; NULL: a virtual link */
};

struct transport_events {
	void *userdata;

	/* The handshake is done and the certificate is trusted. `initiated`: we opened the link. */
	void (*up)(void *userdata, uint16_t slot, bool initiated);

	/* The slot is free for reuse when this returns. Also called when connect() fails later on. */
	void (*down)(void *userdata, uint16_t slot, enum link_reason reason);

	/* No acknowledgements any more, or again (B-6.6.3.1-05). The link still exists. */
	void (*suspect)(void *userdata, uint16_t slot, bool suspected);

	/* One RELOAD message or fragment; already acknowledged. `message` may be overwritten by the callee. */
	void (*receive)(void *userdata, uint16_t slot, uint8_t *message, size_t length);
};

struct transport_ops {
	/*
	 * Opens a link as (D)TLS client. Candidates are tried in order of preference; those with protocol IPPROTO_TCP are for TLS.
	 * `expected` (NULL: anyone): the peer's certificate must hold this Node-ID. Answers later with up() or down(). 0, -ENOBUFS
	 * all slots taken, -EAFNOSUPPORT.
	 */
	int (*connect)(void *transport, const struct address *candidates, size_t count, const struct id *expected,
		       uint16_t *ret_slot);

	/*
	 * Sends one message or fragment given in parts (at most LINK_SEND_PARTS_MAX); copied before return.
	 * 0, -ENOTCONN, -EMSGSIZE larger than payload_max, -EAGAIN congestion: the queue is full and the message was dropped.
	 */
	int (*send)(void *transport, uint16_t slot, const struct iovec *parts, size_t count, unsigned flags);

	/* close_notify, then down() before this returns. */
	void (*close)(void *transport, uint16_t slot, enum link_reason reason);

	/* Own addresses to offer in an Attach, best first. Returns how many. */
	size_t (*candidates)(void *transport, struct address *out, size_t max);

	/* Certificate of the other side, borrowed, valid while the link is up. */
	struct certificate *(*certificate)(void *transport, uint16_t slot);

	uint8_t (*generation)(void *transport, uint16_t slot);

	/* Address of the other side. */
	struct address (*address)(void *transport, uint16_t slot);

	/* Largest message or fragment, in octets, that one datagram on this link carries (B-6.7-03: PMTU − 32 − own overhead). */
	size_t (*payload_max)(void *transport, uint16_t slot);

	void (*statistics)(void *transport, uint16_t slot, struct link_statistics *ret);
};

/* A transport as handed to the overlay code. */
struct transport {
	const struct transport_ops *ops;
	void *object;
};
