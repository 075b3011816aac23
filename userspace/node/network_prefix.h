/* SPDX-License-Identifier: BSD-2-Clause */
/* Networks, as settings name them. */
#pragma once

#include "base/address.h"

struct network_prefix {
	struct address address;
	unsigned bits;
};

/* "192.0.2.0/24", "2001:db8::/32"; without a length the one address. An IPv4 prefix in IPv6 form is one of IPv4. -EINVAL. */
int network_prefix_parse(const char *text, struct network_prefix *ret);
bool network_prefix_contains(const struct network_prefix *prefix, const struct address *address);
