/* SPDX-License-Identifier: BSD-2-Clause */
/* The record layer: nonces, tags, replay window, counters, and records exchanged with OpenSSL's own DTLS. */
#include "link/record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include <cmocka.h>

static const enum record_cipher ciphers[] = {RECORD_CHACHA20_POLY1305, RECORD_AES128_GCM, RECORD_AES256_GCM};

/* Two ends with keys from the same made-up secrets. */
static void make_pair(enum record_cipher cipher, struct record_layer *client, struct record_layer *server) {
	uint8_t master[RECORD_MASTER_SECRET], client_random[RECORD_RANDOM], server_random[RECORD_RANDOM];
	const char *digest = cipher == RECORD_AES256_GCM ? "SHA384" : "SHA256";

	memset(master, 1, sizeof(master));
	memset(client_random, 2, sizeof(client_random));
	memset(server_random, 3, sizeof(server_random));
	memset(client, 0, sizeof(*client));
	memset(server, 0, sizeof(*server));
	assert_int_equal(record_state_derive(&client->state, cipher, digest, master, client_random, server_random, true, 1), 0);
	assert_int_equal(record_state_derive(&server->state, cipher, digest, master, client_random, server_random, false, 1), 0);
	assert_int_equal(record_layer_start(client), 0);
	assert_int_equal(record_layer_start(server), 0);
}

static void free_pair(struct record_layer *client, struct record_layer *server) {
	record_layer_stop(client);
	record_layer_stop(server);
}

static struct record parse(uint8_t *datagram, size_t length) {
	struct reader r = reader_of(datagram, length);
	struct record record;

	assert_int_equal(record_next(&r, &record), 0);
	assert_int_equal(reader_left(&r), 0);
	return record;
}

/* Opens a copy, so that the sealed record can be used again. */
static int try_open(struct record_layer *layer, const uint8_t *sealed, size_t length, uint8_t *plain, size_t *plain_length) {
	uint8_t copy[RECORD_PLAINTEXT_MAX + 300], *text;

	memcpy(copy, sealed, length);
	struct record record = parse(copy, length);
	int result = record_open(layer, &record, &text, plain_length);
	if (result == 0 && plain)
		memcpy(plain, text, *plain_length);
	return result;
}

static size_t seal(struct record_layer *layer, uint8_t *buffer, const void *plain, size_t length) {
	memcpy(buffer + record_prefix(&layer->state), plain, length);
	ssize_t sealed = record_seal(layer, RECORD_APPLICATION, buffer, length);
	assert_int_equal(sealed, length + record_overhead(&layer->state));
	return (size_t)sealed;
}

/* --- the primitive: RFC 8439 2.8.2 --- */

static void test_rfc8439_vector(void **state) {
	static const char plain[] = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
				    "sunscreen would be it.";
	static const uint8_t additional[] = {0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7};
	static const uint8_t nonce[] = {0x07, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47};
	static const uint8_t tag[] = {0x1a, 0xe1, 0x0b, 0x59, 0x4f, 0x09, 0xe2, 0x6a,
				      0x7e, 0x90, 0x2e, 0xcb, 0xd0, 0x60, 0x06, 0x91};
	static const uint8_t begin[] = {0xd3, 0x1a, 0x8d, 0x34, 0x64, 0x8e, 0x60, 0xdb,
					0x7b, 0x86, 0xaf, 0xbc, 0x53, 0xef, 0x7e, 0xc2};
	uint8_t key[32], out[sizeof(plain)], got[16];
	int count;

	(void)state;
	for (unsigned i = 0; i < 32; i++)
		key[i] = (uint8_t)(0x80 + i);
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	EVP_EncryptInit_ex(context, EVP_chacha20_poly1305(), NULL, key, nonce);
	EVP_EncryptUpdate(context, NULL, &count, additional, sizeof(additional));
	EVP_EncryptUpdate(context, out, &count, (const uint8_t *)plain, sizeof(plain) - 1);
	EVP_EncryptFinal_ex(context, out + count, &count);
	EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, got);
	EVP_CIPHER_CTX_free(context);
	assert_memory_equal(out, begin, sizeof(begin));
	assert_memory_equal(got, tag, sizeof(tag));
}

