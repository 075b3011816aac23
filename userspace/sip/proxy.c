/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The proxy (RFC 3261 16): places a request for somebody else, in one or several branches, and chooses what the caller gets as
 * answer. It keeps the transaction and no dialog: what belongs to a dialog finds its way by our Record-Route alone.
 */
#include "sip/proxy_internal.h"
#include "sip/sibling.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

/* --- loops (RFC 5393 4.2) --- */

/* Of all that decides where the request goes; the same when it comes back to us unchanged. */
static uint64_t loop_hash(const struct sip_gateway *gateway, const struct sip_request *request, enum sip_trust trust) {
	const struct sip_frame *frame = &request->frame;
	const struct octets parts[] = {
		frame->uri,
		frame->field[SIP_FIELD_ROUTE],
		octets_of_string(request->from_tag),
		octets_of_string(request->to_tag),
		frame->field[SIP_FIELD_CALL_ID],
		frame->field[SIP_FIELD_CSEQ],
		frame->field[SIP_FIELD_PROXY_REQUIRE],
	};
	/* What we have sent to its caller's own gateway may come back from there. */
	bool home = trust == SIP_TRUST_SITE && sip_sibling_of_caller(gateway, request);
	uint64_t hash = home ? UINT64_C(0x686f6d65) : UINT64_C(0x6c6f6f70);

	for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
		uint64_t key[2] = {gateway->tag_key[0] ^ hash, gateway->tag_key[1] + i};
		hash = keyed_hash(key, parts[i]);
	}
	return hash;
}

static bool has_looped(const struct sip_request *request, uint64_t hash) {
	char wanted[24];
	osip_list_iterator_t at;

	snprintf(wanted, sizeof(wanted), ".%016" PRIx64, hash);
	for (osip_via_t *via = osip_list_get_first(&request->message->vias, &at); osip_list_iterator_has_elem(at);
	     via = osip_list_get_next(&at)) {
		const char *branch = via ? sip_parameter(&via->via_params, "branch") : NULL;
		if (branch && strlen(branch) == 7 + 16 + 17 && strcmp(strchr(branch, '.') ? strchr(branch, '.') : "", wanted) == 0)
			return true;
	}
	return false;
}

/* --- life --- */

static struct sip_proxy *proxy_free(struct sip_proxy *proxy) {
	if (!proxy)
		return NULL;
	struct sip_gateway *gateway = proxy->gateway;
	while (proxy->branches)
		branch_free(proxy->branches);
	while (proxy->placing)
		placing_free(proxy->placing);
	if (proxy->call)
		proxy->call->work = NULL; /* its answer finds nobody */
	if (proxy->transaction)
		proxy->transaction->proxy = NULL;
	sip_calls_released(proxy);
	DL_DELETE2(gateway->proxies, proxy, previous, next);
	gateway->proxy_octets -= proxy->held;
	gateway->raised_count -= proxy->raised;
	gateway->figures.proxies--;
	free((void *)proxy->request.data);
	free(proxy->routes);
	free(proxy->aor);
	free(proxy);
	return NULL;
}

void sip_proxies_free(struct sip_gateway *gateway) {
	while (gateway->proxies)
		proxy_free(gateway->proxies);
}

void proxy_call_lost(void *work) {
	struct sip_proxy *proxy = work;

	if (proxy)
		proxy->call = NULL;
}

/* An INVITE that was repeated within its dialog is remembered for as long as its ACK may come. */
void proxy_raise(struct sip_proxy *proxy) {
	if (!proxy->invite || !proxy->dialog || proxy->raised)
		return;
	proxy->raised = true;
	proxy->gateway->raised_count++;
}

uint32_t sip_proxy_invite_number(const struct sip_gateway *gateway, struct octets call_id, enum sip_numbering numbering,
				 uint32_t number) {
	struct sip_frame frame;

	for (const struct sip_proxy *proxy = gateway->raised_count > 0 ? gateway->proxies : NULL; proxy; proxy = proxy->next)
		if (proxy->raised && proxy->cseq == number && sip_frame_find(proxy->request, false, &frame) == 0 &&
		    octets_equal(frame.field[SIP_FIELD_CALL_ID], call_id))
			return sip_number_there(numbering, number, true);
	return sip_number_there(numbering, number, false);
}

static bool has_client(const struct sip_proxy *proxy) {
	for (const struct branch *branch = proxy->branches; branch; branch = branch->next_branch)
		if (branch->client)
			return true;
	return false;
}

