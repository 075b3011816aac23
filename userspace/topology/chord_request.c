/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests of the plug-in: each is remembered until it is answered, so that none outlives the plug-in. */
#include "topology/chord.h"

#include <errno.h>
#include <utlist.h>

struct octets chord_destinations(uint8_t *buffer, size_t size, const struct id *first, const struct id *last, bool resource) {
	struct writer w = writer_fixed(buffer, size);

	if (!id_is_none(first))
		destination_write_node(&w, first);
	if (resource)
		destination_write_resource(&w, id_octets(last));
	else
		destination_write_node(&w, last);
	return writer_octets_written(&w);
}

static void request_free(struct chord_request *request) {
	struct chord *chord = request->chord;

	DL_DELETE(chord->requests, request);
	chord->request_count--;
	free(request);
}

/* A neighbor that does not answer although its link seems to work has failed too (B-10.7.1-01: "failure of some request"). */
static void peer_silent(struct chord *chord, const struct id *peer) {
	struct chord_member *member = chord_table_find(&chord->table, peer);
	char text[ID_TEXT_SIZE];

	if (!member || ++member->silent_pings < CHORD_SILENT_PINGS_MAX)
		return;
	log_info("Chord: peer %s does not answer; its link is closed.", id_format(peer, text));
	router_close(chord->router, member->slot, LINK_TIMED_OUT);
}

static void peer_answered(struct chord *chord, const struct id *peer) {
	struct chord_member *member = chord_table_find(&chord->table, peer);

	if (member)
		member->silent_pings = 0;
}

static void request_done(void *userdata, int error, const struct response *response) {
	struct chord_request *done = userdata, request = *done;
	struct chord *chord = request.chord;

	request_free(done);
	if (error == -ECANCELED)
		return;
	switch (request.kind) {
	case CHORD_REQUEST_UPDATE:
	case CHORD_REQUEST_CHECK:
		if (error == -ETIMEDOUT)
			peer_silent(chord, &request.peer);
		else if (response)
			peer_answered(chord, &request.peer);
		break;
	case CHORD_REQUEST_SEARCH:
		if (error == 0)
			chord_finger_answered(chord, response);
		break;
	case CHORD_REQUEST_PARTITION:
		if (error == 0)
			chord_partition_answered(chord, &request, response);
		break;
	case CHORD_REQUEST_JOIN:
		chord_join_answered(chord, &request, error, response);
		break;
	case CHORD_REQUEST_LEAVE:
		chord_leave_answered(chord);
		break;
	case CHORD_REQUEST_QUERY:
		break; /* what matters is the Update that follows */
	}
}

int chord_request_start(struct chord *chord, enum chord_request_kind kind, const struct id *peer, const struct outgoing *template) {
	struct outgoing outgoing = *template;

	if (chord->request_count >= CHORD_REQUESTS_MAX)
		return -ENOBUFS;
	struct chord_request *request = calloc(1, sizeof(*request));
	if (!request)
		return -ENOMEM;
	*request = (struct chord_request){.chord = chord, .kind = kind, .peer = *peer, .slot = outgoing.via_slot};
	outgoing.done = request_done;
	outgoing.userdata = request;
	int error = router_send_request(chord->router, &outgoing, &request->transaction);
	if (error < 0) {
		free(request);
		return error;
	}
	DL_APPEND(chord->requests, request);
	chord->request_count++;
	return 0;
}

static void requests_cancel(struct chord *chord, bool all, enum chord_request_kind kind) {
	struct chord_request *request, *next;

	DL_FOREACH_SAFE (chord->requests, request, next) {
		if (!all && request->kind != kind)
			continue;
		transaction_cancel(request->transaction);
		request_free(request);
	}
}

void chord_requests_cancel(struct chord *chord, enum chord_request_kind kind) {
	requests_cancel(chord, false, kind);
}

void chord_requests_cancel_all(struct chord *chord) {
	requests_cancel(chord, true, CHORD_REQUEST_UPDATE);
}

size_t chord_requests_count(const struct chord *chord, enum chord_request_kind kind) {
	struct chord_request *request;
	size_t count = 0;

	DL_FOREACH (chord->requests, request)
		count += request->kind == kind;
	return count;
}

int chord_ping_peer(struct chord *chord, const struct chord_member *member) {
	uint8_t list[CHORD_DESTINATIONS_MAX], body[8];
	struct writer w = writer_fixed(body, sizeof(body));
	struct id none = ID_NONE;

	ping_req_write(&w, OCTETS_NONE);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT, .destination_list = chord_destinations(list, sizeof(list), &none, &member->id, false),
		.code = PING_REQ, .body = writer_octets_written(&w),
		.once = true, /* the link resends */
	};
	outgoing.via_slot = member->slot;
	return chord_request_start(chord, CHORD_REQUEST_CHECK, &member->id, &outgoing);
}

int chord_query(struct chord *chord, const struct chord_member *member) {
	uint8_t list[CHORD_DESTINATIONS_MAX], entry[CHORD_DESTINATIONS_MAX], body[16 + CHORD_DESTINATIONS_MAX];
	struct writer w = writer_fixed(body, sizeof(body)), position = writer_fixed(entry, sizeof(entry));
	struct id none = ID_NONE, point = id_add_small(chord_self(chord), 1);

	destination_write_resource(&position, id_octets(&point));
	struct route_query_req query = {
		.send_update = true, /* B-6.4.2.4-01 */
		.destination = {.type = DESTINATION_RESOURCE,
				.value = id_octets(&point),
				.whole = writer_octets_written(&position)},
	};
	route_query_write(&w, &query);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = chord_destinations(list, sizeof(list), &none, &member->id, false),
		.code = ROUTE_QUERY_REQ,
		.body = writer_octets_written(&w),
	};
	outgoing.via_slot = member->slot;
	return chord_request_start(chord, CHORD_REQUEST_QUERY, &member->id, &outgoing);
}
