/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The certificate store usage (RFC 6940 8): each certificate is kept at H(user name) and at H(Node-ID), in the array entry where it
 * already stands or else behind the end. Every refresh looks first, so that a lost answer never makes a second copy.
 */
#include "usages/usages.h"

#include "base/log.h"
#include "base/table.h"
#include "overlay/digest.h"
#include "storage/access.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

enum {
	LIFETIME_S = 86400,
	REFRESH_PERCENT = 60, /* of the lifetime */
	RETRY_FIRST_S = 5,    /* after a failure; doubles */
	RETRY_LAST_S = 600,
	SPREAD_MS = 1000, /* stores of one node do not all go out at once: */
	STEP_MS = 20,	  /* with many users at least this between two, on the average */
};

/* What makes two copies the same: where, and of which certificate. */
struct copy_key {
	uint8_t place[32]; /* SHA-256 of Kind and Resource-ID, so that nothing in between is undefined */
	uint8_t certificate[32];
};

/* One place of one certificate. Lives on after its owner until a request under way has come back. */
struct copy {
	struct certificate_store *owner; /* NULL: freed */
	struct credential *credential;
	struct id resource_id;
	uint32_t kind;
	bool busy;
	uint32_t lifetime_s;
	unsigned retry_s; /* 0: the last attempt succeeded */
	struct timer timer;
	struct copy *prev, *next;
	struct copy_key key;
	UT_hash_handle hh;
};

struct certificate_store {
	struct runtime *runtime;
	struct router *router;
	struct copy *copies;
	struct copy *by_key;
	size_t count;
	bool started;
};

static void copy_free(struct copy *copy) {
	credential_unref(copy->credential);
	free(copy);
}

static void forget(struct copy *copy) {
	HASH_DEL(copy->owner->by_key, copy);
	DL_DELETE(copy->owner->copies, copy);
	copy->owner->count--;
}

int certificate_store_new(struct runtime *runtime, struct router *router, struct certificate_store **ret) {
	struct certificate_store *certificates = calloc(1, sizeof(*certificates));

	if (!certificates)
		return -ENOMEM;
	certificates->runtime = runtime;
	certificates->router = router;
	*ret = certificates;
	return 0;
}

struct certificate_store *certificate_store_free(struct certificate_store *certificates) {
	struct copy *copy, *next;

	if (!certificates)
		return NULL;
	DL_FOREACH_SAFE (certificates->copies, copy, next) {
		forget(copy);
		timer_disarm(certificates->runtime, &copy->timer);
		copy->owner = NULL;
		if (!copy->busy)
			copy_free(copy);
	}
	free(certificates);
	return NULL;
}

/* ---- one attempt ---- */

static void again_in(struct copy *copy, uint64_t seconds) {
	struct runtime *runtime = copy->owner->runtime;

	timer_arm_after(runtime, &copy->timer, seconds * USEC_PER_SEC + runtime_random_below(runtime, SPREAD_MS) * USEC_PER_MSEC);
}

static void attempt_failed(struct copy *copy, const char *reason) {
	if (copy->retry_s == 0)
		log_warning("The certificate of %s cannot be stored in the overlay: %s", copy->credential->certificate->user_name,
			    reason);
	copy->retry_s = copy->retry_s == 0 ? RETRY_FIRST_S : copy->retry_s * 2 < RETRY_LAST_S ? copy->retry_s * 2 : RETRY_LAST_S;
	again_in(copy, copy->retry_s);
}

/* The request has come back; false: there is nobody left to care. */
static bool attempt_over(struct copy *copy) {
	copy->busy = false;
	if (copy->owner)
		return true;
	copy_free(copy);
	return false;
}

static const char *outcome_reason(const struct storage_outcome *outcome) {
	return outcome->error == -EREMOTEIO ? outcome->error_text : strerror(-outcome->error);
}

static void on_stored(void *userdata, const struct storage_outcome *outcome) {
	struct copy *copy = userdata;

	if (!attempt_over(copy))
		return;
	if (outcome->error < 0) {
		attempt_failed(copy, outcome_reason(outcome));
		return;
	}
	copy->retry_s = 0;
	again_in(copy, (uint64_t)copy->lifetime_s * REFRESH_PERCENT / 100);
}

/* Bare DER, or wrapped as GenericCertificate by others. */
static bool holds(struct octets value, const struct certificate *certificate) {
	struct octets der = OCTETS(certificate->der, certificate->der_length);
	struct reader reader = reader_of_octets(value);
	struct generic_certificate wrapped;

	return octets_equal(value, der) || (generic_certificate_next(&reader, &wrapped) > 0 && reader_finish(&reader) == 0 &&
					    wrapped.type == CERTIFICATE_X509 && octets_equal(wrapped.certificate, der));
}