void proxy_release(struct sip_proxy *proxy) {
	if ((proxy->answered || !proxy->transaction) && !has_client(proxy))
		proxy_free(proxy);
}

static void cancel_all(struct sip_proxy *proxy) {
	for (struct branch *branch = proxy->branches; branch; branch = branch->next_branch)
		branch_cancel(branch);
}

void sip_proxy_orphaned(struct sip_proxy *proxy) {
	proxy->transaction = NULL;
	cancel_all(proxy);
	proxy_release(proxy);
}

/* --- answers --- */

static struct octets vias_of(const struct sip_proxy *proxy) {
	struct reader r = reader_of_octets(proxy->transaction->echo);

	return reader_octets(&r, proxy->transaction->via_length);
}

static void relay(struct sip_proxy *proxy, const struct sip_frame *frame, unsigned status, struct octets extra) {
	struct writer w = writer_growing(LIMIT_SIP_MESSAGE);
	struct octets cseq = OCTETS_NONE;
	struct sip_frame request;

	if (proxy->numbered && sip_frame_find(proxy->request, false, &request) == 0)
		cseq = request.field[SIP_FIELD_CSEQ];
	sip_forward_response(frame, status, vias_of(proxy), cseq, extra, &w);
	if (writer_finish(&w) == 0)
		sip_transaction_relay(proxy->transaction, status, writer_octets_written(&w));
	else if (status >= 300)
		sip_transaction_respond(proxy->transaction, 500, "Answer Too Large", OCTETS_NONE);
	writer_release(&w);
}

void proxy_provisional(struct branch *branch, const struct sip_frame *frame) {
	struct sip_proxy *proxy = branch->proxy;

	sip_calls_heard(branch, frame->code);
	if (proxy->transaction && !proxy->answered)
		relay(proxy, frame, frame->code, OCTETS_NONE);
}

void proxy_accepted(struct branch *branch, const struct sip_frame *frame) {
	struct sip_proxy *proxy = branch->proxy;
	bool first = !proxy->answered;

	sip_calls_heard(branch, frame->code);
	/* Each 2xx of an INVITE belongs to a dialog of its own that the caller has to end (RFC 3261 16.7 step 5). */
	if (proxy->transaction && (first || proxy->invite))
		relay(proxy, frame, frame->code, OCTETS_NONE);
	proxy->answered = true;
	if (proxy->registrar)
		sip_sibling_answers(proxy->registrar, true);
	if (first)
		cancel_all(proxy);
	proxy_release(proxy);
}

/* RFC 3261 16.7 step 6: 6xx first, then the lowest class, within it those that tell the caller what to do. */
static unsigned rank(unsigned status) {
	static const unsigned telling[] = {401, 407, 415, 420, 484};

	if (status >= 600)
		return 0;
	for (size_t i = 0; i < ARRAY_LENGTH(telling); i++)
		if (status == telling[i])
			return 400;
	if (status == 408 || status == 487)
		return 499; /* says the least: nobody answered */
	return status / 100 * 100 + (status >= 400 ? 1 : 0) + (status == 503 ? 50 : 0);
}

static struct branch *best_branch(const struct sip_proxy *proxy) {
	struct branch *best = NULL;

	for (struct branch *branch = proxy->branches; branch; branch = branch->next_branch)
		if (branch->state == BRANCH_DONE && (!best || rank(branch->status) < rank(best->status)))
			best = branch;
	return best;
}

/* Challenges of the other branches, which the caller can answer at once (RFC 3261 16.7 step 7). */
static void write_challenges(const struct sip_proxy *proxy, const struct branch *best, struct writer *w) {
	for (const struct branch *branch = proxy->branches; branch; branch = branch->next_branch) {
		struct sip_raw_field field;
		struct sip_frame frame;
		if (branch == best || (branch->status != 401 && branch->status != 407) ||
		    sip_frame_find(branch->response, false, &frame) < 0)
			continue;
		struct reader r = reader_of_octets(frame.header);
		while (sip_raw_field_next(&r, &field))
			if ((field.name.length == 16 && strncasecmp((const char *)field.name.data, "www-authenticate", 16) == 0) ||
			    (field.name.length == 18 && strncasecmp((const char *)field.name.data, "proxy-authenticate", 18) == 0))
				writer_octets(w, field.whole);
	}
}

