/* SPDX-License-Identifier: BSD-2-Clause */
/* Random fault scripts: drawing, playing and shrinking them. */
#include "sim/play.h"
#include "sim/random.h"

#include <errno.h>
#include <string.h>

enum { GAP_MAX_MS = 20000, SLOW_US = 300 * 1000, LOSS_MAX_PPM = 100000 };

static const struct {
	const char *name;
	unsigned weight;
} faults[SIM_FAULTS] = {
	[SIM_FAULT_CRASH] = {"crash", 10}, [SIM_FAULT_CRASH_DISK] = {"crash-disk", 8},
	[SIM_FAULT_LEAVE] = {"leave", 6},  [SIM_FAULT_RESTART] = {"restart", 28},
	[SIM_FAULT_ADD] = {"add", 3},	   [SIM_FAULT_PARTITION] = {"partition", 2},
	[SIM_FAULT_HEAL] = {"heal", 12},   [SIM_FAULT_CUT] = {"cut", 4},
	[SIM_FAULT_LOSS] = {"loss", 3},	   [SIM_FAULT_SLOW] = {"slow", 3},
};

const char *sim_fault_name(enum sim_fault_type type) {
	return faults[type].name;
}

static enum sim_fault_type random_type(uint64_t *state) {
	unsigned total = 0;

	for (size_t i = 0; i < SIM_FAULTS; i++)
		total += faults[i].weight;
	unsigned draw = (unsigned)(splitmix(state) % total), type = 0;
	while (draw >= faults[type].weight)
		draw -= faults[type++].weight;
	return (enum sim_fault_type)type;
}

int sim_script_random(uint64_t seed, size_t count, struct sim_script *ret) {
	uint64_t state = seed ^ UINT64_C(0x5c21b7);
	struct sim_fault *list = calloc(count + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		list[i].after_ms = (uint32_t)(splitmix(&state) % GAP_MAX_MS);
		list[i].type = random_type(&state);
		list[i].argument = (uint32_t)splitmix(&state);
	}
	*ret = (struct sim_script){.faults = list, .count = count};
	return 0;
}

void sim_script_release(struct sim_script *script) {
	free(script->faults);
	*script = (struct sim_script){0};
}

static bool takes_part(const struct sim_node *node) {
	return node->host && !node->left;
}

/* The node that `argument` chooses among those that take part or those that are gone; NULL when too few take part. */
static struct sim_node *chosen(struct sim_world *world, uint32_t argument, bool living) {
	size_t count = 0;

	for (size_t i = 0; i < world->node_count; i++)
		count += takes_part(world->nodes[i]);
	if (world->node_count == 0 || (living && count <= world->settings.nodes / 2 + 1))
		return NULL;
	for (size_t i = 0; i < world->node_count; i++) {
		struct sim_node *node = world->nodes[(argument + i) % world->node_count];
		if (takes_part(node) == living)
			return node;
	}
	return NULL;
}

static void heal(struct sim_world *world) {
	for (size_t i = 0; i < world->node_count; i++) {
		if (!world->nodes[i]->host)
			continue;
		virtual_host_set_group(world->nodes[i]->host, 0);
		virtual_host_set_delay(world->nodes[i]->host, 0);
	}
	virtual_network_heal(world->network);
	virtual_network_set_loss(world->network, world->settings.loss_ppm);
}

static void partition(struct sim_world *world, uint32_t argument) {
	uint64_t state = argument;

	for (size_t i = 0; i < world->node_count; i++)
		if (world->nodes[i]->host)
			virtual_host_set_group(world->nodes[i]->host, splitmix(&state) % 2);
}

static void play_on_node(struct sim_world *world, const struct sim_fault *fault, struct sim_node *node) {
	struct sim_node *other;

	switch (fault->type) {
	case SIM_FAULT_CRASH:
	case SIM_FAULT_CRASH_DISK:
		sim_node_kill(node, fault->type == SIM_FAULT_CRASH);
		break;
	case SIM_FAULT_LEAVE:
		sim_node_leave(node);
		break;
	case SIM_FAULT_RESTART:
		if (node->host) /* it left, and its process ends now */
			sim_node_kill(node, true);
		(void)sim_node_restart(node);
		break;
	case SIM_FAULT_CUT:
		other = chosen(world, fault->argument / 7919 + 1, true);
		if (other && other != node)
			virtual_network_cut(world->network, &node->address, &other->address, true);
		break;
	default:
		virtual_host_set_delay(node->host, SLOW_US);
	}
}

void sim_fault_play(struct sim_world *world, const struct sim_fault *fault) {
	struct sim_node *node = chosen(world, fault->argument, fault->type != SIM_FAULT_RESTART);

	world->fault_us = sim_now_us(world);
	switch (fault->type) {
	case SIM_FAULT_ADD:
		(void)sim_node_add(world);
		break;
	case SIM_FAULT_PARTITION:
		partition(world, fault->argument);
		break;
	case SIM_FAULT_HEAL:
		heal(world);
		break;
	case SIM_FAULT_LOSS:
		virtual_network_set_loss(world->network, fault->argument % LOSS_MAX_PPM);
		break;
	default:
		if (!node)
			return;
		sim_tell(world, "%s of node %zu", sim_fault_name(fault->type), node->index);
		play_on_node(world, fault, node);
		return;
	}
	sim_tell(world, "%s", sim_fault_name(fault->type));
}

/* ---- shrinking ---- */

/* Without `length` faults from `from`; their time stays, in front of the next one. */
static int without(const struct sim_script *script, size_t from, size_t length, struct sim_script *ret) {
	struct sim_fault *list = calloc(script->count + 1, sizeof(*list));
	uint32_t waited_ms = 0;
	size_t count = 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < script->count; i++) {
		waited_ms += script->faults[i].after_ms;
		if (i >= from && i < from + length)
			continue;
		list[count] = script->faults[i];
		list[count++].after_ms = waited_ms;
		waited_ms = 0;
	}
	*ret = (struct sim_script){.faults = list, .count = count};
	return 0;
}

size_t sim_script_shrink(struct sim_script *script, bool (*fails)(void *userdata, const struct sim_script *script),
			 void *userdata) {
	size_t played = 0;

	for (size_t length = (script->count + 1) / 2; length > 0; length = length > 1 ? (length + 1) / 2 : 0) {
		for (size_t from = 0; from < script->count;) {
			struct sim_script shorter;
			if (without(script, from, length, &shorter) < 0)
				return played;
			played++;
			if (fails(userdata, &shorter)) {
				sim_script_release(script);
				*script = shorter;
			} else {
				sim_script_release(&shorter);
				from += length;
			}
		}
	}
	return played;
}
