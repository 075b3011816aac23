/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Answers to requests, and the memory of them: a retransmission within the maximum request lifetime gets the same answer without
 * its handler being called again (B-6.2.1-06). The key is (signer's Node-ID, transaction_id). Of an answer only contents and
 * security block are kept, since a retransmission may come by another way and is answered along that one.
 *
 * At LIMIT_ANSWERS_REMEMBERED or LIMIT_ANSWER_OCTETS the oldest answer is forgotten; its retransmission would be handled anew.
 */
#include "forward/internal.h"

#include <stdarg.h>

enum {
	OWN_PREFIX = 32,		       /* octets of a certificate up to and including most of its serial number */
	ANSWER_LINGER_US = 300 * USEC_PER_SEC, /* expired answers of a node that gives no others are kept at most so much longer */
};

struct answer_key {
	uint64_t transaction_id;
	struct id signer;
	uint8_t zero[3]; /* the key is compared as octets */
};

struct answer_entry {
	struct answer_key key;
	struct open_request *open; /* not answered yet */
	uint8_t *rest;		   /* contents and security block */
	size_t rest_length;
	struct certificate *left_out; /* whose octets stood at `hole`; NULL: nothing is left out */
	size_t hole;
	uint16_t code;
	uint64_t expires_us;
	struct answer_entry *newer; /* answered ones form a list in order of their expiry */
	UT_hash_handle hh;
};

/* Link and lists along which one copy of a request came. */
struct return_path {
	const struct request *request;
	uint64_t serial; /* of its link */
};

static struct answer_key answer_key_of(const struct request *request) {
	struct answer_key key;

	memset(&key, 0, sizeof(key));
	key.transaction_id = request->message.header.transaction_id;
	key.signer.length = request->signer_id.length;
	memcpy(key.signer.octets, request->signer_id.octets, sizeof(key.signer.octets));
	return key;
}

static uint64_t request_lifetime_us(const struct router *router) {
	return (uint64_t)trust_config(router->trust)->reliability_timer_ms * USEC_PER_MSEC * ROUTER_SENDS_MAX; /* */
}

/* ---- sending ---- */

/*
 * The Node-ID in front of the answer's destination list. Over an unbound link (FW-B12) that is the signer when it is the adjacent
 * node itself, else the wildcard, which its first receiver consumes.
 */
static struct id answer_first_hop(struct router *router, const struct request *request) {
	if (!id_is_none(&request->previous_hop))
		return request->previous_hop;
	const struct certificate *adjacent = connection_certificate(router, request->slot);
	if (adjacent && certificate_has_node_id(adjacent, &request->signer_id))
		return request->signer_id;
	return id_wildcard(router->self.length);
}

static void answer_destination(struct router *router, const struct request *request, struct writer *w) {
	w->node_id_length = router->self.length;
	if (request->slot == LINK_SLOT_NONE) {
		destination_write_node(w, &router->self);
		return;
	}
	struct id first = answer_first_hop(router, request);
	destination_write_node(w, &first);
	int error = destination_write_reversed(w, request->message.header.via_list); /* B-6.2.2-01 */
	if (error < 0)
		writer_fail(w, error);
}

/* Options marked RESPONSE_COPY, without the flags an answer never carries (B-6.3.2.3-03, B-6.3.2.3-04). */
static void answer_options(struct octets options, struct writer *w) {
	struct reader list = reader_of_octets(options);
	struct forwarding_option option;

	while (forwarding_option_next(&list, &option) == 1) {
		if (!(option.flags & OPTION_RESPONSE_COPY))
			continue;
		option.flags &= (uint8_t) ~(OPTION_FORWARD_CRITICAL | OPTION_DESTINATION_CRITICAL | OPTION_RESPONSE_COPY);
		forwarding_option_write(w, &option);
	}
}

static int answer_send(struct router *router, const struct return_path *path, struct octets rest, uint16_t code) {
	const struct request *request = path->request;
	struct writer destination = writer_growing(UINT16_MAX), options = writer_growing(UINT16_MAX);

	answer_destination(router, request, &destination);
	answer_options(request->message.header.options, &options);
	int error = writer_finish(&destination) < 0 ? writer_finish(&destination) : writer_finish(&options);
	if (error == 0) {
		struct forwarding_header header = router_header(router, request->message.header.transaction_id);
		header.destination_list = writer_octets_written(&destination);
		header.options = writer_octets_written(&options);
		bool there = request->slot != LINK_SLOT_NONE && connection_is(router, request->slot, path->serial);
		error = router_originate(router, &header, rest, code, there ? request->slot : LINK_SLOT_NONE);
	}
	writer_release(&destination);
	writer_release(&options);
	return error;
}

/* ---- memory ---- */

static void entry_free(struct router *router, struct answer_entry *entry) {
	HASH_DEL(router->answers, entry);
	certificate_unref(entry->left_out);
	free(entry->rest);
	free(entry);
}

static void answer_forget_oldest(struct router *router) {
	struct answer_entry *oldest = router->answer_first;

	router->answer_first = oldest->newer;
	if (!router->answer_first)
		router->answer_last = NULL;
	router->answer_count--;
	router->answer_octets -= oldest->rest_length;
	entry_free(router, oldest);
}

static void answer_forget_expired(struct router *router) {
	while (router->answer_first && router->answer_first->expires_us <= router->runtime->now_us)
		answer_forget_oldest(router);
}

/* Expired ones go when another comes; the timer is for nodes that fall silent, and need not wake them for each answer. */
static void answer_expire(struct timer *timer, void *userdata) {
	struct router *router = userdata;

	answer_forget_expired(router);
	if (router->answer_first)
		timer_arm(router->runtime, timer, router->answer_first->expires_us + ANSWER_LINGER_US);
}

/* Keeps `rest`, which it takes, without the octets of our certificate. */
static void entry_keep(struct answer_entry *entry, struct certificate *own, uint8_t *rest, size_t length) {
	/* A certificate is known by its serial number; comparing all of it at every place would take much longer. */
	uint8_t *found = memmem(rest, length, own->der, own->der_length < OWN_PREFIX ? own->der_length : OWN_PREFIX);

	if (found && length - (size_t)(found - rest) >= own->der_length && memcmp(found, own->der, own->der_length) == 0) {
		entry->hole = (size_t)(found - rest);
		entry->left_out = certificate_ref(own);
		length -= own->der_length;
		memmove(found, found + own->der_length, length - entry->hole);
	}
	uint8_t *fitting = realloc(rest, length); /* it grew by doubling, and stays for a while */
	entry->rest = fitting ? fitting : rest;
	entry->rest_length = length;
}

static int entry_send(struct router *router, const struct answer_entry *entry, const struct return_path *path) {
	struct octets kept = OCTETS(entry->rest, entry->rest_length);

	if (!entry->left_out)
		return answer_send(router, path, kept, entry->code);
	struct writer whole = writer_growing(UINT32_MAX);
	writer_octets(&whole, OCTETS(kept.data, entry->hole));
	writer_octets(&whole, OCTETS(entry->left_out->der, entry->left_out->der_length));
	writer_octets(&whole, OCTETS(kept.data + entry->hole, kept.length - entry->hole));
	int error = writer_finish(&whole);
	if (error == 0)
		error = answer_send(router, path, writer_octets_written(&whole), entry->code);
	writer_release(&whole);
	return error;
}

/* Takes `rest`. */
static void answer_remember(struct router *router, struct answer_entry *entry, uint16_t code, uint8_t *rest, size_t length) {
	uint64_t expires_us = router->runtime->now_us + request_lifetime_us(router);

	answer_forget_expired(router);
	entry->open = NULL;
	entry->code = code;
	entry_keep(entry, router->credential->certificate, rest, length);
	/* A shortened timer must not break the order. */
	entry->expires_us =
		router->answer_last && router->answer_last->expires_us > expires_us ? router->answer_last->expires_us : expires_us;
	if (router->answer_last)
		router->answer_last->newer = entry;
	else
		router->answer_first = entry;
	router->answer_last = entry;
	router->answer_count++;
	router->answer_octets += entry->rest_length;
	while (router->answer_count > LIMIT_ANSWERS_REMEMBERED ||
	       (router->answer_octets > LIMIT_ANSWER_OCTETS && router->answer_count > 1))
		answer_forget_oldest(router);
	if (!router->answer_timer.armed)
		timer_arm(router->runtime, &router->answer_timer, router->answer_first->expires_us + ANSWER_LINGER_US);
}

enum answer_state answer_seen(struct router *router, const struct request *seen) {
	struct answer_key key = answer_key_of(seen);
	struct answer_entry *entry;

	HASH_FIND(hh, router->answers, &key, sizeof(key), entry);
	if (!entry)
		return ANSWER_NEW;
	if (entry->open)
		return ANSWER_WORKING;
	if (entry->expires_us <= router->runtime->now_us) {
		answer_forget_expired(router);
		return ANSWER_NEW;
	}
	const struct router_link *link = connection_link(router, seen->slot);
	struct return_path path = {.request = seen, .serial = link ? link->serial : 0};
	router->counters.duplicates_answered++;
	entry_send(router, entry, &path);
	return ANSWER_SENT;
}

int answer_open(struct router *router, const struct request *seen, struct octets message, struct open_request **ret) {
	if (router->request_count >= LIMIT_REQUESTS_OPEN)
		return -ENOBUFS;
	struct open_request *open = calloc(1, sizeof(*open));
	struct answer_entry *entry = calloc(1, sizeof(*entry));
	uint8_t *octets = malloc(message.length);
	if (!open || !entry || !octets) {
		free(open);
		free(entry);
		free(octets);
		return -ENOMEM;
	}
	memcpy(octets, message.data, message.length);
	open->request = *seen;
	open->octets = octets;
	message_read(OCTETS(octets, message.length), router->self.length, &open->request.message); /* was read before */
	const struct router_link *link = connection_link(router, seen->slot);
	open->serial = link ? link->serial : 0;
	entry->key = answer_key_of(seen);
	entry->open = open;
	open->entry = entry;
	HASH_ADD(hh, router->answers, key, sizeof(entry->key), entry);
	if (!entry->hh.tbl) {
		free(open);
		free(entry);
		free(octets);
		return -ENOMEM;
	}
	DL_APPEND(router->requests, open);
	router->request_count++;
	*ret = open;
	return 0;
}

static void open_free(struct open_request *open) {
	struct router *router = open->request.router;

	if (router) {
		if (open->entry)
			entry_free(router, open->entry);
		DL_DELETE(router->requests, open);
		router->request_count--;
	}
	certificate_bucket_release(&open->request.bucket);
	free(open->octets);
	free(open);
}

/* ---- what handlers call ---- */

/* Would this answer exceed what the requester allows (B-6.3.2-12), or what links carry? */
static bool answer_too_large(struct router *router, const struct request *request, size_t rest_length) {
	uint32_t wanted = request->message.header.max_response_length, most = trust_config(router->trust)->max_message_size;
	struct writer head = writer_growing(2 * UINT16_MAX);

	answer_destination(router, request, &head);
	answer_options(request->message.header.options, &head);
	size_t size = FORWARDING_HEADER_FIXED + head.length + rest_length;
	writer_release(&head);
	return size > most || (wanted != 0 && size > wanted);
}

static void request_end(struct request *request, uint16_t code, struct octets body, const struct certificate_bucket *extra) {
	struct open_request *open = container_of(request, struct open_request, request);
	struct router *router = request->router;
	struct return_path path = {.request = request, .serial = open->serial};
	uint64_t transaction_id = request->message.header.transaction_id;
	uint8_t *rest = NULL, oversize[4];
	size_t length = 0;

	if (!router) { /* it was freed while the handler worked */
		open_free(open);
		return;
	}
	int error = router_make_rest(router, router->credential, transaction_id, code, body, OCTETS_NONE, extra, &rest, &length);
	if (error == -EMSGSIZE || (error == 0 && code != MESSAGE_ERROR && answer_too_large(router, request, length))) {
		struct writer w = writer_fixed(oversize, sizeof(oversize));
		error_response_write(&w, ERROR_RESPONSE_TOO_LARGE, OCTETS_NONE); /* */
		free(TAKE(rest));
		code = MESSAGE_ERROR;
		error = router_make_rest(router, router->credential, transaction_id, code, writer_octets_written(&w), OCTETS_NONE,
					 NULL, &rest, &length);
	}
	if (error < 0) {
		log_warning("An answer cannot be made: %s.", strerror(-error));
		open_free(open);
		return;
	}
	if (code == MESSAGE_ERROR)
		router->counters.errors_sent++;
	answer_send(router, &path, OCTETS(rest, length), code);
	if (open->forgettable)
		free(rest);
	else
		answer_remember(router, TAKE(open->entry), code, rest, length);
	open_free(open);
}

void request_answer(struct request *request, struct octets body, const struct certificate_bucket *extra) {
	request_end(request, (uint16_t)(request->message.contents.code + 1), body, extra);
}

void request_fail(struct request *request, uint16_t error_code, struct octets info) {
	struct writer body = writer_growing(UINT16_MAX + 4);

	error_response_write(&body, error_code, info);
	if (writer_finish(&body) < 0) { /* too long, or no memory: the code matters most */
		writer_release(&body);
		body = writer_growing(UINT16_MAX + 4);
		error_response_write(&body, error_code, OCTETS_NONE);
	}
	request_end(request, MESSAGE_ERROR, writer_octets_written(&body), NULL); /* B-6.3.3.1-01 */
	writer_release(&body);
}

void request_fail_text(struct request *request, uint16_t error_code, const char *format, ...) {
	char text[ROUTER_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	request_fail(request, error_code, octets_of_string(text));
}

void request_drop(struct request *request) {
	open_free(container_of(request, struct open_request, request));
}

/* ---- errors about messages in transit ---- */

static bool transit_error_allowed(struct router *router) {
	uint64_t now_us = router->runtime->now_us;

	if (now_us - router->error_window_us >= USEC_PER_SEC) {
		router->error_window_us = now_us;
		router->errors_in_window = 0;
	}
	return router->errors_in_window++ < LIMIT_ERRORS_PER_SECOND;
}

void answer_transit_error(struct router *router, uint16_t slot, const struct forwarding_header *header, uint16_t error_code,
			  const char *text) {
	const struct router_link *link = connection_link(router, slot);
	uint8_t body[4 + ROUTER_TEXT_MAX], *rest = NULL;
	size_t length = 0;

	if (!link)
		return;
	if (!transit_error_allowed(router)) {
		router->counters.dropped[DROP_ERROR_RATE]++;
		return;
	}
	struct request request = {
		.router = router,
		.message = {.header = *header},
		.slot = slot,
		.previous_hop = link->connection.peer,
	};
	struct return_path path = {.request = &request, .serial = link->serial};
	struct writer w = writer_fixed(body, sizeof(body));
	error_response_write(&w, error_code, octets_of_string(text));
	int error = router_make_rest(router, router->credential, header->transaction_id, MESSAGE_ERROR, writer_octets_written(&w),
				     OCTETS_NONE, NULL, &rest, &length);
	if (error == 0 && !answer_too_large(router, &request, length)) {
		router->counters.errors_sent++;
		answer_send(router, &path, OCTETS(rest, length), MESSAGE_ERROR);
	}
	free(rest);
}

/* ---- life cycle ---- */

void answer_init(struct router *router) {
	timer_init(&router->answer_timer, answer_expire, router);
}

void answer_release(struct router *router) {
	struct open_request *open, *next;

	/* Their handlers still hold them and end them later. */
	DL_FOREACH_SAFE (router->requests, open, next) {
		DL_DELETE(router->requests, open);
		entry_free(router, TAKE(open->entry));
		open->request.router = NULL;
	}
	while (router->answer_first)
		answer_forget_oldest(router);
	timer_disarm(router->runtime, &router->answer_timer);
}
