/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration in motion (RFC 6940 6.3.2.1, 6.5.4, 11.1): documents that come as ConfigUpdates, from the operator or from the
 * configuration server are judged, put in force and passed on; definitions of Kinds come one by one. Sans-I/O but for the one file.
 */
#pragma once

#include "forward/router.h"
#include "node/spread.h"

enum {
	CONFIGURATION_SENDERS_MAX = 16, /* senders of useless documents that are remembered */
	CONFIGURATION_PAUSE_S = 10,	/* for which nothing more of theirs is read */
	CONFIGURATION_MISSING_S =
		10, /* a newer document exists and does not come: after this, up to twice as long, it is fetched */
};

/* What became of a document. */
enum configuration_outcome {
	CONFIGURATION_APPLIED,
	CONFIGURATION_SAME,	     /* in force already */
	CONFIGURATION_STALE,	     /* its number is not newer */
	CONFIGURATION_OTHER_OVERLAY, /* it says nothing about this overlay */
	CONFIGURATION_BAD_SIGNATURE, /* none, or not of a configuration-signer of the document in force (B-11.1-11) */
	CONFIGURATION_EXPIRED,
	CONFIGURATION_MALFORMED,
	CONFIGURATION_UNSUPPORTED, /* genuine, and this node cannot do what it asks for: it leaves (B-11.1-12) */
	CONFIGURATION_LIMITED,	   /* not read: the sender's last one was of no use */
	CONFIGURATION_OUTCOMES,
};
const char *configuration_outcome_name(enum configuration_outcome outcome); /* a word for metrics, such as "bad_signature" */

struct configuration_settings {
	struct router *router;
	const char *path; /* where the document is kept; NULL: nowhere. Copied */

	void *userdata;
	/* A new document is in force, as router_config() and the trust know it. */
	void (*changed)(void *userdata);
	/* It is genuine and excludes this node: `reason` is a sentence. The document was saved. */
	void (*unsupported)(void *userdata, const char *reason);
	/* A newer document exists and did not come in time; the configuration server should be asked. */
	void (*missing)(void *userdata);
};

struct configuration_figures {
	uint64_t documents[CONFIGURATION_OUTCOMES];
	uint64_t kinds_learned, kinds_refused;
};

struct configuration;
int configuration_new(const struct configuration_settings *settings, struct configuration **ret);
struct configuration *configuration_free(struct configuration *configuration);
DEFINE_CLEANUP(struct configuration *, configuration_free)

/* A document from the operator or the configuration server. `reason` receives one sentence unless it was applied. */
enum configuration_outcome configuration_offer(struct configuration *configuration, struct octets document,
					       char reason[static CONFIG_REASON_SIZE]);

const struct configuration_figures *configuration_figures(const struct configuration *configuration);
const struct spread_figures *configuration_spread_figures(const struct configuration *configuration);

/* Writes `config` to `path` atomically. Negative errno. */
int configuration_save(const struct overlay_config *config, const char *path);
