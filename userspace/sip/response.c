/* SPDX-License-Identifier: BSD-2-Clause */
/* Building and sending responses (RFC 3261 8.2.6, 18.2.2; RFC 3581). */
#include "sip/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

static const char *const field_names[SIP_FIELDS] = {
	[SIP_FIELD_VIA] = "Via: ",	   [SIP_FIELD_FROM] = "From: ", [SIP_FIELD_TO] = "To: ",
	[SIP_FIELD_CALL_ID] = "Call-ID: ", [SIP_FIELD_CSEQ] = "CSeq: ", [SIP_FIELD_TIMESTAMP] = "Timestamp: ",
};

void writer_format(struct writer *w, const char *format, ...) {
	char text[SIP_CONTACT_OCTETS + 512];
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= sizeof(text))
		writer_fail(w, -ENOBUFS);
	else
		writer_raw(w, text, (size_t)length);
}

/* The port of a Via, 5060 without one that makes sense. */
static uint16_t via_port(const osip_via_t *via) {
	unsigned long port = via->port ? strtoul(via->port, NULL, 10) : 0;

	return port > 0 && port <= UINT16_MAX ? (uint16_t)port : 5060;
}

/*
 * maddr is not followed and no connection is opened to where a Via points: a response never goes to another host than the one
 * the request came from.
 */
struct address sip_reply_address(const osip_via_t *via, const struct sip_flow *flow) {
	struct address to = flow->remote;

	if (flow->connection == 0 && !sip_parameter(&via->via_params, "rport"))
		to.port = via_port(via);
	return to;
}

/* `text` is the source; another spelling of it may stand in the Via. */
static bool names_source(const osip_via_t *via, const struct address *source, const char *text) {
	uint8_t octets[16] = {0};

	return strcmp(via->host, text) == 0 ||
	       (inet_pton(source->family, via->host, octets) == 1 && memcmp(octets, source->octets, sizeof(octets)) == 0);
}

/* The first value gets `received` and a filled `rport`; what the sender wrote there does not count. */
static void write_top_via(const osip_via_t *via, const struct sip_flow *flow, struct writer *w) {
	bool has_rport = sip_parameter(&via->via_params, "rport") != NULL;
	bool ipv6 = strchr(via->host, ':') != NULL;
	struct address source = flow->remote;
	char host[ADDRESS_TEXT_SIZE];
	osip_list_iterator_t at;

	writer_literal(w, "Via: SIP/");
	writer_string(w, via->version);
	writer_literal(w, "/");
	writer_string(w, via->protocol);
	writer_string(w, ipv6 ? " [" : " ");
	writer_string(w, via->host);
	writer_string(w, ipv6 ? "]" : "");
	if (via->port) {
		writer_literal(w, ":");
		writer_string(w, via->port);
	}
	for (osip_generic_param_t *parameter = osip_list_get_first(&via->via_params, &at); osip_list_iterator_has_elem(at);
	     parameter = osip_list_get_next(&at)) {
		if (!parameter || !parameter->gname || strcasecmp(parameter->gname, "received") == 0 ||
		    strcasecmp(parameter->gname, "rport") == 0)
			continue;
		writer_literal(w, ";");
		writer_string(w, parameter->gname);
		if (!parameter->gvalue)
			continue;
		writer_literal(w, "=");
		writer_string(w, parameter->gvalue);
	}
	source.scope = 0; /* a zone means nothing to others */
	address_format_host(&source, host);
	if (has_rport || !names_source(via, &flow->remote, host)) {
		writer_literal(w, ";received=");
		writer_string(w, host);
	}
	if (has_rport) {
		writer_literal(w, ";rport=");
		writer_decimal(w, flow->remote.port);
	}
	writer_literal(w, "\r\n");
}

static void write_field(struct writer *w, const struct sip_frame *frame, enum sip_field field) {
	if (frame->field[field].length == 0)
		return;
	writer_string(w, field_names[field]);
	writer_octets(w, frame->field[field]);
	writer_literal(w, "\r\n");
}

