/* SPDX-License-Identifier: BSD-2-Clause */
/* DTLS and TLS behind one transport: which one a link uses, and who gets a link with a shared secret. B-13.4-01 B-6.5.1.6-01 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/log.h"
#include "link/frame.h"
#include "link/secure.h"
#include "support/tls_net.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct tls_net net;

static int setup(void **state) {
	(void)state;
	log_level = -1;
	return tls_net_open(&net);
}

static int teardown(void **state) {
	(void)state;
	tls_net_close(&net);
	return 0;
}

static const char *protocol_of(const struct tls_node *node) {
	struct link_statistics statistics;

	node->transport.ops->statistics(node->transport.object, node->last[TLS_EVENT_UP].slot, &statistics);
	return statistics.protocol;
}

static void check_exchange(struct tls_node *a, struct tls_node *b) {
	size_t before = b->message_count;

	assert_int_equal(tls_node_send(a, a->last[TLS_EVENT_UP].slot, "hello", 5), 0);
	assert_true(tls_net_until_message(&net, b, before + 1));
	assert_memory_equal(b->message, "hello", 5);
}

static int silent_udp(struct address *ret) {
	struct sockaddr_storage name;
	struct address any = {0};

	address_parse("127.0.0.1", 1, &any);
	any.port = 0;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t length = address_to_sockaddr(&any, &name);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, length), 0);
	length = sizeof(name);
	getsockname(fd, (struct sockaddr *)&name, &length);
	*ret = address_of_sockaddr((struct sockaddr *)&name);
	return fd;
}

static void connect_both(struct tls_node *a, struct tls_node *b, const struct address *to, size_t count) {
	size_t ups[2] = {a->counts[TLS_EVENT_UP], b->counts[TLS_EVENT_UP]};

	assert_int_not_equal(tls_node_connect(a, to, count, 0x22), LINK_SLOT_NONE);
	assert_true(tls_net_until(&net, a, TLS_EVENT_UP, ups[0] + 1));
	assert_true(tls_net_until(&net, b, TLS_EVENT_UP, ups[1] + 1));
	check_exchange(a, b);
}

/* Both answer: UDP, whichever candidate comes first. */
static void test_prefers_udp(void **state) {
	struct tls_node *a = tls_node_new(&net, 0x11, LINKS_ALL, NULL), *b = tls_node_new(&net, 0x22, LINKS_ALL, NULL);
	struct address to[2] = {tls_node_address(b, true), tls_node_address(b, false)};

	(void)state;
	assert_int_equal(to[0].port, to[1].port); /* the same one for both */
	connect_both(a, b, to, 2);
	assert_string_equal(protocol_of(a), "DTLS-UDP-SR-NO-ICE");
	tls_net_pass(&net, 2 * LINKS_HEAD_START_MS * USEC_PER_MSEC);
	assert_int_equal(tls_node_counters(a)->handshakes_started, 0);
	assert_int_equal(tls_node_counters(b)->accepted, 0);
}

/* TCP comes first: UDP has little time. */
static void test_prefers_tcp(void **state) {
	struct tls_node *a = tls_node_new(&net, 0x11, LINKS_ALL, NULL), *b = tls_node_new(&net, 0x22, LINKS_ALL, NULL);
	struct address to[2] = {tls_node_address(b, true)};
	int fd = silent_udp(&to[1]);

	(void)state;
	tls_node_connect(a, to, 2, 0x22);
	tls_net_pass(&net, (LINKS_HEAD_START_DOUBTED_MS - 50) * USEC_PER_MSEC);
	assert_int_equal(tls_node_counters(a)->handshakes_started, 0);
	tls_net_pass(&net, 100 * USEC_PER_MSEC);
	assert_true(tls_net_until(&net, a, TLS_EVENT_UP, 1));
	assert_string_equal(protocol_of(a), "TLS-TCP-FH-NO-ICE");
	close(fd);
}

