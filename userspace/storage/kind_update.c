/* SPDX-License-Identifier: BSD-2-Clause */
#include "storage/kind_update.h"

#include "base/log.h"
#include "wire/method.h"

#include <string.h>

/*
 * The kind-block is cut out of the document as text, because its signature covers its very octets. The document has been validated,
 * so that elements are closed; blocks written with a namespace prefix are not found and the receiver keeps asking in vain, which
 * only costs it this Kind.
 */
static bool next_block(struct octets document, size_t *position, struct octets *ret) {
	static const char open[] = "<kind-block", close[] = "</kind-block>";
	const uint8_t *from = document.data + *position;
	const uint8_t *start = memmem(from, document.length - *position, open, sizeof(open) - 1);

	if (!start)
		return false;
	size_t offset = (size_t)(start - document.data);
	const uint8_t *end = memmem(start, document.length - offset, close, sizeof(close) - 1);
	if (!end)
		return false;
	*ret = OCTETS(start, (size_t)(end - start) + sizeof(close) - 1);
	*position = offset + ret->length;
	return true;
}

static bool block_has(struct octets block, const char *attribute, const char *value) {
	static const char quotes[] = {'"', '\''};
	char text[128];

	for (size_t i = 0; i < sizeof(quotes); i++) {
		int length = snprintf(text, sizeof(text), " %s=%c%s%c", attribute, quotes[i], value, quotes[i]);
		if (length > 0 && (size_t)length < sizeof(text) && memmem(block.data, block.length, text, (size_t)length))
			return true;
	}
	return false;
}

static bool block_defines(struct octets block, const struct kind *kind) {
	char number[16];

	snprintf(number, sizeof(number), "%u", kind->id);
	return block_has(block, "id", number) || (kind->name[0] != '\0' && block_has(block, "name", kind->name));
}

static bool find_block(const struct overlay_config *config, const struct kind *kind, struct octets *ret) {
	size_t position = 0;

	if (kind->block) {
		*ret = OCTETS(kind->block, kind->block_length);
		return true;
	}
	while (next_block(config->configuration, &position, ret))
		if (block_defines(*ret, kind))
			return true;
	return false;
}

static void on_updated(void *userdata, int error, const struct response *response) {
	(void)userdata;
	(void)response;
	if (error < 0)
		log_debug("storage: a node did not take our Kind definition");
}

void kind_update_send(struct router *router, const struct id *node_id, struct octets info) {
	struct overlay_config *config = router_config(router);
	struct octets blocks[KIND_UPDATE_MAX];
	uint32_t kinds[64];
	size_t kind_count = 0, count = 0;
	uint8_t list[2 + ID_LENGTH_MAX];
	struct writer destination = writer_fixed(list, sizeof(list)), body = writer_growing(CONFIG_DOCUMENT_MAX);

	if (error_unknown_kinds_read(info, kinds, ARRAY_LENGTH(kinds), &kind_count) < 0)
		return;
	for (size_t i = 0; i < kind_count && count < KIND_UPDATE_MAX; i++) {
		const struct kind *kind = overlay_config_kind(config, kinds[i]);
		if (kind && find_block(config, kind, &blocks[count]))
			count++;
	}
	config_update_write_kinds(&body, blocks, count);
	destination.node_id_length = node_id->length;
	destination_write_node(&destination, node_id);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,	   .destination_list = writer_octets_written(&destination),
		.code = CONFIG_UPDATE_REQ, .body = writer_octets_written(&body),
		.config_update = true, /* */
		.done = on_updated,
	};
	if (count > 0 && writer_finish(&body) == 0)
		router_send_request(router, &outgoing, NULL);
	writer_release(&body);
}