/*
 * A tag that a repeated request gets again even when nothing is kept of it (RFC 3261 8.2.7), and that strangers cannot foresee
 * (19.3).
 */
uint64_t sip_tag(const struct sip_gateway *gateway, const struct sip_frame *frame) {
	static const enum sip_field fields[] = {SIP_FIELD_FROM, SIP_FIELD_TO, SIP_FIELD_CALL_ID};
	uint8_t text[ARRAY_LENGTH(fields) * (SIP_LINE_OCTETS + 2)];
	struct writer w = writer_fixed(text, sizeof(text));

	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
		writer_u16(&w, (uint16_t)frame->field[fields[i]].length);
		writer_octets(&w, frame->field[fields[i]]);
	}
	return keyed_hash(gateway->tag_key, writer_octets_written(&w));
}

static void write_to(struct sip_gateway *gateway, const struct sip_frame *frame, bool has_tag, struct writer *w) {
	if (has_tag || frame->field[SIP_FIELD_TO].length == 0)
		return write_field(w, frame, SIP_FIELD_TO);
	writer_literal(w, "To: ");
	writer_octets(w, frame->field[SIP_FIELD_TO]);
	writer_literal(w, ";tag=");
	writer_hexadecimal(w, sip_tag(gateway, frame));
	writer_literal(w, "\r\n");
}

void sip_vias_write(const struct sip_request *request, const struct sip_flow *flow, struct writer *w) {
	osip_list_iterator_t at;

	write_top_via(request->via, flow, w);
	osip_list_get_first(&request->message->vias, &at);
	for (osip_via_t *via = osip_list_get_next(&at); osip_list_iterator_has_elem(at); via = osip_list_get_next(&at)) {
		char *text = NULL;
		if (!via || osip_via_to_str(via, &text) != OSIP_SUCCESS || !text)
			continue;
		writer_octets(w, octets_of_string("Via: "));
		writer_octets(w, octets_of_string(text));
		writer_octets(w, octets_of_string("\r\n"));
		osip_free(text);
	}
}

void sip_echo_write(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow, struct writer *w) {
	sip_vias_write(request, flow, w);
	sip_echo_rest_write(gateway, request, w);
}

void sip_echo_rest_write(struct sip_gateway *gateway, const struct sip_request *request, struct writer *w) {
	write_field(w, &request->frame, SIP_FIELD_FROM);
	write_to(gateway, &request->frame, request->to_tag != NULL, w);
	write_field(w, &request->frame, SIP_FIELD_CALL_ID);
	write_field(w, &request->frame, SIP_FIELD_CSEQ);
	write_field(w, &request->frame, SIP_FIELD_TIMESTAMP);
}

void sip_response_write(unsigned status, const char *reason, struct octets echo, struct octets fields, struct writer *w) {
	size_t length = strnlen(reason, 100);

	writer_literal(w, "SIP/2.0 ");
	writer_decimal(w, status);
	writer_literal(w, " ");
	uint8_t *phrase = writer_reserve(w, length);
	for (size_t i = 0; phrase && i < length; i++)
		phrase[i] = reason[i] >= ' ' && reason[i] < 0x7f ? (uint8_t)reason[i] : '?';
	writer_literal(w, "\r\n");
	writer_octets(w, echo);
	writer_octets(w, fields);
	writer_literal(w, "Content-Length: 0\r\n\r\n");
}

void sip_response_send(struct sip_gateway *gateway, const struct sip_flow *flow, const struct address *to, unsigned status,
		       struct octets octets) {
	struct sip_figures *figures = &gateway->figures;

	sip_trace_sent(gateway, flow, to, octets);
	int error = flow->connection != 0 ? sip_tcp_send(gateway, flow, octets) : sip_udp_send(gateway, flow, to, octets);
	if (error < 0) {
		figures->dropped++; /* as if lost on the way: the client asks again */
		return;
	}
	figures->responses_2xx += status / 100 == 2;
	figures->responses_3xx += status / 100 == 3;
	figures->responses_4xx += status / 100 == 4;
	figures->responses_5xx += status / 100 == 5;
}

