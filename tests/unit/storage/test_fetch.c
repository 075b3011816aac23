/* SPDX-License-Identifier: BSD-2-Clause */
/* Fetch, Stat and Find as they are answered (RFC 6940 7.4.2 to 7.4.4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/database.h"
#include "support/store_net.h"

#include <errno.h>
#include <openssl/sha.h>
#include <string.h>

static struct store_net net;
static struct credential *alice;
static struct id at_alice;

static int setup(void **state) {
	(void)state;
	store_net_start(&net, 3);
	alice = store_net_user(&net, 1, "alice");
	at_alice = store_net_user_resource(alice);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	credential_unref(alice);
	store_net_stop(&net);
	return 0;
}

static uint8_t buffer[8192];
static struct writer w;
static size_t mark;
static struct store_net_outcome outcome;

static void begin(void) {
	w = writer_fixed(buffer, sizeof(buffer));
	mark = fetch_req_begin(&w, id_octets(&at_alice));
}

static void ask(uint16_t code, size_t at) {
	fetch_req_end(&w, mark);
	assert_int_equal(writer_finish(&w), 0);
	store_net_ask(&net, 0, at, code, writer_octets_written(&w), &outcome);
}

static void put(uint32_t kind, uint64_t time_ms, struct stored_value value) {
	assert_int_equal(store_net_put(&net, 1, alice, kind, time_ms, value), 0);
}

/* The values of element number `index` as text; "-" for synthesized ones. */
static const char *answered(unsigned index, uint8_t model, uint64_t *ret_generation) {
	static char text[32768];
	struct store_kind_data element;
	struct stored_data data;
	struct octets list;

	text[0] = '\0';
	if (outcome.error != 0)
		return "error";
	assert_int_equal(fetch_ans_read(OCTETS(outcome.body, outcome.body_length), &list), 0);
	struct reader elements = reader_of_octets(list);
	for (unsigned i = 0; i <= index; i++)
		assert_int_equal(store_kind_data_next(&elements, &element), 1);
	if (ret_generation)
		*ret_generation = element.generation_counter;
	struct reader values = reader_of_octets(element.values);
	while (stored_data_next(&values, model, &data) > 0) {
		size_t length = strlen(text);
		char key[64] = "";
		if (model == DATA_MODEL_ARRAY)
			snprintf(key, sizeof(key), "%u=", data.value.index);
		if (model == DATA_MODEL_DICTIONARY)
			snprintf(key, sizeof(key), "%.*s=", (int)data.value.key.length, (const char *)data.value.key.data);
		if (signature_is_none(&data.signature)) { /* B-7.4.2-06 */
			assert_false(data.value.exists);
			assert_int_equal(data.value.value.length, 0);
			assert_int_equal(data.signature.identity.type, SIGNER_NONE);
		} else {
			assert_int_equal(stored_data_check(alice->certificate, id_octets(&at_alice), element.kind, &data), 0);
		}
		snprintf(text + length, sizeof(text) - length, "%s%.*s%s ", key, (int)data.value.value.length,
			 (const char *)data.value.value.data,
			 data.value.exists		      ? ""
			 : signature_is_none(&data.signature) ? "-"
							      : "(gone)");
	}
	return text;
}

static const char *single(uint32_t kind, uint64_t generation, uint64_t *ret_generation) {
	begin();
	stored_data_specifier_write_single(&w, kind, generation);
	ask(FETCH_REQ, 1);
	return answered(0, DATA_MODEL_SINGLE, ret_generation);
}

static const char *ranges(const struct array_range *list, size_t count) {
	begin();
	stored_data_specifier_write_array(&w, KIND_ARRAY_USER, 0, list, count);
	ask(FETCH_REQ, 1);
	return answered(0, DATA_MODEL_ARRAY, NULL);
}

static const char *range(uint32_t first, uint32_t last) {
	return ranges(&(struct array_range){first, last}, 1);
}

static const char *keys(const char *const *names, size_t count) {
	struct octets list[8];

	for (size_t i = 0; i < count; i++)
		list[i] = octets_of_string(names[i]);
	begin();
	stored_data_specifier_write_dictionary(&w, KIND_DICTIONARY_USER, 0, list, count);
	ask(FETCH_REQ, 1);
	return answered(0, DATA_MODEL_DICTIONARY, NULL);
}

