/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several link objects (link/links.h) in one process on loopback sockets, and strangers that connect to them by hand. Time stands
 * still unless a test moves it; what the kernel does is waited for.
 */
#pragma once

#include "link/links.h"
#include "support/support_identity.h"

#include <openssl/ssl.h>

enum { TLS_NET_NODES = 6, TLS_NET_EVENTS = 2048, TLS_NET_MESSAGES = 64, TLS_NET_MESSAGE = 80000 };

struct tls_event {
	enum { TLS_EVENT_UP, TLS_EVENT_DOWN, TLS_EVENT_SUSPECT, TLS_EVENT_RESTORED, TLS_EVENT_KINDS } what;
	uint16_t slot;
	bool initiated;
	enum link_reason reason;
};

struct tls_net;

struct tls_node {
	struct tls_net *net;
	struct runtime runtime;
	struct credential *credential;
	struct links *links;
	struct transport transport;
	size_t counts[TLS_EVENT_KINDS];
	struct tls_event last[TLS_EVENT_KINDS];
	size_t message_count;
	size_t message_length; /* of the last one */
	uint8_t *message;
};

struct tls_net {
	struct support_overlay overlay;
	uint64_t now_us;
	struct tls_node *nodes[TLS_NET_NODES];
	size_t node_count;
};

/* A TCP connection, and perhaps TLS, in the hands of the test. */
struct stranger {
	struct tls_net *net;
	int fd;
	SSL_CTX *context;
	SSL *ssl;
};

int tls_net_open(struct tls_net *net);
void tls_net_close(struct tls_net *net);

/* Node-ID `octet` repeated; `protocols` as for links_new(). What `settings` (may be NULL) leaves out is filled in. */
struct tls_node *tls_node_new(struct tls_net *net, uint8_t octet, unsigned protocols, const struct dtls_settings *settings);
/* The same with a credential of its own, which it takes over. */
struct tls_node *tls_node_with(struct tls_net *net, struct credential *credential, unsigned protocols,
			       const struct dtls_settings *settings);
void tls_node_free(struct tls_node *node);

/* Where it listens, as a candidate for TLS or for DTLS. */
struct address tls_node_address(const struct tls_node *node, bool tls);

/* Connects; expects `octet` as Node-ID unless 0. LINK_SLOT_NONE on failure. */
uint16_t tls_node_connect(struct tls_node *node, const struct address *to, size_t count, uint8_t octet);
int tls_node_send(struct tls_node *node, uint16_t slot, const void *data, size_t length);
const struct tls_counters *tls_node_counters(const struct tls_node *node);

/* One turn for everybody, after waiting for sockets up to that long. True: something may have moved. */
bool tls_net_turn(struct tls_net *net, int wait_ms);
/* Until nothing moves. */
void tls_net_settle(struct tls_net *net);
/* Until `node` has seen `count` events of a kind, or too long. */
bool tls_net_until(struct tls_net *net, const struct tls_node *node, int what, size_t count);
bool tls_net_until_message(struct tls_net *net, const struct tls_node *node, size_t count);
/* Moves time on from timer to timer. */
void tls_net_pass(struct tls_net *net, uint64_t us);

/* A TCP connection to `node` from `host` (NULL: any). 0 or negative errno. */
int stranger_open(struct tls_net *net, const struct tls_node *node, const char *host, struct stranger *ret);
/* TLS over it, with that credential, or with that secret. `version`: TLS1_2_VERSION and so on. */
int stranger_tls(struct stranger *stranger, const struct credential *credential, const char *secret, int version);
/* All of it; drives the nodes meanwhile. */
int stranger_write(struct stranger *stranger, const void *data, size_t length);
/* Exactly so many octets. -ECONNRESET when the node ends the connection before. */
int stranger_read(struct stranger *stranger, void *data, size_t length);
/* Has the node ended the connection? Waits for it. */
bool stranger_closed(struct stranger *stranger);
void stranger_close(struct stranger *stranger);
