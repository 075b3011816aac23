/* SPDX-License-Identifier: BSD-2-Clause */
/* What must hold in a simulated overlay: at rest (Zave's conditions for Chord: ordered, connected, one ring) and at any time. */
#include "sim/world.h"

#include "storage/database.h"

#include <string.h>

enum {
	NEIGHBORS_LEAST = 4,
	REPLICAS = 2,
	KEY_SIZE = 16,
	BOUNDS_AT_ONCE = 2000, /* nodes looked at; of larger worlds one part after the other */
};

static bool wrong(struct sim_world *world, const struct sim_node *node, const char *what, size_t detail) {
	char text[ID_TEXT_SIZE];

	snprintf(world->reason, sizeof(world->reason), "node %zu (%.8s, state %d): %s (%zu)", node->index,
		 id_format(&node->id, text), node->state, what, detail);
	return false;
}

static int compare_nodes(const void *a, const void *b) {
	return id_compare(&(*(struct sim_node *const *)a)->id, &(*(struct sim_node *const *)b)->id);
}

struct sim_node **sim_ring(const struct sim_world *world, bool joined, size_t *ret_count) {
	struct sim_node **ring = calloc(world->node_count + 1, sizeof(struct sim_node *));

	*ret_count = 0;
	if (!ring)
		return NULL;
	for (size_t i = 0; i < world->node_count; i++) {
		struct sim_node *node = world->nodes[i];
		if (node->host && !node->left && !node->mute && ((!joined && !node->hidden) || node->state == TOPOLOGY_JOINED))
			ring[(*ret_count)++] = node;
	}
	qsort(ring, *ret_count, sizeof(struct sim_node *), compare_nodes);
	return ring;
}

