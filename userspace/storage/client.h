/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the overlay's client side share. */
#pragma once

#include "storage/store.h"

/* A value as it came, for those that store it again. `signer` NULL: synthesized. */
struct raw_value {
	struct stored_data data;
	struct certificate *signer;
	struct id signer_id;
};
typedef void (*raw_fetch_done)(void *userdata, const struct storage_outcome *outcome, const struct raw_value *values, size_t count);

/* As storage_fetch(). */
int storage_fetch_raw(struct router *router, const struct id *resource_id, uint32_t kind, const struct id *destination,
		      raw_fetch_done done, void *userdata);

/* Error, code, text and responder of what a transaction ended with. */
void outcome_of_response(struct storage_outcome *outcome, int error, const struct response *response);

/* [resource], or [node]. The buffer holds CLIENT_DESTINATION_SIZE octets. */
enum { CLIENT_DESTINATION_SIZE = 2 + 1 + ID_LENGTH_MAX };
struct octets client_destination(const struct id *resource_id, const struct id *node_id,
				 uint8_t buffer[static CLIENT_DESTINATION_SIZE]);

/* Was this storage_time seen newer before? Remembers the newest. */
bool storage_history_check(struct storage_history *history, const struct id *resource_id, uint32_t kind,
			   const struct stored_value *value, uint64_t storage_time_ms);
