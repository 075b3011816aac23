/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stateless cookie exchange in front of a DTLS handshake (RFC 6347 4.2.1): nobody makes us keep anything before showing that
 * he receives what is sent to his address. The answer is never longer than the ClientHello it answers.
 */
#pragma once

#include "base/address.h"
#include "base/runtime.h"
#include "link/record.h"

enum {
	COOKIE_SIZE = 16,
	COOKIE_SECRET_SIZE = 32,
	COOKIE_SECRET_SECONDS = 60, /* then a new secret is made; cookies of the previous one stay good as long */
	COOKIE_REQUEST_SIZE = RECORD_HEADER + 12 + 3 + COOKIE_SIZE, /* a whole HelloVerifyRequest datagram */
};

struct client_hello {
	uint64_t record_number;
	uint16_t message_sequence, version;
	struct octets random, session_id, cookie, suites, compression;
};

/* Reads a ClientHello that fills one record of epoch 0 (fragments would need state). -EBADMSG, -ENOMSG: something else. */
int client_hello_parse(const struct record *record, struct client_hello *ret);

struct cookie_secret {
	uint8_t current[COOKIE_SECRET_SIZE], previous[COOKIE_SECRET_SIZE];
	uint64_t made_us;
	bool made;
};

/* Is the cookie in `hello` one we gave to `remote` for the same parameters? */
bool cookie_check(struct cookie_secret *secret, const struct runtime *runtime, const struct address *remote,
		  const struct client_hello *hello);

/* Writes the HelloVerifyRequest that answers `hello`. -EIO. */
int cookie_request_write(struct cookie_secret *secret, const struct runtime *runtime, const struct address *remote,
			 const struct client_hello *hello, uint8_t out[static COOKIE_REQUEST_SIZE]);
