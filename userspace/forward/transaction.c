/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests of our own and their answers: the end-to-end timer (RFC 6940 6.2.1) and who may answer (6.3.4).
 *
 * A request is signed once; each of its up to five transmissions gets a fresh header and is routed anew.
 *
 * Errors of nodes on the way cannot be told from forged ones, except that their signer is a node of the overlay: they are
 * remembered and reported when nothing better comes before the last timer. Only Error_Unsupported_Forwarding_Option,
 * Error_Message_Too_Large, and the Error_Forbidden of a neighbor that wants an Attach first end the transaction at once, since
 * resending cannot help there.
 */
#include "forward/internal.h"

enum target_type { TARGET_ANY, TARGET_NODE, TARGET_RESOURCE };

/* The latest signed error of a node that was not asked: at most one message of max-message-size for each transaction. */
struct advisory {
	uint8_t *octets;
	size_t length;
	struct certificate *signer;
	struct id signer_id;
};

struct transaction {
	uint64_t id;
	struct router *router;
	struct octets destination_list, options; /* in `storage` */
	uint8_t *storage, *rest;
	size_t rest_length;
	enum target_type target_type;
	struct id target;
	uint16_t code, via_slot;
	uint64_t via_serial;
	bool config_update, once, others_only;
	uint32_t max_response_length;
	struct timer timer;
	unsigned sends;
	bool left; /* at least one transmission went out */
	uint64_t first_us;
	struct advisory advisory;
	response_handler done;
	void *userdata;
	UT_hash_handle hh;
};

static void transaction_unlink(struct transaction *transaction) {
	struct router *router = transaction->router;

	timer_disarm(router->runtime, &transaction->timer);
	HASH_DEL(router->transactions, transaction);
	router->transaction_count--;
}

static void transaction_destroy(struct transaction *transaction) {
	certificate_unref(transaction->advisory.signer);
	free(transaction->advisory.octets);
	free(transaction->storage);
	free(transaction->rest);
	free(transaction);
}

void transaction_cancel(struct transaction *transaction) {
	if (!transaction)
		return;
	transaction_unlink(transaction);
	transaction_destroy(transaction);
}

/* `response` may borrow from the transaction. Out of the table first: `done` may send new requests, or end other ones. */
static void transaction_finish(struct transaction *transaction, int error, const struct response *response) {
	transaction_unlink(transaction);
	if (transaction->done)
		transaction->done(transaction->userdata, error, response);
	transaction_destroy(transaction);
}

static uint64_t elapsed_us(const struct transaction *transaction) {
	return transaction->router->runtime->now_us - transaction->first_us;
}

/* Nobody answered; an advisory error is a better explanation than silence. */
static void transaction_timed_out(struct transaction *transaction) {
	const struct advisory *advisory = &transaction->advisory;
	struct certificate_bucket bucket = {.count = 0};
	struct message message;
	struct response response = {.code = MESSAGE_ERROR, .signer = advisory->signer, .signer_id = advisory->signer_id};

	if (!advisory->octets ||
	    message_read(OCTETS(advisory->octets, advisory->length), transaction->router->self.length, &message) < 0 ||
	    error_response_read(message.contents.body, &response.error) < 0) {
		transaction_finish(transaction, transaction->left ? -ETIMEDOUT : -ENETUNREACH, NULL);
		return;
	}
	response.body = message.contents.body;
	response.bucket = &bucket;
	response.message = &message;
	response.elapsed_us = elapsed_us(transaction);
	response.ttl_received = message.header.ttl;
	transaction_finish(transaction, -EREMOTEIO, &response);
}

/* ---- sending ---- */

static int transaction_send(struct transaction *transaction) {
	struct router *router = transaction->router;
	struct forwarding_header header = router_header(router, transaction->id);

	if (transaction->via_slot != LINK_SLOT_NONE && !connection_is(router, transaction->via_slot, transaction->via_serial))
		return -ENETUNREACH;
	if (transaction->config_update)
		header.configuration_sequence = SEQUENCE_CONFIG_UPDATE; /* */
	header.max_response_length = transaction->max_response_length;
	header.destination_list = transaction->destination_list;
	header.options = transaction->options;
	if (transaction->sends++ > 0)
		router->counters.retransmissions++;
	return router_originate(router, &header, OCTETS(transaction->rest, transaction->rest_length), transaction->code,
				transaction->via_slot);
}

static void transaction_fire(struct timer *timer, void *userdata) {
	struct transaction *transaction = userdata;
	struct router *router = transaction->router;
	unsigned sends_max = transaction->once ? 1 : ROUTER_SENDS_MAX;

	if (!transaction->left && transaction->sends == 1) { /* the first transmission had nowhere to go */
		transaction_finish(transaction, -ENETUNREACH, NULL);
		return;
	}
	if (transaction->sends >= sends_max) { /* B-6.2.1-04 */
		transaction_timed_out(transaction);
		return;
	}
	int error = transaction_send(transaction); /* B-6.2.1-03 */
	if (error == -ENETUNREACH && transaction->via_slot != LINK_SLOT_NONE) {
		transaction_finish(transaction, -ENETUNREACH, NULL); /* its link is gone for good */
		return;
	}
	timer_arm_after(router->runtime, timer, (uint64_t)trust_config(router->trust)->reliability_timer_ms * USEC_PER_MSEC);
}

