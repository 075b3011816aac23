/* SPDX-License-Identifier: BSD-2-Clause */
/* Links over TLS: making and ending them, frames and acks, failure detection. B-6.6.5-01 B-6.6.2-01 B-6.5.1.13-01 B-13.3-01 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/log.h"
#include "link/frame.h"
#include "support/tls_net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_MAX = 5000 };

static struct tls_net net;
static struct tls_node *a, *b;
static uint16_t slots[2];

static int setup(void **state) {
	(void)state;
	log_level = -1;
	if (tls_net_open(&net) < 0)
		return -1;
	a = tls_node_new(&net, 0x11, LINKS_TLS, NULL);
	b = tls_node_new(&net, 0x22, LINKS_TLS, NULL);
	return a && b ? 0 : -1;
}

static int teardown(void **state) {
	(void)state;
	tls_net_close(&net);
	return 0;
}

static void connect_nodes(void) {
	struct address to = tls_node_address(b, true);
	size_t ups = b->counts[TLS_EVENT_UP];

	slots[0] = tls_node_connect(a, &to, 1, 0x22);
	assert_int_not_equal(slots[0], LINK_SLOT_NONE);
	assert_true(tls_net_until(&net, b, TLS_EVENT_UP, ups + 1));
	assert_true(tls_net_until(&net, a, TLS_EVENT_UP, ups + 1));
	slots[1] = b->last[TLS_EVENT_UP].slot;
	assert_int_equal(a->last[TLS_EVENT_UP].slot, slots[0]);
}

static struct link_statistics statistics_of(const struct tls_node *node, uint16_t slot) {
	struct link_statistics statistics;

	node->transport.ops->statistics(node->transport.object, slot, &statistics);
	return statistics;
}

static void check_exchange(size_t length) {
	struct tls_node *nodes[] = {a, b};
	uint8_t *message = malloc(length);

	for (unsigned way = 0; way < 2; way++) {
		struct tls_node *from = nodes[way], *to = nodes[1 - way];
		size_t before = to->message_count;
		memset(message, 'a' + (int)way, length);
		assert_int_equal(tls_node_send(from, slots[way], message, length), 0);
		assert_true(tls_net_until_message(&net, to, before + 1));
		assert_int_equal(to->message_length, length);
		assert_memory_equal(to->message, message, length);
	}
	free(message);
	tls_net_settle(&net);
}

/* --- making links --- */

static void test_handshake(void **state) {
	struct id id_a = support_node_id(0x11), id_b = support_node_id(0x22);
	struct address to = tls_node_address(b, true);

	(void)state;
	connect_nodes();
	assert_true(a->last[TLS_EVENT_UP].initiated);
	assert_false(b->last[TLS_EVENT_UP].initiated);
	assert_true(certificate_has_node_id(a->transport.ops->certificate(a->transport.object, slots[0]), &id_b));
	assert_true(certificate_has_node_id(b->transport.ops->certificate(b->transport.object, slots[1]), &id_a));
	struct address seen = a->transport.ops->address(a->transport.object, slots[0]);
	assert_true(address_equal(&seen, &to));
	check_exchange(300);
	check_exchange(MESSAGE_MAX); /* a stream needs no fragments */
	assert_int_equal(a->transport.ops->payload_max(a->transport.object, slots[0]), MESSAGE_MAX);
	struct link_statistics statistics = statistics_of(a, slots[0]);
	assert_string_equal(statistics.protocol, "TLS-TCP-FH-NO-ICE");
	assert_string_equal(statistics.cipher, "CHACHA20-POLY1305");
	assert_int_equal(statistics.sent, 2);
	assert_int_equal(statistics.received, 2);
	assert_int_equal(statistics.in_flight + statistics.queued, 0);
	const struct tls_counters *counters = tls_node_counters(b);
	assert_int_equal(counters->accepted, 1);
	assert_int_equal(counters->handshakes_done, 1);
	assert_int_equal(counters->handshakes_failed + counters->drop_limit + counters->drop_malformed, 0);
	assert_int_equal(counters->acks_sent, 2);
	assert_int_equal(counters->acks_received, 2);
	assert_int_equal(tls_node_send(a, slots[0], net.now_us ? (const void *)&net : NULL, MESSAGE_MAX + 1), -EMSGSIZE);
	assert_int_equal(tls_node_send(a, slots[0] ^ 1, "x", 1), -ENOTCONN);
}

