/* SPDX-License-Identifier: BSD-2-Clause */
/* The users of a site: which pairs are taken, and which Node-ID serves which contact (RFC 7904 3.3). S-2-01 S-7-01 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/runtime.h"
#include "node/users.h"
#include "support/support_identity.h"

static struct support_overlay overlay, foreign;
static char directory[] = "/tmp/test_users_XXXXXX";

static int setup(void **state) {
	(void)state;
	log_level = -1; /* what is left out is logged, and that is expected */
	if (!mkdtemp(directory) || support_overlay_new("example.org", &overlay) < 0 ||
	    support_overlay_new("example.org", &foreign) < 0)
		return -1;
	return 0;
}

static void clear(void) {
	DIR *dir = opendir(directory);
	char path[512];

	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));) {
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		if (entry->d_name[0] != '.' && unlink(path) < 0)
			rmdir(path);
	}
	closedir(dir);
}

static int teardown(void **state) {
	(void)state;
	clear();
	support_overlay_release(&overlay);
	support_overlay_release(&foreign);
	return rmdir(directory);
}

static void save(const struct credential *credential, const char *stem) {
	char path[128];

	assert_non_null(credential);
	snprintf(path, sizeof(path), "%s/%s.crt", directory, stem);
	assert_int_equal(certificate_save_pem(credential->certificate, path), 0);
	snprintf(path, sizeof(path), "%s/%s.key", directory, stem);
	assert_int_equal(key_save_pem(credential->key, path), 0);
}

/* A pair with `count` Node-IDs: first, first + 1, ... in all octets. */
static void provision(struct support_overlay *from, const char *name, uint8_t first, size_t count, const char *stem) {
	struct id node_ids[CERTIFICATE_NODE_IDS_MAX];

	for (size_t i = 0; i < count; i++)
		node_ids[i] = support_node_id((uint8_t)(first + i));
	_cleanup_(credential_unrefp) struct credential *credential = support_credential(from, name, node_ids, count);
	save(credential, stem);
}

static struct users *load_at(uint64_t now_ms) {
	struct users *users = NULL;

	assert_int_equal(users_load(directory, overlay.trust, "example.org", ID_LENGTH_CHORD, now_ms, &users), 0);
	return users;
}

static struct users *load(void) {
	return load_at(SUPPORT_NOW_MS);
}

static void test_missing_directory(void **state) {
	struct users *users = NULL;

	(void)state;
	assert_int_equal(
		users_load("/tmp/no-such-directory", overlay.trust, "example.org", ID_LENGTH_CHORD, SUPPORT_NOW_MS, &users), 0);
	assert_int_equal(users_count(users), 0);
	assert_null(users_find(users, "alice@example.org"));
	assert_null(users_next(users, NULL));
	assert_false(users_serve_domain(users, "example.org"));
	assert_null(users_free(users));
	assert_null(users_free(NULL));
}

static void test_load(void **state) {
	(void)state;
	clear();
	provision(&overlay, "alice@example.org", 0x10, 4, "alice");
	provision(&overlay, "bob@example.net", 0x20, 1, "anything");
	struct users *users = load();
	assert_int_equal(users_count(users), 2);
	struct user *alice = users_find(users, "alice@example.org"), *bob = users_find(users, "bob@example.net");
	assert_non_null(alice);
	assert_non_null(bob);
	assert_string_equal(alice->name, "alice@example.org");
	assert_int_equal(alice->count, 4);
	for (size_t i = 0; i < 4; i++) {
		struct id expected = support_node_id((uint8_t)(0x10 + i));
		bool found = false;
		for (size_t j = 0; j < 4; j++)
			found = found || id_equal(&alice->credentials[j]->node_id, &expected);
		assert_true(found);
	}
	assert_int_equal(bob->count, 1);
	assert_null(users_find(users, "Alice@example.org")); /* the user part is case sensitive */
	assert_null(users_find(users, "carol@example.org"));
	assert_true(users_serve_domain(users, "example.org"));
	assert_true(users_serve_domain(users, "Example.NET"));
	assert_false(users_serve_domain(users, "example.com"));
	size_t count = 0;
	for (struct user *user = users_next(users, NULL); user; user = users_next(users, user)) {
		assert_true(user == alice || user == bob);
		count++;
	}
	assert_int_equal(count, 2);
	users_free(users);
}

