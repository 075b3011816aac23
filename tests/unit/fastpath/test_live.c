/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The XDP program on virtual interfaces: real redirection, the egress program that makes an ack and a message of two copies, pins
 * and their adoption, and the modes of attachment. Namespaces of network and mounts of its own.
 */
#include "bed.h"

#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { WAIT_MS = 2000, BURST = 48 };

static char directory[] = "/tmp/ringgate-test-XXXXXX";
static bool prepared;
static int far_links[2] = {-1, -1}, wires[2] = {-1, -1}; /* the other ends of rg0 and rg2 */

/* An interface takes redirected frames only while its other end runs a program too. */
static int attach_far_end(const char *name) {
	static const struct bpf_insn pass[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = XDP_FLAGS_DRV_MODE);
	int program = bpf_prog_load(BPF_PROG_TYPE_XDP, "pass", "Dual BSD/GPL", pass, 2, NULL);
	int link = bpf_link_create(program, (int)if_nametoindex(name), BPF_XDP, &options);

	close(program);
	return link;
}

static int open_wire(const char *name) {
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

	int room = 16 << 20; /* for bursts: each frame counts as pages */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return fd;
}

static int setup(void **state) {
	(void)state;
	if (fastpath_unavailable())
		return 0;
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    !mkdtemp(directory) || mount("bpf", directory, "bpf", 0, NULL) < 0)
		return -1;
	prepared = true;
	if (bed_command("sysctl -qw net.ipv6.conf.default.disable_ipv6=1; for i in 0 2; do ip link add rg$i type veth peer name "
			"rg$((i + 1)) && "
			"ip link set rg$i up && ip link set rg$((i + 1)) up || exit 1; done; ip link set lo up") < 0)
		return -1;
	far_links[0] = attach_far_end("rg1");
	far_links[1] = attach_far_end("rg3");
	wires[0] = open_wire("rg1");
	wires[1] = open_wire("rg3");
	return far_links[0] < 0 || far_links[1] < 0 || wires[0] < 0 || wires[1] < 0 ? -1 : pad_maker_new(&bed.maker);
}

static int teardown(void **state) {
	for (unsigned i = 0; i < 2; i++) {
		if (far_links[i] >= 0)
			close(far_links[i]);
		if (wires[i] >= 0)
			close(wires[i]);
	}
	bed_teardown(state);
	if (prepared) {
		umount2(directory, MNT_DETACH);
		rmdir(directory);
	}
	return 0;
}

/* Octets received on a wire, outgoing ones left out; 0: nothing came in time. */
static size_t receive(int wire, uint8_t *packet, int wait_ms) {
	for (;;) {
		struct pollfd ready = {.fd = wire, .events = POLLIN};
		struct sockaddr_ll from;
		socklen_t size = sizeof(from);
		if (poll(&ready, 1, wait_ms) <= 0)
			return 0;
		ssize_t length = recvfrom(wire, packet, BED_PACKET, 0, (struct sockaddr *)&from, &size);
		assert_true(length >= 0);
		if (from.sll_pkttype != PACKET_OUTGOING)
			return (size_t)length;
	}
}

static void drain(void) {
	uint8_t packet[BED_PACKET];

	while (receive(wires[0], packet, 0) || receive(wires[1], packet, 0)) {
	}
}

static void load(const char *pins) {
	struct fastpath_loader_settings settings = {.rings = BED_RINGS, .pin_directory = pins};
	char reason[FASTPATH_REASON_SIZE];

	bed.loader = fastpath_loader_free(bed.loader);
	if (fastpath_loader_new(&settings, &bed.loader, reason) < 0)
		fail_msg("%s", reason);
	bed.tables = fastpath_loader_tables(bed.loader);
	bed.pendings = fastpath_loader_map(bed.loader, "pendings");
}

static uint8_t attach(const char *name) {
	char reason[FASTPATH_REASON_SIZE];
	enum fastpath_mode mode;
	uint8_t port;

	if (fastpath_loader_attach(bed.loader, if_nametoindex(name), false, &port, &mode, reason) < 0)
		fail_msg("%s", reason);
	assert_int_equal(mode, FASTPATH_MODE_NATIVE);
	return port;
}

/* Tables and links; slot 5, the next hop of what is sent, leaves by `name`. */
static void prepare(uint8_t port, const char *name, uint8_t next_port) {
	bed.port = port;
	bed.ifindex = if_nametoindex("rg0");
	bed_reset();
	struct fastpath_hop hop = bed.tables->slots[5].hop;
	hop.port = next_port;
	hop.ifindex = if_nametoindex(name);
	fastpath_hop_store(&bed.tables->slots[5], &hop);
	drain();
}

static size_t build(uint8_t *message, size_t size) {
	return forward_message_build(&(struct forward_message){.ttl = 40, .code = 7, .destinations = "nb0", .size = size}, message);
}