/* What a record must look like, computed with the general interface and a nonce put together by hand (RFC 7905 2, RFC 5288 3). */
static void expected_record(const struct record_state *key, uint64_t number, uint8_t type, const uint8_t *plain, size_t length,
			    uint8_t *out) {
	bool chacha = key->cipher == RECORD_CHACHA20_POLY1305;
	uint8_t number_octets[8] = {0, 1}, nonce[12] = {0};
	int count;

	for (unsigned i = 0; i < 6; i++)
		number_octets[2 + i] = (uint8_t)(number >> (40 - 8 * i));
	uint8_t additional[13] = {0};
	memcpy(additional, number_octets, 8);
	additional[8] = type;
	additional[9] = 0xfe;
	additional[10] = 0xfd;
	additional[11] = (uint8_t)(length >> 8);
	additional[12] = (uint8_t)length;

	size_t body = length + 16 + (chacha ? 0 : 8);
	out[0] = type;
	out[1] = 0xfe;
	out[2] = 0xfd;
	memcpy(out + 3, number_octets, 8);
	out[11] = (uint8_t)(body >> 8);
	out[12] = (uint8_t)body;
	uint8_t *text = out + 13;
	if (chacha) {
		memcpy(nonce + 4, number_octets, 8);
		for (unsigned i = 0; i < 12; i++)
			nonce[i] ^= key->tx_iv[i];
	} else {
		memcpy(nonce, key->tx_iv, 4);
		memcpy(nonce + 4, number_octets, 8);
		memcpy(text, number_octets, 8);
		text += 8;
	}
	const EVP_CIPHER *cipher = chacha			      ? EVP_chacha20_poly1305()
				   : key->cipher == RECORD_AES128_GCM ? EVP_aes_128_gcm()
								      : EVP_aes_256_gcm();
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	assert_int_equal(EVP_EncryptInit_ex(context, cipher, NULL, key->tx_key, nonce), 1);
	EVP_EncryptUpdate(context, NULL, &count, additional, 13);
	EVP_EncryptUpdate(context, text, &count, plain, (int)length);
	EVP_EncryptFinal_ex(context, text + length, &count);
	EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, text + length);
	EVP_CIPHER_CTX_free(context);
}

static void test_lengths(void **state) {
	uint8_t plain[1500], sealed[1600], expected[1600], opened[1600];
	struct record_layer client, server;
	size_t length;

	(void)state;
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 7 + 3);
	for (size_t c = 0; c < 3; c++) {
		make_pair(ciphers[c], &client, &server);
		for (size_t n = 0; n <= sizeof(plain); n++) {
			size_t total = seal(&client, sealed, plain, n);
			expected_record(&client.state, n + 1, RECORD_APPLICATION, plain, n, expected);
			assert_memory_equal(sealed, expected, total);
			assert_int_equal(try_open(&server, sealed, total, opened, &length), 0);
			assert_int_equal(length, n);
			assert_memory_equal(opened, plain, n);
		}
		free_pair(&client, &server);
	}
}

static void test_large_numbers(void **state) {
	uint8_t sealed[200], expected[200];
	struct record_layer client, server;
	size_t length;

	(void)state;
	for (size_t c = 0; c < 3; c++) {
		make_pair(ciphers[c], &client, &server);
		client.state.tx_next = UINT64_C(0xabcdef012345);
		size_t total = seal(&client, sealed, "hello", 5);
		expected_record(&client.state, UINT64_C(0xabcdef012345), RECORD_APPLICATION, (const uint8_t *)"hello", 5, expected);
		assert_memory_equal(sealed, expected, total);
		assert_int_equal(try_open(&server, sealed, total, NULL, &length), 0);
		free_pair(&client, &server);
	}
}

