/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The node object: owns everything a running daemon has and wires the parts on one sd-event loop.
 *
 * Life cycle: node_new() loads and opens, node_start() begins to join, the loop runs, node_leave() says good-bye, node_stop(),
 * node_free().
 */
#pragma once

#include "fastpath/engine.h"
#include "forward/router.h"
#include "link/links.h"
#include "node/settings.h"
#include "node/users.h"
#include "sip/gateway.h"
#include "storage/store.h"
#include "topology/topology.h"
#include "usages/usages.h"

#include <systemd/sd-event.h>

enum { NODE_REASON_SIZE = 512 };

struct join;
struct discovery;
struct sip_glue;
struct configuration;
struct refresh;
struct clients;
struct enroller;
struct twin;

struct node {
	sd_event *event;
	struct settings *settings; /* owned */
	struct runtime runtime;
	struct credential *credential;
	char *secret; /* the overlay's shared secret, NULL: none */
	struct trust *trust;
	struct router *router;
	struct links *links;
	struct fastpath *fastpath; /* NULL: the daemon forwards alone, for this reason */
	char fastpath_reason[FASTPATH_REASON_SIZE];
	struct router_mirror mirror;
	struct topology *topology;
	struct record_database *database;
	struct store *store;
	struct certificate_store *certificates;
	struct storage_history *history; /* newest times seen, against rollback (B-13.5-02) */
	struct users *users;
	struct sip_gateway *sip;
	struct sip_glue *sip_glue;
	struct join *join;
	struct twin *twin;
	struct discovery *discovery; /* NULL: not wanted */
	struct configuration *configuration;
	struct refresh *refresh;
	struct timer recheck; /* of the certificates of live links */
	struct enroller *enroller;
	struct clients *clients;
	enum topology_state state;
	uint64_t started_us;

	sd_event_source *fastpath_sources[FASTPATH_FDS_MAX];
	sd_event_source *link_sources[LINKS_FDS], *timer_source, *settle_source;
	struct sip_source *sip_sources; /* one per descriptor of the SIP gateway */
	bool leaving, links_want_write;
};

/*
 * Reads the configuration document, the certificates and the users as node_new() does, and opens and changes nothing, so that it
 * can be done beside a running daemon. `reason` receives one sentence.
 */
int node_check(const struct settings *settings, char reason[static NODE_REASON_SIZE]);

/* Takes `settings` over, also on failure. `reason` receives one sentence. The event loop is borrowed. */
int node_new(struct settings *settings, sd_event *event, struct node **ret, char reason[static NODE_REASON_SIZE]);
void node_start(struct node *node);

/* Leaves the overlay in order; the event loop ends with status 0 afterwards. */
void node_leave(struct node *node);

/*
 * Makes ready for the process to end at once and another one to go on where this one was: the kernel keeps links and transit up
 * meanwhile. False: there is no kernel program that could; then node_leave() is the way out.
 */
bool node_suspend(struct node *node);

/* Ends everything that waits for the overlay, so that the parts can be freed in any order. */
void node_stop(struct node *node);
struct node *node_free(struct node *node);
DEFINE_CLEANUP(struct node *, node_free)

/* Brings the node's clock up to date. Every callback of the event loop that enters the overlay code calls it first. */
void node_enter(struct node *node);

const char *topology_state_text(enum topology_state state);
