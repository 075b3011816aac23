/* SPDX-License-Identifier: BSD-2-Clause */
/* Store as responsible peer and as replica holder (RFC 6940 7.4.1). */
#include "storage/store_internal.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

int resource_id_read(const struct store *store, struct octets octets, struct id *ret) {
	if (octets.length != store_config(store)->node_id_length) /* B-10.2-01: 128 bits in CHORD-RELOAD */
		return -EBADMSG;
	*ret = id_of(octets);
	return 0;
}

void fail_unknown_kinds(struct request *request, const uint32_t *kinds, size_t count) {
	uint8_t buffer[1 + 4 * STORE_KINDS_PER_REQUEST];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	error_unknown_kinds_write(&w, kinds, count);
	request_fail(request, ERROR_UNKNOWN_KIND, writer_octets_written(&w)); /* B-7.4.1-04 */
}

struct octets record_key(const struct stored_value *value, uint8_t index[static 4]) {
	struct writer w = writer_fixed(index, 4);

	switch (value->model) {
	case DATA_MODEL_ARRAY:
		writer_u32(&w, value->index);
		return writer_octets_written(&w);
	case DATA_MODEL_DICTIONARY:
		return value->key;
	default:
		return OCTETS_NONE;
	}
}

struct stored_value record_stored_value(const struct record *record, uint8_t model) {
	struct stored_value value = {.model = model, .exists = record->exists, .value = record->value};
	struct reader key = reader_of_octets(record->key);

	if (model == DATA_MODEL_ARRAY)
		value.index = reader_u32(&key);
	else if (model == DATA_MODEL_DICTIONARY)
		value.key = record->key;
	return value;
}

/* Why a request is refused; code 0 with a negative error: the database failed. */
struct refusal {
	uint16_t code;
	int error;
	char text[160];
};

static int refuse(struct refusal *refusal, uint16_t code, const char *text) {
	refusal->code = code;
	snprintf(refusal->text, sizeof(refusal->text), "%s", text);
	return -EPERM;
}

static int database_refusal(struct refusal *refusal, int error) {
	refusal->error = error;
	return -EPERM;
}

struct kind_part {
	struct store_kind_data data;
	const struct kind *kind;
	struct record_kind state;
	uint64_t generation; /* after the request */
};

struct store_work {
	struct store *store;
	struct request *request;
	struct id resource_id;
	bool original;
	bool handed_over; /* we are joining, and this will be ours */
	uint64_t now_ms;
	struct kind_part parts[STORE_KINDS_PER_REQUEST];
	size_t count;
	struct changes changes;
	struct pending *pending;
	struct refusal refusal;
	uint64_t first_expiry_ms;
};

/* The parts of the request: every Kind once and known. Unknown ones are answered here (-ENOENT: done). */
static int read_parts(struct store_work *work, struct octets list) {
	struct reader reader = reader_of_octets(list);
	struct overlay_config *config = store_config(work->store);
	uint32_t unknown[STORE_KINDS_PER_REQUEST];
	size_t unknown_count = 0;
	struct store_kind_data data;
	int more;

	while ((more = store_kind_data_next(&reader, &data)) > 0) {
		if (work->count == STORE_KINDS_PER_REQUEST)
			return refuse(&work->refusal, ERROR_INVALID_MESSAGE, "too many Kinds in one request");
		for (size_t i = 0; i < work->count; i++)
			if (work->parts[i].data.kind == data.kind) /* B-7.4.1-01 */
				return refuse(&work->refusal, ERROR_INVALID_MESSAGE, "a Kind stands twice in the request");
		struct kind_part *part = &work->parts[work->count++];
		part->data = data;
		part->kind = overlay_config_kind(config, data.kind);
		if (!part->kind)
			unknown[unknown_count++] = data.kind;
	}
	if (more < 0)
		return refuse(&work->refusal, ERROR_INVALID_MESSAGE, "malformed list of Kinds");
	if (unknown_count > 0) {
		fail_unknown_kinds(work->request, unknown, unknown_count);
		return -ENOENT;
	}
	return 0;
}

static int answer_generations(const struct store_work *work, bool replicas, struct writer *w) {
	struct id holders[TOPOLOGY_REPLICAS_MAX];
	struct topology *topology = work->store->topology;
	size_t count = replicas ? topology->ops->replicas(topology, holders) : 0;
	size_t mark = writer_begin(w, 2);

	for (size_t i = 0; i < work->count; i++)
		store_kind_response_write(w, work->parts[i].data.kind,
					  replicas || !work->original ? work->parts[i].generation : work->parts[i].state.generation,
					  holders, count); /* B-7.4.1-17 */
	writer_end(w, mark, 2);
	return writer_finish(w);
}

