/* SPDX-License-Identifier: BSD-2-Clause */
/* What strangers can hold of TCP and TLS, each limit at its bound (link/tls.h). */
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STRANGERS_MAX = TLS_HANDSHAKES_MAX + 8, BATCH = 16 };

static struct tls_net net;
static struct tls_node *b;
static struct stranger strangers[STRANGERS_MAX];
static size_t stranger_count;

static int setup(void **state) {
	struct rlimit files;

	(void)state;
	log_level = -1;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	stranger_count = 0;
	if (tls_net_open(&net) < 0)
		return -1;
	b = tls_node_new(&net, 0x22, LINKS_TLS, NULL);
	return b ? 0 : -1;
}

static int teardown(void **state) {
	(void)state;
	while (stranger_count > 0)
		stranger_close(&strangers[--stranger_count]);
	tls_net_close(&net);
	return 0;
}

/* Connects and says what may become a ClientHello. */
static struct stranger *slow_one(const char *host) {
	struct stranger *stranger = &strangers[stranger_count++];
	uint64_t before = tls_node_counters(b)->accepted + tls_node_counters(b)->drop_limit;

	assert_int_equal(stranger_open(&net, b, host, stranger), 0);
	assert_int_equal(send(stranger->fd, "\x16", 1, MSG_NOSIGNAL), 1);
	for (unsigned i = 0; i < 1000 && tls_node_counters(b)->accepted + tls_node_counters(b)->drop_limit == before; i++)
		tls_net_turn(&net, 10);
	return stranger;
}

