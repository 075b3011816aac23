/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtnetlink messages, read and written. Pure functions. What they read may be cut or nonsense: lengths are checked, and a message
 * is understood as a whole (0) or not at all: -EBADMSG malformed, -ENODATA well-formed but about nothing that matters here.
 */
#pragma once

#include "base/address.h"

#include <linux/netlink.h>
#include <net/if.h>

enum { NETWATCH_REQUEST_MAX = 256 };

struct netwatch_ip {
	uint16_t family; /* 0: none */
	uint16_t reserved;
	uint8_t octets[16];
};

/* RTM_NEWLINK, RTM_DELLINK. Unused octets are zero, so that states can be compared as memory. */
struct netwatch_link {
	uint32_t ifindex;
	uint32_t flags;	    /* IFF_… */
	uint32_t mtu;	    /* at most 65535 */
	uint32_t mtu6;	    /* of IPv6, 0: unknown */
	uint32_t parent;    /* lower device, 0: none */
	uint16_t type;	    /* ARPHRD_… */
	uint16_t vlan;	    /* tag control of a VLAN device, with the priority that packets of ours get */
	uint8_t hop_limit6; /* 0: unknown */
	uint8_t mac[6];
	bool has_mac;
	bool parent_elsewhere; /* in another network namespace */
	bool is_vlan;
	bool is_tag_plain; /* VLAN of 802.1Q */
	char name[IFNAMSIZ];
	char kind[16];
};

/* RTM_NEWADDR, RTM_DELADDR */
struct netwatch_local {
	uint32_t ifindex;
	struct netwatch_ip address;
	bool usable; /* not tentative, not found to be a duplicate */
};

/* RTM_NEWROUTE, RTM_DELROUTE: an event, or the answer to a question */
struct netwatch_route {
	uint16_t family;
	uint8_t type; /* RTN_… */
	uint8_t prefix_bits;
	struct netwatch_ip destination;
	struct netwatch_ip gateway; /* family 0: on-link; IPv6 for an IPv4 route is possible */
	uint32_t ifindex;	    /* 0: several, or none */
	uint32_t mtu;		    /* path MTU or that of the route, 0: none */
	uint32_t hop_limit;	    /* 0: none */
	bool encapsulated;
};

/* RTM_NEWNEIGH, RTM_DELNEIGH */
struct netwatch_neighbor_state {
	uint32_t ifindex;
	struct netwatch_ip address;
	uint16_t state; /* NUD_… */
	bool has_mac;
	bool managed; /* learned or kept fresh by somebody else: a request of ours would take that mark away */
	uint8_t mac[6];
};

int netwatch_read_link(const struct nlmsghdr *header, struct netwatch_link *ret);
int netwatch_read_address(const struct nlmsghdr *header, struct netwatch_local *ret);
int netwatch_read_route(const struct nlmsghdr *header, struct netwatch_route *ret);
int netwatch_read_neighbor(const struct nlmsghdr *header, struct netwatch_neighbor_state *ret);

/* Family of a rule (RTM_NEWRULE, RTM_DELRULE). */
int netwatch_read_rule(const struct nlmsghdr *header, uint16_t *ret);

/* NLMSG_ERROR and NLMSG_DONE: 0 or the negative errno of the kernel. */
int netwatch_read_status(const struct nlmsghdr *header, int *ret);

/* The first message of `length` octets, and where the next one begins. False: malformed, nothing more can be read. */
bool netwatch_message_ok(const struct nlmsghdr *header, size_t length);

bool netwatch_prefix_holds(const struct netwatch_ip *prefix, uint8_t bits, const struct netwatch_ip *address);

enum netwatch_probe {
	NETWATCH_PROBE_RESOLVE, /* make an entry if there is none, and look for the address */
	NETWATCH_PROBE_CONFIRM, /* an address that is known: still there? */
	NETWATCH_PROBE_FORGET,	/* an address that is known is not to be used any more */
};

/* Requests, written to `buffer` of NETWATCH_REQUEST_MAX octets. Return their length. */
size_t netwatch_write_dump(void *buffer, uint32_t sequence, uint16_t type);
size_t netwatch_write_get_route(void *buffer, uint32_t sequence, const struct address *remote, const struct address *local);
size_t netwatch_write_get_neighbor(void *buffer, uint32_t sequence, uint32_t ifindex, const struct netwatch_ip *address);
size_t netwatch_write_probe(void *buffer, uint32_t sequence, uint32_t ifindex, const struct netwatch_ip *address,
			    enum netwatch_probe how);
