/* SPDX-License-Identifier: BSD-2-Clause */
/* The object, its slots, and the transport it offers. */
#include "link/dtls.h"

#include "base/log.h"
#include "link/dtls_internal.h"
#include "link/interfaces.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

enum { CONNECT_RETRY_US = 200000 };

/* --- the dead --- */

void dtls_leave(struct dtls_links *links) {
	if (--links->depth > 0)
		return;
	while (links->dead_links) {
		struct dtls_link *link = links->dead_links;
		links->dead_links = link->morgue;
		dtls_link_free(link);
	}
	while (links->dead_handshakes) {
		struct dtls_handshake *handshake = links->dead_handshakes;
		links->dead_handshakes = handshake->morgue;
		dtls_handshake_free(handshake);
	}
	while (links->dead_endpoints) {
		struct endpoint *endpoint = links->dead_endpoints;
		links->dead_endpoints = endpoint->morgue;
		free(endpoint);
	}
}

void dtls_endpoint_release(struct dtls_links *links, struct endpoint *endpoint) {
	if (endpoint->dead || endpoint->link || endpoint->handshake)
		return;
	endpoint->dead = true;
	endpoint_remove(&links->endpoints, endpoint);
	endpoint->morgue = links->dead_endpoints;
	links->dead_endpoints = endpoint;
}

/* --- life --- */

static struct dtls_receive *receive_new(void) {
	struct dtls_receive *receive = calloc(1, sizeof(*receive));

