/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIP for ordinary phones: registrar and redirector (RFC 3261, RFC 7890 5.2, RFC 7904) on the libosip2 parser and transaction
 * machines, over UDP and TCP.
 */
#pragma once

#include "base/address.h"
#include "base/id.h"
#include "base/runtime.h"
#include "sip/digest.h"

#include <stdbool.h>
#include <stddef.h>

struct sip_gateway;

/* Bounds of this module; LIMIT_SIP_* of base/limits.h hold too. */
enum {
	SIP_LISTENERS = 4,	     /* addresses to listen on */
	SIP_HEADER_OCTETS = 16384,   /* request line and header of a message; more: 513 */
	SIP_LINE_OCTETS = 4096,	     /* one header field with its continuation lines; more: 513 */
	SIP_HEADER_LINES = 256,	     /* more: 513 */
	SIP_SEPARATORS = 512,	     /* ";", "," and "&" in a header, as the parser's time grows with their square; more: 513 */
	SIP_CONTACTS_PER_AOR = 16,   /* bindings of one AoR, Contacts of one REGISTER; more: 403 */
	SIP_CONTACT_OCTETS = 1024,   /* one Contact URI; longer: 400 */
	SIP_AOR_OCTETS = 255,	     /* longer: 404 */
	SIP_CALL_ID_OCTETS = 255,    /* of a REGISTER; longer: 400 */
	SIP_REGISTERS_PER_AOR = 16,  /* REGISTERs for one AoR waiting for each other; more: 503 */
	SIP_REDIRECT_CONTACTS = 32,  /* Contacts of a 302; more are left out */
	SIP_TRANSACTIONS_KEPT = 512, /* of LIMIT_SIP_TRANSACTIONS, for requests inside dialogs and CANCEL */
	SIP_TRANSACTION_OCTETS = 32 << 20, /* held by all transactions; the oldest finished ones go, then 503 */
	SIP_STATELESS_PER_SECOND = 200,	   /* refusals without a transaction (400, 403, 503 ...); more are dropped */
	SIP_UNACKNOWLEDGED = 1000,    /* answered INVITEs that wait for their ACK and are answered again by timer G; more are not */
	SIP_ANSWER_SECONDS = 25,      /* the overlay's time to answer; then 503, below the 32 s of timer F */
	SIP_REGISTRAR_SECONDS = 27,   /* a gateway of another overlay has for a REGISTER; then 503, below the same 32 s */
	SIP_RETRY_AFTER_SECONDS = 10, /* least Retry-After; up to twice that, so that phones do not come back together */
	SIP_TCP_IDLE_SECONDS = 300,   /* a connection without requests or keep-alives is closed */
	SIP_TCP_MESSAGE_SECONDS = 20, /* for the first message, for one that has begun, and for taking our answer; then closed */
	SIP_TCP_OUTPUT_OCTETS = 256 << 10, /* answers a connection does not take; more: closed */
	SIP_FORKS = 16,			   /* branches of one request; further Contacts are not tried */
	SIP_CLIENTS = 16384,		   /* client transactions; more: the branch counts as answered 503 */
	SIP_CLIENT_OCTETS = 64 << 20,	   /* held by them; more: the same */
	SIP_PROXY_OCTETS = 64 << 20,	   /* requests and best answers held while they are being placed; more: 503 */
	SIP_CALL_SECONDS = 181,		/* timer C: a call that rings longer is given up; each provisional answer begins it anew */
	SIP_MAX_BREADTH = 60,		/* parallel branches a request may have altogether (RFC 5393 5.3.3) */
	SIP_UDP_OCTETS = 1300,		/* requests longer than that go over TCP (RFC 3261 18.1.1) */
	SIP_OUTGOING_CONNECTIONS = 512, /* opened by us; more: 503 */
	SIP_OUTSIDE_CONNECTIONS = 256,	/* accepted from addresses that are not of the site's networks; more are closed at once */
	SIP_OUTSIDE_PER_SECOND = 200,	/* requests from outside the site, of all together; more: 503 */
	SIP_OUTSIDE_PER_HOST = 20,	/* of one host; the same */
	SIP_OUTSIDE_HOSTS = 4096,	/* hosts outside of which that is known; the one heard of longest ago is forgotten */
	SIP_NONCE_SECONDS = 3600,	/* a nonce is good for; then stale */
	SIP_NONCES = 131072,		/* nonces whose use is remembered; the one first used goes and is stale then */
	SIP_AUTH_FAILURES = 30,		/* wrong passwords of one address in a row; then 503 until */
	SIP_AUTH_FAILURE_SECONDS = 10,	/* ... this has gone by for each of them */
	SIP_RETARGET_WAITING =
		16, /* requests to a host found in the overlay that has not answered; more: the branch counts as 480 */
	SIP_RETARGET_SECONDS = 60,    /* such a host that did not answer at all gets none */
	SIP_PATHS = 8,		      /* proxies in the Path of a REGISTER; more: 400 */
	SIP_PATH_OCTETS = 1024,	      /* of it altogether; more: 400 */
	SIP_INSTANCE_OCTETS = 128,    /* name of a device (+sip.instance); longer: it counts as having none */
	SIP_GRUU_OCTETS = 256,	      /* value of "gr" in a Request-URI; longer: 404 */
	SIP_STORE_RETRY_SECONDS = 60, /* after what lasts in the overlay for less than the phone was promised could not be stored */
	SIP_FLOW_SECONDS = 30,	      /* a phone has to bind its flow again after its connection broke; then it is unregistered */
	SIP_FLOW_TIMER_SECONDS = 120, /* keep-alives over a connection that is bound are expected (Flow-Timer) */
	SIP_DATAGRAMS_AT_ONCE = 64,   /* read from one socket before others get their turn; also connections accepted */
	SIP_TRACE_MESSAGES = 1024,    /* kept while somebody traces; older ones are lost to who reads slowly */
	SIP_TRACE_SECONDS = 60,	      /* without a reader; then they are not kept any more */
	SIP_CALLS_LISTED = 16384,     /* calls in the list of those that go through the proxy */
	SIP_OVERLOAD_TARGET_MS = 100, /* requests may wait that long before they are looked at; when all did for */
	SIP_OVERLOAD_INTERVAL_MS = 200, /* ... this time, new calls and registrations get 503 until the queue is short */
};

