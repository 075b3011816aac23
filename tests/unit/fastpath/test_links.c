/* SPDX-License-Identifier: BSD-2-Clause */
/* The XDP program with records that are late, forged, damaged or of somebody else, and with acks. */
#include "bed_expect.h"

#include <pthread.h>

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

/* Not for us at all: not even counted. */
static void expect_foreign(const uint8_t *packet, size_t length) {
	struct fastpath_counters before = bed_counters(), after;
	struct bed_result result;

	bed_run(packet, length, &result);
	after = bed_counters();
	assert_int_equal(result.verdict, XDP_PASS);
	assert_int_equal(result.length, length);
	assert_memory_equal(result.packet, packet, length);
	assert_memory_equal(&before, &after, sizeof(before));
}

/* Where the record starts in a packet of that slot. */
static size_t record_at(unsigned slot) {
	return 14u + (bed_vlan(slot) ? 4u : 0) + (bed_is_ipv6(slot) ? 40u : 20u) + 8u;
}

/* B-6.4.2.1-03 */
static void test_replay(void **state) {
	uint8_t packets[300][600], late[600];
	size_t length = 0, late_length;

	(void)state;
	FASTPATH_OR_SKIP();
	late_length = bed_data(1, message, message_length, late);
	for (unsigned i = 0; i < 300; i++)
		length = bed_data(1, message, message_length, packets[i]);
	expect_sent(packets[1], length);
	expect_rejected(packets[1], length, DROP_LINK_REPLAY);
	expect_sent(packets[0], length); /* overtaken, but new */
	expect_rejected(packets[0], length, DROP_LINK_REPLAY);
	expect_sent(late, late_length);
	for (unsigned i = 2; i < 299; i++)
		expect_sent(packets[i], length);
	/* far behind: refused although most were never looked at twice */
	expect_rejected(packets[2], length, DROP_LINK_REPLAY);
	expect_rejected(packets[150], length, DROP_LINK_REPLAY);
	expect_rejected(packets[298], length, DROP_LINK_REPLAY);
	expect_sent(packets[299], length);
	struct fastpath_link_counters counters;
	assert_int_equal(fastpath_loader_link_counters(bed.loader, 1, &counters), 0);
	assert_true(counters.replayed >= 5);
}

/* The window against a set of all numbers ever accepted. */
static void test_window_model(void **state) {
	struct fastpath_record record = {0};
	static uint8_t accepted[100000];
	uint64_t highest = 0, seed = 88172645463325252u;

	(void)state;
	memset(accepted, 0, sizeof(accepted));
	for (unsigned i = 0; i < 200000; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		uint64_t number = highest + 1 + seed % 40;
		if (seed >> 20 & 3)
			number = number > 300 ? number - 1 - (seed >> 32) % 300 : number;
		if (number >= sizeof(accepted))
			break;
		int expected = !accepted[number];
		int would = link_window_would_accept(&record, number), did = link_window_accept(&record, number);
		assert_int_equal(would, did);
		if (accepted[number])
			assert_int_equal(did, 0); /* never twice */
		else if (number + 7 * 32 >= highest)
			assert_int_equal(did, expected); /* what is not older than the window is not lost */
		accepted[number] |= did == 1;
		if (did == 1 && number > highest)
			highest = number;
	}
	assert_true(highest > 50000);
	assert_int_equal(record.rx_end, highest + 1);
}

/* Masks of acks are those of frame_receiver_note(), as long as no frame is more than a few late. */
static void test_ack_masks(void **state) {
	struct frame_receiver receiver = {0};
	__u64 word = 0;
	uint32_t sequence = 0xffffff00; /* wraps on the way */

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		sequence += 1 + (i % 7 == 0 ? i % 5 : 0) + (i % 97 == 0 ? 40 : 0);
		assert_int_equal(link_received_note(&word, sequence), frame_receiver_note(&receiver, sequence));
	}
	/* late ones: nothing wrong is told */
	word = 0;
	assert_int_equal(link_received_note(&word, 100), 0);
	assert_int_equal(link_received_note(&word, 103), 1 << 3);
	assert_int_equal(link_received_note(&word, 101), 1 << 1);
	assert_int_equal(link_received_note(&word, 104), 1 << 1 | 1 << 3 | 1 << 4);
	assert_int_equal(link_received_note(&word, 50), 0);
	assert_int_equal(link_received_note(&word, 105), 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5);
}

