/* SPDX-License-Identifier: BSD-2-Clause */
/* The redirector (RFC 3261 8.3): asks the node where an AoR can be reached, and tells the caller. */
#include "sip/proxy.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct redirect {
	struct sip_gateway *gateway;
	struct sip_transaction *transaction; /* NULL once the caller has an answer */
	osip_uri_t *uri;		     /* what was asked for */
	char *aor;
	struct sip_gruu gruu; /* and of which device */
};

static void redirect_release(void *work) {
	struct redirect *redirect = work;

	if (redirect->transaction)
		redirect->transaction->owner = NULL;
	uri_free(redirect->uri);
	free(redirect->aor);
	free(redirect);
}

static struct redirect *redirect_free(struct redirect *redirect) {
	if (redirect)
		redirect_release(redirect);
	return NULL;
}
DEFINE_CLEANUP(struct redirect *, redirect_free)

/* Contacts of the overlay come from other sites; an AoR among them may lack its scheme. */
static osip_uri_t *contact_uri(const char *text, char room[static SIP_CONTACT_OCTETS + 1]) {
	if (!text || strlen(text) > SIP_CONTACT_OCTETS - 4)
		return NULL;
	const char *at = strchr(text, '@'), *colon = strchr(text, ':');
	bool scheme = colon && (!at || colon < at);
	snprintf(room, SIP_CONTACT_OCTETS + 1, "%s%s", scheme ? "" : "sip:", text);
	return uri_parse(room);
}

struct chosen {
	osip_uri_t *uris[SIP_REDIRECT_CONTACTS];
	size_t count;
	int worth;   /* of the best */
	size_t best; /* how many are worth that much */
	bool loop;   /* left out the Request-URI itself */
	bool here;   /* one can be reached only through us */
};

static bool is_chosen(const struct chosen *chosen, const osip_uri_t *uri) {
	for (size_t i = 0; i < chosen->count; i++)
		if (uri_equal(chosen->uris[i], uri))
			return true;
	return false;
}

/* Another gateway is to be told the device, too. */
static osip_uri_t *with_gruu(const struct redirect *redirect, osip_uri_t *uri, char text[static SIP_CONTACT_OCTETS + 1]) {
	size_t length = strlen(text);

	uri_free(uri);
	if (snprintf(text + length, SIP_CONTACT_OCTETS + 1 - length, ";gr=%s", redirect->gruu.value) >=
	    (int)(SIP_CONTACT_OCTETS + 1 - length))
		return NULL;
	return uri_parse(text);
}

/*
 * Never back to the Request-URI (RFC 3261 8.3), and from a SIPS URI only to SIPS URIs (26.4.4): the caller asked for a secured
 * path.
 */
static void write_contact(const struct redirect *redirect, const struct registration *registration,
			  const struct sip_redirect_contact *contact, int worth, struct chosen *chosen, struct writer *w) {
	_cleanup_(uri_freep) osip_uri_t *uri = NULL;
	char text[SIP_CONTACT_OCTETS + 1];

	/* Phones have no certificate of the overlay, which gateways ask for that are called over TLS. */
	if (contact->gateway.family != 0 && (redirect->gruu.local || contact->transport == SIP_TLS))
		return;
	uri = contact_uri(contact->uri, text);
	const struct binding *binding = registration && uri ? registration_contact(registration, text, uri) : NULL;
	if (contact->gateway.family == 0 && !sip_gruu_names(&redirect->gruu, binding))
		return;
	if (contact->gateway.family != 0 && redirect->gruu.is)
		uri = with_gruu(redirect, TAKE(uri), text);
	if (!uri || (uri_is_secure(redirect->uri) && !uri_is_secure(uri)) || is_chosen(chosen, uri))
		return;
	if (uri_equal(uri, redirect->uri)) {
		chosen->loop = true;
		return;
	}
	chosen->here = chosen->here || (binding && binding->more && (binding->more->path || binding->more->reg_id != 0));
	writer_literal(w, "Contact: <");
	writer_string(w, text);
	writer_literal(w, ">");
	if (contact->expires_s > 0) {
		writer_literal(w, ";expires=");
		writer_decimal(w, contact->expires_s);
	}
	if (binding && binding->q >= 0) {
		writer_literal(w, ";q=");
		writer_thousandths(w, (unsigned)binding->q);
	}
	writer_literal(w, "\r\n");
	if (chosen->count == 0)
		chosen->worth = worth;
	chosen->best += chosen->worth == worth;
	chosen->uris[chosen->count++] = TAKE(uri);
}

enum { SORTED = 2 * SIP_REDIRECT_CONTACTS /* some of them may be left out */ };

/* What the phone has said its Contact is worth, in thousandths; nothing said is the most (RFC 3261 20.10). */
static int worth(const struct registration *registration, const struct sip_redirect_contact *contact) {
	for (const struct binding *binding = registration ? registration->bindings : NULL; binding; binding = binding->next)
		if (contact->uri && strcmp(binding->contact, contact->uri) == 0 && binding->q >= 0)
			return binding->q;
	return 1000;
}

/* Those a caller is to try first come first (RFC 3261 8.1.3.4); equals stay in their order. Returns how many. */
static size_t sort_contacts(const struct registration *registration, const struct sip_redirect_contact *contacts, size_t count,
			    const struct sip_redirect_contact *sorted[static SORTED], int worths[static SORTED]) {
	size_t done = 0;

	for (; done < count && done < SORTED; done++) {
		int its = worth(registration, &contacts[done]);
		size_t place = done;
		for (; place > 0 && worths[place - 1] < its; place--) {
			worths[place] = worths[place - 1];
			sorted[place] = sorted[place - 1];
		}
		worths[place] = its;
		sorted[place] = &contacts[done];
	}
	return done;
}

