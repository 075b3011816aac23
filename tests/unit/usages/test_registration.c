/* SPDX-License-Identifier: BSD-2-Clause */
/* Registrations stored, removed and resolved over a small ring (RFC 7904). */
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
#include "wire/uri.h"

#include <errno.h>
#include <string.h>

static struct store_ring stores;
static struct ring *ring;
static struct credential *alice, *bob, *carol;

static struct credential *user(const char *name) {
	struct id node_id = ring_random_id(ring);
	struct credential *credential = support_credential(&ring->overlay, name, &node_id, 1);

	assert_non_null(credential);
	return credential;
}

static int setup_with(const struct document_settings *document) {
	store_ring_start(&stores, &(struct ring_settings){.seed = 11, .document = document}, NULL);
	ring = stores.ring;
	ring_grow(ring, 4, true, 5);
	alice = user("alice@example.org");
	bob = user("bob@example.org");
	carol = user("carol@example.org");
	return 0;
}

static int setup(void **state) {
	(void)state;
	return setup_with(NULL);
}

static int teardown(void **state) {
	(void)state;
	credential_unref(alice);
	credential_unref(bob);
	credential_unref(carol);
	store_ring_stop(&stores);
	return 0;
}

struct result {
	unsigned calls;
	int error;
	struct storage_outcome outcome;
	struct sip_contact contacts[SIP_CONTACTS_MAX];
	size_t count;
};
static struct result result;

static bool called(void *userdata) {
	const struct result *out = userdata;

	return out->calls > 0;
}

static void wait_for_it(void) {
	assert_int_equal(result.calls, 0);
	assert_true(ring_run_until(ring, 120000, called, &result));
	assert_int_equal(result.calls, 1);
}

static void on_stored(void *userdata, const struct storage_outcome *outcome) {
	struct result *out = userdata;

	out->calls++;
	out->outcome = *outcome;
}

static void on_resolved(void *userdata, int error, const struct sip_contact *contacts, size_t count) {
	struct result *out = userdata;

	out->calls++;
	out->error = error;
	out->count = count;
	memcpy(out->contacts, contacts, count * sizeof(*contacts));
}

static int store(size_t node, struct credential *credential, const char *aor, const char *contact, uint32_t lifetime_s) {
	result = (struct result){.calls = 0};
	int error = sip_registration_store(ring->nodes[node]->router, credential, aor, contact, lifetime_s, on_stored, &result);
	if (error < 0)
		return error;
	wait_for_it();
	return result.outcome.error;
}

static int resolve(size_t node, const char *aor) {
	result = (struct result){.calls = 0};
	int error = sip_resolve(ring->nodes[node]->router, aor, on_resolved, &result);
	if (error < 0)
		return error;
	wait_for_it();
	return result.error;
}

static void test_store_and_resolve(void **state) { /* S-3.1-01, S-3.2-01, S-4.2-01, S-7-01 */
	static const char contact[] = "sip:alice@192.0.2.11:5070;transport=tcp";

	(void)state;
	assert_int_equal(resolve(1, "alice@example.org"), -ENOENT);
	assert_int_equal(store(0, alice, "sip:Alice@example.org", contact, 600), -EACCES); /* the user part counts with its case */
	assert_int_equal(store(0, alice, "sip:alice@Example.ORG", contact, 600), 0);
	assert_int_equal(resolve(1, "sip:alice@example.org"), 0);
	assert_int_equal(result.count, 1);
	assert_string_equal(result.contacts[0].uri, contact); /* whole */
	assert_true(id_equal(&result.contacts[0].registrant, &alice->node_id));
	assert_in_range(result.contacts[0].lifetime_s, 598, 600);
	assert_false(result.contacts[0].route);
	/* refreshed with another contact */
	ring_run(ring, 10000);
	assert_int_equal(store(2, alice, "alice@example.org", "sip:192.0.2.12", 300), 0);
	assert_int_equal(resolve(3, "alice@example.org"), 0);
	assert_int_equal(result.count, 1);
	assert_string_equal(result.contacts[0].uri, "sip:192.0.2.12");
	ring_run(ring, 301 * 1000);
	assert_int_equal(resolve(3, "alice@example.org"), -ENOENT);
}

static void test_several_devices(void **state) { /* S-3.2-03 */
	struct id ids[2] = {ring_random_id(ring), ring_random_id(ring)};
	struct credential *two = support_credential(&ring->overlay, "alice@example.org", ids, 2), *second = NULL;

	(void)state;
	assert_int_equal(credential_as(two, &ids[1], &second), 0);
	assert_int_equal(store(0, alice, "alice@example.org", "sip:alice@192.0.2.11", 600), 0);
	assert_int_equal(store(0, two, "alice@example.org", "sip:alice@192.0.2.12", 600), 0);
	assert_int_equal(store(0, second, "alice@example.org", "sip:alice@192.0.2.13", 600), 0);
	assert_int_equal(resolve(1, "alice@example.org"), 0);
	assert_int_equal(result.count, 3);
	/* the same contact from two devices is told once */
	assert_int_equal(store(0, second, "alice@example.org", "sip:alice@192.0.2.12", 600), 0);
	assert_int_equal(resolve(1, "alice@example.org"), 0);
	assert_int_equal(result.count, 2);
	credential_unref(two);
	credential_unref(second);
}

