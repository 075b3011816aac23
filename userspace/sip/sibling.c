/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Gateways of other overlays, mostly on the same machine, which serve the domains that were named for them: calls to these go
 * there, and no name is looked up. What comes from there is for our own users and goes to nobody else, so that two of them that
 * name each other cannot send a call in circles, except by a Contact that a user has stored; that ends with the loop detection.
 *
 * Their users may have phones at our site. For these we are an edge proxy (RFC 5626 5): a REGISTER goes on to the registrar of its
 * domain with a Path that leads back to the phone, and what such a phone calls goes there as well, where its password is known.
 * What comes along the Path goes to the phone and nowhere else.
 */
#include "sip/sibling.h"
#include "base/log.h"

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

static const struct sip_sibling *find(const struct sip_gateway *gateway, const char *domain) {
	for (size_t i = 0; i < gateway->sibling_count; i++)
		if (strcasecmp(gateway->siblings[i].domain, domain) == 0)
			return &gateway->siblings[i];
	return NULL;
}

bool sip_sibling_hop(const struct sip_gateway *gateway, const osip_uri_t *uri, struct sip_hop *ret) {
	struct sip_hop hop = {.flow.fd = -1};
	char domain[SIP_AOR_OCTETS + 1];

	/* With a port somebody means a server, and not the domain (RFC 3263 4.2). */
	if (gateway->sibling_count == 0 || uri_domain(uri, domain) < 0 || uri->port || sip_uri_transport(uri, &hop.transport) < 0 ||
	    hop.transport == SIP_TLS)
		return false;
	const struct sip_sibling *sibling = find(gateway, domain);
	if (!sibling)
		return false;
	hop.address = sibling->address;
	*ret = hop;
	return true;
}

/* Of a domain that is ours, too, the users are ours. */
static const struct sip_sibling *owner(const struct sip_gateway *gateway, const osip_uri_t *uri) {
	char domain[SIP_AOR_OCTETS + 1];

	if (gateway->sibling_count == 0 || uri_domain(uri, domain) < 0 || gateway->events.domain(gateway->events.userdata, domain))
		return NULL;
	return find(gateway, domain);
}

struct sip_sibling *sip_sibling_registrar(struct sip_gateway *gateway, const struct sip_request *request,
					  const struct sip_flow *flow) {
	const osip_message_t *message = request->message;

	if (gateway->sibling_count == 0 || request->route_set.count > 0)
		return NULL;
	const osip_uri_t *asked = gateway_owns_address(gateway, message->req_uri, flow) ? message->to->url : message->req_uri;
	const struct sip_sibling *sibling = owner(gateway, asked);
	return sibling ? &gateway->siblings[sibling - gateway->siblings] : NULL;
}

const struct sip_sibling *sip_sibling_of_caller(const struct sip_gateway *gateway, const struct sip_request *request) {
	const osip_message_t *message = request->message;
	const struct sip_route_set *set = &request->route_set;

	if (gateway->sibling_count == 0 || request->method == SIP_REGISTER || request->lent || set->dialog || set->count > 0 ||
	    !uri_is_sip(message->req_uri) || !message->req_uri->username || !*message->req_uri->username)
		return NULL;
	return owner(gateway, message->from->url);
}

char *sip_sibling_request_uri(struct sip_gateway *gateway, const struct sip_sibling *sibling, const struct sip_request *request,
			      const struct sip_flow *flow) {
	const osip_uri_t *uri = request->message->req_uri;
	char domain[SIP_AOR_OCTETS + 1], *text = NULL, *copy = NULL;

	if (!gateway_owns_address(gateway, uri, flow))
		return strndup((const char *)request->frame.uri.data, request->frame.uri.length);
	/* As phones that know no domain fill To with what was dialled. */
	if (request->method == SIP_REGISTER || uri_domain(request->message->to->url, domain) < 0 ||
	    !gateway->events.domain(gateway->events.userdata, domain))
		strcpy(domain, sibling->domain);
	osip_uri_t meant = *uri;
	meant.host = domain;
	meant.port = NULL;
	if (osip_uri_to_str(&meant, &text) == OSIP_SUCCESS && text)
		copy = strdup(text);
	osip_free(text);
	return copy;
}

void sip_sibling_answers(struct sip_sibling *sibling, bool answers) {
	char text[ADDRESS_TEXT_SIZE];

	if (answers && sibling->silent)
		log_notice("SIP: phones register with the gateway of %s again.", sibling->domain);
	else if (!answers && !sibling->silent)
		log_warning(
			"SIP: the gateway of %s at %s does not answer: no phone of that domain can register through this gateway.",
			sibling->domain, address_format(&sibling->address, text));
	sibling->silent = !answers;
}

bool sip_sibling_at(const struct sip_gateway *gateway, const struct address *host) {
	for (size_t i = 0; i < gateway->sibling_count; i++)
		if (address_same_host(&gateway->siblings[i].address, host))
			return true;
	return false;
}
