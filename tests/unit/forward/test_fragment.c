/* SPDX-License-Identifier: BSD-2-Clause */
/* Splitting and reassembly: FW-S01 to FW-S07, FW-D15, B-6.7-*, Q-08, Q-55, Q-58, Q-73. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "forward/fragment.h"
#include "support/forward_cases.h"
#include "wire/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PIECES_MAX = 64, TIMEOUT_US = 15 * 1000 * 1000 };

struct pieces {
	size_t count;
	struct {
		uint8_t *data;
		size_t length;
	} piece[PIECES_MAX];
};

static void pieces_free(struct pieces *pieces) {
	for (size_t i = 0; i < pieces->count; i++)
		free(pieces->piece[i].data);
	pieces->count = 0;
}

static uint8_t *copy_of(const uint8_t *octets, size_t length) {
	uint8_t *copy = malloc(length ? length : 1);

	assert_non_null(copy);
	memcpy(copy, octets, length);
	return copy;
}

/* Cuts `octets`, given in two parts at `head` that lie in blocks of their own, and appends the pieces to `ret`. */
static void cut(const uint8_t *octets, size_t length, size_t head, size_t payload_max, struct pieces *ret) {
	uint8_t *first = copy_of(octets, head), *second = copy_of(octets + head, length - head);
	struct fragment_split split;
	struct fragment_piece piece;

	assert_int_equal(fragment_split_begin(&split, OCTETS(first, head), OCTETS(second, length - head), payload_max), 0);
	while (fragment_split_next(&split, &piece)) {
		size_t at = 0;

		assert_true(ret->count < PIECES_MAX);
		assert_true(piece.part_count <= FRAGMENT_PARTS_MAX);
		assert_true(piece.length <= payload_max || split.oversize);
		uint8_t *data = malloc(piece.length);
		assert_non_null(data);
		for (size_t i = 0; i < piece.part_count; i++) {
			assert_true(piece.parts[i].iov_len > 0);
			assert_true(at + piece.parts[i].iov_len <= piece.length);
			memcpy(data + at, piece.parts[i].iov_base, piece.parts[i].iov_len);
			at += piece.parts[i].iov_len;
		}
		assert_int_equal(at, piece.length);
		ret->piece[ret->count].data = data;
		ret->piece[ret->count++].length = piece.length;
	}
	assert_false(fragment_split_next(&split, &piece));
	free(first);
	free(second);
}

static void read_header(const uint8_t *octets, size_t length, struct forwarding_header *ret) {
	struct reader r = reader_of(octets, length);

	assert_int_equal(forwarding_header_read(&r, ret), 0);
	assert_int_equal(ret->length, length);
}

static size_t build(size_t size, uint8_t octets[static FORWARD_CASE_OCTETS]) {
	return forward_message_build(&(struct forward_message){.ttl = 9,
							       .code = STORE_REQ,
							       .via = "n10 o1.001",
							       .destinations = "n80",
							       .options = "c8/04=3",
							       .size = size},
				     octets);
}

static int add(struct reassembly *reassembly, uint16_t slot, const uint8_t *data, size_t length, uint8_t **ret,
	       size_t *ret_length) {
	uint8_t *copy = copy_of(data, length); /* exact, and gone afterwards */
	int r = reassembly_add(reassembly, slot, OCTETS(copy, length), 0, ret, ret_length);
	free(copy);
	return r;
}

static struct reassembly *new_reassembly(struct runtime *runtime) {
	struct reassembly *reassembly = NULL;

	*runtime = (struct runtime){.now_us = 1000};
	assert_int_equal(reassembly_new(runtime, &reassembly), 0);
	return reassembly;
}

/* Everything is given back: no octets held, no timer armed. */
static void end_reassembly(struct reassembly *reassembly, struct runtime *runtime) {
	reassembly_free(reassembly);
	assert_int_equal(runtime_next(runtime), USEC_NEVER);
}

