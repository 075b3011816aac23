/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a message costs a transit peer, T in A -> T -> B, with the kernel fast path and without it: same wire, same frames, real
 * DTLS links with real keys, acks and via entry included.
 *
 * T is the daemon's own code: router, DTLS links and, in one half of the runs, the engine of the fast path, with a thread of its
 * own on core 1. A and B shake hands as any peer does; then their records are sealed ahead, and programs on core 0 put them on the
 * wire, never more than WINDOW messages ahead of what reached B. A figure is the processor time of everything on T's core (thread
 * that polls the interface, daemon, pad worker) by the messages that arrived at B. Each one arrives, is acknowledged to A, and its
 * ack by B is consumed, else the run fails; some of each run are opened and compared.
 *
 *     transit_user_ns_SIZE       T's sockets get every datagram alone (UDP_GRO off), the cheaper one of two ciphers
 *     transit_user_run_ns_SIZE   the kernel may join datagrams of a link to runs, which load at full rate makes long
 *     transit_xdp_ns_SIZE        fast path with pads
 *     transit_xdp_nopad_ns_SIZE  fast path that computes every keystream itself
 *     transit_xdp_floor_ns       a program that makes two frames of one and redirects both, without reading them (400 octets)
 *     transit_*_latency_us_p50   from A's wire to B's wire at 1000 messages of 400 octets a second, T asleep in between
 *
 * Medians of the repetitions.
 */
#include "fastpath/engine_internal.h"
#include "forward/router.h"
#include "link/dtls.h"
#include "link/frame.h"
#include "link/record.h"
#include "support/support_identity.h"
#include "wire.h"

#include <arpa/inet.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
	REPETITIONS = 7,
	USER_MESSAGES = 12288, /* of a repetition */
	XDP_MESSAGES = WIRE_FRAMES,
	WARM_UP_MESSAGES = 8192,
	WINDOW = 96, /* data, acks and answers together fit the 256 places of an interface's ring */
	LATENCY_MESSAGES = 400,
	LATENCY_INTERVAL_NS = 1000000,
	LATENCY_SIZE = 400,
	QUIET_MS = 20,
	MESSAGE_MAX = 2048,
	TTL = 98,
};

struct node {
	struct runtime runtime;
	struct credential *credential;
	struct trust *trust;
	struct dtls_links *links;
	struct transport transport;
	struct router *router; /* T only, as what follows */
	struct fastpath *fastpath;
	struct router_mirror mirror;
	int fd;
	bool up;

	/* ends */
	struct dtls_kernel spy;
	struct record_layer record; /* a copy of its link's, which is not used any more */
	uint32_t sequence;	    /* A: of its next data frame; B: of the next one to come */
};

static struct support_overlay overlay;
static struct node node_a, node_t, node_b;
static _Atomic bool stop, t_ready;

/* ---- nodes ---- */

static void end_up(void *userdata, uint16_t slot, bool initiated) {
	struct node *node = userdata;

	(void)slot;
	(void)initiated;
	node->up = true;
}

static void end_down(void *userdata, uint16_t slot, enum link_reason reason) {
	(void)userdata;
	(void)slot;
	fail("link down: %s", link_reason_text(reason));
}

static void end_suspect(void *userdata, uint16_t slot, bool suspected) {
	(void)userdata;
	(void)slot;
	(void)suspected;
}

static void end_receive(void *userdata, uint16_t slot, uint8_t *message, size_t length) {
	(void)userdata;
	(void)slot;
	(void)message;
	(void)length;
}

/* The link's keys, as a kernel program would be given them. */
static struct fastpath_slot *spy_attach(void *userdata, uint16_t slot, uint8_t generation, const struct record_state *state) {
	struct node *node = userdata;

	(void)slot;
	(void)generation;
	node->record.state = *state;
	return NULL;
}

static void spy_detach(void *userdata, uint16_t slot) {
	(void)userdata;
	(void)slot;
}

static void mirror_tables(void *userdata, const struct forward_node *forward, const struct forward_route *routes, bool suspects) {
	fastpath_set_tables(userdata, forward, routes, suspects);
}

static void mirror_link(void *userdata, const struct forward_link *link) {
	fastpath_set_link(userdata, link);
}

