/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/multicast.h"

#include "wire/method.h"

#include <errno.h>
#include <string.h>

enum { BODY_MAX = 32, LIST_MAX = 3 + ID_LENGTH_MAX };

void multicast_init(struct multicast *multicast, struct router *router) {
	*multicast = (struct multicast){.router = router};
}

/* ---- writing ---- */

static int write_message(const struct multicast *multicast, uint64_t transaction_id, uint16_t code, struct octets body,
			 const struct id *destination, struct writer *w) {
	const struct overlay_config *config = router_config(multicast->router);
	uint8_t list[LIST_MAX], contents[BODY_MAX + 16];
	struct writer destinations = writer_fixed(list, sizeof(list)), c = writer_fixed(contents, sizeof(contents));

	destination_write_node(&destinations, destination);
	message_contents_write(&c, code, body, OCTETS_NONE);
	int error = writer_finish(&c);
	if (error < 0)
		return error;
	struct forwarding_header header = {
		.overlay = config->overlay_hash,
		.configuration_sequence = config->sequence,
		.version = RELOAD_VERSION,
		.ttl = 1, /* nobody passes it on */
		.fragment = FRAGMENT_NONE,
		.transaction_id = transaction_id,
		.destination_list = writer_octets_written(&destinations),
	};
	size_t start = w->length;
	forwarding_header_write(w, &header);
	writer_octets(w, writer_octets_written(&c));
	error = message_sign(router_credential(multicast->router), NULL, config->overlay_hash, transaction_id,
			     writer_octets_written(&c), w);
	if (error < 0)
		return error;
	message_write_length(w, start);
	return writer_finish(w);
}

int multicast_request(struct multicast *multicast, struct writer *w) {
	struct runtime *runtime = router_runtime(multicast->router);
	struct id wildcard = id_wildcard(router_node_id(multicast->router)->length);
	uint8_t body[BODY_MAX];
	struct writer b = writer_fixed(body, sizeof(body));

	do
		runtime_random(runtime, &multicast->transaction_id, sizeof(multicast->transaction_id));
	while (multicast->transaction_id == 0);
	multicast->read = 0;
	ping_req_write(&b, OCTETS_NONE);
	return write_message(multicast, multicast->transaction_id, PING_REQ, writer_octets_written(&b), &wildcard, w);
}

void multicast_request_end(struct multicast *multicast) {
	multicast->transaction_id = 0;
}

/* ---- reading ---- */

/* A whole message of our overlay, straight from its originator. */
static int read_message(const struct multicast *multicast, struct octets datagram, uint16_t code, struct message *ret) {
	const struct overlay_config *config = router_config(multicast->router);

	if (datagram.length > MULTICAST_OCTETS_MAX || datagram.length > config->max_message_size ||
	    message_read(datagram, config->node_id_length, ret) < 0)
		return -EBADMSG;
	if (ret->header.overlay != config->overlay_hash || ret->contents.code != code || ret->header.via_list.length > 0 ||
	    ret->contents.extensions.length > 0)
		return -EBADMSG;
	return 0;
}

static int check_signature(const struct multicast *multicast, const struct message *message, struct id *ret_signer) {
	struct runtime *runtime = router_runtime(multicast->router);
	struct certificate_bucket bucket = {.count = 0};
	struct certificate *signer;

	int error =
		message_check(router_trust(multicast->router), message, runtime_realtime_ms(runtime), &bucket, &signer, ret_signer);
	if (error == 0)
		certificate_bucket_release(&bucket);
	if (error == 0 && id_equal(ret_signer, router_node_id(multicast->router)))
		error = -EKEYREJECTED; /* our own, come back */
	return error;
}

static bool take_token(struct multicast *multicast) {
	return rate_take(&multicast->paid_us, router_runtime(multicast->router)->now_us,
			 USEC_PER_SEC / MULTICAST_ANSWERS_PER_SECOND, MULTICAST_ANSWERS_BURST);
}

static int answer(struct multicast *multicast, struct octets datagram, struct writer *w) {
	struct runtime *runtime = router_runtime(multicast->router);
	struct message message;
	struct octets padding;
	struct id signer;
	uint8_t body[BODY_MAX];
	struct writer b = writer_fixed(body, sizeof(body));

	int error = read_message(multicast, datagram, PING_REQ, &message);
	if (error < 0)
		return error;
	struct id destination =
		destination_sole_node(message.header.destination_list, router_config(multicast->router)->node_id_length);
	if (id_is_none(&destination) || !id_is_wildcard(&destination) || ping_req_read(message.contents.body, &padding) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < MULTICAST_REMEMBERED; i++)
		if (multicast->answered[i] == message.header.transaction_id)
			return -EALREADY;
	error = check_signature(multicast, &message, &signer);
	if (error < 0)
		return error;
	multicast->answered[multicast->next_answered] = message.header.transaction_id;
	multicast->next_answered = (multicast->next_answered + 1) % MULTICAST_REMEMBERED;
	struct ping_ans ping = {.time_ms = runtime_realtime_ms(runtime)};
	runtime_random(runtime, &ping.response_id, sizeof(ping.response_id));
	ping_ans_write(&b, &ping);
	return write_message(multicast, message.header.transaction_id, PING_ANS, writer_octets_written(&b), &signer, w);
}

int multicast_answer(struct multicast *multicast, struct octets datagram, struct writer *w) {
	multicast->figures.received++;
	if (!take_token(multicast)) {
		multicast->figures.limited++;
		return -EAGAIN;
	}
	int error = answer(multicast, datagram, w);
	if (error < 0)
		multicast->figures.refused++;
	else
		multicast->figures.answered++;
	return error;
}

int multicast_accept(struct multicast *multicast, struct octets datagram) {
	struct message message;
	struct ping_ans ping;
	struct id signer;

	if (multicast->transaction_id == 0 || multicast->read >= MULTICAST_ANSWERS_READ_MAX)
		return -EAGAIN;
	multicast->read++;
	multicast->figures.received++;
	int error = read_message(multicast, datagram, PING_ANS, &message);
	if (error == 0 &&
	    (message.header.transaction_id != multicast->transaction_id || ping_ans_read(message.contents.body, &ping) < 0))
		error = -EBADMSG;
	if (error == 0) {
		struct id destination =
			destination_sole_node(message.header.destination_list, router_config(multicast->router)->node_id_length);
		if (!id_equal(&destination, router_node_id(multicast->router)))
			error = -EBADMSG;
	}
	if (error == 0)
		error = check_signature(multicast, &message, &signer);
	if (error == 0)
		multicast->figures.found++;
	else
		multicast->figures.refused++;
	return error;
}