static void test_remove(void **state) { /* B-7.4.1-19 */
	struct id place = store_ring_place(alice);
	struct record_counts counts;

	(void)state;
	assert_int_equal(store(0, alice, "alice@example.org", NULL, 0), 0); /* nothing there: nothing to do */
	assert_int_equal(store(0, alice, "alice@example.org", "sip:alice@192.0.2.11", 600), 0);
	ring_run(ring, 100000);
	assert_int_equal(store(0, alice, "alice@example.org", "sip:alice@192.0.2.11", 0), 0);
	assert_int_equal(resolve(1, "alice@example.org"), -ENODATA);
	struct ring_node *owner = ring_responsible(ring, &place);
	struct record_database *database = store_ring_of(owner)->database;
	uint64_t now_ms = runtime_realtime_ms(virtual_host_runtime(owner->host));
	assert_int_equal(record_count(database, &place, KIND_SIP_REGISTRATION, now_ms + 499000, &counts), 0);
	assert_int_equal(counts.tombstones, 1); /* as long as what it hides had left */
	assert_int_equal(record_count(database, &place, KIND_SIP_REGISTRATION, now_ms + 501000, &counts), 0);
	assert_int_equal(counts.tombstones, 0);
	assert_int_equal(store(0, alice, "alice@example.org", "sip:alice@192.0.2.11", 600), 0); /* and back */
	assert_int_equal(resolve(1, "alice@example.org"), 0);
}

static void test_refusals(void **state) { /* S-3.3-01 */
	static const char *const contacts[] = {
		"",
		"192.0.2.1",
		"tel:+1555",
		"mailto:alice@example.org",
		"sip:",
		"sip:alice@",
		"sip:alice@192.0.2.1 x",
		"sip:a<b>@192.0.2.1",
		"sip:alice@example.org" /* herself */,
	};
	char large[SIP_CONTACT_SIZE + 1];

	(void)state;
	memset(large, 'a', sizeof(large) - 1);
	memcpy(large, "sip:", 4);
	memcpy(large + SIP_CONTACT_SIZE - 12, "@example.com", 12);
	large[SIP_CONTACT_SIZE] = '\0';
	for (size_t i = 0; i < ARRAY_LENGTH(contacts); i++)
		if (store(0, alice, "alice@example.org", contacts[i], 60) != -EINVAL)
			fail_msg("\"%s\"", contacts[i]);
	assert_int_equal(store(0, alice, "alice@example.org", large, 60), -EINVAL);
	assert_int_equal(store(0, alice, "alice@example.org", NULL, 60), -EINVAL);
	assert_int_equal(store(0, alice, "bob@example.org", "sip:alice@192.0.2.11", 60), -EACCES);
	assert_int_equal(store(0, alice, "nonsense", "sip:alice@192.0.2.11", 60), -EINVAL);
	assert_int_equal(resolve(0, "nonsense"), -EINVAL);
}

static void test_mapping(void **state) { /* S-4.2-01, Q-70 */
	struct id place = store_ring_place(alice);

	(void)state;
	assert_int_equal(store(0, alice, "alice@example.org", "sip:bob@example.org", 600), 0); /* forwarded to bob */
	assert_int_equal(store(0, bob, "bob@example.org", "sip:bob@192.0.2.22", 300), 0);
	assert_int_equal(resolve(1, "alice@example.org"), 0);
	assert_int_equal(result.count, 1);
	assert_string_equal(result.contacts[0].uri, "sip:bob@192.0.2.22");
	assert_true(result.contacts[0].lifetime_s <= 300);
	/* in the overlay stands the AoR without scheme */
	uint8_t expected[] = "\x01\x00\x11\x00\x0f"
			     "bob@example.org";
	struct record_head head;
	assert_int_equal(record_head(store_ring_of(ring_responsible(ring, &place))->database, &place, KIND_SIP_REGISTRATION,
				     id_octets(&alice->node_id), true, OCTETS(expected, sizeof(expected) - 1), &head),
			 1);
	assert_true(head.same_value);
	/* a contact elsewhere is handed out as it is */
	assert_int_equal(store(0, alice, "alice@example.org", "sip:alice@example.com", 600), 0);
	assert_int_equal(resolve(1, "alice@example.org"), 0);
	assert_string_equal(result.contacts[0].uri, "sip:alice@example.com");
}

