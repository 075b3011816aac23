/* SPDX-License-Identifier: BSD-2-Clause */
#include "fastpath/netwatch.h"
#include "fastpath/netwatch_internal.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <string.h>

enum { RECEIVE_SIZE = 65536 };

const char *netwatch_reason_name(enum netwatch_reason reason) {
	static const char *const names[NETWATCH_REASON_COUNT] = {
		[NETWATCH_KNOWN] = "known",	  [NETWATCH_PENDING] = "pending",
		[NETWATCH_NO_ROUTE] = "no-route", [NETWATCH_NO_ADDRESS] = "no-address",
		[NETWATCH_LOCAL] = "local",	  [NETWATCH_UNSUPPORTED] = "unsupported",
		[NETWATCH_DOWN] = "down",	  [NETWATCH_NO_NEIGHBOR] = "no-neighbor",
	};

	return (unsigned)reason < NETWATCH_REASON_COUNT ? names[reason] : NULL;
}

static int socket_send(void *userdata, const void *request, size_t length) {
	return mnl_socket_sendto(userdata, request, length) < 0 ? -errno : 0;
}

static int join_groups(struct mnl_socket *socket) {
	static const int groups[] = {RTNLGRP_LINK,	 RTNLGRP_NEIGH,	     RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
				     RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,	  RTNLGRP_IPV6_RULE};
	int nexthop = RTNLGRP_NEXTHOP;

	for (size_t i = 0; i < ARRAY_LENGTH(groups); i++) {
		int group = groups[i];

		if (mnl_socket_setsockopt(socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
			return -errno;
	}
	mnl_socket_setsockopt(socket, NETLINK_ADD_MEMBERSHIP, &nexthop, sizeof(nexthop)); /* not in every kernel */
	return 0;
}

static int socket_open(struct netwatch *n) {
	int on = 1, octets = NETWATCH_RECEIVE_OCTETS;

	n->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!n->socket)
		return -errno;
	n->fd = mnl_socket_get_fd(n->socket);
	/* Best effort: a smaller buffer only overruns sooner. */
	if (setsockopt(n->fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof(octets)) < 0)
		setsockopt(n->fd, SOL_SOCKET, SO_RCVBUF, &octets, sizeof(octets));
	mnl_socket_setsockopt(n->socket, NETLINK_CAP_ACK, &on, sizeof(on));
	if (mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	n->port = mnl_socket_get_portid(n->socket);
	return join_groups(n->socket);
}

int netwatch_new(struct runtime *runtime, const struct netwatch_callbacks *callbacks, void *userdata, struct netwatch **ret) {
	_cleanup_(netwatch_freep) struct netwatch *n = malloc(sizeof(*n));

	if (!n)
		return -ENOMEM;
	netwatch_open(n, runtime, callbacks, userdata);
	n->buffer = malloc(RECEIVE_SIZE);
	if (!n->buffer)
		return -ENOMEM;
	int r = socket_open(n);
	if (r < 0)
		return r;
	n->send = socket_send;
	n->send_userdata = n->socket;
	*ret = TAKE(n);
	return 0;
}

struct netwatch *netwatch_free(struct netwatch *n) {
	if (!n)
		return NULL;
	netwatch_close(n);
	if (n->socket)
		mnl_socket_close(n->socket);
	free(n->buffer);
	free(n);
	return NULL;
}

int netwatch_fd(const struct netwatch *n) {
	return n->fd;
}

/* One datagram. 1, or 0 when there was none, or a negative errno. */
static int receive(struct netwatch *n) {
	struct sockaddr_nl sender = {0};
	struct iovec place = {.iov_base = n->buffer, .iov_len = RECEIVE_SIZE};
	struct msghdr message = {.msg_name = &sender, .msg_namelen = sizeof(sender), .msg_iov = &place, .msg_iovlen = 1};
	ssize_t length = recvmsg(n->fd, &message, MSG_DONTWAIT);

	if (length < 0) {
		if (errno == EAGAIN)
			return 0;
		if (errno == EINTR)
			return 1;
		if (errno != ENOBUFS)
			return -errno;
		netwatch_lost(n);
		return 1;
	}
	/* Other programs may send to our port: only the kernel is port 0. */
	if (message.msg_namelen != sizeof(sender) || sender.nl_pid != 0)
		return 1;
	if (message.msg_flags & MSG_TRUNC)
		netwatch_lost(n);
	else
		netwatch_take(n, n->buffer, (size_t)length);
	return 1;
}

int netwatch_ready(struct netwatch *n) {
	int r = 1;

	for (unsigned left = NETWATCH_DATAGRAMS_PER_TURN; left > 0 && r > 0; left--)
		r = receive(n);
	netwatch_turn(n);
	return r < 0 ? r : 0;
}

static bool link_local(const struct address *address) {
	return address->family == AF_INET6 && address->octets[0] == 0xfe && (address->octets[1] & 0xc0) == 0x80;
}

static bool family_known(const struct address *address) {
	return address->family == AF_INET || address->family == AF_INET6;
}

/* An address that names none is the same as no address. */
static struct address source_of(const struct address *local) {
	static const uint8_t none[16];

	if (!local || local->family == 0)
		return (struct address){0};
	struct address source = *local;
	if (family_known(&source) && memcmp(source.octets, none, sizeof(none)) == 0)
		source.family = 0;
	return source;
}

static struct watch *watch_find(const struct netwatch *n, uint64_t id) {
	struct watch *w;

	HASH_FIND(hh, n->watches, &id, sizeof(id), w);
	return w;
}

int netwatch_watch(struct netwatch *n, const struct address *remote, const struct address *local, uint64_t id) {
	struct address source = source_of(local);

	if (!family_known(remote) || (source.family != 0 && source.family != remote->family))
		return -EINVAL;
	if (link_local(remote) && remote->scope == 0)
		return -EINVAL;
	if (link_local(&source) && source.scope == 0)
		source.scope = remote->scope;
	if (link_local(&source) && source.scope == 0)
		return -EINVAL;
	if (watch_find(n, id))
		return -EEXIST;
	if (HASH_COUNT(n->watches) >= NETWATCH_WATCHES_MAX)
		return -ENOSPC;
	struct watch *w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->id = id;
	w->remote = *remote;
	w->local = source;
	w->reason = NETWATCH_PENDING;
	HASH_ADD(hh, n->watches, id, sizeof(w->id), w);
	if (!w->hh.tbl) {
		free(w);
		return -ENOMEM;
	}
	watch_ask(n, w);
	n->recount = true;
	timer_arm(n->runtime, &n->again, n->runtime->now_us);
	return 0;
}

void netwatch_unwatch(struct netwatch *n, uint64_t id) {
	struct watch *w = watch_find(n, id);

	if (w)
		watch_remove(n, w);
}

void netwatch_refresh(struct netwatch *n, uint64_t id) {
	struct watch *w = watch_find(n, id);

	if (!w)
		return;
	watch_ask(n, w);
	if (w->neighbor)
		neighbor_ask(n, w->neighbor);
	timer_arm(n->runtime, &n->again, n->runtime->now_us);
}

void netwatch_doubt(struct netwatch *n, uint64_t id) {
	struct watch *w = watch_find(n, id);

	if (w && w->neighbor)
		neighbor_doubt(n, w->neighbor);
}

enum netwatch_reason netwatch_hop(const struct netwatch *n, uint64_t id, struct netwatch_hop *ret) {
	const struct watch *w = watch_find(n, id);

	if (!w)
		return NETWATCH_PENDING;
	if (w->reason == NETWATCH_KNOWN)
		*ret = w->hop;
	return w->reason;
}

/* An interface, and how many watches it carries. */
struct tally {
	uint32_t ifindex; /* key */
	uint32_t watches;
	const struct device *device;
	UT_hash_handle hh;
};

static void tally_add(const struct netwatch *n, struct tally **all, uint32_t ifindex) {
	const struct device *device = ifindex != 0 ? device_carrier(n, ifindex) : NULL;
	struct tally *tally;

	if (!device)
		return;
	HASH_FIND(hh, *all, &device->ifindex, sizeof(device->ifindex), tally);
	if (!tally) {
		tally = calloc(1, sizeof(*tally));
		if (!tally)
			return;
		tally->ifindex = device->ifindex;
		tally->device = device;
		HASH_ADD(hh, *all, ifindex, sizeof(tally->ifindex), tally);
		if (!tally->hh.tbl) {
			free(tally);
			return;
		}
	}
	tally->watches++;
}

/* Datagrams of a link leave by the route and, hosts being as they are, mostly come in where the local address is. */
static void tally_watch(const struct netwatch *n, const struct watch *w, struct tally **all) {
	const struct device *out = w->carrier != 0 ? device_carrier(n, w->carrier) : NULL;
	struct netwatch_ip key = {.family = w->local.family};
	struct local_address *local;

	tally_add(n, all, w->carrier);
	if (w->local.family == 0)
		return;
	memcpy(key.octets, w->local.octets, sizeof(key.octets));
	HASH_FIND(hh, n->addresses, &key, sizeof(key), local);
	for (size_t i = 0; local && i < NETWATCH_ADDRESS_PLACES; i++) {
		if (local->ifindex[i] == 0 || (w->local.scope != 0 && w->local.scope != local->ifindex[i]))
			continue;
		const struct device *in = device_carrier(n, local->ifindex[i]);
		if (in && in != out)
			tally_add(n, all, in->ifindex);
	}
}

static int more_watches(const struct tally *a, const struct tally *b) {
	if (a->watches != b->watches)
		return a->watches < b->watches ? 1 : -1;
	return a->ifindex < b->ifindex ? -1 : a->ifindex > b->ifindex;
}

size_t netwatch_interfaces(const struct netwatch *n, struct netwatch_interface *ret, size_t max) {
	struct tally *all = NULL, *tally, *next;
	struct watch *w, *next_watch;
	size_t count = 0;

	HASH_ITER (hh, n->watches, w, next_watch)
		tally_watch(n, w, &all);
	HASH_SORT(all, more_watches);
	HASH_ITER (hh, all, tally, next) {
		if (count < max && count < NETWATCH_INTERFACES_MAX) {
			struct netwatch_interface *interface = &ret[count++];

			*interface = (struct netwatch_interface){
				.ifindex = tally->ifindex, .watches = tally->watches, .instance = tally->device->instance};
			memcpy(interface->name, tally->device->link.name, sizeof(interface->name));
			memcpy(interface->kind, tally->device->link.kind, sizeof(interface->kind));
		}
		HASH_DEL(all, tally);
		free(tally);
	}
	return count;
}

static int by_ifindex(const void *a, const void *b) {
	const struct netwatch_interface *x = a, *y = b;

	return x->ifindex < y->ifindex ? -1 : x->ifindex > y->ifindex;
}

void netwatch_recount(struct netwatch *n) {
	struct netwatch_interface now[NETWATCH_INTERFACES_MAX];
	size_t count = netwatch_interfaces(n, now, NETWATCH_INTERFACES_MAX);
	bool same = count == n->interface_count;

	qsort(now, count, sizeof(now[0]), by_ifindex);
	for (size_t i = 0; i < count; i++) {
		same = same && now[i].ifindex == n->interfaces[i].ifindex && now[i].instance == n->interfaces[i].instance;
		n->interfaces[i].ifindex = now[i].ifindex;
		n->interfaces[i].instance = now[i].instance;
	}
	n->interface_count = count;
	if (!same && n->callbacks.interfaces)
		n->callbacks.interfaces(n->userdata);
}

void netwatch_statistics(const struct netwatch *n, struct netwatch_statistics *ret) {
	struct netwatch_statistics statistics = n->statistics;

	statistics.watches = HASH_COUNT(n->watches);
	statistics.neighbors = HASH_COUNT(n->neighbors);
	statistics.probing_refused = n->probing_refused;
	*ret = statistics;
}
