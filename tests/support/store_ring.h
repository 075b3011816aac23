/* SPDX-License-Identifier: BSD-2-Clause */
/* A ring of peers with real topology and stores, and users that store in it. */
#pragma once

#include "storage/store.h"
#include "support/support_ring.h"

struct store_ring;

/* node->userdata of each peer. */
struct store_ring_node {
	struct store_ring *stores;
	struct ring_node *node;
	struct record_database *database;
	struct store *store;
};

struct store_ring {
	struct ring *ring;
	const char *directory; /* records in files there, named by Node-ID; NULL: in memory */
};

/* Kinds: SIP-REGISTRATION and the certificate Kinds with their defaults, and one private Kind each of model single and dictionary
 * with USER-MATCH, 64 values of 2000 octets. */
enum { STORE_RING_SINGLE = 0xf0000001, STORE_RING_DICTIONARY };

/* `settings` as for ring_new(); its hooks are taken. */
void store_ring_start(struct store_ring *stores, const struct ring_settings *settings, const char *directory);
void store_ring_stop(struct store_ring *stores);

static inline struct store_ring_node *store_ring_of(const struct ring_node *node) {
	return node->userdata;
}

/* Users "PREFIXn@example.org" with random Node-IDs. */
struct credential *store_ring_user(struct store_ring *stores, const char *prefix, unsigned number);
struct id store_ring_place(const struct credential *user);

/* Stores or fetches through `node` and waits. Returns 0 or the error; -EREMOTEIO with the code in *ret_code (may be NULL).
 * value NULL: a tombstone. */
int store_ring_put(struct ring_node *node, struct credential *user, const char *value, uint32_t lifetime_s, uint16_t *ret_code);
/* The value of the single Kind as text: "" nothing, "(gone)" a tombstone, NULL when the fetch failed. */
const char *store_ring_get(struct ring_node *node, const struct credential *user);

/* How many living peers hold the user's value, and whether the owner and its next `replicas` peers do. */
size_t store_ring_copies(struct store_ring *stores, const struct credential *user, const char *value);
bool store_ring_well_placed(struct store_ring *stores, const struct credential *user, const char *value, size_t replicas);
