/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attaching to others. In an overlay without ICE the requester is the DTLS server: it sends its addresses, and after the AttachAns
 * waits for the link the responder opens (B-6.5.1.13-01, Q-57). The answer's signer is whom we attach to (B-6.5.1-03).
 */
#include "forward/attach.h"

static void attach_free(struct attach *attach) {
	struct router *router = attach->router;

	DL_DELETE(router->attaches, attach);
	router->attach_count--;
	timer_disarm(router->runtime, &attach->timer);
	transaction_cancel(attach->transaction);
	free(attach->destination_list);
	free(attach);
}

void attach_finish(struct attach *attach, int error, uint16_t slot, const struct id *peer) {
	attach_done done = attach->done;
	void *userdata = attach->userdata;
	struct id who = *peer;

	attach_free(attach);
	if (done)
		done(userdata, error, slot, &who);
}

/* ---- the body, the same in both directions ---- */

/* RFC 5245 4.1.2.1 for a host candidate of component 1; `index` 0 is preferred. */
static uint32_t candidate_priority(size_t index) {
	return UINT32_C(126) << 24 | (uint32_t)(65535 - index) << 8 | 255;
}

/* B-6.6.5-01, Q-57: the candidate is one to connect to, in the words of RFC 6544 4.5. */
struct octets candidate_passive(uint8_t out[static CANDIDATE_PASSIVE_SIZE]) {
	struct writer w = writer_fixed(out, CANDIDATE_PASSIVE_SIZE);

	writer_vector16(&w, octets_of_string("tcptype"));
	writer_vector16(&w, octets_of_string("passive"));
	return writer_octets_written(&w);
}

int attach_body(struct router *router, const char *role, bool send_update, struct writer *w) {
	const struct transport *transport = &router->transport;
	struct address addresses[LINK_CANDIDATES_MAX];
	struct writer list = writer_growing(UINT16_MAX);
	uint8_t passive[CANDIDATE_PASSIVE_SIZE];

	size_t count = transport->ops->candidates(transport->object, addresses, LINK_CANDIDATES_MAX);
	for (size_t i = 0; i < count; i++) {
		char foundation[24];
		bool tcp = addresses[i].protocol == IPPROTO_TCP;
		snprintf(foundation, sizeof(foundation), "%zu", i + 1);
		struct ice_candidate candidate = {
			.address = addresses[i],
			.overlay_link = tcp ? LINK_TLS_TCP_FH_NO_ICE : LINK_DTLS_UDP_SR_NO_ICE,
			.foundation = octets_of_string(foundation),
			.priority = candidate_priority(i),
			.type = CANDIDATE_HOST,
			.extensions = tcp ? candidate_passive(passive) : OCTETS_NONE,
		};
		ice_candidate_write(&list, &candidate);
	}
	struct attach_req_ans attach = {
		.ufrag = OCTETS_NONE,
		.password = OCTETS_NONE,
		.role = octets_of_string(role), /* B-6.5.1.1-01 */
		.candidates = writer_octets_written(&list),
		.send_update = send_update,
	};
	int error = writer_finish(&list);
	if (error == 0 && count == 0)
		error = -EADDRNOTAVAIL; /* B-6.5.1.1-03: one or more */
	if (error == 0) {
		attach_write(w, &attach);
		error = writer_finish(w);
	}
	writer_release(&list);
	return error;
}

/* ---- asking ---- */

static bool attach_wants_update(const struct attach *attach) {
	return attach->flags & ATTACH_SEND_UPDATE;
}

/* With several Node-IDs in our certificate the other side learns from the Attach alone which one we use (B-6.1.2-07). */
static bool attach_must_ask(const struct attach *attach) {
	return attach_wants_update(attach) || attach->router->credential->certificate->node_id_count > 1;
}

static void attach_time_out(struct timer *timer, void *userdata) {
	struct attach *attach = userdata;
	const struct connection *connection;

	(void)timer;
	connection = router_connection_of(attach->router, &attach->target);
	if (attach->state == ATTACH_ENDING && connection)
		attach_finish(attach, 0, connection->slot, &attach->target);
	else
		attach_finish(attach, -EHOSTUNREACH, LINK_SLOT_NONE, &attach->target);
}

static void attach_await(struct attach *attach, enum attach_state state) {
	attach->state = state;
	timer_arm_after(attach->router->runtime, &attach->timer, ROUTER_ATTACH_LINK_US);
}

