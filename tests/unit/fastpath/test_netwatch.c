/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The watcher of routes and neighbors with a made-up kernel: it answers requests from tables of the test, and tells what the test
 * wants. Every datagram is handed over in memory of exactly its length.
 */
#include "fastpath/netwatch_internal.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum {
	PORT = 4711,
	LOWER_UP = 1 << 16,
	UP = IFF_UP | LOWER_UP,
	LAN = 2,
	WAN = 3,
	VLAN = 4,
	MESSAGE_MAX = 1024,
	REQUESTS_MAX = 256
};

struct interface {
	uint32_t ifindex, flags, mtu, parent;
	uint16_t type, vlan, protocol;
	uint8_t mac[6];
	const char *kind, *name;
	int32_t hop_limit6, mtu6;
};

struct message {
	_Alignas(8) uint8_t octets[MESSAGE_MAX];
	size_t length;
};

struct bed {
	struct runtime runtime;
	struct netwatch n;
	struct message requests[REQUESTS_MAX];
	size_t request_count;
	bool mute, interrupted; /* answers nothing; tables change under the next dump */
	int send_error, dump_error, probe_error;

	struct interface interfaces[4];
	size_t interface_count;
	struct netwatch_local addresses[2];
	size_t address_count;
	int route_error;
	struct netwatch_route route;
	uint16_t neighbor_state; /* 0: none */
	uint32_t neighbor_flags;
	uint8_t neighbor_mac[6];

	unsigned asked_routes, asked_neighbors, probes, confirmations, forgotten, dumps;
	struct netwatch_ip probed;
	unsigned changes, interface_changes;
	uint64_t changed_id;
	struct netwatch_hop hop;
	enum netwatch_reason reason;
	bool unwatch; /* from within the callback */
};

static const uint8_t mac_lan[6] = {2, 0, 0, 0, 0, 1}, mac_near[6] = {2, 0, 0, 0, 1, 1}, mac_other[6] = {2, 0, 0, 0, 1, 2};
static const struct netwatch_ip here4 = {.family = AF_INET, .octets = {192, 0, 2, 1}},
				gateway4 = {.family = AF_INET, .octets = {192, 0, 2, 254}};

/* ---- messages of the kernel */

static struct nlmsghdr *begin(struct message *m, uint16_t type, uint16_t flags, uint32_t port, uint32_t sequence) {
	memset(m, 0, sizeof(*m));
	struct nlmsghdr *header = mnl_nlmsg_put_header(m->octets);
	header->nlmsg_type = type;
	header->nlmsg_flags = flags;
	header->nlmsg_pid = port;
	header->nlmsg_seq = sequence;
	return header;
}

static size_t ip_length(uint16_t family) {
	return family == AF_INET ? 4 : 16;
}

static void link_message(struct message *m, const struct interface *i, uint16_t type, uint32_t port, uint32_t sequence) {
	struct nlmsghdr *header = begin(m, type, NLM_F_MULTI, port, sequence);
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));

	info->ifi_index = (int)i->ifindex;
	info->ifi_type = i->type;
	info->ifi_flags = i->flags;
	mnl_attr_put_strz(header, IFLA_IFNAME, i->name);
	mnl_attr_put_u32(header, IFLA_MTU, i->mtu);
	mnl_attr_put(header, IFLA_ADDRESS, 6, i->mac);
	if (i->parent)
		mnl_attr_put_u32(header, IFLA_LINK, i->parent);
	if (i->kind) {
		struct nlattr *linkinfo = mnl_attr_nest_start(header, IFLA_LINKINFO);
		mnl_attr_put_strz(header, IFLA_INFO_KIND, i->kind);
		if (strcmp(i->kind, "vlan") == 0) {
			struct ifla_vlan_qos_mapping map[] = {{.from = 1, .to = 7}, {.from = 0, .to = 5}};
			struct nlattr *data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
			mnl_attr_put_u16(header, IFLA_VLAN_ID, i->vlan);
			mnl_attr_put_u16(header, IFLA_VLAN_PROTOCOL, htons(i->protocol));
			struct nlattr *qos = mnl_attr_nest_start(header, IFLA_VLAN_EGRESS_QOS);
			mnl_attr_put(header, IFLA_VLAN_QOS_MAPPING, sizeof(map[0]), &map[0]);
			mnl_attr_put(header, IFLA_VLAN_QOS_MAPPING, sizeof(map[1]), &map[1]);
			mnl_attr_nest_end(header, qos);
			mnl_attr_nest_end(header, data);
		}
		mnl_attr_nest_end(header, linkinfo);
	}
	struct nlattr *families = mnl_attr_nest_start(header, IFLA_AF_SPEC), *inet6 = mnl_attr_nest_start(header, AF_INET6);
	int32_t conf[8] = {0, i->hop_limit6, i->mtu6};
	mnl_attr_put(header, IFLA_INET6_CONF, sizeof(conf), conf);
	mnl_attr_nest_end(header, inet6);
	mnl_attr_nest_end(header, families);
	m->length = header->nlmsg_len;
}

static void address_message(struct message *m, const struct netwatch_local *a, uint16_t type, uint32_t port, uint32_t sequence) {
	struct nlmsghdr *header = begin(m, type, NLM_F_MULTI, port, sequence);
	struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));

	info->ifa_family = (uint8_t)a->address.family;
	info->ifa_index = a->ifindex;
	mnl_attr_put(header, IFA_ADDRESS, ip_length(a->address.family), a->address.octets);
	mnl_attr_put_u32(header, IFA_FLAGS, a->usable ? IFA_F_PERMANENT : IFA_F_PERMANENT | IFA_F_TENTATIVE);
	m->length = header->nlmsg_len;
}

static void route_message(struct message *m, const struct netwatch_route *r, uint16_t type, uint32_t port, uint32_t sequence) {
	struct nlmsghdr *header = begin(m, type, 0, port, sequence);
	struct rtmsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));

	info->rtm_family = (uint8_t)r->family;
	info->rtm_type = r->type;
	info->rtm_dst_len = r->prefix_bits;
	if (r->prefix_bits > 0)
		mnl_attr_put(header, RTA_DST, ip_length(r->family), r->destination.octets);
	if (r->ifindex)
		mnl_attr_put_u32(header, RTA_OIF, r->ifindex);
	if (r->gateway.family == r->family)
		mnl_attr_put(header, RTA_GATEWAY, ip_length(r->family), r->gateway.octets);
	else if (r->gateway.family != 0) {
		struct {
			uint16_t family;
			uint8_t octets[16];
		} via = {.family = r->gateway.family};
		memcpy(via.octets, r->gateway.octets, sizeof(via.octets));
		mnl_attr_put(header, RTA_VIA, sizeof(via), &via);
	}
	struct nlattr *metrics = mnl_attr_nest_start(header, RTA_METRICS);
	if (r->mtu)
		mnl_attr_put_u32(header, RTAX_MTU, r->mtu);
	if (r->hop_limit)
		mnl_attr_put_u32(header, RTAX_HOPLIMIT, r->hop_limit);
	mnl_attr_nest_end(header, metrics);
	if (r->encapsulated)
		mnl_attr_put(header, RTA_ENCAP, 0, "");
	m->length = header->nlmsg_len;
}

