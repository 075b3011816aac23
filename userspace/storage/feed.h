/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sending records to another peer. A feed is everything on its way to one peer (or, with ID_NONE, to whoever is responsible for the
 * record): a queue of units, one resource each, and walks over the database that make units as room appears. At most STORE_WINDOW
 * units of a feed are outstanding.
 */
#pragma once

#include "base/table.h"
#include "storage/store_internal.h"


/* A walk over all resources in (from, to], or over all that are ours. */
struct walk {
	struct id from, to;
	bool own, wrapped, ended;
	bool release; /* the receiver is to own them: we offer them no more */
	bool offer;   /* the receiver owns them and is to have them, too */
	uint64_t not_before_us;
	struct id resource_id; /* cursor */
	uint32_t kind;
	struct record_kind page[64];
	size_t page_count, page_position;
	unsigned outstanding;
	int error; /* the first failure of one of its units */
	void (*done)(void *done_userdata, int error);
	void *done_userdata;
	struct walk *prev, *next;
};

/* One Store request of a unit. */
struct parcel {
	struct unit *unit;
	struct transaction *transaction;
	struct parcel *prev, *next;
};

/* One resource to be sent; read from the database when its turn comes. */
struct unit {
	struct feed *feed;
	struct changes changes;
	uint64_t *generations; /* of each change, when sent */
	uint8_t replica_number;
	bool release, offer;
	bool farewell;			/* we drop our copy once the owner has it, or wants nothing of it */
	struct walk *walk;		/* it came from, NULL */
	unsigned attempts, outstanding; /* Store requests without an answer */
	uint64_t not_before_us;
	bool preparing;	   /* still being cut into requests */
	bool retry, stale; /* an answer said so */
	bool refused;	   /* it was answered: the owner does not want it */
	int error;
	struct id newer_at; /* who has newer data */
	struct parcel *parcels;
	struct unit *prev, *next;
};

struct feed {
	struct store *store;
	struct id target;
	struct unit *queue, *active; /* waiting, outstanding */
	unsigned active_count;
	struct walk *walks;
	bool incomplete; /* something could not be delivered or queued */
	uint64_t backoff_s;
	struct timer timer; /* next attempt, or the next look at the queue */
	UT_hash_handle hh;
};

/* The feed of a peer, made when needed. */
int feed_get(struct store *store, const struct id *target, struct feed **ret);
enum feed_purpose { FEED_REPLICA, FEED_OFFER, FEED_FAREWELL };
/* Takes the changes. The feed may be gone afterwards. */
void feed_add(struct feed *feed, struct changes *changes, enum feed_purpose purpose);
/* Is a farewell of this Kind of a resource under way? */
bool feed_has_farewell(const struct feed *feed, const struct id *resource_id, uint32_t kind);
int feed_walk(struct feed *feed, const struct walk *walk);
void feed_free(struct feed *feed);

/* ---- unit.c ---- */

/* Sends all of it; unit_sent() follows, at once when there is nothing to send. */
void unit_send(struct unit *unit);
void unit_sent(struct unit *unit);
void unit_free(struct unit *unit);
