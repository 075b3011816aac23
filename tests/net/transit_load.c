/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two ends of a load through transit peers. Numbered and timed messages go from one to the other; the clock is that of the
 * machine, which both share.
 *
 * transit_load sink OVERLAY.xml CERTIFICATE KEY LOCAL TRANSIT[,TRANSIT…]
 *
 *     has a link to every TRANSIT, says "up NODE-ID", and at the end of its standard input what came:
 *     received=… highest=… duplicates=… wrong=… pieces=… gap_us=… pause_us=… gap_whole_us=… pause_whole_us=… stalled_us=…
 *     latency_us_p50=… latency_us_max=…
 *     pieces: fragments, from which messages were put together. highest: the largest number plus one. wrong: messages for others,
 * or damaged. gap_us: the longest time in which what was sent did not arrive. pause_us: the longest time from one arrival to the
 * next. Both without the time in which this machine did not let programs run, in which nobody can send or react: a thread on each
 * processor notes when it is woken late, and the source how long it did not come to send. The same with that time: gap_whole_us,
 * pause_whole_us; all of it from the first arrival to the last: stalled_us.
 *
 * transit_load source OVERLAY.xml CERTIFICATE KEY LOCAL TRANSIT NODE-ID RATE MILLISECONDS SIZE [FIRST]
 *
 *     has a link to TRANSIT, says "up NODE-ID", and sends RATE messages a second of SIZE octets to NODE-ID: sent=… refused=… us=…
 * skipped_us=… (the time in which it did not come to send; it goes on later instead of sending all that at once), and how its link
 * was when the last one was sent: window=… in_flight=… queued=… rtt_us=… rto_us=… acks=… forged=… replayed=…
 *     FIRST: number of the first one (0), so that a sink can tell several sources apart. RATE 0: as many as the link takes, no more
 * than 256 unacknowledged. After a third of the time it says "third".
 */
#include "base/log.h"
#include "forward/fragment.h"
#include "link/dtls.h"
#include "wire/method.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum {
	MESSAGE_MAX = 1400,
	NUMBERS_MAX = 1 << 22,
	TRANSITS_MAX = 4,
	UP_LIMIT_MS = 20000,
	IN_FLIGHT_MAX = 256,
	MARK = 0x52474c44,
	TRANSACTION_AT = 20,

	TICK_US = 5000,
	STALL_US = 20000, /* who wanted to run earlier than that long ago was kept from it */
	STALLS_MAX = 4096,
	PAUSES_MAX = 4096, /* longer than STALL_US; of more, the whole time counts */
	PROCESSORS_MAX = 64,
	DRAIN_US = 200000, /* nothing came for that long: nothing more will */
	DRAIN_LIMIT_US = 10000000
};

/* When did this machine let nobody run on one of its processors? */
struct span {
	uint64_t from_us, to_us;
};
struct ticker {
	pthread_t thread;
	int processor;
};
static struct {
	pthread_mutex_t lock;
	struct ticker tickers[PROCESSORS_MAX];
	size_t count;
	struct span spans[STALLS_MAX];
	size_t span_count;
} stalls = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* From one message to the next, whether by when they were sent or by when they came. */
struct interval {
	struct span span;
	uint64_t skipped_us; /* by the source meanwhile */
};

struct load {
	struct runtime runtime;
	struct trust *trust;
	struct credential *credential;
	struct dtls_links *links;
	struct transport transport;
	struct address transits[TRANSITS_MAX];
	uint16_t slots[TRANSITS_MAX];
	bool up[TRANSITS_MAX];
	size_t transit_count;
	struct reassembly *reassembly;

	/* of the sink, by number */
	uint32_t *latencies_us; /* 0: did not come */
	uint64_t *sent_us;
	uint64_t *skipped_us; /* by the source until then */
	uint64_t received, duplicates, wrong, highest, pieces;
	uint64_t first_us, last_us, last_skipped_us;
	struct interval pauses[PAUSES_MAX];
	size_t pause_count;
	uint64_t short_pause_us; /* the longest of the others */
};

