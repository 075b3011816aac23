/* SPDX-License-Identifier: BSD-2-Clause */
/* From an AoR to contacts (RFC 7904 4). */
#include "usages/sip_aor.h"

#include "storage/access.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

enum { SIP_LOOKUPS_MAX = 32 /* Fetches for one resolution; what would need more is left out */ };

struct lookup {
	char aor[SIP_AOR_SIZE];
	unsigned depth;
	uint32_t lifetime_s; /* of the mapping that led here */
};

struct resolution {
	struct router *router;
	struct storage_history *history;
	struct lookup lookups[SIP_LOOKUPS_MAX];
	size_t lookup_count, current;
	struct sip_contact contacts[SIP_CONTACTS_MAX];
	size_t contact_count;
	bool looped;
	bool known;	    /* somebody has stored something for this AoR, or for one that it stands for */
	int error;	    /* of the first Fetch that failed */
	struct timer timer; /* for an answer without a Fetch */
	sip_resolve_done done;
	void *userdata;
};

static void finish(struct resolution *resolution) {
	int error = 0;

	if (resolution->contact_count == 0)
		error = resolution->error < 0 ? resolution->error
			: resolution->looped  ? -ELOOP
			: resolution->known   ? -ENODATA
					      : -ENOENT;
	resolution->done(resolution->userdata, error, resolution->contacts, resolution->contact_count);
	free(resolution);
}

static void next_lookup(struct resolution *resolution);

static void note_error(struct resolution *resolution, const struct storage_outcome *outcome) {
	int error = outcome->error;

	if (error == -EREMOTEIO && outcome->error_code == ERROR_NOT_FOUND)
		return;
	if (error != -ETIMEDOUT && error != -ECANCELED)
		error = -ENETUNREACH;
	if (resolution->error == 0)
		resolution->error = error;
}

/* ---- what registrations say ---- */

static struct sip_contact *new_contact(struct resolution *resolution, const struct fetched_value *value, uint32_t lifetime_s) {
	if (resolution->contact_count == SIP_CONTACTS_MAX)
		return NULL;
	struct sip_contact *contact = &resolution->contacts[resolution->contact_count];
	*contact = (struct sip_contact){.registrant = value->signer_id, .lifetime_s = lifetime_s};
	return contact;
}

/* Keeps the contact unless it is there already (S-4.2-01). */
static void keep_contact(struct resolution *resolution) {
	const struct sip_contact *contact = &resolution->contacts[resolution->contact_count];

	for (size_t i = 0; i < resolution->contact_count; i++) {
		const struct sip_contact *other = &resolution->contacts[i];
		if (contact->destination_list_length > 0
			    ? octets_equal(OCTETS(contact->destination_list, contact->destination_list_length),
					   OCTETS(other->destination_list, other->destination_list_length))
			    : strcmp(contact->uri, other->uri) == 0 && other->destination_list_length == 0)
			return;
	}
	resolution->contact_count++;
}

static void add_route(struct resolution *resolution, const struct fetched_value *value, const struct sip_registration *registration,
		      uint32_t lifetime_s) {
	struct sip_contact *contact = new_contact(resolution, value, lifetime_s);

	if (!contact || registration->destination_list.length > sizeof(contact->destination_list))
		return;
	contact->route = true;
	contact->secure = octets_equal(registration->contact_prefs, octets_of_string("(sip.schemes=SIPS)"));
	memcpy(contact->destination_list, registration->destination_list.data, registration->destination_list.length);
	contact->destination_list_length = registration->destination_list.length;
	keep_contact(resolution);
}

/* A further AoR to look up, unless that was done (S-4.2-01: a loop ends). */
static void add_lookup(struct resolution *resolution, const char *aor, unsigned depth, uint32_t lifetime_s) {
	for (size_t i = 0; i < resolution->lookup_count; i++)
		if (strcmp(resolution->lookups[i].aor, aor) == 0) {
			resolution->looped = true;
			return;
		}
	if (depth > SIP_RESOLVE_DEPTH_MAX || resolution->lookup_count == SIP_LOOKUPS_MAX) {
		resolution->looped = true;
		return;
	}
	struct lookup *lookup = &resolution->lookups[resolution->lookup_count++];
	lookup->depth = depth;
	lookup->lifetime_s = lifetime_s;
	snprintf(lookup->aor, sizeof(lookup->aor), "%s", aor);
}

static bool printable(const char *text) {
	for (; *text; text++)
		if (*text <= ' ' || *text == 0x7f || *text == '<' || *text == '>' || *text == '"')
			return false;
	return true;
}