/* ---- new transactions ---- */

static int transaction_target(struct transaction *transaction, const struct outgoing *outgoing) {
	struct router *router = transaction->router;
	struct destination last;

	int error = destination_list_check(outgoing->destination_list, router->self.length, LIMIT_DESTINATIONS);
	if (error == 0)
		error = destination_last(outgoing->destination_list, router->self.length, &last);
	if (error != 0)
		return -EINVAL;
	transaction->target_type = TARGET_ANY;
	if (outgoing->any_responder || (last.type != DESTINATION_NODE && last.type != DESTINATION_RESOURCE))
		return 0;
	transaction->target = id_of(last.value);
	if (last.type == DESTINATION_RESOURCE)
		transaction->target_type = id_is_none(&transaction->target) ? TARGET_ANY : TARGET_RESOURCE;
	else if (!id_is_wildcard(&transaction->target))
		transaction->target_type = TARGET_NODE;
	return 0;
}

static int transaction_copy(struct transaction *transaction, const struct outgoing *outgoing) {
	size_t lists = outgoing->destination_list.length + outgoing->options.length;
	struct writer w;

	transaction->storage = malloc(lists ? lists : 1);
	if (!transaction->storage)
		return -ENOMEM;
	w = writer_fixed(transaction->storage, lists);
	uint8_t *destination = writer_reserve(&w, outgoing->destination_list.length);
	uint8_t *options = writer_reserve(&w, outgoing->options.length);
	if (outgoing->destination_list.length)
		memcpy(destination, outgoing->destination_list.data, outgoing->destination_list.length);
	if (outgoing->options.length)
		memcpy(options, outgoing->options.data, outgoing->options.length);
	transaction->destination_list = OCTETS(destination, outgoing->destination_list.length);
	transaction->options = OCTETS(options, outgoing->options.length);
	return 0;
}

static uint64_t new_transaction_id(struct router *router) {
	struct transaction *taken;
	uint64_t id;

	do { /* B-6.3.2-11 */
		runtime_random(router->runtime, &id, sizeof(id));
		HASH_FIND(hh, router->transactions, &id, sizeof(id), taken);
	} while (taken);
	return id;
}

static int transaction_prepare(struct transaction *transaction, const struct outgoing *outgoing) {
	struct router *router = transaction->router;
	const struct router_link *link = connection_link(router, outgoing->via_slot);

	int error = transaction_target(transaction, outgoing);
	if (error == 0)
		error = transaction_copy(transaction, outgoing);
	if (error == 0)
		error = router_make_rest(router, outgoing->sign_as ? outgoing->sign_as : router->credential, transaction->id,
					 outgoing->code, outgoing->body, outgoing->extensions, outgoing->extra, &transaction->rest,
					 &transaction->rest_length);
	if (error < 0)
		return error;
	size_t length =
		FORWARDING_HEADER_FIXED + outgoing->destination_list.length + outgoing->options.length + transaction->rest_length;
	if (length + ROUTER_VIA_ROOM > trust_config(router->trust)->max_message_size) /* */
		return -EMSGSIZE;
	transaction->code = outgoing->code;
	transaction->via_slot = outgoing->via_slot;
	transaction->via_serial = link ? link->serial : 0;
	transaction->config_update = outgoing->config_update;
	transaction->once = outgoing->once;
	transaction->others_only = outgoing->others_only;
	transaction->max_response_length = outgoing->max_response_length;
	transaction->done = outgoing->done;
	transaction->userdata = outgoing->userdata;
	transaction->first_us = router->runtime->now_us;
	return 0;
}

int router_send_request(struct router *router, const struct outgoing *outgoing, struct transaction **ret) {
	if (router->closing)
		return -ECANCELED;
	if (!message_code_is_request(outgoing->code))
		return -EINVAL;
	if (router->transaction_count >= LIMIT_TRANSACTIONS)
		return -ENOBUFS;
	struct transaction *transaction = calloc(1, sizeof(*transaction));
	if (!transaction)
		return -ENOMEM;
	transaction->router = router;
	transaction->id = new_transaction_id(router);
	timer_init(&transaction->timer, transaction_fire, transaction);
	HASH_ADD(hh, router->transactions, id, sizeof(transaction->id), transaction);
	if (!transaction->hh.tbl) {
		free(transaction);
		return -ENOMEM;
	}
	router->transaction_count++;
	int error = transaction_prepare(transaction, outgoing);
	if (error < 0) {
		transaction_cancel(transaction);
		return error;
	}
	error = transaction_send(transaction);
	/* Anything but a missing way is like a lost message: the timer resends. */
	transaction->left = error != -ENETUNREACH;
	uint64_t wait_us = (uint64_t)trust_config(router->trust)->reliability_timer_ms * USEC_PER_MSEC;
	timer_arm_after(router->runtime, &transaction->timer, transaction->left ? wait_us : 0);
	if (ret)
		*ret = transaction;
	return 0;
}

