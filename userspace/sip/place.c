/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a request is to go (RFC 3261 16.5, 16.6 step 7): along its Routes, back along its dialog, or to where a user is. */
#include "sip/proxy_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { Q_WITHOUT = 1000 };

static bool is_loopback(const struct address *address) {
	static const uint8_t loopback[sizeof(address->octets)] = {[15] = 1};

	return address->family == AF_INET ? address->octets[0] == 127 : memcmp(address->octets, loopback, sizeof(loopback)) == 0;
}

/* Nobody else may have us speak to what listens on this host only, nor to ourselves. */
static bool may_reach(const struct sip_gateway *gateway, const struct sip_flow *from, const struct sip_hop *hop) {
	for (size_t i = 0; i < gateway->listener_count; i++)
		if (address_equal(&gateway->listeners[i].address, &hop->address))
			return false;
	return !is_loopback(&hop->address) || is_loopback(&from->remote);
}

static int add(struct sip_proxy *proxy, const char *uri, const struct sip_hop *hop, int q) {
	if (proxy->secure && hop->transport != SIP_TLS)
		return -EHOSTUNREACH; /* RFC 3261 26.4.4: secured from end to end, or not at all */
	return may_reach(proxy->gateway, &proxy->flow, hop) ? branch_add(proxy, uri, hop, q) : -EHOSTUNREACH;
}

/* --- Routes --- */

static char *request_uri(const struct sip_request *request) {
	const char *text = request->route_set.uri;

	return text ? strdup(text) : strndup((const char *)request->frame.uri.data, request->frame.uri.length);
}

static int write_routes(const struct sip_route_set *set, size_t first, const char *last, char **ret) {
	struct writer w = writer_growing(SIP_HEADER_OCTETS);
	size_t length = 0;

	for (size_t i = first; i < set->count; i++) {
		writer_octets(&w, octets_of_string("Route: "));
		writer_octets(&w, octets_of_string(set->routes[i]));
		writer_octets(&w, octets_of_string("\r\n"));
	}
	if (last)
		writer_format(&w, "Route: <%s>\r\n", last);
	writer_u8(&w, 0);
	int error = writer_finish(&w);
	if (error == 0)
		*ret = (char *)writer_take(&w, &length);
	writer_release(&w);
	return error;
}

/* Towards the first Route. What stands in the Request-URI and in Route then; both are owned by the caller. */
static int follow_route(const struct sip_request *request, struct sip_hop *ret_hop, char **ret_uri, char **ret_routes) {
	const struct sip_route_set *set = &request->route_set;
	_cleanup_(uri_freep) osip_uri_t *next = sip_route_uri(set->routes[0]);
	_cleanup_free_ char *uri = request_uri(request), *given = NULL;
	char *text = NULL;

	if (!next || !uri)
		return -ENOMEM;
	int error = sip_hop_of_uri(next, ret_hop);
	if (error < 0)
		return error;
	if (sip_parameter(&next->url_params, "lr")) {
		error = write_routes(set, 0, NULL, ret_routes);
		if (error == 0)
			*ret_uri = TAKE(uri);
		return error;
	}
	/* A strict router wants itself in the Request-URI, and the Request-URI as last Route (RFC 3261 16.6 step 6). */
	if (osip_uri_to_str(next, &text) != OSIP_SUCCESS)
		return -ENOMEM;
	given = strdup(text);
	osip_free(text);
	error = given ? write_routes(set, 1, uri, ret_routes) : -ENOMEM;
	if (error == 0)
		*ret_uri = TAKE(given);
	return error;
}

static unsigned place_route(struct sip_proxy *proxy, const struct sip_request *request, const char **ret_reason) {
	_cleanup_free_ char *uri = NULL;
	struct sip_hop hop;

	*ret_reason = "Route Not Reachable";
	int error = follow_route(request, &hop, &uri, &proxy->routes);
	if (error == 0)
		error = add(proxy, uri, &hop, Q_WITHOUT);
	return error == 0 ? 0 : error == -ENOMEM ? 500 : 404;
}

/* --- users --- */

static bool has_own_address(const struct sip_gateway *gateway, const osip_uri_t *uri) {
	for (size_t i = 0; i < gateway->listener_count; i++)
		if (uri_names_address(uri, &gateway->listeners[i].address))
			return true;
	return false;
}

