/* SPDX-License-Identifier: BSD-2-Clause */
/* The record database: contents, restarts, and everything that can be wrong with a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/database_statements.h"
#include "support/support_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { KIND_A = 0xf0000001, KIND_B = 0xf0000002 };
#define NOW_MS SUPPORT_NOW_MS

static struct support_overlay overlay;
static struct credential *alice, *bob;

struct fixture {
	char directory[64], path[96];
	bool memory; /* not a file: record_database_open_memory() */
	struct record_database *database;
};

static int group_setup(void **state) {
	struct id a = support_node_id(0xa1), b = support_node_id(0xb1);

	(void)state;
	if (support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay) < 0)
		return -1;
	alice = support_credential(&overlay, "alice@example.org", &a, 1);
	bob = support_credential(&overlay, "bob@example.org", &b, 1);
	return alice && bob ? 0 : -1;
}

static int group_teardown(void **state) {
	(void)state;
	credential_unref(alice);
	credential_unref(bob);
	support_overlay_release(&overlay);
	return 0;
}

static int setup(void **state) {
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	strcpy(fixture->directory, "/tmp/ringgate-database-XXXXXX");
	if (!mkdtemp(fixture->directory))
		return -1;
	snprintf(fixture->path, sizeof(fixture->path), "%s/records.db", fixture->directory);
	*state = fixture;
	return 0;
}

static int setup_memory(void **state) {
	int error = setup(state);

	if (error == 0)
		((struct fixture *)*state)->memory = true;
	return error;
}

static int teardown(void **state) {
	static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
	struct fixture *fixture = *state;
	char path[128];

	record_database_close(fixture->database);
	for (size_t i = 0; i < ARRAY_LENGTH(endings); i++) {
		snprintf(path, sizeof(path), "%s%s", fixture->path, endings[i]);
		unlink(path);
	}
	rmdir(fixture->directory);
	free(fixture);
	return 0;
}

static void open_database(struct fixture *fixture) {
	char reason[256] = "";
	int error = fixture->memory ? record_database_open_memory(&fixture->database)
				    : record_database_open(fixture->path, &fixture->database, reason, sizeof(reason));

	if (error < 0)
		fail_msg("open: %d %s", error, reason);
}

static void close_database(struct fixture *fixture) {
	fixture->database = record_database_close(fixture->database);
}

static struct id resource(uint8_t octet) {
	return support_node_id(octet);
}

/* Puts a value as the store does: certificate, record, generation. */
static int put(struct record_database *database, uint8_t place, uint32_t kind, const char *key, const char *value, uint64_t time_ms,
	       uint32_t lifetime_s, const struct credential *signer) {
	struct record record = {
		.resource_id = resource(place),
		.kind = kind,
		.key = octets_of_string(key),
		.exists = value != NULL,
		.storage_time_ms = time_ms,
		.received_ms = NOW_MS,
		.lifetime_s = lifetime_s,
		.value = octets_of_string(value),
		.signature = octets_of_string("signature"),
	};
	struct record_kind state;
	struct record_head head;
	int found = record_head(database, &record.resource_id, kind, record.key, record.exists, record.value, &head);

	if (found < 0)
		return found;
	int error = record_certificate_put(database, signer->certificate, &record.certificate);
	if (error == 0)
		error = record_put(database, &record, found ? &head : NULL);
	if (error == 0)
		error = record_kind_get(database, &record.resource_id, kind, &state) < 0 ? -EIO : 0;
	state.generation++;
	return error < 0 ? error : record_kind_put(database, &state);
}

struct seen {
	char text[256];
	unsigned count;
	int64_t certificate;
};

static int see(void *userdata, const struct record *record) {
	struct seen *seen = userdata;
	size_t length = strlen(seen->text);

	snprintf(seen->text + length, sizeof(seen->text) - length, "%.*s=%.*s%s ", (int)record->key.length,
		 (const char *)record->key.data, (int)record->value.length, (const char *)record->value.data,
		 record->exists ? "" : "(gone)");
	seen->count++;
	seen->certificate = record->certificate;
	return 0;
}

static struct seen all(struct record_database *database, uint8_t place, uint32_t kind, uint64_t now_ms) {
	struct id resource_id = resource(place);
	struct seen seen = {.text = ""};

	assert_int_equal(record_visit(database, &resource_id, kind, NULL, NULL, now_ms, see, &seen), 0);
	return seen;
}

