/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an enrollment request gets, and what the ledger keeps. B-11.3-03 B-11.3-04 B-11.3-05 B-11.3-06 B-11.3-08 B-11.3-09 B-13.4-02
 */
#include "support/enroll_site.h"

#include "enroll/authority.h"
#include "enroll/csr.h"
#include "enroll/edit.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define NOW_MS UINT64_C(1767225600000) /* 2026-01-01 */

static const struct authority_policy policy = {.certificate_days = 90, .failures_max = 3, .lockout_s = 600, .per_day = 20};

struct fixture {
	struct enroll_site site;
	struct authority *authority;
	EVP_PKEY *key;
	uint8_t *csr;
	size_t csr_length;
	struct certificate *certificate; /* the last one issued */
	unsigned wait_s;		 /* of the last answer */
};

static int setup(void **state) {
	struct fixture *f = calloc(1, sizeof(*f));
	char reason[PROVISION_REASON_SIZE];

	*state = f;
	if (enroll_site_new(&f->site) < 0 || enroll_site_add_user(&f->site, "alice@example.org", 4, 4) < 0 ||
	    enroll_site_add_user(&f->site, "bob@example.org", 1, 4) < 0 ||
	    authority_open(f->site.ca_directory, &policy, &f->authority, reason) < 0 || key_generate(KEY_ECDSA_P256, &f->key) < 0)
		return -1;
	return csr_make(f->key, "alice@example.org", &f->csr, &f->csr_length);
}

static int teardown(void **state) {
	struct fixture *f = *state;

	authority_close(f->authority);
	enroll_site_release(&f->site);
	certificate_unref(f->certificate);
	EVP_PKEY_free(f->key);
	free(f->csr);
	free(f);
	return 0;
}

static const char *octets_to_name(struct octets name, char text[static USER_NAME_MAX + 1]) {
	assert_in_range(name.length, 1, USER_NAME_MAX);
	snprintf(text, USER_NAME_MAX + 1, "%.*s", (int)name.length, (const char *)name.data);
	return text;
}

/* NULL as password: a renewal. */
static enum enrollment_outcome enroll_from(struct fixture *f, const char *source, struct octets name, const char *password,
					   struct octets csr, unsigned node_ids, uint64_t now_ms) {
	struct enrollment enrollment = {.user_name = name,
					.password = password ? octets_of_string(password) : OCTETS_NONE,
					.renewal = !password,
					.csr = csr,
					.node_ids = node_ids,
					.now_ms = now_ms,
					.now_us = now_ms * 1000};
	struct enrollment_answer answer;
	char noted[USER_NAME_MAX + 1];

	assert_int_equal(address_parse(source, 0, &enrollment.source), 0);
	enum enrollment_outcome outcome = authority_enroll(f->authority, &enrollment, &answer);
	assert_non_null(answer.why);
	assert_true((outcome == ENROLLMENT_ISSUED) == (answer.der != NULL));
	assert_true((outcome == ENROLLMENT_THROTTLED) == (answer.wait_s > 0));
	f->wait_s = answer.wait_s;
	/* The ledger is not touched before: the time would tell which accounts there are. */
	assert_true(!answer.wrong_password || outcome == ENROLLMENT_FAILED_AUTHENTICATION);
	if (answer.wrong_password)
		authority_note_failure(f->authority, octets_to_name(name, noted));
	if (answer.der) {
		f->certificate = certificate_unref(f->certificate);
		assert_int_equal(certificate_from_der(OCTETS(answer.der, answer.der_length), ENROLL_SITE_NAME, ID_LENGTH_CHORD,
						      &f->certificate, NULL),
				 0);
	}
	free(answer.der);
	return outcome;
}

static enum enrollment_outcome enroll_full(struct fixture *f, struct octets name, const char *password, struct octets csr,
					   unsigned node_ids, uint64_t now_ms) {
	return enroll_from(f, "192.0.2.1", name, password, csr, node_ids, now_ms);
}

static enum enrollment_outcome enroll(struct fixture *f, const char *name, const char *password, unsigned node_ids) {
	return enroll_full(f, octets_of_string(name), password, OCTETS(f->csr, f->csr_length), node_ids, NOW_MS);
}

