/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder share; also included by its tests. */
#pragma once

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/octets.h"
#include "base/table.h"
#include "sip/auth.h"

#include <osipparser2/osip_parser.h>
#include <time.h>

/* --- transports: udp.c, tcp.c --- */

/* Where a request came from, and so where its response goes. */
struct sip_flow {
	struct address remote, local;
	enum sip_transport transport;
	int fd;		     /* -1: nowhere (octets handed in by a test) */
	uint64_t connection; /* serial number of the TCP connection, 0 for UDP */
};

/* --- frame.c: one message in received octets, before the parser sees it --- */

/* Header fields that every request has and every response repeats (RFC 3261 8.1.1, 8.2.6.2). */
enum sip_field {
	SIP_FIELD_VIA,
	SIP_FIELD_FROM,
	SIP_FIELD_TO,
	SIP_FIELD_CALL_ID,
	SIP_FIELD_CSEQ,
	SIP_FIELD_MAX_FORWARDS,
	SIP_FIELD_CONTENT_LENGTH,
	SIP_FIELD_EXPIRES,
	SIP_FIELD_TIMESTAMP,
	SIP_FIELD_CONTACT,
	SIP_FIELD_REQUIRE,
	SIP_FIELD_ROUTE,
	SIP_FIELD_PROXY_REQUIRE,
	SIP_FIELD_MAX_BREADTH,
	SIP_FIELD_AUTHORIZATION,
	SIP_FIELDS,
};

enum { SIP_FIELDS_PARSED = 96 /* fields of a message that the parser gets to see; more: 513 */ };

struct sip_frame {
	struct octets start;			 /* the first line */
	struct octets header;			 /* the first line up to and with the empty line */
	struct octets field[SIP_FIELDS];	 /* value of the first field of that name; data NULL without one */
	struct octets parsed[SIP_FIELDS_PARSED]; /* whole fields that the parser shall see */
	size_t parsed_count;
	unsigned vias;			    /* fields, not values */
	struct octets method, uri, version; /* of a request line; empty when it is none */
	size_t length;			    /* octets of the whole message */
	size_t body_length;
	bool response;
	unsigned code;	      /* of a response; 0 when its first line is malformed */
	struct octets phrase; /* of a response */
	bool unclean;	      /* control characters in the header: it must not be repeated in a refusal */
	bool quoted_control;  /* has some in quoted pairs, which the parser must not see */
	bool content_length;  /* has the field, and it is valid */
	unsigned status;      /* 0, or the refusal it deserves: 400, 505, 513 */
	const char *reason;   /* for that refusal */
};

/*
 * Finds the end of the message at the start of `input`; on a datagram (`stream` false) a missing Content-Length means that the
 * body is the rest. The views point into `input`. Returns 0 (look at ret->status), -EAGAIN when the end has not been received,
 * -EBADMSG when nothing can be made of it, not even a refusal, -EMSGSIZE when the end of the header is beyond its bound.
 */
int sip_frame_find(struct octets input, bool stream, struct sip_frame *ret);

/* One header field as it was received. */
struct sip_raw_field {
	struct octets whole;  /* with its continuation lines and line ends */
	struct octets name;   /* as written */
	enum sip_field field; /* SIP_FIELDS: another one */
	struct octets value;  /* without blanks around it */
};

/* The fields of a header in which nothing was found wrong, in turn; `r` reads frame->header. False after the last. */
bool sip_raw_field_next(struct reader *r, struct sip_raw_field *ret);

/*
 * Walks through the fields named `name` (in full; without a compact form). Start with *position 0. The view points to the value,
 * which may have continuation lines in it.
 */
bool sip_frame_next_field(const struct sip_frame *frame, const char *name, size_t *position, struct octets *ret);

/* --- arena.c: memory of the parser --- */

/* Once, before anything is parsed. */
void sip_arena_prepare(void);

/*
 * Until sip_arena_pause() the parser gets its memory here, until sip_arena_end() it is good. False: it is taken, and the heap
 * serves. Whatever frees the parser's memory does nothing to pieces of the arena.
 */
bool sip_arena_begin(void);
void sip_arena_pause(void);
bool sip_arena_spilled(void); /* since sip_arena_begin() something came from the heap, and is to be freed */
void sip_arena_end(void);
bool sip_arena_owns(const void *piece);

/*
 * What the parser made of a text, in our terms: libosip2 5.3 reports success also when memory ran out in the middle, leaving out
 * what it had none for. -EBADMSG, -ENOMEM.
 */
int sip_parsed(int result);

/* --- message.c: a parsed request --- */

