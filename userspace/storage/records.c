/* SPDX-License-Identifier: BSD-2-Clause */
/* Values, generation counters and certificates in the SQLite database. */
#include "storage/database_statements.h"

#include <errno.h>
#include <string.h>

static void bind_id(sqlite3_stmt *statement, int index, const struct id *id) {
	database_bind_octets(statement, index, id_octets(id));
}

/* The statement with the place bound, NULL when it cannot be prepared. */
static sqlite3_stmt *place_statement(struct record_database *database, enum statement which, const struct id *resource_id,
				     uint32_t kind) {
	sqlite3_stmt *statement = database_statement(database, which);

	if (statement) {
		bind_id(statement, 1, resource_id);
		sqlite3_bind_int64(statement, 2, kind);
	}
	return statement;
}

static int sqlite_head(struct record_database *database, const struct id *resource_id, uint32_t kind, struct octets key,
		       bool exists, struct octets value, struct record_head *ret) {
	sqlite3_stmt *statement = place_statement(database, STATEMENT_HEAD, resource_id, kind);

	if (statement)
		database_bind_octets(statement, 3, key);
	int found = database_step(database, statement);
	if (found > 0) {
		struct octets held = database_column_octets(statement, 5);
		*ret = (struct record_head){
			.row = sqlite3_column_int64(statement, 0),
			.exists = sqlite3_column_int(statement, 1),
			.storage_time_ms = (uint64_t)sqlite3_column_int64(statement, 2),
			.expires_ms = (uint64_t)sqlite3_column_int64(statement, 3),
			.certificate = sqlite3_column_int64(statement, 4),
			.octets = held.length,
		};
		ret->same_value = ret->exists == exists && octets_equal(held, value);
	}
	sqlite3_reset(statement);
	return found;
}

static int drop_certificate(struct record_database *database, int64_t certificate) {
	sqlite3_stmt *statement = database_statement(database, STATEMENT_CERTIFICATE_DROP);

	if (statement)
		sqlite3_bind_int64(statement, 1, certificate);
	return database_run(database, statement);
}

static int sqlite_put(struct record_database *database, const struct record *record, const struct record_head *head) {
	struct record_totals totals = database->totals;

	if (head)
		totals.octets -= head->octets;
	else
		totals.records++;
	totals.octets += record->value.length;
	if (totals.records > STORE_RECORDS_MAX || totals.octets > STORE_OCTETS_MAX)
		return -EDQUOT;

	sqlite3_stmt *statement = database_statement(database, head ? STATEMENT_REPLACE : STATEMENT_INSERT);
	if (!statement)
		return database_fail(database);
	if (head) {
		sqlite3_bind_int64(statement, 12, head->row);
	} else {
		bind_id(statement, 1, &record->resource_id);
		sqlite3_bind_int64(statement, 2, record->kind);
		database_bind_octets(statement, 3, record->key);
	}
	sqlite3_bind_int(statement, 4, record->exists);
	sqlite3_bind_int64(statement, 5, (int64_t)record->storage_time_ms);
	sqlite3_bind_int64(statement, 6, (int64_t)record->received_ms);
	sqlite3_bind_int64(statement, 7, record->lifetime_s);
	sqlite3_bind_int64(statement, 8, (int64_t)(record->received_ms + (uint64_t)record->lifetime_s * 1000));
	sqlite3_bind_int64(statement, 9, record->certificate);
	database_bind_octets(statement, 10, record->value);
	database_bind_octets(statement, 11, record->signature);
	int error = database_run(database, statement);
	if (error < 0)
		return error;
	database->totals = totals;
	return head && head->certificate != record->certificate ? drop_certificate(database, head->certificate) : 0;
}