static void issue_and_return(void **state) {
	struct fixture *f = *state;
	struct id first[4];
	struct ledger_user user;

	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 2), ENROLLMENT_ISSUED);
	assert_int_equal(f->certificate->node_id_count, 2);
	assert_string_equal(f->certificate->user_name, "alice@example.org");
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(f->certificate->x509)), 0);
	assert_int_equal(EVP_PKEY_eq(f->certificate->key, f->key), 1);
	assert_int_equal(f->certificate->not_after_ms, NOW_MS + UINT64_C(90) * 86400000);
	assert_false(id_equal(&f->certificate->node_ids[0], &f->certificate->node_ids[1]));
	memcpy(first, f->certificate->node_ids, sizeof(first));
	/* Back again: the same ones, and new ones behind them. */
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 4), ENROLLMENT_ISSUED);
	assert_true(id_equal(&f->certificate->node_ids[0], &first[0]));
	assert_true(id_equal(&f->certificate->node_ids[1], &first[1]));
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_ISSUED);
	assert_true(id_equal(&f->certificate->node_ids[0], &first[0]));
	assert_int_equal(ledger_user_get(f->site.ledger, "alice@example.org", &user), 0);
	assert_int_equal(user.node_id_count, 4);
	assert_int_equal(user.certificate_count, 3);
	assert_int_equal(user.expires_ms, f->certificate->not_after_ms);
}

static void refuse_node_ids(void **state) {
	struct fixture *f = *state;
	struct ledger_user user;

	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 0), ENROLLMENT_NODE_IDS_NOT_AVAILABLE);
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 5), ENROLLMENT_NODE_IDS_NOT_AVAILABLE);
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 9999), ENROLLMENT_NODE_IDS_NOT_AVAILABLE);
	assert_int_equal(ledger_user_get(f->site.ledger, "alice@example.org", &user), 0);
	assert_int_equal(user.node_id_count, 0); /* nothing is left of a refused request */
}

