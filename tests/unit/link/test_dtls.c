/* SPDX-License-Identifier: BSD-2-Clause */
/* Handshakes and links between objects of one process: who gets in, what gets through, how links end. */
#include "support/link_net.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static struct link_net net;

/* In place of the C library's: what goes to `no_buffers_port` finds no buffers, as with a full table of neighbours. */
static uint16_t no_buffers_port;
static unsigned no_buffers_count;

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
	for (unsigned i = 0; no_buffers_port && i < count; i++) {
		struct address to = address_of_sockaddr(messages[i].msg_hdr.msg_name);
		if (to.port != no_buffers_port)
			continue;
		if (i == 0) {
			no_buffers_count++;
			errno = ENOBUFS;
			return -1;
		}
		count = i;
	}
	return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}

static int setup(void **state) {
	(void)state;
	return link_net_open(&net);
}

static int teardown(void **state) {
	(void)state;
	link_net_close(&net);
	return 0;
}

/* Two nodes with a link; slots[0] at a (client), slots[1] at b. */
static void connect_pair(struct link_node *a, struct link_node *b, uint16_t slots[2]) {
	struct address to = link_node_address(b);
	size_t ups = link_node_count(b, LINK_EVENT_UP), ups_a = link_node_count(a, LINK_EVENT_UP);

	slots[0] = link_node_connect(a, &to, 0);
	assert_int_not_equal(slots[0], LINK_SLOT_NONE);
	assert_true(link_net_until(&net, a, LINK_EVENT_UP, ups_a + 1));
	assert_true(link_net_until(&net, b, LINK_EVENT_UP, ups + 1));
	slots[1] = link_node_last(b, LINK_EVENT_UP)->slot;
}

static void check_exchange(struct link_node *a, struct link_node *b, const uint16_t slots[2]) {
	struct link_node *nodes[] = {a, b};

	for (unsigned way = 0; way < 2; way++) {
		struct link_node *from = nodes[way], *to = nodes[1 - way];
		size_t before = to->message_count;
		uint8_t message[300];
		memset(message, 'a' + (int)way, sizeof(message));
		assert_int_equal(link_node_send(from, slots[way], message, sizeof(message), 0), 0);
		link_net_settle(&net);
		assert_int_equal(to->message_count, before + 1);
		assert_int_equal(to->messages[before].slot, slots[1 - way]);
		assert_int_equal(to->messages[before].length, sizeof(message));
		assert_memory_equal(to->messages[before].data, message, sizeof(message));
	}
}

/* B-6.6.4-01, B-6.5.1.13-01: both sides show certificates, over both families, and know each other's Node-ID. */
static void handshake(const char *host) {
	struct link_node *a = link_node_new(&net, host, 0x11, NULL), *b = link_node_new(&net, host, 0x22, NULL);
	struct id id_a = support_node_id(0x11), id_b = support_node_id(0x22);
	struct address to = link_node_address(b), from = link_node_address(a);
	struct link_statistics statistics;
	uint16_t slots[2];

	slots[0] = link_node_connect(a, &to, 0x22);
	assert_true(link_net_until(&net, a, LINK_EVENT_UP, 1));
	assert_true(link_net_until(&net, b, LINK_EVENT_UP, 1));
	assert_int_equal(a->events[0].slot, slots[0]);
	assert_true(a->events[0].initiated);
	assert_false(b->events[0].initiated);
	slots[1] = b->events[0].slot;
	struct certificate *of_b = a->transport.ops->certificate(a->transport.object, slots[0]);
	struct certificate *of_a = b->transport.ops->certificate(b->transport.object, slots[1]);
	assert_true(certificate_has_node_id(of_b, &id_b));
	assert_true(certificate_has_node_id(of_a, &id_a));
	struct address seen = a->transport.ops->address(a->transport.object, slots[0]);
	assert_true(address_equal(&seen, &to));
	seen = b->transport.ops->address(b->transport.object, slots[1]);
	assert_true(address_equal(&seen, &from));
	check_exchange(a, b, slots);
	a->transport.ops->statistics(a->transport.object, slots[0], &statistics);
	assert_string_equal(statistics.cipher, "CHACHA20-POLY1305");
	assert_int_equal(statistics.sent, 1);
	assert_int_equal(statistics.received, 1);
	assert_int_equal(statistics.in_flight, 0);
	const struct dtls_counters *counters = dtls_links_counters(b->links);
	assert_int_equal(counters->cookies_sent, 1);
	assert_int_equal(counters->handshakes_started, 1);
	assert_int_equal(counters->handshakes_done, 1);
	assert_int_equal(counters->handshakes_failed, 0);
	assert_int_equal(counters->acks_sent, 1);
	assert_int_equal(counters->acks_received, 1);
	assert_int_equal(counters->drop_unknown + counters->drop_forged + counters->drop_malformed + counters->drop_epoch, 0);
}

