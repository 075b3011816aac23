/* SPDX-License-Identifier: BSD-2-Clause */
/* Established links: frames in both directions, acknowledgements, failure detection. */
#include "base/log.h"
#include "link/tls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* --- sending --- */

static void make_dirty(struct tls_link *link) {
	if (link->dirty)
		return;
	link->dirty = true;
	link->dirty_next = link->links->dirty;
	link->links->dirty = link;
}

/* Room for `length` octets behind what waits. -EAGAIN all links together hold too much, -ENOMEM. */
static int make_room(struct tls_link *link, size_t length) {
	struct tls_links *links = link->links;
	size_t waiting = link->out_end - link->out_start, size = link->out_size ? link->out_size : 4096;

	if (link->out_size - link->out_end >= length)
		return 0;
	if (waiting > 0 && link->out_start > 0)
		memmove(link->out, link->out + link->out_start, waiting);
	link->out_start = 0;
	link->out_end = waiting;
	while (size < waiting + length)
		size *= 2;
	if (size == link->out_size)
		return 0;
	if (links->octets + size - link->out_size > TLS_OCTETS_MAX)
		return -EAGAIN;
	uint8_t *out = realloc(link->out, size);
	if (!out)
		return -ENOMEM;
	links->octets += size - link->out_size;
	link->out = out;
	link->out_size = size;
	return 0;
}

static void append(struct tls_link *link, const void *data, size_t length) {
	if (link->out_start == link->out_end)
		link->progress_us = link->links->runtime->now_us;
	memcpy(link->out + link->out_end, data, length);
	link->out_end += length;
}

int tls_link_queue(struct tls_link *link, const struct iovec *parts, size_t count, size_t length) {
	uint8_t header[FRAME_DATA_HEADER];

	int error = make_room(link, FRAME_DATA_HEADER + length);
	if (error < 0)
		return error;
	frame_write_data_header(header, link->next_number, length);
	append(link, header, sizeof(header));
	for (size_t i = 0; i < count; i++)
		append(link, parts[i].iov_base, parts[i].iov_len);
	link->sent_ring[link->next_number % TLS_FRAMES_MAX] =
		(struct tls_sent){.end = link->written + (link->out_end - link->out_start)};
	link->next_number++; /* B-6.6.2-02 */
	make_dirty(link);
	return 0;
}

size_t tls_link_payload_max(const struct tls_link *link) {
	return trust_config(link->links->secure.trust)->max_message_size; /* a stream needs no fragments */
}

int tls_link_send(struct tls_link *link, const struct iovec *parts, size_t count) {
	size_t length = 0, waiting = link->out_end - link->out_start;

	for (size_t i = 0; i < count; i++)
		length += parts[i].iov_len;
	if (count > LINK_SEND_PARTS_MAX || length > tls_link_payload_max(link))
		return -EMSGSIZE;
	int error = -EAGAIN;
	if (link->next_number - link->acked < TLS_FRAMES_MAX && link->next_number - link->stamped < LIMIT_LINK_QUEUE &&
	    (waiting == 0 || waiting + length <= TLS_QUEUE_OCTETS))
		error = tls_link_queue(link, parts, count, length);
	if (error < 0) {
		link->links->counters.drop_congestion++;
		return -EAGAIN;
	}
	link->sent++;
	link->octets_sent += length;
	return 0;
}

/* Frames whose last octet is with the kernel now: their time runs. */
static void stamp(struct tls_link *link) {
	while (link->stamped != link->next_number && link->sent_ring[link->stamped % TLS_FRAMES_MAX].end <= link->written)
		link->sent_ring[link->stamped++ % TLS_FRAMES_MAX].sent_us = link->links->runtime->now_us;
}

/* The connection broke, or the other side ended it, while OpenSSL was at work. */
static void broken(struct tls_link *link, int error) {
	enum link_reason reason = LINK_CLOSED_BY_PEER;
	unsigned long last = ERR_peek_last_error();

	if (error == SSL_ERROR_SYSCALL && (errno == ETIMEDOUT || errno == EHOSTUNREACH || errno == ENETUNREACH))
		reason = LINK_UNREACHABLE;
	else if (error == SSL_ERROR_SSL && ERR_GET_REASON(last) != SSL_R_UNEXPECTED_EOF_WHILE_READING &&
		 ERR_GET_REASON(last) < SSL_AD_REASON_OFFSET)
		reason = LINK_PROTOCOL_ERROR;
	if (link->state == TLS_UP) {
		ERR_clear_error();
		tls_link_end(link, reason, false);
		return;
	}
	if (error == SSL_ERROR_SSL)
		secure_log_refusal(&link->session, secure_explain(&link->session));
	ERR_clear_error();
	tls_connect_failed(link, LINK_HANDSHAKE_FAILED);
}

