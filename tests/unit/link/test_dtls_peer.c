/* SPDX-License-Identifier: BSD-2-Clause */
/* What happens behind the record layer: a trusted peer that sends nonsense, and corners a healthy link never gets to. */
#include "link/dtls_internal.h"
#include "support/link_net.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct link_net net;
static struct link_node *a, *b;
static struct dtls_link *at_a;
static uint16_t slot_a, slot_b;

static void connect_nodes(void) {
	struct address to = link_node_address(b);
	size_t ups = link_node_count(b, LINK_EVENT_UP) + 1;

	slot_a = link_node_connect(a, &to, 0x22);
	assert_true(link_net_until(&net, b, LINK_EVENT_UP, ups));
	link_net_settle(&net);
	slot_b = link_node_last(b, LINK_EVENT_UP)->slot;
	at_a = a->links->slots[slot_a];
	assert_int_equal(at_a->state, DTLS_LINK_UP);
}

static int setup(void **state) {
	(void)state;
	if (link_net_open(&net) < 0)
		return -1;
	a = link_node_new(&net, "127.0.0.1", 0x11, NULL);
	b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	if (!a || !b)
		return -1;
	connect_nodes();
	return 0;
}

static int teardown(void **state) {
	(void)state;
	link_net_close(&net);
	return 0;
}

/* Sends `length` octets from a to b, sealed as they are. */
static void send_sealed(enum record_type type, const void *plain, size_t length) {
	struct dtls_socket *socket = a->links->sockets[0];
	uint8_t *buffer = dtls_io_reserve(a->links, socket, length + RECORD_OVERHEAD_MAX);

	memcpy(buffer + record_prefix(&at_a->record.state), plain, length);
	ssize_t total = record_seal(&at_a->record, type, buffer, length);
	assert_true(total > 0);
	dtls_io_commit(a->links, &at_a->endpoint->to, at_a->endpoint, (size_t)total, false);
	link_net_settle(&net);
}

static const struct dtls_counters *counters(void) {
	return dtls_links_counters(b->links);
}

static void check_exchange(void) {
	size_t before = b->message_count;

	assert_int_equal(link_node_send(a, slot_a, "hello", 5, 0), 0);
	link_net_settle(&net);
	assert_int_equal(b->message_count, before + 1);
}

/* whatever can be read as a data frame is acknowledged; what cannot is dropped, and the link goes on. */
static void test_malformed_frames(void **state) {
	static const struct {
		const char *octets;
		size_t length;
	} cases[] = {
		{"", 0},
		{"\x80", 1},
		{"\x80\0\0\0\0\0\0\5hell", 12},
		{"\x80\0\0\0\0\0\0\5hello!", 14},
		{"\x81\0\0\0\0\0\0\0", 8},
		{"\x7f\0\0\0\0\0\0\0\0", 9},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		send_sealed(RECORD_APPLICATION, cases[i].octets, cases[i].length);
		assert_int_equal(counters()->drop_malformed, i + 1);
	}
	assert_int_equal(counters()->acks_sent, 0);
	assert_int_equal(b->message_count, 0);
	send_sealed(RECORD_APPLICATION, "\x80\xff\xff\xff\xff\0\0\0", 8); /* any number, no octets */
	assert_int_equal(counters()->acks_sent, 1);
	assert_int_equal(b->message_count, 1);
	assert_int_equal(b->messages[0].length, 0);
	check_exchange();
}

/* Acks of what was never sent are counted and have no effect. */
static void test_bogus_ack(void **state) {
	(void)state;
	send_sealed(RECORD_APPLICATION, "\x81\0\0\0\0\xff\xff\xff\xfe", 9);
	send_sealed(RECORD_APPLICATION, "\x81\xff\xff\xff\xff\xff\xff\xff\xfe", 9);
	assert_int_equal(counters()->drop_malformed, 2);
	assert_int_equal(link_node_send(b, slot_b, "hello", 5, LINK_SEND_OWN), 0);
	link_net_settle(&net);
	assert_int_equal(a->message_count, 1);
	assert_int_equal(b->links->slots[slot_b]->sender.in_flight, 0);
	assert_null(b->links->slots[slot_b]->sender.own);
}

