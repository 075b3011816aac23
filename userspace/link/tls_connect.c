/* SPDX-License-Identifier: BSD-2-Clause */
/* The way to a link: TCP, the handshake, and what has to be known besides before it is one. */
#include "base/log.h"
#include "link/proof.h"
#include "link/tls_internal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <utlist.h>

enum { PROOF_MAX = 8192 };

/* --- the connection --- */

void tls_connect_drop(struct tls_link *link) {
	SSL_free(link->ssl);
	link->ssl = NULL;
	if (link->fd >= 0)
		close(link->fd); /* leaves epoll's set */
	link->fd = -1;
	link->watched = false;
	link->links->octets -= link->out_size + stream_octets(&link->stream);
	free(link->out);
	link->out = NULL;
	link->out_start = link->out_end = link->out_size = 0;
	stream_release(&link->stream);
	link->write_blocked = link->read_blocked = link->confirmed = link->proven = false;
	link->written = 0;
	link->receiver = (struct frame_receiver){0};
	link->next_number = link->stamped = link->acked = 0;
	link->measured = false;
	octets_wipe(link->their_binding, sizeof(link->their_binding));
}

static void prepare_socket(int fd) {
	int one = 1, idle = TLS_KEEPALIVE_IDLE_S, interval = TLS_KEEPALIVE_INTERVAL_S, probes = TLS_KEEPALIVE_PROBES,
	    lowat = TLS_NOTSENT_LOWAT;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
}

void tls_connect_failed(struct tls_link *link, enum link_reason reason) {
	struct tls_links *links = link->links;
	char text[ADDRESS_TEXT_SIZE];

	if (link->state == TLS_DEAD)
		return;
	if (link->state > TLS_CONNECTING)
		links->counters.handshakes_failed++;
	log_debug("TLS with %s failed: %s", address_format(&link->session.remote, text), link_reason_text(reason));
	if (!link->initiated) {
		tls_link_end(link, reason, false);
		return;
	}
	tls_connect_drop(link);
	link->session.certificate = certificate_unref(link->session.certificate);
	link->candidate++;
	link->last_failure = reason;
	link->state = TLS_WAITING;
	timer_arm(links->runtime, &link->timer, links->runtime->now_us);
}

/* --- what comes after the handshake --- */

static void become_up(struct tls_link *link) {
	struct tls_links *links = link->links;

	/* A bad node that was none when it showed its certificate (B-11.1-06). */
	if (trust_check(links->secure.trust, link->session.certificate, runtime_realtime_ms(links->runtime), NULL) < 0) {
		tls_connect_failed(link, LINK_HANDSHAKE_FAILED);
		return;
	}
	if (link->slot == LINK_SLOT_NONE) {
		if (link_slots_take(links->numbers, &link->slot) < 0) {
			link->slot = LINK_SLOT_NONE;
			links->counters.drop_limit++;
			tls_link_end(link, LINK_CLOSED_BY_US, false);
			return;
		}
		links->slots[link->slot] = link;
	}
	links->counters.handshakes_done++;
	link->state = TLS_UP;
	tls_link_start(link);
	links->events.up(links->events.userdata, link->slot, link->initiated);
}

void tls_connect_proceed(struct tls_link *link) {
	if (link->state == TLS_CONFIRMING && link->confirmed)
		become_up(link);
	else if (link->state == TLS_PROVING && link->proven && link->acked > 0)
		become_up(link);
}

void tls_connect_confirmed(struct tls_link *link) {
	link->confirmed = true;
	tls_connect_proceed(link);
}

int tls_connect_prove(struct tls_link *link, struct octets message) {
	struct certificate *certificate;
	const char *why = NULL;

	int error = link->proven ? -EBADMSG : proof_check(&link->links->secure, message, link->their_binding, &certificate, &why);
	if (error == 0 && !id_is_none(&link->session.expected) && !certificate_has_node_id(certificate, &link->session.expected)) {
		certificate_unref(certificate);
		why = "not the Node-ID that was asked for"; /* B-6.5.1.11-01 */
		error = -EACCES;
	}
	if (error < 0) {
		if (why)
			secure_log_refusal(&link->session, why);
		return error;
	}
	link->session.certificate = certificate;
	link->proven = true;
	return 0;
}

