/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records on disk: values with their signatures, the generation counters, and the certificates the signatures refer to
 * (B-6.3.4-02). One SQLite file in WAL mode; everything written since record_database_begin() is one transaction.
 *
 * A place is (Resource-ID, Kind, key): the key is empty for single values, four octets of index (big-endian, so that octet order
 * is index order) for arrays, and the dictionary key itself, any octets, for dictionaries (B-7.2-03).
 *
 * Functions return 0 or a count, or negative errno; record_database_reason() then holds SQLite's sentence. Inside a transaction a
 * failure may have ended the transaction: see record_database_in_transaction().
 */
#pragma once

#include "storage/store.h"

enum {
	RECORD_SCHEMA = 1,		 /* PRAGMA user_version */
	RECORD_APPLICATION = 0x52474154, /* "RGAT", PRAGMA application_id */
	RECORD_KEY_MAX = 65535,
};

/* Opening and closing: storage/store.h. */

/*
 * The same in plain memory: nothing is kept after closing, and a database of a few records takes a few hundred octets. For the
 * simulator, which has one per node. All functions behave alike, but record_database_limit_pages() is -ENOTSUP.
 */
int record_database_open_memory(struct record_database **ret);

DEFINE_CLEANUP(struct record_database *, record_database_close)

/* Lets the file grow to `pages` pages of 4096 octets; beyond it writes fail with -ENOSPC. For tests of full disks. */
int record_database_limit_pages(struct record_database *database, uint32_t pages);

/* ---- transactions ---- */

/* Does nothing inside a transaction. */
int record_database_begin(struct record_database *database);
int record_database_commit(struct record_database *database);
void record_database_rollback(struct record_database *database);
bool record_database_in_transaction(const struct record_database *database);

/* A part of the transaction that can be undone alone. */
int record_database_savepoint(struct record_database *database);
int record_database_release(struct record_database *database);
void record_database_undo(struct record_database *database);

const char *record_database_reason(const struct record_database *database);

/* What is held, as seen by the current transaction. */
struct record_totals {
	uint64_t records, octets, resources;
};
struct record_totals record_database_totals(const struct record_database *database);

/* ---- values ---- */

struct record {
	struct id resource_id;
	uint32_t kind;
	struct octets key;
	bool exists; /* false: a tombstone */
	uint64_t storage_time_ms;
	uint64_t received_ms; /* our wall clock on receipt */
	uint32_t lifetime_s;  /* counted from received_ms */
	struct octets value;
	struct octets signature; /* Signature structure as received */
	int64_t certificate;	 /* of the signer */
};

/* Seconds left at `now_ms`; a clock that went back never gives more than the lifetime. */
uint32_t record_lifetime_left(uint64_t received_ms, uint32_t lifetime_s, uint64_t now_ms);

/* What is known of the record at a place before it is replaced. */
struct record_head {
	int64_t row;
	bool exists;
	uint64_t storage_time_ms, expires_ms;
	bool same_value; /* `exists` and the value equal those asked about */
	uint64_t octets; /* of its value */
	int64_t certificate;
};
/* 1 found, 0 nothing there. */
int record_head(struct record_database *database, const struct id *resource_id, uint32_t kind, struct octets key, bool exists,
		struct octets value, struct record_head *ret);

/* Inserts or replaces (`head` as record_head() gave it, NULL: nothing there). -EDQUOT: beyond STORE_RECORDS_MAX or _OCTETS_MAX. */
int record_put(struct record_database *database, const struct record *record, const struct record_head *head);

/* Called for each record; views are valid during the call and no writing function may be called. Non-zero ends the walk. */
typedef int (*record_visitor)(void *userdata, const struct record *record);

/* Records at a resource of a Kind that have not expired, in key order; first and last are included, NULL: no bound. */
int record_visit(struct record_database *database, const struct id *resource_id, uint32_t kind, const struct octets *first,
		 const struct octets *last, uint64_t now_ms, record_visitor visitor, void *userdata);

/* Unexpired values and tombstones of one Kind, and the highest array index among them. */
struct record_counts {
	uint32_t values, tombstones;
	bool any;
	uint32_t last_index;
};
int record_count(struct record_database *database, const struct id *resource_id, uint32_t kind, uint64_t now_ms,
		 struct record_counts *ret);

/* The first resource at or clockwise after `from` that holds an existing value of the Kind. 1 found, 0 none. */
int record_closest(struct record_database *database, uint32_t kind, const struct id *from, uint64_t now_ms, struct id *ret);

/* Deletes up to `limit` records that expired; returns how many. *ret_next_ms: when the next one expires, UINT64_MAX without. */
int record_expire(struct record_database *database, uint64_t now_ms, unsigned limit, uint64_t *ret_next_ms);

/* Deletes all records of one Kind at a resource and its generation counter. */
int record_discard(struct record_database *database, const struct id *resource_id, uint32_t kind);

/* Counts the lifetime of records that claim receipt after `now_ms` from now: the clock had been wrong when they came. */
int record_rebase(struct record_database *database, uint64_t now_ms);

/* ---- generation counters ---- */

struct record_kind {
	struct id resource_id;
	uint32_t kind;
	uint64_t generation; /* 0: nothing stored */
	bool owned;	     /* we were responsible when last looked at: to be offered when that changes (B-6.4.2.3-02) */
};
/* 1 found, 0 nothing there (*ret has generation 0). */
int record_kind_get(struct record_database *database, const struct id *resource_id, uint32_t kind, struct record_kind *ret);
int record_kind_put(struct record_database *database, const struct record_kind *kind);

/* Changes `owned` if the generation is still the one given; 1 changed, 0 not. */
int record_kind_own(struct record_database *database, const struct id *resource_id, uint32_t kind, uint64_t generation, bool owned);

/* Up to `max` entries behind (resource_id, kind), in order. Returns how many; fewer than `max`: the end was reached. */
int record_kinds(struct record_database *database, const struct id *resource_id, uint32_t kind, struct record_kind *out,
		 size_t max);

/* ---- certificates ---- */

int record_certificate_put(struct record_database *database, const struct certificate *certificate, int64_t *ret);
/* The certificate behind `after` in the order of their numbers; its DER octets are appended. 1 found, 0 none. */
int record_certificate_next(struct record_database *database, int64_t after, int64_t *ret, struct writer *w);
/* Deletes a batch of the records signed with it; how many, 0: none is left. */
int record_discard_signed(struct record_database *database, int64_t certificate);
/* Appends the DER octets. -ENOENT. */
int record_certificate_get(struct record_database *database, int64_t certificate, struct writer *w);
