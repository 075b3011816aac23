/* SPDX-License-Identifier: BSD-2-Clause */
/* The bootstrap server: what it passes between joining peers and bootstrap peers, what not, and its limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "forward/relay.h"
#include "layout.h"
#include "support/router_net.h"
#include "wire/method.h"

#include <string.h>

enum { JOINER, OTHER, SERVER, PEER, SECOND };

/* Two joining peers, the server, and two bootstrap peers it is attached to; the ring is theirs. */
static void start(struct router_net *net) {
	static const uint8_t octets[] = {0x10, 0x20, 0x50, 0x90, 0xd0};

	router_net_start(net, NULL, octets, sizeof(octets));
	struct router_net_node *n = net->nodes;
	router_set_relay(n[SERVER].router);
	router_net_connect(&n[SERVER], &n[PEER]);
	router_net_connect(&n[SERVER], &n[SECOND]);
	router_mark_update_received(n[SERVER].router, &n[PEER].id);
	router_mark_update_received(n[SERVER].router, &n[SECOND].id);
	router_net_peers(&n[PEER], &n[SECOND]);
	router_net_place(&n[PEER], &n[SECOND].id, &n[SECOND].id, 1);
	router_net_place(&n[SECOND], &n[PEER].id, &n[PEER].id, 1);
	const struct id peers[] = {n[PEER].id, n[SECOND].id};
	assert_int_equal(router_set_routes(n[SERVER].router, peers, 2), 0);
	router_net_connect(&n[JOINER], &n[SERVER]);
	router_net_connect(&n[OTHER], &n[SERVER]);
}

static struct relay_figures figures(const struct router_net *net) {
	struct relay_figures figures;

	router_relay_figures(net->nodes[SERVER].router, &figures);
	return figures;
}

static struct router_net_outcome ask(struct router_net *net, unsigned from, struct octets list, uint16_t code, struct octets body) {
	struct router_net_node *node = &net->nodes[from];
	struct router_net_outcome outcome = {.net = net};
	struct outgoing outgoing = {OUTGOING_DEFAULT,	   .destination_list = list,	   .code = code,	.body = body,
				    .any_responder = true, .done = router_net_on_response, .userdata = &outcome};

	outgoing.via_slot = router_net_link(node, &net->nodes[SERVER])->slot;
	assert_int_equal(router_send_request(node->router, &outgoing, NULL), 0);
	router_net_run_ms(net, 500);
	return outcome;
}

static void test_joining(void **state) {
	struct router_net net;

	(void)state;
	start(&net);
	struct id point = id_add_small(&net.nodes[JOINER].id, 1);
	struct router_net_outcome outcome = ask(&net, JOINER, router_net_resource_list(&point), PING_REQ, router_net_ping(0));
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.code, PING_ANS);
	assert_true(id_equal(&outcome.signer_id, &net.nodes[PEER].id)); /* the first after 0x10 in the ring */
	/* There and back. */
	assert_int_equal(figures(&net).relayed, 2);
	assert_int_equal(figures(&net).links, 2);
	assert_int_equal(router_counters(net.nodes[SERVER].router)->forwarded, 2);
	/* It is in no ring itself. */
	assert_false(router_joined(net.nodes[SERVER].router));
	assert_false(router_responsible(net.nodes[SERVER].router, &point));
	router_net_stop(&net);
}

/* Whoever wants an Attach through the server gets the link to the peer itself. B-11.4-01 */
static void test_attach(void **state) {
	struct router_net net;
	struct router_net_outcome outcome = {.net = &net};

	(void)state;
	start(&net);
	struct id point = id_add_small(&net.nodes[JOINER].id, 1);
	uint16_t slot = router_net_link(&net.nodes[JOINER], &net.nodes[SERVER])->slot;
	assert_int_equal(
		attach_start(net.nodes[JOINER].router, router_net_resource_list(&point), 0, slot, router_net_on_attach, &outcome),
		0);
	router_net_run_ms(&net, 2000);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_true(router_net_linked(&net.nodes[JOINER], &net.nodes[PEER]));
	router_net_stop(&net);
}

static void test_refused(void **state) {
	struct router_net net;

	(void)state;
	start(&net);
	/* One joining peer to another */
	uint8_t buffer[64];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	destination_write_node(&w, &net.nodes[OTHER].id);
	struct router_net_outcome outcome = ask(&net, JOINER, writer_octets_written(&w), PING_REQ, router_net_ping(0));
	assert_int_equal(outcome.code, MESSAGE_ERROR);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	assert_int_equal(figures(&net).relayed, 0);
	assert_int_equal(figures(&net).refused, 1);
	/* One peer to another: the server is no transit node */
	w = writer_fixed(buffer, sizeof(buffer));
	destination_write_node(&w, &net.nodes[SERVER].id);
	destination_write_node(&w, &net.nodes[SECOND].id);
	outcome = ask(&net, PEER, writer_octets_written(&w), PING_REQ, router_net_ping(0));
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	assert_int_equal(figures(&net).refused, 2);
	/* Use of the overlay beyond joining */
	struct id resource = support_node_id(0x80);
	uint8_t body[4] = {0};
	outcome = ask(&net, JOINER, router_net_resource_list(&resource), FETCH_REQ, OCTETS(body, sizeof(body)));
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	assert_int_equal(figures(&net).refused, 3);
	assert_int_equal(router_counters(net.nodes[SERVER].router)->dropped[DROP_RELAY_REFUSED], 3);
	assert_int_equal(figures(&net).relayed, 0);
	router_net_stop(&net);
}

