/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire_test.h"

#include <errno.h>
#include <string.h>

#include "wire/data.h"

static struct writer writer_new(void) {
	static uint8_t buffer[16384];

	return writer_fixed(buffer, sizeof(buffer));
}

#define ABC_HEX "0000001b 0000000000000001 0000003c 01 00000003 616263 00 00 03 0000 0000"

/* B-7-01, B-7.2-01 */
static void test_stored_data(void **state) {
	struct stored_data data = {
		.storage_time_ms = 1,
		.lifetime_s = 60,
		.value = {.model = DATA_MODEL_SINGLE, .exists = true, .value = octets_of_string("abc")},
		.signature = {.identity = {.type = SIGNER_NONE}},
	};
	struct writer w = writer_new();
	struct stored_data read;

	(void)state;
	stored_data_write(&w, &data);
	assert_written(&w, ABC_HEX);
	struct reader r = reader_of_octets(writer_octets_written(&w));
	assert_int_equal(stored_data_next(&r, DATA_MODEL_SINGLE, &read), 1);
	assert_true(read.storage_time_ms == 1);
	assert_int_equal(read.lifetime_s, 60);
	assert_true(read.value.exists);
	TEXT(read.value.value, "abc");
	assert_true(signature_is_none(&read.signature));
	assert_octets(read.whole, ABC_HEX);
	assert_int_equal(stored_data_next(&r, DATA_MODEL_SINGLE, &read), 0);
	data.value.model = 0;
	stored_data_write(&w, &data);
	assert_int_equal(writer_finish(&w), -EINVAL);
}

static void test_value_models(void **state) {
	struct reader r = reader_of_octets(HEX("00 00000000"
					       "00000005 01 00000001 61"
					       "0003 6b6579 01 00000001 62"));
	struct stored_value value;

	(void)state;
	assert_int_equal(stored_value_read(&r, DATA_MODEL_SINGLE, &value), 0);
	assert_false(value.exists);
	assert_int_equal(value.value.length, 0);
	assert_int_equal(stored_value_read(&r, DATA_MODEL_ARRAY, &value), 0);
	assert_int_equal(value.index, 5);
	TEXT(value.value, "a");
	assert_int_equal(stored_value_read(&r, DATA_MODEL_DICTIONARY, &value), 0);
	TEXT(value.key, "key");
	TEXT(value.value, "b");
	assert_int_equal(reader_finish(&r), 0);
	for (unsigned model = 0; model < 256; model++) {
		r = reader_of_octets(HEX("00 00000000"));
		bool known = model == DATA_MODEL_SINGLE;
		assert_int_equal(stored_value_read(&r, (uint8_t)model, &value), known ? 0 : -EBADMSG);
	}
}

/* B-7.1-01, B-7.4.2-08, Q-22 */
static void test_signature_input(void **state) {
	struct stored_value value = {.model = DATA_MODEL_ARRAY, .index = 5, .exists = true, .value = octets_of_string("a")};
	struct writer w = writer_new();

	(void)state;
	stored_data_write_signature_input(&w, HEX(R_HEX), KIND_CERTIFICATE_BY_NODE, 0x0102, &value, HEX("030000"));
	assert_written(&w, "10" R_HEX "00000003 0000000000000102 00000000 01 00000001 61 030000");
	assert_int_equal(value.index, 5);
	value = (struct stored_value){.model = DATA_MODEL_DICTIONARY, .key = octets_of_string("k"), .exists = false};
	w = writer_new();
	stored_data_write_signature_input(&w, HEX(R_HEX), KIND_SIP_REGISTRATION, 1, &value, HEX("030000"));
	assert_written(&w, "10" R_HEX "00000001 0000000000000001 0001 6b 00 00000000 030000");
}

