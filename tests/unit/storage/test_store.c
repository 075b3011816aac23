/* SPDX-License-Identifier: BSD-2-Clause */
/* What a peer accepts in a Store request and what it answers (RFC 6940 7.3, 7.4.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/access.h"
#include "storage/database.h"
#include "support/store_net.h"

#include <errno.h>
#include <string.h>

static struct store_net net;
static struct credential *alice, *bob; /* users of node 1's range */
static struct id at_alice;

static int setup(void **state) {
	(void)state;
	store_net_start(&net, 3);
	alice = store_net_user(&net, 1, "alice");
	bob = store_net_user(&net, 1, "bob");
	at_alice = store_net_user_resource(alice);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	credential_unref(alice);
	credential_unref(bob);
	store_net_stop(&net);
	return 0;
}

static struct store_net_request request;
static struct store_net_outcome outcome;

/* Sends to node 1 as alice. */
static uint16_t send_it(void) {
	store_net_send(&net, &request, 0, 1, alice, &outcome);
	return outcome.error_code;
}

static void begin(uint8_t replica_number) {
	store_net_begin(&request, &at_alice, replica_number);
}

static const char *held(uint32_t kind) {
	return store_net_held(&net, 1, &at_alice, kind);
}

static struct octets answer(void) {
	return OCTETS(outcome.body, outcome.body_length);
}

/* ---- storing ---- */

static void test_models(void **state) { /* B-7.4.1-21, B-7.4.1-12, B-7.4.1-17 */
	size_t replicas = 9;

	(void)state;
	net.nodes[1].holders[0] = net.net.nodes[2].id;
	net.nodes[1].holders[1] = net.net.nodes[0].id;
	net.nodes[1].holder_count = 2;
	struct stored_value single = store_net_single("abc"), entry = store_net_entry(2, "x"), pair = store_net_pair("k", "v");
	begin(0);
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	store_net_value(&request, alice, 1000, 60, &single);
	store_net_kind(&request, KIND_ARRAY_USER, 0);
	store_net_value(&request, alice, 1000, 60, &entry);
	store_net_kind(&request, KIND_DICTIONARY_USER, 0);
	store_net_value(&request, alice, 1000, 60, &pair);
	assert_int_equal(send_it(), 0);
	assert_int_equal(store_net_generation(answer(), KIND_SINGLE_USER, &replicas), 1);
	assert_int_equal(replicas, 2);
	assert_int_equal(store_net_generation(answer(), KIND_ARRAY_USER, NULL), 1);
	assert_int_equal(store_net_generation(answer(), KIND_DICTIONARY_USER, NULL), 1);
	assert_string_equal(held(KIND_SINGLE_USER), "abc ");
	assert_string_equal(held(KIND_ARRAY_USER), "2=x ");
	assert_string_equal(held(KIND_DICTIONARY_USER), "k=v ");

	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, 1001, store_net_single("abcd")), 0);
	assert_string_equal(held(KIND_SINGLE_USER), "abcd ");
	assert_int_equal(store_net_put(&net, 1, alice, KIND_DICTIONARY_USER, 1001, store_net_pair("", "empty key")), 0);
	assert_string_equal(held(KIND_DICTIONARY_USER), "=empty key k=v "); /* B-7.2-03 */

	struct store_figures figures;
	store_figures(net.nodes[1].store, &figures);
	assert_int_equal(figures.records, 4);
	assert_int_equal(figures.resources, 1);
	assert_int_equal(figures.stores_ok, 3);
	assert_int_equal(figures.stores_refused, 0);
}

static void test_append(void **state) { /* B-7.4.1-16 */
	struct stored_value a = store_net_entry(ARRAY_INDEX_LAST, "a"), b = store_net_entry(ARRAY_INDEX_LAST, "b");

	(void)state;
	begin(0);
	store_net_kind(&request, KIND_ARRAY_USER, 0);
	store_net_value(&request, alice, 1000, 60, &a);
	store_net_value(&request, alice, 1000, 60, &b);
	assert_int_equal(send_it(), 0);
	assert_string_equal(held(KIND_ARRAY_USER), "0=a 1=b ");
	assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 1000, store_net_entry(7, "far")), 0);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 1000, store_net_entry(ARRAY_INDEX_LAST, "c")), 0);
	assert_string_equal(held(KIND_ARRAY_USER), "0=a 1=b 7=far 8=c ");
}

