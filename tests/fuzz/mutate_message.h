/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mutations that know how a RELOAD message is built: one part of it changes, and every length around it follows, so that the change
 * reaches the code behind the checks of lengths. To be included by one file of a target.
 */
#pragma once

#include <string.h>

#include "base/cleanup.h"
#include "wire/message.h"

/* libFuzzer's own; not there when a corpus is only replayed. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

enum mutate_part {
	MUTATE_VIA_LIST,
	MUTATE_DESTINATION_LIST,
	MUTATE_OPTIONS,
	MUTATE_BODY,
	MUTATE_EXTENSIONS,
	MUTATE_CERTIFICATES,
	MUTATE_SIGNATURE,
	MUTATE_PARTS,
	MUTATE_FIXED_FIELDS = MUTATE_PARTS,
	MUTATE_CHOICES,
};

enum { MUTATE_MESSAGE_MAX = 8192, MUTATE_FIXED_LENGTH = 38 /* octets in front of the lists */ };

struct mutate_message {
	struct forwarding_header header;
	uint16_t code;
	struct octets parts[MUTATE_PARTS];
};

static inline int mutate_take_apart(struct octets octets, struct mutate_message *ret) {
	struct reader r = reader_of_octets(octets);

	if (forwarding_header_read(&r, &ret->header) < 0)
		return -1;
	ret->code = reader_u16(&r);
	ret->parts[MUTATE_VIA_LIST] = ret->header.via_list;
	ret->parts[MUTATE_DESTINATION_LIST] = ret->header.destination_list;
	ret->parts[MUTATE_OPTIONS] = ret->header.options;
	ret->parts[MUTATE_BODY] = reader_vector32(&r);
	ret->parts[MUTATE_EXTENSIONS] = reader_vector32(&r);
	ret->parts[MUTATE_CERTIFICATES] = reader_vector16(&r);
	ret->parts[MUTATE_SIGNATURE] = reader_rest(&r);
	return r.error;
}

static inline size_t mutate_put_together(struct mutate_message *m, uint8_t *data, size_t max) {
	struct writer w = writer_fixed(data, max);

	m->header.via_list = m->parts[MUTATE_VIA_LIST];
	m->header.destination_list = m->parts[MUTATE_DESTINATION_LIST];
	m->header.options = m->parts[MUTATE_OPTIONS];
	forwarding_header_write(&w, &m->header);
	writer_u16(&w, m->code);
	writer_vector32(&w, m->parts[MUTATE_BODY]);
	writer_vector32(&w, m->parts[MUTATE_EXTENSIONS]);
	writer_vector16(&w, m->parts[MUTATE_CERTIFICATES]);
	writer_octets(&w, m->parts[MUTATE_SIGNATURE]);
	message_write_length(&w, 0);
	return w.error < 0 ? 0 : w.length;
}

/* Changes one part. Returns the new length, 0 when this is no message or there is no room for what it became. */
static inline size_t mutate_message(uint8_t *data, size_t size, size_t max, unsigned seed) {
	static uint8_t whole[MUTATE_MESSAGE_MAX], part[MUTATE_MESSAGE_MAX];
	unsigned choice = seed % MUTATE_CHOICES;
	struct mutate_message m;

	if (size > sizeof(whole) || size < MUTATE_FIXED_LENGTH)
		return 0;
	if (choice == MUTATE_FIXED_FIELDS)
		return LLVMFuzzerMutate(data, MUTATE_FIXED_LENGTH, MUTATE_FIXED_LENGTH) == MUTATE_FIXED_LENGTH ? size : 0;
	memcpy(whole, data, size);
	if (mutate_take_apart(OCTETS(whole, size), &m) < 0)
		return 0;
	struct octets *chosen = &m.parts[choice];
	if (chosen->length > 0)
		memcpy(part, chosen->data, chosen->length);
	*chosen = OCTETS(part, LLVMFuzzerMutate(part, chosen->length, sizeof(part)));
	return mutate_put_together(&m, data, max);
}
