/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Message receipt and forwarding (RFC 6940 6.1 to 6.3, 6.7): the connection table, transit by the decision of bpf/forward.h,
 * fragments, transactions with end-to-end retransmission, and delivery of requests to their handlers. Sans-I/O.
 */
#pragma once

#include "base/runtime.h"
#include "link/transport.h"
#include "overlay/signature.h"
#include "wire/message.h"

struct router;
struct request;
struct transaction;
struct forward_id;
struct forward_link;

struct router_settings {
	struct runtime *runtime;
	struct trust *trust;	       /* borrowed; its configuration is the one in force */
	struct credential *credential; /* our node's; referenced */
	bool client;		       /* never joins, never forwards */
};

int router_new(const struct router_settings *settings, struct router **ret);
struct router *router_free(struct router *router); /* transactions end with -ECANCELED */

/* Ends every transaction and Attach with -ECANCELED and refuses new ones, so that their owners can be freed before the router. */
void router_shutdown(struct router *router);

/* The callbacks to give to a transport, and the transport once it exists. */
struct transport_events router_transport_events(struct router *router);
void router_set_transport(struct router *router, struct transport transport);

const struct id *router_node_id(const struct router *router);
struct runtime *router_runtime(const struct router *router);
struct transport *router_transport(struct router *router);
struct trust *router_trust(const struct router *router);
struct credential *router_credential(const struct router *router);

/* A renewed certificate, with the Node-ID there was: what is sent from now on is signed with it. -EINVAL another Node-ID. */
int router_set_credential(struct router *router, struct credential *credential);
struct overlay_config *router_config(const struct router *router); /* borrowed */

/* ---- connection table ---- */

struct connection {
	struct id peer; /* ID_NONE while unbound: several Node-IDs in the certificate and no Attach yet */
	uint16_t slot;
	bool up, initiated;
	bool update_received; /* may relay for others (B-6.5.1-01) */
	bool is_client;	      /* attached, never sent an Update */
	bool suspected;
	uint64_t since_us;
};

/*
 * Link events for topology and the node object. Any member may be NULL.
 *
 * up(): also a second time, when an unbound link becomes bound. When a link replaces another one to the same peer, up() of the new
 * one comes before down() of the old one: in down(), router_connection_of() tells whether the peer is still connected. down(): also
 * for a connect() of ours that came to nothing; then the connection was never up and its peer is ID_NONE.
 */
struct connection_listener {
	void *userdata;
	void (*up)(void *userdata, const struct connection *connection);
	void (*down)(void *userdata, const struct connection *connection, enum link_reason reason);
	void (*suspect)(void *userdata, const struct connection *connection);
	/* The peer attached with send_update: an Update is owed to it (B-6.4.2.3-01). */
	void (*update_wanted)(void *userdata, const struct connection *connection);
	struct connection_listener *next;
};
void router_add_listener(struct router *router, struct connection_listener *listener); /* borrowed until removed */
void router_remove_listener(struct router *router, struct connection_listener *listener);

const struct connection *router_connection(const struct router *router, uint16_t slot);
const struct connection *router_connection_of(const struct router *router, const struct id *peer);
/* Iterates: start with *position = 0; NULL at the end. */
const struct connection *router_connection_next(const struct router *router, size_t *position);
void router_mark_update_received(struct router *router, const struct id *peer);
void router_close(struct router *router, uint16_t slot, enum link_reason reason);

/* How many links with our own Node-ID at the other end came up and were closed. A link to ourselves counts once on each side. */
void router_met_itself(const struct router *router, unsigned *ret_by_us, unsigned *ret_by_others);

/* ---- what the topology plug-in decides ---- */

/* Members of the Routing Table in any order; only those that are connected and have sent an Update are used (FW-E05). More than
 * LAYOUT_ROUTES_MAX are left out. -ENOMEM. */
int router_set_routes(struct router *router, const struct id *ids, size_t count);

/* Own range is (predecessor, self]; NULL: the whole ring. `joined` false: not responsible for anything, does not route (FW-D14). */
void router_set_range(struct router *router, const struct id *predecessor, bool joined);
bool router_responsible(const struct router *router, const struct id *point);
bool router_joined(const struct router *router);

/* The peer a message for `point` would go to, as a connection; NULL when it is ours or nobody is known. */
const struct connection *router_next_hop(const struct router *router, const struct id *point);

/*
 * Whoever keeps a copy of what the forwarding decision looks at, for a kernel program. `tables`: own position and range, settings
 * of the overlay, next hops (borrowed, sorted), changed; `only_suspects`: suspected links are used, for there are no others.
 * `link`: a link came up, or its flags or its Node-ID changed; that it went down is told by the transport. Called at every change,
 * cheap ones too. Set before there are links.
 */
struct forward_link;
struct forward_node;
struct forward_route;
struct router_mirror {
	void *userdata;
	void (*tables)(void *userdata, const struct forward_node *node, const struct forward_route *routes, bool only_suspects);
	void (*link)(void *userdata, const struct forward_link *link);
};
void router_set_mirror(struct router *router, const struct router_mirror *mirror); /* borrowed; NULL ends it */

/*
 * A link that is up again without a handshake after a restart of the daemon: whose it is and whether that peer may relay is taken
 * from what the kernel program was told then, as far as its certificate still allows that.
 */
void router_resume_link(struct router *router, const struct forward_link *former);
struct id router_id_of(const struct forward_id *id);
struct forward_id router_forward_id(const struct id *id);

/* ---- requests that arrive here ---- */

