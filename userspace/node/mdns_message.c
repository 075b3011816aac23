/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/mdns_message.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

enum { HEADER_OCTETS = 12, FLAG_RESPONSE = 0x8000, FLAGS_OPCODE = 0x7800, FLAG_AUTHORITATIVE = 0x0400, FLAG_TRUNCATED = 0x0200 };

/* ---- names ---- */

static int name_append(struct mdns_name *name, struct octets label) {
	/* One octet stays for the final zero. */
	if (label.length == 0 || label.length > 63 || name->length + 1 + label.length + 1 > MDNS_NAME_MAX)
		return -EINVAL;
	name->octets[name->length] = (uint8_t)label.length;
	memcpy(name->octets + name->length + 1, label.data, label.length);
	name->length = (uint8_t)(name->length + 1 + label.length);
	return 0;
}

static void name_finish(struct mdns_name *name) {
	name->octets[name->length++] = 0;
}

int mdns_name_parse(const char *text, struct mdns_name *ret) {
	struct mdns_name name = {.length = 0};

	for (const char *label = text;;) {
		size_t length = strcspn(label, ".");
		if (name_append(&name, OCTETS(label, length)) < 0)
			return -EINVAL;
		if (label[length] == 0)
			break;
		label += length + 1;
	}
	name_finish(&name);
	*ret = name;
	return 0;
}

bool mdns_name_equal(const struct mdns_name *a, const struct mdns_name *b) {
	if (a->length != b->length)
		return false;
	/* Lengths of labels are below any letter, so that they may be compared like the rest. */
	for (size_t i = 0; i < a->length; i++)
		if (tolower(a->octets[i]) != tolower(b->octets[i]))
			return false;
	return true;
}

int mdns_name_prepend(struct octets label, const struct mdns_name *name, struct mdns_name *ret) {
	struct mdns_name result = {.length = 0};

	if (name->length == 0 || name_append(&result, label) < 0 || result.length + name->length > MDNS_NAME_MAX)
		return -EINVAL;
	memcpy(result.octets + result.length, name->octets, name->length);
	result.length = (uint8_t)(result.length + name->length);
	*ret = result;
	return 0;
}

bool mdns_name_child(const struct mdns_name *name, const struct mdns_name *parent, struct octets *ret_label) {
	struct mdns_name rest = {.length = 0};
	size_t label = name->length > 0 ? name->octets[0] : 0;

	if (label == 0 || name->length <= label + 1)
		return false;
	rest.length = (uint8_t)(name->length - label - 1);
	memcpy(rest.octets, name->octets + label + 1, rest.length);
	if (!mdns_name_equal(&rest, parent))
		return false;
	if (ret_label)
		*ret_label = OCTETS(name->octets + 1, label);
	return true;
}

/* A reader of the same message that stands at `position`. */
static struct reader reader_at(const struct reader *r, size_t position) {
	struct reader other = reader_of(r->data, r->length);

	reader_octets(&other, position);
	return other;
}

/* Pointers must lead backwards, each farther than the one before, so that they end (RFC 1035 4.1.4). */
static void name_read(struct reader *r, struct mdns_name *ret) {
	struct mdns_name name = {.length = 0};
	struct reader jumped, *at = r;
	size_t bound = r->position;

	for (unsigned jumps = 0; r->error == 0;) {
		uint8_t length = reader_u8(at);
		if (at->error != 0) {
			reader_fail(r);
		} else if (length == 0) {
			name_finish(&name);
			*ret = name;
			return;
		} else if ((length & 0xc0) == 0xc0) {
			size_t target = (size_t)(length & 0x3f) << 8 | reader_u8(at);
			if (at->error != 0 || target >= bound || target < HEADER_OCTETS || ++jumps > MDNS_JUMPS_MAX) {
				reader_fail(r);
				return;
			}
			bound = target;
			jumped = reader_at(r, target);
			at = &jumped;
		} else if (length & 0xc0) {
			reader_fail(r);
		} else {
			struct octets label = reader_octets(at, length);
			if (at->error != 0 || name_append(&name, label) < 0)
				reader_fail(r);
		}
	}
}

/* ---- reading ---- */

int mdns_reader_start(struct octets message, struct mdns_reader *ret) {
	struct mdns_reader m = {.reader = reader_of_octets(message)};
	uint32_t total = 0;

	if (message.length > MDNS_MESSAGE_MAX)
		return -E2BIG;
	reader_u16(&m.reader); /* the identifier means nothing here (RFC 6762 18.1) */
	uint16_t flags = reader_u16(&m.reader);
	for (unsigned i = 0; i < 4; i++)
		total += m.counts[i] = reader_u16(&m.reader);
	if (m.reader.error != 0 || flags & FLAGS_OPCODE || flags & 0x000f)
		return -EBADMSG; /* RFC 6762 18.3, 18.11 */
	if (total > MDNS_RECORDS_MAX)
		return -E2BIG;
	m.response = flags & FLAG_RESPONSE;
	m.truncated = flags & FLAG_TRUNCATED;
	*ret = m;
	return 0;
}

static void read_address(struct reader *data, int family, struct mdns_record *record) {
	size_t length = family == AF_INET ? 4 : 16;
	struct octets octets = reader_octets(data, length);

	if (data->error != 0)
		return;
	record->address.family = (uint16_t)family;
	memcpy(record->address.octets, octets.data, length);
}