	if (!receive)
		return NULL;
	/* Pages that no large run of datagrams ever touches cost nothing. */
	receive->buffers = mmap(NULL, (size_t)DTLS_RECEIVE_BATCH * DTLS_RECEIVE_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (receive->buffers == MAP_FAILED) {
		free(receive);
		return NULL;
	}
	for (size_t i = 0; i < DTLS_RECEIVE_BATCH; i++) {
		receive->vectors[i] = (struct iovec){receive->buffers + i * DTLS_RECEIVE_SIZE, DTLS_RECEIVE_SIZE};
		receive->messages[i].msg_hdr = (struct msghdr){.msg_name = &receive->names[i],
							       .msg_iov = &receive->vectors[i],
							       .msg_iovlen = 1,
							       .msg_control = receive->controls[i]};
	}
	return receive;
}

static void receive_free(struct dtls_receive *receive) {
	if (receive)
		munmap(receive->buffers, (size_t)DTLS_RECEIVE_BATCH * DTLS_RECEIVE_SIZE);
	free(receive);
}

static int start(struct dtls_links *links, const struct dtls_settings *settings, char *reason, size_t reason_size) {
	int result;

	snprintf(reason, reason_size, "out of memory");
	links->receive = receive_new();
	links->send = malloc(sizeof(*links->send));
	if (!links->receive || !links->send || endpoint_table_init(&links->endpoints, links->runtime) < 0)
		return -ENOMEM;
	struct secure_settings secure = {.runtime = settings->runtime,
					 .trust = settings->trust,
					 .credential = settings->credential,
					 .keylog_path = settings->keylog_path,
					 .cipher_list = settings->cipher_list,
					 .secret = settings->secret};
	result = secure_context_open(&links->secure, &secure, true, reason, reason_size);
	if (result < 0)
		return result;
	if (dtls_handshake_context(links) < 0) {
		snprintf(reason, reason_size, "out of memory");
		return -ENOMEM;
	}
	for (size_t i = 0; i < settings->listen_count; i++) {
		if (settings->listen[i].family == 0)
			continue;
		result = dtls_io_open(links, &settings->listen[i], reason, reason_size);
		if (result < 0)
			return result;
	}
	if (links->socket_count == 0) {
		snprintf(reason, reason_size, "no address to listen on");
		return -EINVAL;
	}
	return 0;
}

int dtls_links_new(const struct dtls_settings *settings, const struct transport_events *events, struct dtls_links **ret,
		   char *reason, size_t reason_size) {
	uint32_t mtu = settings->mtu;

	if (settings->listen_count > ARRAY_LENGTH(settings->listen) || settings->announce_count > LINK_CANDIDATES_MAX ||
	    settings->links_max > LINK_SLOTS_MAX || (mtu != 0 && (mtu < DTLS_MTU_MIN || mtu > UINT16_MAX))) {
		snprintf(reason, reason_size, "link settings are out of range");
		return -EINVAL;
	}
	struct dtls_links *links = calloc(1, sizeof(*links));
	if (!links) {
		snprintf(reason, reason_size, "out of memory");
		return -ENOMEM;
	}
	links->runtime = settings->runtime;
	links->events = *events;
	memcpy(links->announce, settings->announce, sizeof(links->announce));
	links->announce_count = settings->announce_count;
	links->mtu = mtu;
	links->kernel = settings->kernel;
	links->message_size = mtu == 0			   ? DTLS_MTU_DEFAULT
			      : mtu < RECORD_PLAINTEXT_MAX ? mtu
							   : RECORD_PLAINTEXT_MAX - FRAME_DATA_HEADER;
	links->handshake_timeout_us = settings->handshake_timeout_ms != 0 ? settings->handshake_timeout_ms * 1000 : 1000000;
	links->numbers = settings->slots ? settings->slots : &links->own_numbers;
	if (!settings->slots)
		link_slots_init(links->numbers, links->runtime, settings->links_max != 0 ? settings->links_max : LINK_SLOTS_MAX);
	dtls_shared_init(links);

	int result = start(links, settings, reason, reason_size);
	if (result < 0) {
		dtls_links_free(links);
		return result;
	}
	*ret = links;
	return 0;
}

struct dtls_links *dtls_links_free(struct dtls_links *links) {
	if (!links)
		return NULL;
	dtls_enter(links);
	for (size_t i = 0; i < LINK_SLOTS_MAX; i++)
		if (links->slots[i])
			dtls_link_discard(links->slots[i], true);
	while (links->handshakes)
		dtls_handshake_discard(links->handshakes);
	dtls_links_flush(links);
	dtls_leave(links);
	timer_disarm(links->runtime, &links->shared_timer);
	while (links->pool) {
		struct dtls_message *message = links->pool;
		links->pool = message->next;
		free(message);
	}
	for (size_t i = 0; i < links->socket_count; i++)
		dtls_io_close(links->sockets[i]);
	endpoint_table_free(&links->endpoints);
	receive_free(links->receive);
	free(links->send);
	secure_context_close(&links->secure);
	BIO_meth_free(links->bio_method);
	octets_wipe(&links->cookie_secret, sizeof(links->cookie_secret));
	free(links);
	return NULL;
}

size_t dtls_links_fds(const struct dtls_links *links, int *fds, size_t max) {
	size_t count = 0;

	for (; count < links->socket_count && count < max; count++)
		fds[count] = links->sockets[count]->fd;
	return count;
}

bool dtls_links_want_write(const struct dtls_links *links) {
	for (size_t i = 0; i < links->socket_count; i++)
		if (links->sockets[i]->blocked)
			return true;
	return false;
}

struct address dtls_links_local(const struct dtls_links *links) {
	return links->sockets[0]->local;
}

const struct dtls_counters *dtls_links_counters(const struct dtls_links *links) {
	return &links->counters;
}

void dtls_links_recheck(struct dtls_links *links) {
	uint64_t now_ms = runtime_realtime_ms(links->runtime);
	const char *why;

	dtls_enter(links);
	for (size_t i = 0; i < LINK_SLOTS_MAX; i++) {
		struct dtls_link *link = links->slots[i];
		if (!link || link->state != DTLS_LINK_UP || trust_check(links->secure.trust, link->certificate, now_ms, &why) == 0)
			continue;
		log_notice("closing link %u: %s", link->slot, why);
		dtls_link_end(link, LINK_REVOKED, true); /* B-11.1-06 */
	}
	dtls_links_flush(links);
	dtls_leave(links);
}

/* --- transport --- */

static struct dtls_link *link_at(struct dtls_links *links, uint16_t slot) {
	return slot < LINK_SLOTS_MAX ? links->slots[slot] : NULL;
}

static struct dtls_link *link_up_at(struct dtls_links *links, uint16_t slot) {
	struct dtls_link *link = link_at(links, slot);

