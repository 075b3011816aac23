/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests of ours: client transactions, where they go, and the proxy that places requests for others (RFC 3261 16, 17.1). */
#pragma once

#include "sip/dns.h"
#include "sip/internal.h"

/* --- hop.c: where a request goes --- */

struct sip_hop {
	enum sip_transport transport;
	struct address address;
	char identity[DNS_NAME_SIZE]; /* over TLS: the domain, or the address, that its certificate names; "": nobody's */
	struct id node_id;	      /* ... or the gateway of the overlay */
	struct sip_flow flow; /* connection != 0: used while it is open; else `local` and `fd` say which listener, if it is one */
	bool fallback;	      /* TCP was chosen for the length of the request alone: UDP when TCP fails (RFC 3261 18.1.1) */
};

/*
 * Where a URI with an address as host points (RFC 3261 8.1.2, RFC 3263 4.1). -ENODATA for names, which sip_locate() knows about,
 * -EHOSTUNREACH, -EPROTONOSUPPORT, -EINVAL.
 */
int sip_hop_of_uri(const osip_uri_t *uri, struct sip_hop *ret);

/* What a URI says or leaves to be understood. -EPROTONOSUPPORT, -EINVAL. */
int sip_uri_transport(const osip_uri_t *uri, enum sip_transport *ret);
int sip_uri_port(const osip_uri_t *uri, enum sip_transport transport, uint16_t *ret);

/* Is this one host, and does the system know a way there? */
bool sip_hop_possible(const struct address *address);

/*
 * Where somebody can be reached who came over `flow` and calls himself `uri`: never at another host than the one he came from.
 * -EHOSTUNREACH.
 */
int sip_hop_of_flow(struct sip_gateway *gateway, const struct sip_flow *flow, const osip_uri_t *uri, struct sip_hop *ret);

/* A flow to that place. -EAFNOSUPPORT without a listener for it, -ENOBUFS, or what connecting gave. */
int sip_hop_open(struct sip_gateway *gateway, const struct sip_hop *hop, struct sip_flow *ret);

/* Sends a request over a flow. */
int sip_flow_send(struct sip_gateway *gateway, const struct sip_flow *flow, struct octets octets);

/* "192.0.2.1:5060": where we can be reached by the other side of a flow, over the same transport. */
const char *sip_flow_sent_by(struct sip_gateway *gateway, const struct sip_flow *flow, char text[static ADDRESS_TEXT_SIZE]);
const char *sip_transport_name(enum sip_transport transport); /* "UDP" */

/* --- tls_connect.c: TLS to outside domains and to gateways of the overlay --- */

/* A connection to that place, new or not. -EPROTONOSUPPORT when nobody's certificate could be checked, or as sip_tcp_connect(). */
int sip_tls_connect(struct sip_gateway *gateway, const struct sip_hop *hop, struct sip_flow *ret);
int sip_tls_accept_peer(struct sip_gateway *gateway, struct sip_connection *connection);

/* Does a certificate name this domain, or this address, as RFC 5922 7 demands? */
struct x509_st;
bool sip_tls_names(struct x509_st *certificate, const char *domain);

/* --- locate.c: the servers a name stands for (RFC 3263) --- */

enum {
	SIP_TARGETS = 8,    /* servers of one domain; further ones are not tried */
	SIP_LOCATES = 1024, /* names being looked up; more: 503 */
};

struct sip_locate;

/* The servers in the order in which they are to be tried. error: -EHOSTUNREACH there are none, -EAGAIN no name server answered. */
typedef void (*sip_located)(void *userdata, int error, const struct sip_hop *hops, size_t count);

/*
 * Looks up where a URI with a name as host points. `done` is called once, never from within, unless the look-up is freed before; it
 * is gone then. -EHOSTUNREACH when no names are looked up or it is none, -EPROTONOSUPPORT, -EINVAL, -ENOBUFS, -ENOMEM.
 */
int sip_locate(struct sip_gateway *gateway, const osip_uri_t *uri, sip_located done, void *userdata, struct sip_locate **ret);
struct sip_locate *sip_locate_free(struct sip_locate *locate);

