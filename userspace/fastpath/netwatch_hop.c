/* SPDX-License-Identifier: BSD-2-Clause */
/* Watches and neighbors: from a route, an interface and a neighbor to a hop. */
#include "fastpath/netwatch_internal.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* Not in net/if.h, and linux/if.h does not go together with it. */
enum { FLAG_LOWER_UP = 1 << 16, NUD_USABLE = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE };
enum { HOP_LIMIT_DEFAULT = 64, MTU6_MIN = 1280 };

struct device *device_find(const struct netwatch *n, uint32_t ifindex) {
	struct device *device;

	HASH_FIND(hh, n->devices, &ifindex, sizeof(ifindex), device);
	return device;
}

static bool device_ethernet(const struct device *device) {
	return device->link.type == ARPHRD_ETHER && device->link.has_mac;
}

static bool device_up(const struct device *device) {
	return device->link.flags & IFF_UP && device->link.flags & FLAG_LOWER_UP;
}

/* The Ethernet interface that frames of a device leave: itself, or the parent of a VLAN device. NULL: not one we can use. */
struct device *device_carrier(const struct netwatch *n, uint32_t ifindex) {
	struct device *device = device_find(n, ifindex);

	if (device && device->link.is_vlan) {
		/* Tag control 0 would read as "untagged". */
		if (!device->link.is_tag_plain || device->link.parent_elsewhere || device->link.vlan == 0)
			return NULL;
		device = device_find(n, device->link.parent);
		if (device && device->link.is_vlan)
			return NULL;
	}
	return device && device_ethernet(device) ? device : NULL;
}

struct neighbor *neighbor_find(struct netwatch *n, uint32_t ifindex, const struct netwatch_ip *address) {
	struct neighbor_key key = {.ifindex = ifindex, .address = *address};
	struct neighbor *neighbor;

	HASH_FIND(hh, n->neighbors, &key, sizeof(key), neighbor);
	return neighbor;
}

static void neighbor_enqueue(struct netwatch *n, struct neighbor *neighbor) {
	if (!neighbor->queued)
		DL_APPEND(n->neighbor_queue, neighbor);
	neighbor->queued = true;
}

void neighbor_queue_remove(struct netwatch *n, struct neighbor *neighbor) {
	if (neighbor->queued)
		DL_DELETE(n->neighbor_queue, neighbor);
	neighbor->queued = false;
}

/* Something around it changed: the next probe need not wait. */
void neighbor_restart(struct netwatch *n, struct neighbor *neighbor) {
	neighbor->delay_ms = NETWATCH_PROBE_MIN_MS;
	neighbor->next_probe_us = 0;
	timer_disarm(n->runtime, &neighbor->timer);
	neighbor_ask(n, neighbor);
}

/* What is the state of its entry? */
void neighbor_ask(struct netwatch *n, struct neighbor *neighbor) {
	neighbor->want_get = true;
	neighbor_enqueue(n, neighbor);
}

static bool neighbor_usable(const struct neighbor *neighbor) {
	return neighbor->has_mac && neighbor->state & NUD_USABLE;
}

/* Missing, failed, being looked for, or not confirmed for a while. */
static bool neighbor_needs_probe(const struct neighbor *neighbor) {
	return !neighbor->managed && !(neighbor->state & (NUD_USABLE & ~NUD_STALE));
}

void neighbor_doubt(struct netwatch *n, struct neighbor *neighbor) {
	uint64_t now_us = n->runtime->now_us;

	if (n->probing_refused || neighbor->managed || neighbor->state & (NUD_PERMANENT | NUD_NOARP) ||
	    !neighbor_usable(neighbor) || now_us < neighbor->next_doubt_us)
		return;
	neighbor->next_doubt_us = now_us + NETWATCH_DOUBT_MS * USEC_PER_MSEC;
	neighbor->want_forget = true;
	/* Looked for as soon as the kernel says that it has forgotten. */
	neighbor->next_probe_us = 0;
	neighbor->delay_ms = NETWATCH_PROBE_MIN_MS;
	timer_disarm(n->runtime, &neighbor->timer);
	neighbor_enqueue(n, neighbor);
	timer_arm(n->runtime, &n->again, now_us);
}

