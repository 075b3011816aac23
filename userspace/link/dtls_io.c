/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets, batches, and what the kernel reports about paths. */
#include "base/log.h"
#include "link/dtls_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static bool is_any(const struct address *address) {
	static const uint8_t zero[16];

	return memcmp(address->octets, zero, address->family == AF_INET ? 4 : 16) == 0;
}

static void set_option(int fd, int level, int option, int value) {
	setsockopt(fd, level, option, &value, sizeof(value)); /* all of these are improvements, not needs */
}

static void set_options(struct dtls_socket *socket) {
	static const int sizes[] = {SO_RCVBUF, SO_SNDBUF}, forced[] = {SO_RCVBUFFORCE, SO_SNDBUFFORCE};
	int fd = socket->fd, value = DTLS_SOCKET_BUFFER;

	for (unsigned i = 0; i < 2; i++)
		if (setsockopt(fd, SOL_SOCKET, forced[i], &value, sizeof(value)) < 0)
			set_option(fd, SOL_SOCKET, sizes[i], value);
	if (socket->family == AF_INET) {
		set_option(fd, IPPROTO_IP, IP_RECVERR, 1);
		set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT);
		set_option(fd, IPPROTO_IP, IP_PKTINFO, socket->wildcard);
	} else {
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
		set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_WANT);
		set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, socket->wildcard);
	}
	set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
	value = 0;
	socket->segment = setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &value, sizeof(value)) == 0;
}

int dtls_io_open(struct dtls_links *links, const struct address *local, char *reason, size_t reason_size) {
	struct sockaddr_storage name;
	socklen_t length = address_to_sockaddr(local, &name);
	char text[ADDRESS_TEXT_SIZE];
	int result;

	struct dtls_socket *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->family = local->family;
	s->wildcard = is_any(local);
	s->batch = 1;
	s->arena = malloc(DTLS_SEND_ARENA);
	s->fd = socket(local->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || !s->arena) {
		result = s->fd < 0 ? -errno : -ENOMEM;
		snprintf(reason, reason_size, "cannot open a UDP socket: %s", strerror(-result));
		dtls_io_close(s);
		return result;
	}
	set_options(s);
	if (bind(s->fd, (struct sockaddr *)&name, length) < 0) {
		result = -errno;
		snprintf(reason, reason_size, "cannot listen on %s: %s", address_format(local, text), strerror(-result));
		dtls_io_close(s);
		return result;
	}
	length = sizeof(name);
	getsockname(s->fd, (struct sockaddr *)&name, &length);
	s->local = address_of_sockaddr((struct sockaddr *)&name);
	links->sockets[links->socket_count++] = s;
	return 0;
}

void dtls_io_close(struct dtls_socket *socket) {
	if (!socket)
		return;
	if (socket->fd >= 0)
		close(socket->fd);
	free(socket->arena);
	free(socket);
}

void dtls_destination_set(struct dtls_destination *to, struct dtls_socket *socket, const struct address *remote) {
	struct sockaddr_storage name;

	*to = (struct dtls_destination){.remote = *remote, .socket = socket};
	to->name_length = address_to_sockaddr(remote, &name);
	memcpy(&to->name, &name, sizeof(to->name));
}

void dtls_route(const struct dtls_destination *to, struct address *ret_local, uint32_t *ret_mtu) {
	_cleanup_close_ int fd = socket(to->remote.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage name;
	socklen_t length = sizeof(name);
	bool v4 = to->remote.family == AF_INET;
	int mtu;

	if (fd < 0 || connect(fd, &to->name.any, to->name_length) < 0)
		return;
	if (getsockname(fd, (struct sockaddr *)&name, &length) == 0) {
		*ret_local = address_of_sockaddr((struct sockaddr *)&name);
		ret_local->port = to->socket->local.port;
	}
	length = sizeof(mtu);
	if (getsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu, &length) == 0 && mtu > 0)
		*ret_mtu = (uint32_t)mtu;
}

/* --- sending --- */

static void batch_reset(struct dtls_socket *s) {
	s->datagram_count = s->run_count = s->run_sent = 0;
	s->arena_used = 0;
	s->batch++;
}