static void test_values(void **state) {
	struct fixture *fixture = *state;

	open_database(fixture);
	struct record_database *database = fixture->database;
	assert_int_equal(record_database_begin(database), 0);
	assert_int_equal(put(database, 1, KIND_A, "b", "2", 100, 60, alice), 0);
	assert_int_equal(put(database, 1, KIND_A, "a", "1", 100, 60, alice), 0);
	assert_int_equal(put(database, 1, KIND_A, "c", NULL, 100, 60, alice), 0);
	assert_int_equal(put(database, 1, KIND_B, "", "single", 100, 60, alice), 0);
	assert_int_equal(record_database_commit(database), 0);

	assert_string_equal(all(database, 1, KIND_A, NOW_MS).text, "a=1 b=2 c=(gone) ");
	assert_string_equal(all(database, 1, KIND_B, NOW_MS).text, "=single ");
	assert_string_equal(all(database, 2, KIND_A, NOW_MS).text, "");
	assert_string_equal(all(database, 1, KIND_A, NOW_MS + 60000).text, ""); /* expired ones are not shown */
	struct record_totals totals = record_database_totals(database);
	assert_int_equal(totals.records, 4);
	assert_int_equal(totals.octets, 8);
	assert_int_equal(totals.resources, 1);

	/* ranges of keys */
	struct id resource_id = resource(1);
	struct octets first = octets_of_string("b"), last = octets_of_string("b");
	struct seen seen = {.text = ""};
	assert_int_equal(record_visit(database, &resource_id, KIND_A, &first, &last, NOW_MS, see, &seen), 0);
	assert_string_equal(seen.text, "b=2 ");

	/* replacing keeps one record per place */
	assert_int_equal(put(database, 1, KIND_A, "a", "longer", 101, 60, bob), 0);
	assert_string_equal(all(database, 1, KIND_A, NOW_MS).text, "a=longer b=2 c=(gone) ");
	assert_int_equal(record_database_totals(database).records, 4);
	assert_int_equal(record_database_totals(database).octets, 13);

	struct record_counts counts;
	assert_int_equal(record_count(database, &resource_id, KIND_A, NOW_MS, &counts), 0);
	assert_int_equal(counts.values, 2);
	assert_int_equal(counts.tombstones, 1);
}

static void test_head(void **state) {
	struct fixture *fixture = *state;
	struct id resource_id = resource(1);
	struct record_head head;

	open_database(fixture);
	assert_int_equal(put(fixture->database, 1, KIND_A, "k", "value", 77, 60, alice), 0);
	struct octets key = octets_of_string("k");
	assert_int_equal(record_head(fixture->database, &resource_id, KIND_A, key, true, octets_of_string("value"), &head), 1);
	assert_true(head.same_value);
	assert_int_equal(head.storage_time_ms, 77);
	assert_int_equal(head.expires_ms, NOW_MS + 60000);
	assert_int_equal(record_head(fixture->database, &resource_id, KIND_A, key, true, octets_of_string("valuf"), &head), 1);
	assert_false(head.same_value);
	assert_int_equal(record_head(fixture->database, &resource_id, KIND_A, key, false, octets_of_string("value"), &head), 1);
	assert_false(head.same_value);
	assert_int_equal(record_head(fixture->database, &resource_id, KIND_B, key, true, octets_of_string("value"), &head), 0);
}

static void test_restart(void **state) {
	struct fixture *fixture = *state;
	uint8_t der[CERTIFICATE_SIZE_MAX];
	struct writer w = writer_fixed(der, sizeof(der));
	struct record_kind kind;
	struct id resource_id = resource(1);

	open_database(fixture);
	assert_int_equal(record_database_begin(fixture->database), 0);
	assert_int_equal(put(fixture->database, 1, KIND_A, "a", "kept", UINT64_MAX - 1, 60, alice), 0);
	assert_int_equal(record_database_commit(fixture->database), 0);
	assert_int_equal(record_database_begin(fixture->database), 0);
	assert_int_equal(put(fixture->database, 2, KIND_A, "a", "not committed", 1, 60, alice), 0);
	close_database(fixture); /* as a crash: the transaction is open */

	open_database(fixture);
	struct seen seen = all(fixture->database, 1, KIND_A, NOW_MS);
	assert_string_equal(seen.text, "a=kept ");
	assert_string_equal(all(fixture->database, 2, KIND_A, NOW_MS).text, "");
	assert_int_equal(record_database_totals(fixture->database).records, 1);
	assert_int_equal(record_database_totals(fixture->database).resources, 1);
	assert_int_equal(record_certificate_get(fixture->database, seen.certificate, &w), 0); /* B-6.3.4-02 */
	assert_memory_equal(der, alice->certificate->der, alice->certificate->der_length);
	assert_int_equal(record_certificate_get(fixture->database, 12345, &w), -ENOENT);
	assert_int_equal(record_kind_get(fixture->database, &resource_id, KIND_A, &kind), 1);
	assert_int_equal(kind.generation, 1);

	struct record_head head;
	assert_int_equal(record_head(fixture->database, &resource_id, KIND_A, octets_of_string("a"), true, OCTETS_NONE, &head), 1);
	assert_true(head.storage_time_ms == UINT64_MAX - 1); /* beyond the signed range of SQLite's integers */
}

