/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of local registrations: AoR to Contacts, each with its time to live. */
#include "sip/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
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
	registration->number = ++gateway->last_registration;
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

/* --- flows (RFC 5626) --- */

const char *binding_name(const struct binding *binding) {
	return binding->more && binding->more->name ? binding->more->name : binding->contact;
}

static bool has_flow(const struct binding *binding) {
	return binding->more && binding->more->reg_id != 0;
}

static bool same_flow(const struct binding *a, const struct binding *b) {
	return has_flow(a) && has_flow(b) && a->more->reg_id == b->more->reg_id &&
	       strcasecmp(a->more->instance, b->more->instance) == 0;
}

struct binding *registration_same(const struct registration *registration, const struct binding *binding) {
	if (!has_flow(binding))
		return registration_contact(registration, binding->contact, binding->uri);
	for (struct binding *other = registration->bindings; other; other = other->next)
		if (same_flow(other, binding))
			return other;
	return NULL;
}

static struct binding_more *more_free(struct binding_more *more) {
	if (!more)
		return NULL;
	free(more->path);
	free(more->instance);
	free(more->name);
	free(more);
	return NULL;
}

static struct sip_contact_uri *contact_release(struct sip_contact_uri *contact) {
	if (!contact || --contact->references > 0)
		return NULL;
	uri_free(contact->parsed);
	free(contact);
	return NULL;
}

static void contact_take(struct binding *binding, struct sip_contact_uri *contact) {
	contact->references++;
	binding->contact_uri = contact;
	binding->contact = contact->text;
	binding->uri = contact->parsed;
}

int binding_set_contact(struct binding *binding, const char *text) {
	struct sip_contact_uri *contact = malloc(sizeof(*contact) + strlen(text) + 1);

	if (!contact)
		return -ENOMEM;
	contact->references = 0;
	strcpy(contact->text, text);
	contact->parsed = uri_parse(text);
	if (!contact->parsed || !uri_is_sip(contact->parsed)) {
		uri_free(contact->parsed);
		free(contact);
		return -EINVAL;
	}
	contact_take(binding, contact);
	return 0;
}

struct binding *binding_again(const struct binding *binding) {
	_cleanup_(binding_freep) struct binding *again = calloc(1, sizeof(*again));

	if (!again)
		return NULL;
	contact_take(again, binding->contact_uri);
	again->call_id = strdup(binding->call_id);
	if (!again->call_id)
		return NULL;
	again->q = binding->q;
	again->expires_s = binding->expires_s;
	again->source = binding->source;
	again->flow = binding->flow;
	again->stored_until_us = binding->stored_until_us;
	again->repeats = true;
	return TAKE(again);
}

static char *copy_of(const char *text) {
	return text ? strdup(text) : NULL;
}

struct binding *binding_like(const struct binding *binding) {
	_cleanup_(binding_freep) struct binding *like = calloc(1, sizeof(*like));

	if (!like)
		return NULL;
	contact_take(like, binding->contact_uri);
	if (!has_flow(binding))
		return TAKE(like);
	like->more = calloc(1, sizeof(*like->more));
	if (!like->more)
		return NULL;
	*like->more = (struct binding_more){
		.instance = copy_of(binding->more->instance),
		.name = copy_of(binding->more->name),
		.reg_id = binding->more->reg_id,
	};
	return like->more->instance && like->more->name ? TAKE(like) : NULL;
}

/* It cannot be called any more; the phone has a while to bind a new flow, so that not all that it has is torn down for nothing. */
static void lose(struct binding *binding) {
	struct runtime *runtime = binding->registration->gateway->runtime;
	uint64_t until_us = runtime->now_us + SIP_FLOW_SECONDS * USEC_PER_SEC;

	binding->more->lost = true;
	timer_arm(runtime, &binding->timer, until_us < binding->expires_us ? until_us : binding->expires_us);
}

/* The flow of a phone behind a Path is the last proxy's; that one tells when it breaks (RFC 5626 5.3: 430). */
static void watch_flow(struct binding *binding) {
	struct sip_connection *connection = sip_connection_of(binding->registration->gateway, &binding->flow);

	if (binding->more->path)
		return;
	if (connection)
		DL_APPEND2(connection->flows, binding, more->previous_flow, more->next_flow);
	else if (binding->flow.connection != 0)
		lose(binding);
}