/* TLS 1.2, with the suites that were asked for. */
static void test_suites(void **state) {
	struct dtls_settings settings = {.cipher_list = "ECDHE-ECDSA-AES128-GCM-SHA256"};

	(void)state;
	tls_node_free(a);
	a = tls_node_new(&net, 0x11, LINKS_TLS, &settings);
	connect_nodes();
	assert_string_equal(statistics_of(a, slots[0]).cipher, "AES-128-GCM");
	check_exchange(1000);
}

static void check_not_made(struct tls_node *node, enum link_reason reason) {
	assert_true(tls_net_until(&net, node, TLS_EVENT_DOWN, 1));
	assert_int_equal(node->last[TLS_EVENT_DOWN].reason, reason);
	assert_int_equal(node->counts[TLS_EVENT_UP], 0);
	tls_net_settle(&net);
	assert_int_equal(b->counts[TLS_EVENT_UP], 0);
	assert_int_equal(b->counts[TLS_EVENT_DOWN], 0); /* nobody knew of it */
}

/* B-6.5.1.11-01 */
static void test_wrong_node_id(void **state) {
	struct address to = tls_node_address(b, true);

	(void)state;
	tls_node_connect(a, &to, 1, 0x33);
	check_not_made(a, LINK_HANDSHAKE_FAILED);
}

/* Certificates of another overlay, refused by the one who connects and by the one who is connected to. */
static void test_foreign_certificate(void **state) {
	struct support_overlay other = {0};
	struct id id = support_node_id(0x44);
	struct address to;

	(void)state;
	assert_int_equal(support_overlay_new(SUPPORT_OVERLAY_NAME, &other), 0);
	struct dtls_settings trusting = {.trust = other.trust};
	/* It trusts b's overlay and has a certificate of another. */
	struct tls_node *c = tls_node_with(&net, support_credential(&other, "eve@example.org", &id, 1), LINKS_TLS, NULL);
	to = tls_node_address(b, true);
	tls_node_connect(c, &to, 1, 0x22);
	check_not_made(c, LINK_HANDSHAKE_FAILED);
	/* The other way round. */
	struct tls_node *d = tls_node_with(&net, support_credential(&net.overlay, "eve@example.org", &id, 1), LINKS_TLS, &trusting);
	tls_node_connect(d, &to, 1, 0x22);
	check_not_made(d, LINK_HANDSHAKE_FAILED);
	assert_int_equal(tls_node_counters(b)->handshakes_failed, 2);
	tls_node_free(c);
	tls_node_free(d);
	support_overlay_release(&other);
}

/* No certificate at all. */
static void test_no_certificate(void **state) {
	struct stranger stranger;
	uint8_t octet;

	(void)state;
	assert_int_equal(stranger_open(&net, b, NULL, &stranger), 0);
	if (stranger_tls(&stranger, NULL, NULL, TLS1_3_VERSION) == 0) /* there the client learns later */
		assert_int_equal(stranger_read(&stranger, &octet, 1), -ECONNRESET);
	stranger_close(&stranger);
	assert_int_equal(stranger_open(&net, b, NULL, &stranger), 0);
	assert_int_equal(stranger_tls(&stranger, NULL, NULL, TLS1_2_VERSION), -ECONNRESET);
	stranger_close(&stranger);
	assert_int_equal(stranger_open(&net, b, NULL, &stranger), 0);
	assert_int_equal(stranger_tls(&stranger, a->credential, NULL, TLS1_1_VERSION), -ECONNRESET);
	stranger_close(&stranger);
	tls_net_settle(&net);
	assert_int_equal(b->counts[TLS_EVENT_UP], 0);
	assert_int_equal(tls_node_counters(b)->handshakes_failed, 3);
}

