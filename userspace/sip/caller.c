/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who calls. What is placed for somebody tells the callee who that is, so nobody may call in the name of a user of this overlay who
 * is not that user (RFC 3261 22.3, 26.3.2.2): a phone is known by the flow it has registered over, or by its password.
 */
#include "base/log.h"
#include "sip/sibling.h"
#include "sip/trunk.h"

#include <string.h>

/* Whom From names. */
struct claim {
	bool ours;			 /* somebody of our domains, or at our address, as phones write that know no domain */
	char aor[SIP_AOR_OCTETS + 1];	 /* "" when it is no AoR of ours */
	char domain[SIP_AOR_OCTETS + 1]; /* of ours, where the user's password is, or "" */
};

static struct claim claim_of(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow) {
	const osip_uri_t *from = request->message->from->url;
	struct claim claim = {0};

	claim.ours = gateway_realm(gateway, from, claim.domain);
	if (!claim.ours)
		claim.domain[0] = 0;
	else if (gateway_aor(gateway, from, claim.aor) < 0)
		claim.aor[0] = 0;
	claim.ours = claim.ours || (uri_is_sip(from) && gateway_owns_address(gateway, from, flow));
	return claim;
}

/* Did this user's phone register over the flow? What comes through a proxy may be of anybody behind it. */
static bool is_registered(const struct sip_gateway *gateway, const char *aor, const struct sip_flow *flow) {
	const struct registration *registration = registration_find(gateway, aor);

	for (const struct binding *binding = registration ? registration->bindings : NULL; binding; binding = binding->next) {
		if ((binding->more && binding->more->path) || binding->flow.transport != flow->transport)
			continue;
		if (flow->connection != 0 ? binding->flow.connection == flow->connection
					  : address_equal(&binding->flow.remote, &flow->remote))
			return true;
	}
	return false;
}

/* The domain whose password is asked for: the caller's; for somebody without one of ours, that of the user who is called. */
static bool find_realm(struct sip_gateway *gateway, const struct sip_request *request, const struct claim *claim,
		       char realm[static SIP_AOR_OCTETS + 1]) {
	if (claim->domain[0]) {
		strcpy(realm, claim->domain);
		return true;
	}
	return gateway_realm(gateway, request->message->req_uri, realm) || gateway_realm(gateway, request->message->to->url, realm);
}

/* May the user who has shown a password call as the one From names? */
static bool may_claim(const struct sip_gateway *gateway, const char *user, const struct claim *claim, const osip_uri_t *from) {
	const struct sip_gateway_events *events = &gateway->events;
	size_t length = strcspn(user, "@");

	if (!claim->ours)
		return true; /* somebody of elsewhere, or who does not tell */
	if (!claim->domain[0])
		return from->username && strlen(from->username) == length && strncmp(from->username, user, length) == 0;
	return strcmp(claim->aor, user) == 0 ||
	       (claim->aor[0] && events->registrar && events->registrar(events->userdata, user, claim->aor));
}

/*
 * A trunk calls in the name of telephone numbers, which many write as if they were users of who is called. Who is a user of this
 * site, or has a name, has not called by the telephone network.
 */
static bool trunk_may_claim(const struct sip_gateway *gateway, const struct claim *claim, const osip_uri_t *from) {
	char number[SIP_TRUNK_NUMBER];

	if (!claim->domain[0] || !claim->aor[0])
		return true;
	return sip_trunk_number(from, number) && !gateway->events.user(gateway->events.userdata, claim->aor);
}

static bool refuse(struct sip_gateway *gateway, struct sip_transaction *transaction, const char *reason) {
	gateway->figures.callers_refused++;
	sip_transaction_respond(transaction, 403, reason, OCTETS_NONE);
	return false;
}

static bool check_password(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
			   const struct claim *claim) {
	char realm[SIP_AOR_OCTETS + 1], user[SIP_AOR_OCTETS + 1];

	if (!find_realm(gateway, request, claim, realm))
		return refuse(gateway, transaction, "Caller Not Known Here");
	if (!sip_authenticate(gateway, transaction, request, realm, true, user))
		return false;
	if (!may_claim(gateway, user, claim, request->message->from->url))
		return refuse(gateway, transaction, "From Names Another User");
	return true;
}

/* What comes along a Path of ours is for a phone of theirs, and of whoever they have let through. */
bool sip_caller_lent(struct sip_gateway *gateway, const struct sip_request *request) {
	char realm[SIP_AOR_OCTETS + 1];

	return request->method != SIP_REGISTER && !request->route_set.path && gateway->auth.on &&
	       gateway_realm(gateway, request->message->from->url, realm);
}

bool sip_caller_admitted(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
			 const struct sip_flow *flow, enum sip_trust trust) {
	const struct sip_gateway_events *events = &gateway->events;
	struct claim claim = claim_of(gateway, request, flow);

	if (request->route_set.dialog)
		return true; /* of a call that we placed */
	if (request->lent)
		return check_password(gateway, transaction, request, &claim);
	if ((request->route_set.path && trust == SIP_TRUST_SIBLING) ||
	    (trust == SIP_TRUST_SITE && sip_sibling_of_caller(gateway, request)))
		return true; /* whoever knows the user has asked, or will */
	/* Users of the overlay call from their sites, whose gateways answer for them. */
	if (trust == SIP_TRUST_OUTSIDE || trust == SIP_TRUST_SIBLING)
		return !claim.ours || refuse(gateway, transaction, "From Names A User Of This Overlay");
	if (trust == SIP_TRUST_TRUNK)
		return trunk_may_claim(gateway, &claim, request->message->from->url) ||
		       refuse(gateway, transaction, "From Names A User Of This Overlay");
	if (trust != SIP_TRUST_SITE || !gateway->auth.on || gateway->callers == SIP_CALLERS_ANY)
		return true;
	if (events->peer && events->peer(events->userdata, &flow->remote))
		return true;
	if (gateway->callers == SIP_CALLERS_REGISTERED && claim.aor[0] && is_registered(gateway, claim.aor, flow))
		return true;
	return check_password(gateway, transaction, request, &claim);
}