static void neighbor_message(struct message *m, const struct bed *b, const struct neighbor_key *key, uint16_t type, uint32_t port,
			     uint32_t sequence) {
	struct nlmsghdr *header = begin(m, type, 0, port, sequence);
	struct ndmsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));

	info->ndm_family = (uint8_t)key->address.family;
	info->ndm_ifindex = (int)key->ifindex;
	info->ndm_state = b->neighbor_state;
	info->ndm_flags = (uint8_t)b->neighbor_flags;
	mnl_attr_put(header, NDA_DST, ip_length(key->address.family), key->address.octets);
	if (b->neighbor_state & ~(NUD_INCOMPLETE | NUD_FAILED))
		mnl_attr_put(header, NDA_LLADDR, 6, b->neighbor_mac);
	m->length = header->nlmsg_len;
}

static void status_message(struct message *m, uint16_t type, int status, uint16_t flags, uint32_t sequence) {
	struct nlmsghdr *header = begin(m, type, flags, PORT, sequence);

	*(int32_t *)mnl_nlmsg_put_extra_header(header, sizeof(int32_t)) = status;
	m->length = header->nlmsg_len;
}

static void tell(struct bed *b, const struct message *m) {
	uint8_t *exact = malloc(m->length);

	assert_non_null(exact);
	memcpy(exact, m->octets, m->length);
	netwatch_take(&b->n, exact, m->length);
	free(exact);
}

/* ---- the kernel's answers */

static int take_request(void *userdata, const void *request, size_t length) {
	struct bed *b = userdata;

	if (b->send_error)
		return b->send_error;
	assert_true(b->request_count < REQUESTS_MAX && length <= NETWATCH_REQUEST_MAX);
	memcpy(b->requests[b->request_count].octets, request, length);
	b->requests[b->request_count++].length = length;
	return 0;
}

static void answer_dump(struct bed *b, const struct nlmsghdr *request) {
	struct message m;
	uint16_t flags = b->interrupted ? NLM_F_MULTI | NLM_F_DUMP_INTR : NLM_F_MULTI;

	b->dumps++;
	if (b->dump_error) {
		status_message(&m, NLMSG_ERROR, b->dump_error, 0, request->nlmsg_seq);
		tell(b, &m);
		return;
	}
	for (size_t i = 0; request->nlmsg_type == RTM_GETLINK && i < b->interface_count; i++) {
		link_message(&m, &b->interfaces[i], RTM_NEWLINK, PORT, request->nlmsg_seq);
		tell(b, &m);
	}
	for (size_t i = 0; request->nlmsg_type == RTM_GETADDR && i < b->address_count; i++) {
		address_message(&m, &b->addresses[i], RTM_NEWADDR, PORT, request->nlmsg_seq);
		tell(b, &m);
	}
	status_message(&m, NLMSG_DONE, 0, flags, request->nlmsg_seq);
	b->interrupted = false;
	tell(b, &m);
}

static struct neighbor_key key_of(const struct nlmsghdr *request) {
	struct netwatch_neighbor_state state;

	assert_int_equal(netwatch_read_neighbor(request, &state), 0);
	return (struct neighbor_key){.ifindex = state.ifindex, .address = state.address};
}

static void answer_neighbor(struct bed *b, const struct nlmsghdr *request) {
	struct neighbor_key key = key_of(request);
	struct message m;

	b->asked_neighbors++;
	if (b->neighbor_state)
		neighbor_message(&m, b, &key, RTM_NEWNEIGH, PORT, request->nlmsg_seq);
	else
		status_message(&m, NLMSG_ERROR, -ENOENT, 0, request->nlmsg_seq);
	tell(b, &m);
}

static void tell_neighbor(struct bed *b, uint16_t type);

static void answer_probe(struct bed *b, const struct nlmsghdr *request) {
	const struct ndmsg *info = mnl_nlmsg_get_payload(request);
	struct message m;

	b->probed = key_of(request).address;
	b->probes++;
	assert_true(request->nlmsg_flags & NLM_F_ACK);
	assert_false(request->nlmsg_flags & NLM_F_REPLACE);
	if (info->ndm_state == NUD_PROBE) {
		assert_int_equal(info->ndm_flags, 0);
		b->confirmations++;
	} else if (info->ndm_state == NUD_FAILED) {
		assert_int_equal(info->ndm_flags, 0);
		assert_false(request->nlmsg_flags & NLM_F_CREATE);
		if (b->probe_error == 0) {
			b->forgotten++;
			b->neighbor_state = NUD_FAILED;
			tell_neighbor(b, RTM_NEWNEIGH);
		}
	} else
		assert_int_equal(info->ndm_flags, NTF_USE);
	status_message(&m, NLMSG_ERROR, b->probe_error, 0, request->nlmsg_seq);
	tell(b, &m);
}

static void answer(struct bed *b, const struct nlmsghdr *request) {
	struct message m;

	switch (request->nlmsg_type) {
	case RTM_GETLINK:
	case RTM_GETADDR:
		answer_dump(b, request);
		break;
	case RTM_GETROUTE:
		b->asked_routes++;
		if (b->route_error)
			status_message(&m, NLMSG_ERROR, b->route_error, 0, request->nlmsg_seq);
		else
			route_message(&m, &b->route, RTM_NEWROUTE, PORT, request->nlmsg_seq);
		tell(b, &m);
		break;
	case RTM_GETNEIGH:
		answer_neighbor(b, request);
		break;
	case RTM_NEWNEIGH:
		answer_probe(b, request);
		break;
	default:
		fail_msg("request of type %u", request->nlmsg_type);
	}
}

/* Answers, and lets time stand still until nothing happens any more. */
static void settle(struct bed *b) {
	for (unsigned turns = 0;; turns++) {
		assert_true(turns < 10000);
		netwatch_turn(&b->n);
		size_t count = b->request_count;
		struct message *requests = malloc(sizeof(*requests) * (count + 1));
		assert_non_null(requests);
		memcpy(requests, b->requests, sizeof(*requests) * count);
		b->request_count = 0;
		for (size_t i = 0; i < count && !b->mute; i++)
			answer(b, (const struct nlmsghdr *)(const void *)requests[i].octets);
		free(requests);
		if (count > 0)
			continue;
		if (runtime_next(&b->runtime) > b->runtime.now_us)
			return;
		runtime_fire(&b->runtime);
		b->runtime.now_us++;
	}
}

static void pass_time(struct bed *b, uint64_t ms) {
	uint64_t until = b->runtime.now_us + ms * USEC_PER_MSEC;

	while (runtime_next(&b->runtime) <= until) {
		if (runtime_next(&b->runtime) > b->runtime.now_us)
			b->runtime.now_us = runtime_next(&b->runtime);
		settle(b);
	}
	if (b->runtime.now_us < until)
		b->runtime.now_us = until;
}

