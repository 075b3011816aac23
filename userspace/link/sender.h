/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sender's half of Simple Reliability (RFC 6940 6.6.3): round-trip times, congestion control as TCP's (RFC 5405, B-6.6.3-01),
 * resending of own messages and detection of dead links. Counts messages, not octets. No sockets, no timers, no allocation: the
 * caller passes the time, asks sender_deadline() when to come back, and sends what it is told to send.
 *
 * Not the stop-and-wait algorithm of 6.6.3.1 (B-6.6.3.1-01: one message at a time, 10 ms apart), which is one possible
 * implementation, but its resending pattern and failure detection. Receivers cannot tell the difference.
 *
 * Choices:
 * - RTO starts at the static 500 ms of 6.6.3.1 and follows RFC 6298 once an ack was seen, rounded up to a millisecond, at least
 *   100 ms: the peer may be a loaded virtual machine or wait for its disk, and with less the five sends would all fall into
 *   a pause of one or two seconds. With 100 ms a dead peer on a LAN is suspect after 0.7 s and given up after 3.1 s.
 * - The mask of an ack tells about loss only. An own message counts as delivered when the ack of one of its transmissions arrives
 *   by number, because peers exist that send a constant mask.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SENDER_RING = 1024,	 /* transmissions remembered */
	SENDER_WINDOW_MAX = 512, /* messages in flight at most */
	SENDER_WINDOW_INITIAL = 4,
	SENDER_SENDS_MAX = 5,	   /* of one own message (B-6.6.3.1-03) */
	SENDER_REORDERING = 3,	   /* later numbers acknowledged before one is taken for lost */
	SENDER_ROUNDS_SUSPECT = 3, /* RTO, 2 RTO, 4 RTO without an ack: the third retransmission (B-6.6.3.1-05) */
	SENDER_ROUNDS_DEAD = 5,	   /* ... 16 RTO */
	SENDER_RTO_INITIAL_US = 500000,
	SENDER_RTO_MIN_US = 100000,
	SENDER_RTO_MAX_US = 10000000,
	SENDER_HINT_US = 30000000, /* how long a hard ICMP error is remembered */
};

/* An own message kept until it is acknowledged; embedded in the caller's structure. */
struct sender_message {
	struct sender_message *previous, *next;
	uint64_t due_us; /* next transmission */
	uint32_t sequences[SENDER_SENDS_MAX];
	uint8_t sends;
};

struct sender {
	uint32_t next;	     /* sequence number of the next transmission */
	uint32_t oldest;     /* numbers before this one are settled */
	uint32_t remembered; /* numbers before `next` of which something is known, at most SENDER_RING */
	uint32_t highest_acked;
	bool any_acked;
	uint32_t recovery; /* losses of numbers before this one belong to a loss already answered */
	bool in_recovery;

	uint32_t window, threshold, growth; /* messages; growth: acks counted towards the next message of window */
	uint32_t in_flight;
	uint32_t limited; /* the window was full when the numbers before this one were sent */
	uint64_t last_sent_us;

	bool measured;
	uint32_t srtt_us, rttvar_us, rto_us;

	uint64_t round_due_us; /* end of the current wait for any ack, 0 when nothing is waited for */
	uint8_t rounds;	       /* waits in a row that ended without one */
	uint64_t hint_us;      /* when a hard ICMP error came, 0 never */

	struct sender_message *own; /* not acknowledged yet, in order of first transmission (utlist) */
	uint64_t own_due_us;	    /* no own message is due before */

	uint32_t sent_us[SENDER_RING];
	uint8_t status[SENDER_RING];
};

void sender_init(struct sender *s);

/* May another message go out now? */
static inline bool sender_has_room(const struct sender *s) {
	return s->in_flight < s->window;
}

/* A transmission leaves now; returns its sequence number. `own`: the message it carries if it is to be resent, else NULL. */
uint32_t sender_sent(struct sender *s, uint64_t now_us, struct sender_message *own);

enum sender_ack_result {
	SENDER_ACK_NEW = 1,	  /* proves that the other side hears us */
	SENDER_ACK_DUPLICATE = 2, /* of a transmission already settled: the other side lives, nothing more */
	SENDER_ACK_BOGUS = 3,	  /* of a number never sent or long forgotten */
};

/* An ack came. *ret_done: the own message it completes, already taken off the list, or NULL; the caller frees it. */
enum sender_ack_result sender_acked(struct sender *s, uint64_t now_us, uint32_t sequence, uint32_t received,
				    struct sender_message **ret_done);

/* The other side acknowledged something that this sender did not send: it lives. */
void sender_alive(struct sender *s);

/* When sender_timeout() wants to be called, UINT64_MAX: no need. */
uint64_t sender_deadline(const struct sender *s);

enum sender_verdict {
	SENDER_FINE,
	SENDER_SUSPECT,	    /* no acks any more */
	SENDER_DEAD,	    /* waited and resent long enough */
	SENDER_UNREACHABLE, /* the same, sooner, because of a hard ICMP error */
};

/* Handles what is due. The caller then sends what sender_resend() returns. */
enum sender_verdict sender_timeout(struct sender *s, uint64_t now_us);

/* The next own message to send again now, or NULL; sender_sent() must follow, or sender_postpone() when it cannot be sent. */
struct sender_message *sender_resend(struct sender *s, uint64_t now_us);
void sender_postpone(struct sender *s, struct sender_message *message, uint64_t due_us);

/*
 * A hard ICMP error came for this link. Anybody can forge one, so it proves nothing by itself: it makes the next wait without an
 * ack count as suspicion and the one after that as the end. Any ack takes it back.
 */
void sender_hint_unreachable(struct sender *s, uint64_t now_us);

bool sender_is_suspect(const struct sender *s);
