/* SPDX-License-Identifier: BSD-2-Clause */
/* Links and Attach: who is bound to what, crossing and replaced links, restarted peers, candidates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "layout.h"
#include "support/router_net.h"
#include "wire/method.h"

#include <errno.h>
#include <string.h>

static uint64_t dropped(const struct router_net_node *node, enum drop_reason reason) {
	return router_counters(node->router)->dropped[reason];
}

static void cut(struct router_net_node *from, struct router_net_node *to, bool now) {
	struct address a = virtual_host_address(from->host), b = virtual_host_address(to->host);

	virtual_network_cut(from->net->network, &a, &b, now);
}

static int attach(struct router_net_node *from, struct octets list, unsigned flags, struct router_net_outcome *outcome) {
	*outcome = (struct router_net_outcome){.net = from->net, .slot = LINK_SLOT_NONE};
	return attach_start(from->router, list, flags, LINK_SLOT_NONE, router_net_on_attach, outcome);
}

static size_t link_count(const struct router_net_node *node) {
	size_t position = 0, count = 0;

	while (router_connection_next(node->router, &position))
		count++;
	return count;
}

/* ---- Attach through others ---- */

/* B-6.5.1-03, B-6.5.1.13-01, B-6.5.1.11-01: by Node-ID through T; the responder opens the link. */
static void test_attach_node(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[2];
	assert_int_equal(attach(a, router_net_node_list(&b->id), 0, &outcome), 0);
	assert_int_equal(outcome.calls, 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_true(id_equal(&outcome.signer_id, &b->id));
	assert_true(router_net_linked(a, b));
	assert_int_equal(outcome.slot, router_net_link(a, b)->slot);
	assert_false(router_net_link(a, b)->initiated);
	assert_true(router_net_link(b, a)->initiated);
	assert_true(router_net_link(a, b)->is_client); /* B-6.5.1-02 */
	assert_int_equal(b->updates_wanted, 0);
	/* an existing link is reused, without a message */
	uint64_t sent = router_counters(a->router)->sent;
	assert_int_equal(attach(a, router_net_node_list(&b->id), 0, &outcome), 0);
	assert_int_equal(outcome.calls, 0);
	router_net_run_ms(&net, 1);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(router_counters(a->router)->sent, sent);
	router_net_stop(&net);
}

/* B-6.5.1-03, B-6.4.2.3-01: by Resource-ID, the peer is learned from the answer; send_update is told to the listener. */
static void test_attach_resource(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[2];
	struct id resource = support_node_id(0x80);
	assert_int_equal(attach(a, router_net_resource_list(&resource), ATTACH_SEND_UPDATE, &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, 0);
	assert_true(id_equal(&outcome.signer_id, &b->id));
	assert_int_equal(b->updates_wanted, 1);
	assert_true(id_equal(&b->last_update_wanted, &a->id));
	assert_int_equal(a->updates_wanted, 0);
	/* again over the link that is there: no new link, but again an Update */
	unsigned ups = b->ups;
	assert_int_equal(attach(a, router_net_node_list(&b->id), ATTACH_SEND_UPDATE, &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(b->updates_wanted, 2);
	assert_int_equal(b->ups, ups);
	router_net_stop(&net);
}

/* Not to ourselves, by any name; not to what is no node. */
static void test_attach_self(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	uint8_t opaque[2] = {0x80, 0x01};

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0];
	struct id mine = support_node_id(0x05);
	assert_int_equal(attach(a, router_net_node_list(&a->id), 0, &outcome), -EINVAL);
	assert_int_equal(attach(a, OCTETS_NONE, 0, &outcome), -EINVAL);
	assert_int_equal(attach(a, OCTETS(opaque, 2), 0, &outcome), -EINVAL);
	assert_int_equal(attach(a, router_net_resource_list(&mine), 0, &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -EREMOTEIO);
	assert_true(id_equal(&outcome.signer_id, &a->id));
	/* the same through another node, as a partition check would meet it */
	const struct id *const over[] = {&net.nodes[1].id};
	router_net_place(&net.nodes[1], &a->id, &a->id, 1);
	assert_int_equal(attach(a, router_net_list(over, 1, &mine), 0, &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, -EREMOTEIO);
	assert_int_equal(link_count(a), 1);
	router_net_stop(&net);
}

static void on_refuse(void *userdata, struct request *request) {
	unsigned *calls = userdata;

	(*calls)++;
	request_fail_text(request, ERROR_FORBIDDEN, "no");
}

/* B-6.5.1.2-04: refused; silent responder; link that never comes up. */
static void test_attach_failures(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	unsigned calls = 0;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[2];
	/* the link cannot be opened: B's packets to A vanish */
	cut(b, a, true);
	assert_int_equal(attach(a, router_net_node_list(&b->id), 0, &outcome), 0);
	router_net_run_ms(&net, 9900);
	assert_int_equal(outcome.calls, 0);
	router_net_run_ms(&net, 200);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -EHOSTUNREACH);
	cut(b, a, false);
	router_net_run_ms(&net, 1000);
	/* cancelled: silence */
	assert_int_equal(attach(a, router_net_node_list(&b->id), 0, &outcome), 0);
	attach_cancel(a->router, &outcome);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 0);
	assert_true(router_net_linked(a, b)); /* the request had left */
	router_close(a->router, router_net_link(a, b)->slot, LINK_CLOSED_BY_US);
	router_net_run_ms(&net, 10);
	/* refused */
	router_handle(b->router, ATTACH_REQ, on_refuse, &calls);
	assert_int_equal(attach(a, router_net_node_list(&b->id), 0, &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(calls, 1);
	assert_int_equal(outcome.error, -EREMOTEIO);
	/* nobody there */
	struct id absent = support_node_id(0x77);
	assert_int_equal(attach(a, router_net_node_list(&absent), 0, &outcome), 0);
	router_net_run_ms(&net, 15100);
	assert_int_equal(outcome.error, -ETIMEDOUT);
	/* nobody to ask */
	router_net_place(a, &b->id, NULL, 0);
	assert_int_equal(attach(a, router_net_node_list(&absent), 0, &outcome), 0);
	router_net_run_ms(&net, 1);
	assert_int_equal(outcome.error, -ENETUNREACH);
	/* ended by router_free() */
	router_net_place(a, &b->id, &net.nodes[1].id, 1);
	assert_int_equal(attach(a, router_net_node_list(&absent), 0, &outcome), 0);
	router_net_kill(a);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -ECANCELED);
	router_net_stop(&net);
}

/* B-6.5.1.2-03: both attach at the same time; one link, both succeed, both Updates are owed once at least. */
static void test_attach_crossing(void **state) {
	struct router_net net;
	struct router_net_outcome at_a, at_b;

	(void)state;
	for (unsigned delay_ms = 0; delay_ms < 8; delay_ms++) {
		router_net_row(&net, NULL);
		struct router_net_node *a = &net.nodes[0], *b = &net.nodes[2];
		assert_int_equal(attach(a, router_net_node_list(&b->id), ATTACH_SEND_UPDATE, &at_a), 0);
		router_net_run_ms(&net, delay_ms);
		assert_int_equal(attach(b, router_net_node_list(&a->id), ATTACH_SEND_UPDATE, &at_b), 0);
		router_net_run_ms(&net, 200);
		assert_int_equal(at_a.calls, 1);
		assert_int_equal(at_a.error, 0);
		assert_int_equal(at_b.calls, 1);
		assert_int_equal(at_b.error, 0);
		assert_true(router_net_linked(a, b));
		assert_int_equal(link_count(a), 2);
		assert_int_equal(link_count(b), 2);
		assert_true(a->updates_wanted >= 1);
		assert_true(b->updates_wanted >= 1);
		router_net_stop(&net);
	}
}

/* The same when each knows the other only as owner of a resource: two links may cross, and both keep the same one. */
static void test_attach_crossing_resources(void **state) {
	struct router_net net;
	struct router_net_outcome at_a, at_b;

	(void)state;
	for (unsigned delay_ms = 0; delay_ms < 8; delay_ms++) {
		router_net_row(&net, NULL);
		struct router_net_node *a = &net.nodes[0], *b = &net.nodes[2];
		struct id of_b = support_node_id(0x80), of_a = a->id;
		assert_int_equal(attach(a, router_net_resource_list(&of_b), 0, &at_a), 0);
		router_net_run_ms(&net, delay_ms);
		assert_int_equal(attach(b, router_net_resource_list(&of_a), 0, &at_b), 0);
		router_net_run_ms(&net, 200);
		assert_int_equal(at_a.error, 0);
		assert_int_equal(at_b.error, 0);
		assert_int_equal(at_a.calls, 1);
		assert_int_equal(at_b.calls, 1);
		assert_true(router_net_linked(a, b));
		assert_true(router_net_link(a, b)->initiated != router_net_link(b, a)->initiated);
		assert_int_equal(link_count(a), 2);
		assert_int_equal(link_count(b), 2);
		router_net_stop(&net);
	}
}

/* B-6.5.1.2-03, node form against resource form in both orders of Node-IDs. */
static void test_attach_crossing_mixed(void **state) {
	struct router_net net;
	struct router_net_outcome at_a, at_b;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		router_net_row(&net, NULL);
		struct router_net_node *a = &net.nodes[0], *b = &net.nodes[2];
		struct id of_b = support_node_id(0x80), of_a = a->id;
		assert_int_equal(attach(a, i ? router_net_resource_list(&of_b) : router_net_node_list(&b->id), 0, &at_a), 0);
		assert_int_equal(attach(b, i ? router_net_node_list(&a->id) : router_net_resource_list(&of_a), 0, &at_b), 0);
		router_net_run_ms(&net, 200);
		assert_int_equal(at_a.error, 0);
		assert_int_equal(at_b.error, 0);
		assert_int_equal(at_a.calls + at_b.calls, 2);
		assert_true(router_net_linked(a, b));
		assert_int_equal(link_count(a), 2);
		assert_int_equal(link_count(b), 2);
		router_net_stop(&net);
	}
}

/* B-6.5.1.2-02: an Attach that meets one of ours already answered gets Error_In_Progress. */
static void test_attach_in_progress(void **state) {
	struct router_net net;
	struct router_net_outcome at_a, at_b;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[2];
	cut(b, a, true); /* B's link comes to nothing */
	assert_int_equal(attach(a, router_net_node_list(&b->id), 0, &at_a), 0);
	router_net_run_ms(&net, 100);
	uint64_t errors = router_counters(a->router)->errors_sent;
	assert_int_equal(attach(b, router_net_node_list(&a->id), 0, &at_b), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(router_counters(a->router)->errors_sent, errors + 1);
	assert_int_equal(at_b.calls, 0); /* B waits for the link of A's Attach, which it opens itself */
	router_net_run_ms(&net, 11000);
	assert_int_equal(at_a.error, -EHOSTUNREACH);
	assert_int_equal(at_b.error, -EHOSTUNREACH);
	router_net_stop(&net);
}

/* Several Attaches to one peer end together. */
static void test_attach_twice(void **state) {
	struct router_net net;
	struct router_net_outcome first, second;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[2];
	struct id resource = support_node_id(0x80);
	assert_int_equal(attach(a, router_net_node_list(&b->id), 0, &first), 0);
	assert_int_equal(attach(a, router_net_resource_list(&resource), 0, &second), 0);
	router_net_run_ms(&net, 200);
	assert_int_equal(first.calls, 1);
	assert_int_equal(second.calls, 1);
	assert_int_equal(first.error, 0);
	assert_int_equal(second.error, 0);
	assert_int_equal(link_count(a), 2);
	assert_int_equal(b->ups, 2);
	router_net_stop(&net);
}

/* ---- links ---- */

/* Two links opened towards each other: both ends keep the one of the larger Node-ID. An Update has to come again: a peer that was
 * restarted soon after its first link, and is not in the overlay yet, looks the same. */
static void test_links_crossing(void **state) {
	struct router_net net;

	(void)state;
	for (unsigned delay_ms = 0; delay_ms < 6; delay_ms++) {
		router_net_start(&net, NULL, (const uint8_t[]){0x10, 0x50}, 2);
		struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
		struct address to_a = virtual_host_address(a->host), to_b = virtual_host_address(b->host);
		struct transport *transport = router_transport(a->router);
		uint16_t slot;
		assert_int_equal(transport->ops->connect(transport->object, &to_b, 1, NULL, &slot), 0);
		router_net_run_ms(&net, delay_ms);
		if (router_net_link(a, b))
			router_mark_update_received(a->router, &b->id);
		transport = router_transport(b->router);
		assert_int_equal(transport->ops->connect(transport->object, &to_a, 1, NULL, &slot), 0);
		router_net_run_ms(&net, 100);
		assert_true(router_net_linked(a, b));
		assert_int_equal(link_count(a), 1);
		assert_int_equal(link_count(b), 1);
		assert_true(router_net_link(b, a)->initiated);
		assert_false(router_net_link(a, b)->initiated);
		assert_false(router_net_link(a, b)->update_received);
		router_net_stop(&net);
	}
}

/* A link later replaces the older one at both ends; the Update has to come again. */
static void test_link_replaced(void **state) {
	struct router_net net;

	(void)state;
	router_net_start(&net, NULL, (const uint8_t[]){0x10, 0x50}, 2);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	for (unsigned i = 0; i < 2; i++) { /* the same direction, then the other one */
		router_net_peers(a, b);
		uint16_t old = router_net_link(a, b)->slot;
		router_net_run_ms(&net, 3000);
		unsigned downs = a->downs;
		router_net_connect(i ? b : a, i ? a : b);
		router_net_run_ms(&net, 100);
		assert_true(router_net_linked(a, b));
		assert_int_not_equal(router_net_link(a, b)->slot, old);
		assert_int_equal(link_count(a), 1);
		assert_int_equal(link_count(b), 1);
		assert_int_equal(a->downs, downs + 1);
		assert_false(router_net_link(a, b)->update_received);
		router_net_run_ms(&net, 3000);
	}
	router_net_stop(&net);
}

/* In down() of a replaced link the new one is there already. */
struct replaced {
	struct router_net_node *node;
	struct id peer;
	unsigned calls, connected;
};

static void on_replaced(void *userdata, const struct connection *connection, enum link_reason reason) {
	struct replaced *replaced = userdata;

	(void)reason;
	replaced->calls++;
	assert_false(connection->up);
	replaced->connected += router_connection_of(replaced->node->router, &replaced->peer) != NULL;
}

static void test_down_after_replacement(void **state) {
	struct router_net net;
	struct replaced replaced = {0};
	struct connection_listener listener = {.userdata = &replaced, .down = on_replaced};

	(void)state;
	router_net_start(&net, NULL, (const uint8_t[]){0x10, 0x50}, 2);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	replaced.node = a;
	replaced.peer = b->id;
	router_add_listener(a->router, &listener);
	router_net_connect(a, b);
	router_net_run_ms(&net, 3000);
	router_net_connect(a, b);
	router_net_run_ms(&net, 100);
	assert_int_equal(replaced.calls, 1);
	assert_int_equal(replaced.connected, 1);
	router_close(a->router, router_net_link(a, b)->slot, LINK_CLOSED_BY_US);
	assert_int_equal(replaced.calls, 2);
	assert_int_equal(replaced.connected, 1);
	router_remove_listener(a->router, &listener);
	/* a connect() that comes to nothing is told, too */
	unsigned downs = a->downs;
	struct address nowhere = {.family = AF_INET, .port = 1, .octets = {192, 0, 2, 1}};
	struct transport *transport = router_transport(a->router);
	uint16_t slot;
	assert_int_equal(transport->ops->connect(transport->object, &nowhere, 1, NULL, &slot), 0);
	router_net_run_ms(&net, 11000);
	assert_int_equal(a->downs, downs + 1);
	assert_int_equal(a->last_down, LINK_HANDSHAKE_FAILED);
	/* and so is one that led to somebody with our own Node-ID */
	struct router_net_node *self = router_net_add(&net, &a->id, 1, false);
	struct address own = virtual_host_address(self->host);
	assert_int_equal(transport->ops->connect(transport->object, &own, 1, NULL, &slot), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(link_count(a), 0);
	assert_int_equal(link_count(self), 0);
	assert_int_equal(a->downs, downs + 2);
	assert_int_equal(replaced.calls, 2);
	router_net_stop(&net);
}

/* Many links: the index finds every peer through growth and removal. */
static void test_connection_table(void **state) {
	enum { PEERS = ROUTER_NET_MAX - 1 };
	struct router_net net;
	size_t position = 0, seen = 0;
	const struct connection *connection;

	(void)state;
	router_net_start(&net, NULL, (const uint8_t[]){1, 2, 3, 4, 5, 6, 7, 8}, ROUTER_NET_MAX);
	for (size_t i = 1; i <= PEERS; i++)
		router_net_connect(&net.nodes[i], &net.nodes[0]);
	for (size_t i = 1; i <= PEERS; i++)
		assert_non_null(router_net_link(&net.nodes[0], &net.nodes[i]));
	while ((connection = router_connection_next(net.nodes[0].router, &position))) {
		assert_ptr_equal(router_connection(net.nodes[0].router, connection->slot), connection);
		seen++;
	}
	assert_int_equal(seen, PEERS);
	for (size_t i = 1; i <= PEERS; i++) {
		router_close(net.nodes[0].router, router_net_link(&net.nodes[0], &net.nodes[i])->slot, LINK_CLOSED_BY_US);
		for (size_t j = 1; j <= PEERS; j++)
			assert_int_equal(router_net_link(&net.nodes[0], &net.nodes[j]) != NULL, j > i);
	}
	assert_null(router_connection(net.nodes[0].router, LINK_SLOT_NONE));
	assert_null(router_connection_of(net.nodes[0].router, &ID_NONE));
	router_net_stop(&net);
}

/* ---- certificates with several Node-IDs ---- */

/* B-6.1.2-07, B-6.1.2-08, FW-B11, FW-B12, B-4.2.1-02: Ping passes, others do not, Attach binds both ends. */
static void test_unbound_link(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	const struct id ids[] = {support_node_id(0x20), support_node_id(0x21)};

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *t = &net.nodes[1], *b = &net.nodes[2], *m = router_net_add(&net, ids, 2, false);
	router_net_connect(m, t);
	assert_non_null(router_net_link(m, t)); /* T has one Node-ID only */
	assert_null(router_net_link(t, m));
	assert_true(id_is_none(&t->last_up));
	/* Ping to T, and through T to B: the answers find back */
	assert_int_equal(router_net_send(m, router_net_node_list(&t->id), PING_REQ, router_net_ping(0), &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, 0);
	const struct id *const route[] = {&t->id, &b->id};
	assert_int_equal(router_net_send(m, router_net_list(route, 2, NULL), PING_REQ, router_net_ping(0), &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_true(id_equal(&outcome.signer_id, &b->id));
	/* anything else is forbidden, and the sender knows at once */
	assert_int_equal(router_net_send(m, router_net_list(route, 2, NULL), FIND_REQ, OCTETS_NONE, &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -EREMOTEIO);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	assert_int_equal(dropped(t, DROP_UNBOUND_MULTI_ID), 1);
	/* Attach over the link binds it without a new one, though the link is there already */
	unsigned ups = t->ups;
	assert_int_equal(attach(m, router_net_node_list(&t->id), ATTACH_SEND_UPDATE, &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_non_null(router_net_link(t, m));
	assert_int_equal(t->ups, ups + 1);
	assert_true(id_equal(&t->last_up, &m->id));
	assert_int_equal(t->updates_wanted, 1);
	assert_int_equal(link_count(m), 1);
	assert_int_equal(router_net_send(m, router_net_list(route, 2, NULL), FIND_REQ, OCTETS_NONE, &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE); /* B has no handler: it went through */
	router_net_stop(&net);
}

/* The Attach of a joining node with several Node-IDs goes through its bootstrap peer; the link that comes is bound at both ends. */
static void test_multi_id_attach_through(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	const struct id ids[] = {support_node_id(0x20), support_node_id(0x21)};

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *t = &net.nodes[1], *b = &net.nodes[2], *m = router_net_add(&net, ids, 2, false);
	router_net_connect(m, t);
	const struct id *const route[] = {&t->id};
	struct id resource = support_node_id(0x80);
	assert_int_equal(attach(m, router_net_list(route, 1, &resource), 0, &outcome), 0);
	router_net_run_ms(&net, 200);
	assert_int_equal(outcome.error, 0);
	assert_true(id_equal(&outcome.signer_id, &b->id));
	assert_true(router_net_linked(m, b));
	assert_null(router_net_link(t, m)); /* its Attach was not for T */
	router_net_stop(&net);
}

/* Attach to a node with several Node-IDs: the certificate does not tell which one, the Attach does. */
static void test_attach_to_multi_id(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	const struct id ids[] = {support_node_id(0x20), support_node_id(0x21)};

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1], *m = router_net_add(&net, ids, 2, false);
	router_net_connect(m, t);
	assert_int_equal(attach(m, router_net_node_list(&t->id), 0, &outcome), 0);
	router_net_run_ms(&net, 100);
	const struct id *const route[] = {&t->id, &m->id};
	assert_int_equal(attach(a, router_net_list(route, 2, NULL), 0, &outcome), 0);
	router_net_run_ms(&net, 200);
	assert_int_equal(outcome.error, 0);
	assert_true(router_net_linked(a, m));
	/* the other one of its Node-IDs is nobody */
	assert_null(router_connection_of(a->router, &ids[1]));
	router_net_stop(&net);
}

/* ---- restarted and dead peers ---- */

/* A restarted requester has no link and a new address; the responder's link to its former life is dead. */
static void test_dead_link_revived(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1], *b = &net.nodes[2];
	assert_int_equal(attach(a, router_net_node_list(&b->id), 0, &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_true(router_net_linked(a, b));
	router_mark_update_received(b->router, &a->id);
	router_net_run_ms(&net, 1500); /* silence on the link */
	router_net_restart(a);
	assert_non_null(router_net_link(b, a));
	router_net_connect(a, t); /* replaces T's dead link at once */
	assert_non_null(router_net_link(t, a));
	const struct id *const route[] = {&t->id, &b->id};
	assert_int_equal(attach(a, router_net_list(route, 2, NULL), ATTACH_SEND_UPDATE, &outcome), 0);
	unsigned wanted = b->updates_wanted;
	router_net_run_ms(&net, 500);
	assert_int_equal(outcome.calls, 0); /* B asks its old link */
	router_net_run_ms(&net, 700);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_true(router_net_linked(a, b));
	assert_int_equal(b->updates_wanted, wanted + 1);
	assert_false(router_net_link(b, a)->update_received);
	router_net_stop(&net);
}

/* The responder's silent link is alive after all: a Ping shows it and nothing is opened. */
static void test_silent_link_alive(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1], *b = &net.nodes[2];
	assert_int_equal(attach(a, router_net_node_list(&b->id), 0, &outcome), 0);
	router_net_run_ms(&net, 3000);
	unsigned ups = b->ups;
	const struct id *const route[] = {&t->id, &b->id};
	assert_int_equal(attach(a, router_net_list(route, 2, NULL), ATTACH_SEND_UPDATE, &outcome), 0);
	router_net_run_ms(&net, 3000);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(b->ups, ups);
	assert_int_equal(b->updates_wanted, 1);
	assert_true(router_net_linked(a, b));
	router_net_stop(&net);
}

/* B-6.5.1-03: only the addressed node counts; a link of another node does not end the Attach. */
static void test_other_link_does_not_count(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	struct id id = support_node_id(0x60);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[2], *o = router_net_add(&net, &id, 1, false);
	cut(b, a, true);
	assert_int_equal(attach(a, router_net_node_list(&b->id), 0, &outcome), 0);
	router_net_run_ms(&net, 100);
	router_net_connect(o, a);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 0);
	assert_non_null(router_net_link(a, o));
	router_net_stop(&net);
}

/* ---- candidates of strangers ---- */

struct offered {
	const char *address;
	uint8_t link, type;
	bool usable;
};

static struct octets attach_request(const struct offered *offered, size_t count, const char *role, uint8_t *memory, size_t size) {
	uint8_t list[2048];
	struct writer w = writer_fixed(list, sizeof(list)), body = writer_fixed(memory, size);

	for (size_t i = 0; i < count; i++) {
		struct ice_candidate candidate = {
			.overlay_link = offered[i].link,
			.foundation = octets_of_string("1"),
			.priority = (uint32_t)i,
			.type = offered[i].type,
		};
		assert_int_equal(address_parse(offered[i].address, 0, &candidate.address), 0);
		candidate.related = candidate.address;
		ice_candidate_write(&w, &candidate);
	}
	attach_write(&body, &(struct attach_req_ans){.role = octets_of_string(role), .candidates = writer_octets_written(&w)});
	assert_int_equal(writer_finish(&body), 0);
	return writer_octets_written(&body);
}

/* Nobody can send us to groups, to ourselves, to our loopback, or to addresses that cannot be. */
static void test_candidates(void **state) {
	static const struct offered cases[] = {
		{"192.0.2.1:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, true},
		{"[2001:db8::1]:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, true},
		{"192.0.2.1", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false},
		{"192.0.2.1:6084", LINK_DTLS_UDP_SR, CANDIDATE_HOST, false},
		{"192.0.2.1:6084", LINK_TLS_TCP_FH_NO_ICE, CANDIDATE_HOST, false},
		{"192.0.2.1:6084", 77, CANDIDATE_HOST, false},
		{"192.0.2.1:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_RELAY, false},
		{"0.0.0.0:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false},
		{"0.1.2.3:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false},
		{"127.0.0.1:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false},
		{"224.0.0.1:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false},
		{"240.0.0.1:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false},
		{"255.255.255.255:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false},
		{"[::]:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false},
		{"[::1]:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false},
		{"[ff02::1]:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false},
		{"[fe80::1]:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false},
		{"[::ffff:192.0.2.1]:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false},
		{"10.0.0.2:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, false}, /* T's own */
		{"10.0.0.2:6085", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, true},
	};
	struct router_net net;
	struct router_net_outcome outcome;
	uint8_t memory[2048];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		router_net_row(&net, NULL);
		struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1];
		struct octets body = attach_request(&cases[i], 1, "passive", memory, sizeof(memory));
		struct id stranger_id = support_node_id(0x12);
		struct router_net_node *stranger = router_net_add(&net, &stranger_id, 1, true);
		router_net_connect(stranger, a);
		const struct id *const route[] = {&a->id, &t->id};
		assert_int_equal(router_net_send(stranger, router_net_list(route, 2, NULL), ATTACH_REQ, body, &outcome), 0);
		router_net_run_ms(&net, 100);
		assert_int_equal(outcome.calls, 1);
		assert_int_equal(outcome.error, cases[i].usable ? 0 : -EREMOTEIO);
		if (cases[i].usable)
			assert_int_equal(outcome.code, ATTACH_ANS);
		else
			assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
		router_net_stop(&net);
	}
}

/* B-6.5.1.1-01, B-6.5.1.1-02: roles and what the answer holds; LIMIT_CANDIDATES: a usable one behind sixteen others is not seen. */
static void test_attach_format(void **state) {
	static const struct offered good = {"10.0.0.4:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, true};
	struct offered many[LIMIT_CANDIDATES + 1];
	struct router_net net;
	struct router_net_outcome outcome;
	struct attach_req_ans answer;
	struct ice_candidate candidate;
	uint8_t memory[2048];

	(void)state;
	router_net_row(&net, NULL);
	struct id id = support_node_id(0x12);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1], *s = router_net_add(&net, &id, 1, true);
	router_net_connect(s, a);
	const struct id *const route[] = {&a->id, &t->id};
	struct octets list = router_net_list(route, 2, NULL);
	const char *roles[] = {"active", "actpass", "", "passive "};
	for (size_t i = 0; i < ARRAY_LENGTH(roles); i++) {
		assert_int_equal(
			router_net_send(s, list, ATTACH_REQ, attach_request(&good, 1, roles[i], memory, sizeof(memory)), &outcome),
			0);
		router_net_run_ms(&net, 100);
		assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
	}
	assert_int_equal(router_net_send(s, list, ATTACH_REQ, OCTETS("abc", 3), &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
	for (size_t i = 0; i < ARRAY_LENGTH(many); i++)
		many[i] = (struct offered){"192.0.2.1:6084", LINK_TLS_TCP_FH_NO_ICE, CANDIDATE_HOST, false};
	many[LIMIT_CANDIDATES] = good;
	assert_int_equal(router_net_send(s, list, ATTACH_REQ,
					 attach_request(many, ARRAY_LENGTH(many), "passive", memory, sizeof(memory)), &outcome),
			 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error_code, ERROR_INVALID_MESSAGE);
	many[LIMIT_CANDIDATES - 1] = good;
	assert_int_equal(router_net_send(s, list, ATTACH_REQ,
					 attach_request(many, ARRAY_LENGTH(many), "passive", memory, sizeof(memory)), &outcome),
			 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(attach_read(OCTETS(outcome.body, outcome.body_length), &answer), 0);
	assert_true(octets_equal(answer.role, octets_of_string("active")));
	assert_int_equal(answer.ufrag.length, 0);
	assert_int_equal(answer.password.length, 0);
	assert_false(answer.send_update);
	struct reader r = reader_of_octets(answer.candidates);
	assert_int_equal(ice_candidate_next(&r, &candidate), 1);
	struct address own = virtual_host_address(t->host);
	assert_true(address_equal(&candidate.address, &own));
	assert_int_equal(candidate.overlay_link, LINK_DTLS_UDP_SR_NO_ICE);
	assert_int_equal(candidate.type, CANDIDATE_HOST);
	assert_int_equal(candidate.priority, 0x7effffff);
	assert_int_equal(ice_candidate_next(&r, &candidate), 0);
	assert_true(router_net_linked(s, t)); /* and the link was opened */
	router_net_stop(&net);
}

/* A requester that moved while its link was being opened: the new addresses count. */
static void test_attach_moved(void **state) {
	static const struct offered dead = {"192.0.2.1:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, true};
	static const struct offered good = {"10.0.0.4:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, true};
	struct router_net net;
	struct router_net_outcome outcome;
	uint8_t memory[2048];

	(void)state;
	router_net_row(&net, NULL);
	struct id id = support_node_id(0x12);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1], *s = router_net_add(&net, &id, 1, true);
	router_net_connect(s, a);
	const struct id *const route[] = {&a->id, &t->id};
	const struct offered *offers[] = {&dead, &dead, &good};
	for (size_t i = 0; i < ARRAY_LENGTH(offers); i++) {
		assert_int_equal(router_net_send(s, router_net_list(route, 2, NULL), ATTACH_REQ,
						 attach_request(offers[i], 1, "passive", memory, sizeof(memory)), &outcome),
				 0);
		router_net_run_ms(&net, 100);
		assert_int_equal(outcome.error, 0);
		assert_int_equal(router_net_linked(s, t), i == 2);
	}
	router_net_stop(&net);
}

/* LIMIT_ATTACHES_OPEN: -ENOBUFS for ours, Error_In_Progress for others'. */
static void test_attach_limit(void **state) {
	static struct router_net_outcome outcome;
	struct router_net_outcome refused;
	struct router_net net;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1], *b = &net.nodes[2];
	struct id absent = support_node_id(0x77);
	cut(a, t, true);
	for (size_t i = 0; i < LIMIT_ATTACHES_OPEN; i++)
		assert_int_equal(attach(a, router_net_node_list(&absent), 0, &outcome), 0);
	assert_int_equal(attach(a, router_net_node_list(&absent), 0, &outcome), -ENOBUFS);
	cut(a, t, false);
	static const struct offered good = {"10.0.0.3:6084", LINK_DTLS_UDP_SR_NO_ICE, CANDIDATE_HOST, true};
	uint8_t memory[256];
	const struct id *const route[] = {&t->id, &a->id};
	struct octets body = attach_request(&good, 1, "passive", memory, sizeof(memory));
	assert_int_equal(router_net_send(b, router_net_list(route, 2, NULL), ATTACH_REQ, body, &refused), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(refused.error_code, ERROR_IN_PROGRESS);
	assert_null(router_net_link(a, b));
	attach_cancel(a->router, &outcome);
	assert_int_equal(attach(a, router_net_node_list(&absent), 0, &outcome), 0);
	router_net_stop(&net);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attach_node),
		cmocka_unit_test(test_attach_resource),
		cmocka_unit_test(test_attach_self),
		cmocka_unit_test(test_attach_failures),
		cmocka_unit_test(test_attach_crossing),
		cmocka_unit_test(test_attach_crossing_resources),
		cmocka_unit_test(test_attach_crossing_mixed),
		cmocka_unit_test(test_attach_in_progress),
		cmocka_unit_test(test_attach_twice),
		cmocka_unit_test(test_links_crossing),
		cmocka_unit_test(test_link_replaced),
		cmocka_unit_test(test_down_after_replacement),
		cmocka_unit_test(test_connection_table),
		cmocka_unit_test(test_unbound_link),
		cmocka_unit_test(test_multi_id_attach_through),
		cmocka_unit_test(test_attach_to_multi_id),
		cmocka_unit_test(test_dead_link_revived),
		cmocka_unit_test(test_silent_link_alive),
		cmocka_unit_test(test_other_link_does_not_count),
		cmocka_unit_test(test_candidates),
		cmocka_unit_test(test_attach_format),
		cmocka_unit_test(test_attach_moved),
		cmocka_unit_test(test_attach_limit),
	};

	return cmocka_run_group_tests_name("router: attach", tests, NULL, NULL);
}