static void refuse_strangers(void **state) {
	struct fixture *f = *state;

	assert_int_equal(enroll(f, "carol@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll(f, "", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll(f, "alice@example.org", "", 1), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll(f, "ALICE@example.org", ENROLL_SITE_PASSWORD, 1),
			 ENROLLMENT_FAILED_AUTHENTICATION); /* binary compare */
	assert_int_equal(
		enroll_full(f, OCTETS("alice@example.org\0", 18), ENROLL_SITE_PASSWORD, OCTETS(f->csr, f->csr_length), 1, NOW_MS),
		ENROLLMENT_FAILED_AUTHENTICATION);
	/* Nobody learns what is wrong with a request without the password. */
	assert_int_equal(enroll_full(f, octets_of_string("bob@example.org"), "wrong", OCTETS("junk", 4), 99, NOW_MS),
			 ENROLLMENT_FAILED_AUTHENTICATION);
}

static void close_after_wrong_passwords(void **state) {
	struct fixture *f = *state;
	struct octets name = octets_of_string("alice@example.org"), csr = OCTETS(f->csr, f->csr_length);
	char hash[PASSWORD_TEXT_SIZE];
	struct ledger_user user;

	for (int i = 0; i < 2; i++)
		assert_int_equal(enroll(f, "alice@example.org", "wrong", 1), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_ISSUED); /* starts the count anew */
	for (int i = 0; i < 3; i++)
		assert_int_equal(enroll(f, "alice@example.org", "wrong", 1), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(ledger_user_get(f->site.ledger, "alice@example.org", &user), 0);
	assert_int_equal(user.failures, 3);
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_THROTTLED);
	assert_int_equal(f->wait_s, 200); /* a third of the time for each try */
	assert_int_equal(enroll_full(f, name, ENROLL_SITE_PASSWORD, csr, 1, NOW_MS + 199999), ENROLLMENT_THROTTLED);
	assert_int_equal(enroll_full(f, name, ENROLL_SITE_PASSWORD, csr, 1, NOW_MS + 200000), ENROLLMENT_ISSUED);
	/* An operator's new password ends it. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(enroll(f, "alice@example.org", "wrong", 1), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll(f, "alice@example.org", "wrong", 1), ENROLLMENT_THROTTLED);
	assert_int_equal(password_hash(octets_of_string("another password"), PASSWORD_LOG_N_MIN, hash), 0);
	assert_int_equal(ledger_user_set_password(f->site.ledger, "alice@example.org", hash), 0);
	assert_int_equal(enroll(f, "alice@example.org", "another password", 1), ENROLLMENT_ISSUED);
}

/* Those who guess close the account to themselves, not to the site; and nobody can tell whether there is such an account. */
static void strangers_lock_nobody_out(void **state) {
	struct fixture *f = *state;
	struct octets names[] = {octets_of_string("alice@example.org"), octets_of_string("carol@example.org")};
	struct octets csr = OCTETS(f->csr, f->csr_length);
	char source[ADDRESS_TEXT_SIZE];

	assert_int_equal(enroll_from(f, "203.0.113.7", names[0], ENROLL_SITE_PASSWORD, csr, 1, NOW_MS), ENROLLMENT_ISSUED);
	assert_int_equal(enroll_from(f, "[2001:db8::7]", names[0], ENROLL_SITE_PASSWORD, csr, 1, NOW_MS), ENROLLMENT_ISSUED);
	for (unsigned account = 0; account < ARRAY_LENGTH(names); account++) {
		for (int i = 0; i < 3; i++)
			assert_int_equal(enroll_from(f, "198.51.100.1", names[account], "wrong", csr, 1, NOW_MS),
					 ENROLLMENT_FAILED_AUTHENTICATION);
		assert_int_equal(enroll_from(f, "198.51.100.1", names[account], "wrong", csr, 1, NOW_MS), ENROLLMENT_THROTTLED);
		assert_int_equal(f->wait_s, 200);
		assert_int_equal(enroll_from(f, "198.51.100.200", names[account], "wrong", csr, 1, NOW_MS),
				 ENROLLMENT_FAILED_AUTHENTICATION);
		/* Many networks together: closed to all strangers, one try at a time. */
		for (unsigned i = 4; i < 30; i++) {
			snprintf(source, sizeof(source), "198.51.100.%u", i + 10);
			assert_int_equal(enroll_from(f, source, names[account], "wrong", csr, 1, NOW_MS),
					 ENROLLMENT_FAILED_AUTHENTICATION);
		}
		assert_int_equal(enroll_from(f, "192.0.2.99", names[account], "wrong", csr, 1, NOW_MS), ENROLLMENT_THROTTLED);
		assert_int_equal(f->wait_s, 20);
	}
	assert_int_equal(enroll_from(f, "192.0.2.99", names[0], ENROLL_SITE_PASSWORD, csr, 1, NOW_MS), ENROLLMENT_THROTTLED);
	/* The site has enrolled from there before, in IPv6 from the same /64. */
	assert_int_equal(enroll_from(f, "203.0.113.7", names[0], ENROLL_SITE_PASSWORD, csr, 1, NOW_MS), ENROLLMENT_ISSUED);
	assert_int_equal(enroll_from(f, "[2001:db8::beef]", names[0], ENROLL_SITE_PASSWORD, csr, 1, NOW_MS), ENROLLMENT_ISSUED);
	assert_int_equal(enroll_from(f, "[::ffff:203.0.113.7]", names[0], ENROLL_SITE_PASSWORD, csr, 1, NOW_MS), ENROLLMENT_ISSUED);
	assert_int_equal(enroll_from(f, "192.0.2.99", names[0], ENROLL_SITE_PASSWORD, csr, 1, NOW_MS + 20000), ENROLLMENT_ISSUED);
}

/* Who has the key of a valid certificate needs no password for the next one. */
static void renew_by_certificate(void **state) {
	struct fixture *f = *state;
	struct octets alice = octets_of_string("alice@example.org"), bob = octets_of_string("bob@example.org");
	struct octets csr = OCTETS(f->csr, f->csr_length);
	_cleanup_free_ uint8_t *other = NULL, *bobs = NULL;
	size_t other_length, bobs_length;
	char name[USER_NAME_MAX + 1];
	EVP_PKEY *key;
	const uint64_t later = NOW_MS + UINT64_C(89) * 86400000, too_late = NOW_MS + UINT64_C(90) * 86400000;

	assert_int_equal(key_generate(KEY_ECDSA_P256, &key), 0);
	assert_int_equal(csr_make(key, "alice@example.org", &other, &other_length), 0);
	assert_int_equal(csr_make(f->key, "bob@example.org", &bobs, &bobs_length), 0);
	EVP_PKEY_free(key);
	assert_int_equal(enroll_full(f, alice, NULL, csr, 1, NOW_MS), ENROLLMENT_FAILED_AUTHENTICATION); /* none yet */
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 2), ENROLLMENT_ISSUED);
	struct id first = f->certificate->node_ids[0];
	/* Another key, another's account, junk, more than the certificate has. */
	assert_int_equal(enroll_full(f, alice, NULL, OCTETS(other, other_length), 1, later), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll_full(f, bob, NULL, csr, 1, later), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll_full(f, bob, NULL, OCTETS(bobs, bobs_length), 1, later), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll_full(f, alice, NULL, OCTETS(bobs, bobs_length), 1, later), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll_full(f, alice, NULL, OCTETS(csr.data, 20), 1, later), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll_full(f, octets_of_string("carol@example.org"), NULL, csr, 1, later),
			 ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll_full(f, octets_of_string("../x"), NULL, csr, 1, later), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll_full(f, alice, NULL, csr, 3, later), ENROLLMENT_NODE_IDS_NOT_AVAILABLE);
	/* Expired: the password again. Not yet: the same Node-ID. */
	assert_int_equal(enroll_full(f, alice, NULL, csr, 2, too_late), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll_full(f, alice, NULL, csr, 2, later), ENROLLMENT_ISSUED);
	assert_true(id_equal(&f->certificate->node_ids[0], &first));
	assert_int_equal(f->certificate->not_after_ms, later + UINT64_C(90) * 86400000);
	assert_int_equal(enroll_full(f, alice, NULL, csr, 2, too_late), ENROLLMENT_ISSUED); /* with the renewed one */
	/* An account that is disabled gets nothing; one with a revoked node nothing without its password, even when enabled again.
	 */
	assert_int_equal(ledger_user_set_disabled(f->site.ledger, "alice@example.org", true), 0);
	assert_int_equal(enroll_full(f, alice, NULL, csr, 1, too_late), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(ledger_revoke(f->site.ledger, &first, name), 0);
	assert_int_equal(ledger_user_set_disabled(f->site.ledger, "alice@example.org", false), 0);
	assert_int_equal(enroll_full(f, alice, NULL, csr, 1, too_late), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll_full(f, alice, ENROLL_SITE_PASSWORD, OCTETS(other, other_length), 1, too_late), ENROLLMENT_ISSUED);
	assert_false(id_equal(&f->certificate->node_ids[0], &first));
}

static void renew_with_password_only(void **state) {
	struct fixture *f = *state;
	struct authority_policy strict = policy;
	char reason[PROVISION_REASON_SIZE];

	strict.renew_with_password = true;
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_ISSUED);
	f->authority = authority_close(f->authority);
	assert_int_equal(authority_open(f->site.ca_directory, &strict, &f->authority, reason), 0);
	assert_int_equal(enroll_full(f, octets_of_string("alice@example.org"), NULL, OCTETS(f->csr, f->csr_length), 1, NOW_MS),
			 ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_ISSUED);
}