static void on_changed(void *userdata, uint64_t id, const struct netwatch_hop *hop, enum netwatch_reason reason) {
	struct bed *b = userdata;
	struct netwatch_hop now;

	b->changes++;
	b->changed_id = id;
	b->reason = reason;
	b->hop = hop ? *hop : (struct netwatch_hop){0};
	assert_int_equal(reason == NETWATCH_KNOWN, hop != NULL);
	assert_int_equal(netwatch_hop(&b->n, id, &now), reason);
	if (hop)
		assert_memory_equal(&now, hop, sizeof(now));
	if (b->unwatch)
		netwatch_unwatch(&b->n, id);
}

static void on_interfaces(void *userdata) {
	struct bed *b = userdata;

	b->interface_changes++;
}

static struct address address_of(const char *text) {
	struct address address;

	assert_int_equal(address_parse(text, RELOAD_PORT, &address), 0);
	return address;
}

static struct bed *bed_new(void) {
	static const struct netwatch_callbacks callbacks = {.changed = on_changed, .interfaces = on_interfaces};
	struct bed *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->runtime.now_us = 1000 * USEC_PER_SEC;
	b->interfaces[0] =
		(struct interface){.ifindex = LAN, .flags = UP, .mtu = 1500, .type = ARPHRD_ETHER, .name = "lan", .hop_limit6 = 61};
	memcpy(b->interfaces[0].mac, mac_lan, 6);
	b->interfaces[1] =
		(struct interface){.ifindex = WAN, .flags = UP, .mtu = 1492, .type = ARPHRD_ETHER, .name = "wan", .kind = "veth"};
	b->interfaces[2] = (struct interface){.ifindex = VLAN,
					      .flags = UP,
					      .mtu = 1500,
					      .parent = LAN,
					      .type = ARPHRD_ETHER,
					      .vlan = 7,
					      .protocol = ETH_P_8021Q,
					      .kind = "vlan",
					      .name = "lan.7"};
	b->interface_count = 3;
	b->addresses[0] = (struct netwatch_local){.ifindex = LAN, .address = here4, .usable = true};
	b->address_count = 1;
	b->route = (struct netwatch_route){
		.family = AF_INET, .type = RTN_UNICAST, .prefix_bits = 32, .ifindex = LAN, .gateway = gateway4};
	b->neighbor_state = NUD_REACHABLE;
	memcpy(b->neighbor_mac, mac_near, 6);
	netwatch_open(&b->n, &b->runtime, &callbacks, b);
	b->n.port = PORT;
	b->n.send = take_request;
	b->n.send_userdata = b;
	return b;
}

static int setup(void **state) {
	*state = bed_new();
	return 0;
}

static int teardown(void **state) {
	struct bed *b = *state;

	netwatch_close(&b->n);
	assert_null(b->n.neighbors);
	assert_null(b->n.checks);
	assert_null(b->n.asking);
	assert_int_equal(runtime_next(&b->runtime), USEC_NEVER);
	free(b);
	return 0;
}

/* A watch with a hop over the gateway. */
static void watch_one(struct bed *b) {
	struct address remote = address_of("198.51.100.1:6084"), local = address_of("192.0.2.1:6084");

	assert_int_equal(netwatch_watch(&b->n, &remote, &local, 1), 0);
	settle(b);
	assert_int_equal(b->changes, 1);
	assert_int_equal(b->reason, NETWATCH_KNOWN);
	assert_memory_equal(b->hop.destination, b->neighbor_mac, 6);
}

static void tell_link(struct bed *b, const struct interface *i, uint16_t type) {
	struct message m;

	link_message(&m, i, type, 0, 0);
	tell(b, &m);
}

static void tell_neighbor(struct bed *b, uint16_t type) {
	struct neighbor_key key = {.ifindex = LAN, .address = gateway4};
	struct message m;

	neighbor_message(&m, b, &key, type, 0, 0);
	tell(b, &m);
}

static void tell_route(struct bed *b, const char *prefix, uint8_t bits) {
	struct address address = address_of(prefix);
	struct netwatch_route route = {.family = address.family, .type = RTN_UNICAST, .prefix_bits = bits, .ifindex = WAN};
	struct message m;

	route.destination.family = address.family;
	memcpy(route.destination.octets, address.octets, sizeof(address.octets));
	route_message(&m, &route, RTM_NEWROUTE, 999, 1); /* on behalf of another program: its port, its number */
	tell(b, &m);
}

/* ---- tests */

static void test_hop(void **state) {
	struct bed *b = *state;
	struct netwatch_interface interfaces[NETWATCH_INTERFACES_MAX];

	watch_one(b);
	assert_int_equal(b->hop.ifindex, LAN);
	assert_int_equal(b->hop.device, LAN);
	assert_memory_equal(b->hop.source, mac_lan, 6);
	assert_int_equal(b->hop.vlan, 0);
	assert_int_equal(b->hop.mtu, 1500);
	assert_int_equal(b->probes, 0);
	assert_int_equal(netwatch_interfaces(&b->n, interfaces, NETWATCH_INTERFACES_MAX), 1);
	assert_int_equal(interfaces[0].ifindex, LAN);
	assert_int_equal(interfaces[0].watches, 1);
	assert_string_equal(interfaces[0].name, "lan");
	assert_int_equal(netwatch_interfaces(&b->n, interfaces, 0), 0);
	assert_int_equal(b->interface_changes, 1);

	/* Nothing new: nothing reported. */
	tell_neighbor(b, RTM_NEWNEIGH);
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	pass_time(b, 3 * NETWATCH_REFRESH_S * 1000);
	assert_int_equal(b->changes, 1);
	netwatch_unwatch(&b->n, 1);
	netwatch_unwatch(&b->n, 1);
	settle(b);
	assert_int_equal(b->interface_changes, 2);
	assert_int_equal(netwatch_hop(&b->n, 1, &b->hop), NETWATCH_PENDING);
}

static void test_path_mtu(void **state) {
	struct bed *b = *state;

	watch_one(b);
	b->route.mtu = 1280;
	b->route.hop_limit = 12;
	netwatch_refresh(&b->n, 1);
	settle(b);
	assert_int_equal(b->hop.mtu, 1280);
	assert_int_equal(b->hop.hop_limit, 12);
	b->route.mtu = 9000; /* of the route: more than the device takes */
	pass_time(b, NETWATCH_REFRESH_S * 1000 + 1000);
	assert_int_equal(b->hop.mtu, 1500);
	b->interfaces[0].mtu = 1400;
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	settle(b);
	assert_int_equal(b->hop.mtu, 1400);
}

