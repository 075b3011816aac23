/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Links whose counters are shared with a kernel program, which the tests play: with the functions the program uses, from another
 * thread, and on the wire. No record number is used twice, no record accepted twice, no ack of the daemon's messages lost.
 */
#include "link/dtls_internal.h"
#include "link_state.h"
#include "support/link_net.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { RECORDS = 20000, SECRET = 32 };

static struct link_net net;

static int setup(void **state) {
	(void)state;
	return link_net_open(&net);
}

static int teardown(void **state) {
	(void)state;
	link_net_close(&net);
	return 0;
}

/* --- two threads at one record state --- */

struct actor {
	struct record_layer layer;
	struct fastpath_slot *slot;
	int own;
	uint64_t numbers[RECORDS];
	uint32_t sequences[RECORDS];
	/* opening */
	const uint8_t (*records)[64];
	size_t length, opened;
	uint8_t got[RECORDS];
};

static void derive(struct record_state *state, bool client) {
	uint8_t master[RECORD_MASTER_SECRET] = {1}, client_random[SECRET] = {2}, server_random[SECRET] = {3};

	memset(state, 0, sizeof(*state));
	assert_int_equal(
		record_state_derive(state, RECORD_CHACHA20_POLY1305, "SHA256", master, client_random, server_random, client, 1), 0);
}

static void actor_init(struct actor *actor, struct fastpath_slot *slot, int own) {
	derive(&actor->layer.state, true);
	actor->slot = slot;
	actor->own = own;
	assert_int_equal(record_layer_start(&actor->layer), 0);
	record_layer_share(&actor->layer, &slot->record);
}

static void *seal_many(void *userdata) {
	struct actor *actor = userdata;

	for (size_t i = 0; i < RECORDS; i++) {
		uint8_t buffer[64] = {0};
		struct record record;
		actor->sequences[i] = link_claim_sequence(actor->slot, actor->own);
		ssize_t length = record_seal(&actor->layer, RECORD_APPLICATION, buffer, 9);
		struct reader r = reader_of(buffer, length < 0 ? 0 : (size_t)length);
		actor->numbers[i] = record_next(&r, &record) == 0 ? record.number : 0;
	}
	return NULL;
}

static void both(struct actor *one, struct actor *two, void *(*work)(void *userdata)) {
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, work, two), 0);
	work(one);
	pthread_join(thread, NULL);
}

static void test_numbers_are_unique(void **state) {
	static struct actor actors[2];
	static uint8_t seen[2 * RECORDS + 2], whose[2 * RECORDS];
	struct fastpath_slot slot = {0};
	struct record_state keys;

	(void)state;
	memset(actors, 0, sizeof(actors));
	memset(seen, 0, sizeof(seen));
	derive(&keys, true);
	assert_int_equal(record_state_share(&keys, &slot.record), 0);
	assert_int_equal(slot.record.tx_next, 1);
	actor_init(&actors[0], &slot, 1);
	actor_init(&actors[1], &slot, 0);
	both(&actors[0], &actors[1], seal_many);
	for (unsigned a = 0; a < 2; a++) {
		for (size_t i = 0; i < RECORDS; i++) {
			assert_in_range(actors[a].numbers[i], 1, 2 * RECORDS);
			assert_int_equal(seen[actors[a].numbers[i]]++, 0);
			assert_true(i == 0 || actors[a].sequences[i] > actors[a].sequences[i - 1]);
			assert_in_range(actors[a].sequences[i], 0, 2 * RECORDS - 1);
			whose[actors[a].sequences[i]] = (uint8_t)(1 + a);
		}
	}
	assert_int_equal(slot.record.tx_next, 2 * RECORDS + 1);
	assert_int_equal(actors[0].layer.state.tx_next, 1); /* the private one stands still */
	for (uint32_t s = 0; s < 2 * RECORDS; s++) {
		assert_int_not_equal(whose[s], 0);
		/* What is too old to tell goes to the daemon. */
		bool recent = 2 * RECORDS - s <= FASTPATH_OWN_SEQUENCES;
		assert_int_equal(link_sequence_is_kernels(&slot, s), recent && whose[s] == 2);
	}
	assert_int_equal(link_sequence_is_kernels(&slot, 2 * RECORDS), 0);
	record_layer_stop(&actors[0].layer);
	record_layer_stop(&actors[1].layer);
}