static void test_append_at_the_end(void **state) {
	(void)state;
	assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 1000, store_net_entry(ARRAY_INDEX_LAST - 1, "end")), 0);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 1000, store_net_entry(ARRAY_INDEX_LAST, "x")),
			 ERROR_DATA_TOO_LARGE);
}

static void test_tombstones(void **state) { /* B-7.4.1-20 */
	(void)state;
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, 1000, store_net_single("abc")), 0);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, 1001, store_net_single(NULL)), 0);
	assert_string_equal(held(KIND_SINGLE_USER), "(gone) ");
	/* the old value cannot come back */
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, 1000, store_net_single("abc")), ERROR_DATA_TOO_OLD);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, 1002, store_net_single("new")), 0);

	struct stored_value odd = {.model = DATA_MODEL_SINGLE, .exists = false, .value = octets_of_string("contents")};
	begin(0);
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	store_net_value(&request, alice, 2000, 60, &odd);
	assert_int_equal(send_it(), ERROR_INVALID_MESSAGE);
}

static void test_expiry(void **state) {
	struct store_figures figures;

	(void)state;
	struct stored_value value = store_net_single("short"), entry = store_net_entry(0, "longer");
	begin(0);
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	store_net_value(&request, alice, 1000, 60, &value);
	store_net_kind(&request, KIND_ARRAY_USER, 0);
	store_net_value(&request, alice, 1000, 7200, &entry);
	assert_int_equal(send_it(), 0);
	store_net_run_ms(&net, 59000);
	assert_string_equal(held(KIND_SINGLE_USER), "short ");
	store_net_run_ms(&net, 3000);
	store_figures(net.nodes[1].store, &figures);
	assert_int_equal(figures.expired, 1);
	assert_int_equal(figures.records, 1);
	store_net_run_ms(&net, 7200 * 1000);
	store_figures(net.nodes[1].store, &figures);
	assert_int_equal(figures.expired, 2);
	assert_int_equal(figures.records, 0);
	assert_int_equal(figures.resources, 0);
	/* what expired does not stand in the way of an older writer's clock, and counting starts anew */
	begin(0);
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	store_net_value(&request, alice, 500, 60, &value);
	assert_int_equal(send_it(), 0);
	assert_int_equal(store_net_generation(answer(), KIND_SINGLE_USER, NULL), 1);
}

static void test_lifetime_cut(void **state) {
	struct stored_value value = store_net_single("for ever");
	struct record_head head;

	(void)state;
	begin(0);
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	store_net_value(&request, alice, 1000, UINT32_MAX, &value);
	assert_int_equal(send_it(), 0);
	assert_int_equal(record_head(net.nodes[1].database, &at_alice, KIND_SINGLE_USER, OCTETS_NONE, true, value.value, &head), 1);
	assert_true(head.expires_ms <= store_net_now_ms(&net) + STORE_LIFETIME_MAX_S * UINT64_C(1000));
}

/* ---- refusals ---- */

static void test_times(void **state) { /* B-7-02, B-7.4.1-09, B-13.5-02 */
	(void)state;
	uint64_t future = store_net_now_ms(&net) + 1000000000;
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, future, store_net_single("a")),
			 0); /* our clock does not matter */
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, future - 1, store_net_single("b")), ERROR_DATA_TOO_OLD);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, future, store_net_single("b")), ERROR_DATA_TOO_OLD);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, future, store_net_single("a")),
			 ERROR_DATA_TOO_OLD); /* */
	assert_string_equal(held(KIND_SINGLE_USER), "a ");
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, future + 1, store_net_single("b")), 0);
	/* other places are not compared */
	assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 5, store_net_entry(0, "a")), 0);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 4, store_net_entry(1, "b")), 0);
	/* twice in one request: in turn */
	struct stored_value first = store_net_entry(2, "first"), second = store_net_entry(2, "second");
	begin(0);
	store_net_kind(&request, KIND_ARRAY_USER, 0);
	store_net_value(&request, alice, 7, 60, &first);
	store_net_value(&request, alice, 7, 60, &second);
	assert_int_equal(send_it(), ERROR_DATA_TOO_OLD);
	assert_string_equal(held(KIND_ARRAY_USER), "0=a 1=b ");
}