static void test_largest(void **state) {
	static uint8_t buffer[RECORD_PLAINTEXT_MAX + 100], opened[RECORD_PLAINTEXT_MAX];
	struct record_layer client, server;
	size_t length;

	(void)state;
	for (size_t c = 0; c < 3; c++) {
		make_pair(ciphers[c], &client, &server);
		memset(buffer, 5, sizeof(buffer));
		ssize_t total = record_seal(&client, RECORD_APPLICATION, buffer, RECORD_PLAINTEXT_MAX);
		assert_true(total > RECORD_PLAINTEXT_MAX);
		assert_int_equal(try_open(&server, buffer, (size_t)total, opened, &length), 0);
		assert_int_equal(length, RECORD_PLAINTEXT_MAX);
		assert_int_equal(opened[RECORD_PLAINTEXT_MAX - 1], 5);
		assert_int_equal(record_seal(&client, RECORD_APPLICATION, buffer, RECORD_PLAINTEXT_MAX + 1), -EMSGSIZE);
		free_pair(&client, &server);
	}
}

/* Every single flipped bit outside the length field is noticed, and leaves window and counters alone. */
static void test_forged(void **state) {
	uint8_t sealed[100];
	struct record_layer client, server;
	size_t length;

	(void)state;
	for (size_t c = 0; c < 3; c++) {
		make_pair(ciphers[c], &client, &server);
		size_t total = seal(&client, sealed, "a message", 9);
		for (size_t i = 0; i < total; i++) {
			if (i == 11 || i == 12)
				continue;
			for (unsigned bit = 0; bit < 8; bit++) {
				int expected = i == 1 || i == 2 ? -EBADMSG : i == 3 || i == 4 ? -EPROTO : -EKEYREJECTED;
				sealed[i] ^= (uint8_t)(1 << bit);
				assert_int_equal(try_open(&server, sealed, total, NULL, &length), expected);
				sealed[i] ^= (uint8_t)(1 << bit);
			}
		}
		assert_int_equal(server.state.rx_end, 0);
		assert_int_equal(try_open(&server, sealed, total, NULL, &length), 0);
		/* Our own records sent back at us do not open. */
		assert_int_equal(try_open(&client, sealed, total, NULL, &length), -EKEYREJECTED);
		free_pair(&client, &server);
	}
}

static void test_truncated(void **state) {
	uint8_t sealed[100];
	struct record_layer client, server;
	struct record record;
	size_t length;

	(void)state;
	for (size_t c = 0; c < 3; c++) {
		make_pair(ciphers[c], &client, &server);
		size_t total = seal(&client, sealed, "a message", 9);
		for (size_t n = 0; n < total; n++) {
			/* The datagram is cut: no record. */
			struct reader r = reader_of(sealed, n);
			assert_int_equal(record_next(&r, &record), -EBADMSG);
			/* The record says so itself: too short, or the tag is wrong. */
			if (n < RECORD_HEADER)
				continue;
			uint8_t copy[100];
			memcpy(copy, sealed, n);
			copy[11] = 0;
			copy[12] = (uint8_t)(n - RECORD_HEADER);
			int expected = n < record_overhead(&client.state) ? -EBADMSG : -EKEYREJECTED;
			assert_int_equal(try_open(&server, copy, n, NULL, &length), expected);
		}
		free_pair(&client, &server);
	}
}

