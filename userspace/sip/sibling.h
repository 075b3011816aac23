/* SPDX-License-Identifier: BSD-2-Clause */
/* Gateways of other overlays that are known by their addresses. */
#pragma once

#include "sip/proxy.h"

/* Copies the settings. -E2BIG, -ENAMETOOLONG, with `reason`. */
int sip_siblings_open(struct sip_gateway *gateway, const struct sip_sibling_settings *settings, size_t count, char *reason,
		      size_t reason_size);

/* Where a URI of a domain that one of them serves leads. False: none does, or not over TLS, or the URI names a port. */
bool sip_sibling_hop(const struct sip_gateway *gateway, const osip_uri_t *uri, struct sip_hop *ret);

/*
 * The gateway whose registrar this REGISTER is for, or NULL: it is for us or for nobody. It may say so by its Request-URI, or by To
 * when the phone has written our address.
 */
struct sip_sibling *sip_sibling_registrar(struct sip_gateway *gateway, const struct sip_request *request,
					  const struct sip_flow *flow);

/*
 * The gateway whose user this phone of our site is, as its From says, or NULL: what it calls goes there first, to be asked for the
 * password.
 */
const struct sip_sibling *sip_sibling_of_caller(const struct sip_gateway *gateway, const struct sip_request *request);

/* The Request-URI for it: where a phone has written our address, the domain it means. NULL: no memory. */
char *sip_sibling_request_uri(struct sip_gateway *gateway, const struct sip_sibling *sibling, const struct sip_request *request,
			      const struct sip_flow *flow);

/* Said once when it begins, and once when it ends. */
void sip_sibling_answers(struct sip_sibling *sibling, bool answers);

/* Is one of them at this host? */
bool sip_sibling_at(const struct sip_gateway *gateway, const struct address *host);
