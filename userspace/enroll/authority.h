/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One overlay as its enrollment server sees it: the published document, the CA key and the ledger. It decides what a request gets;
 * it knows nothing of HTTP. Every function may be called by several threads at once.
 */
#pragma once

#include "enroll/ledger.h"

enum {
	AUTHORITY_CSR_MAX = 8192, /* octets of DER; more is a bad CSR */
	AUTHORITY_DAYS_DEFAULT = 90,
	AUTHORITY_FAILURES_DEFAULT = 10,
	AUTHORITY_LOCKOUT_S_DEFAULT = 900,
};

struct authority_policy {
	unsigned certificate_days;
	unsigned failures_max; /* wrong passwords in a row that lock an account */
	unsigned lockout_s;
};

/* In the order of enrollment_outcome_token(). */
enum enrollment_outcome {
	ENROLLMENT_ISSUED,
	ENROLLMENT_FAILED_AUTHENTICATION,
	ENROLLMENT_USERNAME_NOT_AVAILABLE,
	ENROLLMENT_NODE_IDS_NOT_AVAILABLE,
	ENROLLMENT_BAD_CSR,
	ENROLLMENT_TROUBLE, /* ours: the ledger cannot be written, or no memory is left */
};

/* "failed_authentication" and so on (RFC 6940 11.3); NULL for issued and trouble. */
const char *enrollment_outcome_token(enum enrollment_outcome outcome);

struct enrollment {
	struct octets user_name, password, csr;
	unsigned node_ids;
	const char *source; /* address, for the ledger */
};

struct published_document {
	struct octets document;
	char etag[72]; /* with its quotes */
	unsigned max_age_s;
	bool confidential; /* it holds a shared-secret: not for strangers (B-13.4-02) */
};

struct authority;

/* The directory is one that "ringgatectl overlay create" made and "overlay publish" was done in. */
int authority_open(const char *directory, const struct authority_policy *policy, struct authority **ret,
		   char reason[static PROVISION_REASON_SIZE]);
struct authority *authority_close(struct authority *authority); /* wipes the key */
DEFINE_CLEANUP(struct authority *, authority_close)

const char *authority_overlay_name(const struct authority *authority);

/* A copy of what is published now, read again when the file changed; the caller frees document.data. A file that cannot be used is
 * passed over and the last good one stands. -ENOMEM. */
int authority_document(struct authority *authority, struct published_document *ret);

/*
 * Computes a password hash (16 MiB, some 40 ms) whatever the request is like, so that nothing can be learnt from the time. On
 * ENROLLMENT_ISSUED *ret_der has the certificate, to be freed. *ret_why: a constant phrase for the log.
 */
enum enrollment_outcome authority_enroll(struct authority *authority, const struct enrollment *enrollment, uint64_t now_ms,
					 uint8_t **ret_der, size_t *ret_length, const char **ret_why);