/* Candidates to offer: both kinds. */
static void test_candidates(void **state) {
	struct tls_node *a = tls_node_new(&net, 0x11, LINKS_ALL, NULL), *b = tls_node_new(&net, 0x22, LINKS_TLS, NULL),
			*c = tls_node_new(&net, 0x33, LINKS_DTLS, NULL);
	struct address out[LINK_CANDIDATES_MAX];
	struct tls_node *nodes[] = {a, b, c};
	const unsigned kinds[] = {LINKS_ALL, LINKS_TLS, LINKS_DTLS};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		size_t count = nodes[i]->transport.ops->candidates(nodes[i]->transport.object, out, LINK_CANDIDATES_MAX);
		unsigned seen = 0;
		for (size_t j = 0; j < count; j++)
			seen |= out[j].protocol == IPPROTO_TCP ? LINKS_TLS : LINKS_DTLS;
		assert_int_equal(seen, kinds[i]);
	}
	/* Nothing in common. */
	struct address to = tls_node_address(b, true);
	assert_int_equal(tls_node_connect(c, &to, 1, 0), LINK_SLOT_NONE);
	to = tls_node_address(c, false);
	assert_int_equal(tls_node_connect(b, &to, 1, 0), LINK_SLOT_NONE);
}

/* UDP is refused: TLS at once. */
static void test_udp_refused(void **state) {
	struct tls_node *a = tls_node_new(&net, 0x11, LINKS_ALL, NULL), *b = tls_node_new(&net, 0x22, LINKS_TLS, NULL);
	struct address to[2] = {tls_node_address(b, false), tls_node_address(b, true)};

	(void)state;
	connect_both(a, b, to, 2);
	assert_string_equal(protocol_of(a), "TLS-TCP-FH-NO-ICE");
	assert_int_equal(net.now_us, 1000000); /* nobody waited */
	/* Its end is the link's end, and the slot is free. */
	a->transport.ops->close(a->transport.object, a->last[TLS_EVENT_UP].slot, LINK_CLOSED_BY_US);
	assert_int_equal(a->counts[TLS_EVENT_DOWN], 1);
	assert_true(tls_net_until(&net, b, TLS_EVENT_DOWN, 1));
}

/* UDP disappears on the way: TLS after the head start, and sooner when that happens again and again. */
static void test_udp_blocked(void **state) {
	struct tls_node *a = tls_node_new(&net, 0x11, LINKS_ALL, NULL), *b = tls_node_new(&net, 0x22, LINKS_ALL, NULL);
	struct address to[2];
	int fd = silent_udp(&to[0]);

	(void)state;
	to[1] = tls_node_address(b, true);
	for (unsigned i = 0; i < LINKS_DOUBTS + 2; i++) {
		unsigned start_ms = i < LINKS_DOUBTS ? LINKS_HEAD_START_MS : LINKS_HEAD_START_DOUBTED_MS;
		size_t ups = a->counts[TLS_EVENT_UP];
		tls_node_connect(a, to, 2, 0x22);
		tls_net_pass(&net, (start_ms - 50) * USEC_PER_MSEC);
		assert_int_equal(tls_node_counters(a)->handshakes_started, i);
		tls_net_pass(&net, 100 * USEC_PER_MSEC);
		assert_true(tls_net_until(&net, a, TLS_EVENT_UP, ups + 1));
		assert_true(tls_net_until(&net, b, TLS_EVENT_UP, ups + 1));
		assert_string_equal(protocol_of(a), "TLS-TCP-FH-NO-ICE");
	}
	check_exchange(a, b);
	/* The attempt over UDP was given up without a word. */
	tls_net_pass(&net, 2 * LIMIT_HANDSHAKE_SECONDS * USEC_PER_SEC);
	assert_int_equal(a->counts[TLS_EVENT_DOWN], 0);
	/* One link over UDP, and it gets its head start again. */
	struct address good = tls_node_address(b, false);
	connect_both(a, b, &good, 1);
	assert_string_equal(protocol_of(a), "DTLS-UDP-SR-NO-ICE");
	uint64_t started = tls_node_counters(a)->handshakes_started;
	tls_node_connect(a, to, 2, 0x22);
	tls_net_pass(&net, (LINKS_HEAD_START_MS - 50) * USEC_PER_MSEC);
	assert_int_equal(tls_node_counters(a)->handshakes_started, started);
	close(fd);
}