static void *open_all(void *userdata) {
	struct actor *actor = userdata;

	for (size_t i = 0; i < RECORDS; i++) {
		uint8_t copy[64], *plain;
		size_t length;
		struct record record;
		memcpy(copy, actor->records[i], sizeof(copy));
		struct reader r = reader_of(copy, actor->length);
		record_next(&r, &record);
		actor->got[i] = record_open(&actor->layer, &record, &plain, &length) == 0;
	}
	return NULL;
}

/* B-6.4.2.1-03 with two who open: at most one accepts a record, and alone one accepts all. */
static void test_one_accepts(void **state) {
	static struct actor actors[2];
	static uint8_t records[RECORDS][64];
	struct fastpath_slot slot = {0};
	struct record_layer sender = {0};
	struct record_state keys;
	ssize_t length = 0;

	(void)state;
	memset(actors, 0, sizeof(actors));
	derive(&sender.state, false);
	assert_int_equal(record_layer_start(&sender), 0);
	for (size_t i = 0; i < RECORDS; i++)
		length = record_seal(&sender, RECORD_APPLICATION, records[i], 9);
	derive(&keys, true);
	record_state_share(&keys, &slot.record);
	for (unsigned a = 0; a < 2; a++) {
		actor_init(&actors[a], &slot, 0);
		actors[a].records = records;
		actors[a].length = (size_t)length;
	}
	both(&actors[0], &actors[1], open_all);
	for (size_t i = 0; i < RECORDS; i++)
		assert_true(actors[0].got[i] + actors[1].got[i] <= 1);
	/* Everything in the window was accepted by one of them or is still accepted now, once. */
	for (size_t i = RECORDS - 200; i < RECORDS; i++)
		actors[0].opened += actors[0].got[i] + actors[1].got[i];
	memset(actors[0].got, 0, sizeof(actors[0].got));
	open_all(&actors[0]);
	for (size_t i = 0; i < RECORDS; i++)
		actors[0].opened += i < RECORDS - 200 ? 0 : actors[0].got[i];
	assert_int_equal(actors[0].opened, 200);
	memset(actors[0].got, 0, sizeof(actors[0].got));
	open_all(&actors[0]);
	for (size_t i = 0; i < RECORDS; i++)
		assert_int_equal(actors[0].got[i], 0);
	record_layer_stop(&actors[0].layer);
	record_layer_stop(&actors[1].layer);
	record_layer_stop(&sender);
}

static void test_share_refuses(void **state) {
	struct fastpath_record shared = {.tx_next = 77};
	struct record_state keys;

	(void)state;
	derive(&keys, true);
	keys.rx_end = 5;
	assert_int_equal(record_state_share(&keys, &shared), -EBUSY);
	keys.rx_end = 0;
	keys.cipher = RECORD_AES128_GCM;
	assert_int_equal(record_state_share(&keys, &shared), -EINVAL);
	assert_int_equal(shared.tx_next, 77);
}

static void test_used_up(void **state) {
	static struct actor actor;
	struct fastpath_slot slot = {0};
	uint8_t buffer[64] = {0};
	struct record_state keys;

	(void)state;
	memset(&actor, 0, sizeof(actor));
	derive(&keys, true);
	record_state_share(&keys, &slot.record);
	actor_init(&actor, &slot, 0);
	slot.record.tx_next = RECORD_NUMBER_MAX;
	assert_true(record_seal(&actor.layer, RECORD_APPLICATION, buffer, 9) > 0);
	assert_int_equal(record_seal(&actor.layer, RECORD_APPLICATION, buffer, 9), -EOVERFLOW);
	assert_int_equal(record_seal(&actor.layer, RECORD_APPLICATION, buffer, 9), -EOVERFLOW);
	record_layer_stop(&actor.layer);
}

/* --- numbers of the sender and on the wire --- */

