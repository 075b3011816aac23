/* SPDX-License-Identifier: BSD-2-Clause */
/* The values of settings; for settings.c alone. */
#pragma once

#include "node/settings.h"

struct settings_option {
	const char *section, *name;
	/* -EINVAL: not what is expected; -ENOMEM. Of [trunk] it sets the trunk with the number `settings->trunk`. */
	int (*set)(struct settings *settings, size_t offset, const char *value);
	size_t offset;
	const char *expects; /* for the sentence that refuses a value */
};

/* NULL: there is none. Without a name: any of that section. */
const struct settings_option *settings_option_find(const char *section, const char *name);

/* Adds to [sip] allow. */
int settings_allow_networks(struct settings *settings, const char *networks);

/* Frees what lists of values own. */
void settings_clear_lists(struct settings *settings);
