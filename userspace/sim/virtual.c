/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Everything that happens is a timer: packets in flight and, per host, one wake-up for the earliest timer of that host.
 */
#include "base/cleanup.h"
#include "sim/virtual_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	DEFAULT_LATENCY_US = 1000,
	DEFAULT_PAYLOAD_MAX = 1400,
	HOSTS_FIRST = 64,
	HOSTS_MAX = 1 << 24, /* addresses in 10.0.0.0/8; a host that comes back has a new one */
};

/* ---- hosts ---- */

static void host_random(void *userdata, void *data, size_t length) {
	struct virtual_host *host = userdata;
	uint8_t *at = data;

	while (length > 0) {
		uint64_t value = splitmix(&host->random_state);
		size_t part = length < sizeof(value) ? length : sizeof(value);
		memcpy(at, &value, part);
		at += part;
		length -= part;
	}
}

static uint64_t host_realtime_ms(void *userdata) {
	struct virtual_host *host = userdata;

	return host->network->realtime_base_ms + host->network->agenda.clock.now_us / USEC_PER_MSEC + (uint64_t)host->skew_ms;
}

void virtual_host_enter(struct virtual_host *host) {
	host->runtime.now_us = host->network->agenda.clock.now_us;
}

void virtual_host_leave(struct virtual_host *host) {
	if (host->idle)
		host->idle(host->idle_userdata);
	uint64_t due_us = runtime_next(&host->runtime);
	if (due_us == USEC_NEVER)
		event_disarm(&host->network->agenda, &host->wake);
	else if (!event_is_for(&host->wake, due_us))
		event_arm(&host->network->agenda, &host->wake, due_us);
}

static void host_wake(struct timer *timer, void *userdata) {
	struct virtual_host *host = userdata;

	(void)timer;
	virtual_host_enter(host);
	runtime_fire(&host->runtime);
	virtual_host_leave(host);
}

static int hosts_grow(struct virtual_network *network) {
	if (network->next_host < network->host_capacity)
		return 0;
	uint32_t capacity = network->host_capacity ? network->host_capacity * 2 : HOSTS_FIRST;
	struct virtual_host **hosts = reallocarray(network->hosts, capacity, sizeof(struct virtual_host *));
	if (!hosts)
		return -ENOMEM;
	memset(hosts + network->host_capacity, 0, (capacity - network->host_capacity) * sizeof(struct virtual_host *));
	network->hosts = hosts;
	network->host_capacity = capacity;
	return 0;
}

int virtual_host_new(struct virtual_network *network, struct credential *credential, struct virtual_host **ret) {
	struct virtual_host *host = calloc(1, sizeof(*host));

	if (!host || network->next_host >= HOSTS_MAX || hosts_grow(network) < 0) {
		free(host);
		return -ENOMEM;
	}
	uint32_t number = network->next_host++;
	host->network = network;
	host->number = number;
	host->credential = credential_ref(credential);
	host->address = (struct address){.family = AF_INET, .port = RELOAD_PORT};
	host->address.octets[0] = 10;
	host->address.octets[1] = (uint8_t)(number >> 16);
	host->address.octets[2] = (uint8_t)(number >> 8);
	host->address.octets[3] = (uint8_t)number;
	host->random_state = splitmix(&network->random_state);
	host->runtime = (struct runtime){
		.now_us = network->agenda.clock.now_us,
		.source = {.realtime_ms = host_realtime_ms, .random = host_random, .userdata = host},
	};
	timer_init(&host->wake.timer, host_wake, host);
	network->hosts[number] = host;
	*ret = host;
	return 0;
}

struct runtime *virtual_host_runtime(struct virtual_host *host) {
	return &host->runtime;
}

struct address virtual_host_address(const struct virtual_host *host) {
	return host->address;
}

void virtual_host_set_events(struct virtual_host *host, const struct transport_events *events) {
	host->events = *events;
}

void virtual_host_set_idle(struct virtual_host *host, void (*idle)(void *userdata), void *userdata) {
	host->idle = idle;
	host->idle_userdata = userdata;
}

void virtual_host_kill(struct virtual_host *host) {
	virtual_host_release_ends(host);
	event_disarm(&host->network->agenda, &host->wake);
	host->network->hosts[host->number] = NULL;
	credential_unref(host->credential);
	free(host);
}

/* ---- the network ---- */

int virtual_network_new(uint64_t seed, struct virtual_network **ret) {
	struct virtual_network *network = calloc(1, sizeof(*network));

	if (!network || agenda_init(&network->agenda) < 0) {
		free(network);
		return -ENOMEM;
	}
	network->random_state = seed;
	network->next_link = 1;
	network->next_host = 1;
	network->latency_min_us = network->latency_max_us = DEFAULT_LATENCY_US;
	network->payload_max = DEFAULT_PAYLOAD_MAX;
	network->agenda.clock.now_us = USEC_PER_SEC;
	network->realtime_base_ms = UINT64_C(1780000000000);
	*ret = network;
	return 0;
}

struct virtual_network *virtual_network_free(struct virtual_network *network) {
	if (!network)
		return NULL;
	for (uint32_t number = 1; number < network->next_host; number++)
		if (network->hosts[number])
			virtual_host_kill(network->hosts[number]);
	virtual_network_release_packets(network);
	virtual_network_heal(network);
	free(network->hosts);
	agenda_release(&network->agenda);
	free(network);
	return NULL;
}

struct virtual_host *virtual_network_host(struct virtual_network *network, const struct address *address) {
	uint32_t number = (uint32_t)address->octets[1] << 16 | (uint32_t)address->octets[2] << 8 | address->octets[3];
	struct virtual_host *host = number < network->host_capacity ? network->hosts[number] : NULL;

	return host && address_equal(&host->address, address) ? host : NULL;
}

void *virtual_network_userdata(struct virtual_network *network, const struct address *address) {
	struct virtual_host *host = virtual_network_host(network, address);

	return host ? host->idle_userdata : NULL;
}

struct virtual_figures virtual_network_figures(const struct virtual_network *network) {
	return network->figures;
}

struct runtime *virtual_network_clock(struct virtual_network *network) {
	return &network->agenda.clock;
}

uint64_t virtual_network_now(const struct virtual_network *network) {
	return network->agenda.clock.now_us;
}

void virtual_network_set_tracked(struct virtual_network *network) {
	network->tracked = true;
}

/* The caller may have used hosts since the last run. */
static void enter_all(struct virtual_network *network, bool leave) {
	for (uint32_t number = 1; !network->tracked && number < network->next_host; number++) {
		if (!network->hosts[number])
			continue;
		virtual_host_enter(network->hosts[number]);
		if (leave)
			virtual_host_leave(network->hosts[number]);
	}
}

bool virtual_network_run(struct virtual_network *network, uint64_t until_us, bool (*stop)(void *userdata), void *userdata) {
	enter_all(network, true);
	while (agenda_next(&network->agenda, until_us) <= until_us) {
		struct timer *timer = network->agenda.clock.timers;
		if (timer->due_us > network->agenda.clock.now_us)
			network->agenda.clock.now_us = timer->due_us;
		timer_disarm(&network->agenda.clock, timer);
		timer->fire(timer, timer->userdata);
		network->figures.events++;
		if (stop && stop(userdata))
			return true;
	}
	network->agenda.clock.now_us = until_us;
	enter_all(network, false);
	return stop && stop(userdata);
}