static void test_acks_translated(void **state) {
	struct fastpath_slot slot = {.tx_sequence = UINT32_MAX - 5}; /* wraps within the test */
	struct dtls_shared shared = {.slot = &slot};
	struct sender_message *done;
	struct sender sender;
	uint32_t wire[10];
	bool kernels;

	(void)state;
	sender_init(&sender);
	for (unsigned i = 0; i < 10; i++) {
		wire[i] = dtls_shared_number(&shared, sender_sent(&sender, 1000, NULL));
		link_claim_sequence(&slot, 0); /* the kernel's, in between */
	}
	assert_int_equal(wire[9], (uint32_t)(UINT32_MAX - 5 + 18));
	/* Bits 2 and 4 on the wire are the two transmissions before; bits 1 and 3 the kernel's. */
	struct frame ack = {.type = FRAME_ACK, .sequence = wire[5], .received = 0x1e};
	assert_true(dtls_shared_ack(&shared, &sender, &ack, &kernels));
	assert_int_equal(ack.sequence, 5);
	assert_int_equal(ack.received, 0x6);
	assert_int_equal(slot.acked, wire[5] + 1);
	assert_int_equal(sender_acked(&sender, 2000, ack.sequence, ack.received, &done), SENDER_ACK_NEW);
	/* Every bit set, but bit 0: all transmissions before, not more. */
	ack = (struct frame){.type = FRAME_ACK, .sequence = wire[9], .received = 0xfffffffe};
	assert_true(dtls_shared_ack(&shared, &sender, &ack, &kernels));
	assert_int_equal(ack.received, 0x3fe);
	/* A constant mask stays recognizable. */
	ack = (struct frame){.type = FRAME_ACK, .sequence = wire[0], .received = 0xffffffff};
	assert_true(dtls_shared_ack(&shared, &sender, &ack, &kernels));
	assert_int_equal(ack.received & 1, 1);
	/* The kernel's, and one nobody sent. */
	ack = (struct frame){.type = FRAME_ACK, .sequence = wire[3] + 1};
	assert_false(dtls_shared_ack(&shared, &sender, &ack, &kernels));
	assert_true(kernels);
	uint32_t acked = slot.acked;
	ack = (struct frame){.type = FRAME_ACK, .sequence = slot.tx_sequence};
	assert_false(dtls_shared_ack(&shared, &sender, &ack, &kernels));
	assert_false(kernels);
	assert_int_equal(slot.acked, acked);
}

/* Acks find their transmission however much the kernel sent meanwhile. */
static void test_ack_after_burst(void **state) {
	struct fastpath_slot slot = {0};
	struct dtls_shared shared = {.slot = &slot};
	struct sender sender;
	bool kernels;

	(void)state;
	sender_init(&sender);
	uint32_t first = dtls_shared_number(&shared, sender_sent(&sender, 1000, NULL));
	for (unsigned i = 0; i < 3 * FASTPATH_OWN_SEQUENCES; i++)
		link_claim_sequence(&slot, 0);
	uint32_t second = dtls_shared_number(&shared, sender_sent(&sender, 1000, NULL));
	assert_false(link_sequence_is_kernels(&slot, first)); /* too old to tell: passed up */
	assert_false(link_sequence_is_kernels(&slot, second));
	struct frame ack = {.type = FRAME_ACK, .sequence = first};
	assert_true(dtls_shared_ack(&shared, &sender, &ack, &kernels));
	assert_int_equal(ack.sequence, 0);
	ack = (struct frame){.type = FRAME_ACK, .sequence = second, .received = 0xfffffffe};
	assert_true(dtls_shared_ack(&shared, &sender, &ack, &kernels));
	assert_int_equal(ack.sequence, 1);
	assert_int_equal(ack.received, 0);
}

/* --- whole links --- */

static struct {
	struct fastpath_slot slots[4];
	uint16_t of[4];
	size_t attached, detached, mtus, silences, heard;
	bool refuse;
} kernel;

static struct fastpath_slot *on_attach(void *userdata, uint16_t slot, uint8_t generation, const struct record_state *state) {
	(void)userdata;
	(void)generation;
	kernel.attached++;
	if (kernel.refuse)
		return NULL;
	for (size_t i = 0; i < 4; i++) {
		if (kernel.slots[i].flags)
			continue;
		if (record_state_share(state, &kernel.slots[i].record) < 0)
			return NULL;
		kernel.slots[i].flags = FASTPATH_SLOT_ACTIVE;
		kernel.of[i] = slot;
		return &kernel.slots[i];
	}
	return NULL;
}

static void on_detach(void *userdata, uint16_t slot) {
	(void)userdata;
	kernel.detached++;
	for (size_t i = 0; i < 4; i++)
		if (kernel.slots[i].flags && kernel.of[i] == slot)
			memset(&kernel.slots[i], 0, sizeof(kernel.slots[i]));
}

static void on_mtu(void *userdata, uint16_t slot, uint32_t mtu) {
	(void)userdata;
	(void)slot;
	(void)mtu;
	kernel.mtus++;
}

