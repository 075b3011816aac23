/* SPDX-License-Identifier: BSD-2-Clause */
/* When certificates are got and renewed, and with which words the helper is called. B-11.3-01 B-11.3-05 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "node/enroller.h"
#include "support/support_identity.h"

#define DAY_MS UINT64_C(86400000)

static void next_random(void *userdata, void *data, size_t length) {
	uint64_t *state = userdata;

	for (size_t i = 0; i < length; i++) {
		*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		((uint8_t *)data)[i] = (uint8_t)(*state >> 56);
	}
}

static uint64_t seed = 1;
static const struct runtime runtime = {.source = {.random = next_random, .userdata = &seed}};

/* After two thirds of the life, a tenth of it earlier or later, and spread. */
static void renewal_time(void **state) {
	uint64_t life_ms = 90 * DAY_MS, least = UINT64_MAX, most = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t due_ms = certificate_renewal_ms(&runtime, SUPPORT_NOW_MS, SUPPORT_NOW_MS + life_ms) - SUPPORT_NOW_MS;
		assert_in_range(due_ms, life_ms * 2 / 3 - life_ms / 10, life_ms * 2 / 3 + life_ms / 10);
		least = due_ms < least ? due_ms : least;
		most = due_ms > most ? due_ms : most;
	}
	assert_true(most - least > life_ms / 6);
	assert_int_equal(certificate_renewal_ms(&runtime, SUPPORT_NOW_MS, SUPPORT_NOW_MS), SUPPORT_NOW_MS);
	assert_int_equal(certificate_renewal_ms(&runtime, SUPPORT_NOW_MS, SUPPORT_NOW_MS - 1), SUPPORT_NOW_MS);
}

static void expect_pause(unsigned failures, uint64_t left_ms, uint64_t most_s) {
	for (int i = 0; i < 100; i++)
		assert_in_range(enroller_pause_s(&runtime, failures, left_ms), most_s / 2, most_s);
}

static void pauses(void **state) {
	(void)state;
	expect_pause(1, 30 * DAY_MS, 10);
	expect_pause(2, 30 * DAY_MS, 20);
	expect_pause(5, 30 * DAY_MS, 160);
	expect_pause(20, 30 * DAY_MS, ENROLLER_PAUSE_LAST_S);
	expect_pause(UINT32_MAX, 30 * DAY_MS, ENROLLER_PAUSE_LAST_S);
	/* At least eight more tries while the certificate is good, but not without a pause. */
	expect_pause(20, 8 * 3600 * 1000, 3600);
	expect_pause(20, 80 * 1000, 10);
	expect_pause(20, 1, ENROLLER_PAUSE_LEAST_S);
	/* Without a certificate nothing works: no long pauses. */
	expect_pause(1, 0, 10);
	expect_pause(20, 0, 60);
}

static struct settings make_settings(void) {
	return (struct settings){
		.enroll_server = (char *)"example.org",
		.enroll_user = (char *)"site1@example.org",
		.enroll_password_file = (char *)"/run/credentials/password",
		.enroll_user_node_ids = 4,
		.overlay_config = (char *)"/state/overlay.xml",
	};
}

static void expect_words(const struct enroll_command *command, const char *expected) {
	char words[1024] = "";

	for (size_t i = 0; command->arguments[i]; i++) {
		strcat(words, i ? " " : "");
		strcat(words, command->arguments[i]);
	}
	assert_string_equal(words, expected);
}