static void unwatch_flow(struct binding *binding) {
	struct sip_connection *connection = sip_connection_of(binding->registration->gateway, &binding->flow);

	if (connection && !binding->more->lost && !binding->more->path)
		DL_DELETE2(connection->flows, binding, more->previous_flow, more->next_flow);
}

void sip_bindings_lost(struct sip_connection *connection) {
	while (connection->flows) {
		struct binding *binding = connection->flows;
		DL_DELETE2(connection->flows, binding, more->previous_flow, more->next_flow);
		lose(binding);
	}
}

void sip_binding_failed(struct sip_gateway *gateway, const char *aor, const char *contact) {
	struct registration *registration = registration_find(gateway, aor);
	struct binding *binding = registration ? registration->bindings : NULL;

	for (; binding; binding = binding->next)
		if (has_flow(binding) && !binding->more->lost && strcmp(binding->contact, contact) == 0) {
			unwatch_flow(binding);
			lose(binding);
		}
}

/* --- time --- */

/* Of what the overlay has, a quarter is left for storing it again. */
static uint64_t quarter_us(const struct binding *binding) {
	return binding->expires_s * USEC_PER_SEC / 4;
}

bool binding_is_kept(const struct binding *binding) {
	return binding->stored_until_us > binding->registration->gateway->runtime->now_us + quarter_us(binding);
}

/* When something is to be done about it: it is over, or is to be stored again. All that began together is spread over a quarter. */
static void arm(struct binding *binding) {
	struct runtime *runtime = binding->registration->gateway->runtime;
	uint64_t due_us = binding->expires_us, quarter = quarter_us(binding);

	if (binding->stored_until_us < binding->expires_us) {
		due_us = binding->stored_until_us > quarter ? binding->stored_until_us - quarter : 0;
		uint64_t room = due_us > runtime->now_us ? due_us - runtime->now_us : 0;
		due_us -= room > 0 ? runtime_random_below(runtime, (room < quarter ? room : quarter) + 1) : 0;
	}
	timer_arm(runtime, &binding->timer, due_us);
}

void binding_stored(struct binding *binding, unsigned seconds) {
	binding->stored_until_us = binding->registration->gateway->runtime->now_us + seconds * USEC_PER_SEC;
	arm(binding);
}

/* The overlay was given the same time to live with each bind that it was told of, so it need not be told. */
static void binding_expired(struct timer *timer, void *userdata) {
	struct binding *binding = userdata;
	struct registration *registration = binding->registration;

	(void)timer;
	if (has_flow(binding) && binding->more->lost && registration->gateway->runtime->now_us < binding->expires_us) {
		sip_register_forget(binding);
		return;
	}
	if (registration->gateway->runtime->now_us < binding->expires_us) {
		sip_register_refresh(binding);
		return;
	}
	binding_free(binding);
	registration_release(registration);
}

/* What is known of it in the table only. */
static void commit_more(struct binding *binding) {
	struct binding_more *more = binding->more;

	if (more->instance)
		more->device = sip_device_take(binding->registration, more->instance, more->number);
	if (more->reg_id != 0)
		watch_flow(binding);
}

void registration_commit(struct registration *registration, struct binding *binding) {
	struct runtime *runtime = registration->gateway->runtime;

	struct binding *former = registration_same(registration, binding);
	struct sip_device *device = former && former->more ? former->more->device : NULL;

	if (device)
		device->bindings++; /* so that it stays the same one */
	binding->registration = registration;
	sip_again_commit(binding, former);
	binding->repeats = false; /* it is the one to be replaced now */
	binding_free(former);
	DL_APPEND2(registration->bindings, binding, previous, next);
	registration->binding_count++;
	registration->gateway->figures.bindings++;
	binding->expires_us = runtime->now_us + binding->expires_s * USEC_PER_SEC;
	if (!binding->kept)
		binding->stored_until_us = binding->expires_us;
	binding->kept = false;
	timer_init(&binding->timer, binding_expired, binding);
	arm(binding);
	if (binding->more)
		commit_more(binding);
	sip_device_release(device);
}

