/* SPDX-License-Identifier: BSD-2-Clause */
/* Scope-bound release of what a function holds, so that every path has one exit. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))

/* Defines `function`p for use with _cleanup_. `function` accepts NULL. */
#define DEFINE_CLEANUP(type, function)                                                                                           \
	static inline void function##p(type *pointer) {                                                                          \
		if (*pointer)                                                                                                    \
			function(*pointer);                                                                                      \
	}

static inline void freep(void *pointer) {
	free(*(void **)pointer);
}

static inline void closep(int *fd) {
	if (*fd >= 0)
		close(*fd);
}

DEFINE_CLEANUP(FILE *, fclose)

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)

/* Hands ownership out of a scope. */
#define TAKE(pointer)                                                                                                            \
	({                                                                                                                       \
		__typeof__(pointer) *_place = &(pointer), _taken = *_place;                                                      \
		*_place = NULL;                                                                                                  \
		_taken;                                                                                                          \
	})

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))
