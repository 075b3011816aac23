/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The phones of this site across restarts: between the SIP gateway, which asks to bind a Contact, and the overlay. What the overlay
 * has taken is written to a database before the phone is answered; after a restart the gateway gets it back, and it is stored in
 * the overlay once more, spread over time, without the phones noticing.
 */
#pragma once

#include "sip/gateway.h"

enum {
	PHONES_REASON_SIZE = 512,
	PHONES_STEP_MS = 200,	     /* between two registrations that are stored again; */
	PHONES_SPREAD_SECONDS = 600, /* less when all would take longer than this */
	PHONES_AT_ONCE = 32,	     /* of them being stored; the next one waits for an answer */
	PHONES_TRIES = 3,	     /* to store one again; then it is left to its phone */
};

struct phones;

struct phones_settings {
	struct runtime *runtime;
	const char *path; /* of the database, only used during the call; ":memory:" for tests */
	void *userdata;
	/* Stores in the overlay or removes; answered exactly once, never from within the call. */
	void (*bind)(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata);
};

/* A database that is damaged is put aside. `reason` receives a sentence on failure. */
int phones_new(const struct phones_settings *settings, struct phones **ret, char reason[static PHONES_REASON_SIZE]);

/* When nothing is asked of `bind` any more. */
struct phones *phones_free(struct phones *phones);

/* As `bind` of struct sip_gateway_events. */
void phones_bind(struct phones *phones, const struct sip_binding_request *request, sip_register_done done, void *userdata);

/* Is something to be written or answered? After each round of events phones_commit() is due then. */
bool phones_commit_wanted(const struct phones *phones);
void phones_commit(struct phones *phones);

/* Gives every registration that has not expired to `each`, the oldest first. */
int phones_each(struct phones *phones, void (*each)(void *userdata, const struct sip_binding_request *request), void *userdata);

/* The overlay can be reached: what a former run has registered is stored again. Only the first call counts. */
void phones_store_again(struct phones *phones);

struct phones_figures {
	uint64_t restored;     /* stored in the overlay again after the start */
	uint64_t restore_left; /* still to be */
	uint64_t write_errors; /* registrations that a restart would lose */
};
struct phones_figures phones_figures(const struct phones *phones);
