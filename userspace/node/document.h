/* SPDX-License-Identifier: BSD-2-Clause */
/* What a configuration document that parses may still have wrong with it for this node. */
#pragma once

#include "overlay/signature.h"

/* Can this node take part in an overlay with this configuration? `reason` receives one sentence. -EOPNOTSUPP. */
int document_supported(const struct overlay_config *config, char reason[static CONFIG_REASON_SIZE]);

/* The overlay link protocols it allows: enum links_protocols. TLS stands for both (RFC 6940 11.1). */
unsigned document_protocols(const struct overlay_config *config);

/*
 * Was the document changed after it was signed? Only what can be told from the document itself: its signer may be one that an
 * earlier document named, or its certificate may have expired since; then nothing is said. `trust` believes in the document's own
 * roots. -EKEYREJECTED with one sentence in `reason`.
 */
int document_unchanged(const struct overlay_config *config, struct trust *trust, uint64_t realtime_ms,
		       char reason[static CONFIG_REASON_SIZE]);