static void probe_due(struct timer *timer, void *userdata) {
	struct neighbor *neighbor = userdata;
	struct netwatch *n = neighbor->netwatch;

	(void)timer;
	if (!neighbor_needs_probe(neighbor))
		return;
	const struct device *device = device_find(n, neighbor->key.ifindex);
	if (!device || !device_up(device))
		return; /* asked about again when it comes up */
	neighbor->want_probe = true;
	neighbor_enqueue(n, neighbor);
	neighbor->next_probe_us = n->runtime->now_us + neighbor->delay_ms * USEC_PER_MSEC;
	neighbor->delay_ms = neighbor->delay_ms * 2 < NETWATCH_PROBE_MAX_MS ? neighbor->delay_ms * 2 : NETWATCH_PROBE_MAX_MS;
	timer_arm(n->runtime, &neighbor->timer, neighbor->next_probe_us);
	timer_arm(n->runtime, &n->again, n->runtime->now_us); /* a report from here could end this neighbor */
}

/* Takes over what the kernel says; NULL: it has no entry. */
void neighbor_update(struct netwatch *n, struct neighbor *neighbor, const struct netwatch_neighbor_state *state) {
	struct watch *w;

	neighbor->heard = true;
	neighbor->state = state ? state->state : 0;
	neighbor->managed = state && state->managed;
	neighbor->has_mac = state && state->has_mac;
	if (neighbor->has_mac)
		memcpy(neighbor->mac, state->mac, sizeof(neighbor->mac));
	if (neighbor->state & (NUD_REACHABLE | NUD_PERMANENT | NUD_NOARP))
		neighbor->delay_ms = NETWATCH_PROBE_MIN_MS;
	if (n->probing_refused || !neighbor_needs_probe(neighbor))
		timer_disarm(n->runtime, &neighbor->timer);
	else if (!neighbor->timer.armed)
		timer_arm(n->runtime, &neighbor->timer,
			  neighbor->next_probe_us > n->runtime->now_us ? neighbor->next_probe_us : n->runtime->now_us);
	DL_FOREACH2(neighbor->watches, w, neighbor_next)
	watch_check(n, w);
}

static void neighbor_release(struct netwatch *n, struct watch *w) {
	struct neighbor *neighbor = w->neighbor;

	if (!neighbor)
		return;
	w->neighbor = NULL;
	DL_DELETE2(neighbor->watches, w, neighbor_prev, neighbor_next);
	if (neighbor->watches)
		return;
	for (size_t i = 0; i < NETWATCH_QUERIES_MAX; i++)
		if (n->queries[i].neighbor == neighbor)
			n->queries[i].neighbor = NULL;
	neighbor_queue_remove(n, neighbor);
	timer_disarm(n->runtime, &neighbor->timer);
	HASH_DEL(n->neighbors, neighbor);
	free(neighbor);
}

/* Makes the next hop of a watch the neighbor of its route. Without memory the watch stays without one until it is asked about
 * again. */
static void neighbor_attach(struct netwatch *n, struct watch *w) {
	struct neighbor_key key = {.ifindex = w->route.ifindex, .address = w->route.gateway};
	struct neighbor *neighbor;

	if (key.address.family == 0) {
		key.address.family = w->remote.family;
		memcpy(key.address.octets, w->remote.octets, sizeof(key.address.octets));
	}
	if (w->neighbor && memcmp(&w->neighbor->key, &key, sizeof(key)) == 0)
		return;
	neighbor_release(n, w);
	HASH_FIND(hh, n->neighbors, &key, sizeof(key), neighbor);
	if (!neighbor) {
		neighbor = calloc(1, sizeof(*neighbor));
		if (!neighbor)
			return;
		neighbor->key = key;
		neighbor->netwatch = n;
		neighbor->delay_ms = NETWATCH_PROBE_MIN_MS;
		timer_init(&neighbor->timer, probe_due, neighbor);
		HASH_ADD(hh, n->neighbors, key, sizeof(neighbor->key), neighbor);
		if (!neighbor->hh.tbl) {
			free(neighbor);
			return;
		}
		neighbor_ask(n, neighbor);
	}
	w->neighbor = neighbor;
	DL_APPEND2(neighbor->watches, w, neighbor_prev, neighbor_next);
}