static void test_forged(void **state) {
	uint8_t packet[600];
	size_t length;

	(void)state;
	FASTPATH_OR_SKIP();
	for (unsigned slot = 1; slot <= 5; slot++) {
		struct fastpath_record *record = &bed.tables->slots[slot].record;
		uint64_t tx = bed.tables->slots[5].record.tx_next, rx_end = record->rx_end;
		length = bed_data(slot, message, message_length, packet);
		/* every octet that the tag covers: number, ciphertext, tag */
		for (size_t at = record_at(slot) + 5; at < length; at += at < record_at(slot) + 40 ? 1 : 13) {
			if (at == record_at(slot) + 11 || at == record_at(slot) + 12)
				continue; /* the length */
			packet[at] ^= 0x10;
			/* a number of long ago is refused before the tag is looked at */
			expect_rejected(packet, length, at == record_at(slot) + 6 ? DROP_LINK_REPLAY : DROP_LINK_BAD_TAG);
			packet[at] ^= 0x10;
		}
		/* forgeries used nothing up */
		assert_int_equal(bed.tables->slots[5].record.tx_next, tx);
		assert_int_equal(record->rx_end, rx_end);
		expect_sent(packet, length);
	}
	/* with a pad as well, which stays there for the right one */
	bed_fill_pads(1, false, 2, 512);
	length = bed_data(1, message, message_length, packet);
	packet[length - 1] ^= 1;
	expect_rejected(packet, length, DROP_LINK_BAD_TAG);
	packet[length - 1] ^= 1;
	struct fastpath_counters before = bed_counters();
	expect_sent(packet, length);
	assert_int_equal(bed_counters().pad_hits, before.pad_hits + 1);
	/* while new keys are agreed on they may be records under those */
	bed.tables->slots[1].flags |= FASTPATH_SLOT_HANDSHAKE;
	length = bed_data(1, message, message_length, packet);
	packet[length - 1] ^= 1;
	expect_passed(packet, length, PASS_HANDSHAKE);
}

static void test_records_for_userspace(void **state) {
	uint8_t packet[BED_PACKET], plain[1500] = {0}, record[BED_PACKET];
	size_t at = record_at(1), length, total;

	(void)state;
	FASTPATH_OR_SKIP();
	/* The shield would not let all of them through (test_shield.c). */
	bed_tables_of(&(struct forward_case){.row = ""}, FASTPATH_FORWARD);
	length = bed_data(1, message, message_length, packet);
	static const struct {
		uint8_t offset, value;
	} changes[] = {{0, 21}, {0, 22}, {0, 20}, {1, 0xfd}, {2, 0xff}, {3, 1}, {4, 0}, {4, 2}, {11, 0x7f}, {12, 1}};
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint8_t old = packet[at + changes[i].offset];
		packet[at + changes[i].offset] = changes[i].value;
		expect_passed(packet, length, PASS_RECORD);
		packet[at + changes[i].offset] = old;
	}
	expect_sent(packet, length);
	/* two records in a datagram */
	frame_write_data_header(plain, 9, 30);
	total = bed_seal(1, plain, 38, record);
	total += bed_seal(1, plain, 38, record + total);
	expect_passed(packet, bed_packet(1, true, record, total, packet), PASS_RECORD);
	/* too short for a tag, and cut off; the headers say so too */
	for (total = 1; total < 13 + 16; total++)
		if (total != 13) {
			bed_seal(1, plain, 38, record);
			expect_passed(packet, bed_packet(1, true, record, total, packet), PASS_RECORD);
		}
	/* a record without anything in it is no frame */
	total = bed_seal(1, plain, 0, record);
	expect_rejected(packet, bed_packet(1, true, record, total, packet), DROP_BAD_FRAME);
	/* oversized */
	total = bed_seal(1, plain, FASTPATH_TEXT_MAX + 1, record);
	expect_passed(packet, bed_packet(1, true, record, total, packet), PASS_SIZE);
	/* the largest that is not: for an unknown frame type the reason is the frame */
	total = bed_seal(1, plain, FASTPATH_TEXT_MAX, record);
	expect_rejected(packet, bed_packet(1, true, record, total, packet), DROP_BAD_FRAME);
	/* an alert under the keys */
	memset(record, 0, 13 + 2);
	assert_true(record_seal(&bed.peer[1], RECORD_ALERT, record, 2) == 13 + 2 + 16);
	expect_passed(packet, bed_packet(1, true, record, 13 + 2 + 16, packet), PASS_RECORD);
}

