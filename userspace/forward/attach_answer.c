/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attaches of others: the answer, then the link to them, which we open (B-6.5.1.13-01).
 *
 * A link to the requester that exists is used again if it is alive, which an Attach that came over it shows. Otherwise a Ping over
 * it tells, since a requester that was restarted knows nothing of it, however much was heard there a moment ago: without an answer
 * a new link is opened, which replaces the old one.
 */
#include "forward/attach.h"

struct attach_answer {
	struct router *router;
	struct id peer;
	struct address candidates[LINK_CANDIDATES_MAX];
	size_t candidate_count;
	bool update_owed;
	uint16_t slot; /* of the link being opened; LINK_SLOT_NONE while the old one is checked */
	struct transaction *check;
	struct timer timer; /* of the check */
	struct attach_answer *prev, *next;
};

/* ---- candidates ---- */

static bool starts_with(const struct address *address, const char *octets, size_t length) {
	return memcmp(address->octets, octets, length) == 0;
}

static bool address_is_loopback(const struct address *address) {
	static const uint8_t loopback[16] = {[15] = 1};

	return address->family == AF_INET ? address->octets[0] == 127 : memcmp(address->octets, loopback, sizeof(loopback)) == 0;
}

/* May we be sent there by a stranger? Not to groups, not to ourselves, and to our own host only if our overlay lives there. */
static bool candidate_usable(const struct address *address, const struct address *own, size_t own_count) {
	static const char mapped[12] = {[10] = (char)0xff, [11] = (char)0xff};
	static const char zero[16];
	bool own_loopback = false;

	for (size_t i = 0; i < own_count; i++) {
		if (address_equal(address, &own[i]))
			return false;
		own_loopback |= address_is_loopback(&own[i]);
	}
	if (address->port == 0)
		return false;
	if (address_is_loopback(address))
		return own_loopback;
	switch (address->family) {
	case AF_INET: /* "this network", multicast, reserved and broadcast */
		return address->octets[0] != 0 && address->octets[0] < 224;
	case AF_INET6: /* unspecified, multicast, link-local without a link, IPv4 in disguise */
		return !starts_with(address, zero, 16) && address->octets[0] != 0xff &&
		       !(address->octets[0] == 0xfe && (address->octets[1] & 0xc0) == 0x80) && !starts_with(address, mapped, 12);
	default:
		return false;
	}
}

/* Does the extension list say that the candidate cannot be connected to (RFC 6544 4.5: active, so)? */
static bool candidate_is_passive(const struct ice_candidate *candidate) {
	struct reader r = reader_of_octets(candidate->extensions);
	struct ice_extension extension;

	while (ice_extension_next(&r, &extension) == 1)
		if (octets_equal(extension.name, octets_of_string("tcptype")))
			return octets_equal(extension.value, octets_of_string("passive"));
	return true;
}

/* Is it of a link type that we speak, too? What we offer ourselves tells. Marks the address with its protocol. */
static bool candidate_spoken(struct ice_candidate *candidate, const struct address *own, size_t own_count) {
	uint8_t protocol;

	if (candidate->overlay_link == LINK_DTLS_UDP_SR_NO_ICE)
		protocol = 0;
	else if (candidate->overlay_link == LINK_TLS_TCP_FH_NO_ICE && candidate_is_passive(candidate))
		protocol = IPPROTO_TCP;
	else
		return false;
	candidate->address.protocol = protocol;
	for (size_t i = 0; i < own_count; i++)
		if (own[i].protocol == protocol)
			return true;
	return false;
}

struct ranked {
	struct address address;
	uint32_t priority;
};

/* Keeps the `LINK_CANDIDATES_MAX` best, best first; of equals the earlier. */
static void ranked_insert(struct ranked *list, size_t *count, const struct ice_candidate *candidate) {
	size_t at = *count;

	for (size_t i = 0; i < *count; i++)
		if (address_equal(&list[i].address, &candidate->address))
			return;
	while (at > 0 && list[at - 1].priority < candidate->priority)
		at--;
	if (at == LINK_CANDIDATES_MAX)
		return;
	if (*count < LINK_CANDIDATES_MAX)
		(*count)++;
	memmove(&list[at + 1], &list[at], (*count - at - 1) * sizeof(*list));
	list[at] = (struct ranked){.address = candidate->address, .priority = candidate->priority};
}

/* Link types we do not speak are skipped (6.5.1.1); a list that does not parse is -EBADMSG. */
static int candidates_choose(struct router *router, struct octets list, struct attach_answer *answer) {
	const struct transport *transport = &router->transport;
	struct address own[LINK_CANDIDATES_MAX];
	struct ranked ranked[LINK_CANDIDATES_MAX];
	struct reader r = reader_of_octets(list);
	struct ice_candidate candidate;
	size_t count = 0;
	int found = 0;

	size_t own_count = transport->ops->candidates(transport->object, own, LINK_CANDIDATES_MAX);
	for (size_t i = 0; i < LIMIT_CANDIDATES && (found = ice_candidate_next(&r, &candidate)) == 1; i++)
		if (candidate_spoken(&candidate, own, own_count) && candidate.type == CANDIDATE_HOST &&
		    candidate_usable(&candidate.address, own, own_count))
			ranked_insert(ranked, &count, &candidate);
	if (found < 0)
		return -EBADMSG;
	for (size_t i = 0; i < count; i++)
		answer->candidates[i] = ranked[i].address;
	answer->candidate_count = count;
	return 0;
}

