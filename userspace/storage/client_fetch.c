/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fetching all values of one Kind (RFC 6940 7.4.2). When they do not fit into one answer, a Stat tells the keys and they are
 * fetched one after the other. Every signature is verified, and its signer must be one that may write there.
 */
#include "storage/access.h"
#include "storage/client.h"
#include "storage/kind_update.h"

#include <errno.h>
#include <string.h>

struct accepted {
	uint8_t *octets; /* StoredData */
	size_t length;
	struct certificate *signer;
	struct id signer_id;
};

/* One value to be fetched alone. */
struct part {
	uint32_t index;
	uint8_t *key;
	size_t key_length;
};

struct fetch_operation {
	struct router *router;
	struct storage_history *history;
	struct id resource_id, destination;
	uint32_t kind;
	uint8_t model;
	uint64_t started_us;
	struct accepted *accepted;
	size_t accepted_count;
	struct part *parts;
	size_t part_count, next_part;
	bool in_parts, partial, repeated;
	struct storage_outcome outcome;
	storage_fetch_done done;
	raw_fetch_done raw_done;
	void *userdata;
};

static void operation_free(struct fetch_operation *operation) {
	for (size_t i = 0; i < operation->accepted_count; i++) {
		free(operation->accepted[i].octets);
		certificate_unref(operation->accepted[i].signer);
	}
	for (size_t i = 0; i < operation->part_count; i++)
		free(operation->parts[i].key);
	free(operation->accepted);
	free(operation->parts);
	free(operation);
}

static bool accepted_data(const struct fetch_operation *operation, size_t i, struct stored_data *ret) {
	struct reader reader = reader_of(operation->accepted[i].octets, operation->accepted[i].length);

	return stored_data_next(&reader, operation->model, ret) > 0;
}

static void call_raw(struct fetch_operation *operation) {
	struct raw_value *values = calloc(operation->accepted_count + 1, sizeof(*values));
	size_t count = 0;

	if (!values)
		operation->outcome.error = -ENOMEM;
	for (size_t i = 0; values && i < operation->accepted_count; i++)
		if (accepted_data(operation, i, &values[count].data)) {
			values[count].signer = operation->accepted[i].signer;
			values[count++].signer_id = operation->accepted[i].signer_id;
		}
	operation->raw_done(operation->userdata, &operation->outcome, values, count);
	free(values);
}

static void call_done(struct fetch_operation *operation) {
	struct fetched_value *values = calloc(operation->accepted_count + 1, sizeof(*values));
	struct stored_data data;
	size_t count = 0;

	if (!values)
		operation->outcome.error = -ENOMEM;
	for (size_t i = 0; values && i < operation->accepted_count; i++) {
		const struct accepted *accepted = &operation->accepted[i];
		if (!accepted_data(operation, i, &data))
			continue;
		values[count++] = (struct fetched_value){
			.value = data.value,
			.storage_time_ms = data.storage_time_ms,
			.lifetime_s = data.lifetime_s,
			.signer_id = accepted->signer_id,
			.signer = accepted->signer,
			.rolled_back = operation->history && accepted->signer &&
				       storage_history_check(operation->history, &operation->resource_id, operation->kind,
							     &data.value, data.storage_time_ms),
		};
	}
	operation->done(operation->userdata, &operation->outcome, values, count, operation->partial);
	free(values);
}

/* Ends the operation with what outcome->error says; values only go along with success. */
static void finish(struct fetch_operation *operation) {
	operation->outcome.elapsed_us = router_runtime(operation->router)->now_us - operation->started_us;
	if (operation->outcome.error < 0) {
		for (size_t i = 0; i < operation->accepted_count; i++) {
			free(operation->accepted[i].octets);
			certificate_unref(operation->accepted[i].signer);
		}
		operation->accepted_count = 0;
	}
	if (operation->raw_done)
		call_raw(operation);
	else
		call_done(operation);
	operation_free(operation);
}

/* ---- values ---- */

/* Who signed it, if the signature holds and the signer may write here (B-7.4.2-07). *ret_signer NULL: synthesized. */
static int check_value(const struct fetch_operation *operation, const struct response *response, const struct stored_data *data,
		       struct certificate **ret_signer, struct id *ret_signer_id) {
	struct overlay_config *config = router_config(operation->router);
	const struct kind *kind = overlay_config_kind(config, operation->kind);

	if (signature_is_none(&data->signature)) { /* B-7.4.2-06: the answer's own signature covers it */
		*ret_signer = NULL;
		*ret_signer_id = ID_NONE;
		return data->value.exists || data->value.value.length > 0 ? -EKEYREJECTED : 0;
	}
	struct certificate *signer = certificate_bucket_find(response->bucket, &data->signature.identity, ret_signer_id);
	if (!signer || !kind || (!data->value.exists && data->value.value.length > 0) ||
	    access_check(config, kind, &operation->resource_id, signer, ret_signer_id, &data->value, NULL) < 0)
		return -EKEYREJECTED;
	*ret_signer = signer;
	return stored_data_check(signer, id_octets(&operation->resource_id), operation->kind, data);
}

