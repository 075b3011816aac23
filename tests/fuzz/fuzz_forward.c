/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The transit decision, its edit, splitting and reassembly over arbitrary octets. Input: four octets of settings, then messages,
 * each behind two octets of length with the top bits meaning where it comes from.
 */
#include "base/cleanup.h"
#include "base/octets.h"
#include "forward.h"
#include "forward/fragment.h"
#include "mutate_message.h"
#include "support/forward_cases.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                                                                      \
	do {                                                                                                                       \
		if (!(condition))                                                                                                  \
			abort();                                                                                                   \
	} while (0)

enum { FUZZ_MESSAGES_MAX = 64, FUZZ_SETTINGS_LENGTH = 4, FUZZ_MESSAGE_LENGTH_MAX = 0x3fff };

struct fuzz {
	struct forward_case settings;
	struct forward_link links[FORWARD_CASE_SLOTS];
	struct forward_route routes[FORWARD_CASE_ROUTES];
	size_t link_count, route_count;
	struct forward_work work;
	struct runtime runtime;
	struct reassembly *reassembly;
	size_t payload_max;
};

static int fuzz_link_at(void *userdata, __u32 slot, struct forward_link *ret) {
	const struct fuzz *f = userdata;

	for (size_t i = 0; i < f->link_count; i++)
		if (f->links[i].slot == slot) {
			*ret = f->links[i];
			return 1;
		}
	return 0;
}

static int fuzz_link_of(void *userdata, const struct forward_id *id, struct forward_link *ret) {
	const struct fuzz *f = userdata;

	for (size_t i = 0; i < f->link_count; i++)
		if (f->links[i].flags & FORWARD_LINK_BOUND && forward_id_equal(&f->links[i].id, id)) {
			*ret = f->links[i];
			return 1;
		}
	return 0;
}

static int fuzz_route_at(void *userdata, __u32 index, struct forward_route *ret) {
	const struct fuzz *f = userdata;

	FUZZ_CHECK(index < f->route_count);
	*ret = f->routes[index];
	return 1;
}

/* What goes out has the lengths it says, alone and in pieces. */
static void fuzz_send(struct fuzz *f, struct octets message) {
	const struct forward_verdict *verdict = &f->work.verdict;
	_cleanup_free_ uint8_t *head = malloc(verdict->head_length);
	struct fragment_split split;
	struct fragment_piece piece;
	size_t total = 0, pieces = 0;

	FUZZ_CHECK(head);
	f->work.head = head;
	f->work.head_capacity = verdict->head_length;
	FUZZ_CHECK(forward_edit(&f->work) == (int)verdict->head_length);
	FUZZ_CHECK(verdict->rest_offset <= message.length);
	struct octets rest = OCTETS(message.data + verdict->rest_offset, message.length - verdict->rest_offset);
	FUZZ_CHECK(verdict->head_length + rest.length == verdict->length);
	FUZZ_CHECK(verdict->length <= f->work.node.max_message_size);
	FUZZ_CHECK(fragment_split_begin(&split, OCTETS(head, verdict->head_length), rest, f->payload_max) == 0);
	while (fragment_split_next(&split, &piece)) {
		size_t length = 0;

		for (size_t i = 0; i < piece.part_count; i++)
			length += piece.parts[i].iov_len;
		FUZZ_CHECK(length == piece.length && (length <= f->payload_max || split.oversize));
		total += length;
		pieces++;
	}
	FUZZ_CHECK(pieces == split.count);
	FUZZ_CHECK(total == verdict->length + (pieces - 1) * split.header_length);
}

static void fuzz_local(struct fuzz *f, struct octets message) {
	uint8_t *whole = NULL;
	size_t whole_length = 0;

	if (f->work.verdict.reason != DROP_PUNT_FRAGMENT)
		return;
	int r = reassembly_add(f->reassembly, f->work.arrival.slot, message, f->work.verdict.popped, &whole, &whole_length);
	FUZZ_CHECK((r == 1) == (whole != NULL));
	/* the decision has checked all that makes a piece malformed, but a first one may be empty */
	FUZZ_CHECK(r != -EINVAL || f->work.header.length == f->work.header.header_length);
	if (r == 1) {
		/* decided again it is for us, and whole */
		struct octets octets = OCTETS(whole, whole_length);
		f->work.octets = octets.data;
		f->work.length = (uint32_t)octets.length;
		FUZZ_CHECK(octets.length <= f->work.node.max_message_size);
		int action = forward_decide(&f->work);
		FUZZ_CHECK(action == FORWARD_LOCAL ||
			   action == FORWARD_DROP); /* as a request it may be refused where a piece was not */
		FUZZ_CHECK(f->work.verdict.reason != DROP_PUNT_FRAGMENT);
	}
	free(whole);
}

