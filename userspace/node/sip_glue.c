/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/sip_glue.h"

#include "base/log.h"
#include "node/enroller.h"
#include "node/location.h"
#include "node/passwords.h"
#include "node/phones.h"
#include "node/sip_tls.h"
#include "usages/sip_aor.h"
#include "usages/sip_attach.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

enum { RETRY_AFTER_S = 10 };

/* One question of the gateway that waits for the overlay. */
struct pending {
	struct sip_glue *glue;
	struct pending *prev, *next;
	char aor[USER_NAME_MAX + 1];
	char *gruu; /* owned: the whole question when it has a destination list, else NULL */
	char contact[SIP_CONTACT_SIZE];
	char name[SIP_CONTACT_SIZE]; /* of the binding */
	unsigned expires_s;	     /* 0: removal */
	struct credential *credential;
	sip_register_done bind_done;
	sip_resolve_answer resolve_done;
	void *userdata;
	struct timer later;
	unsigned status;
	const char *reason;
	struct found *found; /* what a look-up has found, while gateways are being asked where they are */
};

enum { FOUND_MAX = 2 * SIP_CONTACTS_MAX };

struct found {
	struct sip_redirect_contact contacts[FOUND_MAX];
	char uris[FOUND_MAX][SIP_CONTACT_SIZE];
	size_t count;
	unsigned waiting; /* gateways that have not answered */
	int error;	  /* of one that did not */
	bool known;	  /* the user has stored something once */
};

/* An answer of a gateway is for this look-up. */
struct asked {
	struct pending *pending;
	uint32_t lifetime_s;
	bool secure; /* the phones there want it */
	bool tls;    /* the way there is to be secured */
	struct id node_id;
};

struct sip_glue {
	struct node *node;
	struct pending *pending;
	struct passwords *passwords; /* NULL: phones need none */
	struct location *location;
	struct sip_attach *attach; /* gateways of other sites */
	struct sip_tls_peers *tls; /* with them; NULL: none */
	char path[PATH_MAX];	   /* of its database */
	struct phones *phones;	   /* NULL until sip_glue_open() */
};

static struct pending *pending_new(struct sip_glue *glue, const char *aor, void *userdata) {
	struct pending *pending = calloc(1, sizeof(*pending));

	if (!pending)
		return NULL;
	pending->glue = glue;
	pending->userdata = userdata;
	snprintf(pending->aor, sizeof(pending->aor), "%s", aor);
	DL_APPEND(glue->pending, pending);
	return pending;
}

static void pending_free(struct pending *pending) {
	timer_disarm(&pending->glue->node->runtime, &pending->later);
	DL_DELETE(pending->glue->pending, pending);
	credential_unref(pending->credential);
	free(pending->found);
	free(pending->gruu);
	free(pending);
}

static void answer(struct pending *pending, unsigned status, const char *reason) {
	if (pending->bind_done)
		pending->bind_done(pending->userdata, status, reason);
	else
		pending->resolve_done(pending->userdata, status, NULL, 0, status == 503 ? RETRY_AFTER_S : 0);
	pending_free(pending);
}

static void answer_now(struct timer *timer, void *userdata) {
	struct pending *pending = userdata;

	(void)timer;
	answer(pending, pending->status, pending->reason);
}

/* The gateway is never answered from within its own call. */
static void answer_later(struct pending *pending, unsigned status, const char *reason) {
	pending->status = status;
	pending->reason = reason;
	timer_init(&pending->later, answer_now, pending);
	timer_arm_after(&pending->glue->node->runtime, &pending->later, 0);
}

/* ---- registrations ---- */

static void on_stored(void *userdata, const struct storage_outcome *outcome) {
	struct pending *pending = userdata;
	struct user *user = users_find(pending->glue->node->users, pending->aor);

	location_forget(pending->glue->location, pending->aor);
	if (outcome->error == 0) {
		if (user && pending->expires_s == 0)
			user_contact_release(user, pending->name);
		else if (user)
			user_contact_claim(user, pending->credential, pending->name,
					   pending->glue->node->runtime.now_us + pending->expires_s * USEC_PER_SEC);
		answer(pending, 200, "OK");
	} else if (outcome->error == -EREMOTEIO && outcome->error_code == ERROR_FORBIDDEN) {
		log_warning("The overlay does not allow %s to register: %s", pending->aor, outcome->error_text);
		answer(pending, 403, "Not Allowed In This Overlay");
	} else {
		if (outcome->error != -ECANCELED)
			log_warning("The registration of %s could not be stored: %s%s%s", pending->aor, strerror(-outcome->error),
				    outcome->error_text[0] ? ": " : "", outcome->error_text);
		answer(pending, 503, "Overlay Not Reachable");
	}
}