static void commands(void **state) {
	struct settings settings = make_settings();
	struct enroll_command command;

	(void)state;
	assert_int_equal(enroll_command(&settings, NULL, "/state/node", false, true, false, &command), 0);
	expect_words(&command, "ringgatectl enroll example.org --user site1@example.org --output /state/node --document "
			       "/state/overlay.xml --password-file /run/credentials/password");
	/* By its key: neither password nor account. */
	assert_int_equal(enroll_command(&settings, NULL, "/state/node", true, false, true, &command), 0);
	expect_words(&command, "ringgatectl enroll example.org --user site1@example.org --output /state/node --document "
			       "/state/overlay.xml --renew --keep-document");
	settings.enroll_ca_file = (char *)"/ca.crt";
	settings.enroll_address = (char *)"192.0.2.5";
	settings.overlay_name = (char *)"p2p.example.org";
	assert_int_equal(enroll_command(&settings, "alice@example.org", "/users/alice@example.org", false, true, true, &command),
			 0);
	expect_words(&command,
		     "ringgatectl enroll example.org --name p2p.example.org --user alice@example.org --account "
		     "site1@example.org --output /users/alice@example.org --document /state/overlay.xml --ca-file /ca.crt "
		     "--address 192.0.2.5 --password-file /run/credentials/password --node-ids 4 --keep-document");
	assert_int_equal(enroll_command(&settings, "alice@example.org", "/users/alice@example.org", true, false, true, &command),
			 0);
	expect_words(&command,
		     "ringgatectl enroll example.org --name p2p.example.org --user alice@example.org --output "
		     "/users/alice@example.org --document /state/overlay.xml --ca-file /ca.crt --address 192.0.2.5 --node-ids 4 "
		     "--renew --keep-document");
	char path[PATH_MAX + 2];
	memset(path, 'a', sizeof(path));
	path[sizeof(path) - 1] = 0;
	assert_int_equal(enroll_command(&settings, NULL, path, true, false, true, &command), -ENAMETOOLONG);
}

static void reasons(void **state) {
	char reason[ENROLLER_REASON_SIZE], text[2000];

	(void)state;
	enroll_command_reason(1, "ringgatectl: The server refused bob.", reason);
	assert_string_equal(reason, "The server refused bob.");
	enroll_command_reason(1, "something else\nringgatectl: Last.", reason);
	assert_string_equal(reason, "Last.");
	enroll_command_reason(1, "", reason);
	assert_string_equal(reason, "ringgatectl failed without a reason.");
	enroll_command_reason(-ETIMEDOUT, "half a line", reason);
	assert_string_equal(reason, "The enrollment took too long.");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	enroll_command_reason(1, text, reason);
	assert_int_equal(strlen(reason), ENROLLER_REASON_SIZE - 1);
}

/* What a start finds: nothing, something good, something that has ended, no document. */
static void needs(void **state) {
	char directory[] = "/tmp/test_enroller_XXXXXX", certificate[64], key[64], document[64], why[ENROLLER_REASON_SIZE] = "";
	struct settings settings = make_settings();
	struct support_overlay overlay;
	struct id node_id = support_node_id(0x11);

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(certificate, sizeof(certificate), "%s/node.crt", directory);
	snprintf(key, sizeof(key), "%s/node.key", directory);
	snprintf(document, sizeof(document), "%s/overlay.xml", directory);
	settings.certificate = certificate;
	settings.key = key;
	settings.overlay_config = document;
	assert_int_equal(enrollment_need(&settings, SUPPORT_NOW_MS, why), ENROLLMENT_NEED_FIRST);
	assert_non_null(strstr(why, "site1@example.org"));
	assert_int_equal(support_overlay_new("example.org", &overlay), 0);
	struct credential *credential = support_credential_of_type(&overlay, KEY_ECDSA_P256, "site1@example.org", &node_id, 1,
								   SUPPORT_NOW_MS - 1000, SUPPORT_NOW_MS + 1000);
	assert_non_null(credential);
	assert_int_equal(key_save_pem(credential->key, key), 0);
	/* A key without its certificate is a mistake, not a first start. */
	assert_int_equal(enrollment_need(&settings, SUPPORT_NOW_MS, why), ENROLLMENT_NEED_NOTHING);
	assert_int_equal(certificate_save_pem(credential->certificate, certificate), 0);
	assert_int_equal(enrollment_need(&settings, SUPPORT_NOW_MS, why), ENROLLMENT_NEED_RENEWAL);
	assert_non_null(strstr(why, "no configuration document"));
	fclose(fopen(document, "we"));
	assert_int_equal(enrollment_need(&settings, SUPPORT_NOW_MS, why), ENROLLMENT_NEED_NOTHING);
	assert_int_equal(enrollment_need(&settings, SUPPORT_NOW_MS + 1001, why), ENROLLMENT_NEED_RENEWAL);
	assert_non_null(strstr(why, "has expired"));
	settings.enroll_user = NULL;
	assert_int_equal(enrollment_need(&settings, SUPPORT_NOW_MS + 1001, why), ENROLLMENT_NEED_NOTHING);
	credential_unref(credential);
	support_overlay_release(&overlay);
	unlink(certificate);
	unlink(key);
	unlink(document);
	assert_int_equal(rmdir(directory), 0);
}

