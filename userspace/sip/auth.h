/* SPDX-License-Identifier: BSD-2-Clause */
/* Digest authentication (RFC 3261 22, RFC 7616, RFC 8760), within this folder. */
#pragma once

#include "sip/gateway.h"

struct sip_nonce; /* one that was used */
struct sip_request;
struct sip_transaction;

struct sip_failures {
	uint64_t tag;	   /* keyed hash of a source address */
	uint64_t level_us; /* when the failures so far will be forgotten */
};

enum { SIP_FAILURE_SETS = 256, SIP_FAILURE_WAYS = 4 };

struct sip_auth {
	bool on;
	uint64_t nonce_key[2], failure_key[2];
	uint64_t serial;	  /* of the last nonce that was handed out */
	uint64_t floor;		  /* nonces up to this serial are stale unless they are in `nonces` */
	struct sip_nonce *nonces; /* by serial, the first used first */
	struct digest *digests[SIP_DIGESTS];
	struct sip_failures failures[SIP_FAILURE_SETS][SIP_FAILURE_WAYS];
};

/* Is this field with credentials for one of our domains? Nobody else has any business with it. */
bool sip_credentials_ours(struct sip_gateway *gateway, struct octets value);

int sip_auth_open(struct sip_gateway *gateway, unsigned offered);
void sip_auth_close(struct sip_gateway *gateway);

/*
 * Who asks? True with `user` set to the AoR whose password was used, of the domain `realm`; otherwise the request was answered,
 * with 401 or, for a proxy, 407. To be asked only when gateway->auth.on.
 */
bool sip_authenticate(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
		      const char *realm, bool proxy, char user[static SIP_AOR_OCTETS + 1]);
