/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside of fastpath/engine.h: links and tables (engine.c), interfaces (engine_ports.c), pads (engine_hot.c). */
#pragma once

#include "fastpath/engine.h"
#include "fastpath/errands.h"
#include "fastpath/grace.h"
#include "fastpath/netwatch.h"

#include <bpf/libbpf.h>

enum link_mute {
	LINK_SOUND,
	LINK_MUTED,    /* the kernel's frames get no acks: the daemon serves it until `mute_until_us` */
	LINK_ON_TRIAL, /* the kernel may send a few */
};

struct shared_link {
	struct fastpath *fastpath;
	struct grace_wait closing, losing_rings; /* programs may still use the slot; its rings */

	bool kept;	 /* of a former run, and not yet asked for */
	bool attached;	 /* the slot is shared with the kernel */
	bool reachable;	 /* the kernel finds it */
	bool named;	 /* not shared; the kernel knows whose it is and passes up what is for it */
	bool known_flow; /* not shared, but its datagrams are not strangers' */
	bool hop_known;
	struct fastpath_flow flow;
	struct forward_link forward; /* as the router said last */
	struct netwatch_hop hop;
	uint16_t mtu;
	struct fastpath_link_counters before; /* of links that had this slot earlier */

	enum link_mute mute;
	unsigned mutes; /* in a row */
	uint64_t mute_until_us, sound_us;
	uint64_t trial_acks;
	bool trial_used; /* when last looked */

	struct pad_link *pads; /* NULL: not hot */
	uint16_t ring;	       /* the first of two */
	uint64_t progress;     /* sum of record numbers when last looked */
	unsigned idle;	       /* looks without any */
};

#define PORT_INSTANCE_ANY UINT64_MAX

enum port_errand {
	PORT_ATTACH,
	PORT_DETACH,
	PORT_ASK, /* does it send what the kernel forwards? */
};

/* What a thread does with an interface. While the errand is pending this belongs to it, and so does the loader's list of ports. */
struct port_work {
	struct errand errand;
	enum port_errand kind;
	struct fastpath *fastpath;
	struct fastpath_loader *loader;
	uint32_t ifindex;
	bool allow_generic;

	int error;
	int sends; /* of transmit_query() */
	uint8_t number;
	enum fastpath_mode mode;
	char reason[FASTPATH_REASON_SIZE];
};

struct port {
	bool used, failed;
	bool cannot_send;  /* what is redirected to it gets lost: links over it are the daemon's */
	uint64_t asked_us; /* when that was asked last */
	bool doubted;	   /* a link over it got no acks: new ones begin on trial */
	char kind[16];
	uint32_t ifindex;
	uint64_t instance; /* PORT_INSTANCE_ANY: adopted, not looked at yet */
	uint8_t number;
	enum fastpath_mode mode;
	char name[IFNAMSIZ];
	char reason[FASTPATH_REASON_SIZE];
	struct port_work work;
};

struct fastpath {
	struct runtime *runtime;
	struct dtls_kernel kernel;
	struct fastpath_loader *loader;
	struct fastpath_tables *tables;
	bool stopped, allow_generic;
	struct shared_link links[LAYOUT_SLOTS_MAX];

	/* a former run, and the next */
	bool adopting;
	struct forward_node former;
	size_t adopted_count;
	struct fastpath_peer *peer; /* one at a time */
	uint64_t valid_until_ms;
	unsigned alone; /* times the kernel missed us */
	struct timer alive_timer, ports_timer;

	/* tables to be put in force */
	struct fastpath_settings settings;
	struct forward_route *routes;
	bool only_suspects;
	bool tables_changed; /* again, while programs may still use the former ones */
	struct timer tables_timer;
	struct grace_wait tables_wait;
	struct grace *grace;

	struct timer mute_timer;
	uint64_t silences;

	struct netwatch *netwatch;
	struct port ports[FASTPATH_PORTS_MAX];
	struct errands *errands; /* attaching waits for RCU and for drivers */

	/* pads */
	struct pad_worker *worker;
	struct ring_buffer *events;				/* read by the worker's thread */
	int asked_fd;						/* eventfd: links without pads want some */
	uint64_t asked[LAYOUT_SLOTS_MAX / 64];			/* which; set by the worker's thread, atomically */
	uint64_t rings_used[(FASTPATH_RING_NONE + 1) / 2 / 64]; /* pairs of rings */
	bool missed;	    /* the kernel did not find our socket; set by the worker's thread, atomically */
	uint16_t rings_for; /* the link that waits for the rings of another one */
	struct timer hot_timer;
};

static inline uint16_t link_number(const struct shared_link *link) {
	return (uint16_t)(link - link->fastpath->links);
}

/* ---- engine.c ---- */
void engine_put_tables(struct fastpath *f);

/* ---- engine_adopt.c ---- */
/* Why the former run is not to be gone on with, NULL: nothing speaks against it. */
const char *adopt_refusal(const struct fastpath_tables *tables, const struct fastpath_options *options);
int adopt_begin(struct fastpath *f);
bool adopt_next(void *userdata, uint16_t *position, struct dtls_kept *ret);
void adopt_remember(void *userdata, uint16_t slot, uint8_t generation, bool initiated, struct octets certificate);
void adopt_forget(struct fastpath *f, uint16_t slot);
void adopt_alive(struct timer *timer, void *userdata);
void adopt_alone(struct fastpath *f);

/* ---- engine_ports.c ---- */
int ports_new(struct fastpath *f);
void ports_stop(struct fastpath *f); /* nothing is attached or detached any more */
void ports_free(struct fastpath *f);
void ports_watch(struct fastpath *f, uint16_t slot, const struct fastpath_record *record);
void ports_unwatch(struct fastpath *f, uint16_t slot);

/* The interfaces the loader adopted. */
void ports_adopt(struct fastpath *f);
void ports_settle(struct timer *timer, void *userdata);

/* NULL: none with that number. */
struct port *ports_of(struct fastpath *f, uint32_t ifindex);

/* Begins to ask again whether interfaces that could not send what is redirected to them can now. Returns when to call next, 0:
 * never. */
uint64_t ports_check(struct fastpath *f);

/* Writes what is known about the way of a link into its slot. */
void ports_store_hop(struct fastpath *f, uint16_t slot);

/* ---- engine_mute.c ---- */
void mute_init(struct fastpath *f);
void mute_free(struct fastpath *f);

/* What the kernel sends over that link is not acknowledged; `heard`: the other side lives. */
void mute_link(struct fastpath *f, uint16_t slot, bool heard);

/* A time to do something may have changed. */
void mute_arm(struct fastpath *f);

/* The link goes another way from now on, or for the first time any. `doubted`: others got no acks there. */
void mute_reset(struct fastpath *f, uint16_t slot, bool doubted);

/* ---- engine_hot.c ---- */
int hot_new(struct fastpath *f);
void hot_free(struct fastpath *f);
void hot_ready(struct fastpath *f);

/* Goes on with the rings of a link of the former run. */
void hot_adopt(struct fastpath *f, uint16_t slot);

/* Programs that reached the link have ended. */
void hot_release(struct fastpath *f, uint16_t slot);
void hot_rings_free(void *userdata);
