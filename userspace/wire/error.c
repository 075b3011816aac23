/* SPDX-License-Identifier: BSD-2-Clause */
/* Error responses (RFC 6940 6.3.3.1). */
#include "wire/list.h"
#include "wire/message.h"

enum { UNKNOWN_KINDS_MAX = UINT8_MAX / 4 /* what the one-octet length can count */ };

int error_response_read(struct octets body, struct error_response *ret) { /* B-6.3.3.1-01 */
	struct reader r = reader_of_octets(body);
	struct error_response error = {.code = reader_u16(&r)};

	error.info = reader_vector16(&r);
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = error;
	return 0;
}

void error_response_write(struct writer *w, uint16_t code, struct octets info) {
	writer_u16(w, code);
	writer_vector16(w, info);
}

const char *error_info_text(struct octets info, char *text, size_t size) {
	static const char digits[] = "0123456789abcdef";
	struct reader r = reader_of_octets(info);
	size_t n = 0;

	while (reader_more(&r)) {
		uint8_t octet = reader_u8(&r);
		bool plain = octet >= 0x20 && octet < 0x7f && octet != '\\';
		if (n + (plain ? 1 : 4) >= size)
			break;
		if (plain) {
			text[n++] = (char)octet;
			continue;
		}
		text[n++] = '\\';
		text[n++] = 'x';
		text[n++] = digits[octet >> 4];
		text[n++] = digits[octet & 15];
	}
	if (size > 0)
		text[n] = 0;
	return text;
}

void error_unknown_kinds_write(struct writer *w, const uint32_t *kinds, size_t count) { /* B-7.4.1-04 */
	size_t mark = writer_begin(w, 1);

	for (size_t i = 0; i < count && i < UNKNOWN_KINDS_MAX; i++)
		writer_u32(w, kinds[i]);
	writer_end(w, mark, 1);
}

int error_unknown_kinds_read(struct octets info, uint32_t *kinds, size_t max, size_t *ret_count) {
	struct reader r = reader_of_octets(info), list = reader_nested(&r, reader_vector8(&r));

	if (reader_finish(&r) < 0 || list.length % 4 != 0)
		return -EBADMSG;
	size_t count = 0;
	while (count < max && reader_more(&list))
		kinds[count++] = reader_u32(&list);
	*ret_count = count;
	return 0;
}
