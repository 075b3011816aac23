/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All links of a node behind one struct transport: DTLS over UDP, TLS over TCP, or both, in one space of slots.
 *
 * Where a connect() has candidates of both kinds, DTLS goes first, because only its messages do not wait for each other and only
 * they take the kernel's fast path. TLS follows LINKS_HEAD_START_MS later unless the other side has answered by then; the first one
 * to come up is the link and the other one is given up. Where UDP has lost such races and won none since, or the first candidate is
 * one for TLS, it gets less of a start.
 */
#pragma once

#include "link/dtls.h"
#include "link/tls.h"

struct links;

enum {
	LINKS_HEAD_START_MS = 1500,
	LINKS_HEAD_START_DOUBTED_MS = 200, /* after LINKS_DOUBTS races lost by UDP in a row */
	LINKS_DOUBTS = 2,
	LINKS_ANSWERED_MS = 3000, /* once more before TLS is tried, when DTLS has been answered */
};

enum links_protocols { LINKS_DTLS = 1, LINKS_TLS = 2, LINKS_ALL = LINKS_DTLS | LINKS_TLS };

/* `dtls` holds what both share. Of `protocols`, those not in it are not opened. `reason` receives one sentence. */
int links_new(const struct dtls_settings *dtls, unsigned protocols, const struct transport_events *events, struct links **ret,
	      char *reason, size_t reason_size);
struct links *links_free(struct links *links);
struct transport links_transport(struct links *links);

/* The two halves; NULL when not opened. */
struct dtls_links *links_dtls(struct links *links);
struct tls_links *links_tls(struct links *links);

/* Descriptors to poll for reading, and for writing while links_want_write(); at most LINKS_FDS. */
enum { LINKS_FDS = 3 };
size_t links_fds(const struct links *links, int *fds, size_t max);
bool links_want_write(const struct links *links);
bool links_receive(struct links *links, int fd);
void links_flush(struct links *links);

/* As in link/dtls.h. */
void links_recheck(struct links *links);
int links_set_credential(struct links *links, struct credential *credential);
int links_set_secret(struct links *links, const char *secret, char *reason, size_t reason_size);
struct address links_local(const struct links *links);

/* Zeros for what is not opened. */
const struct dtls_counters *links_dtls_counters(const struct links *links);
const struct tls_counters *links_tls_counters(const struct links *links);
