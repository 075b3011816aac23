/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/discovery.h"

#include "base/log.h"
#include "node/join.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	SOCKETS_MAX = 6,
	DATAGRAMS_AT_ONCE = 16, /* read per round of the loop, so that a flood does not hold up the rest */
	REFRESH_MS = 300,	/* changes of interfaces come in groups */
	MDNS_HOPS = 255,	/* RFC 6762 11 */
};

enum socket_use { USE_MDNS, USE_GROUP, USE_REQUEST };

struct discovery_socket {
	struct discovery *discovery;
	sd_event_source *source;
	int fd, family;
	enum socket_use use;
	struct address group;
};

struct discovery {
	struct node *node;
	struct mdns *mdns;
	struct multicast multicast;
	struct discovery_socket sockets[SOCKETS_MAX];
	size_t socket_count;
	int netlink;
	sd_event_source *netlink_source;
	struct timer refresh;
	struct mdns_address addresses[MDNS_ADDRESSES_MAX];
	size_t address_count;
	bool announcing;
	uint8_t datagram[MDNS_MESSAGE_MAX + 1];
};

/* ---- interfaces ---- */

static bool interface_wanted(const struct settings *settings, const char *name) {
	for (size_t i = 0; i < settings->discovery_interface_count; i++)
		if (strcmp(settings->discovery_interfaces[i], name) == 0)
			return true;
	return settings->discovery_interface_count == 0;
}

static unsigned prefix_bits(const struct sockaddr *netmask) {
	struct address mask = address_of_sockaddr(netmask);
	unsigned bits = 0;

	while (bits < 8 * sizeof(mask.octets) && mask.octets[bits / 8] & 0x80 >> bits % 8)
		bits++;
	return bits;
}

/* Do our links listen on this address? */
static bool links_listen(const struct settings *settings, const struct address *address) {
	static const uint8_t any[sizeof(address->octets)] = {0};

	for (size_t i = 0; i < settings->listen_count; i++)
		if (settings->listen[i].family == address->family &&
		    (memcmp(settings->listen[i].octets, any, sizeof(any)) == 0 ||
		     memcmp(settings->listen[i].octets, address->octets, sizeof(any)) == 0))
			return true;
	return false;
}

/* Joining a group again is refused by the kernel, and that is as good. */
static void join_group(const struct discovery_socket *socket, unsigned interface) {
	if (socket->family == AF_INET) {
		struct ip_mreqn request = {.imr_ifindex = (int)interface};
		memcpy(&request.imr_multiaddr, socket->group.octets, 4);
		setsockopt(socket->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request));
	} else {
		struct ipv6_mreq request = {.ipv6mr_interface = interface};
		memcpy(&request.ipv6mr_multiaddr, socket->group.octets, 16);
		setsockopt(socket->fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof(request));
	}
}

static void collect_addresses(struct discovery *discovery) {
	const struct settings *settings = discovery->node->settings;
	struct ifaddrs *interfaces = NULL;

	discovery->address_count = 0;
	if (getifaddrs(&interfaces) < 0)
		return;
	for (const struct ifaddrs *i = interfaces; i && discovery->address_count < MDNS_ADDRESSES_MAX; i = i->ifa_next) {
		if (!i->ifa_addr || !i->ifa_netmask || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6) ||
		    (i->ifa_flags & (IFF_UP | IFF_MULTICAST | IFF_LOOPBACK)) != (IFF_UP | IFF_MULTICAST) ||
		    !interface_wanted(settings, i->ifa_name))
			continue;
		struct mdns_address *address = &discovery->addresses[discovery->address_count++];
		*address = (struct mdns_address){.interface = if_nametoindex(i->ifa_name),
						 .address = address_of_sockaddr(i->ifa_addr),
						 .bits = prefix_bits(i->ifa_netmask)};
		address->offered = links_listen(settings, &address->address);
	}
	freeifaddrs(interfaces);
}

static void on_refresh(struct timer *timer, void *userdata) {
	struct discovery *discovery = userdata;

	(void)timer;
	collect_addresses(discovery);
	for (size_t s = 0; s < discovery->socket_count; s++)
		for (size_t i = 0; i < discovery->address_count; i++)
			if (discovery->sockets[s].use != USE_REQUEST &&
			    discovery->sockets[s].family == discovery->addresses[i].address.family)
				join_group(&discovery->sockets[s], discovery->addresses[i].interface);
	if (discovery->mdns)
		mdns_set_addresses(discovery->mdns, discovery->addresses, discovery->address_count);
}