static void test_neighbor_changes(void **state) {
	struct bed *b = *state;

	watch_one(b);
	memcpy(b->neighbor_mac, mac_other, 6);
	tell_neighbor(b, RTM_NEWNEIGH);
	settle(b); /* at once: no time has passed */
	assert_int_equal(b->changes, 2);
	assert_memory_equal(b->hop.destination, mac_other, 6);

	/* Stale: still good, and asked whether it is. The next question waits. */
	b->neighbor_state = NUD_STALE;
	tell_neighbor(b, RTM_NEWNEIGH);
	settle(b);
	assert_int_equal(b->changes, 2);
	assert_int_equal(b->confirmations, 1);
	assert_memory_equal(&b->probed, &gateway4, sizeof(gateway4));
	tell_neighbor(b, RTM_NEWNEIGH);
	settle(b);
	assert_int_equal(b->confirmations, 1);
	pass_time(b, NETWATCH_PROBE_MIN_MS + 1);
	assert_int_equal(b->confirmations, 2);

	b->neighbor_state = NUD_FAILED;
	tell_neighbor(b, RTM_NEWNEIGH);
	settle(b);
	assert_int_equal(b->reason, NETWATCH_NO_NEIGHBOR);
	assert_int_equal(b->changes, 3);
	b->neighbor_state = NUD_REACHABLE;
	tell_neighbor(b, RTM_NEWNEIGH);
	settle(b);
	assert_int_equal(b->reason, NETWATCH_KNOWN);

	tell_neighbor(b, RTM_DELNEIGH);
	settle(b);
	assert_int_equal(b->reason, NETWATCH_NO_NEIGHBOR);
}

static void test_probe_backoff(void **state) {
	struct bed *b = *state;
	struct address remote = address_of("198.51.100.1:6084");

	b->neighbor_state = 0;
	assert_int_equal(netwatch_watch(&b->n, &remote, NULL, 1), 0);
	settle(b);
	assert_int_equal(b->reason, NETWATCH_NO_NEIGHBOR);
	assert_int_equal(b->probes, 1);
	assert_int_equal(b->confirmations, 0);
	pass_time(b, 1100); /* after 1, 3, 7, 15 and 31 s, then every 30 s */
	assert_int_equal(b->probes, 2);
	pass_time(b, 30000);
	assert_int_equal(b->probes, 6);
	pass_time(b, 300000);
	assert_in_range(b->probes, 15, 17);
	assert_int_equal(b->changes, 1);

	/* An interface that comes back begins anew. While it is down nothing is probed. */
	unsigned probes = b->probes;
	b->interfaces[0].flags = IFF_UP;
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	pass_time(b, 100000);
	assert_int_equal(b->reason, NETWATCH_DOWN);
	assert_int_equal(b->probes, probes);
	b->interfaces[0].flags = UP;
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	settle(b);
	assert_int_equal(b->probes, probes + 1);
}

static void test_neighbor_of_others(void **state) {
	struct bed *b = *state;

	/* Learned by a control plane: a probe would take that mark away. */
	b->neighbor_state = NUD_STALE;
	b->neighbor_flags = NTF_EXT_LEARNED;
	watch_one(b);
	pass_time(b, 100000);
	assert_int_equal(b->probes, 0);
	b->neighbor_flags = NTF_ROUTER;
	tell_neighbor(b, RTM_NEWNEIGH);
	settle(b);
	assert_int_equal(b->probes, 1);
}

/* What is sent is not acknowledged: the address is looked for anew, not too often, and not where the operator has set it. */
static void test_doubt(void **state) {
	struct bed *b = *state;

	watch_one(b);
	netwatch_doubt(&b->n, 99); /* nobody */
	settle(b);
	assert_int_equal(b->probes, 0);
	netwatch_doubt(&b->n, 1);
	settle(b); /* no time passes */
	assert_int_equal(b->forgotten, 1);
	assert_int_equal(b->reason, NETWATCH_NO_NEIGHBOR);
	assert_int_equal(b->probes, 2); /* the second one looks for it */
	assert_int_equal(b->confirmations, 0);
	b->neighbor_state = NUD_REACHABLE;
	memcpy(b->neighbor_mac, mac_other, 6);
	tell_neighbor(b, RTM_NEWNEIGH);
	settle(b);
	assert_int_equal(b->reason, NETWATCH_KNOWN);
	assert_memory_equal(b->hop.destination, mac_other, 6);

	netwatch_doubt(&b->n, 1);
	settle(b);
	assert_int_equal(b->forgotten, 1);
	pass_time(b, NETWATCH_DOUBT_MS);
	netwatch_doubt(&b->n, 1);
	netwatch_doubt(&b->n, 1);
	settle(b);
	assert_int_equal(b->forgotten, 2);

	/* Not one that the operator has set, nor that of another program. */
	b->neighbor_state = NUD_PERMANENT;
	tell_neighbor(b, RTM_NEWNEIGH);
	pass_time(b, NETWATCH_DOUBT_MS);
	netwatch_doubt(&b->n, 1);
	settle(b);
	b->neighbor_state = NUD_REACHABLE;
	b->neighbor_flags = NTF_EXT_LEARNED;
	tell_neighbor(b, RTM_NEWNEIGH);
	netwatch_doubt(&b->n, 1);
	settle(b);
	assert_int_equal(b->forgotten, 2);
	assert_int_equal(b->reason, NETWATCH_KNOWN);
}

/* Without the capability the kernel refuses once, and is not asked again. */
static void test_doubt_refused(void **state) {
	struct bed *b = *state;

	watch_one(b);
	b->probe_error = -EPERM;
	netwatch_doubt(&b->n, 1);
	settle(b);
	pass_time(b, NETWATCH_DOUBT_MS);
	netwatch_doubt(&b->n, 1);
	settle(b);
	assert_int_equal(b->probes, 1);
	assert_int_equal(b->reason, NETWATCH_KNOWN);
}

static void test_probe_refused(void **state) {
	struct bed *b = *state;
	struct netwatch_statistics statistics;

	b->neighbor_state = NUD_STALE;
	b->probe_error = -EPERM;
	watch_one(b);
	pass_time(b, 100000);
	assert_int_equal(b->probes, 1);
	netwatch_statistics(&b->n, &statistics);
	assert_true(statistics.probing_refused);
	assert_int_equal(statistics.known, 1);
}

static void test_link_changes(void **state) {
	struct bed *b = *state;

	watch_one(b);
	b->interfaces[0].flags = IFF_UP;
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	netwatch_turn(&b->n);
	assert_int_equal(b->reason, NETWATCH_DOWN); /* before anything was asked */
	b->route_error = -ENETUNREACH;
	pass_time(b, 1000);
	assert_int_equal(b->reason, NETWATCH_NO_ROUTE);
	assert_int_equal(b->interface_changes, 1); /* the program stays where it is */
	b->interfaces[0].flags = UP;
	b->route_error = 0;
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	pass_time(b, 1000);
	assert_int_equal(b->reason, NETWATCH_KNOWN);

	b->interfaces[0].mac[5] = 99;
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	settle(b);
	assert_int_equal(b->hop.source[5], 99);

	/* Another interface with the same number is another interface. */
	tell_link(b, &b->interfaces[0], RTM_DELLINK);
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	pass_time(b, 1000);
	assert_int_equal(b->interface_changes, 2);
	tell_link(b, &b->interfaces[0], RTM_DELLINK);
	settle(b);
	assert_int_equal(b->reason, NETWATCH_UNSUPPORTED);
	pass_time(b, 1000);
	assert_int_equal(b->interface_changes, 3);
}

