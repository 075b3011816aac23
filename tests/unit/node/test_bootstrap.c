/* SPDX-License-Identifier: BSD-2-Clause */
/* The race into the overlay on virtual time: order, stagger, limits, verdicts. B-11.4-01 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "link/transport.h"
#include "node/bootstrap.h"

enum { EVENTS_MAX = 128 };

struct event {
	uint64_t at_ms;
	struct address address;
	uint16_t slot;
};

struct bed {
	struct runtime runtime;
	struct bootstrap race;
	struct event connects[EVENTS_MAX], closes[EVENTS_MAX], verifies[EVENTS_MAX];
	size_t connect_count, close_count, verify_count;
	uint64_t serials[EVENTS_MAX];
	unsigned won, over;
	struct bootstrap_candidate winner;
	uint64_t over_ms;
	uint16_t next_slot;
	int connect_error;
};

static uint64_t now_ms(const struct bed *bed) {
	return (bed->runtime.now_us - USEC_PER_SEC) / USEC_PER_MSEC;
}

static int on_connect(void *userdata, const struct address *address, uint16_t *ret_slot) {
	struct bed *bed = userdata;

	assert_true(bed->connect_count < EVENTS_MAX);
	*ret_slot = bed->next_slot++;
	bed->connects[bed->connect_count++] = (struct event){now_ms(bed), *address, *ret_slot};
	return bed->connect_error;
}

static void on_close(void *userdata, uint16_t slot) {
	struct bed *bed = userdata;

	bed->closes[bed->close_count++] = (struct event){.at_ms = now_ms(bed), .slot = slot};
	bootstrap_down(&bed->race, slot, "closed by us"); /* as links do, before close() returns */
}

static void on_verify(void *userdata, uint16_t slot, uint64_t serial) {
	struct bed *bed = userdata;

	bed->serials[bed->verify_count] = serial;
	bed->verifies[bed->verify_count++] = (struct event){.at_ms = now_ms(bed), .slot = slot};
}

static void on_won(void *userdata, const struct bootstrap_candidate *candidate) {
	struct bed *bed = userdata;

	bed->won++;
	bed->winner = *candidate;
}

static void on_over(void *userdata) {
	struct bed *bed = userdata;

	bed->over++;
	bed->over_ms = now_ms(bed);
}

static const char *error_text(int error) {
	return error == -ENOBUFS ? "full" : "other";
}

static void bed_start(struct bed *bed) {
	memset(bed, 0, sizeof(*bed));
	bed->runtime.now_us = USEC_PER_SEC;
	bed->next_slot = 1;
	bootstrap_init(&bed->race, &bed->runtime,
		       &(struct bootstrap_ops){bed, on_connect, on_close, on_verify, on_won, on_over, error_text});
}

/* Moves the clock from timer to timer. */
static void run_until(struct bed *bed, uint64_t until_ms) {
	uint64_t until_us = USEC_PER_SEC + until_ms * USEC_PER_MSEC;

	for (uint64_t due_us; (due_us = runtime_next(&bed->runtime)) <= until_us;) {
		if (due_us > bed->runtime.now_us)
			bed->runtime.now_us = due_us;
		runtime_fire(&bed->runtime);
	}
	bed->runtime.now_us = until_us;
}

static struct address numbered(unsigned number) {
	char text[32];
	struct address address;

	snprintf(text, sizeof(text), number < 200 ? "192.0.2.%u:6084" : "[2001:db8::%u]:6084", number);
	assert_int_equal(address_parse(text, 6084, &address), 0);
	return address;
}

static void add(struct bed *bed, enum bootstrap_source source, unsigned number) {
	struct address address = numbered(number);

	assert_int_equal(bootstrap_add(&bed->race, source, &address), 0);
}

static void assert_connect(const struct bed *bed, size_t index, unsigned number, uint64_t at_ms) {
	struct address address = numbered(number);

	assert_true(index < bed->connect_count);
	assert_true(address_equal(&bed->connects[index].address, &address));
	assert_int_equal(bed->connects[index].at_ms, at_ms);
}

/* Sources take turns, a new attempt every 250 ms, four young ones at a time, and the server last. */
static void test_order(void **state) {
	struct bed bed;

	(void)state;
	bed_start(&bed);
	bootstrap_begin(&bed.race, 0);
	add(&bed, BOOTSTRAP_SERVER, 9);
	add(&bed, BOOTSTRAP_DOCUMENT, 5);
	add(&bed, BOOTSTRAP_SETTINGS, 4);
	add(&bed, BOOTSTRAP_CACHED, 1);
	add(&bed, BOOTSTRAP_CACHED, 2);
	add(&bed, BOOTSTRAP_MDNS, 3);
	run_until(&bed, 1999);
	assert_int_equal(bed.connect_count, 4);
	assert_connect(&bed, 0, 1, 0);
	assert_connect(&bed, 1, 3, 250);
	assert_connect(&bed, 2, 4, 500);
	assert_connect(&bed, 3, 5, 750);
	/* The first is slow by now and no longer counts as young. */
	run_until(&bed, 2500);
	assert_int_equal(bed.connect_count, 6);
	struct address server = numbered(9);
	assert_true(address_equal(&bed.connects[4].address, &server) || address_equal(&bed.connects[5].address, &server));
	assert_int_equal(bed.won + bed.over, 0);
	bootstrap_release(&bed.race);
}

