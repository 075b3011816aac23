/* SPDX-License-Identifier: BSD-2-Clause */
/* TLS connections that the gateway opens: to outside domains, whose certificates it checks (RFC 5922), and to other gateways. */
#include "unit/sip/phone.h"

#include "sip/proxy.h"
#include "unit/sip/name_server.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/ioctl.h>

struct outside {
	struct fixture *f;
	struct name_server server;
	struct zone_record zone[4];
	struct phone alice;
	char folder[64], roots[80];
	EVP_PKEY *key;
	X509 *certificate;
	SSL_CTX *context, *peer_context;
	int listener;
	uint16_t port;
	SSL *ssl; /* of the connection that was accepted */
	int fd;
	char text[ANSWER_OCTETS];
	struct id expected; /* who was asked for, as the node heard it */
	size_t peers;
};

/* --- certificates --- */

static X509 *certificate_new(EVP_PKEY *key, const char *common_name, const char *names) {
	X509 *certificate = X509_new();

	assert_non_null(certificate);
	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1,
				   -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	X509_set_pubkey(certificate, key);
	if (names) {
		X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
		assert_non_null(extension);
		X509_add_ext(certificate, extension, -1);
		X509_EXTENSION_free(extension);
	}
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	return certificate;
}

/* RFC 5922 7.1, 7.2 */
static void test_names(void **state) {
	static const struct {
		const char *common_name, *names, *domain;
		bool good;
	} rows[] = {
		{"x", "DNS:far.example", "far.example", true},
		{"x", "DNS:far.example", "FAR.example", true},
		{"x", "DNS:far.example", "sub.far.example", false},
		{"x", "DNS:*.example", "far.example", false},
		{"far.example", "DNS:other.example", "far.example", false},
		{"far.example", NULL, "far.example", true},
		{"far.example", NULL, "other.example", false},
		{"x", "URI:sip:far.example", "far.example", true},
		{"x", "URI:sip:far.example,DNS:other.example", "other.example", false},
		{"x", "URI:sip:far.example,DNS:other.example", "far.example", true},
		{"x", "URI:sip:bob@far.example,DNS:other.example", "other.example", true},
		{"x", "URI:sip:bob@far.example", "far.example", false},
		{"x", "URI:sips:far.example", "far.example", false},
		{"x", "IP:192.0.2.1", "192.0.2.1", true},
		{"x", "IP:192.0.2.1", "192.0.2.2", false},
		{"x", "IP:2001:db8::1", "2001:db8::1", true},
		{"192.0.2.1", "DNS:192.0.2.9", "192.0.2.1", false},
	};
	EVP_PKEY *key = EVP_EC_gen("P-256");

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		X509 *certificate = certificate_new(key, rows[i].common_name, rows[i].names);
		if (sip_tls_names(certificate, rows[i].domain) != rows[i].good)
			fail_msg("row %zu: %s, %s", i, rows[i].names, rows[i].domain);
		X509_free(certificate);
	}
	EVP_PKEY_free(key);
}

/* --- the gateway --- */

static bool knows_peer(void *userdata, const struct address *source) {
	const struct outside *o = ((struct fixture *)userdata)->userdata;

	(void)source;
	return o->peers > 0;
}

static struct ssl_st *peer_ssl(void *userdata, const struct address *remote, const struct id *node_id, bool server) {
	struct outside *o = ((struct fixture *)userdata)->userdata;

	(void)remote;
	(void)server;
	o->expected = *node_id;
	return SSL_new(o->peer_context);
}