/* Adds all pieces in the order of `order` (NULL: as they stand); the last one must complete `octets`. */
static void join(const struct pieces *pieces, const size_t *order, const uint8_t *octets, size_t length) {
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);
	uint8_t *whole = NULL;
	size_t whole_length = 0;

	for (size_t i = 0; i < pieces->count; i++) {
		size_t index = order ? order[i] : i;
		int r = add(reassembly, (uint16_t)i, pieces->piece[index].data, pieces->piece[index].length, &whole, &whole_length);
		assert_int_equal(r, i + 1 == pieces->count);
		assert_int_equal(whole != NULL, i + 1 == pieces->count);
	}
	assert_int_equal(whole_length, length);
	assert_memory_equal(whole, octets, length);
	free(whole);
	assert_int_equal(reassembly_sets(reassembly), 0);
	assert_int_equal(reassembly_octets(reassembly), 0);
	assert_int_equal(reassembly_counters(reassembly)->completed, 1);
	end_reassembly(reassembly, &runtime);
}

/* FW-S01, FW-S02, FW-S04, FW-S05: every piece by itself, then all together. */
static void check_pieces(const struct pieces *pieces, const uint8_t *octets, size_t length, size_t payload_max) {
	struct forwarding_header whole, header;
	uint32_t offset;
	size_t smallest = SIZE_MAX, largest = 0;

	read_header(octets, length, &whole);
	offset = whole.fragment & FRAGMENT_OFFSET;
	for (size_t i = 0; i < pieces->count; i++) {
		const uint8_t *data = pieces->piece[i].data;
		size_t body;

		read_header(data, pieces->piece[i].length, &header);
		assert_true(pieces->piece[i].length <= payload_max);
		assert_int_equal(header.header_length, whole.header_length);
		body = header.length - header.header_length;
		assert_true(body >= FRAGMENT_BODY_MIN);
		smallest = body < smallest ? body : smallest;
		largest = body > largest ? body : largest;
		assert_memory_equal(data, octets, 12);
		assert_memory_equal(data + 20, octets + 20, header.header_length - 20);
		assert_true(header.fragment & FRAGMENT_ALWAYS);
		assert_int_equal(header.fragment & FRAGMENT_OFFSET, offset);
		assert_int_equal(header.fragment & 0x3f000000, whole.fragment & 0x3f000000);
		assert_int_equal(!!(header.fragment & FRAGMENT_LAST), i + 1 == pieces->count && whole.fragment & FRAGMENT_LAST);
		assert_memory_equal(data + header.header_length,
				    octets + whole.header_length + (offset - (whole.fragment & FRAGMENT_OFFSET)), body);
		offset += (uint32_t)body;
	}
	assert_int_equal(offset - (whole.fragment & FRAGMENT_OFFSET), length - whole.header_length);
	assert_true(largest - smallest <= 1);
}

/* Every size of message against several sizes of datagrams, the parts divided anywhere. */
static void test_round_trip(void **state) {
	static uint8_t octets[FORWARD_CASE_OCTETS];
	static const size_t payloads[] = {400, 640, 700, 1200, 1400};

	(void)state;
	for (size_t p = 0; p < sizeof(payloads) / sizeof(payloads[0]); p++) {
		for (size_t size = 200; size <= 5000; size += size % 100 < 8 ? 1 : 23) {
			struct pieces pieces = {0};
			size_t length = build(size, octets), head = FRAGMENT_FIXED + size % 160;

			cut(octets, length, head, payloads[p], &pieces);
			if (length <= payloads[p]) { /* FW-S06 */
				assert_int_equal(pieces.count, 1);
				assert_int_equal(pieces.piece[0].length, length);
				assert_memory_equal(pieces.piece[0].data, octets, length);
			} else if (pieces.count == 1) {
				/* no number of equal pieces with 256 octets and more, and room enough for them */
				size_t header = 38 + 20 + 18 + 7, body = length - header, room = payloads[p] - header;
				for (size_t n = 1; n <= body / FRAGMENT_BODY_MIN; n++)
					assert_true((body + n - 1) / n > room);
			} else {
				check_pieces(&pieces, octets, length, payloads[p]);
				join(&pieces, NULL, octets, length);
			}
			pieces_free(&pieces);
		}
	}
}