static void test_store(void **state) {
	struct writer w = writer_new();
	struct stored_data data = {.value = {.model = DATA_MODEL_SINGLE}, .signature = {.identity = {.type = SIGNER_NONE}}};
	struct store_req store;
	struct store_kind_data kind;

	(void)state;
	size_t request = store_req_begin(&w, HEX(R_HEX), 2), mark = store_kind_data_begin(&w, KIND_TURN_SERVICE, 7);
	stored_data_write(&w, &data);
	store_kind_data_end(&w, mark);
	mark = store_kind_data_begin(&w, 0xf0000001, 0);
	store_kind_data_end(&w, mark);
	store_req_end(&w, request);
	assert_written(&w, "10" R_HEX "02 0000003c"
			   "00000002 0000000000000007 0000001c"
			   "00000018 0000000000000000 00000000 00 00000000 00 00 03 0000 0000"
			   "f0000001 0000000000000000 00000000");
	assert_int_equal(store_req_read(writer_octets_written(&w), &store), 0);
	assert_octets(store.resource_id, R_HEX);
	assert_int_equal(store.replica_number, 2);
	struct reader r = reader_of_octets(store.kinds);
	assert_int_equal(store_kind_data_next(&r, &kind), 1);
	assert_int_equal(kind.kind, KIND_TURN_SERVICE);
	assert_true(kind.generation_counter == 7);
	assert_int_equal(kind.values.length, 28);
	assert_int_equal(store_kind_data_next(&r, &kind), 1);
	assert_int_equal(kind.kind, 0xf0000001);
	assert_int_equal(kind.values.length, 0);
	assert_int_equal(store_kind_data_next(&r, &kind), 0);
}

/* B-7.4.1-17, B-7.4.1-18: the same structure is the error_info of Error_Generation_Counter_Too_Low. */
static void test_store_answer(void **state) {
	struct id ids[] = {id_of(HEX(N_HEX)), id_of(HEX(M_HEX))}, id;
	struct writer w = writer_new();
	struct store_kind_response response;
	struct octets list;

	(void)state;
	size_t mark = writer_begin(&w, 2);
	store_kind_response_write(&w, 1, 9, ids, 2);
	store_kind_response_write(&w, 2, 3, NULL, 0);
	writer_end(&w, mark, 2);
	assert_written(&w, "003c 00000001 0000000000000009 0020" N_HEX M_HEX "00000002 0000000000000003 0000");
	assert_int_equal(store_ans_read(writer_octets_written(&w), &list), 0);
	struct reader r = reader_of_octets(list);
	assert_int_equal(store_kind_response_next(&r, &response), 1);
	assert_true(response.generation_counter == 9);
	struct reader replicas = reader_of_octets(response.replicas);
	assert_int_equal(reader_left(&replicas), 32);
	id = reader_id(&replicas);
	assert_true(id_equal(&id, &ids[0]));
	assert_int_equal(store_kind_response_next(&r, &response), 1);
	assert_int_equal(response.replicas.length, 0);
	assert_int_equal(store_kind_response_next(&r, &response), 0);
	/* Replicas are Node-IDs of the overlay's length. */
	r = reader_of_octets(list);
	r.node_id_length = 20;
	assert_int_equal(store_kind_response_next(&r, &response), -EBADMSG);
	assert_int_equal(store_kind_response_next(&r, &response), -EBADMSG);
}

static void test_resource_id_bounds(void **state) {
	static const uint8_t zeros[255];
	struct writer w = writer_new();

	(void)state;
	store_req_end(&w, store_req_begin(&w, OCTETS(zeros, 254), 0));
	assert_int_equal(writer_finish(&w), 0);
	store_req_end(&w, store_req_begin(&w, OCTETS(zeros, 255), 0)); /* B-6.3.1-03 */
	assert_int_equal(writer_finish(&w), -EMSGSIZE);
}