static int sqlite_visit(struct record_database *database, const struct id *resource_id, uint32_t kind, const struct octets *first,
			const struct octets *last, uint64_t now_ms, record_visitor visitor, void *userdata) {
	sqlite3_stmt *statement = place_statement(database, last ? STATEMENT_VISIT_RANGE : STATEMENT_VISIT, resource_id, kind);
	int error;

	if (statement) {
		database_bind_octets(statement, 3, first ? *first : OCTETS_NONE);
		sqlite3_bind_int64(statement, 4, (int64_t)now_ms);
		if (last)
			database_bind_octets(statement, 5, *last);
	}
	while ((error = database_step(database, statement)) > 0) {
		struct record record = {
			.resource_id = *resource_id,
			.kind = kind,
			.key = database_column_octets(statement, 0),
			.exists = sqlite3_column_int(statement, 1),
			.storage_time_ms = (uint64_t)sqlite3_column_int64(statement, 2),
			.received_ms = (uint64_t)sqlite3_column_int64(statement, 3),
			.lifetime_s = (uint32_t)sqlite3_column_int64(statement, 4),
			.certificate = sqlite3_column_int64(statement, 5),
			.value = database_column_octets(statement, 6),
			.signature = database_column_octets(statement, 7),
		};
		error = visitor(userdata, &record);
		if (error != 0)
			break;
	}
	sqlite3_reset(statement);
	return error;
}

static int sqlite_count(struct record_database *database, const struct id *resource_id, uint32_t kind, uint64_t now_ms,
			struct record_counts *ret) {
	sqlite3_stmt *statement = place_statement(database, STATEMENT_COUNT, resource_id, kind);

	if (statement)
		sqlite3_bind_int64(statement, 3, (int64_t)now_ms);
	int error = database_step(database, statement);
	if (error > 0) {
		uint32_t values = (uint32_t)sqlite3_column_int64(statement, 0), all = (uint32_t)sqlite3_column_int64(statement, 1);
		struct reader key = reader_of_octets(database_column_octets(statement, 2));
		*ret = (struct record_counts){
			.values = values, .tombstones = all - values, .any = all > 0, .last_index = reader_u32(&key)};
	}
	sqlite3_reset(statement);
	return error < 0 ? error : 0;
}

static int sqlite_closest(struct record_database *database, uint32_t kind, const struct id *from, uint64_t now_ms, struct id *ret) {
	struct id start = *from;
	int found = 0;

	/* From the point to the end of the identifiers, then once more from zero. */
	for (int lap = 0; lap < 2 && found == 0; lap++) {
		sqlite3_stmt *statement = database_statement(database, STATEMENT_CLOSEST);
		if (statement) {
			sqlite3_bind_int64(statement, 1, kind);
			bind_id(statement, 2, &start);
			sqlite3_bind_int64(statement, 3, (int64_t)now_ms);
		}
		found = database_step(database, statement);
		if (found > 0)
			*ret = id_of(database_column_octets(statement, 0));
		sqlite3_reset(statement);
		memset(start.octets, 0, sizeof(start.octets));
	}
	return found;
}

/* ---- generation counters ---- */

static int sqlite_kind_get(struct record_database *database, const struct id *resource_id, uint32_t kind, struct record_kind *ret) {
	sqlite3_stmt *statement = place_statement(database, STATEMENT_KIND_GET, resource_id, kind);
	int found = database_step(database, statement);

	if (found >= 0)
		*ret = (struct record_kind){.resource_id = *resource_id, .kind = kind};
	if (found > 0) {
		ret->generation = (uint64_t)sqlite3_column_int64(statement, 0);
		ret->owned = sqlite3_column_int(statement, 1);
	}
	sqlite3_reset(statement);
	return found;
}

/* 1 when anything is held at the resource. */
static int resource_held(struct record_database *database, const struct id *resource_id) {
	sqlite3_stmt *statement = database_statement(database, STATEMENT_RESOURCE_HELD);

	if (statement)
		bind_id(statement, 1, resource_id);
	int held = database_step(database, statement);
	sqlite3_reset(statement);
	return held;
}

static int sqlite_kind_put(struct record_database *database, const struct record_kind *kind) {
	int held = resource_held(database, &kind->resource_id);

	if (held < 0)
		return held;
	sqlite3_stmt *statement = place_statement(database, STATEMENT_KIND_PUT, &kind->resource_id, kind->kind);
	if (statement) {
		sqlite3_bind_int64(statement, 3, (int64_t)kind->generation);
		sqlite3_bind_int(statement, 4, kind->owned);
	}
	int error = database_run(database, statement);
	if (error == 0 && held == 0)
		database->totals.resources++;
	return error;
}

static int sqlite_kind_own(struct record_database *database, const struct id *resource_id, uint32_t kind, uint64_t generation,
			   bool owned) {
	sqlite3_stmt *statement = place_statement(database, STATEMENT_KIND_OWN, resource_id, kind);

	if (statement) {
		sqlite3_bind_int64(statement, 3, (int64_t)generation);
		sqlite3_bind_int(statement, 4, owned);
	}
	int error = database_run(database, statement);
	return error < 0 ? error : sqlite3_changes(sqlite_of(database)->sqlite);
}

