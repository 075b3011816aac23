/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The transit peer T of bench_fastpath.c and its neighbors A and B: the daemon's own code on a thread of its own, two ends that
 * shake hands as any peer does, and the records of these ends, sealed ahead.
 */
#pragma once

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

enum { MESSAGE_MAX = 2048, TTL = 98, LINK_LOOK_MS = 5, LINK_GIVE_UP_MS = 30000 };

struct node {
	struct runtime runtime;
	struct credential *credential;
	struct trust *trust;
	struct dtls_links *links;
	struct transport transport;
	struct router *router; /* T only, as what follows */
	struct fastpath *fastpath;
	struct router_mirror mirror;
	struct dtls_kernel kernel;
	int fd;
	bool up;

	/* ends */
	bool failed; /* its handshake */
	struct dtls_kernel spy;
	struct record_layer record; /* a copy of its link's, which is not used any more */
	uint32_t sequence;	    /* A: of its next data frame; B: of the next one to come */
};

static struct support_overlay overlay;
static struct node node_a, node_t, node_b;
static _Atomic bool stop, t_ready, t_linked;

/* ---- nodes ---- */

static void end_up(void *userdata, uint16_t slot, bool initiated) {
	struct node *node = userdata;

	(void)slot;
	(void)initiated;
	node->up = true;
}

static void end_down(void *userdata, uint16_t slot, enum link_reason reason) {
	struct node *node = userdata;

	(void)slot;
	if (node->up)
		fail("link down: %s", link_reason_text(reason));
	node->failed = true; /* a machine that is busy elsewhere may make a handshake last too long */
	fprintf(stderr, "  a handshake failed (%s) and is begun anew\n", link_reason_text(reason));
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
		struct fastpath_options options = {
			.runtime = &node->runtime, .listen = {settings.listen[0]}, .listen_count = 1, .shield = true};
		if (fastpath_new(&options, &node->fastpath, reason) < 0)
			fail("no fast path: %s", reason);
		node->mirror = (struct router_mirror){.userdata = node->fastpath, .tables = mirror_tables, .link = mirror_link};
		router_set_mirror(node->router, &node->mirror);
		/* Neighbors whose core others have for a while stand still; that is no reason to take their links from the kernel.
		 */
		node->kernel = *fastpath_kernel(node->fastpath);
		node->kernel.silent = NULL;
		settings.kernel = &node->kernel;
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
	node_turn(&node_t, 0);
	atomic_store(&t_linked, true);
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

/* Waits until something comes, or an end has something to do by itself: a millisecond on this clock may be five. */
static void ends_turn(void) {
	struct pollfd ready[2] = {{.fd = node_a.fd, .events = POLLIN}, {.fd = node_b.fd, .events = POLLIN}};
	int a_ms = timeout_ms(&node_a.runtime), b_ms = timeout_ms(&node_b.runtime), least_ms = a_ms < b_ms ? a_ms : b_ms;

	poll(ready, 2, least_ms < LINK_LOOK_MS ? least_ms : LINK_LOOK_MS);
	node_turn(&node_a, 0);
	node_turn(&node_b, 0);
}

/* Both links, up on both sides, with nothing on its way. */
static void ends_link(void) {
	uint64_t give_up_ns = clock_ns(CLOCK_MONOTONIC) + LINK_GIVE_UP_MS * UINT64_C(1000000);

	node_connect(&node_a);
	node_connect(&node_b);
	while (!node_a.up || !node_b.up || !atomic_load(&t_linked)) {
		ends_turn();
		if (clock_ns(CLOCK_MONOTONIC) > give_up_ns)
			fail("the links do not come up");
		for (struct node *node = &node_a; node; node = node == &node_a ? &node_b : NULL) {
			if (!node->failed)
				continue;
			node->failed = false;
			node_connect(node);
		}
	}
	ends_turn(); /* T has sent all it had to before it said so */
}

static pthread_t transit_start(struct transit *transit) {
	pthread_t thread;

	wire_sink(false);
	wire_moderate(false);
	atomic_store(&stop, false);
	atomic_store(&t_ready, false);
	atomic_store(&t_linked, false);
	if (pthread_create(&thread, NULL, transit_thread, transit) != 0)
		fail("no thread");
	while (!atomic_load(&t_ready))
		usleep(1000);
	node_start(&node_a, 0x10, WIRE_A, transit->cipher, false, false);
	node_start(&node_b, 0x90, WIRE_B, transit->cipher, false, false);
	ends_link();
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

/* The last frames captured are what must come of the frames sent. The ends go on behind them. */
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
	node_a.sequence += count;
	node_b.sequence += count;
}
