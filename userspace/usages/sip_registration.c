/* SPDX-License-Identifier: BSD-2-Clause */
/* Storing and removing registrations (RFC 7904 3). */
#include "usages/sip_aor.h"

#include "storage/access.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

enum { TOMBSTONE_MIN_S = 60 };

/* A removal looks first: the tombstone must live as long as what it hides (B-7.4.1-19). */
struct removal {
	struct router *router;
	struct credential *credential;
	struct id resource_id;
	uint64_t started_us;
	sip_store_done done;
	void *userdata;
};

static void removal_end(struct removal *removal, const struct storage_outcome *outcome) {
	struct storage_outcome whole = *outcome;

	whole.elapsed_us = router_runtime(removal->router)->now_us - removal->started_us;
	removal->done(removal->userdata, &whole);
	credential_unref(removal->credential);
	free(removal);
}

static void on_removed(void *userdata, const struct storage_outcome *outcome) {
	removal_end(userdata, outcome);
}

static void on_fetched(void *userdata, const struct storage_outcome *outcome, const struct fetched_value *values, size_t count,
		       bool partial) {
	struct removal *removal = userdata;
	struct octets key = id_octets(&removal->credential->node_id);
	struct storage_value tombstone = {.value = {.model = DATA_MODEL_DICTIONARY, .key = key}};
	struct storage_outcome failure = *outcome;

	(void)partial;
	for (size_t i = 0; outcome->error == 0 && i < count; i++)
		if (values[i].signer && values[i].value.exists && octets_equal(values[i].value.key, key)) {
			tombstone.lifetime_s = values[i].lifetime_s > TOMBSTONE_MIN_S ? values[i].lifetime_s : TOMBSTONE_MIN_S;
			/* Clocks of two nodes may differ: the tombstone has to be newer than what it replaces. */
			uint64_t now_ms = runtime_realtime_ms(router_runtime(removal->router));
			tombstone.storage_time_ms = now_ms > values[i].storage_time_ms ? now_ms : values[i].storage_time_ms + 1;
		}
	if (outcome->error == 0 && tombstone.lifetime_s > 0) {
		failure.error = storage_store(removal->router, removal->credential, &removal->resource_id, KIND_SIP_REGISTRATION, 0,
					      &tombstone, 1, on_removed, removal);
		if (failure.error == 0)
			return;
	}
	removal_end(removal, &failure); /* nothing to remove, or it failed */
}

static int remove_registration(struct router *router, struct credential *credential, const struct id *resource_id,
			       sip_store_done done, void *userdata) {
	struct removal *removal = malloc(sizeof(*removal));

	if (!removal)
		return -ENOMEM;
	*removal = (struct removal){
		router, credential_ref(credential), *resource_id, router_runtime(router)->now_us, done, userdata,
	};
	int error = storage_fetch(router, resource_id, KIND_SIP_REGISTRATION, NULL, on_fetched, removal);
	if (error < 0) {
		credential_unref(removal->credential);
		free(removal);
	}
	return error;
}

/* What is stored for a contact: the AoR for one of this overlay, everything else as it is. */
static int contact_text(const struct overlay_config *config, const char *aor, const char *contact_uri,
			char text[static SIP_CONTACT_SIZE]) {
	char target[SIP_AOR_SIZE], probe[SIP_CONTACT_SIZE];

	if (strncasecmp(contact_uri, "sip:", 4) != 0 && strncasecmp(contact_uri, "sips:", 5) != 0)
		return -EINVAL;
	if (strlen(contact_uri) >= SIP_CONTACT_SIZE)
		return -EINVAL;
	if (sip_is_overlay_aor(config, contact_uri, aor, target)) {
		if (strcmp(target, aor) == 0)
			return -EINVAL;				/* in circles */
		snprintf(text, SIP_CONTACT_SIZE, "%s", target); /* S-2-01: without scheme */
		return 0;
	}
	const char *host = strchr(contact_uri, ':') + 1;
	/* A contact may lack a user part: "sip:192.0.2.11:5070". */
	if (strchr(host, '@') && sip_aor_of_uri(contact_uri, probe, sizeof(probe)) < 0)
		return -EINVAL;
	if (*host == '\0')
		return -EINVAL;
	for (const char *at = contact_uri; *at; at++)
		if (*at <= ' ' || *at == 0x7f || *at == '<' || *at == '>' || *at == '"')
			return -EINVAL;
	snprintf(text, SIP_CONTACT_SIZE, "%s", contact_uri);
	return 0;
}