static const char *missing_reason(unsigned status) {
	return status == 404   ? "Not Found"
	       : status == 482 ? "Loop Detected"
	       : status == 480 ? "Temporarily Unavailable"
			       : "No Answer";
}

static void answer_missing(struct sip_proxy *proxy) {
	unsigned status = proxy->call_status >= 400 ? proxy->call_status : 480;

	if (status == 503)
		sip_respond_unavailable(proxy->transaction, proxy->aor ? "Overlay Not Reachable" : "No Name Server Answers",
					proxy->call_retry_s);
	else
		sip_transaction_respond(proxy->transaction, status, missing_reason(status), OCTETS_NONE);
}

static void answer_best(struct sip_proxy *proxy) {
	const struct branch *best = best_branch(proxy);
	struct writer challenges = writer_growing(SIP_HEADER_OCTETS);
	struct sip_frame frame;

	proxy->answered = true;
	if (proxy->registrar)
		sip_sibling_answers(proxy->registrar, best && best->response.length > 0);
	if (proxy->cancelled) {
		sip_transaction_respond(proxy->transaction, 487, "Request Terminated", OCTETS_NONE);
	} else if (!best) {
		answer_missing(proxy);
	} else if (best->response.length == 0 || sip_frame_find(best->response, false, &frame) < 0) {
		if (proxy->registrar)
			sip_respond_unavailable(proxy->transaction, "Registrar Not Reachable", 0);
		else if (best->status == 503)
			sip_respond_unavailable(proxy->transaction, "Phone Not Reachable", 0);
		else
			sip_transaction_respond(proxy->transaction, best->status,
						best->status == 408 ? "Request Timeout" : "Phone Not Reachable", OCTETS_NONE);
	} else {
		if (best->status == 401 || best->status == 407)
			write_challenges(proxy, best, &challenges);
		/* Another element's overload is not ours (RFC 3261 16.7 step 6); a registrar is asked for itself. */
		relay(proxy, &frame, best->status == 503 && !proxy->registrar ? 500 : best->status,
		      writer_octets_written(&challenges));
	}
	writer_release(&challenges);
}

/* --- going on --- */

static size_t count_branches(const struct sip_proxy *proxy, enum branch_state state) {
	size_t count = 0;

	for (const struct branch *branch = proxy->branches; branch; branch = branch->next_branch)
		count += branch->state == state;
	return count;
}

static struct branch *next_branch(const struct sip_proxy *proxy) {
	struct branch *next = NULL;

	for (struct branch *branch = proxy->branches; branch; branch = branch->next_branch)
		if (branch->state == BRANCH_WAITING && (!next || branch->q > next->q))
			next = branch;
	return next;
}

static int active_q(const struct sip_proxy *proxy) {
	int q = -1;

	for (const struct branch *branch = proxy->branches; branch; branch = branch->next_branch)
		if (branch->state == BRANCH_ACTIVE && branch->q > q)
			q = branch->q;
	return q;
}

/* Those with the same q in parallel, as far as the breadth allows; lower ones when all of these have failed. */
static void start_branches(struct sip_proxy *proxy) {
	while (!proxy->answered && !proxy->cancelled && !proxy->refused && proxy->transaction) {
		struct branch *next = next_branch(proxy);
		size_t active = count_branches(proxy, BRANCH_ACTIVE);
		if (!next || active >= proxy->breadth || (active > 0 && next->q < active_q(proxy)))
			return;
		branch_start(next);
	}
}

void proxy_proceed(struct sip_proxy *proxy) {
	proxy->busy++;
	start_branches(proxy);
	proxy->busy--;
	if (proxy->busy > 0)
		return;
	bool waiting = count_branches(proxy, BRANCH_ACTIVE) > 0 ||
		       ((proxy->call || proxy->placing) && !proxy->cancelled && !proxy->refused);
	if (proxy->transaction && !proxy->answered && !waiting)
		answer_best(proxy);
	proxy_release(proxy);
}

void proxy_finished(struct branch *branch) {
	struct sip_proxy *proxy = branch->proxy;

	if (branch->status >= 600 && !proxy->refused) {
		proxy->refused = true;
		cancel_all(proxy);
	}
	proxy_proceed(proxy);
}

void sip_proxy_cancel(struct sip_proxy *proxy) {
	if (!proxy->invite || proxy->answered || proxy->cancelled)
		return;
	proxy->cancelled = true;
	cancel_all(proxy);
	proxy_proceed(proxy);
}

/* --- coming in --- */