static void test_single(void **state) { /* B-7.2-01, B-7.4.2-01, B-7.4.2-06 */
	uint64_t generation = 99;

	(void)state;
	assert_string_equal(single(KIND_SINGLE_USER, 0, &generation), "- ");
	assert_int_equal(generation, 0);
	put(KIND_SINGLE_USER, 1000, store_net_single(""));
	assert_string_equal(single(KIND_SINGLE_USER, 0, &generation), " "); /* empty is not absent */
	assert_int_equal(generation, 1);
	put(KIND_SINGLE_USER, 1001, store_net_single("abc"));
	assert_string_equal(single(KIND_SINGLE_USER, 1, &generation), "abc ");
	assert_int_equal(generation, 2);
	assert_string_equal(single(KIND_SINGLE_USER, 2, &generation), ""); /* nothing new */
	assert_int_equal(generation, 2);
	assert_string_equal(single(KIND_SINGLE_USER, 3, &generation), "abc ");
	put(KIND_SINGLE_USER, 1002, store_net_single(NULL));
	assert_string_equal(single(KIND_SINGLE_USER, 0, &generation), "(gone) "); /* signed by its writer */
}

static void test_array(void **state) { /* B-7.2-02, B-7.4.2-02, B-7.4.2-08, Q-26, Q-59 */
	(void)state;
	assert_string_equal(range(0, ARRAY_INDEX_LAST), "");
	assert_string_equal(range(ARRAY_INDEX_LAST, ARRAY_INDEX_LAST), "");
	assert_string_equal(range(0, 1), "0=- 1=- ");
	put(KIND_ARRAY_USER, 1000, store_net_entry(2, "c"));
	put(KIND_ARRAY_USER, 1000, store_net_entry(5, "f"));
	assert_string_equal(range(0, ARRAY_INDEX_LAST), "0=- 1=- 2=c 3=- 4=- 5=f ");
	assert_string_equal(range(2, 2), "2=c ");
	assert_string_equal(range(3, 4), "3=- 4=- ");
	assert_string_equal(range(ARRAY_INDEX_LAST, ARRAY_INDEX_LAST), "5=f ");
	assert_string_equal(range(5, ARRAY_INDEX_LAST), "5=f ");
	assert_string_equal(range(6, ARRAY_INDEX_LAST), "");
	assert_string_equal(range(6, 7), "6=- 7=- ");
	static const struct array_range two[] = {{4, 5}, {0, 2}};
	assert_string_equal(ranges(two, 2), "4=- 5=f 0=- 1=- 2=c ");
	assert_string_equal(ranges(NULL, 0), "");
	/* wrong ones */
	assert_string_equal(range(3, 2), "error");
	assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
	static const struct array_range overlapping[] = {{0, 3}, {3, 4}};
	assert_string_equal(ranges(overlapping, 2), "error");
	assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
	static const struct array_range high[] = {{0x80000000, 0x80000001}, {0, 0}};
	assert_string_equal(ranges(high, 2), "2147483648=- 2147483649=- 0=- ");
}

static void test_sparse(void **state) {
	(void)state;
	put(KIND_ARRAY_USER, 1000, store_net_entry(0, "a"));
	put(KIND_ARRAY_USER, 1000, store_net_entry(4000000000u, "z"));
	/* four thousand million holes are left out, as a whole */
	assert_string_equal(range(0, ARRAY_INDEX_LAST), "0=a 4000000000=z ");
	assert_string_equal(range(0, ARRAY_INDEX_LAST - 1), "0=a 4000000000=z ");
	put(KIND_ARRAY_USER, 1000, store_net_entry(3, "d"));
	assert_string_equal(range(0, ARRAY_INDEX_LAST), "0=a 1=- 2=- 3=d 4000000000=z ");
}

