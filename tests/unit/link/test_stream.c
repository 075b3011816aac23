/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames in a stream that is cut anywhere, and slots that several holders share. B-6.6.2-01 B-6.3.2.2-04 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "link/slots.h"
#include "link/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 5000, MESSAGES = 4 };

static const size_t lengths[MESSAGES] = {0, 1, 700, LIMIT};

/* Data frames with these lengths, an ack behind each. */
static size_t write_frames(uint8_t *out) {
	size_t at = 0;

	for (uint32_t i = 0; i < MESSAGES; i++) {
		frame_write_data_header(out + at, i, lengths[i]);
		at += FRAME_DATA_HEADER;
		memset(out + at, 'a' + (int)i, lengths[i]);
		at += lengths[i];
		frame_write_ack(out + at, 100 + i, 0xf0 + i);
		at += FRAME_ACK_LENGTH;
	}
	return at;
}

static void check_frame(const struct frame *frame, unsigned number) {
	uint32_t i = number / 2;

	if (number % 2 == 1) {
		assert_int_equal(frame->type, FRAME_ACK);
		assert_int_equal(frame->sequence, 100 + i);
		return;
	}
	assert_int_equal(frame->type, FRAME_DATA);
	assert_int_equal(frame->sequence, i);
	assert_int_equal(frame->message.length, lengths[i]);
	for (size_t j = 0; j < lengths[i]; j++)
		assert_int_equal(frame->message.data[j], 'a' + i);
}

/* In memory of exactly that size, so that sanitizers see every step too far. */
static unsigned feed(struct stream *stream, const uint8_t *data, size_t length, unsigned number) {
	uint8_t *copy = malloc(length ? length : 1), *at = copy;
	struct frame frame;
	int result;

	memcpy(copy, data, length);
	while ((result = stream_next(stream, LIMIT, &at, &length, &frame)) == 1)
		check_frame(&frame, number++);
	assert_int_equal(result, 0);
	assert_int_equal(length, 0);
	assert_true(stream_octets(stream) <= 2 * (LIMIT + FRAME_DATA_HEADER));
	free(copy);
	return number;
}

static void test_pieces(void **state) {
	static uint8_t octets[2 * LIMIT];
	size_t total = write_frames(octets);

	(void)state;
	for (size_t piece = 1; piece <= total; piece = piece < 40 ? piece + 1 : piece * 2) {
		struct stream stream = {0};
		unsigned number = 0;
		for (size_t at = 0; at < total; at += piece)
			number = feed(&stream, octets + at, piece < total - at ? piece : total - at, number);
		assert_int_equal(number, 2 * MESSAGES);
		stream_release(&stream);
	}
}

/* Cut once, everywhere. */
static void test_one_cut(void **state) {
	static uint8_t octets[2 * LIMIT];
	size_t total = write_frames(octets);

	(void)state;
	for (size_t cut = 0; cut <= total; cut += cut < 800 ? 1 : 97) {
		struct stream stream = {0};
		unsigned number = feed(&stream, octets, cut, 0);
		assert_int_equal(feed(&stream, octets + cut, total - cut, number), 2 * MESSAGES);
		stream_release(&stream);
	}
}

static void refuse(const uint8_t *octets, size_t length, size_t piece, int error) {
	struct stream stream = {0};
	struct frame frame;
	int result = 0;

	for (size_t at = 0; at < length && result == 0; at += piece) {
		uint8_t *data = (uint8_t *)octets + at;
		size_t part = piece < length - at ? piece : length - at;
		result = stream_next(&stream, LIMIT, &data, &part, &frame);
	}
	assert_int_equal(result, error);
	stream_release(&stream);
}

/* Nothing is kept for a frame that is too long, however slowly it comes. */
static void test_refused(void **state) {
	uint8_t header[FRAME_DATA_HEADER], octet;

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		if (type == FRAME_DATA || type == FRAME_ACK)
			continue;
		octet = (uint8_t)type;
		refuse(&octet, 1, 1, -EBADMSG);
	}
	frame_write_data_header(header, 0, LIMIT + 1);
	refuse(header, sizeof(header), sizeof(header), -EMSGSIZE);
	refuse(header, sizeof(header), 1, -EMSGSIZE);
	frame_write_data_header(header, 0, 0xffffff);
	refuse(header, sizeof(header), 3, -EMSGSIZE);
}

/* Memory follows what has arrived, not what was announced. */
static void test_slow_announcement(void **state) {
	struct stream stream = {0};
	uint8_t header[FRAME_DATA_HEADER], *data = header;
	size_t length = sizeof(header);
	struct frame frame;

	(void)state;
	frame_write_data_header(header, 0, 0xffffff);
	assert_int_equal(stream_next(&stream, 0xffffff, &data, &length, &frame), 0);
	assert_true(stream_octets(&stream) <= STREAM_BUFFER_FIRST);
	stream_release(&stream);
}

static void test_slots(void **state) {
	struct runtime runtime = {.source = runtime_source_system()};
	static struct link_slots slots;
	uint16_t slot, other;

	(void)state;
	link_slots_init(&slots, &runtime, 2);
	assert_int_equal(link_slots_take(&slots, &slot), 0);
	assert_int_equal(link_slots_take(&slots, &other), 0);
	assert_int_not_equal(slot, other);
	assert_int_equal(link_slots_take(&slots, &other), -ENOBUFS);
	assert_int_equal(link_slots_claim(&slots, slot, 3), -EBUSY);
	/* Two holders: free, with another generation, when both let go. */
	uint8_t generation = slots.generations[slot];
	link_slots_hold(&slots, slot);
	link_slots_release(&slots, slot);
	assert_int_equal(link_slots_take(&slots, &other), -ENOBUFS);
	assert_int_equal(slots.generations[slot], generation);
	link_slots_release(&slots, slot);
	assert_int_equal(slots.generations[slot], (generation + 1) % LINK_GENERATIONS);
	assert_int_equal(link_slots_claim(&slots, slot, 11), 0);
	assert_int_equal(slots.generations[slot], 11 % LINK_GENERATIONS);
	assert_int_equal(link_slots_claim(&slots, 2, 0), -EBUSY); /* above the limit */
	/* Slots rotate. */
	link_slots_init(&slots, &runtime, LINK_SLOTS_MAX);
	assert_int_equal(link_slots_take(&slots, &slot), 0);
	link_slots_release(&slots, slot);
	for (unsigned i = 1; i < LINK_SLOTS_MAX; i++) {
		assert_int_equal(link_slots_take(&slots, &other), 0);
		assert_int_not_equal(other, slot);
		link_slots_release(&slots, other);
	}
	assert_int_equal(link_slots_take(&slots, &other), 0);
	assert_int_equal(other, slot);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),	cmocka_unit_test(test_one_cut),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_slow_announcement),
		cmocka_unit_test(test_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
