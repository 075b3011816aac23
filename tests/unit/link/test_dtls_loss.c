/* SPDX-License-Identifier: BSD-2-Clause */
/* Links over a network that loses, repeats, delays and forges, and peers that vanish, come back, or mean no good. */
#include "link/cookie.h"
#include "link/sender.h"
#include "support/link_net.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MS UINT64_C(1000)

static struct link_net net;
static struct link_relay relay;
static struct link_node *a, *b;
static uint16_t slots[2];

/* Every test: `a` connects to `b` through the relay. Handshake timers are short, because they run on the system's clock. */
static const struct dtls_settings quick = {.handshake_timeout_ms = 20};

static int setup(void **state) {
	(void)state;
	if (link_net_open(&net) < 0)
		return -1;
	a = link_node_new(&net, "127.0.0.1", 0x11, &quick);
	b = link_node_new(&net, "127.0.0.1", 0x22, &quick);
	return a && b ? link_relay_open(&net, b, &relay) : -1;
}

static int teardown(void **state) {
	(void)state;
	link_net_close(&net);
	return 0;
}

static void connect_nodes(void) {
	size_t ups[2] = {link_node_count(a, LINK_EVENT_UP) + 1, link_node_count(b, LINK_EVENT_UP) + 1};

	slots[0] = link_node_connect(a, &relay.front, 0x22);
	assert_true(link_net_until(&net, a, LINK_EVENT_UP, ups[0]));
	assert_true(link_net_until(&net, b, LINK_EVENT_UP, ups[1]));
	slots[1] = link_node_last(b, LINK_EVENT_UP)->slot;
	link_net_settle(&net);
}

static struct link_statistics statistics_of(struct link_node *node, uint16_t slot) {
	struct link_statistics statistics;

	node->transport.ops->statistics(node->transport.object, slot, &statistics);
	return statistics;
}

/* Sends a message each way and sees it arrive. */
static void check_exchange(void) {
	size_t before_a = a->message_count, before_b = b->message_count;

	assert_int_equal(link_node_send(a, slots[0], "ping", 4, 0), 0);
	assert_int_equal(link_node_send(b, slots[1], "pong", 4, 0), 0);
	link_net_settle(&net);
	assert_int_equal(a->message_count, before_a + 1);
	assert_int_equal(b->message_count, before_b + 1);
	assert_memory_equal(a->messages[before_a].data, "pong", 4);
	assert_memory_equal(b->messages[before_b].data, "ping", 4);
}

/* --- handshakes over a bad network (RFC 6347 4.2.4) --- */

static unsigned epoch_of(const uint8_t *datagram) {
	return (unsigned)datagram[3] << 8 | datagram[4];
}

/* What is in a datagram: which record types, and whether of epoch 1. */
static bool holds(const uint8_t *datagram, size_t length, uint8_t type, unsigned epoch) {
	for (size_t at = 0; at + 13 <= length; at += 13U + ((size_t)datagram[at + 11] << 8 | datagram[at + 12]))
		if (datagram[at] == type && epoch_of(datagram + at) == epoch)
			return true;
	return false;
}

static enum link_fate drop_a_third(struct link_relay *r, enum link_way way, const uint8_t *datagram, size_t length) {
	(void)datagram;
	(void)length;
	(void)way;
	r->number = r->number * 1664525 + 1013904223;
	return relay.dropped[way] == 0 || (r->number >> 16) % 3 == 0 ? LINK_DROP : LINK_PASS;
}

static void test_handshake_with_loss(void **state) {
	(void)state;
	link_net_real_time(&net);
	relay.decide = drop_a_third;
	connect_nodes();
	assert_true(relay.dropped[LINK_FORTH] + relay.dropped[LINK_BACK] >= 2);
	relay.decide = NULL;
	link_net_settle(&net);
	check_exchange();
}

/* The last flight of the server is lost when it has long taken the link over: it must still repeat it. */
static enum link_fate drop_final_flight(struct link_relay *r, enum link_way way, const uint8_t *datagram, size_t length) {
	if (way == LINK_BACK && holds(datagram, length, 20, 0) && r->number < 2) {
		r->number++;
		return LINK_DROP;
	}
	return LINK_PASS;
}

