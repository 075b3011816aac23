/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many wrong passwords may still come: token buckets, filled evenly, for networks and for accounts. Safe to use by several
 * threads.
 *
 * A stranger who guesses should be stopped, and the site whose account it is should not be. So an account is closed to the network
 * that guesses, not to others; when many networks guess together it is closed to networks it has never enrolled from, at a rate
 * that lets one try through now and then. Nothing here depends on whether an account exists.
 */
#pragma once

#include "base/address.h"
#include "base/cleanup.h"
#include "base/octets.h"

enum {
	GUARD_BUCKETS_MAX = 32768, /* remembered; then the one that was quiet longest is forgotten */
	GUARD_WIDE_FACTOR = 8,	   /* a /24 of IPv4, a /48 of IPv6 may send as many as so many networks */
	GUARD_ACCOUNT_FACTOR = 10, /* an account may be guessed at by so many networks together */
	GUARD_ACCOUNT_KEY = 32,
};

struct guard_limits {
	unsigned network_per_minute; /* of one address, of IPv6 one /64; 0: any number */
	unsigned account_failures;   /* for one account from one network within account_s; 0: any number */
	unsigned account_s;
};

struct guard_account {
	uint8_t key[GUARD_ACCOUNT_KEY];
};

struct guard;
int guard_new(const struct guard_limits *limits, struct guard **ret);
struct guard *guard_free(struct guard *guard);
DEFINE_CLEANUP(struct guard *, guard_free)

/* `state`: anything that is another after the operator gave a new password, which ends a lock-out. */
struct guard_account guard_account(struct octets name, const char *state);

/* The network an address is counted with: itself, or its /64; IPv4 also when it comes mapped. */
struct address guard_network(const struct address *address);

/* 0, or in how many seconds another try is worth it: for the network, for an account from this network, for an account from
 * networks that it does not know. */
unsigned guard_network_wait_s(struct guard *guard, const struct address *address, uint64_t now_us);
unsigned guard_account_wait_s(struct guard *guard, const struct guard_account *account, const struct address *address,
			      uint64_t now_us);
unsigned guard_strangers_wait_s(struct guard *guard, const struct guard_account *account, uint64_t now_us);

void guard_network_failed(struct guard *guard, const struct address *address, uint64_t now_us);
void guard_account_failed(struct guard *guard, const struct guard_account *account, const struct address *address, uint64_t now_us);
void guard_account_succeeded(struct guard *guard, const struct guard_account *account, const struct address *address);
