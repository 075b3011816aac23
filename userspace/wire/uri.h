/* SPDX-License-Identifier: BSD-2-Clause */
/* RELOAD URIs (RFC 6940 14.15) and the GRUUs of the SIP usage (RFC 7904 6). */
#pragma once

#include "base/octets.h"

enum { RELOAD_URI_MAX = 1024, OVERLAY_NAME_MAX = 253, GRUU_LIST_MAX = 512 };

struct reload_uri {
	uint8_t destination_list[GRUU_LIST_MAX];
	size_t destination_list_length;
	char overlay[OVERLAY_NAME_MAX + 1];
	uint8_t specifier[GRUU_LIST_MAX]; /* StoredDataSpecifier, empty when the URI names a peer */
	size_t specifier_length;
};
/* Returns -EINVAL. The scheme and host compare without case: the overlay name is returned in lower case. */
int reload_uri_parse(const char *text, struct reload_uri *ret);
/* Returns -ENOBUFS when `size` is too small or the text would exceed RELOAD_URI_MAX (with its NUL), -EINVAL for an invalid URI. */
int reload_uri_format(const struct reload_uri *uri, char *text, size_t size);

/* The value of a "gr" parameter: base64 of a destination list, "~" for "=" (S-6-01). -EINVAL, -ENOBUFS. */
int gruu_value_format(struct octets destination_list, char *text, size_t size);
int gruu_value_parse(const char *text, uint8_t *list, size_t size, size_t *ret_length);
