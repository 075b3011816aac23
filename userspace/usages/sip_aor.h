/* SPDX-License-Identifier: BSD-2-Clause */
/* Telling AoRs of the overlay from contacts (RFC 7904 3.1, 4, 6). */
#pragma once

#include "usages/usages.h"

enum { SIP_AOR_SIZE = USER_NAME_MAX + 1 };

/*
 * Does `text` (a URI or an AoR without scheme) name a user whose registration is to be looked up in this overlay? Then its AoR is
 * written. Not so with a port, an address literal, a GRUU, or a domain that is not the overlay's. Where the configuration document
 * allows any domain, the overlay's are its own name and the domain of `home`, an AoR that is known to be one of its users.
 */
bool sip_is_overlay_aor(const struct overlay_config *config, const char *text, const char *home, char aor[static SIP_AOR_SIZE]);

/*
 * Does this AoR stand for the user of the same name in the overlay's own domain, being of one of `domains`, which a site has for
 * it? Then that AoR is written. Not so where the configuration document names the domain as one of the overlay (RFC 7904 3.4):
 * there it is an AoR of its own, as it is where any domain is allowed and the user is `certified` under it, the certificate's name
 * being what a registration is stored under (RFC 7904 3.3). Nor when the result would be too long.
 */
bool sip_aor_of_alias(const struct overlay_config *config, char *const *domains, size_t count, const char *aor, bool certified,
		      char ret[static SIP_AOR_SIZE]);

/* The value of the "gr" parameter, decoded. 0, -ENOENT none, -EINVAL malformed or longer than `size`. */
int sip_gruu_of_uri(const char *uri, uint8_t *list, size_t size, size_t *ret_length);
