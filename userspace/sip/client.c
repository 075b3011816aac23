/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Client transactions (RFC 3261 17.1 as changed by RFC 6026). A response belongs to the transaction whose number, drawn at random,
 * stands in the branch of its topmost Via: who has not seen the request cannot answer it.
 */
#include "sip/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define T1_US (500 * USEC_PER_MSEC)
#define T2_US (4 * USEC_PER_SEC)
#define T4_US (5 * USEC_PER_SEC)
#define END_US (64 * T1_US) /* timers B, D, F, M */

static bool is_reliable(const struct sip_client *client) {
	return client->flow.transport != SIP_UDP;
}

static void arm(struct sip_client *client) {
	uint64_t due_us = client->end_us, now_us = client->gateway->runtime->now_us;

	if (client->interval_us > 0 && now_us + client->interval_us < due_us)
		due_us = now_us + client->interval_us;
	if (due_us == USEC_NEVER)
		timer_disarm(client->gateway->runtime, &client->timer);
	else
		timer_arm(client->gateway->runtime, &client->timer, due_us);
}

/* No answer is awaited on its connection any more. */
static void release_flow(struct sip_client *client) {
	struct sip_connection *connection = sip_connection_of(client->gateway, &client->flow);

	if (connection && connection->asked > 0)
		connection->asked--;
}

static bool is_waiting(const struct sip_client *client) {
	return client->state == SIP_CLIENT_CALLING || client->state == SIP_CLIENT_PROCEEDING;
}

struct sip_client *sip_client_free(struct sip_client *client) {
	if (!client)
		return NULL;
	struct sip_gateway *gateway = client->gateway;
	if (is_waiting(client))
		release_flow(client);
	timer_disarm(gateway->runtime, &client->timer);
	HASH_DEL(gateway->clients, client);
	gateway->client_octets -= sizeof(*client) + client->request.length;
	gateway->figures.clients--;
	free((void *)client->request.data);
	free(client);
	return NULL;
}

void sip_clients_free(struct sip_gateway *gateway) {
	while (gateway->clients)
		sip_client_free(gateway->clients);
}

void sip_client_leave(struct sip_client *client) {
	client->answered = NULL;
	client->userdata = NULL;
}

/* Tells the owner, who may then be told no more, and frees the transaction. */
static void end(struct sip_client *client) {
	unsigned status = !is_waiting(client) ? 0 : client->lost ? 503 : 408;

	if (client->answered)
		client->answered(client->userdata, client, NULL, status);
	sip_client_free(client);
}

static void client_due(struct timer *timer, void *userdata) {
	struct sip_client *client = userdata;

	(void)timer;
	if (client->gateway->runtime->now_us >= client->end_us) {
		end(client);
		return;
	}
	sip_flow_send(client->gateway, &client->flow, client->request);
	client->interval_us *= 2;
	if (!client->invite && (client->interval_us > T2_US || client->state == SIP_CLIENT_PROCEEDING))
		client->interval_us = T2_US;
	arm(client);
}

int sip_client_new(struct sip_gateway *gateway, struct sip_client_key key, const struct sip_flow *flow, struct octets request,
		   struct sip_client **ret) {
	struct sip_client *client = NULL;
	int error = gateway->figures.clients >= SIP_CLIENTS || gateway->client_octets + request.length > SIP_CLIENT_OCTETS
			    ? -ENOBUFS
			    : sip_flow_send(gateway, flow, request);

	if (error == 0 && !(client = calloc(1, sizeof(*client))))
		error = -ENOMEM;
	if (error != 0) {
		free((void *)request.data);
		return error;
	}
	*client = (struct sip_client){
		.gateway = gateway,
		.key = key,
		.invite = request.length > 7 && memcmp(request.data, "INVITE ", 7) == 0,
		.flow = *flow,
		.request = request,
		.end_us = gateway->runtime->now_us + END_US,
		.interval_us = flow->transport == SIP_UDP ? T1_US : 0,
	};
	HASH_ADD(hh, gateway->clients, key, sizeof(client->key), client);
	if (!client->hh.tbl) {
		free((void *)request.data);
		free(client);
		return -ENOMEM;
	}
	gateway->client_octets += sizeof(*client) + request.length;
	gateway->figures.clients++;
	timer_init(&client->timer, client_due, client);
	struct sip_connection *connection = sip_connection_of(gateway, flow);
	if (connection)
		connection->asked++;
	arm(client);
	*ret = client;
	return 0;
}

void sip_client_hurry(struct sip_client *client, unsigned seconds) {
	if (client->state != SIP_CLIENT_CALLING)
		return;
	client->end_us = client->gateway->runtime->now_us + seconds * USEC_PER_SEC;
	arm(client);
}

void sip_client_cancel(struct sip_client *client) {
	struct octets request = OCTETS_NONE;
	struct sip_client_key key = {client->key.id, 1};
	struct sip_client *cancel = NULL;

	if (!client->invite || client->state != SIP_CLIENT_PROCEEDING || client->end_us != USEC_NEVER)
		return;
	client->end_us = client->gateway->runtime->now_us + END_US;
	arm(client);
	if (sip_derive("CANCEL", client->request, OCTETS_NONE, &request) == 0)
		sip_client_new(client->gateway, key, &client->flow, request, &cancel); /* fails: as if lost on the way */
}

