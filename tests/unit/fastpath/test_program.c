/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The XDP program against userspace: packets in and out through BPF_PROG_RUN, compared octet for octet with what record_open,
 * forward_decide, forward_edit and record_seal make of them. The table of spec/forwarding.md, then random messages:
 * FASTPATH_MESSAGES=1000000 in the environment runs a million.
 */
#include "bed.h"
#include "forward.h"

/* ---- what userspace makes of a message ---- */

struct reference {
	struct forward_case c;
	struct forward_work work;
	uint8_t head[FORWARD_HEAD_MAX];
};

static int reference_link_at(void *userdata, __u32 slot, struct forward_link *ret) {
	struct forward_link links[FORWARD_CASE_SLOTS];
	struct reference *reference = userdata;
	size_t count = forward_case_links(&reference->c, links);

	for (size_t i = 0; i < count; i++)
		if (links[i].slot == slot && links[i].flags & FORWARD_LINK_UP) {
			*ret = links[i];
			return 1;
		}
	return 0;
}

static int reference_link_of(void *userdata, const struct forward_id *id, struct forward_link *ret) {
	struct forward_link links[FORWARD_CASE_SLOTS];
	struct reference *reference = userdata;
	size_t count = forward_case_links(&reference->c, links);

	for (size_t i = 0; i < count; i++)
		if (links[i].flags & FORWARD_LINK_BOUND && links[i].flags & FORWARD_LINK_UP && forward_id_equal(&links[i].id, id)) {
			*ret = links[i];
			return 1;
		}
	return 0;
}

static int reference_route_at(void *userdata, __u32 index, struct forward_route *ret) {
	struct forward_route routes[FORWARD_CASE_ROUTES];
	struct reference *reference = userdata;

	if (index >= forward_case_routes(&reference->c, routes))
		return 0;
	*ret = routes[index];
	return 1;
}

/* Decides; after FORWARD_SEND the new message is in `out`, of the length returned. */
static size_t reference_run(struct reference *reference, const uint8_t *message, size_t length, uint8_t *out) {
	struct forward_tables tables = {reference, reference_link_at, reference_link_of, reference_route_at};
	struct forward_work *work = &reference->work;

	memset(work, 0, sizeof(*work));
	work->node = forward_case_node(&reference->c);
	work->arrival = forward_case_arrival(&reference->c);
	work->octets = message;
	work->length = (uint32_t)length;
	work->tables = &tables;
	work->head = reference->head;
	work->head_capacity = sizeof(reference->head);
	if (forward_decide(work) != FORWARD_SEND)
		return 0;
	forward_edit(work);
	size_t rest = length - work->verdict.rest_offset;
	memcpy(out, reference->head, work->verdict.head_length);
	memcpy(out + work->verdict.head_length, message + work->verdict.rest_offset, rest);
	return work->verdict.head_length + rest;
}

/* ---- comparing ---- */

static void expect_octets(const char *what, const uint8_t *is, size_t is_length, const uint8_t *should, size_t should_length) {
	if (is_length == should_length && memcmp(is, should, is_length) == 0)
		return;
	for (size_t i = 0; i < is_length && i < should_length; i++)
		if (is[i] != should[i]) {
			print_error("%s: octet %zu is %02x, not %02x\n", what, i, is[i], should[i]);
			break;
		}
	print_error("%s: %zu octets, not %zu\n", what, is_length, should_length);
	fail();
}

static void expect_ack(unsigned slot, uint32_t sequence, const uint8_t *ack, size_t length) {
	uint8_t plain[FRAME_ACK_LENGTH], packet[BED_PACKET];

	frame_write_ack(plain, sequence, frame_receiver_note(&bed.receiver[slot], sequence));
	expect_octets("ack", ack, length, packet, bed_expected(slot, plain, sizeof(plain), packet));
}

static void expect_passed(const struct bed_result *result, const uint8_t *packet, size_t length) {
	assert_int_equal(result->verdict, XDP_PASS);
	expect_octets("packet passed", result->packet, result->length, packet, length);
}

