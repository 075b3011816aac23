/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The XDP program without a daemon: a socket on its port is the sign of one. Data frames for the daemon are acknowledged for
 * FASTPATH_CARETAKER_S, transit goes on without pads, and the dead man's switch ends it.
 */
#include "bed.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint8_t transit[FORWARD_CASE_OCTETS], local[FORWARD_CASE_OCTETS];
static size_t transit_length, local_length;
static int daemons[2] = {-1, -1};

static uint64_t now_ns(void) {
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void end_daemon(void) {
	for (unsigned i = 0; i < 2; i++) {
		if (daemons[i] >= 0)
			close(daemons[i]);
		daemons[i] = -1;
	}
}

/* Sockets at any address, one for each family, as ringgated has them. */
static void begin_daemon(void) {
	struct sockaddr_in name4 = {.sin_family = AF_INET, .sin_port = htons(BED_PORT)};
	struct sockaddr_in6 name6 = {.sin6_family = AF_INET6, .sin6_port = htons(BED_PORT)};
	int yes = 1;

	daemons[0] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	daemons[1] = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(daemons[1], IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)), 0);
	assert_int_equal(bind(daemons[0], (struct sockaddr *)&name4, sizeof(name4)), 0);
	assert_int_equal(bind(daemons[1], (struct sockaddr *)&name6, sizeof(name6)), 0);
}

static int begin(void **state) {
	static const struct forward_case plain = {.row = ""};

	(void)state;
	if (fastpath_unavailable())
		return 0;
	bed_reset();
	bed_tables_of(&plain, FASTPATH_FORWARD | FASTPATH_SHIELD | FASTPATH_CARETAKER);
	bed.tables->control->alone_since_ns = 0;
	bed.tables->control->forward_until_ns = UINT64_MAX;
	transit_length =
		forward_message_build(&(struct forward_message){.ttl = 40, .code = 7, .destinations = "nb0", .size = 300}, transit);
	local_length = forward_message_build(&(struct forward_message){.ttl = 40, .code = 7, .destinations = "n80"}, local);
	return 0;
}

static int end(void **state) {
	(void)state;
	end_daemon();
	return 0;
}

static uint32_t send_message(unsigned slot, const uint8_t *message, size_t length, struct bed_result *ret) {
	uint8_t packet[BED_PACKET];

	bed_run(packet, bed_data(slot, message, length, packet), ret);
	return ret->verdict;
}

/* The ack alone, octet for octet, as the daemon would have sent it. */
static void expect_ack(unsigned slot, const struct bed_result *result, uint32_t sequence) {
	uint8_t plain[FRAME_ACK_LENGTH], packet[BED_PACKET];

	frame_write_ack(plain, sequence, frame_receiver_note(&bed.receiver[slot], sequence));
	size_t length = bed_expected(slot, plain, sizeof(plain), packet);
	assert_int_equal(result->verdict, XDP_REDIRECT);
	assert_false(result->has_ack);
	assert_int_equal(result->length, length);
	assert_memory_equal(result->packet, packet, length);
}

/* FW-A03: what is for the daemon is acknowledged for it, over IPv4 and IPv6, once, and counted. */
static void test_acknowledges_for_the_daemon(void **state) {
	struct bed_result result;
	uint8_t packet[BED_PACKET];

	(void)state;
	FASTPATH_OR_SKIP();
	for (unsigned slot = 1; slot <= 2; slot++) {
		struct fastpath_counters before = bed_counters();
		uint32_t sequence = bed.sequence[slot];
		size_t length = bed_data(slot, local, local_length, packet);
		bed_run(packet, length, &result);
		expect_ack(slot, &result, sequence);
		struct fastpath_counters after = bed_counters();
		assert_int_equal(after.drops[DROP_NO_DAEMON], before.drops[DROP_NO_DAEMON] + 1);
		assert_int_equal(after.verdicts[FASTPATH_DROPPED], before.verdicts[FASTPATH_DROPPED] + 1);
		assert_int_equal(after.verdicts[FASTPATH_PASSED], before.verdicts[FASTPATH_PASSED]);
		assert_int_equal(after.passes[PASS_LOCAL], before.passes[PASS_LOCAL] + 1);
		bed_run(packet, length, &result); /* it was accepted: a second time it is a replay */
		assert_int_equal(result.verdict, XDP_DROP);
		assert_int_equal(bed_counters().drops[DROP_LINK_REPLAY], before.drops[DROP_LINK_REPLAY] + 1);
	}
	assert_true(bed.tables->control->alone_since_ns > 0);
}

