/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TLS connections that we open. To an outside domain: its certificate is checked with the system's roots, or others the operator
 * names, and has to name the domain that was asked for, whatever the DNS has made of it (RFC 5922). To a gateway of the overlay:
 * both sides show their certificates of the overlay, and the other one's has the Node-ID that was asked for (RFC 6940 6.5.1.11, RFC
 * 7904).
 */
#include "base/log.h"
#include "sip/proxy.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- does this certificate name that domain? --- */

/* "sip:example.com", without a user: a domain (RFC 5922 7.1). */
static bool uri_names(const ASN1_IA5STRING *text, const char *domain, bool *ret_domain) {
	static const char scheme[] = "sip:";
	size_t length = (size_t)ASN1_STRING_length(text), start = sizeof(scheme) - 1;
	const char *data = (const char *)ASN1_STRING_get0_data(text);

	*ret_domain = length > start && strncasecmp(data, scheme, start) == 0 && !memchr(data, '@', length);
	return *ret_domain && strlen(domain) == length - start && strncasecmp(data + start, domain, length - start) == 0;
}

static bool dns_names(const ASN1_IA5STRING *text, const char *domain) {
	size_t length = (size_t)ASN1_STRING_length(text);

	return strlen(domain) == length && strncasecmp((const char *)ASN1_STRING_get0_data(text), domain, length) == 0;
}

static bool common_name_is(X509 *certificate, const char *domain) {
	char name[DNS_NAME_SIZE];
	int length = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof(name));

	return length > 0 && (size_t)length == strlen(name) && strcasecmp(name, domain) == 0;
}

/* SIP URIs count alone when there are any, else DNS names; the common name only without both. No wildcards (RFC 5922 7.2). */
bool sip_tls_names(X509 *certificate, const char *domain) {
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	bool has_uri = false, has_dns = false, by_uri = false, by_dns = false, domain_uri;

	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type == GEN_URI) {
			by_uri |= uri_names(name->d.uniformResourceIdentifier, domain, &domain_uri);
			has_uri |= domain_uri;
		} else if (name->type == GEN_DNS) {
			by_dns |= dns_names(name->d.dNSName, domain);
			has_dns = true;
		}
	}
	GENERAL_NAMES_free(names);
	if (X509_check_ip_asc(certificate, domain, 0) == 1)
		return true;
	return has_uri ? by_uri : has_dns ? by_dns : common_name_is(certificate, domain);
}

/* Said at most once a second, as strangers can cause it. */
static void report(struct sip_connection *connection, const char *what) {
	struct sip_gateway *gateway = connection->gateway;
	uint64_t now_us = gateway->runtime->now_us;
	char text[ADDRESS_TEXT_SIZE];

	if (gateway->tls_reported_us != 0 && now_us - gateway->tls_reported_us < USEC_PER_SEC)
		return;
	gateway->tls_reported_us = now_us;
	log_notice("SIP over TLS to %s at %s is refused: %s.", connection->identity, address_format(&connection->flow.remote, text),
		   what);
}

static int check_name(int good, X509_STORE_CTX *store) {
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct sip_connection *connection = SSL_get_app_data(ssl);

	if (!good) {
		report(connection, X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
		return 0;
	}
	if (X509_STORE_CTX_get_error_depth(store) > 0 ||
	    sip_tls_names(X509_STORE_CTX_get_current_cert(store), connection->identity))
		return 1;
	report(connection, "its certificate is for another name");
	X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
	return 0;
}

/* --- the context for outside domains --- */

/* Made when it is needed first: reading the system's roots takes a while. */
static SSL_CTX *outside_context(struct sip_gateway *gateway) {
	if (gateway->outside_tls)
		return gateway->outside_tls;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	if (!context)
		return NULL;
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, check_name);
	int loaded = gateway->tls_ca_file ? SSL_CTX_load_verify_file(context, gateway->tls_ca_file)
					  : SSL_CTX_set_default_verify_paths(context);
	ERR_clear_error();
	if (loaded != 1) {
		log_warning("SIP over TLS to outside domains is not possible: %s cannot be read.",
			    gateway->tls_ca_file ? gateway->tls_ca_file : "the system's list of roots");
		SSL_CTX_free(context);
		return NULL;
	}
	gateway->outside_tls = context;
	return context;
}