	return link && link->state == DTLS_LINK_UP ? link : NULL;
}

/* Goes on with the next candidate; also what a new connect() begins with, so that down() never comes out of connect(). */
static void connect_timer(struct timer *timer, void *userdata) {
	struct dtls_link *link = userdata;
	struct dtls_links *links = link->links;

	(void)timer;
	dtls_enter(links);
	while (link->state == DTLS_LINK_CONNECTING && !link->handshake) {
		if (link->candidate >= link->candidate_count || links->runtime->now_us >= link->give_up_us) {
			dtls_link_end(link, link->last_failure, false);
			break;
		}
		int result = dtls_handshake_connect(link, &link->candidates[link->candidate]);
		if (result == 0)
			break;
		if (result == -EBUSY || result == -ENOBUFS) {
			timer_arm_after(links->runtime, &link->timer, CONNECT_RETRY_US);
			break;
		}
		link->last_failure = LINK_HANDSHAKE_FAILED;
		link->candidate++;
	}
	dtls_leave(links);
}

static bool usable(const struct dtls_links *links, const struct address *candidate) {
	for (size_t i = 0; i < links->socket_count; i++)
		if (links->sockets[i]->family == candidate->family && candidate->port != 0 && candidate->protocol != IPPROTO_TCP)
			return true;
	return false;
}

int dtls_links_connect(struct dtls_links *links, uint16_t slot, const struct address *candidates, size_t count,
		       const struct id *expected, uint16_t *ret_slot) {
	struct address usables[LINK_CANDIDATES_MAX] = {0};
	struct dtls_link *link;
	size_t usable_count = 0;

	for (size_t i = 0; i < count && usable_count < LINK_CANDIDATES_MAX; i++)
		if (usable(links, &candidates[i]))
			usables[usable_count++] = candidates[i];
	if (usable_count == 0)
		return -EAFNOSUPPORT;
	int result = dtls_link_new(links, slot, &link);
	if (result < 0)
		return result;
	memcpy(link->candidates, usables, sizeof(link->candidates));
	link->candidate_count = usable_count;
	link->expected = expected ? *expected : ID_NONE;
	link->last_failure = LINK_TIMED_OUT;
	link->give_up_us =
		links->runtime->now_us + (LIMIT_HANDSHAKE_SECONDS + DTLS_CANDIDATE_SECONDS * (usable_count - 1)) * USEC_PER_SEC;
	timer_init(&link->timer, connect_timer, link);
	timer_arm(links->runtime, &link->timer, links->runtime->now_us);
	*ret_slot = link->slot;
	return 0;
}

static int transport_connect(void *transport, const struct address *candidates, size_t count, const struct id *expected,
			     uint16_t *ret_slot) {
	return dtls_links_connect(transport, LINK_SLOT_NONE, candidates, count, expected, ret_slot);
}

void dtls_links_abandon(struct dtls_links *links, uint16_t slot) {
	struct dtls_link *link = link_at(links, slot);

	if (!link || (link->state != DTLS_LINK_CONNECTING && link->state != DTLS_LINK_PROVING))
		return;
	dtls_enter(links);
	dtls_link_discard(link, false);
	dtls_link_leave_slot(link);
	dtls_leave(links);
}

bool dtls_links_heard(const struct dtls_links *links, uint16_t slot) {
	const struct dtls_link *link = slot < LINK_SLOTS_MAX ? links->slots[slot] : NULL;

	return link && (link->state != DTLS_LINK_CONNECTING || (link->handshake && link->handshake->heard));
}

int dtls_links_set_secret(struct dtls_links *links, const char *secret, char *reason, size_t reason_size) {
	int result = secure_context_set_secret(&links->secure, secret, reason, reason_size);

	return result < 0 ? result : dtls_handshake_context(links);
}

static int transport_send(void *transport, uint16_t slot, const struct iovec *parts, size_t count, unsigned flags) {
	struct dtls_link *link = link_up_at(transport, slot);

	return link ? dtls_link_send(link, parts, count, flags) : -ENOTCONN;
}

static void transport_close(void *transport, uint16_t slot, enum link_reason reason) {
	struct dtls_links *links = transport;
	struct dtls_link *link = link_at(links, slot);

	if (!link)
		return;
	dtls_enter(links);
	dtls_link_end(link, reason, true);
	dtls_leave(links);
}

static struct certificate *transport_certificate(void *transport, uint16_t slot) {
	struct dtls_link *link = link_at(transport, slot);

