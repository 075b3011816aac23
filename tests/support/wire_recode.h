/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One function per structure of the wire format: decode all of it, down to the last list element, and encode what was found.
 * Whatever decodes must encode to the same octets. Unit tests run them over valid and damaged input, fuzzing over anything.
 *
 * A recoder returns a negative errno for input that does not decode. It aborts where a decoder breaks a promise of its header:
 * lists said to be checked that fail later, views outside the input, encoders that refuse what was decoded.
 */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "wire/data.h"
#include "wire/method.h"
#include "wire/uri.h"

#define RECODE_CHECK(condition)                                                                                                    \
	do {                                                                                                                       \
		if (!(condition)) {                                                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
			abort();                                                                                                   \
		}                                                                                                                  \
	} while (0)

typedef int (*recode_function)(struct octets in, uint8_t node_id_length, struct writer *w);

static inline struct reader recode_reader(struct octets in, uint8_t node_id_length) {
	struct reader r = reader_of_octets(in);

	r.node_id_length = node_id_length;
	return r;
}

/* A view must lie inside the input it came from. */
static inline void recode_view(struct octets in, struct octets view) {
	RECODE_CHECK(view.length == 0 || (view.data >= in.data && view.length <= in.length &&
					  (size_t)(view.data - in.data) <= in.length - view.length));
}

/* --- destinations --- */

static inline void recode_write_destination(struct writer *w, const struct destination *destination) {
	struct id id;

	switch (destination->type) {
	case DESTINATION_NODE:
		id = id_of(destination->value);
		RECODE_CHECK(!id_is_none(&id));
		destination_write_node(w, &id);
		break;
	case DESTINATION_RESOURCE:
		destination_write_resource(w, destination->value);
		break;
	case DESTINATION_OPAQUE:
		if (destination->compact) {
			RECODE_CHECK(destination->value.length == 2);
			struct reader r = reader_of_octets(destination->value);
			destination_write_compact(w, reader_u16(&r));
		} else {
			destination_write_opaque(w, destination->value);
		}
		break;
	default:
		writer_u8(w, destination->type);
		writer_vector8(w, destination->value);
		break;
	}
}

static inline int recode_destination(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct reader r = recode_reader(in, node_id_length);
	struct destination destination;

	if (destination_read(&r, &destination) < 0 || reader_finish(&r) < 0)
		return -EBADMSG;
	RECODE_CHECK(octets_equal(destination.whole, in));
	recode_view(in, destination.value);
	recode_write_destination(w, &destination);
	return 0;
}

static inline int recode_destination_list(struct octets in, uint8_t node_id_length, struct writer *w) {
	int error = destination_list_check(in, node_id_length, LIMIT_DESTINATIONS);
	struct reader r = recode_reader(in, node_id_length);
	struct destination destination = {0}, last;

	if (error < 0)
		return error;
	while (reader_more(&r)) {
		RECODE_CHECK(destination_read(&r, &destination) == 0);
		recode_write_destination(w, &destination);
	}
	error = destination_last(in, node_id_length, &last);
	RECODE_CHECK(error == (in.length == 0 ? -ENOENT : 0));
	if (in.length > 0)
		RECODE_CHECK(octets_equal(last.whole, destination.whole) && last.type == destination.type);

	/* Twice reversed is the list again. */
	struct writer once = writer_growing(in.length + 1), twice = writer_growing(in.length + 1);
	RECODE_CHECK(destination_write_reversed(&once, in) == 0 && writer_finish(&once) == 0);
	RECODE_CHECK(destination_write_reversed(&twice, writer_octets_written(&once)) == 0 && writer_finish(&twice) == 0);
	RECODE_CHECK(octets_equal(writer_octets_written(&twice), in));
	writer_release(&once);
	writer_release(&twice);

	struct id sole = destination_sole_node(in, node_id_length);
	RECODE_CHECK(id_is_none(&sole) || in.length == 2u + node_id_length);
	return 0;
}