static void on_silent(void *userdata, uint16_t slot, bool heard) {
	(void)userdata;
	(void)slot;
	kernel.silences++;
	kernel.heard += heard;
}

static const struct dtls_kernel hooks = {.attach = on_attach, .detach = on_detach, .mtu = on_mtu, .silent = on_silent};

static struct fastpath_slot *slot_of(uint16_t slot) {
	for (size_t i = 0; i < 4; i++)
		if (kernel.slots[i].flags && kernel.of[i] == slot)
			return &kernel.slots[i];
	return NULL;
}

/* a shares its links with the kernel, b does not; connected over a relay. */
static void open_pair(struct link_relay *relay, struct link_node *nodes[2], uint16_t slots[2], const char *ciphers) {
	struct dtls_settings settings = {.kernel = &hooks, .cipher_list = ciphers};

	memset(&kernel, 0, sizeof(kernel));
	nodes[0] = link_node_new(&net, "127.0.0.1", 0x11, &settings);
	nodes[1] = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	assert_non_null(nodes[0]);
	assert_non_null(nodes[1]);
	assert_int_equal(link_relay_open(&net, nodes[1], relay), 0);
	slots[0] = link_node_connect(nodes[0], &relay->front, 0);
	assert_true(link_net_until(&net, nodes[0], LINK_EVENT_UP, 1));
	assert_true(link_net_until(&net, nodes[1], LINK_EVENT_UP, 1));
	slots[1] = link_node_last(nodes[1], LINK_EVENT_UP)->slot;
}

/* What the program does when it sends a message on: claims both numbers, frames, seals. */
static void kernel_send(struct link_relay *relay, struct record_layer *layer, struct fastpath_slot *slot, const char *text) {
	uint8_t buffer[256];
	size_t length = strlen(text);

	frame_write_data_header(buffer + RECORD_HEADER, link_claim_sequence(slot, 0), length);
	memcpy(buffer + RECORD_HEADER + FRAME_DATA_HEADER, text, length);
	ssize_t total = record_seal(layer, RECORD_APPLICATION, buffer, FRAME_DATA_HEADER + length);
	assert_true(total > 0);
	link_relay_inject(relay, LINK_FORTH, buffer, (size_t)total);
}

static void kernel_layer(struct record_layer *layer, struct fastpath_slot *slot) {
	memset(layer, 0, sizeof(*layer));
	memcpy(&layer->state, &slot->record, sizeof(layer->state));
	assert_int_equal(record_layer_start(layer), 0);
	record_layer_share(layer, &slot->record);
}

/* B-6.6.2-02, B-6.6.2-03: the other side sees one link, whoever of the two sends. */
static void test_link_with_kernel(void **state) {
	struct link_relay relay;
	struct record_layer layer;
	struct link_node *nodes[2];
	struct link_statistics statistics;
	uint16_t slots[2];

	(void)state;
	open_pair(&relay, nodes, slots, NULL);
	assert_int_equal(kernel.attached, 1);
	struct fastpath_slot *slot = slot_of(slots[0]);
	assert_non_null(slot);
	assert_int_equal(slot->record.family, AF_INET);
	assert_int_equal(slot->record.remote_port, relay.front.port);
	kernel_layer(&layer, slot);
	for (unsigned i = 0; i < 300; i++) {
		assert_int_equal(link_node_send(nodes[0], slots[0], "ours", 4, LINK_SEND_OWN), 0);
		kernel_send(&relay, &layer, slot, "kernel");
		if (i % 3 == 0)
			kernel_send(&relay, &layer, slot, "kernel");
		assert_int_equal(link_node_send(nodes[1], slots[1], "theirs", 6, LINK_SEND_OWN), 0);
		link_net_settle(&net);
	}
	assert_int_equal(nodes[1]->message_count, 700);
	assert_int_equal(nodes[0]->message_count, 300);
	assert_int_equal(slot->tx_sequence, 700);
	assert_int_equal(slot->acked, 700);
	nodes[0]->transport.ops->statistics(nodes[0]->transport.object, slots[0], &statistics);
	assert_int_equal(statistics.in_flight, 0);
	assert_int_equal(statistics.resent, 0);
	assert_int_equal(statistics.sent, 300);
	for (unsigned i = 0; i < 2; i++) {
		const struct dtls_counters *counters = dtls_links_counters(nodes[i]->links);
		assert_int_equal(counters->drop_malformed, 0);
		assert_int_equal(counters->drop_replayed, 0);
		assert_int_equal(counters->drop_forged, 0);
		assert_int_equal(counters->retransmissions, 0);
	}
	assert_int_equal((uint32_t)(slot->received >> 32), 299);
	assert_int_equal((uint32_t)slot->received, UINT32_MAX);
	/* Acks, data, close_notify: every number was used once, so the other side understands the good-bye. */
	nodes[0]->transport.ops->close(nodes[0]->transport.object, slots[0], LINK_CLOSED_BY_US);
	link_net_settle(&net);
	assert_int_equal(kernel.detached, 1);
	assert_int_equal(link_node_last(nodes[1], LINK_EVENT_DOWN)->reason, LINK_CLOSED_BY_PEER);
	record_layer_stop(&layer);
	link_relay_close(&net, &relay);
}