uint8_t *dtls_io_reserve(struct dtls_links *links, struct dtls_socket *s, size_t length) {
	if (s->datagram_count == DTLS_SEND_BATCH || DTLS_SEND_ARENA - s->arena_used < length) {
		dtls_io_flush(links, s);
		if (s->datagram_count == DTLS_SEND_BATCH || DTLS_SEND_ARENA - s->arena_used < length)
			return NULL;
	}
	return s->arena + s->arena_used;
}

static bool run_takes(const struct dtls_socket *s, const struct dtls_run *run, size_t length) {
	return s->segment && !run->closed && length <= run->length && run->count < DTLS_SEGMENTS_MAX &&
	       run->octets + length <= DTLS_SEGMENT_OCTETS_MAX;
}

void dtls_io_commit(struct dtls_links *links, const struct dtls_destination *to, struct endpoint *endpoint, size_t length,
		    bool ack) {
	struct dtls_socket *s = to->socket;
	uint32_t index = s->datagram_count++;
	struct dtls_run *run = NULL;

	s->datagrams[index] = (struct dtls_datagram){.offset = s->arena_used, .length = (uint32_t)length};
	s->arena_used += length;
	links->counters.datagrams_sent++;
	if (endpoint) {
		if (endpoint->batch != s->batch) {
			endpoint->batch = s->batch;
			endpoint->runs[0] = endpoint->runs[1] = 0;
		}
		uint32_t known = endpoint->runs[ack];
		if (known > s->run_sent && run_takes(s, &s->runs[known - 1], length))
			run = &s->runs[known - 1];
	}
	if (run) {
		s->datagrams[run->last].next = index + 1;
		run->last = index;
		run->count++;
		run->octets += length;
		run->closed = length < run->length; /* only the last one may be shorter */
		return;
	}
	run = &s->runs[s->run_count++];
	*run = (struct dtls_run){.to = *to, .first = index, .last = index, .count = 1, .length = length, .octets = length};
	if (endpoint)
		endpoint->runs[ack] = s->run_count;
}

static void *add_control(struct msghdr *message, int level, int type, size_t length) {
	struct cmsghdr *control = (void *)((uint8_t *)message->msg_control + message->msg_controllen);

	*control = (struct cmsghdr){.cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(length)};
	message->msg_controllen += CMSG_SPACE(length);
	return CMSG_DATA(control);
}

static void add_source(struct msghdr *message, const struct address *source) {
	if (source->family == AF_INET) {
		struct in_pktinfo info = {0};
		memcpy(&info.ipi_spec_dst, source->octets, 4);
		memcpy(add_control(message, IPPROTO_IP, IP_PKTINFO, sizeof(info)), &info, sizeof(info));
	} else if (source->family == AF_INET6) {
		struct in6_pktinfo info = {.ipi6_ifindex = source->scope};
		memcpy(&info.ipi6_addr, source->octets, 16);
		memcpy(add_control(message, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(info)), &info, sizeof(info));
	}
}

/* Describes the runs not sent yet for sendmmsg(). */
static unsigned describe(struct dtls_socket *s, struct dtls_send *b) {
	unsigned count = 0, vector = 0;

	for (uint32_t r = s->run_sent; r < s->run_count; r++, count++) {
		struct dtls_run *run = &s->runs[r];
		struct msghdr *message = &b->messages[count].msg_hdr;
		*message = (struct msghdr){.msg_name = &run->to.name,
					   .msg_namelen = run->to.name_length,
					   .msg_iov = &b->vectors[vector],
					   .msg_iovlen = run->count,
					   .msg_control = b->controls[count]};
		for (uint32_t at = run->first + 1; at != 0; at = s->datagrams[at - 1].next) {
			const struct dtls_datagram *datagram = &s->datagrams[at - 1];
			b->vectors[vector++] = (struct iovec){s->arena + datagram->offset, datagram->length};
		}
		if (run->count > 1) {
			uint16_t length = (uint16_t)run->length;
			memcpy(add_control(message, IPPROTO_UDP, UDP_SEGMENT, sizeof(length)), &length, sizeof(length));
		}
		if (run->to.source.family != 0)
			add_source(message, &run->to.source);
		if (message->msg_controllen == 0)
			message->msg_control = NULL;
	}
	return count;
}

