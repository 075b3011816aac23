/* SPDX-License-Identifier: BSD-2-Clause */
/* A few routers on a virtual network, with routes and ranges set by hand. */
#pragma once

#include "forward/router.h"
#include "sim/virtual.h"
#include "support/support_identity.h"

enum { ROUTER_NET_MAX = 8 };

struct router_net;

struct router_net_node {
	struct router_net *net;
	struct virtual_host *host;
	struct credential *credential;
	struct overlay_config *config;
	struct trust *trust;
	struct router *router;
	struct id id;
	struct connection_listener listener;
	unsigned ups, downs, suspects, updates_wanted; /* calls of the listener */
	enum link_reason last_down;
	struct id last_up, last_update_wanted;
};

struct router_net {
	struct support_overlay overlay;
	struct virtual_network *network;
	struct router_net_node nodes[ROUTER_NET_MAX];
	size_t count;
};

/* Nodes with the Node-IDs support_node_id(octets[i]). Settings (may be NULL) go to support_overlay_new_with(). Aborts on failure.
 */
void router_net_start(struct router_net *net, const struct document_settings *settings, const uint8_t *octets, size_t count);
void router_net_stop(struct router_net *net);

/* One more, with a certificate for all `ids`, signing as the first. */
struct router_net_node *router_net_add(struct router_net *net, const struct id *ids, size_t count, bool client);

/* The node vanishes without a word and starts again on a new host with the same credential. */
void router_net_restart(struct router_net_node *node);
void router_net_kill(struct router_net_node *node);

/* Another configuration document for this node alone. */
void router_net_configure(struct router_net_node *node, const struct document_settings *settings);

/* a opens a link to b; returns when both ends are up, or after three seconds. */
void router_net_connect(struct router_net_node *a, struct router_net_node *b);

/* a and b are connected peers that have sent their Updates. */
void router_net_peers(struct router_net_node *a, struct router_net_node *b);

/* Joined, range (predecessor, node], and the routing table. */
void router_net_place(struct router_net_node *node, const struct id *predecessor, const struct id *routes, size_t count);

/* Three peers in a row: 0x10 - 0x50 - 0x90; the outer ones know each other only through the middle. */
void router_net_row(struct router_net *net, const struct document_settings *settings);

void router_net_run_ms(struct router_net *net, uint64_t milliseconds);
const struct connection *router_net_link(const struct router_net_node *from, const struct router_net_node *to);
bool router_net_linked(const struct router_net_node *a, const struct router_net_node *b);

/* What came of one request or Attach. */
struct router_net_outcome {
	unsigned calls;
	int error;
	uint16_t code, error_code, slot;
	struct id signer_id;
	uint8_t body[8192];
	size_t body_length;
	uint8_t options[64];
	size_t options_length, destination_length;
	uint8_t ttl;
	uint64_t at_us, elapsed_us;
	struct router_net *net;
};
void router_net_on_response(void *userdata, int error, const struct response *response);
void router_net_on_attach(void *userdata, int error, uint16_t slot, const struct id *peer);

/* Encoded lists in static memory that is good until the eighth next call. */
struct octets router_net_list(const struct id *const *nodes, size_t count, const struct id *resource);
struct octets router_net_node_list(const struct id *node);
struct octets router_net_resource_list(const struct id *resource);

/* Sends a request with `body`; the outcome is reset. Returns what router_send_request() does. */
int router_net_send(struct router_net_node *from, struct octets list, uint16_t code, struct octets body,
		    struct router_net_outcome *outcome);

/* A PingReq body, and one with this much padding. */
struct octets router_net_ping(size_t padding);