static void test_rollback(void **state) {
	struct fixture *fixture = *state;

	open_database(fixture);
	struct record_database *database = fixture->database;
	assert_int_equal(record_database_begin(database), 0);
	assert_int_equal(put(database, 1, KIND_A, "a", "1", 1, 60, alice), 0);
	assert_int_equal(record_database_savepoint(database), 0);
	assert_int_equal(put(database, 1, KIND_A, "a", "22", 2, 60, bob), 0);
	assert_int_equal(put(database, 2, KIND_A, "a", "333", 2, 60, bob), 0);
	assert_int_equal(record_database_totals(database).resources, 2);
	record_database_undo(database);
	assert_true(record_database_in_transaction(database));
	assert_string_equal(all(database, 1, KIND_A, NOW_MS).text, "a=1 ");
	assert_int_equal(record_database_totals(database).records, 1);
	assert_int_equal(record_database_totals(database).octets, 1);
	record_database_rollback(database);
	assert_false(record_database_in_transaction(database));
	assert_string_equal(all(database, 1, KIND_A, NOW_MS).text, "");
	assert_int_equal(record_database_totals(database).records, 0);
	assert_int_equal(record_database_totals(database).resources, 0);

	/* Without a transaction there is nothing to undo, in the totals neither. */
	assert_int_equal(record_database_begin(database), 0);
	assert_int_equal(put(database, 1, KIND_A, "a", "22", 2, 60, bob), 0);
	assert_int_equal(record_database_commit(database), 0);
	record_database_rollback(database);
	assert_int_equal(record_database_totals(database).records, 1);
	assert_int_equal(record_database_totals(database).octets, 2);
}

static int count_certificates(struct record_database *database) {
	int64_t number = 0;
	int count = 0, found;

	do {
		uint8_t der[CERTIFICATE_SIZE_MAX];
		struct writer w = writer_fixed(der, sizeof(der));
		found = record_certificate_next(database, number, &number, &w);
		assert_true(found >= 0);
		count += found;
	} while (found > 0);
	return count;
}

static void test_expiry(void **state) {
	struct fixture *fixture = *state;
	uint64_t next_ms = 0;
	struct record_kind kind;
	struct id resource_id = resource(1);

	open_database(fixture);
	assert_int_equal(put(fixture->database, 1, KIND_A, "a", "1", 1, 10, alice), 0);
	assert_int_equal(put(fixture->database, 1, KIND_A, "b", "2", 1, 20, bob), 0);
	assert_int_equal(record_expire(fixture->database, NOW_MS + 9999, 100, &next_ms), 0);
	assert_int_equal(next_ms, NOW_MS + 10000);
	assert_int_equal(record_expire(fixture->database, NOW_MS + 10000, 100, &next_ms), 1);
	assert_int_equal(next_ms, NOW_MS + 20000);
	assert_string_equal(all(fixture->database, 1, KIND_A, NOW_MS).text, "b=2 ");
	assert_int_equal(count_certificates(fixture->database), 1); /* alice's went with her record */
	assert_int_equal(record_kind_get(fixture->database, &resource_id, KIND_A, &kind), 1);
	assert_int_equal(record_expire(fixture->database, NOW_MS + 20000, 100, &next_ms), 1);
	assert_true(next_ms == UINT64_MAX);
	assert_int_equal(record_kind_get(fixture->database, &resource_id, KIND_A, &kind), 0); /* the counter goes with the last */
	assert_int_equal(kind.generation, 0);
	assert_int_equal(record_database_totals(fixture->database).records, 0);
	assert_int_equal(record_database_totals(fixture->database).octets, 0);
	assert_int_equal(record_database_totals(fixture->database).resources, 0);
	assert_int_equal(count_certificates(fixture->database), 0);
}

