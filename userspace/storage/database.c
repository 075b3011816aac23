/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening, checking and transactions of the record database; the statements on records stand in records.c. */
#include "storage/database_statements.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const char schema[] =
	"CREATE TABLE certificates (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, der BLOB NOT NULL);"
	"CREATE TABLE kinds (resource BLOB NOT NULL, kind INTEGER NOT NULL, generation INTEGER NOT NULL, owned INTEGER NOT NULL,"
	" PRIMARY KEY (resource, kind)) WITHOUT ROWID;"
	"CREATE TABLE records (id INTEGER PRIMARY KEY, resource BLOB NOT NULL, kind INTEGER NOT NULL, key BLOB NOT NULL,"
	" present INTEGER NOT NULL, storage_time INTEGER NOT NULL, received INTEGER NOT NULL, lifetime INTEGER NOT NULL,"
	" expires INTEGER NOT NULL, certificate INTEGER NOT NULL REFERENCES certificates (id), value BLOB NOT NULL,"
	" signature BLOB NOT NULL);"
	"CREATE UNIQUE INDEX records_place ON records (resource, kind, key);"
	"CREATE INDEX records_expires ON records (expires);"
	"CREATE INDEX records_certificate ON records (certificate);"
	"CREATE INDEX records_find ON records (kind, resource) WHERE present = 1;";

static const char *const statements[STATEMENTS] = {
	[STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
	[STATEMENT_COMMIT] = "COMMIT",
	[STATEMENT_ROLLBACK] = "ROLLBACK",
	[STATEMENT_SAVEPOINT] = "SAVEPOINT request",
	[STATEMENT_RELEASE] = "RELEASE request",
	[STATEMENT_UNDO] = "ROLLBACK TO request",
	[STATEMENT_HEAD] = "SELECT id, present, storage_time, expires, certificate, value FROM records"
			   " WHERE resource = ?1 AND kind = ?2 AND key = ?3",
	[STATEMENT_INSERT] =
		"INSERT INTO records (resource, kind, key, present, storage_time, received, lifetime, expires, certificate,"
		" value, signature) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
	[STATEMENT_REPLACE] = "UPDATE records SET present = ?4, storage_time = ?5, received = ?6, lifetime = ?7, expires = ?8,"
			      " certificate = ?9, value = ?10, signature = ?11 WHERE id = ?12",
	[STATEMENT_VISIT] = "SELECT key, present, storage_time, received, lifetime, certificate, value, signature FROM records"
			    " WHERE resource = ?1 AND kind = ?2 AND key >= ?3 AND expires > ?4 ORDER BY key",
	[STATEMENT_VISIT_RANGE] =
		"SELECT key, present, storage_time, received, lifetime, certificate, value, signature FROM records"
		" WHERE resource = ?1 AND kind = ?2 AND key >= ?3 AND expires > ?4 AND key <= ?5 ORDER BY key",
	[STATEMENT_COUNT] =
		"SELECT sum(present), count(*), max(key) FROM records WHERE resource = ?1 AND kind = ?2 AND expires > ?3",
	[STATEMENT_CLOSEST] = "SELECT resource FROM records WHERE kind = ?1 AND resource >= ?2 AND present = 1 AND expires > ?3"
			      " ORDER BY resource LIMIT 1",
	[STATEMENT_EXPIRED] =
		"SELECT id, resource, kind, certificate, length(value) FROM records WHERE expires <= ?1 ORDER BY expires"
		" LIMIT ?2",
	[STATEMENT_OF_KIND] =
		"SELECT id, resource, kind, certificate, length(value) FROM records WHERE resource = ?1 AND kind = ?2",
	[STATEMENT_NEXT_EXPIRY] = "SELECT min(expires) FROM records",
	[STATEMENT_DELETE] = "DELETE FROM records WHERE id = ?1",
	[STATEMENT_REBASE] = "UPDATE records SET received = ?1, expires = ?1 + lifetime * 1000 WHERE received > ?1",
	[STATEMENT_KIND_GET] = "SELECT generation, owned FROM kinds WHERE resource = ?1 AND kind = ?2",
	[STATEMENT_KIND_PUT] =
		"INSERT INTO kinds (resource, kind, generation, owned) VALUES (?1, ?2, ?3, ?4)"
		" ON CONFLICT (resource, kind) DO UPDATE SET generation = excluded.generation, owned = excluded.owned",
	[STATEMENT_KIND_OWN] = "UPDATE kinds SET owned = ?4 WHERE resource = ?1 AND kind = ?2 AND generation = ?3",
	[STATEMENT_KIND_DELETE] = "DELETE FROM kinds WHERE resource = ?1 AND kind = ?2 AND NOT EXISTS"
				  " (SELECT 1 FROM records WHERE records.resource = ?1 AND records.kind = ?2)",
	[STATEMENT_KINDS] = "SELECT resource, kind, generation, owned FROM kinds WHERE (resource, kind) > (?1, ?2)"
			    " ORDER BY resource, kind LIMIT ?3",
	[STATEMENT_RESOURCE_HELD] = "SELECT 1 FROM kinds WHERE resource = ?1 LIMIT 1",
	[STATEMENT_CERTIFICATE_OF_HASH] = "SELECT id FROM certificates WHERE hash = ?1",
	[STATEMENT_CERTIFICATE_PUT] = "INSERT INTO certificates (hash, der) VALUES (?1, ?2)",
	[STATEMENT_CERTIFICATE_GET] = "SELECT der FROM certificates WHERE id = ?1",
	[STATEMENT_CERTIFICATE_DROP] = "DELETE FROM certificates WHERE id = ?1 AND NOT EXISTS"
				       " (SELECT 1 FROM records WHERE records.certificate = ?1)",
	[STATEMENT_CERTIFICATE_NEXT] = "SELECT id, der FROM certificates WHERE id > ?1 ORDER BY id LIMIT 1",
	[STATEMENT_OF_CERTIFICATE] =
		"SELECT id, resource, kind, certificate, length(value) FROM records WHERE certificate = ?1 LIMIT ?2",
};

int database_fail(struct record_database *database) {
	int code = sqlite3_errcode(sqlite_of(database)->sqlite) & 0xff;

	snprintf(database->reason, sizeof(database->reason), "%s", sqlite3_errmsg(sqlite_of(database)->sqlite));
	switch (code) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return -EROFS;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_CANTOPEN:
		return -ENOENT;
	default:
		return -EIO;
	}
}

