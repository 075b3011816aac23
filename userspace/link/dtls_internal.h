/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside of link/dtls.h. A datagram's way: socket (dtls_io.c) → endpoint of its remote address (endpoint.c) → its records
 * (dtls_receive.c) → the established link (dtls_link.c), the handshake in progress (dtls_handshake.c), or the cookie exchange
 * (cookie.c). Everything sent goes into the batch of its socket, which is flushed after a batch received or by the driver.
 *
 * Objects that a callback may get rid of while we still work with them (links, handshakes, endpoints) are only marked and put on
 * the morgue; they are freed when the outermost call returns (dtls_enter(), dtls_leave()).
 */
#pragma once

#include "base/limits.h"
#include "link/cookie.h"
#include "link/dtls.h"
#include "link/frame.h"
#include "link/record.h"
#include "link/secure.h"
#include "link/sender.h"
#include "link/slots.h"

#include <netinet/in.h>
#include <openssl/ssl.h>

enum {
	DTLS_RECEIVE_BATCH = 64, /* datagrams, or runs of equal datagrams, read by one recvmmsg() */
	DTLS_RECEIVE_ROUNDS = 4, /* batches handled by one dtls_links_receive() */
	DTLS_RECEIVE_SIZE = 65536,
	DTLS_SEND_BATCH = 256,		 /* datagrams sent by one sendmmsg() */
	DTLS_SEND_ARENA = 512 * 1024,	 /* octets of them */
	DTLS_SEGMENTS_MAX = 64,		 /* equal datagrams to one address handed to the kernel as one (UDP_SEGMENT) */
	DTLS_SEGMENT_OCTETS_MAX = 64000, /* octets of those */
	DTLS_CONTROL_SIZE = 128,
	DTLS_SOCKET_BUFFER = 4 << 20,
	DTLS_MTU_DEFAULT = 1500,
	DTLS_MTU_MIN = 576,	     /* less is not believed (IPv6: 1280) */
	DTLS_HANDSHAKE_MTU = 1280,   /* handshake flights fit every path */
	DTLS_FINAL_FLIGHT_MAX = 256, /* ChangeCipherSpec and Finished, octets */
	DTLS_POOL_MAX = 1024,	     /* message buffers kept for reuse */
};

union dtls_name {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct dtls_destination {
	struct address remote;
	struct address source; /* ours the other side talks to; family 0: let routing choose */
	union dtls_name name;  /* `remote` for the kernel */
	socklen_t name_length;
	struct dtls_socket *socket;
};

/* One remote address we have to do with. */
struct endpoint {
	struct dtls_destination to;
	struct dtls_link *link; /* established */
	struct dtls_handshake *handshake;
	uint64_t hash;
	uint64_t batch;	  /* number of the batch `runs` belong to */
	uint32_t runs[2]; /* latest run of data and of ack datagrams in it, plus one; 0 none */
	struct endpoint *morgue;
	bool dead;
};

struct endpoint_table {
	struct endpoint **places; /* open addressing, linear probing; a power of two of them */
	size_t size, count;
	uint64_t secret[6]; /* strangers must not be able to choose what collides */
};

int endpoint_table_init(struct endpoint_table *table, const struct runtime *runtime);
void endpoint_table_free(struct endpoint_table *table);
struct endpoint *endpoint_find(const struct endpoint_table *table, const struct address *remote);
int endpoint_add(struct endpoint_table *table, const struct address *remote, struct endpoint **ret);
void endpoint_remove(struct endpoint_table *table, struct endpoint *endpoint);

/* --- sockets and batches (dtls_io.c) --- */

/* Datagrams to one address that leave in one message: all of the same length but the last, which may be shorter. */
struct dtls_run {
	struct dtls_destination to;
	uint32_t first, last, count; /* datagrams, linked by dtls_datagram.next */
	size_t length, octets;
	bool closed;
};

struct dtls_datagram {
	size_t offset;
	uint32_t length, next; /* next: index plus one */
};

struct dtls_socket {
	int fd;
	uint16_t family;
	bool wildcard; /* bound to no particular address: replies must name their source */
	bool segment;  /* the kernel takes UDP_SEGMENT */
	struct address local;

