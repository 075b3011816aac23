/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certificates of this node and its users: got at the first start, renewed in time, put in place without a restart.
 *
 * "ringgatectl enroll" does the work, a process of its own for each certificate (node/helper.h). So the daemon, which strangers
 * talk to, has neither an HTTPS client nor a resolver nor the password in its memory, what a server answers is parsed elsewhere,
 * and a name server that does not answer holds up nobody. The daemon judges what the helper installed as it judges every
 * certificate.
 */
#pragma once

#include "node/node.h"

enum {
	ENROLLER_LIMIT_S = 300,	     /* for one run of the helper */
	ENROLLER_PAUSE_FIRST_S = 10, /* after a failure; doubles */
	ENROLLER_PAUSE_LAST_S = 21600,
	ENROLLER_PAUSE_LEAST_S = 5,    /* when a certificate is about to end */
	ENROLLER_LOOK_S = 3600,	       /* at the clock, at least this often: it may be set */
	ENROLLER_WAITING_MAX = 64,     /* users waiting for their first certificate; more: -EAGAIN */
	ENROLLER_USERS_PER_HOUR = 120, /* first certificates of users asked for by phones; more: -EAGAIN */
	ENROLLER_REFUSED_MAX = 256,    /* names that got none, remembered for ENROLLER_REFUSED_S; the oldest go */
	ENROLLER_REFUSED_S = 300,
	ENROLLER_REASON_SIZE = 256,
};

struct enroller;

int enroller_new(struct node *node, struct enroller **ret);
struct enroller *enroller_free(struct enroller *enroller);
void enroller_start(struct enroller *enroller);

/* Seconds until the next attempt after `failures` in a row, when the certificate is good for `left_ms` more. Half of it is chance.
 */
uint64_t enroller_pause_s(const struct runtime *runtime, unsigned failures, uint64_t left_ms);

/* Is it the domain of our own account, whose users may get certificates by registering? */
bool enroller_serves_domain(const struct enroller *enroller, const char *domain);

/* May a user of that name get a certificate by registering a phone? */
bool enroller_takes_user(const struct enroller *enroller, const char *aor);

/*
 * Gets a certificate for a user that has none. `done`, never called from within, has 0 when users_find() knows the user now.
 * -EAGAIN: too many, or this one was refused a short while ago.
 */
typedef void (*enroller_user_done)(void *userdata, int error);
int enroller_get_user(struct enroller *enroller, const char *aor, enroller_user_done done, void *userdata);

struct enroller_figures {
	bool configured;		      /* the node renews by itself */
	uint64_t not_after_ms;		      /* of the node's certificate */
	uint64_t due_ms;		      /* its next attempt; 0: none */
	uint64_t users_not_after_ms;	      /* of the user's that ends first; 0: no user */
	size_t users_waiting, users_expiring; /* for the first one; past two thirds of its life */
	uint64_t renewed, enrolled, failed;
	const char *last_failure; /* of the node's own; "" after a success */
};
struct enroller_figures enroller_figures(const struct enroller *enroller);

/* ---- before there is a node ---- */

/* What a start has to do first. */
enum enrollment_need { ENROLLMENT_NEED_NOTHING, ENROLLMENT_NEED_FIRST, ENROLLMENT_NEED_RENEWAL };

/* Nothing without user in [enroll]. `now_ms` UTC. `why` receives a sentence when there is something to do. */
enum enrollment_need enrollment_need(const struct settings *settings, uint64_t now_ms, char why[static ENROLLER_REASON_SIZE]);

/*
 * Completes what an earlier installation left, waits while the clock is before the node's own certificate, then enrolls or renews
 * if that is needed, trying again until it succeeds or `*stop` is set by an event of the loop. 0, -ECANCELED, or what the loop
 * gave; `reason` receives one sentence.
 */
int enrollment_first(const struct settings *settings, sd_event *event, const bool *stop, char reason[static NODE_REASON_SIZE]);

/* ---- the command ---- */

struct enroll_command {
	const char *arguments[32];
	size_t count;
	char stem[PATH_MAX], number[12];
};

/* `user`: NULL for the node itself. `renew`: there is a certificate. `by_password`: shows the password, not only the key. */
int enroll_command(const struct settings *settings, const char *user, const char *stem, bool renew, bool by_password,
		   bool keep_document, struct enroll_command *ret);

/* The sentence in what ringgatectl printed, in `reason`. */
void enroll_command_reason(int status, const char *output, char reason[static ENROLLER_REASON_SIZE]);