/* Error_Generation_Counter_Too_Low carries a StoreAns with the right counters and no replicas (B-7.4.1-18). */
static void fail_generation(struct store_work *work) {
	struct writer w = writer_growing(65535);

	if (answer_generations(work, false, &w) == 0)
		request_fail(work->request, ERROR_GENERATION_COUNTER_TOO_LOW, writer_octets_written(&w));
	else
		request_fail_text(work->request, ERROR_GENERATION_COUNTER_TOO_LOW, "generation counter differs");
	writer_release(&w);
}

/* -ESTALE: a counter of an original Store differs. */
static int check_generations(struct store_work *work) {
	bool stale = false;

	for (size_t i = 0; i < work->count; i++) {
		struct kind_part *part = &work->parts[i];
		uint64_t sent = part->data.generation_counter;
		int found = record_kind_get(work->store->database, &work->resource_id, part->data.kind, &part->state);
		if (found < 0)
			return database_refusal(&work->refusal, found);
		if (work->original) {
			stale |= sent != 0 && sent != part->state.generation; /* B-7.4.1-07, Q-50 */
			part->generation = part->state.generation == UINT64_MAX ? 1 : part->state.generation + 1; /* B-7.4.1-12 */
		} else if (sent == 0) {										  /* B-7.4.1-08 */
			return refuse(&work->refusal, ERROR_INVALID_MESSAGE, "a replica store needs a generation counter");
		} else {
			/* Copies come back from former holders: the owner's counter never goes back. */
			bool behind = sent < part->state.generation && store_responsible(work->store, &work->resource_id);
			part->generation = behind ? part->state.generation : sent;
		}
	}
	return stale ? -ESTALE : 0;
}

/* Form, size, signer and signature of one value. */
static int check_value(struct store_work *work, const struct kind_part *part, const struct stored_data *data,
		       struct certificate **ret_signer) {
	struct request *request = work->request;
	struct overlay_config *config = store_config(work->store);
	const char *reason = NULL;
	struct id signer_id;

	if (signature_is_none(&data->signature) || data->signature.identity.type == SIGNER_NONE ||
	    data->signature.signature_algorithm == SIGNATURE_ANONYMOUS) /* B-7.4.1-11 */
		return refuse(&work->refusal, ERROR_FORBIDDEN, "a value is not signed");
	if (!data->value.exists && data->value.value.length > 0)
		return refuse(&work->refusal, ERROR_INVALID_MESSAGE, "a removed value has contents");
	if (data->value.value.length > part->kind->max_size) /* B-7.4.1-10, B-13.5-01 */
		return refuse(&work->refusal, ERROR_DATA_TOO_LARGE, "a value is larger than the Kind's max-size");
	if (!work->original && part->kind->model == DATA_MODEL_ARRAY && data->value.index == ARRAY_INDEX_LAST)
		return refuse(&work->refusal, ERROR_INVALID_MESSAGE, "a replica store cannot append");
	struct certificate *signer = certificate_bucket_find(&request->bucket, &data->signature.identity, &signer_id);
	if (!signer)
		return refuse(&work->refusal, ERROR_FORBIDDEN, "the certificate of a value's signer is missing or not trusted");
	if (access_check(config, part->kind, &work->resource_id, signer, &signer_id, &data->value, &reason) < 0) /* B-7.4.1-05 */
		return refuse(&work->refusal, ERROR_FORBIDDEN, reason);
	/* B-7.3-01: in an original store the signer of the request, too */
	if (work->original &&
	    access_check(config, part->kind, &work->resource_id, request->signer, &request->signer_id, &data->value, &reason) < 0)
		return refuse(&work->refusal, ERROR_FORBIDDEN, reason);
	if (stored_data_check(signer, id_octets(&work->resource_id), part->data.kind, data) < 0) /* B-7.4.1-05 */
		return refuse(&work->refusal, ERROR_FORBIDDEN, "the signature of a value does not hold");
	*ret_signer = signer;
	return 0;
}

/* The real index of a value stored behind the end (B-7.4.1-16). */
static int append_index(struct store_work *work, const struct kind_part *part, struct stored_value *value) {
	struct record_counts counts = {0};
	int error = record_count(work->store->database, &work->resource_id, part->data.kind, work->now_ms, &counts);

	if (error < 0)
		return database_refusal(&work->refusal, error);
	if (counts.any && counts.last_index >= ARRAY_INDEX_LAST - 1)
		return refuse(&work->refusal, ERROR_DATA_TOO_LARGE, "the array has no more indices");
	value->index = counts.any ? counts.last_index + 1 : 0;
	return 0;
}

