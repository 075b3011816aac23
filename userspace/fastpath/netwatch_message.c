/* SPDX-License-Identifier: BSD-2-Clause */
#include "fastpath/netwatch_message.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

enum { ATTRIBUTES_MAX = 64, MTU_MAX = 65535 };

/* Places of the array in IFLA_INET6_CONF (linux/ipv6.h, which does not go together with netinet/in.h). */
enum { CONF6_HOP_LIMIT = 1, CONF6_MTU = 2, CONF6_COUNT = 3 };

struct attributes {
	const struct nlattr *of[ATTRIBUTES_MAX];
};

/* Not mnl_nlmsg_ok(), to which a length of 2^31 and more is a negative one, which fits. */
bool netwatch_message_ok(const struct nlmsghdr *header, size_t length) {
	/* The kernel pads what it sends; what is not padded would let the last attribute reach beyond the end. */
	return length >= sizeof(*header) && header->nlmsg_len >= sizeof(*header) && header->nlmsg_len <= length &&
	       header->nlmsg_len % MNL_ALIGNTO == 0;
}

/* Attributes in `length` octets; of a repeated one the last counts. */
static int attributes_read(const struct nlattr *first, size_t length, struct attributes *ret) {
	int left = (int)length;

	memset(ret, 0, sizeof(*ret));
	for (const struct nlattr *attribute = first; left > 0; attribute = mnl_attr_next(attribute)) {
		if (!mnl_attr_ok(attribute, left))
			return -EBADMSG;
		if (mnl_attr_get_type(attribute) < ATTRIBUTES_MAX)
			ret->of[mnl_attr_get_type(attribute)] = attribute;
		left -= MNL_ALIGN(attribute->nla_len);
	}
	return 0;
}

/* The fixed part of a message, and its attributes. */
static int message_read(const struct nlmsghdr *header, size_t fixed, struct attributes *ret) {
	size_t payload = mnl_nlmsg_get_payload_len(header);

	if (payload < MNL_ALIGN(fixed))
		return -EBADMSG;
	return attributes_read(mnl_nlmsg_get_payload_offset(header, fixed), payload - MNL_ALIGN(fixed), ret);
}

static int nested_read(const struct nlattr *attribute, struct attributes *ret) {
	return attributes_read(mnl_attr_get_payload(attribute), mnl_attr_get_payload_len(attribute), ret);
}

static int take_u32(const struct nlattr *attribute, uint32_t *ret) {
	if (!attribute)
		return 0;
	if (mnl_attr_get_payload_len(attribute) != sizeof(uint32_t))
		return -EBADMSG;
	*ret = mnl_attr_get_u32(attribute);
	return 0;
}

static int take_u16(const struct nlattr *attribute, uint16_t *ret) {
	if (!attribute)
		return 0;
	if (mnl_attr_get_payload_len(attribute) != sizeof(uint16_t))
		return -EBADMSG;
	*ret = mnl_attr_get_u16(attribute);
	return 0;
}

/* A name with its closing zero octet, of fewer than `size` characters. */
static int take_name(const struct nlattr *attribute, char *ret, size_t size) {
	if (!attribute)
		return 0;
	size_t length = mnl_attr_get_payload_len(attribute);
	const char *name = mnl_attr_get_payload(attribute);
	size_t used = strnlen(name, length);
	if (used == length)
		return -EBADMSG;
	memset(ret, 0, size);
	memcpy(ret, name, used < size ? used : size - 1);
	return 0;
}

