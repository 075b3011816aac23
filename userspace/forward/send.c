/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages of our own: signing, header, and handing them to a link in pieces that fit. */
#include "forward/internal.h"

enum { CONTENTS_MAX = 1 << 24 };

int router_make_rest(struct router *router, const struct credential *credential, uint64_t transaction_id, uint16_t code,
		     struct octets body, struct octets extensions, const struct certificate_bucket *extra, uint8_t **ret,
		     size_t *ret_length) {
	struct writer contents = writer_growing(CONTENTS_MAX), rest = writer_growing(CONTENTS_MAX);

	message_contents_write(&contents, code, body, extensions);
	int error = writer_finish(&contents);
	if (error == 0) {
		writer_octets(&rest, writer_octets_written(&contents));
		error = message_sign(credential, extra, trust_config(router->trust)->overlay_hash, transaction_id,
				     writer_octets_written(&contents), &rest); /* B-6.3-01, B-6.3.4-05 */
	}
	if (error == 0)
		error = writer_finish(&rest);
	if (error == 0)
		*ret = writer_take(&rest, ret_length);
	writer_release(&contents);
	writer_release(&rest);
	return error == -ENOBUFS || error == -E2BIG ? -EMSGSIZE : error;
}

struct forwarding_header router_header(const struct router *router, uint64_t transaction_id) {
	const struct overlay_config *config = trust_config(router->trust);

	return (struct forwarding_header){
		.overlay = config->overlay_hash,
		.configuration_sequence = config->sequence,
		.version = RELOAD_VERSION,
		.ttl = config->initial_ttl, /* B-6.3.2-07, Q-20 */
		.fragment = FRAGMENT_NONE,  /* B-6.3.2-09 */
		.transaction_id = transaction_id,
	};
}

int router_send_parts(struct router *router, uint16_t slot, struct octets head, struct octets rest, unsigned flags) {
	const struct transport *transport = &router->transport;
	struct fragment_split split;
	struct fragment_piece piece;

	if (!connection_link(router, slot))
		return -ENOTCONN;
	size_t payload_max = transport->ops->payload_max(transport->object, slot);
	if (head.length + rest.length <= payload_max) {
		const struct iovec parts[] = {
			{.iov_base = (void *)head.data, .iov_len = head.length},
			{.iov_base = (void *)rest.data, .iov_len = rest.length},
		};
		return transport->ops->send(transport->object, slot, parts, rest.length ? 2 : 1, flags);
	}
	int error = fragment_split_begin(&split, head, rest, payload_max); /* FW-E09 */
	while (error == 0 && fragment_split_next(&split, &piece)) {
		error = transport->ops->send(transport->object, slot, piece.parts, piece.part_count, flags);
		if (split.count > 1)
			router->counters.fragments_sent++;
	}
	return error;
}

int router_originate(struct router *router, const struct forwarding_header *header, struct octets rest, uint16_t code,
		     uint16_t slot) {
	struct writer w = writer_growing(CONTENTS_MAX + 3 * UINT16_MAX);

	forwarding_header_write(&w, header);
	writer_octets(&w, rest);
	message_write_length(&w, 0);
	int error = writer_finish(&w);
	if (error == 0) {
		struct octets message = writer_octets_written(&w);
		router_note(router, "send", header, code, slot, NULL);
		if (slot != LINK_SLOT_NONE)
			error = router_send_parts(router, slot, message, OCTETS_NONE, LINK_SEND_OWN);
		else
			error = transit_own(router, message);
	}
	if (error == 0)
		router->counters.sent++;
	writer_release(&w);
	return error == -ENOTCONN ? -ENETUNREACH : error;
}