/* The ledger keeps every certificate; one account cannot fill it. */
static void limit_certificates(void **state) {
	struct fixture *f = *state;
	struct octets alice = octets_of_string("alice@example.org"), csr = OCTETS(f->csr, f->csr_length);

	for (int i = 0; i < 20; i++)
		assert_int_equal(enroll_full(f, alice, i % 2 ? NULL : ENROLL_SITE_PASSWORD, csr, 1, NOW_MS), ENROLLMENT_ISSUED);
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_THROTTLED);
	assert_int_equal(enroll_full(f, alice, NULL, csr, 1, NOW_MS + 86400000), ENROLLMENT_THROTTLED);
	assert_int_equal(enroll_full(f, alice, NULL, csr, 1, NOW_MS + 86400001), ENROLLMENT_ISSUED);
}

static void refuse_disabled(void **state) {
	struct fixture *f = *state;

	assert_int_equal(ledger_user_set_disabled(f->site.ledger, "alice@example.org", true), 0);
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(ledger_user_set_disabled(f->site.ledger, "alice@example.org", false), 0);
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_ISSUED);
}

static void refuse_other_name(void **state) {
	struct fixture *f = *state;

	assert_int_equal(enroll(f, "bob@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_USERNAME_NOT_AVAILABLE);
}

static void refuse_bad_requests(void **state) {
	struct fixture *f = *state;
	struct octets name = octets_of_string("alice@example.org");
	_cleanup_free_ uint8_t *copy = malloc(f->csr_length + 1);

	memcpy(copy, f->csr, f->csr_length);
	copy[f->csr_length] = 0;
	assert_int_equal(enroll_full(f, name, ENROLL_SITE_PASSWORD, OCTETS(copy, f->csr_length + 1), 1, NOW_MS),
			 ENROLLMENT_BAD_CSR);
	for (size_t length = 0; length < f->csr_length; length += 7)
		assert_int_equal(enroll_full(f, name, ENROLL_SITE_PASSWORD, OCTETS(copy, length), 1, NOW_MS), ENROLLMENT_BAD_CSR);
	copy[f->csr_length - 1] ^= 1; /* of the signature */
	assert_int_equal(enroll_full(f, name, ENROLL_SITE_PASSWORD, OCTETS(copy, f->csr_length), 1, NOW_MS), ENROLLMENT_BAD_CSR);
	_cleanup_free_ uint8_t *weak = NULL;
	size_t weak_length;
	EVP_PKEY *key = EVP_RSA_gen(1024);
	assert_int_equal(csr_make(key, "alice@example.org", &weak, &weak_length), 0);
	assert_int_equal(enroll_full(f, name, ENROLL_SITE_PASSWORD, OCTETS(weak, weak_length), 1, NOW_MS), ENROLLMENT_BAD_CSR);
	EVP_PKEY_free(key);
}

static void request_names(void **state) {
	struct fixture *f = *state;
	char name[USER_NAME_MAX + 1] = "";
	const char *why;
	EVP_PKEY *key = NULL;

	assert_int_equal(csr_read(OCTETS(f->csr, f->csr_length), &key, name, &why), 0);
	assert_string_equal(name, "alice@example.org");
	EVP_PKEY_free(key);
	static const char *const bad[] = {
		"alice", "alice@", "@example.org", "a b@example.org", "a\"b@example.org", "../x@example.org", "a@b@c", "a/b@c"};
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		_cleanup_free_ uint8_t *csr = NULL;
		size_t length;
		assert_false(ledger_name_usable(octets_of_string(bad[i])));
		assert_int_equal(csr_make(f->key, bad[i], &csr, &length), 0);
		assert_int_equal(csr_read(OCTETS(csr, length), &key, name, &why), -EINVAL);
	}
	static uint8_t long_name[USER_NAME_MAX + 1];
	memset(long_name, 'a', sizeof(long_name));
	long_name[5] = '@';
	assert_true(ledger_name_usable(OCTETS(long_name, USER_NAME_MAX)));
	assert_false(ledger_name_usable(OCTETS(long_name, USER_NAME_MAX + 1)));
}

/* B-11.1-06: revoked for ever, and its account with it; enabled again it gets another Node-ID. */
static void revoke_node(void **state) {
	struct fixture *f = *state;
	char name[USER_NAME_MAX + 1];
	struct id unknown = {.length = 16, .octets = {1}};

	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_ISSUED);
	struct id first = f->certificate->node_ids[0];
	assert_int_equal(ledger_revoke(f->site.ledger, &unknown, name), -ENOENT);
	assert_int_equal(ledger_revoke(f->site.ledger, &first, name), 0);
	assert_string_equal(name, "alice@example.org");
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(ledger_user_set_disabled(f->site.ledger, name, false), 0);
	assert_int_equal(enroll(f, "alice@example.org", ENROLL_SITE_PASSWORD, 1), ENROLLMENT_ISSUED);
	assert_false(id_equal(&f->certificate->node_ids[0], &first));
}