/* Who is told where to call is told the phone's URI; who calls through us is told the way to us. */
static int store_contact(struct pending *pending, struct credential *credential, const char *contact) {
	struct node *node = pending->glue->node;

	if (node->settings->sip_mode == SIP_MODE_REDIRECT)
		return sip_registration_store(node->router, credential, pending->aor, contact, pending->expires_s, on_stored,
					      pending);
	return sip_registration_store_route(node->router, credential, pending->aor, strncasecmp(contact, "sips:", 5) == 0,
					    pending->expires_s, on_stored, pending);
}

/* Its answer comes when the overlay has it. */
static void store_pending(struct pending *pending, struct user *user, const char *contact) {
	struct node *node = pending->glue->node;
	int unusable = users_wake(node->users, user, runtime_realtime_ms(&node->runtime));
	struct credential *credential = user_credential_for(user, pending->name, node->runtime.now_us);

	if (unusable < 0)
		answer_later(pending, unusable == -ENOMEM ? 503 : 403, "No Usable Certificate");
	else if (!credential && pending->expires_s == 0)
		answer_later(pending, 200, "OK"); /* nothing of ours can be stored for it */
	else if (!credential)
		answer_later(pending, 403, "Too Many Contacts");
	else if (node->state != TOPOLOGY_JOINED)
		answer_later(pending, 503, "Overlay Not Reachable");
	else {
		pending->credential = credential_ref(credential);
		int error = store_contact(pending, credential, contact);
		if (error == -EINVAL || error == -EACCES)
			answer_later(pending, 403, "Contact Not Allowed In This Overlay");
		else if (error < 0)
			answer_later(pending, 503, "Overlay Not Reachable");
	}
}

static void on_enrolled(void *userdata, int error) {
	struct pending *pending = userdata;
	struct user *user = error < 0 ? NULL : users_find(pending->glue->node->users, pending->aor);

	if (user)
		store_pending(pending, user, pending->contact);
	else if (error == -EACCES)
		answer(pending, 403, "No Certificate For This User");
	else
		answer(pending, 503, "Enrollment Not Possible Now");
}

/* A user without certificate, who may get one: the phone waits for it, or comes back. */
static void enroll_pending(struct pending *pending) {
	int error = enroller_get_user(pending->glue->node->enroller, pending->aor, on_enrolled, pending);

	if (error < 0)
		answer_later(pending, error == -EACCES ? 404 : 503,
			     error == -EACCES ? "No Such User At This Site" : "Enrollment Not Possible Now");
}

static void on_bind(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata) {
	struct sip_glue *glue = userdata;
	struct node *node = glue->node;
	struct pending *pending = pending_new(glue, request->aor, done_userdata);

	if (!pending) {
		log_error("Not enough memory to register %s.", request->aor);
		return;
	}
	pending->bind_done = done;
	pending->expires_s = request->expires_s;
	const char *name = request->name ? request->name : request->contact;
	snprintf(pending->contact, sizeof(pending->contact), "%s", request->contact);
	snprintf(pending->name, sizeof(pending->name), "%s", name);
	struct user *user = users_find(node->users, request->aor);
	if (strlen(request->contact) >= sizeof(pending->contact) || strlen(name) >= sizeof(pending->name))
		answer_later(pending, 403, "Contact Too Long");
	else if (user)
		store_pending(pending, user, pending->contact);
	else if (request->expires_s > 0)
		enroll_pending(pending);
	else
		answer_later(pending, 404, "No Such User At This Site");
}

static void on_register(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata) {
	struct sip_glue *glue = userdata;

	phones_bind(glue->phones, request, done, done_userdata);
}

static void restore(void *userdata, const struct sip_binding_request *request) {
	struct sip_glue *glue = userdata;
	struct user *user = users_find(glue->node->users, request->aor);
	uint64_t now_us = glue->node->runtime.now_us;

	int error = user ? sip_gateway_restore(glue->node->sip, request) : -ENOENT;
	if (error == -ENOENT || error == -EINVAL)
		return; /* no user of this site any more */
	if (error < 0)
		log_warning("The registration of %s as %s is not known any more: %s.", request->contact, request->aor,
			    strerror(-error));
	const char *name = request->name ? request->name : request->contact;
	/* Of a user whose certificate is not read yet the place is taken when this is stored again. */
	struct credential *credential = user_credential_for(user, name, now_us);
	if (error == 0 && credential)
		user_contact_claim(user, credential, name, now_us + request->expires_s * USEC_PER_SEC);
}

