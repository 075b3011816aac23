/* SPDX-License-Identifier: BSD-2-Clause */
/* What document_write() writes, overlay_config_parse() reads back: B-11.1-01, B-11.1-03, B-11.1-09, B-11.1-11, B-11.1-14. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "support/support_identity.h"

static struct support_overlay overlay;

static int setup(void **state) {
	(void)state;
	return support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay);
}

static int teardown(void **state) {
	(void)state;
	support_overlay_release(&overlay);
	return 0;
}

static void round_trip(void **state) {
	static const char *const servers[] = {"https://enroll.example.org/x?a=1&b=<\">"};
	struct address bootstrap[2];
	const struct id signers[2] = {overlay.signer->node_id, support_node_id(5)}, bad = support_node_id(6);
	X509 *const roots[2] = {overlay.root, overlay.root};
	struct kind kind = *kind_registered(KIND_TURN_SERVICE);
	struct overlay_config *config;
	char reason[CONFIG_REASON_SIZE];

	(void)state;
	assert_int_equal(address_parse("192.0.2.7:7000", 0, &bootstrap[0]), 0);
	assert_int_equal(address_parse("[2001:db8::7]", RELOAD_PORT, &bootstrap[1]), 0);
	kind.max_count = 3;
	const struct document_settings settings = {
		.overlay_name = SUPPORT_OVERLAY_NAME,
		.sequence = 65534,
		.expiration_ms = UINT64_C(1917846000000),
		.roots = roots,
		.root_count = 2,
		.self_signed_digest = "sha256",
		.bootstrap = bootstrap,
		.bootstrap_count = 2,
		.configuration_signers = signers,
		.configuration_signer_count = 2,
		.kind_signers = signers,
		.kind_signer_count = 1,
		.bad_nodes = &bad,
		.bad_node_count = 1,
		.enrollment_servers = servers,
		.enrollment_server_count = 1,
		.shared_secret = "a<b>&\"c",
		.no_ice = true,
		.clients_forbidden = true,
		.turn_density_given = true,
		.turn_density = 0,
		.max_message_size = 1400,
		.reliability_timer_ms = 1000,
		.chord_update_interval_s = 60,
		.chord_ping_interval_s = 120,
		.initial_ttl = 20,
		.kinds = &kind,
		.kind_count = 1,
		.kind_signer = overlay.signer,
	};
	struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);
	assert_int_equal(document_write(&settings, overlay.signer, &w), 0);
	assert_int_equal(overlay_config_parse(writer_octets_written(&w), SUPPORT_OVERLAY_NAME, &config, reason), 0);
	assert_int_equal(config->sequence, 65534);
	assert_true(config->expiration_ms == settings.expiration_ms);
	assert_int_equal(config->root_count, 2);
	assert_int_equal(X509_cmp(config->roots[1], overlay.root), 0);
	assert_string_equal(config->self_signed_digest, "sha256");
	assert_int_equal(config->bootstrap_count, 2);
	assert_true(address_equal(&config->bootstrap[0], &bootstrap[0]));
	assert_true(address_equal(&config->bootstrap[1], &bootstrap[1]));
	assert_int_equal(config->configuration_signer_count, 2);
	assert_true(id_equal(&config->configuration_signers[1], &signers[1]));
	assert_int_equal(config->kind_signer_count, 1);
	assert_true(overlay_config_is_bad_node(config, &bad));
	assert_string_equal(config->enrollment_servers[0], servers[0]);
	assert_string_equal(config->shared_secret, "a<b>&\"c");
	assert_true(config->no_ice);
	assert_false(config->clients_permitted);
	assert_int_equal(config->turn_density, 0);
	assert_int_equal(config->max_message_size, 1400);
	assert_int_equal(config->reliability_timer_ms, 1000);
	assert_int_equal(config->chord_update_interval_s, 60);
	assert_int_equal(config->chord_ping_interval_s, 120);
	assert_int_equal(config->initial_ttl, 20);
	assert_int_equal(overlay_config_kind(config, KIND_TURN_SERVICE)->max_count, 3);
	assert_int_equal(config->signature_count, 1);
	overlay_config_unref(config);
	writer_release(&w);
}

/* Written behind something else, and left as it was after a failure. */
static void appended(void **state) {
	struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);
	struct document_settings settings = support_settings(&overlay, NULL);
	struct overlay_config *config;
	char reason[CONFIG_REASON_SIZE];

	(void)state;
	writer_raw(&w, "before", 6);
	assert_int_equal(document_write(&settings, overlay.signer, &w), 0);
	assert_int_equal(overlay_config_parse(OCTETS(w.data + 6, w.length - 6), NULL, &config, reason), 0);
	overlay_config_unref(config);
	w.length = 6;
	settings.overlay_name = "not a name";
	assert_int_equal(document_write(&settings, overlay.signer, &w), -EINVAL);
	assert_int_equal(w.length, 6);
	settings.overlay_name = "a\" sequence=\"7";
	assert_int_equal(document_write(&settings, overlay.signer, &w), -EINVAL);
	settings.overlay_name = SUPPORT_OVERLAY_NAME;
	settings.sequence = 65535;
	assert_int_equal(document_write(&settings, overlay.signer, &w), -EINVAL);
	settings.sequence = 1;
	settings.reliability_timer_ms = 199;
	assert_int_equal(document_write(&settings, overlay.signer, &w), -EINVAL);
	writer_release(&w);
	w = writer_growing(100);
	settings.reliability_timer_ms = 200;
	assert_int_equal(document_write(&settings, overlay.signer, &w), -ENOBUFS);
	writer_release(&w);
}

