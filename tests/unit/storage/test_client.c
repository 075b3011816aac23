/* SPDX-License-Identifier: BSD-2-Clause */
/* Storing, fetching and finding as a node of the overlay, from honest and from dishonest peers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/store.h"
#include "support/store_net.h"

#include <errno.h>
#include <string.h>

static struct store_net net;
static struct credential *alice, *bob;
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

static struct router *node(size_t i) {
	return net.net.nodes[i].router;
}

struct result {
	unsigned calls;
	struct storage_outcome outcome;
	char text[4096];
	size_t count, length;
	bool partial;
	struct id closest;
};
static struct result result;

static void on_store(void *userdata, const struct storage_outcome *outcome) {
	struct result *out = userdata;

	out->calls++;
	out->outcome = *outcome;
}

static void on_fetch(void *userdata, const struct storage_outcome *outcome, const struct fetched_value *values, size_t count,
		     bool partial) {
	struct result *out = userdata;

	out->calls++;
	out->outcome = *outcome;
	out->count = count;
	out->partial = partial;
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(out->text);
		out->length += values[i].value.value.length;
		snprintf(out->text + length, sizeof(out->text) - length, "%s%.*s%s%s ",
			 values[i].value.model == DATA_MODEL_DICTIONARY && values[i].value.key.length == 1
				 ? (char[]){(char)values[i].value.key.data[0], '=', 0}
				 : "",
			 values[i].value.value.length < 100 ? (int)values[i].value.value.length : 1,
			 (const char *)values[i].value.value.data,
			 values[i].value.exists ? ""
			 : values[i].signer	? "(gone)"
						: "-",
			 values[i].rolled_back ? "(rolled back)" : "");
	}
}

static void on_find(void *userdata, const struct storage_outcome *outcome, const struct id *closest) {
	struct result *out = userdata;

	out->calls++;
	out->outcome = *outcome;
	out->closest = *closest;
}

static bool called(void *userdata) {
	const struct result *out = userdata;

	return out->calls > 0;
}

static void wait_for_it(void) {
	assert_int_equal(result.calls, 0); /* never from within the call */
	virtual_network_run(net.net.network, virtual_network_now(net.net.network) + 60 * USEC_PER_SEC, called, &result);
	assert_int_equal(result.calls, 1);
}

static int store(struct credential *sign_as, uint32_t kind, uint64_t generation, uint64_t time_ms, struct stored_value value) {
	struct storage_value one = {.value = value, .lifetime_s = 3600, .storage_time_ms = time_ms};

	result = (struct result){.calls = 0};
	assert_int_equal(storage_store(node(0), sign_as, &at_alice, kind, generation, &one, 1, on_store, &result), 0);
	wait_for_it();
	return result.outcome.error;
}

static const char *fetch_from(uint32_t kind, const struct id *destination) {
	result = (struct result){.calls = 0};
	assert_int_equal(storage_fetch(node(2), &at_alice, kind, destination, on_fetch, &result), 0);
	wait_for_it();
	return result.text;
}

static const char *fetch(uint32_t kind) {
	return fetch_from(kind, NULL);
}

static void test_store_and_fetch(void **state) {
	(void)state;
	net.nodes[1].holders[0] = net.net.nodes[2].id;
	net.nodes[1].holder_count = 1;
	assert_int_equal(store(alice, KIND_SINGLE_USER, 0, 0, store_net_single("abc")), 0);
	assert_int_equal(result.outcome.generation, 1);
	assert_true(id_equal(&result.outcome.responder, &net.net.nodes[1].id));
	assert_int_equal(result.outcome.replica_count, 1);
	assert_true(id_equal(&result.outcome.replicas[0], &net.net.nodes[2].id));
	assert_string_equal(fetch(KIND_SINGLE_USER), "abc ");
	assert_int_equal(result.outcome.error, 0);
	assert_int_equal(result.outcome.generation, 1);
	assert_false(result.partial);
	assert_string_equal(fetch_from(KIND_SINGLE_USER, &net.net.nodes[2].id), "abc "); /* the replica */
	assert_true(id_equal(&result.outcome.responder, &net.net.nodes[2].id));
	assert_string_equal(fetch(KIND_DICTIONARY_USER), "");
	assert_string_equal(fetch_from(KIND_SINGLE_USER, &net.net.nodes[0].id), "- ");
}

