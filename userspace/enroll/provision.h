/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making an overlay by hand: a directory with the root certificate and its key, the configuration signer, and the signed
 * configuration document; and issuing certificates from it. What the operator's own machine does before, or without, an enrollment
 * server. The directory holds the CA key: it is made with mode 0700 and belongs on no gateway.
 */
#pragma once

#include "overlay/certificate.h"
#include "overlay/config.h"

enum { PROVISION_REASON_SIZE = 512, PROVISION_DAYS_DEFAULT = 365, PROVISION_DAYS_MAX = 3650 };

struct provision_overlay {
	const char *directory, *name;
	enum key_type key_type;
	const struct address *bootstrap;
	size_t bootstrap_count;
	const struct kind *kinds; /* required private Kinds */
	size_t kind_count;
	uint32_t chord_update_interval_s, chord_ping_interval_s; /* 0: the defaults */
	uint32_t max_message_size;				 /* octets, 0: the default */
	const char *const *enrollment_servers;			 /* https URLs */
	size_t enrollment_server_count;
};

/* Writes ca.crt, ca.key, signer.crt, signer.key and overlay.xml. Refuses a directory that already has an overlay (-EEXIST).
 * `reason` receives one sentence on failure. */
int provision_overlay_create(const struct provision_overlay *overlay, char reason[static PROVISION_REASON_SIZE]);

struct provision_certificate {
	const char *directory;	/* of the overlay */
	const char *user_name;	/* NULL: a name made of the Node-ID, for a gateway */
	unsigned node_id_count; /* at least 1 */
	unsigned days;
	enum key_type key_type;
	const char *output; /* OUTPUT.crt and OUTPUT.key are written; neither may exist */
};

/* *ret_node_id: the first Node-ID of the new certificate. */
int provision_certificate_issue(const struct provision_certificate *certificate, struct id *ret_node_id,
				char reason[static PROVISION_REASON_SIZE]);

/* "0xf0000001:SINGLE:NODE-MULTIPLE:MAX-COUNT:MAX-SIZE[:MAX-NODE-MULTIPLE]". -EINVAL. */
int provision_kind_parse(const char *text, struct kind *ret);