static void test_leaves_it_to_a_living_daemon(void **state) {
	struct bed_result result;

	(void)state;
	FASTPATH_OR_SKIP();
	begin_daemon();
	for (unsigned slot = 1; slot <= 2; slot++) {
		struct fastpath_counters before = bed_counters();
		assert_int_equal(send_message(slot, local, local_length, &result), XDP_PASS);
		assert_int_equal(bed_counters().drops[DROP_NO_DAEMON], before.drops[DROP_NO_DAEMON]);
		assert_int_equal(bed_counters().verdicts[FASTPATH_PASSED], before.verdicts[FASTPATH_PASSED] + 1);
	}
	assert_true(bed.tables->control->alone_since_ns == 0);
	/* and the next moment it is gone */
	end_daemon();
	assert_int_equal(send_message(1, local, local_length, &result), XDP_REDIRECT);
	/* without the flag nobody looks */
	bed_tables_of(&(struct forward_case){.row = ""}, FASTPATH_FORWARD);
	assert_int_equal(send_message(1, local, local_length, &result), XDP_PASS);
}

/* After FASTPATH_CARETAKER_S nobody is expected back: the neighbors shall notice. */
static void test_ends(void **state) {
	struct bed_result result;

	(void)state;
	FASTPATH_OR_SKIP();
	bed.tables->control->alone_since_ns = now_ns() - FASTPATH_CARETAKER_S * UINT64_C(1000000000) / 2;
	assert_int_equal(send_message(1, local, local_length, &result), XDP_REDIRECT);
	bed.tables->control->alone_since_ns = now_ns() - (FASTPATH_CARETAKER_S + 1) * UINT64_C(1000000000);
	assert_int_equal(send_message(1, local, local_length, &result), XDP_PASS);
	/* transit goes on all the same */
	assert_int_equal(send_message(1, transit, transit_length, &result), XDP_REDIRECT);
	assert_true(result.has_ack);
}

/* What is not a data frame for the daemon goes nowhere: ICMP would tell the neighbor that nobody is there. */
static void test_others_are_dropped(void **state) {
	uint8_t plain[FRAME_ACK_LENGTH], record[BED_PACKET], packet[BED_PACKET];
	struct bed_result result;

	(void)state;
	FASTPATH_OR_SKIP();
	struct fastpath_counters before = bed_counters();
	frame_write_ack(plain, 7, 0); /* for a frame nobody sent */
	size_t length = bed_packet(1, true, record, bed_seal(1, plain, sizeof(plain), record), packet);
	bed_run(packet, length, &result);
	assert_int_equal(result.verdict, XDP_DROP);
	assert_int_equal(bed_counters().drops[DROP_NO_DAEMON], before.drops[DROP_NO_DAEMON] + 1);
	/* a frame for the daemon whose ack cannot be addressed: its sender sends it again */
	bed.tables->slots[1].hop.flags = 0;
	assert_int_equal(send_message(1, local, local_length, &result), XDP_DROP);
	assert_int_equal(bed_counters().drops[DROP_NO_DAEMON], before.drops[DROP_NO_DAEMON] + 2);
	/* no number is left for it */
	bed.tables->slots[1].hop.flags = FASTPATH_HOP_VALID;
	bed.tables->slots[1].record.tx_next = UINT64_C(1) << 48;
	assert_int_equal(send_message(1, local, local_length, &result), XDP_DROP);
	/* strangers go up: who has no link learns by ICMP that nobody is there */
	assert_int_equal(fastpath_slot_close(bed.tables, 3), 0);
	length = bed_data(3, local, local_length, packet);
	bed_run(packet, length, &result);
	assert_int_equal(result.verdict, XDP_PASS);
}

