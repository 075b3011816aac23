/* SPDX-License-Identifier: BSD-2-Clause */
/* Telling another node about Kinds it does not know (RFC 6940 7.4.1.2, 6.5.4). */
#pragma once

#include "forward/router.h"

enum { KIND_UPDATE_MAX = 8 /* Kinds in one ConfigUpdate; the rest is sent when it is asked for again */ };

/*
 * `info` is the error_info of an Error_Unknown_Kind: sends the kind-blocks we have, from the configuration document or learned, for
 * the Kinds it names in a ConfigUpdate of type kind to `node_id` (B-7.4.1-04). Kinds without a kind-block are left out.
 */
void kind_update_send(struct router *router, const struct id *node_id, struct octets info);
