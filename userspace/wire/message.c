/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire/message.h"

#include "base/limits.h"
#include "wire/list.h"

enum { LENGTH_FIELD_OFFSET = 16 /* of ForwardingHeader.length */ };

int forwarding_header_read(struct reader *r, struct forwarding_header *ret) {
	struct reader before = *r;
	struct forwarding_header header;

	if (reader_u32(r) != RELO_TOKEN) /* B-6.3.2-01 */
		return reader_fail(r);
	header.overlay = reader_u32(r);
	header.configuration_sequence = reader_u16(r);
	header.version = reader_u8(r);
	if (header.version != RELOAD_VERSION) /* B-6.3.2-04 */
		return reader_fail(r);
	header.ttl = reader_u8(r);
	header.fragment = reader_u32(r);
	header.length = reader_u32(r);
	header.transaction_id = reader_u64(r);
	header.max_response_length = reader_u32(r);
	uint16_t via_length = reader_u16(r), destination_length = reader_u16(r), options_length = reader_u16(r); /* B-6.3.2-13 */
	header.via_list = reader_octets(r, via_length);
	header.destination_list = reader_octets(r, destination_length);
	header.options = reader_octets(r, options_length);
	if (r->error < 0)
		return -EBADMSG;
	header.header_length = r->position - before.position;
	*ret = header;
	return 0;
}

static void write_list_length(struct writer *w, struct octets list) {
	if (list.length > UINT16_MAX)
		writer_fail(w, -EMSGSIZE);
	writer_u16(w, (uint16_t)list.length);
}

void forwarding_header_write(struct writer *w, const struct forwarding_header *header) {
	writer_u32(w, RELO_TOKEN);
	writer_u32(w, header->overlay);
	writer_u16(w, header->configuration_sequence);
	writer_u8(w, header->version);
	writer_u8(w, header->ttl);
	writer_u32(w, header->fragment);
	writer_u32(w, header->length);
	writer_u64(w, header->transaction_id);
	writer_u32(w, header->max_response_length);
	write_list_length(w, header->via_list);
	write_list_length(w, header->destination_list);
	write_list_length(w, header->options);
	writer_octets(w, header->via_list);
	writer_octets(w, header->destination_list);
	writer_octets(w, header->options);
}

void message_write_length(struct writer *w, size_t start) { /* B-6.3.2-10 */
	if (w->error < 0)
		return;
	if (start > w->length || w->length - start < FORWARDING_HEADER_FIXED) {
		writer_fail(w, -EINVAL);
		return;
	}
	if (w->length - start > UINT32_MAX) {
		writer_fail(w, -EMSGSIZE);
		return;
	}
	struct writer field = writer_fixed(w->data + start + LENGTH_FIELD_OFFSET, 4);
	writer_u32(&field, (uint32_t)(w->length - start));
}

int forwarding_option_next(struct reader *list, struct forwarding_option *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct forwarding_option option = {.type = reader_u8(list)};
	option.flags = reader_u8(list);
	option.value = reader_vector16(list);
	if (list->error < 0)
		return -EBADMSG;
	*ret = option;
	return 1;
}

void forwarding_option_write(struct writer *w, const struct forwarding_option *option) {
	writer_u8(w, option->type);
	writer_u8(w, option->flags);
	writer_vector16(w, option->value);
}

int message_extension_next(struct reader *list, struct message_extension *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct message_extension extension = {.type = reader_u16(list)};
	extension.critical = reader_boolean(list);
	extension.contents = reader_vector32(list);
	if (list->error < 0)
		return -EBADMSG;
	*ret = extension;
	return 1;
}

void message_extension_write(struct writer *w, const struct message_extension *extension) {
	writer_u16(w, extension->type);
	writer_boolean(w, extension->critical);
	writer_vector32(w, extension->contents);
}

int message_contents_read(struct reader *r, struct message_contents *ret) {
	struct reader before = *r;
	struct message_contents contents = {.code = reader_u16(r)};

	contents.body = reader_vector32(r);
	contents.extensions = reader_vector32(r);
	if (r->error < 0 || LIST_CHECK(r, contents.extensions, struct message_extension, message_extension_next) < 0)
		return reader_fail(r);
	contents.whole = reader_between(&before, r);
	*ret = contents;
	return 0;
}

void message_contents_write(struct writer *w, uint16_t code, struct octets body, struct octets extensions) {
	writer_u16(w, code);
	writer_vector32(w, body);
	writer_vector32(w, extensions);
}

/* The header says that this is the whole message; reserved bits are ignored (B-6.3.2-09, Q-08). */
static bool is_unfragmented(const struct forwarding_header *header) {
	return (header->fragment & (FRAGMENT_NONE | FRAGMENT_OFFSET)) == FRAGMENT_NONE;
}

int message_read(struct octets octets, uint8_t node_id_length, struct message *ret) { /* B-6.3-01 */
	struct reader r = reader_of_body(octets, node_id_length);
	struct message message;
	int error;

	if (forwarding_header_read(&r, &message.header) < 0)
		return -EBADMSG;
	/* Not reached with less than a header. NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
	if (message.header.length != octets.length || !is_unfragmented(&message.header)) /* B-6.3.2-10 */
		return -EBADMSG;
	error = destination_list_check(message.header.destination_list, node_id_length, LIMIT_DESTINATIONS);
	if (error < 0)
		return error;
	error = destination_list_check(message.header.via_list, node_id_length, LIMIT_DESTINATIONS);
	if (error < 0)
		return error;
	if (LIST_CHECK(&r, message.header.options, struct forwarding_option, forwarding_option_next) < 0)
		return -EBADMSG;
	if (message_contents_read(&r, &message.contents) < 0 || security_block_read(&r, &message.security) < 0 ||
	    reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = message;
	return 0;
}
