/* SPDX-License-Identifier: BSD-2-Clause */
#include "link/secure.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <string.h>
#include <unistd.h>

enum { CERTIFICATE_MESSAGE_MAX = CERTIFICATE_SIZE_MAX + 1024 };

static const char suites_certificate[] = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
					 "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
					 "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
/* Plain PSK is left out: whoever learns the secret later could read everything recorded before. */
static const char suites_secret[] = "ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-CHACHA20-POLY1305:"
				    "DHE-PSK-AES128-GCM-SHA256:DHE-PSK-AES256-GCM-SHA384";

void secure_log_refusal(const struct secure_session *session, const char *what) {
	struct secure_context *context = session->context;
	uint64_t now_us = context->runtime->now_us;
	bool often = context->refusal_logged_us != 0 && now_us - context->refusal_logged_us < USEC_PER_SEC;
	char text[ADDRESS_TEXT_SIZE];

	log_at(often ? LOG_DEBUG : LOG_NOTICE, "no link with %s: %s", address_format(&session->remote, text), what);
	if (!often)
		context->refusal_logged_us = now_us;
}

/* --- certificates --- */

/* The overlay's rules decide, not OpenSSL's store; done during the handshake so that the other side gets an alert. */
static int verify_certificate(X509_STORE_CTX *store, void *userdata) {
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct secure_session *session = SSL_get_app_data(ssl);
	struct secure_context *context = userdata;
	X509 *x509 = X509_STORE_CTX_get0_cert(store);
	uint8_t der[CERTIFICATE_SIZE_MAX], *at = der;
	struct certificate *certificate = NULL;
	const char *reason = "too large";
	char text[160];

	int length = x509 ? i2d_X509(x509, NULL) : -1;
	if (length > 0 && length <= (int)sizeof(der)) {
		i2d_X509(x509, &at);
		trust_certificate(context->trust, OCTETS(der, (size_t)length), runtime_realtime_ms(context->runtime), &certificate,
				  &reason);
	}
	/* B-6.5.1.11-01: who was asked for must answer. */
	if (certificate && !session->server && !id_is_none(&session->expected) &&
	    !certificate_has_node_id(certificate, &session->expected)) {
		reason = "not the Node-ID that was asked for";
		certificate = certificate_unref(certificate);
	}
	if (!certificate) {
		snprintf(text, sizeof(text), "its certificate is refused: %s", reason);
		secure_log_refusal(session, text);
		X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
		return 0;
	}
	certificate_unref(session->certificate);
	session->certificate = certificate;
	return 1;
}

/* --- the shared secret --- */

/* The name of the overlay, which everybody knows, so that it tells nothing; there is one secret, so nobody looks at it either. */
static unsigned psk_client(SSL *ssl, const char *hint, char *identity, unsigned identity_max, unsigned char *key,
			   unsigned key_max) {
	const struct secure_session *session = SSL_get_app_data(ssl);
	const struct secure_context *context = session->context;

	(void)hint;
	snprintf(identity, identity_max, "%s", trust_config(context->trust)->overlay_name);
	if (context->secret_length > key_max)
		return 0;
	memcpy(key, context->secret, context->secret_length);
	return (unsigned)context->secret_length;
}

static unsigned psk_server(SSL *ssl, const char *identity, unsigned char *key, unsigned key_max) {
	const struct secure_session *session = SSL_get_app_data(ssl);
	const struct secure_context *context = session->context;

	(void)identity;
	if (context->secret_length > key_max)
		return 0;
	memcpy(key, context->secret, context->secret_length);
	return (unsigned)context->secret_length;
}

int secure_binding(SSL *ssl, bool server, uint8_t ret[static SECURE_BINDING]) {
	static const char label[] = "EXPORTER-RELOAD-link-identity";
	const char *role = server ? "server" : "client";

	if (SSL_get_extms_support(ssl) != 1 || SSL_export_keying_material(ssl, ret, SECURE_BINDING, label, strlen(label),
									  (const uint8_t *)role, strlen(role), 1) != 1) {
		ERR_clear_error();
		return -EIO;
	}
	return 0;
}

/* --- errors --- */

