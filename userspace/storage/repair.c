/* SPDX-License-Identifier: BSD-2-Clause */
/* A peer refused our copy because its own is newer: fetch that and merge it, in the order of storage times (B-7.4.1-14, -15). */
#include "storage/client.h"
#include "storage/store_internal.h"

#include <errno.h>
#include <utlist.h>

struct repair {
	struct store *store; /* NULL once the store is gone */
	struct changes changes;
	size_t next_change;
	struct id from;
	void (*done)(void *userdata);
	void *userdata;
	struct repair *prev, *next;
};

static void repair_next(struct repair *repair);

static void repair_free(struct repair *repair) {
	changes_release(&repair->changes);
	free(repair);
}

static void repair_end(struct repair *repair) {
	struct store *store = repair->store;

	DL_DELETE(store->repairs, repair);
	store->repair_count--;
	if (repair->done)
		repair->done(repair->userdata);
	repair_free(repair);
}

/* Puts a value in place of ours if it is newer; the fetch has checked signature and access. 1 replaced. */
static int adopt_value(struct store *store, const struct id *resource_id, uint32_t kind, const struct raw_value *raw,
		       uint64_t now_ms, struct changes *changes) {
	uint8_t index[4], signature[1024];
	struct writer w = writer_fixed(signature, sizeof(signature));
	const struct stored_data *data = &raw->data;
	struct octets key = record_key(&data->value, index);
	struct record_head head;
	int64_t certificate;

	int found = record_head(store->database, resource_id, kind, key, data->value.exists, data->value.value, &head);
	if (found < 0)
		return found;
	if (found > 0 && head.expires_ms > now_ms && data->storage_time_ms <= head.storage_time_ms)
		return 0;
	signature_write(&w, &data->signature);
	if (writer_finish(&w) < 0)
		return 0;
	int error = record_certificate_put(store->database, raw->signer, &certificate);
	if (error < 0)
		return error;
	struct record record = {
		.resource_id = *resource_id,
		.kind = kind,
		.key = key,
		.exists = data->value.exists,
		.storage_time_ms = data->storage_time_ms,
		.received_ms = now_ms,
		.lifetime_s = data->lifetime_s < STORE_LIFETIME_MAX_S ? data->lifetime_s : STORE_LIFETIME_MAX_S,
		.value = data->value.value,
		.signature = writer_octets_written(&w),
		.certificate = certificate,
	};
	error = record_put(store->database, &record, found > 0 ? &head : NULL);
	if (error == 0)
		error = changes_add(changes, kind, &key);
	store_expiry_at(store, now_ms + record.lifetime_s * UINT64_C(1000));
	return error < 0 ? error : 1;
}

static int adopt_values(struct store *store, const struct id *resource_id, const struct kind *kind, uint64_t generation,
			const struct raw_value *values, size_t count, struct changes *changes) {
	uint64_t now_ms = runtime_realtime_ms(store->runtime);
	struct record_kind state = {0};
	struct record_counts counts = {0};
	int error = 0;

	for (size_t i = 0; i < count && error >= 0; i++)
		if (values[i].signer && values[i].data.value.value.length <= kind->max_size && values[i].data.lifetime_s > 0)
			error = adopt_value(store, resource_id, kind->id, &values[i], now_ms, changes);
	if (error < 0 || changes->count == 0)
		return error < 0 ? error : 0;
	error = record_count(store->database, resource_id, kind->id, now_ms, &counts);
	if (error == 0 && kind->model != DATA_MODEL_SINGLE &&
	    (counts.values > kind->max_count || counts.tombstones > kind->max_count))
		return -E2BIG; /* B-7.4.1-10 holds for a merge, too */
	if (error == 0)
		error = record_kind_get(store->database, resource_id, kind->id, &state);
	if (error < 0)
		return error;
	bool responsible = store_responsible(store, resource_id);
	uint64_t highest = state.generation > generation ? state.generation : generation;
	/* The owner's merge is a change of its own; a replica only follows. */
	state.generation = responsible && highest < UINT64_MAX ? highest + 1 : highest;
	state.owned |= responsible;
	return record_kind_put(store->database, &state);
}

static void adopt(struct repair *repair, const struct kind *kind, uint64_t generation, const struct raw_value *values,
		  size_t count) {
	struct store *store = repair->store;
	struct changes changes = {.resource_id = repair->changes.resource_id};
	int error = store_begin(store);

	if (error < 0)
		return;
	error = record_database_savepoint(store->database);
	if (error == 0)
		error = adopt_values(store, &repair->changes.resource_id, kind, generation, values, count, &changes);
	if (error == 0)
		error = record_database_release(store->database);
	if (error < 0) {
		record_database_undo(store->database);
		if (error != -E2BIG)
			store_database_failed(store, error);
	} else if (store_responsible(store, &repair->changes.resource_id)) {
		store_replicate(store, &changes, &repair->from);
	}
	changes_release(&changes);
}

static void on_fetched(void *userdata, const struct storage_outcome *outcome, const struct raw_value *values, size_t count) {
	struct repair *repair = userdata;

	if (!repair->store) {
		repair_free(repair);
		return;
	}
	const struct kind *kind =
		overlay_config_kind(store_config(repair->store), repair->changes.items[repair->next_change - 1].kind);
	if (outcome->error == 0 && kind && id_equal(&outcome->responder, &repair->from))
		adopt(repair, kind, outcome->generation, values, count);
	repair_next(repair);
}

/* Fetches the next Kind; each once. */
static void repair_next(struct repair *repair) {
	const struct changes *changes = &repair->changes;

	while (repair->next_change < changes->count) {
		size_t i = repair->next_change++, earlier = 0;
		while (earlier < i && changes->items[earlier].kind != changes->items[i].kind)
			earlier++;
		if (earlier == i && storage_fetch_raw(repair->store->router, &changes->resource_id, changes->items[i].kind,
						      &repair->from, on_fetched, repair) == 0)
			return;
	}
	repair_end(repair);
}

int store_repair(struct store *store, const struct changes *changes, const struct id *from, void (*done)(void *userdata),
		 void *userdata) {
	struct repair *repair;

	DL_FOREACH (store->repairs, repair)
		if (id_equal(&repair->changes.resource_id, &changes->resource_id) && id_equal(&repair->from, from))
			return 0; /* being fetched already */
	if (store->repair_count >= STORE_REPAIRS_MAX)
		return -EBUSY;
	repair = calloc(1, sizeof(*repair));
	if (!repair)
		return -ENOMEM;
	int error = changes_copy(changes, &repair->changes);
	if (error < 0) {
		free(repair);
		return error;
	}
	repair->store = store;
	repair->from = *from;
	repair->done = done;
	repair->userdata = userdata;
	DL_APPEND(store->repairs, repair);
	store->repair_count++;
	repair_next(repair);
	return 0;
}

void store_repair_cancel(struct store *store, void *userdata) {
	struct repair *repair;

	DL_FOREACH (store->repairs, repair)
		if (repair->userdata == userdata)
			repair->done = NULL;
}

/* The fetches cannot be called back; they find their store gone. */
void store_repair_free(struct store *store) {
	struct repair *repair, *next;

	DL_FOREACH_SAFE (store->repairs, repair, next) {
		DL_DELETE(store->repairs, repair);
		repair->store = NULL;
		repair->done = NULL;
	}
	store->repair_count = 0;
}