/* One more refusal without a transaction? A second's worth may come at once. */
static bool may_refuse(struct sip_gateway *gateway) {
	if (rate_take(&gateway->stateless_us, gateway->runtime->now_us, USEC_PER_SEC / SIP_STATELESS_PER_SECOND,
		      SIP_STATELESS_PER_SECOND))
		return true;
	gateway->figures.dropped++;
	return false;
}

static void send_refusal(struct sip_gateway *gateway, const osip_via_t *via, const struct sip_flow *flow, unsigned status,
			 const char *reason, unsigned retry_after_s, const struct writer *echo) {
	struct writer w = writer_growing(2 * SIP_HEADER_OCTETS);
	struct address to = sip_reply_address(via, flow);
	char fields[64] = "";

	if (status == 503)
		snprintf(fields, sizeof(fields), "Retry-After: %u\r\n", retry_after_s);
	sip_response_write(status, reason, writer_octets_written(echo), octets_of_string(fields), &w);
	if (writer_finish(echo) == 0 && writer_finish(&w) == 0)
		sip_response_send(gateway, flow, &to, status, writer_octets_written(&w));
	writer_release(&w);
}

void sip_refuse(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow, unsigned status,
		const char *reason) {
	if (request->method == SIP_ACK || !may_refuse(gateway))
		return;
	struct writer echo = writer_growing(2 * SIP_HEADER_OCTETS);
	sip_echo_write(gateway, request, flow, &echo);
	send_refusal(gateway, request->via, flow, status, reason, SIP_RETRY_AFTER_SECONDS, &echo);
	writer_release(&echo);
}

/* Up to twice as long, so that phones do not come back together. */
static unsigned spread_retry(const struct sip_gateway *gateway, const struct sip_frame *frame) {
	return SIP_RETRY_AFTER_SECONDS + (unsigned)(sip_tag(gateway, frame) % (SIP_RETRY_AFTER_SECONDS + 1));
}

void sip_refuse_overload(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
			 bool limited) {
	if (limited && !may_refuse(gateway))
		return;
	struct writer echo = writer_growing(2 * SIP_HEADER_OCTETS);
	sip_echo_write(gateway, request, flow, &echo);
	send_refusal(gateway, request->via, flow, 503, "Overloaded", spread_retry(gateway, &request->frame), &echo);
	writer_release(&echo);
}

static bool is_parameter(struct octets parameter, const char *name) {
	size_t length = strlen(name);

	return parameter.length >= length && strncasecmp((const char *)parameter.data, name, length) == 0 &&
	       (parameter.length == length || parameter.data[length] == '=');
}

/* What there is up to the next ";", which is skipped. */
static struct octets next_parameter(struct reader *r) {
	struct reader ahead = *r;
	struct octets rest = reader_rest(&ahead);
	const uint8_t *end = rest.length > 0 ? memchr(rest.data, ';', rest.length) : NULL;
	struct octets part = reader_octets(r, end ? (size_t)(end - rest.data) : rest.length);

	if (end)
		reader_u8(r);
	return part;
}

static uint16_t plain_port(struct octets sent_by) {
	const uint8_t *colon = memrchr(sent_by.data, ':', sent_by.length);
	struct reader r = reader_of_octets(sent_by);
	uint32_t port = 0;

	reader_octets(&r, colon ? (size_t)(colon - sent_by.data) + 1 : sent_by.length);
	return sip_number_parse(reader_rest(&r), &port) == 0 && port > 0 && port <= UINT16_MAX ? (uint16_t)port : 5060;
}