/* An unknown family is not kept. */
static inline int recode_ip_address_port(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct reader r = recode_reader(in, node_id_length);
	struct address address;

	if (ip_address_port_read(&r, &address) < 0 || reader_finish(&r) < 0)
		return -EBADMSG;
	ip_address_port_write(w, &address);
	return 0;
}

/* --- messages --- */

static inline int recode_forwarding_options(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct reader r = recode_reader(in, node_id_length);
	struct forwarding_option option;
	int more;

	while ((more = forwarding_option_next(&r, &option)) > 0)
		forwarding_option_write(w, &option);
	return more;
}

static inline int recode_forwarding_header(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct reader r = recode_reader(in, node_id_length);
	struct forwarding_header header;

	if (forwarding_header_read(&r, &header) < 0 || reader_finish(&r) < 0)
		return -EBADMSG;
	RECODE_CHECK(header.header_length == in.length);
	forwarding_header_write(w, &header);
	return 0;
}

static inline int recode_message_extensions(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct reader r = recode_reader(in, node_id_length);
	struct message_extension extension;
	int more;

	while ((more = message_extension_next(&r, &extension)) > 0)
		message_extension_write(w, &extension);
	return more;
}

static inline void recode_write_contents(struct writer *w, const struct message_contents *contents, uint8_t node_id_length) {
	struct writer extensions = writer_growing(contents->extensions.length + 1);

	RECODE_CHECK(recode_message_extensions(contents->extensions, node_id_length, &extensions) == 0);
	message_contents_write(w, contents->code, contents->body, writer_octets_written(&extensions));
	writer_release(&extensions);
}

static inline int recode_message_contents(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct reader r = recode_reader(in, node_id_length);
	struct message_contents contents;

	if (message_contents_read(&r, &contents) < 0 || reader_finish(&r) < 0)
		return -EBADMSG;
	RECODE_CHECK(octets_equal(contents.whole, in));
	recode_write_contents(w, &contents, node_id_length);
	return 0;
}

static inline int recode_signer_identity(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct reader r = recode_reader(in, node_id_length);
	struct signer_identity identity;

	if (signer_identity_read(&r, &identity) < 0 || reader_finish(&r) < 0)
		return -EBADMSG;
	RECODE_CHECK(octets_equal(identity.whole, in));
	signer_identity_write(w, &identity);
	return 0;
}

static inline int recode_signature(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct reader r = recode_reader(in, node_id_length);
	struct signature signature;

	if (signature_read(&r, &signature) < 0 || reader_finish(&r) < 0)
		return -EBADMSG;
	signature_write(w, &signature);
	return 0;
}

static inline void recode_write_security(struct writer *w, const struct security_block *security) {
	struct reader r = reader_of_octets(security->certificates);
	struct generic_certificate certificate;
	size_t mark = writer_begin(w, 2);
	int more;

	while ((more = generic_certificate_next(&r, &certificate)) > 0)
		generic_certificate_write(w, certificate.type, certificate.certificate);
	RECODE_CHECK(more == 0);
	writer_end(w, mark, 2);
	signature_write(w, &security->signature);
}

static inline int recode_security_block(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct reader r = recode_reader(in, node_id_length);
	struct security_block security;

	if (security_block_read(&r, &security) < 0 || reader_finish(&r) < 0)
		return -EBADMSG;
	RECODE_CHECK(octets_equal(security.whole, in));
	recode_write_security(w, &security);
	return 0;
}

static inline int recode_message(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct message message;
	size_t start = w->length;
	int error = message_read(in, node_id_length, &message);

	if (error < 0)
		return error;
	struct writer lists = writer_growing(in.length + 1);
	RECODE_CHECK(recode_destination_list(message.header.via_list, node_id_length, &lists) == 0);
	RECODE_CHECK(recode_destination_list(message.header.destination_list, node_id_length, &lists) == 0);
	RECODE_CHECK(recode_forwarding_options(message.header.options, node_id_length, &lists) == 0);
	writer_release(&lists);
	recode_view(in, message.contents.whole);
	recode_view(in, message.security.whole);
	RECODE_CHECK(message.header.header_length + message.contents.whole.length + message.security.whole.length == in.length);
	message.header.length = 0;
	forwarding_header_write(w, &message.header);
	recode_write_contents(w, &message.contents, node_id_length);
	recode_write_security(w, &message.security);
	message_write_length(w, start);
	return 0;
}