static void test_handshake_ipv4(void **state) {
	(void)state;
	handshake("127.0.0.1");
}

static void test_handshake_ipv6(void **state) {
	(void)state;
	handshake("::1");
}

/* One socket per family in one object: the peer's candidates decide which is used. */
static void test_both_families(void **state) {
	struct dtls_settings settings = {.listen_count = 2};
	struct address to;

	(void)state;
	address_parse("127.0.0.1", 1, &settings.listen[0]);
	address_parse("::1", 1, &settings.listen[1]);
	settings.listen[0].port = settings.listen[1].port = 0;
	struct link_node *a = link_node_new(&net, NULL, 0x11, &settings);
	struct link_node *b = link_node_new(&net, "127.0.0.1", 0x22, NULL), *c = link_node_new(&net, "::1", 0x33, NULL);
	uint16_t to_b[2], to_c[2];
	int fds[2];
	assert_int_equal(dtls_links_fds(a->links, fds, 2), 2);
	connect_pair(a, b, to_b);
	connect_pair(a, c, to_c);
	check_exchange(a, b, to_b);
	check_exchange(a, c, to_c);
	/* A family without a socket. */
	to = link_node_address(c);
	assert_int_equal(b->transport.ops->connect(b->transport.object, &to, 1, NULL, &to_b[0]), -EAFNOSUPPORT);
}

/* B-6.5.1.11-01 */
static void test_wrong_node_id(void **state) {
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	struct address to = link_node_address(b);

	(void)state;
	uint16_t slot = link_node_connect(a, &to, 0x33);
	assert_true(link_net_until(&net, a, LINK_EVENT_DOWN, 1));
	assert_int_equal(a->events[0].slot, slot);
	assert_int_equal(a->events[0].reason, LINK_HANDSHAKE_FAILED);
	link_net_settle(&net);
	assert_int_equal(a->event_count, 1);
	assert_int_equal(b->event_count, 0);
	assert_int_equal(dtls_links_counters(b->links)->handshakes_failed, 1);
}

static void test_untrusted(void **state) {
	struct support_overlay other;
	struct id id = support_node_id(0x44);
	uint16_t slots[2];

	(void)state;
	assert_int_equal(support_overlay_new(SUPPORT_OVERLAY_NAME, &other), 0);
	struct dtls_settings trusting = {.trust = other.trust}; /* believes in the other root only */
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL);
	struct link_node *stranger = link_node_with(&net, "127.0.0.1", support_credential(&other, "eve@example.org", &id, 1), NULL);
	struct link_node *doubter = link_node_new(&net, "127.0.0.1", 0x55, &trusting);
	struct address at_a = link_node_address(a), at_stranger = link_node_address(stranger),
		       at_doubter = link_node_address(doubter);

	/* The client's certificate is refused by the server, the server's by the client, and what the server refuses the client
	 * notices. */
	link_node_connect(stranger, &at_a, 0);
	assert_true(link_net_until(&net, stranger, LINK_EVENT_DOWN, 1));
	assert_int_equal(stranger->events[0].reason, LINK_HANDSHAKE_FAILED);
	link_node_connect(a, &at_stranger, 0);
	assert_true(link_net_until(&net, a, LINK_EVENT_DOWN, 1));
	assert_int_equal(a->events[0].reason, LINK_HANDSHAKE_FAILED);
	link_node_connect(a, &at_doubter, 0);
	assert_true(link_net_until(&net, a, LINK_EVENT_DOWN, 2));
	link_net_settle(&net);
	assert_int_equal(link_node_count(a, LINK_EVENT_UP) + link_node_count(stranger, LINK_EVENT_UP) +
				 link_node_count(doubter, LINK_EVENT_UP),
			 0);
	/* The rest of the overlay is not impressed. */
	struct link_node *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	connect_pair(b, a, slots);
	support_overlay_release(&other);
}

