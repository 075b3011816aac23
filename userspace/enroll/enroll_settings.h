/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings of the enrollment server: ringgate-enrolld.conf and its drop-ins (ringgate-enrolld.conf(5)). */
#pragma once

#include "base/address.h"
#include "base/cleanup.h"
#include "enroll/authority.h"

enum {
	ENROLL_OVERLAYS_MAX = 64,
	ENROLL_HOSTS_MAX = 8, /* of one overlay */
	ENROLL_WORKERS_MAX = 64,
	ENROLL_QUEUE_MAX = 4096,
	ENROLL_CONNECTIONS_MAX = 4096,
	ENROLL_REASON_SIZE = PROVISION_REASON_SIZE,
};

struct enroll_overlay_settings {
	char name[254]; /* as in [overlay NAME] */
	char *directory;
	char *hosts[ENROLL_HOSTS_MAX]; /* host names besides the overlay's own */
	size_t host_count;
};

struct enroll_settings {
	/* [server] */
	struct address listen;
	char *certificate, *key; /* PEM, for HTTPS */
	char *user;		 /* who root becomes; NULL: stays */
	unsigned workers, queue, connections, connections_per_address, request_s;
	int log_level;

	/* [enrollment] */
	struct authority_policy policy;
	unsigned failures_per_minute; /* of one address; 0: not limited */

	/* [overlay NAME] */
	struct enroll_overlay_settings overlays[ENROLL_OVERLAYS_MAX];
	size_t overlay_count;
};

/* As settings_load() of the node: `reason` receives one sentence with file and line. -EINVAL, -ENOENT, -EACCES, -ENOMEM. */
int enroll_settings_load(const char *path, struct enroll_settings **ret, char reason[static ENROLL_REASON_SIZE]);
struct enroll_settings *enroll_settings_free(struct enroll_settings *settings);
DEFINE_CLEANUP(struct enroll_settings *, enroll_settings_free)
