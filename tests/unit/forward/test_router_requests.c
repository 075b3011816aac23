/* SPDX-License-Identifier: BSD-2-Clause */
/* Transactions and answers: retransmission, duplicates, who may answer, configuration sequences, limits, cancelling. */
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

/* A handler that counts, and answers, fails, drops or keeps the request. */
struct counter {
	unsigned calls;
	enum { COUNTER_ANSWER, COUNTER_FAIL, COUNTER_DROP, COUNTER_KEEP } mode;
	struct request *kept[8];
	size_t answer_size;
	uint16_t slot;
	struct id previous_hop;
};

static uint8_t filler[8192];

static void on_counted(void *userdata, struct request *request) {
	struct counter *counter = userdata;

	counter->slot = request->slot;
	counter->previous_hop = request->previous_hop;
	switch (counter->mode) {
	case COUNTER_ANSWER:
		request_answer(request, OCTETS(filler, counter->answer_size), NULL);
		break;
	case COUNTER_FAIL:
		request_fail_text(request, ERROR_FORBIDDEN, "number %u", counter->calls);
		break;
	case COUNTER_DROP:
		request_drop(request);
		break;
	case COUNTER_KEEP:
		if (counter->calls < ARRAY_LENGTH(counter->kept))
			counter->kept[counter->calls] = request;
		else
			request_drop(request);
		break;
	}
	counter->calls++;
}

static uint64_t dropped(const struct router_net_node *node, enum drop_reason reason) {
	return router_counters(node->router)->dropped[reason];
}

static void cut(struct router_net_node *from, struct router_net_node *to, bool now) {
	struct address a = virtual_host_address(from->host), b = virtual_host_address(to->host);

	virtual_network_cut(from->net->network, &a, &b, now);
}

/* Two connected peers, 0x10 and 0x50, that own half the ring each. */
static void pair_start(struct router_net *net, const struct document_settings *settings) {
	router_net_start(net, settings, (const uint8_t[]){0x10, 0x50}, 2);
	router_net_peers(&net->nodes[0], &net->nodes[1]);
	router_net_place(&net->nodes[0], &net->nodes[1].id, &net->nodes[1].id, 1);
	router_net_place(&net->nodes[1], &net->nodes[0].id, &net->nodes[0].id, 1);
}

/* ---- forging ---- */

struct forged {
	uint8_t octets[4096];
	size_t length;
};

static struct forwarding_header forged_header(struct router_net *net, const struct id *destination, uint64_t transaction_id) {
	return (struct forwarding_header){
		.overlay = net->overlay.config->overlay_hash,
		.configuration_sequence = net->overlay.config->sequence,
		.version = RELOAD_VERSION,
		.ttl = 100,
		.fragment = FRAGMENT_NONE,
		.transaction_id = transaction_id,
		.destination_list = router_net_node_list(destination),
	};
}

static struct forged forge_with(struct router_net *net, const struct forwarding_header *header, const struct credential *signer,
				uint16_t code, struct octets body, struct octets extensions) {
	struct forged forged = {.length = 0};
	struct writer w = writer_fixed(forged.octets, sizeof(forged.octets));

	forwarding_header_write(&w, header);
	size_t start = w.length;
	message_contents_write(&w, code, body, extensions);
	struct octets contents = OCTETS(forged.octets + start, w.length - start);
	assert_int_equal(message_sign(signer, NULL, net->overlay.config->overlay_hash, header->transaction_id, contents, &w), 0);
	message_write_length(&w, 0);
	assert_int_equal(writer_finish(&w), 0);
	forged.length = w.length;
	return forged;
}

static struct forged forge(struct router_net *net, const struct id *destination, uint64_t transaction_id,
			   const struct credential *signer, uint16_t code, struct octets body) {
	struct forwarding_header header = forged_header(net, destination, transaction_id);

	return forge_with(net, &header, signer, code, body, OCTETS_NONE);
}

/* As if it had come over the link from `from`. */
static void inject(struct router_net_node *node, const struct router_net_node *from, struct forged *forged) {
	struct transport_events events = router_transport_events(node->router);

	events.receive(events.userdata, router_net_link(node, from)->slot, forged->octets, forged->length);
}

/* ---- retransmission and duplicates ---- */

/* B-6.2.1-03, B-6.2.1-04, B-3-02: five transmissions, 3 s apart, the same transaction_id; failed at the fifth expiry. */
static void test_timeout(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	struct counter counter = {.mode = COUNTER_DROP};

	(void)state;
	pair_start(&net, NULL);
	router_handle(net.nodes[1].router, FIND_REQ, on_counted, &counter);
	uint64_t start_us = virtual_network_now(net.network);
	assert_int_equal(router_net_send(&net.nodes[0], router_net_node_list(&net.nodes[1].id), FIND_REQ, OCTETS_NONE, &outcome),
			 0);
	for (unsigned i = 1; i <= 5; i++) {
		router_net_run_ms(&net, 10);
		assert_int_equal(counter.calls, i); /* a dropped request is not remembered */
		assert_int_equal(outcome.calls, 0);
		router_net_run_ms(&net, 2990);
	}
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -ETIMEDOUT);
	assert_int_equal(outcome.at_us - start_us, 15 * USEC_PER_SEC);
	assert_int_equal(router_counters(net.nodes[0].router)->retransmissions, 4);
	router_net_run_ms(&net, 10000);
	assert_int_equal(counter.calls, 5);
	router_net_stop(&net);
}

