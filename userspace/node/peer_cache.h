/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Peers to come back through (RFC 6940 11.4, B-11.4-02): a file of at most PEER_CACHE_MAX directly connected peers for the next
 * start, and in memory those that fell silent, so that a part of the overlay that was lost is looked for again (B-10.7.4-04).
 * Sans-I/O but for peer_cache_load() and peer_cache_save().
 *
 * The file is text, one peer a line, best first: ADDRESS NODE-ID SECONDS-SINCE-1970 and, when the link was one over TCP, "tcp":
 * then that is tried sooner at the next start. Lines beginning with # are comments; a line with an address alone is taken too.
 * Lines that are not that are passed over: a damaged cache costs an optimization, no start.
 */
#pragma once

#include "base/address.h"
#include "base/id.h"
#include "base/octets.h"
#include "base/runtime.h"

enum {
	PEER_CACHE_MAX = 10,	  /* peers in the file (B-11.4-02) */
	PEER_CACHE_LOST = 3,	  /* of them lately lost ones, while there are so many connected ones */
	PEER_CACHE_OCTETS = 8192, /* of the file that are looked at */
	PEER_LOST_MAX = 32,	  /* lost peers remembered; the one lost first goes */
	PEER_LOST_FIRST_S = 20,	  /* from the loss until it is looked for; doubles each time */
	PEER_LOST_LONGEST_S = 600,
	PEER_LOST_AGE_S = 7 * 86400, /* then it is forgotten */
	PEER_LOST_SOON_S = 4,	     /* once one is back the others are looked for within so long */
};

struct cached_peer {
	struct address address; /* protocol: IPPROTO_TCP when the link was one over TCP */
	struct id id;		/* ID_NONE: not known */
	uint64_t seen_s;	/* seconds since 1970; 0: not known */
};

/* An address one can connect to: unicast, with a port. */
bool peer_address_usable(const struct address *address);

/* Reads at most `max` peers; *ret_bad (may be NULL) counts lines that were passed over. Returns how many. */
size_t peer_cache_read(struct octets text, struct cached_peer *out, size_t max, size_t *ret_bad);

/* Appends the text of `count` peers. */
void peer_cache_write(struct writer *w, const struct cached_peer *peers, size_t count);

/* -ENOENT and so on; *ret_count peers. */
int peer_cache_load(const char *path, struct cached_peer out[static PEER_CACHE_MAX], size_t *ret_count, size_t *ret_bad);
/* Replaces the file as a whole. */
int peer_cache_save(const char *path, const struct cached_peer *peers, size_t count);

/* ---- lost peers ---- */

struct lost_peer {
	struct cached_peer peer;
	uint64_t lost_us, due_us;
	unsigned failures;
};

struct lost_peers {
	struct runtime *runtime;
	struct lost_peer entries[PEER_LOST_MAX];
	size_t count;
};

void lost_peers_add(struct lost_peers *lost, const struct cached_peer *peer);
/* It is connected again: it goes, and the others become due soon. True when it was there. */
bool lost_peers_found(struct lost_peers *lost, const struct id *id);
/* The peer due first and by now, NULL without one. */
struct lost_peer *lost_peers_due(struct lost_peers *lost);
/* It was tried; it is due again after a growing pause, and forgotten when it is too old. Invalidates pointers into the list. */
void lost_peers_tried(struct lost_peers *lost, struct lost_peer *entry);
/* When the next is due; USEC_NEVER. */
uint64_t lost_peers_next(const struct lost_peers *lost);
