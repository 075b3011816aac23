/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Replication and the movement of records as the ring changes (RFC 6940 10.4, 10.5, 10.7.3, 6.4.2.3).
 *
 * Each Kind of a resource carries a mark "owned": we were responsible for it when it was last looked at. A scan after every change
 * of our range compares the mark with the present: what became ours is replicated, what was ours is offered to the new owner until
 * it has it, and what is neither ours nor near is dropped once the owner has it. The mark is on disk, so a restart does not lose an
 * owed offer.
 */
#include "storage/feed.h"

#include <errno.h>
#include <utlist.h>

static void send_copy(struct store *store, const struct changes *changes, const struct id *target, enum feed_purpose purpose) {
	struct changes copy;
	struct feed *feed;

	if (changes_copy(changes, &copy) < 0)
		return;
	if (feed_get(store, target, &feed) < 0)
		changes_release(&copy);
	else
		feed_add(feed, &copy, purpose);
}

void store_replicate(struct store *store, struct changes *changes, const struct id *not_to) {
	struct id holders[TOPOLOGY_REPLICAS_MAX];
	size_t count = changes->count > 0 ? store->topology->ops->replicas(store->topology, holders) : 0;

	for (size_t i = 0; i < count; i++) /* B-10.4-01 */
		if (!not_to || !id_equal(&holders[i], not_to))
			send_copy(store, changes, &holders[i], FEED_REPLICA);
	changes_release(changes);
}

static void send_to_owner(struct store *store, const struct id *resource_id, uint32_t kind, enum feed_purpose purpose) {
	struct changes changes = {.resource_id = *resource_id};
	struct id owner = ID_NONE;

	if (changes_add(&changes, kind, NULL) == 0)
		send_copy(store, &changes, &owner, purpose);
	changes_release(&changes);
}

void store_offer(struct store *store, const struct id *resource_id, uint32_t kind) {
	send_to_owner(store, resource_id, kind, FEED_OFFER); /* B-6.4.2.3-02 */
}

/* A copy that nobody expects here may still be the only one left: when rings merged, those that expected it did not belong to the
 * same one as the owner now. So the owner gets it before it is dropped. */
static int bid_farewell(struct store *store, const struct record_kind *entry) {
	struct id owner = ID_NONE;
	struct feed *feed;

	HASH_FIND(hh, store->feeds, &owner, sizeof(owner), feed);
	if (!feed || !feed_has_farewell(feed, &entry->resource_id, entry->kind))
		send_to_owner(store, &entry->resource_id, entry->kind, FEED_FAREWELL);
	return 0;
}

/* ---- what topology tells ---- */

/* Who joins is a new run of that peer: it answers nothing of what its former one was sent, and that must not hold back what it needs
 * now. Should it hold our replicas again, it gets all of them. */
static int feed_anew(struct store *store, const struct id *joiner, struct feed **ret) {
	struct feed *former;

	HASH_FIND(hh, store->feeds, joiner, sizeof(*joiner), former);
	bool unfinished = former;
	if (former)
		feed_free(former);
	int error = feed_get(store, joiner, ret);
	if (error == 0)
		(*ret)->incomplete = unfinished;
	return error;
}

void store_hand_over(struct store *store, const struct id *joiner, const struct id *from, const struct id *to,
		     void (*done)(void *done_userdata, int error), void *done_userdata) {
	struct walk walk = {.from = *from, .to = *to, .release = true, .done = done, .done_userdata = done_userdata};
	struct feed *feed;
	int error = feed_anew(store, joiner, &feed);

	if (error == 0)
		error = feed_walk(feed, &walk); /* B-10.5-05 */
	if (error < 0)
		done(done_userdata, error);
	/* Should the joiner not become the owner after all, its records are ours again. */
	store_scan_after(store, STORE_OFFER_RETRY_S * 1000);
}

void store_replicas_changed(struct store *store, const struct id *added, size_t count) {
	struct walk walk = {.own = true};

	for (size_t i = 0; i < count; i++) { /* B-10.7.3-03 */
		struct feed *feed;
		if (feed_get(store, &added[i], &feed) == 0 && feed_walk(feed, &walk) < 0)
			feed->incomplete = true;
	}
}

void store_owner_changed(struct store *store, const struct id *owner, const struct id *from, const struct id *to) {
	struct walk walk = {
		.from = *from,
		.to = *to,
		.offer = true,
		.not_before_us = store->runtime->now_us + STORE_OWNER_DELAY_S * USEC_PER_SEC,
	};
	struct feed *feed;

	if (feed_get(store, owner, &feed) == 0 && feed_walk(feed, &walk) < 0)
		feed->incomplete = true;
}

