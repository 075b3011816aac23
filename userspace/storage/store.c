/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store object: group commit, expiry, figures. Stores wait in a list until store_commit() has made them durable; Fetch, Stat
 * and Find that arrive in between wait too, so that nothing is shown that might still be undone.
 */
#include "storage/store_internal.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

struct overlay_config *store_config(const struct store *store) {
	return router_config(store->router);
}

bool store_responsible(const struct store *store, const struct id *resource_id) {
	return store->topology->ops->responsible(store->topology, resource_id);
}

/* ---- changes ---- */

int changes_add(struct changes *changes, uint32_t kind, const struct octets *key) {
	struct change *items = reallocarray(changes->items, changes->count + 1, sizeof(*items));

	if (!items)
		return -ENOMEM;
	changes->items = items;
	struct change change = {.kind = kind, .whole = !key};
	if (key && key->length > 0) {
		change.key = malloc(key->length);
		if (!change.key)
			return -ENOMEM;
		memcpy(change.key, key->data, key->length);
		change.key_length = key->length;
	}
	items[changes->count++] = change;
	return 0;
}

int changes_copy(const struct changes *from, struct changes *ret) {
	struct changes copy = {.resource_id = from->resource_id};

	for (size_t i = 0; i < from->count; i++) {
		const struct change *change = &from->items[i];
		struct octets key = OCTETS(change->key, change->key_length);
		int error = changes_add(&copy, change->kind, change->whole ? NULL : &key);
		if (error < 0) {
			changes_release(&copy);
			return error;
		}
	}
	*ret = copy;
	return 0;
}

void changes_release(struct changes *changes) {
	for (size_t i = 0; i < changes->count; i++)
		free(changes->items[i].key);
	free(changes->items);
	*changes = (struct changes){.resource_id = changes->resource_id};
}

/* ---- the database ---- */

static struct pending *pending_free(struct pending *pending) {
	changes_release(&pending->changes);
	free(pending->answer);
	free(pending);
	return NULL;
}

/* Error_Data_Too_Large is the one code by which a writer learns "not stored, not your fault, not stale": the text says why. */
void store_fail_request(struct store *store, struct request *request, int error) {
	store->figures.stores_refused++;
	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
		request_fail_text(request, ERROR_DATA_TOO_LARGE, "storage is full");
		break;
	default:
		request_fail_text(request, ERROR_DATA_TOO_LARGE, "storage failed, nothing was stored");
	}
}

static void fail_pending(struct store *store, int error) {
	struct pending *pending, *next;

	DL_FOREACH_SAFE (store->pending, pending, next) {
		if (pending->read)
			continue;
		DL_DELETE(store->pending, pending);
		store_fail_request(store, pending->request, error);
		pending_free(pending);
	}
}

void store_database_failed(struct store *store, int error) {
	struct store_figures *figures = &store->figures;

	if (error == -EDQUOT)
		return; /* a limit of ours, the database is well */
	if (figures->database_error != error)
		log_error("storage: %s", record_database_reason(store->database));
	figures->database_error = error;
	snprintf(figures->database_reason, sizeof(figures->database_reason), "%s", record_database_reason(store->database));
	if (!record_database_in_transaction(store->database)) {
		record_database_rollback(store->database); /* the totals go back as well */
		fail_pending(store, error);
	}
}

int store_begin(struct store *store) {
	int error = record_database_begin(store->database);

	if (error < 0)
		store_database_failed(store, error);
	return error;
}

int store_certificate(struct store *store, int64_t id, struct certificate **ret) {
	uint8_t buffer[CERTIFICATE_SIZE_MAX];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	int error = record_certificate_get(store->database, id, &w);

	if (error < 0)
		return error;
	return trust_certificate(router_trust(store->router), writer_octets_written(&w), runtime_realtime_ms(store->runtime), ret,
				 NULL);
}

/* ---- commit ---- */

bool store_commit_wanted(const struct store *store) {
	return store->pending || record_database_in_transaction(store->database);
}