static void accounts(void **state) {
	struct fixture *f = *state;
	struct ledger_user user;

	assert_int_equal(enroll_site_add_user(&f->site, "alice@example.org", 1, 4), -EEXIST);
	assert_int_equal(ledger_user_get(f->site.ledger, "carol@example.org", &user), -ENOENT);
	assert_int_equal(ledger_user_set_password(f->site.ledger, "carol@example.org", "x"), -ENOENT);
	assert_int_equal(ledger_user_set_disabled(f->site.ledger, "carol@example.org", true), -ENOENT);
}

static void documents(void **state) {
	struct fixture *f = *state;
	struct published_document before, after;
	struct id bad = {.length = 16, .octets = {[15] = 7}};
	struct document_change change = {.bump = true, .bad_node = &bad};
	char reason[PROVISION_REASON_SIZE], path[128];
	uint16_t sequence;

	assert_int_equal(authority_document(f->authority, &before), 0);
	assert_int_equal(edit_overlay(f->site.ca_directory, &change, &sequence, reason), 0);
	assert_int_equal(sequence, 2);
	assert_int_equal(authority_document(f->authority, &after), 0);
	assert_string_equal(before.etag, after.etag); /* not published yet */
	free((void *)(uintptr_t)after.document.data);
	assert_int_equal(edit_publish(f->site.ca_directory, &sequence, reason), 0);
	assert_int_equal(authority_document(f->authority, &after), 0);
	assert_string_not_equal(before.etag, after.etag);
	free((void *)(uintptr_t)before.document.data);
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	assert_int_equal(overlay_config_parse(after.document, ENROLL_SITE_NAME, &config, reason), 0);
	assert_true(overlay_config_is_bad_node(config, &bad));
	assert_false(after.confidential);
	free((void *)(uintptr_t)after.document.data);
	assert_int_equal(edit_overlay(f->site.ca_directory, &change, &sequence, reason), -EEXIST);
	/* What cannot be used is not handed out. */
	snprintf(path, sizeof(path), "%s/published.xml", f->site.ca_directory);
	assert_int_equal(edit_write_file(path, octets_of_string("<overlay/>"), 0644), 0);
	assert_int_equal(authority_document(f->authority, &before), 0);
	assert_string_equal(before.etag, after.etag);
	free((void *)(uintptr_t)before.document.data);
}

