/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIP trunks: the way to telephone numbers. Phones of the site that dial a number which fits a trunk's patterns are connected
 * through it, the gateway answering its questions for a password; calls that come from it go to the users its numbers stand for.
 */
#pragma once

#include "sip/proxy.h"

enum {
	SIP_TRUNK_NUMBER = 32,		 /* octets of a telephone number with its final zero (E.164 has 15 digits) */
	SIP_TRUNK_HOSTS = 8,		 /* addresses of a trunk's servers that are remembered; the one first seen goes */
	SIP_TRUNK_RETRY_SECONDS = 30,	 /* until a registration that failed is tried again */
	SIP_TRUNK_EXPIRES_SECONDS = 600, /* asked for; renewed after three quarters of what was granted */
};

struct sip_trunk;

/* Reads the settings. -EINVAL and `reason` for what is none, or what reading the password file gave. */
int sip_trunks_open(struct sip_gateway *gateway, const struct sip_trunk_settings *settings, size_t count, char *reason,
		    size_t reason_size);
void sip_trunks_close(struct sip_gateway *gateway);

/* What was dialled, without visual separators, when it is a telephone number: a tel URI, or the user of a SIP URI (RFC 3966 3). */
bool sip_trunk_number(const osip_uri_t *uri, char ret[static SIP_TRUNK_NUMBER]);

/* The first trunk for the number from the one with this index on; `uri` is then how it wants to be asked. NULL: there is none. */
struct sip_trunk *sip_trunk_for(struct sip_gateway *gateway, const char *number, size_t first, char uri[static SIP_CONTACT_OCTETS]);
bool sip_trunk_has_password(const struct sip_trunk *trunk); /* so that it may ask for it */
size_t sip_trunk_index(const struct sip_trunk *trunk);
const osip_uri_t *sip_trunk_server(const struct sip_trunk *trunk);

/* The servers of a trunk were looked up: calls may come from there. */
void sip_trunk_found(struct sip_trunk *trunk, const struct sip_hop *hops, size_t count);

/* The trunk that has a server at this host, or NULL. */
struct sip_trunk *sip_trunk_at(const struct sip_gateway *gateway, const struct address *host);

/* Who is called by what the trunk says: the user of the Request-URI, else of To. NULL: nobody. */
const char *sip_trunk_user(const struct sip_trunk *trunk, const struct sip_request *request);

/* A header line that says who calls; "" without. */
const char *sip_trunk_caller(const struct sip_trunk *trunk, char text[static SIP_CONTACT_OCTETS]);

/*
 * Writes the header line that answers the question for a password in a response with status 401 or 407 to a request of this method
 * and URI. -ENOKEY: there is no password; -EBADMSG: no question that we can answer.
 */
int sip_trunk_authorize(struct sip_trunk *trunk, const struct sip_frame *response, const char *method, const char *uri,
			struct writer *w);

/* Is it registered? Seconds left, 0: no. */
unsigned sip_trunk_registered(const struct sip_trunk *trunk);