static void test_fetch(void **state) {
	struct octets keys[] = {octets_of_string("k"), OCTETS_NONE}, key;
	struct array_range ranges[] = {{0, 3}, {5, ARRAY_INDEX_LAST}}, range;
	struct stored_data_specifier specifier;
	struct writer w = writer_new();
	struct fetch_req fetch;
	size_t position = 0;

	(void)state;
	size_t mark = fetch_req_begin(&w, HEX(R_HEX));
	stored_data_specifier_write_array(&w, 3, 0, &(struct array_range){0, ARRAY_INDEX_LAST}, 1);
	fetch_req_end(&w, mark);
	assert_written(&w, "10" R_HEX "0018 00000003 0000000000000000 000a 0008 00000000 ffffffff");

	w = writer_new();
	mark = fetch_req_begin(&w, HEX(R_HEX));
	stored_data_specifier_write_single(&w, 2, 4);
	stored_data_specifier_write_array(&w, 3, 0, ranges, 2);
	stored_data_specifier_write_dictionary(&w, 1, 0, keys, 2);
	fetch_req_end(&w, mark);
	assert_int_equal(writer_finish(&w), 0);
	assert_int_equal(fetch_req_read(writer_octets_written(&w), &fetch), 0);
	struct reader r = reader_of_octets(fetch.specifiers);
	assert_int_equal(stored_data_specifier_next(&r, &specifier), 1);
	assert_int_equal(specifier.kind, 2);
	assert_true(specifier.generation == 4);
	assert_int_equal(specifier.model_specifier.length, 0);
	assert_int_equal(stored_data_specifier_next(&r, &specifier), 1);
	assert_int_equal(array_ranges_check(specifier.model_specifier), 0);
	assert_int_equal(array_range_next(specifier.model_specifier, &position, &range), 1);
	assert_true(range.first == 0 && range.last == 3);
	assert_int_equal(array_range_next(specifier.model_specifier, &position, &range), 1);
	assert_true(range.first == 5 && range.last == ARRAY_INDEX_LAST);
	assert_int_equal(array_range_next(specifier.model_specifier, &position, &range), 0);
	assert_int_equal(stored_data_specifier_next(&r, &specifier), 1);
	assert_int_equal(dictionary_keys_check(specifier.model_specifier), 0);
	position = 0;
	assert_int_equal(dictionary_key_next(specifier.model_specifier, &position, &key), 1);
	TEXT(key, "k");
	assert_int_equal(dictionary_key_next(specifier.model_specifier, &position, &key), 1);
	assert_int_equal(key.length, 0);
	assert_int_equal(dictionary_key_next(specifier.model_specifier, &position, &key), 0);
	assert_int_equal(stored_data_specifier_next(&r, &specifier), 0);
	position = 1000; /* a position that never came from here */
	assert_int_equal(dictionary_key_next(specifier.model_specifier, &position, &key), -EBADMSG);
}

static int ranges_check(const struct array_range *ranges, size_t count) {
	struct writer w = writer_new();
	struct stored_data_specifier specifier;

	stored_data_specifier_write_array(&w, 3, 0, ranges, count);
	assert_int_equal(writer_finish(&w), 0);
	struct reader r = reader_of_octets(writer_octets_written(&w));
	assert_int_equal(stored_data_specifier_next(&r, &specifier), 1);
	return array_ranges_check(specifier.model_specifier);
}

/* B-7.4.2-02, Q-26, Q-59 */
static void test_array_ranges(void **state) {
	static struct array_range many[1000];

	(void)state;
	assert_int_equal(ranges_check(NULL, 0), 0);
	assert_int_equal(ranges_check((struct array_range[]){{0, 0}}, 1), 0);
	assert_int_equal(ranges_check((struct array_range[]){{ARRAY_INDEX_LAST, ARRAY_INDEX_LAST}}, 1), 0);
	assert_int_equal(ranges_check((struct array_range[]){{0x80000000, 1}}, 1), -EBADMSG); /* unsigned */
	assert_int_equal(ranges_check((struct array_range[]){{1, 0x80000000}}, 1), 0);
	assert_int_equal(ranges_check((struct array_range[]){{0, 1}, {2, 3}, {4, 4}}, 3), 0);
	assert_int_equal(ranges_check((struct array_range[]){{4, 4}, {2, 3}, {0, 1}}, 3), 0);
	assert_int_equal(ranges_check((struct array_range[]){{0, 1}, {1, 3}}, 2), -EBADMSG);
	assert_int_equal(ranges_check((struct array_range[]){{4, 9}, {0, 4}}, 2), -EBADMSG);
	assert_int_equal(ranges_check((struct array_range[]){{4, 9}, {0, 20}}, 2), -EBADMSG);
	assert_int_equal(ranges_check((struct array_range[]){{0, 20}, {4, 9}}, 2), -EBADMSG);
	assert_int_equal(ranges_check((struct array_range[]){{10, 20}, {0, 5}, {7, 8}, {5, 6}}, 4), -EBADMSG);

	for (uint32_t i = 0; i < ARRAY_LENGTH(many); i++)
		many[i] = (struct array_range){2 * i, 2 * i + 1};
	assert_int_equal(ranges_check(many, ARRAY_LENGTH(many)), 0);
	for (uint32_t i = 0; i < ARRAY_RANGES_UNORDERED; i++)
		many[i] = (struct array_range){10000 - 2 * i, 10000 - 2 * i};
	assert_int_equal(ranges_check(many, ARRAY_RANGES_UNORDERED), 0);
	many[ARRAY_RANGES_UNORDERED] = (struct array_range){1, 1};
	assert_int_equal(ranges_check(many, ARRAY_RANGES_UNORDERED + 1), -EBADMSG);
	many[ARRAY_RANGES_UNORDERED] = (struct array_range){10001, 10001};
	assert_int_equal(ranges_check(many, ARRAY_RANGES_UNORDERED + 1), 0);
}

