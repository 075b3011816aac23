/* SPDX-License-Identifier: BSD-2-Clause */
/* What the virtual network does to packets: latency, loss, cuts, partitions; and how hosts differ from others. */
#include "base/cleanup.h"
#include "base/table.h"
#include "sim/virtual_internal.h"

#include <stdlib.h>

enum {
	RTO_MIN_US = 50 * 1000,
	INTERNET_MIN_US = 5 * 1000,
	INTERNET_MAX_US = 250 * 1000,
};

struct cut {
	struct {
		struct address from, to;
	} key;
	UT_hash_handle hh;
};

void virtual_network_cut(struct virtual_network *network, const struct address *from, const struct address *to, bool cut_now) {
	struct cut *cut, probe = {.key = {.from = *from, .to = *to}};

	HASH_FIND(hh, network->cuts, &probe.key, sizeof(probe.key), cut);
	if (cut_now && !cut) {
		cut = calloc(1, sizeof(*cut));
		if (!cut)
			abort();
		cut->key = probe.key;
		HASH_ADD(hh, network->cuts, key, sizeof(cut->key), cut);
		if (!cut->hh.tbl)
			abort();
	} else if (!cut_now && cut) {
		HASH_DEL(network->cuts, cut);
		free(cut);
	}
}

void virtual_network_heal(struct virtual_network *network) {
	struct cut *cut, *next;

	HASH_ITER (hh, network->cuts, cut, next) {
		HASH_DEL(network->cuts, cut);
		free(cut);
	}
}

static bool is_cut(struct virtual_network *network, const struct address *from, const struct address *to) {
	struct cut *cut, probe = {.key = {.from = *from, .to = *to}};

	if (!network->cuts)
		return false;
	HASH_FIND(hh, network->cuts, &probe.key, sizeof(probe.key), cut);
	return cut != NULL;
}

/* A sender that is gone by now was in no other group when it sent. */
static bool is_parted(struct virtual_network *network, const struct address *from, const struct virtual_host *to) {
	const struct virtual_host *sender = network->grouped && to ? virtual_network_host(network, from) : NULL;

	return sender && sender->group != to->group;
}

bool virtual_network_is_cut(struct virtual_network *network, const struct address *from, const struct address *to,
			    const struct virtual_host *host) {
	return is_cut(network, from, to) || is_parted(network, from, host);
}

void virtual_network_set_loss(struct virtual_network *network, uint32_t loss_ppm) {
	network->loss_ppm = loss_ppm;
}

void virtual_network_set_latency(struct virtual_network *network, uint64_t min_us, uint64_t max_us) {
	network->latency_min_us = min_us;
	network->latency_max_us = max_us > min_us ? max_us : min_us;
}

void virtual_network_set_internet(struct virtual_network *network) {
	network->internet = true;
	network->latency_min_us = INTERNET_MIN_US;
	network->latency_max_us = INTERNET_MAX_US + INTERNET_MAX_US / 10;
}

void virtual_network_set_reordering(struct virtual_network *network, uint32_t reordering_ppm) {
	network->reordering_ppm = reordering_ppm;
}

void virtual_network_set_duplication(struct virtual_network *network, uint32_t duplication_ppm) {
	network->duplication_ppm = duplication_ppm;
}

void virtual_network_set_payload_max(struct virtual_network *network, size_t octets) {
	network->payload_max = octets;
}

void virtual_host_set_group(struct virtual_host *host, unsigned group) {
	host->group = group;
	host->network->grouped = host->network->grouped || group != 0;
}

void virtual_host_set_skew(struct virtual_host *host, int64_t skew_ms) {
	host->skew_ms = skew_ms;
}

void virtual_host_set_delay(struct virtual_host *host, uint64_t delay_us) {
	host->delay_us = delay_us;
}

void virtual_host_set_mute(struct virtual_host *host, bool mute) {
	host->mute = mute;
}

void virtual_host_set_selfish(struct virtual_host *host, bool selfish) {
	host->selfish = selfish;
}

void virtual_host_set_hidden(struct virtual_host *host, bool hidden) {
	host->hidden = hidden;
}

bool virtual_chance(struct virtual_network *network, uint32_t ppm) {
	return ppm > 0 && splitmix(&network->random_state) % 1000000 < ppm;
}

/* By the quantiles of one-way delays over the Internet. */
uint64_t virtual_distance(const struct address *from, const struct address *to) {
	static const uint32_t quantiles_ms[] = {5, 10, 16, 23, 31, 40, 51, 65, 85, 120, 250};
	uint64_t state = 0;

	for (size_t i = 0; i < 4; i++)
		state = state << 8 | (uint8_t)(from->octets[i] ^ to->octets[i]);
	uint64_t draw = splitmix(&state) % (1000 * (ARRAY_LENGTH(quantiles_ms) - 1));
	const uint32_t *step = &quantiles_ms[draw / 1000];
	return 1000 * step[0] + (step[1] - step[0]) * (draw % 1000);
}

uint64_t virtual_latency(struct virtual_network *network, uint64_t distance_us) {
	uint64_t least_us = network->internet ? distance_us : network->latency_min_us,
		 spread_us = network->internet ? distance_us / 10 : network->latency_max_us - network->latency_min_us;

	return least_us + (spread_us ? splitmix(&network->random_state) % (spread_us + 1) : 0);
}

/* Twice the round trip, as a measured one with its variance would be. */
uint64_t virtual_rto(const struct virtual_network *network, uint64_t distance_us) {
	uint64_t rto_us = 4 * (network->internet ? distance_us : network->latency_max_us);

	return rto_us > RTO_MIN_US ? rto_us : RTO_MIN_US;
}
