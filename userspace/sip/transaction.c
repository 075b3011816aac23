/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Server transactions (RFC 3261 17.2, RFC 4320). libosip2 has these machines, too, but keeps 15 KB for each, looks one up by
 * walking all (0.4 ms at LIMIT_SIP_TRANSACTIONS) and reads the system's clock.
 */
#include "sip/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

#define T1_US (500 * USEC_PER_MSEC)
#define T2_US (4 * USEC_PER_SEC)
#define T4_US (5 * USEC_PER_SEC)
#define TRYING_INVITE_US (200 * USEC_PER_MSEC)		/* RFC 3261 17.2.1 */
#define TRYING_OTHER_US (T1_US + 2 * T1_US + T2_US / 2) /* when a client's timer E becomes T2 (RFC 4320 4.1) */

enum { KEY_OCTETS = SIP_HEADER_OCTETS + 64 /* parts of the header, each once */ };

static const char *const COOKIE = "z9hG4bK";

/* RFC 3261 17.2.3, with the rules for clients of RFC 2543 when the branch has no cookie. */
static void write_key(struct writer *w, const struct sip_request *request, const char *method) {
	const osip_via_t *via = request->via;

	if (request->branch && strncasecmp(request->branch, COOKIE, strlen(COOKIE)) == 0 && request->branch[strlen(COOKIE)]) {
		writer_octets(w, octets_of_string(request->branch));
		writer_u8(w, '\n');
		for (const char *c = via->host; *c; c++)
			writer_u8(w, (uint8_t)ascii_lower(*c));
		writer_u8(w, ':');
		writer_octets(w, octets_of_string(via->port ? via->port : "5060"));
	} else {
		writer_octets(w, request->frame.uri);
		writer_u8(w, '\n');
		writer_octets(w, octets_of_string(request->from_tag));
		writer_u8(w, '\n');
		writer_octets(w, request->frame.field[SIP_FIELD_CALL_ID]);
		writer_u8(w, '\n');
		writer_u32(w, request->cseq);
		writer_octets(w, request->frame.field[SIP_FIELD_VIA]);
	}
	writer_u8(w, '\n');
	writer_octets(w, octets_of_string(method));
}

static void write_merge_key(struct writer *w, const struct sip_frame *frame, struct octets from_tag, uint32_t cseq) {
	writer_u32(w, cseq);
	writer_octets(w, frame->method);
	writer_u8(w, '\n');
	writer_octets(w, from_tag);
	writer_u8(w, '\n');
	writer_octets(w, frame->field[SIP_FIELD_CALL_ID]);
}

static bool merges(const struct sip_request *request) {
	return request->from_tag && !request->to_tag && request->method != SIP_ACK && request->method != SIP_CANCEL;
}

static unsigned hash_value(const uint64_t key[static 2], struct octets octets) {
	return (unsigned)keyed_hash(key, octets);
}

static struct sip_transaction *find(struct sip_gateway *gateway, const struct sip_request *request, const char *method,
				    unsigned *ret_hash) {
	uint8_t text[KEY_OCTETS];
	struct writer w = writer_fixed(text, sizeof(text));
	struct sip_transaction *transaction = NULL;

	write_key(&w, request, method);
	struct octets key = writer_octets_written(&w);
	*ret_hash = hash_value(gateway->hash_key, key);
	if (writer_finish(&w) == 0)
		HASH_FIND_BYHASHVALUE(hh, gateway->transactions, key.data, key.length, *ret_hash, transaction);
	return transaction;
}

static void send_again(struct sip_transaction *transaction) {
	if (transaction->response.length > 0)
		sip_response_send(transaction->gateway, &transaction->flow, &transaction->reply_to, transaction->status,
				  transaction->response);
}

static void arm(struct sip_transaction *transaction, uint64_t due_us) {
	timer_arm(transaction->gateway->runtime, &transaction->timer, due_us < transaction->end_us ? due_us : transaction->end_us);
}

static bool is_reliable(const struct sip_transaction *transaction) {
	return transaction->flow.connection != 0;
}

static void confirm(struct sip_transaction *transaction) {
	struct sip_gateway *gateway = transaction->gateway;

	transaction->state = SIP_STATE_CONFIRMED;
	if (transaction->unacknowledged)
		gateway->unacknowledged--;
	transaction->unacknowledged = false;
	transaction->interval_us = 0;
	transaction->end_us = gateway->runtime->now_us + (is_reliable(transaction) ? 0 : T4_US); /* timer I */
	arm(transaction, transaction->end_us);
}

