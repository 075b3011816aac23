/* SPDX-License-Identifier: BSD-2-Clause */
/* Fragments (RFC 6940 6.7): splitting at any node, reassembly at the destination only. Sans-I/O. */
#pragma once

#include "base/octets.h"
#include "base/runtime.h"
#include "layout.h"

#include <sys/uio.h>

enum {
	FRAGMENT_BODY_MIN = 256,        /* octets of body each piece carries at least (FW-S01) */
	FRAGMENT_PARTS_MAX = 4,
	FRAGMENT_FIXED = 38,
	REASSEMBLY_RANGES_MAX = 64,     /* gaps of one set, plus 1; a piece that would make more is dropped */
};

/* ---- splitting ---- */

/* Cuts one message or fragment into pieces; borrows the octets it was begun with. */
struct fragment_split {
	struct octets head, rest;       /* what is cut, in two parts as forward_edit() leaves them */
	size_t header_length;           /* octets of forwarding header in both together */
	size_t body_length;
	size_t count, next;             /* pieces, and the next one's number */
	uint32_t fragment;              /* field of the incoming header */
	bool oversize;                  /* larger than payload_max all the same: IP fragments it (FW-S03) */
};

struct fragment_piece {
	struct iovec parts[FRAGMENT_PARTS_MAX]; /* for transport_ops.send() */
	size_t part_count;
	size_t length;                  /* octets of all parts */
	uint8_t fixed[FRAGMENT_FIXED];  /* patched copy, parts[0] points here: do not move the structure while it is in use */
};

/*
 * Begins to cut the message `head` ‖ `rest` (head: at least the fixed header; rest may be empty) into pieces of at most
 * `payload_max` octets and equal size. A message that fits, or cannot be cut because a piece would not carry 256 octets of body,
 * is one piece. -EBADMSG when the lengths in the header contradict the octets.
 */
int fragment_split_begin(struct fragment_split *split, struct octets head, struct octets rest, size_t payload_max);

/* The next piece; false at the end. */
bool fragment_split_next(struct fragment_split *split, struct fragment_piece *ret);

/* ---- reassembly ---- */

struct reassembly_counters {
	uint64_t pieces;                /* handed in */
	uint64_t completed;
	uint64_t duplicates;            /* pieces that brought nothing new */
	uint64_t expired;               /* sets given up for time */
	uint64_t displaced;             /* sets that made room for newer ones (LIMIT_REASSEMBLY_SETS, _OCTETS) */
	uint64_t refused;               /* pieces refused: LIMIT_REASSEMBLY_PER_LINK, REASSEMBLY_RANGES_MAX, memory */
	uint64_t conflicts;             /* sets dropped because pieces contradicted each other */
	uint64_t too_large;             /* sets dropped because the whole exceeds max-message-size */
};

struct reassembly;
int reassembly_new(struct runtime *runtime, struct reassembly **ret);
struct reassembly *reassembly_free(struct reassembly *reassembly);

/* From the overlay configuration: sets live 5 × `reliability_timer_ms`; wholes may have `max_message_size` octets. Before
 * the first call 3000 ms and 5000 octets apply. Sets already begun keep their time. */
void reassembly_configure(struct reassembly *reassembly, uint32_t reliability_timer_ms, uint32_t max_message_size);

/* Called for each set dropped later on, not by the piece being added: DROP_REASSEMBLY_TIMEOUT or DROP_REASSEMBLY_LIMIT. */
void reassembly_on_drop(struct reassembly *reassembly, void (*dropped)(void *userdata, enum drop_reason reason), void *userdata);

/*
 * Adds one fragment whose verdict is FORWARD_LOCAL, received over link `slot`, with `popped` octets of its destination list
 * consumed by the verdict. Pieces of one message share the transaction_id, whichever link they come over; different remaining
 * destination lists drop the set, overlapping pieces must agree. The link over which a set began is charged for it.
 *
 * 1: complete; *ret (malloc'ed, the caller's) is the unfragmented message: the header of the piece with offset 0 with fragment
 * field 0xc0000000 and length of the whole, so that it decodes like one that was never cut. 0: kept, more to come. Negative: the
 * piece was dropped, and with -EBADMSG (contradiction) and -EMSGSIZE (too large) its set as well; -EINVAL not a fragment or
 * malformed; -ENOBUFS a limit; -ENOMEM.
 */
int reassembly_add(struct reassembly *reassembly, uint16_t slot, struct octets piece, size_t popped, uint8_t **ret, size_t *ret_length);

/* Counter for a negative result of reassembly_add(). */
enum drop_reason reassembly_drop_reason(int error);

/* The link is gone: its slot may be given to another, which is not charged for sets begun here. */
void reassembly_link_down(struct reassembly *reassembly, uint16_t slot);

const struct reassembly_counters *reassembly_counters(const struct reassembly *reassembly);
size_t reassembly_sets(const struct reassembly *reassembly);
size_t reassembly_octets(const struct reassembly *reassembly);