static void test_dictionary(void **state) { /* B-7.2-03, B-7.4.2-03 */
	static const char *const some[] = {"b", "nothing", "a"};

	(void)state;
	assert_string_equal(keys(NULL, 0), "");
	put(KIND_DICTIONARY_USER, 1000, store_net_pair("b", "2"));
	put(KIND_DICTIONARY_USER, 1000, store_net_pair("a", "1"));
	put(KIND_DICTIONARY_USER, 1000, store_net_pair("c", NULL));
	assert_string_equal(keys(NULL, 0), "a=1 b=2 c=(gone) ");
	assert_string_equal(keys(some, 3), "b=2 nothing=- a=1 ");
}

static void test_several(void **state) { /* B-7.4.2-04, B-7.4.2-05 */
	uint32_t unknown[2];
	uint64_t generation;
	size_t count;

	(void)state;
	put(KIND_SINGLE_USER, 1000, store_net_single("abc"));
	begin();
	stored_data_specifier_write_dictionary(&w, KIND_DICTIONARY_USER, 0, NULL, 0);
	stored_data_specifier_write_single(&w, KIND_SINGLE_USER, 0);
	ask(FETCH_REQ, 1);
	assert_string_equal(answered(0, DATA_MODEL_DICTIONARY, &generation), "");
	assert_int_equal(generation, 0);
	assert_string_equal(answered(1, DATA_MODEL_SINGLE, &generation), "abc ");
	assert_int_equal(generation, 1);

	begin(); /* a Kind twice */
	stored_data_specifier_write_single(&w, KIND_SINGLE_USER, 0);
	stored_data_specifier_write_single(&w, KIND_SINGLE_USER, 0);
	ask(FETCH_REQ, 1);
	assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
	static const uint16_t codes[] = {FETCH_REQ, STAT_REQ};
	for (size_t i = 0; i < 2; i++) {
		begin();
		stored_data_specifier_write_single(&w, KIND_SINGLE_USER, 0);
		stored_data_specifier_write_single(&w, KIND_NOBODY, 0);
		ask(codes[i], 1);
		assert_int_equal(outcome.error_code, ERROR_UNKNOWN_KIND);
		assert_int_equal(error_unknown_kinds_read(OCTETS(outcome.info, outcome.info_length), unknown, 2, &count), 0);
		assert_int_equal(count, 1);
		assert_int_equal(unknown[0], KIND_NOBODY);
	}
	begin(); /* the arm of another model */
	stored_data_specifier_write_single(&w, KIND_ARRAY_USER, 0);
	ask(FETCH_REQ, 1);
	assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
	begin();
	stored_data_specifier_write_dictionary(&w, KIND_SINGLE_USER, 0, NULL, 0);
	ask(FETCH_REQ, 1);
	assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
	begin();
	ask(FETCH_REQ, 1);
	assert_int_equal(outcome.error, 0); /* nothing asked, nothing answered */
}

static void test_lifetime(void **state) { /* B-7-01, B-7.4.1-13 */
	struct store_kind_data element;
	struct stored_data data;
	struct octets list;

	(void)state;
	put(KIND_SINGLE_USER, 1000, store_net_single("abc")); /* for 3600 s */
	store_net_run_ms(&net, 600 * 1000);
	single(KIND_SINGLE_USER, 0, NULL);
	assert_int_equal(fetch_ans_read(OCTETS(outcome.body, outcome.body_length), &list), 0);
	struct reader elements = reader_of_octets(list);
	assert_int_equal(store_kind_data_next(&elements, &element), 1);
	struct reader values = reader_of_octets(element.values);
	assert_int_equal(stored_data_next(&values, DATA_MODEL_SINGLE, &data), 1);
	assert_in_range(data.lifetime_s, 2998, 3000);
	assert_int_equal(data.storage_time_ms, 1000);
}