void tls_link_write(struct tls_link *link) {
	if (!link->ssl)
		return;
	link->write_blocked = false;
	while (link->out_start < link->out_end) {
		size_t waiting = link->out_end - link->out_start;
		ERR_clear_error();
		int result =
			SSL_write(link->ssl, link->out + link->out_start, (int)(waiting < TLS_WRITE_MAX ? waiting : TLS_WRITE_MAX));
		if (result <= 0) {
			int error = SSL_get_error(link->ssl, result);
			if (error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ) {
				link->write_blocked = error == SSL_ERROR_WANT_WRITE;
				break;
			}
			broken(link, error);
			return;
		}
		link->out_start += (size_t)result;
		link->written += (uint64_t)result;
		link->progress_us = link->links->runtime->now_us;
	}
	if (link->out_start == link->out_end)
		link->out_start = link->out_end = 0;
	stamp(link);
	tls_link_watch(link);
	if (link->state == TLS_UP)
		tls_link_update_timer(link);
}

static int send_ack(struct tls_link *link, uint32_t sequence) {
	uint8_t ack[FRAME_ACK_LENGTH];

	int error = make_room(link, sizeof(ack));
	if (error < 0)
		return error;
	frame_write_ack(ack, sequence, frame_receiver_note(&link->receiver, sequence)); /* B-6.6.2-03, B-6.6.2-04 */
	append(link, ack, sizeof(ack));
	link->links->counters.acks_sent++;
	make_dirty(link);
	return 0;
}

/* --- acknowledgements --- */

/* RFC 6298 2.2, 2.3; every frame has a number of its own, so every ack is a sample. B-6.6.5-01 */
static void measure(struct tls_link *link, uint64_t rtt_us) {
	uint32_t rtt = rtt_us < TLS_RTO_MAX_US ? (uint32_t)rtt_us : TLS_RTO_MAX_US;

	if (!link->measured) {
		link->measured = true;
		link->srtt_us = rtt;
		link->rttvar_us = rtt / 2;
	} else {
		uint32_t off = rtt > link->srtt_us ? rtt - link->srtt_us : link->srtt_us - rtt;
		link->rttvar_us = (uint32_t)((3 * (uint64_t)link->rttvar_us + off) / 4);
		link->srtt_us = (uint32_t)((7 * (uint64_t)link->srtt_us + rtt) / 8);
	}
	uint64_t rto = link->srtt_us + 4 * (uint64_t)link->rttvar_us;
	link->rto_us = rto < TLS_RTO_MIN_US ? TLS_RTO_MIN_US : rto > TLS_RTO_MAX_US ? TLS_RTO_MAX_US : (uint32_t)rto;
}

static void set_suspect(struct tls_link *link, bool suspect) {
	struct transport_events *events = &link->links->events;

	if (link->suspect == suspect)
		return;
	link->suspect = suspect;
	link->suspect_us = link->links->runtime->now_us;
	if (events->suspect)
		events->suspect(events->userdata, link->slot, suspect);
}

static void receive_ack(struct tls_link *link, uint32_t sequence) {
	struct tls_links *links = link->links;

	links->counters.acks_received++;
	if (sequence - link->acked >= link->stamped - link->acked) {
		/* Again, or of a frame we never sent. */
		if (link->acked - sequence > TLS_FRAMES_MAX)
			links->counters.drop_malformed++;
		return;
	}
	measure(link, links->runtime->now_us - link->sent_ring[sequence % TLS_FRAMES_MAX].sent_us);
	link->acked = sequence + 1;
	if (link->state != TLS_UP) {
		tls_connect_proceed(link);
		return;
	}
	set_suspect(link, false);
	if (link->state == TLS_UP)
		tls_link_update_timer(link);
}

/* --- receiving --- */

static void receive_data(struct tls_link *link, const struct frame *frame) {
	struct tls_links *links = link->links;
	struct octets message = frame->message;

	if (link->state == TLS_CONFIRMING)
		tls_connect_confirmed(link);
	if (link->state == TLS_PROVING) {
		if (tls_connect_prove(link, message) < 0 || send_ack(link, frame->sequence) < 0)
			tls_connect_failed(link, LINK_HANDSHAKE_FAILED);
		else
			tls_connect_proceed(link);
		return;
	}
	if (link->state != TLS_UP)
		return;
	if (send_ack(link, frame->sequence) < 0) {
		links->counters.drop_limit++;
		tls_link_end(link, LINK_PROTOCOL_ERROR, false);
		return;
	}
	link->received++;
	link->octets_received += message.length;
	links->events.receive(links->events.userdata, link->slot, (uint8_t *)message.data, message.length);
}

/* Takes the frames out of what was read. False: the link is not what it was. */
static bool receive_octets(struct tls_link *link, uint8_t *data, size_t length) {
	struct tls_links *links = link->links;
	size_t limit = trust_config(links->secure.trust)->max_message_size + (size_t)TLS_OVERSIZE;
	enum tls_state state = link->state;
	struct frame frame;

	for (;;) {
		size_t before = stream_octets(&link->stream);
		int result = stream_next(&link->stream, limit, &data, &length, &frame);
		links->octets += stream_octets(&link->stream) - before;
		if (result == 0 && links->octets > TLS_OCTETS_MAX)
			result = -ENOBUFS;
		if (result == 0)
			return true;
		if (result < 0) {
			if (result == -EBADMSG || result == -EMSGSIZE)
				links->counters.drop_malformed++;
			else
				links->counters.drop_limit++;
			if (state == TLS_UP)
				tls_link_end(link, LINK_PROTOCOL_ERROR, true);
			else
				tls_connect_failed(link, LINK_PROTOCOL_ERROR);
			return false;
		}
		if (frame.type == FRAME_ACK)
			receive_ack(link, frame.sequence);
		else
			receive_data(link, &frame);
		if (link->state == TLS_DEAD || link->fd < 0)
			return false;
		state = link->state;
	}
}