/* FW-A02 */
static void test_frames(void **state) {
	static const uint8_t types[] = {0, 1, 127, 130, 255};
	uint8_t plain[400], record[BED_PACKET], packet[BED_PACKET];
	size_t total;

	(void)state;
	FASTPATH_OR_SKIP();
	for (size_t i = 0; i < sizeof(types); i++) {
		frame_write_data_header(plain, 0, message_length);
		memcpy(plain + 8, message, message_length);
		plain[0] = types[i];
		total = bed_seal(1, plain, 8 + message_length, record);
		expect_rejected(packet, bed_packet(1, true, record, total, packet), DROP_BAD_FRAME);
		expect_rejected(packet, bed_packet(1, true, record, total, packet), DROP_LINK_REPLAY);
	}
	frame_write_data_header(plain, 0, message_length - 1);
	total = bed_seal(1, plain, 8 + message_length, record);
	expect_rejected(packet, bed_packet(1, true, record, total, packet), DROP_BAD_FRAME);
	frame_write_ack(plain, 0, 0);
	total = bed_seal(1, plain, 8, record);
	expect_rejected(packet, bed_packet(1, true, record, total, packet), DROP_BAD_FRAME);
	total = bed_seal(1, plain, 10, record);
	expect_rejected(packet, bed_packet(1, true, record, total, packet), DROP_BAD_FRAME);
}

static size_t ack_packet(unsigned slot, uint32_t sequence, uint8_t *packet) {
	uint8_t plain[FRAME_ACK_LENGTH], record[BED_PACKET];

	frame_write_ack(plain, sequence, 0);
	return bed_packet(slot, true, record, bed_seal(slot, plain, sizeof(plain), record), packet);
}

/* FW-A01 */
static void test_acks(void **state) {
	struct fastpath_slot *slot;
	uint8_t packet[BED_PACKET];
	struct bed_result result;
	size_t length;

	(void)state;
	FASTPATH_OR_SKIP();
	slot = &bed.tables->slots[5];
	for (unsigned i = 0; i < 3; i++) { /* the kernel's 0, 1, 2 */
		length = bed_data(1, message, message_length, packet);
		expect_sent(packet, length);
	}
	assert_int_equal(link_claim_sequence(slot, 1), 3); /* the daemon's */
	length = bed_data(1, message, message_length, packet);
	expect_sent(packet, length);
	assert_int_equal(slot->tx_sequence, 5);

	length = ack_packet(5, 1, packet);
	bed_run(packet, length, &result);
	assert_int_equal(result.verdict, XDP_DROP);
	assert_int_equal(slot->acked, 2);
	assert_true(slot->last_acked_ns != 0);
	assert_int_equal(slot->rtt_us, 0);
	length = ack_packet(5, 0, packet); /* the one whose round trip is measured; does not move `acked` back */
	bed_run(packet, length, &result);
	assert_int_equal(result.verdict, XDP_DROP);
	assert_int_equal(slot->acked, 2);
	assert_true(slot->rtt_us > 0);
	length = ack_packet(5, 3, packet);
	expect_passed(packet, length, PASS_OWN_ACK);
	expect_passed(packet, length, PASS_OWN_ACK); /* nothing was accepted */
	length = ack_packet(5, 4, packet);
	bed_run(packet, length, &result);
	assert_int_equal(result.verdict, XDP_DROP);
	assert_int_equal(slot->acked, 5);
	expect_rejected(packet, length, DROP_LINK_REPLAY);
	length = ack_packet(5, 5, packet); /* never sent */
	expect_passed(packet, length, PASS_OWN_ACK);
	/* the place of the daemon's number, a thousand later */
	for (unsigned i = 5; i < 3 + FASTPATH_OWN_SEQUENCES + 1; i++) {
		length = bed_data(1, message, message_length, packet);
		expect_sent(packet, length);
	}
	length = ack_packet(5, 3 + FASTPATH_OWN_SEQUENCES, packet);
	bed_run(packet, length, &result);
	assert_int_equal(result.verdict, XDP_DROP);
	length = ack_packet(5, 0, packet); /* long forgotten */
	expect_passed(packet, length, PASS_OWN_ACK);
}

/* What the next message of slot 1 becomes for slot 5: number `sequence` there. */
static size_t expected_message(uint32_t sequence, uint8_t *packet) {
	uint8_t plain[FRAME_DATA_HEADER + FORWARD_CASE_OCTETS];
	struct forward_message m = {.ttl = 39, .code = 7, .destinations = "nb0", .via = "o3.001", .size = message_length + 2};

	frame_write_data_header(plain, sequence, message_length + 2);
	assert_int_equal(forward_message_build(&m, plain + FRAME_DATA_HEADER), message_length + 2);
	return bed_expected(5, plain, FRAME_DATA_HEADER + message_length + 2, packet);
}

