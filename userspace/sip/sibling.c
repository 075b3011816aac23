/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Gateways of other overlays, mostly on the same machine, which serve the domains that were named for them: calls to these go
 * there, and no name is looked up. What comes from there is for our own users and goes to nobody else, so that two of them that
 * name each other cannot send a call in circles, except by a Contact that a user has stored; that ends with the loop detection.
 */
#include "sip/sibling.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

int sip_siblings_open(struct sip_gateway *gateway, const struct sip_sibling_settings *settings, size_t count, char *reason,
		      size_t reason_size) {
	if (count > SIP_SIBLINGS) {
		snprintf(reason, reason_size, "more than %d gateways of other overlays", SIP_SIBLINGS);
		return -E2BIG;
	}
	for (size_t i = 0; i < count; i++) {
		struct sip_sibling *sibling = &gateway->siblings[i];
		if (strlen(settings[i].domain) >= sizeof(sibling->domain)) {
			snprintf(reason, reason_size, "the domain %.60s... is too long", settings[i].domain);
			return -ENAMETOOLONG;
		}
		strcpy(sibling->domain, settings[i].domain);
		sibling->address = settings[i].address;
		gateway->sibling_count++;
	}
	return 0;
}

bool sip_sibling_hop(const struct sip_gateway *gateway, const osip_uri_t *uri, struct sip_hop *ret) {
	struct sip_hop hop = {.flow.fd = -1};
	char domain[SIP_AOR_OCTETS + 1];

	/* With a port somebody means a server, and not the domain (RFC 3263 4.2). */
	if (gateway->sibling_count == 0 || uri_domain(uri, domain) < 0 || uri->port || sip_uri_transport(uri, &hop.transport) < 0 ||
	    hop.transport == SIP_TLS)
		return false;
	for (size_t i = 0; i < gateway->sibling_count; i++)
		if (strcasecmp(gateway->siblings[i].domain, domain) == 0) {
			hop.address = gateway->siblings[i].address;
			*ret = hop;
			return true;
		}
	return false;
}

bool sip_sibling_at(const struct sip_gateway *gateway, const struct address *host) {
	for (size_t i = 0; i < gateway->sibling_count; i++)
		if (address_same_host(&gateway->siblings[i].address, host))
			return true;
	return false;
}