static void test_atomic(void **state) { /* B-7.4.1-01 */
	struct stored_value good = store_net_single("good"), pair = store_net_pair("k", "v");
	char large[102];

	(void)state;
	memset(large, 'l', 101);
	large[101] = '\0';
	struct stored_value bad = store_net_pair("l", large);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_DICTIONARY_USER, 1000, store_net_pair("k", "before")), 0);
	begin(0);
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	store_net_value(&request, alice, 2000, 60, &good);
	store_net_kind(&request, KIND_DICTIONARY_USER, 0);
	store_net_value(&request, alice, 2000, 60, &pair);
	store_net_value(&request, alice, 2000, 60, &bad);
	assert_int_equal(send_it(), ERROR_DATA_TOO_LARGE);
	assert_string_equal(held(KIND_SINGLE_USER), "");
	assert_string_equal(held(KIND_DICTIONARY_USER), "k=before ");
	struct store_figures figures;
	store_figures(net.nodes[1].store, &figures);
	assert_int_equal(figures.records, 1);
	assert_int_equal(figures.stores_refused, 1);

	begin(0);
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	store_net_value(&request, alice, 2000, 60, &good);
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	assert_int_equal(send_it(), ERROR_INVALID_MESSAGE); /* a Kind twice */
	assert_string_equal(held(KIND_SINGLE_USER), "");
}

static void test_place(void **state) { /* B-7.4.1-02, Q-69 */
	(void)state;
	assert_int_equal(store_net_put(&net, 2, alice, KIND_SINGLE_USER, 1000, store_net_single("a")), ERROR_FORBIDDEN);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, 1000, store_net_single("a")), 0);
}

static void test_unknown_kind(void **state) { /* B-7.4.1-04 */
	struct stored_value value = store_net_single("a");
	uint32_t kinds[4];
	size_t count = 0;

	(void)state;
	begin(0);
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	store_net_value(&request, alice, 1000, 60, &value);
	store_net_kind(&request, KIND_NOBODY, 0);
	store_net_value(&request, alice, 1000, 60, &value);
	store_net_kind(&request, KIND_NOBODY + 1, 0);
	assert_int_equal(send_it(), ERROR_UNKNOWN_KIND);
	assert_int_equal(error_unknown_kinds_read(OCTETS(outcome.info, outcome.info_length), kinds, 4, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(kinds[0], KIND_NOBODY);
	assert_int_equal(kinds[1], KIND_NOBODY + 1);
	assert_string_equal(held(KIND_SINGLE_USER), "");
}

static void test_generation(void **state) { /* B-7.4.1-07, B-7.4.1-18, Q-50 */
	struct stored_value value = store_net_single("a");
	size_t replicas = 9;

	(void)state;
	for (uint64_t sent = 0; sent < 4; sent++) {
		begin(0);
		store_net_kind(&request, KIND_SINGLE_USER, sent);
		store_net_value(&request, alice, 1000 + sent, 60, &value);
		/* 0 is not compared, 1 is the current one then, 2 too, and 3 as well */
		assert_int_equal(send_it(), 0);
		assert_int_equal(store_net_generation(answer(), KIND_SINGLE_USER, NULL), sent + 1);
	}
	static const uint64_t wrong[] = {3, 5, UINT64_MAX};
	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
		begin(0);
		store_net_kind(&request, KIND_ARRAY_USER, 0);
		store_net_kind(&request, KIND_SINGLE_USER, wrong[i]);
		store_net_value(&request, alice, 9000, 60, &value);
		assert_int_equal(send_it(), ERROR_GENERATION_COUNTER_TOO_LOW);
		struct octets info = OCTETS(outcome.info, outcome.info_length);
		assert_int_equal(store_net_generation(info, KIND_SINGLE_USER, &replicas), 4);
		assert_int_equal(replicas, 0);
		assert_int_equal(store_net_generation(info, KIND_ARRAY_USER, &replicas), 0);
	}
}

static void test_limits(void **state) { /* B-7.4.1-10, B-13.5-01, Q-67 */
	char exact[101];

	(void)state;
	memset(exact, 'e', 100);
	exact[100] = '\0';
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, 1000, store_net_single(exact)), 0);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 1000, store_net_entry(10 * i, "x")), 0);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 1000, store_net_entry(1, "x")), ERROR_DATA_TOO_LARGE);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 1001, store_net_entry(10, "replaced")), 0);
	/* tombstones have a bound of their own */
	assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 1002, store_net_entry(10, NULL)), 0);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 1000, store_net_entry(1, "x")), 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 1000, store_net_entry(100 + i, NULL)), 0);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_ARRAY_USER, 1000, store_net_entry(103, NULL)), ERROR_DATA_TOO_LARGE);
	assert_string_equal(held(KIND_ARRAY_USER), "0=x 1=x 10=(gone) 20=x 30=x 100=(gone) 101=(gone) 102=(gone) ");
}