/* FW-S04: a fragment cut again, and once more, on its way over narrower links. */
static void test_refragment(void **state) {
	static uint8_t octets[FORWARD_CASE_OCTETS];
	struct pieces wide = {0}, narrow = {0}, narrowest = {0};
	size_t length = build(5000, octets);

	(void)state;
	cut(octets, length, 60, 2600, &wide);
	assert_int_equal(wide.count, 2);
	check_pieces(&wide, octets, length, 2600);
	for (size_t i = 0; i < wide.count; i++) {
		struct pieces cuts = {0};
		cut(wide.piece[i].data, wide.piece[i].length, 60, 1400, &cuts);
		check_pieces(&cuts, wide.piece[i].data, wide.piece[i].length, 1400);
		pieces_free(&cuts);
		cut(wide.piece[i].data, wide.piece[i].length, 60, 1400, &narrow);
	}
	for (size_t i = 0; i < narrow.count; i++)
		cut(narrow.piece[i].data, narrow.piece[i].length, 38, 700, &narrowest);
	assert_true(narrowest.count > narrow.count && narrow.count > wide.count);
	join(&wide, NULL, octets, length);
	join(&narrow, NULL, octets, length);
	join(&narrowest, NULL, octets, length);
	pieces_free(&wide);
	pieces_free(&narrow);
	pieces_free(&narrowest);
}

/* FW-S03, FW-S01: what cannot carry 256 octets a piece stays whole. */
static void test_no_split(void **state) {
	static uint8_t octets[FORWARD_CASE_OCTETS];
	size_t length = build(1000, octets);
	struct fragment_split split;
	struct fragment_piece piece;

	(void)state;
	/* the header has 38 + 20 + 18 + 7 = 83 octets */
	assert_int_equal(fragment_split_begin(&split, OCTETS(octets, length), OCTETS_NONE, 83 + 255), 0);
	assert_true(split.oversize);
	assert_int_equal(split.count, 1);
	assert_true(fragment_split_next(&split, &piece));
	assert_int_equal(piece.length, length);
	assert_int_equal(fragment_split_begin(&split, OCTETS(octets, length), OCTETS_NONE, 0), 0);
	assert_true(split.oversize);
	/* 917 octets of body: three pieces of 305.7 would do, but 83 + 306 is the least room for them */
	assert_int_equal(fragment_split_begin(&split, OCTETS(octets, length), OCTETS_NONE, 83 + 305), 0);
	assert_true(split.oversize);
	assert_int_equal(fragment_split_begin(&split, OCTETS(octets, length), OCTETS_NONE, 83 + 306), 0);
	assert_false(split.oversize);
	assert_int_equal(split.count, 3);
	/* the least there can be: two pieces of 256 */
	length = build(83 + 512, octets);
	assert_int_equal(fragment_split_begin(&split, OCTETS(octets, length), OCTETS_NONE, 83 + 256), 0);
	assert_false(split.oversize);
	assert_int_equal(split.count, 2);
	length = build(83 + 511, octets);
	assert_int_equal(fragment_split_begin(&split, OCTETS(octets, length), OCTETS_NONE, 83 + 256), 0);
	assert_true(split.oversize);
	assert_int_equal(fragment_split_begin(&split, OCTETS(octets, length), OCTETS_NONE, length), 0);
	assert_false(split.oversize);
	assert_int_equal(split.count, 1);
}

static void test_split_malformed(void **state) {
	static uint8_t octets[FORWARD_CASE_OCTETS];
	size_t length = build(1000, octets);
	struct fragment_split split;

	(void)state;
	assert_int_equal(fragment_split_begin(&split, OCTETS(octets, 37), OCTETS(octets + 37, length - 37), 500), -EBADMSG);
	assert_int_equal(fragment_split_begin(&split, OCTETS(octets, length - 1), OCTETS_NONE, 500), -EBADMSG);
	assert_int_equal(fragment_split_begin(&split, OCTETS_NONE, OCTETS_NONE, 500), -EBADMSG);
	octets[32] = 0xff; /* lists beyond the end */
	assert_int_equal(fragment_split_begin(&split, OCTETS(octets, length), OCTETS_NONE, 500), -EBADMSG);
}

/* Every order of five pieces, and each with one piece twice. */
static void test_orders(void **state) {
	static uint8_t octets[FORWARD_CASE_OCTETS];
	size_t length = build(3000, octets), order[5] = {0, 1, 2, 3, 4}, counters[5] = {0};
	struct pieces pieces = {0};

	(void)state;
	cut(octets, length, 50, 700, &pieces);
	assert_int_equal(pieces.count, 5);
	join(&pieces, order, octets, length);
	for (size_t i = 0; i < 5;) { /* Heap's algorithm */
		if (counters[i] < i) {
			size_t j = i % 2 ? counters[i] : 0, swap = order[i];
			order[i] = order[j];
			order[j] = swap;
			join(&pieces, order, octets, length);
			counters[i]++;
			i = 0;
		} else {
			counters[i++] = 0;
		}
	}
	pieces_free(&pieces);
}