static size_t expected_ack(uint32_t sequence, uint32_t received, uint8_t *packet) {
	uint8_t plain[FRAME_ACK_LENGTH];

	frame_write_ack(plain, sequence, received);
	return bed_expected(1, plain, sizeof(plain), packet);
}

/* Acks of slot 5 come; afterwards the kernel makes acks wait for more of them. Returns the last number sent to slot 5. */
static uint32_t begin_waiting(void) {
	uint8_t packet[BED_PACKET];
	struct bed_result result;
	uint32_t sequence;

	bed.ack_wait = UINT16_MAX;
	bed_tables_of(&(struct forward_case){.row = ""}, FASTPATH_FORWARD | FASTPATH_SHIELD);
	/* The first may find nothing to wait for, and a machine that is busy may need some. */
	for (unsigned i = 0; i < 1000; i++) {
		sequence = bed.tables->slots[5].tx_sequence;
		bed_run(packet, bed_data(1, message, message_length, packet), &result);
		assert_int_equal(result.verdict, XDP_REDIRECT);
		if (!result.has_ack)
			return sequence;
		bed_run(packet, ack_packet(5, sequence, packet), &result);
	}
	fail_msg("acks never wait");
	return 0;
}

static void end_waiting(void) {
	bed.ack_wait = 0;
	bed_tables_of(&(struct forward_case){.row = ""}, FASTPATH_FORWARD | FASTPATH_SHIELD);
}

/* While acks come, their frames carry ours: every message gets its own ack, in order (RFC 6940 6.6.2, 6.6.3). B-6.6.2-03 */
static void test_carried_acks(void **state) {
	uint8_t packet[BED_PACKET], want[BED_PACKET];
	struct bed_result result;
	size_t length;

	(void)state;
	FASTPATH_OR_SKIP();
	uint32_t to = begin_waiting(), from = bed.sequence[1] - 1;
	struct fastpath_counters before = bed_counters();
	/* the mirrors follow what was sent */
	bed.mirror[1].state.tx_next = bed.tables->slots[1].record.tx_next;
	bed.mirror[5].state.tx_next = bed.tables->slots[5].record.tx_next;
	for (uint32_t i = 1; i <= 2; i++) {
		length = bed_data(1, message, message_length, packet);
		bed_run(packet, length, &result);
		if (result.has_ack)
			fail_msg("acks do not wait any more");
		length = expected_message(to + i, want);
		assert_int_equal(result.length, length);
		assert_memory_equal(result.packet, want, length);
	}
	uint32_t mask = (uint32_t)bed.tables->slots[1].received; /* bit 0: from + 2 */
	for (uint32_t i = 0; i <= 2; i++) {
		bed_run(packet, ack_packet(5, to + i, packet), &result);
		assert_int_equal(result.verdict, XDP_REDIRECT);
		length = expected_ack(from + i, (mask >> (2 - i)) & ~1U, want);
		assert_int_equal(result.length, length);
		assert_memory_equal(result.packet, want, length);
	}
	struct fastpath_counters after = bed_counters();
	assert_int_equal(after.acks_carried, before.acks_carried + 3);
	assert_int_equal(after.acks_sent, before.acks_sent + 3);
	assert_int_equal(after.acks_lost, before.acks_lost);
	/* none waits any more; a message of its own, so that there is something to acknowledge */
	end_waiting();
	bed_run(packet, bed_data(1, message, message_length, packet), &result);
	assert_true(result.has_ack);
	bed_run(packet, ack_packet(5, to + 3, packet), &result);
	assert_int_equal(result.verdict, XDP_DROP);
}

/* So many wait, and then acks leave at once again. */
static void test_carried_acks_bound(void **state) {
	enum { WAITING = 64 };
	uint8_t packet[BED_PACKET];
	struct bed_result result;
	unsigned waiting = 1;

	(void)state;
	FASTPATH_OR_SKIP();
	uint32_t to = begin_waiting();
	for (; waiting <= WAITING; waiting++) {
		bed_run(packet, bed_data(1, message, message_length, packet), &result);
		assert_int_equal(result.verdict, XDP_REDIRECT);
		if (result.has_ack)
			break;
	}
	assert_int_equal(waiting, WAITING);
	end_waiting();
	for (unsigned i = 0; i < WAITING; i++) {
		bed_run(packet, ack_packet(5, to + i, packet), &result);
		assert_int_equal(result.verdict, XDP_REDIRECT);
	}
	bed_run(packet, ack_packet(5, to + WAITING, packet), &result); /* of the message whose ack left at once */
	assert_int_equal(result.verdict, XDP_DROP);
}