/* Who may be told to call a phone directly, and for whom we place the call (ringgate.conf(5), [sip] mode). */
enum sip_mode {
	SIP_MODE_REDIRECT,	  /* answers every call with where it goes (302) */
	SIP_MODE_PROXY,		  /* places every call itself */
	SIP_MODE_REDIRECT_INSIDE, /* redirects phones of the site, places calls of others */
};

/* Whom we place calls for, when phones need passwords (ringgate.conf(5), [sip] authentication). */
enum sip_callers {
	SIP_CALLERS_REGISTERED, /* phones, from where they are registered; others with their password (407) */
	SIP_CALLERS_PASSWORD,	/* whoever shows a password with each call */
	SIP_CALLERS_ANY,	/* everybody in the site's networks, as whoever he likes */
};

/* How SIP travels. */
enum sip_transport { SIP_UDP, SIP_TCP, SIP_TLS };

struct sip_binding_request {
	const char *aor;     /* "alice@example.org" */
	const char *contact; /* the Contact URI as the phone wrote it, without <> and header parameters */
	const char *name;   /* of the binding among those of the user; NULL: it is the Contact. It stays when the Contact changes */
	unsigned expires_s; /* 0: remove */
	/* For sip_gateway_restore(); without meaning when it is a removal. */
	const char *call_id;
	uint32_t cseq;
	int q;			      /* thousandths, -1 without */
	struct address source, local; /* the phone, and where it has reached us */
	enum sip_transport transport;
	const char *path, *instance; /* RFC 3327, RFC 5626; NULL without */
	uint32_t reg_id;	     /* 0: none */
	uint64_t device;	     /* number of the device in its temporary GRUUs; 0: none */
	bool repeats;		     /* the former one of this name, but for its CSeq and its time */
	bool kept; /* the overlay has it for a while yet: it is enough that it outlasts a restart. Asked again before that is over
		    */
};

