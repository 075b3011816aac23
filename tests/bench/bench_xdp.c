/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One run of the XDP program for one message, timed by the kernel (BPF_PROG_RUN): opened, decided about, edited, sealed, its ack
 * sealed; with pads and without. What the devices cost and what pads cost to make is not in it: those are the transit figures.
 * Every record is a new one, so that each run stands alone, with the caches that a system call leaves; xdp_run_ is a median,
 * xdp_stream_ the least, which other programs disturb least.
 */
#include "../unit/fastpath/bed.h"

enum { RUNS = 4000, SIZES = 4, DROP_CALLS = 50, DROP_RUNS = 2000 };

static int compare_u32(const void *a, const void *b) {
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t run(size_t size, bool pads) {
	static uint8_t message[FORWARD_CASE_OCTETS], packet[BED_PACKET], out[BED_PACKET];
	static uint32_t times[RUNS];

	bed_reset();
	size_t length = forward_message_build(
		&(struct forward_message){.ttl = 40, .code = 7, .via = "o1.002 o1.003", .destinations = "nb0", .size = size},
		message);
	for (unsigned i = 0; i < RUNS; i++) {
		if (pads && i % 100 == 0) {
			bed_fill_pads(1, false, 2, 1472);
			bed_fill_pads(1, true, 3, 64);
			bed_fill_pads(5, true, 4, 1472);
		}
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_out = out, .data_size_out = sizeof(out),
			    .repeat = 1);
		options.data_size_in = (uint32_t)bed_data(1, message, length, packet);
		if (bpf_prog_test_run_opts(fastpath_loader_program(bed.loader), &options) < 0 || options.retval != XDP_REDIRECT)
			fail_msg("run %u of %zu octets: %u", i, size, options.retval);
		times[i] = options.duration;
	}
	qsort(times, RUNS, sizeof(times[0]), compare_u32);
	return times[RUNS / 2];
}

/* As in a stream: a message whose ack waits, and the next hop's ack whose frame carries it. The least of all runs, each. */
static void run_pair(size_t size) {
	static uint8_t message[FORWARD_CASE_OCTETS], packet[BED_PACKET], out[BED_PACKET];
	uint8_t plain[FRAME_ACK_LENGTH], record[BED_PACKET];
	uint32_t message_ns = UINT32_MAX, ack_ns = UINT32_MAX;
	unsigned carried = 0;

	bed.ack_wait = UINT16_MAX;
	bed_reset();
	size_t length = forward_message_build(
		&(struct forward_message){.ttl = 40, .code = 7, .via = "o1.002 o1.003", .destinations = "nb0", .size = size},
		message);
	for (unsigned i = 0; i < RUNS; i++) {
		uint32_t sequence = bed.tables->slots[5].tx_sequence;

		if (i % 100 == 0) {
			bed_fill_pads(1, false, 2, 1472);
			bed_fill_pads(1, true, 3, 64);
			bed_fill_pads(5, true, 4, 1472);
			bed_fill_pads(5, false, 5, 64);
		}
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_out = out, .data_size_out = sizeof(out),
			    .repeat = 1);
		options.data_size_in = (uint32_t)bed_data(1, message, length, packet);
		if (bpf_prog_test_run_opts(fastpath_loader_program(bed.loader), &options) < 0 || options.retval != XDP_REDIRECT)
			fail_msg("run %u of %zu octets: %u", i, size, options.retval);
		bool waits = !(out[2] == 0x47 && out[3] == 0x52);
		if (waits && options.duration < message_ns)
			message_ns = options.duration;
		frame_write_ack(plain, sequence, 0);
		options.data_size_in = (uint32_t)bed_packet(5, true, record, bed_seal(5, plain, sizeof(plain), record), packet);
		options.data_size_out = sizeof(out);
		if (bpf_prog_test_run_opts(fastpath_loader_program(bed.loader), &options) < 0)
			fail_msg("ack %u", i);
		if (options.retval == XDP_REDIRECT) {
			carried++;
			if (options.duration < ack_ns)
				ack_ns = options.duration;
		}
	}
	if (carried < RUNS / 2)
		fail_msg("%u acks of %d were carried", carried, RUNS);
	printf("xdp_stream_message_ns_%zu %u\n", size, message_ns);
	printf("xdp_stream_ack_ns_%zu %u\n", size, ack_ns);
	bed.ack_wait = 0;
}

/* The datagram in `packet` over and over, which is dropped: the least average of DROP_RUNS runs. */
static void run_drops(const char *kind, uint8_t *packet, size_t length) {
	static uint8_t out[BED_PACKET];
	uint32_t least_ns = UINT32_MAX;

	for (unsigned i = 0; i < DROP_CALLS; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = (uint32_t)length, .data_out = out,
			    .data_size_out = sizeof(out), .repeat = DROP_RUNS);
		if (bpf_prog_test_run_opts(fastpath_loader_program(bed.loader), &options) < 0 || options.retval != XDP_DROP)
			fail_msg("%s: %u", kind, options.retval);
		if (options.duration < least_ns)
			least_ns = options.duration;
	}
	printf("xdp_drop_%s_ns %u\n", kind, least_ns);
}

/* What the floods of bench_fastpath.c cost without the devices: noise, a record of a link with a wrong tag, a ClientHello too many.
 */
static void bench_drops(void **state) {
	struct fastpath_listener listener = {.port = htons(BED_PORT), .family = AF_INET};
	uint8_t payload[437] = {0x55}, packet[BED_PACKET], remote[16];
	uint32_t value = 1;
	size_t length;

	(void)state;
	FASTPATH_OR_SKIP();
	bed_reset();
	bed_fill_pads(1, false, 2, 1472);
	bed_addresses(1, listener.address, remote);
	bpf_map_update_elem(bed.tables->listeners, &listener, &value, BPF_ANY);
	length = bed_packet(1, true, payload, 218, packet);
	packet[14 + 12 + 2] = 0x31;
	run_drops("random", packet, length);
	memcpy(payload, "\x17\xfe\xfd\0\1\0\3\0\0\0\0\1\xa8", 13); /* far ahead of what comes */
	run_drops("forged", packet, bed_packet(1, true, payload, sizeof(payload), packet));
	payload[6] = 0; /* one that has a pad */
	payload[10] = 9;
	run_drops("forged_next", packet, bed_packet(1, true, payload, sizeof(payload), packet));
	memcpy(payload, "\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\1", 14);
	length = bed_packet(1, true, payload, 67, packet);
	packet[14 + 12 + 2] = 0x31;
	for (unsigned i = 0; i < 2 * DROP_RUNS; i++) {
		struct bed_result result;
		bed_run(packet, length, &result);
		if (result.verdict == XDP_DROP)
			break;
	}
	run_drops("hello", packet, length);
}

static void bench(void **state) {
	static const size_t sizes[SIZES] = {200, 400, 800, 1300};

	(void)state;
	FASTPATH_OR_SKIP();
	for (unsigned i = 0; i < SIZES; i++) {
		printf("xdp_run_ns_%zu %u\n", sizes[i], run(sizes[i], true));
		printf("xdp_run_nopad_ns_%zu %u\n", sizes[i], run(sizes[i], false));
		run_pair(sizes[i]);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(bench_drops), cmocka_unit_test(bench)};

	return cmocka_run_group_tests_name("xdp", tests, bed_setup, bed_teardown);
}