static void test_alerts(void **state) {
	(void)state;
	send_sealed(RECORD_ALERT, "\1", 1);
	send_sealed(RECORD_ALERT, "\1\0\0", 3);
	assert_int_equal(counters()->drop_malformed, 2);
	send_sealed(RECORD_ALERT, "\1\x5a", 2); /* a warning */
	assert_int_equal(b->event_count, 1);
	check_exchange();
	send_sealed(RECORD_ALERT, "\2\x28", 2);
	assert_int_equal(b->event_count, 2);
	assert_int_equal(b->events[1].what, LINK_EVENT_DOWN);
	assert_int_equal(b->events[1].reason, LINK_CLOSED_BY_PEER);
}

/* There is no renegotiation: such messages are ignored, and only Finished is worth an answer, now and then. */
static void test_late_handshake_messages(void **state) {
	uint64_t sent = counters()->datagrams_sent;

	(void)state;
	send_sealed(RECORD_HANDSHAKE, "\0\0\0\0", 4);
	send_sealed(RECORD_HANDSHAKE, "\1\0\0\0", 4);
	send_sealed(RECORD_HANDSHAKE, "", 0);
	send_sealed(RECORD_CHANGE_CIPHER_SPEC, "\1", 1);
	assert_int_equal(counters()->datagrams_sent, sent);
	send_sealed(RECORD_HANDSHAKE, "\x14", 1);
	assert_int_equal(counters()->datagrams_sent, sent + 1);
	send_sealed(RECORD_HANDSHAKE, "\x14", 1);
	assert_int_equal(counters()->datagrams_sent, sent + 1);
	link_net_pass(&net, 200000);
	send_sealed(RECORD_HANDSHAKE, "\x14", 1);
	assert_int_equal(counters()->datagrams_sent, sent + 2);
	/* Who sends data has had our Finished. */
	check_exchange();
	sent = counters()->datagrams_sent;
	link_net_pass(&net, 200000);
	send_sealed(RECORD_HANDSHAKE, "\x14", 1);
	assert_int_equal(counters()->datagrams_sent, sent);
	assert_int_equal(b->event_count, 1);
}

/* A record number is never used again: when they run out the link ends. */
static void test_numbers_run_out(void **state) {
	(void)state;
	at_a->record.state.tx_next = RECORD_NUMBER_MAX;
	assert_int_equal(link_node_send(a, slot_a, "last", 4, 0), 0);
	assert_int_equal(link_node_send(a, slot_a, "more", 4, 0), -ENOTCONN);
	assert_int_equal(link_node_send(a, slot_a, "more", 4, LINK_SEND_OWN), -ENOTCONN);
	link_net_settle(&net);
	assert_int_equal(b->message_count, 1);
	assert_int_equal(link_node_last(a, LINK_EVENT_DOWN)->reason, LINK_PROTOCOL_ERROR);
}

/* DTLS_MESSAGES_MAX bounds what all links hold together. */
static void test_message_limit(void **state) {
	(void)state;
	uint32_t before = a->links->message_count;
	a->links->message_count = DTLS_MESSAGES_MAX - 1;
	assert_int_equal(link_node_send(a, slot_a, "own", 3, LINK_SEND_OWN), 0);
	assert_int_equal(link_node_send(a, slot_a, "own", 3, LINK_SEND_OWN), -EAGAIN);
	assert_int_equal(link_node_send(a, slot_a, "transit", 7, 0), 0); /* nothing is kept of it */
	link_net_settle(&net);
	assert_int_equal(b->message_count, 2);
	assert_int_equal(a->links->message_count, DTLS_MESSAGES_MAX - 1); /* acknowledged and given back */
	a->links->message_count = before;
}

/* B-6.7-03: the MTU follows what the network reports, but not below what every network carries, and not upwards. */
static void test_mtu(void **state) {
	size_t overhead = 20 + 8 + 13 + 16 + 8 + 32;

	(void)state;
	assert_int_equal(a->transport.ops->payload_max(a->transport.object, slot_a), 1500 - overhead);
	dtls_link_set_mtu(at_a, 1300);
	assert_int_equal(a->transport.ops->payload_max(a->transport.object, slot_a), 1300 - overhead);
	dtls_link_set_mtu(at_a, 1400);
	assert_int_equal(a->transport.ops->payload_max(a->transport.object, slot_a), 1300 - overhead);
	dtls_link_set_mtu(at_a, 68);
	assert_int_equal(a->transport.ops->payload_max(a->transport.object, slot_a), DTLS_MTU_MIN - overhead);
	check_exchange();
}