static void node_start(struct node *node, uint8_t octet, const char *address, const char *cipher, bool routes, bool kernel) {
	struct id id = support_node_id(octet);
	char reason[FASTPATH_REASON_SIZE] = "";
	struct transport_events events = {
		.userdata = node, .up = end_up, .down = end_down, .suspect = end_suspect, .receive = end_receive};

	*node = (struct node){.runtime = {.now_us = clock_monotonic_us(), .source = runtime_source_system()}};
	node->spy = (struct dtls_kernel){.userdata = node, .attach = spy_attach, .detach = spy_detach};
	node->credential = support_credential(&overlay, "bench@example.org", &id, 1);
	if (!node->credential || trust_new(overlay.config, &node->trust) < 0)
		fail("no credential");
	struct dtls_settings settings = {
		.runtime = &node->runtime,
		.trust = node->trust,
		.credential = node->credential,
		.listen_count = 1,
		.cipher_list = cipher,
		.kernel = routes ? NULL : &node->spy,
	};
	address_parse(address, 6084, &settings.listen[0]);
	if (routes) {
		struct router_settings router_settings = {
			.runtime = &node->runtime, .trust = node->trust, .credential = node->credential};
		if (router_new(&router_settings, &node->router) < 0)
			fail("no router");
		events = router_transport_events(node->router);
	}
	if (kernel) {
		struct fastpath_options options = {.runtime = &node->runtime, .listen = {settings.listen[0]}, .listen_count = 1};
		if (fastpath_new(&options, &node->fastpath, reason) < 0)
			fail("no fast path: %s", reason);
		node->mirror = (struct router_mirror){.userdata = node->fastpath, .tables = mirror_tables, .link = mirror_link};
		router_set_mirror(node->router, &node->mirror);
		settings.kernel = fastpath_kernel(node->fastpath);
	}
	if (dtls_links_new(&settings, &events, &node->links, reason, sizeof(reason)) < 0)
		fail("%s", reason);
	node->transport = dtls_links_transport(node->links);
	if (node->router)
		router_set_transport(node->router, node->transport);
	dtls_links_fds(node->links, &node->fd, 1);
}

static void node_stop(struct node *node) {
	fastpath_stop(node->fastpath);
	node->router = router_free(node->router);
	node->links = dtls_links_free(node->links);
	node->fastpath = fastpath_free(node->fastpath);
	node->trust = trust_free(node->trust);
	node->credential = credential_unref(node->credential);
	record_layer_stop(&node->record);
}