/* Writes one checked value, in place of what stands under its index or key (B-7.4.1-21); tombstones are values like any other
 * (B-7.4.1-20). *ret_grown: a value or tombstone more than before. */
static int put_value(struct store_work *work, const struct kind_part *part, const struct stored_data *data,
		     struct certificate *signer, bool *ret_grown) {
	struct record_database *database = work->store->database;
	uint8_t index[4], signature[1024];
	struct writer w = writer_fixed(signature, sizeof(signature));
	struct stored_value value = data->value;
	struct record_head head;
	int64_t certificate;

	if (value.model == DATA_MODEL_ARRAY && value.index == ARRAY_INDEX_LAST && append_index(work, part, &value) < 0)
		return -EPERM;
	struct octets key = record_key(&value, index);
	int found = record_head(database, &work->resource_id, part->data.kind, key, value.exists, value.value, &head);
	if (found < 0)
		return database_refusal(&work->refusal, found);
	bool live = found > 0 && head.expires_ms > work->now_ms;
	if (live && data->storage_time_ms <= head.storage_time_ms) {
		/* replicas are sent again and again; the same value at the same time is no news. */
		if (!work->original && data->storage_time_ms == head.storage_time_ms && head.same_value)
			return 0;
		return refuse(&work->refusal, ERROR_DATA_TOO_OLD, "a newer value is stored"); /* B-7-02, B-7.4.1-09, B-13.5-02 */
	}
	signature_write(&w, &data->signature);
	if (writer_finish(&w) < 0)
		return refuse(&work->refusal, ERROR_DATA_TOO_LARGE, "a signature is too long");
	int error = record_certificate_put(database, signer, &certificate);
	if (error < 0)
		return database_refusal(&work->refusal, error);
	struct record record = {
		.resource_id = work->resource_id,
		.kind = part->data.kind,
		.key = key,
		.exists = value.exists,
		.storage_time_ms = data->storage_time_ms,
		.received_ms = work->now_ms,
		.lifetime_s = data->lifetime_s < STORE_LIFETIME_MAX_S ? data->lifetime_s : STORE_LIFETIME_MAX_S,
		.value = value.value,
		.signature = writer_octets_written(&w),
		.certificate = certificate,
	};
	error = record_put(database, &record, found > 0 ? &head : NULL);
	if (error == 0)
		error = changes_add(&work->changes, part->data.kind, &key);
	if (error < 0)
		return database_refusal(&work->refusal, error);
	uint64_t expires_ms = work->now_ms + record.lifetime_s * UINT64_C(1000);
	if (expires_ms < work->first_expiry_ms)
		work->first_expiry_ms = expires_ms;
	*ret_grown |= !live || head.exists != value.exists;
	return 0;
}

/* All values of one Kind, each in turn, and the limits on their number. */
static int put_part(struct store_work *work, struct kind_part *part) {
	struct reader values = reader_of_octets(part->data.values);
	size_t changes_before = work->changes.count;
	bool grown = false;
	struct stored_data data;
	int more;

	while ((more = stored_data_next(&values, part->kind->model, &data)) > 0) {
		struct certificate *signer;
		if (check_value(work, part, &data, &signer) < 0 || put_value(work, part, &data, signer, &grown) < 0)
			return -EPERM;
	}
	if (more < 0)
		return refuse(&work->refusal, ERROR_INVALID_MESSAGE, "a value does not fit the Kind's data model");
	if (grown) {
		struct record_counts counts = {0};
		int error = record_count(work->store->database, &work->resource_id, part->data.kind, work->now_ms, &counts);
		if (error < 0)
			return database_refusal(&work->refusal, error);
		/* B-7.4.1-10, Q-67: tombstones have a bound of their own of the same size */
		if (part->kind->model != DATA_MODEL_SINGLE &&
		    (counts.values > part->kind->max_count || counts.tombstones > part->kind->max_count))
			return refuse(&work->refusal, ERROR_DATA_TOO_LARGE, "more values than the Kind's max-count");
	}
	bool changed = work->changes.count > changes_before;
	if (!changed && (work->original || part->state.generation == 0)) {
		part->generation = part->state.generation; /* nothing was written, nothing counts */
		return 0;
	}
	struct record_kind state = {
		.resource_id = work->resource_id,
		.kind = part->data.kind,
		.generation = part->generation,
		.owned = part->state.owned || work->handed_over || store_responsible(work->store, &work->resource_id),
	};
	if (!changed && state.generation == part->state.generation && state.owned == part->state.owned)
		return 0;
	int error = record_kind_put(work->store->database, &state);
	return error < 0 ? database_refusal(&work->refusal, error) : 0;
}

