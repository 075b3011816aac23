/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of node.c share. `reason` holds NODE_REASON_SIZE octets and receives a phrase or a sentence on failure. */
#pragma once

#include "node/node.h"

struct handover;

/* Writes the reason; returns `error`. */
int node_fail(char *reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Parts return phrases or sentences; the operator reads sentences. Returns `error`. */
int node_finish_reason(char *reason, int error);

/* Document, trust, credential, shared secret and users, from the files of the settings. */
int node_load_identity(struct node *node, char *reason);
/* Is this a client of an overlay that permits none (B-11.1-14)? */
bool node_excludes_client(const struct settings *settings, const struct overlay_config *config);

/* sip_glue and sip. What phones held open with a former process comes out of `handover`. */
int node_open_sip(struct node *node, struct handover *handover, char *reason);

/* Everything is open: waits for it on the event loop. */
int node_open_event_sources(struct node *node);
/*
 * Runs after every round of events: what they wrote is committed, what they want to send leaves, and the loop sleeps until the next
 * timer of the overlay code.
 */
int node_settle(struct node *node);