/* ---- entries ---- */

static void answer_entry_free(struct attach_answer *answer) {
	struct router *router = answer->router;

	DL_DELETE(router->attach_answers, answer);
	router->attach_count--;
	timer_disarm(router->runtime, &answer->timer);
	transaction_cancel(answer->check);
	free(answer);
}

static struct attach_answer *answer_for(const struct router *router, const struct id *peer) {
	struct attach_answer *answer;

	DL_FOREACH (router->attach_answers, answer)
		if (id_equal(&answer->peer, peer))
			return answer;
	return NULL;
}

static struct attach_answer *answer_with_slot(const struct router *router, uint16_t slot) {
	struct attach_answer *answer;

	DL_FOREACH (router->attach_answers, answer)
		if (answer->slot == slot)
			return answer;
	return NULL;
}

static void answer_connect(struct attach_answer *answer) {
	struct router *router = answer->router;
	const struct transport *transport = &router->transport;
	struct id peer = answer->peer;
	char text[ID_TEXT_SIZE];

	int error = answer->candidate_count == 0 ? -EDESTADDRREQ
						 : transport->ops->connect(transport->object, answer->candidates,
									   answer->candidate_count, &peer, &answer->slot);
	if (error == 0)
		return;
	log_info("No link to attaching node %s: %s.", id_format(&peer, text), strerror(-error));
	answer_entry_free(answer);
	attach_yielded_failed(router, &peer);
}

/* The old link is alive after all. */
static void answer_link_alive(struct attach_answer *answer) {
	struct router *router = answer->router;
	struct id peer = answer->peer;
	bool owed = answer->update_owed;

	answer_entry_free(answer);
	if (owed)
		connection_update_wanted(router, &peer);
}

static void on_check_answer(void *userdata, int error, const struct response *response) {
	struct attach_answer *answer = userdata;

	(void)response;
	answer->check = NULL;
	timer_disarm(answer->router->runtime, &answer->timer);
	if (error == 0 || error == -EREMOTEIO)
		answer_link_alive(answer);
	else if (error != -ECANCELED)
		answer_connect(answer);
}

static void on_check_timer(struct timer *timer, void *userdata) {
	struct attach_answer *answer = userdata;

	(void)timer;
	transaction_cancel(TAKE(answer->check));
	answer_connect(answer);
}

static void answer_check_link(struct attach_answer *answer, uint16_t slot) {
	struct router *router = answer->router;
	uint8_t list[2 + ID_LENGTH_MAX], body[2];
	struct writer destination = writer_fixed(list, sizeof(list)), ping = writer_fixed(body, sizeof(body));

	destination_write_node(&destination, &answer->peer);
	ping_req_write(&ping, OCTETS_NONE);
	struct outgoing outgoing = {
		.destination_list = writer_octets_written(&destination),
		.code = PING_REQ,
		.body = writer_octets_written(&ping),
		.via_slot = slot,
		.once = true,
		.done = on_check_answer,
		.userdata = answer,
	};
	if (router_send_request(router, &outgoing, &answer->check) < 0)
		answer_connect(answer);
	else
		timer_arm_after(router->runtime, &answer->timer, ROUTER_ALIVE_US);
}

/* ---- the request ---- */

static bool same_candidates(const struct attach_answer *a, const struct attach_answer *b) {
	if (a->candidate_count != b->candidate_count)
		return false;
	for (size_t i = 0; i < a->candidate_count; i++)
		if (!address_equal(&a->candidates[i], &b->candidates[i]))
			return false;
	return true;
}

/* Sends the AttachAns; the request is gone afterwards. */
static void send_answer(struct router *router, struct request *request) {
	struct writer body = writer_growing(UINT16_MAX);

	int error = attach_body(router, "active", false, &body);
	if (error < 0)
		request_fail_text(request, ERROR_NOT_FOUND, "There is no address to offer here.");
	else
		request_answer(request, writer_octets_written(&body), NULL); /* B-6.5.1.2-01 */
	writer_release(&body);
}

static struct attach_answer *answer_add(struct router *router, const struct attach_answer *wanted);

/* Asked once more while the old link is being checked, or a new one opened. The Update is paid when that is through. */
static void answer_renew(struct attach_answer *answer, const struct attach_answer *wanted) {
	answer->update_owed |= wanted->update_owed;
	if (answer->slot == LINK_SLOT_NONE) {
		memcpy(answer->candidates, wanted->candidates, sizeof(answer->candidates));
		answer->candidate_count = wanted->candidate_count;
	}
}

