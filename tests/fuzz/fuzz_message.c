/* SPDX-License-Identifier: BSD-2-Clause */
/* Every decoder of userspace/wire over the same input, for both ends of the range of Node-ID lengths. */
#include "../support/wire_recode.h"

#include "mutate_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_text(const uint8_t *data, size_t size) {
	char text[RELOAD_URI_MAX + 1], again[RELOAD_URI_MAX + 1];
	uint8_t list[GRUU_LIST_MAX];
	struct reload_uri uri;
	size_t length;

	if (size >= sizeof(text))
		return;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = 0;
	if (reload_uri_parse(text, &uri) == 0) {
		RECODE_CHECK(reload_uri_format(&uri, again, sizeof(again)) == 0);
		RECODE_CHECK(strcasecmp(text, again) == 0);
	}
	if (gruu_value_parse(text, list, sizeof(list), &length) == 0) {
		RECODE_CHECK(gruu_value_format(OCTETS(list, length), again, sizeof(again)) == 0);
		RECODE_CHECK(strcmp(text, again) == 0);
	}
	error_info_text(OCTETS(data, size), text, sizeof(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	for (size_t i = 0; i < ARRAY_LENGTH(recoders); i++) {
		recode_run(&recoders[i], OCTETS(data, size), ID_LENGTH_MIN);
		recode_run(&recoders[i], OCTETS(data, size), ID_LENGTH_MAX);
	}
	array_ranges_check(OCTETS(data, size));
	dictionary_keys_check(OCTETS(data, size));
	fuzz_text(data, size);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
	size_t mutated = seed & 1 ? mutate_message(data, size, max, seed >> 1) : 0;

	return mutated > 0 ? mutated : LLVMFuzzerMutate(data, size, max);
}
