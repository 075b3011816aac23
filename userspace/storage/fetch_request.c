/* SPDX-License-Identifier: BSD-2-Clause */
/* Fetch, Stat and Find (RFC 6940 7.4.2 to 7.4.4): served from whatever is held, replicas included (Q-69, B-7.4.1-22). */
#include "storage/store_internal.h"

#include <errno.h>
#include <openssl/sha.h>
#include <string.h>
#include <utlist.h>

struct fetch_work {
	struct store *store;
	struct request *request;
	struct id resource_id;
	bool stat; /* metadata instead of values */
	uint64_t now_ms;
	struct writer w;
	struct certificate_bucket bucket;	      /* of the signers */
	int64_t certificates[CERTIFICATE_BUCKET_MAX]; /* row of each in the bucket */
	int64_t refused;			      /* row of the last one that is not believed, 0 for none */
	const struct kind *kind;
	bool found;	     /* by the last visit */
	uint64_t next_index; /* first array index not answered yet */
	unsigned holes;
};

/* A transaction is open: what it wrote may yet be undone, so the request waits for its end. */
static bool defer(struct store *store, struct request *request, void (*read)(struct store *store, struct request *request)) {
	if (!record_database_in_transaction(store->database))
		return false;
	struct pending *pending = calloc(1, sizeof(*pending));
	if (!pending)
		return false;
	pending->request = request;
	pending->read = read;
	DL_APPEND(store->pending, pending);
	return true;
}

/* Puts the signer's certificate into the bucket; -EKEYREJECTED: it is not believed (any more), so the value is not served. */
static int add_certificate(struct fetch_work *work, int64_t row) {
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;

	for (size_t i = work->bucket.count; i > 0; i--)
		if (work->certificates[i - 1] == row)
			return 0;
	if (row == work->refused)
		return -EKEYREJECTED;
	if (store_certificate(work->store, row, &certificate) < 0) { /* B-7.1-02, B-11.1-06 */
		work->refused = row;
		return -EKEYREJECTED;
	}
	size_t before = work->bucket.count;
	int error = certificate_bucket_add(&work->bucket, certificate);
	if (error == 0 && work->bucket.count > before)
		work->certificates[before] = row;
	return error;
}

static void write_meta(struct fetch_work *work, const struct stored_value *value, uint64_t storage_time_ms, uint32_t lifetime_s) {
	uint8_t digest[SHA256_DIGEST_LENGTH], length[4];
	struct writer prefix = writer_fixed(length, sizeof(length));
	struct stored_meta_data meta = {
		.storage_time_ms = storage_time_ms,
		.lifetime_s = lifetime_s,
		.model = value->model,
		.index = value->index,
		.key = value->key,
		.meta = {.exists = value->exists, .value_length = (uint32_t)value->value.length, .hash_algorithm = HASH_SHA256},
	};
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	/* B-7.4.3-01: the value with its four octets of length */
	writer_u32(&prefix, (uint32_t)value->value.length);
	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
	    EVP_DigestUpdate(context, length, sizeof(length)) != 1 ||
	    EVP_DigestUpdate(context, value->value.data, value->value.length) != 1 ||
	    EVP_DigestFinal_ex(context, digest, NULL) != 1)
		writer_fail(&work->w, -ENOMEM);
	EVP_MD_CTX_free(context);
	meta.meta.hash = OCTETS(digest, sizeof(digest));
	stored_meta_data_write(&work->w, &meta);
}

/* A value nobody stored: exists false, identity none, algorithm {0,0}, empty signature (B-7.4.2-06). */
static void write_absent(struct fetch_work *work, uint32_t index, struct octets key) {
	struct stored_data data = {
		.value = {.model = work->kind->model, .index = index, .key = key},
		.signature = {.identity = {.type = SIGNER_NONE}},
	};

	if (work->stat)
		write_meta(work, &data.value, 0, 0);
	else
		stored_data_write(&work->w, &data);
}