/* Nobody listens at the first candidate, and the second is no address for TLS. */
static void test_candidates(void **state) {
	struct address to[3];

	(void)state;
	to[2] = to[1] = to[0] = tls_node_address(b, true);
	tls_node_free(a);
	a = tls_node_new(&net, 0x11, LINKS_TLS, NULL);
	struct tls_node *gone = tls_node_new(&net, 0x33, LINKS_TLS, NULL);
	to[0] = tls_node_address(gone, true);
	tls_node_free(gone);
	to[1].protocol = 0;
	assert_int_equal(tls_node_connect(a, &to[1], 1, 0), LINK_SLOT_NONE);
	slots[0] = tls_node_connect(a, to, 3, 0x22);
	assert_true(tls_net_until(&net, a, TLS_EVENT_UP, 1));
	assert_true(tls_net_until(&net, b, TLS_EVENT_UP, 1));
	slots[1] = b->last[TLS_EVENT_UP].slot;
	check_exchange(10);
	/* Nothing but that one. */
	tls_node_connect(a, to, 1, 0);
	assert_true(tls_net_until(&net, a, TLS_EVENT_DOWN, 1));
	assert_int_equal(a->last[TLS_EVENT_DOWN].reason, LINK_UNREACHABLE);
}

/* A connection without an answer is given up: the next candidate, then the end. */
static void test_silent_server(void **state) {
	struct address to = {.family = AF_INET}, seen;
	struct sockaddr_storage name;

	(void)state;
	address_parse("127.0.0.1", 1, &to);
	to.port = 0;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t length = address_to_sockaddr(&to, &name);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, length), 0);
	assert_int_equal(listen(fd, 4), 0);
	length = sizeof(name);
	getsockname(fd, (struct sockaddr *)&name, &length);
	struct address candidates[2] = {address_of_sockaddr((struct sockaddr *)&name), tls_node_address(b, true)};
	candidates[0].protocol = IPPROTO_TCP;
	uint16_t slot = tls_node_connect(a, candidates, 2, 0x22);
	tls_net_settle(&net);
	seen = a->transport.ops->address(a->transport.object, slot);
	assert_true(address_equal(&seen, &candidates[0]));
	tls_net_pass(&net, (TLS_CANDIDATE_SECONDS - 1) * USEC_PER_SEC);
	assert_int_equal(a->counts[TLS_EVENT_UP], 0);
	tls_net_pass(&net, 2 * USEC_PER_SEC);
	assert_true(tls_net_until(&net, a, TLS_EVENT_UP, 1));
	/* As the only one it gets the whole time. */
	tls_node_connect(a, candidates, 1, 0);
	tls_net_settle(&net);
	tls_net_pass(&net, (LIMIT_HANDSHAKE_SECONDS - 1) * USEC_PER_SEC);
	assert_int_equal(a->counts[TLS_EVENT_DOWN], 0);
	tls_net_pass(&net, 2 * USEC_PER_SEC);
	assert_int_equal(a->counts[TLS_EVENT_DOWN], 1);
	close(fd);
}

/* --- ending links --- */

static void test_close(void **state) {
	(void)state;
	connect_nodes();
	uint8_t generation = a->transport.ops->generation(a->transport.object, slots[0]);
	a->transport.ops->close(a->transport.object, slots[0], LINK_CLOSED_BY_US);
	assert_int_equal(a->counts[TLS_EVENT_DOWN], 1); /* before close() returns */
	assert_int_equal(a->last[TLS_EVENT_DOWN].reason, LINK_CLOSED_BY_US);
	assert_int_equal(a->transport.ops->generation(a->transport.object, slots[0]), (generation + 1) % LINK_GENERATIONS);
	assert_true(tls_net_until(&net, b, TLS_EVENT_DOWN, 1));
	assert_int_equal(b->last[TLS_EVENT_DOWN].reason, LINK_CLOSED_BY_PEER);
	assert_int_equal(b->last[TLS_EVENT_DOWN].slot, slots[1]);
	assert_int_equal(tls_node_send(b, slots[1], "x", 1), -ENOTCONN);
	connect_nodes();
	check_exchange(100);
}

