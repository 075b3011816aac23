/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages made of others' messages. What a proxy may not change is copied octet by octet, in its order and spelling; what it must
 * change is written anew (RFC 3261 16.6, 16.7).
 */
#include "sip/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void write_text(struct writer *w, const char *text) {
	writer_octets(w, octets_of_string(text));
}

struct octets sip_frame_body(const struct sip_frame *frame) {
	struct reader r = reader_of(frame->header.data, frame->length);

	reader_octets(&r, frame->header.length);
	return reader_octets(&r, frame->body_length);
}

/* Fields that sip_forward_write() writes itself. */
static bool is_replaced(enum sip_field field) {
	return field == SIP_FIELD_VIA || field == SIP_FIELD_MAX_FORWARDS || field == SIP_FIELD_ROUTE ||
	       field == SIP_FIELD_CONTENT_LENGTH || field == SIP_FIELD_MAX_BREADTH;
}

/* Shown to us alone (RFC 3261 22.3). */
static bool is_secret(const struct sip_forward *forward, const struct sip_raw_field *field) {
	return forward->gateway->auth.on && field->name.length == 19 &&
	       strncasecmp((const char *)field->name.data, "Proxy-Authorization", 19) == 0 &&
	       sip_credentials_ours(forward->gateway, field->value);
}

static bool is_named(const struct sip_raw_field *field, const char *name) {
	return field->name.length == strlen(name) && strncasecmp((const char *)field->name.data, name, field->name.length) == 0;
}

/*
 * A phone may say who it likes to be: nobody has vouched for that, and what it prefers is for the first proxy alone (RFC 3325
 * 5, 9.2).
 */
static bool is_unproven(const struct sip_forward *forward, const struct sip_raw_field *field) {
	return is_named(field, "P-Preferred-Identity") || (!forward->identity && is_named(field, "P-Asserted-Identity"));
}

bool sip_frame_private(const struct sip_frame *frame) {
	struct octets value;
	size_t position = 0;

	while (sip_frame_next_field(frame, "Privacy", &position, &value))
		for (size_t i = 0, length; i < value.length; i += length + 1) {
			for (length = 0; i + length < value.length && !strchr("; \t\r\n,", value.data[i + length]);)
				length++;
			if (length == 2 && strncasecmp((const char *)value.data + i, "id", 2) == 0)
				return true;
		}
	return false;
}

static void write_body(struct writer *w, struct octets body) {
	writer_format(w, "Content-Length: %zu\r\n\r\n", body.length);
	writer_octets(w, body);
}

void sip_forward_write(const struct sip_forward *forward, struct writer *w) {
	struct reader r = reader_of_octets(forward->frame->header);
	struct sip_raw_field field;

	writer_octets(w, forward->frame->method);
	write_text(w, " ");
	write_text(w, forward->uri);
	write_text(w, " SIP/2.0\r\n");
	write_text(w, forward->via);
	writer_octets(w, forward->vias);
	write_text(w, forward->record_route);
	write_text(w, forward->routes);
	writer_format(w, "Max-Forwards: %u\r\n", forward->max_forwards);
	if (forward->breadth > 0)
		writer_format(w, "Max-Breadth: %u\r\n", forward->breadth);
	while (sip_raw_field_next(&r, &field))
		if (!is_replaced(field.field) && !is_secret(forward, &field) && !is_unproven(forward, &field) &&
		    !sip_number_write(forward, &field, w))
			writer_octets(w, field.whole);
	write_body(w, sip_frame_body(forward->frame));
}

void sip_forward_response(const struct sip_frame *frame, unsigned status, struct octets vias, struct octets cseq,
			  struct octets extra, struct writer *w) {
	struct reader r = reader_of_octets(frame->header);
	struct sip_raw_field field;

	writer_format(w, "SIP/2.0 %03u ", status);
	writer_octets(w, frame->phrase);
	write_text(w, "\r\n");
	writer_octets(w, vias);
	while (sip_raw_field_next(&r, &field))
		if (field.field == SIP_FIELD_CSEQ && cseq.length > 0) {
			writer_literal(w, "CSeq: ");
			writer_octets(w, cseq);
			writer_literal(w, "\r\n");
		} else if (field.field != SIP_FIELD_VIA && field.field != SIP_FIELD_CONTENT_LENGTH) {
			writer_octets(w, field.whole);
		}
	writer_octets(w, extra);
	write_body(w, sip_frame_body(frame));
}

/* Fields of a request that its ACK and its CANCEL repeat; To is another one's in an ACK. */
static bool is_derived(enum sip_field field) {
	return field == SIP_FIELD_FROM || field == SIP_FIELD_CALL_ID || field == SIP_FIELD_ROUTE || field == SIP_FIELD_MAX_FORWARDS;
}

int sip_derive(const char *method, struct octets request, struct octets to, struct octets *ret) {
	struct writer w = writer_growing(LIMIT_SIP_MESSAGE);
	struct sip_raw_field field;
	struct sip_frame frame;
	bool via = false;
	size_t length = 0;

	if (sip_frame_find(request, false, &frame) < 0)
		return -EBADMSG;
	struct reader r = reader_of_octets(frame.header);
	write_text(&w, method);
	write_text(&w, " ");
	writer_octets(&w, frame.uri);
	write_text(&w, " SIP/2.0\r\n");
	while (sip_raw_field_next(&r, &field)) {
		if (field.field == SIP_FIELD_VIA && !via) { /* our own: the first */
			writer_octets(&w, field.whole);
			via = true;
		} else if (is_derived(field.field)) {
			writer_octets(&w, field.whole);
		}
	}
	write_text(&w, "To: ");
	writer_octets(&w, to.length > 0 ? to : frame.field[SIP_FIELD_TO]);
	writer_format(&w, "\r\nCSeq: %.*s %s\r\nContent-Length: 0\r\n\r\n",
		      (int)strspn((const char *)frame.field[SIP_FIELD_CSEQ].data, "0123456789"),
		      (const char *)frame.field[SIP_FIELD_CSEQ].data, method);
	int error = writer_finish(&w);
	if (error == 0) {
		const uint8_t *data = writer_take(&w, &length);
		*ret = OCTETS(data, length);
	}
	writer_release(&w);
	return error;
}