static void test_not_responsible(void **state) { /* Q-69, B-7.4.1-22 */
	struct stored_value value = store_net_single("replica");
	struct store_net_request request;

	(void)state;
	store_net_begin(&request, &at_alice, 2);
	store_net_kind(&request, KIND_SINGLE_USER, 4);
	store_net_value(&request, alice, 1000, 60, &value);
	store_net_send(&net, &request, 1, 2, NULL, &outcome);
	assert_int_equal(outcome.error, 0);
	begin();
	stored_data_specifier_write_single(&w, KIND_SINGLE_USER, 0);
	ask(FETCH_REQ, 2);
	assert_string_equal(answered(0, DATA_MODEL_SINGLE, NULL), "replica ");
	begin();
	stored_data_specifier_write_single(&w, KIND_SINGLE_USER, 0);
	ask(FETCH_REQ, 0);
	assert_string_equal(answered(0, DATA_MODEL_SINGLE, NULL), "- "); /* as for nothing stored */
}

static void test_signer_expired(void **state) { /* B-7.1-02 */
	uint64_t generation;

	(void)state;
	credential_unref(alice);
	alice = store_net_user_valid(&net, 1, "shortlived", store_net_now_ms(&net) + 100000);
	at_alice = store_net_user_resource(alice);
	put(KIND_SINGLE_USER, 1000, store_net_single("abc"));
	put(KIND_DICTIONARY_USER, 1000, store_net_pair("k", "v"));
	assert_string_equal(single(KIND_SINGLE_USER, 0, NULL), "abc ");
	store_net_run_ms(&net, 101000);
	assert_string_equal(single(KIND_SINGLE_USER, 0, &generation), "- ");
	assert_string_equal(keys(NULL, 0), "");
}

static void test_signer_revoked(void **state) { /* B-11.1-06 */
	(void)state;
	put(KIND_SINGLE_USER, 1000, store_net_single("abc"));
	struct document_settings settings = {.sequence = 2, .bad_nodes = &alice->node_id, .bad_node_count = 1};
	struct kind kinds[2] = {*overlay_config_kind(net.net.overlay.config, KIND_SINGLE_USER),
				*overlay_config_kind(net.net.overlay.config, KIND_DICTIONARY_USER)};
	settings.kinds = kinds;
	settings.kind_count = 2;
	for (size_t i = 0; i < 3; i++) /* the same document for all */
		router_net_configure(&net.net.nodes[i], &settings);
	assert_string_equal(single(KIND_SINGLE_USER, 0, NULL), "- ");
}

static void test_too_large(void **state) { /* B-6.3.2-12 */
	static char text[2001];

	(void)state;
	memset(text, 't', 2000);
	for (uint32_t i = 0; i < 5; i++)
		put(KIND_ARRAY_LARGE, 1000, store_net_entry(i, text));
	begin();
	stored_data_specifier_write_array(&w, KIND_ARRAY_LARGE, 0, &(struct array_range){0, ARRAY_INDEX_LAST}, 1);
	ask(FETCH_REQ, 1);
	assert_int_equal(outcome.error_code, ERROR_RESPONSE_TOO_LARGE);
	begin();
	stored_data_specifier_write_array(&w, KIND_ARRAY_LARGE, 0, &(struct array_range){3, 3}, 1);
	ask(FETCH_REQ, 1);
	assert_int_equal(outcome.error, 0);
}

/* ---- Stat ---- */

static void test_stat(void **state) { /* B-7.4.3-01, Q-60 */
	static const uint8_t hashed[] = {0, 0, 0, 3, 'a', 'b', 'c'};
	uint8_t digest[32];
	struct store_kind_data element;
	struct stored_meta_data meta;
	struct octets list;

	(void)state;
	SHA256(hashed, sizeof(hashed), digest);
	put(KIND_ARRAY_USER, 1234, store_net_entry(1, "abc"));
	begin();
	stored_data_specifier_write_array(&w, KIND_ARRAY_USER, 0, &(struct array_range){0, ARRAY_INDEX_LAST}, 1);
	ask(STAT_REQ, 1);
	assert_int_equal(stat_ans_read(OCTETS(outcome.body, outcome.body_length), &list), 0);
	struct reader elements = reader_of_octets(list);
	assert_int_equal(store_kind_data_next(&elements, &element), 1);
	assert_int_equal(element.kind, KIND_ARRAY_USER);
	assert_int_equal(element.generation_counter, 1);
	struct reader values = reader_of_octets(element.values);
	assert_int_equal(stored_meta_data_next(&values, DATA_MODEL_ARRAY, &meta), 1);
	assert_int_equal(meta.index, 0);
	assert_false(meta.meta.exists);
	assert_int_equal(meta.meta.value_length, 0);
	assert_int_equal(stored_meta_data_next(&values, DATA_MODEL_ARRAY, &meta), 1);
	assert_int_equal(meta.index, 1);
	assert_true(meta.meta.exists);
	assert_int_equal(meta.storage_time_ms, 1234);
	assert_int_equal(meta.lifetime_s, 3600);
	assert_int_equal(meta.meta.value_length, 3);
	assert_int_equal(meta.meta.hash_algorithm, HASH_SHA256);
	assert_int_equal(meta.meta.hash.length, 32);
	assert_memory_equal(meta.meta.hash.data, digest, 32);
	assert_int_equal(stored_meta_data_next(&values, DATA_MODEL_ARRAY, &meta), 0);
}

