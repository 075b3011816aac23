/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The transit decision against the table of spec/forwarding.md.
 *
 * B-6.1-01 B-6.1-02 B-6.1-03 B-6.1-04 B-6.1.1-01 B-6.1.1-02 B-6.1.1-03 B-6.1.1-04 B-6.1.1-05 B-6.1.1-06 B-6.1.1-07 B-6.1.2-01
 * B-6.1.2-02 B-6.1.2-03 B-6.1.2-04 B-6.1.2-06 B-6.1.2-07 B-6.1.2-08 B-6.1.2-09 B-6.1.3-01 B-6.3.2-01 B-6.3.2-02 B-6.3.2-04
 * B-6.3.2-05 B-6.3.2-06 B-6.3.2-08 B-6.3.2-09 B-6.3.2.2-01 B-6.3.2.2-04 B-6.3.2.2-05 B-6.3.2.2-06 B-6.3.2.3-01 D-5.2.1-01
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/id.h"
#include "forward.h"
#include "support/forward_cases.h"
#include "wire/codes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_tables {
	struct forward_link links[FORWARD_CASE_SLOTS];
	size_t link_count;
	struct forward_route routes[64];
	size_t route_count;
};

static int table_link_at(void *userdata, __u32 slot, struct forward_link *ret) {
	const struct test_tables *t = userdata;

	for (size_t i = 0; i < t->link_count; i++)
		if (t->links[i].slot == slot) {
			*ret = t->links[i];
			return 1;
		}
	return 0;
}

static int table_link_of(void *userdata, const struct forward_id *id, struct forward_link *ret) {
	const struct test_tables *t = userdata;

	for (size_t i = 0; i < t->link_count; i++)
		if (t->links[i].flags & FORWARD_LINK_BOUND && forward_id_equal(&t->links[i].id, id)) {
			*ret = t->links[i];
			return 1;
		}
	return 0;
}

static int table_route_at(void *userdata, __u32 index, struct forward_route *ret) {
	const struct test_tables *t = userdata;

	assert_true(index < t->route_count);
	*ret = t->routes[index];
	return 1;
}

static struct forward_tables tables_of(struct test_tables *t) {
	return (struct forward_tables){
		.userdata = t, .link_at = table_link_at, .link_of = table_link_of, .route_at = table_route_at};
}

/* Decides and, if the message goes on, returns what is sent. Works on exact copies, so that sanitizers see every step beyond. */
static int decide(struct forward_work *work, struct test_tables *t, const uint8_t *octets, size_t length, uint8_t *out,
		  size_t *out_length) {
	struct forward_tables tables = tables_of(t);
	uint8_t *copy = malloc(length ? length : 1);

	assert_non_null(copy);
	memcpy(copy, octets, length);
	work->octets = copy;
	work->length = (uint32_t)length;
	work->tables = &tables;
	work->overruns = 0;
	int action = forward_decide(work);
	assert_int_equal(action, work->verdict.action);
	*out_length = 0;
	if (action == FORWARD_SEND) {
		uint8_t *head = malloc(work->verdict.head_length);
		assert_non_null(head);
		work->head = head;
		work->head_capacity = work->verdict.head_length;
		assert_int_equal(forward_edit(work), work->verdict.head_length);
		assert_true(work->verdict.rest_offset <= length);
		size_t rest = length - work->verdict.rest_offset;
		assert_true(work->verdict.head_length + rest <= FORWARD_CASE_OCTETS);
		memcpy(out, head, work->verdict.head_length);
		memcpy(out + work->verdict.head_length, copy + work->verdict.rest_offset, rest);
		*out_length = work->verdict.head_length + rest;
		free(head);
	}
	assert_memory_equal(copy, octets, length);
	free(copy);
	assert_int_equal(work->overruns, 0);
	return action;
}

static void prepare(const struct forward_case *c, struct forward_work *work, struct test_tables *t) {
	memset(work, 0xa5, sizeof(*work)); /* the working storage of the fast path is never cleaned either */
	work->node = forward_case_node(c);
	work->arrival = forward_case_arrival(c);
	work->input_flags = c->own ? FORWARD_OWN : 0;
	t->link_count = forward_case_links(c, t->links);
	t->route_count = forward_case_routes(c, t->routes);
}

