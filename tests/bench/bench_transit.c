/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one message costs a transit peer in userspace, over real DTLS links on loopback addresses: A -> T -> B.
 *
 * T, a router on its DTLS links, has a thread and a core of its own. A and B, two ends of links, live in the main thread on another
 * core and keep a bounded number of messages under way, so that nothing is dropped. The figure is the CPU time of T's thread,
 * system time included, by the messages it forwarded: open, decide, edit, seal, send, the ack sent to A and the ack received from
 * B. Every size is measured with both ciphers; transit_loopback_ns_SIZE is the cheaper one. Medians of the repetitions.
 *
 * The figures that the fast path is compared with are those of bench_fastpath.c, over virtual Ethernet; these here show the sockets
 * without any interface.
 *
 * Every datagram of A is sent alone, as datagrams come from a wire. transit_loopback_run_ns_SIZE is with A sending bursts, which on
 * one machine reach T as runs that the kernel never took apart: the best case for sockets. transit_router_ns is the router's part:
 * over a transport that does nothing.
 *
 * Latency is from A's send to B's receive at 1000 messages a second, T sleeping in poll() between them as the daemon does.
 */
#include "forward/router.h"
#include "link/dtls.h"
#include "support/support_identity.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	REPETITIONS = 7,
	WARM_UP_MS = 300,
	REPETITION_MS = 250,
	UNDER_WAY_MAX = 192, /* messages between A and B; T's queue towards B holds more */
	BURST = 64,
	STALL_MS = 100, /* nothing arrives: what was under way is lost */
	LATENCY_MESSAGES = 1000,
	ROUTER_MESSAGES = 200000,
	LATENCY_SIZE = 400,
	MESSAGE_MAX = 2048,
};

struct node {
	struct runtime runtime;
	struct credential *credential;
	struct trust *trust;
	struct dtls_links *links;
	struct transport transport;
	struct router *router; /* T only */
	int fd;
	bool up;
	uint16_t slot;
	uint64_t received, last_ns, first_stamp;
};

static struct support_overlay overlay;
static struct node node_a, node_t, node_b;

/* Between the threads. */
static struct {
	_Atomic bool stop;
	_Atomic unsigned asked, answered;
	uint64_t cpu_ns, forwarded; /* T's, as of `answered` */
} shared;

static uint64_t clock_ns(clockid_t clock) {
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void fail(const char *what) {
	fprintf(stderr, "bench_transit: %s\n", what);
	exit(EXIT_FAILURE);
}

/* ---- the ends ---- */

static void end_up(void *userdata, uint16_t slot, bool initiated) {
	struct node *node = userdata;

	(void)initiated;
	node->up = true;
	node->slot = slot;
}

static void end_down(void *userdata, uint16_t slot, enum link_reason reason) {
	(void)userdata;
	(void)slot;
	fprintf(stderr, "bench_transit: link down: %s\n", link_reason_text(reason));
	exit(EXIT_FAILURE);
}

static void end_suspect(void *userdata, uint16_t slot, bool suspected) {
	(void)userdata;
	(void)slot;
	(void)suspected;
}

static void end_receive(void *userdata, uint16_t slot, uint8_t *message, size_t length) {
	struct node *node = userdata;

	(void)slot;
	node->received++;
	node->last_ns = clock_ns(CLOCK_MONOTONIC);
	memcpy(&node->first_stamp, message + length - sizeof(node->first_stamp), sizeof(node->first_stamp));
}

static struct transport_events events_of(struct node *node) {
	if (node->router)
		return router_transport_events(node->router);
	return (struct transport_events){
		.userdata = node, .up = end_up, .down = end_down, .suspect = end_suspect, .receive = end_receive};
}

static void node_start(struct node *node, uint8_t octet, const char *address, const char *cipher, bool routes) {
	struct id id = support_node_id(octet);
	char reason[256] = "";

	*node = (struct node){.runtime = {.now_us = clock_monotonic_us(), .source = runtime_source_system()}};
	node->credential = support_credential(&overlay, "bench@example.org", &id, 1);
	if (!node->credential || trust_new(overlay.config, &node->trust) < 0)
		fail("no credential");
	if (routes) {
		struct router_settings settings = {.runtime = &node->runtime, .trust = node->trust, .credential = node->credential};
		if (router_new(&settings, &node->router) < 0)
			fail("no router");
	}
	struct dtls_settings settings = {
		.runtime = &node->runtime,
		.trust = node->trust,
		.credential = node->credential,
		.listen_count = 1,
		.cipher_list = cipher,
	};
	address_parse(address, 0, &settings.listen[0]);
	struct transport_events events = events_of(node);
	if (dtls_links_new(&settings, &events, &node->links, reason, sizeof(reason)) < 0)
		fail(reason);
	node->transport = dtls_links_transport(node->links);
	if (node->router)
		router_set_transport(node->router, node->transport);
	dtls_links_fds(node->links, &node->fd, 1);
}

static void node_stop(struct node *node) {
	node->router = router_free(node->router);
	node->links = dtls_links_free(node->links);
	node->trust = trust_free(node->trust);
	node->credential = credential_unref(node->credential);
}

/* One round of the daemon's loop. */
static void node_turn(struct node *node, int timeout_ms) {
	struct pollfd ready = {.fd = node->fd, .events = POLLIN};

	poll(&ready, 1, timeout_ms);
	node->runtime.now_us = clock_monotonic_us();
	runtime_fire(&node->runtime);
	if (ready.revents)
		dtls_links_receive(node->links, node->fd);
	dtls_links_flush(node->links);
}

/* ---- T ---- */

static void pin(int core) {
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)core, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0)
		fprintf(stderr, "bench_transit: cannot pin a thread to core %d\n", core);
}

