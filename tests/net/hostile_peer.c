/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A peer with a valid certificate that misbehaves: sends COUNT mutated messages over its link and COUNT mutated datagrams beside it, and
 * after every batch a valid Ping that must be answered. Prints a line per part; status 1 when the target stops answering.
 *
 *     hostile_peer OVERLAY.xml CERTIFICATE KEY LOCAL TARGET COUNT
 */
#include "base/log.h"
#include "link/dtls.h"
#include "wire/method.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 200, MESSAGE_MAX = 1200, ANSWER_LIMIT_MS = 20000, SEEDS_MAX = 32, SEED = 20, IN_FLIGHT_MAX = 4 };

struct hostile {
	struct runtime runtime;
	struct trust *trust;
	struct credential *credential;
	struct dtls_links *links;
	struct transport transport;
	struct address target;
	uint64_t random;
	uint16_t slot;
	bool up;
	uint64_t answers, reconnects;
	uint8_t seeds[SEEDS_MAX][MESSAGE_MAX];
	size_t seed_lengths[SEEDS_MAX], seed_count;
};

static uint64_t next_random(struct hostile *h) {
	uint64_t z = h->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void on_up(void *userdata, uint16_t slot, bool initiated) {
	struct hostile *h = userdata;

	if (initiated) {
		h->slot = slot;
		h->up = true;
	}
}

static void on_down(void *userdata, uint16_t slot, enum link_reason reason) {
	struct hostile *h = userdata;

	(void)reason;
	if (slot == h->slot)
		h->up = false;
}

static void on_suspect(void *userdata, uint16_t slot, bool suspected) {
	(void)userdata;
	(void)slot;
	(void)suspected;
}

static void on_receive(void *userdata, uint16_t slot, uint8_t *octets, size_t length) {
	struct hostile *h = userdata;
	struct message message;

	(void)slot;
	if (message_read(OCTETS(octets, length), ID_LENGTH_CHORD, &message) == 0 && message.contents.code == PING_ANS)
		h->answers++;
}

/* One turn of the loop: waits at most `limit_ms` for something to happen. */
static void turn(struct hostile *h, int limit_ms) {
	struct pollfd polls[2];
	int fds[2];
	size_t count = dtls_links_fds(h->links, fds, 2);

	for (size_t i = 0; i < count; i++)
		polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	uint64_t due_us = runtime_next(&h->runtime), now_us = clock_monotonic_us();
	if (due_us != USEC_NEVER && (due_us <= now_us || (due_us - now_us) / 1000 < (uint64_t)limit_ms))
		limit_ms = due_us <= now_us ? 0 : (int)((due_us - now_us) / 1000 + 1);
	poll(polls, count, limit_ms);
	h->runtime.now_us = clock_monotonic_us();
	for (size_t i = 0; i < count; i++)
		if (polls[i].revents)
			dtls_links_receive(h->links, fds[i]);
	runtime_fire(&h->runtime);
	dtls_links_flush(h->links);
}

static bool connect_target(struct hostile *h) {
	uint64_t limit_us = clock_monotonic_us() + ANSWER_LIMIT_MS * USEC_PER_MSEC;

	h->reconnects++;
	while (!h->up && clock_monotonic_us() < limit_us) {
		if (h->transport.ops->connect(h->transport.object, &h->target, 1, NULL, &h->slot) < 0)
			return false;
		uint16_t slot = h->slot;
		while (!h->up && h->slot == slot && clock_monotonic_us() < limit_us)
			turn(h, 100);
	}
	return h->up;
}

/* ---- valid messages to start from ---- */

static size_t make_message(struct hostile *h, uint16_t code, struct octets body, bool to_wildcard, uint8_t *out) {
	const struct overlay_config *config = trust_config(h->trust);
	struct id wildcard = id_wildcard(ID_LENGTH_CHORD);
	uint8_t list[32], contents_buffer[MESSAGE_MAX];
	struct writer destination = writer_fixed(list, sizeof(list)), contents = writer_fixed(contents_buffer, sizeof(contents_buffer)),
		      w = writer_fixed(out, MESSAGE_MAX);
	uint8_t resource[ID_LENGTH_CHORD] = {0x55};

	if (to_wildcard)
		destination_write_node(&destination, &wildcard);
	else
		destination_write_resource(&destination, OCTETS(resource, sizeof(resource)));
	struct forwarding_header header = {
		.overlay = config->overlay_hash,
		.configuration_sequence = config->sequence,
		.version = RELOAD_VERSION,
		.ttl = INITIAL_TTL,
		.fragment = FRAGMENT_NONE,
		.transaction_id = next_random(h),
		.destination_list = writer_octets_written(&destination),
	};
	forwarding_header_write(&w, &header);
	message_contents_write(&contents, code, body, OCTETS_NONE);
	writer_octets(&w, writer_octets_written(&contents));
	if (message_sign(h->credential, NULL, header.overlay, header.transaction_id, writer_octets_written(&contents), &w) < 0)
		return 0;
	message_write_length(&w, 0);
	return writer_finish(&w) < 0 ? 0 : w.length;
}

static void add_seed(struct hostile *h, uint16_t code, const struct writer *body) {
	if (h->seed_count == SEEDS_MAX)
		return;
	size_t length = make_message(h, code, writer_octets_written(body), h->seed_count % 2 == 0, h->seeds[h->seed_count]);
	if (length > 0)
		h->seed_lengths[h->seed_count++] = length;
}

/* Every method, with a body that parses where that is a few lines, else with random octets. */
static void make_seeds(struct hostile *h) {
	static const uint16_t codes[] = {PROBE_REQ, ATTACH_REQ, STORE_REQ,    FETCH_REQ,      FIND_REQ,	      JOIN_REQ,		LEAVE_REQ, UPDATE_REQ,
					 ROUTE_QUERY_REQ, PING_REQ,   STAT_REQ, APP_ATTACH_REQ, CONFIG_UPDATE_REQ, PING_ANS, STORE_ANS, MESSAGE_ERROR};
	uint8_t buffer[256];

	for (size_t i = 0; i < ARRAY_LENGTH(codes); i++) {
		struct writer body = writer_fixed(buffer, sizeof(buffer));
		if (codes[i] == PING_REQ)
			ping_req_write(&body, OCTETS("padding", 7));
		else if (codes[i] == JOIN_REQ)
			join_req_write(&body, &(struct join_req){.joining_peer_id = h->credential->node_id});
		else if (codes[i] == LEAVE_REQ)
			leave_req_write(&body, &(struct leave_req){.leaving_peer_id = h->credential->node_id});
		else if (codes[i] == UPDATE_REQ)
			chord_update_write(&body, &(struct chord_update){.type = CHORD_PEER_READY});
		else
			for (unsigned n = 0; n < 40; n++)
				writer_u8(&body, (uint8_t)next_random(h));
		add_seed(h, codes[i], &body);
	}
}

static size_t mutate(struct hostile *h, const uint8_t *from, size_t length, uint8_t *to) {
	unsigned changes = 1 + next_random(h) % 8;

	memcpy(to, from, length);
	for (unsigned i = 0; i < changes; i++) {
		size_t at = next_random(h) % length;
		/* Headers and lengths are the more interesting half of the time. */
		if (next_random(h) % 2)
			at = next_random(h) % (length < 80 ? length : 80);
		to[at] = next_random(h) % 4 ? (uint8_t)next_random(h) : (uint8_t)(to[at] ^ 1u << next_random(h) % 8);
	}
	if (next_random(h) % 5 == 0)
		length = next_random(h) % length + 1;
	else if (next_random(h) % 10 == 0)
		for (size_t extra = next_random(h) % 64; extra > 0 && length < MESSAGE_MAX; extra--)
			to[length++] = (uint8_t)next_random(h);
	return length;
}

/* ---- the two parts ---- */

static bool still_answers(struct hostile *h) {
	uint8_t body_buffer[8], message[MESSAGE_MAX];
	uint64_t before = h->answers, limit_us = clock_monotonic_us() + ANSWER_LIMIT_MS * USEC_PER_MSEC;

	while (h->answers == before && clock_monotonic_us() < limit_us) {
		if (!h->up && !connect_target(h))
			return false;
		struct writer body = writer_fixed(body_buffer, sizeof(body_buffer));
		ping_req_write(&body, OCTETS_NONE);
		size_t length = make_message(h, PING_REQ, writer_octets_written(&body), true, message);
		struct iovec part = {message, length};
		h->transport.ops->send(h->transport.object, h->slot, &part, 1, LINK_SEND_OWN);
		uint64_t again_us = clock_monotonic_us() + 2000 * USEC_PER_MSEC;
		while (h->answers == before && h->up && clock_monotonic_us() < again_us)
			turn(h, 100);
	}
	return h->answers > before;
}

/*
 * Turns until nearly all has been acknowledged, so that a closed link is noticed at once. Returns how many messages were lost with it:
 * the target must close it for some of them.
 */
static unsigned drain(struct hostile *h) {
	struct link_statistics link = {0};
	unsigned waiting = 0;

	do {
		h->transport.ops->statistics(h->transport.object, h->slot, &link);
		waiting = link.queued + link.in_flight;
		turn(h, waiting > IN_FLIGHT_MAX ? 20 : 0);
	} while (h->up && waiting > IN_FLIGHT_MAX);
	return h->up ? 0 : waiting;
}

static bool send_messages(struct hostile *h, unsigned count) {
	uint8_t message[MESSAGE_MAX + 64];
	unsigned answered = 0;

	for (unsigned sent = 0; sent < count;) {
		if (!h->up && !connect_target(h))
			return false;
		size_t seed = next_random(h) % h->seed_count, length = mutate(h, h->seeds[seed], h->seed_lengths[seed], message);
		struct iovec part = {message, length};
		int error = h->transport.ops->send(h->transport.object, h->slot, &part, 1, 0);
		if (error == 0)
			sent++;
		sent -= drain(h);
		if (sent > answered && sent % BATCH == 0) {
			if (!still_answers(h))
				return false;
			answered = sent;
		}
	}
	return still_answers(h);
}

/* A datagram that resembles a handshake, a record of the link, or nothing at all. */
static size_t make_datagram(struct hostile *h, uint8_t *out) {
	size_t length = 1 + next_random(h) % 600;
	static const uint8_t types[] = {20, 21, 22, 23, 128, 129, 0, 255};

	for (size_t i = 0; i < length; i++)
		out[i] = (uint8_t)next_random(h);
	if (next_random(h) % 4 != 0 && length >= 25) {
		uint16_t rest = (uint16_t)(length - 13);
		out[0] = types[next_random(h) % sizeof(types)];
		out[1] = 0xfe;
		out[2] = next_random(h) % 3 ? 0xfd : 0xff;
		out[3] = 0;
		out[4] = next_random(h) % 3 != 0; /* epoch 0 or 1 */
		memset(out + 5, 0, 4);
		out[11] = (uint8_t)(rest >> 8);
		out[12] = (uint8_t)rest;
		if (out[0] == 22 && next_random(h) % 2) { /* ClientHello, unfragmented */
			uint16_t body = (uint16_t)(rest - 12);
			const uint8_t handshake[12] = {1, 0, (uint8_t)(body >> 8), (uint8_t)body, 0, 0, 0, 0, 0, 0, (uint8_t)(body >> 8), (uint8_t)body};
			memcpy(out + 13, handshake, sizeof(handshake));
			out[25 < length ? 25 : 24] = 0xfe;
		}
	}
	return length;
}

static bool send_datagrams(struct hostile *h, unsigned count) {
	struct sockaddr_storage to;
	uint8_t datagram[700];
	int fds[2], stranger = socket(h->target.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t to_length = address_to_sockaddr(&h->target, &to);

	if (stranger < 0 || dtls_links_fds(h->links, fds, 2) == 0)
		return false;
	for (unsigned i = 1; i <= count; i++) {
		size_t length = make_datagram(h, datagram);
		/* Half come from an unknown port, half look like records of the established link. */
		sendto(i % 2 ? stranger : fds[0], datagram, length, MSG_DONTWAIT, (struct sockaddr *)&to, to_length);
		if (i % BATCH == 0 && !still_answers(h)) {
			close(stranger);
			return false;
		}
	}
	close(stranger);
	return still_answers(h);
}

int main(int argc, char **argv) {
	static struct hostile h = {.random = SEED};
	struct overlay_config *config;
	struct dtls_settings settings = {.listen_count = 1};
	struct transport_events events = {.userdata = &h, .up = on_up, .down = on_down, .suspect = on_suspect, .receive = on_receive};
	char reason[512] = "";
	const char *overlay = NULL;

	log_open("hostile_peer");
	if (argc != 7 || address_parse(argv[4], 0, &settings.listen[0]) < 0 || address_parse(argv[5], RELOAD_PORT, &h.target) < 0) {
		fprintf(stderr, "usage: hostile_peer OVERLAY.xml CERTIFICATE KEY LOCAL TARGET COUNT\n");
		return 2;
	}
	unsigned count = (unsigned)strtoul(argv[6], NULL, 10);
	h.runtime = (struct runtime){.source = runtime_source_system(), .now_us = clock_monotonic_us()};
	if (overlay_config_load(argv[1], overlay, &config, reason) < 0 || trust_new(config, &h.trust) < 0 ||
	    credential_load(argv[2], argv[3], config->overlay_name, ID_LENGTH_CHORD, &h.credential, reason, sizeof(reason)) < 0) {
		fprintf(stderr, "%s\n", reason);
		return 2;
	}
	settings.runtime = &h.runtime;
	settings.trust = h.trust;
	settings.credential = h.credential;
	if (dtls_links_new(&settings, &events, &h.links, reason, sizeof(reason)) < 0) {
		fprintf(stderr, "%s\n", reason);
		return 2;
	}
	h.transport = dtls_links_transport(h.links);
	make_seeds(&h);
	bool messages = send_messages(&h, count), datagrams = messages && send_datagrams(&h, count);
	printf("%u mutated messages over the link: %s\n", count, messages ? "the target keeps answering" : "the target stopped answering");
	if (messages)
		printf("%u mutated datagrams: %s\n", count, datagrams ? "the target keeps answering" : "the target stopped answering");
	printf("%llu links were opened\n", (unsigned long long)h.reconnects);
	dtls_links_free(h.links);
	trust_free(h.trust);
	credential_unref(h.credential);
	overlay_config_unref(config);
	return datagrams ? 0 : 1;
}
