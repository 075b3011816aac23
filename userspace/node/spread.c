/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/spread.h"

#include "base/log.h"
#include "wire/method.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define NOT_TOLD UINT32_MAX

struct sending {
	struct spread *spread;
	struct transaction *transaction;
	uint16_t slot, sequence;
	struct sending *prev, *next;
};

struct spread {
	struct router *router;
	struct connection_listener listener;
	uint32_t told[LINK_SLOTS_MAX]; /* the newest number the peer on this link is known to have */
	struct sending *sendings;
	size_t outstanding;
	struct {
		struct id node_id;
		uint64_t at_us;
	} recent[SPREAD_RECENT_MAX];
	size_t recent_next;
	bool flooding;
	size_t position; /* of the walk over the links */
	struct timer retry;
	uint32_t complained; /* the number of a document that was too large to be sent */
	struct spread_figures figures;
};

static const struct overlay_config *config_of(const struct spread *spread) {
	return router_config(spread->router);
}

/* ---- to whom lately ---- */

static bool sent_lately(const struct spread *spread, const struct id *node_id) {
	uint64_t now_us = router_runtime(spread->router)->now_us;

	for (size_t i = 0; i < SPREAD_RECENT_MAX; i++)
		if (id_equal(&spread->recent[i].node_id, node_id) &&
		    now_us - spread->recent[i].at_us < SPREAD_AGAIN_S * USEC_PER_SEC)
			return true;
	return false;
}

static void remember(struct spread *spread, const struct id *node_id) {
	spread->recent[spread->recent_next].node_id = *node_id;
	spread->recent[spread->recent_next].at_us = router_runtime(spread->router)->now_us;
	spread->recent_next = (spread->recent_next + 1) % SPREAD_RECENT_MAX;
}

/* ---- one document to one node ---- */

static void pump(struct spread *spread);

static void on_answer(void *userdata, int error, const struct response *response) {
	struct sending *sending = userdata;
	struct spread *spread = sending->spread;

	DL_DELETE(spread->sendings, sending);
	spread->outstanding--;
	if (error == 0) {
		spread->figures.confirmed++;
		if (sending->slot != LINK_SLOT_NONE)
			spread->told[sending->slot] = sending->sequence;
	} else if (error == -EREMOTEIO) {
		spread->figures.refused++;
		log_info("A node refused configuration %u: %s.", sending->sequence,
			 error_code_name(response->error.code) ? error_code_name(response->error.code) : "error");
	} else {
		spread->figures.lost++;
	}
	free(sending);
	if (error != -ECANCELED)
		pump(spread);
}

/* -EMSGSIZE, and others of router_send_request(). */
static int send_document(struct spread *spread, const struct id *node_id, uint16_t slot) {
	const struct overlay_config *config = config_of(spread);
	struct writer body = writer_growing(CONFIG_DOCUMENT_MAX + 64);
	uint8_t list[2 + ID_LENGTH_MAX];
	struct writer destination = writer_fixed(list, sizeof(list));
	struct sending *sending = calloc(1, sizeof(*sending));

	if (!sending)
		return -ENOMEM;
	*sending = (struct sending){.spread = spread, .slot = slot, .sequence = config->sequence};
	destination.node_id_length = node_id->length;
	destination_write_node(&destination, node_id);
	config_update_write_config(&body, OCTETS(config->document, config->document_length)); /* B-6.3.2.1-03, B-6.5.4-01 */
	struct outgoing outgoing = {
		.destination_list = writer_octets_written(&destination),
		.code = CONFIG_UPDATE_REQ,
		.body = writer_octets_written(&body),
		.via_slot = slot,
		.config_update = true, /* */
		.done = on_answer,
		.userdata = sending,
	};
	int error = writer_finish(&body);
	if (error == 0)
		error = router_send_request(spread->router, &outgoing, &sending->transaction);
	writer_release(&body);
	if (error < 0) {
		free(sending);
		return error;
	}
	DL_APPEND(spread->sendings, sending);
	spread->outstanding++;
	spread->figures.sent++;
	remember(spread, node_id);
	return 0;
}