/*
 * RFC 3261 21.3.5: a phone behind a Path or a flow can be called through this gateway only, which places the call when it sees its
 * Contact again, be it as Route or, from phones that take every 3xx for the same, as Request-URI.
 */
static void answer_use_proxy(struct redirect *redirect) {
	const struct sip_flow *flow = &redirect->transaction->flow;
	bool secure = uri_is_secure(redirect->uri);
	char user[3 * SIP_AOR_OCTETS + 8], sent_by[ADDRESS_TEXT_SIZE], field[4 * SIP_CONTACT_OCTETS];

	uri_of_aor(redirect->aor, secure, user, sizeof(user));
	*(strrchr(user, '@') + 1) = 0;
	snprintf(field, sizeof(field), "Contact: <%s%s%s;lr;" USE_PROXY_PARAMETER "%s%s>\r\n", user,
		 sip_flow_sent_by(redirect->gateway, flow, sent_by),
		 flow->transport == SIP_UDP   ? ""
		 : flow->transport == SIP_TCP ? ";transport=tcp"
		 : secure		      ? ""
					      : ";transport=tls",
		 redirect->gruu.is && !redirect->gruu.local ? ";gr=" : "",
		 redirect->gruu.is && !redirect->gruu.local ? redirect->gruu.value : "");
	sip_transaction_respond(redirect->transaction, 305, "Use Proxy", octets_of_string(field));
}

static void answer_contacts(struct redirect *redirect, const struct sip_redirect_contact *contacts, size_t count) {
	uint8_t text[LIMIT_SIP_MESSAGE];
	struct writer w = writer_fixed(text, sizeof(text));
	bool arena = sip_arena_begin(); /* the URIs live no longer than this */
	const struct sip_redirect_contact *sorted[SORTED];
	struct chosen chosen = {0};
	const struct registration *registration = registration_find(redirect->gateway, redirect->aor);
	int worths[SORTED];

	count = sort_contacts(registration, contacts, count, sorted, worths);
	for (size_t i = 0; i < count && chosen.count < SIP_REDIRECT_CONTACTS; i++)
		write_contact(redirect, registration, sorted[i], worths[i], &chosen, &w);
	if (writer_finish(&w) < 0)
		sip_transaction_respond(redirect->transaction, 500, "Out of Memory", OCTETS_NONE);
	else if (chosen.here)
		answer_use_proxy(redirect);
	else if (chosen.count > 1 && chosen.best == chosen.count) /* nobody has said which is better (RFC 3261 21.3.1) */
		sip_transaction_respond(redirect->transaction, 300, "Multiple Choices", writer_octets_written(&w));
	else if (chosen.count > 0)
		sip_transaction_respond(redirect->transaction, 302, "Moved Temporarily", writer_octets_written(&w));
	else if (chosen.loop)
		sip_transaction_respond(redirect->transaction, 404, "Not Found Elsewhere", OCTETS_NONE);
	else
		sip_transaction_respond(redirect->transaction, 480, "Temporarily Unavailable", OCTETS_NONE);
	for (size_t i = 0; i < chosen.count; i++)
		uri_free(chosen.uris[i]);
	if (arena)
		sip_arena_end();
}

static void resolve_answer(void *userdata, unsigned status, const struct sip_redirect_contact *contacts, size_t count,
			   unsigned retry_after_s) {
	_cleanup_(redirect_freep) struct redirect *redirect = sip_call_end(userdata);

	if (!redirect || !redirect->transaction)
		return;
	switch (status) {
	case 302:
		answer_contacts(redirect, contacts, contacts ? count : 0);
		return;
	case 404:
		sip_transaction_respond(redirect->transaction, 404, "Not Found", OCTETS_NONE);
		return;
	case 480:
		sip_transaction_respond(redirect->transaction, 480, "Temporarily Unavailable", OCTETS_NONE);
		return;
	case 482:
		sip_transaction_respond(redirect->transaction, 482, "Loop Detected", OCTETS_NONE);
		return;
	case 503:
		sip_respond_unavailable(redirect->transaction, "Overlay Not Reachable", retry_after_s);
		return;
	default:
		sip_transaction_respond(redirect->transaction, 500, "Server Internal Error", OCTETS_NONE);
	}
}

void sip_redirect(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
		  const char *aor) {
	char user[SIP_AOR_OCTETS + 1], text[SIP_GRUU_URI_OCTETS + 1];
	const char *reason = NULL;
	struct sip_gruu gruu;

	snprintf(user, sizeof(user), "%s", aor);
	unsigned status = sip_gruu_read(gateway, request->message->req_uri, user, &gruu, &reason);
	if (status != 0) {
		sip_transaction_respond(transaction, status, reason, OCTETS_NONE);
		return;
	}
	struct redirect *redirect = calloc(1, sizeof(*redirect));
	struct sip_call *call = NULL;
	if (redirect) {
		redirect->gateway = gateway;
		redirect->gruu = gruu;
		redirect->aor = strdup(user);
		if (redirect->aor && sip_parsed(osip_uri_clone(request->message->req_uri, &redirect->uri)) == 0)
			call = sip_call_new(gateway, redirect, redirect_release);
	}
	if (!call) {
		redirect_free(redirect);
		sip_transaction_respond(transaction, 500, "Out of Memory", OCTETS_NONE);
		return;
	}
	sip_transaction_own(transaction, &redirect->transaction);
	gateway->events.resolve(gateway->events.userdata, sip_gruu_question(&redirect->gruu, redirect->aor, text), resolve_answer,
				call);
}