/* Our own proof is the first frame. */
static int send_proof(struct tls_link *link) {
	struct writer w = writer_growing(PROOF_MAX);
	uint8_t binding[SECURE_BINDING];

	int error = secure_binding(link->ssl, !link->initiated, binding);
	if (error == 0)
		error = secure_binding(link->ssl, link->initiated, link->their_binding);
	if (error == 0)
		error = proof_write(&link->links->secure, binding, &w);
	if (error == 0) {
		struct octets message = writer_octets_written(&w);
		struct iovec part = {(void *)message.data, message.length};
		error = tls_link_queue(link, &part, 1, message.length);
	}
	writer_release(&w);
	octets_wipe(binding, sizeof(binding));
	return error;
}

static void handshake_done(struct tls_link *link) {
	struct tls_links *links = link->links;

	if (links->secure.secret_length > 0 && !link->session.certificate) {
		link->state = TLS_PROVING;
		if (send_proof(link) < 0)
			tls_connect_failed(link, LINK_HANDSHAKE_FAILED);
		else
			tls_link_write(link);
	} else if (!link->session.certificate) {
		tls_connect_failed(link, LINK_HANDSHAKE_FAILED); /* begun before the secret was taken out of the document */
	} else if (link->initiated && SSL_version(link->ssl) >= TLS1_3_VERSION) {
		link->state = TLS_CONFIRMING;
		timer_arm_after(links->runtime, &link->timer, TLS_CONFIRM_MS * USEC_PER_MSEC);
	} else {
		become_up(link);
	}
	if (link->state != TLS_DEAD && link->fd >= 0) {
		tls_link_watch(link);
		tls_link_receive(link); /* what came with the end of the handshake */
	}
}

static void advance(struct tls_link *link) {
	ERR_clear_error();
	int result = SSL_do_handshake(link->ssl);
	if (result == 1) {
		link->write_blocked = false;
		handshake_done(link);
		return;
	}
	int error = SSL_get_error(link->ssl, result);
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		link->write_blocked = error == SSL_ERROR_WANT_WRITE;
		tls_link_watch(link);
		return;
	}
	/* A certificate that was refused has told so already, and who just goes is not worth a word. */
	unsigned long last = ERR_peek_last_error();
	if (error == SSL_ERROR_SSL && ERR_GET_REASON(last) != SSL_R_CERTIFICATE_VERIFY_FAILED &&
	    ERR_GET_REASON(last) != SSL_R_UNEXPECTED_EOF_WHILE_READING)
		secure_log_refusal(&link->session, secure_explain(&link->session));
	ERR_clear_error();
	tls_connect_failed(link, LINK_HANDSHAKE_FAILED);
}