bool transaction_is_for_others(const struct router *router, uint64_t id) {
	struct transaction *transaction;

	HASH_FIND(hh, router->transactions, &id, sizeof(id), transaction);
	return transaction && transaction->others_only;
}

/* ---- answers ---- */

static bool responder_acceptable(const struct transaction *transaction, const struct id *signer_id) {
	switch (transaction->target_type) {
	case TARGET_NODE:
		return id_equal(signer_id, &transaction->target); /* B-6.3.4-07 */
	case TARGET_RESOURCE:
		return routes_close_enough(transaction->router, &transaction->target, signer_id); /* B-6.3.4-08 */
	default:
		return true;
	}
}

/* Can a node on the way send this (Q-02, forwarding.md section 6)? */
static bool error_is_advisory(uint16_t code) {
	switch (code) {
	case ERROR_FORBIDDEN:
	case ERROR_NOT_FOUND:
	case ERROR_INCOMPATIBLE_WITH_OVERLAY:
	case ERROR_UNSUPPORTED_FORWARDING_OPTION:
	case ERROR_TTL_EXCEEDED:
	case ERROR_MESSAGE_TOO_LARGE:
	case ERROR_INVALID_MESSAGE:
		return true;
	default:
		return code >= 0x15 && code <= 0x1a; /* RFC 7851 */
	}
}

static bool error_ends(const struct transaction *transaction, uint16_t code, uint16_t slot, const struct certificate *signer) {
	const struct router *router = transaction->router;

	if (code == ERROR_UNSUPPORTED_FORWARDING_OPTION || code == ERROR_MESSAGE_TOO_LARGE)
		return true;
	const struct certificate *adjacent = connection_certificate(router, slot);
	return code == ERROR_FORBIDDEN && router->credential->certificate->node_id_count > 1 && adjacent &&
	       memcmp(adjacent->sha256, signer->sha256, sizeof(signer->sha256)) == 0;
}

static void advisory_keep(struct transaction *transaction, const struct message *message, struct certificate *signer,
			  const struct id *signer_id) {
	struct advisory *advisory = &transaction->advisory;
	struct writer w = writer_growing(UINT32_MAX);

	forwarding_header_write(&w, &message->header);
	writer_octets(&w, message->contents.whole);
	writer_octets(&w, message->security.whole);
	message_write_length(&w, 0);
	if (writer_finish(&w) == 0) {
		free(advisory->octets);
		certificate_unref(advisory->signer);
		advisory->octets = writer_take(&w, &advisory->length);
		advisory->signer = certificate_ref(signer);
		advisory->signer_id = *signer_id;
	}
	writer_release(&w);
}

static void note_configuration(struct router *router, uint16_t error_code, const struct id *signer_id) {
	if (error_code == ERROR_CONFIG_TOO_NEW)
		configuration_mismatch(router, signer_id, false); /* B-6.5.4-01: ours is newer */
	else if (error_code == ERROR_CONFIG_TOO_OLD)
		configuration_mismatch(router, signer_id, true);
}

void transaction_receive(struct router *router, uint16_t slot, const struct message *message, struct certificate *signer,
			 const struct id *signer_id, struct certificate_bucket *bucket) {
	struct transaction *transaction;
	uint16_t code = message->contents.code, unknown;

	HASH_FIND(hh, router->transactions, &message->header.transaction_id, sizeof(message->header.transaction_id), transaction);
	if (!transaction || (code != MESSAGE_ERROR && code != transaction->code + 1)) {
		router_drop(router, DROP_NO_TRANSACTION, &message->header, slot);
		return;
	}
	struct response response = {
		.code = code,
		.body = message->contents.body,
		.signer = signer,
		.signer_id = *signer_id,
		.bucket = bucket,
		.message = message,
		.elapsed_us = elapsed_us(transaction),
		.ttl_received = message->header.ttl,
	};
	if ((code == MESSAGE_ERROR && error_response_read(message->contents.body, &response.error) < 0) ||
	    extensions_check(router, message->contents.extensions, &unknown) < 0) {
		router_drop(router, DROP_MALFORMED, &message->header, slot);
		return;
	}
	if (!responder_acceptable(transaction, signer_id)) {
		if (code != MESSAGE_ERROR || !error_is_advisory(response.error.code)) {
			router_drop(router, DROP_WRONG_SIGNER, &message->header, slot);
			return;
		}
		if (!error_ends(transaction, response.error.code, slot, signer)) {
			advisory_keep(transaction, message, signer, signer_id);
			return;
		}
	}
	router->counters.delivered++;
	if (code == MESSAGE_ERROR)
		note_configuration(router, response.error.code, signer_id);
	transaction_finish(transaction, code == MESSAGE_ERROR ? -EREMOTEIO : 0, &response);
}

void transaction_release(struct router *router) {
	while (router->transactions)
		transaction_finish(router->transactions, -ECANCELED, NULL);
}
