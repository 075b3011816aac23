/* SPDX-License-Identifier: BSD-2-Clause */
/* Handshakes: OpenSSL between a datagram and a batch, until both sides have shown their certificate. */
#include "base/log.h"
#include "link/dtls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <stddef.h>
#include <string.h>
#include <utlist.h>

enum {
	TIE_BREAK_SECONDS = 3,
};

/* --- OpenSSL's view of the socket --- */

static int bio_read(BIO *bio, char *out, int size) {
	struct dtls_handshake *handshake = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (handshake->input.length == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	size_t length = handshake->input.length < (size_t)size ? handshake->input.length : (size_t)size;
	memcpy(out, handshake->input.data, length);
	handshake->input = OCTETS_NONE;
	return (int)length;
}

/*
 * Looks at what OpenSSL sends: which numbers of epoch 1 it uses, retransmissions included, because ours go on from there; and
 * the last flight, ChangeCipherSpec and Finished, which the server must be able to repeat after OpenSSL is gone.
 */
static void watch_output(struct dtls_handshake *handshake, const uint8_t *data, size_t length) {
	struct reader r = reader_of(data, length);
	struct record record;

	while (reader_more(&r) && record_next(&r, &record) == 0) {
		if (record.type == RECORD_CHANGE_CIPHER_SPEC) {
			handshake->in_final_flight = true;
			handshake->final_length = 0;
		}
		if (record.epoch == RECORD_EPOCH && record.number >= handshake->tx_next)
			handshake->tx_next = record.number + 1;
		if (!handshake->in_final_flight || record.length > sizeof(handshake->final_flight) - handshake->final_length)
			continue;
		memcpy(handshake->final_flight + handshake->final_length, record.whole, record.length);
		handshake->final_length += record.length;
	}
}

static int bio_write(BIO *bio, const char *data, int length) {
	struct dtls_handshake *handshake = BIO_get_data(bio);
	struct endpoint *endpoint = handshake->endpoint;

	BIO_clear_retry_flags(bio);
	if (length <= 0)
		return 0;
	watch_output(handshake, (const uint8_t *)data, (size_t)length);
	uint8_t *out = dtls_io_reserve(handshake->links, endpoint->to.socket, (size_t)length);
	if (out) {
		memcpy(out, data, (size_t)length);
		dtls_io_commit(handshake->links, &endpoint->to, NULL, (size_t)length, false);
	}
	return length; /* or lost, as datagrams are */
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
	struct dtls_handshake *handshake = BIO_get_data(bio);

	(void)number;
	(void)pointer;
	switch (command) {
	case BIO_CTRL_FLUSH:
	case BIO_CTRL_DGRAM_SET_NEXT_TIMEOUT:
	case BIO_CTRL_DGRAM_SET_PEEK_MODE:
		return 1;
	case BIO_CTRL_DGRAM_GET_MTU_OVERHEAD:
		return handshake->endpoint->to.remote.family == AF_INET ? 28 : 48;
	case BIO_CTRL_DGRAM_QUERY_MTU:
	case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
		return DTLS_HANDSHAKE_MTU - 48;
	default:
		return 0;
	}
}

static int bio_create(BIO *bio) {
	BIO_set_init(bio, 1);
	return 1;
}

/* --- context --- */

static int cookie_generate(SSL *ssl, unsigned char *cookie, unsigned int *length) {
	(void)ssl;
	(void)cookie;
	*length = 0;
	return 0; /* we answer without OpenSSL */
}

static int cookie_verify(SSL *ssl, const unsigned char *cookie, unsigned int length) {
	(void)ssl;
	(void)cookie;
	return length == COOKIE_SIZE; /* cookie_check() said yes before OpenSSL saw it */
}

static int make_bio_method(struct dtls_links *links) {
	links->bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "batch");
	if (!links->bio_method)
		return -ENOMEM;
	BIO_meth_set_create(links->bio_method, bio_create);
	BIO_meth_set_read(links->bio_method, bio_read);
	BIO_meth_set_write(links->bio_method, bio_write);
	BIO_meth_set_ctrl(links->bio_method, bio_control);
	return 0;
}