static int sqlite_kinds(struct record_database *database, const struct id *resource_id, uint32_t kind, struct record_kind *out,
			size_t max) {
	sqlite3_stmt *statement = place_statement(database, STATEMENT_KINDS, resource_id, kind);
	size_t count = 0;
	int error = 0;

	if (statement)
		sqlite3_bind_int64(statement, 3, (int64_t)max);
	while (count < max && (error = database_step(database, statement)) > 0)
		out[count++] = (struct record_kind){
			.resource_id = id_of(database_column_octets(statement, 0)),
			.kind = (uint32_t)sqlite3_column_int64(statement, 1),
			.generation = (uint64_t)sqlite3_column_int64(statement, 2),
			.owned = sqlite3_column_int(statement, 3),
		};
	sqlite3_reset(statement);
	return error < 0 ? error : (int)count;
}

/* The counter goes with the last record of its Kind. */
static int drop_empty_kind(struct record_database *database, const struct id *resource_id, uint32_t kind) {
	int error = database_run(database, place_statement(database, STATEMENT_KIND_DELETE, resource_id, kind));

	if (error < 0 || sqlite3_changes(sqlite_of(database)->sqlite) == 0)
		return error;
	int held = resource_held(database, resource_id);
	if (held == 0)
		database->totals.resources--;
	return held < 0 ? held : 0;
}

/* ---- deleting ---- */

enum { DELETE_BATCH = 256 };

struct doomed {
	int64_t row, certificate;
	struct id resource_id;
	uint32_t kind;
	uint64_t octets;
};

static int collect_doomed(struct record_database *database, sqlite3_stmt *statement, struct doomed *out, size_t max) {
	size_t count = 0;
	int error = 0;

	while (count < max && (error = database_step(database, statement)) > 0)
		out[count++] = (struct doomed){
			.row = sqlite3_column_int64(statement, 0),
			.resource_id = id_of(database_column_octets(statement, 1)),
			.kind = (uint32_t)sqlite3_column_int64(statement, 2),
			.certificate = sqlite3_column_int64(statement, 3),
			.octets = (uint64_t)sqlite3_column_int64(statement, 4),
		};
	sqlite3_reset(statement);
	return error < 0 ? error : (int)count;
}

static int delete_doomed(struct record_database *database, const struct doomed *doomed, size_t count) {
	int error = 0;

	for (size_t i = 0; i < count && error == 0; i++) {
		sqlite3_stmt *statement = database_statement(database, STATEMENT_DELETE);
		if (statement)
			sqlite3_bind_int64(statement, 1, doomed[i].row);
		error = database_run(database, statement);
		if (error < 0)
			break;
		database->totals.records--;
		database->totals.octets -= doomed[i].octets;
		error = drop_certificate(database, doomed[i].certificate);
		if (error == 0)
			error = drop_empty_kind(database, &doomed[i].resource_id, doomed[i].kind);
	}
	return error;
}

static int sqlite_expire(struct record_database *database, uint64_t now_ms, unsigned limit, uint64_t *ret_next_ms) {
	struct doomed doomed[DELETE_BATCH];
	sqlite3_stmt *statement = database_statement(database, STATEMENT_EXPIRED);

	if (statement) {
		sqlite3_bind_int64(statement, 1, (int64_t)now_ms);
		sqlite3_bind_int64(statement, 2, limit < DELETE_BATCH ? limit : DELETE_BATCH);
	}
	int count = collect_doomed(database, statement, doomed, DELETE_BATCH);
	if (count > 0) {
		int error = delete_doomed(database, doomed, (size_t)count);
		if (error < 0)
			return error;
	}
	if (count < 0)
		return count;
	statement = database_statement(database, STATEMENT_NEXT_EXPIRY);
	int found = database_step(database, statement);
	if (found > 0)
		*ret_next_ms = sqlite3_column_type(statement, 0) == SQLITE_NULL ? UINT64_MAX
										: (uint64_t)sqlite3_column_int64(statement, 0);
	sqlite3_reset(statement);
	return found < 0 ? found : count;
}

