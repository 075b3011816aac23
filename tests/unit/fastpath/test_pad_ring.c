/* SPDX-License-Identifier: BSD-2-Clause */
/* The ring of pads of one direction: what is filled, what is left alone, lengths, restarts and wiping. */
#include "fastpath/pad_ring.h"
#include "link/record.h"
#include "support/pad_reference.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { RING = FASTPATH_PAD_RING };

struct fixture {
	struct pad_maker *maker;
	struct pad_ring *ring;
	struct fastpath_pad *pads;
	struct pad_key key;
	__u64 next;
	__u32 longest;
};

static int setup(void **state) {
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || pad_maker_new(&f->maker) < 0)
		return -1;
	f->pads = aligned_alloc(64, RING * sizeof(*f->pads));
	f->key = pad_reference_key(3);
	f->next = 1;
	if (!f->pads)
		return -1;
	memset(f->pads, 0xee, RING * sizeof(*f->pads));
	*state = f;
	return 0;
}

static int teardown(void **state) {
	struct fixture *f = *state;

	pad_ring_free(f->ring);
	pad_maker_free(f->maker);
	free(f->pads);
	free(f);
	return 0;
}

static void ring_open(struct fixture *f, enum pad_direction direction, bool adopt) {
	struct pad_ring_config config = {
		.direction = direction, .adopt = adopt, .pads = f->pads, .next = &f->next, .longest = &f->longest, .key = f->key};

	f->ring = pad_ring_free(f->ring);
	assert_int_equal(pad_ring_new(&config, &f->ring), 0);
}

static struct fastpath_pad *pad_of(struct fixture *f, uint64_t number) {
	return &f->pads[number % RING];
}

static bool holds(struct fixture *f, uint64_t number) {
	return pad_of(f, number)->number == pad_sequence(RECORD_EPOCH, number);
}

static void assert_pad(struct fixture *f, uint64_t number, uint32_t length) {
	const struct fastpath_pad *pad = pad_of(f, number);

	assert_int_equal(pad->number, pad_sequence(RECORD_EPOCH, number));
	assert_int_equal(pad->length, length);
	assert_true(pad_reference_matches(&f->key, pad->number, pad->poly_key, pad->keystream, length));
}

static void pad_use(struct fixture *f, uint64_t number) {
	assert_true(holds(f, number));
	pad_of(f, number)->number = 0;
}

static int refill(struct fixture *f) {
	return pad_ring_refill(f->ring, f->maker);
}

static struct pad_ring_statistics statistics(struct fixture *f) {
	struct pad_ring_statistics result;

	pad_ring_statistics(f->ring, &result);
	return result;
}

static void test_first_fill(void **state) {
	struct fixture *f = *state;

	for (int direction = PAD_RECEIVE; direction <= PAD_TRANSMIT; direction++) {
		f->next = direction == PAD_RECEIVE ? 1 : UINT64_C(0xffffff80); /* over a carry */
		ring_open(f, (enum pad_direction)direction, false);
		for (unsigned place = 0; place < RING; place++) {
			const struct fastpath_pad none = {.number = 0};
			assert_memory_equal(&f->pads[place], &none, sizeof(none)); /* nothing of other keys is left */
		}
		assert_int_equal(refill(f), RING);
		for (uint64_t number = f->next; number < f->next + RING; number++)
			assert_pad(f, number, PAD_LENGTH_FIRST);
		assert_int_equal(refill(f), 0);
		assert_int_equal(statistics(f).made, RING);
		assert_int_equal(statistics(f).refills, 1);
	}
}

/* Record 0 was the handshake's: no pad, even when nothing was accepted yet. */
static void test_number_zero(void **state) {
	struct fixture *f = *state;

	f->next = 0;
	ring_open(f, PAD_RECEIVE, false);
	assert_int_equal(refill(f), RING);
	assert_pad(f, 1, PAD_LENGTH_FIRST);
	assert_pad(f, RING, PAD_LENGTH_FIRST);
}

