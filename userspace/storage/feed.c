/* SPDX-License-Identifier: BSD-2-Clause */
#include "storage/feed.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

static void pump(struct feed *feed);

static void on_timer(struct timer *timer, void *userdata) {
	(void)timer;
	pump(userdata);
}

int feed_get(struct store *store, const struct id *target, struct feed **ret) {
	struct feed *feed;

	HASH_FIND(hh, store->feeds, target, sizeof(*target), feed);
	if (!feed) {
		feed = calloc(1, sizeof(*feed));
		if (!feed)
			return -ENOMEM;
		feed->store = store;
		feed->target = *target;
		timer_init(&feed->timer, on_timer, feed);
		HASH_ADD(hh, store->feeds, target, sizeof(feed->target), feed);
		if (!feed->hh.tbl) {
			free(feed);
			return -ENOMEM;
		}
	}
	*ret = feed;
	return 0;
}

static void wake_at(struct feed *feed, uint64_t due_us) {
	if (!feed->timer.armed || feed->timer.due_us > due_us)
		timer_arm(feed->store->runtime, &feed->timer, due_us);
}

static void wake(struct feed *feed, uint64_t delay_ms) {
	wake_at(feed, feed->store->runtime->now_us + delay_ms * USEC_PER_MSEC);
}

static void drop_unit(struct feed *feed, struct unit *unit) {
	feed->store->units--;
	unit_free(unit);
}

/* Ends a walk; its units that are still around forget it. */
static void end_walk(struct feed *feed, struct walk *walk, int error) {
	struct unit *unit;

	DL_DELETE(feed->walks, walk);
	DL_FOREACH (feed->queue, unit)
		if (unit->walk == walk)
			unit->walk = NULL;
	DL_FOREACH (feed->active, unit)
		if (unit->walk == walk)
			unit->walk = NULL;
	if (walk->done)
		walk->done(walk->done_userdata, error);
	free(walk);
}

void feed_free(struct feed *feed) {
	struct store *store = feed->store;
	struct unit *unit, *next;
	struct walk *walk, *next_walk;

	timer_disarm(store->runtime, &feed->timer);
	HASH_DEL(store->feeds, feed);
	store_repair_cancel(store, feed);
	DL_FOREACH_SAFE (feed->queue, unit, next)
		drop_unit(feed, unit);
	DL_FOREACH_SAFE (feed->active, unit, next)
		drop_unit(feed, unit);
	DL_FOREACH_SAFE (feed->walks, walk, next_walk) {
		DL_DELETE(feed->walks, walk);
		if (walk->done) /* who waits for it holds memory until told */
			walk->done(walk->done_userdata, -ECANCELED);
		free(walk);
	}
	free(feed);
}

/* ---- walks ---- */

int feed_walk(struct feed *feed, const struct walk *template) {
	struct walk *walk;
	size_t count = 0;

	DL_COUNT(feed->walks, walk, count);
	walk = count < STORE_WALKS_MAX ? malloc(sizeof(*walk)) : NULL;
	if (!walk)
		return -ENOMEM;
	*walk = *template;
	if (walk->own)
		walk->from = walk->to = (struct id){.length = store_config(feed->store)->node_id_length};
	walk->resource_id = walk->from;
	walk->kind = UINT32_MAX; /* behind everything at `from`, which is not part of the range */
	DL_APPEND(feed->walks, walk);
	wake(feed, 0);
	return 0;
}

/* The next page behind the cursor. */
static int turn_page(struct feed *feed, struct walk *walk) {
	int count = record_kinds(feed->store->database, &walk->resource_id, walk->kind, walk->page, ARRAY_LENGTH(walk->page));

	if (count < 0)
		return count;
	walk->page_count = (size_t)count;
	walk->page_position = 0;
	if (count > 0) {
		walk->resource_id = walk->page[count - 1].resource_id;
		walk->kind = walk->page[count - 1].kind;
	} else if (!walk->wrapped && id_compare(&walk->from, &walk->to) >= 0) {
		walk->wrapped = true;
		walk->resource_id = (struct id){.length = walk->from.length};
		walk->kind = 0;
	} else {
		walk->ended = true;
	}
	return 0;
}

/* Is the walk past its range? */
static bool walk_past(const struct walk *walk, const struct id *resource_id) {
	if (id_equal(&walk->from, &walk->to))
		return walk->wrapped && id_compare(resource_id, &walk->from) > 0;
	return !id_in_range(resource_id, &walk->from, &walk->to);
}