int dtls_handshake_context(struct dtls_links *links) {
	if (!links->bio_method && make_bio_method(links) < 0)
		return -ENOMEM;
	SSL_CTX_set_cookie_generate_cb(links->secure.ssl, cookie_generate);
	SSL_CTX_set_cookie_verify_cb(links->secure.ssl, cookie_verify);
	return 0;
}

int dtls_links_set_credential(struct dtls_links *links, struct credential *credential) {
	return secure_context_set_credential(&links->secure, credential);
}

/* --- life of one handshake --- */

/* OpenSSL asks how long to wait for an answer: once with 0, then with what we said before. */
static unsigned first_timeout(SSL *ssl, unsigned previous_us) {
	const char *session = SSL_get_app_data(ssl);
	const struct dtls_handshake *handshake = (const void *)(session - offsetof(struct dtls_handshake, session));
	uint64_t next_us = previous_us == 0 ? handshake->links->handshake_timeout_us : 2 * (uint64_t)previous_us;

	return next_us > 60 * USEC_PER_SEC ? (unsigned)(60 * USEC_PER_SEC) : (unsigned)next_us;
}

static void rearm(struct dtls_handshake *handshake) {
	struct runtime *runtime = handshake->links->runtime;
	struct timeval left = {0};
	uint64_t due_us = handshake->deadline_us;

	if (DTLSv1_get_timeout(handshake->ssl, &left) == 1) {
		uint64_t resend_us = runtime->now_us + (uint64_t)left.tv_sec * USEC_PER_SEC + (uint64_t)left.tv_usec;
		if (resend_us < due_us)
			due_us = resend_us;
	}
	timer_arm(runtime, &handshake->timer, due_us);
}

/* Takes the handshake off everything that leads to it; freed by dtls_leave(). */
void dtls_handshake_discard(struct dtls_handshake *handshake) {
	struct dtls_links *links = handshake->links;
	struct endpoint *endpoint = handshake->endpoint;

	if (handshake->dead)
		return;
	handshake->dead = true;
	timer_disarm(links->runtime, &handshake->timer);
	DL_DELETE2(links->handshakes, handshake, previous, next);
	links->handshake_count--;
	links->handshake_server_count -= handshake->session.server;
	if (handshake->link)
		handshake->link->handshake = NULL;
	handshake->link = NULL;
	if (endpoint->handshake == handshake)
		endpoint->handshake = NULL;
	if (endpoint->link)
		dtls_shared_handshake(endpoint->link, false);
	dtls_endpoint_release(links, endpoint);
	handshake->morgue = links->dead_handshakes;
	links->dead_handshakes = handshake;
}

void dtls_handshake_free(struct dtls_handshake *handshake) {
	for (size_t i = 0; i < handshake->early_count; i++)
		free(handshake->early[i].data);
	SSL_free(handshake->ssl);
	certificate_unref(handshake->session.certificate);
	free(handshake);
}

static void fail(struct dtls_handshake *handshake, enum link_reason reason) {
	struct dtls_links *links = handshake->links;
	struct dtls_link *link = handshake->link;
	char text[ADDRESS_TEXT_SIZE];

	log_debug("handshake with %s failed: %s", address_format(&handshake->endpoint->to.remote, text), link_reason_text(reason));
	links->counters.handshakes_failed++;
	bool server = handshake->session.server;
	dtls_handshake_discard(handshake);
	if (!link)
		return;
	/* The link goes on with its next candidate, from its own timer. */
	if (!server)
		link->candidate++;
	link->last_failure = reason;
	timer_arm(links->runtime, &link->timer, links->runtime->now_us);
}

static void deliver_early(struct dtls_handshake *handshake, struct endpoint *endpoint, struct dtls_link *link) {
	for (size_t i = 0; i < handshake->early_count; i++) {
		struct reader r = reader_of(handshake->early[i].data, handshake->early[i].length);
		struct record record;
		if (link->state == DTLS_LINK_DEAD || endpoint->link != link)
			return;
		if (record_next(&r, &record) == 0 && dtls_link_receive(link, &record) < 0)
			link->links->counters.drop_forged++;
	}
}