/* A failure brings the next attempt forward. */
static void test_failures(void **state) {
	struct bed bed;

	(void)state;
	bed_start(&bed);
	bootstrap_begin(&bed.race, 0);
	for (unsigned i = 1; i <= 3; i++)
		add(&bed, BOOTSTRAP_CACHED, i);
	run_until(&bed, 20);
	bootstrap_down(&bed.race, bed.connects[0].slot, "unreachable");
	run_until(&bed, 40);
	assert_connect(&bed, 1, 2, 30);
	bootstrap_down(&bed.race, bed.connects[1].slot, "unreachable");
	run_until(&bed, 60);
	assert_connect(&bed, 2, 3, 50);
	bootstrap_down(&bed.race, bed.connects[2].slot, "handshake failed");
	run_until(&bed, 61);
	assert_int_equal(bed.over, 1);
	assert_string_equal(bed.race.candidates[2].why, "handshake failed");
	assert_int_equal(bed.race.candidates[2].state, BOOTSTRAP_FAILED);
	run_until(&bed, 100000);
	assert_int_equal(bed.over, 1);
}

static void test_refused_at_once(void **state) {
	struct bed bed;

	(void)state;
	bed_start(&bed);
	bed.connect_error = -ENOBUFS;
	bootstrap_begin(&bed.race, 0);
	for (unsigned i = 1; i <= 5; i++)
		add(&bed, BOOTSTRAP_CACHED, i);
	run_until(&bed, 200);
	assert_int_equal(bed.connect_count, 5);
	assert_int_equal(bed.over, 1);
	assert_string_equal(bed.race.candidates[0].why, "full");
}

/* A link counts once the ring has answered through it; the others are given up. */
static void test_winner(void **state) {
	struct bed bed;

	(void)state;
	bed_start(&bed);
	bootstrap_begin(&bed.race, 0);
	for (unsigned i = 1; i <= 4; i++)
		add(&bed, BOOTSTRAP_CACHED, i);
	run_until(&bed, 600);
	assert_int_equal(bed.connect_count, 3);
	bootstrap_up(&bed.race, bed.connects[1].slot);
	assert_int_equal(bed.verify_count, 1);
	assert_int_equal(bed.verifies[0].slot, bed.connects[1].slot);
	/* Not of this use of the slot; and of a slot nobody asked through. */
	bootstrap_verdict(&bed.race, bed.connects[1].slot, bed.serials[0] + 1, BOOTSTRAP_IS_INSIDE);
	bootstrap_verdict(&bed.race, bed.connects[0].slot, bed.serials[0], BOOTSTRAP_IS_INSIDE);
	assert_int_equal(bed.won, 0);
	run_until(&bed, 640);
	bootstrap_verdict(&bed.race, bed.connects[1].slot, bed.serials[0], BOOTSTRAP_IS_INSIDE);
	assert_int_equal(bed.won, 1);
	assert_int_equal(bed.winner.address.octets[3], 2);
	assert_int_equal(bed.winner.took_us, 390 * USEC_PER_MSEC);
	assert_int_equal(bed.close_count, 2);
	run_until(&bed, 5000);
	assert_int_equal(bed.connect_count, 3);
	assert_int_equal(bed.over, 0);
	/* It did not let us in: the last one is tried, and then the round is over. */
	bootstrap_resume(&bed.race);
	run_until(&bed, 5001);
	assert_int_equal(bed.connect_count, 4);
	bootstrap_down(&bed.race, bed.connects[3].slot, "unreachable");
	run_until(&bed, 5002);
	assert_int_equal(bed.over, 1);
}

/* Linked peers that look for the overlay themselves, and those that say nothing. */
static void test_outside_and_silent(void **state) {
	struct bed bed;

	(void)state;
	bed_start(&bed);
	bootstrap_begin(&bed.race, 0);
	add(&bed, BOOTSTRAP_CACHED, 1);
	add(&bed, BOOTSTRAP_CACHED, 2);
	run_until(&bed, 300);
	bootstrap_up(&bed.race, bed.connects[0].slot);
	bootstrap_up(&bed.race, bed.connects[1].slot);
	bootstrap_verdict(&bed.race, bed.connects[0].slot, bed.serials[0], BOOTSTRAP_IS_OUTSIDE);
	run_until(&bed, 300 + BOOTSTRAP_OUTSIDE_MS);
	assert_int_equal(bed.race.candidates[0].state, BOOTSTRAP_OUTSIDE);
	assert_int_equal(bed.race.candidates[1].state, BOOTSTRAP_VERIFYING);
	assert_int_equal(bed.over, 0);
	run_until(&bed, 300 + BOOTSTRAP_VERIFY_MS);
	assert_int_equal(bed.race.candidates[1].state, BOOTSTRAP_SILENT);
	assert_int_equal(bed.over, 1);
	assert_int_equal(bed.close_count, 0); /* the links stay: the other side may need them */
	/* Too late */
	bootstrap_verdict(&bed.race, bed.connects[0].slot, bed.serials[0], BOOTSTRAP_IS_INSIDE);
	assert_int_equal(bed.won, 0);
}