enum sip_trust sip_proxy_trust(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow) {
	/* A trunk, and a gateway of another overlay, is no phone, wherever it stands. */
	bool trunk = sip_trunk_at(gateway, &flow->remote) != NULL, sibling = sip_sibling_at(gateway, &flow->remote);
	if (!trunk && !sibling && gateway->events.allowed(gateway->events.userdata, &flow->remote))
		return SIP_TRUST_SITE;
	if (request->route_set.dialog)
		return SIP_TRUST_DIALOG;
	if (request->method == SIP_REGISTER)
		return sibling && !trunk ? SIP_TRUST_SIBLING : SIP_TRUST_NONE;
	const struct sip_connection *connection = sip_connection_of(gateway, flow);
	if (gateway->mode != SIP_MODE_REDIRECT && connection && connection->peer)
		return SIP_TRUST_GATEWAY;
	if (gateway->mode != SIP_MODE_REDIRECT && gateway->events.peer &&
	    gateway->events.peer(gateway->events.userdata, &flow->remote))
		return SIP_TRUST_GATEWAY;
	if (trunk)
		return SIP_TRUST_TRUNK;
	if (sibling)
		return SIP_TRUST_SIBLING;
	return gateway->outside_calls ? SIP_TRUST_OUTSIDE : SIP_TRUST_NONE;
}

bool sip_proxy_foreign(struct sip_gateway *gateway, const osip_uri_t *uri, const struct sip_flow *flow) {
	char domain[SIP_AOR_OCTETS + 1];

	return uri_is_sip(uri) && !gateway_owns_address(gateway, uri, flow) &&
	       !(uri_domain(uri, domain) == 0 && gateway->events.domain(gateway->events.userdata, domain));
}

bool sip_proxy_takes(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
		     enum sip_trust trust) {
	const osip_uri_t *uri = request->message->req_uri;

	if (request->method == SIP_REGISTER || request->method == SIP_CANCEL)
		return false;
	if (request->route_set.dialog || (request->route_set.path && trust == SIP_TRUST_SIBLING))
		return true;
	if (trust == SIP_TRUST_SITE && sip_sibling_of_caller(gateway, request))
		return true;
	/* Telephone numbers, and calls of a trunk: nobody can be told to go there, or knows what to do there. */
	char number[SIP_TRUNK_NUMBER];
	if ((trust == SIP_TRUST_SITE && place_is_number(gateway, request, flow, number)) ||
	    (trust == SIP_TRUST_TRUNK && uri_is_sip(uri) && uri->username))
		return true;
	/*
	 * What phones of the site ask for elsewhere: where we have redirected them to, when we are their outbound proxy, and
	 * outside domains. A redirector has no other place to tell for it than the one asked for, which RFC 3261 8.3 forbids: it
	 * places the request as that section says.
	 */
	struct sip_hop sibling;
	if (trust == SIP_TRUST_SITE && sip_proxy_foreign(gateway, uri, flow) &&
	    (request->route_set.ours ||
	     ((gateway->dns || sip_sibling_hop(gateway, uri, &sibling)) && uri->username && *uri->username)))
		return true;
	if (gateway->mode == SIP_MODE_REDIRECT)
		return false;
	if (gateway->mode == SIP_MODE_REDIRECT_INSIDE && trust == SIP_TRUST_SITE && !request->route_set.place &&
	    !(uri_is_sip(uri) && sip_parameter(&uri->url_params, USE_PROXY_PARAMETER) && gateway_owns_address(gateway, uri, flow)))
		return false;
	if (request->route_set.count > 0 || !uri_is_sip(uri) || (uri->username && *uri->username))
		return true;
	/* For ourselves: what a proxy is asked, and not what it is to pass on. */
	return sip_proxy_foreign(gateway, uri, flow);
}

/* Who may say who calls (RFC 3325 5): those who have asked the caller for that. */
static bool is_vouched(struct sip_gateway *gateway, const struct sip_flow *flow) {
	const struct sip_connection *connection = sip_connection_of(gateway, flow);

	return sip_trunk_at(gateway, &flow->remote) || sip_sibling_at(gateway, &flow->remote) || (connection && connection->peer) ||
	       (gateway->events.peer && gateway->events.peer(gateway->events.userdata, &flow->remote));
}

