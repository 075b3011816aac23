/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/twin.h"
#include "base/log.h"
#include "node/handover.h"
#include "wire/method.h"

#include <string.h>
#include <systemd/sd-daemon.h>

enum { DESTINATIONS_MAX = 2 * (3 + ID_LENGTH_MAX) };

struct twin {
	struct node *node;
	struct connection_listener listener;
	struct timer echo;
	unsigned questions;
	bool found;
};

/* Lives until its transaction ends, which router_shutdown() sees to before the twin goes. */
struct question {
	struct twin *twin;
	struct address address; /* whom we asked through */
};

static void found(struct twin *twin, const char *how, const struct address *through) {
	struct node *node = twin->node;
	char id[ID_TEXT_SIZE], text[ADDRESS_TEXT_SIZE];

	if (twin->found || node->leaving)
		return;
	twin->found = true;
	log_error("Another machine with the identity of this one (Node-ID %s) %s %s. It goes on, and this one stays out: switch "
		  "the other "
		  "one off, or give this one a certificate of its own.",
		  id_format(router_node_id(node->router), id), how, address_format(through, text));
	sd_notify(false, "STATUS=Another machine has the identity of this one.");
	handover_forget(); /* nobody is there to answer phones */
	sd_event_exit(node->event, TWIN_EXIT);
}

static void on_answer(void *userdata, int error, const struct response *response) {
	struct question *question = userdata;
	struct twin *twin = question->twin;

	twin->questions--;
	/* Signed with our Node-ID, and not by us: our own end drops this request. */
	if (error == 0 && twin->node->state != TOPOLOGY_JOINED &&
	    id_equal(&response->signer_id, router_node_id(twin->node->router)))
		found(twin, "is in the overlay, as seen through", &question->address);
	free(question);
}

static void ask(struct twin *twin, const struct connection *connection) {
	struct router *router = twin->node->router;
	struct transport *transport = router_transport(router);
	uint8_t destinations[DESTINATIONS_MAX], body[8];
	struct writer list = writer_fixed(destinations, sizeof(destinations)), w = writer_fixed(body, sizeof(body));

	if (twin->questions >= TWIN_QUESTIONS_MAX || id_is_none(&connection->peer))
		return;
	struct question *question = malloc(sizeof(*question));
	if (!question)
		return;
	*question = (struct question){.twin = twin, .address = transport->ops->address(transport->object, connection->slot)};
	destination_write_node(&list, &connection->peer);
	destination_write_node(&list, router_node_id(router));
	ping_req_write(&w, OCTETS_NONE);
	int error = router_send_request(router,
					&(struct outgoing){.destination_list = writer_octets_written(&list),
							   .code = PING_REQ,
							   .body = writer_octets_written(&w),
							   .via_slot = connection->slot,
							   .once = true,
							   .others_only = true,
							   .done = on_answer,
							   .userdata = question},
					NULL);
	if (error < 0)
		free(question);
	else
		twin->questions++;
}

static void on_up(void *userdata, const struct connection *connection) {
	struct twin *twin = userdata;

	if (twin->node->state != TOPOLOGY_JOINED && !twin->node->leaving)
		ask(twin, connection);
}

/* ---- a link to our own Node-ID ---- */

/*
 * A link that led back to us has come up twice; one that led to a twin only here. In between this node may have begun a ring of its
 * own as the first node, since nobody let it in.
 */
static void on_echo(struct timer *timer, void *userdata) {
	struct twin *twin = userdata;
	unsigned by_us, by_others;

	(void)timer;
	router_met_itself(twin->node->router, &by_us, &by_others);
	if (by_us > by_others)
		found(twin, "answers at an address of the overlay; this one listens on", &twin->node->settings->listen[0]);
}

static void on_down(void *userdata, const struct connection *connection, enum link_reason reason) {
	struct twin *twin = userdata;
	unsigned by_us, by_others;

	(void)reason;
	router_met_itself(twin->node->router, &by_us, &by_others);
	if (connection->initiated && by_us > by_others && !twin->echo.armed && twin->node->state != TOPOLOGY_JOINED)
		timer_arm_after(&twin->node->runtime, &twin->echo, TWIN_ECHO_US);
}

int twin_new(struct node *node, struct twin **ret) {
	struct twin *twin = calloc(1, sizeof(*twin));

	if (!twin)
		return -ENOMEM;
	twin->node = node;
	twin->listener = (struct connection_listener){.userdata = twin, .up = on_up, .down = on_down};
	timer_init(&twin->echo, on_echo, twin);
	router_add_listener(node->router, &twin->listener);
	*ret = twin;
	return 0;
}

struct twin *twin_free(struct twin *twin) {
	if (!twin)
		return NULL;
	router_remove_listener(twin->node->router, &twin->listener);
	timer_disarm(&twin->node->runtime, &twin->echo);
	free(twin);
	return NULL;
}
