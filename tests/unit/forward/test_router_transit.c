/* SPDX-License-Identifier: BSD-2-Clause */
/* Routing over three and more nodes: via lists, source routes, loopback, transit errors, fragments. */
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

/* What a traced node saw pass. */
struct trace {
	unsigned forwards, delivers, sends, drops;
	size_t via_length, destination_length;
	uint8_t ttl;
	uint8_t via[64], destination[64];
	char reason[32];
};

static void on_trace(void *userdata, const char *event, const struct forwarding_header *header, uint16_t code, uint16_t slot,
		     const char *detail) {
	struct trace *trace = userdata;

	(void)code;
	(void)slot;
	trace->forwards += strcmp(event, "forward") == 0;
	trace->delivers += strcmp(event, "deliver") == 0;
	trace->sends += strcmp(event, "send") == 0;
	if (strcmp(event, "drop") == 0) {
		trace->drops++;
		snprintf(trace->reason, sizeof(trace->reason), "%s", detail);
		return;
	}
	if (!header || header->via_list.length > sizeof(trace->via) || header->destination_list.length > sizeof(trace->destination))
		return;
	trace->ttl = header->ttl;
	trace->via_length = header->via_list.length;
	trace->destination_length = header->destination_list.length;
	if (trace->via_length)
		memcpy(trace->via, header->via_list.data, trace->via_length);
	if (trace->destination_length)
		memcpy(trace->destination, header->destination_list.data, trace->destination_length);
}

static uint64_t dropped(const struct router_net_node *node, enum drop_reason reason) {
	return router_counters(node->router)->dropped[reason];
}