/* One bad pair does not stop the site. */
static void test_left_out(void **state) {
	char path[128];

	(void)state;
	clear();
	provision(&overlay, "alice@example.org", 0x10, 1, "alice");
	provision(&foreign, "mallory@example.org", 0x30, 1, "foreign");
	provision(&overlay, "carol@example.org", 0x40, 1, "no-key");
	snprintf(path, sizeof(path), "%s/no-key.key", directory);
	unlink(path);
	provision(&overlay, "dave@example.org", 0x50, 1, "open-key");
	snprintf(path, sizeof(path), "%s/open-key.key", directory);
	chmod(path, 0640);
	provision(&overlay, "Erin@Example.org", 0x60, 1, "upper-case-domain");
	provision(&overlay, "frank%20x@example.org", 0x61, 1, "escaped");
	snprintf(path, sizeof(path), "%s/empty.crt", directory);
	fclose(fopen(path, "w"));
	snprintf(path, sizeof(path), "%s/directory.crt", directory);
	mkdir(path, 0700);
	provision(&overlay, "grace@example.org", 0x70, 1, "not-a-pair");
	char other[128];
	snprintf(path, sizeof(path), "%s/not-a-pair.crt", directory);
	snprintf(other, sizeof(other), "%s/not-a-pair.crt.bak", directory);
	rename(path, other);
	struct users *users = load();
	assert_int_equal(users_count(users), 1);
	assert_non_null(users_find(users, "alice@example.org"));
	users_free(users);
}

static void test_expired(void **state) {
	(void)state;
	clear();
	provision(&overlay, "alice@example.org", 0x10, 1, "alice");
	struct users *users = load_at(SUPPORT_NOT_AFTER_MS + 1000);
	assert_int_equal(users_count(users), 0);
	users_free(users);
}

/* A renewed certificate beside the old one, and one more for further phones. */
static void test_several_pairs(void **state) {
	(void)state;
	clear();
	provision(&overlay, "alice@example.org", 0x10, 2, "a-new");
	provision(&overlay, "alice@example.org", 0x10, 2, "b-old");
	provision(&overlay, "alice@example.org", 0x20, 3, "c-more");
	struct users *users = load();
	assert_int_equal(users_count(users), 1);
	struct user *alice = users_find(users, "alice@example.org");
	assert_int_equal(alice->count, 5);
	for (size_t i = 0; i < 5; i++)
		for (size_t j = 0; j < i; j++)
			assert_false(id_equal(&alice->credentials[i]->node_id, &alice->credentials[j]->node_id));
	users_free(users);
}

static void test_at_most_16_contacts(void **state) {
	(void)state;
	clear();
	provision(&overlay, "alice@example.org", 0x10, 16, "a");
	provision(&overlay, "alice@example.org", 0x40, 2, "b");
	struct users *users = load();
	assert_int_equal(users_find(users, "alice@example.org")->count, USER_CONTACTS_MAX);
	users_free(users);
}

static void test_contacts(void **state) {
	const char *const contacts[] = {"sip:alice@192.0.2.1:5070", "sip:alice@192.0.2.2", "sip:alice@192.0.2.3"};
	struct credential *served[3];
	const uint64_t hour_us = 3600 * USEC_PER_SEC;

	(void)state;
	clear();
	provision(&overlay, "alice@example.org", 0x10, 3, "alice");
	struct users *users = load();
	struct user *alice = users_find(users, "alice@example.org");
	for (size_t i = 0; i < 3; i++) {
		served[i] = user_credential_for(alice, contacts[i], 0);
		assert_non_null(served[i]);
		assert_ptr_equal(user_credential_for(alice, contacts[i], 0), served[i]); /* asking takes nothing */
		user_contact_claim(alice, served[i], contacts[i], hour_us);
		for (size_t j = 0; j < i; j++)
			assert_ptr_not_equal(served[i], served[j]);
	}
	assert_null(user_credential_for(alice, "sip:alice@192.0.2.4", hour_us - 1));
	for (size_t i = 0; i < 3; i++)
		assert_ptr_equal(user_credential_for(alice, contacts[i], hour_us - 1), served[i]);

	user_contact_release(alice, "sip:alice@192.0.2.99");
	assert_null(user_credential_for(alice, "sip:alice@192.0.2.4", 0));
	user_contact_release(alice, contacts[1]);
	assert_ptr_equal(user_credential_for(alice, "sip:alice@192.0.2.4", 0), served[1]);
	users_free(users);
}