bool sip_transaction_match(struct sip_gateway *gateway, struct sip_request *request, const struct sip_flow *flow) {
	bool ack = request->method == SIP_ACK;
	struct sip_transaction *transaction =
		find(gateway, request, ack ? "INVITE" : request->message->sip_method, &request->key_hash);

	if (!transaction)
		return false;
	if (ack) {
		if (transaction->state == SIP_STATE_COMPLETED)
			confirm(transaction);
		return transaction->state != SIP_STATE_ACCEPTED; /* of a client that takes its branch for the ACK of a 2xx, too */
	}
	/* The client has lost its connection and asks again over another one: the answer goes where it can be heard. */
	if (is_reliable(transaction) && flow->connection != 0 && !sip_connection_of(gateway, &transaction->flow)) {
		transaction->flow = *flow;
		if (transaction->state <= SIP_STATE_PROCEEDING)
			sip_connection_of(gateway, flow)->pending++;
	}
	if (transaction->state < SIP_STATE_CONFIRMED)
		send_again(transaction);
	return true;
}

/*
 * The key of a transaction from a Via as it was received. Only for a Via as nearly all are, without blanks, quotes, IPv6
 * references or a second value; false for others, which are left to the parser.
 */
static bool write_plain_key(struct writer *w, struct octets via, struct octets method) {
	static const char start[] = "SIP/2.0/UDP ", parameter[] = ";branch=";
	char text[SIP_LINE_OCTETS + 1];

	if (via.length >= sizeof(text) || via.length <= strlen(start) || memcmp(via.data, start, strlen(start)) != 0)
		return false;
	memcpy(text, via.data, via.length);
	text[via.length] = 0;
	char *host = text + strlen(start), *branch = strstr(host, parameter);
	if (strpbrk(host, " \t\r\n,\"[") || !branch || strncmp(branch + strlen(parameter), COOKIE, strlen(COOKIE)) != 0)
		return false;
	*strchr(host, ';') = 0;
	branch += strlen(parameter);
	branch[strcspn(branch, ";")] = 0;
	writer_octets(w, octets_of_string(branch));
	writer_u8(w, '\n');
	for (const char *c = host; *c; c++)
		writer_u8(w, (uint8_t)ascii_lower(*c));
	if (!strchr(host, ':'))
		writer_octets(w, octets_of_string(":5060"));
	writer_u8(w, '\n');
	writer_octets(w, method);
	return branch[strlen(COOKIE)] != 0;
}

bool sip_transaction_find_plain(struct sip_gateway *gateway, const struct sip_frame *frame, struct octets method,
				struct sip_transaction **ret) {
	uint8_t text[2 * SIP_LINE_OCTETS + 64];
	struct writer w = writer_fixed(text, sizeof(text));
	struct sip_transaction *transaction = NULL;

	if (!write_plain_key(&w, frame->field[SIP_FIELD_VIA], method) || writer_finish(&w) < 0)
		return false;
	struct octets key = writer_octets_written(&w);
	HASH_FIND_BYHASHVALUE(hh, gateway->transactions, key.data, key.length, hash_value(gateway->hash_key, key), transaction);
	*ret = transaction;
	return true;
}

bool sip_transaction_acknowledge(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow) {
	struct sip_transaction *transaction = NULL;

	if (!octets_equal(frame->method, octets_of_string("ACK")) ||
	    !sip_transaction_find_plain(gateway, frame, octets_of_string("INVITE"), &transaction))
		return false;
	/* From where the INVITE came, so that nothing about it is to be decided again. */
	if (!transaction || flow->fd != transaction->flow.fd || flow->remote.port != transaction->flow.remote.port ||
	    memcmp(flow->remote.octets, transaction->flow.remote.octets, sizeof(flow->remote.octets)) != 0)
		return false;
	if (transaction->state == SIP_STATE_COMPLETED)
		confirm(transaction);
	return transaction->state == SIP_STATE_CONFIRMED;
}

struct sip_transaction *sip_transaction_to_cancel(struct sip_gateway *gateway, const struct sip_request *request) {
	unsigned hash;

	return find(gateway, request, "INVITE", &hash);
}

