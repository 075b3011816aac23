/* SPDX-License-Identifier: BSD-2-Clause */
/* Joins the SIP gateway to the overlay: bindings become stored registrations, look-ups become fetches. */
#pragma once

#include "node/location.h"
#include "node/node.h"
#include "node/phones.h"

int sip_glue_new(struct node *node, struct sip_glue **ret);

/* Questions that are still open are answered 503; call after node_stop(). */
struct sip_glue *sip_glue_free(struct sip_glue *glue);
DEFINE_CLEANUP(struct sip_glue *, sip_glue_free)

/* Gives the gateway back what a former run had registered. To be called before the loop runs. */
int sip_glue_open(struct sip_glue *glue, char reason[static NODE_REASON_SIZE]);

/* After a round of events: writes what was registered, then answers the phones. */
bool sip_glue_commit_wanted(const struct sip_glue *glue);
void sip_glue_commit(struct sip_glue *glue);

/* The node is in the overlay. */
void sip_glue_joined(struct sip_glue *glue);

struct phones_figures sip_glue_phones(const struct sip_glue *glue);

/* What became of questions where a user is. */
struct location_figures sip_glue_lookups(const struct sip_glue *glue);

/* The AoR that is meant by one of a domain that stands for the overlay's ([sip] domains); others stay as they are. */
void sip_glue_canonical(const struct sip_glue *glue, char aor[static SIP_AOR_OCTETS + 1]);

struct sip_gateway_events sip_glue_events(struct sip_glue *glue);
