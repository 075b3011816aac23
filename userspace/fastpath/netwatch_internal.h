/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside of the watcher. netwatch.c has the socket and the public functions, netwatch_events.c what the kernel tells and answers,
 * netwatch_hop.c what that means for each watch. Everything but the socket works on messages, and can be tested with made-up ones.
 */
#pragma once

#include "base/table.h"
#include "fastpath/netwatch.h"
#include "fastpath/netwatch_message.h"

#include <utlist.h>

struct device {
	uint32_t ifindex; /* key */
	uint32_t generation;
	uint64_t instance;
	struct netwatch_link link;
	UT_hash_handle hh;
};

struct local_address {
	struct netwatch_ip address;		   /* key */
	uint32_t ifindex[NETWATCH_ADDRESS_PLACES]; /* 0: none */
	uint32_t generation[NETWATCH_ADDRESS_PLACES];
	bool usable[NETWATCH_ADDRESS_PLACES];
	UT_hash_handle hh;
};

struct neighbor_key {
	uint32_t ifindex;
	struct netwatch_ip address;
};

/* Shared by the watches whose next hop it is. */
struct neighbor {
	struct neighbor_key key;
	uint16_t state; /* NUD_…, 0: no entry */
	bool heard;	/* the kernel has said something about it */
	bool has_mac;
	bool managed;
	bool queued, want_get, want_probe, want_forget;
	uint8_t mac[6];
	uint32_t delay_ms; /* from the last probe to the next */
	uint64_t next_probe_us;
	uint64_t next_doubt_us;
	struct timer timer;
	struct netwatch *netwatch;
	struct watch *watches;
	struct neighbor *prev, *next; /* queue */
	UT_hash_handle hh;
};

struct watch {
	uint64_t id; /* key */
	struct address remote, local;
	bool routed; /* the kernel has answered at least once */
	bool asking_queued, check_queued;
	bool reported;
	enum netwatch_reason reason; /* reported last */
	struct netwatch_hop hop;
	int route_error; /* negative errno of the kernel instead of a route */
	struct netwatch_route route;
	uint32_t carrier; /* interface of the last route that had one */
	struct neighbor *neighbor;
	struct watch *neighbor_prev, *neighbor_next;
	struct watch *asking_prev, *asking_next;
	struct watch *check_prev, *check_next;
	UT_hash_handle hh;
};

enum query_kind { QUERY_NONE, QUERY_LINKS, QUERY_ADDRESSES, QUERY_ROUTE, QUERY_NEIGHBOR, QUERY_PROBE };

struct query {
	enum query_kind kind;
	uint32_t sequence;
	uint64_t sent_us;
	struct watch *watch;	   /* NULL once it has gone */
	struct neighbor *neighbor; /* likewise */
};

/* What is to be asked again in the next pass. */
struct pending_changes {
	bool all4, all6;
	uint32_t prefixes;
	struct {
		struct netwatch_ip prefix;
		uint8_t bits;
	} prefix[NETWATCH_PREFIXES_MAX];
};

enum netwatch_phase { PHASE_WAITING, PHASE_LINKS, PHASE_ADDRESSES, PHASE_DONE };

struct netwatch {
	struct runtime *runtime;
	struct netwatch_callbacks callbacks;
	void *userdata;

	/* Hands a request to the kernel: 0 or a negative errno. The answer comes through netwatch_take(). */
	int (*send)(void *userdata, const void *request, size_t length);
	void *send_userdata;
	uint32_t port; /* of the socket: answers carry it */
	int fd;
	struct mnl_socket *socket;
	uint8_t *buffer;
	uint8_t default_ttl;

	enum netwatch_phase phase;
	uint32_t generation;
	uint32_t sequence;
	uint64_t resync_us; /* not before */
	uint64_t pass_us;   /* not before */
	struct query queries[NETWATCH_QUERIES_MAX];
	uint32_t queries_open;
	struct timer resync, pass, refresh, answer, again;

	struct device *devices;
	struct local_address *addresses;
	uint64_t instances;
	struct neighbor *neighbors, *neighbor_queue;
	struct watch *watches, *asking, *checks;
	struct pending_changes pending;
	bool recount; /* the set of interfaces may be another one */
	bool said_full, probing_refused;
	struct {
		uint32_t ifindex;
		uint64_t instance;
	} interfaces[NETWATCH_INTERFACES_MAX];
	size_t interface_count;
	struct netwatch_statistics statistics;
};

/* Everything but the socket. netwatch_close() releases it. */
void netwatch_open(struct netwatch *n, struct runtime *runtime, const struct netwatch_callbacks *callbacks, void *userdata);
void netwatch_close(struct netwatch *n);

/* Begins to read everything, now or as soon as it may be done again. */
void netwatch_resync(struct netwatch *n);

/* A datagram of the kernel. */
void netwatch_take(struct netwatch *n, const void *datagram, size_t length);

/* Events or answers were lost. */
void netwatch_lost(struct netwatch *n);

/* Sends what waits, and reports: at the end of every turn. */
void netwatch_turn(struct netwatch *n);

/* netwatch_hop.c, for netwatch_events.c */
void watch_ask(struct netwatch *n, struct watch *w);
void watch_check(struct netwatch *n, struct watch *w);
void watch_answer(struct netwatch *n, struct watch *w, const struct netwatch_route *route, int error);
void watch_remove(struct netwatch *n, struct watch *w);
void neighbor_update(struct netwatch *n, struct neighbor *neighbor, const struct netwatch_neighbor_state *state);
void neighbor_restart(struct netwatch *n, struct neighbor *neighbor);
void neighbor_ask(struct netwatch *n, struct neighbor *neighbor);
void neighbor_doubt(struct netwatch *n, struct neighbor *neighbor);
struct neighbor *neighbor_find(struct netwatch *n, uint32_t ifindex, const struct netwatch_ip *address);
struct device *device_find(const struct netwatch *n, uint32_t ifindex);
struct device *device_carrier(const struct netwatch *n, uint32_t ifindex);
void neighbor_queue_remove(struct netwatch *n, struct neighbor *neighbor);
void watch_asking_remove(struct netwatch *n, struct watch *w);

/* netwatch.c: reports when the set of interfaces is another one. */
void netwatch_recount(struct netwatch *n);
