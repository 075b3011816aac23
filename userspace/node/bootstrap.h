/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who lets us into the overlay first (RFC 6940 11.4, B-11.4-01): candidates from every source are tried beside each other, a new
 * one every BOOTSTRAP_STAGGER_MS or as soon as one fails (as RFC 8305 does with addresses). A link that is up is not enough: the
 * other side may be looking for the overlay itself, so it must bring back an answer from the ring before it counts. Sans-I/O.
 *
 * Order: sources take turns as they stand in enum bootstrap_source, families alternate within a source, and the bootstrap server,
 * which everybody shares, is asked when the others have had BOOTSTRAP_SERVER_MS or there are no others.
 */
#pragma once

#include "base/address.h"
#include "base/id.h"
#include "base/runtime.h"

enum {
	BOOTSTRAP_CANDIDATES_MAX = 64, /* of one round; further ones are not looked at */
	BOOTSTRAP_PER_SOURCE_MAX = 32, /* of them from one source, so that none crowds out the others */
	BOOTSTRAP_STAGGER_MS = 250,    /* between attempts */
	BOOTSTRAP_AFTER_FAILURE_MS = 10,
	BOOTSTRAP_FRESH_MAX = 4, /* links being opened for less than BOOTSTRAP_SLOW_MS at a time */
	BOOTSTRAP_SLOW_MS = 2000,
	BOOTSTRAP_OPEN_MAX = 16,     /* attempts without a result at a time */
	BOOTSTRAP_VERIFY_MS = 3000,  /* for an answer from the ring over a new link */
	BOOTSTRAP_OUTSIDE_MS = 1000, /* the same once the other side has said that it is not in the ring itself */
	BOOTSTRAP_RELAYED_MS = 7000, /* and through a bootstrap server: a Ping lost on that longer way is sent again after 3 s (6.2.1) */
	BOOTSTRAP_SERVER_MS = 1500,
};

enum bootstrap_source {
	BOOTSTRAP_LINKED, /* a link that exists already, mostly since the other side opened it */
	BOOTSTRAP_CACHED,
	BOOTSTRAP_MDNS,
	BOOTSTRAP_MULTICAST,
	BOOTSTRAP_SETTINGS,
	BOOTSTRAP_DOCUMENT,
	BOOTSTRAP_SERVER,
	BOOTSTRAP_SOURCES,
};
const char *bootstrap_source_text(enum bootstrap_source source);

enum bootstrap_state {
	BOOTSTRAP_WAITING,
	BOOTSTRAP_CONNECTING,
	BOOTSTRAP_VERIFYING,
	BOOTSTRAP_OUTSIDE, /* linked, and not in the overlay itself */
	BOOTSTRAP_SILENT,  /* linked, and nothing came back from the ring */
	BOOTSTRAP_FAILED,  /* no link */
	BOOTSTRAP_ENTERED, /* handed out by won() */
	BOOTSTRAP_PASSED,  /* not needed any more */
};
const char *bootstrap_state_text(enum bootstrap_state state);

struct bootstrap_candidate {
	struct address address;
	enum bootstrap_source source;
	enum bootstrap_state state;
	uint16_t slot; /* LINK_SLOT_NONE without a link */
	bool outside;
	uint64_t begun_us, deadline_us, took_us;
	const char *why; /* constant; of FAILED */
};

struct bootstrap_ops {
	void *userdata;
	/* 0: bootstrap_up() or bootstrap_down() follow later. -EISCONN: there is a link in *ret_slot already. Others: failed. */
	int (*connect)(void *userdata, const struct address *address, uint16_t *ret_slot);
	/* May call bootstrap_down(). */
	void (*close)(void *userdata, uint16_t slot);
	/* Ask through `slot`; bootstrap_verdict() may follow, `serial` tells it from earlier users of the slot. */
	void (*verify)(void *userdata, uint16_t slot, uint64_t serial);
	/* The overlay answers through this one. No further attempts until bootstrap_resume(). */
	void (*won)(void *userdata, const struct bootstrap_candidate *candidate);
	/* All were tried in vain. */
	void (*over)(void *userdata);
	const char *(*error_text)(int error); /* constant texts */
};

struct bootstrap {
	struct runtime *runtime;
	struct bootstrap_ops ops;
	struct bootstrap_candidate candidates[BOOTSTRAP_CANDIDATES_MAX];
	size_t count;
	enum bootstrap_source turn;
	uint16_t last_family;
	uint64_t begun_us, open_until_us, next_attempt_us;
	struct timer timer;
	bool running, paused;
};

void bootstrap_init(struct bootstrap *bootstrap, struct runtime *runtime, const struct bootstrap_ops *ops);
void bootstrap_release(struct bootstrap *bootstrap);

/* A new round without candidates; it is not over before `open_ms`, for others may be found meanwhile. */
void bootstrap_begin(struct bootstrap *bootstrap, unsigned open_ms);
/* Also while the round runs. 0, -EEXIST, -ENOSPC; -ESRCH without a round. */
int bootstrap_add(struct bootstrap *bootstrap, enum bootstrap_source source, const struct address *address);
/* Ends the round; links under way are closed. Candidates stay readable. */
void bootstrap_end(struct bootstrap *bootstrap);
/* The winner did not let us in: the round goes on. */
void bootstrap_resume(struct bootstrap *bootstrap);

void bootstrap_up(struct bootstrap *bootstrap, uint16_t slot);
void bootstrap_down(struct bootstrap *bootstrap, uint16_t slot, const char *why);

enum bootstrap_verdict { BOOTSTRAP_IS_INSIDE, BOOTSTRAP_IS_OUTSIDE };
void bootstrap_verdict(struct bootstrap *bootstrap, uint16_t slot, uint64_t serial, enum bootstrap_verdict verdict);