/* The requester is connected; its Attach came over that link, or another one. */
static void attach_connected(struct router *router, struct request *request, const struct attach_answer *wanted, uint16_t slot) {
	bool alive = request->slot == slot;
	struct attach_answer *answer = answer_for(router, &wanted->peer);
	struct id peer = wanted->peer;

	if (!alive && !answer)
		answer = answer_add(router, wanted);
	bool check = !alive && answer && answer->slot == LINK_SLOT_NONE && !answer->check;
	send_answer(router, request);
	if (check)
		answer_check_link(answer, slot);
	else if (answer)
		answer_renew(answer, wanted);
	else if (wanted->update_owed)
		connection_update_wanted(router, &peer);
}

static void attach_unconnected(struct router *router, struct request *request, const struct attach_answer *wanted) {
	const struct transport *transport = &router->transport;
	struct attach_answer *answer = answer_for(router, &wanted->peer);

	if (answer && same_candidates(answer, wanted)) { /* its link is being opened */
		answer->update_owed |= wanted->update_owed;
		send_answer(router, request);
		return;
	}
	bool owed = wanted->update_owed || (answer && answer->update_owed);
	if (answer) { /* it has moved */
		uint16_t slot = answer->slot;
		answer_entry_free(answer);
		if (slot != LINK_SLOT_NONE)
			transport->ops->close(transport->object, slot, LINK_CLOSED_BY_US);
	}
	answer = answer_add(router, wanted);
	if (!answer) {
		request_fail_text(request, ERROR_IN_PROGRESS, "Too many Attaches are being worked on."); /* LIMIT_ATTACHES_OPEN */
		return;
	}
	answer->update_owed = owed;
	send_answer(router, request);
	answer_connect(answer);
}

static struct attach_answer *answer_add(struct router *router, const struct attach_answer *wanted) {
	if (router->attach_count >= LIMIT_ATTACHES_OPEN)
		return NULL;
	struct attach_answer *answer = malloc(sizeof(*answer));
	if (!answer)
		return NULL;
	*answer = *wanted;
	timer_init(&answer->timer, on_check_timer, answer);
	DL_APPEND(router->attach_answers, answer);
	router->attach_count++;
	return answer;
}

static void on_attach(void *userdata, struct request *request) {
	struct router *router = userdata;
	struct attach_answer wanted = {.router = router, .peer = request->signer_id, .slot = LINK_SLOT_NONE};
	struct attach_req_ans attach;

	if (attach_read(request->message.contents.body, &attach) < 0 || candidates_choose(router, attach.candidates, &wanted) < 0) {
		request_fail_text(request, ERROR_INVALID_MESSAGE, "The AttachReq does not parse.");
		return;
	}
	if (!octets_equal(attach.role, octets_of_string("passive"))) { /* B-6.5.1.1-01 */
		request_fail_text(request, ERROR_INVALID_MESSAGE, "The role in an AttachReq must be \"passive\".");
		return;
	}
	if (id_equal(&wanted.peer, &router->self)) {
		request_fail_text(request, ERROR_FORBIDDEN, "A node does not attach to itself.");
		return;
	}
	wanted.update_owed = attach.send_update;
	const struct connection *connection = router_connection_of(router, &wanted.peer);
	if (connection) {
		attach_connected(router, request, &wanted, connection->slot);
		return;
	}
	if (attach_crossing(router, &wanted.peer, attach.send_update)) {
		request_fail_text(request, ERROR_IN_PROGRESS, "An Attach from here is under way."); /* B-6.5.1.2-02, -03 */
		return;
	}
	if (wanted.candidate_count == 0) {
		request_fail_text(request, ERROR_INVALID_MESSAGE, "No candidate can be used here.");
		attach_yielded_failed(router, &wanted.peer);
		return;
	}
	attach_unconnected(router, request, &wanted);
}

/* ---- links ---- */

struct id attach_answer_expected(const struct router *router, uint16_t slot) {
	const struct attach_answer *answer = answer_with_slot(router, slot);

	return answer ? answer->peer : ID_NONE;
}

bool attach_answer_link_up(struct router *router, uint16_t slot, const struct id *peer) {
	struct attach_answer *answer = answer_for(router, peer);

	if (!answer)
		return false;
	bool owed = answer->update_owed;
	answer->update_owed = false;
	/* Ours is up, or theirs came while the old one was checked. Another link of ours still being opened goes its way. */
	if (answer->slot == slot || answer->slot == LINK_SLOT_NONE)
		answer_entry_free(answer);
	return owed;
}

bool attach_answer_link_down(struct router *router, uint16_t slot) {
	struct attach_answer *answer = answer_with_slot(router, slot);

	if (!answer)
		return false;
	struct id peer = answer->peer;
	answer_entry_free(answer);
	if (!router_connection_of(router, &peer))
		attach_yielded_failed(router, &peer);
	return true;
}

/* ---- life cycle ---- */

void attach_answer_init(struct router *router) {
	router_handle(router, ATTACH_REQ, on_attach, router);
}

void attach_answer_release(struct router *router) {
	while (router->attach_answers)
		answer_entry_free(router->attach_answers);
}
