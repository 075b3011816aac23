/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/document.h"

#include "link/links.h"
#include "wire/message.h"

#include <errno.h>

int document_supported(const struct overlay_config *config, char reason[static CONFIG_REASON_SIZE]) {
	if (config->no_ice)
		return 0;
	snprintf(reason, CONFIG_REASON_SIZE, "The overlay uses ICE (no-ice is not true), which this node does not implement.");
	return -EOPNOTSUPP;
}

unsigned document_protocols(const struct overlay_config *config) {
	return (config->link_dtls ? LINKS_DTLS : 0) | (config->link_tls ? LINKS_TLS : 0);
}

/* 0 the signature holds or nothing can be said, -EKEYREJECTED. */
static int check_signature(const struct overlay_config *config, struct octets octets, struct trust *trust, uint64_t realtime_ms) {
	struct certificate_bucket bucket = {.count = 0};
	struct reader reader = reader_of_octets(octets);
	struct security_block block;
	struct id node_id;

	if (security_block_read(&reader, &block) < 0 || reader_finish(&reader) < 0)
		return -EKEYREJECTED;
	int error = certificate_bucket_read(trust, block.certificates, realtime_ms, &bucket);
	const struct certificate *signer = error < 0 ? NULL : certificate_bucket_find(&bucket, &block.signature.identity, &node_id);
	if (signer)
		error = signature_check(signer, config->configuration, &block.signature);
	certificate_bucket_release(&bucket);
	return signer ? error : 0;
}

int document_unchanged(const struct overlay_config *config, struct trust *trust, uint64_t realtime_ms,
		       char reason[static CONFIG_REASON_SIZE]) {
	for (size_t i = 0; i < config->signature_count; i++) {
		if (check_signature(config, OCTETS(config->signatures[i], config->signature_lengths[i]), trust, realtime_ms) == 0)
			continue;
		snprintf(reason, CONFIG_REASON_SIZE,
			 "The signature does not fit: the document was changed after it was signed, or damaged.");
		return -EKEYREJECTED;
	}
	return 0;
}