/* The one event: a daemon that hears of it lives, and looks why it was not found. */
static int count_events(void *userdata, void *data, size_t size) {
	struct fastpath_event event;
	unsigned *count = userdata;

	assert_true(size >= sizeof(event));
	memcpy(&event, data, sizeof(event));
	assert_int_equal(event.version, FASTPATH_VERSION);
	if (event.type == FASTPATH_EVENT_ALONE)
		++*count;
	return 0;
}

static void test_tells_once(void **state) {
	struct bed_result result;
	unsigned count = 0;

	(void)state;
	FASTPATH_OR_SKIP();
	struct ring_buffer *events = ring_buffer__new(bed.tables->events, count_events, &count, NULL);
	assert_non_null(events);
	ring_buffer__consume(events);
	count = 0;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(send_message(1, local, local_length, &result), XDP_REDIRECT);
	ring_buffer__consume(events);
	assert_int_equal(count, 1);
	bed.tables->control->alone_since_ns = 0; /* as a daemon does */
	assert_int_equal(send_message(1, local, local_length, &result), XDP_REDIRECT);
	ring_buffer__consume(events);
	assert_int_equal(count, 2);
	ring_buffer__free(events);
}

static void test_dead_man(void **state) {
	struct bed_result result;

	(void)state;
	FASTPATH_OR_SKIP();
	bed.tables->control->forward_until_ns = now_ns() + UINT64_C(3600000000000);
	assert_int_equal(send_message(1, transit, transit_length, &result), XDP_REDIRECT);
	bed.tables->control->forward_until_ns = now_ns() - UINT64_C(1000000000);
	struct fastpath_counters before = bed_counters();
	assert_int_equal(send_message(1, transit, transit_length, &result), XDP_PASS);
	assert_int_equal(send_message(1, local, local_length, &result), XDP_PASS);
	assert_int_equal(bed_counters().passes[PASS_OFF], before.passes[PASS_OFF] + 2);
}

/* Nobody makes pads any more: what is left of them is used up, then the kernel computes, for every length. */
static void test_goes_on_without_pads(void **state) {
	static const size_t sizes[] = {0, 100, 700, 1300, FASTPATH_TEXT_MAX - FRAME_DATA_HEADER - 2};
	struct bed_result result;

	(void)state;
	FASTPATH_OR_SKIP();
	bed_fill_pads(1, false, 2, 512);
	bed_fill_pads(5, true, 3, 512);
	struct fastpath_counters before = bed_counters();
	for (unsigned i = 0; i < 2 * FASTPATH_PAD_RING; i++) {
		assert_int_equal(send_message(1, transit, transit_length, &result), XDP_REDIRECT);
		assert_true(result.has_ack);
	}
	struct fastpath_counters after = bed_counters();
	/* One pad of those for receiving is for number 0, which the peer's Finished took. */
	assert_int_equal(after.pad_hits - before.pad_hits, 2 * FASTPATH_PAD_RING - 1);
	assert_int_equal(after.pad_misses - before.pad_misses, 2 * FASTPATH_PAD_RING + 1);
	bed_device_mtu(FASTPATH_MTU_MAX + 100U);
	for (unsigned i = 0; i < ARRAY_LENGTH(sizes); i++) {
		transit_length = forward_message_build(
			&(struct forward_message){.ttl = 40, .code = 7, .destinations = "nb0", .size = sizes[i]}, transit);
		bed.tables->slots[5].hop.mtu = FASTPATH_MTU_MAX + 100;
		assert_int_equal(send_message(1, transit, transit_length, &result), XDP_REDIRECT);
	}
	bed_device_mtu(BED_MTU);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_acknowledges_for_the_daemon, begin, end),
		cmocka_unit_test_setup_teardown(test_leaves_it_to_a_living_daemon, begin, end),
		cmocka_unit_test_setup_teardown(test_ends, begin, end),
		cmocka_unit_test_setup_teardown(test_others_are_dropped, begin, end),
		cmocka_unit_test_setup_teardown(test_tells_once, begin, end),
		cmocka_unit_test_setup_teardown(test_dead_man, begin, end),
		cmocka_unit_test_setup_teardown(test_goes_on_without_pads, begin, end),
	};

	return cmocka_run_group_tests_name("fastpath caretaker", tests, bed_setup, bed_teardown);
}
