/* SPDX-License-Identifier: BSD-2-Clause */
/* One resource on its way to another peer: its values in as many Store requests as max-message-size asks for. */
#include "storage/feed.h"

#include "storage/kind_update.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

/* A value read from the database, encoded as it will be sent. */
struct cargo {
	uint32_t kind;
	uint64_t generation;
	uint8_t *data;
	size_t length;
	struct certificate *signer;
};

struct hold {
	struct store *store;
	struct unit *unit;
	uint64_t now_ms;
	uint8_t model;
	uint64_t generation;
	struct cargo *cargo;
	size_t count, capacity;
};

/* A Store request being filled. */
struct packet {
	struct unit *unit;
	struct writer w;
	struct certificate_bucket bucket;
	size_t request_mark, kind_mark;
	uint32_t kind;
	bool kind_open;
	size_t values, size; /* octets of values and certificates so far */
};

void unit_free(struct unit *unit) {
	struct parcel *parcel, *next;

	DL_FOREACH_SAFE (unit->parcels, parcel, next) {
		transaction_cancel(parcel->transaction);
		free(parcel);
	}
	changes_release(&unit->changes);
	free(unit->generations);
	free(unit);
}

/* ---- loading ---- */

static int load_record(void *userdata, const struct record *record) {
	struct hold *hold = userdata;
	_cleanup_(certificate_unrefp) struct certificate *signer = NULL;
	struct reader signature = reader_of_octets(record->signature);
	struct stored_data data = {
		.storage_time_ms = record->storage_time_ms,
		/* B-7.4.1-13: less the time it was held here */
		.lifetime_s = record_lifetime_left(record->received_ms, record->lifetime_s, hold->now_ms),
		.value = record_stored_value(record, hold->model),
	};

	/* What would not be served is not replicated either: expired and revoked signers. */
	if (signature_read(&signature, &data.signature) < 0 || store_certificate(hold->store, record->certificate, &signer) < 0)
		return 0;
	if (hold->count == hold->capacity) {
		size_t capacity = hold->capacity ? hold->capacity * 2 : 8;
		struct cargo *cargo = reallocarray(hold->cargo, capacity, sizeof(*cargo));
		if (!cargo)
			return -ENOMEM;
		hold->cargo = cargo;
		hold->capacity = capacity;
	}
	struct writer w = writer_growing(UINT32_MAX);
	stored_data_write(&w, &data);
	int error = writer_finish(&w);
	if (error < 0) {
		writer_release(&w);
		return error;
	}
	struct cargo *cargo = &hold->cargo[hold->count++];
	*cargo = (struct cargo){.kind = record->kind, .generation = hold->generation, .signer = TAKE(signer)};
	cargo->data = writer_take(&w, &cargo->length);
	return 0;
}

static int load_change(struct hold *hold, size_t i) {
	const struct change *change = &hold->unit->changes.items[i];
	const struct id *resource_id = &hold->unit->changes.resource_id;
	const struct kind *kind = overlay_config_kind(store_config(hold->store), change->kind);
	struct octets key = OCTETS(change->key, change->key_length);
	struct record_kind state;

	int found = record_kind_get(hold->store->database, resource_id, change->kind, &state);
	if (found <= 0 || !kind)
		return found < 0 ? found : 0; /* expired or discarded in the meantime, or a Kind that is no more */
	hold->model = kind->model;
	hold->generation = hold->unit->generations[i] = state.generation;
	return record_visit(hold->store->database, resource_id, change->kind, change->whole ? NULL : &key,
			    change->whole ? NULL : &key, hold->now_ms, load_record, hold);
}

static void hold_release(struct hold *hold) {
	for (size_t i = 0; i < hold->count; i++) {
		free(hold->cargo[i].data);
		certificate_unref(hold->cargo[i].signer);
	}
	free(hold->cargo);
}

/* ---- sending ---- */

/* Header with both lists and room for what via lists grow by, contents, and the security block without other certificates. */
static size_t overhead(struct store *store) {
	enum {
		HEADER_ROOM = 38 + 2 * 20 + 18 * 8,
		CONTENTS = 10,
		REQUEST = 1 + ID_LENGTH_MAX + 1 + 4,
		SECURITY = 2 + 40 + 3 + 256
	};

	return HEADER_ROOM + CONTENTS + REQUEST + SECURITY + router_credential(store->router)->certificate->der_length;
}

static void on_stored(void *userdata, int error, const struct response *response) {
	struct parcel *parcel = userdata;
	struct unit *unit = parcel->unit;

	DL_DELETE(unit->parcels, parcel);
	free(parcel);
	if (error == -EREMOTEIO) {
		switch (response->error.code) {
		case ERROR_GENERATION_COUNTER_TOO_LOW:
		case ERROR_DATA_TOO_OLD:
			unit->stale = unit->refused = true; /* B-7.4.1-14 */
			unit->newer_at = response->signer_id;
			break;
		case ERROR_UNKNOWN_KIND:
			kind_update_send(unit->feed->store->router, &response->signer_id, response->error.info); /* B-7.4.1-04 */
			unit->retry = true;
			break;
		case ERROR_FORBIDDEN:
			/* The neighbor's view of the ring may lag behind ours by an Update. */
			unit->refused = true;
			unit->retry = true;
			break;
		case ERROR_CONFIG_TOO_OLD:
		case ERROR_CONFIG_TOO_NEW:
		case ERROR_DATA_TOO_LARGE:
			unit->retry = true;
			break;
		default:
			unit->refused = true;
			break;
		}
		error = unit->retry ? -EAGAIN : -EREMOTEIO;
	} else if (error < 0) {
		unit->retry = true;
	}
	if (error < 0 && unit->error == 0)
		unit->error = error;
	if (--unit->outstanding == 0 && !unit->preparing)
		unit_sent(unit);
}