static void test_lost_final_flight(void **state) {
	(void)state;
	link_net_real_time(&net);
	relay.decide = drop_final_flight;
	connect_nodes();
	assert_int_equal(relay.number, 2);
	assert_int_equal(dtls_links_counters(b->links)->handshakes_started, 1);
	/* The client's Finished took more than one number: ours go on behind them. */
	check_exchange();
	for (unsigned i = 0; i < 20; i++)
		check_exchange();
	assert_int_equal(dtls_links_counters(a->links)->drop_replayed + dtls_links_counters(b->links)->drop_forged, 0);
}

/* B-6.5.1.14-01: application data that overtakes the last flight is not lost. */
static enum link_fate hold_final_flight(struct link_relay *r, enum link_way way, const uint8_t *datagram, size_t length) {
	(void)r;
	return way == LINK_BACK && holds(datagram, length, 20, 0) ? LINK_HOLD : LINK_PASS;
}

static void greet(struct link_node *node, uint16_t slot) {
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(link_node_send(node, slot, "early", 5, 0), 0);
}

static void test_early_data(void **state) {
	(void)state;
	relay.decide = hold_final_flight;
	b->on_up = greet;
	slots[0] = link_node_connect(a, &relay.front, 0x22);
	link_net_settle(&net);
	assert_int_equal(link_node_count(b, LINK_EVENT_UP), 1);
	assert_int_equal(link_node_count(a, LINK_EVENT_UP), 0);
	slots[1] = b->events[0].slot;
	relay.decide = NULL;
	link_relay_release(&relay);
	link_net_settle(&net);
	assert_int_equal(link_node_count(a, LINK_EVENT_UP), 1);
	assert_int_equal(a->message_count, 3);
	check_exchange();
}

/* Every datagram twice: handshakes do not mind, and records are taken once (B-6.4.2.1-03). */
static enum link_fate twice(struct link_relay *r, enum link_way way, const uint8_t *datagram, size_t length) {
	(void)r;
	(void)way;
	(void)datagram;
	(void)length;
	return LINK_TWICE;
}

static void test_replay(void **state) {
	(void)state;
	relay.decide = twice;
	connect_nodes();
	assert_int_equal(dtls_links_counters(b->links)->handshakes_done, 1);
	uint64_t before = dtls_links_counters(b->links)->drop_replayed;
	for (unsigned i = 0; i < 10; i++)
		check_exchange();
	assert_int_equal(b->message_count, 10);
	/* the messages and the acks */
	assert_int_equal(dtls_links_counters(b->links)->drop_replayed - before, 20);
	assert_int_equal(dtls_links_counters(b->links)->acks_sent, 10);
}

/* --- restart of a peer (RFC 6347 4.2.8) --- */

static void test_restart(void **state) {
	(void)state;
	connect_nodes();
	uint16_t old = slots[1];
	/* The peer dies without a word and comes back; the relay makes it the same address. */
	relay.cut = true;
	link_node_free(a);
	link_net_settle(&net);
	relay.cut = false;
	assert_int_equal(b->event_count, 1);
	a = link_node_new(&net, "127.0.0.1", 0x11, &quick);
	connect_nodes();
	assert_int_equal(b->event_count, 3);
	assert_int_equal(b->events[1].what, LINK_EVENT_DOWN);
	assert_int_equal(b->events[1].slot, old);
	assert_int_equal(b->events[1].reason, LINK_CLOSED_BY_PEER);
	assert_int_equal(b->events[2].what, LINK_EVENT_UP);
	assert_int_not_equal(slots[1], old);
	check_exchange();
}

/* A handshake that does not end well leaves the established link alone, and so does one that goes on for ever. */
static enum link_fate drop_client_flight(struct link_relay *r, enum link_way way, const uint8_t *datagram, size_t length) {
	(void)r;
	return way == LINK_FORTH && holds(datagram, length, 20, 0) ? LINK_DROP : LINK_PASS;
}

