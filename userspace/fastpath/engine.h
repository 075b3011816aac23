/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel fast path of one daemon: shares links with the XDP program, keeps its tables in step with the router, attaches it to
 * the interfaces links leave by, and gives pads to links that are busy. Everything it does not take stays with the daemon.
 *
 * For the daemon's thread only. Nothing here fails a link: what cannot be given to the kernel is served as without it.
 */
#pragma once

#include "base/address.h"
#include "base/runtime.h"
#include "fastpath/loader.h"
#include "fastpath/pad_worker.h"
#include "fastpath/pins.h"
#include "link/dtls.h"

enum {
	FASTPATH_TABLES_DELAY_US = 2000, /* changes of the router's tables are gathered this long */
	FASTPATH_HOT_CHECK_US = 1000000, /* how often links with pads are looked at */
	FASTPATH_HOT_IDLE_CHECKS = 10,	 /* as many looks without a record, and the pads go to others when wanted */
	FASTPATH_UNACKED_LIMIT = 512,	 /* frames of a link the kernel lets be unacknowledged; as SENDER_WINDOW_MAX */
	FASTPATH_ACK_WAIT = 10,		 /* tens of microseconds: acks wait for frames to leave in while these come as fast */
	FASTPATH_HELLO_RATE = 50,	 /* the shield: ClientHellos of one IPv4 address or IPv6 /64, a second */
	FASTPATH_HELLO_BURST = 100,
	FASTPATH_PLAIN_RATE = 200, /* other datagrams of handshakes, and STUN */
	FASTPATH_PLAIN_BURST = 400,
	FASTPATH_ALL_HELLO_RATE = 1000, /* ClientHellos of everybody that come in on one CPU, a second */
	FASTPATH_ALL_HELLO_BURST = 100,
	FASTPATH_LISTEN_MAX = 4,
	FASTPATH_FDS_MAX = 4,
	FASTPATH_ALIVE_US = 60000000,	      /* how often the daemon says that it lives */
	FASTPATH_ADOPTED_PORTS_US = 10000000, /* interfaces of a former run without a link after so long are given up */
	FASTPATH_MUTE_FIRST_US = 2000000, /* a link whose kernel frames get no acks is the daemon's this long, doubled each time */
	FASTPATH_MUTE_MAX_US = 512000000,
	FASTPATH_PROVEN_US = 250000,	   /* an ack so long ago shows that the neighbor gets what other links send it */
	FASTPATH_TRIAL_MESSAGES = 4,	   /* risked by the kernel when it tries such a link again */
	FASTPATH_TRIAL_US = 500000,	   /* until their acks are looked for, and */
	FASTPATH_TRIAL_ACKS_US = 200000,   /* more, when there was a message and no ack yet */
	FASTPATH_TRIAL_PAUSE_US = 1000000, /* how often later, when there was no message to try with */
};

/* Without a daemon the kernel forwards so long, or until our certificate ends if that is sooner: nobody checks the others' then. */
#define FASTPATH_DEAD_MAN_US UINT64_C(3600000000)

struct fastpath_options {
	struct runtime *runtime;
	bool allow_generic; /* on interfaces without native XDP: the shield alone */
	bool shield;
	struct address listen[FASTPATH_LISTEN_MAX]; /* the node's addresses, as far as it was told */
	size_t listen_count;

	const char *pin_directory; /* NULL: nothing outlives the daemon */
	bool adopt;		   /* what a former run left there, if it was the same node */
	struct forward_node self;  /* `id` and `overlay` say which node that is */
	uint64_t valid_until_ms;   /* end of our certificate; 0: unknown */
};

struct fastpath;

/* Loads the program. On failure `reason` is one sentence's worth of why the daemon goes on alone. */
int fastpath_new(const struct fastpath_options *options, struct fastpath **ret, char reason[static FASTPATH_REASON_SIZE]);

/*
 * Was a former run taken over? Then *ret is what it was in the overlay, its links are got from fastpath_kernel(), and what the
 * router says is held back until fastpath_adopted(), which every caller owes that got true here. Links nobody asked for end then.
 */
bool fastpath_former(const struct fastpath *fastpath, struct forward_node *ret);

/* Node-ID and flags of a link as the former run had them. False: it is none of its links. */
bool fastpath_former_link(const struct fastpath *fastpath, uint16_t slot, struct forward_link *ret);
void fastpath_adopted(struct fastpath *fastpath);

/* Would the kernel go on, and another daemon find the links, if this one ended now? */
bool fastpath_survives(const struct fastpath *fastpath);

/* The kernel forwards nothing any more when this returns. To be called before the links close, which need not wait one by one then.
 */
void fastpath_stop(struct fastpath *fastpath);

/* After the links are gone. */
struct fastpath *fastpath_free(struct fastpath *fastpath);
DEFINE_CLEANUP(struct fastpath *, fastpath_free)

/* What the links are told. */
const struct dtls_kernel *fastpath_kernel(struct fastpath *fastpath);

/* What the router says (struct router_mirror). */
void fastpath_set_tables(struct fastpath *fastpath, const struct forward_node *node, const struct forward_route *routes,
			 bool only_suspects);
void fastpath_set_link(struct fastpath *fastpath, const struct forward_link *link);

/* Descriptors to wait on for reading; each calls fastpath_ready(). */
size_t fastpath_fds(const struct fastpath *fastpath, int *fds, size_t max);
void fastpath_ready(struct fastpath *fastpath, int fd);

/* ---- figures ---- */

struct fastpath_interface_view {
	char name[16];
	uint32_t ifindex;
	enum fastpath_mode mode;
	bool sends; /* what the kernel forwards */
	char reason[FASTPATH_REASON_SIZE];
};

struct fastpath_view {
	struct fastpath_interface_view interfaces[FASTPATH_PORTS_MAX];
	size_t interface_count;
	size_t links;		     /* shared with the kernel */
	size_t usable;		     /* of them those whose next hop is known */
	size_t hot;		     /* those with pads */
	size_t muted;		     /* those the daemon serves because what the kernel sends gets no acks */
	uint64_t silences;	     /* times that was found */
	bool adopted;		     /* from a former run */
	size_t adopted_links;	     /* that were taken over */
	char pins[PINS_REASON_SIZE]; /* the directory, or, without `pinned`, why there is none */
	bool pinned;
	struct fastpath_counters counters;
	struct pad_worker_statistics pads;
};
void fastpath_view(const struct fastpath *fastpath, struct fastpath_view *ret);

/* Since the link came up. False: the kernel does not handle this link. */
bool fastpath_link_figures(const struct fastpath *fastpath, uint16_t slot, struct fastpath_link_counters *ret);