void store_commit(struct store *store) {
	if (record_database_in_transaction(store->database)) {
		int error = record_database_commit(store->database);
		if (error < 0) {
			store_database_failed(store, error);
		} else if (store->figures.database_error != 0) {
			log_notice("storage: the database accepts writes again");
			store->figures.database_error = 0;
			store->figures.database_reason[0] = '\0';
		}
	}
	/* What is answered now may bring new requests: those wait for the next commit. */
	struct pending *list = store->pending, *pending, *next;
	store->pending = NULL;
	DL_FOREACH_SAFE (list, pending, next) {
		DL_DELETE(list, pending);
		if (pending->read) {
			if (record_database_in_transaction(store->database)) {
				DL_APPEND(store->pending, pending); /* new writes came in between */
				continue;
			}
			pending->read(store, pending->request);
		} else {
			store->figures.stores_ok++;
			request_answer(pending->request, OCTETS(pending->answer, pending->answer_length), NULL);
			store_replicate(store, &pending->changes, &pending->sender); /* B-10.4-01: the answer first */
		}
		pending_free(pending);
	}
}

/* ---- expiry ---- */

void store_expiry_at(struct store *store, uint64_t expires_ms) {
	enum { FIRST_S = 1, LAST_S = 3600 };
	uint64_t now_ms = runtime_realtime_ms(store->runtime);

	if (expires_ms == UINT64_MAX || (store->expiry.armed && store->expiry_at_ms <= expires_ms))
		return;
	/* Looking again within the hour keeps up with a wall clock that was set. */
	uint64_t delay_ms = expires_ms > now_ms ? expires_ms - now_ms : 0;
	if (delay_ms < FIRST_S * 1000)
		delay_ms = FIRST_S * 1000;
	if (delay_ms > LAST_S * 1000)
		delay_ms = LAST_S * 1000;
	store->expiry_at_ms = expires_ms;
	timer_arm_after(store->runtime, &store->expiry, delay_ms * USEC_PER_MSEC);
}

static void on_expiry(struct timer *timer, void *userdata) {
	struct store *store = userdata;
	uint64_t next_ms = UINT64_MAX, now_ms = runtime_realtime_ms(store->runtime);
	int count = store_begin(store);

	(void)timer;
	if (count == 0 && !store->rebased && store->runtime->now_us - store->started_us >= STORE_CLOCK_SETTLED_S * USEC_PER_SEC) {
		/* Records "received in the future" came while the clock was wrong. */
		count = record_rebase(store->database, now_ms);
		store->rebased = true;
	}
	if (count == 0)
		count = record_expire(store->database, now_ms, STORE_EXPIRY_BATCH, &next_ms);
	if (count < 0) {
		store_database_failed(store, count);
		next_ms = now_ms + STORE_OFFER_RETRY_S * 1000;
	} else {
		store->figures.expired += (uint64_t)count;
	}
	store_expiry_at(store, next_ms);
}

/* ---- life ---- */

void store_figures(const struct store *store, struct store_figures *ret) {
	struct record_totals totals = record_database_totals(store->database);

	*ret = store->figures;
	ret->records = totals.records;
	ret->octets = totals.octets;
	ret->resources = totals.resources;
}

static void set_handlers(struct store *store, void *userdata) {
	router_handle(store->router, STORE_REQ, userdata ? store_on_store : NULL, userdata);
	router_handle(store->router, FETCH_REQ, userdata ? store_on_fetch : NULL, userdata);
	router_handle(store->router, STAT_REQ, userdata ? store_on_stat : NULL, userdata);
	router_handle(store->router, FIND_REQ, userdata ? store_on_find : NULL, userdata);
}

int store_new(const struct store_settings *settings, struct store **ret) {
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	store->runtime = settings->runtime;
	store->router = settings->router;
	store->topology = settings->topology;
	store->database = settings->database;
	store->started_us = settings->runtime->now_us;
	timer_init(&store->expiry, on_expiry, store);
	store_scan_init(store);
	store_sweep_init(store);
	if (record_database_totals(store->database).records > 0)
		store_expiry_at(store, runtime_realtime_ms(store->runtime));
	set_handlers(store, store);
	*ret = store;
	return 0;
}

struct store *store_free(struct store *store) {
	struct pending *pending, *next;

	if (!store)
		return NULL;
	set_handlers(store, NULL);
	timer_disarm(store->runtime, &store->expiry);
	timer_disarm(store->runtime, &store->scan.timer);
	timer_disarm(store->runtime, &store->sweep.timer);
	store_replication_free(store);
	store_repair_free(store);
	DL_FOREACH_SAFE (store->pending, pending, next) {
		request_drop(pending->request);
		pending_free(pending);
	}
	record_database_rollback(store->database);
	free(store);
	return NULL;
}
