/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Passwords of the site's phones: a file with a line for each user, of hashes that only digest authentication can use (HA1 of RFC
 * 7616), never the passwords. ringgatectl writes it; the daemon notices a new one by itself.
 *
 *     alice@example.org SHA-256 HASH HASH MD5 HASH HASH
 *
 * Of each pair the first is for a phone whose user name is "alice", the second for "alice@example.org".
 */
#pragma once

#include "sip/digest.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	PASSWORDS_MAX = 131072, /* users with a password; further lines are left out */
	PASSWORDS_LINE_MAX = 1024, /* octets of a line; longer ones are left out */
	PASSWORDS_REASON_SIZE = 512,
};

struct passwords;

/* A file that is not there, or cannot be read, is no password. `path` is copied. -ENOMEM. */
int passwords_new(const char *path, struct passwords **ret);
struct passwords *passwords_free(struct passwords *passwords);

/* HA1 of `username` ("alice" or "alice@example.org") in the domain `realm`. Looks whether the file has changed. */
bool passwords_ha1(struct passwords *passwords, const char *username, const char *realm, enum sip_digest algorithm,
		   char ret[static SIP_DIGEST_SIZE]);

/* Users with a password, as of now. */
size_t passwords_count(struct passwords *passwords);

/*
 * Sets the password of `aor` in the file at `path`, or removes it (NULL), under a lock and in one step. The file is made when there
 * is none, with mode 0600, for the owner of its directory. `reason` receives a sentence on failure. -ENOENT: nothing to remove;
 * -EINVAL: no AoR; or what the system gave.
 */
int passwords_set(const char *path, const char *aor, const char *password, char reason[static PASSWORDS_REASON_SIZE]);
