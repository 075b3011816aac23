/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel tells: tables of interfaces and addresses, answers, changes that make watches ask again. */
#include "base/log.h"
#include "fastpath/netwatch_internal.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <string.h>

enum { TTL_DEFAULT = 64 };

/* The time to live of IPv4 is told by no message. */
static uint8_t default_ttl(void) {
	_cleanup_fclose_ FILE *file = fopen("/proc/sys/net/ipv4/ip_default_ttl", "re");
	unsigned value;

	/* The kernel writes three digits at most. NOLINTNEXTLINE(cert-err34-c) */
	return file && fscanf(file, "%3u", &value) == 1 && value > 0 && value <= UINT8_MAX ? (uint8_t)value : TTL_DEFAULT;
}

static void say_full(struct netwatch *n, const char *what, unsigned limit) {
	if (!n->said_full)
		log_warning("Links beyond %u %s of this machine are not watched; the kernel does not forward over them", limit,
			    what);
	n->said_full = true;
}

/* A pass is due a little after the first change, but not right after the last pass. */
static void pass_soon(struct netwatch *n) {
	uint64_t due = n->runtime->now_us + NETWATCH_SETTLE_MS * USEC_PER_MSEC;

	if (!n->pass.armed)
		timer_arm(n->runtime, &n->pass, due > n->pass_us ? due : n->pass_us);
}

static void ask_family(struct netwatch *n, uint16_t family) {
	if (family != AF_INET6)
		n->pending.all4 = true;
	if (family != AF_INET)
		n->pending.all6 = true;
	pass_soon(n);
}

static void ask_prefix(struct netwatch *n, const struct netwatch_ip *prefix, uint8_t bits) {
	struct pending_changes *pending = &n->pending;

	if (prefix->family == AF_INET ? pending->all4 : pending->all6)
		return;
	if (bits == 0 || pending->prefixes == NETWATCH_PREFIXES_MAX) {
		ask_family(n, prefix->family);
		return;
	}
	pending->prefix[pending->prefixes].prefix = *prefix;
	pending->prefix[pending->prefixes++].bits = bits;
	pass_soon(n);
}

static bool touched(const struct pending_changes *pending, const struct watch *w) {
	struct netwatch_ip remote = {.family = w->remote.family};

	if (remote.family == AF_INET ? pending->all4 : pending->all6)
		return true;
	memcpy(remote.octets, w->remote.octets, sizeof(remote.octets));
	for (uint32_t i = 0; i < pending->prefixes; i++)
		if (netwatch_prefix_holds(&pending->prefix[i].prefix, pending->prefix[i].bits, &remote))
			return true;
	return false;
}

static void pass_due(struct timer *timer, void *userdata) {
	struct netwatch *n = userdata;
	struct watch *w, *next;

	(void)timer;
	n->pass_us = n->runtime->now_us + NETWATCH_PASS_GAP_MS * USEC_PER_MSEC;
	n->statistics.passes++;
	HASH_ITER (hh, n->watches, w, next) {
		if (touched(&n->pending, w))
			watch_ask(n, w);
	}
	n->pending = (struct pending_changes){0};
	netwatch_turn(n);
}

static void refresh_due(struct timer *timer, void *userdata) {
	struct netwatch *n = userdata;

	n->default_ttl = default_ttl();
	timer_arm_after(n->runtime, timer, NETWATCH_REFRESH_S * USEC_PER_SEC);
	ask_family(n, AF_UNSPEC);
}

static void again_due(struct timer *timer, void *userdata) {
	(void)timer;
	netwatch_turn(userdata);
}

/* What an interface is like affects routes (those over a dead one lose, without a word about each) and its neighbors. */
static void device_changed(struct netwatch *n, uint32_t ifindex) {
	struct neighbor *neighbor, *next;
	struct watch *w, *next_watch;

	HASH_ITER (hh, n->watches, w, next_watch) {
		if (w->route.ifindex == ifindex || w->carrier == ifindex)
			watch_check(n, w);
	}
	HASH_ITER (hh, n->neighbors, neighbor, next) {
		if (neighbor->key.ifindex == ifindex)
			neighbor_restart(n, neighbor);
	}
	n->recount = true;
	ask_family(n, AF_UNSPEC);
}

static void device_remove(struct netwatch *n, struct device *device) {
	uint32_t ifindex = device->ifindex;

	HASH_DEL(n->devices, device);
	free(device);
	n->statistics.devices--;
	device_changed(n, ifindex);
}