static void test_loops(void **state) {
	(void)state;
	assert_int_equal(store(0, alice, "alice@example.org", "sip:bob@example.org", 600), 0);
	assert_int_equal(store(0, bob, "bob@example.org", "sip:alice@example.org", 600), 0);
	assert_int_equal(resolve(1, "alice@example.org"), -ELOOP);
	assert_int_equal(result.count, 0);
	/* one way out is enough */
	struct credential *phone = user("bob@example.org");
	assert_int_equal(store(0, phone, "bob@example.org", "sip:bob@192.0.2.22", 600), 0);
	assert_int_equal(resolve(1, "alice@example.org"), 0);
	assert_int_equal(result.count, 1);
	credential_unref(phone);
	/* a mapping to nobody */
	assert_int_equal(store(0, carol, "carol@example.org", "sip:nobody@example.org", 600), 0);
	assert_int_equal(resolve(1, "carol@example.org"), -ENODATA);
	assert_int_equal(resolve(1, "nobody@example.org"), -ENOENT);
}

static void test_depth(void **state) {
	struct credential *chain[SIP_RESOLVE_DEPTH_MAX + 2];
	char name[64], next[64];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LENGTH(chain); i++) {
		snprintf(name, sizeof(name), "chain%u@example.org", i);
		snprintf(next, sizeof(next), "sip:chain%u@example.org", i + 1);
		chain[i] = user(name);
		assert_int_equal(store(0, chain[i], name, i + 1 < ARRAY_LENGTH(chain) ? next : "sip:end@192.0.2.1", 600), 0);
	}
	assert_int_equal(resolve(1, "chain0@example.org"), -ELOOP);
	assert_int_equal(resolve(1, "chain1@example.org"), 0);
	assert_int_equal(result.count, 1);
	for (unsigned i = 0; i < ARRAY_LENGTH(chain); i++)
		credential_unref(chain[i]);
}

/* Stores any value under alice's key. */
static void store_value(struct octets value) {
	struct id place = store_ring_place(alice);
	struct storage_value one = {
		.value = {.model = DATA_MODEL_DICTIONARY, .key = id_octets(&alice->node_id), .exists = true, .value = value},
		.lifetime_s = 600,
	};

	result = (struct result){.calls = 0};
	assert_int_equal(
		storage_store(ring->nodes[0]->router, alice, &place, KIND_SIP_REGISTRATION, 0, &one, 1, on_stored, &result), 0);
	wait_for_it();
	assert_int_equal(result.outcome.error, 0);
}

static void test_routes_and_gruus(void **state) { /* S-3.2-02, S-4.1-01, S-6-01 */
	uint8_t buffer[256], list[32];
	struct writer w = writer_fixed(buffer, sizeof(buffer)), destination = writer_fixed(list, sizeof(list));
	struct sip_registration route = {.type = SIP_REGISTRATION_ROUTE, .contact_prefs = octets_of_string("(sip.schemes=SIP)")};
	char gruu[64], uri[128];

	(void)state;
	destination_write_node(&destination, &bob->node_id);
	route.destination_list = writer_octets_written(&destination);
	sip_registration_write(&w, &route);
	store_value(writer_octets_written(&w));
	assert_int_equal(resolve(1, "alice@example.org"), 0);
	assert_int_equal(result.count, 1);
	assert_true(result.contacts[0].route);
	assert_string_equal(result.contacts[0].uri, "");
	assert_int_equal(result.contacts[0].destination_list_length, destination.length);
	assert_memory_equal(result.contacts[0].destination_list, list, destination.length);

	assert_int_equal(gruu_value_format(writer_octets_written(&destination), gruu, sizeof(gruu)), 0);
	snprintf(uri, sizeof(uri), "sip:alice@example.org;gr=%s", gruu);
	assert_int_equal(store(0, alice, "alice@example.org", uri, 600), 0); /* as a contact: whole */
	assert_int_equal(resolve(1, "alice@example.org"), 0);
	assert_string_equal(result.contacts[0].uri, uri);
	assert_false(result.contacts[0].route);
	assert_int_equal(result.contacts[0].destination_list_length, destination.length);
	assert_int_equal(resolve(1, uri + 4), 0); /* asked for: used directly */
	assert_string_equal(result.contacts[0].uri, uri);
	assert_memory_equal(result.contacts[0].destination_list, list, destination.length);
}

