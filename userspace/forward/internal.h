/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder share; nobody else includes it. */
#pragma once

#include "base/limits.h"
#include "base/log.h"
#include "base/table.h"
#include "forward/fragment.h"
#include "forward/relay.h"
#include "forward/router.h"
#include "layout.h"
#include "wire/method.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

enum {
	ROUTER_SENDS_MAX = 5,			    /* transmissions of one request (B-6.2.1-04) */
	ROUTER_HANDLED_CODES = 0x100,		    /* request codes below this may have a handler */
	ROUTER_LINKS_FIRST = 16,		    /* slots the connection table starts with */
	ROUTER_VIA_ROOM = 16 * (2 + ID_LENGTH_MAX), /* octets a request of ours leaves for via lists on its way */
	ROUTER_EXTENSIONS_MAX = 16,		    /* message extensions somebody understands */
	ROUTER_CROSSING_US = 2 * 1000 * 1000,	    /* links of one peer in both directions within this time have crossed */
	ROUTER_ATTACH_LINK_US = 10 * 1000 * 1000,   /* from the AttachAns until the link must be up */
	ROUTER_ALIVE_US = 1000 * 1000,		    /* longest wait for the Ping that checks a link */
	ROUTER_TEXT_MAX = 256,			    /* octets of an error text of ours */
};

struct relay {
	uint64_t paid_us; /* rate_take(): messages relayed for all joining peers */
	struct timer timer;
	struct relay_figures figures;
};

/* One link that is up. */
struct router_link {
	struct connection connection;
	struct forward_link forward; /* the same for the forwarding decision */
	uint64_t serial;	     /* never used twice, unlike slots */
	bool announced;		     /* the listeners know of it */
	struct {
		uint64_t paid_us; /* rate_take(): messages relayed for this joining peer */
		uint64_t used_us;
	} relay;
	/* contest.c */
	struct router *router;
	struct router_link *challenger, *defender; /* another link with our Node-ID that waits; and the one that we would replace */
	struct timer contest;
	bool answered;
	uint32_t noticed_sequence; /* foreign configuration sequence already reported; UINT32_MAX: none */
};

struct open_request;
struct answer_entry;
struct local_delivery;
struct attach;
struct attach_answer;

struct router {
	struct runtime *runtime;
	struct trust *trust;
	struct credential *credential;
	struct id self;
	bool client;
	struct transport transport;
	uint64_t started_us;
	bool closing; /* router_free() is at work: nothing new begins */

	/* connection.c */
	struct router_link **links; /* by slot */
	size_t link_capacity;
	uint64_t last_serial;
	uint16_t *peer_index;	/* open addressing, slot + 1; 0: free */
	size_t peer_index_size; /* a power of two */
	size_t peer_count;
	uint64_t peer_seed[2]; /* strangers choose Node-IDs: keeps them from choosing collisions */
	struct connection_listener *listeners;
	unsigned met_itself[2]; /* links to our own Node-ID that came up: opened by others, by us */

	/* routes.c */
	struct id *routes; /* as the topology plug-in gave them */
	size_t route_count;
	struct id predecessor; /* ID_NONE: the whole ring */
	struct forward_node node;
	struct forward_route *table; /* those of `routes` that are connected, sorted; node.route_count of them */
	bool only_suspects;	     /* no usable one acknowledges: better these than none (FW-E10) */

	const struct router_mirror *mirror;

	/* deliver.c */
	struct {
		request_handler handler;
		void *userdata;
	} handlers[ROUTER_HANDLED_CODES / 2];
	uint16_t extensions[ROUTER_EXTENSIONS_MAX];
	size_t extension_count;
	struct reassembly *reassembly;
	struct local_delivery *local; /* messages of ours to ourselves */
	size_t local_count;
	struct timer local_timer;
	uint32_t (*probe_resources)(void *userdata);
	void *probe_userdata;
	const struct configuration_listener *configuration_listener;

	/* answer.c */
	struct open_request *requests;
	size_t request_count;
	struct answer_entry *answers;			 /* by signer and transaction */
	struct answer_entry *answer_first, *answer_last; /* answered ones, oldest first */
	size_t answer_count, answer_octets;
	struct timer answer_timer;

	/* transaction.c */
	struct transaction *transactions;
	size_t transaction_count;

	/* attach.c */
	struct attach *attaches;
	struct attach_answer *attach_answers;
	size_t attach_count;

	/* relay.c */
	struct relay relay_state, *relay; /* NULL: does not relay */

	/* transit.c */
	struct forward_work *work;
	uint64_t error_window_us;
	uint32_t errors_in_window;
	struct router_counters counters;
	router_trace trace;
	void *trace_userdata;
};

struct forward_id forward_id_of(const struct id *id);

/* ---- relay.c ---- */
/* May the message go from one link to the other? 0 or the reason to drop it. */
unsigned relay_admit(struct router *router, struct router_link *from, uint16_t to_slot, uint8_t class, uint16_t code);
bool relay_link_up(struct router *router, const struct router_link *link); /* false: no room */
void relay_release(struct router *router);

/* ---- connection.c ---- */
void connection_on_up(void *userdata, uint16_t slot, bool initiated);
void connection_on_down(void *userdata, uint16_t slot, enum link_reason reason);
void connection_on_suspect(void *userdata, uint16_t slot, bool suspected);
struct router_link *connection_link(const struct router *router, uint16_t slot);
uint16_t connection_slot_of(const struct router *router, struct forward_id id); /* LINK_SLOT_NONE */

/* Is the link in this slot still the one with this serial number? */
bool connection_is(const struct router *router, uint16_t slot, uint64_t serial);
struct certificate *connection_certificate(const struct router *router, uint16_t slot);

