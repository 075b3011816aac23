/* SPDX-License-Identifier: BSD-2-Clause */
/* What the program keeps from the daemon: datagrams of strangers, and of those who write the address of a link into theirs. */
#include "bed_expect.h"

static uint8_t message[FORWARD_CASE_OCTETS];
static size_t message_length;

static int begin(void **state) {
	(void)state;
	if (fastpath_unavailable())
		return 0;
	bed_reset();
	message_length =
		forward_message_build(&(struct forward_message){.ttl = 40, .code = 7, .destinations = "nb0", .size = 300}, message);
	return 0;
}

static void listen_on(unsigned slot) {
	struct fastpath_listener listener = {.port = htons(BED_PORT), .family = bed_is_ipv6(slot) ? AF_INET6 : AF_INET};
	uint8_t remote[16];
	uint32_t value = 1;

	bed_addresses(slot, listener.address, remote);
	assert_int_equal(bpf_map_update_elem(bed.tables->listeners, &listener, &value, BPF_ANY), 0);
}

/* A datagram of somebody without a link, of the source prefix given. */
static size_t stranger(unsigned slot, uint8_t prefix, const void *payload, size_t size, uint8_t *packet) {
	size_t length = bed_packet(slot, true, payload, size, packet);

	if (bed_is_ipv6(slot))
		packet[14 + 8 + 5] = prefix; /* inside the first 56 bits */
	else
		packet[14 + 12 + 2] = prefix;
	return length;
}

static void test_shield(void **state) {
	uint8_t hello[80] = {22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 67, 1}, packet[BED_PACKET], stun[20] = {0, 1};

	(void)state;
	FASTPATH_OR_SKIP();
	stun[4] = 0x21;
	stun[5] = 0x12;
	stun[6] = 0xa4;
	stun[7] = 0x42;
	for (unsigned slot = 1; slot <= 2; slot++) {
		uint8_t other = (uint8_t)(0x40 + slot);
		/* nobody listens there: not ours */
		expect_passed(packet, stranger(slot, other, "hello", 5, packet), PASS_ADDRESS);
		listen_on(slot);
		expect_rejected(packet, stranger(slot, other, "hello, this is no DTLS", 22, packet), DROP_SHIELD);
		expect_rejected(packet, stranger(slot, other, "", 0, packet), DROP_SHIELD);
		expect_passed(packet, stranger(slot, other, stun, sizeof(stun), packet), PASS_UNKNOWN);
		stun[7] = 0;
		expect_rejected(packet, stranger(slot, other, stun, sizeof(stun), packet), DROP_SHIELD);
		stun[7] = 0x42;
		for (uint8_t type = 19; type <= 25; type++) {
			hello[0] = type;
			hello[13] = 2;
			size_t length = stranger(slot, other, hello, sizeof(hello), packet);
			if (type >= 20 && type <= 22)
				expect_passed(packet, length, PASS_UNKNOWN);
			else
				expect_rejected(packet, length, DROP_SHIELD);
		}
		/* burst of five ClientHellos, then by rate, which is 10 a second: a few may come through meanwhile */
		hello[0] = 22;
		hello[13] = 1;
		for (unsigned i = 0; i < 5; i++)
			expect_passed(packet, stranger(slot, other, hello, sizeof(hello), packet), PASS_UNKNOWN);
		struct fastpath_counters before = bed_counters();
		struct bed_result result;
		for (unsigned i = 0; i < 200; i++)
			bed_run(packet, stranger(slot, other, hello, sizeof(hello), packet), &result);
		assert_true(bed_counters().drops[DROP_SHIELD_RATE] - before.drops[DROP_SHIELD_RATE] > 100);
		/* somebody else is not concerned */
		expect_passed(packet, stranger(slot, (uint8_t)(other + 8), hello, sizeof(hello), packet), PASS_UNKNOWN);
		/* established links are not */
		size_t length = bed_data(slot, message, message_length, packet);
		expect_sent(packet, length);
	}
	bed_tables_of(&(struct forward_case){.row = ""}, FASTPATH_FORWARD);
	expect_passed(packet, stranger(1, 0x50, "hello, this is no DTLS", 22, packet), PASS_UNKNOWN);
	/* noise from the address of a link */
	bed_tables_of(&(struct forward_case){.row = ""}, FASTPATH_FORWARD | FASTPATH_SHIELD);
	expect_rejected(packet, bed_packet(1, true, "hello, this is no DTLS", 22, packet), DROP_SHIELD);
}

