/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The users of this site: certificates and keys provisioned in the users directory, NAME.crt with NAME.key. A certificate may hold
 * several Node-IDs; each serves one contact, because SIP registrations are keyed by Node-ID (RFC 7904 3.3).
 */
#pragma once

#include "overlay/signature.h"

enum {
	USERS_MAX = 131072,
	USERS_READ_AT_ONCE = 1024, /* pairs read at the start; of more, those called after their user when they are needed */
	USER_CONTACTS_MAX = 16,
	USERS_REASON_SIZE = 512,
};

/* When a certificate is renewed, and how that went. */
struct renewal {
	uint64_t due_ms;   /* UTC; 0: not decided yet */
	unsigned failures; /* in a row */
	bool by_password;  /* the next attempt shows the password instead of the key */
};

struct user {
	char name[USER_NAME_MAX + 1];			   /* AoR without scheme, its domain in lower case */
	struct credential *credentials[USER_CONTACTS_MAX]; /* one per Node-ID */
	char *contacts[USER_CONTACTS_MAX];		   /* contact URI served by that Node-ID, or NULL */
	uint64_t expires_us[USER_CONTACTS_MAX];		   /* when it is free again */
	size_t count;					   /* 0: the pair has not been read, see users_wake() */
	bool unusable;					   /* it was, and cannot be used */
	char *stem;					   /* STEM.crt and STEM.key of the certificate that lasts longest */
	uint64_t not_before_ms, not_after_ms;		   /* its life */
	struct renewal renewal;
};

struct users;

/*
 * Loads every pair of the directory; a missing directory is no user. Pairs that cannot be used are logged and left out, so that one
 * bad file does not stop the site. -ENOMEM.
 */
int users_load(const char *directory, struct trust *trust, const char *overlay_name, uint8_t node_id_length, uint64_t realtime_ms,
	       struct users **ret);
struct users *users_free(struct users *users);

/* The same with another bound than USERS_READ_AT_ONCE. `trust` is kept, and outlives the users. */
int users_load_some(const char *directory, size_t at_once, struct trust *trust, const char *overlay_name, uint8_t node_id_length,
		    uint64_t realtime_ms, struct users **ret);

/*
 * Reads the pair of a user if that has not been done: a thousandth of a second, which nobody can wait for a hundred thousand times
 * at the start. When it cannot be used that is logged, and the user is none any more until users_put(). Returns 0 or why not.
 */
int users_wake(struct users *users, struct user *user, uint64_t realtime_ms);

/* `awake` is told of each that was read by users_wake(). */
void users_on_wake(struct users *users, void (*awake)(void *userdata, const struct user *user), void *userdata);

/*
 * Loads one pair, new or renewed, after users_load(): the same Node-IDs sign with the new certificate from now on and keep their
 * contacts, others are added. `reason` receives one sentence. *ret is borrowed.
 */
int users_put(struct users *users, const char *stem, struct trust *trust, const char *overlay_name, uint8_t node_id_length,
	      uint64_t realtime_ms, struct user **ret, char reason[static USERS_REASON_SIZE]);

/* Borrowed; NULL when no such user is provisioned here. */
struct user *users_find(struct users *users, const char *name);

/* Iterates: start with NULL; NULL at the end. */
struct user *users_next(struct users *users, const struct user *previous);
size_t users_count(const struct users *users);

/* Has any user an AoR of this domain? */
bool users_serve_domain(const struct users *users, const char *domain);

/*
 * The credential that serves `contact`: the one that already does, else a free one, chosen by the contact so that a restart finds
 * the same again. NULL when all are taken. A place is taken from user_contact_claim() until it is released or `expires_us`.
 */
struct credential *user_credential_for(struct user *user, const char *contact, uint64_t now_us);
void user_contact_claim(struct user *user, const struct credential *credential, const char *contact, uint64_t expires_us);
void user_contact_release(struct user *user, const char *contact);