void store_range_changed(struct store *store) {
	store_scan_after(store, STORE_SCAN_DELAY_MS);
}

/* Looks at everything once copies may go. */
static void scan_for_farewells(struct store *store) {
	uint64_t left_us = store->scan.farewell_us - store->runtime->now_us;

	store_scan_after(store, (left_us + USEC_PER_MSEC - 1) / USEC_PER_MSEC); /* not before */
}

/*
 * Not pushed on by further changes, lest a copy that is the only one left never reaches the owner. Looked at again even if our own
 * range stays as it is: peers between the third and the first predecessor come and go without touching that.
 */
void store_copies_changed(struct store *store) {
	struct scan *scan = &store->scan;

	if (scan->farewell_us <= store->runtime->now_us)
		scan->farewell_us = store->runtime->now_us + STORE_FAREWELL_DELAY_S * USEC_PER_SEC;
	scan_for_farewells(store);
}

/* ---- the scan ---- */

static int scan_entry(struct store *store, const struct record_kind *entry) {
	struct topology *topology = store->topology;
	struct changes changes = {.resource_id = entry->resource_id};
	bool responsible = store_responsible(store, &entry->resource_id);
	int error;

	if (responsible && !entry->owned) {
		error = store_begin(store);
		if (error == 0)
			error = record_kind_own(store->database, &entry->resource_id, entry->kind, entry->generation, true);
		if (error >= 0)
			error = changes_add(&changes, entry->kind, NULL);
		if (error >= 0)
			store_replicate(store, &changes, NULL);
		return error;
	}
	if (!responsible && entry->owned) {
		store_offer(store, &entry->resource_id, entry->kind);
	} else if (!responsible && store->scan.farewell_us <= store->runtime->now_us &&
		   topology->ops->may_discard(topology, &entry->resource_id)) {
		if (overlay_config_kind(store_config(store), entry->kind))
			return bid_farewell(store, entry);
		error = store_begin(store); /* a Kind that is no more */
		return error < 0 ? error : record_discard(store->database, &entry->resource_id, entry->kind);
	}
	return 0;
}

static void scan_end(struct store *store) {
	struct scan *scan = &store->scan;

	scan->running = false;
	if (scan->again) {
		scan->again = false;
		store_scan_after(store, STORE_SCAN_DELAY_MS);
	} else if (scan->farewell_us > store->runtime->now_us) {
		scan_for_farewells(store);
	}
}

static void scan_step(struct store *store) {
	enum { NEXT_MS = 1, BUSY_MS = 100 };
	struct record_kind page[STORE_SCAN_PAGE];
	struct scan *scan = &store->scan;

	if (store->units > STORE_UNITS_MAX / 2) { /* let the feeds drain first */
		timer_arm_after(store->runtime, &scan->timer, BUSY_MS * USEC_PER_MSEC);
		return;
	}
	int count = record_kinds(store->database, &scan->resource_id, scan->kind, page, STORE_SCAN_PAGE), error = 0;
	for (int i = 0; i < count && error >= 0; i++)
		error = scan_entry(store, &page[i]);
	if (count > 0) {
		scan->resource_id = page[count - 1].resource_id;
		scan->kind = page[count - 1].kind;
	}
	if (count < 0 || error < 0) {
		store_database_failed(store, count < 0 ? count : error);
		scan->running = false;
		store_scan_after(store, STORE_OFFER_RETRY_S * 1000);
	} else if (count < STORE_SCAN_PAGE) {
		scan_end(store);
	} else {
		timer_arm_after(store->runtime, &scan->timer, NEXT_MS * USEC_PER_MSEC);
	}
}

static void on_scan(struct timer *timer, void *userdata) {
	struct store *store = userdata;
	struct scan *scan = &store->scan;

	(void)timer;
	if (!router_joined(store->router)) {
		/* Outside of the ring nothing is ours, and nobody's place is known. */
		scan->running = scan->again = false;
		return;
	}
	if (!scan->running) {
		scan->running = true;
		scan->resource_id = (struct id){.length = store_config(store)->node_id_length};
		scan->kind = 0;
	}
	scan_step(store);
}

void store_scan_init(struct store *store) {
	timer_init(&store->scan.timer, on_scan, store);
}

void store_scan_after(struct store *store, uint64_t delay_ms) {
	struct scan *scan = &store->scan;
	uint64_t due_us = store->runtime->now_us + delay_ms * USEC_PER_MSEC;

	if (scan->running)
		scan->again = true;
	else if (!scan->timer.armed || scan->timer.due_us > due_us)
		timer_arm(store->runtime, &scan->timer, due_us);
}

void store_replication_free(struct store *store) {
	struct feed *feed, *next;

	HASH_ITER (hh, store->feeds, feed, next)
		feed_free(feed);
}