/* What the notices say does not matter: the interfaces are looked at as a whole. */
static int on_netlink(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct discovery *discovery = userdata;
	uint8_t notice[8192];

	(void)source;
	(void)events;
	node_enter(discovery->node);
	for (unsigned i = 0; i < DATAGRAMS_AT_ONCE && recv(fd, notice, sizeof(notice), 0) > 0; i++)
		;
	timer_arm_after(&discovery->node->runtime, &discovery->refresh, REFRESH_MS * USEC_PER_MSEC);
	return 0;
}

/* ---- sending ---- */

static void send_on(const struct discovery_socket *socket, unsigned interface, const struct address *to, struct octets message) {
	struct sockaddr_storage sockaddr;
	socklen_t length = address_to_sockaddr(to, &sockaddr);

	if (socket->family == AF_INET) {
		struct ip_mreqn request = {.imr_ifindex = (int)interface};
		setsockopt(socket->fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof(request));
	} else {
		int index = (int)interface;
		setsockopt(socket->fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index));
	}
	/* Lost is lost: every message of these protocols is repeated. */
	(void)!sendto(socket->fd, message.data, message.length, MSG_DONTWAIT, (struct sockaddr *)&sockaddr, length);
}

static bool has_family(const struct discovery *discovery, unsigned interface, int family) {
	for (size_t i = 0; i < discovery->address_count; i++)
		if (discovery->addresses[i].interface == interface && discovery->addresses[i].address.family == family)
			return true;
	return false;
}

static void on_mdns_send(void *userdata, unsigned interface, struct octets message) {
	struct discovery *discovery = userdata;

	for (size_t i = 0; i < discovery->socket_count; i++)
		if (discovery->sockets[i].use == USE_MDNS && has_family(discovery, interface, discovery->sockets[i].family))
			send_on(&discovery->sockets[i], interface, &discovery->sockets[i].group, message);
}

static void send_request(struct discovery *discovery) {
	uint8_t buffer[MULTICAST_OCTETS_MAX];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	unsigned last = 0;

	if (multicast_request(&discovery->multicast, &w) < 0)
		return;
	for (size_t s = 0; s < discovery->socket_count; s++, last = 0) {
		for (size_t i = 0; discovery->sockets[s].use == USE_REQUEST && i < discovery->address_count; i++) {
			const struct mdns_address *address = &discovery->addresses[i];
			if (address->address.family != discovery->sockets[s].family || address->interface == last)
				continue;
			last = address->interface;
			send_on(&discovery->sockets[s], last, &discovery->sockets[s].group, writer_octets_written(&w));
		}
	}
}

/* From the port of our links: where the answer comes from is where we can be reached. */
static void send_answer(struct discovery *discovery, const struct address *to, struct octets message) {
	struct sockaddr_storage sockaddr, own = {.ss_family = AF_UNSPEC};
	socklen_t length = address_to_sockaddr(to, &sockaddr), own_length;
	int fds[2];
	struct dtls_links *links = links_dtls(discovery->node->links);
	size_t count = links ? dtls_links_fds(links, fds, 2) : 0; /* without UDP there is nothing to answer with */

	for (size_t i = 0; i < count; i++) {
		own_length = sizeof(own);
		if (getsockname(fds[i], (struct sockaddr *)&own, &own_length) == 0 && own.ss_family == to->family)
			(void)!sendto(fds[i], message.data, message.length, MSG_DONTWAIT, (struct sockaddr *)&sockaddr, length);
	}
}

/* ---- receiving ---- */

static unsigned arrival_interface(struct msghdr *message) {
	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
		if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo information;
			memcpy(&information, CMSG_DATA(control), sizeof(information));
			return (unsigned)information.ipi_ifindex;
		}
		if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo information;
			memcpy(&information, CMSG_DATA(control), sizeof(information));
			return information.ipi6_ifindex;
		}
	}
	return 0;
}

