/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/guard.h"

#include "base/runtime.h"
#include "base/table.h"
#include "overlay/digest.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <utlist.h>

enum bucket_kind { BUCKET_NETWORK, BUCKET_WIDE, BUCKET_PAIR, BUCKET_ACCOUNT, BUCKET_KINDS };

struct bucket_key {
	enum bucket_kind kind;
	struct address network;
	struct guard_account account;
};

struct bucket {
	struct bucket_key key;
	uint64_t full_us; /* when all its failures are forgiven */
	UT_hash_handle hh;
	struct bucket *prev, *next; /* quiet longest first */
};

struct rate {
	uint64_t price_us;    /* of a failure; 0: they cost nothing */
	uint64_t capacity_us; /* what may be owed */
};

struct guard {
	pthread_mutex_t lock;
	struct rate rates[BUCKET_KINDS];
	struct bucket *table, *order;
	size_t count;
};

static struct rate rate_of(uint64_t capacity_us, uint64_t failures) {
	return (struct rate){.price_us = failures ? capacity_us / failures : 0, .capacity_us = capacity_us};
}

int guard_new(const struct guard_limits *limits, struct guard **ret) {
	struct guard *guard = calloc(1, sizeof(*guard));
	uint64_t minute_us = 60 * USEC_PER_SEC, account_us = limits->account_s * USEC_PER_SEC;

	if (!guard)
		return -ENOMEM;
	pthread_mutex_init(&guard->lock, NULL);
	guard->rates[BUCKET_NETWORK] = rate_of(minute_us, limits->network_per_minute);
	guard->rates[BUCKET_WIDE] = rate_of(minute_us, UINT64_C(1) * limits->network_per_minute * GUARD_WIDE_FACTOR);
	guard->rates[BUCKET_PAIR] = rate_of(account_us, limits->account_failures);
	guard->rates[BUCKET_ACCOUNT] = rate_of(account_us, UINT64_C(1) * limits->account_failures * GUARD_ACCOUNT_FACTOR);
	*ret = guard;
	return 0;
}

static void forget(struct guard *guard, struct bucket *bucket) {
	HASH_DEL(guard->table, bucket);
	DL_DELETE(guard->order, bucket);
	guard->count--;
	free(bucket);
}

struct guard *guard_free(struct guard *guard) {
	if (!guard)
		return NULL;
	while (guard->order)
		forget(guard, guard->order);
	pthread_mutex_destroy(&guard->lock);
	free(guard);
	return NULL;
}

/* ---- keys, compared as a whole ---- */

struct guard_account guard_account(struct octets name, const char *state) {
	struct octets parts[] = {OCTETS(state, strlen(state) + 1), name};
	struct guard_account account = {{0}};

	(void)digest_sha256(parts, ARRAY_LENGTH(parts), account.key);
	return account;
}

static struct address prefix_of(const struct address *address, size_t octets4, size_t octets6) {
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct address network;

	memset(&network, 0, sizeof(network));
	network.family = address->family;
	if (address->family == AF_INET6 && memcmp(address->octets, mapped, sizeof(mapped)) == 0) {
		network.family = AF_INET;
		memcpy(network.octets, address->octets + sizeof(mapped), octets4);
	} else {
		memcpy(network.octets, address->octets, address->family == AF_INET ? octets4 : octets6);
	}
	return network;
}

struct address guard_network(const struct address *address) {
	return prefix_of(address, 4, 8);
}

static struct bucket_key key_of(enum bucket_kind kind, const struct address *address, const struct guard_account *account) {
	struct bucket_key key;

	memset(&key, 0, sizeof(key));
	key.kind = kind;
	if (kind == BUCKET_WIDE)
		key.network = prefix_of(address, 3, 6);
	else if (address)
		key.network = guard_network(address);
	if (account)
		key.account = *account;
	return key;
}

/* ---- buckets ---- */

static struct bucket *find(struct guard *guard, const struct bucket_key *key) {
	struct bucket *bucket;

	HASH_FIND(hh, guard->table, key, sizeof(*key), bucket);
	return bucket;
}

