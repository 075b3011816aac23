/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TLS-TCP-FH-NO-ICE links (RFC 6940 6.6.5, B-6.6.5-01): TLS 1.2 or 1.3 over TCP with the framing header, whose acks measure
 * the round-trip time and show whether the link lives. Whoever asks for the link listens, the other one connects. Implements
 * struct transport. One descriptor to poll, an epoll instance that watches all sockets.
 *
 * The process has to ignore SIGPIPE: the other side may be gone whenever we write.
 *
 * TCP has no cookie: a stranger costs us a descriptor and a handshake. Both are bounded in number, per host and in time.
 */
#pragma once

#include "base/limits.h"
#include "base/runtime.h"
#include "link/transport.h"
#include "overlay/signature.h"

struct tls_links;
struct link_slots;
struct dtls_kernel;

enum {
	TLS_LINKS_MAX = 1024,	       /* links and handshakes of either side; more: -ENOBUFS, or closed at once */
	TLS_LINKS_PER_HOST = 256,      /* that others opened from one IPv4 address or IPv6 /64; more are closed at once */
	TLS_HANDSHAKES_MAX = 256,      /* begun by others and not finished; a new one displaces the oldest */
	TLS_HANDSHAKES_PER_HOST = 32,  /* of them from one host; more are closed at once */
	TLS_FRAMES_MAX = 1024,	       /* sent or waiting and not acknowledged, of one link; more: -EAGAIN */
	TLS_QUEUE_OCTETS = 256 * 1024, /* waiting in one link; more: -EAGAIN */
	TLS_ACKS_WAITING = 64 * 1024,  /* octets waiting beyond which nothing more is read from that link */
	TLS_OCTETS_MAX = 64 << 20,     /* queues and half messages of all links; more: -EAGAIN, and the link that grows is closed */
	TLS_OVERSIZE = 64 * 1024,      /* octets above max-message-size with which a message is read, so that it can be refused */
	TLS_CANDIDATE_SECONDS = 3,     /* without a connection the next candidate is tried */
	TLS_RETAIN_SECONDS = 30,       /* a link without acknowledgements is kept this long (6.6.5) */
	TLS_CONFIRM_MS = 500,	       /* TLS 1.3: how long a client waits to be told that its certificate was accepted */
	TLS_RTO_INITIAL_US = 1000000,  /* RFC 6298 2.1 */
	TLS_RTO_MIN_US = 1000000,      /* 2.4 */
	TLS_RTO_MAX_US = 60000000,     /* 2.5 */
};

struct tls_settings {
	struct runtime *runtime;
	struct trust *trust;	       /* borrowed */
	struct credential *credential; /* referenced */
	struct address listen[2];      /* one per family; family 0: not used; port 0: any */
	size_t listen_count;
	struct address announce[LINK_CANDIDATES_MAX]; /* candidates to offer; 0: the listen addresses, or those of the interfaces */
	size_t announce_count;
	const char *keylog_path, *cipher_list, *secret; /* as in struct dtls_settings */
	struct link_slots *slots;			/* borrowed; NULL: own ones */
	const struct dtls_kernel *kernel;		/* borrowed; only detach() is called, when a link that was up ends */
};

/* Opens the sockets. -EADDRINUSE etc.; `reason` receives one sentence. */
int tls_links_new(const struct tls_settings *settings, const struct transport_events *events, struct tls_links **ret, char *reason,
		  size_t reason_size);

/* Sends close_notify on every link. */
struct tls_links *tls_links_free(struct tls_links *links);

struct transport tls_links_transport(struct tls_links *links);

/* Descriptor to poll for reading. */
int tls_links_fd(const struct tls_links *links);

/* Handles what is ready, a bounded amount of it; true: more may wait. */
bool tls_links_ready(struct tls_links *links);

/* Sends what was queued; the driver calls this after firing timers and before sleeping. */
void tls_links_flush(struct tls_links *links);

/* As those of link/dtls.h. */
int tls_links_connect(struct tls_links *links, uint16_t slot, const struct address *candidates, size_t count,
		      const struct id *expected, uint16_t *ret_slot);
void tls_links_abandon(struct tls_links *links, uint16_t slot);
int tls_links_set_credential(struct tls_links *links, struct credential *credential);
int tls_links_set_secret(struct tls_links *links, const char *secret, char *reason, size_t reason_size);
void tls_links_recheck(struct tls_links *links);

/* Local address the first listener is bound to. */
struct address tls_links_local(const struct tls_links *links);

struct tls_counters {
	uint64_t accepted, handshakes_started, handshakes_done, handshakes_failed;
	uint64_t drop_limit, drop_congestion, drop_malformed;
	uint64_t acks_sent, acks_received;
};
const struct tls_counters *tls_links_counters(const struct tls_links *links);
