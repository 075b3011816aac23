/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which links have rings of pads. The kernel asks for a link when it has sent many records; the worker's thread, which it wakes,
 * hands questions of links without rings on to the daemon's thread, which gives rings away and takes them back.
 */
#include "base/log.h"
#include "fastpath/engine_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* In the worker's thread. */
static int on_event(void *userdata, void *data, size_t size) {
	struct fastpath *f = userdata;
	struct fastpath_event event;

	if (size < sizeof(event))
		return 0;
	memcpy(&event, data, sizeof(event));
	if (event.type == FASTPATH_EVENT_ALONE) {
		__atomic_store_n(&f->missed, true, __ATOMIC_RELAXED);
		eventfd_write(f->asked_fd, 1);
		return 0;
	}
	if (event.type != FASTPATH_EVENT_PADS || event.slot >= LAYOUT_SLOTS_MAX ||
	    __atomic_load_n(&f->tables->slots[event.slot].tx_ring, __ATOMIC_RELAXED) != FASTPATH_RING_NONE)
		return 0;
	__atomic_fetch_or(&f->asked[event.slot / 64], UINT64_C(1) << (event.slot % 64), __ATOMIC_RELAXED);
	eventfd_write(f->asked_fd, 1);
	return 0;
}

/* In the worker's thread. */
static void drain(void *userdata) {
	struct fastpath *f = userdata;

	ring_buffer__consume(f->events);
}

static uint64_t progress_of(const struct fastpath *f, uint16_t number) {
	const struct fastpath_record *record = &f->tables->slots[number].record;

	return __atomic_load_n(&record->tx_next, __ATOMIC_RELAXED) + __atomic_load_n(&record->rx_end, __ATOMIC_RELAXED);
}

void hot_release(struct fastpath *f, uint16_t number) {
	struct shared_link *link = &f->links[number];

	if (!link->pads)
		return;
	link->pads = pad_worker_remove(f->worker, link->pads, true);
	f->rings_used[link->ring / 2 / 64] &= ~(UINT64_C(1) << (link->ring / 2 % 64));
}

static void give_rings(struct fastpath *f, uint16_t number);

/* No program reads the pads of that link any more. */
void hot_rings_free(void *userdata) {
	const struct shared_link *link = userdata;
	struct fastpath *f = link->fastpath;
	uint16_t number = f->rings_for;

	hot_release(f, link_number(link));
	f->rings_for = LAYOUT_SLOT_NONE;
	if (number != LAYOUT_SLOT_NONE)
		give_rings(f, number);
}

/* One link at a time; the others ask again. */
static void take_rings(struct fastpath *f, uint16_t from, uint16_t number) {
	struct fastpath_slot *slot = &f->tables->slots[from];

	__atomic_store_n(&slot->rx_ring, FASTPATH_RING_NONE, __ATOMIC_RELEASE);
	__atomic_store_n(&slot->tx_ring, FASTPATH_RING_NONE, __ATOMIC_RELEASE);
	f->rings_for = number;
	grace_begin(f->grace, &f->links[from].losing_rings);
}

/* Two rings nobody has. If there are none, those of the link that was idle longest, if any was, will be free soon. */
static bool find_rings(struct fastpath *f, uint16_t number, uint16_t *ret) {
	uint16_t idlest = LAYOUT_SLOT_NONE;

	for (uint16_t pair = 0; pair < f->tables->rings / 2; pair++) {
		if (f->rings_used[pair / 64] >> (pair % 64) & 1)
			continue;
		*ret = (uint16_t)(2 * pair);
		return true;
	}
	if (f->rings_for != LAYOUT_SLOT_NONE)
		return false;
	for (uint16_t slot = 0; slot < LAYOUT_SLOTS_MAX; slot++)
		if (f->links[slot].pads && f->links[slot].attached && f->links[slot].idle >= FASTPATH_HOT_IDLE_CHECKS &&
		    (idlest == LAYOUT_SLOT_NONE || f->links[slot].idle > f->links[idlest].idle))
			idlest = slot;
	if (idlest != LAYOUT_SLOT_NONE)
		take_rings(f, idlest, number);
	return false;
}

