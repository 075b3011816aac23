/* SPDX-License-Identifier: BSD-2-Clause */
/* Established links: data, acknowledgements, queue, failure detection, alerts. */
#include "base/log.h"
#include "link/dtls_internal.h"
#include "link/proof.h"
#include "link_state.h"

#include <errno.h>
#include <string.h>

enum {
	ALERT_WARNING = 1,
	ALERT_FATAL = 2,
	ALERT_CLOSE_NOTIFY = 0,
	HANDSHAKE_FINISHED = 20,
	UDP_HEADER = 8,
	PAYLOAD_RESERVE = 32, /* for via lists to grow (B-6.7-03) */
	FINAL_FLIGHT_GAP_US = 100000,
	PROOF_MAX = 8192,
};

/* --- message buffers --- */

static struct dtls_message *message_new(struct dtls_links *links, const struct iovec *parts, size_t count, unsigned flags) {
	struct dtls_message *message = links->pool;

	if (links->message_count >= DTLS_MESSAGES_MAX)
		return NULL;
	if (message) {
		links->pool = message->next;
		links->pool_count--;
	} else {
		message = malloc(sizeof(*message) + links->message_size);
		if (!message)
			return NULL;
	}
	links->message_count++;
	memset(message, 0, sizeof(*message));
	message->flags = flags;
	for (size_t i = 0; i < count; i++) {
		memcpy(message->data + message->length, parts[i].iov_base, parts[i].iov_len);
		message->length += (uint32_t)parts[i].iov_len;
	}
	return message;
}

static void message_free(struct dtls_links *links, struct dtls_message *message) {
	links->message_count--;
	if (links->pool_count >= DTLS_POOL_MAX) {
		free(message);
		return;
	}
	message->next = links->pool;
	links->pool = message;
	links->pool_count++;
}

static struct dtls_message *queue_take(struct dtls_link *link) {
	struct dtls_message *message = link->queue;

	link->queue = message->next;
	if (!link->queue)
		link->queue_last = NULL;
	link->queued--;
	message->next = NULL;
	return message;
}

static void queue_append(struct dtls_link *link, struct dtls_message *message) {
	if (link->queue_last)
		link->queue_last->next = message;
	else
		link->queue = message;
	link->queue_last = message;
	link->queued++;
}

/* --- sending --- */

/* Timers are lazy: armed for the earliest moment they may be needed, and asked again what to do when they fire. */
static void update_timer(struct dtls_link *link) {
	uint64_t due_us = link->broken ? 0 : sender_deadline(&link->sender);

	if (link->state == DTLS_LINK_PROVING && link->prove_by_us < due_us)
		due_us = link->prove_by_us;

	if (due_us != USEC_NEVER && (!link->timer.armed || link->timer.due_us > due_us))
		timer_arm(link->links->runtime, &link->timer, due_us);
}

/* Seals what stands behind the prefix of `buffer` and puts it into the batch. */
static int seal(struct dtls_link *link, enum record_type type, uint8_t *buffer, size_t length, bool ack) {
	if (link->broken) /* the kernel may have used the numbers that our own counter says come next: see dtls_shared_start() */
		return -ENOTCONN;
	ssize_t total = record_seal(&link->record, type, buffer, length);

	if (total < 0) {
		link->broken = true; /* out of record numbers, or OpenSSL failed: nothing can be sent any more */
		update_timer(link);
		return -ENOTCONN;
	}
	dtls_io_commit(link->links, &link->endpoint->to, link->endpoint, (size_t)total, ack);
	return 0;
}

/*
 * One transmission of a message of `length` octets. `own`: to be resent until acknowledged; NULL for transit messages, which are
 * not (B-6.6.3.1-04, Q-01).
 */