/* Puts the route of a watch on the list of those to be asked for. */
void watch_ask(struct netwatch *n, struct watch *w) {
	if (!w->asking_queued)
		DL_APPEND2(n->asking, w, asking_prev, asking_next);
	w->asking_queued = true;
}

void watch_asking_remove(struct netwatch *n, struct watch *w) {
	if (w->asking_queued)
		DL_DELETE2(n->asking, w, asking_prev, asking_next);
	w->asking_queued = false;
}

/* Puts a watch on the list of those whose hop may be another one. */
void watch_check(struct netwatch *n, struct watch *w) {
	if (!w->check_queued)
		DL_APPEND2(n->checks, w, check_prev, check_next);
	w->check_queued = true;
}

static void check_remove(struct netwatch *n, struct watch *w) {
	if (w->check_queued)
		DL_DELETE2(n->checks, w, check_prev, check_next);
	w->check_queued = false;
}

/* The kernel has answered: a route, or an error. */
void watch_answer(struct netwatch *n, struct watch *w, const struct netwatch_route *route, int error) {
	w->routed = true;
	w->route_error = error;
	w->route = route ? *route : (struct netwatch_route){0};
	struct device *carrier = route && route->type == RTN_UNICAST ? device_carrier(n, route->ifindex) : NULL;
	if (carrier && !route->encapsulated)
		neighbor_attach(n, w);
	else
		neighbor_release(n, w);
	if (carrier && w->carrier != carrier->ifindex) {
		w->carrier = carrier->ifindex;
		n->recount = true;
	}
	watch_check(n, w);
}

/* May the local address of a watch be used on the interface of its route? */
static bool local_usable(const struct netwatch *n, const struct watch *w) {
	struct netwatch_ip key = {.family = w->local.family};
	struct local_address *local;

	if (w->local.family == 0)
		return true;
	memcpy(key.octets, w->local.octets, sizeof(key.octets));
	HASH_FIND(hh, n->addresses, &key, sizeof(key), local);
	for (size_t i = 0; local && i < NETWATCH_ADDRESS_PLACES; i++)
		if (local->ifindex[i] != 0 && local->usable[i] && (w->local.scope == 0 || w->local.scope == local->ifindex[i]))
			return true;
	return false;
}

static void least(uint32_t *value, uint32_t bound) {
	if (bound != 0 && bound < *value)
		*value = bound;
}

static enum netwatch_reason hop_of(const struct netwatch *n, const struct watch *w, struct netwatch_hop *ret) {
	if (!w->routed)
		return NETWATCH_PENDING;
	if (!local_usable(n, w))
		return NETWATCH_NO_ADDRESS;
	if (w->route_error != 0)
		return NETWATCH_NO_ROUTE;
	switch (w->route.type) {
	case RTN_UNICAST:
		break;
	case RTN_LOCAL:
		return NETWATCH_LOCAL;
	case RTN_UNREACHABLE:
	case RTN_PROHIBIT:
	case RTN_BLACKHOLE:
	case RTN_THROW:
		return NETWATCH_NO_ROUTE;
	default:
		return NETWATCH_UNSUPPORTED;
	}
	const struct device *device = device_find(n, w->route.ifindex);
	const struct device *carrier = device_carrier(n, w->route.ifindex);
	if (!carrier || !device_ethernet(device) || w->route.encapsulated)
		return NETWATCH_UNSUPPORTED;
	if (!device_up(device) || !device_up(carrier))
		return NETWATCH_DOWN;
	if (w->neighbor && !w->neighbor->heard)
		return NETWATCH_PENDING;
	if (!w->neighbor || !neighbor_usable(w->neighbor))
		return NETWATCH_NO_NEIGHBOR;