/* A link that came before its AttachAns (B-6.5.1.14-01) from a node with several Node-IDs is not bound yet. */
static uint16_t unbound_link_of(struct router *router, const struct certificate *certificate) {
	uint16_t newest = LINK_SLOT_NONE;
	uint64_t newest_serial = 0;

	for (size_t i = 0; i < router->link_capacity; i++) {
		const struct router_link *link = router->links[i];
		if (!link || !id_is_none(&link->connection.peer) || link->serial < newest_serial)
			continue;
		const struct certificate *theirs = connection_certificate(router, (uint16_t)i);
		if (theirs && memcmp(theirs->sha256, certificate->sha256, sizeof(theirs->sha256)) == 0) {
			newest = (uint16_t)i;
			newest_serial = link->serial;
		}
	}
	return newest;
}

/* It is known now who we attach to: is the link there already? */
static void attach_settle(struct attach *attach, enum attach_state state, const struct id *peer, const struct certificate *signer) {
	struct router *router = attach->router;
	const struct connection *connection;

	attach->target = *peer;
	connection = router_connection_of(router, peer);
	if (connection) {
		bool owed = attach->update_owed;
		attach_finish(attach, 0, connection->slot, peer);
		if (owed)
			connection_update_wanted(router, peer);
		return;
	}
	attach_await(attach, state);
	uint16_t unbound = unbound_link_of(router, signer);
	if (unbound != LINK_SLOT_NONE)
		connection_bind(router, unbound, peer); /* ends `attach` through attach_link_up() */
}

static void on_answer(void *userdata, int error, const struct response *response) {
	struct attach *attach = userdata;
	struct attach_req_ans answer;

	attach->transaction = NULL;
	if (error == -EREMOTEIO && response->error.code == ERROR_IN_PROGRESS &&
	    !id_equal(&response->signer_id, &attach->router->self)) {
		attach_settle(attach, ATTACH_YIELDED, &response->signer_id, response->signer); /* B-6.5.1.2-03 */
		return;
	}
	if (error == 0 && (attach_read(response->body, &answer) < 0 || !octets_equal(answer.role, octets_of_string("active")) ||
			   id_equal(&response->signer_id, &attach->router->self)))
		error = -EREMOTEIO;
	if (error != 0) {
		struct id who = response ? response->signer_id : attach->target;
		attach_finish(attach, error, LINK_SLOT_NONE, &who);
		return;
	}
	attach->update_owed |= answer.send_update;
	attach_settle(attach, ATTACH_AWAITING, &response->signer_id, response->signer); /* B-6.5.1.2-04 */
}

static int attach_ask(struct attach *attach) {
	struct router *router = attach->router;
	struct writer body = writer_growing(UINT16_MAX);

	int error = attach_body(router, "passive", attach_wants_update(attach), &body);
	if (error == 0) {
		struct outgoing outgoing = {
			.destination_list = OCTETS(attach->destination_list, attach->destination_length),
			.code = ATTACH_REQ,
			.body = writer_octets_written(&body),
			.via_slot = attach->via_slot,
			.done = on_answer,
			.userdata = attach,
		};
		error = router_send_request(router, &outgoing, &attach->transaction);
		attach->state = ATTACH_ASKED;
	}
	writer_release(&body);
	return error;
}

/* Who the list names; ID_NONE when only the answer tells. -EINVAL. */
static int attach_target(const struct router *router, struct octets list, struct id *ret) {
	struct destination last;

	if (destination_list_check(list, router->self.length, LIMIT_DESTINATIONS) < 0 ||
	    destination_last(list, router->self.length, &last) < 0)
		return -EINVAL;
	if (last.type != DESTINATION_NODE && last.type != DESTINATION_RESOURCE)
		return -EINVAL;
	struct id id = last.type == DESTINATION_NODE ? id_of(last.value) : ID_NONE;
	if (id_equal(&id, &router->self))
		return -EINVAL;
	*ret = id_is_wildcard(&id) ? ID_NONE : id;
	return 0;
}

int attach_start(struct router *router, struct octets destination_list, unsigned flags, uint16_t via_slot, attach_done done,
		 void *userdata) {
	struct id target;

	if (router->closing)
		return -ECANCELED;
	if (router->attach_count >= LIMIT_ATTACHES_OPEN)
		return -ENOBUFS;
	int error = attach_target(router, destination_list, &target);
	if (error < 0)
		return error;
	struct attach *attach = calloc(1, sizeof(*attach));
	uint8_t *list = malloc(destination_list.length);
	if (!attach || !list) {
		free(attach);
		free(list);
		return -ENOMEM;
	}
	memcpy(list, destination_list.data, destination_list.length);
	*attach = (struct attach){
		.router = router,
		.destination_list = list,
		.destination_length = destination_list.length,
		.flags = flags,
		.via_slot = via_slot,
		.target = target,
		.done = done,
		.userdata = userdata,
	};
	timer_init(&attach->timer, attach_time_out, attach);
	DL_APPEND(router->attaches, attach);
	router->attach_count++;
	if (router_connection_of(router, &target) && !attach_must_ask(attach)) {
		attach->state = ATTACH_ENDING; /* an existing link is reused; `done` is not called from in here */
		timer_arm_after(router->runtime, &attach->timer, 0);
		return 0;
	}
	error = attach_ask(attach);
	if (error < 0)
		attach_free(attach);
	return error;
}