/* ---- signatures and access ---- */

/* Replaces the signature of the only value by `signature`. */
static void store_with_signature(const struct signature *signature, const struct stored_value *value) {
	struct stored_data data = {.storage_time_ms = 1000, .lifetime_s = 60, .value = *value, .signature = *signature};

	begin(0);
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	stored_data_write(&request.w, &data);
	assert_int_equal(certificate_bucket_add(&request.bucket, alice->certificate), 0);
}

static void test_unsigned(void **state) { /* B-7.4.1-11 */
	struct signature none = {.identity = {.type = SIGNER_NONE}};
	struct stored_value value = store_net_single("a");

	(void)state;
	store_with_signature(&none, &value);
	assert_int_equal(send_it(), ERROR_FORBIDDEN);
	none.signature_algorithm = SIGNATURE_ECDSA;
	none.hash_algorithm = HASH_SHA256;
	store_with_signature(&none, &value);
	assert_int_equal(send_it(), ERROR_FORBIDDEN);
}

/* A value signed for one thing, sent as another. */
static void test_forged(void **state) { /* B-7.4.1-05, B-7.1-01, B-6.3.4-06 */
	struct stored_value value = store_net_single("a");
	struct store_net_request other;
	struct stored_data data;

	(void)state;
	store_net_begin(&other, &at_alice, 0);
	store_net_kind(&other, KIND_SINGLE_USER, 0);
	size_t start = other.w.length;
	store_net_value(&other, alice, 1000, 60, &value);
	struct reader reader = reader_of(other.w.data + start, other.w.length - start);
	assert_int_equal(stored_data_next(&reader, DATA_MODEL_SINGLE, &data), 1);

	struct stored_data good = data;
	for (int forgery = 0; forgery < 6; forgery++) {
		uint8_t signature[512];
		uint32_t kind = KIND_SINGLE_USER;
		data = good;
		memcpy(signature, good.signature.value.data, good.signature.value.length);
		data.signature.value.data = signature;
		switch (forgery) {
		case 0:
			data.value.value = octets_of_string("b");
			break;
		case 1:
			data.storage_time_ms++;
			break;
		case 2:
			signature[good.signature.value.length / 2] ^= 1;
			break;
		case 3:
			data.value.exists = false;
			data.value.value = OCTETS_NONE;
			break;
		case 4:
			data.signature.value.length = 0;
			break;
		case 5: /* not covered: the lifetime */
			data.lifetime_s = 61;
			break;
		}
		begin(0);
		store_net_kind(&request, kind, 0);
		stored_data_write(&request.w, &data);
		assert_int_equal(certificate_bucket_add(&request.bucket, alice->certificate), 0);
		assert_int_equal(send_it(), forgery == 5 ? 0 : ERROR_FORBIDDEN);
	}
	writer_release(&other.w);
	certificate_bucket_release(&other.bucket);
}

static void test_missing_certificate(void **state) {
	struct stored_value value = store_net_single("a");

	(void)state;
	begin(0);
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	assert_int_equal(stored_data_sign(alice, id_octets(&at_alice), KIND_SINGLE_USER, 1000, 60, &value, &request.w), 0);
	store_net_send(&net, &request, 0, 1, NULL, &outcome); /* the message is signed by node 0: alice's certificate is nowhere */
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
}