/* Phones that registered here. True when there are any. */
static bool place_bindings(struct sip_proxy *proxy, const char *aor) {
	const struct registration *registration = registration_find(proxy->gateway, aor);
	const struct binding *binding = registration ? registration->bindings : NULL;
	bool any = binding != NULL;

	for (; binding; binding = binding->next) {
		struct sip_hop hop;
		if (sip_hop_of_flow(proxy->gateway, &binding->flow, binding->uri, &hop) == 0)
			add(proxy, binding->contact, &hop, binding->q >= 0 ? binding->q : Q_WITHOUT);
	}
	return any;
}

/* A gateway of another site knows the user by the AoR. */
static void add_gateway(struct sip_proxy *proxy, const struct sip_redirect_contact *contact) {
	const struct sip_hop hop = {.transport = contact->transport, .address = contact->gateway, .flow.fd = -1};
	char uri[3 * SIP_AOR_OCTETS + 8];

	uri_of_aor(proxy->aor, proxy->secure, uri, sizeof(uri));
	add(proxy, uri, &hop, Q_WITHOUT);
}

static void add_contact(struct sip_proxy *proxy, const struct sip_redirect_contact *contact) {
	const struct registration *registration = registration_find(proxy->gateway, proxy->aor);
	_cleanup_(uri_freep) osip_uri_t *uri = uri_parse(contact->uri);
	struct sip_hop hop;

	if (contact->gateway.family != 0) {
		add_gateway(proxy, contact);
		return;
	}
	if (!uri || !uri_is_sip(uri) || has_own_address(proxy->gateway, uri) ||
	    (registration && registration_binding(registration, uri)))
		return; /* ours are known better */
	if (sip_hop_of_uri(uri, &hop) == 0)
		add(proxy, contact->uri, &hop, Q_WITHOUT);
}

static void on_found(void *userdata, unsigned status, const struct sip_redirect_contact *contacts, size_t count,
		     unsigned retry_after_s) {
	struct sip_proxy *proxy = sip_call_end(userdata);

	if (!proxy)
		return;
	proxy->call = NULL;
	for (size_t i = 0; status == 302 && contacts && i < count && !proxy->cancelled && !proxy->answered; i++)
		add_contact(proxy, &contacts[i]);
	proxy->call_status = status == 302 ? 480 : status;
	proxy->call_retry_s = retry_after_s;
	proxy_proceed(proxy);
}

static unsigned look_up(struct sip_proxy *proxy, const char *aor) {
	struct sip_gateway *gateway = proxy->gateway;

	proxy->aor = strdup(aor);
	proxy->call = proxy->aor ? sip_call_new(gateway, proxy, proxy_call_lost) : NULL;
	if (!proxy->call)
		return 500;
	gateway->events.resolve(gateway->events.userdata, proxy->aor, on_found, proxy->call);
	return 0;
}

static unsigned place_user(struct sip_proxy *proxy, const struct sip_request *request, enum sip_trust trust,
			   const char **ret_reason) {
	char aor[SIP_AOR_OCTETS + 1];
	bool ours = gateway_owns_address(proxy->gateway, request->message->req_uri, &proxy->flow);

	unsigned status = sip_request_target(proxy->gateway, request, ours, aor, ret_reason);
	if (status != 0)
		return status;
	bool registered = place_bindings(proxy, aor);
	/* The gateway that asks has looked the user up, and asks the other ones itself. */
	if (registered && trust == SIP_TRUST_GATEWAY)
		return 0;
	*ret_reason = "Out of Memory";
	return look_up(proxy, aor);
}

/* Phones of the site may call whom they like. */
static unsigned place_foreign(struct sip_proxy *proxy, const struct sip_request *request, const char **ret_reason) {
	_cleanup_free_ char *uri = request_uri(request);
	struct sip_hop hop;

	*ret_reason = "Domain Not Reachable";
	int error = uri ? sip_hop_of_uri(request->message->req_uri, &hop) : -ENOMEM;
	if (error == 0)
		error = add(proxy, uri, &hop, Q_WITHOUT);
	return error == 0 ? 0 : error == -ENOMEM ? 500 : 404;
}