static inline int recode_framed_message(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct reader r = recode_reader(in, node_id_length);
	struct framed_message frame;

	if (framed_message_read(&r, &frame) < 0 || reader_finish(&r) < 0)
		return -EBADMSG;
	if (frame.type == FRAMED_ACK) {
		framed_ack_write(w, frame.sequence, frame.received);
		return 0;
	}
	RECODE_CHECK(frame.type == FRAMED_DATA);
	framed_data_write_header(w, frame.sequence, frame.message.length);
	writer_octets(w, frame.message);
	return 0;
}

static inline int recode_error_response(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct error_response error;
	char text[64];

	(void)node_id_length;
	if (error_response_read(in, &error) < 0)
		return -EBADMSG;
	RECODE_CHECK(strlen(error_info_text(error.info, text, sizeof(text))) < sizeof(text));
	error_response_write(w, error.code, error.info);
	return 0;
}

static inline int recode_unknown_kinds(struct octets in, uint8_t node_id_length, struct writer *w) {
	uint32_t kinds[64];
	size_t count;

	(void)node_id_length;
	if (error_unknown_kinds_read(in, kinds, 64, &count) < 0)
		return -EBADMSG;
	RECODE_CHECK(count <= 63);
	error_unknown_kinds_write(w, kinds, count);
	return 0;
}

/* --- methods --- */

static inline int recode_probe_req(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct probe_req probe;

	(void)node_id_length;
	if (probe_req_read(in, &probe) < 0)
		return -EBADMSG;
	probe_req_write(w, &probe);
	return 0;
}

static inline int recode_probe_ans(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct probe_information information;
	struct octets list;
	int more;

	if (probe_ans_read(in, &list) < 0)
		return -EBADMSG;
	struct reader r = recode_reader(list, node_id_length);
	size_t mark = writer_begin(w, 2);
	while ((more = probe_information_next(&r, &information)) > 0) {
		if (information.type >= PROBE_RESPONSIBLE_SET && information.type <= PROBE_UPTIME) {
			probe_information_write(w, information.type, information.value);
		} else {
			writer_u8(w, information.type);
			writer_vector8(w, information.raw);
		}
	}
	RECODE_CHECK(more == 0);
	writer_end(w, mark, 2);
	return 0;
}

/* Candidates with an address of an unknown family are not kept. */
static inline struct octets recode_candidates(struct octets list, struct writer *w) {
	struct reader r = reader_of_octets(list);
	struct ice_candidate candidate;
	struct ice_extension extension;
	int more;

	while ((more = ice_candidate_next(&r, &candidate)) > 0) {
		struct reader extensions = reader_of_octets(candidate.extensions);
		struct writer again = writer_growing(candidate.extensions.length + 1);
		while ((more = ice_extension_next(&extensions, &extension)) > 0) {
			writer_vector16(&again, extension.name);
			writer_vector16(&again, extension.value);
		}
		RECODE_CHECK(more == 0 && octets_equal(writer_octets_written(&again), candidate.extensions));
		writer_release(&again);
		ice_candidate_write(w, &candidate);
	}
	RECODE_CHECK(more == 0);
	return writer_octets_written(w);
}

static inline int recode_attach(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct attach_req_ans attach;

	(void)node_id_length;
	if (attach_read(in, &attach) < 0)
		return -EBADMSG;
	struct writer candidates = writer_growing(attach.candidates.length + 1);
	attach.candidates = recode_candidates(attach.candidates, &candidates);
	writer_fail(w, writer_finish(&candidates));
	attach_write(w, &attach);
	writer_release(&candidates);
	return 0;
}