const char *secure_explain(const struct secure_session *session) {
	unsigned long error = ERR_peek_last_error();
	bool secret = session->context->secret_length > 0;
	const char *text = ERR_reason_error_string(error);

	ERR_clear_error();
	if (ERR_GET_LIB(error) != ERR_LIB_SSL)
		return text ? text : "closed during the handshake";
	switch (ERR_GET_REASON(error)) {
	case SSL_R_NO_SHARED_CIPHER:
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
		return secret ? "it does not use a shared secret, as this overlay does"
			      : "no cipher suite in common; maybe it uses a shared secret that this node has not been given";
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
		return "it refuses our certificate";
	case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
	case SSL_R_SSLV3_ALERT_BAD_RECORD_MAC:
	case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
	case SSL_R_DIGEST_CHECK_FAILED:
		if (secret)
			return "its shared secret is not ours";
	}
	return text ? text : "closed during the handshake";
}

const char *secure_explain_silence(const struct secure_session *session, bool finished) {
	if (finished && session->context->secret_length > 0)
		return "its shared secret is not ours, or it fell silent";
	return finished ? "it fell silent during the handshake" : NULL;
}

/* --- contexts --- */

static void write_keylog(const SSL *ssl, const char *line) {
	const struct secure_session *session = SSL_get_app_data(ssl);
	char buffer[512];
	int length = snprintf(buffer, sizeof(buffer), "%s\n", line);

	/* One write, so that processes sharing the file do not mix their lines. */
	if (length > 0 && length < (int)sizeof(buffer) && write(session->context->keylog_fd, buffer, (size_t)length) < 0)
		log_debug("key log: %s", strerror(errno));
	octets_wipe(buffer, sizeof(buffer));
}

static bool suite_supported(const SSL_CIPHER *suite, bool secret) {
	int cipher = SSL_CIPHER_get_cipher_nid(suite);
	int exchange = SSL_CIPHER_get_kx_nid(suite);

	if (cipher != NID_chacha20_poly1305 && cipher != NID_aes_128_gcm && cipher != NID_aes_256_gcm)
		return false;
	if (exchange == NID_kx_any) /* TLS 1.3 */
		return !secret;
	return secret ? exchange == NID_kx_ecdhe_psk || exchange == NID_kx_dhe_psk : exchange == NID_kx_ecdhe;
}

static int set_suites(const struct secure_context *context, SSL_CTX *ssl, char *reason, size_t reason_size) {
	bool secret = context->secret_length > 0;
	const char *list = context->cipher_list;

	if (!list)
		list = secret ? suites_secret : suites_certificate;
	bool newer = !context->datagrams && !secret && !context->cipher_list;
	SSL_CTX_set_ciphersuites(ssl, newer ? "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384" : "");
	if (SSL_CTX_set_cipher_list(ssl, list) != 1) {
		snprintf(reason, reason_size, "no usable cipher suite in \"%.100s\"", list);
		return -EINVAL;
	}
	STACK_OF(SSL_CIPHER) *suites = SSL_CTX_get_ciphers(ssl);
	for (int i = 0; i < sk_SSL_CIPHER_num(suites); i++) {
		const SSL_CIPHER *suite = sk_SSL_CIPHER_value(suites, i);
		if (!suite_supported(suite, secret)) {
			snprintf(reason, reason_size, "cipher suite %s is not supported%s", SSL_CIPHER_get_name(suite),
				 secret ? " in an overlay with a shared secret" : "");
			return -EINVAL;
		}
	}
	if (context->datagrams) {
		SSL_CTX_set_min_proto_version(ssl, DTLS1_2_VERSION);
		SSL_CTX_set_max_proto_version(ssl, DTLS1_2_VERSION);
	} else {
		SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
		SSL_CTX_set_max_proto_version(ssl, newer ? TLS1_3_VERSION : TLS1_2_VERSION);
	}
	return 0;
}

/* Nothing is resumed: every link begins with a look at the certificate as it is valid now. */
static SSL_TICKET_RETURN ignore_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_length,
				       SSL_TICKET_STATUS status, void *userdata) {
	(void)ssl;
	(void)session;
	(void)name;
	(void)name_length;
	(void)status;
	(void)userdata;
	return SSL_TICKET_RETURN_IGNORE;
}