static void add_uri(struct resolution *resolution, const struct fetched_value *value, struct octets uri, uint32_t lifetime_s) {
	const struct lookup *from = &resolution->lookups[resolution->current];
	char text[SIP_CONTACT_SIZE - 4], aor[SIP_AOR_SIZE];

	if (uri.length == 0 || uri.length >= sizeof(text) || memchr(uri.data, 0, uri.length))
		return;
	memcpy(text, uri.data, uri.length);
	text[uri.length] = '\0';
	if (!printable(text))
		return;
	if (sip_is_overlay_aor(router_config(resolution->router), text, from->aor, aor)) {
		add_lookup(resolution, aor, from->depth + 1, lifetime_s);
		return;
	}
	struct sip_contact *contact = new_contact(resolution, value, lifetime_s);
	if (!contact)
		return;
	bool scheme = strncasecmp(text, "sip:", 4) == 0 || strncasecmp(text, "sips:", 5) == 0;
	if (!scheme && !strchr(text, '@'))
		return; /* neither an AoR nor a URI we could dial */
	snprintf(contact->uri, sizeof(contact->uri), "%s%s", scheme ? "" : "sip:", text);
	/* A GRUU can be used directly; its destination list goes along. */
	if (sip_gruu_of_uri(contact->uri, contact->destination_list, sizeof(contact->destination_list),
			    &contact->destination_list_length) < 0)
		contact->destination_list_length = 0;
	keep_contact(resolution);
}

static void add_value(struct resolution *resolution, const struct fetched_value *value) {
	uint32_t limit_s = resolution->lookups[resolution->current].lifetime_s;
	uint32_t lifetime_s = value->lifetime_s < limit_s ? value->lifetime_s : limit_s;
	struct sip_registration registration;

	if (!value->signer || value->rolled_back)
		return;
	resolution->known = true; /* removed as it may be */
	if (!value->value.exists || sip_registration_read(value->value.value, &registration) < 0)
		return;
	if (registration.type == SIP_REGISTRATION_URI)
		add_uri(resolution, value, registration.uri, lifetime_s);
	else if (registration.type == SIP_REGISTRATION_ROUTE)
		add_route(resolution, value, &registration, lifetime_s);
}

static void on_fetched(void *userdata, const struct storage_outcome *outcome, const struct fetched_value *values, size_t count,
		       bool partial) {
	struct resolution *resolution = userdata;

	(void)partial;
	if (outcome->error < 0)
		note_error(resolution, outcome);
	for (size_t i = 0; outcome->error == 0 && i < count; i++)
		add_value(resolution, &values[i]);
	resolution->current++;
	next_lookup(resolution);
}

static int fetch_current(struct resolution *resolution) {
	const struct lookup *lookup = &resolution->lookups[resolution->current];
	struct id resource_id = resource_id_of_user(lookup->aor, router_config(resolution->router)->node_id_length);

	/* S-4.2-01: without keys, all registrations */
	return storage_fetch_with(resolution->router, resolution->history, &resource_id, KIND_SIP_REGISTRATION, NULL, on_fetched,
				  resolution);
}

static void next_lookup(struct resolution *resolution) {
	for (; resolution->current < resolution->lookup_count; resolution->current++) {
		int error = fetch_current(resolution);
		if (error == 0)
			return;
		if (resolution->error == 0)
			resolution->error = error == -ECANCELED ? error : -ENETUNREACH;
	}
	finish(resolution);
}

static void on_timer(struct timer *timer, void *userdata) {
	(void)timer;
	finish(userdata);
}

/* A GRUU names its node itself (S-4.1-01, S-6-01). */
static bool take_gruu(struct resolution *resolution, const char *uri) {
	struct sip_contact *contact = &resolution->contacts[0];
	size_t length;

	if (sip_gruu_of_uri(uri, contact->destination_list, sizeof(contact->destination_list), &length) < 0)
		return false;
	bool scheme = strncasecmp(uri, "sip:", 4) == 0 || strncasecmp(uri, "sips:", 5) == 0;
	int written = snprintf(contact->uri, sizeof(contact->uri), "%s%s", scheme ? "" : "sip:", uri);
	if (written < 0 || (size_t)written >= sizeof(contact->uri))
		return false;
	contact->destination_list_length = length;
	resolution->contact_count = 1;
	timer_init(&resolution->timer, on_timer, resolution);
	timer_arm_after(router_runtime(resolution->router), &resolution->timer, 0);
	return true;
}

int sip_resolve_with(struct router *router, struct storage_history *history, const char *aor, sip_resolve_done done,
		     void *userdata) {
	char normal[SIP_AOR_SIZE];

	if (sip_aor_of_uri(aor, normal, sizeof(normal)) < 0)
		return -EINVAL;
	struct resolution *resolution = calloc(1, sizeof(*resolution));
	if (!resolution)
		return -ENOMEM;
	resolution->router = router;
	resolution->history = history;
	resolution->done = done;
	resolution->userdata = userdata;
	if (take_gruu(resolution, aor))
		return 0;
	add_lookup(resolution, normal, 0, UINT32_MAX);
	int error = fetch_current(resolution);
	if (error < 0)
		free(resolution);
	return error;
}

int sip_resolve(struct router *router, const char *aor, sip_resolve_done done, void *userdata) {
	return sip_resolve_with(router, NULL, aor, done, userdata);
}
