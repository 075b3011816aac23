/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the CHORD-RELOAD plug-in share; nobody outside this folder includes it. */
#pragma once

#include "base/log.h"
#include "topology/chord_table.h"
#include "topology/topology.h"
#include "wire/method.h"

enum {
	CHORD_ATTACHES_MAX = 64,    /* own Attaches under way; further candidates wait until an Update names them again */
	CHORD_REQUESTS_MAX = 1024,  /* own requests without an answer; further Updates wait for their next round */
	CHORD_UNREACHABLE_MAX = 64, /* peers remembered as unreachable; the one nearest to its release goes */
	CHORD_LISTED_MAX = 512,	    /* Node-IDs of one Update or Leave that are looked at */
	CHORD_REPLICAS = 2,	    /* B-10.4-01 */
	CHORD_UPDATE_MAX = 16 + (2 * CHORD_DEPTH_MAX + CHORD_FINGERS_MAX) * ID_LENGTH_CHORD,
	CHORD_FORMER_OWNERS = 32,      /* an owner takes records from former owners that stand at most so many peers behind them */
	CHORD_STRANGER_STORES = 64,    /* from those that stand farther away so many at once, */
	CHORD_STRANGER_STORE_MS = 250, /* and one more each quarter of a second; what is refused is offered again later */
	CHORD_HOLD_OFF_S = 30,	       /* an unreachable peer is not tried again for so long; doubles each time */
	CHORD_HOLD_OFF_MAX_S = 480,
	CHORD_REFUSED_HOLD_OFF_S = 2, /* one that refused an Attach, mostly since its own was under way */
	CHORD_RETRIES_MAX = 4,	      /* Attaches to a lost neighbor (B-10.7.1-05), */
	CHORD_RETRIES_AT_ONCE = 16,   /* to so many at a time; the others wait */
	CHORD_CHECK_S = 15,	      /* default silence before a neighbor is pinged */
	CHORD_CHECK_AGE = 32,	      /* who has been there long is likely to stay: checked after this part of the link's age, */
	CHORD_CHECK_GROWTH = 8,	      /* but at most so many times that silence; the nearest are always checked after it */
	CHORD_MISSING_MS = 1000,      /* a neighbor that another one ceased to list is checked when silent for so long */
	CHORD_CHECK_EARLY = 8,	      /* checks due within this part of their interval are made together */
	CHORD_FINGER_CHECKS = 4,      /* a finger may be silent so many times as long */
	CHORD_REPLACEMENT_S = 30,     /* hold-down before new replicas are made (B-10.7.1-02) */
	CHORD_CONFIRM_S = 60,	      /* from the Update that places a joiner until its own Update */
	CHORD_FLUSH_MIN_MS = 10,      /* changes of this time go into one Update */
	CHORD_FLUSH_MAX_MS = 40,
	CHORD_LEFT_CLOSED = 16,	    /* links of peers that left closed at once; others are with the next check */
	CHORD_SILENT_PINGS_MAX = 2, /* unanswered liveness checks after which the link is given up */
};

enum chord_attach_purpose {
	CHORD_ATTACH_ADMITTING,
	CHORD_ATTACH_NEIGHBOR,
	CHORD_ATTACH_RETRY, /* a neighbor that could not be reached before */
	CHORD_ATTACH_SUCCESSOR,
	CHORD_ATTACH_FINGER,
	CHORD_ATTACH_MERGE
};

/* An Attach of ours under way. */
struct chord_attach {
	struct chord *chord;
	enum chord_attach_purpose purpose;
	struct id target; /* Node-ID, or the Resource-ID of purposes ADMITTING, SUCCESSOR and the initial fingers */
	bool resource;
	struct id reporter; /* who named it; ID_NONE: routed conventionally */
	struct chord_attach *prev, *next;
};

enum chord_request_kind {
	CHORD_REQUEST_UPDATE,
	CHORD_REQUEST_CHECK,	 /* liveness Ping */
	CHORD_REQUEST_SEARCH,	 /* finger Ping */
	CHORD_REQUEST_PARTITION, /* Ping of our own position through a bootstrap peer */
	CHORD_REQUEST_QUERY,	 /* RouteQuery that asks for an Update */
	CHORD_REQUEST_JOIN,
	CHORD_REQUEST_LEAVE,
};