/* Nothing helps the others then but the configuration server (B-11.1-03), which they ask when they notice that they are behind. */
static void complain_too_large(struct spread *spread) {
	const struct overlay_config *config = config_of(spread);

	spread->figures.too_large++;
	if (spread->complained == config->sequence)
		return;
	spread->complained = config->sequence;
	log_warning(
		"Configuration %u of overlay %s has %zu octets, which does not fit into messages of %u octets: other nodes have to "
		"get "
		"it from the configuration server. Raise max-message-size in the next one, or remove bad nodes whose certificates "
		"have expired.",
		config->sequence, config->overlay_name, config->document_length, config->max_message_size);
}

/* ---- to all ---- */

static void pump(struct spread *spread) {
	const struct connection *connection;

	while (spread->flooding && spread->outstanding < SPREAD_OUTSTANDING_MAX) {
		size_t before = spread->position;
		connection = router_connection_next(spread->router, &spread->position);
		if (!connection) {
			spread->flooding = false;
			return;
		}
		if (!connection->up || id_is_none(&connection->peer) ||
		    spread->told[connection->slot] == config_of(spread)->sequence)
			continue;
		int error = send_document(spread, &connection->peer, connection->slot);
		if (error == -EMSGSIZE) {
			complain_too_large(spread);
			spread->flooding = false;
		} else if (error == -ENOBUFS || error == -ENOMEM) {
			spread->position = before;
			timer_arm_after(router_runtime(spread->router), &spread->retry, SPREAD_RETRY_S * USEC_PER_SEC);
			return;
		}
	}
}

static void on_retry(struct timer *timer, void *userdata) {
	(void)timer;
	pump(userdata);
}

void spread_to_neighbors(struct spread *spread, uint16_t from) {
	if (from < LINK_SLOTS_MAX)
		spread->told[from] = config_of(spread)->sequence;
	spread->flooding = true;
	spread->position = 0;
	pump(spread);
}

void spread_to_node(struct spread *spread, const struct id *node_id) {
	const struct connection *connection = router_connection_of(spread->router, node_id);

	if (sent_lately(spread, node_id))
		return;
	if (spread->outstanding >= SPREAD_OUTSTANDING_MAX) {
		spread->figures.postponed++;
		return;
	}
	int error = send_document(spread, node_id, connection && connection->up ? connection->slot : LINK_SLOT_NONE);
	if (error == -EMSGSIZE)
		complain_too_large(spread);
	else if (error < 0)
		log_info("Configuration %u cannot be sent: %s.", config_of(spread)->sequence, strerror(-error));
}

/* ---- life ---- */

static void on_up(void *userdata, const struct connection *connection) {
	struct spread *spread = userdata;

	spread->told[connection->slot] = NOT_TOLD;
}

const struct spread_figures *spread_figures(const struct spread *spread) {
	return &spread->figures;
}

int spread_new(struct router *router, struct spread **ret) {
	struct spread *spread = calloc(1, sizeof(*spread));

	if (!spread)
		return -ENOMEM;
	spread->router = router;
	spread->complained = NOT_TOLD;
	for (size_t i = 0; i < LINK_SLOTS_MAX; i++)
		spread->told[i] = NOT_TOLD;
	spread->listener = (struct connection_listener){.userdata = spread, .up = on_up};
	timer_init(&spread->retry, on_retry, spread);
	router_add_listener(router, &spread->listener);
	*ret = spread;
	return 0;
}

struct spread *spread_free(struct spread *spread) {
	struct sending *sending, *next;

	if (!spread)
		return NULL;
	router_remove_listener(spread->router, &spread->listener);
	timer_disarm(router_runtime(spread->router), &spread->retry);
	DL_FOREACH_SAFE (spread->sendings, sending, next) {
		transaction_cancel(sending->transaction);
		free(sending);
	}
	free(spread);
	return NULL;
}
