/* SPDX-License-Identifier: BSD-2-Clause */
/* Two nodes with one Node-ID: whoever answers keeps its link, and the other one finds out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/router_net.h"
#include "wire/method.h"

#include <errno.h>

/* 0x10 and 0x50 are connected peers; the twin has another certificate for 0x10. */
struct scene {
	struct router_net net;
	struct router_net_node *a, *peer, *twin;
	uint16_t slot; /* of a, at the peer */
};

static void scene_start(struct scene *scene) {
	struct router_net *net = &scene->net;

	router_net_start(net, NULL, (const uint8_t[]){0x10, 0x50}, 2);
	scene->a = &net->nodes[0];
	scene->peer = &net->nodes[1];
	router_net_peers(scene->a, scene->peer);
	router_net_place(scene->a, &scene->peer->id, &scene->peer->id, 1);
	router_net_place(scene->peer, &scene->a->id, &scene->a->id, 1);
	router_net_run_ms(net, 5000); /* links that come up now have not crossed the first */
	scene->slot = router_net_link(scene->peer, scene->a)->slot;
	scene->twin = router_net_add(net, &scene->a->id, 1, false);
}

static void open_link(struct router_net_node *from, struct router_net_node *to) {
	struct transport *transport = router_transport(from->router);
	struct address address = virtual_host_address(to->host);
	uint16_t slot;

	assert_int_equal(transport->ops->connect(transport->object, &address, 1, NULL, &slot), 0);
	router_net_run_ms(from->net, 200);
}

static int ask_for_ourselves(struct router_net_node *from, const struct router_net_node *through,
			     struct router_net_outcome *outcome) {
	const struct id *const way[] = {&through->id, &from->id};
	const struct connection *connection = router_net_link(from, through);
	struct outgoing outgoing = {.destination_list = router_net_list(way, 2, NULL),
				    .code = PING_REQ,
				    .body = router_net_ping(0),
				    .via_slot = connection->slot,
				    .once = true,
				    .others_only = true,
				    .done = router_net_on_response,
				    .userdata = outcome};

	*outcome = (struct router_net_outcome){.net = from->net};
	return router_send_request(from->router, &outgoing, NULL);
}

/* The first one answers: its link stays, unnoticed by it, and the twin hears of it before its own link is closed. */
static void test_twin_is_turned_away(void **state) {
	struct scene scene;
	struct router_net_outcome outcome;
	const uint8_t wanted = PROBE_UPTIME;
	uint8_t body[8];
	struct writer w = writer_fixed(body, sizeof(body));

	(void)state;
	scene_start(&scene);
	unsigned downs = scene.a->downs, ups = scene.peer->ups;
	open_link(scene.twin, scene.peer);
	assert_int_equal(scene.twin->ups, 1);
	assert_int_equal(scene.peer->ups, ups); /* nothing is announced */
	assert_int_equal(router_net_link(scene.peer, scene.a)->slot, scene.slot);
	assert_int_equal(ask_for_ourselves(scene.twin, scene.peer, &outcome), 0);
	router_net_run_ms(&scene.net, 200);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_true(id_equal(&outcome.signer_id, &scene.twin->id));
	/* B-6.1.2-07: it can ask for little else. */
	struct probe_req probe = {.requested_info = OCTETS(&wanted, 1)};
	probe_req_write(&w, &probe);
	assert_int_equal(
		router_net_send(scene.twin, router_net_node_list(&scene.peer->id), PROBE_REQ, writer_octets_written(&w), &outcome),
		0);
	router_net_run_ms(&scene.net, 200);
	assert_int_equal(outcome.error, -EREMOTEIO);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	assert_int_equal(scene.twin->downs, 0);
	router_net_run_ms(&scene.net, 1500);
	assert_int_equal(scene.twin->downs, 1);
	assert_int_equal(scene.a->downs, downs);
	assert_int_equal(router_net_link(scene.peer, scene.a)->slot, scene.slot);
	assert_true(router_net_link(scene.peer, scene.a)->update_received);
	router_net_stop(&scene.net);
}

