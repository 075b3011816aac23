/* SPDX-License-Identifier: BSD-2-Clause */
#include "support/support_identity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char signer_name[] = "operator@example.org";

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)

struct id support_node_id(uint8_t octet) {
	struct id id = {.length = ID_LENGTH_CHORD};

	memset(id.octets, octet, id.length);
	return id;
}

static struct credential *issue(const struct certificate_request *request, X509 *root, EVP_PKEY *root_key) {
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
	struct credential *credential = NULL;

	if (certificate_issue(request, root, root_key, &certificate) < 0)
		return NULL;
	return credential_new(certificate, request->key, NULL, &credential) < 0 ? NULL : credential;
}

struct credential *support_credential_of_type(struct support_overlay *overlay, enum key_type type, const char *user_name,
					      const struct id *node_ids, size_t count, uint64_t not_before_ms,
					      uint64_t not_after_ms) {
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;

	if (key_generate(type, &key) < 0)
		return NULL;
	const struct certificate_request request = {
	    .overlay_name = overlay->name,
	    .user_name = user_name,
	    .node_ids = node_ids,
	    .node_id_count = count,
	    .key = key,
	    .not_before_ms = not_before_ms,
	    .not_after_ms = not_after_ms,
	};
	return issue(&request, overlay->root, overlay->root_key);
}

struct credential *support_credential(struct support_overlay *overlay, const char *user_name, const struct id *node_ids,
				      size_t count) {
	return support_credential_of_type(overlay, KEY_ECDSA_P256, user_name, node_ids, count, SUPPORT_NOT_BEFORE_MS,
					  SUPPORT_NOT_AFTER_MS);
}

struct credential *support_self_signed(const char *overlay_name, const char *digest, const char *user_name, size_t count) {
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	struct id node_ids[CERTIFICATE_NODE_IDS_MAX];

	if (count > CERTIFICATE_NODE_IDS_MAX || key_generate(KEY_ECDSA_P256, &key) < 0)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (self_signed_node_id(key, digest, count == 1 ? 0 : (uint32_t)i + 1, ID_LENGTH_CHORD, &node_ids[i]) < 0)
			return NULL;
	const struct certificate_request request = {
	    .overlay_name = overlay_name,
	    .user_name = user_name,
	    .node_ids = node_ids,
	    .node_id_count = count,
	    .key = key,
	    .not_before_ms = SUPPORT_NOT_BEFORE_MS,
	    .not_after_ms = SUPPORT_NOT_AFTER_MS,
	};
	return issue(&request, NULL, NULL);
}

struct document_settings support_settings(const struct support_overlay *overlay, const struct document_settings *settings) {
	struct document_settings filled = settings ? *settings : (struct document_settings){.sequence = 1, .no_ice = true};

	if (!filled.overlay_name)
		filled.overlay_name = overlay->name;
	if (filled.expiration_ms == 0)
		filled.expiration_ms = SUPPORT_NOT_AFTER_MS;
	if (!filled.roots) {
		filled.roots = &overlay->root;
		filled.root_count = 1;
	}
	if (!filled.configuration_signers) {
		filled.configuration_signers = &overlay->signer->node_id;
		filled.configuration_signer_count = 1;
	}
	if (!filled.kind_signers) {
		filled.kind_signers = &overlay->signer->node_id;
		filled.kind_signer_count = 1;
	}
	if (!filled.kind_signer)
		filled.kind_signer = overlay->signer;
	return filled;
}

static int make_config(const struct support_overlay *overlay, const struct document_settings *settings,
		       struct overlay_config **ret) {
	struct document_settings filled = support_settings(overlay, settings);
	_cleanup_(writer_release) struct writer document = writer_growing(CONFIG_DOCUMENT_MAX);
	char reason[CONFIG_REASON_SIZE] = "the document could not be written";
	int r = document_write(&filled, overlay->signer, &document);

	if (r >= 0)
		r = overlay_config_parse(writer_octets_written(&document), NULL, ret, reason);
	if (r < 0)
		fprintf(stderr, "support_identity: %s\n", reason);
	return r;
}

int support_overlay_new_with(const char *name, const struct document_settings *settings, struct support_overlay *ret) {
	const struct id signer_id = {.length = ID_LENGTH_CHORD, .octets = {0x51, 0x60, 0x4e, 0x45, 0x52}};

	*ret = (struct support_overlay){0};
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	int r = key_generate(KEY_ECDSA_P256, &ret->root_key);
	if (r >= 0)
		r = certificate_make_root("Example Root", ret->root_key, SUPPORT_NOT_BEFORE_MS, SUPPORT_NOT_AFTER_MS, &ret->root);
	if (r < 0)
		return r;
	ret->signer = support_credential(ret, signer_name, &signer_id, 1);
	if (!ret->signer)
		return -EIO;
	r = make_config(ret, settings, &ret->config);
	return r < 0 ? r : trust_new(ret->config, &ret->trust);
}

int support_overlay_new(const char *name, struct support_overlay *ret) {
	return support_overlay_new_with(name, NULL, ret);
}

int support_overlay_reconfigure(struct support_overlay *overlay, const struct document_settings *settings) {
	struct overlay_config *config;
	int r = make_config(overlay, settings, &config);

	if (r < 0)
		return r;
	overlay_config_unref(overlay->config);
	overlay->config = config;
	trust_set_config(overlay->trust, config);
	return 0;
}

void support_overlay_release(struct support_overlay *overlay) {
	trust_free(overlay->trust);
	overlay_config_unref(overlay->config);
	credential_unref(overlay->signer);
	EVP_PKEY_free(overlay->root_key);
	X509_free(overlay->root);
	*overlay = (struct support_overlay){0};
}
