/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VLAN tags in front of what arrives (BPF_PROG_RUN): with one, of either kind, a message is forwarded as without; with two, cut off
 * or of an unknown kind it goes up untouched. And tags of what leaves, which are those of the next hop, whatever the message came
 * with.
 */
#include "bed.h"

enum { TAG = 4, TAG_AT = 12, IN4 = 1, IN6 = 2, OUT_TAGGED = 5, OUT_PLAIN = 3, MESSAGE = 300, Q = 0x8100, AD = 0x88a8 };

struct tags {
	const char *name;
	unsigned count;
	struct {
		uint16_t protocol, control;
	} tag[2]; /* outermost first */
	bool taken;
};

static const struct tags cases[] = {
	{.name = "none", .taken = true},
	{.name = "802.1Q", .count = 1, .tag = {{Q, 7}}, .taken = true},
	{.name = "802.1Q, priority alone", .count = 1, .tag = {{Q, 5 << 13}}, .taken = true},
	{.name = "802.1Q, everything set", .count = 1, .tag = {{Q, 0xffff}}, .taken = true},
	{.name = "802.1ad", .count = 1, .tag = {{AD, 4094}}, .taken = true},
	{.name = "802.1ad before 802.1Q", .count = 2, .tag = {{AD, 7}, {Q, 8}}},
	{.name = "802.1Q before 802.1Q", .count = 2, .tag = {{Q, 7}, {Q, 8}}},
	{.name = "802.1ad before 802.1ad", .count = 2, .tag = {{AD, 7}, {AD, 8}}},
	{.name = "old provider tag", .count = 1, .tag = {{0x9100, 7}}},
};

/* Returns the new length. */
static size_t tags_add(const struct tags *tags, uint8_t *packet, size_t length) {
	struct writer w = writer_fixed(packet + TAG_AT, TAG * tags->count);

	memmove(packet + TAG_AT + TAG * tags->count, packet + TAG_AT, length - TAG_AT);
	for (unsigned i = 0; i < tags->count; i++) {
		writer_u16(&w, tags->tag[i].protocol);
		writer_u16(&w, tags->tag[i].control);
	}
	return length + TAG * tags->count;
}

static size_t build(uint8_t *message, const char *to, const char *via, uint8_t ttl, size_t size) {
	return forward_message_build(&(struct forward_message){.ttl = ttl, .code = 7, .via = via, .destinations = to, .size = size},
				     message);
}

/* From slot `in` to slot `out`, whose opaque entry of this node's is `via`. */
static void check(const struct tags *tags, unsigned in, unsigned out, const char *to, const char *via) {
	uint8_t message[FORWARD_CASE_OCTETS], packet[BED_PACKET], plain[FRAME_DATA_HEADER + FORWARD_CASE_OCTETS], want[BED_PACKET];
	static struct bed_result result;

	size_t length = build(message, to, NULL, 40, MESSAGE);
	uint32_t sequence = bed.sequence[in], sequence_out = bed.tables->slots[out].tx_sequence;
	size_t packet_length = tags_add(tags, packet, bed_data(in, message, length, packet));
	bed_run(packet, packet_length, &result);
	if (!tags->taken) {
		if (result.verdict != XDP_PASS || result.length != packet_length ||
		    memcmp(result.packet, packet, packet_length) != 0)
			fail_msg("%s, slot %u: verdict %u", tags->name, in, result.verdict);
		assert_int_equal(bed.tables->slots[out].tx_sequence, sequence_out);
		return;
	}
	if (result.verdict != XDP_REDIRECT || !result.has_ack)
		fail_msg("%s, slot %u: verdict %u", tags->name, in, result.verdict);
	frame_write_ack(plain, sequence, frame_receiver_note(&bed.receiver[in], sequence));
	size_t want_length = bed_expected(in, plain, FRAME_ACK_LENGTH, want);
	assert_int_equal(result.ack_length, want_length);
	assert_memory_equal(result.ack, want, want_length);
	frame_write_data_header(plain, sequence_out, length + 2);
	assert_int_equal(build(plain + FRAME_DATA_HEADER, to, via, 39, length + 2), length + 2);
	want_length = bed_expected(out, plain, FRAME_DATA_HEADER + length + 2, want);
	assert_int_equal(result.length, want_length);
	assert_memory_equal(result.packet, want, want_length);
}

static void test_tags(void **state) {
	(void)state;
	FASTPATH_OR_SKIP();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bed_reset();
		assert_int_equal(bed_vlan(OUT_PLAIN), 0);
		assert_int_not_equal(bed_vlan(OUT_TAGGED), 0);
		check(&cases[i], IN4, OUT_TAGGED, "nb0", "o3.001");
		check(&cases[i], IN6, OUT_TAGGED, "nb0", "o0.002");
		check(&cases[i], IN4, OUT_PLAIN, "n30", "o3.001");
		check(&cases[i], IN6, OUT_PLAIN, "n30", "o0.002");
	}
}

/* Frames that end within a tag, or right behind it, of our addresses or not: nothing is read that is not there. */
static void test_cut_off(void **state) {
	uint8_t message[FORWARD_CASE_OCTETS], packet[BED_PACKET];
	static struct bed_result result;

	(void)state;
	FASTPATH_OR_SKIP();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bed_reset();
		size_t length = build(message, "nb0", NULL, 40, MESSAGE);
		size_t whole = tags_add(&cases[i], packet, bed_data(IN4, message, length, packet));
		uint64_t claimed = bed.tables->slots[OUT_TAGGED].record.tx_next;
		for (size_t cut = 14; cut < whole; cut++) { /* the kernel lends no frame without an Ethernet header */
			bed_run(packet, cut, &result);
			if (result.verdict == XDP_REDIRECT)
				fail_msg("%s, %zu of %zu octets: forwarded", cases[i].name, cut, whole);
		}
		assert_int_equal(bed.tables->slots[OUT_TAGGED].record.tx_next, claimed);
		if (cases[i].taken) { /* what was cut off has not spoilt it */
			bed_run(packet, whole, &result);
			assert_int_equal(result.verdict, XDP_REDIRECT);
		}
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_cut_off),
	};

	return cmocka_run_group_tests_name("tags", tests, bed_setup, bed_teardown);
}