static void test_user_match(void **state) { /* B-7.3.1-01, B-7.3-01 */
	struct stored_value value = store_net_single("a");

	(void)state;
	begin(0); /* bob writes at alice's place */
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	store_net_value(&request, bob, 1000, 60, &value);
	store_net_send(&net, &request, 0, 1, bob, &outcome);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	begin(0); /* alice's value, but bob's request */
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	store_net_value(&request, alice, 1000, 60, &value);
	store_net_send(&net, &request, 0, 1, bob, &outcome);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	begin(0); /* bob's value in alice's request */
	store_net_kind(&request, KIND_SINGLE_USER, 0);
	store_net_value(&request, bob, 1000, 60, &value);
	assert_int_equal(send_it(), ERROR_FORBIDDEN);
	assert_string_equal(held(KIND_SINGLE_USER), "");
}

static void test_node_match(void **state) { /* B-7.3.2-01, Q-53 */
	struct id ids[2] = {store_net_node_id(&net, 1, 0x61), store_net_node_id(&net, 1, 0x62)};
	struct credential *both = support_credential(&net.net.overlay, "both@example.org", ids, 2), *second = NULL;
	struct id place = resource_id_of_node(&ids[0], ID_LENGTH_CHORD);
	struct stored_value value = store_net_single("a");

	(void)state;
	assert_int_equal(credential_as(both, &ids[1], &second), 0);
	store_net_begin(&request, &place, 0);
	store_net_kind(&request, KIND_SINGLE_NODE, 0);
	store_net_value(&request, second, 1000, 60, &value); /* the certificate has the Node-ID, but another one signs */
	store_net_send(&net, &request, 0, 1, both, &outcome);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	store_net_begin(&request, &place, 0);
	store_net_kind(&request, KIND_SINGLE_NODE, 0);
	store_net_value(&request, both, 1000, 60, &value);
	store_net_send(&net, &request, 0, 1, both, &outcome);
	assert_int_equal(outcome.error_code, 0);
	assert_string_equal(store_net_held(&net, 1, &place, KIND_SINGLE_NODE), "a ");
	store_net_begin(&request, &place, 0);
	store_net_kind(&request, KIND_SINGLE_NODE, 0);
	store_net_value(&request, alice, 2000, 60, &value);
	assert_int_equal((store_net_send(&net, &request, 0, 1, alice, &outcome), outcome.error_code), ERROR_FORBIDDEN);
	credential_unref(both);
	credential_unref(second);
}

static void test_user_node_match(void **state) { /* B-7.3.3-01 */
	struct stored_value value = store_net_pair("", "a");

	(void)state;
	value.key = id_octets(&alice->node_id);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_DICTIONARY_USER_NODE, 1000, value), 0);
	value.key = id_octets(&bob->node_id);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_DICTIONARY_USER_NODE, 1000, value), ERROR_FORBIDDEN);
	value.key = OCTETS(alice->node_id.octets, 15);
	assert_int_equal(store_net_put(&net, 1, alice, KIND_DICTIONARY_USER_NODE, 1000, value), ERROR_FORBIDDEN);
	value.key = id_octets(&bob->node_id);
	begin(0); /* bob under his own key, at alice's place */
	store_net_kind(&request, KIND_DICTIONARY_USER_NODE, 0);
	store_net_value(&request, bob, 1000, 60, &value);
	store_net_send(&net, &request, 0, 1, bob, &outcome);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
}

static void test_node_multiple(void **state) { /* B-7.3.4-01, Q-24 */
	struct stored_value value = store_net_single("a");
	struct id id = support_node_id(0x77);
	struct credential *node = support_credential(&net.net.overlay, "turn@example.org", &id, 1);

	(void)state;
	net.nodes[1].own_everything = true;
	for (uint8_t i = 0; i < 6; i++) {
		struct id place = resource_id_of_node_multiple(&id, i, ID_LENGTH_CHORD);
		store_net_begin(&request, &place, 0);
		store_net_kind(&request, KIND_SINGLE_MULTIPLE, 0);
		store_net_value(&request, node, 1000, 60, &value);
		store_net_send(&net, &request, 0, 1, node, &outcome);
		assert_int_equal(outcome.error_code, i <= 3 ? 0 : ERROR_FORBIDDEN);
	}
	struct id place = resource_id_of_node(&id, ID_LENGTH_CHORD);
	store_net_begin(&request, &place, 0);
	store_net_kind(&request, KIND_SINGLE_MULTIPLE, 0);
	store_net_value(&request, node, 1000, 60, &value);
	store_net_send(&net, &request, 0, 1, node, &outcome);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	credential_unref(node);
}

