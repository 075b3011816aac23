/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the proxy share: one request being placed, and its branches (RFC 3261 16.2 "response context"). */
#pragma once

#include "sip/proxy.h"
#include "sip/trunk.h"

/* SPARE: another way to the device of a branch, in case there is no way any more for that one. */
enum branch_state { BRANCH_WAITING, BRANCH_ACTIVE, BRANCH_DONE, BRANCH_SPARE };

struct branch {
	struct sip_proxy *proxy;
	enum branch_state state;
	char *uri;	      /* Request-URI */
	const char *routes;   /* owned: whole Route lines, NULL: those of the request */
	const char *instance; /* owned: the device, or NULL */
	bool registered;      /* with us */
	bool gateway;	      /* of another site */
	bool waited;	      /* for by sip_retarget_take() */
	struct sip_hop hop;
	struct sip_hop *others; /* owned: to be tried in turn when this one fails (RFC 3263 4.3) */
	size_t other_count, others_tried;
	int q;			   /* thousandths */
	struct sip_client *client; /* NULL: has none, or it is of no interest any more */
	bool tried;		   /* to send it */
	bool heard;		   /* a provisional answer */
	struct sip_trunk *trunk;   /* it goes there, or NULL */
	bool again;		   /* it was asked for a password, and is sent once more */
	char *authorization;	   /* owned: header line that answers the trunk's question for a password, or NULL */
	bool cancel;		   /* as soon as there is a provisional answer */
	unsigned status;	   /* of the final answer */
	struct octets response;	   /* owned: that answer; none when it is ours (408, 503) */
	struct timer timer;	   /* timer C */
	struct branch *previous, *next_branch;
};

struct sip_proxy {
	struct sip_gateway *gateway;
	struct sip_transaction *transaction; /* NULL once it is gone */
	struct call_record *record;	     /* in the list of calls, or NULL */
	struct octets request;		     /* owned */
	char *routes;			     /* owned: whole Route lines */
	char *aor;			     /* owned: the user it is for, else NULL */
	struct sip_gruu gruu;		     /* and which device */
	struct sip_flow flow;		     /* it came over */
	uint64_t loop_hash;
	unsigned max_forwards, breadth;
	bool invite, recorded, secure;
	uint32_t cseq;
	bool dialog;			    /* it belongs to one that we recorded, in which ... */
	enum sip_numbering numbering;	    /* ... it is numbered like that */
	bool numbered;			    /* it has another number somewhere */
	bool raised;			    /* and again another one there; counted in raised_count */
	bool vouched;			    /* by a trunk or a gateway of the overlay, for what stands in P-Asserted-Identity */
	bool answered, cancelled, refused;  /* final answer sent; CANCEL came; 6xx came */
	struct sip_trunk *trunk;	    /* branches that are added go there */
	struct sip_sibling *registrar;	    /* it is a REGISTER for the users of that one, or NULL */
	bool direct;			    /* ... and came from the phone without another proxy in between */
	char number[SIP_TRUNK_NUMBER];	    /* that was dialled; "" for none */
	struct placing *placing;	    /* list: names being looked up */
	struct sip_call *call;		    /* the look-up under way */
	unsigned call_status, call_retry_s; /* how it ended without a Contact */
	unsigned busy;			    /* starting branches, which may fail at once */
	struct branch *branches;
	size_t branch_count, held; /* octets */
	struct sip_proxy *previous, *next;
};

/* --- branch.c --- */

/*
 * Adds a branch that waits; of several places (at least one), each is tried when those before it have failed. Returns -EEXIST for a
 * URI that has one already, -ENOBUFS beyond SIP_FORKS, -ENOMEM.
 */
int branch_add(struct sip_proxy *proxy, const char *uri, const struct sip_hop *hops, size_t count, int q);
struct branch *branch_free(struct branch *branch);

/* Sends the request. The branch is active, or done at once with 503. */
void branch_start(struct branch *branch);
void branch_cancel(struct branch *branch);

/* --- proxy.c: what branches report --- */

void proxy_provisional(struct branch *branch, const struct sip_frame *frame);
void proxy_accepted(struct branch *branch, const struct sip_frame *frame);
void proxy_finished(struct branch *branch);  /* status and response are set */
void proxy_proceed(struct sip_proxy *proxy); /* starts what can be started, answers when all is known */
void proxy_call_lost(void *work);	     /* the gateway ends while a look-up is under way */
void proxy_raise(struct sip_proxy *proxy);
void proxy_release(struct sip_proxy *proxy); /* frees it when nothing is left to be done */

/* --- trace.c: the list of calls --- */

void sip_calls_placed(struct sip_proxy *proxy, const struct sip_request *request);
void sip_calls_heard(const struct branch *branch, unsigned status);
void sip_calls_released(struct sip_proxy *proxy);

/* --- place.c: where a request is to go --- */

/* Adds the branches, or begins to look them up. Returns 0, or the status to refuse with. */
unsigned place_request(struct sip_proxy *proxy, const struct sip_request *request, enum sip_trust trust, const char **ret_reason);

/* The number goes on to the next trunk that takes it. False: there is none, or nobody waits for it. */
bool place_next_trunk(struct sip_proxy *proxy);
bool place_has_next_trunk(const struct sip_proxy *proxy);

/* A place that is being looked up by name will not be needed. */
struct placing *placing_free(struct placing *placing);

/* May a request that came over this flow go to that place? */
bool place_allowed(const struct sip_gateway *gateway, const struct sip_flow *from, const struct sip_hop *hop);

/* Is this a telephone number that a trunk takes, and no user of ours? */
bool place_is_number(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
		     char number[static SIP_TRUNK_NUMBER]);

/* The Request-URI as it is to go on; owned by the caller, NULL without memory. */
char *place_request_uri(const struct sip_request *request);

/*
 * Towards the first Route: the URI of where that is, and what stands in the Request-URI and in Route then; all three are owned by
 * the caller.
 */
int place_follow_route(const struct sip_request *request, osip_uri_t **ret_next, char **ret_uri, char **ret_routes);
