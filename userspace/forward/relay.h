/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bootstrap server's relaying (RFC 7890, "Bootstrap Server"): a node outside the ring passes what a joining peer needs to the
 * bootstrap peers it is attached to, and the answers back; nothing between two joining peers, and nothing between two peers. Each
 * message that arrives leaves at most once, so nobody's traffic is amplified.
 */
#pragma once

#include "forward/router.h"

enum {
	RELAY_LINKS_MAX = 512,	  /* links of joining peers; more are closed at once */
	RELAY_IDLE_S = 60,	  /* a joining peer that says nothing for so long is disconnected */
	RELAY_AGE_S = 600,	  /* and any after so long: who has joined needs us no more */
	RELAY_BURST = 64,	  /* messages of one joining peer, both ways together, at once */
	RELAY_PER_SECOND = 16,	  /* and on average; more are dropped */
	RELAY_TOTAL_BURST = 2048, /* the same for all joining peers together */
	RELAY_TOTAL_PER_SECOND = 1024,
};

/* From now on the router relays for joining peers. It must not be of a node that joins. */
void router_set_relay(struct router *router);

struct relay_figures {
	size_t links; /* of joining peers, now */
	uint64_t relayed, refused, limited, links_refused, links_expired;
};
/* Zeros when it does not relay. */
void router_relay_figures(const struct router *router, struct relay_figures *ret);
