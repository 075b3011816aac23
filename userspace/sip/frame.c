/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a message ends, and whether it is fit for the parser: libosip2 stops at NUL, takes a bare CR for a line end, and needs
 * time that grows with the square of the number of fields and parameters (one second for 64 KB of ";a;a;a"), so that all this is
 * refused here.
 */
#include "sip/internal.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define NAME(text) text, sizeof(text) - 1

static const struct {
	const char *name;
	size_t length;
	char compact;
	bool repeats;
	bool parsed; /* the parser shall see it */
	const char *duplicate;
} fields[SIP_FIELDS] = {
	[SIP_FIELD_VIA] = {NAME("via"), 'v', true, true, NULL},
	[SIP_FIELD_FROM] = {NAME("from"), 'f', false, true, "Duplicate From"},
	[SIP_FIELD_TO] = {NAME("to"), 't', false, true, "Duplicate To"},
	[SIP_FIELD_CALL_ID] = {NAME("call-id"), 'i', false, true, "Duplicate Call-ID"},
	[SIP_FIELD_CSEQ] = {NAME("cseq"), 0, false, true, "Duplicate CSeq"},
	[SIP_FIELD_MAX_FORWARDS] = {NAME("max-forwards"), 0, false, false, "Duplicate Max-Forwards"},
	[SIP_FIELD_CONTENT_LENGTH] = {NAME("content-length"), 'l', false, false, "Duplicate Content-Length"},
	[SIP_FIELD_EXPIRES] = {NAME("expires"), 0, false, false, "Duplicate Expires"},
	[SIP_FIELD_TIMESTAMP] = {NAME("timestamp"), 0, true, false, NULL},
	[SIP_FIELD_CONTACT] = {NAME("contact"), 'm', true, true, NULL},
	[SIP_FIELD_REQUIRE] = {NAME("require"), 0, true, true, NULL},
	[SIP_FIELD_ROUTE] = {NAME("route"), 0, true, false, NULL},
	[SIP_FIELD_PROXY_REQUIRE] = {NAME("proxy-require"), 0, true, false, NULL},
	[SIP_FIELD_MAX_BREADTH] = {NAME("max-breadth"), 0, true, false, NULL},
	[SIP_FIELD_AUTHORIZATION] = {NAME("authorization"), 0, true, false, NULL},
};

/* `octets` from `start`, at most `length` of them. */
static struct octets part(struct octets octets, size_t start, size_t length) {
	return start > octets.length || length > octets.length - start ? OCTETS_NONE : OCTETS(&octets.data[start], length);
}

