/* SPDX-License-Identifier: BSD-2-Clause */
/* An overlay for tests: root certificate, configuration document, credentials of nodes and users. Valid from 2000 to 2100. */
#pragma once

#include "overlay/document.h"
#include "overlay/signature.h"

#define SUPPORT_OVERLAY_NAME "overlay.example.org"
#define SUPPORT_NOT_BEFORE_MS UINT64_C(946684800000) /* 2000-01-01T00:00:00Z */
#define SUPPORT_NOW_MS UINT64_C(1767225600000)	     /* 2026-01-01T00:00:00Z */
#define SUPPORT_NOT_AFTER_MS UINT64_C(4102444800000) /* 2100-01-01T00:00:00Z */

struct support_overlay {
	char name[254];
	X509 *root;
	EVP_PKEY *root_key;
	struct credential *signer;     /* the configuration-signer and kind-signer of the document */
	struct overlay_config *config; /* as a node parsed it */
	struct trust *trust;
};

/* 0 or negative errno. `overlay` may be released after a failure, too. */
int support_overlay_new(const char *name, struct support_overlay *ret);

/*
 * The same with more in the document: overlay_name, roots, signers, expiration and kind_signer of `settings` (may be NULL) are
 * filled in here where they are not set; everything else is taken as it is.
 */
int support_overlay_new_with(const char *name, const struct document_settings *settings, struct support_overlay *ret);
void support_overlay_release(struct support_overlay *overlay);

/* A new document under the same root and signer, put into overlay->config and overlay->trust. */
int support_overlay_reconfigure(struct support_overlay *overlay, const struct document_settings *settings);

/* Fills in what a document of this overlay needs. */
struct document_settings support_settings(const struct support_overlay *overlay, const struct document_settings *settings);

/* Issued by the overlay's root with a new ECDSA key; signs as the first Node-ID. NULL on failure. */
struct credential *support_credential(struct support_overlay *overlay, const char *user_name, const struct id *node_ids,
				      size_t count);
struct credential *support_credential_of_type(struct support_overlay *overlay, enum key_type type, const char *user_name,
					      const struct id *node_ids, size_t count, uint64_t not_before_ms,
					      uint64_t not_after_ms);

/* Self-signed, with `count` Node-IDs that follow from the key. */
struct credential *support_self_signed(const char *overlay_name, const char *digest, const char *user_name, size_t count);

/* A Node-ID of 16 octets: all `octet`. */
struct id support_node_id(uint8_t octet);
