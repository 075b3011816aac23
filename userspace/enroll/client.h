/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Enrolling at a server (RFC 6940 11.2, 11.3): fetches the configuration document, makes a key, gets a certificate for it, checks
 * everything, and only then writes anything.
 */
#pragma once

#include "enroll/provision.h"

enum { CLIENT_TIMEOUT_S = 60 /* for one exchange with the server */ };

struct client_enrollment {
	const char *server;	  /* overlay name, or https URL of the server or of the document */
	const char *overlay_name; /* NULL: the server's argument when that is a name, else the first of the document */
	const char *address;	  /* connect there instead of looking the host up; may be NULL */
	const char *ca_file;	  /* PEM roots for HTTPS instead of the system's; may be NULL */
	const char *user_name;
	struct octets password; /* none at all: renew with the installed certificate, while it is valid */
	unsigned node_ids;
	enum key_type key_type;
	const char *document_path; /* the overlay's document */
	const char *output;	   /* OUTPUT.crt and OUTPUT.key */
	bool renew;		   /* OUTPUT.key is kept and OUTPUT.crt replaced; otherwise neither may exist */
};

struct client_result {
	struct id node_id;
	char overlay_name[254];
	uint16_t sequence;
	uint64_t not_after_ms;
};

/* `reason` receives one sentence. -EACCES refused by the server, -ECONNREFUSED not reached, and others; nothing is left behind. */
int client_enroll(const struct client_enrollment *enrollment, struct client_result *ret, char reason[static PROVISION_REASON_SIZE]);
