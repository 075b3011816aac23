/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Storage (RFC 6940 7): Store, Fetch, Stat and Find as responsible peer and as replica holder, access control, replication and
 * handover. Records live in a database behind struct record_database; answers to Stores go out after the commit. Sans-I/O.
 */
#pragma once

#include "topology/topology.h"
#include "wire/data.h"

struct store;
struct record_database;

enum {
	STORE_RECORDS_MAX = 1000000,	      /* values held by this node; beyond: Error_Data_Too_Large */
	STORE_OCTETS_MAX = 512 * 1024 * 1024, /* of values */
	STORE_LIFETIME_MAX_S = 400 * 86400,   /* longer lifetimes are cut */
	STORAGE_VALUES_MAX = 1024,	      /* values taken from one fetch; more: partial */
};

/* ---- the database ---- */

/* SQLite in WAL mode. A corrupt or unwritable file is an error with one sentence that says what to do; nothing is overwritten.
 * path NULL: in memory only. */
int record_database_open(const char *path, struct record_database **ret, char *reason, size_t size);
struct record_database *record_database_close(struct record_database *database);

/* ---- the store ---- */

struct store_settings {
	struct runtime *runtime;
	struct router *router;
	struct topology *topology;
	struct record_database *database; /* borrowed */
};
int store_new(const struct store_settings *settings, struct store **ret);
struct store *store_free(struct store *store);

/* Wire these to struct topology_events. */
void store_hand_over(struct store *store, const struct id *joiner, const struct id *from, const struct id *to,
		     void (*done)(void *done_userdata, int error), void *done_userdata);
void store_replicas_changed(struct store *store, const struct id *added, size_t count);
void store_owner_changed(struct store *store, const struct id *owner, const struct id *from, const struct id *to);
void store_range_changed(struct store *store);
void store_copies_changed(struct store *store);

/* A new configuration document is in force: records signed by bad nodes and those of Kinds that are no longer known go, a batch at a
 * time (B-11.1-06, B-11.1-12). */
void store_configuration_changed(struct store *store);

/* Commits what the last requests wrote and sends their answers. The driver calls it before it sleeps. */
void store_commit(struct store *store);
bool store_commit_wanted(const struct store *store);

struct store_figures {
	uint64_t records, octets, resources; /* now; records counts values, tombstones included */
	uint64_t stores_ok, stores_refused, fetches, stats, finds, replicas_sent, replicas_received, expired, revoked;
	int database_error; /* negative errno of the last failed commit, 0 when healthy */
	char database_reason[160];
};
void store_figures(const struct store *store, struct store_figures *ret);

/* ---- acting as a client of the overlay ---- */

/* One value to store. */
struct storage_value {
	struct stored_value value;
	uint32_t lifetime_s;
	uint64_t storage_time_ms; /* 0: now */
};

/* error as in response_handler; -EREMOTEIO: error_code and error_text tell. */
struct storage_outcome {
	int error;
	uint16_t error_code;
	char error_text[160];
	uint64_t generation; /* Store: the new counter */
	struct id responder;
	struct id replicas[TOPOLOGY_REPLICAS_MAX];
	size_t replica_count;
	uint64_t elapsed_us;
};
typedef void (*storage_store_done)(void *userdata, const struct storage_outcome *outcome);

/*
 * Stores values of one Kind, signed by `sign_as` (NULL: our node). A value refused as too old is redone once with the stored time
 * plus one (B-7-03). -EINVAL, -ENOBUFS, -EMSGSIZE.
 */
int storage_store(struct router *router, struct credential *sign_as, const struct id *resource_id, uint32_t kind,
		  uint64_t generation, const struct storage_value *values, size_t count, storage_store_done done, void *userdata);

/* One verified value. Views are valid during the call. */
struct fetched_value {
	struct stored_value value;
	uint64_t storage_time_ms;
	uint32_t lifetime_s; /* remaining */
	struct id signer_id;
	struct certificate *signer; /* NULL for synthesized absent values */
	bool rolled_back;	    /* older than what an earlier fetch saw here (B-13.5-02); see storage_history */
};
/* `partial`: values were left out because their signatures do not hold (B-7.4.2-07). */
typedef void (*storage_fetch_done)(void *userdata, const struct storage_outcome *outcome, const struct fetched_value *values,
				   size_t count, bool partial);

/* Fetches all values of one Kind. `destination` (may be NULL): ask this Node-ID instead of the responsible peer. */
int storage_fetch(struct router *router, const struct id *resource_id, uint32_t kind, const struct id *destination,
		  storage_fetch_done done, void *userdata);

/* Remembers the newest storage_time seen of each value, so that going back is noticed. The oldest memories go at the bound. */
enum { STORAGE_HISTORY_MAX = 4096 };
struct storage_history;
int storage_history_new(struct storage_history **ret);
struct storage_history *storage_history_free(struct storage_history *history);

/* As storage_fetch(); `history` (may be NULL) is borrowed until `done` was called. */
int storage_fetch_with(struct router *router, struct storage_history *history, const struct id *resource_id, uint32_t kind,
		       const struct id *destination, storage_fetch_done done, void *userdata);

typedef void (*storage_find_done)(void *userdata, const struct storage_outcome *outcome, const struct id *closest);
int storage_find(struct router *router, const struct id *resource_id, uint32_t kind, storage_find_done done, void *userdata);
