/* SPDX-License-Identifier: BSD-2-Clause */
#include "topology/topology.h"

#include "base/cleanup.h"

#include <string.h>

/* B-6.4.1-02: every overlay algorithm this node implements. */
static const struct topology_ops *const plugins[] = {
	&topology_chord_reload,
};

const struct topology_ops *topology_find(const char *name) {
	for (size_t i = 0; i < ARRAY_LENGTH(plugins); i++)
		if (strcmp(plugins[i]->name, name) == 0)
			return plugins[i];
	return NULL;
}
