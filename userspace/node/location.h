/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where users are, as far as it is known: between the SIP gateway, which asks for every call, and the overlay, where an answer
 * takes several round trips. Answers are kept for a few seconds, never longer than what they are made of lives; several who ask for
 * one user at the same time wait for one look-up. Sans-I/O.
 */
#pragma once

#include "sip/gateway.h"

enum {
	LOCATION_ENTRIES = 8192,       /* users known or being looked up; the one asked for longest ago is forgotten */
	LOCATION_OCTETS = 8 << 20,     /* octets of what is known; the same */
	LOCATION_CONTACTS = 32,	       /* of one answer; further ones are left out */
	LOCATION_NEGATIVE_SECONDS = 5, /* most that "not found" and "not registered" are kept */
};

struct location;

struct location_settings {
	struct runtime *runtime;
	unsigned seconds; /* most that an answer is kept; 0: not at all */
	void *userdata;
	/* Asks the overlay; `done` is called exactly once, never from within. */
	void (*ask)(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata);
};

int location_new(const struct location_settings *settings, struct location **ret);

/* Only when nothing is being asked any more. Who still waits is answered 503. */
struct location *location_free(struct location *location);

/* As `resolve` of struct sip_gateway_events. */
void location_resolve(struct location *location, const char *aor, sip_resolve_answer done, void *userdata);

/* What is known of this user has changed: the next one who asks gets a new answer. */
void location_forget(struct location *location, const char *aor);

/* Everything has changed. */
void location_forget_all(struct location *location);

struct location_figures {
	uint64_t hits;	    /* answered from what was known */
	uint64_t joined;    /* waited for a look-up that was under way */
	uint64_t lookups;   /* asked the overlay */
	uint64_t displaced; /* forgotten because of a bound */
	size_t entries, octets;
};
struct location_figures location_figures(const struct location *location);
