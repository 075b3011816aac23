/* SPDX-License-Identifier: BSD-2-Clause */
#include "link/transport.h"

const char *link_reason_text(enum link_reason reason) {
	static const char *const texts[] = {
		[LINK_CLOSED_BY_US] = "closed by us",
		[LINK_CLOSED_BY_PEER] = "closed by the other side",
		[LINK_HANDSHAKE_FAILED] = "handshake failed",
		[LINK_TIMED_OUT] = "no answer",
		[LINK_UNREACHABLE] = "unreachable",
		[LINK_PROTOCOL_ERROR] = "protocol error",
		[LINK_REVOKED] = "certificate no longer valid",
		[LINK_NOT_PERMITTED] = "clients are not permitted",
	};

	return (size_t)reason < ARRAY_LENGTH(texts) ? texts[reason] : "unknown";
}