static void test_vectors(void **state) {
	struct id node_id, expected, found;

	(void)state;
	assert_int_equal(id_parse("00112233445566778899aabbccddeeff", &node_id), 0);
	assert_int_equal(id_parse("739e0e8490eacbcb2ea11d4a5dbefbae", &expected), 0);
	found = resource_id_of_node(&node_id, 16);
	assert_true(id_equal(&found, &expected));
	assert_int_equal(id_parse("ef34792ebc2eafc889f07e51693ee04d", &expected), 0);
	found = resource_id_of_node_multiple(&node_id, 1, 16);
	assert_true(id_equal(&found, &expected));
	assert_int_equal(id_parse("0c51a942f50c828aef82a5af83e8ed59", &expected), 0);
	found = resource_id_of_user("alice@dht.example.com", 16);
	assert_true(id_equal(&found, &expected));
}

/* ---- replicas ---- */

static uint16_t store_replica(uint64_t generation, uint64_t time_ms, const struct stored_value *value) {
	store_net_begin(&request, &at_alice, 1);
	store_net_kind(&request, value->model == DATA_MODEL_SINGLE ? KIND_SINGLE_USER : KIND_ARRAY_USER, generation);
	store_net_value(&request, alice, time_ms, 60, value);
	store_net_send(&net, &request, 1, 2, NULL, &outcome); /* the owner's request, alice's value */
	return outcome.error_code;
}

static void test_replica(void **state) { /* B-7.4.1-03, B-7.4.1-06, B-7.4.1-08, B-10.4-02, Q-23 */
	struct stored_value value = store_net_single("a"), other = store_net_single("b");
	struct record_kind kind;

	(void)state;
	assert_int_equal(store_replica(7, 1000, &value), 0);
	assert_int_equal(net.nodes[2].last_replica_number, 1);
	assert_int_equal(store_net_generation(answer(), KIND_SINGLE_USER, NULL), 7);
	assert_string_equal(store_net_held(&net, 2, &at_alice, KIND_SINGLE_USER), "a ");
	assert_int_equal(store_replica(3, 1000, &value), 0); /* the same again, with a lower counter: adopted */
	assert_int_equal(record_kind_get(net.nodes[2].database, &at_alice, KIND_SINGLE_USER, &kind), 1);
	assert_int_equal(kind.generation, 3);
	assert_false(kind.owned);
	assert_int_equal(store_replica(8, 1000, &other), ERROR_DATA_TOO_OLD); /* another value at the same time */
	assert_int_equal(store_replica(8, 999, &other), ERROR_DATA_TOO_OLD);
	assert_int_equal(store_replica(2, 1001, &other), 0);
	assert_string_equal(store_net_held(&net, 2, &at_alice, KIND_SINGLE_USER), "b ");
	assert_int_equal(store_replica(0, 1002, &value), ERROR_INVALID_MESSAGE);
	struct stored_value append = store_net_entry(ARRAY_INDEX_LAST, "x");
	assert_int_equal(store_replica(1, 1002, &append), ERROR_INVALID_MESSAGE);
	net.nodes[2].refuse_replicas = true;
	assert_int_equal(store_replica(9, 1003, &value), ERROR_FORBIDDEN);
	/* holders do not pass replicas on */
	struct store_figures figures;
	store_figures(net.nodes[2].store, &figures);
	assert_int_equal(figures.replicas_sent, 0);
	assert_int_equal(figures.replicas_received, 3);
}

