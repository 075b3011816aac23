/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a request is to go (RFC 3261 16.5, 16.6 step 7): along its Routes, back along its dialog, or to where a user is. */
#include "sip/proxy_internal.h"
#include "sip/sibling.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

enum { Q_WITHOUT = 1000 };

static bool is_loopback(const struct address *address) {
	static const uint8_t loopback[sizeof(address->octets)] = {[15] = 1};

	return address->family == AF_INET ? address->octets[0] == 127 : memcmp(address->octets, loopback, sizeof(loopback)) == 0;
}

/* Nobody else may have us speak to what listens on this host only, nor to ourselves. */
bool place_allowed(const struct sip_gateway *gateway, const struct sip_flow *from, const struct sip_hop *hop) {
	for (size_t i = 0; i < gateway->listener_count; i++)
		if (address_equal(&gateway->listeners[i].address, &hop->address))
			return false;
	return !is_loopback(&hop->address) || is_loopback(&from->remote);
}

/* Leaves out what may not be; the first of several is tried first. */
static int add_places(struct sip_proxy *proxy, const char *uri, const struct sip_hop *hops, size_t count, int q) {
	struct sip_hop allowed[SIP_TARGETS];
	size_t allowed_count = 0;

	for (size_t i = 0; i < count && i < SIP_TARGETS; i++) {
		if (proxy->secure && hops[i].transport != SIP_TLS)
			continue; /* RFC 3261 26.4.4: secured from end to end, or not at all */
		if (place_allowed(proxy->gateway, &proxy->flow, &hops[i]))
			allowed[allowed_count++] = hops[i];
	}
	return allowed_count > 0 ? branch_add(proxy, uri, allowed, allowed_count, q) : -EHOSTUNREACH;
}

static int add(struct sip_proxy *proxy, const char *uri, const struct sip_hop *hop, int q) {
	return add_places(proxy, uri, hop, 1, q);
}

/* --- names (RFC 3263) --- */

/* A branch whose place is being looked up. */
struct placing {
	struct sip_proxy *proxy;
	struct sip_locate *locate;
	char *uri; /* Request-URI it will have */
	struct placing *prev, *next;
};

struct placing *placing_free(struct placing *placing) {
	if (!placing)
		return NULL;
	DL_DELETE(placing->proxy->placing, placing);
	sip_locate_free(placing->locate);
	free(placing->uri);
	free(placing);
	return NULL;
}

static void on_located(void *userdata, int error, const struct sip_hop *hops, size_t count) {
	struct placing *placing = userdata;
	struct sip_proxy *proxy = placing->proxy;

	placing->locate = NULL;
	if (error == 0 && proxy->number[0])
		sip_trunk_found(proxy->trunk, hops, count);
	if (error == 0 && !proxy->cancelled && !proxy->answered)
		error = add_places(proxy, placing->uri, hops, count, Q_WITHOUT);
	/* Nothing else known: a name that is not there, or one that nobody could tell us about. */
	if (error < 0 && proxy->call_status == 0)
		proxy->call_status = error == -EAGAIN ? 503 : 404;
	if (error < 0 && proxy->number[0])
		place_next_trunk(proxy);
	placing_free(placing);
	proxy_proceed(proxy);
}

static int place_by_name(struct sip_proxy *proxy, const osip_uri_t *where, const char *uri) {
	struct placing *placing = calloc(1, sizeof(*placing));

	if (!placing)
		return -ENOMEM;
	placing->proxy = proxy;
	placing->uri = strdup(uri);
	DL_APPEND(proxy->placing, placing);
	int error = placing->uri ? sip_locate(proxy->gateway, where, on_located, placing, &placing->locate) : -ENOMEM;
	if (error < 0)
		placing_free(placing);
	return error;
}

/* At the place `where` says, at once or when that has been looked up, with this Request-URI. */
static int place_at(struct sip_proxy *proxy, const osip_uri_t *where, const char *uri) {
	struct sip_hop hop;

	if (sip_sibling_hop(proxy->gateway, where, &hop))
		return add(proxy, uri, &hop, Q_WITHOUT);
	int error = sip_hop_of_uri(where, &hop);
	if (error == -ENODATA)
		return place_by_name(proxy, where, uri);
	return error < 0 ? error : add(proxy, uri, &hop, Q_WITHOUT);
}