/* Array entries in front of `end` that are not stored (B-7.2-02). A gap beyond STORE_HOLES_MAX is left out as a whole. */
static void write_holes(struct fetch_work *work, uint64_t end) {
	if (end <= work->next_index)
		return;
	uint64_t gap = end - work->next_index;
	if (gap <= STORE_HOLES_MAX - work->holes) {
		work->holes += (unsigned)gap;
		for (; work->next_index < end; work->next_index++)
			write_absent(work, (uint32_t)work->next_index, OCTETS_NONE);
	}
	work->next_index = end;
}

static int visit_record(void *userdata, const struct record *record) {
	struct fetch_work *work = userdata;
	struct stored_data data = {
		.storage_time_ms = record->storage_time_ms,
		.lifetime_s = record_lifetime_left(record->received_ms, record->lifetime_s, work->now_ms),
		.value = record_stored_value(record, work->kind->model),
	};
	struct reader signature = reader_of_octets(record->signature);
	int error = add_certificate(work, record->certificate);

	if (error == -EKEYREJECTED || signature_read(&signature, &data.signature) < 0)
		return 0;
	if (error < 0)
		return error;
	if (work->kind->model == DATA_MODEL_ARRAY) {
		write_holes(work, data.value.index);
		work->next_index = (uint64_t)data.value.index + 1;
	}
	if (work->stat)
		write_meta(work, &data.value, data.storage_time_ms, data.lifetime_s);
	else
		stored_data_write(&work->w, &data);
	work->found = true;
	return writer_finish(&work->w);
}

static int visit(struct fetch_work *work, const struct octets *first, const struct octets *last) {
	work->found = false;
	return record_visit(work->store->database, &work->resource_id, work->kind->id, first, last, work->now_ms, visit_record,
			    work);
}

static int write_single(struct fetch_work *work) {
	int error = visit(work, NULL, NULL);

	if (error == 0 && !work->found)
		write_absent(work, 0, OCTETS_NONE);
	return error;
}

static int write_range(struct fetch_work *work, struct array_range range, const struct record_counts *counts) {
	uint8_t first_key[4], last_key[4];
	struct stored_value first = {.model = DATA_MODEL_ARRAY}, last = {.model = DATA_MODEL_ARRAY};

	if (range.last == ARRAY_INDEX_LAST) { /* B-7.4.2-02: the final element, whichever that is */
		if (!counts->any)
			return 0;
		range.last = counts->last_index;
		if (range.first == ARRAY_INDEX_LAST)
			range.first = range.last;
	}
	if (range.first > range.last)
		return 0;
	first.index = range.first;
	last.index = range.last;
	struct octets from = record_key(&first, first_key), to = record_key(&last, last_key);
	work->next_index = range.first;
	int error = visit(work, &from, &to);
	if (error == 0)
		write_holes(work, (uint64_t)range.last + 1);
	return error;
}

/* No ranges: no values. */
static int write_array(struct fetch_work *work, struct octets ranges) {
	struct record_counts counts = {0};
	struct array_range range;
	size_t position = 0;
	int error = record_count(work->store->database, &work->resource_id, work->kind->id, work->now_ms, &counts);

	while (error == 0 && array_range_next(ranges, &position, &range) > 0)
		error = write_range(work, range, &counts);
	return error;
}

static int write_dictionary(struct fetch_work *work, struct octets keys) {
	size_t position = 0;
	struct octets key;
	bool any = false;
	int error = 0;

	while (error == 0 && dictionary_key_next(keys, &position, &key) > 0) {
		any = true;
		error = visit(work, &key, &key);
		if (error == 0 && !work->found)
			write_absent(work, 0, key);
	}
	return any ? error : visit(work, NULL, NULL); /* B-7.4.2-03: no keys, all entries */
}