static void hex_dump(const char *label, const uint8_t *octets, size_t length) {
	fprintf(stderr, "%s (%zu):", label, length);
	for (size_t i = 0; i < length && i < 200; i++)
		fprintf(stderr, "%s%02x", i % 4 ? "" : " ", octets[i]);
	fprintf(stderr, "\n");
}

static void test_cases(void **state) {
	static uint8_t in[FORWARD_CASE_OCTETS], out[FORWARD_CASE_OCTETS], expected[FORWARD_CASE_OCTETS];
	size_t failures = 0;

	(void)state;
	for (size_t i = 0; i < forward_case_count; i++) {
		const struct forward_case *c = &forward_cases[i];
		struct forward_work work;
		struct test_tables t;
		size_t length = forward_case_build(c, in), out_length, expected_length = 0;
		const struct forward_verdict *verdict = &work.verdict;

		prepare(c, &work, &t);
		int action = decide(&work, &t, in, length, out, &out_length);
		if (c->action == FORWARD_SEND)
			expected_length = forward_case_build_out(c, expected);
		bool good = action == c->action && verdict->reason == c->reason && verdict->error_code == c->error_code &&
			    verdict->flags == c->flags && verdict->popped == c->popped && verdict->slot == c->slot &&
			    out_length == expected_length && memcmp(out, expected, out_length) == 0;
		if (good)
			continue;
		failures++;
		fprintf(stderr, "%s %s: action %d reason %s error %x flags %x popped %u slot %u\n", c->row, c->text, action,
			drop_reason_name(verdict->reason), verdict->error_code, verdict->flags, verdict->popped, verdict->slot);
		hex_dump("in      ", in, length);
		hex_dump("out     ", out, out_length);
		hex_dump("expected", expected, expected_length);
	}
	assert_int_equal(failures, 0);
}

/* FW-C10: entries are the same when all their octets are, whatever their digests say. */
static void test_entry_comparison(void **state) {
	static uint8_t octets[2 * 257];
	struct forward_work work = {.octets = octets, .length = sizeof(octets)};

	(void)state;
	for (uint32_t size = 2; size <= 257; size++) {
		for (uint32_t i = 0; i < size; i++)
			octets[i] = octets[size + i] = (uint8_t)(i * 7 + size);
		forward_entry_digest(&work, 0, size);
		uint64_t digest = work.digest;
		forward_entry_digest(&work, size, size);
		assert_true(work.digest == digest);
		assert_true(forward_entries_equal(&work, 0, size, size));
		for (uint32_t i = 0; i < size; i++) {
			octets[size + i] ^= 0x40;
			forward_entry_digest(&work, size, size);
			assert_true(work.digest != digest);
			assert_false(forward_entries_equal(&work, 0, size, size));
			octets[size + i] ^= 0x40;
		}
	}
	assert_int_equal(work.overruns, 0);
}