/* Only what was used is made again, and the rest is not written to. */
static void test_refill_used(void **state) {
	struct fixture *f = *state;

	ring_open(f, PAD_TRANSMIT, false);
	assert_int_equal(refill(f), RING);
	for (uint64_t number = 1; number <= 128; number++)
		pad_use(f, number);
	f->next = 129;
	for (uint64_t number = 129; number <= RING; number++)
		pad_of(f, number)->keystream[7] ^= 1; /* would be put right by writing */
	assert_int_equal(refill(f), 128);
	for (uint64_t number = 129; number <= RING; number++) {
		assert_true(holds(f, number));
		pad_of(f, number)->keystream[7] ^= 1;
	}
	for (uint64_t number = 129; number < 129 + RING; number++)
		assert_pad(f, number, PAD_LENGTH_FIRST);
	assert_int_equal(statistics(f).left, 0);
}

/* Used a moment before the counter was looked at: never the same number twice. */
static void test_used_ahead_of_counter(void **state) {
	struct fixture *f = *state;

	ring_open(f, PAD_RECEIVE, false);
	assert_int_equal(refill(f), RING);
	for (uint64_t number = 1; number <= 40; number++)
		pad_use(f, number);
	assert_int_equal(refill(f), 40); /* next is still 1 */
	for (uint64_t number = 41; number <= 40 + RING; number++)
		assert_pad(f, number, PAD_LENGTH_FIRST);
	/* A consumer that went mad does not drive the producer further than another ring. */
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned place = 0; place < RING; place++)
			f->pads[place].number = 0;
		assert_true(refill(f) >= 0);
	}
	for (unsigned place = 0; place < RING; place++)
		assert_true((f->pads[place].number & RECORD_NUMBER_MAX) < 1 + 2 * RING);
}

/* Numbers that others sent with, without their pads: taken back once they are far enough behind. */
static void test_transmit_left(void **state) {
	struct fixture *f = *state;

	ring_open(f, PAD_TRANSMIT, false);
	assert_int_equal(refill(f), RING);
	f->next = 1 + 100;
	assert_int_equal(refill(f), 100 - PAD_TRANSMIT_BEHIND);
	for (uint64_t number = 1; number <= 100 - PAD_TRANSMIT_BEHIND; number++)
		assert_pad(f, number + RING, PAD_LENGTH_FIRST);
	for (uint64_t number = 100 - PAD_TRANSMIT_BEHIND + 1; number <= RING; number++)
		assert_pad(f, number, PAD_LENGTH_FIRST);
	assert_int_equal(statistics(f).left, 100 - PAD_TRANSMIT_BEHIND);
}

/* Lost records never clear their places; late ones still find their pads. */
static void test_receive_lost(void **state) {
	struct fixture *f = *state;
	uint64_t late;

	ring_open(f, PAD_RECEIVE, false);
	assert_int_equal(refill(f), RING);
	for (uint64_t number = 1; number <= 90; number++) {
		if (number % 3 != 0)
			pad_use(f, number); /* the others are lost or late */
	}
	f->next = 91;
	late = f->next - PAD_RECEIVE_BEHIND;
	assert_int_equal(refill(f), 60 + (late - 1) / 3);
	for (uint64_t number = 1; number <= 90; number++) {
		if (number % 3 == 0 && number >= late)
			assert_pad(f, number, PAD_LENGTH_FIRST);
		else
			assert_pad(f, number + RING, PAD_LENGTH_FIRST);
	}
	assert_int_equal(statistics(f).left, (late - 1) / 3);
}

/* The counter jumps, as when the daemon handled much itself. */
static void test_jump(void **state) {
	struct fixture *f = *state;

	for (int direction = PAD_RECEIVE; direction <= PAD_TRANSMIT; direction++) {
		f->next = 1;
		ring_open(f, (enum pad_direction)direction, false);
		assert_int_equal(refill(f), RING);
		f->next = 100000;
		assert_int_equal(refill(f), RING);
		for (uint64_t number = 100000; number < 100000 + RING; number++)
			assert_pad(f, number, PAD_LENGTH_FIRST);
		assert_int_equal(statistics(f).left, RING);
	}
}