	return link ? link->certificate : NULL;
}

static uint8_t transport_generation(void *transport, uint16_t slot) {
	struct dtls_links *links = transport;

	return slot < LINK_SLOTS_MAX ? links->numbers->generations[slot] : 0;
}

static struct address transport_address(void *transport, uint16_t slot) {
	struct dtls_link *link = link_at(transport, slot);

	if (!link)
		return (struct address){0};
	if (link->endpoint)
		return link->endpoint->to.remote;
	return link->candidates[link->candidate < link->candidate_count ? link->candidate : 0];
}

static size_t transport_payload_max(void *transport, uint16_t slot) {
	struct dtls_link *link = link_up_at(transport, slot);

	return link ? dtls_link_payload_max(link) : 0;
}

static void transport_statistics(void *transport, uint16_t slot, struct link_statistics *ret) {
	static const char *const ciphers[] = {
		[RECORD_CHACHA20_POLY1305] = "CHACHA20-POLY1305",
		[RECORD_AES128_GCM] = "AES-128-GCM",
		[RECORD_AES256_GCM] = "AES-256-GCM",
	};
	struct dtls_link *link = link_up_at(transport, slot);

	if (!link) {
		*ret = (struct link_statistics){.cipher = "", .protocol = ""};
		return;
	}
	*ret = (struct link_statistics){
		.rtt_us = dtls_shared_rtt_us(link),
		.rto_us = link->sender.rto_us,
		.window = link->sender.window,
		.in_flight = link->sender.in_flight,
		.queued = link->queued,
		.sent = link->sent,
		.received = link->received,
		.resent = link->resent,
		.octets_sent = link->octets_sent,
		.octets_received = link->octets_received,
		.last_received_us = dtls_shared_last_received_us(link),
		.cipher = ciphers[link->record.state.cipher],
		.protocol = "DTLS-UDP-SR-NO-ICE",
	};
}

static size_t transport_candidates(void *transport, struct address *out, size_t max) {
	const struct dtls_links *links = transport;
	struct local_socket sockets[ARRAY_LENGTH(links->sockets)];

	for (size_t i = 0; i < links->socket_count; i++)
		sockets[i] = (struct local_socket){links->sockets[i]->local, links->sockets[i]->wildcard};
	return local_candidates(links->announce, links->announce_count, sockets, links->socket_count, out, max);
}

struct transport dtls_links_transport(struct dtls_links *links) {
	static const struct transport_ops ops = {
		.connect = transport_connect,
		.send = transport_send,
		.close = transport_close,
		.candidates = transport_candidates,
		.certificate = transport_certificate,
		.generation = transport_generation,
		.address = transport_address,
		.payload_max = transport_payload_max,
		.statistics = transport_statistics,
	};

	return (struct transport){.ops = &ops, .object = links};
}