/* A request of ours without an answer yet. */
struct chord_request {
	struct chord *chord;
	enum chord_request_kind kind;
	struct transaction *transaction;
	struct id peer; /* addressed or, for PARTITION, the bootstrap peer */
	uint16_t slot;
	struct chord_request *prev, *next;
};

/*
 * A peer that could not be reached. Those who name it may well reach it, so that what it is held off for then does not count our
 * own retries: after a long partition the other side would be held off for minutes, and the rings stay tangled as long.
 */
struct chord_unreachable {
	struct id id;
	uint64_t until_us; /* it is not tried because others name it */
	uint64_t retry_us; /* it is tried of our own accord: */
	bool retry;	   /* it was a neighbor, or should have been one */
	uint8_t failures, retries;
};

enum chord_join_phase {
	CHORD_JOIN_IDLE,
	CHORD_JOIN_FIND,      /* Attach to Resource-ID own + 1 is under way */
	CHORD_JOIN_TABLE,     /* waiting for the admitting peer's Update */
	CHORD_JOIN_NEIGHBORS, /* Attaches to the future neighbors are under way */
	CHORD_JOIN_REQUEST,   /* JoinReq is under way */
	CHORD_JOIN_PLACE,     /* waiting for the Update that names us predecessor */
	CHORD_JOIN_PAUSE,     /* before the next attempt */
};

struct chord_join {
	enum chord_join_phase phase;
	uint16_t slot; /* of the bootstrap link; LINK_SLOT_NONE once it is down */
	struct id admitting_peer;
	uint64_t deadline_us;
	uint64_t settle_us; /* first Updates are waited for until then; leaving: we linger until then */
	unsigned attempts, queries, successors_found;
	bool find_again; /* after the pause: look for the admitting peer anew */
	bool fingers_started;
};

/* A joiner whose data is being handed over. Outlives the topology when the storage still holds it. */
struct chord_admission {
	struct chord *chord; /* NULL: nobody is interested any more */
	struct id joiner, from;
	uint16_t slot;
};

/* What a peer before us owns: (from, to], which ends with itself unless only a part of it is meant. */
struct chord_range {
	struct id owner, from, to;
};

enum chord_audience { CHORD_NOBODY, CHORD_NEIGHBORS_ONLY, CHORD_EVERYBODY };

struct chord {
	struct topology topology; /* first */
	struct runtime *runtime;
	struct router *router;
	struct topology_events events;
	uint64_t check_interval_us, replacement_delay_us;
	bool client;
	bool started;	      /* explicitly the first node: may own the ring alone */
	bool isolated;	      /* offline because everybody was lost */
	bool placing;	      /* placed, but Attaches of the join are under way: no Update yet (B-10.5-09) */
	uint8_t fingers_lost; /* searches for lost fingers that are due out of turn */
	enum topology_state state;
	enum chord_audience audience; /* of the Update that is due */
	uint64_t created_us, joined_us;

	struct chord_table table;
	struct id predecessor;		    /* own range is (predecessor, self]; ID_NONE: the whole ring */
	struct id range_bound;		    /* predecessor we were told of and are attaching to; ID_NONE */
	struct id pulled[2];		    /* first successor and predecessor whose tables we know */
	struct id replicas[CHORD_REPLICAS]; /* as announced to the storage */
	bool replica_anew[CHORD_REPLICAS];  /* its link was lost since: it may have restarted with nothing, to be announced again */
	size_t replica_count;
	uint64_t replica_hold_us;		   /* one was lost: until then its replacement waits (B-10.7.1-02) */
	uint64_t strangers_us;			   /* rate_take(): their Stores */
	struct chord_range owners[CHORD_REPLICAS]; /* whose records we hold copies of, as announced to the storage */
	size_t owner_count;
	struct id copies_from; /* copies of what lies before it are not expected here; ID_NONE: of everything */