static void test_refusals(void **state) {
	(void)state;
	assert_int_equal(store(bob, KIND_SINGLE_USER, 0, 0, store_net_single("abc")), -EREMOTEIO);
	assert_int_equal(result.outcome.error_code, ERROR_FORBIDDEN);
	assert_non_null(strstr(result.outcome.error_text, "USER-MATCH"));
	assert_int_equal(store(alice, KIND_SINGLE_USER, 0, 0, store_net_single("abc")), 0);
	assert_int_equal(store(alice, KIND_SINGLE_USER, 7, 0, store_net_single("abc")), -EREMOTEIO);
	assert_int_equal(result.outcome.error_code, ERROR_GENERATION_COUNTER_TOO_LOW);
	assert_int_equal(result.outcome.generation, 1); /* B-7.4.1-18: what it should have been */

	struct storage_value value = {.value = store_net_single("x"), .lifetime_s = 1};
	assert_int_equal(storage_store(node(0), NULL, &at_alice, KIND_NOBODY, 0, &value, 1, on_store, &result), -EINVAL);
	assert_int_equal(storage_store(node(0), NULL, &at_alice, KIND_SINGLE_USER, 0, &value, 0, on_store, &result), -EINVAL);
	assert_int_equal(storage_fetch(node(0), &at_alice, KIND_NOBODY, NULL, on_fetch, &result), -EINVAL);
	static char large[20000];
	value.value.value = OCTETS(large, sizeof(large));
	assert_int_equal(storage_store(node(0), NULL, &at_alice, KIND_SINGLE_USER, 0, &value, 1, on_store, &result), -EMSGSIZE);
}

static void test_too_old(void **state) { /* B-7-03 */
	uint64_t future = store_net_now_ms(&net) + 100000000;

	(void)state;
	assert_int_equal(store(alice, KIND_DICTIONARY_USER, 0, future, store_net_pair("k", "fast clock")), 0);
	assert_int_equal(store(alice, KIND_DICTIONARY_USER, 0, 0, store_net_pair("k", "slow clock")), 0);
	assert_string_equal(fetch(KIND_DICTIONARY_USER), "k=slow clock ");
	/* twice in the same millisecond is no problem either */
	uint64_t now = store_net_now_ms(&net);
	assert_int_equal(store(alice, KIND_SINGLE_USER, 0, now, store_net_single("a")), 0);
	assert_int_equal(store(alice, KIND_SINGLE_USER, 0, now, store_net_single("b")), 0);
	assert_string_equal(fetch(KIND_SINGLE_USER), "b ");
	/* the end of time */
	assert_int_equal(store(alice, KIND_SINGLE_USER, 0, UINT64_MAX, store_net_single("c")), 0);
	assert_int_equal(store(alice, KIND_SINGLE_USER, 0, 0, store_net_single("d")), -EREMOTEIO);
	assert_int_equal(result.outcome.error_code, ERROR_DATA_TOO_OLD);
}

static void test_parts(void **state) { /* more than one answer holds */
	static char text[2001];

	(void)state;
	memset(text, 't', 1500);
	for (char key = 'a'; key <= 'h'; key++) {
		char name[2] = {key, 0};
		assert_int_equal(store(alice, KIND_DICTIONARY_LARGE, 0, 0, store_net_pair(name, text)), 0);
	}
	assert_string_equal(fetch(KIND_DICTIONARY_LARGE), "a=t b=t c=t d=t e=t f=t g=t h=t ");
	assert_int_equal(result.outcome.error, 0);
	assert_int_equal(result.length, 8 * 1500);
	assert_false(result.partial);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(store(alice, KIND_ARRAY_LARGE, 0, 0, store_net_entry(3 * i, text)), 0);
	fetch(KIND_ARRAY_LARGE);
	assert_int_equal(result.outcome.error, 0);
	assert_int_equal(result.length, 5 * 1500);
}