static int context_setup(struct secure_context *context, SSL_CTX *ssl, char *reason, size_t reason_size) {
	const struct credential *credential = context->credential;

	SSL_CTX_set_options(ssl, SSL_OP_NO_QUERY_MTU | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_NO_COMPRESSION | (context->datagrams ? SSL_OP_NO_TICKET : 0));
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_ticket_cb(ssl, NULL, ignore_ticket, NULL);
	SSL_CTX_set1_groups_list(ssl, "X25519:P-256:P-384");
	if (context->keylog_fd >= 0)
		SSL_CTX_set_keylog_callback(ssl, write_keylog);
	if (context->secret_length > 0) {
		SSL_CTX_set_dh_auto(ssl, 1);
		SSL_CTX_set_psk_client_callback(ssl, psk_client);
		SSL_CTX_set_psk_server_callback(ssl, psk_server);
	} else {
		SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL); /* B-6.5.1.13-01 */
		SSL_CTX_set_cert_verify_callback(ssl, verify_certificate, context);
		SSL_CTX_set_max_cert_list(ssl, CERTIFICATE_MESSAGE_MAX);
		if (SSL_CTX_use_certificate(ssl, credential->certificate->x509) != 1 ||
		    SSL_CTX_use_PrivateKey(ssl, credential->key) != 1) {
			snprintf(reason, reason_size, "OpenSSL refuses our certificate or key: %s",
				 ERR_reason_error_string(ERR_peek_last_error()) ?: "unknown");
			return -EINVAL;
		}
	}
	return set_suites(context, ssl, reason, reason_size);
}

int secure_context_set_secret(struct secure_context *context, const char *secret, char *reason, size_t reason_size) {
	uint8_t before[SECURE_SECRET_MAX];
	size_t length = secret ? strlen(secret) : 0, length_before = context->secret_length;

	if (length > SECURE_SECRET_MAX || (secret && length == 0)) {
		snprintf(reason, reason_size, "the shared secret must have 1 to %d octets", SECURE_SECRET_MAX);
		return -EINVAL;
	}
	SSL_CTX *ssl = SSL_CTX_new(context->datagrams ? DTLS_method() : TLS_method());
	if (!ssl) {
		ERR_clear_error();
		snprintf(reason, reason_size, "out of memory");
		return -ENOMEM;
	}
	memcpy(before, context->secret, sizeof(before));
	octets_wipe(context->secret, sizeof(context->secret));
	if (length > 0)
		memcpy(context->secret, secret, length);
	context->secret_length = length;
	int result = context_setup(context, ssl, reason, reason_size);
	ERR_clear_error();
	if (result < 0) {
		SSL_CTX_free(ssl);
		memcpy(context->secret, before, sizeof(before));
		context->secret_length = length_before;
	} else {
		SSL_CTX_free(context->ssl); /* handshakes under way keep it as long as they need it */
		context->ssl = ssl;
	}
	octets_wipe(before, sizeof(before));
	return result;
}

int secure_context_set_credential(struct secure_context *context, struct credential *credential) {
	/* With a shared secret no certificate is shown in handshakes. */
	if (context->secret_length == 0 &&
	    SSL_CTX_use_cert_and_key(context->ssl, credential->certificate->x509, credential->key, NULL, 1) != 1) {
		ERR_clear_error();
		return -EINVAL;
	}
	struct credential *former = context->credential;
	context->credential = credential_ref(credential);
	credential_unref(former);
	return 0;
}

int secure_context_open(struct secure_context *context, const struct secure_settings *settings, bool datagrams, char *reason,
			size_t reason_size) {
	*context = (struct secure_context){
		.runtime = settings->runtime, .trust = settings->trust, .datagrams = datagrams, .keylog_fd = -1};
	context->credential = credential_ref(settings->credential);
	if (settings->cipher_list && !(context->cipher_list = strdup(settings->cipher_list))) {
		snprintf(reason, reason_size, "out of memory");
		return -ENOMEM;
	}
	if (settings->keylog_path) {
		context->keylog_fd = open(settings->keylog_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (context->keylog_fd < 0) {
			int result = -errno;
			snprintf(reason, reason_size, "cannot open the key log %s: %s", settings->keylog_path, strerror(-result));
			return result;
		}
	}
	return secure_context_set_secret(context, settings->secret, reason, reason_size);
}

void secure_context_close(struct secure_context *context) {
	SSL_CTX_free(context->ssl);
	context->ssl = NULL;
	if (context->runtime && context->keylog_fd >= 0)
		close(context->keylog_fd);
	context->keylog_fd = -1;
	free(context->cipher_list);
	context->cipher_list = NULL;
	context->credential = credential_unref(context->credential);
	octets_wipe(context->secret, sizeof(context->secret));
}

SSL *secure_ssl_new(struct secure_session *session) {
	SSL *ssl = SSL_new(session->context->ssl);

	if (ssl)
		SSL_set_app_data(ssl, session);
	return ssl;
}