/* Puts SRV records into the order of RFC 2782: by priority, then by chance as their weights say. */
void sip_srv_order(struct runtime *runtime, struct dns_record *records, size_t count);

/* --- client.c: client transactions (RFC 3261 17.1, RFC 6026) --- */

enum sip_client_state { SIP_CLIENT_CALLING, SIP_CLIENT_PROCEEDING, SIP_CLIENT_COMPLETED, SIP_CLIENT_ACCEPTED };

struct sip_client_key {
	uint64_t id;	 /* in our branch */
	uint64_t cancel; /* 1: the CANCEL of the INVITE with that branch */
};

struct sip_client {
	struct sip_gateway *gateway;
	struct sip_client_key key;
	enum sip_client_state state;
	bool invite;
	bool lost; /* its connection is gone */
	struct sip_flow flow;
	struct octets request; /* owned; of an INVITE with final answer other than 2xx, its ACK */
	/* `frame` is a response to be passed on. NULL: the transaction ends; `status` is 0 after a final answer, else 408 or 503.
	 */
	void (*answered)(void *userdata, struct sip_client *client, const struct sip_frame *frame, unsigned status);
	void *userdata;
	struct timer timer;
	uint64_t end_us, interval_us; /* timers B, D, F, K, M; A, E */
	UT_hash_handle hh;
};

/*
 * Sends `request`, which the transaction owns from now on, also when this fails: -ENOBUFS at the bound, -ENOMEM, or what sending
 * gave. `answered` is never called from in here.
 */
int sip_client_new(struct sip_gateway *gateway, struct sip_client_key key, const struct sip_flow *flow, struct octets request,
		   struct sip_client **ret);
struct sip_client *sip_client_free(struct sip_client *client);
void sip_clients_free(struct sip_gateway *gateway);

/* Nobody waits for its answers any more; it goes on for as long as the protocol needs it. */
void sip_client_leave(struct sip_client *client);

/* Without any answer it ends after so many seconds already: another way is tried then, or the asker is told in time. */
enum { SIP_HURRY_SECONDS = 4 };
void sip_client_hurry(struct sip_client *client, unsigned seconds);

/* Cancels an INVITE that has a provisional answer; an answer is awaited for 64*T1 (RFC 3261 9.1). */
void sip_client_cancel(struct sip_client *client);

/* Hands a response to the transaction it answers. */
void sip_client_receive(struct sip_gateway *gateway, const struct sip_frame *frame);

/* A connection is gone: its transactions will have no answers. */
void sip_clients_lost(struct sip_gateway *gateway, uint64_t connection);

/* --- forward.c: messages made of others' messages --- */

enum { SIP_BRANCH_SIZE = 48, SIP_RECORD_ROUTE_SIZE = 512 };

/* What a forwarded request has in other form than the one received. Texts are whole header lines, or empty. */
struct sip_forward {
	struct sip_gateway *gateway;
	const struct sip_frame *frame;
	const char *uri;	  /* Request-URI */
	const char *via;	  /* our line */
	struct octets vias;	  /* theirs */
	const char *record_route; /* our lines */
	const char *routes;	  /* what is left of Route */
	unsigned max_forwards, breadth;
	enum sip_numbering numbering;
	bool again;    /* it is sent a second time */
	bool identity; /* who sent it vouches for P-Asserted-Identity, and who gets it may know (RFC 3325 5); else it is left out */
};

/* Does the sender want nobody outside the trust domain to know who it is (RFC 3325 9.3)? */
bool sip_frame_private(const struct sip_frame *frame);

void sip_forward_write(const struct sip_forward *forward, struct writer *w);

/* A response on its way back, with the Vias of the request it answers, and its CSeq (none: it is the same). `extra` are whole
 * lines. */
void sip_forward_response(const struct sip_frame *frame, unsigned status, struct octets vias, struct octets cseq,
			  struct octets extra, struct writer *w);

/* --- number.c: numbers towards trunks --- */

uint32_t sip_number_there(enum sip_numbering numbering, uint32_t number, bool again);
bool sip_number_read(struct octets field, uint32_t *ret); /* of a CSeq */

