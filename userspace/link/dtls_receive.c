/* SPDX-License-Identifier: BSD-2-Clause */
/* Which record of which datagram belongs to whom. */
#include "link/dtls_internal.h"

#include <errno.h>
#include <string.h>

static struct dtls_destination sender_of(struct dtls_socket *socket, const struct address *remote, const struct address *source) {
	struct dtls_destination to;

	dtls_destination_set(&to, socket, remote);
	if (socket->wildcard)
		to.source = *source;
	return to;
}

/* A ClientHello: answered with a cookie, without keeping anything, or the beginning of a handshake. */
static void receive_client_hello(struct dtls_links *links, const struct dtls_destination *from, struct endpoint *endpoint,
				 const struct record *record, const struct client_hello *hello) {
	if (cookie_check(&links->cookie_secret, links->runtime, &from->remote, hello)) {
		dtls_handshake_accept(links, from, endpoint, record, hello);
		return;
	}
	uint8_t *out = dtls_io_reserve(links, from->socket, COOKIE_REQUEST_SIZE);
	if (!out || record->length < COOKIE_REQUEST_SIZE ||
	    cookie_request_write(&links->cookie_secret, links->runtime, &from->remote, hello, out) < 0) {
		links->counters.drop_limit++;
		return;
	}
	dtls_io_commit(links, from, NULL, COOKIE_REQUEST_SIZE, false);
	links->counters.cookies_sent++;
}

/* Epoch 0: handshakes only. */
static void receive_plain(struct dtls_links *links, struct dtls_socket *socket, struct endpoint *endpoint,
			  const struct record *record, const struct address *remote, const struct address *source) {
	struct client_hello hello;
	int result = client_hello_parse(record, &hello);

	if (result == 0) {
		struct dtls_destination from = sender_of(socket, remote, source);
		receive_client_hello(links, &from, endpoint, record, &hello);
	} else if (result == -EBADMSG) {
		links->counters.drop_malformed++;
	} else if (endpoint && endpoint->handshake) {
		dtls_handshake_receive(endpoint->handshake, record);
	} else if (endpoint) {
		links->counters.drop_epoch++; /* established links do not listen to what is not protected */
	} else {
		links->counters.drop_unknown++;
	}
}

static void count_drop(struct dtls_links *links, int result) {
	if (result == -EKEYREJECTED)
		links->counters.drop_forged++;
	else if (result == -ESTALE)
		links->counters.drop_replayed++;
	else if (result == -EPROTO)
		links->counters.drop_epoch++;
	else if (result < 0)
		links->counters.drop_malformed++;
}

/* Epoch 1: the established link, or the end of a handshake, or the first record after it. */
static void receive_protected(struct dtls_links *links, struct endpoint *endpoint, const struct record *record) {
	struct dtls_handshake *handshake = endpoint->handshake;

	if (!handshake) {
		count_drop(links, dtls_link_receive(endpoint->link, record));
		return;
	}
	if (endpoint->link) {
		/* Both, while the other side reconnects. Trying the link's keys destroys the record, so they get a copy. */
		uint8_t copy[RECORD_HEADER + RECORD_PLAINTEXT_MAX + RECORD_OVERHEAD_MAX];
		struct record tried = *record;
		if (record->length <= sizeof(copy)) {
			memcpy(copy, record->whole, record->length);
			tried.whole = copy;
			if (dtls_link_receive(endpoint->link, &tried) == 0)
				return;
			if (handshake->dead)
				return;
		}
	}
	dtls_handshake_receive(handshake, record);
}

void dtls_receive_datagram(struct dtls_links *links, struct dtls_socket *socket, uint8_t *datagram, size_t length,
			   const struct address *remote, const struct address *source) {
	struct reader r = reader_of(datagram, length);
	struct record record;

	links->counters.datagrams_received++;
	while (reader_more(&r)) {
		/* Looked up for every record: the one before may have changed everything. */
		struct endpoint *endpoint = endpoint_find(&links->endpoints, remote);
		if (record_next(&r, &record) < 0) {
			links->counters.drop_malformed++;
			return;
		}
		if (record.epoch == 0)
			receive_plain(links, socket, endpoint, &record, remote, source);
		else if (!endpoint)
			links->counters.drop_unknown++;
		else if (record.epoch == RECORD_EPOCH)
			receive_protected(links, endpoint, &record);
		else
			links->counters.drop_epoch++;
	}
}