/* Messages of the daemon are resent and acknowledged although the kernel's numbers stand between. */
static enum link_fate drop_third(struct link_relay *relay, enum link_way way, const uint8_t *datagram, size_t length) {
	(void)way;
	(void)length;
	return datagram[0] == RECORD_APPLICATION && relay->number++ % 3 == 2 ? LINK_DROP : LINK_PASS;
}

static void test_loss(void **state) {
	struct link_relay relay;
	struct record_layer layer;
	struct link_node *nodes[2];
	struct link_statistics statistics;
	uint16_t slots[2];

	(void)state;
	open_pair(&relay, nodes, slots, NULL);
	struct fastpath_slot *slot = slot_of(slots[0]);
	kernel_layer(&layer, slot);
	relay.decide = drop_third;
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(link_node_send(nodes[0], slots[0], "ours", 4, LINK_SEND_OWN), 0);
		kernel_send(&relay, &layer, slot, "kernel");
		link_net_settle(&net);
	}
	relay.decide = NULL;
	for (unsigned i = 0; i < 40; i++) {
		kernel_send(&relay, &layer, slot, "kernel");
		link_net_pass(&net, 100000);
	}
	nodes[0]->transport.ops->statistics(nodes[0]->transport.object, slots[0], &statistics);
	assert_int_equal(statistics.in_flight, 0);
	assert_int_equal(statistics.queued, 0);
	assert_true(statistics.resent > 0);
	assert_int_equal(link_node_count(nodes[0], LINK_EVENT_DOWN), 0);
	size_t ours = 0;
	for (size_t i = 0; i < nodes[1]->message_count; i++)
		ours += nodes[1]->messages[i].length == 4;
	assert_true(ours >= 20);
	record_layer_stop(&layer);
	link_relay_close(&net, &relay);
}

/* A frame of the kernel that gets lost. */
static __attribute__((noinline)) void claim(struct fastpath_slot *slot) {
	assert_non_null(slot);
	link_claim_sequence(slot, 0);
}

/* FW-E10: the kernel's frames are not acknowledged any more. One that got lost is not enough. */
static void test_suspicion(void **state) {
	struct link_relay relay;
	struct link_node *nodes[2];
	uint16_t slots[2];

	(void)state;
	open_pair(&relay, nodes, slots, NULL);
	struct fastpath_slot *slot = slot_of(slots[0]);
	claim(slot);
	for (unsigned i = 0; i < 20; i++)
		link_net_pass(&net, 100000);
	assert_int_equal(link_node_count(nodes[0], LINK_EVENT_SUSPECT), 0);
	for (unsigned i = 0; i < 10; i++) {
		claim(slot);
		link_net_pass(&net, 100000);
	}
	assert_int_equal(link_node_count(nodes[0], LINK_EVENT_SUSPECT), 1);
	link_note_acked(slot, slot->tx_sequence - 1);
	link_net_pass(&net, 2 * DTLS_SHARED_IDLE_US);
	assert_int_equal(link_node_count(nodes[0], LINK_EVENT_RESTORED), 1);
	link_relay_close(&net, &relay);
}

/*
 * What the kernel sends gets lost, what the daemon sends arrives: told within a second. Not told for frames that are acknowledged,
 * to whomever of the two the acks come, nor for single ones lost, however long ago.
 */
