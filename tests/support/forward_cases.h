/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The decision table of spec/forwarding.md as cases: packet in, tables, verdict, packet out. The same cases run through
 * bpf/forward.h in userspace and through BPF_PROG_RUN in the kernel.
 */
#pragma once

#include "layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FORWARD_CASE_OCTETS = 6144,
	FORWARD_CASE_SLOTS = 16,
	FORWARD_CASE_ROUTES = 8,
	FORWARD_CASE_OVERLAY = 0x9aa32b8d,
	FORWARD_CASE_MAX_MESSAGE = 1800, /* small enough that every case but those above it fits a packet */
};

/* A message in words. Lists are entries with spaces between them, in hexadecimal where digits stand:
 *   nXX node, rXX resource: first octet XX, see forward_case_id()     *    the wildcard Node-ID
 *   oG.SSS compact opaque, generation and slot                        tG.SSS the same as a TLV opaque of two octets
 *   xHHHH… these octets                                               cN   N compact opaques, all different
 *   zN    an entry of unknown type with N octets
 * Options: TT/FF=N type, flags, N octets of value. */
struct forward_message {
	uint8_t ttl;
	uint16_t code;
	uint32_t fragment; /* 0: an unfragmented message */
	const char *via, *destinations, *options;
	const char *body;	 /* octets behind the header in hexadecimal; NULL: code, empty body, no extensions, filler */
	size_t size;		 /* octets of the whole, by more filler; 0: as it comes */
	uint64_t transaction_id; /* 0: some number */
};

struct forward_patch {
	uint16_t offset; /* in the message once built */
	uint8_t width;	 /* 0: no patch; 1, 2 or 4 */
	uint32_t value;
};

struct forward_case {
	const char *row, *text; /* row of spec/forwarding.md */
	uint16_t arrival;	/* slot; 0: slot 1 */
	struct forward_message in;
	struct forward_patch patch[3];
	int resize;		       /* octets added to (or cut from) the end after building, the length field untouched */
	uint16_t set_node, clear_node; /* enum forward_node_flags changed */
	uint32_t max_message_size;     /* 0: FORWARD_CASE_MAX_MESSAGE */
	uint16_t without_slots;	       /* bit n: there is no link in slot n */
	uint16_t down_slots;	       /* bit n: the link in slot n is not up */
	bool no_routes, own;

	uint8_t action, reason, flags; /* expected; FORWARD_DROP is 0 */
	uint16_t error_code;
	uint16_t slot, popped;
	struct forward_message out; /* fields left out are those of `in`; lists that are NULL as well; "" is the empty list */
	bool fast_punts;	    /* the fast path's bounds are narrower: FORWARD_PUNT there */
};

extern const struct forward_case forward_cases[];
extern const size_t forward_case_count;

/* Octets of a case's message; returns how many. `out`: what is expected to be sent. */
size_t forward_case_build(const struct forward_case *c, uint8_t octets[static FORWARD_CASE_OCTETS]);
size_t forward_case_build_out(const struct forward_case *c, uint8_t octets[static FORWARD_CASE_OCTETS]);
size_t forward_message_build(const struct forward_message *message, uint8_t octets[static FORWARD_CASE_OCTETS]);

/* The id of nXX and rXX: first octet `first`, then a pattern. */
struct forward_id forward_case_id(uint8_t first);

/* The tables of a case. The node is n80 with predecessor n60. Slots: see forward_cases.c. */
struct forward_node forward_case_node(const struct forward_case *c);
struct forward_link forward_case_arrival(const struct forward_case *c);
size_t forward_case_links(const struct forward_case *c, struct forward_link links[static FORWARD_CASE_SLOTS]);
size_t forward_case_routes(const struct forward_case *c, struct forward_route routes[static FORWARD_CASE_ROUTES]);
