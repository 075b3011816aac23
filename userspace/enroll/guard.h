/* SPDX-License-Identifier: BSD-2-Clause */
/* How many wrong passwords an address has left: a token bucket each. Safe to use by several threads. */
#pragma once

#include "base/address.h"
#include "base/cleanup.h"

enum { GUARD_ADDRESSES_MAX = 8192 /* remembered; then the one that was quiet longest is forgotten */ };

struct guard;
int guard_new(unsigned failures_per_minute, struct guard **ret); /* 0: nothing is limited */
struct guard *guard_free(struct guard *guard);
DEFINE_CLEANUP(struct guard *, guard_free)

/* IPv6 addresses are counted by their /64, IPv4 ones also when they come mapped. */
bool guard_allows(struct guard *guard, const struct address *address, uint64_t now_us);
void guard_failed(struct guard *guard, const struct address *address, uint64_t now_us);
