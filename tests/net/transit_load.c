/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two ends of a load through transit peers. Numbered and timed messages go from one to the other; the clock is that of the
 * machine, which both share.
 *
 * transit_load sink OVERLAY.xml CERTIFICATE KEY LOCAL TRANSIT[,TRANSIT…]
 *
 *     has a link to every TRANSIT, says "up NODE-ID", and at the end of its standard input what came:
 *     received=… highest=… duplicates=… wrong=… pieces=… gap_us=… pause_us=… latency_us_p50=… latency_us_max=…
 *     pieces: fragments, from which messages were put together. highest: the largest number plus one. wrong: messages for others,
 * or damaged. gap_us: the longest time in which what was sent did not arrive. pause_us: the longest time from one arrival to the
 * next. Both without the time in which the source, or for the pause the sink, asked for the processor and did not get it: that is
 * the machine's, not the network's. latency_us_max holds it.
 *
 * transit_load source OVERLAY.xml CERTIFICATE KEY LOCAL TRANSIT NODE-ID RATE MILLISECONDS SIZE [FIRST]
 *
 *     has a link to TRANSIT, says "up NODE-ID", and sends RATE messages a second of SIZE octets to NODE-ID: sent=… refused=… us=…
 * stalled_us=… FIRST: number of the first one (0), so that a sink can tell several sources apart. RATE 0: as many as the link
 * takes, no more than 256 unacknowledged. After a third of the time it says "third".
 */
#include "base/log.h"
#include "forward/fragment.h"
#include "link/dtls.h"
#include "wire/method.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
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
	STALL_US = 20000, /* sleeping longer than asked for by less is usual */
	SINK_TURN_US = 5000,
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

	uint64_t turned_us;  /* end of the last turn of the loop, 0: none yet */
	uint64_t stalled_us; /* in all turns: beyond what was asked for */

	/* of the sink, by number */
	uint32_t *latencies_us; /* 0: did not come */
	uint64_t *sent_us, *source_stalled_us;
	uint64_t received, duplicates, wrong, highest, pieces;
	uint64_t last_us, last_stalled_us, last_source_stalled_us, pause_us; /* of the last one that came */
};

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

static uint64_t later(uint64_t a, uint64_t b) {
	return a > b ? a - b : 0;
}

static void note_arrival(struct load *load, uint64_t now_us, uint64_t source_stalled_us) {
	uint64_t own_us = later(load->stalled_us, load->last_stalled_us),
		 source_us = later(source_stalled_us, load->last_source_stalled_us),
		 pause_us = load->last_us == 0 ? 0 : later(now_us - load->last_us, own_us > source_us ? own_us : source_us);

	if (pause_us > load->pause_us)
		load->pause_us = pause_us;
	load->last_us = now_us;
	load->last_stalled_us = load->stalled_us;
	load->last_source_stalled_us = source_stalled_us;
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
	uint64_t number = reader_u64(&body), sent_us = reader_u64(&body), source_stalled_us = reader_u64(&body);
	if (body.error < 0 || !for_us(load, &message) || number >= NUMBERS_MAX || sent_us == 0 || sent_us > now_us) {
		load->wrong++;
		return;
	}
	if (load->sent_us[number] != 0) {
		load->duplicates++;
		return;
	}
	load->sent_us[number] = sent_us;
	load->source_stalled_us[number] = source_stalled_us;
	load->latencies_us[number] = (uint32_t)(now_us - sent_us);
	note_arrival(load, now_us, source_stalled_us);
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

static void note_turn(struct load *load, uint64_t limit_us, uint64_t now_us) {
	if (load->turned_us != 0 && now_us - load->turned_us > limit_us + STALL_US)
		load->stalled_us += now_us - load->turned_us - limit_us;
	load->turned_us = now_us;
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
	note_turn(load, limit_us, load->runtime.now_us);
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

static void report(struct load *load) {
	uint64_t gap_us = 0, last_us = 0, last_stalled_us = 0;
	size_t count = 0;

	for (uint64_t i = 0; i < load->highest; i++) {
		if (load->sent_us[i] == 0)
			continue;
		uint64_t one_us = later(later(load->sent_us[i], last_us), later(load->source_stalled_us[i], last_stalled_us));
		if (last_us != 0 && one_us > gap_us)
			gap_us = one_us;
		last_us = load->sent_us[i];
		last_stalled_us = load->source_stalled_us[i];
		load->latencies_us[count++] = load->latencies_us[i];
	}
	qsort(load->latencies_us, count, sizeof(load->latencies_us[0]), compare);
	printf("received=%" PRIu64 " highest=%" PRIu64 " duplicates=%" PRIu64 " wrong=%" PRIu64 " pieces=%" PRIu64
	       " gap_us=%" PRIu64 " pause_us=%" PRIu64 " latency_us_p50=%u latency_us_max=%u\n",
	       load->received, load->highest, load->duplicates, load->wrong, load->pieces, gap_us, load->pause_us,
	       count > 0 ? load->latencies_us[count / 2] : 0, count > 0 ? load->latencies_us[count - 1] : 0);
}

static int run_sink(struct load *load) {
	load->latencies_us = calloc(NUMBERS_MAX, sizeof(*load->latencies_us));
	load->sent_us = calloc(NUMBERS_MAX, sizeof(*load->sent_us));
	load->source_stalled_us = calloc(NUMBERS_MAX, sizeof(*load->source_stalled_us));
	if (!load->latencies_us || !load->sent_us || !load->source_stalled_us)
		return 1;
	while (turn(load, SINK_TURN_US, true)) {
	}
	report(load);
	free(load->latencies_us);
	free(load->sent_us);
	free(load->source_stalled_us);
	return 0;
}

/* ---- source ---- */

/* A Ping to `node`: number, time and stalled time are written into its padding later, at *ret_at. */
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
	for (size_t i = 0; i < 24 + rest; i++)
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
	uint64_t begin_us = clock_monotonic_us(), now_us = begin_us;
	bool said = false;
	while (now_us - begin_us < duration_us && load->up[0]) {
		uint64_t due = rate > 0 ? (uint64_t)((double)(now_us - begin_us) * rate / 1e6) + 1 : sent + IN_FLIGHT_MAX / 4;
		struct link_statistics link = {0};
		load->transport.ops->statistics(load->transport.object, load->slots[0], &link);
		if (rate <= 0 && link.in_flight + link.queued >= IN_FLIGHT_MAX)
			due = sent;
		for (; sent < due && first + sent < NUMBERS_MAX; sent++) {
			struct iovec part = {message, length};
			put_u64(message + at, first + sent);
			put_u64(message + TRANSACTION_AT, first + sent + 1); /* pieces of different messages differ in it */
			put_u64(message + at + 8, clock_monotonic_us());
			put_u64(message + at + 16, load->stalled_us);
			if (load->transport.ops->send(load->transport.object, load->slots[0], &part, 1, 0) < 0) {
				refused++;
				break;
			}
		}
		dtls_links_flush(load->links);
		turn(load, rate > 0 ? 200 : 50, false);
		now_us = clock_monotonic_us();
		if (!said && now_us - begin_us >= duration_us / 3) {
			said = true;
			printf("third\n");
			fflush(stdout);
		}
	}
	/* Acks of the last ones. */
	for (uint64_t end_us = clock_monotonic_us() + 200000; clock_monotonic_us() < end_us;)
		turn(load, 50000, false);
	printf("sent=%" PRIu64 " refused=%" PRIu64 " us=%" PRIu64 " stalled_us=%" PRIu64 "\n", sent, refused, now_us - begin_us,
	       load->stalled_us);
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
