/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Enrolling at a server (RFC 6940 11.2, 11.3): finds the configuration server, fetches the configuration document, makes a key,
 * gets a certificate for it, checks everything, and only then puts all of it in place at once (overlay/install.h).
 */
#pragma once

#include "enroll/provision.h"

struct client_settings {
	const char *server;	  /* overlay name, or https URL of the server or of the document */
	const char *overlay_name; /* NULL: the server's argument when that is a name, else the first of the document */
	const char *address;	  /* connect there instead of looking anything up; may be NULL */
	const char *ca_file;	  /* PEM roots for HTTPS instead of the system's; may be NULL */
};

struct client;

/* `settings` are borrowed. `reason` receives one sentence. */
int client_open(const struct client_settings *settings, struct client **ret, char reason[static PROVISION_REASON_SIZE]);
struct client *client_close(struct client *client);
DEFINE_CLEANUP(struct client *, client_close)

/*
 * Fetches the document and checks it: its signature, and that it may follow the one at `installed` (NULL or not there: it is the
 * first). -EACCES refused by the server, -ECONNREFUSED not reached, and others.
 */
int client_fetch(struct client *client, const char *installed, char reason[static PROVISION_REASON_SIZE]);

/* What was fetched; borrowed. */
struct overlay_config *client_config(const struct client *client);

/* Puts the fetched document at `path`, unless the one there is the same. *ret_changed: it was not. */
int client_save(struct client *client, const char *path, bool *ret_changed, char reason[static PROVISION_REASON_SIZE]);

struct client_enrollment {
	const char *account; /* whose password it is, when that is another's: one with a voucher for `user_name`; else NULL */
	const char *user_name;
	struct octets password; /* none at all: renew with the installed certificate, while it is valid */
	unsigned node_ids; /* a renewed certificate has as many as before */
	enum key_type key_type;
	const char *document_path; /* the overlay's document is installed with the certificate; NULL: it is not */
	const char *output;	   /* OUTPUT.crt and OUTPUT.key; their directory is made when it is missing */
	bool renew;		   /* OUTPUT.key is kept and OUTPUT.crt replaced; otherwise neither may exist */
};

struct client_result {
	struct id node_id;
	char overlay_name[254];
	uint16_t sequence;
	uint64_t not_after_ms;
	unsigned retry_after_s; /* after -EAGAIN, when the server said so; else 0 */
};

/*
 * After client_fetch(). -EACCES refused by the server, -EAGAIN it is busy, -ECONNREFUSED not reached, -EEXIST, and others; nothing
 * is left behind. ret->retry_after_s is set in any case.
 */
int client_enroll(struct client *client, const struct client_enrollment *enrollment, struct client_result *ret,
		  char reason[static PROVISION_REASON_SIZE]);