	uint8_t *arena;
	size_t arena_used;
	struct dtls_datagram datagrams[DTLS_SEND_BATCH];
	struct dtls_run runs[DTLS_SEND_BATCH];
	uint32_t datagram_count, run_count, run_sent;
	uint64_t batch;
	bool blocked; /* the kernel's buffer is full */
};

struct dtls_receive {
	uint8_t *buffers; /* DTLS_RECEIVE_BATCH of DTLS_RECEIVE_SIZE */
	struct mmsghdr messages[DTLS_RECEIVE_BATCH];
	struct iovec vectors[DTLS_RECEIVE_BATCH];
	union dtls_name names[DTLS_RECEIVE_BATCH];
	uint8_t controls[DTLS_RECEIVE_BATCH][DTLS_CONTROL_SIZE] __attribute__((aligned(8)));
};

struct dtls_send {
	struct mmsghdr messages[DTLS_SEND_BATCH];
	struct iovec vectors[DTLS_SEND_BATCH];
	uint8_t controls[DTLS_SEND_BATCH][DTLS_CONTROL_SIZE] __attribute__((aligned(8)));
};

int dtls_io_open(struct dtls_links *links, const struct address *local, char *reason, size_t reason_size);
void dtls_io_close(struct dtls_socket *socket);

/* Room for one datagram at the end of the batch, NULL when the kernel takes nothing and the batch is full. */
uint8_t *dtls_io_reserve(struct dtls_links *links, struct dtls_socket *socket, size_t length);

/* The datagram written there goes out with the batch. `endpoint` may be NULL; `ack`: one of many small ones. */
void dtls_io_commit(struct dtls_links *links, const struct dtls_destination *to, struct endpoint *endpoint, size_t length,
		    bool ack);
void dtls_io_flush(struct dtls_links *links, struct dtls_socket *socket);
void dtls_io_drain_errors(struct dtls_links *links, struct dtls_socket *socket);
void dtls_destination_set(struct dtls_destination *to, struct dtls_socket *socket, const struct address *remote);

/* Our address and the MTU of the route to `remote`, as far as the kernel knows. */
void dtls_route(const struct dtls_destination *to, struct address *ret_local, uint32_t *ret_mtu);

/* --- links (dtls_link.c) --- */

struct dtls_message {
	struct sender_message sender; /* first: the sender hands it back */
	struct dtls_message *next;    /* in the queue or the pool */
	uint32_t length;
	unsigned flags;
	uint8_t data[];
};

enum dtls_link_state {
	DTLS_LINK_CONNECTING,
	DTLS_LINK_PROVING, /* shared secret: who the other side is, is not known yet (link/proof.h) */
	DTLS_LINK_UP,
	DTLS_LINK_DEAD,
};

struct dtls_link {
	struct dtls_links *links;
	enum dtls_link_state state;
	uint16_t slot;
	bool suspect, broken, initiated;
	struct timer timer;

	/* while proving */
	bool proven, proof_acked; /* theirs to us, ours by them */
	uint8_t their_binding[SECURE_BINDING];
	uint64_t prove_by_us;

	/* while connecting */
	struct address candidates[LINK_CANDIDATES_MAX];
	size_t candidate_count, candidate;
	struct id expected;
	uint64_t give_up_us;
	enum link_reason last_failure;
	struct dtls_handshake *handshake;

	/* once up */
	struct endpoint *endpoint;
	struct certificate *certificate;
	struct record_layer record;
	struct frame_receiver receiver;
	struct sender sender;
	struct dtls_message *queue, *queue_last;
	uint32_t queued;
	uint8_t final_flight[DTLS_FINAL_FLIGHT_MAX]; /* our last handshake messages, until the other side shows it has them */
	size_t final_length;
	uint64_t final_sent_us;
	struct dtls_shared *shared; /* NULL: no kernel program handles this link too */
	bool kernel_attached;	    /* attach() was called */
	uint64_t sent, received, resent, octets_sent, octets_received, last_received_us;