static void packet_open(struct packet *packet) {
	packet->w = writer_growing(UINT32_MAX);
	packet->request_mark =
		store_req_begin(&packet->w, id_octets(&packet->unit->changes.resource_id), packet->unit->replica_number);
	packet->kind_open = false;
	packet->values = packet->size = 0;
}

static int packet_submit(struct packet *packet) {
	struct unit *unit = packet->unit;
	struct store *store = unit->feed->store;
	uint8_t list[2 + ID_LENGTH_MAX + 2];
	struct writer destination = writer_fixed(list, sizeof(list));
	struct parcel *parcel = calloc(1, sizeof(*parcel));

	if (!parcel)
		return -ENOMEM;
	destination.node_id_length = unit->feed->target.length;
	if (id_is_none(&unit->feed->target))
		destination_write_resource(&destination, id_octets(&unit->changes.resource_id));
	else
		destination_write_node(&destination, &unit->feed->target); /* B-10.4-01 */
	parcel->unit = unit;
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,	  .destination_list = writer_octets_written(&destination),
		.code = STORE_REQ,	  .body = writer_octets_written(&packet->w),
		.extra = &packet->bucket, /* B-6.3.4-01 */
		.done = on_stored,	  .userdata = parcel,
	};
	int error = router_send_request(store->router, &outgoing, &parcel->transaction);
	if (error < 0) {
		free(parcel);
		return error;
	}
	DL_APPEND(unit->parcels, parcel);
	unit->outstanding++;
	store->figures.replicas_sent++;
	return 0;
}

static int packet_close(struct packet *packet) {
	int error = 0;

	if (packet->kind_open)
		store_kind_data_end(&packet->w, packet->kind_mark);
	store_req_end(&packet->w, packet->request_mark);
	if (packet->values > 0) {
		error = writer_finish(&packet->w);
		if (error == 0)
			error = packet_submit(packet);
	}
	writer_release(&packet->w);
	certificate_bucket_release(&packet->bucket);
	packet->bucket.count = 0;
	return error;
}

/* Octets that `cargo` adds to the message. */
static size_t packet_cost(const struct packet *packet, const struct cargo *cargo) {
	size_t cost = cargo->length;

	if (!packet->kind_open || packet->kind != cargo->kind)
		cost += 4 + 8 + 4;
	for (size_t i = 0; i < packet->bucket.count; i++)
		if (packet->bucket.certificates[i] == cargo->signer)
			return cost;
	return cost + 3 + cargo->signer->der_length;
}

static int packet_add(struct packet *packet, const struct cargo *cargo) {
	packet->size += packet_cost(packet, cargo);
	if (packet->kind_open && packet->kind != cargo->kind) {
		store_kind_data_end(&packet->w, packet->kind_mark);
		packet->kind_open = false;
	}
	if (!packet->kind_open) {
		packet->kind_mark = store_kind_data_begin(&packet->w, cargo->kind, cargo->generation);
		packet->kind = cargo->kind;
		packet->kind_open = true;
	}
	writer_octets(&packet->w, OCTETS(cargo->data, cargo->length));
	packet->values++;
	return certificate_bucket_add(&packet->bucket, cargo->signer);
}

static int send_hold(struct hold *hold) {
	struct packet packet = {.unit = hold->unit};
	size_t most = store_config(hold->store)->max_message_size, fixed = overhead(hold->store);
	size_t room = most > fixed ? most - fixed : 0;
	bool too_large = false;
	int error = 0;

	packet_open(&packet);
	for (size_t i = 0; i < hold->count && error == 0; i++) {
		const struct cargo *cargo = &hold->cargo[i];
		bool full = packet.size + packet_cost(&packet, cargo) > room || packet.bucket.count + 2 > CERTIFICATE_BUCKET_MAX;
		if (full && packet.values > 0) {
			error = packet_close(&packet);
			packet_open(&packet);
			too_large |= error == -EMSGSIZE;
			error = error == -EMSGSIZE ? 0 : error;
		}
		if (error == 0)
			error = packet_add(&packet, cargo);
	}
	int closed = packet_close(&packet);
	if (error < 0 || closed < 0)
		return error < 0 ? error : closed;
	return too_large ? -EMSGSIZE : 0;
}

void unit_send(struct unit *unit) {
	struct store *store = unit->feed->store;
	struct hold hold = {.store = store, .unit = unit, .now_ms = runtime_realtime_ms(store->runtime)};
	int error = 0;

	unit->attempts++;
	unit->retry = unit->stale = unit->refused = false;
	unit->error = 0;
	/* The guard keeps the unit alive until everything is handed to the router. */
	unit->preparing = true;
	for (size_t i = 0; i < unit->changes.count && error == 0; i++)
		error = load_change(&hold, i);
	if (error == 0)
		error = send_hold(&hold);
	hold_release(&hold);
	unit->preparing = false;
	if (error < 0) {
		unit->error = error;
		unit->retry = error != -EMSGSIZE; /* one value and its certificates beyond max-message-size: never fits */
	}
	if (unit->outstanding == 0)
		unit_sent(unit);
}