static inline int recode_app_attach(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct attach_req_ans attach;

	(void)node_id_length;
	if (app_attach_read(in, &attach) < 0)
		return -EBADMSG;
	struct writer candidates = writer_growing(attach.candidates.length + 1);
	attach.candidates = recode_candidates(attach.candidates, &candidates);
	writer_fail(w, writer_finish(&candidates));
	app_attach_write(w, &attach);
	writer_release(&candidates);
	return 0;
}

static inline int recode_ping_req(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct octets padding;

	(void)node_id_length;
	if (ping_req_read(in, &padding) < 0)
		return -EBADMSG;
	ping_req_write(w, padding);
	return 0;
}

static inline int recode_ping_ans(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct ping_ans ping;

	(void)node_id_length;
	if (ping_ans_read(in, &ping) < 0)
		return -EBADMSG;
	ping_ans_write(w, &ping);
	return 0;
}

static inline int recode_config_update(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct config_update_req update;
	struct octets kinds[64];
	size_t count = 0;
	int more;

	if (config_update_read(in, &update) < 0)
		return -EBADMSG;
	if (update.type == CONFIG_UPDATE_CONFIG) {
		config_update_write_config(w, update.config);
	} else if (update.type == CONFIG_UPDATE_KIND) {
		struct reader r = recode_reader(update.kinds, node_id_length);
		while (count < 64 && (more = kind_description_next(&r, &kinds[count])) > 0)
			count++;
		if (count == 64)
			return -E2BIG;
		RECODE_CHECK(more == 0);
		config_update_write_kinds(w, kinds, count);
	} else {
		writer_u8(w, update.type);
		writer_vector32(w, update.raw);
	}
	return 0;
}

static inline int recode_join_req(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct join_req join;

	if (join_req_read(in, node_id_length, &join) < 0)
		return -EBADMSG;
	join_req_write(w, &join);
	return 0;
}

static inline int recode_join_ans(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct octets data;

	(void)node_id_length;
	if (join_ans_read(in, &data) < 0)
		return -EBADMSG;
	join_ans_write(w, data);
	return 0;
}

static inline int recode_leave_req(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct leave_req leave;

	if (leave_req_read(in, node_id_length, &leave) < 0)
		return -EBADMSG;
	leave_req_write(w, &leave);
	return 0;
}

enum { RECODE_IDS = 128 };

static inline int recode_node_ids(struct octets list, uint8_t node_id_length, struct id ids[RECODE_IDS], size_t *ret_count) {
	struct reader r = recode_reader(list, node_id_length);
	size_t count = 0;
	int more = 0;

	while (count < RECODE_IDS && (more = node_id_next(&r, &ids[count])) > 0)
		count++;
	if (count == RECODE_IDS)
		return -E2BIG;
	RECODE_CHECK(more == 0);
	*ret_count = count;
	return 0;
}

static inline int recode_chord_leave(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct chord_leave_data leave;
	struct id ids[RECODE_IDS];
	size_t count;

	if (chord_leave_read(in, node_id_length, &leave) < 0)
		return -EBADMSG;
	if (recode_node_ids(leave.node_ids, node_id_length, ids, &count) < 0)
		return -E2BIG;
	chord_leave_write(w, leave.type, ids, count);
	return 0;
}

static inline int recode_chord_update(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct chord_update update;

	if (chord_update_read(in, node_id_length, &update) < 0)
		return -EBADMSG;
	RECODE_CHECK(update.predecessors.length % node_id_length == 0 && update.successors.length % node_id_length == 0 &&
		     update.fingers.length % node_id_length == 0);
	chord_update_write(w, &update);
	return 0;
}

static inline int recode_route_query(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct route_query_req query;

	if (route_query_read(in, node_id_length, &query) < 0)
		return -EBADMSG;
	route_query_write(w, &query);
	return 0;
}

static inline int recode_chord_route_query_ans(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct id next_peer;

	if (chord_route_query_ans_read(in, node_id_length, &next_peer) < 0)
		return -EBADMSG;
	writer_id(w, &next_peer);
	return 0;
}

/* --- storage; one recoder for each data model --- */