/* B-6.1.2-01, B-6.1.2-03, B-6.1.2-04, B-6.2.2-01, B-6.3.2-05, B-6.5.3-01, FW-D13, FW-F03, FW-F08 */
static void test_transit_and_return(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	struct trace at_b = {0};

	(void)state;
	router_net_row(&net, NULL);
	router_set_trace(net.nodes[2].router, on_trace, &at_b);
	struct id resource = support_node_id(0x80);
	assert_int_equal(
		router_net_send(&net.nodes[0], router_net_resource_list(&resource), PING_REQ, router_net_ping(0), &outcome), 0);
	assert_int_equal(outcome.calls, 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(outcome.code, PING_ANS);
	assert_true(id_equal(&outcome.signer_id, &net.nodes[2].id));
	/* one transit node, so two links and one decrement on each way */
	assert_int_equal(outcome.ttl, 99);
	struct ping_ans ping;
	assert_int_equal(ping_ans_read(OCTETS(outcome.body, outcome.body_length), &ping), 0);
	assert_true(ping.time_ms > UINT64_C(1700000000000));
	/* the via list the destination saw was one compact opaque; its answer names T and then the opaque */
	assert_int_equal(at_b.sends, 1);
	assert_int_equal(at_b.via_length, 0);
	assert_int_equal(at_b.destination_length, 18 + 2);
	assert_int_equal(at_b.destination[0], DESTINATION_NODE);
	assert_memory_equal(at_b.destination + 2, net.nodes[1].id.octets, 16);
	assert_true(at_b.destination[18] & 0x80);
	assert_int_equal(outcome.destination_length, 18); /* [A] */
	assert_int_equal(router_counters(net.nodes[1].router)->forwarded, 2);
	assert_int_equal(outcome.elapsed_us, 4000);
	router_net_stop(&net);
}

/* B-6.2.1-01, B-6.1.1-03, FW-D06: [T, B] goes through T though A would not route that way; also [A, T, B], popping ourselves. */
static void test_source_routes(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1], *b = &net.nodes[2];
	const struct id *const route[] = {&t->id, &b->id}, *const longer[] = {&a->id, &t->id, &b->id};
	assert_int_equal(router_net_send(a, router_net_list(route, 2, NULL), PING_REQ, router_net_ping(3), &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, 0);
	assert_true(id_equal(&outcome.signer_id, &b->id));
	assert_int_equal(router_net_send(a, router_net_list(longer, 3, NULL), PING_REQ, router_net_ping(3), &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_true(id_equal(&outcome.signer_id, &b->id));
	router_net_stop(&net);
}

/* FW-D04, B-6.1.1-05, B-6.3.4-07: the wildcard over a link is answered by the neighbor. Loopback forms answer ourselves. */
static void test_wildcard_and_loopback(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1];
	struct id wildcard = id_wildcard(16), mine = support_node_id(0x05);
	outcome = (struct router_net_outcome){.net = &net};
	struct outgoing outgoing = {
		.via_slot = router_net_link(a, t)->slot,
		.destination_list = router_net_node_list(&wildcard),
		.code = PING_REQ,
		.body = router_net_ping(0),
		.done = router_net_on_response,
		.userdata = &outcome,
	};
	assert_int_equal(router_send_request(a->router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_true(id_equal(&outcome.signer_id, &t->id));
	assert_int_equal(outcome.ttl, 100);

	struct octets lists[] = {router_net_node_list(&wildcard), router_net_node_list(&a->id), router_net_resource_list(&mine)};
	for (size_t i = 0; i < ARRAY_LENGTH(lists); i++) {
		uint64_t sent = router_counters(a->router)->forwarded;
		assert_int_equal(router_net_send(a, lists[i], PING_REQ, router_net_ping(0), &outcome), 0);
		assert_int_equal(outcome.calls, 0); /* never from within */
		router_net_run_ms(&net, 1);
		assert_int_equal(outcome.calls, 1);
		assert_int_equal(outcome.error, 0);
		assert_true(id_equal(&outcome.signer_id, &a->id));
		assert_int_equal(router_counters(a->router)->forwarded, sent);
	}
	router_net_stop(&net);
}

/* FW-D10, B-6.1.1-06, B-6.1.1-07: a Node-ID in the owner's range that is not connected is dropped; the Resource-ID form answers. */
static void test_absent_node(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	struct id absent = support_node_id(0x77);
	assert_int_equal(router_net_send(&net.nodes[0], router_net_node_list(&absent), PING_REQ, router_net_ping(0), &outcome), 0);
	router_net_run_ms(&net, 14900);
	assert_int_equal(outcome.calls, 0);
	assert_int_equal(dropped(&net.nodes[2], DROP_NODE_IN_RANGE_UNREACHABLE), 5);
	router_net_run_ms(&net, 200);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -ETIMEDOUT);
	router_net_stop(&net);
}

/* FW-E04: T knows nobody: its Error_Not_Found is advisory and explains the time-out. */
static void test_advisory_error(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	router_net_place(&net.nodes[1], &net.nodes[0].id, NULL, 0);
	struct id resource = support_node_id(0x80);
	assert_int_equal(
		router_net_send(&net.nodes[0], router_net_resource_list(&resource), PING_REQ, router_net_ping(0), &outcome), 0);
	router_net_run_ms(&net, 14000);
	assert_int_equal(outcome.calls, 0);
	assert_int_equal(router_counters(net.nodes[1].router)->errors_sent, 5);
	assert_int_equal(dropped(&net.nodes[1], DROP_NO_NEXT_HOP), 5);
	router_net_run_ms(&net, 2000);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -EREMOTEIO);
	assert_int_equal(outcome.error_code, ERROR_NOT_FOUND);
	assert_true(id_equal(&outcome.signer_id, &net.nodes[1].id));
	router_net_stop(&net);
}

/* An advisory error does not keep the true answer from coming later. */
static void test_answer_after_advisory(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *t = &net.nodes[1];
	router_net_place(t, &net.nodes[0].id, NULL, 0);
	struct id resource = support_node_id(0x80);
	assert_int_equal(
		router_net_send(&net.nodes[0], router_net_resource_list(&resource), PING_REQ, router_net_ping(0), &outcome), 0);
	router_net_run_ms(&net, 1000);
	router_net_place(t, &net.nodes[0].id, (const struct id[]){net.nodes[0].id, net.nodes[2].id}, 2);
	router_net_run_ms(&net, 2500);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_true(id_equal(&outcome.signer_id, &net.nodes[2].id));
	assert_int_equal(outcome.elapsed_us, 3004000);
	router_net_stop(&net);
}

/* FW-C12, B-6.3.2.3-01: an unknown FORWARD_CRITICAL option ends the transaction at once with T's error. */
static void test_forward_critical_option(void **state) {
	struct router_net net;
	struct router_net_outcome outcome = {.net = &net};
	uint8_t options[16];

	(void)state;
	router_net_row(&net, NULL);
	struct writer w = writer_fixed(options, sizeof(options));
	forwarding_option_write(
		&w, &(struct forwarding_option){.type = 200, .flags = OPTION_FORWARD_CRITICAL, .value = OCTETS("x", 1)});
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = router_net_node_list(&net.nodes[2].id),
		.options = writer_octets_written(&w),
		.code = PING_REQ,
		.body = router_net_ping(0),
		.done = router_net_on_response,
		.userdata = &outcome,
	};
	assert_int_equal(router_send_request(net.nodes[0].router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -EREMOTEIO);
	assert_int_equal(outcome.error_code, ERROR_UNSUPPORTED_FORWARDING_OPTION);
	assert_true(id_equal(&outcome.signer_id, &net.nodes[1].id));
	router_net_stop(&net);
}

/* LIMIT_ERRORS_PER_SECOND: more transit errors are only counted; a second later they are made again. */
static void test_error_rate(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1];
	router_net_place(t, &a->id, NULL, 0);
	struct id resource = support_node_id(0x80);
	for (unsigned i = 0; i < LIMIT_ERRORS_PER_SECOND + 7; i++)
		assert_int_equal(router_net_send(a, router_net_resource_list(&resource), PING_REQ, router_net_ping(0), &outcome),
				 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(dropped(t, DROP_NO_NEXT_HOP), LIMIT_ERRORS_PER_SECOND + 7);
	assert_int_equal(router_counters(t->router)->errors_sent, LIMIT_ERRORS_PER_SECOND);
	assert_int_equal(dropped(t, DROP_ERROR_RATE), 7);
	router_net_run_ms(&net, 1000);
	assert_int_equal(router_net_send(a, router_net_resource_list(&resource), PING_REQ, router_net_ping(0), &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(router_counters(t->router)->errors_sent, LIMIT_ERRORS_PER_SECOND + 1);
	router_net_stop(&net);
}

/* B-6.7-01, B-6.7-02, B-6.7-03, FW-E09: split by sender and again in transit, put together at the end, both ways. */
static void test_fragments(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	virtual_network_set_payload_max(net.network, 500);
	struct id resource = support_node_id(0x80);
	assert_int_equal(
		router_net_send(&net.nodes[0], router_net_resource_list(&resource), PING_REQ, router_net_ping(3500), &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	const struct router_counters *at_b = router_counters(net.nodes[2].router), *at_a = router_counters(net.nodes[0].router);
	assert_true(at_a->fragments_sent >= 6);
	assert_true(at_b->fragments_received >= at_a->fragments_sent);
	assert_int_equal(at_b->reassembled, 1);
	assert_int_equal(at_b->delivered, 1);
	assert_true(at_b->fragments_sent >= 2); /* the answer with its certificate */
	assert_int_equal(at_a->reassembled, 1);
	/* via growth at T makes pieces that fitted exactly need another cut: T splits fragments */
	assert_true(router_counters(net.nodes[1].router)->forwarded >= 8);
	router_net_stop(&net);
}

/* FW-E10: a suspected peer is passed over while another one is there, and used when there is none. */
static void test_suspects(void **state) {
	struct router_net net;

	(void)state;
	router_net_start(&net, NULL, (const uint8_t[]){0x10, 0x50, 0x60}, 3);
	struct router_net_node *a = &net.nodes[0], *s = &net.nodes[1], *o = &net.nodes[2];
	router_net_peers(a, s);
	router_net_peers(a, o);
	struct id predecessor = support_node_id(0x80);
	router_net_place(a, &predecessor, (const struct id[]){s->id, o->id}, 2);
	struct id point = support_node_id(0x70);
	struct id between = support_node_id(0x55);
	assert_ptr_equal(router_next_hop(a->router, &point), router_net_link(a, o));
	assert_ptr_equal(router_next_hop(a->router, &between), router_net_link(a, s));
	struct transport_events events = router_transport_events(a->router);
	events.suspect(events.userdata, router_net_link(a, s)->slot, true);
	assert_int_equal(a->suspects, 1);
	assert_true(router_net_link(a, s)->suspected);
	assert_ptr_equal(router_next_hop(a->router, &between), router_net_link(a, o));
	events.suspect(events.userdata, router_net_link(a, o)->slot, true);
	assert_ptr_equal(router_next_hop(a->router, &between), router_net_link(a, s));
	events.suspect(events.userdata, router_net_link(a, o)->slot, false);
	assert_ptr_equal(router_next_hop(a->router, &between), router_net_link(a, o));
	assert_null(router_next_hop(a->router, &a->id));
	router_net_stop(&net);
}

/* B-6.5.1-01, FW-E05: attached but no Update: target, not relay. FW-D14: not joined: does not route. */
static void test_relays(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_start(&net, NULL, (const uint8_t[]){0x10, 0x50}, 2);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1];
	router_net_connect(a, t);
	router_net_place(a, &t->id, &t->id, 1);
	struct id point = support_node_id(0x30);
	assert_true(router_net_link(a, t)->is_client);
	assert_null(router_next_hop(a->router, &point));
	assert_int_equal(router_net_send(a, router_net_resource_list(&point), PING_REQ, router_net_ping(0), &outcome), 0);
	router_net_run_ms(&net, 1);
	assert_int_equal(outcome.error, -ENETUNREACH); /* nobody to send to: at once, but not from within */
	assert_int_equal(router_net_send(a, router_net_node_list(&t->id), PING_REQ, router_net_ping(0), &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, 0);
	router_mark_update_received(a->router, &t->id);
	assert_false(router_net_link(a, t)->is_client);
	assert_ptr_equal(router_next_hop(a->router, &point), router_net_link(a, t));
	/* T has not joined: it drops what is not for itself */
	assert_int_equal(router_net_send(a, router_net_resource_list(&point), PING_REQ, router_net_ping(0), &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(dropped(t, DROP_NOT_ROUTING), 1);
	assert_false(router_responsible(t->router, &point));
	router_set_range(t->router, &a->id, true);
	assert_true(router_responsible(t->router, &point));
	assert_true(router_responsible(t->router, &t->id));
	assert_false(router_responsible(t->router, &a->id));
	router_set_range(t->router, NULL, true);
	assert_true(router_responsible(t->router, &a->id));
	router_set_range(t->router, NULL, false);
	assert_false(router_joined(t->router));
	router_net_stop(&net);
}

/* FW-B05, B-6.6-01: a message above max-message-size costs the sender its link; malformed ones are only counted (FW-A04, FW-B01).
 */
static void test_bad_messages(void **state) {
	struct router_net net;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1];
	struct transport_events events = router_transport_events(t->router);
	uint16_t slot = router_net_link(t, a)->slot;
	static uint8_t octets[6000];
	struct forwarding_header header = {
		.overlay = net.overlay.config->overlay_hash,
		.version = RELOAD_VERSION,
		.ttl = 100,
		.fragment = FRAGMENT_NONE,
		.length = sizeof(octets),
		.destination_list = router_net_node_list(&t->id),
	};
	struct writer w = writer_fixed(octets, sizeof(octets));
	forwarding_header_write(&w, &header);
	events.receive(events.userdata, slot, octets, 20);
	assert_int_equal(dropped(t, DROP_SHORT), 1);
	events.receive(events.userdata, slot, octets, 100);
	assert_int_equal(dropped(t, DROP_LEN_MISMATCH), 1);
	header.length = 60;
	w = writer_fixed(octets, sizeof(octets));
	forwarding_header_write(&w, &header);
	events.receive(events.userdata, slot, octets, 60);
	assert_int_equal(dropped(t, DROP_MALFORMED), 1);
	octets[0] ^= 1;
	events.receive(events.userdata, slot, octets, 60);
	assert_int_equal(dropped(t, DROP_BAD_TOKEN), 1);
	events.receive(events.userdata, 77, octets, 60);
	assert_int_equal(dropped(t, DROP_LINK_UNKNOWN), 1);
	header.length = sizeof(octets);
	w = writer_fixed(octets, sizeof(octets));
	forwarding_header_write(&w, &header);
	writer_u16(&w, PING_REQ);
	unsigned downs = t->downs;
	events.receive(events.userdata, slot, octets, sizeof(octets));
	assert_int_equal(dropped(t, DROP_TOO_LARGE), 1);
	assert_int_equal(t->downs, downs + 1);
	assert_int_equal(t->last_down, LINK_PROTOCOL_ERROR);
	assert_null(router_net_link(t, a));
	assert_int_equal(router_counters(t->router)->errors_sent, 1);
	router_net_run_ms(&net, 10);
	assert_null(router_net_link(a, t));
	assert_int_equal(dropped(a, DROP_NO_TRANSACTION), 1); /* the error for nothing it had asked */
	router_net_stop(&net);
}

/* B-6.1.2-09: a link of the return path is gone: the opaque is stale, and the retransmission finds a new way. */
static void test_return_path_lost(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1];
	struct id resource = support_node_id(0x80);
	assert_int_equal(router_net_send(a, router_net_resource_list(&resource), PING_REQ, router_net_ping(0), &outcome), 0);
	router_net_run_ms(&net, 2); /* at B now */
	router_close(t->router, router_net_link(t, a)->slot, LINK_CLOSED_BY_US);
	router_net_run_ms(&net, 20);
	assert_int_equal(outcome.calls, 0);
	assert_int_equal(dropped(t, DROP_OPAQUE_UNKNOWN) + dropped(t, DROP_OPAQUE_STALE), 1);
	router_net_peers(a, t);
	router_net_run_ms(&net, 3200);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	/* B remembered its answer (B-6.2.1-06) and sent it along the new way */
	assert_int_equal(router_counters(net.nodes[2].router)->delivered, 1);
	assert_int_equal(router_counters(net.nodes[2].router)->duplicates_answered, 1);
	router_net_stop(&net);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transit_and_return),
		cmocka_unit_test(test_source_routes),
		cmocka_unit_test(test_wildcard_and_loopback),
		cmocka_unit_test(test_absent_node),
		cmocka_unit_test(test_advisory_error),
		cmocka_unit_test(test_answer_after_advisory),
		cmocka_unit_test(test_forward_critical_option),
		cmocka_unit_test(test_error_rate),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_suspects),
		cmocka_unit_test(test_relays),
		cmocka_unit_test(test_bad_messages),
		cmocka_unit_test(test_return_path_lost),
	};

	return cmocka_run_group_tests_name("router: transit", tests, NULL, NULL);
}
