/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificate signing requests (PKCS#10, RFC 2986) as enrollment uses them. */
#pragma once

#include "overlay/certificate.h"

/*
 * Checks that the request is one DER object, self-signed by the key it is for, with a key we would issue a certificate for. Of what
 * it asks for only an rfc822Name in subjectAltName counts: it is copied to `user_name`, which stays empty without one; everything
 * else the certificate says is the server's to say. -EBADMSG, -EINVAL a name with characters that names do not have, -ENOMEM.
 * *ret_why: a constant phrase.
 */
int csr_read(struct octets der, EVP_PKEY **ret_key, char user_name[static USER_NAME_MAX + 1], const char **ret_why);

/* A request for `key` and user name, DER; to be freed with free(). -EIO, -ENOMEM. */
int csr_make(EVP_PKEY *key, const char *user_name, uint8_t **ret, size_t *ret_length);
