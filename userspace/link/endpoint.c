/* SPDX-License-Identifier: BSD-2-Clause */
/* Remote addresses by hash: one look-up per datagram received. */
#include "link/dtls_internal.h"

#include <errno.h>
#include <string.h>

enum { PLACES_MIN = 256 };

_Static_assert(sizeof(struct address) == 24, "hashed as three words");

/* Multilinear hashing with secret multipliers: as good as random for whoever does not know them, and a few cycles. */
static uint64_t hash_address(const struct endpoint_table *table, const struct address *address) {
	const uint64_t *k = table->secret;
	uint64_t w[3];

	memcpy(w, address, sizeof(w));
	uint64_t hash = k[0] + (k[1] + (uint32_t)w[0]) * (k[2] + (w[0] >> 32));
	hash += (k[3] + (uint32_t)w[1]) * (k[4] + (w[1] >> 32));
	hash += (k[5] + (uint32_t)w[2]) * (k[1] + (w[2] >> 32));
	return hash ^ hash >> 32;
}

int endpoint_table_init(struct endpoint_table *table, const struct runtime *runtime) {
	table->size = PLACES_MIN;
	table->count = 0;
	table->places = calloc(table->size, sizeof(*table->places));
	if (!table->places)
		return -ENOMEM;
	runtime_random(runtime, table->secret, sizeof(table->secret));
	return 0;
}

void endpoint_table_free(struct endpoint_table *table) {
	if (table->places)
		for (size_t i = 0; i < table->size; i++)
			free(table->places[i]);
	free(table->places);
	table->places = NULL;
}

struct endpoint *endpoint_find(const struct endpoint_table *table, const struct address *remote) {
	uint64_t hash = hash_address(table, remote);

	for (size_t i = hash & (table->size - 1); table->places[i]; i = (i + 1) & (table->size - 1))
		if (table->places[i]->hash == hash && address_equal(&table->places[i]->to.remote, remote))
			return table->places[i];
	return NULL;
}

static void put(struct endpoint_table *table, struct endpoint *endpoint) {
	size_t i = endpoint->hash & (table->size - 1);

	while (table->places[i])
		i = (i + 1) & (table->size - 1);
	table->places[i] = endpoint;
}

static int grow(struct endpoint_table *table) {
	struct endpoint **old = table->places;
	size_t old_size = table->size;
	struct endpoint **places = calloc(2 * old_size, sizeof(*places));

	if (!places)
		return -ENOMEM;
	table->places = places;
	table->size = 2 * old_size;
	for (size_t i = 0; i < old_size; i++)
		if (old[i])
			put(table, old[i]);
	free(old);
	return 0;
}

int endpoint_add(struct endpoint_table *table, const struct address *remote, struct endpoint **ret) {
	if (2 * (table->count + 1) > table->size && grow(table) < 0)
		return -ENOMEM;
	struct endpoint *endpoint = calloc(1, sizeof(*endpoint));
	if (!endpoint)
		return -ENOMEM;
	endpoint->to.remote = *remote;
	endpoint->hash = hash_address(table, remote);
	put(table, endpoint);
	table->count++;
	*ret = endpoint;
	return 0;
}

void endpoint_remove(struct endpoint_table *table, struct endpoint *endpoint) {
	size_t mask = table->size - 1, hole = endpoint->hash & mask;

	while (table->places[hole] != endpoint)
		hole = (hole + 1) & mask;
	/* Close the gap: move back what would no longer be found behind it. */
	for (size_t i = (hole + 1) & mask; table->places[i]; i = (i + 1) & mask) {
		size_t home = table->places[i]->hash & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			table->places[hole] = table->places[i];
			hole = i;
		}
	}
	table->places[hole] = NULL;
	table->count--;
}