struct request {
	struct router *router;
	struct message message; /* views into memory owned by the request */
	struct certificate *signer;
	struct id signer_id;		  /* the originator, proven by its signature */
	struct certificate_bucket bucket; /* trusted certificates that came along */
	uint16_t slot;			  /* link of the last hop; LINK_SLOT_NONE for our own */
	struct id previous_hop;		  /* its Node-ID, ID_NONE when unbound */
};

/*
 * The handler owns `request` and ends it with exactly one of the three below, at once or later; all of them free it.
 * Retransmissions of an answered request are answered alike without calling the handler again (B-6.2.1-06).
 */
typedef void (*request_handler)(void *userdata, struct request *request);
void router_handle(struct router *router, uint16_t request_code, request_handler handler, void *userdata);

/* `extra` (may be NULL): certificates the body refers to (B-6.3.4-01). Oversize answers become Error_Response_Too_Large. */
void request_answer(struct request *request, struct octets body, const struct certificate_bucket *extra);
void request_fail(struct request *request, uint16_t error_code, struct octets info);
void request_fail_text(struct request *request, uint16_t error_code, const char *format, ...) __attribute__((format(printf, 3, 4)));
void request_drop(struct request *request);

/* A message extension some handler understands: requests and answers with it, marked critical, are then let through (B-6.3.3-02).
 */
void router_understand_extension(struct router *router, uint16_t type);

/* Answered here unless others are handled with router_handle(): Ping, Probe, Attach, AppAttach (no application is offered). What
 * ProbeAns says under num_resources; 0 without a callback. */
void router_set_probe_resources(struct router *router, uint32_t (*count)(void *userdata), void *userdata);

/* ---- requests we send ---- */

struct response {
	uint16_t code; /* request code + 1, or MESSAGE_ERROR */
	struct octets body;
	struct error_response error; /* when code is MESSAGE_ERROR */
	struct certificate *signer;
	struct id signer_id;
	struct certificate_bucket *bucket; /* borrowed */
	const struct message *message;
	uint64_t elapsed_us; /* since the first transmission */
	uint8_t ttl_received;
};

/*
 * error: 0 an answer; -EREMOTEIO an error response, see response->error; -ETIMEDOUT; -ENETUNREACH nobody to send to;
 * -ECANCELED. `response` is valid during the call and NULL without one. Never called from within router_send_request().
 */
typedef void (*response_handler)(void *userdata, int error, const struct response *response);

struct outgoing {
	struct octets destination_list; /* encoded; copied */
	uint16_t code;
	struct octets body;		   /* copied */
	struct octets extensions, options; /* encoded lists, may be empty; copied */
	struct credential *sign_as;	   /* NULL: our node */
	const struct certificate_bucket *extra;
	uint16_t via_slot;  /* send over this link whatever the list says; LINK_SLOT_NONE: route */
	bool any_responder; /* accept any valid signer: wildcard, or errors aside (B-6.3.4-07) */
	bool config_update; /* header sequence 65535 */
	bool once;	    /* no end-to-end retransmission, one timer */
	bool others_only;   /* when it comes back to us it is dropped: another node with our Node-ID answers, or nobody */
	uint32_t max_response_length;
	response_handler done;
	void *userdata;
};
#define OUTGOING_DEFAULT .via_slot = LINK_SLOT_NONE

/* *ret (may be NULL) allows cancelling; it is invalid once `done` was called. -ENOBUFS too many transactions, -EMSGSIZE, -EINVAL.
 */
int router_send_request(struct router *router, const struct outgoing *outgoing, struct transaction **ret);
void transaction_cancel(struct transaction *transaction); /* `done` is not called */

/* ---- Attach (RFC 6940 6.5.1) ---- */

enum attach_flags { ATTACH_SEND_UPDATE = 1 };

/* error 0: the link to `peer` is up in `slot`. -EREMOTEIO refused, -ETIMEDOUT, -ENETUNREACH, -EHOSTUNREACH link failed, -ECANCELED.
 * Never called from within attach_start(). */
typedef void (*attach_done)(void *userdata, int error, uint16_t slot, const struct id *peer);

/* Attaches to the last entry of the encoded list. An existing link is reused. `via_slot` as in struct outgoing. */
int attach_start(struct router *router, struct octets destination_list, unsigned flags, uint16_t via_slot, attach_done done,
		 void *userdata);
/* Ends all that were started with `userdata`, without calling `done`. */
void attach_cancel(struct router *router, void *userdata);

/* ---- configuration ---- */

/* A node with another configuration was noticed; the node object reacts. `newer`: theirs is newer than ours. */
struct configuration_listener {
	void *userdata;
	void (*mismatch)(void *userdata, const struct id *node_id, bool newer);
};
void router_set_configuration_listener(struct router *router, const struct configuration_listener *listener);
/* After trust_set_config(). */
void router_configuration_changed(struct router *router);

/* ---- figures ---- */

struct router_counters {
	uint64_t received, forwarded, delivered, sent, fragments_received, fragments_sent, reassembled;
	uint64_t retransmissions, duplicates_answered, errors_sent;
	uint64_t dropped[64]; /* by enum drop_reason of bpf/layout.h */
};
const struct router_counters *router_counters(const struct router *router);

/* One line per message for `ringgatectl trace`; NULL switches it off. Events: send, forward, deliver, drop (`detail`: the reason).
 * `header` is NULL where it could not be read. */
typedef void (*router_trace)(void *userdata, const char *event, const struct forwarding_header *header, uint16_t code,
			     uint16_t slot, const char *detail);
void router_set_trace(struct router *router, router_trace trace, void *userdata);