static void test_expired(void **state) {
	struct id id = support_node_id(0x66);
	struct credential *expired = support_credential_of_type(&net.overlay, KEY_ECDSA_P256, "old@example.org", &id, 1,
								SUPPORT_NOT_BEFORE_MS, SUPPORT_NOT_BEFORE_MS + 1000000);
	struct link_node *a = link_node_with(&net, "127.0.0.1", expired, NULL), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	struct address to = link_node_address(b);

	(void)state;
	link_node_connect(a, &to, 0);
	assert_true(link_net_until(&net, a, LINK_EVENT_DOWN, 1));
	assert_int_equal(b->event_count, 0);
}

/* RSA certificates are as good. */
static void test_rsa(void **state) {
	struct id id_a = support_node_id(0x11), id_b = support_node_id(0x22);
	struct credential *rsa_a = support_credential_of_type(&net.overlay, KEY_RSA_2048, "a@example.org", &id_a, 1,
							      SUPPORT_NOT_BEFORE_MS, SUPPORT_NOT_AFTER_MS);
	struct credential *rsa_b = support_credential_of_type(&net.overlay, KEY_RSA_2048, "b@example.org", &id_b, 1,
							      SUPPORT_NOT_BEFORE_MS, SUPPORT_NOT_AFTER_MS);
	struct link_node *a = link_node_with(&net, "127.0.0.1", rsa_a, NULL), *b = link_node_with(&net, "127.0.0.1", rsa_b, NULL);
	struct link_node *c = link_node_new(&net, "127.0.0.1", 0x33, NULL);
	uint16_t slots[2];

	(void)state;
	connect_pair(a, b, slots);
	check_exchange(a, b, slots);
	connect_pair(c, b, slots);
	check_exchange(c, b, slots);
	connect_pair(a, c, slots);
	check_exchange(a, c, slots);
}

static void test_cipher_suites(void **state) {
	static const struct {
		const char *list, *cipher;
	} cases[] = {
		{"ECDHE-ECDSA-CHACHA20-POLY1305", "CHACHA20-POLY1305"},
		{"ECDHE-ECDSA-AES128-GCM-SHA256", "AES-128-GCM"},
		{"ECDHE-ECDSA-AES256-GCM-SHA384", "AES-256-GCM"},
		{"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305", "CHACHA20-POLY1305"}, /* the server prefers */
	};
	struct link_node *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct dtls_settings settings = {.cipher_list = cases[i].list};
		struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, &settings);
		struct link_statistics statistics;
		uint16_t slots[2];
		connect_pair(a, b, slots);
		a->transport.ops->statistics(a->transport.object, slots[0], &statistics);
		assert_string_equal(statistics.cipher, cases[i].cipher);
		for (unsigned n = 0; n < 5; n++)
			check_exchange(a, b, slots);
		size_t overhead = 20 + 8 + 13 + 16 + 8 + 32 + (strstr(statistics.cipher, "GCM") ? 8 : 0);
		assert_int_equal(a->transport.ops->payload_max(a->transport.object, slots[0]), 1500 - overhead);
		link_node_free(a);
	}
}

static void test_bad_settings(void **state) {
	struct dtls_settings settings = {.runtime = NULL};
	struct id id = support_node_id(1);
	struct credential *credential = support_credential(&net.overlay, "a@example.org", &id, 1);
	struct runtime runtime = {.source = runtime_source_system()};
	struct transport_events events = {0};
	struct dtls_links *links = NULL, *first = NULL;
	char reason[200];

	(void)state;
	settings.runtime = &runtime;
	settings.credential = credential;
	settings.trust = net.overlay.trust;
	assert_int_equal(dtls_links_new(&settings, &events, &links, reason, sizeof(reason)), -EINVAL);
	address_parse("127.0.0.1", 1, &settings.listen[0]);
	settings.listen[0].port = 0;
	settings.listen_count = 1;
	settings.cipher_list = "ECDHE-ECDSA-AES128-SHA256"; /* CBC */
	assert_int_equal(dtls_links_new(&settings, &events, &links, reason, sizeof(reason)), -EINVAL);
	assert_non_null(strstr(reason, "not supported"));
	settings.cipher_list = "nonsense";
	assert_int_equal(dtls_links_new(&settings, &events, &links, reason, sizeof(reason)), -EINVAL);
	settings.cipher_list = NULL;
	settings.mtu = 100;
	assert_int_equal(dtls_links_new(&settings, &events, &links, reason, sizeof(reason)), -EINVAL);
	settings.mtu = 0;
	settings.keylog_path = "/nonexistent/keys";
	assert_int_equal(dtls_links_new(&settings, &events, &links, reason, sizeof(reason)), -ENOENT);
	settings.keylog_path = NULL;
	assert_int_equal(dtls_links_new(&settings, &events, &first, reason, sizeof(reason)), 0);
	settings.listen[0] = dtls_links_local(first);
	assert_int_equal(dtls_links_new(&settings, &events, &links, reason, sizeof(reason)), -EADDRINUSE);
	assert_non_null(strstr(reason, "127.0.0.1"));
	assert_null(links);
	dtls_links_free(first);
	dtls_links_free(NULL);
	credential_unref(credential);
}