/* The slot became another link meanwhile: an ack of the old one must not be sealed with its keys. */
static void test_carried_acks_other_link(void **state) {
	uint8_t packet[BED_PACKET];
	struct bed_result result;
	struct fastpath_slot *slot = &bed.tables->slots[1];
	uint8_t iv[sizeof(slot->record.tx_iv)];

	(void)state;
	FASTPATH_OR_SKIP();
	uint32_t to = begin_waiting();
	struct fastpath_counters before = bed_counters();
	uint64_t number = slot->record.tx_next;
	memcpy(iv, slot->record.tx_iv, sizeof(iv));
	slot->record.tx_iv[3] ^= 1;
	bed_run(packet, ack_packet(5, to, packet), &result);
	assert_int_equal(result.verdict, XDP_DROP);
	memcpy(slot->record.tx_iv, iv, sizeof(iv));
	assert_int_equal(bed_counters().acks_lost, before.acks_lost + 1);
	assert_int_equal(bed_counters().acks_sent, before.acks_sent);
	assert_int_equal(slot->record.tx_next, number);
	end_waiting();
}

static void test_unacknowledged_limit(void **state) {
	struct fastpath_slot *slot;
	uint8_t packet[BED_PACKET];
	struct bed_result result;
	size_t length;

	(void)state;
	FASTPATH_OR_SKIP();
	slot = &bed.tables->slots[5];
	slot->unacked_limit = 4;
	for (unsigned i = 0; i < 4; i++) {
		length = bed_data(1, message, message_length, packet);
		expect_sent(packet, length);
	}
	length = bed_data(1, message, message_length, packet);
	expect_sent(packet, length); /* the probe */
	length = bed_data(1, message, message_length, packet);
	expect_passed(packet, length, PASS_CONGESTION);
	expect_passed(packet, length, PASS_CONGESTION);
	uint8_t ack[BED_PACKET];
	bed_run(ack, ack_packet(5, 4, ack), &result);
	assert_int_equal(result.verdict, XDP_DROP);
	expect_sent(packet, length);
}

static void test_links_for_userspace(void **state) {
	uint8_t packet[BED_PACKET];
	struct fastpath_slot *from, *next;
	size_t length;

	(void)state;
	FASTPATH_OR_SKIP();
	from = &bed.tables->slots[1];
	next = &bed.tables->slots[5];
	length = bed_data(1, message, message_length, packet);
	bed_tables_of(&(struct forward_case){.row = ""}, FASTPATH_SHIELD);
	expect_passed(packet, length, PASS_OFF);
	bed_tables_of(&(struct forward_case){.row = ""}, FASTPATH_FORWARD);
	from->flags &= ~(uint32_t)FASTPATH_SLOT_ACTIVE;
	expect_passed(packet, length, PASS_LINK);
	from->flags |= FASTPATH_SLOT_ACTIVE;
	from->record.cipher = RECORD_AES128_GCM;
	expect_passed(packet, length, PASS_LINK);
	from->record.cipher = RECORD_CHACHA20_POLY1305;
	next->flags &= ~(uint32_t)FASTPATH_SLOT_ACTIVE;
	expect_passed(packet, length, PASS_NEXT_LINK);
	next->flags |= FASTPATH_SLOT_ACTIVE;
	from->hop.version++; /* being written */
	expect_passed(packet, length, PASS_HOP);
	from->hop.version++;
	next->hop.flags = 0;
	expect_passed(packet, length, PASS_HOP);
	next->hop.flags = FASTPATH_HOP_VALID;
	next->hop.port = 7; /* no such interface */
	expect_passed(packet, length, PASS_HOP);
	next->hop.port = bed.port;
	from->hop.port = 7;
	expect_passed(packet, length, PASS_HOP);
	uint8_t dropped[FORWARD_CASE_OCTETS], dropped_packet[BED_PACKET];
	size_t dropped_length =
		forward_message_build(&(struct forward_message){.ttl = 40, .code = 8, .destinations = "n77"}, dropped);
	expect_passed(dropped_packet, bed_data(1, dropped, dropped_length, dropped_packet), PASS_HOP);
	from->hop.port = bed.port;
	next->hop.mtu = (uint16_t)(28 + 13 + 16 + 8 + message_length + 1); /* two octets are appended */
	expect_passed(packet, length, PASS_MTU);
	next->hop.mtu++;
	bed_device_mtu(next->hop.mtu - 1U);
	expect_passed(packet, length, PASS_MTU); /* before the daemon knows */
	bed_device_mtu(BED_MTU);
	next->record.tx_next = UINT64_C(1) << 48;
	expect_passed(packet, length, PASS_NUMBERS);
	next->record.tx_next = 1;
	bed.tables->settings[bed.tables->control->active].version |= 1;
	expect_passed(packet, length, PASS_TABLES);
	bed.tables->settings[bed.tables->control->active].version++;
	bed.tables->settings[bed.tables->control->active].compute_max = (uint32_t)message_length + 9;
	expect_passed(packet, length, PASS_NO_PAD); /* could be opened, not sealed */
	bed.tables->settings[bed.tables->control->active].compute_max = (uint32_t)message_length + 7;
	expect_passed(packet, length, PASS_NO_PAD);
	bed_fill_pads(1, false, 2, 512);
	expect_passed(packet, length, PASS_NO_PAD); /* the pad is used up now */
	bed_fill_pads(5, true, 3, 512);
	bed_fill_pads(1, false, 2, 512);
	expect_sent(packet, length);
	expect_rejected(packet, length, DROP_LINK_REPLAY);
	/* the flow ends */
	assert_int_equal(fastpath_slot_close(bed.tables, 1), 0);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(from->record.tx_key[i], 0);
	expect_passed(packet, length, PASS_ADDRESS);
}