bool sip_transaction_merged(struct sip_gateway *gateway, struct sip_request *request) {
	uint8_t text[KEY_OCTETS];
	struct writer w = writer_fixed(text, sizeof(text));
	struct sip_transaction *transaction = NULL;

	if (!merges(request))
		return false;
	write_merge_key(&w, &request->frame, octets_of_string(request->from_tag), request->cseq);
	struct octets key = writer_octets_written(&w);
	request->merge_hash = hash_value(gateway->merge_hash_key, key);
	HASH_FIND_BYHASHVALUE(merge_hh, gateway->merges, key.data, key.length, request->merge_hash, transaction);
	return transaction != NULL;
}

/* The answer is settled: the flow may go, and so may the transaction when others need its place. */
static void settle(struct sip_transaction *transaction) {
	struct sip_connection *connection = sip_connection_of(transaction->gateway, &transaction->flow);

	if (connection)
		connection->pending--;
	if (transaction->owner)
		*transaction->owner = NULL;
	transaction->owner = NULL;
}

struct sip_transaction *sip_transaction_free(struct sip_transaction *transaction) {
	if (!transaction)
		return NULL;
	struct sip_gateway *gateway = transaction->gateway;
	if (transaction->state <= SIP_STATE_PROCEEDING)
		settle(transaction);
	else
		DL_DELETE2(gateway->finished, transaction, previous, next);
	if (transaction->unacknowledged)
		gateway->unacknowledged--;
	if (transaction->proxy)
		sip_proxy_orphaned(transaction->proxy);
	timer_disarm(gateway->runtime, &transaction->timer);
	HASH_DELETE(hh, gateway->transactions, transaction);
	if (transaction->merge_hh.tbl)
		HASH_DELETE(merge_hh, gateway->merges, transaction);
	gateway->transaction_octets -= sizeof(*transaction) + transaction->key.length + transaction->merge_key.length +
				       transaction->echo.length + transaction->response.length;
	free((void *)transaction->response.data);
	free(transaction);
	return NULL;
}

/* Keeps a copy, and sends it. */
static void take_response(struct sip_transaction *transaction, unsigned status, struct octets message) {
	struct sip_gateway *gateway = transaction->gateway;
	uint8_t *copy = malloc(message.length);

	if (!copy)
		return; /* as if lost on the way */
	memcpy(copy, message.data, message.length);
	gateway->transaction_octets -= transaction->response.length;
	free((void *)transaction->response.data);
	transaction->response = OCTETS(copy, message.length);
	transaction->status = status;
	gateway->transaction_octets += message.length;
	send_again(transaction);
}

static void set_response(struct sip_transaction *transaction, unsigned status, const char *reason, struct octets fields) {
	uint8_t text[LIMIT_SIP_MESSAGE];
	struct writer w = writer_fixed(text, sizeof(text));

	sip_response_write(status, reason, transaction->echo, fields, &w);
	if (writer_finish(&w) == 0)
		take_response(transaction, status, writer_octets_written(&w));
}

/* There is a final response: from now on only repetitions are answered. */
static void complete(struct sip_transaction *transaction) {
	struct sip_gateway *gateway = transaction->gateway;
	uint64_t now_us = gateway->runtime->now_us;
	bool reliable = is_reliable(transaction);

	settle(transaction);
	transaction->state = SIP_STATE_COMPLETED;
	DL_APPEND2(gateway->finished, transaction, previous, next);
	transaction->end_us = now_us + 64 * T1_US; /* timers H and J */
	transaction->interval_us = 0;
	if (transaction->invite && !reliable && gateway->unacknowledged < SIP_UNACKNOWLEDGED) {
		transaction->unacknowledged = true;
		gateway->unacknowledged++;
		transaction->interval_us = T1_US; /* timer G */
	} else if (!transaction->invite && reliable) {
		transaction->end_us = now_us;
	}
	arm(transaction, transaction->interval_us > 0 ? now_us + transaction->interval_us : transaction->end_us);
}

void sip_transaction_respond(struct sip_transaction *transaction, unsigned status, const char *reason, struct octets fields) {
	if (transaction->state > SIP_STATE_PROCEEDING)
		return;
	set_response(transaction, status, reason, fields);
	complete(transaction);
}

void sip_transaction_hold(struct sip_transaction *transaction, struct sip_proxy *proxy) {
	transaction->proxy = proxy;
	transaction->end_us = USEC_NEVER;
}