static void give_rings(struct fastpath *f, uint16_t number) {
	struct fastpath_slot *slot = &f->tables->slots[number];
	struct shared_link *link = &f->links[number];
	uint16_t ring;

	if (f->stopped || !link->reachable || link->pads || !find_rings(f, number, &ring))
		return; /* `wanted` stays set until the next look: no questions meanwhile */
	struct pad_link_config config = {
		.slot = slot,
		.rx_pads = f->tables->pads + (size_t)ring * FASTPATH_PAD_RING,
		.tx_pads = f->tables->pads + (size_t)(ring + 1) * FASTPATH_PAD_RING,
	};
	int error = pad_worker_add(f->worker, &config, &link->pads);
	if (error < 0) {
		log_warning("Link %u gets no pads: %s.", number, strerror(-error));
		return;
	}
	f->rings_used[ring / 2 / 64] |= UINT64_C(1) << (ring / 2 % 64);
	link->ring = ring;
	link->idle = 0;
	link->progress = progress_of(f, number);
	__atomic_store_n(&slot->rx_ring, ring, __ATOMIC_RELEASE);
	__atomic_store_n(&slot->tx_ring, (uint16_t)(ring + 1), __ATOMIC_RELEASE);
	log_debug("Link %u has pads.", number);
}

void hot_adopt(struct fastpath *f, uint16_t number) {
	struct fastpath_slot *slot = &f->tables->slots[number];
	struct shared_link *link = &f->links[number];
	uint32_t ring = slot->rx_ring;

	__atomic_store_n(&slot->wanted, 0, __ATOMIC_RELAXED);
	if (ring % 2 == 0 && ring + 1 == slot->tx_ring && ring + 1 < f->tables->rings &&
	    !(f->rings_used[ring / 2 / 64] >> (ring / 2 % 64) & 1)) {
		struct pad_link_config config = {
			.slot = slot,
			.rx_pads = f->tables->pads + (size_t)ring * FASTPATH_PAD_RING,
			.tx_pads = f->tables->pads + (size_t)(ring + 1) * FASTPATH_PAD_RING,
			.adopt = true,
		};
		if (pad_worker_add(f->worker, &config, &link->pads) == 0) {
			f->rings_used[ring / 2 / 64] |= UINT64_C(1) << (ring / 2 % 64);
			link->ring = (uint16_t)ring;
			link->progress = progress_of(f, number);
			if (!f->hot_timer.armed)
				timer_arm_after(f->runtime, &f->hot_timer, FASTPATH_HOT_CHECK_US);
			return;
		}
	}
	/* Half given or taken. Whoever gets these rings next gets them empty. */
	__atomic_store_n(&slot->rx_ring, FASTPATH_RING_NONE, __ATOMIC_RELEASE);
	__atomic_store_n(&slot->tx_ring, FASTPATH_RING_NONE, __ATOMIC_RELEASE);
}

void hot_ready(struct fastpath *f) {
	eventfd_t count;

	if (eventfd_read(f->asked_fd, &count) < 0)
		return;
	if (__atomic_exchange_n(&f->missed, false, __ATOMIC_RELAXED))
		adopt_alone(f);
	for (uint16_t word = 0; word < LAYOUT_SLOTS_MAX / 64; word++) {
		uint64_t asked = __atomic_exchange_n(&f->asked[word], 0, __ATOMIC_RELAXED);
		for (; asked; asked &= asked - 1)
			give_rings(f, (uint16_t)(64 * word + __builtin_ctzll(asked)));
	}
	if (!f->hot_timer.armed)
		timer_arm_after(f->runtime, &f->hot_timer, FASTPATH_HOT_CHECK_US);
}

static void hot_timer(struct timer *timer, void *userdata) {
	struct fastpath *f = userdata;

	for (uint16_t number = 0; number < LAYOUT_SLOTS_MAX; number++) {
		struct shared_link *link = &f->links[number];
		if (!link->attached || link->losing_rings.pending)
			continue;
		if (!link->pads) {
			__atomic_store_n(&f->tables->slots[number].wanted, 0, __ATOMIC_RELAXED); /* it may ask again */
			continue;
		}
		uint64_t progress = progress_of(f, number);
		link->idle = progress == link->progress ? link->idle + 1 : 0;
		link->progress = progress;
	}
	if (!f->stopped)
		timer_arm_after(f->runtime, timer, FASTPATH_HOT_CHECK_US);
}

int hot_new(struct fastpath *f) {
	timer_init(&f->hot_timer, hot_timer, f);
	f->asked_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->asked_fd < 0)
		return -errno;
	f->events = ring_buffer__new(f->tables->events, on_event, f, NULL);
	if (!f->events)
		return -errno;
	struct pad_wake wake = {.fd = f->tables->events, .drain = drain, .userdata = f};
	return pad_worker_start(&wake, &f->worker);
}

void hot_free(struct fastpath *f) {
	timer_disarm(f->runtime, &f->hot_timer);
	f->worker = pad_worker_stop(f->worker);
	ring_buffer__free(f->events);
	if (f->asked_fd >= 0)
		close(f->asked_fd);
}
