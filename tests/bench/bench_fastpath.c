/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a message costs a transit peer, T in A -> T -> B, with the kernel fast path and without it: same wire, same frames, real
 * DTLS links with real keys, acks and via entry included.
 *
 * T is the daemon's own code: router, DTLS links and, where it is measured, the engine of the fast path, with a thread of its own
 * on core 1. A and B shake hands as any peer does; then their records are sealed ahead, and programs on core 0 put them on the
 * wire, never more than WINDOW messages ahead of what reached B. A figure is the processor time of everything on T's core (thread
 * that polls the interface, daemon, pad worker) by the messages that arrived at B. Each one arrives, is acknowledged to A, and its
 * ack by B is consumed, else the run fails; some of each run are opened and compared.
 *
 * REPETITIONS turns, one topology after the other in each, so that what else the machine does meets all of them. Each round of
 * messages is cut into slices of WIRE_SLICE_MESSAGES, and a figure is the median of the costs of all slices of all turns in which
 * T's core was saturated: busy for SATURATED of the slice's time or more. Where a hypervisor takes core 0 away for a while, T waits
 * for single frames, and wakes up for each of them; that is not what a message costs at saturation, and which way it meets is
 * chance. The same rule holds for all ways. Time that is taken away from T's own core counts as the peer's, and falls out where it
 * comes in bursts, on all sides alike. A slice holds its share of what happens now and then, above all of pad making, which goes
 * on every 140 messages. Where fewer than SLICES_LEAST slices of some way were saturated after REPETITIONS turns, that way is
 * measured again, up to TURNS_MAX turns in all; if there are still fewer, the benchmark prints no such figure and fails. How many
 * slices counted, what the same figures are by whole rounds, and the ratio within each turn, goes to stderr, as rounds do.
 *
 *     transit_user_ns_SIZE       sockets; of the four that follow the one whose calmest slices are the cheapest
 *     transit_user_CIPHER_ns_SIZE, transit_user_run_CIPHER_ns_SIZE    by cipher; every datagram alone (UDP_GRO off), or in runs as
 *                                the kernel joins them, which is what the daemon asks for
 *     transit_xdp_ns_SIZE        fast path with pads
 *     transit_xdp_nopad_ns_SIZE  fast path that computes every keystream itself
 *     transit_xdp_floor_ns       a program that redirects the same frames without reading them (LATENCY_SIZE octets); the neighbors
 *                                are slower than that, so that this one is not of a saturated core, but of all slices
 *     transit_saturated_share    of all slices but the floor's, those that counted
 *     transit_ratio_SIZE         transit_user_ns_SIZE by transit_xdp_ns_SIZE
 *     pad_hit_ratio              of the records of transit_xdp_ns_*, those that found their pad
 *     transit_*_latency_us_p50   from A's wire to B's wire at 1000 messages of 400 octets a second, T asleep in between; the
 *                                floor acknowledges in copies, as the fast path does at this rate
 *     transit_latency_ratio      what the fast path adds to the floor by what sockets add to it
 *     transit_flood_KIND_ratio   with FLOOD_RATE datagrams a second more: cost of a message without them by its cost with them,
 *                                all that they cost counted to the messages; random: any octets from anywhere, forged: records
 *                                of A's address with a wrong tag, hello: ClientHellos from thousands of addresses
 *                                Core 0 makes the flood as well, and is the limit where it is slower than T: then the slowest
 *                                slices would be the saturated ones. So here those count, with a flood and without, in which T's
 *                                core was busy for FLOOD_BUSY of the time.
 *     transit_flood_KIND_ns      what one datagram of the flood costs T
 *     transit_flood_datagrams_per_second    as many came indeed: core 0 makes the flood besides all else
 *     transit_foreign_load       share of the machine that other programs took meanwhile; above some hundredths figures are too
 *                                high
 */
#include "transit.h"

#include <stddef.h>

