/* SPDX-License-Identifier: BSD-2-Clause */
/* ACKs of 2xx: the proxy passes them on without a transaction (RFC 3261 16.11), and without an answer to tell that it could not. */
#include "sip/proxy_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* One whose next hop is being looked up by name. */
struct sip_ack {
	struct sip_gateway *gateway;
	struct sip_flow flow; /* it came over */
	struct octets octets; /* owned: as received */
	char *uri, *routes;
	struct sip_locate *locate;
	struct sip_ack *prev, *next;
};

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
		.gateway = gateway,
		.frame = &request->frame,
		.uri = uri,
		.via = via,
		.vias = writer_octets_written(&vias),
		.record_route = "",
		.routes = routes,
		.max_forwards = request->max_forwards - 1,
		.numbering = request->route_set.numbering,
	};
	sip_forward_write(&forward, w);
	int error = writer_finish(&vias);
	writer_release(&vias);
	return error < 0 ? error : writer_finish(w);
}

static int send_ack(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *from,
		    const struct sip_hop *hop, const char *uri, const char *routes) {
	struct writer w = writer_growing(LIMIT_SIP_MESSAGE);
	struct sip_flow to;

	int error = place_allowed(gateway, from, hop) ? sip_hop_open(gateway, hop, &to) : -EHOSTUNREACH;
	if (error == 0)
		error = write_ack(gateway, request, from, &to, uri, routes ? routes : "", &w);
	if (error == 0)
		error = sip_flow_send(gateway, &to, writer_octets_written(&w));
	writer_release(&w);
	return error;
}

/* --- by name --- */

static struct sip_ack *ack_free(struct sip_ack *ack) {
	if (!ack)
		return NULL;
	DL_DELETE(ack->gateway->acks, ack);
	sip_locate_free(ack->locate);
	free((void *)ack->octets.data);
	free(ack->uri);
	free(ack->routes);
	free(ack);
	return NULL;
}

void sip_acks_free(struct sip_gateway *gateway) {
	while (gateway->acks)
		ack_free(gateway->acks);
}

/* To the first place only: nothing would tell that it did not arrive. */
static void on_located(void *userdata, int error, const struct sip_hop *hops, size_t count) {
	struct sip_ack *ack = userdata;
	struct sip_request request;
	const char *reason;
	struct sip_frame frame;

	ack->locate = NULL;
	if (error == 0 && count > 0)
		error = sip_frame_find(ack->octets, false, &frame);
	if (error == 0)
		error = sip_request_parse(&frame, &request, &reason);
	if (error == 0) {
		error = send_ack(ack->gateway, &request, &ack->flow, hops, ack->uri, ack->routes);
		sip_request_release(&request);
	}
	if (error < 0)
		ack->gateway->figures.dropped++;
	ack_free(ack);
}

/* `uri` and `routes` are owned from now on. */
static int send_by_name(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
			const osip_uri_t *next, char *uri, char *routes) {
	const struct sip_frame *frame = &request->frame;
	struct sip_ack *ack = calloc(1, sizeof(*ack));
	uint8_t *copy = malloc(frame->length);

	if (!ack || !copy) {
		free(ack);
		free(copy);
		free(uri);
		free(routes);
		return -ENOMEM;
	}
	memcpy(copy, frame->header.data, frame->length);
	*ack = (struct sip_ack){
		.gateway = gateway, .flow = *flow, .octets = OCTETS(copy, frame->length), .uri = uri, .routes = routes};
	DL_APPEND(gateway->acks, ack);
	int error = sip_locate(gateway, next, on_located, ack, &ack->locate);
	if (error < 0)
		ack_free(ack);
	return error;
}

/* --- coming in --- */

void sip_proxy_ack(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
		   enum sip_trust trust) {
	const struct sip_route_set *set = &request->route_set;
	_cleanup_(uri_freep) osip_uri_t *next = NULL;
	_cleanup_free_ char *uri = NULL, *routes = NULL;
	struct sip_hop hop;
	int error = -EHOSTUNREACH;

	if (request->max_forwards > 0 && set->count > 0 &&
	    (set->dialog || (trust == SIP_TRUST_SITE && gateway->mode != SIP_MODE_REDIRECT))) {
		error = place_follow_route(request, &next, &uri, &routes);
		if (error == 0)
			error = sip_hop_of_uri(next, &hop);
	} else if (request->max_forwards > 0 && set->dialog) {
		uri = place_request_uri(request);
		error = uri ? sip_hop_of_flow(gateway, &set->flow, request->message->req_uri, &hop) : -ENOMEM;
	}
	if (error == -ENODATA)
		error = send_by_name(gateway, request, flow, next, TAKE(uri), TAKE(routes));
	else if (error == 0)
		error = send_ack(gateway, request, flow, &hop, uri, routes);
	if (error < 0)
		gateway->figures.dropped++; /* there is no answer to an ACK */
}
