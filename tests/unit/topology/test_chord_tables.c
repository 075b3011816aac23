/* SPDX-License-Identifier: BSD-2-Clause */
/* The pure tables of CHORD-RELOAD: order, ranges, who is wanted, fingers, size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "topology/chord_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The id whose first octet is `first`, all else zero but the last octet, 1. */
static struct id at(uint8_t first) {
	struct id id = {.length = ID_LENGTH_CHORD};

	id.octets[0] = first;
	id.octets[15] = 1;
	return id;
}

static struct chord_member *put(struct chord_table *table, uint8_t first) {
	struct id id = at(first);
	struct chord_member *member = NULL;

	assert_int_equal(chord_table_add(table, &id, &member), 0);
	member->ready = true;
	return member;
}

static struct chord_table table_at(uint8_t self) {
	struct chord_table table;
	struct id id = at(self);

	chord_table_init(&table, &id);
	return table;
}

static void assert_list(const struct chord_table *table, enum chord_side side, const uint8_t *expected, size_t count) {
	struct id list[CHORD_DEPTH_MAX];

	assert_int_equal(chord_table_neighbors(table, side, list), count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(list[i].octets[0], expected[i]);
}

/* B-10.7-03: at least three of each side, nearest first, around the zero point; B-10.7.3-02: never ourselves. */
static void test_neighbors(void **state) {
	struct chord_table table = table_at(0xf0);
	struct chord_member *member;
	struct id self = at(0xf0), other = at(0xf1);

	(void)state;
	assert_int_equal(chord_table_add(&table, &self, &member), -EINVAL);
	other.length = 20;
	assert_int_equal(chord_table_add(&table, &other, &member), -EINVAL);
	assert_list(&table, CHORD_SUCCESSORS, NULL, 0);
	put(&table, 0x80);
	assert_list(&table, CHORD_SUCCESSORS, (uint8_t[]){0x80}, 1);
	assert_list(&table, CHORD_PREDECESSORS, (uint8_t[]){0x80}, 1);
	for (unsigned i = 0; i < 8; i++)
		put(&table, (uint8_t)(0x10 * i + 1));
	assert_list(&table, CHORD_SUCCESSORS, (uint8_t[]){0x01, 0x11, 0x21, 0x31}, 4);
	assert_list(&table, CHORD_PREDECESSORS, (uint8_t[]){0x80, 0x71, 0x61, 0x51}, 4);
	assert_int_equal(table.count, 9);
	put(&table, 0x80); /* again */
	assert_int_equal(table.count, 9);

	struct id far = at(0x41), near = at(0x01);
	assert_false(chord_table_is_neighbor(&table, &far));
	assert_true(chord_table_is_neighbor(&table, &near));
	chord_table_release(&table);
}

/* whoever has not sent an Update is no neighbor; B-10.7.1-05: a suspect one is out and comes back; B-10.9-02. */
static void test_usable(void **state) {
	struct chord_table table = table_at(0x00);

	(void)state;
	for (unsigned i = 1; i <= 6; i++)
		put(&table, (uint8_t)(0x10 * i));
	struct id first = at(0x10), second = at(0x20), third = at(0x30), last = at(0x60);
	chord_table_find(&table, &first)->ready = false;
	chord_table_find(&table, &second)->suspected = true;
	chord_table_find(&table, &last)->left = true;
	assert_list(&table, CHORD_SUCCESSORS, (uint8_t[]){0x30, 0x40, 0x50}, 3);
	assert_list(&table, CHORD_PREDECESSORS, (uint8_t[]){0x50, 0x40, 0x30}, 3);
	assert_false(chord_table_is_neighbor(&table, &second));
	assert_int_equal(chord_table_usable(&table), 3);
	chord_table_find(&table, &second)->suspected = false;
	assert_list(&table, CHORD_SUCCESSORS, (uint8_t[]){0x20, 0x30, 0x40, 0x50}, 4);
	/* B-10.7.1-01: the best match steps in at once. */
	chord_table_remove(&table, &third);
	assert_list(&table, CHORD_SUCCESSORS, (uint8_t[]){0x20, 0x40, 0x50}, 3);
	assert_null(chord_table_find(&table, &third));
	chord_table_remove(&table, &third);
	chord_table_release(&table);
}

static void test_refresh(void **state) {
	struct chord_table table = table_at(0x00);

	(void)state;
	assert_false(chord_table_refresh(&table));
	for (unsigned i = 1; i <= 12; i++)
		put(&table, (uint8_t)(0x10 * i));
	assert_true(chord_table_refresh(&table));
	assert_false(chord_table_refresh(&table));
	struct id middle = at(0x60), near = at(0x20);
	chord_table_find(&table, &middle)->suspected = true; /* neither list holds it */
	assert_false(chord_table_refresh(&table));
	chord_table_remove(&table, &middle);
	assert_false(chord_table_refresh(&table));
	chord_table_find(&table, &near)->suspected = true;
	assert_true(chord_table_refresh(&table));
	assert_false(chord_table_refresh(&table));
	chord_table_remove(&table, &near); /* was out already */
	assert_false(chord_table_refresh(&table));
	near = at(0x10);
	chord_table_remove(&table, &near);
	assert_true(chord_table_refresh(&table));
	chord_table_release(&table);
}

/* B-10.1-01: (predecessor, self], boundaries p, p + 1, x, x + 1. */
static void test_range(void **state) {
	struct chord_table table = table_at(0x20);
	struct id self = at(0x20), predecessor = at(0xe0), point;

	(void)state;
	point = at(0x99);
	assert_true(chord_table_owns(&table, &point)); /* alone */
	put(&table, 0xe0);
	put(&table, 0x80);
	assert_false(chord_table_owns(&table, &predecessor));
	point = id_add_small(&predecessor, 1);
	assert_true(chord_table_owns(&table, &point));
	assert_true(chord_table_owns(&table, &self));
	point = id_add_small(&self, 1);
	assert_false(chord_table_owns(&table, &point));

	struct id owner = chord_table_owner(&table, &point);
	assert_int_equal(owner.octets[0], 0x80);
	point = at(0x80);
	owner = chord_table_owner(&table, &point);
	assert_int_equal(owner.octets[0], 0x80);
	point = id_add_small(&point, 1);
	owner = chord_table_owner(&table, &point);
	assert_int_equal(owner.octets[0], 0xe0);
	point = at(0xf0);
	owner = chord_table_owner(&table, &point);
	assert_true(id_equal(&owner, &self));
	/* B-10.7.3-04: peers between a resource and us. */
	assert_int_equal(chord_table_between(&table, &point), 0);
	point = at(0xe0);
	assert_int_equal(chord_table_between(&table, &point), 1);
	point = at(0x7f);
	assert_int_equal(chord_table_between(&table, &point), 2);
	assert_int_equal(chord_table_between(&table, &self), 0);
	chord_table_release(&table);
}

/* B-10.7.3-01: closer peers are attached to, inferior ones are not, and nobody twice. */
static void test_select(void **state) {
	struct chord_table table = table_at(0x00);
	struct id chosen[32], listed[40];

	(void)state;
	for (unsigned i = 1; i <= 12; i++)
		put(&table, (uint8_t)(0x10 * i + 8)); /* 18 28 ... c8 */
	struct id self = at(0x00), known = at(0x18), wildcard = id_wildcard(16), zero = {.length = 16}, odd = at(0x01);
	odd.length = 17;
	struct id nobody[] = {self, known, wildcard, zero, odd, ID_NONE};
	assert_int_equal(chord_table_select(&table, nobody, 6, chosen, 32), 0);
	assert_int_equal(chord_table_select(&table, NULL, 0, chosen, 32), 0);

	struct id middle[] = {at(0x60), at(0x68), at(0x70)};
	assert_int_equal(chord_table_select(&table, middle, 3, chosen, 32), 0);
	struct id closer[] = {at(0x20), at(0x60), at(0x20), at(0xc0), at(0x4f)};
	assert_int_equal(chord_table_select(&table, closer, 5, chosen, 32), 2);
	assert_int_equal(chosen[0].octets[0], 0x20);
	assert_int_equal(chosen[1].octets[0], 0xc0);
	/* 0x40 alone belongs to the four nearest, but not together with four nearer ones. */
	struct id crowd[] = {at(0x40), at(0x01), at(0x02), at(0x03), at(0x04), at(0x05)};
	assert_int_equal(chord_table_select(&table, crowd, 1, chosen, 32), 1);
	assert_int_equal(chord_table_select(&table, crowd, 6, chosen, 32), 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(chosen[i].octets[0], i + 1);
	/* A list of any length never makes us attach to more than the depth of both sides. */
	for (unsigned i = 0; i < 40; i++)
		listed[i] = at((uint8_t)(6 * i + 3));
	assert_int_equal(chord_table_select(&table, listed, 40, chosen, 32), 8);
	assert_int_equal(chord_table_select(&table, listed, 40, chosen, 2), 2);
	/* A peer that is suspect leaves its place to others. */
	chord_table_find(&table, &known)->suspected = true;
	struct id next[] = {at(0x50)};
	assert_int_equal(chord_table_select(&table, next, 1, chosen, 32), 1);
	chord_table_release(&table);
}

/* B-10.1-02, B-10.7.4-02: finger i is in [x + 2^(128-i), x + 2^(129-i) - 1]. */
static void test_finger_intervals(void **state) {
	struct id self = at(0xc0);
	uint8_t ones[16], zeros[16] = {0};

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	assert_int_equal(chord_finger_index(&self, &self), 0);
	for (unsigned i = 1; i <= 128; i++) {
		struct id offset = id_power_of_two(16, 128 - i), start = id_add(&self, &offset);
		struct id end = id_add(&start, &offset), minus = {.length = 16};
		memset(minus.octets, 0xff, 16);
		end = id_add(&end, &minus); /* one back */
		struct id computed = chord_finger_start(&self, i);
		assert_true(id_equal(&computed, &start)); /* B-10.5-11 */
		assert_int_equal(chord_finger_index(&self, &start), i);
		assert_int_equal(chord_finger_index(&self, &end), i);
		computed = chord_finger_point(&self, i, zeros);
		assert_true(id_equal(&computed, &start));
		computed = chord_finger_point(&self, i, ones);
		assert_true(id_equal(&computed, &end));
	}
}

/* B-10.7-01: ascending numerically; one of each interval; B-10.7.4-03: missing ones up to the last successor only. */
static void test_fingers(void **state) {
	struct chord_table table = table_at(0x40);
	struct id fingers[CHORD_FINGERS_MAX];
	unsigned missing[CHORD_FINGERS_MAX];

	(void)state;
	assert_int_equal(chord_table_fingers(&table, fingers, CHORD_FINGERS_MAX), 0);
	assert_int_equal(chord_table_missing_fingers(&table, missing, CHORD_FINGERS_MAX), 0);
	for (unsigned i = 1; i <= 3; i++)
		put(&table, (uint8_t)(0x40 + 0x30 * i));				      /* 70 a0 d0 */
	assert_int_equal(chord_table_missing_fingers(&table, missing, CHORD_FINGERS_MAX), 0); /* the whole ring is known */
	assert_int_equal(chord_table_fingers(&table, fingers, CHORD_FINGERS_MAX), 3);
	assert_int_equal(fingers[0].octets[0], 0x70); /* interval 3 */
	assert_int_equal(fingers[1].octets[0], 0xa0); /* interval 2 */
	assert_int_equal(fingers[2].octets[0], 0xd0); /* interval 1, from 0xc0 on */
	struct id second = at(0xd8), first = at(0xd0);
	put(&table, 0xd8);
	assert_false(chord_table_is_finger(&table, &second));
	assert_true(chord_table_is_finger(&table, &first));
	/* A link we made ourselves is the better finger. */
	chord_table_find(&table, &second)->ours = true;
	assert_true(chord_table_is_finger(&table, &second));
	assert_false(chord_table_is_finger(&table, &first));
	assert_int_equal(chord_table_fingers(&table, fingers, CHORD_FINGERS_MAX), 3);
	assert_int_equal(fingers[2].octets[0], 0xd8);
	chord_table_find(&table, &second)->ours = false;
	/* B-10.7.2-01: when the finger fails, the next best of the interval steps in. */
	chord_table_find(&table, &first)->suspected = true;
	assert_true(chord_table_is_finger(&table, &second));
	assert_false(chord_table_is_finger(&table, &first));
	chord_table_release(&table);

	table = table_at(0x00);
	for (unsigned i = 1; i <= 5; i++)
		put(&table, (uint8_t)i); /* intervals 8 7 7 6 6 */
	for (unsigned i = 1; i <= 5; i++)
		put(&table, (uint8_t)(0xff - i)); /* interval 1 */
	size_t count = chord_table_missing_fingers(&table, missing, CHORD_FINGERS_MAX);
	assert_int_equal(count, 4); /* 2 to 5: the last of four successors is in interval 6 */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(missing[i], i + 2);
	assert_int_equal(chord_table_missing_fingers(&table, missing, 1), 1);
	chord_table_release(&table);

	/* All 128 intervals can be held. */
	struct id zero = at(0x00);
	chord_table_init(&table, &zero);
	for (unsigned i = 1; i <= 128; i++) {
		struct id start = chord_finger_start(&zero, i);
		struct chord_member *member;
		assert_int_equal(chord_table_add(&table, &start, &member), 0);
		member->ready = true;
	}
	assert_int_equal(chord_table_fingers(&table, fingers, CHORD_FINGERS_MAX), 128);
	for (unsigned i = 1; i < 128; i++)
		assert_true(id_compare(&fingers[i - 1], &fingers[i]) < 0);
	assert_int_equal(chord_table_fingers(&table, fingers, 5), 5);
	chord_table_release(&table);
}

/* B-10.7-03: the depth follows the logarithm of the size. */
static void test_size(void **state) {
	struct chord_table table = table_at(0x00);

	(void)state;
	assert_true(chord_table_size(&table) == 1);
	assert_false(chord_table_adjust_depth(&table));
	for (unsigned i = 1; i <= 7; i++)
		put(&table, (uint8_t)(32 * i));
	assert_true(chord_table_size(&table) == 8); /* all known */
	for (unsigned i = 1; i < 32; i++)
		put(&table, (uint8_t)(8 * i));
	assert_true(chord_table_size(&table) > 20 && chord_table_size(&table) < 40);
	assert_false(chord_table_adjust_depth(&table));
	assert_int_equal(table.depth, CHORD_DEPTH_MIN);

	/* A hundred thousand peers: neighbors 2^128 / 100000 apart. */
	struct id gap = {.length = 16, .octets = {0, 0, 0xa7, 0xc5}}, id = table.self, back = table.self;
	for (unsigned i = 0; i < 40; i++) {
		struct chord_member *member;
		id = id_add(&id, &gap);
		back = id_subtract(&back, &gap);
		assert_int_equal(chord_table_add(&table, &id, &member), 0);
		member->ready = true;
		assert_int_equal(chord_table_add(&table, &back, &member), 0);
		member->ready = true;
	}
	chord_table_settle_depth(&table);
	assert_int_equal(table.depth, 9);
	assert_false(chord_table_adjust_depth(&table));
	assert_true(chord_table_size(&table) > 80000 && chord_table_size(&table) < 120000);
	assert_true(chord_table_peers_between(&table, &table.self, &id) > 32 &&
		    chord_table_peers_between(&table, &table.self, &id) < 48);
	assert_true(chord_table_peers_between(&table, &id, &table.self) > 79000);
	struct id list[CHORD_DEPTH_MAX];
	assert_int_equal(chord_table_neighbors(&table, CHORD_SUCCESSORS, list), 9);
	chord_table_release(&table);
}

/* Against a plain model: random members, lists by sorting distances. */
static void test_against_model(void **state) {
	(void)state;
	srandom(7);
	for (unsigned round = 0; round < 50; round++) {
		struct chord_table table = table_at((uint8_t)random());
		bool present[256] = {false};
		for (unsigned step = 0; step < 60; step++) {
			uint8_t which = (uint8_t)random();
			struct id id = at(which);
			if (which == table.self.octets[0])
				continue;
			if (present[which])
				chord_table_remove(&table, &id);
			else
				put(&table, which);
			present[which] = !present[which];
			uint8_t after[4], before[4];
			size_t found_after = 0, found_before = 0;
			for (unsigned distance = 1; distance < 256; distance++) {
				uint8_t next = (uint8_t)(table.self.octets[0] + distance),
					previous = (uint8_t)(table.self.octets[0] - distance);
				if (present[next] && found_after < 4)
					after[found_after++] = next;
				if (present[previous] && found_before < 4)
					before[found_before++] = previous;
			}
			assert_list(&table, CHORD_SUCCESSORS, after, found_after);
			assert_list(&table, CHORD_PREDECESSORS, before, found_before);
		}
		chord_table_release(&table);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_neighbors), cmocka_unit_test(test_usable), cmocka_unit_test(test_refresh),
		cmocka_unit_test(test_range),	  cmocka_unit_test(test_select), cmocka_unit_test(test_finger_intervals),
		cmocka_unit_test(test_fingers),	  cmocka_unit_test(test_size),	 cmocka_unit_test(test_against_model),
	};

	return cmocka_run_group_tests_name("chord tables", tests, NULL, NULL);
}