enum {
	REPETITIONS = 11,
	TURNS_MAX = 15,
	EXTRA_TURNS_S = 300, /* later none is begun */
	FLOOD_ROUNDS = 2,    /* of a turn: each a calm one and one of each flood */
	SLICES_LEAST = 48,
	USER_MESSAGES = 8192, /* of a round */
	XDP_MESSAGES = 16384,
	SLICES_MAX = TURNS_MAX * FLOOD_ROUNDS * 3 * XDP_MESSAGES / WIRE_SLICE_MESSAGES, /* calm rounds between floods are most */
	WARM_UP_MESSAGES = 4096,							/* before those of a round */
	WINDOW = 96, /* data, acks and answers together fit the 256 places of an interface's ring */
	LATENCY_MESSAGES = 300,
	LATENCY_INTERVAL_NS = 1000000,
	LATENCY_SIZE = 400,
	FLOOD_RATE = 100000,
	FLOOD_SIZE = 400,  /* of messages */
	FLOOD_WINDOW = 88, /* room for the flood */
	QUIET_MS = 20,
	SIZES = 4,
};
_Static_assert((WARM_UP_MESSAGES + XDP_MESSAGES) / WIRE_SLICE_MESSAGES <= WIRE_SLICES, "slices of a round");

static const double CALM_SHARE = 0.1, SATURATED = 0.9, FLOOD_BUSY = 0.5;
static const size_t sizes[SIZES] = {200, 400, 800, 1300};

enum topology { USER_CHACHA, USER_AES, RUN_CHACHA, RUN_AES, XDP, NOPAD, FLOOR, TOPOLOGY_COUNT };

static const struct {
	const char *part; /* argument that asks for it */
	const char *name; /* of figures: transit_NAME_ns_SIZE */
	unsigned messages;
	struct transit transit;
} topologies[TOPOLOGY_COUNT] = {
	[USER_CHACHA] = {"user", "user_chacha20", USER_MESSAGES, {.cipher = "ECDHE-ECDSA-CHACHA20-POLY1305"}},
	[USER_AES] = {"user", "user_aes128gcm", USER_MESSAGES, {.cipher = "ECDHE-ECDSA-AES128-GCM-SHA256"}},
	[RUN_CHACHA] = {"user", "user_run_chacha20", USER_MESSAGES, {.cipher = "ECDHE-ECDSA-CHACHA20-POLY1305", .join = true}},
	[RUN_AES] = {"user", "user_run_aes128gcm", USER_MESSAGES, {.cipher = "ECDHE-ECDSA-AES128-GCM-SHA256", .join = true}},
	[XDP] = {"xdp", "xdp", XDP_MESSAGES, {.cipher = "ECDHE-ECDSA-CHACHA20-POLY1305", .kernel = true}},
	[NOPAD] = {"nopad", "xdp_nopad", XDP_MESSAGES, {.cipher = "ECDHE-ECDSA-CHACHA20-POLY1305", .kernel = true}},
	[FLOOR] = {"floor", "xdp_floor", XDP_MESSAGES, {.cipher = NULL}},
};

enum flood { FLOOD_RANDOM, FLOOD_FORGED, FLOOD_HELLO, FLOOD_COUNT };
static const char *const flood_names[FLOOD_COUNT] = {"random", "forged", "hello"};

struct samples {
	double *values;
	unsigned count;
};

/* What messages cost: nanoseconds each. */
struct costs {
	struct samples slices, turns, rounds; /* of slices, their medians in each turn (0: there are none), and of whole rounds */
	unsigned measured;		      /* slices, saturated or not */
};

static struct {
	struct costs cost[TOPOLOGY_COUNT][SIZES], calm, flooded[FLOOD_COUNT];
	struct samples latency[TOPOLOGY_COUNT], flood_ns[FLOOD_COUNT], flood_rate;
	uint64_t hits, misses;
	unsigned turn;
	bool lacks;  /* slices of some way */
	bool failed; /* to measure a figure */
} result;

