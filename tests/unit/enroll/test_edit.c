/* SPDX-License-Identifier: BSD-2-Clause */
/* Changing documents as text (B-11.1-06, B-11.1-11), and the settings of the server. */
#include "support/support_identity.h"

#include "enroll/edit.h"
#include "enroll/enroll_settings.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct overlay_config *changed(const struct overlay_config *config, const struct document_change *change,
				      const struct credential *signer) {
	_cleanup_(writer_release) struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);
	char reason[PROVISION_REASON_SIZE] = "";
	struct overlay_config *next = NULL;

	assert_int_equal(document_change(config, change, signer, &w, reason), 0);
	if (overlay_config_parse(writer_octets_written(&w), NULL, &next, reason) < 0)
		fail_msg("%s", reason);
	return next;
}

static void bump_and_list(void **state) {
	struct kind kind = {
		.id = 0xf0000001, .model = 1, .access = ACCESS_NODE_MATCH, .max_count = 1, .max_size = 10, .required = true};
	struct document_settings settings = {.kinds = &kind, .kind_count = 1};
	struct support_overlay overlay;
	struct id bad = support_node_id(7);
	struct document_change bump = {.bump = true}, list = {.bump = true, .bad_node = &bad};
	char reason[CONFIG_REASON_SIZE];

	(void)state;
	assert_int_equal(support_overlay_new_with(SUPPORT_OVERLAY_NAME, &settings, &overlay), 0);
	_cleanup_(overlay_config_unrefp) struct overlay_config *second = changed(overlay.config, &bump, overlay.signer);
	assert_int_equal(second->sequence, overlay.config->sequence + 1);
	assert_int_equal(overlay_config_check_successor(overlay.config, second, SUPPORT_NOW_MS, reason), 0);
	_cleanup_(overlay_config_unrefp) struct overlay_config *third = changed(second, &list, overlay.signer);
	assert_true(overlay_config_is_bad_node(third, &bad));
	assert_non_null(overlay_config_kind(third, 0xf0000001)); /* its signature still holds */
	assert_int_equal(overlay_config_check_successor(second, third, SUPPORT_NOW_MS, reason), 0);
	_cleanup_(writer_release) struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);
	char sentence[PROVISION_REASON_SIZE];
	assert_int_equal(document_change(third, &list, overlay.signer, &w, sentence), -EEXIST);
	support_overlay_release(&overlay);
}

/* 0 follows 65534. */
static void wrap_around(void **state) {
	struct document_settings settings = {.sequence = 65534};
	struct document_change bump = {.bump = true};
	struct support_overlay overlay;
	char reason[CONFIG_REASON_SIZE];

	(void)state;
	assert_int_equal(support_overlay_new_with(SUPPORT_OVERLAY_NAME, &settings, &overlay), 0);
	_cleanup_(overlay_config_unrefp) struct overlay_config *next = changed(overlay.config, &bump, overlay.signer);
	assert_int_equal(next->sequence, 0);
	assert_int_equal(overlay_config_check_successor(overlay.config, next, SUPPORT_NOW_MS, reason), 0);
	support_overlay_release(&overlay);
}

/* The same document written by somebody who likes prefixes, single quotes and line breaks. */
static void other_spelling(void **state) {
	static const char text[] = "<?xml version='1.0'?>\n<b:overlay xmlns:b='urn:ietf:params:xml:ns:p2p:config-base' >\n"
				   "<b:configuration\n  expiration = \"2099-01-01T00:00:00Z\" instance-name='" SUPPORT_OVERLAY_NAME
				   "'\n\tsequence = '41'\n>"
				   "<b:topology-plugin>CHORD-RELOAD</b:topology-plugin><b:node-id-length>16</b:node-id-length>"
				   "<b:self-signed-permitted digest='sha1'>true</b:self-signed-permitted>"
				   "</b:configuration></b:overlay >\n";
	struct id bad = support_node_id(7);
	struct document_change list = {.bump = true, .bad_node = &bad};
	struct support_overlay overlay;
	struct overlay_config *config = NULL;
	char reason[CONFIG_REASON_SIZE] = "";

	(void)state;
	assert_int_equal(support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay), 0);
	if (overlay_config_parse(octets_of_string(text), NULL, &config, reason) < 0)
		fail_msg("%s", reason);
	_cleanup_(overlay_config_unrefp) struct overlay_config *next = changed(config, &list, overlay.signer);
	assert_int_equal(next->sequence, 42);
	assert_int_equal(next->signature_count, 1);
	assert_true(overlay_config_is_bad_node(next, &bad));
	overlay_config_unref(config);
	support_overlay_release(&overlay);
}

