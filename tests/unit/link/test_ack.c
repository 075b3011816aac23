/* SPDX-License-Identifier: BSD-2-Clause */
/* Framing, acknowledgement, round-trip times, congestion control and failure detection on virtual time. */
#include "link/frame.h"
#include "link/sender.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS UINT64_C(1000)

/* --- frames: B-6.6.2-01 --- */

static void test_frame_vectors(void **state) {
	static const uint8_t ack[] = {0x81, 0, 0, 0, 5, 0, 0, 0, 0x3a};
	static const uint8_t data[] = {0x80, 0x01, 0x02, 0x03, 0x04, 0, 0, 3, 'a', 'b', 'c'};
	uint8_t out[FRAME_ACK_LENGTH];
	struct frame frame;

	(void)state;
	frame_write_ack(out, 5, 0x3a);
	assert_memory_equal(out, ack, sizeof(ack));
	assert_int_equal(frame_parse(OCTETS(ack, sizeof(ack)), &frame), 0);
	assert_int_equal(frame.type, FRAME_ACK);
	assert_int_equal(frame.sequence, 5);
	assert_int_equal(frame.received, 0x3a);

	frame_write_data_header(out, 0x01020304, 3);
	assert_memory_equal(out, data, FRAME_DATA_HEADER);
	assert_int_equal(frame_parse(OCTETS(data, sizeof(data)), &frame), 0);
	assert_int_equal(frame.type, FRAME_DATA);
	assert_int_equal(frame.sequence, 0x01020304);
	assert_int_equal(frame.message.length, 3);
	assert_memory_equal(frame.message.data, "abc", 3);
}

static void test_frame_malformed(void **state) {
	static const uint8_t data[] = {0x80, 0, 0, 0, 1, 0, 0, 3, 'a', 'b', 'c', 'd'};
	static const uint8_t ack[] = {0x81, 0, 0, 0, 5, 0, 0, 0, 0x3a, 0};
	static const uint8_t other[] = {0x82, 0, 0, 0, 5, 0, 0, 0, 0x3a};
	struct frame frame;

	(void)state;
	for (size_t length = 0; length <= sizeof(data); length++)
		assert_int_equal(frame_parse(OCTETS(data, length), &frame), length == 11 ? 0 : -EBADMSG);
	for (size_t length = 0; length <= sizeof(ack); length++)
		assert_int_equal(frame_parse(OCTETS(ack, length), &frame), length == 9 ? 0 : -EBADMSG);
	assert_int_equal(frame_parse(OCTETS(other, sizeof(other)), &frame), -EBADMSG);
}

/* --- the mask: B-6.6.2-04, Q-21, Q-65 --- */

static void test_mask(void **state) {
	struct frame_receiver receiver = {0};

	(void)state;
	assert_int_equal(frame_receiver_note(&receiver, 0), 0);
	assert_int_equal(frame_receiver_note(&receiver, 1), 1 << 1);
	assert_int_equal(frame_receiver_note(&receiver, 4), 1 << 3 | 1 << 4);
	assert_int_equal(frame_receiver_note(&receiver, 3), 1 << 2 | 1 << 3); /* 4 is later, not in the mask */
	assert_int_equal(frame_receiver_note(&receiver, 5), 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5);
	/* N - 32 itself is out of reach, N - 31 is the last one. */
	assert_int_equal(frame_receiver_note(&receiver, 36), UINT32_C(1) << 31);
	assert_int_equal(frame_receiver_note(&receiver, 37), 1 << 1);
}

static void test_mask_full_and_forgetting(void **state) {
	struct frame_receiver receiver = {0};

	(void)state;
	for (uint32_t n = 0; n < 100; n++) {
		uint32_t expected = n >= 31 ? 0xfffffffe : (UINT32_C(1) << (n + 1)) - 2;
		assert_int_equal(frame_receiver_note(&receiver, n), expected);
	}
	/* Only the 32 numbers received last are remembered: 68 to 99. */
	assert_int_equal(frame_receiver_note(&receiver, 70), 1 << 1 | 1 << 2);
	assert_int_equal(frame_receiver_note(&receiver, 60), 0);
}

