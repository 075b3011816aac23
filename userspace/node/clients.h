/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Overlays whose document says that clients are not permitted (RFC 6940 11.1, B-11.1-14): a node linked to a peer has
 * CLIENTS_GRACE_S to become a peer itself, which its first Update shows, and loses the link otherwise. When a new document forbids
 * clients, those that have had that time lose their links at once.
 *
 * Links to and from the document's bootstrap nodes stay: a bootstrap server is outside the ring and there for everybody.
 */
#pragma once

#include "forward/router.h"

enum {
	CLIENTS_GRACE_S = 60, /* from the link to the first Update; a join takes a few seconds */
};

struct clients;

/* The router is borrowed and outlives the object. -ENOMEM. */
int clients_new(struct router *router, struct clients **ret);
struct clients *clients_free(struct clients *clients);

/* The configuration has changed. */
void clients_check(struct clients *clients);

/* The same from a callback in which no link may be closed: this node is in the ring. Accepts NULL. */
void clients_soon(struct clients *clients);

/* Links closed so far. */
uint64_t clients_closed(const struct clients *clients);