static int load(const char *text, struct enroll_settings **ret, char *reason) {
	char path[] = "/tmp/ringgate-settings.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	int error = enroll_settings_load(path, ret, reason);
	unlink(path);
	return error;
}

#define MINIMAL "[server]\ncertificate = /c\nkey = /k\n[overlay example.org]\ndirectory = /d\n"

static void read_settings(void **state) {
	_cleanup_(enroll_settings_freep) struct enroll_settings *settings = NULL;
	char reason[ENROLL_REASON_SIZE] = "";

	(void)state;
	if (load(MINIMAL
		 "hosts = enroll.example.org a.example.org\n[overlay two.example.org]\ndirectory = /e\n"
		 "[server]\nlisten = 192.0.2.1\nworkers = 3\n[enrollment]\ncertificate-days = 30\nfailures-per-minute = 0\n",
		 &settings, reason) < 0)
		fail_msg("%s", reason);
	assert_int_equal(settings->overlay_count, 2);
	assert_int_equal(settings->overlays[0].host_count, 2);
	assert_string_equal(settings->overlays[1].directory, "/e");
	assert_int_equal(settings->listen.port, 443);
	assert_int_equal(settings->workers, 3);
	assert_int_equal(settings->policy.certificate_days, 30);
	assert_int_equal(settings->failures_per_minute, 0);
	assert_int_equal(settings->policy.failures_max, AUTHORITY_FAILURES_DEFAULT);
}

static void refuse_settings(void **state) {
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"", "certificate and key"},
		{"[server]\ncertificate = /c\nkey = /k\n", "[overlay NAME]"},
		{"[server]\ncertificate = /c\nkey = /k\n[overlay example.org]\nhosts = a\n", "directory"},
		{MINIMAL "[server]\nworkers = 0\n", ":7: [server] workers is \"0\", expected a number from 1 to 64."},
		{MINIMAL "[server]\nworkers = 1x\n", "expected a number"},
		{MINIMAL "[server]\ncertificate = c\n", "an absolute path"},
		{MINIMAL "[server]\nlisten = example.org\n", "an address"},
		{MINIMAL "[server]\nlog-level = loud\n", "debug"},
		{MINIMAL "[server]\nspeed = 1\n", "there is no setting \"speed\""},
		{MINIMAL "[overlay a]\nspeed = 1\n", "there is no setting \"speed\""},
		{MINIMAL "[enrollment]\ncertificate-days = 3651\n", "3650"},
		{MINIMAL "[overlay b]\nhosts = 1 2 3 4 5 6 7 8 9\n", "8 hosts"},
		{MINIMAL "nonsense\n", "neither"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct enroll_settings *settings = NULL;
		char reason[ENROLL_REASON_SIZE] = "";
		assert_int_equal(load(cases[i].text, &settings, reason), -EINVAL);
		if (!strstr(reason, cases[i].says))
			fail_msg("\"%s\" does not say \"%s\"", reason, cases[i].says);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bump_and_list), cmocka_unit_test(wrap_around),	    cmocka_unit_test(other_spelling),
		cmocka_unit_test(read_settings), cmocka_unit_test(refuse_settings),
	};

	return cmocka_run_group_tests_name("enroll/edit", tests, NULL, NULL);
}