sqlite3_stmt *database_statement(struct record_database *database, enum statement statement) {
	sqlite3_stmt **prepared = &sqlite_of(database)->prepared[statement];

	if (!*prepared && sqlite3_prepare_v3(sqlite_of(database)->sqlite, statements[statement], -1, SQLITE_PREPARE_PERSISTENT,
					     prepared, NULL) != SQLITE_OK)
		return NULL;
	return *prepared;
}

void database_bind_octets(sqlite3_stmt *statement, int index, struct octets octets) {
	/* A NULL pointer would bind NULL instead of an empty blob. */
	if (octets.length == 0)
		sqlite3_bind_zeroblob(statement, index, 0);
	else
		sqlite3_bind_blob64(statement, index, octets.data, octets.length, SQLITE_STATIC);
}

struct octets database_column_octets(sqlite3_stmt *statement, int column) {
	const void *data = sqlite3_column_blob(statement, column);

	return OCTETS(data, (size_t)sqlite3_column_bytes(statement, column));
}

int database_run(struct record_database *database, sqlite3_stmt *statement) {
	int error = 0;

	if (!statement)
		return database_fail(database);
	if (sqlite3_step(statement) != SQLITE_DONE)
		error = database_fail(database);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return error;
}

int database_step(struct record_database *database, sqlite3_stmt *statement) {
	if (!statement)
		return database_fail(database);
	switch (sqlite3_step(statement)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		return 0;
	default:
		return database_fail(database);
	}
}

static int simple(struct record_database *database, enum statement statement) {
	return database_run(database, database_statement(database, statement));
}

bool sqlite_in_transaction(const struct record_database *database) {
	return !sqlite3_get_autocommit(sqlite_of(database)->sqlite);
}

int sqlite_begin(struct record_database *database) {
	if (sqlite_in_transaction(database))
		return 0;
	database->committed = database->totals;
	int error = simple(database, STATEMENT_BEGIN);
	sqlite_of(database)->begun = error == 0;
	return error;
}

int sqlite_commit(struct record_database *database) {
	if (!sqlite_in_transaction(database))
		return 0;
	int error = simple(database, STATEMENT_COMMIT);
	if (error < 0)
		sqlite_rollback(database);
	else
		sqlite_of(database)->begun = false;
	return error;
}