static bool same_place(const struct stored_value *a, const struct stored_value *b) {
	return a->index == b->index && octets_equal(a->key, b->key);
}

/* Keeps a copy; of two values for one place the newer. */
static int keep_value(struct fetch_operation *operation, const struct stored_data *data, struct certificate *signer,
		      const struct id *signer_id) {
	struct accepted *place = NULL;
	struct stored_data other;

	for (size_t i = 0; i < operation->accepted_count && !place; i++)
		if (accepted_data(operation, i, &other) && same_place(&other.value, &data->value))
			place = &operation->accepted[i];
	if (place && other.storage_time_ms >= data->storage_time_ms)
		return 0;
	if (!place && operation->accepted_count == STORAGE_VALUES_MAX) {
		operation->partial = true;
		return 0;
	}
	uint8_t *octets = malloc(data->whole.length);
	if (!octets)
		return -ENOMEM;
	if (!place) {
		struct accepted *accepted = reallocarray(operation->accepted, operation->accepted_count + 1, sizeof(*accepted));
		if (!accepted) {
			free(octets);
			return -ENOMEM;
		}
		operation->accepted = accepted;
		place = &accepted[operation->accepted_count++];
	} else {
		free(place->octets);
		certificate_unref(place->signer);
	}
	memcpy(octets, data->whole.data, data->whole.length);
	*place = (struct accepted){octets, data->whole.length, signer ? certificate_ref(signer) : NULL, *signer_id};
	return 0;
}

static int take_values(struct fetch_operation *operation, const struct response *response, struct octets list) {
	struct reader reader = reader_of_octets(list);
	struct stored_data data;
	int more;

	while ((more = stored_data_next(&reader, operation->model, &data)) > 0) {
		struct certificate *signer;
		struct id signer_id;
		if (check_value(operation, response, &data, &signer, &signer_id) < 0) {
			operation->partial = true;
			continue;
		}
		if (signer && data.lifetime_s == 0)
			continue; /* it ends now */
		int error = keep_value(operation, &data, signer, &signer_id);
		if (error < 0)
			return error;
	}
	return more;
}

/* Exactly one element, for our Kind (B-7.4.2-05). */
static int read_element(const struct fetch_operation *operation, struct octets list, struct store_kind_data *ret) {
	struct reader reader = reader_of_octets(list);
	struct store_kind_data more;

	if (store_kind_data_next(&reader, ret) <= 0 || ret->kind != operation->kind || store_kind_data_next(&reader, &more) != 0)
		return -EBADMSG;
	return 0;
}

static int take_answer(struct fetch_operation *operation, const struct response *response) {
	struct store_kind_data element;
	struct octets list;

	if (fetch_ans_read(response->body, &list) < 0 || read_element(operation, list, &element) < 0)
		return -EBADMSG;
	operation->outcome.generation = element.generation_counter;
	return take_values(operation, response, element.values);
}

/* ---- requests ---- */

static int submit(struct fetch_operation *operation, uint16_t code, const struct part *part, response_handler done) {
	struct array_range range = {part ? part->index : 0, part ? part->index : ARRAY_INDEX_LAST};
	struct octets key = part ? OCTETS(part->key, part->key_length) : OCTETS_NONE;
	uint8_t list[CLIENT_DESTINATION_SIZE];
	struct writer body = writer_growing(UINT16_MAX + 64);
	size_t mark = fetch_req_begin(&body, id_octets(&operation->resource_id));

	switch (operation->model) {
	case DATA_MODEL_SINGLE:
		stored_data_specifier_write_single(&body, operation->kind, 0);
		break;
	case DATA_MODEL_ARRAY:
		stored_data_specifier_write_array(&body, operation->kind, 0, &range, 1);
		break;
	default:
		stored_data_specifier_write_dictionary(&body, operation->kind, 0, &key, part ? 1 : 0);
	}
	fetch_req_end(&body, mark);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT, .destination_list = client_destination(&operation->resource_id, &operation->destination, list),
		.code = code,	  .body = writer_octets_written(&body),
		.done = done,	  .userdata = operation,
	};
	int error = writer_finish(&body);
	if (error == 0)
		error = router_send_request(operation->router, &outgoing, NULL);
	writer_release(&body);
	return error;
}

static void on_part(void *userdata, int error, const struct response *response);

static void next_part(struct fetch_operation *operation) {
	int error = 0;

	if (operation->next_part < operation->part_count) {
		error = submit(operation, FETCH_REQ, &operation->parts[operation->next_part++], on_part);
		if (error == 0)
			return;
	}
	operation->outcome.error = error;
	finish(operation);
}

