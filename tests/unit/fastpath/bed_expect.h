/* SPDX-License-Identifier: BSD-2-Clause */
/* What shall become of a packet, for tests of the program. */
#pragma once

#include "bed.h"

static inline void expect_passed(const uint8_t *packet, size_t length, enum fastpath_pass reason) {
	struct fastpath_counters before = bed_counters(), after;
	struct bed_result result;

	bed_run(packet, length, &result);
	after = bed_counters();
	assert_int_equal(result.verdict, XDP_PASS);
	assert_int_equal(result.length, length);
	assert_memory_equal(result.packet, packet, length);
	if (after.passes[reason] != before.passes[reason] + 1)
		for (unsigned i = 0; i < FASTPATH_PASS_COUNT; i++)
			if (after.passes[i] != before.passes[i])
				print_error("passed for reason %s\n", fastpath_pass_name(i));
	assert_int_equal(after.passes[reason], before.passes[reason] + 1);
	assert_int_equal(after.verdicts[FASTPATH_PASSED], before.verdicts[FASTPATH_PASSED] + 1);
}

static inline void expect_rejected(const uint8_t *packet, size_t length, enum drop_reason reason) {
	struct fastpath_counters before = bed_counters(), after;
	struct bed_result result;

	bed_run(packet, length, &result);
	after = bed_counters();
	assert_int_equal(result.verdict, XDP_DROP);
	assert_int_equal(after.drops[reason], before.drops[reason] + 1);
	assert_int_equal(after.verdicts[FASTPATH_REJECTED], before.verdicts[FASTPATH_REJECTED] + 1);
}

static inline void expect_sent(const uint8_t *packet, size_t length) {
	struct bed_result result;

	bed_run(packet, length, &result);
	assert_int_equal(result.verdict, XDP_REDIRECT);
	assert_true(result.has_ack);
}
