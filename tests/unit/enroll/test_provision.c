/* SPDX-License-Identifier: BSD-2-Clause */
/* Making an overlay and certificates by hand: what is written, with which modes, and that a failure leaves nothing behind.
 * B-11.3-04 B-11.3-05 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/runtime.h"
#include "enroll/provision.h"
#include "overlay/signature.h"

static char base[] = "/tmp/test_provision_XXXXXX", directory[64];

static void remove_all(const char *path) {
	DIR *dir = opendir(path);
	char member[PATH_MAX];

	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		snprintf(member, sizeof(member), "%s/%s", path, entry->d_name);
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && unlink(member) < 0)
			remove_all(member);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static int setup(void **state) {
	(void)state;
	if (!mkdtemp(base))
		return -1;
	snprintf(directory, sizeof(directory), "%s/ca", base);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	remove_all(base);
	return 0;
}

static size_t files_in(const char *path) {
	DIR *dir = opendir(path);
	size_t count = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

static const char *in(const char *name) {
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static mode_t mode_of(const char *path) {
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	return status.st_mode & 07777;
}

static void create(const struct provision_overlay *overlay, int error, const char *sentence) {
	char reason[PROVISION_REASON_SIZE] = "";

	int result = provision_overlay_create(overlay, reason);
	if (result < 0 && error == 0)
		print_message("%s\n", reason);
	assert_int_equal(result, error);
	if (!strstr(reason, sentence))
		print_message("\"%s\" is not in: %s\n", sentence, reason);
	assert_non_null(strstr(reason, sentence));
}

static void create_default(void) {
	remove_all(directory);
	create(&(struct provision_overlay){.directory = directory, .name = "example.org", .key_type = KEY_ECDSA_P256}, 0, "");
}

static int issue(const struct provision_certificate *wanted, struct id *node_id, const char *sentence) {
	char reason[PROVISION_REASON_SIZE] = "";

	int error = provision_certificate_issue(wanted, node_id, reason);
	if (!strstr(reason, sentence))
		print_message("\"%s\" is not in: %s\n", sentence, reason);
	assert_non_null(strstr(reason, sentence));
	return error;
}

static struct provision_certificate wanted(const char *output) {
	return (struct provision_certificate){
		.directory = directory, .node_id_count = 1, .days = 10, .key_type = KEY_ECDSA_P256, .output = output};
}

static struct overlay_config *load_config(void) {
	struct overlay_config *config = NULL;
	char reason[CONFIG_REASON_SIZE] = "";

	int error = overlay_config_load(in("overlay.xml"), "example.org", &config, reason);
	if (error < 0)
		print_message("%s\n", reason);
	assert_int_equal(error, 0);
	return config;
}

/* Loads STEM.crt and STEM.key as a node does, and asks the overlay's document whether it is trusted. */
static struct credential *load_trusted(const char *stem) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = load_config();
	_cleanup_(trust_freep) struct trust *trust = NULL;
	struct runtime_source clock = runtime_source_system();
	struct credential *credential = NULL;
	char certificate[128], key[128], reason[256] = "";
	const char *why = "";

	snprintf(certificate, sizeof(certificate), "%s.crt", stem);
	snprintf(key, sizeof(key), "%s.key", stem);
	assert_int_equal(credential_load(certificate, key, "example.org", ID_LENGTH_CHORD, &credential, reason, sizeof(reason)), 0);
	assert_int_equal(trust_new(config, &trust), 0);
	assert_int_equal(trust_check(trust, credential->certificate, clock.realtime_ms(clock.userdata), &why), 0);
	assert_int_equal(mode_of(key), 0600);
	return credential;
}