/* ---- when the machine stands still ---- */

static void *tick(void *userdata) {
	const struct ticker *ticker = userdata;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(ticker->processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return NULL;
	for (uint64_t due_us = clock_monotonic_us();;) {
		due_us += TICK_US;
		struct timespec due = {.tv_sec = (time_t)(due_us / 1000000), .tv_nsec = (long)(due_us % 1000000 * 1000)};
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
		uint64_t now_us = clock_monotonic_us();
		if (now_us - due_us < STALL_US)
			continue;
		pthread_mutex_lock(&stalls.lock);
		if (stalls.span_count < STALLS_MAX)
			stalls.spans[stalls.span_count++] = (struct span){due_us, now_us};
		pthread_mutex_unlock(&stalls.lock);
		due_us = now_us;
	}
}

/* The threads end with the process. */
static void watch_stalls(void) {
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return;
	for (int i = 0; i < CPU_SETSIZE && stalls.count < PROCESSORS_MAX; i++) {
		struct ticker *ticker = &stalls.tickers[stalls.count];
		ticker->processor = i;
		if (CPU_ISSET(i, &set) && pthread_create(&ticker->thread, NULL, tick, ticker) == 0)
			stalls.count++;
	}
}

static int compare_spans(const void *a, const void *b) {
	const struct span *x = a, *y = b;

	return x->from_us < y->from_us ? -1 : x->from_us > y->from_us;
}

/* How much of that time did one processor or another stand still? */
static uint64_t stalled_us(const struct span *in) {
	uint64_t sum_us = 0, counted_us = in->from_us;

	pthread_mutex_lock(&stalls.lock);
	qsort(stalls.spans, stalls.span_count, sizeof(stalls.spans[0]), compare_spans);
	for (size_t i = 0; i < stalls.span_count; i++) {
		uint64_t from_us = stalls.spans[i].from_us > counted_us ? stalls.spans[i].from_us : counted_us;
		uint64_t to_us = stalls.spans[i].to_us < in->to_us ? stalls.spans[i].to_us : in->to_us;
		if (to_us <= from_us)
			continue;
		sum_us += to_us - from_us;
		counted_us = to_us;
	}
	pthread_mutex_unlock(&stalls.lock);
	return sum_us;
}

static uint64_t whole_us(const struct interval *interval) {
	return interval->span.to_us - interval->span.from_us;
}

/* Without the time in which the source, or the machine, stood still; often they did at the same time. */
static uint64_t net_us(const struct interval *interval) {
	uint64_t stalled = stalled_us(&interval->span), skipped = interval->skipped_us;
	uint64_t excused = stalled > skipped ? stalled : skipped;

	return whole_us(interval) > excused ? whole_us(interval) - excused : 0;
}

/* ---- links ---- */

static void on_up(void *userdata, uint16_t slot, bool initiated) {
	struct load *load = userdata;

	for (size_t i = 0; initiated && i < load->transit_count; i++)
		if (load->slots[i] == slot)
			load->up[i] = true;
}

static void on_down(void *userdata, uint16_t slot, enum link_reason reason) {
	struct load *load = userdata;

	fprintf(stderr, "transit_load: link %u is down: %s\n", slot, link_reason_text(reason));
	for (size_t i = 0; i < load->transit_count; i++)
		if (load->slots[i] == slot) {
			load->up[i] = false;
			load->slots[i] = LINK_SLOT_NONE;
		}
}

static void on_suspect(void *userdata, uint16_t slot, bool suspected) {
	(void)userdata;
	(void)slot;
	(void)suspected;
}

/* Is the last destination this node? */
static bool for_us(const struct load *load, const struct message *message) {
	struct destination last;

	if (destination_last(message->header.destination_list, ID_LENGTH_CHORD, &last) < 0 || last.type != DESTINATION_NODE)
		return false;
	struct id node = id_of(last.value);
	return id_equal(&node, &load->credential->node_id);
}

static void note_arrival(struct load *load, uint64_t now_us, uint64_t skipped_us) {
	struct interval pause = {.span = {load->last_us, now_us}};

	if (load->last_us == 0) {
		load->first_us = now_us;
	} else if (whole_us(&pause) > STALL_US && load->pause_count < PAUSES_MAX) {
		/* Of several sources, each has its own. */
		pause.skipped_us = skipped_us > load->last_skipped_us ? skipped_us - load->last_skipped_us : 0;
		load->pauses[load->pause_count++] = pause;
	} else if (whole_us(&pause) > load->short_pause_us) {
		load->short_pause_us = whole_us(&pause);
	}
	load->last_us = now_us;
	load->last_skipped_us = skipped_us;
}

static void receive_message(struct load *load, struct octets octets) {
	struct message message;
	uint64_t now_us = clock_monotonic_us();

	if (!load->sent_us || message_read(octets, ID_LENGTH_CHORD, &message) < 0 || message.contents.code != PING_REQ)
		return; /* what peers tell each other */
	struct reader body = reader_of_octets(message.contents.body);
	reader_u16(&body);
	if (reader_u32(&body) != MARK)
		return;
	uint64_t number = reader_u64(&body), sent_us = reader_u64(&body), skipped_us = reader_u64(&body);
	if (body.error < 0 || !for_us(load, &message) || number >= NUMBERS_MAX || sent_us == 0 || sent_us > now_us) {
		load->wrong++;
		return;
	}
	if (load->sent_us[number] != 0) {
		load->duplicates++;
		return;
	}
	load->sent_us[number] = sent_us;
	load->skipped_us[number] = skipped_us;
	load->latencies_us[number] = (uint32_t)(now_us - sent_us);
	note_arrival(load, now_us, skipped_us);
	load->received++;
	if (number >= load->highest)
		load->highest = number + 1;
}

static void on_receive(void *userdata, uint16_t slot, uint8_t *octets, size_t length) {
	struct load *load = userdata;
	struct forwarding_header header;
	struct reader r = reader_of(octets, length);
	uint8_t *whole;
	size_t whole_length;

	if (forwarding_header_read(&r, &header) < 0)
		return;
	if (header.fragment == FRAGMENT_NONE) {
		receive_message(load, OCTETS(octets, length));
		return;
	}
	load->pieces++;
	if (reassembly_add(load->reassembly, slot, OCTETS(octets, length), 0, &whole, &whole_length) == 1) {
		receive_message(load, OCTETS(whole, whole_length));
		free(whole);
	}
}

/* One turn of the loop: waits at most `limit_us` for something to happen. False: standard input has ended. */
static bool turn(struct load *load, uint64_t limit_us, bool input) {
	struct pollfd polls[3];
	int fds[2];
	size_t count = dtls_links_fds(load->links, fds, 2);

	for (size_t i = 0; i < count; i++)
		polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	polls[count] = (struct pollfd){.fd = input ? STDIN_FILENO : -1, .events = POLLIN};
	uint64_t due_us = runtime_next(&load->runtime), now_us = clock_monotonic_us();
	if (due_us != USEC_NEVER && due_us < now_us + limit_us)
		limit_us = due_us > now_us ? due_us - now_us : 0;
	struct timespec wait = {.tv_sec = (time_t)(limit_us / 1000000), .tv_nsec = (long)(limit_us % 1000000 * 1000)};
	ppoll(polls, count + 1, &wait, NULL);
	load->runtime.now_us = clock_monotonic_us();
	for (size_t i = 0; i < count; i++)
		if (polls[i].revents)
			dtls_links_receive(load->links, fds[i]);
	runtime_fire(&load->runtime);
	dtls_links_flush(load->links);
	return !polls[count].revents;
}

static bool all_up(const struct load *load) {
	for (size_t i = 0; i < load->transit_count; i++)
		if (!load->up[i])
			return false;
	return true;
}

static bool connect_all(struct load *load) {
	uint64_t limit_us = clock_monotonic_us() + UP_LIMIT_MS * USEC_PER_MSEC;

	while (!all_up(load) && clock_monotonic_us() < limit_us) {
		for (size_t i = 0; i < load->transit_count; i++)
			if (load->slots[i] == LINK_SLOT_NONE &&
			    load->transport.ops->connect(load->transport.object, &load->transits[i], 1, NULL, &load->slots[i]) < 0)
				return false;
		turn(load, 100000, false);
	}
	return all_up(load);
}

/* ---- sink ---- */

static int compare(const void *a, const void *b) {
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

struct longest {
	uint64_t net_us, whole_us;
};

static void note_longest(struct longest *longest, const struct interval *interval) {
	uint64_t all_us = whole_us(interval);

	if (all_us > longest->whole_us)
		longest->whole_us = all_us;
	if (all_us <= longest->net_us)
		return;
	uint64_t some_us = net_us(interval);
	if (some_us > longest->net_us)
		longest->net_us = some_us;
}

/* By number: between two of them that came, others may not have. */
static struct longest longest_gap(const struct load *load) {
	struct longest gap = {0};
	uint64_t last = NUMBERS_MAX;

	for (uint64_t i = 0; i < load->highest; i++) {
		if (load->sent_us[i] == 0)
			continue;
		if (last != NUMBERS_MAX && load->sent_us[i] > load->sent_us[last]) {
			struct interval interval = {.span = {load->sent_us[last], load->sent_us[i]}};
			if (load->skipped_us[i] > load->skipped_us[last])
				interval.skipped_us = load->skipped_us[i] - load->skipped_us[last];
			note_longest(&gap, &interval);
		}
		last = i;
	}
	return gap;
}

static void report(struct load *load) {
	struct longest gap = longest_gap(load), pause = {load->short_pause_us, load->short_pause_us};
	struct span all = {load->first_us, load->last_us};
	size_t count = 0;

	for (size_t i = 0; i < load->pause_count; i++)
		note_longest(&pause, &load->pauses[i]);
	for (uint64_t i = 0; i < load->highest; i++)
		if (load->sent_us[i] != 0)
			load->latencies_us[count++] = load->latencies_us[i];
	qsort(load->latencies_us, count, sizeof(load->latencies_us[0]), compare);
	printf("received=%" PRIu64 " highest=%" PRIu64 " duplicates=%" PRIu64 " wrong=%" PRIu64 " pieces=%" PRIu64
	       " gap_us=%" PRIu64 " pause_us=%" PRIu64 " gap_whole_us=%" PRIu64 " pause_whole_us=%" PRIu64 " stalled_us=%" PRIu64
	       " latency_us_p50=%u latency_us_max=%u\n",
	       load->received, load->highest, load->duplicates, load->wrong, load->pieces, gap.net_us, pause.net_us, gap.whole_us,
	       pause.whole_us, stalled_us(&all), count > 0 ? load->latencies_us[count / 2] : 0,
	       count > 0 ? load->latencies_us[count - 1] : 0);
}

/* What is still on its way when the input ends. */
static void drain(struct load *load) {
	uint64_t begin_us = clock_monotonic_us(), now_us = begin_us, quiet_us = begin_us + DRAIN_US;

	while (now_us < quiet_us && now_us < begin_us + DRAIN_LIMIT_US) {
		turn(load, DRAIN_US / 4, false);
		now_us = clock_monotonic_us();
		if (load->last_us + DRAIN_US > quiet_us)
			quiet_us = load->last_us + DRAIN_US;
	}
}

static int run_sink(struct load *load) {
	load->latencies_us = calloc(NUMBERS_MAX, sizeof(*load->latencies_us));
	load->sent_us = calloc(NUMBERS_MAX, sizeof(*load->sent_us));
	load->skipped_us = calloc(NUMBERS_MAX, sizeof(*load->skipped_us));
	if (!load->latencies_us || !load->sent_us || !load->skipped_us)
		return 1;
	watch_stalls();
	while (turn(load, 1000000, true)) {
	}
	drain(load);
	report(load);
	free(load->latencies_us);
	free(load->sent_us);
	free(load->skipped_us);
	return 0;
}

/* ---- source ---- */

/* A Ping to `node`: number and time are written into its padding later, at *ret_at. */
static size_t make_message(struct load *load, const struct id *node, size_t size, uint8_t *out, size_t *ret_at) {
	const struct overlay_config *config = trust_config(load->trust);
	uint8_t list[32], body_octets[MESSAGE_MAX] = {0}, contents_octets[MESSAGE_MAX];
	struct writer destination = writer_fixed(list, sizeof(list)),
		      contents = writer_fixed(contents_octets, sizeof(contents_octets)),
		      body = writer_fixed(body_octets, sizeof(body_octets)), w = writer_fixed(out, MESSAGE_MAX);

	destination_write_node(&destination, node);
	struct forwarding_header header = {
		.overlay = config->overlay_hash,
		.configuration_sequence = config->sequence,
		.version = RELOAD_VERSION,
		.ttl = INITIAL_TTL,
		.fragment = FRAGMENT_NONE,
		.transaction_id = 1,
		.destination_list = writer_octets_written(&destination),
	};
	forwarding_header_write(&w, &header);
	size_t rest = size > w.length + 48 ? size - w.length - 48 : 0;
	writer_u16(&body, (uint16_t)(28 + rest));
	writer_u32(&body, MARK);
	for (size_t i = 0; i < 24 + rest; i++) /* number, when it was sent, what had been skipped by then */
		writer_u8(&body, 0);
	message_contents_write(&contents, PING_REQ, writer_octets_written(&body), OCTETS_NONE);
	*ret_at = w.length + 2 + 4 + 6; /* code, length of the body, length of the padding, mark */
	writer_octets(&w, writer_octets_written(&contents));
	writer_u16(&w, 0); /* nobody looks at certificates and signature */
	signature_write_none(&w);
	message_write_length(&w, 0);
	return writer_finish(&w) < 0 ? 0 : w.length;
}

static void put_u64(uint8_t *at, uint64_t value) {
	for (int i = 7; i >= 0; i--, value >>= 8)
		at[i] = (uint8_t)value;
}

static int run_source(struct load *load, char **argv) {
	uint8_t message[MESSAGE_MAX];
	struct id node;
	size_t at = 0;
	double rate = strtod(argv[1], NULL);
	uint64_t duration_us = strtoull(argv[2], NULL, 10) * 1000, sent = 0, refused = 0,
		 first = argv[4] ? strtoull(argv[4], NULL, 10) : 0;

	if (id_parse(argv[0], &node) < 0)
		return 2;
	size_t length = make_message(load, &node, strtoul(argv[3], NULL, 10), message, &at);
	if (length == 0)
		return 2;
	uint64_t begin_us = clock_monotonic_us(), now_us = begin_us, skipped_us = 0;
	bool said = false;
	while (now_us - begin_us - skipped_us < duration_us && load->up[0]) {
		uint64_t due =
			rate > 0 ? (uint64_t)((double)(now_us - begin_us - skipped_us) * rate / 1e6) + 1 : sent + IN_FLIGHT_MAX / 4;
		struct link_statistics link = {0};
		load->transport.ops->statistics(load->transport.object, load->slots[0], &link);
		if (rate <= 0 && link.in_flight + link.queued >= IN_FLIGHT_MAX)
			due = sent;
		for (; sent < due && first + sent < NUMBERS_MAX; sent++) {
			struct iovec part = {message, length};
			put_u64(message + at, first + sent);
			put_u64(message + TRANSACTION_AT, first + sent + 1); /* pieces of different messages differ in it */
			put_u64(message + at + 8, clock_monotonic_us());
			put_u64(message + at + 16, skipped_us);
			if (load->transport.ops->send(load->transport.object, load->slots[0], &part, 1, 0) < 0) {
				refused++;
				break;
			}
		}
		dtls_links_flush(load->links);
		turn(load, rate > 0 ? 200 : 50, false);
		uint64_t before_us = now_us;
		now_us = clock_monotonic_us();
		if (now_us - before_us > STALL_US) /* sent at once, all that would not fit into the queues of interfaces */
			skipped_us += now_us - before_us;
		if (!said && now_us - begin_us - skipped_us >= duration_us / 3) {
			said = true;
			printf("third\n");
			fflush(stdout);
		}
	}
	struct link_statistics last = {0};
	load->transport.ops->statistics(load->transport.object, load->slots[0], &last);
	/* Acks of the last ones. */
	for (uint64_t end_us = clock_monotonic_us() + 200000; clock_monotonic_us() < end_us;)
		turn(load, 50000, false);
	const struct dtls_counters *counters = dtls_links_counters(load->links);
	printf("sent=%" PRIu64 " refused=%" PRIu64 " us=%" PRIu64 " skipped_us=%" PRIu64
	       " window=%u in_flight=%u queued=%u rtt_us=%u rto_us=%u"
	       " acks=%" PRIu64 " forged=%" PRIu64 " replayed=%" PRIu64 "\n",
	       sent, refused, now_us - begin_us, skipped_us, last.window, last.in_flight, last.queued, last.rtt_us, last.rto_us,
	       counters->acks_received, counters->drop_forged, counters->drop_replayed);
	return load->up[0] ? 0 : 1;
}

/* ---- both ---- */

static int open_load(struct load *load, char **argv) {
	struct transport_events events = {
		.userdata = load, .up = on_up, .down = on_down, .suspect = on_suspect, .receive = on_receive};
	struct dtls_settings settings = {.listen_count = 1, .runtime = &load->runtime};
	struct overlay_config *config;
	char reason[512] = "";

	if (address_parse(argv[3], 0, &settings.listen[0]) < 0)
		return -EINVAL;
	for (char *rest = argv[4], *one; (one = strsep(&rest, ",")) && load->transit_count < TRANSITS_MAX; load->transit_count++) {
		if (address_parse(one, RELOAD_PORT, &load->transits[load->transit_count]) < 0)
			return -EINVAL;
		load->slots[load->transit_count] = LINK_SLOT_NONE;
	}
	load->runtime = (struct runtime){.source = runtime_source_system(), .now_us = clock_monotonic_us()};
	int error = overlay_config_load(argv[0], NULL, &config, reason);
	if (error == 0) {
		error = trust_new(config, &load->trust);
		if (error == 0)
			error = credential_load(argv[1], argv[2], config->overlay_name, ID_LENGTH_CHORD, &load->credential, reason,
						sizeof(reason));
		overlay_config_unref(config);
	}
	if (error == 0)
		error = reassembly_new(&load->runtime, &load->reassembly);
	if (error == 0) {
		settings.trust = load->trust;
		settings.credential = load->credential;
		error = dtls_links_new(&settings, &events, &load->links, reason, sizeof(reason));
	}
	if (error < 0)
		fprintf(stderr, "transit_load: %s\n", reason[0] ? reason : strerror(-error));
	else
		load->transport = dtls_links_transport(load->links);
	return error;
}

int main(int argc, char **argv) {
	static struct load load;
	char text[ID_TEXT_SIZE];
	int status = 2;

	log_open("transit_load");
	bool sink = argc == 7 && strcmp(argv[1], "sink") == 0,
	     source = (argc == 11 || argc == 12) && strcmp(argv[1], "source") == 0;
	if (!sink && !source) {
		fprintf(stderr, "usage: transit_load sink OVERLAY.xml CERTIFICATE KEY LOCAL TRANSIT[,TRANSIT…]\n"
				"       transit_load source OVERLAY.xml CERTIFICATE KEY LOCAL TRANSIT NODE-ID RATE MILLISECONDS "
				"SIZE [FIRST]\n");
		return 2;
	}
	if (open_load(&load, argv + 2) == 0) {
		status = 1;
		if (connect_all(&load)) {
			printf("up %s\n", id_format(&load.credential->node_id, text));
			fflush(stdout);
			status = sink ? run_sink(&load) : run_source(&load, argv + 7);
		} else {
			fprintf(stderr, "transit_load: no link to a transit peer\n");
		}
	}
	dtls_links_free(load.links);
	reassembly_free(load.reassembly);
	trust_free(load.trust);
	credential_unref(load.credential);
	return status;
}