enum sip_method {
	SIP_REGISTER,
	SIP_INVITE,
	SIP_ACK,
	SIP_CANCEL,
	SIP_OPTIONS,
	SIP_IN_DIALOG, /* BYE, PRACK, UPDATE, INFO: have no meaning outside a dialog */
	SIP_OTHER,     /* MESSAGE, SUBSCRIBE and everything else: redirected */
};

enum { SIP_ROUTES = 16 /* in one request; more: 400 */ };

/* How the numbers (CSeq) of requests are told to a trunk; see number.c. */
enum sip_numbering { SIP_NUMBERS_SAME, SIP_NUMBERS_EVEN, SIP_NUMBERS_ODD };

/* What the Routes of a request say, after what is ours was taken off (RFC 3261 16.4). */
struct sip_route_set {
	char *routes[SIP_ROUTES]; /* owned: what is left, as written */
	size_t count;
	char *uri;		      /* owned: the Request-URI when a strict router hid it in the Routes, else NULL */
	bool ours;		      /* the topmost Route was ours */
	bool dialog;		      /* it shows that we recorded this dialog */
	enum sip_numbering numbering; /* of that dialog, towards its other end */
	bool place;		      /* it is that of our 305 */
	bool path;	      /* it is the Path of a phone that has registered through us with a gateway of another overlay */
	struct sip_flow flow; /* of a dialog: where its other end was; of a Path: where the phone is */
};

struct sip_request {
	struct sip_frame frame;
	enum sip_method method;
	osip_message_t *message; /* of its parts only req_uri may be replaced */
	bool arena;		 /* it lies in the arena */
	bool hashed;		 /* the next two are known: see transaction.c */
	unsigned key_hash, merge_hash;
	osip_via_t *via;			/* the topmost; in `message`, never NULL, its host neither */
	const char *branch, *from_tag, *to_tag; /* in `message`, or NULL */
	bool lent; /* of a phone of ours, as it says, which has come through a gateway of another overlay */
	uint32_t cseq;
	unsigned max_forwards; /* 70 without the field (RFC 3261 16.3) */
	struct sip_route_set route_set;
};

/* Parses what `frame` found. Returns -EBADMSG with *ret_reason when the request is to be refused with 400. */
int sip_request_parse(const struct sip_frame *frame, struct sip_request *ret, const char **ret_reason);
void sip_request_release(struct sip_request *request);

/* Does it begin something that may be refused when there is much to do? What belongs to a call in progress does not. */
static inline bool sip_request_begins(const struct sip_request *request) {
	return !request->to_tag && !request->route_set.dialog && request->method != SIP_ACK && request->method != SIP_CANCEL &&
	       request->method != SIP_IN_DIALOG;
}
void sip_route_set_release(struct sip_route_set *set);

/* A decimal number. Returns -EINVAL for anything else than digits, -ERANGE for what does not fit. */
int sip_number_parse(struct octets text, uint32_t *ret);

/* Value of a parameter; "" when it has none, NULL when it is not there. */
const char *sip_parameter(const osip_list_t *parameters, const char *name);

/* --- uri.c --- */

bool uri_is_sip(const osip_uri_t *uri);	   /* sip or sips, with a host */
bool uri_is_secure(const osip_uri_t *uri); /* sips */

/* Canonical AoR of a SIP URI: unescaped user @ lower-case domain (RFC 3261 10.3 step 5). Returns -EINVAL, -ENAMETOOLONG. */
int uri_aor(const osip_uri_t *uri, char ret[static SIP_AOR_OCTETS + 1]);

/* The other way round: a SIP or SIPS URI, with what may not stand in a user part escaped (RFC 3261 25.1). */
void uri_of_aor(const char *aor, bool secure, char *text, size_t size);

/* Lower-case host of a SIP URI without final dot. Returns -EINVAL, -ENAMETOOLONG. */
int uri_domain(const osip_uri_t *uri, char ret[static SIP_AOR_OCTETS + 1]);

/* The AoR that is registered, stored and looked up for one of our domains: events.canonical. */
void gateway_canonical(const struct sip_gateway *gateway, char aor[static SIP_AOR_OCTETS + 1]);

/* uri_aor(), with that. */
int gateway_aor(const struct sip_gateway *gateway, const osip_uri_t *uri, char ret[static SIP_AOR_OCTETS + 1]);

/* Is a URI of one of our domains? Then the domain that its user has here, which is the realm of the user's password. */
bool gateway_realm(const struct sip_gateway *gateway, const osip_uri_t *uri, char ret[static SIP_AOR_OCTETS + 1]);

/* RFC 3261 19.1.4. URIs that are no SIP URIs are equal when their texts are. */
bool uri_equal(const osip_uri_t *a, const osip_uri_t *b);

