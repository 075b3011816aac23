/* SPDX-License-Identifier: BSD-2-Clause */
#include "link/sender.h"

#include <utlist.h>

enum status {
	SETTLED, /* acknowledged, or never sent */
	IN_FLIGHT,
	LOST,	/* given up for the window; its ack may still come */
	MASKED, /* seen in a mask only */
	STATUS = 3,
	OWN = 4, /* flag: carries an own message */
};

void sender_init(struct sender *s) {
	*s = (struct sender){
		.window = SENDER_WINDOW_INITIAL,
		.threshold = SENDER_WINDOW_MAX,
		.rto_us = SENDER_RTO_INITIAL_US,
		.own_due_us = UINT64_MAX,
	};
}

static uint8_t *status_of(struct sender *s, uint32_t sequence) {
	return &s->status[sequence % SENDER_RING];
}

static void set_status(struct sender *s, uint32_t sequence, uint8_t status) {
	uint8_t *at = status_of(s, sequence);

	if ((*at & STATUS) == IN_FLIGHT)
		s->in_flight--;
	*at = (uint8_t)((*at & OWN) | status);
}

/* Moves `oldest` over everything that is not in flight any more. */
static void settle(struct sender *s) {
	while (s->oldest != s->next && (*status_of(s, s->oldest) & STATUS) != IN_FLIGHT)
		s->oldest++;
}

static uint32_t max_u32(uint32_t a, uint32_t b) {
	return a > b ? a : b;
}

/* Window validation (RFC 2861): a window that was not used for a while says nothing about the path any more. */
static void decay_window(struct sender *s, uint64_t now_us) {
	if (s->in_flight > 0 || s->window <= SENDER_WINDOW_INITIAL)
		return;
	uint64_t idle_us = now_us - s->last_sent_us;
	if (idle_us <= s->rto_us)
		return;
	s->threshold = max_u32(s->threshold, s->window * 3 / 4);
	for (; idle_us > s->rto_us && s->window > SENDER_WINDOW_INITIAL; idle_us -= s->rto_us)
		s->window /= 2;
	s->window = max_u32(s->window, SENDER_WINDOW_INITIAL);
	s->growth = 0;
}

uint32_t sender_sent(struct sender *s, uint64_t now_us, struct sender_message *own) {
	uint32_t sequence = s->next;

	decay_window(s, now_us);
	if (sequence - s->oldest >= SENDER_RING) {
		/* Something a whole ring old is still in flight: resends beyond the window. It is not coming back. */
		set_status(s, s->oldest, LOST);
		settle(s);
	}
	s->next++; /* a retransmission takes a fresh number too (B-6.6.2-02) */
	s->sent_us[sequence % SENDER_RING] = (uint32_t)now_us;
	*status_of(s, sequence) = (uint8_t)(IN_FLIGHT | (own ? OWN : 0));
	if (s->remembered < SENDER_RING)
		s->remembered++;
	if (++s->in_flight >= s->window)
		s->limited = s->next;
	else if (s->next - s->limited > SENDER_RING)
		s->limited = s->next - SENDER_RING; /* keeps the difference small, so that its sign means something */
	s->last_sent_us = now_us;
	if (s->round_due_us == 0)
		s->round_due_us = now_us + ((uint64_t)s->rto_us << s->rounds);
	if (own) {
		if (own->sends == 0)
			DL_APPEND2(s->own, own, previous, next);
		own->sequences[own->sends] = sequence;
		own->due_us = now_us + ((uint64_t)s->rto_us << own->sends); /* B-6.6.3.1-03: the wait doubles */
		own->sends++;
		if (own->due_us < s->own_due_us)
			s->own_due_us = own->due_us;
	}
	return sequence;
}

