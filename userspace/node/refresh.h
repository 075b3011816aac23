/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asks the configuration server for a newer document, at random times before the one in force expires (B-11.1-03), at least once a
 * day, and when other nodes have a newer one that does not come. "ringgatectl configuration fetch" does it, in a process of its
 * own, and hands what it gets to the control socket.
 */
#pragma once

#include "node/node.h"

enum {
	REFRESH_DAY_S = 86400,	  /* longest pause */
	REFRESH_PAUSE_MIN_S = 60, /* shortest, also when others have a newer document */
	REFRESH_RETRY_S = 300,	  /* after the first failure; doubles with each one up to REFRESH_RETRY_MAX_S */
	REFRESH_RETRY_MAX_S = 14400,
	REFRESH_LIMIT_S = 180, /* for one run of the helper */
};

int refresh_new(struct node *node, struct refresh **ret);
struct refresh *refresh_free(struct refresh *refresh);

/* Others have a newer document: asks soon. */
void refresh_soon(struct refresh *refresh);

/* The time of the next question follows the document in force. */
void refresh_configuration_changed(struct refresh *refresh);

/* What to ask: an overlay name or an https URL; NULL when there is no server to ask. */
const char *refresh_server(const struct refresh *refresh);

struct refresh_figures {
	uint64_t asked, failed;
	uint64_t next_s;	  /* until the next question; 0: never */
	const char *last_failure; /* a sentence; "" after a success */
};
struct refresh_figures refresh_figures(const struct refresh *refresh);

/* Seconds until the next question for a document that expires in `left_ms` (UINT64_MAX: never), after `failures` in a row. */
uint64_t refresh_pause_s(const struct runtime *runtime, uint64_t left_ms, unsigned failures);