static void test_several_records(void **state) {
	struct record_layer client, server;
	uint8_t datagram[200], *text;
	struct record record;
	size_t length, total = 0;

	(void)state;
	make_pair(RECORD_CHACHA20_POLY1305, &client, &server);
	total += seal(&client, datagram, "one", 3);
	total += seal(&client, datagram + total, "four", 4);
	struct reader r = reader_of(datagram, total);
	assert_int_equal(record_next(&r, &record), 0);
	assert_int_equal(record_open(&server, &record, &text, &length), 0);
	assert_memory_equal(text, "one", 3);
	assert_int_equal(record_next(&r, &record), 0);
	assert_int_equal(record_open(&server, &record, &text, &length), 0);
	assert_memory_equal(text, "four", 4);
	assert_int_equal(reader_left(&r), 0);
	free_pair(&client, &server);
}

/* B-6.4.2.1-03: no record twice; the window takes what is late, but not what is too late. */
static void test_replay_window(void **state) {
	enum { COUNT = 2000 };
	static uint8_t sealed[COUNT][64];
	struct record_layer client, server;
	size_t length, total = 0;

	(void)state;
	make_pair(RECORD_CHACHA20_POLY1305, &client, &server);
	for (unsigned i = 0; i < COUNT; i++)
		total = seal(&client, sealed[i], "message", 7);
#define OPEN(i) try_open(&server, sealed[i], total, NULL, &length)
	assert_int_equal(OPEN(0), 0);
	assert_int_equal(OPEN(0), -ESTALE);
	assert_int_equal(OPEN(5), 0);
	for (unsigned i = 1; i < 5; i++)
		assert_int_equal(OPEN(i), 0);
	for (unsigned i = 0; i <= 5; i++)
		assert_int_equal(OPEN(i), -ESTALE);
	/* The far edge of the window. */
	assert_int_equal(OPEN(1000), 0);
	assert_int_equal(OPEN(1000 - RECORD_WINDOW + 1), 0);
	assert_int_equal(OPEN(1000 - RECORD_WINDOW), -ESTALE);
	assert_int_equal(OPEN(1000 - RECORD_WINDOW + 1), -ESTALE);
	assert_int_equal(OPEN(999), 0);
	/* In jumps of all sizes, nothing is accepted twice and everything in reach once. */
	static bool accepted[COUNT];
	memset(accepted, 0, sizeof(accepted));
	unsigned end = 1001, seed = 1;
	accepted[1000] = accepted[999] = accepted[1001 - RECORD_WINDOW] = true;
	for (unsigned i = 0; i < 20000; i++) {
		seed = seed * 1103515245 + 12345;
		unsigned low = end > 600 ? end - 600 : 0, n = low + (seed >> 8) % (i % 50 == 0 ? 680 : 602);
		if (n >= COUNT)
			continue;
		bool fresh = n >= end || (end - n <= RECORD_WINDOW && !accepted[n]);
		assert_int_equal(OPEN(n), fresh ? 0 : -ESTALE);
		if (fresh)
			accepted[n] = true;
		if (n >= end)
			end = n + 1;
	}
	assert_true(end > 1900);
	free_pair(&client, &server);
}

/* A forged number far ahead must not move the window (only verified tags do). */
static void test_forged_does_not_move_window(void **state) {
	uint8_t sealed[64], forged[64];
	struct record_layer client, server;
	size_t length;

	(void)state;
	make_pair(RECORD_CHACHA20_POLY1305, &client, &server);
	size_t total = seal(&client, sealed, "message", 7);
	memcpy(forged, sealed, total);
	memset(forged + 5, 0x7f, 6);
	assert_int_equal(try_open(&server, forged, total, NULL, &length), -EKEYREJECTED);
	assert_int_equal(try_open(&server, sealed, total, NULL, &length), 0);
	free_pair(&client, &server);
}

static void test_numbers_run_out(void **state) {
	uint8_t sealed[64];
	struct record_layer client, server;
	size_t length;

	(void)state;
	make_pair(RECORD_CHACHA20_POLY1305, &client, &server);
	client.state.tx_next = RECORD_NUMBER_MAX;
	size_t total = seal(&client, sealed, "last", 4);
	assert_int_equal(try_open(&server, sealed, total, NULL, &length), 0);
	assert_int_equal(record_seal(&client, RECORD_APPLICATION, sealed, 4), -EOVERFLOW);
	assert_int_equal(record_seal(&client, RECORD_ALERT, sealed, 2), -EOVERFLOW);
	free_pair(&client, &server);
}