/* The link whose up() is due: the one connect() waits for, unless somebody else answered there; or a new one. */
static struct dtls_link *link_for(struct dtls_handshake *handshake, bool *ret_initiated) {
	struct dtls_link *link = handshake->link;

	*ret_initiated = link != NULL;
	/* With a shared secret it turns out later who the other side is (link/proof.h). */
	if (link && (id_is_none(&link->expected) || !handshake->session.certificate ||
		     certificate_has_node_id(handshake->session.certificate, &link->expected)))
		return link;
	*ret_initiated = false;
	if (link) {
		link->handshake = NULL;
		link->candidate++;
		link->last_failure = LINK_HANDSHAKE_FAILED;
		handshake->link = NULL;
		timer_arm(link->links->runtime, &link->timer, link->links->runtime->now_us);
	}
	return dtls_link_new(handshake->links, LINK_SLOT_NONE, &link) == 0 ? link : NULL;
}

static void complete(struct dtls_handshake *handshake) {
	struct dtls_links *links = handshake->links;
	struct endpoint *endpoint = handshake->endpoint;
	bool initiated;
	struct dtls_link *old = endpoint->link, *link = link_for(handshake, &initiated);

	/* A bad node that was none when it showed its certificate (B-11.1-06). */
	struct certificate *certificate = handshake->session.certificate;
	bool trusted =
		!certificate || trust_check(links->secure.trust, certificate, runtime_realtime_ms(links->runtime), NULL) == 0;
	if (!link || !trusted || dtls_link_start(link, handshake) < 0) {
		if (!link)
			links->counters.drop_limit++;
		else if (!initiated)
			dtls_link_discard(link, false);
		SSL_shutdown(handshake->ssl); /* OpenSSL still seals for us here */
		fail(handshake, LINK_HANDSHAKE_FAILED);
		return;
	}
	links->counters.handshakes_done++;
	/* Who reconnects from the same address has forgotten the old link; only now is it certain that it was him (RFC 6347 4.2.8).
	 */
	endpoint->link = link;
	handshake->link = NULL;
	link->handshake = NULL;
	dtls_handshake_discard(handshake);
	if (old) {
		old->endpoint = NULL;
		dtls_link_end(old, handshake->session.server ? LINK_CLOSED_BY_PEER : LINK_CLOSED_BY_US, false);
	}
	link->initiated = initiated;
	if (link->certificate)
		dtls_shared_remember(link, initiated);
	else
		dtls_link_prove(link, handshake->ssl);
	if (link->state == DTLS_LINK_UP)
		links->events.up(links->events.userdata, link->slot, initiated);
	deliver_early(handshake, endpoint, link);
}

static void advance(struct dtls_handshake *handshake) {
	struct dtls_links *links = handshake->links;

	ERR_clear_error();
	int result = SSL_do_handshake(handshake->ssl);
	if (result == 1 && (handshake->session.certificate || links->secure.secret_length > 0)) {
		complete(handshake);
		return;
	}
	int error = SSL_get_error(handshake->ssl, result);
	if (result != 1 && (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)) {
		rearm(handshake);
		return;
	}
	/* A certificate that was refused has told so already. */
	if (ERR_GET_REASON(ERR_peek_last_error()) != SSL_R_CERTIFICATE_VERIFY_FAILED)
		secure_log_refusal(&handshake->session, secure_explain(&handshake->session));
	ERR_clear_error();
	fail(handshake, LINK_HANDSHAKE_FAILED);
}

static void handshake_timer(struct timer *timer, void *userdata) {
	struct dtls_handshake *handshake = userdata;
	struct dtls_links *links = handshake->links;

	(void)timer;
	dtls_enter(links);
	if (handshake->unreachable) {
		fail(handshake, LINK_UNREACHABLE);
	} else if (handshake->deadline_us <= links->runtime->now_us) {
		const char *why =
			secure_explain_silence(&handshake->session, handshake->in_final_flight || handshake->finished_received);
		if (why)
			secure_log_refusal(&handshake->session, why);
		fail(handshake, handshake->heard ? LINK_HANDSHAKE_FAILED : LINK_TIMED_OUT);
	} else if (DTLSv1_handle_timeout(handshake->ssl) < 0) {
		ERR_clear_error();
		fail(handshake, LINK_TIMED_OUT);
	} else {
		rearm(handshake);
	}
	dtls_leave(links);
}