static void test_create(void **state) {
	struct address bootstrap[2];
	struct kind kind;

	(void)state;
	remove_all(directory);
	assert_int_equal(address_parse("192.0.2.11:6084", 1, &bootstrap[0]), 0);
	assert_int_equal(address_parse("[2001:db8::11]:6085", 1, &bootstrap[1]), 0);
	assert_int_equal(provision_kind_parse("0xf0000001:ARRAY:NODE-MULTIPLE:10:1000:100", &kind), 0);
	create(&(struct provision_overlay){.directory = directory,
					   .name = "example.org",
					   .key_type = KEY_ECDSA_P256,
					   .bootstrap = bootstrap,
					   .bootstrap_count = 2,
					   .kinds = &kind,
					   .kind_count = 1,
					   .chord_update_interval_s = 60,
					   .chord_ping_interval_s = 30,
					   .max_message_size = 9000},
	       0, "");
	assert_int_equal(files_in(directory), 5);
	assert_int_equal(mode_of(directory), 0700);
	assert_int_equal(mode_of(in("ca.key")), 0600);
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = load_config();
	assert_int_equal(config->sequence, 1);
	assert_true(config->no_ice);
	assert_int_equal(config->bootstrap_count, 2);
	assert_true(address_equal(&config->bootstrap[1], &bootstrap[1]));
	assert_int_equal(config->max_message_size, 9000);
	assert_int_equal(config->chord_update_interval_s, 60);
	assert_int_equal(config->chord_ping_interval_s, 30);
	const struct kind *found = overlay_config_kind(config, 0xf0000001);
	assert_non_null(found);
	assert_int_equal(found->model, DATA_MODEL_ARRAY);
	assert_int_equal(found->max_node_multiple, 100);
	assert_true(found->required);
	/* The signer is a node of the overlay, and named as the one who may sign what follows. */
	_cleanup_(credential_unrefp) struct credential *signer = load_trusted(in("signer"));
	assert_int_equal(config->configuration_signer_count, 1);
	assert_true(id_equal(&config->configuration_signers[0], &signer->node_id));
}

static void test_create_rsa(void **state) {
	(void)state;
	remove_all(directory);
	create(&(struct provision_overlay){.directory = directory, .name = "example.org", .key_type = KEY_RSA_2048}, 0, "");
	_cleanup_(credential_unrefp) struct credential *signer = load_trusted(in("signer"));
	assert_int_equal(EVP_PKEY_get_base_id(signer->key), EVP_PKEY_RSA);
}

/* What is there stays as it was; also a directory of which only a part is left. */
static void test_create_refuses_what_exists(void **state) {
	static const char *const names[] = {"ca.key", "ca.crt", "signer.key", "signer.crt", "overlay.xml"};
	char sentence[64];

	(void)state;
	create_default();
	create(&(struct provision_overlay){.directory = directory, .name = "example.org"}, -EEXIST, "already holds ca.key");
	assert_int_equal(files_in(directory), 5);
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		remove_all(directory);
		assert_int_equal(mkdir(directory, 0750), 0);
		fclose(fopen(in(names[i]), "w"));
		snprintf(sentence, sizeof(sentence), "already holds %s; choose another directory.", names[i]);
		create(&(struct provision_overlay){.directory = directory, .name = "example.org"}, -EEXIST, sentence);
		assert_int_equal(files_in(directory), 1);
		assert_int_equal(mode_of(directory), 0750);
	}
}

static void test_create_leaves_nothing_behind(void **state) {
	struct kind twice[2];

	(void)state;
	/* The same Kind twice makes a document nobody accepts. */
	assert_int_equal(provision_kind_parse("0xf0000001:SINGLE:NODE-MATCH:1:1000", &twice[0]), 0);
	twice[1] = twice[0];
	const struct provision_overlay overlay = {
		.directory = directory, .name = "example.org", .key_type = KEY_ECDSA_P256, .kinds = twice, .kind_count = 2};
	remove_all(directory);
	char reason[PROVISION_REASON_SIZE] = "";
	assert_true(provision_overlay_create(&overlay, reason) < 0);
	assert_string_not_equal(reason, "");
	assert_int_equal(access(directory, F_OK), -1);
	/* A directory that was there stays, with what others have in it. */
	assert_int_equal(mkdir(directory, 0700), 0);
	fclose(fopen(in("notes"), "w"));
	assert_true(provision_overlay_create(&overlay, reason) < 0);
	assert_int_equal(files_in(directory), 1);
	/* And the next attempt succeeds. */
	create(&(struct provision_overlay){.directory = directory, .name = "example.org"}, 0, "");
	assert_int_equal(files_in(directory), 6);
}

