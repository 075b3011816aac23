/* SPDX-License-Identifier: BSD-2-Clause */
/* Stores, Fetches and Pings through the simulated overlay, and the ledger of what was acknowledged. */
#include "sim/world.h"

#include "wire/destination.h"
#include "wire/method.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { LIFETIME_S = 7 * 86400 };

struct sim_operation {
	struct sim_world *world;
	struct sim_record *record; /* NULL: a Ping */
	struct id place;	   /* the resource it is sent to */
	uint32_t number;	   /* Store: of the value; Fetch: acknowledged when it began */
	uint64_t began_us;
	struct sim_operation *prev, *next;
};

static struct sim_operation *operation_new(struct sim_world *world, struct sim_record *record, const struct id *place,
					   uint32_t number) {
	struct sim_operation *operation = calloc(1, sizeof(*operation));

	if (!operation)
		return NULL;
	*operation = (struct sim_operation){
		.world = world, .record = record, .place = *place, .number = number, .began_us = sim_now_us(world)};
	DL_APPEND(world->operations, operation);
	world->operation_count++;
	return operation;
}

static void operation_end(struct sim_operation *operation) {
	struct sim_world *world = operation->world;

	if (sim_now_us(world) - operation->began_us > SIM_OPERATION_LIMIT_S * USEC_PER_SEC)
		world->figures.operations_overdue++;
	DL_DELETE(world->operations, operation);
	world->operation_count--;
	free(operation);
}

/*
 * An answer was believed. Its signer must be responsible for the resource, as far as it knows itself, or its range has changed
 * since the operation began.
 */
static void answered(struct sim_operation *operation, const struct id *responder) {
	struct sim_world *world = operation->world;
	char text[ID_TEXT_SIZE];
	struct sim_node *node;

	world->figures.answers++;
	HASH_FIND(hh, world->by_id, responder->octets, ID_LENGTH_CHORD, node);
	if (node && (node->range_us >= operation->began_us ||
		     (node->host && node->topology->ops->responsible(node->topology, &operation->place))))
		return;
	world->figures.strangers++;
	sim_tell(world, "%.8s answered for a resource that is not its own", id_format(responder, text));
}

void sim_load_free(struct sim_world *world) {
	struct sim_operation *operation, *next;

	DL_FOREACH_SAFE (world->operations, operation, next) {
		DL_DELETE(world->operations, operation);
		free(operation);
	}
	world->operation_count = 0;
}

/* ---- Stores ---- */

static void on_stored(void *userdata, const struct storage_outcome *outcome) {
	struct sim_operation *operation = userdata;
	struct sim_record *record = operation->record;
	struct sim_figures *figures = &operation->world->figures;

	record->storing = false;
	if (outcome->error == 0) {
		answered(operation, &outcome->responder);
		figures->stores_acknowledged++;
		record->acknowledged = operation->number;
		record->acknowledged_us = sim_now_us(operation->world);
		record->lost = record->excused = false;
		record->holder_count = 0;
	} else if (outcome->error != -ECANCELED) { /* the storing node died itself */
		figures->stores_failed++;
		sim_tell(operation->world, "Store of %s failed: %s, error %u %s", record->user->certificate->user_name,
			 strerror(-outcome->error), outcome->error_code, outcome->error_text);
	}
	operation_end(operation);
}

int sim_store(struct sim_world *world, struct sim_record *record) {
	struct sim_node *node = sim_pick(world, true);
	char text[16];

	if (!node || record->storing)
		return -EAGAIN;
	struct sim_operation *operation = operation_new(world, record, &record->place, ++record->sent);
	if (!operation)
		return -ENOMEM;
	snprintf(text, sizeof(text), "%u", operation->number);
	struct storage_value value = {
		.value = {.model = DATA_MODEL_SINGLE, .exists = true, .value = octets_of_string(text)},
		.lifetime_s = LIFETIME_S,
	};
	record->storing = true;
	world->figures.stores_sent++;
	virtual_host_enter(node->host);
	int error = storage_store(node->router, record->user, &record->place, SIM_KIND, 0, &value, 1, on_stored, operation);
	virtual_host_leave(node->host);
	if (error < 0) {
		record->storing = false;
		world->figures.stores_failed++;
		operation_end(operation);
	}
	return error;
}

/* ---- Fetches ---- */

static uint32_t value_number(const struct fetched_value *value) {
	char text[16];

	snprintf(text, sizeof(text), "%.*s", (int)value->value.value.length, (const char *)value->value.value.data);
	return (uint32_t)strtoul(text, NULL, 10);
}

static void on_fetched(void *userdata, const struct storage_outcome *outcome, const struct fetched_value *values, size_t count,
		       bool partial) {
	struct sim_operation *operation = userdata;
	struct sim_figures *figures = &operation->world->figures;
	const char *user_name = operation->record->user->certificate->user_name;

	(void)partial;
	if (outcome->error == 0)
		answered(operation, &outcome->responder);
	if (outcome->error == -ECANCELED) {
		figures->lookups--;
	} else if (outcome->error < 0) {
		figures->lookups_failed++;
		sim_tell(operation->world, "Fetch of %s failed: %s, error %u", user_name, strerror(-outcome->error),
			 outcome->error_code);
	} else if (count != 1 || !values[0].signer) {
		figures->lookups_missing++;
		sim_tell(operation->world, "Fetch of %s found nothing", user_name);
	} else if (value_number(&values[0]) > operation->record->sent) {
		figures->lookups_forged++;
		sim_tell(operation->world, "Fetch of %s found a value nobody stored", user_name);
	} else if (value_number(&values[0]) < operation->number) {
		figures->lookups_stale++;
		sim_tell(operation->world, "Fetch of %s found an old value", user_name);
	} else {
		figures->lookups_good++;
		figures->lookup_us += outcome->elapsed_us;
	}
	operation_end(operation);
}