static int handshake_new(struct dtls_links *links, struct endpoint *endpoint, bool server, struct dtls_handshake **ret) {
	struct dtls_handshake *handshake = calloc(1, sizeof(*handshake));
	BIO *bio = BIO_new(links->bio_method);

	if (handshake) {
		handshake->session = (struct secure_session){
			.context = &links->secure, .remote = endpoint->to.remote, .server = server, .expected = ID_NONE};
		handshake->ssl = secure_ssl_new(&handshake->session);
	}
	if (!handshake || !handshake->ssl || !bio) {
		BIO_free(bio);
		if (handshake)
			dtls_handshake_free(handshake);
		return -ENOMEM;
	}
	handshake->links = links;
	handshake->endpoint = endpoint;
	handshake->started_us = links->runtime->now_us;
	handshake->deadline_us = handshake->started_us + LIMIT_HANDSHAKE_SECONDS * USEC_PER_SEC;
	timer_init(&handshake->timer, handshake_timer, handshake);
	BIO_set_data(bio, handshake);
	SSL_set_bio(handshake->ssl, bio, bio);
	SSL_set_mtu(handshake->ssl, DTLS_HANDSHAKE_MTU - 48);
	DTLS_set_timer_cb(handshake->ssl, first_timeout);
	endpoint->handshake = handshake;
	if (endpoint->link)
		dtls_shared_handshake(endpoint->link, true);
	DL_APPEND2(links->handshakes, handshake, previous, next);
	links->handshake_count++;
	links->handshake_server_count += server;
	links->counters.handshakes_started++;
	*ret = handshake;
	return 0;
}

static struct dtls_socket *socket_for(struct dtls_links *links, const struct address *remote) {
	for (size_t i = 0; i < links->socket_count; i++)
		if (links->sockets[i]->family == remote->family)
			return links->sockets[i];
	return NULL;
}

int dtls_handshake_connect(struct dtls_link *link, const struct address *remote) {
	struct dtls_links *links = link->links;
	struct endpoint *endpoint = endpoint_find(&links->endpoints, remote);
	struct dtls_socket *socket = socket_for(links, remote);
	struct dtls_handshake *handshake;

	if (!socket)
		return -EAFNOSUPPORT;
	if (endpoint && endpoint->handshake) {
		/* The other side is just calling us: if it is who we want, this will do. */
		if (!endpoint->handshake->session.server || endpoint->handshake->link)
			return -EBUSY;
		endpoint->handshake->link = link;
		link->handshake = endpoint->handshake;
		return 0;
	}
	if (links->handshake_count >= LIMIT_HANDSHAKES_OPEN)
		return -ENOBUFS;
	if (!endpoint) {
		if (endpoint_add(&links->endpoints, remote, &endpoint) < 0)
			return -ENOMEM;
		dtls_destination_set(&endpoint->to, socket, remote);
	}
	if (handshake_new(links, endpoint, false, &handshake) < 0) {
		dtls_endpoint_release(links, endpoint);
		return -ENOMEM;
	}
	handshake->link = link;
	handshake->session.expected = link->expected;
	link->handshake = handshake;
	if (link->candidate + 1 < link->candidate_count)
		handshake->deadline_us = handshake->started_us + DTLS_CANDIDATE_SECONDS * USEC_PER_SEC;
	SSL_set_connect_state(handshake->ssl);
	advance(handshake);
	if (!handshake->dead)
		SSL_get_client_random(handshake->ssl, handshake->client_random, sizeof(handshake->client_random));
	return 0;
}

static bool may_accept(const struct dtls_links *links, const struct address *remote) {
	const struct dtls_handshake *handshake;
	unsigned count = 0;

	if (links->handshake_server_count >= LIMIT_HANDSHAKES_OPEN - DTLS_HANDSHAKES_OWN ||
	    links->handshake_count >= LIMIT_HANDSHAKES_OPEN)
		return false;
	DL_FOREACH2(links->handshakes, handshake, next) {
		if (handshake->session.server && address_likely_same_host(&handshake->endpoint->to.remote, remote))
			count++;
	}
	return count < DTLS_HANDSHAKES_PER_HOST;
}

