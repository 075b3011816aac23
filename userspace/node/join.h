/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Getting into the overlay (B-11.4-01): candidates of all sources race (bootstrap.h), rounds follow each other with growing, random
 * pauses, and former members that find only each other begin the ring anew. Once in, reunion.h keeps the ways back.
 */
#pragma once

#include "node/bootstrap.h"
#include "node/node.h"

enum {
	JOIN_PAUSE_FIRST_MS = 500,
	JOIN_PAUSE_MAX_MS = 30000,
	JOIN_RESTART_ROUNDS = 2,  /* vain rounds before a former member may begin the ring anew */
	JOIN_SILENT_ROUNDS = 6,	  /* the same where a linked peer says nothing at all */
	JOIN_DISCOVERY_MS = 1500, /* a round stays open for what is found on the local network */
};

int join_new(struct node *node, struct join **ret);
struct join *join_free(struct join *join);

/* Starts to join; the explicitly first node starts the overlay when nobody answers (B-4.5.2-01). */
void join_start(struct join *join);
void join_state_changed(struct join *join, enum topology_state state);

/* The node is about to leave: no more attempts, and the peers of now are remembered. */
void join_leaving(struct join *join);

/* The topology lost everybody (B-10.7.1-04). */
void join_bootstrap_wanted(struct join *join);

/* Somebody was found on the local network. Also while no round runs; then it is of no interest. */
void join_found(struct join *join, enum bootstrap_source source, const struct address *address);

/* What `ringgatectl status` says. */
struct join_report {
	bool searching, entered, restarted; /* restarted: this node began the ring anew */
	unsigned rounds;		    /* of the present or last search */
	enum bootstrap_source source;	    /* of entered */
	struct address address;
	uint64_t took_us, search_us;  /* of the winning attempt, and of the whole search */
	size_t cached, lost;	      /* peers in the cache file, and lost ones that are looked for */
	const struct bootstrap *race; /* of the present or last round */
};
void join_report(const struct join *join, struct join_report *ret);