	struct dtls_link *morgue;
};

/* A slot for a link in state CONNECTING: a new one for LINK_SLOT_NONE, else one that somebody already has. -ENOBUFS, -ENOMEM. */
int dtls_link_new(struct dtls_links *links, uint16_t slot, struct dtls_link **ret);

/* Everything that does not depend on where the link comes from. It has its keys, endpoint and certificate. */
void dtls_link_begin(struct dtls_link *link);

/* Takes a link over from a finished handshake; the link is up when this returns 0, the event is the caller's business. */
int dtls_link_start(struct dtls_link *link, struct dtls_handshake *handshake);

/* Takes over from dtls_link_start() until both sides know who the other one is: sends our proof. The link is dead if that fails. */
void dtls_link_prove(struct dtls_link *link, SSL *ssl);

/* Ends a link in whatever state, with close_notify if `notify`, and tells the owner. */
void dtls_link_end(struct dtls_link *link, enum link_reason reason, bool notify);

/* The same without telling anybody: for a link that never came up, and for dtls_links_free(). */
void dtls_link_discard(struct dtls_link *link, bool notify);
void dtls_link_leave_slot(struct dtls_link *link);
void dtls_link_free(struct dtls_link *link);

/* Opens and handles one record. The negative errno of record_open() when it does not open; it is counted by the caller. */
int dtls_link_receive(struct dtls_link *link, const struct record *record);
int dtls_link_send(struct dtls_link *link, const struct iovec *parts, size_t count, unsigned flags);
size_t dtls_link_payload_max(const struct dtls_link *link);

/* A hard ICMP error, or a smaller MTU, was reported for this link. */
void dtls_link_unreachable(struct dtls_link *link);
void dtls_link_set_mtu(struct dtls_link *link, uint32_t mtu);

/*
 * --- links of which a kernel program handles records too (dtls_shared.c) ---
 *
 * Frame numbers then come from a counter both sides use, so that those of the daemon have gaps. The sender keeps counting its own
 * transmissions without gaps, and the numbers on the wire are looked up here.
 */
struct dtls_shared {
	struct fastpath_slot *slot;
	uint32_t numbers[SENDER_RING]; /* on the wire, by the sender's number modulo SENDER_RING; ascending, as the sender's */
	uint32_t acked;		       /* as it was when last looked */
	uint32_t stalled_at;	       /* number sent next when acks for the kernel's frames stopped to come */
	uint64_t stalled_us;	       /* when that was, 0: they come */
	bool suspect;		       /* because of that */