/* Neither answers: one down(), when the last has failed. And one that is not wanted any more. */
static void test_neither(void **state) {
	struct tls_node *a = tls_node_new(&net, 0x11, LINKS_ALL, NULL), *gone = tls_node_new(&net, 0x33, LINKS_TLS, NULL);
	struct address to[2];
	int fd = silent_udp(&to[0]);

	(void)state;
	to[1] = tls_node_address(gone, true);
	tls_node_free(gone);
	uint16_t slot = tls_node_connect(a, to, 2, 0);
	tls_net_pass(&net, (LINKS_HEAD_START_MS + 100) * USEC_PER_MSEC);
	assert_int_equal(a->counts[TLS_EVENT_DOWN], 0); /* UDP may still answer */
	tls_net_pass(&net, 2 * LIMIT_HANDSHAKE_SECONDS * USEC_PER_SEC);
	assert_int_equal(a->counts[TLS_EVENT_DOWN], 1);
	assert_int_equal(a->last[TLS_EVENT_DOWN].slot, slot);
	slot = tls_node_connect(a, to, 2, 0);
	tls_net_pass(&net, 100 * USEC_PER_MSEC);
	a->transport.ops->close(a->transport.object, slot, LINK_CLOSED_BY_US);
	assert_int_equal(a->counts[TLS_EVENT_DOWN], 2);
	tls_net_pass(&net, 2 * LIMIT_HANDSHAKE_SECONDS * USEC_PER_SEC);
	assert_int_equal(a->counts[TLS_EVENT_DOWN], 2);
	close(fd);
}

/* --- a shared secret --- */

static const struct dtls_settings with_secret = {.secret = "correct horse battery staple"},
				  with_other = {.secret = "incorrect horse battery staple"};

/* Over either protocol: TLS-PSK, and who it is, is known all the same. */
static void test_secret(void **state) {
	const unsigned protocols[] = {LINKS_TLS, LINKS_DTLS};
	struct id id_a = support_node_id(0x11), id_b = support_node_id(0x22);

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct tls_node *a = tls_node_new(&net, 0x11, protocols[i], &with_secret),
				*b = tls_node_new(&net, 0x22, protocols[i], &with_secret);
		struct address to = tls_node_address(b, protocols[i] == LINKS_TLS);
		connect_both(a, b, &to, 1);
		check_exchange(b, a);
		assert_true(certificate_has_node_id(a->transport.ops->certificate(a->transport.object, a->last[TLS_EVENT_UP].slot),
						    &id_b));
		assert_true(certificate_has_node_id(b->transport.ops->certificate(b->transport.object, b->last[TLS_EVENT_UP].slot),
						    &id_a));
		/* The proof is no message of the overlay. */
		assert_int_equal(a->message_count + b->message_count, 2);
		/* Who answers is not who was asked for. */
		tls_node_connect(a, &to, 1, 0x33);
		assert_true(tls_net_until(&net, a, TLS_EVENT_DOWN, 1));
		assert_int_equal(a->last[TLS_EVENT_DOWN].reason, LINK_HANDSHAKE_FAILED);
		assert_int_equal(a->counts[TLS_EVENT_UP], 1);
		tls_node_free(a);
		tls_node_free(b);
	}
}

static void check_refused(const struct dtls_settings *ours, const struct dtls_settings *theirs) {
	struct tls_node *a = tls_node_new(&net, 0x11, LINKS_TLS, ours), *b = tls_node_new(&net, 0x22, LINKS_TLS, theirs);
	struct address to = tls_node_address(b, true);

	tls_node_connect(a, &to, 1, 0x22);
	assert_true(tls_net_until(&net, a, TLS_EVENT_DOWN, 1));
	tls_net_settle(&net);
	assert_int_equal(a->counts[TLS_EVENT_UP] + b->counts[TLS_EVENT_UP], 0);
	tls_node_free(a);
	tls_node_free(b);
}

static void test_secret_refused(void **state) {
	(void)state;
	check_refused(&with_secret, &with_other);
	check_refused(&with_secret, NULL);
	check_refused(NULL, &with_secret);
}

