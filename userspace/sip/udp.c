/* SPDX-License-Identifier: BSD-2-Clause */
#include "sip/internal.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { RECEIVE_BUFFER = 4 << 20 /* a burst of some thousand requests */, SIP_DATAGRAMS = 32 };

/* Returns the descriptor or negative errno. SO_REUSEADDR is not for UDP: a second gateway would share the port unnoticed. */
int sip_udp_open(const struct address *address) {
	_cleanup_close_ int fd = socket(address->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_storage sockaddr;
	const int on = 1, size = RECEIVE_BUFFER;

	if (fd < 0)
		return -errno;
	/* As much as the system grants: whoever may set up networks gets all. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)); /* both for overload.c, which goes without, too */
	setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
	/* Answers leave from the address that was asked, whichever routing would choose. */
	if (address->family == AF_INET6) {
		if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0 ||
		    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) < 0)
			return -errno;
	} else if (setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) < 0) {
		return -errno;
	}
	socklen_t length = address_to_sockaddr(address, &sockaddr);
	if (bind(fd, (struct sockaddr *)&sockaddr, length) < 0)
		return -errno;
	int opened = fd;
	fd = -1;
	return opened;
}

/* The address of ours that a datagram was sent to, as far as it can be a source. */
static void read_local(struct msghdr *message, struct address *local) {
	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
		if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo information;
			memcpy(&information, CMSG_DATA(control), sizeof(information));
			memcpy(local->octets, &information.ipi_spec_dst, 4);
		} else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo information;
			memcpy(&information, CMSG_DATA(control), sizeof(information));
			if (IN6_IS_ADDR_MULTICAST(&information.ipi6_addr))
				continue;
			memcpy(local->octets, &information.ipi6_addr, 16);
			local->scope = IN6_IS_ADDR_LINKLOCAL(&information.ipi6_addr) ? information.ipi6_ifindex : 0;
		}
	}
}

enum {
	CONTROL_OCTETS = CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo)) +
			 CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(uint32_t)),
	WAIT_MAX_MS = 10000, /* more is a step of the clock */
};

/* Room for the datagrams that one call of the system brings. */
struct sip_datagrams {
	struct mmsghdr messages[SIP_DATAGRAMS];
	struct iovec parts[SIP_DATAGRAMS];
	struct sockaddr_storage sources[SIP_DATAGRAMS];
	_Alignas(struct cmsghdr) uint8_t controls[SIP_DATAGRAMS][CONTROL_OCTETS];
	uint8_t octets[SIP_DATAGRAMS][LIMIT_SIP_MESSAGE]; /* of which the system lends only what is used */
};

struct sip_datagrams *sip_datagrams_new(void) {
	struct sip_datagrams *datagrams = malloc(sizeof(*datagrams));

	if (!datagrams)
		return NULL;
	for (size_t i = 0; i < SIP_DATAGRAMS; i++) {
		datagrams->parts[i] = (struct iovec){.iov_base = datagrams->octets[i], .iov_len = LIMIT_SIP_MESSAGE};
		datagrams->messages[i].msg_hdr = (struct msghdr){
			.msg_name = &datagrams->sources[i],
			.msg_iov = &datagrams->parts[i],
			.msg_iovlen = 1,
			.msg_control = datagrams->controls[i],
		};
	}
	return datagrams;
}

static int receive_some(const struct sip_listener *listener, struct sip_datagrams *datagrams) {
	int count;

	for (size_t i = 0; i < SIP_DATAGRAMS; i++) {
		datagrams->messages[i].msg_hdr.msg_namelen = sizeof(datagrams->sources[i]);
		datagrams->messages[i].msg_hdr.msg_controllen = sizeof(datagrams->controls[i]);
	}
	do
		count = recvmmsg(listener->udp, datagrams->messages, SIP_DATAGRAMS, MSG_DONTWAIT, NULL);
	while (count < 0 && errno == EINTR);
	return count;
}

/* How many datagrams the system has dropped by now: what it says with a datagram is how many it had when that one came. */
static uint32_t dropped_until_now(const struct sip_listener *listener, uint32_t said) {
	uint32_t figures[SK_MEMINFO_VARS];
	socklen_t length = sizeof(figures);

	if (getsockopt(listener->udp, SOL_SOCKET, SO_MEMINFO, figures, &length) < 0 ||
	    length <= SK_MEMINFO_DROPS * sizeof(figures[0]))
		return said;
	return figures[SK_MEMINFO_DROPS];
}