int sim_lookup(struct sim_world *world, struct sim_record *record) {
	struct sim_node *node = sim_pick(world, true);

	if (!node || record->acknowledged == 0)
		return -EAGAIN;
	struct sim_operation *operation = operation_new(world, record, &record->place, record->acknowledged);
	if (!operation)
		return -ENOMEM;
	world->figures.lookups++;
	virtual_host_enter(node->host);
	int error = storage_fetch(node->router, &record->place, SIM_KIND, NULL, on_fetched, operation);
	virtual_host_leave(node->host);
	if (error < 0) {
		world->figures.lookups_failed++;
		operation_end(operation);
	}
	return error;
}

/* ---- Pings ---- */

static void on_probed(void *userdata, int error, const struct response *response) {
	struct sim_operation *operation = userdata;
	struct sim_world *world = operation->world;

	if (error < 0) {
		world->figures.probes_failed += error != -ECANCELED;
	} else {
		/* The answer goes back the way the request came; each peer between takes one from its ttl. */
		unsigned between = (unsigned)world->identity.config->initial_ttl - response->ttl_received;
		unsigned hops = between < SIM_HOPS_MAX ? between + 1 : SIM_HOPS_MAX;
		answered(operation, &response->signer_id);
		world->figures.probes++;
		world->figures.hops += hops;
		world->figures.hops_of[hops]++;
	}
	operation_end(operation);
}

static void probe(struct sim_world *world) {
	struct id target = sim_random_id(world);
	struct sim_node *node = sim_pick(world, true);
	uint8_t list_buffer[64], body_buffer[16];
	struct writer list = writer_fixed(list_buffer, sizeof(list_buffer));
	struct writer body = writer_fixed(body_buffer, sizeof(body_buffer));

	if (!node || node->topology->ops->responsible(node->topology, &target)) {
		world->figures.probes += node != NULL;
		world->figures.hops_of[0] += node != NULL;
		return;
	}
	destination_write_resource(&list, id_octets(&target));
	ping_req_write(&body, OCTETS_NONE);
	struct sim_operation *operation = operation_new(world, NULL, &target, 0);
	if (!operation)
		return;
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,  .destination_list = writer_octets_written(&list),
		.code = PING_REQ,  .body = writer_octets_written(&body),
		.done = on_probed, .userdata = operation,
	};
	virtual_host_enter(node->host);
	int error = router_send_request(node->router, &outgoing, NULL);
	virtual_host_leave(node->host);
	if (error < 0) {
		world->figures.probes_failed++;
		operation_end(operation);
	}
}

void sim_probe(struct sim_world *world, size_t count) {
	for (size_t i = 0; i < count; i++)
		probe(world);
}

/* ---- the continuous load: one step draws what comes next ---- */

static uint64_t load_pause(struct sim_world *world, uint64_t *ret_lookups_per_1e6s, uint64_t *ret_stores_per_1e6s) {
	const struct sim_settings *settings = &world->settings;

	*ret_lookups_per_1e6s = settings->lookup_interval_s ? USEC_PER_SEC * world->alive / settings->lookup_interval_s : 0;
	*ret_stores_per_1e6s = settings->store_interval_s ? USEC_PER_SEC * settings->records / settings->store_interval_s : 0;
	uint64_t total = *ret_lookups_per_1e6s + *ret_stores_per_1e6s;
	/* Uniform between nothing and twice the mean. */
	return total ? 1 + sim_random_below(world, 2 * (USEC_PER_SEC * USEC_PER_SEC / total)) : USEC_PER_SEC;
}

void sim_load_fire(struct timer *timer, void *userdata) {
	struct sim_world *world = userdata;
	struct runtime *clock = virtual_network_clock(world->network);
	uint64_t lookups, stores;
	uint64_t pause_us = load_pause(world, &lookups, &stores);

	timer_arm_after(clock, timer, pause_us);
	if (world->settings.records == 0 || lookups + stores == 0)
		return;
	struct sim_record *record = &world->records[sim_random_below(world, world->settings.records)];
	if (record->acknowledged == 0 || sim_random_below(world, lookups + stores) < stores)
		sim_store(world, record);
	else
		sim_lookup(world, record);
}

void sim_load_start(struct sim_world *world) {
	for (size_t i = 0; i < world->settings.records; i++)
		if (world->records[i].sent == 0)
			sim_store(world, &world->records[i]);
	timer_arm_after(virtual_network_clock(world->network), &world->load, USEC_PER_SEC);
}

void sim_load_stop(struct sim_world *world) {
	timer_disarm(virtual_network_clock(world->network), &world->load);
}
