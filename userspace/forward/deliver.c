/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages whose destination is this node: reassembly, signature, the checks of a destination (configuration sequence, critical
 * options and extensions), then requests to their handlers and answers to their transactions.
 *
 * What we send to ourselves (our own Node-ID, a resource of our range) comes here too, from a timer, so that no handler ever runs
 * inside the call that sent its request.
 */
#include "forward/internal.h"

struct local_delivery {
	struct local_delivery *prev, *next;
	size_t length;
	uint8_t octets[];
};

/* ---- checks of a destination ---- */

int extensions_check(const struct router *router, struct octets extensions, uint16_t *ret_unknown) {
	struct reader list = reader_of_octets(extensions);
	struct message_extension extension;
	int found;

	while ((found = message_extension_next(&list, &extension)) == 1) {
		bool understood = !extension.critical;
		for (size_t i = 0; i < router->extension_count && !understood; i++)
			understood = router->extensions[i] == extension.type;
		if (!understood) {
			*ret_unknown = extension.type;
			return -EOPNOTSUPP;
		}
	}
	return found;
}

/* We understand no forwarding option, so a critical one is unknown, whatever its type (B-6.3.2.3-02). */
static bool options_acceptable(struct octets options) {
	struct reader list = reader_of_octets(options);
	struct forwarding_option option;

	while (forwarding_option_next(&list, &option) == 1)
		if (option.flags & OPTION_DESTINATION_CRITICAL)
			return false;
	return true;
}

void configuration_mismatch(struct router *router, const struct id *node_id, bool newer) {
	const struct configuration_listener *listener = router->configuration_listener;

	if (listener && listener->mismatch && !id_equal(node_id, &router->self))
		listener->mismatch(listener->userdata, node_id, newer);
}

/* 0, or the error a request with this configuration sequence gets (B-6.3.2.1-02). */
static uint16_t sequence_error(const struct router *router, const struct message *message) {
	uint16_t theirs = message->header.configuration_sequence, ours = trust_config(router->trust)->sequence;

	if (theirs == ours)
		return 0;
	if (theirs == SEQUENCE_CONFIG_UPDATE && message->contents.code == CONFIG_UPDATE_REQ) /* B-6.3.2.1-04, Q-63 */
		return 0;
	return config_sequence_newer(theirs, ours) ? ERROR_CONFIG_TOO_NEW : ERROR_CONFIG_TOO_OLD;
}

/* Ends `open` with an error and returns true when the request may not reach its handler. */
static bool request_refused(struct router *router, struct open_request *open) {
	struct request *request = &open->request;
	struct id signer = request->signer_id;
	uint16_t unknown = 0;

	uint16_t error_code = sequence_error(router, &request->message);
	if (error_code != 0) {
		router->counters.dropped[DROP_CONFIG_MISMATCH]++;
		open->forgettable = true; /* with our configuration the same request becomes acceptable */
		request_fail_text(request, error_code, "The configuration here has sequence %u.",
				  trust_config(router->trust)->sequence);
		configuration_mismatch(router, &signer, error_code == ERROR_CONFIG_TOO_NEW); /* B-6.3.2.1-03 */
		return true;
	}
	if (!options_acceptable(request->message.header.options)) {
		request_fail_text(request, ERROR_UNSUPPORTED_FORWARDING_OPTION,
				  "A forwarding option is critical and unknown here.");
		return true;
	}
	int error = extensions_check(router, request->message.contents.extensions, &unknown);
	if (error == -EOPNOTSUPP) {
		request_fail_text(request, ERROR_UNKNOWN_EXTENSION, "Message extension %u is critical and unknown here.", unknown);
		return true; /* B-6.3.3-02 */
	}
	if (error < 0) {
		request_fail_text(request, ERROR_INVALID_MESSAGE, "The message extensions do not parse."); /* B-6.3.3.1-02 */
		return true;
	}
	return false;
}

/* ---- requests ---- */

static void dispatch(struct router *router, struct open_request *open) {
	uint16_t code = open->request.message.contents.code;
	request_handler handler = code < ROUTER_HANDLED_CODES ? router->handlers[code / 2].handler : NULL;

	if (!handler) {
		router->counters.dropped[DROP_UNKNOWN_METHOD]++;
		request_fail_text(&open->request, ERROR_INVALID_MESSAGE, "Request code %u is unknown here.", code);
		return;
	}
	router->counters.delivered++;
	handler(router->handlers[code / 2].userdata, &open->request);
}

/* An Attach that came straight from the node at the other end tells which of its Node-IDs that uses (FW-B12). */
static void bind_adjacent(struct router *router, uint16_t slot, const struct message *message, const struct certificate *signer,
			  const struct id *signer_id) {
	const struct certificate *adjacent = connection_certificate(router, slot);
	uint16_t code = message->contents.code;

	if (!adjacent || (code != ATTACH_REQ && code != ATTACH_ANS) || message->header.via_list.length != 0)
		return;
	/* An answer's via list says nothing about hops; its ttl does. */
	if (code == ATTACH_ANS && message->header.ttl != trust_config(router->trust)->initial_ttl)
		return;
	if (adjacent->der_length == signer->der_length && memcmp(adjacent->sha256, signer->sha256, sizeof(signer->sha256)) == 0)
		connection_bind(router, slot, signer_id);
}

