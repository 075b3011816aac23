/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A loaded program with links to made-up peers, and what these peers see of it. Included by the tests of the program; everything
 * runs in a network namespace of its own with one pair of virtual interfaces.
 *
 * Slots are those of tests/support/forward_cases.c. Slot n: IPv4, odd ones with a VLAN tag from 5 on; even ones are IPv6.
 */
#pragma once

#include "fastpath/loader.h"
#include "fastpath/pad_maker.h"
#include "link/frame.h"
#include "link/record.h"
#include "link_state.h"
#include "support/fastpath_bpf.h"
#include "support/forward_cases.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { BED_SLOTS = 10, BED_PACKET = 4096, BED_PORT = 6084, BED_RINGS = 20, BED_MTU = 1500 };

struct bed {
	struct fastpath_loader *loader;
	struct fastpath_tables *tables;
	struct pad_maker *maker;
	int pendings;
	int cpu; /* what is kept for each CPU is read from this one, to which the test is bound */
	unsigned ifindex;
	uint8_t port;
	uint16_t ack_wait;
	struct record_layer peer[BED_SLOTS];   /* the other sides */
	struct record_layer mirror[BED_SLOTS]; /* this side as userspace has it, to say what must come out */
	uint32_t sequence[BED_SLOTS];	       /* next data frame of the peer */
	struct frame_receiver receiver[BED_SLOTS];
};

/* What came of a packet. */
struct bed_result {
	uint32_t verdict;
	uint8_t packet[BED_PACKET];
	size_t length;
	bool has_ack;
	uint8_t ack[FASTPATH_FRAME_MAX];
	size_t ack_length;
};

static struct bed bed;

static inline bool bed_is_ipv6(unsigned slot) {
	return slot % 2 == 0;
}

static inline uint16_t bed_vlan(unsigned slot) {
	return slot >= 5 && slot % 2 ? (uint16_t)(100 + slot) : 0;
}

static inline void bed_addresses(unsigned slot, uint8_t local[static 16], uint8_t remote[static 16]) {
	memset(local, 0, 16);
	memset(remote, 0, 16);
	if (bed_is_ipv6(slot)) {
		inet_pton(AF_INET6, "2001:db8::1", local);
		inet_pton(AF_INET6, "2001:db8:1::", remote);
		remote[15] = (uint8_t)slot;
	} else {
		inet_pton(AF_INET, "192.0.2.1", local);
		inet_pton(AF_INET, "198.51.100.0", remote);
		remote[3] = (uint8_t)slot;
	}
}

