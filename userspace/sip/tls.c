/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TLS for phones (RFC 3261 26.3.1): certificate and key are PEM files, read again when they have changed. The octets go through the
 * same connections as TCP (tcp.c); only reading and writing differ.
 */
#include "base/log.h"
#include "sip/proxy.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CHECK_SECONDS = 5 /* between two looks whether the files have changed */ };

struct sip_tls {
	SSL_CTX *context;
	char *certificate, *key;
	struct timespec certificate_time, key_time;
	uint64_t checked_us;
};

DEFINE_CLEANUP(struct sip_tls *, sip_tls_free)

/* The newest complaint of OpenSSL; its queue is empty afterwards. */
static const char *complaint(char text[static 128]) {
	unsigned long error = ERR_peek_last_error();

	snprintf(text, 128, "%s", error ? ERR_reason_error_string(error) ? ERR_reason_error_string(error) : "error" : "error");
	ERR_clear_error();
	return text;
}

static struct timespec time_of(const char *path) {
	struct stat status;

	return stat(path, &status) < 0 ? (struct timespec){0} : status.st_mtim;
}

static bool same_time(struct timespec a, struct timespec b) {
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static int load(const char *certificate, const char *key, SSL_CTX **ret, char *reason, size_t reason_size) {
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	char text[128];

	if (!context)
		return -ENOMEM;
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
		snprintf(reason, reason_size, "the certificate for SIP over TLS, %s, cannot be used: %s", certificate,
			 complaint(text));
	else if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
		snprintf(reason, reason_size, "the key for SIP over TLS, %s, cannot be used: %s", key, complaint(text));
	else if (SSL_CTX_check_private_key(context) != 1)
		snprintf(reason, reason_size, "the key %s does not belong to the certificate %s: %s", key, certificate,
			 complaint(text));
	else {
		*ret = context;
		return 0;
	}
	SSL_CTX_free(context);
	return -EINVAL;
}

int sip_tls_new(const char *certificate, const char *key, struct sip_tls **ret, char *reason, size_t reason_size) {
	_cleanup_(sip_tls_freep) struct sip_tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		return -ENOMEM;
	tls->certificate = strdup(certificate);
	tls->key = strdup(key);
	if (!tls->certificate || !tls->key)
		return -ENOMEM;
	tls->certificate_time = time_of(certificate);
	tls->key_time = time_of(key);
	int error = load(certificate, key, &tls->context, reason, reason_size);
	if (error < 0)
		return error;
	*ret = TAKE(tls);
	return 0;
}

struct sip_tls *sip_tls_free(struct sip_tls *tls) {
	if (!tls)
		return NULL;
	SSL_CTX_free(tls->context);
	free(tls->certificate);
	free(tls->key);
	free(tls);
	return NULL;
}

/* Connections that exist keep what they began with. */
static void renew(struct sip_tls *tls, uint64_t now_us) {
	char reason[256] = "no memory";
	SSL_CTX *context = NULL;

	if (tls->checked_us != 0 && now_us < tls->checked_us + CHECK_SECONDS * USEC_PER_SEC)
		return;
	tls->checked_us = now_us;
	struct timespec certificate_time = time_of(tls->certificate), key_time = time_of(tls->key);
	if (same_time(certificate_time, tls->certificate_time) && same_time(key_time, tls->key_time))
		return;
	tls->certificate_time = certificate_time;
	tls->key_time = key_time;
	if (load(tls->certificate, tls->key, &context, reason, sizeof(reason)) < 0) {
		log_warning("SIP goes on with the old certificate: %s.", reason);
		return;
	}
	SSL_CTX_free(tls->context);
	tls->context = context;
	log_notice("SIP uses the new certificate %s.", tls->certificate);
}

int sip_tls_accept(struct sip_gateway *gateway, struct sip_connection *connection) {
	renew(gateway->tls, gateway->runtime->now_us);
	connection->ssl = SSL_new(gateway->tls->context);
	if (!connection->ssl || SSL_set_fd(connection->ssl, connection->flow.fd) != 1)
		return -ENOMEM;
	SSL_set_accept_state(connection->ssl);
	connection->flow.transport = SIP_TLS;
	return 0;
}

/* As recv() and send() would have it. */
static ssize_t outcome(struct sip_connection *connection, int result) {
	if (result > 0)
		return result;
	int error = SSL_get_error(connection->ssl, result);
	ERR_clear_error();
	switch (error) {
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_WANT_WRITE:
		connection->wants_write = true;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_WANT_READ:
		connection->wants_read = true;
		errno = EAGAIN;
		return -1;
	default:
		connection->broken = true;
		errno = ECONNRESET;
		return -1;
	}
}

ssize_t sip_tls_read(struct sip_connection *connection, void *data, size_t size) {
	connection->wants_write = connection->wants_read = false;
	ERR_clear_error();
	return outcome(connection, SSL_read(connection->ssl, data, (int)size));
}

ssize_t sip_tls_write(struct sip_connection *connection, const void *data, size_t size) {
	connection->wants_write = connection->wants_read = false;
	ERR_clear_error();
	return outcome(connection, SSL_write(connection->ssl, data, (int)size));
}

bool sip_tls_established(const struct sip_connection *connection) {
	return connection->ssl && SSL_is_init_finished(connection->ssl);
}

bool sip_tls_pending(const struct sip_connection *connection) {
	return connection->ssl && SSL_pending(connection->ssl) > 0;
}

void sip_tls_close(struct sip_connection *connection) {
	if (!connection->ssl)
		return;
	if (!connection->broken && SSL_is_init_finished(connection->ssl))
		SSL_shutdown(connection->ssl); /* says good-bye, and does not wait for the same */
	SSL_free(connection->ssl);
	ERR_clear_error();
	connection->ssl = NULL;
}
