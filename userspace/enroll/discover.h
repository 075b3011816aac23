/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding the configuration server of an overlay by its name (RFC 6940 11.2): the SRV records of _reload-config._tcp.NAME. Waits
 * for the answer; for a process of its own, not for the daemon's loop.
 */
#pragma once

#include "base/runtime.h"

#include <stdint.h>

enum {
	DISCOVER_TARGETS_MAX = 8,  /* in their order; more are left out */
	DISCOVER_RECORDS_MAX = 64, /* of one answer that are looked at */
	DISCOVER_SECONDS = 10,	   /* for the answer */
	DISCOVER_HOST_SIZE = 256,
	DISCOVER_REASON_SIZE = 256,
};

struct discover_target {
	char host[DISCOVER_HOST_SIZE];
	uint16_t port, priority, weight;
};

/*
 * `targets` in the order they are to be tried. 0 also without any SRV record, with *ret_count 0: then the name itself is the host.
 * -ENODATA: the domain says that there is no such service (a target of "."). -EINVAL the name is none, -ETIMEDOUT, -EIO; `reason`
 * receives a phrase. After the last two the name itself may be tried as well.
 */
int discover(const char *overlay_name, struct runtime *runtime, struct discover_target targets[static DISCOVER_TARGETS_MAX],
	     size_t *ret_count, char reason[static DISCOVER_REASON_SIZE]);

/* RFC 2782: by priority, and at random among equals, in proportion to their weights. */
void discover_order(struct runtime *runtime, struct discover_target *targets, size_t count);

/* Letters, digits, hyphens, underscores and dots, as in the name of a host. */
bool discover_name_usable(const char *name);
