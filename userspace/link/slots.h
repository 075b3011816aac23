/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which link slots are taken, and their generations. Links of several kinds draw from one space, because a slot's number and
 * generation are what our opaque IDs carry (B-6.3.2.2-04). A slot may have more than one holder, for instance while a connection is
 * tried over two protocols at once; it is free again, with a new generation, when the last one lets go.
 */
#pragma once

#include "base/runtime.h"
#include "link/transport.h"

struct link_slots {
	uint16_t next, limit;
	uint8_t generations[LINK_SLOTS_MAX], holders[LINK_SLOTS_MAX];
};

/* `limit`: how many slots there are, at most LINK_SLOTS_MAX. */
void link_slots_init(struct link_slots *slots, const struct runtime *runtime, uint16_t limit);

/* A free slot with one holder. Slots rotate: an old opaque ID meets nobody for as long as possible. -ENOBUFS. */
int link_slots_take(struct link_slots *slots, uint16_t *ret);

/* Takes this slot with this generation, for a link that goes on after a restart. -EBUSY, also above the limit. */
int link_slots_claim(struct link_slots *slots, uint16_t slot, uint8_t generation);

/* One more, or one less, holder of a slot that is taken. */
void link_slots_hold(struct link_slots *slots, uint16_t slot);
void link_slots_release(struct link_slots *slots, uint16_t slot);