static void test_replica_signer(void **state) { /* B-7.3-01: the value's signer is checked in replicas, too */
	struct stored_value value = store_net_single("a");

	(void)state;
	store_net_begin(&request, &at_alice, 1);
	store_net_kind(&request, KIND_SINGLE_USER, 1);
	store_net_value(&request, bob, 1000, 60, &value);
	store_net_send(&net, &request, 1, 2, NULL, &outcome);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
}

/* ---- malformed ---- */

static void test_malformed(void **state) {
	struct stored_value value = store_net_single("abc");
	struct store_net_request whole;
	uint8_t body[2048];

	(void)state;
	store_net_begin(&whole, &at_alice, 0);
	store_net_kind(&whole, KIND_SINGLE_USER, 0);
	store_net_value(&whole, alice, 1000, 60, &value);
	store_kind_data_end(&whole.w, whole.kind_mark);
	store_req_end(&whole.w, whole.mark);
	size_t length = whole.w.length;
	memcpy(body, whole.w.data, length);
	writer_release(&whole.w);
	certificate_bucket_release(&whole.bucket);
	for (size_t cut = 0; cut < length; cut += 7) {
		store_net_ask(&net, 0, 1, STORE_REQ, OCTETS(body, cut), &outcome);
		assert_int_equal(outcome.error, -EREMOTEIO);
		assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
	}
	/* every octet once: never stored, since something is always wrong with it; refusals differ */
	for (size_t i = 17; i < length; i += 3) {
		body[i] ^= 0x55;
		store_net_ask(&net, 0, 1, STORE_REQ, OCTETS(body, length), &outcome);
		assert_int_equal(outcome.error, -EREMOTEIO);
		body[i] ^= 0x55;
	}
	assert_string_equal(held(KIND_SINGLE_USER), "");
	/* a Resource-ID of another length */
	uint8_t other[64];
	struct writer w = writer_fixed(other, sizeof(other));
	store_req_end(&w, store_req_begin(&w, OCTETS(body, 20), 0));
	store_net_ask(&net, 0, 1, STORE_REQ, writer_octets_written(&w), &outcome);
	assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
	/* nothing to store is nothing wrong */
	w = writer_fixed(other, sizeof(other));
	store_req_end(&w, store_req_begin(&w, id_octets(&at_alice), 0));
	store_net_ask(&net, 0, 1, STORE_REQ, writer_octets_written(&w), &outcome);
	assert_int_equal(outcome.error, 0);
}

static void test_repeated(void **state) { /* B-6.2.1-06: the router answers a retransmission; the store counts one store */
	struct store_figures figures;

	(void)state;
	struct address from = virtual_host_address(net.net.nodes[1].host), to = virtual_host_address(net.net.nodes[0].host);
	struct stored_value value = store_net_entry(ARRAY_INDEX_LAST, "once");
	begin(0);
	store_net_kind(&request, KIND_ARRAY_USER, 0);
	store_net_value(&request, alice, 1000, 60, &value);
	virtual_network_cut(net.net.network, &from, &to, true);
	store_net_send_async(&net, &request, 0, 1, alice, &outcome);
	store_net_run_ms(&net, 1000);
	assert_int_equal(outcome.calls, 0);
	virtual_network_cut(net.net.network, &from, &to, false);
	store_net_run_ms(&net, 5000);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_string_equal(held(KIND_ARRAY_USER), "0=once ");
	store_figures(net.nodes[1].store, &figures);
	assert_int_equal(figures.stores_ok, 1);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_models),	   TEST(test_append),	  TEST(test_append_at_the_end),
		TEST(test_tombstones),	   TEST(test_expiry),	  TEST(test_lifetime_cut),
		TEST(test_times),	   TEST(test_atomic),	  TEST(test_place),
		TEST(test_unknown_kind),   TEST(test_generation), TEST(test_limits),
		TEST(test_unsigned),	   TEST(test_forged),	  TEST(test_missing_certificate),
		TEST(test_user_match),	   TEST(test_node_match), TEST(test_user_node_match),
		TEST(test_node_multiple),  TEST(test_vectors),	  TEST(test_replica),
		TEST(test_replica_signer), TEST(test_malformed),  TEST(test_repeated),
	};
	return cmocka_run_group_tests_name("store requests", tests, NULL, NULL);
}