/* Nobody answers at the first link: the newcomer is that peer, started again elsewhere. */
static void test_silent_one_is_replaced(void **state) {
	struct scene scene;

	(void)state;
	scene_start(&scene);
	router_net_kill(scene.a);
	open_link(scene.twin, scene.peer);
	router_net_run_ms(&scene.net, 1000);
	assert_int_equal(router_net_link(scene.peer, scene.twin)->slot, scene.slot);
	router_net_run_ms(&scene.net, 500);
	const struct connection *link = router_net_link(scene.peer, scene.twin);
	assert_int_not_equal(link->slot, scene.slot);
	assert_false(link->update_received); /* one to a restarted peer begins anew */
	assert_int_equal(scene.twin->downs, 0);
	router_net_stop(&scene.net);
}

/* The first link ends while the newcomer waits: it takes the place at once. */
static void test_place_is_free(void **state) {
	struct scene scene;

	(void)state;
	scene_start(&scene);
	open_link(scene.twin, scene.peer);
	router_close(scene.a->router, router_net_link(scene.a, scene.peer)->slot, LINK_CLOSED_BY_US);
	router_net_run_ms(&scene.net, 100);
	assert_non_null(router_net_link(scene.peer, scene.twin));
	assert_int_not_equal(router_net_link(scene.peer, scene.twin)->slot, scene.slot);
	router_net_run_ms(&scene.net, 3000);
	assert_int_equal(scene.twin->downs, 0);
	router_net_stop(&scene.net);
}

/* One waits at a time, one that goes by itself is forgotten, and who waits may be freed. */
static void test_waiting(void **state) {
	struct scene scene;

	(void)state;
	scene_start(&scene);
	struct router_net_node *third = router_net_add(&scene.net, &scene.a->id, 1, false);
	open_link(scene.twin, scene.peer);
	open_link(third, scene.peer);
	assert_int_equal(third->downs, 1);
	assert_int_equal(scene.twin->downs, 0);
	router_close(scene.twin->router, router_net_link(scene.twin, scene.peer)->slot, LINK_CLOSED_BY_US);
	router_net_run_ms(&scene.net, 100);
	open_link(third, scene.peer);
	assert_int_equal(third->downs, 1);
	assert_int_equal(router_net_link(scene.peer, scene.a)->slot, scene.slot);
	router_net_stop(&scene.net);
}

/* Alone: the question comes back to us and is not answered, and a link to ourselves counts on both sides. */
static void test_no_twin(void **state) {
	struct scene scene;
	struct router_net_outcome outcome;
	unsigned by_us, by_others;

	(void)state;
	scene_start(&scene);
	assert_int_equal(ask_for_ourselves(scene.a, scene.peer, &outcome), 0);
	router_net_run_ms(&scene.net, 2000);
	assert_int_equal(outcome.calls, 0);
	router_net_run_ms(&scene.net, 3000);
	assert_int_equal(outcome.error, -ETIMEDOUT);
	router_met_itself(scene.a->router, &by_us, &by_others);
	assert_int_equal(by_us + by_others, 0);
	open_link(scene.twin, scene.a);
	router_met_itself(scene.twin->router, &by_us, &by_others);
	assert_int_equal(by_us, 1);
	assert_int_equal(by_others, 0);
	router_met_itself(scene.a->router, &by_us, &by_others);
	assert_int_equal(by_us, 0);
	assert_int_equal(by_others, 1);
	router_net_stop(&scene.net);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_twin_is_turned_away),
		cmocka_unit_test(test_silent_one_is_replaced),
		cmocka_unit_test(test_place_is_free),
		cmocka_unit_test(test_waiting),
		cmocka_unit_test(test_no_twin),
	};

	return cmocka_run_group_tests_name("router: two nodes with one Node-ID", tests, NULL, NULL);
}
