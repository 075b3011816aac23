/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ledger of an overlay, an SQLite database in its directory: accounts, the Node-IDs each one owns for ever, and every
 * certificate that was issued. Used by the enrollment server and by ringgatectl at the same time. Not for use by several threads at
 * once.
 */
#pragma once

#include "base/address.h"
#include "base/cleanup.h"
#include "enroll/password.h"
#include "enroll/provision.h"

enum {
	LEDGER_USERS_MAX = 1000000,	 /* accounts; more are refused */
	LEDGER_SCOPE_MAX = 1024,	 /* octets of what a voucher is for */
	LEDGER_VOUCHER_USERS = 1000,	 /* accounts one voucher may open, unless the operator says otherwise */
	LEDGER_CERTIFICATES_LOOKED = 64, /* of an account, newest first, when it is asked where it enrolled and for which keys */
};

struct ledger_user {
	char name[USER_NAME_MAX + 1];
	char password[PASSWORD_TEXT_SIZE]; /* as password_hash() wrote it */
	bool disabled;
	unsigned node_ids_max; /* most Node-IDs in one certificate */
	unsigned failures;     /* wrong passwords since the last certificate */
	uint64_t created_ms;
	unsigned node_id_count, certificate_count;
	uint64_t expires_ms; /* of the newest certificate, 0: none */
};

struct ledger;

/* `must_exist`: -ENOENT instead of making one. `reason` receives one sentence on failure. */
int ledger_open(const char *directory, bool must_exist, struct ledger **ret, char reason[static PROVISION_REASON_SIZE]);
struct ledger *ledger_close(struct ledger *ledger);
DEFINE_CLEANUP(struct ledger *, ledger_close)

/* What lies between happens altogether or not at all. -EBUSY, -EIO. */
int ledger_begin(struct ledger *ledger);
int ledger_commit(struct ledger *ledger);
void ledger_rollback(struct ledger *ledger);

/* name@domain of printable ASCII without quotes, spaces, separators and path characters: it becomes a name in certificates, in SIP
 * and of files (B-11.3-09). */
bool ledger_name_usable(struct octets name);

int ledger_user_add(struct ledger *ledger, const char *name, const char *password, unsigned node_ids_max,
		    uint64_t now_ms);							     /* -EEXIST, -E2BIG, -EIO */
int ledger_user_get(struct ledger *ledger, const char *name, struct ledger_user *ret);	     /* -ENOENT, -EIO */
int ledger_user_set_password(struct ledger *ledger, const char *name, const char *password); /* ends a lock-out, too; -ENOENT */
int ledger_user_set_disabled(struct ledger *ledger, const char *name, bool disabled);	     /* -ENOENT */
int ledger_user_list(struct ledger *ledger, int (*each)(void *userdata, const struct ledger_user *user), void *userdata);

/*
 * An account with a voucher may open accounts for others and get their certificates: a site for its users. `scope`: domains and
 * names, separated by spaces or commas. Who has one of its accounts already keeps it; a name that stands in the scope itself, not
 * only its domain, may also be one the operator opened.
 */
struct ledger_voucher {
	char scope[LEDGER_SCOPE_MAX + 1];
	unsigned users_max, users;
	unsigned node_ids_max; /* of each user's account */
};

/* Is every word of it a domain or a name? */
bool ledger_scope_usable(const char *scope);

/* Gives one, or another one. -EINVAL a scope that is none, -ENOENT no such account. */
int ledger_voucher_set(struct ledger *ledger, const char *account, const char *scope, unsigned users_max, unsigned node_ids_max);
int ledger_voucher_get(struct ledger *ledger, const char *account, struct ledger_voucher *ret); /* -ENOENT */

/*
 * Lets `account` act for `name`, whose account is opened when there is none; within a transaction. -EACCES it has no voucher for
 * that name, -EEXIST the name is somebody else's, -E2BIG the voucher is used up.
 */
int ledger_voucher_use(struct ledger *ledger, const char *account, const char *name, uint64_t now_ms);

/* A wrong password is counted; a certificate starts the count anew. */
int ledger_user_failed(struct ledger *ledger, const char *name);
int ledger_user_succeeded(struct ledger *ledger, const char *name);

/* Did the account get one of its newest certificates in the network of this address (guard_network())? */
bool ledger_user_enrolled_from(struct ledger *ledger, const char *name, const struct address *address);

/* How many certificates it got since then. */
int ledger_user_issued(struct ledger *ledger, const char *name, uint64_t since_ms, unsigned *ret);

/* A certificate of the account for this key that is valid now and has no revoked Node-ID. *ret_node_ids: how many it has. -ENOENT.
 */
int ledger_certificate_for(struct ledger *ledger, const char *name, EVP_PKEY *key, uint64_t now_ms, unsigned *ret_node_ids);

/*
 * The first `count` Node-IDs of the user that are not revoked, those handed out before first; missing ones are made from the
 * system's random numbers (B-11.3-05).
 */
int ledger_node_ids(struct ledger *ledger, const char *name, unsigned count, struct id *ret);

/* Those of them that exist, at most CERTIFICATE_NODE_IDS_MAX. */
int ledger_node_ids_held(struct ledger *ledger, const char *name, struct id ret[static CERTIFICATE_NODE_IDS_MAX],
			 unsigned *ret_count);

int ledger_certificate_add(struct ledger *ledger, const char *name, const struct certificate *certificate, const char *source,
			   uint64_t now_ms);

/* The Node-ID is never issued again and its account is disabled. `name` receives the account. -ENOENT when nobody has it. */
int ledger_revoke(struct ledger *ledger, const struct id *node_id, char name[static USER_NAME_MAX + 1]);