static void device_set(struct netwatch *n, const struct netwatch_link *link) {
	struct device *device = device_find(n, link->ifindex);

	if (!device) {
		if (n->statistics.devices >= NETWATCH_DEVICES_MAX) {
			say_full(n, "interfaces", NETWATCH_DEVICES_MAX);
			return;
		}
		device = calloc(1, sizeof(*device));
		if (!device)
			return;
		device->ifindex = link->ifindex;
		device->instance = ++n->instances;
		HASH_ADD(hh, n->devices, ifindex, sizeof(device->ifindex), device);
		if (!device->hh.tbl) {
			free(device);
			return;
		}
		n->statistics.devices++;
		/* What lies between the members is zero. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c) */
	} else if (memcmp(&device->link, link, sizeof(*link)) == 0) {
		device->generation = n->generation;
		return;
	}
	device->generation = n->generation;
	device->link = *link;
	device_changed(n, link->ifindex);
}

/* The place of an interface at an address; 0 finds a free one. */
static int place_of(const struct local_address *local, uint32_t ifindex) {
	for (int i = 0; i < NETWATCH_ADDRESS_PLACES; i++)
		if (local->ifindex[i] == ifindex)
			return i;
	return -1;
}

static void address_release(struct netwatch *n, struct local_address *local) {
	for (int i = 0; i < NETWATCH_ADDRESS_PLACES; i++)
		if (local->ifindex[i] != 0)
			return;
	HASH_DEL(n->addresses, local);
	free(local);
	n->statistics.addresses--;
}

static void address_changed(struct netwatch *n, const struct netwatch_ip *address) {
	struct watch *w, *next;

	HASH_ITER (hh, n->watches, w, next) {
		if (w->local.family == address->family && memcmp(w->local.octets, address->octets, sizeof(address->octets)) == 0)
			watch_check(n, w);
	}
	n->recount = true;
	ask_family(n, address->family);
}

static void address_remove(struct netwatch *n, const struct netwatch_local *message) {
	struct local_address *local;

	HASH_FIND(hh, n->addresses, &message->address, sizeof(message->address), local);
	int place = local ? place_of(local, message->ifindex) : -1;
	if (place < 0)
		return;
	local->ifindex[place] = 0;
	address_release(n, local);
	address_changed(n, &message->address);
}

static void address_set(struct netwatch *n, const struct netwatch_local *message) {
	struct local_address *local;

	HASH_FIND(hh, n->addresses, &message->address, sizeof(message->address), local);
	if (!local) {
		if (n->statistics.addresses >= NETWATCH_ADDRESSES_MAX) {
			say_full(n, "addresses", NETWATCH_ADDRESSES_MAX);
			return;
		}
		local = calloc(1, sizeof(*local));
		if (!local)
			return;
		local->address = message->address;
		HASH_ADD(hh, n->addresses, address, sizeof(local->address), local);
		if (!local->hh.tbl) {
			free(local);
			return;
		}
		n->statistics.addresses++;
	}
	int place = place_of(local, message->ifindex);
	bool changed = place < 0 || local->usable[place] != message->usable;
	if (place < 0)
		place = place_of(local, 0);
	if (place < 0)
		return;
	local->ifindex[place] = message->ifindex;
	local->usable[place] = message->usable;
	local->generation[place] = n->generation;
	/* The kernel repeats addresses whose lifetime was renewed. */
	if (changed)
		address_changed(n, &message->address);
}

/* What was not in the dumps has gone while events were lost. */
static void sweep(struct netwatch *n) {
	struct device *device, *next_device;
	struct local_address *local, *next_local;

	HASH_ITER (hh, n->devices, device, next_device) {
		if (device->generation != n->generation)
			device_remove(n, device);
	}
	HASH_ITER (hh, n->addresses, local, next_local) {
		struct netwatch_ip address = local->address;
		bool gone = false;

		for (int i = 0; i < NETWATCH_ADDRESS_PLACES; i++)
			if (local->ifindex[i] != 0 && local->generation[i] != n->generation) {
				local->ifindex[i] = 0;
				gone = true;
			}
		if (gone) {
			address_release(n, local);
			address_changed(n, &address);
		}
	}
}

static void sync_done(struct netwatch *n) {
	struct neighbor *neighbor, *next;
	struct watch *w, *next_watch;

	sweep(n);
	n->phase = PHASE_DONE;
	n->statistics.synchronizations++;
	HASH_ITER (hh, n->neighbors, neighbor, next)
		neighbor_ask(n, neighbor);
	HASH_ITER (hh, n->watches, w, next_watch)
		watch_ask(n, w);
	/* Which includes whatever made the tables of the last seconds change. */
	n->pending = (struct pending_changes){0};
	timer_disarm(n->runtime, &n->pass);
	n->recount = true;
}

