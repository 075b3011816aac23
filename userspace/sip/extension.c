/* SPDX-License-Identifier: BSD-2-Clause */
/* Option tags (RFC 3261 19.2), and what a REGISTER says by way of them: its Path (RFC 3327), its flow (RFC 5626). */
#include "sip/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { REG_ID_MAX = INT32_MAX /* RFC 5626 4.2 */ };

static const struct {
	const char *tag;
	unsigned bit;
} tags[] = {{"path", SIP_EXTENSION_PATH}, {"outbound", SIP_EXTENSION_OUTBOUND}, {"gruu", SIP_EXTENSION_GRUU}};

/* All three need somebody who places calls: a redirector can tell nobody to go along a Path, or over a flow. */
unsigned sip_extensions_offered(const struct sip_gateway *gateway) {
	return gateway->mode == SIP_MODE_REDIRECT ? 0 : SIP_EXTENSION_PATH | SIP_EXTENSION_OUTBOUND | SIP_EXTENSION_GRUU;
}

static bool same_word(struct octets octets, const char *word) {
	return octets.length == strlen(word) && strncasecmp((const char *)octets.data, word, octets.length) == 0;
}

static bool is_named(const struct sip_raw_field *field, const char *name) {
	if (field->name.length == 1 && (field->name.data[0] | 0x20) == 'k')
		return strcmp(name, "Supported") == 0;
	return same_word(field->name, name);
}

static struct octets trim(struct octets octets) {
	while (octets.length > 0 && strchr(" \t\r\n", octets.data[octets.length - 1]))
		octets.length--;
	struct reader r = reader_of_octets(octets);
	while (reader_left(&r) > 0) {
		struct reader ahead = r;
		if (!strchr(" \t\r\n", reader_u8(&ahead)))
			break;
		r = ahead;
	}
	return reader_rest(&r);
}

static unsigned bit_of(struct octets tag) {
	for (size_t i = 0; i < ARRAY_LENGTH(tags); i++)
		if (same_word(tag, tags[i].tag))
			return tags[i].bit;
	return 0;
}

unsigned sip_extensions_read(const struct sip_frame *frame, const char *name, unsigned known, struct writer *unknown) {
	struct reader r = reader_of_octets(frame->header);
	struct sip_raw_field field;
	unsigned found = 0;

	while (sip_raw_field_next(&r, &field)) {
		struct reader values = reader_of_octets(field.value);
		while (is_named(&field, name) && reader_left(&values) > 0) {
			struct octets tag = trim(sip_next_value(&values));
			unsigned bit = bit_of(tag) & known;
			found |= bit;
			if (bit != 0 || tag.length == 0 || !unknown)
				continue;
			writer_octets(unknown, octets_of_string("Unsupported: "));
			writer_octets(unknown, tag);
			writer_octets(unknown, octets_of_string("\r\n"));
		}
	}
	return found;
}

/* --- Path --- */

/* A proxy that wants to stay in the path routes loosely (RFC 3327 5.2), over SIP. */
static bool is_path(const char *value) {
	_cleanup_(uri_freep) osip_uri_t *uri = sip_route_uri(value);

	return uri && uri_is_sip(uri) && sip_parameter(&uri->url_params, "lr");
}

/* Appends one value. */
static int add_path(struct writer *w, struct octets value) {
	char text[SIP_PATH_OCTETS + 1];

	if (value.length > SIP_PATH_OCTETS)
		return -ENOBUFS;
	memcpy(text, value.data, value.length);
	text[value.length] = 0;
	for (char *c = text; *c; c++)
		if (*c == '\r' || *c == '\n' || *c == '\t')
			*c = ' ';
	if (strlen(text) != value.length || !is_path(text))
		return -EBADMSG;
	if (w->length > 0)
		writer_octets(w, octets_of_string(", "));
	writer_octets(w, octets_of_string(text));
	return writer_finish(w);
}

int sip_path_read(const struct sip_frame *frame, char **ret) {
	struct writer w = writer_growing(SIP_PATH_OCTETS + 1);
	struct reader r = reader_of_octets(frame->header);
	struct sip_raw_field field;
	size_t count = 0, length = 0;
	int error = 0;

	while (error == 0 && sip_raw_field_next(&r, &field)) {
		struct reader values = reader_of_octets(field.value);
		while (error == 0 && same_word(field.name, "Path") && reader_left(&values) > 0) {
			struct octets value = trim(sip_next_value(&values));
			if (value.length == 0)
				continue;
			error = ++count > SIP_PATHS ? -ENOBUFS : add_path(&w, value);
		}
	}
	if (error == 0 && count > 0) {
		writer_u8(&w, 0);
		error = writer_finish(&w);
	}
	if (error == 0)
		*ret = count > 0 ? (char *)writer_take(&w, &length) : NULL;
	writer_release(&w);
	return error;
}

/* The URI of the first proxy: the one we speak to. */
osip_uri_t *sip_path_first(const char *path) {
	return sip_route_uri(path);
}

/* --- flows --- */

/*
 * May the flow of this REGISTER be bound? True when the phone speaks to us directly, or when the proxy next to us says that there
 * is a flow behind it (RFC 5626 6).
 */
bool sip_flow_usable(const struct sip_request *request, const char *path) {
	_cleanup_(uri_freep) osip_uri_t *first = path ? sip_path_first(path) : NULL;

	if (osip_list_size(&request->message->vias) == 1)
		return true;
	return first && sip_parameter(&first->url_params, "ob");
}

/* "<urn:uuid:...>" without what is around it; the parser may have left the quotes. False: none, or one that nobody can name. */
static bool read_instance(const char *text, char ret[static SIP_INSTANCE_OCTETS + 1]) {
	size_t length;

	if (!text)
		return false;
	text += *text == '"';
	if (*text != '<')
		return false;
	length = strcspn(++text, ">");
	if (text[length] != '>' || length == 0 || length > SIP_INSTANCE_OCTETS || !memchr(text, ':', length))
		return false;
	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f || strchr("<>\"\\", text[i]))
			return false;
	memcpy(ret, text, length);
	ret[length] = 0;
	return true;
}

static uint32_t read_reg_id(const char *text) {
	uint32_t number = 0;

	if (!text || sip_number_parse(octets_of_string(text), &number) < 0 || number > REG_ID_MAX)
		return 0;
	return number;
}

/* What a Contact of a REGISTER says of the device and its flow. -ENOMEM. */
int sip_device_read(const osip_contact_t *contact, struct binding_more *more) {
	char instance[SIP_INSTANCE_OCTETS + 1];

	if (!read_instance(sip_parameter(&contact->gen_params, "+sip.instance"), instance))
		return 0; /* a reg-id without instance means nothing (RFC 5626 6) */
	more->instance = strdup(instance);
	more->reg_id = read_reg_id(sip_parameter(&contact->gen_params, "reg-id"));
	return more->instance ? 0 : -ENOMEM;
}
