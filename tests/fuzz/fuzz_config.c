/* SPDX-License-Identifier: BSD-2-Clause */
/* Configuration documents, kind-blocks of a ConfigUpdate, and domain patterns. */
#include "overlay/config.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NAMESPACE "urn:ietf:params:xml:ns:p2p:config-base"
#define REQUIRE(condition)                                                                                                         \
	do {                                                                                                                       \
		if (!(condition))                                                                                                  \
			abort();                                                                                                   \
	} while (0)

static const char base[] =
	"<overlay xmlns=\"" NAMESPACE "\"><configuration instance-name=\"a\"><self-signed-permitted digest=\"sha1\">"
	"1</self-signed-permitted></configuration></overlay>";

/* One sentence on one line, whatever stood in the input. */
static void check_reason(const char reason[static CONFIG_REASON_SIZE]) {
	REQUIRE(memchr(reason, 0, CONFIG_REASON_SIZE) && reason[0] != 0);
}

static void fuzz_document(struct octets document) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL, *again = NULL;
	char reason[CONFIG_REASON_SIZE] = "";

	if (overlay_config_parse(document, NULL, &config, reason) < 0) {
		check_reason(reason);
		return;
	}
	/* What was accepted has its signed part inside the document, and is accepted again under its own name. */
	REQUIRE(config->configuration.data >= config->document);
	REQUIRE(config->configuration.data + config->configuration.length <= config->document + config->document_length);
	REQUIRE(config->configuration.data[0] == '<' && config->configuration.data[config->configuration.length - 1] == '>');
	REQUIRE(overlay_config_parse(document, config->overlay_name, &again, reason) == 0);
	for (size_t i = 0; i < config->kind_count; i++)
		kind_domain_allowed(&config->kinds[i], "alice@example.org", config->overlay_name);
	again->sequence = (uint16_t)((config->sequence + 1) % 65535);
	if (overlay_config_check_successor(config, again, 1, reason) < 0)
		check_reason(reason);
}

static void fuzz_kind_block(struct octets block) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL, *updated = NULL;
	char reason[CONFIG_REASON_SIZE] = "";

	REQUIRE(overlay_config_parse(octets_of_string(base), NULL, &config, reason) == 0);
	if (overlay_config_with_kinds(config, &block, 1, &updated, reason) < 0)
		check_reason(reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	char pattern[DOMAIN_PATTERN_LENGTH_MAX + 1];

	fuzz_document(OCTETS(data, size));
	if (size > 11 && memcmp(data, "<kind-block", 11) == 0)
		fuzz_kind_block(OCTETS(data, size));
	if (size > 0 && size < sizeof(pattern)) {
		struct kind kind = {.domain_rule = DOMAIN_PATTERNS, .domain_patterns = {pattern}, .domain_pattern_count = 1};
		memcpy(pattern, data, size);
		pattern[size] = 0;
		if (domain_pattern_check(pattern) == 0)
			kind_domain_allowed(&kind, "alice@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.org", "example.org");
	}
	return 0;
}