static void test_certificates_shared(void **state) {
	struct fixture *fixture = *state;

	open_database(fixture);
	assert_int_equal(put(fixture->database, 1, KIND_A, "a", "1", 1, 60, alice), 0);
	assert_int_equal(put(fixture->database, 2, KIND_A, "a", "1", 1, 60, alice), 0);
	assert_int_equal(count_certificates(fixture->database), 1);
	assert_int_equal(put(fixture->database, 1, KIND_A, "a", "2", 2, 60, bob), 0);
	assert_int_equal(count_certificates(fixture->database), 2);
	assert_int_equal(put(fixture->database, 2, KIND_A, "a", "2", 2, 60, bob), 0);
	assert_int_equal(count_certificates(fixture->database), 1);
}

static void test_discard(void **state) {
	struct fixture *fixture = *state;
	struct id resource_id = resource(1);
	char key[16];

	open_database(fixture);
	for (int i = 0; i < 600; i++) { /* more than one batch */
		snprintf(key, sizeof(key), "%d", i);
		assert_int_equal(put(fixture->database, 1, KIND_A, key, "x", 1, 60, alice), 0);
	}
	assert_int_equal(put(fixture->database, 1, KIND_B, "", "y", 1, 60, alice), 0);
	assert_int_equal(record_discard(fixture->database, &resource_id, KIND_A), 0);
	assert_int_equal(record_database_totals(fixture->database).records, 1);
	assert_int_equal(record_database_totals(fixture->database).resources, 1);
	assert_string_equal(all(fixture->database, 1, KIND_B, NOW_MS).text, "=y ");
}

static void test_closest(void **state) { /* B-7.4.4-02 */
	struct fixture *fixture = *state;
	struct id from = resource(0x20), found = ID_NONE, expected;

	open_database(fixture);
	struct record_database *database = fixture->database;
	assert_int_equal(record_closest(database, KIND_A, &from, NOW_MS, &found), 0);
	assert_int_equal(put(database, 0x10, KIND_A, "a", "1", 1, 60, alice), 0);
	assert_int_equal(put(database, 0x30, KIND_A, "a", NULL, 1, 60, alice), 0); /* a tombstone is nothing to find */
	assert_int_equal(put(database, 0x40, KIND_A, "a", "1", 1, 60, alice), 0);
	assert_int_equal(put(database, 0x28, KIND_B, "a", "1", 1, 60, alice), 0);
	assert_int_equal(record_closest(database, KIND_A, &from, NOW_MS, &found), 1);
	expected = resource(0x40);
	assert_true(id_equal(&found, &expected));
	from = id_add_small(&expected, 1);
	assert_int_equal(record_closest(database, KIND_A, &from, NOW_MS, &found), 1); /* on around the ring */
	expected = resource(0x10);
	assert_true(id_equal(&found, &expected));
	assert_int_equal(record_closest(database, KIND_A, &expected, NOW_MS, &found), 1); /* the point itself counts */
	assert_true(id_equal(&found, &expected));
	assert_int_equal(record_closest(database, KIND_A, &from, NOW_MS + 60000, &found), 0);
}

static void test_kinds_walk(void **state) {
	struct fixture *fixture = *state;
	struct record_kind page[2];
	struct id cursor = {.length = 16};

	open_database(fixture);
	assert_int_equal(put(fixture->database, 2, KIND_A, "a", "1", 1, 60, alice), 0);
	assert_int_equal(put(fixture->database, 1, KIND_B, "a", "1", 1, 60, alice), 0);
	assert_int_equal(put(fixture->database, 1, KIND_A, "a", "1", 1, 60, alice), 0);
	assert_int_equal(record_kinds(fixture->database, &cursor, 0, page, 2), 2);
	assert_int_equal(page[0].resource_id.octets[0], 1);
	assert_int_equal(page[0].kind, KIND_A);
	assert_int_equal(page[1].kind, KIND_B);
	assert_int_equal(record_kinds(fixture->database, &page[1].resource_id, page[1].kind, page, 2), 1);
	assert_int_equal(page[0].resource_id.octets[0], 2);

	struct id resource_id = resource(2);
	assert_int_equal(record_kind_own(fixture->database, &resource_id, KIND_A, 9, true), 0); /* another generation */
	assert_int_equal(record_kind_own(fixture->database, &resource_id, KIND_A, 1, true), 1);
	struct record_kind kind;
	assert_int_equal(record_kind_get(fixture->database, &resource_id, KIND_A, &kind), 1);
	assert_true(kind.owned);
}

static void test_lifetime(void **state) {
	(void)state;
	assert_int_equal(record_lifetime_left(1000, 60, 1000), 60);
	assert_int_equal(record_lifetime_left(1000, 60, 1999), 60);
	assert_int_equal(record_lifetime_left(1000, 60, 31000), 30); /* B-7.4.1-13 */
	assert_int_equal(record_lifetime_left(1000, 60, 61000), 0);
	assert_int_equal(record_lifetime_left(1000, 60, UINT64_MAX), 0);
	assert_int_equal(record_lifetime_left(100000, 60, 1000), 60); /* the clock went back: never more than the lifetime */
}

