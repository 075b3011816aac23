/* SPDX-License-Identifier: BSD-2-Clause */
/* What a new configuration document takes out of the store: values of bad nodes and of Kinds that are gone. B-11.1-06 B-11.1-12 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/database.h"
#include "support/store_net.h"

#include <string.h>

static struct store_net net;

static struct store_figures figures(void) {
	struct store_figures result;

	store_figures(net.nodes[1].store, &result);
	return result;
}

static void run(void) {
	store_configuration_changed(net.nodes[1].store);
	store_net_run_ms(&net, 5000);
}

static void put(struct credential *writer, uint32_t kind, struct stored_value value) {
	assert_int_equal(store_net_put(&net, 1, writer, kind, 1000, value), 0);
}

static void bad_nodes_lose_their_values(void **state) {
	(void)state;
	store_net_start(&net, 2);
	struct credential *alice = store_net_user(&net, 1, "alice"), *bob = store_net_user(&net, 1, "bob");
	struct id at_alice = store_net_user_resource(alice), at_bob = store_net_user_resource(bob);
	char key[8];

	put(bob, KIND_SINGLE_USER, store_net_single("bob"));
	put(alice, KIND_SINGLE_USER, store_net_single("alice"));
	put(alice, KIND_ARRAY_USER, store_net_entry(2, "x"));
	for (unsigned i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		put(alice, KIND_DICTIONARY_LARGE, store_net_pair(key, "v"));
	}
	uint64_t before = figures().records;
	run(); /* nobody is bad */
	assert_int_equal(figures().records, before);

	const struct overlay_config *config = router_config(net.net.nodes[1].router);
	struct document_settings settings = {.sequence = 2, .no_ice = true, .bad_nodes = &alice->node_id, .bad_node_count = 1};
	struct kind kinds[KINDS_MAX];
	for (size_t i = 0; i < config->kind_count; i++)
		if (config->kinds[i].required)
			assert_int_equal(kind_copy(&config->kinds[i], &kinds[settings.kind_count++]), 0);
	settings.kinds = kinds;
	router_net_configure(&net.net.nodes[1], &settings);
	run();
	assert_string_equal(store_net_held(&net, 1, &at_alice, KIND_SINGLE_USER), "");
	assert_string_equal(store_net_held(&net, 1, &at_alice, KIND_ARRAY_USER), "");
	assert_string_equal(store_net_held(&net, 1, &at_bob, KIND_SINGLE_USER), "bob ");
	assert_int_equal(figures().records, 1);
	assert_int_equal(figures().resources, 1);
	assert_int_equal(figures().revoked, before - 1);
	for (size_t i = 0; i < settings.kind_count; i++)
		kind_release(&kinds[i]);
	credential_unref(alice);
	credential_unref(bob);
	store_net_stop(&net);
}

static void kinds_go_with_their_definition(void **state) {
	static const struct kind kept = {
		.id = KIND_SINGLE_USER, .model = DATA_MODEL_SINGLE, .access = ACCESS_USER_MATCH, .max_count = 1, .max_size = 100};

	(void)state;
	store_net_start(&net, 2);
	struct credential *alice = store_net_user(&net, 1, "alice");
	struct id at_alice = store_net_user_resource(alice);
	put(alice, KIND_SINGLE_USER, store_net_single("kept"));
	put(alice, KIND_ARRAY_USER, store_net_entry(0, "gone"));
	put(alice, KIND_ARRAY_USER, store_net_entry(1, "gone"));
	const struct document_settings settings = {.sequence = 2, .no_ice = true, .kinds = &kept, .kind_count = 1};
	router_net_configure(&net.net.nodes[1], &settings);
	run();
	assert_string_equal(store_net_held(&net, 1, &at_alice, KIND_SINGLE_USER), "kept ");
	assert_string_equal(store_net_held(&net, 1, &at_alice, KIND_ARRAY_USER), "");
	assert_int_equal(figures().records, 1);
	assert_int_equal(figures().revoked, 2);
	credential_unref(alice);
	store_net_stop(&net);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_nodes_lose_their_values),
		cmocka_unit_test(kinds_go_with_their_definition),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