static int write_kind(struct fetch_work *work, const struct stored_data_specifier *specifier) {
	struct record_kind state;
	int error = record_kind_get(work->store->database, &work->resource_id, specifier->kind, &state);

	if (error < 0)
		return error;
	size_t mark = store_kind_data_begin(&work->w, specifier->kind, state.generation); /* same layout in FetchAns and StatAns */
	error = 0;
	if (specifier->generation == 0 || specifier->generation != state.generation) { /* B-7.4.2-01 */
		switch (work->kind->model) {
		case DATA_MODEL_SINGLE:
			error = write_single(work);
			break;
		case DATA_MODEL_ARRAY:
			error = write_array(work, specifier->model_specifier);
			break;
		default:
			error = write_dictionary(work, specifier->model_specifier);
		}
	}
	store_kind_data_end(&work->w, mark);
	return error < 0 ? error : writer_finish(&work->w);
}

/* The list inside of a specifier without its own length prefix; checked against the Kind's model. */
static int check_specifier(const struct kind *kind, const struct stored_data_specifier *specifier) {
	switch (kind->model) {
	case DATA_MODEL_SINGLE:
		return specifier->model_specifier.length == 0 ? 0 : -EBADMSG;
	case DATA_MODEL_ARRAY:
		return array_ranges_check(specifier->model_specifier);
	default:
		return dictionary_keys_check(specifier->model_specifier);
	}
}

struct specifiers {
	struct stored_data_specifier items[STORE_KINDS_PER_REQUEST];
	const struct kind *kinds[STORE_KINDS_PER_REQUEST];
	size_t count;
};

/* Refuses the request itself and returns false when it asks for something impossible. */
static bool read_specifiers(struct fetch_work *work, struct octets list, struct specifiers *specifiers) {
	struct overlay_config *config = store_config(work->store);
	struct reader reader = reader_of_octets(list);
	uint32_t unknown[STORE_KINDS_PER_REQUEST];
	size_t unknown_count = 0;
	struct stored_data_specifier specifier;
	bool malformed = false;
	int more;

	while ((more = stored_data_specifier_next(&reader, &specifier)) > 0 && specifiers->count < STORE_KINDS_PER_REQUEST) {
		for (size_t i = 0; i < specifiers->count; i++)
			malformed |= specifiers->items[i].kind == specifier.kind; /* one element per Kind: B-7.4.2-05 */
		const struct kind *kind = overlay_config_kind(config, specifier.kind);
		if (!kind)
			unknown[unknown_count++] = specifier.kind;
		else
			malformed |= check_specifier(kind, &specifier) < 0;
		specifiers->items[specifiers->count] = specifier;
		specifiers->kinds[specifiers->count++] = kind;
	}
	if (more != 0 || malformed) {
		request_fail_text(work->request, ERROR_INVALID_MESSAGE, "the specifiers are malformed or name a Kind twice");
		return false;
	}
	if (unknown_count > 0) { /* B-7.4.2-04 */
		fail_unknown_kinds(work->request, unknown, unknown_count);
		return false;
	}
	return true;
}

static void answer_fetch(struct store *store, struct request *request, bool stat) {
	struct fetch_work work = {
		.store = store,
		.request = request,
		.stat = stat,
		.now_ms = runtime_realtime_ms(store->runtime),
		.w = writer_growing(store_config(store)->max_message_size),
	};
	struct specifiers specifiers = {.count = 0};
	struct fetch_req fetch;
	int error = 0;

	if (fetch_req_read(request->message.contents.body, &fetch) < 0 ||
	    resource_id_read(store, fetch.resource_id, &work.resource_id) < 0) {
		request_fail_text(request, ERROR_INVALID_MESSAGE, stat ? "malformed Stat request" : "malformed Fetch request");
		return;
	}
	if (!read_specifiers(&work, fetch.specifiers, &specifiers))
		return;
	size_t mark = writer_begin(&work.w, 4);
	for (size_t i = 0; i < specifiers.count && error == 0; i++) {
		work.kind = specifiers.kinds[i];
		error = write_kind(&work, &specifiers.items[i]);
	}
	writer_end(&work.w, mark, 4);
	if (error == 0)
		error = writer_finish(&work.w);
	switch (error) {
	case 0:
		request_answer(request, writer_octets_written(&work.w), stat ? NULL : &work.bucket); /* B-6.3.4-01 */
		break;
	case -ENOBUFS:
	case -EMSGSIZE:
	case -E2BIG:
		request_fail_text(request, ERROR_RESPONSE_TOO_LARGE, "ask for fewer values at a time");
		break;
	default:
		store_database_failed(store, error);
		request_fail_text(request, ERROR_NOT_FOUND, "the records cannot be read now");
	}
	certificate_bucket_release(&work.bucket);
	writer_release(&work.w);
}

