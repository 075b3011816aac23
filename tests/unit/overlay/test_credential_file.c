/* SPDX-License-Identifier: BSD-2-Clause */
/* Credentials on disk: modes, atomic writes, and a sentence for every mistake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>

#include "support/support_identity.h"

static struct support_overlay overlay;
static char directory[] = "/tmp/test_credential_XXXXXX", certificate_path[64], key_path[64], other_path[64];

static int setup(void **state) {
	(void)state;
	if (!mkdtemp(directory) || support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay) < 0)
		return -1;
	snprintf(certificate_path, sizeof(certificate_path), "%s/node.crt", directory);
	snprintf(key_path, sizeof(key_path), "%s/node.key", directory);
	snprintf(other_path, sizeof(other_path), "%s/other", directory);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	support_overlay_release(&overlay);
	unlink(certificate_path);
	unlink(key_path);
	unlink(other_path);
	return rmdir(directory);
}

static size_t files(void) {
	DIR *dir = opendir(directory);
	size_t count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

static void write_text(const char *path, const char *text, mode_t mode) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void expect(const char *certificate, const char *key, const char *overlay_name, int error, const char *sentence) {
	struct credential *credential = NULL;
	char reason[512] = "";

	assert_int_equal(credential_load(certificate, key, overlay_name, 16, &credential, reason, sizeof(reason)), error);
	assert_null(credential);
	assert_string_equal(reason, sentence);
}

#define SENTENCE(...) (snprintf(sentence, sizeof(sentence), __VA_ARGS__), sentence)

static void save_and_load(void **state) {
	const struct id ids[2] = {support_node_id(1), support_node_id(2)};
	static const enum key_type types[] = {KEY_ECDSA_P256, KEY_RSA_2048};
	char reason[512];
	struct stat status;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct credential *credential = support_credential_of_type(&overlay, types[i], "alice@example.org", ids, 2,
									   SUPPORT_NOT_BEFORE_MS, SUPPORT_NOT_AFTER_MS);
		struct credential *loaded;
		/* Over whatever was there, however it was protected. */
		write_text(key_path, "old", 0644);
		assert_int_equal(key_save_pem(credential->key, key_path), 0);
		assert_int_equal(certificate_save_pem(credential->certificate, certificate_path), 0);
		assert_int_equal(stat(key_path, &status), 0);
		assert_int_equal(status.st_mode & 0777, 0600);
		assert_int_equal(files(), 2); /* no temporary ones */
		assert_int_equal(
			credential_load(certificate_path, key_path, SUPPORT_OVERLAY_NAME, 16, &loaded, reason, sizeof(reason)), 0);
		assert_memory_equal(loaded->certificate->sha256, credential->certificate->sha256, 32);
		assert_int_equal(EVP_PKEY_eq(loaded->key, credential->key), 1);
		assert_true(id_equal(&loaded->node_id, &ids[0]));
		credential_unref(loaded);
		credential_unref(credential);
	}
	assert_int_equal(certificate_save_pem(overlay.signer->certificate, "/nonexistent/x"), -ENOENT);
	assert_int_equal(key_save_pem(overlay.signer->key, "/nonexistent/x"), -ENOENT);
}

static void refusals(void **state) {
	const struct id id = support_node_id(1);
	char sentence[512], text[4096];

	(void)state;
	struct credential *credential = support_credential(&overlay, "alice@example.org", &id, 1);
	assert_int_equal(key_save_pem(credential->key, key_path), 0);
	assert_int_equal(certificate_save_pem(credential->certificate, certificate_path), 0);
	expect(other_path, key_path, NULL, -ENOENT, SENTENCE("%s: cannot be opened: No such file or directory.", other_path));
	expect(certificate_path, other_path, NULL, -ENOENT,
	       SENTENCE("%s: cannot be opened: No such file or directory.", other_path));
	expect(directory, key_path, NULL, -EBADMSG, SENTENCE("%s: is not a regular file of at most 65536 octets.", directory));
	expect(certificate_path, key_path, "other.example.net", -EBADMSG,
	       SENTENCE("%s: a URI in subjectAltName belongs to another overlay.", certificate_path));
	write_text(other_path, "rubbish", 0600);
	expect(other_path, key_path, NULL, -EBADMSG, SENTENCE("%s: holds no certificate in PEM form.", other_path));
	expect(certificate_path, other_path, NULL, -EBADMSG,
	       SENTENCE("%s: holds no unencrypted private key in PEM form.", other_path));
	write_text(other_path, "", 0600);
	expect(other_path, key_path, NULL, -EBADMSG, SENTENCE("%s: holds no certificate in PEM form.", other_path));

	static const mode_t loose[] = {0640, 0604, 0620, 0601};
	for (size_t i = 0; i < ARRAY_LENGTH(loose); i++) {
		assert_int_equal(chmod(key_path, loose[i]), 0);
		expect(certificate_path, key_path, NULL, -EPERM,
		       SENTENCE("%s: others than its owner have access; its mode should be 0600.", key_path));
	}
	assert_int_equal(chmod(key_path, 0400), 0);
	struct credential *loaded;
	assert_int_equal(credential_load(certificate_path, key_path, NULL, 16, &loaded, text, sizeof(text)), 0);
	credential_unref(loaded);

	assert_int_equal(key_save_pem(overlay.root_key, other_path), 0);
	expect(certificate_path, other_path, NULL, -EKEYREJECTED,
	       SENTENCE("%s: is not the key of the certificate %s.", other_path, certificate_path));

	/* An encrypted key must not lead to a question at the terminal. */
	FILE *file = fopen(other_path, "w");
	assert_int_equal(PEM_write_PrivateKey(file, credential->key, EVP_aes_128_cbc(), (const uint8_t *)"secret", 6, NULL, NULL),
			 1);
	fclose(file);
	expect(certificate_path, other_path, NULL, -EBADMSG,
	       SENTENCE("%s: holds no unencrypted private key in PEM form.", other_path));
	assert_int_equal(truncate(other_path, 70000), 0);
	expect(certificate_path, other_path, NULL, -EBADMSG,
	       SENTENCE("%s: is not a regular file of at most 65536 octets.", other_path));
	credential_unref(credential);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(save_and_load),
		cmocka_unit_test(refusals),
	};
	return cmocka_run_group_tests_name("overlay/credential_file", tests, setup, teardown);
}
