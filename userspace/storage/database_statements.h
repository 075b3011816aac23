/* SPDX-License-Identifier: BSD-2-Clause */
/* What database.c and records.c share, the implementation with SQLite: the connection and its prepared statements. */
#pragma once

#include "storage/database_operations.h"

#include <sqlite3.h>

enum statement {
	STATEMENT_BEGIN,
	STATEMENT_COMMIT,
	STATEMENT_ROLLBACK,
	STATEMENT_SAVEPOINT,
	STATEMENT_RELEASE,
	STATEMENT_UNDO,
	STATEMENT_HEAD,
	STATEMENT_INSERT,
	STATEMENT_REPLACE,
	STATEMENT_VISIT,
	STATEMENT_VISIT_RANGE,
	STATEMENT_COUNT,
	STATEMENT_CLOSEST,
	STATEMENT_EXPIRED,
	STATEMENT_OF_KIND,
	STATEMENT_NEXT_EXPIRY,
	STATEMENT_DELETE,
	STATEMENT_REBASE,
	STATEMENT_KIND_GET,
	STATEMENT_KIND_PUT,
	STATEMENT_KIND_OWN,
	STATEMENT_KIND_DELETE,
	STATEMENT_KINDS,
	STATEMENT_RESOURCE_HELD,
	STATEMENT_CERTIFICATE_OF_HASH,
	STATEMENT_CERTIFICATE_PUT,
	STATEMENT_CERTIFICATE_GET,
	STATEMENT_CERTIFICATE_DROP,
	STATEMENT_CERTIFICATE_NEXT,
	STATEMENT_OF_CERTIFICATE,
	STATEMENTS,
};

struct sqlite_database {
	struct record_database base;
	sqlite3 *sqlite;
	sqlite3_stmt *prepared[STATEMENTS]; /* when first needed */
	bool begun;			    /* a transaction that has not ended by our will */
};

static inline struct sqlite_database *sqlite_of(const struct record_database *database) {
	return container_of(database, struct sqlite_database, base);
}

/* ---- database.c ---- */

struct record_database *sqlite_close(struct record_database *database);
int sqlite_begin(struct record_database *database);
int sqlite_commit(struct record_database *database);
void sqlite_rollback(struct record_database *database);
bool sqlite_in_transaction(const struct record_database *database);
int sqlite_savepoint(struct record_database *database);
int sqlite_release(struct record_database *database);
void sqlite_undo(struct record_database *database);
int sqlite_limit_pages(struct record_database *database, uint32_t pages);

/* Remembers SQLite's sentence and returns the errno for it. */
int database_fail(struct record_database *database);

/* NULL when it cannot be prepared; database_run() and database_step() accept that and report. */
sqlite3_stmt *database_statement(struct record_database *database, enum statement statement);
void database_bind_octets(sqlite3_stmt *statement, int index, struct octets octets);
struct octets database_column_octets(sqlite3_stmt *statement, int column);

/* Executes a statement without results and resets it. */
int database_run(struct record_database *database, sqlite3_stmt *statement);

/* 1 a row, 0 the end; the caller resets. */
int database_step(struct record_database *database, sqlite3_stmt *statement);
