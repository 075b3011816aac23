/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of userspace/wire share: octets from and against hexadecimal text. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/octets.h"

#define N_HEX "00112233445566778899aabbccddeeff"
#define M_HEX "ffeeddccbbaa99887766554433221100"
#define R_HEX "22222222222222222222222222222222"

struct hex {
	uint8_t octets[512];
	size_t length;
};

static inline int hex_value(char c) {
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* Lower-case digits; blanks are skipped. */
static inline struct hex hex_of(const char *text) {
	struct hex hex = {.length = 0};

	while (*text) {
		if (*text == ' ') {
			text++;
			continue;
		}
		assert_true(hex.length < sizeof(hex.octets));
		hex.octets[hex.length++] = (uint8_t)(hex_value(text[0]) << 4 | hex_value(text[1]));
		text += 2;
	}
	return hex;
}

#define HEX(text)                                                                                                                  \
	({                                                                                                                         \
		static struct hex _hex;                                                                                            \
		_hex = hex_of(text);                                                                                               \
		OCTETS(_hex.octets, _hex.length);                                                                                  \
	})

#define assert_octets(view_, text)                                                                                                 \
	({                                                                                                                         \
		struct octets _actual = (view_), _expected = HEX(text);                                                            \
		assert_int_equal(_actual.length, _expected.length);                                                                \
		if (_actual.length > 0)                                                                                            \
			assert_memory_equal(_actual.data, _expected.data, _actual.length);                                         \
	})

/* What a writer holds, which must not have failed. */
#define assert_written(writer, text)                                                                                               \
	({                                                                                                                         \
		assert_int_equal(writer_finish(writer), 0);                                                                        \
		assert_octets(writer_octets_written(writer), text);                                                                \
	})

#define TEXT(octets_, text) assert_true(octets_equal((octets_), octets_of_string(text)))
