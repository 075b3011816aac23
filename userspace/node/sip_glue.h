/* SPDX-License-Identifier: BSD-2-Clause */
/* Joins the SIP gateway to the overlay: bindings become stored registrations, look-ups become fetches. */
#pragma once

#include "node/location.h"
#include "node/node.h"

int sip_glue_new(struct node *node, struct sip_glue **ret);

/* Questions that are still open are answered 503; call after node_stop(). */
struct sip_glue *sip_glue_free(struct sip_glue *glue);
DEFINE_CLEANUP(struct sip_glue *, sip_glue_free)

/* What became of questions where a user is. */
struct location_figures sip_glue_lookups(const struct sip_glue *glue);

struct sip_gateway_events sip_glue_events(struct sip_glue *glue);
