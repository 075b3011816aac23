/* SPDX-License-Identifier: BSD-2-Clause */
/* Phones over TLS: registration, calls both ways on the one connection, certificates that change, clients that misbehave. */
#include "unit/sip/phone.h"

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

struct secure {
	struct fixture *f;
	struct address address;
	char folder[64], certificate[80], key[80];
	SSL_CTX *context;
	struct phone bob; /* over UDP */
};

static void write_identity(const struct secure *s, const char *name) {
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();

	assert_non_null(key);
	assert_non_null(certificate);
	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	X509_set_pubkey(certificate, key);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	FILE *file = fopen(s->certificate, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, certificate), 1);
	fclose(file);
	file = fopen(s->key, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(file);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static int setup_secure(void **state) {
	struct secure *s = calloc(1, sizeof(*s));
	struct sip_gateway_settings settings = {.listen_count = 1, .tls_listen_count = 1, .mode = SIP_MODE_PROXY};
	void *fixture = NULL;
	char reason[256] = "";

	assert_non_null(s);
	signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	strcpy(s->folder, "/tmp/ringgate-tls.XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->certificate, sizeof(s->certificate), "%s/cert.pem", s->folder);
	snprintf(s->key, sizeof(s->key), "%s/key.pem", s->folder);
	write_identity(s, "first");
	assert_int_equal(setup_mode(&fixture, "127.0.0.1", SIP_MODE_PROXY), 0);
	s->f = fixture;
	s->f->resolve_status = 404;
	sip_gateway_free(s->f->gateway);
	settings.runtime = &s->f->runtime;
	settings.tls_certificate = s->certificate;
	settings.tls_key = s->key;
	assert_int_equal(address_parse("127.0.0.1", 0, &settings.listen[0]), 0);
	assert_int_equal(address_parse("127.0.0.1", 0, &settings.tls_listen[0]), 0);
	struct sip_gateway_events events = fixture_events(s->f);
	if (sip_gateway_new(&settings, &events, &s->f->gateway, reason, sizeof(reason)) < 0)
		fail_msg("%s", reason);
	assert_int_equal(sip_gateway_address(s->f->gateway, 0, &s->f->address), 0);
	assert_int_equal(sip_gateway_tls_address(s->f->gateway, 0, &s->address), 0);
	assert_int_equal(sip_gateway_tls_address(s->f->gateway, 1, &s->address), -ENOENT);
	sip_gateway_set_watch(s->f->gateway, on_watch, s->f);
	s->context = SSL_CTX_new(TLS_client_method());
	phone_open(s->f, &s->bob, "bob");
	*state = s;
	return 0;
}

static int teardown_secure(void **state) {
	struct secure *s = *state;
	void *fixture = s->f;

	phone_close(&s->bob);
	SSL_CTX_free(s->context);
	unlink(s->certificate);
	unlink(s->key);
	rmdir(s->folder);
	free(s);
	return teardown(&fixture);
}

/* --- a phone over TLS --- */

struct client {
	struct secure *s;
	SSL *ssl;
	int fd;
	char text[ANSWER_OCTETS];
};

static void client_connect(struct secure *s, struct client *client) {
	struct sockaddr_storage sockaddr;
	socklen_t length = address_to_sockaddr(&s->address, &sockaddr);

	client->s = s;
	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client->fd, (struct sockaddr *)&sockaddr, length), 0);
	int flags = SOCK_NONBLOCK;
	assert_int_equal(ioctl(client->fd, FIONBIO, &flags), 0);
	client->ssl = SSL_new(s->context);
	assert_int_equal(SSL_set_fd(client->ssl, client->fd), 1);
	SSL_set_connect_state(client->ssl);
}

static void client_close(struct client *client) {
	SSL_free(client->ssl);
	close(client->fd);
}

static bool client_handshake(struct client *client) {
	for (unsigned i = 0; i < 1000; i++) {
		int result = SSL_do_handshake(client->ssl);
		if (result == 1)
			return true;
		int error = SSL_get_error(client->ssl, result);
		if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
			return false;
		pump(client->s->f);
		struct pollfd polled = {.fd = client->fd, .events = POLLIN};
		poll(&polled, 1, 10);
	}
	return false;
}

