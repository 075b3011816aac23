/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtual links between nodes of one process on virtual time: the transport of unit tests and of the simulator. */
#pragma once

#include "base/runtime.h"
#include "link/transport.h"

struct virtual_network;
struct virtual_host;

int virtual_network_new(uint64_t seed, struct virtual_network **ret);
struct virtual_network *virtual_network_free(struct virtual_network *network);

/* One host with its own runtime (virtual clock, seeded randomness). Address 10.x.y.z is made from its number. */
int virtual_host_new(struct virtual_network *network, struct credential *credential, struct virtual_host **ret);
struct runtime *virtual_host_runtime(struct virtual_host *host);
struct address virtual_host_address(const struct virtual_host *host);
void virtual_host_set_events(struct virtual_host *host, const struct transport_events *events);
struct transport virtual_host_transport(struct virtual_host *host);

/* Called before the virtual clock moves on after this host did something: commits and the like. */
void virtual_host_set_idle(struct virtual_host *host, void (*idle)(void *userdata), void *userdata);

/* What virtual_host_set_idle() gave to the host with that address; NULL: it is gone. */
void *virtual_network_userdata(struct virtual_network *network, const struct address *address);

/* A link that is up at both ends at once, opened by `from`: an overlay may begin with links it had before. -ENOBUFS, -ENOMEM. */
int virtual_host_link(struct virtual_host *from, struct virtual_host *to);

/* The host vanishes without a word, as after SIGKILL; the other ends notice by time-out. Frees it. */
void virtual_host_kill(struct virtual_host *host);

/* Messages from a to b are lost from now on (or again delivered). */
void virtual_network_cut(struct virtual_network *network, const struct address *from, const struct address *to, bool cut);

/* Ends all cuts. */
void virtual_network_heal(struct virtual_network *network);

/* Loss in parts per million, latency in microseconds for every message. */
void virtual_network_set_loss(struct virtual_network *network, uint32_t loss_ppm);
void virtual_network_set_latency(struct virtual_network *network, uint64_t min_us, uint64_t max_us);

/* Latency as between hosts of the Internet: 5 to 250 ms one way, median 40 ms, fixed for a pair of hosts but for up to a tenth. */
void virtual_network_set_internet(struct virtual_network *network);

/* Parts per million of messages that may overtake earlier ones, or arrive twice as after a lost acknowledgement. */
void virtual_network_set_reordering(struct virtual_network *network, uint32_t reordering_ppm);
void virtual_network_set_duplication(struct virtual_network *network, uint32_t duplication_ppm);

/* Hosts of different groups do not reach each other: a partition. All hosts begin in group 0. */
void virtual_host_set_group(struct virtual_host *host, unsigned group);
/* Wall clock of a host ahead of (or behind) the network's. */
void virtual_host_set_skew(struct virtual_host *host, int64_t skew_ms);
/* A slow host: everything it sends takes so much longer. */
void virtual_host_set_delay(struct virtual_host *host, uint64_t delay_us);

/* A host whose process hangs: its links acknowledge, but nothing is handed to it, and nothing it says leaves. */
void virtual_host_set_mute(struct virtual_host *host, bool mute);
/* A host that does not pass on what is not its own. */
void virtual_host_set_selfish(struct virtual_host *host, bool selfish);
/* Behind a NAT: only hosts it has opened a link to, or tries to, reach it. */
void virtual_host_set_hidden(struct virtual_host *host, bool hidden);

/* Largest message a link carries, for fragment tests; default 1400. */
void virtual_network_set_payload_max(struct virtual_network *network, size_t octets);

/* Since the beginning. Octets are those of RELOAD messages and fragments, as handed to links, retransmissions included. */
struct virtual_figures {
	uint64_t events, packets, octets;
};
struct virtual_figures virtual_network_figures(const struct virtual_network *network);

/* For timers of whoever plays with the network. They stand outside of all hosts: around each use of a host's objects such a timer
 * calls virtual_host_enter() and virtual_host_leave(). */
struct runtime *virtual_network_clock(struct virtual_network *network);
void virtual_host_enter(struct virtual_host *host);
void virtual_host_leave(struct virtual_host *host);

/* From now on hosts are used between runs as well only between virtual_host_enter() and virtual_host_leave(): a run need not look
 * at all of them first. */
void virtual_network_set_tracked(struct virtual_network *network);

uint64_t virtual_network_now(const struct virtual_network *network);

/* Runs events and timers until `until_us`, or until `stop` says true (checked after every event). Returns true when stopped. */
bool virtual_network_run(struct virtual_network *network, uint64_t until_us, bool (*stop)(void *userdata), void *userdata);