/* The walks over specifiers fail at the element that is cut, also when nobody checked before. */
static void test_specifiers_cut(void **state) {
	struct array_range range = {77, 77};
	struct octets key = {.length = 77};
	size_t position = 0;

	(void)state;
	assert_int_equal(array_range_next(HEX("000c 00000001 00000002 00000003"), &position, &range), 1);
	assert_int_equal(position, 8);
	assert_int_equal(array_range_next(HEX("000c 00000001 00000002 00000003"), &position, &range), -EBADMSG);
	assert_int_equal(position, 8);
	assert_true(range.first == 1 && range.last == 2);
	assert_int_equal(array_ranges_check(HEX("000c 00000001 00000002 00000003")), -EBADMSG);
	position = 0;
	assert_int_equal(array_range_next(HEX("0009 00000001 00000002"), &position, &range), -EBADMSG);
	assert_int_equal(array_range_next(OCTETS_NONE, &position, &range), -EBADMSG);
	assert_int_equal(dictionary_key_next(HEX("0005 0001 6b 0001"), &position, &key), 1);
	assert_int_equal(position, 3);
	assert_int_equal(dictionary_key_next(HEX("0005 0001 6b 0001"), &position, &key), -EBADMSG);
	assert_int_equal(position, 3);
	TEXT(key, "k");
	assert_int_equal(dictionary_keys_check(HEX("0005 0001 6b 0001")), -EBADMSG);
	assert_int_equal(dictionary_keys_check(HEX("0003 0001 6b 00")), -EBADMSG);
}

/* B-7.4.3-01, Q-60 */
static void test_meta_data(void **state) {
	struct stored_meta_data meta = {
		.storage_time_ms = 1,
		.lifetime_s = 60,
		.model = DATA_MODEL_ARRAY,
		.index = 4,
		.meta = {.exists = true, .value_length = 3, .hash_algorithm = HASH_SHA256, .hash = HEX("abcd")}};
	struct writer w = writer_new();
	struct stored_meta_data read;

	(void)state;
	stored_meta_data_write(&w, &meta);
	assert_written(&w, "00000019 0000000000000001 0000003c 00000004 01 00000003 04 02 abcd");
	struct reader r = reader_of_octets(writer_octets_written(&w));
	assert_int_equal(stored_meta_data_next(&r, DATA_MODEL_ARRAY, &read), 1);
	assert_int_equal(read.index, 4);
	assert_int_equal(read.meta.value_length, 3);
	assert_octets(read.meta.hash, "abcd");
	assert_int_equal(stored_meta_data_next(&r, DATA_MODEL_ARRAY, &read), 0);
}

