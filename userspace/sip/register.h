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

struct register_job {
	struct registration *registration;
	struct sip_transaction *transaction; /* NULL once the phone has its answer */
	char *call_id;
	uint32_t cseq;
	unsigned supported; /* extensions that the phone knows, and we */
	char *path;	    /* of the request, NULL without */
	bool passed;	    /* by a gateway of another overlay, which has added to it */
	bool direct;	    /* it came from the phone without another proxy in between */
	bool flow;	    /* binds one (RFC 5626) */
	bool everything;    /* "Contact: *" */
	bool forget;	    /* ours: removes what is lost */
	bool refresh;	    /* ours: stores again what is about to be over in the overlay alone */
	struct binding *wishes[SIP_CONTACTS_PER_AOR];
	size_t wish_count;
	struct step *steps; /* owned; NULL until they are planned */
	size_t step_count, step, reserved;
	bool started, undo;
	struct register_job *previous, *next;
};

/* Another one of this registration, behind those that are there. NULL: no memory. */
struct register_job *register_job_new(struct registration *registration, struct octets call_id, uint32_t cseq);

/* From now on it runs, when it is the first, and answers. */
void register_job_begin(struct register_job *job, struct sip_transaction *transaction);

/* May `user`, who showed a password (NULL: nobody has one), register the phones of `aor` in the name of `from`? */
bool register_authorized(const struct sip_gateway *gateway, const char *user, const char *from, const char *aor);

/* --- again.c --- */

/* Remembers what this REGISTER said, if the next one can be recognized by that; `from` is who it came from. */
void register_again_note(struct register_job *job, const struct sip_request *request, const struct sip_flow *flow,
			 const char *realm, const char *from);

/* --- register_read.c --- */

/* What the phone knows, and the Path it came along; then its Contacts. Return 0 or the status to refuse with. */
unsigned register_extensions_read(struct register_job *job, const struct sip_request *request, const char **ret_reason);
unsigned register_contacts_read(struct register_job *job, const struct sip_request *request, const struct sip_flow *flow,
				const char **ret_reason);