/* Nobody trusts it any more. The warning is for those that have no newer one. */
static void copy_expired(struct copy *copy) {
	const struct certificate *certificate = copy->credential->certificate;
	const struct copy *other;

	DL_FOREACH (copy->owner->copies, other)
		if (other->kind == copy->kind && id_equal(&other->resource_id, &copy->resource_id) &&
		    other->credential->certificate->not_after_ms > certificate->not_after_ms)
			break;
	if (other)
		log_debug("A former certificate of %s has expired and is no longer stored in the overlay.", certificate->user_name);
	else if (copy->kind == KIND_CERTIFICATE_BY_USER)
		log_warning("The certificate of %s has expired and is no longer stored in the overlay.", certificate->user_name);
	forget(copy);
	copy_free(copy);
}

static void on_fetched(void *userdata, const struct storage_outcome *outcome, const struct fetched_value *values, size_t count,
		       bool partial) {
	struct copy *copy = userdata;

	(void)partial;
	if (!attempt_over(copy))
		return;
	if (outcome->error < 0) {
		attempt_failed(copy, outcome_reason(outcome));
		return;
	}
	const struct certificate *certificate = copy->credential->certificate;
	uint64_t now_ms = runtime_realtime_ms(copy->owner->runtime);
	uint64_t left_s = certificate->not_after_ms > now_ms ? (certificate->not_after_ms - now_ms) / 1000 : 0;
	if (left_s == 0) {
		copy_expired(copy);
		return;
	}
	copy->lifetime_s = left_s < LIFETIME_S ? (uint32_t)left_s : LIFETIME_S;
	struct storage_value value = {
		.value = {.model = DATA_MODEL_ARRAY,
			  .index = ARRAY_INDEX_LAST, /* behind the end, so that old and new coexist (B-8-01) */
			  .exists = true,
			  .value = OCTETS(certificate->der, certificate->der_length)},
		.lifetime_s = copy->lifetime_s,
	};
	for (size_t i = 0; i < count; i++)
		if (values[i].signer && values[i].value.exists && holds(values[i].value.value, certificate)) {
			value.value.index = values[i].value.index; /* our own entry */
			break;
		}
	int error =
		storage_store(copy->owner->router, copy->credential, &copy->resource_id, copy->kind, 0, &value, 1, on_stored, copy);
	if (error < 0)
		attempt_failed(copy, strerror(-error));
	else
		copy->busy = true;
}

static void on_timer(struct timer *timer, void *userdata) {
	struct copy *copy = userdata;

	(void)timer;
	if (copy->busy)
		return;
	int error = storage_fetch(copy->owner->router, &copy->resource_id, copy->kind, NULL, on_fetched, copy);
	if (error < 0)
		attempt_failed(copy, strerror(-error));
	else
		copy->busy = true;
}

/* ---- the set ---- */

static int add_copy(struct certificate_store *certificates, struct credential *credential, const struct id *resource_id,
		    uint32_t kind) {
	struct copy *copy;

	struct copy_key key;
	const struct octets place[] = {OCTETS(&kind, sizeof(kind)), id_octets(resource_id)};

	int error = digest_sha256(place, ARRAY_LENGTH(place), key.place);
	if (error < 0)
		return error;
	memcpy(key.certificate, credential->certificate->sha256, sizeof(key.certificate));
	HASH_FIND(hh, certificates->by_key, &key, sizeof(key), copy);
	if (copy)
		return 0;
	copy = calloc(1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	copy->owner = certificates;
	copy->credential = credential_ref(credential);
	copy->resource_id = *resource_id;
	copy->kind = kind;
	copy->key = key;
	timer_init(&copy->timer, on_timer, copy);
	HASH_ADD(hh, certificates->by_key, key, sizeof(copy->key), copy);
	if (!copy->hh.tbl) {
		copy_free(copy);
		return -ENOMEM;
	}
	DL_APPEND(certificates->copies, copy);
	certificates->count++;
	if (certificates->started)
		again_in(copy, 0);
	return 0;
}

int certificate_store_add(struct certificate_store *certificates, struct credential *credential) {
	uint8_t length = router_config(certificates->router)->node_id_length;
	struct id by_node = resource_id_of_node(&credential->node_id, length);
	struct id by_user = resource_id_of_user(credential->certificate->user_name, length);
	int error = add_copy(certificates, credential, &by_node, KIND_CERTIFICATE_BY_NODE);

	return error < 0 ? error : add_copy(certificates, credential, &by_user, KIND_CERTIFICATE_BY_USER);
}

void certificate_store_start(struct certificate_store *certificates) {
	uint64_t spread_ms = certificates->count * STEP_MS > SPREAD_MS ? certificates->count * STEP_MS : SPREAD_MS;
	struct copy *copy;

	certificates->started = true;
	DL_FOREACH (certificates->copies, copy) {
		copy->retry_s = 0;
		if (!copy->busy)
			timer_arm_after(certificates->runtime, &copy->timer,
					runtime_random_below(certificates->runtime, spread_ms) * USEC_PER_MSEC);
	}
}