static void fuzz_message(struct fuzz *f, struct octets octets, unsigned from) {
	const struct forward_tables tables = {
		.userdata = f, .link_at = fuzz_link_at, .link_of = fuzz_link_of, .route_at = fuzz_route_at};
	_cleanup_free_ uint8_t *copy = malloc(octets.length ? octets.length : 1); /* exact */

	FUZZ_CHECK(copy);
	if (octets.length > 0)
		memcpy(copy, octets.data, octets.length);
	f->settings.arrival = (uint16_t)(1 + from * 2); /* a peer, a peer, a peer, the link that is not bound */
	f->work.arrival = forward_case_arrival(&f->settings);
	f->work.tables = &tables;
	f->work.octets = copy;
	f->work.length = (uint32_t)octets.length;
	f->work.overruns = 0;
	int action = forward_decide(&f->work);
	FUZZ_CHECK(action == f->work.verdict.action && action != FORWARD_PUNT);
	FUZZ_CHECK(f->work.verdict.reason < DROP_REASON_COUNT);
	if (action == FORWARD_DROP)
		FUZZ_CHECK(f->work.verdict.error_code == 0 || f->work.header.class == FORWARD_CLASS_REQUEST);
	else if (action == FORWARD_SEND)
		fuzz_send(f, OCTETS(copy, octets.length));
	else
		fuzz_local(f, OCTETS(copy, octets.length));
	FUZZ_CHECK(f->work.overruns == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static struct fuzz f;
	struct reader r = reader_of(data, size);
	uint8_t flags = reader_u8(&r);

	memset(&f, 0, sizeof(f));
	f.settings.own = flags & 1;
	f.settings.clear_node = (flags & 2 ? FORWARD_NODE_JOINED : 0) | (flags & 4 ? FORWARD_NODE_HAS_PREDECESSOR : 0);
	f.settings.set_node = flags & 8 ? FORWARD_NODE_VIA_NODE_ID : 0;
	f.settings.no_routes = flags & 16;
	f.settings.down_slots = (uint16_t)(reader_u8(&r) << 1);
	f.payload_max = reader_u16(&r);
	f.work.node = forward_case_node(&f.settings);
	f.work.input_flags = f.settings.own ? FORWARD_OWN : 0;
	f.link_count = forward_case_links(&f.settings, f.links);
	f.route_count = forward_case_routes(&f.settings, f.routes);
	FUZZ_CHECK(reassembly_new(&f.runtime, &f.reassembly) == 0);
	reassembly_configure(f.reassembly, 3000, f.work.node.max_message_size);
	for (unsigned i = 0; i < FUZZ_MESSAGES_MAX && reader_more(&r); i++) {
		uint16_t head = reader_u16(&r);
		size_t length = head & FUZZ_MESSAGE_LENGTH_MAX;

		if (length > reader_left(&r))
			length = reader_left(&r);
		fuzz_message(&f, reader_octets(&r, length), head >> 14);
		f.runtime.now_us += USEC_PER_SEC;
		runtime_fire(&f.runtime);
	}
	FUZZ_CHECK(reassembly_octets(f.reassembly) <= 4 << 20);
	reassembly_free(f.reassembly);
	FUZZ_CHECK(runtime_next(&f.runtime) == USEC_NEVER);
	return 0;
}

/* Where the chosen message of the input begins, behind its two octets; 0 when there is none. */
static size_t find_message(const uint8_t *data, size_t size, unsigned choice, size_t *ret_length) {
	size_t starts[FUZZ_MESSAGES_MAX], lengths[FUZZ_MESSAGES_MAX], count = 0;

	for (size_t at = FUZZ_SETTINGS_LENGTH; at + 2 <= size && count < FUZZ_MESSAGES_MAX; at += 2 + lengths[count++]) {
		lengths[count] = (data[at] << 8 | data[at + 1]) & FUZZ_MESSAGE_LENGTH_MAX;
		if (lengths[count] > size - at - 2)
			lengths[count] = size - at - 2;
		starts[count] = at + 2;
	}
	if (count == 0)
		return 0;
	*ret_length = lengths[choice % count];
	return starts[choice % count];
}

/* One message of the input changes; its length in front of it and what follows move with it. */
static size_t mutate_one(uint8_t *data, size_t size, size_t max, unsigned seed) {
	static uint8_t message[MUTATE_MESSAGE_MAX];
	size_t length = 0, start = find_message(data, size, seed / MUTATE_CHOICES, &length);

	if (start == 0 || length > sizeof(message))
		return 0;
	memcpy(message, data + start, length);
	size_t rest = size - start - length, changed = mutate_message(message, length, sizeof(message), seed);
	if (changed == 0 || start + changed + rest > max)
		return 0;
	memmove(data + start + changed, data + start + length, rest);
	memcpy(data + start, message, changed);
	data[start - 2] = (uint8_t)((data[start - 2] & 0xc0) | changed >> 8);
	data[start - 1] = (uint8_t)changed;
	return start + changed + rest;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
	size_t mutated = seed & 1 ? mutate_one(data, size, max, seed >> 1) : 0;

	return mutated > 0 ? mutated : LLVMFuzzerMutate(data, size, max);
}
