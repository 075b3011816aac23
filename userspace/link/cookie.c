/* SPDX-License-Identifier: BSD-2-Clause */
#include "link/cookie.h"

#include <errno.h>
#include <openssl/hmac.h>
#include <string.h>

enum { HANDSHAKE_CLIENT_HELLO = 1, HANDSHAKE_HELLO_VERIFY_REQUEST = 3, DTLS_1_0 = 0xfeff };

int client_hello_parse(const struct record *record, struct client_hello *ret) {
	struct reader r = reader_of(record->whole, record->length);
	struct client_hello hello = {.record_number = record->number};

	if (record->type != RECORD_HANDSHAKE || record->epoch != 0)
		return -ENOMSG;
	reader_octets(&r, RECORD_HEADER);
	if (reader_u8(&r) != HANDSHAKE_CLIENT_HELLO)
		return r.error != 0 ? -EBADMSG : -ENOMSG;
	uint32_t length = reader_u24(&r);
	hello.message_sequence = reader_u16(&r);
	uint32_t fragment_offset = reader_u24(&r), fragment_length = reader_u24(&r);
	if (fragment_offset != 0 || fragment_length != length || reader_left(&r) != length)
		return -EBADMSG;
	hello.version = reader_u16(&r);
	hello.random = reader_octets(&r, RECORD_RANDOM);
	hello.session_id = reader_vector8(&r);
	hello.cookie = reader_vector8(&r);
	hello.suites = reader_vector16(&r);
	hello.compression = reader_vector8(&r);
	if (r.error != 0 || hello.session_id.length > 32 || hello.suites.length < 2 || hello.compression.length < 1)
		return -EBADMSG;
	*ret = hello;
	return 0;
}

static void rotate(struct cookie_secret *secret, const struct runtime *runtime) {
	uint64_t age_us = runtime->now_us - secret->made_us, life_us = COOKIE_SECRET_SECONDS * USEC_PER_SEC;

	if (secret->made && age_us < life_us)
		return;
	if (secret->made && age_us < 2 * life_us)
		memcpy(secret->previous, secret->current, sizeof(secret->previous));
	else
		runtime_random(runtime, secret->previous, sizeof(secret->previous));
	runtime_random(runtime, secret->current, sizeof(secret->current));
	secret->made_us = runtime->now_us;
	secret->made = true;
}

/* Covers what the client must repeat unchanged (RFC 6347 4.2.1). */
static int make(const uint8_t key[static COOKIE_SECRET_SIZE], const struct address *remote, const struct client_hello *hello,
		uint8_t out[static COOKIE_SIZE]) {
	const struct octets parts[] = {hello->random, hello->session_id, hello->suites, hello->compression};
	uint8_t input[sizeof(*remote) + 2 + RECORD_RANDOM + 4 * 3 + 32 + 512 + 255], mac[32];
	struct writer w = writer_fixed(input, sizeof(input));
	unsigned mac_length = sizeof(mac);

	writer_raw(&w, remote, sizeof(*remote));
	writer_u16(&w, hello->version);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		writer_vector24(&w, parts[i]);
	if (writer_finish(&w) < 0) /* more than 256 suites: nobody we could talk to */
		return -EMSGSIZE;
	struct octets written = writer_octets_written(&w);
	if (!HMAC(EVP_sha256(), key, COOKIE_SECRET_SIZE, written.data, written.length, mac, &mac_length))
		return -EIO;
	memcpy(out, mac, COOKIE_SIZE);
	return 0;
}

bool cookie_check(struct cookie_secret *secret, const struct runtime *runtime, const struct address *remote,
		  const struct client_hello *hello) {
	uint8_t expected[COOKIE_SIZE];

	if (hello->cookie.length != COOKIE_SIZE)
		return false;
	rotate(secret, runtime);
	const uint8_t *const keys[] = {secret->current, secret->previous};
	for (unsigned i = 0; i < 2; i++)
		if (make(keys[i], remote, hello, expected) == 0 && octets_equal_secret(expected, hello->cookie.data, COOKIE_SIZE))
			return true;
	return false;
}

int cookie_request_write(struct cookie_secret *secret, const struct runtime *runtime, const struct address *remote,
			 const struct client_hello *hello, uint8_t out[static COOKIE_REQUEST_SIZE]) {
	struct writer w = writer_fixed(out, COOKIE_REQUEST_SIZE);
	uint8_t cookie[COOKIE_SIZE];

	rotate(secret, runtime);
	int result = make(secret->current, remote, hello, cookie);
	if (result < 0)
		return result;
	/* Version 1.0 whatever is negotiated later, and the record number of the ClientHello (RFC 6347 4.2.1). */
	writer_u8(&w, RECORD_HANDSHAKE);
	writer_u16(&w, DTLS_1_0);
	writer_u16(&w, 0);
	writer_u16(&w, (uint16_t)(hello->record_number >> 32));
	writer_u32(&w, (uint32_t)hello->record_number);
	writer_u16(&w, COOKIE_REQUEST_SIZE - RECORD_HEADER);
	writer_u8(&w, HANDSHAKE_HELLO_VERIFY_REQUEST);
	writer_u24(&w, 3 + COOKIE_SIZE);
	writer_u16(&w, 0);
	writer_u24(&w, 0);
	writer_u24(&w, 3 + COOKIE_SIZE);
	writer_u16(&w, DTLS_1_0);
	writer_vector8(&w, OCTETS(cookie, COOKIE_SIZE));
	return writer_finish(&w);
}
