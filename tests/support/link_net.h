/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several DTLS link objects in one process on loopback sockets, driven by poll() with a bounded number of turns, and a relay
 * between two of them that can drop, hold, repeat and record datagrams. Time stands still unless a test moves it.
 */
#pragma once

#include "link/dtls.h"
#include "support/support_identity.h"

enum { LINK_NODE_EVENTS = 64, LINK_NODE_MESSAGES = 1024, LINK_NODES_MAX = 4, LINK_RELAY_HELD = 16, LINK_DATAGRAM_MAX = 2048 };

struct link_event {
	enum { LINK_EVENT_UP, LINK_EVENT_DOWN, LINK_EVENT_SUSPECT, LINK_EVENT_RESTORED } what;
	uint16_t slot;
	bool initiated;
	enum link_reason reason;
};

struct link_net;

struct link_node {
	struct link_net *net;
	struct runtime runtime;
	struct credential *credential;
	struct dtls_links *links;
	struct transport transport;
	struct link_event events[LINK_NODE_EVENTS];
	size_t event_count;
	struct {
		uint16_t slot;
		size_t length;
		uint8_t data[LINK_DATAGRAM_MAX];
	} * messages;
	size_t message_count;

	/* What a test wants to happen inside of the callbacks; may be NULL. */
	void (*on_up)(struct link_node *node, uint16_t slot);
	void (*on_down)(struct link_node *node, uint16_t slot);
	void (*on_receive)(struct link_node *node, uint16_t slot);
};

/* Which way a datagram goes through the relay: from the node that connects, or to it. */
enum link_way { LINK_FORTH, LINK_BACK };
enum link_fate { LINK_PASS, LINK_DROP, LINK_TWICE, LINK_HOLD /* until link_relay_release() */ };

struct link_relay {
	int fds[2];		       /* towards the connecting node, towards the other one */
	struct address front;	       /* what the connecting node connects to */
	struct address client, server; /* where it delivers */
	enum link_fate (*decide)(struct link_relay *relay, enum link_way way, const uint8_t *datagram, size_t length);
	bool cut;
	unsigned passed[2], dropped[2];
	unsigned number; /* for the use of `decide` */
	struct {
		enum link_way way;
		size_t length;
		uint8_t data[LINK_DATAGRAM_MAX];
	} held[LINK_RELAY_HELD];
	size_t held_count;
};

struct link_net {
	struct support_overlay overlay;
	uint64_t now_us;
	bool real_time; /* time follows the system's clock, for OpenSSL's handshake timers */
	struct link_node *nodes[LINK_NODES_MAX];
	size_t node_count;
	struct link_relay *relay;
};

int link_net_open(struct link_net *net);

/* From now on time is the system's. */
void link_net_real_time(struct link_net *net);
void link_net_close(struct link_net *net);

/* A node with Node-ID `octet` repeated; listens on `host` ("127.0.0.1", "::1") at any port. `settings` may be NULL; what it leaves
 * out is filled in. */
struct link_node *link_node_new(struct link_net *net, const char *host, uint8_t octet, const struct dtls_settings *settings);

/* The same with a credential of its own, which it takes over. */
struct link_node *link_node_with(struct link_net *net, const char *host, struct credential *credential,
				 const struct dtls_settings *settings);
void link_node_free(struct link_node *node);

struct address link_node_address(const struct link_node *node);

/* Connects; expects `octet` as Node-ID unless 0. Returns the slot, LINK_SLOT_NONE on failure. */
uint16_t link_node_connect(struct link_node *node, const struct address *to, uint8_t octet);
int link_node_send(struct link_node *node, uint16_t slot, const void *data, size_t length, unsigned flags);

/* Events of one kind so far. */
size_t link_node_count(const struct link_node *node, int what);
const struct link_event *link_node_last(const struct link_node *node, int what);

/* A relay in front of `server`. */
int link_relay_open(struct link_net *net, const struct link_node *server, struct link_relay *relay);
void link_relay_close(struct link_net *net, struct link_relay *relay);
void link_relay_release(struct link_relay *relay);

/* Sends octets to the server as if they came from the client, or to the client as if from the server. */
void link_relay_inject(struct link_relay *relay, enum link_way way, const void *datagram, size_t length);

/* Runs everybody until nothing moves any more. Returns how many datagrams moved. */
size_t link_net_settle(struct link_net *net);

/* Runs until `node` has seen `count` events of a kind; false when that does not happen. */
bool link_net_until(struct link_net *net, struct link_node *node, int what, size_t count);

/* Moves time on, step by step so that nothing is late, and lets everybody work. */
void link_net_pass(struct link_net *net, uint64_t us);