static int timeout_ms(const struct runtime *runtime) {
	uint64_t due_us = runtime_next(runtime), now_us = clock_monotonic_us();

	if (due_us == USEC_NEVER || due_us > now_us + 5000)
		return 5;
	return due_us <= now_us ? 0 : (int)((due_us - now_us + 999) / 1000);
}

static void *transit_thread(void *userdata) {
	(void)userdata;
	pin(1);
	while (!atomic_load_explicit(&shared.stop, memory_order_relaxed)) {
		node_turn(&node_t, timeout_ms(&node_t.runtime));
		unsigned asked = atomic_load_explicit(&shared.asked, memory_order_relaxed);
		if (asked != atomic_load_explicit(&shared.answered, memory_order_relaxed)) {
			shared.cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
			shared.forwarded = router_counters(node_t.router)->forwarded;
			atomic_store_explicit(&shared.answered, asked, memory_order_release);
		}
	}
	return NULL;
}

/* ---- load ---- */

/* A FetchReq in the middle of its way: two compact via entries, a Resource-ID that B owns; `length` octets in all. */
static void message_make(uint8_t *message, size_t length) {
	struct id resource = support_node_id(0x80);
	uint8_t lists[64];
	struct writer list = writer_fixed(lists, sizeof(lists)), w = writer_fixed(message, length);

	destination_write_compact(&list, 0x1005);
	destination_write_compact(&list, 0x2077);
	size_t via = list.length;
	destination_write_resource(&list, id_octets(&resource));
	struct forwarding_header header = {
		.overlay = overlay.config->overlay_hash,
		.configuration_sequence = overlay.config->sequence,
		.version = RELOAD_VERSION,
		.ttl = 98,
		.fragment = FRAGMENT_NONE,
		.length = (uint32_t)length,
		.transaction_id = 1,
		.via_list = OCTETS(lists, via),
		.destination_list = OCTETS(lists + via, list.length - via),
	};
	memset(message, 0x5a, length);
	forwarding_header_write(&w, &header);
	writer_u16(&w, FETCH_REQ);
	if (writer_finish(&w) < 0)
		fail("the message cannot be made");
}

static bool send_one(uint8_t *message, size_t length) {
	uint64_t stamp = clock_ns(CLOCK_MONOTONIC);
	struct iovec part = {message, length};

	memcpy(message + length - sizeof(stamp), &stamp, sizeof(stamp));
	return node_a.transport.ops->send(node_a.transport.object, node_a.slot, &part, 1, 0) == 0;
}

struct load {
	uint8_t message[MESSAGE_MAX];
	size_t length;
	uint64_t sent, lost, heard_ns;
	bool single;
};

static void load_turn(struct load *load) {
	uint64_t before = node_b.received, under_way = load->sent - load->lost - node_b.received;

	node_a.runtime.now_us = clock_monotonic_us();
	for (unsigned i = 0; i < BURST && under_way + i < UNDER_WAY_MAX; i++) {
		load->sent += send_one(load->message, load->length);
		if (load->single)
			dtls_links_flush(node_a.links);
	}
	node_turn(&node_a, 0);
	node_turn(&node_b, 0);
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	if (node_b.received != before) {
		load->heard_ns = now_ns;
	} else if (now_ns - load->heard_ns > STALL_MS * UINT64_C(1000000)) {
		load->lost = load->sent - node_b.received;
		load->heard_ns = now_ns;
	}
}

static void load_for(struct load *load, unsigned milliseconds) {
	uint64_t until_ns = clock_ns(CLOCK_MONOTONIC) + milliseconds * UINT64_C(1000000);

	while (clock_ns(CLOCK_MONOTONIC) < until_ns)
		load_turn(load);
}