static void read_fetch(struct store *store, struct request *request) {
	store->figures.fetches++;
	answer_fetch(store, request, false);
}

static void read_stat(struct store *store, struct request *request) {
	store->figures.stats++;
	answer_fetch(store, request, true);
}

/* ---- Find ---- */

/* Each Kind once, at most as many as a Find can name (one octet of length). */
static int read_find_kinds(struct octets list, uint32_t *kinds, size_t *ret_count) {
	struct reader reader = reader_of_octets(list);
	size_t count = 0;
	uint32_t kind;
	int more;

	while ((more = find_kind_next(&reader, &kind)) > 0) {
		for (size_t i = 0; i < count; i++)
			if (kinds[i] == kind)
				return -EBADMSG; /* B-7.4.4-01, Q-51 */
		if (count == STORE_KINDS_PER_REQUEST)
			return -EBADMSG;
		kinds[count++] = kind;
	}
	*ret_count = count;
	return more;
}

static void read_find(struct store *store, struct request *request) {
	uint8_t buffer[2 + STORE_KINDS_PER_REQUEST * (4 + 1 + ID_LENGTH_MAX)];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	uint32_t kinds[STORE_KINDS_PER_REQUEST];
	uint64_t now_ms = runtime_realtime_ms(store->runtime);
	struct find_req find;
	struct id resource_id;
	size_t count;

	store->figures.finds++;
	if (find_req_read(request->message.contents.body, &find) < 0 ||
	    resource_id_read(store, find.resource_id, &resource_id) < 0 || read_find_kinds(find.kinds, kinds, &count) < 0) {
		request_fail_text(request, ERROR_INVALID_MESSAGE, "malformed Find request, or a Kind stands twice in it");
		return;
	}
	if (!store_responsible(store, &resource_id)) { /* B-7.4.4-01 */
		request_fail_text(request, ERROR_NOT_FOUND, "this peer is not responsible for the Resource-ID");
		return;
	}
	size_t mark = writer_begin(&w, 2);
	for (size_t i = 0; i < count; i++) {
		/* B-7.4.4-02, Q-51: zero octets for an unknown Kind and when nothing is held */
		struct id closest = {.length = resource_id.length};
		if (overlay_config_kind(store_config(store), kinds[i]) &&
		    record_closest(store->database, kinds[i], &resource_id, now_ms, &closest) < 0) {
			request_fail_text(request, ERROR_NOT_FOUND, "the records cannot be read now");
			return;
		}
		find_kind_data_write(&w, kinds[i], id_octets(&closest));
	}
	writer_end(&w, mark, 2);
	request_answer(request, writer_octets_written(&w), NULL);
}

/* ---- entry points ---- */

void store_on_fetch(void *userdata, struct request *request) {
	if (!defer(userdata, request, read_fetch))
		read_fetch(userdata, request);
}

void store_on_stat(void *userdata, struct request *request) {
	if (!defer(userdata, request, read_stat))
		read_stat(userdata, request);
}

void store_on_find(void *userdata, struct request *request) {
	if (!defer(userdata, request, read_find))
		read_find(userdata, request);
}