static void deliver_request(struct router *router, struct request *request, struct octets octets) {
	const struct forwarding_header *header = &request->message.header;
	struct open_request *open;

	if (id_equal(&request->signer_id, &router->self) && transaction_is_for_others(router, header->transaction_id)) {
		router_drop(router, DROP_DUPLICATE, header, request->slot);
		certificate_bucket_release(&request->bucket);
		return;
	}
	enum answer_state state = answer_seen(router, request);
	if (state == ANSWER_WORKING)
		router_drop(router, DROP_DUPLICATE, header, request->slot);
	if (state != ANSWER_NEW) {
		certificate_bucket_release(&request->bucket);
		return;
	}
	int error = answer_open(router, request, octets, &open);
	if (error < 0) {
		router_drop(router, error == -ENOBUFS ? DROP_REQUEST_LIMIT : DROP_NO_MEMORY, header, request->slot);
		certificate_bucket_release(&request->bucket);
		return;
	}
	if (!request_refused(router, open))
		dispatch(router, open);
}

void deliver_message(struct router *router, uint16_t slot, struct octets octets) {
	struct request request = {.router = router, .slot = slot, .previous_hop = ID_NONE};
	struct message *message = &request.message;

	if (message_read(octets, router->self.length, message) < 0) {
		router_drop(router, DROP_MALFORMED, NULL, slot);
		return;
	}
	/* B-6.3.4-06 */
	int error = message_check(router->trust, message, runtime_realtime_ms(router->runtime), &request.bucket, &request.signer,
				  &request.signer_id);
	if (error < 0) {
		router_drop(router, error == -EBADMSG ? DROP_MALFORMED : DROP_BAD_SIGNATURE, &message->header, slot);
		return;
	}
	if (slot != LINK_SLOT_NONE) {
		bind_adjacent(router, slot, message, request.signer, &request.signer_id);
		const struct router_link *link = connection_link(router, slot);
		if (link)
			request.previous_hop = link->connection.peer;
	}
	if (message_code_is_request(message->contents.code)) {
		deliver_request(router, &request, octets);
		return;
	}
	if (message_code_is_response(message->contents.code))
		transaction_receive(router, slot, message, request.signer, &request.signer_id, &request.bucket);
	else
		router_drop(router, DROP_UNKNOWN_METHOD, &message->header, slot);
	certificate_bucket_release(&request.bucket);
}

void deliver_fragment(struct router *router, uint16_t slot, struct octets piece, size_t popped) {
	_cleanup_free_ uint8_t *whole = NULL;
	size_t length = 0;

	router->counters.fragments_received++;
	int error = reassembly_add(router->reassembly, slot, piece, popped, &whole, &length);
	if (error < 0) {
		router_drop(router, reassembly_drop_reason(error), NULL, slot);
	} else if (error == 1) {
		router->counters.reassembled++;
		deliver_message(router, slot, OCTETS(whole, length));
	}
}

/* ---- to ourselves ---- */

static void local_fire(struct timer *timer, void *userdata) {
	struct router *router = userdata;
	struct local_delivery *queue = TAKE(router->local), *each, *next;

	(void)timer;
	router->local_count = 0;
	DL_FOREACH_SAFE (queue, each, next) {
		router->counters.received++;
		deliver_message(router, LINK_SLOT_NONE, OCTETS(each->octets, each->length));
		free(each);
	}
}

int deliver_local(struct router *router, struct octets message) {
	/* Each of them is a request of ours or its answer. */
	if (router->local_count >= 2 * LIMIT_TRANSACTIONS)
		return -ENOBUFS;
	struct local_delivery *delivery = malloc(sizeof(*delivery) + message.length);
	if (!delivery)
		return -ENOMEM;
	delivery->length = message.length;
	memcpy(delivery->octets, message.data, message.length);
	DL_APPEND(router->local, delivery);
	router->local_count++;
	if (!router->local_timer.armed)
		timer_arm_after(router->runtime, &router->local_timer, 0);
	return 0;
}

/* ---- handlers ---- */

void router_handle(struct router *router, uint16_t request_code, request_handler handler, void *userdata) {
	if (!message_code_is_request(request_code) || request_code >= ROUTER_HANDLED_CODES)
		return;
	router->handlers[request_code / 2].handler = handler;
	router->handlers[request_code / 2].userdata = userdata;
}

void router_understand_extension(struct router *router, uint16_t type) {
	for (size_t i = 0; i < router->extension_count; i++)
		if (router->extensions[i] == type)
			return;
	if (router->extension_count < ROUTER_EXTENSIONS_MAX)
		router->extensions[router->extension_count++] = type;
}

/* A set of fragments was given up. */
static void set_dropped(void *userdata, enum drop_reason reason) {
	router_drop(userdata, reason, NULL, LINK_SLOT_NONE);
}

int deliver_init(struct router *router) {
	timer_init(&router->local_timer, local_fire, router);
	int error = reassembly_new(router->runtime, &router->reassembly);
	if (error == 0)
		reassembly_on_drop(router->reassembly, set_dropped, router);
	return error;
}

void deliver_release(struct router *router) {
	struct local_delivery *each, *next;

	DL_FOREACH_SAFE (router->local, each, next)
		free(each);
	timer_disarm(router->runtime, &router->local_timer);
	router->reassembly = reassembly_free(router->reassembly);
}