static int sqlite_discard(struct record_database *database, const struct id *resource_id, uint32_t kind) {
	struct doomed doomed[DELETE_BATCH];
	int count, error = 0;

	do {
		count = collect_doomed(database, place_statement(database, STATEMENT_OF_KIND, resource_id, kind), doomed,
				       DELETE_BATCH);
		error = count < 0 ? count : delete_doomed(database, doomed, (size_t)count);
	} while (error == 0 && count == DELETE_BATCH);
	return error == 0 ? drop_empty_kind(database, resource_id, kind) : error;
}

static int sqlite_rebase(struct record_database *database, uint64_t now_ms) {
	sqlite3_stmt *statement = database_statement(database, STATEMENT_REBASE);

	if (statement)
		sqlite3_bind_int64(statement, 1, (int64_t)now_ms);
	return database_run(database, statement);
}

static int sqlite_discard_signed(struct record_database *database, int64_t certificate) {
	struct doomed doomed[DELETE_BATCH];
	sqlite3_stmt *statement = database_statement(database, STATEMENT_OF_CERTIFICATE);

	if (statement) {
		sqlite3_bind_int64(statement, 1, certificate);
		sqlite3_bind_int64(statement, 2, DELETE_BATCH);
	}
	int count = collect_doomed(database, statement, doomed, DELETE_BATCH);
	int error = count > 0 ? delete_doomed(database, doomed, (size_t)count) : 0;
	return error < 0 ? error : count;
}

/* ---- certificates ---- */

static int sqlite_certificate_put(struct record_database *database, const struct certificate *certificate, int64_t *ret) {
	struct octets hash = OCTETS(certificate->sha256, sizeof(certificate->sha256));
	sqlite3_stmt *statement = database_statement(database, STATEMENT_CERTIFICATE_OF_HASH);

	if (statement)
		database_bind_octets(statement, 1, hash);
	int found = database_step(database, statement);
	if (found > 0)
		*ret = sqlite3_column_int64(statement, 0);
	sqlite3_reset(statement);
	if (found != 0)
		return found < 0 ? found : 0;
	statement = database_statement(database, STATEMENT_CERTIFICATE_PUT);
	if (statement) {
		database_bind_octets(statement, 1, hash);
		database_bind_octets(statement, 2, OCTETS(certificate->der, certificate->der_length));
	}
	int error = database_run(database, statement);
	if (error == 0)
		*ret = sqlite3_last_insert_rowid(sqlite_of(database)->sqlite);
	return error;
}

static int sqlite_certificate_get(struct record_database *database, int64_t certificate, struct writer *w) {
	sqlite3_stmt *statement = database_statement(database, STATEMENT_CERTIFICATE_GET);

	if (statement)
		sqlite3_bind_int64(statement, 1, certificate);
	int found = database_step(database, statement);
	if (found > 0)
		writer_octets(w, database_column_octets(statement, 0));
	sqlite3_reset(statement);
	if (found == 0)
		return -ENOENT;
	return found < 0 ? found : writer_finish(w);
}

static int sqlite_certificate_next(struct record_database *database, int64_t after, int64_t *ret, struct writer *w) {
	sqlite3_stmt *statement = database_statement(database, STATEMENT_CERTIFICATE_NEXT);

	if (statement)
		sqlite3_bind_int64(statement, 1, after);
	int found = database_step(database, statement);
	if (found > 0) {
		*ret = sqlite3_column_int64(statement, 0);
		writer_octets(w, database_column_octets(statement, 1));
	}
	sqlite3_reset(statement);
	return found;
}

const struct record_operations record_operations_sqlite = {
	.close = sqlite_close,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.in_transaction = sqlite_in_transaction,
	.savepoint = sqlite_savepoint,
	.release = sqlite_release,
	.undo = sqlite_undo,
	.limit_pages = sqlite_limit_pages,
	.head = sqlite_head,
	.put = sqlite_put,
	.visit = sqlite_visit,
	.count = sqlite_count,
	.closest = sqlite_closest,
	.kind_get = sqlite_kind_get,
	.kind_put = sqlite_kind_put,
	.kind_own = sqlite_kind_own,
	.kinds = sqlite_kinds,
	.expire = sqlite_expire,
	.discard = sqlite_discard,
	.rebase = sqlite_rebase,
	.discard_signed = sqlite_discard_signed,
	.certificate_put = sqlite_certificate_put,
	.certificate_get = sqlite_certificate_get,
	.certificate_next = sqlite_certificate_next,
};
