/* SPDX-License-Identifier: BSD-2-Clause */
/* What the two sides of Attach share (RFC 6940 6.5.1); nobody outside includes it. */
#pragma once

#include "forward/internal.h"

/*
 * An Attach of ours. ASKED: the request is on its way. AWAITING: answered, the other side opens the link. YIELDED: the other side
 * has an Attach to us under way, and its link will be ours, too.
 */
enum attach_state { ATTACH_ASKED, ATTACH_AWAITING, ATTACH_YIELDED, ATTACH_ENDING };

struct attach {
	struct router *router;
	enum attach_state state;
	uint8_t *destination_list;
	size_t destination_length;
	unsigned flags;
	uint16_t via_slot;
	struct id target; /* ID_NONE as long as only a Resource-ID or the wildcard is known */
	struct transaction *transaction;
	bool update_owed; /* the other side asked for our Update, too */
	struct timer timer;
	attach_done done;
	void *userdata;
	struct attach *prev, *next;
};

/* Ends it: `done` is called. */
void attach_finish(struct attach *attach, int error, uint16_t slot, const struct id *peer);

/* The extension of a TCP candidate that others may connect to. */
enum { CANDIDATE_PASSIVE_SIZE = 18 };
struct octets candidate_passive(uint8_t out[static CANDIDATE_PASSIVE_SIZE]);

/* Encodes AttachReq or AttachAns with our candidates. -EADDRNOTAVAIL when there is none to offer. */
int attach_body(struct router *router, const char *role, bool send_update, struct writer *w);

/* What an Attach from `peer` means for one of ours to it (B-6.5.1.2-02, B-6.5.1.2-03). True: answer Error_In_Progress. */
bool attach_crossing(struct router *router, const struct id *peer, bool send_update);

/* No link to `peer` came of its Attach: those of ours that waited for it fail. */
void attach_yielded_failed(struct router *router, const struct id *peer);

/* The other side's Attach being worked on. */
void attach_answer_init(struct router *router);
void attach_answer_release(struct router *router);
struct id attach_answer_expected(const struct router *router, uint16_t slot);

/* The link to `peer` is up in `slot`. True: an Update is owed to it. */
bool attach_answer_link_up(struct router *router, uint16_t slot, const struct id *peer);
bool attach_answer_link_down(struct router *router, uint16_t slot);
