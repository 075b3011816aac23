/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Peers with stores on a virtual network, fully linked, with ranges of the ring set by hand and a topology that says what the test
 * tells it to. Hand-made Store requests of any content.
 */
#pragma once

#include "storage/store.h"
#include "support/router_net.h"

enum { STORE_NET_MAX = 4 };

/* Private Kinds of the document; at most 4 values of 100 octets. */
enum {
	KIND_SINGLE_USER = 0xf0000001,
	KIND_ARRAY_USER,
	KIND_DICTIONARY_USER,
	KIND_DICTIONARY_USER_NODE,
	KIND_SINGLE_NODE,
	KIND_SINGLE_MULTIPLE, /* max-node-multiple 3 */
	KIND_ARRAY_LARGE,     /* USER-MATCH, 64 values of 2000 octets */
	KIND_DICTIONARY_LARGE,
	KIND_NOBODY, /* not in the document */
};

struct store_net_node {
	struct topology topology; /* first: the store sees this */
	struct store_net *net;
	struct router_net_node *node;
	struct record_database *database;
	struct store *store;
	const char *path;
	bool hold_commit; /* the test commits itself */
	bool own_nothing, own_everything, refuse_replicas, discard;
	struct id holders[TOPOLOGY_REPLICAS_MAX];
	size_t holder_count;
	uint8_t last_replica_number;
	unsigned replica_questions;
};

struct store_net {
	struct router_net net;
	struct store_net_node nodes[STORE_NET_MAX];
	size_t count;
};

/* Peers 0x10, 0x50, 0x90, 0xd0 (as many as `count`); each responsible from its predecessor to itself. */
void store_net_start(struct store_net *net, size_t count);
void store_net_start_with(struct store_net *net, size_t count, const struct document_settings *extra);
void store_net_stop(struct store_net *net);
void store_net_run_ms(struct store_net *net, uint64_t milliseconds);

/* Opens the file and makes the store; before store_net_open() nodes have a database in memory. */
void store_net_open(struct store_net_node *node, const char *path);
void store_net_close(struct store_net_node *node);

/* A credential whose user name, or whose Node-ID, hashes into the range of node `owner`. `salt` tells several apart. */
struct credential *store_net_user(struct store_net *net, size_t owner, const char *salt);
struct credential *store_net_user_valid(struct store_net *net, size_t owner, const char *salt, uint64_t not_after_ms);
struct id store_net_node_id(struct store_net *net, size_t owner, uint8_t salt);
struct id store_net_user_resource(const struct credential *credential);

/* ---- Store requests by hand ---- */

struct store_net_request {
	struct writer w;
	struct certificate_bucket bucket;
	size_t mark, kind_mark;
	struct id resource_id;
	uint32_t kind;
	bool kind_open;
};
void store_net_begin(struct store_net_request *request, const struct id *resource_id, uint8_t replica_number);
void store_net_kind(struct store_net_request *request, uint32_t kind, uint64_t generation);
/* Signed properly. */
void store_net_value(struct store_net_request *request, const struct credential *signer, uint64_t storage_time_ms,
		     uint32_t lifetime_s, const struct stored_value *value);

struct store_net_outcome {
	unsigned calls;
	int error;
	uint16_t error_code;
	char text[200];
	uint8_t info[8192];
	size_t info_length;
	uint8_t body[8192]; /* of an answer */
	size_t body_length;
	struct id responder;
};
/* Sends to node `to`, signed by `sign_as` (NULL: node `from`), and runs until the answer is there. */
void store_net_send(struct store_net *net, struct store_net_request *request, size_t from, size_t to, struct credential *sign_as,
		    struct store_net_outcome *ret);
/* The same without waiting; `ret` is filled in later. */
void store_net_send_async(struct store_net *net, struct store_net_request *request, size_t from, size_t to,
			  struct credential *sign_as, struct store_net_outcome *ret);
/* Any other request, by hand. */
void store_net_ask(struct store_net *net, size_t from, size_t to, uint16_t code, struct octets body, struct store_net_outcome *ret);

/* Values by model. */
struct stored_value store_net_single(const char *value);
struct stored_value store_net_entry(uint32_t index, const char *value);
struct stored_value store_net_pair(const char *key, const char *value);

/* One value, stored at its owner `to` by its writer. Returns the error code, 0 for success. */
uint16_t store_net_put(struct store_net *net, size_t to, struct credential *writer, uint32_t kind, uint64_t storage_time_ms,
		       struct stored_value value);

/* The generation counter a StoreAns, or the info of an Error_Generation_Counter_Too_Low, gives for a Kind; UINT64_MAX: not there.
 */
uint64_t store_net_generation(struct octets store_ans, uint32_t kind, size_t *ret_replicas);

/* What node `at` holds of one Kind, as text: "0=abc 2=(gone) ". Tombstones and times: "(gone)". */
const char *store_net_held(struct store_net *net, size_t at, const struct id *resource_id, uint32_t kind);
uint64_t store_net_now_ms(const struct store_net *net);