static void test_unfinished_restart(void **state) {
	struct support_overlay other;
	struct id id = support_node_id(0x11);

	(void)state;
	connect_nodes();
	relay.decide = drop_client_flight;
	assert_int_not_equal(link_node_connect(a, &relay.front, 0x22), LINK_SLOT_NONE);
	link_net_settle(&net);
	assert_int_equal(dtls_links_counters(b->links)->handshakes_started, 2);
	check_exchange(); /* while it is going on */
	link_net_pass(&net, (LIMIT_HANDSHAKE_SECONDS + 1) * USEC_PER_SEC);
	assert_int_equal(link_node_count(b, LINK_EVENT_DOWN), 0);
	relay.decide = NULL;
	check_exchange();
	/* A stranger at the same address. */
	assert_int_equal(support_overlay_new(SUPPORT_OVERLAY_NAME, &other), 0);
	struct link_node *eve = link_node_with(&net, "127.0.0.1", support_credential(&other, "eve@example.org", &id, 1), &quick);
	struct address client = relay.client;
	link_node_connect(eve, &relay.front, 0);
	assert_true(link_net_until(&net, eve, LINK_EVENT_DOWN, 1));
	relay.client = client;
	assert_int_equal(link_node_count(b, LINK_EVENT_DOWN), 0);
	check_exchange();
	support_overlay_release(&other);
}

/* --- acknowledgement and failure --- */

static enum link_fate drop_back(struct link_relay *r, enum link_way way, const uint8_t *datagram, size_t length) {
	(void)r;
	(void)datagram;
	(void)length;
	return way == LINK_BACK ? LINK_DROP : LINK_PASS;
}

/* B-6.6.3.1-03, Q-01: own messages are sent again until an ack comes, transit messages are not. */
static void test_lost_acks(void **state) {
	(void)state;
	connect_nodes();
	relay.decide = drop_back;
	assert_int_equal(link_node_send(a, slots[0], "own", 3, LINK_SEND_OWN), 0);
	assert_int_equal(link_node_send(a, slots[0], "transit", 7, 0), 0);
	link_net_settle(&net);
	assert_int_equal(b->message_count, 2);
	link_net_pass(&net, 499 * MS);
	assert_int_equal(b->message_count, 2);
	link_net_pass(&net, 1 * MS);
	assert_int_equal(b->message_count, 3);
	assert_memory_equal(b->messages[2].data, "own", 3);
	link_net_pass(&net, 999 * MS);
	assert_int_equal(b->message_count, 3);
	relay.decide = NULL;
	link_net_pass(&net, 1 * MS);
	assert_int_equal(b->message_count, 4);
	assert_memory_equal(b->messages[3].data, "own", 3);
	/* Acknowledged: that was all. */
	link_net_pass(&net, 60 * USEC_PER_SEC);
	assert_int_equal(b->message_count, 4);
	assert_int_equal(statistics_of(a, slots[0]).resent, 2);
	assert_int_equal(dtls_links_counters(a->links)->retransmissions, 2);
	assert_int_equal(statistics_of(a, slots[0]).in_flight, 0);
	assert_int_equal(a->event_count, 1);
}

static enum link_fate drop_forth(struct link_relay *r, enum link_way way, const uint8_t *datagram, size_t length) {
	(void)r;
	(void)datagram;
	(void)length;
	return way == LINK_FORTH ? LINK_DROP : LINK_PASS;
}

/* The same when the message itself is lost: delivered once it gets through, and only then. */
static void test_lost_message(void **state) {
	(void)state;
	connect_nodes();
	relay.decide = drop_forth;
	assert_int_equal(link_node_send(a, slots[0], "own", 3, LINK_SEND_OWN), 0);
	assert_int_equal(link_node_send(a, slots[0], "transit", 7, 0), 0);
	link_net_settle(&net);
	relay.decide = NULL;
	link_net_pass(&net, 500 * MS);
	assert_int_equal(b->message_count, 1);
	assert_memory_equal(b->messages[0].data, "own", 3);
	link_net_pass(&net, 60 * USEC_PER_SEC);
	assert_int_equal(b->message_count, 1);
}

/* B-6.6-02, B-6.6.3.1-05, B-6.6.3.1-03: 3.5 s to suspicion, 15.5 s to the end, with the initial RTO */
static void test_dead_link(void **state) {
	(void)state;
	connect_nodes();
	relay.cut = true;
	assert_int_equal(link_node_send(a, slots[0], "own", 3, LINK_SEND_OWN), 0);
	link_net_pass(&net, 3499 * MS);
	assert_int_equal(a->event_count, 1);
	link_net_pass(&net, 1 * MS);
	assert_int_equal(a->event_count, 2);
	assert_int_equal(a->events[1].what, LINK_EVENT_SUSPECT);
	assert_int_equal(a->events[1].slot, slots[0]);
	link_net_pass(&net, 11999 * MS);
	assert_int_equal(a->event_count, 2);
	link_net_pass(&net, 1 * MS);
	assert_int_equal(a->event_count, 3);
	assert_int_equal(a->events[2].what, LINK_EVENT_DOWN);
	assert_int_equal(a->events[2].reason, LINK_TIMED_OUT);
	assert_int_equal(relay.dropped[LINK_FORTH], SENDER_SENDS_MAX + 1); /* and close_notify */
	assert_int_equal(runtime_next(&a->runtime), USEC_NEVER);
	/* The other side sent nothing: silence is no failure. */
	link_net_pass(&net, 3600 * USEC_PER_SEC);
	assert_int_equal(b->event_count, 1);
}