static void client_send(struct client *client, const char *text) {
	assert_int_equal(SSL_write(client->ssl, text, (int)strlen(text)), strlen(text));
	pump(client->s->f);
}

static void client_expect(struct client *client, const char *start) {
	int length = -1;

	for (unsigned i = 0; i < 500 && length <= 0; i++) {
		pump(client->s->f);
		length = SSL_read(client->ssl, client->text, sizeof(client->text) - 1);
		struct pollfd polled = {.fd = client->fd, .events = POLLIN};
		if (length <= 0)
			poll(&polled, 1, 10);
	}
	client->text[length > 0 ? length : 0] = 0;
	if (strncmp(client->text, start, strlen(start)) != 0)
		fail_msg("expected \"%s\", got:\n%s", start, client->text);
}

static const char *common_name(const struct client *client, char text[static 64]) {
	X509 *certificate = SSL_get1_peer_certificate(client->ssl);

	assert_non_null(certificate);
	X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text, 64);
	X509_free(certificate);
	return text;
}

static void client_register(struct client *client, const char *scheme) {
	char text[1024];

	snprintf(text, sizeof(text),
		 "REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bKr\r\n"
		 "From: <sip:alice@example.org>;tag=1\r\nTo: <sip:alice@example.org>\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\n"
		 "Contact: <%s:alice@127.0.0.1:9;transport=tls>\r\nContent-Length: 0\r\n\r\n",
		 scheme);
	client_send(client, text);
	client_expect(client, "SIP/2.0 200");
}

static void bob_invites(struct secure *s, const char *uri, unsigned number) {
	char text[1024];

	snprintf(text, sizeof(text),
		 "INVITE %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKi%u;rport\r\nFrom: "
		 "<sip:bob@example.org>;tag=b\r\n"
		 "To: <sip:alice@example.org>\r\nCall-ID: i%u\r\nCSeq: 1 INVITE\r\nContact: <sip:bob@127.0.0.1:%u>\r\n"
		 "Content-Length: 0\r\n\r\n",
		 uri, s->bob.port, number, number, s->bob.port);
	phone_send(&s->bob, text);
}

/* The phone is reached over its own connection, for sip and for sips. */
static void test_calls(void **state) {
	struct secure *s = *state;
	struct client client;

	client_connect(s, &client);
	assert_true(client_handshake(&client));
	client_register(&client, "sip");
	bob_invites(s, "sip:alice@example.org", 1);
	client_expect(&client, "INVITE sip:alice@127.0.0.1:9;transport=tls SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:");
	assert_non_null(strstr(client.text, ";lr;transport=tls>\r\n"));
	bob_invites(s, "sips:alice@example.org", 2);
	client_expect(&client, "INVITE sip:alice@127.0.0.1:9;transport=tls SIP/2.0\r\n");
	assert_non_null(strstr(client.text, "\r\nRecord-Route: <sips:rr"));
	client_close(&client);
	/* the connection is gone, and there is no other way to the phone */
	pump(s->f);
	bob_invites(s, "sip:alice@example.org", 3);
	advance(s->f, USEC_PER_SEC);
	while (!strstr(phone_next(&s->bob), "z9hG4bKi3") || !strncmp(s->bob.message, "SIP/2.0 100", 11))
		assert_int_not_equal(s->bob.message[0], 0);
	phone_has(&s->bob, "SIP/2.0 480 ");
}

/* Messages longer than a TLS record, and several in one. */
static void test_lengths(void **state) {
	struct secure *s = *state;
	struct client client;
	static char text[40000];

	client_connect(s, &client);
	assert_true(client_handshake(&client));
	int length =
		snprintf(text, sizeof(text),
			 "OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bKo\r\n"
			 "From: <sip:alice@example.org>;tag=1\r\nTo: <sip:alice@example.org>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n"
			 "Content-Length: 30000\r\n\r\n");
	memset(text + length, 'x', 30000);
	text[length + 30000] = 0;
	client_send(&client, text);
	client_expect(&client, "SIP/2.0 200");
	client_send(&client, "\r\n\r\n");
	client_expect(&client, "\r\n");
	client_close(&client);
}

