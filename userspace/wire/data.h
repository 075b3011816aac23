/* SPDX-License-Identifier: BSD-2-Clause */
/* Stored data and the storage methods (RFC 6940 7). */
#pragma once

#include "wire/message.h"

/* One value of any data model. */
struct stored_value {
	uint8_t model;                    /* enum data_model; not on the wire, known from the Kind */
	uint32_t index;                   /* array */
	struct octets key;                /* dictionary */
	bool exists;
	struct octets value;
};
int stored_value_read(struct reader *r, uint8_t model, struct stored_value *ret);
void stored_value_write(struct writer *w, const struct stored_value *value);

struct stored_data {
	uint64_t storage_time_ms;         /* since 1970 UTC */
	uint32_t lifetime_s;              /* from receipt of the StoreReq */
	struct stored_value value;
	struct signature signature;
	struct octets whole;              /* with its length prefix */
};
/* 1, 0 at the end, -EBADMSG. */
int stored_data_next(struct reader *list, uint8_t model, struct stored_data *ret);
void stored_data_write(struct writer *w, const struct stored_data *data);

/* Signature input of one value: resource_id ‖ kind ‖ storage_time ‖ value with index 0 ‖ identity (B-7.1-01, Q-22). */
void stored_data_write_signature_input(struct writer *w, struct octets resource_id, uint32_t kind, uint64_t storage_time_ms,
				       const struct stored_value *value, struct octets signer_identity);

struct store_req {
	struct octets resource_id;
	uint8_t replica_number;
	struct octets kinds;              /* list of StoreKindData */
};
struct store_kind_data {
	uint32_t kind;
	uint64_t generation_counter;
	struct octets values;             /* list of StoredData; arm from the Kind's data model */
};
int store_req_read(struct octets body, struct store_req *ret);
/* Used for the elements of StoreReq and of FetchAns, which have the same layout. */
int store_kind_data_next(struct reader *list, struct store_kind_data *ret);
/* Opens a StoreReq; write elements, then store_req_end(). */
size_t store_req_begin(struct writer *w, struct octets resource_id, uint8_t replica_number);
void store_req_end(struct writer *w, size_t mark);
size_t store_kind_data_begin(struct writer *w, uint32_t kind, uint64_t generation_counter);
void store_kind_data_end(struct writer *w, size_t mark);

struct store_kind_response {
	uint32_t kind;
	uint64_t generation_counter;
	struct octets replicas;           /* Node-IDs */
};
int store_ans_read(struct octets body, struct octets *ret_list);
int store_kind_response_next(struct reader *list, struct store_kind_response *ret);
/* Elements between writer_begin(w, 2) and writer_end(w, mark, 2). */
void store_kind_response_write(struct writer *w, uint32_t kind, uint64_t generation, const struct id *replicas, size_t count);

/* Fetch and Stat. */
struct stored_data_specifier {
	uint32_t kind;
	uint64_t generation;
	struct octets model_specifier;    /* array: list of ranges; dictionary: list of keys; single: empty */
};
struct array_range {
	uint32_t first, last;
};
struct fetch_req {
	struct octets resource_id;
	struct octets specifiers;
};
int fetch_req_read(struct octets body, struct fetch_req *ret);
/* `model` of a Kind-ID decides which arm follows; the arm is skippable by its length, so unknown Kinds parse. */
int stored_data_specifier_next(struct reader *list, struct stored_data_specifier *ret);
/*
 * The model specific part again, once the model is known: array ranges. -EBADMSG when first > last or ranges overlap.
 * Ascending ranges may be many; behind the first ARRAY_RANGES_UNORDERED ones all must stand above those in front of them,
 * which bounds the work of the overlap check.
 */
enum { ARRAY_RANGES_UNORDERED = 256 };
int array_ranges_check(struct octets model_specifier);
int array_range_next(struct octets model_specifier, size_t *position, struct array_range *ret);
int dictionary_keys_check(struct octets model_specifier);
int dictionary_key_next(struct octets model_specifier, size_t *position, struct octets *ret);

size_t fetch_req_begin(struct writer *w, struct octets resource_id);
void fetch_req_end(struct writer *w, size_t mark);
void stored_data_specifier_write_single(struct writer *w, uint32_t kind, uint64_t generation);
void stored_data_specifier_write_array(struct writer *w, uint32_t kind, uint64_t generation, const struct array_range *ranges,
				       size_t count);
void stored_data_specifier_write_dictionary(struct writer *w, uint32_t kind, uint64_t generation, const struct octets *keys,
					    size_t count);

/* FetchAns: elements between writer_begin(w, 4) and writer_end(w, mark, 4), each store_kind_data_begin/_end. */
int fetch_ans_read(struct octets body, struct octets *ret_list);

/* Stat: as Fetch, with metadata for values. */
struct meta_data {
	bool exists;
	uint32_t value_length;
	uint8_t hash_algorithm;
	struct octets hash;
};
struct stored_meta_data {
	uint64_t storage_time_ms;
	uint32_t lifetime_s;
	uint8_t model;
	uint32_t index;
	struct octets key;
	struct meta_data meta;
};
int stored_meta_data_next(struct reader *list, uint8_t model, struct stored_meta_data *ret);
void stored_meta_data_write(struct writer *w, const struct stored_meta_data *meta);
int stat_ans_read(struct octets body, struct octets *ret_list);

/* Find. */
struct find_req {
	struct octets resource_id;
	struct octets kinds;              /* u32 each */
};
struct find_kind_data {
	uint32_t kind;
	struct octets closest;
};
int find_req_read(struct octets body, struct find_req *ret);
int find_kind_next(struct reader *list, uint32_t *ret);
void find_req_write(struct writer *w, struct octets resource_id, const uint32_t *kinds, size_t count);
int find_ans_read(struct octets body, struct octets *ret_list);
int find_kind_data_next(struct reader *list, struct find_kind_data *ret);
/* Elements between writer_begin(w, 2) and writer_end(w, mark, 2). */
void find_kind_data_write(struct writer *w, uint32_t kind, struct octets closest);

/* Values of the Kinds of this overlay. */
struct turn_server {
	uint8_t iteration;
	struct address address;
};
int turn_server_read(struct octets value, struct turn_server *ret);
void turn_server_write(struct writer *w, const struct turn_server *server);

struct sip_registration {
	uint8_t type;                     /* enum sip_registration_type; others are skippable by their length */
	struct octets uri;                /* type uri */
	struct octets contact_prefs;      /* type route */
	struct octets destination_list;   /* type route */
};
/* RFC 7904 3.2. */
int sip_registration_read(struct octets value, struct sip_registration *ret);
void sip_registration_write(struct writer *w, const struct sip_registration *registration);
