/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside of link/tls.h. The object, sockets and the transport are in tls.c, the way to a link in tls_connect.c, the link itself in
 * tls_link.c. Links that a callback may end while we work with them are marked dead and freed by the outermost tls_leave().
 */
#pragma once

#include "link/dtls.h"
#include "link/frame.h"
#include "link/secure.h"
#include "link/slots.h"
#include "link/stream.h"
#include "link/tls.h"

enum {
	TLS_SCRATCH = 16384 + 64, /* a whole record */
	TLS_READS = 8,		  /* records taken from one link at a time */
	TLS_EVENTS = 64,
	TLS_ACCEPTS = 32, /* connections accepted at a time */
	TLS_LISTENERS = 2,
	TLS_BACKLOG = 128,
	TLS_ACCEPT_PAUSE_US = 1000000, /* when descriptors ran out */
	TLS_NOTSENT_LOWAT = 65536, /* octets the kernel holds beyond what is under way: the rest waits here, where it is counted */
	TLS_KEEPALIVE_IDLE_S = 60,
	TLS_KEEPALIVE_INTERVAL_S = 10,
	TLS_KEEPALIVE_PROBES = 3,
	TLS_WRITE_MAX = 16384,
};

enum tls_state {
	TLS_WAITING,	/* between candidates */
	TLS_CONNECTING, /* TCP */
	TLS_HANDSHAKE,
	TLS_CONFIRMING, /* TLS 1.3 client: what the server thinks of our certificate is not known yet */
	TLS_PROVING,	/* shared secret: who the other side is, is not known yet (link/proof.h) */
	TLS_UP,
	TLS_DEAD,
};

/* What epoll gives back: a listener or a link. */
struct tls_watch {
	enum { TLS_WATCH_LISTENER, TLS_WATCH_LINK } what;
};

struct tls_listener {
	struct tls_watch watch; /* first */
	int fd;
	struct address local;
	bool wildcard;
};

/* Frames not acknowledged yet: acks come in the order of frames, because TCP keeps them in order. */
struct tls_sent {
	uint64_t end;	  /* position in the stream behind the frame */
	uint64_t sent_us; /* when its last octet went to the kernel */
};

struct tls_link {
	struct tls_watch watch; /* first */
	struct tls_links *links;
	struct tls_link *previous, *next, *dirty_next, *morgue;
	enum tls_state state;
	uint16_t slot; /* LINK_SLOT_NONE: others opened it, and it is not up yet */
	bool initiated, suspect, dirty;
	int fd;
	bool watched; /* in epoll's set, for these events */
	uint32_t events;
	struct timer timer;
	uint64_t deadline_us; /* of what comes before TLS_UP */

	/* while connecting */
	struct address candidates[LINK_CANDIDATES_MAX];
	size_t candidate_count, candidate;
	struct id expected;
	enum link_reason last_failure;

	SSL *ssl;
	struct secure_session session;
	bool confirmed, proven, write_blocked, read_blocked; /* read_blocked: reading waits until OpenSSL could write */
	uint8_t their_binding[SECURE_BINDING];

	/* receiving */
	struct stream stream;
	struct frame_receiver receiver;

	/* sending: octets [out_start, out_end) wait */
	uint8_t *out;
	size_t out_start, out_end, out_size;
	uint64_t written;	 /* octets of the stream given to the kernel */
	uint64_t progress_us;	 /* when the last of them was */
	uint32_t next_number;	 /* of the next frame */
	uint32_t stamped, acked; /* frames before these numbers were written, acknowledged */
	struct tls_sent sent_ring[TLS_FRAMES_MAX];

	bool measured;
	uint32_t srtt_us, rttvar_us, rto_us;
	uint64_t suspect_us; /* when it became so */
	uint64_t sent, received, octets_sent, octets_received, last_received_us;
};

struct tls_links {
	struct runtime *runtime;
	struct secure_context secure;
	struct transport_events events;
	const struct dtls_kernel *kernel;
	struct address announce[LINK_CANDIDATES_MAX];
	size_t announce_count;
	int epoll_fd;
	struct tls_listener listeners[TLS_LISTENERS];
	size_t listener_count;
	struct timer accept_timer;

	struct tls_link *slots[LINK_SLOTS_MAX];
	struct link_slots *numbers, own_numbers;
	struct tls_link *list; /* all, oldest first */
	uint32_t count;
	size_t octets; /* TLS_OCTETS_MAX */
	struct tls_link *dirty;
	uint8_t scratch[TLS_SCRATCH];

	unsigned depth;
	struct tls_link *dead;
	struct tls_counters counters;
};

static inline void tls_enter(struct tls_links *links) {
	links->depth++;
}
void tls_leave(struct tls_links *links);

/* --- tls.c --- */

/* A link in state TLS_WAITING. -ENOBUFS, -ENOMEM. */
int tls_link_new(struct tls_links *links, struct tls_link **ret);

/* What epoll waits for, after `state` or what is blocked changed. */
void tls_link_watch(struct tls_link *link);

/* Ends the link in whatever state: close_notify if `notify`, down() if its owner knows it. */
void tls_link_end(struct tls_link *link, enum link_reason reason, bool notify);

/* --- tls_connect.c --- */

/* One step with what epoll said; for states before TLS_UP. */
void tls_connect_ready(struct tls_link *link, uint32_t events);

/* Begins with the next candidate, from the link's timer. */
void tls_connect_timer(struct timer *timer, void *userdata);

/* A connection someone else opened. Takes `fd` over. */
void tls_connect_accept(struct tls_links *links, int fd, const struct address *remote);

/* The TCP connection and what belongs to it, without the link. */
void tls_connect_drop(struct tls_link *link);

/* The server has accepted us. */
void tls_connect_confirmed(struct tls_link *link);

/* The first message over a link with a shared secret. 0, or the link is dead. */
int tls_connect_prove(struct tls_link *link, struct octets message);

/* Is everything known that makes it a link? Then it is one. */
void tls_connect_proceed(struct tls_link *link);

/* The handshake, or the connection, came to nothing: on with the next candidate. */
void tls_connect_failed(struct tls_link *link, enum link_reason reason);

/* New sessions mean that the server is content (TLS 1.3). */
void tls_connect_context(struct tls_links *links);

/* --- tls_link.c --- */

void tls_link_start(struct tls_link *link);
void tls_link_receive(struct tls_link *link);
void tls_link_write(struct tls_link *link);

/* Queues a data frame whatever state the link is in. -EAGAIN, -ENOMEM. */
int tls_link_queue(struct tls_link *link, const struct iovec *parts, size_t count, size_t length);
int tls_link_send(struct tls_link *link, const struct iovec *parts, size_t count);
size_t tls_link_payload_max(const struct tls_link *link);
void tls_link_statistics(const struct tls_link *link, struct link_statistics *ret);
void tls_link_update_timer(struct tls_link *link);
void tls_link_timer(struct tls_link *link);