/* RFC 6298 2.2 and 2.3, rounded up to a millisecond (B-6.6.3.1-02). */
static void measure(struct sender *s, uint32_t rtt_us) {
	if (rtt_us > 60000000)
		return;
	if (!s->measured) {
		s->srtt_us = rtt_us;
		s->rttvar_us = rtt_us / 2;
		s->measured = true;
	} else {
		uint32_t off = rtt_us > s->srtt_us ? rtt_us - s->srtt_us : s->srtt_us - rtt_us;
		s->rttvar_us = s->rttvar_us - s->rttvar_us / 4 + off / 4;
		s->srtt_us = s->srtt_us - s->srtt_us / 8 + rtt_us / 8;
	}
	uint32_t rto_us = s->srtt_us + max_u32(4 * s->rttvar_us, 1000);
	rto_us = (rto_us + 999) / 1000 * 1000;
	if (rto_us < SENDER_RTO_MIN_US)
		rto_us = SENDER_RTO_MIN_US;
	if (rto_us > SENDER_RTO_MAX_US)
		rto_us = SENDER_RTO_MAX_US;
	s->rto_us = rto_us;
}

/*
 * Slow start and congestion avoidance (RFC 5681 3.1), but only for what was sent while the window was full: a window that is not
 * used must not grow (RFC 2861).
 */
static void grow_window(struct sender *s, uint32_t sequence) {
	if (s->window >= SENDER_WINDOW_MAX || (int32_t)(s->limited - sequence) <= 0)
		return;
	if (s->window < s->threshold) {
		s->window++;
	} else if (++s->growth >= s->window) {
		s->growth = 0;
		s->window++;
	}
}

/* One answer to the losses of one flight. */
static void shrink_window(struct sender *s, uint32_t lost) {
	if (s->in_recovery && (int32_t)(lost - s->recovery) < 0)
		return;
	s->in_recovery = true;
	s->recovery = s->next;
	s->threshold = max_u32(s->window / 2, 2);
	s->window = s->threshold;
	s->growth = 0;
}

static void detect_losses(struct sender *s) {
	uint32_t at = s->oldest;

	for (; (int32_t)(s->highest_acked - at) >= SENDER_REORDERING; at++) {
		if ((*status_of(s, at) & STATUS) != IN_FLIGHT)
			continue;
		set_status(s, at, LOST);
		shrink_window(s, at);
	}
	settle(s);
}

static struct sender_message *find_own(struct sender *s, uint32_t sequence) {
	struct sender_message *message;

	DL_FOREACH2(s->own, message, next) {
		for (unsigned i = 0; i < message->sends; i++)
			if (message->sequences[i] == sequence)
				return message;
	}
	return NULL;
}

/* The other transmissions of a delivered message need no ack any more, nor are they losses. */
static void complete(struct sender *s, struct sender_message *message) {
	for (unsigned i = 0; i < message->sends; i++)
		if (s->next - message->sequences[i] <= SENDER_RING)
			set_status(s, message->sequences[i], SETTLED);
	DL_DELETE2(s->own, message, previous, next);
	if (!s->own)
		s->own_due_us = UINT64_MAX;
}

static void note_mask(struct sender *s, uint32_t sequence, uint32_t received) {
	/* Nobody who numbers the bits as we do sets bit 0. Constant masks and other numberings do: they tell us nothing. */
	if (received & 1)
		return;
	for (uint32_t back = 1; back <= 31 && (int32_t)(sequence - back - s->oldest) >= 0; back++)
		if (received >> back & 1 && (*status_of(s, sequence - back) & STATUS) == IN_FLIGHT)
			set_status(s, sequence - back, MASKED);
}

enum sender_ack_result sender_acked(struct sender *s, uint64_t now_us, uint32_t sequence, uint32_t received,
				    struct sender_message **ret_done) {
	uint32_t age = s->next - sequence;

	*ret_done = NULL;
	if (age == 0 || age > s->remembered)
		return SENDER_ACK_BOGUS;
	uint8_t status = *status_of(s, sequence);
	s->rounds = 0;
	s->hint_us = 0;
	if ((status & STATUS) == SETTLED)
		return SENDER_ACK_DUPLICATE;

	measure(s, (uint32_t)now_us - s->sent_us[sequence % SENDER_RING]);
	set_status(s, sequence, SETTLED);
	if (status & OWN) {
		struct sender_message *done = find_own(s, sequence);
		if (done) {
			complete(s, done);
			*ret_done = done;
		}
	}
	if (!s->any_acked || (int32_t)(sequence - s->highest_acked) > 0)
		s->highest_acked = sequence;
	s->any_acked = true;
	note_mask(s, sequence, received);
	settle(s);
	if (s->in_recovery && (int32_t)(s->oldest - s->recovery) >= 0)
		s->in_recovery = false;
	if ((status & STATUS) == IN_FLIGHT && !s->in_recovery)
		grow_window(s, sequence);
	detect_losses(s);

	s->round_due_us = s->in_flight > 0 ? now_us + s->rto_us : 0;
	return SENDER_ACK_NEW;
}