static void test_rebase(void **state) {
	struct fixture *fixture = *state;
	uint64_t next_ms = 0;

	open_database(fixture);
	assert_int_equal(put(fixture->database, 1, KIND_A, "a", "1", 1, 60, alice), 0);
	assert_int_equal(record_rebase(fixture->database, NOW_MS - 1000000), 0); /* came while the clock was ahead */
	assert_int_equal(record_expire(fixture->database, NOW_MS - 1000000, 10, &next_ms), 0);
	assert_int_equal(next_ms, NOW_MS - 1000000 + 60000);
	assert_int_equal(record_rebase(fixture->database, NOW_MS), 0); /* and the past stays as it is */
	assert_int_equal(record_expire(fixture->database, NOW_MS - 1000000, 10, &next_ms), 0);
	assert_int_equal(next_ms, NOW_MS - 1000000 + 60000);
}

static void test_memory(void **state) {
	char reason[256];
	struct record_database *database = NULL;

	(void)state;
	assert_int_equal(record_database_open(NULL, &database, reason, sizeof(reason)), 0);
	assert_int_equal(put(database, 1, KIND_A, "a", "1", 1, 60, alice), 0);
	assert_string_equal(all(database, 1, KIND_A, NOW_MS).text, "a=1 ");
	record_database_close(database);
}

static void test_limits(void **state) { /* STORE_RECORDS_MAX, STORE_OCTETS_MAX */
	struct fixture *fixture = *state;

	open_database(fixture);
	struct record_database *database = fixture->database;
	assert_int_equal(put(database, 1, KIND_A, "a", "1", 1, 60, alice), 0);
	database->totals.records = STORE_RECORDS_MAX;
	assert_int_equal(put(database, 1, KIND_A, "b", "2", 1, 60, alice), -EDQUOT);
	assert_int_equal(put(database, 1, KIND_A, "a", "2", 2, 60, alice), 0); /* no more than before */
	database->totals.records = 1;
	database->totals.octets = STORE_OCTETS_MAX;
	assert_int_equal(put(database, 1, KIND_A, "b", "2", 1, 60, alice), -EDQUOT);
	assert_int_equal(put(database, 1, KIND_A, "a", "33", 3, 60, alice), -EDQUOT);
	assert_int_equal(put(database, 1, KIND_A, "a", "3", 3, 60, alice), 0);
	assert_string_equal(all(database, 1, KIND_A, NOW_MS).text, "a=3 ");
}

/* ---- the two implementations behave alike ---- */

enum { PLACES = 4, KEYS = 3, ROUNDS = 4000 };

struct pair {
	struct record_database *databases[2];
	uint64_t random, now_ms;
};

static unsigned draw(struct pair *pair, unsigned bound) {
	pair->random = pair->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(pair->random >> 33) % bound;
}

/* Everything that can be read, as text. */
static void describe(struct record_database *database, uint64_t now_ms, char *out, size_t size) {
	struct record_totals totals = record_database_totals(database);
	struct record_kind kinds[2 * PLACES];
	struct id cursor = {.length = 16};
	size_t length = (size_t)snprintf(out, size, "%d %llu/%llu/%llu certificates %d: ", record_database_in_transaction(database),
					 (unsigned long long)totals.records, (unsigned long long)totals.octets,
					 (unsigned long long)totals.resources, count_certificates(database));
	int count = record_kinds(database, &cursor, 0, kinds, ARRAY_LENGTH(kinds));

	assert_true(count >= 0);
	for (int i = 0; i < count; i++) {
		struct record_counts counts = {0};
		struct id closest = ID_NONE;
		uint8_t place = kinds[i].resource_id.octets[0];
		struct seen seen = all(database, place, kinds[i].kind, now_ms);
		assert_int_equal(record_count(database, &kinds[i].resource_id, kinds[i].kind, now_ms, &counts), 0);
		int found = record_closest(database, kinds[i].kind, &kinds[i].resource_id, now_ms, &closest);
		length += (size_t)snprintf(out + length, size - length, "[%u %x %llu%s: %s %u+%u %d %u, next %d %u] ", place,
					   kinds[i].kind, (unsigned long long)kinds[i].generation, kinds[i].owned ? " owned" : "",
					   seen.text, counts.values, counts.tombstones, counts.any, counts.last_index, found,
					   closest.octets[0]);
		assert_true(length < size);
	}
}