/* The secret alone is not enough: what comes first has to prove who it is, over this very connection. */
static void test_secret_without_proof(void **state) {
	struct tls_node *a = tls_node_new(&net, 0x11, LINKS_TLS, &with_secret),
			*b = tls_node_new(&net, 0x22, LINKS_TLS, &with_secret);
	static uint8_t proof[8192 + FRAME_DATA_HEADER];
	uint8_t message[FRAME_DATA_HEADER + 64] = {0};
	struct stranger stranger, second;

	(void)state;
	assert_int_equal(stranger_open(&net, b, NULL, &stranger), 0);
	assert_int_equal(stranger_tls(&stranger, NULL, with_secret.secret, TLS1_2_VERSION), 0);
	frame_write_data_header(message, 0, 64);
	assert_int_equal(stranger_write(&stranger, message, sizeof(message)), 0);
	assert_true(stranger_closed(&stranger));
	stranger_close(&stranger);
	/* What one node proves of itself is worth nothing on another connection: b's words to one stranger, sent back by a second.
	 */
	assert_int_equal(stranger_open(&net, a, NULL, &stranger), 0);
	assert_int_equal(stranger_tls(&stranger, NULL, with_secret.secret, TLS1_2_VERSION), 0);
	assert_int_equal(stranger_read(&stranger, proof, FRAME_DATA_HEADER), 0);
	size_t length = (size_t)proof[5] << 16 | (size_t)proof[6] << 8 | proof[7];
	assert_in_range(length, 100, 8192);
	assert_int_equal(stranger_read(&stranger, proof + FRAME_DATA_HEADER, length), 0);
	assert_int_equal(stranger_open(&net, b, NULL, &second), 0);
	assert_int_equal(stranger_tls(&second, NULL, with_secret.secret, TLS1_2_VERSION), 0);
	assert_int_equal(stranger_write(&second, proof, FRAME_DATA_HEADER + length), 0);
	assert_true(stranger_closed(&second));
	assert_int_equal(b->counts[TLS_EVENT_UP], 0);
	assert_int_equal(tls_node_counters(b)->handshakes_failed, 2);
	stranger_close(&stranger);
	stranger_close(&second);
}

/* Another secret is for links to come. */
static void test_secret_changed(void **state) {
	struct tls_node *a = tls_node_new(&net, 0x11, LINKS_ALL, &with_secret),
			*b = tls_node_new(&net, 0x22, LINKS_ALL, &with_secret);
	struct address to[2] = {tls_node_address(b, false), tls_node_address(b, true)};
	char reason[200], longest[SECURE_SECRET_MAX + 2];

	(void)state;
	connect_both(a, b, to, 2);
	assert_int_equal(links_set_secret(b->links, with_other.secret, reason, sizeof(reason)), 0);
	check_exchange(a, b);
	tls_node_connect(a, &to[1], 1, 0x22);
	assert_true(tls_net_until(&net, a, TLS_EVENT_DOWN, 1));
	assert_int_equal(links_set_secret(a->links, with_other.secret, reason, sizeof(reason)), 0);
	connect_both(a, b, &to[1], 1);
	/* None any more. */
	assert_int_equal(links_set_secret(a->links, NULL, reason, sizeof(reason)), 0);
	assert_int_equal(links_set_secret(b->links, NULL, reason, sizeof(reason)), 0);
	connect_both(a, b, &to[1], 1);
	/* One that cannot be used changes nothing. */
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(links_set_secret(a->links, longest, reason, sizeof(reason)), -EINVAL);
	assert_int_equal(links_set_secret(a->links, "", reason, sizeof(reason)), -EINVAL);
	connect_both(a, b, &to[1], 1);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_prefers_udp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prefers_tcp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_candidates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_udp_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_udp_blocked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_neither, setup, teardown),
		cmocka_unit_test_setup_teardown(test_secret, setup, teardown),
		cmocka_unit_test_setup_teardown(test_secret_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_secret_without_proof, setup, teardown),
		cmocka_unit_test_setup_teardown(test_secret_changed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