static void test_route_changes(void **state) {
	struct bed *b = *state;
	struct address other = address_of("203.0.113.1:6084"), other6 = address_of("[2001:db8::1]:6084");

	watch_one(b);
	assert_int_equal(netwatch_watch(&b->n, &other, NULL, 2), 0);
	assert_int_equal(netwatch_watch(&b->n, &other6, NULL, 6), 0);
	settle(b);
	unsigned asked = b->asked_routes;

	/* A burst about one prefix: one question, for the watch that it is about. */
	b->route.ifindex = WAN;
	for (unsigned i = 0; i < NETWATCH_PREFIXES_MAX; i++)
		tell_route(b, "198.51.100.0", 24);
	settle(b);
	assert_int_equal(b->asked_routes, asked);
	pass_time(b, NETWATCH_SETTLE_MS + 1);
	assert_int_equal(b->asked_routes, asked + 1);
	assert_int_equal(b->changed_id, 1);
	assert_int_equal(b->hop.ifindex, WAN);
	assert_int_equal(b->hop.mtu, 1492);

	/* About many: all of that family. The next pass keeps its distance. */
	for (unsigned i = 0; i < 1000; i++)
		tell_route(b, "100.64.0.0", 10);
	pass_time(b, NETWATCH_SETTLE_MS + 1);
	assert_int_equal(b->asked_routes, asked + 1);
	pass_time(b, NETWATCH_PASS_GAP_MS);
	assert_int_equal(b->asked_routes, asked + 3);
	tell_route(b, "0.0.0.0", 0);
	pass_time(b, 1000);
	assert_int_equal(b->asked_routes, asked + 5);
	tell_route(b, "2001:db8::", 31);
	tell_route(b, "2001:db8:1::", 48);
	pass_time(b, 1000);
	assert_int_equal(b->asked_routes, asked + 6);

	/* Rules and next hop objects. */
	struct message m;
	struct nlmsghdr *header = begin(&m, RTM_NEWRULE, 0, 0, 0);
	((struct rtmsg *)mnl_nlmsg_put_extra_header(header, sizeof(struct rtmsg)))->rtm_family = AF_INET;
	m.length = header->nlmsg_len;
	tell(b, &m);
	pass_time(b, 1000);
	assert_int_equal(b->asked_routes, asked + 8);
	header = begin(&m, RTM_NEWNEXTHOP, 0, 0, 0);
	m.length = header->nlmsg_len;
	tell(b, &m);
	pass_time(b, 1000);
	assert_int_equal(b->asked_routes, asked + 11);
}

static void test_route_kinds(void **state) {
	struct bed *b = *state;
	static const struct {
		uint8_t type;
		enum netwatch_reason reason;
	} cases[] = {{RTN_LOCAL, NETWATCH_LOCAL},	    {RTN_BROADCAST, NETWATCH_UNSUPPORTED},
		     {RTN_MULTICAST, NETWATCH_UNSUPPORTED}, {RTN_UNREACHABLE, NETWATCH_NO_ROUTE},
		     {RTN_BLACKHOLE, NETWATCH_NO_ROUTE},    {RTN_PROHIBIT, NETWATCH_NO_ROUTE},
		     {RTN_UNICAST, NETWATCH_KNOWN}};

	watch_one(b);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		b->route.type = cases[i].type;
		netwatch_refresh(&b->n, 1);
		settle(b);
		assert_int_equal(b->reason, cases[i].reason);
	}
	b->route.encapsulated = true;
	netwatch_refresh(&b->n, 1);
	settle(b);
	assert_int_equal(b->reason, NETWATCH_UNSUPPORTED);
	b->route.encapsulated = false;
	b->interfaces[0].type = ARPHRD_NONE;
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	pass_time(b, 1000);
	assert_int_equal(b->reason, NETWATCH_UNSUPPORTED);

	/* On-link: the remote address is the neighbor. An IPv4 route may have an IPv6 gateway. */
	b->interfaces[0].type = ARPHRD_ETHER;
	b->route.gateway = (struct netwatch_ip){0};
	b->neighbor_state = NUD_STALE;
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	pass_time(b, 1000);
	assert_int_equal(b->reason, NETWATCH_KNOWN);
	assert_memory_equal(b->probed.octets, ((uint8_t[]){198, 51, 100, 1}), 4);
	b->route.gateway = (struct netwatch_ip){.family = AF_INET6, .octets = {0xfe, 0x80, [15] = 9}};
	netwatch_refresh(&b->n, 1);
	pass_time(b, 1000);
	assert_memory_equal(&b->probed, &b->route.gateway, sizeof(b->probed));
}

static void test_vlan(void **state) {
	struct bed *b = *state;
	struct netwatch_interface interfaces[2];

	b->route.ifindex = VLAN;
	watch_one(b);
	assert_int_equal(b->hop.ifindex, LAN);
	assert_int_equal(b->hop.device, VLAN);
	assert_int_equal(b->hop.vlan, 5 << 13 | 7);
	assert_int_equal(netwatch_interfaces(&b->n, interfaces, 2), 1);
	assert_int_equal(interfaces[0].ifindex, LAN);

	b->interfaces[0].mtu = 1400;
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	settle(b);
	assert_int_equal(b->hop.mtu, 1400);
	b->interfaces[0].flags = 0;
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	settle(b);
	assert_int_equal(b->reason, NETWATCH_DOWN);
	b->interfaces[0].flags = UP;
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);

	/* Provider tags and a VLAN in a VLAN are not for the fast path. */
	b->interfaces[2].protocol = ETH_P_8021AD;
	tell_link(b, &b->interfaces[2], RTM_NEWLINK);
	pass_time(b, 1000);
	assert_int_equal(b->reason, NETWATCH_UNSUPPORTED);
	b->interfaces[2].protocol = ETH_P_8021Q;
	tell_link(b, &b->interfaces[2], RTM_NEWLINK);
	pass_time(b, 1000);
	assert_int_equal(b->reason, NETWATCH_KNOWN);
	b->interfaces[3] = (struct interface){.ifindex = 5,
					      .flags = UP,
					      .mtu = 1500,
					      .parent = VLAN,
					      .type = ARPHRD_ETHER,
					      .vlan = 8,
					      .protocol = ETH_P_8021Q,
					      .kind = "vlan",
					      .name = "lan.7.8"};
	tell_link(b, &b->interfaces[3], RTM_NEWLINK);
	b->route.ifindex = 5;
	pass_time(b, 1000);
	assert_int_equal(b->reason, NETWATCH_UNSUPPORTED);
}