static void test_access_list(void **state) {
	struct fastpath_access_key net = {.bits = 96 + 24, .address = {[10] = 0xff, 0xff, 198, 51, 0x60}};
	struct fastpath_access_key host = {.bits = 128, .address = {[10] = 0xff, 0xff, 198, 51, 0x60, 1}};
	uint32_t deny = FASTPATH_ACCESS_DENY, allow = FASTPATH_ACCESS_ALLOW;
	uint8_t hello[80] = {22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 67, 2}, packet[BED_PACKET];

	(void)state;
	FASTPATH_OR_SKIP();
	listen_on(1);
	bed_tables_of(&(struct forward_case){.row = ""}, FASTPATH_FORWARD | FASTPATH_ACCESS);
	assert_int_equal(bpf_map_update_elem(bed.tables->access, &net, &deny, BPF_ANY), 0);
	expect_rejected(packet, stranger(1, 0x60, hello, sizeof(hello), packet), DROP_ACCESS_LIST);
	assert_int_equal(bpf_map_update_elem(bed.tables->access, &host, &allow, BPF_ANY), 0);
	expect_passed(packet, stranger(1, 0x60, hello, sizeof(hello), packet), PASS_UNKNOWN);
	expect_passed(packet, stranger(1, 0x61, hello, sizeof(hello), packet), PASS_UNKNOWN);
}

/* A handshake record: type, epoch, and type of the handshake message. */
static size_t handshake(uint8_t *out, uint8_t type, uint8_t epoch, uint8_t message_type) {
	memset(out, 0, 80);
	memcpy(out, (const uint8_t[]){type, 0xfe, 0xfd, 0, epoch}, 5);
	out[12] = 67;
	out[13] = message_type;
	return 80;
}

/* What comes before there is a handshake: application data is nobody's, the last flight of a handshake may be somebody's. */
static void test_early_data(void **state) {
	uint8_t payload[80], packet[BED_PACKET];

	(void)state;
	FASTPATH_OR_SKIP();
	for (unsigned slot = 1; slot <= 2; slot++) {
		listen_on(slot);
		for (uint8_t epoch = 0; epoch <= 2; epoch++)
			expect_rejected(packet, stranger(slot, 0x31, payload, handshake(payload, 23, epoch, 0), packet),
					DROP_SHIELD);
		expect_passed(packet, stranger(slot, 0x31, payload, handshake(payload, 22, 1, 20), packet), PASS_UNKNOWN);
		/* a whole record of the link, but from another address */
		size_t length = bed_data(slot, message, message_length, packet);
		packet[bed_is_ipv6(slot) ? 14 + 8 + 5 : 14 + 12 + 2] = 0x31;
		expect_rejected(packet, length, DROP_SHIELD);
	}
}

static unsigned count_passed(unsigned slot, unsigned count, void (*change)(uint8_t *packet, unsigned i), const uint8_t *payload,
			     size_t size) {
	uint8_t packet[BED_PACKET];
	struct bed_result result;
	unsigned passed = 0;

	for (unsigned i = 0; i < count; i++) {
		size_t length = bed_packet(slot, true, payload, size, packet);
		change(packet, i);
		bed_run(packet, length, &result);
		passed += result.verdict == XDP_PASS;
	}
	return passed;
}

