/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Peers behind a multicast address (RFC 7890 5.4: a multicast-bootstrap address). RFC 6940 dropped the element and its procedure,
 * so the address is a setting, and the procedure is the one its drafts had: a joining peer sends a signed Ping for the wildcard
 * Node-ID to the group, and peers of the overlay answer it from the port of their links, which is where a link can be opened.
 * Sans-I/O.
 *
 * An answer goes out only to a trusted signature, is about as long as the request, and at most MULTICAST_ANSWERS_PER_SECOND leave;
 * the same request is answered once.
 */
#pragma once

#include "forward/router.h"

enum {
	MULTICAST_OCTETS_MAX = 8192,	   /* of a message */
	MULTICAST_ANSWERS_PER_SECOND = 10, /* requests looked at; more are dropped unread */
	MULTICAST_ANSWERS_BURST = 20,
	MULTICAST_ANSWERS_READ_MAX = 64, /* answers to one request that are looked at */
	MULTICAST_REMEMBERED = 64,	 /* requests answered lately */
};

struct multicast {
	struct router *router;
	uint64_t transaction_id; /* of our request; 0: none */
	unsigned read;
	uint64_t paid_us; /* rate_take(): answers */
	uint64_t answered[MULTICAST_REMEMBERED];
	size_t next_answered;
	struct {
		uint64_t received, limited, refused, answered, found;
	} figures;
};

void multicast_init(struct multicast *multicast, struct router *router);

/* A new request; answers to earlier ones no longer count. */
int multicast_request(struct multicast *multicast, struct writer *w);
void multicast_request_end(struct multicast *multicast);

/* A datagram of the group: 0 and the answer in `w`, or -EAGAIN above the limit, -EBADMSG, -EKEYREJECTED, -EALREADY. */
int multicast_answer(struct multicast *multicast, struct octets datagram, struct writer *w);

/* A datagram to our request's socket: 0 when its source is a peer of the overlay. */
int multicast_accept(struct multicast *multicast, struct octets datagram);