/* One round of the daemon's loop. */
static void node_turn(struct node *node, int timeout_ms) {
	struct pollfd ready[1 + FASTPATH_FDS_MAX] = {{.fd = node->fd, .events = POLLIN}};
	int fds[FASTPATH_FDS_MAX];
	size_t count = node->fastpath ? fastpath_fds(node->fastpath, fds, FASTPATH_FDS_MAX) : 0;

	for (size_t i = 0; i < count; i++)
		ready[1 + i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	poll(ready, 1 + count, timeout_ms);
	node->runtime.now_us = clock_monotonic_us();
	runtime_fire(&node->runtime);
	for (size_t i = 0; i < count; i++)
		if (ready[1 + i].revents)
			fastpath_ready(node->fastpath, fds[i]);
	if (ready[0].revents)
		dtls_links_receive(node->links, node->fd);
	dtls_links_flush(node->links);
}

static int timeout_ms(const struct runtime *runtime) {
	uint64_t due_us = runtime_next(runtime), now_us = clock_monotonic_us();

	if (due_us == USEC_NEVER || due_us > now_us + 50000)
		return 50;
	return due_us <= now_us ? 0 : (int)((due_us - now_us + 999) / 1000);
}

struct transit {
	const char *cipher;
	bool kernel, join;
};

static void *transit_thread(void *userdata) {
	const struct transit *transit = userdata;
	struct id a = support_node_id(0x10), b = support_node_id(0x90);
	int off = 0;

	pin(0, CORE_NEAR);
	prefer(0, PRIORITY_PEER);
	enter(wire.near_space);
	node_start(&node_t, 0x50, WIRE_T, transit->cipher, true, transit->kernel);
	if (!transit->join && setsockopt(node_t.fd, IPPROTO_UDP, UDP_GRO, &off, sizeof(off)) < 0)
		fail("UDP_GRO: %s", strerror(errno));
	atomic_store(&t_ready, true);
	while (!(router_connection_of(node_t.router, &a) && router_connection_of(node_t.router, &b)) && !atomic_load(&stop))
		node_turn(&node_t, 1);
	router_set_range(node_t.router, &a, true);
	router_set_routes(node_t.router, (const struct id[]){a, b}, 2);
	router_mark_update_received(node_t.router, &a);
	router_mark_update_received(node_t.router, &b);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		node_turn(&node_t, timeout_ms(&node_t.runtime));
	node_stop(&node_t);
	return NULL;
}

static void node_connect(struct node *node) {
	struct address address;
	uint16_t slot;

	address_parse(WIRE_T, 6084, &address);
	if (node->transport.ops->connect(node->transport.object, &address, 1, NULL, &slot) < 0)
		fail("cannot connect");
}

/* The worker's thread, if there is one. */
static void prefer_pads(void) {
	char path[300], name[32];
	struct dirent *entry;
	DIR *directory = opendir("/proc/self/task");

	while (directory && (entry = readdir(directory))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		FILE *file = fopen(path, "re");
		if (file && fgets(name, sizeof(name), file) && strcmp(name, "pads\n") == 0)
			prefer((pid_t)atoi(entry->d_name), PRIORITY_PADS);
		if (file)
			fclose(file);
	}
	if (directory)
		closedir(directory);
}

static pthread_t transit_start(struct transit *transit) {
	pthread_t thread;

	wire_sink(false);
	atomic_store(&stop, false);
	atomic_store(&t_ready, false);
	if (pthread_create(&thread, NULL, transit_thread, transit) != 0)
		fail("no thread");
	while (!atomic_load(&t_ready))
		usleep(1000);
	node_start(&node_a, 0x10, WIRE_A, transit->cipher, false, false);
	node_start(&node_b, 0x90, WIRE_B, transit->cipher, false, false);
	node_connect(&node_a);
	node_connect(&node_b);
	for (unsigned i = 0; i < 5000 && !(node_a.up && node_b.up); i++) {
		node_turn(&node_a, 1);
		node_turn(&node_b, 1);
	}
	if (!node_a.up || !node_b.up)
		fail("the links do not come up");
	for (unsigned i = 0; i < 300; i++) { /* last flights, and T's tables */
		node_turn(&node_a, 1);
		node_turn(&node_b, 1);
	}
	if (record_layer_start(&node_a.record) < 0 || record_layer_start(&node_b.record) < 0)
		fail("no record layer");
	wire_sink(true);
	wire_pin();
	prefer_pads();
	return thread;
}

static void transit_stop(pthread_t thread) {
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	wire_sink(false);
	node_stop(&node_a);
	node_stop(&node_b);
}

/* ---- frames ---- */

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
		.ttl = TTL,
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

/* The plaintext lies record_prefix() octets into `record`. Returns the length of the whole frame. */
static uint32_t frame_seal(struct node *node, uint8_t *frame, size_t length) {
	const struct record_state *state = &node->record.state;
	ssize_t sealed = record_seal(&node->record, RECORD_APPLICATION, frame + WIRE_HEADERS, length);
	uint32_t local, remote;

	if (sealed < 0)
		fail("a record cannot be sealed");
	memcpy(&local, state->local_address, 4);
	memcpy(&remote, state->remote_address, 4);
	wire_headers(frame, local, state->local_port, remote, state->remote_port, (size_t)sealed);
	return (uint32_t)(WIRE_HEADERS + sealed);
}

static void frames_prepare(size_t length, unsigned count) {
	const size_t prefix = WIRE_HEADERS + record_prefix(&node_a.record.state), overhead = record_overhead(&node_a.record.state);
	uint8_t message[MESSAGE_MAX];

	message_make(message, length);
	for (unsigned i = 0; i < count; i++) {
		struct wire_frame *frame = &wire.frames[i];
		struct wire_ack *ack = &wire.acks[i];
		frame_write_data_header(frame->octets + prefix, node_a.sequence + i, length);
		memcpy(frame->octets + prefix + FRAME_DATA_HEADER, message, length);
		frame->length = frame_seal(&node_a, frame->octets, FRAME_DATA_HEADER + length);
		frame_write_ack(ack->octets + prefix, node_b.sequence + i, 0xfffffffe);
		ack->length = frame_seal(&node_b, ack->octets, FRAME_ACK_LENGTH);
	}
	memcpy(&wire.state->a, node_a.record.state.local_address, 4);
	memcpy(&wire.state->b, node_b.record.state.local_address, 4);
	wire.state->message_length = (uint32_t)(WIRE_HEADERS + overhead + FRAME_DATA_HEADER + length + 2);
	wire.state->ack_length = (uint32_t)(WIRE_HEADERS + overhead + FRAME_ACK_LENGTH);
}

static struct octets open_captured(struct node *node, struct wire_frame *captured) {
	struct reader r = reader_of(captured->octets + WIRE_HEADERS, captured->length - WIRE_HEADERS);
	struct record record;
	uint8_t *plain;
	size_t length;

	if (record_next(&r, &record) < 0 || record_open(&node->record, &record, &plain, &length) < 0)
		fail("a captured record cannot be opened");
	return OCTETS(plain, length);
}

/* The last frames captured are what must come of the frames sent. */
static void frames_check(size_t length, unsigned count) {
	struct wire *w = wire.state;
	uint8_t message[MESSAGE_MAX];
	struct frame frame;

	message_make(message, length);
	struct octets plain = open_captured(&node_b, &w->message);
	if (frame_parse(plain, &frame) < 0 || frame.type != FRAME_DATA || frame.message.length != length + 2 ||
	    frame.sequence != node_b.sequence + (uint32_t)w->captured_message || frame.message.data[11] != TTL - 1 ||
	    memcmp(frame.message.data + 46, message + 44, length - 44) != 0)
		fail("a message was forwarded wrong");
	plain = open_captured(&node_a, &w->ack);
	/* Acks that leave at once overtake those that wait for a frame. */
	if (frame_parse(plain, &frame) < 0 || frame.type != FRAME_ACK || frame.sequence - node_a.sequence >= count)
		fail("a message was acknowledged wrong");
}

/* ---- measuring ---- */

/* Of all that works for T: this process without this thread, and the thread that polls T's interface. */
static uint64_t used_ns(void) {
	clockid_t poller;

	if (clock_getcpuclockid(wire.near_thread, &poller) != 0)
		fail("the thread that polls has gone");
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - clock_ns(CLOCK_THREAD_CPUTIME_ID) + clock_ns(poller);
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *samples, size_t count) {
	qsort(samples, count, sizeof(*samples), compare);
	return samples[count / 2];
}

/* Sends `count` messages and waits until all is done that they cause. Returns nanoseconds each. `links`: there are some. */
static double round_cost(size_t length, unsigned count, bool links, double *ret_busy) {
	if (links)
		frames_prepare(length, count);
	uint64_t used = used_ns();
	wire_run(count, WINDOW, 0);
	usleep(QUIET_MS * 1000);
	used = used_ns() - used;
	*ret_busy = (double)used / (double)(wire.state->last_ns - wire.state->first_ns);
	if (links) {
		frames_check(length, count);
		node_a.sequence += count;
		node_b.sequence += count;
	}
	return (double)used / count;
}

/* Arguments choose parts (user, xdp, floor) and sizes; of what is not named, all. */
static int argument_count;
static char **arguments;

static bool wanted(const char *part) {
	bool any = false;

	for (int i = 1; i < argument_count; i++) {
		if (strcmp(arguments[i], part) == 0)
			return true;
		any = any || isdigit((unsigned char)arguments[i][0]) == isdigit((unsigned char)part[0]);
	}
	return !any;
}

static bool wanted_size(size_t size) {
	char text[16];

	snprintf(text, sizeof(text), "%zu", size);
	return wanted(text);
}

static double measure_cost(const char *name, size_t length, unsigned count, bool links) {
	double samples[REPETITIONS], busy;

	if (!wanted_size(length))
		return 0;
	round_cost(length, WARM_UP_MESSAGES, links, &busy);
	for (unsigned i = 0; i < REPETITIONS; i++) {
		samples[i] = round_cost(length, count, links, &busy);
		fprintf(stderr, "  %s, %zu octets: %.0f ns, core busy %.2f\n", name, length, samples[i], busy);
	}
	return median(samples, REPETITIONS);
}

static double measure_latency(const char *name, bool links) {
	double rounds[REPETITIONS], samples[LATENCY_MESSAGES];

	for (unsigned i = 0; i < REPETITIONS; i++) {
		if (links)
			frames_prepare(LATENCY_SIZE, LATENCY_MESSAGES);
		wire_run(LATENCY_MESSAGES, 1, LATENCY_INTERVAL_NS);
		for (unsigned j = 0; j < LATENCY_MESSAGES; j++)
			samples[j] = wire.state->latency_ns[j] / 1000.0;
		if (links) {
			frames_check(LATENCY_SIZE, LATENCY_MESSAGES);
			node_a.sequence += LATENCY_MESSAGES;
			node_b.sequence += LATENCY_MESSAGES;
		}
		rounds[i] = median(samples, LATENCY_MESSAGES);
		fprintf(stderr, "  %s: latency p50 %.1f us, p99 %.1f us\n", name, rounds[i], samples[LATENCY_MESSAGES * 99 / 100]);
	}
	return median(rounds, REPETITIONS);
}

/* ---- what is measured ---- */

static const size_t sizes[] = {200, 400, 800, 1300};
static struct {
	double user[ARRAY_LENGTH(sizes)], run[ARRAY_LENGTH(sizes)], xdp[ARRAY_LENGTH(sizes)], nopad[ARRAY_LENGTH(sizes)];
	double user_latency, xdp_latency, floor_latency;
} result;

static void keep_smaller(double *place, double value) {
	if (*place == 0 || value < *place)
		*place = value;
}

static void measure_user(const char *name, const char *cipher) {
	char label[64];

	for (unsigned join = 0; join < 2; join++) {
		pthread_t thread = transit_start(&(struct transit){.cipher = cipher, .join = join});
		for (size_t s = 0; s < ARRAY_LENGTH(sizes); s++) {
			snprintf(label, sizeof(label), "%s%s", name, join ? " in runs" : "");
			double cost = measure_cost(label, sizes[s], USER_MESSAGES, true);
			printf("transit_user_%s%s_ns_%zu %.0f\n", join ? "run_" : "", name, sizes[s], cost);
			keep_smaller(join ? &result.run[s] : &result.user[s], cost);
		}
		if (!join)
			keep_smaller(&result.user_latency, measure_latency(name, true));
		transit_stop(thread);
	}
}

static uint64_t lost_to_daemon(const struct fastpath_counters *c) {
	return c->verdicts[FASTPATH_PASSED] + c->verdicts[FASTPATH_DROPPED] + c->verdicts[FASTPATH_REJECTED] +
	       c->verdicts[FASTPATH_FAILED] + c->egress_failed;
}

static struct fastpath_counters counters(void) {
	struct fastpath_counters c;

	if (fastpath_loader_counters(node_t.fastpath->loader, &c) < 0)
		fail("no counters");
	return c;
}

static void explain(void) {
	struct fastpath_counters c = counters();

	for (unsigned i = 0; i < FASTPATH_VERDICT_COUNT; i++)
		fprintf(stderr, "  %s %llu\n", fastpath_verdict_name(i), (unsigned long long)c.verdicts[i]);
	for (unsigned i = 0; i < FASTPATH_PASS_COUNT; i++)
		if (c.passes[i])
			fprintf(stderr, "  passed, %s: %llu\n", fastpath_pass_name(i), (unsigned long long)c.passes[i]);
	for (unsigned i = 0; i < DROP_REASON_COUNT; i++)
		if (c.drops[i])
			fprintf(stderr, "  dropped, %s: %llu\n", drop_reason_name(i), (unsigned long long)c.drops[i]);
}

static double measure_kernel(const char *name, size_t length) {
	struct fastpath_counters before = counters();
	double cost = measure_cost(name, length, XDP_MESSAGES, true);
	struct fastpath_counters after = counters();

	if (lost_to_daemon(&after) != lost_to_daemon(&before))
		fail("%s: %llu datagrams were not handled by the kernel", name,
		     (unsigned long long)(lost_to_daemon(&after) - lost_to_daemon(&before)));
	return cost;
}

/* Takes the rings away from the kernel's side, or gives them back. */
static void set_rings(bool on) {
	for (unsigned i = 0; i < LAYOUT_SLOTS_MAX; i++) {
		struct shared_link *link = &node_t.fastpath->links[i];
		struct fastpath_slot *slot = &node_t.fastpath->tables->slots[i];
		if (!link->pads)
			continue;
		slot->rx_ring = on ? link->ring : FASTPATH_RING_NONE;
		slot->tx_ring = on ? link->ring + 1 : FASTPATH_RING_NONE;
	}
}

static void measure_fastpath(void) {
	pthread_t thread = transit_start(&(struct transit){.cipher = "ECDHE-ECDSA-CHACHA20-POLY1305", .kernel = true});
	double busy;

	wire.explain = explain;
	round_cost(sizes[0], WARM_UP_MESSAGES, true, &busy); /* both links get pads */
	struct fastpath_counters before = counters();
	for (size_t s = 0; s < ARRAY_LENGTH(sizes); s++)
		result.xdp[s] = measure_kernel("fast path", sizes[s]);
	struct fastpath_counters after = counters();
	uint64_t hits = after.pad_hits + after.ack_pad_hits - before.pad_hits - before.ack_pad_hits;
	uint64_t misses = after.pad_misses + after.ack_pad_misses - before.pad_misses - before.ack_pad_misses;
	printf("pad_hit_ratio %.4f\n", (double)hits / (double)(hits + misses));
	result.xdp_latency = measure_latency("fast path", true);
	set_rings(false);
	for (size_t s = 0; s < ARRAY_LENGTH(sizes); s++)
		result.nopad[s] = measure_kernel("without pads", sizes[s]);
	set_rings(true);
	wire.explain = NULL;
	transit_stop(thread);
}

static void measure_floor(void) {
	struct bpf_link *link;

	/* Frames of the last links; nobody opens them. */
	wire_sink(true);
	enter(wire.near_space);
	link = bpf_program__attach_xdp(wire.programs->progs.wire_floor, (int)wire.near);
	for (uint32_t i = 0; i < 2; i++) {
		struct bpf_devmap_val value = {.ifindex = wire.near,
					       .bpf_prog.fd = bpf_program__fd(wire.programs->progs.wire_floor_egress)};
		if (!link || bpf_map_update_elem(bpf_map__fd(wire.programs->maps.near), &i, &value, BPF_ANY) < 0)
			fail("the floor cannot be attached");
	}
	enter(wire.far_space);
	wire_pin();
	wire.state->message_length = wire.frames[0].length + 2;
	printf("transit_xdp_floor_ns %.0f\n", measure_cost("floor", LATENCY_SIZE, XDP_MESSAGES, false));
	result.floor_latency = measure_latency("floor", false);
	bpf_link__destroy(link);
}

int main(int argc, char **argv) {
	argument_count = argc;
	arguments = argv;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay) < 0)
		fail("no overlay");
	pin(0, CORE_FAR);
	wire_open();
	prefer(0, PRIORITY_GENERATOR);
	if (wanted("user")) {
		measure_user("chacha20", "ECDHE-ECDSA-CHACHA20-POLY1305");
		measure_user("aes128gcm", "ECDHE-ECDSA-AES128-GCM-SHA256");
	}
	if (wanted("xdp"))
		measure_fastpath();
	if (wanted("floor"))
		measure_floor();
	for (size_t s = 0; s < ARRAY_LENGTH(sizes); s++) {
		printf("transit_user_ns_%zu %.0f\n", sizes[s], result.user[s]);
		printf("transit_user_run_ns_%zu %.0f\n", sizes[s], result.run[s]);
		printf("transit_xdp_ns_%zu %.0f\n", sizes[s], result.xdp[s]);
		printf("transit_xdp_nopad_ns_%zu %.0f\n", sizes[s], result.nopad[s]);
		if (result.xdp[s] > 0)
			printf("transit_xdp_ratio_%zu %.2f\n", sizes[s], result.user[s] / result.xdp[s]);
	}
	printf("transit_user_latency_us_p50 %.1f\n", result.user_latency);
	printf("transit_xdp_latency_us_p50 %.1f\n", result.xdp_latency);
	printf("transit_floor_latency_us_p50 %.1f\n", result.floor_latency);
	support_overlay_release(&overlay);
	return EXIT_SUCCESS;
}