static unsigned status_of(int error, unsigned otherwise) {
	return error == 0 ? 0 : error == -ENOMEM ? 500 : error == -ENOBUFS ? 503 : otherwise;
}

/* --- Routes --- */

char *place_request_uri(const struct sip_request *request) {
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

int place_follow_route(const struct sip_request *request, osip_uri_t **ret_next, char **ret_uri, char **ret_routes) {
	const struct sip_route_set *set = &request->route_set;
	_cleanup_(uri_freep) osip_uri_t *next = sip_route_uri(set->routes[0]);
	_cleanup_free_ char *uri = place_request_uri(request), *given = NULL;
	char *text = NULL;
	int error;

	if (!next || !uri)
		return -ENOMEM;
	if (sip_parameter(&next->url_params, "lr")) {
		error = write_routes(set, 0, NULL, ret_routes);
		given = TAKE(uri);
	} else {
		/* A strict router wants itself in the Request-URI, and the Request-URI as last Route (RFC 3261 16.6 step 6). */
		if (osip_uri_to_str(next, &text) != OSIP_SUCCESS)
			return -ENOMEM;
		given = strdup(text);
		osip_free(text);
		error = given ? write_routes(set, 1, uri, ret_routes) : -ENOMEM;
	}
	if (error < 0)
		return error;
	*ret_uri = TAKE(given);
	*ret_next = TAKE(next);
	return 0;
}

static unsigned place_route(struct sip_proxy *proxy, const struct sip_request *request, const char **ret_reason) {
	_cleanup_(uri_freep) osip_uri_t *next = NULL;
	_cleanup_free_ char *uri = NULL;

	*ret_reason = "Route Not Reachable";
	int error = place_follow_route(request, &next, &uri, &proxy->routes);
	if (error == 0)
		error = place_at(proxy, next, uri);
	return status_of(error, 404);
}

/* --- users --- */

static bool has_own_address(const struct sip_gateway *gateway, const osip_uri_t *uri) {
	for (size_t i = 0; i < gateway->listener_count; i++)
		if (uri_names_address(uri, &gateway->listeners[i].address))
			return true;
	return false;
}

/*
 * The way to a phone: through the proxies of its Path, of which the first is where its REGISTER came from; over the flow it has
 * bound; else as its Contact says.
 */
static int hop_of_binding(struct sip_gateway *gateway, const struct binding *binding, struct sip_hop *ret) {
	const struct binding_more *more = binding->more;
	_cleanup_(uri_freep) osip_uri_t *path = more && more->path ? sip_path_first(more->path) : NULL;

	if (more && more->lost)
		return -EHOSTUNREACH;
	if (more && more->reg_id != 0 && !more->path && binding->flow.transport == SIP_UDP) {
		*ret = (struct sip_hop){.transport = SIP_UDP, .address = binding->flow.remote, .flow = binding->flow};
		return 0;
	}
	return sip_hop_of_flow(gateway, &binding->flow, path ? path : binding->uri, ret);
}

/* Is there another binding of the same device that was renewed later and can be reached? */
static bool is_spare(struct sip_gateway *gateway, const struct binding *binding) {
	struct sip_hop hop;

	for (const struct binding *later = binding->next; later && binding->more && binding->more->device; later = later->next)
		if (later->more && later->more->device == binding->more->device && hop_of_binding(gateway, later, &hop) == 0)
			return true;
	return false;
}

/* Says of the branch added last what is special with its binding. */
static int equip(struct sip_proxy *proxy, const struct binding *binding) {
	const struct binding_more *more = binding->more;
	struct branch *branch = proxy->branches->previous;
	char *routes = NULL;

	branch->registered = true;
	if (more && more->path && asprintf(&routes, "Route: %s\r\n", more->path) < 0)
		return -ENOMEM;
	branch->routes = routes;
	branch->instance = more && more->instance ? strdup(more->instance) : NULL;
	if (branch->instance && is_spare(proxy->gateway, binding))
		branch->state = BRANCH_SPARE;
	return more && more->instance && !branch->instance ? -ENOMEM : 0;
}

/* Phones that registered here. True when there are any. */
static bool place_bindings(struct sip_proxy *proxy, const char *aor) {
	const struct registration *registration = registration_find(proxy->gateway, aor);
	const struct binding *binding = registration ? registration->bindings : NULL;
	bool any = binding != NULL;

	for (; binding; binding = binding->next) {
		struct sip_hop hop;
		if (sip_gruu_names(&proxy->gruu, binding) && hop_of_binding(proxy->gateway, binding, &hop) == 0 &&
		    add(proxy, binding->contact, &hop, binding->q >= 0 ? binding->q : Q_WITHOUT) == 0 && equip(proxy, binding) < 0)
			branch_free(proxy->branches->previous);
	}
	return any;
}

/* A gateway of another site knows the user by the AoR, and the device by the GRUU. */
static void add_gateway(struct sip_proxy *proxy, const struct sip_redirect_contact *contact) {
	const struct sip_hop hop = {
		.transport = contact->transport, .address = contact->gateway, .node_id = contact->node_id, .flow.fd = -1};
	char uri[3 * SIP_AOR_OCTETS + 8 + SIP_GRUU_OCTETS + 4];

	uri_of_aor(proxy->aor, proxy->secure, uri, sizeof(uri));
	if (proxy->gruu.is)
		snprintf(uri + strlen(uri), sizeof(uri) - strlen(uri), ";gr=%s", proxy->gruu.value);
	if (add(proxy, uri, &hop, Q_WITHOUT) == 0)
		proxy->branches->previous->gateway = true;
}

static void add_contact(struct sip_proxy *proxy, const struct sip_redirect_contact *contact) {
	const struct registration *registration = registration_find(proxy->gateway, proxy->aor);
	_cleanup_(uri_freep) osip_uri_t *uri = uri_parse(contact->uri);

	if (contact->gateway.family != 0) {
		add_gateway(proxy, contact);
		return;
	}
	if (!uri || !uri_is_sip(uri) || has_own_address(proxy->gateway, uri) || !sip_gruu_names(&proxy->gruu, NULL) ||
	    (registration && registration_binding(registration, uri)))
		return; /* ours are known better */
	place_at(proxy, uri, contact->uri);
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

static unsigned look_up(struct sip_proxy *proxy) {
	struct sip_gateway *gateway = proxy->gateway;
	char text[SIP_GRUU_URI_OCTETS + 1];

	proxy->call = sip_call_new(gateway, proxy, proxy_call_lost);
	if (!proxy->call)
		return 500;
	gateway->events.resolve(gateway->events.userdata, sip_gruu_question(&proxy->gruu, proxy->aor, text), on_found, proxy->call);
	return 0;
}

/* --- phones of other overlays --- */

/*
 * Over TCP, so that a gateway that is down is noticed at once. RFC 3261 26.4.4: what is to be secured from end to end has no way,
 * as gateways of different overlays cannot check each other's certificates.
 */
static unsigned place_register(struct sip_proxy *proxy, const struct sip_request *request, const char **ret_reason) {
	struct sip_sibling *sibling = sip_sibling_registrar(proxy->gateway, request, &proxy->flow);
	const struct sip_hop hop = {.transport = SIP_TCP, .address = sibling->address, .flow.fd = -1};

	*ret_reason = "No Secured Way To That Registrar";
	if (proxy->secure)
		return 403;
	_cleanup_free_ char *uri = sip_sibling_request_uri(proxy->gateway, sibling, request, &proxy->flow);
	*ret_reason = "Registrar Not Reachable";
	proxy->registrar = sibling;
	proxy->direct = osip_list_size(&request->message->vias) == 1;
	return status_of(uri ? add(proxy, uri, &hop, Q_WITHOUT) : -ENOMEM, 503);
}

/* What a phone of another overlay calls, whatever it is, is the business of the gateway that knows the phone's user. */
static unsigned place_at_home(struct sip_proxy *proxy, const struct sip_sibling *sibling, const struct sip_request *request,
			      const char **ret_reason) {
	const struct sip_hop hop = {.transport = SIP_UDP, .address = sibling->address, .flow.fd = -1};
	_cleanup_free_ char *uri = sip_sibling_request_uri(proxy->gateway, sibling, request, &proxy->flow);

	*ret_reason = "Caller's Gateway Not Reachable";
	return status_of(uri ? add(proxy, uri, &hop, Q_WITHOUT) : -ENOMEM, 480);
}

/* Along our Path: to the phone that has registered over the flow, or to the proxy between it and us (RFC 5626 5.3). */
static unsigned place_path(struct sip_proxy *proxy, const struct sip_request *request, const char **ret_reason) {
	const struct sip_route_set *set = &request->route_set;
	_cleanup_(uri_freep) osip_uri_t *next = NULL;
	_cleanup_free_ char *uri = NULL;
	struct sip_hop hop;

	*ret_reason = "Out of Memory";
	if (set->count > 0 && place_follow_route(request, &next, &uri, &proxy->routes) < 0)
		return 500;
	if (!uri)
		uri = place_request_uri(request);
	if (!uri)
		return 500;
	*ret_reason = "Flow Failed";
	if (sip_hop_of_flow(proxy->gateway, &set->flow, next ? next : request->message->req_uri, &hop) < 0)
		return 430;
	return status_of(add(proxy, uri, &hop, Q_WITHOUT), 430);
}

static unsigned place_user(struct sip_proxy *proxy, const struct sip_request *request, enum sip_trust trust,
			   const char **ret_reason) {
	char aor[SIP_AOR_OCTETS + 1];
	bool ours = gateway_owns_address(proxy->gateway, request->message->req_uri, &proxy->flow);

	unsigned status = sip_request_target(proxy->gateway, request, ours, aor, ret_reason);
	if (status == 0)
		status = sip_gruu_read(proxy->gateway, request->message->req_uri, aor, &proxy->gruu, ret_reason);
	if (status != 0)
		return status;
	*ret_reason = "Out of Memory";
	proxy->aor = strdup(aor);
	if (!proxy->aor)
		return 500;
	bool registered = place_bindings(proxy, aor);
	/* The gateway that asks has looked the user up, and asks the other ones itself. Nobody else knows our temporary GRUUs. */
	if (((registered || proxy->gruu.is) && trust == SIP_TRUST_GATEWAY) || proxy->gruu.local)
		return 0;
	return look_up(proxy);
}

/* --- trunks --- */

static bool place_trunk(struct sip_proxy *proxy, size_t first) {
	char uri[SIP_CONTACT_OCTETS];

	for (;; first = sip_trunk_index(proxy->trunk) + 1) {
		proxy->trunk = sip_trunk_for(proxy->gateway, proxy->number, first, uri);
		if (!proxy->trunk)
			return false;
		if (place_at(proxy, sip_trunk_server(proxy->trunk), uri) == 0)
			return true;
	}
}

bool place_has_next_trunk(const struct sip_proxy *proxy) {
	char uri[SIP_CONTACT_OCTETS];

	return proxy->trunk && proxy->number[0] &&
	       sip_trunk_for(proxy->gateway, proxy->number, sip_trunk_index(proxy->trunk) + 1, uri);
}

bool place_next_trunk(struct sip_proxy *proxy) {
	if (!proxy->trunk || !proxy->number[0] || !proxy->transaction || proxy->answered || proxy->cancelled || proxy->refused)
		return false;
	return place_trunk(proxy, sip_trunk_index(proxy->trunk) + 1);
}

/* Phones of the site dial numbers: as tel URIs, or as if they were users of ours. A user of the site with that name comes first. */
bool place_is_number(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
		     char number[static SIP_TRUNK_NUMBER]) {
	const osip_uri_t *uri = request->message->req_uri;
	char aor[SIP_AOR_OCTETS + 1], text[SIP_CONTACT_OCTETS];
	const char *reason;

	if (gateway->trunk_count == 0 || request->route_set.count > 0 || request->route_set.dialog ||
	    !sip_trunk_number(uri, number) || !sip_trunk_for(gateway, number, 0, text))
		return false;
	if (!uri_is_sip(uri))
		return true;
	return sip_request_target(gateway, request, gateway_owns_address(gateway, uri, flow), aor, &reason) == 0 &&
	       !gateway->events.user(gateway->events.userdata, aor);
}

static unsigned place_number(struct sip_proxy *proxy, const char **ret_reason) {
	*ret_reason = "No Trunk Reachable";
	return place_trunk(proxy, 0) ? 0 : 503;
}

/* A call that comes from a trunk is for whom its number stands for, and for nobody else. */
static unsigned place_from_trunk(struct sip_proxy *proxy, const struct sip_request *request, const struct sip_trunk *trunk,
				 const char **ret_reason) {
	const char *user = sip_trunk_user(trunk, request);
	char aor[SIP_AOR_OCTETS + 1] = "";

	*ret_reason = user ? "Out of Memory" : "Number Not Assigned";
	if (!user)
		return 404;
	snprintf(aor, sizeof(aor), "%s", user);
	gateway_canonical(proxy->gateway, aor);
	proxy->aor = strdup(aor);
	if (!proxy->aor)
		return 500;
	place_bindings(proxy, proxy->aor);
	return look_up(proxy);
}

/* Phones of the site may call whom they like. */
static unsigned place_foreign(struct sip_proxy *proxy, const struct sip_request *request, const char **ret_reason) {
	_cleanup_free_ char *uri = place_request_uri(request);

	*ret_reason = "Domain Not Reachable";
	return status_of(uri ? place_at(proxy, request->message->req_uri, uri) : -ENOMEM, 404);
}

/* Requests of a dialog without Routes behind ours go where the other end of the dialog was. */
static unsigned place_dialog(struct sip_proxy *proxy, const struct sip_request *request, const char **ret_reason) {
	_cleanup_free_ char *uri = place_request_uri(request);
	struct sip_hop hop;

	*ret_reason = "Other End Not Reachable";
	if (sip_hop_of_flow(proxy->gateway, &request->route_set.flow, request->message->req_uri, &hop) < 0)
		return 480;
	int error = uri ? add(proxy, uri, &hop, Q_WITHOUT) : -ENOMEM;
	return status_of(error, 480);
}

unsigned place_request(struct sip_proxy *proxy, const struct sip_request *request, enum sip_trust trust, const char **ret_reason) {
	const struct sip_route_set *set = &request->route_set;

	if (request->method == SIP_REGISTER)
		return place_register(proxy, request, ret_reason);
	if (set->path && trust == SIP_TRUST_SIBLING)
		return place_path(proxy, request, ret_reason);
	/* What follows in a call by a trunk may be asked for the password, too. */
	if (set->dialog)
		proxy->trunk = sip_trunk_at(proxy->gateway, &set->flow.remote);
	if (set->count > 0 && trust < SIP_TRUST_DIALOG) {
		*ret_reason = "Forbidden";
		return 403;
	}
	if (set->count > 0)
		return place_route(proxy, request, ret_reason);
	if (set->dialog)
		return place_dialog(proxy, request, ret_reason);
	const struct sip_sibling *home = trust == SIP_TRUST_SITE ? sip_sibling_of_caller(proxy->gateway, request) : NULL;
	if (home)
		return place_at_home(proxy, home, request, ret_reason);
	const struct sip_trunk *trunk = sip_trunk_at(proxy->gateway, &proxy->flow.remote);
	if (trust == SIP_TRUST_TRUNK && trunk)
		return place_from_trunk(proxy, request, trunk, ret_reason);
	if (trust == SIP_TRUST_SITE && place_is_number(proxy->gateway, request, &proxy->flow, proxy->number))
		return place_number(proxy, ret_reason);
	proxy->number[0] = 0;
	if (trust == SIP_TRUST_SITE && sip_proxy_foreign(proxy->gateway, request->message->req_uri, &proxy->flow))
		return place_foreign(proxy, request, ret_reason);
	return place_user(proxy, request, trust, ret_reason);
}