static void test_suspicion_taken_back(void **state) {
	(void)state;
	connect_nodes();
	relay.cut = true;
	assert_int_equal(link_node_send(a, slots[0], "own", 3, LINK_SEND_OWN), 0);
	link_net_pass(&net, 4000 * MS);
	assert_int_equal(link_node_count(a, LINK_EVENT_SUSPECT), 1);
	relay.cut = false;
	link_net_pass(&net, 3500 * MS);
	assert_int_equal(link_node_count(a, LINK_EVENT_RESTORED), 1);
	link_net_pass(&net, 60 * USEC_PER_SEC);
	assert_int_equal(a->event_count, 3);
	check_exchange();
}

/* Transit messages alone find out as well. */
static void test_dead_link_transit(void **state) {
	(void)state;
	connect_nodes();
	relay.cut = true;
	for (unsigned i = 0; i < 160 && link_node_count(a, LINK_EVENT_DOWN) == 0; i++) {
		link_node_send(a, slots[0], "transit", 7, 0);
		link_net_pass(&net, 100 * MS);
		size_t suspects = link_node_count(a, LINK_EVENT_SUSPECT);
		assert_int_equal(suspects, i >= 35 ? 1 : suspects);
		assert_true(i >= 34 || suspects == 0);
	}
	assert_int_equal(link_node_last(a, LINK_EVENT_DOWN)->reason, LINK_TIMED_OUT);
}

/* A few lost messages are not the end of a link that works. */
static enum link_fate drop_every_fifth(struct link_relay *r, enum link_way way, const uint8_t *datagram, size_t length) {
	(void)way;
	(void)datagram;
	(void)length;
	return r->number++ % 5 == 0 ? LINK_DROP : LINK_PASS;
}

static void test_lossy_link(void **state) {
	static bool seen[200];
	size_t unique = 0;

	(void)state;
	connect_nodes();
	relay.decide = drop_every_fifth;
	for (uint8_t i = 0; i < 200; i++) {
		while (link_node_send(a, slots[0], &i, 1, LINK_SEND_OWN) == -EAGAIN)
			link_net_pass(&net, 100 * MS);
		if (i % 4 == 3)
			link_net_pass(&net, 10 * MS);
	}
	link_net_pass(&net, 30 * USEC_PER_SEC);
	memset(seen, 0, sizeof(seen));
	for (size_t i = 0; i < b->message_count; i++) {
		unique += !seen[b->messages[i].data[0]];
		seen[b->messages[i].data[0]] = true;
	}
	assert_int_equal(unique, 200);
	assert_int_equal(link_node_count(a, LINK_EVENT_DOWN), 0);
	assert_int_equal(statistics_of(a, slots[0]).in_flight, 0);
	assert_int_equal(statistics_of(a, slots[0]).queued, 0);
	assert_true(statistics_of(a, slots[0]).resent > 0);
}

/* The peer's process is gone: the host says so, which shortens the wait but is not believed alone. */
static void test_port_unreachable(void **state) {
	struct link_node *c = link_node_new(&net, "127.0.0.1", 0x33, &quick);
	struct address to = link_node_address(c);

	(void)state;
	uint16_t slot = link_node_connect(a, &to, 0x33);
	assert_true(link_net_until(&net, a, LINK_EVENT_UP, 1));
	/* Its goodbye gets lost: a newer socket of ours is at its port for that moment. */
	int fds[1];
	dtls_links_fds(c->links, fds, 1);
	int silent = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(dup2(silent, fds[0]), fds[0]);
	close(silent);
	for (size_t i = 0; i < net.node_count; i++)
		if (net.nodes[i] == c)
			net.nodes[i] = net.nodes[--net.node_count];
	assert_int_equal(link_node_send(a, slot, "own", 3, LINK_SEND_OWN), 0);
	link_net_settle(&net);
	assert_int_equal(a->event_count, 1); /* the error is known by now */
	link_net_pass(&net, 500 * MS);
	assert_int_equal(link_node_count(a, LINK_EVENT_SUSPECT), 1);
	link_net_pass(&net, 1000 * MS);
	assert_int_equal(link_node_count(a, LINK_EVENT_DOWN), 1);
	assert_int_equal(link_node_last(a, LINK_EVENT_DOWN)->reason, LINK_UNREACHABLE);
	link_node_free(c);
}