static void test_duplicates(void **state) {
	static uint8_t octets[FORWARD_CASE_OCTETS];
	size_t length = build(3000, octets), whole_length = 0;
	struct pieces pieces = {0};
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);
	uint8_t *whole = NULL;

	(void)state;
	cut(octets, length, 50, 700, &pieces);
	for (size_t i = 0; i + 1 < pieces.count; i++)
		for (unsigned times = 0; times < 3; times++)
			assert_int_equal(add(reassembly, 1, pieces.piece[i].data, pieces.piece[i].length, &whole, &whole_length),
					 0);
	assert_int_equal(reassembly_counters(reassembly)->duplicates, 2 * (pieces.count - 1));
	assert_int_equal(add(reassembly, 1, pieces.piece[4].data, pieces.piece[4].length, &whole, &whole_length), 1);
	assert_memory_equal(whole, octets, length);
	free(whole);
	whole = NULL;
	/* the retransmission of a whole message is a message again (B-6.2.1-06) */
	for (size_t i = 0; i < pieces.count; i++)
		assert_int_equal(add(reassembly, 1, pieces.piece[i].data, pieces.piece[i].length, &whole, &whole_length),
				 i + 1 == pieces.count);
	free(whole);
	pieces_free(&pieces);
	end_reassembly(reassembly, &runtime);
}

/* Pieces cut differently on different paths overlap; where they agree that is fine. */
static void test_overlap(void **state) {
	static uint8_t octets[FORWARD_CASE_OCTETS];
	size_t length = build(4000, octets), whole_length = 0;
	struct pieces coarse = {0}, fine = {0};
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);
	uint8_t *whole = NULL;

	(void)state;
	cut(octets, length, 50, 1400, &coarse);
	cut(octets, length, 50, 700, &fine);
	assert_int_equal(coarse.count, 3);
	assert_true(fine.count > 5);
	/* middle of one kind, then the other kind from behind */
	assert_int_equal(add(reassembly, 1, coarse.piece[1].data, coarse.piece[1].length, &whole, &whole_length), 0);
	for (size_t i = fine.count; i-- > 1;)
		assert_int_equal(add(reassembly, 2, fine.piece[i].data, fine.piece[i].length, &whole, &whole_length), 0);
	assert_int_equal(add(reassembly, 3, coarse.piece[0].data, coarse.piece[0].length, &whole, &whole_length), 1);
	assert_int_equal(whole_length, length);
	assert_memory_equal(whole, octets, length);
	free(whole);
	pieces_free(&coarse);
	pieces_free(&fine);
	end_reassembly(reassembly, &runtime);
}

/* Makes a fragment with `size` octets of body, all `fill`, for transaction `id`. */
static size_t fragment(uint8_t octets[static FORWARD_CASE_OCTETS], uint64_t id, uint32_t offset, bool last, size_t size,
		       uint8_t fill) {
	size_t length =
		forward_message_build(&(struct forward_message){.ttl = 9,
								.destinations = "n80",
								.body = "",
								.fragment = FRAGMENT_ALWAYS | (last ? FRAGMENT_LAST : 0) | offset,
								.transaction_id = id,
								.size = 38 + 18 + size},
				      octets);

	memset(octets + 38 + 18, fill, size);
	return length;
}

static int add_fragment(struct reassembly *reassembly, uint16_t slot, uint64_t id, uint32_t offset, bool last, size_t size,
			uint8_t fill) {
	static uint8_t octets[FORWARD_CASE_OCTETS];
	size_t length = fragment(octets, id, offset, last, size, fill), whole_length = 0;
	uint8_t *whole = NULL;
	int r = add(reassembly, slot, octets, length, &whole, &whole_length);

	free(whole);
	return r;
}

