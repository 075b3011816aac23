/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DTLS-UDP-SR-NO-ICE links (RFC 6940 6.6.3, 6.6.6; B-6.6.4-01) over DTLS 1.2: one UDP socket per address family for all
 * links, OpenSSL for the handshake, our own record layer afterwards. Implements struct transport.
 */
#pragma once

#include "base/limits.h"
#include "base/runtime.h"
#include "link/transport.h"
#include "overlay/signature.h"

struct dtls_links;

enum {
	DTLS_MESSAGES_MAX = 32768,     /* messages queued or kept for resending on all links together; more: -EAGAIN */
	DTLS_HANDSHAKES_PER_HOST = 32, /* handshakes others begin from one IPv4 address or IPv6 /64; more are not started */
	DTLS_HANDSHAKES_OWN = LIMIT_HANDSHAKES_OPEN / 4, /* of LIMIT_HANDSHAKES_OPEN kept free for connect() */
	DTLS_EARLY_RECORDS = 8,	    /* records of one link that arrive before its handshake is done; more are dropped */
	DTLS_CANDIDATE_SECONDS = 3, /* without an answer the next candidate is tried */
};

/*
 * A kernel program that handles records of the same links. `attach` is called when a link came up, with its secrets, and returns
 * the slot whose counters both sides use from now on, filled by record_state_share(); NULL: the daemon serves this link alone.
 * `detach` is called for every link `attach` was called for, before its keys are wiped; afterwards the slot is not touched any
 * more. `mtu`: a smaller MTU was reported, in octets of an IP packet. `silent`: what the program sends over that link is not
 * acknowledged; `heard`: the other side lives all the same. None of them may call back.
 */
struct record_state;
struct fastpath_slot;

/* A link that a former run of the daemon had, and that the kernel program kept up. */
struct dtls_kept {
	uint16_t number; /* of the slot */
	uint8_t generation;
	bool initiated;
	struct octets certificate; /* DER, valid until the next one is asked for */
	struct fastpath_slot *slot;
};

struct dtls_kernel {
	void *userdata;
	struct fastpath_slot *(*attach)(void *userdata, uint16_t slot, uint8_t generation, const struct record_state *state);
	void (*detach)(void *userdata, uint16_t slot);
	void (*mtu)(void *userdata, uint16_t slot, uint32_t mtu);
	void (*silent)(void *userdata, uint16_t slot, bool heard);

	/* Both may be NULL. `remember`: what next() will say of an attached link after the daemon ended. `next`: begin with
	 * *position 0; false: no more. Such a link counts as attached, so that detach() is owed whatever becomes of it. */
	void (*remember)(void *userdata, uint16_t slot, uint8_t generation, bool initiated, struct octets certificate);
	bool (*next)(void *userdata, uint16_t *position, struct dtls_kept *ret);
};

enum dtls_cipher { DTLS_CIPHER_CHACHA20_POLY1305, DTLS_CIPHER_AES128_GCM, DTLS_CIPHER_AES256_GCM };

struct link_slots;
struct dtls_settings {
	struct runtime *runtime;
	struct trust *trust;	       /* borrowed */
	struct credential *credential; /* referenced */
	struct address listen[2];      /* one per family; family 0: not used; port 0: any */
	size_t listen_count;
	struct address announce[LINK_CANDIDATES_MAX]; /* candidates to offer; 0: the listen addresses, or those of the interfaces */
	size_t announce_count;
	const char *keylog_path;	  /* SSLKEYLOGFILE format for debugging, NULL: none; file mode 0600 */
	const char *cipher_list;	  /* NULL: CHACHA20-POLY1305 preferred, then AES-GCM */
	const char *secret;		  /* the overlay's shared secret (link/secure.h); NULL: none */
	struct link_slots *slots;	  /* borrowed: other kinds of links draw from it, too; NULL: own ones */
	uint16_t links_max;		  /* of own slots; 0: LINK_SLOTS_MAX */
	uint32_t mtu;			  /* octets of an IP packet; 0: 1500 until the kernel says otherwise */
	const struct dtls_kernel *kernel; /* borrowed, outlives the links; NULL: none */
	uint32_t handshake_timeout_ms; /* first wait before a handshake flight is sent again, doubled each time; 0: 1000 (RFC 6347)
					*/
};

/* Opens the sockets. -EADDRINUSE etc.; `reason` receives one sentence. */
int dtls_links_new(const struct dtls_settings *settings, const struct transport_events *events, struct dtls_links **ret,
		   char *reason, size_t reason_size);

/* Sends close_notify on every link. */
struct dtls_links *dtls_links_free(struct dtls_links *links);

/* A renewed certificate: handshakes that begin from now on show it; links that are up and handshakes under way go on as they are.
 * -EINVAL OpenSSL refuses it. */
int dtls_links_set_credential(struct dtls_links *links, struct credential *credential);

struct transport dtls_links_transport(struct dtls_links *links);

/*
 * Goes on with links of a former run of the daemon, without a handshake: same keys, record numbers, replay window, slot and
 * generation. Before anything is received; calls up() for each. Links that are not possible any more, because their certificate is
 * not trusted now or their socket is another, are left out with a line in the log. Returns how many are up.
 */
size_t dtls_links_adopt(struct dtls_links *links);

/*
 * connect() in a slot that the caller already holds, which may be in use elsewhere until the link is up; LINK_SLOT_NONE: a new one.
 * Further: forget one that is not up yet, without down(); has the other side answered its handshake?
 */
int dtls_links_connect(struct dtls_links *links, uint16_t slot, const struct address *candidates, size_t count,
		       const struct id *expected, uint16_t *ret_slot);
void dtls_links_abandon(struct dtls_links *links, uint16_t slot);
bool dtls_links_heard(const struct dtls_links *links, uint16_t slot);

/* Another shared secret for handshakes to come, NULL: none. -EINVAL, -ENOMEM; `reason` receives one phrase. */
int dtls_links_set_secret(struct dtls_links *links, const char *secret, char *reason, size_t reason_size);

/* File descriptors to poll for reading (and writing while dtls_links_want_write()); at most 2. */
size_t dtls_links_fds(const struct dtls_links *links, int *fds, size_t max);

/* Is a datagram waiting for room in the kernel? Then poll for writing too and call dtls_links_flush(). */
bool dtls_links_want_write(const struct dtls_links *links);

/* Reads and handles what has arrived, in batches; flushes what is to be sent. Bounded work per call; returns true if more may wait.
 */
bool dtls_links_receive(struct dtls_links *links, int fd);

/* Sends everything batched so far; the driver calls this after firing timers and before sleeping. */
void dtls_links_flush(struct dtls_links *links);

/* After trust_set_config(): closes links whose certificate is no longer valid (B-11.1-06). */
void dtls_links_recheck(struct dtls_links *links);

/* Local address the first socket is bound to. */
struct address dtls_links_local(const struct dtls_links *links);

struct dtls_counters {
	uint64_t datagrams_received, datagrams_sent, handshakes_started, handshakes_done, handshakes_failed, cookies_sent;
	uint64_t drop_unknown, drop_forged, drop_replayed, drop_malformed, drop_epoch, drop_limit, drop_congestion;
	uint64_t acks_sent, acks_received, retransmissions;
	uint64_t adopted; /* links of a former run */
};
const struct dtls_counters *dtls_links_counters(const struct dtls_links *links);
