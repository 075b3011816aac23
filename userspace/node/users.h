/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The users of this site: certificates and keys provisioned in the users directory, NAME.crt with NAME.key. A certificate may hold
 * several Node-IDs; each serves one contact, because SIP registrations are keyed by Node-ID (RFC 7904 3.3).
 */
#pragma once

#include "overlay/signature.h"

enum { USERS_MAX = 4096, USER_CONTACTS_MAX = 16 };

struct user {
	char name[USER_NAME_MAX + 1];			   /* AoR without scheme */
	struct credential *credentials[USER_CONTACTS_MAX]; /* one per Node-ID */
	char *contacts[USER_CONTACTS_MAX];		   /* contact URI served by that Node-ID, or NULL */
	size_t count;
};

struct users;

/*
 * Loads every pair of the directory; a missing directory is no user. Pairs that cannot be used are logged and left out, so that one
 * bad file does not stop the site. -ENOMEM.
 */
int users_load(const char *directory, struct trust *trust, const char *overlay_name, uint8_t node_id_length, uint64_t realtime_ms,
	       struct users **ret);
struct users *users_free(struct users *users);

/* Borrowed; NULL when no such user is provisioned here. */
struct user *users_find(struct users *users, const char *name);
struct user *users_at(struct users *users, size_t index);
size_t users_count(const struct users *users);

/* The credential that serves `contact`: the one that already does, else a free one, chosen by the contact so that a restart finds
 * the same again. NULL when all are taken. */
struct credential *user_credential_for(struct user *user, const char *contact);
void user_contact_claim(struct user *user, const struct credential *credential, const char *contact);
void user_contact_release(struct user *user, const char *contact);
