/* SPDX-License-Identifier: BSD-2-Clause */
/* Peers that do not play by the rules though they have certificates (RFC 6940 13): mute ones and liars. */
#include "sim/world.h"

#include "wire/data.h"
#include "wire/destination.h"
#include "wire/method.h"

#include <string.h>

enum {
	INVENTED_NEIGHBORS = 8,
	FORGED_NUMBER_SIZE = 16,
	FORGED_LIFETIME_S = 86400,
	FORGED_GENERATION = 1 << 20,
};

/* ---- mute ---- */

void sim_node_mute(struct sim_node *node) {
	if (!node->host || node->mute)
		return;
	node->mute = true;
	node->died_us = node->world->fault_us = sim_now_us(node->world);
	virtual_host_set_mute(node->host, true);
}

void sim_node_unmute(struct sim_node *node) {
	node->mute = false;
	node->world->fault_us = sim_now_us(node->world);
	if (node->host)
		virtual_host_set_mute(node->host, false);
}

/* ---- lies ---- */

static void lie_about_route(void *userdata, struct request *request) {
	struct sim_node *node = userdata;
	uint8_t body[ID_LENGTH_MAX];
	struct writer w = writer_fixed(body, sizeof(body));
	struct id invented = sim_random_id(node->world);

	node->world->figures.lies++;
	writer_id(&w, &invented);
	request_answer(request, writer_octets_written(&w), NULL);
}

/* A value that was never stored, signed by the liar itself. */
static void forge(struct sim_node *node, struct request *request, struct octets resource_id) {
	char text[FORGED_NUMBER_SIZE];
	const struct stored_value value = {.model = DATA_MODEL_SINGLE, .exists = true, .value = octets_of_string(text)};
	struct writer body = writer_growing(UINT16_MAX);

	snprintf(text, sizeof(text), "%u", UINT32_MAX);
	struct stored_value forged = value;
	forged.value = octets_of_string(text);
	size_t list = writer_begin(&body, 4);
	size_t element = store_kind_data_begin(&body, SIM_KIND, FORGED_GENERATION);
	int error = stored_data_sign(node->credential, resource_id, SIM_KIND, runtime_realtime_ms(virtual_host_runtime(node->host)),
				     FORGED_LIFETIME_S, &forged, &body);
	store_kind_data_end(&body, element);
	writer_end(&body, list, 4);
	if (error < 0 || writer_finish(&body) < 0)
		request_drop(request);
	else
		request_answer(request, writer_octets_written(&body), NULL);
	writer_release(&body);
}

static void lie_about_record(void *userdata, struct request *request) {
	struct sim_node *node = userdata;
	struct fetch_req fetch;

	node->world->figures.lies++;
	if (fetch_req_read(request->message.contents.body, &fetch) < 0) {
		request_drop(request);
		return;
	}
	switch (sim_random_below(node->world, 3)) {
	case 0:
		request_fail_text(request, ERROR_FORBIDDEN, "This is not for you.");
		break;
	case 1:
		forge(node, request, fetch.resource_id);
		break;
	default:
		request_drop(request);
	}
}

void sim_node_lie(struct sim_node *node) {
	if (!node->host || node->liar)
		return;
	node->liar = true;
	virtual_host_set_selfish(node->host, true);
	router_handle(node->router, ROUTE_QUERY_REQ, lie_about_route, node);
	router_handle(node->router, FETCH_REQ, lie_about_record, node);
}

/* The eclipse that certificates make hard: whoever believed it would surround itself with peers that are not there. */
static void send_false_update(struct sim_node *node, const struct connection *connection) {
	uint8_t body[2 * UINT8_MAX + 2 * INVENTED_NEIGHBORS * ID_LENGTH_CHORD], list[2][INVENTED_NEIGHBORS * ID_LENGTH_CHORD];
	uint8_t destinations[3 + ID_LENGTH_MAX];
	struct writer w = writer_fixed(body, sizeof(body)), destination = writer_fixed(destinations, sizeof(destinations));
	struct chord_update update = {.type = CHORD_NEIGHBORS, .uptime_s = 1};

	for (unsigned side = 0; side < 2; side++) {
		struct writer ids = writer_fixed(list[side], sizeof(list[side]));
		for (uint32_t i = 1; i <= INVENTED_NEIGHBORS; i++) {
			struct id near = side == 0 ? id_add_small(&connection->peer, i) : connection->peer;
			if (side == 1)
				near.octets[near.length - 1] = (uint8_t)(near.octets[near.length - 1] ^ i);
			writer_id(&ids, &near);
		}
		*(side == 0 ? &update.successors : &update.predecessors) = writer_octets_written(&ids);
	}
	chord_update_write(&w, &update);
	destination_write_node(&destination, &connection->peer);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = writer_octets_written(&destination),
		.code = UPDATE_REQ,
		.body = writer_octets_written(&w),
	};
	outgoing.via_slot = connection->slot;
	node->world->figures.lies += router_send_request(node->router, &outgoing, NULL) == 0;
}

static void act(struct sim_node *node) {
	const struct connection *connection, *chosen = NULL;
	size_t position = 0, met = 0;

	while ((connection = router_connection_next(node->router, &position)))
		if (connection->up && !id_is_none(&connection->peer) && sim_random_below(node->world, ++met) == 0)
			chosen = connection;
	if (!chosen)
		return;
	virtual_host_enter(node->host);
	send_false_update(node, chosen);
	virtual_host_leave(node->host);
}

void sim_liars_act(struct sim_world *world) {
	for (size_t i = 0; i < world->node_count; i++)
		if (world->nodes[i]->liar && world->nodes[i]->host)
			act(world->nodes[i]);
}
