/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory for what the parser makes of one message. It asks for some sixty small pieces that all live as long as the request does:
 * here each is the next few octets of one array, and all are given back at once. What does not fit comes from the heap.
 */
#include "sip/internal.h"

#include <errno.h>
#include <malloc.h>
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>

enum {
	ARENA_OCTETS = 48 << 10,
	RESERVE_OCTETS = 32 << 10,
	HEAD_OCTETS = 16 /* in front of each piece: its size; between two of them nobody may look */
};

static struct {
	_Alignas(16) uint8_t octets[ARENA_OCTETS];
	size_t used;
	bool taken, spilled;
} arena;

/* Only the thread that has taken it gets pieces of it. */
static _Thread_local bool open;

/* Since sip_parsed() was asked. */
static _Thread_local bool refused;

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

/*
 * libosip2 5.3 does not look whether it got the memory it asked to resize (osip_via_to_str(), osip_uri_to_str()). When there is
 * none left it gets this, for as long as it takes to give an answer up: pieces one behind the other, until all have been freed.
 */
static _Thread_local struct {
	_Alignas(16) uint8_t octets[RESERVE_OCTETS];
	size_t used, last;
	unsigned pieces;
} reserve;

static bool in_reserve(const void *piece) {
	uintptr_t at = (uintptr_t)piece, start = (uintptr_t)reserve.octets;

	return at >= start && at - start < RESERVE_OCTETS;
}

static void *reserve_piece(size_t size) {
	refused = true;
	if (size > RESERVE_OCTETS - reserve.used)
		return NULL;
	reserve.last = reserve.used;
	reserve.used += (size + 15) & ~(size_t)15;
	if (reserve.used > RESERVE_OCTETS)
		reserve.used = RESERVE_OCTETS;
	reserve.pieces++;
	return &reserve.octets[reserve.last];
}

/* The last piece grows where it is. Of another it is not known how long it is: no longer than up to the end of what is used. */
static void *reserve_resize(void *piece, size_t size) {
	size_t at = (size_t)((uint8_t *)piece - reserve.octets), room = reserve.used - at;

	if (at == reserve.last) {
		if (size > RESERVE_OCTETS - at)
			return NULL;
		size_t end = at + ((size + 15) & ~(size_t)15);
		reserve.used = end < RESERVE_OCTETS ? end : RESERVE_OCTETS;
		return piece;
	}
	void *other = reserve_piece(size);
	if (other) {
		memcpy(other, piece, room < size ? room : size);
		reserve.pieces--;
	}
	return other;
}

static void *heap_resize(void *piece, size_t size) {
	void *resized = realloc(piece, size);

	if (resized || size == 0)
		return resized;
	resized = reserve_piece(size);
	if (resized && piece) {
		memcpy(resized, piece, malloc_usable_size(piece) < size ? malloc_usable_size(piece) : size);
		free(piece);
	}
	return resized;
}

static void *piece_new(size_t size) {
	void *piece = open ? arena_piece(size) : NULL;

	if (piece)
		return piece;
	arena.spilled = arena.spilled || open;
	piece = malloc(size);
	return piece ? piece : reserve_piece(size);
}

static void piece_free(void *piece) {
	if (in_reserve(piece)) {
		if (--reserve.pieces == 0)
			reserve.used = reserve.last = 0;
	} else if (!sip_arena_owns(piece)) {
		free(piece);
	}
}

static void *piece_resize(void *piece, size_t size) {
	size_t former = 0;

	if (piece && in_reserve(piece))
		return reserve_resize(piece, size);
	if (!sip_arena_owns(piece))
		return heap_resize(piece, size);
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

int sip_parsed(int result) {
	bool half_made = refused;

	refused = false;
	return half_made ? -ENOMEM : result == OSIP_SUCCESS ? 0 : -EBADMSG;
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
	refused = false;
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
