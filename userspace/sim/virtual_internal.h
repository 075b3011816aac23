/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of the virtual network share. */
#pragma once

#include "sim/agenda.h"
#include "sim/random.h"
#include "sim/virtual.h"

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

struct virtual_network {
	struct agenda agenda;
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

/* NULL: it is gone. */
struct virtual_host *virtual_network_host(struct virtual_network *network, const struct address *address);

/* conditions: is what `from` sends to `to` lost for now, `host` being at that address (NULL: nobody)? */
bool virtual_network_is_cut(struct virtual_network *network, const struct address *from, const struct address *to,
			    const struct virtual_host *host);

/* True `ppm` times in a million. */
bool virtual_chance(struct virtual_network *network, uint32_t ppm);

/* One way between two hosts of the Internet, microseconds: always the same for a pair. */
uint64_t virtual_distance(const struct address *from, const struct address *to);

/* What a packet takes now, and how long a sender waits for its acknowledgement, microseconds. */
uint64_t virtual_latency(struct virtual_network *network, uint64_t distance_us);
uint64_t virtual_rto(const struct virtual_network *network, uint64_t distance_us);

/* links: forget all ends of a host, all packets. */
void virtual_host_release_ends(struct virtual_host *host);
void virtual_network_release_packets(struct virtual_network *network);
