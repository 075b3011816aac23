/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/bootstrap.h"

#include "base/cleanup.h"
#include "link/transport.h"

#include <errno.h>

const char *bootstrap_source_text(enum bootstrap_source source) {
	static const char *const texts[] = {"link of the other side", "peer cache",	 "multicast DNS", "multicast", "settings",
					    "configuration document", "bootstrap server"};

	return (size_t)source < sizeof(texts) / sizeof(texts[0]) ? texts[source] : "unknown";
}

const char *bootstrap_state_text(enum bootstrap_state state) {
	static const char *const texts[] = {
		"waiting", "connecting", "asking through it", "not in the overlay itself", "no answer through it",
		"no link", "entered",	 "not needed"};

	return (size_t)state < sizeof(texts) / sizeof(texts[0]) ? texts[state] : "unknown";
}

static bool unfinished(const struct bootstrap_candidate *candidate) {
	return candidate->state == BOOTSTRAP_CONNECTING || candidate->state == BOOTSTRAP_VERIFYING;
}

static uint64_t now(const struct bootstrap *bootstrap) {
	return bootstrap->runtime->now_us;
}

/* ---- whose turn it is ---- */

static bool eligible(const struct bootstrap *bootstrap, const struct bootstrap_candidate *candidate) {
	if (candidate->state != BOOTSTRAP_WAITING)
		return false;
	if (candidate->source != BOOTSTRAP_SERVER || now(bootstrap) >= bootstrap->begun_us + BOOTSTRAP_SERVER_MS * USEC_PER_MSEC)
		return true;
	/* Everybody shares the server: it is asked early only when nobody else is left. */
	for (size_t i = 0; i < bootstrap->count; i++)
		if (bootstrap->candidates[i].source != BOOTSTRAP_SERVER &&
		    (bootstrap->candidates[i].state == BOOTSTRAP_WAITING || unfinished(&bootstrap->candidates[i])))
			return false;
	return now(bootstrap) >= bootstrap->open_until_us;
}

static struct bootstrap_candidate *of_source(struct bootstrap *bootstrap, enum bootstrap_source source) {
	struct bootstrap_candidate *found = NULL;

	for (size_t i = 0; i < bootstrap->count; i++) {
		struct bootstrap_candidate *candidate = &bootstrap->candidates[i];
		if (candidate->source != source || !eligible(bootstrap, candidate))
			continue;
		if (candidate->address.family != bootstrap->last_family)
			return candidate;
		if (!found)
			found = candidate;
	}
	return found;
}

static struct bootstrap_candidate *choose(struct bootstrap *bootstrap) {
	for (unsigned i = 0; i < BOOTSTRAP_SOURCES; i++) {
		enum bootstrap_source source = (enum bootstrap_source)((bootstrap->turn + i) % BOOTSTRAP_SOURCES);
		struct bootstrap_candidate *candidate = of_source(bootstrap, source);
		if (!candidate)
			continue;
		bootstrap->turn = (enum bootstrap_source)((source + 1) % BOOTSTRAP_SOURCES);
		return candidate;
	}
	return NULL;
}

static bool room(const struct bootstrap *bootstrap) {
	size_t fresh = 0, open = 0;

	for (size_t i = 0; i < bootstrap->count; i++) {
		if (!unfinished(&bootstrap->candidates[i]))
			continue;
		open++;
		fresh += bootstrap->candidates[i].state == BOOTSTRAP_CONNECTING &&
			 now(bootstrap) - bootstrap->candidates[i].begun_us < BOOTSTRAP_SLOW_MS * USEC_PER_MSEC;
	}
	return fresh < BOOTSTRAP_FRESH_MAX && open < BOOTSTRAP_OPEN_MAX;
}

/* ---- attempts ---- */

static void wake(struct bootstrap *bootstrap, uint64_t due_us) {
	if (!bootstrap->timer.armed || bootstrap->timer.due_us > due_us)
		timer_arm(bootstrap->runtime, &bootstrap->timer, due_us);
}

static void finish(struct bootstrap *bootstrap, struct bootstrap_candidate *candidate, enum bootstrap_state state) {
	candidate->state = state;
	candidate->took_us = now(bootstrap) - candidate->begun_us;
	if (!bootstrap->running || bootstrap->paused)
		return;
	uint64_t soon_us = now(bootstrap) + BOOTSTRAP_AFTER_FAILURE_MS * USEC_PER_MSEC;
	if (bootstrap->next_attempt_us > soon_us)
		bootstrap->next_attempt_us = soon_us;
	wake(bootstrap, now(bootstrap)); /* not from within a callback of the links: the slot is only free when it returns */
}

static void verify(struct bootstrap *bootstrap, struct bootstrap_candidate *candidate) {
	candidate->state = BOOTSTRAP_VERIFYING;
	candidate->deadline_us = now(bootstrap) + BOOTSTRAP_VERIFY_MS * USEC_PER_MSEC;
	wake(bootstrap, candidate->deadline_us);
	bootstrap->ops.verify(bootstrap->ops.userdata, candidate->slot, candidate->begun_us);
}