static size_t ip_length(uint16_t family) {
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

static int take_ip(const struct nlattr *attribute, uint16_t family, struct netwatch_ip *ret) {
	if (!attribute)
		return 0;
	if (ip_length(family) == 0 || mnl_attr_get_payload_len(attribute) != ip_length(family))
		return -EBADMSG;
	*ret = (struct netwatch_ip){.family = family};
	memcpy(ret->octets, mnl_attr_get_payload(attribute), ip_length(family));
	return 0;
}

/* The address of a gateway of another family than the route's (RFC 8950). */
static int take_via(const struct nlattr *attribute, struct netwatch_ip *ret) {
	struct {
		uint16_t family;
		uint8_t octets[16];
	} via = {0};

	if (!attribute)
		return 0;
	size_t length = mnl_attr_get_payload_len(attribute);
	if (length < sizeof(via.family) || length > sizeof(via))
		return -EBADMSG;
	memcpy(&via, mnl_attr_get_payload(attribute), length);
	if (ip_length(via.family) == 0 || length != sizeof(via.family) + ip_length(via.family))
		return -EBADMSG;
	*ret = (struct netwatch_ip){.family = via.family};
	memcpy(ret->octets, via.octets, ip_length(via.family));
	return 0;
}

static bool take_mac(const struct nlattr *attribute, uint8_t ret[static ETH_ALEN]) {
	if (!attribute || mnl_attr_get_payload_len(attribute) != ETH_ALEN)
		return false;
	memcpy(ret, mnl_attr_get_payload(attribute), ETH_ALEN);
	return true;
}

/* Priority bits that a VLAN device gives packets of priority 0, which ours have. */
static int egress_priority(const struct nlattr *map, uint16_t *ret) {
	int left = (int)mnl_attr_get_payload_len(map);

	for (const struct nlattr *at = mnl_attr_get_payload(map); left > 0; at = mnl_attr_next(at)) {
		struct ifla_vlan_qos_mapping mapping;

		if (!mnl_attr_ok(at, left))
			return -EBADMSG;
		left -= MNL_ALIGN(at->nla_len);
		if (mnl_attr_get_type(at) != IFLA_VLAN_QOS_MAPPING)
			continue;
		if (mnl_attr_get_payload_len(at) != sizeof(mapping))
			return -EBADMSG;
		memcpy(&mapping, mnl_attr_get_payload(at), sizeof(mapping));
		if (mapping.from == 0)
			*ret = mapping.to & 7;
	}
	return 0;
}

static int read_vlan(const struct nlattr *data, struct netwatch_link *link) {
	struct attributes vlan;
	uint16_t id = 0, protocol = 0, priority = 0;

	if (!data || nested_read(data, &vlan) < 0 || !vlan.of[IFLA_VLAN_ID] || take_u16(vlan.of[IFLA_VLAN_ID], &id) < 0 ||
	    take_u16(vlan.of[IFLA_VLAN_PROTOCOL], &protocol) < 0 || id > 4095)
		return -EBADMSG;
	if (vlan.of[IFLA_VLAN_EGRESS_QOS] && egress_priority(vlan.of[IFLA_VLAN_EGRESS_QOS], &priority) < 0)
		return -EBADMSG;
	link->vlan = (uint16_t)(priority << 13 | id);
	link->is_tag_plain = !vlan.of[IFLA_VLAN_PROTOCOL] || protocol == htons(ETH_P_8021Q);
	return 0;
}

static int read_link_info(const struct nlattr *attribute, struct netwatch_link *link) {
	struct attributes info;

	if (!attribute)
		return 0;
	if (nested_read(attribute, &info) < 0 || take_name(info.of[IFLA_INFO_KIND], link->kind, sizeof(link->kind)) < 0)
		return -EBADMSG;
	link->is_vlan = strcmp(link->kind, "vlan") == 0;
	return link->is_vlan ? read_vlan(info.of[IFLA_INFO_DATA], link) : 0;
}

/* IPv6 has its own idea of the MTU and of the hop limit of an interface. */
static int read_link_inet6(const struct nlattr *attribute, struct netwatch_link *link) {
	struct attributes families, inet6;
	int32_t values[CONF6_COUNT];

	if (!attribute)
		return 0;
	if (nested_read(attribute, &families) < 0)
		return -EBADMSG;
	if (!families.of[AF_INET6])
		return 0;
	if (nested_read(families.of[AF_INET6], &inet6) < 0)
		return -EBADMSG;
	const struct nlattr *conf = inet6.of[IFLA_INET6_CONF];
	if (!conf || mnl_attr_get_payload_len(conf) < sizeof(values))
		return 0;
	memcpy(values, mnl_attr_get_payload(conf), sizeof(values));
	if (values[CONF6_HOP_LIMIT] > 0 && values[CONF6_HOP_LIMIT] <= UINT8_MAX)
		link->hop_limit6 = (uint8_t)values[CONF6_HOP_LIMIT];
	if (values[CONF6_MTU] > 0)
		link->mtu6 = values[CONF6_MTU] < MTU_MAX ? (uint32_t)values[CONF6_MTU] : MTU_MAX;
	return 0;
}

int netwatch_read_link(const struct nlmsghdr *header, struct netwatch_link *ret) {
	struct attributes a;
	struct netwatch_link link;

	memset(&link, 0, sizeof(link));
	if (message_read(header, sizeof(struct ifinfomsg), &a) < 0)
		return -EBADMSG;
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(header);
	if (info->ifi_index <= 0)
		return -EBADMSG;
	/* Messages of bridge ports have the same type; that a port leaves its bridge would look like the end of the interface. */
	if (info->ifi_family != AF_UNSPEC)
		return -ENODATA;
	link.ifindex = (uint32_t)info->ifi_index;
	link.flags = info->ifi_flags;
	link.type = info->ifi_type;
	/* Events of wireless drivers say nothing but what happened in the air. */
	if (header->nlmsg_type == RTM_NEWLINK && (!a.of[IFLA_IFNAME] || !a.of[IFLA_MTU]))
		return -ENODATA;
	if (take_name(a.of[IFLA_IFNAME], link.name, sizeof(link.name)) < 0 || take_u32(a.of[IFLA_MTU], &link.mtu) < 0 ||
	    take_u32(a.of[IFLA_LINK], &link.parent) < 0 || read_link_info(a.of[IFLA_LINKINFO], &link) < 0 ||
	    read_link_inet6(a.of[IFLA_AF_SPEC], &link) < 0)
		return -EBADMSG;
	if (link.mtu > MTU_MAX)
		link.mtu = MTU_MAX;
	if (link.parent == link.ifindex)
		link.parent = 0;
	link.parent_elsewhere = a.of[IFLA_LINK_NETNSID] != NULL;
	link.has_mac = take_mac(a.of[IFLA_ADDRESS], link.mac);
	*ret = link;
	return 0;
}

int netwatch_read_address(const struct nlmsghdr *header, struct netwatch_local *ret) {
	struct attributes a;
	struct netwatch_local local = {0};

	if (message_read(header, sizeof(struct ifaddrmsg), &a) < 0)
		return -EBADMSG;
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(header);
	if (ip_length(info->ifa_family) == 0)
		return -ENODATA;
	/* Of a point-to-point interface IFA_ADDRESS is the other end. */
	const struct nlattr *address = a.of[IFA_LOCAL] ? a.of[IFA_LOCAL] : a.of[IFA_ADDRESS];
	uint32_t flags = info->ifa_flags;
	if (info->ifa_index == 0 || !address || take_ip(address, info->ifa_family, &local.address) < 0 ||
	    take_u32(a.of[IFA_FLAGS], &flags) < 0)
		return -EBADMSG;
	local.ifindex = info->ifa_index;
	local.usable = !(flags & IFA_F_DADFAILED) && (!(flags & IFA_F_TENTATIVE) || flags & IFA_F_OPTIMISTIC);
	*ret = local;
	return 0;
}

int netwatch_read_route(const struct nlmsghdr *header, struct netwatch_route *ret) {
	struct attributes a, metrics;
	struct netwatch_route route = {0};

	if (message_read(header, sizeof(struct rtmsg), &a) < 0)
		return -EBADMSG;
	const struct rtmsg *info = mnl_nlmsg_get_payload(header);
	if (ip_length(info->rtm_family) == 0)
		return -ENODATA;
	route.family = info->rtm_family;
	route.type = info->rtm_type;
	route.prefix_bits = info->rtm_dst_len;
	route.destination.family = route.family;
	if (route.prefix_bits > 8 * ip_length(route.family) || take_ip(a.of[RTA_DST], route.family, &route.destination) < 0 ||
	    take_ip(a.of[RTA_GATEWAY], route.family, &route.gateway) < 0 || take_via(a.of[RTA_VIA], &route.gateway) < 0 ||
	    take_u32(a.of[RTA_OIF], &route.ifindex) < 0)
		return -EBADMSG;
	if (a.of[RTA_METRICS] && (nested_read(a.of[RTA_METRICS], &metrics) < 0 || take_u32(metrics.of[RTAX_MTU], &route.mtu) < 0 ||
				  take_u32(metrics.of[RTAX_HOPLIMIT], &route.hop_limit) < 0))
		return -EBADMSG;
	route.encapsulated = a.of[RTA_ENCAP] || a.of[RTA_NEWDST];
	*ret = route;
	return 0;
}

int netwatch_read_neighbor(const struct nlmsghdr *header, struct netwatch_neighbor_state *ret) {
	struct attributes a;
	struct netwatch_neighbor_state neighbor = {0};

	if (message_read(header, sizeof(struct ndmsg), &a) < 0)
		return -EBADMSG;
	const struct ndmsg *info = mnl_nlmsg_get_payload(header);
	/* AF_BRIDGE: forwarding database. A proxy entry answers for somebody else. */
	if (ip_length(info->ndm_family) == 0 || info->ndm_flags & NTF_PROXY)
		return -ENODATA;
	if (info->ndm_ifindex <= 0 || !a.of[NDA_DST] || take_ip(a.of[NDA_DST], info->ndm_family, &neighbor.address) < 0)
		return -EBADMSG;
	neighbor.ifindex = (uint32_t)info->ndm_ifindex;
	neighbor.state = info->ndm_state;
	neighbor.managed = info->ndm_flags & ~NTF_ROUTER || a.of[NDA_FLAGS_EXT];
	neighbor.has_mac = take_mac(a.of[NDA_LLADDR], neighbor.mac);
	*ret = neighbor;
	return 0;
}

int netwatch_read_rule(const struct nlmsghdr *header, uint16_t *ret) {
	struct attributes a;

	if (message_read(header, sizeof(struct rtmsg), &a) < 0)
		return -EBADMSG;
	const struct rtmsg *info = mnl_nlmsg_get_payload(header);
	if (ip_length(info->rtm_family) == 0)
		return -ENODATA;
	*ret = info->rtm_family;
	return 0;
}

int netwatch_read_status(const struct nlmsghdr *header, int *ret) {
	int32_t status;

	if (mnl_nlmsg_get_payload_len(header) < sizeof(status))
		return -EBADMSG;
	memcpy(&status, mnl_nlmsg_get_payload(header), sizeof(status));
	if (status > 0 || status < -4095)
		return -EBADMSG;
	*ret = status;
	return 0;
}

bool netwatch_prefix_holds(const struct netwatch_ip *prefix, uint8_t bits, const struct netwatch_ip *address) {
	unsigned whole = bits / 8, rest = bits % 8;

	if (prefix->family != address->family || bits > 8 * ip_length(address->family) ||
	    memcmp(prefix->octets, address->octets, whole) != 0)
		return false;
	return rest == 0 || (prefix->octets[whole] ^ address->octets[whole]) >> (8 - rest) == 0;
}

static struct nlmsghdr *request(void *buffer, uint32_t sequence, uint16_t type, uint16_t flags) {
	memset(buffer, 0, NETWATCH_REQUEST_MAX);
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | flags;
	header->nlmsg_seq = sequence;
	return header;
}

size_t netwatch_write_dump(void *buffer, uint32_t sequence, uint16_t type) {
	struct nlmsghdr *header = request(buffer, sequence, type, NLM_F_DUMP);

	if (type == RTM_GETLINK) {
		mnl_nlmsg_put_extra_header(header, sizeof(struct ifinfomsg));
		mnl_attr_put_u32(header, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	} else
		mnl_nlmsg_put_extra_header(header, sizeof(struct ifaddrmsg));
	return header->nlmsg_len;
}

size_t netwatch_write_get_route(void *buffer, uint32_t sequence, const struct address *remote, const struct address *local) {
	struct nlmsghdr *header = request(buffer, sequence, RTM_GETROUTE, 0);
	struct rtmsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));
	size_t length = ip_length(remote->family);
	uint32_t interface = remote->scope != 0 ? remote->scope : local->scope;

	info->rtm_family = (uint8_t)remote->family;
	info->rtm_dst_len = (uint8_t)(8 * length);
	mnl_attr_put(header, RTA_DST, length, remote->octets);
	if (local->family != 0) {
		info->rtm_src_len = (uint8_t)(8 * length);
		mnl_attr_put(header, RTA_SRC, length, local->octets);
	}
	if (interface != 0)
		mnl_attr_put_u32(header, RTA_OIF, interface);
	mnl_attr_put_u8(header, RTA_IP_PROTO, IPPROTO_UDP);
	if (local->port != 0)
		mnl_attr_put_u16(header, RTA_SPORT, htons(local->port));
	if (remote->port != 0)
		mnl_attr_put_u16(header, RTA_DPORT, htons(remote->port));
	return header->nlmsg_len;
}