static inline uint16_t bed_sum(const uint8_t *octets, size_t length, uint32_t sum) {
	for (size_t i = 0; i < length; i++)
		sum += i % 2 ? octets[i] : (uint32_t)octets[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* The packet with a datagram, written without any code of the program. `inbound`: from the peer. */
static inline size_t bed_packet(unsigned slot, bool inbound, const void *payload, size_t length, uint8_t *out) {
	static const uint8_t ours[6] = {2, 0, 0, 0, 0, 1};
	uint8_t theirs[6] = {2, 0, 0, 0, 1, (uint8_t)slot}, local[16], remote[16];
	struct writer w = writer_fixed(out, BED_PACKET);
	size_t at;

	bed_addresses(slot, local, remote);
	writer_octets(&w, OCTETS(inbound ? ours : theirs, 6));
	writer_octets(&w, OCTETS(inbound ? theirs : ours, 6));
	if (bed_vlan(slot)) {
		writer_u16(&w, 0x8100);
		writer_u16(&w, bed_vlan(slot));
	}
	if (bed_is_ipv6(slot)) {
		writer_u16(&w, 0x86dd);
		writer_u32(&w, 0x60000000);
		writer_u16(&w, (uint16_t)(length + 8));
		writer_u8(&w, 17);
		writer_u8(&w, 64);
		writer_octets(&w, OCTETS(inbound ? remote : local, 16));
		writer_octets(&w, OCTETS(inbound ? local : remote, 16));
	} else {
		at = w.length;
		writer_u16(&w, 0x0800);
		at = w.length;
		writer_u16(&w, 0x4500);
		writer_u16(&w, (uint16_t)(length + 28));
		writer_u32(&w, 0x4000);
		writer_u16(&w, 64 << 8 | 17);
		writer_u16(&w, 0);
		writer_octets(&w, OCTETS(inbound ? remote : local, 4));
		writer_octets(&w, OCTETS(inbound ? local : remote, 4));
		uint16_t sum = (uint16_t)~bed_sum(out + at, 20, 0);
		out[at + 10] = (uint8_t)(sum >> 8);
		out[at + 11] = (uint8_t)sum;
	}
	at = w.length;
	writer_u16(&w, BED_PORT);
	writer_u16(&w, BED_PORT);
	writer_u16(&w, (uint16_t)(length + 8));
	writer_u16(&w, 0);
	writer_octets(&w, OCTETS(payload, length));
	assert_int_equal(writer_finish(&w), 0);
	if (bed_is_ipv6(slot)) {
		uint32_t seed = bed_sum(local, 16, bed_sum(remote, 16, (uint32_t)(17 + length + 8)));
		uint16_t sum = (uint16_t)~bed_sum(out + at, length + 8, seed);
		if (sum == 0)
			sum = 0xffff;
		out[at + 6] = (uint8_t)(sum >> 8);
		out[at + 7] = (uint8_t)sum;
	}
	return w.length;
}

static inline void bed_find_ack(struct bed_result *result) {
	int cpus = libbpf_num_possible_cpus();
	struct fastpath_pending *all = calloc((size_t)cpus, sizeof(*all));
	uint64_t mark;
	uint32_t place;

	assert_non_null(all);
	memcpy(&mark, result->packet, sizeof(mark));
	place = (uint32_t)(mark >> FASTPATH_MARK_PLACE) % FASTPATH_PENDING;
	assert_int_equal(bpf_map_lookup_elem(bed.pendings, &place, all), 0);
	const struct fastpath_pending *pending = &all[bed.cpu];
	assert_true(pending->mark == mark);
	/* as ringgate_egress does */
	result->has_ack = true;
	result->ack_length = pending->ack_length;
	assert_in_range(result->ack_length, 14, FASTPATH_FRAME_MAX);
	memcpy(result->ack, pending->ack, result->ack_length);
	memcpy(result->packet, pending->ethernet, 12);
	free(all);
}

static inline void bed_run(const uint8_t *packet, size_t length, struct bed_result *ret) {
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = (uint32_t)length, .data_out = ret->packet,
		    .data_size_out = sizeof(ret->packet), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(fastpath_loader_program(bed.loader), &options), 0);
	ret->verdict = options.retval;
	ret->length = options.data_size_out;
	ret->has_ack = false;
	/* An ack alone leaves with its addresses, a message with a mark. */
	if (ret->verdict == XDP_REDIRECT && ret->packet[2] == 0x47 && ret->packet[3] == 0x52)
		bed_find_ack(ret);
}

/* A record of the peer. Returns its length. */
static inline size_t bed_seal(unsigned slot, const uint8_t *plain, size_t length, uint8_t *record) {
	memmove(record + RECORD_HEADER, plain, length);
	ssize_t total = record_seal(&bed.peer[slot], RECORD_APPLICATION, record, length);
	assert_true(total > 0);
	return (size_t)total;
}

/* A data frame of the peer, as a packet. */
static inline size_t bed_data(unsigned slot, const uint8_t *message, size_t length, uint8_t *packet) {
	uint8_t plain[BED_PACKET], record[BED_PACKET];

	frame_write_data_header(plain, bed.sequence[slot]++, length);
	memcpy(plain + FRAME_DATA_HEADER, message, length);
	return bed_packet(slot, true, record, bed_seal(slot, plain, FRAME_DATA_HEADER + length, record), packet);
}

/* The packet that this side must send with that plaintext: the mirror's next record. */
static inline size_t bed_expected(unsigned slot, const uint8_t *plain, size_t length, uint8_t *packet) {
	uint8_t record[BED_PACKET];

	memcpy(record + RECORD_HEADER, plain, length);
	ssize_t total = record_seal(&bed.mirror[slot], RECORD_APPLICATION, record, length);
	assert_true(total > 0);
	return bed_packet(slot, false, record, (size_t)total, packet);
}

static inline void bed_keys(unsigned slot) {
	uint8_t master[RECORD_MASTER_SECRET], client[RECORD_RANDOM], server[RECORD_RANDOM];

	memset(master, (int)slot, sizeof(master));
	memset(client, 2, sizeof(client));
	memset(server, 3, sizeof(server));
	struct record_layer *layers[] = {&bed.peer[slot], &bed.mirror[slot]};
	for (unsigned i = 0; i < 2; i++) {
		record_layer_stop(layers[i]);
		assert_int_equal(record_state_derive(&layers[i]->state, RECORD_CHACHA20_POLY1305, "SHA256", master, client, server,
						     i == 0, 1),
				 0);
		assert_int_equal(record_layer_start(layers[i]), 0);
	}
}

/* New keys and counters in slot `slot`; it is reachable with the flags in `link`. */
static inline void bed_link(const struct forward_link *link) {
	unsigned number = link->slot;
	struct fastpath_slot *slot = &bed.tables->slots[number];
	struct fastpath_hop hop = {
		.ifindex = bed.ifindex,
		.port = bed.port,
		.destination = {2, 0, 0, 0, 1, (uint8_t)number},
		.source = {2, 0, 0, 0, 0, 1},
		.vlan = bed_vlan(number),
		.mtu = BED_MTU,
		.hop_limit = 64,
		.flags = FASTPATH_HOP_VALID,
	};

	bed_keys(number);
	memset(slot, 0, sizeof(*slot));
	memcpy(&slot->record, &bed.mirror[number].state, offsetof(struct fastpath_record, rx_window));
	bed_addresses(number, slot->record.local_address, slot->record.remote_address);
	slot->record.local_port = slot->record.remote_port = BED_PORT;
	slot->record.family = bed_is_ipv6(number) ? AF_INET6 : AF_INET;
	slot->record.mtu = BED_MTU;
	slot->link = *link;
	slot->rx_ring = slot->tx_ring = FASTPATH_RING_NONE;
	fastpath_hop_store(slot, &hop);
	assert_int_equal(fastpath_slot_open(bed.tables, (uint16_t)number), 0);
	slot->link.flags = link->flags; /* also such that are not up */
	bed.sequence[number] = 0;
	bed.receiver[number] = (struct frame_receiver){0};
}

/* Links and tables of a case. The links keep their keys. */
static inline void bed_tables_of(const struct forward_case *c, uint16_t flags) {
	struct forward_link links[FORWARD_CASE_SLOTS];
	struct forward_route routes[FORWARD_CASE_ROUTES];
	struct fastpath_settings settings = {
		.node = forward_case_node(c),
		.flags = flags,
		.udp_ports = {htons(BED_PORT)},
		.compute_max = FASTPATH_TEXT_MAX,
		.hello_rate = 10,
		.hello_burst = 5,
		.plain_rate = 100,
		.plain_burst = 50,
		.all_hello_rate = 20,
		.all_hello_burst = 40,
		.prefix4 = 24,
		.prefix6 = 56,
		.ack_wait = bed.ack_wait,
	};
	size_t count = forward_case_links(c, links), route_count = forward_case_routes(c, routes);

	for (unsigned i = 1; i < BED_SLOTS; i++)
		bed.tables->slots[i].link.flags = 0;
	for (size_t i = 0; i < count; i++)
		bed.tables->slots[links[i].slot].link.flags = links[i].flags;
	assert_int_equal(fastpath_tables_replace(bed.tables, &settings, routes, (uint32_t)route_count), 0);
}

static inline struct fastpath_counters bed_counters(void) {
	struct fastpath_counters counters;

	assert_int_equal(fastpath_loader_counters(bed.loader, &counters), 0);
	return counters;
}

static inline int bed_command(const char *command) {
	int status = system(command);

	return status == 0 ? 0 : -1;
}

/* The device under the program, as an administrator changes it. */
static inline void bed_device_mtu(unsigned mtu) {
	char command[48];

	snprintf(command, sizeof(command), "ip link set rg0 mtu %u", mtu);
	assert_int_equal(bed_command(command), 0);
}

/* For the links of the case without anything set, all new. */
static inline void bed_reset(void) {
	static const struct forward_case plain = {.row = ""};
	struct forward_link links[FORWARD_CASE_SLOTS];
	size_t count = forward_case_links(&plain, links);

	for (size_t i = 0; i < count; i++)
		bed_link(&links[i]);
	bed_tables_of(&plain, FASTPATH_FORWARD | FASTPATH_SHIELD);
}

static inline int bed_setup(void **state) {
	struct fastpath_loader_settings settings = {.rings = BED_RINGS};
	char reason[FASTPATH_REASON_SIZE] = "";
	enum fastpath_mode mode;

	(void)state;
	if (fastpath_unavailable())
		return 0;
	cpu_set_t cpus;
	bed.cpu = sched_getcpu();
	CPU_ZERO(&cpus);
	CPU_SET(bed.cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0 || unshare(CLONE_NEWNET) < 0 ||
	    bed_command("ip link add rg0 type veth peer name rg1 && ip link set rg0 up && ip link set rg1 up") < 0)
		return -1;
	bed.ifindex = if_nametoindex("rg0");
	if (fastpath_loader_new(&settings, &bed.loader, reason) < 0 ||
	    fastpath_loader_attach(bed.loader, bed.ifindex, false, &bed.port, &mode, reason) < 0) {
		print_error("%s\n", reason);
		return -1;
	}
	bed.tables = fastpath_loader_tables(bed.loader);
	bed.pendings = fastpath_loader_map(bed.loader, "pendings");
	return pad_maker_new(&bed.maker);
}

static inline int bed_teardown(void **state) {
	(void)state;
	for (unsigned i = 0; i < BED_SLOTS; i++) {
		record_layer_stop(&bed.peer[i]);
		record_layer_stop(&bed.mirror[i]);
	}
	bed.maker = pad_maker_free(bed.maker);
	bed.loader = fastpath_loader_free(bed.loader);
	return 0;
}

/* Fills ring `ring` for the next FASTPATH_PAD_RING records of one direction. */
static inline void bed_fill_pads(unsigned slot, bool sending, uint16_t ring, uint32_t length) {
	struct fastpath_slot *s = &bed.tables->slots[slot];
	struct pad_key key;
	struct pad_job jobs[FASTPATH_PAD_RING];
	uint64_t first = sending ? s->record.tx_next : s->record.rx_end;

	memcpy(key.key, sending ? s->record.tx_key : s->record.rx_key, PAD_KEY);
	memcpy(key.iv, sending ? s->record.tx_iv : s->record.rx_iv, PAD_IV);
	for (unsigned i = 0; i < FASTPATH_PAD_RING; i++) {
		uint64_t number = first + i;
		struct fastpath_pad *pad = &bed.tables->pads[ring * FASTPATH_PAD_RING + number % FASTPATH_PAD_RING];
		jobs[i] = (struct pad_job){
			.sequence = pad_sequence(1, number), .poly_key = pad->poly_key, .keystream = pad->keystream};
	}
	assert_int_equal(pad_maker_make(bed.maker, &key, jobs, FASTPATH_PAD_RING, 0, length), 0);
	for (unsigned i = 0; i < FASTPATH_PAD_RING; i++) {
		uint64_t number = first + i;
		struct fastpath_pad *pad = &bed.tables->pads[ring * FASTPATH_PAD_RING + number % FASTPATH_PAD_RING];
		pad->length = length;
		__atomic_store_n(&pad->number, jobs[i].sequence, __ATOMIC_RELEASE);
	}
	*(sending ? &s->tx_ring : &s->rx_ring) = ring;
}