/* A CPU remembers whose flow it was: but not longer than the map has it, or another slot, or none. */
static void test_remembered_flows(void **state) {
	struct fastpath_flow flow = {.remote_port = htons(BED_PORT), .local_port = htons(BED_PORT), .family = AF_INET};
	struct fastpath_flow_target target = {.slot = LAYOUT_SLOT_NONE};
	const struct fastpath_slot *one;
	uint8_t packet[BED_PACKET];
	size_t length;

	(void)state;
	FASTPATH_OR_SKIP();
	one = &bed.tables->slots[1];
	length = bed_data(1, message, message_length, packet);
	expect_sent(packet, length);
	length = bed_data(1, message, message_length, packet);
	expect_sent(packet, length); /* by memory */

	/* the daemon serves the link */
	memcpy(flow.remote_address, one->record.remote_address, 4);
	assert_int_equal(bpf_map_update_elem(bed.tables->flows, &flow, &target, BPF_ANY), 0);
	fastpath_flows_changed(bed.tables);
	length = bed_data(1, message, message_length, packet);
	expect_passed(packet, length, PASS_LINK);

	/* a younger link: the record of the older one is not its */
	bed.tables->slots[7].record = one->record;
	memset(bed.tables->slots[7].record.rx_key, 7, sizeof(one->record.rx_key));
	assert_int_equal(fastpath_slot_open(bed.tables, 7), 0);
	expect_rejected(packet, length, DROP_LINK_BAD_TAG);

	/* the older one again, then none */
	assert_int_equal(fastpath_slot_open(bed.tables, 1), 0);
	expect_sent(packet, length);
	fastpath_slot_hide(bed.tables, 1);
	length = bed_data(1, message, message_length, packet);
	expect_passed(packet, length, PASS_ADDRESS);
	assert_int_equal(fastpath_slot_close(bed.tables, 7), 0);
}

static void test_other_packets(void **state) {
	uint8_t packet[BED_PACKET], changed[BED_PACKET];
	size_t length;

	(void)state;
	FASTPATH_OR_SKIP();
	for (unsigned slot = 1; slot <= 5; slot++) {
		bool ipv6 = bed_is_ipv6(slot);
		size_t ip = bed_vlan(slot) ? 18 : 14, udp = ip + (ipv6 ? 40 : 20);
		length = bed_data(slot, message, message_length, packet);
		for (size_t cut = 14; cut < udp + 8; cut++)
			expect_foreign(packet, cut);
		for (size_t cut = udp + 8; cut < length; cut += 7)
			expect_passed(packet, cut, PASS_FRAGMENT); /* shorter than its headers say */
		memcpy(changed, packet, length);
		changed[udp + 3]++; /* other port */
		expect_foreign(changed, length);
		memcpy(changed, packet, length);
		changed[udp + 5]++; /* length of UDP */
		expect_passed(changed, length, PASS_FRAGMENT);
		memcpy(changed, packet, length);
		changed[udp - 1]++; /* another address of the machine, or of somebody behind it */
		expect_passed(changed, length, PASS_ADDRESS);
		memcpy(changed, packet, length);
		changed[ip + (ipv6 ? 6 : 9)] = 6; /* TCP */
		expect_foreign(changed, length);
		memcpy(changed, packet, length);
		changed[ip - 2] = 0x08;
		changed[ip - 1] = 0x06;
		expect_foreign(changed, length);
		memcpy(changed, packet, length);
		if (ipv6) {
			changed[ip + 6] = 44; /* a fragment */
			expect_passed(changed, length, PASS_FRAGMENT);
			changed[ip + 6] = 0; /* hop-by-hop options */
			expect_foreign(changed, length);
		} else {
			changed[ip] = 0x46; /* options */
			expect_passed(changed, length, PASS_FRAGMENT);
			changed[ip] = 0x45;
			changed[ip + 6] = 0x20; /* more fragments */
			expect_passed(changed, length, PASS_FRAGMENT);
			changed[ip + 6] = 0;
			changed[ip + 7] = 1; /* an offset */
			expect_passed(changed, length, PASS_FRAGMENT);
		}
		/* octets behind the datagram are padding */
		memset(packet + length, 0xaa, 18);
		expect_sent(packet, length + 18);
	}
}

