/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The record database in plain memory: three sorted arrays of entries that never change in place. Whoever changes something puts a
 * new entry in the place of the old one, so that a transaction is undone by putting the old ones back, last first. That needs no
 * memory: the arrays never shrink.
 *
 * Counts that follow from the entries (totals, uses of a certificate, the next expiry) are kept where entries come and go, and
 * hence are right after an undo as well. Certificates are shared with whoever else holds them, not copied.
 *
 * Adding and removing moves pointers, and a certificate is found by its hash one after the other: meant for thousands of records.
 */
#include "storage/database_operations.h"

#include <errno.h>
#include <string.h>

enum { FIRST_CAPACITY = 4 };

struct memory_record {
	struct id resource_id;
	uint32_t kind, lifetime_s;
	bool exists;
	uint64_t storage_time_ms, received_ms, expires_ms;
	int64_t certificate;
	struct octets key, value, signature; /* in `data` */
	uint8_t data[];
};

struct memory_certificate {
	int64_t id;
	struct certificate *certificate;
	size_t uses; /* records signed with it */
};

enum { RECORDS, KINDS, CERTIFICATES, TABLES };

struct table {
	void **entries;
	uint32_t count, capacity;
};

struct change {
	unsigned table;
	void *old, *new; /* NULL: was added, was removed */
};

struct memory_database {
	struct record_database base;
	struct table tables[TABLES];
	bool open; /* a transaction */
	struct change *changes;
	size_t change_count, change_capacity, mark; /* `mark`: at the savepoint */
	uint64_t earliest_ms;			    /* expiry of the next record, when known */
	bool earliest_known;
};

static struct memory_database *memory_of(const struct record_database *database) {
	return container_of(database, struct memory_database, base);
}

/* ---- order ---- */

static int compare_octets(struct octets a, struct octets b) {
	size_t shorter = a.length < b.length ? a.length : b.length;
	int order = shorter ? memcmp(a.data, b.data, shorter) : 0;

	return order ? order : (a.length > b.length) - (a.length < b.length);
}

static int compare_places(const struct id *a, uint32_t kind_a, const struct id *b, uint32_t kind_b) {
	int order = compare_octets(id_octets(a), id_octets(b));

	return order ? order : (kind_a > kind_b) - (kind_a < kind_b);
}

static int compare_records(const void *a, const void *b) {
	const struct memory_record *first = a, *second = b;
	int order = compare_places(&first->resource_id, first->kind, &second->resource_id, second->kind);

	return order ? order : compare_octets(first->key, second->key);
}

static int compare_kinds(const void *a, const void *b) {
	const struct record_kind *first = a, *second = b;

	return compare_places(&first->resource_id, first->kind, &second->resource_id, second->kind);
}

static int compare_certificates(const void *a, const void *b) {
	const struct memory_certificate *first = a, *second = b;

	return (first->id > second->id) - (first->id < second->id);
}

static int (*const compare[TABLES])(const void *a, const void *b) = {compare_records, compare_kinds, compare_certificates};