static void receive_one(struct discovery_socket *socket, unsigned interface, const struct address *from, struct octets datagram) {
	struct discovery *discovery = socket->discovery;
	uint8_t buffer[MULTICAST_OCTETS_MAX];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	switch (socket->use) {
	case USE_MDNS:
		mdns_receive(discovery->mdns, interface, from, datagram);
		break;
	case USE_GROUP:
		if (discovery->announcing && multicast_answer(&discovery->multicast, datagram, &w) == 0)
			send_answer(discovery, from, writer_octets_written(&w));
		break;
	case USE_REQUEST:
		if (multicast_accept(&discovery->multicast, datagram) == 0)
			join_found(discovery->node->join, BOOTSTRAP_MULTICAST, from);
		break;
	}
}

static int on_datagram(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct discovery_socket *socket = userdata;
	struct discovery *discovery = socket->discovery;

	(void)source;
	(void)events;
	node_enter(discovery->node);
	for (unsigned i = 0; i < DATAGRAMS_AT_ONCE; i++) {
		struct sockaddr_storage sockaddr = {0};
		_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct iovec part = {.iov_base = discovery->datagram, .iov_len = sizeof(discovery->datagram)};
		struct msghdr message = {.msg_name = &sockaddr,
					 .msg_namelen = sizeof(sockaddr),
					 .msg_iov = &part,
					 .msg_iovlen = 1,
					 .msg_control = control,
					 .msg_controllen = sizeof(control)};
		ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT);
		if (length < 0)
			break;
		struct address from = address_of_sockaddr((const struct sockaddr *)&sockaddr);
		if (from.port != 0 && !(message.msg_flags & MSG_TRUNC))
			receive_one(socket, arrival_interface(&message), &from, OCTETS(discovery->datagram, length));
	}
	return 0;
}

/* ---- sockets ---- */

static int set_options(int fd, int family, int hops) {
	const int on = 1, none = 0;
	int error = 0;

	if (family == AF_INET) {
		error |= setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
		error |= setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof(hops));
		/* Only from groups and interfaces we joined ourselves. */
		error |= setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &none, sizeof(none));
	} else {
		error |= setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
		error |= setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
		error |= setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops));
		error |= setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &none, sizeof(none));
	}
	return error < 0 ? -errno : 0;
}

/* The port of a group may be shared with others on this machine; a request leaves from any. */
static int open_bound(int family, enum socket_use use, const struct address *group) {
	_cleanup_close_ int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct address local = {.family = (uint16_t)family, .port = use == USE_REQUEST ? 0 : group->port};
	struct sockaddr_storage sockaddr = {.ss_family = (sa_family_t)family};
	const int on = 1;

	if (fd < 0)
		return -errno;
	if (use != USE_REQUEST && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
				   (use == USE_MDNS && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)))
		return -errno;
	/* Bound to the group itself: a unicast datagram to that port, which our links may have as theirs, is not for us. */
	if (use == USE_GROUP)
		local = *group;
	int error = set_options(fd, family, use == USE_MDNS ? MDNS_HOPS : 1);
	if (error < 0)
		return error;
	socklen_t length = address_to_sockaddr(&local, &sockaddr);
	if (length == 0)
		length = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	if (bind(fd, (struct sockaddr *)&sockaddr, length) < 0)
		return -errno;
	int opened = fd;
	fd = -1;
	return opened;
}

static void open_socket(struct discovery *discovery, enum socket_use use, const struct address *group) {
	static const char *const names[] = {"multicast DNS", "the multicast bootstrap address", "multicast requests"};
	char text[ADDRESS_TEXT_SIZE];

	if (discovery->socket_count == SOCKETS_MAX)
		return;
	struct discovery_socket *socket = &discovery->sockets[discovery->socket_count];
	int fd = open_bound(group->family, use, group);
	if (fd < 0) {
		log_warning("The socket for %s, %s, cannot be opened: %s.", names[use], address_format(group, text), strerror(-fd));
		return;
	}
	*socket = (struct discovery_socket){.discovery = discovery, .fd = fd, .family = group->family, .use = use, .group = *group};
	if (sd_event_add_io(discovery->node->event, &socket->source, fd, EPOLLIN, on_datagram, socket) < 0) {
		log_warning("The socket for %s cannot be watched.", names[use]);
		close(fd);
		return;
	}
	discovery->socket_count++;
}

