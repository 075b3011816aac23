/* SPDX-License-Identifier: BSD-2-Clause */
#include "link/proof.h"

#include "wire/codes.h"
#include "wire/message.h"
#include "wire/method.h"

#include <errno.h>
#include <openssl/crypto.h>

enum { PROOF_TTL = 1 };

int proof_write(const struct secure_context *context, const uint8_t binding[static SECURE_BINDING], struct writer *w) {
	const struct overlay_config *config = trust_config(context->trust);
	uint8_t list[2 + ID_LENGTH_MAX], body[2 + SECURE_BINDING];
	struct writer destination = writer_fixed(list, sizeof(list)), ping = writer_fixed(body, sizeof(body));
	struct id wildcard = id_wildcard(config->node_id_length);
	size_t start = w->length;

	destination.node_id_length = config->node_id_length;
	destination_write_node(&destination, &wildcard);
	ping_req_write(&ping, OCTETS(binding, SECURE_BINDING));
	struct forwarding_header header = {
		.overlay = config->overlay_hash,
		.configuration_sequence = config->sequence,
		.version = RELOAD_VERSION,
		.ttl = PROOF_TTL,
		.fragment = FRAGMENT_NONE,
		.via_list = OCTETS_NONE,
		.destination_list = writer_octets_written(&destination),
		.options = OCTETS_NONE,
	};
	runtime_random(context->runtime, &header.transaction_id, sizeof(header.transaction_id));
	forwarding_header_write(w, &header);
	size_t contents = w->length;
	message_contents_write(w, PING_REQ, writer_octets_written(&ping), OCTETS_NONE);
	if (writer_finish(w) < 0)
		return writer_finish(w);
	struct octets signed_part = OCTETS(w->data + contents, w->length - contents);
	int error = message_sign(context->credential, NULL, config->overlay_hash, header.transaction_id, signed_part, w);
	if (error < 0)
		return error;
	message_write_length(w, start);
	return writer_finish(w);
}

/* A Ping request straight from its signer, with this padding. */
static bool is_proof(struct octets octets, uint8_t node_id_length, const uint8_t *binding, struct message *ret) {
	struct octets padding;

	return message_read(octets, node_id_length, ret) >= 0 && ret->contents.code == PING_REQ &&
	       ret->header.via_list.length == 0 && ping_req_read(ret->contents.body, &padding) >= 0 &&
	       padding.length == SECURE_BINDING && CRYPTO_memcmp(padding.data, binding, SECURE_BINDING) == 0;
}

int proof_check(const struct secure_context *context, struct octets octets, const uint8_t binding[static SECURE_BINDING],
		struct certificate **ret, const char **ret_reason) {
	const struct overlay_config *config = trust_config(context->trust);
	struct certificate_bucket bucket = {0};
	struct certificate *signer;
	struct message message;
	struct id node_id;

	if (!is_proof(octets, config->node_id_length, binding, &message) || message.header.overlay != config->overlay_hash) {
		*ret_reason = "it does not prove which node it is";
		return -EBADMSG;
	}
	int error = message_check(context->trust, &message, runtime_realtime_ms(context->runtime), &bucket, &signer, &node_id);
	if (error < 0) {
		*ret_reason = "the proof of its identity is not signed with a certificate of this overlay";
		return error == -EBADMSG ? -EKEYREJECTED : error;
	}
	*ret = certificate_ref(signer);
	certificate_bucket_release(&bucket);
	return 0;
}