static void on_part(void *userdata, int error, const struct response *response) {
	struct fetch_operation *operation = userdata;

	if (error == 0)
		error = take_answer(operation, response);
	if (error < 0) {
		outcome_of_response(&operation->outcome, error, response);
		finish(operation);
		return;
	}
	next_part(operation);
}

static int read_parts(struct fetch_operation *operation, const struct response *response) {
	struct store_kind_data element;
	struct stored_meta_data meta;
	struct octets list;
	int more;

	if (stat_ans_read(response->body, &list) < 0 || read_element(operation, list, &element) < 0)
		return -EBADMSG;
	struct reader reader = reader_of_octets(element.values);
	while ((more = stored_meta_data_next(&reader, operation->model, &meta)) > 0) {
		if (meta.lifetime_s == 0)
			continue; /* a hole, or about to go */
		if (operation->part_count == STORAGE_VALUES_MAX) {
			operation->partial = true;
			continue;
		}
		struct part *parts = reallocarray(operation->parts, operation->part_count + 1, sizeof(*parts));
		if (!parts)
			return -ENOMEM;
		operation->parts = parts;
		struct part part = {.index = meta.index, .key = malloc(meta.key.length + 1), .key_length = meta.key.length};
		if (!part.key)
			return -ENOMEM;
		if (meta.key.length > 0)
			memcpy(part.key, meta.key.data, meta.key.length);
		parts[operation->part_count++] = part;
	}
	return more;
}

static void on_stat(void *userdata, int error, const struct response *response) {
	struct fetch_operation *operation = userdata;

	if (error == 0)
		error = read_parts(operation, response);
	if (error < 0) {
		outcome_of_response(&operation->outcome, error, response);
		finish(operation);
		return;
	}
	next_part(operation);
}

static bool too_large(int error, const struct response *response) {
	return error == -EREMOTEIO && (response->error.code == ERROR_RESPONSE_TOO_LARGE ||
				       response->error.code == ERROR_INCOMPATIBLE_WITH_OVERLAY); /* */
}

static void on_fetched(void *userdata, int error, const struct response *response) {
	struct fetch_operation *operation = userdata;

	/* The responsible peer may have died, and its successor has taken over by now. */
	if (error == -ETIMEDOUT && id_is_none(&operation->destination) && !operation->repeated) {
		operation->repeated = true;
		if (submit(operation, FETCH_REQ, NULL, on_fetched) == 0)
			return;
	}
	if (operation->model != DATA_MODEL_SINGLE && too_large(error, response) && submit(operation, STAT_REQ, NULL, on_stat) == 0)
		return;
	if (error == -EREMOTEIO && response->error.code == ERROR_UNKNOWN_KIND)
		kind_update_send(operation->router, &response->signer_id, response->error.info); /* B-7.4.1-04 */
	outcome_of_response(&operation->outcome, error, response);
	if (error == 0)
		operation->outcome.error = take_answer(operation, response);
	finish(operation);
}

static int start(struct router *router, struct storage_history *history, const struct id *resource_id, uint32_t kind_id,
		 const struct id *destination, storage_fetch_done done, raw_fetch_done raw_done, void *userdata) {
	const struct kind *kind = overlay_config_kind(router_config(router), kind_id);
	struct fetch_operation *operation;

	if (!kind || resource_id->length != router_config(router)->node_id_length)
		return -EINVAL;
	operation = calloc(1, sizeof(*operation));
	if (!operation)
		return -ENOMEM;
	*operation = (struct fetch_operation){
		.router = router,
		.history = history,
		.resource_id = *resource_id,
		.destination = destination ? *destination : ID_NONE,
		.kind = kind_id,
		.model = kind->model,
		.started_us = router_runtime(router)->now_us,
		.done = done,
		.raw_done = raw_done,
		.userdata = userdata,
	};
	int error = submit(operation, FETCH_REQ, NULL, on_fetched);
	if (error < 0)
		operation_free(operation);
	return error;
}

int storage_fetch(struct router *router, const struct id *resource_id, uint32_t kind, const struct id *destination,
		  storage_fetch_done done, void *userdata) {
	return start(router, NULL, resource_id, kind, destination, done, NULL, userdata);
}

int storage_fetch_with(struct router *router, struct storage_history *history, const struct id *resource_id, uint32_t kind,
		       const struct id *destination, storage_fetch_done done, void *userdata) {
	return start(router, history, resource_id, kind, destination, done, NULL, userdata);
}

int storage_fetch_raw(struct router *router, const struct id *resource_id, uint32_t kind, const struct id *destination,
		      raw_fetch_done done, void *userdata) {
	return start(router, NULL, resource_id, kind, destination, NULL, done, userdata);
}