/* "0" may come as an empty Resource-ID. */
static void test_find(void **state) {
	uint32_t kinds[] = {1, 0xf0000001}, kind;
	struct writer w = writer_new();
	struct find_kind_data data;
	struct find_req find;
	struct octets list;

	(void)state;
	find_req_write(&w, HEX(R_HEX), kinds, 2);
	assert_written(&w, "10" R_HEX "08 00000001 f0000001");
	assert_int_equal(find_req_read(writer_octets_written(&w), &find), 0);
	struct reader r = reader_of_octets(find.kinds);
	assert_int_equal(find_kind_next(&r, &kind), 1);
	assert_int_equal(kind, 1);
	assert_int_equal(find_kind_next(&r, &kind), 1);
	assert_int_equal(kind, 0xf0000001);
	assert_int_equal(find_kind_next(&r, &kind), 0);
	w = writer_new();
	size_t mark = writer_begin(&w, 2);
	find_kind_data_write(&w, 1, HEX(R_HEX));
	find_kind_data_write(&w, 2, OCTETS_NONE);
	writer_end(&w, mark, 2);
	assert_written(&w, "001a 00000001 10" R_HEX "00000002 00");
	assert_int_equal(find_ans_read(writer_octets_written(&w), &list), 0);
	r = reader_of_octets(list);
	assert_int_equal(find_kind_data_next(&r, &data), 1);
	assert_octets(data.closest, R_HEX);
	assert_int_equal(find_kind_data_next(&r, &data), 1);
	assert_int_equal(data.closest.length, 0);
	assert_int_equal(find_kind_data_next(&r, &data), 0);

	uint32_t many[64] = {0};
	w = writer_new();
	find_req_write(&w, HEX(R_HEX), many, 64);
	assert_int_equal(writer_finish(&w), -EMSGSIZE);
}

static void test_turn_server(void **state) {
	struct turn_server server = {.iteration = 2}, read;
	struct writer w = writer_new();

	(void)state;
	assert_int_equal(address_parse("192.0.2.1:3478", 0, &server.address), 0);
	turn_server_write(&w, &server);
	assert_written(&w, "02 0106c00002010d96");
	assert_int_equal(turn_server_read(writer_octets_written(&w), &read), 0);
	assert_int_equal(read.iteration, 2);
	assert_true(address_equal(&read.address, &server.address));
}

/* S-3.2-01 */
static void test_sip_registration(void **state) {
	struct sip_registration registration = {.type = SIP_REGISTRATION_URI, .uri = octets_of_string("bob@example.org")}, read;
	struct writer w = writer_new();

	(void)state;
	sip_registration_write(&w, &registration);
	assert_written(&w, "01 0011 000f 626f62406578616d706c652e6f7267");
	assert_int_equal(sip_registration_read(writer_octets_written(&w), &read), 0);
	assert_int_equal(read.type, SIP_REGISTRATION_URI);
	TEXT(read.uri, "bob@example.org");

	registration = (struct sip_registration){
		.type = SIP_REGISTRATION_ROUTE, .contact_prefs = octets_of_string("p"), .destination_list = HEX("0110" N_HEX)};
	w = writer_new();
	sip_registration_write(&w, &registration);
	assert_written(&w, "02 0017 0001 70 0012 0110" N_HEX);
	assert_int_equal(sip_registration_read(writer_octets_written(&w), &read), 0);
	TEXT(read.contact_prefs, "p");
	assert_octets(read.destination_list, "0110" N_HEX);

	assert_int_equal(sip_registration_read(HEX("07 0002 abcd"), &read), 0);
	assert_int_equal(read.type, 7);
	assert_int_equal(read.uri.length, 0);
	registration.destination_list = HEX("030100"); /* three octets, the shortest */
	w = writer_new();
	sip_registration_write(&w, &registration);
	assert_written(&w, "02 0008 0001 70 0003 030100");
	assert_int_equal(sip_registration_read(writer_octets_written(&w), &registration), 0);
	registration.destination_list = HEX("8005");
	sip_registration_write(&w, &registration);
	assert_int_equal(writer_finish(&w), -EINVAL);
	assert_int_equal(sip_registration_read(HEX("07 0002 abcd"), &read), 0);
	w = writer_new();
	sip_registration_write(&w, &read);
	assert_int_equal(writer_finish(&w), -EINVAL);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stored_data),
		cmocka_unit_test(test_value_models),
		cmocka_unit_test(test_signature_input),
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_store_answer),
		cmocka_unit_test(test_resource_id_bounds),
		cmocka_unit_test(test_fetch),
		cmocka_unit_test(test_array_ranges),
		cmocka_unit_test(test_specifiers_cut),
		cmocka_unit_test(test_meta_data),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_turn_server),
		cmocka_unit_test(test_sip_registration),
	};

	return cmocka_run_group_tests_name("wire/data", tests, NULL, NULL);
}
