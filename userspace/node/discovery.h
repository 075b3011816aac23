/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sockets of the local network's ways to find peers: multicast DNS (mdns.h) and the multicast bootstrap address (multicast.h), and
 * the list of interfaces they work on, kept up to date by the kernel's notices. Without either in the settings nothing is opened.
 */
#pragma once

#include "node/mdns.h"
#include "node/multicast.h"
#include "node/node.h"

struct discovery;

/* *ret is NULL when the settings want neither. What cannot be opened is logged and left out: it is one way among several. */
int discovery_new(struct node *node, struct discovery **ret);
struct discovery *discovery_free(struct discovery *discovery);

/* The node looks for the overlay, or not any more. Each call with true sends another question to the multicast address. */
void discovery_search(struct discovery *discovery, bool on);
/* The node is in the overlay and can let others in, or not any more. */
void discovery_announce(struct discovery *discovery, bool on);

struct discovery_figures {
	bool mdns, multicast;
	struct mdns_figures mdns_figures;
	uint64_t multicast_received, multicast_limited, multicast_refused, multicast_answered, multicast_found;
};
/* NULL is allowed. */
void discovery_figures(const struct discovery *discovery, struct discovery_figures *ret);
