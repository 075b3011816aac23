/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/sip_tls.h"

#include "link/secure.h"
#include "node/node.h"

#include <errno.h>
#include <stdlib.h>

struct sip_tls_peers {
	struct node *node;
	struct secure_context secure;
	bool open;
};

/* The session of a connection goes with its SSL object. */
static void session_free(void *parent, void *data, CRYPTO_EX_DATA *all, int index, long argument, void *pointer) {
	struct secure_session *session = data;

	(void)parent;
	(void)all;
	(void)index;
	(void)argument;
	(void)pointer;
	if (!session)
		return;
	certificate_unref(session->certificate);
	free(session);
}

static int session_index(void) {
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, session_free);
	return index;
}

DEFINE_CLEANUP(struct sip_tls_peers *, sip_tls_peers_free)

/* Without the overlay's shared secret: it would prove no Node-ID, and certificates prove enough. */
int sip_tls_peers_new(struct node *node, struct sip_tls_peers **ret, char *reason, size_t reason_size) {
	_cleanup_(sip_tls_peers_freep) struct sip_tls_peers *peers = calloc(1, sizeof(*peers));
	const struct secure_settings settings = {
		.runtime = &node->runtime,
		.trust = node->trust,
		.credential = node->credential,
		.keylog_path = node->settings->keylog,
	};

	if (!peers)
		return -ENOMEM;
	peers->node = node;
	int error = session_index() < 0 ? -ENOMEM : secure_context_open(&peers->secure, &settings, false, reason, reason_size);
	if (error < 0)
		return error;
	peers->open = true;
	*ret = TAKE(peers);
	return 0;
}

struct sip_tls_peers *sip_tls_peers_free(struct sip_tls_peers *peers) {
	if (!peers)
		return NULL;
	if (peers->open)
		secure_context_close(&peers->secure);
	free(peers);
	return NULL;
}

struct ssl_st *sip_tls_peers_ssl(struct sip_tls_peers *peers, const struct address *remote, const struct id *node_id, bool server) {
	struct secure_session *session = calloc(1, sizeof(*session));
	SSL *ssl = NULL;

	/* A certificate that was renewed since. */
	if (peers->secure.credential != peers->node->credential)
		secure_context_set_credential(&peers->secure, peers->node->credential);
	if (!session)
		return NULL;
	*session = (struct secure_session){.context = &peers->secure, .remote = *remote, .expected = *node_id, .server = server};
	ssl = secure_ssl_new(session);
	if (!ssl || SSL_set_ex_data(ssl, session_index(), session) != 1) {
		SSL_free(ssl);
		free(session);
		return NULL;
	}
	return ssl;
}