/* Writes a field that has such a number in it. False: it has none, or it stays as it is. */
bool sip_number_write(const struct sip_forward *forward, const struct sip_raw_field *field, struct writer *w);

/* The number under which the other end knows the INVITE of the dialog with this number (proxy.c). */
uint32_t sip_proxy_invite_number(const struct sip_gateway *gateway, struct octets call_id, enum sip_numbering numbering,
				 uint32_t number);

/* ACK of a final answer other than 2xx, CANCEL: from the request as we sent it (RFC 3261 17.1.1.3, 9.1). */
int sip_derive(const char *method, struct octets request, struct octets to, struct octets *ret);

/* The body, which lies behind the header. */
struct octets sip_frame_body(const struct sip_frame *frame);

/* --- route.c: what the Routes of a request say (RFC 3261 16.4, 16.6) --- */

/*
 * Who sends this request, as far as its treatment depends on it. DIALOG: the sender shows a Record-Route of ours with the keyed
 * hash of the Call-ID, so that nobody else can use us to reach others. GATEWAY: of another site, and like
 * OUTSIDE for calls to our users. TRUNK: a server of one, wherever it stands; reaches the users its numbers are for. SIBLING: a
 * gateway of another overlay that the settings name, and like OUTSIDE, but welcome and as often as it likes; it brings
 * the REGISTERs and calls of our phones at its site, which show a password.
 */
enum sip_trust {
	SIP_TRUST_NONE,
	SIP_TRUST_OUTSIDE,
	SIP_TRUST_SIBLING,
	SIP_TRUST_TRUNK,
	SIP_TRUST_GATEWAY,
	SIP_TRUST_DIALOG,
	SIP_TRUST_SITE,
};

/* Fills request->route_set, without the Routes that are ours. -EBADMSG, -ENOMEM. */
int sip_route_set_read(struct sip_gateway *gateway, struct sip_request *request, const struct sip_flow *flow);

/*
 * Our Record-Route lines for a request that came over one flow and leaves over another: one for each, the one that the callee sees
 * first on top (RFC 5658). Each holds its flow, so that later requests find the same way back, whatever a Contact says, and how
 * they are numbered on it.
 */
struct sip_recorded {
	const struct sip_flow *flow;
	enum sip_numbering numbering;
};
void sip_record_route_write(struct sip_gateway *gateway, struct octets call_id, struct sip_recorded in, struct sip_recorded out,
			    bool secure, char text[static SIP_RECORD_ROUTE_SIZE]);

/*
 * Our Path line for the REGISTER of a phone that came over one flow and leaves over another: calls that come along it find the
 * phone's flow again. `direct`: there is no other proxy between the phone and us.
 */
void sip_path_write(struct sip_gateway *gateway, const struct sip_flow *in, const struct sip_flow *out, bool direct,
		    char text[static SIP_RECORD_ROUTE_SIZE]);

/* --- caller.c --- */

/* Does this request, which came from a gateway of another overlay, name a user of ours as the one who asks? */
bool sip_caller_lent(struct sip_gateway *gateway, const struct sip_request *request);

/* May this be placed for who asks for it? Otherwise it was answered. */
bool sip_caller_admitted(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
			 const struct sip_flow *flow, enum sip_trust trust);

/* --- proxy.c --- */

enum sip_trust sip_proxy_trust(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow);

/* Does this URI point elsewhere than to us or to one of our domains? */
bool sip_proxy_foreign(struct sip_gateway *gateway, const osip_uri_t *uri, const struct sip_flow *flow);

/* Is this request to be placed, and not to be answered by us? */
bool sip_proxy_takes(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
		     enum sip_trust trust);
void sip_proxy_request(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
		       const struct sip_flow *flow, enum sip_trust trust);

/* ack.c: the ACK of a 2xx, passed on without a transaction. */
void sip_proxy_ack(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
		   enum sip_trust trust);
void sip_acks_free(struct sip_gateway *gateway);
void sip_proxy_cancel(struct sip_proxy *proxy);

/* Its server transaction goes. */
void sip_proxy_orphaned(struct sip_proxy *proxy);
void sip_proxies_free(struct sip_gateway *gateway);
