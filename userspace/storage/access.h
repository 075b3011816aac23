/* SPDX-License-Identifier: BSD-2-Clause */
/* Access policies (RFC 6940 7.3, RFC 7904 3.3): the same rules for the peer that stores and for the node that fetches. */
#pragma once

#include "overlay/certificate.h"
#include "overlay/config.h"
#include "wire/data.h"

/*
 * May the holder of `certificate`, signing as `signer`, write `value` of `kind` at `resource_id`? Applied to the signer of the
 * value and, in an original store, to the signer of the request. 0, or -EACCES with a constant sentence in *ret_reason (may be
 * NULL).
 */
int access_check(const struct overlay_config *config, const struct kind *kind, const struct id *resource_id,
		 const struct certificate *certificate, const struct id *signer, const struct stored_value *value,
		 const char **ret_reason);

/* H(Node-ID), H(Node-ID ‖ i) with i in one octet, and H(user name): where the policies put things. */
struct id resource_id_of_node(const struct id *node_id, uint8_t length);
struct id resource_id_of_node_multiple(const struct id *node_id, uint8_t i, uint8_t length);
struct id resource_id_of_user(const char *user_name, uint8_t length);