/* What was sent just before the end still arrives. */
static void test_close_after_send(void **state) {
	(void)state;
	connect_nodes();
	assert_int_equal(tls_node_send(a, slots[0], "last words", 10), 0);
	a->transport.ops->close(a->transport.object, slots[0], LINK_CLOSED_BY_US);
	assert_true(tls_net_until(&net, b, TLS_EVENT_DOWN, 1));
	assert_int_equal(b->message_count, 1);
	assert_memory_equal(b->message, "last words", 10);
}

/* B-11.1-06: a bad node loses its link. */
static void test_revoked(void **state) {
	struct id bad = support_node_id(0x11);
	const struct document_settings settings = {.sequence = 2, .bad_nodes = &bad, .bad_node_count = 1};

	(void)state;
	connect_nodes();
	assert_int_equal(support_overlay_reconfigure(&net.overlay, &settings), 0);
	links_recheck(b->links);
	assert_int_equal(b->counts[TLS_EVENT_DOWN], 1);
	assert_int_equal(b->last[TLS_EVENT_DOWN].reason, LINK_REVOKED);
	assert_true(tls_net_until(&net, a, TLS_EVENT_DOWN, 1));
	/* And gets none. */
	struct address to = tls_node_address(b, true);
	tls_node_connect(a, &to, 1, 0x22);
	assert_true(tls_net_until(&net, a, TLS_EVENT_DOWN, 2));
	assert_int_equal(b->counts[TLS_EVENT_UP], 1);
}

/* A renewed certificate is shown in handshakes from now on. */
static void test_renewed(void **state) {
	struct id ids[] = {support_node_id(0x11), support_node_id(0x12)};
	struct credential *renewed = support_credential(&net.overlay, "node17@example.org", ids, 2);

	(void)state;
	connect_nodes();
	assert_int_equal(links_set_credential(a->links, renewed), 0);
	assert_false(certificate_has_node_id(b->transport.ops->certificate(b->transport.object, slots[1]), &ids[1]));
	check_exchange(10);
	a->transport.ops->close(a->transport.object, slots[0], LINK_CLOSED_BY_US);
	assert_true(tls_net_until(&net, b, TLS_EVENT_DOWN, 1));
	connect_nodes();
	assert_true(certificate_has_node_id(b->transport.ops->certificate(b->transport.object, slots[1]), &ids[1]));
	credential_unref(renewed);
}

/* --- frames, by hand --- */

static struct stranger open_stranger(int version) {
	struct stranger stranger;

	assert_int_equal(stranger_open(&net, b, NULL, &stranger), 0);
	assert_int_equal(stranger_tls(&stranger, a->credential, NULL, version), 0);
	assert_true(tls_net_until(&net, b, TLS_EVENT_UP, 1));
	slots[1] = b->last[TLS_EVENT_UP].slot;
	return stranger;
}