/* Pads: asked for once until the worker answers, and never used for another record than theirs. */
static void test_pads(void **state) {
	struct fastpath_slot *from, *next;
	struct fastpath_counters before, after;
	uint8_t packet[BED_PACKET];
	size_t length;

	(void)state;
	FASTPATH_OR_SKIP();
	from = &bed.tables->slots[1];
	next = &bed.tables->slots[5];
	bed_fill_pads(1, false, 2, 512);
	bed_fill_pads(5, true, 3, 512);
	bed_fill_pads(1, true, 4, 64); /* for acks */
	before = bed_counters();
	for (unsigned i = 0; i < 180; i++) {
		uint64_t number = next->record.tx_next, received = bed.peer[1].state.tx_next;
		assert_int_equal(bed.tables->pads[3 * FASTPATH_PAD_RING + number % FASTPATH_PAD_RING].number, 1ULL << 48 | number);
		length = bed_data(1, message, message_length, packet);
		expect_sent(packet, length);
		assert_int_equal(bed.tables->pads[3 * FASTPATH_PAD_RING + number % FASTPATH_PAD_RING].number, 0);
		assert_int_equal(bed.tables->pads[2 * FASTPATH_PAD_RING + received % FASTPATH_PAD_RING].number, 0);
		if (i == 32)
			assert_int_equal(from->wanted | next->wanted, 0); /* there are plenty */
		if (i == 110) {
			/* to be looked after when another link wakes the worker */
			assert_int_equal(bed_counters().wakeups, before.wakeups);
			assert_int_equal(from->wanted, 1);
			assert_int_equal(next->wanted, 1);
		}
	}
	after = bed_counters();
	assert_int_equal(after.pad_hits - before.pad_hits, 360);
	assert_int_equal(after.wakeups - before.wakeups, 2); /* one for each link */
	assert_int_equal(from->wanted, 2);
	assert_int_equal(next->wanted, 2);
	assert_int_equal(from->rx_longest, message_length + 8);
	assert_int_equal(next->tx_longest, message_length + 10);
	/* a pad of another number, or too short: computed */
	uint64_t number = next->record.tx_next;
	bed.tables->pads[3 * FASTPATH_PAD_RING + number % FASTPATH_PAD_RING].number += FASTPATH_PAD_RING;
	length = bed_data(1, message, message_length, packet);
	next->wanted = from->wanted = 0;
	expect_sent(packet, length);
	assert_int_equal(from->wanted, 2);
	assert_int_equal(next->wanted, 2);
	bed.tables->pads[3 * FASTPATH_PAD_RING + (number + 1) % FASTPATH_PAD_RING].length = 256;
	length = bed_data(1, message, message_length, packet);
	expect_sent(packet, length);
	assert_int_equal(bed_counters().pad_misses - after.pad_misses, 2);
}

/* ---- several threads and CPUs at one link ---- */

enum { CLAIMERS = 3, CLAIMS = 1500 };

struct claimer {
	pthread_t thread;
	unsigned slot;
	uint8_t (*packets)[512];
	size_t length;
	uint64_t numbers[CLAIMS];
	uint32_t sequences[CLAIMS];
	unsigned count, replays;
};

static void *claim_in_kernel(void *argument) {
	struct claimer *claimer = argument;

	for (unsigned i = 0; i < CLAIMS; i++) {
		uint8_t out[BED_PACKET];
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = claimer->packets[i], .data_size_in = (uint32_t)claimer->length,
			    .data_out = out, .repeat = 1);
		do { /* what a busy CPU leaves alone comes again */
			options.data_size_out = sizeof(out);
			if (bpf_prog_test_run_opts(fastpath_loader_program(bed.loader), &options) < 0)
				return NULL;
		} while (options.retval == XDP_PASS);
		if (options.retval == XDP_DROP) {
			claimer->replays++;
			continue;
		}
		struct reader r = reader_of(out + record_at(5) + 5, 6);
		claimer->numbers[claimer->count] = (uint64_t)reader_u16(&r) << 32;
		claimer->numbers[claimer->count++] |= reader_u32(&r);
	}
	return NULL;
}