void sip_transaction_relay(struct sip_transaction *transaction, unsigned status, struct octets message) {
	struct sip_gateway *gateway = transaction->gateway;
	bool accepts = transaction->invite && status / 100 == 2;

	if (transaction->state == SIP_STATE_ACCEPTED && accepts) {
		sip_response_send(gateway, &transaction->flow, &transaction->reply_to, status, message);
		return;
	}
	if (transaction->state > SIP_STATE_PROCEEDING)
		return;
	if (accepts) {
		/* The other side repeats its 2xx until it has the ACK, so none is kept here (RFC 6026 7.1). */
		sip_response_send(gateway, &transaction->flow, &transaction->reply_to, status, message);
		settle(transaction);
		transaction->state = SIP_STATE_ACCEPTED;
		DL_APPEND2(gateway->finished, transaction, previous, next);
		transaction->end_us = gateway->runtime->now_us + 64 * T1_US; /* timer L */
		arm(transaction, transaction->end_us);
		return;
	}
	take_response(transaction, status, message);
	if (status >= 200) {
		complete(transaction);
	} else {
		transaction->state = SIP_STATE_PROCEEDING;
		timer_disarm(gateway->runtime, &transaction->timer); /* of the 100 that is not needed any more */
	}
}

static void transaction_due(struct timer *timer, void *userdata) {
	struct sip_transaction *transaction = userdata;
	uint64_t now_us = transaction->gateway->runtime->now_us;

	(void)timer;
	switch (transaction->state) {
	case SIP_STATE_TRYING:
	case SIP_STATE_PROCEEDING:
		if (now_us >= transaction->end_us) {
			sip_respond_unavailable(transaction, "Overlay Does Not Answer", SIP_RETRY_AFTER_SECONDS);
			return;
		}
		transaction->state = SIP_STATE_PROCEEDING;
		set_response(transaction, 100, "Trying", OCTETS_NONE);
		if (transaction->end_us != USEC_NEVER)
			arm(transaction, transaction->end_us);
		return;
	case SIP_STATE_COMPLETED:
		if (now_us < transaction->end_us && transaction->interval_us > 0) {
			send_again(transaction);
			transaction->interval_us *= 2;
			if (transaction->interval_us > T2_US)
				transaction->interval_us = T2_US;
			arm(transaction, now_us + transaction->interval_us);
			return;
		}
		break;
	case SIP_STATE_CONFIRMED:
	case SIP_STATE_ACCEPTED:
		break;
	}
	sip_transaction_free(transaction);
}

/*
 * Room for one more; transactions that only wait for repetitions make place, the oldest first. The last places are for calls in
 * progress: who has begun can go on and hang up, however many others want to begin.
 */
static bool make_room(struct sip_gateway *gateway, bool begins) {
	unsigned most = LIMIT_SIP_TRANSACTIONS - (begins ? SIP_TRANSACTIONS_KEPT : 0);

	while (gateway->finished &&
	       (HASH_CNT(hh, gateway->transactions) >= most || gateway->transaction_octets > SIP_TRANSACTION_OCTETS))
		sip_transaction_free(gateway->finished);
	return HASH_CNT(hh, gateway->transactions) < most && gateway->transaction_octets <= SIP_TRANSACTION_OCTETS;
}

/* What is kept of a request: its keys, with their hashes, and the fields to repeat. */
struct texts {
	struct writer w;
	size_t merge_start, echo_start, echo_rest_start;
	unsigned key_hash, merge_hash;
	struct address reply_to;
	bool invite;
};

