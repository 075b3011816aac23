/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is there another machine with the identity of this node: a copy of its disk, or the box it replaced? Asked over every link that
 * comes up before the node is in the overlay; if somebody else answers for our Node-ID, the node ends and stays out, for two of
 * them would take each other's links and records away. Whoever is in the overlay already stays.
 */
#pragma once

#include "node/node.h"

#include <errno.h>

enum {
	TWIN_QUESTIONS_MAX = 16,    /* at once; links beyond go without */
	TWIN_ECHO_US = 1 * 1000000, /* for both ends of a link to ourselves to come up */
	TWIN_EXIT = -ENOTUNIQ,	    /* what the event loop ends with */
};

struct twin;

int twin_new(struct node *node, struct twin **ret);
struct twin *twin_free(struct twin *twin);