/* B-6.7-03: every size up to payload_max() arrives as it was, nothing larger is taken. */
static void test_message_sizes(void **state) {
	struct dtls_settings settings = {.mtu = 1400};
	struct link_node *a = link_node_new(&net, "::1", 0x11, &settings), *b = link_node_new(&net, "::1", 0x22, NULL);
	uint8_t message[2000];
	uint16_t slots[2];

	(void)state;
	connect_pair(a, b, slots);
	size_t largest = a->transport.ops->payload_max(a->transport.object, slots[0]);
	assert_int_equal(largest, 1400 - 40 - 8 - 13 - 16 - 8 - 32);
	for (size_t length = 0; length <= largest; length += length + 13 > largest && length < largest ? largest - length : 13) {
		for (size_t i = 0; i < length; i++)
			message[i] = (uint8_t)(i + length);
		b->message_count = 0;
		assert_int_equal(link_node_send(a, slots[0], message, length, length & 1 ? LINK_SEND_OWN : 0), 0);
		link_net_settle(&net);
		assert_int_equal(b->message_count, 1);
		assert_int_equal(b->messages[0].length, length);
		assert_memory_equal(b->messages[0].data, message, length);
	}
	assert_int_equal(link_node_send(a, slots[0], message, largest + 1, 0), -EMSGSIZE);
	assert_int_equal(link_node_send(a, slots[0], message, sizeof(message), LINK_SEND_OWN), -EMSGSIZE);
	struct iovec parts[LINK_SEND_PARTS_MAX + 1] = {{message, 1}};
	assert_int_equal(a->transport.ops->send(a->transport.object, slots[0], parts, LINK_SEND_PARTS_MAX + 1, 0), -EMSGSIZE);
	assert_int_equal(a->transport.ops->send(a->transport.object, (uint16_t)(slots[0] + 1), parts, 1, 0), -ENOTCONN);
	assert_int_equal(a->transport.ops->send(a->transport.object, LINK_SLOT_NONE, parts, 1, 0), -ENOTCONN);
}

/* Many messages at once: the window opens, the queue drains, nothing is lost or repeated, order is kept on loopback. */
static void test_bulk(void **state) {
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	uint16_t slots[2];
	uint32_t number = 0;

	(void)state;
	connect_pair(a, b, slots);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 200; i++, number++) {
			uint8_t message[400] = {0};
			memcpy(message, &number, sizeof(number));
			assert_int_equal(link_node_send(a, slots[0], message, 100 + i, i % 7 == 0 ? LINK_SEND_OWN : 0), 0);
		}
		link_net_settle(&net);
	}
	assert_int_equal(b->message_count, number);
	for (uint32_t i = 0; i < number; i++) {
		assert_memory_equal(b->messages[i].data, &i, sizeof(i));
		assert_int_equal(b->messages[i].length, 100 + i % 200);
	}
	struct link_statistics statistics;
	a->transport.ops->statistics(a->transport.object, slots[0], &statistics);
	assert_int_equal(statistics.in_flight, 0);
	assert_int_equal(statistics.queued, 0);
	assert_int_equal(statistics.resent, 0);
	assert_true(statistics.window > 4);
	assert_int_equal(dtls_links_counters(b->links)->acks_sent, number);
}

