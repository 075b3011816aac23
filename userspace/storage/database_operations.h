/* SPDX-License-Identifier: BSD-2-Clause */
/* What an implementation of the record database provides: one function for each of storage/database.h. Not for other folders. */
#pragma once

#include "storage/database.h"

struct record_operations {
	struct record_database *(*close)(struct record_database *database);
	int (*limit_pages)(struct record_database *database, uint32_t pages);
	int (*begin)(struct record_database *database);
	int (*commit)(struct record_database *database);
	void (*rollback)(struct record_database *database);
	bool (*in_transaction)(const struct record_database *database);
	int (*savepoint)(struct record_database *database);
	int (*release)(struct record_database *database);
	void (*undo)(struct record_database *database);
	int (*head)(struct record_database *database, const struct id *resource_id, uint32_t kind, struct octets key, bool exists,
		    struct octets value, struct record_head *ret);
	int (*put)(struct record_database *database, const struct record *record, const struct record_head *head);
	int (*visit)(struct record_database *database, const struct id *resource_id, uint32_t kind, const struct octets *first,
		     const struct octets *last, uint64_t now_ms, record_visitor visitor, void *userdata);
	int (*count)(struct record_database *database, const struct id *resource_id, uint32_t kind, uint64_t now_ms,
		     struct record_counts *ret);
	int (*closest)(struct record_database *database, uint32_t kind, const struct id *from, uint64_t now_ms, struct id *ret);
	int (*expire)(struct record_database *database, uint64_t now_ms, unsigned limit, uint64_t *ret_next_ms);
	int (*discard)(struct record_database *database, const struct id *resource_id, uint32_t kind);
	int (*rebase)(struct record_database *database, uint64_t now_ms);
	int (*kind_get)(struct record_database *database, const struct id *resource_id, uint32_t kind, struct record_kind *ret);
	int (*kind_put)(struct record_database *database, const struct record_kind *kind);
	int (*kind_own)(struct record_database *database, const struct id *resource_id, uint32_t kind, uint64_t generation,
			bool owned);
	int (*kinds)(struct record_database *database, const struct id *resource_id, uint32_t kind, struct record_kind *out,
		     size_t max);
	int (*certificate_put)(struct record_database *database, const struct certificate *certificate, int64_t *ret);
	int (*certificate_next)(struct record_database *database, int64_t after, int64_t *ret, struct writer *w);
	int (*discard_signed)(struct record_database *database, int64_t certificate);
	int (*certificate_get)(struct record_database *database, int64_t certificate, struct writer *w);
};

/* The first part of each implementation's structure. */
struct record_database {
	const struct record_operations *operations;
	struct record_totals totals;	/* with what the transaction did */
	struct record_totals committed; /* when the transaction began */
	struct record_totals saved;	/* at the savepoint */
	char reason[160];
};

extern const struct record_operations record_operations_sqlite;
