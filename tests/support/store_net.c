/* SPDX-License-Identifier: BSD-2-Clause */
#include "support/store_net.h"

#include "storage/access.h"
#include "storage/database.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MUST(condition)                                                                                                            \
	do {                                                                                                                       \
		if (!(condition)) {                                                                                                \
			fprintf(stderr, "store_net: line %d: %s\n", __LINE__, #condition);                                         \
			abort();                                                                                                   \
		}                                                                                                                  \
	} while (0)

static const uint8_t places[STORE_NET_MAX] = {0x10, 0x50, 0x90, 0xd0};

static const struct kind kinds[] = {
	{.id = KIND_SINGLE_USER, .model = DATA_MODEL_SINGLE, .access = ACCESS_USER_MATCH, .max_count = 1, .max_size = 100},
	{.id = KIND_ARRAY_USER, .model = DATA_MODEL_ARRAY, .access = ACCESS_USER_MATCH, .max_count = 4, .max_size = 100},
	{.id = KIND_DICTIONARY_USER, .model = DATA_MODEL_DICTIONARY, .access = ACCESS_USER_MATCH, .max_count = 4, .max_size = 100},
	{.id = KIND_DICTIONARY_USER_NODE,
	 .model = DATA_MODEL_DICTIONARY,
	 .access = ACCESS_USER_NODE_MATCH,
	 .max_count = 4,
	 .max_size = 100},
	{.id = KIND_SINGLE_NODE, .model = DATA_MODEL_SINGLE, .access = ACCESS_NODE_MATCH, .max_count = 1, .max_size = 100},
	{.id = KIND_SINGLE_MULTIPLE,
	 .model = DATA_MODEL_SINGLE,
	 .access = ACCESS_NODE_MULTIPLE,
	 .max_count = 1,
	 .max_size = 100,
	 .max_node_multiple = 3},
	{.id = KIND_ARRAY_LARGE, .model = DATA_MODEL_ARRAY, .access = ACCESS_USER_MATCH, .max_count = 64, .max_size = 2000},
	{.id = KIND_DICTIONARY_LARGE,
	 .model = DATA_MODEL_DICTIONARY,
	 .access = ACCESS_USER_MATCH,
	 .max_count = 64,
	 .max_size = 2000},
};

/* ---- the topology ---- */

static const struct store_net_node *told(const struct topology *topology) {
	return (const struct store_net_node *)topology;
}

static bool topology_responsible(const struct topology *topology, const struct id *resource_id) {
	const struct store_net_node *node = told(topology);

	return !node->own_nothing && (node->own_everything || router_responsible(node->node->router, resource_id));
}

static size_t topology_replicas(const struct topology *topology, struct id out[TOPOLOGY_REPLICAS_MAX]) {
	const struct store_net_node *node = told(topology);

	memcpy(out, node->holders, sizeof(node->holders));
	return node->holder_count;
}

static bool topology_replica_acceptable(struct topology *topology, const struct id *sender, const struct id *resource_id,
					uint8_t replica_number) {
	struct store_net_node *node = (struct store_net_node *)(uintptr_t)topology;

	(void)sender;
	(void)resource_id;
	node->last_replica_number = replica_number;
	node->replica_questions++;
	return !node->refuse_replicas;
}

static struct id topology_owner_hint(const struct topology *topology, const struct id *resource_id) {
	(void)topology;
	(void)resource_id;
	return ID_NONE;
}

static bool topology_may_discard(const struct topology *topology, const struct id *resource_id) {
	(void)resource_id;
	return told(topology)->discard;
}

static void topology_view_of(const struct topology *topology, struct topology_view *ret) {
	(void)topology;
	memset(ret, 0, sizeof(*ret));
	ret->state = TOPOLOGY_JOINED;
}

static const struct topology_ops ops = {
	.name = "by hand",
	.responsible = topology_responsible,
	.replicas = topology_replicas,
	.replica_acceptable = topology_replica_acceptable,
	.owner_hint = topology_owner_hint,
	.may_discard = topology_may_discard,
	.view = topology_view_of,
};

/* ---- nodes ---- */

static void on_idle(void *userdata) {
	struct store_net_node *node = userdata;

	if (node->store && !node->hold_commit && store_commit_wanted(node->store))
		store_commit(node->store);
}

void store_net_open(struct store_net_node *node, const char *path) {
	char reason[256];

	store_net_close(node);
	MUST(record_database_open(path, &node->database, reason, sizeof(reason)) == 0);
	struct store_settings settings = {
		.runtime = router_runtime(node->node->router),
		.router = node->node->router,
		.topology = &node->topology,
		.database = node->database,
	};
	MUST(store_new(&settings, &node->store) == 0);
	virtual_host_set_idle(node->node->host, on_idle, node);
}

void store_net_close(struct store_net_node *node) {
	node->store = store_free(node->store);
	node->database = record_database_close(node->database);
}

void store_net_start_with(struct store_net *net, size_t count, const struct document_settings *extra) {
	struct document_settings settings = extra ? *extra : (struct document_settings){0};

	if (!settings.kinds) {
		settings.kinds = kinds;
		settings.kind_count = ARRAY_LENGTH(kinds);
	}
	memset(net, 0, sizeof(*net));
	router_net_start(&net->net, &settings, places, count);
	net->count = count;
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			router_net_peers(&net->net.nodes[j], &net->net.nodes[i]);
	for (size_t i = 0; i < count; i++) {
		struct id others[STORE_NET_MAX];
		for (size_t j = 1; j < count; j++)
			others[j - 1] = net->net.nodes[(i + j) % count].id;
		router_net_place(&net->net.nodes[i], count > 1 ? &net->net.nodes[(i + count - 1) % count].id : NULL, others,
				 count - 1);
		net->nodes[i] = (struct store_net_node){.topology = {.ops = &ops}, .net = net, .node = &net->net.nodes[i]};
		store_net_open(&net->nodes[i], NULL);
	}
}

void store_net_start(struct store_net *net, size_t count) {
	store_net_start_with(net, count, NULL);
}

void store_net_stop(struct store_net *net) {
	for (size_t i = 0; i < net->count; i++)
		store_net_close(&net->nodes[i]);
	router_net_stop(&net->net);
}

void store_net_run_ms(struct store_net *net, uint64_t milliseconds) {
	router_net_run_ms(&net->net, milliseconds);
}

uint64_t store_net_now_ms(const struct store_net *net) {
	return runtime_realtime_ms(router_runtime(net->net.nodes[0].router));
}

/* ---- identities ---- */

struct id store_net_user_resource(const struct credential *credential) {
	return resource_id_of_user(credential->certificate->user_name, ID_LENGTH_CHORD);
}

struct credential *store_net_user_valid(struct store_net *net, size_t owner, const char *salt, uint64_t not_after_ms) {
	struct router *router = net->net.nodes[owner].router;
	char name[64];

	for (unsigned i = 0;; i++) {
		snprintf(name, sizeof(name), "%s%u@example.org", salt, i);
		struct id resource_id = resource_id_of_user(name, ID_LENGTH_CHORD);
		if (!router_responsible(router, &resource_id))
			continue;
		struct id node_id = resource_id_of_name(octets_of_string(name), ID_LENGTH_CHORD); /* just some Node-ID */
		node_id.octets[0] ^= 0xff;
		struct credential *credential = support_credential_of_type(&net->net.overlay, KEY_ECDSA_P256, name, &node_id, 1,
									   SUPPORT_NOT_BEFORE_MS, not_after_ms);
		MUST(credential);
		return credential;
	}
}

struct credential *store_net_user(struct store_net *net, size_t owner, const char *salt) {
	return store_net_user_valid(net, owner, salt, SUPPORT_NOT_AFTER_MS);
}

struct id store_net_node_id(struct store_net *net, size_t owner, uint8_t salt) {
	struct id node_id = support_node_id(salt);

	for (uint8_t i = 0;; i++) {
		node_id.octets[15] = i;
		struct id resource_id = resource_id_of_node(&node_id, ID_LENGTH_CHORD);
		if (router_responsible(net->net.nodes[owner].router, &resource_id))
			return node_id;
	}
}

/* ---- requests ---- */

void store_net_begin(struct store_net_request *request, const struct id *resource_id, uint8_t replica_number) {
	*request = (struct store_net_request){.w = writer_growing(1 << 20), .resource_id = *resource_id};
	request->mark = store_req_begin(&request->w, id_octets(resource_id), replica_number);
}

static void close_kind(struct store_net_request *request) {
	if (request->kind_open)
		store_kind_data_end(&request->w, request->kind_mark);
	request->kind_open = false;
}

void store_net_kind(struct store_net_request *request, uint32_t kind, uint64_t generation) {
	close_kind(request);
	request->kind_mark = store_kind_data_begin(&request->w, kind, generation);
	request->kind = kind;
	request->kind_open = true;
}

void store_net_value(struct store_net_request *request, const struct credential *signer, uint64_t storage_time_ms,
		     uint32_t lifetime_s, const struct stored_value *value) {
	MUST(stored_data_sign(signer, id_octets(&request->resource_id), request->kind, storage_time_ms, lifetime_s, value,
			      &request->w) == 0);
	MUST(certificate_bucket_add(&request->bucket, signer->certificate) == 0);
}

static void on_response(void *userdata, int error, const struct response *response) {
	struct store_net_outcome *outcome = userdata;

	outcome->calls++;
	outcome->error = error;
	if (!response)
		return;
	outcome->responder = response->signer_id;
	if (error == -EREMOTEIO) {
		outcome->error_code = response->error.code;
		outcome->info_length = response->error.info.length;
		MUST(outcome->info_length <= sizeof(outcome->info));
		memcpy(outcome->info, response->error.info.data, outcome->info_length);
		error_info_text(response->error.info, outcome->text, sizeof(outcome->text));
	} else if (error == 0) {
		outcome->body_length = response->body.length;
		MUST(outcome->body_length <= sizeof(outcome->body));
		memcpy(outcome->body, response->body.data, outcome->body_length);
	}
}

static bool outcome_there(void *userdata) {
	const struct store_net_outcome *outcome = userdata;

	return outcome->calls > 0;
}

static void wait_for(struct store_net *net, struct store_net_outcome *outcome) {
	virtual_network_run(net->net.network, virtual_network_now(net->net.network) + 60 * USEC_PER_SEC, outcome_there, outcome);
	MUST(outcome->calls == 1);
}

void store_net_send_async(struct store_net *net, struct store_net_request *request, size_t from, size_t to,
			  struct credential *sign_as, struct store_net_outcome *ret) {
	close_kind(request);
	store_req_end(&request->w, request->mark);
	memset(ret, 0, sizeof(*ret));
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,    .destination_list = router_net_node_list(&net->net.nodes[to].id),
		.code = STORE_REQ,   .body = writer_octets_written(&request->w),
		.sign_as = sign_as,  .extra = &request->bucket,
		.done = on_response, .userdata = ret,
	};
	MUST(writer_finish(&request->w) == 0);
	MUST(router_send_request(net->net.nodes[from].router, &outgoing, NULL) == 0);
	writer_release(&request->w);
	certificate_bucket_release(&request->bucket);
}

