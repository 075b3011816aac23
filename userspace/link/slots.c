/* SPDX-License-Identifier: BSD-2-Clause */
#include "link/slots.h"

#include <errno.h>
#include <string.h>

void link_slots_init(struct link_slots *slots, const struct runtime *runtime, uint16_t limit) {
	memset(slots, 0, sizeof(*slots));
	slots->limit = limit;
	slots->next = (uint16_t)runtime_random_below(runtime, limit);
	runtime_random(runtime, slots->generations, sizeof(slots->generations));
	for (size_t i = 0; i < LINK_SLOTS_MAX; i++)
		slots->generations[i] %= LINK_GENERATIONS;
}

int link_slots_take(struct link_slots *slots, uint16_t *ret) {
	for (unsigned tried = 0; tried < slots->limit; tried++) {
		uint16_t slot = slots->next;
		slots->next = (uint16_t)((slot + 1) % slots->limit);
		if (slots->holders[slot] > 0)
			continue;
		slots->holders[slot] = 1;
		*ret = slot;
		return 0;
	}
	return -ENOBUFS;
}

int link_slots_claim(struct link_slots *slots, uint16_t slot, uint8_t generation) {
	if (slot >= slots->limit || slots->holders[slot] > 0)
		return -EBUSY;
	slots->holders[slot] = 1;
	slots->generations[slot] = generation % LINK_GENERATIONS;
	return 0;
}

void link_slots_hold(struct link_slots *slots, uint16_t slot) {
	slots->holders[slot]++;
}

void link_slots_release(struct link_slots *slots, uint16_t slot) {
	if (--slots->holders[slot] == 0)
		slots->generations[slot] = (slots->generations[slot] + 1) % LINK_GENERATIONS;
}