/* FW-E08: a via list can hold 65535 octets and no more. */
static void test_list_overflow(void **state) {
	enum { SIZE = 38 + 65535 + 18 + 20 };
	uint8_t *octets = calloc(1, SIZE), *head = malloc(FORWARD_HEAD_MAX);
	const struct forward_case c = {.in = {.ttl = 9, .code = FETCH_REQ}, .max_message_size = 1 << 20};

	(void)state;
	assert_true(octets && head);
	for (unsigned last = 251; last <= 255; last++) {
		uint32_t via = 254 * 257 + 2 + last, position;
		struct writer w = writer_fixed(octets, SIZE);
		struct forward_work work;
		struct test_tables t;
		struct forward_tables tables = tables_of(&t);

		prepare(&c, &work, &t);
		work.length = FORWARD_FIXED + via + 18 + 20;
		writer_u32(&w, RELO_TOKEN);
		writer_u32(&w, FORWARD_CASE_OVERLAY);
		writer_u16(&w, 1);
		writer_u8(&w, RELOAD_VERSION);
		writer_u8(&w, 9);
		writer_u32(&w, FRAGMENT_NONE);
		writer_u32(&w, work.length);
		writer_u64(&w, 1);
		writer_u32(&w, 0);
		writer_u16(&w, (uint16_t)via);
		writer_u16(&w, 18);
		writer_u16(&w, 0);
		for (position = 0; position < via; position += 257) {
			uint8_t *entry = writer_reserve(&w, position + 257 <= via ? 257 : via - position);
			entry[0] = 9;
			entry[1] = (uint8_t)(position + 257 <= via ? 255 : last);
		}
		struct forward_id id = forward_case_id(0x20);
		writer_u16(&w, 0x0110);
		writer_u64(&w, id.high);
		writer_u64(&w, id.low);
		writer_u16(&w, FETCH_REQ);
		assert_int_equal(writer_finish(&w), 0);
		work.octets = octets;
		work.tables = &tables;
		work.head = head;
		work.head_capacity = FORWARD_HEAD_MAX;
		work.overruns = 0;
		int action = forward_decide(&work);
		if (via + 2 <= 65535) {
			assert_int_equal(action, FORWARD_SEND);
			assert_int_equal(work.verdict.via_length, via + 2);
			assert_int_equal(forward_edit(&work), 38 + via + 2);
			assert_memory_equal(head + 38, octets + 38, via);
		} else {
			assert_int_equal(action, FORWARD_DROP);
			assert_int_equal(work.verdict.reason, DROP_WOULD_EXCEED_MAX);
			assert_int_equal(work.verdict.error_code, ERROR_MESSAGE_TOO_LARGE);
		}
		assert_int_equal(work.overruns, 0);
	}
	free(octets);
	free(head);
}

/* FW-A06: nothing is remembered; the same message goes on again. */
static void test_stateless(void **state) {
	static uint8_t in[FORWARD_CASE_OCTETS], first[FORWARD_CASE_OCTETS], second[FORWARD_CASE_OCTETS];
	const struct forward_case c = {.in = {.ttl = 100, .code = FETCH_REQ, .destinations = "n80 rb0"}};
	struct forward_work work;
	struct test_tables t;
	size_t length = forward_case_build(&c, in), first_length, second_length;

	(void)state;
	prepare(&c, &work, &t);
	assert_int_equal(decide(&work, &t, in, length, first, &first_length), FORWARD_SEND);
	assert_int_equal(decide(&work, &t, in, length, second, &second_length), FORWARD_SEND);
	assert_int_equal(first_length, second_length);
	assert_memory_equal(first, second, first_length);
}

/* Every row of the table that a decision about one message can show has a case. */
static void test_rows_covered(void **state) {
	static const char *const rows[] = {
		"FW-A04", "FW-A05", "FW-B01", "FW-B02", "FW-B03", "FW-B04", "FW-B05", "FW-B06", "FW-B07", "FW-B08", "FW-B09",
		"FW-B10", "FW-B11", "FW-B12", "FW-B14", "FW-C01", "FW-C02", "FW-C03", "FW-C04", "FW-C05", "FW-C06", "FW-C07",
		"FW-C08", "FW-C09", "FW-C10", "FW-C11", "FW-C12", "FW-C13", "FW-C14", "FW-C15", "FW-C16", "FW-C17", "FW-D01",
		"FW-D02", "FW-D03", "FW-D04", "FW-D05", "FW-D06", "FW-D07", "FW-D08", "FW-D09", "FW-D10", "FW-D11", "FW-D12",
		"FW-D13", "FW-D14", "FW-D15", "FW-E01", "FW-E02", "FW-E03", "FW-E04", "FW-E05", "FW-E07", "FW-E10", "FW-F01",
		"FW-F02", "FW-F03", "FW-F06", "FW-F07", "FW-F08", "FW-F10", "FW-F11",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool found = false;

		for (size_t j = 0; j < forward_case_count; j++)
			found |= strcmp(forward_cases[j].row, rows[i]) == 0;
		if (!found)
			fail_msg("%s has no case", rows[i]);
	}
}

