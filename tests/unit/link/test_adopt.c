/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dtls_links_adopt(): a daemon ends, the next one goes on with its links from the slots that a kernel program, which the test
 * plays, has kept. Same keys, numbers and window, no handshake; what cannot be gone on with is given back to the program.
 */
#include "link/dtls_internal.h"
#include "link_state.h"
#include "support/link_net.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { SLOTS = 4, CERTIFICATE_MAX = 4096, NUMBERS = 4096, ENDING = 0x10, OTHER = 0x20 };

static struct link_net net;
static struct link_node *ending, *other;
static struct link_relay relay;

/* What the program keeps. */
static struct kept {
	struct fastpath_slot slot;
	uint16_t number;
	uint8_t generation;
	bool initiated, attached, remembered;
	uint8_t certificate[CERTIFICATE_MAX];
	size_t certificate_length;
} kept[SLOTS];
static size_t detached;

static struct fastpath_slot *on_attach(void *userdata, uint16_t number, uint8_t generation, const struct record_state *state) {
	(void)userdata;
	for (unsigned i = 0; i < SLOTS; i++) {
		if (kept[i].attached)
			continue;
		kept[i] = (struct kept){.number = number, .generation = generation, .attached = true};
		assert_int_equal(record_state_share(state, &kept[i].slot.record), 0);
		kept[i].slot.flags = FASTPATH_SLOT_ACTIVE;
		return &kept[i].slot;
	}
	return NULL;
}

static void on_detach(void *userdata, uint16_t number) {
	(void)userdata;
	for (unsigned i = 0; i < SLOTS; i++) {
		if (kept[i].attached && kept[i].number == number) {
			kept[i] = (struct kept){0};
			detached++;
			return;
		}
	}
	fail_msg("slot %u was not attached", number);
}

static void on_remember(void *userdata, uint16_t number, uint8_t generation, bool initiated, struct octets certificate) {
	(void)userdata;
	for (unsigned i = 0; i < SLOTS; i++) {
		if (!kept[i].attached || kept[i].number != number)
			continue;
		assert_int_equal(kept[i].generation, generation);
		assert_in_range(certificate.length, 1, CERTIFICATE_MAX);
		memcpy(kept[i].certificate, certificate.data, certificate.length);
		kept[i].certificate_length = certificate.length;
		kept[i].initiated = initiated;
		kept[i].remembered = true;
	}
}

static bool on_next(void *userdata, uint16_t *position, struct dtls_kept *ret) {
	(void)userdata;
	while (*position < SLOTS) {
		struct kept *k = &kept[(*position)++];
		if (!k->attached || !k->remembered)
			continue;
		*ret = (struct dtls_kept){.number = k->number,
					  .generation = k->generation,
					  .initiated = k->initiated,
					  .certificate = OCTETS(k->certificate, k->certificate_length),
					  .slot = &k->slot};
		return true;
	}
	return false;
}

static const struct dtls_kernel hooks = {.attach = on_attach, .detach = on_detach, .remember = on_remember, .next = on_next};

/* ---- the wire: which numbers were used, and a record to send again ---- */

static uint8_t used[2][NUMBERS];
static unsigned repeated, handshakes;
static struct {
	uint8_t octets[LINK_DATAGRAM_MAX];
	size_t length;
} last_back;

static enum link_fate watch(struct link_relay *relay_, enum link_way way, const uint8_t *datagram, size_t length) {
	struct reader r = reader_of(datagram, length);
	struct record record;

	(void)relay_;
	while (r.position < length && record_next(&r, &record) == 0) {
		handshakes += record.epoch == 0;
		if (record.epoch == RECORD_EPOCH && record.number < NUMBERS)
			repeated += used[way][record.number]++ != 0;
	}
	if (way == LINK_BACK && length > RECORD_HEADER && datagram[0] == RECORD_APPLICATION) {
		memcpy(last_back.octets, datagram, length);
		last_back.length = length;
	}
	return LINK_PASS;
}

/* ---- a daemon that ends, and the next one ---- */

static struct address ending_address;
static uint16_t former_slot;

