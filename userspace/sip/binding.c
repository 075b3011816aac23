/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of local registrations: AoR to Contacts, each with its time to live. */
#include "sip/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static unsigned aor_hash(const struct sip_gateway *gateway, const char *aor) {
	return (unsigned)keyed_hash(gateway->hash_key, octets_of_string(aor));
}

struct registration *registration_find(const struct sip_gateway *gateway, const char *aor) {
	struct registration *registration = NULL;

	HASH_FIND_BYHASHVALUE(hh, gateway->registrations, aor, strlen(aor), aor_hash(gateway, aor), registration);
	return registration;
}

struct registration *registration_get(struct sip_gateway *gateway, const char *aor) {
	struct registration *registration = registration_find(gateway, aor);

	if (registration)
		return registration;
	registration = calloc(1, sizeof(*registration));
	if (!registration)
		return NULL;
	registration->gateway = gateway;
	registration->aor = strdup(aor);
	if (!registration->aor) {
		free(registration);
		return NULL;
	}
	HASH_ADD_KEYPTR_BYHASHVALUE(hh, gateway->registrations, registration->aor, strlen(aor), aor_hash(gateway, aor),
				    registration);
	if (!registration->hh.tbl) {
		free(registration->aor);
		free(registration);
		return NULL;
	}
	return registration;
}

struct registration *registration_free(struct registration *registration) {
	if (!registration)
		return NULL;
	while (registration->jobs)
		register_job_free(registration->jobs);
	while (registration->bindings)
		binding_free(registration->bindings);
	HASH_DELETE(hh, registration->gateway->registrations, registration);
	free(registration->aor);
	free(registration);
	return NULL;
}

void registration_release(struct registration *registration) {
	if (!registration->jobs && !registration->bindings)
		registration_free(registration);
}

struct binding *registration_binding(const struct registration *registration, const osip_uri_t *uri) {
	for (struct binding *binding = registration->bindings; binding; binding = binding->next)
		if (uri_equal(binding->uri, uri))
			return binding;
	return NULL;
}

struct binding *registration_contact(const struct registration *registration, const char *contact, const osip_uri_t *uri) {
	for (struct binding *binding = registration->bindings; binding; binding = binding->next)
		if (strcmp(binding->contact, contact) == 0)
			return binding;
	return registration_binding(registration, uri);
}

/* The overlay was given the same time to live with each bind, so it need not be told. */
static void binding_expired(struct timer *timer, void *userdata) {
	struct binding *binding = userdata;
	struct registration *registration = binding->registration;

	(void)timer;
	binding_free(binding);
	registration_release(registration);
}

void registration_commit(struct registration *registration, struct binding *binding) {
	struct runtime *runtime = registration->gateway->runtime;

	binding_free(registration_contact(registration, binding->contact, binding->uri));
	binding->registration = registration;
	DL_APPEND2(registration->bindings, binding, previous, next);
	registration->binding_count++;
	registration->gateway->figures.bindings++;
	binding->expires_us = runtime->now_us + binding->expires_s * USEC_PER_SEC;
	timer_init(&binding->timer, binding_expired, binding);
	timer_arm(runtime, &binding->timer, binding->expires_us);
}

struct binding *binding_free(struct binding *binding) {
	if (!binding)
		return NULL;
	struct registration *registration = binding->registration;
	if (registration) {
		DL_DELETE2(registration->bindings, binding, previous, next);
		registration->binding_count--;
		registration->gateway->figures.bindings--;
		timer_disarm(registration->gateway->runtime, &binding->timer);
	}
	free(binding->contact);
	free(binding->call_id);
	uri_free(binding->uri);
	free(binding);
	return NULL;
}

unsigned binding_seconds_left(const struct binding *binding) {
	uint64_t now_us = binding->registration->gateway->runtime->now_us;

	if (binding->expires_us <= now_us)
		return 0;
	return (unsigned)((binding->expires_us - now_us + USEC_PER_SEC - 1) / USEC_PER_SEC);
}

void sip_gateway_bindings(const struct sip_gateway *gateway, void (*each)(void *userdata, const struct sip_binding_view *),
			  void *userdata) {
	for (const struct registration *registration = gateway->registrations; registration; registration = registration->hh.next)
		for (const struct binding *binding = registration->bindings; binding; binding = binding->next) {
			char source[ADDRESS_TEXT_SIZE];
			const struct sip_binding_view view = {
				.aor = registration->aor,
				.contact = binding->contact,
				.source = address_format(&binding->source, source),
				.expires_s = binding_seconds_left(binding),
			};
			each(userdata, &view);
		}
}

size_t sip_gateway_contacts(const struct sip_gateway *gateway, const char *aor, struct sip_redirect_contact *contacts, size_t max) {
	const struct registration *registration = registration_find(gateway, aor);
	size_t count = 0;

	for (const struct binding *binding = registration ? registration->bindings : NULL; binding && count < max;
	     binding = binding->next)
		contacts[count++] =
			(struct sip_redirect_contact){.uri = binding->contact, .expires_s = binding_seconds_left(binding)};
	return count;
}

/* The way to the phone: the listener it has used, over UDP; a connection is gone with the process that had it. */
static struct sip_flow former_flow(const struct sip_gateway *gateway, const struct sip_binding_request *request) {
	struct sip_flow flow = {.remote = request->source, .local = request->local, .transport = request->transport, .fd = -1};

	for (size_t i = 0; i < gateway->listener_count && request->transport == SIP_UDP; i++) {
		const struct sip_listener *listener = &gateway->listeners[i];
		if (listener->address.family != request->local.family || listener->address.port != request->local.port)
			continue;
		if (flow.fd < 0 || memcmp(listener->address.octets, request->local.octets, sizeof(request->local.octets)) == 0)
			flow.fd = listener->udp;
	}
	return flow;
}

int sip_gateway_restore(struct sip_gateway *gateway, const struct sip_binding_request *request) {
	_cleanup_(binding_freep) struct binding *binding = calloc(1, sizeof(*binding));

	if (!binding)
		return -ENOMEM;
	binding->uri = uri_parse(request->contact);
	if (!binding->uri || !uri_is_sip(binding->uri) || request->expires_s == 0 || strlen(request->aor) > SIP_AOR_OCTETS)
		return -EINVAL;
	binding->contact = strdup(request->contact);
	binding->call_id = strdup(request->call_id);
	if (!binding->contact || !binding->call_id)
		return -ENOMEM;
	binding->cseq = request->cseq;
	binding->q = request->q;
	binding->expires_s = request->expires_s;
	binding->source = request->source;
	binding->flow = former_flow(gateway, request);
	struct registration *registration = registration_get(gateway, request->aor);
	if (!registration)
		return -ENOMEM;
	int error = 0;
	if (registration_binding(registration, binding->uri))
		error = -EEXIST;
	else if (registration->binding_count >= SIP_CONTACTS_PER_AOR || gateway->figures.bindings >= LIMIT_SIP_BINDINGS)
		error = -ENOBUFS;
	if (error == 0)
		registration_commit(registration, TAKE(binding));
	registration_release(registration);
	return error;
}