static uint64_t clock_s(void) {
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec;
}

static int on_stop(sd_event_source *source, void *userdata) {
	(void)source;
	*(bool *)userdata = true;
	return 0;
}

/* A clock before the node's own certificate: nothing begins until it says that time, and a stop ends the waiting. */
static void waits_for_the_clock(void **state) {
	char directory[] = "/tmp/test_enroller_XXXXXX", certificate[64], key[64], reason[NODE_REASON_SIZE] = "";
	struct settings settings = {.certificate = certificate, .key = key, .users_directory = directory};
	struct support_overlay overlay;
	struct id node_id = support_node_id(0x11);
	sd_event *event;
	bool stop = false;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(certificate, sizeof(certificate), "%s/node.crt", directory);
	snprintf(key, sizeof(key), "%s/node.key", directory);
	assert_int_equal(support_overlay_new("example.org", &overlay), 0);
	assert_int_equal(sd_event_new(&event), 0);
	uint64_t made_s = clock_s() + 2;
	struct credential *credential = support_credential_of_type(&overlay, KEY_ECDSA_P256, "site1@example.org", &node_id, 1,
								   made_s * 1000, SUPPORT_NOT_AFTER_MS);
	assert_non_null(credential);
	assert_int_equal(key_save_pem(credential->key, key), 0);
	assert_int_equal(certificate_save_pem(credential->certificate, certificate), 0);
	assert_int_equal(enrollment_first(&settings, event, &stop, reason), 0);
	assert_true(clock_s() >= made_s);
	assert_string_equal(reason, "");
	/* Once the time has come nothing is waited for. */
	assert_int_equal(enrollment_first(&settings, event, &stop, reason), 0);
	credential_unref(credential);
	unlink(certificate);
	unlink(key);

	/* Years off. */
	credential = support_credential_of_type(&overlay, KEY_ECDSA_P256, "site1@example.org", &node_id, 1,
						(clock_s() + 5 * 31557600) * 1000, SUPPORT_NOT_AFTER_MS);
	assert_non_null(credential);
	assert_int_equal(key_save_pem(credential->key, key), 0);
	assert_int_equal(certificate_save_pem(credential->certificate, certificate), 0);
	assert_true(sd_event_add_defer(event, NULL, on_stop, &stop) >= 0);
	assert_int_equal(enrollment_first(&settings, event, &stop, reason), -ECANCELED);
	assert_string_equal(reason, "Ended before the clock was set.");
	credential_unref(credential);
	support_overlay_release(&overlay);
	sd_event_unref(event);
	unlink(certificate);
	unlink(key);
	assert_int_equal(rmdir(directory), 0);
}

static void stems(void **state) {
	char stem[PATH_MAX] = "untouched";

	(void)state;
	assert_int_equal(settings_stem("/a/node.crt", "/a/other.key", stem), -EINVAL);
	assert_int_equal(settings_stem("/a/node.pem", "/a/node.key", stem), -EINVAL);
	assert_int_equal(settings_stem("/a/node.crt", "/a/node.crt", stem), -EINVAL);
	assert_int_equal(settings_stem(".crt", ".key", stem), -EINVAL);
	assert_string_equal(stem, "untouched");
	assert_int_equal(settings_stem("/a/node.crt", "/a/node.key", stem), 0);
	assert_string_equal(stem, "/a/node");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(renewal_time),
		cmocka_unit_test(pauses),
		cmocka_unit_test(commands),
		cmocka_unit_test(reasons),
		cmocka_unit_test(needs),
		cmocka_unit_test(stems),
		cmocka_unit_test(waits_for_the_clock),
	};

	return cmocka_run_group_tests_name("node/enroller", tests, NULL, NULL);
}