/* LIMIT_LINK_QUEUE: what waits for the window is bounded, what is too much is refused and counted (B-6.6.3-01). */
static void test_queue_limit(void **state) {
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	struct link_statistics statistics;
	uint16_t slots[2];
	unsigned taken = 0;

	(void)state;
	connect_pair(a, b, slots);
	while (link_node_send(a, slots[0], "message", 7, taken & 1 ? LINK_SEND_OWN : 0) == 0)
		taken++;
	assert_int_equal(taken, 4 + LIMIT_LINK_QUEUE);
	assert_int_equal(link_node_send(a, slots[0], "message", 7, 0), -EAGAIN);
	assert_int_equal(dtls_links_counters(a->links)->drop_congestion, 2);
	a->transport.ops->statistics(a->transport.object, slots[0], &statistics);
	assert_int_equal(statistics.in_flight, 4);
	assert_int_equal(statistics.queued, LIMIT_LINK_QUEUE);
	link_net_settle(&net);
	assert_int_equal(b->message_count, taken);
	/* A closed link gives back what it held. */
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(link_node_send(a, slots[0], "message", 7, LINK_SEND_OWN), 0);
	a->transport.ops->close(a->transport.object, slots[0], LINK_CLOSED_BY_US);
}

static void test_close(void **state) {
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	uint16_t slots[2];

	(void)state;
	connect_pair(a, b, slots);
	uint8_t generation = a->transport.ops->generation(a->transport.object, slots[0]);
	a->transport.ops->close(a->transport.object, slots[0], LINK_CLOSED_BY_US);
	assert_int_equal(link_node_last(a, LINK_EVENT_DOWN)->reason, LINK_CLOSED_BY_US);
	assert_int_equal(link_node_send(a, slots[0], "x", 1, 0), -ENOTCONN);
	assert_null(a->transport.ops->certificate(a->transport.object, slots[0]));
	assert_int_equal(a->transport.ops->generation(a->transport.object, slots[0]), (generation + 1) % LINK_GENERATIONS);
	assert_true(link_net_until(&net, b, LINK_EVENT_DOWN, 1));
	assert_int_equal(link_node_last(b, LINK_EVENT_DOWN)->reason, LINK_CLOSED_BY_PEER);
	link_net_settle(&net);
	assert_int_equal(link_node_count(a, LINK_EVENT_DOWN), 1);
	a->transport.ops->close(a->transport.object, slots[0], LINK_CLOSED_BY_US); /* again: nothing */
	assert_int_equal(link_node_count(a, LINK_EVENT_DOWN), 1);
	/* The object as a whole says goodbye, too. */
	connect_pair(a, b, slots);
	link_node_free(a);
	assert_true(link_net_until(&net, b, LINK_EVENT_DOWN, 2));
	assert_int_equal(link_node_last(b, LINK_EVENT_DOWN)->reason, LINK_CLOSED_BY_PEER);
}

static void close_now(struct link_node *node, uint16_t slot) {
	node->transport.ops->close(node->transport.object, slot, LINK_CLOSED_BY_US);
}

static void send_hello(struct link_node *node, uint16_t slot) {
	assert_int_equal(link_node_send(node, slot, "hello", 5, LINK_SEND_OWN), 0);
}

/* Callbacks may close the very link they are called for. */
static void test_close_in_callbacks(void **state) {
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	struct address to = link_node_address(b);
	uint16_t slots[2];

	(void)state;
	b->on_up = close_now;
	link_node_connect(a, &to, 0);
	assert_true(link_net_until(&net, b, LINK_EVENT_DOWN, 1));
	assert_true(link_net_until(&net, a, LINK_EVENT_DOWN, 1));
	b->on_up = NULL;
	connect_pair(a, b, slots);
	b->on_receive = close_now;
	for (unsigned i = 0; i < 4; i++)
		send_hello(a, slots[0]);
	assert_true(link_net_until(&net, b, LINK_EVENT_DOWN, 2));
	assert_true(link_net_until(&net, a, LINK_EVENT_DOWN, 2));
	assert_int_equal(b->message_count, 1);
	b->on_receive = NULL;
	a->on_up = send_hello;
	b->on_up = send_hello;
	a->message_count = b->message_count = 0;
	connect_pair(a, b, slots);
	link_net_settle(&net);
	assert_int_equal(a->message_count, 1);
	assert_int_equal(b->message_count, 1);
}

static void connect_again(struct link_node *node, uint16_t slot) {
	struct address to = link_node_address(net.nodes[1]);

	assert_int_not_equal(link_node_connect(node, &to, 0), slot); /* still taken */
	node->on_down = NULL;
}

