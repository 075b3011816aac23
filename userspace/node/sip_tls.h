/* SPDX-License-Identifier: BSD-2-Clause */
/* TLS between the SIP gateways of an overlay: each shows the certificate it has for its links (RFC 7904, RFC 6940 13.3). */
#pragma once

#include "base/address.h"
#include "base/id.h"

struct node;
struct sip_tls_peers;
struct ssl_st;

int sip_tls_peers_new(struct node *node, struct sip_tls_peers **ret, char *reason, size_t reason_size);
struct sip_tls_peers *sip_tls_peers_free(struct sip_tls_peers *peers);

/*
 * For one connection with `remote`, which has to be this node, or any of the overlay with ID_NONE. NULL without memory. The caller
 * frees it before sip_tls_peers_free().
 */
struct ssl_st *sip_tls_peers_ssl(struct sip_tls_peers *peers, const struct address *remote, const struct id *node_id, bool server);