static void ten_years(void **state) {
	struct document_settings settings = support_settings(&overlay, NULL);
	struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);
	struct overlay_config *config;
	char reason[CONFIG_REASON_SIZE];
	uint64_t now_ms = (uint64_t)time(NULL) * 1000, year_ms = UINT64_C(365) * 86400 * 1000;

	(void)state;
	settings.expiration_ms = 0;
	assert_int_equal(document_write(&settings, NULL, &w), 0);
	assert_int_equal(overlay_config_parse(writer_octets_written(&w), NULL, &config, reason), 0);
	assert_true(config->expiration_ms > now_ms + 9 * year_ms && config->expiration_ms < now_ms + 11 * year_ms);
	assert_int_equal(config->signature_count, 0);
	overlay_config_unref(config);
	writer_release(&w);
}

/* Every combination of the three signing keys works: RSA and ECDSA, one and several Node-IDs. */
static void signers(void **state) {
	const struct id ids[2] = {support_node_id(0x31), support_node_id(0x32)};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct credential *signer =
			support_credential_of_type(&overlay, i & 1 ? KEY_RSA_2048 : KEY_ECDSA_P256, "operator@example.org", ids,
						   i & 2 ? 2 : 1, SUPPORT_NOT_BEFORE_MS, SUPPORT_NOT_AFTER_MS);
		const struct document_settings changes = {
			.sequence = 1, .configuration_signers = ids, .configuration_signer_count = 1};
		struct document_settings settings = support_settings(&overlay, &changes);
		struct writer first = writer_growing(CONFIG_DOCUMENT_MAX), second = writer_growing(CONFIG_DOCUMENT_MAX);
		struct overlay_config *current, *next;
		char reason[CONFIG_REASON_SIZE] = "";
		assert_int_equal(document_write(&settings, NULL, &first), 0);
		settings.sequence = 2;
		assert_int_equal(document_write(&settings, signer, &second), 0);
		assert_int_equal(overlay_config_parse(writer_octets_written(&first), NULL, &current, reason), 0);
		assert_int_equal(overlay_config_parse(writer_octets_written(&second), NULL, &next, reason), 0);
		assert_int_equal(overlay_config_check_successor(current, next, SUPPORT_NOW_MS, reason), 0);
		overlay_config_unref(current);
		overlay_config_unref(next);
		writer_release(&first);
		writer_release(&second);
		credential_unref(signer);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(appended),
		cmocka_unit_test(ten_years),
		cmocka_unit_test(signers),
	};
	return cmocka_run_group_tests_name("overlay/document", tests, setup, teardown);
}