static void test_last_numbers(void **state) {
	struct fixture *f = *state;

	f->next = RECORD_NUMBER_MAX - 9;
	ring_open(f, PAD_TRANSMIT, false);
	assert_int_equal(refill(f), 10);
	for (uint64_t number = f->next; number <= RECORD_NUMBER_MAX; number++)
		assert_pad(f, number, PAD_LENGTH_FIRST);
	for (unsigned place = 0; place < RING; place++) {
		if ((f->pads[place].number & RECORD_NUMBER_MAX) < f->next)
			assert_int_equal(f->pads[place].number, 0);
	}
	f->next = RECORD_NUMBER_MAX + 5; /* used up: claims go on counting */
	assert_int_equal(refill(f), 0);
	f->next = UINT64_MAX;
	assert_int_equal(refill(f), 0);
}

/* Any order of use: no number is ever made twice, everything made is right. */
static void test_random_use(void **state) {
	struct fixture *f = *state;
	enum { NUMBERS = 20000 };
	_cleanup_free_ uint8_t *made = calloc(1, NUMBERS + 4 * RING);
	uint64_t random = 42;
	__u64 before[RING];

	assert_non_null(made);
	ring_open(f, PAD_RECEIVE, false);
	while (f->next < NUMBERS) {
		for (unsigned place = 0; place < RING; place++)
			before[place] = f->pads[place].number;
		assert_true(refill(f) >= 0);
		for (unsigned place = 0; place < RING; place++) {
			__u64 number = f->pads[place].number & RECORD_NUMBER_MAX;
			if (f->pads[place].number == before[place])
				continue;
			assert_int_equal(number % RING, place);
			assert_int_equal(made[number]++, 0);
			assert_pad(f, number, pad_of(f, number)->length);
		}
		unsigned records = (random >> 33) % 200;
		for (unsigned i = 0; i < records; i++) {
			random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
			uint64_t number = f->next + (random >> 40) % 30 - ((random >> 50) % 2 ? 20 : 0);
			if (number < 1 || (random >> 60) == 0 || number > NUMBERS)
				continue;
			if (holds(f, number))
				pad_use(f, number);
			if (number >= f->next)
				f->next = number + 1;
		}
		if (records == 0)
			random += 12345;
	}
	assert_true(statistics(f).left > 0);
}

static void test_length_follows(void **state) {
	struct fixture *f = *state;

	f->longest = 1;
	ring_open(f, PAD_TRANSMIT, false);
	assert_int_equal(refill(f), RING);
	assert_int_equal(f->longest, 0); /* taken */
	assert_pad(f, 1, 64);
	assert_pad(f, RING, 64);

	/* Longer records: those that wait become longer as well. */
	pad_use(f, 1);
	f->next = 2;
	f->longest = 65;
	assert_int_equal(refill(f), 1);
	for (uint64_t number = 2; number < 2 + RING; number++)
		assert_pad(f, number, 128);
	assert_int_equal(statistics(f).lengthened, RING - 1);
	f->longest = 100000; /* more than a pad can be */
	pad_use(f, 2);
	f->next = 3;
	assert_int_equal(refill(f), 1);
	for (uint64_t number = 3; number < 3 + RING; number++)
		assert_pad(f, number, FASTPATH_PAD_KEYSTREAM);

	/* Shorter again: after some refills new pads are short, and those that wait stay as they are. */
	for (unsigned i = 0; i < PAD_LENGTH_HISTORY; i++) {
		pad_use(f, f->next++);
		f->longest = 200;
		assert_int_equal(refill(f), 1);
		assert_pad(f, f->next - 1 + RING, i + 1 < PAD_LENGTH_HISTORY ? FASTPATH_PAD_KEYSTREAM : 256);
	}
	assert_pad(f, f->next, FASTPATH_PAD_KEYSTREAM);
	assert_int_equal(statistics(f).length, 256);

	/* Nothing but acks: as short as a pad can be. */
	for (unsigned i = 0; i < PAD_LENGTH_HISTORY; i++) {
		pad_use(f, f->next++);
		assert_int_equal(refill(f), 1);
		assert_pad(f, f->next - 1 + RING, i + 1 < PAD_LENGTH_HISTORY ? 256 : 64);
	}
}

