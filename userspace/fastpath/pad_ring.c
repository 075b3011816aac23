/* SPDX-License-Identifier: BSD-2-Clause */
#include "fastpath/pad_ring.h"

#include "link/record.h"

#include <errno.h>
#include <string.h>

enum { BATCH = 32 }; /* pads made at once: as many as the widest method has lanes */

_Static_assert(FASTPATH_PAD_KEYSTREAM % PAD_BLOCK == 0 && PAD_LENGTH_FIRST % PAD_BLOCK == 0, "whole blocks");
_Static_assert(sizeof(((struct fastpath_pad *)NULL)->poly_key) == PAD_POLY_KEY, "layout");

struct pad_ring {
	struct pad_ring_config config;
	uint64_t allowed[FASTPATH_PAD_RING]; /* lowest number that may still be made for a place: none is made twice */
	uint32_t history[PAD_LENGTH_HISTORY];
	unsigned history_next;
	bool unchecked; /* pads of an earlier run are in the ring */
	struct pad_ring_statistics statistics;
};

/* Pads being made. */
struct batch {
	struct fastpath_pad *pads[BATCH];
	struct pad_job jobs[BATCH];
	size_t count;
};

static void count_up(uint64_t *counter, uint64_t by) {
	__atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED); /* one writer */
}

/* Epoch and number, 0 when cleared. */
static uint64_t pad_held(const struct fastpath_pad *pad) {
	return __atomic_load_n(&pad->number, __ATOMIC_ACQUIRE);
}

/* Consumers see number 0 before anything else of the pad changes. Returns what stood there. */
static uint64_t pad_clear(struct fastpath_pad *pad) {
	uint64_t held = __atomic_exchange_n(&pad->number, 0, __ATOMIC_ACQ_REL);

	__atomic_thread_fence(__ATOMIC_RELEASE);
	return held;
}

static void pad_wipe(struct fastpath_pad *pad) {
	pad_clear(pad);
	octets_wipe(&pad->length, sizeof(*pad) - offsetof(struct fastpath_pad, length));
}

static void ring_reset(struct pad_ring *ring) {
	for (unsigned place = 0; place < FASTPATH_PAD_RING; place++)
		ring->allowed[place] = place > 0 ? place : FASTPATH_PAD_RING; /* record 0 was the handshake's */
	memset(ring->history, 0, sizeof(ring->history));
	ring->history_next = 0;
	__atomic_store_n(&ring->statistics.length, PAD_LENGTH_FIRST, __ATOMIC_RELAXED);
}

int pad_ring_new(const struct pad_ring_config *config, struct pad_ring **ret) {
	struct pad_ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return -ENOMEM;
	ring->config = *config;
	ring->unchecked = config->adopt;
	ring_reset(ring);
	if (!config->adopt)
		pad_ring_wipe(ring);
	*ret = ring;
	return 0;
}

struct pad_ring *pad_ring_free(struct pad_ring *ring) {
	if (ring)
		octets_wipe(ring, sizeof(*ring));
	free(ring);
	return NULL;
}

void pad_ring_wipe(struct pad_ring *ring) {
	for (unsigned place = 0; place < FASTPATH_PAD_RING; place++)
		pad_wipe(&ring->config.pads[place]);
	ring_reset(ring);
	ring->unchecked = false;
}

static void batch_add(struct batch *batch, struct fastpath_pad *pad, uint64_t sequence) {
	batch->pads[batch->count] = pad;
	batch->jobs[batch->count++] = (struct pad_job){
		.sequence = sequence,
		.poly_key = pad->poly_key,
		.keystream = pad->keystream,
	};
}