/* Status to answer a phone with: 200, 403 not allowed, 404 no such user here, 500, 503 overlay not reachable. */
typedef void (*sip_register_done)(void *userdata, unsigned status, const char *reason);

struct sip_redirect_contact {
	const char *uri;
	unsigned expires_s;
	/* A gateway of another site, at this address (family 0: none). A proxy asks it for the AoR itself, whatever `uri` says. */
	struct address gateway;
	struct id node_id; /* of that gateway: over TLS its certificate has to have it */
	enum sip_transport transport;
};
/* status: 302 with contacts, 404, 480, 503 (retry_after_s > 0), 482. */
typedef void (*sip_resolve_answer)(void *userdata, unsigned status, const struct sip_redirect_contact *contacts, size_t count,
				   unsigned retry_after_s);

/*
 * What the gateway asks of the node; every call is answered exactly once, never from within the call. An answer may also come
 * after SIP_ANSWER_SECONDS or after sip_gateway_free(): then it only releases what the question held.
 */
struct sip_gateway_events {
	void *userdata;
	void (*bind)(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata);
	/* `aor` may be a GRUU with the destination list of a gateway (RFC 7904 6): alice@example.org;gr=LIST */
	void (*resolve)(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata);
	/* Is this a domain whose AoRs we serve? In lower case, without port or final dot. */
	bool (*domain)(void *userdata, const char *domain);
	/*
	 * One domain may stand for another: writes the AoR of that one, or leaves an AoR that stands for itself. The part before
	 * the "@" stays, and may be empty when a domain is meant. NULL: all stand for themselves.
	 */
	void (*canonical)(void *userdata, char aor[static SIP_AOR_OCTETS + 1]);
	/* May this user register here (a credential is provisioned)? */
	bool (*user)(void *userdata, const char *aor);
	/* May a phone at this address use the gateway? */
	bool (*allowed)(void *userdata, const struct address *source);
	/*
	 * HA1 of a user name in a realm (a domain), in hexadecimal; `username` is alice or alice@example.org. False: no password is
	 * known. NULL instead of a function: phones need no password.
	 */
	bool (*secret)(void *userdata, const char *username, const char *realm, enum sip_digest algorithm,
		       char ret[static SIP_DIGEST_SIZE]);
	/* May `user`, who has shown a password, register the phones of another user (RFC 3261 10.2)? NULL: never. */
	bool (*registrar)(void *userdata, const char *user, const char *aor);
	/* Is this the address of a gateway of another site, which may call our users? NULL: there are none. */
	bool (*peer)(void *userdata, const struct address *source);
	/*
	 * For a TLS connection with a gateway of the overlay, which checks its certificate: that it has this Node-ID, or with
	 * ID_NONE that it is one of the overlay. The caller frees it. NULL instead of a function: there is no TLS between gateways.
	 */
	struct ssl_st *(*peer_ssl)(void *userdata, const struct address *remote, const struct id *node_id, bool server);
};

enum { SIP_TRUNKS = 4 /* ways to telephone numbers */ };

/* A way to telephone numbers; see [trunk NAME] in ringgate.conf(5) for the texts. NULL: not given. Copied. */
struct sip_trunk_settings {
	const char *name, *server, *user, *password_file, *caller_id, *numbers, *incoming;
	bool registers;
};

enum { SIP_SIBLINGS = 8 /* domains of other overlays with the gateway that serves them */ };

/* Calls to this domain, and what phones register for it, go to this address. Copied. */
struct sip_sibling_settings {
	const char *domain; /* in lower case */
	struct address address;
};