/* Parses a URI that may come from anyone and checks that it can stand between < and >. NULL when it cannot. */
osip_uri_t *uri_parse(const char *text);
osip_uri_t *uri_free(osip_uri_t *uri);
DEFINE_CLEANUP(osip_uri_t *, uri_free)

/* May `text` stand between < and > of a header field? Visible ASCII only, bounded. */
bool uri_text_valid(const char *text);

/* Does the host of the URI (and its port, if it has one) name `address`? */
bool uri_names_address(const osip_uri_t *uri, const struct address *address);

/* --- keyed.c --- */

/* SipHash-2-4: strangers choose what goes into our hash tables. */
uint64_t keyed_hash(const uint64_t key[static 2], struct octets octets);

/* SipHash-2-4-128: nobody without the key finds two texts with the same. */
void keyed_hash_long(const uint64_t key[static 2], struct octets octets, uint64_t ret[static 2]);

/* --- udp.c, tcp.c --- */

/* How long requests wait in one queue: see overload.c. */
struct sip_wait {
	uint64_t above_us; /* since when for too long; 0: they do not */
	uint64_t noted_us; /* when the last one was looked at */
	bool shedding;
	bool lost; /* because the queue was full */
};

struct sip_listener {
	struct sip_gateway *gateway;
	struct address address;
	int udp, tcp;
	uint32_t lost;	      /* datagrams the system has dropped, as it last said */
	struct sip_wait wait; /* of datagrams */
	struct timer pause;   /* accepts again after a shortage of descriptors */
	bool peer;	      /* for gateways of the overlay */
};

/* tls.c; reads and writes like recv() and send(). */
struct sip_connection;
struct sip_tls;
int sip_tls_new(const char *certificate, const char *key, struct sip_tls **ret, char *reason, size_t reason_size);
struct sip_tls *sip_tls_free(struct sip_tls *tls);
int sip_tls_accept(struct sip_gateway *gateway, struct sip_connection *connection);
ssize_t sip_tls_read(struct sip_connection *connection, void *data, size_t size);
ssize_t sip_tls_write(struct sip_connection *connection, const void *data, size_t size);
bool sip_tls_established(const struct sip_connection *connection);
bool sip_tls_pending(const struct sip_connection *connection);
void sip_tls_close(struct sip_connection *connection);

struct sip_connection {
	struct sip_gateway *gateway;
	struct sip_flow flow;
	uint8_t *input, *output;
	size_t input_length, input_capacity, output_length, output_sent;
	unsigned pending;   /* requests of it that are not answered */
	unsigned asked;	    /* client transactions that wait for an answer on it */
	bool outside;	    /* of an address that is not of the site */
	bool outgoing;	    /* opened by us: others to the same place may use it (RFC 5923) */
	struct ssl_st *ssl; /* of TLS */
	char *identity;	    /* owned: whose certificate it is to be, when we have opened it */
	bool peer;	    /* with a gateway of the overlay, which has proved it */
	bool wants_read;    /* nothing can be sent before something has come */
	bool wants_write;   /* it waits for room to send, whatever it is doing */
	unsigned watched;   /* epoll events asked for */
	bool served;	    /* has carried a request */
	bool finished;	    /* the other side, or we, will send no more requests */
	bool broken;	    /* to be closed */
	bool line_end;	    /* the last that came was one line end: half a keep-alive */
	uint64_t begun_us;  /* when the message that is coming in began; at first, the connection */
	uint64_t output_us; /* when output last moved */
	uint64_t active_us; /* last message or keep-alive */
	struct timer timer;
	struct binding *flows; /* that phones have bound to it */
	UT_hash_handle hh;
};

int sip_udp_open(const struct address *address);
struct sip_datagrams *sip_datagrams_new(void); /* to be freed by free(); NULL: no memory */
void sip_udp_receive(struct sip_gateway *gateway, struct sip_listener *listener);
int sip_udp_send(struct sip_gateway *gateway, const struct sip_flow *flow, const struct address *to, struct octets octets);
int sip_tcp_open(const struct address *address);
void sip_tcp_accept(struct sip_gateway *gateway, struct sip_listener *listener);
void sip_tcp_ready(struct sip_gateway *gateway, struct sip_connection *connection, unsigned events);
int sip_tcp_send(struct sip_gateway *gateway, const struct sip_flow *flow, struct octets octets);
struct sip_connection *sip_connection_free(struct sip_connection *connection);

/*
 * A connection that we opened to `remote`, or a new one, which takes octets at once; over TLS to the one of this identity, whose
 * handshake the caller sees to when it is new. -ENOBUFS at the bound, or what connect() gave.
 */