int sip_glue_open(struct sip_glue *glue, char reason[static NODE_REASON_SIZE]) {
	const struct phones_settings settings = {
		.runtime = &glue->node->runtime, .path = glue->path, .userdata = glue, .bind = on_bind};

	if (snprintf(glue->path, sizeof(glue->path), "%s/phones.db", glue->node->settings->state_directory) >=
	    (int)sizeof(glue->path)) {
		snprintf(reason, NODE_REASON_SIZE, "The path of the state directory is too long.");
		return -ENAMETOOLONG;
	}
	int error = phones_new(&settings, &glue->phones, reason);
	return error < 0 ? error : phones_each(glue->phones, restore, glue);
}

bool sip_glue_commit_wanted(const struct sip_glue *glue) {
	return glue->phones && phones_commit_wanted(glue->phones);
}

void sip_glue_commit(struct sip_glue *glue) {
	phones_commit(glue->phones);
}

void sip_glue_joined(struct sip_glue *glue) {
	if (glue->phones)
		phones_store_again(glue->phones);
}

struct phones_figures sip_glue_phones(const struct sip_glue *glue) {
	return glue->phones ? phones_figures(glue->phones) : (struct phones_figures){0};
}

/* ---- look-ups ---- */

static void on_known_user(void *userdata, const struct storage_outcome *outcome, const struct fetched_value *values, size_t count,
			  bool partial) {
	struct pending *pending = userdata;
	bool known = false;

	(void)partial;
	for (size_t i = 0; outcome->error == 0 && i < count; i++)
		known = known || values[i].value.exists;
	/* A user of the overlay without a registration is unavailable; a name nobody has is not found (RFC 3261 21.4.5, 21.4.18).
	 */
	answer(pending, outcome->error < 0 && outcome->error != -EREMOTEIO ? 503 : known ? 480 : 404, NULL);
}

/* A user of this site, who may not have registered since the site was set up. */
static bool is_known_here(const struct pending *pending) {
	const struct sip_glue *glue = pending->glue;
	const char *at = strrchr(pending->aor, '@');
	char ha1[SIP_DIGEST_SIZE];

	if (users_find(glue->node->users, pending->aor))
		return true;
	/* A certificate comes with the first registration, and a password is given to nobody but users. */
	if (!at || !glue->passwords || !enroller_takes_user(glue->node->enroller, pending->aor))
		return false;
	bool known = passwords_ha1(glue->passwords, pending->aor, at + 1, SIP_DIGEST_SHA_256, ha1);
	octets_wipe(ha1, sizeof(ha1));
	return known;
}

static void ask_whether_known(struct pending *pending) {
	struct id resource_id =
		resource_id_of_name(octets_of_string(pending->aor), router_config(pending->glue->node->router)->node_id_length);
	int error =
		storage_fetch(pending->glue->node->router, &resource_id, KIND_CERTIFICATE_BY_USER, NULL, on_known_user, pending);

	if (error < 0)
		answer_later(pending, 503, NULL);
}

/* Everything that could be found out is known. */
static void found_answer(struct pending *pending) {
	struct found *found = pending->found;

	if (found->count > 0) {
		pending->resolve_done(pending->userdata, 302, found->contacts, found->count, 0);
		pending_free(pending);
	} else if (found->error < 0 || found->known || is_known_here(pending)) {
		answer(pending, 480, NULL); /* perhaps registered at a gateway that cannot be reached */
	} else {
		ask_whether_known(pending);
	}
}

static struct sip_redirect_contact *found_add(struct found *found, uint32_t lifetime_s) {
	struct sip_redirect_contact *contact = &found->contacts[found->count];

	if (found->count == FOUND_MAX)
		return NULL;
	*contact = (struct sip_redirect_contact){.uri = found->uris[found->count++], .expires_s = lifetime_s};
	return contact;
}