/* Was the datagram opened by nobody: its record may be opened in userspace now. */
static void expect_untouched(unsigned slot, uint64_t number) {
	assert_true(link_window_would_accept(&bed.tables->slots[slot].record, number));
}

static void expect_forwarded(unsigned from, unsigned to, uint32_t sequence_in, uint32_t sequence_out, const uint8_t *message,
			     size_t length, const struct bed_result *result) {
	uint8_t plain[BED_PACKET], packet[BED_PACKET];

	assert_int_equal(result->verdict, XDP_REDIRECT);
	assert_true(result->has_ack);
	expect_ack(from, sequence_in, result->ack,
		   result->ack_length); /* first: the numbers of one link are claimed in this order */
	frame_write_data_header(plain, sequence_out, length);
	memcpy(plain + FRAME_DATA_HEADER, message, length);
	expect_octets("message", result->packet, result->length, packet,
		      bed_expected(to, plain, FRAME_DATA_HEADER + length, packet));
}

static uint64_t punts_seen;

/* One message in, whatever must come of it. `may_punt`: the fast path's bounds are narrower. Returns enum forward_action. */
static int check_message(struct reference *reference, const uint8_t *message, size_t length, bool may_punt) {
	static uint8_t packet[BED_PACKET], out[BED_PACKET * 2];
	unsigned from = reference->c.arrival ? reference->c.arrival : 1;
	uint64_t number = bed.peer[from].state.tx_next;
	uint32_t sequence = bed.sequence[from];
	struct bed_result result;

	size_t packet_length = bed_data(from, message, length, packet);
	size_t out_length = reference_run(reference, message, length, out);
	const struct forward_verdict *verdict = &reference->work.verdict;
	uint32_t sequence_out = bed.tables->slots[verdict->slot % BED_SLOTS].tx_sequence;
	bed_run(packet, packet_length, &result);
	int action = verdict->action;
	bool large = FRAME_DATA_HEADER + length > FASTPATH_TEXT_MAX;
	if (action == FORWARD_SEND) {
		size_t ip =
			out_length + FRAME_DATA_HEADER + RECORD_HEADER + RECORD_TAG + 8 + (bed_is_ipv6(verdict->slot) ? 40 : 20);
		large |= ip > BED_MTU;
	}
	bool answered = action == FORWARD_DROP && (verdict->error_code || verdict->flags & FORWARD_CLOSE_LINK);
	if (may_punt && result.verdict == XDP_PASS) {
		uint64_t punts = bed_counters().passes[PASS_PUNT];
		if (punts != punts_seen)
			action = FORWARD_PUNT;
		punts_seen = punts;
	}
	if (large || answered || action == FORWARD_LOCAL || action == FORWARD_PUNT) {
		expect_passed(&result, packet, packet_length);
		expect_untouched(from, number);
		bed.sequence[from]--; /* as if it had not come */
		return action;
	}
	if (action == FORWARD_SEND) {
		expect_forwarded(from, verdict->slot, sequence, sequence_out, out, out_length, &result);
	} else {
		assert_int_equal(result.verdict, XDP_REDIRECT);
		assert_false(result.has_ack);
		expect_ack(from, sequence, result.packet, result.length);
	}
	assert_false(link_window_would_accept(&bed.tables->slots[from].record, number));
	return action;
}

/* ---- the table ---- */