/* Position of the first entry at or behind `probe`. */
static uint32_t lower_bound(const struct memory_database *memory, unsigned table, const void *probe) {
	const struct table *entries = &memory->tables[table];
	uint32_t low = 0, high = entries->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (compare[table](entries->entries[middle], probe) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void *find(const struct memory_database *memory, unsigned table, const void *probe) {
	uint32_t at = lower_bound(memory, table, probe);
	void *entry = at < memory->tables[table].count ? memory->tables[table].entries[at] : NULL;

	return entry && compare[table](entry, probe) == 0 ? entry : NULL;
}

static struct memory_record *record_at(const struct memory_database *memory, uint32_t at) {
	return at < memory->tables[RECORDS].count ? memory->tables[RECORDS].entries[at] : NULL;
}

static struct memory_certificate *certificate_of(const struct memory_database *memory, int64_t id) {
	struct memory_certificate probe = {.id = id};

	return find(memory, CERTIFICATES, &probe);
}

/* ---- changes ---- */

static void entry_free(unsigned table, void *entry) {
	if (table == CERTIFICATES && entry)
		certificate_unref(((struct memory_certificate *)entry)->certificate);
	free(entry);
}

static void count_record(struct memory_database *memory, const struct memory_record *record, int sign) {
	struct memory_certificate *certificate = certificate_of(memory, record->certificate);

	memory->base.totals.records += (uint64_t)sign;
	memory->base.totals.octets += (uint64_t)sign * record->value.length;
	if (certificate)
		certificate->uses += (size_t)sign;
	if (sign > 0 && memory->earliest_known && record->expires_ms < memory->earliest_ms)
		memory->earliest_ms = record->expires_ms;
	else if (sign < 0 && record->expires_ms == memory->earliest_ms)
		memory->earliest_known = false;
}

/* Is one of the Kinds beside position `at`, the one there left out, at the same resource? */
static bool resource_beside(const struct memory_database *memory, uint32_t at) {
	const struct table *kinds = &memory->tables[KINDS];
	const struct record_kind *own = kinds->entries[at];
	const struct record_kind *before = at > 0 ? kinds->entries[at - 1] : NULL;
	const struct record_kind *behind = at + 1 < kinds->count ? kinds->entries[at + 1] : NULL;

	return (before && id_equal(&before->resource_id, &own->resource_id)) ||
	       (behind && id_equal(&behind->resource_id, &own->resource_id));
}

/* Puts `new` in the place of `old`; the array has room. */
static void apply(struct memory_database *memory, unsigned which, void *old, void *new) {
	struct table *table = &memory->tables[which];
	uint32_t at = lower_bound(memory, which, old ? old : new);

	if (old && which == RECORDS)
		count_record(memory, old, -1);
	if (old && !new) {
		if (which == KINDS && !resource_beside(memory, at))
			memory->base.totals.resources--;
		memmove(table->entries + at, table->entries + at + 1, (table->count - at - 1) * sizeof(void *));
		table->count--;
	} else {
		if (!old) {
			memmove(table->entries + at + 1, table->entries + at, (table->count - at) * sizeof(void *));
			table->count++;
		}
		table->entries[at] = new;
		if (!old && which == KINDS && !resource_beside(memory, at))
			memory->base.totals.resources++;
	}
	if (new &&which == RECORDS)
		count_record(memory, new, 1);
}

static int make_room(void **list, size_t count, size_t *capacity, size_t size) {
	if (count < *capacity)
		return 0;
	size_t larger = *capacity ? *capacity * 2 : FIRST_CAPACITY;
	void *moved = reallocarray(*list, larger, size);
	if (!moved)
		return -ENOMEM;
	*list = moved;
	*capacity = larger;
	return 0;
}

/* Takes `new`, also on failure; `old` is freed when it can no longer come back. */
static int change(struct memory_database *memory, unsigned which, void *old, void *new) {
	struct table *table = &memory->tables[which];
	size_t capacity = table->capacity;
	int error = !old ? make_room((void **)&table->entries, table->count, &capacity, sizeof(void *)) : 0;

	table->capacity = (uint32_t)capacity;
	if (error == 0 && memory->open)
		error = make_room((void **)&memory->changes, memory->change_count, &memory->change_capacity,
				  sizeof(*memory->changes));
	if (error < 0) {
		snprintf(memory->base.reason, sizeof(memory->base.reason), "out of memory");
		entry_free(which, new);
		return error;
	}
	apply(memory, which, old, new);
	if (memory->open)
		memory->changes[memory->change_count++] = (struct change){.table = which, .old = old, .new = new};
	else
		entry_free(which, old);
	return 0;
}

static void undo_to(struct memory_database *memory, size_t mark) {
	while (memory->change_count > mark) {
		const struct change *last = &memory->changes[--memory->change_count];
		apply(memory, last->table, last->new, last->old);
		entry_free(last->table, last->new);
	}
}

/* ---- transactions ---- */

static bool memory_in_transaction(const struct record_database *database) {
	return memory_of(database)->open;
}

static int memory_begin(struct record_database *database) {
	memory_of(database)->open = true;
	return 0;
}

static void transaction_end(struct memory_database *memory) {
	free(memory->changes);
	memory->changes = NULL;
	memory->change_count = memory->change_capacity = memory->mark = 0;
	memory->open = false;
}

static int memory_commit(struct record_database *database) {
	struct memory_database *memory = memory_of(database);

	for (size_t i = 0; i < memory->change_count; i++)
		entry_free(memory->changes[i].table, memory->changes[i].old);
	transaction_end(memory);
	return 0;
}

static void memory_rollback(struct record_database *database) {
	undo_to(memory_of(database), 0);
	transaction_end(memory_of(database));
}

/* Outside of a transaction it begins one, as in SQLite. */
static int memory_savepoint(struct record_database *database) {
	struct memory_database *memory = memory_of(database);

	memory->open = true;
	memory->mark = memory->change_count;
	return 0;
}

static int memory_release(struct record_database *database) {
	(void)database;
	return 0;
}

static void memory_undo(struct record_database *database) {
	undo_to(memory_of(database), memory_of(database)->mark);
}

static int memory_limit_pages(struct record_database *database, uint32_t pages) {
	(void)database;
	(void)pages;
	return -ENOTSUP;
}

/* ---- values ---- */

static int memory_head(struct record_database *database, const struct id *resource_id, uint32_t kind, struct octets key,
		       bool exists, struct octets value, struct record_head *ret) {
	struct memory_record probe = {.resource_id = *resource_id, .kind = kind, .key = key};
	const struct memory_record *record = find(memory_of(database), RECORDS, &probe);

	if (!record)
		return 0;
	*ret = (struct record_head){
		.exists = record->exists,
		.storage_time_ms = record->storage_time_ms,
		.expires_ms = record->expires_ms,
		.same_value = record->exists == exists && octets_equal(record->value, value),
		.octets = record->value.length,
		.certificate = record->certificate,
	};
	return 1;
}

static struct octets append(uint8_t **at, struct octets octets) {
	struct octets copy = OCTETS(*at, octets.length);

	if (octets.length > 0)
		memcpy(*at, octets.data, octets.length);
	*at += octets.length;
	return copy;
}

static struct memory_record *record_new(const struct record *from) {
	struct memory_record *record = malloc(sizeof(*record) + from->key.length + from->value.length + from->signature.length);

	if (!record)
		return NULL;
	uint8_t *at = record->data;
	*record = (struct memory_record){
		.resource_id = from->resource_id,
		.kind = from->kind,
		.exists = from->exists,
		.storage_time_ms = from->storage_time_ms,
		.received_ms = from->received_ms,
		.lifetime_s = from->lifetime_s,
		.expires_ms = from->received_ms + (uint64_t)from->lifetime_s * 1000,
		.certificate = from->certificate,
		.key = append(&at, from->key),
		.value = append(&at, from->value),
		.signature = append(&at, from->signature),
	};
	return record;
}

static struct record record_view(const struct memory_record *record) {
	return (struct record){
		.resource_id = record->resource_id,
		.kind = record->kind,
		.key = record->key,
		.exists = record->exists,
		.storage_time_ms = record->storage_time_ms,
		.received_ms = record->received_ms,
		.lifetime_s = record->lifetime_s,
		.value = record->value,
		.signature = record->signature,
		.certificate = record->certificate,
	};
}

static int drop_certificate(struct memory_database *memory, int64_t id) {
	struct memory_certificate *certificate = certificate_of(memory, id);

	return certificate && certificate->uses == 0 ? change(memory, CERTIFICATES, certificate, NULL) : 0;
}

static int memory_put(struct record_database *database, const struct record *record, const struct record_head *head) {
	struct memory_database *memory = memory_of(database);
	struct memory_record probe = {.resource_id = record->resource_id, .kind = record->kind, .key = record->key};
	struct memory_record *old = find(memory, RECORDS, &probe);
	uint64_t records = database->totals.records + !old;
	uint64_t octets = database->totals.octets - (old ? old->value.length : 0) + record->value.length;

	if (records > STORE_RECORDS_MAX || octets > STORE_OCTETS_MAX)
		return -EDQUOT;
	struct memory_record *new = record_new(record);
	int error = new ? change(memory, RECORDS, old, new) : -ENOMEM;
	if (error < 0)
		return error;
	return head && head->certificate != record->certificate ? drop_certificate(memory, head->certificate) : 0;
}

static bool record_is_of(const struct memory_record *record, const struct id *resource_id, uint32_t kind) {
	return record && record->kind == kind && id_equal(&record->resource_id, resource_id);
}

static int memory_visit(struct record_database *database, const struct id *resource_id, uint32_t kind, const struct octets *first,
			const struct octets *last, uint64_t now_ms, record_visitor visitor, void *userdata) {
	const struct memory_database *memory = memory_of(database);
	struct memory_record probe = {.resource_id = *resource_id, .kind = kind, .key = first ? *first : OCTETS_NONE};
	const struct memory_record *record;
	int error = 0;

	for (uint32_t at = lower_bound(memory, RECORDS, &probe); error == 0; at++) {
		record = record_at(memory, at);
		if (!record_is_of(record, resource_id, kind) || (last && compare_octets(record->key, *last) > 0))
			break;
		struct record view = record_view(record);
		if (record->expires_ms > now_ms)
			error = visitor(userdata, &view);
	}
	return error;
}

static int count_one(void *userdata, const struct record *record) {
	struct record_counts *counts = userdata;
	struct reader key = reader_of_octets(record->key);

	counts->any = true;
	counts->values += record->exists;
	counts->tombstones += !record->exists;
	counts->last_index = reader_u32(&key); /* they come in the order of their keys */
	return 0;
}

static int memory_count(struct record_database *database, const struct id *resource_id, uint32_t kind, uint64_t now_ms,
			struct record_counts *ret) {
	*ret = (struct record_counts){0};
	return memory_visit(database, resource_id, kind, NULL, NULL, now_ms, count_one, ret);
}

static int memory_closest(struct record_database *database, uint32_t kind, const struct id *from, uint64_t now_ms, struct id *ret) {
	const struct memory_database *memory = memory_of(database);
	struct memory_record probe = {.resource_id = *from};
	uint32_t count = memory->tables[RECORDS].count, start = lower_bound(memory, RECORDS, &probe);

	for (uint32_t i = 0; i < count; i++) {
		const struct memory_record *record = record_at(memory, (start + i) % count);
		if (record->kind != kind || !record->exists || record->expires_ms <= now_ms)
			continue;
		*ret = record->resource_id;
		return 1;
	}
	return 0;
}

/* ---- generation counters ---- */

static struct record_kind *find_kind(struct record_database *database, const struct id *resource_id, uint32_t kind) {
	struct record_kind probe = {.resource_id = *resource_id, .kind = kind};

	return find(memory_of(database), KINDS, &probe);
}

static int memory_kind_get(struct record_database *database, const struct id *resource_id, uint32_t kind, struct record_kind *ret) {
	const struct record_kind *held = find_kind(database, resource_id, kind);

	*ret = held ? *held : (struct record_kind){.resource_id = *resource_id, .kind = kind};
	return held != NULL;
}

static int memory_kind_put(struct record_database *database, const struct record_kind *kind) {
	struct record_kind *new = malloc(sizeof(*new));

	if (!new)
		return -ENOMEM;
	*new = *kind;
	return change(memory_of(database), KINDS, find_kind(database, &kind->resource_id, kind->kind), new);
}

static int memory_kind_own(struct record_database *database, const struct id *resource_id, uint32_t kind, uint64_t generation,
			   bool owned) {
	const struct record_kind *held = find_kind(database, resource_id, kind);

	if (!held || held->generation != generation)
		return 0;
	struct record_kind changed = *held;
	changed.owned = owned;
	int error = memory_kind_put(database, &changed);
	return error < 0 ? error : 1;
}

static int memory_kinds(struct record_database *database, const struct id *resource_id, uint32_t kind, struct record_kind *out,
			size_t max) {
	const struct memory_database *memory = memory_of(database);
	struct record_kind probe = {.resource_id = *resource_id, .kind = kind};
	uint32_t at = lower_bound(memory, KINDS, &probe);
	size_t count = 0;

	for (; at < memory->tables[KINDS].count && count < max; at++) {
		const struct record_kind *held = memory->tables[KINDS].entries[at];
		if (compare_kinds(held, &probe) > 0)
			out[count++] = *held;
	}
	return (int)count;
}

/* The counter goes with the last record of its Kind. */
static int drop_empty_kind(struct memory_database *memory, const struct id *resource_id, uint32_t kind) {
	struct memory_record probe = {.resource_id = *resource_id, .kind = kind};
	struct record_kind *held = find_kind(&memory->base, resource_id, kind);

	if (!held || record_is_of(record_at(memory, lower_bound(memory, RECORDS, &probe)), resource_id, kind))
		return 0;
	return change(memory, KINDS, held, NULL);
}

/* ---- deleting ---- */

static int delete_record(struct memory_database *memory, struct memory_record *record) {
	struct id resource_id = record->resource_id;
	uint32_t kind = record->kind;
	int64_t certificate = record->certificate;
	int error = change(memory, RECORDS, record, NULL);

	if (error == 0)
		error = drop_certificate(memory, certificate);
	return error < 0 ? error : drop_empty_kind(memory, &resource_id, kind);
}

/* The record that expires first, NULL without any. */
static struct memory_record *earliest(struct memory_database *memory) {
	struct memory_record *first = NULL;

	for (uint32_t at = 0; at < memory->tables[RECORDS].count; at++) {
		struct memory_record *record = record_at(memory, at);
		if (!first || record->expires_ms < first->expires_ms)
			first = record;
	}
	memory->earliest_known = true;
	memory->earliest_ms = first ? first->expires_ms : UINT64_MAX;
	return first;
}

static int memory_expire(struct record_database *database, uint64_t now_ms, unsigned limit, uint64_t *ret_next_ms) {
	struct memory_database *memory = memory_of(database);
	unsigned count = 0;

	while (!memory->earliest_known || (memory->earliest_ms <= now_ms && count < limit)) {
		struct memory_record *record = earliest(memory);
		if (!record || record->expires_ms > now_ms || count == limit)
			break;
		int error = delete_record(memory, record);
		if (error < 0)
			return error;
		count++;
	}
	*ret_next_ms = memory->earliest_ms;
	return (int)count;
}

static int memory_discard(struct record_database *database, const struct id *resource_id, uint32_t kind) {
	struct memory_database *memory = memory_of(database);
	struct memory_record probe = {.resource_id = *resource_id, .kind = kind}, *record;
	int error = 0;

	while (error == 0 && record_is_of(record = record_at(memory, lower_bound(memory, RECORDS, &probe)), resource_id, kind))
		error = delete_record(memory, record);
	return error < 0 ? error : drop_empty_kind(memory, resource_id, kind);
}

static int memory_rebase(struct record_database *database, uint64_t now_ms) {
	struct memory_database *memory = memory_of(database);
	int error = 0;

	for (uint32_t at = 0; at < memory->tables[RECORDS].count && error == 0; at++) {
		struct memory_record *record = record_at(memory, at);
		struct record rebased = record_view(record);
		if (record->received_ms <= now_ms)
			continue;
		rebased.received_ms = now_ms;
		struct memory_record *new = record_new(&rebased);
		error = new ? change(memory, RECORDS, record, new) : -ENOMEM;
	}
	return error;
}

static int memory_discard_signed(struct record_database *database, int64_t certificate) {
	enum { BATCH = 256 };
	struct memory_database *memory = memory_of(database);
	int count = 0, error = 0;

	for (uint32_t at = 0; at < memory->tables[RECORDS].count && count < BATCH && error == 0;) {
		struct memory_record *record = record_at(memory, at);
		if (record->certificate == certificate) {
			error = delete_record(memory, record);
			count++;
		} else {
			at++;
		}
	}
	return error < 0 ? error : count;
}

/* ---- certificates ---- */

static int memory_certificate_put(struct record_database *database, const struct certificate *certificate, int64_t *ret) {
	struct memory_database *memory = memory_of(database);
	const struct table *table = &memory->tables[CERTIFICATES];
	struct memory_certificate *entry = NULL;

	for (uint32_t at = 0; at < table->count; at++) {
		entry = table->entries[at];
		if (memcmp(entry->certificate->sha256, certificate->sha256, sizeof(certificate->sha256)) != 0)
			continue;
		*ret = entry->id;
		return 0;
	}
	struct memory_certificate *new = malloc(sizeof(*new));
	if (!new)
		return -ENOMEM;
	/* Sharing it changes nothing but its count of references. */
	*new = (struct memory_certificate){.id = entry ? entry->id + 1 : 1,
					   .certificate = certificate_ref((struct certificate *)certificate)};
	int64_t id = new->id;
	int error = change(memory, CERTIFICATES, NULL, new);
	if (error == 0)
		*ret = id;
	return error;
}

static void write_certificate(const struct certificate *certificate, struct writer *w) {
	writer_octets(w, OCTETS(certificate->der, certificate->der_length));
}

static int memory_certificate_get(struct record_database *database, int64_t certificate, struct writer *w) {
	const struct memory_certificate *entry = certificate_of(memory_of(database), certificate);

	if (!entry)
		return -ENOENT;
	write_certificate(entry->certificate, w);
	return writer_finish(w);
}

static int memory_certificate_next(struct record_database *database, int64_t after, int64_t *ret, struct writer *w) {
	const struct memory_database *memory = memory_of(database);
	struct memory_certificate probe = {.id = after + 1};
	uint32_t at = lower_bound(memory, CERTIFICATES, &probe);

	if (at >= memory->tables[CERTIFICATES].count)
		return 0;
	const struct memory_certificate *entry = memory->tables[CERTIFICATES].entries[at];
	*ret = entry->id;
	write_certificate(entry->certificate, w);
	return 1;
}

/* ---- life ---- */

static struct record_database *memory_close(struct record_database *database) {
	struct memory_database *memory = memory_of(database);

	memory_rollback(database);
	for (unsigned which = 0; which < TABLES; which++) {
		for (uint32_t at = 0; at < memory->tables[which].count; at++)
			entry_free(which, memory->tables[which].entries[at]);
		free(memory->tables[which].entries);
	}
	free(memory);
	return NULL;
}

static const struct record_operations operations = {
	.close = memory_close,
	.begin = memory_begin,
	.commit = memory_commit,
	.rollback = memory_rollback,
	.in_transaction = memory_in_transaction,
	.savepoint = memory_savepoint,
	.release = memory_release,
	.undo = memory_undo,
	.limit_pages = memory_limit_pages,
	.head = memory_head,
	.put = memory_put,
	.visit = memory_visit,
	.count = memory_count,
	.closest = memory_closest,
	.kind_get = memory_kind_get,
	.kind_put = memory_kind_put,
	.kind_own = memory_kind_own,
	.kinds = memory_kinds,
	.expire = memory_expire,
	.discard = memory_discard,
	.rebase = memory_rebase,
	.discard_signed = memory_discard_signed,
	.certificate_put = memory_certificate_put,
	.certificate_get = memory_certificate_get,
	.certificate_next = memory_certificate_next,
};

int record_database_open_memory(struct record_database **ret) {
	struct memory_database *memory = calloc(1, sizeof(*memory));

	if (!memory)
		return -ENOMEM;
	memory->base.operations = &operations;
	*ret = &memory->base;
	return 0;
}