/* One more unit from the walk: 1 with *ret, 0 not now (page used up or range ended), negative errno. */
static int walk_next(struct feed *feed, struct walk *walk, struct unit **ret) {
	struct changes changes = {.count = 0};
	int error = 0;

	if (walk->page_position == walk->page_count)
		error = turn_page(feed, walk);
	while (error == 0 && walk->page_position < walk->page_count) {
		const struct record_kind *entry = &walk->page[walk->page_position];
		if (walk_past(walk, &entry->resource_id)) {
			walk->ended = true;
			walk->page_position = walk->page_count;
			break;
		}
		if (walk->own && !store_responsible(feed->store, &entry->resource_id)) {
			walk->page_position++;
			continue;
		}
		if (changes.count > 0 && !id_equal(&changes.resource_id, &entry->resource_id))
			break;
		changes.resource_id = entry->resource_id;
		error = changes_add(&changes, entry->kind, NULL);
		walk->page_position++;
	}
	if (error < 0 || changes.count == 0) {
		changes_release(&changes);
		return error;
	}
	struct unit *unit = calloc(1, sizeof(*unit));
	uint64_t *generations = calloc(changes.count, sizeof(*generations));
	if (!unit || !generations) {
		free(unit);
		free(generations);
		changes_release(&changes);
		return -ENOMEM;
	}
	*unit = (struct unit){.feed = feed,
			      .changes = changes,
			      .generations = generations,
			      .release = walk->release,
			      .offer = walk->offer,
			      .walk = walk};
	walk->outstanding++;
	feed->store->units++;
	*ret = unit;
	return 1;
}

/* ---- replica numbers ---- */

/* 1 and 2 for those that hold our replicas; 1 for all others: handover and repair. */
static uint8_t replica_number(const struct feed *feed, bool *ret_holder) {
	struct id holders[TOPOLOGY_REPLICAS_MAX];
	struct topology *topology = feed->store->topology;
	size_t count = topology->ops->replicas(topology, holders);

	for (size_t i = 0; i < count; i++)
		if (id_equal(&holders[i], &feed->target)) {
			*ret_holder = true;
			return (uint8_t)(i + 1);
		}
	*ret_holder = false;
	return 1;
}

/* ---- units ---- */

static bool bids_farewell(const struct unit *list, const struct id *resource_id, uint32_t kind) {
	const struct unit *unit;

	DL_FOREACH (list, unit)
		if (unit->farewell && unit->changes.items[0].kind == kind && id_equal(&unit->changes.resource_id, resource_id))
			return true;
	return false;
}

bool feed_has_farewell(const struct feed *feed, const struct id *resource_id, uint32_t kind) {
	return bids_farewell(feed->queue, resource_id, kind) || bids_farewell(feed->active, resource_id, kind);
}

void feed_add(struct feed *feed, struct changes *changes, enum feed_purpose purpose) {
	struct store *store = feed->store;
	struct unit *unit = store->units < STORE_UNITS_MAX ? calloc(1, sizeof(*unit)) : NULL;
	uint64_t *generations = calloc(changes->count ? changes->count : 1, sizeof(*generations));

	if (!unit || !generations) {
		free(unit);
		free(generations);
		changes_release(changes);
		feed->incomplete = true; /* the peer gets everything again once the queue has drained */
	} else {
		*unit = (struct unit){.feed = feed,
				      .changes = *changes,
				      .generations = generations,
				      .release = purpose == FEED_OFFER,
				      .farewell = purpose == FEED_FAREWELL};
		*changes = (struct changes){.count = 0};
		DL_APPEND(feed->queue, unit);
		store->units++;
	}
	pump(feed);
}

static uint64_t retry_delay_ms(unsigned attempts) {
	static const uint64_t delays_ms[] = {2000, 10000, 30000};

	return delays_ms[attempts > ARRAY_LENGTH(delays_ms) ? ARRAY_LENGTH(delays_ms) - 1 : attempts - 1];
}

/* The peer has the records now: what it is to own is offered no more, unless it changed on the way. */
static void release_ownership(struct unit *unit) {
	struct store *store = unit->feed->store;
	int error = store_begin(store);

	for (size_t i = 0; i < unit->changes.count && error >= 0; i++)
		if (unit->generations[i] != 0)
			error = record_kind_own(store->database, &unit->changes.resource_id, unit->changes.items[i].kind,
						unit->generations[i], false);
	if (error < 0)
		store_database_failed(store, error);
}

/* A copy that is still as it was sent, and that nobody expects here. */
static int drop_copy(struct store *store, const struct id *resource_id, uint32_t kind, uint64_t generation) {
	struct topology *topology = store->topology;
	struct record_kind state;
	int error = record_kind_get(store->database, resource_id, kind, &state);

	if (error <= 0 || state.generation != generation || state.owned || store_responsible(store, resource_id) ||
	    !topology->ops->may_discard(topology, resource_id))
		return error < 0 ? error : 0;
	return record_discard(store->database, resource_id, kind); /* B-10.5-07, B-10.7.3-04 */
}

static void drop_copies(struct unit *unit) {
	struct store *store = unit->feed->store;
	int error = store_begin(store);

	for (size_t i = 0; i < unit->changes.count && error >= 0; i++)
		if (unit->generations[i] != 0)
			error = drop_copy(store, &unit->changes.resource_id, unit->changes.items[i].kind, unit->generations[i]);
	if (error < 0)
		store_database_failed(store, error);
}