/* FW-A03 to FW-F14 */
static void test_table(void **state) {
	static uint8_t message[FORWARD_CASE_OCTETS];
	unsigned sent = 0, tried = 0;

	(void)state;
	FASTPATH_OR_SKIP();
	bed_reset();
	for (size_t i = 0; i < forward_case_count; i++) {
		struct reference reference = {.c = forward_cases[i]};
		size_t length = forward_case_build(&forward_cases[i], message);
		if (forward_cases[i].own || length > 3000)
			continue;
		punts_seen = bed_counters().passes[PASS_PUNT];
		tried++;
		bed_tables_of(&forward_cases[i], FASTPATH_FORWARD);
		struct fastpath_counters before = bed_counters();
		int action = check_message(&reference, message, length, forward_cases[i].fast_punts);
		struct fastpath_counters after = bed_counters();
		sent += action == FORWARD_SEND;
		if (action == FORWARD_DROP && !forward_cases[i].error_code && !(forward_cases[i].flags & FORWARD_CLOSE_LINK) &&
		    FRAME_DATA_HEADER + length <= FASTPATH_TEXT_MAX)
			assert_int_equal(after.drops[forward_cases[i].reason], before.drops[forward_cases[i].reason] + 1);
	}
	assert_true(tried > 150);
	assert_true(sent > 50);
}

/* ---- random messages ---- */

static uint64_t random_state;

static uint32_t random_u32(void) {
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 16);
}

static uint32_t below(uint32_t bound) {
	return random_u32() % bound;
}

static void random_entry(char *text, size_t size, bool via) {
	static const uint8_t ids[] = {0x10, 0x20, 0x30, 0x50, 0x60, 0x70, 0x75, 0x77,
				      0x80, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xe0, 0xf0};
	char kind = "nnnnnoootzr*"[below(via ? 10 : 12)];
	size_t used = strlen(text);

	if (used > 0)
		used += (size_t)snprintf(text + used, size - used, " ");
	switch (kind) {
	case 'n':
	case 'r':
		snprintf(text + used, size - used, "%c%02x", kind, ids[below(sizeof(ids))]);
		break;
	case 'o':
	case 't':
		snprintf(text + used, size - used, "%c%x.%03x", kind, below(8), below(4) ? below(10) : below(0x1000));
		break;
	case 'z':
		snprintf(text + used, size - used, "z%u", below(40));
		break;
	default:
		snprintf(text + used, size - used, "*");
	}
}

/* Mostly such that go on; some damaged. */
static size_t random_message(uint8_t *message) {
	static char via[1024], destinations[512], options[256];
	static const uint8_t ttls[] = {0, 1, 2, 50, 99, 100, 101, 255};
	uint32_t count = below(8) ? below(5) : below(20);

	via[0] = destinations[0] = options[0] = '\0';
	for (uint32_t i = 0; i < count; i++)
		random_entry(via, sizeof(via), true);
	if (below(2))
		snprintf(destinations, sizeof(destinations), "%s", below(2) ? "n80" : "n20");
	count = 1 + (below(4) ? below(2) : below(12));
	for (uint32_t i = 0; i < count; i++)
		random_entry(destinations, sizeof(destinations), false);
	count = below(3) ? 0 : below(6);
	for (uint32_t i = 0; i < count; i++) {
		size_t used = strlen(options);
		snprintf(options + used, sizeof(options) - used, "%s%02x/%02x=%u", used ? " " : "", below(256),
			 below(4) ? below(2) << 2 : below(16), below(20));
	}
	struct forward_message m = {
		.ttl = below(8) ? 40 : ttls[below(sizeof(ttls))],
		.code = (uint16_t)(below(10) ? 1 + below(60) : random_u32()),
		.fragment = below(6) ? 0 : 0x80000000u | below(3) * 300u | (below(2) ? 0x40000000u : 0),
		.via = via,
		.destinations = destinations,
		.options = options,
		.size = below(1440),
		.transaction_id = random_u32() | 1,
	};
	size_t length = forward_message_build(&m, message);
	if (below(6) == 0)
		for (uint32_t i = below(4); i < 4; i++)
			message[below(below(2) ? 38 : (uint32_t)length)] = (uint8_t)random_u32();
	return length;
}

