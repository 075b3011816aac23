/* SPDX-License-Identifier: BSD-2-Clause */
/* A new configuration document that spreads from one node over the overlay (RFC 6940 6.5.4) while it is in service. */
#include "sim/world.h"

#include <errno.h>

int sim_configuration_roll(struct sim_world *world) {
	_cleanup_(writer_release) struct writer document = writer_growing(CONFIG_DOCUMENT_MAX);
	struct sim_node *node = sim_pick(world, true);
	char reason[CONFIG_REASON_SIZE] = "";

	if (!node || !node->configuration)
		return -EBADMSG;
	int error = sim_identity_document(&world->identity, (uint16_t)(world->sequence + 1), &document);
	if (error < 0)
		return error;
	virtual_host_enter(node->host);
	enum configuration_outcome outcome = configuration_offer(node->configuration, writer_octets_written(&document), reason);
	virtual_host_leave(node->host);
	sim_tell(world, "configuration %u given to node %zu: %s %s", world->sequence + 1u, node->index,
		 configuration_outcome_name(outcome), reason);
	if (outcome != CONFIGURATION_APPLIED)
		return -EBADMSG;
	world->sequence++;
	return 0;
}

bool sim_configuration_is_everywhere(struct sim_world *world) {
	for (size_t i = 0; i < world->node_count; i++) {
		const struct sim_node *node = world->nodes[i];
		if (!node->host || node->left || !node->trust || trust_config(node->trust)->sequence == world->sequence)
			continue;
		snprintf(world->reason, sizeof(world->reason), "node %zu has configuration %u, not %u", i,
			 trust_config(node->trust)->sequence, world->sequence);
		return false;
	}
	return true;
}
