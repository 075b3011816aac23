/* SPDX-License-Identifier: BSD-2-Clause */
/* The hashes of HTTP digest authentication (RFC 7616 3.4, RFC 8760). */
#pragma once

#include "base/octets.h"

enum sip_digest { SIP_DIGEST_SHA_256, SIP_DIGEST_MD5, SIP_DIGESTS };
enum { SIP_DIGEST_SIZE = 65 /* hexadecimal digits and a NUL, for the longest */ };

struct digest; /* one algorithm, ready for use */

/* Returns -EOPNOTSUPP when the library has none, as MD5 in a FIPS configuration, -ENOMEM. */
int digest_new(enum sip_digest algorithm, struct digest **ret);
struct digest *digest_free(struct digest *digest);

/* "SHA-256", "MD5" */
const char *digest_name(enum sip_digest algorithm);

/* Hash of the parts with ":" between them, in lower-case hexadecimal digits. Returns -EIO. */
int digest_parts(struct digest *digest, const struct octets *parts, size_t count, char ret[static SIP_DIGEST_SIZE]);

/* HA1: what is kept instead of a password. Returns -EOPNOTSUPP, -ENOMEM, -EIO. */
int digest_ha1(enum sip_digest algorithm, const char *username, const char *realm, const char *password,
	       char ret[static SIP_DIGEST_SIZE]);
