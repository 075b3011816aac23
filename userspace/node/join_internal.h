/* SPDX-License-Identifier: BSD-2-Clause */
/* What join.c, join_verify.c and reunion.c share; nobody else includes it. */
#pragma once

#include "node/join.h"
#include "node/peer_cache.h"

enum {
	JOIN_OPENED_MAX = 32, /* links we opened on the way in that are closed again when they stay unused */
	JOIN_SPARE_S = 60,    /* after so long */
};

struct join {
	struct node *node;
	struct connection_listener listener;
	struct bootstrap race;
	struct timer retry;
	bool searching, restarted, entered, round_failed;
	unsigned rounds;
	uint32_t pause_ms;
	uint64_t search_since_us, search_us;
	struct bootstrap_candidate winner;

	/* reunion.c */
	struct timer cache, partition, tidy;
	bool cache_wanted;
	struct cached_peer cached[PEER_CACHE_MAX]; /* as in the file */
	size_t cached_count;
	struct lost_peers lost;
	uint16_t check_slot; /* link being opened for a partition check */
	uint64_t check_due_us, check_pause_us;
	bool member; /* was in the overlay, in this run or the last */
	struct {
		uint16_t slot;
		uint64_t since_us;
	} opened[JOIN_OPENED_MAX];
	size_t opened_count;
};

/* ---- join.c ---- */
bool join_is_own_address(const struct join *join, const struct address *address);
/* Opens a link; -EISCONN: there is one in *ret_slot. */
int join_connect(struct join *join, const struct address *address, uint16_t *ret_slot);

/* ---- join_verify.c ---- */
void join_verify(void *userdata, uint16_t slot, uint64_t serial);

/* ---- reunion.c: peers to come back through, and parts of the overlay that were lost ---- */
void reunion_init(struct join *join);
void reunion_release(struct join *join);
void reunion_load(struct join *join);
/* Calls `each` with the address of every peer known from before, lately lost ones first. */
void reunion_known(struct join *join, void (*each)(struct join *join, const struct address *address));
void reunion_joined(struct join *join);
void reunion_offline(struct join *join);
void reunion_leaving(struct join *join);
void reunion_up(struct join *join, const struct connection *connection);
void reunion_down(struct join *join, const struct connection *connection, enum link_reason reason);
