/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Links over which frames of the kernel disappear. An interface may take what is redirected to it and not send it: a virtual one
 * whose other end is not set up for it, a driver whose queues for that are missing, a switch that does not like the address. Nobody
 * reports that; it shows by acks that do not come. Then the daemon serves the link, and after a while the kernel may try again with
 * a few messages. It is the same when the neighbor has another link-layer address and did not say so.
 */
#include "base/log.h"
#include "fastpath/engine_internal.h"

#include <inttypes.h>
#include <string.h>

static uint64_t acks_of(const struct fastpath *f, uint16_t number) {
	struct fastpath_link_counters counters;

	return fastpath_loader_link_counters(f->loader, number, &counters) < 0 ? 0 : counters.acks_received;
}

void mute_arm(struct fastpath *f) {
	uint64_t next_us = ports_check(f);

	if (next_us == 0)
		next_us = UINT64_MAX;
	for (size_t i = 0; i < LAYOUT_SLOTS_MAX; i++)
		if (f->links[i].attached && f->links[i].mute != LINK_SOUND && f->links[i].mute_until_us < next_us)
			next_us = f->links[i].mute_until_us;
	if (next_us != UINT64_MAX && !f->stopped)
		timer_arm(f->runtime, &f->mute_timer, next_us);
}

static void set_trial(struct fastpath *f, uint16_t number, bool on) {
	struct fastpath_slot *slot = &f->tables->slots[number];

	__atomic_store_n(&slot->trial_credits, on ? FASTPATH_TRIAL_MESSAGES : 0, __ATOMIC_RELEASE);
	if (on)
		__atomic_fetch_or(&slot->flags, (__u32)FASTPATH_SLOT_TRIAL, __ATOMIC_RELEASE);
	else
		__atomic_fetch_and(&slot->flags, ~(__u32)FASTPATH_SLOT_TRIAL, __ATOMIC_RELEASE);
}

static void begin_trial(struct fastpath *f, uint16_t number) {
	struct shared_link *link = &f->links[number];

	link->mute = LINK_ON_TRIAL;
	link->mute_until_us = f->runtime->now_us + FASTPATH_TRIAL_US;
	link->trial_acks = acks_of(f, number);
	link->trial_used = false;
	set_trial(f, number, true);
	ports_store_hop(f, number);
}

static void end_trial(struct fastpath *f, uint16_t number) {
	struct shared_link *link = &f->links[number];

	struct port *port = ports_of(f, link->hop.ifindex);

	link->mute = LINK_SOUND;
	link->sound_us = f->runtime->now_us;
	if (port)
		port->doubted = false;
	set_trial(f, number, false);
	log_notice("Link %u: what the kernel sends is acknowledged again.", number);
}

/* Are there links over the same neighbor whose frames are acknowledged? Then its address is right. */
static bool neighbor_proven(const struct fastpath *f, uint16_t number) {
	const struct shared_link *link = &f->links[number];

	for (size_t i = 0; i < LAYOUT_SLOTS_MAX; i++) {
		const struct shared_link *other = &f->links[i];
		if (i == number || !other->attached || !other->hop_known || other->mute != LINK_SOUND ||
		    other->hop.device != link->hop.device ||
		    memcmp(other->hop.destination, link->hop.destination, sizeof(link->hop.destination)) != 0)
			continue;
		uint64_t acked_us = *(const volatile __u64 *)&f->tables->slots[i].last_acked_ns / 1000;
		if (acked_us + FASTPATH_PROVEN_US > f->runtime->now_us)
			return true;
	}
	return false;
}

void mute_link(struct fastpath *f, uint16_t number, bool heard) {
	struct shared_link *link = &f->links[number];

	if (number >= LAYOUT_SLOTS_MAX || !link->attached || link->mute == LINK_MUTED || f->stopped)
		return;
	if (link->mute == LINK_SOUND && link->sound_us != 0 && f->runtime->now_us - link->sound_us > FASTPATH_MUTE_MAX_US)
		link->mutes = 0;
	if (link->mute == LINK_SOUND && !neighbor_proven(f, number))
		netwatch_doubt(f->netwatch, number);
	uint64_t wait_us = FASTPATH_MUTE_FIRST_US << link->mutes;
	if (wait_us > FASTPATH_MUTE_MAX_US)
		wait_us = FASTPATH_MUTE_MAX_US;
	else
		link->mutes++;
	link->mute = LINK_MUTED;
	link->mute_until_us = f->runtime->now_us + wait_us;
	set_trial(f, number, false);
	ports_store_hop(f, number);
	f->silences++;
	struct port *port = ports_of(f, link->hop.ifindex);
	if (port)
		port->doubted = true;
	log_notice("Link %u over %s: nothing that the kernel sends is acknowledged%s. The daemon serves this link; the kernel "
		   "tries again in "
		   "%" PRIu64 " s.",
		   number, port ? port->name : "an interface", heard ? ", though the other side lives" : "", wait_us / 1000000);
	mute_arm(f);
}

void mute_reset(struct fastpath *f, uint16_t number, bool doubted) {
	struct shared_link *link = &f->links[number];

	link->mutes = 0;
	if (!link->attached || (link->mute != LINK_MUTED && !doubted))
		return;
	begin_trial(f, number);
	mute_arm(f);
}

static void mute_timer(struct timer *timer, void *userdata) {
	struct fastpath *f = userdata;

	(void)timer;
	for (uint16_t number = 0; number < LAYOUT_SLOTS_MAX; number++) {
		struct shared_link *link = &f->links[number];
		if (!link->attached || link->mute == LINK_SOUND || link->mute_until_us > f->runtime->now_us)
			continue;
		if (link->mute == LINK_MUTED) {
			begin_trial(f, number);
		} else if (acks_of(f, number) != link->trial_acks) {
			end_trial(f, number);
		} else if (link->trial_used) {
			mute_link(f, number, false);
		} else {
			link->trial_used = *(volatile uint32_t *)&f->tables->slots[number].trial_credits < FASTPATH_TRIAL_MESSAGES;
			link->mute_until_us =
				f->runtime->now_us + (link->trial_used ? FASTPATH_TRIAL_ACKS_US : FASTPATH_TRIAL_PAUSE_US);
		}
	}
	mute_arm(f);
}

void mute_init(struct fastpath *f) {
	timer_init(&f->mute_timer, mute_timer, f);
}

void mute_free(struct fastpath *f) {
	timer_disarm(f->runtime, &f->mute_timer);
}
