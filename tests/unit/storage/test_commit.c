/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers wait for the commit; a commit that fails claims nothing; what was claimed survives a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "storage/database.h"
#include "support/store_net.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

static struct store_net net;
static struct credential *alice, *bob;
static char directory[64], path[96];

static int setup(void **state) {
	(void)state;
	strcpy(directory, "/tmp/ringgate-commit-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/records.db", directory);
	store_net_start(&net, 3);
	alice = store_net_user(&net, 1, "alice");
	bob = store_net_user(&net, 1, "bob");
	store_net_open(&net.nodes[1], path);
	return 0;
}

static int teardown(void **state) {
	char name[128];

	(void)state;
	credential_unref(alice);
	credential_unref(bob);
	store_net_stop(&net);
	unlink(path);
	snprintf(name, sizeof(name), "%s-wal", path);
	unlink(name);
	snprintf(name, sizeof(name), "%s-shm", path);
	unlink(name);
	rmdir(directory);
	return 0;
}

static void store_async(const struct credential *writer, uint32_t kind, uint64_t time_ms, struct stored_value value,
			struct store_net_outcome *outcome) {
	struct store_net_request request;
	struct id place = store_net_user_resource(writer);

	store_net_begin(&request, &place, 0);
	store_net_kind(&request, kind, 0);
	store_net_value(&request, writer, time_ms, 3600, &value);
	store_net_send_async(&net, &request, 0, 1, (struct credential *)(uintptr_t)writer, outcome);
}

/* A Fetch of a single value by node 2; true when it exists. */
static struct octets fetch_body(const struct id *place, uint32_t kind) {
	static uint8_t buffer[64];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	size_t mark = fetch_req_begin(&w, id_octets(place));

	stored_data_specifier_write_single(&w, kind, 0);
	fetch_req_end(&w, mark);
	return writer_octets_written(&w);
}

static void on_fetch(void *userdata, int error, const struct response *response) {
	int *exists = userdata;
	struct store_kind_data element;
	struct stored_data data;
	struct octets list;

	assert_int_equal(error, 0);
	assert_int_equal(fetch_ans_read(response->body, &list), 0);
	struct reader elements = reader_of_octets(list);
	assert_int_equal(store_kind_data_next(&elements, &element), 1);
	struct reader values = reader_of_octets(element.values);
	assert_int_equal(stored_data_next(&values, DATA_MODEL_SINGLE, &data), 1);
	*exists = data.value.exists;
}

static void fetch_async(const struct id *place, int *exists) {
	*exists = -1;
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,  .destination_list = router_net_node_list(&net.net.nodes[1].id),
		.code = FETCH_REQ, .body = fetch_body(place, KIND_SINGLE_USER),
		.done = on_fetch,  .userdata = exists,
	};
	assert_int_equal(router_send_request(net.net.nodes[2].router, &outgoing, NULL), 0);
}

static void test_group(void **state) {
	struct store_net_outcome first, second;
	struct id place = store_net_user_resource(alice);
	int exists;

	(void)state;
	net.nodes[1].hold_commit = true;
	assert_false(store_commit_wanted(net.nodes[1].store));
	store_async(alice, KIND_SINGLE_USER, 1000, store_net_single("a"), &first);
	store_async(bob, KIND_SINGLE_USER, 1000, store_net_single("b"), &second);
	store_net_run_ms(&net, 1000);
	fetch_async(&place, &exists);
	store_net_run_ms(&net, 1000);
	assert_int_equal(first.calls, 0);
	assert_int_equal(second.calls, 0);
	assert_int_equal(exists, -1); /* what might still be undone is not shown */
	assert_true(store_commit_wanted(net.nodes[1].store));
	store_commit(net.nodes[1].store);
	assert_false(store_commit_wanted(net.nodes[1].store));
	store_net_run_ms(&net, 100);
	assert_int_equal(first.calls, 1);
	assert_int_equal(first.error, 0);
	assert_int_equal(second.error, 0);
	assert_int_equal(exists, 1);
}

static void test_restart(void **state) {
	struct store_net_outcome outcome;
	struct id place = store_net_user_resource(alice);

	(void)state;
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, 1000, store_net_single("kept")), 0);
	net.nodes[1].hold_commit = true;
	store_async(bob, KIND_SINGLE_USER, 1000, store_net_single("b"), &outcome);
	store_net_run_ms(&net, 1000);
	assert_int_equal(outcome.calls, 0);
	store_net_open(&net.nodes[1], path); /* as after a crash before the commit */
	net.nodes[1].hold_commit = false;
	place = store_net_user_resource(bob);
	assert_string_equal(store_net_held(&net, 1, &place, KIND_SINGLE_USER), "");
	place = store_net_user_resource(alice);
	assert_string_equal(store_net_held(&net, 1, &place, KIND_SINGLE_USER), "kept ");
	/* counters and times hold on */
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, 1000, store_net_single("old")), ERROR_DATA_TOO_OLD);
	struct store_net_request request;
	struct stored_value value = store_net_single("next");
	store_net_begin(&request, &place, 0);
	store_net_kind(&request, KIND_SINGLE_USER, 1);
	store_net_value(&request, alice, 1001, 60, &value);
	store_net_send(&net, &request, 0, 1, alice, &outcome);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(store_net_generation(OCTETS(outcome.body, outcome.body_length), KIND_SINGLE_USER, NULL), 2);
	/* the lifetime goes on where it was: 3600 s and 60 s */
	store_net_run_ms(&net, 50000);
	store_net_open(&net.nodes[1], path);
	store_net_run_ms(&net, 9000);
	assert_string_equal(store_net_held(&net, 1, &place, KIND_SINGLE_USER), "next ");
	store_net_run_ms(&net, 3000);
	assert_string_equal(store_net_held(&net, 1, &place, KIND_SINGLE_USER), "");
	struct store_figures figures;
	store_figures(net.nodes[1].store, &figures);
	assert_int_equal(figures.expired, 1);
}