/*
 * A handshake with that address is already under way. Returns true when the new ClientHello begins another one; *ret_link is then
 * the connect() that goes on with it.
 */
static bool displaces(struct dtls_handshake *handshake, const struct record *record, const struct client_hello *hello,
		      struct dtls_link **ret_link) {
	struct dtls_links *links = handshake->links;
	int order = memcmp(handshake->client_random, hello->random.data, RECORD_RANDOM);

	if (handshake->session.server) {
		if (order == 0) {
			dtls_handshake_receive(handshake, record); /* sent once more */
			return false;
		}
	} else if (order > 0 && links->runtime->now_us - handshake->started_us < TIE_BREAK_SECONDS * USEC_PER_SEC) {
		/* Both sides call each other through the same two ports: the greater client random wins, and both know both. */
		return false;
	}
	*ret_link = handshake->link;
	dtls_handshake_discard(handshake);
	return true;
}

void dtls_handshake_accept(struct dtls_links *links, const struct dtls_destination *from, struct endpoint *endpoint,
			   const struct record *record, const struct client_hello *hello) {
	struct dtls_handshake *handshake;
	struct dtls_link *link = NULL;

	if (endpoint && endpoint->handshake && !displaces(endpoint->handshake, record, hello, &link))
		return;
	if (endpoint && endpoint->dead)
		endpoint = NULL;
	if (!may_accept(links, &from->remote))
		goto refuse;
	if (!endpoint && endpoint_add(&links->endpoints, &from->remote, &endpoint) < 0)
		goto refuse;
	endpoint->to = *from;
	if (handshake_new(links, endpoint, true, &handshake) < 0) {
		dtls_endpoint_release(links, endpoint);
		goto refuse;
	}
	handshake->link = link;
	if (link)
		link->handshake = handshake;
	memcpy(handshake->client_random, hello->random.data, RECORD_RANDOM);
	/* DTLSv1_listen() makes OpenSSL continue behind a cookie exchange it has not seen. */
	BIO_ADDR *unused = BIO_ADDR_new();
	handshake->input = OCTETS(record->whole, record->length);
	ERR_clear_error();
	int result = unused ? DTLSv1_listen(handshake->ssl, unused) : -1;
	BIO_ADDR_free(unused);
	if (result == 1)
		advance(handshake);
	else
		fail(handshake, LINK_HANDSHAKE_FAILED);
	ERR_clear_error();
	return;

refuse:
	links->counters.drop_limit++;
	if (link)
		timer_arm(links->runtime, &link->timer, links->runtime->now_us);
}

/* Application records that arrive before Finished are kept: the order of datagrams is not ours to choose (B-6.5.1.14-01). */
static void keep_early(struct dtls_handshake *handshake, const struct record *record) {
	uint8_t *copy = handshake->early_count < DTLS_EARLY_RECORDS ? malloc(record->length) : NULL;

	if (!copy) {
		handshake->links->counters.drop_limit++;
		return;
	}
	memcpy(copy, record->whole, record->length);
	handshake->early[handshake->early_count++] = (struct dtls_early){copy, record->length};
}

void dtls_handshake_receive(struct dtls_handshake *handshake, const struct record *record) {
	if (record->epoch == RECORD_EPOCH && record->type == RECORD_APPLICATION) {
		keep_early(handshake, record);
		return;
	}
	if (!handshake->heard) {
		/* Somebody is there: worth the whole time. */
		handshake->heard = true;
		handshake->deadline_us = handshake->started_us + LIMIT_HANDSHAKE_SECONDS * USEC_PER_SEC;
	}
	if (record->epoch == RECORD_EPOCH)
		handshake->finished_received = true;
	handshake->input = OCTETS(record->whole, record->length);
	advance(handshake);
	if (!handshake->dead)
		handshake->input = OCTETS_NONE;
}

void dtls_handshake_unreachable(struct dtls_handshake *handshake) {
	if (handshake->session.server)
		return; /* its cookie came back from there a moment ago */
	handshake->unreachable = true;
	timer_arm(handshake->links->runtime, &handshake->timer, handshake->links->runtime->now_us);
}
