/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the datagrams of a link leave this machine: a watcher of routes, neighbors, addresses and interfaces (rtnetlink). For every
 * watched pair of addresses it keeps the hop that the kernel program needs, and reports when it changes.
 *
 * - One file descriptor and the timers of the runtime; no threads, no packets of its own. No call waits for the socket; a system
 * call may wait for the kernel's own lock on its network configuration.
 * - Changes of a neighbor or an interface reach the watches at once. Changes of routes, rules and addresses are gathered for
 *   NETWATCH_SETTLE_MS, then the routes of the watches they touch are asked for again.
 * - The kernel tells nobody about a new path MTU, and fast path traffic does not keep neighbors fresh: routes are asked for again
 *   every NETWATCH_REFRESH_S (or at netwatch_refresh()), and neighbors that are missing, failed or stale are probed.
 * - After lost events everything is read again. Until then hops stay as they were.
 *
 * Reading needs no privileges; probing needs CAP_NET_ADMIN. Without it one line in the log says so, and neighbors are as fresh as
 * other traffic keeps them.
 */
#pragma once

#include "base/address.h"
#include "base/cleanup.h"
#include "base/runtime.h"

#include <net/if.h>

enum {
	NETWATCH_WATCHES_MAX = 8192,	  /* more: -ENOSPC */
	NETWATCH_DEVICES_MAX = 4096,	  /* interfaces of this machine; hops over further ones stay unknown */
	NETWATCH_ADDRESSES_MAX = 4096,	  /* addresses of this machine; hops from further ones stay unknown */
	NETWATCH_ADDRESS_PLACES = 8,	  /* interfaces with the same address; further ones are not looked at */
	NETWATCH_INTERFACES_MAX = 64,	  /* interfaces in netwatch_interfaces(); those with the fewest watches are left out */
	NETWATCH_QUERIES_MAX = 64,	  /* requests to the kernel not answered; more wait */
	NETWATCH_DATAGRAMS_PER_TURN = 32, /* read in one netwatch_ready(); more wait for the next */
	NETWATCH_REPORTS_PER_TURN = 256,  /* watches looked at in one turn; more wait for the next */
	NETWATCH_PREFIXES_MAX =
		32, /* changed routes matched one by one before a pass; with more of them all watches are asked about */
	NETWATCH_RECEIVE_OCTETS = 4 << 20, /* socket buffer asked for; events beyond it are lost, and everything is read again */
	NETWATCH_SETTLE_MS = 10,	   /* after a change, until a pass begins */
	NETWATCH_PASS_GAP_MS = 200,	   /* from pass to pass */
	NETWATCH_RESYNC_GAP_MS = 500,	   /* from one reading of everything to the next */
	NETWATCH_ANSWER_S = 2,		   /* without an answer of the kernel: everything is read again */
	NETWATCH_REFRESH_S = 15,	   /* routes are asked for again: path MTU */
	NETWATCH_PROBE_MIN_MS = 1000,	   /* from probe to probe of a neighbor, doubled while it is not found */
	NETWATCH_PROBE_MAX_MS = 30000,
	NETWATCH_DOUBT_MS = 5000, /* from one time a neighbor's link-layer address is forgotten for netwatch_doubt() to the next */
};

struct netwatch_hop {
	uint32_t ifindex; /* Ethernet interface the frames leave; for a VLAN device its parent */
	uint32_t device;  /* interface the route names: `ifindex`, or the VLAN device */
	uint8_t destination[6], source[6];
	uint16_t vlan; /* tag control of the frames on `ifindex`, host order; 0: untagged. Frames given to `device` have none */
	uint16_t mtu;  /* octets of an IP packet: the least of devices and path */
	uint8_t hop_limit;
	uint8_t reserved[3]; /* 0: hops can be compared as memory */
};

enum netwatch_reason {
	NETWATCH_KNOWN,
	NETWATCH_PENDING,     /* not looked up yet */
	NETWATCH_NO_ROUTE,    /* none, unreachable or prohibited */
	NETWATCH_NO_ADDRESS,  /* the local address is not (or not yet, or no longer) an address of this machine */
	NETWATCH_LOCAL,	      /* the remote address is one of this machine */
	NETWATCH_UNSUPPORTED, /* not unicast over plain Ethernet with at most one VLAN tag */
	NETWATCH_DOWN,	      /* interface down, or without carrier */
	NETWATCH_NO_NEIGHBOR, /* link-layer address being looked for, or not answering */
	NETWATCH_REASON_COUNT,
};

