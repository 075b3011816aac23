/* SPDX-License-Identifier: BSD-2-Clause */
/* Gateways of other overlays that are known by their addresses. */
#pragma once

#include "sip/proxy.h"

/* Copies the settings. -E2BIG, -ENAMETOOLONG, with `reason`. */
int sip_siblings_open(struct sip_gateway *gateway, const struct sip_sibling_settings *settings, size_t count, char *reason,
		      size_t reason_size);

/* Where a URI of a domain that one of them serves leads. False: none does, or not over TLS, or the URI names a port. */
bool sip_sibling_hop(const struct sip_gateway *gateway, const osip_uri_t *uri, struct sip_hop *ret);

/* Is one of them at this host? */
bool sip_sibling_at(const struct sip_gateway *gateway, const struct address *host);
