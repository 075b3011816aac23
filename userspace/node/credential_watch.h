/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates that somebody puts into place while the daemon runs, such as "ringgatectl enroll --users". */
#pragma once

#include "node/node.h"

enum {
	CREDENTIAL_WATCH_MAX = 8192,	  /* changed pairs that wait; more: a warning, and they wait for the next start */
	CREDENTIAL_WATCH_SETTLE_MS = 500, /* from the last change until pairs are looked at: the other file comes with it */
	CREDENTIAL_WATCH_AT_ONCE = 8,	  /* pairs looked at before the loop has its turn again */
};

struct credential_watch;

/* `stem`: the path of a certificate without ".crt"; it or its key is new. */
typedef void (*credential_watch_changed)(void *userdata, const char *stem);

/* Watches the directory of the node's certificate and the users directory, which is made when it is missing. */
int credential_watch_new(struct node *node, credential_watch_changed changed, void *userdata, struct credential_watch **ret);
struct credential_watch *credential_watch_free(struct credential_watch *watch);
