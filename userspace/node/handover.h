/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIP sockets that outlive the daemon: the service manager holds a copy of each (its file descriptor store), so that what phones
 * send while one daemon ends and the next one starts waits in the socket instead of being refused. A service manager without a
 * store, or none, changes nothing: then sockets are opened anew.
 */
#pragma once

#include "node/settings.h"

struct handover;

enum {
	HANDOVER_SOCKETS_MAX = 16,    /* FileDescriptorStoreMax= of the unit; more are closed */
	HANDOVER_BARRIER_US = 5000000 /* for the service manager to let go of a socket whose address is needed */
};

/*
 * Takes over what the service manager passed. Sockets that fit no address of the settings are closed, and the service manager lets
 * go of all of its own then, before anything is opened. -ENOMEM.
 */
int handover_new(const struct settings *settings, struct handover **ret);

/* Closes what nobody has taken. */
struct handover *handover_free(struct handover *handover);
DEFINE_CLEANUP(struct handover *, handover_free)

/*
 * The socket of this type (SOCK_DGRAM, SOCK_STREAM) bound to this address; the caller owns it then. -ENOENT. `handover` is a struct
 * handover or NULL.
 */
int handover_take(void *handover, int type, const struct address *address);

/* How many were passed and fit. */
size_t handover_count(const struct handover *handover);

/* The service manager lets go of all: who sends to them is to be refused. */
void handover_forget(void);

/* Gives copies to the service manager, for the next daemon. */
void handover_keep(const int *fds, size_t count);