/* Pads of an earlier run stay only if they are of this key and in their place, which their Poly1305 keys tell. */
static int ring_check(struct pad_ring *ring, struct pad_maker *maker) {
	uint8_t expected[PAD_POLY_KEY];
	int result = 0;

	for (unsigned place = 0; place < FASTPATH_PAD_RING && result == 0; place++) {
		struct fastpath_pad *pad = &ring->config.pads[place];
		uint64_t held = pad_held(pad);
		struct pad_job job = {.sequence = held, .poly_key = expected, .keystream = expected};

		if (held == 0)
			continue;
		result = pad_maker_make(maker, &ring->config.key, &job, 1, 0, 0);
		if (result < 0)
			break;
		if (held >> 48 == RECORD_EPOCH && held % FASTPATH_PAD_RING == place && pad->length <= FASTPATH_PAD_KEYSTREAM &&
		    pad->length % PAD_BLOCK == 0 && octets_equal_secret(expected, pad->poly_key, sizeof(expected)))
			ring->allowed[place] = (held & RECORD_NUMBER_MAX) + FASTPATH_PAD_RING;
		else
			pad_wipe(pad);
	}
	octets_wipe(expected, sizeof(expected));
	ring->unchecked = result < 0;
	return result;
}

/* Octets of keystream of new pads: what the longest record of the last refills needed. */
static uint32_t ring_length(struct pad_ring *ring) {
	uint32_t longest = 0, seen = __atomic_exchange_n(ring->config.longest, 0, __ATOMIC_RELAXED);

	if (seen == 0 && ring->history[0] == 0) { /* nothing is known yet */
		for (unsigned i = 0; i < PAD_LENGTH_HISTORY; i++)
			ring->history[i] = PAD_LENGTH_FIRST;
	}
	if (seen == 0)
		seen = PAD_BLOCK; /* acks alone, which are not counted */
	ring->history[ring->history_next++ % PAD_LENGTH_HISTORY] = seen;
	for (unsigned i = 0; i < PAD_LENGTH_HISTORY; i++)
		longest = ring->history[i] > longest ? ring->history[i] : longest;
	if (longest > FASTPATH_PAD_KEYSTREAM)
		longest = FASTPATH_PAD_KEYSTREAM;
	longest = (longest + PAD_BLOCK - 1) / PAD_BLOCK * PAD_BLOCK;
	__atomic_store_n(&ring->statistics.length, longest, __ATOMIC_RELAXED);
	return longest;
}

/* The number that a place which holds `held` shall get now, or 0 when it stays as it is. */
static uint64_t place_number(const struct pad_ring *ring, unsigned place, uint64_t held, uint64_t next) {
	unsigned behind = ring->config.direction == PAD_RECEIVE ? PAD_RECEIVE_BEHIND : PAD_TRANSMIT_BEHIND;
	uint64_t number = next + (place - next) % FASTPATH_PAD_RING;

	if (next > RECORD_NUMBER_MAX || (held != 0 && (held & RECORD_NUMBER_MAX) + behind >= next))
		return 0;
	if (number < ring->allowed[place])
		number = ring->allowed[place];
	if (number > RECORD_NUMBER_MAX || number - next >= 2 * FASTPATH_PAD_RING)
		return 0;
	return number;
}

static int batch_fill(struct pad_ring *ring, struct pad_maker *maker, struct batch *batch, uint32_t length) {
	uint64_t left = 0;

	for (size_t i = 0; i < batch->count; i++)
		left += pad_clear(batch->pads[i]) != 0;
	int result = pad_maker_make(maker, &ring->config.key, batch->jobs, batch->count, 0, length);
	if (result < 0)
		return result; /* cleared they stay */
	for (size_t i = 0; i < batch->count; i++) {
		struct fastpath_pad *pad = batch->pads[i];
		uint64_t sequence = batch->jobs[i].sequence, number = sequence & RECORD_NUMBER_MAX;

		__atomic_store_n(&pad->length, length, __ATOMIC_RELAXED);
		__atomic_store_n(&pad->number, sequence, __ATOMIC_RELEASE);
		ring->allowed[number % FASTPATH_PAD_RING] = number + FASTPATH_PAD_RING;
	}
	count_up(&ring->statistics.made, batch->count);
	count_up(&ring->statistics.left, left);
	batch->count = 0;
	return 0;
}