/* Contradictions drop the set; the pieces that follow begin a new one. */
static void test_conflicts(void **state) {
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);
	static uint8_t octets[FORWARD_CASE_OCTETS];
	uint8_t *whole = NULL;
	size_t whole_length = 0, length;

	(void)state;
	/* one octet of overlap that differs, at either end and inside */
	static const uint32_t offsets[] = {601, 1399, 800};
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(add_fragment(reassembly, 1, 7, 1000, false, 400, 0xaa), 0);
		assert_int_equal(add_fragment(reassembly, 1, 7, offsets[i], false, 400, 0xbb), -EBADMSG);
		assert_int_equal(reassembly_sets(reassembly), 0);
	}
	/* the same, only touching */
	assert_int_equal(add_fragment(reassembly, 1, 7, 1000, false, 400, 0xaa), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 600, false, 400, 0xbb), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 1400, false, 400, 0xbb), 0);
	/* beyond the end, another end, an end inside */
	assert_int_equal(add_fragment(reassembly, 1, 7, 1800, true, 300, 0xcc), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 2100, false, 1, 0xcc), -EBADMSG);
	assert_int_equal(add_fragment(reassembly, 1, 7, 1800, true, 300, 0xcc), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 1800, true, 299, 0xcc), -EBADMSG);
	assert_int_equal(add_fragment(reassembly, 1, 7, 1800, true, 300, 0xcc), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 1800, true, 301, 0xcc), -EBADMSG);
	assert_int_equal(add_fragment(reassembly, 1, 7, 1800, false, 300, 0xcc), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 1000, true, 300, 0xcc), -EBADMSG);
	assert_int_equal(reassembly_sets(reassembly), 0);
	/* another destination */
	assert_int_equal(add_fragment(reassembly, 1, 7, 0, false, 300, 0xcc), 0);
	length = forward_message_build(
		&(struct forward_message){
			.ttl = 9, .destinations = "r75", .fragment = FRAGMENT_NONE | 300, .transaction_id = 7, .size = 400},
		octets);
	assert_int_equal(add(reassembly, 1, octets, length, &whole, &whole_length), -EBADMSG);
	assert_int_equal(reassembly_sets(reassembly), 0);
	assert_null(whole);
	assert_int_equal(reassembly_counters(reassembly)->conflicts, 8);
	assert_int_equal(reassembly_drop_reason(-EBADMSG), DROP_REASSEMBLY_CONFLICT);
	assert_int_equal(reassembly_octets(reassembly), 0);
	end_reassembly(reassembly, &runtime);
}

/* What a verdict popped does not count as a difference; another transaction is another set. */
static void test_keys(void **state) {
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);
	static uint8_t octets[FORWARD_CASE_OCTETS];
	uint8_t *whole = NULL;
	size_t whole_length = 0, length;

	(void)state;
	length = forward_message_build(
		&(struct forward_message){
			.ttl = 9, .destinations = "n80 r75", .fragment = FRAGMENT_NONE | 300, .transaction_id = 7, .size = 400},
		octets);
	assert_int_equal(reassembly_add(reassembly, 1, OCTETS(octets, length), 18, &whole, &whole_length), 0);
	length = forward_message_build(&(struct forward_message){.ttl = 8,
								 .via = "n10",
								 .destinations = "r75",
								 .fragment = FRAGMENT_ALWAYS,
								 .transaction_id = 8,
								 .size = 375},
				       octets);
	assert_int_equal(reassembly_add(reassembly, 2, OCTETS(octets, length), 0, &whole, &whole_length), 0);
	assert_int_equal(reassembly_sets(reassembly), 2);
	length = forward_message_build(&(struct forward_message){.ttl = 8,
								 .via = "n10",
								 .destinations = "r75",
								 .fragment = FRAGMENT_ALWAYS,
								 .transaction_id = 7,
								 .size = 375},
				       octets);
	assert_int_equal(reassembly_add(reassembly, 2, OCTETS(octets, length), 0, &whole, &whole_length), 1);
	/* the header is that of the piece with offset 0 */
	struct forwarding_header header;
	read_header(whole, whole_length, &header);
	assert_int_equal(header.fragment, FRAGMENT_NONE);
	assert_int_equal(header.ttl, 8);
	assert_int_equal(header.via_list.length, 18);
	assert_int_equal(header.destination_list.length, 19);
	assert_int_equal(header.transaction_id, 7);
	free(whole);
	assert_int_equal(reassembly_sets(reassembly), 1);
	end_reassembly(reassembly, &runtime);
}

