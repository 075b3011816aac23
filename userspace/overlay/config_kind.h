/* SPDX-License-Identifier: BSD-2-Clause */
/* The kind-block element (RFC 6940 11.1, RFC 7904 3.4). */
#pragma once

#include "overlay/config_xml.h"

/* Reads a kind-block into *ret (to be released). Does not look at its signature. -EBADMSG, -EOPNOTSUPP, -E2BIG, -ENOMEM. */
int kind_block_read(const xmlNode *block, struct kind *ret, char reason[static CONFIG_REASON_SIZE]);

/* Is it signed by a kind-signer of `config`, and by which? -EBADMSG, -EKEYREJECTED, -ENOMEM. */
int kind_block_check(const xmlNode *block, struct overlay_config *config, struct id *ret_signer,
		     char reason[static CONFIG_REASON_SIZE]);

/* Puts `kind` into the table, in place of a former definition, and takes it over. -E2BIG. */
int config_put_kind(struct overlay_config *config, struct kind *kind);