static int setup(void **state) {
	struct dtls_settings settings = {.kernel = &hooks};

	(void)state;
	memset(kept, 0, sizeof(kept));
	memset(used, 0, sizeof(used));
	detached = repeated = handshakes = 0;
	if (link_net_open(&net) < 0 || !(other = link_node_new(&net, "127.0.0.1", OTHER, NULL)) ||
	    !(ending = link_node_new(&net, "127.0.0.1", ENDING, &settings)) || link_relay_open(&net, other, &relay) < 0)
		return -1;
	relay.decide = watch;
	ending_address = link_node_address(ending);
	former_slot = link_node_connect(ending, &relay.front, OTHER);
	if (former_slot == LINK_SLOT_NONE || !link_net_until(&net, ending, LINK_EVENT_UP, 1) ||
	    !link_net_until(&net, other, LINK_EVENT_UP, 1))
		return -1;
	link_net_settle(&net);
	return handshakes > 0 ? 0 : -1; /* the watcher sees what passes */
}

static int teardown(void **state) {
	(void)state;
	link_relay_close(&net, &relay);
	link_net_close(&net);
	return 0;
}

/* As if by SIGKILL: what it says to the other side when it ends in order does not get there, and its slots stay. */
static void kill_daemon(void) {
	struct kept before[SLOTS];

	link_net_settle(&net);
	memcpy(before, kept, sizeof(before));
	relay.cut = true;
	link_node_free(ending);
	link_net_settle(&net);
	relay.cut = false;
	memcpy(kept, before, sizeof(kept));
	detached = 0;
}

static size_t next_daemon(const struct address *listen) {
	struct dtls_settings settings = {.kernel = &hooks, .listen = {*listen}, .listen_count = 1};

	ending = link_node_new(&net, "127.0.0.1", ENDING, &settings);
	assert_non_null(ending);
	return dtls_links_adopt(ending->links);
}

static void exchange(const char *forth, const char *back) {
	size_t there = other->message_count, here = ending->message_count;

	assert_int_equal(link_node_send(ending, former_slot, forth, strlen(forth), LINK_SEND_OWN), 0);
	assert_int_equal(link_node_send(other, link_node_last(other, LINK_EVENT_UP)->slot, back, strlen(back), LINK_SEND_OWN), 0);
	link_net_settle(&net);
	assert_int_equal(other->message_count, there + 1);
	assert_memory_equal(other->messages[there].data, forth, strlen(forth));
	assert_int_equal(ending->message_count, here + 1);
	assert_memory_equal(ending->messages[here].data, back, strlen(back));
}

/* ---- tests ---- */

static void test_goes_on(void **state) {
	(void)state;
	for (unsigned i = 0; i < 50; i++)
		exchange("before the end", "to the former daemon");
	assert_true(kept[0].remembered && kept[0].initiated);
	for (unsigned run = 0; run < 3; run++) {
		kill_daemon();
		link_claim_number(&kept[0].slot.record); /* one that the daemon took and did not live to send */
		uint64_t before = kept[0].slot.record.tx_next;
		handshakes = 0;
		assert_int_equal(next_daemon(&ending_address), 1);
		assert_int_equal(link_node_count(ending, LINK_EVENT_UP), 1);
		const struct link_event *up = link_node_last(ending, LINK_EVENT_UP);
		assert_int_equal(up->slot, former_slot);
		assert_true(up->initiated);
		assert_int_equal(ending->transport.ops->generation(ending->transport.object, former_slot), kept[0].generation);
		assert_non_null(ending->transport.ops->certificate(ending->transport.object, former_slot));
		for (unsigned i = 0; i < 50; i++)
			exchange("after the end", "to the next daemon");
		assert_true(kept[0].slot.record.tx_next > before + 50);
		assert_int_equal(handshakes, 0);
		assert_int_equal(dtls_links_counters(ending->links)->adopted, 1);
		assert_int_equal(dtls_links_counters(ending->links)->handshakes_started, 0);
	}
	assert_int_equal(repeated, 0);
	assert_int_equal(used[LINK_FORTH][kept[0].slot.record.tx_next - 1], 1);
	assert_int_equal(link_node_count(other, LINK_EVENT_UP), 1); /* the other side has not noticed */
	assert_int_equal(link_node_count(other, LINK_EVENT_DOWN), 0);
	assert_int_equal(detached, 0);
}