/* Completes the Via as write_top_via() does. Returns the port the answer goes to. */
static uint16_t write_plain_via(struct octets via, const struct sip_flow *flow, struct writer *w) {
	struct reader r = reader_of_octets(via);
	struct octets part = next_parameter(&r);
	struct address source = flow->remote;
	uint16_t port = plain_port(part);
	char host[ADDRESS_TEXT_SIZE];

	writer_literal(w, "Via: ");
	writer_octets(w, part);
	while (reader_left(&r) > 0) {
		part = next_parameter(&r);
		bool rport = is_parameter(part, "rport");
		if (rport)
			port = 0;
		if (rport || part.length == 0 || is_parameter(part, "received"))
			continue;
		writer_literal(w, ";");
		writer_octets(w, part);
	}
	source.scope = 0;
	writer_literal(w, ";received=");
	writer_string(w, address_format_host(&source, host));
	if (port == 0) {
		writer_literal(w, ";rport=");
		writer_decimal(w, flow->remote.port);
	}
	writer_literal(w, "\r\n");
	return port == 0 ? flow->remote.port : port;
}

uint16_t sip_echo_write_plain(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow,
			      struct writer *w) {
	uint16_t port = write_plain_via(frame->field[SIP_FIELD_VIA], flow, w);

	write_field(w, frame, SIP_FIELD_FROM);
	write_to(gateway, frame, false, w);
	write_field(w, frame, SIP_FIELD_CALL_ID);
	write_field(w, frame, SIP_FIELD_CSEQ);
	write_field(w, frame, SIP_FIELD_TIMESTAMP);
	return port;
}

void sip_refuse_plain(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow, const char *reason) {
	uint8_t text[2 * SIP_HEADER_OCTETS], echo_text[2 * SIP_HEADER_OCTETS];
	struct writer w = writer_fixed(text, sizeof(text)), echo = writer_fixed(echo_text, sizeof(echo_text));
	struct address to = flow->remote;
	char fields[64];

	to.port = sip_echo_write_plain(gateway, frame, flow, &echo);
	snprintf(fields, sizeof(fields), "Retry-After: %u\r\n", spread_retry(gateway, frame));
	sip_response_write(503, reason, writer_octets_written(&echo), octets_of_string(fields), &w);
	if (writer_finish(&echo) == 0 && writer_finish(&w) == 0)
		sip_response_send(gateway, flow, &to, 503, writer_octets_written(&w));
}

/* Not when the first of several Vias in one line could not be told apart for certain. */
void sip_refuse_frame(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow, unsigned status,
		      const char *reason) {
	struct octets value = frame->field[SIP_FIELD_VIA];
	const uint8_t *comma = value.length > 0 ? memchr(value.data, ',', value.length) : NULL;
	char text[SIP_LINE_OCTETS + 1];
	osip_via_t *via = NULL;

	/* Of several in one line, the answer reaches the first. */
	if (comma && !memchr(value.data, '"', value.length))
		value.length = (size_t)(comma - value.data);
	while (value.length > 0 && strchr("; \t", value.data[value.length - 1]))
		value.length--;
	if (octets_equal(frame->method, octets_of_string("ACK")) || frame->quoted_control || value.length == 0 ||
	    value.length >= sizeof(text) || memchr(value.data, ',', value.length) || memchr(value.data, '\n', value.length) ||
	    memchr(value.data, 0, value.length) || memchr(value.data, '\r', value.length) || !may_refuse(gateway))
		return;
	memcpy(text, value.data, value.length);
	text[value.length] = 0;
	if (osip_via_init(&via) != OSIP_SUCCESS)
		return;
	if (sip_parsed(osip_via_parse(via, text)) == 0 && via->host && *via->host && via->protocol && via->version) {
		struct writer echo = writer_growing(2 * SIP_HEADER_OCTETS);
		struct octets to = frame->field[SIP_FIELD_TO];
		write_top_via(via, flow, &echo);
		write_field(&echo, frame, SIP_FIELD_FROM);
		write_to(gateway, frame, to.length > 0 && memmem(to.data, to.length, ";tag=", 5), &echo);
		write_field(&echo, frame, SIP_FIELD_CALL_ID);
		write_field(&echo, frame, SIP_FIELD_CSEQ);
		send_refusal(gateway, via, flow, status, reason, SIP_RETRY_AFTER_SECONDS, &echo);
		writer_release(&echo);
	}
	osip_via_free(via);
}
