/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Does the overlay answer through a new link? Two questions at once: a Ping for the point after ours, which only a ring answers
 * (the same point the Attach that follows asks for, B-11.4-01), and a Probe of the other side itself, whose share of the ring is
 * zero as long as it looks for the overlay like us. A bootstrap server has no share either, and passes the Ping on.
 */
#include "node/join_internal.h"
#include "wire/method.h"

enum { DESTINATIONS_MAX = 2 * (3 + ID_LENGTH_MAX) };

/* Lives until its transaction ends, which router_shutdown() sees to before the join goes. */
struct verification {
	struct join *join;
	uint16_t slot;
	uint64_t serial;
};

static void on_ping(void *userdata, int error, const struct response *response) {
	struct verification *verification = userdata;

	(void)response;
	if (error == 0)
		bootstrap_verdict(&verification->join->race, verification->slot, verification->serial, BOOTSTRAP_IS_INSIDE);
	free(verification);
}

static bool has_no_share(const struct response *response) {
	struct probe_information information;
	struct octets list;

	if (probe_ans_read(response->body, &list) < 0)
		return false;
	struct reader r = reader_of_octets(list);
	while (reader_more(&r) && probe_information_next(&r, &information) > 0)
		if (information.type == PROBE_RESPONSIBLE_SET)
			return information.value == 0;
	return false;
}

static void on_probe(void *userdata, int error, const struct response *response) {
	struct verification *verification = userdata;

	if (error == 0 && has_no_share(response))
		bootstrap_verdict(&verification->join->race, verification->slot, verification->serial, BOOTSTRAP_IS_OUTSIDE);
	free(verification);
}

static void ask(struct join *join, const struct verification *template, const struct outgoing *outgoing) {
	struct verification *verification = malloc(sizeof(*verification));
	struct outgoing request = *outgoing;

	if (!verification)
		return; /* then the time-out of the race decides */
	*verification = *template;
	request.userdata = verification;
	request.via_slot = template->slot;
	request.any_responder = true;
	if (router_send_request(join->node->router, &request, NULL) < 0)
		free(verification);
}

static void ask_ring(struct join *join, const struct verification *template, const struct connection *connection) {
	uint8_t destinations[DESTINATIONS_MAX], body[8];
	struct writer list = writer_fixed(destinations, sizeof(destinations)), w = writer_fixed(body, sizeof(body));
	struct id point = id_add_small(router_node_id(join->node->router), 1); /* */

	if (!id_is_none(&connection->peer))
		destination_write_node(&list, &connection->peer);
	destination_write_resource(&list, id_octets(&point));
	ping_req_write(&w, OCTETS_NONE);
	ask(join, template,
	    &(struct outgoing){OUTGOING_DEFAULT, .destination_list = writer_octets_written(&list), .code = PING_REQ,
			       .body = writer_octets_written(&w), .done = on_ping});
}

static void ask_peer(struct join *join, const struct verification *template, const struct connection *connection) {
	const uint8_t wanted = PROBE_RESPONSIBLE_SET;
	uint8_t destinations[DESTINATIONS_MAX], body[8];
	struct writer list = writer_fixed(destinations, sizeof(destinations)), w = writer_fixed(body, sizeof(body));
	struct probe_req probe = {.requested_info = OCTETS(&wanted, 1)};

	if (id_is_none(&connection->peer))
		return; /* B-6.1.2-07: an unbound link takes no Probe */
	destination_write_node(&list, &connection->peer);
	probe_req_write(&w, &probe);
	ask(join, template,
	    &(struct outgoing){OUTGOING_DEFAULT, .destination_list = writer_octets_written(&list), .code = PROBE_REQ,
			       .body = writer_octets_written(&w), .done = on_probe});
}

void join_verify(void *userdata, uint16_t slot, uint64_t serial) {
	struct join *join = userdata;
	const struct connection *connection = router_connection(join->node->router, slot);
	const struct verification template = {.join = join, .slot = slot, .serial = serial};

	if (!connection || !connection->up)
		return;
	ask_ring(join, &template, connection);
	ask_peer(join, &template, connection);
}