static void test_unreachable(void **state) {
	(void)state;
	struct address a = virtual_host_address(net.net.nodes[2].host);
	for (size_t i = 0; i < 2; i++) {
		struct address b = virtual_host_address(net.net.nodes[i].host);
		virtual_network_cut(net.net.network, &a, &b, true);
	}
	fetch(KIND_SINGLE_USER);
	assert_true(result.outcome.error == -ETIMEDOUT || result.outcome.error == -ENETUNREACH);
	assert_int_equal(result.count, 0);
}

static void test_find(void **state) {
	struct id from = support_node_id(0x11);

	(void)state;
	assert_int_equal(store(alice, KIND_SINGLE_USER, 0, 0, store_net_single("abc")), 0);
	result = (struct result){.calls = 0};
	assert_int_equal(storage_find(node(0), &from, KIND_SINGLE_USER, on_find, &result), 0);
	wait_for_it();
	assert_int_equal(result.outcome.error, 0);
	assert_true(id_equal(&result.closest, &at_alice));
	result = (struct result){.calls = 0};
	assert_int_equal(storage_find(node(0), &from, KIND_ARRAY_USER, on_find, &result), 0);
	wait_for_it();
	assert_int_equal(result.outcome.error, 0);
	assert_true(id_is_none(&result.closest));
}

/* ---- a peer that lies ---- */

static struct writer lie;
static size_t lie_mark, lie_kind_mark;
static struct certificate_bucket lie_bucket;

static void on_lie(void *userdata, struct request *request) {
	(void)userdata;
	request_answer(request, writer_octets_written(&lie), &lie_bucket);
}

static void lie_begin(uint32_t kind) {
	lie = writer_growing(1 << 20);
	lie_mark = writer_begin(&lie, 4);
	lie_kind_mark = store_kind_data_begin(&lie, kind, 5);
	lie_bucket.count = 0;
	router_handle(node(1), FETCH_REQ, on_lie, NULL);
}

static void lie_value(const struct credential *signer, const struct id *resource_id, uint32_t kind, uint64_t time_ms,
		      uint32_t lifetime_s, struct stored_value value) {
	assert_int_equal(stored_data_sign(signer, id_octets(resource_id), kind, time_ms, lifetime_s, &value, &lie), 0);
	assert_int_equal(certificate_bucket_add(&lie_bucket, signer->certificate), 0);
}

static void lie_end(void) {
	store_kind_data_end(&lie, lie_kind_mark);
	writer_end(&lie, lie_mark, 4);
}

static void lie_release(void) {
	writer_release(&lie);
	certificate_bucket_release(&lie_bucket);
}

static void test_lies(void **state) { /* B-7.4.2-07 */
	struct id at_bob = store_net_user_resource(bob);

	(void)state;
	lie_begin(KIND_DICTIONARY_USER);
	lie_value(alice, &at_alice, KIND_DICTIONARY_USER, 1000, 60, store_net_pair("a", "true"));
	lie_value(bob, &at_alice, KIND_DICTIONARY_USER, 1000, 60, store_net_pair("b", "may not write here"));
	lie_value(alice, &at_bob, KIND_DICTIONARY_USER, 1000, 60, store_net_pair("c", "signed for another place"));
	lie_value(alice, &at_alice, KIND_DICTIONARY_LARGE, 1000, 60, store_net_pair("d", "signed for another Kind"));
	size_t start = lie.length;
	lie_value(alice, &at_alice, KIND_DICTIONARY_USER, 1000, 60, store_net_pair("e", "altered"));
	for (size_t i = start; i < lie.length - 7; i++)
		if (memcmp(lie.data + i, "altered", 7) == 0)
			lie.data[i] = 'A';
	struct stored_data unsigned_value = {.storage_time_ms = 1000,
					     .lifetime_s = 60,
					     .value = store_net_pair("f", "x"),
					     .signature = {.identity = {.type = SIGNER_NONE}}};
	stored_data_write(&lie, &unsigned_value);
	lie_value(alice, &at_alice, KIND_DICTIONARY_USER, 1001, 60, store_net_pair("g", "newer"));
	lie_value(alice, &at_alice, KIND_DICTIONARY_USER, 1000, 60, store_net_pair("g", "older"));
	lie_value(alice, &at_alice, KIND_DICTIONARY_USER, 1000, 0, store_net_pair("h", "expired"));
	lie_end();
	assert_string_equal(fetch(KIND_DICTIONARY_USER), "a=true g=newer ");
	assert_true(result.partial);
	assert_int_equal(result.outcome.error, 0);
	lie_release();
}