static void test_malformed(void **state) {
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);
	static uint8_t octets[FORWARD_CASE_OCTETS];
	uint8_t *whole = NULL;
	size_t whole_length = 0, length = fragment(octets, 7, 300, false, 300, 1);

	(void)state;
	for (size_t cut_at = 0; cut_at < length; cut_at++)
		assert_int_equal(add(reassembly, 1, octets, cut_at, &whole, &whole_length), -EINVAL);
	assert_int_equal(reassembly_add(reassembly, 1, OCTETS(octets, length), 19, &whole, &whole_length), -EINVAL);
	octets[12] = 0x00; /* high bit clear */
	assert_int_equal(add(reassembly, 1, octets, length, &whole, &whole_length), -EINVAL);
	/* FW-B10, and a message that was never cut */
	assert_int_equal(add_fragment(reassembly, 1, 7, 300, false, 0, 0), -EINVAL);
	assert_int_equal(add_fragment(reassembly, 1, 7, 0xffffff, false, 1, 0), -EINVAL);
	assert_int_equal(add_fragment(reassembly, 1, 7, 0, true, 300, 0), -EINVAL);
	assert_int_equal(reassembly_sets(reassembly), 0);
	assert_int_equal(reassembly_drop_reason(-EINVAL), DROP_MALFORMED);
	/* the minimum of 256 octets is the sender's business */
	assert_int_equal(add_fragment(reassembly, 1, 7, 1, true, 1, 0), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 0, false, 1, 0), 1);
	end_reassembly(reassembly, &runtime);
}

static size_t dropped[64];

static void count_dropped(void *userdata, enum drop_reason reason) {
	(void)userdata;
	dropped[reason]++;
}

/* Q-58, B-3-02: five overlay-reliability-timers after the first piece, whatever came since. */
static void test_expiry(void **state) {
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);

	(void)state;
	memset(dropped, 0, sizeof(dropped));
	reassembly_on_drop(reassembly, count_dropped, NULL);
	assert_int_equal(add_fragment(reassembly, 1, 7, 0, false, 300, 0), 0);
	runtime.now_us += TIMEOUT_US - 1;
	assert_int_equal(add_fragment(reassembly, 1, 7, 300, false, 300, 0), 0);
	assert_int_equal(add_fragment(reassembly, 1, 8, 300, false, 300, 0), 0);
	runtime_fire(&runtime);
	assert_int_equal(reassembly_sets(reassembly), 2);
	runtime.now_us += 1;
	runtime_fire(&runtime);
	assert_int_equal(reassembly_sets(reassembly), 1);
	assert_int_equal(dropped[DROP_REASSEMBLY_TIMEOUT], 1);
	/* the late piece begins a set of its own */
	assert_int_equal(add_fragment(reassembly, 1, 7, 600, true, 300, 0), 0);
	assert_int_equal(reassembly_sets(reassembly), 2);
	runtime.now_us += TIMEOUT_US;
	runtime_fire(&runtime);
	assert_int_equal(reassembly_sets(reassembly), 0);
	assert_int_equal(reassembly_octets(reassembly), 0);
	assert_int_equal(reassembly_counters(reassembly)->expired, 3);
	reassembly_configure(reassembly, 1000, 5000);
	assert_int_equal(add_fragment(reassembly, 1, 7, 0, false, 300, 0), 0);
	assert_int_equal(runtime_next(&runtime), runtime.now_us + 5000000);
	end_reassembly(reassembly, &runtime);
}

/* */
static void test_whole_too_large(void **state) {
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);

	(void)state;
	/* header 56, so 4944 octets of body may be */
	assert_int_equal(add_fragment(reassembly, 1, 7, 4000, true, 944, 0), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 0, false, 2000, 0), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 2000, false, 2000, 0), 1);
	assert_int_equal(add_fragment(reassembly, 1, 7, 0, false, 2000, 0), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 4000, true, 945, 0), -EMSGSIZE);
	assert_int_equal(reassembly_sets(reassembly), 0);
	assert_int_equal(reassembly_drop_reason(-EMSGSIZE), DROP_REASSEMBLY_TOO_LARGE);
	assert_int_equal(reassembly_counters(reassembly)->too_large, 1);
	/* a piece that says so with nothing begun */
	assert_int_equal(add_fragment(reassembly, 1, 7, 0x100000, true, 300, 0), -EMSGSIZE);
	/* only the first piece's header makes it too large: its via list counts */
	static uint8_t octets[FORWARD_CASE_OCTETS];
	uint8_t *whole = NULL;
	size_t whole_length = 0;
	assert_int_equal(add_fragment(reassembly, 1, 7, 4000, true, 944, 0), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 2000, false, 2000, 0), 0);
	size_t length = forward_message_build(&(struct forward_message){.ttl = 8,
									.via = "n10",
									.destinations = "n80",
									.fragment = FRAGMENT_ALWAYS,
									.transaction_id = 7,
									.size = 2074},
					      octets);
	assert_int_equal(add(reassembly, 1, octets, length, &whole, &whole_length), -EMSGSIZE);
	assert_null(whole);
	assert_int_equal(reassembly_sets(reassembly), 0);
	end_reassembly(reassembly, &runtime);
}