static void open_netlink(struct discovery *discovery) {
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};

	discovery->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (discovery->netlink < 0 || bind(discovery->netlink, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    sd_event_add_io(discovery->node->event, &discovery->netlink_source, discovery->netlink, EPOLLIN, on_netlink,
			    discovery) < 0)
		log_warning("Changes of the interfaces cannot be followed; discovery stays with those of now.");
}

/* ---- interface ---- */

static void on_mdns_found(void *userdata, const struct address *address) {
	struct discovery *discovery = userdata;

	join_found(discovery->node->join, BOOTSTRAP_MDNS, address);
}

static void open_mdns(struct discovery *discovery) {
	struct node *node = discovery->node;
	const struct mdns_settings settings = {
		.runtime = &node->runtime,
		.overlay = router_config(node->router)->overlay_name,
		.node_id = node->credential->node_id,
		.port = links_local(node->links).port,
		.userdata = discovery,
		.send = on_mdns_send,
		.found = on_mdns_found,
	};
	struct address group4, group6;

	int error = mdns_new(&settings, &discovery->mdns);
	if (error < 0 || address_parse("224.0.0.251", MDNS_PORT, &group4) < 0 ||
	    address_parse("ff02::fb", MDNS_PORT, &group6) < 0) {
		log_warning("Multicast DNS is left out: %s.",
			    error == -ENOMEM ? "not enough memory" : "the overlay's name is too long");
		return;
	}
	open_socket(discovery, USE_MDNS, &group4);
	open_socket(discovery, USE_MDNS, &group6);
}

int discovery_new(struct node *node, struct discovery **ret) {
	const struct settings *settings = node->settings;

	*ret = NULL;
	if (!settings->multicast_dns && settings->multicast_count == 0)
		return 0;
	struct discovery *discovery = calloc(1, sizeof(*discovery));
	if (!discovery)
		return -ENOMEM;
	discovery->node = node;
	timer_init(&discovery->refresh, on_refresh, discovery);
	multicast_init(&discovery->multicast, node->router);
	if (settings->multicast_dns)
		open_mdns(discovery);
	for (size_t i = 0; i < settings->multicast_count; i++) {
		open_socket(discovery, USE_GROUP, &settings->multicast[i]);
		open_socket(discovery, USE_REQUEST, &settings->multicast[i]);
	}
	open_netlink(discovery);
	on_refresh(&discovery->refresh, discovery);
	*ret = discovery;
	return 0;
}

struct discovery *discovery_free(struct discovery *discovery) {
	if (!discovery)
		return NULL;
	if (discovery->mdns)
		mdns_announce(discovery->mdns, false);
	timer_disarm(&discovery->node->runtime, &discovery->refresh);
	mdns_free(discovery->mdns);
	for (size_t i = 0; i < discovery->socket_count; i++) {
		sd_event_source_disable_unref(discovery->sockets[i].source);
		close(discovery->sockets[i].fd);
	}
	sd_event_source_disable_unref(discovery->netlink_source);
	if (discovery->netlink >= 0)
		close(discovery->netlink);
	free(discovery);
	return NULL;
}

void discovery_search(struct discovery *discovery, bool on) {
	if (!discovery)
		return;
	if (discovery->mdns)
		mdns_browse(discovery->mdns, on);
	if (on && discovery->node->settings->multicast_count > 0)
		send_request(discovery);
	else
		multicast_request_end(&discovery->multicast);
}

void discovery_announce(struct discovery *discovery, bool on) {
	if (!discovery)
		return;
	discovery->announcing = on;
	if (discovery->mdns)
		mdns_announce(discovery->mdns, on);
}

void discovery_figures(const struct discovery *discovery, struct discovery_figures *ret) {
	*ret = (struct discovery_figures){.mdns = false};
	if (!discovery)
		return;
	ret->mdns = discovery->mdns != NULL;
	ret->multicast = discovery->node->settings->multicast_count > 0;
	if (discovery->mdns)
		ret->mdns_figures = *mdns_figures(discovery->mdns);
	ret->multicast_received = discovery->multicast.figures.received;
	ret->multicast_limited = discovery->multicast.figures.limited;
	ret->multicast_refused = discovery->multicast.figures.refused;
	ret->multicast_answered = discovery->multicast.figures.answered;
	ret->multicast_found = discovery->multicast.figures.found;
}