static void test_mask_wraps(void **state) {
	struct frame_receiver receiver = {0};

	(void)state;
	frame_receiver_note(&receiver, UINT32_MAX - 1);
	assert_int_equal(frame_receiver_note(&receiver, UINT32_MAX), 1 << 1);
	assert_int_equal(frame_receiver_note(&receiver, 0), 1 << 1 | 1 << 2);
	assert_int_equal(frame_receiver_note(&receiver, 2), 1 << 2 | 1 << 3 | 1 << 4);
}

/* --- sender --- */

static struct sender sender;

static struct sender_message *ack(uint64_t now_us, uint32_t sequence, uint32_t received, enum sender_ack_result expected) {
	struct sender_message *done;

	assert_int_equal(sender_acked(&sender, now_us, sequence, received, &done), expected);
	return done;
}

static int setup(void **state) {
	(void)state;
	sender_init(&sender);
	return 0;
}

/* B-6.6.2-02 */
static void test_sequence_numbers(void **state) {
	struct sender_message own = {0};

	(void)state;
	assert_int_equal(sender_sent(&sender, 1, NULL), 0);
	assert_int_equal(sender_sent(&sender, 1, &own), 1);
	assert_int_equal(sender_sent(&sender, 1, NULL), 2);
	assert_ptr_equal(sender_resend(&sender, 1 + 500 * MS), &own);
	assert_int_equal(sender_sent(&sender, 1 + 500 * MS, &own), 3);
}

/* B-6.6.3.1-02: RFC 6298 2.2, 2.3, in steps of a millisecond, with our bounds */
static void test_rto(void **state) {
	(void)state;
	assert_int_equal(sender.rto_us, 500 * MS);
	sender_sent(&sender, 1000 * MS, NULL);
	ack(1200 * MS, 0, 0, SENDER_ACK_NEW);
	assert_int_equal(sender.srtt_us, 200 * MS);
	assert_int_equal(sender.rto_us, 600 * MS);
	sender_sent(&sender, 2000 * MS, NULL);
	ack(2100 * MS + 100, 1, 2, SENDER_ACK_NEW);
	assert_int_equal(sender.srtt_us, 175000 + 12500 + 12);
	assert_int_equal(sender.rttvar_us, 75000 + (200000 - 100100) / 4);
	assert_int_equal(sender.rto_us % MS, 0);
	assert_int_equal(sender.rto_us, 588 * MS); /* 187512 + 4 * 99975 = 587412, rounded up */
	for (uint32_t n = 2; n < 60; n++) {
		sender_sent(&sender, (3000 + n) * MS, NULL);
		ack((3000 + n) * MS + 300, n, 2, SENDER_ACK_NEW);
	}
	assert_in_range(sender.srtt_us, 290, 1000);
	assert_int_equal(sender.rto_us, SENDER_RTO_MIN_US);
	/* Across the wrap of the 32-bit microsecond stamps. */
	sender_sent(&sender, UINT64_C(0x2fffffff0), NULL);
	ack(UINT64_C(0x300000134), 60, 2, SENDER_ACK_NEW);
	assert_in_range(sender.srtt_us, 290, 1000);
}

/* B-6.6.3.1-03: 0, 500, 1500, 3500, 7500 ms, and the end; B-6.6.3.1-05: suspect at the third retransmission */
static void test_resend_pattern(void **state) {
	static const uint64_t times[] = {500 * MS, 1500 * MS, 3500 * MS, 7500 * MS};
	struct sender_message own = {0};

	(void)state;
	sender_sent(&sender, 0, &own);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(sender_deadline(&sender), times[i]);
		assert_int_equal(sender_timeout(&sender, times[i] - 1), i < 3 ? SENDER_FINE : SENDER_SUSPECT);
		assert_null(sender_resend(&sender, times[i] - 1));
		assert_int_equal(sender_timeout(&sender, times[i]), i < 2 ? SENDER_FINE : SENDER_SUSPECT);
		assert_ptr_equal(sender_resend(&sender, times[i]), &own);
		assert_int_equal(sender_sent(&sender, times[i], &own), i + 1);
		assert_null(sender_resend(&sender, times[i]));
	}
	assert_int_equal(sender_deadline(&sender), 15500 * MS);
	assert_int_equal(sender_timeout(&sender, 15500 * MS - 1), SENDER_SUSPECT);
	assert_int_equal(sender_timeout(&sender, 15500 * MS), SENDER_DEAD);
}