static void test_ipv6(void **state) {
	struct bed *b = *state;
	struct address remote = {.family = AF_INET6, .port = 6084, .octets = {0xfe, 0x80, [15] = 2}}, local = remote;

	local.octets[15] = 1;
	assert_int_equal(netwatch_watch(&b->n, &remote, &local, 1), -EINVAL); /* no interface */
	local.scope = WAN;
	assert_int_equal(netwatch_watch(&b->n, &remote, &local, 1), -EINVAL);
	local.scope = 0;
	remote.scope = LAN;
	b->route = (struct netwatch_route){.family = AF_INET6, .type = RTN_UNICAST, .prefix_bits = 128, .ifindex = LAN};
	b->address_count = 2;
	b->addresses[1] = (struct netwatch_local){.ifindex = WAN, .address = {.family = AF_INET6}, .usable = true};
	memcpy(b->addresses[1].address.octets, local.octets, 16);
	assert_int_equal(netwatch_watch(&b->n, &remote, &local, 1), 0);
	settle(b);
	assert_int_equal(b->reason, NETWATCH_NO_ADDRESS); /* the same address, but on another interface */

	struct message m;
	b->addresses[1].ifindex = LAN;
	b->addresses[1].usable = false; /* not yet ours: duplicate address detection */
	address_message(&m, &b->addresses[1], RTM_NEWADDR, 0, 0);
	tell(b, &m);
	pass_time(b, 1000);
	assert_int_equal(b->reason, NETWATCH_NO_ADDRESS);
	b->addresses[1].usable = true;
	address_message(&m, &b->addresses[1], RTM_NEWADDR, 0, 0);
	tell(b, &m);
	pass_time(b, 1000);
	assert_int_equal(b->reason, NETWATCH_KNOWN);
	assert_int_equal(b->hop.hop_limit, 61);
	b->interfaces[0].mtu6 = 1300;
	tell_link(b, &b->interfaces[0], RTM_NEWLINK);
	settle(b);
	assert_int_equal(b->hop.mtu, 1300);
}

static void test_address_changes(void **state) {
	struct bed *b = *state;
	struct netwatch_local elsewhere = {.ifindex = WAN, .address = here4, .usable = true};
	struct netwatch_interface interfaces[4];
	struct message m;

	watch_one(b);
	/* On two interfaces: one of them suffices, and datagrams may come in at both. */
	address_message(&m, &elsewhere, RTM_NEWADDR, 0, 0);
	tell(b, &m);
	settle(b);
	assert_int_equal(netwatch_interfaces(&b->n, interfaces, 4), 2);
	assert_int_equal(b->interface_changes, 2);
	address_message(&m, &b->addresses[0], RTM_DELADDR, 0, 0);
	tell(b, &m);
	settle(b);
	assert_int_equal(b->changes, 1);
	address_message(&m, &elsewhere, RTM_DELADDR, 0, 0);
	tell(b, &m);
	settle(b);
	assert_int_equal(b->reason, NETWATCH_NO_ADDRESS);
	address_message(&m, &b->addresses[0], RTM_NEWADDR, 0, 0);
	tell(b, &m);
	settle(b);
	assert_int_equal(b->reason, NETWATCH_KNOWN);
}

static void test_overrun(void **state) {
	struct bed *b = *state;
	struct netwatch_statistics statistics;

	watch_one(b);
	pass_time(b, 1000);
	assert_int_equal(b->dumps, 2);
	/* Everything changed, and nobody said so. */
	b->interface_count = 2;
	b->interfaces[0].mtu = 1300;
	memcpy(b->neighbor_mac, mac_other, 6);
	netwatch_lost(&b->n);
	assert_int_equal(b->changes, 1); /* until everything is read again, what was known stands */
	settle(b);
	assert_int_equal(b->dumps, 4);
	assert_int_equal(b->hop.mtu, 1300);
	assert_memory_equal(b->hop.destination, mac_other, 6);
	b->address_count = 0;
	netwatch_lost(&b->n);
	netwatch_lost(&b->n);
	settle(b);
	assert_int_equal(b->dumps, 4); /* not at once again */
	pass_time(b, NETWATCH_RESYNC_GAP_MS + 1);
	assert_int_equal(b->dumps, 6);
	assert_int_equal(b->reason, NETWATCH_NO_ADDRESS);
	netwatch_statistics(&b->n, &statistics);
	assert_int_equal(statistics.overruns, 3);
	assert_int_equal(statistics.synchronizations, 3);
	assert_int_equal(statistics.devices, 2);
	assert_int_equal(statistics.addresses, 0);
	assert_int_equal(statistics.malformed, 0);
}

static void test_dump_trouble(void **state) {
	struct bed *b = *state;
	struct address remote = address_of("198.51.100.1:6084");

	b->interrupted = true;
	assert_int_equal(netwatch_watch(&b->n, &remote, NULL, 1), 0);
	settle(b);
	assert_int_equal(b->changes, 0);
	b->dump_error = -EBUSY;
	pass_time(b, NETWATCH_RESYNC_GAP_MS + 1);
	assert_int_equal(b->changes, 0);
	b->dump_error = 0;
	b->send_error = -ENOBUFS;
	pass_time(b, NETWATCH_RESYNC_GAP_MS + 1);
	assert_int_equal(b->changes, 0);
	b->send_error = 0;
	pass_time(b, NETWATCH_RESYNC_GAP_MS + 1);
	assert_int_equal(b->reason, NETWATCH_KNOWN);

	/* Requests that cannot be sent wait; answers that do not come make it read everything again. */
	unsigned asked = b->asked_routes, dumps = b->dumps;
	b->send_error = -ENOBUFS;
	netwatch_refresh(&b->n, 1);
	settle(b);
	b->send_error = 0;
	pass_time(b, 1000);
	assert_int_equal(b->asked_routes, asked + 1);
	b->mute = true;
	netwatch_refresh(&b->n, 1);
	pass_time(b, NETWATCH_ANSWER_S * 1000 - 1);
	b->mute = false;
	assert_int_equal(b->dumps, dumps);
	pass_time(b, 1000);
	assert_int_equal(b->dumps, dumps + 2);
	assert_int_equal(b->asked_routes, asked + 2);
}

static void test_bounds(void **state) {
	struct bed *b = *state;
	struct address remote = address_of("198.51.100.1:6084"), other = address_of("[2001:db8::1]:6084"), none = {0};
	struct netwatch_statistics statistics;

	assert_int_equal(netwatch_watch(&b->n, &none, NULL, 0), -EINVAL);
	assert_int_equal(netwatch_watch(&b->n, &remote, &other, 0), -EINVAL);
	for (uint64_t id = 0; id < NETWATCH_WATCHES_MAX; id++)
		assert_int_equal(netwatch_watch(&b->n, &remote, &none, id), 0);
	assert_int_equal(netwatch_watch(&b->n, &remote, NULL, 5), -EEXIST);
	assert_int_equal(netwatch_watch(&b->n, &remote, NULL, NETWATCH_WATCHES_MAX), -ENOSPC);
	settle(b);
	assert_int_equal(b->changes, NETWATCH_WATCHES_MAX);
	netwatch_statistics(&b->n, &statistics);
	assert_int_equal(statistics.known, NETWATCH_WATCHES_MAX);
	assert_int_equal(statistics.neighbors, 1);
	assert_int_equal(b->asked_neighbors, 1);

	/* All have the same neighbor. Reports are spread over turns. */
	memcpy(b->neighbor_mac, mac_other, 6);
	tell_neighbor(b, RTM_NEWNEIGH);
	netwatch_turn(&b->n);
	assert_int_equal(b->changes, NETWATCH_WATCHES_MAX + NETWATCH_REPORTS_PER_TURN);
	settle(b);
	assert_int_equal(b->changes, 2 * NETWATCH_WATCHES_MAX);

	/* Questions are asked a few at a time. */
	tell_route(b, "0.0.0.0", 0);
	b->mute = true;
	b->runtime.now_us += NETWATCH_PASS_GAP_MS * USEC_PER_MSEC;
	runtime_fire(&b->runtime);
	netwatch_turn(&b->n);
	assert_int_equal(b->request_count, NETWATCH_QUERIES_MAX);
	b->request_count = 0;
}

