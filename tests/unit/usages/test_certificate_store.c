/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates kept in the overlay (RFC 6940 8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "storage/access.h"
#include "storage/database.h"
#include "support/store_ring.h"
#include "usages/usages.h"

#include <string.h>

static struct store_ring stores;
static struct ring *ring;

static int setup(void **state) {
	(void)state;
	store_ring_start(
		&stores,
		&(struct ring_settings){.seed = 21, .check_ms = 3600000, .update_interval_s = 36000, .ping_interval_s = 36000},
		NULL);
	ring = stores.ring;
	ring_grow(ring, 3, true, 5);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	store_ring_stop(&stores);
	return 0;
}

struct seen {
	unsigned count;
	bool own[8];
	uint32_t index[8], lifetime_s[8];
	const struct certificate *certificate;
	uint64_t now_ms;
};

static int see(void *userdata, const struct record *record) {
	struct seen *seen = userdata;
	struct reader key = reader_of_octets(record->key);

	seen->index[seen->count] = reader_u32(&key);
	seen->lifetime_s[seen->count] = record_lifetime_left(record->received_ms, record->lifetime_s, seen->now_ms);
	seen->own[seen->count++] = octets_equal(record->value, OCTETS(seen->certificate->der, seen->certificate->der_length));
	return 0;
}

static struct seen at(const struct id *place, uint32_t kind, const struct certificate *certificate) {
	struct ring_node *owner = ring_responsible(ring, place);
	struct seen seen = {.certificate = certificate, .now_ms = runtime_realtime_ms(virtual_host_runtime(owner->host))};

	assert_int_equal(record_visit(store_ring_of(owner)->database, place, kind, NULL, NULL, seen.now_ms, see, &seen), 0);
	return seen;
}

static struct certificate_store *begin(struct ring_node *node) {
	struct certificate_store *certificates = NULL;

	assert_int_equal(certificate_store_new(virtual_host_runtime(node->host), node->router, &certificates), 0);
	return certificates;
}

static void assert_stored(const struct credential *credential, unsigned copies, unsigned own_index) {
	struct id by_user = resource_id_of_user(credential->certificate->user_name, 16);
	struct id by_node = resource_id_of_node(&credential->node_id, 16);
	struct seen seen = at(&by_user, KIND_CERTIFICATE_BY_USER, credential->certificate);

	assert_int_equal(seen.count, copies);
	assert_int_equal(seen.index[own_index], own_index);
	assert_true(seen.own[own_index]);
	seen = at(&by_node, KIND_CERTIFICATE_BY_NODE, credential->certificate);
	assert_int_equal(seen.count, copies);
	assert_true(seen.own[own_index]);
}

static void test_store_and_refresh(void **state) { /* B-8-01, B-7.3.1-01, B-7.3.2-01 */
	struct id id = ring_random_id(ring);
	struct credential *alice = support_credential(&ring->overlay, "alice@example.org", &id, 1);
	struct certificate_store *certificates = begin(ring->nodes[0]);
	struct id by_user = resource_id_of_user("alice@example.org", 16);

	(void)state;
	assert_int_equal(certificate_store_add(certificates, ring->nodes[0]->credential), 0);
	assert_int_equal(certificate_store_add(certificates, alice), 0);
	assert_int_equal(certificate_store_add(certificates, alice), 0); /* twice is once */
	ring_run(ring, 5000);
	assert_int_equal(at(&by_user, KIND_CERTIFICATE_BY_USER, alice->certificate).count, 0); /* not before it is started */
	certificate_store_start(certificates);
	ring_run(ring, 5000);
	assert_stored(alice, 1, 0);
	assert_stored(ring->nodes[0]->credential, 1, 0);
	/* for days: never expired, never a second copy */
	for (unsigned hour = 0; hour < 72; hour += 6) {
		ring_run(ring, 6 * 3600 * 1000);
		assert_stored(alice, 1, 0);
	}
	certificate_store_start(certificates); /* joined again */
	ring_run(ring, 5000);
	assert_stored(alice, 1, 0);
	/* a renewed certificate coexists with the old one (B-8-01) */
	struct credential *renewed = support_credential(&ring->overlay, "alice@example.org", &id, 1);
	assert_int_equal(certificate_store_add(certificates, renewed), 0);
	ring_run(ring, 5000);
	assert_stored(alice, 2, 0);
	assert_stored(renewed, 2, 1);
	/* after the end nothing is refreshed */
	certificate_store_free(certificates);
	ring_run(ring, 25 * 3600 * 1000);
	assert_int_equal(at(&by_user, KIND_CERTIFICATE_BY_USER, alice->certificate).count, 0);
	credential_unref(alice);
	credential_unref(renewed);
}

static void test_short_lived(void **state) { /* not longer than the certificate itself */
	struct id id = ring_random_id(ring), by_user = resource_id_of_user("short@example.org", 16);
	uint64_t now_ms = runtime_realtime_ms(virtual_host_runtime(ring->nodes[0]->host));
	struct credential *brief = support_credential_of_type(&ring->overlay, KEY_ECDSA_P256, "short@example.org", &id, 1,
							      SUPPORT_NOT_BEFORE_MS, now_ms + 3600 * 1000);
	struct certificate_store *certificates = begin(ring->nodes[0]);

	(void)state;
	log_level = LOG_CRIT;
	assert_int_equal(certificate_store_add(certificates, brief), 0);
	certificate_store_start(certificates);
	ring_run(ring, 5000);
	struct seen seen = at(&by_user, KIND_CERTIFICATE_BY_USER, brief->certificate);
	assert_int_equal(seen.count, 1);
	assert_true(seen.lifetime_s[0] <= 3600);
	ring_run(ring, 7200 * 1000);
	assert_int_equal(at(&by_user, KIND_CERTIFICATE_BY_USER, brief->certificate).count, 0);
	certificate_store_free(certificates);
	credential_unref(brief);
	log_level = LOG_ERR;
}

static void test_retries(void **state) {
	struct ring_node *client = ring_add_client(ring, NULL);
	struct certificate_store *certificates = begin(client);

	(void)state;
	log_level = LOG_CRIT;
	assert_int_equal(certificate_store_add(certificates, client->credential), 0);
	certificate_store_start(certificates); /* too early: nobody is there yet */
	ring_run(ring, 4000);
	ring_bootstrap(client, ring->nodes[0]);
	ring_run(ring, 60000);
	assert_stored(client->credential, 1, 0);
	certificate_store_free(certificates);
	log_level = LOG_ERR;
}

static void test_free_in_the_middle(void **state) {
	struct certificate_store *certificates = begin(ring->nodes[0]);

	(void)state;
	assert_int_equal(certificate_store_add(certificates, ring->nodes[0]->credential), 0);
	certificate_store_start(certificates);
	ring_run(ring, 1003); /* requests are under way */
	certificate_store_free(certificates);
	ring_run(ring, 30000);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_store_and_refresh),
		TEST(test_short_lived),
		TEST(test_retries),
		TEST(test_free_in_the_middle),
	};
	log_level = LOG_ERR;
	return cmocka_run_group_tests_name("certificate store", tests, NULL, NULL);
}