static void test_overlay_names(void **state) {
	static const char *const bad[] = {"",	 ".",  "-a", "a-", "a..b", "Example.org", "a b", "x<y", "\xc3\xa4.example",
					  "a_b", "a/b"};
	char name[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		remove_all(directory);
		create(&(struct provision_overlay){.directory = directory, .name = bad[i]}, -EINVAL,
		       "is not the name of an overlay");
		assert_int_equal(access(directory, F_OK), -1);
	}
	memset(name, 'a', sizeof(name));
	name[64] = 0;
	create(&(struct provision_overlay){.directory = directory, .name = name}, -EINVAL, "is not the name of an overlay");
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 60 == 59 ? '.' : 'a';
	name[231] = 0;
	create(&(struct provision_overlay){.directory = directory, .name = name}, -EINVAL, "is not the name of an overlay");
	name[230] = 0;
	create(&(struct provision_overlay){.directory = directory, .name = name}, 0, "");
}

static void test_directories(void **state) {
	char file[PATH_MAX + 64], long_path[PATH_MAX + 16];

	(void)state;
	remove_all(directory);
	snprintf(file, sizeof(file), "%s/missing/ca", base);
	create(&(struct provision_overlay){.directory = file, .name = "example.org"}, -ENOENT,
	       "cannot be made: No such file or directory.");
	snprintf(file, sizeof(file), "%s/file", base);
	fclose(fopen(file, "w"));
	create(&(struct provision_overlay){.directory = file, .name = "example.org"}, -ENOTDIR,
	       "cannot be written: Not a directory.");
	memset(long_path, '/', sizeof(long_path));
	long_path[0] = '.';
	long_path[PATH_MAX - 5] = 0; /* a directory, but nothing fits behind it */
	create(&(struct provision_overlay){.directory = long_path, .name = "example.org"}, -ENAMETOOLONG, "is too long.");
}

static void test_issue_gateway(void **state) {
	struct provision_certificate gateway;
	char output[128], name[160], text[ID_TEXT_SIZE];
	struct id node_id;

	(void)state;
	create_default();
	snprintf(output, sizeof(output), "%s/gateway", base);
	gateway = wanted(output);
	assert_int_equal(issue(&gateway, &node_id, ""), 0);
	_cleanup_(credential_unrefp) struct credential *credential = load_trusted(output);
	assert_true(id_equal(&credential->node_id, &node_id));
	assert_int_equal(credential->certificate->node_id_count, 1);
	snprintf(name, sizeof(name), "gateway-%.12s@example.org", id_format(&node_id, text));
	assert_string_equal(credential->certificate->user_name, name);
	uint64_t life_ms = credential->certificate->not_after_ms - credential->certificate->not_before_ms;
	assert_true(life_ms >= UINT64_C(10) * 86400000 && life_ms <= UINT64_C(11) * 86400000);

	assert_int_equal(issue(&gateway, &node_id, "exists; it is not overwritten."), -EEXIST);
	snprintf(name, sizeof(name), "%s.crt", output);
	unlink(name);
	assert_int_equal(issue(&gateway, &node_id, "exists; it is not overwritten."), -EEXIST); /* the key alone, too */
	assert_int_equal(access(name, F_OK), -1);
}

static void test_issue_user(void **state) {
	struct provision_certificate user;
	char output[128];
	struct id node_id;

	(void)state;
	create_default();
	snprintf(output, sizeof(output), "%s/alice", base);
	user = wanted(output);
	user.user_name = "Alice.B@example.org";
	user.node_id_count = CERTIFICATE_NODE_IDS_MAX;
	assert_int_equal(issue(&user, &node_id, ""), 0);
	_cleanup_(credential_unrefp) struct credential *credential = load_trusted(output);
	assert_string_equal(credential->certificate->user_name, "Alice.B@example.org");
	assert_int_equal(credential->certificate->node_id_count, CERTIFICATE_NODE_IDS_MAX);
	for (size_t i = 0; i < CERTIFICATE_NODE_IDS_MAX; i++)
		for (size_t j = 0; j < i; j++)
			assert_false(id_equal(&credential->certificate->node_ids[i], &credential->certificate->node_ids[j]));
}