static void test_device_bound(void **state) {
	struct bed *b = *state;
	struct netwatch_statistics statistics;
	struct netwatch_local local = {.ifindex = LAN, .address = {.family = AF_INET, .octets = {100, 64}}, .usable = true};
	struct interface interface = b->interfaces[1];
	struct message m;

	settle(b);
	for (uint32_t i = 0; i < NETWATCH_DEVICES_MAX + 10; i++) {
		interface.ifindex = 100 + i;
		tell_link(b, &interface, RTM_NEWLINK);
	}
	for (uint32_t i = 0; i < NETWATCH_ADDRESSES_MAX + 10; i++) {
		local.address.octets[2] = (uint8_t)(i >> 8);
		local.address.octets[3] = (uint8_t)i;
		address_message(&m, &local, RTM_NEWADDR, 0, 0);
		tell(b, &m);
	}
	for (uint32_t i = 0; i < NETWATCH_ADDRESS_PLACES + 5; i++) {
		local.ifindex = 100 + i;
		address_message(&m, &local, RTM_NEWADDR, 0, 0);
		tell(b, &m);
	}
	netwatch_statistics(&b->n, &statistics);
	assert_int_equal(statistics.devices, NETWATCH_DEVICES_MAX);
	assert_int_equal(statistics.addresses, NETWATCH_ADDRESSES_MAX);
}

static void test_unwatch_inside(void **state) {
	struct bed *b = *state;
	struct address remote = address_of("198.51.100.1:6084");

	b->unwatch = true;
	for (uint64_t id = 1; id <= 300; id++)
		assert_int_equal(netwatch_watch(&b->n, &remote, NULL, id), 0);
	settle(b);
	assert_int_equal(b->changes, 300);
	assert_null(b->n.watches);
	assert_null(b->n.neighbors);

	/* Gone while the question is open: the answer finds nobody. */
	assert_int_equal(netwatch_watch(&b->n, &remote, NULL, 1), 0);
	netwatch_turn(&b->n);
	assert_int_equal(b->request_count, 1);
	netwatch_unwatch(&b->n, 1);
	settle(b);
	assert_int_equal(b->changes, 300);
}

/* Messages that look like others. */
static void test_lookalikes(void **state) {
	struct bed *b = *state;
	struct message m;

	watch_one(b);
	/* A port left its bridge: not the end of the interface. */
	link_message(&m, &b->interfaces[0], RTM_DELLINK, 0, 0);
	((struct ifinfomsg *)mnl_nlmsg_get_payload((void *)m.octets))->ifi_family = AF_BRIDGE;
	tell(b, &m);
	/* A wireless event without name and MTU. */
	struct nlmsghdr *header = begin(&m, RTM_NEWLINK, 0, 0, 0);
	((struct ifinfomsg *)mnl_nlmsg_put_extra_header(header, sizeof(struct ifinfomsg)))->ifi_index = LAN;
	mnl_attr_put(header, IFLA_WIRELESS, 0, "");
	m.length = header->nlmsg_len;
	tell(b, &m);
	/* An entry of a bridge's forwarding database, a proxy entry, another address, another interface. */
	memcpy(b->neighbor_mac, mac_other, 6);
	struct neighbor_key key = {.ifindex = LAN, .address = gateway4};
	neighbor_message(&m, b, &key, RTM_NEWNEIGH, 0, 0);
	((struct ndmsg *)mnl_nlmsg_get_payload((void *)m.octets))->ndm_family = AF_BRIDGE;
	tell(b, &m);
	b->neighbor_flags = NTF_PROXY;
	tell_neighbor(b, RTM_NEWNEIGH);
	b->neighbor_flags = 0;
	key.address.octets[3] = 1;
	neighbor_message(&m, b, &key, RTM_NEWNEIGH, 0, 0);
	tell(b, &m);
	key = (struct neighbor_key){.ifindex = WAN, .address = gateway4};
	neighbor_message(&m, b, &key, RTM_NEWNEIGH, 0, 0);
	tell(b, &m);
	/* An answer to somebody else, with a number of ours. */
	b->mute = true;
	netwatch_refresh(&b->n, 1);
	netwatch_turn(&b->n);
	struct nlmsghdr *request = (void *)b->requests[b->request_count - 1].octets;
	b->route.type = RTN_LOCAL;
	route_message(&m, &b->route, RTM_NEWROUTE, PORT + 1, request->nlmsg_seq);
	tell(b, &m);
	netwatch_turn(&b->n);
	assert_int_equal(b->changes, 1);
	b->request_count = 0;
}