/* --- what nobody asked for --- */

static void test_garbage(void **state) {
	static uint8_t datagram[1400];
	const struct dtls_counters *counters = dtls_links_counters(b->links);
	struct link_relay stranger;
	unsigned seed = 7;

	(void)state;
	connect_nodes();
	uint64_t before = counters->datagrams_received, sent = counters->datagrams_sent;
	for (unsigned i = 0; i < 3000; i++) {
		for (size_t n = 0; n < 64; n++) {
			seed = seed * 1664525 + 1013904223;
			datagram[n] = (uint8_t)(seed >> 16);
		}
		size_t length = 1 + (seed >> 8) % sizeof(datagram);
		if (i % 3 == 1) { /* looks like a record of the link */
			memcpy(datagram, "\x17\xfe\xfd\0\1\0\0", 7);
			datagram[11] = 0;
			datagram[12] = 40;
			length = 53;
		} else if (i % 3 == 2) { /* or of a handshake */
			memcpy(datagram, "\x16\xfe\xfd\0\0", 5);
			datagram[11] = 0;
			datagram[12] = 40;
			length = 53;
		}
		link_relay_inject(&relay, LINK_FORTH, datagram, length);
		if (i % 50 == 0)
			link_net_settle(&net);
	}
	link_net_settle(&net);
	assert_int_equal(counters->datagrams_received - before, 3000);
	assert_int_equal(counters->drop_forged, 1000);
	assert_true(counters->drop_epoch + counters->drop_malformed >= 2000);
	assert_int_equal(counters->datagrams_sent, sent); /* none is answered */
	assert_int_equal(b->event_count, 1);
	check_exchange();
	/* The same from an address nobody knows. */
	assert_int_equal(link_relay_open(&net, b, &stranger), 0);
	uint64_t unknown = counters->drop_unknown;
	memcpy(datagram, "\x17\xfe\xfd\0\1\0\0\0\0\0\1\0\x28", 13);
	link_relay_inject(&stranger, LINK_FORTH, datagram, 53);
	link_net_settle(&net);
	assert_int_equal(counters->drop_unknown, unknown + 1);
	link_relay_close(&net, &stranger);
	net.relay = &relay;
}

/* A record of another epoch, and one whose tag does not fit, change nothing. */
static void test_wrong_epoch_and_forged(void **state) {
	const struct dtls_counters *counters = dtls_links_counters(b->links);
	static uint8_t record[53] = "\x17\xfe\xfd\0\2\0\0\0\0\0\5\0\x28";

	(void)state;
	connect_nodes();
	uint64_t epoch = counters->drop_epoch, forged = counters->drop_forged; /* a slow machine repeats parts of handshakes */
	link_relay_inject(&relay, LINK_FORTH, record, sizeof(record));
	link_net_settle(&net);
	assert_int_equal(counters->drop_epoch, epoch + 1);
	record[4] = 1;
	link_relay_inject(&relay, LINK_FORTH, record, sizeof(record));
	link_net_settle(&net);
	assert_int_equal(counters->drop_forged, forged + 1);
	/* An alert nobody protected does not close the link. */
	link_relay_inject(&relay, LINK_FORTH, "\x15\xfe\xfd\0\0\0\0\0\0\0\5\0\2\2\x28", 15);
	link_net_settle(&net);
	assert_int_equal(counters->drop_epoch, epoch + 2);
	check_exchange();
}

/* --- the cookie (RFC 6347 4.2.1) --- */

struct hello {
	uint8_t octets[200];
	size_t length;
};

static struct hello make_hello(uint8_t random, const uint8_t *cookie, size_t cookie_length) {
	struct hello hello;
	struct writer w = writer_fixed(hello.octets, sizeof(hello.octets));

