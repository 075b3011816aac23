/* SPDX-License-Identifier: BSD-2-Clause */
/* TCP connections, of phones and to them: framing by Content-Length, keep-alives (RFC 5626 3.5.1), and their bounds. */
#include "sip/proxy.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	INPUT_FIRST_OCTETS = 4096,
	INPUT_OCTETS = LIMIT_SIP_MESSAGE + 1,
	OUTPUT_PAUSE_OCTETS = 64 << 10, /* answers not taken: no more requests are read */
	BACKLOG = 128,
};

/* Returns the descriptor or negative errno. */
int sip_tcp_open(const struct address *address) {
	_cleanup_close_ int fd = socket(address->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_storage sockaddr;
	const int on = 1;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (address->family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0))
		return -errno;
	socklen_t length = address_to_sockaddr(address, &sockaddr);
	if (bind(fd, (struct sockaddr *)&sockaddr, length) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	int opened = fd;
	fd = -1;
	return opened;
}

struct sip_connection *sip_connection_of(struct sip_gateway *gateway, const struct sip_flow *flow) {
	struct sip_connection *connection = NULL;

	if (flow->connection != 0)
		HASH_FIND_INT(gateway->connections, &flow->fd, connection);
	return connection && connection->flow.connection == flow->connection ? connection : NULL;
}

struct sip_connection *sip_connection_free(struct sip_connection *connection) {
	if (!connection)
		return NULL;
	struct sip_gateway *gateway = connection->gateway;
	sip_bindings_lost(connection);
	timer_disarm(gateway->runtime, &connection->timer);
	HASH_DEL(gateway->connections, connection);
	gateway_watch(gateway, connection->flow.fd, 0);
	sip_tls_close(connection);
	close(connection->flow.fd);
	gateway->figures.tcp_connections--;
	gateway->outgoing_connections -= connection->outgoing;
	gateway->outside_connections -= connection->outside;
	uint64_t serial = connection->asked > 0 ? connection->flow.connection : 0;
	free(connection->input);
	free(connection->output);
	free(connection->identity);
	free(connection);
	if (serial != 0)
		sip_clients_lost(gateway, serial);
	return NULL;
}

static size_t output_left(const struct sip_connection *connection) {
	return connection->output_length - connection->output_sent;
}

static uint64_t deadline(const struct sip_connection *connection) {
	const uint64_t message_us = SIP_TCP_MESSAGE_SECONDS * USEC_PER_SEC;
	uint64_t due_us = connection->active_us + SIP_TCP_IDLE_SECONDS * USEC_PER_SEC;

	if ((!connection->served || connection->input_length > 0) && connection->begun_us + message_us < due_us)
		due_us = connection->begun_us + message_us;
	if (output_left(connection) > 0 && connection->output_us + message_us < due_us)
		due_us = connection->output_us + message_us;
	return due_us;
}

/* Closes the connection when its time has come, else sees to what it waits for. */
static void check(struct sip_connection *connection) {
	struct sip_gateway *gateway = connection->gateway;
	uint64_t due_us = deadline(connection);
	/* We may owe answers; to what we have asked none can come any more. */
	bool idle = connection->pending == 0 && output_left(connection) == 0;

	if (connection->broken || (connection->finished && idle) || due_us <= gateway->runtime->now_us) {
		sip_connection_free(connection);
		return;
	}
	/* In a handshake there is always room to send, and nothing to send before the other side has spoken. */
	bool hears = connection->ssl && connection->wants_read && !sip_tls_established(connection);
	unsigned events = (output_left(connection) > 0 && !hears) || connection->wants_write ? EPOLLOUT : 0;
	if (!connection->finished && output_left(connection) < OUTPUT_PAUSE_OCTETS)
		events |= EPOLLIN;
	if (events == 0)
		events = EPOLLERR; /* is reported in any case; 0 would mean not to watch at all */
	if (events != connection->watched)
		gateway_watch(gateway, connection->flow.fd, events);
	connection->watched = events;
	timer_arm(gateway->runtime, &connection->timer, due_us);
}

static void connection_due(struct timer *timer, void *userdata) {
	(void)timer;
	check(userdata);
}

/* --- output --- */

static void flush(struct sip_connection *connection) {
	while (output_left(connection) > 0 && !connection->broken) {
		struct reader r = reader_of(connection->output, connection->output_length);
		reader_octets(&r, connection->output_sent);
		struct octets rest = reader_rest(&r);
		ssize_t sent = connection->ssl ? sip_tls_write(connection, rest.data, rest.length)
					       : send(connection->flow.fd, rest.data, rest.length, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0) {
			connection->broken = errno != EAGAIN && errno != EWOULDBLOCK;
			return;
		}
		connection->output_sent += (size_t)sent;
		connection->output_us = connection->gateway->runtime->now_us;
	}
	free(connection->output);
	connection->output = NULL;
	connection->output_length = connection->output_sent = 0;
}

static void discard_sent(struct sip_connection *connection) {
	if (connection->output_sent == 0)
		return;
	memmove(connection->output, connection->output + connection->output_sent, output_left(connection));
	connection->output_length -= connection->output_sent;
	connection->output_sent = 0;
}

/* Never closes the connection at once, as callers hold it. */
static int append(struct sip_connection *connection, struct octets octets) {
	struct sip_gateway *gateway = connection->gateway;

	if (connection->broken || octets.length > SIP_TCP_OUTPUT_OCTETS - output_left(connection)) {
		connection->broken = true;
	} else {
		discard_sent(connection);
		uint8_t *grown = realloc(connection->output, connection->output_length + octets.length);
		if (grown) {
			if (connection->output_length == 0)
				connection->output_us = gateway->runtime->now_us;
			memcpy(grown + connection->output_length, octets.data, octets.length);
			connection->output = grown;
			connection->output_length += octets.length;
			flush(connection);
		} else {
			connection->broken = true;
		}
	}
	timer_arm(gateway->runtime, &connection->timer, gateway->runtime->now_us);
	return connection->broken ? -EPIPE : 0;
}

int sip_tcp_send(struct sip_gateway *gateway, const struct sip_flow *flow, struct octets octets) {
	struct sip_connection *connection = sip_connection_of(gateway, flow);

	return connection ? append(connection, octets) : -ENOTCONN;
}

/* --- input --- */

/* A line end before a message. Two in a row are a keep-alive that wants one back. */
static void line_end(struct sip_connection *connection) {
	connection->line_end = !connection->line_end;
	if (connection->line_end)
		return;
	connection->active_us = connection->gateway->runtime->now_us;
	append(connection, octets_of_string("\r\n"));
}

/* Reads one line end. False when there is none, or only half of it. */
static bool skip_line_end(struct reader *r) {
	struct reader ahead = *r;
	uint8_t c = reader_u8(&ahead);

	if (c == '\r')
		c = reader_u8(&ahead);
	if (ahead.error < 0 || c != '\n')
		return false;
	*r = ahead;
	return true;
}

/* Takes one message, or one line end. False when there is no whole one. */
static bool consume_one(struct sip_connection *connection, struct reader *r) {
	struct sip_gateway *gateway = connection->gateway;
	struct reader ahead = *r;
	struct sip_frame frame;

	if (skip_line_end(r)) {
		line_end(connection);
		return true;
	}
	if (reader_left(r) == 1 && *reader_rest(&ahead).data == '\r')
		return false;
	ahead = *r;
	int error = sip_frame_find(reader_rest(&ahead), true, &frame);
	if (error == -EAGAIN)
		return false;
	if (error < 0) {
		gateway->figures.malformed++;
		connection->finished = true;
		return false;
	}
	reader_octets(r, frame.length);
	connection->line_end = false;
	connection->served = true;
	connection->begun_us = connection->active_us = gateway->runtime->now_us;
	/* After a message whose end is not certain nothing can be told apart. */
	if (frame.status == 513 || !frame.content_length)
		connection->finished = true;
	sip_receive(gateway, &connection->flow, &frame);
	return true;
}

static void consume(struct sip_connection *connection) {
	struct reader r = reader_of(connection->input, connection->input_length);

	while (reader_left(&r) > 0 && !connection->broken && !connection->finished && output_left(connection) < OUTPUT_PAUSE_OCTETS)
		if (!consume_one(connection, &r))
			break;
	struct octets rest = reader_rest(&r);
	if (connection->finished)
		rest.length = 0;
	if (rest.length > 0 && rest.length < connection->input_length)
		memmove(connection->input, rest.data, rest.length);
	connection->input_length = rest.length;
	if (rest.length > 0)
		return;
	free(connection->input);
	connection->input = NULL;
	connection->input_capacity = 0;
}

static bool make_room(struct sip_connection *connection) {
	if (connection->input_length < connection->input_capacity)
		return true;
	size_t capacity = connection->input_capacity == 0 ? INPUT_FIRST_OCTETS : 2 * connection->input_capacity;
	if (connection->input_capacity >= INPUT_OCTETS)
		return false;
	if (capacity > INPUT_OCTETS)
		capacity = INPUT_OCTETS;
	uint8_t *grown = realloc(connection->input, capacity);
	if (!grown)
		return false;
	connection->input = grown;
	connection->input_capacity = capacity;
	return true;
}

static void receive(struct sip_connection *connection) {
	if (!make_room(connection)) {
		connection->broken = true;
		return;
	}
	if (connection->input_length == 0 && connection->served)
		connection->begun_us = connection->gateway->runtime->now_us;
	uint8_t *room = connection->input + connection->input_length;
	size_t size = connection->input_capacity - connection->input_length;
	ssize_t length = connection->ssl ? sip_tls_read(connection, room, size) : recv(connection->flow.fd, room, size, 0);
	if (length == 0)
		connection->finished = true;
	else if (length < 0)
		connection->broken |= errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
	else
		connection->input_length += (size_t)length;
	consume(connection);
}

void sip_tcp_ready(struct sip_gateway *gateway, struct sip_connection *connection, unsigned events) {
	(void)gateway;
	if (events & (EPOLLERR | EPOLLHUP))
		connection->broken = true;
	if (events & EPOLLOUT) {
		flush(connection);
		consume(connection);
	}
	/* TLS may want to write before it can read, and holds octets that no event tells of. */
	bool ready = (events & EPOLLIN) || ((events & EPOLLOUT) && connection->ssl);
	while (ready && !connection->broken && !connection->finished && output_left(connection) < OUTPUT_PAUSE_OCTETS) {
		receive(connection);
		ready = !connection->broken && sip_tls_pending(connection);
	}
	if (connection->ssl && output_left(connection) > 0)
		flush(connection); /* it may have had to read before it could write */
	check(connection);
}

/* --- accepting --- */

static void accepting_again(struct timer *timer, void *userdata) {
	struct sip_listener *listener = userdata;

	(void)timer;
	gateway_watch(listener->gateway, listener->tcp, EPOLLIN);
}

/* NULL: no memory, and `fd` is closed. */
static struct sip_connection *add(struct sip_gateway *gateway, int fd, const struct sockaddr_storage *remote) {
	struct sockaddr_storage local = {0};
	socklen_t length = sizeof(local);
	const int on = 1;

	struct sip_connection *connection = calloc(1, sizeof(*connection));
	if (!connection) {
		close(fd);
		return NULL;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	connection->gateway = gateway;
	connection->flow.fd = fd;
	connection->flow.transport = SIP_TCP;
	connection->flow.connection = ++gateway->next_connection;
	connection->flow.remote = address_of_sockaddr((const struct sockaddr *)remote);
	if (getsockname(fd, (struct sockaddr *)&local, &length) == 0)
		connection->flow.local = address_of_sockaddr((const struct sockaddr *)&local);
	connection->begun_us = connection->active_us = gateway->runtime->now_us;
	timer_init(&connection->timer, connection_due, connection);
	HASH_ADD(hh, gateway->connections, flow.fd, sizeof(connection->flow.fd), connection);
	if (!connection->hh.tbl) {
		free(connection);
		close(fd);
		return NULL;
	}
	gateway->figures.tcp_connections++;
	return connection;
}

static bool may_accept(struct sip_gateway *gateway, const struct address *source, bool *ret_outside) {
	*ret_outside = !gateway->events.allowed(gateway->events.userdata, source);
	if (gateway->figures.tcp_connections >= LIMIT_SIP_TCP_CONNECTIONS)
		return false;
	/* What belongs to a call that we placed may come from anywhere, and so do calls of others when we are a proxy. */
	bool wanted = gateway->mode != SIP_MODE_REDIRECT || gateway->outside_calls || gateway->trunk_count > 0 ||
		      gateway->figures.proxied > 0;
	return !*ret_outside || (wanted && gateway->outside_connections < SIP_OUTSIDE_CONNECTIONS);
}

void sip_tcp_accept(struct sip_gateway *gateway, struct sip_listener *listener) {
	for (unsigned i = 0; i < SIP_DATAGRAMS_AT_ONCE; i++) {
		struct sockaddr_storage remote = {0};
		socklen_t length = sizeof(remote);
		int fd = accept4(listener->tcp, (struct sockaddr *)&remote, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
				/* The connection stays in the queue and would wake us for ever. */
				gateway_watch(gateway, listener->tcp, 0);
				timer_init(&listener->pause, accepting_again, listener);
				timer_arm_after(gateway->runtime, &listener->pause, USEC_PER_SEC);
				return;
			}
			if (errno == EAGAIN || errno == EWOULDBLOCK)
				return;
			continue; /* of this one connection */
		}
		struct address source = address_of_sockaddr((const struct sockaddr *)&remote);
		bool outside;
		if (!may_accept(gateway, &source, &outside)) {
			gateway->figures.dropped++;
			close(fd);
			continue;
		}
		struct sip_connection *connection = add(gateway, fd, &remote);
		if (!connection)
			continue;
		connection->outside = outside;
		gateway->outside_connections += outside;
		if (listener >= gateway->secure && listener < gateway->secure + gateway->secure_count)
			connection->broken = listener->peer ? sip_tls_accept_peer(gateway, connection) < 0
							    : sip_tls_accept(gateway, connection) < 0;
		check(connection);
	}
}

/* --- connecting --- */

static bool same_identity(const char *a, const char *b) {
	return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

int sip_tcp_connect(struct sip_gateway *gateway, const struct address *remote, const char *identity, struct sip_connection **ret) {
	struct sockaddr_storage sockaddr;
	int error = 0;

	for (struct sip_connection *connection = gateway->connections; connection; connection = connection->hh.next)
		if (connection->outgoing && !connection->broken && !connection->finished &&
		    address_equal(&connection->flow.remote, remote) && same_identity(connection->identity, identity)) {
			*ret = connection;
			return 0;
		}
	if (gateway->outgoing_connections >= SIP_OUTGOING_CONNECTIONS ||
	    gateway->figures.tcp_connections >= LIMIT_SIP_TCP_CONNECTIONS)
		return -ENOBUFS;
	_cleanup_close_ int fd = socket(remote->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	socklen_t length = address_to_sockaddr(remote, &sockaddr);
	if (connect(fd, (struct sockaddr *)&sockaddr, length) < 0)
		error = -errno;
	if (error < 0 && error != -EINPROGRESS)
		return error;
	struct sip_connection *connection = add(gateway, fd, &sockaddr);
	fd = -1; /* add() has it, or has closed it */
	if (!connection)
		return -ENOMEM;
	connection->outgoing = true;
	connection->served = true; /* the other side need not ask anything */
	gateway->outgoing_connections++;
	check(connection);
	*ret = connection;
	return 0;
}