struct sip_gateway_settings {
	struct runtime *runtime;
	struct address listen[SIP_LISTENERS]; /* UDP and TCP on each; port 0: any port, the same for both */
	size_t listen_count;
	unsigned expires_min_s, expires_default_s, expires_max_s; /* 0: 60, 3600, 86400 */
	struct address tls_listen[SIP_LISTENERS];		  /* TLS on each; needs the files */
	size_t tls_listen_count;
	const char *tls_certificate, *tls_key; /* PEM; read again when they change. Copied */
	const uint8_t *dialog_key; /* 16 octets that stay the same over restarts, so that calls go on; NULL: random ones */
	struct address peer_listen[SIP_LISTENERS]; /* TLS for gateways of the overlay; needs the event */
	size_t peer_listen_count;
	const char *tls_ca_file; /* PEM: roots for outside domains; NULL: the system's. Copied */
	enum sip_mode mode;
	enum sip_callers callers;
	bool outside_calls; /* anyone may call our users; SIP_MODE_REDIRECT_INSIDE lets them in any case */
	const struct sip_trunk_settings *trunks;
	size_t trunk_count;
	const struct sip_sibling_settings *siblings;
	size_t sibling_count;
	bool names;		  /* names of outside domains are looked up (RFC 3263) */
	const char *name_servers; /* as in struct dns_settings; NULL: the system's */
	unsigned digests;	  /* bits of enum sip_digest that are offered; 0: all there are */
	/* A socket of a former run with this type and address, or negative errno; it is ours then. NULL: there are none. */
	int (*inherit)(void *userdata, int type, const struct address *address);
	void *inherit_userdata;
	/* "gr" of the temporary GRUUs of our phones: the way to this gateway (RFC 7904 6). NULL: other gateways know none. Copied
	 */
	const char *gruu;
};

int sip_gateway_new(const struct sip_gateway_settings *settings, const struct sip_gateway_events *events, struct sip_gateway **ret,
		    char *reason, size_t reason_size);
struct sip_gateway *sip_gateway_free(struct sip_gateway *gateway);

/* Where listener `index` listens, with the port in use. Returns -ENOENT. */
int sip_gateway_address(const struct sip_gateway *gateway, size_t index, struct address *ret);

/* The same of the listeners for TLS. */
int sip_gateway_tls_address(const struct sip_gateway *gateway, size_t index, struct address *ret);

/* The sockets it listens on, for a run to come: at most `max` descriptors, which stay the gateway's. Returns how many. */
size_t sip_gateway_sockets(const struct sip_gateway *gateway, int *fds, size_t max);

/* The same of the listeners for gateways of the overlay. */
int sip_gateway_peer_address(const struct sip_gateway *gateway, size_t index, struct address *ret);

/* Descriptors to wait for; the set changes as TCP connections come and go, so the driver gives a callback. `events` as in epoll. */
typedef void (*sip_watch)(void *userdata, int fd, unsigned events); /* events 0: stop watching; called before close() */
void sip_gateway_set_watch(struct sip_gateway *gateway, sip_watch watch, void *userdata);
void sip_gateway_ready(struct sip_gateway *gateway, int fd, unsigned events);

/*
 * The local Contacts of an AoR, at most `max`, valid until the gateway is called again. Their time to live is what is left of it.
 */
size_t sip_gateway_contacts(const struct sip_gateway *gateway, const char *aor, struct sip_redirect_contact *contacts, size_t max);

/*
 * Puts back what a former run has bound, `expires_s` being what is left. Returns -EINVAL for what no phone could have registered,
 * -EEXIST, -ENOBUFS at the bound, -ENOMEM.
 */
int sip_gateway_restore(struct sip_gateway *gateway, const struct sip_binding_request *request);

struct sip_binding_view {
	const char *aor, *contact, *source;
	unsigned expires_s; /* seconds left */
};
/* Calls back for every local binding. */
void sip_gateway_bindings(const struct sip_gateway *gateway, void (*each)(void *userdata, const struct sip_binding_view *),
			  void *userdata);