static SSL *outside_ssl(struct sip_connection *connection) {
	SSL_CTX *context = outside_context(connection->gateway);
	SSL *ssl = context ? SSL_new(context) : NULL;
	struct address address;

	if (!ssl)
		return NULL;
	SSL_set_app_data(ssl, connection);
	/* Addresses are no server names (RFC 6066 3). */
	if (address_parse(connection->identity, 0, &address) < 0)
		SSL_set_tlsext_host_name(ssl, connection->identity);
	return ssl;
}

/* --- connections --- */

/* Under which name a connection can be used again, and who is asked for: "far.example", or "node 0123…" of the overlay. */
static void identity_of(const struct sip_hop *hop, bool peer, char text[static DNS_NAME_SIZE]) {
	char node_id[ID_TEXT_SIZE];

	if (!peer)
		snprintf(text, DNS_NAME_SIZE, "%s", hop->identity);
	else
		snprintf(text, DNS_NAME_SIZE, "node %s",
			 id_is_none(&hop->node_id) ? "of the overlay" : id_format(&hop->node_id, node_id));
}

/* A Route of another gateway names its address alone: the connection with that gateway, whoever opened it, or one like it. */
static struct sip_connection *peer_connection(struct sip_gateway *gateway, const struct address *remote) {
	for (struct sip_connection *connection = gateway->connections; connection; connection = connection->hh.next)
		if (connection->peer && !connection->broken && !connection->finished && SSL_is_init_finished(connection->ssl) &&
		    address_same_host(&connection->flow.remote, remote))
			return connection;
	return NULL;
}

static int start(struct sip_connection *connection, const struct sip_hop *hop, const char *identity, bool peer) {
	struct sip_gateway *gateway = connection->gateway;

	connection->identity = strdup(identity);
	connection->peer = peer;
	connection->flow.transport = SIP_TLS;
	if (!connection->identity)
		return -ENOMEM;
	connection->ssl = peer ? gateway->events.peer_ssl(gateway->events.userdata, &hop->address, &hop->node_id, false)
			       : outside_ssl(connection);
	if (!connection->ssl || SSL_set_fd(connection->ssl, connection->flow.fd) != 1)
		return -ENOMEM;
	SSL_set_mode(connection->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_set_connect_state(connection->ssl);
	return 0;
}

int sip_tls_connect(struct sip_gateway *gateway, const struct sip_hop *hop, struct sip_flow *ret) {
	bool named = !id_is_none(&hop->node_id);
	bool peer = gateway->events.peer_ssl &&
		    (named || (gateway->events.peer && gateway->events.peer(gateway->events.userdata, &hop->address)));
	struct sip_connection *connection = named ? NULL : peer_connection(gateway, &hop->address);
	char identity[DNS_NAME_SIZE];

	if (connection) {
		*ret = connection->flow;
		return 0;
	}
	if (!peer && (named || !hop->identity[0]))
		return -EPROTONOSUPPORT; /* nobody whose certificate could be checked, as phones */
	identity_of(hop, peer, identity);
	int error = sip_tcp_connect(gateway, &hop->address, identity, &connection);
	if (error < 0)
		return error;
	if (!connection->ssl) {
		error = start(connection, hop, identity, peer);
		if (error < 0) {
			sip_connection_free(connection);
			return error;
		}
	}
	*ret = connection->flow;
	return 0;
}

int sip_tls_accept_peer(struct sip_gateway *gateway, struct sip_connection *connection) {
	connection->peer = true;
	connection->flow.transport = SIP_TLS;
	connection->ssl = gateway->events.peer_ssl(gateway->events.userdata, &connection->flow.remote, &ID_NONE, true);
	if (!connection->ssl || SSL_set_fd(connection->ssl, connection->flow.fd) != 1)
		return -ENOMEM;
	SSL_set_mode(connection->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_set_accept_state(connection->ssl);
	return 0;
}