static inline int recode_stored_value(struct octets in, uint8_t model, struct writer *w) {
	struct reader r = reader_of_octets(in);
	struct stored_value value;

	if (stored_value_read(&r, model, &value) < 0 || reader_finish(&r) < 0)
		return -EBADMSG;
	recode_view(in, value.value);
	recode_view(in, value.key);
	stored_value_write(w, &value);
	return 0;
}

static inline int recode_stored_data_list(struct octets in, uint8_t model, struct writer *w) {
	struct reader r = reader_of_octets(in);
	struct stored_data data;
	int more;

	while ((more = stored_data_next(&r, model, &data)) > 0) {
		size_t start = w->length;
		stored_data_write(w, &data);
		if (writer_finish(w) == 0)
			RECODE_CHECK(octets_equal(data.whole, OCTETS(w->data + start, w->length - start)));
	}
	return more;
}

static inline int recode_stored_meta_data_list(struct octets in, uint8_t model, struct writer *w) {
	struct reader r = reader_of_octets(in);
	struct stored_meta_data meta;
	int more;

	while ((more = stored_meta_data_next(&r, model, &meta)) > 0)
		stored_meta_data_write(w, &meta);
	return more;
}

typedef int (*recode_values)(struct octets in, uint8_t model, struct writer *w);

static inline int recode_kinds(struct octets list, uint8_t model, recode_values values, struct writer *w) {
	struct reader r = reader_of_octets(list);
	struct store_kind_data kind;
	int more;

	while ((more = store_kind_data_next(&r, &kind)) > 0) {
		size_t mark = store_kind_data_begin(w, kind.kind, kind.generation_counter);
		int error = values(kind.values, model, w);
		if (error < 0)
			return error;
		store_kind_data_end(w, mark);
	}
	RECODE_CHECK(more == 0);
	return 0;
}

static inline int recode_store_req(struct octets in, uint8_t model, struct writer *w) {
	struct store_req store;

	if (store_req_read(in, &store) < 0)
		return -EBADMSG;
	size_t mark = store_req_begin(w, store.resource_id, store.replica_number);
	int error = recode_kinds(store.kinds, model, recode_stored_data_list, w);
	store_req_end(w, mark);
	return error;
}

static inline int recode_fetch_ans(struct octets in, uint8_t model, struct writer *w) {
	struct octets list;

	if (fetch_ans_read(in, &list) < 0)
		return -EBADMSG;
	size_t mark = writer_begin(w, 4);
	int error = recode_kinds(list, model, recode_stored_data_list, w);
	writer_end(w, mark, 4);
	return error;
}

static inline int recode_stat_ans(struct octets in, uint8_t model, struct writer *w) {
	struct octets list;

	if (stat_ans_read(in, &list) < 0)
		return -EBADMSG;
	size_t mark = writer_begin(w, 4);
	int error = recode_kinds(list, model, recode_stored_meta_data_list, w);
	writer_end(w, mark, 4);
	return error;
}

enum { RECODE_ITEMS = 64 };

static inline int recode_array_specifier(struct writer *w, const struct stored_data_specifier *specifier) {
	struct array_range ranges[RECODE_ITEMS];
	size_t position = 0, count = 0;
	int more = 0;

	if (array_ranges_check(specifier->model_specifier) < 0)
		return -EBADMSG;
	while (count < RECODE_ITEMS && (more = array_range_next(specifier->model_specifier, &position, &ranges[count])) > 0)
		count++;
	if (count == RECODE_ITEMS)
		return -E2BIG;
	RECODE_CHECK(more == 0);
	stored_data_specifier_write_array(w, specifier->kind, specifier->generation, ranges, count);
	return 0;
}

static inline int recode_dictionary_specifier(struct writer *w, const struct stored_data_specifier *specifier) {
	struct octets keys[RECODE_ITEMS];
	size_t position = 0, count = 0;
	int more = 0;

	if (dictionary_keys_check(specifier->model_specifier) < 0)
		return -EBADMSG;
	while (count < RECODE_ITEMS && (more = dictionary_key_next(specifier->model_specifier, &position, &keys[count])) > 0)
		count++;
	if (count == RECODE_ITEMS)
		return -E2BIG;
	RECODE_CHECK(more == 0);
	stored_data_specifier_write_dictionary(w, specifier->kind, specifier->generation, keys, count);
	return 0;
}

