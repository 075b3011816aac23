/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One overlay as its enrollment server sees it: the published document, the CA key and the ledger. It decides what a request gets;
 * it knows nothing of HTTP. Every function may be called by several threads at once.
 */
#pragma once

#include "base/address.h"
#include "enroll/ledger.h"

enum {
	AUTHORITY_CSR_MAX = 8192, /* octets of DER; more is a bad CSR */
	AUTHORITY_DAYS_DEFAULT = 90,
	AUTHORITY_FAILURES_DEFAULT = 10,
	AUTHORITY_LOCKOUT_S_DEFAULT = 900,
	AUTHORITY_PER_DAY_DEFAULT = 100,
	AUTHORITY_DAY_S = 86400,
};

struct authority_policy {
	unsigned certificate_days;
	unsigned certificate_s; /* the life of certificates in seconds instead, 0: days */
	unsigned failures_max;	/* wrong passwords from one network within lockout_s that close the account to it; see guard.h */
	unsigned lockout_s;
	unsigned per_day;	  /* certificates an account may get within a day, 0: any number; the ledger keeps them all */
	bool renew_with_password; /* a valid certificate is not enough for its own renewal */
};

/* In the order of enrollment_outcome_token(). */
enum enrollment_outcome {
	ENROLLMENT_ISSUED,
	ENROLLMENT_FAILED_AUTHENTICATION,
	ENROLLMENT_USERNAME_NOT_AVAILABLE,
	ENROLLMENT_NODE_IDS_NOT_AVAILABLE,
	ENROLLMENT_BAD_CSR,
	ENROLLMENT_TROUBLE,   /* ours: the ledger cannot be written, or no memory is left */
	ENROLLMENT_THROTTLED, /* later */
};

/* "failed_authentication" and so on (RFC 6940 11.3); NULL for issued, trouble and throttled. */
const char *enrollment_outcome_token(enum enrollment_outcome outcome);

struct enrollment {
	struct octets user_name, password, csr;
	bool renewal; /* no password came: the request is for the key of a certificate that is still valid */
	unsigned node_ids;
	struct address source;
	uint64_t now_ms; /* UTC */
	uint64_t now_us; /* of the monotonic clock */
};

struct enrollment_answer {
	uint8_t *der; /* the certificate when it was issued; to be freed with free() */
	size_t der_length;
	unsigned wait_s;     /* when throttled */
	const char *why;     /* a constant phrase for the log */
	bool wrong_password; /* of an account there is: authority_note_failure() once the answer is on its way */
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

/* False where nodes make their own certificates: there is no CA, only the document to hand out. */
bool authority_enrolls(const struct authority *authority);

/* A copy of what is published now, read again when the file changed; the caller frees document.data. A file that cannot be used is
 * passed over and the last good one stands. -ENOMEM. */
int authority_document(struct authority *authority, struct published_document *ret);

/*
 * With a password, one hash is computed (16 MiB, some 40 ms) whether or not there is such an account, so that nothing can be learnt
 * from the time; not when tries are throttled, which does not depend on that either. A renewal shows a valid certificate of the
 * ledger by asking for its key, which signs the request: whoever recorded such a request would only get another certificate for a
 * key that is not theirs. It may not have more Node-IDs than that certificate, and none of those may be revoked.
 */
enum enrollment_outcome authority_enroll(struct authority *authority, const struct enrollment *enrollment,
					 struct enrollment_answer *ret);

/* Counts a wrong password where the operator sees it. It takes time for accounts that there are, so the answer goes out before. */
void authority_note_failure(struct authority *authority, const char *user_name);