static void attempt(struct bootstrap *bootstrap, struct bootstrap_candidate *candidate) {
	uint16_t slot = LINK_SLOT_NONE;

	bootstrap->last_family = candidate->address.family;
	bootstrap->next_attempt_us = now(bootstrap) + BOOTSTRAP_STAGGER_MS * USEC_PER_MSEC;
	candidate->begun_us = now(bootstrap);
	int error = bootstrap->ops.connect(bootstrap->ops.userdata, &candidate->address, &slot);
	if (error < 0 && error != -EISCONN) {
		candidate->why = bootstrap->ops.error_text(error);
		finish(bootstrap, candidate, BOOTSTRAP_FAILED);
		return;
	}
	candidate->slot = slot;
	candidate->state = BOOTSTRAP_CONNECTING;
	if (error == -EISCONN)
		verify(bootstrap, candidate);
}

/* Two addresses may lead to one link. */
static bool slot_shared(const struct bootstrap *bootstrap, const struct bootstrap_candidate *candidate) {
	for (size_t i = 0; i < bootstrap->count; i++)
		if (&bootstrap->candidates[i] != candidate && bootstrap->candidates[i].slot == candidate->slot &&
		    bootstrap->candidates[i].state != BOOTSTRAP_FAILED && bootstrap->candidates[i].state != BOOTSTRAP_PASSED)
			return true;
	return false;
}

/* Those still opening are given up; links that are up stay, they may be of use to the other side. */
static void cancel(struct bootstrap *bootstrap) {
	for (size_t i = 0; i < bootstrap->count; i++) {
		struct bootstrap_candidate *candidate = &bootstrap->candidates[i];
		if (!unfinished(candidate))
			continue;
		bool close = candidate->state == BOOTSTRAP_CONNECTING && !slot_shared(bootstrap, candidate);
		uint16_t slot = candidate->slot;
		candidate->state = BOOTSTRAP_PASSED;
		candidate->took_us = now(bootstrap) - candidate->begun_us;
		candidate->slot = LINK_SLOT_NONE;
		if (close)
			bootstrap->ops.close(bootstrap->ops.userdata, slot);
	}
}

static void expire(struct bootstrap *bootstrap) {
	for (size_t i = 0; i < bootstrap->count; i++) {
		struct bootstrap_candidate *candidate = &bootstrap->candidates[i];
		if (candidate->state == BOOTSTRAP_VERIFYING && candidate->deadline_us <= now(bootstrap))
			finish(bootstrap, candidate, candidate->outside ? BOOTSTRAP_OUTSIDE : BOOTSTRAP_SILENT);
	}
}

static bool is_over(const struct bootstrap *bootstrap) {
	if (now(bootstrap) < bootstrap->open_until_us)
		return false;
	for (size_t i = 0; i < bootstrap->count; i++)
		if (bootstrap->candidates[i].state == BOOTSTRAP_WAITING || unfinished(&bootstrap->candidates[i]))
			return false;
	return true;
}

static void arm(struct bootstrap *bootstrap, bool waiting) {
	uint64_t due_us = USEC_NEVER;

	for (size_t i = 0; i < bootstrap->count; i++)
		if (bootstrap->candidates[i].state == BOOTSTRAP_VERIFYING && bootstrap->candidates[i].deadline_us < due_us)
			due_us = bootstrap->candidates[i].deadline_us;
	if (now(bootstrap) < bootstrap->open_until_us && bootstrap->open_until_us < due_us)
		due_us = bootstrap->open_until_us;
	if (waiting) {
		/* With no room, or only the server left: looked at again after a stagger. */
		uint64_t next_us = bootstrap->next_attempt_us > now(bootstrap)
					   ? bootstrap->next_attempt_us
					   : now(bootstrap) + BOOTSTRAP_STAGGER_MS * USEC_PER_MSEC;
		if (next_us < due_us)
			due_us = next_us;
	}
	if (due_us != USEC_NEVER)
		timer_arm(bootstrap->runtime, &bootstrap->timer, due_us);
}

static void step(struct timer *timer, void *userdata) {
	struct bootstrap *bootstrap = userdata;
	struct bootstrap_candidate *candidate;
	bool waiting = false;

	(void)timer;
	if (!bootstrap->running || bootstrap->paused)
		return;
	expire(bootstrap);
	while (now(bootstrap) >= bootstrap->next_attempt_us && room(bootstrap) && (candidate = choose(bootstrap)))
		attempt(bootstrap, candidate);
	if (is_over(bootstrap)) {
		bootstrap_end(bootstrap);
		bootstrap->ops.over(bootstrap->ops.userdata);
		return;
	}
	for (size_t i = 0; i < bootstrap->count; i++)
		waiting = waiting || bootstrap->candidates[i].state == BOOTSTRAP_WAITING;
	arm(bootstrap, waiting);
}

/* ---- interface ---- */