static struct ndmsg *put_neighbor(struct nlmsghdr *header, uint32_t ifindex, const struct netwatch_ip *address) {
	struct ndmsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));

	info->ndm_family = (uint8_t)address->family;
	info->ndm_ifindex = (int)ifindex;
	mnl_attr_put(header, NDA_DST, ip_length(address->family), address->octets);
	return info;
}

size_t netwatch_write_get_neighbor(void *buffer, uint32_t sequence, uint32_t ifindex, const struct netwatch_ip *address) {
	struct nlmsghdr *header = request(buffer, sequence, RTM_GETNEIGH, 0);

	put_neighbor(header, ifindex, address);
	return header->nlmsg_len;
}

size_t netwatch_write_probe(void *buffer, uint32_t sequence, uint32_t ifindex, const struct netwatch_ip *address,
			    enum netwatch_probe how) {
	bool resolve = how == NETWATCH_PROBE_RESOLVE;
	/* Not NLM_F_REPLACE: it would make the neighbor forget that it is a router. */
	struct nlmsghdr *header = request(buffer, sequence, RTM_NEWNEIGH, resolve ? NLM_F_ACK | NLM_F_CREATE : NLM_F_ACK);
	struct ndmsg *info = put_neighbor(header, ifindex, address);

	if (resolve)
		info->ndm_flags = NTF_USE;
	else
		info->ndm_state = how == NETWATCH_PROBE_FORGET ? NUD_FAILED : NUD_PROBE;
	return header->nlmsg_len;
}
