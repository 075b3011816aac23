/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests of strangers: as many as a gateway can bear beside its own phones, and of each host no more than a busy one sends. What
 * is beyond is refused before anything is kept of it.
 */
#include "sip/internal.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* A host: an IPv4 address, or the network of an IPv6 one, of which a host has as many as it likes. */
struct sip_stranger {
	uint8_t key[9];	  /* family, address */
	uint64_t paid_us; /* when its requests so far would have come at an even pace */
	struct sip_stranger *prev, *next;
	UT_hash_handle hh;
};

static void make_key(const struct address *source, uint8_t key[static 9]) {
	memset(key, 0, 9);
	key[0] = source->family;
	memcpy(key + 1, source->octets, source->family == AF_INET ? 4 : 8);
}

static void stranger_free(struct sip_gateway *gateway, struct sip_stranger *stranger) {
	HASH_DEL(gateway->strangers, stranger);
	DL_DELETE(gateway->oldest_stranger, stranger);
	gateway->stranger_count--;
	free(stranger);
}

void sip_strangers_free(struct sip_gateway *gateway) {
	while (gateway->strangers)
		stranger_free(gateway, gateway->strangers);
}

/* Takes one of `per_second`, of which a second's worth may come at once. */
static bool pay(uint64_t *paid_us, uint64_t now_us, unsigned per_second) {
	return rate_take(paid_us, now_us, USEC_PER_SEC / per_second, per_second);
}

static struct sip_stranger *stranger_get(struct sip_gateway *gateway, const struct address *source) {
	struct sip_stranger *stranger = NULL;
	uint8_t key[9];

	make_key(source, key);
	HASH_FIND(hh, gateway->strangers, key, sizeof(key), stranger);
	if (stranger) {
		DL_DELETE(gateway->oldest_stranger, stranger);
		DL_APPEND(gateway->oldest_stranger, stranger);
		return stranger;
	}
	if (gateway->stranger_count >= SIP_OUTSIDE_HOSTS)
		stranger_free(gateway, gateway->oldest_stranger);
	stranger = calloc(1, sizeof(*stranger));
	if (!stranger)
		return NULL;
	memcpy(stranger->key, key, sizeof(key));
	HASH_ADD(hh, gateway->strangers, key, sizeof(stranger->key), stranger);
	if (!stranger->hh.tbl) {
		free(stranger);
		return NULL;
	}
	DL_APPEND(gateway->oldest_stranger, stranger);
	gateway->stranger_count++;
	return stranger;
}

bool sip_outside_may(struct sip_gateway *gateway, const struct address *source) {
	uint64_t now_us = gateway->runtime->now_us;
	struct sip_stranger *stranger = stranger_get(gateway, source);

	if (stranger && pay(&stranger->paid_us, now_us, SIP_OUTSIDE_PER_HOST) &&
	    pay(&gateway->outside_us, now_us, SIP_OUTSIDE_PER_SECOND))
		return true;
	gateway->figures.outside_refused++;
	return false;
}
