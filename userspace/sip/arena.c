/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory for what the parser makes of one message. It asks for some sixty small pieces that all live as long as the request does:
 * here each is the next few octets of one array, and all are given back at once. What does not fit comes from the heap.
 */
#include "sip/internal.h"

#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_OCTETS = 48 << 10, HEAD_OCTETS = 16 /* in front of each piece: its size; between two of them nobody may look */ };

static struct {
	_Alignas(16) uint8_t octets[ARENA_OCTETS];
	size_t used;
	bool taken, spilled;
} arena;

/* Only the thread that has taken it gets pieces of it. */
static _Thread_local bool open;

static void *arena_piece(size_t size) {
	if (size > ARENA_OCTETS - HEAD_OCTETS)
		return NULL;
	size_t whole = HEAD_OCTETS + ((size + 15) & ~(size_t)15);
	if (whole > ARENA_OCTETS - arena.used)
		return NULL;
	uint8_t *head = &arena.octets[arena.used];
	ASAN_UNPOISON_MEMORY_REGION(head, HEAD_OCTETS + size);
	memcpy(head, &size, sizeof(size));
	ASAN_POISON_MEMORY_REGION(head, HEAD_OCTETS);
	arena.used += whole;
	return head + HEAD_OCTETS;
}

static void *piece_new(size_t size) {
	void *piece = open ? arena_piece(size) : NULL;

	if (piece)
		return piece;
	arena.spilled = arena.spilled || open;
	return malloc(size);
}

static void piece_free(void *piece) {
	if (!sip_arena_owns(piece))
		free(piece);
}

static void *piece_resize(void *piece, size_t size) {
	size_t former = 0;

	if (!sip_arena_owns(piece))
		return realloc(piece, size);
	uint8_t *head = (uint8_t *)piece - HEAD_OCTETS;
	ASAN_UNPOISON_MEMORY_REGION(head, HEAD_OCTETS);
	memcpy(&former, head, sizeof(former));
	ASAN_POISON_MEMORY_REGION(head, HEAD_OCTETS);
	void *other = piece_new(size);
	if (other)
		memcpy(other, piece, former < size ? former : size);
	return other;
}

bool sip_arena_owns(const void *piece) {
	uintptr_t at = (uintptr_t)piece, start = (uintptr_t)arena.octets;

	return at >= start && at - start < ARENA_OCTETS;
}

void sip_arena_prepare(void) {
	osip_set_allocators(piece_new, piece_resize, piece_free);
	if (!arena.taken)
		ASAN_POISON_MEMORY_REGION(arena.octets, ARENA_OCTETS);
}

bool sip_arena_begin(void) {
	if (arena.taken)
		return false;
	arena.taken = open = true;
	return true;
}

void sip_arena_pause(void) {
	open = false;
}

bool sip_arena_spilled(void) {
	return arena.spilled;
}

void sip_arena_end(void) {
	ASAN_POISON_MEMORY_REGION(arena.octets, arena.used);
	arena.used = 0;
	arena.taken = arena.spilled = open = false;
}