/* Some failures (disk full, I/O) end the transaction inside SQLite: the totals have to follow then as well. */
void sqlite_rollback(struct record_database *database) {
	char reason[sizeof(database->reason)];

	memcpy(reason, database->reason, sizeof(reason));
	if (sqlite_in_transaction(database))
		simple(database, STATEMENT_ROLLBACK);
	memcpy(database->reason, reason, sizeof(reason));
	if (sqlite_of(database)->begun) /* without a transaction nothing changes */
		database->totals = database->committed;
	sqlite_of(database)->begun = false;
}

int sqlite_savepoint(struct record_database *database) {
	database->saved = database->totals;
	return simple(database, STATEMENT_SAVEPOINT);
}

int sqlite_release(struct record_database *database) {
	return simple(database, STATEMENT_RELEASE);
}

void sqlite_undo(struct record_database *database) {
	char reason[sizeof(database->reason)];

	memcpy(reason, database->reason, sizeof(reason));
	if (!sqlite_in_transaction(database) || simple(database, STATEMENT_UNDO) < 0 || simple(database, STATEMENT_RELEASE) < 0)
		sqlite_rollback(database);
	else
		database->totals = database->saved;
	memcpy(database->reason, reason, sizeof(reason));
}

int sqlite_limit_pages(struct record_database *database, uint32_t pages) {
	char text[64];

	snprintf(text, sizeof(text), "PRAGMA max_page_count = %u", pages);
	return sqlite3_exec(sqlite_of(database)->sqlite, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : database_fail(database);
}

struct record_database *sqlite_close(struct record_database *database) {
	for (size_t i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(sqlite_of(database)->prepared[i]);
	sqlite3_close(sqlite_of(database)->sqlite);
	free(database);
	return NULL;
}

static int query_integer(struct record_database *database, const char *sql, int64_t *ret) {
	sqlite3_stmt *statement = NULL;
	int error = 0;

	if (sqlite3_prepare_v2(sqlite_of(database)->sqlite, sql, -1, &statement, NULL) != SQLITE_OK ||
	    sqlite3_step(statement) != SQLITE_ROW)
		error = database_fail(database);
	else
		*ret = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return error;
}

static int execute(struct record_database *database, const char *sql) {
	return sqlite3_exec(sqlite_of(database)->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : database_fail(database);
}

/* "ok", or SQLite's first finding as the reason. */
static int quick_check(struct record_database *database) {
	sqlite3_stmt *statement = NULL;
	int error = 0;

	if (sqlite3_prepare_v2(sqlite_of(database)->sqlite, "PRAGMA quick_check(1)", -1, &statement, NULL) != SQLITE_OK ||
	    sqlite3_step(statement) != SQLITE_ROW) {
		error = database_fail(database);
	} else {
		const char *text = (const char *)sqlite3_column_text(statement, 0);
		if (!text || strcmp(text, "ok") != 0) {
			snprintf(database->reason, sizeof(database->reason), "%.*s", (int)strcspn(text ? text : "", "\n"),
				 text ? text : "");
			error = -EUCLEAN;
		}
	}
	sqlite3_finalize(statement);
	return error;
}

static int create_schema(struct record_database *database) {
	char numbers[96];
	int error = execute(database, "BEGIN IMMEDIATE");

	snprintf(numbers, sizeof(numbers), "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", RECORD_APPLICATION,
		 RECORD_SCHEMA);
	if (error == 0)
		error = execute(database, schema);
	if (error == 0)
		error = execute(database, numbers);
	return error;
}

/* Sets -EUCLEAN for what is not ours or damaged, -ENOTSUP for a newer schema; *ret_fresh for an empty file. Writes nothing. */
static int check_contents(struct record_database *database, bool *ret_fresh, int64_t *ret_schema) {
	int64_t application, tables;
	int error = query_integer(database, "PRAGMA application_id", &application);

	if (error == 0)
		error = query_integer(database, "PRAGMA user_version", ret_schema);
	if (error == 0)
		error = query_integer(database, "SELECT count(*) FROM sqlite_schema", &tables);
	if (error < 0)
		return error;
	if (tables == 0 && application == 0 && *ret_schema == 0) {
		*ret_fresh = true;
		return 0;
	}
	if (application != RECORD_APPLICATION) {
		snprintf(database->reason, sizeof(database->reason), "another program's database");
		return -EUCLEAN;
	}
	if (*ret_schema > RECORD_SCHEMA)
		return -ENOTSUP;
	return quick_check(database);
}

static int load_totals(struct record_database *database) {
	int64_t records = 0, octets = 0, resources = 0;
	int error = query_integer(database, "SELECT count(*) FROM records", &records);

	if (error == 0)
		error = query_integer(database, "SELECT ifnull(sum(length(value)), 0) FROM records", &octets);
	if (error == 0)
		error = query_integer(database, "SELECT count(*) FROM (SELECT DISTINCT resource FROM kinds)", &resources);
	if (error == 0)
		database->totals = (struct record_totals){(uint64_t)records, (uint64_t)octets, (uint64_t)resources};
	return error;
}

static int check_permission(struct record_database *database) {
	if (sqlite3_db_readonly(sqlite_of(database)->sqlite, "main") == 0)
		return 0;
	snprintf(database->reason, sizeof(database->reason), "permission denied");
	return -EROFS;
}

static void say(char *reason, size_t size, const char *path, const struct record_database *database, int error, int64_t found) {
	switch (error) {
	case -ENOTSUP:
		snprintf(reason, size,
			 "%s was written by a newer version (schema %lld, this version knows %d): start that version, or move the "
			 "file away",
			 path, (long long)found, RECORD_SCHEMA);
		break;
	case -EUCLEAN:
		snprintf(reason, size,
			 "%s is not a sound record database (%s): move it away with its -wal and -shm files and start again, "
			 "replicas"
			 " restore the records",
			 path, database->reason);
		break;
	case -EBUSY:
		snprintf(reason, size, "%s is in use by another process: stop that one first", path);
		break;
	default:
		snprintf(reason, size,
			 "%s cannot be written (%s): check owner, permissions and free space of the file and its directory", path,
			 database->reason);
	}
}

static int set_up(struct record_database *database, bool in_memory, int64_t *ret_schema) {
	bool fresh = false;

	sqlite3_busy_timeout(sqlite_of(database)->sqlite, 0);
	/* Until the file has proved sound nothing may change it, not even the checkpoint on closing. */
	sqlite3_db_config(sqlite_of(database)->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_db_config(sqlite_of(database)->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (in_memory) /* tests and simulations have thousands of these, each small */
		sqlite3_db_config(sqlite_of(database)->sqlite, SQLITE_DBCONFIG_LOOKASIDE, NULL, 0, 0);
	int error = check_permission(database);
	if (error == 0)
		error = execute(database, in_memory ? "PRAGMA page_size = 1024"
						    : "PRAGMA locking_mode = EXCLUSIVE"); /* one daemon per file */
	if (error == 0)
		error = check_contents(database, &fresh, ret_schema);
	if (error == 0) /* a transaction that is undone proves that the file and its directory can be written */
		error = execute(database, "BEGIN IMMEDIATE; ROLLBACK");
	if (error == 0)
		error = execute(database,
				in_memory ? "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -256"
					  : "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
					    "PRAGMA cache_size = -16384; PRAGMA journal_size_limit = 16777216");
	if (error == 0 && fresh)
		error = create_schema(database);
	if (error == 0)
		error = load_totals(database);
	if (error == 0)
		sqlite3_db_config(sqlite_of(database)->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	return error;
}

int record_database_open(const char *path, struct record_database **ret, char *reason, size_t size) {
	struct sqlite_database *sqlite = calloc(1, sizeof(*sqlite));
	_cleanup_(record_database_closep) struct record_database *database = sqlite ? &sqlite->base : NULL;
	struct stat status;
	int64_t found = 0;
	int error = 0;

	if (!database) {
		snprintf(reason, size, "out of memory");
		return -ENOMEM;
	}
	database->operations = &record_operations_sqlite;
	if (path && stat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
		snprintf(reason, size, "%s is not a regular file: name a file for the records", path);
		return -EINVAL;
	}
	if (sqlite3_open_v2(path ? path : ":memory:", &sqlite_of(database)->sqlite,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			    NULL) != SQLITE_OK)
		error = sqlite_of(database)->sqlite ? database_fail(database) : -ENOMEM;
	else
		error = set_up(database, !path, &found);
	if (error < 0) {
		say(reason, size, path ? path : "the record database in memory", database, error, found);
		return error;
	}
	*ret = TAKE(database);
	return 0;
}