static inline int recode_fetch_req(struct octets in, uint8_t model, struct writer *w) {
	struct stored_data_specifier specifier;
	struct fetch_req fetch;
	int more, error = 0;

	if (fetch_req_read(in, &fetch) < 0)
		return -EBADMSG;
	struct reader r = reader_of_octets(fetch.specifiers);
	size_t mark = fetch_req_begin(w, fetch.resource_id);
	while (error == 0 && (more = stored_data_specifier_next(&r, &specifier)) > 0) {
		if (model == DATA_MODEL_ARRAY)
			error = recode_array_specifier(w, &specifier);
		else if (model == DATA_MODEL_DICTIONARY)
			error = recode_dictionary_specifier(w, &specifier);
		else if (specifier.model_specifier.length > 0)
			error = -EBADMSG;
		else
			stored_data_specifier_write_single(w, specifier.kind, specifier.generation);
	}
	RECODE_CHECK(error < 0 || more == 0);
	fetch_req_end(w, mark);
	return error;
}

#define RECODE_MODELS(name)                                                                                                        \
	static inline int recode_##name##_single(struct octets in, uint8_t node_id_length, struct writer *w) {                     \
		(void)node_id_length;                                                                                              \
		return recode_##name(in, DATA_MODEL_SINGLE, w);                                                                    \
	}                                                                                                                          \
	static inline int recode_##name##_array(struct octets in, uint8_t node_id_length, struct writer *w) {                      \
		(void)node_id_length;                                                                                              \
		return recode_##name(in, DATA_MODEL_ARRAY, w);                                                                     \
	}                                                                                                                          \
	static inline int recode_##name##_dictionary(struct octets in, uint8_t node_id_length, struct writer *w) {                 \
		(void)node_id_length;                                                                                              \
		return recode_##name(in, DATA_MODEL_DICTIONARY, w);                                                                \
	}
RECODE_MODELS(stored_value)
RECODE_MODELS(stored_data_list)
RECODE_MODELS(stored_meta_data_list)
RECODE_MODELS(store_req)
RECODE_MODELS(fetch_req)
RECODE_MODELS(fetch_ans)
RECODE_MODELS(stat_ans)

static inline int recode_store_ans(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct store_kind_response response;
	struct id ids[RECODE_IDS];
	struct octets list;
	size_t count;
	int more;

	if (store_ans_read(in, &list) < 0)
		return -EBADMSG;
	struct reader r = recode_reader(list, node_id_length);
	size_t mark = writer_begin(w, 2);
	while ((more = store_kind_response_next(&r, &response)) > 0) {
		if (recode_node_ids(response.replicas, node_id_length, ids, &count) < 0)
			return -E2BIG;
		store_kind_response_write(w, response.kind, response.generation_counter, ids, count);
	}
	writer_end(w, mark, 2);
	return more; /* replicas that are no whole Node-IDs show up here only */
}

static inline int recode_find_req(struct octets in, uint8_t node_id_length, struct writer *w) {
	uint32_t kinds[RECODE_ITEMS];
	struct find_req find;
	size_t count = 0;
	int more;

	if (find_req_read(in, &find) < 0)
		return -EBADMSG;
	struct reader r = recode_reader(find.kinds, node_id_length);
	while ((more = find_kind_next(&r, &kinds[count])) > 0)
		count++; /* at most 63 fit */
	RECODE_CHECK(more == 0);
	find_req_write(w, find.resource_id, kinds, count);
	return 0;
}