static void run_random(uint32_t messages, uint64_t seed, uint32_t pads) {
	static uint8_t message[FORWARD_CASE_OCTETS];
	static uint32_t actions[4];
	struct fastpath_counters before, after;

	memset(actions, 0, sizeof(actions));
	random_state = seed;
	bed_reset();
	bed_tables_of(&(struct forward_case){.row = ""}, FASTPATH_FORWARD);
	before = bed_counters();
	punts_seen = before.passes[PASS_PUNT];
	for (uint32_t i = 0; i < messages; i++) {
		struct reference reference = {.c = {.arrival = (uint16_t)(1 + below(9))}};
		if (pads && i % 100 == 0)
			for (unsigned slot = 1; slot < BED_SLOTS; slot++) {
				bed_fill_pads(slot, true, (uint16_t)(2 * slot), pads);
				bed_fill_pads(slot, false, (uint16_t)(2 * slot + 1), pads);
			}
		size_t length = random_message(message);
		uint64_t now = random_state;
		int action = check_message(&reference, message, length, true);
		actions[action]++;
		random_state = now;
	}
	after = bed_counters();
	print_message("# %u messages: %u sent, %u dropped, %u local, %u left to userspace; pads used %llu, computed %llu\n",
		      messages, actions[FORWARD_SEND], actions[FORWARD_DROP], actions[FORWARD_LOCAL], actions[FORWARD_PUNT],
		      (unsigned long long)(after.pad_hits - before.pad_hits),
		      (unsigned long long)(after.pad_misses - before.pad_misses));
	assert_true(actions[FORWARD_SEND] > messages / 5);
	assert_true(actions[FORWARD_DROP] > messages / 50);
	/* Only these kinds are left over, and of them the narrower bounds are a small part. */
	assert_int_equal(after.verdicts[FASTPATH_FAILED], before.verdicts[FASTPATH_FAILED]);
	assert_true(after.passes[PASS_PUNT] - before.passes[PASS_PUNT] < messages / 20);
	for (unsigned reason = 0; reason < FASTPATH_PASS_COUNT; reason++)
		if (reason != PASS_LOCAL && reason != PASS_PUNT && reason != PASS_ERROR && reason != PASS_MTU &&
		    reason != PASS_SIZE && after.passes[reason] != before.passes[reason]) {
			print_error("passed for reason %s\n", fastpath_pass_name(reason));
			fail();
		}
	if (pads)
		assert_true(after.pad_hits - before.pad_hits > messages / 4);
	else
		assert_true(after.pad_hits == before.pad_hits);
}

static uint32_t message_count(void) {
	const char *text = getenv("FASTPATH_MESSAGES");

	return text ? (uint32_t)strtoul(text, NULL, 10) : 20000;
}

static void test_random_computed(void **state) {
	(void)state;
	FASTPATH_OR_SKIP();
	run_random(message_count() / 2, 0x1234567, 0);
}

static void test_random_pads(void **state) {
	(void)state;
	FASTPATH_OR_SKIP();
	run_random(message_count() / 4, 0x7654321, 1472);
}

/* Some records fit their pads, others have to be computed. */
static void test_random_short_pads(void **state) {
	(void)state;
	FASTPATH_OR_SKIP();
	run_random(message_count() / 4, 0x5555aaaa, 512);
}

/* The kernel took it: at what expense? */
static void test_verified(void **state) {
	struct bpf_prog_info info = {0};
	uint32_t length = sizeof(info);

	(void)state;
	FASTPATH_OR_SKIP();
	assert_int_equal(bpf_obj_get_info_by_fd(fastpath_loader_program(bed.loader), &info, &length), 0);
	printf("# verified: %u instructions, %u octets of machine code\n", info.verified_insns, info.jited_prog_len);
	assert_in_range(info.verified_insns, 1000, 250000); /* the limit is a million */
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verified),	  cmocka_unit_test(test_table),
		cmocka_unit_test(test_random_computed),	  cmocka_unit_test(test_random_pads),
		cmocka_unit_test(test_random_short_pads),
	};

	return cmocka_run_group_tests_name("fastpath program", tests, bed_setup, bed_teardown);
}