int sip_tcp_connect(struct sip_gateway *gateway, const struct address *remote, const char *identity, struct sip_connection **ret);

/* The connection of a flow while it is open, else NULL. */
struct sip_connection *sip_connection_of(struct sip_gateway *gateway, const struct sip_flow *flow);

/* --- transaction.c: server transactions (RFC 3261 17.2) --- */

/* ACCEPTED: an INVITE that another element answered with 2xx (RFC 6026). */
enum sip_transaction_state { SIP_STATE_TRYING, SIP_STATE_PROCEEDING, SIP_STATE_COMPLETED, SIP_STATE_CONFIRMED, SIP_STATE_ACCEPTED };

struct sip_transaction {
	struct sip_gateway *gateway;
	struct sip_flow flow;
	struct address reply_to;
	enum sip_transaction_state state;
	bool invite;
	bool unacknowledged;	      /* counted against SIP_UNACKNOWLEDGED */
	struct octets key, merge_key; /* in `room`; merge_key may be none */
	struct octets echo;	      /* in `room`: the header fields every response repeats */
	size_t via_length;	      /* of the Vias at its beginning */
	struct sip_proxy *proxy;      /* answers, without a limit of time of ours; told when this transaction goes */
	struct octets response;	      /* owned: what was sent last; none in SIP_STATE_TRYING */
	unsigned status;	      /* of that response */
	struct timer timer;
	uint64_t end_us;			 /* when the state ends: guard, timer H, I or J */
	uint64_t interval_us;			 /* timer G; 0 when nothing is sent again */
	struct sip_transaction **owner;		 /* cleared once there is a final response, or never will be */
	struct sip_transaction *previous, *next; /* finished ones, oldest first */
	UT_hash_handle hh, merge_hh;
	uint8_t room[];
};

/*
 * Hands a request to the transaction it belongs to. True when it is one: retransmissions are answered, an ACK confirms.
 * A false answer for ACK means that it belongs to none.
 */
bool sip_transaction_match(struct sip_gateway *gateway, struct sip_request *request, const struct sip_flow *flow);

/* The same for an ACK of which only the frame is known. False: it has to be looked at more closely. */
bool sip_transaction_acknowledge(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow);

/*
 * The transaction a request over UDP with this method belongs to, or NULL, from its Via as it was received. False for a Via that
 * only the parser can read.
 */
bool sip_transaction_find_plain(struct sip_gateway *gateway, const struct sip_frame *frame, struct octets method,
				struct sip_transaction **ret);

/* The INVITE transaction a CANCEL is for, or NULL. */
struct sip_transaction *sip_transaction_to_cancel(struct sip_gateway *gateway, const struct sip_request *request);

/* Is this request here already in another transaction (RFC 3261 8.2.2.2)? */
bool sip_transaction_merged(struct sip_gateway *gateway, struct sip_request *request);

/* Returns -ENOBUFS at the bound, -ENOMEM. */
int sip_transaction_new(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
			struct sip_transaction **ret);

/*
 * The same for a request without To tag of which only the frame is known. Also -EINVAL for a Via that sip_transaction_find_plain()
 * cannot read, -EEXIST when the request is here already, in its transaction or in another.
 */
int sip_transaction_new_plain(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow,
			      struct octets from_tag, uint32_t cseq, struct sip_transaction **ret);
struct sip_transaction *sip_transaction_free(struct sip_transaction *transaction);

/* From now on *owner is this transaction, until it has a final response. */
void sip_transaction_own(struct sip_transaction *transaction, struct sip_transaction **owner);

/* Sends a final response; `fields` are whole header lines. Does nothing when there is one already. */
void sip_transaction_respond(struct sip_transaction *transaction, unsigned status, const char *reason, struct octets fields);

/* From now on `proxy` answers, when it can: no guard of ours ends the transaction. */
void sip_transaction_hold(struct sip_transaction *transaction, struct sip_proxy *proxy);

/*
 * Sends what another element answered: a provisional response, or a final one, which ends the transaction. Of an INVITE, further
 * 2xx are passed on for 64*T1 (RFC 6026 7.1). Does nothing when it comes too late.
 */
void sip_transaction_relay(struct sip_transaction *transaction, unsigned status, struct octets message);

/* --- response.c --- */

/* Where the response to a request goes: source address, and port of `rport` or sent-by (RFC 3261 18.2.2, RFC 3581). */
struct address sip_reply_address(const osip_via_t *via, const struct sip_flow *flow);

/* Writes the fields a response repeats: Via (completed by received and rport), From, To with tag, Call-ID, CSeq, Timestamp. */
void sip_vias_write(const struct sip_request *request, const struct sip_flow *flow, struct writer *w);
void sip_echo_rest_write(struct sip_gateway *gateway, const struct sip_request *request, struct writer *w);
void sip_echo_write(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow, struct writer *w);

