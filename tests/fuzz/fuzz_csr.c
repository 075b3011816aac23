/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certificate signing requests as the enrollment server reads them. What is accepted has a key and a usable name; a refusal says
 * why and leaves nothing.
 */
#include "enroll/csr.h"
#include "enroll/ledger.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	char name[USER_NAME_MAX + 1] = "";
	const char *why = NULL;
	EVP_PKEY *key = NULL;
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (!copy)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	if (csr_read(OCTETS(copy, size), &key, name, &why) == 0) {
		if (!key || (name[0] && !ledger_name_usable(OCTETS(name, strlen(name)))))
			abort();
	} else if (key || !why) {
		abort();
	}
	EVP_PKEY_free(key);
	free(copy);
	return 0;
}