static void test_silence(void **state) {
	struct link_relay relay;
	struct link_node *nodes[2];
	uint16_t slots[2];

	(void)state;
	open_pair(&relay, nodes, slots, NULL);
	struct fastpath_slot *slot = slot_of(slots[0]);
	for (unsigned i = 0; i < 30; i++) {
		claim(slot);
		link_note_acked(slot, slot->tx_sequence - 1);
		slot->last_acked_ns += 100000000;
		link_net_pass(&net, 100000);
	}
	assert_int_equal(kernel.silences, 0);
	for (unsigned i = 0; i < 6; i++) {
		claim(slot);
		link_net_pass(&net, 3000000);
	}
	assert_int_equal(kernel.silences, 0);
	struct record_layer layer;
	kernel_layer(&layer, slot);
	for (unsigned i = 0; i < 30; i++) { /* the kernel lets acks pass */
		kernel_send(&relay, &layer, slot, "kernel");
		link_net_pass(&net, 100000);
	}
	record_layer_stop(&layer);
	assert_int_equal(kernel.silences, 0);
	unsigned tenths = 0;
	for (; kernel.silences == 0 && tenths < 20; tenths++) {
		claim(slot);
		assert_int_equal(link_node_send(nodes[0], slots[0], "ours", 4, LINK_SEND_OWN), 0);
		link_net_pass(&net, 100000);
	}
	assert_int_equal(kernel.silences, 1);
	assert_int_equal(kernel.heard, 1);
	assert_in_range(tenths, 3, 7);
	for (unsigned i = 0; i < 20; i++) { /* the daemon alone */
		assert_int_equal(link_node_send(nodes[0], slots[0], "ours", 4, LINK_SEND_OWN), 0);
		link_net_pass(&net, 100000);
	}
	assert_int_equal(kernel.silences, 1);
	assert_int_equal(link_node_count(nodes[0], LINK_EVENT_DOWN), 0);
	link_relay_close(&net, &relay);
}

/*
 * The frames that got lost left in the same moment as the last ones that arrived, and the neighbor, whose own acks are lost, sends
 * nothing that would make more of them.
 */
static void test_silence_after_acks(void **state) {
	struct link_relay relay;
	struct link_node *nodes[2];
	uint16_t slots[2];
	unsigned waited = 0;

	(void)state;
	open_pair(&relay, nodes, slots, NULL);
	struct fastpath_slot *slot = slot_of(slots[0]);
	for (unsigned i = 0; i < 20; i++) {
		claim(slot);
		link_note_acked(slot, slot->tx_sequence - 1);
		slot->last_acked_ns += 10000000;
		for (unsigned lost = 0; i == 19 && lost < 4; lost++)
			claim(slot);
		link_net_pass(&net, 10000);
	}
	for (; kernel.silences == 0 && waited < 100; waited++)
		link_net_pass(&net, 10000);
	assert_int_equal(kernel.silences, 1);
	/* The neighbor sends again after 100 and 300 ms, and by then somebody has to be there who acknowledges. */
	assert_in_range(waited, 15, 29);
	link_relay_close(&net, &relay);
}

/* Links the kernel does not take, or may not: everything as without it. */
static void test_refused(void **state) {
	struct link_relay relay;
	struct link_node *nodes[2];
	uint16_t slots[2];

	(void)state;
	open_pair(&relay, nodes, slots, "ECDHE-ECDSA-AES128-GCM-SHA256");
	assert_int_equal(kernel.attached, 1);
	assert_null(slot_of(slots[0]));
	assert_int_equal(link_node_send(nodes[0], slots[0], "ours", 4, LINK_SEND_OWN), 0);
	link_net_settle(&net);
	assert_int_equal(nodes[1]->message_count, 1);
	nodes[0]->transport.ops->close(nodes[0]->transport.object, slots[0], LINK_CLOSED_BY_US);
	assert_int_equal(kernel.detached, 1);
	link_net_settle(&net);
	link_relay_close(&net, &relay);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_are_unique),
		cmocka_unit_test(test_one_accepts),
		cmocka_unit_test(test_share_refuses),
		cmocka_unit_test(test_used_up),
		cmocka_unit_test(test_acks_translated),
		cmocka_unit_test(test_ack_after_burst),
		cmocka_unit_test_setup_teardown(test_link_with_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loss, setup, teardown),
		cmocka_unit_test_setup_teardown(test_suspicion, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silence, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silence_after_acks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
	};

	return cmocka_run_group_tests_name("shared links", tests, NULL, NULL);
}