	struct chord_attach *attaches;
	struct chord_request *requests;
	size_t attach_count, request_count;
	struct chord_unreachable *unreachable;
	size_t unreachable_count;
	struct chord_join join;
	struct chord_admission *admission;
	struct connection_listener listener;
	struct timer flush_timer, periodic_timer, check_timer, stabilize_timer, finger_timer, replica_timer, retry_timer,
		confirm_timer, join_timer;
};

static inline const struct id *chord_self(const struct chord *chord) {
	return &chord->table.self;
}

static inline uint64_t chord_now(const struct chord *chord) {
	return chord->runtime->now_us;
}

/* `interval_us` give or take a quarter, so that peers do not act in step (B-10.7.4-01). */
uint64_t chord_jitter(const struct chord *chord, uint64_t interval_us);

/* ---- chord.c ---- */

void chord_set_state(struct chord *chord, enum topology_state state);
bool chord_owns(const struct chord *chord, const struct id *point);

enum chord_change { CHORD_GAIN, CHORD_LOSS };

/* Draws the consequences of a changed table: routes, own range, replicas, Updates due. */
void chord_changed(struct chord *chord, enum chord_change change);

/* The link to `id` ended or was replaced: if it holds replicas it may hold them no more. */
void chord_replica_lost(struct chord *chord, const struct id *id);

/* ---- chord_owners.c ---- */

/* Announces who became owner of a range that we hold copies of. */
void chord_check_owners(struct chord *chord);

/* The link to `id` ended or was replaced: as owner it may hold nothing any more. */
void chord_owner_lost(struct chord *chord, const struct id *id);

/* Before a new attempt to join: what we knew of the ring may be long out of date, and nobody watched it. */
void chord_forget(struct chord *chord);

/* We are in the ring now: own range, timers, events. */
void chord_enter(struct chord *chord);

/* ---- chord_request.c ---- */

/* Starts a tracked request. `template` needs destination_list, code, body and what else differs from the default. */
int chord_request_start(struct chord *chord, enum chord_request_kind kind, const struct id *peer, const struct outgoing *template);
void chord_requests_cancel(struct chord *chord, enum chord_request_kind kind);
void chord_requests_cancel_all(struct chord *chord);
size_t chord_requests_count(const struct chord *chord, enum chord_request_kind kind);

int chord_ping_peer(struct chord *chord, const struct chord_member *member);
/* RouteQuery for our own position with send_update: the peer answers with its full table. */
int chord_query(struct chord *chord, const struct chord_member *member);

/* Encodes `first` (may be ID_NONE) as a node entry followed by `last` as a node or resource entry. */
struct octets chord_destinations(uint8_t *buffer, size_t size, const struct id *first, const struct id *last, bool resource);
enum { CHORD_DESTINATIONS_MAX = 2 * (3 + ID_LENGTH_MAX) };

/* ---- chord_attach.c ---- */

/* 0, -EALREADY one is under way to that target, -EBUSY held off, -ENOBUFS, or what attach_start() says. */
int chord_attach_start(struct chord *chord, enum chord_attach_purpose purpose, const struct id *target, bool resource,
		       const struct id *reporter, uint16_t via_slot);
size_t chord_attach_count(const struct chord *chord, enum chord_attach_purpose purpose);
void chord_attaches_cancel(struct chord *chord);

/* Attaches to those of `ids`, named by `reporter`, that belong into the Neighbor Table (B-10.7.3-01). */
void chord_learn(struct chord *chord, const struct id *reporter, const struct id *ids, size_t count);

void chord_unreachable_add(struct chord *chord, const struct id *id, unsigned seconds, bool retry);
/* It was tried of our own accord and not reached. */
void chord_unreachable_still(struct chord *chord, const struct id *id, unsigned seconds);
void chord_unreachable_remove(struct chord *chord, const struct id *id);
bool chord_unreachable_now(const struct chord *chord, const struct id *id);
void chord_retry_fire(struct timer *timer, void *userdata);

/* ---- chord_update.c ---- */

