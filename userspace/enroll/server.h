/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The HTTPS side of enrollment (RFC 6940 11.2, 11.3): GET /.well-known/reload-config and POST /enroll, for the overlay that the
 * Host header names. One thread speaks with all clients; password hashes are computed by a few workers behind a bounded queue, so
 * that the other clients do not wait. Where a limit is hit: connections beyond their number are closed, a full queue is answered
 * 503, too large an upload 413, too many wrong passwords from an address 429, and a connection that is not done in time is closed.
 */
#pragma once

#include "enroll/enroll_settings.h"

enum {
	SERVER_BODY_MAX = 32768,	  /* octets of a form */
	SERVER_CONNECTION_MEMORY = 65536, /* octets a connection may take, its headers included */
	SERVER_IDLE_S = 10,		  /* without a single octet; then the connection is closed */
	SERVER_HURRY = 5,		  /* while more than three quarters of the connections are taken, they may last a fifth */
};

struct server;

/* A listening TCP socket; to be opened before privileges are given up. */
int server_listen(const struct address *address, int *ret_fd, char reason[static ENROLL_REASON_SIZE]);

/* Takes `listen_fd` on success. Threads run from here on. `settings` must outlive the server. */
int server_new(const struct enroll_settings *settings, int listen_fd, struct server **ret, char reason[static ENROLL_REASON_SIZE]);

/* Finishes what is in the queue, then wipes keys. */
struct server *server_free(struct server *server);
DEFINE_CLEANUP(struct server *, server_free)

/* To be called about once a second: closes connections that take too long. */
void server_tick(struct server *server);