	/* frames of the kernel alone: those of the daemon may arrive where the kernel's do not */
	uint32_t first, own;	  /* the next number when this began, and how many the daemon took since */
	uint32_t silent_sent;	  /* frames of the kernel when an ack for one of them was seen last */
	uint32_t silent_last;	  /* frames of the kernel when last looked */
	uint64_t silent_acked;	  /* slot->last_acked_ns then */
	uint64_t silent_us;	  /* when later frames were seen first, 0: none */
	uint64_t silent_moved_us; /* when the latest were */
	bool silent_broken;	  /* such an ack reached the daemon instead of the kernel */
};

enum {
	DTLS_SHARED_CHECK_US = 50000,	 /* how often acks of the kernel's frames are looked at */
	DTLS_SHARED_IDLE_US = 200000,	 /* the same when it sends none */
	DTLS_SHARED_SUSPECT_US = 400000, /* this long without one, and a round trip, and */
	DTLS_SHARED_SUSPECT_FRAMES = 3,	 /* as many frames sent meanwhile, make the link suspect */
	DTLS_SHARED_SILENT_US = 175000,	 /* sooner the kernel loses the link to the daemon, which is no harm */
	DTLS_SHARED_OUTSTANDING = 32,	 /* frames looked at one by one for whose they are */
	DTLS_SHARED_PAUSE_US = 2000000,	 /* frames without an ack before a longer pause than this prove nothing */
};

void dtls_shared_init(struct dtls_links *links);

/* From here on the link counts with the slot; it takes over `shared`, which is empty. */
void dtls_shared_begin(struct dtls_link *link, struct dtls_shared *shared, struct fastpath_slot *slot);

/* The link came up. Failure leaves it to the daemon alone. */
void dtls_shared_start(struct dtls_link *link);

/* After it: so that it can be gone on with when this daemon is no more. */
void dtls_shared_remember(const struct dtls_link *link, bool initiated);

/* Before the keys go away. */
void dtls_shared_stop(struct dtls_link *link);

/* A handshake in the place of this link begins or ends: what its keys do not open is not forged. */
void dtls_shared_handshake(struct dtls_link *link, bool under_way);

/* The number on the wire of the transmission to which the sender gave `sequence`. */
uint32_t dtls_shared_number(struct dtls_shared *shared, uint32_t sequence);

/*
 * Translates an ack for the sender. False: it is for no transmission of the sender; *ret_kernel tells that it is for one of the
 * kernel, or too old to tell.
 */
bool dtls_shared_ack(struct dtls_shared *shared, const struct sender *sender, struct frame *ack, bool *ret_kernel);
uint32_t dtls_shared_rtt_us(const struct dtls_link *link);
uint64_t dtls_shared_last_received_us(const struct dtls_link *link);

/* Tells the owner that no acks come any more, or again. */
void dtls_link_set_suspect(struct dtls_link *link, bool suspect);

/* --- handshakes (dtls_handshake.c) --- */

struct dtls_early {
	uint8_t *data;
	size_t length;
};

struct dtls_handshake {
	struct dtls_links *links;
	struct dtls_handshake *previous, *next, *morgue;
	struct endpoint *endpoint;
	struct dtls_link *link; /* the connect() this serves, NULL if none */
	SSL *ssl;
	struct secure_session session;
	struct timer timer;
	uint64_t started_us, deadline_us;
	bool dead, unreachable, heard, finished_received; /* finished_received: or what may be it, nobody could tell */
	uint8_t client_random[RECORD_RANDOM];
	struct octets input; /* the record OpenSSL reads next */
	uint64_t tx_next;    /* first number of epoch 1 OpenSSL has not used */
	bool in_final_flight;
	uint8_t final_flight[DTLS_FINAL_FLIGHT_MAX];
	size_t final_length;
	struct dtls_early early[DTLS_EARLY_RECORDS]; /* application records that overtook Finished */
	size_t early_count;
};

/* What OpenSSL's context for datagrams needs besides; again after every change of the context. -ENOMEM. */
int dtls_handshake_context(struct dtls_links *links);

/* Begins a handshake as client for `link`. -EBUSY: one with this address is under way. -ENOBUFS, -ENOMEM, -EAFNOSUPPORT. */
int dtls_handshake_connect(struct dtls_link *link, const struct address *remote);

/* A ClientHello whose cookie is right. */
void dtls_handshake_accept(struct dtls_links *links, const struct dtls_destination *from, struct endpoint *endpoint,
			   const struct record *record, const struct client_hello *hello);
void dtls_handshake_receive(struct dtls_handshake *handshake, const struct record *record);

/* Forgets a handshake without a word. */
void dtls_handshake_discard(struct dtls_handshake *handshake);
void dtls_handshake_free(struct dtls_handshake *handshake);
void dtls_handshake_unreachable(struct dtls_handshake *handshake);

/* --- the whole (dtls.c, dtls_receive.c) --- */

struct dtls_links {
	struct runtime *runtime;
	struct secure_context secure;
	struct transport_events events;
	struct address announce[LINK_CANDIDATES_MAX];
	size_t announce_count;
	uint32_t mtu; /* 0: what the kernel says */
	const struct dtls_kernel *kernel;
	struct timer shared_timer;
	uint32_t handshake_timeout_us;
	BIO_METHOD *bio_method;

	struct dtls_socket *sockets[2];
	size_t socket_count;
	struct dtls_receive *receive;
	struct dtls_send *send;
	struct endpoint_table endpoints;
	struct cookie_secret cookie_secret;

	struct dtls_link *slots[LINK_SLOTS_MAX];
	struct link_slots *numbers; /* who has which slot; other kinds of links may take from it, too */
	struct link_slots own_numbers;
	struct dtls_handshake *handshakes;
	uint32_t handshake_count, handshake_server_count;

	struct dtls_message *pool;
	uint32_t pool_count, message_count;
	size_t message_size; /* octets of message a buffer holds */

	unsigned depth;
	struct dtls_link *dead_links;
	struct dtls_handshake *dead_handshakes;
	struct endpoint *dead_endpoints;
	struct dtls_counters counters;
};

static inline void dtls_enter(struct dtls_links *links) {
	links->depth++;
}
void dtls_leave(struct dtls_links *links);

/* One datagram. `source`: where it was sent to, family 0 if unknown. */
void dtls_receive_datagram(struct dtls_links *links, struct dtls_socket *socket, uint8_t *datagram, size_t length,
			   const struct address *remote, const struct address *source);

/* The endpoint goes when neither a link nor a handshake needs it. */
void dtls_endpoint_release(struct dtls_links *links, struct endpoint *endpoint);