/* The device or an old kernel does not take runs: datagram by datagram, from now on. */
static void send_singly(struct dtls_socket *s, struct msghdr *run) {
	struct msghdr message = *run;
	uint8_t control[DTLS_CONTROL_SIZE] __attribute__((aligned(8)));

	s->segment = false;
	message.msg_control = control;
	message.msg_controllen = 0;
	add_source(&message, &s->runs[s->run_sent].to.source);
	if (message.msg_controllen == 0)
		message.msg_control = NULL;
	message.msg_iovlen = 1;
	for (size_t i = 0; i < run->msg_iovlen; i++) {
		message.msg_iov = &run->msg_iov[i];
		sendmsg(s->fd, &message, 0); /* lost if it fails, like any datagram */
	}
}

static void report_unreachable(struct dtls_links *links, const struct address *remote) {
	struct endpoint *endpoint = endpoint_find(&links->endpoints, remote);

	if (endpoint && endpoint->link)
		dtls_link_unreachable(endpoint->link);
	if (endpoint && endpoint->handshake)
		dtls_handshake_unreachable(endpoint->handshake);
}

/* This host has no route or address at the moment. A handshake tries another candidate; a link waits for its acks as ever, because
 * an interface that goes down and comes back is no reason to lose it. */
static void report_no_way(struct dtls_links *links, const struct address *remote) {
	struct endpoint *endpoint = endpoint_find(&links->endpoints, remote);

	if (endpoint && endpoint->handshake)
		dtls_handshake_unreachable(endpoint->handshake);
}

/* What failed at the first run not sent. Returns false when the rest must wait. */
static bool send_failed(struct dtls_links *links, struct dtls_socket *s, struct mmsghdr *message, int error, unsigned *retries) {
	struct dtls_run *run = &s->runs[s->run_sent];

	/* ENOBUFS is not among them: a full queue, or no neighbour entry left for one peer. The socket stays writable meanwhile, so
	 * waiting would be spinning, and the other peers would wait with that one. The datagram is lost. */
	if (error == EAGAIN || error == EWOULDBLOCK) {
		s->blocked = true;
		return false;
	}
	if (error == EINTR)
		return true;
	if (run->count > 1 && (error == EIO || error == EINVAL || error == EMSGSIZE || error == EOPNOTSUPP)) {
		send_singly(s, &message->msg_hdr);
		s->run_sent++;
		return true;
	}
	/* Errors of earlier datagrams are reported here too; the queue says which. */
	dtls_io_drain_errors(links, s);
	if ((error == ECONNREFUSED || error == EHOSTUNREACH || error == EMSGSIZE || error == EPROTO) && (*retries)++ < 4)
		return true;
	if (error == ENETUNREACH || error == EHOSTUNREACH || error == EADDRNOTAVAIL)
		report_no_way(links, &run->to.remote);
	log_debug("sending failed: %s", strerror(error));
	s->run_sent++;
	*retries = 0;
	return true;
}

void dtls_io_flush(struct dtls_links *links, struct dtls_socket *s) {
	struct dtls_send *buffers = links->send;
	unsigned retries = 0;

	s->blocked = false;
	while (s->run_sent < s->run_count && !s->blocked) {
		unsigned count = describe(s, buffers), done = 0;
		while (done < count) {
			int sent = sendmmsg(s->fd, buffers->messages + done, count - done, 0);
			if (sent > 0) {
				done += (unsigned)sent;
				s->run_sent += (uint32_t)sent;
				retries = 0;
				continue;
			}
			uint32_t before = s->run_sent;
			if (!send_failed(links, s, &buffers->messages[done], errno, &retries))
				return;
			done += s->run_sent - before;
		}
	}
	if (s->run_count > 0)
		batch_reset(s);
}

/* --- what comes back --- */

static void report_mtu(struct dtls_links *links, const struct address *remote, uint32_t mtu) {
	struct endpoint *endpoint = endpoint_find(&links->endpoints, remote);

	if (endpoint && endpoint->link)
		dtls_link_set_mtu(endpoint->link, mtu);
}

