/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates as they come in security blocks and handshakes. */
#include "overlay/signature.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                                                         \
	do {                                                                                                                       \
		if (!(condition))                                                                                                  \
			abort();                                                                                                   \
	} while (0)

static void check_certificate(const struct certificate *certificate, struct octets der) {
	REQUIRE(certificate->node_id_count >= 1 && certificate->node_id_count <= CERTIFICATE_NODE_IDS_MAX);
	REQUIRE(certificate->user_name[0] != 0 && strlen(certificate->user_name) <= USER_NAME_MAX);
	REQUIRE(octets_equal(OCTETS(certificate->der, certificate->der_length), der));
	for (size_t i = 0; i < certificate->node_id_count; i++)
		REQUIRE(certificate->node_ids[i].length == ID_LENGTH_CHORD);
}

/* A verification with a key of the input's choice. */
static void check_signature(struct certificate *certificate, struct octets octets) {
	const struct signature signature = {
		.hash_algorithm = HASH_SHA256,
		.signature_algorithm = EVP_PKEY_get_base_id(certificate->key) == EVP_PKEY_RSA ? SIGNATURE_RSA : SIGNATURE_ECDSA,
		.value = OCTETS(octets.data, octets.length < 72 ? octets.length : 72),
	};
	REQUIRE(signature_check(certificate, octets, &signature) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static const char document[] =
		"<overlay xmlns=\"urn:ietf:params:xml:ns:p2p:config-base\"><configuration instance-name=\"overlay.example.org\">"
		"<self-signed-permitted digest=\"sha1\">1</self-signed-permitted></configuration></overlay>";
	static struct trust *trust;
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
	const char *reason = NULL;

	if (!trust) {
		_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
		char sentence[CONFIG_REASON_SIZE];
		REQUIRE(overlay_config_parse(octets_of_string(document), NULL, &config, sentence) == 0);
		REQUIRE(trust_new(config, &trust) == 0);
	}
	if (certificate_from_der(OCTETS(data, size), NULL, ID_LENGTH_CHORD, &certificate, &reason) < 0) {
		REQUIRE(reason && reason[0] != 0);
		return 0;
	}
	check_certificate(certificate, OCTETS(data, size));
	check_signature(certificate, OCTETS(data, size));
	reason = NULL;
	if (trust_check(trust, certificate, UINT64_C(1767225600000), &reason) < 0)
		REQUIRE(reason && reason[0] != 0);
	return 0;
}