static void test_issue_refusals(void **state) {
	static const char *const bad[] = {"alice",
					  "@example.org",
					  "alice@",
					  "a@b@c",
					  "al ice@example.org",
					  "alice@Example.org",
					  "alice\n@example.org",
					  "\xc3\xa4@example.org",
					  "sip:a@example.org",
					  "<a@example.org>",
					  "a%41@example.org"};
	struct provision_certificate certificate;
	char output[128], missing[160];
	struct id node_id = ID_NONE;

	(void)state;
	create_default();
	snprintf(output, sizeof(output), "%s/refused", base);
	certificate = wanted(output);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		certificate.user_name = bad[i];
		assert_int_equal(issue(&certificate, &node_id, "is not a user name such as alice@example.org"), -EINVAL);
	}
	certificate = wanted(output);
	certificate.days = 0;
	assert_int_equal(issue(&certificate, &node_id, "A certificate lives 1 to 3650 days."), -EINVAL);
	certificate.days = PROVISION_DAYS_MAX + 1;
	assert_int_equal(issue(&certificate, &node_id, "A certificate lives 1 to 3650 days."), -EINVAL);
	certificate = wanted(output);
	certificate.node_id_count = 0;
	assert_int_equal(issue(&certificate, &node_id, "A certificate holds 1 to 16 Node-IDs."), -EINVAL);
	certificate.node_id_count = CERTIFICATE_NODE_IDS_MAX + 1;
	assert_int_equal(issue(&certificate, &node_id, "A certificate holds 1 to 16 Node-IDs."), -EINVAL);
	snprintf(missing, sizeof(missing), "%s/missing/node", base);
	certificate = wanted(missing);
	assert_int_equal(issue(&certificate, &node_id, "cannot be written: No such file or directory."), -ENOENT);
	certificate = wanted(output);
	certificate.directory = base;
	assert_int_equal(issue(&certificate, &node_id, "Make an overlay there with: ringgatectl overlay create"), -ENOENT);
	assert_true(id_is_none(&node_id));
	snprintf(missing, sizeof(missing), "%s.key", output);
	assert_int_equal(access(missing, F_OK), -1);
}

