/* SPDX-License-Identifier: BSD-2-Clause */
/* Passwords at rest: scrypt (RFC 7914), a memory-hard function, with a random salt each. */
#pragma once

#include "base/octets.h"

enum {
	PASSWORD_MIN = 8,
	PASSWORD_MAX = 256,	     /* octets; longer ones are refused before anything is computed */
	PASSWORD_LOG_N_DEFAULT = 14, /* 16 MiB and some 40 ms of one core */
	PASSWORD_LOG_N_MIN = 4,
	PASSWORD_LOG_N_MAX = 20,
	PASSWORD_TEXT_SIZE = 160,
	PASSWORD_GENERATED_SIZE = 25, /* 24 characters, 120 bits */
};

/* "$scrypt$ln=14,r=8,p=1$SALT$HASH" with both in hexadecimal. -EINVAL too long or with a NUL in it, -EIO, -ENOMEM. */
int password_hash(struct octets password, unsigned log_n, char text[static PASSWORD_TEXT_SIZE]);

/* Takes as long as password_hash() did. 0, -EKEYREJECTED, -EBADMSG when `text` is none of ours, -EIO. */
int password_check(struct octets password, const char *text);

/* A new random password, of letters and digits that are not taken for one another. -EIO. */
int password_generate(char text[static PASSWORD_GENERATED_SIZE]);