static void test_limit_per_link(void **state) {
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);

	(void)state;
	for (uint64_t i = 1; i <= LIMIT_REASSEMBLY_PER_LINK; i++)
		assert_int_equal(add_fragment(reassembly, 5, i, 300, false, 300, 0), 0);
	assert_int_equal(add_fragment(reassembly, 5, 1000, 300, false, 300, 0), -ENOBUFS);
	assert_int_equal(reassembly_drop_reason(-ENOBUFS), DROP_REASSEMBLY_LIMIT);
	assert_int_equal(reassembly_sets(reassembly), LIMIT_REASSEMBLY_PER_LINK);
	/* sets already there go on, other links are not affected */
	assert_int_equal(add_fragment(reassembly, 5, 1, 600, false, 300, 0), 0);
	assert_int_equal(add_fragment(reassembly, 6, 1000, 300, false, 300, 0), 0);
	/* a set that ends makes room */
	assert_int_equal(add_fragment(reassembly, 5, 1, 0, false, 300, 0), 0);
	assert_int_equal(add_fragment(reassembly, 5, 1, 900, true, 300, 0), 1);
	assert_int_equal(add_fragment(reassembly, 5, 1001, 300, false, 300, 0), 0);
	assert_int_equal(add_fragment(reassembly, 5, 1002, 300, false, 300, 0), -ENOBUFS);
	/* the next link in this slot does not inherit the bill, and that of others stays */
	reassembly_link_down(reassembly, 6);
	assert_int_equal(add_fragment(reassembly, 5, 1002, 300, false, 300, 0), -ENOBUFS);
	reassembly_link_down(reassembly, 5);
	assert_int_equal(add_fragment(reassembly, 5, 1002, 300, false, 300, 0), 0);
	assert_int_equal(reassembly_counters(reassembly)->refused, 3);
	end_reassembly(reassembly, &runtime);
}

static void test_limit_sets(void **state) {
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);

	(void)state;
	memset(dropped, 0, sizeof(dropped));
	reassembly_on_drop(reassembly, count_dropped, NULL);
	for (uint64_t i = 1; i <= LIMIT_REASSEMBLY_SETS; i++)
		assert_int_equal(add_fragment(reassembly, (uint16_t)(i / 16), i, 300, false, 300, 0), 0);
	assert_int_equal(reassembly_sets(reassembly), LIMIT_REASSEMBLY_SETS);
	assert_int_equal(dropped[DROP_REASSEMBLY_LIMIT], 0);
	/* one more: the oldest goes */
	assert_int_equal(add_fragment(reassembly, 100, 5000, 300, false, 300, 0), 0);
	assert_int_equal(reassembly_sets(reassembly), LIMIT_REASSEMBLY_SETS);
	assert_int_equal(dropped[DROP_REASSEMBLY_LIMIT], 1);
	assert_int_equal(reassembly_counters(reassembly)->displaced, 1);
	/* set 2 is still there and completes, set 1 is not */
	assert_int_equal(add_fragment(reassembly, 100, 2, 600, true, 300, 0), 0);
	assert_int_equal(add_fragment(reassembly, 100, 2, 0, false, 300, 0), 1);
	assert_int_equal(add_fragment(reassembly, 100, 1, 600, true, 300, 0), 0);
	assert_int_equal(add_fragment(reassembly, 100, 1, 0, false, 300, 0), 0);
	end_reassembly(reassembly, &runtime);
}