void dtls_io_drain_errors(struct dtls_links *links, struct dtls_socket *s) {
	uint8_t control[512] __attribute__((aligned(8))), quoted[64];
	union dtls_name name;

	for (unsigned i = 0; i < 256; i++) {
		struct iovec vector = {quoted, sizeof(quoted)};
		struct msghdr message = {.msg_name = &name,
					 .msg_namelen = sizeof(name),
					 .msg_iov = &vector,
					 .msg_iovlen = 1,
					 .msg_control = control,
					 .msg_controllen = sizeof(control)};
		if (recvmsg(s->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return;
		struct address remote = address_of_sockaddr(&name.any);
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
			bool error = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
				     (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
			struct sock_extended_err detail;
			if (!error || c->cmsg_len < CMSG_LEN(sizeof(detail)))
				continue;
			memcpy(&detail, CMSG_DATA(c), sizeof(detail));
			if (detail.ee_errno == ECONNREFUSED || detail.ee_errno == EHOSTUNREACH || detail.ee_errno == ENETUNREACH)
				report_unreachable(links, &remote);
			else if (detail.ee_errno == EMSGSIZE)
				report_mtu(links, &remote, detail.ee_info);
		}
	}
}

struct received {
	struct address remote, source;
	size_t segment;
};

static void read_controls(struct msghdr *message, struct received *ret) {
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int segment;
			memcpy(&segment, CMSG_DATA(c), sizeof(segment));
			if (segment > 0)
				ret->segment = (size_t)segment;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			ret->source.family = AF_INET;
			memcpy(ret->source.octets, &info.ipi_addr, 4);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			ret->source.family = AF_INET6;
			memcpy(ret->source.octets, &info.ipi6_addr, 16);
			if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
				ret->source.scope = info.ipi6_ifindex;
		}
	}
}

/* A message of recvmmsg(): one datagram, or a run of equal ones the kernel put together. */
static void receive_message(struct dtls_links *links, struct dtls_socket *s, struct mmsghdr *message) {
	struct received received = {.remote = address_of_sockaddr(message->msg_hdr.msg_name)};
	uint8_t *data = message->msg_hdr.msg_iov->iov_base;
	size_t length = message->msg_len;

	if (message->msg_hdr.msg_controllen > 0)
		read_controls(&message->msg_hdr, &received);
	if (message->msg_hdr.msg_flags & MSG_TRUNC || received.remote.family == 0 || length == 0) {
		links->counters.datagrams_received++;
		links->counters.drop_malformed++;
		return;
	}
	size_t segment = received.segment > 0 ? received.segment : length;
	for (size_t at = 0; at < length; at += segment)
		dtls_receive_datagram(links, s, data + at, length - at < segment ? length - at : segment, &received.remote,
				      &received.source);
}

static int receive_batch(struct dtls_links *links, struct dtls_socket *s) {
	struct dtls_receive *b = links->receive;

	for (unsigned i = 0; i < DTLS_RECEIVE_BATCH; i++) {
		b->messages[i].msg_hdr.msg_namelen = sizeof(b->names[i]);
		b->messages[i].msg_hdr.msg_controllen = DTLS_CONTROL_SIZE;
	}
	int count = recvmmsg(s->fd, b->messages, DTLS_RECEIVE_BATCH, MSG_DONTWAIT, NULL);
	if (count < 0)
		return -errno;
	for (int i = 0; i < count; i++)
		receive_message(links, s, &b->messages[i]);
	dtls_io_flush(links, s);
	return count;
}

bool dtls_links_receive(struct dtls_links *links, int fd) {
	struct dtls_socket *s = NULL;
	bool more = false;

	for (size_t i = 0; i < links->socket_count; i++)
		if (links->sockets[i]->fd == fd)
			s = links->sockets[i];
	if (!s)
		return false;
	dtls_enter(links);
	for (unsigned round = 0; round < DTLS_RECEIVE_ROUNDS; round++) {
		int count = receive_batch(links, s);
		if (count < 0) {
			/* Either nothing is there, or an error that the queue explains; left there it would keep poll() busy. */
			dtls_io_drain_errors(links, s);
			more = count != -EAGAIN;
			break;
		}
		more = count == DTLS_RECEIVE_BATCH;
		if (!more)
			break;
	}
	dtls_links_flush(links);
	dtls_leave(links);
	return more;
}

void dtls_links_flush(struct dtls_links *links) {
	for (size_t i = 0; i < links->socket_count; i++)
		dtls_io_flush(links, links->sockets[i]);
}