/*
 * The same in pieces: calls back for those of users that came after number `after` (0: from the first on) and have `text` in their
 * AoR (NULL: any), until there were `max` or more. Returns the number to go on after, 0 when these were the last. What changes
 * meanwhile shows no binding twice and leaves out none that stays.
 */
uint64_t sip_gateway_bindings_after(const struct sip_gateway *gateway, uint64_t after, const char *text, size_t max,
				    void (*each)(void *userdata, const struct sip_binding_view *), void *userdata);

struct sip_call_view {
	const char *from, *to; /* as in the request, without parameters and passwords */
	const char *state;     /* "placing", "ringing", "talking" */
	uint64_t since_s;
	const char *via, *transport; /* the phone or gateway that rings or has answered; "" while it is being placed */
	const char *call_id;
};

/*
 * The calls this gateway has placed, at most SIP_CALLS_LISTED: the one nothing was heard of for longest goes first. Those it has
 * redirected go past it. `each` may be NULL. Returns how many there are.
 */
size_t sip_gateway_calls(const struct sip_gateway *gateway, void (*each)(void *userdata, const struct sip_call_view *),
			 void *userdata);

struct sip_trunk_view {
	const char *name, *server;
	bool registers;		     /* with it */
	unsigned registered_s;	     /* seconds left of that; 0: it is not */
	const char *error;	     /* what was wrong last time; "" nothing */
	const struct address *hosts; /* where its servers were found, whose calls are taken */
	size_t host_count;
};

/* Calls back for every trunk, in the order in which they are tried. Returns how many there are. */
size_t sip_gateway_trunks(const struct sip_gateway *gateway, void (*each)(void *userdata, const struct sip_trunk_view *),
			  void *userdata);

struct sip_trace_view {
	uint64_t time_ms; /* UTC */
	bool sent;
	const char *transport, *peer;
	const char *start; /* "INVITE sip:bob@example.org", "200 OK"; without passwords, as the others */
	const char *from, *to, *call_id, *cseq;
	size_t octets;
};

/*
 * Messages received and sent from number `after` on, of those at most `max` that have `aor` (NULL: any) in From, To or Request-URI.
 * *ret_after is for the next call, *ret_lost how many there were no more. They are kept from the first call on until
 * SIP_TRACE_SECONDS after the last one. -ENOMEM.
 */
int sip_gateway_trace(struct sip_gateway *gateway, uint64_t after, const char *aor, size_t max,
		      void (*each)(void *userdata, const struct sip_trace_view *view), void *userdata, uint64_t *ret_after,
		      uint64_t *ret_lost);

/* The number the next message will have. */
uint64_t sip_gateway_trace_now(const struct sip_gateway *gateway);

/* responses_* count what was sent, repetitions included; dropped: refused by a bound, responses of others, what could not be sent.
 */
struct sip_figures {
	uint64_t requests, responses_2xx, responses_3xx, responses_4xx, responses_5xx, malformed, dropped, bindings,
		tcp_connections, challenges, auth_failures;
	uint64_t outside_refused;   /* requests of strangers beyond what they may send */
	uint64_t keep_alives;	    /* of phones, answered by STUN */
	uint64_t retargets_refused; /* branches to hosts that do not answer */
	uint64_t repeated;	    /* REGISTERs that said what the one before said */
	uint64_t kept;		    /* of these, with a record in the overlay that would last */
	uint64_t callers_refused;   /* calls in the name of somebody else */
	uint64_t answers;	    /* responses to our requests */
	uint64_t proxied;	    /* requests placed on behalf of others */
	uint64_t forks;		    /* branches of them */
	uint64_t clients;	    /* client transactions now */
	uint64_t proxies;	    /* requests being placed now */
	uint64_t shed;		    /* refused because more requests came than could be served */
	uint64_t overloads;	    /* how often that began */
	uint64_t waited_us;	    /* how long the last request had to wait before it was looked at */
	bool overloaded;	    /* now */
};
void sip_gateway_figures(const struct sip_gateway *gateway, struct sip_figures *ret);