/* Names in the data may point into the whole message, so the reader stays on it, and must end where the data does. */
static void read_data(struct reader *r, struct mdns_record *record) {
	uint16_t length = reader_u16(r);
	size_t end = r->position + length;

	if (length > reader_left(r)) {
		reader_fail(r);
		return;
	}
	switch (record->type) {
	case MDNS_PTR:
		name_read(r, &record->target);
		break;
	case MDNS_SRV:
		reader_u16(r); /* priority and weight: all candidates are tried */
		reader_u16(r);
		record->port = reader_u16(r);
		name_read(r, &record->target);
		break;
	case MDNS_TXT:
		record->text = reader_octets(r, length);
		break;
	case MDNS_A:
		read_address(r, AF_INET, record);
		break;
	case MDNS_AAAA:
		read_address(r, AF_INET6, record);
		break;
	default:
		reader_octets(r, length);
	}
	if (r->position != end)
		reader_fail(r);
}

int mdns_reader_next(struct mdns_reader *m, struct mdns_record *ret) {
	for (;;) {
		while (m->section < 4 && m->counts[m->section] == 0)
			m->section++;
		if (m->section == 4)
			return m->reader.error != 0 || reader_left(&m->reader) > 0 ? -EBADMSG : 0;
		m->counts[m->section]--;
		struct mdns_record record = {.section = (enum mdns_section)m->section};
		name_read(&m->reader, &record.name);
		record.type = reader_u16(&m->reader);
		uint16_t class = reader_u16(&m->reader);
		record.top = class & MDNS_CLASS_TOP;
		if (m->section != MDNS_QUESTION) {
			record.ttl_s = reader_u32(&m->reader);
			read_data(&m->reader, &record);
		}
		if (m->reader.error != 0)
			return -EBADMSG;
		if ((class & ~MDNS_CLASS_TOP) != MDNS_CLASS_IN && !(m->section == MDNS_QUESTION && (class & 0xff) == MDNS_ANY))
			continue;
		*ret = record;
		return 1;
	}
}

bool mdns_text_next(struct octets *text, struct octets *ret) {
	struct reader r = reader_of_octets(*text);
	struct octets string = reader_vector8(&r);

	if (text->length == 0 || r.error != 0)
		return false;
	*text = reader_rest(&r);
	*ret = string;
	return true;
}

bool mdns_text_value(struct octets text, const char *key, struct octets *ret) {
	size_t length = strlen(key);
	struct octets string;

	while (mdns_text_next(&text, &string)) {
		struct reader r = reader_of_octets(string);
		struct octets name = reader_octets(&r, length);
		if (r.error != 0 || strncasecmp((const char *)name.data, key, length) != 0 || reader_u8(&r) != '=' || r.error != 0)
			continue;
		*ret = reader_rest(&r);
		return true;
	}
	return false;
}

/* ---- writing ---- */

void mdns_write_start(struct mdns_writer *m, struct writer *w, bool response) {
	*m = (struct mdns_writer){.writer = w};
	writer_u16(w, 0);
	writer_u16(w, response ? FLAG_RESPONSE | FLAG_AUTHORITATIVE : 0);
	for (unsigned i = 0; i < 4; i++)
		writer_u16(w, 0);
}

static void write_name(struct writer *w, const struct mdns_name *name) {
	writer_raw(w, name->octets, name->length);
}

void mdns_write_question(struct mdns_writer *m, const struct mdns_name *name, uint16_t type, bool unicast) {
	write_name(m->writer, name);
	writer_u16(m->writer, type);
	writer_u16(m->writer, unicast ? MDNS_CLASS_IN | MDNS_CLASS_TOP : MDNS_CLASS_IN);
	m->counts[MDNS_QUESTION]++;
}

void mdns_write_record(struct mdns_writer *m, const struct mdns_record *record) {
	struct writer *w = m->writer;

	write_name(w, &record->name);
	writer_u16(w, record->type);
	writer_u16(w, record->top ? MDNS_CLASS_IN | MDNS_CLASS_TOP : MDNS_CLASS_IN);
	writer_u32(w, record->ttl_s);
	size_t mark = writer_begin(w, 2);
	switch (record->type) {
	case MDNS_PTR:
		write_name(w, &record->target);
		break;
	case MDNS_SRV:
		writer_u32(w, 0);
		writer_u16(w, record->port);
		write_name(w, &record->target);
		break;
	case MDNS_TXT:
		writer_octets(w, record->text);
		break;
	case MDNS_A:
		writer_raw(w, record->address.octets, 4);
		break;
	case MDNS_AAAA:
		writer_raw(w, record->address.octets, 16);
		break;
	default:
		writer_fail(w, -EINVAL);
	}
	writer_end(w, mark, 2);
	m->counts[record->section]++;
}

int mdns_write_end(struct mdns_writer *m) {
	struct writer *w = m->writer;

	if (w->error == 0 && w->length >= HEADER_OCTETS) {
		struct writer counts = writer_fixed(w->data, w->length);
		writer_reserve(&counts, 4);
		for (unsigned i = 0; i < 4; i++)
			writer_u16(&counts, m->counts[i]);
	}
	return writer_finish(w);
}
