/* SPDX-License-Identifier: BSD-2-Clause */
/* What database.c and records.c share: the connection and its prepared statements. */
#pragma once

#include "storage/database.h"

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

struct record_database {
	sqlite3 *sqlite;
	sqlite3_stmt *prepared[STATEMENTS]; /* when first needed */
	struct record_totals totals;	    /* with what the transaction did */
	struct record_totals committed;	    /* when the transaction began */
	struct record_totals saved;	    /* at the savepoint */
	char reason[160];
};

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