static void test_connect_in_down(void **state) {
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	uint16_t slots[2];

	(void)state;
	connect_pair(a, b, slots);
	a->on_down = connect_again;
	close_now(a, slots[0]);
	assert_true(link_net_until(&net, a, LINK_EVENT_UP, 2));
}

/* B-6.3.2.2-04: slots rotate, generations count; all slots taken is an error for us and a refusal for others. */
static void test_slots(void **state) {
	struct dtls_settings settings = {.links_max = 3};
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, &settings), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	struct address at_a = link_node_address(a);
	uint16_t slots[2], slot;
	uint8_t generations[3];

	(void)state;
	for (uint16_t i = 0; i < 3; i++) {
		generations[i] = a->transport.ops->generation(a->transport.object, i);
		assert_in_range(generations[i], 0, LINK_GENERATIONS - 1);
	}
	connect_pair(a, b, slots);
	uint16_t first = slots[0];
	for (unsigned i = 1; i < 7; i++) {
		close_now(a, slots[0]);
		link_net_settle(&net);
		connect_pair(a, b, slots);
		assert_int_equal(slots[0], (first + i) % 3);
		assert_int_equal(a->transport.ops->generation(a->transport.object, slots[0]),
				 (generations[slots[0]] + i / 3) % LINK_GENERATIONS);
	}
	static struct link_relay relay; /* closed by the teardown */
	assert_int_equal(link_relay_open(&net, b, &relay), 0);
	relay.cut = true;
	assert_int_equal(a->transport.ops->connect(a->transport.object, &relay.front, 1, NULL, &slot), 0);
	assert_int_equal(a->transport.ops->connect(a->transport.object, &relay.front, 1, NULL, &slot), 0);
	assert_int_equal(a->transport.ops->connect(a->transport.object, &relay.front, 1, NULL, &slot), -ENOBUFS);
	/* Another one who wants in finds no room. */
	struct link_node *c = link_node_new(&net, "127.0.0.1", 0x33, NULL);
	link_node_connect(c, &at_a, 0);
	assert_true(link_net_until(&net, c, LINK_EVENT_DOWN, 1));
	assert_true(dtls_links_counters(a->links)->drop_limit >= 1);
}

/* Several candidates: the first that answers is it (B-6.5.1.1-03); nobody there at all is told as soon as it is known. */
static void test_candidates_in_order(void **state) {
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	struct address candidates[3] = {[2] = link_node_address(b)};
	struct id id = support_node_id(0x22);
	uint16_t slot;

	(void)state;
	address_parse("127.0.0.9:1", 0, &candidates[0]); /* nobody listens at these ports */
	address_parse("127.0.0.9:2", 0, &candidates[1]);
	assert_int_equal(a->transport.ops->connect(a->transport.object, candidates, 3, &id, &slot), 0);
	link_net_pass(&net, 2 * DTLS_CANDIDATE_SECONDS * USEC_PER_SEC);
	assert_true(link_net_until(&net, a, LINK_EVENT_UP, 1));
	struct address at = a->transport.ops->address(a->transport.object, slot);
	assert_true(address_equal(&at, &candidates[2]));
	/* Hard ICMP errors end an attempt at once. */
	assert_int_equal(a->transport.ops->connect(a->transport.object, candidates, 1, &id, &slot), 0);
	assert_true(link_net_until(&net, a, LINK_EVENT_DOWN, 1));
	assert_int_equal(link_node_last(a, LINK_EVENT_DOWN)->slot, slot);
	assert_int_equal(link_node_last(a, LINK_EVENT_DOWN)->reason, LINK_UNREACHABLE);
}

/* Nobody answers, nobody says so: given up after LIMIT_HANDSHAKE_SECONDS. */
static void test_no_answer(void **state) {
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	static struct link_relay relay; /* closed by the teardown */

	(void)state;
	assert_int_equal(link_relay_open(&net, b, &relay), 0);
	relay.cut = true;
	uint16_t slot = link_node_connect(a, &relay.front, 0);
	link_net_settle(&net);
	link_net_pass(&net, LIMIT_HANDSHAKE_SECONDS * USEC_PER_SEC - 1000);
	assert_int_equal(a->event_count, 0);
	link_net_pass(&net, 2000);
	assert_int_equal(a->event_count, 1);
	assert_int_equal(a->events[0].slot, slot);
	assert_int_equal(a->events[0].reason, LINK_TIMED_OUT);
	assert_int_equal(runtime_next(&a->runtime), USEC_NEVER); /* nothing is left behind */
}