/* B-3-02, Q-58: the timer of the configuration; `once` means one transmission. */
static void test_timer_settings(void **state) {
	const struct document_settings settings = {.sequence = 1, .no_ice = true, .reliability_timer_ms = 1000};
	struct router_net net;
	struct router_net_outcome outcome;
	struct counter counter = {.mode = COUNTER_DROP};

	(void)state;
	pair_start(&net, &settings);
	router_handle(net.nodes[1].router, FIND_REQ, on_counted, &counter);
	assert_int_equal(router_net_send(&net.nodes[0], router_net_node_list(&net.nodes[1].id), FIND_REQ, OCTETS_NONE, &outcome),
			 0);
	router_net_run_ms(&net, 4999);
	assert_int_equal(outcome.calls, 0);
	router_net_run_ms(&net, 1);
	assert_int_equal(outcome.calls, 1);
	outcome = (struct router_net_outcome){.net = &net};
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = router_net_node_list(&net.nodes[1].id),
		.code = FIND_REQ,
		.once = true,
		.done = router_net_on_response,
		.userdata = &outcome,
	};
	assert_int_equal(router_send_request(net.nodes[0].router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 1000);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -ETIMEDOUT);
	assert_int_equal(counter.calls, 6);
	router_net_stop(&net);
}

/* B-6.2.1-06: answers are lost, the handler is called once, the retransmission gets the same answer. */
static void test_duplicates_answered(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	struct counter counter = {.mode = COUNTER_FAIL};

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1], *b = &net.nodes[2];
	router_handle(b->router, STORE_REQ, on_counted, &counter);
	struct id resource = support_node_id(0x80);
	assert_int_equal(router_net_send(a, router_net_resource_list(&resource), STORE_REQ, OCTETS("data", 4), &outcome), 0);
	for (unsigned i = 0; i < 2; i++) { /* the first two answers are lost */
		cut(t, a, true);
		router_net_run_ms(&net, 100);
		cut(t, a, false);
		router_net_run_ms(&net, 2900);
		assert_int_equal(outcome.calls, 0);
		assert_int_equal(counter.calls, 1);
		assert_int_equal(router_counters(b->router)->duplicates_answered, i);
	}
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -EREMOTEIO);
	struct error_response error;
	assert_int_equal(error_response_read(OCTETS(outcome.body, outcome.body_length), &error), 0);
	assert_int_equal(error.info.length, 8);
	assert_memory_equal(error.info.data, "number 0", 8); /* the first answer, not a later one */
	assert_int_equal(counter.calls, 1);
	assert_int_equal(router_counters(b->router)->duplicates_answered, 2);
	router_net_stop(&net);
}

/* A retransmission while the handler works is ignored; the late answer goes out; then the memory lasts for 15 s. */
static void test_duplicates_while_working(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	struct counter counter = {.mode = COUNTER_KEEP};

	(void)state;
	pair_start(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	router_handle(b->router, STORE_REQ, on_counted, &counter);
	assert_int_equal(router_net_send(a, router_net_node_list(&b->id), STORE_REQ, OCTETS_NONE, &outcome), 0);
	router_net_run_ms(&net, 7000);
	assert_int_equal(counter.calls, 1);
	assert_int_equal(dropped(b, DROP_DUPLICATE), 2);
	assert_true(id_equal(&counter.kept[0]->previous_hop, &a->id));
	struct forged again =
		forge(&net, &b->id, counter.kept[0]->message.header.transaction_id, a->credential, STORE_REQ, OCTETS_NONE);
	request_answer(counter.kept[0], OCTETS("done", 4), NULL);
	router_net_run_ms(&net, 10);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(outcome.body_length, 4);
	struct forged copy = again;
	inject(b, a, &copy);
	assert_int_equal(counter.calls, 1);
	assert_int_equal(router_counters(b->router)->duplicates_answered, 1);
	router_net_run_ms(&net, 14000);
	copy = again;
	inject(b, a, &copy);
	assert_int_equal(router_counters(b->router)->duplicates_answered, 2);
	assert_int_equal(counter.calls, 1);
	router_net_run_ms(&net, 1500);
	copy = again;
	inject(b, a, &copy);
	assert_int_equal(counter.calls, 2); /* forgotten */
	request_drop(counter.kept[1]);
	router_net_stop(&net);
}

/* the same transaction_id from another signer is another request. */
static void test_duplicate_key(void **state) {
	struct router_net net;
	struct counter counter = {.mode = COUNTER_ANSWER};

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1], *b = &net.nodes[2];
	router_handle(b->router, STORE_REQ, on_counted, &counter);
	struct forged first = forge(&net, &b->id, 7, a->credential, STORE_REQ, OCTETS_NONE);
	struct forged second = forge(&net, &b->id, 7, t->credential, STORE_REQ, OCTETS_NONE);
	inject(b, t, &first);
	inject(b, t, &second);
	assert_int_equal(counter.calls, 2);
	inject(b, t, &first);
	assert_int_equal(counter.calls, 2);
	router_net_stop(&net);
}