/* A final answer other than 2xx to an INVITE is acknowledged here, hop by hop. */
static void acknowledge(struct sip_client *client, const struct sip_frame *frame) {
	struct octets ack = OCTETS_NONE;

	if (sip_derive("ACK", client->request, frame->field[SIP_FIELD_TO], &ack) < 0)
		return;
	client->gateway->client_octets += ack.length - client->request.length;
	free((void *)client->request.data);
	client->request = ack;
	sip_flow_send(client->gateway, &client->flow, ack);
}

static void complete(struct sip_client *client, const struct sip_frame *frame) {
	bool accepted = client->invite && frame->code < 300;

	release_flow(client);
	client->state = accepted ? SIP_CLIENT_ACCEPTED : SIP_CLIENT_COMPLETED;
	client->interval_us = 0;
	client->end_us = client->gateway->runtime->now_us;
	if (accepted)
		client->end_us += END_US; /* timer M */
	else if (!is_reliable(client))
		client->end_us += client->invite ? END_US : T4_US; /* timers D, K */
	if (client->invite && !accepted)
		acknowledge(client, frame);
	arm(client);
}

static void take(struct sip_client *client, const struct sip_frame *frame) {
	switch (client->state) {
	case SIP_CLIENT_CALLING:
	case SIP_CLIENT_PROCEEDING:
		if (frame->code >= 200) {
			complete(client, frame);
			break;
		}
		if (client->state == SIP_CLIENT_CALLING && client->invite) {
			client->interval_us = 0;
			client->end_us = USEC_NEVER; /* its owner has timer C */
		}
		client->state = SIP_CLIENT_PROCEEDING;
		arm(client);
		break;
	case SIP_CLIENT_ACCEPTED:
		if (frame->code / 100 != 2)
			return;
		break;
	case SIP_CLIENT_COMPLETED:
		if (client->invite && frame->code >= 300)
			sip_flow_send(client->gateway, &client->flow, client->request);
		return;
	}
	if (client->answered)
		client->answered(client->userdata, client, frame, frame->code);
}

/* Number and method of a CSeq. */
static bool cseq_method_is(const struct sip_frame *frame, const char *method) {
	struct octets value = frame->field[SIP_FIELD_CSEQ];
	size_t length = strlen(method);

	return value.length > length && memcmp(value.data + value.length - length, method, length) == 0 &&
	       (value.data[value.length - length - 1] == ' ' || value.data[value.length - length - 1] == '\t');
}

/* Our number in the topmost Via: "...;branch=z9hG4bK0123456789abcdef.0123456789abcdef". 0: none. */
static uint64_t branch_id(const struct sip_frame *frame) {
	static const char start[] = "branch=z9hG4bK", digits[] = "0123456789abcdef";
	struct octets via = frame->field[SIP_FIELD_VIA];
	const uint8_t *comma = via.length > 0 ? memchr(via.data, ',', via.length) : NULL;
	struct reader r = reader_of(via.data, comma ? (size_t)(comma - via.data) : via.length);
	struct reader ahead = r;
	struct octets first = reader_rest(&ahead);
	const uint8_t *found = first.length > 0 ? memmem(first.data, first.length, start, sizeof(start) - 1) : NULL;
	uint64_t id = 0;

	if (!found)
		return 0;
	reader_octets(&r, (size_t)(found - first.data) + sizeof(start) - 1);
	for (unsigned i = 0; i < 16; i++) {
		uint8_t c = reader_u8(&r);
		const char *digit = c ? strchr(digits, c) : NULL;
		if (!digit)
			return 0;
		id = id << 4 | (uint64_t)(digit - digits);
	}
	return r.error < 0 ? 0 : id;
}

void sip_client_receive(struct sip_gateway *gateway, const struct sip_frame *frame) {
	struct sip_client_key key = {branch_id(frame), cseq_method_is(frame, "CANCEL")};
	struct sip_client *client = NULL;

	if (key.id != 0 && frame->code != 0 && frame->status == 0 && frame->field[SIP_FIELD_TO].length > 0 &&
	    frame->field[SIP_FIELD_FROM].length > 0 && frame->field[SIP_FIELD_CALL_ID].length > 0)
		HASH_FIND(hh, gateway->clients, &key, sizeof(key), client);
	if (!client || client->invite != cseq_method_is(frame, "INVITE")) {
		gateway->figures.dropped++; /* answers nothing we asked, or what was answered long ago */
		return;
	}
	gateway->figures.answers++;
	take(client, frame);
}

void sip_clients_lost(struct sip_gateway *gateway, uint64_t connection) {
	struct sip_client *client, *next;

	for (client = gateway->clients; client; client = next) {
		next = client->hh.next;
		if (client->flow.connection != connection || !is_waiting(client))
			continue;
		/* Told by timer, as owners may be in the midst of something. */
		client->end_us = gateway->runtime->now_us;
		client->interval_us = 0;
		arm(client);
		client->lost = true;
	}
}