/* B-6.4.2.1-03: the window is the former daemon's, too. */
static void test_replay(void **state) {
	(void)state;
	exchange("one", "two");
	size_t length = last_back.length;
	uint8_t copy[LINK_DATAGRAM_MAX];
	memcpy(copy, last_back.octets, length);
	kill_daemon();
	assert_int_equal(next_daemon(&ending_address), 1);
	uint64_t before = dtls_links_counters(ending->links)->drop_replayed;
	link_relay_inject(&relay, LINK_BACK, copy, length);
	link_net_settle(&net);
	assert_int_equal(dtls_links_counters(ending->links)->drop_replayed, before + 1);
	assert_int_equal(ending->message_count, 0);
	exchange("three", "four");
}

/* It ends as any link does: the other side is told, with a number of its own, and the program gives the slot back. */
static void test_ends(void **state) {
	(void)state;
	kill_daemon();
	assert_int_equal(next_daemon(&ending_address), 1);
	ending->transport.ops->close(ending->transport.object, former_slot, LINK_CLOSED_BY_US);
	assert_true(link_net_until(&net, other, LINK_EVENT_DOWN, 1));
	assert_int_equal(link_node_last(other, LINK_EVENT_DOWN)->reason, LINK_CLOSED_BY_PEER);
	link_net_settle(&net);
	assert_int_equal(detached, 1);
	assert_int_equal(repeated, 0);
}

static void expect_given_up(const struct address *listen) {
	assert_int_equal(next_daemon(listen), 0);
	assert_int_equal(link_node_count(ending, LINK_EVENT_UP), 0);
	assert_int_equal(detached, 1);
	assert_int_equal(dtls_links_counters(ending->links)->adopted, 0);
	assert_int_equal(link_node_send(ending, former_slot, "x", 1, 0), -ENOTCONN);
}

static void test_other_socket(void **state) {
	struct address elsewhere = ending_address;

	(void)state;
	kill_daemon();
	elsewhere.port = 0;
	expect_given_up(&elsewhere);
}

/* B-11.1-06 */
static void test_certificate(void **state) {
	(void)state;
	kill_daemon();
	kept[0].certificate[kept[0].certificate_length / 2] ^= 1;
	expect_given_up(&ending_address);
}

static void test_no_certificate(void **state) {
	(void)state;
	kill_daemon();
	kept[0].certificate_length = 0;
	expect_given_up(&ending_address);
}

static void test_cipher(void **state) {
	(void)state;
	kill_daemon();
	kept[0].slot.record.cipher = 0;
	expect_given_up(&ending_address);
}

static void test_number_out_of_range(void **state) {
	(void)state;
	kill_daemon();
	kept[0].number = LINK_SLOTS_MAX;
	expect_given_up(&ending_address);
}

/* Two slots for one neighbor's address: the first one is gone on with. */
static void test_twice(void **state) {
	(void)state;
	kill_daemon();
	kept[1] = kept[0];
	kept[1].number = (uint16_t)(former_slot + 1) % LINK_SLOTS_MAX;
	assert_int_equal(next_daemon(&ending_address), 1);
	assert_int_equal(link_node_count(ending, LINK_EVENT_UP), 1);
	assert_int_equal(link_node_last(ending, LINK_EVENT_UP)->slot, former_slot);
	assert_int_equal(detached, 1);
	exchange("forth", "back");
}

static void test_nothing_kept(void **state) {
	struct dtls_settings settings = {.listen = {ending_address}, .listen_count = 1};

	(void)state;
	kill_daemon();
	memset(kept, 0, sizeof(kept));
	assert_int_equal(next_daemon(&ending_address), 0);
	link_node_free(ending);
	ending = link_node_new(&net, "127.0.0.1", ENDING, &settings);
	assert_int_equal(dtls_links_adopt(ending->links), 0); /* no program */
	assert_int_equal(detached, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(test_goes_on),	TEST(test_replay),	   TEST(test_ends),   TEST(test_other_socket),
		TEST(test_certificate), TEST(test_no_certificate), TEST(test_cipher), TEST(test_number_out_of_range),
		TEST(test_twice),	TEST(test_nothing_kept),
	};

	return cmocka_run_group_tests_name("links of a former daemon", tests, NULL, NULL);
}