/* The answer, which waits for the commit. Made before the writes stand, so that want of memory undoes them. */
static int prepare_answer(struct store_work *work) {
	struct pending *pending = calloc(1, sizeof(*pending));
	struct writer w = writer_growing(65535);
	int error = pending ? answer_generations(work, work->original, &w) : -ENOMEM;

	if (error < 0) {
		free(pending);
		writer_release(&w);
		return database_refusal(&work->refusal, -ENOMEM);
	}
	pending->request = work->request;
	pending->answer = writer_take(&w, &pending->answer_length);
	if (!work->original) /* a holder that offers a replica has it; a node that stores its own record may be a holder, too */
		pending->sender = work->request->signer_id;
	work->pending = pending;
	return 0;
}

static void queue_answer(struct store_work *work) {
	struct pending *pending = TAKE(work->pending);

	/* Replica holders do not store onward (B-10.4-02), unless they turn out to be the owner: then the others get it from here.
	 */
	if (work->original || store_responsible(work->store, &work->resource_id)) {
		pending->changes = work->changes;
		work->changes = (struct changes){0};
	}
	DL_APPEND(work->store->pending, pending);
}

static int put_parts(struct store_work *work) {
	struct record_database *database = work->store->database;
	int error = store_begin(work->store);

	if (error == 0)
		error = record_database_savepoint(database);
	if (error < 0)
		return database_refusal(&work->refusal, error);
	for (size_t i = 0; i < work->count && error == 0; i++)
		error = put_part(work, &work->parts[i]);
	if (error == 0)
		error = prepare_answer(work);
	if (error < 0) {
		record_database_undo(database); /* B-7.4.1-01 */
		return error;
	}
	error = record_database_release(database);
	return error < 0 ? database_refusal(&work->refusal, error) : 0;
}

/* May this request store here at all? */
static int check_place(struct store_work *work, const struct store_req *store_req) {
	struct topology *topology = work->store->topology;
	struct request *request = work->request;

	if (store_req->replica_number == 0) {
		if (!store_responsible(work->store, &work->resource_id)) /* B-7.4.1-02, Q-69 */
			return refuse(&work->refusal, ERROR_FORBIDDEN, "this peer is not responsible for the Resource-ID");
	} else if (!topology->ops->replica_acceptable(topology, &request->signer_id, &work->resource_id,
						      store_req->replica_number)) {
		/* B-7.4.1-03, B-7.4.1-06, B-10.4-02 */
		return refuse(&work->refusal, ERROR_FORBIDDEN, "no replica of this Resource-ID is expected from the sender");
	}
	return 0;
}

static void fail_work(struct store_work *work) {
	struct store *store = work->store;

	if (work->refusal.code != 0) {
		store->figures.stores_refused++;
		request_fail_text(work->request, work->refusal.code, "%s", work->refusal.text);
		return;
	}
	store_database_failed(store, work->refusal.error);
	store_fail_request(store, work->request, work->refusal.error);
}

void store_on_store(void *userdata, struct request *request) {
	struct store *store = userdata;
	struct store_req store_req;
	struct store_work work = {
		.store = store,
		.request = request,
		.now_ms = runtime_realtime_ms(store->runtime),
		.first_expiry_ms = UINT64_MAX,
	};

	if (store_req_read(request->message.contents.body, &store_req) < 0 ||
	    resource_id_read(store, store_req.resource_id, &work.resource_id) < 0) {
		store->figures.stores_refused++;
		request_fail_text(request, ERROR_INVALID_MESSAGE, "malformed Store request");
		return;
	}
	work.original = store_req.replica_number == 0;
	/* Whoever hands it over owes it to nobody from then on (B-10.5-05): should it be another's when we are in the ring, as when
	 * rings merge meanwhile, then it is for us to offer it. */
	work.handed_over = !work.original && !router_joined(store->router);
	work.changes.resource_id = work.resource_id;
	int error = check_place(&work, &store_req);
	if (error == 0)
		error = read_parts(&work, store_req.kinds);
	if (error == 0)
		error = check_generations(&work);
	if (error == 0)
		error = put_parts(&work);
	switch (error) {
	case 0:
		if (!work.original)
			store->figures.replicas_received++;
		store_expiry_at(store, work.first_expiry_ms);
		queue_answer(&work);
		break;
	case -ENOENT:
		store->figures.stores_refused++; /* answered already */
		break;
	case -ESTALE:
		store->figures.stores_refused++;
		fail_generation(&work);
		break;
	default:
		fail_work(&work);
	}
	changes_release(&work.changes);
	if (work.pending)
		free(work.pending->answer);
	free(work.pending);
}