/* Each frame is acknowledged at once, with those seen before it (B-6.6.2-03, B-6.6.2-04); octet by octet. */
static void test_frames(void **state) {
	struct stranger stranger = open_stranger(TLS1_2_VERSION);
	uint8_t frame[FRAME_DATA_HEADER + 5], ack[FRAME_ACK_LENGTH], expected[FRAME_ACK_LENGTH];
	uint32_t seen[] = {0, 2, 6}; /* bit N - M for frame M */

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		frame_write_data_header(frame, i, 5);
		memcpy(frame + FRAME_DATA_HEADER, "hello", 5);
		for (size_t j = 0; j < sizeof(frame); j++)
			assert_int_equal(stranger_write(&stranger, &frame[j], 1), 0);
		assert_int_equal(stranger_read(&stranger, ack, sizeof(ack)), 0);
		frame_write_ack(expected, i, seen[i]);
		assert_memory_equal(ack, expected, sizeof(ack));
	}
	assert_int_equal(b->message_count, 3);
	/* Ours begin at 0, too (B-6.6.2-02). */
	uint8_t data[FRAME_DATA_HEADER + 3];
	assert_int_equal(tls_node_send(b, slots[1], "abc", 3), 0);
	assert_int_equal(stranger_read(&stranger, data, sizeof(data)), 0);
	frame_write_data_header(frame, 0, 3);
	assert_memory_equal(data, frame, FRAME_DATA_HEADER);
	assert_memory_equal(data + FRAME_DATA_HEADER, "abc", 3);
	/* Acks of what never was. */
	frame_write_ack(ack, 70000, 0);
	assert_int_equal(stranger_write(&stranger, ack, sizeof(ack)), 0);
	tls_net_settle(&net);
	assert_int_equal(tls_node_counters(b)->drop_malformed, 1);
	assert_int_equal(b->counts[TLS_EVENT_DOWN], 0);
	stranger_close(&stranger);
	assert_true(tls_net_until(&net, b, TLS_EVENT_DOWN, 1)); /* without close_notify */
}

/* B-6.6-01: a message above max-message-size arrives, so that it can be refused; far above, the link ends. */
static void test_oversize(void **state) {
	struct stranger stranger = open_stranger(TLS1_3_VERSION);
	size_t longest = MESSAGE_MAX + TLS_OVERSIZE;
	uint8_t *frame = calloc(1, FRAME_DATA_HEADER + longest);

	(void)state;
	frame_write_data_header(frame, 0, longest);
	assert_int_equal(stranger_write(&stranger, frame, FRAME_DATA_HEADER + longest), 0);
	assert_true(tls_net_until_message(&net, b, 1));
	assert_int_equal(b->message_length, longest);
	frame_write_data_header(frame, 1, longest + 1);
	stranger_write(&stranger, frame, FRAME_DATA_HEADER);
	assert_true(tls_net_until(&net, b, TLS_EVENT_DOWN, 1));
	assert_int_equal(b->last[TLS_EVENT_DOWN].reason, LINK_PROTOCOL_ERROR);
	assert_int_equal(tls_node_counters(b)->drop_malformed, 1);
	stranger_close(&stranger);
	free(frame);
}

static void test_no_frame(void **state) {
	struct stranger stranger = open_stranger(TLS1_3_VERSION);

	(void)state;
	stranger_write(&stranger, "GET / HTTP/1.1\r\n\r\n", 18);
	assert_true(tls_net_until(&net, b, TLS_EVENT_DOWN, 1));
	assert_int_equal(b->last[TLS_EVENT_DOWN].reason, LINK_PROTOCOL_ERROR);
	assert_true(stranger_closed(&stranger));
	stranger_close(&stranger);
}

/* --- failure detection (B-6.6.5-01, B-6.6-02) --- */

static void test_suspect(void **state) {
	struct stranger stranger = open_stranger(TLS1_3_VERSION);
	uint8_t ack[FRAME_ACK_LENGTH];

	(void)state;
	/* Silence of somebody who owes nothing means nothing. */
	tls_net_pass(&net, 600 * USEC_PER_SEC);
	assert_int_equal(b->counts[TLS_EVENT_SUSPECT] + b->counts[TLS_EVENT_DOWN], 0);
	assert_int_equal(tls_node_send(b, slots[1], "abc", 3), 0);
	tls_net_settle(&net);
	tls_net_pass(&net, TLS_RTO_INITIAL_US - 100000);
	assert_int_equal(b->counts[TLS_EVENT_SUSPECT], 0);
	tls_net_pass(&net, 200000);
	assert_int_equal(b->counts[TLS_EVENT_SUSPECT], 1);
	/* Late, but it lives. */
	tls_net_pass(&net, 10 * USEC_PER_SEC);
	frame_write_ack(ack, 0, 0);
	assert_int_equal(stranger_write(&stranger, ack, sizeof(ack)), 0);
	assert_true(tls_net_until(&net, b, TLS_EVENT_RESTORED, 1));
	/* RFC 6298: the first sample, of about 11 s, and twice that again as its variation. */
	struct link_statistics statistics = statistics_of(b, slots[1]);
	assert_in_range(statistics.rtt_us, 11000000, 11300000);
	assert_in_range(statistics.rto_us, 33000000, 33900000);
	stranger_close(&stranger);
}

