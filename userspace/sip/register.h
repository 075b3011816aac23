/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the registrar share: one REGISTER being worked on. */
#pragma once

#include "sip/internal.h"

/* One question to the node. */
struct step {
	struct binding *binding; /* to be committed, or the URI to be removed */
	unsigned expires_s;	 /* 0: remove */
	bool only_overlay;	 /* removes the former spelling of a URI that stays */
	char *former;		 /* what was bound, NULL for nothing */
	uint64_t former_expires_us;
};

enum { STEPS = 2 * SIP_CONTACTS_PER_AOR };

struct register_job {
	struct registration *registration;
	struct sip_transaction *transaction; /* NULL once the phone has its answer */
	char *call_id;
	uint32_t cseq;
	unsigned supported; /* extensions that the phone knows, and we */
	char *path;	    /* of the request, NULL without */
	bool direct;	    /* it came from the phone without another proxy in between */
	bool flow;	    /* binds one (RFC 5626) */
	bool everything;    /* "Contact: *" */
	bool forget;	    /* ours: removes what is lost */
	struct binding *wishes[SIP_CONTACTS_PER_AOR];
	size_t wish_count;
	struct step steps[STEPS];
	size_t step_count, step, reserved;
	bool started, undo;
	struct register_job *previous, *next;
};

/* --- register_read.c --- */

/* What the phone knows, and the Path it came along; then its Contacts. Return 0 or the status to refuse with. */
unsigned register_extensions_read(struct register_job *job, const struct sip_request *request, const char **ret_reason);
unsigned register_contacts_read(struct register_job *job, const struct sip_request *request, const struct sip_flow *flow,
				const char **ret_reason);