/* Requests of a dialog without Routes behind ours go where the other end of the dialog was. */
static unsigned place_dialog(struct sip_proxy *proxy, const struct sip_request *request, const char **ret_reason) {
	_cleanup_free_ char *uri = request_uri(request);
	struct sip_hop hop;

	*ret_reason = "Other End Not Reachable";
	if (sip_hop_of_flow(proxy->gateway, &request->route_set.flow, request->message->req_uri, &hop) < 0)
		return 480;
	int error = uri ? add(proxy, uri, &hop, Q_WITHOUT) : -ENOMEM;
	return error == 0 ? 0 : error == -ENOMEM ? 500 : 480;
}

unsigned place_request(struct sip_proxy *proxy, const struct sip_request *request, enum sip_trust trust, const char **ret_reason) {
	const struct sip_route_set *set = &request->route_set;

	if (set->count > 0 && trust < SIP_TRUST_DIALOG) {
		*ret_reason = "Forbidden";
		return 403;
	}
	if (set->count > 0)
		return place_route(proxy, request, ret_reason);
	if (set->dialog)
		return place_dialog(proxy, request, ret_reason);
	if (trust == SIP_TRUST_SITE && sip_proxy_foreign(proxy->gateway, request->message->req_uri, &proxy->flow))
		return place_foreign(proxy, request, ret_reason);
	return place_user(proxy, request, trust, ret_reason);
}

/* --- ACK --- */

/* The same for each repetition, as there is no transaction to remember it (RFC 3261 16.11). */
static uint64_t ack_branch(const struct sip_gateway *gateway, const struct sip_request *request) {
	uint64_t key[2] = {gateway->tag_key[0], gateway->tag_key[1]};

	key[0] ^= keyed_hash(key, request->frame.field[SIP_FIELD_VIA]);
	key[1] ^= keyed_hash(key, request->frame.field[SIP_FIELD_CALL_ID]);
	return keyed_hash(key, request->frame.field[SIP_FIELD_CSEQ]);
}

static int write_ack(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *from,
		     const struct sip_flow *to, const char *uri, const char *routes, struct writer *w) {
	char sent_by[ADDRESS_TEXT_SIZE], via[256];
	struct writer vias = writer_growing(SIP_HEADER_OCTETS);

	sip_vias_write(request, from, &vias);
	snprintf(via, sizeof(via), "Via: SIP/2.0/%s %s;branch=z9hG4bK%016" PRIx64 ".%016x;rport\r\n",
		 sip_transport_name(to->transport), sip_flow_sent_by(gateway, to, sent_by), ack_branch(gateway, request), 0);
	const struct sip_forward forward = {
		.frame = &request->frame,
		.uri = uri,
		.via = via,
		.vias = writer_octets_written(&vias),
		.record_route = "",
		.routes = routes,
		.max_forwards = request->max_forwards - 1,
	};
	sip_forward_write(&forward, w);
	int error = writer_finish(&vias);
	writer_release(&vias);
	return error < 0 ? error : writer_finish(w);
}

void sip_proxy_ack(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
		   enum sip_trust trust) {
	const struct sip_route_set *set = &request->route_set;
	_cleanup_free_ char *uri = NULL, *routes = NULL;
	struct writer w = writer_growing(LIMIT_SIP_MESSAGE);
	struct sip_flow to;
	struct sip_hop hop;
	int error = -EHOSTUNREACH;

	if (request->max_forwards > 0 && set->count > 0 &&
	    (set->dialog || (trust == SIP_TRUST_SITE && gateway->mode != SIP_MODE_REDIRECT))) {
		error = follow_route(request, &hop, &uri, &routes);
	} else if (request->max_forwards > 0 && set->dialog) {
		uri = request_uri(request);
		error = uri ? sip_hop_of_flow(gateway, &set->flow, request->message->req_uri, &hop) : -ENOMEM;
	}
	if (error == 0)
		error = may_reach(gateway, flow, &hop) ? sip_hop_open(gateway, &hop, &to) : -EHOSTUNREACH;
	if (error == 0)
		error = write_ack(gateway, request, flow, &to, uri, routes ? routes : "", &w);
	if (error == 0)
		error = sip_flow_send(gateway, &to, writer_octets_written(&w));
	if (error < 0)
		gateway->figures.dropped++; /* there is no answer to an ACK */
	writer_release(&w);
}