static int listen_anywhere(uint16_t *ret_port) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static int setup_outside(void **state) {
	struct outside *o = calloc(1, sizeof(*o));
	struct sip_gateway_settings settings = {.listen_count = 1, .mode = SIP_MODE_PROXY, .names = true, .peer_listen_count = 1};
	void *fixture = NULL;
	char reason[256] = "";

	assert_non_null(o);
	signal(SIGPIPE, SIG_IGN);
	strcpy(o->folder, "/tmp/ringgate-tls.XXXXXX");
	assert_non_null(mkdtemp(o->folder));
	snprintf(o->roots, sizeof(o->roots), "%s/roots.pem", o->folder);
	o->key = EVP_EC_gen("P-256");
	o->certificate = certificate_new(o->key, "outside", "DNS:far.example");
	FILE *file = fopen(o->roots, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, o->certificate), 1);
	fclose(file);
	o->context = SSL_CTX_new(TLS_server_method());
	assert_int_equal(SSL_CTX_use_certificate(o->context, o->certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(o->context, o->key), 1);
	o->peer_context = SSL_CTX_new(TLS_method());
	assert_int_equal(SSL_CTX_use_certificate(o->peer_context, o->certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(o->peer_context, o->key), 1);
	o->listener = listen_anywhere(&o->port);
	o->fd = -1;
	assert_int_equal(setup_mode(&fixture, "127.0.0.1", SIP_MODE_PROXY), 0);
	o->f = fixture;
	o->f->userdata = o;
	o->f->resolve_status = 404;
	name_server_open(o->f, &o->server);
	o->zone[0] = (struct zone_record){"far.example", DNS_A, "127.0.0.1"};
	o->zone[1] = (struct zone_record){"other.example", DNS_A, "127.0.0.1"};
	o->server.zone = o->zone;
	o->server.zone_count = 2;
	sip_gateway_free(o->f->gateway);
	settings.runtime = &o->f->runtime;
	settings.name_servers = o->server.text;
	settings.tls_ca_file = o->roots;
	assert_int_equal(address_parse("127.0.0.1", 0, &settings.listen[0]), 0);
	assert_int_equal(address_parse("127.0.0.1", 0, &settings.peer_listen[0]), 0);
	struct sip_gateway_events events = fixture_events(o->f);
	assert_int_equal(sip_gateway_new(&settings, &events, &o->f->gateway, reason, sizeof(reason)),
			 -EINVAL); /* no certificates */
	events.peer_ssl = peer_ssl;
	events.peer = knows_peer;
	if (sip_gateway_new(&settings, &events, &o->f->gateway, reason, sizeof(reason)) < 0)
		fail_msg("%s", reason);
	assert_int_equal(sip_gateway_address(o->f->gateway, 0, &o->f->address), 0);
	sip_gateway_set_watch(o->f->gateway, on_watch, o->f);
	phone_open(o->f, &o->alice, "alice");
	*state = o;
	return 0;
}

static void hang_up(struct outside *o) {
	SSL_free(o->ssl);
	o->ssl = NULL;
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
}

static int teardown_outside(void **state) {
	struct outside *o = *state;
	void *fixture = o->f;

	hang_up(o);
	advance(o->f, 400 * USEC_PER_SEC);
	assert_int_equal(figures(o->f).clients, 0);
	assert_int_equal(figures(o->f).proxies, 0);
	assert_int_equal(figures(o->f).tcp_connections, 0);
	phone_close(&o->alice);
	close(o->listener);
	close(o->server.fd);
	SSL_CTX_free(o->context);
	SSL_CTX_free(o->peer_context);
	X509_free(o->certificate);
	EVP_PKEY_free(o->key);
	unlink(o->roots);
	rmdir(o->folder);
	int result = teardown(&fixture);
	free(o);
	return result;
}

/* --- the other side --- */

static void send_request(struct outside *o, const char *method, const char *uri, const char *fields) {
	char text[2048];

	snprintf(text, sizeof(text),
		 "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bK%u;rport\r\nMax-Forwards: 70\r\n%s"
		 "From: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@far.example>\r\nCall-ID: call%u\r\nCSeq: 1 %s\r\n"
		 "Contact: <sip:alice@127.0.0.1:%u>\r\nContent-Length: 0\r\n\r\n",
		 method, uri, o->alice.port, o->f->number, fields, o->f->number, method, o->alice.port);
	o->f->number++;
	phone_send(&o->alice, text);
	name_server_run(&o->server);
}

/* Accepts the gateway's connection. Its TLS handshake may fail. */
static bool accept_tls(struct outside *o) {
	int on = 1;

	for (unsigned i = 0; i < WAIT_MS && o->fd < 0; i++) {
		o->fd = accept4(o->listener, NULL, NULL, SOCK_CLOEXEC);
		struct pollfd polled = {.fd = o->listener, .events = POLLIN};
		if (o->fd < 0)
			poll(&polled, 1, 1);
		pump(o->f);
	}
	assert_true(o->fd >= 0);
	assert_int_equal(ioctl(o->fd, FIONBIO, &on), 0);
	o->ssl = SSL_new(o->context);
	assert_int_equal(SSL_set_fd(o->ssl, o->fd), 1);
	SSL_set_accept_state(o->ssl);
	for (unsigned i = 0; i < WAIT_MS; i++) {
		int result = SSL_do_handshake(o->ssl);
		pump(o->f);
		if (result == 1)
			return true;
		int error = SSL_get_error(o->ssl, result);
		ERR_clear_error();
		if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
			return false;
		struct pollfd polled = {.fd = o->fd, .events = POLLIN};
		poll(&polled, 1, 1);
	}
	return false;
}

static void server_expect(struct outside *o, const char *start) {
	int length = -1;

	for (unsigned i = 0; i < WAIT_MS && length <= 0; i++) {
		pump(o->f);
		length = SSL_read(o->ssl, o->text, sizeof(o->text) - 1);
		struct pollfd polled = {.fd = o->fd, .events = POLLIN};
		if (length <= 0)
			poll(&polled, 1, 1);
	}
	o->text[length < 0 ? 0 : length] = 0;
	if (strncmp(o->text, start, strlen(start)) != 0)
		fail_msg("expected \"%s\", got:\n%s", start, o->text);
}

static void server_answer(struct outside *o, const char *status) {
	char text[ANSWER_OCTETS] = "";

	snprintf(text, sizeof(text), "SIP/2.0 %s\r\n", status);
	copy_lines(text, sizeof(text), o->text, "Via:");
	copy_lines(text, sizeof(text), o->text, "From:");
	copy_lines(text, sizeof(text), o->text, "To:");
	copy_lines(text, sizeof(text), o->text, "Call-ID:");
	copy_lines(text, sizeof(text), o->text, "CSeq:");
	strcat(text, "Content-Length: 0\r\n\r\n");
	assert_int_equal(SSL_write(o->ssl, text, (int)strlen(text)), strlen(text));
	struct pollfd polled = {.fd = o->fd, .events = POLLOUT};
	poll(&polled, 1, 1);
	pump(o->f);
}

/* TCP may take its time on a busy machine. */
static void alice_expect(struct outside *o, const char *start) {
	struct pollfd polled = {.fd = o->alice.fd, .events = POLLIN};

	for (unsigned i = 0; i < WAIT_MS && poll(&polled, 1, 1) == 0; i++)
		pump(o->f);
	phone_expect(&o->alice, start);
}

/* --- outside domains --- */

static void test_domain(void **state) {
	struct outside *o = *state;
	char uri[64];

	snprintf(uri, sizeof(uri), "sips:bob@far.example:%u", o->port);
	send_request(o, "MESSAGE", uri, "");
	assert_true(accept_tls(o));
	assert_string_equal(SSL_get_servername(o->ssl, TLSEXT_NAMETYPE_host_name), "far.example");
	server_expect(o, "MESSAGE sips:bob@far.example:");
	assert_non_null(strstr(o->text, "Via: SIP/2.0/TLS 127.0.0.1:"));
	server_answer(o, "200 OK");
	alice_expect(o, "SIP/2.0 200");
	/* the next one takes the same connection */
	send_request(o, "MESSAGE", uri, "");
	server_expect(o, "MESSAGE sips:bob@far.example:");
	server_answer(o, "404 Not Found");
	alice_expect(o, "SIP/2.0 404");
	assert_int_equal(figures(o->f).tcp_connections, 1);
}

/* Nothing is sent to whom has another name, whoever has signed it. */
static void test_other_name(void **state) {
	struct outside *o = *state;
	char uri[64];

	snprintf(uri, sizeof(uri), "sip:bob@other.example:%u;transport=tls", o->port);
	send_request(o, "MESSAGE", uri, "");
	assert_false(accept_tls(o));
	alice_expect(o, "SIP/2.0 503");
	assert_int_equal(figures(o->f).tcp_connections, 0);
}

static void test_unknown_root(void **state) {
	struct outside *o = *state;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = certificate_new(key, "stranger", "DNS:far.example");
	char uri[64];

	assert_int_equal(SSL_CTX_use_certificate(o->context, certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(o->context, key), 1);
	snprintf(uri, sizeof(uri), "sips:bob@far.example:%u", o->port);
	send_request(o, "MESSAGE", uri, "");
	assert_false(accept_tls(o));
	alice_expect(o, "SIP/2.0 503");
	X509_free(certificate);
	EVP_PKEY_free(key);
}

/* A server that takes the connection and says nothing does not hold us for ever, and costs no time meanwhile. */
static void test_silent(void **state) {
	struct outside *o = *state;
	char uri[64];

	snprintf(uri, sizeof(uri), "sips:bob@far.example:%u", o->port);
	send_request(o, "MESSAGE", uri, "");
	o->fd = accept4(o->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(o->fd >= 0);
	assert_false(pump_once(o->f)); /* nothing to do before it speaks */
	advance(o->f, 40 * USEC_PER_SEC);
	alice_expect(o, "SIP/2.0 100");
	alice_expect(o, "SIP/2.0 503");
	assert_int_equal(figures(o->f).tcp_connections, 0);
}

/* --- other gateways --- */

static void test_gateway(void **state) {
	struct outside *o = *state;
	char route[128];

	o->f->contacts[0] = (struct sip_redirect_contact){.uri = "sip:bob@192.0.2.1", .expires_s = 60, .transport = SIP_TLS};
	assert_int_equal(id_parse("00112233445566778899aabbccddeeff", &o->f->contacts[0].node_id), 0);
	assert_int_equal(address_parse("127.0.0.1", o->port, &o->f->contacts[0].gateway), 0);
	o->f->contacts[0].gateway.port = o->port;
	o->f->contact_count = 1;
	o->f->resolve_status = 302;
	send_request(o, "MESSAGE", "sips:bob@example.org", "");
	advance(o->f, USEC_PER_MSEC);
	assert_true(id_equal(&o->expected, &o->f->contacts[0].node_id));
	assert_true(accept_tls(o));
	server_expect(o, "MESSAGE sips:bob@example.org SIP/2.0\r\n");
	server_answer(o, "200 OK");
	alice_expect(o, "SIP/2.0 200");
	/* a Route by its address finds the same connection, and only for what is known to be a gateway */
	snprintf(route, sizeof(route), "Route: <sip:127.0.0.1:%u;lr;transport=tls>\r\n", o->port);
	send_request(o, "MESSAGE", "sip:bob@192.0.2.7", route);
	server_expect(o, "MESSAGE sip:bob@192.0.2.7 SIP/2.0\r\n");
	server_answer(o, "200 OK");
	alice_expect(o, "SIP/2.0 200");
	assert_int_equal(figures(o->f).tcp_connections, 1);
	hang_up(o);
	advance(o->f, USEC_PER_SEC);
	o->peers = 1;
	send_request(o, "MESSAGE", "sip:bob@192.0.2.7", route);
	assert_true(id_is_none(&o->expected)); /* any of the overlay: its address alone is known */
	assert_true(accept_tls(o));
	server_expect(o, "MESSAGE sip:bob@192.0.2.7 SIP/2.0\r\n");
	server_answer(o, "200 OK");
	alice_expect(o, "SIP/2.0 200");
}

#define OUTSIDE_TEST(function) cmocka_unit_test_setup_teardown(function, setup_outside, teardown_outside)

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),	 OUTSIDE_TEST(test_domain), OUTSIDE_TEST(test_other_name),
		OUTSIDE_TEST(test_unknown_root), OUTSIDE_TEST(test_silent), OUTSIDE_TEST(test_gateway),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