/* An ack of any transmission completes the message and takes suspicion back (B-6.6.3.1-03, -05). */
static void test_ack_of_any_transmission(void **state) {
	for (uint32_t which = 0; which < 4; which++) {
		struct sender_message own = {0};
		setup(state);
		sender_sent(&sender, 0, &own);
		for (uint64_t at = 500, step = 1000; at <= 3500; at += step, step *= 2) {
			sender_timeout(&sender, at * MS);
			assert_ptr_equal(sender_resend(&sender, at * MS), &own);
			sender_sent(&sender, at * MS, &own);
		}
		assert_true(sender_is_suspect(&sender));
		assert_ptr_equal(ack(3600 * MS, which, 0, SENDER_ACK_NEW), &own);
		assert_false(sender_is_suspect(&sender));
		assert_null(sender.own);
		assert_int_equal(sender.in_flight, 0);
		/* The late acks of the other transmissions change nothing. */
		for (uint32_t n = 0; n < 4; n++)
			assert_null(ack(3700 * MS, n, 0, SENDER_ACK_DUPLICATE));
		assert_int_equal(sender_deadline(&sender), UINT64_MAX);
	}
}

/* The mask never completes an own message. */
static void test_mask_does_not_complete(void **state) {
	struct sender_message own = {0};

	(void)state;
	sender_sent(&sender, 0, &own);
	sender_sent(&sender, 0, NULL);
	assert_null(ack(10 * MS, 1, 1 << 1, SENDER_ACK_NEW));
	assert_int_equal(sender.in_flight, 0);
	assert_ptr_equal(sender.own, &own);
	uint32_t window = sender.window;
	/* It is resent, but nothing was lost: the window stays. */
	assert_ptr_equal(sender_resend(&sender, 500 * MS), &own);
	assert_int_equal(sender.window, window);
	assert_int_equal(sender_sent(&sender, 500 * MS, &own), 2);
	assert_ptr_equal(ack(510 * MS, 2, 0, SENDER_ACK_NEW), &own);
}

static void test_bogus_acks(void **state) {
	(void)state;
	ack(0, 0, 0, SENDER_ACK_BOGUS);
	sender_sent(&sender, 0, NULL);
	ack(0, 1, 0xfffffffe, SENDER_ACK_BOGUS);
	ack(0, UINT32_MAX, 0, SENDER_ACK_BOGUS);
	assert_int_equal(sender.in_flight, 1);
	ack(1, 0, 0xfffffffe, SENDER_ACK_NEW); /* bits for numbers before the first one */
	ack(1, 0, 0, SENDER_ACK_DUPLICATE);
	assert_int_equal(sender.in_flight, 0);
}

/* Slow start from four, limited by what is used (RFC 5681, RFC 2861; B-6.6.3-01). */
static void test_slow_start(void **state) {
	uint32_t n = 0, acked = 0;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		uint32_t expected = 4U << round, sent = 0;
		while (sender_has_room(&sender)) {
			sender_sent(&sender, round * 20 * MS, NULL);
			sent++;
		}
		assert_int_equal(sent, expected);
		n += sent;
		for (; acked < n; acked++)
			ack(round * 20 * MS + 10 * MS, acked, 2, SENDER_ACK_NEW);
		assert_int_equal(sender.window, 2 * expected);
	}
	/* One message at a time does not open the window. */
	uint32_t window = sender.window;
	for (unsigned i = 0; i < 100; i++, n++) {
		sender_sent(&sender, (100 + i) * MS, NULL);
		ack((100 + i) * MS + 10, n, 0xfffffffe, SENDER_ACK_NEW);
	}
	assert_int_equal(sender.window, window);
	/* Idle for two RTO: half of half. */
	sender.window = 64;
	sender_sent(&sender, sender.last_sent_us + 2 * sender.rto_us + 1, NULL);
	assert_int_equal(sender.window, 16);
}