struct snapshot {
	uint64_t cpu_ns, forwarded;
};

static struct snapshot snapshot(struct load *load) {
	unsigned asked = atomic_load(&shared.asked) + 1;

	atomic_store(&shared.asked, asked);
	while (atomic_load_explicit(&shared.answered, memory_order_acquire) != asked)
		load_turn(load);
	return (struct snapshot){.cpu_ns = shared.cpu_ns, .forwarded = shared.forwarded};
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double measure_cost(size_t length, bool single) {
	struct load load = {.length = length, .single = single, .heard_ns = clock_ns(CLOCK_MONOTONIC)};
	double samples[REPETITIONS];

	message_make(load.message, length);
	node_b.received = 0;
	load_for(&load, WARM_UP_MS);
	for (unsigned i = 0; i < REPETITIONS; i++) {
		struct snapshot before = snapshot(&load);
		load_for(&load, REPETITION_MS);
		struct snapshot after = snapshot(&load);
		if (after.forwarded == before.forwarded)
			fail("nothing was forwarded");
		samples[i] = (double)(after.cpu_ns - before.cpu_ns) / (double)(after.forwarded - before.forwarded);
		fprintf(stderr, "  %zu octets%s: %.0f ns, %.0f messages/s, %llu lost\n", length, single ? " singly" : "",
			samples[i], (double)(after.forwarded - before.forwarded) * 1000 / REPETITION_MS,
			(unsigned long long)load.lost);
	}
	qsort(samples, REPETITIONS, sizeof(*samples), compare);
	/* what is still under way must not be counted by the next one */
	for (unsigned i = 0; i < 50; i++) {
		node_turn(&node_a, 1);
		node_turn(&node_b, 1);
	}
	return samples[REPETITIONS / 2];
}

struct latency {
	double p50, p99;
};

static struct latency latency_round(void) {
	static double samples[LATENCY_MESSAGES];
	uint8_t message[MESSAGE_MAX];
	size_t count = 0;

	message_make(message, LATENCY_SIZE);
	uint64_t next_ns = clock_ns(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < LATENCY_MESSAGES; i++, next_ns += 1000000) {
		uint64_t received = node_b.received;
		while (clock_ns(CLOCK_MONOTONIC) < next_ns)
			;
		node_a.runtime.now_us = clock_monotonic_us();
		send_one(message, LATENCY_SIZE);
		dtls_links_flush(node_a.links);
		while (node_b.received == received && clock_ns(CLOCK_MONOTONIC) < next_ns + 100000000)
			node_turn(&node_b, 0);
		if (node_b.received != received)
			samples[count++] = (double)(node_b.last_ns - node_b.first_stamp) / 1000;
		node_turn(&node_a, 0);
	}
	if (count < LATENCY_MESSAGES / 2)
		fail("most messages were lost or late");
	qsort(samples, count, sizeof(*samples), compare);
	return (struct latency){.p50 = samples[count / 2], .p99 = samples[count * 99 / 100]};
}

static struct latency measure_latency(void) {
	double p50[REPETITIONS], p99[REPETITIONS];

	for (unsigned i = 0; i < REPETITIONS; i++) {
		struct latency round = latency_round();
		p50[i] = round.p50;
		p99[i] = round.p99;
		fprintf(stderr, "  latency: p50 %.1f us, p99 %.1f us\n", round.p50, round.p99);
	}
	qsort(p50, REPETITIONS, sizeof(*p50), compare);
	qsort(p99, REPETITIONS, sizeof(*p99), compare);
	return (struct latency){.p50 = p50[REPETITIONS / 2], .p99 = p99[REPETITIONS / 2]};
}

/* ---- the router alone ---- */

static int null_send(void *transport, uint16_t slot, const struct iovec *parts, size_t count, unsigned flags) {
	(void)transport;
	(void)slot;
	(void)parts;
	(void)count;
	(void)flags;
	return 0;
}

static size_t null_payload_max(void *transport, uint16_t slot) {
	(void)transport;
	(void)slot;
	return 1400;
}

/* Before T's thread begins; its links stay as they are. */
static double measure_router(void) {
	struct transport_ops ops = *node_t.transport.ops;
	struct transport_events events = router_transport_events(node_t.router);
	struct id a = support_node_id(0x10);
	uint16_t slot = router_connection_of(node_t.router, &a)->slot;
	uint8_t message[MESSAGE_MAX];
	double samples[REPETITIONS];

	ops.send = null_send;
	ops.payload_max = null_payload_max;
	router_set_transport(node_t.router, (struct transport){.ops = &ops, .object = node_t.transport.object});
	message_make(message, 400);
	uint64_t forwarded = router_counters(node_t.router)->forwarded;
	for (unsigned i = 0; i < REPETITIONS; i++) {
		uint64_t start_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		for (unsigned j = 0; j < ROUTER_MESSAGES; j++)
			events.receive(events.userdata, slot, message, 400);
		samples[i] = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns) / ROUTER_MESSAGES;
	}
	if (router_counters(node_t.router)->forwarded - forwarded != (uint64_t)REPETITIONS * ROUTER_MESSAGES)
		fail("the router did not forward");
	router_set_transport(node_t.router, node_t.transport);
	qsort(samples, REPETITIONS, sizeof(*samples), compare);
	return samples[REPETITIONS / 2];
}

