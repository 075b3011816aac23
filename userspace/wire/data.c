/* SPDX-License-Identifier: BSD-2-Clause */
/* Stored values, their signature input and their metadata (RFC 6940 7, 7.1, 7.2, 7.4.3.2). */
#include "wire/data.h"

#include "wire/list.h"

/* The part of an entry that depends on the data model: nothing, an index, or a key. An unknown model cannot be parsed. */
static void place_read(struct reader *r, uint8_t model, uint32_t *index, struct octets *key) {
	switch (model) {
	case DATA_MODEL_SINGLE:
		break;
	case DATA_MODEL_ARRAY:
		*index = reader_u32(r);
		break;
	case DATA_MODEL_DICTIONARY:
		*key = reader_vector16(r);
		break;
	default:
		reader_fail(r);
		break;
	}
}

static void place_write(struct writer *w, uint8_t model, uint32_t index, struct octets key) {
	switch (model) {
	case DATA_MODEL_SINGLE:
		break;
	case DATA_MODEL_ARRAY:
		writer_u32(w, index);
		break;
	case DATA_MODEL_DICTIONARY:
		writer_vector16(w, key);
		break;
	default:
		writer_fail(w, -EINVAL);
		break;
	}
}

int stored_value_read(struct reader *r, uint8_t model, struct stored_value *ret) {
	struct stored_value value = {.model = model};

	place_read(r, model, &value.index, &value.key);
	value.exists = reader_boolean(r); /* B-7.2-01 */
	value.value = reader_vector32(r);
	if (r->error < 0)
		return -EBADMSG;
	*ret = value;
	return 0;
}

void stored_value_write(struct writer *w, const struct stored_value *value) {
	place_write(w, value->model, value->index, value->key);
	writer_boolean(w, value->exists);
	writer_vector32(w, value->value);
}

int stored_data_next(struct reader *list, uint8_t model, struct stored_data *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct reader before = *list, r = reader_nested(list, reader_vector32(list)); /* B-7-01 */
	struct stored_data data = {.storage_time_ms = reader_u64(&r)};
	data.lifetime_s = reader_u32(&r);
	if (stored_value_read(&r, model, &data.value) < 0 || signature_read(&r, &data.signature) < 0)
		return reader_fail(list);
	reader_finish_nested(list, &r);
	if (list->error < 0)
		return -EBADMSG;
	data.whole = reader_between(&before, list);
	*ret = data;
	return 1;
}

void stored_data_write(struct writer *w, const struct stored_data *data) {
	size_t mark = writer_begin(w, 4);

	writer_u64(w, data->storage_time_ms);
	writer_u32(w, data->lifetime_s);
	stored_value_write(w, &data->value);
	signature_write(w, &data->signature);
	writer_end(w, mark, 4);
}

void stored_data_write_signature_input(struct writer *w, struct octets resource_id, uint32_t kind, uint64_t storage_time_ms,
				       const struct stored_value *value, struct octets signer_identity) { /* B-7.1-01 */
	struct stored_value signed_value = *value;

	signed_value.index = 0;		    /* B-7.4.2-08: the storing peer may choose the index */
	writer_resource_id(w, resource_id); /* with its length octet */
	writer_u32(w, kind);
	writer_u64(w, storage_time_ms);
	stored_value_write(w, &signed_value);
	writer_octets(w, signer_identity);
}

int stored_meta_data_next(struct reader *list, uint8_t model, struct stored_meta_data *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct reader r = reader_nested(list, reader_vector32(list)); /* */
	struct stored_meta_data meta = {.storage_time_ms = reader_u64(&r)};
	meta.lifetime_s = reader_u32(&r);
	meta.model = model;
	place_read(&r, model, &meta.index, &meta.key);
	meta.meta.exists = reader_boolean(&r);
	meta.meta.value_length = reader_u32(&r);
	meta.meta.hash_algorithm = reader_u8(&r);
	meta.meta.hash = reader_vector8(&r);
	reader_finish_nested(list, &r);
	if (list->error < 0)
		return -EBADMSG;
	*ret = meta;
	return 1;
}

void stored_meta_data_write(struct writer *w, const struct stored_meta_data *meta) {
	size_t mark = writer_begin(w, 4);

	writer_u64(w, meta->storage_time_ms);
	writer_u32(w, meta->lifetime_s);
	place_write(w, meta->model, meta->index, meta->key);
	writer_boolean(w, meta->meta.exists);
	writer_u32(w, meta->meta.value_length);
	writer_u8(w, meta->meta.hash_algorithm);
	writer_vector8(w, meta->meta.hash);
	writer_end(w, mark, 4);
}
