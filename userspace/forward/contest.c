/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two nodes with one Node-ID: a machine and a copy of its disk. A second link to a peer usually is that peer, started again, and
 * replaces the first. But when it comes from elsewhere while the first one acknowledges, the node at its other end is asked: if it
 * answers within CONTEST_US, the newcomer is another node with the same certificate, and its link is closed. Until then its link is
 * unbound, so that over it the newcomer can do no more than ask (B-6.1.2-07), and find out by itself that there is somebody.
 *
 * Nodes with several Node-IDs in their certificates are not protected like that: whose their links are is known only later.
 */
#include "base/log.h"
#include "forward/internal.h"
#include "wire/method.h"

enum {
	CONTEST_US = 1500 * 1000,
	CONTEST_DESTINATION_MAX = 2 + 1 + ID_LENGTH_MAX,
};

/* The question to whoever holds the link now; lives until its transaction ends. */
struct contest_question {
	struct router *router;
	uint16_t slot;
	uint64_t serial;
};

static void contest_end(struct router *router, struct router_link *defender) {
	timer_disarm(router->runtime, &defender->contest);
	defender->challenger->defender = NULL;
	defender->challenger = NULL;
}

static void contest_log(struct router *router, const struct router_link *defender) {
	struct transport *transport = &router->transport;
	struct address here = transport->ops->address(transport->object, defender->connection.slot);
	struct address there = transport->ops->address(transport->object, defender->challenger->connection.slot);
	char id[ID_TEXT_SIZE], a[ADDRESS_TEXT_SIZE], b[ADDRESS_TEXT_SIZE];

	log_warning("Two nodes have the Node-ID %s: the one at %s answers, and the one at %s is turned away. Switch one of them "
		    "off, or "
		    "enroll it anew.",
		    id_format(&defender->connection.peer, id), address_format(&here, a), address_format(&there, b));
}

static void contest_due(struct timer *timer, void *userdata) {
	struct router_link *defender = userdata, *challenger = defender->challenger;
	struct router *router = defender->router;
	struct id peer = defender->connection.peer;

	(void)timer;
	contest_end(router, defender);
	if (defender->answered) {
		router_close(router, challenger->connection.slot, LINK_CLOSED_BY_US);
		return;
	}
	connection_admit(router, challenger->connection.slot, &peer);
}

static void on_answer(void *userdata, int error, const struct response *response) {
	struct contest_question *question = userdata;
	struct router_link *defender = connection_link(question->router, question->slot);

	/* An error of its own is a sign of life, too. */
	if (defender && defender->serial == question->serial && defender->challenger && !defender->answered &&
	    (error == 0 || (error == -EREMOTEIO && id_equal(&response->signer_id, &defender->connection.peer)))) {
		defender->answered = true;
		contest_log(question->router, defender);
	}
	free(question);
}

static int ask(struct router *router, const struct router_link *defender) {
	struct contest_question *question = malloc(sizeof(*question));
	uint8_t destinations[CONTEST_DESTINATION_MAX], body[8];
	struct writer list = writer_fixed(destinations, sizeof(destinations)), w = writer_fixed(body, sizeof(body));

	if (!question)
		return -ENOMEM;
	*question = (struct contest_question){.router = router, .slot = defender->connection.slot, .serial = defender->serial};
	destination_write_node(&list, &defender->connection.peer);
	ping_req_write(&w, OCTETS_NONE);
	int error = router_send_request(router,
					&(struct outgoing){.destination_list = writer_octets_written(&list),
							   .code = PING_REQ,
							   .body = writer_octets_written(&w),
							   .via_slot = defender->connection.slot,
							   .once = true,
							   .done = on_answer,
							   .userdata = question},
					NULL);
	if (error < 0)
		free(question);
	return error;
}

bool contest_begin(struct router *router, struct router_link *challenger, struct router_link *defender) {
	struct transport *transport = &router->transport;

	if (challenger->connection.initiated || defender->connection.suspected || !transport->ops->address)
		return false;
	struct address here = transport->ops->address(transport->object, defender->connection.slot);
	struct address there = transport->ops->address(transport->object, challenger->connection.slot);
	if (here.family == 0 || address_same(&here, &there))
		return false;
	if (defender->challenger) { /* one at a time */
		router_close(router, challenger->connection.slot, LINK_CLOSED_BY_US);
		return true;
	}
	if (ask(router, defender) < 0)
		return false;
	defender->answered = false;
	defender->challenger = challenger;
	challenger->defender = defender;
	timer_init(&defender->contest, contest_due, defender);
	timer_arm_after(router->runtime, &defender->contest, CONTEST_US);
	return true;
}

void contest_link_down(struct router *router, struct router_link *link) {
	if (link->defender)
		contest_end(router, link->defender);
	if (!link->challenger)
		return;
	uint16_t slot = link->challenger->connection.slot;
	struct id peer = link->connection.peer;
	contest_end(router, link);
	if (router_connection_of(router, &peer)) /* a third one has its place already */
		router_close(router, slot, LINK_CLOSED_BY_US);
	else if (!router->closing)
		connection_admit(router, slot, &peer);
}
