/* SPDX-License-Identifier: BSD-2-Clause */
/* The core: what kind of request this is and who answers it (RFC 3261 8.2, 8.3, 9.2, 11.2). */
#include "sip/proxy.h"
#include "sip/sibling.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

static void respond(struct sip_transaction *transaction, unsigned status, const char *reason) {
	sip_transaction_respond(transaction, status, reason, OCTETS_NONE);
}

void sip_respond_unavailable(struct sip_transaction *transaction, const char *reason, unsigned seconds) {
	char field[64];

	if (seconds == 0)
		seconds = SIP_RETRY_AFTER_SECONDS;
	seconds += (unsigned)runtime_random_below(transaction->gateway->runtime, seconds + UINT64_C(1));
	snprintf(field, sizeof(field), "Retry-After: %u\r\n", seconds);
	sip_transaction_respond(transaction, 503, reason, octets_of_string(field));
}

/* RFC 3261 9.2 */
static void cancel(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request) {
	struct sip_transaction *invite = sip_transaction_to_cancel(gateway, request);

	if (!invite) {
		respond(transaction, 481, "Call/Transaction Does Not Exist");
		return;
	}
	respond(transaction, 200, "OK");
	if (invite->proxy)
		sip_proxy_cancel(invite->proxy);
	else
		respond(invite, 487, "Request Terminated");
}

#define CAPABILITIES SIP_ALLOW "Accept: application/sdp\r\nAccept-Encoding: identity\r\nAccept-Language: en\r\n"

static void capabilities(const struct sip_gateway *gateway, struct sip_transaction *transaction) {
	bool extended = sip_extensions_offered(gateway) != 0;

	sip_transaction_respond(transaction, 200, "OK",
				octets_of_string(extended ? CAPABILITIES "Supported: path, outbound, gruu\r\n" : CAPABILITIES));
}

/* Answers 420 when the request requires an extension that we do not have (RFC 3261 8.2.2.3); `known` are those it may. */
static bool requires_extension(struct sip_transaction *transaction, const struct sip_request *request, unsigned known) {
	struct writer w = writer_growing(2 * SIP_HEADER_OCTETS);

	if (request->frame.field[SIP_FIELD_REQUIRE].length > 0)
		sip_extensions_read(&request->frame, "Require", known, &w);
	bool found = w.length > 0;
	if (found)
		sip_transaction_respond(transaction, 420, "Bad Extension", writer_octets_written(&w));
	writer_release(&w);
	return found;
}

/*
 * The AoR a request is for. A Request-URI that names our address tells the user, but not in which of our domains: the To field
 * says that, as phones fill it with what was dialled. Returns 0 or the status to refuse with.
 */
unsigned sip_request_target(struct sip_gateway *gateway, const struct sip_request *request, bool ours,
			    char aor[static SIP_AOR_OCTETS + 1], const char **ret_reason) {
	const osip_uri_t *uri = request->message->req_uri;
	char domain[SIP_AOR_OCTETS + 1], of_to[SIP_AOR_OCTETS + 1];

	*ret_reason = "Domain Not Served";
	if (uri_domain(uri, domain) < 0)
		return 404;
	if (!gateway->events.domain(gateway->events.userdata, domain)) {
		if (!ours || uri_domain(request->message->to->url, of_to) < 0 ||
		    !gateway->events.domain(gateway->events.userdata, of_to))
			return 404;
		strcpy(domain, of_to);
	}
	*ret_reason = "Not Found";
	osip_uri_t named = *uri;
	named.host = domain;
	return gateway_aor(gateway, &named, aor) < 0 ? 404 : 0;
}