/* The phones of our own route are known here. */
static void add_local(struct pending *pending) {
	struct sip_redirect_contact contacts[SIP_CONTACTS_MAX];
	size_t count = sip_gateway_contacts(pending->glue->node->sip, pending->aor, contacts, SIP_CONTACTS_MAX);

	for (size_t i = 0; i < count; i++) {
		struct sip_redirect_contact *contact = found_add(pending->found, contacts[i].expires_s);
		if (contact)
			snprintf((char *)contact->uri, SIP_CONTACT_SIZE, "%s", contacts[i].uri);
	}
}

/* UDP first, as every gateway takes it, and what is too long for it finds TCP at the same port. */
static const struct sip_place *choose_place(const struct sip_place *places, size_t count, bool secure) {
	for (size_t i = 0; i < count; i++)
		if (places[i].stream == secure)
			return &places[i];
	return count > 0 ? &places[0] : NULL;
}

/* What a phone is told that shall call there itself: the user's name at the gateway's address. */
static void write_gateway_uri(const char *aor, const struct sip_place *place, bool secure, char *uri) {
	char text[ADDRESS_TEXT_SIZE];

	snprintf(uri, SIP_CONTACT_SIZE, "%s:%.*s@%s%s", secure ? "sips" : "sip", (int)strcspn(aor, "@"), aor,
		 address_format(&place->address, text), place->stream && !secure ? ";transport=tcp" : "");
}

static void on_gateway(void *userdata, int error, const struct sip_place *places, size_t count) {
	struct asked *asked = userdata;
	struct pending *pending = asked->pending;
	const struct sip_place *place = choose_place(places, count, asked->tls);
	struct sip_redirect_contact *contact = place ? found_add(pending->found, asked->lifetime_s) : NULL;

	if (contact) {
		contact->gateway = place->address;
		contact->node_id = asked->node_id;
		contact->transport = asked->tls ? SIP_TLS : place->stream ? SIP_TCP : SIP_UDP;
		write_gateway_uri(pending->aor, place, asked->secure, (char *)contact->uri);
	} else if (error == -ELOOP) {
		add_local(pending);
	} else {
		pending->found->error = error < 0 ? error : -EHOSTUNREACH;
	}
	free(asked);
	if (--pending->found->waiting == 0)
		found_answer(pending);
}

static void ask_gateway(struct pending *pending, const struct sip_contact *contact) {
	struct asked *asked = malloc(sizeof(*asked));
	int error = -ENOMEM;

	if (asked) {
		struct octets list = OCTETS(contact->destination_list, contact->destination_list_length);
		bool tls = contact->secure || pending->glue->node->settings->sip_gateway_tls == GATEWAY_TLS_ALWAYS;
		*asked = (struct asked){
			.pending = pending, .lifetime_s = contact->lifetime_s, .secure = contact->secure, .tls = tls};
		error = sip_attach_node(pending->glue->attach, list, &asked->node_id);
		if (error == 0)
			error = sip_attach_find(pending->glue->attach, list, tls ? SIPS_APPLICATION : SIP_APPLICATION, on_gateway,
						asked);
	}
	if (error == 0) {
		pending->found->waiting++;
		return;
	}
	pending->found->error = error;
	free(asked);
}

static void on_resolved(void *userdata, int error, const struct sip_contact *contacts, size_t count) {
	struct pending *pending = userdata;

	if (error < 0 && error != -ENOENT && error != -ENODATA) {
		answer(pending, error == -ELOOP ? 482 : 503, NULL);
		return;
	}
	pending->found = calloc(1, sizeof(*pending->found));
	if (!pending->found) {
		answer(pending, 503, NULL);
		return;
	}
	pending->found->known = error == -ENODATA;
	for (size_t i = 0; error == 0 && i < count; i++) {
		struct sip_redirect_contact *contact = NULL;
		/* A GRUU says itself at which gateway its phone is (RFC 7904 6). */
		if (contacts[i].route || (pending->gruu && contacts[i].destination_list_length > 0))
			ask_gateway(pending, &contacts[i]);
		else if (contacts[i].uri[0] != 0)
			contact = found_add(pending->found, contacts[i].lifetime_s);
		if (contact)
			snprintf((char *)contact->uri, SIP_CONTACT_SIZE, "%s", contacts[i].uri);
	}
	if (pending->found->waiting == 0)
		found_answer(pending);
}

static void answer_found_now(struct timer *timer, void *userdata) {
	(void)timer;
	found_answer(userdata);
}