/* An Attach told whose an unbound link is. -EACCES not in its certificate, -EBUSY bound to another, -ENOMEM. */
int connection_bind(struct router *router, uint16_t slot, const struct id *peer);

/* A link in the table becomes that of `peer` (ID_NONE: nobody's yet) and is announced. */
void connection_admit(struct router *router, uint16_t slot, const struct id *peer);
void connection_update_wanted(struct router *router, const struct id *peer);
void connection_release(struct router *router);

/* ---- contest.c ---- */

/* Does `challenger` have to wait, or is it gone? False: it may replace `defender`. */
bool contest_begin(struct router *router, struct router_link *challenger, struct router_link *defender);

/* Before `link` goes; whoever waited for its place takes it. */
void contest_link_down(struct router *router, struct router_link *link);

/* ---- routes.c ---- */
void routes_changed(struct router *router);	 /* connections or routes changed: rebuilds the table of next hops */
void routes_mirror(const struct router *router); /* tells the mirror */
int routes_init(struct router *router);
void routes_release(struct router *router);

/* Is `responder` at least as close to `resource` as every usable neighbor (B-6.3.4-08)? */
bool routes_close_enough(const struct router *router, const struct id *resource, const struct id *responder);

/* ---- transit.c ---- */
int transit_init(struct router *router);
void transit_release(struct router *router);

/* Routes a message of our own, whole and encoded, and sends it. 0, -ENETUNREACH, or the error of the transport. */
int transit_own(struct router *router, struct octets message);
void transit_on_receive(void *userdata, uint16_t slot, uint8_t *message, size_t length);
void router_drop(struct router *router, unsigned reason, const struct forwarding_header *header, uint16_t slot);
void router_note(struct router *router, const char *event, const struct forwarding_header *header, uint16_t code, uint16_t slot,
		 const char *detail);

/* ---- send.c ---- */

/*
 * Contents and security block of a message of ours, signed by `credential`; *ret is freed by the caller. -EMSGSIZE when a length
 * field cannot hold its part, -ENOMEM, -EIO.
 */
int router_make_rest(struct router *router, const struct credential *credential, uint64_t transaction_id, uint16_t code,
		     struct octets body, struct octets extensions, const struct certificate_bucket *extra, uint8_t **ret,
		     size_t *ret_length);

/*
 * Sends a message of ours: `header` (its length is filled in) and `rest`, the contents and the security block. `slot`: this link
 * whatever the destination list says, or LINK_SLOT_NONE. 0, -ENETUNREACH, -EMSGSIZE, -ENOMEM, -EAGAIN.
 */
int router_originate(struct router *router, const struct forwarding_header *header, struct octets rest, uint16_t code,
		     uint16_t slot);

/* Sends one message, given as head and what follows it, over a link; in fragments when it does not fit. As transport_ops.send(). */
int router_send_parts(struct router *router, uint16_t slot, struct octets head, struct octets rest, unsigned flags);

/* A header with the settings of the overlay in force; lists are empty. */
struct forwarding_header router_header(const struct router *router, uint64_t transaction_id);

/* ---- deliver.c ---- */

/* A message or fragment whose destination we are. */
void deliver_fragment(struct router *router, uint16_t slot, struct octets piece, size_t popped);
void deliver_message(struct router *router, uint16_t slot, struct octets message);
int deliver_local(struct router *router, struct octets message); /* later; copied */
int deliver_init(struct router *router);
void deliver_release(struct router *router);

/* Tells the node object about a node with another configuration. */
void configuration_mismatch(struct router *router, const struct id *node_id, bool newer);

/* Does the list hold a critical extension nobody understands? -EBADMSG when it does not parse. */
int extensions_check(const struct router *router, struct octets extensions, uint16_t *ret_unknown);

/* ---- methods.c ---- */
void methods_init(struct router *router);

/* ---- answer.c ---- */
struct open_request {
	struct request request;
	uint8_t *octets;
	uint64_t serial; /* of the link in request.slot */
	struct answer_entry *entry;
	bool forgettable; /* the answer is not kept: a retransmission may fare better */
	struct open_request *prev, *next;
};
enum answer_state { ANSWER_NEW, ANSWER_WORKING, ANSWER_SENT };

/* Was this request seen before? When it was answered, the answer is sent again the way the retransmission came. */
enum answer_state answer_seen(struct router *router, const struct request *seen);

/* Takes over signer and bucket of `seen`, copies the message. -ENOBUFS, -ENOMEM. */
int answer_open(struct router *router, const struct request *seen, struct octets message, struct open_request **ret);
void answer_init(struct router *router);
void answer_release(struct router *router);

/* An error about a message in transit (forwarding.md 6). */
void answer_transit_error(struct router *router, uint16_t slot, const struct forwarding_header *header, uint16_t error_code,
			  const char *text);

/* ---- transaction.c ---- */
void transaction_receive(struct router *router, uint16_t slot, const struct message *message, struct certificate *signer,
			 const struct id *signer_id, struct certificate_bucket *bucket);
void transaction_release(struct router *router);
bool transaction_is_for_others(const struct router *router, uint64_t id); /* outgoing.others_only of one that is open */

/* ---- attach.c, attach_answer.c ---- */
void attach_init(struct router *router);
void attach_release(struct router *router);

/* The Node-ID an Attach wants at the other end of this link, ID_NONE when it is not for one. */
struct id attach_expected(struct router *router, uint16_t slot, const struct certificate *certificate);
void attach_link_up(struct router *router, uint16_t slot);
bool attach_link_down(struct router *router, uint16_t slot); /* true: it was opened for an Attach */
