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

	/* Who may join: besides certificates of the CA, or instead of them. */
	const char *self_signed_digest; /* "sha256" or "sha1": nodes make their own certificates, and there is no CA; NULL: not */
	const char *shared_secret;	/* every link needs it, NULL: none; makes the document confidential (B-13.4-02) */
	bool clients_forbidden;		/* every node has to become a peer (B-11.1-14) */
};

enum { PROVISION_SECRET_MIN = 16, PROVISION_SECRET_MAX = 128 /* octets of a shared secret */ };

/* Writes ca.crt, ca.key (not in self-signed mode), signer.crt, signer.key and overlay.xml. Refuses a directory that already has an
 * overlay (-EEXIST). `reason` receives one sentence on failure. */
int provision_overlay_create(const struct provision_overlay *overlay, char reason[static PROVISION_REASON_SIZE]);

struct provision_certificate {
	const char *directory;	/* of the overlay */
	const char *user_name;	/* NULL: a name made of the Node-ID, for a gateway */
	unsigned node_id_count; /* at least 1 */
	unsigned days;
	enum key_type key_type;
	const char *output; /* OUTPUT.crt and OUTPUT.key are written; neither may exist */
};

/* *ret_node_id: the first Node-ID of the new certificate. In an overlay whose nodes make their own certificates, of `directory`
 * only overlay.xml is needed, and the certificate is signed by its own key (B-11.3.1-01). */
int provision_certificate_issue(const struct provision_certificate *certificate, struct id *ret_node_id,
				char reason[static PROVISION_REASON_SIZE]);

/* "0xf0000001:SINGLE:NODE-MULTIPLE:MAX-COUNT:MAX-SIZE[:MAX-NODE-MULTIPLE]". -EINVAL. */
int provision_kind_parse(const char *text, struct kind *ret);