/* Redirects whatever the method, and whatever it requires: a redirect server must (RFC 3261 8.3). */
static void redirect(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
		     const struct sip_flow *flow) {
	const osip_uri_t *uri = request->message->req_uri;
	char aor[SIP_AOR_OCTETS + 1];
	const char *reason;

	bool ours = gateway_owns_address(gateway, uri, flow);
	bool user = uri->username && *uri->username;
	if (request->method == SIP_OPTIONS && (ours || !user)) {
		if (!requires_extension(transaction, request, 0))
			capabilities(gateway, transaction);
		return;
	}
	if (request->max_forwards == 0) {
		respond(transaction, 483, "Too Many Hops");
		return;
	}
	if (!user && request->method == SIP_OTHER) {
		sip_transaction_respond(transaction, 405, "Method Not Allowed", octets_of_string(SIP_ALLOW));
		return;
	}
	unsigned status = sip_request_target(gateway, request, ours, aor, &reason);
	if (status != 0)
		respond(transaction, status, reason);
	else
		sip_redirect(gateway, transaction, request, aor);
}

/* Step by step as RFC 3261 10.3 has it, here or where the users of the domain are known. */
static void receive_register(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
			     const struct sip_flow *flow, enum sip_trust trust) {
	if (trust == SIP_TRUST_SITE && sip_sibling_registrar(gateway, request, flow)) {
		sip_proxy_request(gateway, transaction, request, flow, trust);
		return;
	}
	/* Who is let in there, and whom that gateway speaks for, it alone knows. */
	if (trust == SIP_TRUST_SIBLING && !gateway->auth.on) {
		respond(transaction, 403, "Password Needed From Elsewhere");
		return;
	}
	if (!requires_extension(transaction, request, sip_extensions_offered(gateway)))
		sip_register(gateway, transaction, request);
}

static void process(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
		    const struct sip_flow *flow, enum sip_trust trust) {
	if (request->method == SIP_CANCEL) {
		cancel(gateway, transaction, request);
		return;
	}
	if (sip_proxy_takes(gateway, request, flow, trust)) {
		if (sip_caller_admitted(gateway, transaction, request, flow, trust))
			sip_proxy_request(gateway, transaction, request, flow, trust);
		return;
	}
	if ((request->to_tag && request->method != SIP_REGISTER) || request->method == SIP_IN_DIALOG) {
		respond(transaction, 481, "Call/Transaction Does Not Exist"); /* RFC 3261 12.2.2: we have no dialogs */
		return;
	}
	if (!uri_is_sip(request->message->req_uri)) {
		respond(transaction, 416, "Unsupported URI Scheme");
		return;
	}
	if (request->method == SIP_REGISTER) {
		receive_register(gateway, transaction, request, flow, trust);
		return;
	}
	redirect(gateway, transaction, request, flow);
}

/* Requests of others' dialogs, and ones that took two ways to us, are no business of a proxy (RFC 3261 8.2.2.2, 16.3). */
static bool is_merged(struct sip_gateway *gateway, struct sip_request *request, const struct sip_flow *flow, enum sip_trust trust) {
	return sip_transaction_merged(gateway, request) && !sip_proxy_takes(gateway, request, flow, trust);
}

static void receive_request(struct sip_gateway *gateway, struct sip_request *request, const struct sip_flow *flow) {
	struct sip_transaction *transaction = NULL;

	int error = sip_route_set_read(gateway, request, flow);
	if (error == -EBADMSG && gateway->mode == SIP_MODE_REDIRECT) {
		sip_route_set_release(&request->route_set); /* nothing to whom has no use for it (RFC 3261 8.2) */
		error = 0;
	}
	if (error < 0) {
		gateway->figures.malformed++;
		sip_refuse(gateway, request, flow, error == -EBADMSG ? 400 : 500,
			   error == -EBADMSG ? "Malformed Route" : "Out of Memory");
		return;
	}
	enum sip_trust trust = sip_proxy_trust(gateway, request, flow);
	if (trust == SIP_TRUST_NONE) {
		gateway->figures.dropped++;
		sip_refuse(gateway, request, flow, 403, "Forbidden");
		return;
	}
	if (sip_transaction_match(gateway, request, flow))
		return;
	if (request->method == SIP_ACK) {
		sip_proxy_ack(gateway, request, flow, trust);
		return;
	}
	if (trust == SIP_TRUST_SIBLING && sip_caller_lent(gateway, request)) {
		request->lent = true;
		trust = SIP_TRUST_SITE;
	}
	if (sip_overload_refuses(gateway, request)) {
		gateway->figures.shed++;
		sip_refuse_overload(gateway, request, flow, trust != SIP_TRUST_SITE);
		return;
	}
	if (trust == SIP_TRUST_OUTSIDE && !sip_outside_may(gateway, &flow->remote)) {
		sip_refuse(gateway, request, flow, 503, "Too Many Requests");
		return;
	}
	bool merged = is_merged(gateway, request, flow, trust);
	request->hashed = true; /* sip_transaction_match() and sip_transaction_merged() were asked */
	error = gateway->call_count >= LIMIT_SIP_TRANSACTIONS ? -ENOBUFS
							      : sip_transaction_new(gateway, request, flow, &transaction);
	if (error < 0) {
		gateway->figures.dropped++;
		sip_refuse(gateway, request, flow, 503, "Too Many Transactions");
		return;
	}
	if (merged)
		respond(transaction, 482, "Merged Request");
	else
		process(gateway, transaction, request, flow, trust);
}