static void test_congestion_avoidance(void **state) {
	uint32_t acked = 0;

	(void)state;
	sender.window = sender.threshold = 10;
	while (sender_has_room(&sender))
		sender_sent(&sender, 0, NULL);
	for (unsigned i = 0; i < 10; i++) {
		ack(10 * MS, acked++, 2, SENDER_ACK_NEW);
		sender_sent(&sender, 10 * MS, NULL);
	}
	assert_int_equal(sender.window, 11); /* one more in a round trip */
	sender.window = SENDER_WINDOW_MAX;
	ack(11 * MS, acked++, 2, SENDER_ACK_NEW);
	assert_int_equal(sender.window, SENDER_WINDOW_MAX);
}

/* A gap that three later numbers jumped over is a loss: the window is halved, once for a flight. */
static void test_loss_halves_once(void **state) {
	(void)state;
	sender.window = sender.threshold = 20;
	for (unsigned i = 0; i < 20; i++)
		sender_sent(&sender, 0, NULL);
	ack(10 * MS, 0, 0, SENDER_ACK_NEW);
	/* 1 and 3 are missing. */
	ack(10 * MS, 2, 1 << 2, SENDER_ACK_NEW);
	assert_int_equal(sender.window, 20);
	ack(10 * MS, 4, 1 << 2 | 1 << 4, SENDER_ACK_NEW);
	assert_int_equal(sender.window, 10);
	ack(10 * MS, 6, 1 << 2 | 1 << 4 | 1 << 6, SENDER_ACK_NEW);
	assert_int_equal(sender.window, 10);
	assert_int_equal(sender.threshold, 10);
	/* 0, 2, 4, 6 are acknowledged; 1 and 3 lost; 5 not decided. */
	assert_int_equal(sender.in_flight, 20 - 6);
	/* The next flight's loss counts again. */
	for (uint32_t n = 7; n < 20; n++)
		ack(11 * MS, n, 2, SENDER_ACK_NEW);
	assert_int_equal(sender.in_flight, 0);
	for (unsigned i = 0; i < 6; i++)
		sender_sent(&sender, 20 * MS, NULL);
	uint32_t window = sender.window;
	ack(21 * MS, 24, 0, SENDER_ACK_NEW);
	assert_int_equal(sender.window, window / 2);
}

/* Lost acks alone are no loss: the masks of later ones cover for them. */
static void test_lost_acks(void **state) {
	(void)state;
	sender.window = sender.threshold = 40;
	for (unsigned i = 0; i < 30; i++)
		sender_sent(&sender, 0, NULL);
	ack(10 * MS, 29, 0xfffffffe, SENDER_ACK_NEW);
	assert_int_equal(sender.in_flight, 0);
	assert_int_equal(sender.window, 40);
}

/* A mask that cannot be right is not believed. */
static void test_constant_mask(void **state) {
	(void)state;
	sender.window = sender.threshold = 20;
	for (unsigned i = 0; i < 10; i++)
		sender_sent(&sender, 0, NULL);
	ack(10 * MS, 9, 0xffffffff, SENDER_ACK_NEW);
	assert_int_equal(sender.in_flight, 2); /* 7 and 8 may still come, 0 to 6 count as lost */
	assert_int_equal(sender.window, 10);
}

/* A silent RTO: window 1 (RFC 5681 3.1); one message a round afterwards; slow start when acks resume. */
static void test_window_after_rto(void **state) {
	(void)state;
	sender.window = 16;
	for (unsigned i = 0; i < 16; i++)
		sender_sent(&sender, 0, NULL);
	assert_false(sender_has_room(&sender));
	assert_int_equal(sender_deadline(&sender), 500 * MS);
	assert_int_equal(sender_timeout(&sender, 500 * MS), SENDER_FINE);
	assert_int_equal(sender.window, 1);
	assert_int_equal(sender.threshold, 8);
	assert_int_equal(sender.in_flight, 0);
	assert_int_equal(sender_deadline(&sender), UINT64_MAX); /* silence without sending is no failure */
	sender_sent(&sender, 600 * MS, NULL);
	assert_false(sender_has_room(&sender));
	assert_int_equal(sender_deadline(&sender), 1600 * MS); /* doubled */
	ack(610 * MS, 16, 0, SENDER_ACK_NEW);
	assert_int_equal(sender.window, 2);
	assert_int_equal(sender.rounds, 0);
}

