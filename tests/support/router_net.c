/* SPDX-License-Identifier: BSD-2-Clause */
#include "support/router_net.h"

#include "wire/method.h"

#include <stdio.h>
#include <string.h>

#define MUST(condition)                                                                                                            \
	do {                                                                                                                       \
		if (!(condition)) {                                                                                                \
			fprintf(stderr, "router_net: line %d: %s\n", __LINE__, #condition);                                        \
			abort();                                                                                                   \
		}                                                                                                                  \
	} while (0)

static void on_up(void *userdata, const struct connection *connection) {
	struct router_net_node *node = userdata;

	node->ups++;
	node->last_up = connection->peer;
}

static void on_down(void *userdata, const struct connection *connection, enum link_reason reason) {
	struct router_net_node *node = userdata;

	(void)connection;
	node->downs++;
	node->last_down = reason;
}

static void on_suspect(void *userdata, const struct connection *connection) {
	struct router_net_node *node = userdata;

	(void)connection;
	node->suspects++;
}

static void on_update_wanted(void *userdata, const struct connection *connection) {
	struct router_net_node *node = userdata;

	node->updates_wanted++;
	node->last_update_wanted = connection->peer;
}

static void node_start(struct router_net_node *node, bool client) {
	MUST(virtual_host_new(node->net->network, node->credential, &node->host) == 0);
	struct router_settings settings = {
		.runtime = virtual_host_runtime(node->host),
		.trust = node->trust,
		.credential = node->credential,
		.client = client,
	};
	MUST(router_new(&settings, &node->router) == 0);
	struct transport_events events = router_transport_events(node->router);
	virtual_host_set_events(node->host, &events);
	router_set_transport(node->router, virtual_host_transport(node->host));
	node->listener = (struct connection_listener){
		.userdata = node,
		.up = on_up,
		.down = on_down,
		.suspect = on_suspect,
		.update_wanted = on_update_wanted,
	};
	router_add_listener(node->router, &node->listener);
}

struct router_net_node *router_net_add(struct router_net *net, const struct id *ids, size_t count, bool client) {
	MUST(net->count < ROUTER_NET_MAX);
	struct router_net_node *node = &net->nodes[net->count++];
	char name[64];

	snprintf(name, sizeof(name), "node%zu@example.org", net->count);
	*node = (struct router_net_node){.net = net, .id = ids[0]};
	node->credential = support_credential(&net->overlay, name, ids, count);
	MUST(node->credential);
	node->config = overlay_config_ref(net->overlay.config);
	MUST(trust_new(node->config, &node->trust) == 0);
	node_start(node, client);
	return node;
}

void router_net_start(struct router_net *net, const struct document_settings *settings, const uint8_t *octets, size_t count) {
	memset(net, 0, sizeof(*net));
	MUST(support_overlay_new_with(SUPPORT_OVERLAY_NAME, settings, &net->overlay) == 0);
	MUST(virtual_network_new(1, &net->network) == 0);
	for (size_t i = 0; i < count; i++) {
		struct id id = support_node_id(octets[i]);
		router_net_add(net, &id, 1, false);
	}
}

void router_net_kill(struct router_net_node *node) {
	node->router = router_free(node->router);
	if (node->host)
		virtual_host_kill(node->host);
	node->host = NULL;
}

void router_net_stop(struct router_net *net) {
	for (size_t i = 0; i < net->count; i++) {
		router_net_kill(&net->nodes[i]);
		trust_free(net->nodes[i].trust);
		overlay_config_unref(net->nodes[i].config);
		credential_unref(net->nodes[i].credential);
	}
	virtual_network_free(net->network);
	support_overlay_release(&net->overlay);
}

void router_net_restart(struct router_net_node *node) {
	router_net_kill(node);
	node_start(node, false);
}

void router_net_configure(struct router_net_node *node, const struct document_settings *settings) {
	MUST(support_overlay_reconfigure(&node->net->overlay, settings) == 0);
	overlay_config_unref(node->config);
	node->config = overlay_config_ref(node->net->overlay.config);
	trust_set_config(node->trust, node->config);
	router_configuration_changed(node->router);
}

const struct connection *router_net_link(const struct router_net_node *from, const struct router_net_node *to) {
	return router_connection_of(from->router, &to->id);
}

bool router_net_linked(const struct router_net_node *a, const struct router_net_node *b) {
	return router_net_link(a, b) && router_net_link(b, a);
}

struct pair {
	struct router_net_node *a, *b;
	unsigned ups;
};

static bool pair_up(void *userdata) {
	const struct pair *pair = userdata;

	return pair->a->ups + pair->b->ups >= pair->ups + 2;
}

void router_net_connect(struct router_net_node *a, struct router_net_node *b) {
	struct transport *transport = router_transport(a->router);
	struct address address = virtual_host_address(b->host);
	struct pair pair = {.a = a, .b = b, .ups = a->ups + b->ups};
	uint16_t slot;

	MUST(transport->ops->connect(transport->object, &address, 1, NULL, &slot) == 0);
	virtual_network_run(a->net->network, virtual_network_now(a->net->network) + 3 * USEC_PER_SEC, pair_up, &pair);
	router_net_run_ms(a->net, 0);
}

void router_net_peers(struct router_net_node *a, struct router_net_node *b) {
	router_net_connect(a, b);
	MUST(router_net_linked(a, b));
	router_mark_update_received(a->router, &b->id);
	router_mark_update_received(b->router, &a->id);
}

void router_net_place(struct router_net_node *node, const struct id *predecessor, const struct id *routes, size_t count) {
	router_set_range(node->router, predecessor, true);
	MUST(router_set_routes(node->router, routes, count) == 0);
}

void router_net_row(struct router_net *net, const struct document_settings *settings) {
	struct router_net_node *a = &net->nodes[0], *t = &net->nodes[1], *b = &net->nodes[2];

	router_net_start(net, settings, (const uint8_t[]){0x10, 0x50, 0x90}, 3);
	router_net_peers(a, t);
	router_net_peers(t, b);
	router_net_place(a, &b->id, &t->id, 1);
	router_net_place(t, &a->id, (const struct id[]){a->id, b->id}, 2);
	router_net_place(b, &t->id, &t->id, 1);
}

void router_net_run_ms(struct router_net *net, uint64_t milliseconds) {
	virtual_network_run(net->network, virtual_network_now(net->network) + milliseconds * USEC_PER_MSEC, NULL, NULL);
}

void router_net_on_response(void *userdata, int error, const struct response *response) {
	struct router_net_outcome *outcome = userdata;

	outcome->calls++;
	outcome->error = error;
	outcome->at_us = virtual_network_now(outcome->net->network);
	if (!response)
		return;
	outcome->code = response->code;
	outcome->error_code = response->error.code;
	outcome->signer_id = response->signer_id;
	outcome->ttl = response->ttl_received;
	outcome->elapsed_us = response->elapsed_us;
	MUST(response->body.length <= sizeof(outcome->body));
	outcome->body_length = response->body.length;
	if (response->body.length)
		memcpy(outcome->body, response->body.data, response->body.length);
	struct octets options = response->message->header.options;
	MUST(options.length <= sizeof(outcome->options));
	outcome->options_length = options.length;
	if (options.length)
		memcpy(outcome->options, options.data, options.length);
	outcome->destination_length = response->message->header.destination_list.length;
}

void router_net_on_attach(void *userdata, int error, uint16_t slot, const struct id *peer) {
	struct router_net_outcome *outcome = userdata;

	outcome->calls++;
	outcome->error = error;
	outcome->slot = slot;
	outcome->signer_id = *peer;
}

struct octets router_net_list(const struct id *const *nodes, size_t count, const struct id *resource) {
	static uint8_t memory[8][256];
	static unsigned next;
	struct writer w = writer_fixed(memory[next++ % 8], sizeof(memory[0]));

	for (size_t i = 0; i < count; i++)
		destination_write_node(&w, nodes[i]);
	if (resource)
		destination_write_resource(&w, id_octets(resource));
	MUST(writer_finish(&w) == 0);
	return writer_octets_written(&w);
}

struct octets router_net_node_list(const struct id *node) {
	return router_net_list(&node, 1, NULL);
}

struct octets router_net_resource_list(const struct id *resource) {
	return router_net_list(NULL, 0, resource);
}

int router_net_send(struct router_net_node *from, struct octets list, uint16_t code, struct octets body,
		    struct router_net_outcome *outcome) {
	*outcome = (struct router_net_outcome){.net = from->net};
	struct outgoing outgoing = {
		OUTGOING_DEFAULT, .destination_list = list,	  .code = code,
		.body = body,	  .done = router_net_on_response, .userdata = outcome,
	};
	return router_send_request(from->router, &outgoing, NULL);
}

struct octets router_net_ping(size_t padding) {
	static uint8_t body[16384], zero[16000];
	struct writer w = writer_fixed(body, sizeof(body));

	ping_req_write(&w, OCTETS(zero, padding));
	MUST(writer_finish(&w) == 0);
	return writer_octets_written(&w);
}
