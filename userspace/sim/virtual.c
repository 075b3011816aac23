/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Everything that happens is a timer: packets in flight and, per host, one wake-up for the earliest timer of that host. Links find
 * each other by address and a number unique in the network, never by pointer, so that hosts may vanish.
 *
 * Hundreds of thousands of timers are armed at any time, mostly for the next minute. They wait in a wheel, a list for each
 * millisecond, where arming and disarming touches two neighbors; only those of the current millisecond, and those too far away for
 * the wheel, are in order, in the heap of the network's runtime.
 */
#include "sim/virtual.h"

#include "base/cleanup.h"
#include "base/table.h"

#include <errno.h>
#include <string.h>

enum {
	DEFAULT_LATENCY_US = 1000,
	DEFAULT_PAYLOAD_MAX = 1400,
	HANDSHAKE_LIMIT_US = 10 * 1000 * 1000,
	RTO_MIN_US = 50 * 1000,
	SENDS_UNTIL_SUSPECT = 4,
	SENDS_UNTIL_DOWN = 5,
	SLOTS_FIRST = 8,
	INTERNET_MIN_US = 5 * 1000,
	INTERNET_MAX_US = 250 * 1000,
	TICK_US = 1024,
	WHEEL_SIZE = 1 << 17, /* ticks: two minutes */
	HOSTS_FIRST = 64,
	HOSTS_MAX = 1 << 24, /* addresses in 10.0.0.0/8; a host that comes back has a new one */
};

/* A timer of the network. While it waits in the wheel its `sibling` and `previous` link the list of its tick. */
struct event {
	struct timer timer;
	bool waiting;
};

/* One end of a link. */
struct virtual_end {
	uint64_t link; /* unique in the network; 0: the slot is free */
	struct address peer;
	struct certificate *certificate;
	struct id expected;
	struct timer handshake;
	struct virtual_host *host;
	uint64_t last_arrival_us; /* of what we sent: keeps a direction in order */
	uint64_t distance_us;	  /* between two hosts of the Internet */
	struct link_statistics statistics;
	uint16_t slot, peer_slot; /* the peer's slot as last heard: where to look first */
	uint8_t generation;
	bool up, initiated, suspected;
};

struct virtual_host {
	struct virtual_network *network;
	struct runtime runtime;
	struct credential *credential;
	struct address address;
	struct transport_events events;
	void (*idle)(void *userdata);
	void *idle_userdata;
	struct event wake;
	uint32_t number;
	struct virtual_end **ends; /* by slot */
	size_t end_count;
	uint16_t next_slot;
	uint64_t random_state, delay_us;
	int64_t skew_ms;
	unsigned group; /* hosts of different groups do not reach each other */
	bool mute, selfish, hidden;
};

enum packet_type { PACKET_HELLO, PACKET_HELLO_ANSWER, PACKET_FINISHED, PACKET_FINISHED_ANSWER, PACKET_DATA, PACKET_CLOSE };

struct packet {
	struct event event;
	struct virtual_network *network;
	struct packet *previous, *next;
	enum packet_type type;
	uint64_t link;
	struct address from, to;
	struct certificate *certificate;
	unsigned sends;
	uint64_t delay_us;    /* of a slow sender, on top of the latency */
	uint64_t distance_us; /* 0: not computed yet */
	uint16_t from_slot, to_slot;
	bool own;
	size_t length;
	uint8_t data[];
};

struct cut {
	struct {
		struct address from, to;
	} key;
	UT_hash_handle hh;
};

struct virtual_network {
	struct runtime clock;
	struct timer **wheel;	     /* lists, by tick modulo WHEEL_SIZE */
	uint64_t tick;		     /* everything due up to its end is in the heap */
	size_t waiting;		     /* in the wheel */
	struct virtual_host **hosts; /* by number, NULL: gone */
	uint32_t host_capacity;
	bool tracked;
	struct packet *packets;
	struct cut *cuts;
	uint64_t random_state, next_link;
	uint32_t next_host, loss_ppm, reordering_ppm, duplication_ppm;
	uint64_t latency_min_us, latency_max_us;
	bool internet, grouped;
	struct virtual_figures figures;
	size_t payload_max;
	uint64_t realtime_base_ms;
};

static uint64_t splitmix(uint64_t *state) {
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

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

	return host->network->realtime_base_ms + host->network->clock.now_us / USEC_PER_MSEC + (uint64_t)host->skew_ms;
}

