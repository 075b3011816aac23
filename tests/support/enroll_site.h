/* SPDX-License-Identifier: BSD-2-Clause */
/* An overlay in a directory of its own, published, as the enrollment server finds it. */
#pragma once

#include "enroll/ledger.h"

#define ENROLL_SITE_NAME "overlay.example.org"
#define ENROLL_SITE_PASSWORD "correct horse"

struct enroll_site {
	char directory[64], ca_directory[80];
	struct ledger *ledger;
};

/* 0 or negative errno. The user's password costs next to nothing to check. */
int enroll_site_new(struct enroll_site *ret);
int enroll_site_add_user(struct enroll_site *site, const char *name, unsigned node_ids_max, unsigned log_n);
void enroll_site_release(struct enroll_site *site);