/* From the heap, with the texts behind it. */
static int keep(struct sip_gateway *gateway, const struct texts *texts, const struct sip_flow *flow, struct sip_transaction **ret) {
	const struct writer *w = &texts->w;
	struct sip_transaction *transaction = writer_finish(w) == 0 ? malloc(sizeof(*transaction) + w->length) : NULL;

	if (!transaction)
		return -ENOMEM;
	*transaction = (struct sip_transaction){
		.gateway = gateway,
		.flow = *flow,
		.reply_to = texts->reply_to,
		.state = SIP_STATE_TRYING,
		.invite = texts->invite,
		.key = OCTETS(transaction->room, texts->merge_start),
		.merge_key = OCTETS(&transaction->room[texts->merge_start], texts->echo_start - texts->merge_start),
		.echo = OCTETS(&transaction->room[texts->echo_start], w->length - texts->echo_start),
		.via_length = texts->echo_rest_start - texts->echo_start,
	};
	memcpy(transaction->room, w->data, w->length);
	HASH_ADD_KEYPTR_BYHASHVALUE(hh, gateway->transactions, transaction->key.data, transaction->key.length, texts->key_hash,
				    transaction);
	if (!transaction->hh.tbl) {
		free(transaction);
		return -ENOMEM;
	}
	if (transaction->merge_key.length > 0)
		HASH_ADD_KEYPTR_BYHASHVALUE(merge_hh, gateway->merges, transaction->merge_key.data, transaction->merge_key.length,
					    texts->merge_hash, transaction);
	gateway->transaction_octets += sizeof(*transaction) + w->length;
	struct sip_connection *connection = sip_connection_of(gateway, flow);
	if (connection)
		connection->pending++;
	timer_init(&transaction->timer, transaction_due, transaction);
	transaction->end_us = gateway->runtime->now_us + SIP_ANSWER_SECONDS * USEC_PER_SEC;
	arm(transaction, gateway->runtime->now_us + (transaction->invite ? TRYING_INVITE_US : TRYING_OTHER_US));
	*ret = transaction;
	return 0;
}

/* The octets written since `start`, hashed. */
static unsigned hash_since(const uint64_t key[static 2], const struct writer *w, size_t start) {
	struct reader r = reader_of_octets(writer_octets_written(w));

	reader_octets(&r, start);
	return hash_value(key, reader_rest(&r));
}

int sip_transaction_new(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
			struct sip_transaction **ret) {
	uint8_t text[2 * KEY_OCTETS + 2 * SIP_HEADER_OCTETS];
	struct texts texts = {
		.w = writer_fixed(text, sizeof(text)),
		.reply_to = sip_reply_address(request->via, flow),
		.invite = request->method == SIP_INVITE,
		.key_hash = request->key_hash,
		.merge_hash = request->merge_hash,
	};

	if (!make_room(gateway, sip_request_begins(request)))
		return -ENOBUFS;
	write_key(&texts.w, request, request->message->sip_method);
	texts.merge_start = texts.w.length;
	if (!request->hashed)
		texts.key_hash = hash_since(gateway->hash_key, &texts.w, 0);
	if (merges(request))
		write_merge_key(&texts.w, &request->frame, octets_of_string(request->from_tag), request->cseq);
	texts.echo_start = texts.w.length;
	if (!request->hashed)
		texts.merge_hash = hash_since(gateway->merge_hash_key, &texts.w, texts.merge_start);
	sip_vias_write(request, flow, &texts.w);
	texts.echo_rest_start = texts.w.length;
	sip_echo_rest_write(gateway, request, &texts.w);
	return keep(gateway, &texts, flow, ret);
}

int sip_transaction_new_plain(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow,
			      struct octets from_tag, uint32_t cseq, struct sip_transaction **ret) {
	uint8_t text[2 * KEY_OCTETS + 2 * SIP_HEADER_OCTETS];
	struct texts texts = {.w = writer_fixed(text, sizeof(text)), .reply_to = flow->remote};
	struct sip_transaction *same = NULL;

	if (!write_plain_key(&texts.w, frame->field[SIP_FIELD_VIA], frame->method))
		return -EINVAL;
	texts.key_hash = hash_since(gateway->hash_key, &texts.w, 0);
	texts.merge_start = texts.w.length;
	HASH_FIND_BYHASHVALUE(hh, gateway->transactions, text, texts.merge_start, texts.key_hash, same);
	if (same)
		return -EEXIST;
	write_merge_key(&texts.w, frame, from_tag, cseq);
	texts.merge_hash = hash_since(gateway->merge_hash_key, &texts.w, texts.merge_start);
	texts.echo_start = texts.w.length;
	HASH_FIND_BYHASHVALUE(merge_hh, gateway->merges, &text[texts.merge_start], texts.echo_start - texts.merge_start,
			      texts.merge_hash, same);
	if (same)
		return -EEXIST;
	if (!make_room(gateway, true))
		return -ENOBUFS;
	texts.reply_to.port = sip_echo_write_plain(gateway, frame, flow, &texts.w);
	texts.echo_rest_start = texts.w.length; /* nobody else sees this request */
	return keep(gateway, &texts, flow, ret);
}

void sip_transaction_own(struct sip_transaction *transaction, struct sip_transaction **owner) {
	*owner = transaction;
	transaction->owner = owner;
}