void sender_alive(struct sender *s) {
	s->rounds = 0;
	s->hint_us = 0;
}

uint64_t sender_deadline(const struct sender *s) {
	uint64_t round_us = s->round_due_us == 0 ? UINT64_MAX : s->round_due_us;

	/* A full window lets nothing out before the next ack or the end of the round. */
	if (!sender_has_room(s))
		return round_us;
	return round_us < s->own_due_us ? round_us : s->own_due_us;
}

/* A whole wait without any ack: everything in flight is lost, and one message at a time is enough to find out more. */
static void end_round(struct sender *s) {
	if (s->rounds < SENDER_ROUNDS_DEAD)
		s->rounds++;
	if (s->rounds == 1)
		s->threshold = max_u32(s->in_flight / 2, 2);
	s->window = 1;
	s->growth = 0;
	s->in_recovery = true;
	s->recovery = s->next;
	for (uint32_t at = s->oldest; at != s->next; at++)
		if ((*status_of(s, at) & STATUS) == IN_FLIGHT)
			set_status(s, at, LOST);
	s->oldest = s->next;
	s->round_due_us = 0;
}

static bool hinted(const struct sender *s, uint64_t now_us) {
	return s->hint_us != 0 && now_us - s->hint_us < SENDER_HINT_US;
}

static bool exhausted(const struct sender *s, uint64_t now_us) {
	const struct sender_message *message;

	DL_FOREACH2(s->own, message, next) {
		if (message->sends == SENDER_SENDS_MAX && message->due_us <= now_us)
			return true;
	}
	return false;
}

enum sender_verdict sender_timeout(struct sender *s, uint64_t now_us) {
	if (s->round_due_us != 0 && s->round_due_us <= now_us)
		end_round(s);
	if (s->own_due_us <= now_us && exhausted(s, now_us))
		return SENDER_DEAD; /* B-6.6.3.1-03 */
	if (s->rounds >= SENDER_ROUNDS_DEAD)
		return SENDER_DEAD;
	if (s->rounds >= 2 && hinted(s, now_us))
		return SENDER_UNREACHABLE;
	return sender_is_suspect(s) || (s->rounds >= 1 && hinted(s, now_us)) ? SENDER_SUSPECT : SENDER_FINE; /* B-6.6.3.1-05 */
}

/* No ack for an own message in time: a loss, unless a mask showed that only the ack was lost. */
static void lose_own(struct sender *s, const struct sender_message *message) {
	for (unsigned i = 0; i < message->sends; i++) {
		uint32_t sequence = message->sequences[i];
		if (s->next - sequence > SENDER_RING || (*status_of(s, sequence) & STATUS) != IN_FLIGHT)
			continue;
		set_status(s, sequence, LOST);
		shrink_window(s, sequence);
	}
	settle(s);
}

struct sender_message *sender_resend(struct sender *s, uint64_t now_us) {
	struct sender_message *message, *found = NULL;
	uint64_t due_us = UINT64_MAX;

	if (s->own_due_us > now_us || !sender_has_room(s))
		return NULL;
	DL_FOREACH2(s->own, message, next) {
		if (message->due_us > now_us || message->sends == SENDER_SENDS_MAX) {
			if (message->due_us < due_us)
				due_us = message->due_us;
		} else if (!found) {
			found = message;
		} else {
			due_us = now_us;
		}
	}
	/* What is due but does not fit the window waits for the next ack or the end of the round. */
	s->own_due_us = due_us;
	if (found)
		lose_own(s, found);
	return found;
}

void sender_postpone(struct sender *s, struct sender_message *message, uint64_t due_us) {
	message->due_us = due_us;
	if (due_us < s->own_due_us)
		s->own_due_us = due_us;
}

void sender_hint_unreachable(struct sender *s, uint64_t now_us) {
	s->hint_us = now_us;
}

bool sender_is_suspect(const struct sender *s) {
	return s->rounds >= SENDER_ROUNDS_SUSPECT;
}