/* Without the overlay the phones of a site still reach each other. False: there are none of this user here. */
static bool answer_with_local(struct pending *pending) {
	pending->found = calloc(1, sizeof(*pending->found));
	if (pending->found)
		add_local(pending);
	if (!pending->found || pending->found->count == 0)
		return false;
	timer_init(&pending->later, answer_found_now, pending);
	timer_arm_after(&pending->glue->node->runtime, &pending->later, 0);
	return true;
}

static void on_resolve(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata) {
	struct sip_glue *glue = userdata;
	struct pending *pending = pending_new(glue, aor, done_userdata);

	if (!pending) {
		log_error("Not enough memory to resolve %s.", aor);
		return;
	}
	pending->resolve_done = done;
	const char *parameters = strchr(strchr(aor, '@') ? strchr(aor, '@') : "", ';');
	pending->aor[parameters ? (size_t)(parameters - aor) : strlen(pending->aor)] = 0;
	pending->gruu = parameters ? strdup(aor) : NULL;
	if (glue->node->state != TOPOLOGY_JOINED) {
		if (!answer_with_local(pending))
			answer_later(pending, 503, NULL);
		return;
	}
	int error = sip_resolve_with(glue->node->router, glue->node->history, aor, on_resolved, pending);
	if (error < 0)
		answer_later(pending, error == -EINVAL ? 404 : 503, NULL);
}

static void on_lookup(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata) {
	struct sip_glue *glue = userdata;

	location_resolve(glue->location, aor, done, done_userdata);
}

struct location_figures sip_glue_lookups(const struct sip_glue *glue) {
	return location_figures(glue->location);
}

/* ---- policy ---- */

void sip_glue_canonical(const struct sip_glue *glue, char aor[static SIP_AOR_OCTETS + 1]) {
	const struct settings *settings = glue->node->settings;
	char meant[SIP_AOR_SIZE];

	if (settings->sip_domain_count == 0)
		return;
	bool certified = users_find(glue->node->users, aor) || enroller_takes_user(glue->node->enroller, aor);
	if (sip_aor_of_alias(router_config(glue->node->router), settings->sip_domains, settings->sip_domain_count, aor, certified,
			     meant))
		strcpy(aor, meant);
}

static bool on_domain(void *userdata, const char *domain) {
	struct sip_glue *glue = userdata;

	const struct settings *settings = glue->node->settings;

	for (size_t i = 0; i < settings->sip_domain_count; i++)
		if (strcmp(domain, settings->sip_domains[i]) == 0)
			return true;
	return strcasecmp(domain, router_config(glue->node->router)->overlay_name) == 0 ||
	       users_serve_domain(glue->node->users, domain) || enroller_serves_domain(glue->node->enroller, domain);
}

static void on_canonical(void *userdata, char aor[static SIP_AOR_OCTETS + 1]) {
	sip_glue_canonical(userdata, aor);
}

static bool on_user(void *userdata, const char *aor) {
	struct sip_glue *glue = userdata;

	return users_find(glue->node->users, aor) != NULL || enroller_takes_user(glue->node->enroller, aor);
}

static bool on_allowed(void *userdata, const struct address *source) {
	struct sip_glue *glue = userdata;
	const struct settings *settings = glue->node->settings;

	for (size_t i = 0; i < settings->sip_allow_count; i++)
		if (network_prefix_contains(&settings->sip_allow[i], source))
			return true;
	return false;
}

static bool on_secret(void *userdata, const char *username, const char *realm, enum sip_digest algorithm,
		      char ret[static SIP_DIGEST_SIZE]) {
	struct sip_glue *glue = userdata;

	return passwords_ha1(glue->passwords, username, realm, algorithm, ret);
}

static bool on_registrar(void *userdata, const char *user, const char *aor) {
	const struct settings *settings = ((struct sip_glue *)userdata)->node->settings;
	char registrar[SIP_AOR_OCTETS + 1];

	(void)aor; /* any user of this site */
	for (size_t i = 0; i < settings->sip_registrar_count; i++) {
		snprintf(registrar, sizeof(registrar), "%s", settings->sip_registrars[i]);
		on_canonical(userdata, registrar);
		if (strcmp(registrar, user) == 0)
			return true;
	}
	return false;
}

static bool on_peer(void *userdata, const struct address *source) {
	struct sip_glue *glue = userdata;

	return sip_attach_knows(glue->attach, source);
}

/* ---- gateways of other sites ---- */