static void test_dead(void **state) {
	struct stranger stranger = open_stranger(TLS1_3_VERSION);

	(void)state;
	assert_int_equal(tls_node_send(b, slots[1], "abc", 3), 0);
	tls_net_settle(&net);
	tls_net_pass(&net, TLS_RTO_INITIAL_US + 100000);
	assert_int_equal(b->counts[TLS_EVENT_SUSPECT], 1);
	tls_net_pass(&net, (TLS_RETAIN_SECONDS - 1) * USEC_PER_SEC);
	assert_int_equal(b->counts[TLS_EVENT_DOWN], 0);
	tls_net_pass(&net, 2 * USEC_PER_SEC);
	assert_int_equal(b->counts[TLS_EVENT_DOWN], 1);
	assert_int_equal(b->last[TLS_EVENT_DOWN].reason, LINK_TIMED_OUT);
	/* Nothing was sent twice: one frame, and the end. */
	uint8_t frame[FRAME_DATA_HEADER + 3], more;
	assert_int_equal(stranger_read(&stranger, frame, sizeof(frame)), 0);
	assert_int_equal(stranger_read(&stranger, &more, 1), -ECONNRESET);
	stranger_close(&stranger);
}

/* Who does not read is noticed, too, and holds a bounded amount of our memory meanwhile. */
static void test_does_not_read(void **state) {
	struct stranger stranger = open_stranger(TLS1_3_VERSION);
	static uint8_t message[MESSAGE_MAX];
	unsigned sent = 0;
	int result = 0;

	(void)state;
	while (result == 0 && sent < 100000) {
		result = tls_node_send(b, slots[1], message, sizeof(message));
		sent += result == 0;
		links_flush(b->links);
	}
	assert_int_equal(result, -EAGAIN);
	assert_in_range(sent, 10, TLS_FRAMES_MAX);
	struct link_statistics statistics = statistics_of(b, slots[1]);
	assert_true(statistics.queued * (size_t)MESSAGE_MAX <= TLS_QUEUE_OCTETS + MESSAGE_MAX);
	assert_int_equal(statistics.queued + statistics.in_flight, sent);
	assert_int_equal(tls_node_counters(b)->drop_congestion, 1);
	tls_net_pass(&net, (TLS_RETAIN_SECONDS + 2) * USEC_PER_SEC);
	assert_int_equal(b->counts[TLS_EVENT_SUSPECT], 1);
	assert_int_equal(b->counts[TLS_EVENT_DOWN], 1);
	stranger_close(&stranger);
}

/* Small messages: their number is bounded as well. */
static void test_frames_bound(void **state) {
	struct stranger stranger = open_stranger(TLS1_3_VERSION);
	unsigned sent = 0;

	(void)state;
	while (sent < 2 * TLS_FRAMES_MAX && tls_node_send(b, slots[1], "x", 1) == 0) {
		sent++;
		links_flush(b->links);
	}
	assert_int_equal(sent, TLS_FRAMES_MAX);
	stranger_close(&stranger);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_handshake, setup, teardown),
		cmocka_unit_test_setup_teardown(test_suites, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_node_id, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_certificate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_certificate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_candidates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent_server, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_after_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_revoked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renewed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(test_oversize, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_frame, setup, teardown),
		cmocka_unit_test_setup_teardown(test_suspect, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_does_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frames_bound, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
