/* SPDX-License-Identifier: BSD-2-Clause */
/* The file of SIP passwords: written, read, changed beside a running daemon, and damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/passwords.h"

static char directory[] = "/tmp/test_passwords_XXXXXX", path[64], reason[PASSWORDS_REASON_SIZE];

static int setup(void **state) {
	(void)state;
	strcpy(directory, "/tmp/test_passwords_XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/sip-passwords", directory);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	unlink(path);
	return rmdir(directory); /* fails when a temporary file was left */
}

static void expect_password(struct passwords *passwords, const char *username, const char *password) {
	char found[SIP_DIGEST_SIZE], wanted[SIP_DIGEST_SIZE];

	for (unsigned i = 0; i < SIP_DIGESTS; i++) {
		assert_true(passwords_ha1(passwords, username, "example.org", i, found));
		assert_int_equal(digest_ha1(i, username, "example.org", password, wanted), 0);
		assert_string_equal(found, wanted);
	}
}

static void expect_none(struct passwords *passwords, const char *username, const char *realm) {
	char found[SIP_DIGEST_SIZE];

	assert_false(passwords_ha1(passwords, username, realm, SIP_DIGEST_MD5, found));
}

static void test_round(void **state) {
	struct passwords *passwords;
	struct stat status;
	char text[4096] = "";

	(void)state;
	assert_int_equal(passwords_new(path, &passwords), 0); /* none there */
	expect_none(passwords, "alice", "example.org");
	assert_int_equal(passwords_set(path, "alice@example.org", "correct horse", reason), 0);
	expect_password(passwords, "alice", "correct horse"); /* noticed at once */
	expect_password(passwords, "alice@example.org", "correct horse");
	expect_none(passwords, "alice", "example.net");
	expect_none(passwords, "alice@example.org", "example.net");
	expect_none(passwords, "alic", "example.org");
	expect_none(passwords, "", "example.org");
	assert_int_equal(passwords_set(path, "bob@example.org", "battery staple", reason), 0);
	assert_int_equal(passwords_set(path, "alice@example.org", "another one", reason), 0);
	expect_password(passwords, "alice", "another one");
	expect_password(passwords, "bob", "battery staple");
	assert_int_equal(passwords_count(passwords), 2);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	FILE *file = fopen(path, "r");
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	assert_null(strstr(text, "another one"));
	assert_null(strstr(text, "battery"));
	assert_int_equal(passwords_set(path, "alice@example.org", NULL, reason), 0);
	expect_none(passwords, "alice", "example.org");
	expect_password(passwords, "bob", "battery staple");
	assert_int_equal(unlink(path), 0);
	expect_none(passwords, "bob", "example.org");
	passwords_free(passwords);
}

static void test_refused(void **state) {
	(void)state;
	assert_int_equal(passwords_set(path, "alice@example.org", NULL, reason), -ENOENT);
	assert_non_null(strstr(reason, "has no password"));
	assert_int_equal(passwords_set(path, "alice", "a good one", reason), -EINVAL);
	assert_int_equal(passwords_set(path, "alice@Example.org", "a good one", reason), -EINVAL);
	assert_int_equal(passwords_set(path, "sip:alice@example.org", "a good one", reason), -EINVAL);
	assert_int_equal(passwords_set(path, "al ice@example.org", "a good one", reason), -EINVAL);
	assert_int_equal(passwords_set("sip-passwords", "alice@example.org", "a good one", reason), -EINVAL);
	assert_int_equal(passwords_set("/no/such/directory/file", "alice@example.org", "a good one", reason), -ENOENT);
	assert_non_null(strstr(reason, "/no/such/directory/"));
}

/* One bad line costs one user; a comment stays where it is. */
static void test_damaged(void **state) {
	struct passwords *passwords;
	FILE *file;

	(void)state;
	assert_int_equal(passwords_set(path, "alice@example.org", "correct horse", reason), 0);
	file = fopen(path, "a");
	fprintf(file, "# a comment\n\nbob@example.org SHA-256 00 00 MD5 00 00\ncarol@example.org\n\x01\xff\n%02000d\nbob", 0);
	fclose(file);
	assert_int_equal(passwords_new(path, &passwords), 0);
	expect_password(passwords, "alice", "correct horse");
	assert_int_equal(passwords_count(passwords), 1);
	assert_int_equal(passwords_set(path, "dave@example.org", "battery staple", reason), 0);
	expect_password(passwords, "alice", "correct horse");
	expect_password(passwords, "dave", "battery staple");
	assert_int_equal(passwords_count(passwords), 2);
	char text[8192] = "";
	file = fopen(path, "r");
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	assert_non_null(strstr(text, "# a comment\n"));
	/* A directory in its place: what was read stays in force. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	expect_password(passwords, "alice", "correct horse");
	assert_int_equal(rmdir(path), 0);
	passwords_free(passwords);
}

int main(void) {
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