static void test_limit_octets(void **state) {
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);
	uint64_t id = 1;

	(void)state;
	reassembly_configure(reassembly, 3000, 16 << 20);
	/* one octet far out makes a set hold a megabyte and more */
	for (; id <= 8; id++) {
		assert_int_equal(add_fragment(reassembly, (uint16_t)id, id, 1 << 20, false, 1, 0), 0);
		assert_true(reassembly_octets(reassembly) <= LIMIT_REASSEMBLY_OCTETS);
	}
	assert_int_equal(reassembly_sets(reassembly), 3);
	assert_int_equal(reassembly_counters(reassembly)->displaced, 5);
	/* what can never fit displaces nobody */
	assert_int_equal(add_fragment(reassembly, 1, 100, LIMIT_REASSEMBLY_OCTETS, false, 1, 0), -ENOBUFS);
	assert_int_equal(reassembly_sets(reassembly), 3);
	/* a growing set displaces others, never itself */
	assert_int_equal(add_fragment(reassembly, 1, 8, 3 << 20, false, 1, 0), 0);
	assert_int_equal(reassembly_sets(reassembly), 1);
	assert_int_equal(add_fragment(reassembly, 1, 8, 5 << 20, false, 1, 0), -ENOBUFS);
	assert_int_equal(reassembly_sets(reassembly), 1);
	end_reassembly(reassembly, &runtime);
}

static void test_limit_ranges(void **state) {
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);

	(void)state;
	for (uint32_t i = 0; i < REASSEMBLY_RANGES_MAX; i++)
		assert_int_equal(add_fragment(reassembly, 1, 7, 2 + 2 * i, false, 1, 0), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 2 + 2 * REASSEMBLY_RANGES_MAX, false, 1, 0), -ENOBUFS);
	/* filling gaps goes on, and makes room */
	assert_int_equal(add_fragment(reassembly, 1, 7, 3, false, 1, 0), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 2 + 2 * REASSEMBLY_RANGES_MAX, false, 1, 0), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 2 + 2 * REASSEMBLY_RANGES_MAX, true, 1, 0), 0);
	assert_int_equal(add_fragment(reassembly, 1, 7, 0, false, 2 + 2 * REASSEMBLY_RANGES_MAX, 0), 1);
	end_reassembly(reassembly, &runtime);
}

/* Random cuts of random messages, out of order, twice, with losses that a second transmission repairs. */
static void test_random(void **state) {
	static uint8_t octets[FORWARD_CASE_OCTETS];
	uint64_t seed = 0x452821e638d01377;
	struct runtime runtime;
	struct reassembly *reassembly = new_reassembly(&runtime);

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		size_t length = build(900 + seed % 4000, octets), whole_length = 0;
		uint8_t *whole = NULL;
		int result = 0;

		for (unsigned sending = 0; sending < 200 && result == 0; sending++) {
			struct pieces pieces = {0};

			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			cut(octets, length, 38 + seed % 100, 640 + (seed >> 33) % 800, &pieces);
			for (size_t i = 0; i < pieces.count && result == 0; i++) {
				seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
				size_t index = (seed >> 33) % pieces.count;
				if (pieces.count == 1)
					result = 1;
				else
					result = add(reassembly, 1, pieces.piece[index].data, pieces.piece[index].length, &whole,
						     &whole_length);
				assert_true(result >= 0);
			}
			pieces_free(&pieces);
		}
		assert_int_equal(result, 1);
		if (whole) {
			assert_int_equal(whole_length, length);
			assert_memory_equal(whole, octets, length);
		}
		free(whole);
		runtime.now_us += 2 * TIMEOUT_US;
		runtime_fire(&runtime);
		assert_int_equal(reassembly_octets(reassembly), 0);
	}
	end_reassembly(reassembly, &runtime);
	assert_null(reassembly_free(NULL));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),	cmocka_unit_test(test_refragment), cmocka_unit_test(test_no_split),
		cmocka_unit_test(test_split_malformed), cmocka_unit_test(test_orders),	   cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_overlap),		cmocka_unit_test(test_conflicts),  cmocka_unit_test(test_keys),
		cmocka_unit_test(test_malformed),	cmocka_unit_test(test_expiry),	   cmocka_unit_test(test_whole_too_large),
		cmocka_unit_test(test_limit_per_link),	cmocka_unit_test(test_limit_sets), cmocka_unit_test(test_limit_octets),
		cmocka_unit_test(test_limit_ranges),	cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests_name("fragment", tests, NULL, NULL);
}
