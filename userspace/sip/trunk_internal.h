/* SPDX-License-Identifier: BSD-2-Clause */
/* What trunk.c and trunk_register.c share. */
#pragma once

#include "sip/trunk.h"

enum { TRUNK_RULES = 32 };

struct trunk_rule {
	char from[64], to[SIP_AOR_OCTETS + 1];
};

struct sip_trunk {
	struct sip_gateway *gateway;
	size_t index;
	char name[32];
	osip_uri_t *server;
	char *text;			   /* of `server`, as it was given */
	char *user, *password, *caller_id; /* NULL without */
	struct trunk_rule numbers[TRUNK_RULES], incoming[TRUNK_RULES];
	size_t number_count, incoming_count;
	struct address hosts[SIP_TRUNK_HOSTS];
	size_t host_count;

	/* trunk_register.c */
	bool registers;
	struct timer timer;
	struct sip_locate *locate;
	struct sip_client *client;
	struct sip_hop hops[SIP_TARGETS];
	size_t hop_count, hop_tried;
	struct sip_flow flow;
	uint64_t call_id, until_us; /* registered until */
	uint32_t cseq;
	bool authorized; /* the question for the password was answered */
	bool failing;	 /* that was said */
	char error[64];	 /* why; "" it is not */
};

void trunk_register_init(struct sip_trunk *trunk);
void trunk_register_end(struct sip_trunk *trunk);