/* What the system says of the first of them tells how all of them fare. */
static void note_wait(struct sip_gateway *gateway, struct sip_listener *listener, struct msghdr *message, bool emptied) {
	uint64_t now_ms = runtime_realtime_ms(gateway->runtime), arrived_ms = now_ms;
	uint32_t lost = listener->lost;

	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
		if (control->cmsg_level != SOL_SOCKET)
			continue;
		if (control->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec arrived;
			memcpy(&arrived, CMSG_DATA(control), sizeof(arrived));
			arrived_ms = (uint64_t)arrived.tv_sec * 1000 + (uint64_t)arrived.tv_nsec / 1000000;
		} else if (control->cmsg_type == SO_RXQ_OVFL) {
			memcpy(&lost, CMSG_DATA(control), sizeof(lost));
		}
	}
	/* Datagrams are dropped while the queue is full, and then more are in it than fit into one call. */
	if (!emptied)
		lost = dropped_until_now(listener, lost);
	if ((int32_t)(lost - listener->lost) > 0) {
		gateway->figures.dropped += lost - listener->lost;
		listener->lost = lost;
		if (!emptied) /* else nothing is left that could be refused */
			sip_overload_lost(gateway, &listener->wait);
	}
	if (arrived_ms > now_ms || now_ms - arrived_ms >= WAIT_MAX_MS)
		return;
	gateway->figures.waited_us = (now_ms - arrived_ms) * USEC_PER_MSEC;
	sip_overload_note(gateway, &listener->wait, gateway->figures.waited_us, emptied);
}

void sip_udp_receive(struct sip_gateway *gateway, struct sip_listener *listener) {
	struct sip_datagrams *datagrams = gateway->datagrams;

	for (unsigned turn = 0; turn < SIP_DATAGRAMS_AT_ONCE / SIP_DATAGRAMS; turn++) {
		int count = receive_some(listener, datagrams);
		if (count > 0)
			note_wait(gateway, listener, &datagrams->messages[0].msg_hdr, count < SIP_DATAGRAMS);
		for (int i = 0; i < count; i++) {
			struct msghdr *message = &datagrams->messages[i].msg_hdr;
			struct sip_flow flow = {
				.remote = address_of_sockaddr((const struct sockaddr *)&datagrams->sources[i]),
				.local = listener->address,
				.fd = listener->udp,
				.transport = SIP_UDP,
			};
			if (message->msg_namelen == 0 || flow.remote.port == 0 || (message->msg_flags & MSG_TRUNC)) {
				gateway->figures.malformed++;
				continue;
			}
			read_local(message, &flow.local);
			sip_receive_datagram(gateway, &flow, OCTETS(datagrams->octets[i], datagrams->messages[i].msg_len));
		}
		if (count < SIP_DATAGRAMS)
			return; /* nothing left, or an error of an earlier answer that is of no use */
	}
}

static void write_local(struct msghdr *message, const struct address *local) {
	struct cmsghdr *control = CMSG_FIRSTHDR(message);

	if (local->family == AF_INET) {
		struct in_pktinfo information = {0};
		memcpy(&information.ipi_spec_dst, local->octets, 4);
		control->cmsg_level = IPPROTO_IP;
		control->cmsg_type = IP_PKTINFO;
		control->cmsg_len = CMSG_LEN(sizeof(information));
		memcpy(CMSG_DATA(control), &information, sizeof(information));
		message->msg_controllen = CMSG_SPACE(sizeof(information));
	} else {
		struct in6_pktinfo information = {.ipi6_ifindex = local->scope};
		memcpy(&information.ipi6_addr, local->octets, 16);
		control->cmsg_level = IPPROTO_IPV6;
		control->cmsg_type = IPV6_PKTINFO;
		control->cmsg_len = CMSG_LEN(sizeof(information));
		memcpy(CMSG_DATA(control), &information, sizeof(information));
		message->msg_controllen = CMSG_SPACE(sizeof(information));
	}
}

int sip_udp_send(struct sip_gateway *gateway, const struct sip_flow *flow, const struct address *to, struct octets octets) {
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct in6_pktinfo))] = {0};
	struct sockaddr_storage destination;
	struct iovec part = {.iov_base = (void *)octets.data, .iov_len = octets.length};
	struct msghdr message = {
		.msg_name = &destination,
		.msg_namelen = address_to_sockaddr(to, &destination),
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};

	(void)gateway;
	if (flow->fd < 0)
		return 0; /* nowhere: as if lost on the way */
	write_local(&message, &flow->local);
	ssize_t sent;
	do
		sent = sendmsg(flow->fd, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}