struct binding *binding_free(struct binding *binding) {
	if (!binding)
		return NULL;
	struct registration *registration = binding->registration;
	if (registration && binding->more) {
		if (binding->more->reg_id != 0)
			unwatch_flow(binding);
		sip_device_release(binding->more->device);
	}
	if (registration) {
		DL_DELETE2(registration->bindings, binding, previous, next);
		registration->binding_count--;
		registration->gateway->figures.bindings--;
		timer_disarm(registration->gateway->runtime, &binding->timer);
	}
	if (binding->again)
		sip_again_free(registration ? registration->gateway : NULL, binding->again);
	contact_release(binding->contact_uri);
	free(binding->call_id);
	more_free(binding->more);
	free(binding);
	return NULL;
}

unsigned binding_seconds_left(const struct binding *binding) {
	uint64_t now_us = binding->registration->gateway->runtime->now_us;

	if (binding->expires_us <= now_us)
		return 0;
	return (unsigned)((binding->expires_us - now_us + USEC_PER_SEC - 1) / USEC_PER_SEC);
}

uint64_t sip_gateway_bindings_after(const struct sip_gateway *gateway, uint64_t after, const char *text, size_t max,
				    void (*each)(void *userdata, const struct sip_binding_view *), void *userdata) {
	size_t count = 0;

	for (const struct registration *registration = gateway->registrations; registration; registration = registration->hh.next) {
		if (registration->number <= after || (text && !strstr(registration->aor, text)))
			continue;
		if (count >= max)
			return after;
		after = registration->number;
		count += registration->binding_count;
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
	return 0;
}

void sip_gateway_bindings(const struct sip_gateway *gateway, void (*each)(void *userdata, const struct sip_binding_view *),
			  void *userdata) {
	sip_gateway_bindings_after(gateway, 0, NULL, SIZE_MAX, each, userdata);
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

static int restore_more(struct binding *binding, const struct sip_binding_request *request) {
	struct binding_more *more;

	if (!request->path && !request->instance)
		return 0;
	binding->more = more = calloc(1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	*more = (struct binding_more){.path = copy_of(request->path), .instance = copy_of(request->instance)};
	if ((request->path && !more->path) || (request->instance && !more->instance))
		return -ENOMEM;
	more->number = request->instance ? request->device : 0;
	more->reg_id = request->instance && request->name ? request->reg_id : 0;
	more->name = more->reg_id != 0 ? strdup(request->name) : NULL;
	if (more->reg_id != 0 && !more->name)
		return -ENOMEM;
	return more->path && strlen(more->path) > SIP_PATH_OCTETS ? -EINVAL : 0;
}

int sip_gateway_restore(struct sip_gateway *gateway, const struct sip_binding_request *request) {
	_cleanup_(binding_freep) struct binding *binding = calloc(1, sizeof(*binding));

	if (!binding)
		return -ENOMEM;
	if (request->expires_s == 0 || strlen(request->aor) > SIP_AOR_OCTETS)
		return -EINVAL;
	int error = binding_set_contact(binding, request->contact);
	if (error < 0)
		return error;
	binding->call_id = strdup(request->call_id);
	if (!binding->call_id)
		return -ENOMEM;
	binding->cseq = request->cseq;
	binding->q = request->q;
	binding->expires_s = request->expires_s;
	binding->source = request->source;
	binding->flow = former_flow(gateway, request);
	error = restore_more(binding, request);
	if (error < 0)
		return error;
	struct registration *registration = registration_get(gateway, request->aor);
	if (!registration)
		return -ENOMEM;
	if (registration_same(registration, binding))
		error = -EEXIST;
	else if (registration->binding_count >= SIP_CONTACTS_PER_AOR || gateway->figures.bindings >= LIMIT_SIP_BINDINGS)
		error = -ENOBUFS;
	if (error == 0)
		registration_commit(registration, TAKE(binding));
	registration_release(registration);
	return error;
}