/* A listener on all addresses takes SIP at those where our links are. */
static size_t add_places(struct node *node, const struct address *listener, struct sip_place *out, size_t max) {
	static const uint8_t any[sizeof(listener->octets)];
	struct address own[LINK_CANDIDATES_MAX];
	size_t count = 0;

	if (memcmp(listener->octets, any, sizeof(any)) != 0) {
		out[0] = (struct sip_place){.address = *listener};
		return 1;
	}
	const struct transport *transport = router_transport(node->router);
	size_t own_count = transport->ops->candidates(transport->object, own, LINK_CANDIDATES_MAX);
	for (size_t i = 0; i < own_count && count < max; i++) {
		if (own[i].family != listener->family)
			continue;
		out[count] = (struct sip_place){.address = own[i]};
		out[count++].address.port = listener->port;
	}
	return count;
}

/* Only who takes calls of others offers it (RFC 7904 5.1). */
static size_t on_places(void *userdata, uint16_t application, struct sip_place *out, size_t max) {
	struct sip_glue *glue = userdata;
	struct address listener;
	size_t count = 0;

	if (!glue->node->sip || glue->node->settings->sip_mode == SIP_MODE_REDIRECT)
		return 0;
	if (application == SIPS_APPLICATION) {
		for (size_t i = 0; count < max && sip_gateway_peer_address(glue->node->sip, i, &listener) == 0; i++)
			count += add_places(glue->node, &listener, out + count, max - count);
		for (size_t i = 0; i < count; i++)
			out[i].stream = true;
		return count;
	}
	if (application != SIP_APPLICATION)
		return 0;
	for (size_t i = 0; count < max && sip_gateway_address(glue->node->sip, i, &listener) == 0; i++)
		count += add_places(glue->node, &listener, out + count, max - count);
	/* Each takes UDP and TCP. */
	for (size_t i = 0, given = count; i < given && count < max; i++) {
		out[count] = out[i];
		out[count++].stream = true;
	}
	return count;
}

static struct ssl_st *on_peer_ssl(void *userdata, const struct address *remote, const struct id *node_id, bool server) {
	struct sip_glue *glue = userdata;

	return sip_tls_peers_ssl(glue->tls, remote, node_id, server);
}

int sip_glue_new(struct node *node, struct sip_glue **ret) {
	_cleanup_(sip_glue_freep) struct sip_glue *glue = calloc(1, sizeof(*glue));

	if (!glue)
		return -ENOMEM;
	glue->node = node;
	const struct location_settings lookups = {
		.runtime = &node->runtime,
		.seconds = node->settings->sip_lookup_s,
		.userdata = glue,
		.ask = on_resolve,
	};
	const struct sip_attach_settings attach = {.router = node->router, .userdata = glue, .places = on_places};
	char reason[NODE_REASON_SIZE] = "no memory";
	int error = location_new(&lookups, &glue->location);
	if (error == 0)
		error = sip_attach_new(&attach, &glue->attach);
	if (error == 0 && node->settings->sip_gateway_tls != GATEWAY_TLS_NO) {
		error = sip_tls_peers_new(node, &glue->tls, reason, sizeof(reason));
		if (error < 0)
			log_error("TLS between SIP gateways is not possible: %s.", reason);
	}
	if (error == 0 && node->settings->sip_authentication)
		error = passwords_new(node->settings->sip_passwords, &glue->passwords);
	if (error < 0)
		return error;
	*ret = TAKE(glue);
	return 0;
}

struct sip_glue *sip_glue_free(struct sip_glue *glue) {
	if (!glue)
		return NULL;
	glue->attach = sip_attach_free(glue->attach);
	/* The gateway is gone, but every question wants its one answer. */
	while (glue->pending)
		answer(glue->pending, 503, "Shutting Down");
	phones_free(glue->phones);
	sip_tls_peers_free(glue->tls);
	location_free(glue->location);
	passwords_free(glue->passwords);
	free(glue);
	return NULL;
}

struct sip_gateway_events sip_glue_events(struct sip_glue *glue) {
	return (struct sip_gateway_events){
		.userdata = glue,
		.bind = on_register,
		.resolve = on_lookup,
		.domain = on_domain,
		.canonical = on_canonical,
		.user = on_user,
		.allowed = on_allowed,
		.peer = on_peer,
		.peer_ssl = glue->tls ? on_peer_ssl : NULL,
		.secret = glue->passwords ? on_secret : NULL,
		.registrar = on_registrar,
	};
}