static void begin_handshake(struct tls_link *link) {
	struct tls_links *links = link->links;

	links->counters.handshakes_started++;
	link->state = TLS_HANDSHAKE;
	link->ssl = secure_ssl_new(&link->session);
	if (!link->ssl || SSL_set_fd(link->ssl, link->fd) != 1) {
		ERR_clear_error();
		tls_connect_failed(link, LINK_HANDSHAKE_FAILED);
		return;
	}
	SSL_set_mode(link->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	if (link->initiated)
		SSL_set_connect_state(link->ssl);
	else
		SSL_set_accept_state(link->ssl);
	tls_link_watch(link);
	advance(link);
}

void tls_connect_ready(struct tls_link *link, uint32_t events) {
	socklen_t length = sizeof(int);
	int error = 0;

	switch (link->state) {
	case TLS_CONNECTING:
		if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
			error = errno;
		if (error == 0)
			begin_handshake(link);
		else
			tls_connect_failed(link, LINK_UNREACHABLE);
		break;
	case TLS_HANDSHAKE:
		advance(link);
		break;
	case TLS_CONFIRMING:
	case TLS_PROVING:
		if (events & EPOLLOUT)
			tls_link_write(link);
		if (link->state != TLS_DEAD && link->fd >= 0)
			tls_link_receive(link);
		break;
	default:
		break;
	}
}

/* --- ours --- */

/* From the address we listen on, so that others see the one they know. */
static void bind_source(struct tls_link *link, const struct address *remote) {
	for (size_t i = 0; i < link->links->listener_count; i++) {
		const struct tls_listener *listener = &link->links->listeners[i];
		struct address source = listener->local;
		struct sockaddr_storage name;
		int one = 1;
		if (listener->wildcard || source.family != remote->family)
			continue;
		source.port = 0;
		socklen_t length = address_to_sockaddr(&source, &name);
		setsockopt(link->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		if (bind(link->fd, (struct sockaddr *)&name, length) < 0)
			log_debug("TCP source address: %s", strerror(errno));
	}
}

static void begin(struct tls_link *link) {
	struct runtime *runtime = link->links->runtime;
	const struct address *remote = &link->candidates[link->candidate];
	bool last = link->candidate + 1 == link->candidate_count;
	struct sockaddr_storage name;
	socklen_t length = address_to_sockaddr(remote, &name);

	link->session.remote = *remote;
	link->session.expected = link->expected;
	link->session.server = false;
	link->fd = socket(remote->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (link->fd < 0) {
		tls_connect_failed(link, LINK_HANDSHAKE_FAILED);
		return;
	}
	prepare_socket(link->fd);
	bind_source(link, remote);
	link->state = TLS_CONNECTING;
	link->deadline_us = runtime->now_us + (last ? LIMIT_HANDSHAKE_SECONDS : TLS_CANDIDATE_SECONDS) * USEC_PER_SEC;
	timer_arm(runtime, &link->timer, link->deadline_us);
	if (connect(link->fd, (struct sockaddr *)&name, length) == 0)
		begin_handshake(link);
	else if (errno == EINPROGRESS)
		tls_link_watch(link);
	else
		tls_connect_failed(link, LINK_UNREACHABLE);
}

void tls_connect_timer(struct timer *timer, void *userdata) {
	struct tls_link *link = userdata;
	struct tls_links *links = link->links;
	const char *why = NULL;

	(void)timer;
	tls_enter(links);
	switch (link->state) {
	case TLS_WAITING:
		/* Also what a new connect() begins with, so that down() never comes out of connect(). */
		if (link->candidate >= link->candidate_count)
			tls_link_end(link, link->last_failure, false);
		else
			begin(link);
		break;
	case TLS_CONNECTING:
		tls_connect_failed(link, LINK_TIMED_OUT);
		break;
	case TLS_CONFIRMING:
		tls_connect_confirmed(link);
		break;
	case TLS_PROVING:
		why = "it does not prove which node it is";
		/* fall through */
	case TLS_HANDSHAKE:
		if (why)
			secure_log_refusal(&link->session, why);
		tls_connect_failed(link, LINK_HANDSHAKE_FAILED);
		break;
	case TLS_UP:
		tls_link_timer(link);
		break;
	case TLS_DEAD:
		break;
	}
	tls_leave(links);
}

/* --- others' --- */

/*
 * May one more be accepted? With all places for handshakes taken the oldest one goes: who is slow loses against who is there, and
 * filling all of them takes more strangers a round trip than their number.
 */
static bool may_accept(struct tls_links *links, const struct address *remote) {
	struct tls_link *link, *oldest = NULL;
	unsigned handshakes = 0, of_host = 0, links_of_host = 0;

	DL_FOREACH2(links->list, link, next) {
		if (link->initiated)
			continue;
		bool same = address_likely_same_host(&link->session.remote, remote);
		links_of_host += same;
		if (link->state == TLS_UP)
			continue;
		handshakes++;
		of_host += same;
		if (!oldest)
			oldest = link;
	}
	if (of_host >= TLS_HANDSHAKES_PER_HOST || links_of_host >= TLS_LINKS_PER_HOST)
		return false;
	if ((handshakes >= TLS_HANDSHAKES_MAX || links->count >= TLS_LINKS_MAX) && oldest) {
		links->counters.drop_limit++;
		tls_connect_failed(oldest, LINK_HANDSHAKE_FAILED);
	}
	return links->count < TLS_LINKS_MAX;
}

void tls_connect_accept(struct tls_links *links, int fd, const struct address *remote) {
	struct tls_link *link;

	if (!may_accept(links, remote) || tls_link_new(links, &link) < 0) {
		links->counters.drop_limit++;
		close(fd);
		return;
	}
	links->counters.accepted++;
	prepare_socket(fd);
	link->fd = fd;
	link->session.remote = *remote;
	link->session.server = true;
	timer_arm_after(links->runtime, &link->timer, LIMIT_HANDSHAKE_SECONDS * USEC_PER_SEC);
	begin_handshake(link);
}

/* --- OpenSSL --- */

/* A server sends a ticket when it has accepted the client's certificate (RFC 8446 4.6.1). Ours always does. */
static int on_session(SSL *ssl, SSL_SESSION *session) {
	char *member = SSL_get_app_data(ssl);
	struct tls_link *link = (void *)(member - offsetof(struct tls_link, session));

	(void)session;
	link->confirmed = true; /* tls_link_receive() looks at it next */
	return 0;
}

void tls_connect_context(struct tls_links *links) {
	SSL_CTX *context = links->secure.ssl;

	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, on_session);
	SSL_CTX_set_num_tickets(context, 1);
}
