/* SPDX-License-Identifier: BSD-2-Clause */
#include "sip/internal.h"

#include <string.h>

void writer_string(struct writer *w, const char *text) {
	writer_raw(w, text, strlen(text));
}

void writer_decimal(struct writer *w, uint64_t value) {
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	writer_raw(w, digits + at, sizeof(digits) - at);
}

void writer_hexadecimal(struct writer *w, uint64_t value) {
	char digits[16];

	for (size_t at = sizeof(digits); at-- > 0; value >>= 4)
		digits[at] = "0123456789abcdef"[value & 0x0f];
	writer_raw(w, digits, sizeof(digits));
}

void writer_thousandths(struct writer *w, unsigned value) {
	const char digits[] = {
		(char)('0' + value / 1000 % 10), '.', (char)('0' + value / 100 % 10), (char)('0' + value / 10 % 10),
		(char)('0' + value % 10),
	};

	writer_raw(w, digits, sizeof(digits));
}
