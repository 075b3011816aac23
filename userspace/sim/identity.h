/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Identities of a simulated overlay: root certificate, configuration document, one trust cache that all nodes share, and
 * certificates of nodes and users. Certificates are real, and all of one name length have the same length. Signatures of nodes and
 * users are real ones, each with a key of its own, or a stand-in of the usual length that costs no public-key operation; with that,
 * octet counts follow from the seed alone.
 */
#pragma once

#include "overlay/document.h"
#include "overlay/signature.h"

enum { SIM_KIND = 0xf0000001 /* private, one value per user, USER-MATCH */ };

struct sim_identity_settings {
	uint64_t seed;
	uint32_t update_interval_s, ping_interval_s;
	bool real_signatures;
};

struct sim_identity {
	struct sim_identity_settings settings;
	X509 *root;
	EVP_PKEY *root_key, *node_key; /* the latter shared by all whose signatures are stand-ins */
	struct credential *signer;
	struct overlay_config *config;
	struct trust *trust;
	uint64_t random;
};

int sim_identity_new(const struct sim_identity_settings *settings, struct sim_identity *ret);
void sim_identity_release(struct sim_identity *identity);

/* A configuration document of the overlay, signed, with that number. */
int sim_identity_document(const struct sim_identity *identity, uint16_t sequence, struct writer *document);

/* For a node with a configuration of its own: what it trusts, with the first document in force. */
int sim_identity_trust(const struct sim_identity *identity, struct trust **ret);

/* "PREFIXnnnnnnn@example.org", with a Node-ID drawn from the seed; NULL on failure. */
struct credential *sim_identity_credential(struct sim_identity *identity, const char *prefix, size_t number);