static void of_many_prefixes(uint8_t *packet, unsigned i) {
	packet[14 + 12] = (uint8_t)(20 + i / 256);
	packet[14 + 12 + 1] = (uint8_t)i;
}

static void of_link_local(uint8_t *packet, unsigned i) {
	memset(packet + 14 + 8, 0, 16);
	packet[14 + 8] = 0xfe;
	packet[14 + 8 + 1] = 0x80;
	packet[14 + 8 + 14] = (uint8_t)(i >> 8);
	packet[14 + 8 + 15] = (uint8_t)i;
}

static void of_one_link_local(uint8_t *packet, unsigned i) {
	(void)i;
	of_link_local(packet, 40000);
}

/* ClientHellos of thousands of addresses, each below its own limit: the limit of all of them holds, and others are not concerned.
 */
static void test_hellos_of_many(void **state) {
	uint8_t payload[80], packet[BED_PACKET], stun[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
	struct fastpath_counters before;
	size_t size;

	(void)state;
	FASTPATH_OR_SKIP();
	listen_on(1);
	before = bed_counters();
	size = handshake(payload, 22, 0, 1);
	unsigned passed = count_passed(1, 2000, of_many_prefixes, payload, size);
	assert_true(passed <= 200); /* 40 at once, 20 a second */
	assert_int_equal(bed_counters().drops[DROP_SHIELD_RATE] - before.drops[DROP_SHIELD_RATE], 2000 - passed);
	/* Other datagrams of handshakes, STUN and links come through. */
	expect_passed(packet, stranger(1, 0x31, payload, handshake(payload, 22, 0, 16), packet), PASS_UNKNOWN);
	expect_passed(packet, stranger(1, 0x31, stun, sizeof(stun), packet), PASS_UNKNOWN);
	expect_sent(packet, bed_data(1, message, message_length, packet));
}

/* Hosts of one network share fe80::/64: each has its own limit, and one that floods does not shut the others out. */
static void test_link_local(void **state) {
	uint8_t payload[80];
	size_t size;

	(void)state;
	FASTPATH_OR_SKIP();
	listen_on(2);
	size = handshake(payload, 22, 0, 16);
	assert_in_range(count_passed(2, 1000, of_one_link_local, payload, size), 50, 500); /* 50 at once, 100 a second */
	assert_int_equal(count_passed(2, 200, of_link_local, payload, size), 200);
	/* ClientHellos all the same have the limit of all */
	assert_true(count_passed(2, 2000, of_link_local, payload, handshake(payload, 22, 0, 1)) <= 200);
}

static size_t of_link(unsigned slot, const uint8_t *payload, size_t size, uint8_t *packet) {
	return bed_packet(slot, true, payload, size, packet);
}

/* Somebody writes the address of a link into his datagrams. */
static void test_address_of_a_link(void **state) {
	uint8_t payload[2 * BED_PACKET], packet[BED_PACKET], two[BED_PACKET];
	struct bed_result result;

	(void)state;
	FASTPATH_OR_SKIP();
	for (unsigned slot = 1; slot <= 2; slot++) {
		unsigned headers = bed_is_ipv6(slot) ? 62 : 42, passed = 0;

		/* application data of another epoch, of another version, cut off */
		size_t length = bed_data(slot, message, message_length, packet), size = length - headers;
		memcpy(payload, packet + headers, size);
		payload[4] = 0;
		expect_rejected(packet, of_link(slot, payload, size, packet), DROP_SHIELD);
		payload[4] = 2;
		expect_rejected(packet, of_link(slot, payload, size, packet), DROP_SHIELD);
		payload[4] = 1;
		payload[2] = 0xff;
		expect_rejected(packet, of_link(slot, payload, size, packet), DROP_SHIELD);
		payload[2] = 0xfd;
		expect_rejected(packet, of_link(slot, payload, size - 1, packet), DROP_SHIELD);
		expect_rejected(packet, of_link(slot, payload, 13 + 15, packet), DROP_SHIELD);
		/* the record as it is, in one datagram with another one: for the daemon, if its first one is genuine */
		memcpy(payload + size, payload, size);
		expect_passed(two, of_link(slot, payload, 2 * size, two), PASS_RECORD);
		payload[size - 1] ^= 1;
		expect_rejected(two, of_link(slot, payload, 2 * size, two), DROP_LINK_BAD_TAG);
		payload[size - 1] ^= 1;
		expect_sent(packet, of_link(slot, payload, size, packet));
		expect_rejected(two, of_link(slot, payload, 2 * size, two), DROP_LINK_REPLAY);
		/* ClientHellos, and what else belongs to handshakes */
		for (unsigned i = 0; i < 1000; i++) {
			bed_run(packet, of_link(slot, payload, handshake(payload, 22, 0, 1), packet), &result);
			passed += result.verdict == XDP_PASS;
		}
		assert_true(passed <= 100); /* 5 at once, 10 a second */
		for (unsigned i = passed = 0; i < 2000; i++) {
			bed_run(packet, of_link(slot, payload, handshake(payload, 22, 0, 16), packet), &result);
			passed += result.verdict == XDP_PASS;
		}
		assert_in_range(passed, 1, 1000); /* 50 at once, 100 a second */
		expect_sent(packet, bed_data(slot, message, message_length, packet));
	}
	/* without the shield the daemon gets them */
	bed_tables_of(&(struct forward_case){.row = ""}, FASTPATH_FORWARD);
	for (unsigned i = 0; i < 100; i++)
		expect_passed(packet, of_link(1, payload, handshake(payload, 22, 0, 1), packet), PASS_RECORD);
	expect_passed(packet, of_link(1, payload, handshake(payload, 23, 0, 1), packet), PASS_RECORD);
}

enum { FAR_AHEAD = 100000, TRIES = 100000, FORGED_RUNS = 1000 };

/* Forged records with numbers far ahead until no more of them are looked at in this tick. */
static void flood_far(unsigned slot) {
	uint8_t payload[BED_PACKET] = {23, 0xfe, 0xfd, 0, 1, 0, 1}, packet[BED_PACKET], out[BED_PACKET];
	uint64_t before = bed_counters().drops[DROP_LINK_FAR];

	payload[11] = 1;
	payload[12] = 0x40;
	size_t length = of_link(slot, payload, 13 + 0x140, packet);
	for (unsigned i = 0; i < TRIES; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = (uint32_t)length, .data_out = out,
			    .data_size_out = sizeof(out), .repeat = FORGED_RUNS);
		assert_int_equal(bpf_prog_test_run_opts(fastpath_loader_program(bed.loader), &options), 0);
		assert_int_equal(options.retval, XDP_DROP);
		if (bed_counters().drops[DROP_LINK_FAR] > before)
			return;
	}
	fail_msg("all of the forged records were looked at");
}