static unsigned wait_s(struct guard *guard, const struct bucket_key *key, uint64_t now_us) {
	const struct rate *rate = &guard->rates[key->kind];
	unsigned wait = 0;

	if (rate->price_us == 0)
		return 0;
	pthread_mutex_lock(&guard->lock);
	const struct bucket *bucket = find(guard, key);
	if (bucket && bucket->full_us + rate->price_us > now_us + rate->capacity_us)
		wait = (unsigned)((bucket->full_us + rate->price_us - now_us - rate->capacity_us + USEC_PER_SEC - 1) /
				  USEC_PER_SEC);
	pthread_mutex_unlock(&guard->lock);
	return wait;
}

static struct bucket *bucket_new(struct guard *guard, const struct bucket_key *key) {
	struct bucket *bucket = calloc(1, sizeof(*bucket));

	if (!bucket)
		return NULL;
	if (guard->count == GUARD_BUCKETS_MAX)
		forget(guard, guard->order);
	bucket->key = *key;
	HASH_ADD(hh, guard->table, key, sizeof(bucket->key), bucket);
	if (!bucket->hh.tbl) {
		free(bucket);
		return NULL;
	}
	guard->count++;
	DL_APPEND(guard->order, bucket);
	return bucket;
}

static void charge(struct guard *guard, const struct bucket_key *key, uint64_t now_us) {
	const struct rate *rate = &guard->rates[key->kind];

	if (rate->price_us == 0)
		return;
	pthread_mutex_lock(&guard->lock);
	struct bucket *bucket = find(guard, key);
	if (bucket) {
		DL_DELETE(guard->order, bucket);
		DL_APPEND(guard->order, bucket);
	} else {
		bucket = bucket_new(guard, key);
	}
	if (bucket) {
		if (bucket->full_us < now_us)
			bucket->full_us = now_us;
		bucket->full_us += rate->price_us;
		/* Several that were on their way together overdraw; it does not close an account for ever. */
		if (bucket->full_us > now_us + 2 * rate->capacity_us)
			bucket->full_us = now_us + 2 * rate->capacity_us;
	}
	pthread_mutex_unlock(&guard->lock);
}

/* ---- networks and accounts ---- */

unsigned guard_network_wait_s(struct guard *guard, const struct address *address, uint64_t now_us) {
	struct bucket_key near = key_of(BUCKET_NETWORK, address, NULL), wide = key_of(BUCKET_WIDE, address, NULL);
	unsigned a = wait_s(guard, &near, now_us), b = wait_s(guard, &wide, now_us);

	return a > b ? a : b;
}

unsigned guard_account_wait_s(struct guard *guard, const struct guard_account *account, const struct address *address,
			      uint64_t now_us) {
	struct bucket_key key = key_of(BUCKET_PAIR, address, account);

	return wait_s(guard, &key, now_us);
}

unsigned guard_strangers_wait_s(struct guard *guard, const struct guard_account *account, uint64_t now_us) {
	struct bucket_key key = key_of(BUCKET_ACCOUNT, NULL, account);

	return wait_s(guard, &key, now_us);
}

void guard_network_failed(struct guard *guard, const struct address *address, uint64_t now_us) {
	struct bucket_key near = key_of(BUCKET_NETWORK, address, NULL), wide = key_of(BUCKET_WIDE, address, NULL);

	charge(guard, &near, now_us);
	charge(guard, &wide, now_us);
}

void guard_account_failed(struct guard *guard, const struct guard_account *account, const struct address *address,
			  uint64_t now_us) {
	struct bucket_key pair = key_of(BUCKET_PAIR, address, account), all = key_of(BUCKET_ACCOUNT, NULL, account);

	charge(guard, &pair, now_us);
	charge(guard, &all, now_us);
}

void guard_account_succeeded(struct guard *guard, const struct guard_account *account, const struct address *address) {
	struct bucket_key key = key_of(BUCKET_PAIR, address, account);

	pthread_mutex_lock(&guard->lock);
	struct bucket *bucket = find(guard, &key);
	if (bucket)
		forget(guard, bucket);
	pthread_mutex_unlock(&guard->lock);
}