static int transmit(struct dtls_link *link, const struct iovec *parts, size_t count, size_t length, struct sender_message *own) {
	size_t prefix = record_prefix(&link->record.state);
	uint8_t *buffer = dtls_io_reserve(link->links, link->endpoint->to.socket, length + FRAME_DATA_HEADER + RECORD_OVERHEAD_MAX);

	if (!buffer)
		return -EAGAIN;
	uint32_t sequence = sender_sent(&link->sender, link->links->runtime->now_us, own);
	if (link->shared)
		sequence = dtls_shared_number(link->shared, sequence);
	uint8_t *at = buffer + prefix;
	frame_write_data_header(at, sequence, length);
	at += FRAME_DATA_HEADER;
	for (size_t i = 0; i < count; i++) {
		memcpy(at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
	link->sent++;
	link->octets_sent += length;
	return seal(link, RECORD_APPLICATION, buffer, FRAME_DATA_HEADER + length, false);
}

static int transmit_message(struct dtls_link *link, struct dtls_message *message) {
	struct iovec part = {message->data, message->length};

	return transmit(link, &part, 1, message->length, message->flags & LINK_SEND_OWN ? &message->sender : NULL);
}

/* Resends what is due, then sends what waits, as far as the window allows. */
static void drain(struct dtls_link *link) {
	uint64_t now_us = link->links->runtime->now_us;
	struct sender_message *again;

	while (!link->broken && (again = sender_resend(&link->sender, now_us))) {
		if (transmit_message(link, (struct dtls_message *)again) < 0) {
			sender_postpone(&link->sender, again, now_us + link->sender.rto_us); /* the kernel is full */
			break;
		}
		link->resent++;
		link->links->counters.retransmissions++;
	}
	while (!link->broken && link->queue && sender_has_room(&link->sender)) {
		struct dtls_message *message = queue_take(link);
		bool own = message->flags & LINK_SEND_OWN;
		int result = transmit_message(link, message);
		if (result == -EAGAIN)
			link->links->counters.drop_congestion++;
		if (result == -EAGAIN || !own)
			message_free(link->links, message);
	}
	update_timer(link);
}

size_t dtls_link_payload_max(const struct dtls_link *link) {
	size_t ip = link->record.state.family == AF_INET ? 20 : 40;
	size_t overhead = ip + UDP_HEADER + record_overhead(&link->record.state) + FRAME_DATA_HEADER + PAYLOAD_RESERVE;

	size_t room = link->record.state.mtu - overhead; /* the MTU is at least DTLS_MTU_MIN */
	return room < link->links->message_size ? room : link->links->message_size;
}

int dtls_link_send(struct dtls_link *link, const struct iovec *parts, size_t count, unsigned flags) {
	struct dtls_links *links = link->links;
	struct dtls_message *message = NULL;
	size_t length = 0;
	int result;

	if (count > LINK_SEND_PARTS_MAX)
		return -EMSGSIZE;
	for (size_t i = 0; i < count; i++)
		length += parts[i].iov_len;
	if (length > dtls_link_payload_max(link))
		return -EMSGSIZE;
	if (link->broken)
		return -ENOTCONN;
	bool room = !link->queue && sender_has_room(&link->sender);
	if (!room || flags & LINK_SEND_OWN) {
		if (!room && link->queued >= LIMIT_LINK_QUEUE)
			goto congested;
		message = message_new(links, parts, count, flags);
		if (!message)
			goto congested;
	}
	if (!room) {
		queue_append(link, message);
		return 0;
	}
	result = transmit(link, parts, count, length, message ? &message->sender : NULL);
	if (result == -EAGAIN) {
		if (message)
			message_free(links, message);
		goto congested;
	}
	update_timer(link);
	return result;

congested:
	links->counters.drop_congestion++;
	return -EAGAIN;
}

static void send_ack(struct dtls_link *link, uint32_t sequence) {
	uint32_t received = link->shared ? link_received_note((__u64 *)&link->shared->slot->received, sequence)
					 : frame_receiver_note(&link->receiver, sequence);
	uint8_t *buffer = dtls_io_reserve(link->links, link->endpoint->to.socket, FRAME_ACK_LENGTH + RECORD_OVERHEAD_MAX);

	if (!buffer)
		return; /* as good as lost on the way */
	frame_write_ack(buffer + record_prefix(&link->record.state), sequence, received);
	if (seal(link, RECORD_APPLICATION, buffer, FRAME_ACK_LENGTH, true) == 0)
		link->links->counters.acks_sent++;
}

static void send_close_notify(struct dtls_link *link) {
	static const uint8_t alert[] = {ALERT_WARNING, ALERT_CLOSE_NOTIFY};
	uint8_t *buffer = dtls_io_reserve(link->links, link->endpoint->to.socket, sizeof(alert) + RECORD_OVERHEAD_MAX);

	if (!buffer || link->broken)
		return;
	memcpy(buffer + record_prefix(&link->record.state), alert, sizeof(alert));
	seal(link, RECORD_ALERT, buffer, sizeof(alert), false);
}

/* --- receiving --- */

void dtls_link_set_suspect(struct dtls_link *link, bool suspect) {
	struct transport_events *events = &link->links->events;

	if (link->suspect == suspect)
		return;
	link->suspect = suspect;
	if (events->suspect && link->state == DTLS_LINK_UP)
		events->suspect(events->userdata, link->slot, suspect);
}

/* --- shared secrets: who is it? (link/proof.h) --- */

/* It is no link after all. */
static void prove_failed(struct dtls_link *link, enum link_reason reason) {
	if (link->initiated) {
		dtls_link_end(link, reason, false);
		return;
	}
	dtls_link_discard(link, false);
	dtls_link_leave_slot(link);
}

void dtls_link_prove(struct dtls_link *link, SSL *ssl) {
	struct dtls_links *links = link->links;
	struct writer w = writer_growing(PROOF_MAX);
	uint8_t binding[SECURE_BINDING];
	bool server = SSL_is_server(ssl);

	link->state = DTLS_LINK_PROVING;
	link->prove_by_us = links->runtime->now_us + LIMIT_HANDSHAKE_SECONDS * USEC_PER_SEC;
	int error = secure_binding(ssl, server, binding);
	if (error == 0)
		error = secure_binding(ssl, !server, link->their_binding);
	if (error == 0)
		error = proof_write(&links->secure, binding, &w);
	if (error == 0) {
		struct octets message = writer_octets_written(&w);
		struct iovec part = {(void *)message.data, message.length};
		error = dtls_link_send(link, &part, 1, LINK_SEND_OWN);
	}
	if (error == -EMSGSIZE)
		log_error("our certificate is too large for links with a shared secret over UDP; use one with an ECDSA key");
	writer_release(&w);
	octets_wipe(binding, sizeof(binding));
	if (error < 0)
		prove_failed(link, LINK_HANDSHAKE_FAILED);
}

static void prove_proceed(struct dtls_link *link) {
	struct dtls_links *links = link->links;

	if (link->state != DTLS_LINK_PROVING || !link->proven || !link->proof_acked)
		return;
	link->state = DTLS_LINK_UP;
	dtls_shared_remember(link, link->initiated);
	links->events.up(links->events.userdata, link->slot, link->initiated);
}

/* Everything but their proof is ignored until it is there: it may have been overtaken. Ours was lost if theirs comes again. */
static void prove_receive(struct dtls_link *link, const struct frame *frame) {
	struct dtls_links *links = link->links;
	struct secure_session session = {.context = &links->secure, .remote = link->endpoint->to.remote};
	struct certificate *certificate;
	const char *why = NULL;

	int error = proof_check(&links->secure, frame->message, link->their_binding, &certificate, &why);
	if (error == -EBADMSG) {
		links->counters.drop_epoch++;
		return;
	}
	if (error == 0 && link->initiated && !id_is_none(&link->expected) &&
	    !certificate_has_node_id(certificate, &link->expected)) {
		certificate_unref(certificate); /* B-6.5.1.11-01 */
		why = "not the Node-ID that was asked for";
		error = -EACCES;
	}
	if (error < 0) {
		secure_log_refusal(&session, why);
		prove_failed(link, LINK_HANDSHAKE_FAILED);
		return;
	}
	certificate_unref(link->certificate);
	link->certificate = certificate;
	link->proven = true;
	send_ack(link, frame->sequence);
	prove_proceed(link);
}

static void receive_ack(struct dtls_link *link, struct frame *frame) {
	struct sender_message *done = NULL;
	enum sender_ack_result result;
	bool kernels;

	link->links->counters.acks_received++;
	if (link->shared && !dtls_shared_ack(link->shared, &link->sender, frame, &kernels)) {
		result = kernels ? SENDER_ACK_DUPLICATE : SENDER_ACK_BOGUS;
		if (kernels)
			sender_alive(&link->sender);
	} else {
		result = sender_acked(&link->sender, link->links->runtime->now_us, frame->sequence, frame->received, &done);
	}
	if (result == SENDER_ACK_BOGUS) {
		link->links->counters.drop_malformed++;
		return;
	}
	if (done && link->state == DTLS_LINK_PROVING) {
		link->proof_acked = true; /* it was the only message */
		message_free(link->links, (struct dtls_message *)done);
		prove_proceed(link);
		return;
	}
	if (done)
		message_free(link->links, (struct dtls_message *)done);
	if (link->queue || link->sender.own)
		drain(link);
	dtls_link_set_suspect(link, false);
}

static void receive_frame(struct dtls_link *link, uint8_t *plain, size_t length) {
	struct transport_events *events = &link->links->events;
	struct frame frame;

	if (frame_parse(OCTETS(plain, length), &frame) < 0) {
		link->links->counters.drop_malformed++;
		return;
	}
	if (frame.type == FRAME_ACK) {
		receive_ack(link, &frame);
		return;
	}
	if (link->state == DTLS_LINK_PROVING) {
		prove_receive(link, &frame);
		return;
	}
	send_ack(link, frame.sequence); /* B-6.6.2-03, whatever the message turns out to be */
	link->received++;
	link->octets_received += frame.message.length;
	events->receive(events->userdata, link->slot, (uint8_t *)frame.message.data, frame.message.length);
}

static void receive_alert(struct dtls_link *link, const uint8_t *plain, size_t length) {
	struct reader r = reader_of(plain, length);
	uint8_t level = reader_u8(&r), description = reader_u8(&r);

	if (reader_finish(&r) < 0) {
		link->links->counters.drop_malformed++;
		return;
	}
	if (link->state == DTLS_LINK_PROVING) {
		if (description == ALERT_CLOSE_NOTIFY || level == ALERT_FATAL)
			prove_failed(link, LINK_HANDSHAKE_FAILED);
		return;
	}
	/* A close_notify is answered with one (RFC 5246 7.2.1); other warnings mean nothing to us. */
	if (description == ALERT_CLOSE_NOTIFY)
		dtls_link_end(link, LINK_CLOSED_BY_PEER, true);
	else if (level == ALERT_FATAL)
		dtls_link_end(link, LINK_CLOSED_BY_PEER, false);
}

/*
 * The other side sends its last flight again because ours got lost (RFC 6347 4.2.4). Its Finished was sealed with the right key,
 * so nobody else can make us answer. HelloRequest and anything else that wants to renegotiate is ignored.
 */
static void receive_handshake(struct dtls_link *link, const uint8_t *plain, size_t length) {
	struct reader r = reader_of(plain, length);
	uint64_t now_us = link->links->runtime->now_us;

	if (reader_u8(&r) != HANDSHAKE_FINISHED || link->final_length == 0 ||
	    (link->final_sent_us != 0 && now_us - link->final_sent_us < FINAL_FLIGHT_GAP_US))
		return;
	uint8_t *buffer = dtls_io_reserve(link->links, link->endpoint->to.socket, link->final_length);
	if (!buffer)
		return;
	memcpy(buffer, link->final_flight, link->final_length);
	dtls_io_commit(link->links, &link->endpoint->to, link->endpoint, link->final_length, false);
	link->final_sent_us = now_us;
}

int dtls_link_receive(struct dtls_link *link, const struct record *record) {
	uint8_t *plain;
	size_t length;

	int result = record_open(&link->record, record, &plain, &length);
	if (result < 0)
		return result;
	link->last_received_us = link->links->runtime->now_us;
	if (record->type == RECORD_APPLICATION) {
		link->final_length = 0; /* it has what it needs */
		receive_frame(link, plain, length);
	} else if (record->type == RECORD_ALERT) {
		receive_alert(link, plain, length);
	} else if (record->type == RECORD_HANDSHAKE) {
		receive_handshake(link, plain, length);
	} else {
		link->links->counters.drop_malformed++;
	}
	return 0;
}

/* --- life --- */

static void link_timer(struct timer *timer, void *userdata) {
	struct dtls_link *link = userdata;
	struct dtls_links *links = link->links;

	(void)timer;
	dtls_enter(links);
	if (link->state == DTLS_LINK_PROVING && (link->broken || links->runtime->now_us >= link->prove_by_us)) {
		prove_failed(link, LINK_HANDSHAKE_FAILED);
	} else if (link->broken) {
		dtls_link_end(link, LINK_PROTOCOL_ERROR, false);
	} else {
		enum sender_verdict verdict = sender_timeout(&link->sender, links->runtime->now_us);
		if (link->state == DTLS_LINK_PROVING && (verdict == SENDER_DEAD || verdict == SENDER_UNREACHABLE)) {
			prove_failed(link, LINK_TIMED_OUT);
		} else if (verdict == SENDER_DEAD) {
			dtls_link_end(link, LINK_TIMED_OUT, true);
		} else if (verdict == SENDER_UNREACHABLE) {
			dtls_link_end(link, LINK_UNREACHABLE, true);
		} else {
			drain(link);
			if (verdict == SENDER_SUSPECT)
				dtls_link_set_suspect(link, true); /* B-6.6-02, B-6.6.3.1-05 */
		}
	}
	dtls_leave(links);
}

int dtls_link_new(struct dtls_links *links, uint16_t slot, struct dtls_link **ret) {
	struct dtls_link *link = calloc(1, sizeof(*link));

	if (!link)
		return -ENOMEM;
	if (slot != LINK_SLOT_NONE) {
		link_slots_hold(links->numbers, slot);
	} else if (link_slots_take(links->numbers, &slot) < 0) {
		free(link);
		return -ENOBUFS;
	}
	link->links = links;
	link->slot = slot;
	link->state = DTLS_LINK_CONNECTING;
	links->slots[slot] = link;
	*ret = link;
	return 0;
}

static void set_addresses(struct dtls_link *link) {
	struct record_state *state = &link->record.state;
	const struct dtls_destination *to = &link->endpoint->to;
	struct address local = to->source;
	uint32_t mtu = DTLS_MTU_DEFAULT, route_mtu = 0;

	dtls_route(to, &local, &route_mtu);
	if (to->source.family != 0) {
		local = to->source;
		local.port = to->socket->local.port;
	}
	if (!to->socket->wildcard)
		local = to->socket->local;
	if (link->links->mtu != 0)
		mtu = link->links->mtu;
	else if (route_mtu != 0 && route_mtu < mtu)
		mtu = route_mtu;
	state->family = to->remote.family;
	memcpy(state->local_address, local.octets, sizeof(state->local_address));
	memcpy(state->remote_address, to->remote.octets, sizeof(state->remote_address));
	state->local_port = local.port;
	state->remote_port = to->remote.port;
	state->mtu = UINT16_MAX;
	dtls_link_set_mtu(link, mtu);
}

static int derive(struct dtls_link *link, struct dtls_handshake *handshake) {
	const SSL_CIPHER *suite = SSL_get_current_cipher(handshake->ssl);
	uint8_t master[RECORD_MASTER_SECRET], client_random[RECORD_RANDOM], server_random[RECORD_RANDOM];
	enum record_cipher cipher;

	switch (SSL_CIPHER_get_cipher_nid(suite)) {
	case NID_chacha20_poly1305:
		cipher = RECORD_CHACHA20_POLY1305;
		break;
	case NID_aes_128_gcm:
		cipher = RECORD_AES128_GCM;
		break;
	case NID_aes_256_gcm:
		cipher = RECORD_AES256_GCM;
		break;
	default:
		return -EPROTONOSUPPORT;
	}
	if (SSL_SESSION_get_master_key(SSL_get_session(handshake->ssl), master, sizeof(master)) != sizeof(master) ||
	    SSL_get_client_random(handshake->ssl, client_random, sizeof(client_random)) != sizeof(client_random) ||
	    SSL_get_server_random(handshake->ssl, server_random, sizeof(server_random)) != sizeof(server_random))
		return -EIO;
	const char *digest = EVP_MD_get0_name(SSL_CIPHER_get_handshake_digest(suite));
	int result = record_state_derive(&link->record.state, cipher, digest, master, client_random, server_random,
					 !handshake->session.server, handshake->tx_next);
	octets_wipe(master, sizeof(master));
	return result < 0 ? result : record_layer_start(&link->record);
}

void dtls_link_begin(struct dtls_link *link) {
	sender_init(&link->sender);
	timer_disarm(link->links->runtime, &link->timer);
	timer_init(&link->timer, link_timer, link);
	link->last_received_us = link->links->runtime->now_us;
	link->state = DTLS_LINK_UP;
}

int dtls_link_start(struct dtls_link *link, struct dtls_handshake *handshake) {
	int result = derive(link, handshake);

	if (result < 0)
		return result;
	link->endpoint = handshake->endpoint;
	link->certificate = certificate_ref(handshake->session.certificate);
	set_addresses(link);
	dtls_link_begin(link);
	/* Only the server's flight is the last one and may be missed by the other side. */
	if (handshake->session.server) {
		memcpy(link->final_flight, handshake->final_flight, handshake->final_length);
		link->final_length = handshake->final_length;
	}
	dtls_shared_start(link);
	return 0;
}

void dtls_link_unreachable(struct dtls_link *link) {
	sender_hint_unreachable(&link->sender, link->links->runtime->now_us);
}

void dtls_link_set_mtu(struct dtls_link *link, uint32_t mtu) {
	struct record_state *state = &link->record.state;
	uint32_t least = state->family == AF_INET ? DTLS_MTU_MIN : 1280;

	/* Anybody can claim that a packet was too big, so not everything is believed; and the MTU only ever shrinks. */
	if (mtu < least)
		mtu = least;
	if (mtu >= state->mtu)
		return;
	state->mtu = (uint16_t)mtu;
	if (link->shared && link->links->kernel->mtu)
		link->links->kernel->mtu(link->links->kernel->userdata, link->slot, mtu);
}

void dtls_link_discard(struct dtls_link *link, bool notify) {
	struct dtls_links *links = link->links;
	struct sender_message *own;

	if (link->state == DTLS_LINK_DEAD)
		return;
	if (link->state == DTLS_LINK_UP && notify)
		send_close_notify(link);
	link->state = DTLS_LINK_DEAD;
	timer_disarm(links->runtime, &link->timer);
	if (link->handshake) {
		struct dtls_handshake *handshake = link->handshake;
		link->handshake = NULL;
		handshake->link = NULL;
		if (!handshake->session.server) /* else the other side began it and may go on */
			dtls_handshake_discard(handshake);
	}
	while ((own = link->sender.own)) {
		link->sender.own = own->next;
		message_free(links, (struct dtls_message *)own);
	}
	while (link->queue)
		message_free(links, queue_take(link));
	if (link->endpoint) {
		struct endpoint *endpoint = link->endpoint;
		link->endpoint = NULL;
		if (endpoint->link == link)
			endpoint->link = NULL;
		dtls_endpoint_release(links, endpoint);
	}
	dtls_shared_stop(link);
	record_layer_stop(&link->record);
	link->morgue = links->dead_links;
	links->dead_links = link;
}

void dtls_link_end(struct dtls_link *link, enum link_reason reason, bool notify) {
	struct dtls_links *links = link->links;

	if (link->state == DTLS_LINK_DEAD)
		return;
	bool up = link->state == DTLS_LINK_UP;
	if (link->state == DTLS_LINK_PROVING && !link->initiated) { /* nobody knows of it */
		dtls_link_discard(link, notify);
		dtls_link_leave_slot(link);
		return;
	}
	log_debug("link %u %s: %s", link->slot, up ? "down" : "not made", link_reason_text(reason));
	dtls_link_discard(link, notify);
	links->events.down(links->events.userdata, link->slot, reason);
	/* Only now may connect() take the slot again. */
	dtls_link_leave_slot(link);
}

void dtls_link_leave_slot(struct dtls_link *link) {
	struct dtls_links *links = link->links;

	if (links->slots[link->slot] != link)
		return;
	links->slots[link->slot] = NULL;
	link_slots_release(links->numbers, link->slot);
}

void dtls_link_free(struct dtls_link *link) {
	dtls_link_leave_slot(link);
	certificate_unref(link->certificate);
	free(link);
}