/* ---- set-up ---- */

static void connect_to(struct node *from, const struct node *to) {
	struct address address = dtls_links_local(to->links);
	uint16_t slot;

	if (from->transport.ops->connect(from->transport.object, &address, 1, NULL, &slot) < 0)
		fail("cannot connect");
}

static void start(const char *cipher) {
	struct id a = support_node_id(0x10), b = support_node_id(0x90);

	if (support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay) < 0)
		fail("no overlay");
	node_start(&node_a, 0x10, "127.0.0.2", cipher, false);
	node_start(&node_t, 0x50, "127.0.0.3", cipher, true);
	node_start(&node_b, 0x90, "127.0.0.4", cipher, false);
	connect_to(&node_a, &node_t);
	connect_to(&node_t, &node_b);
	for (unsigned i = 0; i < 2000 && !(node_a.up && node_b.up && router_connection_of(node_t.router, &a)); i++) {
		node_turn(&node_a, 1);
		node_turn(&node_t, 1);
		node_turn(&node_b, 1);
	}
	if (!node_a.up || !node_b.up)
		fail("the links do not come up");
	router_set_range(node_t.router, &a, true);
	router_set_routes(node_t.router, (const struct id[]){a, b}, 2);
	router_mark_update_received(node_t.router, &a);
	router_mark_update_received(node_t.router, &b);
}

static void stop(void) {
	node_stop(&node_a);
	node_stop(&node_t);
	node_stop(&node_b);
	support_overlay_release(&overlay);
}

static const size_t sizes[] = {200, 400, 800, 1300};

struct result {
	double run[ARRAY_LENGTH(sizes)], single[ARRAY_LENGTH(sizes)];
	struct latency latency;
};

static struct result measure(const char *name, const char *cipher) {
	struct result result;
	pthread_t thread;

	start(cipher);
	pin(0);
	if (strcmp(name, "chacha20") == 0)
		printf("transit_router_ns %.0f\n", measure_router());
	atomic_store(&shared.stop, false);
	if (pthread_create(&thread, NULL, transit_thread, NULL) != 0)
		fail("no thread");
	fprintf(stderr, "%s\n", cipher);
	for (size_t s = 0; s < ARRAY_LENGTH(sizes); s++) {
		result.run[s] = measure_cost(sizes[s], false);
		result.single[s] = measure_cost(sizes[s], true);
		printf("transit_loopback_%s_ns_%zu %.0f\n", name, sizes[s], result.single[s]);
		printf("transit_loopback_run_%s_ns_%zu %.0f\n", name, sizes[s], result.run[s]);
	}
	result.latency = measure_latency();
	atomic_store(&shared.stop, true);
	pthread_join(thread, NULL);
	fprintf(stderr, "T: %llu forwarded, %llu dropped for congestion\n",
		(unsigned long long)router_counters(node_t.router)->forwarded,
		(unsigned long long)dtls_links_counters(node_t.links)->drop_congestion);
	stop();
	return result;
}

static double smaller(double a, double b) {
	return a < b ? a : b;
}

int main(void) {
	struct result chacha20 = measure("chacha20", "ECDHE-ECDSA-CHACHA20-POLY1305");
	struct result aes128 = measure("aes128gcm", "ECDHE-ECDSA-AES128-GCM-SHA256");
	const struct latency *latency = chacha20.latency.p50 < aes128.latency.p50 ? &chacha20.latency : &aes128.latency;

	for (size_t s = 0; s < ARRAY_LENGTH(sizes); s++) {
		printf("transit_loopback_ns_%zu %.0f\n", sizes[s], smaller(chacha20.single[s], aes128.single[s]));
		printf("transit_loopback_run_ns_%zu %.0f\n", sizes[s], smaller(chacha20.run[s], aes128.run[s]));
	}
	printf("transit_loopback_latency_us_p50 %.1f\ntransit_loopback_latency_us_p99 %.1f\n", latency->p50, latency->p99);
	return EXIT_SUCCESS;
}