static void flood(struct router_net *net, unsigned count) {
	struct router_net_node *node = &net->nodes[JOINER];
	struct id point = support_node_id(0x80);

	for (unsigned i = 0; i < count; i++) {
		struct outgoing outgoing = {OUTGOING_DEFAULT,	   .destination_list = router_net_resource_list(&point),
					    .code = PING_REQ,	   .body = router_net_ping(0),
					    .any_responder = true, .once = true};
		outgoing.via_slot = router_net_link(node, &net->nodes[SERVER])->slot;
		assert_int_equal(router_send_request(node->router, &outgoing, NULL), 0);
		router_net_run_ms(net, 1);
	}
	router_net_run_ms(net, 200);
}

static void test_limit(void **state) {
	struct router_net net;

	(void)state;
	start(&net);
	flood(&net, 3 * RELAY_BURST);
	struct relay_figures after = figures(&net);
	/* The burst, and what the time of the flood (less than a second) has brought. */
	assert_in_range(after.relayed, RELAY_BURST, RELAY_BURST + RELAY_PER_SECOND);
	assert_true(after.limited >= RELAY_BURST);
	assert_int_equal(router_counters(net.nodes[SERVER].router)->dropped[DROP_RELAY_LIMIT], after.limited);
	/* No amplification: never more out than in */
	assert_true(router_counters(net.nodes[SERVER].router)->forwarded <= router_counters(net.nodes[SERVER].router)->received);
	/* The other one does not suffer */
	struct id point = support_node_id(0x80);
	struct router_net_outcome outcome = ask(&net, OTHER, router_net_resource_list(&point), PING_REQ, router_net_ping(0));
	assert_int_equal(outcome.code, PING_ANS);
	/* And it passes with time */
	router_net_run_ms(&net, 2000);
	outcome = ask(&net, JOINER, router_net_resource_list(&point), PING_REQ, router_net_ping(0));
	assert_int_equal(outcome.code, PING_ANS);
	router_net_stop(&net);
}

static void test_links_expire(void **state) {
	struct router_net net;

	(void)state;
	start(&net);
	struct id point = support_node_id(0x80);
	for (unsigned s = 0; s < RELAY_AGE_S - 5; s += RELAY_IDLE_S / 2) {
		struct router_net_outcome outcome =
			ask(&net, JOINER, router_net_resource_list(&point), PING_REQ, router_net_ping(0));
		assert_int_equal(outcome.code, PING_ANS);
		router_net_run_ms(&net, RELAY_IDLE_S / 2 * 1000 - 500);
		assert_int_equal(!!router_net_linked(&net.nodes[OTHER], &net.nodes[SERVER]), s + RELAY_IDLE_S / 2 < RELAY_IDLE_S);
	}
	router_net_run_ms(&net, 6000);
	assert_false(router_net_linked(&net.nodes[JOINER], &net.nodes[SERVER])); /* its time is over */
	assert_int_equal(figures(&net).links, 0);
	assert_int_equal(figures(&net).links_expired, 2);
	/* Those to bootstrap peers stay */
	assert_true(router_net_linked(&net.nodes[SERVER], &net.nodes[PEER]));
	router_net_stop(&net);
}

/* A node that is no bootstrap server relays nothing before it has joined. FW-D14 */
static void test_others_do_not(void **state) {
	static const uint8_t octets[] = {0x10, 0x50, 0x90};
	struct router_net net;

	(void)state;
	router_net_start(&net, NULL, octets, sizeof(octets));
	router_net_connect(&net.nodes[0], &net.nodes[1]);
	router_net_peers(&net.nodes[1], &net.nodes[2]);
	struct id point = support_node_id(0x80);
	struct router_net_outcome outcome = {.net = &net};
	struct outgoing outgoing = {OUTGOING_DEFAULT,
				    .destination_list = router_net_resource_list(&point),
				    .code = PING_REQ,
				    .body = router_net_ping(0),
				    .done = router_net_on_response,
				    .once = true,
				    .userdata = &outcome};
	outgoing.via_slot = router_net_link(&net.nodes[0], &net.nodes[1])->slot;
	assert_int_equal(router_send_request(net.nodes[0].router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 30000);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -110); /* ETIMEDOUT */
	assert_int_equal(router_counters(net.nodes[1].router)->dropped[DROP_NOT_ROUTING], 1);
	router_net_stop(&net);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_joining), cmocka_unit_test(test_attach),	     cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limit),	cmocka_unit_test(test_links_expire), cmocka_unit_test(test_others_do_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