static void swap_in(const char *name, const char *text, mode_t mode) {
	FILE *file = fopen(in(name), "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(in(name), mode), 0);
}

static void test_issue_from_damaged_overlay(void **state) {
	struct provision_certificate certificate;
	char output[128], other[160];
	struct id node_id;

	(void)state;
	snprintf(output, sizeof(output), "%s/damaged", base);
	certificate = wanted(output);
	create_default();
	swap_in("ca.crt", "nonsense", 0644);
	assert_int_equal(issue(&certificate, &node_id, "ca.crt: holds no certificate in PEM form."), -EBADMSG);
	create_default();
	swap_in("ca.key", "nonsense", 0600);
	assert_int_equal(issue(&certificate, &node_id, "ca.key: holds no private key in PEM form that can be read."), -EBADMSG);
	create_default();
	chmod(in("ca.key"), 0640);
	assert_int_equal(issue(&certificate, &node_id, "ca.key: others than its owner have access; its mode should be 0600."),
			 -EPERM);
	create_default();
	unlink(in("ca.key"));
	assert_int_equal(issue(&certificate, &node_id, "ca.key: cannot be read: No such file or directory."), -ENOENT);
	create_default();
	swap_in("overlay.xml", "<overlay", 0644);
	assert_true(issue(&certificate, &node_id, "overlay.xml: ") < 0);
	/* The key of another overlay. */
	create_default();
	snprintf(other, sizeof(other), "%s/other", base);
	char reason[PROVISION_REASON_SIZE] = "";
	assert_int_equal(provision_overlay_create(&(struct provision_overlay){.directory = other, .name = "example.org"}, reason),
			 0);
	snprintf(other, sizeof(other), "%s/other/ca.key", base);
	assert_int_equal(rename(other, in("ca.key")), 0);
	assert_int_equal(issue(&certificate, &node_id, "ca.key: is not the key of ca.crt."), -EKEYREJECTED);
	snprintf(other, sizeof(other), "%s.key", output);
	assert_int_equal(access(other, F_OK), -1);
}

static void test_kinds(void **state) {
	static const char *const bad[] = {
		"",
		"0xf0000001",
		"0xf0000001:SINGLE",
		"0xf0000001:SINGLE:NODE-MATCH",
		"0xf0000001:SINGLE:NODE-MATCH:1",
		"0xf0000001:SINGLE:NODE-MATCH:1:",
		"0xf0000001:SINGLE:NODE-MATCH:0:1",
		"0xf0000001:SINGLE:NODE-MATCH:1:0",
		"0xf0000001:SINGLE:NODE-MATCH:1:-1",
		"0xf0000001:SINGLE:NODE-MATCH:1:1x",
		"0xf0000001:SINGLE:NODE-MATCH:1:4294967296",
		"0xf0000001:SINGLE:NODE-MATCH:99999999999999999999999999:1",
		"0xf0000001:SINGLE:NODE-MULTIPLE:1:1",
		"0xf0000001:SINGLE:NODE-MULTIPLE:1:1:0",
		"0xf0000001:SINGLE:NODE-MULTIPLE:1:1:1:1",
		"0xf0000001:SINGLE:NODE-MULTIPLE:1:1:1:",
		"0xf0000001:DOUBLE:NODE-MATCH:1:1",
		"0xf0000001:SINGLE:ANYONE:1:1",
		":SINGLE:NODE-MATCH:1:1",
		"0xf0000001::NODE-MATCH:1:1",
		"1:SINGLE:NODE-MATCH:1:1",
		"0xefffffff:SINGLE:NODE-MATCH:1:1",
		"0xffffffff:SINGLE:NODE-MATCH:1:1",
		"-1:SINGLE:NODE-MATCH:1:1",
		" 0xf0000001:SINGLE:NODE-MATCH:1:1",
	};
	struct kind kind = {.id = 77};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		if (provision_kind_parse(bad[i], &kind) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(kind.id, 77);
	}
	assert_int_equal(provision_kind_parse("4026531841:DICTIONARY:USER-NODE-MATCH:4294967295:2", &kind), 0);
	assert_int_equal(kind.id, 0xf0000001);
	assert_int_equal(kind.model, DATA_MODEL_DICTIONARY);
	assert_int_equal(kind.access, ACCESS_USER_NODE_MATCH);
	assert_int_equal(kind.max_count, UINT32_MAX);
	assert_int_equal(kind.max_size, 2);
	assert_int_equal(kind.max_node_multiple, 0);
	assert_true(kind.required);
}

/* B-11.1-05, B-11.1-14, B-11.3.1-01, B-11.3.1-02, B-13.4-02: each kind of admission makes a document that says so, and certificates
 * it accepts. */
static void test_admission(void **state) {
	static const struct {
		const char *digest, *secret;
		bool clients_forbidden;
	} cases[] = {
		{NULL, NULL, true},
		{NULL, "sixteen-letters!", false},
		{"sha256", NULL, false},
		{"sha1", NULL, false},
		{"sha256", "0123456789abcdef0123456789", true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		remove_all(directory);
		create(&(struct provision_overlay){.directory = directory,
						   .name = "example.org",
						   .key_type = KEY_ECDSA_P256,
						   .self_signed_digest = cases[i].digest,
						   .shared_secret = cases[i].secret,
						   .clients_forbidden = cases[i].clients_forbidden},
		       0, "");
		_cleanup_(overlay_config_unrefp) struct overlay_config *config = load_config();
		assert_int_equal(config->clients_permitted, !cases[i].clients_forbidden);
		assert_int_equal(config->self_signed_permitted, cases[i].digest != NULL);
		assert_string_equal(config->self_signed_permitted ? config->self_signed_digest : "",
				    cases[i].digest ? cases[i].digest : "");
		assert_int_equal(config->root_count, cases[i].digest ? 0 : 1);
		assert_int_equal(access(in("ca.key"), F_OK), cases[i].digest ? -1 : 0);
		assert_string_equal(config->shared_secret ? config->shared_secret : "", cases[i].secret ? cases[i].secret : "");
		assert_int_equal(mode_of(in("overlay.xml")), cases[i].secret ? 0600 : 0644);
		for (unsigned count = 1; count <= 3; count += 2) {
			struct provision_certificate certificate = wanted(in(count == 1 ? "one" : "three"));
			struct id node_id;
			certificate.node_id_count = count;
			assert_int_equal(issue(&certificate, &node_id, ""), 0);
			_cleanup_(credential_unrefp) struct credential *credential = load_trusted(certificate.output);
			assert_int_equal(credential->certificate->self_signed, cases[i].digest != NULL);
			assert_int_equal(credential->certificate->node_id_count, count);
		}
		_cleanup_(credential_unrefp) struct credential *signer = load_trusted(in("signer"));
		assert_true(id_equal(&config->configuration_signers[0], &signer->node_id));
	}
}

/* A self-signed certificate of one overlay is worth nothing in another that has a CA. */
static void test_self_signed_elsewhere(void **state) {
	_cleanup_(credential_unrefp) struct credential *credential = NULL;
	_cleanup_(trust_freep) struct trust *trust = NULL;
	struct runtime_source clock = runtime_source_system();
	char reason[256];
	const char *why = "";

	(void)state;
	remove_all(directory);
	create(
		&(struct provision_overlay){
			.directory = directory, .name = "example.org", .key_type = KEY_ECDSA_P256, .self_signed_digest = "sha256"},
		0, "");
	assert_int_equal(credential_load(in("signer.crt"), in("signer.key"), "example.org", ID_LENGTH_CHORD, &credential, reason,
					 sizeof(reason)),
			 0);
	create_default();
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = load_config();
	assert_int_equal(trust_new(config, &trust), 0);
	assert_int_equal(trust_check(trust, credential->certificate, clock.realtime_ms(clock.userdata), &why), -EKEYREJECTED);
	assert_non_null(strstr(why, "self-signed"));
}

static void test_admission_refusals(void **state) {
	static const char *const servers[] = {"https://example.org/enroll"};
	static const struct {
		const char *digest, *secret, *sentence;
		size_t servers;
	} cases[] = {
		{"md5", NULL, "is not a digest", 0},
		{"sha256", NULL, "an enrollment server has nothing to issue", 1},
		{NULL, "", "A shared secret has 16 to 128 characters", 0},
		{NULL, "fifteen-letters", "A shared secret has 16 to 128 characters", 0},
		{NULL, "sixteen letters!", "without spaces", 0},
		{NULL, "sixteen\x7fletters!", "printable", 0},
	};

	(void)state;
	remove_all(directory);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		create(&(struct provision_overlay){.directory = directory,
						   .name = "example.org",
						   .key_type = KEY_ECDSA_P256,
						   .self_signed_digest = cases[i].digest,
						   .shared_secret = cases[i].secret,
						   .enrollment_servers = servers,
						   .enrollment_server_count = cases[i].servers},
		       -EINVAL, cases[i].sentence);
		assert_int_equal(access(directory, F_OK), -1);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_create_rsa),
		cmocka_unit_test(test_create_refuses_what_exists),
		cmocka_unit_test(test_create_leaves_nothing_behind),
		cmocka_unit_test(test_overlay_names),
		cmocka_unit_test(test_directories),
		cmocka_unit_test(test_issue_gateway),
		cmocka_unit_test(test_issue_user),
		cmocka_unit_test(test_issue_refusals),
		cmocka_unit_test(test_issue_from_damaged_overlay),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_admission),
		cmocka_unit_test(test_self_signed_elsewhere),
		cmocka_unit_test(test_admission_refusals),
	};

	return cmocka_run_group_tests_name("enroll/provision", tests, setup, teardown);
}