void store_net_send(struct store_net *net, struct store_net_request *request, size_t from, size_t to, struct credential *sign_as,
		    struct store_net_outcome *ret) {
	store_net_send_async(net, request, from, to, sign_as, ret);
	wait_for(net, ret);
}

void store_net_ask(struct store_net *net, size_t from, size_t to, uint16_t code, struct octets body,
		   struct store_net_outcome *ret) {
	memset(ret, 0, sizeof(*ret));
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,    .destination_list = router_net_node_list(&net->net.nodes[to].id),
		.code = code,	     .body = body,
		.done = on_response, .userdata = ret,
	};
	MUST(router_send_request(net->net.nodes[from].router, &outgoing, NULL) == 0);
	wait_for(net, ret);
}

struct stored_value store_net_single(const char *value) {
	return (struct stored_value){.model = DATA_MODEL_SINGLE, .exists = value != NULL, .value = octets_of_string(value)};
}

struct stored_value store_net_entry(uint32_t index, const char *value) {
	return (struct stored_value){
		.model = DATA_MODEL_ARRAY, .index = index, .exists = value != NULL, .value = octets_of_string(value)};
}

struct stored_value store_net_pair(const char *key, const char *value) {
	return (struct stored_value){.model = DATA_MODEL_DICTIONARY,
				     .key = octets_of_string(key),
				     .exists = value != NULL,
				     .value = octets_of_string(value)};
}