/* Transit alone detects a dead link too, one silent wait after the other, and not from a single loss. */
static void test_transit_failure_detection(void **state) {
	uint64_t now = 0;

	(void)state;
	sender_sent(&sender, now, NULL);
	assert_int_equal(sender_timeout(&sender, 500 * MS), SENDER_FINE);
	assert_int_equal(sender_timeout(&sender, 3600000 * MS), SENDER_FINE);
	now = 3600000 * MS;
	static const enum sender_verdict verdicts[] = {SENDER_FINE, SENDER_SUSPECT, SENDER_SUSPECT, SENDER_DEAD};
	for (unsigned round = 1; round < 5; round++) {
		sender_sent(&sender, now, NULL);
		assert_int_equal(sender_deadline(&sender), now + (500 * MS << round));
		now = sender_deadline(&sender);
		assert_int_equal(sender_timeout(&sender, now), verdicts[round - 1]);
	}
}

static void test_icmp_hint(void **state) {
	(void)state;
	/* Alone it does nothing ... */
	sender_hint_unreachable(&sender, 1);
	assert_int_equal(sender_timeout(&sender, 1), SENDER_FINE);
	/* ... an ack takes it back ... */
	sender_sent(&sender, 1, NULL);
	ack(1 + 100 * MS, 0, 0, SENDER_ACK_NEW); /* RTO becomes 300 ms */
	sender_sent(&sender, 200 * MS, NULL);
	assert_int_equal(sender_timeout(&sender, 500 * MS), SENDER_FINE);
	/* ... and together with silence it shortens the wait. */
	sender_hint_unreachable(&sender, 500 * MS);
	assert_int_equal(sender_timeout(&sender, 500 * MS), SENDER_SUSPECT);
	sender_sent(&sender, 500 * MS, NULL);
	assert_int_equal(sender_timeout(&sender, 1099 * MS), SENDER_SUSPECT);
	assert_int_equal(sender_timeout(&sender, 1100 * MS), SENDER_UNREACHABLE);
	/* It expires. */
	assert_int_equal(sender_timeout(&sender, 500 * MS + SENDER_HINT_US), SENDER_FINE);
}

/* Own messages that are due together leave one by one when the window is one. */
static void test_resend_obeys_window(void **state) {
	struct sender_message own[3] = {0};

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		sender_sent(&sender, i * MS, &own[i]);
	assert_int_equal(sender_timeout(&sender, 600 * MS), SENDER_FINE);
	assert_ptr_equal(sender_resend(&sender, 600 * MS), &own[0]);
	sender_sent(&sender, 600 * MS, &own[0]);
	assert_null(sender_resend(&sender, 600 * MS));
	assert_true(sender_deadline(&sender) > 600 * MS); /* no busy waiting */
	assert_ptr_equal(ack(610 * MS, 3, 0, SENDER_ACK_NEW), &own[0]);
	assert_ptr_equal(sender_resend(&sender, 610 * MS), &own[1]);
	sender_sent(&sender, 610 * MS, &own[1]);
	assert_ptr_equal(sender_resend(&sender, 610 * MS), &own[2]);
	sender_sent(&sender, 610 * MS, &own[2]);
	assert_ptr_equal(ack(620 * MS, 5, 2, SENDER_ACK_NEW), &own[2]);
	assert_ptr_equal(ack(620 * MS, 4, 4, SENDER_ACK_NEW), &own[1]);
	assert_null(sender.own);
	assert_int_equal(sender.in_flight, 0);
}