/* One random operation on both; its result is the same. */
static void random_step(struct pair *pair) {
	static const char *const keys[KEYS] = {"", "a", "key"};
	static const char *const values[] = {NULL, "", "1", "longer than that"};
	uint8_t place = (uint8_t)(1 + draw(pair, PLACES));
	uint32_t kind = draw(pair, 2) ? KIND_A : KIND_B, lifetime_s = 1 + draw(pair, 600);
	const char *key = keys[draw(pair, KEYS)], *value = values[draw(pair, ARRAY_LENGTH(values))];
	const struct credential *signer = draw(pair, 2) ? alice : bob;
	unsigned operation = draw(pair, 24), number = draw(pair, 4), jump_ms = draw(pair, 20000);
	struct id resource_id = resource(place);
	struct octets first = octets_of_string("a"), last = octets_of_string("b");
	int results[2];
	uint64_t next_ms[2] = {0, 0};
	struct seen seen[2] = {0};

	for (int i = 0; i < 2; i++) {
		struct record_database *database = pair->databases[i];
		results[i] = 0;
		if (operation == 0)
			results[i] = record_database_begin(database);
		else if (operation == 1)
			results[i] = record_database_commit(database);
		else if (operation == 2)
			record_database_rollback(database);
		else if (operation == 3 && record_database_in_transaction(database) && record_database_savepoint(database) == 0)
			for (unsigned k = 0; k <= number; k++) {
				results[i] = results[i] ? results[i]
							: put(database, (uint8_t)(place + k % 2), kind, keys[k % KEYS], value, k,
							      lifetime_s, k % 2 ? alice : bob);
				if (k == number && jump_ms % 2)
					record_database_undo(database);
				else if (k == number)
					results[i] = record_database_release(database);
			}
		else if (operation == 4)
			results[i] = record_expire(database, pair->now_ms + jump_ms, 1 + number, &next_ms[i]);
		else if (operation == 5 && number == 0)
			results[i] = record_discard(database, &resource_id, kind);
		else if (operation == 6)
			results[i] = record_kind_own(database, &resource_id, kind, number, jump_ms % 2);
		else if (operation == 7 && number == 0)
			results[i] = record_rebase(database, pair->now_ms - 1000 * (uint64_t)jump_ms);
		else if (operation == 8 && number == 0)
			results[i] = record_discard_signed(database, 1 + jump_ms % 2);
		else if (operation == 9)
			results[i] = record_visit(database, &resource_id, kind, &first, &last, pair->now_ms, see, &seen[i]);
		else
			results[i] = put(database, place, kind, key, value, pair->now_ms, lifetime_s, signer);
	}
	assert_int_equal(results[0], results[1]);
	assert_true(next_ms[0] == next_ms[1]);
	assert_string_equal(seen[0].text, seen[1].text);
}

static void test_alike(void **state) {
	static char texts[2][8192];
	struct pair pair = {.random = 20, .now_ms = NOW_MS};
	char reason[256];

	(void)state;
	assert_int_equal(record_database_open(NULL, &pair.databases[0], reason, sizeof(reason)), 0);
	assert_int_equal(record_database_open_memory(&pair.databases[1]), 0);
	assert_int_equal(record_database_limit_pages(pair.databases[1], 10), -ENOTSUP);
	for (unsigned i = 0; i < ROUNDS; i++) {
		random_step(&pair);
		for (int k = 0; k < 2; k++)
			describe(pair.databases[k], pair.now_ms, texts[k], sizeof(texts[k]));
		if (strcmp(texts[0], texts[1]) != 0)
			fail_msg("step %u: SQLite has %s, memory has %s", i, texts[0], texts[1]);
	}
	record_database_close(pair.databases[0]);
	record_database_close(pair.databases[1]); /* perhaps inside a transaction: nothing leaks */
}

/* ---- files that cannot be used ---- */

static void fill(struct fixture *fixture) {
	char key[16];

	open_database(fixture);
	assert_int_equal(record_database_begin(fixture->database), 0);
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "%d", i);
		assert_int_equal(put(fixture->database, (uint8_t)i, KIND_A, key, "some value that takes room", 1, 60, alice), 0);
	}
	assert_int_equal(record_database_commit(fixture->database), 0);
	close_database(fixture);
}

static size_t read_file(const char *path, uint8_t *out, size_t max) {
	int fd = open(path, O_RDONLY);
	ssize_t length = fd < 0 ? 0 : read(fd, out, max);

	if (fd >= 0)
		close(fd);
	return length < 0 ? 0 : (size_t)length;
}

static void write_file(const char *path, const uint8_t *data, size_t length) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, data, length), length);
	close(fd);
}