const char *netwatch_reason_name(enum netwatch_reason reason);

/* An interface that carries watched traffic. VLAN devices are counted at their parent. */
struct netwatch_interface {
	uint32_t ifindex;
	uint32_t watches;  /* that leave here, or whose local address is here */
	uint64_t instance; /* differs when an interface went away and another one got its number */
	char name[IFNAMSIZ];
	char kind[16]; /* "bridge", "bond", "veth", …, empty for a plain one */
};

/* Called from netwatch_ready() and from timers; may call anything of this file but netwatch_free(). */
struct netwatch_callbacks {
	/* What is known about watch `id` changed; `hop` is NULL, with the reason, when frames cannot be addressed at the moment. */
	void (*changed)(void *userdata, uint64_t id, const struct netwatch_hop *hop, enum netwatch_reason reason);

	/*
	 * The set of interfaces changed (may be NULL). An interface stays in it while its watches have no route at all, so that a
	 * driver whose carrier blinks when programs come and go does not make them do so.
	 */
	void (*interfaces)(void *userdata);
};

struct netwatch_statistics {
	uint32_t watches, known; /* watches, and those with a hop */
	uint32_t devices, addresses, neighbors;
	uint64_t passes;	   /* gathered changes worked off */
	uint64_t queries, probes;  /* requests sent to the kernel */
	uint64_t changes;	   /* reported */
	uint64_t overruns;	   /* events lost */
	uint64_t synchronizations; /* everything read */
	uint64_t malformed;	   /* messages not understood */
	bool probing_refused;
};

struct netwatch;

/* The runtime and what `userdata` points to outlive it. Reading the present state begins at once. Returns what opening the socket
 * gave. */
int netwatch_new(struct runtime *runtime, const struct netwatch_callbacks *callbacks, void *userdata, struct netwatch **ret);
struct netwatch *netwatch_free(struct netwatch *netwatch);
DEFINE_CLEANUP(struct netwatch *, netwatch_free)

/* To be waited on for reading; level-triggered. */
int netwatch_fd(const struct netwatch *netwatch);

/* The descriptor is readable. Returns 0, or a negative errno when the socket cannot be used any more. */
int netwatch_ready(struct netwatch *netwatch);

/*
 * Watches the way from `local` to `remote` under a number of the caller's choice. The ports count where routes or rules look at
 * them. `local` may be NULL or without family: whatever source the kernel chooses. What is found out first is reported in any case.
 * -EINVAL: not two addresses of one family, or link-local without interface; -EEXIST; -ENOSPC: NETWATCH_WATCHES_MAX; -ENOMEM.
 */
int netwatch_watch(struct netwatch *netwatch, const struct address *remote, const struct address *local, uint64_t id);

/* Nothing is reported about `id` afterwards. Unknown numbers are ignored. */
void netwatch_unwatch(struct netwatch *netwatch, uint64_t id);

/* Asks for the route again: the path MTU may have changed (EMSGSIZE), or the link is suspected to be dead. */
void netwatch_refresh(struct netwatch *netwatch, uint64_t id);

/*
 * What is sent there is not acknowledged. The neighbor may have another link-layer address meanwhile and not have said so; the
 * kernel would go on with the old one for half a minute and then ask that one for seconds. It is made to look for the address anew,
 * by broadcast: until the answer, milliseconds on a wire that works, there is no hop. Entries of the operator are left alone.
 */
void netwatch_doubt(struct netwatch *netwatch, uint64_t id);

/* What was reported last. `ret` is filled for NETWATCH_KNOWN. */
enum netwatch_reason netwatch_hop(const struct netwatch *netwatch, uint64_t id, struct netwatch_hop *ret);

/* The interfaces that carry watched traffic, those with most watches first. Returns how many were written. */
size_t netwatch_interfaces(const struct netwatch *netwatch, struct netwatch_interface *ret, size_t max);

void netwatch_statistics(const struct netwatch *netwatch, struct netwatch_statistics *ret);