static void keep(struct samples *samples, double value) {
	if (!samples->values && !(samples->values = calloc(SLICES_MAX, sizeof(samples->values[0]))))
		fail("no memory");
	if (samples->count < SLICES_MAX)
		samples->values[samples->count++] = value;
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of those from the `first` on, the one that `share` of them are below. 0: there are none. */
static double quantile(const struct samples *samples, unsigned first, double share) {
	static double sorted[SLICES_MAX];
	unsigned count = samples->count - first;

	if (count == 0)
		return 0;
	memcpy(sorted, samples->values + first, count * sizeof(sorted[0]));
	qsort(sorted, count, sizeof(sorted[0]), compare);
	return sorted[(unsigned)(share * count)];
}

static double median(const struct samples *samples) {
	return quantile(samples, 0, 0.5);
}

static void costs_release(struct costs *costs) {
	free(costs->slices.values);
	free(costs->turns.values);
	free(costs->rounds.values);
}

static void release(void) {
	for (unsigned t = 0; t < TOPOLOGY_COUNT; t++) {
		free(result.latency[t].values);
		for (unsigned s = 0; s < SIZES; s++)
			costs_release(&result.cost[t][s]);
	}
	costs_release(&result.calm);
	for (unsigned flood = 0; flood < FLOOD_COUNT; flood++) {
		costs_release(&result.flooded[flood]);
		free(result.flood_ns[flood].values);
	}
	free(result.flood_rate.values);
}

/* Arguments choose parts (user, xdp, nopad, floor, flood) and sizes; of what is not named, all. */
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

/* ---- rounds ---- */

/*
 * Sends WARM_UP_MESSAGES and `count` more, and waits until all is done that they cause; keeps what each of the latter costs. In one
 * go, because between two the kernel takes its time. `links`: there are some, else it is the floor, which nobody can saturate.
 * Slices in which T's core was busy for less than `least` of the time do not count. Returns the share of its time in which T's core
 * was busy.
 */
static double measure_round(size_t length, unsigned count, unsigned window, bool links, double least, struct costs *costs) {
	const unsigned all = WARM_UP_MESSAGES + count, before = WARM_UP_MESSAGES / WIRE_SLICE_MESSAGES - 1,
		       last = all / WIRE_SLICE_MESSAGES - 1, first = costs->slices.count;
	const __u64 *used_ns = wire.state->used_ns, *at_ns = wire.state->at_ns;

	if (links)
		frames_prepare(length, all);
	wire_run(all, window, 0);
	usleep(QUIET_MS * 1000);
	for (unsigned i = before; i < last; i++) {
		double used = (double)(used_ns[i + 1] - used_ns[i]), passed = (double)(at_ns[i + 1] - at_ns[i]);
		if (used_ns[i] == 0 || used_ns[i + 1] == 0)
			continue;
		costs->measured++;
		if (used >= least * passed)
			keep(&costs->slices, used / WIRE_SLICE_MESSAGES);
	}
	if (used_ns[before] == 0 || used_ns[last] == 0)
		fail("a round could not be measured");
	keep(&costs->rounds, (double)(wire_used_ns() - used_ns[before]) / count);
	keep(&costs->turns, quantile(&costs->slices, first, 0.5));
	if (links)
		frames_check(length, all);
	return (double)(used_ns[last] - used_ns[before]) / (double)(at_ns[last] - at_ns[before]);
}

static double last_of(const struct samples *samples) {
	return samples->values[samples->count - 1];
}

/* Are these costs to be measured in this turn? Notes when there are still too few of them. */
static bool is_due(const struct costs *costs) {
	return result.turn < REPETITIONS || costs->slices.count < SLICES_LEAST;
}

static void note_lack(const struct costs *costs) {
	if (costs->slices.count < SLICES_LEAST)
		result.lacks = true;
}

static void measure_cost(enum topology topology, unsigned s) {
	struct costs *costs = &result.cost[topology][s];
	unsigned before = costs->slices.count, measured = costs->measured;
	double busy;

	if (!is_due(costs))
		return;
	busy = measure_round(sizes[s], topologies[topology].messages, WINDOW, topology != FLOOR, topology != FLOOR ? SATURATED : 0,
			     costs);
	note_lack(costs);
	fprintf(stderr, "  %s, %zu octets: %.0f ns in %u of %u slices, whole round %.0f ns, core busy %.2f\n",
		topologies[topology].name, sizes[s], last_of(&costs->turns), costs->slices.count - before,
		costs->measured - measured, last_of(&costs->rounds), busy);
}

static void measure_latency(enum topology topology) {
	double samples[LATENCY_MESSAGES];

	if (topology != FLOOR)
		frames_prepare(LATENCY_SIZE, LATENCY_MESSAGES);
	wire_run(LATENCY_MESSAGES, 1, LATENCY_INTERVAL_NS);
	for (unsigned i = 0; i < LATENCY_MESSAGES; i++)
		samples[i] = wire.state->latency_ns[i] / 1000.0;
	if (topology != FLOOR)
		frames_check(LATENCY_SIZE, LATENCY_MESSAGES);
	qsort(samples, LATENCY_MESSAGES, sizeof(samples[0]), compare);
	keep(&result.latency[topology], samples[LATENCY_MESSAGES / 2]);
	fprintf(stderr, "  %s: latency p50 %.1f us, p99 %.1f us\n", topologies[topology].name, samples[LATENCY_MESSAGES / 2],
		samples[LATENCY_MESSAGES * 99 / 100]);
}

/* ---- sockets ---- */

static bool any_due(enum topology topology) {
	for (unsigned s = 0; s < SIZES; s++)
		if (wanted_size(sizes[s]) && is_due(&result.cost[topology][s]))
			return true;
	return false;
}

static void measure_user(enum topology topology) {
	struct transit transit = topologies[topology].transit;
	pthread_t thread;

	if (!any_due(topology))
		return;
	thread = transit_start(&transit);
	for (unsigned s = 0; s < SIZES; s++)
		if (wanted_size(sizes[s]))
			measure_cost(topology, s);
	if (!transit.join && result.turn < REPETITIONS)
		measure_latency(topology);
	transit_stop(thread);
}

/* ---- fast path ---- */

static struct fastpath_counters counters(void) {
	struct fastpath_counters c;

	if (fastpath_loader_counters(node_t.fastpath->loader, &c) < 0)
		fail("no counters");
	return c;
}

static void explain(void) {
	struct fastpath_counters c = counters();

	fprintf(stderr, "  %llu datagrams of a flood; acks: %llu sent, %llu carried, %llu lost; %llu frames met no counterpart\n",
		(unsigned long long)wire.state->flooded, (unsigned long long)c.acks_sent, (unsigned long long)c.acks_carried,
		(unsigned long long)c.acks_lost, (unsigned long long)c.egress_failed);
	for (unsigned i = 0; i < FASTPATH_VERDICT_COUNT; i++)
		fprintf(stderr, "  %s %llu\n", fastpath_verdict_name(i), (unsigned long long)c.verdicts[i]);
	for (unsigned i = 0; i < FASTPATH_PASS_COUNT; i++)
		if (c.passes[i])
			fprintf(stderr, "  passed, %s: %llu\n", fastpath_pass_name(i), (unsigned long long)c.passes[i]);
	for (unsigned i = 0; i < DROP_REASON_COUNT; i++)
		if (c.drops[i])
			fprintf(stderr, "  dropped, %s: %llu\n", drop_reason_name(i), (unsigned long long)c.drops[i]);
}

static uint64_t not_forwarded(const struct fastpath_counters *c) {
	return c->verdicts[FASTPATH_PASSED] + c->verdicts[FASTPATH_DROPPED] + c->verdicts[FASTPATH_REJECTED] +
	       c->verdicts[FASTPATH_FAILED] + c->egress_failed;
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

static void measure_kernel(enum topology topology) {
	struct fastpath_counters before = counters(), after;

	for (unsigned s = 0; s < SIZES; s++)
		if (wanted_size(sizes[s]))
			measure_cost(topology, s);
	after = counters();
	if (not_forwarded(&after) != not_forwarded(&before))
		fail("%s: %llu datagrams were not handled by the kernel", topologies[topology].name,
		     (unsigned long long)(not_forwarded(&after) - not_forwarded(&before)));
	if (topology != XDP)
		return;
	result.hits += after.pad_hits + after.ack_pad_hits - before.pad_hits - before.ack_pad_hits;
	result.misses += after.pad_misses + after.ack_pad_misses - before.pad_misses - before.ack_pad_misses;
}

/* ---- floods ---- */

/* Always the same octets. */
static uint32_t random_next(uint64_t *state) {
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(*state >> 32);
}

/* A ClientHello without a cookie (RFC 6347 4.2.1). Returns its length. */
static size_t hello_write(uint8_t *out, uint64_t *state) {
	enum { BODY = 2 + 32 + 1 + 1 + 4 + 2, MESSAGE = 12 + BODY };
	struct writer w = writer_fixed(out, WIRE_FLOOD_MAX - WIRE_HEADERS);
	uint8_t random[32];

	for (unsigned i = 0; i < sizeof(random); i++)
		random[i] = (uint8_t)random_next(state);
	writer_octets(&w, OCTETS("\x16\xfe\xff\0\0\0\0\0\0\0\0\0", 12));
	writer_u8(&w, MESSAGE);
	writer_octets(&w, OCTETS("\1\0\0", 3));
	writer_u8(&w, BODY);
	writer_octets(&w, OCTETS("\0\0\0\0\0\0\0", 7));
	writer_u8(&w, BODY);
	writer_u16(&w, 0xfefd);
	writer_octets(&w, OCTETS(random, sizeof(random)));
	writer_u16(&w, 0); /* no session, no cookie */
	writer_u16(&w, 2);
	writer_u16(&w, 0xcca9);
	writer_u16(&w, 0x0100);
	return w.length;
}

static void flood_prepare(enum flood flood) {
	uint32_t peer, local, source;
	uint64_t state = 1;

	memcpy(&peer, node_a.record.state.remote_address, 4);
	memcpy(&local, node_a.record.state.local_address, 4);
	for (unsigned i = 0; i < WIRE_FLOODS; i++) {
		struct wire_flood *datagram = &wire.floods[i];
		uint8_t *payload = datagram->octets + WIRE_HEADERS;
		uint16_t port = (uint16_t)(1024 + random_next(&state) % 60000);
		size_t length = 18 + random_next(&state) % 400;
		source = htonl(0xc6120000 | (random_next(&state) & 0x1ffff)); /* 198.18.0.0/15 (RFC 2544) */
		for (size_t j = 0; j < length; j++)
			payload[j] = (uint8_t)random_next(&state);
		if (flood == FLOOD_HELLO)
			length = hello_write(payload, &state);
		if (flood == FLOOD_FORGED) {
			struct writer w = writer_fixed(payload, 13);
			source = local;
			port = node_a.record.state.local_port;
			length = 13 + 8 + FLOOD_SIZE + 16;
			writer_octets(&w, OCTETS("\x17\xfe\xfd\0\1\0", 6));
			writer_u8(&w, 1 + i % 8); /* far ahead of what comes, in blocks of their own */
			writer_u32(&w, random_next(&state));
			writer_u16(&w, (uint16_t)(length - 13));
		}
		wire_headers(datagram->octets, source, port, peer, node_a.record.state.remote_port, length);
		datagram->length = (uint32_t)(WIRE_HEADERS + length);
	}
	wire.state->floods = WIRE_FLOODS;
}

static double measure_flooded(struct costs *costs, enum flood flood) {
	double busy = measure_round(FLOOD_SIZE, XDP_MESSAGES, FLOOD_WINDOW, true, FLOOD_BUSY, costs);

	fprintf(stderr, "  %s: %.0f ns, core busy %.2f, %llu datagrams, %llu answers\n",
		flood == FLOOD_COUNT ? "calm" : flood_names[flood], last_of(&costs->turns), busy,
		(unsigned long long)wire.state->flooded, (unsigned long long)wire.state->answers);
	return last_of(&costs->turns);
}

/* Each kind by itself, with a calm round in front of it: what the machine gives changes by the second. */
static void measure_floods(void) {
	for (enum flood flood = 0; flood < FLOOD_COUNT; flood++) {
		wire.state->flood_ns = 0;
		double calm = measure_flooded(&result.calm, FLOOD_COUNT);
		flood_prepare(flood);
		wire.state->flood_ns = 1000000000 / FLOOD_RATE;
		double cost = measure_flooded(&result.flooded[flood], flood);
		wire.state->flood_ns = 0;
		if (wire.state->flooded == 0)
			fail("there was no flood");
		if (calm == 0 || cost == 0)
			continue;
		/* The messages took longer than their share of the core where the neighbors were too slow: then more of the flood
		 * is counted to each of them than had to be. */
		double each = (cost - calm) * (WARM_UP_MESSAGES + XDP_MESSAGES) / (double)wire.state->flooded;
		keep(&result.flood_ns[flood], each > 0 ? each : 0);
		keep(&result.flood_rate, 1e9 * (double)wire.state->flooded / (double)(wire.state->last_ns - wire.state->first_ns));
	}
}

static void note_flood_lack(void) {
	note_lack(&result.calm);
	for (enum flood flood = 0; flood < FLOOD_COUNT; flood++)
		note_lack(&result.flooded[flood]);
}

/* Both links become hot and get pads. */
static void links_warm(void) {
	frames_prepare(sizes[0], WARM_UP_MESSAGES);
	wire_run(WARM_UP_MESSAGES, WINDOW, 0);
	frames_check(sizes[0], WARM_UP_MESSAGES);
}

static void measure_fastpath(bool floods) {
	struct transit transit = topologies[XDP].transit;
	bool xdp = !floods && wanted("xdp") && any_due(XDP), nopad = !floods && wanted("nopad") && any_due(NOPAD);
	pthread_t thread;

	if (!floods && !xdp && !nopad)
		return;
	thread = transit_start(&transit);
	wire.explain = explain;
	links_warm();
	for (unsigned i = 0; floods && i < FLOOD_ROUNDS; i++)
		measure_floods();
	if (xdp) {
		measure_kernel(XDP);
		if (result.turn < REPETITIONS)
			measure_latency(XDP);
	}
	if (nopad) {
		set_rings(false);
		measure_kernel(NOPAD);
		set_rings(true);
	}
	wire.explain = NULL;
	transit_stop(thread);
}

/* With the frames of the last links, which nobody opens. */
static void measure_floor(void) {
	struct bpf_link *link;
	unsigned s = 0;

	while (sizes[s] != LATENCY_SIZE)
		s++;
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
	wire.state->copies = 0;
	measure_cost(FLOOR, s);
	wire.state->copies = 1;
	measure_latency(FLOOR);
	bpf_link__destroy(link);
	wire_sink(false);
}

/* Frames of LATENCY_SIZE octets for the floor, whatever was measured last. */
static void measure_floor_of_links(void) {
	struct transit transit = topologies[USER_CHACHA].transit;
	pthread_t thread = transit_start(&transit);

	frames_prepare(LATENCY_SIZE, WARM_UP_MESSAGES + XDP_MESSAGES);
	transit_stop(thread);
	measure_floor();
}

/* ---- figures ---- */

static void print_ratio(const char *name, double above, double below) {
	if (above > 0 && below > 0)
		printf("%s %.3f\n", name, above / below);
}

/* The cheapest way of the daemon's by one kind of samples: by a quantile of them, or by the one with number `at`. */
static double cheapest(unsigned s, size_t kind, double share, unsigned at) {
	double least = 0;

	for (enum topology t = USER_CHACHA; t <= RUN_AES; t++) {
		const struct samples *samples = (const void *)((const char *)&result.cost[t][s] + kind);
		double cost = share > 0 ? quantile(samples, 0, share) : at < samples->count ? samples->values[at] : 0;
		if (cost > 0 && (least == 0 || cost < least))
			least = cost;
	}
	return least;
}

/* The median of saturated slices, 0: not asked for, or too few of them, and this is said. */
static double cost_of(const struct costs *costs, const char *name) {
	if (costs->measured == 0)
		return 0;
	if (costs->slices.count >= SLICES_LEAST)
		return median(&costs->slices);
	fprintf(stderr,
		"%s: T's core was saturated in %u of %u slices only, so there is no figure; the neighbors' core, or the host, was "
		"too slow\n",
		name, costs->slices.count, costs->measured);
	result.failed = true;
	return 0;
}

/* The same ratio in other ways, for who wants to know how sure it is: in each turn, of the calmest slices, and by whole rounds. */
static void explain_ratio(unsigned s) {
	const struct costs *xdp = &result.cost[XDP][s];
	struct samples ratios = {0};
	double calm = quantile(&xdp->slices, 0, CALM_SHARE), user_calm = cheapest(s, offsetof(struct costs, slices), CALM_SHARE, 0),
	       whole = median(&xdp->rounds), user_whole = cheapest(s, offsetof(struct costs, rounds), 0.5, 0);

	if (user_whole == 0 || calm == 0 || whole == 0)
		return;
	fprintf(stderr, "%zu octets, ratios of turns:", sizes[s]);
	for (unsigned i = 0; i < xdp->turns.count && i < REPETITIONS; i++) {
		double user = cheapest(s, offsetof(struct costs, turns), 0, i);
		if (xdp->turns.values[i] == 0 || user == 0)
			continue;
		keep(&ratios, user / xdp->turns.values[i]);
		fprintf(stderr, " %.2f", last_of(&ratios));
	}
	fprintf(stderr, ", median %.3f; tenth of the calmest slices: %.0f by %.0f ns, %.3f; whole rounds: %.0f by %.0f ns, %.3f\n",
		median(&ratios), user_calm, calm, user_calm / calm, user_whole, whole, user_whole / whole);
	free(ratios.values);
}

/*
 * The sockets' figure is that of the cheapest of their ways, or none if one of them has none. Which one that is, the calmest slices
 * tell: the least of four medians would be the one whose turns the host disturbed least, and the fast path has one median only.
 */
static double user_cost(unsigned s, const double costs[FLOOR]) {
	double least = 0, found = 0;

	for (enum topology t = USER_CHACHA; t <= RUN_AES; t++) {
		double calm = quantile(&result.cost[t][s].slices, 0, CALM_SHARE);
		if (costs[t] == 0)
			return 0;
		if (least == 0 || calm < least) {
			least = calm;
			found = costs[t];
		}
	}
	return found;
}

static void print_costs_of(unsigned s) {
	char name[64];
	double cost[FLOOR], user;

	for (enum topology t = 0; t < FLOOR; t++) {
		snprintf(name, sizeof(name), "transit_%s_ns_%zu", topologies[t].name, sizes[s]);
		cost[t] = cost_of(&result.cost[t][s], name);
		if (cost[t] > 0)
			printf("%s %.0f\n", name, cost[t]);
	}
	user = user_cost(s, cost);
	if (user > 0)
		printf("transit_user_ns_%zu %.0f\n", sizes[s], user);
	snprintf(name, sizeof(name), "transit_ratio_%zu", sizes[s]);
	print_ratio(name, user, cost[XDP]);
	explain_ratio(s);
	if (median(&result.cost[FLOOR][s].slices) > 0)
		printf("transit_xdp_floor_ns %.0f\n", median(&result.cost[FLOOR][s].slices));
}

static void print_costs(void) {
	unsigned counted = 0, measured = 0;

	for (unsigned s = 0; s < SIZES; s++) {
		if (wanted_size(sizes[s]))
			print_costs_of(s);
		for (enum topology t = 0; t < FLOOR; t++) {
			counted += result.cost[t][s].slices.count;
			measured += result.cost[t][s].measured;
		}
	}
	if (measured > 0)
		printf("transit_saturated_share %.3f\n", (double)counted / measured);
	if (result.hits + result.misses > 0)
		printf("pad_hit_ratio %.4f\n", (double)result.hits / (double)(result.hits + result.misses));
}

static void print_latencies(void) {
	double chacha = median(&result.latency[USER_CHACHA]), aes = median(&result.latency[USER_AES]),
	       user = chacha < aes ? chacha : aes;
	double xdp = median(&result.latency[XDP]), below = median(&result.latency[FLOOR]);

	if (user > 0)
		printf("transit_user_latency_us_p50 %.1f\n", user);
	if (xdp > 0)
		printf("transit_xdp_latency_us_p50 %.1f\n", xdp);
	if (below > 0)
		printf("transit_floor_latency_us_p50 %.1f\n", below);
	if (user > 0 && xdp > 0 && below > 0)
		print_ratio("transit_latency_ratio", xdp > below ? xdp - below : 0.001, user - below);
}

static void print_floods(void) {
	double calm = cost_of(&result.calm, "transit of the calm rounds between floods"), cost;
	char name[64];

	if (result.calm.measured == 0)
		return;
	printf("transit_flood_datagrams_per_second %.0f\n", median(&result.flood_rate));
	for (enum flood flood = 0; flood < FLOOD_COUNT; flood++) {
		snprintf(name, sizeof(name), "transit_flood_%s_ratio", flood_names[flood]);
		cost = cost_of(&result.flooded[flood], name);
		print_ratio(name, calm, cost);
		if (calm > 0 && cost > 0)
			printf("transit_flood_%s_ns %.0f\n", flood_names[flood], median(&result.flood_ns[flood]));
	}
}

/* Is there another turn to be made? Counts it. */
static bool another_turn(uint64_t start_ns) {
	bool more = result.turn < REPETITIONS || (result.lacks && result.turn < TURNS_MAX &&
						  clock_ns(CLOCK_MONOTONIC) - start_ns < EXTRA_TURNS_S * UINT64_C(1000000000));

	result.lacks = false;
	return more;
}

static void measure_transit(uint64_t start_ns) {
	for (result.turn = 0; another_turn(start_ns); result.turn++) {
		for (enum topology t = USER_CHACHA; t <= RUN_AES; t++)
			if (wanted("user"))
				measure_user(t);
		if (wanted("xdp") || wanted("nopad"))
			measure_fastpath(false);
		if (wanted("floor") && result.turn < REPETITIONS)
			measure_floor_of_links();
	}
	print_costs();
	print_latencies();
}

static void measure_flood(uint64_t start_ns) {
	for (result.turn = 0; another_turn(start_ns); result.turn++) {
		measure_fastpath(true);
		note_flood_lack();
	}
	print_floods();
}

int main(int argc, char **argv) {
	uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);

	argument_count = argc;
	arguments = argv;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay) < 0)
		fail("no overlay");
	keep_awake();
	pin(0, CORE_FAR);
	wire_open();
	prefer(0, PRIORITY_GENERATOR);
	measure_transit(start_ns);
	if (wanted("flood"))
		measure_flood(start_ns);
	printf("transit_foreign_load %.3f\n", wire.foreign_ns > 0 ? wire.foreign_ns / wire.all_ns : 0);
	release();
	support_overlay_release(&overlay);
	return result.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