static void test_odd_values(void **state) {
	static const uint8_t unknown[] = {9, 0, 3, 1, 2, 3}, cut[] = {1, 0, 9, 0, 7, 's'},
			     zero[] = {1, 0, 6, 0, 4, 'a', '@', 0, 'b'}, line[] = {1, 0, 7, 0, 5, 'a', '@', '\r', '\n', 'b'},
			     bare[] = {1, 0, 5, 0, 3, 'a', 'b', 'c'}, empty[] = {1, 0, 2, 0, 0};
	static const struct octets values[] = {OCTETS(unknown, sizeof(unknown)), OCTETS(cut, sizeof(cut)),
					       OCTETS(zero, sizeof(zero)),	 OCTETS(line, sizeof(line)),
					       OCTETS(bare, sizeof(bare)),	 OCTETS(empty, sizeof(empty))};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
		store_value(values[i]);
		assert_int_equal(resolve(1, "alice@example.org"), -ENODATA);
	}
}

static void test_unreachable(void **state) {
	struct ring_node *client = ring_add_client(ring, NULL);

	(void)state;
	ring_bootstrap(client, ring->nodes[0]);
	ring_run(ring, 5000);
	assert_int_equal(resolve(client->index, "alice@example.org"), -ENOENT);
	for (size_t i = 0; i < 4; i++)
		ring_cut(client, ring->nodes[i], true);
	int error = resolve(client->index, "alice@example.org");
	assert_true(error == -ETIMEDOUT || error == -ENETUNREACH);
	assert_int_equal(result.count, 0);
	result = (struct result){.calls = 0};
	error = store(client->index, alice, "alice@example.org", "sip:alice@192.0.2.11", 60);
	assert_true(error == -ETIMEDOUT || error == -ENETUNREACH);
}

/* ---- domains (S-3.3-02, S-3.3-03, S-3.4-01) ---- */

static void try_domain(const char *name, bool allowed) {
	struct credential *credential = user(name);
	struct id place = store_ring_place(credential);
	uint8_t value[] = "\x01\x00\x14\x00\x12"
			  "sip:x@192.0.2.1:99";
	struct storage_value one = {
		.value = {.model = DATA_MODEL_DICTIONARY,
			  .key = id_octets(&credential->node_id),
			  .exists = true,
			  .value = OCTETS(value, 23)},
		.lifetime_s = 600,
	};

	/* refused before it is sent */
	assert_int_equal(store(0, credential, name, "sip:x@192.0.2.1", 600), allowed ? 0 : -EACCES);
	/* and by the storing peer, when somebody sends it all the same */
	result = (struct result){.calls = 0};
	assert_int_equal(
		storage_store(ring->nodes[1]->router, credential, &place, KIND_SIP_REGISTRATION, 0, &one, 1, on_stored, &result),
		0);
	wait_for_it();
	assert_int_equal(result.outcome.error_code, allowed ? 0 : ERROR_FORBIDDEN);
	credential_unref(credential);
}

static int setup_patterns(void **state) {
	static char pattern[] = ".*\\.my\\.example", other[] = "dht\\.example\\.com";
	struct kind kind = *kind_registered(KIND_SIP_REGISTRATION);
	struct document_settings document = {.sequence = 1, .no_ice = true, .kinds = &kind, .kind_count = 1};

	(void)state;
	kind.domain_rule = DOMAIN_PATTERNS;
	kind.domain_patterns[0] = pattern;
	kind.domain_patterns[1] = other;
	kind.domain_pattern_count = 2;
	return setup_with(&document);
}

static void test_patterns(void **state) {
	(void)state;
	try_domain("x@dht.example.com", true);
	try_domain("x@a.my.example", true);
	try_domain("x@dht.example.com.evil.example", false);
	try_domain("x@xdht.example.com", false);
	try_domain("x@my.example", false);
	try_domain("x@example.org", false);
}

static int setup_overlay_only(void **state) {
	struct kind kind = *kind_registered(KIND_SIP_REGISTRATION);
	struct document_settings document = {.sequence = 1, .no_ice = true, .kinds = &kind, .kind_count = 1};

	(void)state;
	kind.domain_rule = DOMAIN_OVERLAY_ONLY;
	return setup_with(&document);
}

static void test_overlay_only(void **state) {
	(void)state;
	try_domain("x@overlay.example.org", true);
	try_domain("x@example.org", false);
	try_domain("x@a.overlay.example.org", false);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_store_and_resolve),
		TEST(test_several_devices),
		TEST(test_remove),
		TEST(test_refusals),
		TEST(test_mapping),
		TEST(test_loops),
		TEST(test_depth),
		TEST(test_routes_and_gruus),
		TEST(test_odd_values),
		TEST(test_unreachable),
		cmocka_unit_test_setup_teardown(test_patterns, setup_patterns, teardown),
		cmocka_unit_test_setup_teardown(test_overlay_only, setup_overlay_only, teardown),
	};
	log_level = LOG_ERR;
	return cmocka_run_group_tests_name("SIP registrations", tests, NULL, NULL);
}
