/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is at the other end of a link that was authenticated by a shared secret: TLS-PSK shows no certificates, and whoever knows the
 * secret could claim any Node-ID. So the first message each side sends over such a link is a Ping to the wildcard, signed like
 * every message (RFC 6940 6.3.4), whose padding is keying material exported from this very connection (RFC 5705, secure_binding()).
 * The signature binds certificate and connection: the message is worth nothing on any other link.
 */
#pragma once

#include "base/runtime.h"
#include "link/secure.h"

/* Writes our message. `binding` is that of our side. -EIO, -ENOMEM, or the writer's error. */
int proof_write(const struct secure_context *context, const uint8_t binding[static SECURE_BINDING], struct writer *w);

/*
 * Checks the message of the other side, whose binding is `binding`. On success *ret is its certificate (a reference). -EBADMSG no
 * such message, -EKEYREJECTED, and what trust_check() says; *ret_reason is a constant phrase.
 */
int proof_check(const struct secure_context *context, struct octets octets, const uint8_t binding[static SECURE_BINDING],
		struct certificate **ret, const char **ret_reason);