/* What userspace would send for that message: slot 1 gets the ack, slot 5 the message. */
static void expected(size_t length, uint32_t sequence_in, uint32_t sequence_out, uint8_t *ack, size_t *ack_length, uint8_t *out,
		     size_t *out_length) {
	uint8_t plain[FRAME_DATA_HEADER + FORWARD_CASE_OCTETS];

	frame_write_ack(plain, sequence_in, frame_receiver_note(&bed.receiver[1], sequence_in));
	*ack_length = bed_expected(1, plain, FRAME_ACK_LENGTH, ack);
	/* ttl, length, and o3.001 in the via list */
	struct forward_message m = {.ttl = 39, .code = 7, .destinations = "nb0", .via = "o3.001", .size = length + 2};
	frame_write_data_header(plain, sequence_out, length + 2);
	assert_int_equal(forward_message_build(&m, plain + FRAME_DATA_HEADER), length + 2);
	*out_length = bed_expected(5, plain, FRAME_DATA_HEADER + length + 2, out);
}

/* Sends bursts of messages over the wire of slot 1; acks come back by it, messages by `out_wire`. */
static void exchange(int out_wire) {
	static const size_t sizes[] = {100, 400, 900, 1400};
	static uint8_t message[FORWARD_CASE_OCTETS], packets[BURST][BED_PACKET], acks[BURST][BED_PACKET], outs[BURST][BED_PACKET];
	size_t lengths[BURST], ack_lengths[BURST], out_lengths[BURST];
	uint8_t got[BED_PACKET];

	for (unsigned i = 0; i < BURST; i++) {
		size_t length = build(message, sizes[i % 4]);
		uint32_t sequence = bed.sequence[1];
		lengths[i] = bed_data(1, message, length, packets[i]);
		expected(length, sequence, bed.tables->slots[5].tx_sequence + i, acks[i], &ack_lengths[i], outs[i],
			 &out_lengths[i]);
	}
	for (unsigned i = 0; i < BURST; i++)
		assert_int_equal(send(wires[0], packets[i], lengths[i], 0), lengths[i]);
	unsigned got_acks = 0, got_outs = 0;
	while (got_acks < BURST || got_outs < BURST) {
		int wire = out_wire != wires[0] && got_acks == BURST ? out_wire : wires[0];
		size_t length = receive(wire, got, WAIT_MS);
		if (length == 0)
			fail_msg("%u acks and %u messages came", got_acks, got_outs);
		/* virtual interfaces hand the VLAN tag over beside the frame: slots 1 and 5 differ in it */
		if (got_acks < BURST && length == ack_lengths[got_acks] && memcmp(got, acks[got_acks], length) == 0) {
			got_acks++;
			continue;
		}
		assert_true(got_outs < BURST);
		const uint8_t *out = outs[got_outs];
		size_t out_length = out_lengths[got_outs];
		bool untagged = length == out_length - 4;
		if (untagged) {
			assert_memory_equal(got, out, 12);
			assert_memory_equal(got + 12, out + 16, length - 12);
		} else {
			assert_int_equal(length, out_length);
			assert_memory_equal(got, out, length);
		}
		got_outs++;
	}
	struct fastpath_counters counters = bed_counters();
	assert_int_equal(counters.egress_failed, 0);
	assert_int_equal(counters.verdicts[FASTPATH_FAILED], 0);
}

static void test_two_devices(void **state) {
	(void)state;
	FASTPATH_OR_SKIP();
	load(NULL);
	uint8_t a = attach("rg0"), b = attach("rg2");
	assert_int_not_equal(a, b);
	prepare(a, "rg2", b);
	exchange(wires[1]);
	exchange(wires[1]);
	assert_int_equal(bed_counters().verdicts[FASTPATH_FORWARDED], 2 * BURST);
}

static void test_one_device(void **state) {
	(void)state;
	FASTPATH_OR_SKIP();
	load(NULL);
	uint8_t a = attach("rg0");
	prepare(a, "rg0", a);
	exchange(wires[0]);
	exchange(wires[0]);
	assert_int_equal(bed_counters().verdicts[FASTPATH_FORWARDED], 2 * BURST);
}

/* A message that is dropped without a word is acknowledged all the same (FW-A03). */
static void test_ack_alone(void **state) {
	uint8_t message[FORWARD_CASE_OCTETS], packet[BED_PACKET], plain[FRAME_ACK_LENGTH], ack[BED_PACKET], got[BED_PACKET];

	(void)state;
	FASTPATH_OR_SKIP();
	load(NULL);
	uint8_t a = attach("rg0");
	prepare(a, "rg0", a);
	size_t length = forward_message_build(&(struct forward_message){.ttl = 40, .code = 8, .destinations = "n77"}, message);
	length = bed_data(1, message, length, packet);
	frame_write_ack(plain, 0, 0);
	size_t ack_length = bed_expected(1, plain, sizeof(plain), ack);
	assert_int_equal(send(wires[0], packet, length, 0), length);
	assert_int_equal(receive(wires[0], got, WAIT_MS), ack_length);
	assert_memory_equal(got, ack, ack_length);
	assert_int_equal(bed_counters().drops[DROP_NODE_IN_RANGE_UNREACHABLE], 1);
}

