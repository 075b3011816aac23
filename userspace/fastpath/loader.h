/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads bpf/ringgate.bpf.c, maps its tables into memory, attaches it to interfaces, pins everything and adopts what a former run of
 * the daemon pinned. Values of the maps: bpf/fastpath.h. Not to be shared by threads, except for the memory of the maps.
 */
#pragma once

#include "base/cleanup.h"
#include "fastpath.h"

#include <stdbool.h>
#include <stdint.h>

enum fastpath_mode {
	FASTPATH_MODE_OFF,
	FASTPATH_MODE_GENERIC, /* on socket buffers, after the driver */
	FASTPATH_MODE_NATIVE,  /* in the driver */
};
const char *fastpath_mode_name(enum fastpath_mode mode);

enum { FASTPATH_REASON_SIZE = 256 };

struct fastpath_loader_settings {
	/* In a bpf file system, made when missing, for this daemon alone; NULL, or when it is of no use, which a line in the log
	 * says: nothing is pinned, all ends with the process. */
	const char *pin_directory;
	bool fresh;	/* remove what is pinned there instead of adopting it */
	uint32_t rings; /* pad rings, two for every hot link; 0: FASTPATH_RINGS_DEFAULT */
	bool verbose;	/* the verifier's log goes to the debug log even when it accepts */
};

/* The tables, mapped. `rings` rings of FASTPATH_PAD_RING pads; routes: FASTPATH_TABLES halves of LAYOUT_ROUTES_MAX. */
struct fastpath_tables {
	struct fastpath_control *control;
	struct fastpath_settings *settings;
	struct forward_route *routes;
	struct fastpath_slot *slots;
	struct fastpath_pad *pads;
	uint32_t rings;
	int flows, node_slots, listeners, access, events, peers; /* maps to be changed by calls; events: a ring buffer */
};

struct fastpath_loader;

/*
 * Loads, or adopts from the pin directory when the layout there is ours. On failure `reason` tells why in words: no privileges, no
 * BTF, refused by the verifier (whose last lines go to the log at level notice). -EPERM, -EOPNOTSUPP, -ENOMEM, others of bpf(2).
 */
int fastpath_loader_new(const struct fastpath_loader_settings *settings, struct fastpath_loader **ret,
			char reason[static FASTPATH_REASON_SIZE]);

/* What is pinned stays attached and goes on forwarding; everything else ends. */
struct fastpath_loader *fastpath_loader_free(struct fastpath_loader *loader);
DEFINE_CLEANUP(struct fastpath_loader *, fastpath_loader_free)

/* Were the tables of a former run taken over? Then its program was replaced on the interfaces it was attached to. */
bool fastpath_loader_adopted(const struct fastpath_loader *loader);

/* The directory with the pins; NULL: there are none, for this reason. */
const char *fastpath_loader_pins(const struct fastpath_loader *loader, const char **ret_reason);

/* The interfaces the program is attached to, adopted ones included. Returns how many. */
size_t fastpath_loader_ports(const struct fastpath_loader *loader, unsigned out[static FASTPATH_PORTS_MAX]);

struct fastpath_tables *fastpath_loader_tables(struct fastpath_loader *loader);

/* Descriptors of the program, for BPF_PROG_RUN, and of a map by its name in bpf/work.h, negative when there is none. */
int fastpath_loader_program(const struct fastpath_loader *loader);
int fastpath_loader_map(const struct fastpath_loader *loader, const char *name);

/*
 * Attaches to an interface and gives it a number, `ret_port`, for struct fastpath_hop. Tries native, then generic where
 * `allow_generic`; *ret_mode and `reason` say what came of it and why not more. A generic interface has the shield alone: copies of
 * socket buffers share their octets, so that a message and its ack cannot leave from one frame there; keep FASTPATH_HOP_VALID off
 * for links over it. An
 * adopted interface is attached already and keeps number and mode; it answers so once. -EEXIST, -ENOSPC more than
 * FASTPATH_PORTS_MAX, -EOPNOTSUPP neither mode works.
 */
int fastpath_loader_attach(struct fastpath_loader *loader, unsigned ifindex, bool allow_generic, uint8_t *ret_port,
			   enum fastpath_mode *ret_mode, char reason[static FASTPATH_REASON_SIZE]);
int fastpath_loader_detach(struct fastpath_loader *loader, unsigned ifindex);
enum fastpath_mode fastpath_loader_mode(const struct fastpath_loader *loader, unsigned ifindex);

/* Detaches from all interfaces and removes what is pinned. */
void fastpath_loader_unpin(struct fastpath_loader *loader);

/* Sums over all CPUs. */
int fastpath_loader_counters(const struct fastpath_loader *loader, struct fastpath_counters *ret);
int fastpath_loader_link_counters(const struct fastpath_loader *loader, uint16_t slot, struct fastpath_link_counters *ret);

/* Waits until every program run that started before has ended (RCU grace period, some milliseconds). */
int fastpath_quiesce(void);

/*
 * Puts a whole new set of settings and routes in force at once: fills the set that is not in use and switches over. The second one
 * waits for programs that still use the old set; after the first one the caller must, before the next switch. `settings->version`
 * and node.route_count are set here. `routes` are sorted by id. -E2BIG.
 */
int fastpath_tables_switch(struct fastpath_tables *tables, const struct fastpath_settings *settings,
			   const struct forward_route *routes, uint32_t count);
int fastpath_tables_replace(struct fastpath_tables *tables, const struct fastpath_settings *settings,
			    const struct forward_route *routes, uint32_t count);

/* A hop that programs may be reading meanwhile. */
void fastpath_hop_store(struct fastpath_slot *slot, const struct fastpath_hop *hop);

/* After each change of `flows`: programs remember what they found there. */
void fastpath_flows_changed(struct fastpath_tables *tables);

/*
 * Makes a slot that the caller filled reachable: the flow of its addresses, its Node-ID when it is bound; then flags
 * FASTPATH_SLOT_ACTIVE and FORWARD_LINK_UP. Undone in reverse by fastpath_slot_hide(), and wiped by fastpath_slot_wipe() when no
 * program sees it any more; fastpath_slot_close() is both, with waiting in between.
 */
int fastpath_slot_open(struct fastpath_tables *tables, uint16_t slot);
void fastpath_slot_hide(struct fastpath_tables *tables, uint16_t slot);
void fastpath_slot_wipe(struct fastpath_tables *tables, uint16_t slot);
int fastpath_slot_close(struct fastpath_tables *tables, uint16_t slot);
