/* SPDX-License-Identifier: BSD-2-Clause */
/* Store, and the lists that answers to Fetch and Stat share with it (RFC 6940 7.4.1, 7.4.2.2, 7.4.3.2). */
#include "wire/data.h"
#include "wire/list.h"

int store_kind_data_next(struct reader *list, struct store_kind_data *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct store_kind_data data = {.kind = reader_u32(list)};
	data.generation_counter = reader_u64(list);
	data.values = reader_vector32(list);
	if (list->error < 0)
		return -EBADMSG;
	*ret = data;
	return 1;
}

int store_req_read(struct octets body, struct store_req *ret) {
	struct reader r = reader_of_octets(body);
	struct store_req store = {.resource_id = reader_resource_id(&r)};

	store.replica_number = reader_u8(&r);
	store.kinds = reader_vector32(&r);
	if (reader_finish(&r) < 0 || LIST_CHECK(&r, store.kinds, struct store_kind_data, store_kind_data_next) < 0)
		return -EBADMSG;
	*ret = store;
	return 0;
}

size_t store_req_begin(struct writer *w, struct octets resource_id, uint8_t replica_number) {
	writer_resource_id(w, resource_id);
	writer_u8(w, replica_number);
	return writer_begin(w, 4);
}

void store_req_end(struct writer *w, size_t mark) {
	writer_end(w, mark, 4);
}

size_t store_kind_data_begin(struct writer *w, uint32_t kind, uint64_t generation_counter) {
	writer_u32(w, kind);
	writer_u64(w, generation_counter);
	return writer_begin(w, 4);
}

void store_kind_data_end(struct writer *w, size_t mark) {
	writer_end(w, mark, 4);
}

/* Leaves open whether the octets of `replicas` are whole Node-IDs. */
static int kind_response_next(struct reader *list, struct store_kind_response *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct store_kind_response response = {.kind = reader_u32(list)};
	response.generation_counter = reader_u64(list);
	response.replicas = reader_vector16(list);
	if (list->error < 0)
		return -EBADMSG;
	*ret = response;
	return 1;
}

int store_ans_read(struct octets body, struct octets *ret_list) {
	struct reader r = reader_of_octets(body);
	struct octets list = reader_vector16(&r);

	if (reader_finish(&r) < 0 || LIST_CHECK(&r, list, struct store_kind_response, kind_response_next) < 0)
		return -EBADMSG;
	*ret_list = list;
	return 0;
}

int store_kind_response_next(struct reader *list, struct store_kind_response *ret) { /* B-7.4.1-17 */
	struct store_kind_response response;
	int more = kind_response_next(list, &response);

	if (more <= 0)
		return more;
	if (list->node_id_length == 0 || response.replicas.length % list->node_id_length != 0)
		return reader_fail(list);
	*ret = response;
	return 1;
}

void store_kind_response_write(struct writer *w, uint32_t kind, uint64_t generation, const struct id *replicas, size_t count) {
	writer_u32(w, kind);
	writer_u64(w, generation);
	size_t mark = writer_begin(w, 2);
	for (size_t i = 0; i < count; i++)
		writer_id(w, &replicas[i]);
	writer_end(w, mark, 2);
}

/* FetchAns and StatAns: Kind, generation and values, in the layout of StoreKindData. */
static int kinds_read(struct octets body, struct octets *ret_list) {
	struct reader r = reader_of_octets(body);
	struct octets list = reader_vector32(&r);

	if (reader_finish(&r) < 0 || LIST_CHECK(&r, list, struct store_kind_data, store_kind_data_next) < 0)
		return -EBADMSG;
	*ret_list = list;
	return 0;
}

int fetch_ans_read(struct octets body, struct octets *ret_list) {
	return kinds_read(body, ret_list);
}

int stat_ans_read(struct octets body, struct octets *ret_list) {
	return kinds_read(body, ret_list);
}