void tls_link_receive(struct tls_link *link) {
	struct tls_links *links = link->links;

	link->read_blocked = false;
	for (unsigned round = 0; round < TLS_READS; round++) {
		if (link->out_end - link->out_start > TLS_ACKS_WAITING && link->state == TLS_UP)
			break; /* who does not take our acks is not read from */
		ERR_clear_error();
		errno = 0;
		int result = SSL_read(link->ssl, links->scratch, TLS_SCRATCH);
		if (link->confirmed && link->state == TLS_CONFIRMING)
			tls_connect_proceed(link);
		if (link->state == TLS_DEAD)
			return;
		if (result <= 0) {
			int error = SSL_get_error(link->ssl, result);
			if (error == SSL_ERROR_WANT_READ)
				break;
			if (error == SSL_ERROR_WANT_WRITE) {
				link->read_blocked = true;
				break;
			}
			if (error == SSL_ERROR_ZERO_RETURN && link->state == TLS_UP)
				tls_link_end(link, LINK_CLOSED_BY_PEER, true);
			else
				broken(link, error);
			return;
		}
		link->last_received_us = links->runtime->now_us;
		if (!receive_octets(link, links->scratch, (size_t)result))
			return;
	}
	tls_link_watch(link);
}

/* --- failure detection --- */

/* When something is due: an ack, the end of the time a link without acks is kept, or progress of what waits. */
static uint64_t deadline(const struct tls_link *link) {
	uint64_t due_us = USEC_NEVER;

	if (link->suspect)
		due_us = link->suspect_us + TLS_RETAIN_SECONDS * USEC_PER_SEC;
	else if (link->acked != link->stamped)
		due_us = link->sent_ring[link->acked % TLS_FRAMES_MAX].sent_us + link->rto_us;
	if (link->out_start < link->out_end && link->progress_us + TLS_RETAIN_SECONDS * USEC_PER_SEC < due_us)
		due_us = link->progress_us + TLS_RETAIN_SECONDS * USEC_PER_SEC;
	return due_us;
}

/* Lazy: armed for the earliest moment it may be needed, and asked again what to do when it fires. */
void tls_link_update_timer(struct tls_link *link) {
	uint64_t due_us = deadline(link);

	if (due_us != USEC_NEVER && (!link->timer.armed || link->timer.due_us > due_us))
		timer_arm(link->links->runtime, &link->timer, due_us);
}

void tls_link_timer(struct tls_link *link) {
	uint64_t now_us = link->links->runtime->now_us;

	if (deadline(link) <= now_us) {
		bool stuck = link->out_start < link->out_end && link->progress_us + TLS_RETAIN_SECONDS * USEC_PER_SEC <= now_us;
		if (link->suspect || stuck) {
			tls_link_end(link, LINK_TIMED_OUT, true); /* B-6.6.5-01: 30 s */
			return;
		}
		set_suspect(link, true); /* B-6.6-02, B-6.6.5-01 */
	}
	if (link->state == TLS_UP)
		tls_link_update_timer(link);
}

/* --- life --- */

void tls_link_start(struct tls_link *link) {
	struct runtime *runtime = link->links->runtime;

	timer_disarm(runtime, &link->timer);
	link->last_received_us = runtime->now_us;
	if (!link->measured)
		link->rto_us = TLS_RTO_INITIAL_US;
	tls_link_update_timer(link);
}

void tls_link_statistics(const struct tls_link *link, struct link_statistics *ret) {
	const char *cipher = "";

	switch (SSL_CIPHER_get_cipher_nid(SSL_get_current_cipher(link->ssl))) {
	case NID_chacha20_poly1305:
		cipher = "CHACHA20-POLY1305";
		break;
	case NID_aes_128_gcm:
		cipher = "AES-128-GCM";
		break;
	case NID_aes_256_gcm:
		cipher = "AES-256-GCM";
		break;
	}
	*ret = (struct link_statistics){
		.rtt_us = link->srtt_us,
		.rto_us = link->rto_us,
		.window = TLS_FRAMES_MAX,
		.in_flight = link->stamped - link->acked,
		.queued = link->next_number - link->stamped,
		.sent = link->sent,
		.received = link->received,
		.octets_sent = link->octets_sent,
		.octets_received = link->octets_received,
		.last_received_us = link->last_received_us,
		.cipher = cipher,
		.protocol = "TLS-TCP-FH-NO-ICE",
	};
}