static void *claim_in_userspace(void *argument) {
	struct claimer *claimer = argument;

	for (unsigned i = 0; i < CLAIMS; i++) {
		claimer->sequences[i] = link_claim_sequence(&bed.tables->slots[5], 1);
		claimer->numbers[claimer->count++] = link_claim_number(&bed.tables->slots[5].record);
		if (i % 16 == 0)
			sched_yield();
	}
	return NULL;
}

static int compare_u64(const void *a, const void *b) {
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * No record number is used twice, whoever seals; no record is accepted twice, however many CPUs get it at once: two threads send
 * the same records of slot 1.
 */
static void test_concurrent_claims(void **state) {
	static struct claimer claimers[CLAIMERS + 1];
	static uint64_t all[(CLAIMERS + 1) * CLAIMS];
	static uint8_t packets[2][CLAIMS][512];
	cpu_set_t every, one;
	size_t count = 0;

	(void)state;
	FASTPATH_OR_SKIP();
	message_length = forward_message_build(&(struct forward_message){.ttl = 40, .code = 7, .destinations = "nb0"}, message);
	memset(claimers, 0, sizeof(claimers));
	for (unsigned i = 0; i < CLAIMS; i++) {
		claimers[0].length = claimers[1].length = bed_data(1, message, message_length, packets[0][i]);
		claimers[2].length = bed_data(3, message, message_length, packets[1][i]);
	}
	claimers[0].packets = claimers[1].packets = packets[0];
	claimers[2].packets = packets[1];
	CPU_ZERO(&every);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		CPU_SET(i, &every);
	CPU_ZERO(&one);
	CPU_SET(bed.cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(every), &every), 0);
	for (unsigned i = 0; i <= CLAIMERS; i++)
		assert_int_equal(pthread_create(&claimers[i].thread, NULL, i < CLAIMERS ? claim_in_kernel : claim_in_userspace,
						&claimers[i]),
				 0);
	for (unsigned i = 0; i <= CLAIMERS; i++)
		pthread_join(claimers[i].thread, NULL);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);

	/* each record of slot 1 was sent on by one of the two and refused for the other */
	assert_int_equal(claimers[0].count + claimers[1].count, CLAIMS);
	assert_int_equal(claimers[0].replays + claimers[1].replays, CLAIMS);
	assert_int_equal(claimers[2].count, CLAIMS);
	assert_int_equal(claimers[3].count, CLAIMS);
	for (unsigned i = 0; i <= CLAIMERS; i++) {
		memcpy(all + count, claimers[i].numbers, claimers[i].count * sizeof(all[0]));
		count += claimers[i].count;
	}
	qsort(all, count, sizeof(all[0]), compare_u64);
	for (size_t i = 1; i < count; i++)
		assert_true(all[i] != all[i - 1]);
	assert_int_equal(bed.tables->slots[5].record.tx_next, 1 + count);
	assert_int_equal(bed.tables->slots[5].tx_sequence, count);
	/* and every framing number of the daemon is known as such */
	for (unsigned i = CLAIMS - 1; i > CLAIMS - 100; i--)
		if (bed.tables->slots[5].tx_sequence - claimers[3].sequences[i] <= FASTPATH_OWN_SEQUENCES)
			assert_false(link_sequence_is_kernels(&bed.tables->slots[5], claimers[3].sequences[i]));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window_model),
		cmocka_unit_test(test_ack_masks),
		cmocka_unit_test_setup(test_replay, begin),
		cmocka_unit_test_setup(test_forged, begin),
		cmocka_unit_test_setup(test_records_for_userspace, begin),
		cmocka_unit_test_setup(test_frames, begin),
		cmocka_unit_test_setup(test_acks, begin),
		cmocka_unit_test_setup(test_carried_acks, begin),
		cmocka_unit_test_setup(test_carried_acks_bound, begin),
		cmocka_unit_test_setup(test_carried_acks_other_link, begin),
		cmocka_unit_test_setup(test_unacknowledged_limit, begin),
		cmocka_unit_test_setup(test_links_for_userspace, begin),
		cmocka_unit_test_setup(test_remembered_flows, begin),
		cmocka_unit_test_setup(test_other_packets, begin),
		cmocka_unit_test_setup(test_pads, begin),
		cmocka_unit_test_setup(test_concurrent_claims, begin),
	};

	return cmocka_run_group_tests_name("fastpath links", tests, bed_setup, bed_teardown);
}
