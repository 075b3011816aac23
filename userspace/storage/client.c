/* SPDX-License-Identifier: BSD-2-Clause */
/* Find, the memory against rollbacks, and what Store and Fetch share. */
#include "storage/client.h"

#include "base/table.h"

#include <errno.h>
#include <string.h>

void outcome_of_response(struct storage_outcome *outcome, int error, const struct response *response) {
	outcome->error = error;
	outcome->error_code = 0;
	outcome->error_text[0] = '\0';
	if (!response)
		return;
	outcome->responder = response->signer_id;
	if (error != -EREMOTEIO)
		return;
	outcome->error_code = response->error.code;
	if (outcome->error_code == ERROR_GENERATION_COUNTER_TOO_LOW)
		snprintf(outcome->error_text, sizeof(outcome->error_text), "the stored data has another generation");
	else if (outcome->error_code == ERROR_UNKNOWN_KIND)
		snprintf(outcome->error_text, sizeof(outcome->error_text), "the peer does not know the Kind");
	else
		error_info_text(response->error.info, outcome->error_text, sizeof(outcome->error_text));
}

struct octets client_destination(const struct id *resource_id, const struct id *node_id,
				 uint8_t buffer[static CLIENT_DESTINATION_SIZE]) {
	struct writer w = writer_fixed(buffer, CLIENT_DESTINATION_SIZE);

	w.node_id_length = resource_id->length;
	if (node_id && !id_is_none(node_id))
		destination_write_node(&w, node_id);
	else
		destination_write_resource(&w, id_octets(resource_id));
	return writer_octets_written(&w);
}

/* ---- rollback memory ---- */

struct memory {
	struct id place;
	uint64_t storage_time_ms;
	UT_hash_handle hh;
};

struct storage_history {
	struct memory *memories; /* oldest first */
};

int storage_history_new(struct storage_history **ret) {
	struct storage_history *history = calloc(1, sizeof(*history));

	if (!history)
		return -ENOMEM;
	*ret = history;
	return 0;
}

struct storage_history *storage_history_free(struct storage_history *history) {
	struct memory *memory, *next;

	if (!history)
		return NULL;
	HASH_ITER (hh, history->memories, memory, next) {
		HASH_DEL(history->memories, memory);
		free(memory);
	}
	free(history);
	return NULL;
}

static struct id place_of(const struct id *resource_id, uint32_t kind, const struct stored_value *value) {
	struct writer w = writer_growing(ID_LENGTH_MAX + 8 + UINT16_MAX);

	writer_id(&w, resource_id);
	writer_u32(&w, kind);
	writer_u32(&w, value->index);
	writer_octets(&w, value->key);
	struct id place = writer_finish(&w) == 0 ? resource_id_of_name(writer_octets_written(&w), ID_LENGTH_MAX) : ID_NONE;
	writer_release(&w);
	return place;
}

bool storage_history_check(struct storage_history *history, const struct id *resource_id, uint32_t kind,
			   const struct stored_value *value, uint64_t storage_time_ms) {
	struct id place = place_of(resource_id, kind, value);
	struct memory *memory;
	uint64_t newest_ms = 0;

	HASH_FIND(hh, history->memories, &place, sizeof(place), memory);
	if (memory) {
		newest_ms = memory->storage_time_ms;
		HASH_DEL(history->memories, memory); /* to the end of the order of use */
	} else if (HASH_COUNT(history->memories) >= STORAGE_HISTORY_MAX) {
		memory = history->memories;
		HASH_DEL(history->memories, memory);
	} else {
		memory = malloc(sizeof(*memory));
	}
	if (!memory)
		return false;
	*memory = (struct memory){.place = place, .storage_time_ms = storage_time_ms > newest_ms ? storage_time_ms : newest_ms};
	HASH_ADD(hh, history->memories, place, sizeof(memory->place), memory);
	if (!memory->hh.tbl)
		free(memory);
	return storage_time_ms < newest_ms; /* B-13.5-02 */
}

/* ---- Find ---- */

struct find_operation {
	struct router *router;
	uint32_t kind;
	uint64_t started_us;
	storage_find_done done;
	void *userdata;
};

static int read_find_answer(struct octets body, uint32_t kind, struct id *ret) {
	struct find_kind_data data;
	struct octets list;

	if (find_ans_read(body, &list) < 0)
		return -EBADMSG;
	struct reader reader = reader_of_octets(list);
	while (find_kind_data_next(&reader, &data) > 0) {
		if (data.kind != kind)
			continue;
		*ret = id_of(data.closest);
		if (id_is_zero(ret)) /* zero octets or no octets for "nothing" */
			*ret = ID_NONE;
		return 0;
	}
	return -EBADMSG;
}

static void on_found(void *userdata, int error, const struct response *response) {
	struct find_operation *operation = userdata;
	struct storage_outcome outcome = {.elapsed_us = router_runtime(operation->router)->now_us - operation->started_us};
	struct id closest = ID_NONE;

	outcome_of_response(&outcome, error, response);
	if (error == 0)
		outcome.error = read_find_answer(response->body, operation->kind, &closest);
	operation->done(operation->userdata, &outcome, &closest);
	free(operation);
}

int storage_find(struct router *router, const struct id *resource_id, uint32_t kind, storage_find_done done, void *userdata) {
	uint8_t list[CLIENT_DESTINATION_SIZE], buffer[64];
	struct writer body = writer_fixed(buffer, sizeof(buffer));
	struct find_operation *operation = malloc(sizeof(*operation));

	if (!operation)
		return -ENOMEM;
	*operation = (struct find_operation){router, kind, router_runtime(router)->now_us, done, userdata};
	find_req_write(&body, id_octets(resource_id), &kind, 1);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT, .destination_list = client_destination(resource_id, NULL, list),
		.code = FIND_REQ, .body = writer_octets_written(&body),
		.done = on_found, .userdata = operation,
	};
	int error = writer_finish(&body);
	if (error == 0)
		error = router_send_request(router, &outgoing, NULL);
	if (error < 0)
		free(operation);
	return error;
}