uint16_t store_net_put(struct store_net *net, size_t to, struct credential *writer, uint32_t kind, uint64_t storage_time_ms,
		       struct stored_value value) {
	struct id resource_id = store_net_user_resource(writer);
	struct store_net_request request;
	struct store_net_outcome outcome;

	store_net_begin(&request, &resource_id, 0);
	store_net_kind(&request, kind, 0);
	store_net_value(&request, writer, storage_time_ms, 3600, &value);
	store_net_send(net, &request, (to + 1) % net->count, to, writer, &outcome);
	MUST(outcome.error == 0 || outcome.error == -EREMOTEIO);
	return outcome.error_code;
}

uint64_t store_net_generation(struct octets store_ans, uint32_t kind, size_t *ret_replicas) {
	struct store_kind_response element;
	struct octets list;

	MUST(store_ans_read(store_ans, &list) == 0);
	struct reader reader = reader_of_octets(list);
	while (store_kind_response_next(&reader, &element) > 0)
		if (element.kind == kind) {
			if (ret_replicas)
				*ret_replicas = element.replicas.length / ID_LENGTH_CHORD;
			return element.generation_counter;
		}
	return UINT64_MAX;
}

struct held {
	char text[1024];
	uint8_t model;
};

static int see(void *userdata, const struct record *record) {
	struct held *held = userdata;
	size_t length = strlen(held->text);
	char key[64] = "";
	struct reader index = reader_of_octets(record->key);

	if (held->model == DATA_MODEL_ARRAY)
		snprintf(key, sizeof(key), "%u=", reader_u32(&index));
	else if (held->model == DATA_MODEL_DICTIONARY)
		snprintf(key, sizeof(key), "%.*s=", (int)record->key.length, (const char *)record->key.data);
	snprintf(held->text + length, sizeof(held->text) - length, "%s%.*s%s ", key, (int)record->value.length,
		 (const char *)record->value.data, record->exists ? "" : "(gone)");
	return 0;
}

const char *store_net_held(struct store_net *net, size_t at, const struct id *resource_id, uint32_t kind) {
	static struct held held[4];
	static unsigned next;
	struct held *out = &held[next++ % 4];
	const struct kind *known = overlay_config_kind(net->net.overlay.config, kind);

	*out = (struct held){.model = known ? known->model : 0};
	MUST(record_visit(net->nodes[at].database, resource_id, kind, NULL, NULL, store_net_now_ms(net), see, out) == 0);
	return out->text;
}