static void resync_due(struct timer *timer, void *userdata) {
	struct netwatch *n = userdata;

	(void)timer;
	n->resync_us = n->runtime->now_us + NETWATCH_RESYNC_GAP_MS * USEC_PER_MSEC;
	n->default_ttl = default_ttl();
	n->generation++;
	n->phase = PHASE_LINKS;
	netwatch_turn(n);
}

/* Answers still under way are not recognized any more; everything is asked for again. */
void netwatch_resync(struct netwatch *n) {
	memset(n->queries, 0, sizeof(n->queries));
	n->queries_open = 0;
	timer_disarm(n->runtime, &n->answer);
	n->phase = PHASE_WAITING;
	timer_arm(n->runtime, &n->resync, n->resync_us > n->runtime->now_us ? n->resync_us : n->runtime->now_us);
}

void netwatch_lost(struct netwatch *n) {
	n->statistics.overruns++;
	netwatch_resync(n);
}

static void answer_due(struct timer *timer, void *userdata) {
	struct netwatch *n = userdata;
	uint64_t oldest = UINT64_MAX;

	for (size_t i = 0; i < NETWATCH_QUERIES_MAX; i++)
		if (n->queries[i].kind != QUERY_NONE && n->queries[i].sent_us < oldest)
			oldest = n->queries[i].sent_us;
	if (oldest == UINT64_MAX)
		return;
	uint64_t due = oldest + NETWATCH_ANSWER_S * USEC_PER_SEC;
	if (due > n->runtime->now_us)
		timer_arm(n->runtime, timer, due);
	else
		netwatch_lost(n);
}

/* The request that a message answers, NULL for an event. */
static struct query *query_find(struct netwatch *n, const struct nlmsghdr *header) {
	if (header->nlmsg_pid != n->port || header->nlmsg_seq == 0)
		return NULL;
	for (size_t i = 0; i < NETWATCH_QUERIES_MAX; i++)
		if (n->queries[i].kind != QUERY_NONE && n->queries[i].sequence == header->nlmsg_seq)
			return &n->queries[i];
	return NULL;
}

static void query_end(struct netwatch *n, struct query *query) {
	query->kind = QUERY_NONE;
	n->queries_open--;
	if (n->queries_open == 0)
		timer_disarm(n->runtime, &n->answer);
}

static void probe_failed(struct netwatch *n, int error) {
	if (error != -EPERM && error != -EACCES)
		return; /* the entry went away or was confirmed meanwhile: an event says so */
	if (!n->probing_refused)
		log_warning("Neighbors of links cannot be probed without the capability to administer the network; "
			    "links whose neighbor is not known are left to the daemon");
	n->probing_refused = true;
}

/* A request failed, or ended well without anything to say. */
static void take_status(struct netwatch *n, const struct nlmsghdr *header) {
	struct query *query = query_find(n, header), ended;
	int status;

	if (netwatch_read_status(header, &status) < 0) {
		n->statistics.malformed++;
		return;
	}
	if (!query)
		return;
	ended = *query;
	query_end(n, query);
	switch (ended.kind) {
	case QUERY_LINKS:
	case QUERY_ADDRESSES:
		/* An earlier dump that still runs (-EBUSY), or tables that changed under it. */
		if (status < 0)
			netwatch_resync(n);
		else if (ended.kind == QUERY_LINKS)
			n->phase = PHASE_ADDRESSES;
		else
			sync_done(n);
		break;
	case QUERY_ROUTE:
		if (ended.watch)
			watch_answer(n, ended.watch, NULL, status < 0 ? status : -ENETUNREACH);
		break;
	case QUERY_NEIGHBOR:
		if (ended.neighbor)
			neighbor_update(n, ended.neighbor, NULL);
		break;
	case QUERY_PROBE:
		if (status < 0)
			probe_failed(n, status);
		break;
	case QUERY_NONE:
		break;
	}
}

static int take_link(struct netwatch *n, const struct nlmsghdr *header) {
	struct netwatch_link link;
	int r = netwatch_read_link(header, &link);

	if (r < 0)
		return r;
	struct device *device = device_find(n, link.ifindex);
	if (header->nlmsg_type == RTM_NEWLINK)
		device_set(n, &link);
	else if (device)
		device_remove(n, device);
	return 0;
}

