/* SPDX-License-Identifier: BSD-2-Clause */
/* The overlay configuration document (RFC 6940 11.1): immutable and reference counted once parsed. */
#pragma once

#include "base/address.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "overlay/kind.h"

#include <openssl/x509.h>

enum {
	CONFIG_DOCUMENT_MAX = 256 * 1024, /* octets */
	CONFIG_BOOTSTRAP_MAX = 64,
	CONFIG_ROOTS_MAX = 8,
	CONFIG_SIGNERS_MAX = 32,
	CONFIG_BAD_NODES_MAX = 4096,
	CONFIG_ENROLLMENT_MAX = 8,
	CONFIG_SIGNATURES_MAX = 8,        /* signature elements after one configuration that are looked at; others are passed over */
	CONFIG_LINK_PROTOCOLS_MAX = 4,
	CONFIG_MESSAGE_SIZE_MIN = 512,    /* below this not even an answer with one certificate fits */
	CONFIG_MESSAGE_SIZE_MAX = 0xffffff, /* what a frame and a fragment offset can express */
	CONFIG_REASON_SIZE = 256,
};

struct overlay_config {
	unsigned references;
	char overlay_name[254];
	uint32_t overlay_hash;            /* header field */
	uint16_t sequence;
	uint64_t expiration_ms;           /* 0: never */
	char topology_plugin[32];
	uint8_t node_id_length;
	X509 *roots[CONFIG_ROOTS_MAX];
	size_t root_count;
	char *enrollment_servers[CONFIG_ENROLLMENT_MAX];
	size_t enrollment_server_count;
	bool self_signed_permitted;
	char self_signed_digest[8];       /* "sha1" or "sha256" */
	struct address bootstrap[CONFIG_BOOTSTRAP_MAX];
	size_t bootstrap_count;
	uint8_t turn_density;
	bool clients_permitted, no_ice;
	char *shared_secret;              /* wiped when the document is freed */
	uint32_t max_message_size;
	uint8_t initial_ttl;
	uint32_t reliability_timer_ms;
	char *link_protocols[CONFIG_LINK_PROTOCOLS_MAX];
	size_t link_protocol_count;
	bool link_dtls, link_tls;         /* which of those we speak are among them */
	struct id configuration_signers[CONFIG_SIGNERS_MAX], kind_signers[CONFIG_SIGNERS_MAX];
	size_t configuration_signer_count, kind_signer_count;
	struct id *bad_nodes;             /* sorted */
	size_t bad_node_count;
	struct kind kinds[KINDS_MAX];     /* required-kinds and kind-blocks, plus the registered Kinds not mentioned */
	size_t kind_count;
	uint32_t chord_update_interval_s, chord_ping_interval_s;
	bool chord_reactive;

	uint8_t *document;                /* the octets as received, for storage and ConfigUpdate */
	size_t document_length;
	struct octets configuration;      /* `<configuration`…`>` inside document: what signatures cover */
	uint8_t *signatures[CONFIG_SIGNATURES_MAX]; /* decoded SecurityBlocks that follow it */
	size_t signature_lengths[CONFIG_SIGNATURES_MAX], signature_count;
};

/*
 * Parses and validates one document (the first configuration whose instance-name is `overlay_name`, or the first one when that is
 * NULL): RELAX NG grammar, ranges, defaults, mandatory extensions, required Kinds, kind signatures. No network, no entities.
 * `reason` receives one sentence with line number and element. -EBADMSG bad document, -EOPNOTSUPP we cannot take part,
 * -E2BIG a named limit was hit, -ENOMEM.
 */
int overlay_config_parse(struct octets document, const char *overlay_name, struct overlay_config **ret, char reason[static CONFIG_REASON_SIZE]);
int overlay_config_load(const char *path, const char *overlay_name, struct overlay_config **ret, char reason[static CONFIG_REASON_SIZE]);

/*
 * The head alone: attributes, what signatures cover, and the signatures; enough for overlay_config_check_successor(). What the
 * elements say is not looked at, so that a genuine document which this node does not support can be told from a forged one.
 * -ENXIO no configuration for `overlay_name`, -EBADMSG, -E2BIG, -ENOMEM.
 */
int overlay_config_parse_head(struct octets document, const char *overlay_name, struct overlay_config **ret,
			      char reason[static CONFIG_REASON_SIZE]);
struct overlay_config *overlay_config_ref(struct overlay_config *config);
struct overlay_config *overlay_config_unref(struct overlay_config *config);
DEFINE_CLEANUP(struct overlay_config *, overlay_config_unref)

/* Is `next` a legitimate successor of `current`: same overlay, newer sequence, signed by a configuration-signer of `current`
 * (B-11.1-11, B-6.5.4-02)? 0, -ESTALE not newer, -EKEYREJECTED no valid signature, -EBADMSG. */
int overlay_config_check_successor(const struct overlay_config *current, const struct overlay_config *next, uint64_t realtime_ms,
				   char reason[static CONFIG_REASON_SIZE]);

/*
 * ConfigUpdate of type kind (RFC 6940 6.5.4.1): `kind_blocks` are kind-block elements, read with config-base as default namespace;
 * all of them have to be signed by a kind-signer of `current`. *ret is `current` with these Kinds put in or replaced; they keep their
 * kind-block. -EPERM the document itself defines the Kind otherwise, or another kind-signer did. -EKEYREJECTED, -EBADMSG,
 * -EOPNOTSUPP, -E2BIG, -ENOMEM.
 */
int overlay_config_with_kinds(const struct overlay_config *current, const struct octets *kind_blocks, size_t count,
			      struct overlay_config **ret, char reason[static CONFIG_REASON_SIZE]);

/* (a − b) mod 65535 in 1..32767. */
bool config_sequence_newer(uint16_t a, uint16_t b);

const struct kind *overlay_config_kind(const struct overlay_config *config, uint32_t id);
bool overlay_config_is_bad_node(const struct overlay_config *config, const struct id *node_id);
