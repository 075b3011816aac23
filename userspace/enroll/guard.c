/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/guard.h"

#include "base/runtime.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#define MINUTE_US (60 * USEC_PER_SEC)

struct suspect {
	struct address network;
	uint64_t clear_us; /* when all its failures are forgiven */
	UT_hash_handle hh;
	struct suspect *prev, *next; /* quiet longest first */
};

struct guard {
	pthread_mutex_t lock;
	unsigned failures_per_minute;
	struct suspect *table, *order;
	size_t count;
};

int guard_new(unsigned failures_per_minute, struct guard **ret) {
	struct guard *guard = calloc(1, sizeof(*guard));

	if (!guard)
		return -ENOMEM;
	pthread_mutex_init(&guard->lock, NULL);
	guard->failures_per_minute = failures_per_minute;
	*ret = guard;
	return 0;
}

static void forget(struct guard *guard, struct suspect *suspect) {
	HASH_DEL(guard->table, suspect);
	DL_DELETE(guard->order, suspect);
	guard->count--;
	free(suspect);
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

static struct address network_of(const struct address *address) {
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct address network;

	memset(&network, 0, sizeof(network)); /* compared as a whole */
	network.family = address->family;
	if (address->family == AF_INET6 && memcmp(address->octets, mapped, sizeof(mapped)) == 0) {
		network.family = AF_INET;
		memcpy(network.octets, address->octets + 12, 4);
	} else {
		memcpy(network.octets, address->octets, address->family == AF_INET ? 4 : 8);
	}
	return network;
}

static struct suspect *find(struct guard *guard, const struct address *address) {
	struct address network = network_of(address);
	struct suspect *suspect;

	HASH_FIND(hh, guard->table, &network, sizeof(network), suspect);
	return suspect;
}

bool guard_allows(struct guard *guard, const struct address *address, uint64_t now_us) {
	if (guard->failures_per_minute == 0)
		return true;
	uint64_t price = MINUTE_US / guard->failures_per_minute;
	pthread_mutex_lock(&guard->lock);
	const struct suspect *suspect = find(guard, address);
	bool allowed = !suspect || suspect->clear_us + price <= now_us + MINUTE_US;
	pthread_mutex_unlock(&guard->lock);
	return allowed;
}

static struct suspect *suspect_new(struct guard *guard, const struct address *address) {
	struct suspect *suspect = calloc(1, sizeof(*suspect));

	if (!suspect)
		return NULL;
	if (guard->count == GUARD_ADDRESSES_MAX)
		forget(guard, guard->order);
	suspect->network = network_of(address);
	HASH_ADD(hh, guard->table, network, sizeof(suspect->network), suspect);
	if (!suspect->hh.tbl) {
		free(suspect);
		return NULL;
	}
	guard->count++;
	DL_APPEND(guard->order, suspect);
	return suspect;
}

void guard_failed(struct guard *guard, const struct address *address, uint64_t now_us) {
	if (guard->failures_per_minute == 0)
		return;
	pthread_mutex_lock(&guard->lock);
	struct suspect *suspect = find(guard, address);
	if (suspect) {
		DL_DELETE(guard->order, suspect);
		DL_APPEND(guard->order, suspect);
	} else {
		suspect = suspect_new(guard, address);
	}
	if (suspect) {
		if (suspect->clear_us < now_us)
			suspect->clear_us = now_us;
		suspect->clear_us += MINUTE_US / guard->failures_per_minute;
	}
	pthread_mutex_unlock(&guard->lock);
}