static void finish_unit(struct feed *feed, struct unit *unit) {
	struct walk *walk = unit->walk;

	if (unit->error == 0 && unit->release)
		release_ownership(unit);
	if (unit->farewell && (unit->error == 0 || unit->refused)) {
		drop_copies(unit);
		unit->retry = false;
	}
	feed->incomplete |= unit->retry; /* what was refused for good is not sent again */
	if (walk) {
		walk->outstanding--;
		if (unit->retry && walk->error == 0) /* one record refused for good does not hold up a handover */
			walk->error = unit->error;
	}
	drop_unit(feed, unit);
}

static void on_repaired(void *userdata) {
	wake(userdata, 0);
}

void unit_sent(struct unit *unit) {
	struct feed *feed = unit->feed;

	DL_DELETE(feed->active, unit);
	feed->active_count--;
	if (unit->stale && unit->attempts < STORE_ATTEMPTS) {
		/* Adopt what is newer over there, then offer the rest again. */
		int error = store_repair(feed->store, &unit->changes, &unit->newer_at, on_repaired, feed);
		unit->retry |= error == 0 || error == -EBUSY;
	}
	if (unit->retry && unit->attempts < STORE_ATTEMPTS) {
		uint64_t delay_ms = retry_delay_ms(unit->attempts);
		unit->not_before_us = feed->store->runtime->now_us + delay_ms * USEC_PER_MSEC;
		DL_APPEND(feed->queue, unit);
		wake(feed, delay_ms);
		return;
	}
	finish_unit(feed, unit);
	wake(feed, 0);
}

/* ---- the pump ---- */

/* The first unit that may go now; *ret_due_us: when the first of the others may. */
static struct unit *next_queued(struct feed *feed, uint64_t *ret_due_us) {
	struct unit *unit;

	DL_FOREACH (feed->queue, unit) {
		if (unit->not_before_us <= feed->store->runtime->now_us)
			return unit;
		if (unit->not_before_us < *ret_due_us)
			*ret_due_us = unit->not_before_us;
	}
	return NULL;
}

static void start_unit(struct feed *feed, struct unit *unit) {
	bool holder;
	uint8_t number = replica_number(feed, &holder);

	/* walk_next() gives one when it says so. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	if (!holder && !unit->release && !unit->offer &&
	    !unit->farewell) { /* the peer is gone from our neighborhood, or no longer next to us */
		finish_unit(feed, unit);
		return;
	}
	unit->replica_number = number; /* NOLINT(clang-analyzer-core.NullDereference) */
	DL_APPEND(feed->active, unit);
	feed->active_count++;
	unit_send(unit);
}

/* The first walk whose time has come; the feed wakes when that of the others does. */
static struct walk *walk_due(struct feed *feed) {
	struct walk *walk;

	DL_FOREACH (feed->walks, walk) {
		if (walk->not_before_us <= feed->store->runtime->now_us)
			return walk;
		wake_at(feed, walk->not_before_us);
	}
	return NULL;
}

/* Makes units of the walks while there is room, one walk after the other. True: there is more to look at. */
static bool pump_walks(struct feed *feed) {
	struct walk *walk;

	while ((walk = walk_due(feed))) {
		for (int pages = 0; !walk->ended && pages < 16; pages++) {
			struct unit *unit = NULL;
			if (feed->active_count >= STORE_WINDOW)
				return false;
			int more = walk_next(feed, walk, &unit);
			if (more < 0) {
				walk->error = more;
				walk->ended = true;
			} else if (more > 0) {
				start_unit(feed, unit);
			}
		}
		if (!walk->ended)
			return true;
		if (walk->outstanding > 0)
			return false;
		end_walk(feed, walk, walk->error);
	}
	return false;
}

/* Everything is done. What did not arrive is sent again as a whole, later and later, as long as the peer holds our replicas. */
static void settle(struct feed *feed) {
	bool holder = false;

	if (feed->incomplete && id_is_none(&feed->target)) {
		store_scan_after(feed->store, STORE_OFFER_RETRY_S * 1000);
	} else if (feed->incomplete && (replica_number(feed, &holder), holder)) {
		uint64_t backoff_s = feed->backoff_s ? feed->backoff_s * 2 : STORE_RESYNC_FIRST_S;
		feed->backoff_s = backoff_s < STORE_RESYNC_LAST_S ? backoff_s : STORE_RESYNC_LAST_S;
		struct walk walk = {.own = true, .not_before_us = feed->store->runtime->now_us + feed->backoff_s * USEC_PER_SEC};
		feed->incomplete = false;
		if (feed_walk(feed, &walk) == 0)
			return;
	}
	feed_free(feed);
}

static void pump(struct feed *feed) {
	uint64_t due_us = USEC_NEVER;
	bool more = false;

	while (feed->active_count < STORE_WINDOW) {
		struct unit *unit = next_queued(feed, &due_us);
		if (!unit)
			break;
		DL_DELETE(feed->queue, unit);
		start_unit(feed, unit);
	}
	if (feed->active_count < STORE_WINDOW)
		more = pump_walks(feed);
	if (more)
		wake(feed, 1);
	else if (due_us != USEC_NEVER)
		wake_at(feed, due_us);
	if (!feed->queue && !feed->active && !feed->walks)
		settle(feed);
}