/* Does the Request-URI begin with a scheme that is none of ours? */
static bool has_unknown_scheme(const struct sip_frame *frame) {
	const uint8_t *colon = frame->uri.length > 0 ? memchr(frame->uri.data, ':', frame->uri.length) : NULL;
	struct reader r = reader_of(frame->uri.data, colon ? (size_t)(colon - frame->uri.data) : 0);
	struct octets scheme = reader_rest(&r);

	for (size_t i = 0; i < scheme.length; i++)
		if (!isalnum(scheme.data[i]) && !strchr("+-.", scheme.data[i]))
			return false;
	return scheme.length > 0 && isalpha(scheme.data[0]) &&
	       !(scheme.length == 3 && strncasecmp((const char *)scheme.data, "sip", 3) == 0) &&
	       !(scheme.length == 4 && strncasecmp((const char *)scheme.data, "sips", 4) == 0);
}

void sip_receive(struct sip_gateway *gateway, const struct sip_flow *flow, const struct sip_frame *frame) {
	struct sip_request request;
	const char *reason = frame->reason;

	if (gateway->trace)
		sip_trace_frame(gateway, flow, &flow->remote, frame, false);
	if (frame->response) {
		sip_client_receive(gateway, frame);
		return;
	}
	gateway->figures.requests++;
	unsigned status = frame->status;
	sip_overload_watch(gateway);
	if (status == 0 && (sip_transaction_acknowledge(gateway, frame, flow) || sip_overload_take(gateway, frame, flow) ||
			    sip_register_again(gateway, frame, flow)))
		return;
	if (status == 0) {
		int error = sip_request_parse(frame, &request, &reason);
		if (error == 0) {
			receive_request(gateway, &request, flow);
			sip_request_release(&request);
			return;
		}
		status = error == -EBADMSG ? 400 : 500;
		if (status == 400 && has_unknown_scheme(frame)) {
			status = 416; /* RFC 3261 8.2.2.1: of URIs that the parser knows nothing of */
			reason = "Unsupported URI Scheme";
		}
		if (!reason)
			reason = "Out of Memory";
	}
	gateway->figures.malformed++;
	sip_refuse_frame(gateway, frame, flow, status, reason);
}

void sip_receive_datagram(struct sip_gateway *gateway, const struct sip_flow *flow, struct octets octets) {
	struct reader r = reader_of_octets(octets);
	struct sip_frame frame;

	if (octets.length > 0 && octets.data[0] < 4 && sip_stun_receive(gateway, flow, octets))
		return;
	/* Keep-alives, and line ends before the first line (RFC 3261 7.5). Four zero octets are a common keep-alive as well. */
	for (struct reader ahead = r; reader_left(&ahead) > 0; r = ahead) {
		uint8_t c = reader_u8(&ahead);
		if (c != '\r' && c != '\n' && c != 0)
			break;
	}
	if (reader_left(&r) == 0)
		return;
	if (sip_frame_find(reader_rest(&r), false, &frame) < 0) {
		gateway->figures.malformed++;
		return;
	}
	sip_receive(gateway, flow, &frame);
}
