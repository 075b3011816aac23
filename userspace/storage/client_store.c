/* SPDX-License-Identifier: BSD-2-Clause */
/* Storing values of one Kind as their writer (RFC 6940 7.4.1). */
#include "storage/client.h"
#include "storage/kind_update.h"

#include <errno.h>
#include <string.h>

struct store_operation {
	struct router *router;
	struct credential *credential;
	struct id resource_id;
	uint32_t kind;
	uint64_t generation, started_us;
	struct storage_value *values; /* views into `octets` */
	size_t count;
	uint8_t *octets;
	bool redone;
	struct storage_outcome outcome;
	storage_store_done done;
	void *userdata;
};

static void operation_free(struct store_operation *operation) {
	credential_unref(operation->credential);
	free(operation->values);
	free(operation->octets);
	free(operation);
}

static void finish(struct store_operation *operation) {
	operation->outcome.elapsed_us = router_runtime(operation->router)->now_us - operation->started_us;
	operation->done(operation->userdata, &operation->outcome);
	operation_free(operation);
}

static int submit(struct store_operation *operation);

/* The element for our Kind of a StoreAns. */
static int read_answer(const struct store_operation *operation, struct octets body, struct storage_outcome *outcome) {
	struct store_kind_response element;
	struct octets list;

	if (store_ans_read(body, &list) < 0)
		return -EBADMSG;
	struct reader reader = reader_of_octets(list);
	while (store_kind_response_next(&reader, &element) > 0) {
		if (element.kind != operation->kind)
			continue;
		outcome->generation = element.generation_counter;
		struct reader replicas = reader_of_octets(element.replicas);
		replicas.node_id_length = operation->resource_id.length;
		outcome->replica_count = 0;
		while (reader_more(&replicas) && outcome->replica_count < TOPOLOGY_REPLICAS_MAX)
			outcome->replicas[outcome->replica_count++] = reader_id(&replicas);
		return replicas.error < 0 ? -EBADMSG : 0;
	}
	return -EBADMSG;
}

/* The stored values are newer by their clocks: ours becomes one millisecond newer than what it replaces (B-7-03). */
static void on_stored_times(void *userdata, const struct storage_outcome *outcome, const struct raw_value *values, size_t count) {
	struct store_operation *operation = userdata;
	bool moved = false;

	for (size_t i = 0; i < operation->count && outcome->error == 0; i++) {
		struct storage_value *own = &operation->values[i];
		for (size_t j = 0; j < count; j++) {
			const struct stored_data *data = &values[j].data;
			if (!values[j].signer || data->value.index != own->value.index ||
			    !octets_equal(data->value.key, own->value.key) || data->storage_time_ms < own->storage_time_ms ||
			    data->storage_time_ms == UINT64_MAX)
				continue;
			own->storage_time_ms = data->storage_time_ms + 1;
			moved = true;
		}
	}
	int error = moved ? submit(operation) : -ENOENT;
	if (error < 0)
		finish(operation); /* with the refusal */
}

static void on_stored(void *userdata, int error, const struct response *response) {
	struct store_operation *operation = userdata;
	struct storage_outcome *outcome = &operation->outcome;

	outcome_of_response(outcome, error, response);
	if (error == 0)
		outcome->error = read_answer(operation, response->body, outcome);
	if (error == -EREMOTEIO && response->error.code == ERROR_GENERATION_COUNTER_TOO_LOW)
		read_answer(operation, response->error.info, outcome); /* B-7.4.1-18 */
	if (error == -EREMOTEIO && response->error.code == ERROR_UNKNOWN_KIND)
		kind_update_send(operation->router, &response->signer_id, response->error.info); /* B-7.4.1-04 */
	if (error == -EREMOTEIO && response->error.code == ERROR_DATA_TOO_OLD && !operation->redone) {
		operation->redone = true;
		if (storage_fetch_raw(operation->router, &operation->resource_id, operation->kind, NULL, on_stored_times,
				      operation) == 0)
			return;
	}
	finish(operation);
}

static int submit(struct store_operation *operation) {
	struct overlay_config *config = router_config(operation->router);
	struct octets resource_id = id_octets(&operation->resource_id);
	uint8_t list[CLIENT_DESTINATION_SIZE];
	struct writer body = writer_growing(config->max_message_size);
	int error = 0;

	size_t request = store_req_begin(&body, resource_id, 0);
	size_t element = store_kind_data_begin(&body, operation->kind, operation->generation);
	for (size_t i = 0; i < operation->count && error == 0; i++) {
		const struct storage_value *value = &operation->values[i];
		error = stored_data_sign(operation->credential, resource_id, operation->kind, value->storage_time_ms,
					 value->lifetime_s, &value->value, &body); /* B-6.3.4-09 */
	}
	store_kind_data_end(&body, element);
	store_req_end(&body, request);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = client_destination(&operation->resource_id, NULL, list),
		.code = STORE_REQ,
		.body = writer_octets_written(&body),
		.sign_as = operation->credential, /* B-7.3-01 */
		.done = on_stored,
		.userdata = operation,
	};
	if (error == 0)
		error = writer_finish(&body);
	if (error == -ENOBUFS)
		error = -EMSGSIZE;
	if (error == 0)
		error = router_send_request(operation->router, &outgoing, NULL);
	writer_release(&body);
	return error;
}

/* The caller's views do not outlive the call. */
static int copy_values(struct store_operation *operation, const struct storage_value *values, size_t count, uint8_t model) {
	uint64_t now_ms = runtime_realtime_ms(router_runtime(operation->router));
	size_t length = 0;

	for (size_t i = 0; i < count; i++)
		length += values[i].value.key.length + values[i].value.value.length;
	operation->values = calloc(count, sizeof(*values));
	operation->octets = malloc(length + 1);
	if (!operation->values || !operation->octets)
		return -ENOMEM;
	struct writer w = writer_fixed(operation->octets, length);
	for (size_t i = 0; i < count; i++) {
		struct storage_value *own = &operation->values[i];
		*own = values[i];
		own->value.model = model;
		if (own->storage_time_ms == 0)
			own->storage_time_ms = now_ms; /* B-7-04 */
		uint8_t *key = writer_reserve(&w, own->value.key.length), *value = writer_reserve(&w, own->value.value.length);
		if (own->value.key.length > 0)
			memcpy(key, own->value.key.data, own->value.key.length);
		if (own->value.value.length > 0)
			memcpy(value, own->value.value.data, own->value.value.length);
		own->value.key.data = key;
		own->value.value.data = value;
	}
	operation->count = count;
	return 0;
}

int storage_store(struct router *router, struct credential *sign_as, const struct id *resource_id, uint32_t kind_id,
		  uint64_t generation, const struct storage_value *values, size_t count, storage_store_done done, void *userdata) {
	const struct kind *kind = overlay_config_kind(router_config(router), kind_id);
	struct store_operation *operation;

	if (!kind || count == 0 || resource_id->length != router_config(router)->node_id_length)
		return -EINVAL;
	operation = calloc(1, sizeof(*operation));
	if (!operation)
		return -ENOMEM;
	operation->router = router;
	operation->credential = credential_ref(sign_as ? sign_as : router_credential(router));
	operation->resource_id = *resource_id;
	operation->kind = kind_id;
	operation->generation = generation;
	operation->started_us = router_runtime(router)->now_us;
	operation->done = done;
	operation->userdata = userdata;
	int error = copy_values(operation, values, count, kind->model);
	if (error == 0)
		error = submit(operation);
	if (error < 0)
		operation_free(operation);
	return error;
}