static void test_lie_about_the_kind(void **state) { /* B-7.4.2-05 */
	(void)state;
	lie_begin(KIND_SINGLE_USER);
	lie_value(alice, &at_alice, KIND_SINGLE_USER, 1000, 60, store_net_single("x"));
	lie_end();
	fetch(KIND_DICTIONARY_USER);
	assert_int_equal(result.outcome.error, -EBADMSG);
	assert_int_equal(result.count, 0);
	lie.length /= 2;
	fetch(KIND_SINGLE_USER);
	assert_int_equal(result.outcome.error, -EBADMSG);
	assert_int_equal(result.count, 0);
	lie_release();
}

static void test_rollback(void **state) { /* B-13.5-02 */
	struct storage_history *history = NULL;
	static const uint64_t times[] = {1000, 1000, 2000, 1999, 2000};
	static const char *const expected[] = {"v ", "v ", "v ", "v(rolled back) ", "v "};

	(void)state;
	assert_int_equal(storage_history_new(&history), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(times); i++) {
		lie_begin(KIND_SINGLE_USER);
		lie_value(alice, &at_alice, KIND_SINGLE_USER, times[i], 60, store_net_single("v"));
		lie_end();
		result = (struct result){.calls = 0};
		assert_int_equal(storage_fetch_with(node(2), history, &at_alice, KIND_SINGLE_USER, NULL, on_fetch, &result), 0);
		wait_for_it();
		assert_string_equal(result.text, expected[i]);
		lie_release();
	}
	storage_history_free(history);
}

static void test_expired_signer(void **state) { /* B-7.1-02 */
	struct credential *old = store_net_user_valid(&net, 1, "old", store_net_now_ms(&net) + 50000);

	(void)state;
	at_alice = store_net_user_resource(old);
	lie_begin(KIND_SINGLE_USER);
	lie_value(old, &at_alice, KIND_SINGLE_USER, 1000, 600, store_net_single("v"));
	lie_end();
	assert_string_equal(fetch(KIND_SINGLE_USER), "v ");
	store_net_run_ms(&net, 51000);
	assert_string_equal(fetch(KIND_SINGLE_USER), "");
	assert_true(result.partial);
	lie_release();
	credential_unref(old);
}

static void test_router_gone(void **state) {
	(void)state;
	result = (struct result){.calls = 0};
	assert_int_equal(storage_fetch(node(2), &at_alice, KIND_SINGLE_USER, NULL, on_fetch, &result), 0);
	store_net_close(&net.nodes[2]);
	router_net_kill(&net.net.nodes[2]);
	assert_int_equal(result.calls, 1);
	assert_int_equal(result.outcome.error, -ECANCELED);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_store_and_fetch), TEST(test_refusals),       TEST(test_too_old),     TEST(test_parts),
		TEST(test_unreachable),	    TEST(test_find),	       TEST(test_lies),	       TEST(test_lie_about_the_kind),
		TEST(test_rollback),	    TEST(test_expired_signer), TEST(test_router_gone),
	};
	return cmocka_run_group_tests_name("storage client", tests, NULL, NULL);
}
