/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a new configuration document makes worthless: values whose signers are bad nodes now (B-11.1-06), and values of Kinds that
 * are no longer defined (B-11.1-12). Walked through in small steps, so that a large database does not hold up the node.
 */
#include "storage/store_internal.h"

/* Bad nodes only: certificates that merely expired say nothing against what they signed in time. */
static bool signer_is_bad(const struct overlay_config *config, struct octets der) {
	struct certificate *certificate = NULL;
	const char *reason;
	bool bad = false;

	if (certificate_from_der(der, config->overlay_name, config->node_id_length, &certificate, &reason) < 0)
		return false;
	for (size_t i = 0; i < certificate->node_id_count && !bad; i++)
		bad = overlay_config_is_bad_node(config, &certificate->node_ids[i]);
	certificate_unref(certificate);
	return bad;
}

/* Looks at the next certificate. 1 go on, 0 it was the last. */
static int sweep_certificate(struct store *store) {
	_cleanup_(writer_release) struct writer der = writer_growing(2 * CERTIFICATE_SIZE_MAX);
	int64_t next;

	int found = record_certificate_next(store->database, store->sweep.certificate, &next, &der);
	if (found <= 0)
		return found;
	if (writer_finish(&der) < 0 || !signer_is_bad(store_config(store), writer_octets_written(&der))) {
		store->sweep.certificate = next;
		return 1;
	}
	int count = record_discard_signed(store->database, next);
	if (count < 0)
		return count;
	store->figures.revoked += (uint64_t)count;
	if (count == 0) /* it went with the last of its records */
		store->sweep.certificate = next;
	return 1;
}

/* The next page of Kinds. 1 go on, 0 it was the last. */
static int sweep_kinds(struct store *store) {
	struct record_kind page[STORE_SCAN_PAGE];
	int count = record_kinds(store->database, &store->sweep.resource_id, store->sweep.kind, page, STORE_SCAN_PAGE);

	for (int i = 0; i < count; i++) {
		store->sweep.resource_id = page[i].resource_id;
		store->sweep.kind = page[i].kind;
		if (overlay_config_kind(store_config(store), page[i].kind))
			continue;
		uint64_t before = record_database_totals(store->database).records;
		int error = record_discard(store->database, &page[i].resource_id, page[i].kind);
		if (error < 0)
			return error;
		store->figures.revoked += before - record_database_totals(store->database).records;
	}
	return count < 0 ? count : count == STORE_SCAN_PAGE;
}

static int sweep_step(struct store *store) {
	int more = store_begin(store);

	if (more < 0)
		return more;
	for (unsigned i = 0; i < STORE_SWEEP_CERTIFICATES && !store->sweep.certificates_done; i++) {
		more = sweep_certificate(store);
		if (more < 0)
			return more;
		store->sweep.certificates_done = more == 0;
	}
	return store->sweep.certificates_done ? sweep_kinds(store) : 1;
}

static void on_sweep(struct timer *timer, void *userdata) {
	struct store *store = userdata;
	int more = sweep_step(store);

	if (more < 0)
		store_database_failed(store, more);
	if (more > 0)
		timer_arm_after(store->runtime, timer, STORE_SWEEP_PAUSE_MS * USEC_PER_MSEC);
	else if (more < 0)
		timer_arm_after(store->runtime, timer, STORE_OFFER_RETRY_S * USEC_PER_SEC);
}

void store_sweep_init(struct store *store) {
	timer_init(&store->sweep.timer, on_sweep, store);
}

void store_configuration_changed(struct store *store) {
	store->sweep.certificates_done = false;
	store->sweep.certificate = 0;
	store->sweep.resource_id = ID_NONE;
	store->sweep.kind = 0;
	timer_arm_after(store->runtime, &store->sweep.timer, 0);
}
