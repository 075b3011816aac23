/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections between the SIP gateways of an overlay (RFC 7904 5, RFC 6940 6.5.2): AppAttach tells each side where the other one
 * takes SIP. As in Attach of an overlay without ICE, candidates are host addresses; overlay link type 3 (datagrams) stands for SIP
 * over UDP and 4 (streams) for SIP over TCP, and for TLS with application 5061.
 */
#pragma once

#include "forward/router.h"

enum {
	SIP_APPLICATION = 5060,
	SIPS_APPLICATION = 5061,
	SIP_PLACES_MAX = 8,		   /* addresses of one gateway; more are left out */
	SIP_ATTACH_PEERS = 1024,	   /* gateways remembered; the one not heard of for the longest time goes */
	SIP_ATTACH_WAITING = 1024,	   /* look-ups that wait for an answer; more: -ENOBUFS */
	SIP_ATTACH_CACHE_SECONDS = 300,	   /* until a gateway is asked again where it is */
	SIP_ATTACH_FAILURE_SECONDS = 15,   /* a gateway that did not answer is not asked again */
	SIP_ATTACH_ALLOWED_SECONDS = 3600, /* requests from its addresses are taken after it told them; renewed each time */
};

struct sip_place {
	struct address address;
	bool stream; /* TCP, or TLS for application 5061; else UDP */
};

struct sip_attach_settings {
	struct router *router;
	void *userdata;
	/* Where we take SIP of this application; 0: not offered. */
	size_t (*places)(void *userdata, uint16_t application, struct sip_place *out, size_t max);
};

struct sip_attach;

int sip_attach_new(const struct sip_attach_settings *settings, struct sip_attach **ret);
struct sip_attach *sip_attach_free(struct sip_attach *attach); /* look-ups end with -ECANCELED */

/* error: 0, -ENOENT it does not offer the application, -ELOOP it is this node, -EHOSTUNREACH, -ECANCELED. Never called from within.
 */
typedef void (*sip_attach_done)(void *userdata, int error, const struct sip_place *places, size_t count);

/* Where the gateway at the end of an encoded destination list takes SIP. -EINVAL for a list that names no node, -ENOBUFS, -ENOMEM.
 */
int sip_attach_find(struct sip_attach *attach, struct octets destination_list, uint16_t application, sip_attach_done done,
		    void *userdata);

/* The node at the end of an encoded destination list. -EINVAL for a list that names none. */
int sip_attach_node(const struct sip_attach *attach, struct octets destination_list, struct id *ret);

/* Has a gateway of the overlay told that it takes SIP at this host? */
bool sip_attach_knows(const struct sip_attach *attach, const struct address *source);
