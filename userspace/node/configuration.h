/* SPDX-License-Identifier: BSD-2-Clause */
/* ConfigUpdate (RFC 6940 6.5.4): newer signed documents are taken over, nodes with an older one are sent ours. */
#pragma once

#include "node/node.h"

int configuration_new(struct node *node, struct configuration **ret);
struct configuration *configuration_free(struct configuration *configuration);

/* Writes `config` to `path` atomically. Negative errno. */
int configuration_save(const struct overlay_config *config, const char *path);