	writer_u8(&w, 22);
	writer_u16(&w, 0xfeff);
	writer_u16(&w, 0);
	writer_u16(&w, 0);
	writer_u32(&w, cookie_length > 0);
	size_t record = writer_begin(&w, 2);
	static const uint8_t extensions[] = {0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 23}; /* ECDSA with SHA-256, P-256 */
	size_t body_length = 2 + 32 + 1 + 1 + cookie_length + 4 + 2 + 2 + sizeof(extensions);
	writer_u8(&w, 1);
	writer_u24(&w, (uint32_t)body_length);
	writer_u16(&w, cookie_length > 0);
	writer_u24(&w, 0);
	writer_u24(&w, (uint32_t)body_length);
	writer_u16(&w, 0xfefd);
	for (unsigned i = 0; i < 32; i++)
		writer_u8(&w, random);
	writer_u8(&w, 0);
	writer_vector8(&w, OCTETS(cookie, cookie_length));
	writer_vector16(&w, OCTETS("\xcc\xa9", 2));
	writer_vector8(&w, OCTETS("\0", 1));
	writer_vector16(&w, OCTETS(extensions, sizeof(extensions)));
	writer_end(&w, record, 2);
	assert_int_equal(writer_finish(&w), 0);
	hello.length = w.length;
	return hello;
}

static int plain_socket(const char *host) {
	struct sockaddr_storage name;
	struct address address;

	address_parse(host, 1, &address);
	address.port = 0;
	socklen_t length = address_to_sockaddr(&address, &name);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, length), 0);
	address = link_node_address(b);
	length = address_to_sockaddr(&address, &name);
	assert_int_equal(connect(fd, (struct sockaddr *)&name, length), 0);
	return fd;
}

/* Sends a ClientHello without cookie and reads the one that comes back. */
static void fetch_cookie(int fd, uint8_t random, uint8_t cookie[static COOKIE_SIZE]) {
	struct hello hello = make_hello(random, NULL, 0);
	uint8_t answer[200];

	while (recv(fd, answer, sizeof(answer), 0) >= 0)
		; /* older answers */
	assert_int_equal(send(fd, hello.octets, hello.length, 0), hello.length);
	link_net_settle(&net);
	ssize_t got = recv(fd, answer, sizeof(answer), 0);
	assert_int_equal(got, COOKIE_REQUEST_SIZE);
	assert_true((size_t)got <= hello.length); /* no amplification */
	assert_int_equal(answer[0], 22);
	assert_int_equal(answer[13], 3);
	assert_int_equal(answer[27], COOKIE_SIZE);
	memcpy(cookie, answer + 28, COOKIE_SIZE);
	assert_true(recv(fd, answer, sizeof(answer), 0) < 0);
}

static void test_cookie(void **state) {
	const struct dtls_counters *counters = dtls_links_counters(b->links);
	uint8_t cookie[COOKIE_SIZE], again[COOKIE_SIZE];
	int fd = plain_socket("127.0.0.1"), other = plain_socket("127.0.0.1");
	struct hello hello;

	(void)state;
	fetch_cookie(fd, 1, cookie);
	fetch_cookie(fd, 1, again);
	assert_memory_equal(cookie, again, COOKIE_SIZE);
	fetch_cookie(other, 1, again);
	assert_memory_not_equal(cookie, again, COOKIE_SIZE);
	fetch_cookie(fd, 2, again);
	assert_memory_not_equal(cookie, again, COOKIE_SIZE);
	assert_int_equal(counters->cookies_sent, 4);
	/* The cookie of another address, of another ClientHello, a wrong one, a short one: another request, no state. */
	struct {
		int fd;
		uint8_t random;
		size_t length;
		bool spoil;
	} cases[] = {{other, 1, COOKIE_SIZE, false}, {fd, 3, COOKIE_SIZE, false}, {fd, 1, COOKIE_SIZE, true}, {fd, 1, 8, false}};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		cookie[0] ^= cases[i].spoil;
		hello = make_hello(cases[i].random, cookie, cases[i].length);
		cookie[0] ^= cases[i].spoil;
		send(cases[i].fd, hello.octets, hello.length, 0);
		link_net_settle(&net);
		assert_int_equal(counters->cookies_sent, 5 + i);
	}
	assert_int_equal(counters->handshakes_started, 0);
	/* Cut off anywhere, or in fragments: not answered at all. */
	hello = make_hello(1, NULL, 0);
	for (size_t length = 1; length < hello.length; length++)
		send(fd, hello.octets, length, 0);
	hello.octets[24]--; /* fragment length */
	send(fd, hello.octets, hello.length, 0);
	link_net_settle(&net);
	assert_int_equal(counters->cookies_sent, 8);
	assert_int_equal(counters->drop_malformed, hello.length);
	/* The right one. */
	hello = make_hello(1, cookie, COOKIE_SIZE);
	send(fd, hello.octets, hello.length, 0);
	link_net_settle(&net);
	assert_int_equal(counters->handshakes_started, 1);
	/* Secrets change, but not while a client is thinking; in the end old cookies are worth nothing. */
	fetch_cookie(other, 4, cookie);
	link_net_pass(&net, (COOKIE_SECRET_SECONDS + 1) * USEC_PER_SEC);
	fetch_cookie(other, 4, again);
	assert_memory_not_equal(cookie, again, COOKIE_SIZE);
	hello = make_hello(4, cookie, COOKIE_SIZE);
	send(other, hello.octets, hello.length, 0);
	link_net_settle(&net);
	assert_int_equal(counters->handshakes_started, 2);
	link_net_pass(&net, (2 * COOKIE_SECRET_SECONDS + 1) * USEC_PER_SEC);
	send(other, hello.octets, hello.length, 0);
	link_net_settle(&net);
	assert_int_equal(counters->handshakes_started, 2);
	close(fd);
	close(other);
}