/*
 * A flood of records that are far ahead, all forged: few of them are opened. The link goes on meanwhile, and if so many records of
 * it were lost that the next one is far ahead too, that one gets through with the next tick, and the others behind it at once.
 */
static void test_far_ahead(void **state) {
	uint8_t packet[BED_PACKET];

	(void)state;
	FASTPATH_OR_SKIP();
	for (unsigned slot = 1; slot <= 2; slot++) {
		struct fastpath_slot *s = &bed.tables->slots[slot];
		struct fastpath_counters before = bed_counters();
		struct bed_result result;
		uint64_t tries = 0;

		expect_sent(packet, bed_data(slot, message, message_length, packet));
		flood_far(slot);
		for (unsigned i = 0; i < 300; i++)
			expect_sent(packet, bed_data(slot, message, message_length, packet));
		/* some were looked at: the tag told */
		assert_true(bed_counters().drops[DROP_LINK_BAD_TAG] > before.drops[DROP_LINK_BAD_TAG]);
		bed.peer[slot].state.tx_next += FAR_AHEAD;
		flood_far(slot);
		do {
			bed_run(packet, bed_data(slot, message, message_length, packet), &result);
		} while (result.verdict == XDP_DROP && ++tries < TRIES);
		assert_int_equal(result.verdict, XDP_REDIRECT);
		assert_true(s->record.rx_end > FAR_AHEAD);
		flood_far(slot);
		expect_sent(packet, bed_data(slot, message, message_length, packet));
		/* the last number that is not far */
		flood_far(slot);
		bed.peer[slot].state.tx_next = s->record.rx_end + FASTPATH_PAD_RING - 1;
		size_t length = bed_data(slot, message, message_length, packet);
		expect_sent(packet, length);
		/* while new keys are agreed on, what the old ones do not open goes up, whatever its number */
		s->flags |= FASTPATH_SLOT_HANDSHAKE;
		packet[(bed_is_ipv6(slot) ? 62 : 42) + 6] = 1;
		for (unsigned i = 0; i < 100; i++)
			expect_passed(packet, length, PASS_HANDSHAKE);
		s->flags &= ~(uint32_t)FASTPATH_SLOT_HANDSHAKE;
	}
}

