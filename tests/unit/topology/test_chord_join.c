/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/log.h"
#include "support/support_ring.h"

static void test_grow(void **state) {
	static const size_t sizes[] = {1, 2, 3, 5, 16};
	(void)state;
	for (size_t i = 0; i < 5; i++) {
		struct ring *ring = ring_new(&(struct ring_settings){.seed = 1 + i});
		ring_grow(ring, sizes[i], false, 10);
		print_message("%zu: %llu ms\n", sizes[i], (unsigned long long)ring_now_us(ring) / 1000);
		ring_free(ring);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_grow)};
	log_level = getenv("LOG") ? LOG_DEBUG : LOG_ERR;
	return cmocka_run_group_tests_name("chord join", tests, NULL, NULL);
}
