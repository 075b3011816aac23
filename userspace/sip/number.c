/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers (CSeq) towards trunks that ask for a password. We answer the question ourselves, and what is sent once more has to have a
 * higher number (RFC 3261 22.2), while the phone counts on by one and knows nothing of it. So that nothing has to be remembered of
 * a call, a trunk gets twice the phone's number, which leaves one free for the repetition; our Record-Route says that it is so, and
 * whether the dialog was begun by a repetition, which its later requests follow. What comes back has the phone's own number again.
 */
#include "sip/proxy.h"

#include <string.h>
#include <strings.h>

/* Twice of it and two more are still numbers (RFC 3261 8.1.1.5). */
enum { NUMBER_MAX = (INT32_MAX - 2) / 2 };

uint32_t sip_number_there(enum sip_numbering numbering, uint32_t number, bool again) {
	if (numbering == SIP_NUMBERS_SAME || number > NUMBER_MAX)
		return number;
	return 2 * number + (numbering == SIP_NUMBERS_ODD) + again;
}

static bool is_blank(uint8_t c) {
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct octets next_word(struct reader *r) {
	struct reader ahead = *r;
	size_t length = 0;

	for (struct reader blank = ahead; reader_left(&blank) > 0 && is_blank(reader_u8(&blank)); ahead = blank)
		;
	*r = ahead;
	while (reader_left(&ahead) > 0 && !is_blank(reader_u8(&ahead)))
		length++;
	return reader_octets(r, length);
}

bool sip_number_read(struct octets field, uint32_t *ret) {
	struct reader r = reader_of_octets(field);

	return sip_number_parse(next_word(&r), ret) == 0;
}

static void write_cseq(const struct sip_forward *forward, const struct sip_raw_field *field, struct writer *w) {
	struct octets call_id = forward->frame->field[SIP_FIELD_CALL_ID], method = forward->frame->method;
	uint32_t number;

	if (!sip_number_read(field->value, &number)) {
		writer_octets(w, field->whole);
		return;
	}
	number = octets_equal(method, octets_of_string("ACK"))
			 ? sip_proxy_invite_number(forward->gateway, call_id, forward->numbering, number)
			 : sip_number_there(forward->numbering, number, forward->again);
	writer_literal(w, "CSeq: ");
	writer_decimal(w, number);
	writer_literal(w, " ");
	writer_octets(w, method);
	writer_literal(w, "\r\n");
}

/* "776656 1 INVITE": the second one is the number of what was answered provisionally (RFC 3262 7.2). */
static void write_rack(const struct sip_forward *forward, const struct sip_raw_field *field, struct writer *w) {
	struct reader r = reader_of_octets(field->value);
	struct octets response = next_word(&r), text = next_word(&r), method = next_word(&r);
	uint32_t number;

	if (method.length == 0 || sip_number_parse(text, &number) < 0) {
		writer_octets(w, field->whole);
		return;
	}
	writer_literal(w, "RAck: ");
	writer_octets(w, response);
	writer_literal(w, " ");
	writer_decimal(
		w, sip_proxy_invite_number(forward->gateway, forward->frame->field[SIP_FIELD_CALL_ID], forward->numbering, number));
	writer_literal(w, " ");
	writer_octets(w, method);
	writer_literal(w, "\r\n");
}

bool sip_number_write(const struct sip_forward *forward, const struct sip_raw_field *field, struct writer *w) {
	bool rack = field->name.length == 4 && strncasecmp((const char *)field->name.data, "RAck", 4) == 0;

	if (forward->numbering == SIP_NUMBERS_SAME || (field->field != SIP_FIELD_CSEQ && !rack))
		return false;
	if (rack)
		write_rack(forward, field, w);
	else
		write_cseq(forward, field, w);
	return true;
}