/* An address that was ours is remembered until the daemon says that something changed. */
static void test_address_gone(void **state) {
	uint8_t packet[BED_PACKET], remote[16];
	struct fastpath_listener listener = {.port = htons(BED_PORT), .family = AF_INET};

	(void)state;
	FASTPATH_OR_SKIP();
	listen_on(1);
	expect_rejected(packet, stranger(1, 0x41, "hello, this is no DTLS", 22, packet), DROP_SHIELD);
	bed_addresses(1, listener.address, remote);
	assert_int_equal(bpf_map_delete_elem(bed.tables->listeners, &listener), 0);
	fastpath_flows_changed(bed.tables);
	expect_passed(packet, stranger(1, 0x41, "hello, this is no DTLS", 22, packet), PASS_ADDRESS);
	/* the one next to it never was */
	listen_on(1);
	expect_rejected(packet, stranger(1, 0x41, "hello, this is no DTLS", 22, packet), DROP_SHIELD);
	size_t length = stranger(1, 0x41, "hello, this is no DTLS", 22, packet);
	packet[14 + 19]++;
	expect_passed(packet, length, PASS_ADDRESS);
}

/* Datagrams that are shorter than what is read of them with the headers, with a longer one before each. */
static void test_short(void **state) {
	uint8_t payload[80], packet[BED_PACKET];

	(void)state;
	FASTPATH_OR_SKIP();
	for (unsigned slot = 1; slot <= 2; slot++) {
		listen_on(slot);
		for (size_t size = 0; size <= 32; size++) {
			size_t length = handshake(payload, 22, 0, 16);
			expect_passed(packet, stranger(slot, (uint8_t)(0x40 + size), payload, length, packet), PASS_UNKNOWN);
			length = stranger(slot, (uint8_t)(0x40 + size), payload, size, packet);
			if (size < 14)
				expect_rejected(packet, length, DROP_SHIELD);
			else
				expect_passed(packet, length, PASS_UNKNOWN);
			expect_rejected(packet, of_link(slot, (const uint8_t[32]){23, 0xfe, 0xfd, 0, 1}, size, packet),
					DROP_SHIELD);
		}
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_shield, begin),	cmocka_unit_test_setup(test_access_list, begin),
		cmocka_unit_test_setup(test_early_data, begin), cmocka_unit_test_setup(test_hellos_of_many, begin),
		cmocka_unit_test_setup(test_link_local, begin), cmocka_unit_test_setup(test_address_of_a_link, begin),
		cmocka_unit_test_setup(test_far_ahead, begin),	cmocka_unit_test_setup(test_address_gone, begin),
		cmocka_unit_test_setup(test_short, begin),
	};

	return cmocka_run_group_tests_name("fastpath shield", tests, bed_setup, bed_teardown);
}
