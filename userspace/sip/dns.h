/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names and what the DNS says of them, for RFC 3263: NAPTR, SRV, A and AAAA records, asked of the system's name servers through
 * c-ares on the sockets of the gateway's own loop, and kept for as long as they say.
 */
#pragma once

#include "base/address.h"
#include "base/octets.h"
#include "base/runtime.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	DNS_NAME_SIZE = 256,	    /* of a name with its final zero; longer ones do not exist (RFC 1035 2.3.4) */
	DNS_RECORDS = 16,	    /* of one answer; further ones are left out */
	DNS_QUERIES = 256,	    /* under way; more: -ENOBUFS */
	DNS_WAITING = 4096,	    /* who waits for them; more: -ENOBUFS */
	DNS_ENTRIES = 2048,	    /* answers kept; the one asked for longest ago goes */
	DNS_SECONDS = 5,	    /* until a question without answer has failed */
	DNS_TTL_MAX_SECONDS = 3600, /* most that records are kept */
	DNS_NEGATIVE_SECONDS = 60,  /* most that "there is none" is kept */
	DNS_FAILURE_SECONDS = 5,    /* that no name server answered */
	DNS_ALIASES = 8,	    /* CNAMEs followed within an answer */
};

enum dns_type { DNS_A = 1, DNS_AAAA = 28, DNS_SRV = 33, DNS_NAPTR = 35 };

struct dns_record {
	uint16_t order, preference; /* NAPTR; priority and weight of SRV */
	uint16_t port;		    /* SRV */
	char service[16], flags[4]; /* NAPTR, in upper case; empty when they are longer: nothing that we know */
	bool regexp;		    /* NAPTR: has one */
	char name[DNS_NAME_SIZE];   /* target of SRV, replacement of NAPTR; "" for the root, in lower case */
	struct address address;	    /* A, AAAA; port 0 */
};

/* What is known of a name. Without records there are none of this type (NXDOMAIN or not), when `error` is 0. */
struct dns_answer {
	int error; /* -EAGAIN: no name server answered, or none that knows */
	unsigned ttl_s;
	size_t count;
	struct dns_record records[];
};

/* --- dns_message.c --- */

/*
 * The records of `type` that a response has for `name`, its aliases followed. NXDOMAIN is an answer without records, and its ttl
 * that of the SOA record, which comes with it (RFC 2308 5). -EBADMSG for what is no response to that question, -EAGAIN for one that
 * says that the server cannot tell, -ENOMEM.
 */
int dns_answer_parse(struct octets message, const char *name, enum dns_type type, struct dns_answer **ret);

/* --- dns.c --- */

struct dns;

struct dns_settings {
	struct runtime *runtime;
	const char *servers; /* "192.0.2.53,198.51.100.53:5353"; NULL: those of /etc/resolv.conf, read again when it changes */
	void *userdata;
	void (*watch)(void *userdata, int fd, unsigned events); /* as sip_watch */
};

int dns_new(const struct dns_settings *settings, struct dns **ret);
struct dns *dns_free(struct dns *dns); /* nobody is told any more */

/* A descriptor of ours? Then what is ready there is done. */
bool dns_ready(struct dns *dns, int fd, unsigned events);

/* All descriptors are watched anew. */
void dns_watch_again(struct dns *dns);

typedef void (*dns_done)(void *userdata, const struct dns_answer *answer);
struct dns_question;

/*
 * Asks; `done` is called once, never from within, unless the question is dropped before. The answer is valid within that call only.
 * -EINVAL for what cannot be a name, -ENOBUFS at a bound, -ENOMEM.
 */
int dns_ask(struct dns *dns, const char *name, enum dns_type type, dns_done done, void *userdata, struct dns_question **ret);
struct dns_question *dns_question_free(struct dns_question *question);

/* What is known without asking; NULL when it is not. Valid until the resolver is called again. */
const struct dns_answer *dns_known(struct dns *dns, const char *name, enum dns_type type);

struct dns_figures {
	uint64_t hits, queries, failures;
	size_t entries;
};
struct dns_figures dns_figures(const struct dns *dns);