static void test_malformed(void **state) {
	struct bed *b = *state;
	struct message m;
	uint16_t type;
	struct netwatch_link link;
	struct netwatch_local local;
	struct netwatch_route route;
	struct netwatch_neighbor_state neighbor;
	struct nlmsghdr *header = (void *)m.octets;
	int status;

	watch_one(b);
	uint64_t malformed = b->n.statistics.malformed;
	/* Lengths that are not the right ones. */
	begin(&m, RTM_NEWADDR, 0, 0, 0);
	((struct ifaddrmsg *)mnl_nlmsg_put_extra_header(header, sizeof(struct ifaddrmsg)))->ifa_family = AF_INET;
	((struct ifaddrmsg *)mnl_nlmsg_get_payload(header))->ifa_index = LAN;
	assert_int_equal(netwatch_read_address(header, &local), -EBADMSG); /* no address */
	mnl_attr_put(header, IFA_LOCAL, 16, here4.octets);
	assert_int_equal(netwatch_read_address(header, &local), -EBADMSG);
	begin(&m, RTM_NEWROUTE, 0, 0, 0);
	((struct rtmsg *)mnl_nlmsg_put_extra_header(header, sizeof(struct rtmsg)))->rtm_family = AF_INET;
	assert_int_equal(netwatch_read_route(header, &route), 0);
	((struct rtmsg *)mnl_nlmsg_get_payload(header))->rtm_dst_len = 33;
	assert_int_equal(netwatch_read_route(header, &route), -EBADMSG);
	((struct rtmsg *)mnl_nlmsg_get_payload(header))->rtm_dst_len = 0;
	mnl_attr_put(header, RTA_VIA, 5, "\2\0\1\1\1");
	assert_int_equal(netwatch_read_route(header, &route), -EBADMSG);
	begin(&m, RTM_NEWROUTE, 0, 0, 0);
	((struct rtmsg *)mnl_nlmsg_put_extra_header(header, sizeof(struct rtmsg)))->rtm_family = AF_INET6;
	mnl_attr_put_u16(header, RTA_OIF, LAN);
	assert_int_equal(netwatch_read_route(header, &route), -EBADMSG);
	begin(&m, RTM_NEWNEIGH, 0, 0, 0);
	((struct ndmsg *)mnl_nlmsg_put_extra_header(header, sizeof(struct ndmsg)))->ndm_family = AF_INET6;
	((struct ndmsg *)mnl_nlmsg_get_payload(header))->ndm_ifindex = LAN;
	mnl_attr_put(header, NDA_DST, 4, here4.octets);
	assert_int_equal(netwatch_read_neighbor(header, &neighbor), -EBADMSG);
	begin(&m, RTM_NEWLINK, 0, 0, 0);
	((struct ifinfomsg *)mnl_nlmsg_put_extra_header(header, sizeof(struct ifinfomsg)))->ifi_index = LAN;
	mnl_attr_put_u32(header, IFLA_MTU, 1500);
	mnl_attr_put(header, IFLA_IFNAME, 3, "lan"); /* no zero octet */
	assert_int_equal(netwatch_read_link(header, &link), -EBADMSG);
	begin(&m, RTM_NEWRULE, 0, 0, 0);
	assert_int_equal(netwatch_read_rule(header, &type), -EBADMSG);
	status_message(&m, NLMSG_ERROR, 5, 0, 1);
	assert_int_equal(netwatch_read_status(header, &status), -EBADMSG);

	/* Cut at every length, with a header that knows and with one that does not. */
	for (unsigned which = 0; which < 5; which++) {
		struct message cut;
		struct neighbor_key key = {.ifindex = LAN, .address = gateway4};

		switch (which) {
		case 0:
			link_message(&m, &b->interfaces[2], RTM_NEWLINK, 0, 0);
			break;
		case 1:
			address_message(&m, &b->addresses[0], RTM_NEWADDR, 0, 0);
			break;
		case 2:
			route_message(&m, &b->route, RTM_NEWROUTE, 0, 0);
			break;
		case 3:
			neighbor_message(&m, b, &key, RTM_NEWNEIGH, 0, 0);
			break;
		default:
			status_message(&m, NLMSG_ERROR, -ENOENT, 0, 3);
		}
		for (size_t length = 1; length < m.length; length++) {
			cut = m;
			cut.length = length;
			malformed = b->n.statistics.malformed;
			tell(b, &cut);
			assert_int_equal(b->n.statistics.malformed, malformed + 1);
			if (length >= sizeof(struct nlmsghdr)) {
				((struct nlmsghdr *)(void *)cut.octets)->nlmsg_len = (uint32_t)length;
				tell(b, &cut);
			}
		}
	}
	settle(b);
}

/* Whatever a datagram holds, nothing breaks; afterwards, with everything read again, the hop is right. */
static void test_mutated(void **state) {
	struct bed *b = *state;
	uint64_t random = 7;
	struct message m;
	struct neighbor_key key = {.ifindex = LAN, .address = gateway4};

	watch_one(b);
	for (unsigned round = 0; round < 20000; round++) {
		switch (round % 6) {
		case 0:
			link_message(&m, &b->interfaces[round / 6 % 3], RTM_NEWLINK, 0, 0);
			break;
		case 1:
			address_message(&m, &b->addresses[0], RTM_NEWADDR, 0, 0);
			break;
		case 2:
			route_message(&m, &b->route, RTM_NEWROUTE, PORT, b->n.sequence);
			break;
		case 3:
			neighbor_message(&m, b, &key, RTM_NEWNEIGH, PORT, b->n.sequence);
			break;
		case 4:
			status_message(&m, NLMSG_DONE, 0, 0, b->n.sequence);
			break;
		default:
			link_message(&m, &b->interfaces[2], RTM_NEWLINK, PORT, b->n.sequence);
		}
		for (unsigned changes = 1 + round % 4; changes > 0; changes--) {
			random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			size_t from = round % 3 == 0 ? 0 : 16;
			m.octets[from + (random >> 33) % (m.length - from)] = (uint8_t)(random >> 20);
		}
		tell(b, &m);
		if (round % 16 == 0)
			pass_time(b, 20);
	}
	assert_true(b->n.statistics.malformed > 1000);
	netwatch_lost(&b->n);
	pass_time(b, 2 * NETWATCH_RESYNC_GAP_MS);
	settle(b);
	assert_int_equal(netwatch_hop(&b->n, 1, &b->hop), NETWATCH_KNOWN);
	assert_int_equal(b->hop.ifindex, LAN);
	assert_memory_equal(b->hop.destination, mac_near, 6);
	assert_memory_equal(b->hop.source, mac_lan, 6);
	assert_int_equal(b->n.statistics.devices, 3);
}

static void test_prefix(void **state) {
	struct netwatch_ip prefix = {.family = AF_INET, .octets = {198, 51, 100, 0}},
			   address = {.family = AF_INET, .octets = {198, 51, 100, 200}};
	struct netwatch_ip six = {.family = AF_INET6, .octets = {198, 51, 100, 200}};

	(void)state;
	assert_true(netwatch_prefix_holds(&prefix, 0, &address));
	assert_true(netwatch_prefix_holds(&prefix, 24, &address));
	assert_false(netwatch_prefix_holds(&prefix, 25, &address));
	assert_false(netwatch_prefix_holds(&prefix, 32, &address));
	assert_true(netwatch_prefix_holds(&address, 32, &address));
	assert_false(netwatch_prefix_holds(&address, 33, &address));
	assert_true(netwatch_prefix_holds(&six, 128, &six));
	assert_false(netwatch_prefix_holds(&prefix, 0, &six));
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_hop),
		TEST(test_path_mtu),
		TEST(test_neighbor_changes),
		TEST(test_probe_backoff),
		TEST(test_neighbor_of_others),
		TEST(test_doubt),
		TEST(test_doubt_refused),
		TEST(test_probe_refused),
		TEST(test_link_changes),
		TEST(test_route_changes),
		TEST(test_route_kinds),
		TEST(test_vlan),
		TEST(test_ipv6),
		TEST(test_address_changes),
		TEST(test_overrun),
		TEST(test_dump_trouble),
		TEST(test_bounds),
		TEST(test_device_bound),
		TEST(test_unwatch_inside),
		TEST(test_lookalikes),
		TEST(test_malformed),
		TEST(test_mutated),
		cmocka_unit_test(test_prefix),
	};

	return cmocka_run_group_tests_name("netwatch", tests, NULL, NULL);
}
