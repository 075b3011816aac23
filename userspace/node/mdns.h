/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Peers on the local network by DNS-SD over multicast DNS (RFC 7890 2.1 names it; RFC 6762, RFC 6763): a peer in the overlay
 * announces itself as NODE-ID._reload._udp.local, one that looks for the overlay browses. A responder of our own rather than avahi
 * or systemd-resolved: the appliance has neither daemon nor message bus, a browser must see whose overlay is meant before it
 * connects, and the little that is needed can be bounded. It shares port 5353 with them where they run. Sans-I/O.
 *
 * Nothing that is received is believed but as a hint where to try a link: only the link's certificates decide. Answers go to the
 * multicast group alone, at most once a second and interface, so that no forged question aims us at anybody; and addresses outside
 * the interface's own networks are not taken, so that no forged answer does.
 */
#pragma once

#include "base/id.h"
#include "base/runtime.h"
#include "node/mdns_message.h"

enum {
	MDNS_INTERFACES_MAX = 16,
	MDNS_ADDRESSES_MAX = 32,       /* of all interfaces */
	MDNS_INSTANCES_MAX = 8,	       /* services of one message that are looked at */
	MDNS_HOSTS_MAX = 16,	       /* addresses of one message that are looked at */
	MDNS_MESSAGES_PER_SECOND = 50, /* read per interface; more are dropped unread */
	MDNS_MESSAGES_BURST = 100,
	MDNS_ANSWER_INTERVAL_MS = 1000, /* between answers on one interface (RFC 6762 6) */
	MDNS_ANSWER_DELAY_MIN_MS = 20,	/* since others may answer too */
	MDNS_ANSWER_DELAY_MAX_MS = 120,
	MDNS_PROBES = 3, /* RFC 6762 8.1 */
	MDNS_PROBE_MS = 250,
	MDNS_ANNOUNCEMENTS = 2,
	MDNS_CONFLICT_S = 60,	     /* after somebody else used our name, until we probe again */
	MDNS_BROWSE_FIRST_MS = 1000, /* between questions; doubles */
	MDNS_BROWSE_MAX_MS = 60000,
	MDNS_TTL_LONG_S = 4500,
	MDNS_TTL_HOST_S = 120,
	MDNS_OUT_MAX = 1400, /* octets of a message we send */
};

struct mdns;

struct mdns_settings {
	struct runtime *runtime;
	const char *overlay;
	struct id node_id;
	uint16_t port; /* of our links */
	void *userdata;
	/* To the multicast group, of both families, on this interface. */
	void (*send)(void *userdata, unsigned interface, struct octets message);
	/* Somebody of our overlay says that it can be reached there. */
	void (*found)(void *userdata, const struct address *address);
};

/* -EINVAL: the overlay's name is too long for a TXT record. */
int mdns_new(const struct mdns_settings *settings, struct mdns **ret);
struct mdns *mdns_free(struct mdns *mdns); /* without a word: mdns_announce(…, false) says good-bye */

struct mdns_address {
	unsigned interface;
	struct address address; /* without a port */
	unsigned bits;		/* of the network */
	bool offered;		/* our links listen there */
};
/* The interfaces' addresses of now; more than MDNS_ADDRESSES_MAX are left out. */
void mdns_set_addresses(struct mdns *mdns, const struct mdns_address *addresses, size_t count);

/* Announces us, after asking whether somebody else has our name; or says good-bye. */
void mdns_announce(struct mdns *mdns, bool on);
void mdns_browse(struct mdns *mdns, bool on);

void mdns_receive(struct mdns *mdns, unsigned interface, const struct address *from, struct octets message);

struct mdns_figures {
	uint64_t received, limited, malformed, off_link, other_overlay, found, answers, conflicts;
};
const struct mdns_figures *mdns_figures(const struct mdns *mdns);