static void publish_other(struct fixture *f, const char *name, const struct provision_overlay *like, char path[static 128]) {
	struct provision_overlay overlay = *like;
	char reason[PROVISION_REASON_SIZE] = "";
	uint16_t sequence;

	snprintf(path, 128, "%s/%s", f->site.directory, name);
	overlay.directory = path;
	overlay.name = ENROLL_SITE_NAME;
	overlay.key_type = KEY_ECDSA_P256;
	assert_int_equal(provision_overlay_create(&overlay, reason), 0);
	assert_int_equal(edit_publish(path, &sequence, reason), 0);
}

/* Where nodes make their own certificates the server has a document to hand out, and nothing else. */
static void serve_without_ca(void **state) {
	struct fixture *f = *state;
	_cleanup_(authority_closep) struct authority *authority = NULL;
	struct published_document document;
	char path[128], file[160], reason[PROVISION_REASON_SIZE] = "";

	assert_true(authority_enrolls(f->authority));
	publish_other(f, "own", &(struct provision_overlay){.self_signed_digest = "sha256"}, path);
	assert_int_equal(authority_open(path, &policy, &authority, reason), 0);
	assert_false(authority_enrolls(authority));
	assert_int_equal(authority_document(authority, &document), 0);
	assert_false(document.confidential);
	free((void *)(uintptr_t)document.document.data);
	/* A CA overlay that lost its certificate is not one of those. */
	authority = authority_close(authority);
	snprintf(file, sizeof(file), "%s/ca.crt", f->site.ca_directory);
	assert_int_equal(remove(file), 0);
	assert_int_equal(authority_open(f->site.ca_directory, &policy, &authority, reason), -EBADMSG);
	assert_non_null(strstr(reason, "ca.crt"));
}