/* What says that it has no share of the ring may still pass on an answer of the ring: a bootstrap server. */
static void test_outside_then_inside(void **state) {
	struct bed bed;

	(void)state;
	bed_start(&bed);
	bootstrap_begin(&bed.race, 0);
	add(&bed, BOOTSTRAP_SERVER, 1);
	run_until(&bed, 0); /* nobody else is there: at once */
	assert_int_equal(bed.connect_count, 1);
	bootstrap_up(&bed.race, bed.connects[0].slot);
	bootstrap_verdict(&bed.race, bed.connects[0].slot, bed.serials[0], BOOTSTRAP_IS_OUTSIDE);
	run_until(&bed, BOOTSTRAP_VERIFY_MS + 500); /* the first Ping was lost */
	assert_int_equal(bed.over, 0);
	bootstrap_verdict(&bed.race, bed.connects[0].slot, bed.serials[0], BOOTSTRAP_IS_INSIDE);
	assert_int_equal(bed.won, 1);
	bootstrap_end(&bed.race);
}

/* An existing link is asked at once, and what is found late still takes part while the round is open. */
static void test_existing_and_late(void **state) {
	struct bed bed;
	struct address late = numbered(7);

	(void)state;
	bed_start(&bed);
	assert_int_equal(bootstrap_add(&bed.race, BOOTSTRAP_MDNS, &late), -ESRCH);
	bed.connect_error = -EISCONN;
	bootstrap_begin(&bed.race, 1500);
	add(&bed, BOOTSTRAP_LINKED, 1);
	run_until(&bed, 0);
	assert_int_equal(bed.verify_count, 1);
	bootstrap_down(&bed.race, bed.connects[0].slot, "timed out");
	run_until(&bed, 1000);
	assert_int_equal(bed.over, 0);
	bed.connect_error = 0;
	assert_int_equal(bootstrap_add(&bed.race, BOOTSTRAP_MDNS, &late), 0);
	assert_int_equal(bootstrap_add(&bed.race, BOOTSTRAP_CACHED, &late), -EEXIST);
	run_until(&bed, 1000);
	assert_connect(&bed, 1, 7, 1000);
	bootstrap_down(&bed.race, bed.connects[1].slot, "unreachable");
	run_until(&bed, 3000);
	assert_int_equal(bed.over, 1);
	assert_int_equal(bed.over_ms, 1500);
}

/* A flood from one source takes neither all places nor all attempts. */
static void test_flood(void **state) {
	struct bed bed;
	size_t taken = 0;

	(void)state;
	bed_start(&bed);
	bootstrap_begin(&bed.race, 1500);
	for (unsigned i = 1; i <= 150; i++) {
		struct address address = numbered(i);
		taken += bootstrap_add(&bed.race, BOOTSTRAP_MDNS, &address) == 0;
	}
	assert_int_equal(taken, BOOTSTRAP_PER_SOURCE_MAX);
	add(&bed, BOOTSTRAP_DOCUMENT, 199);
	run_until(&bed, 250);
	assert_connect(&bed, 1, 199, 250); /* its turn comes second */
	run_until(&bed, 60000);
	size_t open = 0;
	for (size_t i = 0; i < bed.race.count; i++)
		open += bed.race.candidates[i].state == BOOTSTRAP_CONNECTING;
	assert_int_equal(open, BOOTSTRAP_OPEN_MAX); /* nobody answers: not more than so many are waited for */
	bootstrap_end(&bed.race);
	assert_int_equal(bed.close_count, BOOTSTRAP_OPEN_MAX);
	run_until(&bed, 120000);
	assert_int_equal(bed.connect_count, BOOTSTRAP_OPEN_MAX);
}

static void test_families(void **state) {
	struct bed bed;

	(void)state;
	bed_start(&bed);
	bootstrap_begin(&bed.race, 0);
	add(&bed, BOOTSTRAP_CACHED, 1);
	add(&bed, BOOTSTRAP_CACHED, 2);
	add(&bed, BOOTSTRAP_CACHED, 201);
	run_until(&bed, 500);
	assert_connect(&bed, 0, 1, 0);
	assert_connect(&bed, 1, 201, 250);
	assert_connect(&bed, 2, 2, 500);
	bootstrap_release(&bed.race);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_refused_at_once),
		cmocka_unit_test(test_winner),
		cmocka_unit_test(test_outside_and_silent),
		cmocka_unit_test(test_outside_then_inside),
		cmocka_unit_test(test_existing_and_late),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