void bootstrap_init(struct bootstrap *bootstrap, struct runtime *runtime, const struct bootstrap_ops *ops) {
	*bootstrap = (struct bootstrap){.runtime = runtime, .ops = *ops};
	timer_init(&bootstrap->timer, step, bootstrap);
}

void bootstrap_release(struct bootstrap *bootstrap) {
	bootstrap->running = false;
	timer_disarm(bootstrap->runtime, &bootstrap->timer);
}

void bootstrap_begin(struct bootstrap *bootstrap, unsigned open_ms) {
	bootstrap_end(bootstrap);
	bootstrap->count = 0;
	bootstrap->turn = BOOTSTRAP_LINKED;
	bootstrap->last_family = 0;
	bootstrap->running = true;
	bootstrap->begun_us = bootstrap->next_attempt_us = now(bootstrap);
	bootstrap->open_until_us = now(bootstrap) + open_ms * USEC_PER_MSEC;
	timer_arm_after(bootstrap->runtime, &bootstrap->timer, 0);
}

int bootstrap_add(struct bootstrap *bootstrap, enum bootstrap_source source, const struct address *address) {
	size_t of_same = 0;

	if (!bootstrap->running)
		return -ESRCH;
	for (size_t i = 0; i < bootstrap->count; i++) {
		if (address_same(&bootstrap->candidates[i].address, address))
			return -EEXIST;
		of_same += bootstrap->candidates[i].source == source;
	}
	if (bootstrap->count == BOOTSTRAP_CANDIDATES_MAX || of_same == BOOTSTRAP_PER_SOURCE_MAX)
		return -ENOSPC;
	bootstrap->candidates[bootstrap->count++] =
		(struct bootstrap_candidate){.address = *address, .source = source, .slot = LINK_SLOT_NONE};
	if (!bootstrap->paused)
		wake(bootstrap, bootstrap->next_attempt_us > now(bootstrap) ? bootstrap->next_attempt_us : now(bootstrap));
	return 0;
}

void bootstrap_end(struct bootstrap *bootstrap) {
	bootstrap->running = bootstrap->paused = false;
	timer_disarm(bootstrap->runtime, &bootstrap->timer);
	cancel(bootstrap);
}

void bootstrap_resume(struct bootstrap *bootstrap) {
	if (!bootstrap->running || !bootstrap->paused)
		return;
	bootstrap->paused = false;
	timer_arm_after(bootstrap->runtime, &bootstrap->timer, 0);
}

static struct bootstrap_candidate *in_slot(struct bootstrap *bootstrap, uint16_t slot, enum bootstrap_state state) {
	for (size_t i = 0; i < bootstrap->count; i++)
		if (bootstrap->candidates[i].slot == slot && bootstrap->candidates[i].state == state)
			return &bootstrap->candidates[i];
	return NULL;
}

void bootstrap_up(struct bootstrap *bootstrap, uint16_t slot) {
	struct bootstrap_candidate *candidate = in_slot(bootstrap, slot, BOOTSTRAP_CONNECTING);

	if (candidate)
		verify(bootstrap, candidate);
}

void bootstrap_down(struct bootstrap *bootstrap, uint16_t slot, const char *why) {
	for (size_t i = 0; i < bootstrap->count; i++) {
		struct bootstrap_candidate *candidate = &bootstrap->candidates[i];
		if (candidate->slot != slot)
			continue;
		candidate->slot = LINK_SLOT_NONE;
		candidate->why = why;
		if (unfinished(candidate))
			finish(bootstrap, candidate, BOOTSTRAP_FAILED);
	}
}

/* Of a peer nothing more is to be expected; a bootstrap server is never inside, and passes questions on. */
static void found_outside(struct bootstrap *bootstrap, struct bootstrap_candidate *candidate) {
	bool server = candidate->source == BOOTSTRAP_SERVER;
	uint64_t deadline_us = now(bootstrap) + (server ? BOOTSTRAP_RELAYED_MS : BOOTSTRAP_OUTSIDE_MS) * USEC_PER_MSEC;

	candidate->outside = true;
	if (server || candidate->deadline_us > deadline_us) {
		candidate->deadline_us = deadline_us;
		wake(bootstrap, deadline_us);
	}
}

void bootstrap_verdict(struct bootstrap *bootstrap, uint16_t slot, uint64_t serial, enum bootstrap_verdict verdict) {
	struct bootstrap_candidate *candidate = in_slot(bootstrap, slot, BOOTSTRAP_VERIFYING);

	if (!bootstrap->running || bootstrap->paused || !candidate || candidate->begun_us != serial)
		return;
	if (verdict == BOOTSTRAP_IS_OUTSIDE) {
		found_outside(bootstrap, candidate);
		return;
	}
	bootstrap->paused = true;
	timer_disarm(bootstrap->runtime, &bootstrap->timer);
	candidate->state = BOOTSTRAP_ENTERED;
	candidate->took_us = now(bootstrap) - candidate->begun_us;
	cancel(bootstrap);
	bootstrap->ops.won(bootstrap->ops.userdata, candidate);
}