enum { CHORD_UPDATE_FITTING = 0 }; /* instead of an enum chord_update_type: the one that suits the receiver (B-10.7-02) */
int chord_update_send(struct chord *chord, const struct connection *connection, uint8_t type);
void chord_update_schedule(struct chord *chord, enum chord_audience audience);
void chord_update_flush(struct chord *chord);
void chord_update_handle(void *userdata, struct request *request);
void chord_flush_fire(struct timer *timer, void *userdata);
void chord_periodic_fire(struct timer *timer, void *userdata);
void chord_periodic_arm(struct chord *chord);

/* Reads a list of Node-IDs. */
size_t chord_ids_read(const struct chord *chord, struct octets list, struct id *out, size_t max);

/* ---- chord_link.c ---- */

void chord_link_up(void *userdata, const struct connection *connection);
void chord_link_down(void *userdata, const struct connection *connection, enum link_reason reason);
void chord_link_suspect(void *userdata, const struct connection *connection);
void chord_link_update_wanted(void *userdata, const struct connection *connection);
/* The member of an existing link, made when need be. NULL without memory. */
struct chord_member *chord_member_of(struct chord *chord, const struct connection *connection);
void chord_check_fire(struct timer *timer, void *userdata);
/* `list` are the successors or predecessors of `sender`. A neighbor of ours that it should name and does not may be dead: it is
 * checked now, once in a check interval. */
void chord_check_missing(struct chord *chord, const struct id *sender, enum chord_side side, const struct id *list, size_t count);
/* There are new peers, whose silence counts from now. */
void chord_check_soon(struct chord *chord);

/* ---- chord_join.c ---- */

void chord_join_start(struct chord *chord, uint16_t slot);
void chord_join_attached(struct chord *chord, const struct chord_attach *attach, int error, const struct id *peer);
void chord_join_answered(struct chord *chord, const struct chord_request *request, int error, const struct response *response);
/* An Update of `member` was taken in; `predecessors` as it sent them. */
void chord_join_updated(struct chord *chord, const struct id *sender, const struct id *predecessors, size_t predecessor_count,
			const struct id *last_successor);
void chord_join_progress(struct chord *chord);
void chord_join_link_lost(struct chord *chord, uint16_t slot, const struct id *peer);
void chord_join_fail(struct chord *chord, const char *why);
void chord_join_fire(struct timer *timer, void *userdata);
/* After an Attach of the join ended: Updates may go out when it was the last (B-10.5-09). */
void chord_join_settle(struct chord *chord);

/* ---- chord_admit.c ---- */

void chord_join_handle(void *userdata, struct request *request);
void chord_leave_handle(void *userdata, struct request *request);
void chord_route_query_handle(void *userdata, struct request *request);
void chord_admission_abandon(struct chord *chord);
void chord_confirm_fire(struct timer *timer, void *userdata);

/* ---- chord_leave.c ---- */

void chord_leave_start(struct chord *chord);
void chord_leave_answered(struct chord *chord);
void chord_leave_finish(struct chord *chord);

/* ---- chord_stabilize.c ---- */

void chord_stabilize_fire(struct timer *timer, void *userdata);
void chord_finger_fire(struct timer *timer, void *userdata);
/* `lost`: one more search soon, because a finger failed. Else: the next search in turn. */
void chord_finger_arm(struct chord *chord, bool lost);
void chord_finger_answered(struct chord *chord, const struct response *response);
void chord_partition_check(struct chord *chord, uint16_t slot);
void chord_partition_answered(struct chord *chord, const struct chord_request *request, const struct response *response);
void chord_partition_attached(struct chord *chord, uint16_t slot);
void chord_pull(struct chord *chord);

/* ---- chord_client.c ---- */

void chord_client_join(struct chord *chord, uint16_t slot);
void chord_client_attached(struct chord *chord, int error, uint16_t slot, const struct id *peer);
void chord_client_updated(struct chord *chord, const struct id *sender, const struct id *predecessors, size_t predecessor_count,
			  bool lists);
void chord_client_link_lost(struct chord *chord, uint16_t slot, const struct id *peer);
void chord_client_fire(struct chord *chord);