static int ring_fill(struct pad_ring *ring, struct pad_maker *maker, uint64_t next, uint32_t length) {
	struct batch batch = {.count = 0};
	int result, made = 0;

	for (unsigned ahead = 0; ahead < FASTPATH_PAD_RING; ahead++) {
		unsigned place = (unsigned)((next + ahead) % FASTPATH_PAD_RING);
		struct fastpath_pad *pad = &ring->config.pads[place];
		uint64_t number = place_number(ring, place, pad_held(pad), next);

		if (number == 0)
			continue;
		batch_add(&batch, pad, pad_sequence(RECORD_EPOCH, number));
		made++;
		if (batch.count < BATCH)
			continue;
		result = batch_fill(ring, maker, &batch, length);
		if (result < 0)
			return result;
	}
	result = batch.count > 0 ? batch_fill(ring, maker, &batch, length) : 0;
	return result < 0 ? result : made;
}

static int batch_lengthen(struct pad_ring *ring, struct pad_maker *maker, struct batch *batch, uint32_t length) {
	uint32_t from = length;

	for (size_t i = 0; i < batch->count; i++)
		from = batch->pads[i]->length < from ? batch->pads[i]->length : from;
	int result = pad_maker_make(maker, &ring->config.key, batch->jobs, batch->count, from, length);
	if (result < 0)
		return result;
	for (size_t i = 0; i < batch->count; i++)
		__atomic_store_n(&batch->pads[i]->length, length, __ATOMIC_RELEASE);
	count_up(&ring->statistics.lengthened, batch->count);
	batch->count = 0;
	return 0;
}

/* Records became longer than the pads that wait for them: what is missing is added behind what stands there. */
static int ring_lengthen(struct pad_ring *ring, struct pad_maker *maker, uint64_t next, uint32_t length) {
	struct batch batch = {.count = 0};

	for (unsigned ahead = 0; ahead < FASTPATH_PAD_RING; ahead++) {
		struct fastpath_pad *pad = &ring->config.pads[(next + ahead) % FASTPATH_PAD_RING];
		uint64_t held = pad_held(pad);

		if (held == 0 || (held & RECORD_NUMBER_MAX) < next || pad->length >= length)
			continue;
		batch_add(&batch, pad, held);
		if (batch.count < BATCH)
			continue;
		int result = batch_lengthen(ring, maker, &batch, length);
		if (result < 0)
			return result;
	}
	return batch.count > 0 ? batch_lengthen(ring, maker, &batch, length) : 0;
}

int pad_ring_refill(struct pad_ring *ring, struct pad_maker *maker) {
	const uint32_t length = ring_length(ring);
	const uint64_t next = __atomic_load_n(ring->config.next, __ATOMIC_ACQUIRE);
	int result = 0;

	if (ring->unchecked)
		result = ring_check(ring, maker);
	if (result == 0)
		result = ring_lengthen(ring, maker, next, length);
	if (result < 0)
		return result;
	result = ring_fill(ring, maker, next, length);
	if (result > 0)
		count_up(&ring->statistics.refills, 1);
	return result;
}

void pad_ring_statistics(const struct pad_ring *ring, struct pad_ring_statistics *ret) {
	ret->made = __atomic_load_n(&ring->statistics.made, __ATOMIC_RELAXED);
	ret->left = __atomic_load_n(&ring->statistics.left, __ATOMIC_RELAXED);
	ret->lengthened = __atomic_load_n(&ring->statistics.lengthened, __ATOMIC_RELAXED);
	ret->refills = __atomic_load_n(&ring->statistics.refills, __ATOMIC_RELAXED);
	ret->length = __atomic_load_n(&ring->statistics.length, __ATOMIC_RELAXED);
}