static void test_full(void **state) {
	struct store_figures figures;
	struct store_net_outcome outcome;
	char text[101];
	unsigned i;

	(void)state;
	log_level = LOG_CRIT;
	memset(text, 'x', 100);
	text[100] = '\0';
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, 1000, store_net_single("before")), 0);
	assert_int_equal(record_database_limit_pages(net.nodes[1].database, 16), 0);
	for (i = 0; i < 200; i++) {
		struct stored_value value = store_net_entry(i % 4, text);
		struct store_net_request request;
		char salt[16];
		snprintf(salt, sizeof(salt), "u%u-", i);
		struct credential *user = store_net_user(&net, 1, salt);
		struct id place = store_net_user_resource(user);
		store_net_begin(&request, &place, 0);
		store_net_kind(&request, KIND_ARRAY_USER, 0);
		store_net_value(&request, user, 1000, 3600, &value);
		store_net_send(&net, &request, 0, 1, user, &outcome);
		const char *there = store_net_held(&net, 1, &place, KIND_ARRAY_USER);
		credential_unref(user);
		if (outcome.error != 0) {
			assert_string_equal(there, "");
			break;
		}
		assert_string_not_equal(there, "");
	}
	assert_true(i > 0 && i < 200);
	assert_int_equal(outcome.error_code, ERROR_DATA_TOO_LARGE);
	assert_non_null(strstr(outcome.text, "full"));
	store_figures(net.nodes[1].store, &figures);
	assert_int_equal(figures.database_error, -ENOSPC);
	assert_int_not_equal(figures.database_reason[0], '\0');
	assert_int_equal(figures.records, 1 + i);
	struct id place = store_net_user_resource(alice);
	assert_string_equal(store_net_held(&net, 1, &place, KIND_SINGLE_USER), "before ");

	assert_int_equal(record_database_limit_pages(net.nodes[1].database, 100000), 0);
	assert_int_equal(store_net_put(&net, 1, bob, KIND_SINGLE_USER, 1000, store_net_single("after")), 0);
	store_figures(net.nodes[1].store, &figures);
	assert_int_equal(figures.database_error, 0);
	assert_string_equal(figures.database_reason, "");
	assert_int_equal(figures.records, 2 + i);
	log_level = LOG_ERR;
}

/* The commit itself fails: every Store of the group is refused, and all of it is gone. */
static void test_commit_fails(void **state) {
	struct store_net_outcome outcomes[3];
	struct rlimit before, limit;
	struct store_figures figures;
	struct credential *carol = store_net_user(&net, 1, "carol");
	const struct credential *writers[3] = {alice, bob, carol};

	(void)state;
	log_level = LOG_CRIT;
	net.nodes[1].hold_commit = true;
	for (size_t i = 0; i < 3; i++)
		store_async(writers[i], KIND_SINGLE_USER, 1000, store_net_single("lost"), &outcomes[i]);
	store_net_run_ms(&net, 1000);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 1;
	setrlimit(RLIMIT_FSIZE, &limit);
	store_commit(net.nodes[1].store);
	setrlimit(RLIMIT_FSIZE, &before);
	store_net_run_ms(&net, 1000);
	for (size_t i = 0; i < 3; i++) {
		struct id place = store_net_user_resource(writers[i]);
		assert_int_equal(outcomes[i].calls, 1);
		assert_int_equal(outcomes[i].error, -EREMOTEIO);
		assert_int_equal(outcomes[i].error_code, ERROR_DATA_TOO_LARGE);
		assert_string_equal(store_net_held(&net, 1, &place, KIND_SINGLE_USER), "");
	}
	store_figures(net.nodes[1].store, &figures);
	assert_true(figures.database_error < 0);
	assert_int_equal(figures.records, 0);
	assert_int_equal(figures.octets, 0);
	assert_int_equal(figures.resources, 0);
	assert_int_equal(figures.stores_ok, 0);
	assert_int_equal(figures.stores_refused, 3);
	net.nodes[1].hold_commit = false;
	assert_int_equal(store_net_put(&net, 1, alice, KIND_SINGLE_USER, 1000, store_net_single("now")), 0);
	credential_unref(carol);
	log_level = LOG_ERR;
}

static void test_stop_with_open_requests(void **state) {
	struct store_net_outcome outcome;

	(void)state;
	net.nodes[1].hold_commit = true;
	store_async(alice, KIND_SINGLE_USER, 1000, store_net_single("a"), &outcome);
	store_net_run_ms(&net, 500);
	store_net_close(&net.nodes[1]); /* nothing leaks, nobody is told a lie */
	store_net_run_ms(&net, 30000);
	assert_int_equal(outcome.calls, 1);
	assert_int_not_equal(outcome.error, 0);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_group), TEST(test_restart), TEST(test_full), TEST(test_commit_fails), TEST(test_stop_with_open_requests),
	};
	return cmocka_run_group_tests_name("group commit", tests, NULL, NULL);
}
