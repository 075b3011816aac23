/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing configuration documents: used by provisioning, tests and `make run`. */
#pragma once

#include "overlay/certificate.h"
#include "overlay/config.h"

struct document_settings {
	const char *overlay_name;
	uint16_t sequence;
	uint64_t expiration_ms;           /* 0: ten years from the system's time */
	X509 *const *roots;
	size_t root_count;
	const char *self_signed_digest;   /* NULL: not permitted */
	const struct address *bootstrap;
	size_t bootstrap_count;
	const struct id *configuration_signers, *kind_signers, *bad_nodes;
	size_t configuration_signer_count, kind_signer_count, bad_node_count;
	const char *const *enrollment_servers; /* https URLs */
	size_t enrollment_server_count;
	const char *shared_secret;        /* NULL: none */
	bool no_ice, clients_forbidden;
	bool turn_density_given;
	uint8_t turn_density;
	uint32_t max_message_size, reliability_timer_ms, chord_update_interval_s, chord_ping_interval_s; /* 0: leave out */
	uint8_t initial_ttl;              /* 0: leave out */
	/* Kinds to list in required-kinds; signed by kind_signer when given. */
	const struct kind *kinds;
	size_t kind_count;
	const struct credential *kind_signer;
};
/*
 * Appends a document with one configuration; signed by `signer` when not NULL. The result passes overlay_config_parse().
 * -EINVAL when the settings make no valid document (Kinds without kind_signer among them: Q-62), -ENOMEM, the writer's error.
 */
int document_write(const struct document_settings *settings, const struct credential *signer, struct writer *w);

/* A kind-block element on its own, for a ConfigUpdate of type kind. */
int kind_block_write(const struct kind *kind, const struct credential *kind_signer, struct writer *w);