/* Opening fails with this errno, a sentence that contains `text`, and leaves the file as it was. */
static void refuse(struct fixture *fixture, int expected, const char *text) {
	static uint8_t before[1 << 20], after[1 << 20];
	size_t length = read_file(fixture->path, before, sizeof(before));
	char reason[256] = "";
	int error = fixture->memory ? record_database_open_memory(&fixture->database)
				    : record_database_open(fixture->path, &fixture->database, reason, sizeof(reason));

	assert_null(fixture->database);
	if (error != expected || !strstr(reason, text))
		fail_msg("got %d \"%s\", expected %d \"%s\"", error, reason, expected, text);
	assert_null(strchr(reason, '\n'));
	assert_int_equal(read_file(fixture->path, after, sizeof(after)), length);
	assert_memory_equal(before, after, length);
}

static void test_corrupt(void **state) {
	struct fixture *fixture = *state;
	static uint8_t good[1 << 20], bad[1 << 20];

	fill(fixture);
	size_t length = read_file(fixture->path, good, sizeof(good)), refused = 0;
	assert_true(length > 8192 && length < sizeof(good));

	memcpy(bad, good, length);
	memset(bad, 'x', 100); /* the header */
	write_file(fixture->path, bad, length);
	refuse(fixture, -EUCLEAN, "move it away");

	/* Page by page: whatever SQLite's check finds is refused, nothing crashes, and a page that is found bad is never used. */
	for (size_t page = 1; page < length / 4096; page++) {
		char reason[256] = "";
		memcpy(bad, good, length);
		memset(bad + page * 4096, 0xa5, 64);
		write_file(fixture->path, bad, length);
		int error = record_database_open(fixture->path, &fixture->database, reason, sizeof(reason));
		if (error < 0) {
			assert_int_equal(error, -EUCLEAN);
			refused++;
		}
		close_database(fixture);
	}
	assert_true(refused > 5);

	write_file(fixture->path, good, length);
	open_database(fixture);
	assert_int_equal(record_database_totals(fixture->database).records, 300);
}

static void test_truncated(void **state) {
	struct fixture *fixture = *state;
	static uint8_t good[1 << 20];

	fill(fixture);
	size_t length = read_file(fixture->path, good, sizeof(good));
	write_file(fixture->path, good, length / 2);
	refuse(fixture, -EUCLEAN, "move it away");
	write_file(fixture->path, good, 50);
	refuse(fixture, -EUCLEAN, "move it away");
}

static void test_garbage(void **state) {
	struct fixture *fixture = *state;
	uint8_t garbage[5000];

	memset(garbage, 'g', sizeof(garbage));
	write_file(fixture->path, garbage, sizeof(garbage));
	refuse(fixture, -EUCLEAN, "move it away");
}