/* The daemon ends: what is pinned goes on. It comes back: numbers, keys and windows are where they were. */
static void test_pins(void **state) {
	char pins[128], path[256];
	struct stat status;

	(void)state;
	FASTPATH_OR_SKIP();
	snprintf(pins, sizeof(pins), "%s/ringgate", directory);
	load(pins);
	assert_false(fastpath_loader_adopted(bed.loader));
	uint8_t a = attach("rg0"), b = attach("rg2");
	prepare(a, "rg2", b);
	exchange(wires[1]);
	bed.loader = fastpath_loader_free(bed.loader);

	/* nobody is there; the message reaches the next hop */
	static uint8_t message[FORWARD_CASE_OCTETS], packet[BED_PACKET], ack[BED_PACKET], out[BED_PACKET], got[BED_PACKET];
	size_t length = build(message, 300), ack_length, out_length, packet_length;
	uint32_t sequence = bed.sequence[1];
	packet_length = bed_data(1, message, length, packet);
	expected(length, sequence, BURST, ack, &ack_length, out, &out_length);
	assert_int_equal(send(wires[0], packet, packet_length, 0), packet_length);
	assert_int_equal(receive(wires[0], got, WAIT_MS), ack_length);
	assert_memory_equal(got, ack, ack_length);
	assert_true(receive(wires[1], got, WAIT_MS) >= out_length - 4);

	load(pins);
	assert_true(fastpath_loader_adopted(bed.loader));
	assert_int_equal(bed.tables->slots[5].tx_sequence, BURST + 1);
	assert_int_equal(bed.tables->slots[5].record.tx_next, BURST + 2);
	assert_int_equal(attach("rg0"), a);
	assert_int_equal(attach("rg2"), b);
	exchange(wires[1]);
	assert_int_equal(bed_counters().verdicts[FASTPATH_FORWARDED], 2 * BURST + 1);

	/* tables of another layout are not taken over */
	bed.tables->control->version++;
	load(pins);
	assert_false(fastpath_loader_adopted(bed.loader));
	assert_int_equal(bed.tables->slots[5].record.tx_next, 0);
	assert_int_equal(bed.tables->slots[5].rx_ring, FASTPATH_RING_NONE);
	attach("rg0");
	attach("rg2");
	fastpath_loader_unpin(bed.loader);
	snprintf(path, sizeof(path), "%s/ringgate", directory);
	assert_int_equal(stat(path, &status), -1);
}

static void test_modes(void **state) {
	char reason[FASTPATH_REASON_SIZE] = "";
	enum fastpath_mode mode = FASTPATH_MODE_OFF;
	unsigned loopback = if_nametoindex("lo");
	uint8_t port;

	(void)state;
	FASTPATH_OR_SKIP();
	load(NULL);
	assert_int_equal(fastpath_loader_mode(bed.loader, loopback), FASTPATH_MODE_OFF);
	assert_int_equal(fastpath_loader_attach(bed.loader, loopback, false, &port, &mode, reason), -EOPNOTSUPP);
	assert_string_not_equal(reason, "");
	assert_int_equal(fastpath_loader_mode(bed.loader, loopback), FASTPATH_MODE_OFF);
	assert_int_equal(fastpath_loader_attach(bed.loader, loopback, true, &port, &mode, reason), 0);
	assert_int_equal(mode, FASTPATH_MODE_GENERIC);
	assert_string_equal(fastpath_mode_name(mode), "generic");
	assert_int_equal(fastpath_loader_mode(bed.loader, loopback), FASTPATH_MODE_GENERIC);
	assert_int_equal(fastpath_loader_attach(bed.loader, 9999, true, &port, &mode, reason), -EOPNOTSUPP);
	assert_int_equal(fastpath_loader_detach(bed.loader, loopback), 0);
	assert_int_equal(fastpath_loader_detach(bed.loader, loopback), -ENOENT);
	attach("rg0");
	assert_int_equal(fastpath_loader_attach(bed.loader, if_nametoindex("rg0"), false, &port, &mode, reason), -EEXIST);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_devices), cmocka_unit_test(test_one_device), cmocka_unit_test(test_ack_alone),
		cmocka_unit_test(test_pins),	    cmocka_unit_test(test_modes),
	};

	return cmocka_run_group_tests_name("fastpath live", tests, setup, teardown);
}
