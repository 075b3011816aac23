/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Getting into the overlay and staying in one piece: bootstrap peers are tried in turn with growing pauses (B-11.4-01), directly
 * connected peers are remembered for the next start (B-11.4-02), and partitions are looked for through bootstrap peers
 * (B-10.7.4-04).
 */
#pragma once

#include "node/node.h"

int join_new(struct node *node, struct join **ret);
struct join *join_free(struct join *join);

/* Starts to join; the explicitly first node starts the overlay when nobody answers (B-4.5.2-01). */
void join_start(struct join *join);
void join_state_changed(struct join *join, enum topology_state state);

/* The node is about to leave: no more attempts, and the peers of now are remembered. */
void join_leaving(struct join *join);

/* The topology lost everybody (B-10.7.1-04). */
void join_bootstrap_wanted(struct join *join);