/* Long runs with random loss and reordering keep the books straight: nothing in flight at the end, every own message delivered. */
static void test_random_run(void **state) {
	enum { MESSAGES = 5000 };
	struct sender_message *own = calloc(MESSAGES, sizeof(*own));
	struct {
		uint64_t at;
		uint32_t sequence, mask;
	} acks[4096];
	struct frame_receiver receiver = {0};
	size_t ack_count = 0, delivered = 0, sent = 0, kept = 0;
	uint64_t now = 0;
	uint32_t seed = 12345;

	(void)state;
#define RANDOM(bound) (seed = seed * 1664525 + 1013904223, (seed >> 8) % (bound))
	sender.next = sender.oldest = sender.limited = UINT32_MAX - 1000; /* numbers wrap */
	for (unsigned step = 0; step < 400000 && (delivered < kept || sent < MESSAGES || sender.in_flight > 0); step++) {
		struct sender_message *message = NULL;
		now += 100;
		enum sender_verdict verdict = sender_timeout(&sender, now);
		assert_int_not_equal(verdict, SENDER_DEAD);
		bool sending = false;
		if ((message = sender_resend(&sender, now))) {
			sending = true;
		} else if (sent < MESSAGES && sender_has_room(&sender)) {
			message = sent % 3 == 0 ? &own[kept++] : NULL;
			sent++;
			sending = true;
		}
		if (sending) {
			uint32_t sequence = sender_sent(&sender, now, message);
			assert_true(sender.in_flight <= SENDER_RING);
			if (RANDOM(100) >= 4) { /* arrives */
				uint32_t mask = frame_receiver_note(&receiver, sequence);
				if (RANDOM(100) >= 4 && ack_count < 4096) { /* ack arrives, perhaps late */
					acks[ack_count].at = now + 5 * MS + RANDOM(1000);
					acks[ack_count].sequence = sequence;
					acks[ack_count++].mask = mask;
				}
			}
		}
		for (size_t i = 0; i < ack_count;) {
			if (acks[i].at > now) {
				i++;
				continue;
			}
			assert_int_not_equal(sender_acked(&sender, now, acks[i].sequence, acks[i].mask, &message),
					     SENDER_ACK_BOGUS);
			if (message)
				delivered++;
			acks[i] = acks[--ack_count];
		}
		assert_true(sender.window >= 1 && sender.window <= SENDER_WINDOW_MAX);
	}
	assert_int_equal(sent, MESSAGES);
	assert_int_equal(delivered, kept);
	assert_null(sender.own);
	assert_int_equal(sender.in_flight, 0);
	free(own);
}

/* More own resends than the ring remembers must not upset the count. */
static void test_ring_reuse(void **state) {
	(void)state;
	sender.window = SENDER_WINDOW_MAX;
	for (unsigned i = 0; i < 3 * SENDER_RING; i++)
		sender_sent(&sender, 0, NULL); /* a caller who ignores the window */
	assert_true(sender.in_flight <= SENDER_RING);
	assert_int_equal(sender_timeout(&sender, 500 * MS), SENDER_FINE);
	assert_int_equal(sender.in_flight, 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame_vectors),
		cmocka_unit_test(test_frame_malformed),
		cmocka_unit_test(test_mask),
		cmocka_unit_test(test_mask_full_and_forgetting),
		cmocka_unit_test(test_mask_wraps),
		cmocka_unit_test_setup(test_sequence_numbers, setup),
		cmocka_unit_test_setup(test_rto, setup),
		cmocka_unit_test_setup(test_resend_pattern, setup),
		cmocka_unit_test_setup(test_ack_of_any_transmission, setup),
		cmocka_unit_test_setup(test_mask_does_not_complete, setup),
		cmocka_unit_test_setup(test_bogus_acks, setup),
		cmocka_unit_test_setup(test_slow_start, setup),
		cmocka_unit_test_setup(test_congestion_avoidance, setup),
		cmocka_unit_test_setup(test_loss_halves_once, setup),
		cmocka_unit_test_setup(test_lost_acks, setup),
		cmocka_unit_test_setup(test_constant_mask, setup),
		cmocka_unit_test_setup(test_window_after_rto, setup),
		cmocka_unit_test_setup(test_transit_failure_detection, setup),
		cmocka_unit_test_setup(test_icmp_hint, setup),
		cmocka_unit_test_setup(test_resend_obeys_window, setup),
		cmocka_unit_test_setup(test_random_run, setup),
		cmocka_unit_test_setup(test_ring_reuse, setup),
	};

	return cmocka_run_group_tests_name("ack", tests, NULL, NULL);
}