static bool is_open(struct stranger *stranger) {
	char octet;

	tls_net_settle(&net);
	return recv(stranger->fd, &octet, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

/* Who connects and says nothing does not even get to us (TCP_DEFER_ACCEPT). */
static void test_half_open(void **state) {
	(void)state;
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(stranger_open(&net, b, NULL, &strangers[stranger_count++]), 0);
	tls_net_settle(&net);
	assert_int_equal(tls_node_counters(b)->accepted, 0);
	/* And is in nobody's way. */
	struct tls_node *a = tls_node_new(&net, 0x11, LINKS_TLS, NULL);
	struct address to = tls_node_address(b, true);
	tls_node_connect(a, &to, 1, 0x22);
	assert_true(tls_net_until(&net, a, TLS_EVENT_UP, 1));
}

/* A handshake has LIMIT_HANDSHAKE_SECONDS in all, however busy it looks. */
static void test_slow_handshake(void **state) {
	struct stranger *stranger = slow_one(NULL);

	(void)state;
	assert_int_equal(tls_node_counters(b)->handshakes_started, 1);
	for (unsigned i = 1; i < LIMIT_HANDSHAKE_SECONDS; i++) {
		tls_net_pass(&net, USEC_PER_SEC);
		assert_true(is_open(stranger));
		assert_int_equal(send(stranger->fd, i == 1 ? "\3" : i == 2 ? "\1" : "\0", 1, MSG_NOSIGNAL), 1);
	}
	tls_net_pass(&net, 2 * USEC_PER_SEC);
	assert_true(stranger_closed(stranger));
	assert_int_equal(tls_node_counters(b)->handshakes_failed, 1);
	assert_int_equal(b->counts[TLS_EVENT_DOWN], 0);
}

/* The same behind the handshake: TLS-PSK without a proof of who it is. */
static void test_slow_proof(void **state) {
	struct dtls_settings settings = {.secret = "a secret of this test"};
	struct tls_node *c = tls_node_new(&net, 0x33, LINKS_TLS, &settings);
	struct stranger *stranger = &strangers[stranger_count++];

	(void)state;
	assert_int_equal(stranger_open(&net, c, NULL, stranger), 0);
	assert_int_equal(stranger_tls(stranger, NULL, settings.secret, TLS1_2_VERSION), 0);
	tls_net_pass(&net, (LIMIT_HANDSHAKE_SECONDS - 1) * USEC_PER_SEC);
	assert_true(tls_node_counters(c)->handshakes_failed == 0);
	tls_net_pass(&net, 2 * USEC_PER_SEC);
	assert_int_equal(tls_node_counters(c)->handshakes_failed, 1);
	assert_int_equal(c->counts[TLS_EVENT_UP] + c->counts[TLS_EVENT_DOWN], 0);
	assert_true(stranger_closed(stranger));
}

/* One stranger holds TLS_HANDSHAKES_PER_HOST places; others are not affected. */
static void test_per_host(void **state) {
	(void)state;
	for (unsigned i = 0; i < TLS_HANDSHAKES_PER_HOST; i++)
		slow_one("127.0.0.2");
	assert_int_equal(tls_node_counters(b)->accepted, TLS_HANDSHAKES_PER_HOST);
	assert_true(stranger_closed(slow_one("127.0.0.2")));
	assert_int_equal(tls_node_counters(b)->accepted, TLS_HANDSHAKES_PER_HOST);
	assert_int_equal(tls_node_counters(b)->drop_limit, 1);
	assert_true(is_open(slow_one("127.0.0.3")));
	assert_true(is_open(&strangers[0]));
	/* A place that is given up is free. */
	shutdown(strangers[0].fd, SHUT_RDWR);
	tls_net_settle(&net);
	assert_true(is_open(slow_one("127.0.0.2")));
}

/* With all places taken the oldest handshake goes, and a node still gets in. */
static void test_flood(void **state) {
	char host[32];

	(void)state;
	for (unsigned i = 0; i < TLS_HANDSHAKES_MAX; i++) {
		snprintf(host, sizeof(host), "127.0.1.%u", 1 + i / TLS_HANDSHAKES_PER_HOST);
		slow_one(host);
	}
	assert_int_equal(tls_node_counters(b)->accepted, TLS_HANDSHAKES_MAX);
	assert_int_equal(tls_node_counters(b)->drop_limit, 0);
	assert_true(is_open(&strangers[0]));
	assert_true(is_open(slow_one("127.0.2.1")));
	assert_true(stranger_closed(&strangers[0]));
	assert_true(is_open(&strangers[1]));
	assert_int_equal(tls_node_counters(b)->drop_limit, 1);
	struct tls_node *a = tls_node_new(&net, 0x11, LINKS_TLS, NULL);
	struct address to = tls_node_address(b, true);
	tls_node_connect(a, &to, 1, 0x22);
	assert_true(tls_net_until(&net, a, TLS_EVENT_UP, 1));
	assert_true(tls_net_until(&net, b, TLS_EVENT_UP, 1));
	assert_true(stranger_closed(&strangers[1]));
}

/* A member that opens link after link has TLS_LINKS_PER_HOST of them, and then none more from there. */
static void test_links_per_host(void **state) {
	struct tls_node *a = tls_node_new(&net, 0x11, LINKS_TLS, NULL);
	struct address to = tls_node_address(b, true);
	size_t wanted = 0;

	(void)state;
	while (wanted < TLS_LINKS_PER_HOST) {
		for (unsigned i = 0; i < BATCH; i++, wanted++)
			assert_int_not_equal(tls_node_connect(a, &to, 1, 0x22), LINK_SLOT_NONE);
		assert_true(tls_net_until(&net, b, TLS_EVENT_UP, wanted));
		assert_true(tls_net_until(&net, a, TLS_EVENT_UP, wanted));
	}
	tls_node_connect(a, &to, 1, 0x22);
	assert_true(tls_net_until(&net, a, TLS_EVENT_DOWN, 1));
	assert_int_equal(b->counts[TLS_EVENT_UP], TLS_LINKS_PER_HOST);
	assert_int_equal(tls_node_counters(b)->drop_limit, 1);
	/* Somebody else gets one. */
	assert_true(is_open(slow_one("127.0.0.9")));
}

/* Without descriptors links of others wait, the node does not turn in circles meanwhile, and later it takes them. */
static void test_no_descriptors(void **state) {
	const struct tls_counters *counters = tls_node_counters(b);
	struct stranger *stranger = &strangers[stranger_count++];
	struct rlimit all, none;
	uint8_t octet;

	(void)state;
	assert_int_equal(stranger_open(&net, b, NULL, stranger), 0);
	assert_int_equal(send(stranger->fd, "\x16", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	int lowest = dup(STDERR_FILENO);
	assert_true(lowest >= 0);
	close(lowest);
	none = (struct rlimit){.rlim_cur = (rlim_t)lowest, .rlim_max = all.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (unsigned i = 0; i < 1000 && counters->drop_limit == 0; i++)
		tls_net_turn(&net, 10);
	tls_net_settle(&net);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	assert_int_equal(counters->drop_limit, 1);
	assert_int_equal(counters->accepted, 0);
	tls_net_settle(&net);
	assert_int_equal(counters->accepted, 0); /* not before its time */
	tls_net_pass(&net, 1000000);
	for (unsigned i = 0; i < 1000 && counters->accepted == 0; i++)
		tls_net_turn(&net, 10);
	assert_int_equal(counters->accepted, 1);
	assert_int_equal(recv(stranger->fd, &octet, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN); /* and it is not closed */
}

/* Half messages: memory follows what arrives, and a link cannot announce more than a message may have. */
static void test_half_message(void **state) {
	struct id id = support_node_id(0x44);
	struct credential *credential = support_credential(&net.overlay, "eve@example.org", &id, 1);
	struct stranger *stranger = &strangers[stranger_count++];
	static uint8_t frame[FRAME_DATA_HEADER + 60000];

	(void)state;
	assert_int_equal(stranger_open(&net, b, NULL, stranger), 0);
	assert_int_equal(stranger_tls(stranger, credential, NULL, TLS1_3_VERSION), 0);
	frame_write_data_header(frame, 0, 60000);
	assert_int_equal(stranger_write(stranger, frame, sizeof(frame) - 1), 0);
	tls_net_settle(&net);
	assert_int_equal(b->message_count, 0);
	assert_int_equal(b->counts[TLS_EVENT_DOWN], 0);
	assert_int_equal(stranger_write(stranger, frame, 1), 0);
	assert_true(tls_net_until_message(&net, b, 1));
	assert_int_equal(b->message_length, 60000);
	credential_unref(credential);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_half_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_handshake, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_proof, setup, teardown),
		cmocka_unit_test_setup_teardown(test_per_host, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links_per_host, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_message, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