/* ---- the agenda ---- */

static uint64_t tick_of(uint64_t time_us) {
	return time_us / TICK_US;
}

static void event_disarm(struct virtual_network *network, struct event *event) {
	struct timer *timer = &event->timer;

	if (!event->waiting) {
		timer_disarm(&network->clock, timer);
		return;
	}
	if (timer->previous)
		timer->previous->sibling = timer->sibling;
	else
		network->wheel[tick_of(timer->due_us) % WHEEL_SIZE] = timer->sibling;
	if (timer->sibling)
		timer->sibling->previous = timer->previous;
	timer->sibling = timer->previous = NULL;
	event->waiting = false;
	network->waiting--;
}

static void event_arm(struct virtual_network *network, struct event *event, uint64_t due_us) {
	struct timer *timer = &event->timer;
	uint64_t tick = tick_of(due_us);

	event_disarm(network, event);
	if (network->waiting == 0 && tick_of(network->clock.now_us) > network->tick)
		network->tick = tick_of(network->clock.now_us);
	if (tick <= network->tick || tick - network->tick >= WHEEL_SIZE) {
		timer_arm(&network->clock, timer, due_us);
		return;
	}
	struct timer **list = &network->wheel[tick % WHEEL_SIZE];
	timer->due_us = due_us;
	timer->sibling = *list;
	if (*list)
		(*list)->previous = timer;
	*list = timer;
	event->waiting = true;
	network->waiting++;
}

static void event_arm_after(struct virtual_network *network, struct event *event, uint64_t delay_us) {
	event_arm(network, event, network->clock.now_us + delay_us);
}

static bool event_is_for(const struct event *event, uint64_t due_us) {
	return (event->waiting || event->timer.armed) && event->timer.due_us == due_us;
}

/* In the order in which they were armed, so that what is due at the same time happens in that order. */
static void list_to_heap(struct virtual_network *network, struct timer *list) {
	struct timer *timer = list, *previous;

	while (timer && timer->sibling)
		timer = timer->sibling;
	for (; timer; timer = previous) {
		struct event *event = container_of(timer, struct event, timer);
		uint64_t due_us = timer->due_us;
		previous = timer->previous;
		event_disarm(network, event);
		timer_arm(&network->clock, timer, due_us);
	}
}

/* When something is due next, or `limit_us` if that is not before. Moves to the heap what the wheel has for that time. */
static uint64_t agenda_next(struct virtual_network *network, uint64_t limit_us) {
	while (network->waiting > 0) {
		uint64_t next_us = runtime_next(&network->clock);
		if (tick_of(next_us) <= network->tick || tick_of(limit_us) <= network->tick)
			break;
		list_to_heap(network, network->wheel[++network->tick % WHEEL_SIZE]);
	}
	return runtime_next(&network->clock);
}

int virtual_network_new(uint64_t seed, struct virtual_network **ret) {
	struct virtual_network *network = calloc(1, sizeof(*network));
	struct timer **wheel = calloc(WHEEL_SIZE, sizeof(*wheel));

	if (!network || !wheel) {
		free(network);
		free(wheel);
		return -ENOMEM;
	}
	network->wheel = wheel;
	network->random_state = seed;
	network->next_link = 1;
	network->next_host = 1;
	network->latency_min_us = network->latency_max_us = DEFAULT_LATENCY_US;
	network->payload_max = DEFAULT_PAYLOAD_MAX;
	network->clock.now_us = USEC_PER_SEC;
	network->realtime_base_ms = UINT64_C(1780000000000);
	*ret = network;
	return 0;
}

static void packet_free(struct packet *packet) {
	struct virtual_network *network = packet->network;

	event_disarm(network, &packet->event);
	if (packet->previous)
		packet->previous->next = packet->next;
	else
		network->packets = packet->next;
	if (packet->next)
		packet->next->previous = packet->previous;
	certificate_unref(packet->certificate);
	free(packet);
}

struct virtual_network *virtual_network_free(struct virtual_network *network) {
	if (!network)
		return NULL;
	for (uint32_t number = 1; number < network->next_host; number++)
		if (network->hosts[number])
			virtual_host_kill(network->hosts[number]);
	while (network->packets)
		packet_free(network->packets);
	virtual_network_heal(network);
	free(network->hosts);
	free(network->wheel);
	free(network);
	return NULL;
}

