/* SPDX-License-Identifier: BSD-2-Clause */
/* The addresses we offer in an Attach. */
#pragma once

#include "base/address.h"

#include <stddef.h>

struct local_socket {
	struct address local;
	bool wildcard; /* bound to no particular address */
};

/* What was told to be announced, else the sockets' addresses: of one that is bound to all, those of the interfaces. Best first. */
size_t local_candidates(const struct address *announce, size_t announce_count, const struct local_socket *sockets,
			size_t socket_count, struct address *out, size_t max);