/* Pads of several lengths that all become longer, those used meanwhile not. */
static void test_lengthen_mixed(void **state) {
	struct fixture *f = *state;

	f->longest = 64;
	ring_open(f, PAD_TRANSMIT, false);
	assert_int_equal(refill(f), RING);
	for (uint64_t number = 1; number <= 200; number += 2)
		pad_use(f, number);
	f->next = 201;
	assert_int_equal(refill(f), 100 + (200 - PAD_TRANSMIT_BEHIND) / 2);
	f->longest = 300;
	pad_of(f, 201)->number = 0;
	struct fastpath_pad old = *pad_of(f, 198); /* behind the counter */
	assert_int_equal(refill(f), 1);
	assert_memory_equal(&old, pad_of(f, 198), sizeof(old));
	for (uint64_t number = 202; number <= 300; number++)
		assert_pad(f, number, 320);
	assert_pad(f, 201 + RING, 320);
}

static void test_wipe(void **state) {
	struct fixture *f = *state;
	const struct fastpath_pad none = {.number = 0};

	ring_open(f, PAD_RECEIVE, false);
	assert_int_equal(refill(f), RING);
	pad_use(f, 5);
	pad_ring_wipe(f->ring);
	for (unsigned place = 0; place < RING; place++)
		assert_memory_equal(&f->pads[place], &none, sizeof(none));
	assert_int_equal(refill(f), RING);
	assert_pad(f, 5, PAD_LENGTH_FIRST);
}

/* After a restart: pads of these keys stay, whatever else is there goes. */
static void test_adopt(void **state) {
	struct fixture *f = *state;
	struct fastpath_pad kept;

	ring_open(f, PAD_TRANSMIT, false);
	assert_int_equal(refill(f), RING);
	for (uint64_t number = 1; number <= 30; number++)
		pad_use(f, number);
	f->next = 31;
	f->ring = pad_ring_free(f->ring);
	assert_pad(f, 31, PAD_LENGTH_FIRST); /* pads outlive the daemon */

	kept = *pad_of(f, 100);
	memset(kept.keystream, 0xcc, 8); /* not looked at, so a trace of not being written */
	*pad_of(f, 100) = kept;
	pad_of(f, 101)->number += RING;	   /* is not the pad of this number */
	*pad_of(f, 102) = *pad_of(f, 103); /* not in its place */
	pad_of(f, 104)->poly_key[0] ^= 1;  /* of another key */
	pad_of(f, 105)->length = FASTPATH_PAD_KEYSTREAM + 64;
	pad_of(f, 106)->length = 65;
	pad_of(f, 107)->number &= RECORD_NUMBER_MAX; /* of epoch 0 */
	ring_open(f, PAD_TRANSMIT, true);
	assert_memory_equal(pad_of(f, 100), &kept, sizeof(kept));
	assert_int_equal(refill(f), 30 + 6);
	assert_memory_equal(pad_of(f, 100), &kept, sizeof(kept));
	memset(pad_of(f, 100), 0, sizeof(kept));
	for (uint64_t number = 31; number < 31 + RING; number++) {
		if (number != 100)
			assert_pad(f, number, PAD_LENGTH_FIRST);
	}
	assert_int_equal(refill(f), 1); /* number 100 was used: the next of its place */
	assert_pad(f, 100 + RING, PAD_LENGTH_FIRST);

	/* Of other keys altogether. */
	f->key = pad_reference_key(4);
	ring_open(f, PAD_TRANSMIT, true);
	assert_int_equal(refill(f), RING);
	for (uint64_t number = 31; number < 31 + RING; number++)
		assert_pad(f, number, PAD_LENGTH_FIRST);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_fill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_number_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refill_used, setup, teardown),
		cmocka_unit_test_setup_teardown(test_used_ahead_of_counter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_transmit_left, setup, teardown),
		cmocka_unit_test_setup_teardown(test_receive_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_jump, setup, teardown),
		cmocka_unit_test_setup_teardown(test_last_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random_use, setup, teardown),
		cmocka_unit_test_setup_teardown(test_length_follows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lengthen_mixed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wipe, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopt, setup, teardown),
	};

	return cmocka_run_group_tests_name("pad ring", tests, NULL, NULL);
}