/* B-13.4-02 */
static void keep_secrets(void **state) {
	struct fixture *f = *state;
	_cleanup_(authority_closep) struct authority *authority = NULL;
	struct published_document document;
	struct stat status;
	char path[128], file[160], reason[PROVISION_REASON_SIZE] = "";

	publish_other(f, "secret", &(struct provision_overlay){.shared_secret = "0123456789abcdef"}, path);
	snprintf(file, sizeof(file), "%s/published.xml", path);
	assert_int_equal(stat(file, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(authority_open(path, &policy, &authority, reason), 0);
	assert_int_equal(authority_document(authority, &document), 0);
	assert_true(document.confidential);
	free((void *)(uintptr_t)document.document.data);
}

static void refuse_open_key(void **state) {
	struct fixture *f = *state;
	struct authority *authority = NULL;
	char reason[PROVISION_REASON_SIZE] = "", path[128];

	snprintf(path, sizeof(path), "%s/ca.key", f->site.ca_directory);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(authority_open(f->site.ca_directory, &policy, &authority, reason), -EPERM);
	assert_non_null(strstr(reason, "ca.key"));
}

/* A request for `wanted` with the password of the account. */
static enum enrollment_outcome vouch(struct fixture *f, const char *account, const char *wanted, unsigned node_ids) {
	_cleanup_free_ uint8_t *csr = NULL;
	size_t length = 0;

	assert_int_equal(csr_make(f->key, wanted, &csr, &length), 0);
	return enroll_from(f, "192.0.2.1", octets_of_string(account), ENROLL_SITE_PASSWORD, OCTETS(csr, length), node_ids, NOW_MS);
}

static void vouchers(void **state) {
	struct fixture *f = *state;
	struct ledger_voucher voucher;
	struct ledger_user user;
	struct id first;

	/* Without one an account is for its own name. */
	assert_int_equal(vouch(f, "alice@example.org", "carol@example.org", 1), ENROLLMENT_USERNAME_NOT_AVAILABLE);
	assert_int_equal(ledger_voucher_get(f->site.ledger, "alice@example.org", &voucher), -ENOENT);
	assert_int_equal(ledger_voucher_set(f->site.ledger, "nobody@example.org", "example.org", 2, 4), -ENOENT);
	assert_int_equal(ledger_voucher_set(f->site.ledger, "alice@example.org", "not/a/domain", 2, 4), -EINVAL);
	assert_int_equal(ledger_voucher_set(f->site.ledger, "alice@example.org", "Example.NET, dave@example.com", 2, 4), 0);
	assert_int_equal(vouch(f, "alice@example.org", "carol@example.org", 1), ENROLLMENT_USERNAME_NOT_AVAILABLE);
	assert_int_equal(vouch(f, "alice@example.org", "carol@sub.example.net", 1), ENROLLMENT_USERNAME_NOT_AVAILABLE);
	assert_int_equal(ledger_user_get(f->site.ledger, "carol@sub.example.net", &user), -ENOENT); /* nothing is left */
	assert_int_equal(vouch(f, "alice@example.org", "carol@example.net", 5), ENROLLMENT_NODE_IDS_NOT_AVAILABLE);
	assert_int_equal(ledger_user_get(f->site.ledger, "carol@example.net", &user), -ENOENT);
	assert_int_equal(vouch(f, "alice@example.org", "carol@example.net", 2), ENROLLMENT_ISSUED);
	assert_string_equal(f->certificate->user_name, "carol@example.net");
	first = f->certificate->node_ids[0];
	/* Again: the same Node-ID, and no place of the voucher. */
	assert_int_equal(vouch(f, "alice@example.org", "carol@example.net", 1), ENROLLMENT_ISSUED);
	assert_true(id_equal(&f->certificate->node_ids[0], &first));
	assert_int_equal(vouch(f, "alice@example.org", "dave@example.com", 1), ENROLLMENT_ISSUED);
	assert_int_equal(vouch(f, "alice@example.org", "erin@example.net", 1), ENROLLMENT_USERNAME_NOT_AVAILABLE); /* used up */
	assert_int_equal(ledger_voucher_get(f->site.ledger, "alice@example.org", &voucher), 0);
	assert_int_equal(voucher.users, 2);
	/* Its own name needs none. */
	assert_int_equal(vouch(f, "alice@example.org", "alice@example.org", 1), ENROLLMENT_ISSUED);
}

static void vouchers_of_others(void **state) {
	struct fixture *f = *state;

	assert_int_equal(ledger_voucher_set(f->site.ledger, "alice@example.org", "example.net", 9, 4), 0);
	assert_int_equal(ledger_voucher_set(f->site.ledger, "bob@example.org", "example.net example.org", 9, 4), 0);
	assert_int_equal(vouch(f, "alice@example.org", "carol@example.net", 1), ENROLLMENT_ISSUED);
	/* Who asked first keeps the name; accounts of the operator are not opened by a domain, but by their names. */
	assert_int_equal(vouch(f, "bob@example.org", "carol@example.net", 1), ENROLLMENT_USERNAME_NOT_AVAILABLE);
	assert_int_equal(vouch(f, "bob@example.org", "alice@example.org", 1), ENROLLMENT_USERNAME_NOT_AVAILABLE);
	assert_int_equal(ledger_voucher_set(f->site.ledger, "bob@example.org", "alice@example.org", 9, 4), 0);
	assert_int_equal(vouch(f, "bob@example.org", "alice@example.org", 1), ENROLLMENT_ISSUED);
	/* A disabled user stays disabled, a disabled account vouches for nobody. */
	assert_int_equal(ledger_user_set_disabled(f->site.ledger, "carol@example.net", true), 0);
	assert_int_equal(vouch(f, "alice@example.org", "carol@example.net", 1), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(ledger_user_set_disabled(f->site.ledger, "alice@example.org", true), 0);
	assert_int_equal(vouch(f, "alice@example.org", "frank@example.net", 1), ENROLLMENT_FAILED_AUTHENTICATION);
}

/* Such an account has no password, not even an empty one; its certificate renews itself. */
static void vouched_without_password(void **state) {
	struct fixture *f = *state;
	struct octets name = octets_of_string("carol@example.net");
	_cleanup_free_ uint8_t *csr = NULL;
	size_t length = 0;

	assert_int_equal(ledger_voucher_set(f->site.ledger, "alice@example.org", "example.net", 9, 4), 0);
	assert_int_equal(vouch(f, "alice@example.org", "carol@example.net", 1), ENROLLMENT_ISSUED);
	assert_int_equal(csr_make(f->key, "carol@example.net", &csr, &length), 0);
	assert_int_equal(enroll_from(f, "192.0.2.1", name, "", OCTETS(csr, length), 1, NOW_MS), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll_from(f, "192.0.2.1", name, "!", OCTETS(csr, length), 1, NOW_MS), ENROLLMENT_FAILED_AUTHENTICATION);
	assert_int_equal(enroll_from(f, "192.0.2.1", name, NULL, OCTETS(csr, length), 1, NOW_MS), ENROLLMENT_ISSUED);
	/* The key of one user renews nothing of another. */
	assert_int_equal(enroll_from(f, "192.0.2.1", octets_of_string("bob@example.org"), NULL, OCTETS(csr, length), 1, NOW_MS),
			 ENROLLMENT_FAILED_AUTHENTICATION);
}

static void scopes(void **state) {
	static const char *const good[] = {"example.org", "a@b", "example.org,example.net", " example.org  alice@example.net ",
					   "x"};
	static const char *const bad[] = {"", " ", ",", "-x.org", "ex/ample", "@example.org", "alice@", "a@b@c", "../x"};
	char text[LEDGER_SCOPE_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++)
		assert_true(ledger_scope_usable(good[i]));
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		assert_false(ledger_scope_usable(bad[i]));
	memset(text, 'a', sizeof(text));
	text[LEDGER_SCOPE_MAX] = 0;
	assert_true(ledger_scope_usable(text));
	text[LEDGER_SCOPE_MAX] = 'a';
	text[LEDGER_SCOPE_MAX + 1] = 0;
	assert_false(ledger_scope_usable(text));
}

int main(void) {
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(issue_and_return),
		TEST(refuse_node_ids),
		TEST(refuse_strangers),
		TEST(close_after_wrong_passwords),
		TEST(strangers_lock_nobody_out),
		TEST(renew_by_certificate),
		TEST(renew_with_password_only),
		TEST(limit_certificates),
		TEST(refuse_disabled),
		TEST(refuse_other_name),
		TEST(refuse_bad_requests),
		TEST(request_names),
		TEST(revoke_node),
		TEST(accounts),
		TEST(documents),
		TEST(refuse_open_key),
		TEST(serve_without_ca),
		TEST(keep_secrets),
		TEST(vouchers),
		TEST(vouchers_of_others),
		TEST(vouched_without_password),
		TEST(scopes),
	};

	return cmocka_run_group_tests_name("enroll/authority", tests, NULL, NULL);
}