static inline int recode_find_ans(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct find_kind_data data;
	struct octets list;
	int more;

	if (find_ans_read(in, &list) < 0)
		return -EBADMSG;
	struct reader r = recode_reader(list, node_id_length);
	size_t mark = writer_begin(w, 2);
	while ((more = find_kind_data_next(&r, &data)) > 0)
		find_kind_data_write(w, data.kind, data.closest);
	RECODE_CHECK(more == 0);
	writer_end(w, mark, 2);
	return 0;
}

/* An unknown family is not kept. */
static inline int recode_turn_server(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct turn_server server;

	(void)node_id_length;
	if (turn_server_read(in, &server) < 0)
		return -EBADMSG;
	turn_server_write(w, &server);
	return 0;
}

/* An unknown type is not kept. */
static inline int recode_sip_registration(struct octets in, uint8_t node_id_length, struct writer *w) {
	struct sip_registration registration;

	(void)node_id_length;
	if (sip_registration_read(in, &registration) < 0)
		return -EBADMSG;
	sip_registration_write(w, &registration);
	return 0;
}

/* --- all of them --- */

enum recode_flags {
	RECODE_LOSSY = 1, /* parts of unknown types are skipped, so the encoder may refuse with -EINVAL */
	RECODE_LIST = 2,  /* a bare list: empty or cut between elements it is still one */
};

struct recoder {
	const char *name;
	recode_function recode;
	unsigned flags;
};

#define RECODER(name, flags)                                                                                                       \
	{ #name, recode_##name, flags }
#define RECODER_MODELS(name, flags) RECODER(name##_single, flags), RECODER(name##_array, flags), RECODER(name##_dictionary, flags)

static const struct recoder recoders[] = {
    RECODER(destination, 0),
    RECODER(destination_list, RECODE_LIST),
    RECODER(ip_address_port, RECODE_LOSSY),
    RECODER(forwarding_options, RECODE_LIST),
    RECODER(forwarding_header, 0),
    RECODER(message_extensions, RECODE_LIST),
    RECODER(message_contents, 0),
    RECODER(signer_identity, 0),
    RECODER(signature, 0),
    RECODER(security_block, 0),
    RECODER(message, 0),
    RECODER(framed_message, 0),
    RECODER(error_response, 0),
    RECODER(unknown_kinds, 0),
    RECODER(probe_req, 0),
    RECODER(probe_ans, 0),
    RECODER(attach, RECODE_LOSSY),
    RECODER(app_attach, RECODE_LOSSY),
    RECODER(ping_req, 0),
    RECODER(ping_ans, 0),
    RECODER(config_update, 0),
    RECODER(join_req, 0),
    RECODER(join_ans, 0),
    RECODER(leave_req, 0),
    RECODER(chord_leave, 0),
    RECODER(chord_update, 0),
    RECODER(route_query, 0),
    RECODER(chord_route_query_ans, 0),
    RECODER_MODELS(stored_value, 0),
    RECODER_MODELS(stored_data_list, RECODE_LIST),
    RECODER_MODELS(stored_meta_data_list, RECODE_LIST),
    RECODER_MODELS(store_req, 0),
    RECODER_MODELS(fetch_req, 0),
    RECODER_MODELS(fetch_ans, 0),
    RECODER_MODELS(stat_ans, 0),
    RECODER(store_ans, 0),
    RECODER(find_req, 0),
    RECODER(find_ans, 0),
    RECODER(turn_server, RECODE_LOSSY),
    RECODER(sip_registration, RECODE_LOSSY),
};

/*
 * Runs one recoder over `in` and holds it to the rule: what decodes is encoded to the same octets.
 * Returns 0 when it decoded, else the decoder's error.
 */
static inline int recode_run(const struct recoder *recoder, struct octets in, uint8_t node_id_length) {
	struct writer w = writer_growing(in.length + 64);

	w.node_id_length = node_id_length;
	int error = recoder->recode(in, node_id_length, &w);
	if (error >= 0) {
		if (recoder->flags & RECODE_LOSSY && writer_finish(&w) == -EINVAL)
			error = 0;
		else
			RECODE_CHECK(writer_finish(&w) == 0 && octets_equal(writer_octets_written(&w), in));
	}
	writer_release(&w);
	return error;
}