static void run_sql(const char *path, const char *sql) {
	sqlite3 *sqlite = NULL;

	assert_int_equal(sqlite3_open(path, &sqlite), SQLITE_OK);
	assert_int_equal(sqlite3_exec(sqlite, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(sqlite);
}

static void test_foreign(void **state) {
	struct fixture *fixture = *state;

	run_sql(fixture->path, "CREATE TABLE something (a)");
	refuse(fixture, -EUCLEAN, "another program's database");
}

static void test_newer_schema(void **state) {
	struct fixture *fixture = *state;

	fill(fixture);
	run_sql(fixture->path, "PRAGMA user_version = 2");
	refuse(fixture, -ENOTSUP, "newer version");
}

static void test_in_use(void **state) {
	struct fixture *fixture = *state, second = *fixture;

	fill(fixture);
	open_database(fixture);
	second.database = NULL;
	refuse(&second, -EBUSY, "in use");
}

static void test_no_directory(void **state) {
	struct record_database *database = NULL;
	struct fixture *fixture = *state;
	char reason[256] = "";

	assert_int_equal(record_database_open("/nonexistent/records.db", &database, reason, sizeof(reason)), -ENOENT);
	assert_non_null(strstr(reason, "cannot be written"));
	assert_int_equal(record_database_open(fixture->directory, &database, reason, sizeof(reason)), -EINVAL);
	assert_non_null(strstr(reason, "not a regular file"));
	assert_null(database);
}

/* Root may write everywhere, so an unprivileged child tries. Its exit status is what opening returned. */
static int open_unprivileged(struct fixture *fixture) {
	pid_t child = fork();
	int status = 0;

	assert_true(child >= 0);
	if (child == 0) {
		struct record_database *database = NULL;
		char reason[256] = "";
		if (geteuid() == 0 && seteuid(65534) < 0)
			_exit(1);
		int error = record_database_open(fixture->path, &database, reason, sizeof(reason));
		_exit(error < 0 && strstr(reason, "cannot be written") && !database ? -error : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_read_only(void **state) {
	struct fixture *fixture = *state;

	chmod(fixture->directory, 0555);
	assert_int_not_equal(open_unprivileged(fixture), 0); /* the directory: no file can be made */
	chmod(fixture->directory, 0755);
	fill(fixture);
	chmod(fixture->path, 0444);
	chmod(fixture->directory, 0555);
	assert_int_equal(open_unprivileged(fixture), EROFS); /* the file */
	chmod(fixture->directory, 0700);
}

/* ---- disk full ---- */

static void test_full(void **state) {
	struct fixture *fixture = *state;
	char value[1000];
	int error = 0;
	unsigned stored = 0;

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	open_database(fixture);
	struct record_database *database = fixture->database;
	assert_int_equal(put(database, 1, KIND_A, "a", "before", 1, 60, alice), 0);
	assert_int_equal(record_database_limit_pages(database, 40), 0);
	assert_int_equal(record_database_begin(database), 0);
	for (unsigned i = 0; i < 1000 && error == 0; i++, stored++) {
		char key[16];
		snprintf(key, sizeof(key), "%u", i);
		error = put(database, 2, KIND_A, key, value, 1, 60, alice);
	}
	assert_int_equal(error, -ENOSPC);
	assert_true(stored > 10);
	assert_int_not_equal(record_database_reason(database)[0], '\0');
	record_database_rollback(database);
	assert_int_equal(record_database_totals(database).records, 1);
	assert_string_equal(all(database, 1, KIND_A, NOW_MS).text, "a=before ");
	assert_string_equal(all(database, 2, KIND_A, NOW_MS).text, "");

	assert_int_equal(record_database_limit_pages(database, 10000), 0); /* room again */
	assert_int_equal(put(database, 2, KIND_A, "a", value, 1, 60, alice), 0);
	close_database(fixture);
	open_database(fixture);
	assert_int_equal(record_database_totals(fixture->database).records, 2);
}

/* A write beyond the file size limit fails like a full file system. */
static void test_file_size(void **state) {
	struct fixture *fixture = *state;
	struct rlimit before, limit;
	char value[2000];

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	open_database(fixture);
	struct record_database *database = fixture->database;
	assert_int_equal(put(database, 1, KIND_A, "a", "before", 1, 60, alice), 0);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 200000;
	setrlimit(RLIMIT_FSIZE, &limit);
	assert_int_equal(record_database_begin(database), 0);
	int error = 0;
	for (unsigned i = 0; i < 200 && error == 0; i++) {
		char key[16];
		snprintf(key, sizeof(key), "%u", i);
		error = put(database, 2, KIND_A, key, value, 1, 60, alice);
	}
	if (error == 0)
		error = record_database_commit(database);
	assert_true(error < 0);
	record_database_rollback(database);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(record_database_totals(database).records, 1);
	assert_string_equal(all(database, 2, KIND_A, NOW_MS).text, "");
	assert_int_equal(put(database, 2, KIND_A, "b", "after", 1, 60, alice), 0);
	close_database(fixture);
	open_database(fixture);
	assert_int_equal(record_database_totals(fixture->database).records, 2);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
#define IN_MEMORY(function) cmocka_unit_test_setup_teardown(function, setup_memory, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_values),
		TEST(test_head),
		TEST(test_restart),
		TEST(test_rollback),
		TEST(test_expiry),
		TEST(test_certificates_shared),
		TEST(test_discard),
		TEST(test_closest),
		TEST(test_kinds_walk),
		TEST(test_lifetime),
		TEST(test_rebase),
		TEST(test_memory),
		TEST(test_limits),
		TEST(test_corrupt),
		TEST(test_truncated),
		TEST(test_garbage),
		TEST(test_foreign),
		TEST(test_newer_schema),
		TEST(test_in_use),
		TEST(test_no_directory),
		TEST(test_read_only),
		TEST(test_full),
		TEST(test_file_size),
		TEST(test_alike),
		IN_MEMORY(test_values),
		IN_MEMORY(test_head),
		IN_MEMORY(test_rollback),
		IN_MEMORY(test_expiry),
		IN_MEMORY(test_certificates_shared),
		IN_MEMORY(test_discard),
		IN_MEMORY(test_closest),
		IN_MEMORY(test_kinds_walk),
		IN_MEMORY(test_rebase),
		IN_MEMORY(test_limits),
	};
	return cmocka_run_group_tests_name("record database", tests, group_setup, group_teardown);
}