/* FW-A01 FW-A02 FW-A03 B-6.6.2: frames. */
static void test_frames(void **state) {
	static const struct {
		const char *text;
		uint8_t octets[16];
		uint32_t length, type, sequence, received, message_length;
	} cases[] = {
		{"ack", {0x81, 0, 0, 0, 5, 0, 0, 0, 0x3a}, 9, 129, 5, 0x3a, 0},
		{"ack with an octet too many", {0x81, 0, 0, 0, 5, 0, 0, 0, 0x3a, 0}, 10, 0, 0, 0, 0},
		{"ack cut short", {0x81, 0, 0, 0, 5, 0, 0, 0}, 8, 0, 0, 0, 0},
		{"data", {0x80, 1, 2, 3, 4, 0, 0, 3, 7, 8, 9}, 11, 128, 0x01020304, 0, 3},
		{"empty data", {0x80, 1, 2, 3, 4, 0, 0, 0}, 8, 128, 0x01020304, 0, 0},
		{"data longer than said", {0x80, 1, 2, 3, 4, 0, 0, 2, 7, 8, 9}, 11, 0, 0, 0, 0},
		{"data shorter than said", {0x80, 1, 2, 3, 4, 0, 0, 4, 7, 8, 9}, 11, 0, 0, 0, 0},
		{"data cut short", {0x80, 1, 2, 3, 4, 0, 0}, 7, 0, 0, 0, 0},
		{"unknown type", {0x82, 0, 0, 0, 5, 0, 0, 0, 0x3a}, 9, 0, 0, 0, 0},
		{"type 0", {0}, 9, 0, 0, 0, 0},
		{"nothing", {0}, 0, 0, 0, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct forward_work work = {.octets = cases[i].octets, .length = cases[i].length};
		struct forward_frame frame = {0};

		assert_int_equal(forward_frame_read(&work, cases[i].length, &frame), cases[i].type != 0);
		assert_int_equal(work.overruns, 0);
		assert_int_equal(frame.type, cases[i].type);
		if (cases[i].type == 0)
			continue;
		assert_int_equal(frame.sequence, cases[i].sequence);
		assert_int_equal(frame.received, cases[i].received);
		assert_int_equal(frame.message_length, cases[i].message_length);
	}
}

/* ---- the worked path of section 8: A, B, C, D, E ---- */

struct path_node {
	uint8_t id, predecessor;
	struct test_tables tables;
};

/* Neighbors on the path know each other; slot 1 is the one in front, slot 2 the one behind. */
static void path_setup(struct path_node nodes[5]) {
	static const uint8_t ids[5] = {0x10, 0x20, 0x30, 0x40, 0x50};

	memset(nodes, 0, 5 * sizeof(nodes[0]));
	for (size_t i = 0; i < 5; i++) {
		nodes[i].id = ids[i];
		nodes[i].predecessor = i > 0 ? ids[i - 1] : 0xf0;
		for (size_t side = 0; side < 2; side++) {
			if ((side == 0 && i == 0) || (side == 1 && i == 4))
				continue;
			struct test_tables *t = &nodes[i].tables;
			uint16_t slot = (uint16_t)(side + 1);
			struct forward_id id = forward_case_id(ids[side == 0 ? i - 1 : i + 1]);
			t->links[t->link_count++] = (struct forward_link){
				.slot = slot,
				.generation = (uint8_t)(i + side),
				.id = id,
				.flags = FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_ROUTABLE,
			};
			t->routes[t->route_count++] = (struct forward_route){.id = id, .slot = slot};
		}
	}
}

/* One hop: `message` arrives at `node` over `arrival_slot` and leaves as `expected` over `slot`. */
static void path_hop(struct path_node *node, uint16_t node_flags, uint16_t arrival_slot, const struct forward_message *message,
		     uint16_t slot, const struct forward_message *expected) {
	static uint8_t in[FORWARD_CASE_OCTETS], out[FORWARD_CASE_OCTETS], octets[FORWARD_CASE_OCTETS];
	struct forward_work work = {
		.node = {.id = forward_case_id(node->id),
			 .predecessor = forward_case_id(node->predecessor),
			 .overlay = FORWARD_CASE_OVERLAY,
			 .max_message_size = MAX_MESSAGE_SIZE,
			 .route_count = (uint32_t)node->tables.route_count,
			 .flags = FORWARD_NODE_JOINED | FORWARD_NODE_HAS_PREDECESSOR | node_flags,
			 .initial_ttl = INITIAL_TTL},
	};
	size_t length = forward_message_build(message, in), out_length, expected_length = forward_message_build(expected, octets);

	assert_int_equal(table_link_at(&node->tables, arrival_slot, &work.arrival), 1);
	assert_int_equal(decide(&work, &node->tables, in, length, out, &out_length), FORWARD_SEND);
	assert_int_equal(work.verdict.slot, slot);
	assert_int_equal(out_length, expected_length);
	assert_memory_equal(out, octets, expected_length);
}

static void path_request(struct path_node *node, uint16_t flags, uint8_t ttl, const char *via, const char *via_out) {
	path_hop(node, flags, 1, &(struct forward_message){.ttl = ttl, .code = FETCH_REQ, .via = via, .destinations = "r48"}, 2,
		 &(struct forward_message){.ttl = ttl - 1, .code = FETCH_REQ, .via = via_out, .destinations = "r48"});
}

static void path_answer(struct path_node *node, uint8_t ttl, const char *destinations, const char *destinations_out) {
	path_hop(node, 0, 2, &(struct forward_message){.ttl = ttl, .code = FETCH_ANS, .destinations = destinations}, 1,
		 &(struct forward_message){.ttl = ttl - 1, .code = FETCH_ANS, .destinations = destinations_out});
}

static void path_arrives(struct path_node *node, uint16_t arrival_slot, const struct forward_message *message) {
	static uint8_t in[FORWARD_CASE_OCTETS], out[FORWARD_CASE_OCTETS];
	size_t length = forward_message_build(message, in), out_length;
	struct forward_work work = {
		.node = {.id = forward_case_id(node->id),
			 .predecessor = forward_case_id(node->predecessor),
			 .overlay = FORWARD_CASE_OVERLAY,
			 .max_message_size = MAX_MESSAGE_SIZE,
			 .flags = FORWARD_NODE_JOINED | FORWARD_NODE_HAS_PREDECESSOR,
			 .initial_ttl = INITIAL_TTL},
	};

	assert_int_equal(table_link_at(&node->tables, arrival_slot, &work.arrival), 1);
	assert_int_equal(decide(&work, &node->tables, in, length, out, &out_length), FORWARD_LOCAL);
	assert_int_equal(work.verdict.reason, DROP_PUNT_LOCAL);
}

/* Whole Node-IDs: the lists of section 8, letter by letter (B-6.1.2-04, FW-F08). */
static void test_worked_path(void **state) {
	struct path_node nodes[5];
	enum { A, B, C, D, E };

	(void)state;
	path_setup(nodes);
	path_request(&nodes[B], FORWARD_NODE_VIA_NODE_ID, 100, "", "n10");
	path_request(&nodes[C], FORWARD_NODE_VIA_NODE_ID, 99, "n10", "n10 n20");
	path_request(&nodes[D], FORWARD_NODE_VIA_NODE_ID, 98, "n10 n20", "n10 n20 n30");
	path_arrives(&nodes[E], 1,
		     &(struct forward_message){.ttl = 97, .code = FETCH_REQ, .via = "n10 n20 n30", .destinations = "r48"});
	path_answer(&nodes[D], 100, "n40 n30 n20 n10", "n30 n20 n10");
	path_answer(&nodes[C], 99, "n30 n20 n10", "n20 n10");
	path_answer(&nodes[B], 98, "n20 n10", "n10");
	path_arrives(&nodes[A], 2, &(struct forward_message){.ttl = 97, .code = FETCH_ANS, .destinations = "n10"});
}

/*
 * Opaques, at every hop or only at D (first variant: D compresses), or at a neighbor of ours that is another implementation and
 * replaces the whole list or keeps state (second variant): what leaves towards C is always [C, then what C received, reversed].
 */
static void test_worked_path_variants(void **state) {
	struct path_node nodes[5];
	enum { A, B, C, D, E };

	(void)state;
	path_setup(nodes);
	/* everybody compresses; generations: B's link to A 1, C's to B 2, D's to C 3 */
	path_request(&nodes[B], 0, 100, "", "o1.001");
	path_request(&nodes[C], 0, 99, "o1.001", "o1.001 o2.001");
	path_request(&nodes[D], 0, 98, "o1.001 o2.001", "o1.001 o2.001 o3.001");
	path_answer(&nodes[D], 100, "n40 o3.001 o2.001 o1.001", "n30 o2.001 o1.001");
	path_answer(&nodes[C], 99, "n30 o2.001 o1.001", "n20 o1.001");
	path_answer(&nodes[B], 98, "n20 o1.001", "n10");
	/* only D does */
	path_request(&nodes[D], 0, 98, "n10 n20", "n10 n20 o3.001");
	path_answer(&nodes[D], 100, "n40 o3.001 n20 n10", "n30 n20 n10");
	/* C replaced [A, B] by one opaque of its own: D keeps it, C's business */
	path_request(&nodes[D], 0, 98, "x030504deadbeef", "x030504deadbeef o3.001");
	path_answer(&nodes[D], 100, "n40 o3.001 x030504deadbeef", "n30 x030504deadbeef");
	/* C kept state and left the via list alone */
	path_request(&nodes[D], 0, 98, "n10", "n10 o3.001");
	path_answer(&nodes[D], 100, "n40 o3.001 n10", "n30 n10");
}

/* ---- next hop ---- */

static struct id id_of_forward(const struct forward_id *id) {
	uint8_t octets[16];
	struct writer w = writer_fixed(octets, sizeof(octets));

	writer_u64(&w, id->high);
	writer_u64(&w, id->low);
	return id_of(OCTETS(octets, sizeof(octets)));
}

static uint64_t test_random(uint64_t *seed) {
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static int compare_routes(const void *a, const void *b) {
	const struct forward_route *x = a, *y = b;

	return forward_id_less(&x->id, &y->id) ? -1 : forward_id_less(&y->id, &x->id);
}

/*
 * Section 4 by distances: of the members strictly between us and the point the one nearest to the point; if there is none, the one
 * with the shortest way clockwise from the point.
 */
static int reference_next_hop(const struct forward_work *work, const struct test_tables *t) {
	struct id self = id_of_forward(&work->node.id), point = id_of_forward(&work->point), to_point = id_subtract(&point, &self);
	struct id best_before = ID_NONE, best_after = ID_NONE;
	int before = -1, after = -1;

	for (size_t i = 0; i < t->route_count; i++) {
		struct id id = id_of_forward(&t->routes[i].id), from_self = id_subtract(&id, &self),
			  from_point = id_subtract(&id, &point);
		struct forward_link link;

		if (!table_link_at((void *)t, t->routes[i].slot, &link) || link.flags & FORWARD_LINK_SUSPECT)
			continue;
		/* strictly between: nearer to us, clockwise, than the point; a point equal to us is a whole turn away */
		if (!id_is_zero(&from_self) && (id_is_zero(&to_point) || id_compare(&from_self, &to_point) < 0) &&
		    (before < 0 || id_compare(&from_self, &best_before) > 0)) {
			best_before = from_self;
			before = t->routes[i].slot;
		}
		if (!id_is_zero(&from_self) && (after < 0 || id_compare(&from_point, &best_after) < 0)) {
			best_after = from_point;
			after = t->routes[i].slot;
		}
	}
	return before >= 0 ? before : after;
}

static void test_next_hop(void **state) {
	uint64_t seed = 0x243f6a8885a308d3;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct forward_work work = {0};
		struct test_tables t = {0};
		struct forward_tables tables = tables_of(&t);
		/* small rings make points meet, large ones exercise both words */
		unsigned shift = round % 3 == 0 ? 60 : 0;

		work.tables = &tables;
		work.node.id = (struct forward_id){.high = test_random(&seed) >> shift, .low = shift ? 0 : test_random(&seed)};
		work.point = (struct forward_id){.high = test_random(&seed) >> shift, .low = shift ? 0 : test_random(&seed)};
		size_t wanted = test_random(&seed) % FORWARD_CASE_SLOTS;
		for (size_t i = 0; i < wanted; i++) {
			struct forward_id id = {.high = test_random(&seed) >> shift, .low = shift ? 0 : test_random(&seed)};
			struct forward_link taken;
			if (round % 5 == 0)
				id.high = work.point.high;
			if (table_link_of(&t, &id, &taken))
				continue;
			bool suspect = test_random(&seed) % 4 == 0;
			t.links[t.link_count] = (struct forward_link){
				.id = id,
				.slot = (uint16_t)t.link_count,
				.flags = FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_ROUTABLE |
					 (suspect ? FORWARD_LINK_SUSPECT : 0),
			};
			t.routes[t.route_count++] = (struct forward_route){.id = id, .slot = (uint16_t)t.link_count++};
		}
		qsort(t.routes, t.route_count, sizeof(t.routes[0]), compare_routes);
		work.node.route_count = (uint32_t)t.route_count;
		int expected = reference_next_hop(&work, &t), hop = forward_next_hop(&work);
		if (expected < 0) {
			/* suspects passed over count; we ourselves in the table do not */
			assert_int_not_equal(hop, FORWARD_HOP_FOUND);
			continue;
		}
		assert_int_equal(hop, FORWARD_HOP_FOUND);
		assert_int_equal(work.link.slot, expected);
	}
}

/* A full table: the binary search reaches every place. */
static struct forward_route full_table[LAYOUT_ROUTES_MAX];

static int full_route_at(void *userdata, __u32 index, struct forward_route *ret) {
	(void)userdata;
	assert_true(index < LAYOUT_ROUTES_MAX);
	*ret = full_table[index];
	return 1;
}

static int full_link_at(void *userdata, __u32 slot, struct forward_link *ret) {
	(void)userdata;
	*ret = (struct forward_link){.id = full_table[slot].id,
				     .slot = (uint16_t)slot,
				     .flags = FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_ROUTABLE};
	return 1;
}

static void test_next_hop_full_table(void **state) {
	struct forward_tables tables = {.route_at = full_route_at, .link_at = full_link_at};
	struct forward_work work = {.tables = &tables, .node = {.id = {.high = 5}, .route_count = LAYOUT_ROUTES_MAX}};

	(void)state;
	for (uint32_t i = 0; i < LAYOUT_ROUTES_MAX; i++)
		full_table[i] = (struct forward_route){.id = {.high = 10 + 10ull * i}, .slot = (uint16_t)i};
	for (uint32_t i = 0; i < LAYOUT_ROUTES_MAX; i++) {
		work.point = (struct forward_id){.high = 10 + 10ull * i + 1};
		assert_int_equal(forward_next_hop(&work), FORWARD_HOP_FOUND);
		assert_int_equal(work.link.slot, i);
	}
	work.node.route_count = LAYOUT_ROUTES_MAX + 1; /* more than the search reaches */
	assert_int_equal(forward_next_hop(&work), FORWARD_HOP_NONE);
	work.node.route_count = LAYOUT_ROUTES_MAX;
	work.point = (struct forward_id){.high = 7}; /* nobody between 5 and 7 */
	assert_int_equal(forward_next_hop(&work), FORWARD_HOP_FOUND);
	assert_int_equal(work.link.slot, 0);
	work.point = (struct forward_id){.high = 2}; /* around the ring */
	assert_int_equal(forward_next_hop(&work), FORWARD_HOP_FOUND);
	assert_int_equal(work.link.slot, LAYOUT_ROUTES_MAX - 1);
}

/* ---- ranges ---- */

static void test_ranges(void **state) {
	uint64_t seed = 0x13198a2e03707344;

	(void)state;
	for (unsigned i = 0; i < 50000; i++) {
		struct forward_id v[3];

		for (unsigned j = 0; j < 3; j++)
			v[j] = (struct forward_id){.high = test_random(&seed) % 4, .low = test_random(&seed) % 4};
		struct id a = id_of_forward(&v[0]), b = id_of_forward(&v[1]), c = id_of_forward(&v[2]);
		assert_int_equal(forward_id_in_range(&v[0], &v[1], &v[2]), id_in_range(&a, &b, &c));
		assert_int_equal(forward_id_between(&v[0], &v[1], &v[2]), id_between(&a, &b, &c));
	}
}

/* B-6.3.2.2-04: 1ggg ssss ssss ssss. */
static void test_opaque(void **state) {
	(void)state;
	assert_int_equal(forward_opaque(&(struct forward_link){.slot = 5, .generation = 0}), 0x8005);
	assert_int_equal(forward_opaque(&(struct forward_link){.slot = 0xabc, .generation = 7}), 0xfabc);
	assert_int_equal(forward_opaque(&(struct forward_link){.slot = 0xfff, .generation = 9}), 0x9fff);
}

static void test_reason_names(void **state) {
	(void)state;
	for (unsigned i = 0; i < DROP_REASON_COUNT; i++) {
		assert_non_null(drop_reason_name(i));
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(drop_reason_name(i), drop_reason_name(j));
	}
	assert_null(drop_reason_name(DROP_REASON_COUNT));
	assert_string_equal(drop_reason_name(DROP_NODE_IN_RANGE_UNREACHABLE), "node_in_range_unreachable");
	assert_string_equal(drop_reason_name(DROP_NO_MEMORY), "no_memory");
}

/* ---- anything at all ---- */

/* The lists of what is sent fit and the length field tells the truth. */
static void check_sent(const struct forward_work *work, const uint8_t *out, size_t length) {
	struct forward_work again = {.octets = out, .length = (uint32_t)length};
	uint32_t via, destinations, options;

	assert_true(length >= FORWARD_FIXED);
	assert_true(length <= work->node.max_message_size);
	assert_int_equal(forward_load_u32(&again, 16), length);
	via = forward_load_u16(&again, 32);
	destinations = forward_load_u16(&again, 34);
	options = forward_load_u16(&again, 36);
	assert_int_equal(options, work->header.options_length);
	assert_true(FORWARD_FIXED + via + destinations + options <= length);
	assert_int_equal(length - FORWARD_FIXED - via - destinations - options, work->header.length - work->header.header_length);
	assert_true(destinations > 0);
}

/* 200 000 mutations of the table's messages: nothing is read outside them, and errors are only about requests. */
static void test_mutations(void **state) {
	static uint8_t in[FORWARD_CASE_OCTETS], out[FORWARD_CASE_OCTETS];
	uint64_t seed = 0xa4093822299f31d0;
	size_t seen[4] = {0};

	(void)state;
	for (unsigned round = 0; round < 200000; round++) {
		const struct forward_case *c = &forward_cases[test_random(&seed) % forward_case_count];
		struct forward_work work;
		struct test_tables t;
		size_t length = forward_case_build(c, in), out_length;

		prepare(c, &work, &t);
		for (uint64_t changes = test_random(&seed) % 4; changes > 0 && length > 0; changes--) {
			size_t reach = test_random(&seed) % 4 ? (length < 110 ? length : 110) : length;
			in[test_random(&seed) % reach] = (uint8_t)test_random(&seed);
		}
		if (test_random(&seed) % 8 == 0)
			length = test_random(&seed) % (length + 1);
		if (length >= 20 && test_random(&seed) % 4) { /* else hardly anything gets beyond FW-A05 */
			in[16] = 0;
			in[17] = 0;
			in[18] = (uint8_t)(length >> 8);
			in[19] = (uint8_t)length;
		}
		int action = decide(&work, &t, in, length, out, &out_length);
		seen[action]++;
		if (work.verdict.error_code != 0) {
			assert_int_equal(action, FORWARD_DROP);
			assert_int_equal(work.header.class, FORWARD_CLASS_REQUEST);
		}
		if (action == FORWARD_DROP)
			assert_int_not_equal(work.verdict.reason, DROP_NONE);
		if (action == FORWARD_SEND)
			check_sent(&work, out, out_length);
		assert_true(work.verdict.reason < DROP_REASON_COUNT);
	}
	assert_true(seen[FORWARD_DROP] > 1000 && seen[FORWARD_LOCAL] > 1000 && seen[FORWARD_SEND] > 1000);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_rows_covered),
		cmocka_unit_test(test_entry_comparison),
		cmocka_unit_test(test_list_overflow),
		cmocka_unit_test(test_stateless),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_worked_path),
		cmocka_unit_test(test_worked_path_variants),
		cmocka_unit_test(test_next_hop),
		cmocka_unit_test(test_next_hop_full_table),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_opaque),
		cmocka_unit_test(test_reason_names),
		cmocka_unit_test(test_mutations),
	};

	return cmocka_run_group_tests_name("forward_table", tests, NULL, NULL);
}