static void test_close_while_connecting(void **state) {
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	struct address to = link_node_address(b);

	(void)state;
	/* before anything was sent, and in the middle of the handshake */
	uint16_t slot = link_node_connect(a, &to, 0);
	assert_int_equal(link_node_send(a, slot, "x", 1, 0), -ENOTCONN);
	close_now(a, slot);
	assert_int_equal(a->event_count, 1);
	slot = link_node_connect(a, &to, 0);
	runtime_fire(&a->runtime);
	dtls_links_flush(a->links);
	close_now(a, slot);
	assert_int_equal(a->event_count, 2);
	link_net_settle(&net);
	assert_int_equal(a->event_count, 2);
	assert_int_equal(b->event_count, 0);
	link_net_pass(&net, (LIMIT_HANDSHAKE_SECONDS + 1) * USEC_PER_SEC);
	assert_int_equal(runtime_next(&a->runtime), USEC_NEVER);
	assert_int_equal(runtime_next(&b->runtime), USEC_NEVER);
}

/* B-11.1-06: a certificate that is no longer good ends its link. */
static void test_recheck(void **state) {
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	struct link_node *c = link_node_new(&net, "127.0.0.1", 0x33, NULL);
	struct id bad = support_node_id(0x22);
	struct document_settings document = {.sequence = 5, .bad_nodes = &bad, .bad_node_count = 1};
	uint16_t to_b[2], to_c[2];

	(void)state;
	connect_pair(a, b, to_b);
	connect_pair(a, c, to_c);
	dtls_links_recheck(a->links);
	assert_int_equal(link_node_count(a, LINK_EVENT_DOWN), 0);
	assert_int_equal(support_overlay_reconfigure(&net.overlay, &document), 0);
	dtls_links_recheck(a->links);
	assert_int_equal(link_node_count(a, LINK_EVENT_DOWN), 1);
	assert_int_equal(link_node_last(a, LINK_EVENT_DOWN)->slot, to_b[0]);
	assert_int_equal(link_node_last(a, LINK_EVENT_DOWN)->reason, LINK_REVOKED);
	assert_true(link_net_until(&net, b, LINK_EVENT_DOWN, 1));
	check_exchange(a, c, to_c);
}

/* Both call each other at the same moment through the same ports: one link, and both connect() have what they wanted. */
static void test_simultaneous_open(void **state) {
	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL);
		struct link_node *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
		struct address at_a = link_node_address(a), at_b = link_node_address(b);
		uint16_t slots[2] = {link_node_connect(a, &at_b, 0x22), link_node_connect(b, &at_a, 0x11)};
		assert_true(link_net_until(&net, a, LINK_EVENT_UP, 1));
		assert_true(link_net_until(&net, b, LINK_EVENT_UP, 1));
		link_net_settle(&net);
		assert_int_equal(a->event_count, 1);
		assert_int_equal(b->event_count, 1);
		assert_int_equal(a->events[0].slot, slots[0]);
		assert_int_equal(b->events[0].slot, slots[1]);
		check_exchange(a, b, slots);
		link_node_free(a);
		link_node_free(b);
	}
}

static void test_keylog(void **state) {
	char path[] = "/tmp/keylog-XXXXXX", line[600];
	struct stat status;
	uint16_t slots[2];

	(void)state;
	int fd = mkstemp(path);
	close(fd);
	unlink(path);
	struct dtls_settings settings = {.keylog_path = path};
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, &settings);
	struct link_node *b = link_node_new(&net, "127.0.0.1", 0x22, &settings);
	connect_pair(a, b, slots);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	FILE *file = fopen(path, "r");
	unsigned lines = 0;
	while (fgets(line, sizeof(line), file)) {
		assert_int_equal(strncmp(line, "CLIENT_RANDOM ", 14), 0);
		assert_int_equal(strlen(line), 14 + 64 + 1 + 96 + 1);
		lines++;
	}
	fclose(file);
	unlink(path);
	assert_int_equal(lines, 2); /* one of each side, in one file */
}

