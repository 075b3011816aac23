/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sends the configuration document in force to nodes that have an older one (RFC 6940 6.3.2.1, 6.5.4): to every neighbor when it
 * comes into force, once per link, and to single nodes whose requests show an older number. Sans-I/O.
 *
 * A peer that gave us the document is not sent it back, and who has it already answers without passing it on, so that one document
 * costs at most two messages a link. Never more than SPREAD_OUTSTANDING_MAX of them are on their way.
 */
#pragma once

#include "forward/router.h"

enum {
	SPREAD_OUTSTANDING_MAX = 16, /* documents on their way; neighbors wait for their turn, other nodes show up again */
	SPREAD_RECENT_MAX = 64,	     /* nodes that were sent a document lately */
	SPREAD_AGAIN_S = 10,	     /* and are not sent one again before this, whatever they ask */
	SPREAD_RETRY_S = 1,	     /* after the router had no room */
};

struct spread_figures {
	uint64_t sent, confirmed, refused, lost;
	uint64_t postponed; /* a node had an older document, but as many as allowed were on their way */
	uint64_t too_large; /* the document does not fit into max-message-size */
};

struct spread;
int spread_new(struct router *router, struct spread **ret);
struct spread *spread_free(struct spread *spread);

/* A new document is in force. The peer on link `from` (LINK_SLOT_NONE: nobody) gave it to us. */
void spread_to_neighbors(struct spread *spread, uint16_t from);

/* `node_id` was noticed to have an older one. */
void spread_to_node(struct spread *spread, const struct id *node_id);

const struct spread_figures *spread_figures(const struct spread *spread);