static void host_enter(struct virtual_host *host) {
	host->runtime.now_us = host->network->clock.now_us;
}

static void host_leave(struct virtual_host *host) {
	if (host->idle)
		host->idle(host->idle_userdata);
	uint64_t due_us = runtime_next(&host->runtime);
	if (due_us == USEC_NEVER)
		event_disarm(host->network, &host->wake);
	else if (!event_is_for(&host->wake, due_us))
		event_arm(host->network, &host->wake, due_us);
}

void virtual_host_enter(struct virtual_host *host) {
	host_enter(host);
}

void virtual_host_leave(struct virtual_host *host) {
	host_leave(host);
}

static void host_wake(struct timer *timer, void *userdata) {
	struct virtual_host *host = userdata;

	(void)timer;
	host_enter(host);
	runtime_fire(&host->runtime);
	host_leave(host);
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
		.now_us = network->clock.now_us,
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

static void end_release(struct virtual_end *end) {
	timer_disarm(&end->host->runtime, &end->handshake);
	end->certificate = certificate_unref(end->certificate);
	end->link = 0;
	end->up = false;
}

void virtual_host_kill(struct virtual_host *host) {
	for (size_t i = 0; i < host->end_count; i++) {
		if (!host->ends[i])
			continue;
		if (host->ends[i]->link != 0)
			end_release(host->ends[i]);
		free(host->ends[i]);
	}
	free(host->ends);
	event_disarm(host->network, &host->wake);
	host->network->hosts[host->number] = NULL;
	credential_unref(host->credential);
	free(host);
}

static struct virtual_host *network_host(struct virtual_network *network, const struct address *address) {
	uint32_t number = (uint32_t)address->octets[1] << 16 | (uint32_t)address->octets[2] << 8 | address->octets[3];
	struct virtual_host *host = number < network->host_capacity ? network->hosts[number] : NULL;

	return host && address_equal(&host->address, address) ? host : NULL;
}

void *virtual_network_userdata(struct virtual_network *network, const struct address *address) {
	struct virtual_host *host = network_host(network, address);

	return host ? host->idle_userdata : NULL;
}

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

static bool network_is_cut(struct virtual_network *network, const struct address *from, const struct address *to) {
	struct cut *cut, probe = {.key = {.from = *from, .to = *to}};

	if (!network->cuts)
		return false;
	HASH_FIND(hh, network->cuts, &probe.key, sizeof(probe.key), cut);
	return cut != NULL;
}

/* A sender that is gone by now was in no other group when it sent. */
static bool network_is_parted(struct virtual_network *network, const struct address *from, const struct virtual_host *to) {
	const struct virtual_host *sender = network->grouped && to ? network_host(network, from) : NULL;

	return sender && sender->group != to->group;
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

struct virtual_figures virtual_network_figures(const struct virtual_network *network) {
	return network->figures;
}

struct runtime *virtual_network_clock(struct virtual_network *network) {
	return &network->clock;
}

void virtual_network_set_payload_max(struct virtual_network *network, size_t octets) {
	network->payload_max = octets;
}

uint64_t virtual_network_now(const struct virtual_network *network) {
	return network->clock.now_us;
}

static bool chance(struct virtual_network *network, uint32_t ppm) {
	return ppm > 0 && splitmix(&network->random_state) % 1000000 < ppm;
}

/* Distance of two hosts by the quantiles of one-way delays over the Internet, always the same for a pair. */
static uint64_t internet_distance(const struct address *from, const struct address *to) {
	static const uint32_t quantiles_ms[] = {5, 10, 16, 23, 31, 40, 51, 65, 85, 120, 250};
	uint64_t state = 0;

	for (size_t i = 0; i < 4; i++)
		state = state << 8 | (uint8_t)(from->octets[i] ^ to->octets[i]);
	uint64_t draw = splitmix(&state) % (1000 * (ARRAY_LENGTH(quantiles_ms) - 1));
	const uint32_t *step = &quantiles_ms[draw / 1000];
	return 1000 * step[0] + (step[1] - step[0]) * (draw % 1000);
}

static uint64_t network_latency(struct virtual_network *network, const struct packet *packet) {
	uint64_t least_us = network->latency_min_us, spread_us = network->latency_max_us - network->latency_min_us;

	if (network->internet) {
		least_us = packet->distance_us ? packet->distance_us : internet_distance(&packet->from, &packet->to);
		spread_us = least_us / 10;
	}
	return least_us + packet->delay_us + (spread_us ? splitmix(&network->random_state) % (spread_us + 1) : 0);
}

/* Twice the round trip, as a measured one with its variance would be. */
static uint64_t network_rto(const struct virtual_network *network, uint64_t distance_us) {
	uint64_t rto_us = 4 * (network->internet ? distance_us : network->latency_max_us);

	return rto_us > RTO_MIN_US ? rto_us : RTO_MIN_US;
}

/* ---- ends and slots ---- */

static struct virtual_end *host_end(struct virtual_host *host, uint16_t slot) {
	return slot < host->end_count && host->ends[slot] && host->ends[slot]->link != 0 ? host->ends[slot] : NULL;
}

static struct virtual_end *host_end_of_link(struct virtual_host *host, uint64_t link, uint16_t slot_hint) {
	struct virtual_end *hinted = host_end(host, slot_hint);

	if (hinted && hinted->link == link)
		return hinted;
	for (size_t i = 0; i < host->end_count; i++)
		if (host->ends[i] && host->ends[i]->link == link)
			return host->ends[i];
	return NULL;
}

static void end_handshake_failed(struct timer *timer, void *userdata) {
	struct virtual_end *end = userdata;
	struct virtual_host *host = end->host;
	uint16_t slot = end->slot;

	(void)timer;
	end_release(end);
	host->events.down(host->events.userdata, slot, LINK_HANDSHAKE_FAILED);
}

static int host_grow(struct virtual_host *host) {
	size_t count = host->end_count ? host->end_count * 2 : SLOTS_FIRST;

	if (host->end_count >= LINK_SLOTS_MAX)
		return -ENOBUFS;
	struct virtual_end **ends = realloc(host->ends, count * sizeof(*ends));
	if (!ends)
		return -ENOMEM;
	memset(ends + host->end_count, 0, (count - host->end_count) * sizeof(*ends));
	host->ends = ends;
	host->end_count = count;
	return 0;
}

/* Slots rotate, so that a stale slot number is noticed as late as possible (B-6.3.2.2-04). */
static int host_new_end(struct virtual_host *host, uint64_t link, const struct address *peer, struct virtual_end **ret) {
	size_t slot = host->end_count;

	for (size_t i = 0; i < host->end_count && slot == host->end_count; i++) {
		size_t candidate = (host->next_slot + i) % host->end_count;
		if (!host->ends[candidate] || host->ends[candidate]->link == 0)
			slot = candidate;
	}
	if (slot == host->end_count) {
		int error = host_grow(host);
		if (error < 0)
			return error;
	}
	if (!host->ends[slot]) {
		host->ends[slot] = calloc(1, sizeof(*host->ends[slot]));
		if (!host->ends[slot])
			return -ENOMEM;
		host->ends[slot]->generation = (uint8_t)(splitmix(&host->random_state) % LINK_GENERATIONS);
	}
	struct virtual_end *end = host->ends[slot];
	uint8_t generation = (uint8_t)((end->generation + 1) % LINK_GENERATIONS);
	*end = (struct virtual_end){.link = link,
				    .peer = *peer,
				    .host = host,
				    .slot = (uint16_t)slot,
				    .peer_slot = LINK_SLOT_NONE,
				    .distance_us = internet_distance(&host->address, peer),
				    .generation = generation};
	timer_init(&end->handshake, end_handshake_failed, end);
	host->next_slot = (uint16_t)((slot + 1) % host->end_count);
	*ret = end;
	return 0;
}

/* ---- packets ---- */

static void packet_arrive(struct timer *timer, void *userdata);

static struct packet *packet_new(struct virtual_network *network, enum packet_type type, uint64_t link, const struct address *from,
				 const struct address *to, size_t length) {
	struct packet *packet = calloc(1, sizeof(*packet) + length);

	if (!packet)
		return NULL;
	*packet = (struct packet){.network = network,
				  .type = type,
				  .link = link,
				  .from = *from,
				  .to = *to,
				  .from_slot = LINK_SLOT_NONE,
				  .to_slot = LINK_SLOT_NONE,
				  .length = length};
	timer_init(&packet->event.timer, packet_arrive, packet);
	packet->next = network->packets;
	if (packet->next)
		packet->next->previous = packet;
	network->packets = packet;
	return packet;
}

static void packet_post(struct packet *packet, uint64_t *last_arrival_us) {
	uint64_t due_us = packet->network->clock.now_us + network_latency(packet->network, packet);

	if (last_arrival_us && !(packet->type == PACKET_DATA && chance(packet->network, packet->network->reordering_ppm))) {
		if (due_us <= *last_arrival_us)
			due_us = *last_arrival_us + 1;
		*last_arrival_us = due_us;
	}
	packet->sends++;
	packet->network->figures.packets++;
	packet->network->figures.octets += packet->length;
	event_arm(packet->network, &packet->event, due_us);
}

static void send_control(struct virtual_host *host, enum packet_type type, uint64_t link, const struct address *to,
			 uint64_t *last_arrival_us) {
	struct packet *packet = host->mute ? NULL : packet_new(host->network, type, link, &host->address, to, 0);

	if (!packet)
		return;
	packet->certificate = certificate_ref(host->credential->certificate);
	packet_post(packet, last_arrival_us);
}

static void end_up(struct virtual_end *end, struct certificate *certificate) {
	struct virtual_host *host = end->host;

	timer_disarm(&host->runtime, &end->handshake);
	end->certificate = certificate_ref(certificate);
	end->up = true;
	host->events.up(host->events.userdata, end->slot, end->initiated);
}

static void end_down(struct virtual_end *end, enum link_reason reason) {
	struct virtual_host *host = end->host;
	uint16_t slot = end->slot;

	end_release(end);
	host->events.down(host->events.userdata, slot, reason);
}

int virtual_host_link(struct virtual_host *from, struct virtual_host *to) {
	uint64_t link = from->network->next_link++;
	struct virtual_end *ends[2];
	int error = host_new_end(from, link, &to->address, &ends[0]);

	if (error < 0)
		return error;
	error = host_new_end(to, link, &from->address, &ends[1]);
	if (error < 0) {
		end_release(ends[0]);
		return error;
	}
	ends[0]->initiated = true;
	ends[0]->peer_slot = ends[1]->slot;
	ends[1]->peer_slot = ends[0]->slot;
	host_enter(from);
	end_up(ends[0], to->credential->certificate);
	host_leave(from);
	host_enter(to);
	end_up(ends[1], from->credential->certificate);
	host_leave(to);
	return 0;
}

static void arrive_finished(struct virtual_host *host, const struct packet *packet) {
	struct virtual_end *end;
	struct address from = packet->from;

	if (host_end_of_link(host, packet->link, packet->to_slot) || host_new_end(host, packet->link, &packet->from, &end) < 0)
		return;
	send_control(host, PACKET_FINISHED_ANSWER, packet->link, &from, &end->last_arrival_us);
	end_up(end, packet->certificate);
}

static void arrive_finished_answer(struct virtual_end *end, const struct packet *packet) {
	if (end->up)
		return;
	if (!id_is_none(&end->expected) && !certificate_has_node_id(packet->certificate, &end->expected)) {
		send_control(end->host, PACKET_CLOSE, end->link, &end->peer, NULL);
		end_down(end, LINK_HANDSHAKE_FAILED);
		return;
	}
	end_up(end, packet->certificate);
}

static void arrive_data(struct virtual_end *end, struct packet *packet) {
	struct virtual_host *host = end->host;

	end->peer_slot = packet->from_slot;
	end->statistics.received++;
	end->statistics.octets_received += packet->length;
	end->statistics.last_received_us = host->runtime.now_us;
	host->events.receive(host->events.userdata, end->slot, packet->data, packet->length);
}

/* A NAT lets in who was written to before. */
static bool host_lets_in(const struct virtual_host *host, const struct packet *packet) {
	bool lets_in = !host->hidden || packet->type != PACKET_HELLO;

	for (size_t i = 0; i < host->end_count && !lets_in; i++)
		lets_in = host->ends[i] && host->ends[i]->link != 0 && address_equal(&host->ends[i]->peer, &packet->from);
	return lets_in;
}

/* Hands a packet to the host it is for. */
static void packet_deliver(struct packet *packet, struct virtual_host *host) {
	struct virtual_end *end = host_end_of_link(host, packet->link, packet->to_slot);

	if (host->mute || !host_lets_in(host, packet))
		return;
	host_enter(host);
	if (packet->type == PACKET_HELLO)
		send_control(host, PACKET_HELLO_ANSWER, packet->link, &packet->from, NULL);
	else if (packet->type == PACKET_HELLO_ANSWER && end)
		send_control(host, PACKET_FINISHED, packet->link, &packet->from, NULL);
	else if (packet->type == PACKET_FINISHED)
		arrive_finished(host, packet);
	else if (packet->type == PACKET_FINISHED_ANSWER && end)
		arrive_finished_answer(end, packet);
	else if (packet->type == PACKET_DATA && end && end->up)
		arrive_data(end, packet);
	else if (packet->type == PACKET_CLOSE && end)
		end_down(end, LINK_CLOSED_BY_PEER);
	host_leave(host);
}

/* What the sender learns: an acknowledgement (`reached`), or silence that grows into suspicion and the end of the link. */
static void sender_learns(struct packet *packet, bool reached) {
	struct virtual_host *sender = network_host(packet->network, &packet->from);
	struct virtual_end *end = sender ? host_end_of_link(sender, packet->link, packet->from_slot) : NULL;

	if (!end || !end->up || (reached && !end->suspected))
		return;
	host_enter(sender);
	if (reached) {
		end->suspected = false;
		sender->events.suspect(sender->events.userdata, end->slot, false);
	} else if (packet->sends == SENDS_UNTIL_SUSPECT && !end->suspected) {
		end->suspected = true;
		sender->events.suspect(sender->events.userdata, end->slot, true);
	} else if (packet->sends > SENDS_UNTIL_DOWN) {
		end_down(end, LINK_TIMED_OUT);
	}
	host_leave(sender);
}

static void packet_arrive(struct timer *timer, void *userdata) {
	struct packet *packet = userdata;
	struct virtual_network *network = packet->network;
	struct virtual_host *host = network_host(network, &packet->to);
	bool cut = network_is_cut(network, &packet->from, &packet->to) || network_is_parted(network, &packet->from, host);
	bool lost = packet->type == PACKET_DATA && chance(network, network->loss_ppm);

	(void)timer;
	if (packet->type != PACKET_DATA) {
		if (host && !cut)
			packet_deliver(packet, host);
		packet_free(packet);
		return;
	}
	if (host && !cut && !lost && host_end_of_link(host, packet->link, packet->to_slot)) {
		if (packet->own || packet->sends == 1)
			packet_deliver(packet, host);
		sender_learns(packet, true);
		packet_free(packet);
		return;
	}
	if (!packet->own && host && !cut) { /* a transit message lost once says nothing */
		packet_free(packet);
		return;
	}
	sender_learns(packet, false);
	if (packet->sends > SENDS_UNTIL_DOWN) {
		packet_free(packet);
		return;
	}
	event_arm_after(network, &packet->event, network_rto(network, packet->distance_us) << (packet->sends - 1));
	packet->sends++;
	network->figures.packets++;
	network->figures.octets += packet->length;
}

/* ---- transport ---- */

static int virtual_connect(void *object, const struct address *candidates, size_t count, const struct id *expected,
			   uint16_t *ret_slot) {
	struct virtual_host *host = object;
	struct virtual_network *network = host->network;
	struct virtual_end *end;

	if (count == 0)
		return -EAFNOSUPPORT;
	uint64_t link = network->next_link++;
	int error = host_new_end(host, link, &candidates[0], &end);
	if (error < 0)
		return error;
	end->initiated = true;
	if (expected)
		end->expected = *expected;
	timer_arm_after(&host->runtime, &end->handshake, HANDSHAKE_LIMIT_US);
	send_control(host, PACKET_HELLO, link, &candidates[0], NULL);
	*ret_slot = end->slot;
	return 0;
}

/* The copy of a message whose acknowledgement was lost. */
static void packet_duplicate(const struct packet *packet, uint64_t *last_arrival_us) {
	struct packet *copy = packet_new(packet->network, PACKET_DATA, packet->link, &packet->from, &packet->to, packet->length);

	if (!copy)
		return;
	memcpy(copy->data, packet->data, packet->length);
	copy->delay_us = packet->delay_us;
	copy->distance_us = packet->distance_us;
	copy->from_slot = packet->from_slot;
	copy->to_slot = packet->to_slot;
	packet_post(copy, last_arrival_us);
}

static int virtual_send(void *object, uint16_t slot, const struct iovec *parts, size_t count, unsigned flags) {
	struct virtual_host *host = object;
	struct virtual_end *end = host_end(host, slot);
	size_t length = 0;

	if (!end || !end->up)
		return -ENOTCONN;
	for (size_t i = 0; i < count; i++)
		length += parts[i].iov_len;
	if (length > host->network->payload_max)
		return -EMSGSIZE;
	if (host->mute || (host->selfish && !(flags & LINK_SEND_OWN)))
		return 0;
	struct packet *packet = packet_new(host->network, PACKET_DATA, end->link, &host->address, &end->peer, length);
	if (!packet)
		return -EAGAIN;
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].iov_len > 0)
			memcpy(packet->data + at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
	packet->own = flags & LINK_SEND_OWN;
	packet->delay_us = host->delay_us;
	packet->distance_us = end->distance_us;
	packet->from_slot = slot;
	packet->to_slot = end->peer_slot;
	end->statistics.sent++;
	end->statistics.octets_sent += length;
	packet_post(packet, &end->last_arrival_us);
	if (chance(host->network, host->network->duplication_ppm))
		packet_duplicate(packet, &end->last_arrival_us);
	return 0;
}

static void virtual_close(void *object, uint16_t slot, enum link_reason reason) {
	struct virtual_host *host = object;
	struct virtual_end *end = host_end(host, slot);

	if (!end)
		return;
	send_control(host, PACKET_CLOSE, end->link, &end->peer, &end->last_arrival_us);
	end_down(end, reason);
}

static size_t virtual_candidates(void *object, struct address *out, size_t max) {
	struct virtual_host *host = object;

	if (max == 0)
		return 0;
	out[0] = host->address;
	return 1;
}

static struct certificate *virtual_certificate(void *object, uint16_t slot) {
	struct virtual_end *end = host_end(object, slot);

	return end ? end->certificate : NULL;
}

static uint8_t virtual_generation(void *object, uint16_t slot) {
	struct virtual_end *end = host_end(object, slot);

	return end ? end->generation : 0;
}

static struct address virtual_address(void *object, uint16_t slot) {
	struct virtual_end *end = host_end(object, slot);

	return end ? end->peer : (struct address){0};
}

static size_t virtual_payload_max(void *object, uint16_t slot) {
	struct virtual_host *host = object;

	(void)slot;
	return host->network->payload_max;
}

static void virtual_statistics(void *object, uint16_t slot, struct link_statistics *ret) {
	struct virtual_host *host = object;
	struct virtual_end *end = host_end(host, slot);

	*ret = end ? end->statistics : (struct link_statistics){0};
	ret->rtt_us = (uint32_t)(host->network->latency_min_us + host->network->latency_max_us);
	ret->rto_us = end ? (uint32_t)network_rto(host->network, end->distance_us) : 0;
	ret->cipher = "virtual";
}

struct transport virtual_host_transport(struct virtual_host *host) {
	static const struct transport_ops ops = {
		.connect = virtual_connect,
		.send = virtual_send,
		.close = virtual_close,
		.candidates = virtual_candidates,
		.certificate = virtual_certificate,
		.generation = virtual_generation,
		.address = virtual_address,
		.payload_max = virtual_payload_max,
		.statistics = virtual_statistics,
	};

	return (struct transport){.ops = &ops, .object = host};
}

/* ---- running ---- */

/* The caller may have used hosts since the last run. */
static void enter_all(struct virtual_network *network, bool leave) {
	for (uint32_t number = 1; !network->tracked && number < network->next_host; number++) {
		if (!network->hosts[number])
			continue;
		host_enter(network->hosts[number]);
		if (leave)
			host_leave(network->hosts[number]);
	}
}

void virtual_network_set_tracked(struct virtual_network *network) {
	network->tracked = true;
}

bool virtual_network_run(struct virtual_network *network, uint64_t until_us, bool (*stop)(void *userdata), void *userdata) {
	enter_all(network, true);
	while (agenda_next(network, until_us) <= until_us) {
		struct timer *timer = network->clock.timers;
		if (timer->due_us > network->clock.now_us)
			network->clock.now_us = timer->due_us;
		timer_disarm(&network->clock, timer);
		timer->fire(timer, timer->userdata);
		network->figures.events++;
		if (stop && stop(userdata))
			return true;
	}
	network->clock.now_us = until_us;
	enter_all(network, false);
	return stop && stop(userdata);
}