/* Parallel branches this request may have, its share of what those before us left (RFC 5393 5.3). */
static unsigned read_breadth(const struct sip_request *request) {
	uint32_t breadth = SIP_MAX_BREADTH;
	struct octets field = request->frame.field[SIP_FIELD_MAX_BREADTH];

	if (field.length > 0 && sip_number_parse(field, &breadth) == 0 && breadth < SIP_MAX_BREADTH)
		return breadth;
	return SIP_MAX_BREADTH;
}

static bool is_recorded(const struct sip_request *request) {
	const char *method = request->message->sip_method;

	return request->method == SIP_INVITE || strcmp(method, "SUBSCRIBE") == 0 || strcmp(method, "REFER") == 0;
}

static struct sip_proxy *proxy_new(struct sip_gateway *gateway, struct sip_transaction *transaction,
				   const struct sip_request *request, const struct sip_flow *flow, uint64_t hash) {
	const struct sip_frame *frame = &request->frame;

	if (gateway->proxy_octets + sizeof(struct sip_proxy) + frame->length > SIP_PROXY_OCTETS)
		return NULL;
	struct sip_proxy *proxy = calloc(1, sizeof(*proxy));
	uint8_t *copy = malloc(frame->length);
	if (!proxy || !copy) {
		free(proxy);
		free(copy);
		return NULL;
	}
	memcpy(copy, frame->header.data, frame->length);
	*proxy = (struct sip_proxy){
		.gateway = gateway,
		.transaction = transaction,
		.request = OCTETS(copy, frame->length),
		.flow = *flow,
		.loop_hash = hash,
		.cseq = request->cseq,
		.dialog = request->route_set.dialog,
		.numbering = request->route_set.numbering,
		.max_forwards = request->max_forwards - 1,
		.breadth = read_breadth(request),
		.invite = request->method == SIP_INVITE,
		.recorded = is_recorded(request),
		.secure = uri_is_secure(request->message->req_uri),
		.vouched = is_vouched(gateway, flow),
		.held = sizeof(*proxy) + frame->length,
	};
	gateway->proxy_octets += proxy->held;
	gateway->figures.proxies++;
	gateway->figures.proxied++;
	DL_APPEND2(gateway->proxies, proxy, previous, next);
	return proxy;
}

static bool requires_extension(struct sip_transaction *transaction, const struct sip_request *request) {
	struct octets value = request->frame.field[SIP_FIELD_PROXY_REQUIRE];
	struct writer w = writer_growing(2 * SIP_HEADER_OCTETS);

	if (value.length == 0)
		return false;
	writer_octets(&w, octets_of_string("Unsupported: "));
	writer_octets(&w, value);
	writer_octets(&w, octets_of_string("\r\n"));
	sip_transaction_respond(transaction, 420, "Bad Extension", writer_octets_written(&w));
	writer_release(&w);
	return true;
}

void sip_proxy_request(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
		       const struct sip_flow *flow, enum sip_trust trust) {
	uint64_t hash = loop_hash(gateway, request, trust);
	const char *reason = "Out of Memory";
	char number[SIP_TRUNK_NUMBER];

	if (!uri_is_sip(request->message->req_uri) &&
	    !(trust == SIP_TRUST_SITE && place_is_number(gateway, request, flow, number))) {
		sip_transaction_respond(transaction, 416, "Unsupported URI Scheme", OCTETS_NONE);
		return;
	}
	if (request->max_forwards == 0) {
		sip_transaction_respond(transaction, 483, "Too Many Hops", OCTETS_NONE);
		return;
	}
	if (requires_extension(transaction, request))
		return;
	if (has_looped(request, hash)) {
		sip_transaction_respond(transaction, 482, "Loop Detected", OCTETS_NONE);
		return;
	}
	if (read_breadth(request) == 0) {
		sip_transaction_respond(transaction, 440, "Max-Breadth Exceeded", OCTETS_NONE);
		return;
	}
	struct sip_proxy *proxy = proxy_new(gateway, transaction, request, flow, hash);
	if (!proxy) {
		sip_respond_unavailable(transaction, "Too Many Calls Being Placed", 0);
		return;
	}
	sip_calls_placed(proxy, request);
	sip_transaction_hold(transaction, proxy);
	unsigned status = place_request(proxy, request, trust, &reason);
	if (status != 0) {
		proxy->answered = true;
		if (status == 503)
			sip_respond_unavailable(transaction, reason, 0);
		else
			sip_transaction_respond(transaction, status, reason, OCTETS_NONE);
		proxy_release(proxy);
		return;
	}
	proxy_proceed(proxy);
}
