/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests of Fetch and Stat, and Find (RFC 6940 7.4.2.1, 7.4.3.1, 7.4.4). */
#include "wire/data.h"
#include "wire/list.h"

int stored_data_specifier_next(struct reader *list, struct stored_data_specifier *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct stored_data_specifier specifier = {.kind = reader_u32(list)};
	specifier.generation = reader_u64(list);
	specifier.model_specifier = reader_vector16(list);
	if (list->error < 0)
		return -EBADMSG;
	*ret = specifier;
	return 1;
}

int fetch_req_read(struct octets body, struct fetch_req *ret) {
	struct reader r = reader_of_octets(body);
	struct fetch_req fetch = {.resource_id = reader_resource_id(&r)};

	fetch.specifiers = reader_vector16(&r);
	if (reader_finish(&r) < 0 || LIST_CHECK(&r, fetch.specifiers, struct stored_data_specifier, stored_data_specifier_next) < 0)
		return -EBADMSG;
	*ret = fetch;
	return 0;
}

size_t fetch_req_begin(struct writer *w, struct octets resource_id) {
	writer_resource_id(w, resource_id);
	return writer_begin(w, 2);
}

void fetch_req_end(struct writer *w, size_t mark) {
	writer_end(w, mark, 2);
}

static size_t specifier_begin(struct writer *w, uint32_t kind, uint64_t generation) {
	writer_u32(w, kind);
	writer_u64(w, generation);
	return writer_begin(w, 2);
}

void stored_data_specifier_write_single(struct writer *w, uint32_t kind, uint64_t generation) {
	writer_end(w, specifier_begin(w, kind, generation), 2);
}

void stored_data_specifier_write_array(struct writer *w, uint32_t kind, uint64_t generation, const struct array_range *ranges,
				       size_t count) {
	size_t mark = specifier_begin(w, kind, generation), list = writer_begin(w, 2);

	for (size_t i = 0; i < count; i++) {
		writer_u32(w, ranges[i].first);
		writer_u32(w, ranges[i].last);
	}
	writer_end(w, list, 2);
	writer_end(w, mark, 2);
}

void stored_data_specifier_write_dictionary(struct writer *w, uint32_t kind, uint64_t generation, const struct octets *keys,
					    size_t count) {
	size_t mark = specifier_begin(w, kind, generation), list = writer_begin(w, 2);

	for (size_t i = 0; i < count; i++)
		writer_vector16(w, keys[i]);
	writer_end(w, list, 2);
	writer_end(w, mark, 2);
}

/* The list inside a specifier, which fills it. */
static int specifier_list(struct octets model_specifier, struct reader *ret) {
	struct reader r = reader_of_octets(model_specifier);
	struct octets list = reader_vector16(&r);

	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = reader_of_octets(list);
	return 0;
}

/* Puts a reader where the last call of a *_next() over a specifier stopped. */
static int specifier_resume(struct octets model_specifier, size_t position, struct reader *ret) {
	struct reader list;

	if (specifier_list(model_specifier, &list) < 0)
		return -EBADMSG;
	reader_octets(&list, position);
	int more = list_more(&list);
	if (more > 0)
		*ret = list;
	return more;
}

int array_range_next(struct octets model_specifier, size_t *position, struct array_range *ret) {
	struct reader list;
	int more = specifier_resume(model_specifier, *position, &list);

	if (more <= 0)
		return more;
	struct array_range range = {.first = reader_u32(&list)};
	range.last = reader_u32(&list);
	if (list.error < 0)
		return -EBADMSG;
	*position = list.position;
	*ret = range;
	return 1;
}

static bool ranges_overlap(const struct array_range *a, const struct array_range *b) {
	return a->first <= b->last && b->first <= a->last;
}

/* Whether one of the ranges in front of `end` overlaps `range`. */
static bool overlaps_earlier(struct octets model_specifier, size_t end, const struct array_range *range) {
	struct array_range earlier;
	size_t position = 0;

	while (position < end && array_range_next(model_specifier, &position, &earlier) > 0)
		if (ranges_overlap(&earlier, range))
			return true;
	return false;
}

int array_ranges_check(struct octets model_specifier) { /* B-7.4.2-02; unsigned: Q-26 */
	struct array_range range;
	size_t position = 0, count = 0;
	uint64_t beyond = 0; /* first index above all ranges so far */
	int more;

	if (model_specifier.length == 0)
		return -EBADMSG;
	for (;; count++) {
		size_t start = position;
		more = array_range_next(model_specifier, &position, &range);
		if (more <= 0)
			return more;
		if (range.first > range.last)
			return -EBADMSG;
		if (range.first < beyond) {
			if (count >= ARRAY_RANGES_UNORDERED)
				return -EBADMSG;
			if (overlaps_earlier(model_specifier, start, &range))
				return -EBADMSG;
		}
		if (range.last >= beyond)
			beyond = (uint64_t)range.last + 1;
	}
}

int dictionary_key_next(struct octets model_specifier, size_t *position, struct octets *ret) {
	struct reader list;
	int more = specifier_resume(model_specifier, *position, &list);

	if (more <= 0)
		return more;
	struct octets key = reader_vector16(&list);
	if (list.error < 0)
		return -EBADMSG;
	*position = list.position;
	*ret = key;
	return 1;
}

int dictionary_keys_check(struct octets model_specifier) {
	struct octets key;
	size_t position = 0;
	int more;

	do
		more = dictionary_key_next(model_specifier, &position, &key);
	while (more > 0);
	return more;
}

/* --- Find --- */

int find_kind_next(struct reader *list, uint32_t *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	uint32_t kind = reader_u32(list);
	if (list->error < 0)
		return -EBADMSG;
	*ret = kind;
	return 1;
}

int find_req_read(struct octets body, struct find_req *ret) {
	struct reader r = reader_of_octets(body);
	struct find_req find = {.resource_id = reader_resource_id(&r)};

	find.kinds = reader_vector8(&r);
	if (reader_finish(&r) < 0 || LIST_CHECK(&r, find.kinds, uint32_t, find_kind_next) < 0)
		return -EBADMSG;
	*ret = find;
	return 0;
}

void find_req_write(struct writer *w, struct octets resource_id, const uint32_t *kinds, size_t count) {
	writer_resource_id(w, resource_id);
	size_t mark = writer_begin(w, 1);
	for (size_t i = 0; i < count; i++)
		writer_u32(w, kinds[i]);
	writer_end(w, mark, 1);
}

int find_kind_data_next(struct reader *list, struct find_kind_data *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct find_kind_data data = {.kind = reader_u32(list)};
	data.closest = reader_resource_id(list); /* empty is taken for "0" */
	if (list->error < 0)
		return -EBADMSG;
	*ret = data;
	return 1;
}

int find_ans_read(struct octets body, struct octets *ret_list) {
	struct reader r = reader_of_octets(body);
	struct octets list = reader_vector16(&r);

	if (reader_finish(&r) < 0 || LIST_CHECK(&r, list, struct find_kind_data, find_kind_data_next) < 0)
		return -EBADMSG;
	*ret_list = list;
	return 0;
}

void find_kind_data_write(struct writer *w, uint32_t kind, struct octets closest) {
	writer_u32(w, kind);
	writer_resource_id(w, closest);
}