void attach_cancel(struct router *router, void *userdata) {
	struct attach *attach, *next;

	DL_FOREACH_SAFE (router->attaches, attach, next)
		if (attach->userdata == userdata)
			attach_free(attach);
}

/* ---- when the other side attaches, too ---- */

bool attach_crossing(struct router *router, const struct id *peer, bool send_update) {
	bool in_progress = false, we_are_larger = id_compare(&router->self, peer) > 0;
	struct attach *attach;

	DL_FOREACH (router->attaches, attach) {
		if (!id_equal(&attach->target, peer))
			continue;
		if (attach->state == ATTACH_AWAITING || (attach->state == ATTACH_ASKED && we_are_larger)) {
			in_progress = true;
			attach->update_owed |= send_update; /* it would otherwise have to ask again */
		} else if (attach->state == ATTACH_ASKED) {
			transaction_cancel(TAKE(attach->transaction));
			attach_await(attach, ATTACH_YIELDED);
		}
	}
	return in_progress;
}

static struct attach *attach_waiting_for(struct router *router, const struct id *peer, enum attach_state state) {
	struct attach *attach;

	DL_FOREACH (router->attaches, attach)
		if (attach->state == state && id_equal(&attach->target, peer))
			return attach;
	return NULL;
}

void attach_yielded_failed(struct router *router, const struct id *peer) {
	struct attach *attach;

	while ((attach = attach_waiting_for(router, peer, ATTACH_YIELDED)))
		attach_finish(attach, -EHOSTUNREACH, LINK_SLOT_NONE, peer);
}

/* ---- links ---- */

struct id attach_expected(struct router *router, uint16_t slot, const struct certificate *certificate) {
	struct id expected = attach_answer_expected(router, slot);
	struct attach *attach;

	if (!id_is_none(&expected) || certificate->node_id_count == 1)
		return expected;
	DL_FOREACH (router->attaches, attach) {
		if ((attach->state == ATTACH_AWAITING || attach->state == ATTACH_YIELDED) &&
		    certificate_has_node_id(certificate, &attach->target) && !router_connection_of(router, &attach->target))
			return attach->target;
	}
	return ID_NONE;
}

/* The next of ours that ends because `peer` has a link now. */
static struct attach *attach_satisfied(struct router *router, const struct id *peer) {
	struct attach *attach;

	DL_FOREACH (router->attaches, attach) {
		if (!id_equal(&attach->target, peer) || attach->state == ATTACH_ENDING)
			continue;
		if (attach->state != ATTACH_ASKED || !attach_must_ask(attach))
			return attach;
	}
	return NULL;
}

/* A yielded Attach that wanted an Update never told so: it asks over the link that is there now. */
static bool attach_asks_again(struct attach *attach, uint16_t slot) {
	if (attach->state != ATTACH_YIELDED || !attach_wants_update(attach))
		return false;
	timer_disarm(attach->router->runtime, &attach->timer);
	attach->via_slot = slot;
	return attach_ask(attach) == 0;
}

void attach_link_up(struct router *router, uint16_t slot) {
	const struct router_link *link = connection_link(router, slot);
	struct id peer = link ? link->connection.peer : ID_NONE;
	struct attach *attach;

	if (id_is_none(&peer))
		return;
	bool owed = attach_answer_link_up(router, slot, &peer);
	while ((attach = attach_satisfied(router, &peer))) {
		owed |= attach->update_owed;
		attach->update_owed = false;
		if (!attach_asks_again(attach, slot))
			attach_finish(attach, 0, slot, &peer);
	}
	if (owed)
		connection_update_wanted(router, &peer); /* B-6.4.2.3-01 */
}

bool attach_link_down(struct router *router, uint16_t slot) {
	return attach_answer_link_down(router, slot);
}

/* ---- life cycle ---- */

void attach_init(struct router *router) {
	attach_answer_init(router);
}

void attach_release(struct router *router) {
	attach_answer_release(router);
	while (router->attaches) {
		struct id target = router->attaches->target;
		attach_finish(router->attaches, -ECANCELED, LINK_SLOT_NONE, &target);
	}
}
