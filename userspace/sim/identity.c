/* SPDX-License-Identifier: BSD-2-Clause */
#include "sim/identity.h"

#include "sim/random.h"

#include <errno.h>
#include <string.h>

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)

#define OVERLAY_NAME "overlay.example.org"
#define NOT_BEFORE_MS UINT64_C(946684800000) /* 2000-01-01T00:00:00Z */
#define NOT_AFTER_MS UINT64_C(4102444800000) /* 2100-01-01T00:00:00Z */

enum {
	CACHE_MAX = 4 << 20,
	STAND_IN_OCTETS = 71,	    /* of an ECDSA P-256 signature, as a rule */
	CERTIFICATE_SIGNATURE = 71, /* certificates with another length are issued anew */
	CERTIFICATE_SERIAL = 16,
	ISSUES_MAX = 1000,
};

/* Depends on digest and certificate: tampering with either is noticed, as with a signature. */
static void stand_in(const struct certificate *certificate, const uint8_t digest[static 32],
		     uint8_t value[static STAND_IN_OCTETS]) {
	for (size_t i = 0; i < STAND_IN_OCTETS; i++)
		value[i] = (uint8_t)(digest[i % 32] + certificate->sha256[(i + i / 32) % 32] * 5);
}

static int stand_in_sign(const struct credential *credential, const uint8_t digest[static 32], uint8_t *value, size_t *ret_length) {
	stand_in(credential->certificate, digest, value);
	*ret_length = STAND_IN_OCTETS;
	return 0;
}

static int stand_in_verify(const struct certificate *certificate, const uint8_t digest[static 32], struct octets value) {
	uint8_t expected[STAND_IN_OCTETS];

	stand_in(certificate, digest, expected);
	return value.length == sizeof(expected) && memcmp(value.data, expected, sizeof(expected)) == 0 ? 0 : -EKEYREJECTED;
}

static const struct signature_scheme scheme_stand_in = {.sign = stand_in_sign, .verify = stand_in_verify};

static bool usual_length(const struct certificate *certificate) {
	const ASN1_BIT_STRING *signature = NULL;

	X509_get0_signature(&signature, NULL, certificate->x509);
	return ASN1_STRING_length(signature) == CERTIFICATE_SIGNATURE &&
	       ASN1_STRING_length(X509_get0_serialNumber(certificate->x509)) == CERTIFICATE_SERIAL;
}

static struct credential *issue(struct sim_identity *identity, const char *user_name, const struct id *node_id, EVP_PKEY *key) {
	const struct certificate_request request = {
		.overlay_name = OVERLAY_NAME,
		.user_name = user_name,
		.node_ids = node_id,
		.node_id_count = 1,
		.key = key,
		.not_before_ms = NOT_BEFORE_MS,
		.not_after_ms = NOT_AFTER_MS,
	};

	for (unsigned i = 0; i < ISSUES_MAX; i++) {
		_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
		struct credential *credential = NULL;
		if (certificate_issue(&request, identity->root, identity->root_key, &certificate) < 0)
			return NULL;
		if (!usual_length(certificate))
			continue;
		return credential_new(certificate, key, NULL, &credential) < 0 ? NULL : credential;
	}
	return NULL;
}

static struct id random_id(struct sim_identity *identity) {
	struct id id = {.length = ID_LENGTH_CHORD};

	for (size_t i = 0; i < id.length; i += 8) {
		uint64_t value = splitmix(&identity->random);
		memcpy(id.octets + i, &value, 8);
	}
	return id;
}

struct credential *sim_identity_credential(struct sim_identity *identity, const char *prefix, size_t number) {
	struct id node_id = random_id(identity);
	char name[64];

	_cleanup_(EVP_PKEY_freep) EVP_PKEY *own_key = NULL;

	if (identity->settings.real_signatures && key_generate(KEY_ECDSA_P256, &own_key) < 0)
		return NULL;
	snprintf(name, sizeof(name), "%s%07zu@example.org", prefix, number);
	struct credential *credential = issue(identity, name, &node_id, own_key ? own_key : identity->node_key);
	if (credential) {
		if (!identity->settings.real_signatures)
			credential_set_signature_scheme(credential, &scheme_stand_in);
		/* So that everybody who receives it shares this one instead of another made from its octets. */
		(void)trust_check(identity->trust, credential->certificate, NOT_BEFORE_MS, NULL);
	}
	return credential;
}

int sim_identity_document(const struct sim_identity *identity, uint16_t sequence, struct writer *document) {
	const struct kind kinds[] = {
		{.id = SIM_KIND, .model = DATA_MODEL_SINGLE, .access = ACCESS_USER_MATCH, .max_count = 1, .max_size = 2000},
	};
	const struct document_settings settings = {
		.overlay_name = OVERLAY_NAME,
		.sequence = sequence,
		.expiration_ms = NOT_AFTER_MS,
		.roots = &identity->root,
		.root_count = 1,
		.no_ice = true,
		.configuration_signers = &identity->signer->node_id,
		.configuration_signer_count = 1,
		.kind_signers = &identity->signer->node_id,
		.kind_signer_count = 1,
		.kind_signer = identity->signer,
		.kinds = kinds,
		.kind_count = ARRAY_LENGTH(kinds),
		.chord_update_interval_s = identity->settings.update_interval_s,
		.chord_ping_interval_s = identity->settings.ping_interval_s,
	};

	return document_write(&settings, identity->signer, document);
}

static int make_config(struct sim_identity *identity) {
	_cleanup_(writer_release) struct writer document = writer_growing(CONFIG_DOCUMENT_MAX);
	char reason[CONFIG_REASON_SIZE];
	int error = sim_identity_document(identity, 1, &document);

	return error < 0 ? error : overlay_config_parse(writer_octets_written(&document), NULL, &identity->config, reason);
}

int sim_identity_trust(const struct sim_identity *identity, struct trust **ret) {
	int error = trust_new(identity->config, ret);

	if (error < 0)
		return error;
	trust_set_cache_max(*ret, CACHE_MAX);
	if (!identity->settings.real_signatures)
		trust_set_signature_scheme(*ret, &scheme_stand_in);
	return 0;
}

int sim_identity_new(const struct sim_identity_settings *settings, struct sim_identity *ret) {
	struct sim_identity identity = {.settings = *settings, .random = settings->seed};
	int error = key_generate(KEY_ECDSA_P256, &identity.root_key);

	if (error == 0)
		error = key_generate(KEY_ECDSA_P256, &identity.node_key);
	if (error == 0)
		error = certificate_make_root("Example Root", identity.root_key, NOT_BEFORE_MS, NOT_AFTER_MS, &identity.root);
	if (error == 0) {
		struct id signer_id = random_id(&identity);
		identity.signer = issue(&identity, "operator@example.org", &signer_id, identity.node_key);
		error = identity.signer ? 0 : -EIO;
	}
	if (error == 0)
		error = make_config(&identity);
	if (error == 0)
		error = sim_identity_trust(&identity, &identity.trust);
	if (error < 0) {
		sim_identity_release(&identity);
		return error;
	}
	*ret = identity;
	return 0;
}

void sim_identity_release(struct sim_identity *identity) {
	trust_free(identity->trust);
	overlay_config_unref(identity->config);
	credential_unref(identity->signer);
	EVP_PKEY_free(identity->node_key);
	EVP_PKEY_free(identity->root_key);
	X509_free(identity->root);
	*identity = (struct sim_identity){0};
}