static void send_burst(void) {
	static uint8_t message[300];

	for (unsigned i = 0; i < 120; i++) {
		message[0] = (uint8_t)i;
		assert_int_equal(link_node_send(a, slot_a, message, 100 + i % 3 * 50, 0), 0);
	}
	b->message_count = 0;
	link_net_settle(&net);
	assert_int_equal(b->message_count, 120);
	for (unsigned i = 0; i < 120; i++)
		assert_int_equal(b->messages[i].data[0], i);
}

/* Where the kernel or a device does not take runs of datagrams they leave one by one, and nothing is lost by finding that out. */
static void test_without_segmentation(void **state) {
	int fds[1], on = 1;

	(void)state;
	at_a->sender.window = at_a->sender.threshold = SENDER_WINDOW_MAX;
	send_burst();
	dtls_links_fds(a->links, fds, 1);
	bool could = a->links->sockets[0]->segment;
	/* Without checksums the kernel refuses to cut runs. */
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)), 0);
	send_burst();
	assert_false(could && a->links->sockets[0]->segment);
	send_burst();
}

/* The state a kernel path shares holds what it needs. */
static void test_record_state(void **state) {
	const struct record_state *shared = &at_a->record.state;
	struct address local = link_node_address(a), remote = link_node_address(b);

	(void)state;
	assert_int_equal(shared->family, AF_INET);
	assert_memory_equal(shared->local_address, local.octets, 16);
	assert_memory_equal(shared->remote_address, remote.octets, 16);
	assert_int_equal(shared->local_port, local.port);
	assert_int_equal(shared->remote_port, remote.port);
	assert_int_equal(shared->tx_next, 1); /* Finished took 0 */
	check_exchange();
	assert_int_equal(shared->tx_next, 2);
	assert_memory_equal(shared->tx_key, b->links->slots[slot_b]->record.state.rx_key, 32);
	assert_memory_equal(shared->rx_iv, b->links->slots[slot_b]->record.state.tx_iv, 12);
}

/* Endpoints come and go in any order, and every one is found. */
static void test_endpoint_table(void **state) {
	enum { COUNT = 3000 };
	static struct endpoint *endpoints[COUNT];
	struct runtime runtime = {.source = runtime_source_system()};
	struct endpoint_table table;
	unsigned seed = 3;

	(void)state;
	assert_int_equal(endpoint_table_init(&table, &runtime), 0);
	memset(endpoints, 0, sizeof(endpoints));
	for (unsigned i = 0; i < 20000; i++) {
		seed = seed * 1664525 + 1013904223;
		unsigned n = (seed >> 8) % COUNT;
		struct address address = {.family = AF_INET, .port = (uint16_t)(n + 1), .octets = {192, 0, 2, (uint8_t)n}};
		assert_ptr_equal(endpoint_find(&table, &address), endpoints[n]);
		if (endpoints[n]) {
			endpoint_remove(&table, endpoints[n]);
			free(endpoints[n]);
			endpoints[n] = NULL;
		} else {
			assert_int_equal(endpoint_add(&table, &address, &endpoints[n]), 0);
		}
	}
	for (unsigned n = 0; n < COUNT; n++) {
		struct address address = {.family = AF_INET, .port = (uint16_t)(n + 1), .octets = {192, 0, 2, (uint8_t)n}};
		assert_ptr_equal(endpoint_find(&table, &address), endpoints[n]);
	}
	endpoint_table_free(&table);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(test_malformed_frames),
		TEST(test_bogus_ack),
		TEST(test_alerts),
		TEST(test_late_handshake_messages),
		TEST(test_numbers_run_out),
		TEST(test_message_limit),
		TEST(test_mtu),
		TEST(test_without_segmentation),
		TEST(test_record_state),
		cmocka_unit_test(test_endpoint_table),
	};

	return cmocka_run_group_tests_name("dtls_peer", tests, NULL, NULL);
}