	uint32_t mtu = device->link.mtu;
	least(&mtu, carrier->link.mtu);
	least(&mtu, w->route.mtu);
	uint32_t hop_limit = w->route.hop_limit;
	if (w->remote.family == AF_INET6) {
		least(&mtu, device->link.mtu6);
		if (mtu < MTU6_MIN) /* IPv6 does not run over less; a path that says so gets fragments of the daemon */
			return NETWATCH_UNSUPPORTED;
		if (hop_limit == 0)
			hop_limit = device->link.hop_limit6;
	} else if (hop_limit == 0)
		hop_limit = n->default_ttl;
	*ret = (struct netwatch_hop){
		.ifindex = carrier->ifindex,
		.device = device->ifindex,
		.vlan = device->link.is_vlan ? device->link.vlan : 0,
		.mtu = (uint16_t)mtu,
		.hop_limit = hop_limit > 0 && hop_limit <= UINT8_MAX ? (uint8_t)hop_limit : HOP_LIMIT_DEFAULT,
	};
	memcpy(ret->destination, w->neighbor->mac, sizeof(ret->destination));
	memcpy(ret->source, device->link.mac, sizeof(ret->source));
	return NETWATCH_KNOWN;
}

/* Reports the watches on the list whose hop is another one now, some of them in one turn. */
static void report(struct netwatch *n) {
	struct watch *w;

	for (unsigned left = NETWATCH_REPORTS_PER_TURN; left > 0 && (w = n->checks); left--) {
		struct netwatch_hop hop = {0};

		check_remove(n, w);
		enum netwatch_reason reason = hop_of(n, w, &hop);
		/* An answer is under way: until it is there, what was reported stands. */
		if (reason == NETWATCH_PENDING || (w->reported && reason == w->reason && memcmp(&hop, &w->hop, sizeof(hop)) == 0))
			continue;
		if (reason == NETWATCH_KNOWN && w->reason != NETWATCH_KNOWN)
			n->statistics.known++;
		if (reason != NETWATCH_KNOWN && w->reason == NETWATCH_KNOWN)
			n->statistics.known--;
		w->reported = true;
		w->reason = reason;
		w->hop = hop;
		n->statistics.changes++;
		/* The watch may be gone afterwards. */
		n->callbacks.changed(n->userdata, w->id, reason == NETWATCH_KNOWN ? &hop : NULL, reason);
	}
	if (n->checks)
		timer_arm(n->runtime, &n->again, n->runtime->now_us);
}

static struct query *query_begin(struct netwatch *n, enum query_kind kind) {
	for (size_t i = 0; i < NETWATCH_QUERIES_MAX; i++)
		if (n->queries[i].kind == QUERY_NONE) {
			if (++n->sequence == 0) /* events of the kernel's own doing have number 0 */
				n->sequence = 1;
			n->queries[i] = (struct query){.kind = kind, .sequence = n->sequence, .sent_us = n->runtime->now_us};
			n->queries_open++;
			if (!n->answer.armed)
				timer_arm_after(n->runtime, &n->answer, NETWATCH_ANSWER_S * USEC_PER_SEC);
			return &n->queries[i];
		}
	return NULL;
}

static int query_send(struct netwatch *n, struct query *query, const void *request, size_t length) {
	int r = n->send(n->send_userdata, request, length);

	n->statistics.queries++;
	if (r < 0) {
		query->kind = QUERY_NONE;
		n->queries_open--;
	}
	return r;
}

/* What is to be asked about a neighbor next: its state first, a probe afterwards. */
static enum netwatch_probe probe_kind(const struct neighbor *neighbor) {
	if (neighbor->want_forget)
		return NETWATCH_PROBE_FORGET;
	return neighbor_usable(neighbor) ? NETWATCH_PROBE_CONFIRM : NETWATCH_PROBE_RESOLVE;
}