static void test_renewed_certificate(void **state) {
	struct secure *s = *state;
	struct client first, second, third;
	struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	char name[64];

	client_connect(s, &first);
	assert_true(client_handshake(&first));
	assert_string_equal(common_name(&first, name), "first");
	write_identity(s, "second");
	assert_int_equal(utimensat(AT_FDCWD, s->certificate, times, 0), 0); /* another time than before, for certain */
	advance(s->f, 6 * USEC_PER_SEC);
	client_connect(s, &second);
	assert_true(client_handshake(&second));
	assert_string_equal(common_name(&second, name), "second");
	client_register(&first, "sip"); /* goes on */
	FILE *file = fopen(s->certificate, "w");
	assert_non_null(file);
	fputs("nonsense", file);
	fclose(file);
	advance(s->f, 6 * USEC_PER_SEC);
	client_connect(s, &third);
	assert_true(client_handshake(&third));
	assert_string_equal(common_name(&third, name), "second"); /* the one that works stays */
	client_close(&first);
	client_close(&second);
	client_close(&third);
}

static void test_misbehaviour(void **state) {
	struct secure *s = *state;
	struct client plain, silent, old;

	client_connect(s, &plain);
	assert_int_equal(send(plain.fd, "OPTIONS sip:example.org SIP/2.0\r\n\r\n", 35, MSG_NOSIGNAL), 35);
	client_connect(s, &silent);
	pump(s->f);
	assert_int_equal(figures(s->f).tcp_connections, 1); /* no TLS: closed */
	advance(s->f, (SIP_TCP_MESSAGE_SECONDS + 1) * USEC_PER_SEC);
	assert_int_equal(figures(s->f).tcp_connections, 0); /* nothing at all: closed in the end */
	SSL_CTX_set_max_proto_version(s->context, TLS1_1_VERSION);
	client_connect(s, &old);
	assert_false(client_handshake(&old));
	pump(s->f);
	assert_int_equal(figures(s->f).tcp_connections, 0);
	client_close(&plain);
	client_close(&silent);
	client_close(&old);
}

static void test_settings(void **state) {
	struct secure *s = *state;
	struct sip_gateway_settings settings = {
		.runtime = &s->f->runtime, .tls_listen_count = 1, .tls_certificate = s->certificate};
	struct sip_gateway_events events = fixture_events(s->f);
	struct sip_gateway *gateway = NULL;
	char reason[256];

	assert_int_equal(address_parse("127.0.0.1", 0, &settings.tls_listen[0]), 0);
	assert_int_equal(sip_gateway_new(&settings, &events, &gateway, reason, sizeof(reason)), -EINVAL);
	assert_non_null(strstr(reason, "needs a certificate, a key"));
	settings.tls_key = "/nonexistent/key.pem";
	assert_int_equal(sip_gateway_new(&settings, &events, &gateway, reason, sizeof(reason)), -EINVAL);
	assert_non_null(strstr(reason, "the key for SIP over TLS, /nonexistent/key.pem, cannot be used"));
	settings.tls_key = s->key;
	settings.tls_certificate = s->key;
	assert_int_equal(sip_gateway_new(&settings, &events, &gateway, reason, sizeof(reason)), -EINVAL);
	assert_non_null(strstr(reason, "the certificate for SIP over TLS"));
	settings.tls_certificate = s->certificate;
	settings.tls_listen[0] = s->address;
	assert_int_equal(sip_gateway_new(&settings, &events, &gateway, reason, sizeof(reason)), -EADDRINUSE);
	assert_non_null(strstr(reason, "cannot listen for SIP over TLS on 127.0.0.1:"));
}

#define TLS_TEST(function) cmocka_unit_test_setup_teardown(function, setup_secure, teardown_secure)

int main(void) {
	const struct CMUnitTest tests[] = {
		TLS_TEST(test_calls),	     TLS_TEST(test_lengths),  TLS_TEST(test_renewed_certificate),
		TLS_TEST(test_misbehaviour), TLS_TEST(test_settings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