/* LIMIT_HANDSHAKES_OPEN, DTLS_HANDSHAKES_PER_HOST: what strangers can make us begin is bounded, and goes away. */
static void test_handshake_limits(void **state) {
	enum { HOSTS = 8 };
	const struct dtls_counters *counters = dtls_links_counters(b->links);
	int fds[HOSTS][DTLS_HANDSHAKES_PER_HOST + 1];
	unsigned started = 0;

	(void)state;
	for (unsigned h = 0; h < HOSTS; h++) {
		char host[32];
		snprintf(host, sizeof(host), "127.0.1.%u", h + 1);
		for (unsigned i = 0; i <= DTLS_HANDSHAKES_PER_HOST; i++) {
			uint8_t cookie[COOKIE_SIZE];
			fds[h][i] = plain_socket(host);
			fetch_cookie(fds[h][i], (uint8_t)(i + 1), cookie);
			struct hello hello = make_hello((uint8_t)(i + 1), cookie, COOKIE_SIZE);
			send(fds[h][i], hello.octets, hello.length, 0);
			link_net_settle(&net);
			if (i < DTLS_HANDSHAKES_PER_HOST && started < LIMIT_HANDSHAKES_OPEN - DTLS_HANDSHAKES_OWN)
				started++;
			assert_int_equal(counters->handshakes_started, started);
		}
	}
	assert_int_equal(started, LIMIT_HANDSHAKES_OPEN - DTLS_HANDSHAKES_OWN);
	assert_int_equal(counters->drop_limit, HOSTS * (DTLS_HANDSHAKES_PER_HOST + 1) - started);
	/* Our own calls still go through. */
	struct address to = link_node_address(a);
	link_node_connect(b, &to, 0x11);
	assert_true(link_net_until(&net, b, LINK_EVENT_UP, 1));
	/* Nothing comes of the others. */
	link_net_pass(&net, (LIMIT_HANDSHAKE_SECONDS + 1) * USEC_PER_SEC);
	assert_int_equal(counters->handshakes_failed, started);
	assert_int_equal(runtime_next(&b->runtime), USEC_NEVER);
	connect_nodes();
	for (unsigned h = 0; h < HOSTS; h++)
		for (unsigned i = 0; i <= DTLS_HANDSHAKES_PER_HOST; i++)
			close(fds[h][i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(test_handshake_with_loss),
		TEST(test_lost_final_flight),
		TEST(test_early_data),
		TEST(test_replay),
		TEST(test_restart),
		TEST(test_unfinished_restart),
		TEST(test_lost_acks),
		TEST(test_lost_message),
		TEST(test_dead_link),
		TEST(test_suspicion_taken_back),
		TEST(test_dead_link_transit),
		TEST(test_lossy_link),
		TEST(test_port_unreachable),
		TEST(test_garbage),
		TEST(test_wrong_epoch_and_forged),
		TEST(test_cookie),
		TEST(test_handshake_limits),
	};

	return cmocka_run_group_tests_name("dtls_loss", tests, NULL, NULL);
}