static void test_own_addresses(void **state) {
	struct dtls_settings settings = {.announce_count = 2, .listen_count = 1};
	struct address out[LINK_CANDIDATES_MAX];

	(void)state;
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL);
	struct address local = link_node_address(a);
	assert_int_equal(a->transport.ops->candidates(a->transport.object, out, LINK_CANDIDATES_MAX), 1);
	assert_true(address_equal(&out[0], &local));
	/* What is to be announced is announced. */
	address_parse("0.0.0.0", 1, &settings.listen[0]);
	settings.listen[0].port = 0;
	address_parse("192.0.2.1:6084", 0, &settings.announce[0]);
	address_parse("[2001:db8::1]:6084", 0, &settings.announce[1]);
	struct link_node *b = link_node_new(&net, NULL, 0x22, &settings);
	assert_int_equal(b->transport.ops->candidates(b->transport.object, out, LINK_CANDIDATES_MAX), 2);
	assert_true(address_equal(&out[0], &settings.announce[0]));
	assert_true(address_equal(&out[1], &settings.announce[1]));
	assert_int_equal(b->transport.ops->candidates(b->transport.object, out, 1), 1);
	/* A wildcard is replaced by what the interfaces have; never nothing, never the wildcard. */
	settings.announce_count = 0;
	struct link_node *c = link_node_new(&net, NULL, 0x33, &settings);
	size_t count = c->transport.ops->candidates(c->transport.object, out, LINK_CANDIDATES_MAX);
	assert_true(count >= 1);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(out[i].port, link_node_address(c).port);
		assert_int_not_equal(out[i].octets[0], 0);
		assert_true(count == 1 || out[i].octets[0] != 127);
	}
}

/* A wildcard socket answers from the address it was called at. */
static void test_wildcard_source(void **state) {
	static const char *const hosts[] = {"127.0.0.1", "::1"};
	static const char *const others[] = {"127.0.0.7", "::1"};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct dtls_settings settings = {.listen_count = 1};
		address_parse(i == 0 ? "0.0.0.0" : "::", 1, &settings.listen[0]);
		settings.listen[0].port = 0;
		struct link_node *a = link_node_new(&net, hosts[i], 0x11, NULL), *b = link_node_new(&net, NULL, 0x22, &settings);
		struct address to;
		address_parse(others[i], link_node_address(b).port, &to);
		uint16_t slots[2] = {link_node_connect(a, &to, 0x22)};
		assert_true(link_net_until(&net, a, LINK_EVENT_UP, 1));
		assert_true(link_net_until(&net, b, LINK_EVENT_UP, 1));
		slots[1] = b->events[0].slot;
		check_exchange(a, b, slots);
		link_node_free(a);
		link_node_free(b);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Datagrams the kernel has no room for are lost; those behind them, to other peers, are not held up. */
static void test_no_buffers(void **state) {
	(void)state;
	struct link_node *a = link_node_new(&net, "127.0.0.1", 0x11, NULL), *b = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	struct link_node *c = link_node_new(&net, "127.0.0.1", 0x33, NULL);
	static const uint8_t message[100] = {1};
	uint16_t to_b[2], to_c[2];

	connect_pair(a, b, to_b);
	connect_pair(a, c, to_c);
	size_t at_b = b->message_count, at_c = c->message_count;
	no_buffers_count = 0;
	no_buffers_port = link_node_address(b).port;
	assert_int_equal(link_node_send(a, to_b[0], message, sizeof(message), 0), 0);
	assert_int_equal(link_node_send(a, to_c[0], message, sizeof(message), 0), 0);
	link_net_settle(&net);
	no_buffers_port = 0;
	assert_true(no_buffers_count > 0);
	assert_int_equal(b->message_count, at_b);
	assert_int_equal(c->message_count, at_c + 1);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(test_handshake_ipv4),
		TEST(test_handshake_ipv6),
		TEST(test_both_families),
		TEST(test_wrong_node_id),
		TEST(test_untrusted),
		TEST(test_expired),
		TEST(test_rsa),
		TEST(test_cipher_suites),
		TEST(test_bad_settings),
		TEST(test_message_sizes),
		TEST(test_bulk),
		TEST(test_no_buffers),
		TEST(test_queue_limit),
		TEST(test_close),
		TEST(test_close_in_callbacks),
		TEST(test_connect_in_down),
		TEST(test_slots),
		TEST(test_candidates_in_order),
		TEST(test_no_answer),
		TEST(test_close_while_connecting),
		TEST(test_recheck),
		TEST(test_simultaneous_open),
		TEST(test_keylog),
		TEST(test_own_addresses),
		TEST(test_wildcard_source),
	};

	return cmocka_run_group_tests_name("dtls", tests, NULL, NULL);
}