static bool is_blank(uint8_t c) {
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct octets trim(struct octets octets) {
	size_t start = 0, end = octets.length;

	while (start < end && is_blank(octets.data[start]))
		start++;
	while (end > start && is_blank(octets.data[end - 1]))
		end--;
	return part(octets, start, end - start);
}

static void refuse(struct sip_frame *frame, unsigned status, const char *reason) {
	if (frame->status != 0)
		return;
	frame->status = status;
	frame->reason = reason;
}

/* The next line without its end; false when the end has not come yet. */
static bool read_line(struct reader *r, struct octets *ret) {
	struct reader ahead = *r;
	struct octets rest = reader_rest(&ahead);
	const uint8_t *end = rest.length > 0 ? memchr(rest.data, '\n', rest.length) : NULL;

	if (!end)
		return false;
	struct octets line = reader_octets(r, (size_t)(end - rest.data));
	reader_u8(r);
	if (line.length > 0 && line.data[line.length - 1] == '\r')
		line.length--;
	*ret = line;
	return true;
}

/* A quoted pair may hold any control character but CR and LF (RFC 3261 25.1, RFC 4475 3.1.1.2). */
static void check_controls(struct sip_frame *frame, struct octets line) {
	for (size_t i = 0, backslashes = 0; i < line.length; i++) {
		uint8_t c = line.data[i];
		if ((c < ' ' && c != '\t') || c == 0x7f) {
			if (backslashes % 2 == 0 || c == '\r')
				frame->unclean = true;
			frame->quoted_control = true;
		}
		backslashes = c == '\\' ? backslashes + 1 : 0;
	}
}

/* Sixteen octets at a time, which compilers turn into one instruction each. */
typedef uint8_t vector __attribute__((vector_size(16)));

enum { PIECE = sizeof(vector) };

/* In each octet: 1 in a control character that ends no line, 2 in what may begin an escape, 4 in a separator, 8 in a CR. */
static vector kinds_of(vector v) {
	vector control = ((v < ' ') & (v != '\t') & (v != '\n') & (v != '\r')) | (v == 0x7f),
	       separator = (v == ';') | (v == ',') | (v == '&'), escape = v == '%', end = v == '\r';

	return (control & 1) | (escape & 2) | (separator & 4) | (end & 8);
}

static unsigned sum_of(vector v) {
	unsigned sum = 0;

	for (size_t i = 0; i < PIECE; i++)
		sum += v[i];
	return sum;
}

/* What there is in a header, whatever it means. */
struct content {
	unsigned separators, carriage_returns;
	bool controls, escapes; /* control characters other than line ends; what may begin an escape */
};

static struct content content_of(struct octets header) {
	vector seen = {0}, separators = {0}, ends = {0};
	struct content content = {0};
	unsigned pieces = 0;

	for (size_t at = 0; at < header.length; at += PIECE) {
		vector piece = (vector){0} + ' ';
		if (header.length - at >= PIECE)
			memcpy(&piece, &header.data[at], PIECE); /* one instruction */
		else
			memcpy(&piece, &header.data[at], header.length - at);
		vector kinds = kinds_of(piece);
		seen |= kinds;
		separators += (kinds >> 2) & 1;
		ends += kinds >> 3;
		if (++pieces % UINT8_MAX == 0) { /* before one of the sixteen counts overflows */
			content.separators += sum_of(separators);
			content.carriage_returns += sum_of(ends);
			separators = ends = (vector){0};
		}
	}
	content.separators += sum_of(separators);
	content.carriage_returns += sum_of(ends);
	uint64_t halves[2];
	memcpy(halves, &seen, sizeof(halves));
	content.controls = (halves[0] | halves[1]) & UINT64_C(0x0101010101010101);
	content.escapes = (halves[0] | halves[1]) & UINT64_C(0x0202020202020202);
	return content;
}

/*
 * Whether octets are clean is told apart from what they mean, so that no later stage meets a NUL, a bare CR or an escaped NUL.
 * `line_ends`: the carriage returns that belong to line ends. Returns the number of separators.
 */
static unsigned check_octets(struct sip_frame *frame, unsigned line_ends) {
	struct content content = content_of(frame->header);
	struct reader r = reader_of_octets(frame->header);
	struct octets line;

	if (content.controls || content.carriage_returns != line_ends)
		while (read_line(&r, &line))
			check_controls(frame, line);
	if (content.escapes && frame->header.data && memmem(frame->header.data, frame->header.length, "%00", 3))
		refuse(frame, 400, "Escaped NUL in Header");
	return content.separators;
}

static struct octets until_space(struct reader *r) {
	struct reader ahead = *r;
	struct octets rest = reader_rest(&ahead);
	const uint8_t *space = rest.length > 0 ? memchr(rest.data, ' ', rest.length) : NULL;
	struct octets word = reader_octets(r, space ? (size_t)(space - rest.data) : rest.length);

	if (space)
		reader_u8(r);
	return word;
}

/* What may stand in a token (RFC 3261 25.1). */
static const bool token_octets[256] = {
	['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['-'] = true, ['.'] = true,  ['!'] = true, ['%'] = true,
	['*'] = true,	      ['_'] = true,	    ['+'] = true,	  ['`'] = true, ['\''] = true, ['~'] = true,
};

static bool is_token(struct octets octets) {
	for (size_t i = 0; i < octets.length; i++)
		if (!token_octets[octets.data[i]])
			return false;
	return octets.length > 0;
}

static bool starts_with(struct octets octets, const char *prefix) {
	size_t length = strlen(prefix);

	/* The first letter settles it mostly. */
	return octets.data && octets.length >= length && (octets.data[0] | 0x20) == (prefix[0] | 0x20) &&
	       strncasecmp((const char *)octets.data, prefix, length) == 0;
}

/* Leaves the code 0 when it is none: nobody waits for such a response. */
static void read_status(struct sip_frame *frame) {
	struct reader r = reader_of_octets(frame->start);
	struct octets version = until_space(&r), code = until_space(&r);
	uint32_t number;

	if (version.length != 7 || !starts_with(version, "SIP/2.0") || code.length != 3 || sip_number_parse(code, &number) < 0 ||
	    number < 100 || number > 699)
		return;
	frame->code = number;
	frame->phrase = reader_rest(&r);
}

static void read_start(struct sip_frame *frame) {
	struct reader r = reader_of_octets(frame->start);

	frame->response = starts_with(frame->start, "SIP/");
	if (frame->response) {
		read_status(frame);
		return;
	}
	frame->method = until_space(&r);
	frame->uri = until_space(&r);
	frame->version = reader_rest(&r);
	if (!is_token(frame->method) || frame->uri.length == 0 || frame->version.length == 0 ||
	    memchr(frame->version.data, ' ', frame->version.length))
		refuse(frame, 400, "Malformed Request-Line");
	else if (!starts_with(frame->version, "SIP/"))
		refuse(frame, 400, "Malformed SIP-Version");
	else if (frame->version.length != 7 || !starts_with(frame->version, "SIP/2.0"))
		refuse(frame, 505, "Version Not Supported");
}

static void read_content_length(struct sip_frame *frame, struct octets value) {
	size_t length = 0;

	if (value.length == 0 || value.length > 9)
		return refuse(frame, 400, "Malformed Content-Length");
	for (size_t i = 0; i < value.length; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return refuse(frame, 400, "Malformed Content-Length");
		length = length * 10 + (size_t)(value.data[i] - '0');
	}
	frame->body_length = length;
	frame->content_length = true;
}

static enum sip_field field_named(struct octets name) {
	size_t i = 0;

	for (; i < SIP_FIELDS; i++) {
		if (name.length == fields[i].length
			    ? starts_with(name, fields[i].name)
			    : name.length == 1 && (name.data[0] | 0x20) == fields[i].compact && fields[i].compact != 0)
			break;
	}
	return (enum sip_field)i;
}

/* `field` is a whole field with its continuation lines. */
static void read_field(struct sip_frame *frame, struct octets field) {
	/* There is a line. NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
	const uint8_t *colon = memchr(field.data, ':', field.length);
	size_t name_length = colon ? (size_t)(colon - field.data) : 0;
	struct octets name = trim(part(field, 0, name_length));

	if (is_blank(field.data[0]) || !is_token(name))
		return refuse(frame, 400, "Malformed Header Field");
	enum sip_field i = field_named(name);
	if (i == SIP_FIELDS)
		return;
	struct octets value = trim(part(field, name_length + 1, field.length - name_length - 1));
	if (frame->field[i].data && !fields[i].repeats)
		return refuse(frame, 400, fields[i].duplicate);
	if (!frame->field[i].data)
		frame->field[i] = value;
	if (fields[i].parsed && frame->parsed_count == SIP_FIELDS_PARSED)
		return refuse(frame, 513, "Too Many Header Fields");
	if (fields[i].parsed)
		frame->parsed[frame->parsed_count++] = field;
	frame->vias += i == SIP_FIELD_VIA;
	if (i == SIP_FIELD_CONTENT_LENGTH)
		read_content_length(frame, value);
}

static void finish_field(struct sip_frame *frame, struct octets input, size_t start, size_t end) {
	if (end - start > SIP_LINE_OCTETS)
		refuse(frame, 513, "Header Field Too Long");
	if (start > 0)
		read_field(frame, part(input, start, end - start));
}

/* Reads lines up to the empty one. */
static int read_header(struct reader *r, struct octets input, struct sip_frame *frame) {
	unsigned lines = 0, line_ends = 0;
	size_t field_start = 0, line_start = 0; /* field_start 0: still in the first line */
	struct octets line;

	for (;;) {
		line_start = r->position;
		if (!read_line(r, &line))
			return reader_left(r) + line_start > SIP_HEADER_OCTETS ? -EMSGSIZE : -EAGAIN;
		line_ends += r->position - line_start > line.length + 1;
		if (line_start == 0) {
			frame->start = line;
			read_start(frame);
			continue;
		}
		bool continuation = field_start > 0 && line.length > 0 && is_blank(line.data[0]);
		if (continuation && trim(line).length == 0)
			refuse(frame, 400, "Empty Continuation Line"); /* the parser would take it for the end of the header */
		if (!continuation && line_start != field_start) {
			if (field_start > 0 || line_start > SIP_LINE_OCTETS)
				finish_field(frame, input, field_start, line_start);
			field_start = line_start;
		}
		if (line.length == 0)
			break;
		lines++;
	}
	frame->header = part(input, 0, r->position);
	unsigned separators = check_octets(frame, line_ends);
	if (frame->header.length > SIP_HEADER_OCTETS || lines > SIP_HEADER_LINES || separators > SIP_SEPARATORS)
		refuse(frame, 513, "Header Too Large");
	return 0;
}

int sip_frame_find(struct octets input, bool stream, struct sip_frame *ret) {
	struct reader r = reader_of_octets(input);
	struct sip_frame frame = {0};

	int error = read_header(&r, input, &frame);
	if (error == -EAGAIN && !stream)
		return -EBADMSG;
	if (error < 0)
		return error;
	if (frame.unclean)
		return -EBADMSG;
	if (!frame.content_length) {
		frame.body_length = stream ? 0 : reader_left(&r);
		if (stream && !frame.field[SIP_FIELD_CONTENT_LENGTH].data)
			refuse(&frame, 400, "Missing Content-Length"); /* RFC 3261 18.3 */
	} else if (frame.header.length + frame.body_length > LIMIT_SIP_MESSAGE) {
		refuse(&frame, 513, "Message Too Large");
		frame.body_length = 0;
	} else if (frame.body_length > reader_left(&r)) {
		if (stream)
			return -EAGAIN;
		refuse(&frame, 400, "Body Shorter Than Content-Length");
		frame.body_length = reader_left(&r);
	}
	frame.length = frame.header.length + frame.body_length;
	*ret = frame;
	return 0;
}

/* `r` at the beginning of the header skips the first line. */
bool sip_raw_field_next(struct reader *r, struct sip_raw_field *ret) {
	struct octets line;

	if (r->position == 0)
		read_line(r, &line);
	size_t start = r->position;
	if (!read_line(r, &line) || line.length == 0)
		return false;
	for (struct reader ahead = *r; read_line(&ahead, &line) && line.length > 0 && is_blank(line.data[0]);)
		*r = ahead;
	struct octets whole = part(OCTETS(r->data, r->length), start, r->position - start);
	const uint8_t *colon = whole.length == 0 ? NULL : memchr(whole.data, ':', whole.length);
	size_t name_length = colon ? (size_t)(colon - whole.data) : whole.length;
	struct octets name = trim(part(whole, 0, name_length));
	*ret = (struct sip_raw_field){
		.whole = whole,
		.name = name,
		.field = field_named(name),
		.value = colon ? trim(part(whole, name_length + 1, whole.length - name_length - 1)) : OCTETS_NONE,
	};
	return true;
}

bool sip_frame_next_field(const struct sip_frame *frame, const char *name, size_t *position, struct octets *ret) {
	struct reader r = reader_of_octets(frame->header);
	struct sip_raw_field field;

	reader_octets(&r, *position);
	while (sip_raw_field_next(&r, &field)) {
		if (field.name.length != strlen(name) || !starts_with(field.name, name))
			continue;
		*position = r.position;
		*ret = field.value;
		return true;
	}
	return false;
}