/* Phones that vanish and come back at other addresses do not use up what there is. */
static void test_contacts_expire(void **state) {
	char contact[64];

	(void)state;
	clear();
	provision(&overlay, "alice@example.org", 0x10, 2, "alice");
	struct users *users = load();
	struct user *alice = users_find(users, "alice@example.org");
	for (unsigned i = 0; i < 20; i++) {
		uint64_t now_us = i * 100 * USEC_PER_SEC;
		snprintf(contact, sizeof(contact), "sip:alice@192.0.2.1:%u", 5060 + i);
		struct credential *credential = user_credential_for(alice, contact, now_us);
		assert_non_null(credential);
		user_contact_claim(alice, credential, contact, now_us + 150 * USEC_PER_SEC);
	}
	/* Refreshed in time it stays. */
	snprintf(contact, sizeof(contact), "sip:alice@192.0.2.1:%u", 5060 + 19);
	struct credential *last = user_credential_for(alice, contact, 1950 * USEC_PER_SEC);
	user_contact_claim(alice, last, contact, 5000 * USEC_PER_SEC);
	assert_ptr_not_equal(user_credential_for(alice, "sip:alice@198.51.100.1", 3000 * USEC_PER_SEC), last);
	/* Also when it comes too late, it gets what it had unless another took it. */
	assert_ptr_equal(user_credential_for(alice, contact, 6000 * USEC_PER_SEC), last);
	users_free(users);
}

static struct id node_id_for(struct users *users, const char *contact) {
	struct user *alice = users_find(users, "alice@example.org");

	assert_non_null(alice);
	struct credential *credential = user_credential_for(alice, contact, 0);
	assert_non_null(credential);
	return credential->node_id;
}

/* After a restart the same contact gets the same Node-ID, so that its record is replaced and not doubled. */
static void test_same_after_restart(void **state) {
	(void)state;
	clear();
	provision(&overlay, "alice@example.org", 0x10, 8, "alice");
	for (unsigned i = 0; i < 20; i++) {
		char contact[64];
		snprintf(contact, sizeof(contact), "sip:alice@192.0.2.%u:5060;transport=tcp", i);
		struct users *before = load(), *after = load();
		struct id first = node_id_for(before, contact), second = node_id_for(after, contact);
		assert_true(id_equal(&first, &second));
		users_free(before);
		users_free(after);
	}
}

/* A renewed certificate signs from now on, and its Node-IDs keep their contacts; an older one changes nothing. */
static void test_put(void **state) {
	struct id node_ids[3];
	char stem[128], reason[USERS_REASON_SIZE] = "";
	struct user *user = NULL;

	(void)state;
	clear();
	for (size_t i = 0; i < 3; i++)
		node_ids[i] = support_node_id((uint8_t)(0x50 + i));
	_cleanup_(credential_unrefp) struct credential *former = support_credential_of_type(
		&overlay, KEY_ECDSA_P256, "carol@example.org", node_ids, 2, SUPPORT_NOW_MS - 1000, SUPPORT_NOW_MS + 60000);
	_cleanup_(credential_unrefp) struct credential *renewed = support_credential_of_type(
		&overlay, KEY_ECDSA_P256, "carol@example.org", node_ids, 3, SUPPORT_NOW_MS - 500, SUPPORT_NOW_MS + 120000);
	save(former, "carol");
	struct users *users = load();
	struct user *carol = users_find(users, "carol@example.org");
	assert_non_null(carol);
	assert_int_equal(carol->not_after_ms, SUPPORT_NOW_MS + 60000);
	struct id served = user_credential_for(carol, "sip:carol@192.0.2.7", 1)->node_id;
	user_contact_claim(carol, user_credential_for(carol, "sip:carol@192.0.2.7", 1), "sip:carol@192.0.2.7", 1000);
	save(renewed, "carol");
	snprintf(stem, sizeof(stem), "%s/carol", directory);
	assert_int_equal(users_put(users, stem, overlay.trust, "example.org", ID_LENGTH_CHORD, SUPPORT_NOW_MS, &user, reason), 0);
	assert_ptr_equal(user, carol);
	assert_int_equal(carol->count, 3);
	for (size_t i = 0; i < carol->count; i++)
		assert_memory_equal(carol->credentials[i]->certificate->sha256, renewed->certificate->sha256, 32);
	assert_true(id_equal(&user_credential_for(carol, "sip:carol@192.0.2.7", 2)->node_id, &served));
	assert_int_equal(carol->not_after_ms, SUPPORT_NOW_MS + 120000);
	assert_string_equal(carol->stem, stem);
	save(former, "carol");
	assert_int_equal(users_put(users, stem, overlay.trust, "example.org", ID_LENGTH_CHORD, SUPPORT_NOW_MS, &user, reason), 0);
	assert_memory_equal(carol->credentials[0]->certificate->sha256, renewed->certificate->sha256, 32);
	assert_int_equal(carol->not_after_ms, SUPPORT_NOW_MS + 120000);
	/* Ended, not there: nothing changes, and a sentence. */
	assert_true(users_put(users, stem, overlay.trust, "example.org", ID_LENGTH_CHORD, SUPPORT_NOW_MS + 60001, &user, reason) <
		    0);
	assert_true(reason[0]);
	snprintf(stem, sizeof(stem), "%s/nobody", directory);
	assert_true(users_put(users, stem, overlay.trust, "example.org", ID_LENGTH_CHORD, SUPPORT_NOW_MS, &user, reason) < 0);
	assert_int_equal(users_count(users), 1);
	users_free(users);
}