/* LIMIT_REQUESTS_OPEN: one more is dropped. LIMIT_ANSWERS_REMEMBERED is exercised by the handler being called again. */
static void test_open_request_limit(void **state) {
	static struct request *open[LIMIT_REQUESTS_OPEN];
	struct router_net net;
	struct counter counter = {.mode = COUNTER_KEEP};

	(void)state;
	pair_start(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	router_handle(b->router, STORE_REQ, on_counted, &counter);
	for (size_t i = 0; i < LIMIT_REQUESTS_OPEN; i++) {
		struct forged forged = forge(&net, &b->id, i, a->credential, STORE_REQ, OCTETS_NONE);
		counter.calls = 0;
		inject(b, a, &forged);
		assert_int_equal(counter.calls, 1);
		open[i] = counter.kept[0];
	}
	struct forged one_more = forge(&net, &b->id, LIMIT_REQUESTS_OPEN, a->credential, STORE_REQ, OCTETS_NONE);
	counter.calls = 0;
	inject(b, a, &one_more);
	assert_int_equal(counter.calls, 0);
	assert_int_equal(dropped(b, DROP_REQUEST_LIMIT), 1);
	request_drop(open[0]);
	inject(b, a, &one_more);
	assert_int_equal(counter.calls, 1);
	request_drop(counter.kept[0]);
	for (size_t i = 1; i < LIMIT_REQUESTS_OPEN; i++)
		request_drop(open[i]);
	router_net_stop(&net);
}

/* LIMIT_ANSWER_OCTETS: the oldest answers go. */
static void test_answer_octets_limit(void **state) {
	const struct document_settings settings = {.sequence = 1, .no_ice = true, .max_message_size = 60000};
	enum { ANSWER = 50000, TOO_MANY = LIMIT_ANSWER_OCTETS / ANSWER + 1 };
	static uint8_t big[ANSWER];
	struct router_net net;
	struct counter counter = {.mode = COUNTER_KEEP};

	(void)state;
	pair_start(&net, &settings);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	router_handle(b->router, STORE_REQ, on_counted, &counter);
	struct forged first = forge(&net, &b->id, 0, a->credential, STORE_REQ, OCTETS_NONE);
	for (size_t i = 0; i < TOO_MANY; i++) {
		struct forged forged = forge(&net, &b->id, i, a->credential, STORE_REQ, OCTETS_NONE);
		counter.calls = 0;
		inject(b, a, &forged);
		request_answer(counter.kept[0], OCTETS(big, sizeof(big)), NULL);
	}
	struct forged last = forge(&net, &b->id, TOO_MANY - 1, a->credential, STORE_REQ, OCTETS_NONE);
	counter.calls = 0;
	inject(b, a, &last);
	assert_int_equal(counter.calls, 0); /* remembered */
	inject(b, a, &first);
	assert_int_equal(counter.calls, 1); /* forgotten */
	request_drop(counter.kept[0]);
	router_net_stop(&net);
}

/* LIMIT_ANSWERS_REMEMBERED: with one more the oldest is forgotten, the second oldest is not. */
static void test_answers_limit(void **state) {
	struct router_net net;
	struct counter counter = {.mode = COUNTER_ANSWER};

	(void)state;
	pair_start(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	router_handle(b->router, STORE_REQ, on_counted, &counter);
	for (size_t i = 0; i <= LIMIT_ANSWERS_REMEMBERED; i++) {
		struct forged forged = forge(&net, &b->id, i, a->credential, STORE_REQ, OCTETS_NONE);
		inject(b, a, &forged);
	}
	assert_int_equal(counter.calls, LIMIT_ANSWERS_REMEMBERED + 1);
	struct forged second = forge(&net, &b->id, 1, a->credential, STORE_REQ, OCTETS_NONE);
	inject(b, a, &second);
	assert_int_equal(counter.calls, LIMIT_ANSWERS_REMEMBERED + 1);
	struct forged first = forge(&net, &b->id, 0, a->credential, STORE_REQ, OCTETS_NONE);
	inject(b, a, &first);
	assert_int_equal(counter.calls, LIMIT_ANSWERS_REMEMBERED + 2);
	router_net_stop(&net);
}

/* B-6.1-01: every octet of a request and of an answer damaged in turn, at the destination and in transit: nothing gets through but
 * what the header may carry freely, and the node goes on. */
static void test_damaged_messages(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	struct counter counter = {.mode = COUNTER_DROP};

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1], *b = &net.nodes[2];
	router_handle(b->router, STORE_REQ, on_counted, &counter);
	struct forged good[] = {forge(&net, &b->id, 1, a->credential, STORE_REQ, OCTETS("body", 4)),
				forge(&net, &b->id, 1, a->credential, STORE_ANS, OCTETS("body", 4))};
	size_t header_length = FORWARDING_HEADER_FIXED + 18;
	for (size_t m = 0; m < ARRAY_LENGTH(good); m++) {
		for (size_t i = 0; i < good[m].length; i++) {
			for (unsigned bit = 0; bit < 8; bit += i < header_length + 16 ? 1 : 7) {
				struct forged damaged = good[m];
				unsigned before = counter.calls;
				damaged.octets[i] ^= (uint8_t)(1 << bit);
				if (!router_net_link(b, t)) /* a length beyond max-message-size cost the link */
					router_net_peers(t, b);
				inject(b, t, &damaged);
				if (i >= header_length || m == 1)
					assert_int_equal(counter.calls, before); /* signed, or an answer to nothing */
				damaged = good[m];
				damaged.octets[i] ^= (uint8_t)(1 << bit);
				if (!router_net_link(t, a))
					router_net_peers(a, t);
				inject(t, a, &damaged);
			}
		}
	}
	router_net_run_ms(&net, 20000);
	if (!router_net_link(t, b))
		router_net_peers(t, b);
	if (!router_net_link(a, t))
		router_net_peers(a, t);
	assert_int_equal(router_net_send(a, router_net_node_list(&b->id), PING_REQ, router_net_ping(0), &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, 0);
	/* the same, cut short everywhere */
	for (size_t length = 0; length < good[0].length; length++) {
		struct forged cut_short = good[0];
		cut_short.length = length;
		unsigned before = counter.calls;
		inject(b, t, &cut_short);
		assert_int_equal(counter.calls, before);
	}
	router_net_stop(&net);
}

/* ---- who may answer ---- */

struct spy {
	uint64_t transaction_id;
	unsigned calls;
};

static void on_spied(void *userdata, struct request *request) {
	struct spy *spy = userdata;

	spy->transaction_id = request->message.header.transaction_id;
	spy->calls++;
	request_drop(request);
}

/* B-6.3.4-07: an answer to a Node-ID is its own; others are ignored, also with an error code no transit node may use. */
static void test_wrong_signer(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	struct spy spy = {0};

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1], *b = &net.nodes[2];
	router_handle(b->router, FIND_REQ, on_spied, &spy);
	assert_int_equal(router_net_send(a, router_net_node_list(&b->id), FIND_REQ, OCTETS_NONE, &outcome), 0);
	router_net_run_ms(&net, 10);
	assert_int_equal(spy.calls, 1);
	struct forged answer = forge(&net, &a->id, spy.transaction_id, t->credential, FIND_ANS, OCTETS_NONE);
	inject(a, t, &answer);
	assert_int_equal(dropped(a, DROP_WRONG_SIGNER), 1);
	uint8_t body[4];
	struct writer w = writer_fixed(body, sizeof(body));
	error_response_write(&w, ERROR_DATA_TOO_OLD, OCTETS_NONE);
	struct forged error = forge(&net, &a->id, spy.transaction_id, t->credential, MESSAGE_ERROR, writer_octets_written(&w));
	inject(a, t, &error);
	assert_int_equal(dropped(a, DROP_WRONG_SIGNER), 2);
	/* another transaction, another method, a broken signature, an error that is none */
	struct forged other = forge(&net, &a->id, spy.transaction_id + 1, b->credential, FIND_ANS, OCTETS_NONE);
	inject(a, t, &other);
	struct forged method = forge(&net, &a->id, spy.transaction_id, b->credential, STAT_ANS, OCTETS_NONE);
	inject(a, t, &method);
	assert_int_equal(dropped(a, DROP_NO_TRANSACTION), 2);
	struct forged broken = forge(&net, &a->id, spy.transaction_id, b->credential, FIND_ANS, OCTETS_NONE);
	broken.octets[broken.length - 1] ^= 1;
	inject(a, t, &broken);
	assert_int_equal(dropped(a, DROP_BAD_SIGNATURE), 1); /* B-6.3.4-06 */
	struct forged short_error = forge(&net, &a->id, spy.transaction_id, b->credential, MESSAGE_ERROR, OCTETS("x", 1));
	inject(a, t, &short_error);
	assert_int_equal(dropped(a, DROP_MALFORMED), 1);
	assert_int_equal(outcome.calls, 0);
	struct forged right = forge(&net, &a->id, spy.transaction_id, b->credential, FIND_ANS, OCTETS_NONE);
	inject(a, t, &right);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	inject(a, t, &right);
	assert_int_equal(dropped(a, DROP_NO_TRANSACTION), 3);
	router_net_stop(&net);
}

/* 0xB from a node on the way ends the transaction, an unknown critical extension in an answer is not processed. */
static void test_ending_errors(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	struct spy spy = {0};
	uint8_t body[4], extension[16];

	(void)state;
	router_net_row(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *t = &net.nodes[1], *b = &net.nodes[2];
	router_handle(b->router, FIND_REQ, on_spied, &spy);
	assert_int_equal(router_net_send(a, router_net_node_list(&b->id), FIND_REQ, OCTETS_NONE, &outcome), 0);
	router_net_run_ms(&net, 10);
	struct writer w = writer_fixed(extension, sizeof(extension));
	message_extension_write(&w, &(struct message_extension){.type = 0x7777, .critical = true});
	struct forwarding_header header = forged_header(&net, &a->id, spy.transaction_id);
	struct forged critical = forge_with(&net, &header, b->credential, FIND_ANS, OCTETS_NONE, writer_octets_written(&w));
	inject(a, t, &critical);
	assert_int_equal(outcome.calls, 0);
	w = writer_fixed(body, sizeof(body));
	error_response_write(&w, ERROR_MESSAGE_TOO_LARGE, OCTETS_NONE);
	struct forged error = forge(&net, &a->id, spy.transaction_id, t->credential, MESSAGE_ERROR, writer_octets_written(&w));
	inject(a, t, &error);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -EREMOTEIO);
	assert_int_equal(outcome.error_code, ERROR_MESSAGE_TOO_LARGE);
	router_net_stop(&net);
}

/* B-6.3.4-08: of two nodes the one further clockwise from the resource than a neighbor of ours may not answer for it. */
static void test_resource_responder(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	struct spy spy = {0};

	(void)state;
	router_net_start(&net, NULL, (const uint8_t[]){0x10, 0x50, 0x90, 0xc0}, 4);
	struct router_net_node *a = &net.nodes[0], *n = &net.nodes[1], *b = &net.nodes[2], *far = &net.nodes[3];
	router_net_peers(a, n);
	router_net_peers(a, b);
	router_net_peers(a, far);
	router_net_place(a, &far->id, (const struct id[]){n->id, b->id, far->id}, 3);
	router_net_place(n, &a->id, &a->id, 1);
	router_handle(n->router, FETCH_REQ, on_spied, &spy);
	struct id resource = support_node_id(0x30); /* N owns it */
	assert_int_equal(router_net_send(a, router_net_resource_list(&resource), FETCH_REQ, OCTETS_NONE, &outcome), 0);
	router_net_run_ms(&net, 10);
	assert_int_equal(spy.calls, 1);
	struct router_net_node *wrong[] = {b, far, a};
	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
		struct forged answer = forge(&net, &a->id, spy.transaction_id, wrong[i]->credential, FETCH_ANS, OCTETS_NONE);
		inject(a, far, &answer);
		assert_int_equal(dropped(a, DROP_WRONG_SIGNER), i + 1);
	}
	assert_int_equal(outcome.calls, 0);
	/* a node we do not know, between the resource and N, is closer than all we know */
	struct id closer = support_node_id(0x40);
	struct router_net_node *stranger = router_net_add(&net, &closer, 1, false);
	struct forged answer = forge(&net, &a->id, spy.transaction_id, stranger->credential, FETCH_ANS, OCTETS_NONE);
	inject(a, far, &answer);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, 0);
	router_net_stop(&net);
}