/* ---- Find ---- */

static void find(const struct id *resource_id, const uint32_t *kinds, size_t count) {
	struct writer body = writer_fixed(buffer, sizeof(buffer));

	find_req_write(&body, id_octets(resource_id), kinds, count);
	store_net_ask(&net, 0, 1, FIND_REQ, writer_octets_written(&body), &outcome);
}

static void test_find(void **state) { /* B-7.4.4-01, B-7.4.4-02, Q-51 */
	static const uint32_t kinds[] = {KIND_SINGLE_USER, KIND_NOBODY, KIND_ARRAY_USER},
			      twice[] = {KIND_SINGLE_USER, KIND_SINGLE_USER};
	struct find_kind_data data;
	struct id zero = {.length = 16}, from;
	struct octets list;

	(void)state;
	from = support_node_id(0x11);
	put(KIND_SINGLE_USER, 1000, store_net_single("abc"));
	find(&from, kinds, 3);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(find_ans_read(OCTETS(outcome.body, outcome.body_length), &list), 0);
	struct reader reader = reader_of_octets(list);
	assert_int_equal(find_kind_data_next(&reader, &data), 1);
	assert_int_equal(data.kind, KIND_SINGLE_USER);
	assert_true(octets_equal(data.closest, id_octets(&at_alice)));
	assert_int_equal(find_kind_data_next(&reader, &data), 1);
	assert_int_equal(data.kind, KIND_NOBODY);
	assert_true(octets_equal(data.closest, id_octets(&zero)));
	assert_int_equal(find_kind_data_next(&reader, &data), 1);
	assert_true(octets_equal(data.closest, id_octets(&zero)));
	assert_int_equal(find_kind_data_next(&reader, &data), 0);

	find(&from, twice, 2);
	assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
	from = support_node_id(0x51);
	find(&from, kinds, 1);
	assert_int_equal(outcome.error_code, ERROR_NOT_FOUND);
}

static void test_malformed(void **state) {
	static const uint16_t codes[] = {FETCH_REQ, STAT_REQ, FIND_REQ};
	uint8_t body[64];

	(void)state;
	begin();
	stored_data_specifier_write_single(&w, KIND_SINGLE_USER, 0);
	fetch_req_end(&w, mark);
	size_t length = w.length;
	memcpy(body, buffer, length);
	for (size_t i = 0; i < ARRAY_LENGTH(codes); i++)
		for (size_t cut = 0; cut < length; cut++) {
			store_net_ask(&net, 0, 1, codes[i], OCTETS(body, cut), &outcome);
			if (codes[i] == FIND_REQ && cut == 18)
				continue; /* the Resource-ID and no Kinds: well-formed */
			assert_int_equal(outcome.error, -EREMOTEIO);
			assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
		}
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_single),	    TEST(test_array),	       TEST(test_sparse),
		TEST(test_dictionary),	    TEST(test_several),	       TEST(test_lifetime),
		TEST(test_not_responsible), TEST(test_signer_expired), TEST(test_signer_revoked),
		TEST(test_too_large),	    TEST(test_stat),	       TEST(test_find),
		TEST(test_malformed),
	};
	return cmocka_run_group_tests_name("fetch, stat and find", tests, NULL, NULL);
}