static void test_number_advances_always(void **state) {
	uint8_t sealed[3][64];
	struct record_layer client, server;

	(void)state;
	make_pair(RECORD_AES128_GCM, &client, &server);
	for (unsigned i = 0; i < 3; i++)
		seal(&client, sealed[i], "same", 4);
	assert_int_equal(client.state.tx_next, 4);
	assert_memory_not_equal(sealed[0] + 13, sealed[1] + 13, 28);
	assert_memory_not_equal(sealed[1] + 13, sealed[2] + 13, 28);
	free_pair(&client, &server);
}

static void test_unknown_cipher(void **state) {
	struct record_layer layer = {0};

	(void)state;
	assert_int_equal(record_layer_start(&layer), -EINVAL);
	layer.state.cipher = RECORD_AES256_GCM + 1;
	assert_int_equal(record_layer_start(&layer), -EINVAL);
	record_layer_stop(&layer);
}

/* --- with OpenSSL's own DTLS --- */

struct ends {
	SSL_CTX *context[2];
	SSL *ssl[2]; /* client, server */
	int fd[2];
};

static void ends_open(struct ends *ends, const char *suite) {
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();

	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends->fd), 0);
	for (unsigned i = 0; i < 2; i++) {
		ends->context[i] = SSL_CTX_new(DTLS_method());
		SSL_CTX_set_min_proto_version(ends->context[i], DTLS1_2_VERSION);
		SSL_CTX_set_max_proto_version(ends->context[i], DTLS1_2_VERSION);
		SSL_CTX_set_options(ends->context[i], SSL_OP_NO_QUERY_MTU | SSL_OP_NO_TICKET);
		assert_int_equal(SSL_CTX_set_cipher_list(ends->context[i], suite), 1);
		SSL_CTX_use_certificate(ends->context[i], certificate);
		SSL_CTX_use_PrivateKey(ends->context[i], key);
		ends->ssl[i] = SSL_new(ends->context[i]);
		SSL_set_mtu(ends->ssl[i], 1400);
		BIO *bio = BIO_new_socket(ends->fd[i], BIO_NOCLOSE);
		SSL_set_bio(ends->ssl[i], bio, bio);
	}
	SSL_set_connect_state(ends->ssl[0]);
	SSL_set_accept_state(ends->ssl[1]);
	for (unsigned i = 0; i < 20 && !(SSL_is_init_finished(ends->ssl[0]) && SSL_is_init_finished(ends->ssl[1])); i++)
		SSL_do_handshake(ends->ssl[i & 1]);
	assert_true(SSL_is_init_finished(ends->ssl[0]) && SSL_is_init_finished(ends->ssl[1]));
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void ends_close(struct ends *ends) {
	for (unsigned i = 0; i < 2; i++) {
		SSL_free(ends->ssl[i]);
		SSL_CTX_free(ends->context[i]);
		close(ends->fd[i]);
	}
}

/* Takes one end over from OpenSSL. */
static void take_over(struct ends *ends, unsigned end, enum record_cipher cipher, struct record_layer *layer) {
	uint8_t master[RECORD_MASTER_SECRET], client_random[RECORD_RANDOM], server_random[RECORD_RANDOM];
	SSL *ssl = ends->ssl[end];

	assert_int_equal(SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof(master)), sizeof(master));
	assert_int_equal(SSL_get_client_random(ssl, client_random, sizeof(client_random)), sizeof(client_random));
	assert_int_equal(SSL_get_server_random(ssl, server_random, sizeof(server_random)), sizeof(server_random));
	const char *digest = EVP_MD_get0_name(SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl)));
	memset(layer, 0, sizeof(*layer));
	assert_int_equal(record_state_derive(&layer->state, cipher, digest, master, client_random, server_random, end == 0, 1), 0);
	assert_int_equal(record_layer_start(layer), 0);
}