static int neighbor_send(struct netwatch *n, struct neighbor *neighbor) {
	_Alignas(4) uint8_t request[NETWATCH_REQUEST_MAX];
	size_t length;
	bool get = neighbor->want_get, forget = !get && neighbor->want_forget;

	if (!get && (n->probing_refused || (!neighbor->want_probe && !forget))) {
		neighbor->want_probe = neighbor->want_forget = false;
		neighbor_queue_remove(n, neighbor);
		return 0;
	}
	struct query *query = query_begin(n, get ? QUERY_NEIGHBOR : QUERY_PROBE);
	query->neighbor = neighbor;
	if (get)
		length = netwatch_write_get_neighbor(request, query->sequence, neighbor->key.ifindex, &neighbor->key.address);
	else {
		n->statistics.probes++;
		length = netwatch_write_probe(request, query->sequence, neighbor->key.ifindex, &neighbor->key.address,
					      probe_kind(neighbor));
	}
	int r = query_send(n, query, request, length);
	if (r < 0)
		return r;
	if (get)
		neighbor->want_get = false;
	else if (forget)
		neighbor->want_forget = false;
	else
		neighbor->want_probe = false;
	if (!neighbor->want_get && !neighbor->want_probe && !neighbor->want_forget)
		neighbor_queue_remove(n, neighbor);
	return 0;
}

static int route_send(struct netwatch *n, struct watch *w) {
	_Alignas(4) uint8_t request[NETWATCH_REQUEST_MAX];
	struct query *query = query_begin(n, QUERY_ROUTE);

	query->watch = w;
	int r = query_send(n, query, request, netwatch_write_get_route(request, query->sequence, &w->remote, &w->local));
	if (r == 0)
		watch_asking_remove(n, w);
	return r;
}

/* Dumps first: an answer about a route means nothing before its interface is known. */
static int dump_send(struct netwatch *n) {
	_Alignas(4) uint8_t request[NETWATCH_REQUEST_MAX];
	bool links = n->phase == PHASE_LINKS;
	struct query *query = query_begin(n, links ? QUERY_LINKS : QUERY_ADDRESSES);

	return query_send(n, query, request, netwatch_write_dump(request, query->sequence, links ? RTM_GETLINK : RTM_GETADDR));
}

static void send_waiting(struct netwatch *n) {
	int r = 0;

	if (n->phase == PHASE_LINKS || n->phase == PHASE_ADDRESSES) {
		if (n->queries_open == 0 && dump_send(n) < 0)
			netwatch_resync(n);
		return;
	}
	if (n->phase != PHASE_DONE)
		return;
	/* A bound for the turn, and for what the answers take in the socket's buffer. */
	while (r == 0 && n->neighbor_queue && n->queries_open < NETWATCH_QUERIES_MAX)
		r = neighbor_send(n, n->neighbor_queue);
	while (r == 0 && n->asking && n->queries_open < NETWATCH_QUERIES_MAX)
		r = route_send(n, n->asking);
	if (r < 0)
		timer_arm_after(n->runtime, &n->again, NETWATCH_PASS_GAP_MS * USEC_PER_MSEC);
}

void netwatch_turn(struct netwatch *n) {
	send_waiting(n);
	report(n);
	if (n->recount && !n->asking && n->phase == PHASE_DONE) {
		n->recount = false;
		netwatch_recount(n);
	}
}

void watch_remove(struct netwatch *n, struct watch *w) {
	for (size_t i = 0; i < NETWATCH_QUERIES_MAX; i++)
		if (n->queries[i].watch == w)
			n->queries[i].watch = NULL;
	neighbor_release(n, w);
	watch_asking_remove(n, w);
	check_remove(n, w);
	if (w->reason == NETWATCH_KNOWN)
		n->statistics.known--;
	HASH_DEL(n->watches, w);
	free(w);
	n->recount = true;
	/* Not from here: whoever removes a watch does not expect reports about others. */
	timer_arm(n->runtime, &n->again, n->runtime->now_us);
}
