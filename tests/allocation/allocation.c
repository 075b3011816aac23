/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linked into a unit test in place of the allocation functions that our code calls (ld --wrap): the allocation numbered
 * ALLOCATION_FAILS, counted from 1, and the ALLOCATION_ALSO next ones find no memory. The count of all is written to the file
 * ALLOCATION_COUNT when the test ends by itself. ALLOCATION_TEST names the only test function to run.
 *
 * A test that notices the refusal has done all that can be asked and ends; what must not happen is a crash, a sanitizer's word, or,
 * where the test goes on as if nothing had happened, a leak.
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOTICED = 0 };

static atomic_ulong count;
static unsigned long first, last;

void *__real_malloc(size_t size);
void *__real_calloc(size_t number, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t length);
int __real_vasprintf(char **ret, const char *format, va_list arguments);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t number, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t length);
int __wrap_vasprintf(char **ret, const char *format, va_list arguments);
int __wrap_asprintf(char **ret, const char *format, ...);
void __wrap_abort(void) __attribute__((noreturn));
void __real_abort(void) __attribute__((noreturn));
void _fail(const char *file, int line);
void cmocka_set_test_filter(const char *pattern);

__attribute__((constructor)) static void begin(void) {
	const char *fails = getenv("ALLOCATION_FAILS"), *also = getenv("ALLOCATION_ALSO");

	first = fails ? strtoul(fails, NULL, 10) : 0;
	last = first + (also ? strtoul(also, NULL, 10) : 0);
	if (getenv("ALLOCATION_TEST"))
		cmocka_set_test_filter(getenv("ALLOCATION_TEST"));
}

__attribute__((destructor)) static void end(void) {
	const char *path = getenv("ALLOCATION_COUNT");
	FILE *file = path ? fopen(path, "w") : NULL;

	if (file) {
		fprintf(file, "%lu\n", atomic_load(&count));
		fclose(file);
	}
}

static bool refused(void) {
	unsigned long number = atomic_fetch_add(&count, 1) + 1;

	return first > 0 && number >= first && number <= last;
}

void *__wrap_malloc(size_t size) {
	return refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t number, size_t size) {
	return refused() ? NULL : __real_calloc(number, size);
}

void *__wrap_realloc(void *old, size_t size) {
	return refused() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text) {
	return refused() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t length) {
	return refused() ? NULL : __real_strndup(text, length);
}

int __wrap_vasprintf(char **ret, const char *format, va_list arguments) {
	return refused() ? -1 : __real_vasprintf(ret, format, arguments);
}

int __wrap_asprintf(char **ret, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	int length = __wrap_vasprintf(ret, format, arguments);
	va_end(arguments);
	return length;
}

/* What the helpers of tests do without memory. */
void __wrap_abort(void) {
	if (first > 0 && atomic_load(&count) >= first)
		_exit(NOTICED);
	__real_abort();
}

/* cmocka's: an assertion does not hold. */
__attribute__((visibility("default"), noreturn)) void _fail(const char *file, int line) {
	if (first > 0 && atomic_load(&count) >= first)
		_exit(NOTICED);
	fprintf(stderr, "%s:%d: an assertion does not hold although no allocation was refused\n", file, line);
	_exit(EXIT_FAILURE);
}