static void interop(const char *suite, enum record_cipher cipher) {
	struct record_layer layer;
	struct ends ends;
	uint8_t plain[1300], buffer[1500], *text;
	size_t length;

	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i ^ 0x5a);
	for (unsigned ours = 0; ours < 2; ours++) {
		ends_open(&ends, suite);
		take_over(&ends, ours, cipher, &layer);
		unsigned theirs = 1 - ours;
		for (size_t n = 1; n <= sizeof(plain); n += n < 70 ? 1 : 97) {
			/* sealed by OpenSSL, opened by us */
			assert_int_equal(SSL_write(ends.ssl[theirs], plain, (int)n), n);
			ssize_t got = recv(ends.fd[ours], buffer, sizeof(buffer), 0);
			assert_true(got > 0);
			struct record record = parse(buffer, (size_t)got);
			assert_int_equal(record.type, RECORD_APPLICATION);
			if (n == 1)
				assert_int_equal(record.number, 1); /* Finished took 0 */
			assert_int_equal(record_open(&layer, &record, &text, &length), 0);
			assert_int_equal(length, n);
			assert_memory_equal(text, plain, n);
			/* and the reverse */
			size_t total = seal(&layer, buffer, plain, n);
			assert_int_equal(send(ends.fd[ours], buffer, total, 0), total);
			uint8_t back[1500];
			assert_int_equal(SSL_read(ends.ssl[theirs], back, sizeof(back)), n);
			assert_memory_equal(back, plain, n);
		}
		/* close_notify sealed by us is understood */
		uint8_t alert[64];
		memcpy(alert + record_prefix(&layer.state), "\1\0", 2);
		ssize_t total = record_seal(&layer, RECORD_ALERT, alert, 2);
		assert_int_equal(send(ends.fd[ours], alert, (size_t)total, 0), total);
		assert_int_equal(SSL_read(ends.ssl[theirs], buffer, sizeof(buffer)), 0);
		assert_int_equal(SSL_get_error(ends.ssl[theirs], 0), SSL_ERROR_ZERO_RETURN);
		/* and theirs by us */
		SSL_shutdown(ends.ssl[theirs]);
		ssize_t got = recv(ends.fd[ours], buffer, sizeof(buffer), 0);
		struct record record = parse(buffer, (size_t)got);
		assert_int_equal(record.type, RECORD_ALERT);
		assert_int_equal(record_open(&layer, &record, &text, &length), 0);
		assert_memory_equal(text, "\1\0", 2);
		record_layer_stop(&layer);
		ends_close(&ends);
	}
}

static void test_interop_chacha20_poly1305(void **state) {
	(void)state;
	interop("ECDHE-ECDSA-CHACHA20-POLY1305", RECORD_CHACHA20_POLY1305);
}

static void test_interop_aes128_gcm(void **state) {
	(void)state;
	interop("ECDHE-ECDSA-AES128-GCM-SHA256", RECORD_AES128_GCM);
}

static void test_interop_aes256_gcm(void **state) {
	(void)state;
	interop("ECDHE-ECDSA-AES256-GCM-SHA384", RECORD_AES256_GCM);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc8439_vector),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_large_numbers),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_several_records),
		cmocka_unit_test(test_replay_window),
		cmocka_unit_test(test_forged_does_not_move_window),
		cmocka_unit_test(test_numbers_run_out),
		cmocka_unit_test(test_number_advances_always),
		cmocka_unit_test(test_unknown_cipher),
		cmocka_unit_test(test_interop_chacha20_poly1305),
		cmocka_unit_test(test_interop_aes128_gcm),
		cmocka_unit_test(test_interop_aes256_gcm),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