/*
 * The same for a request without To tag of which only the frame is known, and that sip_transaction_find_plain() can read. Returns
 * the port the answer goes to.
 */
uint16_t sip_echo_write_plain(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow,
			      struct writer *w);

/* Writes a whole response. Texts are cut of anything but printable characters. */
void sip_response_write(unsigned status, const char *reason, struct octets echo, struct octets fields, struct writer *w);

/* Sends octets that are a response with this status to where it belongs, and counts. */
void sip_response_send(struct sip_gateway *gateway, const struct sip_flow *flow, const struct address *to, unsigned status,
		       struct octets octets);

/* Refuses without a transaction, within SIP_STATELESS_PER_SECOND. */
void sip_refuse(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow, unsigned status,
		const char *reason);

/* Refuses with 503 under overload; `limited`: also within SIP_STATELESS_PER_SECOND. */
void sip_refuse_overload(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow, bool limited);

/* The same at less expense, for what sip_transaction_find_plain() can read. */
void sip_refuse_plain(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow, const char *reason);

/* The tag that our answers to this request get in To. */
uint64_t sip_tag(const struct sip_gateway *gateway, const struct sip_frame *frame);

/* Refuses what could not be parsed, with what the frame has of the necessary fields. */
void sip_refuse_frame(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow, unsigned status,
		      const char *reason);

