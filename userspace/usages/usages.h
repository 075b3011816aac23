/* SPDX-License-Identifier: BSD-2-Clause */
/* Usages: what is stored in the overlay on behalf of this node and its users. Sans-I/O. */
#pragma once

#include "storage/store.h"

/* ---- certificate store (RFC 6940 8) ---- */

struct certificate_store;

/*
 * Keeps each credential's certificate stored under H(user name) and H(Node-ID), refreshes before expiry, re-uses its array index.
 * Credentials are referenced.
 */
int certificate_store_new(struct runtime *runtime, struct router *router, struct certificate_store **ret);
struct certificate_store *certificate_store_free(struct certificate_store *certificates);
int certificate_store_add(struct certificate_store *certificates, struct credential *credential);
/* Called once joined; stores at once and then by timer. */
void certificate_store_start(struct certificate_store *certificates);

/* ---- SIP registration (RFC 7904) ---- */

enum { SIP_CONTACTS_MAX = 16, SIP_RESOLVE_DEPTH_MAX = 8, SIP_CONTACT_SIZE = 512 };

/* "sip:Alice@Example.org;transport=tcp" → "Alice@example.org": scheme and parameters gone, %-escapes decoded, domain in lower
 * case (S-2-01, S-7-01). -EINVAL. */
int sip_aor_of_uri(const char *uri, char *aor, size_t size);

struct sip_contact {
	char uri[SIP_CONTACT_SIZE]; /* sip: or sips: URI */
	struct id registrant;	    /* dictionary key */
	uint32_t lifetime_s;
	bool route; /* the value was a route to `registrant`'s gateway: uri is empty */
	uint8_t destination_list[256];
	size_t destination_list_length;
	bool secure; /* of a route: its gateway wants SIPS (S-5.1-04) */
};

typedef void (*sip_store_done)(void *userdata, const struct storage_outcome *outcome);

/* Stores or (lifetime_s 0) removes one registration of the user of `credential` under the key credential->node_id. */
int sip_registration_store(struct router *router, struct credential *credential, const char *aor, const char *contact_uri,
			   uint32_t lifetime_s, sip_store_done done, void *userdata);

/*
 * The same with a route to our node, whose gateway takes calls for the user (RFC 7904 3.2), instead of a URI. `secure`: by SIPS
 * only. A removal is the same for both.
 */
int sip_registration_store_route(struct router *router, struct credential *credential, const char *aor, bool secure,
				 uint32_t lifetime_s, sip_store_done done, void *userdata);

/* error: 0, -ENOENT nothing is stored for that AoR, -ENODATA nothing of it leads anywhere now, -ENETUNREACH or -ETIMEDOUT overlay
 * not reachable, -ELOOP. AoR-to-AoR mappings are followed, bounded. */
typedef void (*sip_resolve_done)(void *userdata, int error, const struct sip_contact *contacts, size_t count);
int sip_resolve(struct router *router, const char *aor, sip_resolve_done done, void *userdata);

/* The same; registrations older than what `history` (may be NULL, borrowed until `done`) remembers are left out (B-13.5-02). */
int sip_resolve_with(struct router *router, struct storage_history *history, const char *aor, sip_resolve_done done,
		     void *userdata);