static int take_address(struct netwatch *n, const struct nlmsghdr *header) {
	struct netwatch_local local;
	int r = netwatch_read_address(header, &local);

	if (r < 0)
		return r;
	if (header->nlmsg_type == RTM_NEWADDR)
		address_set(n, &local);
	else
		address_remove(n, &local);
	return 0;
}

static int take_route(struct netwatch *n, const struct nlmsghdr *header) {
	struct netwatch_route route;
	struct query *query = query_find(n, header);
	int r = netwatch_read_route(header, &route);

	if (r < 0)
		return r;
	if (query && query->kind == QUERY_ROUTE && header->nlmsg_type == RTM_NEWROUTE) {
		struct watch *w = query->watch;

		query_end(n, query);
		if (w)
			watch_answer(n, w, &route, 0);
	} else
		ask_prefix(n, &route.destination, route.prefix_bits);
	return 0;
}

static int take_neighbor(struct netwatch *n, const struct nlmsghdr *header) {
	struct netwatch_neighbor_state state;
	struct query *query = query_find(n, header);
	int r = netwatch_read_neighbor(header, &state);

	if (r < 0)
		return r;
	/* Answers are like events, except that they are the last word about the question. */
	if (query && query->kind == QUERY_NEIGHBOR)
		query_end(n, query);
	struct neighbor *neighbor = neighbor_find(n, state.ifindex, &state.address);
	if (neighbor)
		neighbor_update(n, neighbor, header->nlmsg_type == RTM_NEWNEIGH ? &state : NULL);
	return 0;
}

static int take_rule(struct netwatch *n, const struct nlmsghdr *header) {
	uint16_t family;
	int r = netwatch_read_rule(header, &family);

	if (r == 0)
		ask_family(n, family);
	return r;
}

static int take_message(struct netwatch *n, const struct nlmsghdr *header) {
	struct query *query;

	/* A dump that is not consistent: what it missed may be anything. */
	if (header->nlmsg_flags & NLM_F_DUMP_INTR && (query = query_find(n, header)) &&
	    (query->kind == QUERY_LINKS || query->kind == QUERY_ADDRESSES)) {
		netwatch_resync(n);
		return 0;
	}
	switch (header->nlmsg_type) {
	case NLMSG_DONE:
	case NLMSG_ERROR:
		take_status(n, header);
		return 0;
	case NLMSG_OVERRUN:
		netwatch_lost(n);
		return 0;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return take_link(n, header);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return take_address(n, header);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return take_route(n, header);
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return take_neighbor(n, header);
	case RTM_NEWRULE:
	case RTM_DELRULE:
		return take_rule(n, header);
	case RTM_NEWNEXTHOP:
	case RTM_DELNEXTHOP:
		ask_family(n, AF_UNSPEC);
		return 0;
	default:
		return 0;
	}
}

void netwatch_take(struct netwatch *n, const void *datagram, size_t length) {
	const struct nlmsghdr *header = datagram;
	int left = (int)length;

	while (left > 0) {
		if (!netwatch_message_ok(header, (size_t)left)) {
			n->statistics.malformed++;
			return;
		}
		if (take_message(n, header) == -EBADMSG)
			n->statistics.malformed++;
		header = mnl_nlmsg_next(header, &left);
	}
}

void netwatch_open(struct netwatch *n, struct runtime *runtime, const struct netwatch_callbacks *callbacks, void *userdata) {
	*n = (struct netwatch){
		.runtime = runtime, .callbacks = *callbacks, .userdata = userdata, .fd = -1, .default_ttl = TTL_DEFAULT};
	timer_init(&n->resync, resync_due, n);
	timer_init(&n->pass, pass_due, n);
	timer_init(&n->refresh, refresh_due, n);
	timer_init(&n->answer, answer_due, n);
	timer_init(&n->again, again_due, n);
	timer_arm_after(runtime, &n->refresh, NETWATCH_REFRESH_S * USEC_PER_SEC);
	netwatch_resync(n);
}

void netwatch_close(struct netwatch *n) {
	struct device *device, *next_device;
	struct local_address *local, *next_local;
	struct watch *w, *next_watch;

	HASH_ITER (hh, n->watches, w, next_watch)
		watch_remove(n, w);
	HASH_ITER (hh, n->devices, device, next_device) {
		HASH_DEL(n->devices, device);
		free(device);
	}
	HASH_ITER (hh, n->addresses, local, next_local) {
		HASH_DEL(n->addresses, local);
		free(local);
	}
	struct timer *timers[] = {&n->resync, &n->pass, &n->refresh, &n->answer, &n->again};
	for (size_t i = 0; i < ARRAY_LENGTH(timers); i++)
		timer_disarm(n->runtime, timers[i]);
}