void writer_format(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- text.c: what writer_format() does, for what is written with every message --- */

#define writer_literal(w, text) writer_raw((w), "" text, sizeof(text) - 1)
void writer_string(struct writer *w, const char *text);
void writer_decimal(struct writer *w, uint64_t value);
void writer_hexadecimal(struct writer *w, uint64_t value); /* 16 digits */
void writer_thousandths(struct writer *w, unsigned value); /* "0.800" */

/* --- request.c --- */

/* The AoR a request is for, as the registrar knows it. Returns 0 or the status to refuse with. */
unsigned sip_request_target(struct sip_gateway *gateway, const struct sip_request *request, bool ours,
			    char aor[static SIP_AOR_OCTETS + 1], const char **ret_reason);

#define SIP_ALLOW "Allow: REGISTER, INVITE, ACK, CANCEL, OPTIONS, MESSAGE, SUBSCRIBE\r\n"

/* One whole message. */
void sip_receive(struct sip_gateway *gateway, const struct sip_flow *flow, const struct sip_frame *frame);

/* A datagram, or what a test takes for one. */
void sip_receive_datagram(struct sip_gateway *gateway, const struct sip_flow *flow, struct octets octets);

/* Answers 503 with a Retry-After of at least `seconds`. */
void sip_respond_unavailable(struct sip_transaction *transaction, const char *reason, unsigned seconds);

/* --- overload.c --- */

struct sip_overload {
	unsigned shedding; /* queues that are too long */
	uint64_t until_us; /* ACKs of refusals may come */
	uint64_t logged_us;
	struct sip_wait lag; /* of timers */
	struct timer timer;
};

void sip_overload_open(struct sip_gateway *gateway);
void sip_overload_close(struct sip_gateway *gateway);
void sip_overload_watch(struct sip_gateway *gateway); /* with each request */

/* A request has waited that long in this queue; `emptied`: there is none behind it. */
void sip_overload_note(struct sip_gateway *gateway, struct sip_wait *wait, uint64_t waited_us, bool emptied);

/* Datagrams of this queue were dropped before we saw them. */
void sip_overload_lost(struct sip_gateway *gateway, struct sip_wait *wait);

/* Is this request, which belongs to no transaction, to be refused? */
bool sip_overload_refuses(const struct sip_gateway *gateway, const struct sip_request *request);

/* The same at less expense, before the request is parsed. True when it was refused, or needs no answer. */
bool sip_overload_take(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow);

/* --- trace.c --- */

enum sip_call_state { SIP_CALL_PLACING, SIP_CALL_RINGING, SIP_CALL_TALKING };

/* Only while there is a gateway->trace. */
void sip_trace_frame(struct sip_gateway *gateway, const struct sip_flow *flow, const struct address *peer,
		     const struct sip_frame *frame, bool sent);

/* At any time. */
void sip_trace_sent(struct sip_gateway *gateway, const struct sip_flow *flow, const struct address *peer, struct octets octets);
void sip_trace_close(struct sip_gateway *gateway);
void sip_calls_close(struct sip_gateway *gateway);

/* --- call.c: questions to the node --- */

/* Outlives the gateway when that goes first. */
struct sip_call {
	struct sip_gateway *gateway; /* NULL once the gateway is gone */
	void *work;
	void (*release)(void *work); /* when the gateway goes; NULL when somebody else frees the work */
	struct sip_call *previous, *next;
};

struct sip_call *sip_call_new(struct sip_gateway *gateway, void *work, void (*release)(void *work)); /* NULL: no memory */

/* Ends the call. Returns its work, NULL when the gateway is gone. */
void *sip_call_end(struct sip_call *call);

/* When the gateway goes. */
void sip_call_orphan(struct sip_call *call);

/* --- binding.c: who is registered here --- */

/* A Contact URI. Those of a binding and of the one that replaces it are mostly the same. */
struct sip_contact_uri {
	unsigned references;
	osip_uri_t *parsed;
	char text[];
};

struct binding {
	struct registration *registration; /* NULL until it is committed */
	struct sip_contact_uri *contact_uri;
	const char *contact; /* its text */
	const osip_uri_t *uri;
	char *call_id;
	uint32_t cseq;
	int q;		     /* thousandths, -1 without */
	unsigned expires_s;  /* as granted */
	uint64_t expires_us; /* since it is committed */
	struct address source;
	struct sip_flow flow; /* that its REGISTER came over; its address is `source` */
	struct timer timer;
	struct binding_more *more; /* owned; NULL: it is one of RFC 3261 */
	struct sip_again *again;   /* owned; NULL: not to be recognized */
	bool repeats;		   /* what the one to be replaced says */
	bool kept;		   /* and the overlay has it for long enough */
	uint64_t stored_until_us;  /* in the overlay */
	struct binding *previous, *next;
};

/* What a REGISTER may say beyond RFC 3261. */
struct binding_more {
	char *path;				   /* values of Path with commas in between, or NULL */
	char *instance;				   /* the device, a URN, or NULL */
	uint32_t reg_id;			   /* its flow (RFC 5626); 0: it is bound to its Contact URI */
	char *name;				   /* with a flow, what the node knows it by */
	uint64_t number;			   /* that the device is to have; 0: none */
	struct sip_device *device;		   /* since it is committed */
	bool lost;				   /* its connection is gone, and the phone may come back with another */
	struct binding *previous_flow, *next_flow; /* others of the same connection */
};

/* A device of a user that has told its name. Exists while it has bindings. */
struct sip_device {
	struct registration *registration;
	char *instance;
	uint64_t number; /* in its temporary GRUUs; 0: has none */
	unsigned bindings;
	struct sip_device *next;
	UT_hash_handle hh; /* by number */
};

/* Exists while it has bindings or jobs. */
struct registration {
	struct sip_gateway *gateway;
	uint64_t number; /* in the order in which they were made, which is that of the table */
	char *aor;
	struct binding *bindings; /* the one renewed last is last */
	size_t binding_count;
	struct sip_device *devices;
	struct register_job *jobs; /* in the order they came; the first is being worked on */
	size_t job_count;
	UT_hash_handle hh;
};

struct registration *registration_find(const struct sip_gateway *gateway, const char *aor);
struct registration *registration_get(struct sip_gateway *gateway, const char *aor); /* makes it; NULL: no memory */
void registration_release(struct registration *registration);			     /* frees it when it is empty */
struct registration *registration_free(struct registration *registration);
struct binding *registration_binding(const struct registration *registration, const osip_uri_t *uri);

/* The same for a URI whose text is at hand, which nearly always settles it. */
struct binding *registration_contact(const struct registration *registration, const char *contact, const osip_uri_t *uri);

/* The binding that this one, which is not of the table, is to replace: of the same flow of its device, else with an equal URI. */
struct binding *registration_same(const struct registration *registration, const struct binding *binding);

/* Gives a new binding its Contact: what anyone may have written. -EINVAL, -ENOMEM. */
int binding_set_contact(struct binding *binding, const char *text);

/* Adds a binding, in the place of the same one. The registration owns it from now on; its time begins. */
void registration_commit(struct registration *registration, struct binding *binding);

/* Does the overlay have it for so long that there is time to store it again? */
bool binding_is_kept(const struct binding *binding);

/* The overlay has it for another `seconds`. */
void binding_stored(struct binding *binding, unsigned seconds);

/* What the node knows it by. */
const char *binding_name(const struct binding *binding);

/* A new one outside the table that names the same; NULL: no memory. */
struct binding *binding_like(const struct binding *binding);

/* A new one that says the same over the same flow, of a binding of RFC 3261. It has no CSeq yet. */
struct binding *binding_again(const struct binding *binding);

/* A connection is gone, and with it the flows that phones have bound to it (RFC 5626 7). */
void sip_bindings_lost(struct sip_connection *connection);

/* A proxy told that there is no flow to this phone any more (430). */
void sip_binding_failed(struct sip_gateway *gateway, const char *aor, const char *contact);
struct binding *binding_free(struct binding *binding);
DEFINE_CLEANUP(struct binding *, binding_free)
unsigned binding_seconds_left(const struct binding *binding);

/* --- register.c, redirect.c --- */

#define USE_PROXY_PARAMETER "use-proxy" /* parameter of the Contact of our 305 */

void sip_register(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request);

/* --- again.c: a REGISTER that says what the one before said --- */

/* What a REGISTER said, by which the next one is recognized. */
struct sip_again {
	uint64_t key[2];
	struct binding *binding;	/* once it is in the table */
	uint16_t tag_start, tag_length; /* where the tag is in the From field */
	UT_hash_handle hh;
};

/* Takes a REGISTER that renews a binding as the one before did, without a closer look. False: it needs one. */
bool sip_register_again(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow);

/* A binding has come into the table, in the place of another or of none. */
void sip_again_commit(struct binding *binding, struct binding *former);
struct sip_again *sip_again_free(struct sip_gateway *gateway, struct sip_again *again);

/* Stores a binding again that will last longer than what the overlay has of it. */
void sip_register_refresh(struct binding *binding);

/* Removes a binding that is lost from the table and from the overlay. */
void sip_register_forget(struct binding *binding);
struct register_job *register_job_free(struct register_job *job);
void sip_redirect(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
		  const char *aor);

/* --- route.c --- */

/* One value of a field with several: up to a comma that is neither quoted nor between < and >. */
struct octets sip_next_value(struct reader *r);

/* The URI of a value with < and >, such as of Route, or NULL. */
osip_uri_t *sip_route_uri(const char *route);

/* --- retarget.c --- */

enum { SIP_RETARGETS = 1024 };

struct sip_retarget {
	uint64_t tag;	    /* keyed hash of the host that did not answer */
	uint64_t silent_us; /* until then it gets nothing */
	uint32_t waiting;
};

/* May a host that was found in the overlay be asked? Then it is waited for, until sip_retarget_release(). */
bool sip_retarget_take(struct sip_gateway *gateway, const struct address *address);
void sip_retarget_release(struct sip_gateway *gateway, const struct address *address, bool silent);

/* --- stun.c --- */

/* Answers a keep-alive. False: the datagram is none. */
bool sip_stun_receive(struct sip_gateway *gateway, const struct sip_flow *flow, struct octets octets);

/* --- extension.c --- */

enum { SIP_EXTENSION_PATH = 1, SIP_EXTENSION_OUTBOUND = 2, SIP_EXTENSION_GRUU = 4 };

unsigned sip_extensions_offered(const struct sip_gateway *gateway);

/* The option tags in fields named `name`, of those in `known`; for each other one a line "Unsupported: " is written. */
unsigned sip_extensions_read(const struct sip_frame *frame, const char *name, unsigned known, struct writer *unknown);

/* The values of Path, NULL without; owned by the caller. -EBADMSG for one that is none, -ENOBUFS beyond the bounds, -ENOMEM. */
int sip_path_read(const struct sip_frame *frame, char **ret);
osip_uri_t *sip_path_first(const char *path);

/* Can what a phone binds over this flow be reached over it? */
bool sip_flow_usable(const struct sip_request *request, const char *path);

/* The device and its flow that a Contact names. -ENOMEM. */
int sip_device_read(const osip_contact_t *contact, struct binding_more *more);

/* --- gruu.c --- */

enum { SIP_GRUU_URI_OCTETS = SIP_AOR_OCTETS + 4 + SIP_GRUU_OCTETS };

/* What a Request-URI with "gr" asks for. */
struct sip_gruu {
	bool is;
	bool local;				/* a temporary one of a device that is registered here */
	char instance[SIP_INSTANCE_OCTETS + 1]; /* the device; "" when only another gateway knows */
	char value[SIP_GRUU_OCTETS + 1];	/* as it stands in the URI */
};

struct sip_device *sip_device_find(const struct registration *registration, const char *instance);

/* The device for one more binding, with this number from now on. NULL: no memory. */
struct sip_device *sip_device_take(struct registration *registration, const char *instance, uint64_t number);
struct sip_device *sip_device_release(struct sip_device *device);
uint64_t sip_device_number(struct sip_gateway *gateway, const struct sip_device *device); /* a new one; NULL: of a new device */

/* Parameters pub-gruu and temp-gruu for a Contact of an answer. */
void sip_gruu_write(struct sip_gateway *gateway, const struct sip_device *device, bool secure, struct writer *w);

/* Looks for "gr" in a Request-URI for `aor`, which becomes the AoR of a temporary GRUU. Returns 0 or the status to refuse with. */
unsigned sip_gruu_read(const struct sip_gateway *gateway, const osip_uri_t *uri, char aor[static SIP_AOR_OCTETS + 1],
		       struct sip_gruu *ret, const char **ret_reason);

/* What to ask the node for: the AoR, or the whole GRUU. */
const char *sip_gruu_question(const struct sip_gruu *gruu, const char *aor, char text[static SIP_GRUU_URI_OCTETS + 1]);

/* Is this binding one that the GRUU, if it is one, leads to? */
bool sip_gruu_names(const struct sip_gruu *gruu, const struct binding *binding);

/* --- outside.c --- */

/* May a stranger send one more request now? */
bool sip_outside_may(struct sip_gateway *gateway, const struct address *source);
void sip_strangers_free(struct sip_gateway *gateway);

/* --- the gateway --- */

struct sip_sibling {
	char domain[SIP_AOR_OCTETS + 1];
	struct address address;
	bool silent; /* it did not answer a REGISTER, which was said */
};

struct sip_gateway {
	struct runtime *runtime;
	struct sip_gateway_events events;
	unsigned expires_min_s, expires_default_s, expires_max_s;
	uint64_t hash_key[2], merge_hash_key[2], tag_key[2], dialog_key[2], again_key[2];
	struct sip_listener listeners[SIP_LISTENERS];
	size_t listener_count;
	struct sip_listener secure[2 * SIP_LISTENERS]; /* for TLS, of phones and of gateways; have no UDP */
	size_t secure_count;
	struct sip_tls *tls;		/* NULL without them */
	struct ssl_ctx_st *outside_tls; /* NULL until it is needed */
	char *tls_ca_file;
	uint64_t tls_reported_us;
	struct sip_connection *connections; /* by descriptor */
	uint64_t next_connection;
	struct sip_datagrams *datagrams; /* room for some; see udp.c */
	sip_watch watch;
	void *watch_userdata;
	struct sip_transaction *transactions; /* by key */
	struct sip_transaction *merges;	      /* by merge key */
	struct sip_transaction *finished;     /* list, oldest first */
	size_t transaction_octets, unacknowledged;
	struct registration *registrations; /* by AoR */
	uint64_t last_registration;	    /* its number */
	size_t reserved_bindings;	    /* promised to REGISTERs being worked on */
	struct sip_retarget targets[SIP_RETARGETS];
	struct sip_again *agains;   /* by key */
	struct sip_device *devices; /* by number */
	char *gruu;		    /* owned: settings.gruu */
	struct sip_auth auth;
	struct sip_overload overload;
	struct sip_trace *trace; /* NULL: nobody reads it */
	uint64_t trace_next;	 /* the number its next message will have */
	struct call_record *call_records, *call_list;
	time_t date_of; /* what `date` says */
	char date[48];	/* field for answers to REGISTER */
	struct sip_call *calls;
	size_t call_count;
	enum sip_mode mode;
	enum sip_callers callers;
	bool outside_calls;
	struct sip_client *clients; /* by id */
	size_t client_octets;
	struct sip_proxy *proxies; /* list */
	size_t raised_count;	   /* of them, INVITEs that were repeated within a dialog */
	size_t proxy_octets;
	struct sip_trunk *trunks[SIP_TRUNKS];
	size_t trunk_count;
	struct sip_sibling siblings[SIP_SIBLINGS];
	size_t sibling_count;
	struct dns *dns;				  /* NULL: no names are looked up */
	size_t locate_count;				  /* names being looked up */
	struct sip_ack *acks;				  /* list: ACKs whose way is being looked up */
	struct sip_stranger *strangers, *oldest_stranger; /* by key; list */
	size_t stranger_count;
	uint64_t outside_us; /* as stateless_us, of requests from outside */
	size_t outgoing_connections, outside_connections;
	uint64_t stateless_us; /* when the refusals sent so far would have been sent at an even pace */
	struct sip_figures figures;
};

static inline bool gateway_owns_address(const struct sip_gateway *gateway, const osip_uri_t *uri, const struct sip_flow *flow) {
	for (size_t i = 0; i < gateway->listener_count; i++)
		if (uri_names_address(uri, &gateway->listeners[i].address))
			return true;
	for (size_t i = 0; i < gateway->secure_count; i++)
		if (uri_names_address(uri, &gateway->secure[i].address))
			return true;
	return uri_names_address(uri, &flow->local);
}

void gateway_watch(struct sip_gateway *gateway, int fd, unsigned events);