/* May this credential register the AoR here? Then its Resource-ID. */
static int check_registrant(struct router *router, const struct credential *credential, const char *aor, struct id *ret) {
	struct overlay_config *config = router_config(router);
	const struct kind *kind = overlay_config_kind(config, KIND_SIP_REGISTRATION);
	const char *user_name = credential->certificate->user_name;
	char own[SIP_AOR_SIZE], wanted[SIP_AOR_SIZE];

	if (!kind || sip_aor_of_uri(aor, wanted, sizeof(wanted)) < 0)
		return -EINVAL;
	if (sip_aor_of_uri(user_name, own, sizeof(own)) < 0 || strcmp(own, wanted) != 0)
		return -EACCES;
	if (!kind_domain_allowed(kind, user_name, config->overlay_name)) /* S-3.3-01 */
		return -EACCES;
	*ret = resource_id_of_user(user_name, config->node_id_length);
	return 0;
}

static int store(struct router *router, struct credential *credential, const struct id *resource_id,
		 const struct sip_registration *registration, uint32_t lifetime_s, sip_store_done done, void *userdata) {
	uint8_t buffer[SIP_CONTACT_SIZE + 512];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	sip_registration_write(&w, registration); /* S-3.2-01 */
	if (writer_finish(&w) < 0)
		return -EINVAL;
	struct storage_value value = {
		.value = {.model = DATA_MODEL_DICTIONARY,
			  .key = id_octets(&credential->node_id), /* S-7-01 */
			  .exists = true,
			  .value = writer_octets_written(&w)},
		.lifetime_s = lifetime_s, /* S-3.1-01 */
	};
	return storage_store(router, credential, resource_id, KIND_SIP_REGISTRATION, 0, &value, 1, done, userdata);
}

int sip_registration_store(struct router *router, struct credential *credential, const char *aor, const char *contact_uri,
			   uint32_t lifetime_s, sip_store_done done, void *userdata) {
	char wanted[SIP_AOR_SIZE], text[SIP_CONTACT_SIZE];
	struct id resource_id;

	int error = check_registrant(router, credential, aor, &resource_id);
	if (error < 0)
		return error;
	if (lifetime_s == 0)
		return remove_registration(router, credential, &resource_id, done, userdata);
	if (!contact_uri || sip_aor_of_uri(aor, wanted, sizeof(wanted)) < 0 ||
	    contact_text(router_config(router), wanted, contact_uri, text) < 0)
		return -EINVAL;
	const struct sip_registration registration = {.type = SIP_REGISTRATION_URI, .uri = octets_of_string(text)};
	return store(router, credential, &resource_id, &registration, lifetime_s, done, userdata);
}

int sip_registration_store_route(struct router *router, struct credential *credential, const char *aor, bool secure,
				 uint32_t lifetime_s, sip_store_done done, void *userdata) {
	uint8_t list[2 + ID_LENGTH_MAX];
	struct writer route = writer_fixed(list, sizeof(list));
	struct id resource_id;

	int error = check_registrant(router, credential, aor, &resource_id);
	if (error < 0)
		return error;
	destination_write_node(&route, router_node_id(router));
	const struct sip_registration registration = {
		.type = SIP_REGISTRATION_ROUTE,
		.contact_prefs = octets_of_string(secure ? "(sip.schemes=SIPS)" : "(sip.schemes=SIP)"), /* S-3.2-02 */
		.destination_list = writer_octets_written(&route),
	};
	return store(router, credential, &resource_id, &registration, lifetime_s, done, userdata);
}
