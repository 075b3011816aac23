/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Identities of a simulated overlay: root certificate, configuration document, one trust cache that all nodes share, and
 * certificates of nodes and users. Certificates are real; signatures of nodes are a stand-in of the same length that costs no
 * public-key operation. All certificates of one name length have the same length, so that octet counts follow from the seed alone.
 */
#pragma once

#include "overlay/document.h"
#include "overlay/signature.h"

enum { SIM_KIND = 0xf0000001 /* private, one value per user, USER-MATCH */ };

struct sim_identity {
	X509 *root;
	EVP_PKEY *root_key, *node_key; /* the latter shared by all: nothing is signed with it */
	struct credential *signer;
	struct overlay_config *config;
	struct trust *trust;
	uint64_t random;
	uint32_t update_interval_s, ping_interval_s;
};

int sim_identity_new(uint64_t seed, uint32_t update_interval_s, uint32_t ping_interval_s, struct sim_identity *ret);
void sim_identity_release(struct sim_identity *identity);

/* A configuration document of the overlay, signed, with that number. */
int sim_identity_document(const struct sim_identity *identity, uint16_t sequence, struct writer *document);

/* For a node with a configuration of its own: what it trusts, with the first document in force. */
int sim_identity_trust(const struct sim_identity *identity, struct trust **ret);

/* "PREFIXnnnnnnn@example.org", with a Node-ID drawn from the seed; NULL on failure. */
struct credential *sim_identity_credential(struct sim_identity *identity, const char *prefix, size_t number);