/* ---- checks of the destination ---- */

struct mismatches {
	unsigned older, newer;
	struct id node_id;
};

static void on_mismatch(void *userdata, const struct id *node_id, bool newer) {
	struct mismatches *mismatches = userdata;

	mismatches->node_id = *node_id;
	if (newer)
		mismatches->newer++;
	else
		mismatches->older++;
}

/* B-6.3.2.1-01, B-6.3.2.1-02, B-6.3.2.1-03, B-6.5.4-01: both directions of skew, told to both sides. */
static void test_configuration_sequence(void **state) {
	const struct document_settings newer = {.sequence = 2, .no_ice = true};
	struct router_net net;
	struct router_net_outcome outcome;
	struct mismatches at_a = {0}, at_b = {0};
	struct counter counter = {.mode = COUNTER_ANSWER};

	(void)state;
	pair_start(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	const struct configuration_listener listen_a = {.userdata = &at_a, .mismatch = on_mismatch};
	const struct configuration_listener listen_b = {.userdata = &at_b, .mismatch = on_mismatch};
	router_set_configuration_listener(a->router, &listen_a);
	router_set_configuration_listener(b->router, &listen_b);
	router_handle(b->router, FIND_REQ, on_counted, &counter);
	router_handle(a->router, FIND_REQ, on_counted, &counter);
	router_net_configure(b, &newer);
	assert_int_equal(router_net_send(a, router_net_node_list(&b->id), FIND_REQ, OCTETS_NONE, &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error_code, ERROR_CONFIG_TOO_OLD);
	assert_int_equal(at_b.older, 1);
	assert_true(id_equal(&at_b.node_id, &a->id));
	assert_int_equal(at_a.newer, 1);
	assert_int_equal(router_net_send(b, router_net_node_list(&a->id), FIND_REQ, OCTETS_NONE, &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error_code, ERROR_CONFIG_TOO_NEW);
	assert_int_equal(at_a.newer, 2);
	assert_int_equal(at_b.older, 2);
	assert_int_equal(counter.calls, 0);
	assert_int_equal(dropped(b, DROP_CONFIG_MISMATCH), 1);
	/* B-6.3.2.1-04, Q-63: ConfigUpdate with header sequence 65535 passes, with another it does not */
	router_handle(a->router, CONFIG_UPDATE_REQ, on_counted, &counter);
	outcome = (struct router_net_outcome){.net = &net};
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = router_net_node_list(&a->id),
		.code = CONFIG_UPDATE_REQ,
		.config_update = true,
		.done = router_net_on_response,
		.userdata = &outcome,
	};
	assert_int_equal(router_send_request(b->router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(counter.calls, 1);
	outgoing.config_update = false;
	assert_int_equal(router_send_request(b->router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error_code, ERROR_CONFIG_TOO_NEW);
	assert_int_equal(counter.calls, 1);
	router_net_stop(&net);
}

/* The error about a sequence is not remembered: the retransmission after an update is processed. Wrap: 0 follows 65534. */
static void test_configuration_catches_up(void **state) {
	const struct document_settings last = {.sequence = 65534, .no_ice = true}, wrapped = {.sequence = 0, .no_ice = true};
	struct router_net net;
	struct router_net_outcome outcome;
	struct counter counter = {.mode = COUNTER_ANSWER};

	(void)state;
	pair_start(&net, &last);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	router_handle(b->router, FIND_REQ, on_counted, &counter);
	router_net_configure(b, &wrapped);
	assert_int_equal(router_net_send(a, router_net_node_list(&b->id), FIND_REQ, OCTETS_NONE, &outcome), 0);
	cut(b, a, true);
	router_net_run_ms(&net, 100);
	assert_int_equal(router_counters(b->router)->errors_sent, 1);
	router_net_configure(a, &wrapped);
	cut(b, a, false);
	router_net_run_ms(&net, 20000);
	assert_int_equal(outcome.calls, 1);
	assert_true(outcome.error == 0 ||
		    outcome.error_code == ERROR_CONFIG_TOO_OLD); /* the link may deliver the old error first */
	assert_int_equal(router_net_send(a, router_net_node_list(&b->id), FIND_REQ, OCTETS_NONE, &outcome), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, 0);
	router_net_stop(&net);
}

/* a neighbor's own request in transit shows its configuration, once per sequence. */
static void test_sequence_noticed_in_transit(void **state) {
	const struct document_settings newer = {.sequence = 2, .no_ice = true};
	struct router_net net;
	struct router_net_outcome outcome;
	struct mismatches at_t = {0};

	(void)state;
	router_net_row(&net, NULL);
	const struct configuration_listener listener = {.userdata = &at_t, .mismatch = on_mismatch};
	router_set_configuration_listener(net.nodes[1].router, &listener);
	router_net_configure(&net.nodes[1], &newer);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(router_net_send(&net.nodes[0], router_net_node_list(&net.nodes[2].id), PING_REQ,
						 router_net_ping(0), &outcome),
				 0);
		router_net_run_ms(&net, 100);
		assert_int_equal(outcome.error, 0); /* FW-B14: transit passes it on all the same */
	}
	assert_int_equal(at_t.older, 1);
	assert_true(id_equal(&at_t.node_id, &net.nodes[0].id));
	router_net_stop(&net);
}

/* B-6.3.2.3-02, B-6.3.2.3-03, B-6.3.2.3-04 */
static void test_options(void **state) {
	struct router_net net;
	struct router_net_outcome outcome = {.net = &net};
	uint8_t options[32];

	(void)state;
	pair_start(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	struct writer w = writer_fixed(options, sizeof(options));
	forwarding_option_write(&w, &(struct forwarding_option){.type = 9,
								.flags = OPTION_RESPONSE_COPY | OPTION_IGNORE_STATE_KEEPING,
								.value = OCTETS("ab", 2)});
	forwarding_option_write(&w, &(struct forwarding_option){.type = 10, .value = OCTETS("cd", 2)});
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = router_net_node_list(&b->id),
		.options = writer_octets_written(&w),
		.code = PING_REQ,
		.body = router_net_ping(0),
		.done = router_net_on_response,
		.userdata = &outcome,
	};
	assert_int_equal(router_send_request(a->router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, 0);
	static const uint8_t copied[] = {9, OPTION_IGNORE_STATE_KEEPING, 0, 2, 'a', 'b'};
	assert_int_equal(outcome.options_length, sizeof(copied));
	assert_memory_equal(outcome.options, copied, sizeof(copied));
	w = writer_fixed(options, sizeof(options));
	forwarding_option_write(
		&w, &(struct forwarding_option){.type = 9, .flags = OPTION_DESTINATION_CRITICAL | OPTION_RESPONSE_COPY});
	outgoing.options = writer_octets_written(&w);
	assert_int_equal(router_send_request(a->router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, -EREMOTEIO);
	assert_int_equal(outcome.error_code, ERROR_UNSUPPORTED_FORWARDING_OPTION);
	static const uint8_t cleared[] = {9, 0, 0, 0};
	assert_int_equal(outcome.options_length, sizeof(cleared));
	assert_memory_equal(outcome.options, cleared, sizeof(cleared));
	router_net_stop(&net);
}

/* B-6.3.3-02 */
static void test_extensions(void **state) {
	struct router_net net;
	struct router_net_outcome outcome = {.net = &net};
	uint8_t extensions[32];

	(void)state;
	pair_start(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	struct message_extension extension = {.type = 0x7777, .critical = true};
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = router_net_node_list(&b->id),
		.code = PING_REQ,
		.body = router_net_ping(0),
		.done = router_net_on_response,
		.userdata = &outcome,
	};
	const uint16_t expected[] = {ERROR_UNKNOWN_EXTENSION, 0, 0};
	for (unsigned i = 0; i < ARRAY_LENGTH(expected); i++) {
		struct writer w = writer_fixed(extensions, sizeof(extensions));
		extension.critical = i != 1;
		message_extension_write(&w, &extension);
		if (i == 2)
			router_understand_extension(b->router, 0x7777);
		outgoing.extensions = writer_octets_written(&w);
		outcome = (struct router_net_outcome){.net = &net};
		assert_int_equal(router_send_request(a->router, &outgoing, NULL), 0);
		router_net_run_ms(&net, 100);
		assert_int_equal(outcome.calls, 1);
		assert_int_equal(outcome.error_code, expected[i]);
	}
	router_net_stop(&net);
}

/* B-6.3.3.1-02, B-6.3.3.1-04, B-6.5.2-01: a method nobody handles, an application nobody offers, bodies that do not parse. */
static void test_refusals(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	uint8_t body[64];

	(void)state;
	pair_start(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	struct octets list = router_net_node_list(&b->id);
	struct writer w = writer_fixed(body, sizeof(body));
	struct attach_req_ans attach = {.role = octets_of_string("passive"), .application = 61441};
	app_attach_write(&w, &attach);
	const struct {
		uint16_t code;
		struct octets body;
		uint16_t error;
	} cases[] = {
		{0x25, OCTETS_NONE, ERROR_INVALID_MESSAGE},	      {0x7ffd, OCTETS_NONE, ERROR_INVALID_MESSAGE},
		{PING_REQ, OCTETS("x", 1), ERROR_INVALID_MESSAGE},    {PROBE_REQ, OCTETS_NONE, ERROR_INVALID_MESSAGE},
		{APP_ATTACH_REQ, OCTETS_NONE, ERROR_INVALID_MESSAGE}, {APP_ATTACH_REQ, writer_octets_written(&w), ERROR_NOT_FOUND},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		assert_int_equal(router_net_send(a, list, cases[i].code, cases[i].body, &outcome), 0);
		router_net_run_ms(&net, 100);
		assert_int_equal(outcome.error, -EREMOTEIO);
		assert_int_equal(outcome.error_code, cases[i].error);
		assert_true(outcome.body_length > 4); /* there is a text */
	}
	assert_int_equal(dropped(b, DROP_UNKNOWN_METHOD), 2);
	router_net_stop(&net);
}

static uint32_t resources(void *userdata) {
	return *(uint32_t *)userdata;
}

/* B-6.4.2.5-01 */
static void test_probe(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	struct probe_information information;
	uint32_t held = 77;
	uint8_t body[16];
	struct octets list;

	(void)state;
	pair_start(&net, NULL);
	router_set_probe_resources(net.nodes[1].router, resources, &held);
	router_net_run_ms(&net, 5000);
	struct writer w = writer_fixed(body, sizeof(body));
	static const uint8_t wanted[] = {PROBE_UPTIME, PROBE_RESPONSIBLE_SET, 200, PROBE_NUM_RESOURCES, PROBE_UPTIME};
	probe_req_write(&w, &(struct probe_req){.requested_info = OCTETS(wanted, sizeof(wanted))});
	assert_int_equal(router_net_send(&net.nodes[0], router_net_node_list(&net.nodes[1].id), PROBE_REQ,
					 writer_octets_written(&w), &outcome),
			 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(probe_ans_read(OCTETS(outcome.body, outcome.body_length), &list), 0);
	struct reader r = reader_of_octets(list);
	const struct probe_information expected[] = {{.type = PROBE_UPTIME, .value = 5},
						     {.type = PROBE_RESPONSIBLE_SET, .value = 250980392},
						     {.type = PROBE_NUM_RESOURCES, .value = 77}};
	for (size_t i = 0; i < ARRAY_LENGTH(expected); i++) {
		assert_int_equal(probe_information_next(&r, &information), 1);
		assert_int_equal(information.type, expected[i].type);
		assert_int_equal(information.value, expected[i].value);
	}
	assert_int_equal(probe_information_next(&r, &information), 0);
	router_net_stop(&net);
}

/* B-6.3.2-12, Q-03: exactly the size that is allowed passes, one octet less gives 0xE; so does max-message-size. */
static void test_response_size(void **state) {
	struct router_net net;
	struct router_net_outcome outcome = {.net = &net};
	struct counter counter = {.mode = COUNTER_ANSWER, .answer_size = 1000};

	(void)state;
	pair_start(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	router_handle(b->router, FETCH_REQ, on_counted, &counter);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,     .destination_list = router_net_node_list(&a->id),
		.code = FETCH_REQ,    .done = router_net_on_response,
		.userdata = &outcome, .max_response_length = 1000,
	};
	outgoing.destination_list = router_net_node_list(&b->id);
	assert_int_equal(router_send_request(a->router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error_code, ERROR_RESPONSE_TOO_LARGE);
	assert_int_equal(counter.calls, 1);
	outcome = (struct router_net_outcome){.net = &net};
	outgoing.max_response_length = 3000;
	assert_int_equal(router_send_request(a->router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(outcome.body_length, 1000);
	outgoing.max_response_length = 0;
	counter.answer_size = 5000;
	assert_int_equal(router_send_request(a->router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.error_code, ERROR_RESPONSE_TOO_LARGE);
	assert_non_null(router_net_link(a, b)); /* nothing went out that would cost the link */
	router_net_stop(&net);
}

/* ---- calls and their limits ---- */

/* -EINVAL, -EMSGSIZE, -ENOBUFS (LIMIT_TRANSACTIONS), -ENETUNREACH over a link that is not there. */
static void test_send_errors(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	struct transaction *transaction;
	uint8_t none[2] = {0x05, 0x00};

	(void)state;
	pair_start(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	struct octets list = router_net_node_list(&b->id);
	assert_int_equal(router_net_send(a, OCTETS_NONE, PING_REQ, router_net_ping(0), &outcome), -EINVAL);
	assert_int_equal(router_net_send(a, OCTETS(list.data, 17), PING_REQ, router_net_ping(0), &outcome), -EINVAL);
	assert_int_equal(router_net_send(a, list, PING_ANS, router_net_ping(0), &outcome), -EINVAL);
	assert_int_equal(router_net_send(a, list, 0x8001, router_net_ping(0), &outcome), -EINVAL);
	assert_int_equal(router_net_send(a, list, PING_REQ, router_net_ping(5000), &outcome), -EMSGSIZE);
	router_net_run_ms(&net, 100);
	assert_int_equal(outcome.calls, 0);
	/* nobody can route to an unknown kind of destination */
	assert_int_equal(router_net_send(a, OCTETS(none, 2), PING_REQ, router_net_ping(0), &outcome), 0);
	router_net_run_ms(&net, 1);
	assert_int_equal(outcome.error, -ENETUNREACH);
	outcome = (struct router_net_outcome){.net = &net};
	struct outgoing outgoing = {
		.via_slot = 99, .destination_list = list, .code = PING_REQ, .done = router_net_on_response, .userdata = &outcome};
	assert_int_equal(router_send_request(a->router, &outgoing, NULL), 0);
	assert_int_equal(outcome.calls, 0);
	router_net_run_ms(&net, 1);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.error, -ENETUNREACH);
	/* a transaction over a link ends when the link is gone */
	cut(b, a, true);
	outgoing.via_slot = router_net_link(a, b)->slot;
	outgoing.body = router_net_ping(0);
	assert_int_equal(router_send_request(a->router, &outgoing, &transaction), 0);
	router_net_run_ms(&net, 10);
	router_close(a->router, outgoing.via_slot, LINK_CLOSED_BY_US);
	router_net_run_ms(&net, 3000);
	assert_int_equal(outcome.calls, 2);
	assert_int_equal(outcome.error, -ENETUNREACH);
	router_net_stop(&net);
}

static void test_transaction_limit(void **state) {
	static struct transaction *open[LIMIT_TRANSACTIONS];
	struct router_net net;
	struct router_net_outcome outcome = {.net = &net};

	(void)state;
	pair_start(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	cut(a, b, true);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = router_net_node_list(&b->id),
		.code = PING_REQ,
		.body = router_net_ping(0),
		.done = router_net_on_response,
		.userdata = &outcome,
	};
	for (size_t i = 0; i < LIMIT_TRANSACTIONS; i++)
		assert_int_equal(router_send_request(a->router, &outgoing, &open[i]), 0);
	assert_int_equal(router_send_request(a->router, &outgoing, NULL), -ENOBUFS);
	transaction_cancel(open[0]);
	assert_int_equal(router_send_request(a->router, &outgoing, NULL), 0);
	/* cancelled ones stay silent */
	for (size_t i = 1; i < LIMIT_TRANSACTIONS; i++)
		transaction_cancel(open[i]);
	router_net_run_ms(&net, 16000);
	assert_int_equal(outcome.calls, 1);
	router_net_stop(&net);
}

struct chain {
	struct router_net_node *node;
	struct router_net_outcome outcome;
	struct transaction *other;
	int again;
};

static void on_chain(void *userdata, int error, const struct response *response) {
	struct chain *chain = userdata;

	router_net_on_response(&chain->outcome, error, response);
	if (chain->other)
		transaction_cancel(TAKE(chain->other));
	struct id id = chain->node->id;
	struct outgoing outgoing = {OUTGOING_DEFAULT, .destination_list = router_net_node_list(&id), .code = PING_REQ,
				    .body = router_net_ping(0)};
	chain->again = router_send_request(chain->node->router, &outgoing, NULL);
}

/* Callbacks may cancel other transactions and send new ones; router_free() ends them all with -ECANCELED and takes no more. */
static void test_callbacks_and_free(void **state) {
	struct router_net net;
	struct chain chain = {.again = 1};
	struct counter counter = {.mode = COUNTER_KEEP};

	(void)state;
	pair_start(&net, NULL);
	struct router_net_node *a = &net.nodes[0], *b = &net.nodes[1];
	chain.node = a;
	chain.outcome.net = &net;
	router_handle(b->router, FIND_REQ, on_counted, &counter);
	struct outgoing outgoing = {OUTGOING_DEFAULT, .destination_list = router_net_node_list(&b->id),
				    .code = PING_REQ, .body = router_net_ping(0),
				    .done = on_chain, .userdata = &chain};
	struct outgoing open = outgoing;
	open.code = FIND_REQ;
	assert_int_equal(router_send_request(a->router, &open, &chain.other), 0);
	assert_int_equal(router_send_request(a->router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(chain.outcome.calls, 1);
	assert_int_equal(chain.again, 0);
	assert_int_equal(counter.calls, 1);

	assert_int_equal(router_send_request(a->router, &open, NULL), 0);
	assert_int_equal(router_send_request(a->router, &open, NULL), 0);
	router_net_run_ms(&net, 100);
	assert_int_equal(counter.calls, 3);
	router_net_kill(a);
	assert_int_equal(chain.outcome.calls, 3);
	assert_int_equal(chain.outcome.error, -ECANCELED);
	assert_int_equal(chain.again, -ECANCELED);
	/* requests whose handler still works outlive the router */
	router_net_kill(b);
	request_answer(counter.kept[0], OCTETS_NONE, NULL);
	request_fail(counter.kept[1], ERROR_FORBIDDEN, OCTETS_NONE);
	request_drop(counter.kept[2]);
	router_net_stop(&net);
}

/* Loopback requests are remembered and limited like others, and reach the handler with no link and no previous hop. */
static void test_loopback_request(void **state) {
	struct router_net net;
	struct router_net_outcome outcome;
	struct counter counter = {.mode = COUNTER_KEEP};

	(void)state;
	pair_start(&net, NULL);
	struct router_net_node *a = &net.nodes[0];
	router_handle(a->router, STORE_REQ, on_counted, &counter);
	struct id mine = support_node_id(0x05);
	assert_int_equal(router_net_send(a, router_net_resource_list(&mine), STORE_REQ, OCTETS_NONE, &outcome), 0);
	assert_int_equal(counter.calls, 0);
	router_net_run_ms(&net, 3500);
	assert_int_equal(counter.calls, 1);
	assert_int_equal(counter.slot, LINK_SLOT_NONE);
	assert_true(id_is_none(&counter.previous_hop));
	assert_int_equal(dropped(a, DROP_DUPLICATE), 1);
	request_answer(counter.kept[0], OCTETS("ok", 2), NULL);
	assert_int_equal(outcome.calls, 0);
	router_net_run_ms(&net, 1);
	assert_int_equal(outcome.calls, 1);
	assert_int_equal(outcome.body_length, 2);
	router_net_stop(&net);
}

/* Every seventh message is lost: all requests come through, handled once each. */
static void test_lossy_network(void **state) {
	struct router_net net;
	struct router_net_outcome outcome[32];
	struct counter counter = {.mode = COUNTER_ANSWER};

	(void)state;
	router_net_row(&net, NULL);
	router_handle(net.nodes[2].router, STORE_REQ, on_counted, &counter);
	virtual_network_set_loss(net.network, 150000);
	struct id resource = support_node_id(0x80);
	for (size_t i = 0; i < ARRAY_LENGTH(outcome); i++)
		assert_int_equal(
			router_net_send(&net.nodes[0], router_net_resource_list(&resource), STORE_REQ, OCTETS_NONE, &outcome[i]),
			0);
	router_net_run_ms(&net, 16000);
	for (size_t i = 0; i < ARRAY_LENGTH(outcome); i++) {
		assert_int_equal(outcome[i].calls, 1);
		assert_int_equal(outcome[i].error, 0);
	}
	assert_int_equal(counter.calls, ARRAY_LENGTH(outcome));
	assert_true(router_counters(net.nodes[0].router)->retransmissions > 0);
	router_net_stop(&net);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_timer_settings),
		cmocka_unit_test(test_duplicates_answered),
		cmocka_unit_test(test_duplicates_while_working),
		cmocka_unit_test(test_duplicate_key),
		cmocka_unit_test(test_open_request_limit),
		cmocka_unit_test(test_answer_octets_limit),
		cmocka_unit_test(test_answers_limit),
		cmocka_unit_test(test_damaged_messages),
		cmocka_unit_test(test_wrong_signer),
		cmocka_unit_test(test_ending_errors),
		cmocka_unit_test(test_resource_responder),
		cmocka_unit_test(test_configuration_sequence),
		cmocka_unit_test(test_configuration_catches_up),
		cmocka_unit_test(test_sequence_noticed_in_transit),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_response_size),
		cmocka_unit_test(test_send_errors),
		cmocka_unit_test(test_transaction_limit),
		cmocka_unit_test(test_callbacks_and_free),
		cmocka_unit_test(test_loopback_request),
		cmocka_unit_test(test_lossy_network),
	};

	return cmocka_run_group_tests_name("router: requests", tests, NULL, NULL);
}