/* Position of the first node at or after `point`. */
static size_t ring_position(struct sim_node **ring, size_t count, const struct id *point) {
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (id_compare(&ring[middle]->id, point) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low == count ? 0 : low;
}

/* ---- the ring ---- */

static bool list_is_right(struct sim_world *world, struct sim_node **ring, size_t count, size_t at, bool successors,
			  const struct topology_view *view) {
	size_t listed = successors ? view->successor_count : view->predecessor_count;
	size_t least = count - 1 < NEIGHBORS_LEAST ? count - 1 : NEIGHBORS_LEAST;
	const struct id *list = successors ? view->successors : view->predecessors;

	if (listed < least || listed > count - 1)
		return wrong(world, ring[at], successors ? "number of successors" : "number of predecessors", listed);
	for (size_t i = 0; i < listed; i++)
		if (!id_equal(&list[i], &ring[(successors ? at + i + 1 : at + count - i - 1) % count]->id))
			return wrong(world, ring[at], successors ? "successor is wrong" : "predecessor is wrong", i);
	return true;
}

static bool fingers_are_right(struct sim_world *world, struct sim_node **ring, size_t count, const struct sim_node *node,
			      const struct topology_view *view) {
	for (size_t i = 0; i < view->finger_count; i++) {
		const struct sim_node *finger = ring[ring_position(ring, count, &view->fingers[i])];
		if (finger == node || !id_equal(&finger->id, &view->fingers[i]))
			return wrong(world, node, "finger is no living peer", i);
	}
	return true;
}

static bool range_is_right(struct sim_world *world, struct sim_node **ring, size_t count, size_t at) {
	const struct sim_node *before = ring[(at + count - 1) % count], *node = ring[at];
	struct id points[] = {id_add_small(&before->id, 1), node->id, before->id};

	for (size_t i = 0; i < ARRAY_LENGTH(points); i++) {
		bool expected = i < 2 || count == 1;
		if (node->topology->ops->responsible(node->topology, &points[i]) != expected)
			return wrong(world, node, "the topology's range is wrong", i);
		if (router_responsible(node->router, &points[i]) != expected)
			return wrong(world, node, "the router's range is wrong", i);
	}
	return true;
}

bool sim_ring_is_right(struct sim_world *world) {
	size_t count;
	_cleanup_free_ struct sim_node **ring = sim_ring(world, false, &count);
	struct topology_view view;

	if (!ring)
		return false;
	for (size_t i = 0; i < count; i++)
		if (ring[i]->state != TOPOLOGY_JOINED)
			return wrong(world, ring[i], "not joined", 0);
	for (size_t i = 0; i < count; i++) {
		ring[i]->topology->ops->view(ring[i]->topology, &view);
		if (!list_is_right(world, ring, count, i, true, &view) || !list_is_right(world, ring, count, i, false, &view) ||
		    !range_is_right(world, ring, count, i) || !fingers_are_right(world, ring, count, ring[i], &view))
			return false;
	}
	return true;
}

void sim_sample_keys(struct sim_world *world, size_t keys) {
	for (size_t i = 0; i < keys; i++) {
		struct id key = sim_random_id(world);
		size_t owners = 0;
		for (size_t k = 0; k < world->node_count; k++) {
			const struct sim_node *node = world->nodes[k];
			owners += node->host && !node->mute && node->state == TOPOLOGY_JOINED &&
				  node->topology->ops->responsible(node->topology, &key);
		}
		world->figures.keys_sampled++;
		world->figures.keys_unowned += owners == 0;
		world->figures.keys_contested += owners > 1;
	}
}

/* ---- bounds ---- */

static bool node_is_bounded(struct sim_world *world, const struct sim_node *node) {
	struct store_figures figures;
	struct topology_view view;
	size_t position = 0, links = 0;

	while (router_connection_next(node->router, &position))
		links++;
	if (links > LINK_SLOTS_MAX)
		return wrong(world, node, "too many links", links);
	node->topology->ops->view(node->topology, &view);
	if (view.successor_count > TOPOLOGY_VIEW_MAX || view.predecessor_count > TOPOLOGY_VIEW_MAX ||
	    view.finger_count > TOPOLOGY_VIEW_MAX)
		return wrong(world, node, "a table beyond its bound", view.finger_count);
	store_figures(node->store, &figures);
	if (figures.database_error != 0)
		return wrong(world, node, "the record database failed", (size_t)-figures.database_error);
	if (figures.records > STORE_RECORDS_MAX || figures.octets > STORE_OCTETS_MAX)
		return wrong(world, node, "more records than the bound", figures.records);
	return true;
}

bool sim_bounds_hold(struct sim_world *world) {
	for (size_t i = 0; i < world->node_count && i < BOUNDS_AT_ONCE; i++) {
		const struct sim_node *node = world->nodes[world->bounds_next++ % world->node_count];
		if (node->host && !node_is_bounded(world, node))
			return false;
	}
	if (world->figures.operations_overdue > 0) {
		snprintf(world->reason, sizeof(world->reason), "%llu operations took longer than %d s",
			 (unsigned long long)world->figures.operations_overdue, SIM_OPERATION_LIMIT_S);
		return false;
	}
	if (world->figures.strangers > 0) {
		snprintf(world->reason, sizeof(world->reason),
			 "%llu answers of nodes not responsible for what they answered were believed",
			 (unsigned long long)world->figures.strangers);
		return false;
	}
	if (world->figures.lookups_forged > 0) {
		snprintf(world->reason, sizeof(world->reason), "%llu values that nobody stored were believed",
			 (unsigned long long)world->figures.lookups_forged);
		return false;
	}
	return true;
}

double sim_links_mean(const struct sim_world *world) {
	size_t links = 0;

	for (size_t i = 0; i < world->node_count; i++)
		for (size_t position = 0; world->nodes[i]->host && router_connection_next(world->nodes[i]->router, &position);)
			links++;
	return world->alive ? (double)links / (double)world->alive : 0;
}

/* ---- records ---- */

/* The record with its acknowledged value, or a newer one, on the node's disk. */
static bool holds(const struct sim_node *node, const struct sim_record *record) {
	for (uint32_t number = record->acknowledged; node->database && number <= record->sent; number++) {
		char text[KEY_SIZE];
		struct record_head head;
		snprintf(text, sizeof(text), "%u", number);
		if (record_head(node->database, &record->place, SIM_KIND, OCTETS_NONE, true, octets_of_string(text), &head) > 0 &&
		    head.same_value)
			return true;
	}
	return false;
}

static void find_holders(struct sim_world *world, struct sim_node **ring, size_t count, const struct sim_record *record,
			 struct sim_record *ret) {
	size_t owner = ring_position(ring, count, &record->place);

	ret->holder_count = 0;
	for (size_t i = 0; i < count && i <= REPLICAS + 1; i++)
		if (holds(ring[(owner + i) % count], record))
			ret->holders[ret->holder_count++] = ring[(owner + i) % count]->index;
	if (ret->holder_count > 0)
		return;
	/* A disk whose node is gone does not count: it may come back, or not. */
	for (size_t i = 0; i < world->node_count && ret->holder_count < SIM_HOLDERS_MAX; i++)
		if (world->nodes[i]->host && !world->nodes[i]->left && !world->nodes[i]->mute && holds(world->nodes[i], record))
			ret->holders[ret->holder_count++] = i;
}

/* Did those that held it last all die, and was it whole until shortly before the last of them did? */
static bool loss_is_excused(const struct sim_world *world, const struct sim_record *record) {
	uint64_t whole_us = record->whole_us > record->acknowledged_us ? record->whole_us : record->acknowledged_us, last_us = 0;

	for (size_t i = 0; i < record->holder_count; i++) {
		uint64_t died_us = world->nodes[record->holders[i]]->died_us;
		if (died_us < record->seen_us)
			return false;
		if (died_us > last_us)
			last_us = died_us;
	}
	if (last_us == 0) /* nobody is known to have held it: they died before the first look */
		last_us = sim_now_us(world);
	return last_us - whole_us <= SIM_REPAIR_S * USEC_PER_SEC;
}

bool sim_records_are_safe(struct sim_world *world) {
	size_t count;
	_cleanup_free_ struct sim_node **ring = sim_ring(world, true, &count);

	for (size_t i = 0; ring && count > 0 && i < world->settings.records; i++) {
		struct sim_record *record = &world->records[i], found = {0};
		if (record->acknowledged == 0 || record->lost || record->excused)
			continue;
		find_holders(world, ring, count, record, &found);
		if (found.holder_count > 0) {
			memcpy(record->holders, found.holders, sizeof(found.holders));
			record->holder_count = found.holder_count;
			record->seen_us = sim_now_us(world);
			if (found.holder_count > REPLICAS)
				record->whole_us = record->seen_us;
		} else if (loss_is_excused(world, record)) {
			record->excused = true;
			world->figures.records_excused++;
		} else {
			record->lost = true;
			for (size_t k = 0; k < record->holder_count; k++)
				sim_tell(world, "node %zu held the lost record, died at %.3f s", record->holders[k],
					 (double)world->nodes[record->holders[k]]->died_us / USEC_PER_SEC);
			world->figures.records_lost++;
			snprintf(world->reason, sizeof(world->reason), "the record of %s is lost: value %u acknowledged at %.1f s",
				 record->user->certificate->user_name, record->acknowledged,
				 (double)record->acknowledged_us / USEC_PER_SEC);
			return false;
		}
	}
	return ring != NULL;
}

bool sim_records_are_placed(struct sim_world *world) {
	size_t count;
	_cleanup_free_ struct sim_node **ring = sim_ring(world, true, &count);

	for (size_t i = 0; ring && count > 0 && i < world->settings.records; i++) {
		const struct sim_record *record = &world->records[i];
		if (record->acknowledged == 0 || record->lost || record->excused)
			continue;
		size_t owner = ring_position(ring, count, &record->place);
		for (size_t k = 0; k <= REPLICAS && k < count; k++) {
			if (holds(ring[(owner + k) % count], record))
				continue;
			snprintf(world->reason, sizeof(world->reason), "the record of %s is not at node %zu, copy %zu of %d",
				 record->user->certificate->user_name, ring[(owner + k) % count]->index, k, REPLICAS + 1);
			return false;
		}
	}
	return ring != NULL;
}
