/* SPDX-License-Identifier: BSD-2-Clause */
#include "support/store_ring.h"

#include "storage/access.h"
#include "storage/database.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void must(bool condition, const char *what) {
	if (condition)
		return;
	fprintf(stderr, "store_ring: %s\n", what);
	abort();
}

static void on_hand_over(void *userdata, const struct id *joiner, const struct id *from, const struct id *to,
			 void (*done)(void *done_userdata, int error), void *done_userdata) {
	struct store_ring_node *own = userdata;

	store_hand_over(own->store, joiner, from, to, done, done_userdata);
}

static void on_replicas_changed(void *userdata, const struct id *added, size_t count) {
	struct store_ring_node *own = userdata;

	if (own->store)
		store_replicas_changed(own->store, added, count);
}

static void on_owner_changed(void *userdata, const struct id *owner, const struct id *from, const struct id *to) {
	struct store_ring_node *own = userdata;

	if (own->store)
		store_owner_changed(own->store, owner, from, to);
}

static void on_range_changed(void *userdata) {
	struct store_ring_node *own = userdata;

	if (own->store)
		store_range_changed(own->store);
}

static void on_copies_changed(void *userdata) {
	struct store_ring_node *own = userdata;

	if (own->store)
		store_copies_changed(own->store);
}

static void on_idle(void *userdata) {
	struct store_ring_node *own = userdata;

	if (own->store && store_commit_wanted(own->store))
		store_commit(own->store);
}

static void prepare(struct ring_node *node, void *userdata) {
	struct store_ring_node *own = calloc(1, sizeof(*own));

	must(own != NULL, "out of memory");
	own->stores = userdata;
	own->node = node;
	node->userdata = own;
	node->events.userdata = own;
	node->events.hand_over = on_hand_over;
	node->events.replicas_changed = on_replicas_changed;
	node->events.owner_changed = on_owner_changed;
	node->events.range_changed = on_range_changed;
	node->events.copies_changed = on_copies_changed;
}

static void started(struct ring_node *node, void *userdata) {
	struct store_ring *stores = userdata;
	struct store_ring_node *own = node->userdata;
	char path[256], text[ID_TEXT_SIZE], reason[256];

	if (node->client)
		return;
	snprintf(path, sizeof(path), "%s/%s.db", stores->directory ? stores->directory : "", id_format(&node->id, text));
	if (record_database_open(stores->directory ? path : NULL, &own->database, reason, sizeof(reason)) < 0)
		must(false, reason);
	struct store_settings settings = {
		.runtime = virtual_host_runtime(node->host),
		.router = node->router,
		.topology = node->topology,
		.database = own->database,
	};
	must(store_new(&settings, &own->store) == 0, "no store");
	virtual_host_set_idle(node->host, on_idle, own);
}

static void stopping(struct ring_node *node, void *userdata) {
	struct store_ring_node *own = node->userdata;

	(void)userdata;
	own->store = store_free(own->store);
	record_database_close(own->database);
	free(own);
	node->userdata = NULL;
}

void store_ring_start(struct store_ring *stores, const struct ring_settings *settings, const char *directory) {
	struct ring_settings all = *settings;
	struct kind kinds[5] = {
		*kind_registered(KIND_SIP_REGISTRATION),
		*kind_registered(KIND_CERTIFICATE_BY_NODE),
		*kind_registered(KIND_CERTIFICATE_BY_USER),
		{.id = STORE_RING_SINGLE,
		 .model = DATA_MODEL_SINGLE,
		 .access = ACCESS_USER_MATCH,
		 .max_count = 1,
		 .max_size = 2000},
		{.id = STORE_RING_DICTIONARY,
		 .model = DATA_MODEL_DICTIONARY,
		 .access = ACCESS_USER_MATCH,
		 .max_count = 64,
		 .max_size = 2000},
	};
	struct document_settings document =
		all.document ? *all.document : (struct document_settings){.sequence = 1, .no_ice = true};

	if (!document.kinds) {
		document.kinds = kinds;
		document.kind_count = ARRAY_LENGTH(kinds);
	}
	all.document = &document;
	all.prepare = prepare;
	all.started = started;
	all.stopping = stopping;
	all.userdata = stores;
	stores->directory = directory;
	stores->ring = ring_new(&all);
	must(stores->ring != NULL, "no ring");
	stores->ring->settings.document = NULL; /* it ends with this function */
}

