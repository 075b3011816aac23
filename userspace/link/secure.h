/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What DTLS and TLS links have in common: the OpenSSL context, the overlay's rules for certificates, and its shared secret.
 *
 * Without a shared secret both sides show their certificate in the handshake (B-13.3-01). With one (RFC 6940 13.4, B-13.4-01) the
 * suites are those of TLS-PSK with ephemeral keys (RFC 5489, RFC 7905; RFC 4279 for DHE), in which no certificate is shown: a
 * handshake proves that the other side knows the secret, and link/proof.h then proves which node it is.
 */
#pragma once

#include "base/address.h"
#include "base/runtime.h"
#include "overlay/signature.h"

#include <openssl/ssl.h>

enum {
	SECURE_SECRET_MAX = 256,  /* octets of a shared secret: what OpenSSL 3.0 takes */
	SECURE_SECRET_SHORT = 16, /* shorter ones are warned of: TLS-PSK does not protect them from being guessed (13.4) */
	SECURE_BINDING = 32,	  /* octets of exported keying material that stand for a connection */
};

struct secure_settings {
	struct runtime *runtime;
	struct trust *trust;	       /* borrowed */
	struct credential *credential; /* referenced */
	const char *keylog_path;       /* SSLKEYLOGFILE format, NULL: none; file mode 0600 */
	const char *cipher_list;       /* NULL: CHACHA20-POLY1305 preferred, then AES-GCM; else TLS 1.3 is not offered */
	const char *secret;	       /* the overlay's shared secret, NULL: none */
};

struct secure_context {
	struct runtime *runtime;
	struct trust *trust;
	struct credential *credential;
	SSL_CTX *ssl;
	bool datagrams;
	int keylog_fd;
	char *cipher_list;
	uint8_t secret[SECURE_SECRET_MAX];
	size_t secret_length; /* 0: links are authenticated by certificates alone */
	uint64_t refusal_logged_us;
};

/* What belongs to one handshake; the application data of its SSL object. */
struct secure_session {
	struct secure_context *context;
	struct address remote;		 /* for the log */
	struct id expected;		 /* Node-ID that must answer us; ID_NONE: anybody */
	struct certificate *certificate; /* of the other side, checked; the owner unrefs it */
	bool server;
};

/* `datagrams`: DTLS 1.2 instead of TLS 1.2 and 1.3. -EINVAL, -ENOMEM, or what opening the key log gave; `reason` receives
 * one phrase. */
int secure_context_open(struct secure_context *context, const struct secure_settings *settings, bool datagrams, char *reason,
			size_t reason_size);
void secure_context_close(struct secure_context *context);

/* From now on handshakes use another secret, NULL: none. Links that are up stay. -EINVAL too long or empty, -ENOMEM. */
int secure_context_set_secret(struct secure_context *context, const char *secret, char *reason, size_t reason_size);

/* A renewed certificate, for handshakes that begin from now on. -EINVAL OpenSSL refuses it. */
int secure_context_set_credential(struct secure_context *context, struct credential *credential);

/* A new SSL object for `session`, whose context and remote address are set. NULL without memory. */
SSL *secure_ssl_new(struct secure_session *session);

/* Why a handshake failed, from OpenSSL's error queue, which it empties: a constant phrase. */
const char *secure_explain(const struct secure_session *session);

/* The same for one that nobody answered any more although `finished` was sent: with a wrong secret DTLS goes silent. */
const char *secure_explain_silence(const struct secure_session *session, bool finished);

/* Tells the operator why somebody is no link of ours, at most once a second: strangers cause these lines. */
void secure_log_refusal(const struct secure_session *session, const char *what);

/*
 * Octets that only the two ends of this connection know (RFC 5705); those of the client differ from those of the server.
 * -EIO, also without the extended master secret (RFC 7627), which is what makes them unique to the connection.
 */
int secure_binding(SSL *ssl, bool server, uint8_t ret[static SECURE_BINDING]);
