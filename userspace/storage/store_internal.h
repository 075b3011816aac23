/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the store share. Not for other folders. */
#pragma once

#include "base/cleanup.h"
#include "storage/access.h"
#include "storage/database.h"

enum {
	STORE_KINDS_PER_REQUEST = 63, /* an Error_Unknown_Kind can name no more; requests with more: Error_Invalid_Message */
	STORE_HOLES_MAX = 256,	      /* absent array entries synthesized in an answer; the rest is left out */
	STORE_WINDOW = 8,	      /* resources being sent to one peer at a time */
	STORE_UNITS_MAX = 16384,      /* resources queued for replication; more: the peer gets all records again later */
	STORE_ATTEMPTS = 4,	      /* for one resource at one peer */
	STORE_SCAN_DELAY_MS = 100,    /* range changes come in groups */
	STORE_SCAN_PAGE = 128,	      /* Kinds of resources looked at in one go */
	STORE_OWNER_DELAY_S = 10,     /* before copies are offered to a new owner: mostly it gets them by handover */
	STORE_FAREWELL_DELAY_S = 60, /* before copies that are no longer expected here go: those that are may not exist yet */
	STORE_WALKS_MAX = 16,	      /* of one peer */
	STORE_OFFER_RETRY_S = 60,
	STORE_RESYNC_FIRST_S = 60, /* after all attempts failed; doubles up to an hour */
	STORE_RESYNC_LAST_S = 3600,
	STORE_EXPIRY_BATCH = 256,
	STORE_SWEEP_CERTIFICATES = 32, /* looked at in one go after the configuration changed */
	STORE_SWEEP_PAUSE_MS = 5,      /* between two of them */
	STORE_CLOCK_SETTLED_S = 3600, /* by then the wall clock is believed */
	STORE_REPAIRS_MAX = 64,	      /* resources being fetched from a peer with newer data; more wait for the next attempt */
};

/* One value that a request changed. */
struct change {
	uint32_t kind;
	bool whole; /* all values of the Kind; no key */
	uint8_t *key;
	size_t key_length;
};
/* Changes at one resource. */
struct changes {
	struct id resource_id;
	struct change *items;
	size_t count;
};
int changes_add(struct changes *changes, uint32_t kind, const struct octets *key); /* key NULL: the whole Kind */
int changes_copy(const struct changes *from, struct changes *ret);
void changes_release(struct changes *changes);

struct feed;
struct repair;

/* A request that waits for the commit. */
struct pending {
	struct request *request;
	void (*read)(struct store *store, struct request *request); /* Fetch, Stat, Find; NULL: a Store */
	uint8_t *answer;
	size_t answer_length;
	struct changes changes; /* to be replicated */
	struct id sender;	/* needs no replica; ID_NONE: nobody */
	struct pending *prev, *next;
};

/* A walk over everything held, after the own range changed. */
struct scan {
	struct timer timer;
	bool running, again;
	uint64_t farewell_us; /* copies may go from then on */
	struct id resource_id;
	uint32_t kind;
};

/* A walk over the certificates and then the Kinds held, after the configuration changed. */
struct sweep {
	struct timer timer;
	bool certificates_done;
	int64_t certificate; /* looked at last */
	struct id resource_id;
	uint32_t kind;
};

struct store {
	struct runtime *runtime;
	struct router *router;
	struct topology *topology;
	struct record_database *database;
	struct store_figures figures;
	struct pending *pending;
	struct timer expiry;
	uint64_t expiry_at_ms; /* wall clock the timer stands for */
	uint64_t started_us;
	bool rebased;
	struct feed *feeds;
	size_t units; /* queued in all feeds */
	struct scan scan;
	struct sweep sweep;
	struct repair *repairs;
	size_t repair_count;
};

/* ---- store.c ---- */

/* Notes a database failure. When it ended the transaction every waiting Store is answered with an error. */
void store_database_failed(struct store *store, int error);
/* Makes room for the coming writes to be committed later. */
int store_begin(struct store *store);
/* Answers `request` as refused for a database failure. */
void store_fail_request(struct store *store, struct request *request, int error);
/* Arms the expiry timer for a record that expires at `expires_ms`. */
void store_expiry_at(struct store *store, uint64_t expires_ms);
bool store_responsible(const struct store *store, const struct id *resource_id);
struct overlay_config *store_config(const struct store *store);
/* The certificate if it is believed now; a reference. -EKEYREJECTED and others as trust_certificate(). */
int store_certificate(struct store *store, int64_t id, struct certificate **ret);

/* ---- requests ---- */

void store_on_store(void *userdata, struct request *request);
void store_on_fetch(void *userdata, struct request *request);
void store_on_stat(void *userdata, struct request *request);
void store_on_find(void *userdata, struct request *request);
int resource_id_read(const struct store *store, struct octets octets, struct id *ret);
/* 0xC with the list of those not known (B-7.4.1-04). */
void fail_unknown_kinds(struct request *request, const uint32_t *kinds, size_t count);
/* The place's key for a value; `index` holds four octets for arrays. */
struct octets record_key(const struct stored_value *value, uint8_t index[static 4]);
/* Back again: sets model, index or key, exists and value. */
struct stored_value record_stored_value(const struct record *record, uint8_t model);

/* ---- replication ---- */

/* Sends the changes to the peers that hold replicas, except `not_to` (may be NULL). Takes the changes. */
void store_replicate(struct store *store, struct changes *changes, const struct id *not_to);
void store_replication_free(struct store *store);
void store_scan_init(struct store *store);
void store_scan_after(struct store *store, uint64_t delay_ms);

/* Sends all values of one Kind to whoever is responsible; ownership ends when it has them (B-6.4.2.3-02). */
void store_offer(struct store *store, const struct id *resource_id, uint32_t kind);

/* ---- sweep ---- */

void store_sweep_init(struct store *store);

/* ---- repair ---- */

/* Fetches what `from` holds of the changed Kinds and adopts what is newer (B-7.4.1-14). -EBUSY. `done` may be called late, or
 * never. */
int store_repair(struct store *store, const struct changes *changes, const struct id *from, void (*done)(void *userdata),
		 void *userdata);
void store_repair_cancel(struct store *store, void *userdata);
void store_repair_free(struct store *store);