void store_ring_stop(struct store_ring *stores) {
	stores->ring = ring_free(stores->ring);
}

struct credential *store_ring_user(struct store_ring *stores, const char *prefix, unsigned number) {
	struct id node_id = ring_random_id(stores->ring);
	char name[64];

	snprintf(name, sizeof(name), "%s%u@example.org", prefix, number);
	struct credential *user = support_credential(&stores->ring->overlay, name, &node_id, 1);
	must(user != NULL, "no credential");
	return user;
}

struct id store_ring_place(const struct credential *user) {
	return resource_id_of_user(user->certificate->user_name, ID_LENGTH_CHORD);
}

/* ---- through the overlay ---- */

struct waiting {
	bool done;
	struct storage_outcome outcome;
	char text[2048];
};

static bool is_done(void *userdata) {
	const struct waiting *waiting = userdata;

	return waiting->done;
}

static void on_stored(void *userdata, const struct storage_outcome *outcome) {
	struct waiting *waiting = userdata;

	waiting->done = true;
	waiting->outcome = *outcome;
}

static void on_fetched(void *userdata, const struct storage_outcome *outcome, const struct fetched_value *values, size_t count,
		       bool partial) {
	struct waiting *waiting = userdata;

	waiting->done = true;
	waiting->outcome = *outcome;
	if (count == 1 && !partial && values[0].signer)
		snprintf(waiting->text, sizeof(waiting->text), "%.*s%s", (int)values[0].value.value.length,
			 (const char *)values[0].value.value.data, values[0].value.exists ? "" : "(gone)");
}

int store_ring_put(struct ring_node *node, struct credential *user, const char *value, uint32_t lifetime_s, uint16_t *ret_code) {
	struct waiting waiting = {.done = false};
	struct id place = store_ring_place(user);
	struct storage_value one = {
		.value = {.model = DATA_MODEL_SINGLE, .exists = value != NULL, .value = octets_of_string(value)},
		.lifetime_s = lifetime_s,
	};
	int error = storage_store(node->router, user, &place, STORE_RING_SINGLE, 0, &one, 1, on_stored, &waiting);

	if (error < 0)
		return error;
	must(ring_run_until(node->ring, 60000, is_done, &waiting), "a Store never ended");
	if (ret_code)
		*ret_code = waiting.outcome.error_code;
	return waiting.outcome.error;
}

const char *store_ring_get(struct ring_node *node, const struct credential *user) {
	static struct waiting waiting;
	struct id place = store_ring_place(user);

	waiting = (struct waiting){.done = false};
	if (storage_fetch(node->router, &place, STORE_RING_SINGLE, NULL, on_fetched, &waiting) < 0)
		return NULL;
	must(ring_run_until(node->ring, 60000, is_done, &waiting), "a Fetch never ended");
	return waiting.outcome.error == 0 ? waiting.text : NULL;
}

/* ---- inspection ---- */

static bool holds(const struct ring_node *node, const struct credential *user, const char *value) {
	const struct store_ring_node *own = store_ring_of(node);
	struct id place = store_ring_place(user);
	struct record_head head;

	return own && own->database &&
	       record_head(own->database, &place, STORE_RING_SINGLE, OCTETS_NONE, value != NULL, octets_of_string(value), &head) >
		       0 &&
	       head.same_value;
}

size_t store_ring_copies(struct store_ring *stores, const struct credential *user, const char *value) {
	size_t count = 0;

	for (size_t i = 0; i < stores->ring->count; i++)
		if (stores->ring->nodes[i]->host && !stores->ring->nodes[i]->client)
			count += holds(stores->ring->nodes[i], user, value);
	return count;
}

bool store_ring_well_placed(struct store_ring *stores, const struct credential *user, const char *value, size_t replicas) {
	struct id place = store_ring_place(user);
	struct ring_node *owner = ring_responsible(stores->ring, &place);

	if (!owner || !holds(owner, user, value))
		return false;
	for (size_t i = 1; i <= replicas; i++)
		if (!holds(ring_after(stores->ring, owner, i), user, value))
			return false;
	return true;
}