/* Of many pairs, those called after their user are read when they are needed; of the others one cannot know whose they are. */
static size_t awake_count;

static void count_awake(void *userdata, const struct user *user) {
	assert_ptr_equal(userdata, &awake_count);
	assert_true(user->count > 0);
	awake_count++;
}

static void test_many(void **state) {
	char stem[128], reason[USERS_REASON_SIZE];
	struct users *users = NULL;
	struct user *put = NULL;

	(void)state;
	clear();
	provision(&overlay, "alice@example.org", 0x10, 2, "alice@example.org");
	provision(&overlay, "bob@example.net", 0x20, 1, "bob@example.net");
	provision(&overlay, "carol@example.com", 0x30, 1, "phone-3");
	provision(&foreign, "dave@example.org", 0x40, 1, "dave@example.org");
	provision(&overlay, "erin@example.org", 0x50, 1, "frank@example.org");
	assert_int_equal(users_load_some(directory, 4, overlay.trust, "example.org", ID_LENGTH_CHORD, SUPPORT_NOW_MS, &users), 0);
	users_on_wake(users, count_awake, &awake_count);
	assert_int_equal(users_count(users), 5);
	assert_true(users_serve_domain(users, "example.org"));
	assert_true(users_serve_domain(users, "Example.NET"));
	assert_true(users_serve_domain(users, "example.com"));
	assert_false(users_serve_domain(users, "example.edu"));
	assert_int_equal(users_find(users, "carol@example.com")->count, 1);
	struct user *alice = users_find(users, "alice@example.org");
	assert_non_null(alice);
	assert_int_equal(alice->count, 0);
	assert_null(user_credential_for(alice, "sip:alice@192.0.2.6", 1));
	assert_int_equal(users_wake(users, alice, SUPPORT_NOW_MS), 0);
	assert_int_equal(alice->count, 2);
	assert_non_null(user_credential_for(alice, "sip:alice@192.0.2.6", 1));
	assert_int_equal(awake_count, 1);
	assert_int_equal(users_wake(users, alice, SUPPORT_NOW_MS), 0); /* nothing to do */
	assert_int_equal(awake_count, 1);
	/* what cannot be used is no user any more, and is not tried with every request */
	struct user *dave = users_find(users, "dave@example.org");
	assert_non_null(dave);
	assert_true(users_wake(users, dave, SUPPORT_NOW_MS) < 0);
	assert_null(users_find(users, "dave@example.org"));
	assert_int_equal(users_wake(users, dave, SUPPORT_NOW_MS), -EACCES);
	struct user *frank = users_find(users, "frank@example.org");
	assert_non_null(frank);
	assert_int_equal(users_wake(users, frank, SUPPORT_NOW_MS), -EINVAL);
	assert_null(users_find(users, "frank@example.org"));
	assert_int_equal(users_find(users, "erin@example.org")->count, 1); /* whose it is */
	assert_int_equal(awake_count, 2);
	/* until there is a better one */
	provision(&overlay, "dave@example.org", 0x60, 1, "dave@example.org");
	snprintf(stem, sizeof(stem), "%s/dave@example.org", directory);
	assert_int_equal(users_put(users, stem, overlay.trust, "example.org", ID_LENGTH_CHORD, SUPPORT_NOW_MS, &put, reason), 0);
	assert_ptr_equal(put, dave);
	assert_ptr_equal(users_find(users, "dave@example.org"), dave);
	users_free(users);
	clear();
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_missing_directory),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_left_out),
		cmocka_unit_test(test_expired),
		cmocka_unit_test(test_several_pairs),
		cmocka_unit_test(test_at_most_16_contacts),
		cmocka_unit_test(test_contacts),
		cmocka_unit_test(test_contacts_expire),
		cmocka_unit_test(test_same_after_restart),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests_name("node/users", tests, setup, teardown);
}
